//! Where images come from. Each node has a bandwidth of its own, which its pulls share; where the
//! scenario gives the registry one, all pulls of all nodes share that, too, in equal parts.

use super::images::Layer;
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::{Context, Event, NodeEvent, RegistryEvent};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What is known of images.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Layers of described images, by reference.
    pub described: FxHashMap<Sym, Arc<[Layer]>>,
    /// Size of any other image, bytes.
    pub default_bytes: i64,
}

impl Catalog {
    /// The layers of an image; one that nobody describes is one layer of its own.
    #[must_use]
    pub fn layers(&self, image: Sym) -> Arc<[Layer]> {
        let one = || Arc::from([Layer { name: image, bytes: self.default_bytes }]);
        self.described.get(&image).cloned().unwrap_or_else(one)
    }
}

/// A transfer.
#[derive(Debug, Clone, Copy)]
struct Flow {
    node: u32,
    incarnation: u16,
    /// Pod worker and container.
    pod: u32,
    container: u16,
    /// What is left, in billionths of a byte.
    left: u128,
}

/// Transfers that share a bandwidth in equal parts, none faster than its node's part.
#[derive(Debug, Clone, Default)]
pub(super) struct Station {
    flows: Vec<Flow>,
    /// Transfers of each node.
    mates: FxHashMap<u32, u64>,
    /// Until when they were reckoned.
    at: SimTime,
}

const BILLION: u128 = 1_000_000_000;

impl Station {
    /// Bytes per second of a transfer: its part of the whole, and of its node's bandwidth.
    fn rate(&self, flow: &Flow, whole: u64, per_node: u64) -> u128 {
        let mates = self.mates.get(&flow.node).copied().unwrap_or(1);
        let part = |of: u64, n: u64| (of / n.max(1)).max(1);
        u128::from(part(whole, self.flows.len() as u64).min(part(per_node, mates)))
    }

    fn add(&mut self, flow: Flow) {
        *self.mates.entry(flow.node).or_default() += 1;
        self.flows.push(flow);
    }

    /// Takes away those of which this is true, and gives them.
    fn take(&mut self, which: impl Fn(&Flow) -> bool) -> Vec<Flow> {
        let (gone, kept) = std::mem::take(&mut self.flows).into_iter().partition(which);
        self.flows = kept;
        for flow in &gone {
            if let Some(n) = self.mates.get_mut(&flow.node) {
                *n -= 1;
            }
        }
        gone
    }

    /// Reckons what has been transferred by now.
    fn advance(&mut self, now: SimTime, whole: u64, per_node: u64) {
        let span = u128::from(now.since(self.at).0);
        let rates: Vec<u128> = self.flows.iter().map(|f| self.rate(f, whole, per_node)).collect();
        for (flow, rate) in self.flows.iter_mut().zip(rates) {
            flow.left = flow.left.saturating_sub(rate * span);
        }
        self.at = now;
    }

    /// When the next transfer is done.
    fn next(&self, whole: u64, per_node: u64) -> Option<SimTime> {
        let ends = self.flows.iter().map(|f| {
            let span = f.left.div_ceil(self.rate(f, whole, per_node));
            self.at + SimDuration(u64::try_from(span).unwrap_or(u64::MAX))
        });
        ends.min()
    }
}

/// The registry.
#[derive(Debug, Clone)]
pub struct Registry {
    station: Station,
    /// Bytes per second for all nodes together, and for one of them.
    whole: u64,
    per_node: u64,
    armed: Option<(SimTime, u64)>,
}

impl Registry {
    /// A registry with a bandwidth for all nodes together and one for each.
    #[must_use]
    pub fn new(whole: Option<u64>, per_node: u64) -> Self {
        let whole = whole.unwrap_or(u64::MAX);
        Self { station: Station::default(), whole, per_node: per_node.max(1), armed: None }
    }

