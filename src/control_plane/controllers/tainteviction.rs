//! Taint eviction: pods leave nodes with `NoExecute` taints they do not tolerate, at once or when
//! their toleration ends (source: `ctl/tainteviction/taint_eviction.go`).

use super::support::{Reporter, condition, delete, reports, text};
use crate::api::pod::{ConditionType, Effect, Taint, Truth};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::Change;
use crate::api::{Kind, Obj, Pod, Uid};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The taint eviction controller.
#[derive(Debug, Clone)]
pub struct TaintEviction {
    reporter: Reporter,
    /// `NoExecute` taints of the nodes that have any.
    tainted: FxHashMap<Sym, Arc<[Taint]>>,
    /// When each pod is to be deleted.
    due: FxHashMap<Uid, SimTime>,
}

impl Default for TaintEviction {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("node-controller", "taint-eviction-controller"),
            tainted: FxHashMap::default(),
            due: FxHashMap::default(),
        }
    }
}

/// When a pod must go from a node with these taints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Now,
    After(SimDuration),
    Never,
}

/// Source: `processPodOnNode`, `getMinTolerationTime`.
fn verdict(pod: &Pod, taints: &[Taint]) -> Verdict {
    let mut least: Option<u64> = None;
    for taint in taints {
        let fits = pod.spec.tolerations.iter().find(|t| t.tolerates(taint));
        let Some(toleration) = fits else { return Verdict::Now };
        if let Some(seconds) = toleration.seconds {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            least = Some(least.map_or(seconds, |l| l.min(seconds)));
        }
    }
    least.map_or(Verdict::Never, |s| Verdict::After(SimDuration::from_secs(s)))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    Marking,
    Deleting,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
}

impl TaintEviction {
    fn consider(&mut self, pod: &Pod, cx: &mut Context<'_>, wake: &mut Vec<(Key, SimDuration)>) {
        let Some(taints) = self.tainted.get(&pod.node) else {
            self.cancel(pod, cx);
            return;
        };
        let key = Key { kind: Kind::Pod, ns: pod.meta.ns, name: pod.meta.name };
        match verdict(pod, taints) {
            Verdict::Never => self.cancel(pod, cx),
            Verdict::Now => {
                self.due.insert(pod.meta.uid, cx.now());
                wake.push((key, SimDuration::ZERO));
            }
            // A timer that runs is not extended by what comes later.
            Verdict::After(_) if self.due.contains_key(&pod.meta.uid) => {}
            Verdict::After(span) => {
                self.due.insert(pod.meta.uid, cx.now() + span);
                wake.push((key, span));
            }
        }
    }

    fn cancel(&mut self, pod: &Pod, cx: &Context<'_>) {
        if self.due.is_empty() || self.due.remove(&pod.meta.uid).is_none() {
            return;
        }
        let message = format!("Cancelling deletion of Pod {}", pod.meta.full_name());
        self.reporter.normal(Kind::Pod, &pod.meta, "TaintManagerEviction", text(&message), cx);
    }

    fn on_node(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(node) = change.value.as_node() else { return };
        let same = before.and_then(Obj::as_node).is_some_and(|b| b.taints == node.taints);
        if same && !change.deleted {
            return;
        }
        let name = node.meta.name.sym();
        let taints: Vec<Taint> =
            node.taints.iter().filter(|t| t.effect == Effect::NoExecute).copied().collect();
        let was = if taints.is_empty() || change.deleted {
            self.tainted.remove(&name)
        } else {
            self.tainted.insert(name, taints.into())
        };
        if was.as_deref() == self.tainted.get(&name).map(|t| &**t) {
            return;
        }
        for object in caches.on_node(name) {
            let obj = caches.get(cx.versions(), Kind::Pod, *object);
            if let Some(pod) = obj.and_then(Obj::as_pod).cloned() {
                self.consider(&pod, cx, wake);
            }
        }
    }
}

impl Reconcile for TaintEviction {
    type State = State;

