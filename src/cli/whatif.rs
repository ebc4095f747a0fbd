//! `wavetank whatif`: single points of failure, ranked.

use super::load::{Input, input_or_dump};
use super::{EXPECTATION, Format, Source, terminal};
use crate::cluster::spec::{FaultKind, Plan};
use crate::engine::{Dist, SimDuration};
use crate::report::downtime::Need;
use crate::report::rundir::RunDir;
use crate::scenario::file::PresetName;
use crate::scenario::presets::preset;
use crate::scenario::value::{DIST_HINT, SPAN_HINT, dist_of_text, span};
use crate::scenario::{InputError, InputErrors, suggest};
use crate::sweep::whatif::{self, Domain, Loss, Part, Setting, Study};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More losses than this are asked for by mistake.
const MOST: usize = 20_000;
/// Repairs at Los Alamos 1996–2005.
const LANL: Option<Dist> = preset(PresetName::Lanl).1;
/// Longest warm-up, if nothing else is said.
const WARM_UP: SimDuration = SimDuration::from_secs(3_600);

/// Options of `whatif`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// Lose this and nothing else: `zone=b`, `node=worker-3`, `component=kube-scheduler`,
    /// `etcd=cp-0`; several at once with `+`. Given more than once, one after the other.
    #[arg(long = "lose", value_name = "KIND=NAME")]
    lose: Vec<String>,
    /// Lose each of this kind in turn (zone, control-plane, node, component, etcd, kube-apiserver);
    /// all kinds by default.
    #[arg(long = "each", value_name = "KIND", conflicts_with = "lose")]
    each: Vec<String>,
    /// Lose each two of these kinds at once as well.
    #[arg(long = "pairs", value_name = "KIND")]
    pairs: Vec<String>,
    /// Number of seeds; they follow that of the scenario. Each draws the instant of the loss and
    /// the time to its repair, the same for all losses.
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: u32,
    /// Longest time for the cluster to come to rest before anything is lost; by default half of the
    /// scenario's `until`, and at most an hour.
    #[arg(long, value_name = "SPAN")]
    warm_up: Option<String>,
    /// The instant of the loss is drawn from so long after that.
    #[arg(long, value_name = "SPAN", default_value = "10m")]
    within: String,
    /// Time to the repair, as a span or a distribution. By default, uniform between half and one
    /// and a half of what the scenario's first crash lasts; if it has none, log-normal as 16,894
    /// repairs of the LANL trace: `lognormal: {median: 61m, sigma: 1.49}`.
    #[arg(long, value_name = "DIST")]
    repair: Option<String>,
    /// How long after the repair to wait for the cluster to come to rest.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    horizon: String,
    /// Ready replicas that a workload without a disruption budget needs: a number or a percentage.
    #[arg(long, value_name = "N|N%", default_value = "1")]
    min_ready: String,
    /// Seeds on which each latency without a source is halved and doubled, to see whether the
    /// answer hangs on it; 0 leaves that out.
    #[arg(long, value_name = "N", default_value_t = 3)]
    sensitivity: usize,
    /// Threads (0: one per core). It changes nothing but the time it takes.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Losses in the printed tables.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Where tables and plot go (default: results/runs/NAME-whatif).
    #[arg(long, value_name = "DIR", conflicts_with = "no_out")]
    out: Option<PathBuf>,
    /// Write nothing.
    #[arg(long)]
    no_out: bool,
    /// Write the outcome for a build server: each loss is a test case, failing if an `expect:` line
    /// of the scenario fails after it.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print no progress.
    #[arg(long)]
    quiet: bool,
}

/// Answers.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let input = input_or_dump(&options.source)?;
    let plan = Arc::new(whatif::undisturbed(&input.plan));
    let losses = losses(options, &plan).map_err(one)?;
    let setting = setting(options, &input.plan)?;
    let target = options.out.clone();
    let target = target
        .unwrap_or_else(|| PathBuf::from("results/runs").join(format!("{}-whatif", plan.name)));
    let dir = if options.no_out { None } else { Some(RunDir::begin(&target).map_err(one)?) };
    let seeds = setting.seeds.len();
    let more = 2 * whatif::unsourced().len() * options.sensitivity.min(seeds);
    let steps = (seeds + more) * (losses.len() + 1);
    let bar = terminal::progress(steps as u64, options.quiet, "branches");
    let how = (options.jobs, options.sensitivity);
    let study = whatif::study_with_sensitivity(&plan, &losses, &setting, how, || bar.inc(1));
    bar.finish_and_clear();
    if let Some(dir) = dir {
        leave(dir, (options, &setting), &study, &input).map_err(one)?;
    }
    if let Some(file) = &options.junit {
        junit(file, &study).map_err(one)?;
    }
    match options.format {
        Format::Text => {
            terminal::line(study.render(terminal::WIDTH, options.top).trim_end());
            if !options.no_out {
                terminal::line(&format!("\ntables and plot: {}", target.display()));
            }
        }
        Format::Json => terminal::line(&format!("{:#}", study.json())),
    }
    Ok(if study.passed() { 0 } else { EXPECTATION })
}

fn one(error: InputError) -> InputErrors {
    vec![error]
}

fn leave(
    dir: RunDir,
    (options, setting): (&Options, &Setting),
    study: &Study,
    input: &Input,
) -> Result<(), InputError> {
    let mut json = format!("{:#}", study.json()).into_bytes();
    json.push(b'\n');
    let files = [
        ("losses.csv", study.losses_csv().into_bytes()),
        ("workloads.csv", study.workloads_csv().into_bytes()),
        ("samples.csv", study.samples_csv().into_bytes()),
        ("whatif.json", json),
        ("whatif.txt", study.render(terminal::WIDTH, options.top).into_bytes()),
    ];
    let run = serde_json::json!({
        "tool": "wavetank whatif",
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": study.scenario,
        "seed": input.plan.seed,
        "seeds": options.seeds,
        "within": options.within,
        "repair": format!("{:?}", setting.repair),
        "horizon": options.horizon,
        "min_ready": options.min_ready,
        "options": input.options.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    });
    dir.leave(&files, &[("whatif", study.picture())], (run, &input.inputs))
}

