//! The one integration test binary.

mod bad_input;
mod scenarios;
