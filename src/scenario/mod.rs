//! File to plan: manifests, arrivals, faults, traces. Everything the user writes is read here,
//! strictly: an unknown field is named by file, line and path.

pub mod error;
mod lines;
mod path;
pub mod source;
mod typed;

pub use error::{InputError, InputErrors};
