//! Networks that fail, machines that stand still, and what is late: what kubelets, the node
//! controller and etcd make of it.

use std::path::Path;
use std::sync::Arc;
use wavetank::api::pod::{ConditionType, Truth};
use wavetank::api::request::User;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj};
use wavetank::engine::SimTime;
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load::parse};
use wavetank::session::{Observer, Session};
use wavetank::sweep::storm::{self, Weather};

const CLUSTER: &str =
    "cluster: {nodes: [{name: node, count: 4, cpu: 4, memory: 16Gi, zones: [a, b]}]}";
const PLANES: &str = "cluster: {controlPlane: {nodes: 3, name: cp, zones: [a, b, c]}, \
                      nodes: [{name: node, count: 6, cpu: 4, memory: 16Gi, zones: [a, b, c]}]}";
pub(crate) const WEB: &str = "
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 8
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers: [{name: web, image: nginx, resources: {requests: {cpu: 100m}}}]
";

fn text(cluster: &str, rest: &str) -> String {
    format!(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {{name: t}}\nseed: 3\n{cluster}\n{rest}"
    )
}

/// What happened, in order: second, who or what, what.
#[derive(Default)]
pub(crate) struct Story(pub(crate) Vec<(f64, String, String)>);

impl Story {
    fn add(&mut self, at: SimTime, who: &dyn ToString, what: &dyn ToString) {
        self.0.push((at.secs_f64(), who.to_string(), what.to_string()));
    }

    /// Instants at which this was told.
    pub(crate) fn at(&self, who: &str, what: &str) -> Vec<f64> {
        self.0.iter().filter(|l| l.1 == who && l.2 == what).map(|l| l.0).collect()
    }

    pub(crate) fn first(&self, who: &str, what: &str) -> f64 {
        *self.at(who, what).first().unwrap_or_else(|| panic!("{who}: {what} never: {:#?}", self.0))
    }

    pub(crate) fn lines(&self, what: &str) -> Vec<(f64, &str)> {
        self.0.iter().filter(|l| l.2 == what).map(|l| (l.0, l.1.as_str())).collect()
    }
}

fn ready(obj: Option<&Obj>) -> Option<Truth> {
    let obj = obj?;
    let conditions = if let Obj::Node(node) = obj {
        &node.status.conditions
    } else {
        &obj.as_pod()?.status.conditions
    };
    conditions.get(ConditionType::Ready).map(|c| c.status)
}

impl Observer for Story {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let at = record.time;
        if let What::Fault { node, step, .. } = record.what {
            self.add(at, &node, &step);
        } else if let What::Noticed { who, node, step } = record.what {
            self.add(at, if node.is_empty() { &who } else { &node }, &step);
        } else if let What::Refused { user, error, .. } = record.what {
            self.add(at, &user, &format!("{error:?}"));
        } else if let What::Committed { kind, log, user, verb, .. } = record.what {
            let Some(change) = versions.change(kind, log) else { return };
            let name = change.value.key().1;
            let (now, before) = (ready(Some(&change.value)), ready(change.before.as_ref()));
            if kind == Kind::Node && now != before {
                self.add(at, &name, &format!("{:?}", now.unwrap_or(Truth::Unknown)));
            }
            if kind == Kind::Node && matches!(user, User::Admin) {
                self.add(at, &name, &format!("{}{} by user", verb.0, verb.1));
            }
            let Some(pod) = change.value.as_pod() else { return };
            let old = change.before.as_ref().and_then(Obj::as_pod);
            let on = format!("{name} of {}", pod.node);
            if change.deleted {
                self.add(at, &on, &"gone");
            } else if pod.meta.terminating() && old.is_some_and(|p| !p.meta.terminating()) {
                self.add(at, &on, &"to go");
            } else if pod.terminal() && old.is_some_and(|p| !p.terminal()) {
                self.add(at, &name, &format!("{:?}", pod.status.phase));
            } else if now == Some(Truth::True) && before != now {
                self.add(at, &on, &"ready");
            }
        }
    }
}

