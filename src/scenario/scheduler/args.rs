//! Arguments of plugins, with kube-scheduler's rules and words (source:
//! `sched/apis/config/validation/validation_pluginargs.go`, `sched/apis/config/v1/defaults.go`).

use super::file::{
    Args, BalancedArgs, DynamicResourcesArgs, FitArgs, InterPodArgs, NodeAffinityArgs,
    PreemptionArgs, ResourceSpec, ScoringStrategy, ShapePoint, SpreadArgs, VolumeBindingArgs,
};
use super::{GROUP, Pass};
use crate::control_plane::scheduler::config::{BindTimeout, PluginArgs};
use crate::control_plane::scheduler::plugins::fit::{Amount, Fit, Strategy};
use crate::engine::{SimDuration, Sym, num};
use crate::scenario::path::{At, Problems};
use crate::scenario::{convert_pod, typed, validate, validate_pod};
use k8s_openapi::api::core::v1 as core;
use serde::de::DeserializeOwned;
use serde_json::Value;

const STRATEGIES: [&str; 3] = ["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"];

/// The arguments as their type; what does not fit is noted.
fn read<T: Args + DeserializeOwned>(
    plugin: &str,
    value: &Value,
    at: &At<'_>,
    pass: &mut Pass,
) -> Option<T> {
    let read = typed::read::<T>(value);
    let before = at.path();
    for mut problem in read.errors.into_iter().chain(read.unknown) {
        problem.path.0.splice(0..0, before.0.iter().cloned());
        pass.problems.0.push(problem);
    }
    let args = read.value?;
    let (version, kind) = args.header();
    if let Some(version) = version.filter(|v| v.split_once('/').is_none_or(|(g, _)| g != GROUP)) {
        pass.problems.invalid(&at.key("apiVersion"), version, &format!("{GROUP}/v1 is expected"));
    }
    let wanted = format!("{plugin}Args");
    if let Some(kind) = kind.filter(|k| **k != wanted) {
        let text = format!("Invalid value: {kind:?}: has to match plugin args");
        pass.problems.push_hint(&at.key("kind"), text, format!("write {wanted}"));
    }
    Some(args)
}

/// Reads the arguments of a plugin. False if it takes none.
pub(super) fn apply(
    out: &mut PluginArgs,
    plugin: &str,
    value: &Value,
    at: &At<'_>,
    pass: &mut Pass,
) -> bool {
    match plugin {
        "NodeResourcesFit" => {
            if let Some(args) = read::<FitArgs>(plugin, value, at, pass) {
                fit(&mut out.fit, &args, at, &mut pass.problems);
            }
        }
        "NodeResourcesBalancedAllocation" => {
            if let Some(args) = read::<BalancedArgs>(plugin, value, at, pass) {
                balanced(out, &args.resources, at, &mut pass.problems);
            }
        }
        "NodeAffinity" => {
            if let Some(args) = read::<NodeAffinityArgs>(plugin, value, at, pass)
                && let Some(added) = args.added_affinity
            {
                node_affinity(out, added, at, &mut pass.problems);
            }
        }
        "PodTopologySpread" => {
            if let Some(args) = read::<SpreadArgs>(plugin, value, at, pass) {
                spread(out, &args, at, &mut pass.problems);
            }
        }
        "InterPodAffinity" => {
            if let Some(args) = read::<InterPodArgs>(plugin, value, at, pass) {
                inter_pod(out, &args, at, &mut pass.problems);
            }
        }
        "DefaultPreemption" => {
            if let Some(args) = read::<PreemptionArgs>(plugin, value, at, pass) {
                preemption(out, &args, at, &mut pass.problems);
            }
        }
        "VolumeBinding" => {
            if let Some(args) = read::<VolumeBindingArgs>(plugin, value, at, pass) {
                volume_binding(out, &args, at, &mut pass.problems);
            }
        }
        "DynamicResources" => {
            if let Some(args) = read::<DynamicResourcesArgs>(plugin, value, at, pass) {
                dynamic_resources(&args, at, pass);
            }
        }
        _other => return false,
    }
    true
}

fn fit(out: &mut Fit, args: &FitArgs, at: &At<'_>, problems: &mut Problems) {
    let list = at.key("ignoredResources");
    for (i, name) in args.ignored_resources.iter().enumerate() {
        validate::key(name, &list.index(i), problems);
    }
    let list = at.key("ignoredResourceGroups");
    for (i, group) in args.ignored_resource_groups.iter().enumerate() {
        if group.contains('/') {
            problems.invalid(&list.index(i), group, "resource group name can't contain '/'");
        } else {
            validate::key(group, &list.index(i), problems);
        }
    }
    out.ignored = args.ignored_resources.iter().map(|n| Sym::new(n)).collect();
    out.ignored_groups = args.ignored_resource_groups.iter().map(|n| Sym::new(n)).collect();
    if let Some(given) = &args.scoring_strategy {
        strategy(out, given, &at.key("scoringStrategy"), problems);
    }
}

