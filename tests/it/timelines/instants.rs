//! Instants that a timer decides: how long after its cause each write comes, recorded and in every
//! run. A span may differ from the recorded one by one tick of the timer that it waits for, no
//! more; latencies of requests are not compared. `instant_rows` has the list.

use super::instant_rows::ROWS;
use super::{Case, Change, Timeline};
use std::fmt::Write as _;

/// A write that waits for a timer.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) recording: &'static str,
    pub(super) write: &'static str,
    /// What the span counts from.
    pub(super) cause: &'static str,
    /// The timer, and one tick of it in seconds: the tolerance.
    pub(super) timer: &'static str,
    pub(super) tick: f64,
    /// As recorded, in seconds.
    pub(super) recorded: &'static [f64],
    /// Finds the spans; sorted where draws decide which of several is which.
    pub(super) spans: fn(&Timeline) -> Vec<f64>,
}

impl Row {
    /// What is wrong with the spans of a run.
    fn differences(&self, whose: &str, got: &[f64]) -> String {
        let near = |(w, g): (&f64, &f64)| (w - g).abs() <= self.tick;
        if got.len() == self.recorded.len() && self.recorded.iter().zip(got).all(near) {
            return String::new();
        }
        let Self { recording, write, cause, tick, .. } = self;
        let (want, got) = (seconds(self.recorded), seconds(got));
        format!("{recording} {whose}: {write} after {cause}: {got}, recorded {want} ± {tick}\n")
    }
}

fn seconds(spans: &[f64]) -> String {
    spans.iter().map(|s| format!("{s:.2}")).collect::<Vec<_>>().join(", ")
}

/// Compares all rows of a recording.
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
pub(super) fn check(case: &Case) -> String {
    let mut wrong = String::new();
    for row in ROWS.iter().filter(|r| r.recording == case.id) {
        let recorded = (row.spans)(&case.recorded);
        let as_noted = recorded.len() == row.recorded.len()
            && recorded.iter().zip(row.recorded).all(|(r, n)| (r - n).abs() < 0.006);
        if !as_noted {
            let (found, noted) = (seconds(&recorded), seconds(row.recorded));
            writeln!(wrong, "{}: {} is recorded as {found}, not {noted}", row.recording, row.write)
                .unwrap();
        }
        let runs: Vec<Vec<f64>> = case.runs.iter().map(row.spans).collect();
        for (run, seed) in runs.iter().zip(1..) {
            wrong += &row.differences(&format!("seed {seed}"), run);
        }
        let extreme = |pick: fn(f64, f64) -> f64| -> Vec<f64> {
            let at = |i: usize| runs.iter().filter_map(|r| r.get(i)).copied().reduce(pick);
            (0..row.recorded.len()).filter_map(at).collect()
        };
        let (least, most) = (seconds(&extreme(f64::min)), seconds(&extreme(f64::max)));
        println!(
            "{:3} {} after {}: recorded {}, simulated {least} to {most} (± {} s: {})",
            row.recording,
            row.write,
            row.cause,
            seconds(row.recorded),
            row.tick,
            row.timer
        );
    }
    wrong
}

/// The rows as a table.
pub(super) fn table() -> String {
    let mut text = String::from(
        "\n| recording | write | counted from | recorded, s | tolerance |\n|---|---|---|---|---|\n",
    );
    for row in ROWS {
        let Row { recording, write, cause, timer, tick, .. } = row;
        let spans = seconds(row.recorded);
        writeln!(text, "| {recording} | {write} | {cause} | {spans} | {tick} s: {timer} |")
            .unwrap();
    }
    text
}

/// When changes happened to objects of a kind whose name begins so.
pub(super) fn at(
    run: &Timeline,
    kind: &str,
    name: &str,
    what: impl Fn(&Change) -> bool,
) -> Vec<f64> {
    run.of(kind).filter(|c| c.name.starts_with(name) && what(c)).map(|c| c.at).collect()
}

/// The first instant of a list from another one on.
pub(super) fn from(all: &[f64], instant: f64) -> f64 {
    all.iter().copied().find(|t| *t >= instant).unwrap_or(f64::NAN)
}

/// Differences of neighbours.
pub(super) fn gaps(all: &[f64]) -> Vec<f64> {
    all.windows(2).map(|p| p[1] - p[0]).collect()
}

/// In order of length.
pub(super) fn sorted(mut all: Vec<f64>) -> Vec<f64> {
    all.sort_by(f64::total_cmp);
    all
}
