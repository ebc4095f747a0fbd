//! The one integration binary: one module per subject.

mod bad_input;
mod manifests;
mod scenarios;
mod support;
