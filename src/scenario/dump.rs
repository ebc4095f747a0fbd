//! A cluster's dump in place of a scenario: what `kubectl get -A -o yaml` printed is all there is
//! to say about the cluster, so the scenario around it is written here.

use super::error::{InputError, InputErrors};
use super::load::{LoadOptions, Loaded, load_with, parse};
use super::report::{MAX_TEXT, read_bytes, unpack};
use super::source;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Reads a scenario, or a dump as a scenario of its own.
///
/// # Errors
/// All that is wrong with the file and the files it names.
pub fn load_or_dump(path: &Path, options: &LoadOptions) -> Result<Loaded, InputErrors> {
    let label = path.display().to_string();
    let bytes = read_bytes(path, MAX_TEXT).map_err(|error| vec![error])?;
    let unpacked = unpack(&label, bytes.clone(), MAX_TEXT).map_err(|error| vec![error])?;
    let text = source::decode(&label, unpacked)?;
    if !is_dump(&label, &text) {
        return load_with(path, options);
    }
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let scenario = scenario_of(&file, &text);
    let mut loaded = parse(&label, scenario.to_string(), dir, options).map_err(of_dump)?;
    if loaded.inputs.is_empty() {
        loaded.inputs.push((PathBuf::from(file), bytes));
    }
    Ok(loaded)
}

/// True if the first document is a Kubernetes object.
fn is_dump(label: &str, text: &str) -> bool {
    let (documents, _errors) = source::documents(label, text);
    let kind = documents.first().and_then(|d| d.value.get("kind")).and_then(Value::as_str);
    kind.is_some_and(|kind| kind != "Scenario")
}

/// The scenario around a dump: the cluster is what the dump says, and its clock goes on from the
/// youngest timestamp, so that nothing has happened in the future.
fn scenario_of(file: &str, text: &str) -> Value {
    let mut scenario = json!({
        "apiVersion": "wavetank.dev/v1",
        "kind": "Scenario",
        "metadata": {"name": name_of(file)},
        "until": "1h",
        "cluster": {},
        "manifests": [file],
    });
    if let Some(stamp) = youngest(text) {
        scenario["cluster"]["epoch"] = stamp.to_string().into();
    }
    scenario
}

/// A name for the scenario, made of the file's.
fn name_of(file: &str) -> String {
    let stem = file.split('.').next().unwrap_or_default().to_lowercase();
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = stem.chars().map(plain).take(60).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "dump".to_owned() } else { name.to_owned() }
}

/// The latest instant of the text, a second later.
fn youngest(text: &str) -> Option<jiff::Timestamp> {
    let word = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | ']');
    let stamps = text.split(word).filter(|w| w.len() >= 20 && w.ends_with('Z'));
    let latest = stamps.filter_map(|w| w.parse::<jiff::Timestamp>().ok()).max()?;
    jiff::Timestamp::from_second(latest.as_second() + 1).ok()
}

/// Mistakes in a scenario that nobody wrote are mistakes of the dump.
fn of_dump(errors: InputErrors) -> InputErrors {
    let about = |error: InputError| {
        if error.problem == "has no node" {
            let hint = "dump nodes as well: kubectl get nodes,pods,deployments,replicasets,\
                statefulsets,daemonsets,jobs,poddisruptionbudgets -A -o yaml";
            return InputError { line: 0, field: String::new(), ..error }.hint(hint);
        }
        error
    };
    errors.into_iter().map(about).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_told_from_a_scenario() {
        assert!(is_dump("", "apiVersion: v1\nkind: List\nitems: []\n"));
        assert!(is_dump("", "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}"));
        assert!(!is_dump("", "apiVersion: wavetank.dev/v1\nkind: Scenario\n"));
        assert!(!is_dump("", "- 1\n"));
    }

    #[test]
    fn its_clock_goes_on_from_the_youngest_timestamp() {
        let text =
            "creationTimestamp: \"2026-05-01T10:00:00Z\"\nrenewTime: '2026-05-02T10:00:00.5Z'\n";
        assert_eq!(youngest(text).unwrap().to_string(), "2026-05-02T10:00:01Z");
        assert_eq!(youngest("name: XXXXXXXXXXXXXXXXXXXXXZ"), None);
        assert_eq!(name_of("Prod_Cluster.yaml.gz"), "prod-cluster");
    }
}
