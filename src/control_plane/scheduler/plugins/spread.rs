//! `PodTopologySpread` (source: `plg/podtopologyspread/{common,filtering,scoring,plugin}.go`).

use super::taint_toleration::tolerates;
use crate::api::labels::{Op, Requirement};
use crate::api::node::{Node, keys};
use crate::api::placement::node_matches;
use crate::api::pod::SpreadConstraint;
use crate::api::{LabelSet, Pod, Selector};
use crate::control_plane::scheduler::cache::{Cache, NONE, Topology};
use crate::control_plane::scheduler::counts::{DomainSums, GroupKey, Scope};
use crate::control_plane::scheduler::framework::{
    Batch, ClusterEvent, Code, CycleState, Hint, MAX_SCORE, Moved, Plugin, PreFilter, Reason,
    Verdict, View,
};
use crate::engine::{Sym, num};
use smallvec::SmallVec;

/// `PodTopologySpreadArgs`, and the plugin made of them.
#[derive(Debug, Clone)]
pub struct Spread {
    /// Constraints for pods that have none of their own.
    pub defaults: Vec<SpreadConstraint>,
    /// They are the system's: a node may lack the zone label.
    pub system: bool,
}

impl Default for Spread {
    fn default() -> Self {
        let soft = |max_skew, key| SpreadConstraint {
            max_skew,
            topology_key: Sym::new(key),
            hard: false,
            selector: None,
            min_domains: None,
            honor_affinity: true,
            honor_taints: false,
            match_label_keys: Vec::new(),
        };
        Self { defaults: vec![soft(3, keys::HOSTNAME), soft(5, keys::ZONE)], system: true }
    }
}

/// One constraint of the pod in hand.
#[derive(Debug, Clone, Copy)]
struct Constraint {
    key: Sym,
    hostname: bool,
    max_skew: i64,
    min_domains: i64,
    honor_affinity: bool,
    honor_taints: bool,
    /// The group of pods counted; none if the selector is empty or absent, which counts none.
    group: Option<u32>,
    /// 1 if the pod itself will count.
    self_match: i64,
}

/// A constraint with its counts per domain (the last entry stands for nodes without the label).
#[derive(Debug, Clone)]
struct Tally {
    constraint: Constraint,
    counts: Vec<i64>,
    /// Smallest count over the domains (hard constraints).
    min: i64,
    /// Found when the first pod is moved.
    least: Option<Least>,
    /// Weight by number of domains (soft constraints).
    weight: f64,
}

/// The two smallest counts before any pod was moved. One of them stays the smallest elsewhere,
/// whichever domain pods are moved in.
#[derive(Debug, Clone, Copy)]
struct Least {
    domain: usize,
    first: i64,
    second: i64,
    /// Number of domains.
    n: i64,
}

/// No node of the domain takes part.
const UNSEEN: i64 = i64::MIN;

/// Hard constraints of the pod in hand.
#[derive(Debug, Clone, Default)]
pub struct SpreadFilter {
    prepared: Vec<Constraint>,
    tallies: Vec<Tally>,
}

/// Soft constraints of the pod in hand.
#[derive(Debug, Clone, Default)]
pub struct SpreadScore {
    prepared: Vec<Constraint>,
    tallies: Vec<Tally>,
    /// Nodes must have every key, or they score nothing.
    require_all: bool,
}

/// The selector with the pod's values of `matchLabelKeys`.
fn merged(constraint: &SpreadConstraint, pod: &Pod) -> Option<Selector> {
    let selector = constraint.selector.as_ref()?;
    let extra: Vec<Requirement> = constraint
        .match_label_keys
        .iter()
        .filter_map(|key| Some((*key, pod.meta.labels.get(*key)?)))
        .map(|(key, value)| Requirement { key, op: Op::In, values: vec![value] })
        .collect();
    if extra.is_empty() {
        return Some(selector.clone());
    }
    Some(Selector::new(selector.requirements.iter().cloned().chain(extra).collect()))
}

/// What the services and the owner of a pod select: the selector of default constraints.
fn default_selectors(cache: &Cache, pod: &Pod) -> Vec<Selector> {
    let services = cache.services_of(pod.meta.ns, pod.meta.labels);
    let owner = cache.owner_selector(pod);
    services.chain(owner).filter(|s| !s.is_empty()).cloned().collect()
}

