//! One scheduling decision in full, for `explain`, for the golden tests and for checking the fast
//! path: every node is looked at by every plugin in the plainest way, and all is kept.

use super::cache::Cache;
use super::framework::{Code, CycleState, PreFilter, Reason, Verdict, View};
use super::plugins::default_preemption::ineligible;
use super::plugins::registry::Points;
use super::plugins::volume_binding::{PodVolumes, pod_volumes};
use super::preemption::{Candidate, Failed, PostFiltered, Stuck, WhatIf, post_filter};
use super::profile::Profile;
use super::report::{Rejection, absent_reason, count, fit_error};
use super::ties::TieRule;
use crate::api::Pod;
use crate::api::versions::ObjRef;
use crate::engine::{Sym, num};

/// What one Score plugin gave to the feasible nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginScores {
    /// The plugin.
    pub plugin: &'static str,
    /// Its weight.
    pub weight: i64,
    /// What Score returned, per feasible node.
    pub raw: Vec<i64>,
    /// After `NormalizeScore`, times weight.
    pub weighted: Vec<i64>,
}

/// A decision in full.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// A `PreEnqueue` plugin holds the pod back; then nothing else is filled.
    pub pre_enqueue: Option<(&'static str, Reason)>,
    /// `PreFilter` ended the cycle.
    pub pre_filter: Option<Rejection>,
    /// Plugins whose `PreFilter` answered Skip.
    pub skipped_filters: Vec<&'static str>,
    /// Nodes rejected, in node order.
    pub rejected: Vec<(Sym, Rejection)>,
    /// Why the nodes not looked at were left out, and how many.
    pub absent: Option<(Reason, usize)>,
    /// Nodes not looked at because enough others fit.
    pub unseen: usize,
    /// Nodes that fit, in node order.
    pub feasible: Vec<Sym>,
    /// What binding the pod's claims takes, per node that `VolumeBinding` let pass and that has
    /// something to bind.
    pub volumes: Vec<(Sym, PodVolumes)>,
    /// Plugins that rejected something, sorted by name.
    pub rejectors: Vec<&'static str>,
    /// Score plugins whose `PreScore` answered Skip.
    pub skipped_scores: Vec<&'static str>,
    /// Scores per plugin.
    pub scores: Vec<PluginScores>,
    /// Sum per feasible node.
    pub totals: Vec<i64>,
    /// Feasible nodes with the largest total.
    pub best: Vec<Sym>,
    /// The node taken.
    pub pick: Option<Sym>,
    /// The message if nothing fits (without `PostFilter`'s part).
    pub fit_error: String,
    /// What `PostFilter` said, if nothing fits.
    pub post_filter: Option<PostFilterPart>,
}

/// A candidate for preemption, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCandidate {
    /// The node.
    pub node: Sym,
    /// Victims as `namespace/name`, the most important one first.
    pub victims: Vec<String>,
    /// How many of them their disruption budgets do not allow.
    pub violations: u32,
}

/// `PostFilter` in full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostFilterPart {
    /// What all plugins together said.
    pub said: PostFiltered,
    /// The pod may preempt others.
    pub eligible: bool,
    /// Nodes that would do.
    pub candidates: Vec<NamedCandidate>,
    /// Nodes tried in vain.
    pub failed: Vec<(Sym, Rejection)>,
    /// The best candidates; more than one is a tie.
    pub best: Vec<Sym>,
}

/// Which nodes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// All of them, in node order.
    All,
    /// Those that a scheduling cycle looks at that begins at this node.
    From(usize),
}

/// Evaluates a pod against every node. `draw` is asked only by [`TieRule::Uniform`].
#[must_use]
pub fn evaluate(
    cache: &Cache,
    profile: &Profile,
    pod: &Pod,
    ties: TieRule,
    draw: impl Fn(u64) -> u64,
) -> Evaluation {
    evaluate_at(cache, profile, pod, (ties, Look::All), draw)
}

