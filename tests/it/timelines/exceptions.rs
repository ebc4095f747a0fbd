//! Rows of the tables, and orders of writes, that differ, and why. What differs and is not here
//! fails, and so does what is here and no longer differs; of chance only what has become the same
//! for every seed. `ACCURACY.md` repeats the lists.

use crate::support::root;
use std::fmt::Write as _;

const TOKENS: &str = "not modelled: a token of a service account is no object and changes nothing";
const HEARTBEATS: &str = "not modelled: reports of nodes that have not changed (lazy heartbeats)";
const TOGETHER: &str = "chance: how many changes one status update tells of is a matter of \
                        milliseconds on a busy machine";
const APART: &str = "pods that change together do so within a millisecond here, and over tens of \
                     milliseconds on two processors: one status update tells of more";
const LAG: &str = "chance: whether a controller has seen its own last write (informers lag by \
                   0–0.4 ms here)";
const THOUGHT: &str = "not modelled: a sync takes time, so that a controller seldom meets its own last \
                       write";
const PROBES: &str = "chance: a probe beside the ticks may fall together with one of them";
const MOUNTS: &str = "chance: a FailedMount whose ConfigMap had not reached the kubelet";
const AGAIN: &str = "chance: the garbage collector deletes a pod again that is about to go";
const BUSY: &str = "both processors of the recorded machine were saturated: probes came late, requests took \
                    20 ms, and pods were deleted later";
const STEPS: &str = "chance: one look at the runtime may show two steps at once";
const LAST: &str =
    "chance: whether the job controller has let go of an ended pod before it deletes it";
const KILLED: &str = "chance: whether the pod of node n6 is gone before its kubelet is killed";
const WAKES: &str = "chance: the worker of a crashing pod wakes after 10 to 15 s";
const TTL: &str = "not modelled: an annotation of nodes that no kubelet reads any more";
const FINALIZE: &str =
    "not modelled: the finalize request names no resourceVersion here and needs no second try";
const ZONES: &str = "chance: which of all nodes is Unknown first decides who is still tainted";
const MAPS: &str = "nodes that wait for their eviction together stand in the order of Go's maps in 1.29, \
                    here in that of their names";
const KINDS: &str = "1.29 empties a namespace kind by kind in the order of Go's maps: what goes before its \
                     owner is made again and refused, or asked for twice";
const LATER: &str = "chance: which of the pods that wait are bound while their Deployment is being deleted, \
                     and how far they get";
const AUDIT: &str = "the recording's audit log has no priority classes";
const OVER: &str =
    "1.29's preemption writes over the status of victims, and their kubelets write it anew";
const SHUFFLED: &str = "1.29's kubelet writes the condition that an eviction added once more, which changes \
                        no field";
const AGAIN_TOLD: &str = "chance: a status without a changed field, of a kubelet that came late";
const EMPTY: &str = "chance: whether a budget is looked at twice before its pods are there";
const RETRIED: &str = "chance: whether a budget's or a job's change is told in one write or in two";

/// A row that differs in some recordings.
#[derive(Debug)]
pub(super) struct Exception {
    /// Recordings, each with the least and the most that runs may give.
    pub(super) here: &'static [(&'static str, usize, usize)],
    /// Actor, verb, resource, code.
    pub(super) row: (&'static str, &'static str, &'static str, u16),
    pub(super) reason: &'static str,
}

impl Exception {
    /// What runs of a recording's scenario may give.
    pub(super) fn bounds(&self, id: &str) -> Option<(usize, usize)> {
        self.here.iter().find(|h| h.0 == id).map(|h| (h.1, h.2))
    }
}

const fn row(
    here: &'static [(&'static str, usize, usize)],
    row: (&'static str, &'static str, &'static str, u16),
    reason: &'static str,
) -> Exception {
    Exception { here, row, reason }
}

const BUDGETS: &str = "kcm:disruption-controller";
const CRONJOB: &str = "kcm:cronjob-controller";
const DAEMON: &str = "kcm:daemon-set-controller";
const DEPLOYMENT: &str = "kcm:deployment-controller";
const ENDPOINT: &str = "kcm:endpoint-controller";
const GC: &str = "kcm:generic-garbage-collector";
const JOB: &str = "kcm:job-controller";
const KUBELET: &str = "kubelet";
const NAMESPACE: &str = "kcm:namespace-controller";
const NODES: &str = "kcm:node-controller";
const QUOTAS: &str = "kcm:resourcequota-controller";
const REPLICASET: &str = "kcm:replicaset-controller";
const SLICES: &str = "kcm:endpointslice-controller";
const STATEFUL: &str = "kcm:statefulset-controller";