fn constraint(
    cache: &mut Cache,
    pod: &Pod,
    given: &SpreadConstraint,
    selectors: &[Selector],
) -> Constraint {
    cache.ensure_topology(given.topology_key);
    let group = (!selectors.is_empty()).then(|| {
        let term = |s: &Selector| (Scope::In(vec![pod.meta.ns]), Some(s.clone()));
        let key = GroupKey { terms: selectors.iter().map(term).collect(), live_only: true };
        cache.ensure_group(&key)
    });
    let made = Constraint {
        key: given.topology_key,
        hostname: given.topology_key.as_str() == keys::HOSTNAME,
        max_skew: i64::from(given.max_skew),
        min_domains: given.min_domains.map_or(1, i64::from),
        honor_affinity: given.honor_affinity,
        honor_taints: given.honor_taints,
        group,
        self_match: i64::from(selectors.iter().all(|s| s.matches(pod.meta.labels))),
    };
    // Soft constraints over host names read the counts of single nodes.
    if let Some(group) = group.filter(|_| (given.hard || !made.hostname) && !choosy(&made, pod)) {
        cache.ensure_group_sums(group, given.topology_key);
    }
    made
}

impl Spread {
    fn constraints(&self, cache: &mut Cache, pod: &Pod, hard: bool, out: &mut Vec<Constraint>) {
        out.clear();
        if !pod.spec.spread.is_empty() {
            for own in pod.spec.spread.iter().filter(|c| c.hard == hard) {
                let selector = merged(own, pod);
                let nothing = selector.is_none();
                let selectors: Vec<Selector> =
                    selector.into_iter().filter(|s| !s.is_empty()).collect();
                let mut made = constraint(cache, pod, own, &selectors);
                if nothing {
                    made.self_match = 0;
                }
                out.push(made);
            }
            return;
        }
        if !self.defaults.iter().any(|c| c.hard == hard) {
            return;
        }
        let selectors = default_selectors(cache, pod);
        if !selectors.is_empty() {
            for given in self.defaults.iter().filter(|c| c.hard == hard) {
                out.push(constraint(cache, pod, given, &selectors));
            }
        }
    }
}

impl Spread {
    /// Key, whether taints are honoured, and selectors of the hard constraints of a waiting pod.
    fn hard(&self, cache: &Cache, pod: &Pod) -> Vec<(Sym, bool, Vec<Selector>)> {
        let own = !pod.spec.spread.is_empty();
        let given = if own { &pod.spec.spread } else { &self.defaults };
        let hard = given.iter().filter(|c| c.hard);
        if own {
            let one = |c: &SpreadConstraint| {
                (c.topology_key, c.honor_taints, merged(c, pod).into_iter().collect())
            };
            return hard.map(one).collect();
        }
        let selectors = default_selectors(cache, pod);
        if selectors.is_empty() {
            return Vec::new();
        }
        hard.map(|c| (c.topology_key, c.honor_taints, selectors.clone())).collect()
    }
}

/// Whether a node takes part in a constraint.
fn included(c: &Constraint, pod: &Pod, node: &Node) -> bool {
    (!c.honor_affinity || node_matches(pod, node))
        && (!c.honor_taints || tolerates(&pod.spec.tolerations, node))
}

fn topology<'a>(view: View<'a>, key: Sym) -> &'a Topology {
    view.cache.topology(key).expect("prepare has asked for every key of the pod's constraints")
}

/// What a scan over nodes reads for one constraint.
#[derive(Debug, Clone, Copy)]
struct Lane<'a> {
    domain: &'a [u32],
    n: usize,
    order: &'a [u32],
    counts: &'a [u16],
}

impl<'a> Lane<'a> {
    fn new(view: View<'a>, c: &Constraint) -> Self {
        let topology = topology(view, c.key);
        let counts = c.group.map_or(&[][..], |g| &view.cache.counts().get(g).pods.counts);
        Self { domain: &topology.domain, n: topology.n, order: view.cache.order(), counts }
    }

    /// The domain of a node as an index: that of nodes without the label is the last one.
    fn slot(&self, at: usize) -> usize {
        let domain = self.domain[at];
        if domain == NONE { self.n } else { domain as usize }
    }

    /// Pods that count on a node.
    fn pods(&self, at: usize) -> i64 {
        self.counts.get(self.order[at] as usize).map_or(0, |n| i64::from(*n))
    }
}

