//! A control plane on nodes, and what goes wrong with it: of the file to those of the plan.

use super::file::{self, AgentName, ComponentName, Pool};
use super::objects::Known;
use super::place::{Place, suggest};
use super::pools;
use super::report::Report;
use super::value::{self, QUANTITY_HINT, Quantity, SPAN_HINT};
use crate::cluster::spec::{ControlPlane, FaultKind, NodeSpec, Restore, StaticPod, Which, Whom};
use crate::control_plane::apiserver::fairness::{Crowd, Level};
use crate::engine::{SimTime, Sym};
use std::sync::Arc;

/// Requests of a crowd, and times that requests may take as long: what goes beyond is a slip.
const MOST_REQUESTS: u32 = 1_000_000;
const MOST_SLOW: u32 = 10_000;

/// Label of the nodes that run the control plane.
const ROLE: &str = crate::api::node::keys::CONTROL_PLANE;
/// What those faults need.
pub(super) const NEEDED: &str = "write cluster.controlPlane: {nodes: 3}";
/// Most nodes of a control plane: etcd advises against more than seven members.
const MOST: u32 = 9;

/// The nodes of the control plane.
pub(crate) fn nodes(
    from: &file::ControlPlane,
    image_bytes: u64,
    at: &Place,
    report: &mut Report,
) -> Vec<NodeSpec> {
    if from.nodes == 0 || from.nodes > MOST {
        let problem = format!("{} nodes", from.nodes);
        report.error(&at.key("nodes"), problem, format!("write a number from 1 to {MOST}"));
        return Vec::new();
    }
    if from.nodes.is_multiple_of(2) {
        let problem = format!(
            "{} members of etcd outlive no more losses than {}",
            from.nodes,
            from.nodes - 1
        );
        report.warn(&at.key("nodes"), problem, "write an odd number");
    }
    let amount = |given: &Option<Quantity>, default: &str| {
        given.clone().unwrap_or_else(|| Quantity(default.to_owned()))
    };
    let pool = Pool {
        name: from.name.clone().unwrap_or_else(|| "control-plane".to_owned()),
        count: Some(from.nodes),
        cpu: Some(amount(&from.cpu, "4")),
        memory: Some(amount(&from.memory, "16Gi")),
        zones: from.zones.clone(),
        labels: [(ROLE.to_owned(), String::new())].into(),
        taints: vec![value::Taint(format!("{ROLE}:NoSchedule"))],
        boot: from.boot.clone(),
        agent: AgentName::Kubelet,
        ..Pool::default()
    };
    pools::pool_nodes(&pool, image_bytes, &Arc::default(), at, report)
}

/// What the plan says about the control plane.
pub(crate) fn control_plane(
    from: &file::ControlPlane,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> ControlPlane {
    let quota = from.etcd_quota.as_ref().and_then(|quota| {
        let at = at.key("etcdQuota");
        let bytes = report.take(&at, value::amount(&quota.0), QUANTITY_HINT)?.value();
        if bytes <= 0 {
            report.error(&at, "etcd could hold nothing", "write 2Gi");
        }
        Some(bytes.unsigned_abs())
    });
    ControlPlane { nodes: known.control_plane.clone(), quota_bytes: quota, needed: None }
}

/// Fields of a fault that say what happens to a control plane.
pub(crate) fn given(from: &file::Fault) -> impl Iterator<Item = &'static str> {
    let all = [
        ("slowDisk", from.slow_disk.is_some()),
        ("loseLog", from.lose_log.is_some()),
        ("spaceAlarm", from.space_alarm.is_some()),
        ("blackout", from.blackout.is_some()),
    ];
    super::faults::present(all)
}

/// True if the fault can only befall a process on a node.
pub(crate) fn needs_nodes(name: ComponentName, what: FaultKind) -> bool {
    matches!(name, ComponentName::KubeApiserver | ComponentName::Etcd)
        || matches!(what, FaultKind::Terminate | FaultKind::Pause)
}

/// A fault of a component's process on a node.
pub(crate) fn process(
    (what, name, field): (FaultKind, ComponentName, &str),
    from: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    let pod = match name {
        ComponentName::KubeScheduler => StaticPod::Scheduler,
        ComponentName::KubeControllerManager => StaticPod::ControllerManager,
        ComponentName::KubeApiserver => StaticPod::ApiServer,
        ComponentName::Etcd => StaticPod::Etcd,
    };
    if !has_nodes(field, known, at, report) {
        return None;
    }
    if pod.component().is_none() && matches!(what, FaultKind::Pause | FaultKind::WatchLoss) {
        let problem = format!("{} cannot be struck so", pod.name());
        report.error(&at.key(field), problem, "write restart: with for:");
        return None;
    }
    if what == FaultKind::Pause && from.lasts.is_none() {
        report.error(at, "a pause of no length", "write for: 20s");
        return None;
    }
    Some((what, Whom::Process(pod, which(pod, from, known, at, report)?)))
}

fn has_nodes(field: &str, known: &Known, at: &Place, report: &mut Report) -> bool {
    if known.control_plane.is_empty() {
        report.error(&at.key(field), "the control plane runs on no nodes", NEEDED);
    }
    !known.control_plane.is_empty()
}

