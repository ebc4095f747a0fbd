//! Machines that fail again and again, by a record or by chance: each outage is a crash and a
//! return, as a fault's is. Only the next outage of a record, and of each machine or group of
//! machines that fails by chance, is armed.

use super::Cluster;
use super::faults::draw_some;
use super::spec::{FaultKind, How, Outages, Together};
use crate::engine::digest::{hash_bytes, mix};
use crate::engine::{Purpose, SimTime, num};
use crate::event::{Event, OutageEvent};

/// What a cause may keep away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The machine of a node.
    Machine,
    /// Its kubelet.
    Kubelet,
    /// The kubelet's connection.
    Connection,
    /// The process of a component.
    Process,
    /// Its connection.
    Link,
}

/// How many causes keep something away: faults and outages may overlap, and what they struck is
/// back when the last of them is over.
#[derive(Debug, Clone, Default)]
pub(super) struct Away {
    by_part: [Vec<u16>; 5],
}

impl Away {
    /// One more cause; true if it is the first.
    pub(super) fn goes(&mut self, part: Part, index: u32) -> bool {
        let (causes, index) = (&mut self.by_part[part as usize], index as usize);
        if causes.len() <= index {
            causes.resize(index + 1, 0);
        }
        causes[index] += 1;
        causes[index] == 1
    }

    /// True while a cause keeps it away.
    pub(super) fn holds(&self, part: Part, index: u32) -> bool {
        self.by_part[part as usize].get(index as usize).is_some_and(|n| *n > 0)
    }

    /// A cause is over; true if it was the last.
    pub(super) fn comes(&mut self, part: Part, index: u32) -> bool {
        let causes = self.by_part[part as usize].get_mut(index as usize);
        let Some(causes) = causes.filter(|n| **n > 0) else { return true };
        *causes -= 1;
        *causes == 0
    }
}

/// The groups in which machines fail, if they do.
fn groups(outages: &Outages) -> Option<&Together> {
    match &outages.how {
        How::Renewal { together, .. } => together.as_ref(),
        How::Record(_) | How::Shares(_) => None,
    }
}

impl Cluster {
    /// Arms the first outages.
    pub(super) fn start_outages(&mut self) {
        let plan = std::sync::Arc::clone(&self.plan);
        for (source, outages) in plan.outages.iter().enumerate() {
            let source = num::u32_of(source);
            match &outages.how {
                How::Record(list) => {
                    self.arm_record(source, 0, list.first().map(|o| o.from));
                }
                How::Shares(list) => {
                    self.arm_record(source, 0, list.first().map(|o| o.from));
                }
                How::Renewal { together: None, .. } => {
                    for &node in outages.nodes.iter() {
                        self.arm_failure(source, node, 0);
                    }
                }
                How::Renewal { together: Some(together), .. } => {
                    for group in 0..num::u32_of(together.groups.len()) {
                        self.arm_failure(source, group, 0);
                    }
                }
            }
        }
    }

    fn arm_record(&mut self, source: u32, number: u32, at: Option<SimTime>) {
        if let Some(at) = at.filter(|at| *at <= self.plan.until) {
            let event = OutageEvent::Next { source, number };
            self.shared.context(0).schedule(at, Event::Outage(event));
        }
    }

    /// A machine or group that runs will fail after a time that is drawn by its name and how often
    /// it has.
    fn arm_failure(&mut self, source: u32, node: u32, number: u32) {
        let plan = std::sync::Arc::clone(&self.plan);
        let outages = &plan.outages[source as usize];
        let How::Renewal { up, .. } = &outages.how else { return };
        let entity = self.entity(outages, node);
        let cx = &mut self.shared.context(0);
        let lasts = up.sample(&mut cx.draw(entity, Purpose("outage-up"), u64::from(number)));
        let at = cx.now() + lasts;
        if at <= plan.until.min(outages.until) {
            cx.schedule(at, Event::Outage(OutageEvent::Fails { source, node, number }));
        }
    }

