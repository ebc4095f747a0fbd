//! Faults of a plan: whom they strike is drawn when they begin, keyed by the fault's row.

use super::outages::Part;
use super::spec::{Fault, FaultKind, Whom};
use crate::engine::{Purpose, num};
use crate::event::Context;
use crate::node::NodeAgent;

/// What of a node a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    /// The machine.
    Machine,
    /// The machine, told to shut down.
    Orderly,
    /// The kubelet alone.
    Kubelet,
    /// The kubelet's watches.
    Connection,
}

impl Blow {
    /// What it keeps away.
    pub(super) const fn part(self) -> Part {
        match self {
            Self::Machine | Self::Orderly => Part::Machine,
            Self::Kubelet => Part::Kubelet,
            Self::Connection => Part::Connection,
        }
    }
}

/// What a fault does to a node. Faults of processes and stores strike none.
pub(super) const fn blow(what: FaultKind) -> Blow {
    match what {
        FaultKind::NodeCrash | FaultKind::Blackout(_) => Blow::Machine,
        FaultKind::Shutdown => Blow::Orderly,
        FaultKind::WatchLoss => Blow::Connection,
        FaultKind::KubeletStop
        | FaultKind::Restart
        | FaultKind::Terminate
        | FaultKind::RegistryDown
        | FaultKind::LogStoreDown
        | FaultKind::DeviceFailure(..)
        | FaultKind::Pause
        | FaultKind::SlowDisk(_)
        | FaultKind::LoseLog
        | FaultKind::SpaceAlarm
        | FaultKind::Overload(_)
        | FaultKind::Partition { .. }
        | FaultKind::Freeze
        | FaultKind::Network(_)
        | FaultKind::SlowNode(_)
        | FaultKind::DiskFull(_)
        | FaultKind::Interrupt(_)
        | FaultKind::Upgrade(_) => Blow::Kubelet,
    }
}

/// True for what befalls networks, clocks and disks, and for what whoever runs the cluster does.
pub(super) const fn ails(what: FaultKind) -> bool {
    matches!(
        what,
        FaultKind::Partition { .. }
            | FaultKind::Freeze
            | FaultKind::Network(_)
            | FaultKind::SlowNode(_)
            | FaultKind::DiskFull(_)
            | FaultKind::Interrupt(_)
            | FaultKind::Upgrade(_)
    )
}

/// The nodes that a fault strikes, by index, in order of the cluster's list.
pub(super) fn victims(row: u32, fault: &Fault, nodes: &[NodeAgent], cx: &Context<'_>) -> Vec<u32> {
    let there = |i: &u32| !nodes[*i as usize].retired();
    let all = (0..num::u32_of(nodes.len())).filter(there).collect::<Vec<u32>>();
    let name = |i: u32| nodes[i as usize].name();
    match &fault.whom {
        Whom::Names(names) => all.into_iter().filter(|&i| names.contains(&name(i))).collect(),
        Whom::Zone(zone) => {
            all.into_iter().filter(|&i| nodes[i as usize].zone() == *zone).collect()
        }
        Whom::Selector(selector, count) => {
            let matching: Vec<u32> =
                all.into_iter().filter(|&i| selector.matches(nodes[i as usize].labels())).collect();
            match count {
                Some(count) => draw_some(row, matching, *count, cx),
                None => matching,
            }
        }
        // Processes are no nodes, and blackouts have victims of their own.
        Whom::Component(_)
        | Whom::Between(_)
        | Whom::Registry(_)
        | Whom::LogStore
        | Whom::Process(..)
        | Whom::ControlPlane => Vec::new(),
        Whom::All => all,
        Whom::Count(count) => draw_some(row, all, *count, cx),
        Whom::Share(of, percent) => {
            let one = Fault { whom: (**of).clone(), ..fault.clone() };
            let from = victims(row, &one, nodes, cx);
            let count = (num::u32_of(from.len()) * percent + 50) / 100;
            draw_some(row, from, count.max(1), cx)
        }
    }
}

/// `count` of the candidates, each subset equally likely, in the candidates' order.
pub(super) fn draw_some(
    row: u32,
    mut candidates: Vec<u32>,
    count: u32,
    cx: &Context<'_>,
) -> Vec<u32> {
    let count = (count as usize).min(candidates.len());
    for i in 0..count {
        let left = (candidates.len() - i) as u64;
        let mut draw = cx.draw(u64::from(row), Purpose("fault-victims"), i as u64);
        let j = i + num::index(draw.below(left));
        candidates.swap(i, j);
    }
    candidates.truncate(count);
    candidates.sort_unstable();
    candidates
}
