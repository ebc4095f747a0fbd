//! Logs of containers: who writes how much, the agent that ships them, and the store that takes
//! them. Like what pods use, these are facts of the world that a scenario gives. All amounts are
//! reckoned in billionths of a byte, so that nothing is lost by rounding.

use super::usage::Piece;
use crate::api::Selector;
use crate::engine::{SimDuration, SimTime, Sym};

/// Billionths of a byte.
pub type Nanobytes = u128;
/// Billionths of a byte in a byte.
pub const BYTE: Nanobytes = 1_000_000_000;

/// Logs of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Who writes.
    pub sources: Vec<Source>,
    /// Who ships; nobody if there is none.
    pub agent: Option<Agent>,
    /// What the store takes from all agents together, bytes per second; none for no bound.
    pub store_bytes_per_s: Option<u64>,
    /// How many times smaller gzip makes a rotated file.
    pub gzip: u32,
}

/// The pods of one workload write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Namespace.
    pub ns: Sym,
    /// The pods.
    pub pods: Selector,
    /// Which of their containers; empty for the first one.
    pub container: Sym,
    /// Bytes per second, above zero.
    pub bytes_per_s: u64,
}

/// The agent that reads the logs of its node and ships them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Namespace.
    pub ns: Sym,
    /// Its pods.
    pub pods: Selector,
    /// What one of them ships at most, bytes per second.
    pub bytes_per_s: u64,
    /// Size of its buffer on the node's disk, bytes; none for no bound.
    pub buffer: Option<u64>,
}

/// How a kubelet rotates the log of a container (source: `pkg/kubelet/logs`
/// `container_log_manager.go`): each period the file is set aside, the one set aside before is
/// compressed, and beyond so many files the oldest is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// What the container writes, bytes per second.
    pub bytes_per_s: u64,
    /// From one rotation to the next.
    pub period: SimDuration,
    /// `containerLogMaxFiles`, at least 2.
    pub files: u32,
    /// How many times smaller gzip makes a file.
    pub gzip: u32,
}

impl Rotation {
    /// The rotation of a log that grows at a steady rate: the kubelet looks at intervals whether
    /// the file has come to `max_bytes`, so that a fast writer's files are larger than that.
    #[must_use]
    pub fn new(
        bytes_per_s: u64,
        (max_bytes, files): (u64, u32),
        interval: SimDuration,
        gzip: u32,
    ) -> Self {
        let rate = u128::from(bytes_per_s.max(1));
        let full = (u128::from(max_bytes) * BYTE).div_ceil(rate);
        let looks = full.div_ceil(u128::from(interval.0.max(1))).max(1);
        let period = SimDuration(narrow(looks * u128::from(interval.0.max(1))));
        Self { bytes_per_s, period, files: files.max(2), gzip: gzip.max(1) }
    }

    /// Thousandths of a byte written in a span.
    fn milli(&self, span: u64) -> i64 {
        let milli = u128::from(self.bytes_per_s) * u128::from(span) / 1_000_000;
        i64::try_from(milli).unwrap_or(i64::MAX)
    }

    /// What the log of a container that writes `since` may take on disk, as a straight piece: the
    /// file in use and the one before it whole, older ones compressed. Between two rotations it
    /// is up to a file less.
    #[must_use]
    pub fn piece(&self, since: SimTime, at: SimTime) -> Piece {
        /// Thousandths of a byte per minute of a byte per second.
        const PER_MINUTE: u64 = 60_000;
        let age = at.since(since).0;
        let plain = self.period.0.saturating_mul(2);
        let all = self.period.0.saturating_mul(u64::from(self.files));
        let slope = |gzip: u64| {
            let slope = self.bytes_per_s.saturating_mul(PER_MINUTE).div_ceil(gzip);
            i64::try_from(slope).unwrap_or(i64::MAX)
        };
        let until = |age: u64| Some(since + SimDuration(age));
        let gzip = u64::from(self.gzip);
        if age < plain {
            return Piece { amount: self.milli(age), per_minute: slope(1), until: until(plain) };
        }
        let small = self.milli((age.min(all) - plain) / gzip);
        let amount = self.milli(plain).saturating_add(small);
        if age < all {
            return Piece { amount, per_minute: slope(gzip), until: until(all) };
        }
        Piece { amount, per_minute: 0, until: None }
    }

