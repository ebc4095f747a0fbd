//! Recorded workloads: one importer each.

pub mod openb;
pub mod outages;
