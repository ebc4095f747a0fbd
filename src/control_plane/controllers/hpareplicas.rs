//! How many replicas a metric asks for (source: `ctl/podautoscaler/replica_calculator.go`,
//! `metrics/utilization.go`), apart from any API.

use super::hpascale::ceil;
use crate::api::autoscaling::PodMetric;
use crate::api::pod::{ConditionType, Phase, Truth};
use crate::api::{Pod, Uid};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::Context;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `--horizontal-pod-autoscaler-cpu-initialization-period`.
const CPU_INITIALIZATION: SimDuration = SimDuration::from_secs(300);
/// `--horizontal-pod-autoscaler-initial-readiness-delay`.
const READINESS_DELAY: SimDuration = SimDuration::from_secs(30);

/// By how much a ratio may differ from 1 without anything being done, down and up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) down: f64,
    pub(super) up: f64,
}

impl Tolerance {
    fn holds(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// A sample of a pod: the sum over its containers.
#[derive(Debug, Clone, Copy)]
struct Sample {
    milli: i64,
    at: SimTime,
    window: SimDuration,
}

/// Pods by what their metrics are worth. Source: `groupPods`.
#[derive(Debug, Default)]
struct Groups {
    /// Samples of pods that count.
    samples: BTreeMap<Uid, i64>,
    ready: i32,
    unready: Vec<Uid>,
    missing: Vec<Uid>,
}

/// What a metric gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// Current utilisation in per cent, if the target is one.
    pub(super) utilization: Option<i32>,
    /// Current average, thousandths.
    pub(super) average: i64,
}

/// What is asked of the pods of a target.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) metrics: &'a [PodMetric],
    /// `cpu` and `memory` are resources, anything else a custom metric.
    pub(super) name: Sym,
    /// One container instead of all.
    pub(super) container: Option<Sym>,
    pub(super) current: i32,
    pub(super) tolerance: Tolerance,
}

