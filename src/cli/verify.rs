//! `wavetank verify`: the same scenario, several ways, must give the same events.

use super::load::input;
use super::{Source, terminal};
use crate::scenario::{InputError, InputErrors};
use crate::session::{History, Session};
use std::process::Command;
use std::sync::Arc;

/// Options of `verify`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// Print the digest alone (used for the second process).
    #[arg(long, hide = true)]
    digest_only: bool,
    /// Replay from at most so many keyframes.
    #[arg(long, default_value_t = 8)]
    keyframes: usize,
}

/// Runs twice in this process, once in another one with another locale and time zone, and replays
/// from keyframes.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let plan = input(&options.source, &[])?.plan;
    let mut first = Session::new(Arc::clone(&plan));
    first.run(&mut [], |_| {});
    let digest = first.digest();
    if options.digest_only {
        terminal::line(&digest);
        return Ok(0);
    }
    terminal::line(&format!("first run        {digest}  {} events", first.steps()));
    let mut fine = true;
    let mut check = |what: &str, other: &str| {
        let same = other == digest;
        fine &= same;
        let word = if same { "equal" } else { "DIFFERENT" };
        terminal::line(&format!("{what:<16} {other}  {word}"));
    };
    let mut history = History::new(Session::new(Arc::clone(&plan)));
    // A second run, traced: recording every hop must not change anything.
    let mut traced = Session::new(Arc::clone(&plan));
    traced.trace(true);
    traced.run(&mut [], |_| {});
    check("traced run", &traced.digest());
    check("second process", &other_process(options).map_err(|e| vec![e])?);
    while history.step() {}
    check("with keyframes", &history.session().digest());
    let every = (history.keyframes().len() / options.keyframes.max(1)).max(1);
    for frame in history.keyframes().iter().step_by(every) {
        let mut again = frame.clone();
        let from = again.steps();
        again.run(&mut [], |_| {});
        check(&format!("from event {from}"), &again.digest());
    }
    if !fine {
        if let Some(text) = first_difference(&plan) {
            terminal::line(&text);
        }
        return Ok(3);
    }
    Ok(0)
}

/// The digest as another process with another environment finds it.
fn other_process(options: &Options) -> Result<String, InputError> {
    let failed = |e: std::io::Error| InputError::new("", format!("a second process failed: {e}"));
    let program = std::env::current_exe().map_err(failed)?;
    let source = &options.source;
    let mut command = Command::new(program);
    command.arg("verify").arg("--digest-only").arg(&source.scenario);
    command.arg("--shared").arg(&source.shared);
    if let Some(seed) = source.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    for set in &source.set {
        command.arg("--set").arg(set);
    }
    command.env("LC_ALL", "tr_TR.UTF-8").env("TZ", "Asia/Kathmandu").env("TERM", "dumb");
    let output = command.output().map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Two runs side by side: the first event that differs.
fn first_difference(plan: &Arc<crate::cluster::spec::Plan>) -> Option<String> {
    let mut a = Session::new(Arc::clone(plan));
    let mut b = Session::new(Arc::clone(plan));
    loop {
        let (x, y) = (a.step(), b.step());
        if a.digest() != b.digest() {
            return Some(format!("first difference: event {}: {x:?} / {y:?}", a.steps()));
        }
        x?;
    }
}
