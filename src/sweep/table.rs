//! Measures × policies, with paired differences from the first policy.

use super::done::Done;
use super::stats::{Paired, holm, paired};
use crate::engine::num;
use crate::report::measures::{MEASURES, Measure};
use crate::report::text::wrap;
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};

/// The runs of one policy, in the order of the seeds.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Name shown.
    pub name: String,
    /// One run per seed.
    pub runs: Vec<Done>,
}

impl Policy {
    /// A measure of each run.
    #[must_use]
    pub fn column(&self, measure: &Measure) -> Vec<f64> {
        self.runs.iter().map(|run| run.value(measure.name)).collect()
    }

    /// True if each run equals that of another policy, event by event.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let pairs = self.runs.iter().zip(&other.runs);
        self.runs.len() == other.runs.len() && pairs.into_iter().all(|(a, b)| a.digest == b.digest)
    }
}

/// The measures that some run of these has.
#[must_use]
pub fn measured(policies: &[Policy]) -> Vec<&'static Measure> {
    let has = |m: &Measure| {
        policies.iter().any(|p| p.runs.iter().any(|run| run.value(m.name).is_finite()))
    };
    MEASURES.iter().filter(|m| has(m)).collect()
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
    /// Names of policies that equal the baseline, event by event, on every seed.
    pub identical: Vec<String>,
}

impl Table {
    /// Compares all policies with the first one.
    #[must_use]
    pub fn new(policies: &[Policy]) -> Self {
        let mut table = Self {
            policies: policies.iter().map(|p| p.name.clone()).collect(),
            seeds: policies.iter().map(|p| p.runs.len()).min().unwrap_or(0),
            rows: Vec::new(),
            identical: Vec::new(),
        };
        let Some((base, others)) = policies.split_first() else { return table };
        for measure in measured(policies) {
            let a = base.column(measure);
            let own = paired(&a, &a).mean_a;
            let cells = others.iter().map(|other| {
                let paired = paired(&a, &other.column(measure));
                Cell { paired, p_holm: paired.p }
            });
            table.rows.push((measure.name, own, cells.collect()));
        }
        let same = others.iter().filter(|other| other.same(base));
        table.identical = same.map(|other| other.name.clone()).collect();
        table.correct();
        table
    }