pub(super) const EXCEPTIONS: &[Exception] = &[
    row(
        &[
            ("01", 0, 0),
            ("01b", 0, 0),
            ("03", 0, 0),
            ("04", 0, 0),
            ("05", 0, 0),
            ("06", 0, 0),
            ("07", 0, 0),
            ("08", 0, 0),
            ("10", 0, 0),
        ],
        (KUBELET, "create", "serviceaccounts/token", 201),
        TOKENS,
    ),
    row(&[("02c", 24, 24)], ("fakelet", "patch", "nodes/status", 200), HEARTBEATS),
    row(
        &[
            ("01", 0, 0),
            ("01b", 0, 0),
            ("03", 0, 0),
            ("04", 0, 0),
            ("05", 1, 1),
            ("06", 0, 0),
            ("07", 0, 0),
            ("08", 0, 0),
            ("10", 0, 0),
        ],
        (KUBELET, "patch", "nodes/status", 200),
        HEARTBEATS,
    ),
    row(&[("05", 0, 0)], ("kcm:ttl-controller", "patch", "nodes", 200), TTL),
    row(&[("06", 2, 2)], ("user", "create", "priorityclasses", 201), AUDIT),
    row(&[("06", 2, 2)], ("user", "delete", "priorityclasses", 200), AUDIT),
    row(&[("08", 0, 0)], (NAMESPACE, "update", "namespaces/finalize", 409), FINALIZE),
    row(
        &[("01", 68, 93), ("02c", 40, 59)],
        (DEPLOYMENT, "update", "deployments/status", 200),
        APART,
    ),
    row(&[("02c", 39, 58)], (REPLICASET, "update", "replicasets/status", 200), APART),
    row(&[("05", 29, 38)], (DAEMON, "update", "daemonsets/status", 200), TOGETHER),
    row(
        &[("06", 27, 39), ("06b", 5, 9), ("07", 57, 67), ("08", 29, 35), ("10", 29, 34)],
        (DEPLOYMENT, "update", "deployments/status", 200),
        TOGETHER,
    ),
    row(&[("01", 27, 38)], (DEPLOYMENT, "update", "replicasets", 200), TOGETHER),
    row(&[("07", 0, 1)], (ENDPOINT, "create", "events", 201), TOGETHER),
    row(&[("07", 0, 3)], (ENDPOINT, "delete", "endpoints", 404), TOGETHER),
    row(&[("07", 411, 434)], (SLICES, "update", "endpointslices", 200), TOGETHER),
    row(&[("04", 146, 155)], (JOB, "update", "jobs/status", 200), TOGETHER),
    row(&[("06", 14, 17)], (REPLICASET, "create", "pods", 403), TOGETHER),
    row(&[("06", 18, 21)], (REPLICASET, "patch", "events", 200), TOGETHER),
    row(
        &[
            ("01", 90, 113),
            ("06", 23, 35),
            ("06b", 3, 7),
            ("07", 54, 63),
            ("08", 24, 30),
            ("10", 28, 31),
        ],
        (REPLICASET, "update", "replicasets/status", 200),
        TOGETHER,
    ),
    row(&[("06", 4, 7)], (QUOTAS, "update", "resourcequotas/status", 200), TOGETHER),
    row(
        &[("03", 68, 79), ("08", 3, 8)],
        (STATEFUL, "update", "statefulsets/status", 200),
        TOGETHER,
    ),
    row(&[("04", 20, 25)], (CRONJOB, "create", "events", 201), LAG),
    row(&[("04", 0, 4)], (CRONJOB, "patch", "events", 200), LAG),
    row(&[("04", 0, 5)], (CRONJOB, "update", "cronjobs/status", 409), LAG),
    row(
        &[
            ("01", 7, 19),
            ("01b", 0, 4),
            ("02c", 0, 5),
            ("06", 2, 5),
            ("06b", 0, 4),
            ("07", 4, 10),
            ("08", 3, 7),
        ],
        (DEPLOYMENT, "update", "deployments/status", 409),
        LAG,
    ),
    row(&[("01", 1, 11), ("07", 0, 2)], (DEPLOYMENT, "update", "replicasets", 409), LAG),
    row(&[("06", 0, 4)], (BUDGETS, "update", "poddisruptionbudgets/status", 409), LAG),
    row(&[("07", 0, 1)], (ENDPOINT, "update", "endpoints", 409), LAG),
    row(&[("08", 0, 2)], (GC, "patch", "deployments", 409), LAG),
    row(
        &[("01", 12, 23), ("01b", 0, 1), ("08", 0, 7)],
        (REPLICASET, "update", "replicasets/status", 409),
        LAG,
    ),
    row(&[("06", 0, 3)], (QUOTAS, "update", "resourcequotas/status", 409), LAG),
    row(&[("03", 4, 13), ("08", 0, 2)], (STATEFUL, "update", "statefulsets/status", 409), LAG),
    row(&[("04", 0, 4)], (CRONJOB, "create", "jobs", 409), THOUGHT),
    row(&[("05", 0, 12)], (DAEMON, "update", "daemonsets/status", 409), THOUGHT),
    row(&[("10", 1, 6)], (DEPLOYMENT, "update", "deployments/status", 409), THOUGHT),
    row(
        &[("02c", 0, 12), ("06", 1, 7), ("06b", 0, 3), ("07", 12, 20), ("10", 0, 7)],
        (REPLICASET, "update", "replicasets/status", 409),
        THOUGHT,
    ),
    row(&[("06", 12, 18)], (BUDGETS, "update", "poddisruptionbudgets/status", 200), RETRIED),
    row(&[("06", 0, 2)], (BUDGETS, "patch", "events", 200), EMPTY),
    row(
        &[("01", 249, 253), ("03", 99, 103), ("04", 144, 147), ("05", 81, 84), ("08", 58, 62)],
        (KUBELET, "create", "events", 201),
        MOUNTS,
    ),
    row(
        &[("01", 139, 145), ("04", 11, 14), ("05", 39, 43), ("06", 12, 16), ("10", 52, 55)],
        (KUBELET, "patch", "events", 200),
        PROBES,
    ),
    row(
        &[("01", 238, 241), ("04", 235, 238), ("05", 68, 71)],
        (KUBELET, "patch", "pods/status", 200),
        STEPS,
    ),
    row(&[("04", 66, 69)], (JOB, "create", "events", 201), LAST),
    row(&[("04", 1, 4)], (JOB, "delete", "pods", 200), LAST),
    row(&[("05", 12, 15)], (KUBELET, "delete", "pods", 200), KILLED),
    row(&[("05", 0, 1)], (GC, "delete", "controllerrevisions", 404), AGAIN),
    row(&[("05", 5, 13)], (GC, "delete", "pods", 200), AGAIN),
    row(&[("05", 0, 2)], (GC, "delete", "pods", 404), AGAIN),
    row(&[("05", 0, 2)], (GC, "patch", "daemonsets", 200), AGAIN),
    row(&[("06", 133, 141)], (KUBELET, "create", "events", 201), LATER),
    row(&[("06", 31, 34)], (KUBELET, "delete", "pods", 200), LATER),
    row(&[("06", 132, 136)], (KUBELET, "patch", "pods/status", 200), LATER),
    row(&[("06", 43, 46)], ("scheduler", "create", "events", 201), LATER),
    row(&[("06", 31, 34)], ("scheduler", "create", "pods/binding", 201), LATER),
    row(&[("06", 0, 2)], ("scheduler", "create", "pods/binding", 409), LATER),
    row(&[("06", 1, 5)], ("scheduler", "patch", "events", 200), LATER),
    row(&[("06", 0, 2)], ("scheduler", "patch", "pods/status", 404), LATER),
    row(&[("02c", 88, 93)], (NODES, "create", "events", 201), ZONES),
    row(&[("02c", 71, 77)], (NODES, "patch", "nodes", 200), ZONES),
    row(&[("02c", 14, 17)], (REPLICASET, "patch", "events", 200), ZONES),
    row(&[("08", 0, 2)], (DEPLOYMENT, "create", "events", 403), KINDS),
    row(&[("08", 0, 7)], (DEPLOYMENT, "create", "replicasets", 403), KINDS),
    row(&[("08", 0, 6)], (DEPLOYMENT, "patch", "events", 403), KINDS),
    row(&[("08", 0, 2)], (DEPLOYMENT, "update", "deployments/status", 404), KINDS),
    row(&[("08", 0, 5)], (ENDPOINT, "create", "endpoints", 403), KINDS),
    row(&[("08", 0, 2)], (ENDPOINT, "create", "endpoints", 409), KINDS),
    row(&[("08", 0, 2)], (ENDPOINT, "create", "events", 201), KINDS),
    row(&[("08", 3, 10)], (ENDPOINT, "update", "endpoints", 200), KINDS),
    row(&[("08", 0, 2)], (SLICES, "create", "endpointslices", 403), KINDS),
    row(&[("08", 4, 10)], (SLICES, "update", "endpointslices", 200), KINDS),
    row(&[("08", 0, 2)], (SLICES, "update", "endpointslices", 404), KINDS),
    row(&[("08", 0, 2)], (GC, "delete", "controllerrevisions", 200), KINDS),
    row(&[("08", 0, 2)], (GC, "delete", "endpointslices", 200), KINDS),
    row(&[("08", 5, 14)], (GC, "delete", "pods", 200), KINDS),
    row(&[("08", 1, 4)], (GC, "delete", "replicasets", 200), KINDS),
    row(&[("08", 0, 17)], (REPLICASET, "create", "pods", 403), KINDS),
    row(&[("08", 0, 2)], (REPLICASET, "update", "replicasets/status", 404), KINDS),
    row(&[("08", 0, 2)], (STATEFUL, "update", "statefulsets/status", 404), KINDS),
    row(&[("07", 352, 385)], (ENDPOINT, "update", "endpoints", 200), BUSY),
    row(&[("07", 1144, 1146)], (KUBELET, "create", "events", 201), BUSY),
    row(&[("07", 674, 679)], (KUBELET, "patch", "events", 200), BUSY),
    row(&[("07", 1129, 1131)], (KUBELET, "patch", "pods/status", 200), BUSY),
];

