//! From the command line's arguments to a plan.

use super::{Source, terminal};
use crate::cluster::spec::Plan;
use crate::scenario::{InputError, InputErrors, LoadOptions, Loaded, load_or_dump, load_with};
use std::path::Path;
use std::sync::Arc;

/// A plan, its inputs, and the options that shaped it.
pub(super) struct Input {
    pub(super) plan: Arc<Plan>,
    pub(super) inputs: Vec<(String, Vec<u8>)>,
    pub(super) options: Vec<(String, String)>,
}

/// Splits `path=value`.
pub(super) fn override_of(text: &str) -> Result<(String, String), InputErrors> {
    text.split_once('=').map(|(p, v)| (p.trim().to_owned(), v.trim().to_owned())).ok_or_else(|| {
        vec![
            InputError::new("", format!("--set {text}: no `=` in it"))
                .hint("write --set path=value, as in --set cluster.nodes[0].count=5"),
        ]
    })
}

/// Reads the scenario; warnings go to standard error.
pub(super) fn input(source: &Source, extra: &[String]) -> Result<Input, InputErrors> {
    input_by(load_with, source, extra)
}

/// Reads a scenario or a dump of a cluster.
pub(super) fn input_or_dump(source: &Source) -> Result<Input, InputErrors> {
    input_by(load_or_dump, source, &[])
}

fn input_by(
    load: fn(&Path, &LoadOptions) -> Result<Loaded, InputErrors>,
    source: &Source,
    extra: &[String],
) -> Result<Input, InputErrors> {
    let overrides = source
        .set
        .iter()
        .chain(extra)
        .map(|text| override_of(text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut options: Vec<(String, String)> =
        overrides.iter().map(|(path, value)| (format!("set.{path}"), value.clone())).collect();
    if let Some(seed) = source.seed {
        options.push(("seed".into(), seed.to_string()));
    }
    let how = LoadOptions { overrides, shared: source.shared.clone() };
    let loaded = load(&source.scenario, &how)?;
    for warning in &loaded.warnings {
        terminal::complain(&format!("warning: {warning}"));
    }
    let mut plan = loaded.plan;
    if let Some(seed) = source.seed {
        plan.seed = seed;
    }
    let inputs = loaded
        .inputs
        .into_iter()
        .map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes))
        .collect();
    Ok(Input { plan: Arc::new(plan), inputs, options })
}
