//! `wavetank sweep` and `wavetank merge`: grids of values and seeds, on one machine or many.

use super::compare::show;
use super::{EXPECTATION, Format, terminal};
use crate::report::text::count;
use crate::scenario::{InputError, InputErrors, Sweep, load_sweep};
use crate::sweep::engines::{Engine, Work};
use crate::sweep::outcome::Outcome;
use crate::sweep::play::{self, Missing};
use crate::sweep::store::Store;
use crate::sweep::study::{Book, Cell, Job, Shard, Study};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `sweep`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// The file of the sweep.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Directory for results; results/sweeps/NAME by default. Runs that it has are not played
    /// again; tables, pictures and a page go to DIR/report.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at a time (0: one per core). It changes nothing but the time it takes.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Play only one part of so many, as in 1/4, and make no table: `wavetank merge` does.
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    /// Say how many runs there are and how many are missing, and play none.
    #[arg(long)]
    dry_run: bool,
    /// Write what hands this sweep to an engine that runs its shards, and play none: a script or a
    /// manifest, in the directory of the results, which all workers must share.
    #[arg(long, value_enum, value_name = "ENGINE", conflicts_with_all = ["shard", "dry_run"])]
    engine: Option<Engine>,
    /// Workers of that engine.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// What `${shared}` in paths of the scenario stands for.
    #[arg(long, value_name = "DIR", default_value = "../shared")]
    shared: PathBuf,
    /// How to print the table.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print no progress.
    #[arg(long)]
    quiet: bool,
}

/// Options of `merge`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct MergeOptions {
    /// Directory of all results.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Directories of the shards; none if all of them have written to OUT.
    #[arg(value_name = "DIR")]
    from: Vec<PathBuf>,
    /// How to print the table.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Sweeps.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let sweep = load_sweep(&options.file, &options.shared)?;
    warn(&sweep);
    let default = || PathBuf::from("results/sweeps").join(&sweep.name);
    let out = options.out.clone().unwrap_or_else(default);
    let study = study(sweep);
    let book = study.book();
    let store = Store::open(&out).map_err(|e| vec![e])?;
    if options.dry_run {
        dry(&book, &store, options);
        return Ok(0);
    }
    let how = (options.jobs, options.quiet);
    if let Some(engine) = options.engine {
        return submit(engine, (&book, &store, &out), options);
    }
    let (played, there) = play_missing((&study, &book), &store, options.shard, how)?;
    let done = format!("{} played, {there} were there", count(played as u64, "run"));
    if let Some(Shard { index, of }) = options.shard {
        terminal::line(&format!("shard {index}/{of} of {}: {done}", book.title));
        return Ok(0);
    }
    finish(&book, &store, options.format, &done)
}

fn warn(sweep: &Sweep) {
    let mut said = BTreeSet::new();
    for warning in sweep.cells.iter().flat_map(|cell| &cell.loaded.warnings) {
        let text = format!("warning: {warning}");
        if said.insert(text.clone()) {
            terminal::complain(&text);
        }
    }
}

fn study(sweep: Sweep) -> Study {
    let cells = sweep.cells.into_iter().map(|cell| Cell {
        name: cell.name,
        sets: cell.sets,
        plan: Arc::new(cell.loaded.plan),
        inputs: (cell.loaded.inputs.into_iter())
            .map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes))
            .collect(),
    });
    Study { title: sweep.name, cells: cells.collect(), seeds: sweep.seeds }
}

fn dry(book: &Book, store: &Store, options: &Options) {
    let all = play::share(book, options.shard).len();
    let missing = play::missing(book, store, options.shard, options.jobs).len();
    let (cells, seeds) = (book.cells.len() as u64, book.seeds.len() as u64);
    terminal::line(&format!(
        "{}: {} x {}, {}{}: {} are there, {missing} are missing",
        book.title,
        count(cells, "cell"),
        count(seeds, "seed"),
        count(all as u64, "run"),
        options.shard.map_or_else(String::new, |s| format!(" in shard {}/{}", s.index, s.of)),
        all - missing,
    ));
    for cell in &book.cells {
        let sets: Vec<String> = cell.sets.iter().map(|(path, v)| format!("{path}={v}")).collect();
        terminal::line(&format!("  {}: {}", cell.name, sets.join(" ")));
    }
}

/// Plays what a directory does not have; how many runs that were, and how many were there.
pub(super) fn play_missing(
    (study, book): (&Study, &Book),
    store: &Store,
    shard: Option<Shard>,
    (threads, quiet): (usize, bool),
) -> Result<(usize, usize), InputErrors> {
    store.begin(study, book).map_err(|e| vec![e])?;
    store.tidy();
    let all = play::share(book, shard).len();
    let missing: Vec<Job> = play::missing(book, store, shard, threads);
    let bar = terminal::progress(missing.len() as u64, quiet, "runs");
    play::keep(study, book, store, &missing, (threads, &|| bar.inc(1)))?;
    bar.finish_and_clear();
    Ok((missing.len(), all - missing.len()))
}

