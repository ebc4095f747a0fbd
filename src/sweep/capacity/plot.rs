//! The answer as a picture: per shape a bar for what fits now, and one for each loss.

use super::Answer;
use crate::engine::num;
use crate::report::plots::axes::{Frame, nice, number};
use crate::report::plots::picture::{Anchor, BLUE, FAINT, GRID, INK, ORANGE, Picture, RED, cut};

/// Bars in the picture.
const MOST: usize = 80;
const BAND: f64 = 18.0;
const GAP: f64 = 14.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 940.0;
const TOP: f64 = 84.0;

impl Answer {
    /// The picture of shapes by losses.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let bars = 1 + self.losses.len();
        let shapes = self.shapes.len().min((MOST / bars).max(1));
        let float = |n: usize| f64::from(num::u32_of(n));
        let block = float(bars) * BAND + GAP;
        let bottom = TOP + float(shapes.max(1)) * block;
        let high = u32::try_from(num::trunc(bottom + 44.0)).unwrap_or(400);
        let mut below = "placed one by one by the scenario's scheduler until none fits".to_owned();
        if shapes < self.shapes.len() {
            below = format!("{shapes} of {} shapes; {below}", self.shapes.len());
        }
        let mut picture = Picture::new(1000, high, &self.finding(), &below);
        let counts = self.fits.iter().map(|f| f.fits);
        let most = counts.chain(self.losses.iter().flat_map(|l| l.fits.iter().copied())).max();
        let x1 = f64::from(most.unwrap_or(0).max(1));
        let frame = Frame { left: LEFT, top: TOP, right: RIGHT, bottom, x0: 0.0, x1, y1: 1.0 };
        axis(&mut picture, &frame);
        for (i, (shape, fit)) in self.shapes.iter().zip(&self.fits).take(shapes).enumerate() {
            let mut y = TOP + float(i) * block + GAP / 2.0;
            let name = cut(&shape.name, 12.0, LEFT - 130.0);
            picture.text((16.0, y + 13.0), 12.0, Anchor::Start, INK, &name);
            bar(&mut picture, &frame, ("now", fit.fits, y), BLUE);
            for lost in &self.losses {
                y += BAND;
                let colour = if lost.stuck() > 0 { RED } else { ORANGE };
                let n = lost.fits.get(i).copied().unwrap_or(0);
                bar(&mut picture, &frame, (&lost.what, n, y), colour);
            }
        }
        picture
    }

    /// The finding in one line.
    fn finding(&self) -> String {
        let tightest = self.shapes.iter().zip(&self.fits).min_by_key(|(_, fit)| fit.fits);
        let Some((shape, fit)) = tightest else {
            return format!("Capacity of {}", self.scenario);
        };
        let stuck = self.losses.iter().filter(|l| l.stuck() > 0).count();
        let after = if self.losses.is_empty() {
            String::new()
        } else if stuck == 0 {
            "; after each loss all pods fit again".to_owned()
        } else {
            format!("; after {stuck} of {} losses pods have no place (red)", self.losses.len())
        };
        format!("{} more of {} fit{after}", fit.fits, shape.name)
    }
}

fn axis(picture: &mut Picture, frame: &Frame) {
    let step = nice(frame.x1 / 5.0).max(1.0);
    let mut value = 0.0;
    while value <= frame.x1 * 1.0001 {
        let x = frame.x(value);
        picture.line(vec![(x, frame.top), (x, frame.bottom)], GRID, 1.0);
        picture.text((x, frame.bottom + 18.0), 12.0, Anchor::Middle, FAINT, &number(value));
        value += step;
    }
    picture.line(vec![(frame.left, frame.top), (frame.left, frame.bottom)], INK, 1.0);
    let x = frame.left;
    picture.text((x, frame.top - 8.0), 12.0, Anchor::Start, FAINT, "how many more fit");
}

fn bar(
    picture: &mut Picture,
    frame: &Frame,
    (what, n, y): (&str, u32, f64),
    colour: crate::report::plots::picture::Colour,
) {
    let label = cut(what, 11.0, 110.0);
    picture.text((frame.left - 8.0, y + 12.0), 11.0, Anchor::End, FAINT, &label);
    let wide = frame.x(f64::from(n)) - frame.left;
    picture.tip((frame.left, y + 2.0, wide.max(1.0), BAND - 5.0), colour, format!("{what}: {n}"));
    picture.text((frame.left + wide + 6.0, y + 12.0), 11.0, Anchor::Start, INK, &n.to_string());
}
