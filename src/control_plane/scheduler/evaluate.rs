//! One scheduling decision in full, for `explain`, for the golden tests and for checking the fast
//! path: every node is looked at by every plugin in the plainest way, and all is kept.

use super::cache::Cache;
use super::framework::{CycleState, PreFilter, Reason, View};
use super::plugins::registry::Points;
use super::plugins::volume_binding::{PodVolumes, pod_volumes};
use super::profile::Profile;
use super::report::{Rejection, absent_reason, fit_error};
use super::ties::TieRule;
use crate::api::Pod;
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
    /// What `PostFilter` adds to it after `PreFilter` has ended the cycle.
    pub post_filter: &'static str,
}

/// Evaluates a pod against every node. `draw` is asked only by [`TieRule::Uniform`].
#[must_use]
pub fn evaluate(
    cache: &Cache,
    profile: &Profile,
    pod: &Pod,
    ties: TieRule,
    draw: impl FnOnce(u64) -> u64,
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
    let view = View { cache: &cache, pod };
    if let Some((skip, nodes)) = pre_filter(profile, view, &mut state, &mut out) {
        let feasible = filter(profile, view, &state, (skip, &nodes), &mut out);
        out.volumes = volumes(profile, view, &out);
        score(profile, view, &mut state, &feasible, &mut out);
        if !feasible.is_empty() {
            let i = ties.pick(&cache, &feasible, &out.totals, draw);
            out.pick = Some(out.feasible[i]);
        }
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
                out.post_filter = profile.after_pre_filter();
                out.pre_filter = Some(Rejection { plugin: row.name, code, reasons });
                return None;
            }
        }
    }
    Some((skip, nodes))
}

fn filter(
    profile: &Profile,
    view: View<'_>,
    state: &CycleState,
    (skip, nodes): (u32, &[u32]),
    out: &mut Evaluation,
) -> Vec<u32> {
    let nominated = view.cache.position(view.pod.status.nominated).map(num::u32_of);
    if let Some(at) = nominated
        && profile.judge(view, state, skip, at as usize).passed()
    {
        out.feasible.push(view.cache.at(at as usize).name);
        return vec![at];
    }
    let mut feasible = Vec::new();
    for &at in nodes {
        let verdict = profile.judge(view, state, skip, at as usize);
        let name = view.cache.at(at as usize).name;
        if verdict.passed() {
            feasible.push(at);
            out.feasible.push(name);
            continue;
        }
        let row = &profile.rows[usize::from(verdict.row())];
        let reasons = verdict.reasons().map(|bit| row.plugin.reason(view, bit)).collect();
        out.rejectors.push(row.name);
        out.rejected.push((name, Rejection { plugin: row.name, code: verdict.code(), reasons }));
    }
    if feasible.is_empty() {
        let mut counts: Vec<(Reason, usize)> = out.absent.iter().cloned().collect();
        for reason in out.rejected.iter().flat_map(|(_, r)| &r.reasons) {
            match counts.iter_mut().find(|(r, _)| r == reason) {
                Some((_, n)) => *n += 1,
                None => counts.push((reason.clone(), 1)),
            }
        }
        out.fit_error = fit_error(view.cache.len(), counts);
    }
    feasible
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
