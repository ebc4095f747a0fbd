//! What the scheduler supposes: nominated pods on their nodes while it filters, and lower-priority
//! pods gone while it looks for victims (source: `sched/framework/preemption/preemption.go`,
//! `RunFilterPluginsWithNominatedPods`).
//!
//! A supposition is made on the cache itself and taken back: the pods of one node come and go as in
//! a delivery, and plugins that keep sums for the pod in hand follow by `pod_moved`. So it costs
//! what the pods moved cost, and every plugin sees it without knowing.

use super::cache::{Cache, PodRow};
use super::framework::{Code, CycleState, Moved, Nomination, PostFilter, Reason, Verdict, View};
use super::plugins::registry::Points;
use super::profile::Profile;
use super::ties::TieRule;
use crate::api::Pod;
use crate::api::gpu::Devices;
use crate::api::versions::ObjRef;
use crate::engine::digest::mix;
use crate::engine::{Sym, num};
use std::cmp::Reverse;
use std::sync::Arc;

/// A cache with suppositions about the pod in hand's cycle.
#[derive(Debug)]
pub struct WhatIf<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// The cache.
    pub cache: &'a mut Cache,
    /// The pod in hand.
    pub pod: &'a Pod,
    /// What its cycle has worked out.
    pub state: &'a mut CycleState,
    /// Rows whose Filter is skipped.
    pub skip: u32,
}

impl WhatIf<'_> {
    fn view(&self) -> View<'_> {
        View { cache: self.cache, pod: self.pod }
    }

    fn follow(&mut self, moved: Moved<'_>) {
        for (i, row) in self.profile.rows_at(Points::PRE_FILTER) {
            if self.skip >> i & 1 == 0 {
                let view = View { cache: self.cache, pod: self.pod };
                row.plugin.pod_moved(view, self.state, moved);
            }
        }
    }

    fn take(&mut self, object: ObjRef, at: usize) -> PodRow {
        let row = self.cache.remove_pod(object).expect("only pods on the node are taken off it");
        self.follow(Moved { pod: &row.pod, at, added: false });
        row
    }

    fn put(&mut self, object: ObjRef, row: &PodRow, at: usize) {
        let node = self.cache.at(at).name;
        if row.devices.is_empty() {
            self.cache.add_pod(object, &row.pod, node, row.assumed);
        } else {
            self.cache.add_pod_with(object, &row.pod, node, row.assumed, row.devices);
        }
        self.follow(Moved { pod: &row.pod, at, added: true });
    }

    fn plain(&self, at: usize) -> Verdict {
        self.profile.judge(self.view(), self.state, self.skip, at)
    }

    /// The verdict on a node if the nominated pods of the pod's priority or more were there.
    fn with_nominated(&mut self, at: usize, nominated: &[(ObjRef, Arc<Pod>)]) -> Verdict {
        let index = self.cache.index_at(at);
        let ports = self.cache.at(at).ports.clone();
        for (object, pod) in nominated {
            for term in pod.spec.affinity.iter().flat_map(|a| &a.anti_required) {
                self.cache.ensure_topology(term.topology_key);
            }
            let devices = Devices::NONE;
            let row = PodRow { pod: Arc::clone(pod), node: index, assumed: true, devices };
            self.put(*object, &row, at);
        }
        let verdict = self.plain(at);
        for (object, _) in nominated.iter().rev() {
            self.take(*object, at);
        }
        self.cache.restore_ports(at, ports);
        verdict
    }

    fn nominated(&self, at: usize) -> Vec<(ObjRef, Arc<Pod>)> {
        let ahead = self.cache.nominator.ahead_of(self.pod, self.cache.at(at).name);
        ahead.map(|n| (n.object, Arc::clone(&n.pod))).collect()
    }

    /// The verdict on a node: with the nominated pods, and then without them, since a pod may need
    /// that they are not there just as well.
    pub fn judge(&mut self, at: usize) -> Verdict {
        let nominated =
            if self.cache.nominator.is_empty() { Vec::new() } else { self.nominated(at) };
        if !nominated.is_empty() {
            let verdict = self.with_nominated(at, &nominated);
            if !verdict.passed() {
                return verdict;
            }
        }
        self.plain(at)
    }

    /// Verdicts on the nodes where nominated pods leave no room, by position.
    pub fn taken_by_nominated(&mut self, out: &mut Vec<(u32, Verdict)>) {
        out.clear();
        let nodes = self.cache.nominator.all().iter().map(|n| n.node);
        let mut at: Vec<usize> = nodes.filter_map(|node| self.cache.position(node)).collect();
        at.sort_unstable();
        at.dedup();
        for at in at {
            let nominated = self.nominated(at);
            if nominated.is_empty() {
                continue;
            }
            let verdict = self.with_nominated(at, &nominated);
            if !verdict.passed() {
                out.push((num::u32_of(at), verdict));
            }
        }
    }
}

