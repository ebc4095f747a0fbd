//! The network of pods over a run: what it costs, and who had to wait for it.

use super::text::span;
use crate::api::Uid;
use crate::api::kevent::KEvent;
use crate::cluster::spec::Plan;
use crate::engine::num;
use crate::node::CniConfig;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What Events say of pods and their network.
#[derive(Debug, Clone)]
pub struct Network {
    config: Arc<CniConfig>,
    without_address: BTreeSet<Uid>,
    without_network: BTreeSet<Uid>,
}

/// The network of pods, in a summary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkSummary {
    /// The plugin.
    pub plugin: String,
    /// How packets between nodes are wrapped.
    pub encapsulation: String,
    /// MTU of pods, bytes.
    pub mtu_bytes: u32,
    /// Payload per byte on the wire between nodes, in percent of what there would be without it.
    pub goodput_percent: f64,
    /// What a request to a pod of another node takes longer, seconds.
    pub between_nodes_s: f64,
    /// Pods whose sandbox could not be made because no address was free.
    pub pods_without_address: u64,
    /// Pods that waited until their node had a network.
    pub pods_without_network: u64,
}

impl Network {
    /// That of a plan, if it describes one.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Box<Self>> {
        let config = Arc::clone(plan.cluster.cni.as_ref()?);
        let (without_address, without_network) = (BTreeSet::new(), BTreeSet::new());
        Some(Box::new(Self { config, without_address, without_network }))
    }

    /// A Kubernetes Event.
    pub fn event(&mut self, event: &KEvent) {
        match event.reason.as_str() {
            "FailedCreatePodSandBox" => self.without_address.insert(event.uid),
            "NetworkNotReady" => self.without_network.insert(event.uid),
            _other => false,
        };
    }

    /// What it amounts to.
    #[must_use]
    pub fn summary(&self) -> NetworkSummary {
        let config = &self.config;
        NetworkSummary {
            plugin: config.name.to_string(),
            encapsulation: config.encapsulation.name().to_owned(),
            mtu_bytes: config.mtu,
            goodput_percent: num::rounded(100.0 * config.goodput(), 2),
            between_nodes_s: num::rounded(config.latency.secs_f64(), 9),
            pods_without_address: self.without_address.len() as u64,
            pods_without_network: self.without_network.len() as u64,
        }
    }
}

impl NetworkSummary {
    /// What the page says of it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "Network of pods: {}, {}, MTU {}; between nodes {:.1} % of the goodput and {} more per \
             request.",
            self.plugin,
            self.encapsulation,
            self.mtu_bytes,
            self.goodput_percent,
            span(self.between_nodes_s)
        )];
        let waits = [
            (self.pods_without_address, "for an address (FailedCreatePodSandBox)"),
            (self.pods_without_network, "for the network of their node (NetworkNotReady)"),
        ];
        for (n, what) in waits.into_iter().filter(|(n, _)| *n > 0) {
            let pods = if n == 1 { "pod" } else { "pods" };
            lines.push(format!("  {n} {pods} waited {what}."));
        }
        lines
    }
}
