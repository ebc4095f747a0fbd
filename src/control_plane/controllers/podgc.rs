//! Pod garbage collection (source: `ctl/podgc/gc_controller.go`): every 20 s, but only while there
//! is something to collect.

use super::support::{Reporter, condition, reports};
use crate::api::node::{Node, keys};
use crate::api::pod::{ConditionType, Phase, Truth};
use crate::api::request::{Op, Outcome};
use crate::api::versions::Change;
use crate::api::{Kind, Obj, Pod};
use crate::client::{Cache, Key, Next, Reconcile};
use crate::engine::{Draws, Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::{Context, ControllerEvent, Event};
use std::sync::Arc;

const PERIOD: SimDuration = SimDuration::from_secs(20);
const QUARANTINE: SimDuration = SimDuration::from_secs(40);
/// `--terminated-pod-gc-threshold`.
const THRESHOLD: usize = 12_500;

/// A node that pods are bound to and that does not exist.
#[derive(Debug, Clone, Copy)]
struct Missing {
    node: Sym,
    /// The tick that first saw it missing.
    seen: Option<SimTime>,
}

/// The pod garbage collector.
#[derive(Debug, Clone)]
pub struct PodGc {
    reporter: Reporter,
    row: u8,
    grid: Grid,
    armed: bool,
    terminated: usize,
    missing: Vec<Missing>,
    /// Pods that are being deleted and were never bound.
    unbound: Vec<Key>,
    /// Nodes of which an operator has said that they are out of service.
    out: Vec<Sym>,
}

/// True if an operator has said that a node that is not ready is out of service (source:
/// `gcTerminating`).
fn out_of_service(node: &Node) -> bool {
    let ready = node.status.conditions.get(ConditionType::Ready);
    ready.is_none_or(|c| c.status != Truth::True)
        && node.taints.iter().any(|t| t.key.as_str() == keys::OUT_OF_SERVICE)
}

impl PodGc {
    /// A collector in this row.
    #[must_use]
    pub fn new(row: u8, draws: &Draws) -> Self {
        let entity = Sym::new("pod-garbage-collector").stable_hash();
        Self {
            reporter: Reporter::new("pod-garbage-collector", "pod-garbage-collector"),
            row,
            grid: Grid::drawn(draws, entity, Purpose("pod gc"), PERIOD),
            armed: false,
            terminated: 0,
            missing: Vec::new(),
            unbound: Vec::new(),
            out: Vec::new(),
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        if !self.armed {
            self.armed = true;
            let event = Event::Controller { controller: self.row, event: ControllerEvent::Tick };
            cx.schedule(self.grid.after(cx.now()), event);
        }
    }

    fn on_pod(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) {
        let Some(pod) = change.value.as_pod() else { return };
        let was = before.and_then(Obj::as_pod);
        self.terminated += usize::from(!change.deleted && pod.terminal());
        self.terminated -= usize::from(was.is_some_and(|p| p.terminal()));
        if change.deleted {
            return;
        }
        let bound = !pod.node.is_empty() && was.is_none_or(|p| p.node.is_empty());
        if bound && caches.find(cx.versions(), Kind::Node, Sym::EMPTY, pod.node.into()).is_none() {
            self.miss(pod.node);
        }
        if pod.node.is_empty() && pod.meta.terminating() {
            let key = Key::of(&change.value);
            if !self.unbound.contains(&key) {
                self.unbound.push(key);
            }
        }
        let leaves = pod.meta.terminating() && self.out.contains(&pod.node);
        if leaves || self.busy() {
            self.arm(cx);
        }
    }

    fn busy(&self) -> bool {
        self.terminated > THRESHOLD || !self.missing.is_empty() || !self.unbound.is_empty()
    }

    fn miss(&mut self, node: Sym) {
        if !self.missing.iter().any(|m| m.node == node) {
            self.missing.push(Missing { node, seen: None });
        }
    }

    fn delete(&mut self, pod: &Pod, cx: &Context<'_>) {
        let op = Op::Delete { grace_s: Some(0), propagation: None, uid: None };
        self.reporter.send(Kind::Pod, pod.meta.ns, pod.meta.name, op, cx);
    }

    /// Marks the pod Failed, then deletes it by force. Source:
    /// `markFailedAndDeletePodWithCondition`.
    fn fail_and_delete(&mut self, pod: &Pod, orphan: bool, cx: &Context<'_>) {
        let (ns, name) = (pod.meta.ns, pod.meta.name);
        if !pod.terminal() {
            let mut status = pod.status.clone();
            status.phase = Phase::Failed;
            let op = Op::PodStatus(Box::new(status));
            self.reporter.send(Kind::Pod, ns, name, op, cx);
            if orphan {
                let condition = condition(
                    ConditionType::DisruptionTarget,
                    Truth::True,
                    "DeletionByPodGC",
                    "PodGC: node no longer exists",
                    cx,
                );
                self.reporter.send(Kind::Pod, ns, name, Op::PodCondition(condition, None), cx);
            }
        }
        self.delete(pod, cx);
    }

    fn collect_missing(&mut self, caches: &Cache, cx: &mut Context<'_>) {
        let now = cx.now();
        for mut missing in std::mem::take(&mut self.missing) {
            let back =
                caches.find(cx.versions(), Kind::Node, Sym::EMPTY, missing.node.into()).is_some();
            let pods: Vec<Arc<Pod>> = caches
                .on_node(missing.node)
                .iter()
                .filter_map(|o| caches.get(cx.versions(), Kind::Pod, *o)?.as_pod().cloned())
                .collect();
            if back || pods.is_empty() {
                continue;
            }
            let seen = *missing.seen.get_or_insert(now);
            if now.since(seen) >= QUARANTINE {
                for pod in pods {
                    self.fail_and_delete(&pod, true, cx);
                }
            }
            self.missing.push(missing);
        }
    }

    /// Pods that are to go, on nodes that are out of service, do so.
    fn collect_out_of_service(&mut self, caches: &Cache, cx: &mut Context<'_>) {
        for name in self.out.clone() {
            let pods: Vec<Arc<Pod>> = caches
                .on_node(name)
                .iter()
                .filter_map(|o| caches.get(cx.versions(), Kind::Pod, *o)?.as_pod().cloned())
                .filter(|pod| pod.meta.terminating())
                .collect();
            for pod in pods {
                self.fail_and_delete(&pod, false, cx);
                // One whose deletion gets lost is found again.
                self.arm(cx);
            }
        }
    }

    fn collect_terminated(&mut self, caches: &Cache, cx: &mut Context<'_>) {
        let Some(excess) = self.terminated.checked_sub(THRESHOLD).filter(|n| *n > 0) else {
            return;
        };
        let mut ended: Vec<Arc<Pod>> = cx
            .versions()
            .iter(Kind::Pod)
            .filter_map(|(object, _)| {
                caches.get(cx.versions(), Kind::Pod, object)?.as_pod().cloned()
            })
            .filter(|pod| pod.terminal())
            .collect();
        let evicted = |pod: &Pod| pod.status.reason.as_str() == "Evicted";
        ended.sort_by_key(|pod| (!evicted(pod), pod.meta.created, pod.meta.uid));
        for pod in ended.iter().take(excess) {
            self.delete(pod, cx);
        }
    }
}

impl Reconcile for PodGc {
    type State = ();

    reports!(1);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        _wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Some(node) = change.value.as_node() {
            let name = node.meta.name.sym();
            self.out.retain(|n| *n != name);
            if !change.deleted && out_of_service(node) {
                self.out.push(name);
                self.arm(cx);
            }
            if change.deleted && !caches.on_node(name).is_empty() {
                self.miss(name);
                self.arm(cx);
            }
            return;
        }
        self.on_pod(change, before, caches, cx);
    }

    fn on_tick(
        &mut self,
        caches: &Cache,
        cx: &mut Context<'_>,
        _wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.armed = false;
        self.collect_terminated(caches, cx);
        self.collect_missing(caches, cx);
        self.collect_out_of_service(caches, cx);
        for key in std::mem::take(&mut self.unbound) {
            let found = caches.named(cx.versions(), Kind::Pod, key.ns, key.name);
            let pod = found.and_then(|(_, obj)| obj.as_pod()).cloned();
            let Some(pod) = pod.filter(|p| p.meta.terminating() && p.node.is_empty()) else {
                continue;
            };
            self.delete(&pod, cx);
            self.unbound.push(key);
        }
        if self.busy() {
            self.arm(cx);
        }
    }

    fn sync(
        &mut self,
        _key: Key,
        _state: &mut (),
        _answers: &[Outcome],
        _caches: &Cache,
        _cx: &mut Context<'_>,
    ) -> Next {
        Next::Done
    }
}
