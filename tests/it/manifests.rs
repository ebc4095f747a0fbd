//! Real manifests and dumps: what is accepted, and why the rest is refused.

use crate::support::{files_below, plan_of, shared_dir};
use std::fmt::Write as _;
use wavetank::api::Obj;
use wavetank::report::export::{to_value, to_yaml};
use wavetank::report::metrics::Metrics;
use wavetank::report::standing::Share;
use wavetank::report::summary::Summary;
use wavetank::scenario::{Mode, obj_from_json, parse_manifests, read_dump, read_manifests};
use wavetank::session::Session;

const TALLY: &str = "results/manifests-tally.csv";
const SETS: &str = "results/manifest-sets.csv";

/// `file,accepted|refused,objects,reason` for every manifest.
fn tally(folder: &std::path::Path) -> String {
    let mut table = String::from("file,verdict,objects,reason\n");
    for path in files_below(folder) {
        let file = path.strip_prefix(folder).expect("below the folder").display().to_string();
        match read_manifests(&path) {
            Ok(read) => writeln!(table, "{file},accepted,{},", read.objects.len())
                .expect("a string takes it"),
            Err(errors) => {
                let reasons: Vec<String> = errors
                    .iter()
                    .map(|e| {
                        format!("line {}: {}: {}", e.line, e.field, e.problem).replace(": : ", ": ")
                    })
                    .collect();
                let reason = reasons.join("; ").replace('"', "\"\"");
                writeln!(table, "{file},refused,0,\"{reason}\"").expect("a string takes it");
            }
        }
    }
    table
}

#[test]
fn the_tally_of_real_manifests_is_as_published() {
    let Some(shared) = shared_dir() else { return };
    assert_published(TALLY, &tally(&shared.join("data/manifests")));
}

/// A table that is made anew must be the one that is published.
fn assert_published(table: &str, now: &str) {
    let published = std::fs::read_to_string(table).unwrap_or_default();
    if now != published {
        let name = std::path::Path::new(table).file_name().expect("a file");
        let kept = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&kept, now).unwrap();
        panic!("if the change is right: cp {} {table}", kept.display());
    }
}

/// What a set of manifests amounts to once it runs.
fn row(name: &str, s: &Summary) -> String {
    let of = |share: &Share| format!("{},{}", share.total - share.without.len(), share.total);
    let lacks: Vec<&str> = s.standing.services.without.iter().map(String::as_str).collect();
    let accepted: Vec<String> =
        s.not_modelled.iter().map(|n| format!("{} x{}", n.what, n.count)).collect();
    let full = s.workloads.iter().filter(|w| !w.short_at_end).count();
    format!(
        "{name},{full},{},{},{},{},{},{},\"{}\"\n",
        s.workloads.len(),
        s.pods.ready_at_end,
        s.pods.created,
        of(&s.standing.claims),
        of(&s.standing.services),
        lacks.join("; "),
        accepted.join("; ").replace('"', "\"\"")
    )
}

/// Runs every set of `scenarios/real-manifests` to its end.
#[test]
fn sets_of_real_manifests_come_up_with_claims_bound_and_services_resolved() {
    if shared_dir().is_none() {
        return;
    }
    let mut table = String::from(
        "set,workloads_full,workloads,pods_ready,pods,claims_bound,claims,services_resolved,\
         services,unresolved,accepted_not_modelled\n",
    );
    let mut sets = 0;
    for path in files_below(std::path::Path::new("scenarios/real-manifests")) {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("kind: Scenario\n") {
            continue;
        }
        let name = path.file_stem().expect("a file").display().to_string();
        let plan = plan_of(&path, &[]).expect("a plan");
        let mut metrics = Metrics::new(&plan, None);
        let mut session = Session::new(plan);
        session.run(&mut [&mut metrics], |_| {});
        let summary = Summary::new(&metrics, &session.digest());
        let failed: Vec<_> = summary.expectations.iter().filter(|v| !v.pass).collect();
        assert!(failed.is_empty() && summary.expectations.len() >= 2, "{name}: {failed:#?}");
        table.push_str(&row(&name, &summary));
        sets += 1;
    }
    assert!(sets >= 20, "{sets} sets");
    assert_published(SETS, &table);
}

#[test]
fn no_dump_crashes_the_reader() {
    let Some(shared) = shared_dir() else { return };
    let files = files_below(&shared.join("data/dumps"));
    let mut report = String::new();
    for path in &files {
        match read_dump(path) {
            Ok(read) => writeln!(
                report,
                "{}: {} objects, {} warnings",
                path.display(),
                read.objects.len(),
                read.warnings.len()
            )
            .unwrap(),
            Err(errors) => {
                assert!(!errors.is_empty(), "{}: refused without a reason", path.display());
                writeln!(report, "{}: {}", path.display(), errors[0]).unwrap();
            }
        }
    }
    let kept = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("dumps.txt");
    std::fs::write(kept, &report).unwrap();
    assert!(files.len() >= 75, "{} dumps", files.len());
}

