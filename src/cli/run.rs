//! `wavetank run`.

use super::load::{Input, input};
use super::{EXPECTATION, Format, Source, terminal};
use crate::api::Kind;
use crate::cluster::Cluster;
use crate::control_plane::scheduler::timed;
use crate::engine::num;
use crate::report::metrics::Metrics;
use crate::report::rundir::{Facts, RunDir, Trace};
use crate::report::summary::Summary;
use crate::report::text::render;
use crate::scenario::{InputError, InputErrors};
use crate::session::{Observer, Session};
use std::path::PathBuf;
use std::sync::Arc;

/// Options of `run`.
#[expect(clippy::struct_excessive_bools, reason = "a flag of the command line is a bool")]
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// Where results go (default: results/runs/NAME).
    #[arg(long, value_name = "DIR", conflicts_with = "no_out")]
    out: Option<PathBuf>,
    /// Write nothing.
    #[arg(long)]
    no_out: bool,
    /// Write tables, but no plots and no report.
    #[arg(long)]
    no_plots: bool,
    /// Print nothing but errors.
    #[arg(long)]
    quiet: bool,
    /// How to print the summary.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print what the run cost: events, requests, revisions, bytes, and the time of each scheduler
    /// plugin (whose timing slows the run a little, and changes nothing else).
    #[arg(long)]
    profile: bool,
    /// Write every record of the run to trace.txt.
    #[arg(long)]
    record: bool,
}

/// Runs a scenario.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let Input { plan, inputs, options: chosen } = input(&options.source, &[])?;
    let one = |error: InputError| vec![error];
    let target =
        options.out.clone().unwrap_or_else(|| PathBuf::from("results/runs").join(&plan.name));
    let dir = if options.no_out { None } else { Some(RunDir::begin(&target).map_err(one)?) };
    let sink = dir.as_ref().map(RunDir::sink).transpose().map_err(one)?;
    let mut metrics = Metrics::new(&plan, sink);
    let mut trace = match (&dir, options.record) {
        (Some(dir), true) => Some(Trace::new(dir).map_err(one)?),
        _without => None,
    };
    let bar = terminal::progress(plan.until.0 / 1_000_000, options.quiet, &plan.name);
    let clock = Clock::start();
    let mut session = Session::new(plan);
    let empty_kib = memory_kib("VmRSS:");
    session.trace(options.record);
    let ticks: Arc<dyn timed::Clock> = Arc::new(Clock::start());
    let tallies = if options.profile { session.time_plugins(&ticks) } else { Vec::new() };
    {
        let mut observers: Vec<&mut dyn Observer> = vec![&mut metrics];
        if let Some(trace) = &mut trace {
            observers.push(trace);
        }
        session.run(&mut observers, |now| bar.set_position(now.0 / 1_000_000));
    }
    bar.finish_and_clear();
    let spent = clock.seconds();
    if let Some(trace) = trace {
        trace.close().map_err(one)?;
    }
    let digest = session.digest();
    let facts = Facts { digest, options: chosen, inputs, plots: !options.no_plots };
    let summary = match dir {
        Some(dir) => dir.finish(&mut metrics, &facts).map_err(one)?,
        None => Summary::new(&metrics, &facts.digest),
    };
    show(options, &summary, &target);
    if options.profile {
        // Beside data for programs it goes to standard error.
        let text = options.format == Format::Text;
        let say = if text { terminal::line } else { terminal::complain };
        say(&profile(session.cluster(), &summary));
        say(&machine(&session, &summary, spent, empty_kib));
        say(&plugins(&tallies, summary.pods.bound, spent));
    }
    Ok(if summary.passed() { 0 } else { EXPECTATION })
}

/// The wall clock, for `--profile` alone: no result depends on it.
#[expect(clippy::disallowed_types, reason = "only cli/ may look at the wall clock")]
#[derive(Debug)]
pub(super) struct Clock(std::time::Instant);

