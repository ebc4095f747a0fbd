//! From the plan's scheduler section to the scheduler's own configuration.

use super::spec::{Arrival, Expressions, Made, Plan, Process, Ties};
use crate::api::Obj;
use crate::api::gpu;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::Action;
use crate::control_plane::scheduler::Scheduler;
use crate::control_plane::scheduler::config::{
    CycleLatency, Enabled, PluginArgs, ProfileConfig, SchedulerConfig,
};
use crate::control_plane::scheduler::plugins::registry::Points;
use crate::control_plane::scheduler::policies::cost::{CostAware, Price};
use crate::control_plane::scheduler::policies::fgd::Fgd;
use crate::control_plane::scheduler::policies::fragmentation::{Fragmentation, Shape, typical};
use crate::control_plane::scheduler::policies::load::LoadAware;
use crate::control_plane::scheduler::policies::random::Random;
use crate::control_plane::scheduler::policies::{self, PolicyArgs};
use crate::control_plane::scheduler::ties::TieRule;
use crate::engine::SimDuration;
use crate::event::Address;
use std::sync::Arc;

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
    config.attempts = spec.attempts;
    config.discipline = spec.discipline;
    config.gang = spec.gang;
    config.ties = match spec.ties {
        Ties::Uniform => TieRule::Uniform,
        Ties::Upstream => TieRule::Upstream,
        Ties::First => TieRule::First,
        Ties::Name => TieRule::Name,
        Ties::NodeOrderPerRun => TieRule::NodeOrderPerRun,
    };
    config.latency =
        CycleLatency { base: plan.cluster.latency.schedule, per_node: SimDuration::ZERO };
    for profile in &mut config.profiles {
        equip(profile, plan);
    }
    config
}

/// The profile of a named policy.
fn named(plan: &Plan) -> SchedulerConfig {
    let spec = &plan.cluster.scheduler;
    let (qps, burst) = plan.cluster.limits.scheduler;
    let mut config = SchedulerConfig { qps, burst, ..SchedulerConfig::default() };
    let mut profile = spec.policy.profile();
    if let Some(own) = &spec.expressions {
        add_expressions(&mut profile, own);
    }
    profile.percentage = profile.percentage.or((spec.percentage > 0).then_some(spec.percentage));
    config.profiles = vec![profile];
    config
}

/// Expressions stand for the policy's scores, or beside them.
fn add_expressions(profile: &mut ProfileConfig, own: &Expressions) {
    if own.alone {
        policies::named::alone(profile, None);
    }
    let row = policies::find("Cel").expect("it is in the table");
    let mut points = row.points;
    if !own.policy.filters() {
        points = points.without(Points::FILTER).without(Points::PRE_FILTER);
    }
    if !own.policy.scores() {
        points = points.without(Points::SCORE).without(Points::PRE_SCORE);
    }
    profile.plugins.push(Enabled { points, weight: own.weight, ..Enabled::of(row) });
}

/// Devices that pods share are watched over in every profile, and each policy gets what it reads
/// beside the cluster.
fn equip(profile: &mut ProfileConfig, plan: &Plan) {
    if shares_gpus(plan) && profile.plugins.iter().all(|p| p.name != "GpuShare") {
        let row = policies::find("GpuShare").expect("it is in the table");
        profile.plugins.push(Enabled::of(row));
    }
    let uses = |name: &str| profile.plugins.iter().any(|p| p.name == name);
    let mut args = PolicyArgs { random: Random { seed: plan.seed }, ..PolicyArgs::default() };
    if uses("FragmentationGradientDescent") {
        args.fgd = Fgd { measure: Arc::new(Fragmentation::new(&typical_pods(plan))) };
    }
    args.cel = plan.cluster.scheduler.expressions.as_ref().map(|own| own.policy.clone());
    if uses("CostAware") {
        args.cost = CostAware { prices: prices(plan) };
    }
    if uses("LoadAware") {
        args.load = LoadAware { usage: plan.usage.clone().into(), end: plan.until };
    }
    let PluginArgs { policy, .. } = &mut profile.args;
    *policy = args;
}

/// True if some node has, or may come with, GPUs that pods share.
#[must_use]
pub fn shares_gpus(plan: &Plan) -> bool {
    let mut types = plan.cluster.cloud.iter().flat_map(|cloud| &cloud.config.types);
    plan.cluster.nodes.iter().any(|n| gpu::devices_of(&n.allocatable) > 0)
        || types.any(|t| gpu::devices_of(&t.allocatable) > 0)
}

fn prices(plan: &Plan) -> Arc<[Price]> {
    let kinds = plan.cluster.cloud.iter().flat_map(|cloud| &cloud.config.types);
    let of = |kind: &crate::control_plane::cloud::config::MachineType| Price {
        kind: kind.name,
        price: kind.price,
        spot: kind.price_of(true),
    };
    kinds.map(of).collect()
}

/// The typical pods of a plan, with their shares: of its traces and arrivals, and of what it
/// applies from the start.
#[must_use]
pub fn typical_pods(plan: &Plan) -> Vec<(Shape, f64)> {
    let mut counts: Vec<(Shape, u64)> = Vec::new();
    for arrival in &plan.arrivals {
        count_arrival(arrival, &mut counts);
    }
    for object in plan.steps.iter().filter_map(|step| applied(&step.action)).chain(&plan.warm) {
        if let Some((template, n)) = replicas(object) {
            counts.push((Shape::of(&template), n));
        }
    }
    typical(counts)
}

fn applied(action: &Action) -> Option<&Obj> {
    if let Action::Apply(object) | Action::Create(object) = action { Some(object) } else { None }
}

fn count_arrival(arrival: &Arrival, counts: &mut Vec<(Shape, u64)>) {
    let made = |made: &Made| match made {
        Made::Pod(template) | Made::Job(template) => (Shape::of(&template.spec), 1),
    };
    let Process::Rows(rows) = &arrival.process else {
        let (shape, n) = made(&arrival.made);
        // An open-ended process counts as a thousand: nobody knows how many it will be.
        counts.push((shape, n * u64::from(arrival.count.min(1000))));
        return;
    };
    let of = |row: &Arc<PodTemplate>| Shape::of(&row.spec);
    let own = made(&arrival.made);
    let shapes = rows.iter().map(|row| {
        let pods = row.run.as_ref().map_or(1, |run| u64::from(run.pods.max(1)));
        (row.template.as_ref().map_or_else(|| own.0.clone(), of), pods)
    });
    counts.extend(shapes);
}

/// The pod template of an object that keeps or makes pods, and how many.
fn replicas(object: &Obj) -> Option<(Arc<crate::api::PodSpec>, u64)> {
    let many = |n: i32| u64::from(n.max(0).unsigned_abs());
    let of = |t: &PodTemplate, n: i32| Some((Arc::clone(&t.spec), many(n)));
    if let Obj::Pod(pod) = object {
        Some((Arc::clone(&pod.spec), 1))
    } else if let Obj::ReplicaSet(set) | Obj::ReplicationController(set) = object {
        of(&set.template, set.replicas)
    } else if let Obj::Deployment(deployment) = object {
        of(&deployment.template, deployment.replicas)
    } else if let Obj::StatefulSet(set) = object {
        of(&set.template, set.replicas)
    } else if let Obj::Job(job) = object {
        of(&job.template, job.parallelism)
    } else {
        None
    }
}
