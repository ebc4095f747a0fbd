//! metrics-server, and an adapter for custom and external metrics in one: it scrapes what pods use
//! at its resolution, and the API server answers from what it has scraped last.
//!
//! A manifest does not say what a program uses; the scenario does, per workload: a course over time
//! (constant, steps, a random walk), of each pod or of all ready pods together.

use crate::api::autoscaling::PodMetric;
use crate::api::pod::{ContainerState, ContainerStatus, Phase};
use crate::api::versions::{Change, ObjRef};
use crate::api::{LabelSet, Stamp, Uid};
use crate::engine::{Draws, Grid, Purpose, SimDuration, Sym, num};
use crate::event::usage::{Course, Load, Sample};
use crate::event::{Context, Event};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What kubelets feel and no metrics API tells.
const KUBELETS_ONLY: [&str; 2] = ["ephemeral-storage", "pids"];

/// A pod that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    uid: Uid,
    labels: LabelSet,
    ready: bool,
    container: Sym,
    /// Since when that container runs.
    since: Stamp,
    /// The scrape before has seen it: usage is the difference of two looks.
    seen: bool,
}

/// The metrics server.
#[derive(Debug, Clone)]
pub struct MetricsServer {
    loads: Arc<[Load]>,
    /// Pods of each load that run.
    pods: Vec<BTreeMap<(u32, u32), Running>>,
    /// Where each walk stands.
    walks: Vec<i64>,
    grid: Grid,
    resolution: SimDuration,
    scrapes: u64,
}

impl MetricsServer {
    /// A server that scrapes these loads.
    #[must_use]
    pub fn new(loads: &[Load], resolution: SimDuration, draws: &Draws) -> Self {
        let entity = Sym::new("metrics-server").stable_hash();
        let start = |load: &Load| match load.course {
            Course::Walk { start, .. } => start,
            Course::Constant(_)
            | Course::Series(_)
            | Course::Growth { .. }
            | Course::Fill { .. }
            | Course::Log(_)
            | Course::Served => 0,
        };
        let scraped = |load: &&Load| !KUBELETS_ONLY.contains(&load.metric.as_str());
        let loads: Arc<[Load]> = loads.iter().filter(scraped).cloned().collect();
        Self {
            pods: vec![BTreeMap::new(); loads.len()],
            walks: loads.iter().map(start).collect(),
            grid: Grid::drawn(draws, entity, Purpose("scrape"), resolution),
            loads,
            resolution,
            scrapes: 0,
        }
    }

    /// True if it must see pods.
    #[must_use]
    pub fn watches_pods(&self) -> bool {
        !self.loads.is_empty()
    }

    /// Arms the first scrape, if there is anything to scrape.
    pub fn start(&self, cx: &mut Context<'_>) {
        if self.watches_pods() {
            let at = self.grid.at_or_after(cx.now());
            cx.schedule(at, Event::Scrape);
        }
    }

    /// A pod has changed.
    pub fn on_pod(&mut self, change: &Change) {
        let Some(pod) = change.value.as_pod() else { return };
        let ObjRef { slot, generation } = change.object;
        let runs = !change.deleted && pod.status.phase == Phase::Running;
        for (load, pods) in self.loads.iter().zip(&mut self.pods) {
            let inside = load.ns == pod.meta.ns
                && load.pods.as_ref().is_some_and(|s| s.matches(pod.meta.labels));
            if !(runs && inside) {
                pods.remove(&(slot, generation));
                continue;
            }
            let seen = pods.get(&(slot, generation)).is_some_and(|p| p.seen);
            let first = pod.spec.containers.first().map(|c| c.name).unwrap_or_default();
            let container = if load.container.is_empty() { first } else { load.container };
            let status = pod.status.containers.iter().find(|c| c.name == container);
            let running = Running {
                uid: pod.meta.uid,
                labels: pod.meta.labels,
                ready: pod.ready(),
                container,
                since: status.map_or(Stamp::NONE, started),
                seen,
            };
            pods.insert((slot, generation), running);
        }
    }

