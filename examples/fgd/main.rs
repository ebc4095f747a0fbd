//! Runs the experiment of Weng et al., "Beware of Fragmentation" (USENIX ATC'23) and holds its
//! means against the published ones: `cargo run --release --example fgd`. ARGUMENTS: `--help`.

mod figures;
mod table;

use clap::Parser;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use table::{Cell, Curve};
use wavetank::cluster::spec::Plan;
use wavetank::report::metrics::Metrics;
use wavetank::scenario::load::{LoadOptions, load_with};
use wavetank::session::Session;
use wavetank::sweep::runs::parallel;

/// The policies by the paper's names.
const POLICIES: [(&str, &str); 6] = [
    ("01-Random", "random"),
    ("02-DotProd", "dot-product"),
    ("03-GpuClustering", "gpu-clustering"),
    ("04-GpuPacking", "gpu-packing"),
    ("05-BestFit", "best-fit"),
    ("06-FGD", "fgd"),
];

/// The fragmentation experiment, against the published means.
#[derive(Debug, Parser)]
struct Options {
    /// Shared data: openb/ and fgd-expected/ lie in its data/.
    #[arg(long, default_value = "../shared")]
    shared: PathBuf,
    /// Workloads (names of pod lists); all with published means by default.
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// Policies by the paper's names (01-Random to 06-FGD); all by default.
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// First seed.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Seeds.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Runs at a time; 0 for one per core.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Directory for tables and pictures.
    #[arg(long, default_value = "results/fgd")]
    out: PathBuf,
}

/// A workload under a policy.
struct Job {
    workload: String,
    policy: &'static str,
    plan: Arc<Plan>,
    seed: u64,
}

fn main() -> Result<(), String> {
    let options = Options::parse();
    let published = table::published(&options.shared)?;
    let mut workloads = options.workloads.clone();
    if workloads.is_empty() {
        workloads = table::workloads(&published);
    }
    let known = |p: &String| POLICIES.iter().any(|(name, _)| name == p);
    if let Some(wrong) = options.policies.iter().find(|p| !known(p)) {
        return Err(format!("--policy {wrong}: possible are 01-Random to 06-FGD"));
    }
    let mut jobs = Vec::new();
    let chosen =
        |name: &str| options.policies.is_empty() || options.policies.iter().any(|p| p == name);
    for workload in &workloads {
        for (name, policy) in POLICIES.into_iter().filter(|(name, _)| chosen(name)) {
            let plan = plan(workload, policy, &options.shared)?;
            for seed in options.seed..options.seed + options.seeds {
                let plan = Arc::clone(&plan);
                jobs.push(Job { workload: workload.clone(), policy: name, plan, seed });
            }
        }
    }
    let done = AtomicUsize::new(0);
    let curves = parallel(options.jobs, &jobs, |job| {
        let curve = run(job);
        let n = done.fetch_add(1, Ordering::Relaxed) + 1;
        if n.is_multiple_of(20) || n == jobs.len() {
            say(&format!("{n} of {} runs", jobs.len()));
        }
        curve
    });
    let cells = table::cells(&curves, &published);
    leave(&options.out, &curves, &cells)?;
    say(&table::verdict(&cells));
    Ok(())
}

fn say(line: &str) {
    // Nobody listens any more: the files are what counts.
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn plan(workload: &str, policy: &str, shared: &Path) -> Result<Arc<Plan>, String> {
    let pods = shared.join("data/openb").join(format!("{workload}.csv.gz"));
    let set = |path: &str, value: String| (path.to_owned(), value);
    let overrides = vec![
        set("scheduler.policy", policy.to_owned()),
        set("traces[0].openb.pods", pods.display().to_string()),
    ];
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/fgd/scenario.yaml");
    let how = LoadOptions { overrides, shared: shared.to_owned() };
    let loaded = load_with(&scenario, &how).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    Ok(Arc::new(loaded.plan))
}

fn run(job: &Job) -> Curve {
    let plan = Arc::new(Plan { seed: job.seed, ..Plan::clone(&job.plan) });
    let mut metrics = Metrics::new(&plan, None);
    let mut session = Session::new(plan);
    session.run(&mut [&mut metrics], |_| {});
    let rows = metrics.gpus.as_deref().map(|gpus| gpus.summary().by_arrived).unwrap_or_default();
    Curve { workload: job.workload.clone(), policy: job.policy, seed: job.seed, rows }
}

fn leave(out: &Path, curves: &[Curve], cells: &[Cell]) -> Result<(), String> {
    std::fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    write("table.csv", table::csv(cells))?;
    write("by-arrival.csv", table::curves_csv(curves))?;
    for (name, picture) in figures::all(curves, cells) {
        write(&format!("{name}.svg"), wavetank::report::plots::svg::svg(&picture))?;
        wavetank::report::plots::png::png(&picture, &out.join(format!("{name}.png")))?;
    }
    Ok(())
}
