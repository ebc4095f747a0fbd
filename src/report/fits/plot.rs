//! Fits beside what they were fitted to: the share of spans that have ended by a length, the
//! record's as steps, the fits' as curves.

use super::likelihood::Family;
use super::spells::ended_by;
use super::{Quantity, Study};
use crate::engine::num;
use crate::report::plots::axes::Frame;
use crate::report::plots::picture::{
    Anchor, BLUE, Colour, FAINT, GREEN, GRID, INK, ORANGE, Picture, RED, width_of,
};
use crate::report::text::count;

/// Ticks of the axis of lengths.
const TICKS: [(f64, &str); 11] = [
    (1.0, "1s"),
    (10.0, "10s"),
    (60.0, "1m"),
    (600.0, "10m"),
    (3_600.0, "1h"),
    (36_000.0, "10h"),
    (86_400.0, "1d"),
    (864_000.0, "10d"),
    (8_640_000.0, "100d"),
    (86_400_000.0, "1000d"),
    (864_000_000.0, "10,000d"),
];
/// Points of a curve.
const POINTS: u32 = 200;
const WIDE: f64 = 1000.0;
const TOP: f64 = 116.0;
const BOTTOM: f64 = 396.0;

const fn colour(family: Family) -> Colour {
    match family {
        Family::Exponential => ORANGE,
        Family::Weibull => BLUE,
        Family::LogNormal => RED,
        Family::Gamma => GREEN,
    }
}

impl Study {
    /// The picture.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let best = self.quantities.iter().filter_map(|q| {
            let fit = q.fits.first()?;
            let what = if q.field == "mtbf" { "between failures" } else { "repairs" };
            Some(format!("{what} are nearest to {}", fit.member.family().word()))
        });
        let best: Vec<String> = best.collect();
        let title = format!("{}: {}", self.name, best.join(", "));
        let below = format!(
            "share of spans that have ended by a length, {}; black: the record (Kaplan–Meier), \
             coloured: fits by maximum likelihood",
            count(u64::from(self.machines), "machine"),
        );
        let mut picture = Picture::new(1000, 446, &title, &below);
        let panels = num::float_u(self.quantities.len().max(1) as u64);
        let wide = (WIDE - 20.0) / panels;
        for (i, quantity) in self.quantities.iter().enumerate() {
            let left = wide * num::float_u(i as u64);
            panel(&mut picture, quantity, (left + 56.0, left + wide - 10.0));
        }
        picture
    }
}

fn panel(picture: &mut Picture, quantity: &Quantity, (left, right): (f64, f64)) {
    let steps = ended_by(&quantity.spells);
    let (Some(first), Some(last)) = (quantity.spells.first(), quantity.spells.last()) else {
        return;
    };
    let low = libm::floor(num::log10(first.secs.max(1.0)));
    let (x0, x1) = (low, num::log10(last.secs).max(low + 1.0));
    // A record that ends long before most machines have failed shows the beginning only.
    let reached = steps.last().map_or(1.0, |s| s.1);
    let y1 = (libm::ceil(reached * 11.0) / 10.0).min(1.0);
    let frame = Frame { left, top: TOP, right, bottom: BOTTOM, x0, x1, y1 };
    frame.y_axis(picture, 5, "");
    for (secs, words) in TICKS {
        let at = num::log10(secs);
        if at >= x0 && at <= x1 {
            let x = frame.x(at);
            picture.line(vec![(x, frame.top), (x, frame.bottom)], GRID, 1.0);
            picture.text((x, frame.bottom + 18.0), 12.0, Anchor::Middle, FAINT, words);
        }
    }
    let words = quantity.title();
    picture.text((left, BOTTOM + 38.0), 12.0, Anchor::Start, INK, &words);
    let mut x = left;
    for fit in &quantity.fits {
        let family = fit.member.family();
        let curve = (0..=POINTS).map(|i| {
            let at = x0 + (x1 - x0) * f64::from(i) / f64::from(POINTS);
            (frame.x(at), frame.y(fit.member.below(num::pow(10.0, at))))
        });
        picture.line(curve.collect(), colour(family), 1.6);
        let words = format!("{} {}", family.word(), num::rounded(fit.ks, 3));
        picture.rect((x, TOP - 38.0, 10.0, 10.0), colour(family), 1.0);
        picture.text((x + 14.0, TOP - 29.0), 11.0, Anchor::Start, INK, &words);
        x += width_of(&words, 11.0) + 22.0;
    }
    picture.text((left, TOP - 12.0), 11.0, Anchor::Start, FAINT, "distance KS beside the names");
    let mut points = vec![(frame.x(x0), frame.y(0.0))];
    let mut before = 0.0;
    for (secs, share) in thin(&steps) {
        let x = frame.x(num::log10(secs));
        points.push((x, frame.y(before)));
        points.push((x, frame.y(share)));
        before = share;
    }
    points.push((frame.right, frame.y(before)));
    picture.line(points, INK, 1.4);
}

/// At most about five hundred steps, all of the same height or more.
fn thin(steps: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for step in steps {
        if kept.last().is_none_or(|last| step.1 - last.1 >= 0.002) {
            kept.push(*step);
        }
    }
    kept.extend(steps.last().filter(|last| kept.last() != Some(last)));
    kept
}