    /// The table as data.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|(name, base, cells)| {
            let cells = cells.iter().zip(self.policies.iter().skip(1)).map(|(cell, policy)| {
                serde_json::json!({
                    "policy": policy,
                    "mean_difference": cell.paired.difference,
                    "interval_95": cell.paired.interval,
                    "p_holm": cell.p_holm,
                })
            });
            serde_json::json!({ "measure": name, "baseline_mean": base, "against": cells.collect::<Vec<_>>() })
        });
        serde_json::json!({
            "baseline": self.policies.first(),
            "seeds": self.seeds,
            "measures": rows.collect::<Vec<_>>(),
            "identical_to_baseline": self.identical,
        })
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
        let (head, rows) = if self.policies.len() > BESIDE { self.long() } else { self.wide() };
        let columns = head.len();
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        grid.set_width(width).set_header(head);
        grid.add_rows(rows);
        let first = if self.policies.len() > BESIDE { 2 } else { 1 };
        for column in first..columns {
            if let Some(column) = grid.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut page = format!("{}\n", grid.trim_fmt());
        if self.policies.len() > BESIDE {
            wrap(&mut page, &self.alike(), usize::from(width));
        }
        wrap(&mut page, &self.note(), usize::from(width));
        page
    }

    /// What the figures are.
    #[must_use]
    pub fn note(&self) -> String {
        format!(
            "means over {}; paired differences from {}; * p < 0.05 after Holm's correction",
            crate::report::text::count(self.seeds as u64, "seed"),
            self.policies.first().map_or("nothing", String::as_str),
        )
    }

    /// Head and rows with the policies beside each other.
    fn wide(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut head = vec!["measure".to_owned()];
        for (i, name) in self.policies.iter().enumerate() {
            head.push(name.clone());
            if i > 0 {
                head.push("difference [95 % interval]".to_owned());
            }
        }
        let row = |(name, own, cells): &(&'static str, f64, Vec<Cell>)| {
            let mut row = vec![(*name).to_owned(), figure(*own)];
            for cell in cells {
                row.push(figure(cell.paired.mean_b));
                row.push(difference(cell));
            }
            row
        };
        (head, self.rows.iter().map(row).collect())
    }

    /// What does not differ at all, `the same under all policies on every seed: pods_failed (mean
    /// 0)`; empty if everything does.
    #[must_use]
    pub fn alike(&self) -> String {
        let rows = self.rows.iter().filter(|row| row.2.iter().all(same));
        let words: Vec<String> =
            rows.map(|(name, own, _)| format!("{name} (mean {})", figure(*own))).collect();
        if words.is_empty() {
            return String::new();
        }
        format!("the same under all policies on every seed: {}", words.join(", "))
    }

    /// Head and rows with the policies below each other; without what does not differ at all.
    #[must_use]
    pub fn long(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let head = ["measure", "policy", "mean", "difference [95 % interval]"];
        let mut rows = Vec::new();
        for (name, own, cells) in self.rows.iter().filter(|row| !row.2.iter().all(same)) {
            let first = self.policies.first().cloned().unwrap_or_default();
            rows.push(vec![(*name).to_owned(), first, figure(*own), "-".to_owned()]);
            for (cell, policy) in cells.iter().zip(self.policies.iter().skip(1)) {
                let mean = figure(cell.paired.mean_b);
                rows.push(vec![String::new(), policy.clone(), mean, difference(cell)]);
            }
        }
        (head.map(str::to_owned).to_vec(), rows)
    }

    /// The table as `table.csv`.
    #[must_use]
    pub fn csv(&self) -> Vec<u8> {
        let head = "measure,policy,seeds,mean,mean_difference,low_95,high_95,p,p_holm\n";
        let mut out = csv::Writer::from_writer(head.as_bytes().to_vec());
        for (name, own, cells) in &self.rows {
            let base = self.policies.first().map_or("", String::as_str);
            let empty = || String::new();
            let own = [plain(*own), empty(), empty(), empty(), empty(), empty()];
            let rows = cells.iter().map(|cell| {
                let (low, high) = cell.paired.interval.unwrap_or((f64::NAN, f64::NAN));
                [cell.paired.mean_b, cell.paired.difference, low, high, cell.paired.p, cell.p_holm]
                    .map(plain)
            });
            let policies = self.policies.iter().skip(1).map(String::as_str);
            for (policy, row) in std::iter::once((base, own)).chain(policies.zip(rows)) {
                let seeds = self.seeds.to_string();
                let row = [*name, policy, &seeds].into_iter().map(str::to_owned).chain(row);
                // Writing to memory cannot fail.
                out.write_record(row).unwrap_or_default();
            }
        }
        out.into_inner().unwrap_or_default()
    }
}

/// True if nothing differs.
const fn same(cell: &Cell) -> bool {
    cell.paired.identical
}

/// Policies that fit beside each other on a line.
const BESIDE: usize = 3;

fn difference(cell: &Cell) -> String {
    interval(&cell.paired, cell.p_holm)
}

/// A difference with its interval; `*` if chance is no explanation.
#[must_use]
pub(super) fn interval(paired: &Paired, p_holm: f64) -> String {
    if paired.identical {
        return "0 (identical)".to_owned();
    }
    let Some((low, high)) = paired.interval else { return signed(paired.difference) };
    let star = if p_holm < 0.05 { " *" } else { "" };
    format!("{} [{}, {}]{star}", signed(paired.difference), signed(low), signed(high))
}

pub(super) fn signed(x: f64) -> String {
    let text = figure(x);
    if x > 0.0 { format!("+{text}") } else { text }
}

/// A number for programs: all its digits, nothing if it is none.
#[must_use]
pub(super) fn plain(x: f64) -> String {
    if x.is_finite() { x.to_string() } else { String::new() }
}

/// Four significant figures at least, and no needless zeros.
pub(super) fn figure(x: f64) -> String {
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
        let runs = |of: &dyn Fn(f64) -> f64| -> Vec<Done> {
            let run = |seed: u32| {
                let noise = f64::from(seed * 7919 % 13);
                let mut done = Done::default();
                done.measures.insert("pending_mean_s".into(), Some(of(noise)));
                done.measures.insert("pods_failed".into(), Some(noise));
                Done { digest: of(noise).to_string(), ..done }
            };
            (0..8).map(run).collect()
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
        assert!(table.identical.is_empty());
        let csv = String::from_utf8(table.csv()).unwrap();
        assert_eq!(csv.lines().count(), 5, "{csv}");
        assert!(
            csv.lines().nth(1).unwrap().starts_with("pending_mean_s,LeastAllocated,8,"),
            "{csv}"
        );
    }
}