pub(crate) fn play(cluster: &str, rest: &str) -> (Story, Session) {
    let yaml = text(cluster, rest);
    let loaded = parse("t.yaml", yaml, Path::new(""), &LoadOptions::default());
    let loaded = loaded.unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    let mut session = Session::new(Arc::new(loaded.plan));
    let mut story = Story::default();
    session.run(&mut [&mut story], |_| {});
    (story, session)
}

/// Every invariant is checked after every event, and the cluster must converge.
pub(crate) fn holds(cluster: &str, rest: &str) {
    for shuffle in [false, true] {
        let weather = Weather { shuffle, twice: true, canary: None };
        if let Err(failure) = storm::run(&text(cluster, rest), weather) {
            panic!("{failure:?}");
        }
    }
}

pub(crate) fn between(value: f64, low: f64, high: f64) {
    assert!((low..=high).contains(&value), "{value} is not between {low} and {high}");
}

#[test]
fn a_node_that_is_cut_off_is_noticed_emptied_and_cleans_up_when_it_is_back() {
    let rest = format!(
        "until: {{at: 40m, idle: true}}\nfaults:\n  - {{partition: {{between: {{node: node-1}}}}, at: 5m, for: 10m}}{WEB}"
    );
    let (story, _) = play(CLUSTER, &rest);
    between(story.first("node-1", "network lost"), 300.0, 300.0);
    // 50 s after the last renewal, at the next tick of 5 s; pods tolerate 300 s.
    between(story.first("node-1", "Unknown"), 339.0, 355.1);
    let to_go: Vec<(f64, &str)> = story.lines("to go");
    assert!(
        to_go.iter().all(|(at, who)| who.ends_with("of node-1") && (640.0..662.0).contains(at))
    );
    assert_eq!(to_go.len(), 2, "{to_go:?}");
    // Nobody tells the kubelet before the network is back; then it ends them, in 30 s at most.
    for (at, _) in story.lines("gone") {
        between(at, 900.0, 975.0);
    }
    assert_eq!(story.lines("gone").len(), 2);
    between(story.first("node-1", "network back"), 900.0, 900.0);
    let back = *story.at("node-1", "True").last().unwrap();
    between(back, 900.0, 921.0);
    holds(CLUSTER, &rest);
}

#[test]
fn heartbeats_spelled_out_tell_the_same_story() {
    for cut in ["", ", oneWay: true", ", and: {controlPlane: true}, oneWay: false"] {
        let rest = format!(
            "until: 20m\nfaults:\n  - {{partition: {{between: {{zone: b}}{cut}}}, at: 5m, for: 3m}}\n\
             \x20 - {{freeze: {{node: node-0}}, at: 6m, for: 2m}}{WEB}"
        );
        let explicit = CLUSTER.replace("cluster: {", "cluster: {heartbeats: explicit, ");
        let turns = |cluster: &str| {
            let (story, _) = play(cluster, &rest);
            let nodes = story.0.into_iter().filter(|l| ["Unknown", "True"].contains(&l.2.as_str()));
            nodes.map(|(at, who, what)| (num(at), who, what)).collect::<Vec<_>>()
        };
        assert_eq!(turns(CLUSTER), turns(&explicit), "{cut}");
    }
}

/// Tenths of a second: writes of leases shift others by milliseconds.
fn num(at: f64) -> String {
    format!("{at:.1}")
}

#[test]
fn a_short_cut_delays_what_is_said_and_nothing_else() {
    let rest = format!(
        "until: 4m\nfaults:\n  - {{partition: {{between: {{zone: a}}}}, at: 60s, for: 5s}}\n\
         workload:\n  - {{at: 61s, scale: {{target: deployment/web, replicas: 16}}}}{WEB}"
    );
    let (story, _) = play(CLUSTER, &rest);
    let lost: Vec<&str> = story.lines("network lost").into_iter().map(|l| l.1).collect();
    assert_eq!(lost, ["network", "node-0", "node-2"]);
    assert!(story.lines("Unknown").is_empty() && story.lines("to go").is_empty());
    let late: Vec<f64> = story
        .lines("ready")
        .into_iter()
        .filter(|(at, who)| *at > 60.0 && (who.ends_with("node-0") || who.ends_with("node-2")))
        .map(|l| l.0)
        .collect();
    // The connection outlives the cut: TCP sends again 6.2 s after the first time.
    assert_eq!(late.len(), 4);
    late.iter().for_each(|at| between(*at, 66.2, 71.0));
    holds(CLUSTER, &rest);
}

