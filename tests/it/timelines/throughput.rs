//! `09_throughput_default_qps` and `09_throughput_high_qps`.

use super::recorded::read;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::Kind;
use wavetank::api::versions::Versions;
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// When pods are bound, from the Deployment's creation on.
#[derive(Default)]
struct Bound {
    created: Option<f64>,
    at: Vec<f64>,
}

impl Observer for Bound {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind, log, verb, .. } = record.what else { return };
        let now = record.time.secs_f64();
        let made = versions.change(kind, log).is_some_and(|c| c.created());
        if kind == Kind::Deployment && made {
            self.created = Some(now);
        }
        if kind == Kind::Pod && verb.1 == "/binding" {
            self.at.push(now - self.created.unwrap());
        }
    }
}

fn run(overrides: &[(&str, &str)]) -> Bound {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios/timelines/09-throughput/scenario.yaml");
    let overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let options = LoadOptions { overrides, ..LoadOptions::default() };
    let plan = load_with(&path, &options).unwrap().plan;
    let mut bound = Bound::default();
    Session::new(Arc::new(plan)).run(&mut [&mut bound], |_| {});
    bound
}

/// When the last of 5,000 pods was bound.
fn recorded(file: &str) -> Option<f64> {
    let recording = read(file)?;
    let runs = recording["runs"].as_array()?;
    let large = runs.iter().find(|r| r["replicas"] == 5000)?;
    large["bound"]["last"].as_f64().or_else(|| Value::as_f64(&large["wall_to_available_s"]))
}

/// A span that the reviewers of the recording set: 250 s are 20 requests per second and nothing else.
#[test]
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
fn a_controllers_client_is_the_cap() {
    let Some(want) = recorded("09_throughput_default_qps") else { return };
    let bound = run(&[]);
    let last = bound.at.last().copied().unwrap();
    println!("09 default QPS: {} bound in {last:.1} s, recorded {want:.1} s", bound.at.len());
    assert_eq!(bound.at.len(), 5000);
    for seconds in [want, last] {
        assert!((250.0..285.0).contains(&seconds), "{seconds}");
    }
}

/// Without the cap nothing of the model's holds pods up; the recorded machine's processors did.
#[test]
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
fn without_the_cap_it_is_faster() {
    let Some(want) = recorded("09_throughput_high_qps") else { return };
    let bound = run(&[
        ("cluster.limits.controllers.qps", "5000"),
        ("cluster.limits.controllers.burst", "10000"),
        ("cluster.limits.scheduler.qps", "5000"),
        ("cluster.limits.scheduler.burst", "10000"),
    ]);
    let last = bound.at.last().copied().unwrap();
    println!("09 high QPS: {} bound in {last:.1} s, recorded {want:.1} s", bound.at.len());
    assert_eq!(bound.at.len(), 5000);
    assert!(last < want, "{last}");
}
