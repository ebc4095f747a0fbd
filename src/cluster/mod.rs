//! Assembly: what a run consists of ([`spec`]), the owner of all components, the wiring.

pub mod spec;
