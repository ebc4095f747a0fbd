//! Work: shares of a node's CPU, reads by distance, neighbours, and what becomes of it all when a
//! machine is lost. What a run says is held against a plain simulation of a shared node.

use super::support::{ran, scenario, scratch, wavetank};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Runs a scenario and gives its summary.
fn summary(file: &Path, out: &Path, more: &[&str]) -> serde_json::Value {
    let (file, name) = (file.display().to_string(), out.display().to_string());
    let mut all = vec!["run", &file, "--quiet", "--out", &name];
    all.extend(more);
    let done = ran(&mut wavetank(&all));
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap()
}

/// A node of four cores, and a Job of one pod each: name, instant, request, limit, core-seconds, more
/// annotations.
fn jobs(list: &[(&str, &str, &str, &str, u32, &str)]) -> String {
    let mut text = String::from(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {name: work}\n\
         until: {at: 2h, idle: true}\ncluster:\n  nodes:\n    \
         - {name: node, count: 1, zones: [a], cpu: 4, memory: 8Gi, boot: 5s}\nworkload:\n",
    );
    for (name, at, request, limit, cpu, more) in list {
        let cpu =
            if *cpu == 0 { String::new() } else { format!("wavetank.dev/cpu-seconds: '{cpu}', ") };
        let limits =
            if limit.is_empty() { String::new() } else { format!(", limits: {{cpu: {limit}}}") };
        write!(
            text,
            "  - at: {at}\n    apply:\n      apiVersion: batch/v1\n      kind: Job\n      \
             metadata: {{name: {name}}}\n      spec:\n        template:\n          \
             metadata: {{annotations: {{{cpu}{more}}}}}\n          \
             spec:\n            restartPolicy: Never\n            \
             containers: [{{name: c, image: 'c:1', resources: {{requests: {{cpu: {request}}}{limits}}}}}]\n"
        )
        .unwrap();
    }
    text
}

const WIDE: &str = "wavetank.dev/parallelism: '4'";

fn work<'a>(summary: &'a serde_json::Value, workload: &str) -> &'a serde_json::Value {
    let rows = summary["work"].as_array().unwrap();
    rows.iter().find(|w| w["workload"] == workload).unwrap_or_else(|| panic!("{summary:#}"))
}

fn number(row: &serde_json::Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} of {row:#}"))
}

const PIECES: [&str; 7] = [
    "read_on_node_s",
    "read_in_zone_s",
    "read_elsewhere_s",
    "computed_s",
    "waited_for_cpu_s",
    "slowed_by_neighbours_s",
    "held_s",
];

/// The pieces of a worker's time add up to it.
fn adds_up(row: &serde_json::Value) {
    let sum: f64 = PIECES.iter().map(|piece| number(row, piece)).sum();
    assert!((sum - number(row, "total_s")).abs() < 1e-6, "{row:#}");
}

fn close(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() < 1e-6, "{what}: {found}, by hand {wanted}");
}

/// When each of several that share so many cores is done: start, core-seconds, weight, most cores.
/// A plain reference: shares are found anew at each beginning and end, by trying who is full.
fn reference(cores: f64, pods: &[(f64, f64, f64, f64)]) -> Vec<f64> {
    let mut left: Vec<f64> = pods.iter().map(|p| p.1).collect();
    let mut ends = vec![f64::NAN; pods.len()];
    let mut now = 0.0_f64;
    while ends.iter().any(|e| e.is_nan()) {
        let runs: Vec<usize> =
            (0..pods.len()).filter(|&i| ends[i].is_nan() && pods[i].0 <= now).collect();
        // The level of water at which all that is there is used: by bisection.
        let used =
            |level: f64| runs.iter().map(|&i| (level * pods[i].2).min(pods[i].3)).sum::<f64>();
        let (mut low, mut high) = (0.0, 1e6);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if used(middle) < cores { low = middle } else { high = middle }
        }
        let rate = |i: usize| (high * pods[i].2).min(pods[i].3);
        let starts = pods.iter().map(|p| p.0).filter(|s| *s > now).fold(f64::INFINITY, f64::min);
        let next = runs.iter().map(|&i| now + left[i] / rate(i)).fold(starts, f64::min);
        for &i in &runs {
            left[i] -= (next - now) * rate(i);
            if left[i] < 1e-9 {
                ends[i] = next;
            }
        }
        now = next;
    }
    ends
}

