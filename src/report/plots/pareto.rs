//! Two measures against each other, of which less is better: who is not beaten by both.

use super::axes::{Frame, nice};
use super::picture::{Anchor, FAINT, INK, Picture, RUNS, cut, width_of};

/// A policy: its means, and their intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Mean on x and on y.
    pub at: (f64, f64),
    /// Interval on x, if there is one.
    pub x: Option<(f64, f64)>,
    /// Interval on y, if there is one.
    pub y: Option<(f64, f64)>,
}

/// Indices of the points that no other one beats: none is better by one measure and no worse by the
/// other. By rising x.
#[must_use]
pub fn front(points: &[Point]) -> Vec<usize> {
    let beats = |a: (f64, f64), b: (f64, f64)| a.0 <= b.0 && a.1 <= b.1 && (a.0 < b.0 || a.1 < b.1);
    let mut kept: Vec<usize> = (0..points.len())
        .filter(|&i| !points.iter().any(|other| beats(other.at, points[i].at)))
        .collect();
    kept.sort_by(|&a, &b| points[a].at.0.total_cmp(&points[b].at.0).then(a.cmp(&b)));
    kept
}

/// The picture.
#[must_use]
pub fn draw((title, below): (&str, &str), units: (&str, &str), points: &[Point]) -> Picture {
    let mut picture = Picture::new(1000, 520, title, below);
    let frame = frame_of(points);
    frame.number_axis(&mut picture, 8, units.0);
    frame.y_axis(&mut picture, 5, units.1);
    let front = front(points);
    let mut line: Vec<(f64, f64)> = Vec::new();
    for &i in &front {
        let (x, y) = (frame.x(points[i].at.0), frame.y(points[i].at.1));
        let before = line.last().map(|last| (x, last.1));
        line.extend(before);
        line.push((x, y));
    }
    picture.dashed(line, FAINT, 1.4);
    for (i, point) in points.iter().enumerate() {
        mark(&mut picture, &frame, (i, point));
    }
    // Names last, and those on the front first: where there is no room, others go without.
    let others = (0..points.len()).filter(|i| !front.contains(i));
    let mut taken: Vec<(f64, f64, f64, f64)> = Vec::new();
    for i in front.iter().copied().chain(others) {
        name(&mut picture, &frame, &points[i], &mut taken);
    }
    picture
}

/// The box around all intervals; y begins at 0, x does not.
fn frame_of(points: &[Point]) -> Frame {
    let ends = |at: f64, interval: Option<(f64, f64)>| interval.unwrap_or((at, at));
    let xs = || points.iter().map(|p| ends(p.at.0, p.x));
    let low = xs().map(|x| x.0).fold(f64::MAX, f64::min);
    let high = xs().map(|x| x.1).fold(f64::MIN, f64::max);
    let step = nice((high - low).max(high.abs() * 1e-3).max(1e-6) / 8.0);
    let top = points.iter().map(|p| ends(p.at.1, p.y).1).fold(1e-3, f64::max);
    let tall = nice(top / 5.0);
    Frame {
        left: 72.0,
        top: 90.0,
        right: 960.0,
        bottom: 458.0,
        x0: (libm::floor(low / step) - 1.0) * step,
        x1: (libm::ceil(high / step) + 1.0) * step,
        y1: libm::ceil(top * 1.02 / tall) * tall,
    }
}

fn mark(picture: &mut Picture, frame: &Frame, (index, point): (usize, &Point)) {
    let colour = RUNS[index % RUNS.len()];
    let (x, y) = (frame.x(point.at.0), frame.y(point.at.1));
    if let Some((low, high)) = point.x {
        picture.line(vec![(frame.x(low), y), (frame.x(high), y)], colour, 1.4);
    }
    if let Some((low, high)) = point.y {
        picture.line(vec![(x, frame.y(low)), (x, frame.y(high))], colour, 1.4);
    }
    picture.rect((x - 4.5, y - 4.5, 9.0, 9.0), colour, 1.0);
}

/// Writes a name beside its mark, where it meets no other one.
fn name(
    picture: &mut Picture,
    frame: &Frame,
    point: &Point,
    taken: &mut Vec<(f64, f64, f64, f64)>,
) {
    let words = cut(&point.name, 12.0, 300.0);
    let wide = width_of(&words, 12.0);
    let (x, y) = (frame.x(point.at.0), frame.y(point.at.1));
    let places = [
        (x + 9.0, y - 7.0, Anchor::Start),
        (x - 9.0, y - 7.0, Anchor::End),
        (x + 9.0, y + 17.0, Anchor::Start),
        (x - 9.0, y + 17.0, Anchor::End),
        (x + 9.0, y - 22.0, Anchor::Start),
        (x + 9.0, y + 32.0, Anchor::Start),
    ];
    for (x, y, anchor) in places {
        let left = if anchor == Anchor::End { x - wide } else { x };
        let own = (left, y - 12.0, left + wide, y + 2.0);
        let meets =
            |o: &(f64, f64, f64, f64)| own.0 < o.2 && o.0 < own.2 && own.1 < o.3 && o.1 < own.3;
        let inside = own.0 > frame.left && own.2 < 996.0 && own.1 > 60.0 && own.3 < frame.bottom;
        if inside && !taken.iter().any(meets) {
            taken.push(own);
            picture.text((x, y), 12.0, anchor, INK, &words);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_who_is_beaten_by_nobody() {
        let point = |x: f64, y: f64| Point { name: String::new(), at: (x, y), x: None, y: None };
        let points = [point(3.0, 1.0), point(1.0, 5.0), point(2.0, 3.0), point(2.5, 3.0)];
        assert_eq!(front(&points), [1, 2, 0]);
        assert_eq!(front(&[point(1.0, 1.0), point(1.0, 1.0)]), [0, 1]);
    }
}
