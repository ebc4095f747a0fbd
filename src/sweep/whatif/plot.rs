//! The answer as a picture: a bar per loss for its downtime, one below for replicas short, with
//! whiskers for the 95 % intervals.

use super::ranking::{Row, Study};
use crate::engine::num;
use crate::report::plots::axes::{Frame, nice, number};
use crate::report::plots::picture::{
    Anchor, Colour, FAINT, GRID, INK, ORANGE, Picture, RED, cut, width_of,
};
use crate::report::text::count;
use crate::sweep::stats::Estimate;

/// Losses in the picture.
const MOST: usize = 60;
const BAND: f64 = 26.0;
const LEFT: f64 = 210.0;
/// Where the bars of downtime end and those of replicas short begin.
const MIDDLE: (f64, f64) = (570.0, 620.0);
const RIGHT: f64 = 976.0;
const TOP: f64 = 96.0;

impl Study {
    /// The picture of the ranking.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let rows = &self.rows[..self.rows.len().min(MOST)];
        let bottom = TOP + f64::from(num::u32_of(rows.len()).max(1)) * BAND;
        let high = u32::try_from(num::trunc(bottom + 48.0)).unwrap_or(400);
        let mut below = format!(
            "means over {} with 95 % intervals (t, cut at zero); down: fewer ready replicas than the \
             budget asks for, without one fewer than {}",
            count(self.seeds.len() as u64, "seed"),
            self.need,
        );
        if rows.len() < self.rows.len() {
            below = format!("the {} worst of {}; {below}", rows.len(), self.rows.len());
        }
        let mut picture = Picture::new(1000, high, &self.finding(), &below);
        let reach = |of: fn(&Row) -> &Estimate| {
            let ends = rows.iter().map(|r| {
                let e = of(r);
                e.interval.map_or(e.mean, |(_, high)| high.max(e.mean))
            });
            // With nothing to show the axis goes to one.
            let most = ends.filter(|x| x.is_finite()).fold(0.0, f64::max);
            if most > 1e-6 { most } else { 1.0 }
        };
        let down = frame(LEFT, MIDDLE.0, bottom, reach(|r| &r.down));
        let short = frame(MIDDLE.1, RIGHT, bottom, reach(|r| &r.short));
        axis(&mut picture, &down, "downtime, minutes, all workloads added");
        axis(&mut picture, &short, "short of replicas, replica-minutes");
        for (i, row) in rows.iter().enumerate() {
            let y = TOP + f64::from(num::u32_of(i)) * BAND;
            let name = cut(&row.loss.to_string(), 12.0, LEFT - 24.0);
            picture.text((LEFT - 8.0, y + 16.0), 12.0, Anchor::End, INK, &name);
            bar(&mut picture, &down, (&row.down, y), RED, &row.loss.to_string());
            bar(&mut picture, &short, (&row.short, y), ORANGE, &row.loss.to_string());
        }
        picture
    }

    /// The finding in one line.
    fn finding(&self) -> String {
        let down = self.rows.iter().filter(|r| r.down.mean > 0.0).count();
        let all = self.rows.len();
        match self.rows.first() {
            Some(worst) if worst.down.mean > 0.0 => {
                let hit = worst.workloads.first().map_or("", |w| w.workload.as_str());
                format!(
                    "{down} of {all} losses take a workload down; worst: {} ({hit})",
                    worst.loss
                )
            }
            Some(worst) if worst.short.mean > 0.0 => {
                format!("None of {all} losses takes a workload down; most short: {}", worst.loss)
            }
            Some(_) | None => format!("None of {all} losses does any damage"),
        }
    }
}

fn frame(left: f64, right: f64, bottom: f64, x1: f64) -> Frame {
    Frame { left, top: TOP, right, bottom, x0: 0.0, x1, y1: 1.0 }
}

fn axis(picture: &mut Picture, frame: &Frame, words: &str) {
    let step = nice(frame.x1 / 5.0);
    let mut value = 0.0;
    while value <= frame.x1 * 1.0001 {
        let x = frame.x(value);
        picture.line(vec![(x, frame.top), (x, frame.bottom)], GRID, 1.0);
        picture.text((x, frame.bottom + 18.0), 12.0, Anchor::Middle, FAINT, &number(value));
        value += step;
    }
    picture.line(vec![(frame.left, frame.top), (frame.left, frame.bottom)], INK, 1.0);
    let wide = width_of(words, 12.0).min(frame.right - frame.left);
    let x = frame.left + wide / 2.0;
    picture.text((x, frame.top - 10.0), 12.0, Anchor::Middle, FAINT, words);
}

fn bar(
    picture: &mut Picture,
    frame: &Frame,
    (estimate, y): (&Estimate, f64),
    colour: Colour,
    name: &str,
) {
    let mean = estimate.mean;
    if !mean.is_finite() || mean <= 0.0 {
        return;
    }
    let tip = format!("{name}: {}", num::rounded(mean, 2));
    let wide = (frame.x(mean) - frame.left).max(1.0);
    picture.tip((frame.left, y + 4.0, wide, BAND - 9.0), colour, tip);
    if let Some((low, high)) = estimate.interval.filter(|(low, high)| high > low) {
        let (a, b) = (frame.x(low.max(0.0)), frame.x(high));
        let middle = y + 4.0 + (BAND - 9.0) / 2.0;
        picture.line(vec![(a, middle), (b, middle)], INK, 1.5);
        for x in [a, b] {
            picture.line(vec![(x, middle - 4.0), (x, middle + 4.0)], INK, 1.5);
        }
    }
}