#[test]
fn in_a_one_way_cut_the_other_way_works_until_the_kubelet_gives_up() {
    // Answers and changes are lost, requests arrive: until its heartbeats time out.
    let cut = |sides: &str| {
        format!(
            "until: {{at: 20m, idle: true}}\nfaults:\n  - {{partition: {{{sides}, oneWay: true}}, at: 60s, for: 4m}}\n\
             workload:\n  - {{at: 61s, delete: pod/default/web-*}}\n  - {{at: 61s, scale: {{target: deployment/web, replicas: 20}}}}{WEB}"
        )
    };
    let down = cut("between: {controlPlane: true}, and: {zone: b}");
    let (story, _) = play(CLUSTER, &down);
    let in_b = |who: &str| who.ends_with("node-1") || who.ends_with("node-3");
    let started: Vec<f64> = story
        .lines("ready")
        .into_iter()
        .filter(|(t, w)| *t > 60.5 && in_b(w))
        .map(|l| l.0)
        .collect();
    assert!(started.iter().all(|t| *t > 300.0), "nobody there was told: {started:?}");
    // One renewal still counts, so the node is noticed up to ten seconds later than in a full cut.
    for node in ["node-1", "node-3"] {
        between(story.first(node, "Unknown"), 110.0, 126.0);
    }
    holds(CLUSTER, &down);
    let up = cut("between: {zone: b}, and: {controlPlane: true}");
    let (story, _) = play(CLUSTER, &up);
    // Changes still arrive, so containers start; what they came to is told when the cut heals.
    for node in ["node-1", "node-3"] {
        between(story.first(node, "Unknown"), 99.0, 116.0);
    }
    let started: Vec<f64> = story
        .lines("ready")
        .into_iter()
        .filter(|(t, w)| *t > 60.5 && in_b(w))
        .map(|l| l.0)
        .collect();
    assert!(started.iter().all(|t| *t > 300.0), "{started:?}");
    assert!(started.iter().any(|t| *t < 311.0), "{started:?}");
    holds(CLUSTER, &up);
}

#[test]
fn a_kubelet_that_starts_behind_a_cut_registers_when_it_heals() {
    let rest = format!(
        "until: {{at: 40m, idle: true}}\nfaults:\n\
         \x20 - {{partition: {{between: {{node: node-2}}}}, at: 2m, for: 5m}}\n\
         \x20 - {{crash: {{node: node-2}}, at: 3m, for: 1m}}\n\
         \x20 - {{partition: {{between: {{zone: a}}}}, at: 6m, for: 2m}}{WEB}"
    );
    let (story, _) = play(CLUSTER, &rest);
    // The second cut holds the node when the first one is over.
    let back = *story.at("node-2", "True").last().unwrap();
    between(back, 480.0, 500.0);
    holds(CLUSTER, &rest);
}

