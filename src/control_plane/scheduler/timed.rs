//! Plugins that are timed: each is wrapped, so that a scheduler that is not timed pays nothing. The
//! clock is handed in from outside; what it says goes into the tally alone and decides nothing.

use super::cache::Cache;
use super::cycle::Scheduler;
use super::framework::{
    Batch, ClusterEvent, CycleState, Hint, Moved, Permit, Plugin, PostFilter, PreFilter, Reason,
    Verdict, View,
};
use super::plugins::registry::Points;
use super::preemption::Stuck;
use super::profile::ProfileRow;
use crate::api::Pod;
use crate::api::gpu::Devices;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A clock that only goes forward.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Nanoseconds since some fixed moment.
    fn nanos(&self) -> u64;
}

/// What is timed besides the extension points: asking the cache for counts, queueing hints, and
/// following pods that are taken to be on a node or not.
const BESIDE: [&str; 3] = ["prepare", "hint", "addPod"];
const PREPARE: usize = Points::NAMES.len();
const HINT: usize = PREPARE + 1;
const MOVED: usize = HINT + 1;
const CELLS: usize = MOVED + 1;

/// Calls and nanoseconds.
#[derive(Debug, Default)]
struct Cell {
    calls: AtomicU64,
    nanos: AtomicU64,
}

/// What a plugin took, per extension point.
#[derive(Debug)]
pub struct Tally {
    profile: &'static str,
    plugin: &'static str,
    clock: Arc<dyn Clock>,
    cells: [Cell; CELLS],
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// `schedulerName` of the profile.
    pub profile: &'static str,
    /// The plugin.
    pub plugin: &'static str,
    /// The extension point, or `prepare`, `hint`, `addPod` (with removals).
    pub point: &'static str,
    /// How often it was called (a batch of nodes counts once).
    pub calls: u64,
    /// How long that took, the clock's own time included.
    pub nanos: u64,
}

impl Tally {
    fn time<T>(&self, cell: usize, f: impl FnOnce() -> T) -> T {
        let start = self.clock.nanos();
        let value = f();
        let spent = self.clock.nanos().saturating_sub(start);
        self.cells[cell].calls.fetch_add(1, Relaxed);
        self.cells[cell].nanos.fetch_add(spent, Relaxed);
        value
    }

    /// What it took where it was called at all.
    pub fn spent(&self) -> impl Iterator<Item = Spent> {
        let points = Points::NAMES.iter().map(|(name, _)| *name).chain(BESIDE);
        points.zip(&self.cells).filter_map(|(point, cell)| {
            let (calls, nanos) = (cell.calls.load(Relaxed), cell.nanos.load(Relaxed));
            let (profile, plugin) = (self.profile, self.plugin);
            (calls > 0).then_some(Spent { profile, plugin, point, calls, nanos })
        })
    }
}

/// The cell of an extension point.
const fn cell(point: Points) -> usize {
    point.0.trailing_zeros() as usize
}

/// A plugin and its tally.
#[derive(Debug)]
struct Timed {
    inner: Arc<dyn Plugin>,
    tally: Arc<Tally>,
}

impl Timed {
    fn at<T>(&self, point: Points, f: impl FnOnce(&dyn Plugin) -> T) -> T {
        self.tally.time(cell(point), || f(&*self.inner))
    }
}

/// Every method of the trait is passed on: a test reads the trait's text and misses none.
impl Plugin for Timed {
    fn pre_enqueue(&self, pod: &Pod) -> Option<Reason> {
        self.at(Points::PRE_ENQUEUE, |p| p.pre_enqueue(pod))
    }

