//! Every effect has a cause: the way of each pod from the scenario to Running, hop by hop, and the
//! event traces and summaries of the small scenarios as they stand in the repository.

use super::support::{plan, root, snapshot};
use std::sync::Arc;
use wavetank::api::pod::Phase;
use wavetank::api::request::User;
use wavetank::api::versions::{Change, ObjRef, Versions};
use wavetank::api::{Kind, Obj};
use wavetank::cluster::spec::Plan;
use wavetank::event::{Event, NodeEvent, Record, What};
use wavetank::report::metrics::Metrics;
use wavetank::report::rundir::trace_line;
use wavetank::report::summary::Summary;
use wavetank::report::text::render;
use wavetank::session::{Observer, Recorder, Session, why};

/// Scenarios whose traces are looked at.
const SMALL: [&str; 9] = [
    "blackout-and-restore",
    "control-plane-node-loss",
    "crash-loop",
    "etcd-quorum-loss",
    "first-steps",
    "guard-rails",
    "preemption",
    "rolling-update",
    "zone-outage",
];

/// The stages of a request, effect first.
const STAGES: [&str; 8] = [
    "event commit",
    "stage Etcd",
    "stage ValidatingAdmission",
    "stage Validation",
    "stage MutatingAdmission",
    "stage Authorization",
    "stage Authentication",
    "event arrive",
];

fn traced(plan: &Arc<Plan>) -> (Recorder, Session) {
    let mut recorder = Recorder::default();
    let mut session = Session::new(Arc::clone(plan));
    session.trace(true);
    session.run(&mut [&mut recorder], |_| {});
    (recorder, session)
}

/// A record in a few words.
fn hop(recorder: &Recorder, record: &Record) -> String {
    match record.what {
        What::Committed { kind, user, verb, .. } => {
            let who = match user {
                User::Kubelet(_) => "kubelet".to_owned(),
                User::Controller(name) => name.to_string(),
                User::Admin | User::Scheduler | User::ApiServer | User::Person { .. } => {
                    user.to_string()
                }
            };
            let born = recorder.change(record.seq).is_some_and(|c| c.before.is_none());
            let born = if born && verb.1.is_empty() { "new " } else { "" };
            format!("committed {born}{kind}{} by {who}", verb.1)
        }
        What::Submitted { kind, verb, .. } => format!("sent {kind}{}", verb.1),
        What::Stage(stage) => format!("stage {stage:?}"),
        What::Delivered { to, kind, .. } => format!("delivered {kind} to {:?}", to.role),
        What::Listed { to, kind, .. } => format!("listed {kind} to {:?}", to.role),
        What::Sync { controller, .. } => format!("sync {controller}"),
        What::Scheduled { .. } => "scheduled".to_owned(),
        What::Scenario { .. } => "scenario".to_owned(),
        What::Fault { .. } => "fault".to_owned(),
        What::Noticed { .. } => "noticed".to_owned(),
        What::Flow { .. } | What::Lost { .. } => "requests".to_owned(),
        What::Worked { .. } => "worked".to_owned(),
        What::Machine { .. } => "machine".to_owned(),
        What::Refused { .. } => "refused".to_owned(),
        What::Warned { .. } => "warned".to_owned(),
        What::Node { step, .. } => step.to_owned(),
        What::Event(event) => event_words(event).to_owned(),
    }
}

fn event_words(event: Event) -> &'static str {
    use wavetank::event::ApiEvent;
    match event {
        Event::Api(ApiEvent::Arrive(_)) => "event arrive",
        Event::Api(ApiEvent::Commit(_)) => "event commit",
        Event::Node { event: NodeEvent::ContainerStarted { .. }, .. } => "event started",
        Event::Node { event: NodeEvent::SandboxReady { .. }, .. } => "event sandbox",
        Event::Node { event: NodeEvent::Mounted { .. }, .. } => "event mounted",
        Event::Api(_)
        | Event::Watch { .. }
        | Event::Answer { .. }
        | Event::Registry(_)
        | Event::Outage(_)
        | Event::Scrape
        | Event::Scheduler(_)
        | Event::Controller { .. }
        | Event::Node { .. }
        | Event::User(_)
        | Event::Fault { .. }
        | Event::Control(_)
        | Event::Proxy(_)
        | Event::Traffic(_)
        | Event::Trouble(_)
        | Event::Cloud(_)
        | Event::Autoscaler(_)
        | Event::LogStore => "event",
    }
}

