//! What pictures of many runs need of each: curves at a few hundred instants, and how long pods
//! waited. Small enough to keep for thousands of runs.

use super::metrics::Metrics;
use super::plots::cost::rates;
use super::pods::State;
use super::summary::Summary;
use super::text::count;
use super::timeseries::Sample;
use crate::engine::num;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Steps of a curve from the start of the run to its end.
pub const STEPS: u32 = 400;

/// Quantiles of the waits less one: every half per cent.
pub const QUANTILES: u32 = 200;

/// Requests that fail per second.
pub const FAILING: &str = "requests_failing_per_s";
/// Pods that run and are ready.
pub const READY: &str = "pods_ready";
/// Pods without a node.
pub const WAITING: &str = "pods_without_node";
/// Ready nodes.
pub const NODES: &str = "nodes_ready";
/// What the machines of the cloud cost per hour.
pub const PRICE: &str = "price_per_hour";
/// Share of the Ready nodes' CPU that is requested, per cent.
pub const CPU: &str = "cpu_requested_percent";
/// Share of the Ready nodes' memory that is requested, per cent.
pub const MEMORY: &str = "memory_requested_percent";
/// Share of the Ready nodes' free CPU that a typical pod cannot use, per cent.
pub const FRAGMENTED: &str = "cpu_fragmented_percent";

/// Points of a step function: seconds and values.
type Points = Vec<(f64, f64)>;

/// Curves of one run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curves {
    /// Length of the run, seconds.
    pub end_s: f64,
    /// By name: the steps at which a curve changes, and its values from there on.
    pub curves: BTreeMap<String, Vec<(u32, f64)>>,
    /// What the run comes to, in words.
    pub words: String,
    /// How long pods waited from creation to binding, seconds: [`QUANTILES`] and one quantiles at
    /// equal steps; none if no pod was bound.
    pub waits_s: Vec<f64>,
    /// How many pods those are.
    pub waited: u64,
}

impl Curves {
    /// Of a run that has ended.
    #[must_use]
    pub fn of(metrics: &Metrics, summary: &Summary) -> Self {
        let end_s = summary.ended_s.max(1e-3);
        let samples = &metrics.series.samples;
        let mut curves = BTreeMap::new();
        let mut gauge = |name: &str, value: &dyn Fn(&Sample) -> f64| {
            curves.insert(name.to_owned(), sampled(samples, end_s, value));
        };
        let share = |part: i64, whole: i64| num::rounded(super::nodes::percent(part, whole), 3);
        gauge(READY, &|s| f64::from(s.states[State::Ready.index()]));
        gauge(WAITING, &|s| f64::from(s.states[State::Waiting.index()]));
        gauge(NODES, &|s| f64::from(s.nodes_ready));
        gauge(CPU, &|s| share(s.all.cpu, s.all.cpu_allocatable));
        gauge(MEMORY, &|s| share(s.all.memory, s.all.memory_allocatable));
        gauge(FRAGMENTED, &|s| share(s.free.1, s.free.0));
        let failing = failing(metrics).map(|points| stepped(&points, end_s));
        curves.extend(failing.map(|steps| (FAILING.to_owned(), steps)));
        let prices = metrics.bills.as_deref().map(|bills| stepped(&rates(bills, end_s), end_s));
        curves.extend(prices.map(|steps| (PRICE.to_owned(), steps)));
        let waited = metrics.pods.waits.len() as u64;
        Self { end_s, curves, words: words(summary), waits_s: waits(&metrics.pods.waits), waited }
    }

    /// A curve as points; none if the run does not have it.
    #[must_use]
    pub fn points(&self, name: &str) -> Option<Points> {
        let at = |step: u32| self.end_s * f64::from(step) / f64::from(STEPS);
        let steps = self.curves.get(name)?;
        let mut points: Points = steps.iter().map(|&(step, value)| (at(step), value)).collect();
        // To the end, although nothing changes any more.
        points.extend(steps.last().map(|last| (self.end_s, last.1)));
        Some(points)
    }

    /// The value of a curve at an instant; after the end of the run the last one.
    #[must_use]
    pub fn at(&self, name: &str, secs: f64) -> Option<f64> {
        let steps = self.curves.get(name)?;
        let step = libm::floor(secs / self.end_s * f64::from(STEPS) + 1e-9);
        let after = steps.partition_point(|&(at, _)| f64::from(at) <= step);
        steps.get(after.checked_sub(1)?).map(|point| point.1)
    }
}

/// The instant of a step.
fn instant(step: u32, end_s: f64) -> f64 {
    end_s * f64::from(step) / f64::from(STEPS)
}

