//! The assertions of a scenario, judged.

use super::downtime::Need;
use super::metrics::Metrics;
use super::pods::State;
use super::service;
use super::standing;
use super::workloads::{WorkloadRow, longest_below};
use crate::api::workload::IntOrPercent;
use crate::cluster::spec::{EventMatch, Expect, Refusals};
use crate::engine::{SimDuration, num};
use serde::Serialize;

/// The verdict on one assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// It holds.
    pub pass: bool,
    /// What was expected.
    pub expected: String,
    /// What was observed.
    pub observed: String,
}

/// Judges all assertions of the plan, after the end of the run.
#[must_use]
pub fn judge(metrics: &Metrics) -> Vec<Verdict> {
    metrics.plan.expect.iter().map(|expect| one(expect, metrics)).collect()
}

fn cost(metrics: &Metrics, pool: Option<&str>, at_most: u64) -> Verdict {
    let spent = metrics.bills.as_deref().map_or(0, |bills| bills.micro(pool));
    let money = |micro: u128| format!("{:.2}", num::float_wide(micro) / 1e6);
    let whose = pool.map_or_else(|| "machines".to_owned(), |pool| format!("machines of {pool}"));
    let most = u128::from(at_most);
    verdict(spent <= most, format!("{whose} cost at most {}", money(most)), money(spent))
}

const SERVED: &str = "every Service with a selector has a ready endpoint";

fn one(expect: &Expect, metrics: &Metrics) -> Verdict {
    match expect {
        Expect::Converged => converged(metrics),
        Expect::Available { workload, at_least, except } => {
            available(metrics, workload, *at_least, *except)
        }
        Expect::Downtime { workload, need, at_most } => {
            let need = need.map(|n| Need::Least(IntOrPercent::Int(n)));
            service::downtime(metrics, workload.as_deref(), need, *at_most)
        }
        Expect::ShortReplicas { workload, at_most } => {
            service::short(metrics, workload.as_deref(), *at_most)
        }
        Expect::Recovery(bounds) => service::recovery(metrics, bounds),
        Expect::Requests(wanted) => super::traffic::judge(&metrics.traffic, wanted),
        Expect::ClaimsBound => standing::judge(&metrics.standing.claims, "every claim bound"),
        Expect::ServicesReady => standing::judge(&metrics.standing.services, SERVED),
        Expect::Logs(wanted) => super::logs::judge(&metrics.logs, wanted),
        Expect::PendingTotal(most) => service::pending(metrics, *most),
        Expect::LostWork(most) => service::lost(metrics, *most),
        Expect::PendingAtEnd(most) => {
            let pending = pending(metrics);
            verdict(
                pending <= *most,
                format!("at most {most} pods Pending at the end"),
                format!("{pending}"),
            )
        }
        Expect::Bound(least) => {
            let bound = metrics.totals.bound;
            verdict(bound >= *least, format!("at least {least} pods bound"), format!("{bound}"))
        }
        Expect::Evicted { at_least, at_most } => {
            let evicted = metrics.totals.evicted;
            let range = match (*at_least, *at_most) {
                (least, u64::MAX) => format!("at least {least}"),
                (0, most) => format!("at most {most}"),
                (least, most) => format!("{least} to {most}"),
            };
            let pass = (*at_least..=*at_most).contains(&evicted);
            verdict(pass, format!("{range} pods evicted"), format!("{evicted}"))
        }
        Expect::PendingAtMost(most) => {
            let longest = SimDuration(metrics.longest_wait);
            verdict(
                longest <= *most,
                format!("no pod waits for a node longer than {most}"),
                format!("longest {longest}"),
            )
        }
        Expect::Refused { which, at_least, at_most } => {
            refused(metrics, which, (*at_least, *at_most))
        }
        Expect::Event { which, at_least, at_most } => event(metrics, which, (*at_least, *at_most)),
        Expect::Cost { pool, at_most_micro } => cost(metrics, pool.as_deref(), *at_most_micro),
        Expect::Warned { message, at_least } => {
            let count = metrics.refusals.count_warnings(message);
            let expected = format!("at least {at_least} warnings with {message:?}");
            verdict(count >= *at_least, expected, format!("{count}"))
        }
        Expect::Restarts(least) => {
            let restarts = metrics.totals.restarts;
            verdict(
                restarts >= *least,
                format!("at least {least} container restarts"),
                format!("{restarts}"),
            )
        }
    }
}

/// `at least 3`, `at most 5`, `3 to 5`.
fn range((at_least, at_most): (u64, u64)) -> String {
    match (at_least, at_most) {
        (least, u64::MAX) => format!("at least {least}"),
        (0, 0) => "no".to_owned(),
        (0, most) => format!("at most {most}"),
        (least, most) if least == most => format!("{least}"),
        (least, most) => format!("{least} to {most}"),
    }
}