impl timed::Clock for Clock {
    fn nanos(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "only cli/ may look at the wall clock"
    )]
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// What each plugin took at each extension point, the longest first.
fn plugins(tallies: &[Arc<timed::Tally>], bound: u64, spent: f64) -> String {
    let mut rows: Vec<timed::Spent> = tallies.iter().flat_map(|t| t.spent()).collect();
    rows.sort_by_key(|r| (std::cmp::Reverse(r.nanos), r.plugin, r.point));
    let total: u64 = rows.iter().map(|r| r.nanos).sum();
    let per_pod = |nanos: u64| num::float_u(nanos) / num::float_u(bound.max(1));
    let mut out = format!(
        "scheduler plugins on this machine: {:.3} s of {spent:.2} s, {:.0} ns per pod bound\n\
         {:<32} {:<11} {:>12} {:>12} {:>10} {:>7}",
        num::float_u(total) / 1e9,
        per_pod(total),
        "plugin",
        "point",
        "calls",
        "ns per call",
        "ns per pod",
        "share",
    );
    let several = rows.iter().any(|r| r.profile != rows[0].profile);
    for r in &rows {
        let name =
            if several { format!("{}/{}", r.profile, r.plugin) } else { r.plugin.to_owned() };
        let line = format!(
            "\n{name:<32} {:<11} {:>12} {:>12.0} {:>10.0} {:>6.1}%",
            r.point,
            r.calls,
            num::float_u(r.nanos) / num::float_u(r.calls.max(1)),
            per_pod(r.nanos),
            100.0 * num::float_u(r.nanos) / num::float_u(total.max(1)),
        );
        out.push_str(&line);
    }
    out
}

/// What the run took on this machine, today.
fn machine(session: &Session, summary: &Summary, spent: f64, empty_kib: Option<u64>) -> String {
    let rate = num::float_u(session.steps()) / spent.max(1e-9) / 1e6;
    let live = session.cluster().shared().versions.count(Kind::Pod) as u64;
    let peak = memory_kib("VmHWM:").map_or_else(String::new, |kib| {
        let each = |kib: u64, pods: u64| num::float_u(kib * 1024) / num::float_u(pods.max(1));
        let created = each(kib, summary.pods.created);
        let above = empty_kib.filter(|_| live > 0).map_or_else(String::new, |empty| {
            let bytes = each(kib.saturating_sub(empty), live);
            format!(
                "; {bytes:.0} bytes for each of {live} live pods above the {} MiB of the cluster \
                 without them",
                empty >> 10
            )
        });
        format!(", peak memory {} MiB ({created:.0} bytes per pod created{above})", kib >> 10)
    });
    format!("on this machine: {spent:.2} s, {rate:.2} million events/s{peak}")
}

/// Resident memory (`VmRSS:` now, `VmHWM:` at its peak) as the system tells it; none where it does
/// not.
fn memory_kib(field: &str) -> Option<u64> {
    let bytes = std::fs::read("/proc/self/status").ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let line = text.lines().find(|l| l.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn show(options: &Options, summary: &Summary, target: &std::path::Path) {
    if options.quiet {
        return;
    }
    match options.format {
        Format::Text => {
            terminal::line(render(summary, terminal::WIDTH).trim_end());
            if !options.no_out {
                let what =
                    if options.no_plots { "tables" } else { "tables, plots and report.html" };
                terminal::line(&format!("\n{what}: {}", target.display()));
            }
        }
        Format::Json => {
            let text = serde_json::to_string_pretty(summary).unwrap_or_default();
            terminal::line(&text);
        }
    }
}

/// What the run cost, by counts that are the same on every machine.
fn profile(cluster: &Cluster, summary: &Summary) -> String {
    let profile = cluster.profile();
    let pods = num::float_u(summary.pods.created.max(1));
    let per_pod = |n: u64| num::float_u(n) / pods;
    format!(
        "\nprofile: {} events ({:.1} per pod), {} requests ({} refused, at most {} at a time), \
         {} revisions ({:.1} of each pod), {} Kubernetes Events ({:.1} per pod), \
         {} MiB in etcd at the end",
        profile.events,
        per_pod(profile.events),
        profile.requests,
        profile.refused,
        profile.peak_in_flight,
        profile.revisions,
        per_pod(profile.pod_revisions),
        profile.events_created,
        per_pod(profile.events_created),
        profile.etcd_bytes >> 20,
    )
}
