//! The event queue: a total order by (time, seq), so that equal instants are first in, first out.
//!
//! Structure: a calendar. Time is cut into buckets of 2^20 ns; the next 4096 of them (4.3 s) are
//! kept as unsorted lists, found through a bitmap; the bucket in hand is sorted, and what is
//! scheduled into it while it is in hand goes to a small heap beside it; what lies beyond the
//! calendar waits in a 4-ary heap. Most events of a control plane happen within milliseconds, so
//! they never touch the heap. The lists run through one slab whose free places are used last in,
//! first out: the few entries of a quiet cluster stay in the nearest cache, where a vector per
//! bucket would not. `benches/queue.rs` keeps the candidates (std binary heap, 4- and 8-ary heap,
//! `BTreeMap`, `priority-queue`). Cancelling marks the seq; the entry is dropped when it surfaces.

use super::num;
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
    fn key(&self) -> (SimTime, u64) {
        (self.time, self.seq)
    }
}

/// A bucket is 2^20 ns wide, about a millisecond.
const WIDTH_BITS: u32 = 20;
/// Buckets of the calendar.
const BUCKETS: usize = 4096;
/// Words of the bitmap of buckets that hold something.
const WORDS: usize = BUCKETS / 64;

/// The end of a list.
const END: u32 = u32::MAX;

/// Pending events in (time, seq) order.
#[derive(Debug, Clone)]
pub struct Queue<E> {
    /// The bucket in hand, latest first: the next event is at the end.
    current: Vec<Entry<E>>,
    /// Scheduled into the bucket in hand since it was sorted. To insert them in order would move
    /// all that is later, which a storm of events within a millisecond makes dear.
    fresh: Heap<E>,
    /// Number of the bucket in hand, counted from time zero.
    at: u64,
    /// First entry of each bucket's list, [`END`] if it is empty.
    buckets: Vec<u32>,
    /// Entries of the lists, and the next of each.
    slab: Vec<(Entry<E>, u32)>,
    /// First free place of the slab.
    free: u32,
    filled: [u64; WORDS],
    far: Heap<E>,
    len: usize,
    cancelled: FxHashSet<u64>,
}

impl<E: Copy> Default for Queue<E> {
    fn default() -> Self {
        Self {
            current: Vec::new(),
            fresh: Heap(Vec::new()),
            at: 0,
            buckets: vec![END; BUCKETS],
            slab: Vec::new(),
            free: END,
            filled: [0; WORDS],
            far: Heap(Vec::new()),
            len: 0,
            cancelled: FxHashSet::default(),
        }
    }
}

fn bucket_of(time: SimTime) -> u64 {
    time.0 >> WIDTH_BITS
}

fn slot_of(bucket: u64) -> usize {
    num::index(bucket & (BUCKETS as u64 - 1))
}

impl<E: Copy> Queue<E> {
    /// Adds an event.
    pub fn push(&mut self, entry: Entry<E>) {
        self.len += 1;
        let bucket = bucket_of(entry.time);
        if bucket <= self.at {
            self.fresh.push(entry);
        } else if bucket - self.at < BUCKETS as u64 {
            let slot = slot_of(bucket);
            let next = std::mem::replace(&mut self.buckets[slot], self.free);
            if self.free == END {
                self.buckets[slot] = num::u32_of(self.slab.len());
                self.slab.push((entry, next));
            } else {
                let place = &mut self.slab[self.free as usize];
                self.free = place.1;
                *place = (entry, next);
            }
            self.filled[slot / 64] |= 1 << (slot % 64);
        } else {
            self.far.push(entry);
        }
    }

    /// Takes the earliest event.
    pub fn pop(&mut self) -> Option<Entry<E>> {
        loop {
            let entry = if self.fresh_first()? { self.fresh.pop()? } else { self.current.pop()? };
            self.len -= 1;
            if self.cancelled.is_empty() || !self.cancelled.remove(&entry.seq) {
                return Some(entry);
            }
        }
    }

    /// When the earliest event happens.
    pub fn next_time(&mut self) -> Option<SimTime> {
        loop {
            let fresh = self.fresh_first()?;
            let entry = if fresh { self.fresh.0.first()? } else { self.current.last()? };
            if self.cancelled.is_empty() || !self.cancelled.remove(&entry.seq) {
                return Some(entry.time);
            }
            if fresh {
                self.fresh.pop();
            } else {
                self.current.pop();
            }
            self.len -= 1;
        }
    }

    /// Whether the next event is among the fresh ones; none if nothing is pending.
    #[inline]
    fn fresh_first(&mut self) -> Option<bool> {
        match (self.fresh.0.first(), self.current.last()) {
            (Some(fresh), Some(sorted)) => Some(fresh.key() < sorted.key()),
            (None, Some(_)) => Some(false),
            (Some(_), None) => Some(true),
            (None, None) => self.advance().then_some(false),
        }
    }

