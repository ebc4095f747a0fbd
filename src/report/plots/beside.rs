//! Several runs over time, in one picture: what each did, and what its users felt.

use super::axes::Frame;
use super::cost::steps;
use super::picture::{Anchor, Colour, FAINT, INK, Picture, RUNS, cut, width_of};
use crate::engine::num;
use crate::report::curves::{self, Curves};

/// Points of a step function: seconds and values.
type Points = Vec<(f64, f64)>;

/// What is drawn, from above: a curve, and its unit.
const PANELS: [(&str, &str); 5] = [
    (curves::FAILING, "requests that fail, per second"),
    (curves::READY, "pods ready"),
    (curves::WAITING, "pods without a node"),
    (curves::NODES, "nodes ready"),
    (curves::PRICE, "price per hour"),
];

/// The picture of these runs, with their names.
#[must_use]
pub fn draw(title: &str, runs: &[(&str, &Curves)]) -> Picture {
    let has = |curve: &str| runs.iter().any(|(_, run)| run.curves.contains_key(curve));
    let panels: Vec<(&str, &str)> = PANELS.into_iter().filter(|p| has(p.0)).collect();
    let height = 130 + 18 * runs.len() + 150 * panels.len();
    let head = 70.0 + 18.0 * num::float_u(runs.len() as u64);
    let below = "one run each, of the first seed";
    let mut picture = Picture::new(1000, num::u32_of(height), title, below);
    let wide = runs.iter().map(|run| width_of(&cut(run.0, 13.0, 300.0), 13.0)).fold(0.0, f64::max);
    let wide = 48.0 + wide + 14.0;
    for (i, ((name, run), colour)) in runs.iter().zip(RUNS).enumerate() {
        let y = 72.0 + 18.0 * num::float_u(i as u64);
        picture.line(vec![(16.0, y - 4.0), (40.0, y - 4.0)], colour, 2.5);
        let name = cut(name, 13.0, 300.0);
        picture.text((48.0, y), 13.0, Anchor::Start, INK, &name);
        picture.text((wide, y), 13.0, Anchor::Start, FAINT, &run.words);
    }
    let end = runs.iter().map(|(_, run)| run.end_s).fold(1e-3, f64::max);
    let mut top = head + 14.0;
    for (n, &(curve, unit)) in panels.iter().enumerate() {
        let curves: Vec<(Colour, Points)> = runs
            .iter()
            .zip(RUNS)
            .filter_map(|((_, run), colour)| Some((colour, run.points(curve)?)))
            .collect();
        draw_panel(&mut picture, (top, end), unit, &curves, n + 1 == panels.len());
        top += 150.0;
    }
    picture
}

fn draw_panel(
    picture: &mut Picture,
    (top, end): (f64, f64),
    unit: &str,
    curves: &[(Colour, Points)],
    last: bool,
) {
    let highest = curves.iter().flat_map(|c| &c.1).map(|p| p.1).fold(0.0, f64::max);
    let frame = Frame::panel((top, 110.0), end, highest);
    frame.y_axis(picture, 3, unit);
    for (colour, points) in curves {
        picture.line(steps(&frame, points), *colour, 1.8);
    }
    frame.time_axis(picture, last);
}
