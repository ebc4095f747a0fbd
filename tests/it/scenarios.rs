//! The scenarios that come with the simulator load, and their schema is current.

use super::support::files_below;
use std::fs;
use std::path::{Path, PathBuf};
use wavetank::scenario::{self, LoadOptions, load_with};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn options() -> LoadOptions {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    LoadOptions { shared, ..LoadOptions::default() }
}

#[test]
fn all_scenarios_load() {
    let options = options();
    let mut count = 0;
    for path in files_below(&folder()) {
        if !path.ends_with("scenario.yaml") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{} has no comment header", path.display());
        if text.contains("${shared}") && !options.shared.is_dir() {
            continue;
        }
        let loaded = load_with(&path, &options).unwrap_or_else(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("{}", all.join("\n"));
        });
        assert!(!loaded.plan.expect.is_empty(), "{} expects nothing", path.display());
        assert_eq!(loaded.warnings, [], "{}", path.display());
    }
    assert!(count >= 9, "{count} scenarios");
}

#[test]
fn the_first_scenario_is_short() {
    let text = fs::read_to_string(folder().join("first-steps/scenario.yaml")).unwrap();
    assert!(text.lines().count() < 15);
}

#[test]
fn the_schema_is_current() {
    let path = folder().join("schema.json");
    let mut fresh = serde_json::to_string_pretty(&scenario::schema()).unwrap();
    fresh.push('\n');
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "scenarios/schema.json is stale: UPDATE=1 cargo test schema");
}
