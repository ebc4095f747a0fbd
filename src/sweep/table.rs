//! Measures × policies, with paired differences from the first policy.

use super::stats::{Paired, holm, paired};
use crate::engine::num;
use crate::report::summary::Summary;
use crate::report::text::measures;
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};

/// The runs of one policy, in the order of the seeds.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Name shown.
    pub name: String,
    /// One list of measures per seed.
    pub runs: Vec<Vec<(&'static str, f64)>>,
}

impl Policy {
    /// The measures of runs that have ended.
    #[must_use]
    pub fn new(name: &str, summaries: &[Summary]) -> Self {
        Self { name: name.to_owned(), runs: summaries.iter().map(measures).collect() }
    }

    fn column(&self, measure: usize) -> Vec<f64> {
        let of = |run: &Vec<(&'static str, f64)>| run.get(measure).map_or(f64::NAN, |m| m.1);
        self.runs.iter().map(of).collect()
    }
}

/// A measure against one policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// The paired comparison with the baseline.
    pub paired: Paired,
    /// Its p-value after Holm's correction over the whole table.
    pub p_holm: f64,
}

/// The comparison of policies with the first one.
#[derive(Debug, Clone)]
pub struct Table {
    /// Names, the baseline first.
    pub policies: Vec<String>,
    /// Number of seeds.
    pub seeds: usize,
    /// Per measure: its name, the baseline's mean, and a cell per other policy.
    pub rows: Vec<(&'static str, f64, Vec<Cell>)>,
}

impl Table {
    /// Compares all policies with the first one.
    #[must_use]
    pub fn new(policies: &[Policy]) -> Self {
        let mut table = Self {
            policies: policies.iter().map(|p| p.name.clone()).collect(),
            seeds: policies.iter().map(|p| p.runs.len()).min().unwrap_or(0),
            rows: Vec::new(),
        };
        let Some((base, others)) = policies.split_first() else { return table };
        let names = base.runs.first().map(Vec::as_slice).unwrap_or_default();
        for (measure, (name, _)) in names.iter().enumerate() {
            let a = base.column(measure);
            let own = paired(&a, &a).mean_a;
            let cells = others.iter().map(|other| {
                let paired = paired(&a, &other.column(measure));
                Cell { paired, p_holm: paired.p }
            });
            table.rows.push((name, own, cells.collect()));
        }
        table.correct();
        table
    }

    fn correct(&mut self) {
        let cells = || self.rows.iter().flat_map(|row| row.2.iter());
        let adjusted = holm(&cells().map(|c| c.paired.p).collect::<Vec<f64>>());
        let all = self.rows.iter_mut().flat_map(|row| row.2.iter_mut());
        for (cell, p) in all.zip(adjusted) {
            cell.p_holm = p;
        }
    }

    /// The table as text; `*` marks differences with a corrected p below 0.05.
    #[must_use]
    pub fn render(&self, width: u16) -> String {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        grid.set_width(width);
        let mut head = vec!["measure".to_owned()];
        for (i, name) in self.policies.iter().enumerate() {
            head.push(name.clone());
            if i > 0 {
                head.push("difference [95 % interval]".to_owned());
            }
        }
        let columns = head.len();
        grid.set_header(head);
        for (name, own, cells) in &self.rows {
            let mut row = vec![(*name).to_owned(), figure(*own)];
            for cell in cells {
                row.push(figure(cell.paired.mean_b));
                row.push(difference(cell));
            }
            grid.add_row(row);
        }
        for column in 1..columns {
            if let Some(column) = grid.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let note = format!(
            "means over {}; paired differences from {}; * p < 0.05 after Holm's correction",
            crate::report::text::count(self.seeds as u64, "seed"),
            self.policies.first().map_or("nothing", String::as_str),
        );
        format!("{}\n{note}\n", grid.trim_fmt())
    }
}

fn difference(cell: &Cell) -> String {
    let paired = &cell.paired;
    if paired.identical {
        return "0 (identical)".to_owned();
    }
    let Some((low, high)) = paired.interval else { return signed(paired.difference) };
    let star = if cell.p_holm < 0.05 { " *" } else { "" };
    format!("{} [{}, {}]{star}", signed(paired.difference), signed(low), signed(high))
}

fn signed(x: f64) -> String {
    let text = figure(x);
    if x > 0.0 { format!("+{text}") } else { text }
}

/// Four significant figures at least, and no needless zeros.
fn figure(x: f64) -> String {
    if !x.is_finite() {
        return "-".to_owned();
    }
    let size = x.abs();
    let decimals = if size >= 1000.0 {
        0
    } else if size >= 10.0 {
        2
    } else if size >= 0.1 {
        4
    } else {
        6
    };
    num::rounded(x, decimals).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_real_differences_from_noise() {
        let runs = |of: &dyn Fn(f64) -> f64| -> Vec<Vec<(&'static str, f64)>> {
            (0..8_u32)
                .map(|seed| {
                    let noise = f64::from(seed * 7919 % 13);
                    vec![("pending_mean_s", of(noise)), ("pods_failed", noise)]
                })
                .collect()
        };
        let base = Policy { name: "LeastAllocated".into(), runs: runs(&|noise| noise) };
        let other = Policy {
            name: "MostAllocated".into(),
            runs: runs(&|noise| noise - 5.0 - noise / 50.0),
        };
        let table = Table::new(&[base, other]);
        assert!(table.rows[0].2[0].p_holm < 0.001);
        assert!(table.rows[1].2[0].paired.identical);
        let text = table.render(100);
        assert!(text.contains("0 (identical)"), "{text}");
        assert!(text.contains(" *"), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    }
}
