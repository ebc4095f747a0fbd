//! An explanation of a pod as text, as JSON, and as the annotations that kube-scheduler-simulator's
//! web page reads (names: its `simulator/scheduler/plugin/annotation`; values: `resultstore`).

use crate::control_plane::scheduler::evaluate::{
    Evaluation, NamedCandidate, PluginScores, PostFilterPart,
};
use crate::control_plane::scheduler::explain::{Rehearsal, Wait, Whereabouts, moved_by};
use crate::control_plane::scheduler::queue::Place;
use crate::control_plane::scheduler::report::Rejection;
use crate::control_plane::scheduler::ties::TieRule;
use crate::engine::{SimTime, Sym};
use crate::session::explain::{Cycle, Explanation};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Nodes whose scores are shown as text.
const COLUMNS: usize = 4;
/// Names shown of a group of nodes.
const NAMES: usize = 3;

/// A tie rule in words.
fn tie_rule(rule: TieRule) -> &'static str {
    match rule {
        TieRule::Uniform => "uniform (a seeded draw)",
        TieRule::Upstream => "upstream (the heap order of 1.35)",
        TieRule::First => "first (the first one found)",
        TieRule::Name => "name (the smallest name)",
        TieRule::NodeOrderPerRun => "node-order-per-run (one shuffled order)",
    }
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Active => "in activeQ, ready to be tried",
        Place::Backoff => "in podBackoffQ",
        Place::ErrorBackoff => "in podErrorBackoffQ (something went wrong, no plugin is to blame)",
        Place::Unschedulable => "unschedulable",
        Place::Gated => "gated by PreEnqueue",
        Place::InHand => "in a scheduling cycle",
    }
}