fn has_all_keys(view: View<'_>, tallies: &[Tally], at: usize) -> bool {
    tallies.iter().all(|t| topology(view, t.constraint.key).domain[at] != NONE)
}

/// True if a policy has to be asked node by node.
fn choosy(c: &Constraint, pod: &Pod) -> bool {
    let affinity = pod.spec.affinity.as_ref().is_some_and(|a| a.node_required.is_some());
    c.honor_affinity && (affinity || !pod.spec.node_selector.is_empty()) || c.honor_taints
}

/// Tallies without counts yet; their buffers are used again.
fn renew(prepared: &[Constraint], out: &mut Vec<Tally>) {
    out.truncate(prepared.len());
    for (i, &constraint) in prepared.iter().enumerate() {
        let mut counts = out.get_mut(i).map(|t| std::mem::take(&mut t.counts)).unwrap_or_default();
        counts.clear();
        let tally = Tally { constraint, counts, min: 0, least: None, weight: 0.0 };
        if i < out.len() { out[i] = tally } else { out.push(tally) }
    }
}

/// The sums that the cache keeps for a constraint.
fn kept<'a>(view: View<'a>, c: &Constraint) -> Option<&'a DomainSums> {
    view.cache.counts().get(c.group?).pods.sums(c.key)
}

impl SpreadFilter {
    fn count(&mut self, view: View<'_>) {
        let mut all = std::mem::take(&mut self.tallies);
        renew(&self.prepared, &mut all);
        let lanes: SmallVec<[Lane<'_>; 4]> =
            all.iter().map(|t| Lane::new(view, &t.constraint)).collect();
        let everywhere = all.iter().all(|t| topology(view, t.constraint.key).everywhere);
        for (i, tally) in all.iter_mut().enumerate() {
            let choosy = choosy(&tally.constraint, view.pod);
            if let Some(kept) = kept(view, &tally.constraint).filter(|_| everywhere && !choosy) {
                tally.counts.extend_from_slice(&kept.sums);
                tally.counts.push(UNSEEN);
                let enough = num::i64_of(kept.sums.len()) >= tally.constraint.min_domains;
                tally.min = if enough { kept.least } else { 0 };
                continue;
            }
            tally.counts.resize(lanes[i].n + 1, UNSEEN);
            for at in 0..view.cache.len() {
                let everywhere = lanes.iter().all(|k| k.domain[at] != NONE);
                let c = &tally.constraint;
                if everywhere && (!choosy || included(c, view.pod, view.cache.node(at))) {
                    let count = &mut tally.counts[lanes[i].slot(at)];
                    *count = (*count).max(0) + lanes[i].pods(at);
                }
            }
            let seen = || tally.counts.iter().copied().filter(|n| *n != UNSEEN);
            let enough = num::i64_of(seen().count()) >= tally.constraint.min_domains;
            tally.min = if enough { seen().min().unwrap_or(0) } else { 0 };
        }
        self.tallies = all;
    }
}

impl Tally {
    /// The verdict of a hard constraint on a node of this domain.
    fn judge(&self, domain: u32) -> Verdict {
        if domain == NONE {
            return Verdict::reject(Code::UnschedulableAndUnresolvable, 2);
        }
        let here = self.counts[domain as usize];
        let here = if here == UNSEEN { 0 } else { here };
        if here + self.constraint.self_match - self.min > self.constraint.max_skew {
            return Verdict::reject(Code::Unschedulable, 1);
        }
        Verdict::PASS
    }

    /// The smallest count over the other domains; none if there are too few domains.
    fn least_elsewhere(&mut self, domain: usize) -> Option<i64> {
        let scan = || {
            let mut least = Least { domain: usize::MAX, first: i64::MAX, second: i64::MAX, n: 0 };
            for (i, &n) in self.counts.iter().enumerate().filter(|(_, n)| **n != UNSEEN) {
                least.n += 1;
                if n < least.first {
                    least = Least { domain: i, first: n, second: least.first, n: least.n };
                } else {
                    least.second = least.second.min(n);
                }
            }
            least
        };
        let least = self.least.unwrap_or_else(scan);
        self.least = Some(least);
        let other = if least.domain == domain { least.second } else { least.first };
        (least.n >= self.constraint.min_domains).then_some(other)
    }

