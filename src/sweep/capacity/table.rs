//! The answer as text.

use super::{Answer, Limit, Lost, Need, Tried};
use crate::api::quantity::Quantity;
use crate::engine::num;
use crate::report::text::{count, span, wrap};
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};

/// Columns of zones or pools that are shown; more are in the files.
const COLUMNS: usize = 6;

/// An amount of a resource with its unit, as Kubernetes writes it: memory in whole Gi or Mi.
pub(super) fn amount(resource: &str, n: i64) -> String {
    match resource {
        "cpu" => format!("{} cores", num::rounded(num::float(n) / 1_000.0, 1)),
        "memory" | "ephemeral-storage" => {
            let gib = num::float(n) / 1_073_741_824.0;
            format!("{} GiB", num::rounded(gib, 1))
        }
        _whole => Quantity::from_value(n).to_string(),
    }
}

fn grid(head: &[String], left: usize, width: u16) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    grid.set_width(width);
    grid.set_header(head.to_vec());
    for column in left..head.len() {
        if let Some(column) = grid.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    grid
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// `120`, or `100000 or more`.
fn fits(n: u32, most: u32) -> String {
    if n == most { format!("{n} or more") } else { n.to_string() }
}

/// `shop/search` of `deployment/shop/search`: the kind stands in the first table.
fn short(name: &str) -> &str {
    match name.split_once('/') {
        Some((kind, rest)) if !kind.contains('=') => rest,
        Some(_) | None => name,
    }
}

/// `cpu: short on 48 nodes, 11.2 cores left there`.
pub(super) fn limit(limit: &Limit) -> String {
    format!(
        "{} short on {}, which have {} of it left together",
        limit.resource,
        count(limit.nodes as u64, "node"),
        amount(&limit.resource, limit.stranded),
    )
}

impl Lost {
    /// How this loss was chosen, in words.
    pub(super) fn how(&self) -> String {
        match &self.tried {
            Tried::Asked => String::new(),
            Tried::Each(nodes, kinds) if nodes == kinds => {
                format!("the worst of all {nodes}")
            }
            Tried::Each(nodes, kinds) => {
                format!("the worst of all {nodes}; they are of {}", count(*kinds as u64, "kind"))
            }
            Tried::Sample(tried, kinds) => {
                format!("the worst of {tried} drawn of {kinds} kinds of nodes")
            }
            Tried::Greedy => "greedy: the worst one, then the worst behind it".to_owned(),
            Tried::Drawn(sets) => format!("the worst of {sets} sets drawn"),
        }
    }

    /// The nodes, but for a zone.
    pub(super) fn who(&self) -> String {
        if self.tried == Tried::Asked { String::new() } else { self.nodes.join(" ") }
    }
}

impl Answer {
    /// The answer, at most `width` columns wide.
    #[must_use]
    pub fn render(&self, width: u16) -> String {
        let mut parts = vec![self.head()];
        if !self.fits.is_empty() {
            parts.push(self.fitting(width));
            parts.push(self.whys());
        }
        if !self.losses.is_empty() {
            parts.push(self.lost(width));
            parts.push(self.losses.iter().map(loss_note).collect::<String>());
        }
        if !self.needed.is_empty() {
            parts.push(self.needs(width));
        }
        parts.push(self.verdict());
        parts.retain(|part| !part.trim().is_empty());
        let mut page = String::new();
        for (i, part) in parts.iter().enumerate() {
            page.push_str(if i == 0 { "" } else { "\n" });
            for line in part.lines() {
                wrap(&mut page, line, usize::from(width));
            }
        }
        page
    }

    fn head(&self) -> String {
        let s = &self.state;
        let when = span(num::rounded(num::float_u(s.at.0) / 1e9, 1));
        let rest = if s.rested { "at rest" } else { "not at rest" };
        let mut text = format!(
            "{}: {} with {} at {when} ({rest}, seed {}); free: {} of {}, {} of {}",
            self.scenario,
            count(s.nodes as u64, "node"),
            count(s.pods as u64, "pod"),
            self.seed,
            num::rounded(num::float(s.cpu.1) / 1_000.0, 1),
            amount("cpu", s.cpu.0),
            num::rounded(num::float(s.memory.1) / 1_073_741_824.0, 1),
            amount("memory", s.memory.0),
        );
        if s.waiting > 0 {
            let waiting = count(s.waiting as u64, "pod");
            text.push_str(&format!("; {waiting} without a node, which take no part"));
        }
        text
    }

    fn fitting(&self, width: u16) -> String {
        let named = |names: &[String]| names.len() > 1 && names.len() <= COLUMNS;
        let zones = named(&self.zones);
        let pools = !zones && named(&self.pools);
        let mut head = strings(&["how many more of", "each asks for", "fit"]);
        if zones {
            head.extend(
                self.zones
                    .iter()
                    .map(|z| if z.is_empty() { "no zone".to_owned() } else { format!("zone {z}") }),
            );
        }
        if pools {
            head.extend(self.pools.iter().map(|p| format!("on {p}")));
        }
        head.push("limit".to_owned());
        let mut grid = grid(&head, 2, width);
        for (shape, fit) in self.shapes.iter().zip(&self.fits) {
            let mut row = vec![shape.name.clone(), shape.requests(), fits(fit.fits, self.most)];
            if zones {
                row.extend(fit.by_zone.iter().map(u32::to_string));
            }
            if pools {
                row.extend(fit.by_pool.iter().map(u32::to_string));
            }
            let limit = match fit.limits.first() {
                Some(limit) => limit.resource.clone(),
                None if fit.capped => "none yet".to_owned(),
                None => "rules".to_owned(),
            };
            row.push(limit);
            grid.add_row(row);
        }
        grid.trim_fmt()
    }

    /// What limits each shape, in the scheduler's words.
    fn whys(&self) -> String {
        let mut text = String::new();
        for (shape, fit) in self.shapes.iter().zip(&self.fits) {
            if !fit.why.is_empty() {
                text.push_str(&format!("{}: {}", shape.name, fit.why));
                let limits: Vec<String> = fit.limits.iter().map(limit).collect();
                if !limits.is_empty() {
                    text.push_str(&format!(" {}", limits.join("; ")));
                }
                text.push('\n');
            }
            if shape.own_claims {
                text.push_str(&format!("{}: claims of its own are not looked at\n", shape.name));
            }
        }
        if self.left_out > 0 {
            let kinds = count(self.left_out as u64, "rarer kind");
            text.push_str(&format!("{kinds} of pods left out\n"));
        }
        text
    }

    fn lost(&self, width: u16) -> String {
        let mut head = strings(&["after losing", "nodes", "pods there", "fit again"]);
        head.extend(self.shapes.iter().map(|s| format!("more {}", short(&s.name))));
        let mut grid = grid(&head, 2, width);
        let mut none = strings(&["nothing", "", "", ""]);
        none.extend(self.fits.iter().map(|f| fits(f.fits, self.most)));
        grid.add_row(none);
        for lost in &self.losses {
            let who = match lost.nodes.as_slice() {
                nodes if lost.tried == Tried::Asked => nodes.len().to_string(),
                [a, b, c, d, ..] => format!("{a} {b} {c} {d} …"),
                nodes => nodes.join(" "),
            };
            let again = lost.evicted - lost.stuck();
            let mut row = vec![lost.what.clone(), who, lost.evicted.to_string(), again.to_string()];
            row.extend(lost.fits.iter().map(|n| fits(*n, self.most)));
            grid.add_row(row);
        }
        grid.trim_fmt()
    }

    fn needs(&self, width: u16) -> String {
        let head = strings(&["nodes of", "now", "needed", "by sums", "bound by"]);
        let mut grid = grid(&head, 1, width);
        for need in &self.needed {
            let nodes = need.nodes.map_or("no number does".to_owned(), |n| n.to_string());
            grid.add_row(vec![
                need.pool.clone(),
                need.now.to_string(),
                nodes,
                need.by_sums.to_string(),
                need.bound_by.clone(),
            ]);
        }
        let pods = self.needed.first().map_or(0, |n| n.pods);
        let mut text = format!(
            "so that {} fit ({}), one pool at a time:\n{}\n",
            count(pods as u64, "pod"),
            self.needed_of,
            grid.trim_fmt()
        );
        for need in &self.needed {
            text.push_str(&need_note(need));
        }
        text
    }

    fn verdict(&self) -> String {
        let Some(least) = self.require else { return String::new() };
        let word = if self.passed() { "PASS" } else { "FAIL" };
        let after = if self.losses.is_empty() { "" } else { ", now and after each loss" };
        format!("{word}  at least {least} more of each{after}")
    }
}

fn loss_note(lost: &Lost) -> String {
    let mut text = String::new();
    let how = lost.how();
    if !how.is_empty() {
        text.push_str(&format!("{} ({}): {how}\n", lost.what, lost.who()));
    }
    if lost.gone > 0 {
        let gone = count(u64::from(lost.gone), "pod");
        text.push_str(&format!("{}: nobody makes {gone} of it anew\n", lost.what));
    }
    if !lost.stuck.is_empty() {
        let stuck: Vec<String> =
            lost.stuck.iter().map(|(workload, n)| format!("{n} of {workload}")).collect();
        text.push_str(&format!("{}: no place for {}: {}\n", lost.what, stuck.join(", "), lost.why));
    }
    text
}

fn need_note(need: &Need) -> String {
    match need.nodes {
        Some(0) => format!("{}: all fit without it\n", need.pool),
        Some(n) => {
            format!("{}: all fit on {n}; with {}: {}\n", need.pool, n - 1, need.first_left)
        }
        None => format!("{}: {}\n", need.pool, need.first_left),
    }
}
