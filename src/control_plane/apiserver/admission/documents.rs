//! Amounts written into spec and document of a pod.

use crate::api::amounts::{of_container, to_value};
use crate::api::pod::{Container, PodSpec};
use crate::api::quantity::Quantity;
use crate::engine::Sym;
use serde_json::{Value, json};
use std::sync::Arc;

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
            entry["resources"] =
                json!({"limits": to_value(&limits), "requests": to_value(&requests)});
        }
    }
}
