//! `09_throughput_default_qps` and `09_throughput_high_qps`.

use super::recorded::read;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::pod::Phase;
use wavetank::api::request::User;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj};
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// Writes by actor, verb and resource.
type Table = BTreeMap<(String, String, String), usize>;

/// When pods are bound, from the Deployment's creation on, and what is written until they all run.
#[derive(Default)]
struct Bound {
    created: Option<f64>,
    at: Vec<f64>,
    running: usize,
    table: Table,
}

impl Observer for Bound {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind, log, verb, user, .. } = record.what else { return };
        let now = record.time.secs_f64();
        let made = versions.change(kind, log).is_some_and(|c| c.created());
        if kind == Kind::Deployment && made {
            self.created = Some(now);
        }
        if kind == Kind::Pod && verb.1 == "/binding" {
            self.at.push(now - self.created.unwrap());
        }
        if self.created.is_some() && self.running < 5000 && kind != Kind::Lease {
            let kubelet = matches!(user, User::Kubelet(_));
            let actor = if kubelet { "fakelet".to_owned() } else { user.to_string() };
            let key = (actor, verb.0.to_owned(), format!("{}{}", kind.plural(), verb.1));
            *self.table.entry(key).or_default() += 1;
        }
        let phase = |obj: &Obj| obj.as_pod().map(|p| p.status.phase);
        if let Some(change) = versions.change(kind, log).filter(|_| kind == Kind::Pod)
            && phase(&change.value) == Some(Phase::Running)
            && change.before.as_ref().and_then(phase) == Some(Phase::Pending)
        {
            self.running += 1;
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

/// A span that the reviewers of the recording set: 250 s are 20 requests per second and nothing
/// else.
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
    writes(&bound, last);
}

/// This recording has no audit log, but counts: pods made, bound and running, and what etcd put
/// until all were available. Of the rows only the pods' own can be held to it; the others are
/// printed, and held together by the sum: they and the renewals of 500 leases are what etcd put.
#[expect(clippy::print_stdout, reason = "the comparison is worth reading: --nocapture")]
fn writes(bound: &Bound, seconds: f64) {
    let recording = read("09_throughput_default_qps").unwrap();
    let runs = recording["runs"].as_array().unwrap();
    let large = runs.iter().find(|r| r["replicas"] == 5000).unwrap();
    let count = |what: &str| usize::try_from(large[what]["n"].as_u64().unwrap()).unwrap();
    let known = [
        (("kcm:replicaset-controller", "create", "pods"), count("created")),
        (("scheduler", "create", "pods/binding"), count("bound")),
        (("fakelet", "patch", "pods/status"), count("running")),
    ];
    println!("09  recorded simulated  write");
    for ((actor, verb, resource), n) in &bound.table {
        let key = (actor.as_str(), verb.as_str(), resource.as_str());
        let recorded = known.iter().find(|(k, _)| *k == key).map(|(_, n)| *n);
        let said = recorded.map_or("–".to_owned(), |n| n.to_string());
        println!("{said:>12} {n:>9}  {actor} {verb} {resource}");
        assert!(recorded.is_none_or(|want| want == *n), "{key:?}: {n}, recorded {recorded:?}");
    }
    for (key, _) in known {
        let there =
            |k: &&(String, String, String)| (k.0.as_str(), k.1.as_str(), k.2.as_str()) == key;
        assert!(bound.table.keys().any(|k| there(&k)), "{key:?}");
    }
    // Each node renews every 10 s, and up to 4 % later.
    let renewals = 500.0 * seconds / 10.2;
    let all = bound.table.values().map(|n| f64::from(u32::try_from(*n).unwrap())).sum::<f64>();
    let puts = large["etcd"]["etcd_mvcc_put_total"].as_f64().unwrap();
    println!("{puts:12} {:>9.0}  put in etcd, {renewals:.0} of them renewals", all + renewals);
    assert!(((all + renewals) / puts - 1.0).abs() < 0.1, "{all} + {renewals}, recorded {puts}");
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
