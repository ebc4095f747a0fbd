//! The terminal page: one screen that answers what went down, for how long, and did it fit.

use super::summary::{FaultSummary, Summary, WorkloadSummary};
use crate::engine::SimDuration;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Workloads with more lines than this are told in one line.
const MOST_ROWS: usize = 8;

/// Seconds as people say them: `4m12s`, `1h02m`, `350ms`.
#[must_use]
pub fn span(secs: f64) -> String {
    SimDuration::from_secs_f64(secs).to_string()
}

/// An instant of the run in the same words.
#[must_use]
pub fn clock(secs: f64) -> String {
    if secs < 60.0 { format!("{secs:.1}s") } else { span(secs) }
}

/// The page, at most `width` columns wide. Plain text.
#[must_use]
pub fn render(summary: &Summary, width: u16) -> String {
    let mut lines = vec![head(summary), totals(summary)];
    lines.extend(loud(summary));
    lines.extend(summary.faults.iter().flat_map(|f| fault(f, summary)));
    lines.extend(outages(summary, width));
    lines.extend(
        summary
            .traffic
            .iter()
            .filter(|t| !t.derived || t.failed > 0.0)
            .flat_map(super::traffic::TrafficSummary::lines),
    );
    lines.extend(summary.logs.iter().flat_map(super::logs::LogSummary::lines));
    lines.extend(summary.network.iter().flat_map(super::network::NetworkSummary::lines));
    lines.extend(fit(summary));
    lines.extend(summary.standing.lines());
    lines.push(efficiency(summary));
    lines.extend(cost(summary));
    lines.extend(batch(summary));
    lines.extend(summary.work.iter().map(super::work::WorkSummary::line));
    lines.extend(refusals(summary));
    let recorded = summary.recorded.iter().filter(|fact| !fact.starts_with(' '));
    lines.extend(recorded.map(|fact| format!("Recorded: {fact}.")));
    lines.extend(not_modelled(summary));
    lines.extend(summary.expectations.iter().map(|v| {
        let word = if v.pass { "PASS" } else { "FAIL" };
        format!("{word}  {}: {}", v.expected, v.observed)
    }));
    let mut page = String::new();
    for line in lines {
        for part in line.split('\n') {
            wrap(&mut page, part, usize::from(width));
        }
    }
    page
}

/// Breaks a line at spaces; what follows is indented.
pub fn wrap(page: &mut String, line: &str, width: usize) {
    if line.chars().count() <= width {
        page.push_str(line.trim_end());
        page.push('\n');
        return;
    }
    let mut column = 0;
    for word in line.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width.max(40) {
            page.push_str("\n    ");
            column = 4;
        } else if column > 0 {
            page.push(' ');
            column += 1;
        }
        page.push_str(word);
        column += length;
    }
    page.truncate(page.trim_end_matches(' ').len());
    page.push('\n');
}

fn head(s: &Summary) -> String {
    let zones: Vec<String> = s
        .zones
        .iter()
        .filter(|z| !z.what.is_empty())
        .map(|z| format!("{} {}", z.what, z.count))
        .collect();
    let zones =
        if zones.len() > 1 { format!(" (zones {})", zones.join(", ")) } else { String::new() };
    let policy = if s.policy.is_empty() { String::new() } else { format!(", {}", s.policy) };
    format!(
        "{}: {} of Kubernetes {} on {}{zones}{policy}, seed {}, digest {}",
        if s.scenario.is_empty() { "run" } else { &s.scenario },
        span(s.ended_s),
        s.kubernetes,
        count(s.nodes as u64, "node"),
        s.seed,
        s.digest,
    )
}

