//! Writes per (actor, verb, resource, code), recorded and simulated, and what is said about each
//! difference.

use super::exceptions::{EXCEPTIONS, Exception, is_chance};
use super::{Case, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A row of the table.
#[derive(Debug)]
struct Row {
    key: Key,
    recorded: usize,
    /// Over the seeds.
    least: usize,
    most: usize,
}

impl Row {
    fn equal(&self) -> bool {
        (self.least, self.most) == (self.recorded, self.recorded)
    }

    fn simulated(&self) -> String {
        if self.least == self.most {
            self.least.to_string()
        } else {
            format!("{}–{}", self.least, self.most)
        }
    }
}

fn rows(case: &Case) -> Vec<Row> {
    let recorded = case.recorded.counts();
    let runs: Vec<BTreeMap<Key, usize>> = case.runs.iter().map(super::Timeline::counts).collect();
    let keys: BTreeSet<&Key> = recorded.keys().chain(runs.iter().flat_map(|r| r.keys())).collect();
    let row = |key: &Key| {
        let of = |counts: &BTreeMap<Key, usize>| counts.get(key).copied().unwrap_or_default();
        let simulated = runs.iter().map(of);
        Row {
            key: key.clone(),
            recorded: of(&recorded),
            least: simulated.clone().min().unwrap_or_default(),
            most: simulated.max().unwrap_or_default(),
        }
    };
    keys.into_iter().map(row).collect()
}

/// The exception that a row falls under, and its bounds.
fn exception(id: &str, key: &Key) -> Option<(usize, &'static Exception, (usize, usize))> {
    let (actor, verb, resource, code) = key;
    EXCEPTIONS.iter().enumerate().find_map(|(at, e)| {
        let is = (e.row.0, e.row.1, e.row.2, e.row.3) == (actor, verb, resource, *code);
        let bounds = e.bounds(id).filter(|_| is)?;
        Some((at, e, bounds))
    })
}

/// How far chance alone may carry a count from the recorded one: twice the spread of independent
/// events of that number, and one.
fn spread(recorded: usize) -> (usize, usize) {
    let mut root = 0;
    while (root + 1) * (root + 1) <= 4 * recorded {
        root += 1;
    }
    (recorded.saturating_sub(root + 1), recorded + root + 1)
}

/// What is to be said of a row, and whether it is wrong.
fn judge(id: &str, row: &Row) -> (String, bool) {
    let Some((_, exception, (least, most))) = exception(id, &row.key) else {
        let said = if row.equal() { "equal" } else { "DIFFERS" };
        return (said.to_owned(), !row.equal());
    };
    let (low, high) = spread(row.recorded);
    if row.least < least || row.most > most {
        return (format!("OUTSIDE {least}–{most}: {}", exception.reason), true);
    }
    if is_chance(exception.reason) && (least < low || most > high) {
        return (format!("MORE THAN CHANCE ({low}–{high}): {}", exception.reason), true);
    }
    let needed = !row.equal() || is_chance(exception.reason);
    let said = if needed { exception.reason } else { "NO LONGER DIFFERS" };
    (format!("within {least}–{most}: {said}"), !needed)
}

/// Prints the table of a recording. Rows that differ for some seed must be listed, and stay within
/// the bounds that are listed with them.
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
pub(super) fn check(case: &Case) -> String {
    let mut wrong = String::new();
    let mut used = BTreeSet::new();
    println!("{:3} recorded simulated  write", case.id);
    for row in rows(case) {
        let (actor, verb, resource, code) = &row.key;
        let (said, is_wrong) = judge(case.id, &row);
        used.extend(exception(case.id, &row.key).map(|e| e.0));
        let (recorded, simulated) = (row.recorded, row.simulated());
        let line =
            format!("{recorded:12} {simulated:>9}  {actor} {verb} {resource} {code}: {said}");
        println!("{line}");
        if is_wrong {
            writeln!(wrong, "{} {line}", case.id).unwrap();
        }
    }
    for (at, exception) in EXCEPTIONS.iter().enumerate() {
        if exception.bounds(case.id).is_some() && !used.contains(&at) {
            writeln!(wrong, "{}: no longer differs: {:?}", case.id, exception.row).unwrap();
        }
    }
    wrong
}
