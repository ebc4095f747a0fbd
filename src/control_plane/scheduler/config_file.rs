//! A `KubeSchedulerConfiguration`, read into [`SchedulerConfig`]. Strict: what is not known is an
//! error that names its path.

use super::config::{Enabled, ProfileConfig, SchedulerConfig};
use super::plugins::fit::{Amount, Strategy};
use super::plugins::registry::{PLUGINS, Points};
use crate::api::labels::{Op, Requirement, Selector};
use crate::api::pod::{NodeSelectorTerm, PreferredNodeTerm, SpreadConstraint};
use crate::engine::{SimDuration, Sym, num};
use serde_json::Value;

/// A sentence about what is wrong, beginning with the path of the field.
type Problem = String;

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn known(value: &Value, path: &str, keys: &[&str]) -> Result<(), Problem> {
    for key in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !keys.contains(&key.as_str()) {
            return Err(format!("{path}.{key}: not modelled (known: {})", keys.join(", ")));
        }
    }
    Ok(())
}

/// Reads a list of requirements (`matchExpressions`, `matchFields`).
///
/// # Errors
/// An operator that does not exist.
pub fn requirements(items: &[Value]) -> Result<Vec<Requirement>, Problem> {
    let one = |item: &Value| {
        let op = match text(item, "operator") {
            "In" => Op::In,
            "NotIn" => Op::NotIn,
            "Exists" => Op::Exists,
            "DoesNotExist" => Op::DoesNotExist,
            "Gt" => Op::Gt,
            "Lt" => Op::Lt,
            other => return Err(format!("operator {other:?} does not exist")),
        };
        let values = list(item, "values").iter().filter_map(Value::as_str).map(Sym::new).collect();
        Ok(Requirement { key: Sym::new(text(item, "key")), op, values })
    };
    items.iter().map(one).collect()
}

/// Reads a label selector.
///
/// # Errors
/// An operator that does not exist.
pub fn selector(value: &Value) -> Result<Selector, Problem> {
    let mut all = Vec::new();
    let labels = value.get("matchLabels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        let values = vec![Sym::new(value.as_str().unwrap_or_default())];
        all.push(Requirement { key: Sym::new(key), op: Op::In, values });
    }
    all.extend(requirements(list(value, "matchExpressions"))?);
    Ok(Selector::new(all))
}

/// Reads a node selector term.
///
/// # Errors
/// An operator that does not exist.
pub fn node_term(value: &Value) -> Result<NodeSelectorTerm, Problem> {
    Ok(NodeSelectorTerm {
        expressions: requirements(list(value, "matchExpressions"))?,
        fields: requirements(list(value, "matchFields"))?,
    })
}

/// Required terms, and preferred ones, of a node affinity.
pub type NodeTerms = (Option<Vec<NodeSelectorTerm>>, Vec<PreferredNodeTerm>);

/// Reads a node affinity.
///
/// # Errors
/// An operator that does not exist.
pub fn node_affinity(value: &Value) -> Result<NodeTerms, Problem> {
    let required = match value.get("requiredDuringSchedulingIgnoredDuringExecution") {
        None | Some(Value::Null) => None,
        Some(required) => Some(
            list(required, "nodeSelectorTerms").iter().map(node_term).collect::<Result<_, _>>()?,
        ),
    };
    let mut preferred = Vec::new();
    for item in list(value, "preferredDuringSchedulingIgnoredDuringExecution") {
        let weight = item.get("weight").and_then(Value::as_i64).unwrap_or(0);
        let term = node_term(item.get("preference").unwrap_or(&Value::Null))?;
        preferred.push(PreferredNodeTerm { weight, term });
    }
    Ok((required, preferred))
}

/// Reads a topology spread constraint.
///
/// # Errors
/// A selector that cannot be read.
pub fn spread_constraint(value: &Value) -> Result<SpreadConstraint, Problem> {
    let int = |key: &str| value.get(key).and_then(Value::as_i64).and_then(|n| n.try_into().ok());
    let keys = list(value, "matchLabelKeys").iter().filter_map(Value::as_str).map(Sym::new);
    Ok(SpreadConstraint {
        max_skew: int("maxSkew").unwrap_or(1),
        topology_key: Sym::new(text(value, "topologyKey")),
        hard: text(value, "whenUnsatisfiable") != "ScheduleAnyway",
        selector: value.get("labelSelector").map(selector).transpose()?,
        min_domains: int("minDomains"),
        honor_affinity: text(value, "nodeAffinityPolicy") != "Ignore",
        honor_taints: text(value, "nodeTaintsPolicy") == "Honor",
        match_label_keys: keys.collect(),
    })
}

