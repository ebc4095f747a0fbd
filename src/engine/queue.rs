//! The event queue: a total order by (time, seq), so that equal instants are first in, first out.
//!
//! Structure: a 4-ary heap of (time, seq) keys with their payload beside them. `benches/queue.rs`
//! keeps the candidates (std binary heap, 4- and 8-ary heap, `priority-queue`, timing wheel).
//! Cancelling marks the seq; the entry is dropped when it surfaces.

use super::time::SimTime;
use rustc_hash::FxHashSet;

/// One pending event.
#[derive(Debug, Clone, Copy)]
pub struct Entry<E> {
    /// When it happens.
    pub time: SimTime,
    /// Its number: orders equal instants and names the event in records.
    pub seq: u64,
    /// The number of the event that made it (0: the scenario itself).
    pub cause: u64,
    /// What happens.
    pub event: E,
}

impl<E> Entry<E> {
    #[inline]
    fn before(&self, other: &Self) -> bool {
        (self.time, self.seq) < (other.time, other.seq)
    }
}

/// Pending events in (time, seq) order.
#[derive(Debug, Clone)]
pub struct Queue<E> {
    heap: Vec<Entry<E>>,
    cancelled: FxHashSet<u64>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: Vec::new(), cancelled: FxHashSet::default() }
    }
}

const ARITY: usize = 4;

impl<E: Copy> Queue<E> {
    /// Adds an event.
    pub fn push(&mut self, entry: Entry<E>) {
        self.heap.push(entry);
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if !entry.before(&self.heap[parent]) {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = entry;
    }

    /// Takes the earliest event.
    pub fn pop(&mut self) -> Option<Entry<E>> {
        loop {
            let entry = self.pop_raw()?;
            if self.cancelled.is_empty() || !self.cancelled.remove(&entry.seq) {
                return Some(entry);
            }
        }
    }

    fn pop_raw(&mut self) -> Option<Entry<E>> {
        let last = self.heap.pop()?;
        let Some(&top) = self.heap.first() else { return Some(last) };
        let len = self.heap.len();
        let mut at = 0;
        loop {
            let first = at * ARITY + 1;
            if first >= len {
                break;
            }
            let mut least = first;
            for child in first + 1..(first + ARITY).min(len) {
                if self.heap[child].before(&self.heap[least]) {
                    least = child;
                }
            }
            if !self.heap[least].before(&last) {
                break;
            }
            self.heap[at] = self.heap[least];
            at = least;
        }
        self.heap[at] = last;
        Some(top)
    }

    /// When the earliest event happens.
    #[must_use]
    pub fn next_time(&mut self) -> Option<SimTime> {
        while let Some(top) = self.heap.first() {
            if self.cancelled.is_empty() || !self.cancelled.contains(&top.seq) {
                return Some(top.time);
            }
            let dropped = self.pop_raw();
            if let Some(entry) = dropped {
                self.cancelled.remove(&entry.seq);
            }
        }
        None
    }

    /// Drops a pending event by its number. The number must be of an event still in the queue.
    pub fn cancel(&mut self, seq: u64) {
        self.cancelled.insert(seq);
    }

    /// How many events are pending (cancelled ones count until they surface).
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True if nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pops_in_time_then_seq_order(times in prop::collection::vec(0_u64..50, 1..200), cancel in 0_usize..200) {
            let mut queue = Queue::default();
            for (seq, &time) in times.iter().enumerate() {
                queue.push(Entry { time: SimTime(time), seq: seq as u64, cause: 0, event: () });
            }
            let victim = (cancel % times.len()) as u64;
            queue.cancel(victim);
            let mut want: Vec<(u64, u64)> = times.iter().enumerate().map(|(s, &t)| (t, s as u64)).filter(|x| x.1 != victim).collect();
            want.sort_unstable();
            let mut got = Vec::new();
            while let Some(e) = queue.pop() {
                got.push((e.time.0, e.seq));
            }
            prop_assert_eq!(got, want);
        }
    }
}
