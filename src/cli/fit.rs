//! `wavetank fit`: distributions for `outages:` from a record of real ones.

use super::{Format, terminal};
use crate::report::fits::{Study, spells};
use crate::report::rundir::RunDir;
use crate::scenario::traces::outages::{self, Format as Kind};
use crate::scenario::{InputError, InputErrors, read_trace};
use std::path::PathBuf;

/// Options of `fit`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// A record of outages as `outages:` of a scenario reads it (may be gzipped): an event trace of
    /// the Failure Trace Archive, failures of LANL, machine events of Google's trace of 2011. Its
    /// first line tells which.
    record: PathBuf,
    /// Machines in all, if the record names only those that failed.
    #[arg(long, value_name = "N")]
    machines: Option<u32>,
    /// Where table and plot go (default: results/runs/NAME-fit).
    #[arg(long, value_name = "DIR", conflicts_with = "no_out")]
    out: Option<PathBuf>,
    /// Write nothing.
    #[arg(long)]
    no_out: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Fits.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let (label, packed, bytes) = read_trace(&options.record).map_err(one)?;
    let Some(kind) = Kind::of(&bytes) else {
        let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::word).collect();
        let hint = format!("its first line must name the columns of one of {}", known.join(", "));
        return Err(one(InputError::new(label, "is no record of outages").hint(hint)));
    };
    let read = outages::read(kind, &label, bytes.as_slice())?;
    let named = crate::engine::num::u32_of(read.machines.len());
    let more = match options.machines {
        None => 0,
        Some(all) if all >= named => all - named,
        Some(all) => {
            let problem = format!("--machines {all}: the record names {named}");
            return Err(one(InputError::new("", problem).hint("leave it out")));
        }
    };
    let told = spells(&read, more).map_err(|e| one(InputError::new(&label, e)))?;
    let stem = options.record.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = stem.split('.').next().unwrap_or_default().to_owned();
    let study = Study::new(&name, told);
    if study.quantities.is_empty() {
        return Err(one(InputError::new(label, "tells of too few outages to fit anything")));
    }
    let page = study.render(terminal::WIDTH);
    if !options.no_out {
        let target = PathBuf::from("results/runs").join(format!("{name}-fit"));
        let target = options.out.clone().unwrap_or(target);
        let files =
            [("fits.csv", study.csv().into_bytes()), ("fits.txt", page.clone().into_bytes())];
        let run = serde_json::json!({
            "tool": "wavetank fit",
            "version": env!("CARGO_PKG_VERSION"),
            "record": kind.word(),
            "machines": study.machines,
        });
        let pictures = [("fits", study.picture())];
        let dir = RunDir::begin(&target).map_err(one)?;
        dir.leave(&files, &pictures, (run, &[(stem, packed)])).map_err(one)?;
        if options.format == Format::Text {
            terminal::line(&format!("{page}\ntable and plot: {}", target.display()));
        }
    } else if options.format == Format::Text {
        terminal::line(page.trim_end());
    }
    if options.format == Format::Json {
        terminal::line(&format!("{:#}", study.json()));
    }
    Ok(0)
}

fn one(error: InputError) -> InputErrors {
    vec![error]
}
