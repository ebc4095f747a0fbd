//! A set of node indices that only grows: a list while it is short, a bit for each node when that
//! takes less room.

use crate::engine::num;

/// A set of node indices.
#[derive(Debug, Clone)]
pub(super) enum Places {
    /// In order of arrival; some may be there twice.
    List(Vec<u32>),
    /// A bit for each.
    Bits(Vec<u64>),
}

impl Default for Places {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// Lists are not looked through below this length.
const SHORT: usize = 8;

impl Places {
    /// Adds a node.
    pub(super) fn insert(&mut self, node: u32) {
        match self {
            Self::List(list) => {
                if list.last() == Some(&node) {
                    return;
                }
                if list.len() == list.capacity() && list.len() >= SHORT {
                    list.sort_unstable();
                    list.dedup();
                    let highest = list.last().copied().unwrap_or_default().max(node);
                    // As many bytes as bits for all nodes would take: the list has had its day.
                    if list.len() * 32 >= highest as usize {
                        return self.become_bits(node);
                    }
                }
                list.push(node);
            }
            Self::Bits(bits) => set(bits, node),
        }
    }

    fn become_bits(&mut self, node: u32) {
        let mut bits = Vec::new();
        self.each(&mut |n| set(&mut bits, n));
        set(&mut bits, node);
        *self = Self::Bits(bits);
    }

    /// Visits each node of the set once, in ascending order.
    pub(super) fn each(&self, visit: &mut impl FnMut(u32)) {
        match self {
            Self::List(list) => {
                let mut list = list.clone();
                list.sort_unstable();
                list.dedup();
                list.into_iter().for_each(visit);
            }
            Self::Bits(bits) => {
                for (i, word) in bits.iter().enumerate() {
                    let mut left = *word;
                    while left != 0 {
                        visit(num::u32_of(i) * 64 + left.trailing_zeros());
                        left &= left - 1;
                    }
                }
            }
        }
    }
}

fn set(bits: &mut Vec<u64>, node: u32) {
    let (word, bit) = ((node / 64) as usize, node % 64);
    if bits.len() <= word {
        bits.reserve_exact(word + 1 - bits.len());
        bits.resize(word + 1, 0);
    }
    bits[word] |= 1 << bit;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_has_what_was_put_in_once(nodes in prop::collection::vec(0u32..3_000, 0..400)) {
            let mut places = Places::default();
            nodes.iter().for_each(|n| places.insert(*n));
            let mut seen = Vec::new();
            places.each(&mut |n| seen.push(n));
            let all: BTreeSet<u32> = nodes.into_iter().collect();
            prop_assert_eq!(seen, all.into_iter().collect::<Vec<_>>());
        }
    }
}
