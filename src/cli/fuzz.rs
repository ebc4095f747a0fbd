//! `wavetank fuzz`: storms drawn at random, every invariant checked after every event.

use super::run::Clock;
use super::terminal;
use crate::event::Canary;
use crate::scenario::{InputError, InputErrors};
use crate::sweep::runs;
use crate::sweep::storm::{self, Case, Failure, Passed, Weather};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Runs that shrinking one failure may take.
const SHRINK_RUNS: u32 = 300;

/// Options of `fuzz`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// Seeds, as in 1..300 or 7.
    #[arg(long, default_value = "1..100")]
    seeds: String,
    /// Runs at a time (0: one per core). It changes nothing but the time it takes.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Let events at one instant come in another order.
    #[arg(long)]
    shuffle_ties: bool,
    /// Plant a known bug, which must be found; `all` plants one after the other.
    #[arg(long, value_name = "NAME")]
    canary: Option<String>,
    /// Run each seed so many-th twice and compare (0: never).
    #[arg(long, default_value_t = 8)]
    twice_every: u64,
    /// Where scenarios of failures are written, shrunk.
    #[arg(long, value_name = "DIR", default_value = "results/storms")]
    out: PathBuf,
    /// Print the scenario of the first seed and run nothing.
    #[arg(long)]
    show: bool,
    /// Print no progress.
    #[arg(long)]
    quiet: bool,
}

/// The result of one seed.
type Outcome = Result<Passed, Failure>;

/// Runs storms; exit code 3 if a rule was broken (a bug of ours), or a planted bug not found.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let seeds = super::compare::seeds(&options.seeds).map_err(|e| vec![e])?;
    // An assertion that fails is told with its seed; its trace would only hide that.
    std::panic::set_hook(Box::new(|_| {}));
    if options.show {
        let first = seeds.first().copied().unwrap_or(1);
        terminal::line(Case::draw(first).to_yaml().trim_end());
        return Ok(0);
    }
    if let Some(name) = &options.canary {
        return canaries(name, &seeds, options);
    }
    let started = Clock::start();
    let results = storms(&seeds, options, None);
    let mut total = Passed::default();
    for passed in results.iter().filter_map(|(_, r)| r.as_ref().ok()) {
        total.events += passed.events;
        total.looked += passed.looked;
        for (excuse, n) in &passed.excuses {
            *total.excuses.entry(*excuse).or_default() += n;
        }
    }
    let failures: Vec<(u64, &Failure)> =
        results.iter().filter_map(|(seed, r)| Some((*seed, r.as_ref().err()?))).collect();
    let took = started.seconds();
    told(&total, results.len(), failures.len(), took);
    let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seed, failure) in &failures {
        kinds.entry(failure.rule.as_str()).or_default().push(*seed);
    }
    for (rule, seeds) in &kinds {
        let shown: Vec<String> = seeds.iter().take(8).map(u64::to_string).collect();
        terminal::line(&format!("!! {rule}: {} seeds: {}", seeds.len(), shown.join(" ")));
        if let Some((seed, failure)) = failures.iter().find(|f| f.0 == seeds[0]) {
            shrunk(*seed, failure, options)?;
        }
    }
    Ok(if failures.is_empty() { 0 } else { 3 })
}

fn storms(seeds: &[u64], options: &Options, canary: Option<Canary>) -> Vec<(u64, Outcome)> {
    let bar = terminal::progress(seeds.len() as u64, options.quiet, "storms");
    let results = runs::parallel(options.jobs, seeds, |&seed| {
        let done = storm::run(&Case::draw(seed).to_yaml(), weather(seed, options, canary));
        bar.inc(1);
        (seed, done)
    });
    bar.finish_and_clear();
    results
}

fn weather(seed: u64, options: &Options, canary: Option<Canary>) -> Weather {
    let every = options.twice_every;
    let twice = every > 0 && seed.is_multiple_of(every);
    Weather { shuffle: options.shuffle_ties, twice, canary }
}

fn told(total: &Passed, seeds: usize, failures: usize, seconds: f64) {
    let rate = crate::engine::num::float_u(seeds as u64) / seconds.max(0.001) * 3600.0;
    terminal::line(&format!(
        "{seeds} storms, {failures} failed; {} events, {} checks; on this machine {rate:.0} seeds \
         per hour",
        total.events, total.looked
    ));
    for (excuse, n) in &total.excuses {
        terminal::line(&format!("  {n} pods had no node in the end, provably: {excuse:?}"));
    }
}

/// Writes the smallest scenario that fails as this seed does.
fn shrunk(seed: u64, failure: &Failure, options: &Options) -> Result<(), InputErrors> {
    let (case, weather) = (Case::draw(seed), weather(seed, options, None));
    let (small, failure) = storm::shrink(&case, failure, weather, SHRINK_RUNS);
    let file = options.out.join(format!("storm-{seed}.yaml"));
    let text = small.to_yaml();
    write(&file, &text).map_err(|why| {
        vec![InputError::new(file.display().to_string(), format!("cannot be written: {why}"))]
    })?;
    terminal::line(&format!("   {}", failure.seen));
    terminal::line(&format!("   shrunk to {} lines: {}", text.lines().count(), file.display()));
    Ok(())
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(file, text)
}

/// Each planted bug must be found within the seeds.
fn canaries(name: &str, seeds: &[u64], options: &Options) -> Result<u8, InputErrors> {
    let chosen: Vec<Canary> =
        Canary::ALL.into_iter().filter(|c| name == "all" || c.name() == name).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = Canary::ALL.iter().map(|c| c.name()).collect();
        return Err(vec![
            InputError::new("", format!("--canary {name}: no such bug"))
                .hint(format!("there are all, {}", names.join(", "))),
        ]);
    }
    let mut missed = 0;
    for canary in chosen {
        match seeds.iter().find_map(|&seed| caught(seed, canary, options)) {
            Some((seed, failure)) => {
                let (name, rule) = (canary.name(), failure.rule);
                terminal::line(&format!("{name}: found by seed {seed}: {rule}"));
            }
            None => {
                missed += 1;
                terminal::line(&format!(
                    "!! {}: not found in {} seeds",
                    canary.name(),
                    seeds.len()
                ));
            }
        }
    }
    Ok(if missed == 0 { 0 } else { 3 })
}

fn caught(seed: u64, canary: Canary, options: &Options) -> Option<(u64, Failure)> {
    let twice = canary == Canary::Unstable;
    let weather = Weather { twice, ..weather(seed, options, Some(canary)) };
    storm::run(&Case::draw(seed).to_yaml(), weather).err().map(|failure| (seed, failure))
}
