//! `wavetank replay`: a run directory holds its inputs; the same digest must come out.

use super::{Source, load, terminal};
use crate::scenario::{InputError, InputErrors};
use crate::session::Session;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Options of `replay`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// The run directory.
    run: PathBuf,
}

/// Repeats a run.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let about = read(&options.run).map_err(|e| vec![e])?;
    let source = source(&options.run, &about).map_err(|e| vec![e])?;
    let recorded = about["digest"].as_str().unwrap_or_default().to_owned();
    let plan = load::input(&source, &[])?.plan;
    let mut session = Session::new(plan);
    session.run(&mut [], |_| {});
    let digest = session.digest();
    terminal::line(&format!("recorded {recorded}\nreplayed {digest}"));
    if digest == recorded {
        terminal::line("equal");
        return Ok(0);
    }
    let version = about["version"].as_str().unwrap_or_default();
    if version != env!("CARGO_PKG_VERSION") {
        let here = env!("CARGO_PKG_VERSION");
        terminal::line(&format!("DIFFERENT: it was made by version {version}, this is {here}"));
        return Ok(2);
    }
    terminal::line("DIFFERENT");
    Ok(3)
}

/// What a run directory says of itself.
pub(super) fn read(run: &Path) -> Result<Value, InputError> {
    let path = run.join("run.json");
    let label = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(|e| {
        InputError::new(&label, format!("cannot be read: {e}"))
            .hint("name a directory that `wavetank run` has written")
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| InputError::new(&label, format!("is no JSON: {e}")).at(e.line()))
}

/// The source that a run directory keeps.
pub(super) fn source(run: &Path, about: &Value) -> Result<Source, InputError> {
    let label = run.join("run.json").display().to_string();
    let missing = |what: &str| InputError::new(&label, format!("has no {what}"));
    let scenario = about["inputs"][0]["file"].as_str().ok_or_else(|| missing("inputs"))?;
    let options = about["options"].as_object().cloned().unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let set = options
        .iter()
        .filter_map(|(key, value)| Some(format!("{}={}", key.strip_prefix("set.")?, text(value))))
        .collect();
    let seed = options.get("seed").and_then(|s| s.as_str()).and_then(|s| s.parse().ok());
    Ok(Source { scenario: run.join(scenario), seed, set, shared: run.join("inputs/shared") })
}
