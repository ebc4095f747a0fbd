//! The plugins of the default profile, one file each, and the table of them.

pub mod balanced;
pub mod default_preemption;
pub mod dynamic_resources;
pub mod fit;
pub mod image_locality;
pub mod interpod;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_unschedulable;
pub mod node_volume_limits;
pub mod registry;
pub mod scheduling_gates;
pub mod spread;
pub mod taint_toleration;
pub mod volume_binding;
pub mod volume_restrictions;
pub mod volume_zone;
