//! Bad input is an error with file, line, field and hint: never a panic, never silence.
//!
//! The cases stand in `bad_input.txt`: `#` and what is wrong, the scenario, files beside it after
//! `@file NAME`, and after `@says` everything that is said about it. `@base` stands for a small
//! cluster. `UPDATE=1 cargo test bad_input` rewrites what is said: read the difference before you
//! commit it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use wavetank::scenario::load;

const BASE: &str = "apiVersion: wavetank.dev/v1
kind: Scenario
until: 10m
cluster:
  nodes:
    - {name: node, count: 3, cpu: 4, memory: 16Gi, zone: zone-a}
";

struct Case {
    title: String,
    scenario: String,
    files: Vec<(String, String)>,
    says: String,
}

fn parse(table: &str) -> Vec<Case> {
    table.split("\n# ").skip(1).map(parse_case).collect()
}

fn parse_case(block: &str) -> Case {
    let (title, body) = block.split_once('\n').expect("a case has a title");
    let (input, says) = body.split_once("@says\n").expect("a case has @says");
    let mut parts = input.split("@file ");
    let scenario = parts.next().unwrap_or_default().to_owned();
    let files = parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect();
    Case { title: title.to_owned(), scenario, files, says: says.trim_end().to_owned() }
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad_input").join(name);
    fs::create_dir_all(&dir).expect("the scratch directory can be written");
    dir
}

/// Everything that is said about a scenario in a directory, with paths relative to it.
fn said(dir: &Path, overrides: &[(String, String)]) -> String {
    let here = format!("{}/", dir.display());
    match load(&dir.join("scenario.yaml"), overrides) {
        Ok(_) => "nothing".to_owned(),
        Err(errors) => {
            assert!(!errors.is_empty(), "an error without a word");
            let all: Vec<String> =
                errors.iter().map(|e| e.to_string().replace(&here, "")).collect();
            all.join("\n")
        }
    }
}

fn outcome(case: &Case, number: usize) -> String {
    let dir = scratch(&format!("case-{number}"));
    fs::write(dir.join("scenario.yaml"), case.scenario.replace("@base\n", BASE))
        .expect("the scratch directory can be written");
    for (name, text) in &case.files {
        fs::write(dir.join(name), text).expect("the scratch directory can be written");
    }
    said(&dir, &[])
}

#[test]
fn the_table_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/bad_input.txt");
    let table = fs::read_to_string(&path).unwrap();
    let cases = parse(&table);
    assert!(cases.len() >= 30, "{} cases", cases.len());
    let update = std::env::var_os("UPDATE").is_some();
    let mut fresh = table.split("\n# ").next().unwrap().to_owned();
    let mut wrong = String::new();
    for (number, case) in cases.iter().enumerate() {
        let says = outcome(case, number);
        if says != case.says {
            write!(wrong, "\n# {}\nexpected:\n{}\nsaid:\n{says}\n", case.title, case.says).unwrap();
        }
        assert_ne!(says, "nothing", "# {}", case.title);
        write!(fresh, "\n# {}\n{}", case.title, case.scenario).unwrap();
        for (name, text) in &case.files {
            write!(fresh, "@file {name}\n{text}").unwrap();
        }
        writeln!(fresh, "@says\n{says}").unwrap();
    }
    if update {
        fs::write(&path, fresh).unwrap();
    } else {
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let dir = scratch("missing");
    let errors = load(&dir.join("nowhere.yaml"), &[]).unwrap_err();
    assert!(errors[0].to_string().ends_with("nowhere.yaml: no such file"), "{}", errors[0]);
    let errors = load(&dir, &[]).unwrap_err();
    assert_eq!(errors[0].problem, "is a directory");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let dir = scratch("bytes");
    let path = dir.join("scenario.yaml");
    let cases: [(&[u8], usize, &str); 5] = [
        (b"", 1, "is empty"),
        (b"\n# only a comment\n", 1, "is empty"),
        (b"seed: 1\n\xff\xfe\xfd", 2, "is no UTF-8 text"),
        (b"\x7fELF\x02\x01\x01\x00\x00", 1, "is no text: it holds a NUL byte"),
        (b"\xff\xfea\x00", 1, "is UTF-16 text"),
    ];
    for (bytes, line, problem) in cases {
        fs::write(&path, bytes).unwrap();
        let errors = load(&path, &[]).unwrap_err();
        assert_eq!((errors[0].line, errors[0].problem.as_str()), (line, problem));
        assert!(!errors[0].hint.is_empty(), "{}", errors[0]);
    }
}

#[test]
fn a_hundred_megabytes_of_noise_are_refused_unread() {
    let path = scratch("noise").join("scenario.yaml");
    fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let errors = load(&path, &[]).unwrap_err();
    assert_eq!(errors[0].problem, "is larger than 64 MiB");
    fs::remove_file(&path).unwrap();
}

#[test]
fn deep_nesting_and_alias_bombs_are_refused() {
    let dir = scratch("bombs");
    let mut bomb = format!("{BASE}objects:\n- &a0 {{kind: x}}\n");
    for i in 1..40 {
        writeln!(bomb, "- &a{i} {{l: *a{}, r: *a{}}}", i - 1, i - 1).unwrap();
    }
    let cases = [
        (format!("{BASE}objects: {}", "[".repeat(100_000)), "is nested deeper than 100 levels"),
        (
            format!("{BASE}objects: {}1{}", "{a: ".repeat(5_000), "}".repeat(5_000)),
            "is nested deeper than 100 levels",
        ),
        (bomb, "repetition limit exceeded"),
    ];
    for (text, problem) in cases {
        fs::write(dir.join("scenario.yaml"), text).unwrap();
        let says = said(&dir, &[]);
        assert!(says.contains(problem), "{says}");
    }
}

#[test]
fn overrides_are_checked_against_the_schema() {
    let dir = scratch("set");
    fs::write(dir.join("scenario.yaml"), BASE).unwrap();
    let set = |path: &str, value: &str| said(&dir, &[(path.to_owned(), value.to_owned())]);
    assert_eq!(set("seed", "7"), "nothing");
    assert_eq!(set("cluster.nodes[0].count", "5"), "nothing");
    assert_eq!(set("cluster.nodes[0].labels[example.com/tier]", "x"), "nothing");
    assert_eq!(set("scheduler.policy", "most-allocated"), "nothing");
    let cases = [
        ("sed", "7", "--set sed=7: there is no field \"sed\"\n  hint: did you mean seed?"),
        (
            "cluster.nodes[7].count",
            "5",
            "--set cluster.nodes[7].count=5: the list has 1 items, so there is no [7]",
        ),
        (
            "seed",
            "-1",
            "--set seed=-1: seed: -1 is too small\n  hint: a whole number from 0 to 18446744073709551615",
        ),
        (
            "until..at",
            "5",
            "--set until..at=5: \"until..at\" is not a path such as cluster.nodes[0].count\n  hint: write --set seed=7 or --set 'cluster.nodes[0].count=5'",
        ),
        (
            "scheduler.ties",
            "packed",
            "--set scheduler.ties=packed: scheduler.ties: \"packed\" is not possible here\n  hint: possible here: uniform, upstream, first, name, node-order-per-run",
        ),
    ];
    for (path, value, want) in cases {
        assert_eq!(set(path, value), want);
    }
}
