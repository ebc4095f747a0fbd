//! File to plan: manifests, arrivals, faults, traces. Everything the user writes is read here,
//! strictly: an unknown field is named by file, line and path.

pub mod error;

pub use error::{InputError, InputErrors};
