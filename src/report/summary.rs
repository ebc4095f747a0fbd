//! The outcome of a run as data: what `summary.json` holds and what the terminal page says.

use super::cost::{Bills, Cost};
use super::downtime::down;
use super::expect::{Verdict, judge};
use super::faults::FaultRow;
use super::metrics::Metrics;
use super::network::{Network, NetworkSummary};
use super::pods::State;
use super::refusals::{RefusalRow, WarningRow};
use super::requests::RequestCount;
use super::slowdown::SlowdownSummary;
use super::workloads::{Outage, WorkloadRow};
use crate::cluster::spec::{FaultKind, Restore};
use crate::engine::{SimTime, num};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a run amounts to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed.
    pub seed: u64,
    /// Digest over all events.
    pub digest: String,
    /// Kubernetes version.
    pub kubernetes: String,
    /// Name of the scheduling policy; may be empty.
    pub policy: String,
    /// Length of the run, virtual seconds.
    pub ended_s: f64,
    /// Nodes in the course of the run.
    pub nodes: usize,
    /// Zones with their number of nodes.
    pub zones: Vec<Counted>,
    /// Sums over all pods.
    pub pods: Totals,
    /// Times from a pod's creation to its binding.
    pub pending: Pending,
    /// From the first creation of a pod to the last end of one; none if none ended.
    pub makespan_s: Option<f64>,
    /// Mean share of the Ready nodes' CPU that was requested, 0 to 1.
    pub cpu_utilisation: f64,
    /// Mean share of the Ready nodes' memory that was requested, 0 to 1.
    pub memory_utilisation: f64,
    /// Mean share of the Ready nodes' CPU that was used, 0 to 1, as the metrics server scraped it;
    /// none if the scenario says of no pod what it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used: Option<f64>,
    /// The same of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<f64>,
    /// Mean share of the Ready nodes' free CPU that pods could not use, 0 to 1; none if no pod was
    /// created or no CPU was free. See [`super::fragments`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_fragmentation: Option<f64>,
    /// How much longer pods took than they had to; none if no pod succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowdown: Option<SlowdownSummary>,
    /// Minutes short of replicas, summed over workloads.
    pub short_replica_minutes: f64,
    /// Minutes with fewer ready replicas than needed, summed over workloads, each from first
    /// having all of them on. See [`super::downtime`].
    pub downtime_minutes: f64,
    /// Faults.
    pub faults: Vec<FaultSummary>,
    /// Workloads that keep replicas.
    pub workloads: Vec<WorkloadSummary>,
    /// Jobs and bare pods by family.
    pub batch: Vec<BatchSummary>,
    /// Requests to Services.
    pub traffic: Vec<super::traffic::TrafficSummary>,
    /// Claims and Services at the end.
    pub standing: super::standing::Standing,
    /// Logs of containers; none without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<super::logs::LogSummary>,
    /// What the time of those that work was spent on, by workload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<super::work::WorkSummary>,
    /// Pods without a node at the end, by the scheduler's message.
    pub unscheduled: Vec<Counted>,
    /// Requests to the API server.
    pub requests: Vec<RequestCount>,
    /// Requests that were refused.
    pub refusals: Vec<RefusalRow>,
    /// Warnings of admission.
    pub warnings: Vec<WarningRow>,
    /// What the machines of the cloud have cost; none without a cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// GPUs that pods share; none without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<super::gpus::GpuSummary>,
    /// The network of pods; none if the scenario describes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSummary>,
    /// Kubernetes Events written.
    pub events: u64,
    /// What the files of recorded workloads hold, a line each; details begin with two spaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recorded: Vec<String>,
    /// Accepted in the input, but not modelled, with counts.
    pub not_modelled: Vec<Counted>,
    /// Assertions.
    pub expectations: Vec<Verdict>,
}

/// So many of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// What.
    pub what: String,
    /// How many.
    pub count: u64,
}

