//! How long a commit takes: the leader's log fsync, and the round trip to a follower.

use crate::engine::draw::{Draws, Purpose};
use crate::engine::{Dist, SimDuration, num};
use std::sync::Arc;

/// Values of the distribution that draws choose from: one choice costs two bits of arithmetic,
/// where the distribution itself costs logarithms. 4096 draws give its quantiles to about 1 %.
const TABLE: usize = 4096;

/// Five indices of 12 bits are taken from each 64 random bits, eight words from each draw.
const PER_WORD: u32 = 5;
const WORDS: u32 = 8;

/// Commit latency: `fsync` plus the raft round trip.
#[derive(Debug, Clone)]
pub struct CommitLatency {
    fsync: Dist,
    raft_rtt: SimDuration,
    table: Option<Arc<[SimDuration]>>,
    block: u64,
    words: [u64; WORDS as usize],
    used: u32,
}

impl CommitLatency {
    /// A latency of these parts.
    #[must_use]
    pub fn new(fsync: Dist, raft_rtt: SimDuration) -> Self {
        let words = [0; WORDS as usize];
        Self { fsync, raft_rtt, table: None, block: 0, words, used: PER_WORD * WORDS }
    }

    /// The latency of the next commit.
    pub fn next(&mut self, draws: &Draws) -> SimDuration {
        if let Dist::Constant(d) = self.fsync {
            return d + self.raft_rtt;
        }
        let fsync = self.fsync;
        let table = self.table.get_or_insert_with(|| {
            (0..TABLE as u64)
                .map(|i| fsync.sample(&mut draws.draw(0, Purpose("fsync-table"), i)))
                .collect()
        });
        if self.used == PER_WORD * WORDS {
            let mut draw = draws.draw(0, Purpose("fsync"), self.block);
            self.words = std::array::from_fn(|_| draw.bits());
            self.block += 1;
            self.used = 0;
        }
        let word = self.words[(self.used / PER_WORD) as usize] >> (12 * (self.used % PER_WORD));
        self.used += 1;
        table[num::index(word & (TABLE as u64 - 1))] + self.raft_rtt
    }
}
