//! Horizontal Pod Autoscalers (source: `ctl/podautoscaler/horizontal.go`). What a metric asks for
//! stands in `hpareplicas`, how far and how fast it is followed in `hpascale`.

use super::claims::{replicas_of, selector_of};
use super::hpareplicas::{Proposal, Question, Tolerance};
use super::hpascale::{History, Limited};
use super::members::Members;
use super::support::{Reporter, condition, put_status, reports, text};
use crate::api::autoscaling::{
    AutoscalerStatus, HorizontalPodAutoscaler, Metric, MetricQuery, MetricSource, MetricTarget,
    PodMetric,
};
use crate::api::pod::{ConditionType, Truth};
use crate::api::request::{Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Name, Obj, Pod, Selector};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// `--horizontal-pod-autoscaler-sync-period`.
const PERIOD: SimDuration = SimDuration::from_secs(15);
/// `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
const KIND: Kind = Kind::HorizontalPodAutoscaler;

/// The HPA controller.
#[derive(Debug, Clone)]
pub struct HpaController {
    reporter: Reporter,
    members: Members,
    history: FxHashMap<Key, History>,
}

impl Default for HpaController {
    fn default() -> Self {
        let name = "horizontal-pod-autoscaler";
        Self {
            reporter: Reporter::new(name, name),
            members: Members::default(),
            history: FxHashMap::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Metrics,
    Scaling,
    Status,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    hpa: Option<Arc<HorizontalPodAutoscaler>>,
    status: AutoscalerStatus,
    current: i32,
    desired: i32,
    why: String,
}

/// What is scaled.
struct Target {
    replicas: i32,
    selector: Selector,
}

fn target(hpa: &HorizontalPodAutoscaler, caches: &Cache, cx: &Context<'_>) -> Option<Target> {
    let (kind, name) = hpa.target?;
    let (_, obj) = caches.named(cx.versions(), kind, hpa.meta.ns, name)?;
    Some(Target { replicas: replicas_of(obj)?, selector: selector_of(obj)?.clone() })
}

impl State {
    fn set(&mut self, kind: &str, holds: bool, reason: &str, message: &str, cx: &Context<'_>) {
        let status = if holds { Truth::True } else { Truth::False };
        let kind = ConditionType::Other(Sym::new(kind));
        self.status.conditions.set(condition(kind, status, reason, message, cx));
    }
}

impl Reconcile for HpaController {
    type State = State;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if change.value.kind() == Kind::Pod {
            self.members.on_pod(change, before);
            return;
        }
        let key = Key::of(&change.value);
        if change.deleted {
            self.history.remove(&key);
            self.members.set(key, None, caches, cx);
        } else if before.is_none() {
            // From here on the key comes back by itself.
            wake.push((key, PERIOD));
        }
    }

    fn ignores(&self, _pod: &Pod) -> bool {
        self.members.none()
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        match state.step {
            Step::Start => self.start(key, state, caches, cx),
            Step::Metrics => self.measured(key, state, answers, caches, cx),
            Step::Scaling => self.scaled(key, state, answers, cx),
            Step::Status => Next::Requeue(PERIOD),
        }
    }
}

impl HpaController {
    fn start(&mut self, key: Key, state: &mut State, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let found = caches.named(cx.versions(), KIND, key.ns, key.name);
        let Some((object, Obj::HorizontalPodAutoscaler(hpa))) = found else { return Next::Done };
        let hpa = Arc::clone(hpa);
        state.target = object;
        state.hpa = Some(Arc::clone(&hpa));
        state.status = hpa.status.clone();
        state.status.observed_generation = hpa.meta.generation;
        let Some(target) = target(&hpa, caches, cx) else {
            let why = "the HPA controller was unable to get the target's current scale";
            state.set("AbleToScale", false, "FailedGetScale", why, cx);
            self.reporter.warning(KIND, &hpa.meta, "FailedGetScale", text(why), cx);
            state.desired = state.status.desired;
            return Self::put_status(state);
        };
        let able = "the HPA controller was able to get the target's current scale";
        state.set("AbleToScale", true, "SucceededGetScale", able, cx);
        state.current = target.replicas;
        self.history.entry(key).or_default().begin(target.replicas, cx.now());
        self.members.set(key, Some(target.selector.clone()), caches, cx);
        if target.replicas == 0 && hpa.min != 0 {
            let why = "scaling is disabled since the replica count of the target is zero";
            state.set("ScalingActive", false, "ScalingDisabled", why, cx);
            state.desired = 0;
            return Self::put_status(state);
        }
        if target.replicas > hpa.max {
            "Current number of replicas above Spec.MaxReplicas".clone_into(&mut state.why);
            state.desired = hpa.max;
            return self.rescale(state);
        }
        if target.replicas < hpa.min {
            "Current number of replicas below Spec.MinReplicas".clone_into(&mut state.why);
            state.desired = hpa.min;
            return self.rescale(state);
        }
        state.step = Step::Metrics;
        let queries = hpa.metrics.iter().map(|m| query(m, &hpa, &target.selector));
        Next::Call(queries.collect())
    }

