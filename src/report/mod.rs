//! What people and other programs read: exports, tables, plots. Observers only.

pub mod export;
mod export_pod;
