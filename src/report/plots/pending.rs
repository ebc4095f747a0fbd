//! How long pods waited for a node: the share that waited at most so long.

use super::axes::Frame;
use super::picture::{Anchor, BLUE, FAINT, GRID, INK, Picture, RED};
use crate::engine::num;
use crate::report::metrics::Metrics;
use crate::report::summary::Summary;
use crate::report::text::{count, span};

/// Points of the curve: more cannot be seen.
const POINTS: usize = 500;

/// The picture.
#[must_use]
pub fn draw(metrics: &Metrics, summary: &Summary) -> Picture {
    let p = &summary.pending;
    let title = if p.samples == 0 {
        "No pod was ever bound".to_owned()
    } else {
        format!(
            "Half of the pods were bound within {}, 99 % within {}",
            span(p.p50_s),
            span(p.p99_s)
        )
    };
    let left = summary.pods.unscheduled_at_end;
    let mut below = format!("from creation to binding, {}", count(p.samples as u64, "pod"));
    if left > 0 {
        below.push_str(&format!("; {left} still without a node at the end, not in the curve"));
    }
    let mut picture = Picture::new(1000, 380, &title, &below);
    let mut waits = metrics.pods.waits.clone();
    waits.sort_unstable();
    let (low, high) = decades(&waits);
    let frame =
        Frame { left: 64.0, top: 84.0, right: 976.0, bottom: 326.0, x0: low, x1: high, y1: 100.0 };
    frame.y_axis(&mut picture, 4, "share of pods, %");
    log_axis(&mut picture, &frame);
    picture.line(curve(&waits, &frame), BLUE, 2.2);
    quantiles(&mut picture, &frame, summary);
    picture
}

fn log_of(ns: u64) -> f64 {
    num::log10(num::float_u(ns.max(1_000)) / 1e9)
}

/// Whole decades around the waits.
fn decades(sorted: &[u64]) -> (f64, f64) {
    let first = sorted.first().map_or(-3.0, |w| libm::floor(log_of(*w)));
    let last = sorted.last().map_or(0.0, |w| libm::ceil(log_of(*w)));
    (first, last.max(first + 1.0))
}

/// A logarithmic axis of time below the box.
pub(super) fn log_axis(picture: &mut Picture, frame: &Frame) {
    let mut decade = frame.x0;
    while decade <= frame.x1 + 0.001 {
        let x = frame.x(decade);
        picture.line(vec![(x, frame.top), (x, frame.bottom)], GRID, 1.0);
        let words = span(num::pow(10.0, decade));
        picture.text((x, frame.bottom + 18.0), 12.0, Anchor::Middle, FAINT, &words);
        decade += 1.0;
    }
    picture.line(vec![(frame.left, frame.bottom), (frame.right, frame.bottom)], INK, 1.0);
    let middle = f64::midpoint(frame.left, frame.right);
    let words = "time from a pod's creation to its binding (logarithmic)";
    picture.text((middle, frame.bottom + 36.0), 12.0, Anchor::Middle, FAINT, words);
}

fn curve(sorted: &[u64], frame: &Frame) -> Vec<(f64, f64)> {
    let n = sorted.len();
    let mut points = Vec::new();
    if n == 0 {
        return points;
    }
    points.push((frame.left, frame.bottom));
    let mut level = frame.bottom;
    let mut ranks: Vec<usize> = (0..POINTS).map(|i| i * n / POINTS).collect();
    ranks.push(n - 1);
    ranks.dedup();
    for rank in ranks {
        let x = frame.x(log_of(sorted[rank]));
        let share = 100.0 * num::float_u(rank as u64 + 1) / num::float_u(n as u64);
        points.push((x, level));
        level = frame.y(share);
        points.push((x, level));
    }
    points.push((frame.right, level));
    points
}

fn quantiles(picture: &mut Picture, frame: &Frame, summary: &Summary) {
    let p = &summary.pending;
    if p.samples == 0 {
        return;
    }
    let list = [(50.0, p.p50_s, "p50"), (90.0, p.p90_s, "p90"), (99.0, p.p99_s, "p99")];
    let mut lowest = f64::NEG_INFINITY;
    for (share, secs, name) in list {
        let x = frame.x(num::log10(secs.max(1e-6)));
        let y = frame.y(share);
        picture.rect((x - 3.5, y - 3.5, 7.0, 7.0), RED, 1.0);
        let words = format!("{name} {}", span(secs));
        let right = x + 130.0 < frame.right;
        // Labels stand beside the curve, below their mark, and never on one another.
        let mut at = y + 18.0;
        if (at - lowest).abs() < 15.0 {
            at = lowest + 15.0;
        }
        lowest = at;
        let (x, anchor) = if right { (x + 9.0, Anchor::Start) } else { (x - 9.0, Anchor::End) };
        picture.text((x, at), 12.0, anchor, INK, &words);
    }
}
