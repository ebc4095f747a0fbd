//! The manners of the source, checked as text: floors, names, essays, lengths.

use super::support::{files_below, root, scenarios};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of `src` imports only folders with a smaller number, and itself.
const FLOORS: &[(&str, u8)] = &[
    ("engine", 1),
    ("api", 2),
    ("event", 3),
    ("client", 4),
    ("control_plane", 5),
    ("node", 5),
    ("addons", 5),
    ("traffic", 6),
    ("cluster", 7),
    ("scenario", 8),
    ("session", 9),
    ("report", 10),
    ("sweep", 11),
    ("cli", 13),
];

/// Lines of a source file at most.
const FILE_LINES_MAX: usize = 1000;
/// Columns of a line at most, unless a text stands in it.
const COLUMNS_MAX: usize = 100;

struct Source {
    /// Relative to `src`, with `/`.
    name: String,
    text: String,
}

impl Source {
    /// The top folder; empty for files of `src` itself.
    fn folder(&self) -> &str {
        self.name.split_once('/').map_or("", |(folder, _)| folder)
    }

    fn is_test(&self) -> bool {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file == "tests.rs" || file == "testkit.rs" || file.ends_with("_tests.rs")
    }

    /// Lines of code that is no test, with their numbers; comments are left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let end = if self.is_test() { 0 } else { end };
        self.text[..end]
            .lines()
            .enumerate()
            .map(|(i, line)| (i + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    files_below(&src)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| Source {
            name: slashed(path.strip_prefix(&src).unwrap()),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

fn slashed(path: &Path) -> String {
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Names that follow `crate::` in a line.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices("crate::").map(move |(at, found)| {
        let rest = &line[at + found.len()..];
        &rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())]
    })
}

/// Fails with all findings at once.
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn folders_import_only_what_stands_below() {
    let floor = |folder: &str| FLOORS.iter().find(|(name, _)| *name == folder).map(|f| f.1);
    let mut findings = Vec::new();
    for source in sources() {
        let folder = source.folder();
        if folder.is_empty() {
            continue;
        }
        let own = floor(folder).unwrap_or_else(|| panic!("src/{folder} has no floor"));
        for (number, line) in source.code() {
            for other in imports(line) {
                // `crate::X` that is no folder is a macro or an item of the root.
                let Some(below) = floor(other) else { continue };
                if other != folder && below >= own {
                    findings
                        .push(format!("src/{}:{number}: {folder} imports {other}", source.name));
                }
            }
        }
    }
    none(&findings);
}

#[test]
fn the_floors_name_every_folder() {
    let mut folders: Vec<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut floors: Vec<String> = FLOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    floors.sort();
    assert_eq!(folders, floors);
}

#[test]
fn only_the_api_server_names_etcd() {
    let mut findings = Vec::new();
    for source in sources() {
        let at_home = ["control_plane/apiserver/", "control_plane/etcd/"];
        if at_home.iter().any(|home| source.name.starts_with(home)) {
            continue;
        }
        for (number, line) in source.code().filter(|(_, l)| l.contains("etcd::")) {
            findings.push(format!("src/{}:{number}: {}", source.name, line.trim()));
        }
    }
    none(&findings);
}

#[test]
fn only_etcd_writes_versions() {
    let mut findings = Vec::new();
    for source in sources() {
        let defines = source.name == "api/versions.rs" || source.name == "event/context.rs";
        if defines || source.name.starts_with("control_plane/etcd/") {
            continue;
        }
        for (number, line) in source.code() {
            let writes = [".put(", ".delete(", ".compact(", ".trim("];
            let calls = line.contains("versions") && writes.iter().any(|w| line.contains(w));
            if calls || line.contains("versions_mut") {
                findings.push(format!("src/{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    none(&findings);
}

#[test]
fn only_the_edges_name_the_published_types() {
    let mut findings = Vec::new();
    for source in sources() {
        let edge = source.folder() == "scenario" || source.name.starts_with("report/export");
        for (number, line) in source.code().filter(|(_, l)| l.contains("k8s_openapi")) {
            if !edge {
                findings.push(format!("src/{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    none(&findings);
}

#[test]
fn every_folder_opens_with_an_essay() {
    let mut findings = Vec::new();
    for folder in folders() {
        let path = root().join("src").join(&folder).join("mod.rs");
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !text.starts_with("//! ") {
            findings.push(format!("src/{folder}/mod.rs says nothing of the folder"));
        }
    }
    none(&findings);
}

/// Every folder below `src` that holds source files, relative to it.
fn folders() -> Vec<String> {
    let mut folders: Vec<String> = sources()
        .iter()
        .filter_map(|s| s.name.rsplit_once('/').map(|(folder, _)| folder.to_owned()))
        .collect();
    folders.sort();
    folders.dedup();
    folders
}

#[test]
fn lines_and_files_keep_their_measure() {
    let fixme = concat!("FIX", "ME");
    let mut findings = Vec::new();
    for source in sources() {
        let name = &source.name;
        let count = source.text.lines().count();
        if count > FILE_LINES_MAX {
            findings.push(format!("src/{name}: {count} lines"));
        }
        let tests = source.text.find("#[cfg(test)]\nmod tests {").unwrap_or(source.text.len());
        let mut offset = 0;
        for (i, line) in source.text.lines().enumerate() {
            let mut found = |what: &str| findings.push(format!("src/{name}:{}: {what}", i + 1));
            let in_tests = source.is_test() || offset >= tests;
            offset += line.len() + 1;
            if line.contains(fixme) {
                found(fixme);
            }
            if line.contains('\t') {
                found("a tab");
            }
            if line.trim_end() != line {
                found("trailing space");
            }
            // Neither a text nor a row of a table is broken (the comments of the scenario file's
            // types are the texts of its schema); a test may quote long ones.
            let schema = ["scenario/file.rs", "scenario/breakage.rs", "scenario/cloud.rs"]
                .contains(&name.as_str())
                && line.trim_start().starts_with("///");
            let whole = line.contains('"') || line.starts_with("//! |") || schema || in_tests;
            if line.chars().count() > COLUMNS_MAX && !whole {
                found("too long");
            }
        }
    }
    none(&findings);
}

#[test]
fn every_scenario_expects_something() {
    for name in scenarios() {
        let text = fs::read_to_string(super::support::scenario(&name)).unwrap();
        assert!(text.contains("\nexpect:\n"), "scenarios/{name} expects nothing");
    }
}

#[test]
fn the_architecture_names_every_folder() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let missing: Vec<String> = folders()
        .into_iter()
        .filter(|folder| !text.contains(&format!("{}/", folder.rsplit('/').next().unwrap())))
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {}", missing.join(", "));
}

#[test]
fn no_file_names_a_machine() {
    let mut findings = Vec::new();
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    for top in ["src", "tests", "benches", "scenarios", "scripts", "results"] {
        for path in files_below(&root().join(top)) {
            findings.extend(named(&path, &places));
        }
    }
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        // In a work tree `.git` is a file that says where the repository lies.
        if path.is_file() && path.file_name().is_some_and(|name| name != ".git") {
            findings.extend(named(&path, &places));
        }
    }
    none(&findings);
}

/// The lines of a text file that hold one of these words.
fn named(path: &PathBuf, words: &[&str]) -> Vec<String> {
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    text.lines()
        .enumerate()
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(i, line)| format!("{}:{}: {line}", path.display(), i + 1))
        .collect()
}
