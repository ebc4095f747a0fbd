//! The event queue against its candidates: the hold operation (pop one, push one) at several
//! numbers of pending events. `cargo bench --bench queue`.

use criterion::{Criterion, criterion_group, criterion_main};
use priority_queue::PriorityQueue;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hint::black_box;
use wavetank::engine::queue::{Entry, Queue};
use wavetank::engine::{SimTime, num};

type Payload = [u64; 3];

/// Gaps as a run has them: half are short and constant (network), the rest spread over seconds.
fn gaps() -> Vec<u64> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..1 << 16)
        .map(|i| if i % 2 == 0 { 300_000 } else { rng.next_u64() % 2_000_000_000 })
        .collect()
}

trait Candidate {
    fn name(&self) -> &'static str;
    fn push(&mut self, time: u64, seq: u64);
    fn pop(&mut self) -> u64;
}

#[derive(Default)]
struct Ours(Queue<Payload>);
impl Candidate for Ours {
    fn name(&self) -> &'static str {
        "engine::queue"
    }
    fn push(&mut self, time: u64, seq: u64) {
        self.0.push(Entry { time: SimTime(time), seq, cause: 0, event: [seq; 3] });
    }
    fn pop(&mut self) -> u64 {
        self.0.pop().map_or(0, |e| e.time.0)
    }
}

#[derive(Default)]
struct StdHeap(BinaryHeap<Reverse<(u64, u64, Payload)>>);
impl Candidate for StdHeap {
    fn name(&self) -> &'static str {
        "std BinaryHeap"
    }
    fn push(&mut self, time: u64, seq: u64) {
        self.0.push(Reverse((time, seq, [seq; 3])));
    }
    fn pop(&mut self) -> u64 {
        self.0.pop().map_or(0, |e| e.0.0)
    }
}

#[derive(Default)]
struct Tree(BTreeMap<(u64, u64), Payload>);
impl Candidate for Tree {
    fn name(&self) -> &'static str {
        "std BTreeMap"
    }
    fn push(&mut self, time: u64, seq: u64) {
        self.0.insert((time, seq), [seq; 3]);
    }
    fn pop(&mut self) -> u64 {
        self.0.pop_first().map_or(0, |e| e.0.0)
    }
}

#[derive(Default)]
struct Keyed(PriorityQueue<u64, Reverse<(u64, u64)>>);
impl Candidate for Keyed {
    fn name(&self) -> &'static str {
        "priority-queue"
    }
    fn push(&mut self, time: u64, seq: u64) {
        self.0.push(seq, Reverse((time, seq)));
    }
    fn pop(&mut self) -> u64 {
        self.0.pop().map_or(0, |e| e.1.0.0)
    }
}

/// A d-ary heap of whole entries.
struct DaryHeap<const D: usize>(Vec<(u64, u64, Payload)>);
impl<const D: usize> Candidate for DaryHeap<D> {
    fn name(&self) -> &'static str {
        match D {
            4 => "4-ary heap",
            8 => "8-ary heap",
            _ => "d-ary heap",
        }
    }
    fn push(&mut self, time: u64, seq: u64) {
        self.0.push((time, seq, [seq; 3]));
        let mut at = self.0.len() - 1;
        while at > 0 && self.0[at] < self.0[(at - 1) / D] {
            self.0.swap(at, (at - 1) / D);
            at = (at - 1) / D;
        }
    }
    fn pop(&mut self) -> u64 {
        let top = self.0.swap_remove(0);
        let mut at = 0;
        loop {
            let first = at * D + 1;
            let children = first..(first + D).min(self.0.len());
            let Some(least) = children.min_by_key(|&c| (self.0[c].0, self.0[c].1)) else { break };
            if self.0[at] <= self.0[least] {
                break;
            }
            self.0.swap(at, least);
            at = least;
        }
        top.0
    }
}

/// A calendar of 2^20 ns buckets over about four seconds with a heap for what lies beyond; the
/// bucket in hand is sorted when it is reached, so that ties stay first in, first out.
struct Calendar {
    buckets: Vec<Vec<(u64, u64, Payload)>>,
    current: VecDeque<(u64, u64, Payload)>,
    at: u64,
    far: BinaryHeap<Reverse<(u64, u64, Payload)>>,
}
const WIDTH: u32 = 20;
const N: u64 = 4096;
impl Default for Calendar {
    fn default() -> Self {
        let buckets = vec![Vec::new(); usize::try_from(N).unwrap_or(0)];
        Self { buckets, current: VecDeque::new(), at: 0, far: BinaryHeap::new() }
    }
}
impl Candidate for Calendar {
    fn name(&self) -> &'static str {
        "calendar"
    }
    fn push(&mut self, time: u64, seq: u64) {
        let bucket = time >> WIDTH;
        let entry = (time, seq, [seq; 3]);
        if bucket <= self.at {
            let place = self.current.partition_point(|e| *e < entry);
            self.current.insert(place, entry);
        } else if bucket < self.at + N {
            self.buckets[num::index(bucket % N)].push(entry);
        } else {
            self.far.push(Reverse(entry));
        }
    }
    fn pop(&mut self) -> u64 {
        while self.current.is_empty() {
            self.at += 1;
            let mut bucket = std::mem::take(&mut self.buckets[num::index(self.at % N)]);
            while self.far.peek().is_some_and(|e| e.0.0 >> WIDTH <= self.at) {
                bucket.extend(self.far.pop().map(|e| e.0));
            }
            bucket.sort_unstable();
            self.current.extend(bucket);
        }
        self.current.pop_front().map_or(0, |e| e.0)
    }
}

fn hold(c: &mut Criterion, mut queue: impl Candidate, pending: u64) {
    let gaps = gaps();
    let mut seq = 0;
    for _ in 0..pending {
        queue.push(gaps[num::index(seq) % gaps.len()], seq);
        seq += 1;
    }
    c.bench_function(&format!("{}/{pending}", queue.name()), |b| {
        b.iter(|| {
            let now = queue.pop();
            queue.push(now + gaps[num::index(seq) % gaps.len()], seq);
            seq += 1;
            black_box(now)
        });
    });
}

fn benches(c: &mut Criterion) {
    for pending in [1_000, 20_000, 1_000_000] {
        hold(c, Ours::default(), pending);
        hold(c, StdHeap::default(), pending);
        hold(c, DaryHeap::<4>(Vec::new()), pending);
        hold(c, DaryHeap::<8>(Vec::new()), pending);
        hold(c, Tree::default(), pending);
        hold(c, Keyed::default(), pending);
        hold(c, Calendar::default(), pending);
    }
}

criterion_group! {
    name = queue;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1));
    targets = benches
}
criterion_main!(queue);
