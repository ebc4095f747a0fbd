//! A load balancer in front of the cluster, as far as requests feel it: it spreads connections over
//! the nodes that pass its checks, and takes some checks to see that one does not.

use crate::engine::SimDuration;

/// Health checks of a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// From one to the next.
    pub every: SimDuration,
    /// So many failures in a row, and nothing is sent to the node any more.
    pub unhealthy: u32,
    /// So many successes in a row, and it is again.
    pub healthy: u32,
}

impl Default for Checks {
    /// Those of a Network Load Balancer as its controller sets them: every 10 s, three failures,
    /// three successes (source: AWS Load Balancer Controller, `healthcheck-*` annotations).
    fn default() -> Self {
        Self { every: SimDuration::from_secs(10), unhealthy: 3, healthy: 3 }
    }
}