    /// Looks at all pods, and forgets what was before.
    pub fn scrape(&mut self, cx: &mut Context<'_>) {
        self.scrapes += 1;
        let now = cx.now();
        cx.usage_mut().begin();
        let loads = Arc::clone(&self.loads);
        for (i, load) in loads.iter().enumerate() {
            let amount = self.amount(i, load, cx);
            let window = u32::try_from(self.resolution.as_millis() / 1000).unwrap_or(u32::MAX);
            let metric =
                PodMetric { milli: amount, at: now, window_s: window, ..PodMetric::default() };
            if load.pods.is_none() {
                let sample = Sample { labels: None, metric };
                cx.usage_mut().add(load.ns, load.metric, sample);
                continue;
            }
            for sample in samples(load, &mut self.pods[i], metric, cx) {
                cx.usage_mut().add(load.ns, load.metric, sample);
            }
        }
        cx.traffic_mut().spent.clear();
        cx.schedule(self.grid.after(now), Event::Scrape);
    }

    fn amount(&mut self, i: usize, load: &Load, cx: &Context<'_>) -> i64 {
        match &load.course {
            Course::Constant(_)
            | Course::Series(_)
            | Course::Growth { .. }
            | Course::Fill { .. }
            | Course::Log(_)
            | Course::Served => load.course.piece(cx.now(), cx.now()).amount,
            Course::Walk { step, min, max, .. } => {
                let names =
                    crate::engine::digest::mix(load.ns.stable_hash(), load.metric.stable_hash());
                let entity = crate::engine::digest::mix(names, i as u64);
                let span = u64::try_from(step.saturating_mul(2).saturating_add(1)).unwrap_or(1);
                let drawn = cx.draw(entity, Purpose("usage walk"), self.scrapes).below(span);
                let by = i64::try_from(drawn).unwrap_or(0) - step;
                self.walks[i] = (self.walks[i] + by).clamp(*min, *max);
                self.walks[i]
            }
        }
    }
}

/// What a scrape sees of the pods of a load. The first look at a pod says nothing of resources:
/// usage is the difference of two.
fn samples(
    load: &Load,
    pods: &mut BTreeMap<(u32, u32), Running>,
    metric: PodMetric,
    cx: &Context<'_>,
) -> Vec<Sample> {
    let ready = i64::try_from(pods.values().filter(|p| p.ready).count()).unwrap_or(i64::MAX);
    let share = metric.milli.checked_div(ready).unwrap_or(0);
    let resource = matches!(load.metric.as_str(), "cpu" | "memory");
    let mut samples = Vec::with_capacity(pods.len());
    for pod in pods.values_mut() {
        let seen = std::mem::replace(&mut pod.seen, true);
        if resource && !seen {
            continue;
        }
        let milli = match (load.shared, pod.ready) {
            (true, true) => share,
            (true, false) => 0,
            (false, _) if load.course == Course::Served => {
                let spent = cx.traffic().spent.get(&pod.uid).copied().unwrap_or(0.0);
                num::round(spent * 1000.0 / f64::from(metric.window_s.max(1)))
            }
            (false, _) if matches!(load.course, Course::Growth { .. }) => {
                load.course.piece(cx.time_of(pod.since), cx.now()).amount
            }
            (false, _) => metric.milli,
        };
        let container = if resource { pod.container } else { Sym::EMPTY };
        let metric = PodMetric { uid: pod.uid, container, milli, ..metric };
        samples.push(Sample { labels: Some(pod.labels), metric });
    }
    samples
}

/// Since when a container runs; none if it does not.
fn started(status: &ContainerStatus) -> Stamp {
    match status.state {
        ContainerState::Running { started } => started,
        ContainerState::Waiting { .. } | ContainerState::Terminated { .. } => Stamp::NONE,
    }
}
