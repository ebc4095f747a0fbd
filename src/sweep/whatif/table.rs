//! The answer as text: a ranking, how it came about, and what each workload loses.

use super::ranking::{Row, STAGES, Study, WorkloadRow};
use crate::engine::num;
use crate::report::text::{count, span, wrap};
use crate::sweep::stats::Estimate;
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};

/// Lines of the table of workloads.
const WORKLOADS: usize = 30;

/// `shop/ledger` of `statefulset/shop/ledger`: the kind stands in the table of workloads.
fn name(workload: &str) -> &str {
    workload.split_once('/').map_or(workload, |(_, name)| name)
}

fn losses(n: usize) -> String {
    format!("{n} loss{}", if n == 1 { "" } else { "es" })
}

/// A number of minutes: two decimals below ten.
fn minutes(x: f64) -> String {
    if !x.is_finite() {
        return "-".to_owned();
    }
    let decimals = if x.abs() >= 100.0 {
        0
    } else if x.abs() >= 10.0 {
        1
    } else {
        2
    };
    let x = num::rounded(x, decimals);
    // No minus before zero.
    format!("{}", if x.abs() < 1e-9 { 0.0 } else { x })
}

/// `6.55 [5.03, 8.07]`.
fn interval(e: &Estimate) -> String {
    match e.interval {
        Some((low, high)) if high > low => {
            format!("{} [{}, {}]", minutes(e.mean), minutes(low), minutes(high))
        }
        Some(_) | None => minutes(e.mean),
    }
}

/// A mean span in words; a dash if it never came to it.
fn stage(e: &Estimate) -> String {
    if e.n == 0 { "-".to_owned() } else { span(num::rounded(e.mean, 1)) }
}

fn grid(head: &[&str], left: &[usize], width: u16) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    grid.set_width(width);
    grid.set_header(head.iter().map(|h| (*h).to_owned()).collect::<Vec<String>>());
    for column in (0..head.len()).filter(|c| !left.contains(c)) {
        if let Some(column) = grid.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    grid
}

impl Study {
    /// The answer, at most `width` columns wide, with at most `top` losses.
    #[must_use]
    pub fn render(&self, width: u16, top: usize) -> String {
        let shown: Vec<(usize, &Row)> = (self.rows.iter().enumerate())
            .filter(|(_, row)| !row.harmless())
            .take(top)
            .map(|(i, row)| (i + 1, row))
            .collect();
        let mut parts = vec![self.head()];
        if !shown.is_empty() {
            parts.push(self.ranking(&shown, width));
        }
        parts.push(self.others(shown.len()));
        if !shown.is_empty() {
            parts.push(stages(&shown, width));
            parts.push(workloads(&shown, width));
        }
        parts.push(self.notes());
        parts.retain(|part| !part.is_empty());
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
        let repairs: Vec<f64> = self.facts.iter().map(|f| f.repair.secs_f64()).collect();
        let mut sorted = repairs.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let longest = sorted.last().copied().unwrap_or_default();
        let mut text = format!(
            "{}: {} on {}, one loss at a time, {}; repaired after {} (median; longest {})",
            self.scenario,
            losses(self.rows.len()),
            count(self.nodes as u64, "node"),
            count(self.seeds.len() as u64, "seed"),
            span(num::rounded(median, 0)),
            span(num::rounded(longest, 0)),
        );
        if self.expectations == 0 {
            text.push_str("; nothing is expected of it");
        }
        text
    }

    fn ranking(&self, shown: &[(usize, &Row)], width: u16) -> String {
        let mut head = vec!["#", "loss", "down min", "short replica-min", "worst hit"];
        if self.expectations > 0 {
            head.push("expect");
        }
        if self.sensitivity > 0 {
            head.push("flips with");
        }
        let mut grid = grid(&head, &[1, 4, 5, 6], width);
        for (rank, row) in shown {
            let hit = row.workloads.iter().find(|w| w.hit());
            let mut cells = vec![
                rank.to_string(),
                row.loss.to_string(),
                interval(&row.down),
                interval(&row.short),
                hit.map_or("-", |w| name(&w.workload)).to_owned(),
            ];
            if self.expectations > 0 {
                let failed = row.breaches.len();
                cells.push(if failed == 0 { "ok".into() } else { format!("{failed} FAIL") });
            }
            if self.sensitivity > 0 {
                let flips = row.flips.join(", ");
                cells.push(if flips.is_empty() { "-".to_owned() } else { flips });
            }
            grid.add_row(cells);
        }
        grid.trim_fmt()
    }

    /// The losses that are not in the table.
    fn others(&self, shown: usize) -> String {
        let harmless: Vec<String> =
            self.rows.iter().filter(|row| row.harmless()).map(|row| row.loss.to_string()).collect();
        let more = self.rows.len() - harmless.len() - shown;
        let mut parts = Vec::new();
        if more > 0 {
            parts.push(format!("{more} more do damage (--top shows them)"));
        }
        if !harmless.is_empty() {
            let names = crate::report::expect::listed(&harmless, 6);
            parts.push(format!("no damage: {names}"));
        }
        parts.join("; ")
    }

