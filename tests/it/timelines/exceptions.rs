//! Rows of the tables, and orders of writes, that differ, and why. What differs and is not here
//! fails, and so does what is here and no longer differs; of chance only what has become the same
//! for every seed. `ACCURACY.md` repeats the lists.

use crate::support::root;
use std::fmt::Write as _;

const TOKENS: &str = "not modelled: a token of a service account is no object and changes nothing";
const HEARTBEATS: &str = "not modelled: reports of nodes that have not changed (lazy heartbeats)";
const TOGETHER: &str = "chance: how many changes one status update tells of is a matter of \
                        milliseconds on a busy machine";
const LAG: &str = "chance: whether a controller has seen its own last write (informers lag by \
                   0–0.4 ms here)";
const PROBES: &str = "chance: a probe beside the ticks may fall together with one of them";
const MOUNTS: &str = "chance: a FailedMount whose ConfigMap had not reached the kubelet";
const AGAIN: &str = "chance: the garbage collector deletes a pod again that is about to go";
const BUSY: &str = "chance: both processors were saturated, probes came late and pods were deleted \
                    later";
const STEPS: &str = "chance: one look at the runtime may show two steps at once";
const LAST: &str = "chance: who deletes an ended pod for good, its kubelet or whoever asks again";
const ZONES: &str = "chance: which of all nodes is Unknown first decides who is still tainted";
const UNNAMED: &str = "an audit log does not name what a deletecollection takes";

const FOLDED: &str = "not modelled: a refusal names the pod that was refused; without the name the Events \
                      are the same and fold at once";
const LATER: &str = "chance: which of the pods that wait are bound while their Deployment is being deleted, \
                     and how far they get";
const NAMED: &str = "1.29 moves pods whose hints say no, and tells of their further attempts; pods held to \
                     a node fail on the others for another reason";
const AUDIT: &str = "the recording's audit log has no priority classes";
const OVER: &str =
    "1.29's preemption writes over the status of victims, and their kubelets write it anew";
const TWICE: &str = "not modelled: an eviction writes the pod's condition and its deletion in two revisions; here \
                     in one";
const UNSTARTED: &str =
    "not modelled: a container that never started ends as ContainerStatusUnknown, 137";
const EMPTY: &str = "chance: whether a budget is looked at twice before its pods are there";

/// A row that differs in some recordings.
#[derive(Debug)]
pub(super) struct Exception {
    pub(super) recordings: &'static [&'static str],
    /// Actor, verb, resource, code.
    pub(super) row: (&'static str, &'static str, &'static str, u16),
    pub(super) reason: &'static str,
}

const fn row(
    recordings: &'static [&'static str],
    row: (&'static str, &'static str, &'static str, u16),
    reason: &'static str,
) -> Exception {
    Exception { recordings, row, reason }
}

const GC: &str = "kcm:generic-garbage-collector";
const DEPLOYMENT: &str = "kcm:deployment-controller";
const ENDPOINT: &str = "kcm:endpoint-controller";