    /// A pod came to (or left) a node of a domain. As upstream, a pod that is being deleted counts
    /// here, and an empty selector takes in every pod.
    fn shift(&mut self, domain: usize, by: i64) {
        let elsewhere = self.least_elsewhere(domain);
        self.counts[domain] += by;
        self.min = elsewhere.map_or(0, |n| n.min(self.counts[domain]));
    }
}

impl SpreadFilter {
    fn follow(&mut self, view: View<'_>, moved: Moved<'_>) {
        let meta = &moved.pod.meta;
        if meta.ns != view.pod.meta.ns || !has_all_keys(view, &self.tallies, moved.at) {
            return;
        }
        for tally in &mut self.tallies {
            let c = &tally.constraint;
            let selected = match c.group {
                Some(group) => view.cache.counts().get(group).key.matches(meta.ns, meta.labels),
                None => c.self_match == 1,
            };
            let domain = topology(view, c.key).domain[moved.at] as usize;
            if selected
                && tally.counts[domain] != UNSEEN
                && included(c, view.pod, view.cache.node(moved.at))
            {
                tally.shift(domain, if moved.added { 1 } else { -1 });
            }
        }
    }
}

impl SpreadScore {
    fn count(&mut self, view: View<'_>, nodes: &[u32]) {
        let mut all = std::mem::take(&mut self.tallies);
        renew(&self.prepared, &mut all);
        let everywhere =
            !self.require_all || all.iter().all(|t| topology(view, t.constraint.key).everywhere);
        let scored = |tallies: &[Tally], at: u32| {
            !self.require_all || has_all_keys(view, tallies, at as usize)
        };
        let n_scored = nodes.iter().filter(|at| scored(&all, **at)).count();
        for i in 0..all.len() {
            if all[i].constraint.hostname {
                all[i].weight = num::ln(num::float_u(n_scored as u64 + 2));
                continue;
            }
            let lane = Lane::new(view, &all[i].constraint);
            all[i].counts.resize(lane.n + 1, UNSEEN);
            let mut size = 0_u64;
            for &at in nodes {
                let slot = lane.slot(at as usize);
                if all[i].counts[slot] == UNSEEN && scored(&all, at) {
                    all[i].counts[slot] = 0;
                    size += 1;
                }
            }
            all[i].weight = num::ln(num::float_u(size + 2));
            let c = all[i].constraint;
            let choosy = choosy(&c, view.pod);
            if let Some(kept) = kept(view, &c).filter(|_| everywhere && !choosy) {
                let pairs = all[i].counts.iter_mut().zip(&kept.sums);
                pairs.filter(|(count, _)| **count != UNSEEN).for_each(|(count, sum)| *count = *sum);
                continue;
            }
            for at in 0..view.cache.len() {
                let slot = lane.slot(at);
                let counted = all[i].counts[slot] != UNSEEN
                    && (!self.require_all || has_all_keys(view, &all, at))
                    && (!choosy || included(&c, view.pod, view.cache.node(at)));
                if counted {
                    all[i].counts[slot] += lane.pods(at);
                }
            }
        }
        self.tallies = all;
    }

    fn lanes<'a>(&self, view: View<'a>) -> SmallVec<[Lane<'a>; 4]> {
        self.tallies.iter().map(|t| Lane::new(view, &t.constraint)).collect()
    }

    fn raw(&self, lanes: &[Lane<'_>], at: usize) -> i64 {
        if self.require_all && lanes.iter().any(|lane| lane.domain[at] == NONE) {
            return 0;
        }
        let mut score = 0.0;
        for (tally, lane) in self.tallies.iter().zip(lanes) {
            let c = &tally.constraint;
            if lane.domain[at] == NONE {
                continue;
            }
            let count = if c.hostname { lane.pods(at) } else { tally.counts[lane.slot(at)] };
            score += num::float(count) * tally.weight + num::float(c.max_skew - 1);
        }
        num::round(score)
    }

    fn ignores(&self, view: View<'_>, at: usize) -> bool {
        self.require_all && !has_all_keys(view, &self.tallies, at)
    }
}

impl Plugin for Spread {
    fn prepare(&self, cache: &mut Cache, pod: &Pod, state: &mut CycleState) {
        self.constraints(cache, pod, true, &mut state.spread_filter.prepared);
        self.constraints(cache, pod, false, &mut state.spread_score.prepared);
        state.spread_score.require_all = !pod.spec.spread.is_empty() || !self.system;
    }

    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        if state.spread_filter.prepared.is_empty() {
            return PreFilter::Skip;
        }
        state.spread_filter.count(view);
        PreFilter::Run
    }

