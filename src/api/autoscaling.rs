//! Horizontal autoscaling, and the metrics it reads.

use super::labels::Selector;
use super::meta::{Meta, Stamp, Uid};
use super::pod::Conditions;
use super::{Kind, Name};
use crate::engine::{SimTime, Sym};
use std::sync::Arc;

/// A `HorizontalPodAutoscaler` (`autoscaling/v2`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HorizontalPodAutoscaler {
    /// Metadata.
    pub meta: Meta,
    /// `scaleTargetRef`; none for a kind that the model does not scale.
    pub target: Option<(Kind, Name)>,
    /// `minReplicas`.
    pub min: i32,
    /// `maxReplicas`.
    pub max: i32,
    /// `metrics`.
    pub metrics: Arc<[Metric]>,
    /// `behavior.scaleUp`; none if the whole of `behavior` is not given.
    pub up: Option<ScalingRules>,
    /// `behavior.scaleDown`.
    pub down: Option<ScalingRules>,
    /// Status.
    pub status: AutoscalerStatus,
    /// The original document.
    pub doc: Option<Arc<serde_json::Value>>,
}

/// A metric and its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What is measured.
    pub source: MetricSource,
    /// What it should be.
    pub target: MetricTarget,
}

/// What a metric measures.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricSource {
    /// `cpu` or `memory` of the pods; of one container if it is named.
    Resource(Sym, Option<Sym>),
    /// A custom metric of each pod.
    Pods(Sym),
    /// A custom metric of another object.
    Object(Sym),
    /// A metric from outside the cluster.
    External(Sym),
}

/// Target of a metric; amounts in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricTarget {
    /// Per cent of the pods' requests.
    Utilization(i32),
    /// Average per pod.
    AverageValue(i64),
    /// The value itself.
    Value(i64),
}

/// One direction of `behavior`, defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingRules {
    /// `stabilizationWindowSeconds`.
    pub window_s: u32,
    /// `selectPolicy`.
    pub select: SelectPolicy,
    /// `policies`.
    pub policies: Arc<[ScalingPolicy]>,
    /// `tolerance`, if given.
    pub tolerance: Option<f64>,
}

/// `selectPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelectPolicy {
    /// The policy that allows most.
    #[default]
    Max,
    /// The policy that allows least.
    Min,
    /// No scaling in this direction.
    Disabled,
}

/// So many pods, or per cent of them, in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingPolicy {
    /// True for per cent.
    pub percent: bool,
    /// How many.
    pub value: i32,
    /// `periodSeconds`.
    pub period_s: u32,
}

/// Status of an autoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AutoscalerStatus {
    /// `observedGeneration`.
    pub observed_generation: u32,
    /// `lastScaleTime`.
    pub last_scale: Stamp,
    /// `currentReplicas`.
    pub current: i32,
    /// `desiredReplicas`.
    pub desired: i32,
    /// Per metric: current utilisation (of a resource with a utilisation target) and average value.
    pub metrics: Vec<(Sym, Option<i32>, i64)>,
    /// Conditions.
    pub conditions: Conditions,
}

/// What a metrics server answers: one row per pod.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodMetricsList {
    /// Namespace asked about; no name.
    pub meta: Meta,
    /// Pods with a sample.
    pub pods: Vec<PodMetric>,
}

/// A pod's usage as last scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PodMetric {
    /// Identity of the pod.
    pub uid: Uid,
    /// Container; empty for a custom metric of the pod or a value that belongs to no pod.
    pub container: Sym,
    /// The amount in thousandths.
    pub milli: i64,
    /// When the sample was taken.
    pub at: SimTime,
    /// Over which span, seconds.
    pub window_s: u32,
}

/// A query of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricQuery {
    /// `cpu`, `memory` or the name of a custom or external metric.
    pub name: Sym,
    /// The pods; none for an external metric.
    pub pods: Option<Selector>,
}
