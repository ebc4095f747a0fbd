//! Many runs: what their differences amount to.

pub mod capacity;
pub mod runs;
pub mod stats;
pub mod storm;
pub mod table;
pub mod whatif;
