//! What pods use: facts of the simulated world that a scenario gives, since a manifest does not say
//! what a program uses. The metrics server scrapes them, kubelets feel them. What was scraped last
//! is written by the metrics server alone and read by the API server, which hands the metrics APIs
//! on to it.

use crate::api::autoscaling::{MetricQuery, PodMetric};
use crate::api::{LabelSet, Selector};
use crate::engine::{SimDuration, SimTime, Sym, num};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How an amount goes over time; amounts in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// Always the same.
    Constant(i64),
    /// Steps: from each instant on, this amount; nothing before the first.
    Series(Arc<[(SimTime, i64)]>),
    /// A step up or down at each scrape, uniformly drawn, within bounds.
    Walk {
        /// First amount.
        start: i64,
        /// Largest step.
        step: i64,
        /// Least amount.
        min: i64,
        /// Greatest amount.
        max: i64,
    },
    /// What serving requests has taken on average since the last scrape.
    Served,
    /// Grows from the start of each container's run.
    Growth {
        /// First amount.
        start: i64,
        /// Growth per minute, above zero.
        per_minute: i64,
        /// Greatest amount.
        max: i64,
    },
    /// Goes from an amount to another one at a steady rate, up or down, and stays there.
    Fill {
        /// First amount.
        start: i64,
        /// Change per minute.
        per_minute: i64,
        /// Last amount.
        end: i64,
    },
    /// The log of a container, as large as it may be by then with its rotated files.
    Log(super::logs::Rotation),
}

/// What the pods of one workload use of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Namespace.
    pub ns: Sym,
    /// The pods; none for a value that belongs to no pod.
    pub pods: Option<Selector>,
    /// Which of their containers; empty for the first one.
    pub container: Sym,
    /// `cpu`, `memory`, `ephemeral-storage`, `pids`, or the name of a custom or external metric.
    pub metric: Sym,
    /// True if the ready pods share the amount; false if each uses it.
    pub shared: bool,
    /// How it goes.
    pub course: Course,
}

impl Load {
    /// True for what a kubelet would feel, if it were said of each pod and in straight pieces.
    #[must_use]
    pub fn unfelt(&self) -> bool {
        let kubelets = ["memory", "ephemeral-storage", "pids"].contains(&self.metric.as_str());
        let walks = matches!(self.course, Course::Walk { .. });
        kubelets && self.pods.is_some() && (self.shared || walks)
    }
}

/// A straight piece of a course: its amount at an instant, its slope, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Thousandths.
    pub amount: i64,
    /// Thousandths per minute.
    pub per_minute: i64,
    /// First instant of the next piece; none if there is none.
    pub until: Option<SimTime>,
}

const MINUTE: SimDuration = SimDuration::from_secs(60);

impl Course {
    /// The same course with all amounts so many times as large.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let times = |n: i64| num::round(num::float(n) * factor);
        match self {
            Self::Constant(n) => Self::Constant(times(*n)),
            Self::Series(steps) => {
                Self::Series(steps.iter().map(|(t, n)| (*t, times(*n))).collect())
            }
            &Self::Walk { start, step, min, max } => Self::Walk {
                start: times(start),
                step: times(step),
                min: times(min),
                max: times(max),
            },
            Self::Served => Self::Served,
            &Self::Growth { start, per_minute, max } => {
                Self::Growth { start: times(start), per_minute: times(per_minute), max: times(max) }
            }
            &Self::Fill { start, per_minute, end } => {
                Self::Fill { start: times(start), per_minute: times(per_minute), end: times(end) }
            }
            Self::Log(log) => {
                let bytes_per_s = num::round(num::float_u(log.bytes_per_s) * factor);
                Self::Log(super::logs::Rotation { bytes_per_s: num::u64_of(bytes_per_s), ..*log })
            }
        }
    }

    /// The piece at an instant, for a container that runs since another. A walk is told where it
    /// begins: its steps are those of the scrapes.
    #[must_use]
    pub fn piece(&self, since: SimTime, at: SimTime) -> Piece {
        let flat = |amount| Piece { amount, per_minute: 0, until: None };
        match self {
            Self::Constant(amount) => flat(*amount),
            Self::Walk { start, .. } => flat(*start),
            Self::Served => flat(0),
            Self::Series(steps) => {
                let next = steps.partition_point(|(from, _)| *from <= at);
                let amount = next.checked_sub(1).map_or(0, |i| steps[i].1);
                Piece { until: steps.get(next).map(|s| s.0), ..flat(amount) }
            }
            &Self::Growth { start, per_minute, max } => {
                toward((start, per_minute.max(1), max), since, at)
            }
            &Self::Fill { start, per_minute, end } => toward((start, per_minute, end), since, at),
            Self::Log(log) => log.piece(since, at),
        }
    }
}

/// The piece at an instant of what goes from `start`, which it had `since`, to `end`.
fn toward((start, per_minute, end): (i64, i64, i64), since: SimTime, at: SimTime) -> Piece {
    let flat = |amount| Piece { amount, per_minute: 0, until: None };
    let way = i128::from(end) - i128::from(start);
    let slope = i128::from(per_minute).abs();
    if slope == 0 || (way > 0) != (per_minute > 0) {
        return flat(start);
    }
    let there = since + SimDuration(wide((way.abs() * i128::from(MINUTE.0) + slope - 1) / slope));
    if at >= there {
        return flat(end);
    }
    let gone = i128::from(at.since(since).0) * slope / i128::from(MINUTE.0);
    let gone = i64::try_from(gone).unwrap_or(i64::MAX);
    let amount =
        if per_minute > 0 { start.saturating_add(gone) } else { start.saturating_sub(gone) };
    Piece { amount, per_minute, until: Some(there) }
}

