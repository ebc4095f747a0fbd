//! `wavetank step`: line mode. Commands come from standard input, so it works piped.

use super::load::input;
use super::why::object_of;
use super::{Source, terminal};
use crate::engine::{SimDuration, SimTime};
use crate::event::{Record, What};
use crate::report::export;
use crate::scenario::InputErrors;
use crate::session::{History, Session, why};
use std::io::BufRead;
use std::sync::Arc;

/// Options of `step`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
}

/// Events between two looks at the progress bar.
const EVERY: u64 = 1 << 14;

const HELP: &str = "\
n [N]           next event (or N events)
b [N]           back one event (or N)
t TIME          to an instant, as in t 10m
o OBJECT        to the next change of an object, as in o pod/default/web-0
p OBJECT        print an object as YAML, as in p node/node-0
i               where am I
h               this help
q               quit";

/// Steps through a scenario.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let plan = input(&options.source, &[])?.plan;
    let mut session = Session::new(Arc::clone(&plan));
    session.trace(true);
    let mut history = History::new(session);
    terminal::line(&format!("{}: {} nodes. h for help.", plan.name, plan.cluster.nodes.len()));
    for text in std::io::stdin().lock().lines() {
        let Ok(text) = text else { break };
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or("n");
        let rest = words.next();
        match word {
            "q" | "quit" => break,
            "n" | "next" => forward(&mut history, count(rest)),
            "b" | "back" => back(&mut history, count(rest)),
            "t" | "to" => to_time(&mut history, rest),
            "o" | "object" => to_object(&mut history, rest),
            "p" | "print" => print(&history, rest),
            "i" | "info" => here(&history),
            _other => terminal::line(HELP),
        }
    }
    Ok(0)
}

fn count(word: Option<&str>) -> u64 {
    word.and_then(|w| w.parse().ok()).unwrap_or(1)
}

fn forward(history: &mut History, n: u64) {
    for _ in 0..n {
        if !history.step() {
            terminal::line("the run has ended");
            return;
        }
        show(history);
    }
}

fn back(history: &mut History, n: u64) {
    let target = history.session().steps().saturating_sub(n);
    history.seek_step(target);
    here(history);
}

fn to_time(history: &mut History, word: Option<&str>) {
    match SimDuration::parse(word.unwrap_or_default()) {
        Ok(d) => {
            travel(history, SimTime(d.0));
            here(history);
        }
        Err(error) => terminal::line(&error),
    }
}

/// To an instant, with a bar if the way is long.
fn travel(history: &mut History, target: SimTime) {
    let from = history.session().now();
    if target <= from {
        return history.seek_time(target);
    }
    let bar = terminal::progress((target.0 - from.0) / 1_000_000, false, "on the way");
    let mut count = 0_u64;
    while history.next_time().is_some_and(|t| t <= target) && history.step() {
        count += 1;
        if count.is_multiple_of(EVERY) {
            bar.set_position((history.session().now().0 - from.0) / 1_000_000);
        }
    }
    bar.finish_and_clear();
}

fn to_object(history: &mut History, word: Option<&str>) {
    let (kind, ns, name) = match object_of(word.unwrap_or_default()) {
        Ok(target) => target,
        Err(error) => return terminal::line(&error.to_string()),
    };
    let until = history.session().cluster().plan().until.0 / 1_000_000;
    let bar = terminal::progress(until, false, "on the way");
    let mut hit = false;
    while !hit && history.step() {
        let session = history.session();
        if session.steps().is_multiple_of(EVERY) {
            bar.set_position(session.now().0 / 1_000_000);
        }
        let versions = &session.cluster().shared().versions;
        hit = session.records().iter().any(|r| {
            let What::Committed { kind: k, log, .. } = r.what else { return false };
            let change = versions.change(k, log).filter(|_| k == kind);
            change
                .map(|c| c.value.key())
                .is_some_and(|(n, called)| n.as_str() == ns && called.to_string() == name)
        });
    }
    bar.finish_and_clear();
    if hit {
        return show(history);
    }
    terminal::line("the run has ended");
}

fn print(history: &History, word: Option<&str>) {
    let (kind, ns, name) = match object_of(word.unwrap_or_default()) {
        Ok(target) => target,
        Err(error) => return terminal::line(&error.to_string()),
    };
    let versions = &history.session().cluster().shared().versions;
    let epoch_s = history.session().cluster().shared().epoch_s;
    let object = versions
        .find(kind, ns.as_str().into(), name.as_str().into())
        .and_then(|object| versions.current(kind, object));
    match object {
        Some(object) => terminal::line(export::to_yaml(object, epoch_s).trim_end()),
        None => terminal::line(&format!("there is no {kind} {ns}/{name} now")),
    }
}

fn here(history: &History) {
    let session = history.session();
    terminal::line(&format!(
        "at {} after {} events, revision {}, digest {}",
        session.now(),
        session.steps(),
        session.cluster().shared().versions.rev(),
        session.digest(),
    ));
}

fn show(history: &History) {
    for record in history.session().records() {
        terminal::line(&describe(history, record));
    }
}

fn describe(history: &History, record: &Record) -> String {
    let cluster = history.session().cluster();
    let change = if let What::Committed { kind, log, .. } = record.what {
        cluster.shared().versions.change(kind, log)
    } else {
        None
    };
    let indent =
        if matches!(record.what, What::Event(_) | What::Committed { .. }) { "" } else { "  " };
    let text = why::words(change, record, cluster.plan());
    format!("{:>12} #{:<7} <-#{:<7} {indent}{text}", record.time, record.seq, record.cause)
}