/// Where an order of writes occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Recorded,
    Simulated,
}

/// Writes to one object by one actor that come otherwise on one side.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) recording: &'static str,
    pub(super) side: Side,
    /// Class of objects and actor.
    pub(super) who: (&'static str, &'static str),
    /// These writes, one after the other, stand on that side …
    pub(super) these: &'static [&'static str],
    /// … where the other side has those.
    pub(super) those: &'static [&'static str],
    pub(super) reason: &'static str,
}

const fn order(
    (recording, side): (&'static str, Side),
    who: (&'static str, &'static str),
    these: &'static [&'static str],
    those: &'static [&'static str],
    reason: &'static str,
) -> Order {
    Order { recording, side, who, these, those, reason }
}

/// The last look at a pod before it is deleted for good tells of its end.
const ENDED: &str = "Succeeded Ready=False ended 0";
/// A node that is evicted from and comes back.
const EVICTED: &[&str] = &["taints NoSchedule NoExecute", "taints NoExecute", "no taints"];

pub(super) const ORDERS: &[Order] = &[
    order(
        ("01", Side::Recorded),
        ("web", KUBELET),
        &[ENDED, "deleted for good"],
        &[ENDED, "other", "deleted for good"],
        STEPS,
    ),
    order(
        ("01b", Side::Simulated),
        ("crash", KUBELET),
        &["Ready=True restarts 5 runs", "Failed Ready=False ended 1"],
        &["ended 1", "Failed"],
        WAKES,
    ),
    order(
        ("04", Side::Simulated),
        ("failpar", JOB),
        &["deleted for good", "gone"],
        &["other"],
        LAST,
    ),
    order(("04", Side::Simulated), ("failpar", KUBELET), &["Failed"], &["Failed", "other"], LAST),
    order(
        ("04", Side::Recorded),
        ("onfail", KUBELET),
        &["restarts 1"],
        &["Ready=True restarts 1 runs", "Ready=False ended 1"],
        STEPS,
    ),
    order(
        ("04", Side::Simulated),
        ("onfail", KUBELET),
        &["Ready=True restarts 1 runs", "Ready=False ended 1"],
        &["restarts 1"],
        STEPS,
    ),
    order(
        ("05", Side::Simulated),
        ("ds", KUBELET),
        &[ENDED],
        &[ENDED, "other", "deleted for good", "gone"],
        KILLED,
    ),
    order(
        ("06", Side::Simulated),
        ("filler", KUBELET),
        &["Failed ended 137"],
        &["Running Ready=True runs", ENDED, "other"],
        LATER,
    ),
    order(
        ("06", Side::Recorded),
        ("filler", KUBELET),
        &["Running PodScheduled=True Ready=True runs"],
        &[],
        OVER,
    ),
    order(
        ("06", Side::Recorded),
        ("filler", "scheduler"),
        &["Pending DisruptionTarget=True"],
        &["DisruptionTarget=True"],
        OVER,
    ),
    order(
        ("06", Side::Simulated),
        ("filler", "scheduler"),
        &["DisruptionTarget=True"],
        &["Pending DisruptionTarget=True"],
        OVER,
    ),
    order(("06", Side::Recorded), ("pdbapp", KUBELET), &["other", ENDED], &[ENDED], SHUFFLED),
    order(
        ("02c", Side::Simulated),
        ("n1", NODES),
        &["taints NoSchedule NoExecute", "taints NoSchedule", "no taints"],
        &["no taints"],
        ZONES,
    ),
    order(("02c", Side::Simulated), ("n12", NODES), EVICTED, &["no taints"], MAPS),
    order(("02c", Side::Recorded), ("n12", NODES), &["no taints"], EVICTED, MAPS),
    order(("02c", Side::Simulated), ("n13", NODES), EVICTED, &["no taints"], MAPS),
    order(("02c", Side::Recorded), ("n13", NODES), &["no taints"], EVICTED, MAPS),
    order(("02c", Side::Recorded), ("n15", NODES), EVICTED, &["no taints"], MAPS),
    order(("02c", Side::Simulated), ("n15", NODES), &["no taints"], EVICTED, MAPS),
    order(
        ("07", Side::Recorded),
        ("web", KUBELET),
        &["Running Ready=True runs"],
        &["Running runs", "Ready=True"],
        STEPS,
    ),
    order(
        ("07", Side::Recorded),
        ("web", KUBELET),
        &["Running Ready=False runs"],
        &["Ready=False waits: ContainerCreating", "Running runs"],
        STEPS,
    ),
    order(
        ("07", Side::Recorded),
        ("web", KUBELET),
        &["Running runs", "other"],
        &["Running runs"],
        AGAIN_TOLD,
    ),
    order(
        ("07", Side::Recorded),
        ("web", KUBELET),
        &[ENDED, "deleted for good"],
        &[ENDED, "other", "deleted for good"],
        STEPS,
    ),
    order(("08", Side::Simulated), ("nsapp", NAMESPACE), &["to be deleted"], &[], KINDS),
    order(("08", Side::Simulated), ("nssts", NAMESPACE), &["to be deleted"], &[], KINDS),
];

