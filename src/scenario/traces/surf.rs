//! SURF's Lisa cluster of 2022: batch jobs, as `OpenDC`'s `surf_halfyear` has them.
//!
//! | column | in the model |
//! |---|---|
//! | `id` | name `surf-job-ID` |
//! | `submission_time_ms` | the Job is created then, counted from the first one of the file |
//! | `duration_ms` | its container ends by itself so long after it starts |
//! | `cpu_count` | CPU request of its one pod |
//! | `mem_capacity` | memory request, megabytes (10^6 bytes), the same of all jobs |
//! | `cpu_capacity_mhz` | not read: the clock of all cores added, the same of all jobs |

use super::rows::{self, Imported, decimal, file_name, grouped};
use super::table::{self, Columns};
use crate::api::Name;
use crate::api::resources::Resources;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Row, Run};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::scenario::error::InputErrors;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io::Read;
use std::sync::Arc;

/// What the names of its jobs begin with.
pub(crate) const BASE: &str = "surf-job";
/// Bytes of a megabyte.
const MEGABYTE: i64 = 1_000_000;

const COLUMNS: Columns = Columns {
    names: &["id", "submission_time_ms", "duration_ms", "cpu_count", "mem_capacity"],
    places: None,
};

#[derive(Debug, Default)]
struct Facts {
    jobs: u64,
    cores: u64,
    core_ms: u64,
    memory: u64,
    times: Option<(u64, u64)>,
}

/// Reads the jobs.
///
/// # Errors
/// Every bad row, by line.
pub(crate) fn jobs(label: &str, from: impl Read) -> Result<Imported, InputErrors> {
    let mut facts = Facts::default();
    let mut templates: FxHashMap<(u32, u32), Arc<PodTemplate>> = FxHashMap::default();
    let mut seen = FxHashSet::default();
    let mut rows: Vec<Row> = Vec::new();
    table::rows(label, from, COLUMNS, |cells| {
        let (id, at, lasts): (u32, u64, u64) = (cells.count(0)?, cells.count(1)?, cells.count(2)?);
        let (cores, memory): (u32, u32) = (cells.count(3)?, cells.count(4)?);
        if !seen.insert(id) {
            return Err(format!("id: a job {id} is there already"));
        }
        if at > u64::from(u32::MAX) * 1000 {
            return Err(format!("submission_time_ms: {at} is out of range"));
        }
        facts.count([at, lasts, u64::from(cores), u64::from(memory)]);
        let template = templates.entry((cores, memory)).or_insert_with(|| {
            let requests = Resources {
                cpu_milli: i64::from(cores) * 1000,
                memory: i64::from(memory) * MEGABYTE,
                ..Resources::default()
            };
            rows::job_template(requests, [])
        });
        let lasts = Some(SimDuration::from_millis(lasts));
        rows.push(Row {
            at: SimTime::ZERO + SimDuration::from_millis(at),
            name: Name::numbered(Sym::new(BASE), id),
            template: Some(Arc::clone(template)),
            lifetime: None,
            run: Some(Run { lasts, pods: 1, ttl_s: Some(rows::TTL_S) }),
        });
        Ok(())
    })?;
    Ok(Imported { rows, facts: vec![facts.line(label)], not_modelled: Vec::new() })
}

impl Facts {
    fn count(&mut self, [at, lasts, cores, memory]: [u64; 4]) {
        self.jobs += 1;
        self.cores += cores;
        self.core_ms += lasts * cores;
        self.memory += memory;
        let (first, last) = self.times.unwrap_or((at, at));
        self.times = Some((first.min(at), last.max(at)));
    }

    fn line(&self, label: &str) -> String {
        let (first, last) = self.times.unwrap_or_default();
        format!(
            "{}: {} jobs, {} cores, {} core-hours, {} MB, submitted {first} to {last} ms (unix)",
            file_name(label),
            grouped(self.jobs),
            grouped(self.cores),
            decimal(num::float_u(self.core_ms) / 3_600_000.0, 1),
            grouped(self.memory),
        )
    }
}
