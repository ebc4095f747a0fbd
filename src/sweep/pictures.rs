//! The pictures of a comparison: over time, how long pods waited, each measure over the seeds, two
//! measures against each other.

use super::outcome::Outcome;
use super::stats::estimate_of_spans;
use super::table::{Policy, figure, measured};
use crate::engine::num;
use crate::report::curves::{self, Curves};
use crate::report::measures::{Better, Measure, find};
use crate::report::plots::bands::{self, Panel};
use crate::report::plots::picture::{Picture, RUNS};
use crate::report::plots::{beside, boxes, cdf, pareto};
use crate::report::text::{count, span};

/// Instants of a band.
const INSTANTS: u32 = 200;

/// Policies that a picture with a row for each has room for.
const MOST_ROWS: usize = 60;

/// Panels of the picture over time: a curve and its unit.
const PANELS: [(&str, &str); 6] = [
    (curves::CPU, "CPU requested, % of Ready nodes"),
    (curves::WAITING, "pods without a node"),
    (curves::FRAGMENTED, "free CPU that a typical pod cannot use, %"),
    (curves::READY, "pods ready"),
    (curves::FAILING, "requests that fail, per second"),
    (curves::PRICE, "price per hour"),
];

/// Every picture with the name of its file.
#[must_use]
pub fn all(outcome: &Outcome) -> Vec<(&'static str, Picture)> {
    let mut pictures = vec![("over-time", over_time(outcome))];
    pictures.extend(waits(outcome).map(|picture| ("pending", picture)));
    if outcome.policies.len() <= MOST_ROWS {
        pictures.push(("measures", spread(outcome)));
    }
    pictures.extend(against(outcome).map(|picture| ("pareto", picture)));
    if outcome.policies.len() <= RUNS.len() {
        pictures.push(("comparison", one_seed(outcome)));
    }
    pictures
}

/// The policies whose colours can be told apart, and what to say if those are not all.
fn first(outcome: &Outcome) -> (&[Policy], String) {
    let all = &outcome.policies;
    let shown = all.len().min(RUNS.len());
    let words = if shown < all.len() {
        format!("; the first {shown} of {} variants", all.len())
    } else {
        String::new()
    };
    (&all[..shown], words)
}

fn names(policies: &[Policy]) -> Vec<&str> {
    policies.iter().map(|policy| policy.name.as_str()).collect()
}

fn seeds(outcome: &Outcome) -> String {
    count(outcome.book.seeds.len() as u64, "seed")
}

/// `71.2 % by pack; 69 % by spread`.
fn means(policies: &[Policy], measure: &Measure, say: &dyn Fn(f64) -> String) -> String {
    let of = |policy: &Policy| {
        let mean = super::stats::estimate(&policy.column(measure)).mean;
        mean.is_finite().then(|| format!("{} by {}", say(mean), policy.name))
    };
    policies.iter().filter_map(of).take(3).collect::<Vec<String>>().join("; ")
}

fn over_time(outcome: &Outcome) -> Picture {
    let (policies, only) = first(outcome);
    let end =
        (policies.iter().flat_map(|p| &p.runs)).map(|run| run.curves.end_s).fold(1e-3, f64::max);
    let has = |curve: &str| {
        policies.iter().any(|p| p.runs.iter().any(|run| run.curves.curves.contains_key(curve)))
    };
    let panels = PANELS.iter().filter(|panel| has(panel.0)).map(|&(curve, unit)| Panel {
        unit: unit.to_owned(),
        most: if curve.ends_with("_percent") { 100.0 } else { 0.0 },
        bands: policies.iter().map(|policy| band(policy, curve, end)).collect(),
    });
    let title = find("cpu_requested_percent").map_or_else(String::new, |measure| {
        let say = |mean: f64| format!("{} %", num::rounded(mean, 1));
        format!("CPU requested: {}", means(policies, measure, &say))
    });
    let below = format!("means over {} with their 95 % intervals{only}", seeds(outcome));
    bands::draw((&title, &below), &names(policies), &panels.collect::<Vec<Panel>>())
}

fn band(policy: &Policy, curve: &str, end: f64) -> Vec<bands::Point> {
    (0..=INSTANTS)
        .filter_map(|i| {
            let at = end * f64::from(i) / f64::from(INSTANTS);
            let values: Vec<f64> =
                policy.runs.iter().filter_map(|run| run.curves.at(curve, at)).collect();
            let estimate = estimate_of_spans(&values);
            let (low, high) = estimate.interval.unwrap_or((estimate.mean, estimate.mean));
            estimate.mean.is_finite().then_some((at, estimate.mean, low, high))
        })
        .collect()
}

