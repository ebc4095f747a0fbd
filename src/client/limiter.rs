//! The client's token bucket (source: client-go `util/flowcontrol/throttle.go`): it says when a
//! request may leave.

use crate::engine::{SimDuration, SimTime, num};

/// A token bucket: `burst` requests at once, then one every `1 / qps` seconds.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    per_token_ns: u64,
    burst: u64,
    /// When the bucket will be (or was) full.
    full_at: SimTime,
}

impl RateLimiter {
    /// A full bucket; a rate of 0 or less does not limit.
    #[must_use]
    pub fn new(qps: f64, burst: u32) -> Self {
        let per_token_ns = if qps > 0.0 { num::trunc_u(1e9 / qps + 0.5) } else { 0 };
        Self { per_token_ns, burst: u64::from(burst.max(1)), full_at: SimTime::ZERO }
    }

    /// Takes a token and says when the request leaves: now, or when the token is there.
    pub fn reserve(&mut self, now: SimTime) -> SimTime {
        let base = self.full_at.max(now);
        self.full_at = base + SimDuration(self.per_token_ns);
        let filled = SimDuration(self.per_token_ns.saturating_mul(self.burst));
        now.max(self.full_at - filled)
    }
}
