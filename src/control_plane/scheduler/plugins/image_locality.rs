//! ImageLocality (source: `plg/imagelocality/image_locality.go`).

use crate::api::Pod;
use crate::control_plane::scheduler::framework::{CycleState, MAX_SCORE, Plugin, View};
use crate::engine::{Sym, num};

const MIB: i64 = 1024 * 1024;
const MIN: i64 = 23 * MIB;
const MAX_PER_CONTAINER: i64 = 1000 * MIB;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageLocality;

/// An image name with `:latest` if it has no tag (a digest counts as a tag).
fn normalised(image: Sym) -> Sym {
    let text = image.as_str();
    let last_slash = text.rfind('/').map_or(0, |i| i + 1);
    if text[last_slash..].contains(':') { image } else { Sym::new(&format!("{text}:latest")) }
}

fn images(pod: &Pod) -> impl Iterator<Item = Sym> {
    pod.spec.init_containers.iter().chain(&pod.spec.containers).map(|c| c.image)
}

impl Plugin for ImageLocality {
    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let nodes = num::float_u(view.cache.len() as u64);
        let here = &view.cache.node(at).status.images;
        let mut sum = 0;
        let mut containers = 0;
        for image in images(view.pod) {
            containers += 1;
            let name = normalised(image);
            if let Some(row) = view.cache.image(name)
                && here.iter().any(|i| i.names.contains(&name))
            {
                let spread = num::float_u(u64::from(row.nodes)) / nodes;
                sum += num::trunc(num::float(row.size) * spread);
            }
        }
        let max = MAX_PER_CONTAINER * containers;
        MAX_SCORE * (sum.clamp(MIN, max.max(MIN)) - MIN) / (max - MIN).max(1)
    }

    fn constant_score(&self, view: View<'_>, _state: &CycleState) -> Option<i64> {
        let known = |image| view.cache.image(normalised(image)).is_some();
        let none = view.cache.no_images() || !images(view.pod).any(known);
        none.then_some(0)
    }
}