impl Counted {
    fn new(what: &str, count: u64) -> Self {
        Self { what: what.to_owned(), count }
    }
}

/// Sums over all pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Created.
    pub created: u64,
    /// Bound to a node.
    pub bound: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Evicted by a taint, by the eviction API or by its kubelet.
    pub evicted: u64,
    /// Deleted by the scheduler to make room.
    pub preempted: u64,
    /// Gone from the store.
    pub deleted: u64,
    /// Container restarts.
    pub restarts: u64,
    /// Running and ready at the end.
    pub ready_at_end: u32,
    /// Without a node at the end.
    pub unscheduled_at_end: u32,
    /// Most that waited for a node at once.
    pub waiting_most: u32,
    /// Attempts of the scheduler that found no node.
    pub failed_attempts: u64,
}

/// Times from creation to binding, seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Pending {
    /// Pods bound.
    pub samples: usize,
    /// Mean.
    pub mean_s: f64,
    /// Median.
    pub p50_s: f64,
    /// 90th percentile.
    pub p90_s: f64,
    /// 99th percentile.
    pub p99_s: f64,
    /// Longest, pods that never found a node included.
    pub max_s: f64,
}

/// A fault and its consequences; instants in seconds since the start of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultSummary {
    /// `Zone b lost`, `3 nodes crashed`.
    pub what: String,
    /// Name given by the scenario; may be empty.
    pub name: String,
    /// When; none if it never began.
    pub at_s: Option<f64>,
    /// When the last node was back; none if never.
    pub ended_s: Option<f64>,
    /// Nodes struck.
    pub nodes: usize,
    /// Nodes of the whole cluster.
    pub of_nodes: usize,
    /// Pods on them.
    pub pods: u32,
    /// Last struck node noticed (`NotReady`).
    pub detected_s: Option<f64>,
    /// Nodes that were noticed.
    pub detected_nodes: usize,
    /// First eviction.
    pub first_evicted_s: Option<f64>,
    /// Last eviction.
    pub last_evicted_s: Option<f64>,
    /// Evictions.
    pub evicted: u32,
    /// First replacement bound.
    pub first_rescheduled_s: Option<f64>,
    /// Last replacement bound.
    pub last_rescheduled_s: Option<f64>,
    /// Replacements bound.
    pub rescheduled: u32,
    /// Replacements wanted.
    pub to_reschedule: u32,
    /// Workloads struck.
    pub workloads: usize,
    /// All struck workloads had all their replicas again; none if some never had.
    pub recovered_s: Option<f64>,
    /// Claims whose disks only these nodes reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks_out_of_reach: Vec<String>,
    /// Pods that wait for one of them at the end of the run, by workload.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting_for_disks: BTreeMap<String, u32>,
}

/// A workload that keeps replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkloadSummary {
    /// `deployment/web`.
    pub workload: String,
    /// Replicas wanted at the end.
    pub desired: i32,
    /// Replicas that served at the end.
    pub available: i32,
    /// All replicas served for the first time.
    pub first_full_s: Option<f64>,
    /// Most that ever served.
    pub best: i32,
    /// Seconds short of replicas after that.
    pub short_s: f64,
    /// Seconds with no replica at all after that.
    pub none_s: f64,
    /// Longest stretch short of replicas.
    pub longest_short_s: f64,
    /// Fewest that served after that; none if it was never short.
    pub worst_available: Option<i32>,
    /// How many were wanted then.
    pub worst_desired: Option<i32>,
    /// Short at the end of the run.
    pub short_at_end: bool,
    /// Pods evicted.
    pub evicted: u64,
    /// Container restarts.
    pub restarts: u64,
}

/// A family of jobs or bare pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchSummary {
    /// `job/batch-*`.
    pub workload: String,
    /// Pods created.
    pub created: u64,
    /// Bound.
    pub bound: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Evicted.
    pub evicted: u64,
}