fn which(
    pod: StaticPod,
    from: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Which> {
    let names: Vec<&str> = known.control_plane.iter().map(|n| n.as_str()).collect();
    let hint = || format!("write on: {}", names.first().unwrap_or(&"leader"));
    match from.on.as_deref() {
        None | Some("leader") if pod == StaticPod::ApiServer => {
            report.error(at, "API servers have no leader: which one is it?", hint());
            None
        }
        None | Some("leader") => Some(Which::Leader),
        Some(name) if names.contains(&name) => Some(Which::On(vec![Sym::new(name)])),
        Some(name) => {
            let problem = format!("{name:?} is no node of the control plane");
            report.error(&at.key("on"), problem, suggest(name, &names));
            None
        }
    }
}

/// Faults of etcd and of everything at once.
pub(crate) fn strikes(
    from: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    let field = given(from).next()?;
    if !has_nodes(field, known, at, report) {
        return None;
    }
    if let Some(blackout) = &from.blackout {
        return self::blackout(blackout, &at.key("blackout"), report);
    }
    let what = if let Some(factor) = from.slow_disk {
        if factor < 2 {
            let problem = format!("{factor} times as slow is no fault");
            report.error(&at.key("slowDisk"), problem, "write slowDisk: 20");
        }
        FaultKind::SlowDisk(factor)
    } else if from.space_alarm.is_some() {
        FaultKind::SpaceAlarm
    } else {
        FaultKind::LoseLog
    };
    for (field, given) in [("loseLog", from.lose_log), ("spaceAlarm", from.space_alarm)] {
        if given == Some(false) {
            report.error(&at.key(field), "a fault that does not happen", "leave it out");
        }
    }
    Some((what, Whom::Process(StaticPod::Etcd, which(StaticPod::Etcd, from, known, at, report)?)))
}

/// Who floods the API servers.
pub(crate) fn crowd(from: &file::Overload, at: &Place, report: &mut Report) -> Crowd {
    let slow = from.slow.unwrap_or(1);
    if from.requests > MOST_REQUESTS {
        let problem = format!("{} requests at a time", from.requests);
        report.error(&at.key("requests"), problem, format!("at most {MOST_REQUESTS}"));
    }
    if slow > MOST_SLOW {
        report.error(&at.key("slow"), format!("{slow} times"), format!("at most {MOST_SLOW}"));
    }
    let level = match from.priority_level {
        file::PriorityLevel::System => Level::System,
        file::PriorityLevel::NodeHigh => Level::NodeHigh,
        file::PriorityLevel::LeaderElection => Level::LeaderElection,
        file::PriorityLevel::WorkloadHigh => Level::WorkloadHigh,
        file::PriorityLevel::WorkloadLow => Level::WorkloadLow,
        file::PriorityLevel::GlobalDefault => Level::GlobalDefault,
    };
    Crowd { level, requests: from.requests, slow }
}

fn blackout(from: &file::Blackout, at: &Place, report: &mut Report) -> Option<(FaultKind, Whom)> {
    let whom = match from.of {
        file::BlackoutOf::Cluster => Whom::All,
        file::BlackoutOf::ControlPlane => Whom::ControlPlane,
    };
    let age = from.age.as_ref();
    let restore = match (from.restore, age) {
        (file::RestoreFrom::Log, None) => Restore::Log,
        (file::RestoreFrom::Log, Some(_)) => {
            report.error(&at.key("age"), "logs have no age", "write restore: snapshot, too");
            return None;
        }
        (file::RestoreFrom::Snapshot, None) => {
            report.error(at, "how old is the snapshot?", "write age: 10m");
            return None;
        }
        (file::RestoreFrom::Snapshot, Some(age)) => {
            let age = report.take(&at.key("age"), value::span(&age.0), SPAN_HINT)?;
            Restore::Snapshot(age)
        }
    };
    Some((FaultKind::Blackout(restore), whom))
}

/// What can only be seen of the whole fault.
pub(crate) fn check(
    from: &file::Fault,
    (what, whom): (FaultKind, &Whom),
    begins: SimTime,
    at: &Place,
    report: &mut Report,
) {
    if from.on.is_some() && !matches!(whom, Whom::Process(..)) {
        let hint = "leave it out, or write restart:, terminate:, pause:, slowDisk: or loseLog:";
        report.error(&at.key("on"), "only processes of a control plane run on a node", hint);
    }
    if let FaultKind::Blackout(Restore::Snapshot(_)) = what
        && begins == SimTime::MAX
    {
        let problem = "a snapshot is taken before its blackout, which nobody knows of yet";
        report.error(&at.key("after"), problem, "write at: in place of after:");
        return;
    }
    if let FaultKind::Blackout(Restore::Snapshot(age)) = what
        && SimTime::ZERO + age > begins
    {
        let problem = format!(
            "the snapshot would be taken {} before the run begins",
            age - begins.since(SimTime::ZERO)
        );
        report.error(
            &at.key("blackout").key("age"),
            problem,
            "lower it, or let the blackout come later",
        );
    }
    let ends = from.lasts.is_some();
    if matches!(what, FaultKind::Blackout(_)) && !ends {
        report.error(at, "a blackout without an end", "write for: 5m");
    }
}