    /// An event of the registry.
    pub fn handle(&mut self, event: RegistryEvent, cx: &mut Context<'_>) {
        self.station.advance(cx.now(), self.whole, self.per_node);
        match event {
            RegistryEvent::Pull { node, incarnation, pod, container, kib } => {
                let left = u128::from(kib) * 1024 * BILLION;
                self.station.add(Flow { node, incarnation, pod, container, left });
            }
            RegistryEvent::Cancel { node, pod, container } => {
                let at = (node, pod, container);
                self.station.take(|f| (f.node, f.pod, f.container) == at);
            }
            RegistryEvent::Done => {
                self.armed = None;
                for flow in self.station.take(|f| f.left == 0) {
                    let (node, incarnation) = (flow.node, flow.incarnation);
                    let event = NodeEvent::ImageReady { pod: flow.pod, container: flow.container };
                    cx.schedule(cx.now(), Event::Node { node, incarnation, event });
                }
            }
        }
        let next = self.station.next(self.whole, self.per_node);
        if self.armed.map(|a| a.0) == next {
            return;
        }
        if let Some((_, seq)) = self.armed.take() {
            cx.cancel(seq);
        }
        self.armed = next.map(|at| (at, cx.schedule(at, Event::Registry(RegistryEvent::Done))));
    }
}

/// Size of a transfer as an event carries it.
pub(super) fn kib(bytes: i64) -> u32 {
    u32::try_from(num::u64_of(bytes).div_ceil(1024)).unwrap_or(u32::MAX)
}

/// The host of an image's registry (source: `distribution/reference` `splitDockerDomain`).
pub(super) fn host(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        Some(_) | None => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(node: u32, pod: u32, bytes: u128) -> Flow {
        Flow { node, incarnation: 0, pod, container: 0, left: bytes * BILLION }
    }

    #[test]
    fn transfers_share_the_registry_and_their_nodes() {
        let at = SimTime::from_secs;
        let mut station = Station::default();
        for (node, pod) in [(0, 0), (0, 1), (1, 0)] {
            station.add(flow(node, pod, 1_000));
        }
        // 300 bytes per second for all, 150 for a node: the two of node 0 have 75 each.
        assert_eq!(station.next(300, 150), Some(at(10)));
        station.advance(at(10), 300, 150);
        assert_eq!(
            station.flows.iter().map(|f| f.left / BILLION).collect::<Vec<_>>(),
            [250, 250, 0]
        );
        assert_eq!(station.take(|f| f.left == 0).len(), 1);
        assert_eq!(station.next(300, 150).unwrap().since(at(13)).as_millis(), 333);
        // A registry slower than the nodes is what counts.
        assert_eq!(station.next(50, 150), Some(at(20)));
        station.advance(at(20), 50, 150);
        assert!(station.flows.iter().all(|f| f.left == 0));
    }

    #[test]
    fn a_transfer_that_is_over_or_given_up_leaves_its_bandwidth_to_the_next() {
        let at = SimTime::from_secs;
        let mut station = Station::default();
        for turn in 0..3 {
            let begun = at(u64::from(turn) * 10);
            station.advance(begun, 1_000, 100);
            station.add(flow(0, turn, 1_000));
            // Alone on its node, whoever was there before.
            assert_eq!(station.next(1_000, 100), Some(begun + SimDuration::from_secs(10)));
            if turn == 1 {
                // The second one is given up half way.
                station.advance(at(15), 1_000, 100);
                assert_eq!(station.take(|f| f.pod == 1).len(), 1);
            } else {
                station.advance(begun + SimDuration::from_secs(10), 1_000, 100);
                assert_eq!(station.take(|f| f.left == 0).len(), 1);
            }
        }
        assert_eq!(station.next(1_000, 100), None);
    }

    #[test]
    fn images_without_a_host_come_from_the_hub() {
        assert_eq!(host("nginx:1"), "docker.io");
        assert_eq!(host("library/nginx"), "docker.io");
        assert_eq!(host("registry.k8s.io/pause:3.9"), "registry.k8s.io");
        assert_eq!(host("localhost:5000/a"), "localhost:5000");
    }
}
