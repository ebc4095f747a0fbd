//! What requests to Services come to, as rates that hold from one change to the next: facts of the
//! simulated world. `traffic/` writes them; observers integrate them over time, and the metrics
//! server reads what serving costs. No request is an event, so that twice as many of them cost
//! nothing more.

use crate::api::Uid;
use crate::engine::num;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Why a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cause {
    /// The name was not resolved: no DNS server answered in time.
    NoDns,
    /// The Service has no endpoint in the rules of the client's node: REJECT.
    NoEndpoints,
    /// The pod is there, but its program does not listen (yet, or any more).
    Refused,
    /// Nobody answers at the address: its pod is gone, its node is down or out of reach.
    Unreachable,
    /// The program ended while it was at work on the request.
    Reset,
    /// The pod's queue was full.
    Overloaded,
    /// The answer came after the client had given up.
    TimedOut,
}

/// Number of causes.
pub const CAUSES: usize = 7;

impl Cause {
    /// All of them, in order.
    pub const ALL: [Self; CAUSES] = [
        Self::NoDns,
        Self::NoEndpoints,
        Self::Refused,
        Self::Unreachable,
        Self::Reset,
        Self::Overloaded,
        Self::TimedOut,
    ];

    /// As the report says it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoDns => "name not resolved",
            Self::NoEndpoints => "no endpoints",
            Self::Refused => "connection refused",
            Self::Unreachable => "no answer from the address",
            Self::Reset => "connection lost at work",
            Self::Overloaded => "queue full",
            Self::TimedOut => "client timed out",
        }
    }

    /// As a column is called.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::NoDns => "no_dns",
            Self::NoEndpoints => "no_endpoints",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Overloaded => "overloaded",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Spans of a [`Latencies`].
pub const BUCKETS: usize = 128;
/// Where its first span ends, seconds, and how much longer each is than the one before: 0.1 ms to
/// 29 minutes, in steps of 14 %.
const FIRST_S: f64 = 1e-4;
/// Logarithm of 1.14.
const STEP: f64 = 0.131_028_262_406_404;

/// A distribution of latencies: weights by span, each 14 % longer than the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies([f64; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self([0.0; BUCKETS])
    }
}

impl Latencies {
    /// The span of a latency in seconds.
    fn bucket(s: f64) -> usize {
        if s <= FIRST_S {
            return 0;
        }
        let at = num::ln(s / FIRST_S) / STEP;
        num::index(num::trunc_u(at) + 1).min(BUCKETS - 1)
    }

    /// Adds weight at a latency in seconds.
    pub fn add(&mut self, s: f64, weight: f64) {
        self.0[Self::bucket(s)] += weight;
    }

    /// Adds another one, so many times.
    pub fn add_all(&mut self, other: &Self, times: f64) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs * times;
        }
    }

    /// All weight.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// The latency in seconds below which a share of the weight lies; none without weight.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.total();
        if total <= 0.0 {
            return None;
        }
        let mut below = 0.0;
        for (i, weight) in self.0.iter().enumerate() {
            let next = below + weight;
            if next >= share * total && *weight > 0.0 {
                // Within a span the logarithm is spread evenly.
                let within = (share * total - below) / weight;
                let steps = num::float(num::i64_of(i)) - 1.0 + within.clamp(0.0, 1.0);
                return Some(FIRST_S * num::exp(steps * STEP));
            }
            below = next;
        }
        None
    }

    /// Takes what lies above a latency away, and gives its weight.
    pub fn cut(&mut self, s: f64) -> f64 {
        let from = Self::bucket(s);
        // The span that holds the bound is divided as its logarithm is.
        let low = FIRST_S * num::exp((num::float(num::i64_of(from)) - 1.0) * STEP);
        let inside = (num::ln(s / low) / STEP).clamp(0.0, 1.0);
        let part = self.0[from] * (1.0 - inside);
        self.0[from] -= part;
        part + self.0[from + 1..].iter_mut().map(std::mem::take).sum::<f64>()
    }
}

/// What the requests of one row of traffic come to, from now on: all per second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Flow {
    /// Requests sent.
    pub offered: f64,
    /// Requests that fail, by cause.
    pub failing: [f64; CAUSES],
    /// Latencies of those that are answered, weighted by their rate.
    pub latency: Arc<Latencies>,
}

impl Flow {
    /// Requests answered in time.
    #[must_use]
    pub fn answered(&self) -> f64 {
        (self.offered - self.failing.iter().sum::<f64>()).max(0.0)
    }
}

/// Traffic as all others see it.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// True if a scenario has any: only then is told what touches it.
    pub on: bool,
    /// Pods whose containers may have begun or ceased to listen in the event in hand.
    pub touched: Vec<Uid>,
    /// Nodes on which anything may have.
    pub struck: Vec<u32>,
    /// By row of traffic: the present rates.
    pub flows: Vec<Flow>,
    /// Core-seconds that pods have spent on requests since the last scrape.
    pub spent: FxHashMap<Uid, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_span_of_the_truth() {
        let mut all = Latencies::default();
        (1..=1000).for_each(|ms| all.add(f64::from(ms) / 1000.0, 1.0));
        for (share, truth) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99)] {
            let found = all.quantile(share).unwrap();
            // A span is 14 % wide.
            assert!((found / truth - 1.0).abs() < 0.14, "{share}: {found}");
        }
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn what_is_cut_off_and_what_stays_are_all() {
        let mut all = Latencies::default();
        (1..=1000).for_each(|ms| all.add(f64::from(ms) / 1000.0, 1.0));
        let late = all.cut(0.9);
        assert!((late - 100.0).abs() < 15.0, "{late}");
        assert!((late + all.total() - 1000.0).abs() < 1e-6);
        assert!(all.quantile(1.0).unwrap() <= 0.9 * 1.14);
    }
}
