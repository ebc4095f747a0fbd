//! Machines that fail by a record or by chance, and outages that overlap.

use super::support::scratch;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::versions::Versions;
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// What befell machines: second, node, what.
#[derive(Default)]
struct Fates(Vec<(u64, String, &'static str)>);

impl Observer for Fates {
    fn on(&mut self, record: &Record, _versions: &Versions) {
        if let What::Fault { node, step, .. } = record.what {
            self.0.push((record.time.0 / 1_000_000_000, node.to_string(), step));
        }
    }
}

fn run(folder: &Path, rest: &str) -> (Vec<(u64, String, &'static str)>, String) {
    let text = format!(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {{name: outages}}\n\
         cluster: {{nodes: [{{name: node, count: 3, cpu: 4, memory: 8Gi}}]}}\n{rest}"
    );
    let file = folder.join("scenario.yaml");
    fs::write(&file, text).unwrap();
    let loaded = load_with(&file, &LoadOptions::default()).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    let mut session = Session::new(Arc::new(loaded.plan));
    let mut fates = Fates::default();
    session.run(&mut [&mut fates], |_| {});
    (fates.0, session.digest())
}

const CRASHES: &str = "machine crashes";
const BACK: &str = "machine gets power";

#[test]
fn a_record_is_followed_and_what_overlaps_ends_last() {
    let folder = scratch("outages-record");
    // Machine a was away before the run alone, so b and c are the first two nodes.
    fs::write(
        folder.join("trace.tsv"),
        "node_name\tevent_type\tevent_start_time\tevent_stop_time\n\
         a\t0\t10\t20\nb\t0\t1060\t1120\nc\t0\t1030\t1040\nc\t0\t1200\t1210\n",
    )
    .unwrap();
    let (fates, _) = run(
        &folder,
        "until: {at: 10m, idle: true}\n\
         outages: [{name: r, record: {fta: trace.tsv, from: 1000}}]\n\
         faults: [{crash: {node: node-0}, at: 90s, for: 90s}]\n",
    );
    let told: Vec<(u64, &str, &str)> = fates.iter().map(|(t, n, s)| (*t, n.as_str(), *s)).collect();
    let held = wavetank::cluster::HELD;
    let wanted = [
        (30, "node-1", CRASHES),
        (40, "node-1", BACK),
        (60, "node-0", CRASHES),
        // The fault begins on a machine that is away already, and outlasts the outage.
        (120, "node-0", held),
        (180, "node-0", BACK),
        (200, "node-1", CRASHES),
        (210, "node-1", BACK),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn machines_fail_by_chance_the_same_way_in_every_run() {
    let folder = scratch("outages-chance");
    let rest = |seed: u32| {
        format!(
            "seed: {seed}\nuntil: 10h\noutages: [{{name: wear, mtbf: {{exponential: 1h}}, \
             repair: {{gamma: {{scale: 2m, shape: 2}}}}}}]\n"
        )
    };
    let (fates, digest) = run(&folder, &rest(1));
    assert_eq!(run(&folder, &rest(1)).1, digest);
    assert_ne!(run(&folder, &rest(2)).1, digest);
    // Three machines, ten hours, a failure in about 64 minutes: 28 on average.
    let failures = fates.iter().filter(|f| f.2 == CRASHES).count();
    assert!((14..=45).contains(&failures), "{failures} failures");
    for node in ["node-0", "node-1", "node-2"] {
        let own: Vec<&str> = fates.iter().filter(|f| f.1 == node).map(|f| f.2).collect();
        assert!(own.chunks(2).all(|c| c[0] == CRASHES && c.get(1).is_none_or(|b| *b == BACK)));
    }
}
