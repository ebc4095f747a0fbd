//! Nodes, pods and prices over time, one below the other: what an autoscaler did, and what it cost.

use super::axes::Frame;
use super::picture::{Anchor, BLUE, Colour, INK, Picture, RED, width_of};
use super::{marks, span_of};
use crate::engine::num;
use crate::report::cost::Bills;
use crate::report::metrics::Metrics;
use crate::report::pods::State;
use crate::report::summary::Summary;

/// A curve: colour, words, values.
type Curve = (Colour, &'static str, Vec<(f64, f64)>);

/// The picture; none without a cloud.
#[must_use]
pub fn draw(metrics: &Metrics, summary: &Summary) -> Option<Picture> {
    let (bills, cost) = (metrics.bills.as_deref()?, summary.cost.as_ref()?);
    let title = format!(
        "The machines cost {:.2}: {:.2} per hour on average, {:.2} at most",
        cost.total, cost.per_hour, cost.peak_per_hour
    );
    let below = "machines from their grant to their end, at the prices of the scenario";
    let mut picture = Picture::new(1000, 650, &title, below);
    let samples = &metrics.series.samples;
    let of = |value: &dyn Fn(usize) -> u32| -> Vec<(f64, f64)> {
        let point = |i: usize| (samples[i].time.secs_f64(), f64::from(value(i)));
        (0..samples.len()).map(point).collect()
    };
    let state = |i: usize, s: State| samples[i].states[s.index()];
    let panels: [(&str, Vec<Curve>); 3] = [
        ("nodes", vec![(BLUE, "Ready nodes", of(&|i| samples[i].nodes_ready))]),
        (
            "pods",
            vec![
                (BLUE, "ready", of(&|i| state(i, State::Ready))),
                (RED, "without a node", of(&|i| state(i, State::Waiting))),
            ],
        ),
        ("price per hour", vec![(BLUE, "all machines", rates(bills, span_of(summary)))]),
    ];
    let mut top = 96.0;
    for (i, (unit, curves)) in panels.iter().enumerate() {
        let highest = curves.iter().flat_map(|c| &c.2).map(|p| p.1).fold(0.0, f64::max);
        let frame = Frame::panel((top, 130.0), span_of(summary), highest);
        panel(&mut picture, &frame, (unit, curves), summary, i == panels.len() - 1);
        top += 178.0;
    }
    Some(picture)
}

fn panel(
    picture: &mut Picture,
    frame: &Frame,
    (unit, curves): (&str, &[Curve]),
    summary: &Summary,
    last: bool,
) {
    frame.shade(picture, &marks(summary));
    frame.y_axis(picture, 3, unit);
    frame.faults(picture, &marks(summary), false);
    let mut x = frame.left + 140.0;
    for (colour, words, values) in curves {
        picture.line(steps(frame, values), *colour, 1.8);
        let y = frame.top - 11.0;
        picture.line(vec![(x, y), (x + 22.0, y)], *colour, 2.5);
        picture.text((x + 28.0, y + 4.0), 12.0, Anchor::Start, INK, words);
        x += 28.0 + width_of(words, 12.0) + 18.0;
    }
    frame.time_axis(picture, last);
}

/// The line of a step function: each value holds until the next one.
pub(super) fn steps(frame: &Frame, values: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (at, value) in values {
        let (px, py) = (frame.x(*at), frame.y(*value));
        if let Some(&(_, before)) = points.last() {
            points.push((px, before));
        }
        points.push((px, py));
    }
    points
}

/// Price of all machines together, whenever it changed.
pub(in crate::report) fn rates(bills: &Bills, end: f64) -> Vec<(f64, f64)> {
    let money = |micro: u64| num::float_u(micro) / 1e6;
    let mut points: Vec<(f64, f64)> =
        bills.rates.iter().map(|(at, micro)| (at.secs_f64(), money(*micro))).collect();
    let last = points.last().map_or(0.0, |p| p.1);
    points.push((end, last));
    points
}
