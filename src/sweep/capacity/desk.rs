//! A copy of a cluster as its scheduler knows it, on which pods are placed one after another by
//! that scheduler's own cycles: `PreFilter` to Score, ties, Reserve and Permit. Nothing is
//! preempted: capacity is what is free, not what could be taken from others.

use crate::api::meta::Stamp;
use crate::api::node::{Node, keys};
use crate::api::pod::{Effect, Taint};
use crate::api::resources::Resources;
use crate::api::versions::ObjRef;
use crate::api::{Pod, Selector};
use crate::control_plane::scheduler::cache::Cache;
use crate::control_plane::scheduler::framework::{Permit, Plugin, View};
use crate::control_plane::scheduler::plugins::registry::Points;
use crate::control_plane::scheduler::profile::{Profile, Turn};
use crate::control_plane::scheduler::report::Failure;
use crate::control_plane::scheduler::ties::{self, TieRule};
use crate::control_plane::scheduler::{Scheduler, volume_binder};
use crate::engine::{Draws, Sym, num};
use std::sync::Arc;

/// Stands where preemption did.
#[derive(Debug)]
struct Nobody;

impl Plugin for Nobody {}

/// The copy.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) cache: Cache,
    profiles: Vec<Profile>,
    ties: TieRule,
    draws: Draws,
    start: usize,
    next: u32,
    /// Pods that wait for a node.
    pub(super) waiting: Arc<[Arc<Pod>]>,
}

/// Where a pod found no place: one of a resource, short on so many nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The resource, by its Kubernetes name.
    pub resource: String,
    /// Nodes that have too little of it left.
    pub nodes: usize,
    /// What these nodes have left of it all together: milli-cores of CPU, bytes, or units.
    pub stranded: i64,
}

impl Desk {
    /// A copy of what a scheduler knows; ties are drawn as the run draws them.
    pub(super) fn new(scheduler: &Scheduler, draws: &Draws) -> Self {
        let mut profiles = scheduler.profiles().to_vec();
        for row in profiles.iter_mut().flat_map(|p| &mut p.rows) {
            if row.points.has(Points::POST_FILTER) && row.name == "DefaultPreemption" {
                row.plugin = Arc::new(Nobody);
            }
        }
        let mut cache = scheduler.cache().clone();
        cache.settle();
        let ties = scheduler.config().ties;
        // Behind all pods that are there: an object's slot holds one pod at a time.
        // (Also on nodes that are gone, whose pods are still there.)
        let next = cache.pod_slots();
        Self {
            cache,
            profiles,
            ties,
            draws: draws.clone(),
            start: 0,
            next,
            waiting: Arc::default(),
        }
    }

    /// The draws of the run.
    pub(super) fn draws(&self) -> &Draws {
        &self.draws
    }

    /// Places a pod, or says why there is no place.
    pub(super) fn place(&mut self, pod: &Arc<Pod>) -> Result<Sym, Failure> {
        let name = pod.spec.scheduler_name;
        let Some(profile) = self.profiles.iter_mut().find(|p| p.name == name) else {
            return Err(Failure::error(format!("no scheduler is called {name}")));
        };
        if let Some((_, reason)) = profile.pre_enqueue(pod) {
            return Err(Failure::error(reason.into_owned()));
        }
        let mut turn = Turn { start: &mut self.start, ties: self.ties };
        let draws = &self.draws;
        let draw = |n| ties::uniform(draws, pod, 1, n);
        let decided = profile.decide(&mut self.cache, pod, &mut turn, draw).node;
        let at = decided.map_err(filtered)?;
        let view = View { cache: &self.cache, pod };
        let reserved = profile.rows_at(Points::RESERVE).all(|(_, r)| r.plugin.reserve(view, at))
            && profile
                .rows_at(Points::PERMIT)
                .all(|(_, r)| r.plugin.permit(view, at) == Permit::Allow);
        if !reserved {
            return Err(Failure::refused());
        }
        if profile.binds_volumes() {
            // What is assumed of its volumes stays assumed on this copy.
            drop(volume_binder::reserve(&mut self.cache, pod, at));
        }
        let devices = profile.devices(View { cache: &self.cache, pod }, at);
        let node = self.cache.at(at).name;
        let object = self.object();
        self.cache.add_pod_with(object, pod, node, true, devices);
        Ok(node)
    }

    /// A pod is on a node, whatever the scheduler would say.
    pub(super) fn put(&mut self, pod: &Arc<Pod>, node: Sym) {
        let object = self.object();
        self.cache.add_pod(object, pod, node, true);
    }

    /// A new object.
    fn object(&mut self) -> ObjRef {
        self.next += 1;
        ObjRef { slot: self.next, generation: u32::MAX }
    }