/// What the compact form holds of a pod or template must survive printing and reading.
fn assert_same_spec(a: &Obj, b: &Obj, file: &str) {
    let spec = |o: &Obj| {
        if let Obj::Pod(p) = o {
            return Some((*p.spec).clone());
        }
        let template = if let Obj::Deployment(d) = o {
            &d.template
        } else if let Obj::ReplicaSet(d) | Obj::ReplicationController(d) = o {
            &d.template
        } else if let Obj::StatefulSet(d) = o {
            &d.template
        } else if let Obj::DaemonSet(d) = o {
            &d.template
        } else if let Obj::Job(d) = o {
            &d.template
        } else if let Obj::ControllerRevision(d) = o {
            &d.template
        } else if let Obj::CronJob(d) = o {
            &d.template.template
        } else {
            return None;
        };
        Some((*template.spec).clone())
    };
    if let (Some(mut a), Some(mut b)) = (spec(a), spec(b)) {
        (a.doc, b.doc) = (None, None);
        assert_eq!(a, b, "{file}");
    }
}

#[test]
fn what_is_exported_reads_back_the_same() {
    let Some(shared) = shared_dir() else { return };
    let mut count = 0;
    let manifests = files_below(&shared.join("data/manifests"));
    let dumps = files_below(&shared.join("data/dumps"));
    let read = manifests.iter().filter_map(|p| read_manifests(p).ok());
    for loaded in read.chain(dumps.iter().filter_map(|p| read_dump(p).ok())) {
        for object in loaded.objects {
            let first = to_value(&object.obj, 0);
            let again = obj_from_json(&first, Mode::Dump)
                .unwrap_or_else(|e| panic!("{}: {e:?}\n{}", object.file, to_yaml(&object.obj, 0)));
            assert_eq!(to_value(&again, 0), first, "{}", object.file);
            assert_same_spec(&object.obj, &again, &object.file);
            count += 1;
        }
    }
    assert!(count > 600, "{count} objects");
}

/// Line, field and start of the problem of the first error.
fn first_error(text: &str) -> String {
    let errors = parse_manifests("x.yaml", text, Mode::Strict).expect_err(text);
    assert!(!errors.is_empty(), "{text}");
    errors[0].to_string()
}

#[test]
fn hostile_input_is_an_error_with_a_line() {
    let bomb = (1..20).fold("a0: &a0 [x, x, x]\n".to_owned(), |mut text, i| {
        let p = i - 1;
        writeln!(text, "a{i}: &a{i} [*a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}]")
            .unwrap();
        text
    });
    let cases: [(&str, String); 12] = [
        ("x.yaml: holds no object", String::new()),
        ("x.yaml: holds no object", "---\n# nothing\n---\n".to_owned()),
        ("nested deeper", "[".repeat(1_000_000)),
        ("nested deeper", "{\"a\":".repeat(100_000)),
        ("nested deeper", "- ".repeat(100_000)),
        ("x.yaml:", bomb),
        ("x.yaml:3: ", "kind: Pod\nmetadata:\n  name: a\n  name: b\n".to_owned()),
        ("x.yaml:2: kind: Required", "\nmetadata: {name: a}\n".to_owned()),
        ("is no Kubernetes object but a text", "just words\n".to_owned()),
        ("is no JSON", "{\"kind\": \"Pod\", \"kind\": \"Pod\"}".to_owned()),
        ("x.yaml:", "a: b: c\n".to_owned()),
        ("x.yaml:2:", "a: 1\n\tb: 2\n".to_owned()),
    ];
    for (want, text) in cases {
        let error = first_error(&text);
        assert!(error.contains(want), "{want}: {error}");
    }
}

#[test]
fn a_scalar_bomb_does_not_take_the_machine() {
    let cut = |text: &str| text.chars().take(40).collect::<String>();
    for text in [
        "\"".repeat(100_000),
        "? ".repeat(50_000),
        "&a ".repeat(50_000),
        "!".repeat(100_000),
        "|\n".repeat(50_000),
        ": ".repeat(50_000),
    ] {
        let read = parse_manifests("x.yaml", &text, Mode::Strict);
        assert!(read.is_err(), "{}", cut(&text));
    }
}

#[test]
fn every_golden_object_is_read() {
    use std::io::BufRead as _;
    let Some(shared) = shared_dir() else { return };
    let file = std::fs::File::open(shared.join("golden/public.jsonl.gz")).unwrap();
    let lines = std::io::BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    let mut count = 0;
    for line in lines {
        let case: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let objects = case["objects"].as_array().into_iter().flatten();
        for object in objects.chain(case.get("pod")) {
            let read = obj_from_json(object, Mode::Dump);
            assert!(read.is_ok(), "{}: {:?}", case["id"], read.err());
            count += 1;
        }
    }
    assert!(count > 10_000, "{count} objects");
}
