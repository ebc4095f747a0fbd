//! How long machines ran and how long they were away, read off a record of outages.

use crate::engine::num;
use crate::scenario::traces::outages::{Hit, Outages, Watch};

/// Spans of one length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spell {
    /// Seconds.
    pub secs: f64,
    /// What was waited for came at its end; otherwise the record ends first (censored).
    pub ended: bool,
    /// How many there are.
    pub count: f64,
}

/// What a record amounts to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spells {
    /// From a machine's return (or the begin of its record) to its next failure.
    pub up: Vec<Spell>,
    /// From a failure to the return; empty if the record does not tell returns.
    pub down: Vec<Spell>,
    /// Machines.
    pub machines: u32,
}

/// Reads the record; `more` machines ran all the time and are not named in it. Outages of one
/// machine that overlap or touch are one.
///
/// # Errors
/// A sentence, if the record does not tell of machines.
pub fn spells(read: &Outages, more: u32) -> Result<Spells, String> {
    let mut own: Vec<Vec<(u64, Option<u64>)>> = vec![Vec::new(); read.machines.len()];
    for outage in &read.list {
        match outage.hit {
            Hit::Machine(machine) => own[machine as usize].push((outage.from_ms, outage.to_ms)),
            Hit::Share(_) => return Err("tells of no single machines".to_owned()),
        }
    }
    let mut told = Spells::default();
    let mut silent: Vec<u32> = read.watches.iter().map(|w| w.machines).collect();
    for (outages, &watch) in own.iter().zip(&read.watch_of) {
        silent[watch as usize] = silent[watch as usize].saturating_sub(1);
        one(outages, read.watches[watch as usize], &mut told);
    }
    told.machines = num::u32_of(own.len());
    if let Some(last) = silent.last_mut() {
        *last += more;
    }
    for (watch, count) in read.watches.iter().zip(silent).filter(|(_, n)| *n > 0) {
        told.machines += count;
        push(&mut told.up, watch.to_ms - watch.from_ms, false, count);
    }
    tidy(&mut told.up);
    tidy(&mut told.down);
    Ok(told)
}

fn push(spells: &mut Vec<Spell>, ms: u64, ended: bool, count: u32) {
    if ms > 0 {
        spells.push(Spell { secs: num::float_u(ms) / 1000.0, ended, count: f64::from(count) });
    }
}

/// One machine's. Where the record does not tell its return, it is back at once.
fn one(outages: &[(u64, Option<u64>)], watch: Watch, told: &mut Spells) {
    let mut at = watch.from_ms;
    let mut rest = outages.iter().peekable();
    while let Some(&(from, to)) = rest.next() {
        push(&mut told.up, from.saturating_sub(at), true, 1);
        let mut end = to;
        while let Some(next) = rest.next_if(|next| end.is_some_and(|end| next.0 <= end)) {
            end = end.max(next.1);
        }
        if let Some(end) = end {
            push(&mut told.down, end - from, end < watch.to_ms, 1);
        }
        at = at.max(from).max(end.unwrap_or(from));
    }
    push(&mut told.up, watch.to_ms.saturating_sub(at), false, 1);
}

/// In order of length, equal ones together.
fn tidy(spells: &mut Vec<Spell>) {
    spells.sort_by(|a, b| a.secs.total_cmp(&b.secs).then(b.ended.cmp(&a.ended)));
    spells.dedup_by(|next, kept| {
        let same = next.secs.total_cmp(&kept.secs).is_eq() && next.ended == kept.ended;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// The share that has ended by each length, as Kaplan and Meier estimate it: spans that the record
/// cuts off count for as long as they were watched.
#[must_use]
pub fn ended_by(spells: &[Spell]) -> Vec<(f64, f64)> {
    let mut at_risk: f64 = spells.iter().map(|s| s.count).sum();
    let mut left = 1.0;
    let mut steps = Vec::new();
    for spell in spells {
        if spell.ended {
            left *= 1.0 - spell.count / at_risk;
            steps.push((spell.secs, 1.0 - left));
        }
        at_risk -= spell.count;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::traces::outages::{Format, read};

    fn told(list: &[Spell]) -> Vec<(f64, bool, f64)> {
        list.iter().map(|s| (s.secs, s.ended, s.count)).collect()
    }

    #[test]
    fn a_record_becomes_spans() {
        // a: up 10, away 10 to 30 by two outages that overlap, up to 50. b: never away.
        let text = "node_name\tevent_type\tevent_start_time\tevent_stop_time\n\
                    a\t1\t0\t10\na\t0\t10\t20\na\t0\t15\t30\na\t1\t30\t50\nb\t1\t0\t50\n\
                    c\t1\t0\t10\nc\t0\t10\t40\n";
        let read = read(Format::Fta, "t", text.as_bytes()).unwrap();
        let spells = spells(&read, 2).unwrap();
        assert_eq!(spells.machines, 5);
        // The two that are not named are watched as long as the last one.
        let up = [(10.0, true, 2.0), (20.0, false, 1.0), (40.0, false, 2.0), (50.0, false, 1.0)];
        assert_eq!(told(&spells.up), up);
        // c does not come back before the record ends.
        assert_eq!(told(&spells.down), [(20.0, true, 1.0), (30.0, false, 1.0)]);
    }

    #[test]
    fn removals_without_a_return_are_gaps() {
        let text = "time_us,machine_id\n1000000,5\n4000000,5\n9000000,6\n";
        let read = read(Format::Google2011, "t", text.as_bytes()).unwrap();
        let spells = spells(&read, 1).unwrap();
        let up = [(3.0, true, 1.0), (5.0, false, 1.0), (8.0, true, 1.0), (8.0, false, 1.0)];
        assert_eq!(told(&spells.up), up);
        assert_eq!((spells.down.len(), spells.machines), (0, 3));
    }

    #[test]
    fn the_share_that_has_ended_knows_of_what_was_cut_off() {
        let spell = |secs, ended| Spell { secs, ended, count: 1.0 };
        let list = [spell(1.0, true), spell(2.0, false), spell(3.0, true), spell(4.0, false)];
        let steps = ended_by(&list);
        // One of four, then one of the two that are left.
        assert_eq!(steps.len(), 2);
        assert!((steps[0].1 - 0.25).abs() < 1e-12 && (steps[1].1 - 0.625).abs() < 1e-12);
    }
}
