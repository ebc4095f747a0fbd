//! What the autoscalers know of the cluster, and how they try things out on it: with the
//! scheduler's own cache and the filters of its own plugins. As upstream, they ask `PreFilter` and
//! Filter alone: no scores, no preemption.

use crate::api::node::Node;
use crate::api::pdb::PodDisruptionBudget;
use crate::api::pod::{ConditionType, Truth};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::DaemonSet;
use crate::api::{Kind, Name, Obj, Pod};
use crate::control_plane::controllers::{daemon_tolerations, daemon_verdict};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::config::SchedulerConfig;
use crate::control_plane::scheduler::framework::{CycleState, PreFilter, View};
use crate::control_plane::scheduler::plugins::registry::Points;
use crate::control_plane::scheduler::profile::Profile;
use crate::control_plane::scheduler::watch::TakenIn;
use crate::engine::{SimTime, Sym, num};
use crate::event::Context;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kinds an autoscaler watches: those whose objects the scheduler's plugins read, and those
/// that bring pods of their own to every node.
pub const KINDS: &[Kind] = &[
    Kind::Node,
    Kind::Namespace,
    Kind::Service,
    Kind::ReplicationController,
    Kind::ReplicaSet,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::PodDisruptionBudget,
    Kind::PersistentVolume,
    Kind::PersistentVolumeClaim,
    Kind::StorageClass,
    Kind::CSINode,
    Kind::CSIDriver,
    Kind::CSIStorageCapacity,
    Kind::Pod,
];

/// An object's place, which has an order.
pub type Place = (u32, u32);

/// The place of an object.
#[must_use]
pub fn place(object: ObjRef) -> Place {
    (object.slot, object.generation)
}

/// A pod without a node that the scheduler has given up for now.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The pod.
    pub object: ObjRef,
    /// As last delivered.
    pub pod: Arc<Pod>,
    /// Since when it is known to be unschedulable.
    pub since: SimTime,
}

/// What has changed for an autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing that it looks at.
    None,
    /// A pod was found to be unschedulable.
    Stuck,
    /// Something else: a pod came to a node or left it, a node changed, a budget allows more or
    /// less.
    Other,
}

/// The cluster as the autoscaler's informers have delivered it.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    /// Nodes, the pods on them, and what plugins read beside.
    pub cache: Cache,
    /// Pods that wait, by their place.
    pub pending: BTreeMap<Place, Pending>,
    daemons: BTreeMap<(&'static str, String), Arc<DaemonSet>>,
    /// Behind all places of pods.
    top: u32,
}

/// True if the node's condition Ready is True.
#[must_use]
pub fn ready(node: &Node) -> bool {
    node.status.conditions.get(ConditionType::Ready).is_some_and(|c| c.status == Truth::True)
}

fn unschedulable(pod: &Pod) -> bool {
    pod.status
        .condition(ConditionType::PodScheduled)
        .is_some_and(|c| c.status == Truth::False && c.reason.as_str() == "Unschedulable")
}

/// What of a node an autoscaler looks at.
fn differs(old: &Node, new: &Node) -> bool {
    ready(old) != ready(new)
        || old.meta.labels != new.meta.labels
        || old.unschedulable != new.unschedulable
        || old.taints != new.taints
        || old.status.allocatable != new.status.allocatable
}

impl Mirror {
    /// Takes in a delivered change.
    pub fn apply(&mut self, change: &Change, cx: &Context<'_>) -> News {
        if let Some(pod) = change.value.as_pod() {
            return self.pod(change, pod, cx);
        }
        if let Some(node) = change.value.as_node() {
            let name = node.meta.name.sym();
            let old = self.cache.node_named(name);
            if change.deleted {
                self.cache.remove_node(name);
                return News::Other;
            }
            self.cache.set_node(node, 0);
            let told = old.is_none_or(|old| differs(&old, node));
            return if told { News::Other } else { News::None };
        }
        if let Obj::DaemonSet(set) = &change.value {
            let key = (set.meta.ns.as_str(), set.meta.name.to_string());
            let old = if change.deleted {
                self.daemons.remove(&key)
            } else {
                self.daemons.insert(key, Arc::clone(set))
            };
            let same = old.is_some_and(|old| old.meta.generation == set.meta.generation);
            return self.if_pods_wait(change.deleted || !same);
        }
        let (ns, name) = change.value.key();
        let allowed = self.allowed(ns, name);
        match self.cache.take_in(change) {
            TakenIn::Budget if self.allowed(ns, name) != allowed => News::Other,
            TakenIn::Storage => self.if_pods_wait(true),
            TakenIn::Budget | TakenIn::Other => News::None,
        }
    }

