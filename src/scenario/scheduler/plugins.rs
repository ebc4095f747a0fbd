//! Which plugins a profile runs, where, and in which order (sources:
//! `sched/apis/config/v1/default_plugins.go` `mergePlugins`, `sched/framework/runtime/framework.go`
//! `expandMultiPointPlugins`, `getScoreWeights`).

use super::file::{PluginRef, PluginSet, Plugins};
use crate::control_plane::scheduler::config::{Enabled, ProfileConfig};
use crate::control_plane::scheduler::plugins::registry::{PLUGINS, PluginRow, Points};
use crate::control_plane::scheduler::policies;
use crate::scenario::path::{At, Problems, nearest};

/// Plugins of the past: part of kube-scheduler once, and what took their place.
const GONE: &[(&str, &str)] = &[
    ("NodeResourcesLeastAllocated", "NodeResourcesFit with scoringStrategy.type LeastAllocated"),
    ("NodeResourcesMostAllocated", "NodeResourcesFit with scoringStrategy.type MostAllocated"),
    (
        "RequestedToCapacityRatio",
        "NodeResourcesFit with scoringStrategy.type RequestedToCapacityRatio",
    ),
    ("SelectorSpread", "PodTopologySpread"),
    ("DefaultPodTopologySpread", "PodTopologySpread"),
    ("EvenPodsSpread", "PodTopologySpread"),
    ("NodePreferAvoidPods", "taints with effect PreferNoSchedule"),
    ("NodeLabel", "NodeAffinity with addedAffinity"),
    ("ServiceAffinity", "InterPodAffinity"),
    ("AzureDiskLimits", "NodeVolumeLimits"),
    ("CinderLimits", "NodeVolumeLimits"),
    ("EBSLimits", "NodeVolumeLimits"),
    ("GCEPDLimits", "NodeVolumeLimits"),
];

/// Largest sum of weight times highest score (`MaxTotalScore`).
const MAX_TOTAL: i64 = i32::MAX as i64;

/// The plugin of this name: kube-scheduler's, or one of Wavetank's own. Expressions have no text
/// there.
pub(super) fn row(name: &str) -> Option<&'static PluginRow> {
    policies::find(name).filter(|row| row.name != "Cel")
}

/// A name that is no plugin of the version is refused, with what it most likely is.
pub(super) fn known(
    name: &str,
    at: &At<'_>,
    problems: &mut Problems,
) -> Option<&'static PluginRow> {
    let found = row(name);
    if found.is_some() {
        return found;
    }
    if name.is_empty() {
        problems.required(at, "");
    } else if let Some((_, instead)) = GONE.iter().find(|(gone, _)| *gone == name) {
        let text = format!("Invalid value: {name:?}: is no longer part of kube-scheduler");
        problems.push_hint(at, text, format!("use {instead}"));
    } else {
        let near = nearest(name, PLUGINS.iter().map(|p| p.name));
        let near = near.map(|n| format!("did you mean {n:?}? Else ")).unwrap_or_default();
        problems.push_hint(
            at,
            format!("out-of-tree plugin {name:?} is not part of kube-scheduler and not modelled"),
            format!("{near}leave it out, or add it through the library (ARCHITECTURE.md)"),
        );
    }
    None
}