fn weighted(items: &[Value]) -> Vec<(Amount, i64)> {
    let weight = |v: &Value| v.get("weight").and_then(Value::as_i64).filter(|w| *w != 0);
    items.iter().map(|v| (Amount::named(text(v, "name")), weight(v).unwrap_or(1))).collect()
}

fn strategy(value: &Value, path: &str) -> Result<Strategy, Problem> {
    match text(value, "type") {
        "" | "LeastAllocated" => Ok(Strategy::LeastAllocated),
        "MostAllocated" => Ok(Strategy::MostAllocated),
        "RequestedToCapacityRatio" => {
            let ratio = value.get("requestedToCapacityRatio").unwrap_or(&Value::Null);
            let int = |v: &Value, key: &str| v.get(key).and_then(Value::as_i64).unwrap_or(0);
            let point = |v: &Value| (int(v, "utilization"), int(v, "score"));
            Ok(Strategy::RequestedToCapacityRatio(list(ratio, "shape").iter().map(point).collect()))
        }
        other => Err(format!("{path}.type: there is no strategy {other:?}")),
    }
}

fn arguments(profile: &mut ProfileConfig, config: &Value, path: &str) -> Result<(), Problem> {
    let args = config.get("args").unwrap_or(&Value::Null);
    let syms = |key: &str| list(args, key).iter().filter_map(Value::as_str).map(Sym::new).collect();
    let out = &mut profile.args;
    let common = ["apiVersion", "kind"];
    let check = |keys: &[&str]| known(args, path, &[&common, keys].concat());
    match text(config, "name") {
        "NodeResourcesFit" => {
            check(&["ignoredResources", "ignoredResourceGroups", "scoringStrategy"])?;
            out.fit.ignored = syms("ignoredResources");
            out.fit.ignored_groups = syms("ignoredResourceGroups");
            if let Some(given) = args.get("scoringStrategy") {
                out.fit.strategy = strategy(given, path)?;
                if given.get("resources").is_some() {
                    out.fit.resources = weighted(list(given, "resources"));
                }
            }
        }
        "NodeResourcesBalancedAllocation" => {
            check(&["resources"])?;
            let named = weighted(list(args, "resources"));
            if !named.is_empty() {
                out.balanced.resources = named.into_iter().map(|(r, _)| r).collect();
            }
        }
        "NodeAffinity" => {
            check(&["addedAffinity"])?;
            let (required, preferred) =
                node_affinity(args.get("addedAffinity").unwrap_or(&Value::Null))?;
            out.node_affinity.required = required;
            out.node_affinity.preferred = preferred;
        }
        "PodTopologySpread" => {
            check(&["defaultConstraints", "defaultingType"])?;
            if text(args, "defaultingType") == "List" {
                out.spread.system = false;
                let given = list(args, "defaultConstraints");
                out.spread.defaults =
                    given.iter().map(spread_constraint).collect::<Result<_, _>>()?;
            }
        }
        "InterPodAffinity" => {
            check(&["hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"])?;
            if let Some(weight) = args.get("hardPodAffinityWeight").and_then(Value::as_i64) {
                out.interpod.hard_weight = weight;
            }
            let ignore = args.get("ignorePreferredTermsOfExistingPods");
            out.interpod.ignore_preferred = ignore.and_then(Value::as_bool).unwrap_or(false);
        }
        "DefaultPreemption" => {
            check(&["minCandidateNodesPercentage", "minCandidateNodesAbsolute"])?;
            let given = |key: &str| args.get(key).and_then(Value::as_u64).map(num::index);
            if let Some(percentage) = given("minCandidateNodesPercentage") {
                out.preemption.percentage = percentage;
            }
            if let Some(absolute) = given("minCandidateNodesAbsolute") {
                out.preemption.absolute = absolute;
            }
        }
        "VolumeBinding" | "DynamicResources" => {}
        other => return Err(format!("{path}: no plugin {other:?} takes arguments")),
    }
    Ok(())
}

fn disable(profile: &mut ProfileConfig, names: &[Value], points: Points) {
    for name in names.iter().map(|v| text(v, "name")) {
        for plugin in profile.plugins.iter_mut().filter(|p| name == "*" || p.name == name) {
            plugin.points = plugin.points.without(points);
        }
    }
}