    /// Takes the next bucket that holds something in hand; false if nothing is pending.
    fn advance(&mut self) -> bool {
        let near = self.next_filled();
        let far = self.far.0.first().map(|e| bucket_of(e.time));
        let next = match (near, far) {
            (Some(near), Some(far)) => near.min(far),
            (Some(bucket), None) | (None, Some(bucket)) => bucket,
            (None, None) => return false,
        };
        self.at = next;
        let slot = slot_of(next);
        if near == Some(next) {
            let mut at = std::mem::replace(&mut self.buckets[slot], END);
            while at != END {
                let place = &mut self.slab[at as usize];
                self.current.push(place.0);
                let next = std::mem::replace(&mut place.1, self.free);
                self.free = at;
                at = next;
            }
            self.filled[slot / 64] &= !(1 << (slot % 64));
        }
        while self.far.0.first().is_some_and(|e| bucket_of(e.time) == next) {
            self.current.extend(self.far.pop());
        }
        if self.current.len() > 1 {
            self.current.sort_unstable_by_key(|e| std::cmp::Reverse(e.key()));
        }
        true
    }

    /// The next bucket of the calendar that holds something.
    fn next_filled(&self) -> Option<u64> {
        let start = slot_of(self.at + 1);
        // The word of the start twice: its upper part first, its lower part after a whole turn.
        for i in 0..=WORDS {
            let word = (start / 64 + i) % WORDS;
            let mut bits = self.filled[word];
            if i == 0 {
                bits &= u64::MAX << (start % 64);
            } else if i == WORDS {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let slot = (word * 64 + bits.trailing_zeros() as usize) as u64;
                let ahead = slot.wrapping_sub(start as u64) & (BUCKETS as u64 - 1);
                return Some(self.at + 1 + ahead);
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
        self.len
    }

    /// True if nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A 4-ary heap, for what lies beyond the calendar.
#[derive(Debug, Clone)]
struct Heap<E>(Vec<Entry<E>>);

const ARITY: usize = 4;

impl<E: Copy> Heap<E> {
    fn push(&mut self, entry: Entry<E>) {
        self.0.push(entry);
        let mut at = self.0.len() - 1;
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if entry.key() >= self.0[parent].key() {
                break;
            }
            self.0[at] = self.0[parent];
            at = parent;
        }
        self.0[at] = entry;
    }

    fn pop(&mut self) -> Option<Entry<E>> {
        let last = self.0.pop()?;
        let Some(&top) = self.0.first() else { return Some(last) };
        let len = self.0.len();
        let mut at = 0;
        loop {
            let first = at * ARITY + 1;
            let Some(least) = (first..(first + ARITY).min(len)).min_by_key(|&c| self.0[c].key())
            else {
                break;
            };
            if self.0[least].key() >= last.key() {
                break;
            }
            self.0[at] = self.0[least];
            at = least;
        }
        self.0[at] = last;
        Some(top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pushes `gap` after the event just popped, as a run does, and compares with a sorted list.
    fn check(gaps: &[u64], victim: usize) {
        let mut queue = Queue::default();
        let mut model = std::collections::BTreeSet::new();
        let mut now = 0;
        let mut cancelled = None;
        for (seq, &gap) in gaps.iter().enumerate() {
            let (time, seq) = (now + gap, seq as u64);
            queue.push(Entry { time: SimTime(time), seq, cause: 0, event: () });
            model.insert((time, seq));
            if seq == (victim % gaps.len()) as u64 {
                queue.cancel(seq);
                model.remove(&(time, seq));
                cancelled = Some(seq);
            }
            if gap % 3 == 0 {
                let want = model.pop_first();
                assert_eq!(queue.next_time().map(|t| t.0), want.map(|w| w.0));
                let got = queue.pop().map(|e| (e.time.0, e.seq));
                assert_eq!(got, want);
                now = got.map_or(now, |g| g.0);
            }
        }
        while let Some(entry) = queue.pop() {
            assert_eq!(Some((entry.time.0, entry.seq)), model.pop_first());
            assert_ne!(Some(entry.seq), cancelled);
        }
        assert!(model.is_empty() && queue.is_empty());
    }

    proptest! {
        #[test]
        fn pops_in_time_then_seq_order(
            gaps in prop::collection::vec(
                prop_oneof![0_u64..5, 0_u64..3_000_000, 0_u64..20_000_000_000], 1..300),
            victim in 0_usize..300,
        ) {
            check(&gaps, victim);
        }
    }
}
