//! Faults of the file to those of the plan.

use super::arrivals::instant;
use super::objects::Known;
use super::place::{Place, suggest};
use super::planes;
use super::report::Report;
use super::value::{self, SPAN_HINT};
use super::{ailments, file};
use crate::api::Selector;
use crate::api::node::keys;
use crate::cluster::spec::{Component, Fault, FaultKind, Whom};
use crate::engine::{SimDuration, SimTime, Sym, num};

/// `RestartSec` of the kubelet's unit (source: kubeadm's `kubelet.service`).
const RESTART_SEC: SimDuration = SimDuration::from_secs(10);

/// The fields that are there.
pub(super) fn present<const N: usize>(
    fields: [(&'static str, bool); N],
) -> impl Iterator<Item = &'static str> {
    fields.into_iter().filter(|(_, there)| *there).map(|(field, _)| field)
}

/// A fault; none if it says neither what nor whom.
pub(crate) fn fault(
    from: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Fault> {
    let begins = begins(from, at, report);
    let lasts = from.lasts.as_ref().and_then(|span| {
        let at = at.key("for");
        let lasts = report.take(&at, value::span(&span.0), SPAN_HINT)?;
        if lasts == SimDuration::ZERO {
            report.error(&at, "a fault of no length", "leave it out for the rest of the run");
        }
        Some(lasts)
    });
    let (what, whom) = strikes(from, known, at, report)?;
    planes::check(from, (what, &whom), begins, at, report);
    // A component comes back by itself; nodes stay away if nobody says for how long.
    let own = matches!(whom, Whom::Component(_) | Whom::Process(..))
        && !matches!(what, FaultKind::SlowDisk(_) | FaultKind::SpaceAlarm)
        || what == FaultKind::WatchLoss;
    let lasts = lasts.or_else(|| ailments::lasts(from, what, at, report));
    let lasts = lasts.or(own.then_some(SimDuration::ZERO));
    let lasts = lasts.or(from.kubelet_crash.is_some().then_some(RESTART_SEC));
    Some(Fault { name: from.name.clone(), what, whom, at: begins, lasts })
}

/// When it begins; never, as far as anybody knows, if it waits for something.
fn begins(from: &file::Fault, at: &Place, report: &mut Report) -> SimTime {
    match (&from.at, &from.after) {
        (Some(begins), None) => instant(begins, &at.key("at"), report),
        (None, Some(_)) => SimTime::MAX,
        (Some(_), Some(_)) => {
            report.error(at, "at and after are both given", "leave one of them out");
            SimTime::ZERO
        }
        (None, None) => {
            let hint = "write at: 10m, or after: {fault: NAME, ends: true}";
            report.error(at, "says not when it begins", hint);
            SimTime::ZERO
        }
    }
}

/// What a fault may be.
const KINDS: &str = "write one of crash:, shutdown:, kubeletStop:, kubeletCrash:, restart:, \
    terminate:, pause:, watchLoss:, kubeletWatchLoss:, deviceFailure:, \
    registryDown:, logStoreDown:, overload:, slowDisk:, loseLog:, \
    spaceAlarm:, blackout:, partition:, freeze:, network:, slowNode:, \
    diskFull:, interrupt:, upgrade:";

/// What happens, and to whom: one field says both.
fn strikes(
    from: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    let nodes = [
        (FaultKind::NodeCrash, &from.crash, "crash"),
        (FaultKind::Shutdown, &from.shutdown, "shutdown"),
        (FaultKind::KubeletStop, &from.kubelet_stop, "kubeletStop"),
        (FaultKind::KubeletStop, &from.kubelet_crash, "kubeletCrash"),
        (FaultKind::WatchLoss, &from.kubelet_watch_loss, "kubeletWatchLoss"),
    ];
    let components = [
        (FaultKind::Restart, from.restart, "restart"),
        (FaultKind::WatchLoss, from.watch_loss, "watchLoss"),
        (FaultKind::Terminate, from.terminate, "terminate"),
        (FaultKind::Pause, from.pause, "pause"),
    ];
    let given: Vec<&str> = (nodes.iter().filter(|n| n.1.is_some()).map(|n| n.2))
        .chain(components.iter().filter(|c| c.1.is_some()).map(|c| c.2))
        .chain(from.device_failure.as_ref().map(|_| "deviceFailure"))
        .chain(from.registry_down.as_ref().map(|_| "registryDown"))
        .chain(from.overload.as_ref().map(|_| "overload"))
        .chain(from.log_store_down.map(|_| "logStoreDown"))
        .chain(planes::given(from))
        .chain(ailments::given(from))
        .collect();
    if let [one, other, ..] = given.as_slice() {
        report.error(at, format!("{one} and {other} are both given"), "write two faults");
        return None;
    }
    for (what, whom, field) in nodes {
        if let Some(whom) = whom {
            return Some((what, self::whom(whom, known, &at.key(field), report)?));
        }
    }
    for (what, name, field) in components {
        let Some(name) = name else { continue };
        if !known.control_plane.is_empty() || planes::needs_nodes(name, what) {
            return planes::process((what, name, field), from, known, at, report);
        }
        let component = match name {
            file::ComponentName::KubeScheduler => Component::Scheduler,
            file::ComponentName::KubeControllerManager
            | file::ComponentName::KubeApiserver
            | file::ComponentName::Etcd => Component::ControllerManager,
        };
        return Some((what, Whom::Component(component)));
    }
    if let Some(failure) = &from.device_failure {
        let place = at.key("deviceFailure");
        let whom = whom(&failure.on, known, &place.key("on"), report)?;
        let resource = Sym::new(&failure.resource);
        if known.nodes.iter().all(|n| n.capacity.scalar(resource) == 0) {
            let problem = format!("no node has {:?}", failure.resource);
            report.error(&place.key("resource"), problem, "give a pool these resources");
        }
        let n = failure.devices.unwrap_or(1);
        return Some((FaultKind::DeviceFailure(resource, n), whom));
    }
    if let Some(outside) = outside(from, known, at, report) {
        return Some(outside);
    }
    if ailments::given(from).next().is_some() {
        return ailments::strikes(from, known, at, report);
    }
    if !given.is_empty() {
        return planes::strikes(from, known, at, report);
    }
    report.error(at, "says not what happens", KINDS);
    None
}

/// What comes from outside the cluster: a registry or store of logs that does not answer, clients
/// that ask for too much.
fn outside(
    from: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    if let Some(host) = &from.registry_down {
        let host = if host == "all" { "" } else { host.as_str() };
        return Some((FaultKind::RegistryDown, Whom::Registry(Sym::new(host))));
    }
    if let Some(flood) = &from.overload {
        let crowd = planes::crowd(flood, &at.key("overload"), report);
        return Some((FaultKind::Overload(crowd), Whom::ControlPlane));
    }
    let (down, place) = (from.log_store_down?, at.key("logStoreDown"));
    if !down {
        report.error(&place, "a fault that does nothing", "write true, or leave the fault out");
    } else if !known.has_logging {
        let hint = "write a section logging: with sources: and agent:";
        report.error(&place, "there is no store of logs", hint);
    }
    Some((FaultKind::LogStoreDown, Whom::LogStore))
}

pub(super) fn whom(
    from: &file::Whom,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Whom> {
    let Some(percent) = from.percent else { return all_of(from, known, at, report) };
    let place = at.key("percent");
    if !(1..=100).contains(&percent) {
        report.error(&place, format!("{percent} percent of nodes"), "write a number from 1 to 100");
    }
    if from.count.is_some() || from.node.is_some() || from.nodes.is_some() {
        let hint = "percent goes with zone, selector, controlPlane or alone";
        report.error(at, "names the nodes in more than one way", hint);
        return None;
    }
    let alone = from.zone.is_none() && from.selector.is_none() && from.control_plane.is_none();
    let of = if alone { Whom::All } else { all_of(from, known, at, report)? };
    Some(Whom::Share(Box::new(of), percent))
}

fn all_of(from: &file::Whom, known: &Known, at: &Place, report: &mut Report) -> Option<Whom> {
    if from.control_plane == Some(false) {
        report.error(&at.key("controlPlane"), "names no node", "leave it out");
    }
    if from.control_plane == Some(true) {
        let other = [
            from.node.is_some(),
            from.nodes.is_some(),
            from.zone.is_some(),
            from.selector.is_some(),
            from.count.is_some(),
        ];
        if other.contains(&true) {
            report.error(at, "names the nodes in more than one way", "leave controlPlane: out");
            return None;
        }
        if known.control_plane.is_empty() {
            let problem = "the control plane runs on no nodes";
            report.error(&at.key("controlPlane"), problem, planes::NEEDED);
            return None;
        }
        return Some(Whom::Names(known.control_plane.clone()));
    }
    let names = [from.node.is_some(), from.nodes.is_some()];
    let domains = [from.zone.is_some(), from.selector.is_some()];
    let ways = names.iter().chain(&domains).filter(|given| **given).count();
    if ways > 1 || names.contains(&true) && from.count.is_some() {
        report.error(
            at,
            "names the nodes in more than one way",
            "give one of node, nodes, zone, selector; count goes with zone, selector or alone",
        );
        return None;
    }
    if let Some(node) = &from.node {
        known.check_node(node, &at.key("node"), report);
        return Some(Whom::Names(vec![node.as_str().into()]));
    }
    if let Some(list) = &from.nodes {
        return Some(Whom::Names(named(list, known, &at.key("nodes"), report)));
    }
    if let Some(zone) = &from.zone {
        let in_zone = check_zone(zone, known, &at.key("zone"), report);
        check_count(from.count, in_zone, at, report);
        let pair = (Sym::new(keys::ZONE), Sym::new(zone));
        return Some(
            from.count.map_or(Whom::Zone(pair.1), |n| {
                Whom::Selector(Selector::of_labels([pair]), Some(n))
            }),
        );
    }
    if let Some(labels) = &from.selector {
        let pairs = labels.iter().map(|(k, v)| (Sym::new(k), Sym::new(v)));
        let selector = Selector::of_labels(pairs);
        let matching = known.nodes.iter().filter(|n| selector.matches(n.labels)).count();
        if matching == 0 {
            report.error(&at.key("selector"), "matches no node", "give a pool these labels");
        } else {
            check_count(from.count, matching, at, report);
        }
        return Some(Whom::Selector(selector, from.count));
    }
    if let Some(count) = from.count {
        check_count(from.count, known.nodes.len(), at, report);
        return Some(Whom::Count(count));
    }
    report.error(at, "names no node", "give one of node, nodes, zone, selector, count");
    None
}

fn named(list: &[String], known: &Known, at: &Place, report: &mut Report) -> Vec<Sym> {
    if list.is_empty() {
        report.error(at, "the list is empty", "name the nodes");
    }
    for (i, node) in list.iter().enumerate() {
        known.check_node(node, &at.item(i), report);
    }
    list.iter().map(|n| Sym::new(n)).collect()
}

/// Number of nodes in the zone.
fn check_zone(zone: &str, known: &Known, at: &Place, report: &mut Report) -> usize {
    let count = known.nodes.iter().filter(|n| n.zone.as_str() == zone).count();
    if count == 0 {
        let mut zones: Vec<&str> =
            known.nodes.iter().map(|n| n.zone.as_str()).filter(|z| !z.is_empty()).collect();
        zones.sort_unstable();
        zones.dedup();
        let hint = if zones.is_empty() {
            "give the pools a zone".to_owned()
        } else {
            suggest(zone, &zones)
        };
        report.error(at, format!("no node is in zone {zone:?}"), hint);
    }
    count
}

fn check_count(count: Option<u32>, there_are: usize, at: &Place, report: &mut Report) {
    let Some(count) = count else { return };
    if count == 0 {
        report.error(&at.key("count"), "a fault that strikes no node", "give at least 1");
    } else if num::index(u64::from(count)) > there_are && there_are > 0 {
        let problem = format!("{count} nodes are to be struck, but there are {there_are}");
        report.error(&at.key("count"), problem, "lower the count, or add nodes");
    }
}