impl WorkloadSummary {
    /// `6/9`: fewest that served, of those wanted then; a dash if it was never short.
    #[must_use]
    pub fn worst(&self) -> String {
        match (self.worst_available, self.worst_desired) {
            (Some(got), Some(want)) => format!("{got}/{want}"),
            (None, Some(_) | None) | (Some(_), None) => "-".to_owned(),
        }
    }
}

impl Summary {
    /// The outcome of a run that has ended.
    #[must_use]
    pub fn new(metrics: &Metrics, digest: &str) -> Self {
        let plan = &metrics.plan;
        let (cpu, memory) = metrics.nodes.time.shares();
        let outages: Vec<Outage> =
            metrics.workloads.rows.iter().map(|w| Outage::of(&w.timeline, metrics.ended)).collect();
        let short: f64 = outages.iter().map(|o| o.short().secs_f64()).sum();
        let serving = metrics.workloads.rows.iter().zip(&outages);
        Self {
            scenario: plan.name.clone(),
            seed: plan.seed,
            digest: digest.to_owned(),
            kubernetes: plan.cluster.version.as_str().to_owned(),
            policy: plan.cluster.scheduler.label.clone(),
            ended_s: metrics.ended.secs_f64(),
            nodes: metrics.nodes.rows.len(),
            zones: zones(metrics),
            pods: totals(metrics),
            pending: pending(metrics),
            makespan_s: makespan(metrics),
            cpu_utilisation: num::rounded(cpu, 6),
            memory_utilisation: num::rounded(memory, 6),
            cpu_used: metrics.used.shares().0.map(|used| num::rounded(used, 6)),
            memory_used: metrics.used.shares().1.map(|used| num::rounded(used, 6)),
            cpu_fragmentation: metrics.nodes.fragments.share().map(|f| num::rounded(f, 6)),
            slowdown: metrics.slowdowns.summary(&metrics.workloads.rows),
            short_replica_minutes: num::rounded(short / 60.0, 6),
            downtime_minutes: downtime(metrics, &outages),
            faults: metrics.faults.iter().map(|f| fault(metrics, &outages, f)).collect(),
            workloads: serving
                .filter(|(w, _)| w.serves())
                .filter(|(w, _)| w.counts.created > 0 || w.timeline.iter().any(|p| p.desired > 0))
                .map(|(w, o)| workload(w, o))
                .collect(),
            batch: metrics.workloads.rows.iter().filter(|w| !w.serves()).map(batch).collect(),
            traffic: metrics.traffic.summary(),
            standing: metrics.standing.clone(),
            logs: metrics.logs.summary(),
            work: metrics.workers.summary(&metrics.workloads),
            unscheduled: metrics
                .unscheduled
                .iter()
                .map(|(why, n)| Counted::new(why, u64::from(*n)))
                .collect(),
            requests: metrics.requests.table(),
            refusals: metrics.refusals.table(),
            warnings: metrics.refusals.warnings(),
            cost: metrics.bills.as_deref().map(Bills::cost),
            gpus: metrics.gpus.as_deref().map(super::gpus::GpuTable::summary),
            network: metrics.network.as_deref().map(Network::summary),
            events: metrics.events,
            recorded: plan.recorded.clone(),
            not_modelled: plan
                .not_modelled
                .iter()
                .map(|(what, n)| Counted::new(what, u64::from(*n)))
                .collect(),
            expectations: judge(metrics),
        }
    }

    /// True if every assertion holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.expectations.iter().all(|verdict| verdict.pass)
    }
}

/// What followed from each fault of a run that has ended.
#[must_use]
pub fn faults(metrics: &Metrics) -> Vec<FaultSummary> {
    let outages: Vec<Outage> =
        metrics.workloads.rows.iter().map(|w| Outage::of(&w.timeline, metrics.ended)).collect();
    metrics.faults.iter().map(|f| fault(metrics, &outages, f)).collect()
}

