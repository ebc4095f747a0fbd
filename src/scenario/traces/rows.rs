//! What importers have in common: the part of a trace that is played, pods of equal needs that
//! share a template, and what is said of the files.

use crate::api::labels::LabelSet;
use crate::api::pod::{PodSpec, RestartPolicy};
use crate::api::resources::{Named, Resources};
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Row, Run};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::scenario::plan_pod;
use std::fmt::Write as _;
use std::sync::Arc;

/// `ttlSecondsAfterFinished` of Jobs: nobody reads what has ended, and a trace has many.
pub(crate) const TTL_S: u32 = 60;

/// The part of a trace that is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Begin, counted from the trace's first arrival.
    pub(crate) from: SimDuration,
    /// End, counted likewise.
    pub(crate) until: SimDuration,
    /// At most so many arrivals.
    pub(crate) limit: usize,
    /// All times are divided by this.
    pub(crate) speed_up: f64,
}

impl Default for Part {
    fn default() -> Self {
        let until = SimDuration(u64::MAX);
        Self { from: SimDuration::ZERO, until, limit: usize::MAX, speed_up: 1.0 }
    }
}

/// What an importer has made of its files.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// The rows, at the trace's own times and in any order.
    pub(crate) rows: Vec<Row>,
    /// What the files hold, a line each; a detail of the line before begins with two spaces.
    pub(crate) facts: Vec<String>,
    /// What is not modelled, with counts.
    pub(crate) not_modelled: Vec<(&'static str, usize)>,
}

impl Imported {
    /// The rows of the part in order of time, from the start of the run on. Rows of one instant
    /// stay in the order of the file.
    pub(crate) fn cut(&mut self, part: &Part) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by_key(|row| row.at);
        let first = rows.first().map_or(SimTime::ZERO, |row| row.at);
        let all = rows.len();
        rows.retain(|row| (part.from..part.until).contains(&row.at.since(first)));
        rows.truncate(part.limit);
        rows.shrink_to_fit();
        if rows.len() < all {
            let (some, all) = (grouped(rows.len() as u64), grouped(all as u64));
            self.facts.push(format!("{some} of the {all} arrivals are played"));
        }
        let scaled = |span: SimDuration| span.scale(1.0 / part.speed_up);
        for row in &mut rows {
            let since = SimDuration(row.at.since(first).0 - part.from.0);
            row.at = SimTime::ZERO + scaled(since);
            row.lifetime = row.lifetime.map(scaled);
            row.run = row.run.map(|run| Run { lasts: run.lasts.map(scaled), ..run });
        }
        rows
    }
}

/// The template of a pod with one container.
pub(crate) fn template(
    requests: Resources,
    limits: Resources,
    labels: impl IntoIterator<Item = (Sym, Sym)>,
    shape: impl FnOnce(&mut PodSpec),
) -> Arc<PodTemplate> {
    let mut container = plan_pod::container(plan_pod::PAUSE);
    container.requests_named = Named { cpu: requests.cpu_milli > 0, memory: requests.memory > 0 };
    container.requests = requests;
    container.limits = limits;
    let mut spec = PodSpec { containers: vec![container], ..plan_pod::base_spec() };
    shape(&mut spec);
    spec.sum_requests();
    Arc::new(PodTemplate { labels: LabelSet::new(labels), annotations: None, spec: Arc::new(spec) })
}

/// The template of a job's pods: they end by themselves.
pub(crate) fn job_template(
    requests: Resources,
    labels: impl IntoIterator<Item = (Sym, Sym)>,
) -> Arc<PodTemplate> {
    // Extended resources cannot be overcommitted: request and limit are equal.
    let limits = Resources { scalars: requests.scalars.clone(), ..Resources::default() };
    template(requests, limits, labels, |spec| spec.restart = RestartPolicy::Never)
}

/// A count of small numbers or words, as `1 x 67,819, 2 x 1,782`.
pub(crate) fn tallied<'a, K: std::fmt::Display + 'a>(
    counts: impl IntoIterator<Item = (&'a K, &'a u64)>,
) -> String {
    let each = |(what, count): (&K, &u64)| format!("{what} x {}", grouped(*count));
    counts.into_iter().map(each).collect::<Vec<_>>().join(", ")
}

/// A number with commas between thousands.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount with commas and so many decimals.
pub(crate) fn decimal(x: f64, places: usize) -> String {
    let plain = format!("{x:.places$}");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = grouped(whole.parse().unwrap_or_default());
    if !part.is_empty() {
        write!(text, ".{part}").unwrap_or_default();
    }
    text
}

/// What a file is called where its facts are told.
pub(crate) fn file_name(label: &str) -> &str {
    label.rsplit('/').next().unwrap_or(label)
}

/// Amount of a fraction of a core or of bytes.
pub(crate) fn scaled(amount: f64, unit: f64) -> i64 {
    num::round(amount * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: u64) -> Row {
        let lifetime = Some(SimDuration::from_secs(10));
        let run = Some(Run { lasts: lifetime, pods: 1, ttl_s: None });
        let name = crate::api::Name::default();
        Row { at: SimTime::from_secs(at), name, template: None, lifetime, run }
    }

    #[test]
    fn a_part_counts_from_the_first_arrival_and_begins_at_zero() {
        let rows: Vec<Row> = [140, 100, 120, 121, 150].map(row).to_vec();
        let mut read = Imported { rows, ..Imported::default() };
        let secs = SimDuration::from_secs;
        let part = Part { from: secs(20), until: secs(50), limit: 2, speed_up: 2.0 };
        let rows = read.cut(&part);
        let at: Vec<u64> = rows.iter().map(|row| row.at.0 / 1_000_000).collect();
        assert_eq!(at, [0, 500]);
        assert_eq!(rows[0].lifetime, Some(secs(5)));
        assert_eq!(rows[0].run.unwrap().lasts, Some(secs(5)));
        assert_eq!(read.facts, ["2 of the 5 arrivals are played"]);
    }

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1_000, 72_890, 1_502_530_759].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "72,890", "1,502,530,759"]);
        assert_eq!(decimal(809_458.68, 1), "809,458.7");
        assert_eq!(decimal(12.0, 0), "12");
    }
}
