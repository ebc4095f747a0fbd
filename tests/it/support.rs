//! What several tests share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use wavetank::cluster::spec::Plan;
use wavetank::scenario::{LoadOptions, load_with};

/// The folder with third-party data, which is not part of the repository; none if it is not there.
///
/// # Panics
/// If it is missing although `WAVETANK_REQUIRE_SHARED=1` asks for it.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where data lies")]
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn shared_dir() -> Option<PathBuf> {
    let named = std::env::var("WAVETANK_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(named);
    if path.is_dir() {
        return Some(path);
    }
    let required = std::env::var("WAVETANK_REQUIRE_SHARED").is_ok_and(|v| v == "1");
    assert!(!required, "{} is missing; set WAVETANK_SHARED", path.display());
    eprintln!("skipped: {} is missing", path.display());
    None
}

/// Every file below a folder, sorted by path.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The file of a shipped scenario.
pub(crate) fn scenario(name: &str) -> PathBuf {
    root().join("scenarios").join(name).join("scenario.yaml")
}

/// The plan of a shipped scenario with some values replaced; none if it needs data that is not
/// there.
pub(crate) fn plan_with(name: &str, overrides: &[(&str, &str)]) -> Option<Arc<Plan>> {
    plan_of(&scenario(name), overrides)
}

/// The same of any file.
pub(crate) fn plan_of(path: &Path, overrides: &[(&str, &str)]) -> Option<Arc<Plan>> {
    let mut options = LoadOptions::default();
    if fs::read_to_string(path).unwrap().contains("${shared}") {
        options.shared = shared_dir()?;
    }
    options.overrides =
        overrides.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let loaded = load_with(path, &options).unwrap_or_else(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"));
    });
    Some(Arc::new(loaded.plan))
}

/// The plan of a shipped scenario that needs no shared data.
pub(crate) fn plan(name: &str) -> Arc<Plan> {
    plan_with(name, &[]).unwrap()
}

/// The same cluster with one of each component that runs on no node.
pub(crate) fn without_control_plane(plan: &mut Plan) {
    let hosts = plan.cluster.control_plane.take().map(|c| c.nodes).unwrap_or_default();
    plan.cluster.nodes.retain(|node| !hosts.contains(&node.name));
}

/// Names of the shipped scenarios, sorted.
pub(crate) fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("scenario.yaml").is_file())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// An empty folder of this test's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

/// The `wavetank` program with these arguments, at home in the repository.
pub(crate) fn wavetank(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavetank"));
    command.args(arguments).current_dir(root());
    command
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Compares a text with a committed file; `UPDATE=1` rewrites the file.
pub(crate) fn snapshot(path: &Path, fresh: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, fresh).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    if committed == fresh {
        return;
    }
    let (mut old, mut new) = (committed.lines(), fresh.lines());
    let mut number = 0;
    loop {
        let (a, b) = (old.next(), new.next());
        number += 1;
        assert!(
            a == b,
            "{}:{number} is stale (UPDATE=1 cargo test rewrites it):\n- {}\n+ {}",
            path.display(),
            a.unwrap_or("(end)"),
            b.unwrap_or("(end)")
        );
        if a.is_none() {
            panic!("{}: line ends or the last line differ", path.display());
        }
    }
}

/// How many of a test's seeds to run: as many as the environment asks for, else a share.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how much to do")]
pub(crate) fn share(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}
