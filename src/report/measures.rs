//! What runs are compared by: one table of measures, each a number that a summary holds.

use super::gpus::ByArrived;
use super::summary::Summary;
use crate::engine::num;

/// Which way a measure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
}

/// A number that tells one run from another.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name, with the unit.
    pub name: &'static str,
    /// Which way it is better.
    pub better: Better,
    /// Told first.
    pub headline: bool,
    /// What it is, for people.
    pub about: &'static str,
    /// Its value; not a number if the run does not have it.
    pub of: fn(&Summary) -> f64,
}

const fn measure(
    name: &'static str,
    better: Better,
    headline: bool,
    about: &'static str,
    of: fn(&Summary) -> f64,
) -> Measure {
    Measure { name, better, headline, about, of }
}

use Better::{Higher, Lower};

/// Every measure, in the order of tables.
pub const MEASURES: &[Measure] = &[
    measure("pending_mean_s", Lower, true, "creation to binding, mean", |s| s.pending.mean_s),
    measure("pending_p50_s", Lower, false, "creation to binding, median", |s| s.pending.p50_s),
    measure("pending_p90_s", Lower, false, "creation to binding, 90 %", |s| s.pending.p90_s),
    measure("pending_p99_s", Lower, true, "creation to binding, 99 %", |s| s.pending.p99_s),
    measure("pending_max_s", Lower, false, "creation to binding, longest, unbound pods too", |s| {
        s.pending.max_s
    }),
    measure("slowdown_mean", Lower, true, "creation to end over Running to end, mean", |s| {
        s.slowdown.as_ref().map_or(f64::NAN, |slowdown| slowdown.mean)
    }),
    measure("slowdown_p95", Lower, false, "creation to end over Running to end, 95 %", |s| {
        s.slowdown.as_ref().map_or(f64::NAN, |slowdown| slowdown.p95)
    }),
    measure("fairness_jain", Higher, true, "Jain's index of mean slowdowns, 1 is even", |s| {
        s.slowdown.as_ref().and_then(|slowdown| slowdown.fairness).unwrap_or(f64::NAN)
    }),
    measure("makespan_s", Lower, false, "first creation to last end", |s| {
        s.makespan_s.unwrap_or(f64::NAN)
    }),
    measure("cpu_requested_percent", Higher, true, "of CPU on Ready nodes, over time", |s| {
        100.0 * s.cpu_utilisation
    }),
    measure(
        "memory_requested_percent",
        Higher,
        false,
        "of memory on Ready nodes, over time",
        |s| 100.0 * s.memory_utilisation,
    ),
    measure("cpu_used_percent", Higher, false, "of CPU on Ready nodes, as scraped", |s| {
        s.cpu_used.map_or(f64::NAN, |share| 100.0 * share)
    }),
    measure("memory_used_percent", Higher, false, "of memory on Ready nodes, as scraped", |s| {
        s.memory_used.map_or(f64::NAN, |share| 100.0 * share)
    }),
    measure(
        "cpu_fragmented_percent",
        Lower,
        true,
        "of free CPU that a typical pod cannot use",
        |s| s.cpu_fragmentation.map_or(f64::NAN, |share| 100.0 * share),
    ),
    measure("gpu_allocated_percent", Higher, true, "of shared GPUs, over time", |s| {
        s.gpus.as_ref().map_or(f64::NAN, |gpus| 100.0 * gpus.allocated)
    }),
    measure("gpu_fragmented_percent", Lower, true, "of shared GPUs, free but of no use", |s| {
        s.gpus.as_ref().map_or(f64::NAN, |gpus| 100.0 * gpus.fragmented)
    }),
    measure("gpu_allocated_at_100_percent", Higher, true, "as pods for all GPUs have come", |s| {
        arrived(s, 100, |row| row.allocated_pct)
    }),
    measure("gpu_fragmented_at_100_percent", Lower, false, "as pods for all GPUs have come", |s| {
        arrived(s, 100, |row| row.fragmented_pct)
    }),
    measure("gpu_fragmented_of_idle_at_80_percent", Lower, false, "of the free ones", |s| {
        arrived(s, 80, |row| row.fragmented_of_idle_pct)
    }),
    measure("gpu_allocated_at_130_percent", Higher, false, "as pods for 130 % have come", |s| {
        arrived(s, 130, |row| row.allocated_pct)
    }),
    measure("work_last_done_s", Lower, true, "the last that works is done", |s| work(s, 0)),
    measure("work_mean_s", Lower, false, "time of those that are done, mean", |s| work(s, 1)),
    measure("work_computed_mean_s", Lower, false, "of it: computing", |s| work(s, 2)),
    measure("work_read_near_mean_s", Lower, false, "of it: reading in the zone", |s| work(s, 3)),
    measure("work_read_elsewhere_mean_s", Lower, false, "of it: reading from another zone", |s| {
        work(s, 4)
    }),
    measure("work_waited_for_cpu_mean_s", Lower, false, "of it: less CPU than alone", |s| {
        work(s, 5)
    }),
    measure("work_slowed_mean_s", Lower, false, "of it: slowed by neighbours", |s| work(s, 6)),
    measure("work_held_mean_s", Lower, false, "of it: the machine stood still", |s| work(s, 7)),
    measure("pods_failed", Lower, false, "pods that ended badly", |s| num::float_u(s.pods.failed)),
    measure("pods_evicted", Lower, false, "by taint, eviction API or kubelet", |s| {
        num::float_u(s.pods.evicted)
    }),
    measure("pods_preempted", Lower, false, "deleted by the scheduler to make room", |s| {
        num::float_u(s.pods.preempted)
    }),
    measure("pods_unscheduled", Lower, false, "without a node at the end", |s| {
        num::float_u(u64::from(s.pods.unscheduled_at_end))
    }),
    measure("short_replica_minutes", Lower, false, "short of replicas, over workloads", |s| {
        s.short_replica_minutes
    }),
    measure("downtime_minutes", Lower, false, "with fewer replicas than needed, summed", |s| {
        s.downtime_minutes
    }),
    measure("requests_failed_percent", Lower, false, "of requests to Services", |s| {
        let rows = || s.traffic.iter().filter(|t| !t.derived);
        let sent: f64 = rows().map(|t| t.requests).sum();
        let failed: f64 = rows().map(|t| t.failed).sum();
        if sent > 0.0 { 100.0 * failed / sent } else { f64::NAN }
    }),
    measure("cost", Lower, true, "of machines of the cloud", |s| {
        s.cost.as_ref().map_or(f64::NAN, |cost| cost.total)
    }),
];

/// A share of the GPUs by the time that pods asking for so many per cent of them have come.
fn arrived(summary: &Summary, percent: u32, of: fn(&ByArrived) -> f64) -> f64 {
    summary.gpus.as_ref().and_then(|gpus| gpus.arrived(percent)).map_or(f64::NAN, of)
}

/// A number of [`super::work::measures`] by its place there.
fn work(summary: &Summary, at: usize) -> f64 {
    super::work::measures(&summary.work).get(at).map_or(f64::NAN, |(_, value)| *value)
}

/// The measure of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Measure> {
    MEASURES.iter().find(|measure| measure.name == name)
}
