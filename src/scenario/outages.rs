//! `outages:` of the file: machines that fail by a record of real ones, or by chance: as said, or
//! as a preset has it; each for itself or in groups.

use super::file;
use super::files::Files;
use super::objects::Known;
use super::place::Place;
use super::presets;
use super::report::Report;
use super::traces::outages::{self, Format, Hit};
use super::value::{self, DIST_HINT};
use crate::cluster::spec::{How, Outages, Recorded, Shared, Together};
use crate::engine::{Dist, Draws, Purpose, SimDuration, SimTime, Sym, num};

/// One source of outages; none if it cannot be read.
pub(super) fn outages(
    from: &file::Outages,
    known: &Known,
    at: &Place,
    files: &mut Files,
    report: &mut Report,
) -> Option<(Outages, Option<(String, u32)>)> {
    let nodes = match &from.whom {
        None => (0..num::u32_of(known.nodes.len())).collect(),
        Some(whom) => nodes(whom, known, &at.key("whom"), report)?,
    };
    if nodes.is_empty() {
        report.error(at, "strikes no node", "the cluster must have nodes that it can strike");
        return None;
    }
    let mut dist = |field: &str, spec: &Option<value::DistSpec>| {
        let spec = spec.as_ref()?;
        report.take(&at.key(field), value::dist(spec), DIST_HINT)
    };
    let (up, repair) = (dist("mtbf", &from.mtbf), dist("repair", &from.repair));
    let together = match &from.together {
        None => None,
        Some(together) => Some(groups(together, known, &nodes, &at.key("together"), report)?),
    };
    let given = (&from.record, &from.mtbf, from.preset);
    let (how, beyond) = match given {
        (Some(_), None, None) if together.is_some() => {
            let hint = "leave together: out, or write mtbf: or preset: in place of record:";
            report.error(&at.key("together"), "a record says itself who fails when", hint);
            return None;
        }
        (Some(record), None, None) => {
            self::record(record, (from, repair), &nodes, at, files, report)?
        }
        (None, Some(_), None) => {
            let Some(down) = repair else {
                report.error(at, "mtbf without repair", "say how long repairs take: repair: 2h");
                return None;
            };
            (How::Renewal { up: up?, down, together }, None)
        }
        (None, None, Some(name)) => {
            let (up, own) = presets::preset(name);
            let Some(down) = repair.or(own) else {
                let hint =
                    "say how long machines are away: repair: {lognormal: {median: 30m, sigma: 1}}";
                report.error(
                    &at.key("preset"),
                    "its record does not tell when machines came back",
                    hint,
                );
                return None;
            };
            (How::Renewal { up, down, together }, None)
        }
        (None, None, None) => {
            let hint = "write record: {fta: FILE}, mtbf: and repair:, or preset: grid5000";
            report.error(at, "says not when machines fail", hint);
            return None;
        }
        _several => {
            let problem = "more than one of record, mtbf and preset is given";
            report.error(at, problem, "write an entry of outages for each");
            return None;
        }
    };
    let until = from.until.as_ref().map_or(SimTime::MAX, |until| {
        let at = at.key("until");
        if from.record.is_some() {
            report.error(&at, "goes with mtbf only", "leave it out");
        }
        super::arrivals::instant(until, &at, report)
    });
    Some((Outages { name: from.name.clone(), nodes: nodes.into(), until, how }, beyond))
}

