//! `InterPodAffinity` (source: `plg/interpodaffinity/{filtering,scoring}.go`).

use crate::api::node::Node;
use crate::api::pod::{Affinity, PodAffinityTerm};
use crate::api::{LabelSet, Pod, Selector};
use crate::control_plane::scheduler::cache::{Cache, NONE};
use crate::control_plane::scheduler::counts::{GroupKey, PerNode, Scope, has_pod_terms};
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, Moved, Plugin, PreFilter, Reason, Verdict, View,
};
use crate::engine::{Sym, num};
use smallvec::SmallVec;

/// `InterPodAffinityArgs`, and the plugin made of them.
#[derive(Debug, Clone, Copy)]
pub struct InterPodAffinity {
    /// `hardPodAffinityWeight`.
    pub hard_weight: i64,
    /// `ignorePreferredTermsOfExistingPods`.
    pub ignore_preferred: bool,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self { hard_weight: 1, ignore_preferred: false }
    }
}

/// Amounts per domain of a topology key.
#[derive(Debug, Clone)]
struct PerDomain {
    key: Sym,
    amounts: Vec<i64>,
    /// Something was added at all, even if it cancelled out.
    touched: bool,
}

/// A term of the pod in hand and the group of pods it is about.
#[derive(Debug, Clone, Copy)]
struct Asked {
    key: Sym,
    group: u32,
    weight: i64,
}

/// Required terms of the pod in hand and of the pods there.
#[derive(Debug, Clone, Default)]
pub struct AffinityFilter {
    asked: Vec<Asked>,
    anti_asked: Vec<Asked>,
    affinity: Vec<PerDomain>,
    anti: Vec<PerDomain>,
    existing_anti: Vec<PerDomain>,
    /// The pod matches all its own required affinity terms.
    first_of_group: bool,
}

/// Preferred terms.
#[derive(Debug, Clone, Default)]
pub struct AffinityScore {
    asked: Vec<Asked>,
    scores: Vec<PerDomain>,
}

/// The namespaces a term of the pod in hand is about, resolved to names.
///
/// Upstream then still asks the selector, of a namespace without labels: one that only says what
/// must not be there (`DoesNotExist`, `NotIn`) so takes in every namespace. The golden cases show
/// it.
fn scope(cache: &Cache, own_ns: Sym, term: &PodAffinityTerm) -> Scope {
    let open = |s: &Selector| s.matches(LabelSet::default());
    if term.namespace_selector.as_ref().is_some_and(open) {
        return Scope::All;
    }
    let mut names = term.namespaces.clone();
    match &term.namespace_selector {
        None if names.is_empty() => names.push(own_ns),
        None => {}
        Some(selector) => names.extend(cache.namespaces_of(selector)),
    }
    names.sort_by(|a, b| a.cmp_text(*b));
    names.dedup();
    Scope::In(names)
}

/// Whether a term of an existing pod in `own_ns` is about the pod in hand.
fn about(cache: &Cache, own_ns: Sym, term: &PodAffinityTerm, pod: &Pod) -> bool {
    let named = term.namespaces.contains(&pod.meta.ns)
        || match &term.namespace_selector {
            None => term.namespaces.is_empty() && own_ns == pod.meta.ns,
            Some(selector) => selector.matches(cache.namespace(pod.meta.ns)),
        };
    named && term.selector.as_ref().is_some_and(|s| s.matches(pod.meta.labels))
}

fn group(cache: &mut Cache, pod: &Pod, terms: &[&PodAffinityTerm]) -> u32 {
    let one = |t: &&PodAffinityTerm| (scope(cache, pod.meta.ns, t), t.selector.clone());
    let key = GroupKey { terms: terms.iter().map(one).collect(), live_only: false };
    cache.ensure_group(&key)
}

fn ask(cache: &mut Cache, pod: &Pod, term: &PodAffinityTerm, weight: i64) -> Asked {
    let key = term.topology_key;
    cache.ensure_topology(key);
    let group = group(cache, pod, &[term]);
    if few_domains(cache, key) {
        cache.ensure_group_sums(group, key);
    }
    Asked { key, group, weight }
}