fn zones(metrics: &Metrics) -> Vec<Counted> {
    let nodes = &metrics.nodes;
    let count = |zone: usize| nodes.rows.iter().filter(|n| n.zone as usize == zone).count();
    nodes
        .zones
        .iter()
        .enumerate()
        .map(|(i, name)| Counted::new(name.as_str(), count(i) as u64))
        .collect()
}

fn totals(metrics: &Metrics) -> Totals {
    let t = &metrics.totals;
    Totals {
        created: t.created,
        bound: t.bound,
        succeeded: t.succeeded,
        failed: t.failed,
        evicted: t.evicted,
        preempted: t.preempted,
        deleted: t.deleted,
        restarts: t.restarts,
        ready_at_end: metrics.gauges.states[State::Ready.index()],
        unscheduled_at_end: metrics.gauges.states[State::Waiting.index()],
        waiting_most: metrics.gauges.waiting_most,
        failed_attempts: metrics.decisions.failed,
    }
}

fn downtime(metrics: &Metrics, outages: &[Outage]) -> f64 {
    let rows = metrics.workloads.rows.iter().zip(outages).enumerate();
    let minutes = rows.filter(|(_, (row, _))| row.serves()).filter_map(|(i, (row, outage))| {
        let need = metrics.needs.get(i).copied().flatten().unwrap_or_default();
        let from = outage.first_full?;
        Some(down(&row.timeline, need, from, metrics.ended).total.secs_f64() / 60.0)
    });
    num::rounded(minutes.fold(0.0, |sum, more| sum + more), 6)
}

fn pending(metrics: &Metrics) -> Pending {
    let mut waits = metrics.pods.waits.clone();
    waits.sort_unstable();
    let secs = |ns: u64| num::float_u(ns) / 1e9;
    let sum: u128 = waits.iter().map(|&w| u128::from(w)).sum();
    let mean = if waits.is_empty() {
        0.0
    } else {
        num::float_wide(sum) / 1e9 / num::float_u(waits.len() as u64)
    };
    Pending {
        samples: waits.len(),
        mean_s: num::rounded(mean, 9),
        p50_s: secs(num::quantile_sorted(&waits, 0.5)),
        p90_s: secs(num::quantile_sorted(&waits, 0.9)),
        p99_s: secs(num::quantile_sorted(&waits, 0.99)),
        max_s: secs(metrics.longest_wait),
    }
}

fn makespan(metrics: &Metrics) -> Option<f64> {
    let (first, last) = metrics.work;
    Some(last?.since(first?).secs_f64())
}

/// What a fault of nodes that has struck none yet would do; none for one of the store or of a
/// process, whose words need no nodes.
const fn unborn(what: FaultKind) -> Option<&'static str> {
    match what {
        FaultKind::NodeCrash => Some("crash of machines"),
        FaultKind::Shutdown => Some("shutdown of machines"),
        FaultKind::KubeletStop => Some("stop of kubelets"),
        FaultKind::WatchLoss => Some("loss of kubelets' watches"),
        FaultKind::DeviceFailure(..) => Some("failure of devices"),
        FaultKind::Blackout(_) => Some("blackout"),
        FaultKind::Partition { .. } => Some("partition"),
        FaultKind::Freeze => Some("freeze of machines"),
        FaultKind::Network(_) => Some("bad network"),
        FaultKind::SlowNode(_) => Some("slow machines"),
        FaultKind::DiskFull(_) => Some("full disks"),
        FaultKind::Interrupt(_) => Some("interruption of machines"),
        FaultKind::Upgrade(_) => Some("upgrade of nodes"),
        FaultKind::Restart
        | FaultKind::RegistryDown
        | FaultKind::LogStoreDown
        | FaultKind::Terminate
        | FaultKind::Pause
        | FaultKind::SlowDisk(_)
        | FaultKind::LoseLog
        | FaultKind::Overload(_)
        | FaultKind::SpaceAlarm => None,
    }
}