pub(super) const EXCEPTIONS: &[Exception] = &[
    row(
        &["01", "01b", "03", "04", "05", "06", "07", "08", "10"],
        ("kubelet", "create", "serviceaccounts/token", 201),
        TOKENS,
    ),
    row(
        &["01", "01b", "03", "04", "05", "06", "07", "08", "10"],
        ("kubelet", "patch", "nodes/status", 200),
        HEARTBEATS,
    ),
    row(&["02c"], ("fakelet", "patch", "nodes/status", 200), HEARTBEATS),
    row(&["02c"], ("kcm:node-controller", "patch", "nodes", 200), ZONES),
    row(&["02c"], ("kcm:replicaset-controller", "patch", "events", 200), ZONES),
    row(
        &["01", "02c", "06", "07", "10"],
        (DEPLOYMENT, "update", "deployments/status", 200),
        TOGETHER,
    ),
    row(
        &["01", "02c", "06", "07"],
        ("kcm:replicaset-controller", "update", "replicasets/status", 200),
        TOGETHER,
    ),
    row(&["03"], ("kcm:statefulset-controller", "update", "statefulsets/status", 200), TOGETHER),
    row(&["05"], ("kcm:daemon-set-controller", "update", "daemonsets/status", 200), TOGETHER),
    row(&["04"], ("kcm:job-controller", "update", "jobs/status", 200), TOGETHER),
    row(&["07"], ("kcm:endpointslice-controller", "update", "endpointslices", 200), TOGETHER),
    row(&["01", "04"], ("kubelet", "patch", "pods/status", 200), STEPS),
    row(&["06"], ("kubelet", "patch", "pods/status", 200), OVER),
    row(&["01", "03", "04", "05", "06", "08"], ("kubelet", "create", "events", 201), MOUNTS),
    row(&["01", "04", "05", "06", "10"], ("kubelet", "patch", "events", 200), PROBES),
    row(&["05", "08"], (GC, "delete", "pods", 200), AGAIN),
    row(&["05"], (GC, "delete", "pods", 404), AGAIN),
    row(&["05"], ("kubelet", "delete", "pods", 200), AGAIN),
    row(&["05"], ("kubelet", "patch", "pods/status", 200), AGAIN),
    row(&["07"], (DEPLOYMENT, "update", "replicasets", 409), LAG),
    row(&["08"], (GC, "delete", "replicasets", 200), AGAIN),
    row(&["08"], (GC, "patch", "deployments", 409), LAG),
    row(&["08"], (ENDPOINT, "create", "endpoints", 409), LAG),
    row(&["07"], (ENDPOINT, "update", "endpoints", 409), LAG),
    row(&["07"], (ENDPOINT, "create", "events", 201), LAG),
    row(&["07"], (ENDPOINT, "patch", "events", 200), LAG),
    row(&["07"], (ENDPOINT, "delete", "endpoints", 404), TOGETHER),
    row(&["04"], ("kcm:cronjob-controller", "create", "jobs", 409), LAG),
    row(&["04"], ("kcm:cronjob-controller", "create", "events", 201), LAG),
    row(&["07"], ("kubelet", "create", "events", 201), BUSY),
    row(&["07"], ("kubelet", "patch", "events", 200), BUSY),
    row(&["07"], ("kubelet", "delete", "pods", 200), BUSY),
    row(&["06", "06b"], ("kcm:replicaset-controller", "create", "events", 201), FOLDED),
    row(&["06", "06b"], ("kcm:replicaset-controller", "patch", "events", 200), FOLDED),
    row(
        &["06"],
        ("kcm:disruption-controller", "update", "poddisruptionbudgets/status", 200),
        TOGETHER,
    ),
    row(&["06"], ("kcm:disruption-controller", "patch", "events", 200), EMPTY),
    row(&["06"], ("kubelet", "delete", "pods", 200), LATER),
    row(&["06"], ("scheduler", "create", "pods/binding", 201), LATER),
    row(&["06"], ("scheduler", "create", "pods/binding", 409), LATER),
    row(&["06"], ("scheduler", "patch", "pods/status", 404), LATER),
    row(&["06"], ("scheduler", "create", "events", 201), NAMED),
    row(&["06"], ("scheduler", "patch", "events", 200), NAMED),
    row(&["06"], ("user", "create", "priorityclasses", 201), AUDIT),
    row(&["06"], ("user", "delete", "priorityclasses", 200), AUDIT),
    row(
        &["05"],
        ("kcm:ttl-controller", "patch", "nodes", 200),
        "not modelled: an annotation of nodes that no kubelet reads any more",
    ),
    row(
        &["08"],
        ("kcm:namespace-controller", "update", "namespaces/finalize", 409),
        "not modelled: the finalize request names no resourceVersion here and needs no second try",
    ),
];

/// Where an order of writes occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Recorded,
    Simulated,
}

/// Orders of writes to pods that occur on one side only.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) recording: &'static str,
    pub(super) side: Side,
    /// Class of pods and actor; `*` for all.
    pub(super) who: (&'static str, &'static str),
    /// Part of the order; empty for any.
    pub(super) contains: &'static str,
    pub(super) reason: &'static str,
}

impl Order {
    pub(super) fn matches(&self, class: &str, actor: &str, order: &str) -> bool {
        let is = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        is(self.who.0, class) && is(self.who.1, actor) && order.contains(self.contains)
    }
}

