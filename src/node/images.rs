//! Images on a node: what is there, how much room it takes, and what is thrown away when the disk
//! gets full. Source: behaviour reference §4.4; `pkg/kubelet/images/image_gc_manager.go`.

use super::NodeAgent;
use super::config::KubeletConfig;
use crate::api::node::NodeImage;
use crate::engine::{Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::Context;
use std::sync::Arc;

/// An image that is there.
#[derive(Debug, Clone)]
struct Stored {
    names: Vec<Sym>,
    bytes: i64,
    /// When it came.
    since: SimTime,
    /// When a container was last started from it.
    used: SimTime,
}

/// Images on a node, and its one pull at a time.
#[derive(Debug, Clone)]
pub(super) struct Images {
    stored: Vec<Stored>,
    given: Arc<[NodeImage]>,
    bytes: i64,
    /// When the pull in hand ends.
    busy_until: SimTime,
}

impl Images {
    pub(super) fn new(given: &Arc<[NodeImage]>) -> Self {
        let each = given.iter().map(|image| Stored {
            names: image.names.clone(),
            bytes: image.size,
            since: SimTime::ZERO,
            used: SimTime::ZERO,
        });
        let bytes = given.iter().map(|i| i.size).sum();
        Self { stored: each.collect(), given: Arc::clone(given), bytes, busy_until: SimTime::ZERO }
    }

    /// Images as the node reports them: those it was given (pulled ones are not reported).
    pub(super) fn reported(&self) -> Arc<[NodeImage]> {
        Arc::clone(&self.given)
    }

    pub(super) fn has(&self, image: Sym) -> bool {
        self.stored.iter().any(|s| s.names.contains(&image))
    }

    /// What all of them take.
    pub(super) fn bytes(&self) -> i64 {
        self.bytes
    }

    /// A container is started from an image.
    pub(super) fn touch(&mut self, image: Sym, now: SimTime) {
        if let Some(stored) = self.stored.iter_mut().find(|s| s.names.contains(&image)) {
            stored.used = now;
        }
    }

    /// Queues a pull that takes `span`; gives the instant at which it is done.
    pub(super) fn pull(&mut self, now: SimTime, span: SimDuration) -> SimTime {
        self.busy_until = self.busy_until.max(now) + span;
        self.busy_until
    }

    pub(super) fn add(&mut self, image: Sym, bytes: i64, now: SimTime) {
        if !self.has(image) {
            self.bytes += bytes;
            self.stored.push(Stored { names: vec![image], bytes, since: now, used: now });
        }
    }

    /// Throws images away that nobody uses and that are old enough, least recently used first,
    /// until so many bytes are free; gives the bytes freed.
    fn free(&mut self, wanted: i64, in_use: &[Sym], least: SimDuration, now: SimTime) -> i64 {
        let mut order: Vec<usize> = (0..self.stored.len()).collect();
        // Stable: of two alike the one that came first.
        order.sort_by_key(|&i| (self.stored[i].used, self.stored[i].since));
        let mut gone: Vec<usize> = Vec::new();
        let mut freed = 0;
        for i in order {
            let stored = &self.stored[i];
            let used = stored.names.iter().any(|n| in_use.contains(n));
            if freed >= wanted || used || now.since(stored.since) < least {
                continue;
            }
            freed += stored.bytes;
            gone.push(i);
        }
        gone.sort_unstable();
        for i in gone.into_iter().rev() {
            self.stored.remove(i);
        }
        self.bytes -= freed;
        freed
    }
}

/// Throws away what nobody uses, until so many bytes are free; gives the bytes freed.
pub(super) fn collect(node: &mut NodeAgent, wanted: i64, cx: &Context<'_>) -> i64 {
    let mut in_use: Vec<Sym> = Vec::new();
    for worker in node.workers.active() {
        let spec = &worker.spec;
        in_use.extend(spec.init_containers.iter().chain(&spec.containers).map(|c| c.image));
    }
    let least = node.setup.kubelet.image_min_age;
    node.images.free(wanted, &in_use, least, cx.now())
}

/// The kubelet's loop that throws images away (source: `kubelet.go` `ImageGCPeriod`).
pub(super) fn gc_loop(node: &NodeAgent, cx: &Context<'_>) -> Grid {
    const PERIOD: SimDuration = SimDuration::from_secs(300);
    Grid::drawn(cx.draws(), node.setup.name.stable_hash(), Purpose("image gc"), PERIOD)
}

/// The file system counts as full while no more than this is available.
pub(super) fn spare(config: &KubeletConfig, capacity: i64) -> i64 {
    ((101 - i64::from(config.image_gc.0)) * capacity - 1) / 100
}

/// How much must be freed when the file system is this full; none while it is not full enough.
pub(super) fn excess(config: &KubeletConfig, capacity: i64, available: i64) -> Option<i64> {
    let (high, low) = config.image_gc;
    let used = 100 - available.max(0) * 100 / capacity.max(1);
    (used >= i64::from(high)).then(|| capacity * (100 - i64::from(low)) / 100 - available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_go_first_and_young_or_used_ones_stay() {
        let at = SimTime::from_secs;
        let mut images = Images::new(&Arc::default());
        for (name, since, used) in [("old", 0, 500), ("older", 0, 100), ("young", 950, 960)] {
            images.add(name.into(), 10, at(since));
            images.touch(name.into(), at(used));
        }
        images.add("busy".into(), 10, at(0));
        let busy = ["busy".into()];
        let min = SimDuration::from_secs(120);
        assert_eq!(images.free(5, &busy, min, at(1_000)), 10);
        assert!(!images.has("older".into()) && images.has("old".into()));
        assert_eq!(images.free(i64::MAX, &busy, min, at(1_000)), 10);
        assert_eq!(images.bytes(), 20);
        assert!(images.has("young".into()) && images.has("busy".into()));
    }

    #[test]
    fn from_85_percent_on_images_are_freed_down_to_80() {
        let config = KubeletConfig::default();
        for capacity in [1_000, 999, 12_345] {
            let spare = spare(&config, capacity);
            assert!(excess(&config, capacity, spare).is_some(), "{capacity}");
            assert_eq!(excess(&config, capacity, spare + 1), None, "{capacity}");
        }
        assert_eq!(excess(&config, 1_000, 150), Some(50));
        assert_eq!(excess(&config, 1_000, 100), Some(100));
    }
}