fn junit(file: &Path, study: &Study) -> Result<(), InputError> {
    std::fs::write(file, study.junit())
        .map_err(|e| InputError::new(file.display().to_string(), format!("cannot be written: {e}")))
}

fn wrong(option: &str, text: &str, problem: impl std::fmt::Display) -> InputError {
    InputError::new("", format!("{option} {text}: {problem}"))
}

fn setting(options: &Options, plan: &Plan) -> Result<Setting, InputErrors> {
    let mut errors = Vec::new();
    let mut read = |option: &str, text: &str| {
        let read = span(text).map_err(|e| wrong(option, text, e).hint(SPAN_HINT));
        read.unwrap_or_else(|e| {
            errors.push(e);
            SimDuration::ZERO
        })
    };
    let within = read("--within", &options.within);
    let horizon = read("--horizon", &options.horizon);
    let half = SimDuration(plan.until.0 / 2).min(WARM_UP);
    let warm_up = options.warm_up.as_ref().map_or(half, |text| read("--warm-up", text));
    let repair = options.repair.as_ref().map_or_else(
        || usual_repair(plan),
        |text| {
            dist_of_text(text).unwrap_or_else(|e| {
                errors.push(wrong("--repair", text, e).hint(DIST_HINT));
                Dist::Constant(SimDuration::ZERO)
            })
        },
    );
    let need = Need::parse(&options.min_ready).unwrap_or_else(|e| {
        errors.push(wrong("--min-ready", &options.min_ready, e).hint("write 2 or 50%"));
        Need::default()
    });
    if options.seeds == 0 {
        errors.push(wrong("--seeds", "0", "nothing would be drawn").hint("write 20"));
    }
    let first = plan.seed;
    let seeds = (0..u64::from(options.seeds)).map(|i| first.wrapping_add(i)).collect();
    if errors.is_empty() {
        Ok(Setting { seeds, warm_up, within, repair, horizon, need })
    } else {
        Err(errors)
    }
}

/// The time to a repair, if nobody says anything.
fn usual_repair(plan: &Plan) -> Dist {
    let crashes = plan.faults.iter().filter(|f| f.what == FaultKind::NodeCrash);
    match crashes.filter_map(|f| f.lasts).next() {
        Some(span) => Dist::Uniform(SimDuration(span.0 / 2), SimDuration(span.0 / 2 + span.0)),
        None => LANL.unwrap_or(Dist::Constant(SimDuration::from_secs(3_600))),
    }
}

/// What is to be lost.
fn losses(options: &Options, plan: &Plan) -> Result<Vec<Loss>, InputError> {
    let parts = whatif::parts(plan);
    let domains = domains("--each", &options.each)?;
    let mut losses: Vec<Loss> = if options.lose.is_empty() {
        let all = if domains.is_empty() { Domain::ALL.to_vec() } else { domains };
        whatif::all(&parts, &all)
    } else {
        options.lose.iter().map(|text| loss(text, &parts)).collect::<Result<_, _>>()?
    };
    losses.extend(whatif::pairs(&parts, &self::domains("--pairs", &options.pairs)?));
    if losses.is_empty() {
        let kinds = options.each.join(", ");
        return Err(wrong("--each", &kinds, "the cluster has none of it")
            .hint(format!("it has: {}", kinds_of(&parts).join(", "))));
    }
    if losses.len() > MOST {
        return Err(InputError::new("", format!("{} losses are too many", losses.len()))
            .hint("choose with --lose, --each or other --pairs"));
    }
    Ok(losses)
}

fn kinds_of(parts: &[Part]) -> Vec<&'static str> {
    let there = |d: &Domain| parts.iter().any(|p| p.domain == *d);
    Domain::ALL.into_iter().filter(there).map(Domain::word).collect()
}

fn domains(option: &str, words: &[String]) -> Result<Vec<Domain>, InputError> {
    let known: Vec<&str> = Domain::ALL.into_iter().map(Domain::word).collect();
    let one = |word: &String| {
        Domain::parse(word)
            .ok_or_else(|| wrong(option, word, "no such kind").hint(suggest(word, &known)))
    };
    words.iter().map(one).collect()
}

/// `zone=b`, or `zone=b+node=worker-3`.
fn loss(text: &str, parts: &[Part]) -> Result<Loss, InputError> {
    let known = kinds_of(parts);
    let one = |piece: &str| {
        let (word, name) = piece.split_once('=').ok_or_else(|| {
            wrong("--lose", text, "no `=` in it")
                .hint("write --lose zone=b or --lose node=worker-3")
        })?;
        let domain = Domain::parse(word).filter(|_| known.contains(&word)).ok_or_else(|| {
            wrong("--lose", text, format!("the cluster has no {word}")).hint(suggest(word, &known))
        })?;
        let of_kind: Vec<&Part> = parts.iter().filter(|p| p.domain == domain).collect();
        let found = of_kind.iter().find(|p| p.name.as_str() == name);
        found.map(|p| Part::clone(p)).ok_or_else(|| {
            let names: Vec<&str> = of_kind.iter().map(|p| p.name.as_str()).collect();
            wrong("--lose", text, format!("there is no {word} {name:?}"))
                .hint(suggest(name, &names))
        })
    };
    Ok(Loss { parts: text.split('+').map(one).collect::<Result<_, _>>()? })
}
