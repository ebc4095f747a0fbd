//! Assertions about what workloads lose: downtime, replicas short, stages of recovery, waits, work.

use super::downtime::{Down, Need, down};
use super::expect::{Verdict, find, listed, unknown, verdict};
use super::metrics::Metrics;
use super::summary::{FaultSummary, faults};
use super::workloads::WorkloadRow;
use crate::cluster::spec::RecoveryBounds;
use crate::engine::{SimDuration, SimTime};

/// The timeline's stretch that counts: from the first time that all replicas served.
fn begin(row: &WorkloadRow) -> Option<SimTime> {
    let full = row.timeline.iter().find(|p| p.desired > 0 && p.available >= p.desired);
    full.map(|p| p.time)
}

/// The workloads meant, each with what it lost; none if there is no such workload.
fn lost_by<'a>(
    metrics: &'a Metrics,
    workload: Option<&str>,
    need: Option<Need>,
) -> Option<Vec<(&'a WorkloadRow, Down)>> {
    let rows = &metrics.workloads.rows;
    let one = |i: usize| {
        let row = &rows[i];
        let need = need.or_else(|| metrics.needs.get(i).copied().flatten()).unwrap_or_default();
        let from = begin(row).unwrap_or(metrics.ended);
        (row, down(&row.timeline, need, from, metrics.ended))
    };
    match workload {
        Some(name) => find(rows, name).map(|i| vec![one(i)]),
        None => Some((0..rows.len()).filter(|&i| rows[i].serves()).map(one).collect()),
    }
}

/// Judges each workload; `of` is the measure.
fn within(
    metrics: &Metrics,
    (workload, need): (Option<&str>, Option<Need>),
    of: impl Fn(&Down) -> SimDuration,
    at_most: SimDuration,
    expected: String,
) -> Verdict {
    let Some(all) = lost_by(metrics, workload, need) else {
        return verdict(false, expected, unknown(metrics));
    };
    if let Some(name) = workload.filter(|_| all.iter().any(|(row, _)| begin(row).is_none())) {
        return verdict(false, expected, format!("{name} never had all its replicas"));
    }
    let mut over: Vec<_> = all.iter().filter(|(_, lost)| of(lost) > at_most).collect();
    over.sort_by_key(|(_, lost)| std::cmp::Reverse(of(lost)));
    let most = all.iter().map(|(_, lost)| of(lost)).max().unwrap_or_default();
    let words: Vec<String> =
        over.iter().map(|(row, lost)| format!("{} {}", row.label, of(lost))).collect();
    let observed = if over.is_empty() { most.to_string() } else { listed(&words, 3) };
    verdict(over.is_empty(), expected, observed)
}

/// No longer down than this.
pub(super) fn downtime(
    metrics: &Metrics,
    workload: Option<&str>,
    need: Option<Need>,
    at_most: SimDuration,
) -> Verdict {
    let who = workload.unwrap_or("every workload");
    let rule = need.map_or_else(String::new, |n| format!(" (fewer than {n} ready)"));
    let expected = format!("{who} down{rule} for at most {at_most}");
    within(metrics, (workload, need), |lost| lost.total, at_most, expected)
}

/// No more replica-time short than this.
pub(super) fn short(metrics: &Metrics, workload: Option<&str>, at_most: SimDuration) -> Verdict {
    let who = workload.unwrap_or("every workload");
    let expected = format!("{who} short of replicas for at most {at_most} of one replica");
    within(metrics, (workload, None), |lost| lost.short, at_most, expected)
}

/// A stage of recovery: its word, its bound, and whether and when a fault came to it.
type Stage = (&'static str, Option<SimDuration>, fn(&FaultSummary) -> (bool, Option<f64>));

/// Every fault's stages end in time.
pub(super) fn recovery(metrics: &Metrics, bounds: &RecoveryBounds) -> Verdict {
    let stages: [Stage; 4] = [
        ("noticed", bounds.detected, |f| (f.detected_nodes > 0, f.detected_s)),
        ("evicted", bounds.evicted, |f| (f.evicted > 0, f.last_evicted_s)),
        ("rescheduled", bounds.rescheduled, |f| (f.rescheduled > 0, f.last_rescheduled_s)),
        ("ready", bounds.ready, |f| (f.workloads > 0, f.recovered_s)),
    ];
    let asked = stages.iter().filter_map(|(word, most, _)| most.map(|m| format!("{word} in {m}")));
    let expected = format!("after each fault {}", asked.collect::<Vec<_>>().join(", "));
    let mut late = Vec::new();
    let mut seen = Vec::new();
    for fault in faults(metrics) {
        let Some(begun) = fault.at_s else { continue };
        for (word, most, of) in &stages {
            let (Some(most), (true, at)) = (most, of(&fault)) else { continue };
            let took = at.map(|at| SimDuration::from_secs_f64(at - begun));
            let words = took.map_or_else(|| "never".to_owned(), |t| t.to_string());
            let words = format!("{}: {word} {words}", fault.what);
            if took.is_some_and(|t| t <= *most) { seen.push(words) } else { late.push(words) }
        }
    }
    let pass = late.is_empty();
    let shown = if pass { seen } else { late };
    let observed = if shown.is_empty() { "nothing to do".to_owned() } else { listed(&shown, 3) };
    verdict(pass, expected, observed)
}

/// Waits for nodes, all added.
pub(super) fn pending(metrics: &Metrics, most: SimDuration) -> Verdict {
    let total = metrics.strain.as_ref().map_or(SimDuration::ZERO, |s| s.total());
    let expected = format!("pods wait for nodes for at most {most}, all waits added");
    verdict(total <= most, expected, total.to_string())
}

/// Work of Jobs done for nothing.
pub(super) fn lost(metrics: &Metrics, most: SimDuration) -> Verdict {
    let total = metrics.strain.as_ref().map_or(SimDuration::ZERO, |s| s.lost);
    verdict(total <= most, format!("at most {most} of Jobs' work lost"), total.to_string())
}
