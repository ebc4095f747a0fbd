//! Assertions and pins of the file to those of the plan.

use super::file;
use super::objects::Known;
use super::place::Place;
use super::report::Report;
use super::target::Target;
use super::value::{self, SPAN_HINT, Span};
use crate::api::Kind;
use crate::cluster::spec::{EventMatch, Expect, Pin, RecoveryBounds, Refusals};
use crate::engine::{SimDuration, Sym, num};

/// What can be expected alone, never its contrary.
const UNWISHED: &str = "nothing can be expected not to come true";

/// The assertions of one item: exactly one, unless something is wrong.
pub(crate) fn expect(
    from: &file::Expect,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Expect> {
    let mut all = Vec::new();
    let wishes = [
        ("converged", from.converged, Expect::Converged),
        ("claimsBound", from.claims_bound, Expect::ClaimsBound),
        ("servicesReady", from.services_ready, Expect::ServicesReady),
    ];
    let denied = wishes.iter().any(|(_, wish, _)| *wish == Some(false));
    for (field, wish, expect) in wishes {
        match wish {
            Some(true) => all.push(expect),
            Some(false) => report.error(&at.key(field), UNWISHED, "leave it out"),
            None => {}
        }
    }
    if let Some(available) = &from.available {
        all.extend(self::available(available, known, &at.key("available"), report));
    }
    all.extend(service(from, known, at, report));
    all.extend(from.pending_at_end.map(Expect::PendingAtEnd));
    all.extend(from.bound.map(Expect::Bound));
    if let Some(evicted) = &from.evicted {
        let at_most = evicted.at_most.unwrap_or(u64::MAX);
        if at_most < evicted.at_least {
            report.error(&at.key("evicted"), "atMost is less than atLeast", "exchange them");
        }
        all.push(Expect::Evicted { at_least: evicted.at_least, at_most });
    }
    if let Some(most) = &from.pending_at_most {
        all.push(Expect::PendingAtMost(span(most, &at.key("pendingAtMost"), report)));
    }
    all.extend(from.restarts.map(Expect::Restarts));
    if let Some(refused) = &from.refused {
        all.push(self::refused(refused, &at.key("refused"), report));
    }
    all.extend(
        from.warned.as_ref().map(|w| Expect::Warned {
            message: w.message.clone(),
            at_least: w.at_least.unwrap_or(1),
        }),
    );
    if let Some(event) = &from.event {
        all.push(self::event(event, &at.key("event"), report));
    }
    all.extend(
        from.logs
            .as_ref()
            .map(|logs| Expect::Logs(super::logging::expect(logs, known, &at.key("logs"), report))),
    );
    all.extend(from.cost.as_ref().and_then(|c| cost(c, &at.key("cost"), report)));
    if all.len() > 1 {
        report.error(at, "more than one assertion in one item", "give each a dash of its own");
    } else if all.is_empty() && !denied && from.available.is_none() {
        report.error(
            at,
            "asserts nothing",
            "possible here: converged, claimsBound, servicesReady, available, downtime, shortReplicas, recovery, requests, logs, cost, pendingTotal, lostWork, pendingAtEnd, bound, evicted, pendingAtMost, restarts, refused, warned, event",
        );
    }
    all.pop()
}

/// What machines may cost.
fn cost(from: &super::cloud::ExpectCost, at: &Place, report: &mut Report) -> Option<Expect> {
    let micro = u64::try_from(num::round(from.at_most * 1e6)).ok();
    let micro = micro.filter(|_| from.at_most.is_finite());
    let at_most_micro = report.take(
        &at.key("atMost"),
        micro.ok_or_else(|| format!("{} is no cost", from.at_most)),
        "write a number above zero",
    )?;
    Some(Expect::Cost { pool: from.pool.clone(), at_most_micro })
}

/// What workloads may lose.
fn service(from: &file::Expect, known: &Known, at: &Place, report: &mut Report) -> Vec<Expect> {
    let mut all = Vec::new();
    if let Some(downtime) = &from.downtime {
        let at = at.key("downtime");
        let workload = workload(downtime.workload.as_ref(), known, &at, report);
        let at_most = span(&downtime.at_most, &at.key("atMost"), report);
        all.push(Expect::Downtime { workload, need: downtime.min_available, at_most });
    }
    if let Some(short) = &from.short_replicas {
        let at = at.key("shortReplicas");
        let workload = workload(short.workload.as_ref(), known, &at, report);
        let at_most = span(&short.at_most, &at.key("atMost"), report);
        all.push(Expect::ShortReplicas { workload, at_most });
    }
    if let Some(stages) = &from.recovery {
        let at = at.key("recovery");
        let mut stage = |field: &str, given: &Option<Span>| {
            given.as_ref().map(|text| span(text, &at.key(field), report))
        };
        let bounds = RecoveryBounds {
            detected: stage("detected", &stages.detected),
            evicted: stage("evicted", &stages.evicted),
            rescheduled: stage("rescheduled", &stages.rescheduled),
            ready: stage("ready", &stages.ready),
        };
        if bounds == RecoveryBounds::default() {
            let hint = "give detected, evicted, rescheduled or ready";
            report.error(&at, "bounds no stage", hint);
        }
        all.push(Expect::Recovery(bounds));
    }
    all.extend(from.requests.as_ref().and_then(|r| {
        super::traffic::expect(r, &at.key("requests"), report).map(Expect::Requests)
    }));
    let mut total = |field: &str, given: &Option<Span>| {
        given.as_ref().map(|text| span(text, &at.key(field), report))
    };
    all.extend(total("pendingTotal", &from.pending_total).map(Expect::PendingTotal));
    all.extend(total("lostWork", &from.lost_work).map(Expect::LostWork));
    all
}

/// The workload that an assertion names.
fn workload(
    name: Option<&String>,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<String> {
    let place = at.key("workload");
    let target = report.take(&place, Target::parse(name?), super::target::HINT)?;
    if target.kind == Kind::DaemonSet || target.scalable(&place, report) {
        known.check_target(&target, &place, report);
    }
    Some(target.path())
}

/// Codes that an answer of the model can have.
const CODES: [u16; 7] = [401, 403, 404, 409, 422, 429, 500];
/// Reasons that an answer of the model can have.
const REASONS: [&str; 8] = [
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "AlreadyExists",
    "Conflict",
    "Invalid",
    "TooManyRequests",
    "InternalError",
];

fn kind(word: Option<&String>, at: &Place, report: &mut Report) -> Option<Kind> {
    let kind = super::target::kind(word?);
    report.take(&at.key("kind"), kind, "write pod, deployment, node or another kind")
}

/// Least and greatest number; none at all is what `atMost: 0` alone says.
fn bounds(least: Option<u64>, most: Option<u64>, at: &Place, report: &mut Report) -> (u64, u64) {
    let (at_least, at_most) =
        (least.unwrap_or(u64::from(most != Some(0))), most.unwrap_or(u64::MAX));
    if at_most < at_least {
        report.error(at, "atMost is less than atLeast", "exchange them");
    }
    (at_least, at_most)
}

fn event(from: &file::ExpectEvent, at: &Place, report: &mut Report) -> Expect {
    let which = Box::new(EventMatch {
        kind: kind(from.kind.as_ref(), at, report),
        name: from.name.clone(),
        reason: from.reason.as_deref().map(Sym::new),
        message: from.message.clone(),
    });
    let (at_least, at_most) = bounds(from.at_least, from.at_most, at, report);
    Expect::Event { which, at_least, at_most }
}

fn refused(from: &file::ExpectRefused, at: &Place, report: &mut Report) -> Expect {
    let kind = kind(from.kind.as_ref(), at, report);
    if let Some(code) = from.code.filter(|c| !CODES.contains(c)) {
        let list = CODES.map(|c| c.to_string()).join(", ");
        report.error(
            &at.key("code"),
            format!("no answer has code {code}"),
            format!("one of {list}"),
        );
    }
    if let Some(reason) = from.reason.as_deref().filter(|r| !REASONS.contains(r)) {
        let hint = super::place::suggest(reason, &REASONS);
        report.error(&at.key("reason"), format!("no answer has reason {reason:?}"), hint);
    }
    let (at_least, at_most) = bounds(from.at_least, from.at_most, at, report);
    let which = Box::new(Refusals {
        user: from.user.clone(),
        verb: from.verb.clone(),
        kind,
        code: from.code,
        reason: from.reason.clone(),
        message: from.message.clone(),
    });
    Expect::Refused { which, at_least, at_most }
}

fn span(text: &Span, at: &Place, report: &mut Report) -> SimDuration {
    report.take(at, value::span(&text.0), SPAN_HINT).unwrap_or_default()
}

fn available(
    from: &file::ExpectAvailable,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Expect> {
    let place = at.key("workload");
    let target = report.take(&place, Target::parse(&from.workload), super::target::HINT)?;
    if target.scalable(&place, report) {
        known.check_target(&target, &place, report);
    }
    let except =
        from.except.as_ref().map_or(SimDuration::ZERO, |s| span(s, &at.key("except"), report));
    Some(Expect::Available { workload: target.path(), at_least: from.at_least, except })
}

/// A pin.
pub(crate) fn pin(from: &file::Pin, known: &Known, at: &Place, report: &mut Report) -> Pin {
    if from.prefix.is_empty() {
        report.error(&at.key("prefix"), "is empty, so it would pin every pod", "");
    }
    if from.nodes.is_empty() {
        report.error(&at.key("nodes"), "the list is empty", "name the nodes");
    }
    for (i, node) in from.nodes.iter().enumerate() {
        known.check_node(node, &at.key("nodes").item(i), report);
    }
    Pin { prefix: from.prefix.clone(), nodes: from.nodes.iter().map(|n| Sym::new(n)).collect() }
}