fn refused(metrics: &Metrics, which: &Refusals, bounds: (u64, u64)) -> Verdict {
    let mut words = Vec::new();
    words.extend(which.user.as_ref().map(|u| format!("by {u}")));
    words.extend(which.verb.as_ref().map(|v| format!("to {v}")));
    words.extend(which.kind.map(|k| format!("a {}", k.name())));
    words.extend(which.code.map(|c| format!("with {c}")));
    words.extend(which.reason.clone());
    words.extend(which.message.as_ref().map(|m| format!("saying {m:?}")));
    let expected = format!("{} requests {} refused", range(bounds), words.join(" "));
    let expected = expected.replace("  ", " ");
    let count = metrics.refusals.count(which);
    let mut observed = count.to_string();
    if count == 0 && bounds.0 > 0 {
        let all = metrics.refusals.table();
        if let Some(other) = all.iter().find(|r| r.notable) {
            let other = format!("{} {} {}: {}", other.user, other.verb, other.kind, other.message);
            observed = format!("0, but there is: {other}");
        }
    }
    verdict((bounds.0..=bounds.1).contains(&count), expected, observed)
}

fn event(metrics: &Metrics, which: &EventMatch, bounds: (u64, u64)) -> Verdict {
    let mut words = vec![range(bounds), "Events".to_owned()];
    words.extend(which.reason.map(|r| r.to_string()));
    let object = [which.kind.map(|k| k.name().to_owned()), which.name.clone()];
    let object: Vec<String> = object.into_iter().flatten().collect();
    if !object.is_empty() {
        words.push(format!("of {}", object.join(" ")));
    }
    words.extend(which.message.as_ref().map(|m| format!("saying {m:?}")));
    let found = metrics.expected_events.iter().find(|(wanted, _)| wanted == which);
    let count = found.map_or(0, |(_, count)| *count);
    verdict((bounds.0..=bounds.1).contains(&count), words.join(" "), count.to_string())
}

pub(super) fn verdict(pass: bool, expected: String, observed: String) -> Verdict {
    Verdict { pass, expected, observed }
}

/// Pods in phase Pending now.
fn pending(metrics: &Metrics) -> u32 {
    let states = &metrics.gauges.states;
    states[State::Waiting.index()] + states[State::Starting.index()]
}

fn converged(metrics: &Metrics) -> Verdict {
    let short: Vec<String> = metrics
        .workloads
        .rows
        .iter()
        .filter(|w| w.serves() && w.available < w.desired)
        .map(|w| format!("{} {}/{}", w.label, w.available, w.desired))
        .collect();
    let pending = pending(metrics);
    let mut observed = Vec::new();
    if !short.is_empty() {
        observed.push(format!("short at the end: {}", listed(&short, 3)));
    }
    if pending > 0 {
        observed.push(format!("{} Pending", super::text::count(u64::from(pending), "pod")));
    }
    let pass = observed.is_empty();
    let observed = if pass { "so it is".to_owned() } else { observed.join("; ") };
    verdict(pass, "all workloads full and no pod Pending at the end".to_owned(), observed)
}

/// The first few of a list, and how many more there are.
#[must_use]
pub fn listed(items: &[String], most: usize) -> String {
    let shown = items.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > most { format!("{shown} and {} more", items.len() - most) } else { shown }
}

fn available(metrics: &Metrics, name: &str, at_least: i32, except: SimDuration) -> Verdict {
    let expected = if except == SimDuration::ZERO {
        format!("{name} never below {at_least} available")
    } else {
        format!("{name} never below {at_least} available for longer than {except}")
    };
    let Some(row) = find(&metrics.workloads.rows, name).map(|i| &metrics.workloads.rows[i]) else {
        return verdict(false, expected, unknown(metrics));
    };
    match longest_below(&row.timeline, at_least, metrics.ended) {
        None => {
            let best = row.timeline.iter().map(|p| p.available).max().unwrap_or(0);
            verdict(false, expected, format!("it never had more than {best}"))
        }
        Some(SimDuration::ZERO) => verdict(true, expected, "never below".to_owned()),
        Some(longest) => verdict(
            longest <= except,
            expected,
            format!("below for {longest} at the longest stretch"),
        ),
    }
}

/// What there is in place of a workload that is not there.
pub(super) fn unknown(metrics: &Metrics) -> String {
    let rows = metrics.workloads.rows.iter().filter(|w| w.serves());
    let known: Vec<String> = rows.map(|w| w.label.clone()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { listed(&known, 5) };
    format!("no such workload; there are: {known}")
}

/// A workload by `kind/name` or `kind/namespace/name`.
pub(super) fn find(rows: &[WorkloadRow], name: &str) -> Option<usize> {
    let long = name.replacen("/default/", "/", 1);
    rows.iter().position(|w| w.label.eq_ignore_ascii_case(&long))
}
