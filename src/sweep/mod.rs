//! Many runs: what their differences amount to.
//!
//! A [`study::Study`] is cells × seeds; [`play`] plays what is missing and [`store`] keeps it;
//! [`outcome`] makes tables, pictures and a page of the runs, and of nothing else.

pub mod capacity;
pub mod done;
pub mod engines;
pub mod outcome;
pub mod page;
pub mod pictures;
pub mod play;
pub mod runs;
pub mod stats;
pub mod store;
pub mod storm;
pub mod study;
pub mod table;
pub mod verdict;
pub mod whatif;
