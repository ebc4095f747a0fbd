//! What a loss did on one seed, as numbers.

use crate::api::Kind;
use crate::cluster::spec::{Expect, Refusals};
use crate::engine::{SimDuration, SimTime};
use crate::report::downtime::{Need, down};
use crate::report::expect::{Verdict, judge};
use crate::report::metrics::Metrics;
use crate::report::summary::faults;
use crate::report::workloads::{Outage, WorkloadRow};
use std::collections::BTreeMap;

/// What was seen of a branch.
pub(super) struct Seen {
    pub(super) metrics: Metrics,
    /// It came to rest.
    pub(super) rested: bool,
}

/// What a workload lost, less what it would have lost anyway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Seconds with fewer ready replicas than needed.
    pub down_s: f64,
    /// Seconds that each replica was short, added.
    pub short_s: f64,
    /// It was down when the branch ended.
    pub open: bool,
    /// What it needs.
    pub need: Need,
    /// By a disruption budget.
    pub by_budget: bool,
    /// Replicas wanted.
    pub desired: i32,
    /// Its pods belong to nodes (a DaemonSet): those of a lost node are missed by nobody else.
    pub of_nodes: bool,
}

/// What a loss did on one seed. Spans are seconds from the loss on; none if it did not come to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Damage {
    /// Workloads that keep replicas, by name.
    pub workloads: BTreeMap<String, Loss>,
    /// Until the last node was noticed.
    pub detect_s: Option<f64>,
    /// Until the last eviction.
    pub evict_s: Option<f64>,
    /// Until the last replacement had a node.
    pub reschedule_s: Option<f64>,
    /// Until every workload (but `DaemonSets`) was whole; none if some was not by the end, or none
    /// was ever short.
    pub ready_s: Option<f64>,
    /// Pods evicted by taints.
    pub evicted: u32,
    /// Seconds that pods waited for nodes, by reason, longer than they would have anyway.
    pub pending: BTreeMap<String, f64>,
    /// Evictions that a disruption budget refused.
    pub blocked: f64,
    /// Seconds of Jobs' work to be done again.
    pub lost_work_s: f64,
    /// Assertions.
    pub verdicts: Vec<Verdict>,
    /// The cluster came to rest before the horizon.
    pub rested: bool,
}

/// Assertions that are about the state at the end.
const fn at_end(expect: &Expect) -> bool {
    matches!(
        expect,
        Expect::Converged | Expect::PendingAtEnd(_) | Expect::ClaimsBound | Expect::ServicesReady
    )
}

impl Seen {
    /// The verdicts on this branch beside the one in which nothing is lost. What fails there too is
    /// not for the loss to answer; and a cluster that never rests has no end to speak of.
    pub(super) fn verdicts(&self, calm: Option<&Self>) -> Vec<Verdict> {
        let endless = !calm.unwrap_or(self).rested;
        let calm = calm.map(|c| judge(&c.metrics)).unwrap_or_default();
        let excused = |i: usize| {
            let expect = self.metrics.plan.expect.get(i);
            let fails_anyway = calm.get(i).is_some_and(|v| !v.pass);
            fails_anyway || endless && expect.is_some_and(at_end)
        };
        let mut verdicts = judge(&self.metrics);
        for (i, verdict) in verdicts.iter_mut().enumerate() {
            verdict.pass |= excused(i);
        }
        verdicts
    }
}

impl Damage {
    /// Compares a branch with the one in which nothing was lost.
    pub(super) fn new(seen: &Seen, calm: &Seen, at: SimTime, fallback: Need) -> Self {
        let metrics = &seen.metrics;
        let stages = faults(metrics);
        let begun = at.secs_f64();
        let last = |all: Vec<Option<f64>>| {
            all.into_iter().flatten().map(|t| t - begun).max_by(f64::total_cmp)
        };
        Self {
            workloads: workloads(metrics, &calm.metrics, at, fallback),
            detect_s: last(stages.iter().map(|f| f.detected_s).collect()),
            evict_s: last(stages.iter().map(|f| f.last_evicted_s).collect()),
            reschedule_s: last(stages.iter().map(|f| f.last_rescheduled_s).collect()),
            ready_s: ready(metrics, at).map(|t| t.since(at).secs_f64()),
            evicted: stages.iter().map(|f| f.evicted).sum(),
            pending: pending(metrics, &calm.metrics),
            blocked: blocked(metrics) - blocked(&calm.metrics),
            lost_work_s: lost_work(metrics) - lost_work(&calm.metrics),
            verdicts: seen.verdicts(Some(calm)),
            rested: seen.rested,
        }
    }

