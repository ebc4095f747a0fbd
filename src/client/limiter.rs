//! Client-side rate limits: a token bucket that says when a request may leave.

use crate::engine::{SimDuration, SimTime, num};

/// A token bucket of `burst` tokens refilled at `qps`; a caller reserves a token and waits until it
/// is there, in order of asking (source: client-go `util/flowcontrol/throttle.go`).
#[derive(Debug, Clone)]
pub struct RateLimiter {
    /// Nanoseconds per token; 0 for no limit.
    gap: u64,
    burst: u64,
    /// When the bucket would be full again if nobody asked (virtual scheduling).
    full_at: SimTime,
}

impl RateLimiter {
    /// A bucket; `qps` ≤ 0 means no limit.
    #[must_use]
    pub fn new(qps: f64, burst: u32) -> Self {
        let gap = if qps > 0.0 { num::trunc_u(1e9 / qps) } else { 0 };
        Self { gap, burst: u64::from(burst.max(1)), full_at: SimTime::ZERO }
    }

    /// One that refills so many times faster.
    #[must_use]
    pub fn faster(self, times: u64) -> Self {
        Self { gap: self.gap / times.max(1), ..self }
    }

    /// Takes a token; gives the instant (now or later) at which the request may leave.
    pub fn reserve(&mut self, now: SimTime) -> SimTime {
        if self.gap == 0 {
            return now;
        }
        let start = self.full_at.max(now);
        self.full_at = start + SimDuration(self.gap);
        // The bucket holds `burst` tokens: the request waits only when more are owed.
        let allowance = SimDuration(self.gap * self.burst);
        now.max(self.full_at - allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_goes_at_once_and_the_rest_at_qps() {
        let mut limiter = RateLimiter::new(10.0, 3);
        let at: Vec<u64> = (0..5).map(|_| limiter.reserve(SimTime::ZERO).0 / 1_000_000).collect();
        assert_eq!(at, [0, 0, 0, 100, 200]);
        assert_eq!(limiter.reserve(SimTime::from_secs(10)), SimTime::from_secs(10));
    }
}