/// True if sums over the domains are worth keeping: with a domain per node, a scan is as good.
fn few_domains(cache: &Cache, key: Sym) -> bool {
    cache.topology(key).is_some_and(|t| t.n * 4 <= cache.len())
}

/// Adds `weight` per pod counted to the domain of its node.
fn add(view: View<'_>, out: &mut Vec<PerDomain>, key: Sym, pods: &PerNode, weight: i64) {
    let topology = view.cache.topology(key).expect("prepare has asked for every key that is read");
    let i = out.iter().position(|d| d.key == key).unwrap_or_else(|| {
        out.push(PerDomain { key, amounts: vec![0; topology.n], touched: false });
        out.len() - 1
    });
    let target = &mut out[i];
    if let Some(known) = pods.sums(key) {
        for (amount, &n) in target.amounts.iter_mut().zip(&known.sums) {
            *amount += n * weight;
            target.touched |= n > 0;
        }
        return;
    }
    for (at, &domain) in topology.domain.iter().enumerate() {
        let n = pods.counts.get(view.cache.index_at(at) as usize).copied().unwrap_or(0);
        if n > 0 && domain != NONE {
            target.amounts[domain as usize] += i64::from(n) * weight;
            target.touched = true;
        }
    }
}

/// A pod came to (or left) the node at `at`.
fn shift(view: View<'_>, out: &mut Vec<PerDomain>, key: Sym, (at, by): (usize, i64)) {
    let topology = view.cache.topology(key).expect("keys of pods that move are asked for");
    let domain = topology.domain[at];
    if domain == NONE {
        return;
    }
    let i = out.iter().position(|d| d.key == key).unwrap_or_else(|| {
        out.push(PerDomain { key, amounts: vec![0; topology.n], touched: false });
        out.len() - 1
    });
    out[i].amounts[domain as usize] += by;
    out[i].touched = by > 0 || out[i].amounts.iter().any(|n| *n != 0);
}

fn amount(view: View<'_>, per: &PerDomain, at: usize) -> Option<i64> {
    let domain = view.cache.topology(per.key)?.domain[at];
    (domain != NONE).then(|| per.amounts[domain as usize])
}

/// The pod's own affinity, if it says anything about pods.
fn own(pod: &Pod) -> Option<&Affinity> {
    pod.spec.affinity.as_deref().filter(|a| has_pod_terms(a))
}

impl InterPodAffinity {
    /// Terms of existing pods that score the pod in hand, with their signed weights.
    fn soft_terms<'a>(
        &self,
        affinity: &'a Affinity,
    ) -> impl Iterator<Item = (&'a PodAffinityTerm, i64)> {
        let hard_weight = self.hard_weight;
        let hard = affinity.pod_required.iter().map(move |t| (t, hard_weight));
        let plus = affinity.pod_preferred.iter().map(|t| (&t.term, t.weight));
        let minus = affinity.anti_preferred.iter().map(|t| (&t.term, -t.weight));
        hard.filter(move |_| hard_weight > 0).chain(plus).chain(minus)
    }

    fn ensure_keys_of_carriers(&self, cache: &mut Cache, pod: &Pod) {
        let mut keys: SmallVec<[(usize, Sym); 8]> = SmallVec::new();
        for (i, carrier) in cache.counts().carriers().iter().enumerate() {
            if carrier.pods.total == 0 {
                continue;
            }
            let anti = carrier.affinity.anti_required.iter().map(|t| (t, 0));
            for (term, _) in anti.chain(self.soft_terms(&carrier.affinity)) {
                let key = (i, term.topology_key);
                if !keys.contains(&key) && about(cache, carrier.ns, term, pod) {
                    keys.push(key);
                }
            }
        }
        for (carrier, key) in keys {
            cache.ensure_topology(key);
            if few_domains(cache, key) {
                cache.ensure_carrier_sums(carrier, key);
            }
        }
    }
}