/// The groups of nodes that fail at once, in the order of their first nodes.
fn groups(
    from: &file::Together,
    known: &Known,
    nodes: &[u32],
    at: &Place,
    report: &mut Report,
) -> Option<Together> {
    let share = from.share.unwrap_or(1.0);
    if !(share > 0.0 && share <= 1.0) {
        let problem = format!("a share of {share}");
        report.error(&at.key("share"), problem, "write a number above 0 and at most 1");
        return None;
    }
    let label = Sym::new(&from.by);
    let mut groups: Vec<(Sym, Vec<u32>)> = Vec::new();
    let mut labelled = false;
    for &node in nodes {
        let spec = &known.nodes[node as usize];
        let value = spec.labels.get(label);
        labelled |= value.is_some();
        // A node without the label is a group of its own.
        let name = value.unwrap_or(spec.name);
        match groups.iter_mut().find(|(known, _)| value.is_some() && *known == name) {
            Some((_, group)) => group.push(node),
            None => groups.push((name, vec![node])),
        }
    }
    if !labelled {
        let problem = format!("no node has the label {:?}", from.by);
        report.error(&at.key("by"), problem, "write topology.kubernetes.io/zone");
        return None;
    }
    let groups = groups.into_iter().map(|(name, nodes)| (name, nodes.into()));
    Some(Together { groups: groups.collect(), share })
}

/// The nodes that a source may strike.
fn nodes(from: &file::Whom, known: &Known, at: &Place, report: &mut Report) -> Option<Vec<u32>> {
    use crate::cluster::spec::Whom;
    let whom = super::faults::whom(from, known, at, report)?;
    let all = known.nodes.iter().enumerate();
    let chosen = |keep: &dyn Fn(&crate::cluster::spec::NodeSpec) -> bool| {
        all.filter(|(_, n)| keep(n)).map(|(i, _)| num::u32_of(i)).collect::<Vec<u32>>()
    };
    if let Whom::Names(names) = &whom {
        return Some(chosen(&|n| names.contains(&n.name)));
    }
    if let Whom::Zone(zone) = whom {
        return Some(chosen(&|n| n.zone == zone));
    }
    if let Whom::Selector(selector, None) = &whom {
        return Some(chosen(&|n| selector.matches(n.labels)));
    }
    report.error(at, "outages strike all that they name", "leave count: out");
    None
}

/// The record of a file, on the cluster's clock and its nodes.
fn record(
    from: &file::Record,
    (outages, repair): (&file::Outages, Option<Dist>),
    nodes: &[u32],
    at: &Place,
    files: &mut Files,
    report: &mut Report,
) -> Option<(How, Option<(String, u32)>)> {
    let place = at.key("record");
    let given = [
        (Format::Fta, &from.fta),
        (Format::Lanl, &from.lanl),
        (Format::Google2011, &from.google_2011),
        (Format::OpenDc, &from.opendc),
    ];
    let mut given = given.into_iter().filter_map(|(format, file)| Some((format, file.as_ref()?)));
    let (Some((format, file)), None) = (given.next(), given.next()) else {
        let hint = "write one of fta:, lanl:, google2011: and opendc:, with a file";
        report.error(&place, "names not one file", hint);
        return None;
    };
    let read = files
        .trace(file)
        .and_then(|(label, bytes)| outages::read(format, &label, bytes.as_slice()));
    let read = report.take_all(&place, read)?;
    let zero_ms =
        from.from.map_or_else(|| read.list.first().map_or(0, |o| o.from_ms), |s| s * 1000);
    let speed = from.speed_up.unwrap_or(1.0);
    if !(speed.is_finite() && speed > 0.0) {
        report.error(&place.key("speedUp"), "is not above zero", "write 1, or leave it out");
        return None;
    }
    let clock = Clock { zero_ms, speed };
    if format == Format::OpenDc {
        return Some((How::Shares(shares(&read, clock).into()), None));
    }
    if format == Format::Google2011 && repair.is_none() {
        let hint = "say how long machines were away: repair: {lognormal: {median: 30m, sigma: 1}}";
        report.error(at, "this record does not tell when machines came back", hint);
        return None;
    }
    let machines = machines(&read, clock, nodes.len());
    let beyond = (machines.shut_out > 0).then(|| {
        let what =
            format!("machines of the record of {:?} beyond the nodes it may strike", outages.name);
        (what, num::u32_of(machines.shut_out))
    });
    let repairs = Repairs { dist: repair, name: &outages.name };
    Some((How::Record(recorded(&read, clock, &machines, nodes, &repairs).into()), beyond))
}

/// The record's clock against that of the run.
#[derive(Debug, Clone, Copy)]
struct Clock {
    zero_ms: u64,
    speed: f64,
}

