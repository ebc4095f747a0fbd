//! A pool's `kubelet:` section: the fields of a `KubeletConfiguration` that are modelled, under
//! their own names, and what the node itself uses.

use super::place::Place;
use super::report::Report;
use super::value::{self, LEVEL_HINT, QUANTITY_HINT, Quantity, SPAN_HINT, Span};
use crate::api::resources::Resources;
use crate::engine::SimDuration;
use crate::node::{KubeletConfig, Level, Signal, Threshold};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A kubelet's configuration; what is not given keeps upstream's default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubelet {
    /// Reserved for the kubelet and the runtime: `cpu`, `memory`, `ephemeral-storage`.
    #[serde(default)]
    pub kube_reserved: BTreeMap<String, Quantity>,
    /// Reserved for the system.
    #[serde(default)]
    pub system_reserved: BTreeMap<String, Quantity>,
    /// Hard thresholds by signal, in place of the default ones: `memory.available: 100Mi`,
    /// `nodefs.available: 10%`.
    pub eviction_hard: Option<BTreeMap<String, value::Level>>,
    /// Soft thresholds by signal.
    #[serde(default)]
    pub eviction_soft: BTreeMap<String, value::Level>,
    /// How long each soft threshold must be met.
    #[serde(default)]
    pub eviction_soft_grace_period: BTreeMap<String, Span>,
    /// What must be available beyond a threshold until it is no longer met.
    #[serde(default)]
    pub eviction_minimum_reclaim: BTreeMap<String, value::Level>,
    /// Longest grace of pods evicted by a soft threshold, seconds; 0 by default.
    pub eviction_max_pod_grace_period: Option<u32>,
    /// How long a condition outlives its threshold; 5m by default.
    pub eviction_pressure_transition_period: Option<Span>,
    /// One image pull at a time; true by default.
    pub serialize_image_pulls: Option<bool>,
    /// Image pulls at one time.
    pub max_parallel_image_pulls: Option<u32>,
    /// Disk usage from which on unused images are deleted; 85 by default.
    #[serde(rename = "imageGCHighThresholdPercent")]
    #[schemars(range(max = 100))]
    pub image_gc_high_threshold_percent: Option<u8>,
    /// Disk usage down to which they are deleted; 80 by default.
    #[serde(rename = "imageGCLowThresholdPercent")]
    #[schemars(range(max = 100))]
    pub image_gc_low_threshold_percent: Option<u8>,
    /// An image younger than this is not deleted; 2m by default.
    #[serde(rename = "imageMinimumGCAge")]
    pub image_minimum_gc_age: Option<Span>,
    /// How long the node delays its shutdown to end pods in order; 0 (off) by default.
    pub shutdown_grace_period: Option<Span>,
    /// The part of it that critical pods have.
    pub shutdown_grace_period_critical_pods: Option<Span>,
    /// A file system for images of its own; they lie on the node's by default.
    pub image_fs: Option<Quantity>,
    /// Processes that the node can have; 4194304 by default.
    pub pids: Option<Quantity>,
    /// What the node uses beside its pods: `memory`, `ephemeral-storage`; nothing by default.
    #[serde(default)]
    pub system_usage: BTreeMap<String, Quantity>,
    /// Size from which on the log of a container is rotated; 10Mi by default.
    pub container_log_max_size: Option<Quantity>,
    /// Files of a container's log, the one in use among them; 5 by default.
    #[schemars(range(min = 2))]
    pub container_log_max_files: Option<u32>,
    /// How often it is looked whether logs have to be rotated; 10s by default.
    pub container_log_monitor_interval: Option<Span>,
}

/// Reads one section.
struct Reader<'r> {
    report: &'r mut Report,
    at: &'r Place,
}

