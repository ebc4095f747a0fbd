//! Node IPAM: each node gets a range of pod addresses out of the cluster's
//! (source: `ctl/nodeipam/ipam/{range_allocator,cidrset/cidr_set}.go`). It runs only if the cluster
//! has such a range (`--allocate-node-cidrs`).

use super::support::{Reporter, reports, text};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::Change;
use crate::api::{Cidr, Kind, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// Size of a node's range (source: default of `--node-cidr-mask-size-ipv4`).
pub const NODE_BITS: u8 = 24;

/// Ranges of nodes out of one range: the next free one, from where the last was given.
#[derive(Debug, Clone)]
struct Ranges {
    cluster: Cidr,
    /// Bits of a node's prefix (`--node-cidr-mask-size-ipv4`).
    bits: u8,
    n: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

impl Ranges {
    fn new(cluster: Cidr, bits: u8) -> Self {
        Self { cluster, bits, n: cluster.parts(bits), next: 0, taken: BTreeSet::new() }
    }

    fn give(&mut self) -> Option<u32> {
        let free = (self.next..self.n).chain(0..self.next).find(|i| !self.taken.contains(i))?;
        self.taken.insert(free);
        self.next = (free + 1) % self.n;
        Some(free)
    }

    fn number(&self, cidr: Sym) -> Option<u32> {
        let own = Cidr::parse(cidr.as_str()).filter(|c| c.bits == self.bits)?;
        let behind = own.base.checked_sub(self.cluster.base)?;
        Some(behind >> (32 - self.bits)).filter(|i| *i < self.n)
    }

    fn text(&self, number: u32) -> Sym {
        let range = self.cluster.part(self.bits, number);
        range.map_or(Sym::EMPTY, |range| Sym::new(&range.to_string()))
    }
}

/// The node IPAM controller.
#[derive(Debug, Clone)]
pub struct NodeIpam {
    reporter: Reporter,
    ranges: Option<Ranges>,
    /// Ranges given to nodes whose object does not show them yet.
    given: FxHashMap<Key, u32>,
}

impl NodeIpam {
    /// A controller that hands out a range, if there is one, in ranges with so long a prefix.
    #[must_use]
    pub fn new(ranges: Option<(Cidr, u8)>) -> Self {
        Self {
            reporter: Reporter::new("node-controller", "cidrAllocator"),
            ranges: ranges.map(|(cluster, bits)| Ranges::new(cluster, bits)),
            given: FxHashMap::default(),
        }
    }
}

impl Reconcile for NodeIpam {
    /// True once the range has been written.
    type State = bool;

    reports!(30);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let (Some(ranges), Some(node)) = (&mut self.ranges, change.value.as_node()) else { return };
        let key = Key::of(&change.value);
        let number = ranges.number(node.pod_cidr);
        if change.deleted {
            let unseen = self.given.remove(&key);
            for number in number.into_iter().chain(unseen) {
                ranges.taken.remove(&number);
            }
        } else if let Some(number) = number {
            ranges.taken.insert(number);
            self.given.remove(&key);
        } else if !self.given.contains_key(&key) {
            wake.push((key, SimDuration::ZERO));
        }
    }

    fn sync(
        &mut self,
        key: Key,
        asked: &mut bool,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if *asked {
            let fine = |a: &Outcome| matches!(a, Ok(_) | Err(ApiError::NotFound));
            if !answers.iter().all(fine) {
                return Next::Retry;
            }
            return Next::Done;
        }
        let found = caches.named(cx.versions(), Kind::Node, key.ns, key.name);
        let Some((target, Obj::Node(node))) = found else { return Next::Done };
        let Some(ranges) = self.ranges.as_mut().filter(|_| node.pod_cidr.is_empty()) else {
            return Next::Done;
        };
        let number = match self.given.get(&key) {
            Some(number) => Some(*number),
            None => ranges.give(),
        };
        let Some(number) = number else {
            let message = text("Node has no free range of pod addresses");
            let meta = node.meta.clone();
            self.reporter.normal(Kind::Node, &meta, "CIDRNotAvailable", message, cx);
            return Next::Retry;
        };
        let op = Op::PodCidr(ranges.text(number));
        self.given.insert(key, number);
        *asked = true;
        let (ns, name) = (key.ns, key.name);
        Next::Call(vec![Call { kind: Kind::Node, ns, name, target: Some(target), op }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_ranges_are_given_again_only_after_a_whole_turn() {
        let mut ranges = Ranges::new(Cidr::parse("10.244.0.0/22").unwrap(), 24);
        assert_eq!((ranges.give(), ranges.give()), (Some(0), Some(1)));
        ranges.taken.remove(&0);
        assert_eq!((ranges.give(), ranges.give(), ranges.give()), (Some(2), Some(3), Some(0)));
        assert_eq!(ranges.give(), None);
        assert_eq!(ranges.text(3).as_str(), "10.244.3.0/24");
        assert_eq!(ranges.number("10.244.3.0/24".into()), Some(3));
    }

    #[test]
    fn ranges_are_as_large_as_the_mask_says() {
        let mut ranges = Ranges::new(Cidr::parse("10.244.0.0/24").unwrap(), 28);
        let given: Vec<u32> = std::iter::from_fn(|| ranges.give()).collect();
        assert_eq!(given, (0..16).collect::<Vec<u32>>());
        assert_eq!(ranges.text(15).as_str(), "10.244.0.240/28");
        assert_eq!(ranges.number("10.244.0.16/28".into()), Some(1));
        assert_eq!(ranges.number("10.244.0.0/24".into()), None);
    }
}
