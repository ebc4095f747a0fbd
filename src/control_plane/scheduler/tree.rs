//! The order in which nodes are looked at (source: `sched/backend/cache/node_tree.go`): zones in
//! order of first appearance, then round-robin one node per zone.

use crate::api::LabelSet;
use crate::api::node::keys;
use crate::engine::Sym;

/// Region and zone of a node.
pub type ZoneKey = (Sym, Sym);

/// Nodes by zone.
#[derive(Debug, Clone, Default)]
pub struct NodeTree {
    zones: Vec<(ZoneKey, Vec<u32>)>,
}

/// The zone of a node with these labels; beta labels win where they are present.
#[must_use]
pub fn zone_of(labels: LabelSet) -> ZoneKey {
    let find = |beta: &str, key: &str| {
        labels.get(Sym::new(beta)).or_else(|| labels.get(Sym::new(key))).unwrap_or_default()
    };
    (
        find("failure-domain.beta.kubernetes.io/region", keys::REGION),
        find("failure-domain.beta.kubernetes.io/zone", keys::ZONE),
    )
}

impl NodeTree {
    /// Adds a node at the end of its zone.
    pub fn add(&mut self, zone: ZoneKey, node: u32) {
        match self.zones.iter_mut().find(|(z, _)| *z == zone) {
            Some((_, nodes)) => nodes.push(node),
            None => self.zones.push((zone, vec![node])),
        }
    }

    /// Removes a node; a zone without nodes is forgotten.
    pub fn remove(&mut self, zone: ZoneKey, node: u32) {
        for (z, nodes) in &mut self.zones {
            if *z == zone {
                nodes.retain(|n| *n != node);
            }
        }
        self.zones.retain(|(_, nodes)| !nodes.is_empty());
    }

    /// All nodes, round-robin over the zones.
    pub fn list(&self, out: &mut Vec<u32>) {
        out.clear();
        let longest = self.zones.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or(0);
        for i in 0..longest {
            out.extend(self.zones.iter().filter_map(|(_, nodes)| nodes.get(i)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_take_turns_and_an_emptied_zone_loses_its_place() {
        let zone = |z: &str| (Sym::EMPTY, Sym::new(z));
        let mut tree = NodeTree::default();
        for (z, node) in [("a", 0), ("a", 1), ("a", 2), ("b", 3), ("c", 4), ("c", 5)] {
            tree.add(zone(z), node);
        }
        let mut list = Vec::new();
        tree.list(&mut list);
        assert_eq!(list, [0, 3, 4, 1, 5, 2]);
        tree.remove(zone("a"), 0);
        tree.remove(zone("b"), 3);
        tree.add(zone("b"), 3);
        tree.list(&mut list);
        assert_eq!(list, [1, 4, 3, 2, 5]);
    }
}
