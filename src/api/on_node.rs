//! Which pods are bound to which node: what a kubelet that starts lists, and what `kubectl drain`
//! evicts (`spec.nodeName` is a field selector that the API server keeps an index of; source:
//! `pkg/registry/core/pod/strategy.go` `Indexers`).

use crate::engine::Sym;
use rustc_hash::FxHashMap;

/// Rows of pods by node.
#[derive(Debug, Clone, Default)]
pub(super) struct OnNode {
    rows: FxHashMap<Sym, Vec<u32>>,
}

/// Room for so many more is made at a time: nodes are many.
const ROOM: usize = 8;

impl OnNode {
    /// The pod of a row moves from one node to another; empty text for none.
    pub(super) fn moves(&mut self, row: u32, from: Sym, to: Sym) {
        if from == to {
            return;
        }
        if let Some(rows) = self.rows.get_mut(&from)
            && let Some(at) = rows.iter().position(|r| *r == row)
        {
            rows.swap_remove(at);
            if rows.is_empty() {
                self.rows.remove(&from);
            }
        }
        if !to.is_empty() {
            let rows = self.rows.entry(to).or_default();
            if rows.len() == rows.capacity() {
                rows.reserve_exact(ROOM);
            }
            rows.push(row);
        }
    }

    /// Rows of the pods of a node, in no order.
    pub(super) fn of(&self, node: Sym) -> &[u32] {
        self.rows.get(&node).map_or(&[], Vec::as_slice)
    }
}