#[test]
fn a_frozen_machine_goes_on_where_it_stopped() {
    let job = "
objects:
  - apiVersion: batch/v1
    kind: Job
    metadata: {name: work}
    spec:
      template:
        metadata: {annotations: {wavetank.dev/exit-after: 100s}}
        spec:
          restartPolicy: Never
          containers: [{name: work, image: busybox, resources: {requests: {cpu: 1}}}]
";
    let ends = |faults: &str| {
        let one = "cluster: {nodes: [{name: node, count: 1, cpu: 4, memory: 16Gi}]}";
        let rest = format!("until: {{at: 30m, idle: true}}\n{faults}{job}");
        let (story, _) = play(one, &rest);
        let ends: Vec<f64> = story.lines("Succeeded").into_iter().map(|l| l.0).collect();
        holds(one, &rest);
        (ends, story)
    };
    let (calm, _) = ends("");
    let (late, story) = ends("faults: [{freeze: {node: node-0}, at: 40s, for: 30s}]\n");
    assert_eq!((calm.len(), late.len()), (1, 1));
    // Thirty seconds of work were not done; the PLEG's list adds up to a second.
    between(late[0] - calm[0], 28.9, 31.1);
    assert!(story.lines("Unknown").is_empty(), "a freeze of 30 s is not noticed");
    // Two that overlap hold it from the first to the last.
    let (later, story) = ends(
        "faults: [{freeze: {node: node-0}, at: 40s, for: 60s}, {freeze: {node: node-0}, at: 70s, for: 90s}]\n",
    );
    between(later[0] - calm[0], 118.9, 121.1);
    between(story.first("node-0", "Unknown"), 79.0, 96.0);
    between(*story.at("node-0", "True").last().unwrap(), 160.0, 181.0);
}

#[test]
fn a_frozen_leader_is_succeeded() {
    let rest = format!(
        "until: {{at: 30m, idle: true}}\nfaults: [{{freeze: {{node: cp-0}}, at: 2m, for: 2m}}, \
         {{freeze: {{node: cp-1}}, at: 8m, for: 2m}}, {{freeze: {{node: cp-2}}, at: 14m, for: 2m}}]\n\
         workload:\n  - {{at: 150s, scale: {{target: deployment/web, replicas: 10}}}}\n\
         \x20 - {{at: 510s, scale: {{target: deployment/web, replicas: 12}}}}\n\
         \x20 - {{at: 870s, scale: {{target: deployment/web, replicas: 14}}}}{WEB}"
    );
    let (story, _) = play(PLANES, &rest);
    // Whoever leads is among the three; the others take over after their 15 s.
    let takes: Vec<(f64, &str)> = story.lines("acquired the lease and leads");
    assert!(takes.len() >= 2, "{takes:?}");
    for (at, _) in &takes {
        let begins = [120.0, 480.0, 840.0].into_iter().rfind(|t| t < at).unwrap();
        between(*at - begins, 13.0, 22.0);
    }
    holds(PLANES, &rest);
}

#[test]
fn the_side_with_a_majority_of_etcd_goes_on() {
    let rest = format!(
        "until: {{at: 40m, idle: true}}\nfaults:\n\
         \x20 - {{partition: {{between: {{zone: a}}, and: {{selector: {{part: rest}}}}}}, at: 5m, for: 10m}}\n\
         workload:\n  - {{at: 6m, scale: {{target: deployment/web, replicas: 12}}}}{WEB}"
    );
    let planes = "cluster: {controlPlane: {nodes: 3, name: cp, zones: [a, b, c]}, \
                  nodes: [{name: node, count: 2, cpu: 4, memory: 16Gi, zone: a}, \
                  {name: rest, count: 4, cpu: 4, memory: 16Gi, zones: [b, c], labels: {part: rest}}]}";
    // Zone a alone against the workers of the others: its own API server still serves it.
    let (story, _) = play(planes, &rest);
    assert!(story.lines("Unknown").is_empty(), "{:?}", story.lines("Unknown"));
    let zone = rest.replace("and: {selector: {part: rest}}", "and: {nodes: [cp-1, cp-2]}");
    let (story, _) = play(planes, &zone);
    // etcd goes on in b and c; nobody in a gets an answer, and all of a is noticed.
    for node in ["node-0", "node-1", "cp-0"] {
        between(story.first(node, "Unknown"), 339.0, 365.0);
        between(*story.at(node, "True").last().unwrap(), 900.0, 925.0);
    }
    assert!(story.lines("Unknown").iter().all(|l| ["node-0", "node-1", "cp-0"].contains(&l.1)));
    let ready = story.lines("ready");
    let scaled =
        ready.iter().filter(|(at, who)| *at > 360.0 && *at < 400.0 && who.contains("rest"));
    assert_eq!(scaled.count(), 4, "the control plane works: {ready:?}");
    holds(planes, &zone);
    // Cut in three, nobody has a majority: nothing is written until the network is back.
    let split = rest.replace("and: {selector: {part: rest}}", "and: {zone: b}") + "\n";
    let split = split.replace(
        "workload:",
        "  - {partition: {between: {nodes: [cp-2]}, and: {nodes: [cp-0, cp-1]}}, at: 5m, for: 10m}\nworkload:",
    );
    let (story, _) = play(planes, &split);
    let written: Vec<_> =
        story.0.iter().filter(|l| l.2 == "ready" && l.0 > 302.0 && l.0 < 900.0).collect();
    assert!(written.is_empty(), "{written:?}");
    holds(planes, &split);
}

