//! `wavetank why`.

use super::load::input;
use super::{BAD_INPUT, Source, replay, terminal};
use crate::api::Kind;
use crate::api::kind::KINDS;
use crate::engine::{SimDuration, SimTime};
use crate::scenario::{InputError, InputErrors};
use crate::session::{Recorder, Session, why};
use std::sync::Arc;

/// Options of `why`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// The object: KIND/NAME or KIND/NAMESPACE/NAME; @TIME asks about its last change before then.
    #[arg(value_name = "OBJECT[@TIME]")]
    object: String,
    /// Show every hop, not only the telling ones.
    #[arg(long)]
    all: bool,
}

/// Walks the causes of an object's last change.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let mut source = options.source.clone();
    if source.scenario.is_dir() {
        let about = replay::read(&source.scenario).map_err(|e| vec![e])?;
        source = replay::source(&source.scenario, &about).map_err(|e| vec![e])?;
    }
    let ((kind, ns, name), until) = parse(&options.object).map_err(|e| vec![e])?;
    let plan = input(&source, &[])?.plan;
    let mut recorder = Recorder::default();
    let mut session = Session::new(Arc::clone(&plan));
    session.trace(true);
    session.run(&mut [&mut recorder], |_| {});
    let Some(last) = why::last_change(&recorder, (kind, &ns, &name), until) else {
        let known = why::similar(&recorder, kind, &name);
        terminal::complain(&format!(
            "error: no {kind} {ns}/{name} was ever changed by then{known}"
        ));
        return Ok(BAD_INPUT);
    };
    let from = why::telling_change(&recorder, last);
    let mut first = true;
    for link in why::chain(&recorder, from, &plan) {
        if link.telling || options.all {
            let lead = if first { "" } else { "because " };
            let seq = if options.all { format!("#{:<8}", link.seq) } else { String::new() };
            terminal::line(&format!("{:>12}  {seq}{lead}{}", link.time, link.text));
            first = false;
        }
    }
    Ok(0)
}

type Target = (Kind, String, String);

/// `KIND/NAME`, `KIND/NS/NAME`, each with `@TIME` or without.
fn parse(text: &str) -> Result<(Target, SimTime), InputError> {
    let (object, at) = text.split_once('@').map_or((text, None), |(o, t)| (o, Some(t)));
    let until = match at {
        Some(t) => SimDuration::parse(t)
            .map(|d| SimTime(d.0))
            .map_err(|e| InputError::new("", e).field("@TIME"))?,
        None => SimTime::MAX,
    };
    let target = object_of(object)?;
    Ok((target, until))
}

/// The kind, namespace and name of a reference.
pub(super) fn object_of(text: &str) -> Result<Target, InputError> {
    let parts: Vec<&str> = text.split('/').collect();
    let bad = |problem: String| {
        InputError::new("", problem).hint("write pod/NAME, pod/NAMESPACE/NAME or node/NAME")
    };
    let (kind, ns, name) = match parts.as_slice() {
        [kind, name] => (*kind, "", *name),
        [kind, ns, name] => (*kind, *ns, *name),
        _other => return Err(bad(format!("{text:?} names no object"))),
    };
    let info = KINDS
        .iter()
        .find(|k| k.name.eq_ignore_ascii_case(kind) || k.plural == kind.to_ascii_lowercase())
        .ok_or_else(|| bad(format!("{kind:?} is no kind")))?;
    let ns = if info.namespaced && ns.is_empty() { "default" } else { ns };
    Ok((info.kind, ns.to_owned(), name.to_owned()))
}