    /// What matters to new pods alone is news only if some wait.
    fn if_pods_wait(&self, told: bool) -> News {
        if told && !self.pending.is_empty() { News::Other } else { News::None }
    }

    /// What a budget allows, and of which spec.
    fn allowed(&self, ns: Sym, name: Name) -> Option<(i32, u32)> {
        let own = |b: &&PodDisruptionBudget| (b.meta.ns, b.meta.name) == (ns, name);
        let budget = self.cache.budgets().iter().find(own)?;
        Some((budget.status.disruptions_allowed, budget.meta.generation))
    }

    fn pod(&mut self, change: &Change, pod: &Arc<Pod>, cx: &Context<'_>) -> News {
        let object = change.object;
        self.top = self.top.max(object.slot + 1);
        if change.deleted || pod.terminal() {
            let waited = self.pending.remove(&place(object)).is_some();
            let held = self.cache.remove_pod(object).is_some();
            return if waited || held { News::Other } else { News::None };
        }
        if pod.node.is_empty() {
            if !unschedulable(pod) || pod.meta.terminating() {
                self.pending.remove(&place(object));
                return News::None;
            }
            let new = Pending { object, pod: Arc::clone(pod), since: cx.now() };
            let known = self.pending.get(&place(object)).map(|p| p.since);
            let since = known.unwrap_or(new.since);
            self.pending.insert(place(object), Pending { since, ..new });
            return if known.is_none() { News::Stuck } else { News::None };
        }
        let waited = self.pending.remove(&place(object)).is_some();
        if self.cache.pod(object).is_some() {
            self.cache.update_pod(object, pod);
            return News::None;
        }
        self.cache.add_pod(object, pod, pod.node, false);
        if waited || !is_daemon(pod) { News::Other } else { News::None }
    }

    /// The pods on a node, in the order of their names.
    #[must_use]
    pub fn pods_on(&self, node: Sym) -> Vec<(ObjRef, Arc<Pod>)> {
        let row = self.cache.row_named(node);
        let pods = row.map(|row| row.pods.as_slice()).unwrap_or_default();
        let mut all: Vec<(ObjRef, Arc<Pod>)> =
            pods.iter().filter_map(|o| Some((*o, Arc::clone(&self.cache.pod(*o)?.pod)))).collect();
        all.sort_by_cached_key(|(_, p)| p.meta.full_name());
        all
    }

    /// The pods that `DaemonSets` will bring to a new node.
    #[must_use]
    pub fn daemons_for(&self, node: &Node) -> Vec<Arc<Pod>> {
        let pod = |set: &Arc<DaemonSet>| {
            let spec = &set.template.spec;
            let tolerations = daemon_tolerations(spec);
            let (runs, _) = daemon_verdict(spec, &tolerations, node);
            runs.then(|| {
                let mut pod = Pod { spec: Arc::clone(spec), ..Pod::default() };
                pod.meta.ns = set.meta.ns;
                pod.meta.labels = set.template.labels;
                Arc::new(pod)
            })
        };
        self.daemons.values().filter_map(pod).collect()
    }
}

/// True for a pod of a DaemonSet, or one that a node has brought itself.
#[must_use]
pub fn is_daemon(pod: &Pod) -> bool {
    pod.meta.controller().is_some_and(|o| matches!(o.kind, Kind::DaemonSet | Kind::Node))
}

/// The scheduler's profiles, for trying pods.
#[derive(Debug, Clone)]
pub struct Profiles(Vec<Profile>);

impl Profiles {
    /// Those of a scheduler's configuration.
    #[must_use]
    pub fn new(config: &SchedulerConfig) -> Self {
        Self(config.profiles.iter().map(Profile::new).collect())
    }

