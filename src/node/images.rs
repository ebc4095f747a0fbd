//! Images on a node: what is there, how much room it takes, and what is thrown away when the disk
//! gets full. Source: behaviour reference §4.4; `pkg/kubelet/images/image_gc_manager.go`.

use super::NodeAgent;
use super::config::KubeletConfig;
use super::registry::Catalog;
use crate::api::node::NodeImage;
use crate::engine::{Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::Context;
use std::sync::Arc;

/// A layer of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// What tells it from others: images that have the same layer share it.
    pub name: Sym,
    /// Size, bytes.
    pub bytes: i64,
}

/// An image that is there.
#[derive(Debug, Clone)]
struct Stored {
    names: Vec<Sym>,
    layers: Arc<[Layer]>,
    /// When it came.
    since: SimTime,
    /// When a container was last started from it.
    used: SimTime,
}

/// Images on a node.
#[derive(Debug, Clone)]
pub(super) struct Images {
    stored: Vec<Stored>,
    given: Arc<[NodeImage]>,
    /// What all their layers take, each once.
    bytes: i64,
}

impl Images {
    pub(super) fn new(given: &Arc<[NodeImage]>, catalog: &Catalog) -> Self {
        let mut images = Self { stored: Vec::new(), given: Arc::clone(given), bytes: 0 };
        for image in given.iter() {
            let Some(&name) = image.names.first() else { continue };
            let described = catalog.described.get(&name).cloned();
            let layers =
                described.unwrap_or_else(|| Arc::from([Layer { name, bytes: image.size }]));
            images.add(name, layers, SimTime::ZERO);
            if let Some(stored) = images.stored.last_mut() {
                stored.names.clone_from(&image.names);
            }
        }
        images
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

    fn has_layer(&self, layer: &Layer) -> bool {
        self.stored.iter().any(|s| s.layers.iter().any(|l| l.name == layer.name))
    }

    /// Bytes of the layers that are not there.
    pub(super) fn missing(&self, layers: &[Layer]) -> i64 {
        layers.iter().filter(|l| !self.has_layer(l)).map(|l| l.bytes).sum()
    }

    pub(super) fn add(&mut self, image: Sym, layers: Arc<[Layer]>, now: SimTime) {
        if !self.has(image) {
            self.bytes += self.missing(&layers);
            self.stored.push(Stored { names: vec![image], layers, since: now, used: now });
        }
    }

    /// An image goes; layers that others have, too, stay. Gives the bytes freed.
    fn remove(&mut self, image: Sym) -> i64 {
        let Some(at) = self.stored.iter().position(|s| s.names.contains(&image)) else { return 0 };
        let gone = self.stored.remove(at);
        let freed = self.missing(&gone.layers);
        self.bytes -= freed;
        freed
    }

    /// Throws images away that nobody uses and that are old enough, least recently used first,
    /// until so many bytes are free; gives the bytes freed.
    fn free(&mut self, wanted: i64, in_use: &[Sym], least: SimDuration, now: SimTime) -> i64 {
        let mut order: Vec<&Stored> = self.stored.iter().collect();
        // Stable: of two alike the one that came first.
        order.sort_by_key(|s| (s.used, s.since));
        let idle = |s: &&&Stored| {
            !s.names.iter().any(|n| in_use.contains(n)) && now.since(s.since) >= least
        };
        let idle: Vec<Sym> =
            order.iter().filter(idle).filter_map(|s| s.names.first().copied()).collect();
        let mut freed = 0;
        for image in idle {
            if freed >= wanted {
                break;
            }
            freed += self.remove(image);
        }
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
        let mut images = Images::new(&Arc::default(), &Catalog::default());
        let layers = |name: &str| Arc::from([Layer { name: name.into(), bytes: 10 }]);
        for (name, since, used) in [("old", 0, 500), ("older", 0, 100), ("young", 950, 960)] {
            images.add(name.into(), layers(name), at(since));
            images.touch(name.into(), at(used));
        }
        images.add("busy".into(), layers("busy"), at(0));
        let busy = ["busy".into()];
        let min = SimDuration::from_secs(120);
        assert_eq!(images.free(5, &busy, min, at(1_000)), 10);
        assert!(!images.has("older".into()) && images.has("old".into()));
        assert_eq!(images.free(i64::MAX, &busy, min, at(1_000)), 10);
        assert_eq!(images.bytes(), 20);
        assert!(images.has("young".into()) && images.has("busy".into()));
    }

    #[test]
    fn layers_that_images_share_are_there_once() {
        let layer = |name: &str, bytes| Layer { name: name.into(), bytes };
        let (one, two) = ([layer("base", 80), layer("a", 5)], [layer("base", 80), layer("b", 7)]);
        let mut images = Images::new(&Arc::default(), &Catalog::default());
        assert_eq!(images.missing(&one), 85);
        images.add("one".into(), Arc::from(one), SimTime::ZERO);
        assert_eq!(images.missing(&two), 7);
        images.add("two".into(), Arc::from(two), SimTime::ZERO);
        assert_eq!(images.bytes(), 92);
        assert_eq!((images.remove("one".into()), images.bytes()), (5, 87));
        assert_eq!((images.remove("two".into()), images.bytes()), (87, 0));
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
