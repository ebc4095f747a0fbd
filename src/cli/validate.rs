//! `wavetank validate`.

use super::load::input;
use super::{Source, terminal};
use crate::scenario::InputErrors;

/// Options of `validate`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
}

/// Reads a scenario and says what it holds.
pub(super) fn run(options: &Options) -> Result<u8, InputErrors> {
    let input = input(&options.source, &[])?;
    let plan = &input.plan;
    terminal::line(&format!(
        "{}: fine. {} nodes, {} steps, {} arrival processes, {} faults, {} expectations; {} files read",
        options.source.scenario.display(),
        plan.cluster.nodes.len(),
        plan.steps.len(),
        plan.arrivals.len(),
        plan.faults.len(),
        plan.expect.len(),
        input.inputs.len(),
    ));
    for fact in &plan.recorded {
        terminal::line(fact);
    }
    for (what, count) in &plan.not_modelled {
        terminal::line(&format!("accepted, not modelled: {what} ({count})"));
    }
    Ok(0)
}
