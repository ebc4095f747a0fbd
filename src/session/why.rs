//! `why`: the chain of causes of an object's last change, in plain sentences with instants.

use super::Recorder;
use crate::api::node::Node;
use crate::api::pod::{ConditionType, Pod, Truth};
use crate::api::versions::Change;
use crate::api::{Kind, Obj};
use crate::cluster::spec::Plan;
use crate::engine::{SimTime, Sym};
use crate::event::cloud::MachineStep;
use crate::event::record::Stage;
use crate::event::{
    ApiEvent, AutoscalerEvent, CloudEvent, ControlEvent, ControllerEvent, Event, NodeEvent,
    OutageEvent, ProxyEvent, Record, SchedulerEvent, TrafficEvent, TroubleEvent, UserEvent, What,
};

/// One link of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// When.
    pub time: SimTime,
    /// The record.
    pub seq: u64,
    /// A sentence without a full stop.
    pub text: String,
    /// True for what the story needs; false for hops that only `--all` shows.
    pub telling: bool,
}

/// The last change of an object at or before an instant, if it was ever changed by then.
#[must_use]
pub fn last_change<'r>(
    recorder: &'r Recorder,
    (kind, ns, name): (Kind, &str, &str),
    until: SimTime,
) -> Option<&'r Record> {
    recorder.records().iter().rev().filter(|r| r.time <= until).find(|r| {
        matches!(r.what, What::Committed { kind: k, .. } if k == kind)
            && recorder.change(r.seq).is_some_and(|change| {
                let (in_ns, called) = change.value.key();
                in_ns.as_str() == ns && called.to_string() == name
            })
    })
}

/// Of a deleted pod the change to explain is not the kubelet's last word but whoever marked it: the
/// first record, going back, at which the object was asked to go; else the last change itself.
#[must_use]
pub fn telling_change<'r>(recorder: &'r Recorder, last: &'r Record) -> &'r Record {
    let What::Committed { object, kind, .. } = last.what else { return last };
    let of_object = |r: &&Record| {
        let What::Committed { object: o, kind: k, .. } = r.what else { return false };
        o == object && k == kind
    };
    let marked = recorder.records().iter().filter(of_object).find(|r| {
        recorder.change(r.seq).is_some_and(|change| {
            let before = &change.before;
            let going = |o: &Obj| o.meta().is_some_and(|m| m.deletion.is_some());
            going(&change.value) && before.as_ref().is_none_or(|b| !going(b))
        })
    });
    marked.filter(|m| m.time <= last.time).unwrap_or(last)
}

/// The chain of causes of a record, as sentences, effect first.
#[must_use]
pub fn chain(recorder: &Recorder, from: &Record, plan: &Plan) -> Vec<Link> {
    recorder
        .chain(from)
        .iter()
        .map(|record| {
            let (text, telling) = sentence(recorder, record, plan);
            Link { time: record.time, seq: record.seq, text, telling }
        })
        .collect()
}

/// A record as a sentence, and whether it belongs to the story.
fn sentence(recorder: &Recorder, record: &Record, plan: &Plan) -> (String, bool) {
    told(recorder.change(record.seq), record, plan)
}

/// A record as a sentence; of a commit, with what it wrote.
#[must_use]
pub fn words(change: Option<&Change>, record: &Record, plan: &Plan) -> String {
    told(change, record, plan).0
}

