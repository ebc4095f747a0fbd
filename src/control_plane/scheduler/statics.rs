//! Verdicts that depend on a pod's template and on node objects alone, remembered per template:
//! pods with equal selector, affinity, tolerations and node name share them. Brought up to date
//! from the cache's log of node changes, so that a cycle costs nothing for nodes that stayed.

use super::cache::Cache;
use super::framework::Verdict;
use crate::api::Pod;
use crate::api::pod::{NodeSelectorTerm, Toleration};
use crate::engine::Sym;
use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};

/// The parts of a spec that static plugins read.
#[derive(Debug, Clone)]
struct Signature {
    node_name: Sym,
    node_selector: Vec<(Sym, Sym)>,
    required: Option<Vec<NodeSelectorTerm>>,
    tolerations: Vec<Toleration>,
}

impl Signature {
    fn of(pod: &Pod) -> Self {
        Self {
            node_name: pod.spec.node_name,
            node_selector: pod.spec.node_selector.clone(),
            required: required(pod).cloned(),
            tolerations: pod.spec.tolerations.clone(),
        }
    }

    fn is_of(&self, pod: &Pod) -> bool {
        self.node_name == pod.spec.node_name
            && self.node_selector == pod.spec.node_selector
            && self.required.as_ref() == required(pod)
            && self.tolerations == pod.spec.tolerations
    }
}

fn required(pod: &Pod) -> Option<&Vec<NodeSelectorTerm>> {
    pod.spec.affinity.as_ref().and_then(|a| a.node_required.as_ref())
}

fn hash(pod: &Pod) -> u64 {
    let mut hasher = FxHasher::default();
    pod.spec.node_name.hash(&mut hasher);
    pod.spec.node_selector.hash(&mut hasher);
    required(pod).hash(&mut hasher);
    pod.spec.tolerations.hash(&mut hasher);
    hasher.finish()
}

/// Verdicts of one template on every node.
#[derive(Debug, Clone)]
pub struct StaticVerdicts {
    signature: Signature,
    epoch: u64,
    seen: usize,
    /// Verdict by position.
    pub verdicts: Vec<Verdict>,
    /// How many nodes are rejected.
    pub rejected: usize,
}

/// All templates seen.
#[derive(Debug, Clone, Default)]
pub struct Statics {
    entries: Vec<StaticVerdicts>,
    by_hash: FxHashMap<u64, SmallVec<[u32; 1]>>,
}

/// More templates than this are forgotten and judged anew: a bound on memory.
const MAX_TEMPLATES: usize = 512;

impl Statics {
    /// The verdicts for a pod's template, brought up to date with `judge(position)`.
    pub fn of(
        &mut self,
        cache: &Cache,
        pod: &Pod,
        judge: impl Fn(usize) -> Verdict,
    ) -> &StaticVerdicts {
        let i = self.entry(pod);
        let entry = &mut self.entries[i];
        let (epoch, log) = cache.static_changes();
        if entry.epoch != epoch {
            entry.verdicts.clear();
            entry.verdicts.extend((0..cache.len()).map(&judge));
            entry.rejected = entry.verdicts.iter().filter(|v| !v.passed()).count();
        } else {
            for at in log[entry.seen..].iter().filter_map(|&i| cache.position_of_index(i)) {
                let verdict = judge(at);
                entry.rejected -= usize::from(!entry.verdicts[at].passed());
                entry.rejected += usize::from(!verdict.passed());
                entry.verdicts[at] = verdict;
            }
        }
        entry.epoch = epoch;
        entry.seen = log.len();
        entry
    }

    fn entry(&mut self, pod: &Pod) -> usize {
        let key = hash(pod);
        let same = |i: &&u32| self.entries[**i as usize].signature.is_of(pod);
        if let Some(&i) = self.by_hash.get(&key).and_then(|list| list.iter().find(same)) {
            return i as usize;
        }
        if self.entries.len() >= MAX_TEMPLATES {
            self.entries.clear();
            self.by_hash.clear();
        }
        let i = self.entries.len();
        self.entries.push(StaticVerdicts {
            signature: Signature::of(pod),
            epoch: u64::MAX,
            seen: 0,
            verdicts: Vec::new(),
            rejected: 0,
        });
        self.by_hash.entry(key).or_default().push(crate::engine::num::u32_of(i));
        i
    }
}
