//! Selectors, affinities and spread constraints of the golden files, as they are written.

use serde_json::Value;
use wavetank::api::labels::{Op, Requirement, Selector};
use wavetank::api::pod::{NodeSelectorTerm, PreferredNodeTerm, SpreadConstraint};
use wavetank::engine::Sym;

type Problem = String;

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Reads a list of requirements (`matchExpressions`, `matchFields`).
pub(crate) fn requirements(items: &[Value]) -> Result<Vec<Requirement>, Problem> {
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
pub(crate) fn selector(value: &Value) -> Result<Selector, Problem> {
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
pub(crate) fn node_term(value: &Value) -> Result<NodeSelectorTerm, Problem> {
    Ok(NodeSelectorTerm {
        expressions: requirements(list(value, "matchExpressions"))?,
        fields: requirements(list(value, "matchFields"))?,
    })
}

/// Required terms, and preferred ones, of a node affinity.
pub(crate) type NodeTerms = (Option<Vec<NodeSelectorTerm>>, Vec<PreferredNodeTerm>);

/// Reads a node affinity.
pub(crate) fn node_affinity(value: &Value) -> Result<NodeTerms, Problem> {
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
pub(crate) fn spread_constraint(value: &Value) -> Result<SpreadConstraint, Problem> {
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
