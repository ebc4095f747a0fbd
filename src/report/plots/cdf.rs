//! How long pods waited for a node under several policies: the share that waited at most so long.

use super::axes::Frame;
use super::legend;
use super::pending::log_axis;
use super::picture::{Picture, RUNS};
use crate::engine::num;

/// A curve: seconds and the share of pods that waited at most so long, per cent; ascending.
pub type Curve = Vec<(f64, f64)>;

/// What is drawn as the shortest wait, seconds.
const LEAST: f64 = 1e-3;

/// The picture.
#[must_use]
pub fn draw((title, below): (&str, &str), names: &[&str], curves: &[Curve]) -> Picture {
    let head = 72.0 + legend::height(names, 1000);
    let height = u32::try_from(num::trunc(head + 330.0)).unwrap_or(u32::MAX);
    let mut picture = Picture::new(1000, height, title, below);
    legend::draw(&mut picture, 74.0, names);
    let log = |secs: f64| num::log10(secs.max(LEAST));
    let all = || curves.iter().flatten().map(|p| log(p.0));
    let low = libm::floor(all().fold(f64::INFINITY, f64::min).clamp(-3.0, 9.0));
    let high = (all().fold(-3.0, f64::max) + 0.1).max(low + 1.0);
    let (top, bottom) = (head + 16.0, head + 276.0);
    let frame = Frame { left: 64.0, top, right: 976.0, bottom, x0: low, x1: high, y1: 100.0 };
    frame.y_axis(&mut picture, 5, "share of pods, %");
    log_axis(&mut picture, &frame);
    for (curve, colour) in curves.iter().zip(RUNS) {
        let mut level = frame.bottom;
        let mut line = vec![(frame.left, level)];
        for &(secs, share) in curve {
            let x = frame.x(log(secs));
            line.push((x, level));
            level = frame.y(share);
            line.push((x, level));
        }
        line.push((frame.right, level));
        picture.line(line, colour, 2.0);
    }
    picture
}
