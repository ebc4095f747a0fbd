//! metrics-server, and an adapter for custom and external metrics in one: it scrapes what pods use
//! at its resolution, and the API server answers from what it has scraped last.
//!
//! A manifest does not say what a program uses; the scenario does, per workload: a course over time
//! (constant, steps, a random walk), of each pod or of all ready pods together.

use crate::api::autoscaling::PodMetric;
use crate::api::pod::Phase;
use crate::api::versions::{Change, ObjRef};
use crate::api::{LabelSet, Selector, Uid};
use crate::engine::{Draws, Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::usage::Sample;
use crate::event::{Context, Event};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How an amount goes over time; amounts in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// Always the same.
    Constant(i64),
    /// Steps: from each instant on, this amount; nothing before the first.
    Series(Arc<[(SimTime, i64)]>),
    /// A step up or down at each scrape, uniformly drawn, within bounds.
    Walk {
        /// First amount.
        start: i64,
        /// Largest step.
        step: i64,
        /// Least amount.
        min: i64,
        /// Greatest amount.
        max: i64,
    },
}

/// What the pods of one workload use of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Namespace.
    pub ns: Sym,
    /// The pods; none for a value that belongs to no pod.
    pub pods: Option<Selector>,
    /// `cpu`, `memory`, or the name of a custom or external metric.
    pub metric: Sym,
    /// True if the ready pods share the amount; false if each uses it.
    pub shared: bool,
    /// How it goes.
    pub course: Course,
}

/// A pod that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    uid: Uid,
    labels: LabelSet,
    ready: bool,
    container: Sym,
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
    pub fn new(loads: Arc<[Load]>, resolution: SimDuration, draws: &Draws) -> Self {
        let entity = Sym::new("metrics-server").stable_hash();
        let start = |load: &Load| match load.course {
            Course::Walk { start, .. } => start,
            Course::Constant(_) | Course::Series(_) => 0,
        };
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
            let container = pod.spec.containers.first().map(|c| c.name).unwrap_or_default();
            let running = Running {
                uid: pod.meta.uid,
                labels: pod.meta.labels,
                ready: pod.ready(),
                container,
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
            for sample in samples(load, &mut self.pods[i], metric) {
                cx.usage_mut().add(load.ns, load.metric, sample);
            }
        }
        cx.schedule(self.grid.after(now), Event::Scrape);
    }

    fn amount(&mut self, i: usize, load: &Load, cx: &Context<'_>) -> i64 {
        match &load.course {
            Course::Constant(amount) => *amount,
            Course::Series(steps) => {
                let at = steps.partition_point(|(from, _)| *from <= cx.now());
                at.checked_sub(1).map_or(0, |i| steps[i].1)
            }
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
            (false, _) => metric.milli,
        };
        let container = if resource { pod.container } else { Sym::EMPTY };
        let metric = PodMetric { uid: pod.uid, container, milli, ..metric };
        samples.push(Sample { labels: Some(pod.labels), metric });
    }
    samples
}
