//! Preemption carried out (source: `sched/framework/preemption/executor.go`): requests that run
//! beside the scheduling cycles, as upstream's goroutine does. All victims but the last are ended
//! at once, then the last one: its end is what brings the preemptor back, which is held until then.
//!
//! Before 1.33 the preemptor's own cycle does it (`prepareCandidate`): all victims at once, then
//! the nominations that it takes from others, and then the cycle ends.

use super::cache::Cache;
use super::cycle::{Pending, Scheduler};
use super::plugins::default_preemption::PREEMPTED;
use crate::api::kevent::Text;
use crate::api::pod::{Condition, ConditionType, Truth};
use crate::api::request::{ApiError, Op, Outcome, Request, User};
use crate::api::versions::ObjRef;
use crate::api::{Kind, Pod};
use crate::engine::Sym;
use crate::event::Context;
use std::sync::Arc;

/// A pod and what was known of it when the preemption began.
type Known = (ObjRef, Arc<Pod>);

/// A preemption under way.
#[derive(Debug, Clone)]
struct Preemption {
    preemptor: Known,
    node: Sym,
    /// Pods of lower priority that were promised the node, and will not get it.
    robbed: Vec<Known>,
    victims: Vec<Known>,
    /// Victims whose requests are under way.
    open: usize,
    /// The last victim's turn has come.
    last: bool,
    failed: bool,
}

/// What an answer is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A nomination was cleared.
    Cleared,
    /// A victim got its condition.
    Told(usize),
    /// A victim was deleted.
    Deleted(usize),
}

/// The preemptions under way, in order of their beginning.
#[derive(Debug, Clone, Default)]
pub(super) struct Executor {
    running: Vec<Preemption>,
}

impl Executor {
    /// True if a pod must not be tried again yet, because its victims are still being ended.
    pub(super) fn holds(&self, preemptor: ObjRef, cache: &Cache) -> bool {
        let Some(run) = self.get(preemptor) else { return false };
        let waits =
            |(victim, _): &Known| cache.pod(*victim).is_some_and(|row| !row.pod.meta.terminating());
        !run.last || run.victims.last().is_some_and(waits)
    }

    fn get(&self, preemptor: ObjRef) -> Option<&Preemption> {
        self.running.iter().find(|p| p.preemptor.0 == preemptor)
    }

    fn get_mut(&mut self, preemptor: ObjRef) -> Option<&mut Preemption> {
        self.running.iter_mut().find(|p| p.preemptor.0 == preemptor)
    }
}

fn patch((object, pod): &Known, op: Op) -> Request {
    let (ns, name) = (pod.meta.ns, pod.meta.name);
    Request { target: Some(*object), ..Context::request(User::Scheduler, Kind::Pod, ns, name, op) }
}

impl Scheduler {
    /// Begins a preemption, unless all victims are on their way out already; true if it has begun.
    pub(super) fn preempt(
        &mut self,
        preemptor: Known,
        (node, victims): (Sym, &[ObjRef]),
        cx: &mut Context<'_>,
    ) -> bool {
        let known = |v: &ObjRef| Some((*v, Arc::clone(&self.cache.pod(*v)?.pod)));
        let victims: Vec<Known> =
            victims.iter().filter_map(known).filter(|(_, p)| !p.meta.terminating()).collect();
        if victims.is_empty() || self.executor.get(preemptor.0).is_some() {
            return false;
        }
        let below = self.cache.nominator.below(preemptor.1.spec.priority, node);
        // A nomination that has not been written yet needs no clearing.
        let written = below.filter(|n| !n.pod.status.nominated.is_empty());
        let robbed = written.map(|n| (n.object, Arc::clone(&n.pod))).collect();
        let object = preemptor.0;
        let (open, last, failed) = (0, false, false);
        let run = Preemption { preemptor, node, robbed, victims, open, last, failed };
        self.executor.running.push(run);
        if self.config.version.asynchronous_preemption() {
            self.clear_next(object, cx);
        } else {
            self.evict(object, cx);
        }
        true
    }