const fn order(
    recording: &'static str,
    side: Side,
    who: (&'static str, &'static str),
    contains: &'static str,
    reason: &'static str,
) -> Order {
    Order { recording, side, who, contains, reason }
}

pub(super) const ORDERS: &[Order] = &[
    order("01", Side::Recorded, ("web", "kubelet"), "ended 0 → deleted for good", STEPS),
    order(
        "01b",
        Side::Simulated,
        ("crash", "kubelet"),
        "restarts 5",
        "chance: the worker of a crashing pod wakes after 10 to 15 s",
    ),
    order(
        "04",
        Side::Recorded,
        ("deadline", "*"),
        "",
        "chance: a batch of the job controller ends before or after the pod's last write",
    ),
    order(
        "04",
        Side::Simulated,
        ("deadline", "*"),
        "",
        "chance: a batch of the job controller ends before or after the pod's last write",
    ),
    order("04", Side::Recorded, ("onfail", "kubelet"), "ended 1 → restarts 1", STEPS),
    order("04", Side::Simulated, ("onfail", "*"), "", STEPS),
    order("04", Side::Simulated, ("failpar", "kcm:job-controller"), "deleted for good", LAST),
    order("05", Side::Recorded, ("ds", GC), "deleted for good", LAST),
    order("05", Side::Recorded, ("ds", "kubelet"), "", LAST),
    order("05", Side::Simulated, ("ds", "kubelet"), "", LAST),
    order("05", Side::Simulated, ("ds", "kcm:node-controller"), "", LAST),
    order("06", Side::Recorded, ("filler", "kubelet"), "PodScheduled=True", OVER),
    order("06", Side::Simulated, ("filler", "kubelet"), "Failed → deleted", LATER),
    order("06", Side::Recorded, ("filler", "scheduler"), "Pending DisruptionTarget", OVER),
    order("06", Side::Simulated, ("filler", "scheduler"), "DisruptionTarget", OVER),
    order("06", Side::Recorded, ("pdbapp", ""), "other", TWICE),
    order("06", Side::Recorded, ("pdbapp", "kubelet"), "DisruptionTarget", TWICE),
    order("06", Side::Recorded, ("seven", "kubelet"), "ended 137", UNSTARTED),
    order("06", Side::Simulated, ("seven", "kubelet"), "Failed → deleted", UNSTARTED),
    order("07", Side::Recorded, ("web", "kubelet"), "", BUSY),
    order("07", Side::Simulated, ("web", "kubelet"), "", LAST),
    order("08", Side::Recorded, ("d-foreground", GC), "deleted for good", LAST),
    order("08", Side::Recorded, ("d-foreground", "kubelet"), "", LAST),
    order("08", Side::Recorded, ("d-orphan", "*"), "", UNNAMED),
    order("08", Side::Simulated, ("d-orphan", "*"), "", UNNAMED),
    order("08", Side::Simulated, ("nsapp", "kcm:namespace-controller"), "", UNNAMED),
    order("08", Side::Simulated, ("nssts", "*"), "", UNNAMED),
];

/// Differences that come and go with the draws.
pub(super) fn is_chance(reason: &str) -> bool {
    reason.starts_with("chance")
}

/// The lists as tables.
fn tables() -> String {
    let mut text = String::from("\n| recordings | write | why it differs |\n|---|---|---|\n");
    for e in EXCEPTIONS {
        let (actor, verb, resource, code) = e.row;
        let all = e.recordings.join(", ");
        writeln!(text, "| {all} | {actor} {verb} {resource} {code} | {} |", e.reason).unwrap();
    }
    text += "\n| recording | order of writes to pods, by actor | only | why |\n|---|---|---|---|\n";
    for e in ORDERS {
        let side = if e.side == Side::Recorded { "recorded" } else { "here" };
        let what = if e.contains.is_empty() { "" } else { ": " };
        let (class, actor) = (e.who.0, e.who.1.replace('*', "all"));
        writeln!(
            text,
            "| {} | {class} by {actor}{what}{} | {side} | {} |",
            e.recording, e.contains, e.reason
        )
        .unwrap();
    }
    text + "\n"
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
