//! What people type: exit codes, messages, and run directories that are complete or absent.

use super::support::{Ran, files_below, ran, scenario, scratch, wavetank};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

fn first_steps() -> String {
    scenario("first-steps").display().to_string()
}

fn zone_outage() -> String {
    scenario("zone-outage").display().to_string()
}

fn wave(arguments: &[&str]) -> Ran {
    ran(&mut wavetank(arguments))
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn exit_codes_tell_how_it_ended() {
    let file = first_steps();
    let cases: [(&[&str], i32); 8] = [
        (&["run", "--no-out", "--quiet", &file], 0),
        (&["run", "--no-out", "--quiet", "--set", "until=1s", &file], 1),
        (&["run", "--no-out", "--set", "untill=1s", &file], 2),
        (&["run", "--no-out", "nowhere.yaml"], 2),
        (&["run"], 2),
        (&["surf"], 2),
        (&["--help"], 0),
        (&["replay", "scenarios"], 2),
    ];
    for (arguments, want) in cases {
        let done = wave(arguments);
        assert_eq!(done.code, Some(want), "{arguments:?}: {}{}", done.out, done.err);
    }
}

#[test]
fn a_failed_expectation_says_what_was_seen() {
    let done = wave(&["run", "--no-out", "--set", "expect=[{bound: 4}]", &first_steps()]);
    assert_eq!(done.code, Some(1));
    assert!(done.out.contains("FAIL  at least 4 pods bound: 3"), "{}", done.out);
}

#[test]
fn mistakes_are_told_with_their_place_and_a_hint() {
    let file = first_steps();
    for (set, problem, hint) in [
        ("cluster.nodes[0].cpus=3", "there is no field \"cpus\"", "did you mean cpu?"),
        ("no-value", "no `=` in it", "write --set path=value"),
    ] {
        let done = wave(&["run", "--no-out", "--set", set, &file]);
        assert_eq!(done.code, Some(2));
        assert!(done.err.contains(problem) && done.err.contains(hint), "{}", done.err);
        assert_eq!(done.out, "");
    }
}

/// What the help recommends works.
#[test]
fn the_hint_of_set_can_be_followed() {
    let file = first_steps();
    let done = wave(&["run", "--no-out", "--set", "cluster.nodes[0].count=5", &file]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("on 5 nodes"), "{}", done.out);
    let help = wave(&["run", "--help"]).out;
    assert!(help.contains("cluster.nodes[0].count=5"), "{help}");
}

#[test]
fn bad_input_writes_nothing() {
    let place = scratch("cli-nothing");
    let broken = place.join("broken.yaml");
    fs::write(&broken, "apiVersion: wavetank.dev/v1\nkind: Scenario\nuntil: 5m\nnods: []\n")
        .unwrap();
    let out = place.join("run").display().to_string();
    let done = wave(&["run", "--out", &out, &broken.display().to_string()]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("broken.yaml:4: nods"), "{}", done.err);
    assert_eq!(names(&place), ["broken.yaml"]);
}

#[test]
fn what_is_no_run_directory_is_not_touched() {
    let place = scratch("cli-foreign");
    fs::write(place.join("file"), "mine").unwrap();
    fs::create_dir(place.join("notes")).unwrap();
    fs::write(place.join("notes/todo.txt"), "mine").unwrap();
    let file = first_steps();
    for (target, problem) in [
        ("file", "is a file, not a run directory"),
        ("file/run", "cannot be made"),
        ("notes", "is not empty and no run directory: it will not be overwritten"),
    ] {
        let out = place.join(target).display().to_string();
        let done = wave(&["run", "--out", &out, &file]);
        assert_eq!(done.code, Some(2), "{target}");
        assert!(done.err.contains(problem), "{target}: {}", done.err);
        assert_eq!(done.out, "", "{target}");
    }
    assert_eq!(names(&place), ["file", "notes"]);
    assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "mine");
    assert_eq!(names(&place.join("notes")), ["todo.txt"]);
}

