//! `wavetank compare`: policies or variants on the same waves.

use super::load::input;
use super::{Format, Source, terminal};
use crate::cluster::spec::Plan;
use crate::report::metrics::Metrics;
use crate::report::plots::beside::{self, Course};
use crate::report::rundir::RunDir;
use crate::report::summary::Summary;
use crate::scenario::{InputError, InputErrors};
use crate::session::Session;
use crate::sweep::runs;
use crate::sweep::table::{Policy, Table};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// Directory for the table and a picture of all runs of the first seed, one beside the other.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the table.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print no progress.
    #[arg(long)]
    quiet: bool,
}

/// A variant: its name and the values it sets.
struct Variant {
    name: String,
    plan: Arc<Plan>,
    files: Vec<(String, Vec<u8>)>,
}

/// Compares.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let variants = variants(options)?;
    if variants.len() < 2 {
        return Err(vec![
            InputError::new("", "there is only one thing to compare")
                .hint("name two scenarios, or give --policy, --ties or --variant at least twice"),
        ]);
    }
    let seeds = seeds(&options.seeds).map_err(|e| vec![e])?;
    let jobs: Vec<(usize, u64)> =
        (0..variants.len()).flat_map(|v| seeds.iter().map(move |&s| (v, s))).collect();
    if options.out.is_some() && variants.len() > beside::MOST {
        let problem = format!("--out: a picture tells at most {} apart", beside::MOST);
        return Err(vec![InputError::new("", problem).hint("compare fewer at once")]);
    }
    let dir = options.out.as_deref().map(RunDir::begin).transpose().map_err(|e| vec![e])?;
    let bar = terminal::progress(jobs.len() as u64, options.quiet, "runs");
    let results = runs::parallel(options.jobs, &jobs, |&(variant, seed)| {
        let drawn = options.out.is_some() && seed == seeds[0];
        let done = one(&variants[variant].plan, seed, drawn);
        bar.inc(1);
        done
    });
    bar.finish_and_clear();
    let per = seeds.len();
    let chunks: Vec<&[Done]> = results.chunks(per).collect();
    let policies: Vec<Policy> = variants
        .iter()
        .zip(&chunks)
        .map(|(variant, runs)| {
            let summaries: Vec<Summary> = runs.iter().map(|r| r.summary.clone()).collect();
            Policy::new(&variant.name, &summaries)
        })
        .collect();
    let table = Table::new(&policies);
    let same = |runs: &[Done]| runs.iter().zip(chunks[0]).all(|(a, b)| a.digest == b.digest);
    let identical: Vec<&str> = variants
        .iter()
        .zip(&chunks)
        .skip(1)
        .filter(|(_, runs)| same(runs))
        .map(|(variant, _)| variant.name.as_str())
        .collect();
    if let Some(dir) = dir {
        leave(dir, &table, &variants, &chunks)?;
    }
    show(options.format, &table, &identical, per);
    if let Some(dir) = options.out.as_ref().filter(|_| options.format == Format::Text) {
        terminal::line(&format!("comparison.svg and the table are in {}", dir.display()));
    }
    Ok(0)
}

/// Prints the table, and which policies have the baseline's digests on all seeds.
fn show(format: Format, table: &Table, identical: &[&str], seeds: usize) {
    if format == Format::Json {
        let mut data = table.json();
        data["identical_to_baseline"] = identical.into();
        return terminal::line(&format!("{data:#}"));
    }
    terminal::line(table.render(terminal::WIDTH).trim_end());
    let baseline = table.policies.first().map_or("", String::as_str);
    for name in identical {
        terminal::line(&format!(
            "{baseline} and {name} are identical: equal digests on all {seeds} seeds"
        ));
    }
}

/// A run that has ended.
struct Done {
    summary: Summary,
    digest: String,
    course: Option<Course>,
}

/// The name of a scenario file without its folder.
fn short(name: &str) -> &str {
    if !name.ends_with(".yaml") {
        return name;
    }
    Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or(name)
}

/// Writes the table and the picture.
fn leave(
    dir: RunDir,
    table: &Table,
    variants: &[Variant],
    chunks: &[&[Done]],
) -> Result<(), InputErrors> {
    let runs: Vec<(&str, &Course)> = variants
        .iter()
        .zip(chunks)
        .filter_map(|(variant, runs)| Some((short(&variant.name), runs[0].course.as_ref()?)))
        .collect();
    let names: Vec<&str> = runs.iter().map(|run| run.0).collect();
    let title = format!("{} on the same waves", names.join(", "));
    let pictures = [("comparison", beside::draw(&title, &runs))];
    let json = format!("{:#}\n", table.json());
    let text = table.render(terminal::WIDTH);
    let files = [("compare.json", json.into_bytes()), ("compare.txt", text.into_bytes())];
    let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, bytes) in variants.iter().flat_map(|v| &v.files) {
        if !inputs.iter().any(|known| known.0 == *name) {
            inputs.push((name.clone(), bytes.clone()));
        }
    }
    let about = serde_json::json!({
        "tool": "wavetank", "version": env!("CARGO_PKG_VERSION"), "compare": table.policies,
    });
    dir.leave(&files, &pictures, (about, &inputs)).map_err(|e| vec![e])
}

fn one(plan: &Arc<Plan>, seed: u64, drawn: bool) -> Done {
    let mut plan = Plan::clone(plan);
    plan.seed = seed;
    let mut metrics = Metrics::new(&plan, None);
    let mut session = Session::new(Arc::new(plan));
    session.run(&mut [&mut metrics], |_| {});
    let digest = session.digest();
    let summary = Summary::new(&metrics, &digest);
    let course = drawn.then(|| Course::of(&metrics, &summary));
    Done { summary, digest, course }
}

fn variants(options: &Options) -> Result<Vec<Variant>, InputErrors> {
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
            list.push((path.display().to_string(), path.clone(), Vec::new()));
        }
    }
    list.into_iter()
        .map(|(name, scenario, sets)| {
            let source = Source { scenario, ..options.source.clone() };
            let read = input(&source, &sets)?;
            Ok(Variant { name, plan: read.plan, files: read.inputs })
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
    let bad = || {
        InputError::new("", format!("--seeds {text}: not a list of seeds"))
            .hint("write 1..20 (both ends included) or 3,5,7")
    };
    if let Some((from, to)) = text.split_once("..") {
        let from: u64 = from.parse().map_err(|_e| bad())?;
        let to: u64 = to.trim_start_matches('=').parse().map_err(|_e| bad())?;
        if from > to || to - from > 100_000 {
            return Err(bad());
        }
        return Ok((from..=to).collect());
    }
    text.split(',').map(|s| s.trim().parse().map_err(|_e| bad())).collect()
}