/// A pod that fits nowhere, as `PostFilter` plugins find it.
#[derive(Debug)]
pub struct Stuck<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// The cache.
    pub cache: &'a mut Cache,
    /// The pod.
    pub pod: &'a Pod,
    /// What its cycle has worked out.
    pub state: &'a mut CycleState,
    /// Rows whose Filter is skipped.
    pub skip: u32,
    /// Verdicts on the nodes that were looked at.
    pub rejected: &'a [(u32, Verdict)],
    /// The verdict on all others.
    pub absent: Code,
    /// Which of equally good candidates is taken.
    pub ties: TieRule,
    /// 64 random bits.
    pub bits: u64,
    /// What preemption found, for who wants to see it.
    pub report: Option<Report>,
}

/// What preemption found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Nodes that would do, with their victims.
    pub candidates: Vec<Candidate>,
    /// Nodes tried in vain, by position.
    pub failed: Vec<(u32, Failed)>,
    /// The best candidates (more than one: a tie), as indices.
    pub best: Vec<usize>,
    /// The one taken.
    pub chosen: Option<usize>,
}

/// A node that would do if some pods were gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Position of the node.
    pub at: u32,
    /// The pods, the most important one first.
    pub victims: Vec<ObjRef>,
    /// How many of them their disruption budgets do not allow.
    pub violations: u32,
}

/// Why a node is no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// No pod there has a lower priority.
    NoVictims,
    /// It does not fit even without all of them.
    Rejected(Verdict),
    /// It would fit without preempting anyone, which Filter denied.
    NoneNeeded,
}

impl Failed {
    /// In words.
    #[must_use]
    pub fn reasons(self, stuck: &Stuck<'_>) -> Vec<Reason> {
        match self {
            Self::NoVictims => vec!["No preemption victims found for incoming pod".into()],
            Self::Rejected(verdict) => {
                let plugin = &stuck.profile.rows[usize::from(verdict.row())].plugin;
                let view = View { cache: stuck.cache, pod: stuck.pod };
                verdict.reasons().map(|bit| plugin.reason(view, bit)).collect()
            }
            Self::NoneNeeded => vec!["expected at least one victim pod".into()],
        }
    }
}

impl Stuck<'_> {
    /// How a node was rejected.
    #[must_use]
    pub fn code_of(&self, node: Sym) -> Code {
        let at = self.cache.position(node).map(num::u32_of);
        let verdict = self.rejected.iter().find(|(k, _)| Some(*k) == at);
        verdict.map_or(self.absent, |(_, verdict)| verdict.code())
    }

    /// Positions of the nodes where preemption may help, ascending.
    #[must_use]
    pub fn potential(&self) -> Vec<u32> {
        let mut out: Vec<u32> = if self.absent == Code::Unschedulable {
            (0..num::u32_of(self.cache.len())).collect()
        } else {
            self.rejected.iter().map(|(at, _)| *at).collect()
        };
        let hopeless: Vec<u32> = self
            .rejected
            .iter()
            .filter(|(_, v)| v.code() == Code::UnschedulableAndUnresolvable)
            .map(|(at, _)| *at)
            .collect();
        out.sort_unstable();
        let mut hopeless = hopeless;
        hopeless.sort_unstable();
        out.retain(|at| hopeless.binary_search(at).is_err());
        out
    }

    /// A random number below `n`; `use_` keeps uses apart.
    #[must_use]
    pub fn chance(&self, n: usize, use_: u64) -> usize {
        if n == 0 { 0 } else { num::index(mix(self.bits, use_) % n as u64) }
    }

    /// The candidate taken among the best. Upstream takes any (Go's map order); the rule of ties
    /// says which here.
    #[must_use]
    pub fn pick(&self, candidates: &[Candidate], best: &[usize]) -> Option<usize> {
        let row = |i: &usize| self.cache.at(candidates[*i].at as usize);
        match self.ties {
            TieRule::Uniform if best.is_empty() => None,
            TieRule::Uniform => Some(best[self.chance(best.len(), 2)]),
            TieRule::First => best.first().copied(),
            TieRule::Name | TieRule::Upstream => {
                best.iter().copied().min_by(|a, b| row(a).name.cmp_text(row(b).name))
            }
            TieRule::NodeOrderPerRun => best.iter().copied().min_by_key(|i| row(i).rank),
        }
    }
}

