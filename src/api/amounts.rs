//! Amounts of containers and pods as lists by name, as documents have them.

use super::pod::{Container, PodSpec};
use super::quantity::Quantity;
use super::resources::{Named, Resources};
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by name of the resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// A resource list of a document; values were checked where it was read.
#[must_use]
pub fn amounts(list: Option<&Value>) -> Amounts {
    let pairs = list.and_then(Value::as_object).into_iter().flatten();
    pairs
        .filter_map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((name.clone(), Quantity::parse(&text).ok()?.round_to_milli()))
        })
        .collect()
}

/// Amounts as a list by name.
#[must_use]
pub fn listed(r: &Resources, named: Named) -> Amounts {
    let mut out = Amounts::new();
    if named.cpu || r.cpu_milli != 0 {
        out.insert("cpu".into(), Quantity::from_milli(r.cpu_milli));
    }
    if named.memory || r.memory != 0 {
        out.insert("memory".into(), Quantity::from_bytes(r.memory));
    }
    if r.ephemeral != 0 {
        out.insert("ephemeral-storage".into(), Quantity::from_bytes(r.ephemeral));
    }
    for (name, amount) in &r.scalars {
        out.insert(name.to_string(), Quantity::from_value(*amount));
    }
    out
}

/// Limits and requests of a container.
#[must_use]
pub fn of_container(c: &Container) -> (Amounts, Amounts) {
    (listed(&c.limits, c.limits_named), listed(&c.requests, c.requests_named))
}

/// Limits and requests of a pod: containers and sidecars together, or the largest init container.
#[must_use]
pub fn of_pod(spec: &PodSpec) -> (Amounts, Amounts) {
    let every = |named: fn(&Container) -> Named| {
        let all = || spec.containers.iter().chain(&spec.init_containers);
        Named { cpu: all().any(|c| named(c).cpu), memory: all().any(|c| named(c).memory) }
    };
    let (limits, requests) = (spec.sum(|c| c.limits.clone()), spec.sum(|c| c.requests.clone()));
    let (limited, asked) = (every(|c| c.limits_named), every(|c| c.requests_named));
    (listed(&limits, limited), listed(&requests, asked))
}

/// A list as a document has it.
#[must_use]
pub fn to_value(amounts: &Amounts) -> Value {
    amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect()
}