fn told(change: Option<&Change>, record: &Record, plan: &Plan) -> (String, bool) {
    match record.what {
        What::Committed { user, verb, .. } => {
            let text = change.map_or_else(
                || format!("a change was committed for {user}"),
                |change| committed(change, &user.to_string(), verb.0),
            );
            (text, true)
        }
        What::Refused { user, verb, kind, ns, name, error } => (
            format!(
                "the API server refused {user} to {}{} {kind} {ns}/{name}: {} {}",
                verb.0,
                verb.1,
                error.code(),
                error.message(kind, name)
            ),
            true,
        ),
        What::Warned { user, kind, ns, name, text } => {
            (format!("the API server warned {user} about {kind} {ns}/{name}: {text}"), true)
        }
        What::Fault { fault, node, step } => {
            let name = plan.faults.get(fault as usize).map_or("", |f| f.name.as_str());
            let called = if name.is_empty() { String::new() } else { format!(", {name}") };
            (format!("{node}: {step} (fault #{}{called})", fault + 1), true)
        }
        What::Noticed { who, node, step } if node.is_empty() => (format!("{who}: {step}"), true),
        What::Noticed { who, node, step } => (format!("{who} noticed on {node}: {step}"), true),
        What::Machine { node, kind, pool, spot, on, .. } => {
            let price = if spot { "spot" } else { "on demand" };
            let word = if on { "is paid for" } else { "is paid for no longer" };
            (format!("machine {node} of {pool} ({kind}, {price}) {word}"), true)
        }
        What::Scenario { step, row } => (format!("the scenario says: {step} (row {row})"), true),
        What::Scheduled { node, feasible, evaluated, .. } => {
            let text = if node.is_empty() {
                format!("the scheduler found no node among {evaluated}")
            } else {
                format!("the scheduler chose {node} ({feasible} of {evaluated} nodes fit)")
            };
            (text, true)
        }
        What::Sync { controller, ns, name, .. } => {
            (format!("{controller} looked at {ns}/{name}"), false)
        }
        What::Submitted { user, verb, kind, name, .. } => {
            (format!("{user} sent {} {}{} {name}", verb.0, kind.plural(), verb.1), false)
        }
        What::Stage(stage) => (format!("API server: {}", stage_words(stage)), false),
        What::Delivered { to, kind, .. } => {
            (format!("the change of {} reached {}", kind.plural(), to.role.name()), false)
        }
        What::Listed { to, kind, .. } => {
            (format!("{} listed {}", to.role.name(), kind.plural()), false)
        }
        What::Node { node, step, .. } => (format!("{node}: {step}"), false),
        What::Flow { row } => {
            let name = plan.traffic.get(row as usize).map_or("?", |t| t.name.as_str());
            (format!("requests {name} fare otherwise from now on"), true)
        }
        What::Worked { part, ns, .. } => {
            let span = crate::engine::SimDuration(ns).secs_f64();
            (format!("a container's work: {span} s {}", part.words()), false)
        }
        What::Lost { row, cause, count } => {
            let name = plan.traffic.get(row as usize).map_or("?", |t| t.name.as_str());
            (format!("{count:.1} requests {name} under way: {}", cause.words()), true)
        }
        What::Event(event) => (event_words(event), false),
    }
}

fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Authentication => "authentication",
        Stage::Authorization => "authorization",
        Stage::MutatingAdmission => "mutating admission",
        Stage::Validation => "defaulting and validation",
        Stage::ValidatingAdmission => "validating admission",
        Stage::Etcd => "the transaction goes to etcd",
    }
}