    /// Takes nominations back, one after another; then the victims' turn comes.
    fn clear_next(&mut self, preemptor: ObjRef, cx: &mut Context<'_>) {
        let Some(run) = self.executor.get_mut(preemptor) else { return };
        if run.robbed.is_empty() && self.config.version.asynchronous_preemption() {
            self.evict(preemptor, cx);
        } else if run.robbed.is_empty() {
            self.executor.running.retain(|p| p.preemptor.0 != preemptor);
            if self.in_hand.as_ref().is_some_and(|hand| hand.preempting) {
                self.end_cycle(cx);
            }
        } else {
            let robbed = run.robbed.remove(0);
            let request = patch(&robbed, Op::Nominate(Sym::EMPTY));
            self.send(request, Pending::Preempt(preemptor, Step::Cleared), cx);
        }
    }

    /// All victims but the last; if there is but one, that one.
    fn evict(&mut self, preemptor: ObjRef, cx: &mut Context<'_>) {
        let Some(run) = self.executor.get_mut(preemptor) else { return };
        let together = !self.config.version.asynchronous_preemption();
        run.last = run.victims.len() == 1 || together;
        run.open = if together {
            run.victims.len()
        } else if run.last {
            1
        } else {
            run.victims.len() - 1
        };
        let first = 0..run.open;
        for victim in first {
            self.tell_victim(preemptor, victim, cx);
        }
    }

    fn tell_victim(&mut self, preemptor: ObjRef, victim: usize, cx: &mut Context<'_>) {
        let Some(run) = self.executor.get(preemptor) else { return };
        let scheduler = run.preemptor.1.spec.scheduler_name;
        let text = format!("{scheduler}: preempting to accommodate a higher priority pod");
        let condition = Condition {
            kind: ConditionType::DisruptionTarget,
            status: Truth::True,
            reason: Sym::new(PREEMPTED),
            message: Sym::new(&text),
            transition: cx.stamp(),
        };
        let request = patch(&run.victims[victim], Op::PodCondition(condition, None));
        self.send(request, Pending::Preempt(preemptor, Step::Told(victim)), cx);
    }

    /// An answer to one of its requests.
    pub(super) fn preempted(
        &mut self,
        (preemptor, step): (ObjRef, Step),
        outcome: &Outcome,
        cx: &mut Context<'_>,
    ) {
        let Some(run) = self.executor.get_mut(preemptor) else { return };
        let gone = matches!(outcome, Err(ApiError::NotFound));
        let failed = outcome.is_err() && !gone;
        run.failed |= failed;
        match step {
            Step::Cleared => self.clear_next(preemptor, cx),
            Step::Told(victim) if outcome.is_ok() => {
                let delete = Op::Delete { grace_s: None, propagation: None, uid: None };
                let request = patch(&run.victims[victim], delete);
                self.send(request, Pending::Preempt(preemptor, Step::Deleted(victim)), cx);
            }
            Step::Deleted(victim) if outcome.is_ok() => {
                let pod = Arc::clone(&run.victims[victim].1);
                let (uid, node) = (run.preemptor.1.meta.uid, run.node);
                let text = Sym::new(&format!("Preempted by pod {uid} on node {node}"));
                self.tell(&pod, false, Sym::new("Preempted"), Text::Plain(text), cx);
                self.victim_done(preemptor, cx);
            }
            Step::Told(_) | Step::Deleted(_) => self.victim_done(preemptor, cx),
        }
    }

    fn victim_done(&mut self, preemptor: ObjRef, cx: &mut Context<'_>) {
        let Some(run) = self.executor.get_mut(preemptor) else { return };
        run.open -= 1;
        if run.open > 0 {
            return;
        }
        if !run.last && !run.failed {
            run.last = true;
            let last = run.victims.len() - 1;
            run.open = 1;
            self.tell_victim(preemptor, last, cx);
            return;
        }
        if !self.config.version.asynchronous_preemption() {
            return self.clear_next(preemptor, cx);
        }
        let failed = run.failed;
        self.executor.running.retain(|p| p.preemptor.0 != preemptor);
        if failed {
            // Some victim may stay, so no event would bring the preemptor back.
            self.queue.activate_now(preemptor);
            self.queue.caused_by(preemptor, cx.seq());
        }
    }
}