impl AffinityFilter {
    fn count(&mut self, view: View<'_>) {
        self.affinity.clear();
        self.anti.clear();
        self.existing_anti.clear();
        let counts = view.cache.counts();
        for asked in &self.asked {
            add(view, &mut self.affinity, asked.key, &counts.get(asked.group).pods, 1);
        }
        for asked in &self.anti_asked {
            add(view, &mut self.anti, asked.key, &counts.get(asked.group).pods, 1);
        }
        for carrier in counts.carriers().iter().filter(|c| c.pods.total > 0) {
            for term in &carrier.affinity.anti_required {
                if about(view.cache, carrier.ns, term, view.pod) {
                    add(view, &mut self.existing_anti, term.topology_key, &carrier.pods, 1);
                }
            }
        }
    }

    fn follow(&mut self, view: View<'_>, moved: Moved<'_>) {
        let (meta, step) = (&moved.pod.meta, (moved.at, if moved.added { 1 } else { -1 }));
        let counts = view.cache.counts();
        let hit = |a: &&Asked| counts.get(a.group).key.matches(meta.ns, meta.labels);
        for asked in self.asked.iter().filter(hit) {
            shift(view, &mut self.affinity, asked.key, step);
        }
        for asked in self.anti_asked.iter().filter(hit) {
            shift(view, &mut self.anti, asked.key, step);
        }
        let terms = moved.pod.spec.affinity.iter().flat_map(|a| &a.anti_required);
        for term in terms.filter(|t| about(view.cache, meta.ns, t, view.pod)) {
            shift(view, &mut self.existing_anti, term.topology_key, step);
        }
    }

    fn affinity_holds(&self, view: View<'_>, at: usize) -> bool {
        let mut all = true;
        for asked in &self.asked {
            let here = self.affinity.iter().find(|d| d.key == asked.key);
            match here.and_then(|d| amount(view, d, at)) {
                None => return false,
                Some(n) => all &= n > 0,
            }
        }
        all || self.first_of_group && !self.affinity.iter().any(|d| d.touched)
    }
}

const OWN_AFFINITY: u16 = 1;
const OWN_ANTI: u16 = 2;
const EXISTING_ANTI: u16 = 4;