    fn pod_moved(&self, view: View<'_>, state: &mut CycleState, moved: Moved<'_>) {
        state.spread_filter.follow(view, moved);
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        for tally in &state.spread_filter.tallies {
            let verdict = tally.judge(topology(view, tally.constraint.key).domain[at]);
            if !verdict.passed() {
                return verdict;
            }
        }
        Verdict::PASS
    }

    fn filter(&self, view: View<'_>, state: &CycleState, batch: &mut Batch<'_>) {
        for tally in &state.spread_filter.tallies {
            let first = batch.first;
            let domains = &topology(view, tally.constraint.key).domain[first..];
            for (i, &domain) in domains.iter().enumerate().take(batch.verdicts.len()) {
                if batch.verdicts[i].passed() {
                    batch.judge(i, tally.judge(domain));
                }
            }
        }
    }

    fn reason(&self, _view: View<'_>, bit: u8) -> Reason {
        if bit == 0 {
            "node(s) didn't match pod topology spread constraints".into()
        } else {
            "node(s) didn't match pod topology spread constraints (missing required label)".into()
        }
    }

    fn pre_score(&self, view: View<'_>, state: &mut CycleState, nodes: &[u32]) -> bool {
        if state.spread_score.prepared.is_empty() {
            return false;
        }
        state.spread_score.count(view, nodes);
        true
    }

    fn score_node(&self, view: View<'_>, state: &CycleState, at: usize) -> i64 {
        state.spread_score.raw(&state.spread_score.lanes(view), at)
    }

    fn score(&self, view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        let lanes = state.spread_score.lanes(view);
        for (score, &at) in out.iter_mut().zip(nodes) {
            *score = state.spread_score.raw(&lanes, at as usize);
        }
    }

    fn normalize(&self, view: View<'_>, state: &CycleState, nodes: &[u32], scores: &mut [i64]) {
        let state = &state.spread_score;
        let counted = |i: usize| !state.ignores(view, nodes[i] as usize);
        let all = || scores.iter().enumerate().filter(|(i, _)| counted(*i)).map(|(_, s)| *s);
        let max = all().max().unwrap_or(0);
        let min = all().min().unwrap_or(0);
        for (i, score) in scores.iter_mut().enumerate() {
            *score = if !counted(i) {
                0
            } else if max == 0 {
                MAX_SCORE
            } else {
                MAX_SCORE * (max + min - *score) / max
            };
        }
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, cache: &Cache) -> Hint {
        let hard = self.hard(cache, pod);
        let selects = |c: &(Sym, bool, Vec<Selector>), labels: LabelSet| {
            !c.2.is_empty() && c.2.iter().all(|s| s.matches(labels))
        };
        let any = |labels: LabelSet| hard.iter().any(|c| selects(c, labels));
        let differs =
            |a: LabelSet, b: LabelSet| hard.iter().any(|c| selects(c, a) != selects(c, b));
        let all_keys = |node: &Node| hard.iter().all(|c| node.meta.labels.get(c.0).is_some());
        let near = |other: &Pod| !other.node.is_empty() && other.meta.ns == pod.meta.ns;
        match event {
            ClusterEvent::AssignedPod { old: None, pod: other } | ClusterEvent::PodGone(other) => {
                Hint::of(near(other) && any(other.meta.labels))
            }
            ClusterEvent::AssignedPod { old: Some(old), pod: other } => {
                Hint::of(near(other) && differs(old.meta.labels, other.meta.labels))
            }
            ClusterEvent::Own { old } => {
                let tolerates = old.spec.tolerations != pod.spec.tolerations;
                Hint::of(
                    tolerates && hard.iter().any(|c| c.1)
                        || differs(old.meta.labels, pod.meta.labels),
                )
            }
            ClusterEvent::NodeAdd(node) | ClusterEvent::NodeDelete(node) => {
                Hint::of(all_keys(node))
            }
            ClusterEvent::NodeUpdate { old, new } => {
                let value = |node: &Node, key: Sym| node.meta.labels.get(key);
                let moved = || hard.iter().any(|c| value(old, c.0) != value(new, c.0));
                Hint::of(
                    all_keys(old) != all_keys(new)
                        || all_keys(new) && (moved() || old.taints != new.taints),
                )
            }
            ClusterEvent::Storage(_) | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}