    fn of(&self, pod: &Pod) -> Option<&Profile> {
        self.0.iter().find(|p| p.name == pod.spec.scheduler_name)
    }
}

/// A cluster on which things are tried out.
#[derive(Debug, Clone)]
pub struct Trial<'p> {
    profiles: &'p Profiles,
    /// The cluster.
    pub cache: Cache,
    next: u32,
}

impl<'p> Trial<'p> {
    /// The cluster as it is known.
    #[must_use]
    pub fn new(mirror: &Mirror, profiles: &'p Profiles) -> Self {
        Self { profiles, cache: mirror.cache.clone(), next: mirror.top }
    }

    /// A new node with the pods that come to every such node.
    pub fn add_node(&mut self, node: &Arc<Node>, daemons: &[Arc<Pod>]) -> Vec<ObjRef> {
        self.cache.set_node(node, 0);
        daemons.iter().map(|pod| self.put_new(pod, node.meta.name.sym())).collect()
    }

    /// The node is not there after all, nor are the pods that came with it.
    pub fn drop_node(&mut self, node: Sym, daemons: &[ObjRef]) {
        for object in daemons {
            self.cache.remove_pod(*object);
        }
        self.cache.remove_node(node);
    }

    /// A pod that nobody has made yet is on a node now.
    fn put_new(&mut self, pod: &Arc<Pod>, node: Sym) -> ObjRef {
        let object = ObjRef { slot: self.next, generation: u32::MAX };
        self.next += 1;
        self.cache.add_pod(object, pod, node, true);
        object
    }

    /// A number that nothing on this trial cluster has had.
    pub fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// A pod is on a node now.
    pub fn put(&mut self, object: ObjRef, pod: &Arc<Pod>, node: Sym) {
        self.cache.add_pod(object, pod, node, true);
    }

    /// The first node, from the one after `from` on, that the plugins let the pod to; of these
    /// nodes only, if there is a choice.
    pub fn fits(
        &mut self,
        pod: &Pod,
        from: usize,
        among: impl Fn(Sym) -> bool,
    ) -> Option<(usize, Sym)> {
        self.look(pod, from, among).ok()
    }

    /// As [`Trial::fits`], or the reasons why not, each with the number of nodes.
    ///
    /// # Errors
    /// The reasons.
    pub fn look(
        &mut self,
        pod: &Pod,
        from: usize,
        among: impl Fn(Sym) -> bool,
    ) -> Result<(usize, Sym), BTreeMap<String, usize>> {
        let mut why = BTreeMap::new();
        let Some(profile) = self.profiles.of(pod) else { return Err(why) };
        self.cache.settle();
        let mut state = CycleState::default();
        profile.prepare(&mut self.cache, pod, &mut state);
        let view = View { cache: &self.cache, pod };
        let n = self.cache.len();
        let mut skip = 0;
        let mut narrow: Option<Vec<u32>> = None;
        for (i, row) in profile.rows_at(Points::PRE_FILTER) {
            match row.plugin.pre_filter(view, &mut state) {
                PreFilter::Run => {}
                PreFilter::Skip => skip |= 1 << i,
                PreFilter::Narrow(list) => {
                    let both = |at: &u32| narrow.as_ref().is_none_or(|n| n.contains(at));
                    narrow = Some(list.into_iter().filter(both).collect());
                }
                PreFilter::Reject(_, reasons) => {
                    why.extend(reasons.into_iter().map(|r| (r.into_owned(), 1)));
                    return Err(why);
                }
            }
        }
        for at in (from..n).chain(0..from.min(n)) {
            let name = self.cache.at(at).name;
            if !among(name) || narrow.as_ref().is_some_and(|l| !l.contains(&num::u32_of(at))) {
                continue;
            }
            let verdict = profile.judge(view, &state, skip, at);
            if verdict.passed() {
                return Ok((at, name));
            }
            let row = &profile.rows[usize::from(verdict.row())];
            for bit in verdict.reasons() {
                *why.entry(row.plugin.reason(view, bit).into_owned()).or_insert(0) += 1;
            }
        }
        Err(why)
    }
}
