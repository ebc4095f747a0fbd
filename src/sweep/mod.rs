//! Many runs: what their differences amount to.

pub mod stats;
pub mod table;
