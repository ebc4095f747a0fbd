//! Storms: clusters, workloads and faults drawn at random, run with every invariant checked after
//! every event, then left to converge. What fails is shrunk to a small scenario.

pub mod case;
pub mod converge;

pub use case::Case;

use crate::cluster::Cluster;
use crate::cluster::invariants::Checker;
use crate::cluster::spec::Plan;
use crate::event::Canary;
use crate::scenario::{LoadOptions, parse};
use converge::Excuse;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// How a case is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Events at one instant come in another order.
    pub shuffle: bool,
    /// Run twice and compare.
    pub twice: bool,
    /// A known bug is planted.
    pub canary: Option<Canary>,
}

/// What a storm did.
#[derive(Debug, Clone, Default)]
pub struct Passed {
    /// Events handled.
    pub events: u64,
    /// Rules looked at.
    pub looked: u64,
    /// Digest of the run.
    pub digest: String,
    /// Pods excused at the end.
    pub excuses: BTreeMap<Excuse, u32>,
}

/// A rule that did not hold, or a bug of another kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind: shrinking keeps it.
    pub rule: String,
    /// What was seen.
    pub seen: String,
}

/// Runs the scenario of a case.
///
/// # Errors
/// The first rule that does not hold.
pub fn run(yaml: &str, weather: Weather) -> Result<Passed, Failure> {
    let plan = plan(yaml)?;
    let first = once(&plan, weather)?;
    if weather.twice {
        let second = once(&plan, weather)?;
        if second.digest != first.digest {
            return Err(Failure {
                rule: "two runs are equal".into(),
                seen: format!("{} and {}", first.digest, second.digest),
            });
        }
    }
    Ok(first)
}

fn plan(yaml: &str) -> Result<Arc<Plan>, Failure> {
    let options = LoadOptions::default();
    match parse("storm.yaml", yaml.to_owned(), Path::new(""), &options) {
        Ok(loaded) => Ok(Arc::new(loaded.plan)),
        Err(errors) => Err(Failure {
            rule: "the case is a valid scenario".into(),
            seen: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        }),
    }
}

/// One run; an assertion that fails is a failure like any other.
fn once(plan: &Arc<Plan>, weather: Weather) -> Result<Passed, Failure> {
    let run = AssertUnwindSafe(|| watched(plan, weather));
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Failure { rule: "no assertion fails".into(), seen: text.unwrap_or_default() })
    })
}

fn watched(plan: &Arc<Plan>, weather: Weather) -> Result<Passed, Failure> {
    let mut cluster = Cluster::new(Arc::clone(plan));
    cluster.trace(true);
    cluster.weather(weather.shuffle, weather.canary);
    let mut checker = Checker::default();
    let mut records = Vec::new();
    let mut events = 0;
    cluster.take_records(&mut records);
    checker.start(&cluster, &records);
    let failed = |broken: crate::cluster::invariants::Broken| Failure {
        rule: broken.rule.to_owned(),
        seen: broken.to_string(),
    };
    while cluster.next_time().is_some_and(|t| t <= plan.until) {
        let Some(entry) = cluster.pop() else { break };
        checker.before(&cluster, &entry).map_err(failed)?;
        cluster.carry_out(&entry);
        events += 1;
        cluster.take_records(&mut records);
        checker.after(&cluster, &entry, &records).map_err(failed)?;
    }
    let calm = converge::look(&cluster.shared().versions);
    if let Some(first) = calm.astray.first() {
        let (rule, seen) = ("the cluster converges", first.0.clone());
        return Err(Failure { rule: rule.to_owned(), seen });
    }
    if let Some(seen) = converge::unanswered(&cluster) {
        return Err(Failure { rule: "requests are answered in the end".to_owned(), seen });
    }
    checker
        .caught_up(&cluster)
        .map_err(|seen| Failure { rule: "clients hear everything in the end".to_owned(), seen })?;
    let (looked, digest) = (checker.looked, cluster.digest().to_string());
    Ok(Passed { events, looked, digest, excuses: calm.excuses })
}

/// The smallest case found that fails as this one does, after at most so many runs.
#[must_use]
pub fn shrink(case: &Case, failure: &Failure, weather: Weather, runs: u32) -> (Case, Failure) {
    let mut best = (case.clone(), failure.clone());
    let mut left = runs;
    'again: loop {
        for smaller in best.0.smaller() {
            if left == 0 {
                return best;
            }
            left -= 1;
            if let Err(failure) = run(&smaller.to_yaml(), weather)
                && failure.rule == best.1.rule
            {
                best = (smaller, failure);
                continue 'again;
            }
        }
        return best;
    }
}
