//! Where a DaemonSet's pods should be, and which of them a rolling update replaces next
//! (source: `ctl/daemon/{daemon_controller,update}.go`).

use super::support::{available, pods_of};
use crate::api::node::{Node, keys};
use crate::api::pod::{Affinity, Effect, NodeSelectorTerm, Phase, Toleration};
use crate::api::versions::ObjRef;
use crate::api::workload::{DaemonSet, DaemonSetStatus, IntOrPercent};
use crate::api::{Kind, Pod, PodSpec};
use crate::client::Cache;
use crate::engine::{Sym, num};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A pod and its place.
type Placed = (ObjRef, Arc<Pod>);

/// Nodes that need a pod, and pods to delete.
pub(super) type Changes = (Vec<Sym>, Vec<Placed>);

/// A node with the set's pods on it.
#[derive(Debug)]
struct Place {
    node: Sym,
    runs: bool,
    stays: bool,
    /// Oldest first; those that have ended while being deleted count no more.
    pods: Vec<Placed>,
}

impl Place {
    fn live(&self) -> impl Iterator<Item = &Placed> {
        self.pods.iter().filter(|(_, p)| !p.meta.terminating())
    }
}

/// The nodes, and the set's pods on them.
#[derive(Debug)]
pub(super) struct View<'a> {
    set: &'a DaemonSet,
    label: Sym,
    hash: Sym,
    places: Vec<Place>,
    /// Pods that wait for a node that does not exist.
    lost: Vec<Placed>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        set: &'a DaemonSet,
        (label, hash): (Sym, Sym),
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Self {
        let mut by_node: FxHashMap<Sym, Vec<Placed>> = FxHashMap::default();
        let mut order = Vec::new();
        for (object, pod) in pods_of(set.meta.uid, caches, cx) {
            let node = node_of(&pod);
            if pod.meta.terminating() && ended(&pod) {
                continue;
            }
            order.push(node);
            by_node.entry(node).or_default().push((object, pod));
        }
        let tolerations = tolerations(&set.template.spec);
        let mut places = Vec::new();
        for object in caches.list(Kind::Node) {
            let found = caches.get(cx.versions(), Kind::Node, *object);
            let Some(node) = found.and_then(|obj| obj.as_node()) else { continue };
            let name = node.meta.name.sym();
            let (runs, stays) = verdict(&set.template.spec, &tolerations, node);
            let mut pods = by_node.remove(&name).unwrap_or_default();
            // The bound ones first, then the oldest (source: `podByCreationTimestampAndPhase`).
            pods.sort_by_key(|(_, p)| (p.node.is_empty(), p.meta.created, p.meta.uid));
            places.push(Place { node: name, runs, stays, pods });
        }
        let left = order.into_iter().filter_map(|node| by_node.remove(&node));
        let lost = left.flatten().filter(|(_, p)| p.node.is_empty() && !p.meta.terminating());
        Self { set, label, hash, lost: lost.collect(), places }
    }

    fn new_one(&self, pod: &Pod) -> bool {
        pod.meta.labels.get(self.label) == Some(self.hash)
    }

    fn available(&self, pod: &Pod, cx: &Context<'_>) -> bool {
        available(pod, self.set.min_ready_s, cx)
    }

    /// Whether some pod is of the revision with this hash.
    pub(super) fn uses(&self, hash: Sym) -> bool {
        let mut pods = self.places.iter().flat_map(|p| &p.pods);
        pods.any(|(_, p)| p.meta.labels.get(self.label) == Some(hash))
    }

    /// Source: `updateDaemonSetStatus`.
    pub(super) fn status(&self, cx: &Context<'_>) -> DaemonSetStatus {
        let mut status = DaemonSetStatus {
            observed_generation: self.set.meta.generation,
            collisions: self.set.status.collisions,
            ..DaemonSetStatus::default()
        };
        for place in &self.places {
            let pod = place.pods.first().map(|(_, pod)| pod);
            if !place.runs {
                status.misscheduled += i32::from(pod.is_some());
                continue;
            }
            status.desired += 1;
            let Some(pod) = pod else { continue };
            status.current += 1;
            status.ready += i32::from(pod.ready());
            status.available += i32::from(self.available(pod, cx));
            status.updated += i32::from(self.new_one(pod));
        }
        status.unavailable = status.desired - status.available;
        status
    }

    /// Pods to make (by node) and to delete. Source: `podsShouldBeOnNode`.
    pub(super) fn manage(&self, cx: &Context<'_>) -> Changes {
        let mut missing = Vec::new();
        let mut victims = self.lost.clone();
        for place in &self.places {
            if place.runs && place.pods.is_empty() {
                missing.push(place.node);
            } else if place.stays {
                let (over, running): (Vec<Placed>, Vec<Placed>) =
                    place.live().cloned().partition(|(_, p)| ended(p));
                victims.extend(over);
                victims.extend(self.surplus(running, cx));
            } else {
                victims.extend(place.live().cloned());
            }
        }
        (missing, victims)
    }

    /// Running pods of one node that are too many: all but the oldest; while surging, a new one
    /// that is not available yet may stand beside an old one that is ready.
    fn surplus(&self, mut running: Vec<Placed>, cx: &Context<'_>) -> Vec<Placed> {
        if running.len() <= 1 {
            return Vec::new();
        }
        if self.set.max_surge.is_none() {
            return running.split_off(1);
        }
        let (mut new, mut old): (Vec<Placed>, Vec<Placed>) =
            running.into_iter().partition(|(_, p)| self.new_one(p));
        let mut victims = if new.is_empty() { Vec::new() } else { new.split_off(1) };
        if old.len() > 1 {
            victims.extend(old.split_off(1));
        }
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!old.1.ready() || self.available(&new.1, cx))
        {
            victims.push(old.clone());
        }
        victims
    }

    /// The new and the old pod of a node; none if there are more than one of a kind.
    fn pair<'p>(&self, place: &'p Place) -> Option<[Option<&'p Placed>; 2]> {
        let mut pair = [None, None];
        for placed in place.live() {
            let slot = &mut pair[usize::from(!self.new_one(&placed.1))];
            if slot.replace(placed).is_some() {
                return None;
            }
        }
        Some(pair)
    }

    /// What a rolling update does next. Source: `rollingUpdate`.
    pub(super) fn roll(&self, cx: &Context<'_>) -> Changes {
        let desired = num::i32_of(self.places.iter().filter(|p| p.runs).count());
        let of = |n: Option<IntOrPercent>| n.map_or(0, |n| n.of(desired, true));
        let surge = of(self.set.max_surge);
        let mut unavailable = of(self.set.max_unavailable);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        if surge == 0 {
            (Vec::new(), self.roll_within(unavailable, cx))
        } else {
            self.roll_beyond(surge, cx)
        }
    }

    /// Without surge: old pods that are unavailable anyway go at once, others while so many at most
    /// are unavailable.
    fn roll_within(&self, limit: i32, cx: &Context<'_>) -> Vec<Placed> {
        let mut unavailable = 0;
        let (mut broken, mut candidates) = (Vec::new(), Vec::new());
        for place in self.places.iter().filter(|p| p.runs || !p.pods.is_empty()) {
            match self.pair(place) {
                Some([Some(new), None]) => {
                    unavailable += i32::from(!self.available(&new.1, cx));
                }
                Some([None, Some(old)]) if !self.available(&old.1, cx) => {
                    unavailable += 1;
                    broken.push(old.clone());
                }
                Some([None, Some(old)]) => candidates.push(old.clone()),
                // None there, or too many: managing it comes first.
                Some([None, None] | [Some(_), Some(_)]) | None => unavailable += 1,
            }
        }
        let budget = usize::try_from(limit - unavailable).unwrap_or(0);
        broken.extend(candidates.into_iter().take(budget));
        broken
    }

    /// With surge: a new pod comes first on so many nodes, and the old one goes once it is
    /// available.
    fn roll_beyond(&self, limit: i32, cx: &Context<'_>) -> Changes {
        let mut surged = 0;
        let (mut nodes, mut candidates, mut victims) = (Vec::new(), Vec::new(), Vec::new());
        for place in self.places.iter().filter(|p| p.runs || !p.pods.is_empty()) {
            match self.pair(place) {
                Some([Some(new), Some(_)]) if !self.available(&new.1, cx) => surged += 1,
                Some([Some(_), Some(old)]) => victims.push(old.clone()),
                Some([None, Some(old)]) if !self.available(&old.1, cx) => nodes.push(place.node),
                Some([None, Some(_)]) => candidates.push(place.node),
                Some([_, None]) => {}
                None => surged += 1,
            }
        }
        let budget = usize::try_from(limit - surged).unwrap_or(0);
        nodes.extend(candidates.into_iter().take(budget));
        (nodes, victims)
    }
}