/// Evaluates a pod against the nodes that are looked at.
#[must_use]
pub fn evaluate_at(
    cache: &Cache,
    profile: &Profile,
    pod: &Pod,
    (ties, look): (TieRule, Look),
    draw: impl Fn(u64) -> u64,
) -> Evaluation {
    let mut out = Evaluation::default();
    if let Some((row, reason)) = profile.pre_enqueue(pod) {
        out.pre_enqueue = Some((profile.rows[usize::from(row)].name, reason));
        return out;
    }
    // Plugins may ask the cache for counts it does not keep yet, so they get a copy of their own.
    let mut cache = cache.clone();
    cache.settle();
    let mut state = CycleState::default();
    profile.prepare(&mut cache, pod, &mut state);
    let looked = pre_filter(profile, View { cache: &cache, pod }, &mut state, &mut out);
    let (skip, mut nodes) = looked.unwrap_or_default();
    let mut enough = nodes.len();
    if let Look::From(start) = look
        && !nodes.is_empty()
    {
        enough = profile.enough(nodes.len());
        let first = profile.first_node(start, cache.len()) % nodes.len();
        nodes.rotate_left(first);
    }
    let what_if = WhatIf { profile, cache: &mut cache, pod, state: &mut state, skip };
    let (feasible, rejected) = filter(what_if, (&nodes, enough), &mut out);
    out.volumes = volumes(profile, View { cache: &cache, pod }, &out);
    score(profile, View { cache: &cache, pod }, &mut state, &feasible, &mut out);
    if !feasible.is_empty() {
        let i = ties.pick(&cache, &feasible, &out.totals, draw);
        out.pick = Some(out.feasible[i]);
    } else if !cache.is_empty() {
        let absent = out.pre_filter.as_ref().map(|r| r.code);
        let mut stuck = Stuck {
            profile,
            cache: &mut cache,
            pod,
            state: &mut state,
            skip,
            rejected: &rejected,
            absent: absent.unwrap_or(Code::UnschedulableAndUnresolvable),
            ties,
            bits: draw(u64::MAX),
            report: None,
        };
        out.post_filter = rescue(&mut stuck);
    }
    out.rejectors.sort_unstable();
    out.rejectors.dedup();
    out
}

/// What `VolumeBinding` would bind where: on every node that it has let pass, whatever a later
/// plugin says.
fn volumes(profile: &Profile, view: View<'_>, out: &Evaluation) -> Vec<(Sym, PodVolumes)> {
    if view.pod.spec.volumes.is_empty() || !profile.binds_volumes() {
        return Vec::new();
    }
    let place = |name: &str| profile.rows.iter().position(|row| row.name == name);
    let later = |plugin: &str| place(plugin) > place("VolumeBinding");
    let rejected = out.rejected.iter().filter(|(_, r)| later(r.plugin)).map(|(node, _)| node);
    let on = |node: &Sym| {
        let at = view.cache.position(*node)?;
        Some((*node, pod_volumes(view.cache, view.pod, at))).filter(|(_, v)| !v.is_empty())
    };
    out.feasible.iter().chain(rejected).filter_map(on).collect()
}

/// The rows to skip and the positions to look at; none if the cycle ends here.
fn pre_filter(
    profile: &Profile,
    view: View<'_>,
    state: &mut CycleState,
    out: &mut Evaluation,
) -> Option<(u32, Vec<u32>)> {
    let mut skip = 0;
    let mut nodes: Vec<u32> = (0..num::u32_of(view.cache.len())).collect();
    for (i, row) in profile.rows_at(Points::PRE_FILTER) {
        match row.plugin.pre_filter(view, state) {
            PreFilter::Run => {}
            PreFilter::Skip => {
                skip |= 1 << i;
                out.skipped_filters.push(row.name);
            }
            PreFilter::Narrow(list) => {
                let all = nodes.len();
                nodes.retain(|at| list.contains(at));
                out.rejectors.push(row.name);
                if nodes.len() < all {
                    out.absent = Some((absent_reason(row.name), all - nodes.len()));
                }
            }
            PreFilter::Reject(code, reasons) => {
                let why = reasons.join(", ");
                out.fit_error = format!("0/{} nodes are available: {why}.", view.cache.len());
                out.rejectors.push(row.name);
                out.pre_filter = Some(Rejection { plugin: row.name, code, reasons });
                // One that preemption might resolve lets the others speak.
                if code != Code::Unschedulable {
                    return None;
                }
            }
        }
    }
    out.pre_filter.is_none().then_some((skip, nodes))
}

