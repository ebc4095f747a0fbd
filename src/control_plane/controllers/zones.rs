//! Zones of the cluster: how disrupted each is, and how fast its nodes may be tainted
//! (source: `node_lifecycle_controller.go` `ComputeZoneState`, `setLimiterInZone`).

use crate::engine::{SimDuration, SimTime, Sym};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// One node per so long: 0.1 and 0.01 nodes per second.
const NORMAL_GAP: SimDuration = SimDuration::from_secs(10);
const SECONDARY_GAP: SimDuration = SimDuration::from_secs(100);
/// Zones of up to so many nodes stop when partially disrupted.
const LARGE: u32 = 50;

/// State of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ZoneState {
    /// Fewer than three nodes, or than 55 %, are not ready.
    #[default]
    Normal,
    /// 55 % and at least three are not ready.
    Partial,
    /// No node is ready.
    Full,
}

#[derive(Debug, Clone, Default)]
struct Zone {
    name: Sym,
    nodes: u32,
    ready: u32,
    state: ZoneState,
    /// Nodes to be tainted, in order.
    queue: VecDeque<Sym>,
    /// When the next one may be (the bucket holds one token).
    next: SimTime,
}

impl Zone {
    /// Source: `ComputeZoneState`.
    fn compute(&self, ready: u32) -> ZoneState {
        let not_ready = self.nodes - ready;
        if ready == 0 && not_ready > 0 {
            ZoneState::Full
        } else if not_ready > 2 && not_ready * 100 >= self.nodes * 55 {
            ZoneState::Partial
        } else {
            ZoneState::Normal
        }
    }

    /// Time between two taints; none if there may be no taint at all.
    fn gap(&self) -> Option<SimDuration> {
        match self.state {
            ZoneState::Normal | ZoneState::Full => Some(NORMAL_GAP),
            ZoneState::Partial => (self.nodes > LARGE).then_some(SECONDARY_GAP),
        }
    }
}

/// All zones, in order of their first node.
#[derive(Debug, Clone, Default)]
pub(super) struct Zones {
    zones: Vec<Zone>,
    nodes: FxHashMap<Sym, (usize, bool)>,
    /// No node of any zone is ready: nobody is tainted, since the fault may well be here.
    pub(super) all_down: bool,
}

impl Zones {
    /// A node is in this zone and ready or not.
    pub(super) fn put(&mut self, node: Sym, zone: Sym, ready: bool) {
        self.remove_counts(node);
        let at = self.zones.iter().position(|z| z.name == zone).unwrap_or_else(|| {
            self.zones.push(Zone { name: zone, ..Zone::default() });
            self.zones.len() - 1
        });
        self.zones[at].nodes += 1;
        self.zones[at].ready += u32::from(ready);
        self.nodes.insert(node, (at, ready));
    }

    fn remove_counts(&mut self, node: Sym) {
        if let Some((at, ready)) = self.nodes.remove(&node) {
            self.zones[at].nodes -= 1;
            self.zones[at].ready -= u32::from(ready);
        }
    }

    /// The node is gone.
    pub(super) fn remove(&mut self, node: Sym) {
        self.dequeue(node);
        self.remove_counts(node);
    }

    /// Queues a node to be tainted; says whether it was not queued before.
    pub(super) fn enqueue(&mut self, node: Sym) -> bool {
        let Some(&(at, _)) = self.nodes.get(&node) else { return false };
        let queue = &mut self.zones[at].queue;
        if queue.contains(&node) || self.all_down {
            return false;
        }
        queue.push_back(node);
        true
    }

    /// The node needs no taint any more.
    pub(super) fn dequeue(&mut self, node: Sym) {
        if let Some(&(at, _)) = self.nodes.get(&node) {
            self.zones[at].queue.retain(|n| *n != node);
        }
    }

    /// Recomputes the states, where these nodes count as not ready whatever was last seen of them;
    /// says whether any changed.
    pub(super) fn judge(&mut self, silent: &[Sym], now: SimTime) -> bool {
        let mut ready: Vec<u32> = self.zones.iter().map(|z| z.ready).collect();
        for &(at, counted) in silent.iter().filter_map(|node| self.nodes.get(node)) {
            ready[at] -= u32::from(counted);
        }
        let states: Vec<ZoneState> =
            self.zones.iter().zip(ready).map(|(zone, ready)| zone.compute(ready)).collect();
        let mut inhabited = self.zones.iter().zip(&states).filter(|(z, _)| z.nodes > 0).peekable();
        let was = self.all_down;
        self.all_down =
            inhabited.peek().is_some() && inhabited.all(|(_, state)| *state == ZoneState::Full);
        let mut changed = was != self.all_down;
        for (zone, state) in self.zones.iter_mut().zip(states) {
            if zone.state != state {
                zone.state = state;
                // A used token stays used when the limiter is swapped (source: `SwapLimiter`).
                if let Some(gap) = zone.gap().filter(|_| zone.next > now) {
                    zone.next = now + gap;
                }
                changed = true;
            }
        }
        changed
    }

    /// The nodes whose turn it is: at most one per zone.
    pub(super) fn take(&mut self, now: SimTime) -> Vec<Sym> {
        if self.all_down {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for zone in &mut self.zones {
            let Some(gap) = zone.gap().filter(|_| zone.next <= now) else { continue };
            if let Some(node) = zone.queue.pop_front() {
                zone.next = now + gap;
                taken.push(node);
            }
        }
        taken
    }

    /// When the next queued node may be tainted.
    pub(super) fn next_turn(&self, now: SimTime) -> Option<SimTime> {
        let waiting = self.zones.iter().filter(|z| !z.queue.is_empty() && z.gap().is_some());
        if self.all_down {
            return None;
        }
        waiting.map(|z| z.next.max(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_states_by_share_of_nodes_down() {
        let state = |nodes, ready| Zone { nodes, ..Zone::default() }.compute(ready);
        let cases = [
            (10, 10, ZoneState::Normal),
            (10, 6, ZoneState::Normal),
            (5, 2, ZoneState::Partial),
            (2, 1, ZoneState::Normal),
            (5, 0, ZoneState::Full),
            (20, 9, ZoneState::Partial),
            (20, 10, ZoneState::Normal),
            (0, 0, ZoneState::Normal),
        ];
        for (nodes, ready, want) in cases {
            assert_eq!(state(nodes, ready), want, "{ready} of {nodes} ready");
        }
        let gap = |nodes, ready| {
            let mut zone = Zone { nodes, ready, ..Zone::default() };
            zone.state = zone.compute(ready);
            zone.gap()
        };
        assert_eq!(gap(5, 2), None);
        assert_eq!(gap(51, 10), Some(SECONDARY_GAP));
        assert_eq!(gap(51, 0), Some(NORMAL_GAP));
    }

    #[test]
    fn one_node_per_ten_seconds_and_zone() {
        let mut zones = Zones::default();
        for i in 0..10 {
            zones.put(Sym::new(&format!("n{i}")), "za".into(), i >= 4);
        }
        for i in 0..4 {
            assert!(zones.enqueue(Sym::new(&format!("n{i}"))));
        }
        zones.judge(&[], SimTime::ZERO);
        let mut at = Vec::new();
        for tenth in 0..400_u64 {
            let now = SimTime(tenth * 100_000_000);
            at.extend(zones.take(now).iter().map(|_| tenth));
        }
        assert_eq!(at, [0, 100, 200, 300]);
    }
}
