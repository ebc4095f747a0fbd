//! What the program of a container has to do, where a scenario says it as work and not as a span:
//! data to read, then processor time. How long that takes is for the node to say.

use crate::engine::Sym;
use smallvec::SmallVec;

/// The work of a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Work {
    /// Processor time, core-nanoseconds, drawn uniformly between the two.
    pub cpu_ns: (u64, u64),
    /// Cores it can use at most, thousandths.
    pub parallelism_milli: u64,
    /// What it reads first, one after the other.
    pub reads: SmallVec<[Read; 1]>,
    /// How fast it reads.
    pub speeds: Speeds,
    /// It slows down, and is slowed down by, those of its group on its node.
    pub neighbours: Option<Neighbours>,
}

/// Something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Read {
    /// Where it lies.
    pub from: Source,
    /// How much, bytes.
    pub bytes: u64,
}

/// Where data lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// On the machines of a zone.
    Zone(Sym),
    /// On the disk of a node.
    Node(Sym),
}

/// How far data is from its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distance {
    /// On the same node.
    Node,
    /// In the same zone.
    Zone,
    /// In another one.
    Elsewhere,
}

/// Bytes per second, by distance. Each reader has its own: links are not shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Speeds {
    /// From the node's own disk.
    pub node: u64,
    /// Within a zone.
    pub zone: u64,
    /// From another zone.
    pub elsewhere: u64,
}

impl Default for Speeds {
    /// 2 GB/s from a local disk (an assumption: a fast one), 10 Gbit/s within a zone and 5 Gbit/s
    /// between zones (AWS: a single flow of an instance outside of a placement group).
    fn default() -> Self {
        Self { node: 2_000_000_000, zone: 1_250_000_000, elsewhere: 625_000_000 }
    }
}

impl Speeds {
    /// The speed over a distance.
    #[must_use]
    pub const fn over(&self, distance: Distance) -> u64 {
        match distance {
            Distance::Node => self.node,
            Distance::Zone => self.zone,
            Distance::Elsewhere => self.elsewhere,
        }
    }
}

/// What those of a group do to each other on one node: caches and memory bandwidth, which a
/// scheduler does not see. The linear law is an assumption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Neighbours {
    /// The group.
    pub group: Sym,
    /// All takes so many thousandths longer for each other one that computes there.
    pub slower_permille: u32,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            cpu_ns: (0, 0),
            parallelism_milli: 1_000,
            reads: SmallVec::new(),
            speeds: Speeds::default(),
            neighbours: None,
        }
    }
}
