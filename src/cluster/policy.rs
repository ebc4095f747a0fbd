//! From the plan's scheduler section to the scheduler's own configuration.

use super::spec::{Plan, Strategy, Ties};
use crate::control_plane::scheduler::Scheduler;
use crate::control_plane::scheduler::config::{CycleLatency, SchedulerConfig};
use crate::control_plane::scheduler::plugins::fit;
use crate::control_plane::scheduler::ties::TieRule;
use crate::engine::SimDuration;
use crate::event::Address;

/// The scheduler of a plan.
pub(super) fn scheduler(plan: &Plan, address: Address) -> Scheduler {
    Scheduler::new(address, config(plan))
}

pub(super) fn config(plan: &Plan) -> SchedulerConfig {
    let spec = &plan.cluster.scheduler;
    let mut config = match &spec.config {
        Some(given) => SchedulerConfig::clone(given),
        None => named(plan),
    };
    config.version = plan.cluster.version;
    config.ties = match spec.ties {
        Ties::Uniform => TieRule::Uniform,
        Ties::Upstream => TieRule::Upstream,
        Ties::First => TieRule::First,
        Ties::Name => TieRule::Name,
        Ties::NodeOrderPerRun => TieRule::NodeOrderPerRun,
    };
    config.latency =
        CycleLatency { base: plan.cluster.latency.schedule, per_node: SimDuration::ZERO };
    config
}

/// The default profile with a named policy.
fn named(plan: &Plan) -> SchedulerConfig {
    let spec = &plan.cluster.scheduler;
    let (qps, burst) = plan.cluster.limits.scheduler;
    let mut config = SchedulerConfig { qps, burst, ..SchedulerConfig::default() };
    for profile in &mut config.profiles {
        profile.percentage = (spec.percentage > 0).then_some(spec.percentage);
        profile.args.fit.strategy = match spec.strategy {
            Strategy::LeastAllocated => fit::Strategy::LeastAllocated,
            Strategy::MostAllocated => fit::Strategy::MostAllocated,
        };
    }
    config
}