    /// The last rotation up to an instant; the start of the log if there was none.
    #[must_use]
    pub fn last(&self, since: SimTime, at: SimTime) -> SimTime {
        let period = self.period.0.max(1);
        since + SimDuration(at.since(since).0 / period * period)
    }
}

fn narrow(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Where agents ship to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStore {
    /// What it takes from all agents, bytes per second; none for no bound.
    pub bytes_per_s: Option<u64>,
    /// What an agent ships at most, bytes per second.
    pub agent_bytes_per_s: u64,
    /// Faults that keep it away.
    pub down: u32,
    /// Agents that run.
    pub agents: u32,
}

impl LogStore {
    /// What an agent may ship, bytes per second: the agents share the store in equal parts.
    #[must_use]
    pub fn share(&self) -> u64 {
        if self.down > 0 {
            return 0;
        }
        let part = self.bytes_per_s.map(|whole| whole / u64::from(self.agents.max(1)));
        part.map_or(self.agent_bytes_per_s, |part| part.min(self.agent_bytes_per_s))
    }
}

/// What has become of the logs of a node, in billionths of a byte. What was written is shipped, or
/// lost, or still there: buffered or unread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Written by containers.
    pub written: Nanobytes,
    /// Taken by the store.
    pub shipped: Nanobytes,
    /// Rotated away before any agent had read it.
    pub rotated: Nanobytes,
    /// Thrown away by the agent because its buffer was full.
    pub overflowed: Nanobytes,
    /// Thrown away by the agent because the disk under its buffer was full.
    pub no_room: Nanobytes,
    /// Removed with its container before any agent had read it, or gone with its machine.
    pub gone: Nanobytes,
    /// In the agent's buffer.
    pub buffered: Nanobytes,
    /// In logs of containers, and read by no agent yet.
    pub unread: Nanobytes,
    /// Most that was in the buffer, and when it came to that.
    pub peak: (Nanobytes, SimTime),
    /// When the node first came under `DiskPressure` that it would not have been under without
    /// logs and buffer.
    pub pressed: Option<SimTime>,
    /// Pods evicted under such pressure.
    pub evicted: u32,
}

impl Tally {
    /// All that was lost.
    #[must_use]
    pub fn lost(&self) -> Nanobytes {
        self.rotated + self.overflowed + self.no_room + self.gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> SimTime = SimTime::from_secs;

    #[test]
    fn a_log_is_bounded_by_its_files() {
        // 1 MB per second, files of 10 MB looked at every 10 s.
        let log = Rotation::new(1_000_000, (10_000_000, 5), SimDuration::from_secs(10), 10);
        assert_eq!(log.period, SimDuration::from_secs(10));
        let amount = |s: u64| log.piece(S(5), S(5 + s)).amount / 1000;
        assert_eq!([amount(0), amount(7), amount(20)], [0, 7_000_000, 20_000_000]);
        // Then each file of ten takes one.
        assert_eq!([amount(30), amount(50), amount(5_000)], [21_000_000, 23_000_000, 23_000_000]);
        assert_eq!(log.piece(S(5), S(55)).until, None);
        assert_eq!((log.last(S(5), S(14)), log.last(S(5), S(37))), (S(5), S(35)));
    }

    #[test]
    fn the_files_of_a_fast_writer_are_larger_than_they_should_be() {
        let look = SimDuration::from_secs(10);
        let fast = Rotation::new(5_000_000, (10_000_000, 5), look, 1);
        assert_eq!(fast.period, look);
        assert_eq!(fast.piece(S(0), S(500)).amount / 1000, 250_000_000);
        let slow = Rotation::new(1, (10_000_000, 5), look, 1);
        assert_eq!(slow.period, SimDuration::from_secs(10_000_000));
    }

    #[test]
    fn agents_share_the_store() {
        let mut store =
            LogStore { bytes_per_s: Some(100), agent_bytes_per_s: 40, down: 0, agents: 2 };
        assert_eq!(store.share(), 40);
        store.agents = 4;
        assert_eq!(store.share(), 25);
        store.down = 1;
        assert_eq!(store.share(), 0);
        store = LogStore { bytes_per_s: None, down: 0, ..store };
        assert_eq!(store.share(), 40);
    }
}
