//! Sweeps: what is there is not played again, whoever was killed whenever leaves nothing half-written,
//! and shards make the same tables to the byte.

use super::support::{Ran, files_below, ran, root, scratch, wavetank};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use wavetank::scenario::load_sweep;

const SCENARIO: &str = "
apiVersion: wavetank.dev/v1
kind: Scenario
metadata: {name: tiny}
until: 3m
cluster: {nodes: [{name: node, count: 3, cpu: 4, memory: 16Gi}]}
arrivals:
  - {name: small, job: {cpu: 500m, memory: 1Gi}, poisson: 20/m, end: 2m, duration: {uniform: [10s, 50s]}}
  - {name: wide, job: {cpu: 3, memory: 4Gi}, poisson: 4/m, end: 2m, duration: {uniform: [10s, 50s]}}
expect:
  - bound: 1
";

/// A sweep of so many seeds over two policies, in a folder of its own.
fn sweep_of(dir: &Path, seeds: &str) -> PathBuf {
    fs::write(dir.join("scenario.yaml"), SCENARIO).unwrap();
    let path = dir.join("sweep.yaml");
    let text = format!(
        "apiVersion: wavetank.dev/v1
kind: Sweep
metadata: {{name: tiny}}
scenario: scenario.yaml
seeds: {seeds}
grid:
  scheduler.policy: [least-allocated, most-allocated]
"
    );
    fs::write(&path, text).unwrap();
    path
}

fn sweep(file: &Path, out: &Path, more: &[&str]) -> Ran {
    let (file, out) = (file.display().to_string(), out.display().to_string());
    ran(wavetank(&["sweep", &file, "--out", &out, "--quiet"]).args(more))
}

fn merge(out: &Path, from: &[PathBuf]) -> Ran {
    let mut command = wavetank(&["merge", &out.display().to_string()]);
    ran(command.args(from))
}

/// The last line: how many were played.
fn played(done: &Ran) -> String {
    assert_eq!(done.code, Some(0), "{}", done.err);
    let last = done.out.trim_end().lines().last().unwrap_or_default();
    last.split(';').next().unwrap_or_default().to_owned()
}

/// Every file of a report by its name.
fn report(out: &Path) -> Vec<(String, Vec<u8>)> {
    let folder = out.join("report");
    let files = files_below(&folder);
    assert!(files.len() >= 6, "{files:?}");
    files
        .iter()
        .map(|path| {
            let inside = path.strip_prefix(&folder).unwrap().display().to_string();
            (inside, fs::read(path).unwrap())
        })
        .collect()
}

fn same_reports(a: &Path, b: &Path) {
    let (a, b) = (report(a), report(b));
    let names = |all: &[(String, Vec<u8>)]| all.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{name} differs");
    }
}

