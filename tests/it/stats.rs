//! Policies on the same waves: paired differences with intervals, and equal policies told as equal.

use super::support::{Ran, ran, scenario, wavetank};

fn compare(options: &[&str]) -> Ran {
    let file = scenario("noisy-arrivals").display().to_string();
    let mut command = wavetank(&["compare", &file, "--seeds", "1..5", "--quiet"]);
    let done = ran(command.args(options));
    assert_eq!(done.code, Some(0), "{}", done.err);
    done
}

/// Rows whose difference has an interval.
fn with_interval(table: &str) -> usize {
    table.lines().filter(|line| line.contains('[') && line.contains(", ")).count()
}

#[test]
fn packing_and_spreading_differ_by_so_much() {
    let table = compare(&["--policy", "least-allocated", "--policy", "most-allocated"]).out;
    assert!(table.contains("difference [95 % interval]"), "{table}");
    assert!(table.contains("paired differences from least-allocated"), "{table}");
    assert!(table.contains("means over 5 seeds"), "{table}");
    assert!(with_interval(&table) >= 3, "{table}");
    assert!(!table.contains("are identical"), "{table}");
}

#[test]
fn ties_are_a_choice_with_a_price() {
    let table = compare(&["--ties", "uniform", "--ties", "first"]).out;
    assert!(table.contains("ties uniform") && table.contains("ties first"), "{table}");
    assert!(with_interval(&table) >= 1, "{table}");
    assert!(!table.contains("are identical"), "{table}");
}

#[test]
fn the_same_policy_twice_is_identical() {
    let table = compare(&["--variant", "one:", "--variant", "two:"]).out;
    let said = "one and two are identical: equal digests on all 5 seeds";
    assert!(table.contains(said), "{table}");
    assert_eq!(with_interval(&table), 0, "{table}");
    let data = compare(&["--variant", "one:", "--variant", "two:", "--format", "json"]).out;
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["identical_to_baseline"], serde_json::json!(["two"]));
}

#[test]
fn the_table_as_data() {
    let text =
        compare(&["--policy", "least-allocated", "--policy", "most-allocated", "--format", "json"]);
    let table: serde_json::Value = serde_json::from_str(&text.out).unwrap();
    assert_eq!(table["baseline"], "least-allocated");
    assert_eq!(table["seeds"], 5);
    let rows = table["measures"].as_array().unwrap();
    assert!(rows.len() > 5, "{table:#}");
    for row in rows {
        let interval = row["against"][0]["interval_95"].as_array();
        let Some(interval) = interval else { continue };
        let [low, high] = [0, 1].map(|i| interval[i].as_f64().unwrap_or(f64::NAN));
        let difference = row["against"][0]["mean_difference"].as_f64().unwrap_or(f64::NAN);
        assert!(low.is_nan() || low <= difference && difference <= high, "{row}");
    }
}

#[test]
fn one_thing_is_no_comparison() {
    let file = scenario("first-steps").display().to_string();
    let done = ran(&mut wavetank(&["compare", &file, "--policy", "least-allocated"]));
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("only one thing to compare"), "{}", done.err);
    let done = ran(&mut wavetank(&["compare", &file, "--seeds", "9..1", "--ties", "first"]));
    assert_eq!(done.code, Some(2));
}