/// Runs jobs of work alone and holds every end against the reference; gives the summary.
fn held_against(place: &str, list: &[(&str, &str, &str, &str, u32, &str)]) -> serde_json::Value {
    let folder = scratch(place);
    let file = folder.join("work.yaml");
    fs::write(&file, jobs(list)).unwrap();
    let summary = summary(&file, &folder.join("out"), &[]);
    let mut pods = Vec::new();
    let mut ends = Vec::new();
    for (name, _, request, limit, cpu, _) in list {
        let row = work(&summary, &format!("job/{name}"));
        adds_up(row);
        let end = number(row, "last_done_s");
        let most = if limit.is_empty() { 4.0 } else { limit.parse().unwrap() };
        pods.push((end - number(row, "total_s"), f64::from(*cpu), request.parse().unwrap(), most));
        close(number(row, "computed_s"), f64::from(*cpu) / most, name);
        ends.push(end);
    }
    for (i, end) in reference(4.0, &pods).into_iter().enumerate() {
        close(ends[i], end, list[i].0);
    }
    summary
}

#[test]
fn two_pods_share_a_node_by_their_requests() {
    let list = [("one", "1m", "1", "", 600, WIDE), ("three", "1m", "3", "", 600, WIDE)];
    let summary = held_against("work-shares", &list);
    // One and three cores: the second is done after 200 s, the first has 400 left, and all four.
    let three = work(&summary, "job/three");
    assert!((number(three, "total_s") - 200.0).abs() < 3.0, "{three:#}");
    assert!((number(three, "waited_for_cpu_s") - 50.0).abs() < 3.0, "{three:#}");
    let one = work(&summary, "job/one");
    assert!((number(one, "total_s") - 300.0).abs() < 3.0, "{one:#}");
    assert!((number(one, "waited_for_cpu_s") - 150.0).abs() < 3.0, "{one:#}");
}

#[test]
fn a_quota_and_one_that_arrives_later_change_the_pieces_exactly() {
    let list = [
        ("quota", "1m", "1", "1", 300, WIDE),
        ("wide", "1m", "1", "", 900, WIDE),
        ("late", "3m", "2", "", 500, WIDE),
    ];
    let summary = held_against("work-quota", &list);
    // What the quota leaves goes to the other one until a third wants it.
    let quota = work(&summary, "job/quota");
    assert!(
        number(quota, "waited_for_cpu_s") < 1e-6,
        "its share is never below its quota: {quota:#}"
    );
    assert!(number(work(&summary, "job/wide"), "waited_for_cpu_s") > 60.0);
}

#[test]
fn what_runs_for_a_time_counts_with_its_request() {
    let folder = scratch("work-load");
    let file = folder.join("work.yaml");
    let list = [
        ("load", "1m", "3", "", 0, "wavetank.dev/exit-after: 30m"),
        ("work", "2m", "1", "", 100, WIDE),
    ];
    fs::write(&file, jobs(&list)).unwrap();
    let summary = summary(&file, &folder.join("out"), &[]);
    let row = work(&summary, "job/work");
    adds_up(row);
    // One core is left of four.
    close(number(row, "total_s"), 100.0, "work");
    close(number(row, "waited_for_cpu_s"), 75.0, "work");
}

#[test]
fn neighbours_of_a_group_slow_each_other_down() {
    let folder = scratch("work-neighbours");
    let file = folder.join("work.yaml");
    let more = "wavetank.dev/interference: bandwidth 25%";
    let list = [("a", "1m", "1", "1", 100, more), ("b", "1m", "1", "1", 1000, more)];
    fs::write(&file, jobs(&list)).unwrap();
    let summary = summary(&file, &folder.join("out"), &[]);
    for name in ["job/a", "job/b"] {
        adds_up(work(&summary, name));
        assert!(number(work(&summary, name), "waited_for_cpu_s") < 1e-6);
    }
    // Four fifths as fast beside the other one: of b while a is there, of a for all of its time, but
    // for the little by which one of them began earlier.
    let (a, b) = (work(&summary, "job/a"), work(&summary, "job/b"));
    let slowed = number(a, "slowed_by_neighbours_s");
    assert!((slowed - 25.0).abs() < 1.0, "{a:#}");
    close(number(b, "computed_s"), 1000.0, "b");
    assert!((number(b, "slowed_by_neighbours_s") - slowed).abs() < 1.0, "{b:#}");
}

