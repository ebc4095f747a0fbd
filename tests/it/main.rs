//! The one integration binary.

mod golden;
mod golden_objects;
mod support;
