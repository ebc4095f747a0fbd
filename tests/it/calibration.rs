//! Does the comparison cry wolf as often as it says, and does it see a wolf?
//!
//! The same policy under two orders of equally good nodes: machines are called `a-…` in one variant
//! and `b-…` in the other, so that every draw that is keyed by a node differs, and nothing else does.
//! Which is better is then chance alone, and a test at 95 % must call out in about one of twenty
//! comparisons.

use super::support::share;
use std::path::Path;
use std::sync::Arc;
use wavetank::cluster::spec::Plan;
use wavetank::scenario::{LoadOptions, parse};
use wavetank::sweep::done::Done;
use wavetank::sweep::runs::parallel;
use wavetank::sweep::stats::paired;

const SCENARIO: &str = "
apiVersion: wavetank.dev/v1
kind: Scenario
metadata: {name: calibration}
until: 90s
cluster: {nodes: [{name: a, count: 4, cpu: 4, memory: 16Gi}]}
scheduler: {ties: node-order-per-run}
arrivals:
  - {name: small, job: {cpu: 500m, memory: 1Gi}, poisson: 30/m, end: 60s, duration: {uniform: [5s, 25s]}}
  - {name: wide, job: {cpu: 3, memory: 4Gi}, poisson: 15/m, end: 60s, duration: {uniform: [5s, 25s]}}
";

/// Seeds of a comparison.
const SEEDS: u64 = 30;

/// A headline measure that is continuous.
const MEASURE: &str = "pending_mean_s";

fn plan(name: &str, cpu: &str) -> Arc<Plan> {
    let set = |path: &str, value: &str| (path.to_owned(), value.to_owned());
    let options = LoadOptions {
        overrides: vec![set("cluster.nodes[0].name", name), set("cluster.nodes[0].cpu", cpu)],
        ..LoadOptions::default()
    };
    Arc::new(parse("calibration", SCENARIO.to_owned(), Path::new(""), &options).unwrap().plan)
}

/// The measure of one variant over many seeds.
fn column(plan: &Plan, seeds: u64) -> Vec<f64> {
    let seeds: Vec<u64> = (1..=seeds).collect();
    parallel(0, &seeds, |&seed| Done::play(plan, seed, "").0.value(MEASURE))
}

#[test]
#[expect(clippy::print_stdout, reason = "the rate is worth knowing")]
fn false_alarms_come_as_often_as_said() {
    // The full form takes a minute and a half of CPU: WAVETANK_COMPARISONS=200.
    let comparisons = share("WAVETANK_COMPARISONS", 60);
    let (a, b) = (plan("a", "4"), plan("b", "4"));
    let all = comparisons * SEEDS;
    let (a, b) = (column(&a, all), column(&b, all));
    let size = usize::try_from(SEEDS).unwrap();
    let each: Vec<_> = a.chunks(size).zip(b.chunks(size)).map(|(a, b)| paired(a, b)).collect();
    let alarms = each.iter().filter(|result| result.p < 0.05).count();
    let beside = |result: &&wavetank::sweep::stats::Paired| {
        result.interval.is_some_and(|(low, high)| !(low..=high).contains(&0.0))
    };
    assert_eq!(alarms, each.iter().filter(beside).count(), "test and interval disagree");
    let equal = a.iter().zip(&b).filter(|(a, b)| a.total_cmp(b).is_eq()).count();
    println!("{alarms} alarms in {comparisons} comparisons; {equal} of {all} pairs are equal");
    assert!(equal * 20 < a.len(), "{equal} of {all} pairs are equal: the measure does not vary");
    if comparisons == 200 {
        // 10 are expected; of a test that holds its level, 97 in 100 lie in here.
        assert!((4..=16).contains(&alarms), "{alarms} alarms in 200 comparisons");
    } else {
        // Too few to tell that they are too few; of 60, 1 in 200 such tests has more than 8.
        let most = 3 + comparisons / 12;
        assert!(alarms as u64 <= most, "{alarms} alarms in {comparisons} comparisons");
    }
}

#[test]
fn a_planted_difference_is_found() {
    // An eighth of a machine's CPU more.
    let (a, b) = (plan("a", "4"), plan("b", "4500m"));
    let result = paired(&column(&a, SEEDS), &column(&b, SEEDS));
    assert!(result.p < 0.001 && result.difference < 0.0, "{result:?}");
}