    fn notes(&self) -> String {
        let mut lines = vec![format!(
            "means over the seeds [95 % interval by Student's t, cut at zero]; down: fewer ready replicas than the disruption \
             budget asks for, without one fewer than {}; short: replicas wanted and not ready, but \
             those of DaemonSets",
            self.need,
        )];
        let restless = self.facts.iter().filter(|f| !f.rested).count();
        if restless > 0 {
            lines.push(format!(
                "the cluster was not at rest when the warm-up ended on {restless} of {} seeds; \
                 what it would have lacked anyway is taken off",
                self.seeds.len(),
            ));
        }
        if self.bodiless {
            lines.push(
                "the control plane runs on no node here: it goes on when its nodes are lost \
                 (cluster.controlPlane puts it there)"
                    .to_owned(),
            );
        }
        let open = self.rows.iter().filter(|row| row.restless() > 0).count();
        if open > 0 {
            let of = losses(self.rows.len());
            lines.push(format!(
                "after {open} of {of} it did not come to rest before the horizon on some seed: \
                 what is still missing then counts up to the horizon"
            ));
        }
        let anyway = self.anyway.iter().map(|b| ("nothing lost".to_owned(), b));
        let rows = self.rows.iter();
        let after = rows.flat_map(|row| row.breaches.iter().map(|b| (row.loss.to_string(), b)));
        for (lost, breach) in anyway.chain(after) {
            lines.push(format!(
                "FAIL  {lost}: {}: {} (seed {}; on {} of {} seeds)",
                breach.expected,
                breach.first.1,
                breach.first.0,
                breach.seeds,
                self.seeds.len(),
            ));
        }
        lines.join("\n")
    }
}

fn stages(shown: &[(usize, &Row)], width: u16) -> String {
    let work = shown.iter().any(|(_, row)| row.lost_work.mean > 0.0);
    let blocked = shown.iter().any(|(_, row)| row.blocked.mean > 0.0);
    let mut head = vec!["#", "after"];
    head.extend(STAGES);
    head.extend(["evictions", "pending min"]);
    if blocked {
        head.push("blocked by budget");
    }
    if work {
        head.push("lost work min");
    }
    let mut grid = grid(&head, &[1], width);
    let mut why = String::new();
    for (rank, row) in shown {
        let mut cells = vec![rank.to_string(), row.loss.to_string()];
        cells.extend(row.stages.iter().map(stage));
        if row.stages[3].n == 0 && row.workloads.iter().any(|w| w.hit()) {
            cells[5] = "never".to_owned();
        }
        cells.push(minutes(row.evicted.mean));
        cells.push(minutes(row.pending.mean));
        if row.pending.mean >= 0.005 {
            why.push_str(&format!("\npending after {}: {}", row.loss, row.why_pending));
        }
        if blocked {
            cells.push(minutes(row.blocked.mean));
        }
        if work {
            cells.push(minutes(row.lost_work.mean));
        }
        grid.add_row(cells);
    }
    grid.trim_fmt() + &why
}

fn workloads(shown: &[(usize, &Row)], width: u16) -> String {
    let hit = |row: &'_ Row| row.workloads.iter().filter(|w| w.hit()).count();
    let more = shown.iter().map(|(_, row)| hit(row)).sum::<usize>().saturating_sub(WORKLOADS);
    let all: Vec<(usize, &WorkloadRow)> = shown
        .iter()
        .flat_map(|(rank, row)| row.workloads.iter().filter(|w| w.hit()).map(move |w| (*rank, w)))
        .take(WORKLOADS)
        .collect();
    if all.is_empty() {
        return String::new();
    }
    let head = ["#", "workload", "needs", "down min", "short replica-min", "seeds down"];
    let mut grid = grid(&head, &[1], width);
    for (rank, w) in &all {
        let mark = if w.by_budget { "" } else { "*" };
        let open = if w.open > 0 { "†" } else { "" };
        grid.add_row(vec![
            rank.to_string(),
            w.workload.clone(),
            format!("{}{mark} of {}", w.need, w.desired),
            format!("{}{open}", interval(&w.down)),
            interval(&w.short),
            w.seeds_down.to_string(),
        ]);
    }
    let mut text = grid.trim_fmt();
    if more > 0 {
        text.push_str(&format!("\n{more} more in workloads.csv"));
    }
    if all.iter().any(|(_, w)| !w.by_budget) {
        text.push_str("\n* no disruption budget selects it");
    }
    if all.iter().any(|(_, w)| w.open > 0) {
        text.push_str("\n† still down at the horizon on some seed");
    }
    text
}