/// Who was struck, in words: `Zone b lost`, `Node n7 crashed`, `kubelets of 3 nodes stopped`.
fn fault_words(metrics: &Metrics, row: &FaultRow) -> String {
    let nodes = row.nodes.len();
    let whole_zone = row.zone.or_else(|| {
        let zone = metrics.nodes.rows.get(*row.nodes.first()?)?.zone;
        let of_zone =
            metrics.nodes.rows.iter().enumerate().filter(|(_, n)| n.zone == zone).map(|(i, _)| i);
        let whole =
            nodes > 1 && metrics.nodes.zones.len() > 1 && of_zone.eq(row.nodes.iter().copied());
        metrics.nodes.zones.get(zone as usize).copied().filter(|z| whole && !z.is_empty())
    });
    let name = row.nodes.first().map_or("", |&n| metrics.nodes.rows[n].name.as_str());
    let unknown = row.begun.is_none() && whole_zone.is_none() && row.component.is_empty();
    if let Some(words) = unborn(row.what).filter(|_| unknown) {
        return words.to_owned();
    }
    match (row.what, whole_zone) {
        (FaultKind::NodeCrash, Some(zone)) => format!("Zone {zone} lost"),
        (FaultKind::Shutdown, Some(zone)) => format!("Zone {zone} shut down"),
        (FaultKind::Shutdown, None) if nodes == 1 => format!("Node {name} shut down"),
        (FaultKind::Shutdown, None) => format!("{nodes} nodes shut down"),
        (FaultKind::KubeletStop, Some(zone)) => format!("Kubelets of zone {zone} stopped"),
        (FaultKind::NodeCrash, None) if nodes == 1 => format!("Node {name} lost"),
        (FaultKind::KubeletStop, None) if nodes == 1 => format!("Kubelet of {name} stopped"),
        (FaultKind::NodeCrash, None) => format!("{nodes} nodes lost"),
        (FaultKind::KubeletStop, None) => format!("Kubelets of {nodes} nodes stopped"),
        (FaultKind::Restart, _) => format!("{} restarted", row.component),
        (FaultKind::WatchLoss, _) if !row.component.is_empty() => {
            format!("Watches of {} cut", row.component)
        }
        (FaultKind::WatchLoss, _) => format!("Watches of {nodes} kubelets cut"),
        (FaultKind::DeviceFailure(resource, n), _) => {
            format!("{n} x {resource} unhealthy on {nodes} nodes")
        }
        (FaultKind::RegistryDown, _) => "Image registry down".to_owned(),
        (FaultKind::LogStoreDown, _) => "Log store down".to_owned(),
        (FaultKind::Terminate, _) => format!("{} told to stop", row.component),
        (FaultKind::Pause, _) => format!("{} paused", row.component),
        (FaultKind::SlowDisk(factor), _) => format!("Disk of etcd {factor} times as slow"),
        (FaultKind::LoseLog, _) => "An etcd member lost its log".to_owned(),
        (FaultKind::Partition { one_way }, zone) => {
            let way = if one_way { " (one way)" } else { "" };
            match zone {
                Some(zone) => format!("Zone {zone} cut off{way}"),
                None if nodes == 1 => format!("Node {name} cut off{way}"),
                None => format!("{nodes} nodes cut off{way}"),
            }
        }
        (FaultKind::Freeze, _) if nodes == 1 => format!("Node {name} frozen"),
        (FaultKind::Freeze, _) => format!("{nodes} nodes frozen"),
        (FaultKind::Network(_), _) => format!("Network of {nodes} nodes slow"),
        (FaultKind::SlowNode(factor), _) => format!("{nodes} nodes {factor} times as slow"),
        (FaultKind::DiskFull(percent), _) => format!("Disks of {nodes} nodes {percent} % full"),
        (FaultKind::Interrupt(notice), _) => format!("{nodes} machines taken at {notice} notice"),
        (FaultKind::Upgrade(most), _) => format!("{nodes} nodes upgraded, {most} at a time"),
        (FaultKind::Overload(crowd), _) => {
            format!("API servers flooded ({} requests of {})", crowd.requests, crowd.level.name())
        }
        (FaultKind::SpaceAlarm, _) => "etcd out of space".to_owned(),
        (FaultKind::Blackout(Restore::Log), _) => {
            format!("Blackout of {nodes} nodes, back from etcd's log")
        }
        (FaultKind::Blackout(Restore::Snapshot(age)), _) => {
            format!("Blackout of {nodes} nodes, back from a snapshot {age} older")
        }
    }
}

