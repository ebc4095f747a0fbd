//! A picture as SVG text: real text with classes, so that a page can recolour it.

use super::picture::{Anchor, Colour, FAINT, GRID, INK, PAPER, Picture, Shape};
use std::fmt::Write;

/// The picture as a file of its own.
#[must_use]
pub fn svg(picture: &Picture) -> String {
    let mut out = String::new();
    let (w, h) = (picture.width, picture.height);
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" \
         viewBox=\"0 0 {w} {h}\" role=\"img\" \
         font-family=\"DejaVu Sans, Verdana, sans-serif\">\n<title>"
    );
    out.push_str(&head);
    escape(&mut out, &picture.title);
    out.push_str("</title>\n");
    for shape in &picture.shapes {
        // Writing to a string cannot fail.
        put(&mut out, shape).unwrap_or_default();
    }
    out.push_str("</svg>\n");
    out
}

/// The class of a colour that a dark page must change.
fn class(colour: Colour) -> &'static str {
    match colour {
        INK => " class=\"ink\"",
        FAINT => " class=\"faint\"",
        GRID => " class=\"grid\"",
        PAPER => " class=\"paper\"",
        Colour(..) => "",
    }
}

fn hex(colour: Colour) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

fn points(list: &[(f64, f64)]) -> String {
    let mut out = String::with_capacity(list.len() * 12);
    for (i, (x, y)) in list.iter().enumerate() {
        let gap = if i == 0 { "" } else { " " };
        write!(out, "{gap}{x:.1},{y:.1}").unwrap_or_default();
    }
    out
}

fn put(out: &mut String, shape: &Shape) -> std::fmt::Result {
    match shape {
        Shape::Rect(x, y, w, h, colour, opacity, tip) => {
            let fill = hex(*colour);
            let class = class(*colour);
            write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" \
                 fill=\"{fill}\"{class}"
            )?;
            if *opacity < 1.0 {
                write!(out, " fill-opacity=\"{opacity:.2}\"")?;
            }
            if tip.is_empty() {
                writeln!(out, "/>")
            } else {
                out.push_str("><title>");
                escape(out, tip);
                writeln!(out, "</title></rect>")
            }
        }
        Shape::Line(list, colour, width, dashed) => {
            let dash = if *dashed { " stroke-dasharray=\"5 4\"" } else { "" };
            writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"{dash}{}/>",
                points(list),
                hex(*colour),
                class(*colour).replace("=\"", "=\"s-"),
            )
        }
        Shape::Area(list, colour, opacity) => writeln!(
            out,
            "<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"{opacity:.2}\"/>",
            points(list),
            hex(*colour),
        ),
        Shape::Text(x, y, size, anchor, colour, text) => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            write!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size:.1}\" \
                 text-anchor=\"{anchor}\" fill=\"{}\"{}>",
                hex(*colour),
                class(*colour),
            )?;
            escape(out, text);
            writeln!(out, "</text>")
        }
    }
}

/// Text for XML and HTML.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}
