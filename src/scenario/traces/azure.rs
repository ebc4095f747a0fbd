//! Virtual machines of Azure (`AzurePublicDataset` V1, as flavours per bin of 300 s): two files
//! whose lines and places agree, one of flavours and one of lifetimes, and two maps of what they
//! mean.
//!
//! | in the files | in the model |
//! |---|---|
//! | a flavour of a line | a bare pod, `vm-N`, that requests and is limited to the vCPUs and GB (2^30 bytes) of `flavors` |
//! | time of a line | its VMs came in the 300 s up to then; its batches (between `\|`) are spread evenly over them, and a batch, which is of one tenant, comes at once |
//! | `U` and a bin | the pod's user deletes it after the middle of the bin, bound or not: a bin of `intervals` spans from its first length to 300 s after its last one, as lengths are whole bins |
//! | `C` and a bin | the VM outlived the trace: it stays |
//!
//! Which tenant a batch is of is not told, so nothing says which VMs would rather stand apart.

use super::rows::{self, Imported, file_name, grouped};
use super::table::{self, Mistakes};
use crate::api::Name;
use crate::api::resources::Resources;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::Row;
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::scenario::error::InputErrors;
use rustc_hash::FxHashMap;
use std::io::BufRead;
use std::sync::Arc;

/// What the names of its pods begin with.
pub(crate) const BASE: &str = "vm";
/// Seconds of a bin.
const BIN_S: u64 = 300;
const GIB: f64 = 1_073_741_824.0;

/// What the words of the trace mean.
#[derive(Debug, Default)]
pub(crate) struct Meaning {
    /// Templates of the flavours.
    flavors: FxHashMap<String, Arc<PodTemplate>>,
    /// Of each bin of lifetimes the first and the last length, seconds.
    bins: FxHashMap<u32, (u64, u64)>,
}

impl Meaning {
    /// Reads `vCPU,GB flavour` lines.
    ///
    /// # Errors
    /// Every bad line.
    pub(crate) fn flavors(&mut self, label: &str, from: impl BufRead) -> Result<(), InputErrors> {
        table::lines(label, from, |line| {
            let bad = || format!("{line:?} is no flavour such as 2,3.5 g");
            let (size, name) = line.split_once(' ').ok_or_else(bad)?;
            let (cpu, memory) = size.split_once(',').ok_or_else(bad)?;
            let amount = |text: &str| {
                text.parse().ok().filter(|n: &f64| (0.0..1e9).contains(n)).ok_or_else(bad)
            };
            let requests = Resources {
                cpu_milli: rows::scaled(amount(cpu)?, 1000.0),
                memory: rows::scaled(amount(memory)?, GIB),
                ..Resources::default()
            };
            let labels = [(Sym::new("flavor"), Sym::new(name.trim()))];
            let template = rows::template(requests.clone(), requests, labels, |_| ());
            self.flavors.insert(name.trim().to_owned(), template);
            Ok(())
        })
    }

    /// Reads `seconds bin` lines.
    ///
    /// # Errors
    /// Every bad line.
    pub(crate) fn intervals(&mut self, label: &str, from: impl BufRead) -> Result<(), InputErrors> {
        table::lines(label, from, |line| {
            let read = |(s, bin): (&str, &str)| Some((s.parse().ok()?, bin.trim().parse().ok()?));
            let (seconds, bin): (u32, u32) = line
                .split_once(' ')
                .and_then(read)
                .ok_or_else(|| format!("{line:?} is no length and bin such as 300 1"))?;
            let seconds = u64::from(seconds);
            let (first, last) = self.bins.entry(bin).or_insert((seconds, seconds));
            (*first, *last) = (seconds.min(*first), seconds.max(*last));
            Ok(())
        })
    }

    /// How long a VM lives by its word; none if it outlives the trace.
    fn lifetime(&self, word: &str) -> Result<Option<SimDuration>, String> {
        let bad = || format!("{word:?} is no lifetime such as U15 or C46");
        let (ends, bin) = match word.split_at_checked(1) {
            Some(("U", bin)) => (true, bin),
            Some(("C", bin)) => (false, bin),
            _ => return Err(bad()),
        };
        let bin: u32 = bin.parse().map_err(|_word| bad())?;
        let (first, last) =
            self.bins.get(&bin).ok_or_else(|| format!("no interval has the bin {bin}"))?;
        let middle = SimDuration::from_millis((first + last + BIN_S) * 500);
        Ok(ends.then_some(middle))
    }
}

#[derive(Debug, Default)]
struct Facts {
    bins: u64,
    vms: u64,
    separators: u64,
    outlive: u64,
    times: Option<(u64, u64)>,
}

/// Reads both files, line by line.
///
/// # Errors
/// Every line that is wrong or does not agree with its partner.
pub(crate) fn vms(
    (label, mut flavors): (&str, impl BufRead),
    (partner, mut lifetimes): (&str, impl BufRead),
    meaning: &Meaning,
) -> Result<Imported, InputErrors> {
    let mut facts = Facts::default();
    let mut rows = Vec::new();
    let mut mistakes = Mistakes::new(label);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let mut line = 0;
    loop {
        let more = table::next_line(label, &mut flavors, line, &mut one)?;
        let twin = table::next_line(partner, &mut lifetimes, line, &mut other)?;
        line += 1;
        if !more && !twin {
            break;
        }
        let pair = [&one, &other].map(|text| String::from_utf8_lossy(text));
        if let Err(problem) = bin([&pair[0], &pair[1]], meaning, &mut facts, &mut rows) {
            mistakes.note(line, problem);
        }
    }
    mistakes.finish()?;
    Ok(Imported { rows, facts: vec![facts.line(label)], not_modelled: Vec::new() })
}

