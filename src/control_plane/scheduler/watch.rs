//! What the scheduler's informers deliver: into the cache, into the queue, and on to the
//! unschedulable pods that it may help.

use super::cache::Cache;
use super::cycle::{InHand, Scheduler};
use super::framework::{ClusterEvent, Hint, StorageEvent};
use super::plugins::fit::scaled_down;
use super::plugins::interpod::affine;
use super::plugins::registry::PLUGINS;
use super::profile::{Profile, ProfileRow};
use super::queue::{Place, Waiting};
use super::ties::{self, TieRule};
use crate::api::node::Node;
use crate::api::pdb::PodDisruptionBudget;
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Obj, Pod, Selector};
use crate::engine::Sym;
use crate::event::Context;
use std::sync::Arc;

/// What of a node the scheduler cares about.
fn differs(old: &Node, new: &Node) -> bool {
    old.meta.labels != new.meta.labels
        || old.unschedulable != new.unschedulable
        || old.taints != new.taints
        || old.status.allocatable != new.status.allocatable
}

/// A service's selector, out of its document.
fn service_selector(value: &Obj) -> Option<Selector> {
    let Obj::Generic(_, object) = value else { return None };
    let labels = object.doc.get("spec")?.get("selector")?.as_object()?;
    let pair = |(k, v): (&String, &serde_json::Value)| {
        (Sym::new(k), Sym::new(v.as_str().unwrap_or_default()))
    };
    Some(Selector::of_labels(labels.iter().map(pair)))
}

/// A change of storage that some plugin has registered for: almost no deletion is.
fn storage_event<'a>(
    new: &'a Obj,
    old: Option<&'a Obj>,
    deleted: bool,
) -> Option<StorageEvent<'a>> {
    if deleted {
        let attachment = new.kind() == Kind::VolumeAttachment;
        return attachment.then_some(StorageEvent::AttachmentGone);
    }
    match (new, old) {
        (Obj::PersistentVolume(new), None) => Some(StorageEvent::Volume { old: None, new }),
        (Obj::PersistentVolume(new), Some(Obj::PersistentVolume(old))) => {
            Some(StorageEvent::Volume { old: Some(old), new })
        }
        (Obj::PersistentVolumeClaim(new), None) => Some(StorageEvent::Claim { old: None, new }),
        (Obj::PersistentVolumeClaim(new), Some(Obj::PersistentVolumeClaim(old))) => {
            Some(StorageEvent::Claim { old: Some(old), new })
        }
        (Obj::StorageClass(new), None) => Some(StorageEvent::Class { old: None, new }),
        (Obj::StorageClass(new), Some(Obj::StorageClass(old))) => {
            Some(StorageEvent::Class { old: Some(old), new })
        }
        (Obj::CSINode(new), None) => Some(StorageEvent::CsiNode { old: None, new }),
        (Obj::CSINode(new), Some(Obj::CSINode(old))) => {
            Some(StorageEvent::CsiNode { old: Some(old), new })
        }
        (Obj::CSIDriver(new), Some(Obj::CSIDriver(old))) => {
            Some(StorageEvent::CsiDriver { old, new })
        }
        (Obj::CSIStorageCapacity(new), None) => Some(StorageEvent::Capacity { old: None, new }),
        (Obj::CSIStorageCapacity(new), Some(Obj::CSIStorageCapacity(old))) => {
            Some(StorageEvent::Capacity { old: Some(old), new })
        }
        _nothing_registered => None,
    }
}

/// What kind of object the cache has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenIn {
    /// A disruption budget.
    Budget,
    /// An object of storage, or one that nobody reads.
    Storage,
    /// A namespace, a Service or an owner of pods.
    Other,
}

impl Cache {
    /// Takes in a change of what plugins read beside nodes and pods.
    pub fn take_in(&mut self, change: &Change) -> TakenIn {
        let (ns, name) = change.value.key();
        let (kind, live) = (change.value.kind(), !change.deleted);
        if let Obj::Namespace(object) = &change.value {
            self.set_namespace(name.sym(), live.then_some(object.meta.labels));
        } else if let Obj::ReplicaSet(set) | Obj::ReplicationController(set) = &change.value {
            self.set_owner(kind, ns, name, live.then(|| set.selector.clone()));
        } else if let Obj::StatefulSet(set) = &change.value {
            self.set_owner(kind, ns, name, live.then(|| set.selector.clone()));
        } else if kind == Kind::PodDisruptionBudget {
            if let Obj::Generic(_, object) = &change.value {
                self.set_budget(ns, name, live.then(|| PodDisruptionBudget::of(object)));
            }
            return TakenIn::Budget;
        } else if kind == Kind::Service {
            self.set_service(ns, name, service_selector(&change.value).filter(|_| live));
        } else {
            self.volumes.apply(&change.value, change.deleted);
            return TakenIn::Storage;
        }
        TakenIn::Other
    }
}