/// A plugin with the weight that was given to it; 0 if none was.
type Weighed = (&'static PluginRow, i64);

fn weighed(set: &[PluginRef], at: &At<'_>, problems: &mut Problems) -> Vec<Weighed> {
    let list = at.key("enabled");
    let one = |(i, plugin): (usize, &PluginRef)| {
        let row = known(&plugin.name, &list.index(i).key("name"), problems)?;
        Some((row, i64::from(plugin.weight.unwrap_or(0))))
    };
    set.iter().enumerate().filter_map(one).collect()
}

/// Disabling what does not exist changes nothing: most likely a slip.
fn disabled(set: &PluginSet, at: &At<'_>, warnings: &mut Problems) {
    let list = at.key("disabled");
    for (i, plugin) in set.disabled.iter().enumerate() {
        if plugin.name != "*" && row(&plugin.name).is_none() {
            let near = nearest(&plugin.name, PLUGINS.iter().map(|p| p.name));
            let hint = near.map(|n| format!("did you mean {n:?}?")).unwrap_or_default();
            let text = format!("there is no plugin {:?} to disable", plugin.name);
            warnings.push_hint(&list.index(i).key("name"), text, hint);
        }
    }
}

/// `multiPoint`: the defaults, in their places if configured anew, and then what is new.
fn merged(set: &PluginSet, given: Vec<Weighed>) -> Vec<Weighed> {
    let mut given: Vec<Option<Weighed>> = given.into_iter().map(Some).collect();
    let mut out: Vec<Weighed> = Vec::new();
    for default in PLUGINS.iter().filter(|p| !set.disables(p.name)) {
        // Of two the later one counts; the other stays and is found to be registered twice.
        let own = given.iter_mut().rev().find(|g| g.is_some_and(|(r, _)| r.name == default.name));
        out.push(own.and_then(Option::take).unwrap_or((default, default.weight)));
    }
    out.extend(given.into_iter().flatten());
    out
}

/// The plugins of one extension point in order: those configured here that multiPoint has too, the
/// others of multiPoint, the others of here.
fn expanded(point: Points, set: &PluginSet, own: &[Weighed], multi: &[Weighed]) -> Vec<Weighed> {
    let all_off = set.disabled.iter().any(|p| p.name == "*");
    let here = |name: &str, list: &[Weighed]| list.iter().any(|(row, _)| row.name == name);
    let mut rest: Vec<Weighed> = multi.to_vec();
    rest.retain(|(row, _)| row.points.has(point) && !all_off && !set.disables(row.name));
    let (mut out, new): (Vec<Weighed>, Vec<Weighed>) =
        own.iter().copied().partition(|(row, _)| here(row.name, &rest));
    rest.retain(|(row, _)| !here(row.name, own));
    out.extend(rest);
    out.extend(new);
    out
}

/// The lists of all extension points.
struct Lists {
    multi: Vec<Weighed>,
    points: Vec<(Points, Vec<Weighed>)>,
}

fn lists(from: &Plugins, at: &At<'_>, problems: &mut Problems, warnings: &mut Problems) -> Lists {
    let here = at.key("multiPoint");
    let given = weighed(&from.multi_point.enabled, &here, problems);
    disabled(&from.multi_point, &here, warnings);
    let multi = merged(&from.multi_point, given);
    let mut points = Vec::new();
    for (field, point, set) in from.sets() {
        let here = at.key(field);
        let own = weighed(&set.enabled, &here, problems);
        disabled(set, &here, warnings);
        for (row, _) in own.iter().filter(|(row, _)| !row.points.has(point)) {
            let i = set.enabled.iter().position(|p| p.name == row.name).unwrap_or_default();
            let text = format!("plugin {:?} does not extend {field} plugin", row.name);
            problems.push(&here.key("enabled").index(i).key("name"), text);
        }
        let list = expanded(point, set, &own, &multi);
        for (i, (row, _)) in list.iter().enumerate() {
            if list[..i].iter().any(|(other, _)| other.name == row.name) {
                problems
                    .push(&here, format!("plugin {:?} already registered as {field}", row.name));
            }
        }
        points.push((point, list));
    }
    Lists { multi, points }
}

/// The weight of a plugin's scores: that of `score`, else that of `multiPoint`, else 1.
fn weight(name: &str, lists: &Lists) -> i64 {
    let score = lists.points.iter().find(|(p, _)| *p == Points::SCORE);
    let own = score.into_iter().flat_map(|(_, list)| list).chain(&lists.multi);
    own.filter(|(row, _)| row.name == name).map(|(_, w)| *w).next().filter(|w| *w != 0).unwrap_or(1)
}

/// What one extension point of a plugin reads, another one has to prepare; without it every pod
/// fails with an error.
const NEEDS: &[(&str, Points, Points, &str)] = &[
    ("NodePorts", Points::FILTER, Points::PRE_FILTER, "preFilter"),
    ("NodeResourcesFit", Points::FILTER, Points::PRE_FILTER, "preFilter"),
    ("PodTopologySpread", Points::FILTER, Points::PRE_FILTER, "preFilter"),
    ("InterPodAffinity", Points::FILTER, Points::PRE_FILTER, "preFilter"),
    ("VolumeBinding", Points::FILTER, Points::PRE_FILTER, "preFilter"),
    ("VolumeRestrictions", Points::FILTER, Points::PRE_FILTER, "preFilter"),
    ("DynamicResources", Points::FILTER, Points::PRE_FILTER, "preFilter"),
    ("TaintToleration", Points::SCORE, Points::PRE_SCORE, "preScore"),
    ("PodTopologySpread", Points::SCORE, Points::PRE_SCORE, "preScore"),
    ("InterPodAffinity", Points::SCORE, Points::PRE_SCORE, "preScore"),
];

fn complete(profile: &ProfileConfig, at: &At<'_>, problems: &mut Problems) {
    let count = |point| profile.plugins.iter().filter(|p| p.points.has(point)).count();
    match count(Points::QUEUE_SORT) {
        1 => {}
        0 => problems.required(&at.key("queueSort"), "one queue sort plugin has to be enabled"),
        n => {
            let why = "only one queue sort plugin can be enabled";
            problems.invalid(&at.key("queueSort").key("enabled"), n, why);
        }
    }
    if count(Points::BIND) == 0 {
        problems.required(&at.key("bind"), "at least one bind plugin is needed");
    }
    for plugin in &profile.plugins {
        for (name, point, need, field) in NEEDS {
            if plugin.name == *name && plugin.points.has(*point) && !plugin.points.has(*need) {
                let text =
                    format!("{name} does not work without its {field}: every pod would fail");
                problems.push_hint(&at.key(field), text, format!("enable {name} at {field}, too"));
            }
        }
    }
    let scores = profile.plugins.iter().filter(|p| p.points.has(Points::SCORE));
    let total = scores.fold(0_i64, |sum, p| sum.saturating_add(p.weight.saturating_mul(100)));
    if total > MAX_TOTAL {
        problems.invalid(&at.key("score"), total, "total score of Score plugins could overflow");
    }
}

/// Fills the plugins of a profile.
pub(super) fn resolve(
    profile: &mut ProfileConfig,
    from: &Plugins,
    at: &At<'_>,
    problems: &mut Problems,
    warnings: &mut Problems,
) {
    let before = problems.0.len();
    let lists = lists(from, at, problems, warnings);
    profile.plugins.clear();
    let all = lists.multi.iter().chain(lists.points.iter().flat_map(|(_, list)| list));
    for (row, _) in all {
        if profile.plugins.iter().any(|p| p.name == row.name) {
            continue;
        }
        let called = lists.points.iter().filter(|(_, l)| l.iter().any(|(r, _)| r.name == row.name));
        let points = called.fold(Points::NONE, |sum, (point, _)| sum.and(*point));
        let weight = if points.has(Points::SCORE) { weight(row.name, &lists) } else { row.weight };
        if points != Points::NONE {
            profile.plugins.push(Enabled { name: row.name, points, weight });
        }
    }
    for (point, list) in &lists.points {
        let wanted: Vec<&'static str> = list.iter().map(|(row, _)| row.name).collect();
        let plain = profile.plugins.iter().filter(|p| p.points.has(*point)).map(|p| p.name);
        if !plain.eq(wanted.iter().copied()) {
            profile.order.push((*point, wanted));
        }
    }
    if problems.0.len() == before {
        complete(profile, at, problems);
    }
}
