//! client-go's work queue: a key is in it once, is processed by one worker at a time, and one added
//! while it is processed is queued again afterwards. Retries are rate limited per key
//! (5 ms × 2^n up to 1000 s) and over all (10/s, bucket of 100); source:
//! client-go `util/workqueue/{queue,default_rate_limiters}.go`.

use super::limiter::RateLimiter;
use crate::engine::{SimDuration, SimTime};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::hash::Hash;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    queued: bool,
    processing: bool,
    /// Cause of the first wake-up that is still waiting, and how many were folded into it.
    cause: u64,
    folded: u32,
    failures: u32,
}

/// A key taken from the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<K> {
    /// The key.
    pub key: K,
    /// Cause of the first wake-up that was folded into this one.
    pub cause: u64,
    /// How many wake-ups it stands for.
    pub folded: u32,
}

/// A rate-limited, de-duplicating queue of keys.
#[derive(Debug, Clone)]
pub struct WorkQueue<K> {
    fifo: VecDeque<K>,
    states: FxHashMap<K, State>,
    overall: RateLimiter,
    base: SimDuration,
    cap: SimDuration,
}

impl<K: Copy + Eq + Hash> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::with_backoff(SimDuration::from_millis(5), SimDuration::from_secs(1000))
    }
}

impl<K: Copy + Eq + Hash> WorkQueue<K> {
    /// A queue whose retries back off from `base`, doubling up to `cap`.
    #[must_use]
    pub fn with_backoff(base: SimDuration, cap: SimDuration) -> Self {
        Self {
            fifo: VecDeque::new(),
            states: FxHashMap::default(),
            overall: RateLimiter::new(10.0, 100),
            base,
            cap,
        }
    }

    /// Adds a key; the first cause of a waiting key is kept.
    pub fn add(&mut self, key: K, cause: u64) {
        let state = self.states.entry(key).or_default();
        if state.queued {
            state.folded += 1;
            return;
        }
        state.queued = true;
        state.cause = cause;
        state.folded = 1;
        if !state.processing {
            self.fifo.push_back(key);
        }
    }

    /// Takes the next key; it is busy until [`WorkQueue::done`].
    pub fn take(&mut self) -> Option<Taken<K>> {
        let key = self.fifo.pop_front()?;
        let state = self.states.entry(key).or_default();
        state.queued = false;
        state.processing = true;
        Some(Taken { key, cause: state.cause, folded: state.folded })
    }

    /// The key has been processed; it is queued again if it was added meanwhile.
    pub fn done(&mut self, key: K) {
        let Some(state) = self.states.get_mut(&key) else { return };
        state.processing = false;
        if state.queued {
            self.fifo.push_back(key);
        } else if state.failures == 0 {
            self.states.remove(&key);
        }
    }

    /// The next retry of the key waits this long: call before [`WorkQueue::done`].
    pub fn backoff(&mut self, key: K, now: SimTime) -> SimDuration {
        let state = self.states.entry(key).or_default();
        let own = SimDuration(
            self.base.0.saturating_mul(1_u64.checked_shl(state.failures).unwrap_or(u64::MAX)),
        )
        .min(self.cap);
        state.failures = (state.failures + 1).min(62);
        let overall = self.overall.reserve(now).since(now);
        own.max(overall)
    }

    /// How often the key has failed in a row.
    #[must_use]
    pub fn failures(&self, key: K) -> u32 {
        self.states.get(&key).map_or(0, |s| s.failures)
    }

    /// The key has succeeded: its next failure backs off from the start.
    pub fn forget(&mut self, key: K) {
        if let Some(state) = self.states.get_mut(&key) {
            state.failures = 0;
            if !state.queued && !state.processing {
                self.states.remove(&key);
            }
        }
    }

    /// True if no key waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fifo.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_key_is_queued_again_once() {
        let mut queue: WorkQueue<u32> = WorkQueue::default();
        queue.add(1, 10);
        queue.add(1, 11);
        let taken = queue.take().unwrap();
        assert_eq!((taken.key, taken.cause, taken.folded), (1, 10, 2));
        queue.add(1, 12);
        assert!(queue.take().is_none());
        queue.done(1);
        assert_eq!(queue.take().map(|t| t.cause), Some(12));
    }

    #[test]
    fn retries_double() {
        let mut queue: WorkQueue<u32> = WorkQueue::default();
        let ms: Vec<u64> = (0..4).map(|_| queue.backoff(1, SimTime::ZERO).as_millis()).collect();
        assert_eq!(ms, [5, 10, 20, 40]);
        queue.forget(1);
        assert_eq!(queue.backoff(1, SimTime::ZERO).as_millis(), 5);
    }
}
