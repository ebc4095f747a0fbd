//! How much longer pods took than they had to, and whether all had to bear the same.
//!
//! The slowdown of a pod that succeeded is the time from its creation to its end over the time from
//! Running to its end, that is (pending + run) / run; 1 if it never waited. It is a pod's: one that
//! is made anew after an eviction begins anew.
//!
//! Fairness is Jain's index (Σx)² / (n Σx²) of the mean slowdowns of namespaces, or of workloads if
//! pods of one namespace alone succeeded: 1 if all fared alike, 1/n if one bore everything.

use super::workloads::WorkloadRow;
use crate::engine::{SimTime, num};
use serde::Serialize;
use std::collections::BTreeMap;

/// Slowdowns of pods that succeeded.
#[derive(Debug, Clone, Default)]
pub struct Slowdowns {
    /// Thousandths, in the order of the ends.
    all: Vec<u64>,
    /// Their sum and number, by workload.
    by_workload: Vec<(u64, u64)>,
}

/// What they amount to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowdownSummary {
    /// Pods that succeeded.
    pub pods: usize,
    /// Mean slowdown.
    pub mean: f64,
    /// Its median.
    pub p50: f64,
    /// Its 95th percentile.
    pub p95: f64,
    /// Jain's index; none if there is only one workload.
    pub fairness: Option<f64>,
    /// `namespaces` or `workloads`: what the index is over.
    pub fairness_over: &'static str,
}

impl Slowdowns {
    /// A pod of a workload has succeeded.
    pub fn add(&mut self, workload: u32, (created, running, ended): (SimTime, SimTime, SimTime)) {
        let run = u128::from(ended.since(running).0);
        if running == SimTime::MAX || run == 0 {
            return;
        }
        let whole = u128::from(ended.since(created).0);
        let slowdown = u64::try_from(1_000 * whole / run).unwrap_or(u64::MAX);
        self.all.push(slowdown);
        let index = workload as usize;
        if self.by_workload.len() <= index {
            self.by_workload.resize(index + 1, (0, 0));
        }
        let sum = &mut self.by_workload[index];
        *sum = (sum.0.saturating_add(slowdown), sum.1 + 1);
    }

    /// The summary; none if no pod succeeded.
    #[must_use]
    pub fn summary(&self, rows: &[WorkloadRow]) -> Option<SlowdownSummary> {
        if self.all.is_empty() {
            return None;
        }
        let mut sorted = self.all.clone();
        sorted.sort_unstable();
        let thousandths = |n: u64| num::float_u(n) / 1_000.0;
        let sum: u128 = sorted.iter().map(|&n| u128::from(n)).sum();
        let mean = num::float_wide(sum) / 1_000.0 / num::float_u(sorted.len() as u64);
        let (index, over) = self.fairness(rows);
        Some(SlowdownSummary {
            pods: sorted.len(),
            mean: num::rounded(mean, 6),
            p50: thousandths(num::quantile_sorted(&sorted, 0.5)),
            p95: thousandths(num::quantile_sorted(&sorted, 0.95)),
            fairness: index.map(|index| num::rounded(index, 6)),
            fairness_over: over,
        })
    }

    fn fairness(&self, rows: &[WorkloadRow]) -> (Option<f64>, &'static str) {
        // All namespaces with work that ends, also those of which nothing has ended well yet.
        let mut namespaces: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (i, row) in rows.iter().enumerate().filter(|(_, r)| !r.serves()) {
            let (sum, count) = self.by_workload.get(i).copied().unwrap_or_default();
            let all = namespaces.entry(row.ns.as_str()).or_default();
            *all = (all.0.saturating_add(sum), all.1 + count);
        }
        if namespaces.len() > 1 {
            // One that starves has no slowdown yet: no index is better than a flattering one.
            let starves = namespaces.values().any(|(_, count)| *count == 0);
            let index = if starves { None } else { jain(namespaces.into_values()) };
            return (index, "namespaces");
        }
        (jain(self.by_workload.iter().copied().filter(|w| w.1 > 0)), "workloads")
    }
}

/// Jain's index of means; none of fewer than two.
fn jain(groups: impl Iterator<Item = (u64, u64)>) -> Option<f64> {
    let means: Vec<f64> = groups.map(|(sum, n)| num::float_u(sum) / num::float_u(n)).collect();
    let sum: f64 = means.iter().sum();
    let squares: f64 = means.iter().map(|x| x * x).sum();
    let n = num::float_u(means.len() as u64);
    (means.len() > 1 && squares > 0.0).then(|| sum * sum / (n * squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_waits_as_long_as_it_runs_takes_twice_as_long() {
        let at = SimTime::from_secs;
        let mut slowdowns = Slowdowns::default();
        assert_eq!(slowdowns.summary(&[]), None);
        slowdowns.add(0, (at(0), at(10), at(20)));
        slowdowns.add(2, (at(0), at(0), at(7)));
        slowdowns.add(2, (at(5), SimTime::MAX, at(7)));
        let summary = slowdowns.summary(&[]).unwrap();
        assert_eq!((summary.pods, summary.fairness_over), (2, "workloads"));
        assert!((summary.mean - 1.5).abs() < 1e-12 && (summary.p95 - 2.0).abs() < 1e-12);
        // Means of 2 and 1: 9 / (2 × 5).
        assert!((summary.fairness.unwrap() - 0.9).abs() < 1e-12);
    }
}
