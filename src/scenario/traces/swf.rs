//! The Standard Workload Format of the Parallel Workloads Archive (version 2.2): a job per line,
//! eighteen fields, -1 where nothing is known; lines that begin with `;` are comments.
//!
//! | field | in the model |
//! |---|---|
//! | 1 job number | name `swf-job-NUMBER` |
//! | 2 submit time | the Job is created then, seconds, counted from the first one of the file |
//! | 4 run time | its containers end by themselves so long after they start |
//! | 5 allocated processors (8 requested, where that is not known) | CPU requests, one each: one pod up to `coresPerPod`, above as few equal pods as hold them, all of one Job |
//! | 10 requested memory (7 used, where that is not known) | memory request, KB per processor; `memory` where neither is |
//! | 11 status | 2 to 4 are parts of a job whose whole stands on another line: left out and counted; 5 (cancelled) without run time: left out and counted; whatever else, the job runs to its end |
//! | 9 requested time | not modelled: as `activeDeadlineSeconds` it would count the time that a Job waits here |
//! | 17, 18 preceding job, think time | not modelled: jobs come when they came |
//! | 3 wait time; 6, 12 to 16 | not read: what that scheduler did, CPU used, and who asked |

use super::rows::{self, Imported, file_name, grouped};
use super::table;
use crate::api::Name;
use crate::api::resources::Resources;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Row, Run};
use crate::engine::{SimDuration, SimTime, Sym};
use crate::scenario::error::InputErrors;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io::BufRead;
use std::sync::Arc;

/// What the names of its jobs begin with.
pub(crate) const BASE: &str = "swf-job";
/// Fields of a line.
const FIELDS: usize = 18;

/// A pod has at most so many cores, and so much memory per core where the file tells none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Cores.
    pub(crate) cores_per_pod: u32,
    /// Bytes per core.
    pub(crate) memory: i64,
}

#[derive(Debug, Default)]
struct Facts {
    jobs: u64,
    processors: u64,
    run_s: u64,
    times: Option<(u64, u64)>,
    parts: usize,
    cancelled: usize,
    sizeless: usize,
    bounded: usize,
    chained: usize,
}

#[derive(Debug)]
struct Reader {
    sizes: Sizes,
    facts: Facts,
    seen: FxHashSet<u32>,
    templates: FxHashMap<(u32, i64), Arc<PodTemplate>>,
    rows: Vec<Row>,
}

/// Reads the jobs.
///
/// # Errors
/// Every bad line.
pub(crate) fn jobs(label: &str, from: impl BufRead, sizes: Sizes) -> Result<Imported, InputErrors> {
    let mut reader = Reader {
        sizes,
        facts: Facts::default(),
        seen: FxHashSet::default(),
        templates: FxHashMap::default(),
        rows: Vec::new(),
    };
    table::lines(label, from, |line| {
        let comment = line.trim_start().starts_with(';');
        if comment || line.is_empty() { Ok(()) } else { reader.job(&fields(line)?) }
    })?;
    let facts = &reader.facts;
    let not_modelled = vec![
        ("SWF lines that are parts of a job", facts.parts),
        ("SWF jobs that were cancelled before they ran", facts.cancelled),
        ("SWF jobs whose memory is not told (see memory:)", facts.sizeless),
        ("SWF requested times", facts.bounded),
        ("SWF jobs that wait for another job", facts.chained),
    ];
    Ok(Imported { facts: vec![facts.line(label)], rows: reader.rows, not_modelled })
}

fn fields(line: &str) -> Result<[f64; FIELDS], String> {
    let mut fields = [-1.0; FIELDS];
    let mut words = line.split_ascii_whitespace();
    for (i, field) in fields.iter_mut().enumerate() {
        let word = words.next().ok_or_else(|| format!("has {i} of {FIELDS} fields"))?;
        *field = word
            .parse()
            .ok()
            .filter(|n: &f64| n.is_finite() && n.abs() < 1e15)
            .ok_or_else(|| format!("field {}: {word:?} is no number", i + 1))?;
    }
    Ok(fields)
}

/// A field by its number; none where it is not known.
fn known(fields: &[f64; FIELDS], number: usize) -> Option<f64> {
    Some(fields[number - 1]).filter(|n| *n >= 0.0)
}

fn whole(fields: &[f64; FIELDS], number: usize, what: &str) -> Result<u32, String> {
    let n = known(fields, number).filter(|n| *n <= f64::from(u32::MAX) && n.fract() <= 0.0);
    n.map(|n| u32::try_from(crate::engine::num::trunc_u(n)).unwrap_or(u32::MAX))
        .ok_or_else(|| format!("field {number}: {} is no {what}", fields[number - 1]))
}