fn strategy(out: &mut Fit, from: &ScoringStrategy, at: &At<'_>, problems: &mut Problems) {
    problems.one_of(&at.key("type"), &from.kind, &STRATEGIES);
    let list = at.key("resources");
    for (i, resource) in from.resources.iter().enumerate() {
        let weight = resource.weight();
        if !(1..=100).contains(&weight) {
            let why = format!("resource weight of {} not in valid range (0, 100]", resource.name);
            problems.invalid(&list.index(i).key("weight"), weight, &why);
        }
    }
    if !from.resources.is_empty() {
        let weighed = |r: &ResourceSpec| (Amount::named(&r.name), r.weight());
        out.resources = from.resources.iter().map(weighed).collect();
    }
    let here = at.key("requestedToCapacityRatio");
    let by_ratio = from.kind == "RequestedToCapacityRatio";
    match &from.requested_to_capacity_ratio {
        Some(_) if !by_ratio => {
            problems.forbidden(&here, "must be nil when type is not RequestedToCapacityRatio");
        }
        Some(ratio) => shape(&ratio.shape, &here.key("shape"), problems),
        None if by_ratio => {
            problems.required(&here, "must be specified when type is RequestedToCapacityRatio");
        }
        None => {}
    }
    out.strategy = match (from.kind.as_str(), &from.requested_to_capacity_ratio) {
        ("MostAllocated", _) => Strategy::MostAllocated,
        ("RequestedToCapacityRatio", Some(ratio)) => {
            let point = |p: &ShapePoint| (i64::from(p.utilization), i64::from(p.score));
            Strategy::RequestedToCapacityRatio(ratio.shape.iter().map(point).collect())
        }
        _others => Strategy::LeastAllocated,
    };
}

fn shape(points: &[ShapePoint], at: &At<'_>, problems: &mut Problems) {
    if points.is_empty() {
        problems.required(at, "at least one point must be specified");
    }
    let fall = (1..points.len()).find(|&i| points[i - 1].utilization >= points[i].utilization);
    if let Some(i) = fall {
        let why = "values must be sorted in increasing order";
        problems.invalid(&at.index(i).key("utilization"), points[i].utilization, why);
    }
    for (i, point) in points.iter().enumerate() {
        let here = at.index(i);
        if !(0..=100).contains(&point.utilization) {
            let why = "not in valid range [0, 100]";
            problems.invalid(&here.key("utilization"), point.utilization, why);
        }
        if !(0..=10).contains(&point.score) {
            problems.invalid(&here.key("score"), point.score, "not in valid range [0, 10]");
        }
    }
}

fn balanced(out: &mut PluginArgs, list: &[ResourceSpec], at: &At<'_>, problems: &mut Problems) {
    let at = at.key("resources");
    for (i, resource) in list.iter().enumerate() {
        let here = at.index(i);
        if list[..i].iter().any(|other| other.name == resource.name) {
            problems.duplicate(&here.key("name"), &resource.name);
        }
        if resource.weight() != 1 {
            problems.invalid(&here.key("weight"), resource.weight(), "must be 1");
        }
    }
    if !list.is_empty() {
        out.balanced.resources = list.iter().map(|r| Amount::named(&r.name)).collect();
    }
}

fn node_affinity(
    out: &mut PluginArgs,
    added: core::NodeAffinity,
    at: &At<'_>,
    problems: &mut Problems,
) {
    validate_pod::node_affinity(&added, &at.key("addedAffinity"), problems);
    let whole = core::Affinity { node_affinity: Some(added), ..core::Affinity::default() };
    let read = convert_pod::affinity(&whole);
    out.node_affinity.required = read.node_required;
    out.node_affinity.preferred = read.node_preferred;
}

