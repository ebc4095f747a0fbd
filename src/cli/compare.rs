//! `wavetank compare`: policies or variants on the same waves.

use super::load::{input, override_of};
use super::{Format, Source, sweep, terminal};
use crate::scenario::{InputError, InputErrors, SEEDS_HINT};
use crate::sweep::outcome::Outcome;
use crate::sweep::play;
use crate::sweep::store::Store;
use crate::sweep::study::{Cell, Study};
use std::path::{Path, PathBuf};

/// Options of `compare`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// Other scenario files to compare with the first one.
    #[arg(value_name = "OTHER")]
    others: Vec<PathBuf>,
    /// A scheduling policy: least-allocated, most-allocated, or the file of a
    /// KubeSchedulerConfiguration; at least two, or use --variant.
    #[arg(long = "policy", value_name = "NAME|FILE")]
    policies: Vec<String>,
    /// A tie rule (uniform, upstream, first, name, node-order-per-run).
    #[arg(long = "ties", value_name = "RULE")]
    ties: Vec<String>,
    /// A named variant: `--variant big:cluster.nodes[0].count=50`; several values with commas.
    #[arg(long = "variant", value_name = "NAME:PATH=VALUE")]
    variants: Vec<String>,
    /// Seeds, as in 1..20 or 3,5,7.
    #[arg(long, default_value = "1..10")]
    seeds: String,
    /// Runs at a time (0: one per core). It changes nothing but the time it takes.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Directory for results: every run is kept there, and none is played twice; tables, pictures
    /// and a page go to DIR/report.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the table.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print no progress.
    #[arg(long)]
    quiet: bool,
}

/// Compares.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let cells = cells(options)?;
    if cells.len() < 2 {
        return Err(vec![
            InputError::new("", "there is only one thing to compare")
                .hint("name two scenarios, or give --policy, --ties or --variant at least twice"),
        ]);
    }
    let seeds = seeds(&options.seeds).map_err(|e| vec![e])?;
    let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
    let study = Study { title: names.join(", "), cells, seeds };
    let book = study.book();
    let Some(out) = &options.out else {
        let bar = terminal::progress(book.jobs().len() as u64, options.quiet, "runs");
        let results = play::in_memory(&study, &book, (options.jobs, &|| bar.inc(1)));
        bar.finish_and_clear();
        show(options.format, &Outcome::new(&book, results));
        return Ok(0);
    };
    let store = Store::open(out).map_err(|e| vec![e])?;
    sweep::play_missing((&study, &book), &store, None, (options.jobs, options.quiet))?;
    let outcome = sweep::conclude(&book, &store)?;
    show(options.format, &outcome);
    if options.format == Format::Text {
        terminal::line(&format!("tables, pictures and a page are in {}", store.report().display()));
    }
    Ok(0)
}

/// Prints verdicts and table.
pub(super) fn show(format: Format, outcome: &Outcome) {
    match format {
        Format::Json => terminal::line(&format!("{:#}", outcome.json())),
        Format::Text => terminal::line(outcome.text(terminal::WIDTH).trim_end()),
    }
}

/// The name of a scenario file without its folder and ending.
fn short(path: &Path) -> String {
    let parent =
        path.parent().and_then(Path::file_name).filter(|_| path.ends_with("scenario.yaml"));
    let name = parent.or_else(|| path.file_stem());
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn cells(options: &Options) -> Result<Vec<Cell>, InputErrors> {
    let mut list: Vec<(String, PathBuf, Vec<String>)> = Vec::new();
    let file = &options.source.scenario;
    for policy in &options.policies {
        list.push((policy.clone(), file.clone(), policy_of(policy)?));
    }
    for ties in &options.ties {
        list.push((format!("ties {ties}"), file.clone(), vec![format!("scheduler.ties={ties}")]));
    }
    for text in &options.variants {
        let (name, sets) = text.split_once(':').ok_or_else(|| {
            vec![
                InputError::new("", format!("--variant {text}: no `:` in it"))
                    .hint("write --variant NAME:PATH=VALUE"),
            ]
        })?;
        let sets = sets.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        list.push((name.to_owned(), file.clone(), sets));
    }
    if !options.others.is_empty() {
        for path in std::iter::once(file).chain(&options.others) {
            list.push((short(path), path.clone(), Vec::new()));
        }
        // Files of one name in several folders are told apart by their paths.
        let twice = |name: &String| list.iter().filter(|other| other.0 == *name).count() > 1;
        let names: Vec<bool> = list.iter().map(|(name, ..)| twice(name)).collect();
        for ((name, path, _), twice) in list.iter_mut().zip(names) {
            if twice {
                *name = path.display().to_string();
            }
        }
    }
    list.into_iter()
        .map(|(name, scenario, sets)| {
            let source = Source { scenario, ..options.source.clone() };
            let read = input(&source, &sets)?;
            let all = source.set.iter().chain(&sets).map(|text| override_of(text));
            let sets = all.collect::<Result<_, _>>()?;
            Ok(Cell { name, sets, plan: read.plan, inputs: read.inputs })
        })
        .collect()
}

/// The values that choose a policy by name, or a configuration by its file. Files of a scenario are
/// relative to it; those of the command line are not.
fn policy_of(text: &str) -> Result<Vec<String>, InputErrors> {
    if !text.contains(['.', '/']) {
        return Ok(vec!["scheduler.config=~".to_owned(), format!("scheduler.policy={text}")]);
    }
    let path = std::path::absolute(text)
        .map_err(|e| vec![InputError::new(text, format!("is no path: {e}"))])?;
    let quoted = serde_json::Value::from(path.to_string_lossy().into_owned());
    Ok(vec!["scheduler.policy=~".to_owned(), format!("scheduler.config={quoted}")])
}

/// `1..20` (both ends included) or `3,5,7`.
pub(super) fn seeds(text: &str) -> Result<Vec<u64>, InputError> {
    crate::scenario::seeds(text)
        .map_err(|problem| InputError::new("", format!("--seeds {problem}")).hint(SEEDS_HINT))
}
