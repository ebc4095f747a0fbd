//! File to plan: manifests, arrivals, faults, traces. Everything the user writes is read here,
//! strictly: an unknown field is named by file, line and path.

pub mod error;
pub mod load;

pub mod file;
mod place;
mod report;
mod schema;
mod set;
pub mod value;

mod arrivals;
mod expect;
mod faults;
mod names;
mod objects;
mod plan;
mod plan_pod;
mod pools;
mod steps;
mod target;
pub mod traces;

mod files;
mod lines;
pub mod manifest;
mod path;
pub mod source;
mod typed;

pub use error::{InputError, InputErrors};
pub use load::{LoadOptions, Loaded, load, load_with};
pub use schema::schema;
