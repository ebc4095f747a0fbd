//! Policies over time: the mean over the seeds, and a band around it.

use super::axes::Frame;
use super::legend;
use super::picture::{Colour, Picture, RUNS};
use crate::engine::num;

/// A point of a band: instant (seconds), mean, lower and upper edge.
pub type Point = (f64, f64, f64, f64);

/// A panel: its unit, and a band per policy (empty if the policy does not have it).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// What stands on y.
    pub unit: String,
    /// The last value on y; 0: as high as the bands are.
    pub most: f64,
    /// Bands in the order of the names.
    pub bands: Vec<Vec<Point>>,
}

const WIDTH: u32 = 1000;
const PANEL: f64 = 172.0;

/// The picture.
#[must_use]
pub fn draw((title, below): (&str, &str), names: &[&str], panels: &[Panel]) -> Picture {
    let head = 72.0 + legend::height(names, WIDTH);
    let height = head + PANEL * num::float_u(panels.len() as u64) + 40.0;
    let height = u32::try_from(num::trunc(height)).unwrap_or(u32::MAX);
    let mut picture = Picture::new(WIDTH, height, title, below);
    legend::draw(&mut picture, 74.0, names);
    let points = panels.iter().flat_map(|panel| &panel.bands).flatten();
    let end = points.map(|p| p.0).fold(1e-3, f64::max);
    let mut top = head + 16.0;
    for (i, panel) in panels.iter().enumerate() {
        let highest = panel.bands.iter().flatten().map(|p| p.3).fold(0.0, f64::max);
        let mut frame = Frame::panel((top, PANEL - 44.0), end, highest);
        if panel.most > 0.0 && highest <= panel.most {
            frame.y1 = panel.most;
        }
        frame.y_axis(&mut picture, 4, &panel.unit);
        let all = || panel.bands.iter().zip(RUNS);
        all().for_each(|(band, colour)| shade(&mut picture, &frame, band, colour));
        for (band, colour) in all() {
            let line = band.iter().map(|p| (frame.x(p.0), frame.y(p.1))).collect();
            picture.line(line, colour, 1.8);
        }
        frame.time_axis(&mut picture, i + 1 == panels.len());
        top += PANEL;
    }
    picture
}

fn shade(picture: &mut Picture, frame: &Frame, band: &[Point], colour: Colour) {
    if band.is_empty() {
        return;
    }
    let upper = band.iter().map(|p| (frame.x(p.0), frame.y(p.3)));
    let lower = band.iter().rev().map(|p| (frame.x(p.0), frame.y(p.2)));
    picture.shapes.push(super::picture::Shape::Area(upper.chain(lower).collect(), colour, 0.2));
}