    /// The resources that kept the last pod off nodes, the one that most nodes lack first.
    pub(super) fn limits(&self, pod: &Pod) -> Vec<Limit> {
        let name = pod.spec.scheduler_name;
        let Some(profile) = self.profiles.iter().find(|p| p.name == name) else {
            return Vec::new();
        };
        let view = View { cache: &self.cache, pod };
        let mut limits: Vec<Limit> = Vec::new();
        for (at, verdict) in profile.looked().rejected {
            let plugin = &profile.rows[usize::from(verdict.row())].plugin;
            for bit in verdict.reasons() {
                let reason = plugin.reason(view, bit);
                let Some(resource) = resource_of(&reason) else { continue };
                let row = self.cache.at(*at as usize);
                let free = if resource == "pods" {
                    row.alloc.pods - num::i64_of(row.pods.len())
                } else {
                    amount(&row.alloc, resource) - amount(&row.used, resource)
                };
                let stranded = free.max(0);
                match limits.iter_mut().find(|l| l.resource == resource) {
                    Some(limit) => {
                        limit.nodes += 1;
                        limit.stranded += stranded;
                    }
                    None => {
                        limits.push(Limit { resource: resource.to_owned(), nodes: 1, stranded });
                    }
                }
            }
        }
        limits.sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.resource.cmp(&b.resource)));
        limits
    }

    /// The nodes, in the scheduler's order.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        (0..self.cache.len()).filter_map(|at| self.cache.at(at).node.clone()).collect()
    }

    /// The pods on a node, in the order of their names.
    pub(super) fn pods_on(&self, node: Sym) -> Vec<(ObjRef, Arc<Pod>)> {
        let pods = self.cache.row_named(node).map(|row| row.pods.as_slice()).unwrap_or_default();
        let mut all: Vec<(ObjRef, Arc<Pod>)> =
            pods.iter().filter_map(|o| Some((*o, Arc::clone(&self.cache.pod(*o)?.pod)))).collect();
        all.sort_by_cached_key(|(_, pod)| pod.meta.full_name());
        all
    }

    /// Makes an owner's selector known, by which default spreading counts its pods.
    pub(super) fn own(&mut self, pod: &Pod, selector: &Selector) {
        if let Some(owner) = pod.meta.controller() {
            let selector = Some(selector.clone());
            self.cache.set_owner(owner.kind, pod.meta.ns, owner.name, selector);
        }
    }

    /// A machine dies: its pods are gone, and its Node object stays with the taint that the node
    /// lifecycle controller gives it, unless a cloud says that the machine is no more (`deleted`).
    /// Returns the pods that were on it.
    pub(super) fn lose(&mut self, node: Sym, deleted: bool) -> Vec<Arc<Pod>> {
        let pods = self.pods_on(node);
        for (object, _) in &pods {
            self.cache.remove_pod(*object);
        }
        if deleted {
            self.cache.remove_node(node);
        } else if let Some(old) = self.cache.node_named(node) {
            let rank = self.cache.row_named(node).map_or(0, |row| row.rank);
            self.cache.set_node(&Arc::new(unreachable(&old)), rank);
        }
        self.cache.settle();
        pods.into_iter().map(|(_, pod)| pod).collect()
    }
}

/// What the filters said, without what `PostFilter` plugins add to it: nobody is preempted here.
fn filtered(mut failure: Failure) -> Failure {
    if let Some(end) = failure.message.find(". ") {
        failure.message.truncate(end + 1);
    }
    failure
}

/// The node as its controller leaves it when it no longer answers.
fn unreachable(node: &Node) -> Node {
    let key = Sym::new(keys::UNREACHABLE);
    let taint = |effect| Taint { key, value: Sym::EMPTY, effect, added: Stamp::NONE };
    let ours = [taint(Effect::NoSchedule), taint(Effect::NoExecute)];
    let taints = node.taints.iter().filter(|t| t.key != key).cloned().chain(ours).collect();
    Node { taints, ..node.clone() }
}

/// The resource that a reason of `NodeResourcesFit` names.
fn resource_of(reason: &str) -> Option<&str> {
    if reason == "Too many pods" { Some("pods") } else { reason.strip_prefix("Insufficient ") }
}

/// An amount by the name of its resource; of `pods` what a list says.
pub(super) fn amount(of: &Resources, resource: &str) -> i64 {
    match resource {
        "cpu" => of.cpu_milli,
        "memory" => of.memory,
        "ephemeral-storage" => of.ephemeral,
        "pods" => of.pods,
        other => of.scalar(other.into()),
    }
}

/// The pod as it would be made anew: without node, status and identity.
pub(super) fn anew(pod: &Pod) -> Pod {
    let mut made = Pod { meta: pod.meta.clone(), spec: Arc::clone(&pod.spec), ..Pod::default() };
    made.meta.deletion = None;
    // Its GPUs are chosen anew.
    made.meta.remove_annotation(crate::api::gpu::INDEX);
    if !made.spec.node_name.is_empty() {
        Arc::make_mut(&mut made.spec).node_name = Sym::EMPTY;
    }
    made
}
