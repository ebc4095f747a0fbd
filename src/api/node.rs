//! Nodes.

use super::meta::Meta;
use super::pod::{Conditions, Taint};
use super::resources::Resources;
use crate::engine::Sym;
use std::sync::Arc;

/// A node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// Metadata.
    pub meta: Meta,
    /// `spec.unschedulable` (cordoned).
    pub unschedulable: bool,
    /// `spec.taints`.
    pub taints: Arc<[Taint]>,
    /// `spec.podCIDR`, if given.
    pub pod_cidr: Sym,
    /// `spec.providerID`, if given.
    pub provider_id: Sym,
    /// Status.
    pub status: NodeStatus,
    /// The original document, if it came from a file.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// Node status.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeStatus {
    /// What the machine has.
    pub capacity: Arc<Resources>,
    /// What pods may use.
    pub allocatable: Arc<Resources>,
    /// Conditions.
    pub conditions: Conditions,
    /// When the kubelet last reported (`lastHeartbeatTime` of its conditions), nanoseconds.
    pub heartbeat_ns: u64,
    /// Images on the node: names and size in bytes.
    pub images: Arc<[NodeImage]>,
    /// `volumesInUse`: what its kubelet mounts, has mounted or is about to mount. Nothing of it is
    /// detached while the node is well.
    pub volumes_in_use: Arc<[Sym]>,
    /// `volumesAttached`: what the attach-detach controller has attached.
    pub volumes_attached: Arc<[Sym]>,
}

/// An image on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// All names of the image.
    pub names: Vec<Sym>,
    /// Size in bytes.
    pub size: i64,
}

/// Well-known label, taint and annotation keys.
pub mod keys {
    /// Annotation of a node whose volumes the attach-detach controller attaches.
    pub const CONTROLLER_ATTACHES: &str = "volumes.kubernetes.io/controller-managed-attach-detach";
    /// Zone label.
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    /// Region label.
    pub const REGION: &str = "topology.kubernetes.io/region";
    /// Label of the machine type.
    pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
    /// Taint of a node that the cloud's controllers have not seen to yet.
    pub const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
    /// Taint of a node whose machine is shut down.
    pub const SHUT_DOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";
    /// Hostname label.
    pub const HOSTNAME: &str = "kubernetes.io/hostname";
    /// Label and taint of a node of the control plane.
    pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
    /// Taint of a node whose Ready condition is False.
    pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
    /// Taint of a node whose Ready condition is Unknown.
    pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
    /// Taint by which an operator says that a node is off and stays off.
    pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
    /// Taint of a cordoned node.
    pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
    /// Taint under memory pressure.
    pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
    /// Taint under disk pressure.
    pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
    /// Taint under PID pressure.
    pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
    /// Taint while the network is not set up.
    pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";
}
