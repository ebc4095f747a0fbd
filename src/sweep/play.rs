//! Plays the runs of a study that are missing, on all cores, and gathers those that are there.

use super::done::Done;
use super::runs;
use super::store::Store;
use super::study::{Book, Job, Shard, Study};
use crate::scenario::{InputError, InputErrors};
use std::collections::BTreeMap;

/// Results of a study: per cell, a run per seed.
pub type Results = Vec<Vec<Done>>;

/// Runs that are not there, by cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Name of each cell that lacks runs, and the seeds it lacks.
    pub cells: Vec<(String, Vec<u64>)>,
}

/// The runs of this part of the study that a directory does not have.
#[must_use]
pub fn missing(book: &Book, store: &Store, shard: Option<Shard>, threads: usize) -> Vec<Job> {
    let jobs: Vec<Job> = share(book, shard);
    let there = runs::parallel(threads, &jobs, |&job| store.get(book.key(job)).is_some());
    jobs.into_iter().zip(there).filter(|(_, there)| !there).map(|(job, _)| job).collect()
}

/// The runs of a part of the study.
#[must_use]
pub fn share(book: &Book, shard: Option<Shard>) -> Vec<Job> {
    let all = book.jobs().into_iter().enumerate();
    all.filter(|(n, _)| shard.is_none_or(|s| s.has(*n))).map(|(_, job)| job).collect()
}

/// Plays runs and keeps each as soon as it has ended; `tick` is called after each.
///
/// # Errors
/// If a result cannot be written.
pub fn keep(
    study: &Study,
    book: &Book,
    store: &Store,
    jobs: &[Job],
    (threads, tick): (usize, &(dyn Fn() + Sync)),
) -> Result<(), InputErrors> {
    let errors: Vec<Option<InputError>> = runs::parallel(threads, jobs, |&job| {
        let key = book.key(job);
        let (_, bytes) = Done::play(&study.cells[job.cell].plan, study.seeds[job.seed], key);
        tick();
        store.keep(key, &bytes).err()
    });
    errors.into_iter().flatten().next().map_or(Ok(()), |error| Err(vec![error]))
}

/// Plays all runs and keeps them in memory.
#[must_use]
pub fn in_memory(
    study: &Study,
    book: &Book,
    (threads, tick): (usize, &(dyn Fn() + Sync)),
) -> Results {
    let jobs = book.jobs();
    let done = runs::parallel(threads, &jobs, |&job| {
        let seed = study.seeds[job.seed];
        let (done, _) = Done::play(&study.cells[job.cell].plan, seed, book.key(job));
        tick();
        done
    });
    let by_key: BTreeMap<String, Done> =
        done.into_iter().map(|done| (done.key.clone(), done)).collect();
    gather(book, |key| by_key.get(key).cloned()).unwrap_or_default()
}

/// Takes the runs of a book from where they are.
///
/// # Errors
/// Those that are not there.
pub fn gather(book: &Book, mut get: impl FnMut(&str) -> Option<Done>) -> Result<Results, Missing> {
    let mut results = Results::new();
    let mut lacking = Vec::new();
    for cell in &book.cells {
        let runs: Vec<Option<Done>> = cell.keys.iter().map(|key| get(key)).collect();
        let seeds: Vec<u64> = (runs.iter().zip(&book.seeds))
            .filter(|(run, _)| run.is_none())
            .map(|(_, seed)| *seed)
            .collect();
        if !seeds.is_empty() {
            lacking.push((cell.name.clone(), seeds));
        }
        results.push(runs.into_iter().flatten().collect());
    }
    if lacking.is_empty() { Ok(results) } else { Err(Missing { cells: lacking }) }
}

impl Missing {
    /// `12 runs are missing: least-allocated: seeds 3, 4`: one line per cell.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        const MOST: usize = 12;
        let of = |(name, seeds): &(String, Vec<u64>)| {
            let first: Vec<String> = seeds.iter().take(MOST).map(u64::to_string).collect();
            let rest = seeds.len().saturating_sub(MOST);
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            format!("{name}: no run of seed {}{more}", first.join(", "))
        };
        self.cells.iter().map(of).collect()
    }
}
