//! Machines that stand still and go on. Nobody can talk to one meanwhile; what it was doing takes
//! as much longer, and timers that have run out go off together when it goes on.

use super::Cluster;
use super::links::Frozen;
use super::spec::StaticPod;
use crate::engine::queue::Entry;
use crate::engine::{SimDuration, SimTime};
use crate::event::{Event, NodeEvent, What};

/// True for what is work, and not a timer: it goes on where it stopped.
const fn is_work(event: NodeEvent) -> bool {
    matches!(
        event,
        NodeEvent::Mounted { .. }
            | NodeEvent::Volume { mounted: true, .. }
            | NodeEvent::Unmounted { .. }
            | NodeEvent::SandboxReady { .. }
            | NodeEvent::ContainerStarted { .. }
            | NodeEvent::ContainerExited { .. }
            | NodeEvent::ContainerStopped { .. }
            | NodeEvent::ContainerRestarted { .. }
            | NodeEvent::PostStarted { .. }
    )
}

impl Cluster {
    /// Holds what becomes due on a machine that stands still, and puts off what it has not come to.
    pub(super) fn stands_still(
        &mut self,
        node: u32,
        event: NodeEvent,
        entry: &Entry<Event>,
    ) -> bool {
        if let Some(frozen) = self.links.frozen.get_mut(&node) {
            frozen.due.push(*entry);
            return true;
        }
        let Some(shifts) = self.links.shifts.get(&node).filter(|_| is_work(event)) else {
            return false;
        };
        let lost = shifts.iter().filter(|(seq, _)| entry.seq <= *seq).map(|(_, d)| d.0).sum();
        if lost > 0 {
            self.shared.context(entry.seq).after(SimDuration(lost), entry.event);
        }
        lost > 0
    }

    /// Machines stand still from now on.
    pub(super) fn freeze(&mut self, row: u32, struck: &[u32], until: SimTime, seq: u64) {
        let now = self.shared.now();
        for &node in struck {
            let name = self.nodes[node as usize].name();
            let step = "machine stops (frozen)";
            let cx = &mut self.shared.context(seq);
            let hop = cx.hop(0, What::Fault { fault: row, node: name, step });
            if let Some(frozen) = self.links.frozen.get_mut(&node) {
                frozen.holds += 1;
            } else {
                let seq = self.shared.last_seq();
                let frozen = Frozen { holds: 1, since: now, seq, due: Vec::new() };
                self.links.frozen.insert(node, frozen);
                self.links.turn();
                self.shared.context(hop).strikes_node(node);
                self.links.settle();
            }
            if let Some(host) = self.control.as_ref().and_then(|c| c.host_of(node)) {
                for process in [StaticPod::Scheduler, StaticPod::ControllerManager] {
                    self.pause(host, process, until, hop);
                }
            }
        }
        self.survey(seq);
    }

    /// They go on.
    pub(super) fn thaw(&mut self, row: u32, struck: &[u32], seq: u64) {
        let now = self.shared.now();
        for &node in struck {
            let name = self.nodes[node as usize].name();
            let Some(frozen) = self.links.frozen.get_mut(&node) else { continue };
            frozen.holds -= 1;
            let held = frozen.holds > 0;
            let step = if held { super::HELD } else { "machine goes on" };
            let cx = &mut self.shared.context(seq);
            let hop = cx.hop(0, What::Fault { fault: row, node: name, step });
            let Some(frozen) = (!held).then(|| self.links.frozen.remove(&node)).flatten() else {
                continue;
            };
            self.links.turn();
            let lost = now.since(frozen.since);
            self.shared.context(hop).strikes_node(node);
            self.nodes[node as usize].slept(lost, &mut self.shared.context(hop));
            for entry in frozen.due {
                let work = matches!(entry.event, Event::Node { event, .. } if is_work(event));
                let at = if work && entry.seq <= frozen.seq { entry.time + lost } else { now };
                let seq = self.shared.context(hop).schedule(at, entry.event);
                if let Event::Node { event, .. } = entry.event {
                    self.nodes[node as usize].overslept(event, entry.time, (at, seq));
                }
            }
            self.links.shifts.entry(node).or_default().push((frozen.seq, lost));
            self.links.settle();
            if let Some(host) = self.control.as_ref().and_then(|c| c.host_of(node)) {
                for process in [StaticPod::Scheduler, StaticPod::ControllerManager] {
                    self.resume(host, process, hop);
                }
                for process in StaticPod::ALL {
                    self.start_later(host, process, hop);
                }
            }
        }
        self.survey(seq);
    }
}
