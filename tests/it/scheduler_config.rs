//! `KubeSchedulerConfiguration` files, from the scenario to the decisions.

use super::support::shared_dir;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use wavetank::scenario::{InputErrors, LoadOptions, Loaded, load_with};

const BASE: &str = "apiVersion: wavetank.dev/v1
kind: Scenario
until: 1m
cluster: {nodes: [{name: node, count: 3, cpu: 4, memory: 16Gi}]}
";

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scheduler_config").join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Loads the base scenario with more text and one `--set`.
fn loaded(name: &str, more: &str, set: Option<(&str, &str)>) -> Result<Loaded, InputErrors> {
    let path = scratch(name).join("scenario.yaml");
    fs::write(&path, format!("{BASE}{more}")).unwrap();
    let overrides = set.map(|(p, v)| (p.to_owned(), v.to_owned())).into_iter().collect();
    let shared = shared_dir().unwrap_or_default();
    load_with(&path, &LoadOptions { overrides, shared })
}

/// Every upstream file the project has, with what becomes of it.
#[test]
fn the_eleven_files_load_or_are_refused_by_name() {
    let Some(shared) = shared_dir() else { return };
    let root = shared.join("data/scheduler-configs");
    let mut files: Vec<PathBuf> = super::support::files_below(&root);
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert_eq!(files.len(), 11);
    let mut said = String::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let written = format!("${{shared}}/data/scheduler-configs/{name}");
        let here = file.display().to_string();
        match loaded("eleven", "", Some(("scheduler.config", &written))) {
            Ok(_) => writeln!(said, "{name}: loads").unwrap(),
            Err(errors) => {
                for error in errors {
                    writeln!(said, "{}", error.to_string().replace(&here, &name)).unwrap();
                }
            }
        }
    }
    insta::assert_snapshot!(said);
}