    /// The metrics have come: the highest proposal counts.
    /// Source: `computeReplicasForMetrics`.
    fn measured(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(hpa) = state.hpa.clone() else { return Next::Done };
        let pods: Vec<Arc<Pod>> = self
            .members
            .of(key)
            .filter_map(|o| caches.get(cx.versions(), Kind::Pod, o)?.as_pod().cloned())
            .collect();
        state.status.metrics.clear();
        let mut best: Option<(i32, Sym)> = None;
        let mut failure: Option<String> = None;
        for (metric, answer) in hpa.metrics.iter().zip(answers) {
            let proposal = match answer {
                Ok(success) => {
                    let metrics = samples(&success.value);
                    propose(metric, &hpa, (&pods, metrics), state.current, cx)
                }
                Err(error) => Err(error.message(Kind::Pod, Name::default())),
            };
            match proposal {
                Ok(p) => {
                    let name = name_of(metric);
                    state.status.metrics.push((name, p.utilization, p.average));
                    if best.is_none_or(|(n, _)| p.replicas > n) {
                        best = Some((p.replicas, name));
                    }
                }
                Err(why) => {
                    let why = format!(
                        "unable to get {} metric {}: {why}",
                        family(metric),
                        name_of(metric)
                    );
                    let reason = failed(metric);
                    self.reporter.warning(KIND, &hpa.meta, reason, text(&why), cx);
                    if failure.is_none() {
                        state.set(
                            "ScalingActive",
                            false,
                            reason,
                            &format!("the HPA was unable to compute the replica count: {why}"),
                            cx,
                        );
                    }
                    failure.get_or_insert(why);
                }
            }
        }
        // With some metric missing, nothing is taken away.
        let usable = best.filter(|(n, _)| failure.is_none() || *n >= state.current);
        let Some((desired, name)) = usable else {
            let why = failure.unwrap_or_else(|| "no metrics".to_owned());
            let message = format!("invalid metrics, first error is: {why}");
            let reason = "FailedComputeMetricsReplicas";
            self.reporter.warning(KIND, &hpa.meta, reason, text(&message), cx);
            state.desired = state.current;
            return Self::put_status(state);
        };
        let message =
            format!("the HPA was able to successfully calculate a replica count from {name}");
        state.set("ScalingActive", true, "ValidMetricFound", &message, cx);
        self.limit(key, &hpa, (desired, name), state, cx)
    }

    fn limit(
        &mut self,
        key: Key,
        hpa: &HorizontalPodAutoscaler,
        (desired, name): (i32, Sym),
        state: &mut State,
        cx: &Context<'_>,
    ) -> Next {
        let history = self.history.entry(key).or_default();
        let Limited { replicas, able, limited } =
            history.limit(hpa, state.current, desired, cx.now());
        state.set("AbleToScale", true, able.0, able.1, cx);
        state.set("ScalingLimited", limited.0, limited.1, limited.2, cx);
        state.why = match desired.cmp(&state.current) {
            std::cmp::Ordering::Greater => format!("{name} above target"),
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => {
                "All metrics below target".to_owned()
            }
        };
        state.desired = replicas;
        self.rescale(state)
    }

    fn rescale(&self, state: &mut State) -> Next {
        let Some((hpa, (kind, name))) = state.hpa.as_ref().and_then(|hpa| Some((hpa, hpa.target?)))
        else {
            return Next::Done;
        };
        if state.desired == state.current {
            return Self::put_status(state);
        }
        let ns = hpa.meta.ns;
        state.step = Step::Scaling;
        let op = Op::PutScale(state.desired);
        Next::Call(vec![Call { kind, ns, name, target: None, op }])
    }

