//! Capacity: how many more pods of a shape fit, what limits them, how many nodes a workload needs,
//! and what headroom is left when nodes or zones are lost.
//!
//! Every count is a placement by the scheduler of the scenario on a copy of what it knows, one pod
//! after the other until none fits (`fill`). Losses are tried on copies of their own
//! (`losses`), pools of other sizes too (`needed`).

mod csv;
mod desk;
mod fill;
mod losses;
mod needed;
mod plot;
mod pools;
mod shapes;
mod table;

pub use desk::Limit;
pub use fill::Fit;
pub use losses::{Lost, Tried};
pub use needed::Need;
pub use shapes::{Shape, of_amounts, of_file};

use super::whatif;
use crate::api::versions::ObjRef;
use crate::api::{Kind, Obj};
use crate::cluster::spec::Plan;
use crate::engine::SimTime;
use crate::session::Session;
use desk::Desk;
use pools::Pools;
use std::sync::Arc;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The instant at which to look, faults included; none is at rest, without faults.
    pub at: Option<SimTime>,
    /// Shapes from amounts and files.
    pub shapes: Vec<Shape>,
    /// The scenario's own pods as well.
    pub own: bool,
    /// Pods per shape that are placed at most.
    pub most: u32,
    /// Lose up to so many nodes at once.
    pub lose_nodes: u32,
    /// Lose each zone.
    pub lose_zones: bool,
    /// Pools whose smallest size is asked for; all by an empty list.
    pub nodes_for: Option<Vec<String>>,
    /// Fewer than this of a shape, now or after a loss, fail.
    pub require: Option<u32>,
    /// Threads; 0 is one per core.
    pub threads: usize,
}

/// The cluster that was looked at.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// When.
    pub at: SimTime,
    /// It was at rest.
    pub rested: bool,
    /// Nodes.
    pub nodes: usize,
    /// Pods on them.
    pub pods: usize,
    /// Pods without a node, which take no part.
    pub waiting: usize,
    /// Allocatable and free CPU, milli-cores, over all nodes.
    pub cpu: (i64, i64),
    /// Allocatable and free memory, bytes, over all nodes.
    pub memory: (i64, i64),
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The scenario.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// The state.
    pub state: State,
    /// The shapes, in the order of all lists that are per shape.
    pub shapes: Vec<Shape>,
    /// Kinds of the scenario's own pods that were left out.
    pub left_out: usize,
    /// How many more of each shape fit.
    pub fits: Vec<Fit>,
    /// Zones and pools, for the columns of tables.
    pub zones: Vec<String>,
    /// Pools.
    pub pools: Vec<String>,
    /// What is left after losses.
    pub losses: Vec<Lost>,
    /// Nodes needed, per pool.
    pub needed: Vec<Need>,
    /// What [`Answer::needed`] is about: the scenario's workload, or that of files.
    pub needed_of: String,
    /// Lower bound that was asked for.
    pub require: Option<u32>,
    /// Where counting ended.
    pub most: u32,
}

impl Answer {
    /// Nothing fell short of what was required.
    #[must_use]
    pub fn passed(&self) -> bool {
        let Some(least) = self.require else { return true };
        self.fits.iter().all(|f| f.fits >= least)
            && self.losses.iter().all(|l| l.stuck() == 0 && l.fits.iter().all(|n| *n >= least))
    }
}

/// Plays the scenario up to the state that is asked about.
#[must_use]
pub fn play(plan: &Arc<Plan>, at: Option<SimTime>) -> (Session, bool) {
    if let Some(at) = at {
        let mut session = Session::new(Arc::clone(plan));
        while session.next_time().is_some_and(|t| t <= at) && session.step().is_some() {}
        let rested = session.cluster().at_rest();
        return (session, rested);
    }
    let mut session = Session::new(Arc::new(whatif::undisturbed(plan)));
    let rested = whatif::warm_up(&mut session, plan.until);
    (session, rested)
}

/// The pools of a session's cluster, by name.
#[must_use]
pub fn pools(session: &Session) -> Vec<String> {
    let draws = &session.cluster().shared().draws;
    Pools::of(&Desk::new(session.cluster().scheduler(), draws)).names()
}

/// Answers on the state that a session is in. `tick` is called after each loss that was tried.
#[must_use]
pub fn answer(
    (session, rested): (&Session, bool),
    question: &Question,
    tick: impl Fn() + Sync,
) -> Answer {
    let shared = session.cluster().shared();
    let versions = &shared.versions;
    let mut desk = Desk::new(session.cluster().scheduler(), &shared.draws);
    let waits = |(object, obj): (ObjRef, &Obj)| {
        let pod = obj.as_pod().filter(|p| p.node.is_empty() && p.active())?;
        desk.cache.pod(object).is_none().then(|| Arc::clone(pod))
    };
    desk.waiting = versions.iter(Kind::Pod).filter_map(waits).collect();
    let given = question.shapes.len();
    let mut shapes = question.shapes.clone();
    let mut left_out = 0;
    if question.own {
        let (own, left) = shapes::of_cluster(versions);
        shapes.extend(own);
        left_out = left;
    }
    for shape in &mut shapes {
        shape.admit(versions);
        if let Some(selector) = &shape.selector {
            desk.own(&shape.pod, selector);
        }
    }
    let pools = Pools::of(&desk);
    let plan = session.cluster().plan();
    let most = question.most;
    let fits =
        super::runs::parallel(question.threads, &shapes, |s| fill::fill(&desk, &pools, s, most));
    let mut setting = losses::Setting {
        desk: &desk,
        shapes: &shapes,
        most,
        deleted: plan.cluster.cloud.is_some(),
        threads: question.threads,
        table: shapes::workloads(versions),
    };
    let losses = losses::all(&mut setting, (question.lose_nodes, question.lose_zones), &tick);
    let files = &shapes[..given];
    let needed = question.nodes_for.as_ref().map(|names| {
        needed::all(&desk, &pools, names, if files.is_empty() { None } else { Some(files) })
    });
    let of = if given == 0 { "the scenario's pods" } else { "the given pods alone" };
    Answer {
        scenario: plan.name.clone(),
        seed: plan.seed,
        state: state(&desk, (session.now(), rested)),
        zones: pools.zones(),
        pools: pools.names(),
        shapes,
        left_out,
        fits,
        losses,
        needed: needed.unwrap_or_default(),
        needed_of: of.to_owned(),
        require: question.require,
        most,
    }
}

fn state(desk: &Desk, (at, rested): (SimTime, bool)) -> State {
    let waiting = desk.waiting.len();
    let nodes = desk.cache.len();
    let pods = desk.cache.n_pods();
    let mut state = State { at, rested, nodes, pods, waiting, ..State::default() };
    for i in 0..nodes {
        let row = desk.cache.at(i);
        state.cpu.0 += row.alloc.cpu_milli;
        state.cpu.1 += row.alloc.cpu_milli - row.used.cpu_milli;
        state.memory.0 += row.alloc.memory;
        state.memory.1 += row.alloc.memory - row.used.memory;
    }
    state
}
