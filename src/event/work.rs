//! Work that shares a node's CPU: how a kernel divides it, and what the time of a worker was spent
//! on. Rates are whole numbers of nano-cores, so that progress between two changes is exact.

use crate::api::work::Distance;
use smallvec::SmallVec;

/// Nano-cores of a core.
pub const CORE: u64 = 1_000_000_000;

/// Somebody who wants CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its `cpu.weight`, up to a factor common to all.
    pub weight: u64,
    /// What it uses at most, nano-cores: its limit, or what its program can use.
    pub most: u64,
}

/// Divides a capacity (nano-cores) by weight, as cgroup v2 does among those that want to run: what
/// one does not use is divided among the others. Rounded down.
#[must_use]
pub fn shares(capacity: u64, claims: &[Claim]) -> SmallVec<[u64; 8]> {
    let mut given: SmallVec<[u64; 8]> = SmallVec::from_elem(0, claims.len());
    let mut open: SmallVec<[usize; 8]> = (0..claims.len()).collect();
    let mut left = capacity;
    loop {
        let weights: u128 = open.iter().map(|&i| u128::from(claims[i].weight)).sum();
        let part = |i: usize| {
            let part = u128::from(left) * u128::from(claims[i].weight) / weights.max(1);
            u64::try_from(part).unwrap_or(left)
        };
        let (full, rest): (SmallVec<[usize; 8]>, SmallVec<[usize; 8]>) =
            open.iter().copied().partition(|&i| claims[i].most <= part(i));
        if full.is_empty() {
            for &i in &rest {
                given[i] = part(i);
            }
            return given;
        }
        for &i in &full {
            given[i] = claims[i].most;
            left -= claims[i].most;
        }
        open = rest;
    }
}

/// What a worker's time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It read data over this distance.
    Read(Distance),
    /// It computed as fast as it can alone on the node: what it would have taken there.
    Computed,
    /// It had less CPU than that, because others had theirs.
    Waited,
    /// It was slowed down by neighbours of its group.
    Slowed,
    /// Its machine was slow or stood still.
    Held,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Read(Distance::Node),
        Self::Read(Distance::Zone),
        Self::Read(Distance::Elsewhere),
        Self::Computed,
        Self::Waited,
        Self::Slowed,
        Self::Held,
    ];

    /// What was done, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Read(Distance::Node) => "reading on its node",
            Self::Read(Distance::Zone) => "reading within its zone",
            Self::Read(Distance::Elsewhere) => "reading from elsewhere",
            Self::Computed => "computing",
            Self::Waited => "waiting for CPU",
            Self::Slowed => "slowed by neighbours",
            Self::Held => "on a slow machine",
        }
    }

    /// Its place in [`Part::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Read(Distance::Node) => 0,
            Self::Read(Distance::Zone) => 1,
            Self::Read(Distance::Elsewhere) => 2,
            Self::Computed => 3,
            Self::Waited => 4,
            Self::Slowed => 5,
            Self::Held => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(list: &[(u64, u64)]) -> Vec<Claim> {
        list.iter().map(|&(weight, most)| Claim { weight, most: most * CORE }).collect()
    }

    fn given(cores: u64, list: &[(u64, u64)]) -> Vec<u64> {
        shares(cores * CORE, &claims(list)).to_vec()
    }

    #[test]
    fn a_contended_node_is_shared_by_weight() {
        assert_eq!(given(4, &[(1, 4), (3, 4)]), [CORE, 3 * CORE]);
        assert_eq!(given(6, &[(1, 9), (1, 9), (1, 9)]), [2 * CORE; 3]);
    }

    #[test]
    fn a_quota_leaves_its_rest_to_the_others() {
        // The second may have one core: the first gets the other three whatever its weight is.
        assert_eq!(given(4, &[(1, 4), (3, 1)]), [3 * CORE, CORE]);
        // By twos: the one that wants least first, then what is left is divided again.
        assert_eq!(given(10, &[(1, 1), (1, 4), (1, 9)]), [CORE, 4 * CORE, 5 * CORE]);
    }

    #[test]
    fn nobody_gets_more_than_there_is_or_than_it_wants() {
        assert_eq!(given(8, &[(1, 2), (5, 3)]), [2 * CORE, 3 * CORE]);
        let uneven = shares(CORE, &claims(&[(1, 1), (1, 1), (1, 1)]));
        assert_eq!(uneven.iter().sum::<u64>(), CORE - 1, "rounded down");
        assert!(shares(CORE, &[]).is_empty());
    }
}