impl Scheduler {
    /// A change of a pod was delivered.
    pub fn on_pod(&mut self, change: &Change, _before: Option<&Obj>, cx: &mut Context<'_>) {
        let Some(pod) = change.value.as_pod() else { return };
        let object = change.object;
        if change.deleted || pod.terminal() {
            self.pod_gone(object, cx);
        } else if pod.node.is_empty() {
            self.pod_waits(object, pod, cx);
        } else {
            self.pod_bound(object, pod, cx);
        }
        self.arm(cx);
    }

    fn pod_gone(&mut self, object: ObjRef, cx: &mut Context<'_>) {
        self.drop_in_hand(object);
        self.leaves_gang(object);
        self.wake_poll_of(object, cx);
        let waited = self.queue.remove(object);
        self.cache.nominator.remove(object);
        let node = self.cache.node_of(object);
        if let (Some(row), Some(node)) = (self.cache.remove_pod(object), node) {
            if row.pod.node == node {
                self.happened(&ClusterEvent::PodGone(&row.pod), None, cx);
            } else {
                // It was assumed there.
                let gone = Pod { node, ..(*row.pod).clone() };
                self.happened(&ClusterEvent::PodGone(&gone), None, cx);
            }
        } else if let Some(waited) = waited.filter(|w| !w.pod.status.nominated.is_empty()) {
            self.gave_up_node(&waited.pod, cx);
        }
    }

    /// A nominated pod lost its node. To pods of its priority or less that is as if it had been
    /// there and were gone.
    fn gave_up_node(&mut self, pod: &Pod, cx: &Context<'_>) {
        self.happened(&ClusterEvent::PodGone(pod), Some(pod.spec.priority), cx);
    }

    fn pod_waits(&mut self, object: ObjRef, pod: &Arc<Pod>, cx: &mut Context<'_>) {
        if self.cache.pod(object).is_some() {
            // Assumed: the queue has nothing to do with it any more.
            return;
        }
        let Some(waiting) = self.queue.get(object) else {
            let name = pod.spec.scheduler_name;
            let Some(profile) = self.profiles.iter().position(|p| p.name == name) else { return };
            let gated = self.profiles[profile].pre_enqueue(pod).is_some();
            self.queue.add(object, pod, profile, cx.now(), gated);
            self.queue.caused_by(object, cx.seq());
            self.cache.nominator.update(object, None, pod);
            return;
        };
        let old = Arc::clone(&waiting.pod);
        let place = waiting.place;
        let profile = &self.profiles[waiting.profile];
        let event = ClusterEvent::Own { old: &old };
        let helps = match place {
            Place::Gated => profile.pre_enqueue(pod).is_none(),
            Place::Unschedulable => {
                let mut now = waiting.clone();
                now.pod = Arc::clone(pod);
                self.worth(&now, profile, &event)
            }
            Place::Active | Place::Backoff | Place::ErrorBackoff | Place::InHand => false,
        };
        self.queue.update(object, pod);
        self.cache.nominator.update(object, Some(&old), pod);
        if helps {
            self.requeue(object, cx);
        }
        let promised = old.status.nominated;
        if !promised.is_empty() && promised != pod.status.nominated {
            self.gave_up_node(&old, cx);
        }
    }

    fn pod_bound(&mut self, object: ObjRef, pod: &Arc<Pod>, cx: &mut Context<'_>) {
        self.drop_in_hand(object);
        self.leaves_gang(object);
        self.queue.remove(object);
        self.cache.nominator.remove(object);
        let known = self.cache.pod(object).map(|row| (row.assumed, Arc::clone(&row.pod)));
        if known.is_some() && self.cache.node_of(object) != Some(pod.node) {
            self.cache.remove_pod(object);
        }
        let event = match &known {
            Some((assumed, old)) if self.cache.pod(object).is_some() => {
                self.cache.update_pod(object, pod);
                let told = old.meta.labels != pod.meta.labels || scaled_down(old, pod);
                if !assumed && !told {
                    self.moved_by_any_update();
                    return;
                }
                ClusterEvent::AssignedPod { old: (!assumed).then_some(&**old), pod }
            }
            Some(_) | None => {
                self.cache.add_pod(object, pod, pod.node, false);
                ClusterEvent::AssignedPod { old: None, pod }
            }
        };
        self.moved_by_any_update();
        self.happened(&event, None, cx);
    }

    /// Without queueing hints the update of any bound pod sends the pod whose cycle fails meanwhile
    /// to its back-off (`AssignedPodUpdated` sets `moveRequestCycle` whatever it moves).
    fn moved_by_any_update(&mut self) {
        if let Some(hand) = &mut self.in_hand {
            hand.moved |= !self.config.version.queueing_hints();
        }
    }

    /// A pod whose cycle is under way is no longer ours to place.
    fn drop_in_hand(&mut self, object: ObjRef) {
        if let Some(hand) = &mut self.in_hand
            && hand.object == object
        {
            hand.dropped = true;
        }
    }