/// Differences that come and go with the draws.
pub(super) fn is_chance(reason: &str) -> bool {
    reason.starts_with("chance")
}

/// The lists as tables.
fn tables() -> String {
    let mut text =
        String::from("\n| write | recordings: writes here | why it differs |\n|---|---|---|\n");
    for e in EXCEPTIONS {
        let (actor, verb, resource, code) = e.row;
        let count = |(id, least, most): &(&str, usize, usize)| {
            if least == most { format!("{id}: {least}") } else { format!("{id}: {least}–{most}") }
        };
        let all = e.here.iter().map(count).collect::<Vec<_>>().join(", ");
        writeln!(text, "| {actor} {verb} {resource} {code} | {all} | {} |", e.reason).unwrap();
    }
    text += "\n| recording | order of writes | only | instead of | why |\n|---|---|---|---|---|\n";
    for e in ORDERS {
        let side = if e.side == Side::Recorded { "recorded" } else { "here" };
        let ((class, actor), id) = (e.who, e.recording);
        let (these, those) = (e.these.join(" → "), e.those.join(" → "));
        writeln!(text, "| {id} | {class} by {actor} | {side}: {these} | {those} | {} |", e.reason)
            .unwrap();
    }
    text + &super::instants::table() + "\n"
}

/// `UPDATE=1` rewrites the section.
#[test]
fn accuracy_lists_every_difference() {
    const MARKS: [&str; 2] = ["<!-- timelines: begin -->\n", "<!-- timelines: end -->"];
    let path = root().join("ACCURACY.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(MARKS[0]).unwrap();
    let (section, tail) = rest.split_once(MARKS[1]).unwrap();
    let fresh = tables();
    if std::env::var_os("UPDATE").is_some() {
        let whole = format!("{head}{}{fresh}{}{tail}", MARKS[0], MARKS[1]);
        std::fs::write(&path, whole).unwrap();
    } else {
        assert_eq!(section, fresh, "stale: UPDATE=1 cargo test accuracy_lists");
    }
}
