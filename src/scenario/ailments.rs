//! Networks that fail, machines that stand still or are taken away, and what faults wait for: of
//! the file to those of the plan.

use super::faults::whom;
use super::file;
use super::objects::Known;
use super::place::{Place, suggest};
use super::report::Report;
use super::target::{self, Target};
use super::value::{self, DIST_HINT, SPAN_HINT};
use crate::cluster::spec::{Await, Awaited, FaultKind, Packets, Whom};
use crate::engine::{Dist, SimDuration, num};

/// Notice of a spot interruption, if none is given: what AWS gives.
const NOTICE: SimDuration = SimDuration::from_secs(120);
/// Kinds whose status counts ready replicas.
const COUNT_READY: &str = "possible here: deployment, statefulset, daemonset, replicaset, job";

/// Fields of a fault that say something of this kind.
pub(crate) fn given(from: &file::Fault) -> impl Iterator<Item = &'static str> {
    let all = [
        ("partition", from.partition.is_some()),
        ("freeze", from.freeze.is_some()),
        ("network", from.network.is_some()),
        ("slowNode", from.slow_node.is_some()),
        ("diskFull", from.disk_full.is_some()),
        ("interrupt", from.interrupt.is_some()),
        ("upgrade", from.upgrade.is_some()),
    ];
    super::faults::present(all)
}

/// What happens, and to whom.
pub(crate) fn strikes(
    from: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    if let Some(partition) = &from.partition {
        return self::partition(partition, known, &at.key("partition"), report);
    }
    if let Some(frozen) = &from.freeze {
        return Some((FaultKind::Freeze, whom(frozen, known, &at.key("freeze"), report)?));
    }
    if let Some(network) = &from.network {
        return self::network(network, known, &at.key("network"), report);
    }
    if let Some(slow) = &from.slow_node {
        let at = at.key("slowNode");
        if slow.factor < 2 {
            let problem = format!("{} times as slow is no fault", slow.factor);
            report.error(&at.key("factor"), problem, "write factor: 5");
        }
        let of = whom(&slow.of, known, &at.key("of"), report)?;
        return Some((FaultKind::SlowNode(slow.factor), of));
    }
    if let Some(full) = &from.disk_full {
        return disk_full(full, known, &at.key("diskFull"), report);
    }
    if let Some(taken) = &from.interrupt {
        return interrupt(taken, from, known, at, report);
    }
    let upgrade = from.upgrade.as_ref()?;
    let at = at.key("upgrade");
    let most = upgrade.max_unavailable.unwrap_or(1);
    if most == 0 {
        report.error(&at.key("maxUnavailable"), "no node may ever be away", "write 1");
    }
    Some((FaultKind::Upgrade(most), whom(&upgrade.of, known, &at.key("of"), report)?))
}

fn partition(
    from: &file::Partition,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    let mut side = |field: &str, given: Option<&file::Whom>| match given {
        None => Some(Whom::ControlPlane),
        Some(file::Whom { control_plane: Some(true), .. }) if known.control_plane.is_empty() => {
            Some(Whom::ControlPlane)
        }
        Some(given) => whom(given, known, &at.key(field), report),
    };
    let sides = [side("between", Some(&from.between))?, side("and", from.and.as_ref())?];
    let plane = |whom: &Whom| matches!(whom, Whom::ControlPlane);
    let requests = known.has_traffic;
    if known.control_plane.is_empty() && !requests && !sides.iter().any(plane) {
        let problem = "the control plane is on neither side: nothing that is modelled passes there";
        report.error(at, problem, "leave and: out, or write cluster.controlPlane: {nodes: 3}");
        return None;
    }
    if sides.iter().all(plane) {
        report.error(at, "both sides are the control plane", "name nodes in between:");
        return None;
    }
    let one_way = from.one_way.unwrap_or(false);
    Some((FaultKind::Partition { one_way }, Whom::Between(Box::new(sides))))
}

fn network(
    from: &file::Network,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    let of = whom(&from.of, known, &at.key("of"), report)?;
    let delay = match &from.delay {
        None => Dist::Constant(SimDuration::ZERO),
        Some(spec) => report.take(&at.key("delay"), value::dist(spec), DIST_HINT)?,
    };
    let loss = from.loss.unwrap_or(0.0);
    if !(0.0..1.0).contains(&loss) {
        let problem = format!("a share of {loss} cannot be lost");
        report.error(&at.key("loss"), problem, "write a number from 0 to below 1, such as 0.05");
    }
    if from.delay.is_none() && loss <= 0.0 {
        report.error(at, "nothing is late or lost", "give delay:, loss: or both");
    }
    Some((FaultKind::Network(Packets { delay, loss }), of))
}