impl Plugin for InterPodAffinity {
    fn prepare(&self, cache: &mut Cache, pod: &Pod, state: &mut CycleState) {
        let filter = &mut state.affinity_filter;
        filter.asked.clear();
        filter.anti_asked.clear();
        state.affinity_score.asked.clear();
        self.ensure_keys_of_carriers(cache, pod);
        let Some(affinity) = own(pod) else { return };
        let required: Vec<&PodAffinityTerm> = affinity.pod_required.iter().collect();
        if !required.is_empty() {
            // Pods must match all the terms at once to count for any.
            let group = group(cache, pod, &required);
            let key = &cache.counts().get(group).key;
            filter.first_of_group = key.matches(pod.meta.ns, pod.meta.labels);
            for term in &required {
                cache.ensure_topology(term.topology_key);
                filter.asked.push(Asked { key: term.topology_key, group, weight: 1 });
            }
        }
        for term in &affinity.anti_required {
            filter.anti_asked.push(ask(cache, pod, term, 1));
        }
        let plus = affinity.pod_preferred.iter().map(|t| (&t.term, t.weight));
        let minus = affinity.anti_preferred.iter().map(|t| (&t.term, -t.weight));
        for (term, weight) in plus.chain(minus) {
            state.affinity_score.asked.push(ask(cache, pod, term, weight));
        }
    }

    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        let filter = &mut state.affinity_filter;
        filter.count(view);
        let idle = filter.asked.is_empty()
            && filter.anti_asked.is_empty()
            && !filter.existing_anti.iter().any(|d| d.touched);
        if idle { PreFilter::Skip } else { PreFilter::Run }
    }

    fn pod_moved(&self, view: View<'_>, state: &mut CycleState, moved: Moved<'_>) {
        state.affinity_filter.follow(view, moved);
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        let filter = &state.affinity_filter;
        let any =
            |list: &[PerDomain]| list.iter().any(|d| amount(view, d, at).is_some_and(|n| n > 0));
        if !filter.affinity_holds(view, at) {
            Verdict::reject(Code::UnschedulableAndUnresolvable, OWN_AFFINITY)
        } else if any(&filter.anti) {
            Verdict::reject(Code::Unschedulable, OWN_ANTI)
        } else if any(&filter.existing_anti) {
            Verdict::reject(Code::Unschedulable, EXISTING_ANTI)
        } else {
            Verdict::PASS
        }
    }

    fn reason(&self, _view: View<'_>, bit: u8) -> Reason {
        match 1_u16 << bit {
            OWN_AFFINITY => "node(s) didn't match pod affinity rules".into(),
            OWN_ANTI => "node(s) didn't match pod anti-affinity rules".into(),
            _ => "node(s) didn't satisfy existing pods anti-affinity rules".into(),
        }
    }

    fn pre_score(&self, view: View<'_>, state: &mut CycleState, _nodes: &[u32]) -> bool {
        let score = &mut state.affinity_score;
        score.scores.clear();
        if self.ignore_preferred && score.asked.is_empty() {
            return false;
        }
        let counts = view.cache.counts();
        for asked in &score.asked {
            let group = &counts.get(asked.group).pods;
            add(view, &mut score.scores, asked.key, group, asked.weight);
        }
        for carrier in counts.carriers().iter().filter(|c| c.pods.total > 0) {
            for (term, weight) in self.soft_terms(&carrier.affinity) {
                if about(view.cache, carrier.ns, term, view.pod) {
                    let key = term.topology_key;
                    add(view, &mut score.scores, key, &carrier.pods, weight);
                }
            }
        }
        score.scores.iter().any(|d| d.touched)
    }

    fn score_node(&self, view: View<'_>, state: &CycleState, at: usize) -> i64 {
        state.affinity_score.scores.iter().filter_map(|d| amount(view, d, at)).sum()
    }

    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], scores: &mut [i64]) {
        let max = scores.iter().copied().max().unwrap_or(0);
        let min = scores.iter().copied().min().unwrap_or(0);
        for score in scores.iter_mut() {
            *score = if max > min {
                num::trunc(100.0 * (num::float(*score - min) / num::float(max - min)))
            } else {
                0
            };
        }
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, cache: &Cache) -> Hint {
        let none = Affinity::default();
        let affinity = own(pod).unwrap_or(&none);
        let terms = || affinity.pod_required.iter().chain(&affinity.anti_required);
        let meets_all = |list: &[PodAffinityTerm], other: &Pod| {
            !list.is_empty() && list.iter().all(|t| about(cache, pod.meta.ns, t, other))
        };
        match event {
            ClusterEvent::AssignedPod { old: None, pod: other } => {
                Hint::of(meets_all(&affinity.pod_required, other))
            }
            ClusterEvent::AssignedPod { old: Some(old), pod: other } => Hint::of(
                !meets_all(&affinity.pod_required, old) && meets_all(&affinity.pod_required, other)
                    || meets_all(&affinity.anti_required, old)
                        && !meets_all(&affinity.anti_required, other),
            ),
            ClusterEvent::PodGone(gone) => {
                let theirs = gone.spec.affinity.iter().flat_map(|a| &a.anti_required);
                let repelled = theirs.into_iter().any(|t| about(cache, gone.meta.ns, t, pod));
                let there = !gone.node.is_empty() || !gone.status.nominated.is_empty();
                Hint::of(there && (repelled || meets_all(&affinity.anti_required, gone)))
            }
            ClusterEvent::NodeAdd(node) => {
                Hint::of(terms().any(|t| node.meta.labels.get(t.topology_key).is_some()))
            }
            ClusterEvent::NodeUpdate { old, new } if old.meta.labels != new.meta.labels => {
                let value = |node: &Node, t: &PodAffinityTerm| node.meta.labels.get(t.topology_key);
                Hint::of(terms().any(|t| value(old, t) != value(new, t)))
            }
            ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}

/// True if a required affinity term of a waiting pod is about another pod.
#[must_use]
pub fn affine(cache: &Cache, pod: &Pod, other: &Pod) -> bool {
    own(pod).is_some_and(|a| a.pod_required.iter().any(|t| about(cache, pod.meta.ns, t, other)))
}
