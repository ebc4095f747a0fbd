//! A picture as a list of shapes, so that one drawing serves SVG, PNG and the page.

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

/// Text and axes.
pub const INK: Colour = Colour(0x1a, 0x1a, 0x1a);
/// Secondary text.
pub const FAINT: Colour = Colour(0x5f, 0x5f, 0x5f);
/// Grid lines.
pub const GRID: Colour = Colour(0xdd, 0xdd, 0xdd);
/// Background.
pub const PAPER: Colour = Colour(0xff, 0xff, 0xff);
/// Shade of a fault's span.
pub const FAULT: Colour = Colour(0x7a, 0x7a, 0x7a);
/// Okabe–Ito blue.
pub const BLUE: Colour = Colour(0x00, 0x72, 0xb2);
/// Okabe–Ito sky blue.
pub const SKY: Colour = Colour(0x56, 0xb4, 0xe9);
/// Okabe–Ito bluish green.
pub const GREEN: Colour = Colour(0x00, 0x9e, 0x73);
/// Okabe–Ito yellow.
pub const YELLOW: Colour = Colour(0xf0, 0xe4, 0x42);
/// Okabe–Ito orange.
pub const ORANGE: Colour = Colour(0xe6, 0x9f, 0x00);
/// Okabe–Ito vermilion.
pub const RED: Colour = Colour(0xd5, 0x5e, 0x00);
/// Okabe–Ito reddish purple.
pub const PURPLE: Colour = Colour(0xcc, 0x79, 0xa7);

/// Runs or policies that can be told apart, by these colours in turn.
pub const RUNS: [Colour; 6] = [BLUE, RED, GREEN, ORANGE, PURPLE, SKY];

/// Where text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// A shape; coordinates in pixels from the upper left corner.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A filled rectangle: x, y, width, height, colour, opacity, tooltip.
    Rect(f64, f64, f64, f64, Colour, f64, String),
    /// An open line: points, colour, width; dashed or not.
    Line(Vec<(f64, f64)>, Colour, f64, bool),
    /// A filled polygon: points, colour, opacity.
    Area(Vec<(f64, f64)>, Colour, f64),
    /// Text: x, baseline, size, anchor, colour.
    Text(f64, f64, f64, Anchor, Colour, String),
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// The finding, for the page and for readers who do not see the picture.
    pub title: String,
    /// Shapes, back to front.
    pub shapes: Vec<Shape>,
}

impl Picture {
    /// A picture with the finding as its title and a second line below it.
    #[must_use]
    pub fn new(width: u32, height: u32, title: &str, below: &str) -> Self {
        let mut picture = Self { width, height, title: title.to_owned(), shapes: Vec::new() };
        let wide = f64::from(width);
        picture.rect((0.0, 0.0, wide, f64::from(height)), PAPER, 1.0);
        let size = fitting(title, 18.0, wide - 32.0);
        picture.text((16.0, 28.0), size, Anchor::Start, INK, title);
        let size = fitting(below, 13.0, wide - 32.0);
        picture.text((16.0, 48.0), size, Anchor::Start, FAINT, below);
        picture
    }

    /// Adds a rectangle (x, y, width, height).
    pub fn rect(&mut self, at: (f64, f64, f64, f64), colour: Colour, opacity: f64) {
        self.shapes.push(Shape::Rect(at.0, at.1, at.2, at.3, colour, opacity, String::new()));
    }

    /// Adds a rectangle with a tooltip.
    pub fn tip(&mut self, at: (f64, f64, f64, f64), colour: Colour, tip: String) {
        self.shapes.push(Shape::Rect(at.0, at.1, at.2, at.3, colour, 1.0, tip));
    }

    /// Adds a line.
    pub fn line(&mut self, points: Vec<(f64, f64)>, colour: Colour, width: f64) {
        self.shapes.push(Shape::Line(points, colour, width, false));
    }

    /// Adds a dashed line.
    pub fn dashed(&mut self, points: Vec<(f64, f64)>, colour: Colour, width: f64) {
        self.shapes.push(Shape::Line(points, colour, width, true));
    }

    /// Adds text at the left, middle or right end of its baseline.
    pub fn text(&mut self, at: (f64, f64), size: f64, anchor: Anchor, colour: Colour, text: &str) {
        self.shapes.push(Shape::Text(at.0, at.1, size, anchor, colour, text.to_owned()));
    }
}

/// About how wide a text is: `DejaVu Sans` is 0.6 em on average, and nothing here must be exact.
#[must_use]
pub fn width_of(text: &str, size: f64) -> f64 {
    f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX)) * size * 0.6
}

/// The size at which a text fits into a width, at most `size`.
#[must_use]
pub fn fitting(text: &str, size: f64, width: f64) -> f64 {
    let wide = width_of(text, size).max(1.0);
    if wide <= width { size } else { (size * width / wide).max(9.0) }
}

/// A text cut to a width; what is left out is in the middle, since names differ at their ends.
#[must_use]
pub fn cut(text: &str, size: f64, width: f64) -> String {
    if width_of(text, size) <= width {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let room = crate::engine::num::index(crate::engine::num::trunc_u(width / (size * 0.6)));
    let tail = (room / 2).min(letters.len());
    let head = room.saturating_sub(tail + 1);
    let mut kept: String = letters.iter().take(head).collect();
    kept.push('…');
    kept.extend(&letters[letters.len() - tail..]);
    kept
}
