//! Services, as those who act on them read them (the object itself is kept as its document), and
//! the addresses behind them.

use super::Name;
use super::labels::Selector;
use super::meta::{Meta, Uid};
use super::pod::Protocol;
use super::workload::Generic;
use crate::engine::Sym;
use serde_json::Value;
use std::sync::Arc;

/// A Service.
#[expect(clippy::struct_excessive_bools, reason = "independent fields of its spec")]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Service {
    /// Metadata.
    pub meta: Meta,
    /// `spec.selector`; none if it is absent or empty: then nobody keeps its endpoints.
    pub selector: Option<Selector>,
    /// `spec.ports`.
    pub ports: Arc<[ServicePort]>,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.trafficDistribution`.
    pub distribution: Distribution,
    /// `spec.type: ExternalName`: it has no endpoints.
    pub external_name: bool,
    /// `spec.clusterIP: None`.
    pub headless: bool,
    /// `spec.internalTrafficPolicy: Local`: clients in the cluster reach endpoints of their own
    /// node alone.
    pub internal_local: bool,
    /// `spec.externalTrafficPolicy: Local`: so do those that come from outside.
    pub external_local: bool,
    /// `spec.type`: it has a port on each node.
    pub node_port: bool,
    /// `spec.type: LoadBalancer`.
    pub load_balancer: bool,
}

impl Service {
    /// Reads the document of a Service that has been validated.
    #[must_use]
    pub fn of(object: &Generic) -> Self {
        let spec = |key: &str| object.doc.get("spec").and_then(|s| s.get(key));
        let text = |key: &str| spec(key).and_then(Value::as_str);
        let labels = spec("selector").and_then(Value::as_object).filter(|l| !l.is_empty());
        let pair =
            |(k, v): (&String, &Value)| (Sym::new(k), Sym::new(v.as_str().unwrap_or_default()));
        let ports = spec("ports").and_then(Value::as_array).into_iter().flatten();
        Self {
            meta: object.meta.clone(),
            selector: labels.map(|l| Selector::of_labels(l.iter().map(pair))),
            ports: ports.map(ServicePort::of).collect(),
            publish_not_ready: spec("publishNotReadyAddresses") == Some(&Value::Bool(true)),
            distribution: match text("trafficDistribution") {
                Some("PreferClose" | "PreferSameZone") => Distribution::SameZone,
                Some("PreferSameNode") => Distribution::SameNode,
                Some(_) | None => Distribution::None,
            },
            external_name: text("type") == Some("ExternalName"),
            headless: text("clusterIP") == Some("None"),
            internal_local: text("internalTrafficPolicy") == Some("Local"),
            external_local: text("externalTrafficPolicy") == Some("Local"),
            node_port: matches!(text("type"), Some("NodePort" | "LoadBalancer")),
            load_balancer: text("type") == Some("LoadBalancer"),
        }
    }
}

/// A port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; may be empty.
    pub name: Sym,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the Service.
    pub port: u16,
    /// Port of the pods.
    pub target: TargetPort,
}

impl ServicePort {
    fn of(doc: &Value) -> Self {
        let text = |key: &str| doc.get(key).and_then(Value::as_str);
        let number = |value: Option<&Value>| {
            value.and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)
        };
        let port = number(doc.get("port")).unwrap_or(0);
        Self {
            name: Sym::new(text("name").unwrap_or_default()),
            protocol: match text("protocol") {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                Some(_) | None => Protocol::Tcp,
            },
            port,
            target: match text("targetPort") {
                Some(name) => TargetPort::Name(Sym::new(name)),
                None => TargetPort::Number(number(doc.get("targetPort")).unwrap_or(port)),
            },
        }
    }
}

/// `targetPort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container port.
    Name(Sym),
}

/// `trafficDistribution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distribution {
    /// Not given.
    #[default]
    None,
    /// `PreferClose` or `PreferSameZone`.
    SameZone,
    /// `PreferSameNode`.
    SameNode,
}

/// A port of an `EndpointSlice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndpointPort {
    /// Name; may be empty.
    pub name: Sym,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the pods.
    pub port: u16,
}

/// Label of a slice: the Service that it is of (source: `discovery/v1` `LabelServiceName`).
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Up to a hundred addresses of a Service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EndpointSlice {
    /// Metadata.
    pub meta: Meta,
    /// Ports, which all endpoints of the slice share.
    pub ports: Arc<[EndpointPort]>,
    /// Endpoints.
    pub endpoints: Arc<[Endpoint]>,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<Value>>,
}

/// One address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// IPv4 address.
    pub ip: u32,
    /// `conditions.ready`.
    pub ready: bool,
    /// `conditions.serving`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
    /// `nodeName`.
    pub node: Sym,
    /// `zone`; may be empty.
    pub zone: Sym,
    /// `hints.forZones` (one zone); empty for none.
    pub hint_zone: Sym,
    /// `hints.forNodes` (one node); empty for none.
    pub hint_node: Sym,
    /// `targetRef`: the pod.
    pub pod: Name,
    /// Identity of the pod.
    pub uid: Uid,
}

/// All addresses of a Service in one object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Endpoints {
    /// Metadata.
    pub meta: Meta,
    /// Per distinct ports: ports, ready addresses, addresses not ready.
    pub subsets: Vec<Subset>,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<Value>>,
}

/// Addresses with the same ports.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Subset {
    /// Ports.
    pub ports: Arc<[EndpointPort]>,
    /// Ready addresses with their pods.
    pub ready: Vec<Address>,
    /// Addresses that are not ready.
    pub not_ready: Vec<Address>,
}

/// An address of [`Endpoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Address {
    /// IPv4 address.
    pub ip: u32,
    /// Node.
    pub node: Sym,
    /// Pod.
    pub pod: Name,
    /// Identity of the pod.
    pub uid: Uid,
}
