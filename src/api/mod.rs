//! The objects as the simulator sees them, and pure helpers over them; no behaviour over time.
//!
//! Every object is a compact typed view plus, where the view does not hold everything, the shared
//! original document, so that patch, apply and "YAML as kubectl prints it" lose nothing.

pub mod amounts;
pub mod autoscaling;
pub mod behaviour;
pub mod by_object;
mod cidr;
pub mod conditions;
pub mod cronjob;
pub mod gpu;
pub mod kevent;
pub mod kind;
pub mod labels;
pub mod lease;
pub mod meta;
pub mod name;
pub mod node;
pub mod object;
mod on_node;
pub mod pdb;
pub mod placement;
pub mod pod;
pub mod qos;
pub mod quantity;
pub mod quota;
pub mod request;
pub mod resources;
pub mod service;
pub mod storage;
pub mod version;
pub mod versions;
pub mod work;
pub mod workload;

pub use by_object::ByObject;
pub use cidr::Cidr;
pub use kind::Kind;
pub use labels::{LabelSet, Selector};
pub use lease::Lease;
pub use meta::{Meta, Owner, Stamp, Uid};
pub use name::Name;
pub use object::Obj;
pub use pod::{Pod, PodSpec, PodStatus};
