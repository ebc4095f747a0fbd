//! Policies written as CEL, Kubernetes' expression language, in the scenario: a filter and a score
//! over values of node, pod and cluster. Parsed and checked once; a node costs some tens of
//! nanoseconds (`benches/policies.rs`).

mod check;
mod expr;
mod run;
#[cfg(test)]
mod tests;

use super::super::framework::{
    Code, CycleState, MAX_SCORE, Plugin, PreFilter, Reason, Verdict, View, default_normalize,
};
use super::fits::stretch;
use crate::api::Pod;
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{ClusterEvent, Hint};
use crate::engine::num;
pub use check::CelError;
use check::{Typed, check};
use expr::{Bool, Double};
use run::Scope;
use std::sync::Arc;

/// What becomes of the scores of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalize {
    /// Nothing: they should be 0 to 100.
    #[default]
    None,
    /// Spread over 0 to 100: the least is 0, the greatest 100.
    Stretch,
    /// Divided by the greatest, times 100.
    Max,
}

/// A policy of expressions.
#[derive(Debug, Clone, Default)]
pub struct CelPolicy {
    filter: Option<Arc<Bool>>,
    score: Option<Arc<Double>>,
    reason: String,
    normalize: Normalize,
}

/// The texts of a policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct CelTexts<'a> {
    /// A bool: false rejects the node.
    pub filter: Option<&'a str>,
    /// Why, in words.
    pub reason: Option<&'a str>,
    /// A double or an int; truncated to a whole number.
    pub score: Option<&'a str>,
    /// What becomes of the scores.
    pub normalize: Normalize,
}

/// Which of the texts is wrong, and how.
pub type Wrong = (&'static str, CelError);

impl CelPolicy {
    /// Parses and checks.
    ///
    /// # Errors
    /// What is wrong with either text.
    pub fn new(texts: CelTexts<'_>) -> Result<Self, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let mut read = |field: &'static str, text: Option<&str>, wanted: &str| {
            let typed = check(text?).map_err(|error| wrong.push((field, error))).ok()?;
            let fits = match (&typed, wanted) {
                (Typed::Bool(_), "bool") => true,
                (Typed::Double(_) | Typed::Int(_), "number") => true,
                (Typed::Bool(_) | Typed::Text(_) | Typed::Double(_) | Typed::Int(_), _) => false,
            };
            if !fits {
                let problem = format!("is no {wanted}");
                wrong.push((field, CelError { line: 1, column: 1, problem, hint: "" }));
            }
            fits.then_some(typed)
        };
        let filter = read("filter", texts.filter, "bool");
        let score = read("score", texts.score, "number");
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let filter = filter.and_then(|f| if let Typed::Bool(b) = f { Some(b) } else { None });
        let score = score.and_then(|s| match s {
            Typed::Double(x) => Some(x),
            Typed::Int(n) => Some(Double::Of(Box::new(n))),
            Typed::Bool(_) | Typed::Text(_) => None,
        });
        Ok(Self {
            filter: filter.map(Arc::new),
            score: score.map(Arc::new),
            reason: texts.reason.unwrap_or("node(s) did not pass the policy's filter").to_owned(),
            normalize: texts.normalize,
        })
    }

    /// True if it has a filter.
    #[must_use]
    pub fn filters(&self) -> bool {
        self.filter.is_some()
    }

    /// True if it scores.
    #[must_use]
    pub fn scores(&self) -> bool {
        self.score.is_some()
    }
}

/// The plugin `Cel`.
#[derive(Debug, Clone)]
pub struct Cel(pub CelPolicy);

/// What is remembered within a cycle: filter and score with what is the same for all nodes put in.
#[derive(Debug, Clone, Default)]
pub struct CelState {
    filter: Option<Bool>,
    score: Option<Double>,
}

const REJECTED: u16 = 1;
const FAILED: u16 = 1 << 1;

/// Scores beyond this say nothing more, and sums of them still fit.
const HIGHEST: i64 = 1 << 40;

/// The score of an expression that failed.
const NOTHING: i64 = i64::MIN;

fn whole(value: Option<f64>) -> i64 {
    value.map_or(NOTHING, |value| num::trunc(value).clamp(-HIGHEST, HIGHEST))
}

impl Plugin for Cel {
    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        state.cel.filter = None;
        if let Some(filter) = self.0.filter.as_deref().filter(|_| !view.cache.is_empty()) {
            let mut filter = filter.clone();
            filter.settle(&Scope::new(view, 0));
            state.cel.filter = Some(filter);
        }
        PreFilter::Run
    }

    fn filter_node(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        let Some(filter) = &state.cel.filter else { return Verdict::PASS };
        match filter.eval(&Scope::new(view, at)) {
            Some(true) => Verdict::PASS,
            Some(false) => Verdict::reject(Code::Unschedulable, REJECTED),
            None => Verdict::reject(Code::Unschedulable, FAILED),
        }
    }

    fn reason(&self, _view: View<'_>, bit: u8) -> Reason {
        if bit == 0 {
            return self.0.reason.clone().into();
        }
        format!("{} (the expression failed)", self.0.reason).into()
    }

    fn pre_score(&self, view: View<'_>, state: &mut CycleState, nodes: &[u32]) -> bool {
        let (Some(score), Some(first)) = (&self.0.score, nodes.first()) else { return false };
        let mut score = Double::clone(score);
        score.settle(&Scope::new(view, *first as usize));
        state.cel.score = Some(score);
        true
    }

    fn score_node(&self, view: View<'_>, state: &CycleState, at: usize) -> i64 {
        let score = state.cel.score.as_ref();
        whole(score.and_then(|score| score.eval(&Scope::new(view, at))))
    }

    fn score(&self, view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        let (Some(score), Some(first)) = (&state.cel.score, nodes.first()) else { return };
        let scope = Scope::new(view, *first as usize);
        for (out, &at) in out.iter_mut().zip(nodes) {
            *out = whole(score.eval(&scope.at(at as usize)));
        }
    }

    fn normalize(&self, _view: View<'_>, _state: &CycleState, _nodes: &[u32], scores: &mut [i64]) {
        // A node for which the expression failed gets nothing: the least of the others first.
        let failed: Vec<usize> = (0..scores.len()).filter(|i| scores[*i] == NOTHING).collect();
        let least = scores.iter().copied().filter(|s| *s != NOTHING).min().unwrap_or(0);
        failed.iter().for_each(|i| scores[*i] = least);
        match self.0.normalize {
            Normalize::None => scores.iter_mut().for_each(|s| *s = (*s).clamp(0, MAX_SCORE)),
            Normalize::Stretch => stretch(scores),
            Normalize::Max => {
                scores.iter_mut().for_each(|s| *s = (*s).max(0));
                default_normalize(scores, false);
            }
        }
        failed.iter().for_each(|i| scores[*i] = 0);
    }

    /// Whatever happens on nodes may change an expression over them.
    fn hint(&self, _pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::PodGone(_)
            | ClusterEvent::NodeAdd(_)
            | ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::Own { .. } => Hint::Queue,
            ClusterEvent::NodeDelete(_) | ClusterEvent::Storage(_) | ClusterEvent::Other => {
                Hint::Unregistered
            }
        }
    }
}