/// The nodes that fit, and the verdicts on those that do not.
fn filter(
    mut what_if: WhatIf<'_>,
    (nodes, enough): (&[u32], usize),
    out: &mut Evaluation,
) -> (Vec<u32>, Vec<(u32, Verdict)>) {
    let nominated = what_if.cache.position(what_if.pod.status.nominated).map(num::u32_of);
    if let Some(at) = nominated.filter(|_| out.pre_filter.is_none())
        && what_if.judge(at as usize).passed()
    {
        out.feasible.push(what_if.cache.at(at as usize).name);
        return (vec![at], Vec::new());
    }
    let (mut feasible, mut rejected) = (Vec::new(), Vec::new());
    for (i, &at) in nodes.iter().enumerate() {
        if feasible.len() == enough {
            out.unseen = nodes.len() - i;
            break;
        }
        let verdict = what_if.judge(at as usize);
        let name = what_if.cache.at(at as usize).name;
        if verdict.passed() {
            feasible.push(at);
            out.feasible.push(name);
            continue;
        }
        rejected.push((at, verdict));
        let row = &what_if.profile.rows[usize::from(verdict.row())];
        let view = View { cache: what_if.cache, pod: what_if.pod };
        let reasons = verdict.reasons().map(|bit| row.plugin.reason(view, bit)).collect();
        out.rejectors.push(row.name);
        out.rejected.push((name, Rejection { plugin: row.name, code: verdict.code(), reasons }));
    }
    if feasible.is_empty() && out.pre_filter.is_none() {
        let mut counts: Vec<(Reason, usize)> = out.absent.iter().cloned().collect();
        for reason in out.rejected.iter().flat_map(|(_, r)| &r.reasons) {
            count(&mut counts, reason.clone(), 1);
        }
        out.fit_error = fit_error(what_if.cache.len(), counts);
    }
    (feasible, rejected)
}

/// `PostFilter`, in words.
fn rescue(stuck: &mut Stuck<'_>) -> Option<PostFilterPart> {
    let nominated = stuck.code_of(stuck.pod.status.nominated);
    let mut rows = stuck.profile.rows_at(Points::POST_FILTER);
    let eligible = rows.any(|(_, row)| row.name == "DefaultPreemption")
        && ineligible(stuck.cache, stuck.pod, nominated).is_none();
    let said = post_filter(stuck)?;
    let report = stuck.report.take().unwrap_or_default();
    let name = |at: u32| stuck.cache.at(at as usize).name;
    let pod = |p: &ObjRef| stuck.cache.pod(*p).map(|row| row.pod.meta.full_name());
    let candidate = |c: &Candidate| NamedCandidate {
        node: name(c.at),
        victims: c.victims.iter().filter_map(pod).collect(),
        violations: c.violations,
    };
    let failed = |(at, why): &(u32, Failed)| {
        let (plugin, code) = match why {
            Failed::NoVictims | Failed::NoneNeeded => ("", Code::UnschedulableAndUnresolvable),
            Failed::Rejected(v) => (stuck.profile.rows[usize::from(v.row())].name, v.code()),
        };
        (name(*at), Rejection { plugin, code, reasons: why.reasons(stuck) })
    };
    Some(PostFilterPart {
        said,
        eligible,
        candidates: report.candidates.iter().map(candidate).collect(),
        failed: report.failed.iter().map(failed).collect(),
        best: report.best.iter().map(|i| name(report.candidates[*i].at)).collect(),
    })
}

fn score(
    profile: &Profile,
    view: View<'_>,
    state: &mut CycleState,
    feasible: &[u32],
    out: &mut Evaluation,
) {
    if feasible.is_empty() {
        return;
    }
    out.totals = vec![0; feasible.len()];
    for (_, row) in profile.rows_at(Points::SCORE) {
        if !row.plugin.pre_score(view, state, feasible) {
            out.skipped_scores.push(row.name);
            continue;
        }
        let one = |at: &u32| row.plugin.score_node(view, state, *at as usize);
        let raw: Vec<i64> = feasible.iter().map(one).collect();
        let mut weighted = raw.clone();
        row.plugin.normalize(view, state, feasible, &mut weighted);
        for (total, score) in out.totals.iter_mut().zip(&mut weighted) {
            *score *= row.weight;
            *total += *score;
        }
        out.scores.push(PluginScores { plugin: row.name, weight: row.weight, raw, weighted });
    }
    let best = out.totals.iter().copied().max().unwrap_or(0);
    out.best = out
        .feasible
        .iter()
        .zip(&out.totals)
        .filter(|(_, total)| **total == best)
        .map(|(name, _)| *name)
        .collect();
}
