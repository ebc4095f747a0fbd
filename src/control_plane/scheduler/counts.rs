//! How many pods of a kind are on each node, kept from deliveries and never recounted per cycle.
//!
//! A [`Group`] counts the pods that match a selector: what spread constraints and a pod's own
//! affinity terms ask. A [`Carrier`] counts the pods that carry the same affinity terms: what
//! existing pods demand of the pod in hand.

use crate::api::pod::Affinity;
use crate::api::{LabelSet, Pod, Selector};
use crate::engine::Sym;
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
    /// Pods that are being deleted do not count (PodTopologySpread).
    pub live_only: bool,
}

impl GroupKey {
    /// Whether a pod with these labels in this namespace is in the group.
    #[must_use]
    pub fn matches(&self, ns: Sym, labels: LabelSet) -> bool {
        self.terms.iter().all(|(scope, selector)| {
            scope.has(ns) && selector.as_ref().is_some_and(|s| s.matches(labels))
        })
    }
}

/// Pods that match, per node index.
#[derive(Debug, Clone)]
pub struct Group {
    /// What is counted.
    pub key: GroupKey,
    /// Count per node index; nodes beyond the end have none.
    pub counts: Vec<u32>,
    /// Sum over all nodes.
    pub total: u64,
}

/// Pods with the same affinity terms, per node index.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// Namespace of the pods.
    pub ns: Sym,
    /// Their terms.
    pub affinity: Arc<Affinity>,
    /// Count per node index.
    pub counts: Vec<u32>,
    /// Sum over all nodes.
    pub total: u64,
}

/// All groups and carriers.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    groups: Vec<Group>,
    group_of: FxHashMap<GroupKey, u32>,
    /// Groups that pods with these labels belong to.
    memo: FxHashMap<(Sym, LabelSet), SmallVec<[u32; 4]>>,
    carriers: Vec<Carrier>,
    carrier_of: FxHashMap<(Sym, Arc<Affinity>), u32>,
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

impl Counts {
    /// The group with this key; counted over `pods` (node index and pod) if it is new.
    pub fn group<'a>(&mut self, key: &GroupKey, pods: impl Iterator<Item = (u32, &'a Pod)>) -> u32 {
        if let Some(&group) = self.group_of.get(key) {
            return group;
        }
        let id = crate::engine::num::u32_of(self.groups.len());
        let mut group = Group { key: key.clone(), counts: Vec::new(), total: 0 };
        for (node, pod) in pods {
            let counted = !(key.live_only && pod.meta.terminating());
            if counted && key.matches(pod.meta.ns, pod.meta.labels) {
                step(&mut group.counts, &mut group.total, node, true);
            }
        }
        self.groups.push(group);
        self.group_of.insert(key.clone(), id);
        self.memo.clear();
        id
    }

    /// Forgets all groups if there are too many. Only between cycles: group numbers end here.
    pub fn trim(&mut self) {
        if self.groups.len() > MAX_GROUPS {
            self.groups.clear();
            self.group_of.clear();
            self.memo.clear();
        }
    }

    /// A group.
    #[must_use]
    pub fn get(&self, group: u32) -> &Group {
        &self.groups[group as usize]
    }

    /// All carriers, in order of first appearance.
    #[must_use]
    pub fn carriers(&self) -> &[Carrier] {
        &self.carriers
    }

    /// Counts a pod in (or out).
    pub fn count(&mut self, node: u32, pod: &Pod, add: bool) {
        if !self.groups.is_empty() {
            let groups = &self.groups;
            let hits = self.memo.entry((pod.meta.ns, pod.meta.labels)).or_insert_with(|| {
                let hit = |g: &u32| groups[*g as usize].key.matches(pod.meta.ns, pod.meta.labels);
                (0..crate::engine::num::u32_of(groups.len())).filter(hit).collect()
            });
            for &group in &*hits {
                let group = &mut self.groups[group as usize];
                if !(group.key.live_only && pod.meta.terminating()) {
                    step(&mut group.counts, &mut group.total, node, add);
                }
            }
        }
        let Some(affinity) = pod.spec.affinity.as_ref().filter(|a| has_pod_terms(a)) else {
            return;
        };
        let carrier = self.carrier(pod.meta.ns, affinity);
        step(&mut carrier.counts, &mut carrier.total, node, add);
    }

    fn carrier(&mut self, ns: Sym, affinity: &Arc<Affinity>) -> &mut Carrier {
        let next = crate::engine::num::u32_of(self.carriers.len());
        let id = *self.carrier_of.entry((ns, Arc::clone(affinity))).or_insert(next);
        if id == next {
            let affinity = Arc::clone(affinity);
            self.carriers.push(Carrier { ns, affinity, counts: Vec::new(), total: 0 });
        }
        &mut self.carriers[id as usize]
    }
}

fn step(counts: &mut Vec<u32>, total: &mut u64, node: u32, add: bool) {
    let node = node as usize;
    if counts.len() <= node {
        counts.resize(node + 1, 0);
    }
    if add {
        counts[node] += 1;
        *total += 1;
    } else {
        counts[node] -= 1;
        *total -= 1;
    }
}