/// Only where it changes.
fn changes(values: impl Iterator<Item = f64>) -> Vec<(u32, f64)> {
    let mut kept: Vec<(u32, f64)> = Vec::new();
    for (step, value) in (0..).zip(values) {
        if kept.last().is_none_or(|last| last.1.total_cmp(&value).is_ne()) {
            kept.push((step, value));
        }
    }
    kept
}

/// The value of the last sample before each step.
fn sampled(samples: &[Sample], end_s: f64, value: &dyn Fn(&Sample) -> f64) -> Vec<(u32, f64)> {
    let mut next = 0;
    let mut now = 0.0;
    changes((0..=STEPS).map(|step| {
        let until = instant(step, end_s);
        while samples.get(next).is_some_and(|s| s.time.secs_f64() <= until) {
            now = value(&samples[next]);
            next += 1;
        }
        now
    }))
}

/// The highest value since the step before: what is brief must not be lost.
fn stepped(points: &[(f64, f64)], end_s: f64) -> Vec<(u32, f64)> {
    let mut next = 0;
    let mut now = 0.0;
    changes((0..=STEPS).map(|step| {
        let until = instant(step, end_s);
        let mut highest: f64 = now;
        let mut first = true;
        while points.get(next).is_some_and(|point| point.0 <= until) {
            now = points[next].1;
            // What held at the step before was told there.
            highest = if first { now } else { highest.max(now) };
            first = false;
            next += 1;
        }
        num::rounded(highest, 4)
    }))
}

fn waits(waits: &[u64]) -> Vec<f64> {
    if waits.is_empty() {
        return Vec::new();
    }
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    let of = |i: u32| num::quantile_sorted(&sorted, f64::from(i) / f64::from(QUANTILES));
    (0..=QUANTILES).map(|i| num::rounded(num::float_u(of(i)) / 1e9, 6)).collect()
}

/// Requests that fail per second, over all rows that somebody has written.
fn failing(metrics: &Metrics) -> Option<Points> {
    let rows = metrics.traffic.rows.iter().filter(|row| !row.derived && !row.pieces.is_empty());
    let mut changes: BTreeMap<u64, f64> = BTreeMap::new();
    for piece in rows.flat_map(|row| &row.pieces) {
        let rate = piece.lost() / piece.to.since(piece.from).secs_f64().max(1e-9);
        *changes.entry(piece.from.0).or_default() += rate;
        *changes.entry(piece.to.0).or_default() -= rate;
    }
    let mut rate = 0.0;
    let points = changes.into_iter().map(|(at, change)| {
        rate += change;
        (num::float_u(at) / 1e9, f64::max(rate, 0.0))
    });
    let points: Points = points.collect();
    (!points.is_empty()).then_some(points)
}

/// `92.1 % of 3,470,000 requests answered in time, machines cost 2.75`.
fn words(summary: &Summary) -> String {
    let rows = || summary.traffic.iter().filter(|t| !t.derived);
    let sent: f64 = rows().map(|t| t.requests).sum();
    let failed: f64 = rows().map(|t| t.failed).sum();
    let mut parts = Vec::new();
    if sent > 0.0 {
        let share = num::rounded(100.0 * (1.0 - failed / sent), 2);
        parts.push(format!("{share} % of requests answered in time"));
    }
    parts.extend(summary.cost.as_ref().map(|cost| format!("machines cost {:.2}", cost.total)));
    if parts.is_empty() {
        let ready = count(u64::from(summary.pods.ready_at_end), "pod");
        parts.push(format!("{ready} ready at the end"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_keep_what_is_brief_and_what_is_last() {
        let points = [(0.0, 1.0), (50.01, 9.0), (50.02, 2.0), (80.0, 0.0)];
        let curves = Curves {
            end_s: 100.0,
            curves: BTreeMap::from([("x".to_owned(), stepped(&points, 100.0))]),
            ..Curves::default()
        };
        let at = |secs: f64| curves.at("x", secs).unwrap_or(f64::NAN);
        let seen: Vec<String> = [0.0, 49.0, 50.25, 50.5, 79.0, 80.0, 100.0, 1e6]
            .map(|secs| at(secs).to_string())
            .to_vec();
        assert_eq!(seen.join(" "), "1 1 9 2 2 0 0 0");
        let last = curves.points("x").and_then(|points| points.last().copied());
        assert_eq!(format!("{last:?}"), "Some((100.0, 0.0))");
        assert!(curves.at("y", 1.0).is_none());
    }

    #[test]
    fn quantiles_are_those_of_the_waits() {
        let all: Vec<u64> = (1..=1000).rev().map(|ms| ms * 1_000_000).collect();
        let waits = waits(&all);
        assert_eq!(waits.len(), 201);
        let three = [waits[0], waits[100], waits[200]].map(|secs| secs.to_string());
        assert_eq!(three, ["0.001", "0.5", "1"]);
    }
}
