//! The command line: one file per subcommand.

mod capacity;
mod compare;
mod explain;
mod fit;
mod fuzz;
mod load;
mod replay;
mod run;
mod step;
mod sweep;
mod terminal;
mod validate;
mod verify;
mod whatif;
mod why;

use crate::scenario;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code when an expectation failed.
const EXPECTATION: u8 = 1;
/// Exit code for bad input.
const BAD_INPUT: u8 = 2;

/// A deterministic simulator of a whole Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "wavetank", version, about, long_about = None, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 fine, 1 an expectation failed, 2 bad input, 3 a bug of ours."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[expect(clippy::large_enum_variant, reason = "there is one of it per process")]
#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario: summary, tables, plots and a report.
    Run(run::Options),
    /// Compare policies or variants on the same arrivals and failures.
    Compare(compare::Options),
    /// Play a grid of values and seeds; what is there already is not played again.
    Sweep(sweep::Options),
    /// Collect the results of shards and make the table of all of them.
    Merge(sweep::MergeOptions),
    /// Draw storms at random and check every invariant after every event.
    Fuzz(fuzz::Options),
    /// Lose nodes, zones and components one by one, and rank what that does to workloads.
    #[command(name = "whatif")]
    WhatIf(whatif::Options),
    /// How many more pods fit, what limits them, and what headroom losses leave.
    Capacity(capacity::Options),
    /// Fit distributions of failures and repairs to a record of real outages.
    Fit(fit::Options),
    /// Step through a run, forwards and backwards (commands from standard input).
    Step(step::Options),
    /// Why did an object change last? The chain of causes, in sentences.
    Why(why::Options),
    /// Why is a pod on its node, or pending? Its last scheduling cycle in full.
    Explain(explain::Options),
    /// Read a scenario and everything it names, and say what is wrong with it.
    Validate(validate::Options),
    /// Run a scenario several ways and check that every event is the same.
    Verify(verify::Options),
    /// Repeat a run from its directory and compare the digests.
    Replay(replay::Options),
    /// Print the JSON schema of scenario files.
    Schema {
        /// That of sweep files.
        #[arg(long)]
        sweep: bool,
    },
    /// Print the version.
    Version,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What every command that reads a scenario takes.
#[derive(Debug, Clone, Args)]
struct Source {
    /// The scenario file.
    scenario: PathBuf,
    /// Seed of all chance, in place of the scenario's.
    #[arg(long)]
    seed: Option<u64>,
    /// Replace a value of the scenario: `--set cluster.nodes[0].count=5`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// What `${shared}` in paths of the scenario stands for.
    #[arg(long, value_name = "DIR", default_value = "../shared")]
    shared: PathBuf,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Parses the command line and carries it out.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { BAD_INPUT } else { 0 };
            // Nobody is left to tell if even this cannot be printed.
            return if error.print().is_ok() {
                ExitCode::from(code)
            } else {
                ExitCode::from(BAD_INPUT)
            };
        }
    };
    let outcome = match cli.command {
        Command::Run(options) => run::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Sweep(options) => sweep::run(&options),
        Command::Merge(options) => sweep::merge(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::WhatIf(options) => whatif::run(&options),
        Command::Capacity(options) => capacity::run(&options),
        Command::Fit(options) => fit::run(&options),
        Command::Step(options) => step::run(&options),
        Command::Why(options) => why::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Validate(options) => validate::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Schema { sweep } => {
            let schema = if sweep { scenario::sweep_schema() } else { scenario::schema() };
            terminal::line(&format!("{schema:#}"));
            Ok(0)
        }
        Command::Version => {
            terminal::line(concat!("wavetank ", env!("CARGO_PKG_VERSION")));
            Ok(0)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "wavetank", &mut std::io::stdout());
            Ok(0)
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(errors) => {
            for error in &errors {
                terminal::complain(&format!("error: {error}"));
            }
            ExitCode::from(BAD_INPUT)
        }
    }
}
