//! Disruption budgets, as their controller and the scheduler read and write them. The object itself
//! is kept as its document.

use super::labels::{Op, Requirement, Selector};
use super::meta::{Meta, Stamp};
use super::workload::{Generic, IntOrPercent};
use super::{LabelSet, Name};
use crate::engine::Sym;
use serde_json::{Value, json};

/// A `PodDisruptionBudget`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodDisruptionBudget {
    /// Metadata.
    pub meta: Meta,
    /// `spec.selector`; none matches nothing, an empty one every pod of the namespace.
    pub selector: Option<Selector>,
    /// `spec.minAvailable`; a percentage rounds up.
    pub min_available: Option<IntOrPercent>,
    /// `spec.maxUnavailable`; a percentage rounds up.
    pub max_unavailable: Option<IntOrPercent>,
    /// Status.
    pub status: PodDisruptionBudgetStatus,
}

/// Status of a disruption budget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodDisruptionBudgetStatus {
    /// `observedGeneration`.
    pub observed_generation: u32,
    /// `disruptedPods`: evicted, but not seen to go yet; sorted by name.
    pub disrupted: Vec<(Name, Stamp)>,
    /// `disruptionsAllowed`.
    pub disruptions_allowed: i32,
    /// `currentHealthy`.
    pub current_healthy: i32,
    /// `desiredHealthy`.
    pub desired_healthy: i32,
    /// `expectedPods`.
    pub expected_pods: i32,
    /// Condition `DisruptionAllowed`: reason and since when; none before the first status.
    pub condition: Option<(Sym, Stamp)>,
}

/// A label selector out of a document that has been validated.
#[must_use]
pub fn selector_of(value: &Value) -> Selector {
    let mut all = Vec::new();
    for (key, value) in value.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        let values = vec![Sym::new(value.as_str().unwrap_or_default())];
        all.push(Requirement { key: Sym::new(key), op: Op::In, values });
    }
    for one in value.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        let op = match text("operator") {
            "In" => Op::In,
            "NotIn" => Op::NotIn,
            "Exists" => Op::Exists,
            _ => Op::DoesNotExist,
        };
        let values = one.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = values.filter_map(Value::as_str).map(Sym::new).collect();
        all.push(Requirement { key: Sym::new(text("key")), op, values });
    }
    Selector::new(all)
}

fn int_or_percent(value: &Value) -> Option<IntOrPercent> {
    if let Some(n) = value.as_i64() {
        return i32::try_from(n).ok().map(IntOrPercent::Int);
    }
    let percent = value.as_str()?.strip_suffix('%')?;
    percent.parse().ok().map(IntOrPercent::Percent)
}

fn stamp(value: &Value) -> Stamp {
    let instant = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Stamp(instant.and_then(|t| u32::try_from(t.as_second()).ok()).unwrap_or(0))
}

impl PodDisruptionBudget {
    /// Reads the document.
    #[must_use]
    pub fn of(object: &Generic) -> Self {
        Self::read(&object.meta, &object.doc)
    }

    /// The same, of metadata and document.
    #[must_use]
    pub fn read(meta: &Meta, doc: &Value) -> Self {
        let spec = |key: &str| doc.get("spec").and_then(|s| s.get(key));
        Self {
            meta: meta.clone(),
            selector: spec("selector").map(selector_of),
            min_available: spec("minAvailable").and_then(int_or_percent),
            max_unavailable: spec("maxUnavailable").and_then(int_or_percent),
            status: doc.get("status").map(status_of).unwrap_or_default(),
        }
    }

    /// Whether a pod with these labels counts.
    #[must_use]
    pub fn matches(&self, labels: LabelSet) -> bool {
        self.selector.as_ref().is_some_and(|s| s.matches(labels))
    }

