//! Which nodes belong together: the pool that a node's provider says it is of, or else the nodes
//! whose names differ in the number at the end; and their zones.

use super::desk::Desk;
use crate::api::node::{Node, keys};
use crate::engine::Sym;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels by which providers and autoscalers name a pool.
const LABELS: [&str; 4] = [
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "karpenter.sh/nodepool",
];

/// Nodes by pool and zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Pools {
    zones: Vec<String>,
    pools: Vec<(String, Vec<Arc<Node>>)>,
    places: BTreeMap<String, (usize, usize)>,
}

/// The pool of a node.
fn pool(node: &Node) -> String {
    let label = LABELS.iter().find_map(|key| node.meta.labels.get(Sym::new(key)));
    if let Some(name) = label {
        return name.to_string();
    }
    let name = node.meta.name.to_string();
    match name.rsplit_once('-') {
        Some((stem, number)) if number.bytes().all(|b| b.is_ascii_digit()) => stem.to_owned(),
        Some(_) | None => name,
    }
}

/// The number at the end of a name, for an order that people expect.
fn number(name: &str) -> u64 {
    let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|d| d.parse().ok()).unwrap_or(0)
}

/// The zone of a node; empty if it has none.
pub(super) fn zone(node: &Node) -> String {
    node.meta.labels.get(Sym::new(keys::ZONE)).map_or(String::new(), |z| z.to_string())
}

impl Pools {
    /// Those of a cluster; pools and zones in the order of their names.
    pub(super) fn of(desk: &Desk) -> Self {
        let mut nodes = desk.nodes();
        nodes.sort_by_cached_key(|n| {
            let name = n.meta.name.to_string();
            (pool(n), number(&name), name)
        });
        let zones = nodes.iter().map(|n| zone(n)).collect();
        let mut made = Self { zones, ..Self::default() };
        made.zones.sort();
        made.zones.dedup();
        for node in nodes {
            let pool = pool(&node);
            if made.pools.last().is_none_or(|(name, _)| *name != pool) {
                made.pools.push((pool, Vec::new()));
            }
            let zone = zone(&node);
            let zone = made.zones.iter().position(|z| *z == zone).unwrap_or(0);
            let place = (zone, made.pools.len() - 1);
            made.places.insert(node.meta.name.to_string(), place);
            if let Some((_, list)) = made.pools.last_mut() {
                list.push(node);
            }
        }
        made
    }

    /// Zone and pool of a node, by number.
    pub(super) fn place(&self, node: Sym) -> (usize, usize) {
        self.places.get(node.as_str()).copied().unwrap_or_default()
    }

    /// Names of the zones; an empty one for nodes without.
    pub(super) fn zones(&self) -> Vec<String> {
        self.zones.clone()
    }

    /// Names of the pools.
    pub(super) fn names(&self) -> Vec<String> {
        self.pools.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The nodes of a pool, by the number in their names.
    pub(super) fn nodes(&self, pool: &str) -> &[Arc<Node>] {
        self.pools.iter().find(|(name, _)| name == pool).map_or(&[], |(_, list)| list)
    }
}