    fn scaled(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(hpa) = state.hpa.clone() else { return Next::Done };
        let (size, why) = (state.desired, state.why.clone());
        if let Some(Err(error)) = answers.first() {
            let (kind, name) = hpa.target.unwrap_or((Kind::Deployment, Name::default()));
            let error = error.message(kind, name);
            let message = format!("New size: {size}; reason: {why}; error: {error}");
            self.reporter.warning(KIND, &hpa.meta, "FailedRescale", text(&message), cx);
            let message = "the HPA controller was unable to update the target scale";
            state.set("AbleToScale", false, "FailedUpdateScale", message, cx);
            state.desired = state.current;
            return Self::put_status(state);
        }
        let message = format!("the HPA controller was able to update the target scale to {size}");
        state.set("AbleToScale", true, "SucceededRescale", &message, cx);
        let message = text(&format!("New size: {size}; reason: {why}"));
        self.reporter.normal(KIND, &hpa.meta, "SuccessfulRescale", message, cx);
        self.history.entry(key).or_default().scaled(state.current, size, cx.now());
        state.status.last_scale = cx.stamp();
        Self::put_status(state)
    }

    fn put_status(state: &mut State) -> Next {
        let Some(hpa) = state.hpa.as_ref() else { return Next::Done };
        state.step = Step::Status;
        state.status.current = state.current;
        state.status.desired = state.desired;
        if state.status == hpa.status {
            return Next::Requeue(PERIOD);
        }
        let mut object = HorizontalPodAutoscaler::clone(hpa);
        object.status = state.status.clone();
        let object = Obj::HorizontalPodAutoscaler(Arc::new(object));
        Next::Call(vec![put_status(object, state.target)])
    }
}

fn name_of(metric: &Metric) -> Sym {
    match metric.source {
        MetricSource::Resource(name, _)
        | MetricSource::Pods(name)
        | MetricSource::Object(name)
        | MetricSource::External(name) => name,
    }
}

fn family(metric: &Metric) -> &'static str {
    match metric.source {
        MetricSource::Resource(..) => "resource",
        MetricSource::Pods(_) => "pods",
        MetricSource::Object(_) => "object",
        MetricSource::External(_) => "external",
    }
}

/// The reason of the event and of condition `ScalingActive` when a metric cannot be had.
fn failed(metric: &Metric) -> &'static str {
    match metric.source {
        MetricSource::Resource(_, None) => "FailedGetResourceMetric",
        MetricSource::Resource(_, Some(_)) => "FailedGetContainerResourceMetric",
        MetricSource::Pods(_) => "FailedGetPodsMetric",
        MetricSource::Object(_) => "FailedGetObjectMetric",
        MetricSource::External(_) => "FailedGetExternalMetric",
    }
}

/// The question to the metrics API.
fn query(metric: &Metric, hpa: &HorizontalPodAutoscaler, selector: &Selector) -> Call {
    let pods = match metric.source {
        MetricSource::Resource(..) | MetricSource::Pods(_) => Some(selector.clone()),
        MetricSource::Object(_) | MetricSource::External(_) => None,
    };
    let op = Op::Metrics(Arc::new(MetricQuery { name: name_of(metric), pods }));
    let (ns, name) = (hpa.meta.ns, Name::default());
    Call { kind: Kind::PodMetrics, ns, name, target: None, op }
}

/// What the metrics API has answered.
fn samples(answer: &Obj) -> &[PodMetric] {
    if let Obj::PodMetrics(list) = answer { &list.pods } else { &[] }
}

/// What a metric asks for.
fn propose(
    metric: &Metric,
    hpa: &HorizontalPodAutoscaler,
    (pods, metrics): (&[Arc<Pod>], &[PodMetric]),
    current: i32,
    cx: &Context<'_>,
) -> Result<Proposal, String> {
    let given = |rules: &Option<crate::api::autoscaling::ScalingRules>| {
        rules.as_ref().and_then(|r| r.tolerance).unwrap_or(TOLERANCE)
    };
    let tolerance = Tolerance { down: given(&hpa.down), up: given(&hpa.up) };
    let (name, container) = match metric.source {
        MetricSource::Resource(name, container) => (name, container),
        MetricSource::Pods(name) | MetricSource::Object(name) | MetricSource::External(name) => {
            (name, None)
        }
    };
    let question = Question { pods, metrics, name, container, current, tolerance };
    let of_pods = matches!(metric.source, MetricSource::Resource(..) | MetricSource::Pods(_));
    if of_pods {
        return match metric.target {
            MetricTarget::Utilization(percent) => question.utilization(percent, cx),
            MetricTarget::AverageValue(milli) | MetricTarget::Value(milli) => {
                question.average(milli, cx)
            }
        };
    }
    if metrics.is_empty() {
        return Err("no metrics returned from the metrics API".to_owned());
    }
    let used = metrics.iter().map(|m| m.milli).sum();
    Ok(match metric.target {
        MetricTarget::AverageValue(milli) => question.per_pod(used, milli),
        MetricTarget::Value(milli) => question.value(used, milli),
        MetricTarget::Utilization(percent) => question.value(used, i64::from(percent) * 1000),
    })
}