/// `a, b, c and 4 more`.
fn some(names: &[Sym]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(|n| n.as_str()).collect();
    let more = names.len() - shown.len();
    let list = shown.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

/// The explanation as text.
#[must_use]
pub fn render(e: &Explanation) -> String {
    let mut out = format!("pod {}/{} at {}: {}\n", e.ns, e.name, e.at, standing(e));
    if let Some(cycle) = &e.cycle {
        let r = &cycle.rehearsal;
        let result =
            if cycle.node.is_empty() { "no node".to_owned() } else { format!("{}", cycle.node) };
        line(
            &mut out,
            &format!(
                "\nscheduling cycle {} of the run, at {}: attempt {}, profile {}: {result}",
                cycle.number, cycle.time, r.attempt, r.profile
            ),
        );
        rehearsal(&mut out, r);
        if cycle.node.is_empty() && r.evaluation.pick.is_some() {
            line(&mut out, "a plugin gave the node up in Reserve or Permit");
        }
    } else if let Some(r) = &e.would {
        line(
            &mut out,
            &format!("\nnever tried; what a cycle would make of it (profile {}):", r.profile),
        );
        rehearsal(&mut out, r);
    }
    if let Some(Whereabouts::Queued(wait)) = &e.waits {
        queue(&mut out, wait);
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _written = writeln!(out, "{text}");
}

/// The pod's standing in a few words.
fn standing(e: &Explanation) -> String {
    let Some(pod) = &e.pod else { return "gone".to_owned() };
    let phase = pod.status.phase.as_str();
    match &e.waits {
        None if pod.node.is_empty() => phase.to_owned(),
        None if e.cycle.is_none() => {
            format!("{phase} on {}, placed by no scheduling cycle", pod.node)
        }
        None => format!("{phase} on {}", pod.node),
        Some(Whereabouts::Unserved) => {
            format!(
                "pending: no profile of the scheduler serves {:?}",
                pod.spec.scheduler_name.as_str()
            )
        }
        Some(Whereabouts::Unknown) => "pending: the scheduler has not seen it yet".to_owned(),
        Some(Whereabouts::Assumed(node)) => {
            format!("pending: {node} is chosen, the binding is under way")
        }
        Some(Whereabouts::Queued(_)) => "pending".to_owned(),
    }
}

fn rehearsal(out: &mut String, r: &Rehearsal) {
    let e = &r.evaluation;
    if let Some((plugin, reason)) = &e.pre_enqueue {
        line(out, &format!("  {plugin} holds it back: {reason}"));
        return;
    }
    let seen = e.feasible.len() + e.rejected.len();
    let from = if e.unseen > 0 { format!(", from {} on", r.first) } else { String::new() };
    line(out, &format!("  {seen} of {} nodes looked at{from}: {} fit", r.nodes, e.feasible.len()));
    if e.unseen > 0 {
        line(
            out,
            &format!("  {} not looked at: enough nodes fit (percentageOfNodesToScore)", e.unseen),
        );
    }
    if !e.fit_error.is_empty() {
        line(out, &format!("  {}", e.fit_error));
    }
    rejections(out, e);
    if let Some(part) = &e.post_filter {
        preemption(out, part);
    }
    if r.scored() {
        scores(out, e);
        ties(out, r);
    } else if let [only] = e.feasible.as_slice() {
        line(out, &format!("\n{only} is the only one that fits: no scores are asked for"));
    }
}

/// Nodes by why they were rejected: plugin, code, reasons.
fn groups(e: &Evaluation) -> Vec<(&Rejection, Vec<Sym>)> {
    let mut groups: Vec<(&Rejection, Vec<Sym>)> = Vec::new();
    for (node, why) in &e.rejected {
        match groups.iter_mut().find(|(known, _)| *known == why) {
            Some((_, nodes)) => nodes.push(*node),
            None => groups.push((why, vec![*node])),
        }
    }
    groups.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
    groups
}

fn rejections(out: &mut String, e: &Evaluation) {
    if let Some(r) = &e.pre_filter {
        let why = r.reasons.join(", ");
        line(
            out,
            &format!("\nPreFilter of {} refuses the pod: {why} ({})", r.plugin, r.code.as_str()),
        );
    }
    if e.rejected.is_empty() && e.absent.is_none() {
        return;
    }
    line(out, "\nrejected nodes, by the first plugin that objects");
    for (why, nodes) in groups(e) {
        let reasons = why.reasons.join(", ");
        let code = why.code.as_str();
        line(out, &format!("{:>6}  {}: {reasons} ({code})", nodes.len(), why.plugin));
        line(out, &format!("        {}", some(&nodes)));
    }
    if let Some((reason, n)) = &e.absent {
        line(out, &format!("{n:>6}  {reason}"));
    }
}

/// What `PostFilter` thought: who may go where, at whose expense.
fn preemption(out: &mut String, part: &PostFilterPart) {
    let said = &part.said;
    line(out, &format!("\nPostFilter: {}", said.code));
    if !said.message.is_empty() {
        line(out, &format!("  {}", said.message));
    }
    if !part.eligible {
        line(out, "  the pod may not preempt others");
    }
    let named = |c: &&NamedCandidate| part.best.contains(&c.node);
    let best: Vec<&NamedCandidate> = part.candidates.iter().filter(named).collect();
    let (n, m) = (part.candidates.len(), best.len());
    if n > 0 {
        line(
            out,
            &format!("  nodes that would do if pods were preempted: {n}, of which best: {m}"),
        );
    }
    for c in best.iter().take(COLUMNS) {
        let budgets = match c.violations {
            0 => String::new(),
            n => format!(" ({n} against their disruption budgets)"),
        };
        line(out, &format!("    {}: {}{budgets}", c.node, c.victims.join(", ")));
    }
    match &said.nomination {
        Some(n) if n.node.is_empty() => line(out, "  the pod's nomination is void"),
        Some(n) => line(out, &format!("  {} is nominated", n.node)),
        None => {}
    }
}

/// Nodes to show: by total, best first; the taken one comes first.
fn ranking(e: &Evaluation) -> Vec<usize> {
    let mut order: Vec<usize> = (0..e.feasible.len()).collect();
    let taken = |i: &usize| e.pick == Some(e.feasible[*i]);
    order.sort_by_key(|i| (std::cmp::Reverse(e.totals[*i]), !taken(i)));
    order
}

/// What `NormalizeScore` made of a raw score.
fn normalised(scores: &PluginScores, i: usize) -> i64 {
    if scores.weight == 0 { 0 } else { scores.weighted[i] / scores.weight }
}

fn cut(name: &str) -> String {
    if name.chars().count() <= 14 {
        return name.to_owned();
    }
    let skip = name.chars().count() - 13;
    format!("…{}", name.chars().skip(skip).collect::<String>())
}

fn scores(out: &mut String, e: &Evaluation) {
    let order = ranking(e);
    let shown = &order[..order.len().min(COLUMNS)];
    let more = order.len() - shown.len();
    let rest =
        if more > 0 { format!(", best {} of {}", shown.len(), order.len()) } else { String::new() };
    line(out, &format!("\nscores: weighted (raw → normalised){rest}"));
    let head: String =
        shown.iter().map(|&i| format!("{:>16}", cut(e.feasible[i].as_str()))).collect();
    line(out, &format!("  {:<36}{head}", ""));
    for row in &e.scores {
        let cell = |&i: &usize| {
            let text = format!("{} ({}→{})", row.weighted[i], row.raw[i], normalised(row, i));
            format!("{text:>16}")
        };
        let cells: String = shown.iter().map(cell).collect();
        line(out, &format!("  {:<36}{cells}", format!("{} ×{}", row.plugin, row.weight)));
    }
    let totals: String = shown.iter().map(|&i| format!("{:>16}", e.totals[i])).collect();
    line(out, &format!("  {:<36}{totals}", "total"));
    if !e.skipped_scores.is_empty() {
        line(out, &format!("  nothing to score for this pod: {}", e.skipped_scores.join(", ")));
    }
}

fn ties(out: &mut String, r: &Rehearsal) {
    let (best, pick) = (&r.evaluation.best, r.evaluation.pick.unwrap_or_default());
    match best.len() {
        0 | 1 => line(out, &format!("\n{pick} has the highest total")),
        n => line(
            out,
            &format!(
                "\n{n} nodes tie for the highest total ({}); tie rule {} takes {pick}",
                some(best),
                tie_rule(r.ties)
            ),
        ),
    }
}

fn queue(out: &mut String, wait: &Wait) {
    let tried = match wait.attempts {
        0 => "never tried".to_owned(),
        1 => "tried once".to_owned(),
        n => format!("tried {n} times"),
    };
    line(out, &format!("\nqueue: {} since {}, {tried}", place(wait.place), wait.since));
    match wait.place {
        Place::Backoff | Place::ErrorBackoff => {
            line(out, &format!("  the backoff ends at {}", wait.backoff_end));
        }
        Place::Unschedulable => {
            for plugin in &wait.rejectors {
                line(out, &format!("  rejected by {plugin}: moves when {}", moved_by(plugin)));
            }
            line(
                out,
                &format!(
                    "  backoff until {}; tried in any case at {}",
                    wait.backoff_end, wait.at_the_latest
                ),
            );
        }
        Place::Gated => line(out, "  it stays until the gate is removed"),
        Place::Active | Place::InHand => {}
    }
}

/// The explanation as JSON.
#[must_use]
pub fn json(e: &Explanation) -> Value {
    let pod = e.pod.as_ref();
    json!({
        "pod": format!("{}/{}", e.ns, e.name),
        "at_s": seconds(e.at),
        "standing": standing(e),
        "phase": pod.map(|p| p.status.phase.as_str()),
        "node": pod.map(|p| p.node.as_str()).filter(|n| !n.is_empty()),
        "cycle": e.cycle.as_ref().map(cycle_json),
        "would": e.would.as_ref().map(rehearsal_json),
        "queue": e.waits.as_ref().map(waits_json),
    })
}

fn seconds(at: SimTime) -> f64 {
    at.secs_f64()
}

fn cycle_json(c: &Cycle) -> Value {
    let mut out = rehearsal_json(&c.rehearsal);
    out["number"] = c.number.into();
    out["time_s"] = seconds(c.time).into();
    out["seq"] = c.seq.into();
    out["node"] = if c.node.is_empty() { Value::Null } else { c.node.as_str().into() };
    out
}

fn texts(list: &[Sym]) -> Vec<&'static str> {
    list.iter().map(|s| s.as_str()).collect()
}

fn rehearsal_json(r: &Rehearsal) -> Value {
    let e = &r.evaluation;
    let rejected: Vec<Value> = e
        .rejected
        .iter()
        .map(|(node, why)| {
            json!({
                "node": node.as_str(), "plugin": why.plugin, "code": why.code.as_str(),
                "reasons": why.reasons,
            })
        })
        .collect();
    json!({
        "profile": r.profile.as_str(),
        "attempt": r.attempt,
        "nodes": r.nodes,
        "first_node": r.first.as_str(),
        "pre_enqueue": e.pre_enqueue.as_ref().map(|(p, why)| json!({"plugin": p, "reason": why})),
        "pre_filter": e.pre_filter.as_ref().map(|p| json!({
            "plugin": p.plugin, "code": p.code.as_str(), "reasons": p.reasons,
        })),
        "skipped_filters": e.skipped_filters,
        "rejected": rejected,
        "left_out": e.absent.as_ref().map(|(why, n)| json!({"reason": why, "nodes": n})),
        "not_looked_at": e.unseen,
        "feasible": texts(&e.feasible),
        "scores": if r.scored() { scores_json(e) } else { Value::Null },
        "skipped_scores": e.skipped_scores,
        "best": texts(&e.best),
        "tie_rule": tie_rule(r.ties),
        "pick": e.pick.map(Sym::as_str),
        "fit_error": e.fit_error,
        "post_filter": e.post_filter.as_ref().map(preemption_json),
    })
}

fn preemption_json(part: &PostFilterPart) -> Value {
    let candidate = |c: &NamedCandidate| json!({"node": c.node.as_str(), "victims": c.victims, "budget_violations": c.violations});
    let failed = |(node, why): &(Sym, Rejection)| json!({"node": node.as_str(), "code": why.code.as_str(), "reasons": why.reasons});
    json!({
        "code": part.said.code,
        "message": part.said.message,
        "eligible": part.eligible,
        "candidates": part.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "failed": part.failed.iter().map(failed).collect::<Vec<_>>(),
        "best": texts(&part.best),
        "nominated": part.said.nomination.as_ref().map(|n| n.node.as_str()),
    })
}

fn scores_json(e: &Evaluation) -> Value {
    let one = |i: usize| {
        let plugins: Map<String, Value> = e
            .scores
            .iter()
            .map(|s| {
                let value = json!({
                    "raw": s.raw[i], "normalised": normalised(s, i), "weight": s.weight,
                    "weighted": s.weighted[i],
                });
                (s.plugin.to_owned(), value)
            })
            .collect();
        json!({"node": e.feasible[i].as_str(), "total": e.totals[i], "plugins": plugins})
    };
    ranking(e).into_iter().map(one).collect()
}

fn waits_json(waits: &Whereabouts) -> Value {
    match waits {
        Whereabouts::Unserved => json!({"place": "no profile has its schedulerName"}),
        Whereabouts::Unknown => json!({"place": "not seen by the scheduler"}),
        Whereabouts::Assumed(node) => json!({"place": "assumed", "node": node.as_str()}),
        Whereabouts::Queued(wait) => {
            let moved: Map<String, Value> =
                wait.rejectors.iter().map(|p| ((*p).to_owned(), moved_by(p).into())).collect();
            json!({
                "place": place(wait.place),
                "since_s": seconds(wait.since),
                "attempts": wait.attempts,
                "rejected_by": wait.rejectors,
                "moved_by": moved,
                "backoff_end_s": seconds(wait.backoff_end),
                "at_the_latest_s": (wait.place == Place::Unschedulable).then(|| seconds(wait.at_the_latest)),
            })
        }
    }
}

type Table = BTreeMap<&'static str, BTreeMap<&'static str, String>>;
type Row = BTreeMap<&'static str, String>;

/// Node by node what each Filter plugin said: those before the first objection passed.
fn filter_table(r: &Rehearsal) -> Table {
    let e = &r.evaluation;
    let asked: Vec<&'static str> =
        r.at("filter").iter().copied().filter(|p| !e.skipped_filters.contains(p)).collect();
    let passed =
        |list: &[&'static str]| -> Row { list.iter().map(|p| (*p, "passed".to_owned())).collect() };
    let mut table = Table::new();
    for node in &e.feasible {
        table.insert(node.as_str(), passed(&asked));
    }
    for (node, why) in &e.rejected {
        let before = asked.iter().position(|p| *p == why.plugin).unwrap_or(0);
        let mut row = passed(&asked[..before]);
        row.insert(why.plugin, why.reasons.join(", "));
        table.insert(node.as_str(), row);
    }
    table
}

fn score_table(e: &Evaluation, value: impl Fn(&PluginScores, usize) -> i64) -> Table {
    let mut table = Table::new();
    for (i, node) in e.feasible.iter().enumerate() {
        let row = e.scores.iter().map(|s| (s.plugin, value(s, i).to_string())).collect();
        table.insert(node.as_str(), row);
    }
    table
}

/// `success` for those that ran, nothing for those that answered Skip.
fn statuses(plugins: &[&'static str], skipped: &[&'static str]) -> Row {
    let said = |p: &&'static str| if skipped.contains(p) { "" } else { "success" };
    plugins.iter().map(|p| (*p, said(p).to_owned())).collect()
}

/// The annotations of the pod's last cycle (or of the one it would have had).
#[must_use]
pub fn annotations(e: &Explanation) -> Value {
    const PREFIX: &str = "kube-scheduler-simulator.sigs.k8s.io/";
    let node = e.cycle.as_ref().map_or(Sym::EMPTY, |c| c.node);
    let Some(r) = e.cycle.as_ref().map(|c| &c.rehearsal).or(e.would.as_ref()) else {
        return json!({});
    };
    let eval = &r.evaluation;
    let mut pre_filter = statuses(r.at("preFilter"), &eval.skipped_filters);
    if let Some(refused) = &eval.pre_filter {
        pre_filter.insert(refused.plugin, refused.reasons.join(", "));
    }
    let narrowed = eval.absent.as_ref().map_or_else(BTreeMap::new, |_| {
        let all = eval.feasible.iter().chain(eval.rejected.iter().map(|(n, _)| n));
        BTreeMap::from([("NodeAffinity", all.map(|n| n.as_str()).collect::<Vec<_>>())])
    });
    let scored = r.scored();
    let table = |t: Table| if scored { json!(t) } else { json!({}) };
    let done = |point: &str| {
        if node.is_empty() { json!({}) } else { json!(statuses(r.at(point), &[])) }
    };
    let pre_score =
        if scored { json!(statuses(r.at("preScore"), &eval.skipped_scores)) } else { json!({}) };
    let tried = eval.post_filter.as_ref().map_or_else(Table::new, |part| {
        let nominated = part.said.nomination.as_ref().map(|n| n.node);
        let row = |node: Sym| -> Row {
            let won = nominated == Some(node);
            won.then(|| ("DefaultPreemption", "preemption victim".to_owned())).into_iter().collect()
        };
        eval.rejected.iter().map(|(node, _)| (node.as_str(), row(*node))).collect()
    });
    let all: BTreeMap<&str, Value> = BTreeMap::from([
        ("prefilter-result-status", json!(pre_filter)),
        ("prefilter-result", json!(narrowed)),
        ("filter-result", json!(filter_table(r))),
        ("postfilter-result", json!(tried)),
        ("prescore-result", pre_score),
        ("score-result", table(score_table(eval, |s, i| s.raw[i]))),
        ("finalscore-result", table(score_table(eval, |s, i| s.weighted[i]))),
        ("reserve-result", done("reserve")),
        ("permit-result", done("permit")),
        ("permit-result-timeout", json!({})),
        ("prebind-result", done("preBind")),
        ("bind-result", done("bind")),
    ]);
    let mut out: Map<String, Value> = Map::new();
    for (key, value) in &all {
        out.insert(format!("{PREFIX}{key}"), value.to_string().into());
    }
    out.insert(format!("{PREFIX}selected-node"), node.as_str().into());
    Value::Object(out)
}