/// Checks that the wanted hops appear in this order, others between them or not.
fn in_order(pod: &str, hops: &[String], wanted: &[String]) {
    let mut at = 0;
    for want in wanted {
        let found = hops[at..].iter().position(|hop| hop == want);
        let found = found.unwrap_or_else(|| {
            panic!("{pod}: no {want:?} from hop {at} on:\n  {}", hops.join("\n  "))
        });
        at += found + 1;
    }
}

/// Effect first: a committed request, back to who sent it.
fn request(committed: &str, sent: &str) -> Vec<String> {
    let mut hops = vec![committed.to_owned()];
    hops.extend(STAGES.iter().map(|&s| s.to_owned()));
    hops.push(sent.to_owned());
    hops
}

/// From Running back to the pod's creation by `creator`.
fn life(creator: &str) -> Vec<String> {
    let mut hops = request("committed Pod/status by kubelet", "sent Pod/status");
    let on_node = ["container runs", "event started", "event sandbox", "event mounted"];
    hops.extend(on_node.map(str::to_owned));
    hops.push("delivered Pod to Kubelet".to_owned());
    hops.extend(request("committed Pod/binding by scheduler", "sent Pod/binding"));
    hops.extend(["scheduled", "delivered Pod to Scheduler"].map(str::to_owned));
    hops.extend(request(&format!("committed new Pod by {creator}"), "sent Pod"));
    hops
}

/// From a `ReplicaSet`'s sync back to the user's apply of the Deployment.
fn rollout() -> Vec<String> {
    let mut hops = vec!["sync replicaset-controller".to_owned()];
    hops.push("delivered ReplicaSet to ControllerManager".to_owned());
    hops.extend(request("committed new ReplicaSet by deployment-controller", "sent ReplicaSet"));
    hops.push("sync deployment-controller".to_owned());
    hops.push("delivered Deployment to ControllerManager".to_owned());
    hops.extend(request("committed new Deployment by user", "sent Deployment"));
    hops.push("scenario".to_owned());
    hops
}

/// The first time that each pod is Running.
fn first_running(recorder: &Recorder) -> Vec<(&Record, &Change)> {
    let phase = |obj: &Obj| obj.as_pod().map(|p| p.status.phase);
    let mut seen: Vec<ObjRef> = Vec::new();
    let mut found = Vec::new();
    for record in recorder.records() {
        let Some(change) = recorder.change(record.seq) else { continue };
        let runs = phase(&change.value) == Some(Phase::Running);
        if runs && !seen.contains(&change.object) {
            seen.push(change.object);
            found.push((record, change));
        }
    }
    found
}

/// Up to its creation a pod's story is about this pod alone.
fn about_one_pod(recorder: &Recorder, chain: &[Record], object: ObjRef) {
    for record in chain {
        let own = match record.what {
            What::Committed { kind, object: other, .. } => kind == Kind::Pod && other == object,
            What::Scheduled { pod, .. } => pod == object,
            What::Node { pod, .. } | What::Worked { pod, .. } => pod == object,
            What::Event(_) | What::Submitted { .. } | What::Stage(_) | What::Delivered { .. } => {
                true
            }
            What::Refused { .. }
            | What::Warned { .. }
            | What::Listed { .. }
            | What::Sync { .. }
            | What::Fault { .. }
            | What::Noticed { .. }
            | What::Flow { .. }
            | What::Lost { .. }
            | What::Machine { .. }
            | What::Scenario { .. } => false,
        };
        assert!(own, "another's hop in the story of {object:?}: {record:?}");
        let born = recorder.change(record.seq).is_some_and(|change| change.before.is_none());
        if born {
            return;
        }
    }
    panic!("the story of {object:?} does not reach its creation");
}

