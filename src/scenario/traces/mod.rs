//! Recorded workloads: one importer each. An importer reads tables row by row and never holds one
//! as text (`openb` and `simkube` read a file as a whole); what becomes of each column stands at
//! its top, and what is not modelled is said in the report of every run.

mod azure;
mod dlrm;
pub mod file;
mod google;
pub mod openb;
pub mod outages;
mod philly;
pub(crate) mod recorded;
mod rows;
pub(crate) mod simkube;
mod surf;
mod swf;
mod table;
