//! Losses ranked by their damage, with means and intervals over the seeds.

use super::branch::{Facts, Setting};
use super::damage::{Damage, Loss as WorkloadLoss};
use super::losses::{Domain, Loss};
use crate::cluster::spec::Plan;
use crate::report::downtime::Need;
use crate::report::expect::Verdict;
use crate::sweep::stats::{Estimate, estimate_of_spans};
use std::collections::BTreeMap;

/// An assertion that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// What was expected.
    pub expected: String,
    /// On how many seeds it failed.
    pub seeds: usize,
    /// The first of them, and what was observed on it.
    pub first: (u64, String),
}

/// What a loss does to a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadRow {
    /// `deployment/web`.
    pub workload: String,
    /// What it needs.
    pub need: Need,
    /// By a disruption budget.
    pub by_budget: bool,
    /// Replicas wanted.
    pub desired: i32,
    /// A DaemonSet: what it is short of does not count in the ranking.
    pub of_nodes: bool,
    /// Minutes down.
    pub down: Estimate,
    /// Replica-minutes short.
    pub short: Estimate,
    /// Seeds on which it was down at all.
    pub seeds_down: usize,
    /// Seeds on which it was still down at the end.
    pub open: usize,
}

/// What a loss does.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is lost.
    pub loss: Loss,
    /// Per seed, in the order of the seeds.
    pub samples: Vec<Damage>,
    /// Minutes down, all workloads added.
    pub down: Estimate,
    /// Replica-minutes short, all workloads but `DaemonSets` added.
    pub short: Estimate,
    /// Seconds until noticed, evicted, rescheduled and ready.
    pub stages: [Estimate; 4],
    /// Pods evicted.
    pub evicted: Estimate,
    /// Pod-minutes without a node.
    pub pending: Estimate,
    /// The reason for most of them; empty if there are none.
    pub why_pending: String,
    /// Evictions refused by disruption budgets.
    pub blocked: Estimate,
    /// Minutes of Jobs' work to be done again.
    pub lost_work: Estimate,
    /// Workloads, the most damaged first.
    pub workloads: Vec<WorkloadRow>,
    /// Assertions that failed.
    pub breaches: Vec<Breach>,
    /// Latencies without a source that would change the answer about this loss.
    pub flips: Vec<&'static str>,
}

/// Names of [`Row::stages`].
pub(super) const STAGES: [&str; 4] = ["detected", "evicted", "rescheduled", "ready"];

impl WorkloadRow {
    /// True if it counts in the ranking.
    #[must_use]
    pub fn hit(&self) -> bool {
        self.down.mean > 0.0 || self.short.mean > 0.0 && !self.of_nodes
    }
}

impl Row {
    fn new(loss: &Loss, seeds: &[u64], samples: Vec<Damage>) -> Self {
        let of = |measure: &dyn Fn(&Damage) -> f64| {
            estimate_of_spans(&samples.iter().map(measure).collect::<Vec<f64>>())
        };
        let stage = |measure: fn(&Damage) -> Option<f64>| of(&|d| measure(d).unwrap_or(f64::NAN));
        Self {
            loss: loss.clone(),
            down: of(&|d| d.down_s() / 60.0),
            short: of(&|d| d.short_s() / 60.0),
            stages: [
                stage(|d| d.detect_s),
                stage(|d| d.evict_s),
                stage(|d| d.reschedule_s),
                stage(|d| d.ready_s),
            ],
            evicted: of(&|d| f64::from(d.evicted)),
            pending: of(&|d| d.pending_s() / 60.0),
            why_pending: why_pending(&samples),
            blocked: of(&|d| d.blocked),
            lost_work: of(&|d| d.lost_work_s / 60.0),
            workloads: workloads(&samples),
            breaches: breaches(seeds, &samples.iter().map(|d| &d.verdicts).collect::<Vec<_>>()),
            flips: Vec::new(),
            samples,
        }
    }

    /// Downtime, then replicas short, then waits, then lost work: what ranks.
    fn damage(&self) -> [f64; 4] {
        [self.down.mean, self.short.mean, self.pending.mean, self.lost_work.mean]
    }

    /// True if it does no damage at all, and no assertion fails.
    #[must_use]
    pub fn harmless(&self) -> bool {
        self.damage().iter().all(|x| *x <= 0.0) && self.breaches.is_empty()
    }

    /// Seeds on which the cluster did not come to rest.
    #[must_use]
    pub fn restless(&self) -> usize {
        self.samples.iter().filter(|d| !d.rested).count()
    }
}