/// Files of runs that have ended.
fn runs(out: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(out.join("runs")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    files
}

#[test]
fn only_what_is_missing_is_played() {
    let dir = scratch("sweep-missing");
    let (out, fresh) = (dir.join("out"), dir.join("fresh"));
    let file = sweep_of(&dir, "1..3");
    let dry = sweep(&file, &out, &["--dry-run"]);
    assert!(
        dry.out.contains("2 cells x 3 seeds, 6 runs: 0 are there, 6 are missing"),
        "{}",
        dry.out
    );
    assert!(!out.exists(), "a dry run writes nothing");
    assert_eq!(played(&sweep(&file, &out, &[])), "6 runs played, 0 were there");
    assert_eq!(played(&sweep(&file, &out, &[])), "0 runs played, 6 were there");
    // A seed more, a torn file, a foreign one.
    let file = sweep_of(&dir, "1..4");
    let files = runs(&out);
    let bytes = fs::read(&files[0]).unwrap();
    fs::write(&files[0], &bytes[..bytes.len() / 2]).unwrap();
    fs::copy(&files[1], &files[2]).unwrap();
    let dry = sweep(&file, &out, &["--dry-run"]);
    assert!(dry.out.contains("8 runs: 4 are there, 4 are missing"), "{}", dry.out);
    assert_eq!(played(&sweep(&file, &out, &[])), "4 runs played, 4 were there");
    assert_eq!(fs::read(&files[0]).unwrap(), bytes);
    assert_eq!(played(&sweep(&file, &fresh, &["--jobs", "1"])), "8 runs played, 0 were there");
    same_reports(&out, &fresh);
    // Another byte of input is another run.
    fs::write(dir.join("scenario.yaml"), format!("{SCENARIO}# more\n")).unwrap();
    assert_eq!(played(&sweep(&file, &out, &[])), "8 runs played, 0 were there");
}

#[test]
fn a_comparison_is_kept_in_the_same_way() {
    let dir = scratch("sweep-compare");
    sweep_of(&dir, "1");
    let (file, out) = (dir.join("scenario.yaml"), dir.join("out"));
    let compare = |policies: &[&str], more: &[&str]| {
        let mut command = wavetank(&["compare", &file.display().to_string(), "--quiet"]);
        command.args(["--seeds", "1..4"]).args(more);
        let done = ran(command.args(policies.iter().flat_map(|p| ["--policy", p])));
        assert_eq!(done.code, Some(0), "{}", done.err);
        done.out
    };
    let two = ["least-allocated", "most-allocated"];
    let place = out.display().to_string();
    let kept = compare(&two, &["--out", &place]);
    let plain = compare(&two, &[]);
    assert!(kept.starts_with(plain.trim_end()), "{plain}\n{kept}");
    assert_eq!(runs(&out).len(), 8);
    let page = fs::read_to_string(out.join("report/report.html")).unwrap();
    let verdict = plain.lines().next().unwrap().replace('<', "&lt;");
    assert!(page.contains(&verdict), "{verdict}");
    assert!(page.matches("<svg").count() >= 4, "pictures are missing");
    for loads in ["src=", "href=", "url("] {
        assert!(!page.contains(loads), "the page loads something: {loads}");
    }
    // A policy more plays its own runs only.
    compare(&["least-allocated", "most-allocated", "least-allocated"], &["--out", &place]);
    assert_eq!(runs(&out).len(), 8);
}

#[test]
fn shards_merge_to_the_same_bytes() {
    let dir = scratch("sweep-shards");
    let file = sweep_of(&dir, "1..5");
    let whole = dir.join("whole");
    assert_eq!(played(&sweep(&file, &whole, &[])), "10 runs played, 0 were there");
    let shards: Vec<PathBuf> = (1..=3).map(|i| dir.join(format!("shard-{i}"))).collect();
    for (i, shard) in shards.iter().enumerate().take(2) {
        let done = sweep(&file, shard, &["--shard", &format!("{}/3", i + 1)]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(!shard.join("report").exists(), "a shard makes no table");
    }
    let out = dir.join("out");
    let lacking = merge(&out, &shards[..2]);
    assert_eq!(lacking.code, Some(1), "{}", lacking.err);
    assert!(lacking.err.contains("3 runs missing"), "{}", lacking.err);
    assert!(lacking.err.contains("least-allocated: no run of seed 3"), "{}", lacking.err);
    assert!(!out.join("report").exists());
    sweep(&file, &shards[2], &["--shard", "3/3"]);
    let done = merge(&out, &shards);
    assert_eq!(done.code, Some(0), "{}", done.err);
    same_reports(&whole, &out);
    // All shards into one directory, and nothing to copy.
    let shared = dir.join("shared");
    for shard in ["1/2", "2/2"] {
        sweep(&file, &shared, &["--shard", shard]);
    }
    assert_eq!(merge(&shared, &[]).code, Some(0));
    same_reports(&whole, &shared);
    // What does not belong together is refused.
    let other = sweep_of(&dir, "1..6");
    sweep(&other, &dir.join("other"), &["--shard", "1/3"]);
    let mixed = merge(&out, &[shards[0].clone(), dir.join("other")]);
    assert_eq!(mixed.code, Some(2));
    assert!(mixed.err.contains("holds another sweep"), "{}", mixed.err);
    assert_eq!(merge(&dir.join("nowhere"), &[]).code, Some(2));
}

/// Starts a process that plays; it is killed when dropped.
fn start(file: &Path, out: &Path, more: &[&str]) -> Child {
    let (file, out) = (file.display().to_string(), out.display().to_string());
    let mut command = wavetank(&["sweep", &file, "--out", &out, "--quiet", "--jobs", "2"]);
    command.args(more).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Waits until so many runs are there, lets some more time pass, and kills (SIGKILL).
#[expect(clippy::disallowed_methods, reason = "a kill comes at a moment of the wall clock")]
fn kill_at(mut child: Child, out: &Path, runs_there: usize, more_us: u64) {
    while runs(out).len() < runs_there && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    std::thread::sleep(std::time::Duration::from_micros(more_us));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_sweep_survives_being_killed() {
    let dir = scratch("sweep-killed");
    let file = sweep_of(&dir, "1..100");
    let (quiet, out) = (dir.join("quiet"), dir.join("out"));
    assert_eq!(played(&sweep(&file, &quiet, &[])), "200 runs played, 0 were there");
    let mut midway = 0;
    for (there, more_us) in [(0, 3_000), (1, 0), (20, 700), (61, 150), (110, 2_300), (170, 400)] {
        kill_at(start(&file, &out, &[]), &out, there, more_us);
        midway += usize::from((1..200).contains(&runs(&out).len()));
        assert!(!out.join("report").exists() || runs(&out).len() == 200);
    }
    assert!(midway >= 3, "only {midway} kills came midway");
    // And while the report is written.
    let done = sweep(&file, &out, &[]);
    assert!(played(&done).ends_with("were there"), "{}", done.out);
    same_reports(&quiet, &out);
    for more_us in [20_000, 60_000, 110_000, 170_000] {
        kill_at(start(&file, &out, &[]), &out, 200, more_us);
        if out.join("report").exists() {
            same_reports(&quiet, &out);
        }
    }
    assert_eq!(played(&sweep(&file, &out, &[])), "0 runs played, 200 were there");
    same_reports(&quiet, &out);
    let left = files_below(&out).into_iter().filter(|p| p.to_string_lossy().contains(".tmp"));
    assert_eq!(left.count(), 0, "killed processes have left files behind");
}

#[test]
fn a_pool_of_shards_survives_a_killed_one() {
    let dir = scratch("sweep-pool");
    let file = sweep_of(&dir, "1..40");
    let (quiet, out) = (dir.join("quiet"), dir.join("out"));
    sweep(&file, &quiet, &[]);
    let shards = ["1/4", "2/4", "3/4", "4/4"];
    let mut pool: Vec<Child> =
        shards.iter().map(|shard| start(&file, &out, &["--shard", shard])).collect();
    // The last one is killed midway; the others end by themselves.
    kill_at(pool.pop().unwrap(), &out, 12, 0);
    for mut worker in pool {
        assert!(worker.wait().unwrap().success());
    }
    let lacking = merge(&out, &[]);
    assert_eq!(lacking.code, Some(1), "the kill came too late: {}", lacking.out);
    let again = sweep(&file, &out, &["--shard", "4/4"]);
    assert!(again.out.starts_with("shard 4/4 of tiny: "), "{}", again.out);
    assert_eq!(merge(&out, &[]).code, Some(0));
    same_reports(&quiet, &out);
}

#[test]
fn shipped_sweeps_can_be_read() {
    let mut names = Vec::new();
    for path in files_below(&root().join("scenarios/sweeps")) {
        if path.extension().is_some_and(|e| e == "yaml") {
            let sweep = load_sweep(&path, Path::new("nowhere"));
            let sweep = sweep.unwrap_or_else(|errors| panic!("{}: {}", path.display(), errors[0]));
            assert!(sweep.cells.len() > 1 && sweep.seeds.len() > 1);
            names.push(sweep.name);
        }
    }
    assert!(!names.is_empty());
}

#[test]
fn the_schema_of_sweeps_is_current() {
    let fresh = format!("{:#}\n", wavetank::scenario::sweep_schema());
    super::support::snapshot(&root().join("scenarios/sweep.schema.json"), &fresh);
}

/// What is said about a sweep.
fn said(dir: &Path, text: &str) -> String {
    let path = dir.join("sweep.yaml");
    fs::write(&path, text).unwrap();
    let done = ran(&mut wavetank(&["sweep", &path.display().to_string(), "--dry-run"]));
    if done.code == Some(0) {
        return "nothing".to_owned();
    }
    assert_eq!(done.code, Some(2), "{}", done.err);
    done.err.replace(&format!("{}/", dir.display()), "")
}

#[test]
fn bad_sweeps_are_errors_with_a_place() {
    let dir = scratch("sweep-bad");
    fs::write(dir.join("scenario.yaml"), SCENARIO).unwrap();
    let head = "apiVersion: wavetank.dev/v1\nkind: Sweep\nscenario: scenario.yaml\n";
    let grid = "grid:\n  scheduler.policy: [least-allocated, most-allocated]\n";
    let all = [
        format!("{head}seeds: 1..3\n{grid}gird: {{}}\n"),
        format!("{head}seeds: 3..1\n{grid}"),
        format!("{head}{grid}"),
        "kind: Scenario\n".to_owned(),
        "- a\n".to_owned(),
        format!("{head}seeds: 1..3\ngrid:\n  scheduler.polisy: [a]\n"),
        format!(
            "{head}seeds: 1..3\ngrid:\n  scheduler.policy:\n    - least-allocated\n    - packed\n"
        ),
        format!("{head}seeds: 1..3\ngrid:\n  cluster.nodes[0].count: [3, many]\n"),
        format!("{head}seeds: 1..3\ngrid:\n  cluster.nodes[7].count: [3, 4]\n"),
        format!("{head}seeds: 1..3\ngrid:\n  scheduler.policy: least-allocated\n"),
        format!("{head}seeds: 1..3\ngrid:\n  scheduler.policy: []\n"),
        format!(
            "{head}seeds: 1..3\ngrid:\n  scheduler.policy: [least-allocated, least-allocated]\n"
        ),
        format!("{head}seeds: 1..3\ngrid:\n  seed: [1, 2]\n"),
        format!("{head}seeds: 1..3\n{grid}names:\n  scheduler.policy: [a]\n  until: [b]\n"),
        format!("{head}seeds: 1..3\n{grid}baseline: most-alocated\n"),
        format!("{head}seeds: 1..3\nset: {{until: soon}}\n{grid}"),
        format!("{}seeds: 1..3\n{grid}", head.replace("scenario.yaml", "nowhere.yaml")),
        format!("{head}seeds: 1..3\n{grid}").replace("dev/v1", "dev/v2"),
        format!("{head}seeds: 1..3\n{grid}metadata: {{name: ../out}}\n"),
    ];
    let mut told = String::new();
    for text in &all {
        let says = said(&dir, text);
        assert_ne!(says, "nothing", "{text}");
        told.push_str(&format!("{text}----\n{says}\n"));
    }
    super::support::snapshot(&root().join("tests/it/bad_sweeps.txt"), &told);
}