impl Reader {
    fn job(&mut self, fields: &[f64; FIELDS]) -> Result<(), String> {
        let facts = &mut self.facts;
        let status = known(fields, 11);
        if status.is_some_and(|s| (2.0..=4.0).contains(&s)) {
            facts.parts += 1;
            return Ok(());
        }
        let number = whole(fields, 1, "job number")?;
        let submit = whole(fields, 2, "submit time")?;
        let Some(run_s) = known(fields, 4) else {
            facts.cancelled += 1;
            return Ok(());
        };
        if !self.seen.insert(number) {
            return Err(format!("field 1: a job {number} is there already"));
        }
        let allocated = known(fields, 5).filter(|n| *n > 0.0);
        let from = if allocated.is_some() { 5 } else { 8 };
        let processors = whole(fields, from, "number of processors").and_then(|n| {
            if n > 0 { Ok(n) } else { Err("field 8: a job without a processor".to_owned()) }
        })?;
        facts.jobs += 1;
        facts.processors += u64::from(processors);
        facts.run_s += crate::engine::num::trunc_u(run_s);
        facts.bounded += usize::from(known(fields, 9).is_some());
        facts.chained += usize::from(known(fields, 17).is_some());
        let at = u64::from(submit);
        let (first, last) = facts.times.unwrap_or((at, at));
        facts.times = Some((first.min(at), last.max(at)));
        let told = known(fields, 10).or_else(|| known(fields, 7)).filter(|kb| *kb > 0.0);
        facts.sizeless += usize::from(told.is_none());
        let memory = told.map_or(self.sizes.memory, |kb| rows::scaled(kb, 1024.0));
        let pods = processors.div_ceil(self.sizes.cores_per_pod);
        let template = self.template(processors.div_ceil(pods), memory);
        self.rows.push(Row {
            at: SimTime::from_secs(at),
            name: Name::numbered(Sym::new(BASE), number),
            template: Some(template),
            lifetime: None,
            run: Some(Run {
                lasts: Some(SimDuration::from_secs_f64(run_s)),
                pods,
                ttl_s: Some(rows::TTL_S),
            }),
        });
        Ok(())
    }

    /// Jobs of equal needs share one; memory is per core.
    fn template(&mut self, cores: u32, memory: i64) -> Arc<PodTemplate> {
        let shared = self.templates.entry((cores, memory)).or_insert_with(|| {
            let requests = Resources {
                cpu_milli: i64::from(cores) * 1000,
                memory: memory.saturating_mul(i64::from(cores)),
                ..Resources::default()
            };
            rows::job_template(requests, [])
        });
        Arc::clone(shared)
    }
}

impl Facts {
    fn line(&self, label: &str) -> String {
        let (first, last) = self.times.unwrap_or_default();
        format!(
            "{}: {} jobs, {} processors, {} s of run time, submitted {first} to {last} s",
            file_name(label),
            grouped(self.jobs),
            grouped(self.processors),
            grouped(self.run_s),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, cores_per_pod: u32) -> Result<Imported, InputErrors> {
        jobs("a.swf", text.as_bytes(), Sizes { cores_per_pod, memory: 1 << 30 })
    }

    #[test]
    fn fields_become_jobs() {
        let text = b"; caf\xe9\n1 10 3 83.5 6 -1 2048 6 1200 -1 1 1 1 -1 -1 1 -1 -1\n\
            2 20 -1 -1 -1 -1 -1 2 -1 -1 5 1 1 -1 -1 1 -1 -1\n\
            3 20 0 5 -1 -1 -1 2 -1 -1 1 1 1 -1 -1 1 1 60\n\
            3 20 0 5 2 -1 -1 2 -1 -1 2 1 1 -1 -1 1 -1 -1\n";
        let sizes = Sizes { cores_per_pod: 4, memory: 1 << 30 };
        let read = jobs("a.swf", text.as_slice(), sizes).unwrap();
        assert_eq!(read.rows.len(), 2);
        let spec = |i: usize| read.rows[i].template.as_ref().unwrap().spec.requests.clone();
        assert_eq!((spec(0).cpu_milli, spec(0).memory), (3000, 3 * (2048 << 10)));
        assert_eq!((spec(1).cpu_milli, spec(1).memory), (2000, 2 << 30));
        let run = read.rows[0].run.unwrap();
        assert_eq!((run.pods, run.lasts), (2, Some(SimDuration::from_millis(83_500))));
        let counts: Vec<usize> = read.not_modelled.iter().map(|(_, n)| *n).collect();
        assert_eq!(counts, [1, 1, 1, 1, 1]);
    }

    #[test]
    fn bad_lines_are_told() {
        let errors = read("1 10 3\n2 x -1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n", 8).unwrap_err();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["a.swf:1: has 3 of 18 fields", "a.swf:2: field 2: \"x\" is no number"]);
    }
}