fn enable(
    profile: &mut ProfileConfig,
    items: &[Value],
    points: Option<Points>,
    path: &str,
) -> Result<(), Problem> {
    for item in items {
        let name = text(item, "name");
        let row = PLUGINS
            .iter()
            .find(|row| row.name == name)
            .ok_or_else(|| format!("{path}: there is no plugin {name:?}"))?;
        let weight = item.get("weight").and_then(Value::as_i64).filter(|w| *w != 0);
        // Enabled at every point it has, or at one of them, with what it needs to work there.
        let mut wanted = points.unwrap_or(row.points);
        if wanted.has(Points::SCORE) && row.points.has(Points::PRE_SCORE) {
            wanted = wanted.and(Points::PRE_SCORE);
        }
        let plugin = profile.plugins.iter_mut().find(|p| p.name == name);
        let scores = wanted.has(Points::SCORE);
        match plugin {
            Some(plugin) => {
                plugin.points = plugin.points.and(wanted);
                if scores {
                    plugin.weight = weight.unwrap_or(plugin.weight.max(1));
                }
            }
            None => profile.plugins.push(Enabled {
                name: row.name,
                points: wanted,
                weight: weight.unwrap_or(row.weight),
            }),
        }
    }
    Ok(())
}

fn plugins(profile: &mut ProfileConfig, value: &Value, path: &str) -> Result<(), Problem> {
    let mut names: Vec<&str> = Points::NAMES.iter().map(|(name, _)| *name).collect();
    names.push("multiPoint");
    known(value, path, &names)?;
    if let Some(all) = value.get("multiPoint") {
        let every = Points::NAMES.iter().fold(Points::NONE, |sum, (_, p)| sum.and(*p));
        disable(profile, list(all, "disabled"), every);
        enable(profile, list(all, "enabled"), None, &format!("{path}.multiPoint"))?;
    }
    for (name, point) in Points::NAMES {
        if let Some(set) = value.get(name) {
            disable(profile, list(set, "disabled"), point);
            enable(profile, list(set, "enabled"), Some(point), &format!("{path}.{name}"))?;
        }
    }
    Ok(())
}

fn profile(value: &Value, path: &str) -> Result<ProfileConfig, Problem> {
    known(value, path, &["schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"])?;
    let mut out = ProfileConfig::default();
    if !text(value, "schedulerName").is_empty() {
        out.scheduler_name = Sym::new(text(value, "schedulerName"));
    }
    out.percentage = percentage(value);
    if let Some(given) = value.get("plugins") {
        plugins(&mut out, given, &format!("{path}.plugins"))?;
    }
    for (i, config) in list(value, "pluginConfig").iter().enumerate() {
        arguments(&mut out, config, &format!("{path}.pluginConfig[{i}].args"))?;
    }
    Ok(out)
}

fn percentage(value: &Value) -> Option<u32> {
    value.get("percentageOfNodesToScore").and_then(Value::as_u64).and_then(|p| p.try_into().ok())
}

impl SchedulerConfig {
    /// Reads a `KubeSchedulerConfiguration` (`kubescheduler.config.k8s.io/v1`).
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong or not modelled, beginning with its path.
    pub fn from_json(value: &Value) -> Result<Self, Problem> {
        let fields = [
            "apiVersion",
            "kind",
            "profiles",
            "parallelism",
            "percentageOfNodesToScore",
            "podInitialBackoffSeconds",
            "podMaxBackoffSeconds",
            "clientConnection",
            "leaderElection",
        ];
        known(value, "", &fields)?;
        let mut out = Self::default();
        let given = list(value, "profiles");
        if !given.is_empty() {
            out.profiles = Vec::with_capacity(given.len());
            for (i, one) in given.iter().enumerate() {
                let mut one = profile(one, &format!("profiles[{i}]"))?;
                one.percentage = one.percentage.or_else(|| percentage(value));
                out.profiles.push(one);
            }
        }
        let seconds =
            |key: &str| value.get(key).and_then(Value::as_u64).map(SimDuration::from_secs);
        out.initial_backoff = seconds("podInitialBackoffSeconds").unwrap_or(out.initial_backoff);
        out.max_backoff = seconds("podMaxBackoffSeconds").unwrap_or(out.max_backoff);
        if let Some(client) = value.get("clientConnection") {
            out.qps = client.get("qps").and_then(Value::as_f64).unwrap_or(out.qps);
            let burst = client.get("burst").and_then(Value::as_u64);
            out.burst = burst.map_or(out.burst, |b| num::u32_of(num::index(b)));
        }
        Ok(out)
    }
}