    /// True if preemption counts the end of this pod against the budget. A pod without labels has
    /// no budget, a selector without requirements protects nothing here, and a pod that is
    /// disrupted already has been counted (source: `plg/defaultpreemption`
    /// `filterPodsWithPDBViolation`).
    #[must_use]
    pub fn counts(&self, pod: &Meta) -> bool {
        self.meta.ns == pod.ns
            && !pod.labels.is_empty()
            && self.selector.as_ref().is_some_and(|s| !s.is_empty() && s.matches(pod.labels))
            && !self.status.disrupted.iter().any(|(name, _)| *name == pod.name)
    }
}

fn status_of(status: &Value) -> PodDisruptionBudgetStatus {
    let number = |key: &str| status.get(key).and_then(Value::as_i64).unwrap_or(0);
    let int = |key: &str| i32::try_from(number(key)).unwrap_or(0);
    let disrupted = status.get("disruptedPods").and_then(Value::as_object);
    let mut disrupted: Vec<(Name, Stamp)> =
        disrupted.into_iter().flatten().map(|(name, at)| (Name::new(name), stamp(at))).collect();
    disrupted.sort_by(|a, b| a.0.cmp_text(b.0));
    let condition = status.pointer("/conditions/0").map(|c| {
        let reason = c.get("reason").and_then(Value::as_str).unwrap_or_default();
        (Sym::new(reason), c.get("lastTransitionTime").map(stamp).unwrap_or_default())
    });
    PodDisruptionBudgetStatus {
        observed_generation: u32::try_from(number("observedGeneration")).unwrap_or(0),
        disrupted,
        disruptions_allowed: int("disruptionsAllowed"),
        current_healthy: int("currentHealthy"),
        desired_healthy: int("desiredHealthy"),
        expected_pods: int("expectedPods"),
        condition,
    }
}

impl PodDisruptionBudgetStatus {
    /// As the document has it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut out = json!({
            "disruptionsAllowed": self.disruptions_allowed,
            "currentHealthy": self.current_healthy,
            "desiredHealthy": self.desired_healthy,
            "expectedPods": self.expected_pods,
            "observedGeneration": self.observed_generation,
        });
        if !self.disrupted.is_empty() {
            let pods = self.disrupted.iter();
            out["disruptedPods"] =
                pods.map(|(name, at)| (name.to_string(), Value::from(at.to_string()))).collect();
        }
        if let Some((reason, since)) = self.condition {
            let status = if reason.as_str() == "SufficientPods" { "True" } else { "False" };
            out["conditions"] = json!([{
                "type": "DisruptionAllowed", "status": status, "reason": reason,
                "message": "", "lastTransitionTime": since.to_string(),
                "observedGeneration": self.observed_generation,
            }]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preemption_counts_what_a_budget_protects() {
        let read =
            |doc: &Value| PodDisruptionBudget::read(&Meta::named("ns".into(), "b".into()), doc);
        let budget = read(&json!({
            "spec": {"selector": {"matchLabels": {"app": "db"}, "matchExpressions":
                [{"key": "tier", "operator": "NotIn", "values": ["cache"]}]}},
            "status": {"disruptionsAllowed": 2, "disruptedPods": {"db-1": "2023-11-14T22:13:20Z"}},
        }));
        let pod = |ns: &str, name: &str, tier: &str| Meta {
            labels: LabelSet::new([("app".into(), "db".into()), ("tier".into(), tier.into())]),
            ..Meta::named(ns.into(), Name::new(name))
        };
        assert_eq!(budget.status.disruptions_allowed, 2);
        assert!(budget.counts(&pod("ns", "db-0", "store")));
        assert!(!budget.counts(&pod("ns", "db-1", "store")), "counted already");
        assert!(!budget.counts(&pod("other", "db-0", "store")));
        assert!(!budget.counts(&pod("ns", "db-0", "cache")));
        let empty = read(&json!({"spec": {"selector": {}}}));
        assert!(!empty.counts(&pod("ns", "db-0", "store")), "protects nothing");
    }
}