/// An event of the queue: what is due now.
fn event_words(event: Event) -> String {
    let fixed = match event {
        Event::Api(ApiEvent::Arrive(_)) => "a request arrives at the API server",
        Event::Api(ApiEvent::GiveUp(_)) => "a request has waited for a seat for too long",
        Event::Api(ApiEvent::Admit(_)) => "admission looks again for a service account",
        Event::Api(ApiEvent::Commit(_)) => "etcd commits a transaction",
        Event::Api(ApiEvent::Compact) => "etcd is compacted",
        Event::Api(ApiEvent::Expire) => "leases of Kubernetes Events expire",
        Event::Api(ApiEvent::Timeout(_)) => "etcd has not answered in time",
        Event::Api(ApiEvent::Elect(_)) => "members of etcd have voted",
        Event::Watch { .. } => "changes reach a watch",
        Event::Registry(_) => "the image registry transfers an image",
        Event::LogStore => "what log agents may ship has changed",
        Event::Scrape => "the metrics server scrapes",
        Event::Outage(OutageEvent::Back { .. }) => "a machine gets power again",
        Event::Outage(_) => "a machine fails",
        Event::Answer { to, .. } => return format!("an answer reaches {}", to.role.name()),
        Event::Scheduler(SchedulerEvent::Cycle) => "a scheduling cycle begins",
        Event::Scheduler(SchedulerEvent::Bind) => "a scheduling cycle ends",
        Event::Scheduler(SchedulerEvent::FlushBackoff) => "the scheduler looks at its backoffQ",
        Event::Scheduler(SchedulerEvent::FlushUnschedulable) => {
            "the scheduler looks at pods that have long been unschedulable"
        }
        Event::Scheduler(SchedulerEvent::PermitTimeout(_)) => {
            "the time of a group of pods that start together was up"
        }
        Event::Scheduler(SchedulerEvent::PollVolumes(_)) => {
            "the scheduler looks whether a pod's volumes are bound"
        }
        Event::Controller { event: ControllerEvent::Work, .. } => "a controller takes its next key",
        Event::Controller { event: ControllerEvent::Due(_), .. } => "a delayed key is due",
        Event::Controller { event: ControllerEvent::Tick, .. } => "a controller's periodic pass",
        Event::Node { node, event, .. } => {
            return format!("node #{node}: {}", node_event_words(event));
        }
        Event::User(UserEvent::Step(_)) => "the scenario's next step",
        Event::User(UserEvent::Arrive(_)) => "the next arrival",
        Event::User(UserEvent::Expire { .. }) => "the end of an arrival's life",
        Event::User(UserEvent::Evict(_) | UserEvent::Cordon(_)) => "kubectl drain asks again",
        Event::Fault { fault, end: false } => return format!("fault #{} begins", fault + 1),
        Event::Fault { fault, end: true } => return format!("fault #{} ends", fault + 1),
        Event::Control(event) => control_event_words(event),
        Event::Trouble(event) => trouble_words(event),
        Event::Proxy(ProxyEvent::Sync { node, .. }) => {
            return format!("kube-proxy of node #{node} begins to write rules");
        }
        Event::Proxy(ProxyEvent::Synced { node, .. }) => {
            return format!("rules of node #{node} are in force");
        }
        Event::Traffic(TrafficEvent::Rate { .. }) => "the rate of requests changes",
        Event::Traffic(TrafficEvent::Listens { .. }) => "a program begins or ceases to listen",
        Event::Traffic(TrafficEvent::Checked { .. }) => {
            "a load balancer's checks change their verdict"
        }
        Event::Cloud(event) => cloud_words(event),
        Event::Autoscaler(AutoscalerEvent::Scan) => "the autoscaler looks at the cluster",
        Event::Autoscaler(AutoscalerEvent::Drain(_)) => "the autoscaler goes on with a drain",
        Event::Autoscaler(AutoscalerEvent::Batch(_)) => "a batch of pods is complete",
    };
    fixed.to_owned()
}

fn cloud_words(event: CloudEvent) -> &'static str {
    match event {
        CloudEvent::Arrive(_) => "a call arrives at the cloud",
        CloudEvent::Work(_) => "the cloud has worked on a call",
        CloudEvent::Answer(_) => "the cloud's answer arrives",
        CloudEvent::Group(_) => "a node group tries again to get machines",
        CloudEvent::Machine(_, MachineStep::Starts) => "a machine of the cloud gets power",
        CloudEvent::Machine(_, MachineStep::Ends) => "a machine of the cloud is gone",
        CloudEvent::Machine(_, MachineStep::Notice) => "the provider says that it takes a machine",
        CloudEvent::Machine(_, MachineStep::Taken) => "the provider takes a machine",
        CloudEvent::Machine(_, MachineStep::Check) => "a node group's health check looks again",
    }
}

