//! Wavetank: a deterministic discrete-event simulator of a whole Kubernetes cluster.
//!
//! # The tour of the house
//!
//! Modules stand in reading order; each imports only those before it (`tests/it/tidy.rs` holds them
//! to it). [`engine`] is time and chance; [`api`] the objects; [`event`] everything that can
//! happen, on one page; [`client`] the one road to the API server; [`control_plane`] and [`node`]
//! the components, which never import each other; [`cluster`] owns them all and wires them in one
//! match; [`scenario`] turns files into a plan; [`session`] plays it, forwards and backwards;
//! [`report`] observes; [`sweep`] runs many; [`cli`] is what people type.
//!
//! # The ordering contract
//!
//! Events are totally ordered by `(time, seq)`: of one instant, first scheduled is first handled.
//! Time never runs back. Every event, and every hop inside one, has a number (`seq`) and a cause.
//! Nothing else decides an order: no hash map's, no thread's, no pointer's.

pub mod engine;

pub mod api;

pub mod event;

pub mod client;

pub mod control_plane;

pub mod node;

pub mod addons;

pub mod traffic;

pub mod cluster;

pub mod scenario;

pub mod session;

pub mod report;

pub mod sweep;

pub mod cli;