    /// A change of a node was delivered.
    pub fn on_node(&mut self, change: &Change, _before: Option<&Obj>, cx: &mut Context<'_>) {
        let Some(node) = change.value.as_node() else { return };
        let name = node.meta.name.sym();
        let old = self.cache.node_named(name);
        if change.deleted {
            self.cache.remove_node(name);
            self.happened(&ClusterEvent::NodeDelete(node), None, cx);
        } else {
            let rank = match self.config.ties {
                TieRule::NodeOrderPerRun => ties::rank(cx.draws(), name.as_str()),
                TieRule::Uniform | TieRule::Upstream | TieRule::First | TieRule::Name => 0,
            };
            self.cache.set_node(node, rank);
            match &old {
                None => self.happened(&ClusterEvent::NodeAdd(node), None, cx),
                Some(old) if differs(old, node) => {
                    self.happened(&ClusterEvent::NodeUpdate { old, new: node }, None, cx);
                }
                Some(_) => {}
            }
        }
        self.arm(cx);
    }

    /// A change of another kind was delivered: services and owners of pods (default spread
    /// constraints), namespaces (pod affinity), storage. Other kinds are ignored.
    pub fn on_other(
        &mut self,
        kind: Kind,
        change: &Change,
        before: Option<&Obj>,
        cx: &mut Context<'_>,
    ) {
        debug_assert_eq!(kind, change.value.kind());
        match self.cache.take_in(change) {
            // Budgets steer the choice of victims; no plugin waits for them.
            TakenIn::Budget => return,
            TakenIn::Storage => return self.on_storage(change, before, cx),
            TakenIn::Other => {}
        }
        self.happened(&ClusterEvent::Other, None, cx);
        self.arm(cx);
    }

    /// A change of a storage object was delivered.
    fn on_storage(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
        if let Some(event) = storage_event(&change.value, before, change.deleted) {
            self.happened(&ClusterEvent::Storage(event), None, cx);
        }
        self.wake_polls(&change.value, cx);
        self.arm(cx);
    }

    /// True if the event may make the pod schedulable.
    fn worth(&self, waiting: &Waiting, profile: &Profile, event: &ClusterEvent<'_>) -> bool {
        if waiting.held && !matches!(event, ClusterEvent::PodGone(_)) {
            return false;
        }
        let hints = self.config.version.queueing_hints();
        (0_u8..).zip(&profile.rows).filter(|(i, _)| waiting.rejectors >> i & 1 == 1).any(
            |(_, row)| match row.plugin.hint(&waiting.pod, event, &self.cache) {
                Hint::Queue => true,
                Hint::Skip => !hints,
                Hint::Unregistered => false,
            },
        )
    }

    /// A pod that came to a node, or changed there, can only help pods that look at other pods
    /// (source: `getUnschedulablePodsWithCrossTopologyTerm`).
    fn hears_of(&self, waiting: &Waiting, event: &ClusterEvent<'_>) -> bool {
        let ClusterEvent::AssignedPod { old, pod } = event else { return true };
        if old.is_some_and(|old| scaled_down(old, pod)) {
            return true;
        }
        let spreads = |row: &ProfileRow| {
            row.name == "PodTopologySpread" && pod.meta.ns == waiting.pod.meta.ns
        };
        let users = |row: &ProfileRow| !PLUGINS.iter().any(|p| p.name == row.name);
        let rows = &self.profiles[waiting.profile].rows;
        (0_u8..)
            .zip(rows)
            .any(|(i, row)| waiting.rejectors >> i & 1 == 1 && (spreads(row) || users(row)))
            || affine(&self.cache, &waiting.pod, pod)
    }

    /// Tells the unschedulable pods (and the one in hand, if it has been rejected); `at_most`
    /// limits them to that priority.
    pub(super) fn happened(
        &mut self,
        event: &ClusterEvent<'_>,
        at_most: Option<i32>,
        cx: &Context<'_>,
    ) {
        if let Some(mut hand) = self.in_hand.take() {
            hand.moved = hand.moved || self.moves_hand(&hand, event);
            self.in_hand = Some(hand);
        }
        if !self.queue.any_unschedulable() {
            return;
        }
        let topological = match event {
            ClusterEvent::AssignedPod { old, pod } => !old.is_some_and(|old| scaled_down(old, pod)),
            ClusterEvent::Other => true,
            ClusterEvent::NodeAdd(_)
            | ClusterEvent::NodeUpdate { .. }
            | ClusterEvent::NodeDelete(_)
            | ClusterEvent::PodGone(_)
            | ClusterEvent::Storage(_)
            | ClusterEvent::Own { .. } => false,
        };
        if topological && !self.queue.any_rejected_by(self.topological_rows) {
            return;
        }
        let mut moved = std::mem::take(&mut self.moved);
        self.queue.collect(&mut moved, |w| {
            at_most.is_none_or(|most| w.pod.spec.priority <= most)
                && self.hears_of(w, event)
                && self.worth(w, &self.profiles[w.profile], event)
        });
        for object in &moved {
            self.requeue(*object, cx);
        }
        self.moved = moved;
    }

    fn moves_hand(&self, hand: &InHand, event: &ClusterEvent<'_>) -> bool {
        let (Err(failure), Some(waiting)) = (&hand.placed, self.queue.get(hand.object)) else {
            return false;
        };
        let mut waiting = waiting.clone();
        waiting.rejectors = failure.rejectors;
        waiting.held = false;
        self.worth(&waiting, &self.profiles[waiting.profile], event)
    }
}