#[test]
fn reading_takes_as_long_as_it_is_far() {
    let folder = scratch("work-reads");
    let file = folder.join("work.yaml");
    let speeds = "wavetank.dev/read-speeds: 200M 100M 50M";
    let list = [
        ("here", "1m", "1", "", 10, "wavetank.dev/reads: 10G from node node-0"),
        ("near", "1m", "1", "", 10, "wavetank.dev/reads: 10G from zone a"),
        ("far", "1m", "1", "", 10, "wavetank.dev/reads: '10G from zone b, 1G from zone a'"),
    ];
    let text = jobs(&list).replace("wavetank.dev/reads", &format!("{speeds}, wavetank.dev/reads"));
    fs::write(&file, text).unwrap();
    let summary = summary(&file, &folder.join("out"), &[]);
    close(number(work(&summary, "job/here"), "read_on_node_s"), 50.0, "here");
    close(number(work(&summary, "job/near"), "read_in_zone_s"), 100.0, "near");
    close(number(work(&summary, "job/far"), "read_elsewhere_s"), 200.0, "far");
    close(number(work(&summary, "job/far"), "read_in_zone_s"), 10.0, "far");
}

#[test]
fn a_crash_loses_the_work_and_the_job_begins_anew() {
    let folder = scratch("work-crash");
    let file = folder.join("work.yaml");
    let list = [("etl", "1m", "1", "", 600, "wavetank.dev/parallelism: '1'")];
    let text = jobs(&list).replace("count: 1", "count: 2")
        + "faults:\n  - {name: gone, crash: {node: node-0}, at: 5m, for: 30m}\n  \
           - {name: gone too, crash: {node: node-1}, at: 5m, for: 30m}\n";
    fs::write(&file, text).unwrap();
    let summary = summary(&file, &folder.join("out"), &[]);
    let row = work(&summary, "job/etl");
    assert_eq!((row["done"].as_u64(), row["broken_off"].as_u64()), (Some(1), Some(1)), "{row:#}");
    close(number(row, "computed_s"), 600.0, "all of it, in one go");
    // From a minute and a little on, until the crash.
    assert!((225.0..240.0).contains(&number(row, "lost_s")), "{row:#}");
}

/// The difference between two placements is the difference of their pieces.
#[test]
fn executors_beside_their_data_are_done_earlier_and_the_report_says_by_what() {
    let folder = scratch("work-spark");
    let mut totals = Vec::new();
    let mut ends = Vec::new();
    for way in ["local", "spread"] {
        let set = format!("manifests[1]={way}.yaml");
        let summary = summary(&scenario("spark-etl"), &folder.join(way), &["--set", &set]);
        let mut total = [0.0; 8];
        let mut end = 0.0_f64;
        for name in ["job/extract-a", "job/extract-b"] {
            let row = work(&summary, name);
            assert_eq!(row["done"], 6, "{row:#}");
            adds_up(row);
            total[7] += number(row, "total_s");
            for (sum, piece) in total.iter_mut().zip(PIECES) {
                *sum += number(row, piece);
            }
            end = end.max(number(row, "last_done_s"));
        }
        totals.push(total);
        ends.push(end);
    }
    let (local, spread) = (totals[0], totals[1]);
    assert!(ends[0] + 60.0 < ends[1], "local {}, spread {}", ends[0], ends[1]);
    // Reading from elsewhere is most of it, and a little of it comes back from neighbours.
    let differences: Vec<f64> = (0..7).map(|i| spread[i] - local[i]).collect();
    assert!(differences[2] >= differences.iter().copied().fold(0.0, f64::max), "{differences:?}");
    assert!(differences[5] < 0.0, "{differences:?}");
    assert!(
        local[2] < 1e-6 && spread[2] > 100.0,
        "read from elsewhere: {} {}",
        local[2],
        spread[2]
    );
}

#[test]
fn every_event_of_it_is_the_same_again() {
    let file = scenario("spark-etl").display().to_string();
    let done = ran(&mut wavetank(&["verify", &file]));
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
}