fn why_pending(samples: &[Damage]) -> String {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (why, span) in samples.iter().flat_map(|d| &d.pending) {
        *sums.entry(why).or_default() += span;
    }
    let most = sums.into_iter().filter(|(_, s)| *s > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
    most.map_or_else(String::new, |(why, _)| why.to_owned())
}

fn workloads(samples: &[Damage]) -> Vec<WorkloadRow> {
    let mut by_name: BTreeMap<&str, Vec<&WorkloadLoss>> = BTreeMap::new();
    for (name, loss) in samples.iter().flat_map(|d| &d.workloads) {
        by_name.entry(name).or_default().push(loss);
    }
    let mut rows: Vec<WorkloadRow> = by_name
        .into_iter()
        .filter_map(|(name, losses)| {
            let last = losses.last()?;
            let of = |measure: fn(&WorkloadLoss) -> f64| {
                estimate_of_spans(&losses.iter().map(|l| measure(l) / 60.0).collect::<Vec<f64>>())
            };
            Some(WorkloadRow {
                workload: name.to_owned(),
                need: last.need,
                by_budget: last.by_budget,
                desired: last.desired,
                of_nodes: last.of_nodes,
                down: of(|l| l.down_s),
                short: of(|l| l.short_s),
                seeds_down: losses.iter().filter(|l| l.down_s > 0.0).count(),
                open: losses.iter().filter(|l| l.open).count(),
            })
        })
        .collect();
    rows.sort_by(|a, b| {
        let down = b.down.mean.total_cmp(&a.down.mean);
        down.then(a.of_nodes.cmp(&b.of_nodes)).then(b.short.mean.total_cmp(&a.short.mean))
    });
    rows
}

/// The assertions that fail on some seed.
fn breaches(seeds: &[u64], verdicts: &[&Vec<Verdict>]) -> Vec<Breach> {
    let expected = verdicts.first().map(|all| all.len()).unwrap_or_default();
    (0..expected)
        .filter_map(|i| {
            let of =
                seeds.iter().zip(verdicts).filter_map(|(seed, all)| Some((*seed, all.get(i)?)));
            let failed: Vec<_> = of.filter(|(_, v)| !v.pass).collect();
            let (seed, first) = failed.first()?;
            Some(Breach {
                expected: first.expected.clone(),
                seeds: failed.len(),
                first: (*seed, first.observed.clone()),
            })
        })
        .collect()
}

/// The answer: every loss, the worst first.
#[derive(Debug, Clone)]
pub struct Study {
    /// Name of the scenario.
    pub scenario: String,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// What each seed drew.
    pub facts: Vec<Facts>,
    /// Losses, the worst first.
    pub rows: Vec<Row>,
    /// Number of assertions judged.
    pub expectations: usize,
    /// Assertions that fail if nothing is lost.
    pub anyway: Vec<Breach>,
    /// What a workload without a budget needs.
    pub need: Need,
    /// Seeds on which sensitivity was looked for; 0 if it was not.
    pub sensitivity: usize,
    /// Nodes of a control plane are lost, but it runs on none of them.
    pub bodiless: bool,
}

impl Study {
    pub(super) fn new(
        plan: &Plan,
        losses: &[Loss],
        setting: &Setting,
        runs: Vec<(Facts, Vec<Damage>)>,
    ) -> Self {
        let mut facts = Vec::new();
        let mut columns: Vec<Vec<Damage>> = losses.iter().map(|_| Vec::new()).collect();
        for (fact, damages) in runs {
            facts.push(fact);
            for (column, damage) in columns.iter_mut().zip(damages) {
                column.push(damage);
            }
        }
        let rows = losses.iter().zip(columns);
        let rows = rows.map(|(loss, samples)| Row::new(loss, &setting.seeds, samples)).collect();
        let calm: Vec<&Vec<Verdict>> = facts.iter().map(|f| &f.verdicts).collect();
        let mut study = Self {
            anyway: breaches(&setting.seeds, &calm),
            scenario: plan.name.clone(),
            nodes: plan.cluster.nodes.len(),
            seeds: setting.seeds.clone(),
            facts,
            rows,
            expectations: plan.expect.len(),
            need: setting.need,
            sensitivity: 0,
            bodiless: plan.cluster.control_plane.is_none()
                && losses.iter().any(|l| l.parts.iter().any(|p| p.domain == Domain::ControlPlane)),
        };
        study.rank();
        study
    }

    /// The worst first; equal ones keep the order they were listed in.
    fn rank(&mut self) {
        self.rows.sort_by(|a, b| {
            let pairs = a.damage().into_iter().zip(b.damage());
            pairs.fold(std::cmp::Ordering::Equal, |all, (a, b)| all.then(b.total_cmp(&a)))
        });
    }

    /// The same study of its first seeds alone.
    pub(super) fn of_first(&self, seeds: usize) -> Self {
        let mut part = self.clone();
        part.seeds.truncate(seeds);
        part.facts.truncate(seeds);
        for row in &mut part.rows {
            let samples = row.samples.iter().take(seeds).cloned().collect();
            *row = Row::new(&row.loss, &part.seeds, samples);
        }
        part.rank();
        part
    }

    /// True if every assertion holds after every loss on every seed, and with nothing lost.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.anyway.is_empty() && self.rows.iter().all(|row| row.breaches.is_empty())
    }
}
