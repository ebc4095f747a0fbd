//! `LoadAware`: the node that is used least, by what pods use instead of what they request. A pod's
//! use is the mean of the course that the scenario's `usage` describes, as a recommender that has
//! watched its like for long would know it; pods without one count with their requests.

use crate::api::{LabelSet, Pod};
use crate::control_plane::scheduler::cache::NodeRow;
use crate::control_plane::scheduler::framework::{CycleState, Plugin, View};
use crate::engine::{SimTime, Sym, num};
use crate::event::usage::{Course, Load};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The plugin.
#[derive(Debug, Clone, Default)]
pub struct LoadAware {
    /// What pods use.
    pub usage: Arc<[Load]>,
    /// The end of the run: until then the last step of a series counts.
    pub end: SimTime,
}

/// Milli-cores and bytes.
type Use = (f64, f64);

/// What is remembered between cycles.
#[derive(Debug, Clone, Default)]
pub struct LoadState {
    kinds: FxHashMap<(Sym, LabelSet), (Option<f64>, Option<f64>)>,
    /// Use of each node (by index) with the version it was worked out of.
    nodes: Vec<(u64, Use)>,
    /// Use of the cycle's nodes, by position, and of the pod.
    found: Vec<Use>,
    pod: Use,
}

/// The mean of a course, thousandths; none if it does not tell one.
fn mean(course: &Course, end: SimTime) -> Option<f64> {
    match course {
        Course::Constant(amount) => Some(num::float(*amount)),
        Course::Series(steps) => {
            let (first, last) = (steps.first()?.0, end.max(steps.last()?.0));
            let ends = steps.iter().skip(1).map(|(at, _)| *at).chain([last]);
            let area = |((from, amount), to): (&(SimTime, i64), SimTime)| {
                num::float(*amount) * to.since(*from).secs_f64()
            };
            let sum: f64 = steps.iter().zip(ends).map(area).sum();
            let span = last.since(first).secs_f64();
            Some(if span > 0.0 { sum / span } else { num::float(steps.last()?.1) })
        }
        Course::Walk { min, max, .. } => Some(num::float(*min + *max) / 2.0),
        Course::Growth { start, max, .. } => Some(num::float(*start + *max) / 2.0),
        Course::Fill { end, .. } => Some(num::float(*end)),
        Course::Served | Course::Log(_) => None,
    }
}

impl LoadAware {
    fn described(&self, pod: &Pod, metric: &str) -> Option<f64> {
        let of = |load: &&Load| {
            let chosen = load.pods.as_ref().is_some_and(|s| s.matches(pod.meta.labels));
            !load.shared && load.metric.as_str() == metric && load.ns == pod.meta.ns && chosen
        };
        let mut all = self.usage.iter().filter(of).filter_map(|load| mean(&load.course, self.end));
        let first = all.next()?;
        Some(all.fold(first, |sum, more| sum + more))
    }

    fn of_pod(&self, pod: &Pod, memory: &mut LoadState) -> Use {
        let key = (pod.meta.ns, pod.meta.labels);
        let known = memory.kinds.entry(key).or_insert_with(|| {
            // Thousandths: of cores milli-cores, of bytes a thousand times too many.
            (self.described(pod, "cpu"), self.described(pod, "memory").map(|m| m / 1000.0))
        });
        let requests = &pod.spec.requests;
        let (cpu, mem) = (num::float(requests.cpu_milli), num::float(requests.memory));
        (known.0.unwrap_or(cpu), known.1.unwrap_or(mem))
    }

    fn of_node(&self, view: View<'_>, row: &NodeRow, memory: &mut LoadState) -> Use {
        let mut sum = (0.0, 0.0);
        for object in &row.pods {
            let Some(there) = view.cache.pod(*object) else { continue };
            let (cpu, mem) = self.of_pod(&there.pod, memory);
            sum = (sum.0 + cpu, sum.1 + mem);
        }
        sum
    }
}

impl Plugin for LoadAware {
    fn pre_score(&self, view: View<'_>, state: &mut CycleState, nodes: &[u32]) -> bool {
        let memory = &mut state.load;
        memory.found.resize(view.cache.len(), (0.0, 0.0));
        memory.pod = self.of_pod(view.pod, memory);
        for &at in nodes {
            let at = at as usize;
            let (row, index) = (view.cache.at(at), view.cache.index_at(at) as usize);
            if memory.nodes.len() <= index {
                memory.nodes.resize(index + 1, (0, (0.0, 0.0)));
            }
            if memory.nodes[index].0 != row.version {
                memory.nodes[index] = (row.version, self.of_node(view, row, memory));
            }
            memory.found[at] = memory.nodes[index].1;
        }
        true
    }

    fn score_node(&self, view: View<'_>, state: &CycleState, at: usize) -> i64 {
        let row = view.cache.at(at);
        let ((cpu, mem), pod) = (state.load.found[at], state.load.pod);
        let part = |used: f64, has: i64| {
            if has > 0 { (used / num::float(has)).min(1.0) } else { 1.0 }
        };
        let used = part(cpu + pod.0, row.alloc.cpu_milli) + part(mem + pod.1, row.alloc.memory);
        num::trunc(100.0 * (1.0 - 0.5 * used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_course() {
        let end = SimTime::from_secs(100);
        assert_eq!(mean(&Course::Constant(250), end).map(num::round), Some(250));
        // A tenth of the time 4000, else 100.
        let steps = [(0, 100), (60, 4000), (70, 100)].map(|(s, n)| (SimTime::from_secs(s), n));
        assert_eq!(mean(&Course::Series(steps.into()), end).map(num::round), Some(490));
        assert_eq!(mean(&Course::Served, end), None);
    }
}
