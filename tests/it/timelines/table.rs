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

/// How a row compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The same number whatever the seed.
    Equal,
    /// The recorded number is among those that chance gives.
    Chance,
    /// Conflicts occur in both; how many is a matter of latencies.
    Conflicts,
    /// Neither.
    Differs,
}

impl Row {
    fn verdict(&self) -> Verdict {
        let Self { recorded, least, most, .. } = *self;
        if recorded == least && recorded == most {
            Verdict::Equal
        } else if (least..=most).contains(&recorded) {
            Verdict::Chance
        } else if self.key.3 == 409 && recorded > 0 && most > 0 {
            Verdict::Conflicts
        } else {
            Verdict::Differs
        }
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

fn exceptions<'a>(id: &'a str, key: &'a Key) -> impl Iterator<Item = (usize, &'a Exception)> {
    let (actor, verb, resource, code) = key;
    EXCEPTIONS.iter().enumerate().filter(move |(_, e)| {
        e.recordings.contains(&id)
            && (e.row.0, e.row.1, e.row.2, e.row.3) == (actor, verb, resource, *code)
    })
}

/// Prints the table of a recording. Rows that differ must be listed, and only those.
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
pub(super) fn check(case: &Case) -> String {
    let mut wrong = String::new();
    let mut used = BTreeSet::new();
    println!("{:3} recorded simulated  write", case.id);
    for row in rows(case) {
        let (actor, verb, resource, code) = &row.key;
        let name = format!("{actor} {verb} {resource} {code}");
        let verdict = row.verdict();
        let mut listed = exceptions(case.id, &row.key);
        let found = listed.next();
        if let Some((at, _)) = found.filter(|f| is_chance(f.1.reason) && verdict != Verdict::Equal)
        {
            used.insert(at);
        }
        let said = match (verdict, found) {
            (Verdict::Equal, _) => "equal".to_owned(),
            (Verdict::Chance, _) => format!("chance: in the range of {} seeds", case.runs.len()),
            (Verdict::Conflicts, _) => "conflicts occur in both".to_owned(),
            (Verdict::Differs, Some((at, exception))) => {
                used.insert(at);
                exception.reason.to_owned()
            }
            (Verdict::Differs, None) => "DIFFERS".to_owned(),
        };
        let line = format!("{:12} {:>9}  {name}: {said}", row.recorded, row.simulated());
        println!("{line}");
        if verdict == Verdict::Differs && found.is_none() {
            writeln!(wrong, "{line}").unwrap();
        }
    }
    for (at, exception) in EXCEPTIONS.iter().enumerate() {
        if exception.recordings.contains(&case.id) && !used.contains(&at) {
            writeln!(wrong, "{}: no longer differs: {:?}", case.id, exception.row).unwrap();
        }
    }
    wrong
}
