//! The one integration binary: one module per subject.

mod manifests;
mod support;
