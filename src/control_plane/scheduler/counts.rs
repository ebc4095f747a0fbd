//! How many pods of a kind are on each node, kept from deliveries and never recounted per cycle.
//!
//! A [`Group`] counts the pods that match a selector: what spread constraints and a pod's own
//! affinity terms ask. A [`Carrier`] counts the pods that carry the same affinity terms: what
//! existing pods demand of the pod in hand.

use super::cache::{NONE, Topology};
use super::places::Places;
use crate::api::pod::Affinity;
use crate::api::{LabelSet, Pod, Selector};
use crate::engine::{Sym, num};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// Which namespaces a term is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every namespace.
    All,
    /// These, ordered by text.
    In(Vec<Sym>),
}

impl Scope {
    /// True if the namespace is meant.
    #[must_use]
    pub fn has(&self, ns: Sym) -> bool {
        match self {
            Self::All => true,
            Self::In(names) => names.contains(&ns),
        }
    }
}

/// What a group counts: pods that match every term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// Namespaces and selector of each term; no selector matches nothing.
    pub terms: Vec<(Scope, Option<Selector>)>,
    /// Pods that are being deleted do not count (`PodTopologySpread`).
    pub live_only: bool,
}

impl GroupKey {
    /// A label that all pods of the group have, if one can be named.
    fn label(&self) -> Option<(Sym, Sym)> {
        self.terms.iter().find_map(|(_, selector)| selector.as_ref()?.pair())
    }

    /// Whether a pod with these labels in this namespace is in the group.
    #[must_use]
    pub fn matches(&self, ns: Sym, labels: LabelSet) -> bool {
        self.terms.iter().all(|(scope, selector)| {
            scope.has(ns) && selector.as_ref().is_some_and(|s| s.matches(labels))
        })
    }
}

/// A number of pods per node, and its sums over the domains that somebody asks about.
#[derive(Debug, Clone, Default)]
pub struct PerNode {
    /// Count per node index; nodes beyond the end have none. Narrow, and grown by little: a cluster
    /// of many workloads has as many of these as it has workloads.
    pub counts: Vec<u16>,
    /// Sum over all nodes.
    pub total: u64,
    sums: Vec<DomainSums>,
}

/// Sums over the domains of one topology key, kept with the counts: a cycle does not add up anew.
#[derive(Debug, Clone)]
pub struct DomainSums {
    key: Sym,
    of_index: Arc<[u32]>,
    /// Sum per domain.
    pub sums: Vec<i64>,
    /// The smallest of them.
    pub least: i64,
    /// How many domains have which sum: finds the next smallest without looking at all.
    with_sum: Vec<u32>,
}

impl DomainSums {
    fn new(topology: &Topology, counts: &[u16]) -> Self {
        let mut sums = vec![0; topology.n];
        for (node, &domain) in topology.of_index.iter().enumerate() {
            if domain != NONE {
                sums[domain as usize] += counts.get(node).map_or(0, |n| i64::from(*n));
            }
        }
        let least = sums.iter().copied().min().unwrap_or(0);
        let most = sums.iter().copied().max().unwrap_or(0);
        let mut with_sum = vec![0; num::index(num::u64_of(most)) + 1];
        for sum in &sums {
            with_sum[num::index(num::u64_of(*sum))] += 1;
        }
        Self { key: topology.key, of_index: Arc::clone(&topology.of_index), sums, least, with_sum }
    }

    fn step(&mut self, node: usize, add: bool) {
        // A node that is not in the order yet makes all of this void soon.
        let Some(&domain) = self.of_index.get(node).filter(|d| **d != NONE) else { return };
        let sum = &mut self.sums[domain as usize];
        let old = num::index(num::u64_of(*sum));
        *sum += if add { 1 } else { -1 };
        let new = num::index(num::u64_of(*sum));
        if self.with_sum.len() <= new {
            self.with_sum.resize(new + 1, 0);
        }
        self.with_sum[old] -= 1;
        self.with_sum[new] += 1;
        let emptied = add && self.with_sum[old] == 0 && self.least == *sum - 1;
        if emptied || *sum < self.least {
            self.least = *sum;
        }
    }
}

impl PerNode {
    fn step(&mut self, node: u32, add: bool) {
        let node = node as usize;
        if self.counts.len() <= node {
            let more = node + 1 - self.counts.len();
            if self.counts.capacity() <= node {
                self.counts.reserve_exact(more + node / 8);
            }
            self.counts.resize(node + 1, 0);
        }
        if add {
            self.counts[node] += 1;
            self.total += 1;
        } else {
            self.counts[node] -= 1;
            self.total -= 1;
        }
        for sums in &mut self.sums {
            sums.step(node, add);
        }
    }

    /// Sums over the domains of a key, if somebody has asked for them.
    #[must_use]
    pub fn sums(&self, key: Sym) -> Option<&DomainSums> {
        self.sums.iter().find(|s| s.key == key)
    }

    fn ensure_sums(&mut self, topology: &Topology) {
        if self.sums(topology.key).is_none() {
            self.sums.push(DomainSums::new(topology, &self.counts));
        }
    }
}

/// Pods that match.
#[derive(Debug, Clone)]
pub struct Group {
    /// What is counted.
    pub key: GroupKey,
    /// Where they are.
    pub pods: PerNode,
}

/// Pods with the same affinity terms.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// Namespace of the pods.
    pub ns: Sym,
    /// Their terms.
    pub affinity: Arc<Affinity>,
    /// Where they are.
    pub pods: PerNode,
}