impl Question<'_> {
    fn samples(&self) -> BTreeMap<Uid, Sample> {
        let mut all: BTreeMap<Uid, Sample> = BTreeMap::new();
        let asked = |m: &&PodMetric| self.container.is_none_or(|c| c == m.container);
        for m in self.metrics.iter().filter(asked) {
            let window = SimDuration::from_secs(u64::from(m.window_s));
            let sample = all.entry(m.uid).or_insert(Sample { milli: 0, at: m.at, window });
            sample.milli += m.milli;
        }
        all
    }

    fn group(&self, cx: &Context<'_>) -> Groups {
        let samples = self.samples();
        let cpu = self.name.as_str() == "cpu";
        let mut groups = Groups::default();
        for pod in self.pods {
            let uid = pod.meta.uid;
            if pod.meta.terminating() || pod.status.phase == Phase::Failed {
                continue;
            }
            if pod.status.phase == Phase::Pending {
                groups.unready.push(uid);
            } else if let Some(sample) = samples.get(&uid) {
                if cpu && !settled(pod, *sample, cx) {
                    groups.unready.push(uid);
                } else {
                    groups.ready += 1;
                    groups.samples.insert(uid, sample.milli);
                }
            } else {
                groups.missing.push(uid);
            }
        }
        groups
    }

    /// Replicas for a target utilisation in per cent of the requests.
    pub(super) fn utilization(&self, target: i32, cx: &Context<'_>) -> Result<Proposal, String> {
        let mut groups = self.group(cx);
        if groups.samples.is_empty() {
            return Err(self.nothing());
        }
        let requests = self.requests()?;
        let ratio_of = |samples: &BTreeMap<Uid, i64>| {
            let asked: i64 = samples.keys().filter_map(|uid| requests.get(uid)).sum();
            let used: i64 =
                samples.iter().filter(|(uid, _)| requests.contains_key(*uid)).map(|(_, n)| n).sum();
            // Per cent are whole numbers, cut off.
            let percent = (used * 100).checked_div(asked).unwrap_or(0);
            let percent = i32::try_from(percent).unwrap_or(i32::MAX);
            (num::float(i64::from(percent)) / num::float(i64::from(target)), percent)
        };
        let (ratio, percent) = ratio_of(&groups.samples);
        let n = i64::try_from(groups.samples.len()).unwrap_or(1).max(1);
        let average = groups.samples.values().sum::<i64>() / n;
        let full = i64::from(target.max(100));
        let assumed = |uid: &Uid| requests.get(uid).map_or(0, |r| r * full / 100);
        let replicas = self.decide(&mut groups, ratio, assumed, |samples| ratio_of(samples).0);
        Ok(Proposal { replicas, utilization: Some(percent), average })
    }

    /// Replicas for a target average per pod, thousandths.
    pub(super) fn average(&self, target: i64, cx: &Context<'_>) -> Result<Proposal, String> {
        let mut groups = self.group(cx);
        if groups.samples.is_empty() {
            return Err(self.nothing());
        }
        let ratio_of = |samples: &BTreeMap<Uid, i64>| {
            let n = i64::try_from(samples.len()).unwrap_or(1).max(1);
            let average = samples.values().sum::<i64>() / n;
            (num::float(average) / num::float(target.max(1)), average)
        };
        let (ratio, average) = ratio_of(&groups.samples);
        let replicas = self.decide(&mut groups, ratio, |_| target, |samples| ratio_of(samples).0);
        Ok(Proposal { replicas, utilization: None, average })
    }

    /// Unready and missing pods are taken to speak against a change, and never turn it round.
    fn decide(
        &self,
        groups: &mut Groups,
        ratio: f64,
        assumed: impl Fn(&Uid) -> i64,
        ratio_of: impl Fn(&BTreeMap<Uid, i64>) -> f64,
    ) -> i32 {
        let unready = !groups.unready.is_empty() && ratio > 1.0;
        if !unready && groups.missing.is_empty() {
            if self.tolerance.holds(ratio) {
                return self.current;
            }
            return ceil(ratio, groups.ready);
        }
        for uid in std::mem::take(&mut groups.missing) {
            if ratio < 1.0 {
                groups.samples.insert(uid, assumed(&uid));
            } else if ratio > 1.0 {
                groups.samples.insert(uid, 0);
            }
        }
        if unready {
            groups.samples.extend(groups.unready.iter().map(|uid| (*uid, 0)));
        }
        let again = ratio_of(&groups.samples);
        let turned = ratio < 1.0 && again > 1.0 || ratio > 1.0 && again < 1.0;
        if self.tolerance.holds(again) || turned {
            return self.current;
        }
        let replicas = ceil(again, num::i32_of(groups.samples.len()));
        let against =
            again < 1.0 && replicas > self.current || again > 1.0 && replicas < self.current;
        if against { self.current } else { replicas }
    }

    fn nothing(&self) -> String {
        "did not receive metrics for targeted pods (pods might be unready)".to_owned()
    }

    /// Requests of the pods, thousandths. Source: `calculateRequests`.
    fn requests(&self) -> Result<BTreeMap<Uid, i64>, String> {
        let mut all = BTreeMap::new();
        for pod in self.pods {
            let sidecars = pod.spec.init_containers.iter().filter(|c| c.sidecar);
            let containers = pod.spec.containers.iter().chain(sidecars);
            let asked = containers.filter(|c| self.container.is_none_or(|name| name == c.name));
            let mut sum = 0;
            for c in asked {
                let (named, amount) = if self.name.as_str() == "cpu" {
                    (c.requests_named.cpu, c.requests.cpu_milli)
                } else {
                    (c.requests_named.memory, c.requests.memory.saturating_mul(1000))
                };
                if !named {
                    let (name, container, pod) = (self.name, c.name, pod.meta.name);
                    return Err(format!(
                        "missing request for {name} in container {container} of Pod {pod}"
                    ));
                }
                sum += amount;
            }
            all.insert(pod.meta.uid, sum);
        }
        Ok(all)
    }

    /// Pods that are Running and Ready.
    fn ready(&self) -> i32 {
        let ready = |p: &&Arc<Pod>| p.status.phase == Phase::Running && p.ready();
        num::i32_of(self.pods.iter().filter(ready).count())
    }

    /// Replicas for a value that belongs to no pod. Source: `getUsageRatioReplicaCount`.
    pub(super) fn value(&self, used: i64, target: i64) -> Proposal {
        let ratio = num::float(used) / num::float(target.max(1));
        let replicas = if self.current == 0 {
            ceil(ratio, 1)
        } else if self.tolerance.holds(ratio) {
            self.current
        } else {
            ceil(ratio, self.ready())
        };
        Proposal { replicas, utilization: None, average: used }
    }

    /// Replicas for a value of which each pod is to bear so much.
    /// Source: `GetExternalPerPodMetricReplicas`.
    pub(super) fn per_pod(&self, used: i64, target: i64) -> Proposal {
        let target = target.max(1);
        let borne = num::float(target) * num::float(i64::from(self.current));
        let ratio = num::float(used) / borne;
        let replicas = if self.current > 0 && self.tolerance.holds(ratio) {
            self.current
        } else {
            i32::try_from((used + target - 1).div_euclid(target)).unwrap_or(i32::MAX)
        };
        let average = used.checked_div(i64::from(replicas)).unwrap_or(0);
        Proposal { replicas, utilization: None, average }
    }
}

/// Whether a pod's cpu usage says something: not while it starts, or before it ever was ready.
fn settled(pod: &Pod, sample: Sample, cx: &Context<'_>) -> bool {
    let Some(ready) = pod.status.condition(ConditionType::Ready) else { return false };
    if pod.status.start.is_none() {
        return false;
    }
    let (start, since) = (cx.time_of(pod.status.start), cx.time_of(ready.transition));
    let is_false = ready.status == Truth::False;
    if start + CPU_INITIALIZATION > cx.now() {
        !is_false && sample.at >= since + sample.window
    } else {
        !(is_false && start + READINESS_DELAY > since)
    }
}
