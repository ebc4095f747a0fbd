//! A measure of many runs per policy: quartiles as a box, the extremes as whiskers, every run as a
//! dot.

use super::axes::{Frame, nice};
use super::picture::{Anchor, FAINT, INK, Picture, RUNS, cut, width_of};
use crate::engine::num;

/// A measure: its name with unit, and the values of each policy's runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// The measure.
    pub name: String,
    /// `less is better`.
    pub better: String,
    /// Per policy, in the order of the names; values that are no numbers are left out.
    pub values: Vec<Vec<f64>>,
}

const ROW: f64 = 24.0;
/// Above and below the rows of a panel: its name, and the axis.
const AROUND: f64 = 66.0;
/// Widest column of names.
const NAMES: f64 = 260.0;

/// The picture.
#[must_use]
pub fn draw((title, below): (&str, &str), names: &[&str], panels: &[Panel]) -> Picture {
    let rows = num::float_u(names.len() as u64) * ROW;
    let height = 72.0 + (rows + AROUND) * num::float_u(panels.len() as u64);
    let height = u32::try_from(num::trunc(height)).unwrap_or(u32::MAX);
    let mut picture = Picture::new(1000, height, title, below);
    let names: Vec<String> = names.iter().map(|name| cut(name, 12.0, NAMES)).collect();
    let left = 28.0 + names.iter().map(|name| width_of(name, 12.0)).fold(0.0, f64::max);
    let mut top = 72.0;
    for panel in panels {
        let all = || panel.values.iter().flatten().copied().filter(|x| x.is_finite());
        let (low, high) = all().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)));
        let step = nice((high - low).max(high.abs() * 1e-3).max(1e-6) / 8.0);
        let frame = Frame {
            left,
            top: top + 26.0,
            right: 964.0,
            bottom: top + 26.0 + rows,
            x0: libm::floor(low / step) * step,
            x1: libm::ceil(high / step) * step,
            y1: 1.0,
        };
        let words = format!("{} ({})", panel.name, panel.better);
        picture.text((16.0, top + 14.0), 13.0, Anchor::Start, INK, &words);
        frame.number_axis(&mut picture, 8, "");
        let mut middle = frame.top + ROW / 2.0;
        for (i, (name, values)) in names.iter().zip(&panel.values).enumerate() {
            picture.text((left - 12.0, middle + 4.0), 12.0, Anchor::End, FAINT, name);
            draw_row(&mut picture, &frame, (middle, i), values);
            middle += ROW;
        }
        top += rows + AROUND;
    }
    picture
}

fn draw_row(picture: &mut Picture, frame: &Frame, (y, index): (f64, usize), values: &[f64]) {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let Some((&least, &most)) = sorted.first().zip(sorted.last()) else { return };
    let colour = RUNS[index % RUNS.len()];
    let x = |value: f64| frame.x(value);
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|p| x(quantile(&sorted, p)));
    picture.line(vec![(x(least), y), (x(most), y)], colour, 1.2);
    for end in [least, most] {
        picture.line(vec![(x(end), y - 5.0), (x(end), y + 5.0)], colour, 1.2);
    }
    picture.rect((low, y - 7.0, (high - low).max(1.0), 14.0), colour, 0.35);
    for value in &sorted {
        picture.rect((x(*value) - 1.5, y - 1.5, 3.0, 3.0), colour, 0.8);
    }
    picture.line(vec![(middle, y - 7.0), (middle, y + 7.0)], INK, 2.0);
}

/// A quantile between the two samples around it.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p * num::float_u(sorted.len() as u64 - 1);
    let below = num::index(num::trunc_u(at));
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (at - libm::floor(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_samples() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        let three = [0.25, 0.5, 0.75].map(|p| quantile(&sorted, p).to_string());
        assert_eq!(three, ["1.75", "2.5", "3.25"]);
        assert_eq!(quantile(&[7.0], 0.5).to_bits(), 7.0_f64.to_bits());
    }
}