impl Reader<'_> {
    fn amounts(&mut self, field: &str, from: &BTreeMap<String, Quantity>) -> Resources {
        let at = self.at.key(field);
        let mut sum = Resources::default();
        for (name, quantity) in from {
            let place = at.key(name);
            let Some(amount) = self.report.take(&place, value::amount(&quantity.0), QUANTITY_HINT)
            else {
                continue;
            };
            match name.as_str() {
                "cpu" => sum.cpu_milli = amount.milli_value(),
                "memory" => sum.memory = amount.value(),
                "ephemeral-storage" => sum.ephemeral = amount.value(),
                // Processes are reserved, too, but no pod asks for any.
                "pid" => {}
                _other => {
                    let hint = "possible are cpu, memory, ephemeral-storage, pid";
                    self.report.error(&place, "cannot be reserved", hint);
                }
            }
        }
        sum
    }

    fn signal(&mut self, at: &Place, name: &str) -> Option<Signal> {
        let found = Signal::ALL.into_iter().find(|s| s.name() == name);
        if found.is_none() {
            let names: Vec<&str> = Signal::ALL.iter().map(|s| s.name()).collect();
            let hint = format!("modelled are {}", names.join(", "));
            self.report.error(at, format!("{name:?} is no signal of the model"), hint);
        }
        found
    }

    fn levels(
        &mut self,
        field: &str,
        from: &BTreeMap<String, value::Level>,
    ) -> Vec<(Signal, Level)> {
        let at = self.at.key(field);
        let mut list = Vec::new();
        for (name, text) in from {
            let place = at.key(name);
            let signal = self.signal(&place, name);
            let level = self.report.take(&place, value::level(&text.0), LEVEL_HINT);
            list.extend(signal.zip(level));
        }
        list
    }

    fn span(&mut self, field: &str, given: Option<&Span>) -> Option<SimDuration> {
        self.report.take(&self.at.key(field), value::span(&given?.0), SPAN_HINT)
    }

    fn thresholds(&mut self, from: &Kubelet) -> Vec<Threshold> {
        let least = self.levels("evictionMinimumReclaim", &from.eviction_minimum_reclaim);
        let reclaim = |signal| {
            least.iter().find(|(s, _)| *s == signal).map_or(Level::Amount(0), |(_, level)| *level)
        };
        let mut list = Vec::new();
        match &from.eviction_hard {
            None => list.extend(KubeletConfig::default().thresholds),
            Some(hard) => {
                for (signal, level) in self.levels("evictionHard", hard) {
                    list.push(Threshold { signal, level, grace: None, reclaim: Level::Amount(0) });
                }
            }
        }
        for threshold in &mut list {
            threshold.reclaim = reclaim(threshold.signal);
        }
        for (signal, level) in self.levels("evictionSoft", &from.eviction_soft) {
            let given = from.eviction_soft_grace_period.get(signal.name());
            let place = self.at.key("evictionSoftGracePeriod").key(signal.name());
            let Some(given) = given else {
                let hint = "the kubelet does not start without one: write 90s";
                self.report.error(&place, "a soft threshold without a grace period", hint);
                continue;
            };
            let grace = self.report.take(&place, value::span(&given.0), SPAN_HINT);
            list.push(Threshold { signal, level, grace, reclaim: reclaim(signal) });
        }
        list
    }
}