#[cfg(test)]
mod mistakes {
    use super::*;

    fn wrong(score: &str) -> String {
        let texts = CelTexts { score: Some(score), ..CelTexts::default() };
        let wrong = CelPolicy::new(texts).unwrap_err();
        let (field, e) = &wrong[0];
        format!("{field} {}:{}: {}", e.line, e.column, e.problem)
    }

    #[test]
    fn a_wrong_expression_is_told_with_its_place() {
        assert_eq!(wrong("1.0 + node.free.cpus"), "score 1:16: there is no node.free.cpus");
        assert_eq!(
            wrong("1.0 +\n  2 * node.free.cpu"),
            "score 2:5: no such overload for int and double"
        );
        assert_eq!(wrong("node.name"), "score 1:1: is no number");
        assert_eq!(wrong("lowest(1, 2)"), "score 1:7: there is no function lowest");
        assert!(wrong("1.0 +").starts_with("score 1:"), "{}", wrong("1.0 +"));
        assert!(wrong("node.labels.zone").contains("is no number"));
    }

    #[test]
    fn good_ones_are_taken() {
        let texts = CelTexts {
            filter: Some(
                "!node.unschedulable && (node.labels[\"kubernetes.io/arch\"] in [\"amd64\"] || \
                 node.name.startsWith(\"big-\") || has(pod.labels.any) && node.pods < 100)",
            ),
            score: Some(
                "node.free[\"example.com/fpga\"] > 0.0 ? math.least(100, 2 * cluster.nodes) : \
                 int(node.free.cpu / cluster.largest.cpu)",
            ),
            ..CelTexts::default()
        };
        let made = CelPolicy::new(texts).unwrap();
        assert!(made.filters() && made.scores());
    }
}