fn fault(metrics: &Metrics, outages: &[Outage], row: &FaultRow) -> FaultSummary {
    let secs = |time: Option<SimTime>| time.map(SimTime::secs_f64);
    let serving = row.hit.keys().filter(|&&w| metrics.workloads.rows[w as usize].serves());
    FaultSummary {
        what: fault_words(metrics, row),
        name: row.name.clone(),
        at_s: secs(row.begun),
        ended_s: secs(row.ended),
        nodes: row.nodes.len(),
        of_nodes: metrics.nodes.rows.len(),
        pods: row.hit.values().sum(),
        detected_s: secs(row.detected.last),
        detected_nodes: row.noticed.len(),
        first_evicted_s: secs(row.evicted.first),
        last_evicted_s: secs(row.evicted.last),
        evicted: row.evictions,
        first_rescheduled_s: secs(row.rebound.first),
        last_rescheduled_s: secs(row.rebound.last),
        rescheduled: row.replaced,
        to_reschedule: row.to_replace,
        workloads: serving.count(),
        recovered_s: secs(recovery(metrics, outages, row)),
        disks_out_of_reach: row.disks.claims.clone(),
        waiting_for_disks: row.disks.waiting.clone(),
    }
}

/// When every workload that the fault struck was whole again: the end of the outage that spans
/// the fault's begin.
fn recovery(metrics: &Metrics, outages: &[Outage], row: &FaultRow) -> Option<SimTime> {
    let begun = row.begun?;
    let mut latest = begun;
    for &index in row.hit.keys() {
        if !metrics.workloads.rows[index as usize].serves() {
            continue;
        }
        let outage = &outages[index as usize];
        let struck = outage.shorts.iter().find(|s| s.to > begun && s.from.since(begun).0 == 0);
        // A kubelet that stops takes its pods out only when that is noticed, some time later.
        let over = row.ended.unwrap_or(metrics.ended);
        let later = outage.shorts.iter().find(|s| s.from >= begun && s.from <= over);
        if let Some(span) = struck.or(later) {
            if span.open {
                return None;
            }
            latest = latest.max(span.to);
        }
    }
    Some(latest)
}

fn workload(row: &WorkloadRow, outage: &Outage) -> WorkloadSummary {
    WorkloadSummary {
        workload: row.label.clone(),
        desired: row.desired,
        available: row.available,
        first_full_s: outage.first_full.map(SimTime::secs_f64),
        best: row.timeline.iter().map(|p| p.available).max().unwrap_or(0),
        short_s: outage.short().secs_f64(),
        none_s: outage.none().secs_f64(),
        longest_short_s: outage.longest().secs_f64(),
        worst_available: outage.worst().map(|w| w.0),
        worst_desired: outage.worst().map(|w| w.1),
        short_at_end: row.available < row.desired,
        evicted: row.counts.evicted,
        restarts: row.counts.restarts,
    }
}

fn batch(row: &WorkloadRow) -> BatchSummary {
    let c = &row.counts;
    BatchSummary {
        workload: row.label.clone(),
        created: c.created,
        bound: c.bound,
        succeeded: c.succeeded,
        failed: c.failed,
        evicted: c.evicted,
    }
}