impl Clock {
    /// An instant of the record; what was before time zero is then.
    fn at(self, ms: u64) -> SimTime {
        let since = ms.saturating_sub(self.zero_ms);
        let nanos = num::float_u(since) * 1e6 / self.speed;
        SimTime(num::trunc_u(nanos))
    }
}

fn shares(read: &outages::Outages, clock: Clock) -> Vec<Shared> {
    let shared = read.list.iter().filter_map(|o| {
        let Hit::Share(share) = o.hit else { return None };
        let to = o.to_ms.filter(|to| *to > clock.zero_ms)?;
        Some(Shared { from: clock.at(o.from_ms), to: clock.at(to), share })
    });
    shared.collect()
}

/// Which machine of the record is which node: those that are ever named while the run lasts, in the
/// record's order.
struct Machines {
    node_of: Vec<Option<u32>>,
    shut_out: usize,
}

fn machines(read: &outages::Outages, clock: Clock, nodes: usize) -> Machines {
    let mut seen = vec![false; read.machines.len()];
    for outage in &read.list {
        if let Hit::Machine(m) = outage.hit
            && outage.to_ms.is_none_or(|to| to > clock.zero_ms)
        {
            seen[m as usize] = true;
        }
    }
    let (mut node_of, mut next, mut shut_out) = (vec![None; seen.len()], 0_usize, 0);
    for (machine, _) in seen.iter().enumerate().filter(|(_, seen)| **seen) {
        if next < nodes {
            node_of[machine] = Some(num::u32_of(next));
            next += 1;
        } else {
            shut_out += 1;
        }
    }
    Machines { node_of, shut_out }
}

/// How long machines stay away where the record does not say: drawn by the outage's number.
struct Repairs<'a> {
    dist: Option<Dist>,
    name: &'a str,
}

impl Repairs<'_> {
    fn lasts(&self, number: usize) -> Option<SimDuration> {
        let dist = self.dist.as_ref()?;
        let draws = Draws::new(crate::engine::digest::hash_bytes(self.name.as_bytes()));
        Some(dist.sample(&mut draws.draw(0, Purpose("repair"), number as u64)))
    }
}

fn recorded(
    read: &outages::Outages,
    clock: Clock,
    machines: &Machines,
    nodes: &[u32],
    repairs: &Repairs<'_>,
) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    for (number, outage) in read.list.iter().enumerate() {
        let Hit::Machine(machine) = outage.hit else { continue };
        let Some(node) = machines.node_of[machine as usize] else { continue };
        let from = clock.at(outage.from_ms);
        let to = match outage.to_ms {
            Some(to) if to <= clock.zero_ms => continue,
            Some(to) => Some(clock.at(to)),
            None => repairs.lasts(number).map(|lasts| from + lasts),
        };
        all.push(Recorded { from, to, node: nodes[node as usize] });
    }
    all.sort_by_key(|o| (o.from, o.node));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_laid_on_the_clock_and_the_nodes() {
        let text = "node_name\tevent_type\tevent_start_time\tevent_stop_time\n\
                    a\t0\t1\t2\nb\t0\t90\t110\nc\t0\t130\t140\n";
        let read = outages::read(Format::Fta, "t", text.as_bytes()).unwrap();
        let clock = Clock { zero_ms: 100_000, speed: 2.0 };
        // Machine a was away before the run alone: b and c are the two nodes.
        let machines = machines(&read, clock, 2);
        assert_eq!(
            (machines.node_of.as_slice(), machines.shut_out),
            ([None, Some(0), Some(1)].as_slice(), 0)
        );
        let repairs = Repairs { dist: None, name: "" };
        let told = recorded(&read, clock, &machines, &[7, 9], &repairs);
        let s = |s: u64| SimTime::from_secs(s);
        let wanted = [
            Recorded { from: s(0), to: Some(s(5)), node: 7 },
            Recorded { from: s(15), to: Some(s(20)), node: 9 },
        ];
        assert_eq!(told, wanted);
    }
}
