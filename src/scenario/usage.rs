//! What the pods of a workload use: the section `usage:` of a scenario.

use super::objects::Known;
use super::place::Place;
use super::report::Report;
use super::target::{self, Target};
use super::value::{self, QUANTITY_HINT, Quantity, SPAN_HINT, Span};
use crate::api::Selector;
use crate::engine::{SimTime, Sym};
use crate::event::usage::{Course, Load};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the pods of a workload use, as a metrics server scrapes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Usage {
    /// The workload: `deployment/web`. Without one the metrics belong to no pod.
    pub workload: Option<String>,
    /// Namespace of metrics that belong to no pod; `default` if not given.
    pub namespace: Option<String>,
    /// Which container uses cpu, memory, storage and processes; the first one by default.
    pub container: Option<String>,
    /// CPU, in cores.
    pub cpu: Option<Amounts>,
    /// Memory, in bytes. Above its limit a container is killed; a node that runs short evicts.
    pub memory: Option<Amounts>,
    /// Writable layers, logs and emptyDir volumes, in bytes: for the kubelet alone.
    pub ephemeral_storage: Option<Amounts>,
    /// Processes: for the kubelet alone.
    pub pids: Option<Amounts>,
    /// Custom metrics of the pods, or external ones, by name.
    #[serde(default)]
    pub metrics: BTreeMap<String, Amounts>,
}

/// An amount of each pod, or of all ready pods together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amounts {
    /// What each pod uses.
    pub per_pod: Option<Amount>,
    /// What all ready pods use together, in equal shares; of a metric without pods, its value.
    pub total: Option<Amount>,
}

/// How an amount goes over time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "read once per scenario")]
pub enum Amount {
    /// Always the same.
    Constant(Quantity),
    /// Steps or a random walk.
    Changing(Changing),
}

/// An amount that changes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changing {
    /// From each instant on, this amount.
    pub series: Option<Vec<Point>>,
    /// A random walk, one step per scrape; no kubelet feels it.
    pub walk: Option<Walk>,
    /// Growth from the start of each container's run, as of a leak.
    pub growth: Option<Growth>,
}

/// Growth from the start of a run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Growth {
    /// First amount.
    pub start: Quantity,
    /// Growth per minute.
    pub per_minute: Quantity,
    /// Greatest amount.
    pub max: Quantity,
}

/// A point of a series.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Point {
    /// When, from the start of the run.
    pub at: Span,
    /// The amount from then on.
    pub value: Quantity,
}

/// A random walk within bounds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Walk {
    /// First amount.
    pub start: Quantity,
    /// Largest step, up or down.
    pub step: Quantity,
    /// Least amount.
    pub min: Quantity,
    /// Greatest amount.
    pub max: Quantity,
}

/// The loads of one entry.
pub(crate) fn loads(from: &Usage, known: &Known, at: &Place, report: &mut Report) -> Vec<Load> {
    let (ns, pods) = match &from.workload {
        Some(text) => {
            let place = at.key("workload");
            let Some(target) = report.take(&place, Target::parse(text), target::HINT) else {
                return Vec::new();
            };
            if !known.check_target(&target, &place, report) {
                return Vec::new();
            }
            let Some(selector) = known.selector_of(&target) else {
                report.error(&place, format!("{target} has no pods"), "name a workload");
                return Vec::new();
            };
            (target.ns, Some(selector))
        }
        None => (Sym::new(from.namespace.as_deref().unwrap_or("default")), None),
    };
    let named = [
        ("cpu", "cpu", &from.cpu),
        ("memory", "memory", &from.memory),
        ("ephemeral-storage", "ephemeralStorage", &from.ephemeral_storage),
        ("pids", "pids", &from.pids),
    ];
    let named =
        named.into_iter().filter_map(|(name, field, a)| Some((name, at.key(field), a.as_ref()?)));
    let custom =
        from.metrics.iter().map(|(name, a)| (name.as_str(), at.key("metrics").key(name), a));
    let mut loads = Vec::new();
    for (name, place, amounts) in named.chain(custom) {
        loads.extend(load((ns, pods.as_ref()), name, amounts, &place, report));
    }
    let container = from.container.as_deref().unwrap_or_default();
    for load in &mut loads {
        load.container = Sym::new(container);
    }
    if loads.is_empty() && !report.failed() {
        report.error(at, "says nothing of any metric", "write cpu:, memory: or metrics:");
    }
    loads
}

fn load(
    (ns, pods): (Sym, Option<&Selector>),
    name: &str,
    amounts: &Amounts,
    at: &Place,
    report: &mut Report,
) -> Option<Load> {
    let (shared, field, amount) = match (&amounts.per_pod, &amounts.total) {
        (Some(amount), None) => (false, "perPod", amount),
        (None, Some(amount)) => (true, "total", amount),
        (Some(_), Some(_)) | (None, None) => {
            report.error(
                at,
                "needs one of perPod and total",
                "write {total: 900m} or {perPod: 100m}",
            );
            return None;
        }
    };
    let course = course(amount, &at.key(field), report)?;
    let (pods, metric, container) = (pods.cloned(), Sym::new(name), Sym::EMPTY);
    if matches!(course, Course::Growth { .. }) && (shared || pods.is_none()) {
        report.error(&at.key(field), "growth is that of a container", "write it below perPod");
    }
    Some(Load { ns, pods, container, metric, shared, course })
}

fn milli(text: &Quantity, at: &Place, report: &mut Report) -> Option<i64> {
    let amount = report.take(at, value::amount(&text.0), QUANTITY_HINT)?;
    Some(amount.milli_value())
}

fn course(amount: &Amount, at: &Place, report: &mut Report) -> Option<Course> {
    let changing = match amount {
        Amount::Constant(text) => return milli(text, at, report).map(Course::Constant),
        Amount::Changing(changing) => changing,
    };
    match (&changing.series, &changing.walk, &changing.growth) {
        (Some(points), None, None) => series(points, &at.key("series"), report),
        (None, None, Some(growth)) => {
            let place = at.key("growth");
            let mut one = |field: &str, text| milli(text, &place.key(field), report);
            let (start, max) = (one("start", &growth.start)?, one("max", &growth.max)?);
            let per_minute = one("perMinute", &growth.per_minute)?;
            if per_minute <= 0 || max < start {
                report.error(&place, "does not grow", "perMinute above 0, and start ≤ max");
                return None;
            }
            Some(Course::Growth { start, per_minute, max })
        }
        (None, Some(walk), None) => {
            let place = at.key("walk");
            let mut one = |field: &str, text| milli(text, &place.key(field), report);
            let start = one("start", &walk.start)?;
            let (step, min, max) =
                (one("step", &walk.step)?, one("min", &walk.min)?, one("max", &walk.max)?);
            if !(min..=max).contains(&start) {
                report.error(&place, "start lies outside min and max", "min ≤ start ≤ max");
                return None;
            }
            Some(Course::Walk { start, step, min, max })
        }
        _other => {
            let hint = "or write the amount itself";
            report.error(at, "needs one of series, walk and growth", hint);
            None
        }
    }
}

fn series(points: &[Point], at: &Place, report: &mut Report) -> Option<Course> {
    let mut steps = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let place = at.item(i);
        let from = report.take(&place.key("at"), value::span(&point.at.0), SPAN_HINT)?;
        let from = SimTime(from.0);
        if steps.last().is_some_and(|(last, _)| *last >= from) {
            report.error(
                &place.key("at"),
                "does not come after the point before",
                "sort the points by time",
            );
            return None;
        }
        steps.push((from, milli(&point.value, &place.key("value"), report)?));
    }
    Some(Course::Series(steps.into()))
}
