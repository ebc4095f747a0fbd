//! Real manifests and dumps: what is accepted, and why the rest is refused.

use crate::support::{files_below, shared_dir};
use std::fmt::Write as _;
use wavetank::scenario::{read_dump, read_manifests};

const TALLY: &str = "results/manifests-tally.csv";

/// `file,accepted|refused,objects,reason` for every manifest.
fn tally(folder: &std::path::Path) -> String {
    let mut table = String::from("file,verdict,objects,reason\n");
    for path in files_below(folder) {
        let file = path.strip_prefix(folder).unwrap().display().to_string();
        match read_manifests(&path) {
            Ok(read) => writeln!(table, "{file},accepted,{},", read.objects.len()).unwrap(),
            Err(errors) => {
                let reasons: Vec<String> = errors
                    .iter()
                    .map(|e| {
                        format!("line {}: {}: {}", e.line, e.field, e.problem).replace(": : ", ": ")
                    })
                    .collect();
                let reason = reasons.join("; ").replace('"', "\"\"");
                writeln!(table, "{file},refused,0,\"{reason}\"").unwrap();
            }
        }
    }
    table
}

#[test]
fn the_tally_of_real_manifests_is_as_published() {
    let Some(shared) = shared_dir() else { return };
    let now = tally(&shared.join("data/manifests"));
    let published = std::fs::read_to_string(TALLY).unwrap_or_default();
    if now != published {
        std::fs::write("target/manifests-tally.csv", &now).unwrap();
    }
    assert_eq!(now, published, "if the change is right: cp target/manifests-tally.csv {TALLY}");
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
    std::fs::write("target/dumps.txt", &report).unwrap();
    assert!(files.len() >= 75, "{} dumps", files.len());
}