fn trouble_words(event: TroubleEvent) -> &'static str {
    match event {
        TroubleEvent::GivesUp { .. } => "a kubelet closes its connections",
        TroubleEvent::Through { .. } => "a kubelet gets through again",
        TroubleEvent::Mail { .. } => "a late change reaches a kubelet",
        TroubleEvent::Taken { .. } => "the provider takes a machine",
        TroubleEvent::Upgrade { .. } => "the upgrade of nodes goes on",
        TroubleEvent::Waits { .. } => "what a fault has waited for has happened",
    }
}

fn control_event_words(event: ControlEvent) -> &'static str {
    match event {
        ControlEvent::Start { .. } => "a kubelet starts a static pod",
        ControlEvent::Ready { .. } => "an API server is to be ready",
        ControlEvent::Attempt { .. } => "a candidate tries to hold its lease",
        ControlEvent::Missed { .. } => "a candidate has waited too long for an answer",
        ControlEvent::Unanswered(_) => "a client learns that its request has failed",
        ControlEvent::Resend(_) => "a client sends a request again",
        ControlEvent::Redial { .. } => "a client connects anew",
        ControlEvent::Snapshot { .. } => "a snapshot of etcd is taken",
    }
}

fn node_event_words(event: NodeEvent) -> &'static str {
    match event {
        NodeEvent::Register => "the kubelet registers",
        NodeEvent::ShutdownPart { .. } => "the time of a group of pods is over in a shutdown",
        NodeEvent::PowerOff => "the machine is off",
        NodeEvent::ReportStatus => "the kubelet reports its node",
        NodeEvent::RenewLease => "the kubelet renews its lease",
        NodeEvent::Mounted { .. } => "a pod's volumes are mounted",
        NodeEvent::Volume { mounted: false, .. } => "the kubelet tries to mount a volume",
        NodeEvent::Volume { mounted: true, .. } => "a volume has been mounted",
        NodeEvent::Refreshed { .. } => "a sync brings new content into a volume",
        NodeEvent::VolumesLate { .. } => "a pod's volumes are not there in time",
        NodeEvent::LookAtNetwork => "the kubelet looks at the runtime's network",
        NodeEvent::Unmounted { .. } => "a disk has been unmounted",
        NodeEvent::SandboxReady { .. } => "a pod's sandbox is ready",
        NodeEvent::ImageReady { .. } => "the pull of an image is over",
        NodeEvent::ContainerStarted { .. } => "a container has started",
        NodeEvent::ContainerRestarted { .. } => "a container has started again",
        NodeEvent::ContainerExited { .. } => "a container ends by itself",
        NodeEvent::ContainerStopped { .. } => "a container has stopped as it was told to",
        NodeEvent::PostStarted { .. } => "a postStart hook is done",
        NodeEvent::Deadline { .. } => "a pod has been active for as long as it may",
        NodeEvent::OutOfMemory { .. } => "a container passes its memory limit",
        NodeEvent::Worked { .. } => "work on the node is done, or something is read",
        NodeEvent::NoMemoryLeft => "the node has no memory left",
        NodeEvent::Pressure => "the eviction manager looks",
        NodeEvent::LogBuffer => "the buffer of the log agent is full or empty",
        NodeEvent::ImageGc => "the kubelet throws unused images away",
        NodeEvent::TellStatus => "the kubelet reports what has changed about its node",
        NodeEvent::Relist => "PLEG lists the containers",
        NodeEvent::Reconcile { .. } => "the kubelet compares a pod's status with its own",
        NodeEvent::Probe { .. } => "a container is probed",
        NodeEvent::Sync { .. } => "a pod worker wakes",
    }
}