/// None if no pod was bound.
fn waits(outcome: &Outcome) -> Option<Picture> {
    let (policies, only) = first(outcome);
    let curves: Vec<cdf::Curve> = policies.iter().map(pooled).collect();
    if curves.iter().all(Vec::is_empty) {
        return None;
    }
    let measure = find("pending_p99_s")?;
    let title = format!("99 % of pods are bound within {}", means(policies, measure, &span));
    let below = format!("from creation to binding, pods of {} together{only}", seeds(outcome));
    Some(cdf::draw((&title, &below), &names(policies), &curves))
}

/// The waits of all runs of a policy in one curve: each run counts by its pods.
fn pooled(policy: &Policy) -> cdf::Curve {
    let mut all: Vec<(f64, f64)> = Vec::new();
    for Curves { waits_s, waited, .. } in policy.runs.iter().map(|run| &run.curves) {
        let weight = num::float_u(*waited) / num::float_u(waits_s.len().max(1) as u64);
        all.extend(waits_s.iter().map(|secs| (*secs, weight)));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let whole: f64 = all.iter().map(|wait| wait.1).fold(0.0, |sum, weight| sum + weight);
    let mut curve: cdf::Curve = Vec::new();
    let mut below = 0.0;
    for (i, (secs, weight)) in all.iter().enumerate() {
        below += weight;
        let share = 100.0 * below / whole;
        // A quarter of a per cent cannot be seen; the last point must be there.
        if i + 1 == all.len() || curve.last().is_none_or(|last| share - last.1 >= 0.25) {
            curve.push((*secs, share));
        }
    }
    curve
}

const fn better(measure: &Measure) -> &'static str {
    match measure.better {
        Better::Lower => "less is better",
        Better::Higher => "more is better",
    }
}

fn spread(outcome: &Outcome) -> Picture {
    let policies = &outcome.policies;
    let headlines = measured(policies).into_iter().filter(|measure| measure.headline);
    let panels = headlines.map(|measure| boxes::Panel {
        name: measure.name.to_owned(),
        better: better(measure).to_owned(),
        values: policies.iter().map(|policy| policy.column(measure)).collect(),
    });
    let verdict = outcome.verdicts.of.iter().find(|verdict| verdict.p_holm < super::verdict::LEVEL);
    let title = verdict.map_or_else(
        || "No difference can be told from chance".to_owned(),
        |v| {
            let (best, second) = (&policies[v.winner].name, &policies[v.second].name);
            let (mean, other) = (figure(v.paired.mean_b), figure(v.paired.mean_a));
            format!("{}: {mean} by {best}, {other} by {second}", v.measure.name)
        },
    );
    let below = format!(
        "{}: quartiles, extremes, and each run as a dot; no test is read off this picture, for \
         runs of one seed belong together",
        seeds(outcome)
    );
    boxes::draw((&title, &below), &names(policies), &panels.collect::<Vec<_>>())
}

/// Cost, or fragments, against the wait of the last per cent; none if there is too little to show.
fn against(outcome: &Outcome) -> Option<Picture> {
    let measures = measured(&outcome.policies);
    let of = |name: &str| measures.iter().copied().find(|measure| measure.name == name);
    let (x, y) = (of("cost").or_else(|| of("cpu_fragmented_percent"))?, of("pending_p99_s")?);
    let points: Vec<pareto::Point> = (outcome.policies.iter())
        .filter_map(|policy| {
            let estimates = [x, y].map(|measure| estimate_of_spans(&policy.column(measure)));
            let at = (estimates[0].mean, estimates[1].mean);
            let whole = at.0.is_finite() && at.1.is_finite();
            let [x, y] = estimates.map(|estimate| estimate.interval);
            whole.then(|| pareto::Point { name: policy.name.clone(), at, x, y })
        })
        .collect();
    if points.len() < 2 {
        return None;
    }
    let front = pareto::front(&points);
    let best: Vec<&str> = front.iter().take(3).map(|&i| points[i].name.as_str()).collect();
    let title = match front.as_slice() {
        [_] => format!("Nothing is better than {} by either measure", best[0]),
        [..] => format!(
            "{} of {} are beaten by none in both: {}{}",
            front.len(),
            points.len(),
            best.join("; "),
            if front.len() > best.len() { " …" } else { "" },
        ),
    };
    let below = format!(
        "means over {} with their 95 % intervals; down and to the left is better; dashed: the front",
        seeds(outcome)
    );
    let units = [x, y].map(|measure| format!("{}: {}", measure.name, measure.about));
    Some(pareto::draw((&title, &below), (&units[0], &units[1]), &points))
}

/// One run of each beside the other.
fn one_seed(outcome: &Outcome) -> Picture {
    let runs: Vec<(&str, &Curves)> = (outcome.policies.iter())
        .filter_map(|policy| Some((policy.name.as_str(), &policy.runs.first()?.curves)))
        .collect();
    let title = format!("{} on the same waves", names(&outcome.policies).join(", "));
    beside::draw(&title, &runs)
}