fn disk_full(
    from: &file::DiskFull,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    if !(1..=100).contains(&from.percent) {
        let problem = format!("{} percent of a disk", from.percent);
        report.error(&at.key("percent"), problem, "write a number from 1 to 100");
    }
    if known.nodes.iter().all(|n| n.capacity.ephemeral == 0) {
        let hint = "give a pool ephemeralStorage: 100Gi";
        report.error(at, "nobody knows how large the disks are", hint);
    }
    Some((FaultKind::DiskFull(from.percent), whom(&from.of, known, &at.key("of"), report)?))
}

fn interrupt(
    from: &file::Interrupt,
    fault: &file::Fault,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(FaultKind, Whom)> {
    let place = at.key("interrupt");
    if fault.lasts.is_some() {
        let hint = "write interrupt: {replace: 3m}, which counts from the end of the notice";
        report.error(&at.key("for"), "a machine that is taken does not come back", hint);
    }
    let notice = match &from.notice {
        None => NOTICE,
        Some(span) => report.take(&place.key("notice"), value::span(&span.0), SPAN_HINT)?,
    };
    Some((FaultKind::Interrupt(notice), whom(&from.of, known, &place.key("of"), report)?))
}

/// How long a fault lasts that says so in a field of its own.
pub(crate) fn lasts(
    from: &file::Fault,
    what: FaultKind,
    at: &Place,
    report: &mut Report,
) -> Option<SimDuration> {
    if let FaultKind::Interrupt(notice) = what {
        let replace = from.interrupt.as_ref()?.replace.as_ref()?;
        let at = at.key("interrupt").key("replace");
        let replace = report.take(&at, value::span(&replace.0), SPAN_HINT)?;
        return Some(SimDuration(notice.0 + replace.0));
    }
    // The time from power-off to power-on (unsourced).
    matches!(what, FaultKind::Upgrade(_)).then_some(SimDuration::from_secs(60))
}

/// What the faults of the file wait for.
pub(crate) fn awaits(list: &[file::Fault], known: &Known, report: &mut Report) -> Vec<Await> {
    let names: Vec<&str> = list.iter().map(|f| f.name.as_str()).collect();
    let mut all = Vec::new();
    for (i, fault) in list.iter().enumerate() {
        let Some(after) = &fault.after else { continue };
        let place = Place::default().key("faults").item(i).key("after");
        let what = awaited(after, (i, &names), known, &place, report);
        let delay = after.delay.as_ref().map_or(Some(SimDuration::ZERO), |delay| {
            report.take(&place.key("delay"), value::span(&delay.0), SPAN_HINT)
        });
        if let (Some(what), Some(delay)) = (what, delay) {
            all.push(Await { fault: num::u32_of(i), what, delay });
        }
    }
    all
}

fn awaited(
    from: &file::After,
    (own, names): (usize, &[&str]),
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Awaited> {
    let ways = [from.fault.is_some(), from.ready.is_some(), from.bound.is_some()];
    if ways.iter().filter(|given| **given).count() != 1 {
        let hint = "write one of fault: NAME, ready: deployment/web and bound: 100";
        report.error(at, "says not what has to happen", hint);
        return None;
    }
    if from.fault.is_none() && (from.begins.is_some() || from.ends.is_some()) {
        report.error(at, "only faults begin and end", "leave begins: and ends: out");
    }
    if from.ready.is_none() && from.at_least.is_some() {
        report.error(&at.key("atLeast"), "goes with ready only", "leave it out");
    }
    if let Some(name) = &from.fault {
        let ends = from.ends.unwrap_or(false);
        if ends == from.begins.unwrap_or(false) {
            report.error(at, "its begin or its end?", "write either begins: true or ends: true");
        }
        let row = names.iter().position(|known| known == name && !name.is_empty());
        if row.is_none() {
            report.error(
                &at.key("fault"),
                format!("no fault is named {name:?}"),
                suggest(name, names),
            );
        } else if row == Some(own) {
            report.error(&at.key("fault"), "a fault cannot wait for itself", "name another one");
        }
        return Some(Awaited::Fault { row: num::u32_of(row?), ends });
    }
    if let Some(text) = &from.ready {
        let place = at.key("ready");
        let target = report.take(&place, Target::parse(text), target::HINT)?;
        if !known.check_target(&target, &place, report) {
            return None;
        }
        if known.template_of(&target).is_none() {
            report.error(&place, format!("a {} counts no replicas", target.kind), COUNT_READY);
        }
        let Target { kind, ns, name } = target;
        let at_least = from.at_least.unwrap_or(1);
        if at_least < 1 {
            report.error(&at.key("atLeast"), "is always so", "write a number above 0");
        }
        return Some(Awaited::Ready { kind, ns, name, at_least });
    }
    from.bound.map(Awaited::Bound)
}