/// Makes tables, pictures and the page of a directory that has all runs.
pub(super) fn conclude(book: &Book, store: &Store) -> Result<Outcome, InputErrors> {
    let lacking = |missing: Missing| {
        // Somebody has removed files while we wrote them.
        let lines = missing.lines().join("; ");
        vec![InputError::new(store.root().display().to_string(), lines)]
    };
    let results = play::gather(book, |key| store.get(key)).map_err(lacking)?;
    let outcome = Outcome::new(book, results);
    outcome.leave(&store.report()).map_err(|e| vec![e])?;
    Ok(outcome)
}

fn finish(book: &Book, store: &Store, format: Format, done: &str) -> Result<u8, InputErrors> {
    let outcome = conclude(book, store)?;
    show(format, &outcome);
    if format == Format::Text {
        let place = store.report();
        terminal::line(&format!("{done}; tables, pictures and a page are in {}", place.display()));
    }
    Ok(0)
}

/// Writes what an engine needs.
fn submit(
    engine: Engine,
    (book, store, out): (&Book, &Store, &Path),
    options: &Options,
) -> Result<u8, InputErrors> {
    let seen = |path: &Path| -> Result<String, InputErrors> {
        let shown = path.display().to_string();
        if !engine.is_mounted() {
            let whole = std::path::absolute(path);
            return whole
                .map(|p| p.display().to_string())
                .map_err(|e| vec![InputError::new(shown, format!("is no path: {e}"))]);
        }
        if path.is_absolute() || path.starts_with("..") {
            let hint = "call it from the root of the volume that the pods mount at /data";
            let problem = "is not below the current directory";
            return Err(vec![InputError::new(shown, problem).hint(hint)]);
        }
        Ok(shown)
    };
    let (file, place) = (seen(&options.file)?, seen(out)?);
    let shared = seen(&options.shared).unwrap_or_else(|_| "shared".to_owned());
    let workers = usize::from(options.workers);
    let work = Work { name: &book.title, file: &file, out: &place, shared: &shared, workers };
    let (files, command) = engine.files(&work);
    for (name, text) in &files {
        store.write(name, text.as_bytes()).map_err(|e| vec![e])?;
    }
    for (i, (name, _)) in files.iter().enumerate() {
        let then = if i == 0 { "start it by" } else { "then" };
        terminal::line(&format!("{then}: {command} {}", out.join(name).display()));
    }
    Ok(0)
}

/// Merges.
pub(super) fn merge(options: &MergeOptions) -> Result<u8, InputErrors> {
    let store = Store::open(&options.out).map_err(|e| vec![e])?;
    let (book, shards) = books(options, &store)?;
    store.write_book(&book).map_err(|e| vec![e])?;
    let mut copied = 0;
    for shard in &shards {
        copied += store.collect(shard, &book).map_err(|e| vec![e])?;
    }
    let done = format!("{} copied", count(copied as u64, "run"));
    if let Err(missing) = play::gather(&book, |key| store.get(key)) {
        let runs: usize = missing.cells.iter().map(|cell| cell.1.len()).sum();
        let runs = count(runs as u64, "run");
        terminal::complain(&format!("{}: {done}, {runs} missing:", book.title));
        for line in missing.lines() {
            terminal::complain(&format!("  {line}"));
        }
        terminal::complain("play them with `wavetank sweep`, then merge again");
        return Ok(EXPECTATION);
    }
    finish(&book, &store, options.format, &done)
}

/// The one book of all directories, and the directories to copy from.
fn books(options: &MergeOptions, out: &Store) -> Result<(Book, Vec<Store>), InputErrors> {
    let mut book: Option<Book> = if options.from.is_empty() { out.book() } else { None };
    let mut shards = Vec::new();
    let mut errors = InputErrors::new();
    let hint = "merge what one `wavetank sweep FILE --shard I/N` after the other has left";
    for path in &options.from {
        let file = path.display().to_string();
        let shard = Store::open(path).map_err(|e| vec![e])?;
        match (shard.book(), &book) {
            (None, _) => errors.push(InputError::new(file, "holds no sweep").hint(hint)),
            (Some(other), Some(known)) if other != *known => {
                let problem = "holds another sweep, or that of another version";
                errors.push(InputError::new(file, problem).hint(hint));
            }
            (Some(other), _) => book = Some(other),
        }
        shards.push(shard);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let none =
        || vec![InputError::new(options.out.display().to_string(), "holds no sweep").hint(hint)];
    Ok((book.ok_or_else(none)?, shards))
}
