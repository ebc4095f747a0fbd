//! Several runs over time, in one picture: what each did, and what its users felt.

use super::axes::Frame;
use super::cost::{rates, steps};
use super::picture::{
    Anchor, BLUE, Colour, FAINT, GREEN, INK, ORANGE, PURPLE, Picture, RED, SKY, cut, width_of,
};
use super::span_of;
use crate::engine::num;
use crate::report::metrics::Metrics;
use crate::report::pods::State;
use crate::report::summary::Summary;
use std::collections::BTreeMap;

/// Points of a step function: seconds and values.
type Points = Vec<(f64, f64)>;

/// What is drawn of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Length, seconds.
    end: f64,
    /// Curves in the order of [`PANELS`]; none of what the run has not.
    curves: [Option<Points>; 5],
    /// What it comes to, in words.
    words: String,
}

/// What is drawn, from above.
const PANELS: [&str; 5] = [
    "requests that fail, per second",
    "pods ready",
    "pods without a node",
    "nodes ready",
    "price per hour",
];
const COLOURS: [Colour; 6] = [BLUE, RED, GREEN, ORANGE, PURPLE, SKY];
/// Runs that can be told apart.
pub const MOST: usize = COLOURS.len();

impl Course {
    /// Of a run that has ended.
    #[must_use]
    pub fn of(metrics: &Metrics, summary: &Summary) -> Self {
        let samples = &metrics.series.samples;
        let of = |value: &dyn Fn(usize) -> u32| -> Option<Points> {
            let point = |i: usize| (samples[i].time.secs_f64(), f64::from(value(i)));
            Some((0..samples.len()).map(point).collect())
        };
        let state = |i: usize, s: State| samples[i].states[s.index()];
        let bills = metrics.bills.as_deref();
        let end = span_of(summary);
        Self {
            end,
            curves: [
                failing(metrics),
                of(&|i| state(i, State::Ready)),
                of(&|i| state(i, State::Waiting)),
                of(&|i| samples[i].nodes_ready),
                bills.map(|bills| rates(bills, end)),
            ],
            words: words(summary),
        }
    }
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
        parts.push(format!("{} pods ready at the end", summary.pods.ready_at_end));
    }
    parts.join(", ")
}

/// The picture of these runs, with their names.
#[must_use]
pub fn draw(title: &str, runs: &[(&str, &Course)]) -> Picture {
    let panels: Vec<usize> = (0..PANELS.len())
        .filter(|&i| runs.iter().any(|(_, run)| run.curves[i].is_some()))
        .collect();
    let height = 130 + 18 * runs.len() + 150 * panels.len();
    let head = 70.0 + 18.0 * num::float_u(runs.len() as u64);
    let below = "one run each, of the first seed";
    let mut picture = Picture::new(1000, num::u32_of(height), title, below);
    let wide = runs.iter().map(|run| width_of(&cut(run.0, 13.0, 300.0), 13.0)).fold(0.0, f64::max);
    let wide = 48.0 + wide + 14.0;
    for (i, ((name, run), colour)) in runs.iter().zip(COLOURS).enumerate() {
        let y = 72.0 + 18.0 * num::float_u(i as u64);
        picture.line(vec![(16.0, y - 4.0), (40.0, y - 4.0)], colour, 2.5);
        let name = cut(name, 13.0, 300.0);
        picture.text((48.0, y), 13.0, Anchor::Start, INK, &name);
        picture.text((wide, y), 13.0, Anchor::Start, FAINT, &run.words);
    }
    let end = runs.iter().map(|(_, run)| run.end).fold(1e-3, f64::max);
    let mut top = head + 14.0;
    for (n, &panel) in panels.iter().enumerate() {
        let curves: Vec<(Colour, &Points)> = runs
            .iter()
            .zip(COLOURS)
            .filter_map(|((_, run), colour)| Some((colour, run.curves[panel].as_ref()?)))
            .collect();
        draw_panel(&mut picture, (top, end), PANELS[panel], &curves, n + 1 == panels.len());
        top += 150.0;
    }
    picture
}

fn draw_panel(
    picture: &mut Picture,
    (top, end): (f64, f64),
    unit: &str,
    curves: &[(Colour, &Points)],
    last: bool,
) {
    let highest = curves.iter().flat_map(|c| c.1).map(|p| p.1).fold(0.0, f64::max);
    let frame = Frame::panel((top, 110.0), end, highest);
    frame.y_axis(picture, 3, unit);
    for (colour, points) in curves {
        picture.line(steps(&frame, points), *colour, 1.8);
    }
    frame.time_axis(picture, last);
}