fn wide(n: i128) -> u64 {
    u64::try_from(n.max(0)).unwrap_or(u64::MAX)
}

/// One user of a resource: its course, since when it runs, and from when on it stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct Part<'c> {
    /// How its use goes.
    pub course: &'c Course,
    /// Start of the container's run.
    pub since: SimTime,
    /// It ended then, and what it used stays.
    pub frozen: Option<SimTime>,
}

impl Part<'_> {
    fn piece(&self, at: SimTime) -> Piece {
        match self.frozen {
            None => self.course.piece(self.since, at),
            Some(end) => {
                let last = self.course.piece(self.since, end);
                Piece { per_minute: 0, until: None, ..last }
            }
        }
    }

    /// What it uses at an instant.
    #[must_use]
    pub fn at(&self, at: SimTime) -> i64 {
        self.piece(at).amount
    }
}

/// The first instant from `from` on at which the parts together use more than `level`.
#[must_use]
pub fn first_above(parts: &[Part<'_>], level: i64, from: SimTime) -> Option<SimTime> {
    /// Pieces looked through at most.
    const PIECES_MAX: u32 = 10_000;
    let mut at = from;
    for _ in 0..PIECES_MAX {
        let (mut sum, mut slope, mut until) = (0_i128, 0_i128, None::<SimTime>);
        for part in parts {
            let piece = part.piece(at);
            sum += i128::from(piece.amount);
            slope += i128::from(piece.per_minute);
            until = match (until, piece.until) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (one, other) => one.or(other),
            };
        }
        let level = i128::from(level);
        if sum > level {
            return Some(at);
        }
        // Amounts are rounded down each for itself: where it should be reached, it is looked again.
        let reached = (slope > 0).then(|| {
            let wait = ((level - sum + 1) * i128::from(MINUTE.0) + slope - 1) / slope;
            at + SimDuration(wide(wait).max(1))
        });
        at = match (reached, until) {
            (Some(there), Some(end)) => there.min(end),
            (there, end) => there.or(end)?,
        };
    }
    None
}

/// A sample and the labels of its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Labels of the pod; none for a value that belongs to no pod.
    pub labels: Option<LabelSet>,
    /// The sample.
    pub metric: PodMetric,
}

/// The samples of the last scrape.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    serving: bool,
    /// CPU and memory of all pods that say what they use, thousandths.
    total: (i64, i64),
    by_name: FxHashMap<(Sym, Sym), Vec<Sample>>,
}

impl Usage {
    /// A scrape begins: what was known is forgotten.
    pub fn begin(&mut self) {
        self.serving = true;
        self.total = (0, 0);
        self.by_name.clear();
    }

    /// A sample of a namespace under the name of a metric.
    pub fn add(&mut self, ns: Sym, name: Sym, sample: Sample) {
        match name.as_str() {
            "cpu" if sample.labels.is_some() => self.total.0 += sample.metric.milli,
            "memory" if sample.labels.is_some() => self.total.1 += sample.metric.milli,
            _ => {}
        }
        self.by_name.entry((ns, name)).or_default().push(sample);
    }

    /// What all pods that say so used at the last scrape: CPU in milli-cores, memory in bytes.
    #[must_use]
    pub const fn total(&self) -> (i64, i64) {
        (self.total.0, self.total.1 / 1_000)
    }

    /// The answer to a query; none while no metrics server answers.
    #[must_use]
    pub fn query(&self, ns: Sym, query: &MetricQuery) -> Option<Vec<PodMetric>> {
        if !self.serving {
            return None;
        }
        let asked = |sample: &&Sample| match (&query.pods, sample.labels) {
            (Some(selector), Some(labels)) => selector.matches(labels),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let samples = self.by_name.get(&(ns, query.name)).into_iter().flatten();
        Some(samples.filter(asked).map(|s| s.metric).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> SimTime = SimTime::from_secs;

    fn part(course: &Course, since: u64) -> Part<'_> {
        Part { course, since: S(since), frozen: None }
    }

    #[test]
    fn growth_counts_from_the_run_and_ends_at_its_greatest() {
        let course = Course::Growth { start: 100, per_minute: 60, max: 400 };
        assert_eq!(course.piece(S(10), S(10)).amount, 100);
        assert_eq!(course.piece(S(10), S(40)).amount, 130);
        assert_eq!(course.piece(S(10), S(40)).until, Some(S(310)));
        let full = Piece { amount: 400, per_minute: 0, until: None };
        assert_eq!(course.piece(S(10), S(310)), full);
    }

    #[test]
    fn the_first_instant_above_a_level_is_the_first() {
        let growth = Course::Growth { start: 0, per_minute: 600, max: 100_000 };
        let steps = Course::Series(vec![(S(0), 50), (S(100), 500), (S(200), 50)].into());
        let flat = Course::Constant(10);
        let parts = [part(&growth, 0), part(&steps, 0), part(&flat, 0)];
        let total = |at| parts.iter().map(|p| p.at(at)).sum::<i64>();
        for level in [59, 60, 500, 1_500, 1_511, 1_600, 3_000, 50_000] {
            let at = first_above(&parts, level, S(0)).unwrap();
            assert!(total(at) > level, "{level} at {at}");
            let before = SimTime(at.0.saturating_sub(1));
            assert!(at == S(0) || total(before) <= level, "{level} before {at}");
        }
        assert_eq!(first_above(&parts, 200_000, S(0)), None);
        // What has ended stays as it was.
        let ended = [Part { frozen: Some(S(60)), ..part(&growth, 0) }];
        assert_eq!(first_above(&ended, 599, S(90)), Some(S(90)));
        assert_eq!(first_above(&ended, 600, S(90)), None);
    }
}
