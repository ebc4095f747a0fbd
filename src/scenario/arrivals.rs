//! Arrival processes of the file to those of the plan.

use super::error::InputErrors;
use super::file::{self, DrawnAmount, LifetimeStart, PodShort};
use super::objects::Known;
use super::place::Place;
use super::report::Report;
use super::value::{self, DIST_HINT, QUANTITY_HINT, SPAN_HINT, Span};
use super::{names, plan_pod};
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Amount, Arrival, LifetimeFrom, Made, Process};
use crate::engine::{Dist, SimDuration, SimTime};
use std::sync::Arc;

/// An arrival process; none if anything is wrong with it.
pub(crate) fn arrival(
    from: &file::Arrival,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Arrival> {
    if let Err(why) = names::subdomain(&from.name) {
        report.error(&at.key("name"), why, names::HINT);
    }
    let ns = from.namespace.as_deref().unwrap_or("default");
    known.check_namespace(ns, &at.key("namespace"), report);
    let (start, end) = window(from, at, report);
    let duration = optional_dist(from.duration.as_ref(), &at.key("duration"), report);
    let lifetime = optional_dist(from.lifetime.as_ref(), &at.key("lifetime"), report);
    let made = made(from, duration.is_some(), known, at, report);
    let process = process(from, at, report);
    let requests = at.key("requests");
    let cpu = from.requests.cpu.as_ref();
    let memory = from.requests.memory.as_ref();
    let cpu_milli = cpu.and_then(|a| amount(a, true, &requests.key("cpu"), report));
    let memory = memory.and_then(|a| amount(a, false, &requests.key("memory"), report));
    Some(Arrival {
        name: from.name.as_str().into(),
        ns: ns.into(),
        made: made?,
        process: process?,
        start,
        end,
        count: from.count.unwrap_or(u32::MAX),
        cpu_milli,
        memory,
        duration,
        lifetime,
        lifetime_from: match from.lifetime_from {
            LifetimeStart::Running => LifetimeFrom::Running,
            LifetimeStart::Creation => LifetimeFrom::Creation,
        },
        tuning: None,
    })
}

/// An instant of the file; noted and replaced if it cannot be read.
pub(crate) fn instant(text: &Span, at: &Place, report: &mut Report) -> SimTime {
    let span = report.take(at, value::span(&text.0), SPAN_HINT).unwrap_or_default();
    SimTime::ZERO + span
}

fn window(from: &file::Arrival, at: &Place, report: &mut Report) -> (SimTime, SimTime) {
    let start = from.start.as_ref().map_or(SimTime::ZERO, |s| instant(s, &at.key("start"), report));
    let end = from.end.as_ref().map_or(SimTime::MAX, |s| instant(s, &at.key("end"), report));
    if end < start {
        let problem = format!("ends at {end}, before it starts at {start}");
        report.error(&at.key("end"), problem, "both count from the start of the run");
    }
    (start, end)
}

fn optional_dist(spec: Option<&value::DistSpec>, at: &Place, report: &mut Report) -> Option<Dist> {
    spec.and_then(|spec| report.take(at, value::dist(spec), DIST_HINT))
}

fn process(from: &file::Arrival, at: &Place, report: &mut Report) -> Option<Process> {
    match (&from.every, &from.poisson) {
        (Some(every), None) => {
            let at = at.key("every");
            let gap = report.take(&at, value::span(&every.0), SPAN_HINT)?;
            if gap == SimDuration::ZERO {
                report.error(&at, "a period of zero never ends", "give a span above zero");
            }
            Some(Process::Every(gap))
        }
        (None, Some(rate)) => report
            .take(&at.key("poisson"), value::mean_gap(&rate.0), "write 10/s or 600/h")
            .map(Process::Poisson),
        (Some(_), Some(_)) => {
            report.error(at, "every and poisson are both given", "keep one of them");
            None
        }
        (None, None) => {
            report.error(at, "says not how often", "write every: 5s or poisson: 10/s");
            None
        }
    }
}

fn made(
    from: &file::Arrival,
    ends: bool,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Made> {
    match (&from.pod, &from.job) {
        (Some(pod), None) => template(pod, ends, known, &at.key("pod"), report).map(Made::Pod),
        (None, Some(job)) => template(job, true, known, &at.key("job"), report).map(Made::Job),
        (Some(_), Some(_)) => {
            report.error(at, "pod and job are both given", "keep one of them");
            None
        }
        (None, None) => {
            report.error(at, "says not what arrives", "write pod: or job:");
            None
        }
    }
}

fn template(
    short: &PodShort,
    ends: bool,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Arc<PodTemplate>> {
    if let Some(class) = &short.priority_class_name {
        known.check_priority_class(class, &at.key("priorityClassName"), report);
    }
    let Some(document) = &short.template else {
        return Some(Arc::new(plan_pod::template(short, ends, at, report)));
    };
    let short_fields = short.cpu.is_some() || short.memory.is_some() || short.image.is_some();
    if short_fields || !short.labels.is_empty() || !short.resources.is_empty() {
        report.error(
            &at.key("template"),
            "a template stands beside fields of the short form",
            "put everything into the template",
        );
    }
    let at = at.key("template");
    match super::objects::pod_template(document, ends) {
        Ok(template) => Some(Arc::new(template)),
        Err(errors) => {
            nested(&errors, &at, report);
            None
        }
    }
}

/// Errors of an inline object, told at the place of the object.
pub(crate) fn nested(errors: &InputErrors, at: &Place, report: &mut Report) {
    for error in errors {
        let below = Place::parse(&error.field).unwrap_or_default();
        let place = Place(at.0.iter().chain(&below.0).cloned().collect());
        report.error(&place, &error.problem, &error.hint);
    }
}

/// A drawn amount; none if anything is wrong with it.
pub(crate) fn amount(
    from: &DrawnAmount,
    milli: bool,
    at: &Place,
    report: &mut Report,
) -> Option<Amount> {
    let mut read = |field: &str, quantity: &value::Quantity| {
        let exact = report.take(&at.key(field), value::amount(&quantity.0), QUANTITY_HINT)?;
        Some(if milli { exact.milli_value() } else { exact.value() })
    };
    let (base, step) = (read("base", &from.base)?, read("step", &from.step)?);
    let greatest = step.checked_mul(i64::from(from.steps)).and_then(|s| s.checked_add(base));
    if greatest.is_none() {
        report.error(at, "the greatest amount does not fit 63 bits", "");
    }
    Some(Amount { base, step, steps: from.steps })
}