    /// Seconds of downtime, all workloads added.
    #[must_use]
    pub fn down_s(&self) -> f64 {
        self.workloads.values().map(|w| w.down_s).sum()
    }

    /// Replica-seconds short, all workloads but `DaemonSets` added.
    #[must_use]
    pub fn short_s(&self) -> f64 {
        self.workloads.values().filter(|w| !w.of_nodes).map(|w| w.short_s).sum()
    }

    /// Seconds that pods waited for nodes, all added.
    #[must_use]
    pub fn pending_s(&self) -> f64 {
        self.pending.values().sum()
    }
}

/// True if it is meant to keep replicas, or if its pods have nobody to make them anew. A node's
/// static pods are part of what is lost.
fn counts(row: &WorkloadRow) -> bool {
    row.kind != Kind::Node && (row.serves() || row.kind == Kind::Pod && !row.timeline.is_empty())
}

/// When the last workload was whole again.
fn ready(metrics: &Metrics, at: SimTime) -> Option<SimTime> {
    let rows = metrics.workloads.rows.iter();
    let shorts = rows
        .filter(|w| counts(w) && w.kind != Kind::DaemonSet)
        .flat_map(|w| Outage::of(&w.timeline, metrics.ended).shorts)
        .filter(|s| s.from >= at);
    let mut latest = None;
    for short in shorts {
        if short.open {
            return None;
        }
        latest = latest.max(Some(short.to));
    }
    latest
}

fn workloads(
    metrics: &Metrics,
    calm: &Metrics,
    at: SimTime,
    fallback: Need,
) -> BTreeMap<String, Loss> {
    let mut all = BTreeMap::new();
    for (i, row) in metrics.workloads.rows.iter().enumerate().filter(|(_, w)| counts(w)) {
        let by_budget = metrics.needs.get(i).copied().flatten();
        let need = by_budget.unwrap_or(fallback);
        let with = down(&row.timeline, need, at, metrics.ended);
        let mut twins = calm.workloads.rows.iter().filter(|w| w.label == row.label);
        let without = twins.next().map(|w| down(&w.timeline, need, at, metrics.ended));
        let without = without.unwrap_or_default();
        let more = |a: SimDuration, b: SimDuration| a.secs_f64() - b.secs_f64();
        let loss = Loss {
            down_s: more(with.total, without.total),
            short_s: more(with.short, without.short),
            open: with.open && !without.open,
            need,
            by_budget: by_budget.is_some(),
            desired: row.desired,
            of_nodes: row.kind == Kind::DaemonSet,
        };
        all.insert(row.label.clone(), loss);
    }
    all
}

fn pending(metrics: &Metrics, calm: &Metrics) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, f64> = BTreeMap::new();
    for (from, sign) in [(metrics, 1.0), (calm, -1.0)] {
        let waited = from.strain.iter().flat_map(|s| &s.waited);
        for (why, span) in waited {
            *all.entry(why.clone()).or_default() += sign * span.secs_f64();
        }
    }
    all
}

fn blocked(metrics: &Metrics) -> f64 {
    let which = Refusals {
        verb: Some("create/eviction".to_owned()),
        code: Some(429),
        message: Some("disruption budget".to_owned()),
        ..Refusals::default()
    };
    crate::engine::num::float_u(metrics.refusals.count(&which))
}

fn lost_work(metrics: &Metrics) -> f64 {
    metrics.strain.as_ref().map_or(0.0, |s| s.lost.secs_f64())
}