    reports!(8);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(pod) = change.value.as_pod() else {
            self.on_node(change, before, caches, cx, wake);
            return;
        };
        if change.deleted {
            self.due.remove(&pod.meta.uid);
            return;
        }
        let seen = before.and_then(Obj::as_pod);
        let same = |b: &Arc<Pod>| b.node == pod.node && b.spec.tolerations == pod.spec.tolerations;
        if !pod.node.is_empty() && !seen.is_some_and(same) {
            self.consider(&Arc::clone(pod), cx, wake);
        }
    }

    fn ignores(&self, _pod: &Pod) -> bool {
        self.tainted.is_empty() && self.due.is_empty()
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let found = caches.named(cx.versions(), Kind::Pod, key.ns, key.name);
        let Some((object, Obj::Pod(pod))) = found else { return Next::Done };
        let pod = Arc::clone(pod);
        let call =
            |op| Call { kind: Kind::Pod, ns: key.ns, name: key.name, target: Some(object), op };
        match state.step {
            Step::Start => {
                let due = self.due.get(&pod.meta.uid).filter(|_| !pod.meta.terminating());
                let Some(at) = due.copied() else { return Next::Done };
                if at > cx.now() {
                    // Woken by a timer that was cancelled.
                    return Next::Requeue(at.since(cx.now()));
                }
                let message = format!("Marking for deletion Pod {}", pod.meta.full_name());
                let (kind, reason) = (Kind::Pod, "TaintManagerEviction");
                self.reporter.normal(kind, &pod.meta, reason, text(&message), cx);
                state.step = Step::Marking;
                let condition = condition(
                    ConditionType::DisruptionTarget,
                    Truth::True,
                    "DeletionByTaintManager",
                    "Taint manager: deleting due to NoExecute taint",
                    cx,
                );
                Next::Call(vec![call(Op::PodCondition(condition, None))])
            }
            Step::Marking if answers.first().is_some_and(Result::is_ok) => {
                state.step = Step::Deleting;
                Next::Call(vec![delete(Kind::Pod, &pod.meta, Some(object))])
            }
            Step::Marking | Step::Deleting => {
                if matches!(answers.first(), Some(Err(e)) if *e != ApiError::NotFound) {
                    return Next::Retry;
                }
                self.due.remove(&pod.meta.uid);
                Next::Done
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pod::{PodSpec, Toleration};

    #[test]
    fn the_least_toleration_in_use_decides() {
        let taint = |key: &str| Taint {
            key: key.into(),
            value: Sym::EMPTY,
            effect: Effect::NoExecute,
            added: crate::api::Stamp::NONE,
        };
        let tolerate = |key: &str, seconds| Toleration {
            key: key.into(),
            exists: true,
            seconds,
            ..Toleration::default()
        };
        let cases: [(&[Toleration], &[&str], Verdict); 6] = [
            (&[], &["a"], Verdict::Now),
            (&[tolerate("a", None)], &["a"], Verdict::Never),
            (&[tolerate("a", None)], &["a", "b"], Verdict::Now),
            (&[tolerate("a", Some(300))], &["a"], Verdict::After(SimDuration::from_secs(300))),
            (
                &[tolerate("a", Some(300)), tolerate("b", Some(30)), tolerate("c", Some(5))],
                &["a", "b"],
                Verdict::After(SimDuration::from_secs(30)),
            ),
            (&[tolerate("a", Some(-1))], &["a"], Verdict::After(SimDuration::ZERO)),
        ];
        for (tolerations, keys, want) in cases {
            let spec = PodSpec { tolerations: tolerations.to_vec(), ..PodSpec::default() };
            let pod = Pod { spec: Arc::new(spec), ..Pod::default() };
            let taints: Vec<Taint> = keys.iter().map(|k| taint(k)).collect();
            assert_eq!(verdict(&pod, &taints), want, "{tolerations:?} on {keys:?}");
        }
    }
}
