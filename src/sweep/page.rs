//! `report.html` of a comparison: verdicts first, then the table, the pictures, and how it was
//! done.

use super::outcome::Outcome;
use crate::report::html::{STYLE, table, tag, write_in};
use crate::report::measures;
use crate::report::plots::picture::Picture;
use crate::report::plots::svg::svg;
use crate::report::text::count;

/// The page; it loads nothing.
#[must_use]
pub fn page(outcome: &Outcome, pictures: &[(&'static str, Picture)]) -> String {
    let mut out = String::with_capacity(1 << 18);
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let title = &outcome.book.title;
    tag(&mut out, "title", &format!("{title} - Wavetank"));
    write_in(&mut out, format_args!("<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"));
    tag(&mut out, "h1", title);
    let cells = count(outcome.policies.len() as u64, "variant");
    tag(
        &mut out,
        "p",
        &format!("{cells} on the same {}.", count(outcome.book.seeds.len() as u64, "seed")),
    );
    tag(&mut out, "pre", outcome.verdicts.render(100).trim_end());
    tag(&mut out, "h2", "All measures");
    let (head, rows) = outcome.table.long();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(&mut out, &head, &rows);
    let alike = outcome.table.alike();
    if !alike.is_empty() {
        tag(&mut out, "p", &alike);
    }
    tag(&mut out, "p", &outcome.table.note());
    for (_, picture) in pictures {
        write_in(&mut out, format_args!("<figure>\n{}</figure>\n", svg(picture)));
    }
    variants(&mut out, outcome);
    meanings(&mut out, outcome);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// What each variant sets.
fn variants(out: &mut String, outcome: &Outcome) {
    tag(out, "h2", "Variants");
    let rows = outcome.book.cells.iter().map(|cell| {
        let sets: Vec<String> =
            cell.sets.iter().map(|(path, value)| format!("{path}={value}")).collect();
        vec![cell.name.clone(), sets.join(", ")]
    });
    table(out, &["variant", "values set"], &rows.collect::<Vec<_>>());
}

/// What the measures are.
fn meanings(out: &mut String, outcome: &Outcome) {
    tag(out, "h2", "Measures");
    let rows = outcome.table.rows.iter().filter_map(|row| {
        let measure = measures::find(row.0)?;
        let better = match measure.better {
            measures::Better::Lower => "less",
            measures::Better::Higher => "more",
        };
        Some(vec![measure.name.to_owned(), measure.about.to_owned(), better.to_owned()])
    });
    table(out, &["measure", "what", "better"], &rows.collect::<Vec<_>>());
    write_in(out, format_args!("<p>Made by wavetank {}.</p>\n", outcome.book.program));
}
