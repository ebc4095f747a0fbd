//! The arithmetic of a Deployment's rollout, apart from any API
//! (source: `ctl/deployment/{rolling,sync}.go`, `util/deployment_util.go`).

use crate::api::workload::Strategy;
use crate::engine::num;

/// A ReplicaSet as the arithmetic sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// `spec.replicas`.
    pub(super) spec: i32,
    /// `status.availableReplicas`.
    pub(super) available: i32,
}

/// What a Deployment asks for, percentages resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) replicas: i32,
    pub(super) surge: i32,
    /// At most `replicas`; 0 for Recreate.
    pub(super) unavailable: i32,
    pub(super) rolling: bool,
}

impl Wish {
    /// Source: `ResolveFenceposts`, `MaxSurge`, `MaxUnavailable`.
    pub(super) fn new(replicas: i32, strategy: Strategy) -> Self {
        match strategy {
            Strategy::Recreate => Self { replicas, surge: 0, unavailable: 0, rolling: false },
            Strategy::RollingUpdate { max_surge, max_unavailable } => {
                let surge = max_surge.of(replicas, true);
                let mut unavailable = max_unavailable.of(replicas, false);
                if surge == 0 && unavailable == 0 {
                    unavailable = 1;
                }
                let unavailable = unavailable.min(replicas);
                Self { replicas, surge, unavailable, rolling: true }
            }
        }
    }

    pub(super) fn max_total(self) -> i32 {
        self.replicas + self.surge
    }

    /// Size of the new ReplicaSet, given its size and that of all together.
    pub(super) fn new_size(self, new: i32, total: i32) -> i32 {
        if !self.rolling {
            return self.replicas;
        }
        if new > self.replicas {
            return self.replicas;
        }
        if total >= self.max_total() {
            return new;
        }
        new + (self.max_total() - total).min(self.replicas - new)
    }

    /// Sizes of the old `ReplicaSets` (oldest first) after one step down.
    pub(super) fn old_sizes(self, old: &[Size], new: Size) -> Vec<i32> {
        let mut sizes: Vec<i32> = old.iter().map(|s| s.spec).collect();
        let total: i32 = sizes.iter().sum::<i32>() + new.spec;
        let min_available = self.replicas - self.unavailable;
        let budget = total - min_available - (new.spec - new.available);
        if budget <= 0 {
            return sizes;
        }
        let mut cleaned = 0;
        for (size, rs) in sizes.iter_mut().zip(old) {
            let n = (budget - cleaned).min(rs.spec - rs.available).max(0);
            *size -= n;
            cleaned += n;
        }
        let available: i32 = old.iter().map(|s| s.available).sum::<i32>() + new.available;
        let mut spare = (available - min_available).max(0);
        for size in &mut sizes {
            let n = spare.min(*size);
            *size -= n;
            spare -= n;
        }
        sizes
    }

    /// Sizes after a change of `replicas` in the middle of a rollout. Each entry is the size and
    /// the
    /// `max-replicas` it was made for; largest first.
    pub(super) fn proportional(self, sets: &[(i32, i32)]) -> Vec<i32> {
        let allowed = if self.replicas > 0 { self.max_total() } else { 0 };
        let to_add = allowed - sets.iter().map(|s| s.0).sum::<i32>();
        let mut added = 0;
        let mut sizes: Vec<i32> = Vec::with_capacity(sets.len());
        for &(spec, max_before) in sets {
            let mut share = 0;
            if spec != 0 && to_add != added {
                let fraction = self.fraction(spec, max_before);
                let left = to_add - added;
                share = if to_add > 0 { fraction.min(left) } else { fraction.max(left) };
            }
            added += share;
            sizes.push(spec + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        sizes
    }

    fn fraction(self, spec: i32, max_before: i32) -> i32 {
        if self.replicas == 0 || max_before <= 0 {
            return -spec;
        }
        let exact = num::float(i64::from(spec)) * num::float(i64::from(self.max_total()))
            / num::float(i64::from(max_before));
        i32::try_from(num::round(exact)).unwrap_or(i32::MAX) - spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarter(replicas: i32) -> Wish {
        Wish::new(replicas, Strategy::default())
    }

    #[test]
    fn a_rolling_update_of_ten_steps_as_upstream_does() {
        let wish = quarter(10);
        assert_eq!((wish.surge, wish.unavailable), (3, 2));
        let mut old = Size { spec: 10, available: 10 };
        let mut new = Size::default();
        new.spec = wish.new_size(new.spec, 10);
        assert_eq!(new.spec, 3);
        old.spec = wish.old_sizes(&[old], new)[0];
        assert_eq!(old.spec, 8);
        old.available = 8;
        new.spec = wish.new_size(new.spec, 11);
        assert_eq!(new.spec, 5);
        assert_eq!(wish.old_sizes(&[old], new), [8], "blocked until a new pod is available");
        // From here on every available new pod lets one old pod go, and one more new one come.
        for step in 1..=5 {
            new.available = step;
            let size = wish.old_sizes(&[old], new)[0];
            assert_eq!(size, old.spec - 1);
            old = Size { spec: size, available: size };
            new.spec = wish.new_size(new.spec, new.spec + old.spec);
            assert!(new.spec + old.spec <= 13 && new.available + old.available >= 8);
        }
    }

    #[test]
    fn unhealthy_old_pods_go_first() {
        let wish = quarter(10);
        let old = [Size { spec: 4, available: 1 }, Size { spec: 6, available: 6 }];
        let new = Size { spec: 3, available: 0 };
        assert_eq!(wish.old_sizes(&old, new), [2, 6]);
    }

    #[test]
    fn recreate_wants_all_at_once() {
        let wish = Wish::new(4, Strategy::Recreate);
        assert_eq!((wish.new_size(0, 0), wish.unavailable), (4, 0));
    }

    #[test]
    fn proportional_scaling_keeps_the_shares() {
        let wish = quarter(15);
        // 15 + 4 allowed; 8 and 5 of 13 before: 8·19/13 = 11.7, 5·19/13 = 7.3.
        assert_eq!(wish.proportional(&[(8, 13), (5, 13)]), [12, 7]);
        assert_eq!(quarter(0).proportional(&[(8, 13), (5, 13)]), [0, 0]);
    }
}
