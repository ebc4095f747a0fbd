//! Real inputs: Google's published shop, and Alibaba's GPU cluster with every total of its files.

use super::support::{plan_with, ran, scenario, scratch, shared_dir, wavetank};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use wavetank::cluster::spec::Process;
use wavetank::engine::Sym;

/// Runs a scenario from the shared data with more options; gives its run directory.
fn run(name: &str, options: &[&str]) -> Option<PathBuf> {
    let shared = shared_dir()?.display().to_string();
    let dir = scratch(&format!("real-{name}-{}", options.len())).join("run");
    let (out, file) = (dir.display().to_string(), scenario(name).display().to_string());
    let mut command = wavetank(&["run", "--no-plots", "--out", &out, "--shared", &shared, &file]);
    let done = ran(command.args(options));
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    Some(dir)
}

fn summary(dir: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("summary.json")).unwrap()).unwrap()
}

/// A column of a CSV file in a run directory.
fn column(dir: &std::path::Path, file: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(dir.join(file)).unwrap();
    let mut rows = text.lines();
    let at = rows.next().unwrap().split(',').position(|c| c == name).unwrap();
    rows.map(|row| row.split(',').nth(at).unwrap().to_owned()).collect()
}

/// A sum of decimals with at most three places, in thousandths: exact.
fn thousandths(column: &[String]) -> i64 {
    column
        .iter()
        .map(|text| {
            let (whole, part) = text.split_once('.').unwrap_or((text, ""));
            let part = format!("{part:0<3}");
            whole.parse::<i64>().unwrap() * 1000 + part[..3].parse::<i64>().unwrap()
        })
        .sum()
}

#[test]
fn the_shop_comes_up_whole() {
    // Before the crash, and without waiting for it.
    let Some(dir) =
        run("online-boutique", &["--set", "until=2m", "--set", "expect=[{converged: true}]"])
    else {
        return;
    };
    let summary = summary(&dir);
    let workloads = summary["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), 12, "the shop has twelve Deployments");
    assert_eq!(summary["pods"]["ready_at_end"], 12, "{:#}", summary["pods"]);
    for row in column(&dir, "pods.csv", "node") {
        assert!(row.starts_with("node-"), "a pod without a node");
    }
}

#[test]
fn the_shop_survives_a_crash() {
    let Some(dir) = run("online-boutique", &[]) else { return };
    let summary = summary(&dir);
    assert_eq!(summary["pods"]["ready_at_end"], 12, "{:#}", summary["pods"]);
    let on_the_node = column(&dir, "pods.csv", "evicted").iter().filter(|e| *e == "true").count();
    assert!(on_the_node > 0, "nothing ran on the node that died");
    let mut short = 0;
    for (name, seconds) in column(&dir, "workloads.csv", "workload").iter().zip(short_seconds(&dir))
    {
        if seconds > 0.0 {
            short += 1;
            // 40 to 50 s until the lease is missed, 300 s of toleration, and the start of the new
            // pod.
            assert!((335.0..=375.0).contains(&seconds), "{name} was short for {seconds} s");
        }
    }
    assert_eq!(short, on_the_node, "one replica each: who lost a pod was short, nobody else");
}

/// How long each workload was short of replicas after it had first been full.
fn short_seconds(dir: &std::path::Path) -> Vec<f64> {
    column(dir, "workloads.csv", "short_s").iter().map(|s| s.parse().unwrap()).collect()
}

/// Facts of the files, counted by another program: `data/README.md` of the shared data.
#[test]
fn openb_totals_are_those_of_its_files() {
    let Some(plan) = plan_with("openb", &[]) else { return };
    let nodes = &plan.cluster.nodes;
    assert_eq!(nodes.len(), 1523);
    let cpu: i64 = nodes.iter().map(|n| n.allocatable.cpu_milli).sum();
    let memory: i64 = nodes.iter().map(|n| n.allocatable.memory >> 20).sum();
    let gpu =
        |name: &str| -> i64 { nodes.iter().map(|n| n.allocatable.scalar(Sym::new(name))).sum() };
    assert_eq!((cpu, memory), (125_514_000, 612_028_416));
    assert_eq!(gpu("alibabacloud.com/gpu-count"), 6212);
    assert_eq!(gpu("alibabacloud.com/gpu-milli"), 6_212_000);
    let model = |model: &str| {
        let has = |n: &&wavetank::cluster::spec::NodeSpec| {
            n.labels.get(Sym::new("alibabacloud.com/gpu-card-model")) == Some(Sym::new(model))
        };
        nodes.iter().filter(has).count()
    };
    let models = ["P100", "G3", "V100M32", "V100M16", "G2", "T4", "A10"].map(model);
    assert_eq!(models, [134, 39, 30, 55, 549, 404, 2]);

    let rows: Vec<_> = plan
        .arrivals
        .iter()
        .filter_map(|a| if let Process::Rows(rows) = &a.process { Some(rows) } else { None })
        .flat_map(|rows| rows.iter())
        .collect();
    assert_eq!(rows.len(), 8152);
    let gpu: i64 = rows
        .iter()
        .filter_map(|row| row.template.as_ref())
        .map(|t| t.spec.containers[0].requests.scalar(Sym::new("alibabacloud.com/gpu-milli")))
        .sum();
    assert_eq!(gpu, 6_086_800);
}

#[test]
fn openb_runs_from_its_files() {
    let Some(dir) = run("openb", &[]) else { return };
    let nodes = |name: &str| column(&dir, "nodes.csv", name);
    assert_eq!(thousandths(&nodes("cpu_allocatable_cores")), 125_514_000);
    let memory = |column: &[String]| column.iter().map(|b| b.parse::<i64>().unwrap()).sum::<i64>();
    assert_eq!(memory(&nodes("memory_allocatable_bytes")), 612_028_416 << 20);
    let pods = |name: &str| column(&dir, "pods.csv", name);
    assert_eq!(pods("pod").len(), 8152);
    assert_eq!(thousandths(&pods("cpu_request_cores")), 85_436_012);
    assert_eq!(memory(&pods("memory_request_bytes")), 303_546_211 << 20);
    let summary = summary(&dir);
    assert_eq!(summary["pods"]["created"], 8152);
    // The last deletion of the list.
    let ended = summary["makespan_s"].as_f64().unwrap();
    assert!((12_902_960.0..12_903_000.0).contains(&ended), "{ended}");
    let families = summary["batch"].as_array().unwrap();
    assert_eq!(families.len(), 1, "one list is one family");
}
