//! File to plan: manifests, arrivals, faults, traces. Everything the user writes is read here,
//! strictly: an unknown field is named by file, line and path.

mod convert;
mod convert_pod;
mod convert_workload;
mod defaults;
pub mod error;
mod kinds;
mod lines;
pub mod manifest;
mod path;
mod readers;
pub mod source;
mod typed;
mod validate;
mod validate_pod;

pub use error::{InputError, InputErrors};
pub use manifest::{
    Loaded, Manifests, Mode, obj_from_json, parse_manifests, pod_spec_from_value, read_dump,
    read_manifests,
};
