//! Networks that fail between nodes and the control plane, as state: what is cut, what that has
//! broken, who stands still, what is late. What follows from it is in `trouble` and `standstill`.
//!
//! A cut is a pair of sets of nodes; whether two nodes reach each other is asked of all cuts, so
//! cuts may overlap in any way. A kubelet whose connection a cut has struck is *broken*: what it
//! sends, or what is sent to it, is held. TCP delivers that if the cut heals before the kubelet
//! gives the connection up; else the kubelet begins anew. Nothing here costs anything per tick, and
//! a run without such faults asks one question per event ([`Links::busy`]).

use super::spec::{Await, Packets};
use super::waves::Wave;
use crate::api::versions::Change;
use crate::engine::id::Id;
use crate::engine::queue::Entry;
use crate::engine::{SimDuration, SimTime};
use crate::event::{Address, Event};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The control plane of a cluster whose control plane runs on no nodes, as an end of a network.
pub(super) const CONTROL: u32 = u32::MAX;

/// Nothing passes between two sets.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    /// The fault it belongs to.
    pub(super) row: u32,
    /// Both sets, in order.
    pub(super) sides: [Vec<u32>; 2],
    /// What the second set sends to the first one passes.
    pub(super) one_way: bool,
}

impl Cut {
    fn blocks(&self, from: u32, to: u32) -> bool {
        let [a, b] = &self.sides;
        let has = |side: &[u32], end| side.binary_search(&end).is_ok();
        has(a, from) && has(b, to) || !self.one_way && has(b, from) && has(a, to)
    }
}

/// Something that waits for the network.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    /// A request of the kubelet.
    Request(Id),
    /// An answer to it.
    Answer { to: Address, token: u32, request: Id },
}

/// The connection of a kubelet through which not all passes.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a connection")]
#[derive(Debug, Clone)]
pub(super) struct Broken {
    /// What the kubelet sends does not arrive.
    pub(super) up: bool,
    /// What is sent to it does not arrive.
    pub(super) down: bool,
    /// Since when.
    pub(super) since: SimTime,
    /// When the kubelet gives the connection up.
    pub(super) found: SimTime,
    /// It has done so.
    pub(super) dead: bool,
    /// The machine stood still when it broke: it speaks up as soon as it goes on.
    pub(super) slept: bool,
    /// Of the event that comes next: others are void.
    pub(super) number: u32,
    /// What waits, and since when.
    pub(super) held: Vec<(SimTime, Held)>,
}

/// A machine that stands still.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    /// How many faults hold it.
    pub(super) holds: u16,
    pub(super) since: SimTime,
    /// Number of the last event given before.
    pub(super) seq: u64,
    /// What has become due meanwhile.
    pub(super) due: Vec<Entry<Event>>,
}

/// All that is wrong with networks and clocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    busy: bool,
    /// How often it may have changed whom no change reaches.
    turns: u64,
    pub(super) cuts: Vec<Cut>,
    /// By node.
    pub(super) broken: BTreeMap<u32, Broken>,
    /// Kubelets that cannot register, of a control plane that runs on no nodes.
    pub(super) waiting: BTreeSet<u32>,
    /// Hosts of the control plane that the others do not reach.
    pub(super) isolated: BTreeSet<usize>,
    pub(super) frozen: BTreeMap<u32, Frozen>,
    /// By node: what was planned before an event of this number happens so much later.
    pub(super) shifts: BTreeMap<u32, Vec<(u64, SimDuration)>>,
    /// By node: the faults that make it slow, and how.
    pub(super) packets: BTreeMap<u32, Vec<(u32, Packets)>>,
    /// Messages so far of nodes that are slow: they number the draws.
    pub(super) sent: BTreeMap<u32, u64>,
    /// By node: requests and answers that are late, and the number of the event that ends that.
    pub(super) on_way: BTreeMap<u32, Vec<OnWay>>,
    /// Machines that the provider has taken, by fault; true for those that have a replacement.
    pub(super) taken: BTreeMap<(u32, u32), bool>,
    /// Upgrades under way, by fault.
    pub(super) waves: BTreeMap<u32, Wave>,
    /// By node: the faults that slow it down, and how much.
    pub(super) slow: BTreeMap<u32, Vec<(u32, u32)>>,
    /// By node: the faults that fill its disk, and with how many bytes.
    pub(super) filled: BTreeMap<u32, Vec<(u32, i64)>>,
    /// What faults wait for.
    pub(super) awaits: Vec<Await>,
    /// Pods that have been given a node, while a fault waits.
    pub(super) bound: u64,
    /// Changes that are on their way to a kubelet, in their order.
    pub(super) mail: BTreeMap<u32, VecDeque<(SimTime, Address, Change)>>,
}

