//! A `PodDisruptionBudget` as the scheduler reads it.

use super::labels::{Op, Requirement, Selector};
use super::{LabelSet, Meta, Name};
use crate::engine::Sym;
use serde_json::Value;

/// How many pods of a set may still be disrupted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budget {
    /// Namespace of the budget and of its pods.
    pub ns: Sym,
    /// Its name.
    pub name: Name,
    /// The pods it protects; a selector without requirements protects none here.
    pub selector: Selector,
    /// `status.disruptionsAllowed`; 0 until the disruption controller has written it.
    pub allowed: i64,
    /// `status.disruptedPods`: their disruption has been counted already.
    pub disrupted: Vec<Name>,
}

fn strings(value: Option<&Value>) -> Vec<Sym> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Sym::new)
        .collect()
}

/// A label selector out of a document that has been validated.
#[must_use]
pub fn selector(value: &Value) -> Selector {
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
        all.push(Requirement {
            key: Sym::new(text("key")),
            op,
            values: strings(one.get("values")),
        });
    }
    Selector::new(all)
}

impl Budget {
    /// Reads the document of a `PodDisruptionBudget`.
    #[must_use]
    pub fn of(meta: &Meta, doc: &Value) -> Self {
        let status = doc.get("status");
        let disrupted = status.and_then(|s| s.get("disruptedPods")).and_then(Value::as_object);
        Self {
            ns: meta.ns,
            name: meta.name,
            selector: doc.pointer("/spec/selector").map(selector).unwrap_or_default(),
            allowed: status
                .and_then(|s| s.get("disruptionsAllowed"))
                .and_then(Value::as_i64)
                .unwrap_or(0),
            disrupted: disrupted.into_iter().flatten().map(|(name, _)| Name::new(name)).collect(),
        }
    }

    /// True if the budget counts the end of this pod. A pod without labels has no budget (source:
    /// `plg/defaultpreemption` `filterPodsWithPDBViolation`).
    #[must_use]
    pub fn counts(&self, ns: Sym, name: Name, labels: LabelSet) -> bool {
        self.ns == ns
            && !labels.is_empty()
            && !self.selector.is_empty()
            && self.selector.matches(labels)
            && !self.disrupted.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read() {
        let doc = serde_json::json!({
            "spec": {"selector": {"matchLabels": {"app": "db"}, "matchExpressions":
                [{"key": "tier", "operator": "NotIn", "values": ["cache"]}]}},
            "status": {"disruptionsAllowed": 2, "disruptedPods": {"db-1": "2023-11-14T22:13:20Z"}},
        });
        let budget = Budget::of(&Meta::named("ns".into(), "b".into()), &doc);
        let labels = LabelSet::new([("app".into(), "db".into())]);
        assert_eq!(budget.allowed, 2);
        assert!(budget.counts("ns".into(), Name::new("db-0"), labels));
        assert!(!budget.counts("ns".into(), Name::new("db-1"), labels), "counted already");
        assert!(!budget.counts("other".into(), Name::new("db-0"), labels));
        assert!(!budget.counts(
            "ns".into(),
            Name::new("db-0"),
            labels.with("tier".into(), "cache".into())
        ));
        let empty = Budget::of(
            &Meta::named("ns".into(), "b".into()),
            &serde_json::json!({"spec": {"selector": {}}}),
        );
        assert!(!empty.counts("ns".into(), Name::new("db-0"), labels), "protects nothing");
    }
}
