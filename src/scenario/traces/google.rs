//! Google's cluster of May 2011 (clusterdata-2011-2): the table of job events, and machines.
//!
//! | table, column | in the model |
//! |---|---|
//! | `job_events` time (microseconds) | instants; 600 s into the table its measurement begins, and what was there before stands at 0 |
//! | SUBMIT (0) | a Job of one pod, `job-ID`, is created; one that is submitted anew is `job-ID-rN` |
//! | SCHEDULE (1) to FAIL (3), FINISH (4), KILL (5), LOST (6) or EVICT (2) | how long its container runs, from when it starts here; it ends with success whatever the end was |
//! | an end without SCHEDULE | the user deletes the Job then |
//! | no end in the files read | the container runs for ever |
//! | user, scheduling class, job name | not read: they are opaque, and the class is no priority |
//! | tasks of a job and their sizes | not in this table: `requests` draws the size of each Job's pod |
//! | `machines` id, cpu, memory | node `machine-ID`; 1.0 of each is as much as `capacity` says |

use super::rows::{self, Imported, decimal, file_name, grouped, tallied};
use super::table::{self, Cells, Columns};
use crate::api::Name;
use crate::api::resources::Resources;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Agent, NodeSpec, Row, Run};
use crate::engine::{Dist, SimDuration, SimTime, Sym, num};
use crate::scenario::error::InputErrors;
use crate::scenario::pools;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// What the names of its jobs begin with.
pub(crate) const BASE: &str = "job";
/// An instant after the end of the trace, in its own words: 2^63 - 1.
const AFTER: u64 = i64::MAX.unsigned_abs();
/// The longest time that fits nanoseconds.
const LATEST_US: u64 = u64::MAX / 1000;

const EVENTS: Columns =
    Columns { names: &["time", "job ID", "event type"], places: Some(&[0, 2, 3]) };
const MACHINES: Columns = Columns { names: &["machine_id", "cpu", "memory"], places: None };

/// A job that has no end yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Its row.
    row: usize,
    /// When it was scheduled, microseconds.
    since: Option<u64>,
}

/// Reads the parts of the table, which have to come in order of time.
#[derive(Debug)]
pub(crate) struct JobEvents {
    template: Arc<PodTemplate>,
    rows: Vec<Row>,
    open: FxHashMap<u64, Open>,
    /// How often each job was submitted.
    submitted: FxHashMap<u64, u32>,
    strangers: usize,
    /// Time of the last row.
    last: u64,
    facts: Vec<String>,
}

impl Default for JobEvents {
    fn default() -> Self {
        Self {
            template: rows::job_template(Resources::default(), []),
            rows: Vec::new(),
            open: FxHashMap::default(),
            submitted: FxHashMap::default(),
            strangers: 0,
            last: 0,
            facts: Vec::new(),
        }
    }
}

impl JobEvents {
    /// Reads a part.
    ///
    /// # Errors
    /// Every bad row, by line.
    pub(crate) fn part(&mut self, label: &str, from: impl Read) -> Result<(), InputErrors> {
        let (mut count, mut last) = (0, 0);
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        table::rows(label, from, EVENTS, |cells| {
            let (at, kind) = self.event(cells)?;
            count += 1;
            last = at;
            *kinds.entry(kind).or_default() += 1;
            Ok(())
        })?;
        self.facts.push(format!(
            "  {}: {} events, the last at {last} us: {}",
            file_name(label),
            grouped(count),
            tallied(&kinds)
        ));
        Ok(())
    }

    /// The jobs of all parts.
    pub(crate) fn finish(mut self) -> Imported {
        let (open, rows) = (self.open.len(), self.rows.len());
        let all = format!(
            "job_events: {} submissions of {} jobs, {} without an end in these files",
            grouped(rows as u64),
            grouped(self.submitted.len() as u64),
            grouped(open as u64)
        );
        self.facts.insert(0, all);
        let not_modelled =
            vec![("events of Google's jobs without a SUBMIT before them", self.strangers)];
        Imported { rows: self.rows, facts: self.facts, not_modelled }
    }

    fn event(&mut self, cells: &Cells<'_>) -> Result<(u64, &'static str), String> {
        let at: u64 = cells.count(0)?;
        let job: u64 = cells.count(1)?;
        let kind: u8 = cells.count(2)?;
        if at > LATEST_US && at != AFTER {
            return Err(format!("time: {at} is out of range"));
        }
        if at != AFTER {
            if at < self.last {
                return Err(format!("time: {at} lies before the row above: name parts in order"));
            }
            self.last = at;
        }
        let names = ["SUBMIT", "SCHEDULE", "EVICT", "FAIL", "FINISH", "KILL", "LOST"];
        let name = *names
            .get(usize::from(kind))
            .ok_or_else(|| format!("event type: {kind} is none of a job (0 to 6)"))?;
        match kind {
            _ if at == AFTER => {}
            0 => self.submit(job, at),
            1 => match self.open.get_mut(&job) {
                Some(open) => open.since = open.since.or(Some(at)),
                None => self.strangers += 1,
            },
            _ends => self.end(job, at),
        }
        Ok((at, name))
    }

    fn submit(&mut self, job: u64, at: u64) {
        let times = self.submitted.entry(job).or_default();
        let name = match *times {
            0 => Name::new(&format!("{BASE}-{job}")),
            again => Name::new(&format!("{BASE}-{job}-r{again}")),
        };
        *times += 1;
        self.open.insert(job, Open { row: self.rows.len(), since: None });
        self.rows.push(Row {
            at: SimTime::ZERO + SimDuration::from_micros(at),
            name,
            template: Some(Arc::clone(&self.template)),
            lifetime: None,
            run: Some(Run { lasts: None, pods: 1, ttl_s: Some(rows::TTL_S) }),
        });
    }