fn spread(out: &mut PluginArgs, args: &SpreadArgs, at: &At<'_>, problems: &mut Problems) {
    let kind = args.defaulting_type.as_deref().filter(|t| !t.is_empty()).unwrap_or("System");
    let here = at.key("defaultingType");
    problems.one_of(&here, kind, &["System", "List"]);
    if kind == "System" && !args.default_constraints.is_empty() {
        let text = format!("Invalid value: {kind:?}: when .defaultConstraints are not empty");
        problems.push_hint(&here, text, "write defaultingType: List");
    }
    let list = at.key("defaultConstraints");
    for (i, constraint) in args.default_constraints.iter().enumerate() {
        let here = list.index(i);
        spread_constraint(constraint, &here, problems);
        let (key, when) = (&constraint.topology_key, &constraint.when_unsatisfiable);
        let same = |c: &core::TopologySpreadConstraint| {
            c.topology_key == *key && c.when_unsatisfiable == *when
        };
        if args.default_constraints[..i].iter().any(same) {
            problems.duplicate(&here, &format!("{{{key}, {when}}}"));
        }
    }
    if kind == "List" {
        out.spread.system = false;
        out.spread.defaults = args.default_constraints.iter().map(convert_pod::spread).collect();
    }
}

fn spread_constraint(c: &core::TopologySpreadConstraint, at: &At<'_>, problems: &mut Problems) {
    if c.max_skew <= 0 {
        problems.invalid(&at.key("maxSkew"), c.max_skew, "not in valid range (0, inf)");
    }
    if c.topology_key.is_empty() {
        problems.required(&at.key("topologyKey"), "can not be empty");
    } else {
        validate::key(&c.topology_key, &at.key("topologyKey"), problems);
    }
    let here = at.key("whenUnsatisfiable");
    if c.when_unsatisfiable.is_empty() {
        problems.required(&here, "can not be empty");
    } else {
        problems.one_of(&here, &c.when_unsatisfiable, &["DoNotSchedule", "ScheduleAnyway"]);
    }
    if c.label_selector.is_some() {
        let why = "constraint must not define a selector, as they deduced for each pod";
        problems.forbidden(&at.key("labelSelector"), why);
    }
}

fn inter_pod(out: &mut PluginArgs, args: &InterPodArgs, at: &At<'_>, problems: &mut Problems) {
    if let Some(weight) = args.hard_pod_affinity_weight {
        if !(0..=100).contains(&weight) {
            let why = "not in valid range [0, 100]";
            problems.invalid(&at.key("hardPodAffinityWeight"), weight, why);
        }
        out.interpod.hard_weight = i64::from(weight);
    }
    out.interpod.ignore_preferred = args.ignore_preferred_terms_of_existing_pods;
}

fn preemption(out: &mut PluginArgs, args: &PreemptionArgs, at: &At<'_>, problems: &mut Problems) {
    let percentage = args.min_candidate_nodes_percentage.unwrap_or(10);
    let absolute = args.min_candidate_nodes_absolute.unwrap_or(100);
    let (here, there) =
        (at.key("minCandidateNodesPercentage"), at.key("minCandidateNodesAbsolute"));
    if !(0..=100).contains(&percentage) {
        problems.invalid(&here, percentage, "not in valid range [0, 100]");
    }
    if absolute < 0 {
        problems.invalid(&there, absolute, "not in valid range [0, inf)");
    }
    if percentage == 0 && absolute == 0 {
        let why = "cannot be zero at the same time as minCandidateNodesAbsolute";
        problems.invalid(&here, percentage, why);
        let why = "cannot be zero at the same time as minCandidateNodesPercentage";
        problems.invalid(&there, absolute, why);
    }
    let count = |n: i32| num::index(u64::from(n.unsigned_abs()));
    out.preemption.percentage = count(percentage);
    out.preemption.absolute = count(absolute);
}

fn volume_binding(
    out: &mut PluginArgs,
    args: &VolumeBindingArgs,
    at: &At<'_>,
    problems: &mut Problems,
) {
    let seconds = args.bind_timeout_seconds.unwrap_or(600);
    if seconds < 0 {
        let why = "invalid BindTimeoutSeconds, should not be a negative value";
        problems.invalid(&at.key("bindTimeoutSeconds"), seconds, why);
    }
    if args.shape.is_some() {
        let why = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring";
        problems.push_hint(&at.key("shape"), why, "the gate is off by default and not modelled");
    }
    out.volume_bind_timeout = BindTimeout(SimDuration::from_secs(seconds.unsigned_abs()));
}

fn dynamic_resources(args: &DynamicResourcesArgs, at: &At<'_>, pass: &mut Pass) {
    for (field, given) in
        [("filterTimeout", &args.filter_timeout), ("bindingTimeout", &args.binding_timeout)]
    {
        let Some(text) = given else { continue };
        if let Err(problem) = SimDuration::parse(text) {
            pass.problems.invalid(&at.key(field), text, &problem);
        }
        pass.not_modelled(format!("DynamicResourcesArgs.{field}"));
    }
}
