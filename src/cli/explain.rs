//! `wavetank explain`.

use super::load::input;
use super::why::object_of;
use super::{BAD_INPUT, Source, replay, terminal};
use crate::api::Kind;
use crate::engine::{SimDuration, SimTime};
use crate::report::explain as page;
use crate::scenario::{InputError, InputErrors};
use crate::session::explain::explain;
use crate::session::{Recorder, Session, why};
use std::sync::Arc;

/// Options of `explain`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// The pod: pod/NAME or pod/NAMESPACE/NAME.
    #[arg(value_name = "POD")]
    pod: String,
    /// The moment to ask about, as in 10m; the end of the run by default.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Shape::Text)]
    format: Shape,
}

/// How an explanation is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// For people: nodes grouped by reason, the best scores.
    Text,
    /// For programs: every node.
    Json,
    /// The annotations that kube-scheduler-simulator's web page reads.
    Annotations,
}

/// Explains a pod.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let mut source = options.source.clone();
    if source.scenario.is_dir() {
        let about = replay::read(&source.scenario).map_err(|e| vec![e])?;
        source = replay::source(&source.scenario, &about).map_err(|e| vec![e])?;
    }
    let (kind, ns, name) = object_of(&options.pod).map_err(|e| vec![e])?;
    if kind != Kind::Pod {
        let error = InputError::new("", format!("{:?} is no pod", options.pod));
        return Err(vec![error.hint("explain is about pods; `wavetank why` takes any object")]);
    }
    let until = match &options.at {
        None => SimTime::MAX,
        Some(text) => SimDuration::parse(text)
            .map(|d| SimTime(d.0))
            .map_err(|e| vec![InputError::new("", e).field("--at")])?,
    };
    let plan = input(&source, &[])?.plan;
    let Some(found) = explain(&plan, (&ns, &name), until, |_| {}) else {
        let mut recorder = Recorder::default();
        Session::new(Arc::clone(&plan)).run(&mut [&mut recorder], |_| {});
        let known = why::similar(&recorder, kind, &name);
        terminal::complain(&format!("error: no pod {ns}/{name} was there by then{known}"));
        return Ok(BAD_INPUT);
    };
    match options.format {
        Shape::Text => terminal::line(page::render(&found).trim_end()),
        Shape::Json => terminal::line(&format!("{:#}", page::json(&found))),
        Shape::Annotations => terminal::line(&format!("{:#}", page::annotations(&found))),
    }
    Ok(0)
}
