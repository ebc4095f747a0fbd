//! Microsoft's Philly cluster of 2017: deep-learning jobs, by submission and duration.
//!
//! | column | in the model |
//! |---|---|
//! | `timestamp` | the Job is created then, counted from the first one of the file |
//! | `duration` | its containers end by themselves so long after they start |
//! | `num_gpus` | requests of `nvidia.com/gpu`: one pod up to `gpusPerPod` (8, a machine of that cluster); above, as few equal pods as hold them, all of one Job, with the label `scheduling.x-k8s.io/pod-group` and the annotation `scheduling.x-k8s.io/min-member`, which `scheduler.gang` acts upon |
//! | `cluster` | label `virtual-cluster` |
//! | `gpu_time` | not read: the product of the two |
//!
//! The file names no CPU and no memory: `requests` gives them, drawn per job. That job ran once and
//! to its end; failures and retries of that cluster are not in the file.

use super::rows::{self, Imported, decimal, file_name, grouped, tallied};
use super::table::{self, Cells, Columns};
use crate::api::Name;
use crate::api::resources::Resources;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Row, Run};
use crate::control_plane::scheduler::gang::{GROUP, MIN_MEMBER};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::scenario::error::InputErrors;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// What the names of its jobs begin with.
pub(crate) const BASE: &str = "philly-job";
/// The resource that a GPU is.
const GPU: &str = "nvidia.com/gpu";
/// GPUs of a machine of that cluster.
pub(crate) const GPUS_PER_POD: u32 = 8;

const COLUMNS: Columns =
    Columns { names: &["timestamp", "duration", "num_gpus", "cluster"], places: None };

/// Everything counted while reading.
#[derive(Debug, Default)]
struct Facts {
    jobs: u64,
    gpus: u64,
    gpu_ms: u64,
    times: Option<(i64, i64)>,
    by_gpus: BTreeMap<u32, u64>,
    by_cluster: BTreeMap<String, u64>,
    uneven: usize,
}

/// Reads the jobs; a pod has at most `per_pod` GPUs.
///
/// # Errors
/// Every bad row, by line.
pub(crate) fn jobs(label: &str, from: impl Read, per_pod: u32) -> Result<Imported, InputErrors> {
    let mut facts = Facts::default();
    let mut templates: FxHashMap<(u32, String), Arc<PodTemplate>> = FxHashMap::default();
    let mut list = Vec::new();
    table::rows(label, from, COLUMNS, |cells| {
        let (at_s, lasts) = times(cells)?;
        let gpus: u32 = cells.count(2)?;
        let cluster = cells.text(3)?;
        if gpus == 0 {
            return Err("num_gpus: a job without a GPU".into());
        }
        let name = Name::numbered(Sym::new(BASE), num::u32_of(list.len()));
        let pods = gpus.div_ceil(per_pod);
        let each = gpus.div_ceil(pods);
        facts.count((at_s, lasts, gpus, cluster));
        facts.uneven += usize::from(each * pods > gpus);
        let template = if pods > 1 {
            let group = (Sym::new(GROUP), name.sym());
            let mut gang = template(each, cluster, Some(group));
            let all: Arc<str> = pods.to_string().into();
            let annotations = [(Sym::new(MIN_MEMBER), all)];
            Arc::make_mut(&mut gang).annotations = Some(Arc::new(annotations));
            gang
        } else {
            let key = (each, cluster.to_owned());
            Arc::clone(templates.entry(key).or_insert_with(|| template(each, cluster, None)))
        };
        let run = Some(Run { lasts: Some(lasts), pods, ttl_s: Some(rows::TTL_S) });
        list.push((
            at_s,
            Row { at: SimTime::ZERO, name, template: Some(template), lifetime: None, run },
        ));
        Ok(())
    })?;
    let first = facts.times.map_or(0, |(first, _)| first);
    let at = |at_s: i64| SimTime::from_secs((at_s - first).unsigned_abs());
    let rows = list.into_iter().map(|(at_s, row)| Row { at: at(at_s), ..row }).collect();
    let not_modelled = vec![("GPUs rounded up to equal pods of a Job", facts.uneven)];
    Ok(Imported { rows, facts: facts.lines(label), not_modelled })
}

