//! A box with axes: maps data to pixels, draws grid, ticks and the spans of faults.

use super::picture::{Anchor, FAINT, FAULT, GRID, INK, Picture};
use crate::engine::num;
use crate::report::text::{clock, span};

/// A plot's box in pixels and the data ranges it shows; both ranges begin at 0 unless `x0` says
/// otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Lower edge.
    pub bottom: f64,
    /// First value on x.
    pub x0: f64,
    /// Last value on x.
    pub x1: f64,
    /// Highest value on y.
    pub y1: f64,
}

impl Frame {
    /// A panel of a wide picture: from its top, so high, over this span, up to its highest value.
    #[must_use]
    pub fn panel((top, height): (f64, f64), end: f64, highest: f64) -> Self {
        let highest = 1.05 * highest.max(1e-3);
        let step = nice(highest / 3.0);
        Self {
            left: 64.0,
            top,
            right: 976.0,
            bottom: top + height,
            x0: 0.0,
            x1: end,
            y1: libm::ceil(highest / step) * step,
        }
    }

    /// Pixel of a value on x.
    #[must_use]
    pub fn x(&self, value: f64) -> f64 {
        let share = (value - self.x0) / (self.x1 - self.x0).max(f64::MIN_POSITIVE);
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
    }

    /// Pixel of a value on y.
    #[must_use]
    pub fn y(&self, value: f64) -> f64 {
        let share = value / self.y1.max(f64::MIN_POSITIVE);
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    /// Grid and labels of y.
    pub fn y_axis(&self, picture: &mut Picture, ticks: u32, unit: &str) {
        let step = nice(self.y1 / f64::from(ticks.max(1)));
        let mut value = 0.0;
        while value <= self.y1 * 1.0001 {
            let y = self.y(value);
            picture.line(vec![(self.left, y), (self.right, y)], GRID, 1.0);
            picture.text((self.left - 6.0, y + 4.0), 12.0, Anchor::End, FAINT, &number(value));
            value += step;
        }
        if !unit.is_empty() {
            picture.text((self.left, self.top - 7.0), 12.0, Anchor::Start, FAINT, unit);
        }
    }

    /// Axis of virtual time below the box.
    pub fn time_axis(&self, picture: &mut Picture, label: bool) {
        let width = self.right - self.left;
        let step = time_step((self.x1 - self.x0) / (width / 90.0));
        picture.line(vec![(self.left, self.bottom), (self.right, self.bottom)], INK, 1.0);
        let mut value = libm::ceil(self.x0 / step) * step;
        while value <= self.x1 * 1.0001 {
            let x = self.x(value);
            picture.line(vec![(x, self.bottom), (x, self.bottom + 4.0)], INK, 1.0);
            let text = tick(value);
            picture.text((x, self.bottom + 18.0), 12.0, Anchor::Middle, FAINT, &text);
            value += step;
        }
        if label {
            let middle = f64::midpoint(self.left, self.right);
            let words = "virtual time since the start of the run";
            picture.text((middle, self.bottom + 36.0), 12.0, Anchor::Middle, FAINT, words);
        }
    }

    /// Axis of any numbers below the box, with grid and unit.
    pub fn number_axis(&self, picture: &mut Picture, ticks: u32, unit: &str) {
        let step = nice((self.x1 - self.x0) / f64::from(ticks.max(1)));
        let mut value = libm::ceil(self.x0 / step - 1e-9) * step;
        while value <= self.x1 + 1e-6 * step {
            let x = self.x(value);
            picture.line(vec![(x, self.top), (x, self.bottom)], GRID, 1.0);
            let text = plain(value, step);
            picture.text((x, self.bottom + 16.0), 12.0, Anchor::Middle, FAINT, &text);
            value += step;
        }
        picture.line(vec![(self.left, self.bottom), (self.right, self.bottom)], INK, 1.0);
        if !unit.is_empty() {
            let middle = f64::midpoint(self.left, self.right);
            picture.text((middle, self.bottom + 36.0), 12.0, Anchor::Middle, FAINT, unit);
        }
    }

    /// Shades the spans of faults: call it before the data is drawn.
    pub fn shade(&self, picture: &mut Picture, faults: &[Mark]) {
        for mark in faults {
            let (from, to) = (self.x(mark.from), self.x(mark.to));
            let high = self.bottom - self.top;
            picture.rect((from, self.top, (to - from).max(1.0), high), FAULT, 0.15);
        }
    }

    /// Marks begin and end of faults over the data, and names those that there is room for.
    pub fn faults(&self, picture: &mut Picture, faults: &[Mark], labels: bool) {
        let mut free = f64::NEG_INFINITY;
        for mark in faults {
            for at in [mark.from, mark.to] {
                let x = self.x(at);
                if at < self.x1 {
                    picture.dashed(vec![(x, self.top), (x, self.bottom)], FAULT, 1.2);
                }
            }
            let words = format!("{} at {}", mark.words, clock(mark.from));
            let wide = super::picture::width_of(&words, 11.0);
            let at = self.x(mark.from).min(self.right - wide).max(self.left);
            if labels && at > free {
                picture.text((at, self.top - 7.0), 11.0, Anchor::Start, INK, &words);
                free = at + wide + 8.0;
            }
        }
    }
}

/// A fault as plots show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// `Zone b lost`.
    pub words: String,
    /// Begin, seconds.
    pub from: f64,
    /// End, seconds; the end of the run if it did not end.
    pub to: f64,
}

/// An instant on the axis of time: `5m`, `1h30m`, `2m30s`.
fn tick(secs: f64) -> String {
    if secs < 1e-9 {
        return "0".to_owned();
    }
    let text = span(secs);
    match (text.strip_suffix("00s"), text.strip_suffix("00m"), text.strip_suffix("00h")) {
        (Some(short), _, _) if short.ends_with('m') => short.to_owned(),
        (_, Some(short), _) if short.ends_with('h') => short.to_owned(),
        (_, _, Some(short)) if short.ends_with('d') => short.to_owned(),
        (_, _, _) => text,
    }
}

/// The next of 1, 2, 5 × 10ⁿ at or above a step.
#[must_use]
pub fn nice(step: f64) -> f64 {
    let step = step.max(1e-9);
    let base = num::pow(10.0, libm::floor(num::log10(step)));
    let lead = step / base;
    let lead = if lead <= 1.0001 {
        1.0
    } else if lead <= 2.0001 {
        2.0
    } else if lead <= 5.0001 {
        5.0
    } else {
        10.0
    };
    lead * base
}

/// A step of time that people count in.
fn time_step(least: f64) -> f64 {
    const STEPS: [f64; 22] = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
        3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0,
    ];
    STEPS.into_iter().find(|s| *s >= least).unwrap_or_else(|| nice(least / 86_400.0) * 86_400.0)
}

/// A tick with as many decimals as its step needs.
#[must_use]
pub fn plain(value: f64, step: f64) -> String {
    let decimals = libm::ceil(-num::log10(step.max(1e-9)) - 1e-9).clamp(0.0, 9.0);
    let decimals = u32::try_from(num::trunc(decimals)).unwrap_or(0);
    // No tick is called -0.
    (num::rounded(value, decimals) + 0.0).to_string()
}

/// A number on an axis.
#[must_use]
pub fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{}k", num::rounded(value / 1000.0, 1))
    } else if value >= 10.0 {
        format!("{value:.0}")
    } else {
        num::rounded(value, 3).to_string()
    }
}