#[test]
fn an_older_run_is_replaced() {
    let place = scratch("cli-replaced");
    let out = place.join("run").display().to_string();
    for seed in ["1", "2"] {
        let done = wave(&["run", "--quiet", "--out", &out, "--seed", seed, &first_steps()]);
        assert_eq!(done.code, Some(0), "{}", done.err);
    }
    assert_eq!(names(&place), ["run"]);
    let about = fs::read_to_string(place.join("run/run.json")).unwrap();
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about["seed"], 2);
    assert_eq!(wave(&["replay", &out]).code, Some(0));
}

/// All that a run directory must hold.
const COMPLETE: [&str; 8] = [
    "events.csv",
    "nodes.csv",
    "pods.csv",
    "report.html",
    "run.json",
    "summary.json",
    "timeseries.csv",
    "workloads.csv",
];

#[expect(clippy::disallowed_methods, reason = "a process is killed at moments of real time")]
fn wait_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Killed at any moment, a run leaves its directory as it was before or complete.
#[test]
fn a_killed_run_leaves_nothing_half_written() {
    let place = scratch("cli-killed");
    let target = place.join("run");
    let (out, file) = (target.display().to_string(), zone_outage());
    let mut killed = 0;
    for ms in [1, 3, 7, 15, 30, 60, 90, 120, 150, 180, 210, 250, 300, 400, 550, 700] {
        let mut command = wavetank(&["run", "--quiet", "--out", &out, &file]);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        wait_ms(ms);
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        if target.exists() {
            let held = names(&target);
            let missing: Vec<&&str> =
                COMPLETE.iter().filter(|name| !held.iter().any(|h| h == **name)).collect();
            assert!(missing.is_empty(), "after {ms} ms {missing:?} are missing of {held:?}");
        }
    }
    assert!(killed >= 4, "only {killed} runs were killed before their end");
    let done = wave(&["run", "--quiet", "--out", &out, &file]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(names(&place), ["run"], "leftovers of killed runs are cleaned up");
    assert_eq!(wave(&["replay", &out]).code, Some(0));
}

#[test]
fn the_summary_as_data() {
    let done = wave(&["run", "--no-out", "--profile", "--format", "json", &zone_outage()]);
    assert!(done.err.contains("profile: "), "{}", done.err);
    let summary: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(summary["scenario"], "zone-outage");
    assert_eq!(summary["nodes"], 33);
    assert_eq!(summary["expectations"].as_array().map(Vec::len), Some(5));
}

/// Pipes these lines into `wavetank step`.
fn step(file: &str, lines: &[&str]) -> String {
    let mut command = wavetank(&["step", file]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let script = lines.join("\n") + "\n";
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn stepping_goes_forth_and_back() {
    let file = first_steps();
    let text = step(&file, &["n 3", "o deployment/default/web", "p deployment/default/web", "q"]);
    assert!(text.contains("Node node-0 was created by apiserver"), "{text}");
    assert!(text.contains("Deployment default/web was created by user"), "{text}");
    assert!(text.contains("kind: Deployment\n"), "{text}");

    let text = step(&file, &["t 1s", "b 10", "n 10", "i", "t 3s", "t 1s", "q"]);
    let places: Vec<&str> = text.lines().filter(|line| line.starts_with("at ")).collect();
    assert_eq!(places.len(), 5, "{text}");
    assert_eq!(places[0], places[2], "ten back and ten forth");
    assert_eq!(places[0], places[4], "back in time");
    assert_ne!(places[0], places[1]);
    assert_ne!(places[0], places[3]);

    let text = step(&file, &["t 5m", "n", "p node/node-1", "p pod/default/none", "zzz", "q", "n"]);
    assert!(text.contains("the run has ended"), "{text}");
    assert!(text.contains("kind: Node\n"), "{text}");
    assert!(text.contains("there is no Pod default/none now"), "{text}");
    assert!(text.ends_with("q               quit\n"), "an unknown command shows the help: {text}");
}

#[test]
fn why_an_evicted_pod_went_ends_at_the_fault() {
    let place = scratch("cli-why");
    let out = place.join("run").display().to_string();
    let done = wave(&["run", "--quiet", "--no-plots", "--out", &out, &zone_outage()]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let pods = fs::read_to_string(place.join("run/pods.csv")).unwrap();
    let evicted: Vec<String> = pods
        .lines()
        .filter(|line| line.contains(",node-controller,true,") && line.contains("deployment/"))
        .map(|line| line.split(',').take(2).collect::<Vec<_>>().join("/"))
        .collect();
    assert!(evicted.len() >= 6, "{pods}");
    for pod in evicted.iter().take(3) {
        // From the scenario, and from the run directory.
        for source in [&zone_outage(), &out] {
            let done = wave(&["why", source, &format!("pod/{pod}")]);
            assert_eq!(done.code, Some(0), "{}", done.err);
            let first = done.out.lines().next().unwrap();
            assert!(first.contains(&format!("Pod {pod} was marked for deletion")), "{}", done.out);
            let last = done.out.lines().last().unwrap();
            let end = "machine crashes (fault #1, zone b is dark)";
            assert!(last.contains("0:10:00.000") && last.ends_with(end), "{}", done.out);
        }
    }
    let done = wave(&["why", &zone_outage(), "pod/shop/ledger-7"]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("hint: there are shop/ledger-0"), "{}", done.err);
}

#[test]
fn small_commands() {
    let version = wave(&["version"]);
    assert_eq!(version.out, concat!("wavetank ", env!("CARGO_PKG_VERSION"), "\n"));
    let schema: serde_json::Value = serde_json::from_str(&wave(&["schema"]).out).unwrap();
    assert_eq!(schema["type"], "object");
    assert!(wave(&["completions", "bash"]).out.starts_with("_wavetank()"));
    let valid = wave(&["validate", &zone_outage()]);
    assert_eq!(valid.code, Some(0));
    assert!(valid.out.contains("fine. 33 nodes, 13 steps"), "{}", valid.out);
    let file = scratch("cli-validate").join("policy.yaml");
    let text = "apiVersion: wavetank.dev/v1\nkind: Scenario\nuntil: 1m\ncluster: {nodes: [{name: node, count: 1, cpu: 1, memory: 1Gi}]}\nobjects:\n  - {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {podSelector: {}}}\n";
    fs::write(&file, text).unwrap();
    let valid = wave(&["validate", &file.display().to_string()]);
    assert!(valid.out.contains("accepted, not modelled: NetworkPolicy (1)"), "{}", valid.out);
}

#[test]
fn profile_and_record_are_told() {
    let place = scratch("cli-profile");
    let out = place.join("run").display().to_string();
    let done = wave(&["run", "--profile", "--record", "--out", &out, &first_steps()]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("profile: "), "{}", done.out);
    let files = files_below(&place);
    assert!(files.iter().any(|path| path.ends_with("run/trace.txt")), "{files:?}");
    let plain = wave(&["run", "--quiet", "--out", &out, &first_steps()]);
    assert_eq!(plain.code, Some(0));
    assert!(!place.join("run/trace.txt").exists(), "the older run is gone as a whole");
}

/// A run that comes out differently is our bug, unless another version made it.
#[test]
fn a_replay_that_differs_is_told() {
    let place = scratch("cli-differs");
    let out = place.join("run").display().to_string();
    let done = wave(&["run", "--quiet", "--no-plots", "--out", &out, &first_steps()]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let path = place.join("run/run.json");
    let about: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut changed = about.clone();
    changed["digest"] = "0123456789abcdef0123456789abcdef".into();
    fs::write(&path, changed.to_string()).unwrap();
    let done = wave(&["replay", &out]);
    assert_eq!(done.code, Some(3));
    assert!(done.out.ends_with("DIFFERENT\n"), "{}", done.out);
    changed["version"] = "0.0.1".into();
    fs::write(&path, changed.to_string()).unwrap();
    let done = wave(&["replay", &out]);
    assert_eq!(done.code, Some(2));
    assert!(done.out.contains("it was made by version 0.0.1"), "{}", done.out);
    fs::write(&path, "{").unwrap();
    let done = wave(&["replay", &out]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("run.json:1: is no JSON"), "{}", done.err);
}