/// When the job was submitted, unix seconds as if it were UTC, and how long it ran.
fn times(cells: &Cells<'_>) -> Result<(i64, SimDuration), String> {
    let text = cells.text(0)?;
    let civil: jiff::civil::DateTime =
        text.parse().map_err(|_word| format!("timestamp: {text:?} is no date and time"))?;
    let stamp = jiff::tz::Offset::UTC
        .to_timestamp(civil)
        .map_err(|_word| format!("timestamp: {text:?} is out of range"))?;
    Ok((stamp.as_second(), SimDuration::from_secs_f64(cells.amount(1)?)))
}

fn template(gpus: u32, cluster: &str, group: Option<(Sym, Sym)>) -> Arc<PodTemplate> {
    let mut requests = Resources::default();
    requests.set_scalar(GPU.into(), i64::from(gpus));
    let cluster = (Sym::new("virtual-cluster"), Sym::new(cluster));
    rows::job_template(requests, [cluster].into_iter().chain(group))
}

impl Facts {
    fn count(&mut self, (at_s, lasts, gpus, cluster): (i64, SimDuration, u32, &str)) {
        self.jobs += 1;
        self.gpus += u64::from(gpus);
        self.gpu_ms += lasts.as_millis() * u64::from(gpus);
        let (first, last) = self.times.unwrap_or((at_s, at_s));
        self.times = Some((first.min(at_s), last.max(at_s)));
        *self.by_gpus.entry(gpus).or_default() += 1;
        if let Some(count) = self.by_cluster.get_mut(cluster) {
            *count += 1;
        } else {
            self.by_cluster.insert(cluster.to_owned(), 1);
        }
    }

    fn lines(&self, label: &str) -> Vec<String> {
        let hours = num::float_u(self.gpu_ms) / 3_600_000.0;
        let shown = |s: i64| {
            let stamp = jiff::Timestamp::from_second(s).unwrap_or_default();
            stamp.strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let (first, last) = self.times.unwrap_or_default();
        vec![
            format!(
                "{}: {} jobs, {} GPUs, {} GPU-hours, submitted {} to {}",
                file_name(label),
                grouped(self.jobs),
                grouped(self.gpus),
                decimal(hours, 1),
                shown(first),
                shown(last),
            ),
            format!("  jobs by GPUs: {}", tallied(&self.by_gpus)),
            format!("  jobs by virtual cluster: {}", tallied(&self.by_cluster)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "timestamp,duration,num_gpus,gpu_time,cluster\n";

    #[test]
    fn wide_jobs_are_equal_pods_of_one_gang() {
        let rows = "2017-10-09 07:01:55,66.5,12,1,a\n2017-10-09 07:00:55,5,8,1,a\n";
        let read = jobs("p.csv", format!("{HEAD}{rows}").as_bytes(), 8).unwrap();
        let wide = &read.rows[0];
        assert_eq!(wide.at, SimTime::from_secs(60));
        let run = Run { lasts: Some(SimDuration::from_millis(66_500)), pods: 2, ttl_s: Some(60) };
        assert_eq!(wide.run, Some(run));
        let template = wide.template.as_ref().unwrap();
        assert_eq!(template.spec.requests.scalar(GPU.into()), 6);
        assert_eq!(template.labels.get(GROUP.into()), Some("philly-job-0".into()));
        let narrow = read.rows[1].template.as_ref().unwrap();
        assert_eq!(narrow.labels.get(GROUP.into()), None);
        assert_eq!(read.rows[1].run.unwrap().pods, 1);
    }

    #[test]
    fn bad_rows_are_told_by_line_and_the_rest_is_counted() {
        let rows = "yesterday,1,1,1,a\n".repeat(25);
        let errors = jobs("p.csv", format!("{HEAD}{rows}").as_bytes(), 8).unwrap_err();
        assert_eq!(errors.len(), 21);
        let said = "p.csv:2: timestamp: \"yesterday\" is no date and time";
        assert_eq!(errors[0].to_string(), said);
        assert_eq!(errors[20].to_string(), "p.csv: 5 more rows are wrong");
    }
}