/// A message that is late: the number of the event that ends that, when it is, and the message.
pub(super) type OnWay = (u64, SimTime, Event);

impl Links {
    /// True while an event may have to be held or delayed.
    pub(super) const fn busy(&self) -> bool {
        self.busy
    }

    /// To be called when a connection breaks, is given up or is whole again, and when a machine
    /// stands still or goes on.
    pub(super) const fn turn(&mut self) {
        self.turns += 1;
    }

    /// A number that changes with whom no change reaches.
    pub(super) const fn turns(&self) -> u64 {
        self.turns
    }

    /// To be called after each change of what is wrong.
    pub(super) fn settle(&mut self) {
        self.busy = !(self.cuts.is_empty()
            && self.broken.is_empty()
            && self.waiting.is_empty()
            && self.frozen.is_empty()
            && self.shifts.is_empty()
            && self.packets.is_empty()
            && self.on_way.is_empty()
            && self.awaits.is_empty()
            && self.mail.is_empty());
    }

    /// True if what one end sends does not reach the other.
    pub(super) fn blocked(&self, from: u32, to: u32) -> bool {
        self.cuts.iter().any(|cut| cut.blocks(from, to))
            || !self.frozen.is_empty()
                && (self.frozen.contains_key(&from) || self.frozen.contains_key(&to))
    }

    /// True if the kubelet's connection is broken.
    pub(super) fn holds(&self, node: u32) -> bool {
        self.broken.contains_key(&node)
    }

    /// Whoever may be concerned: all ends of all cuts and all that is broken or waits.
    pub(super) fn concerned(&self) -> BTreeSet<u32> {
        let ends = self.cuts.iter().flat_map(|cut| cut.sides.iter().flatten());
        let all = ends.chain(self.broken.keys()).chain(&self.waiting).chain(self.frozen.keys());
        all.copied().filter(|end| *end != CONTROL).collect()
    }
}

/// The first instant from `now` on at which TCP sends again what it first sent at `since`.
pub(super) fn sent_again(since: SimTime, now: SimTime) -> SimTime {
    let mut at = since;
    let mut wait = Packets::AGAIN;
    while at < now {
        at += wait;
        wait = wait.times(2);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_knows_its_directions() {
        let cut = |one_way| Cut { row: 0, sides: [vec![1, 4], vec![2, CONTROL]], one_way };
        let (both, one) = (cut(false), cut(true));
        assert!(both.blocks(1, 2) && both.blocks(2, 1) && both.blocks(CONTROL, 4));
        assert!(one.blocks(4, CONTROL) && !one.blocks(CONTROL, 4));
        assert!(!both.blocks(1, 4) && !both.blocks(1, 3));
    }

    #[test]
    fn tcp_sends_again_ever_more_rarely() {
        let t = SimTime::from_secs;
        assert_eq!(sent_again(t(10), t(10)), t(10));
        let after = |s| sent_again(t(10), t(s)).since(t(10)).as_millis();
        // 0.2, 0.6, 1.4, 3.0, 6.2, 12.6 s after the first time.
        assert_eq!((after(11), after(12), after(15), after(20)), (1_400, 3_000, 6_200, 12_600));
    }
}
