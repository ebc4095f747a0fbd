//! The one integration binary: one module per subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod causes;
mod cli;
mod determinism;
mod golden;
mod golden_objects;
mod manifests;
mod real;
mod refusals;
mod scenarios;
mod stats;
mod support;
mod tidy;
mod timelines;
mod timelines_status;
