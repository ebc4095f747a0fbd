//! What goes to the terminal. A closed pipe is no error of ours: whoever closed it has read enough.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;

/// Prints a line to standard output.
pub(super) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{text}"));
}

/// Prints a line to standard error.
pub(super) fn complain(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "{text}"));
}

/// Columns of what is printed: the same everywhere, so that output is the same everywhere.
pub(super) const WIDTH: u16 = 100;

/// A progress bar on standard error; hidden if that is no terminal or `quiet`.
pub(super) fn progress(length: u64, quiet: bool, what: &str) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {percent}% {eta}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}
