//! `PodTopologySpread` (source: `plg/podtopologyspread/{common,filtering,scoring,plugin}.go`).

use super::node_affinity::node_matches;
use super::taint_toleration::tolerates;
use crate::api::labels::{Op, Requirement};
use crate::api::node::{Node, keys};
use crate::api::pod::SpreadConstraint;
use crate::api::{Pod, Selector};
use crate::control_plane::scheduler::cache::{Cache, NONE, Topology};
use crate::control_plane::scheduler::counts::{GroupKey, Scope};
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, CycleState, Hint, MAX_SCORE, Plugin, PreFilter, Reason, Verdict, View,
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
    /// Weight by number of domains (soft constraints).
    weight: f64,
}

/// No node of the domain takes part.
const UNSEEN: i64 = -1;

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
    Constraint {
        key: given.topology_key,
        hostname: given.topology_key.as_str() == keys::HOSTNAME,
        max_skew: i64::from(given.max_skew),
        min_domains: given.min_domains.map_or(1, i64::from),
        honor_affinity: given.honor_affinity,
        honor_taints: given.honor_taints,
        group,
        self_match: i64::from(selectors.iter().all(|s| s.matches(pod.meta.labels))),
    }
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
    counts: &'a [u32],
}

impl<'a> Lane<'a> {
    fn new(view: View<'a>, c: &Constraint) -> Self {
        let topology = topology(view, c.key);
        let counts = c.group.map_or(&[][..], |g| &view.cache.counts().get(g).counts);
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

fn tallies(prepared: &[Constraint], view: View<'_>, out: &mut Vec<Tally>, fill: i64) {
    out.clear();
    out.extend(prepared.iter().map(|c| Tally {
        constraint: *c,
        counts: vec![fill; topology(view, c.key).n + 1],
        min: 0,
        weight: 0.0,
    }));
}

impl SpreadFilter {
    fn count(&mut self, view: View<'_>) {
        let mut all = std::mem::take(&mut self.tallies);
        tallies(&self.prepared, view, &mut all, UNSEEN);
        let lanes: Vec<Lane<'_>> = all.iter().map(|t| Lane::new(view, &t.constraint)).collect();
        for (i, tally) in all.iter_mut().enumerate() {
            let choosy = choosy(&tally.constraint, view.pod);
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

impl SpreadScore {
    fn count(&mut self, view: View<'_>, nodes: &[u32]) {
        let mut all = std::mem::take(&mut self.tallies);
        tallies(&self.prepared, view, &mut all, UNSEEN);
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

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        for tally in &state.spread_filter.tallies {
            let domains = topology(view, tally.constraint.key);
            if domains.domain[at] == NONE {
                return Verdict::reject(Code::UnschedulableAndUnresolvable, 2);
            }
            let here = tally.counts[domains.domain[at] as usize].max(0);
            let skew = here + tally.constraint.self_match - tally.min;
            if skew > tally.constraint.max_skew {
                return Verdict::reject(Code::Unschedulable, 1);
            }
        }
        Verdict::PASS
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

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        let selects = |other: &Pod| {
            other.meta.ns == pod.meta.ns
                && pod
                    .spec
                    .spread
                    .iter()
                    .any(|c| merged(c, pod).is_some_and(|s| s.matches(other.meta.labels)))
        };
        match event {
            ClusterEvent::AssignedPod { pod: other, .. } | ClusterEvent::PodGone(other) => {
                // With default constraints the selector is not the pod's own: be generous.
                Hint::of(pod.spec.spread.is_empty() || selects(other))
            }
            ClusterEvent::NodeAdd(_)
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Queue,
        }
    }
}
