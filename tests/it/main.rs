//! The one integration binary: one module per subject.

mod bad_input;
mod golden;
mod golden_objects;
mod manifests;
mod scenarios;
mod support;
