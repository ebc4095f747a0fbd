//! Recorded workloads: one importer each.

pub mod openb;
