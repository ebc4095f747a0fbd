//! Machines that fail by a record or by chance, and outages that overlap.

use super::support::{ran, scratch, shared_dir, wavetank};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::versions::Versions;
use wavetank::cluster::spec::{How, Plan};
use wavetank::engine::{Dist, SimDuration, SimTime};
use wavetank::event::{Record, What};
use wavetank::scenario::file::PresetName;
use wavetank::scenario::presets::preset;
use wavetank::scenario::value::dist_of_text;
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

fn read(folder: &Path, rest: &str) -> Result<Arc<Plan>, String> {
    let text = format!(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {{name: outages}}\nuntil: 1h\n\
         cluster: {{nodes: [{{name: node, count: 6, zones: [a, b], cpu: 4, memory: 8Gi}}]}}\n{rest}"
    );
    let file = folder.join("scenario.yaml");
    fs::write(&file, text).unwrap();
    let loaded = load_with(&file, &LoadOptions::default())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    Ok(Arc::new(loaded?.plan))
}

#[test]
fn groups_fail_together() {
    let folder = scratch("outages-together");
    let zones = |share: &str| {
        let outages = format!(
            "outages: [{{name: power, mtbf: {{exponential: 10m}}, repair: 1m, together: \
             {{by: topology.kubernetes.io/zone{share}}}}}]\n"
        );
        let plan = Plan {
            until: SimTime::from_secs(7200),
            ..Plan::clone(&read(&folder, &outages).unwrap())
        };
        let mut fates = Fates::default();
        Session::new(Arc::new(plan)).run(&mut [&mut fates], |_| {});
        fates.0
    };
    let whole = zones("");
    let crashes: Vec<_> = whole.iter().filter(|f| f.2 == CRASHES).collect();
    // Two zones, two hours, a failure each eleven minutes: 22 on average.
    assert!(crashes.len() % 3 == 0 && (10 * 3..=36 * 3).contains(&crashes.len()), "{whole:?}");
    for group in crashes.chunks(3) {
        let names: Vec<&str> = group.iter().map(|f| f.1.as_str()).collect();
        let zone = [["node-0", "node-2", "node-4"], ["node-1", "node-3", "node-5"]];
        assert!(zone.contains(&[names[0], names[1], names[2]]), "{names:?}");
        assert!(group.iter().all(|f| f.0 == group[0].0));
        // And they are back together, a minute later.
        let back = |f: &&&(u64, String, &'static str)| f.2 == BACK && f.0 == group[0].0 + 60;
        let back: Vec<&str> = whole.iter().filter(|f| back(&f)).map(|f| f.1.as_str()).collect();
        assert!(names.iter().all(|n| back.contains(n)), "{names:?}: {back:?}");
    }
    // A third of three is one, and not always the same one.
    let part = zones(", share: 0.3");
    let crashes: Vec<_> = part.iter().filter(|f| f.2 == CRASHES).collect();
    let mut struck: Vec<&str> = crashes.iter().map(|f| f.1.as_str()).collect();
    struck.sort_unstable();
    struck.dedup();
    assert!((10..=36).contains(&crashes.len()) && struck.len() >= 4, "{part:?}");
    let mut down = std::collections::BTreeSet::new();
    for (at, node, what) in &part {
        let fits = if *what == CRASHES { down.insert(node) } else { down.remove(node) };
        assert!(fits, "{node} at {at}: {what}");
    }
}

#[test]
fn a_preset_says_when_machines_fail_and_its_repair_can_be_another() {
    let folder = scratch("outages-preset");
    let how = |rest: &str| read(&folder, rest).unwrap().outages[0].how.clone();
    let How::Renewal { up, down, .. } = how("outages: [{preset: lanl}]\n") else { panic!() };
    assert_eq!((up, Some(down)), preset(PresetName::Lanl));
    let How::Renewal { up: same, down, .. } = how("outages: [{preset: lanl, repair: 1h}]\n") else {
        panic!()
    };
    assert_eq!((same, down), (up, Dist::Constant(SimDuration::from_secs(3600))));
    let google = how("outages: [{preset: google2011, repair: 1h}]\n");
    assert!(matches!(google, How::Renewal { up, .. } if up == preset(PresetName::Google2011).0));
}

#[test]
fn bad_outages_are_told_with_a_way_out() {
    let folder = scratch("outages-bad");
    let both = "mtbf: 1h, repair: 1h, together";
    let record = "record: {fta: t.tsv}, together";
    fs::write(folder.join("t.tsv"), "node_name\tevent_type\tevent_start_time\tevent_stop_time\n")
        .unwrap();
    for (outages, problem, hint) in [
        ("preset: azure".to_owned(), "azure", "grid5000"),
        ("preset: google2011".to_owned(), "does not tell when machines came back", "repair:"),
        ("preset: lanl, mtbf: 1h".to_owned(), "more than one of record, mtbf and preset", "entry"),
        ("name: x".to_owned(), "says not when machines fail", "preset: grid5000"),
        (format!("{both}: {{by: rack}}"), "no node has the label \"rack\"", "zone"),
        (format!("{both}: {{by: rack, share: 0}}"), "a share of 0", "above 0"),
        (format!("{record}: {{by: rack}}"), "no node has the label", "zone"),
        (
            format!("{record}: {{by: topology.kubernetes.io/zone}}"),
            "a record says itself who fails when",
            "leave together: out",
        ),
    ] {
        let error = read(&folder, &format!("outages: [{{{outages}}}]\n")).unwrap_err();
        assert!(error.contains(problem) && error.contains(hint), "{outages}: {error}");
    }
}

/// The presets are what `wavetank fit` says of the records, and the picture shows it.
#[test]
fn presets_are_the_fits_of_their_records() {
    let Some(shared) = shared_dir() else { return };
    let data = shared.join("data");
    let place = scratch("outages-fit");
    for (name, file, flags, machines) in [
        (PresetName::Grid5000, "failures/grid5000-fta/event_trace.tsv.gz", &[][..], 1_066),
        (PresetName::Lanl, "failures/lanl-1996-2005.csv.gz", &[][..], 3_471),
        (
            PresetName::Google2011,
            "google-2011/machine_remove_events_days01-15.csv.gz",
            &["--machines", "12580"][..],
            12_580,
        ),
    ] {
        let (file, out) = (data.join(file), place.join(format!("{name:?}")));
        let (file, out) = (file.display().to_string(), out.display().to_string());
        let mut all = vec!["fit", &file, "--format", "json", "--out", &out];
        all.extend(flags);
        let done = ran(&mut wavetank(&all));
        assert_eq!(done.code, Some(0), "{}", done.err);
        let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!(told["machines"], machines, "{name:?}");
        let best = |field: &str| {
            let spans = told["spans"].as_array().unwrap();
            let span = spans.iter().find(|s| s["span"] == field)?;
            let fits = span["fits"].as_array().unwrap();
            assert_eq!(fits.len(), 4, "{fits:?}");
            let aics: Vec<f64> = fits.iter().map(|f| f["aic"].as_f64().unwrap()).collect();
            assert!(aics.is_sorted(), "{aics:?}");
            Some(dist_of_text(fits[0]["written"].as_str().unwrap()).unwrap())
        };
        assert_eq!((best("mtbf").unwrap(), best("repair")), preset(name), "{name:?}: {told:#}");
        let csv = fs::read_to_string(Path::new(&out).join("fits.csv")).unwrap();
        assert_eq!(csv.lines().count(), 1 + 4 * told["spans"].as_array().unwrap().len());
        let svg = fs::read_to_string(Path::new(&out).join("fits.svg")).unwrap();
        assert!(svg.contains("weibull") && !svg.contains("NaN"));
    }
}

#[test]
fn what_cannot_be_fitted_is_told() {
    let place = scratch("outages-unfit");
    let head = "node_name\tevent_type\tevent_start_time\tevent_stop_time\n";
    for (text, flags, problem) in [
        ("a,b\n1,2\n".to_owned(), &[][..], "is no record of outages"),
        (head.to_owned(), &[][..], "tells of too few outages"),
        (format!("{head}a\t0\t1\t2\nb\t0\t1\t2\n"), &["--machines", "1"][..], "the record names 2"),
        (
            "failure_interval_ms,failure_duration_ms,failure_intensity\n1,2,0.5\n".to_owned(),
            &[][..],
            "tells of no single machines",
        ),
    ] {
        let file = place.join("record.tsv");
        fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let mut all = vec!["fit", &file, "--no-out"];
        all.extend(flags);
        let done = ran(&mut wavetank(&all));
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{}", done.err);
        assert!(done.err.contains(problem), "{}", done.err);
    }
}