/// What a dry run gave.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// Nodes that would do: those that violate no budget first.
    pub candidates: Vec<Candidate>,
    /// Nodes that would not.
    pub failed: Vec<(u32, Failed)>,
}

/// Tries the potential nodes from `offset` on, until there are enough candidates and one of them
/// violates no budget.
pub fn dry_run(stuck: &mut Stuck<'_>, potential: &[u32], offset: usize, enough: usize) -> Tried {
    let mut tried = Tried::default();
    let mut violating = Vec::new();
    for i in 0..potential.len() {
        let at = potential[(offset + i) % potential.len()];
        let mut what_if = WhatIf {
            profile: stuck.profile,
            cache: stuck.cache,
            pod: stuck.pod,
            state: stuck.state,
            skip: stuck.skip,
        };
        match what_if.victims(at) {
            Ok(candidate) if candidate.violations == 0 => tried.candidates.push(candidate),
            Ok(candidate) => violating.push(candidate),
            Err(failed) => tried.failed.push((at, failed)),
        }
        let clean = tried.candidates.len();
        if clean > 0 && clean + violating.len() >= enough {
            break;
        }
    }
    tried.candidates.append(&mut violating);
    tried
}

/// The most important pod comes first: priority, then who has run longest (one that has not started
/// counts as starting now). Source: `sched/util` `MoreImportantPod`.
type Importance = (Reverse<i32>, u32, ObjRefKey);
type ObjRefKey = (u32, u32);

fn start(pod: &Pod) -> u32 {
    if pod.status.start.is_none() { u32::MAX } else { pod.status.start.0 }
}

fn importance(object: ObjRef, pod: &Pod) -> Importance {
    (Reverse(pod.spec.priority), start(pod), (object.slot, object.generation))
}

impl WhatIf<'_> {
    /// The pods to be preempted on a node: all of lower priority, less those that can stay. Those
    /// whose end a budget forbids are reprieved first.
    fn victims(&mut self, at: u32) -> Result<Candidate, Failed> {
        let here = at as usize;
        let lower = self.lower_priority(here);
        if lower.is_empty() {
            return Err(Failed::NoVictims);
        }
        let violating = violations(self.cache, &lower);
        let ports = self.cache.at(here).ports.clone();
        let outcome = self.spare(at, &lower, &violating);
        self.cache.restore_ports(here, ports);
        outcome
    }

    /// Takes all of `lower` off the node, then lets back those who do no harm.
    fn spare(
        &mut self,
        at: u32,
        lower: &[ObjRef],
        violating: &[bool],
    ) -> Result<Candidate, Failed> {
        let here = at as usize;
        let rows: Vec<PodRow> = lower.iter().map(|object| self.take(*object, here)).collect();
        let empty = self.judge(here);
        if !empty.passed() {
            for (object, row) in lower.iter().zip(&rows) {
                self.put(*object, row, here);
            }
            return Err(Failed::Rejected(empty));
        }
        let mut is_victim = vec![false; lower.len()];
        for first in [true, false] {
            for (i, object) in lower.iter().enumerate().filter(|(i, _)| violating[*i] == first) {
                self.put(*object, &rows[i], here);
                if !self.judge(here).passed() {
                    self.take(*object, here);
                    is_victim[i] = true;
                }
            }
        }
        let victim = |i: &usize| is_victim[*i];
        let victims: Vec<ObjRef> = (0..lower.len()).filter(victim).map(|i| lower[i]).collect();
        let against = (0..lower.len()).filter(victim).filter(|i| violating[*i]).count();
        for i in (0..lower.len()).filter(victim) {
            self.put(lower[i], &rows[i], here);
        }
        if victims.is_empty() {
            return Err(Failed::NoneNeeded);
        }
        Ok(Candidate { at, victims, violations: num::u32_of(against) })
    }

    /// Pods of lower priority on a node, the most important one first.
    fn lower_priority(&self, at: usize) -> Vec<ObjRef> {
        // Most clusters know one priority: then no node has to be looked at.
        if self.cache.least_priority().is_none_or(|least| least >= self.pod.spec.priority) {
            return Vec::new();
        }
        let mut lower: Vec<(Importance, ObjRef)> = Vec::new();
        for &object in &self.cache.at(at).pods {
            let pod = &self.cache.pod(object).expect("the node lists its pods").pod;
            if pod.spec.priority < self.pod.spec.priority {
                lower.push((importance(object, pod), object));
            }
        }
        lower.sort_unstable_by_key(|(importance, _)| *importance);
        lower.into_iter().map(|(_, object)| object).collect()
    }
}

