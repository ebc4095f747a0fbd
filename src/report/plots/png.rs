//! A picture as PNG: drawn at twice its size by plotters and averaged down, which smooths edges.

use super::picture::{Anchor, Colour, Picture, Shape};
use crate::engine::num;
use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::drawing::IntoDrawingArea;
use plotters::element::{PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{Color, DrawingArea, FontStyle, RGBColor, ShapeStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{IntoTextStyle, TextStyle, register_font};
use std::path::Path;
use std::sync::OnceLock;

const FONT: &[u8] = include_bytes!("../assets/DejaVuSans.ttf");

/// Drawn so many times larger than shown.
const ZOOM: u32 = 2;

/// The family that texts are drawn in, registered once per process.
fn family() -> &'static str {
    static DONE: OnceLock<bool> = OnceLock::new();
    let ok = DONE.get_or_init(|| register_font("wavetank", FontStyle::Normal, FONT).is_ok());
    assert!(*ok, "the embedded font cannot be read");
    "wavetank"
}

/// Writes the picture as a PNG file.
///
/// # Errors
/// What the drawing library or the file system says.
pub fn png(picture: &Picture, path: &Path) -> Result<(), String> {
    let (w, h) = (picture.width * ZOOM, picture.height * ZOOM);
    let mut large = vec![255_u8; 3 * w as usize * h as usize];
    {
        let area = BitMapBackend::with_buffer(&mut large, (w, h)).into_drawing_area();
        for shape in &picture.shapes {
            draw(&area, shape).map_err(|e| e.to_string())?;
        }
        area.present().map_err(|e| e.to_string())?;
    }
    let small = halve(&large, w as usize, h as usize);
    let mut file = BitMapBackend::new(path, (picture.width, picture.height));
    file.blit_bitmap((0, 0), (picture.width, picture.height), &small).map_err(|e| e.to_string())?;
    file.present().map_err(|e| e.to_string())
}

/// Averages blocks of two by two pixels.
fn halve(large: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut small = Vec::with_capacity(large.len() / 4);
    for y in (0..height).step_by(2) {
        for x in (0..width).step_by(2) {
            for channel in 0..3 {
                let at = |dx: usize, dy: usize| {
                    u32::from(large[((y + dy) * width + x + dx) * 3 + channel])
                };
                let sum = at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2;
                small.push(u8::try_from(sum / 4).unwrap_or(u8::MAX));
            }
        }
    }
    small
}

fn pixel((x, y): (f64, f64)) -> (i32, i32) {
    let scale = |v: f64| i32::try_from(num::round(v * f64::from(ZOOM))).unwrap_or(i32::MAX);
    (scale(x), scale(y))
}

fn rgb(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;
type Failed<'a> =
    plotters::drawing::DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(area: &Area<'a>, shape: &Shape) -> Result<(), Failed<'a>> {
    match shape {
        Shape::Rect(x, y, w, h, colour, opacity, _) => {
            let (left, top) = pixel((*x, *y));
            let (right, bottom) = pixel((x + w, y + h));
            // The library draws both edges: the last pixel belongs to the neighbour.
            let corners = [(left, top), ((right - 1).max(left), (bottom - 1).max(top))];
            area.draw(&Rectangle::new(corners, rgb(*colour).mix(*opacity).filled()))
        }
        Shape::Line(points, colour, width, dashed) => {
            let width = u32::try_from(num::round(width * f64::from(ZOOM))).unwrap_or(1);
            let style = ShapeStyle::from(&rgb(*colour)).stroke_width(width.max(1));
            if *dashed {
                for pair in dashes(points) {
                    area.draw(&PathElement::new(pair.map(pixel), style))?;
                }
                return Ok(());
            }
            let path: Vec<_> = points.iter().copied().map(pixel).collect();
            area.draw(&PathElement::new(path, style))
        }
        Shape::Area(points, colour, opacity) => {
            let path: Vec<_> = points.iter().copied().map(pixel).collect();
            area.draw(&Polygon::new(path, rgb(*colour).mix(*opacity)))
        }
        Shape::Text(x, y, size, anchor, colour, text) => {
            let hpos = match anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let ink = rgb(*colour);
            let style: TextStyle<'_> =
                (family(), size * f64::from(ZOOM), &ink).into_text_style(area);
            let style = style.pos(Pos::new(hpos, VPos::Bottom));
            // The library knows no baseline: text ends a descent below it.
            area.draw(&Text::new(text.as_str(), pixel((*x, y + 0.3 * size)), style))
        }
    }
}

/// The strokes of a dashed straight line.
fn dashes(points: &[(f64, f64)]) -> Vec<[(f64, f64); 2]> {
    let mut strokes = Vec::new();
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = libm::hypot(x1 - x0, y1 - y0);
        let at = |d: f64| (x0 + (x1 - x0) * d / length, y0 + (y1 - y0) * d / length);
        let mut from = 0.0;
        while from < length {
            strokes.push([at(from), at((from + 5.0).min(length))]);
            from += 9.0;
        }
    }
    strokes
}
