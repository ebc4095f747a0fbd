//! `report.html`: one page with everything in it, in light and dark, that loads nothing.

use super::logs::size;
use super::plots::picture::Picture;
use super::plots::svg::{escape, svg};
use super::summary::Summary;
use super::text::{count, render, span};
use std::fmt::Write;

/// Styles of every page.
pub(crate) const STYLE: &str = include_str!("assets/report.css");

/// The page.
#[must_use]
pub fn page(summary: &Summary, pictures: &[(&'static str, Picture)]) -> String {
    let mut out = String::with_capacity(1 << 18);
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let name = if summary.scenario.is_empty() { "run" } else { &summary.scenario };
    tag(&mut out, "title", &format!("{name} - Wavetank"));
    write_in(&mut out, format_args!("<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"));
    tag(&mut out, "h1", name);
    verdicts(&mut out, summary);
    tag(&mut out, "pre", &render(summary, 110));
    for (_, picture) in pictures {
        write_in(&mut out, format_args!("<figure>\n{}</figure>\n", svg(picture)));
    }
    faults(&mut out, summary);
    workloads(&mut out, summary);
    logs(&mut out, summary);
    requests(&mut out, summary);
    not_modelled(&mut out, summary);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Writing to a string cannot fail.
pub(crate) fn write_in(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

/// An element with text.
pub(crate) fn tag(out: &mut String, name: &str, text: &str) {
    write_in(out, format_args!("<{name}>"));
    escape(out, text);
    write_in(out, format_args!("</{name}>\n"));
}

fn verdicts(out: &mut String, summary: &Summary) {
    if summary.expectations.is_empty() {
        return;
    }
    out.push_str("<ul class=\"verdicts\">\n");
    for verdict in &summary.expectations {
        let (class, word) = if verdict.pass { ("pass", "PASS") } else { ("fail", "FAIL") };
        write_in(out, format_args!("<li class=\"{class}\"><b>{word}</b> "));
        escape(out, &format!("{}: {}", verdict.expected, verdict.observed));
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
}

/// A table; cells that begin with a digit or a dash stand to the right.
pub(crate) fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    out.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for cell in head {
        tag(out, "th", cell);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let number = cell.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
            out.push_str(if number { "<td class=\"n\">" } else { "<td>" });
            escape(out, cell);
            out.push_str("</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
}

fn since(from: Option<f64>, to: Option<f64>) -> String {
    match (from, to) {
        (Some(a), Some(b)) => span(b - a),
        (None, Some(_) | None) | (Some(_), None) => "-".to_owned(),
    }
}

fn faults(out: &mut String, summary: &Summary) {
    if summary.faults.is_empty() {
        return;
    }
    tag(out, "h2", "Faults");
    let rows: Vec<Vec<String>> = summary
        .faults
        .iter()
        .map(|f| {
            vec![
                f.what.clone(),
                f.at_s.map_or_else(|| "never".to_owned(), span),
                since(f.at_s, f.ended_s),
                f.nodes.to_string(),
                f.pods.to_string(),
                since(f.at_s, f.detected_s),
                since(f.at_s, f.first_evicted_s),
                since(f.at_s, f.last_evicted_s),
                f.evicted.to_string(),
                since(f.at_s, f.last_rescheduled_s),
                since(f.at_s, f.recovered_s),
            ]
        })
        .collect();
    let head = [
        "fault",
        "at",
        "lasted",
        "nodes",
        "pods",
        "noticed after",
        "first eviction after",
        "last eviction after",
        "evicted",
        "last replacement placed after",
        "all replicas back after",
    ];
    table(out, &head, &rows);
}

fn logs(out: &mut String, summary: &Summary) {
    let Some(logs) = &summary.logs else { return };
    tag(out, "h2", "Logs");
    let row = |what: &str, n: u64| vec![what.to_owned(), size(n)];
    let mut rows = vec![row("written", logs.written_bytes), row("shipped", logs.shipped_bytes)];
    rows.extend(logs.causes().iter().map(|(why, n)| row(&format!("lost: {why}"), *n)));
    rows.push(row("in buffers at the end", logs.buffered_bytes));
    rows.push(row("unread at the end", logs.unread_bytes));
    rows.push(row("most in the buffer of one node", logs.peak_backlog_bytes));
    table(out, &["logs", "amount"], &rows);
    if logs.disk_pressure.is_empty() {
        return;
    }
    let pressed = logs.disk_pressure.iter();
    let rows: Vec<Vec<String>> =
        pressed.map(|p| vec![p.node.clone(), span(p.at_s), p.evicted.to_string()]).collect();
    table(out, &["short of disk for its logs", "first at", "pods evicted"], &rows);
}

fn workloads(out: &mut String, summary: &Summary) {
    if summary.workloads.is_empty() {
        return;
    }
    tag(out, "h2", "Workloads");
    let dash = |secs: f64| if secs > 0.0 { span(secs) } else { "-".to_owned() };
    let rows: Vec<Vec<String>> = summary
        .workloads
        .iter()
        .map(|w| {
            vec![
                w.workload.clone(),
                format!("{}/{}", w.available, w.desired),
                w.first_full_s.map_or_else(|| "never".to_owned(), span),
                dash(w.short_s),
                dash(w.none_s),
                dash(w.longest_short_s),
                w.worst(),
                w.evicted.to_string(),
                w.restarts.to_string(),
            ]
        })
        .collect();
    let head = [
        "workload",
        "at the end",
        "first full at",
        "short for",
        "none for",
        "longest",
        "worst",
        "evicted",
        "restarts",
    ];
    table(out, &head, &rows);
}

fn requests(out: &mut String, summary: &Summary) {
    let total: u64 = summary.requests.iter().map(|r| r.committed).sum();
    let refused: u64 = summary.requests.iter().map(|r| r.refused).sum();
    out.push_str("<details><summary>");
    let words = format!("{} committed by the API server, {refused} refused", count(total, "write"));
    escape(out, &words);
    out.push_str("</summary>\n");
    let rows: Vec<Vec<String>> = summary
        .requests
        .iter()
        .map(|r| {
            vec![
                r.user.clone(),
                r.verb.clone(),
                r.kind.to_owned(),
                r.committed.to_string(),
                r.refused.to_string(),
            ]
        })
        .collect();
    table(out, &["user", "verb", "kind", "committed", "refused"], &rows);
    out.push_str("</details>\n");
}

fn not_modelled(out: &mut String, summary: &Summary) {
    if summary.not_modelled.is_empty() {
        return;
    }
    tag(out, "h2", "Accepted, not modelled");
    let rows: Vec<Vec<String>> =
        summary.not_modelled.iter().map(|c| vec![c.what.clone(), c.count.to_string()]).collect();
    table(out, &["what", "times"], &rows);
}