/// All groups and carriers.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    groups: Vec<Group>,
    group_of: FxHashMap<GroupKey, u32>,
    /// Groups by a label that all their pods have, and those without one.
    by_label: FxHashMap<(Sym, Sym), SmallVec<[u32; 2]>>,
    rest: Vec<u32>,
    /// Where pods that carry a label may be: a new group is counted where it can have pods.
    labelled: FxHashMap<(Sym, Sym), Labelled>,
    /// Groups that pods with these labels belong to.
    memo: FxHashMap<(Sym, LabelSet), SmallVec<[u32; 4]>>,
    carriers: Vec<Carrier>,
    carrier_of: FxHashMap<(Sym, Arc<Affinity>), u32>,
}

/// The pods that carry a label.
#[derive(Debug, Clone, Default)]
struct Labelled {
    pods: u32,
    places: Places,
}

/// True if the affinity says anything about pods.
#[must_use]
pub fn has_pod_terms(affinity: &Affinity) -> bool {
    !(affinity.pod_required.is_empty()
        && affinity.pod_preferred.is_empty()
        && affinity.anti_required.is_empty()
        && affinity.anti_preferred.is_empty())
}

/// More groups than this are forgotten and counted anew when asked for: a bound on memory.
const MAX_GROUPS: usize = 4096;
/// The same for label sets whose groups are remembered.
const MAX_MEMO: usize = 1 << 16;

impl Counts {
    /// The group with this key; if it is new, counted over the `nodes` first node indices, whose
    /// pods `on` gives.
    pub fn group<'a, I: Iterator<Item = &'a Pod>>(
        &mut self,
        key: &GroupKey,
        nodes: u32,
        on: impl Fn(u32) -> I,
    ) -> u32 {
        if let Some(&group) = self.group_of.get(key) {
            return group;
        }
        let id = num::u32_of(self.groups.len());
        let mut pods = PerNode::default();
        let mut look = |node: u32| {
            for pod in on(node) {
                let counted = !(key.live_only && pod.meta.terminating());
                if counted && key.matches(pod.meta.ns, pod.meta.labels) {
                    pods.step(node, true);
                }
            }
        };
        match key.label() {
            Some(label) => {
                self.labelled.get(&label).into_iter().for_each(|l| l.places.each(&mut look));
                self.by_label.entry(label).or_default().push(id);
            }
            None => {
                (0..nodes).for_each(look);
                self.rest.push(id);
            }
        }
        self.groups.push(Group { key: key.clone(), pods });
        self.group_of.insert(key.clone(), id);
        self.memo.clear();
        id
    }

    /// Forgets all groups if there are too many. Only between cycles: group numbers end here.
    pub fn trim(&mut self) {
        if self.groups.len() > MAX_GROUPS {
            self.groups.clear();
            self.group_of.clear();
            self.by_label.clear();
            self.rest.clear();
            self.memo.clear();
        }
        if self.memo.len() > MAX_MEMO {
            self.memo.clear();
        }
    }

    /// A group.
    #[must_use]
    pub fn get(&self, group: u32) -> &Group {
        &self.groups[group as usize]
    }

    /// Keeps sums of a group over the domains of a topology from now on.
    pub fn ensure_group_sums(&mut self, group: u32, topology: &Topology) {
        self.groups[group as usize].pods.ensure_sums(topology);
    }

    /// The same of a carrier, by its place in [`Counts::carriers`].
    pub fn ensure_carrier_sums(&mut self, carrier: usize, topology: &Topology) {
        self.carriers[carrier].pods.ensure_sums(topology);
    }

    /// The domains have changed: all sums are void.
    pub fn forget_sums(&mut self) {
        let pods = self.groups.iter_mut().map(|g| &mut g.pods);
        for pods in pods.chain(self.carriers.iter_mut().map(|c| &mut c.pods)) {
            pods.sums.clear();
        }
    }

    /// All carriers, in order of first appearance.
    #[must_use]
    pub fn carriers(&self) -> &[Carrier] {
        &self.carriers
    }

    /// Counts a pod in (or out).
    pub fn count(&mut self, node: u32, pod: &Pod, add: bool) {
        for label in pod.meta.labels.pairs() {
            self.count_label(*label, node, add);
        }
        if !self.groups.is_empty() {
            let (groups, by_label, rest) = (&self.groups, &self.by_label, &self.rest);
            let hits = self.memo.entry((pod.meta.ns, pod.meta.labels)).or_insert_with(|| {
                let hit = |g: &u32| groups[*g as usize].key.matches(pod.meta.ns, pod.meta.labels);
                let own = pod.meta.labels.pairs().iter().filter_map(|label| by_label.get(label));
                own.flatten().chain(rest).copied().filter(hit).collect()
            });
            for &group in &*hits {
                let group = &mut self.groups[group as usize];
                if !(group.key.live_only && pod.meta.terminating()) {
                    group.pods.step(node, add);
                }
            }
        }
        let Some(affinity) = pod.spec.affinity.as_ref().filter(|a| has_pod_terms(a)) else {
            return;
        };
        self.carrier(pod.meta.ns, affinity).pods.step(node, add);
    }

    fn count_label(&mut self, label: (Sym, Sym), node: u32, add: bool) {
        if add {
            let labelled = self.labelled.entry(label).or_default();
            labelled.pods += 1;
            labelled.places.insert(node);
            return;
        }
        let labelled = self.labelled.get_mut(&label).expect("a pod that goes had been counted");
        labelled.pods -= 1;
        if labelled.pods == 0 {
            self.labelled.remove(&label);
        }
    }

    fn carrier(&mut self, ns: Sym, affinity: &Arc<Affinity>) -> &mut Carrier {
        let next = num::u32_of(self.carriers.len());
        let id = *self.carrier_of.entry((ns, Arc::clone(affinity))).or_insert(next);
        if id == next {
            let affinity = Arc::clone(affinity);
            self.carriers.push(Carrier { ns, affinity, pods: PerNode::default() });
        }
        &mut self.carriers[id as usize]
    }
}
