//! `CostAware`: the node on which the pod adds least to the bill. A node in use is paid for anyway,
//! so the pod counts for its share of it; an empty one could be given back, so it counts whole.

use super::fits::stretch;
use crate::api::node::{Node, keys};
use crate::control_plane::scheduler::framework::{CycleState, Plugin, View};
use crate::engine::intern::Known;
use crate::engine::{Sym, num};
use std::sync::Arc;

/// Node label: price per hour, for nodes of no cloud (Kubernetes has no field for it).
pub const PRICE: &str = "wavetank.dev/price-per-hour";

static PRICE_SYM: Known = Known::new(PRICE);
static TYPE: Known = Known::new(keys::INSTANCE_TYPE);
static CAPACITY_TYPE: Known = Known::new("karpenter.sh/capacity-type");

/// What a machine type costs, millionths of the currency per hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Value of `node.kubernetes.io/instance-type`.
    pub kind: Sym,
    /// On demand.
    pub price: u32,
    /// Of spare capacity.
    pub spot: u32,
}

/// The plugin.
#[derive(Debug, Clone, Default)]
pub struct CostAware {
    /// Prices of the cloud's machine types.
    pub prices: Arc<[Price]>,
}

/// A node without a price costs as much as its CPU would at this rate, millionths per core hour:
/// so that larger nodes count for more where nobody has named prices.
const PER_CORE: f64 = 1e6;

impl CostAware {
    /// Millionths per hour.
    fn price(&self, node: &Node, cpu_milli: i64) -> f64 {
        let label = |key: &Known| node.meta.labels.get(key.sym());
        let told = label(&PRICE_SYM).and_then(|text| text.as_str().parse::<f64>().ok());
        if let Some(told) = told.filter(|p| p.is_finite() && *p >= 0.0) {
            return (told * 1e6).min(1e15);
        }
        let kind = label(&TYPE).and_then(|kind| self.prices.iter().find(|p| p.kind == kind));
        let spot = label(&CAPACITY_TYPE).is_some_and(|kind| kind.as_str() == "spot");
        kind.map_or_else(
            || num::float(cpu_milli) / 1000.0 * PER_CORE,
            |kind| f64::from(if spot { kind.spot } else { kind.price }),
        )
    }
}

impl Plugin for CostAware {
    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        let row = view.cache.at(at);
        let price = self.price(view.cache.node(at), row.alloc.cpu_milli);
        let asked = &view.pod.spec.requests;
        let share = |asked: i64, has: i64| {
            if has > 0 { num::float(asked) / num::float(has) } else { 0.0 }
        };
        let cpu = share(asked.cpu_milli, row.alloc.cpu_milli);
        let part = cpu.max(share(asked.memory, row.alloc.memory)).min(1.0);
        let in_use = row.pods.iter().filter_map(|p| view.cache.pod(*p)).any(|row| {
            let owner = row.pod.meta.controller().map(|owner| owner.kind);
            owner != Some(crate::api::Kind::DaemonSet) && owner != Some(crate::api::Kind::Node)
        });
        -num::round(if in_use { price * part } else { price })
    }

    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], scores: &mut [i64]) {
        stretch(scores);
    }
}
