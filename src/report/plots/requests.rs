//! Requests over time: those answered and those that failed, by cause; latencies below.

use super::axes::{Frame, nice};
use super::picture::{
    Anchor, BLUE, Colour, FAINT, GREEN, INK, ORANGE, PURPLE, Picture, RED, SKY, Shape, YELLOW,
    width_of,
};
use super::{marks, span_of};
use crate::engine::SimTime;
use crate::event::traffic::Cause;
use crate::report::metrics::Metrics;
use crate::report::summary::Summary;
use crate::report::traffic::{Piece, Row};

const fn colour(cause: Cause) -> Colour {
    match cause {
        Cause::NoDns => PURPLE,
        Cause::NoEndpoints => FAINT,
        Cause::Refused => ORANGE,
        Cause::Unreachable => RED,
        Cause::Reset => YELLOW,
        Cause::Overloaded => INK,
        Cause::TimedOut => SKY,
    }
}

/// The picture of the row that fares worst, of those that somebody has written; none without
/// requests.
#[must_use]
pub fn draw(metrics: &Metrics, summary: &Summary) -> Option<Picture> {
    let written = summary.traffic.iter().filter(|t| !t.derived);
    let told = written.min_by(|a, b| a.answered_share.total_cmp(&b.answered_share))?;
    let row = metrics.traffic.rows.iter().find(|row| told.traffic == row.name.as_str())?;
    let lines = told.lines();
    let title = lines.first().map_or("", String::as_str);
    let below = lines.get(1).map_or("No request failed.", |l| l.trim());
    let mut picture = Picture::new(1000, 560, title.trim_end_matches('.'), below);
    rates(&mut picture, row, summary);
    latencies(&mut picture, row, summary);
    Some(picture)
}

/// Shares of requests below this cannot be seen.
const VISIBLE: f64 = 1e-4;

/// A level over time as an outline from above.
fn steps(frame: Frame, pieces: &[Piece], of: impl Fn(&Piece) -> f64) -> Vec<(f64, f64)> {
    let mut points = Vec::with_capacity(2 * pieces.len());
    let mut last: Option<SimTime> = None;
    for piece in pieces {
        if last.is_some_and(|end| end != piece.from) {
            points.extend(last.map(|end| (frame.x(end.secs_f64()), frame.y(0.0))));
            points.push((frame.x(piece.from.secs_f64()), frame.y(0.0)));
        }
        let y = frame.y(of(piece));
        points.push((frame.x(piece.from.secs_f64()), y));
        points.push((frame.x(piece.to.secs_f64()), y));
        last = Some(piece.to);
    }
    points
}

/// A piece of no length would be as high as the sky: what was lost at an instant is spread over a
/// second.
fn per_second(piece: &Piece, n: f64) -> f64 {
    n / piece.to.since(piece.from).secs_f64().max(1.0)
}

fn rates(picture: &mut Picture, row: &Row, summary: &Summary) {
    let pieces = &row.pieces;
    let most = pieces.iter().map(|p| per_second(p, p.offered)).fold(1.0, f64::max);
    let frame = Frame {
        left: 72.0,
        top: 112.0,
        right: 966.0,
        bottom: 330.0,
        x0: 0.0,
        x1: span_of(summary),
        y1: libm::ceil(most / nice(most / 4.0)) * nice(most / 4.0),
    };
    frame.shade(picture, &marks(summary));
    frame.y_axis(picture, 4, "requests per second");
    let floor = |picture: &mut Picture, upper: Vec<(f64, f64)>, colour, opacity| {
        let ends = upper.first().zip(upper.last()).map(|(a, b)| (a.0, b.0));
        let Some((first, last)) = ends else { return };
        let mut area = vec![(first, frame.bottom)];
        area.extend(upper);
        area.push((last, frame.bottom));
        picture.shapes.push(Shape::Area(area, colour, opacity));
    };
    // From above: all of them, and over that what failed, cause by cause.
    let seen: Vec<Cause> = Cause::ALL
        .into_iter()
        .filter(|c| pieces.iter().any(|p| p.failed[*c as usize] > VISIBLE * p.offered))
        .collect();
    floor(picture, steps(frame, pieces, |p| per_second(p, p.offered)), GREEN, 0.35);
    for (i, cause) in seen.iter().enumerate() {
        let upto = &seen[i..];
        let level = |p: &Piece| {
            let failed: f64 = upto.iter().map(|c| p.failed[*c as usize]).sum();
            per_second(p, failed)
        };
        floor(picture, steps(frame, pieces, level), colour(*cause), 0.95);
    }
    frame.faults(picture, &marks(summary), true);
    frame.time_axis(picture, false);
    let mut x = 72.0;
    let all = seen.iter().map(|c| (colour(*c), c.words(), 0.95));
    for (colour, words, opacity) in std::iter::once((GREEN, "answered in time", 0.35)).chain(all) {
        picture.rect((x, 66.0, 12.0, 12.0), colour, opacity);
        picture.text((x + 17.0, 77.0), 12.0, Anchor::Start, INK, words);
        x += 17.0 + width_of(words, 12.0) + 14.0;
    }
}

fn latencies(picture: &mut Picture, row: &Row, summary: &Summary) {
    let points = |i: usize| row.pieces.iter().filter_map(move |p| Some((p, p.latency?[i])));
    let most = points(2).map(|(_, s)| s * 1000.0).fold(1.0, f64::max);
    let frame = Frame {
        left: 72.0,
        top: 392.0,
        right: 966.0,
        bottom: 506.0,
        x0: 0.0,
        x1: span_of(summary),
        y1: libm::ceil(most / nice(most / 3.0)) * nice(most / 3.0),
    };
    frame.shade(picture, &marks(summary));
    frame.y_axis(picture, 3, "latency of those answered, ms: 50 %, 95 %, 99 %");
    for (i, colour) in [(2, RED), (1, ORANGE), (0, BLUE)] {
        let mut line: Vec<(f64, f64)> = Vec::new();
        let mut last = None;
        for (piece, s) in points(i) {
            if last.is_some_and(|end| end != piece.from) {
                picture.line(std::mem::take(&mut line), colour, 1.5);
            }
            let y = frame.y(s * 1000.0);
            line.push((frame.x(piece.from.secs_f64()), y));
            line.push((frame.x(piece.to.secs_f64()), y));
            last = Some(piece.to);
        }
        picture.line(line, colour, 1.5);
    }
    frame.time_axis(picture, true);
}