fn pods_of(name: &str) -> Vec<(String, String, Vec<String>)> {
    let (recorder, _) = traced(&plan(name));
    let mut stories = Vec::new();
    for (record, change) in first_running(&recorder) {
        let chain = recorder.chain(record);
        about_one_pod(&recorder, &chain, change.object);
        let hops: Vec<String> = chain.iter().map(|r| hop(&recorder, r)).collect();
        let pod = change.value.as_pod().unwrap();
        let owner = pod.meta.controller().map_or("bare".to_owned(), |o| o.kind.to_string());
        stories.push((pod.meta.full_name().to_string(), owner, hops));
    }
    stories
}

#[test]
fn bare_pods_come_from_the_user() {
    let stories = pods_of("crash-loop");
    assert_eq!(stories.len(), 2);
    for (pod, _, hops) in stories {
        let mut wanted = life("user");
        wanted.push("scenario".to_owned());
        in_order(&pod, &hops, &wanted);
        assert_eq!(hops.last().map(String::as_str), Some("scenario"), "{pod}");
    }
}

#[test]
fn pods_of_deployments_pass_every_hop() {
    for (name, least) in [("first-steps", 3), ("rolling-update", 22)] {
        let stories = pods_of(name);
        assert_eq!(stories.len(), least, "{name}");
        for (pod, _, hops) in stories {
            let mut wanted = life("replicaset-controller");
            wanted.push("sync replicaset-controller".to_owned());
            if name == "first-steps" {
                wanted.pop();
                wanted.extend(rollout());
            }
            in_order(&pod, &hops, &wanted);
            assert_eq!(hops.last().map(String::as_str), Some("scenario"), "{pod}");
        }
    }
}

/// Each pod goes back to the step of the scenario that asked for it: apply, set image, scale.
#[test]
fn the_first_cause_is_the_right_step() {
    let (recorder, _) = traced(&plan("rolling-update"));
    let mut pods = [0; 3];
    for (record, _) in first_running(&recorder) {
        let chain = recorder.chain(record);
        let What::Scenario { row, .. } = chain[chain.len() - 1].what else {
            panic!("{record:?} does not go back to the scenario");
        };
        pods[row as usize] += 1;
    }
    assert_eq!(pods, [10, 10, 2]);
}

#[test]
fn after_a_zone_outage_every_pod_has_a_first_cause() {
    let mut replaced = 0;
    for (pod, owner, hops) in pods_of("zone-outage") {
        let (creator, full) = match owner.as_str() {
            "ReplicaSet" => ("replicaset-controller", true),
            "StatefulSet" => ("statefulset-controller", false),
            "DaemonSet" => ("daemon-set-controller", false),
            // Static pods are there from the start.
            "Node" => continue,
            _other => panic!("{pod} is owned by a {owner}"),
        };
        let mut wanted = life(creator);
        let last = hops.last().map(String::as_str);
        if last == Some("fault") {
            replaced += 1;
            wanted.push(format!("sync {creator}"));
            wanted.push("delivered Pod to ControllerManager".to_owned());
            wanted.push("fault".to_owned());
        } else if full {
            wanted.extend(rollout());
        } else {
            wanted.push(format!("sync {creator}"));
            assert_eq!(last, Some("scenario"), "{pod}");
        }
        in_order(&pod, &hops, &wanted);
    }
    assert!(replaced >= 6, "{replaced} pods were replaced because of the fault");
}

#[test]
fn a_pod_evicted_in_a_zone_outage_was_evicted_by_the_fault() {
    let plan = plan("zone-outage");
    let (recorder, _) = traced(&plan);
    let mut evicted = 0;
    for record in recorder.records() {
        let What::Committed { kind: Kind::Pod, user: User::Controller(name), .. } = record.what
        else {
            continue;
        };
        let Some(change) = recorder.change(record.seq) else { continue };
        let going = change.value.meta().is_some_and(|m| m.deletion.is_some());
        if name.as_str() != "node-controller" || !going {
            continue;
        }
        evicted += 1;
        let links = why::chain(&recorder, record, &plan);
        let last = links.last().unwrap();
        assert!(
            last.text.ends_with("machine crashes (fault #1, zone b is dark)"),
            "{}: the first cause is {}",
            change.value.key().1,
            last.text
        );
        let pod = change.value.as_pod().unwrap();
        assert!(last.text.starts_with(pod.node.as_str()), "{} is not on {}", last.text, pod.node);
    }
    assert!(evicted >= 6, "{evicted} pods were evicted");
}

