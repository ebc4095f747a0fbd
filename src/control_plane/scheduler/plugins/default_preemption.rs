//! `DefaultPreemption` (source: `plg/defaultpreemption/default_preemption.go`): who may preempt,
//! and how many nodes are tried. How the victims are found is in
//! [`preemption`](super::super::preemption).

use crate::api::Pod;
use crate::api::pod::{ConditionType, PreemptionPolicy, Truth};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{
    ClusterEvent, Code, Hint, Nomination, Plugin, PostFilter,
};
use crate::control_plane::scheduler::preemption::{Failed, Report, Stuck, dry_run, select};
use crate::control_plane::scheduler::report::{count, fit_error};

/// `DefaultPreemptionArgs`, and the plugin made of them.
#[derive(Debug, Clone, Copy)]
pub struct DefaultPreemption {
    /// `minCandidateNodesPercentage`.
    pub percentage: usize,
    /// `minCandidateNodesAbsolute`.
    pub absolute: usize,
}

impl Default for DefaultPreemption {
    fn default() -> Self {
        Self { percentage: 10, absolute: 100 }
    }
}

/// Reason of the condition of a pod that the scheduler preempts.
pub const PREEMPTED: &str = "PreemptionByScheduler";

/// True if a pod is on its way out because it was preempted.
fn leaving(pod: &Pod) -> bool {
    let told = pod.status.condition(ConditionType::DisruptionTarget);
    pod.meta.terminating()
        && told.is_some_and(|c| c.status == Truth::True && c.reason.as_str() == PREEMPTED)
}

/// Why a pod may not preempt others; `nominated` is the verdict on the node it was promised.
#[must_use]
pub fn ineligible(cache: &Cache, pod: &Pod, nominated: Code) -> Option<&'static str> {
    if pod.spec.preemption == PreemptionPolicy::Never {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let node = pod.status.nominated;
    if node.is_empty() || nominated == Code::UnschedulableAndUnresolvable {
        return None;
    }
    let at = cache.position(node)?;
    let waits = cache
        .at(at)
        .pods
        .iter()
        .filter_map(|p| cache.pod(*p))
        .any(|row| row.pod.spec.priority < pod.spec.priority && leaving(&row.pod));
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

impl DefaultPreemption {
    /// How many candidates are enough among so many nodes.
    #[must_use]
    pub fn enough(&self, nodes: usize) -> usize {
        (nodes * self.percentage / 100).max(self.absolute).min(nodes)
    }
}

impl Plugin for DefaultPreemption {
    fn post_filter(&self, stuck: &mut Stuck<'_>) -> PostFilter {
        let nominated = stuck.code_of(stuck.pod.status.nominated);
        if let Some(why) = ineligible(stuck.cache, stuck.pod, nominated) {
            let reason = format!("preemption: {why}").into();
            return PostFilter::Unschedulable { reason, clear: false };
        }
        let potential = stuck.potential();
        let offset = stuck.chance(potential.len(), 1);
        let tried = dry_run(stuck, &potential, offset, self.enough(potential.len()));
        let best = select(stuck.cache, &tried.candidates);
        let chosen = stuck.pick(&tried.candidates, &best);
        let outcome = if let Some(chosen) = chosen {
            let candidate = &tried.candidates[chosen];
            let node = stuck.cache.at(candidate.at as usize).name;
            PostFilter::Success(Nomination { node, victims: candidate.victims.clone() })
        } else if tried.failed.iter().any(|(_, f)| *f == Failed::NoneNeeded) {
            let mut nodes = tried.failed.iter().filter(|(_, f)| *f == Failed::NoneNeeded);
            let first = nodes.next().map(|(at, _)| stuck.cache.at(*at as usize).name);
            let node = first.unwrap_or_default();
            let text = format!("preemption: expected at least one victim pod on node \"{node}\"");
            PostFilter::Error(text.into())
        } else {
            let reason = format!("preemption: {}", text(stuck, &tried.failed)).into();
            PostFilter::Unschedulable { reason, clear: true }
        };
        let (candidates, failed) = (tried.candidates, tried.failed);
        stuck.report = Some(Report { candidates, failed, best, chosen });
        outcome
    }

    /// Preemption itself never rejects a pod; it only wants pods that it holds back looked at
    /// again.
    fn hint(&self, _pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::PodGone(_) => Hint::Skip,
            ClusterEvent::NodeAdd(_)
            | ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}

/// Why preemption helps on no node, in the words of a FitError.
fn text(stuck: &Stuck<'_>, failed: &[(u32, Failed)]) -> String {
    let n = stuck.cache.len();
    let mut reasons = Vec::new();
    for (_, why) in failed {
        for reason in why.reasons(stuck) {
            count(&mut reasons, reason, 1);
        }
    }
    if failed.len() < n {
        let helpless = "Preemption is not helpful for scheduling".into();
        count(&mut reasons, helpless, n - failed.len());
    }
    fit_error(n, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_nodes_but_at_least_a_hundred() {
        let plugin = DefaultPreemption::default();
        assert_eq!([5, 100, 900, 5000].map(|n| plugin.enough(n)), [5, 100, 100, 500]);
    }
}
