//! Quality of service, which the API server fixes when a pod is created.

use super::pod::{PodSpec, Qos};
use super::quantity::Quantity;
use super::resources::Resources;

impl PodSpec {
    /// The class of pods with this spec. Only cpu and memory count, and only amounts above zero.
    /// Source: `apis/core/v1/helper/qos/qos.go` `ComputePodQOS`.
    #[must_use]
    pub fn qos(&self) -> Qos {
        if let Some((requests, _)) = &self.pod_level {
            return class(requests, &self.pod_level_limits(), true);
        }
        let (mut requests, mut limits) = (Resources::default(), Resources::default());
        let mut all_limited = true;
        for container in self.containers.iter().chain(&self.init_containers) {
            requests.add(&container.requests);
            limits.add(&container.limits);
            all_limited &= container.limits.cpu_milli > 0 && container.limits.memory > 0;
        }
        class(&requests, &limits, all_limited)
    }

    /// Limits of the pod as a whole are read for this purpose only, so the document has them.
    fn pod_level_limits(&self) -> Resources {
        let amount = |name: &str| {
            let text = self.doc.as_ref()?.pointer(&format!("/resources/limits/{name}"))?;
            let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
            Quantity::parse(&text).ok()
        };
        Resources {
            cpu_milli: amount("cpu").map_or(0, Quantity::milli_value),
            memory: amount("memory").map_or(0, Quantity::value),
            ..Resources::default()
        }
    }
}

fn class(requests: &Resources, limits: &Resources, all_limited: bool) -> Qos {
    let amounts = |r: &Resources| (r.cpu_milli, r.memory);
    if amounts(requests) == (0, 0) && amounts(limits) == (0, 0) {
        return Qos::BestEffort;
    }
    let limited = all_limited && limits.cpu_milli > 0 && limits.memory > 0;
    if limited && amounts(requests) == amounts(limits) { Qos::Guaranteed } else { Qos::Burstable }
}