    /// Whose draws are those of a machine, or of a group.
    fn entity(&self, outages: &Outages, unit: u32) -> u64 {
        let of_source = hash_bytes(outages.name.as_bytes());
        match groups(outages) {
            Some(together) => {
                let name = together.groups[unit as usize].0.stable_hash();
                mix(mix(name, of_source), hash_bytes(b"together"))
            }
            None => mix(self.nodes[unit as usize].name().stable_hash(), of_source),
        }
    }

    /// The machines that the failure of a machine or group with this number strikes.
    fn struck_by(&mut self, outages: &Outages, unit: u32, number: u32, seq: u64) -> Vec<u32> {
        let Some(together) = groups(outages) else { return vec![unit] };
        let nodes = together.groups[unit as usize].1.to_vec();
        let share = num::round(num::float(num::i64_of(nodes.len())) * together.share);
        let key = mix(self.entity(outages, unit), u64::from(number)) & u64::from(u32::MAX);
        let count = u32::try_from(share.max(1)).unwrap_or(u32::MAX);
        draw_some(num::u32_of(num::index(key)), nodes, count, &self.shared.context(seq))
    }

    /// An outage begins or ends.
    pub(super) fn outage(&mut self, event: OutageEvent, seq: u64) {
        let plan = std::sync::Arc::clone(&self.plan);
        match event {
            OutageEvent::Next { source, number } => match &plan.outages[source as usize].how {
                How::Record(list) => {
                    let outage = list[number as usize];
                    self.fails(source, outage.node, outage.to, seq);
                    let next = list.get(number as usize + 1).map(|o| o.from);
                    self.arm_record(source, number + 1, next);
                }
                How::Shares(list) => {
                    let outage = list[number as usize];
                    let nodes = plan.outages[source as usize].nodes.to_vec();
                    let hit = num::round(num::float(num::i64_of(nodes.len())) * outage.share);
                    let count = u32::try_from(hit).unwrap_or(u32::MAX);
                    let row = self.row_of(source) ^ number << 16;
                    let struck = draw_some(row, nodes, count, &self.shared.context(seq));
                    for node in struck {
                        self.fails(source, node, Some(outage.to), seq);
                    }
                    let next = list.get(number as usize + 1).map(|o| o.from);
                    self.arm_record(source, number + 1, next);
                }
                How::Renewal { .. } => {}
            },
            OutageEvent::Fails { source, node, number } => {
                let outages = &plan.outages[source as usize];
                let How::Renewal { down, .. } = &outages.how else { return };
                let entity = self.entity(outages, node);
                let cx = &self.shared.context(seq);
                let mut draw = cx.draw(entity, Purpose("outage-down"), u64::from(number));
                let to = cx.now() + down.sample(&mut draw);
                for struck in self.struck_by(outages, node, number, seq) {
                    self.strike(self.row_of(source), FaultKind::NodeCrash, struck, seq);
                }
                let back = OutageEvent::Back { source, node, number };
                self.shared.context(seq).schedule(to, Event::Outage(back));
            }
            OutageEvent::Back { source, node, number } => {
                let outages = &plan.outages[source as usize];
                // Drawn again, they are the same ones.
                for struck in self.struck_by(outages, node, number, seq) {
                    self.heal(self.row_of(source), FaultKind::NodeCrash, struck, seq);
                }
                if matches!(outages.how, How::Renewal { .. }) {
                    self.arm_failure(source, node, number + 1);
                }
            }
        }
    }

    /// A recorded outage of a machine; without an end it stays away.
    fn fails(&mut self, source: u32, node: u32, to: Option<SimTime>, seq: u64) {
        self.strike(self.row_of(source), FaultKind::NodeCrash, node, seq);
        if let Some(to) = to {
            let back = OutageEvent::Back { source, node, number: 0 };
            self.shared.context(seq).schedule(to, Event::Outage(back));
        }
    }

    /// The row under which the report tells of a source of outages: after those of the faults.
    fn row_of(&self, source: u32) -> u32 {
        num::u32_of(self.plan.faults.len()) + source
    }
}
