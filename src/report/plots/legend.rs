//! Names and colours of runs or policies that a picture tells apart.

use super::picture::{Anchor, INK, Picture, RUNS, cut, width_of};

/// Height of a line.
const LINE: f64 = 20.0;
/// Widest name.
const NAME: f64 = 400.0;

/// Where each name stands: line and left edge, on lines of this width.
fn places(names: &[&str], right: f64) -> Vec<(f64, f64)> {
    let (mut x, mut line) = (16.0, 0.0);
    names
        .iter()
        .map(|name| {
            let wide = 32.0 + width_of(&cut(name, 13.0, NAME), 13.0) + 20.0;
            if x > 16.0 && x + wide > right {
                (x, line) = (16.0, line + 1.0);
            }
            let place = (line, x);
            x += wide;
            place
        })
        .collect()
}

/// How high the legend of these names is, pixels.
#[must_use]
pub fn height(names: &[&str], width: u32) -> f64 {
    let last = places(names, f64::from(width) - 16.0).last().map_or(0.0, |place| place.0);
    LINE * (last + 1.0)
}

/// Draws it, the first baseline at `y`.
pub fn draw(picture: &mut Picture, y: f64, names: &[&str]) {
    let right = f64::from(picture.width) - 16.0;
    for ((name, (line, x)), colour) in names.iter().zip(places(names, right)).zip(RUNS) {
        let y = y + LINE * line;
        picture.line(vec![(x, y - 4.0), (x + 24.0, y - 4.0)], colour, 3.0);
        picture.text((x + 32.0, y), 13.0, Anchor::Start, INK, &cut(name, 13.0, NAME));
    }
}