    fn end(&mut self, job: u64, at: u64) {
        let Some(open) = self.open.remove(&job) else {
            self.strangers += 1;
            return;
        };
        let row = &mut self.rows[open.row];
        let now = SimTime::ZERO + SimDuration::from_micros(at);
        match open.since {
            Some(since) => {
                let lasts = Some(SimDuration::from_micros(at.saturating_sub(since)));
                row.run = row.run.map(|run| Run { lasts, ..run });
            }
            None => row.lifetime = Some(now.since(row.at.min(now))),
        }
    }
}

/// What is not modelled of the jobs that are played.
pub(crate) fn not_modelled(rows: &[Row]) -> [(&'static str, usize); 2] {
    let ends = |row: &&Row| row.lifetime.is_some() || row.run.is_some_and(|r| r.lasts.is_some());
    let open = rows.len() - rows.iter().filter(ends).count();
    [
        ("sizes of Google's jobs: requests are drawn (job_events tells none)", rows.len()),
        ("Google's jobs without an end in the files read: they run for ever", open),
    ]
}

/// What a machine of 1.0 has, and which machines are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Thousandths of a core.
    pub(crate) cpu_milli: i64,
    /// Bytes.
    pub(crate) memory: i64,
    /// Every so many-th machine of the file.
    pub(crate) every: u32,
    /// Their agent.
    pub(crate) agent: Agent,
}

/// The machines as nodes, and what the file holds.
///
/// # Errors
/// Every bad row, by line.
pub(crate) fn machines(
    label: &str,
    from: impl Read,
    scale: Scale,
) -> Result<(Vec<NodeSpec>, Vec<String>), InputErrors> {
    let mut list = Vec::new();
    let (mut count, mut cpus, mut memory) = (0_u64, 0.0, 0.0);
    let mut shapes: BTreeMap<String, u64> = BTreeMap::new();
    table::rows(label, from, MACHINES, |cells| {
        let id: u64 = cells.count(0)?;
        let (cpu, mem) = (cells.amount(1)?, cells.amount(2)?);
        if cpu > 1.0 || mem > 1.0 {
            return Err("more than 1.0, which is the largest machine".into());
        }
        if count.is_multiple_of(u64::from(scale.every)) {
            list.push(machine(id, (cpu, mem), scale));
        }
        (count, cpus, memory) = (count + 1, cpus + cpu, memory + mem);
        *shapes.entry(format!("{}/{}", cells.text(1)?, cells.text(2)?)).or_default() += 1;
        Ok(())
    })?;
    let file = file_name(label);
    let sums = format!("{} cpu, {} memory", decimal(cpus, 2), decimal(memory, 4));
    let mut facts = vec![
        format!("{file}: {} machines, {sums}", grouped(count)),
        format!("  machines by cpu/memory: {}", tallied(&shapes)),
    ];
    if scale.every > 1 {
        facts.push(format!("{} of the machines are nodes", grouped(list.len() as u64)));
    }
    Ok((list, facts))
}

fn machine(id: u64, (cpu, memory): (f64, f64), scale: Scale) -> NodeSpec {
    let name = format!("machine-{id}");
    let capacity = Resources {
        cpu_milli: rows::scaled(cpu, num::float(scale.cpu_milli)),
        memory: rows::scaled(memory, num::float(scale.memory)),
        pods: i64::from(pools::MAX_PODS),
        ..Resources::default()
    };
    let capacity = Arc::new(capacity);
    NodeSpec {
        name: Sym::new(&name),
        labels: pools::node_labels(&name, "", ("linux", "amd64"), None),
        zone: Sym::EMPTY,
        taints: Vec::new(),
        allocatable: Arc::clone(&capacity),
        capacity,
        images: Arc::new([]),
        agent: scale.agent,
        boot: Dist::Constant(SimDuration::ZERO),
        joins: SimTime::ZERO,
        kubelet: Arc::default(),
        machine: None,
        statics: Arc::default(),
        runtime: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_runs_from_schedule_to_its_end() {
        let text = "0,,7,0,u,1,n,l\n5000000,,7,1,u,1,n,l\n9000000,,7,5,u,1,n,l\n\
            9000000,,7,0,u,1,n,l\n9500000,,7,4,u,1,n,l\n9600000,,8,0,u,1,n,l\n9700000,,9,4,u,1,n,l\n";
        let mut events = JobEvents::default();
        events.part("p.csv", text.as_bytes()).unwrap();
        let read = events.finish();
        let names: Vec<String> = read.rows.iter().map(|row| row.name.to_string()).collect();
        assert_eq!(names, ["job-7", "job-7-r1", "job-8"]);
        let lasts = |i: usize| read.rows[i].run.unwrap().lasts;
        assert_eq!(lasts(0), Some(SimDuration::from_secs(4)));
        assert_eq!((lasts(1), lasts(2)), (None, None));
        assert_eq!(read.rows[1].lifetime, Some(SimDuration::from_millis(500)));
        assert_eq!(not_modelled(&read.rows).map(|(_, n)| n), [3, 1]);
        assert_eq!(read.not_modelled[0].1, 1);
    }

    #[test]
    fn bad_events_are_told() {
        let errors = JobEvents::default().part("p.csv", "0,,7,9,u\n0,,7\n".as_bytes()).unwrap_err();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let wanted = [
            "p.csv:1: event type: 9 is none of a job (0 to 6)",
            "p.csv:2: has 3 of at least 4 columns",
        ];
        assert_eq!(said, wanted);
    }
}