pub(super) fn ended(pod: &Pod) -> bool {
    matches!(pod.status.phase, Phase::Failed | Phase::Succeeded)
}

/// The node of a daemon pod: the one it is bound to, or made for.
pub(super) fn node_of(pod: &Pod) -> Sym {
    if !pod.node.is_empty() {
        return pod.node;
    }
    let terms = pod.spec.affinity.as_ref().and_then(|a| a.node_required.as_ref());
    let field = terms.and_then(|t| t.first()).and_then(|t| t.fields.first());
    field.and_then(|f| f.values.first()).copied().unwrap_or_default()
}

/// Should a pod run on the node, and may one that is there stay? Source: `NodeShouldRunDaemonPod`.
pub(in crate::control_plane) fn verdict(
    spec: &PodSpec,
    tolerations: &[Toleration],
    node: &Node,
) -> (bool, bool) {
    let name = node.meta.name.sym();
    let named = spec.node_name.is_empty() || spec.node_name == name;
    let labels = node.meta.labels;
    let selected = spec.node_selector.iter().all(|(key, value)| labels.get(*key) == Some(*value));
    let required = spec.affinity.as_deref().and_then(|a: &Affinity| a.node_required.as_ref());
    let term = |t: &NodeSelectorTerm| {
        let some = !t.expressions.is_empty() || !t.fields.is_empty();
        some && t.expressions.iter().all(|r| r.matches_value(labels.get(r.key)))
            && t.fields.iter().all(|r| r.matches_value(Some(name)))
    };
    if !named || !selected || !required.is_none_or(|terms| terms.iter().any(term)) {
        return (false, false);
    }
    let untolerated = |effect: Effect| {
        let taints = node.taints.iter().filter(|t| t.effect == effect);
        taints.filter(|t| !tolerations.iter().any(|own| own.tolerates(t))).count() > 0
    };
    let stays = !untolerated(Effect::NoExecute);
    (stays && !untolerated(Effect::NoSchedule), stays)
}

/// The template's tolerations and those every daemon pod gets.
/// Source: `AddOrUpdateDaemonPodTolerations`.
pub(in crate::control_plane) fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone();
    let mut add = |key: &str, effect| {
        let toleration = Toleration {
            key: key.into(),
            exists: true,
            effect: Some(effect),
            ..Toleration::default()
        };
        all.retain(|t| t.key != toleration.key || t.effect != toleration.effect);
        all.push(toleration);
    };
    add(keys::NOT_READY, Effect::NoExecute);
    add(keys::UNREACHABLE, Effect::NoExecute);
    add(keys::DISK_PRESSURE, Effect::NoSchedule);
    add(keys::MEMORY_PRESSURE, Effect::NoSchedule);
    add(keys::PID_PRESSURE, Effect::NoSchedule);
    add(keys::UNSCHEDULABLE, Effect::NoSchedule);
    if spec.host_network {
        add(keys::NETWORK_UNAVAILABLE, Effect::NoSchedule);
    }
    all
}
