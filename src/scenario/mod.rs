//! File to plan: manifests, arrivals, faults, traces. Everything the user writes is read here,
//! strictly: an unknown field is named by file, line and path.

pub mod dump;
pub mod error;
pub mod load;

pub mod file;
mod place;
pub mod presets;
mod report;
mod schema;
mod set;
pub mod value;

mod added;
mod ailments;
mod arrivals;
mod behaviour;
pub mod cloud;
pub mod cni;
pub mod drivers;
mod expect;
mod faults;
pub mod images;
pub mod kubelet;
pub mod logging;
mod machines;
mod names;
mod objects;
mod plan;
mod plan_pod;
mod policies;
mod pools;
mod routes;
mod steps;
mod sweepfile;
mod target;
pub mod traces;
pub(crate) mod traffic;

mod breakage;
mod convert;
mod convert_control;
mod convert_pod;
mod convert_storage;
mod convert_workload;
mod defaults;
mod files;
mod kinds;
mod lines;
pub mod manifest;
mod outages;
mod path;
mod planes;
mod readers;
mod scheduler;
pub mod source;
mod typed;
pub mod usage;
mod validate;
mod validate_pod;
mod work;

pub use dump::load_or_dump;
pub use error::{InputError, InputErrors};
pub use files::read_trace;
pub use load::{Inputs, LoadOptions, Loaded, load, load_with, parse};
pub(crate) use place::suggest;

pub use manifest::{
    Manifests, Mode, obj_from_json, parse_manifests, pod_spec_from_value, read_dump, read_manifests,
};
pub use scheduler::scheduler_config_from_json;
pub use schema::schema;
pub use sweepfile::{SEEDS_HINT, Sweep, SweepCell, SweepFile, load_sweep, seeds, sweep_schema};