#[test]
fn late_renewals_make_nodes_flap() {
    let run = |delay: &str| {
        let rest = format!(
            "until: 20m\nfaults:\n  - {{network: {{of: {{node: node-1}}, {delay}}}, at: 2m, for: 10m}}{WEB}"
        );
        holds(CLUSTER, &rest);
        play(CLUSTER, &rest).0
    };
    let calm = run("delay: 2s, loss: 0.2");
    assert!(calm.lines("Unknown").is_empty(), "{:?}", calm.lines("Unknown"));
    let flaps = run("delay: {exponential: 45s}");
    let unknown = flaps.at("node-1", "Unknown");
    assert!(unknown.len() >= 2, "{unknown:?}");
    assert!(unknown.iter().all(|t| (165.0..790.0).contains(t)), "{unknown:?}");
    // It comes back by itself, each time.
    assert!(flaps.at("node-1", "True").len() >= unknown.len());
    assert!(flaps.lines("Unknown").iter().all(|l| l.1 == "node-1"));
}

#[test]
fn slow_nodes_start_containers_later() {
    let last = |faults: &str| {
        let (story, _) = play(CLUSTER, &format!("until: 5m\n{faults}{WEB}"));
        story.lines("ready").into_iter().map(|l| l.0).fold(0.0, f64::max)
    };
    let (calm, slow) =
        (last(""), last("faults: [{slowNode: {of: {percent: 100}, factor: 10}, at: 0s}]\n"));
    assert!(slow > 4.0 * calm, "{calm} and {slow}");
}

#[test]
fn all_at_once_ends_well() {
    let faults = "faults:
  - {partition: {between: {node: node-1}}, at: 2m, for: 4m}
  - {partition: {between: {zone: b}, oneWay: true}, at: 5m, for: 4m}
  - {kubeletWatchLoss: {node: node-1}, at: 3m, for: 5m}
  - {crash: {node: node-1}, at: 4m, for: 1m}
  - {freeze: {zone: b}, at: 5m30s, for: 2m}
  - {freeze: {node: node-1}, at: 7m, for: 1m}
  - {network: {of: {zone: b}, delay: {exponential: 5s}, loss: 0.3}, at: 1m, for: 10m}
  - {slowNode: {of: {node: node-3}, factor: 20}, at: 1m, for: 10m}
  - {interrupt: {of: {node: node-3}, notice: 1m, replace: 1m}, at: 6m}
  - {kubeletStop: {node: node-3}, at: 6m30s, for: 2m}
";
    let steps = "workload:
  - {at: 3m30s, scale: {target: deployment/web, replicas: 14}}
  - {at: 8m, setImage: {target: deployment/web, image: nginx:2}}
";
    for cluster in [CLUSTER, PLANES] {
        let rest = format!("until: {{at: 3h, idle: true}}\n{faults}{steps}{WEB}");
        let (_, session) = play(cluster, &rest);
        // The run ends by itself: no fault is left open.
        assert!(session.now() < SimTime::from_secs(3600), "{:?}", session.now());
        holds(cluster, &rest);
    }
}