/// `1 pod`, `2 pods`.
#[must_use]
pub fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn totals(s: &Summary) -> String {
    let p = &s.pods;
    let mut parts = vec![format!("{} created, {} bound", count(p.created, "pod"), p.bound)];
    for (n, word) in [
        (p.succeeded, "succeeded"),
        (p.failed, "failed"),
        (p.evicted, "evicted"),
        (p.deleted, "deleted"),
        (p.restarts, "container restarts"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    parts.push(format!("{} ready at the end", p.ready_at_end));
    format!("{}.", parts.join(", "))
}

/// What the machines have cost.
fn cost(s: &Summary) -> Option<String> {
    let cost = s.cost.as_ref()?;
    let pools = cost.pools.iter().map(|pool| {
        let spot = if pool.spot > 0 { format!(", {} spot", pool.spot) } else { String::new() };
        let machines = count(u64::from(pool.machines), "machine");
        format!("{} {:.2} ({machines}{spot})", pool.pool, pool.cost)
    });
    let (total, mean, peak) = (cost.total, cost.per_hour, cost.peak_per_hour);
    let pools = pools.collect::<Vec<_>>().join(", ");
    Some(format!("Cost {total:.2}: {mean:.2} per hour, {peak:.2} at most. {pools}."))
}

/// What must not be overlooked.
fn loud(s: &Summary) -> Vec<String> {
    if s.pods.created == 0 {
        return vec!["!! NOTHING RAN: the scenario never created a pod.".to_owned()];
    }
    if s.pods.bound == 0 {
        let why = s.unscheduled.first().map_or("", |u| u.what.as_str());
        return vec![format!("!! NOTHING COULD BE SCHEDULED: no pod ever found a node. {why}")];
    }
    Vec::new()
}

fn fault(f: &FaultSummary, s: &Summary) -> Vec<String> {
    let Some(at) = f.at_s else {
        // Whom it would have struck is not known yet: its name tells, or what it does.
        let name = if f.name.is_empty() { &f.what } else { &f.name };
        return vec![format!("Fault ({name}) never began: the run ended before it.")];
    };
    let lasted = match f.ended_s {
        Some(end) => format!("for {}", span(end - at)),
        None => "until the end of the run".to_owned(),
    };
    if f.nodes == 0 {
        // A process, or the store: no node goes down with it.
        return vec![format!("{} at {} {lasted}.", f.what, clock(at))];
    }
    let mut lines = vec![format!(
        "{} at {} {lasted}: {} of {}, {} on them.",
        f.what,
        clock(at),
        f.nodes,
        count(f.of_nodes as u64, "node"),
        count(u64::from(f.pods), "pod"),
    )];
    let mut steps = Vec::new();
    match f.detected_s {
        Some(t) => {
            let part = if f.detected_nodes < f.nodes {
                format!(" ({} of {} nodes)", f.detected_nodes, f.nodes)
            } else {
                String::new()
            };
            steps.push(format!("noticed after {}{part}", span(t - at)));
        }
        None => steps.push("never noticed by the control plane".to_owned()),
    }
    match (f.first_evicted_s, f.last_evicted_s) {
        (Some(first), Some(last)) if last > first => steps.push(format!(
            "{} evicted after {} to {}",
            count(u64::from(f.evicted), "pod"),
            span(first - at),
            span(last - at)
        )),
        (Some(first), Some(_) | None) => steps.push(format!(
            "{} evicted after {}",
            count(u64::from(f.evicted), "pod"),
            span(first - at)
        )),
        (None, Some(_) | None) => steps.push("no pod evicted".to_owned()),
    }
    if let Some(last) = f.last_rescheduled_s {
        steps.push(format!(
            "{} of {} replacements placed by {}",
            f.rescheduled,
            f.to_reschedule,
            clock(last)
        ));
    }
    if f.workloads > 0 {
        steps.push(match f.recovered_s {
            Some(t) if t > at => format!("all replicas back at {} (+{})", clock(t), span(t - at)),
            Some(_) => "no workload fell short".to_owned(),
            None => "NOT all replicas back by the end".to_owned(),
        });
    }
    let indent = if s.faults.len() > 1 { "  " } else { "" };
    lines.push(format!("{indent}{}.", capital(&steps.join(", "))));
    lines.extend(disks(f).map(|line| format!("{indent}{line}")));
    lines
}

/// Disks that only the struck nodes reach, and who waits for them.
fn disks(f: &FaultSummary) -> Option<String> {
    const NAMED: usize = 3;
    let claims = &f.disks_out_of_reach;
    let last = claims.len().checked_sub(1)?;
    let mut named = claims[..=last.min(NAMED - 1)].join(", ");
    if last >= NAMED {
        named += &format!(" and {} more", last + 1 - NAMED);
    }
    let word = if f.ended_s.is_some() { "could" } else { "can" };
    let what = format!(
        "{} {word} be reached from there alone: {named}",
        count(claims.len() as u64, "disk")
    );
    let waits = f.waiting_for_disks.iter();
    let waits: Vec<String> =
        waits.map(|(who, n)| format!("{who} ({})", count(u64::from(*n), "pod"))).collect();
    if waits.is_empty() {
        return Some(format!("{what}."));
    }
    Some(format!("{what}. Pending for want of them: {}.", waits.join(", ")))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

fn outages(s: &Summary, width: u16) -> Vec<String> {
    if s.workloads.is_empty() {
        return Vec::new();
    }
    let n = count(s.workloads.len() as u64, "workload");
    let mut short: Vec<&WorkloadSummary> =
        s.workloads.iter().filter(|w| w.short_s > 0.0 || w.short_at_end).collect();
    let best = short.iter().map(|w| w.best).max();
    if short.is_empty() || best.is_none() {
        return vec![format!("All {n} kept all replicas.")];
    }
    short.sort_by(|a, b| b.short_s.total_cmp(&a.short_s).then_with(|| a.workload.cmp(&b.workload)));
    let none = short.iter().filter(|w| w.none_s > 0.0).count();
    let gone = match none {
        0 => "none went down altogether".to_owned(),
        1 => "1 went down altogether".to_owned(),
        more => format!("{more} went down altogether"),
    };
    let mut lines = vec![format!("{} of {n} were short of replicas, {gone}:", short.len())];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table.set_header(["workload", "short for", "none for", "worst", "longest", "evicted", "end"]);
    for w in short.iter().take(MOST_ROWS) {
        table.add_row(outage_row(w));
    }
    for column in 1..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    lines.push(table.trim_fmt());
    if short.len() > MOST_ROWS {
        lines.push(format!("and {} more in workloads.csv", short.len() - MOST_ROWS));
    }
    lines
}

fn outage_row(w: &WorkloadSummary) -> [String; 7] {
    let dash = |secs: f64| if secs > 0.0 { span(secs) } else { "-".to_owned() };
    let end = if w.first_full_s.is_none() {
        format!("NEVER FULL {}/{}", w.available, w.desired)
    } else if w.short_at_end {
        format!("SHORT {}/{}", w.available, w.desired)
    } else {
        format!("full {}/{}", w.available, w.desired)
    };
    [
        w.workload.clone(),
        dash(w.short_s),
        dash(w.none_s),
        w.worst(),
        dash(w.longest_short_s),
        w.evicted.to_string(),
        end,
    ]
}

/// Did it fit?
fn fit(s: &Summary) -> Vec<String> {
    let left = s.pods.unscheduled_at_end;
    if left > 0 {
        let mut lines =
            vec![format!("{} without a node at the end:", count(u64::from(left), "pod"))];
        let mut reasons = s.unscheduled.clone();
        reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
        lines.extend(reasons.iter().take(3).map(|r| format!("  {} x {}", r.count, r.what)));
        return lines;
    }
    if s.pods.created == 0 {
        return Vec::new();
    }
    let back = s
        .faults
        .iter()
        .filter(|f| f.workloads > 0)
        .map(|f| f.recovered_s)
        .try_fold(0.0_f64, |latest, t| t.map(|t| latest.max(t)));
    let hit = s.faults.iter().any(|f| f.workloads > 0 && f.evicted > 0);
    let most = s.pods.waiting_most;
    match back {
        Some(t) if hit => vec![format!(
            "Everything fit again by {}; at most {} waited for a node at once.",
            clock(t),
            count(u64::from(most), "pod")
        )],
        Some(_) | None => vec![format!(
            "Every pod found a node; at most {} waited at once.",
            count(u64::from(most), "pod")
        )],
    }
}

fn efficiency(s: &Summary) -> String {
    let p = &s.pending;
    let makespan = s.makespan_s.map_or(String::new(), |m| format!(", makespan {}", span(m)));
    format!(
        "Wait for a node: mean {}, p50 {}, p99 {}, longest {}. \
         Requested on average {:.1} % of CPU, {:.1} % of memory{makespan}.",
        span(p.mean_s),
        span(p.p50_s),
        span(p.p99_s),
        span(p.max_s),
        100.0 * s.cpu_utilisation,
        100.0 * s.memory_utilisation,
    )
}

fn batch(s: &Summary) -> Vec<String> {
    let mut rows: Vec<_> = s.batch.iter().filter(|b| b.created > 0).collect();
    rows.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.workload.cmp(&b.workload)));
    let mut lines: Vec<String> = rows
        .iter()
        .take(3)
        .map(|b| {
            format!(
                "{}: {}, {} bound, {} succeeded, {} failed, {} evicted.",
                b.workload,
                count(b.created, "pod"),
                b.bound,
                b.succeeded,
                b.failed,
                b.evicted
            )
        })
        .collect();
    if rows.len() > 3 {
        lines.push(format!("and {} more families of pods in workloads.csv", rows.len() - 3));
    }
    lines
}

/// Requests refused that somebody should know of, and warnings.
fn refusals(s: &Summary) -> Vec<String> {
    let notable: Vec<_> = s.refusals.iter().filter(|r| r.notable).collect();
    let mut lines = Vec::new();
    if !notable.is_empty() {
        let total = count(notable.iter().map(|r| r.count).sum(), "request");
        lines.push(format!("{total} refused:"));
    }
    lines.extend(notable.iter().take(MOST_ROWS).map(|r| {
        format!("  {} x {} {} {}: {} {}", r.count, r.user, r.verb, r.kind, r.code, r.message)
    }));
    if notable.len() > MOST_ROWS {
        lines.push(format!("  and {} more kinds in summary.json", notable.len() - MOST_ROWS));
    }
    let warned = s.warnings.iter().filter(|w| w.notable).take(MOST_ROWS);
    lines.extend(warned.map(|w| format!("Warning to {} x {}: {}", w.user, w.count, w.message)));
    let unread: u64 = s.warnings.iter().filter(|w| !w.notable).map(|w| w.count).sum();
    if unread > 0 {
        lines.push(format!("{} to controllers in summary.json", count(unread, "warning")));
    }
    lines
}

/// The most frequent fields and kinds that nothing acts upon; summary.json has all.
fn not_modelled(s: &Summary) -> Vec<String> {
    if s.not_modelled.is_empty() {
        return Vec::new();
    }
    let mut rows: Vec<_> = s.not_modelled.iter().collect();
    rows.sort_by_key(|c| std::cmp::Reverse(c.count));
    let items: Vec<String> = rows.iter().map(|c| format!("{} x{}", c.what, c.count)).collect();
    let rest = if items.len() > 6 { " (all in summary.json)" } else { "" };
    vec![format!("Accepted, not modelled: {}{rest}.", super::expect::listed(&items, 6))]
}