    fn prepare(&self, cache: &mut Cache, pod: &Pod, state: &mut CycleState) {
        self.tally.time(PREPARE, || self.inner.prepare(cache, pod, state));
    }

    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        self.at(Points::PRE_FILTER, |p| p.pre_filter(view, state))
    }

    fn is_static(&self) -> bool {
        self.inner.is_static()
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        self.at(Points::FILTER, |p| p.filter_node(view, state, at))
    }

    fn filter(&self, view: View<'_>, state: &CycleState, batch: &mut Batch<'_>) {
        self.at(Points::FILTER, |p| p.filter(view, state, batch));
    }

    fn pod_moved(&self, view: View<'_>, state: &mut CycleState, moved: Moved<'_>) {
        self.tally.time(MOVED, || self.inner.pod_moved(view, state, moved));
    }

    fn post_filter(&self, stuck: &mut Stuck<'_>) -> PostFilter {
        self.at(Points::POST_FILTER, |p| p.post_filter(stuck))
    }

    fn reason(&self, view: View<'_>, bit: u8) -> Reason {
        self.inner.reason(view, bit)
    }

    fn pre_score(&self, view: View<'_>, state: &mut CycleState, nodes: &[u32]) -> bool {
        self.at(Points::PRE_SCORE, |p| p.pre_score(view, state, nodes))
    }

    fn score_node(&self, view: View<'_>, state: &CycleState, at: usize) -> i64 {
        self.at(Points::SCORE, |p| p.score_node(view, state, at))
    }

    fn score(&self, view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        self.at(Points::SCORE, |p| p.score(view, state, nodes, out));
    }

    fn normalize(&self, view: View<'_>, state: &CycleState, nodes: &[u32], scores: &mut [i64]) {
        self.at(Points::SCORE, |p| p.normalize(view, state, nodes, scores));
    }

    fn constant_score(&self, view: View<'_>, state: &CycleState) -> Option<i64> {
        self.inner.constant_score(view, state)
    }

    fn devices(&self, view: View<'_>, state: &CycleState, at: usize) -> Option<Devices> {
        self.inner.devices(view, state, at)
    }

    fn reserve(&self, view: View<'_>, at: usize) -> bool {
        self.at(Points::RESERVE, |p| p.reserve(view, at))
    }

    fn unreserve(&self, pod: &Pod) {
        self.at(Points::RESERVE, |p| p.unreserve(pod));
    }

    fn permit(&self, view: View<'_>, at: usize) -> Permit {
        self.at(Points::PERMIT, |p| p.permit(view, at))
    }

    fn pre_bind(&self, pod: &Pod) -> bool {
        self.at(Points::PRE_BIND, |p| p.pre_bind(pod))
    }

    fn bind(&self, pod: &Pod) -> bool {
        self.at(Points::BIND, |p| p.bind(pod))
    }

    fn post_bind(&self, pod: &Pod) {
        self.at(Points::POST_BIND, |p| p.post_bind(pod));
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, cache: &Cache) -> Hint {
        self.tally.time(HINT, || self.inner.hint(pod, event, cache))
    }
}

impl ProfileRow {
    /// Times the plugin from now on.
    fn timed(&mut self, profile: &'static str, clock: &Arc<dyn Clock>) -> Arc<Tally> {
        let cells = Default::default();
        let tally = Tally { profile, plugin: self.name, clock: Arc::clone(clock), cells };
        let tally = Arc::new(tally);
        let inner = Arc::clone(&self.plugin);
        self.plugin = Arc::new(Timed { inner, tally: Arc::clone(&tally) });
        tally
    }
}

impl Scheduler {
    /// Times every plugin from now on. Decisions stay the same.
    pub fn time_plugins(&mut self, clock: &Arc<dyn Clock>) -> Vec<Arc<Tally>> {
        let mut tallies = Vec::new();
        for profile in &mut self.profiles {
            let name = profile.name.as_str();
            tallies.extend(profile.rows.iter_mut().map(|row| row.timed(name, clock)));
        }
        tallies
    }
}

#[cfg(test)]
mod tests {
    /// Names of the methods in a block of code that begins with these words.
    fn methods<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
        let from = text.find(begin).expect("the block is there");
        let block = &text[from..];
        let block = &block[..block.find("\n}\n").expect("the block ends")];
        let names = block.lines().filter_map(|l| l.trim_start().strip_prefix("fn "));
        names.filter_map(|l| l.split('(').next()).collect()
    }

    #[test]
    fn every_method_of_a_plugin_is_passed_on() {
        let wanted = methods(include_str!("framework.rs"), "pub trait Plugin");
        let have = methods(include_str!("timed.rs"), "impl Plugin for Timed");
        assert!(wanted.len() >= 19);
        for method in wanted {
            assert!(have.contains(&method), "Timed does not pass on {method}");
        }
    }
}