/// A line of each file.
fn bin(
    pair: [&str; 2],
    meaning: &Meaning,
    facts: &mut Facts,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let [flavors, lifetimes] = pair.map(|text| text.trim_end().split_once(' '));
    let (Some((at, flavors)), Some((same, lifetimes))) = (flavors, lifetimes) else {
        return Err("is no time and list of VMs, here or in the file of lifetimes".into());
    };
    if at != same {
        return Err(format!("is of {at}, and the same line of the file of lifetimes of {same}"));
    }
    let at: u32 = at.parse().map_err(|_word| format!("{at:?} is no time in seconds"))?;
    let at = u64::from(at);
    let batches = flavors.split(',').filter(|word| *word == "|").count();
    let (mut batch, mut words) = (0, lifetimes.split(','));
    for flavor in flavors.split(',') {
        let lifetime = words.next().unwrap_or_default();
        if (flavor == "|") != (lifetime == "|") || flavor.is_empty() != lifetime.is_empty() {
            return Err("does not agree with the same line of the file of lifetimes".into());
        }
        if flavor == "|" {
            batch += 1;
            continue;
        }
        if flavor.is_empty() {
            continue;
        }
        let template = meaning.flavors.get(flavor);
        let template = template.ok_or_else(|| format!("no flavour is called {flavor:?}"))?;
        let lifetime = meaning.lifetime(lifetime)?;
        facts.outlive += u64::from(lifetime.is_none());
        let within = SimDuration::from_secs(BIN_S).0 * batch / (batches as u64).max(1);
        let begin = SimTime::from_secs(at.saturating_sub(BIN_S));
        rows.push(Row {
            at: begin + SimDuration(within),
            name: Name::numbered(Sym::new(BASE), num::u32_of(rows.len())),
            template: Some(Arc::clone(template)),
            lifetime,
            run: None,
        });
        facts.vms += 1;
    }
    if words.next().is_some() {
        return Err("is shorter than the same line of the file of lifetimes".into());
    }
    facts.bins += 1;
    facts.separators += batches as u64;
    let (first, last) = facts.times.unwrap_or((at, at));
    facts.times = Some((first.min(at), last.max(at)));
    Ok(())
}

impl Facts {
    fn line(&self, label: &str) -> String {
        let (first, last) = self.times.unwrap_or_default();
        format!(
            "{}: {} bins from {first} to {last} s, {} VMs, {} batch separators; {} VMs outlive it",
            file_name(label),
            grouped(self.bins),
            grouped(self.vms),
            grouped(self.separators),
            grouped(self.outlive),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning() -> Meaning {
        let mut meaning = Meaning::default();
        meaning.flavors("f", "1,1.75 b\n2,3.5 g\n".as_bytes()).unwrap();
        meaning.intervals("i", "0 0\n300 1\n600 1\n".as_bytes()).unwrap();
        meaning
    }

    fn read(flavors: &str, lifetimes: &str) -> Result<Imported, InputErrors> {
        vms(("a", flavors.as_bytes()), ("b", lifetimes.as_bytes()), &meaning())
    }

    #[test]
    fn batches_are_spread_over_their_bin() {
        let read = read("600 b,b,|,g,|,\n", "600 U0,U1,|,C1,|,\n").unwrap();
        let at: Vec<SimTime> = read.rows.iter().map(|row| row.at).collect();
        assert_eq!(at, [300, 300, 450].map(SimTime::from_secs));
        let lives: Vec<_> = read.rows.iter().map(|row| row.lifetime).collect();
        let secs = SimDuration::from_secs;
        assert_eq!(lives, [Some(secs(150)), Some(secs(600)), None]);
        let wanted = "a: 1 bins from 600 to 600 s, 3 VMs, 2 batch separators; 1 VMs outlive it";
        assert_eq!(read.facts, [wanted]);
    }

    #[test]
    fn files_that_do_not_agree_are_told() {
        for (flavors, lifetimes, problem) in [
            ("600 b,|,\n", "900 U0,|,\n", "a:1: is of 600, and the same line"),
            ("600 b,b,|,\n", "600 U0,|,\n", "a:1: does not agree"),
            ("600 b,|,\n", "600 U0,|,U0,|,\n", "a:1: does not agree"),
            ("600 x,|,\n", "600 U0,|,\n", "a:1: no flavour is called \"x\""),
            ("600 b,|,\n", "600 U7,|,\n", "a:1: no interval has the bin 7"),
            ("600 b,|,\n", "", "a:1: is no time and list of VMs"),
        ] {
            let errors = read(flavors, lifetimes).unwrap_err();
            assert!(errors[0].to_string().starts_with(problem), "{}", errors[0]);
        }
    }
}
