//! Amounts of containers and pods as lists by name, and back into spec and document.

use crate::api::pod::{Container, PodSpec};
use crate::api::quantity::Quantity;
use crate::api::resources::{Named, Resources};
use crate::engine::Sym;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Amounts by name of the resource.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// A resource list of a document; values were checked where it was read.
pub(super) fn amounts(list: Option<&Value>) -> Amounts {
    let pairs = list.and_then(Value::as_object).into_iter().flatten();
    pairs
        .filter_map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((name.clone(), Quantity::parse(&text).ok()?.round_to_milli()))
        })
        .collect()
}

/// Amounts as a list by name.
pub(super) fn listed(r: &Resources, named: Named) -> Amounts {
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
pub(super) fn of_container(c: &Container) -> (Amounts, Amounts) {
    (listed(&c.limits, c.limits_named), listed(&c.requests, c.requests_named))
}

/// Limits and requests of a pod: containers and sidecars together, or the largest init container.
pub(super) fn of_pod(spec: &PodSpec) -> (Amounts, Amounts) {
    let every = |named: fn(&Container) -> Named| {
        let all = || spec.containers.iter().chain(&spec.init_containers);
        Named { cpu: all().any(|c| named(c).cpu), memory: all().any(|c| named(c).memory) }
    };
    let (limits, requests) = (spec.sum(|c| c.limits.clone()), spec.sum(|c| c.requests.clone()));
    let (limited, asked) = (every(|c| c.limits_named), every(|c| c.requests_named));
    (listed(&limits, limited), listed(&requests, asked))
}

/// Sets one amount: a limit, or else a request.
pub(super) fn set(c: &mut Container, limit: bool, name: &str, amount: Quantity) {
    let (r, named) = if limit {
        (&mut c.limits, &mut c.limits_named)
    } else {
        (&mut c.requests, &mut c.requests_named)
    };
    match name {
        "cpu" => {
            r.cpu_milli = amount.milli_value();
            named.cpu = true;
        }
        "memory" => {
            r.memory = amount.value();
            named.memory = true;
        }
        "ephemeral-storage" => r.ephemeral = amount.value(),
        other => r.set_scalar(Sym::new(other), amount.value()),
    }
}

/// Writes the containers' resources into the spec's document, and sums them up anew.
pub(super) fn resources(spec: &mut PodSpec) {
    spec.sum_requests();
    let Some(doc) = &mut spec.doc else { return };
    let doc = Arc::make_mut(doc);
    for (key, list) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)]
    {
        let Some(entries) = doc.get_mut(key).and_then(Value::as_array_mut) else { continue };
        for (entry, container) in entries.iter_mut().zip(list) {
            let (limits, requests) = of_container(container);
            let text = |a: &Amounts| {
                a.iter().map(|(n, q)| (n.clone(), Value::from(q.to_string()))).collect::<Value>()
            };
            entry["resources"] = json!({"limits": text(&limits), "requests": text(&requests)});
        }
    }
}
