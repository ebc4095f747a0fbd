//! A Lease (`coordination.k8s.io/v1`): who holds something, and when they last said so.

use super::meta::Meta;
use crate::engine::{SimTime, Sym};

/// A Lease. Its instants are written with microseconds (`MicroTime`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lease {
    /// Metadata.
    pub meta: Meta,
    /// `holderIdentity`; empty once released.
    pub holder: Sym,
    /// `leaseDurationSeconds`.
    pub duration_s: u32,
    /// `acquireTime`; none for a node's lease.
    pub acquired: Option<SimTime>,
    /// `renewTime`.
    pub renewed: SimTime,
    /// `leaseTransitions`: how often the holder has changed.
    pub transitions: u32,
}