/// Every cause is an earlier record, and only what begins by itself has none.
#[test]
fn causes_come_before_effects() {
    for name in SMALL {
        let (recorder, _) = traced(&plan(name));
        for record in recorder.records() {
            if record.cause == 0 {
                let first = match record.what {
                    What::Committed { .. } => record.time.0 == 0,
                    What::Scenario { .. } | What::Fault { .. } | What::Event(_) => true,
                    // Traffic flows from the start on.
                    What::Flow { .. } | What::Machine { .. } => record.time.0 == 0,
                    What::Lost { .. }
                    | What::Worked { .. }
                    | What::Submitted { .. }
                    | What::Stage(_)
                    | What::Refused { .. }
                    | What::Warned { .. }
                    | What::Delivered { .. }
                    | What::Listed { .. }
                    | What::Sync { .. }
                    | What::Scheduled { .. }
                    | What::Node { .. }
                    | What::Noticed { .. } => delivered_from_the_start(record),
                };
                assert!(first, "{name}: {record:?} has no cause");
                continue;
            }
            assert!(record.cause < record.seq, "{name}: {record:?}");
            assert!(recorder.get(record.cause).is_some(), "{name}: {record:?}: cause unknown");
        }
    }
}

/// What stood in the store from the start is delivered without anybody's doing.
fn delivered_from_the_start(record: &Record) -> bool {
    matches!(record.what, What::Delivered { .. }) && record.time.0 < 1_000_000_000
}

#[test]
fn tracing_changes_nothing() {
    for name in SMALL {
        let plan = plan(name);
        let mut plain = Session::new(Arc::clone(&plan));
        plain.run(&mut [], |_| {});
        let (_, traced) = traced(&plan);
        assert_eq!(plain.digest(), traced.digest(), "{name}");
        assert_eq!(plain.steps(), traced.steps(), "{name}");
    }
}

/// The lines of a trace, all or only those of the story.
struct Lines {
    all: bool,
    text: String,
}

impl Observer for Lines {
    fn on(&mut self, record: &Record, versions: &Versions) {
        // Kubernetes Events are for people; what happens is in the other objects.
        let told = match record.what {
            What::Committed { kind, .. } => kind != Kind::Event,
            What::Fault { .. }
            | What::Noticed { .. }
            | What::Machine { .. }
            | What::Scenario { .. }
            | What::Refused { .. }
            | What::Warned { .. } => true,
            What::Event(_)
            | What::Submitted { .. }
            | What::Stage(_)
            | What::Delivered { .. }
            | What::Listed { .. }
            | What::Sync { .. }
            | What::Scheduled { .. }
            | What::Flow { .. }
            | What::Lost { .. }
            | What::Worked { .. }
            | What::Node { .. } => false,
        };
        if self.all || told {
            self.text.push_str(&trace_line(record, versions));
            self.text.push('\n');
        }
    }
}

#[test]
fn traces_and_summaries_are_as_committed() {
    let mut bytes = 0;
    for name in SMALL {
        let plan = plan(name);
        let all = name == "first-steps" || name == "crash-loop";
        let mut lines = Lines { all, text: String::new() };
        let mut metrics = Metrics::new(&plan, None);
        let mut session = Session::new(plan);
        session.trace(true);
        session.run(&mut [&mut lines, &mut metrics], |_| {});
        let summary = Summary::new(&metrics, &session.digest());
        assert!(summary.passed(), "{name} does not meet its expectations");
        let folder = root().join("scenarios").join(name);
        bytes += lines.text.len();
        snapshot(&folder.join("expected.trace"), &lines.text);
        snapshot(&folder.join("expected.summary"), &render(&summary, 100));
    }
    assert!(bytes <= 600_000, "{bytes} bytes of traces");
}
