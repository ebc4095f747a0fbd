//! `wavetank capacity`: how many more pods fit, what limits them, and what headroom losses leave.

use super::load::{Input, input_or_dump};
use super::{EXPECTATION, Format, Source, terminal};
use crate::engine::SimTime;
use crate::report::rundir::RunDir;
use crate::scenario::value::{SPAN_HINT, span};
use crate::scenario::{InputError, InputErrors, suggest};
use crate::sweep::capacity::{self, Answer, Question};
use std::path::PathBuf;

/// More nodes than this are lost at once by mistake.
const MOST_LOST: u32 = 100;

/// Options of `capacity`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// A pod that asks for so much: `cpu=500m,memory=1Gi`, `cpu=4,nvidia.com/gpu=1`. May be given
    /// more than once.
    #[arg(long = "pod", value_name = "AMOUNTS")]
    pod: Vec<String>,
    /// Manifests whose pods are looked at, with their affinities, spreading and tolerations: Pods,
    /// Deployments, `ReplicaSets`, `StatefulSets`, Jobs, `CronJobs`. May be given more than once.
    #[arg(long = "pods", value_name = "FILE")]
    pods: Vec<PathBuf>,
    /// The scenario's own pods, one shape per workload. The default if nothing else is given.
    #[arg(long)]
    from_workload: bool,
    /// Look at this instant of the scenario, its faults included; by default when it has come to
    /// rest without them.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Also after losses: `--lose 2` loses one node, then two (the worst ones), `--lose zone` each
    /// zone. May be given more than once.
    #[arg(long = "lose", value_name = "K|zone")]
    lose: Vec<String>,
    /// Also the smallest number of nodes of a pool with which all pods fit: those of `--pod` and
    /// `--pods` as often as their manifests ask, or else the scenario's. A pool's name, or `each`.
    #[arg(long = "nodes-for", value_name = "POOL|each")]
    nodes_for: Vec<String>,
    /// Fail if fewer than this fit of any shape, now or after a loss, or if a pod finds no place
    /// after one.
    #[arg(long, value_name = "N")]
    require: Option<u32>,
    /// Stop counting here.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    most: u32,
    /// Threads (0: one per core). It changes nothing but the time it takes.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Where tables and picture go; nothing is written without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print no progress.
    #[arg(long)]
    quiet: bool,
}

/// Answers.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let question = question(options)?;
    let input = input_or_dump(&options.source)?;
    let dir = options.out.as_deref().map(RunDir::begin).transpose().map_err(|e| vec![e])?;
    let bar = terminal::progress(0, options.quiet || question.lose_nodes == 0, "losses");
    let (session, rested) = capacity::play(&input.plan, question.at);
    known_pools(&session, &question)?;
    let answer = capacity::answer((&session, rested), &question, || bar.inc(1));
    bar.finish_and_clear();
    if let Some(dir) = dir {
        leave(dir, options, &answer, &input).map_err(|e| vec![e])?;
    }
    match options.format {
        Format::Text => terminal::line(answer.render(terminal::WIDTH).trim_end()),
        Format::Json => terminal::line(&format!("{:#}", answer.json())),
    }
    Ok(if answer.passed() { 0 } else { EXPECTATION })
}

fn wrong(option: &str, text: &str, problem: impl std::fmt::Display) -> InputError {
    InputError::new("", format!("{option} {text}: {problem}"))
}

fn question(options: &Options) -> Result<Question, InputErrors> {
    let mut errors = Vec::new();
    let mut question = Question {
        // What is required has to be counted.
        most: options.most.max(options.require.unwrap_or(0)),
        require: options.require,
        threads: options.jobs,
        ..Question::default()
    };
    for text in &options.pod {
        match capacity::of_amounts(text) {
            Ok(shape) => question.shapes.push(shape),
            Err(error) => errors.push(error),
        }
    }
    for file in &options.pods {
        match capacity::of_file(file) {
            Ok(shapes) => question.shapes.extend(shapes),
            Err(more) => errors.extend(more),
        }
    }
    question.own = options.from_workload || options.pod.is_empty() && options.pods.is_empty();
    if let Some(text) = &options.at {
        match span(text) {
            Ok(at) => question.at = Some(SimTime::ZERO + at),
            Err(e) => errors.push(wrong("--at", text, e).hint(SPAN_HINT)),
        }
    }
    for text in &options.lose {
        match text.parse::<u32>() {
            Ok(k) if (1..=MOST_LOST).contains(&k) => {
                question.lose_nodes = question.lose_nodes.max(k);
            }
            Err(_) if text == "zone" => question.lose_zones = true,
            Ok(_) | Err(_) => errors.push(
                wrong("--lose", text, format!("is neither `zone` nor 1 to {MOST_LOST} nodes"))
                    .hint("write --lose 2 or --lose zone"),
            ),
        }
    }
    if options.most == 0 {
        errors.push(wrong("--most", "0", "nothing would be counted").hint("write 1000"));
    }
    if !options.nodes_for.is_empty() {
        let each = options.nodes_for.iter().any(|name| name == "each");
        question.nodes_for = Some(if each { Vec::new() } else { options.nodes_for.clone() });
    }
    if errors.is_empty() { Ok(question) } else { Err(errors) }
}

/// The pools that are named are there.
fn known_pools(session: &crate::session::Session, question: &Question) -> Result<(), InputErrors> {
    let known = capacity::pools(session);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let strange = |name: &&String| !known.contains(&name.as_str());
    let names = question.nodes_for.iter().flatten().filter(strange);
    let error = |name: &String| {
        wrong("--nodes-for", name, "there is no such pool").hint(suggest(name, &known))
    };
    let errors: InputErrors = names.map(error).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn leave(dir: RunDir, options: &Options, answer: &Answer, input: &Input) -> Result<(), InputError> {
    let mut json = format!("{:#}", answer.json()).into_bytes();
    json.push(b'\n');
    let mut files = vec![
        ("fits.csv", answer.fits_csv().into_bytes()),
        ("capacity.json", json),
        ("capacity.txt", answer.render(terminal::WIDTH).into_bytes()),
    ];
    if !answer.losses.is_empty() {
        files.push(("losses.csv", answer.losses_csv().into_bytes()));
    }
    if !answer.needed.is_empty() {
        files.push(("needed.csv", answer.needed_csv().into_bytes()));
    }
    let run = serde_json::json!({
        "tool": "wavetank capacity",
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": answer.scenario,
        "seed": answer.seed,
        "pod": options.pod,
        "pods": options.pods,
        "at": options.at,
        "lose": options.lose,
        "nodes_for": options.nodes_for,
        "require": options.require,
        "most": options.most,
        "options": input.options.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    });
    dir.leave(&files, &[("capacity", answer.picture())], (run, &input.inputs))
}
