//! The one integration binary: one module per subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod golden;
mod golden_objects;
mod manifests;
mod scenarios;
mod support;
mod timelines;
mod timelines_status;