/// The configuration of a pool's kubelets.
pub(crate) fn config(from: &Kubelet, at: &Place, report: &mut Report) -> KubeletConfig {
    let mut r = Reader { report, at };
    let default = KubeletConfig::default();
    let mut reserved = r.amounts("kubeReserved", &from.kube_reserved);
    reserved.add(&r.amounts("systemReserved", &from.system_reserved));
    let mut span = |field: &str, given: &Option<Span>, or: SimDuration| {
        r.span(field, given.as_ref()).unwrap_or(or)
    };
    let transition = span(
        "evictionPressureTransitionPeriod",
        &from.eviction_pressure_transition_period,
        default.transition,
    );
    let image_min_age =
        span("imageMinimumGCAge", &from.image_minimum_gc_age, default.image_min_age);
    let whole = span("shutdownGracePeriod", &from.shutdown_grace_period, SimDuration::ZERO);
    let critical = span(
        "shutdownGracePeriodCriticalPods",
        &from.shutdown_grace_period_critical_pods,
        SimDuration::ZERO,
    );
    let log_interval = span(
        "containerLogMonitorInterval",
        &from.container_log_monitor_interval,
        default.log_interval,
    );
    if critical > whole {
        let place = at.key("shutdownGracePeriodCriticalPods");
        r.report.error(&place, "is longer than shutdownGracePeriod", "it is a part of it");
    }
    let image_gc = (
        from.image_gc_high_threshold_percent.unwrap_or(default.image_gc.0),
        from.image_gc_low_threshold_percent.unwrap_or(default.image_gc.1),
    );
    if image_gc.0 > 100 || image_gc.1 >= image_gc.0 {
        let place = at.key("imageGCLowThresholdPercent");
        r.report.error(&place, "is not below imageGCHighThresholdPercent", "write 80 and 85");
    }
    let mut amount = |field: &str, given: &Option<Quantity>, or: i64| {
        let Some(text) = given else { return or };
        let amount = r.report.take(&at.key(field), value::amount(&text.0), QUANTITY_HINT);
        amount.map_or(or, |a| a.value())
    };
    let (image_fs, pids) =
        (amount("imageFs", &from.image_fs, 0), amount("pids", &from.pids, default.pids));
    KubeletConfig {
        reserved,
        thresholds: r.thresholds(from),
        transition,
        max_pod_grace_s: from.eviction_max_pod_grace_period.unwrap_or(0),
        parallel_pulls: parallel(from, at, r.report),
        image_gc,
        image_min_age,
        shutdown: (whole, critical),
        pids,
        image_fs,
        system: r.amounts("systemUsage", &from.system_usage),
        log_files: log_files(from, at, r.report),
        log_interval: interval(log_interval, at, r.report),
    }
}

/// Size and number of the files of a container's log (source: `container_log_manager.go`
/// `NewContainerLogManager`, which takes no fewer than two).
fn log_files(from: &Kubelet, at: &Place, report: &mut Report) -> (u64, u32) {
    let (mut size, mut files) = KubeletConfig::default().log_files;
    if let Some(text) = &from.container_log_max_size {
        let place = at.key("containerLogMaxSize");
        let amount = report.take(&place, value::amount(&text.0), QUANTITY_HINT);
        size = amount.map_or(size, |a| u64::try_from(a.value()).unwrap_or(0));
        if size == 0 {
            report.error(&place, "a log of no size", "write 10Mi");
        }
    }
    if let Some(number) = from.container_log_max_files {
        files = number;
        if number < 2 {
            let hint = "write 2 or more: the kubelet does not start with fewer";
            report.error(&at.key("containerLogMaxFiles"), format!("{number} files"), hint);
        }
    }
    (size, files)
}

/// The kubelet looks no more often than every three seconds (source:
/// `apis/config/validation/validation.go`).
fn interval(interval: SimDuration, at: &Place, report: &mut Report) -> SimDuration {
    const LEAST: SimDuration = SimDuration::from_secs(3);
    if interval < LEAST {
        let place = at.key("containerLogMonitorInterval");
        report.error(&place, format!("{interval} is too short"), "write 3s or more");
    }
    interval
}

/// Pulls at one time. More than one need `serializeImagePulls: false` (source:
/// `apis/config/validation/validation.go`); without a number of their own they have no bound.
fn parallel(from: &Kubelet, at: &Place, report: &mut Report) -> u32 {
    let serial = from.serialize_image_pulls.unwrap_or(from.max_parallel_image_pulls.is_none());
    match (serial, from.max_parallel_image_pulls) {
        (_, Some(0)) => {
            report.error(&at.key("maxParallelImagePulls"), "is zero", "write 1 or more");
            1
        }
        (true, Some(2..)) => {
            let hint = "write serializeImagePulls: false beside it";
            report.error(&at.key("maxParallelImagePulls"), "pulls are serialized", hint);
            1
        }
        (true, _) => 1,
        (false, most) => most.unwrap_or(u32::MAX),
    }
}
