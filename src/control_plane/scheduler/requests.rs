//! What a pod on a node counts for (source: component-helpers `resource/helpers.go`, scheduler
//! `framework/types.go` `calculateResource`). The pod in hand is simpler: `PodSpec` holds its sums.

use crate::api::Pod;
use crate::api::pod::{Container, PodSpec, Resized};
use crate::api::resources::{DEFAULT_MEMORY, DEFAULT_MILLI_CPU, Named, Resources};
use std::borrow::Cow;

/// What a pod on a node counts for: true requests, and cpu and memory for Fit scoring.
#[derive(Debug)]
pub struct Accounted<'a> {
    /// Requests for Filter and BalancedAllocation.
    pub requests: Cow<'a, Resources>,
    /// CPU (milli) and memory (bytes) with the defaults for containers that name none.
    pub nonzero: (i64, i64),
}

/// What `pod` counts for once it is on a node.
#[must_use]
pub fn accounted(pod: &Pod) -> Accounted<'_> {
    let spec = &*pod.spec;
    if spec.pod_level.is_none() && pod.status.resized.is_none() {
        return Accounted { requests: Cow::Borrowed(&spec.requests), nonzero: spec.nonzero };
    }
    let resized = pod.status.resized.as_deref();
    let (mut requests, named) = sum(spec, resized, Named { cpu: true, memory: true });
    override_by_pod_level(spec, &mut requests);
    let mut total_named = named;
    if let Some((_, pod_level)) = &spec.pod_level {
        total_named.cpu |= pod_level.cpu;
        total_named.memory |= pod_level.memory;
    } else {
        total_named = Named::default();
    }
    // With pod-level requests the defaults count only for a resource that the total lacks.
    let (mut scored, _) = sum(spec, resized, total_named);
    override_by_pod_level(spec, &mut scored);
    let nonzero =
        (scored.cpu_milli + spec.overhead.cpu_milli, scored.memory + spec.overhead.memory);
    requests.add(&spec.overhead);
    Accounted { requests: Cow::Owned(requests), nonzero }
}

fn override_by_pod_level(spec: &PodSpec, total: &mut Resources) {
    let Some((pod_level, named)) = &spec.pod_level else { return };
    if named.cpu {
        total.cpu_milli = pod_level.cpu_milli;
    }
    if named.memory {
        total.memory = pod_level.memory;
    }
    for &(name, amount) in &pod_level.scalars {
        total.set_scalar(name, amount);
    }
}

/// The sum over containers; `plain` says for which resources no default is put in. Also says which
/// resources any container names.
fn sum(spec: &PodSpec, resized: Option<&Resized>, plain: Named) -> (Resources, Named) {
    let mut any = Named::default();
    let mut of = |container: &Container| {
        let (mut requests, named) = in_force(container, resized);
        any.cpu |= named.cpu;
        any.memory |= named.memory;
        if !plain.cpu && !named.cpu {
            requests.cpu_milli = DEFAULT_MILLI_CPU;
        }
        if !plain.memory && !named.memory {
            requests.memory = DEFAULT_MEMORY;
        }
        requests
    };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in &spec.init_containers {
        let own = of(container);
        let mut here = sidecars.clone();
        here.add(&own);
        if container.sidecar {
            total.add(&own);
            sidecars = here.clone();
        }
        peak.max(&here);
    }
    total.max(&peak);
    (total, any)
}

/// A container's requests in force, and which of cpu and memory they name: the largest of spec,
/// allocated and actual; without the spec if the resize asked for is infeasible.
fn in_force(container: &Container, resized: Option<&Resized>) -> (Resources, Named) {
    let spec = (container.requests.clone(), container.requests_named);
    let Some(resized) = resized else { return spec };
    let status = resized.containers.iter().find(|(name, ..)| *name == container.name);
    // Only a status with `resources` counts at all; plain init containers are never resized.
    let Some((_, allocated, Some(actual))) = status else { return spec };
    let (mut requests, mut named) =
        if resized.infeasible { (Resources::default(), Named::default()) } else { spec };
    for amounts in [Some(actual), allocated.as_ref()].into_iter().flatten() {
        requests.max(amounts);
        named.cpu |= amounts.cpu_milli > 0;
        named.memory |= amounts.memory > 0;
    }
    (requests, named)
}
