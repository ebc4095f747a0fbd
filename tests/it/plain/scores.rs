//! Scores that look at a node and the pods on it. Each gives raw and normalised scores, or none if
//! its `PreScore` skips the plugin.

use super::World;
use super::filters::{requested, term_matches, tolerates};
use wavetank::api::Pod;
use wavetank::api::node::Node;
use wavetank::api::pod::Effect;
use wavetank::engine::Sym;

type Scored = Option<(Vec<i64>, Vec<i64>)>;

pub(crate) fn taints(pod: &Pod, nodes: &[&Node]) -> Scored {
    let soft = |node: &&Node| {
        let preferring = |t: &&wavetank::api::pod::Taint| {
            let heard = |x: &&wavetank::api::pod::Toleration| {
                x.effect.is_none_or(|e| e == Effect::PreferNoSchedule)
            };
            t.effect == Effect::PreferNoSchedule
                && !pod.spec.tolerations.iter().filter(heard).any(|x| tolerates(x, t))
        };
        i64::try_from(node.taints.iter().filter(preferring).count()).unwrap()
    };
    let raw: Vec<i64> = nodes.iter().map(soft).collect();
    let max = raw.iter().copied().max().unwrap_or(0);
    let normal = raw.iter().map(|c| if max == 0 { 100 } else { 100 - 100 * c / max }).collect();
    Some((raw, normal))
}

pub(crate) fn node_affinity(pod: &Pod, nodes: &[&Node]) -> Scored {
    let terms = &pod.spec.affinity.as_ref()?.node_preferred;
    if terms.is_empty() {
        return None;
    }
    let sum = |node: &&Node| {
        terms.iter().filter(|t| term_matches(&t.term, node)).map(|t| t.weight).sum::<i64>()
    };
    let raw: Vec<i64> = nodes.iter().map(sum).collect();
    let max = raw.iter().copied().max().unwrap_or(0);
    let normal = raw.iter().map(|s| if max == 0 { 0 } else { 100 * s / max }).collect();
    Some((raw, normal))
}

/// CPU and memory with 100 m and 200 MiB for containers that name none.
fn scored_requests(pod: &Pod) -> (i64, i64) {
    let each = pod.spec.containers.iter().map(|c| {
        let cpu = if c.requests_named.cpu { c.requests.cpu_milli } else { 100 };
        let memory = if c.requests_named.memory { c.requests.memory } else { 200 << 20 };
        (cpu, memory)
    });
    each.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}

pub(crate) fn least_allocated(world: &World, pod: &Pod, nodes: &[&Node]) -> Scored {
    let one = |node: &&Node| {
        let own = scored_requests(pod);
        let all = world.pods_on(node).map(scored_requests);
        let (cpu, memory) = all.fold(own, |a, b| (a.0 + b.0, a.1 + b.1));
        let has = &node.status.allocatable;
        let mut sum = 0;
        let mut weights = 0;
        for (asked, cap) in [(cpu, has.cpu_milli), (memory, has.memory)] {
            if cap > 0 {
                sum += if asked > cap { 0 } else { (cap - asked) * 100 / cap };
                weights += 1;
            }
        }
        if weights == 0 { 0 } else { sum / weights }
    };
    let raw: Vec<i64> = nodes.iter().map(one).collect();
    Some((raw.clone(), raw))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as upstream: float64 of int64 and back"
)]
pub(crate) fn balanced(world: &World, pod: &Pod, nodes: &[&Node]) -> Scored {
    let asks = &pod.spec.requests;
    if asks.cpu_milli == 0 && asks.memory == 0 {
        return None;
    }
    let one = |node: &&Node| {
        let (used, has) = (requested(world, node), &node.status.allocatable);
        let mut fractions: Vec<f64> = Vec::new();
        for (asked, cap) in [
            (used.cpu_milli + asks.cpu_milli, has.cpu_milli),
            (used.memory + asks.memory, has.memory),
        ] {
            if cap > 0 {
                fractions.push((asked as f64 / cap as f64).min(1.0));
            }
        }
        let deviation = if let [a, b] = fractions[..] { ((a - b) / 2.0).abs() } else { 0.0 };
        ((1.0 - deviation) * 100.0) as i64
    };
    let raw: Vec<i64> = nodes.iter().map(one).collect();
    Some((raw.clone(), raw))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as upstream: float64 of int64 and back"
)]
pub(crate) fn images(world: &World, pod: &Pod, nodes: &[&Node]) -> Scored {
    let tagged = |image: Sym| {
        let text = image.as_str();
        let name = text.rsplit('/').next().unwrap_or(text);
        if name.contains(':') { image } else { Sym::new(&format!("{text}:latest")) }
    };
    let containers: Vec<Sym> = pod
        .spec
        .init_containers
        .iter()
        .chain(&pod.spec.containers)
        .map(|c| tagged(c.image))
        .collect();
    let on = |node: &Node, image: Sym| {
        node.status.images.iter().find(|i| i.names.contains(&image)).map(|i| i.size)
    };
    let one = |node: &&Node| {
        let mut sum = 0;
        for &image in &containers {
            let Some(size) = on(node, image) else { continue };
            let having = world.nodes.iter().filter(|n| on(n, image).is_some()).count();
            sum += (size as f64 * (having as f64 / world.nodes.len() as f64)) as i64;
        }
        let (min, max) = (23 << 20, i64::try_from(containers.len()).unwrap() * (1000 << 20));
        100 * (sum.clamp(min, max) - min) / (max - min)
    };
    let raw: Vec<i64> = nodes.iter().map(one).collect();
    Some((raw.clone(), raw))
}
