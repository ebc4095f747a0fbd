//! What if this were lost? Each thing that can be lost is lost in a branch of its own, from a
//! snapshot of the cluster at rest, over several seeds; what follows is measured and ranked.
//!
//! The warm-up is played once per seed, the snapshot is taken just before the fault, and every loss
//! is a clone of it that runs until the cluster is at rest again. One seed draws one instant and
//! one repair time for all losses (common random numbers), so that losses differ by what is lost.
//! Each branch is compared with one in which nothing is lost: a workload that was short before, or
//! would have been anyway, does not count.

mod branch;
mod csv;
mod damage;
mod junit;
mod losses;
mod plot;
mod ranking;
mod sensitivity;
mod table;

pub use branch::Setting;
pub(super) use branch::warm_up;
pub use damage::{Damage, Loss as WorkloadLoss};
pub use losses::{Domain, Loss, Part, all, pairs, parts};
pub use ranking::{Breach, Row, Study, WorkloadRow};
pub use sensitivity::unsourced;

use super::runs;
use crate::cluster::spec::{Expect, Plan};
use std::sync::Arc;

/// The plan as what-if plays it: without its own faults and its end, and with those of its
/// assertions that say what must hold whatever happens.
#[must_use]
pub fn undisturbed(plan: &Plan) -> Plan {
    let mut calm = plan.clone();
    calm.faults.clear();
    calm.awaits.clear();
    calm.outages.clear();
    calm.until_idle = false;
    calm.until = crate::engine::SimTime::MAX;
    calm.expect.retain(whatever_happens);
    calm
}

/// Counts of evictions, refusals and the like are about the scenario's own course of events.
const fn whatever_happens(expect: &Expect) -> bool {
    match expect {
        Expect::Converged
        | Expect::Available { .. }
        | Expect::Downtime { .. }
        | Expect::ShortReplicas { .. }
        | Expect::Recovery(_)
        | Expect::PendingTotal(_)
        | Expect::LostWork(_)
        | Expect::PendingAtEnd(_)
        | Expect::ClaimsBound
        | Expect::ServicesReady
        | Expect::PendingAtMost(_) => true,
        Expect::Bound(_)
        | Expect::Requests(_)
        | Expect::Logs(_)
        | Expect::Cost { .. }
        | Expect::Evicted { .. }
        | Expect::Restarts(_)
        | Expect::Refused { .. }
        | Expect::Event { .. }
        | Expect::Warned { .. } => false,
    }
}

/// Loses each of `losses` on every seed of the setting, on so many threads (0: one per core).
/// `tick` is called after each branch. The plan is one that [`undisturbed`] gave.
#[must_use]
pub fn study(
    plan: &Arc<Plan>,
    losses: &[Loss],
    setting: &Setting,
    threads: usize,
    tick: impl Fn() + Sync,
) -> Study {
    let prepare = |seed: &u64| {
        let start = branch::start(plan, *seed, setting);
        tick();
        let facts = start.facts();
        (start, facts)
    };
    let lose = |start: &branch::Start, loss: &Loss| {
        let damage = branch::lose(start, loss, setting);
        tick();
        damage
    };
    let runs = runs::fan_out(threads, &setting.seeds, losses, prepare, lose);
    Study::new(plan, losses, setting, runs)
}

/// The same, and which latency without a source would change the answer, looked for on the first
/// so many seeds (0: not looked for).
#[must_use]
pub fn study_with_sensitivity(
    plan: &Arc<Plan>,
    losses: &[Loss],
    setting: &Setting,
    (threads, seeds): (usize, usize),
    tick: impl Fn() + Sync,
) -> Study {
    let mut study = study(plan, losses, setting, threads, &tick);
    if seeds > 0 {
        sensitivity::look(&mut study, plan, losses, setting, (threads, seeds), tick);
    }
    study
}