/// A committed change in words.
fn committed(change: &Change, user: &str, verb: &str) -> String {
    let value = &change.value;
    let (ns, name) = value.key();
    let kind = value.kind();
    let what = if ns.is_empty() { format!("{kind} {name}") } else { format!("{kind} {ns}/{name}") };
    let going = |o: &Obj| o.meta().is_some_and(|m| m.deletion.is_some());
    if change.deleted {
        return format!("{what} was removed by {user}");
    }
    let Some(before) = &change.before else { return format!("{what} was created by {user}") };
    if going(value) && !going(before) {
        return format!("{what} was marked for deletion by {user}");
    }
    let detail = match (before, value) {
        (Obj::Pod(old), Obj::Pod(new)) => pod_detail(old, new),
        (Obj::Node(old), Obj::Node(new)) => node_detail(old, new),
        (Obj::Deployment(old), Obj::Deployment(new)) if old.replicas != new.replicas => {
            format!("replicas {} → {}", old.replicas, new.replicas)
        }
        (Obj::ReplicaSet(old), Obj::ReplicaSet(new)) if old.replicas != new.replicas => {
            format!("replicas {} → {}", old.replicas, new.replicas)
        }
        _same => String::new(),
    };
    if detail.is_empty() {
        format!("{what} was changed ({verb}) by {user}")
    } else {
        format!("{what}: {detail} (by {user})")
    }
}

fn pod_detail(old: &Pod, new: &Pod) -> String {
    let mut parts = Vec::new();
    if old.node != new.node {
        parts.push(format!("bound to {}", new.node));
    }
    if old.status.phase != new.status.phase {
        parts.push(format!("phase {}", new.status.phase.as_str()));
    }
    for kind in [ConditionType::Ready, ConditionType::DisruptionTarget, ConditionType::PodScheduled]
    {
        let was = old.status.condition(kind).map(|c| (c.status, c.reason));
        let is = new.status.condition(kind).map(|c| (c.status, c.reason));
        if let Some((status, reason)) = is.filter(|_| was != is) {
            parts.push(condition_text(kind, status, reason));
        }
    }
    parts.join(", ")
}

fn condition_text(kind: ConditionType, status: Truth, reason: Sym) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("{} {}{reason}", kind.as_str(), status.as_str())
}

fn node_detail(old: &Node, new: &Node) -> String {
    let mut parts = Vec::new();
    let text = |t: &crate::api::pod::Taint| format!("{}:{:?}", t.key, t.effect);
    for taint in new.taints.iter() {
        if !old.taints.iter().any(|t| t.key == taint.key && t.effect == taint.effect) {
            parts.push(format!("taint {} added", text(taint)));
        }
    }
    for taint in old.taints.iter() {
        if !new.taints.iter().any(|t| t.key == taint.key && t.effect == taint.effect) {
            parts.push(format!("taint {} removed", text(taint)));
        }
    }
    let ready =
        |n: &Node| n.status.conditions.get(ConditionType::Ready).map(|c| (c.status, c.reason));
    if let Some((status, reason)) = ready(new).filter(|is| ready(old) != Some(*is)) {
        parts.push(condition_text(ConditionType::Ready, status, reason));
    }
    if old.unschedulable != new.unschedulable {
        parts.push(String::from(if new.unschedulable { "cordoned" } else { "uncordoned" }));
    }
    parts.join(", ")
}

/// A hint at objects of the kind whose names begin alike; empty if there is none.
#[must_use]
pub fn similar(recorder: &Recorder, kind: Kind, name: &str) -> String {
    let stem = name.split('-').next().unwrap_or(name);
    let mut found: Vec<String> = recorder
        .records()
        .iter()
        .filter(|r| matches!(r.what, What::Committed { kind: k, .. } if k == kind))
        .filter_map(|r| recorder.change(r.seq))
        .map(|change| change.value.key())
        .filter(|(_, called)| called.to_string().starts_with(stem))
        .map(
            |(ns, called)| {
                if ns.is_empty() { called.to_string() } else { format!("{ns}/{called}") }
            },
        )
        .collect();
    found.sort();
    found.dedup();
    found.truncate(5);
    if found.is_empty() {
        String::new()
    } else {
        format!("\n  hint: there are {}", found.join(", "))
    }
}