/// Which of these pods (the most important one first) cannot all end within their budgets.
fn violations(cache: &Cache, pods: &[ObjRef]) -> Vec<bool> {
    let mut allowed: Vec<i32> =
        cache.budgets().iter().map(|b| b.status.disruptions_allowed).collect();
    let mut violates = |object: &ObjRef| {
        let Some(row) = cache.pod(*object) else { return false };
        let meta = &row.pod.meta;
        let mut any = false;
        for (budget, left) in cache.budgets().iter().zip(&mut allowed) {
            if budget.counts(meta) {
                *left -= 1;
                any |= *left < 0;
            }
        }
        any
    };
    pods.iter().map(&mut violates).collect()
}

/// What candidates are compared by, the smaller the better: budgets violated, the highest priority
/// among the victims, the sum of priorities, the number of victims, and the latest start among the
/// most important victims (source: `OrderedScoreFuncs`).
fn cost(cache: &Cache, candidate: &Candidate) -> (u32, i32, i64, usize, Reverse<u32>) {
    let pods = || candidate.victims.iter().filter_map(|v| cache.pod(*v)).map(|row| &*row.pod);
    let highest = pods().map(|p| p.spec.priority).max().unwrap_or(i32::MIN);
    // Shifted so that more victims of negative priority do not look cheaper.
    let sum = pods().map(|p| i64::from(p.spec.priority) + (1 << 31)).sum();
    let earliest = pods().filter(|p| p.spec.priority == highest).map(start).min().unwrap_or(0);
    (candidate.violations, highest, sum, candidate.victims.len(), Reverse(earliest))
}

/// The best candidates: more than one if nothing tells them apart.
#[must_use]
pub fn select(cache: &Cache, candidates: &[Candidate]) -> Vec<usize> {
    let costs: Vec<_> = candidates.iter().map(|c| cost(cache, c)).collect();
    let least = costs.iter().min();
    (0..candidates.len()).filter(|i| Some(&costs[*i]) == least).collect()
}

/// What all `PostFilter` plugins together say (source: `RunPostFilterPlugins`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostFiltered {
    /// `Success`, `Unschedulable` or `Error`.
    pub code: &'static str,
    /// The text that is added to the FitError.
    pub message: String,
    /// What becomes of the pod's nomination: none leaves it, an empty node clears it.
    pub nomination: Option<Nomination>,
}

/// Asks the `PostFilter` plugins; none if the profile has none.
pub fn post_filter(stuck: &mut Stuck<'_>) -> Option<PostFiltered> {
    let mut reasons: Vec<Reason> = Vec::new();
    let mut nomination = None;
    let mut any = false;
    for (_, row) in stuck.profile.rows_at(Points::POST_FILTER) {
        any = true;
        match row.plugin.post_filter(stuck) {
            PostFilter::Success(found) => {
                let nomination = Some(found);
                return Some(PostFiltered { code: "Success", message: String::new(), nomination });
            }
            PostFilter::Error(why) => {
                let message = why.into_owned();
                return Some(PostFiltered { code: "Error", message, nomination: None });
            }
            PostFilter::Unschedulable { reason, clear } => {
                reasons.extend((!reason.is_empty()).then_some(reason));
                if clear {
                    nomination = Some(Nomination::default());
                }
            }
        }
    }
    any.then(|| PostFiltered { code: "Unschedulable", message: reasons.join(", "), nomination })
}
