//! The scheduler's cache: what it believes is on each node, assumed pods included. Changed by
//! deliveries alone; a cycle reads it through [`super::framework::View`].
//!
//! A node keeps its index for life; its *position* is its place in the nodeTree order, which is
//! made anew ([`Cache::settle`]) only when nodes have come or gone.

use super::columns::Columns;
use super::counts::{Counts, GroupKey};
use super::gang;
use super::nominator::Nominator;
use super::requests::accounted;
use super::tree::{NodeTree, ZoneKey, zone_of};
use super::volumes::VolumeIndex;
use crate::api::gpu::{self, Devices, GpuAsk, Gpus};
use crate::api::node::Node;
use crate::api::pdb::PodDisruptionBudget;
use crate::api::placement::{HostPort, host_ports};
use crate::api::pod::Effect;
use crate::api::resources::Resources;
use crate::api::versions::ObjRef;
use crate::api::{ByObject, Kind, LabelSet, Name, Pod, Selector};
use crate::engine::{Sym, num};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// No position, no domain.
pub const NONE: u32 = u32::MAX;

/// A node and what is on it.
#[derive(Debug, Clone, Default)]
pub struct NodeRow {
    /// Name.
    pub name: Sym,
    /// The node; none if only pods on it have been seen so far (or still).
    pub node: Option<Arc<Node>>,
    /// What pods may use.
    pub alloc: Arc<Resources>,
    /// Sum of requests of the pods.
    pub used: Resources,
    /// Sum of scoring requests of the pods.
    pub nonzero: (i64, i64),
    /// The pods, in no particular order.
    pub pods: Vec<ObjRef>,
    /// Host ports in use, each once.
    pub ports: SmallVec<[HostPort; 2]>,
    /// Rank for the tie rule that needs one.
    pub rank: u64,
    /// Its GPUs; none without any.
    pub gpus: Option<Box<Gpus>>,
    /// Grows whenever something on the node changes, so that what was worked out of it may be
    /// remembered.
    pub version: u64,
    at: u32,
    zone: ZoneKey,
}

/// A pod on a node.
#[derive(Debug, Clone)]
pub struct PodRow {
    /// The pod as last delivered (or as it was when assumed).
    pub pod: Arc<Pod>,
    /// Index of the node.
    pub node: u32,
    /// The scheduler put it there and has not yet seen it bound.
    pub assumed: bool,
    /// GPUs that it holds.
    pub devices: Devices,
}

/// Domain of each position under one topology key.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Node label.
    pub key: Sym,
    /// Domain number by position; [`NONE`] if the node lacks the label.
    pub domain: Vec<u32>,
    /// Number of domains.
    pub n: usize,
    /// Every node has the label.
    pub everywhere: bool,
    /// Domain by node index.
    pub of_index: Arc<[u32]>,
}

/// An image that some node has.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageRow {
    /// Size, as the first node reported it.
    pub size: i64,
    /// Nodes that have it.
    pub nodes: u32,
}

/// The cache.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    rows: Vec<NodeRow>,
    free: Vec<u32>,
    by_name: FxHashMap<Sym, u32>,
    tree: NodeTree,
    stale_order: bool,
    order: Vec<u32>,
    columns: Columns,
    pods: ByObject<PodRow>,
    counts: Counts,
    topologies: Vec<Topology>,
    images: FxHashMap<Sym, ImageRow>,
    /// Nodes with a `PreferNoSchedule` taint.
    prefer_taints: usize,
    /// Indices of nodes whose static facts changed since `epoch` began.
    log: Vec<u32>,
    epoch: u64,
    namespaces: FxHashMap<Sym, LabelSet>,
    /// How many pods on nodes have a priority.
    priorities: BTreeMap<i32, u32>,
    /// What all nodes together have.
    total: Resources,
    /// Requests of the pods on nodes by namespace, if somebody asks.
    by_namespace: Option<FxHashMap<Sym, Resources>>,
    /// Pods on nodes by namespace and group, if somebody asks.
    by_group: Option<FxHashMap<(Sym, Sym), u32>>,
    /// Last version given to a row.
    version: u64,
    /// Nodes with GPUs.
    gpu_nodes: usize,
    /// Storage.
    pub volumes: VolumeIndex,
    services: FxHashMap<Sym, Vec<(Name, Selector)>>,
    owners: FxHashMap<(Kind, Sym, Name), Selector>,
    budgets: Vec<PodDisruptionBudget>,
    /// Waiting pods that were promised a node.
    pub nominator: Nominator,
}

impl Cache {
    /// An empty cache; `by_namespace` keeps sums of requests per namespace, too, and `by_group`
    /// counts the pods of each group.
    #[must_use]
    pub fn new(by_namespace: bool, by_group: bool) -> Self {
        Self {
            by_namespace: by_namespace.then(FxHashMap::default),
            by_group: by_group.then(FxHashMap::default),
            ..Self::default()
        }
    }

    // ----- reading -----

    /// One more than the largest slot of any pod that was ever on a node.
    #[must_use]
    pub fn pod_slots(&self) -> u32 {
        self.pods.slots()
    }

    /// How many pods of a group have a node, assumed ones included; 0 unless groups are counted.
    #[must_use]
    pub fn in_group(&self, ns: Sym, group: Sym) -> usize {
        let counts = self.by_group.as_ref();
        counts.and_then(|counts| counts.get(&(ns, group))).map_or(0, |n| *n as usize)
    }

    /// The least priority that a pod on a node has.
    #[must_use]
    pub fn least_priority(&self) -> Option<i32> {
        self.priorities.keys().next().copied()
    }

    /// The largest share that the pods of a namespace have of any resource of the cluster.
    #[must_use]
    pub fn dominant_share(&self, ns: Sym) -> f64 {
        let total = &self.total;
        let Some(used) = self.by_namespace.as_ref().and_then(|sums| sums.get(&ns)) else {
            return 0.0;
        };
        let share = |used: i64, all: i64| {
            if all > 0 { num::float(used) / num::float(all) } else { 0.0 }
        };
        let scalars = used.scalars.iter().map(|(name, n)| share(*n, total.scalar(*name)));
        let native = [
            share(used.cpu_milli, total.cpu_milli),
            share(used.memory, total.memory),
            share(used.ephemeral, total.ephemeral),
        ];
        scalars.chain(native).fold(0.0, f64::max)
    }

    /// Number of nodes. Only after [`Cache::settle`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The row at a position.
    #[must_use]
    pub fn at(&self, at: usize) -> &NodeRow {
        &self.rows[self.order[at] as usize]
    }

    /// The node at a position.
    #[must_use]
    pub fn node(&self, at: usize) -> &Node {
        self.at(at).node.as_deref().expect("only known nodes are in the order")
    }

    /// The node index at a position.
    #[must_use]
    pub fn index_at(&self, at: usize) -> u32 {
        self.order[at]
    }

    /// The node indices by position.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The position of a node by name.
    #[must_use]
    pub fn position(&self, name: Sym) -> Option<usize> {
        let row = &self.rows[*self.by_name.get(&name)? as usize];
        (row.at != NONE).then_some(row.at as usize)
    }

    /// The node of this name, as last delivered.
    #[must_use]
    pub fn node_named(&self, name: Sym) -> Option<Arc<Node>> {
        self.rows[*self.by_name.get(&name)? as usize].node.clone()
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Pod counts.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The row of a node by its name, also while only pods on it are known.
    #[must_use]
    pub fn row_named(&self, name: Sym) -> Option<&NodeRow> {
        self.by_name.get(&name).map(|&i| &self.rows[i as usize])
    }

    /// A pod on a node.
    #[must_use]
    pub fn pod(&self, object: ObjRef) -> Option<&PodRow> {
        self.pods.get(object)
    }

    /// Number of pods on nodes, assumed ones included.
    #[must_use]
    pub fn n_pods(&self) -> usize {
        self.pods.len()
    }

    /// Domains of a key; none unless somebody asked for it by [`Cache::ensure_topology`].
    #[must_use]
    pub fn topology(&self, key: Sym) -> Option<&Topology> {
        self.topologies.iter().find(|t| t.key == key)
    }

    /// An image by its normalised name.
    #[must_use]
    pub fn image(&self, name: Sym) -> Option<ImageRow> {
        self.images.get(&name).copied()
    }

    /// True if no node has any image.
    #[must_use]
    pub fn no_images(&self) -> bool {
        self.images.is_empty()
    }

    /// True if some node has GPUs that pods share.
    #[must_use]
    pub fn has_gpus(&self) -> bool {
        self.gpu_nodes > 0
    }

    /// True if some node has a `PreferNoSchedule` taint.
    #[must_use]
    pub fn prefers(&self) -> bool {
        self.prefer_taints > 0
    }

    /// Labels of a namespace.
    #[must_use]
    pub fn namespace(&self, ns: Sym) -> LabelSet {
        self.namespaces.get(&ns).copied().unwrap_or_default()
    }

    /// The names of the namespaces that a selector chooses, ordered by text.
    #[must_use]
    pub fn namespaces_of(&self, selector: &Selector) -> Vec<Sym> {
        #[expect(clippy::iter_over_hash_type, reason = "the result is sorted")]
        let mut names: Vec<Sym> = {
            let mut names = Vec::new();
            for (ns, labels) in &self.namespaces {
                if selector.matches(*labels) {
                    names.push(*ns);
                }
            }
            names
        };
        names.sort_by(|a, b| a.cmp_text(*b));
        names
    }

    /// Selectors of the services that select a pod.
    pub fn services_of(&self, ns: Sym, labels: LabelSet) -> impl Iterator<Item = &Selector> {
        let all = self.services.get(&ns).map(Vec::as_slice).unwrap_or_default();
        all.iter().map(|(_, s)| s).filter(move |s| !s.is_empty() && s.matches(labels))
    }

    /// The selector of the ReplicaSet, `ReplicationController` or StatefulSet that owns a pod.
    #[must_use]
    pub fn owner_selector(&self, pod: &Pod) -> Option<&Selector> {
        let owner = pod.meta.controller()?;
        self.owners.get(&(owner.kind, pod.meta.ns, owner.name))
    }

    /// The disruption budgets.
    #[must_use]
    pub fn budgets(&self) -> &[PodDisruptionBudget] {
        &self.budgets
    }

    /// The epoch of the log of static changes, and the log.
    #[must_use]
    pub fn static_changes(&self) -> (u64, &[u32]) {
        (self.epoch, &self.log)
    }

    /// The position of a node index, if it is in the order.
    #[must_use]
    pub fn position_of_index(&self, index: u32) -> Option<usize> {
        let at = self.rows[index as usize].at;
        (at != NONE).then_some(at as usize)
    }

    // ----- nodes -----

    fn row_of(&mut self, name: Sym) -> u32 {
        if let Some(&row) = self.by_name.get(&name) {
            return row;
        }
        let fresh = NodeRow { name, at: NONE, ..NodeRow::default() };
        let index = match self.free.pop() {
            Some(index) => {
                self.rows[index as usize] = fresh;
                index
            }
            None => {
                self.rows.push(fresh);
                num::u32_of(self.rows.len() - 1)
            }
        };
        self.by_name.insert(name, index);
        index
    }

    /// A node appeared or changed.
    pub fn set_node(&mut self, node: &Arc<Node>, rank: u64) {
        let index = self.row_of(node.meta.name.sym());
        let old = self.rows[index as usize].node.replace(Arc::clone(node));
        let same_labels = old.as_ref().is_some_and(|old| old.meta.labels == node.meta.labels);
        let zone =
            if same_labels { self.rows[index as usize].zone } else { zone_of(node.meta.labels) };
        self.rows[index as usize].rank = rank;
        let old_alloc = std::mem::replace(
            &mut self.rows[index as usize].alloc,
            Arc::clone(&node.status.allocatable),
        );
        self.total.sub(&old_alloc);
        self.total.add(&node.status.allocatable);
        self.count_images(old.as_deref(), Some(node));
        self.equip(index);
        let Some(old) = old else {
            self.tree.add(zone, index);
            self.rows[index as usize].zone = zone;
            self.stale_order = true;
            return;
        };
        if self.rows[index as usize].zone != zone {
            self.tree.remove(self.rows[index as usize].zone, index);
            self.tree.add(zone, index);
            self.rows[index as usize].zone = zone;
            self.stale_order = true;
            return;
        }
        let at = self.rows[index as usize].at;
        if at == NONE || self.stale_order {
            return;
        }
        if !Arc::ptr_eq(&old_alloc, &node.status.allocatable) {
            self.columns.set_alloc(at as usize, &node.status.allocatable, Some(&old_alloc));
        }
        if !same_labels {
            self.forget_topologies();
        }
        let same =
            same_labels && old.unschedulable == node.unschedulable && old.taints == node.taints;
        if !same {
            self.note_static(index);
        }
    }

    /// Gives a node the GPUs that it has now, and takes from them what its pods hold.
    fn equip(&mut self, index: u32) {
        self.version += 1;
        let row = &mut self.rows[index as usize];
        row.version = self.version;
        let n = gpu::devices_of(&row.alloc);
        if row.gpus.as_ref().map_or(0, |gpus| gpus.left().len()) == n {
            return;
        }
        self.gpu_nodes -= usize::from(row.gpus.is_some());
        self.gpu_nodes += usize::from(n > 0);
        row.gpus = (n > 0).then(|| Box::new(Gpus::new(n)));
        let Some(gpus) = &mut row.gpus else { return };
        for object in &row.pods {
            let Some(pod) = self.pods.get_mut(*object) else { continue };
            let Some(ask) = GpuAsk::of(&pod.pod.spec.requests) else { continue };
            if pod.devices.is_empty() {
                pod.devices = gpus.best_fit(ask);
            }
            gpus.take(ask, pod.devices, true);
        }
    }

    /// The GPUs that a pod holds on its node: those that its annotation names, else the best fit.
    fn devices_of(&self, index: u32, pod: &Pod) -> Devices {
        let Some(gpus) = &self.rows[index as usize].gpus else { return Devices::NONE };
        let Some(ask) = GpuAsk::of(&pod.spec.requests) else { return Devices::NONE };
        Devices::told(pod, ask).unwrap_or_else(|| gpus.best_fit(ask))
    }

    fn note_static(&mut self, index: u32) {
        self.log.push(index);
        if self.log.len() > 4 * self.order.len() + 1024 {
            self.log.clear();
            self.epoch += 1;
        }
    }

    /// A node is gone. Pods still on it keep its row alive.
    pub fn remove_node(&mut self, name: Sym) {
        let Some(&index) = self.by_name.get(&name) else { return };
        let row = &mut self.rows[index as usize];
        let Some(old) = row.node.take() else { return };
        row.at = NONE;
        let had: Arc<Resources> = std::mem::take(&mut row.alloc);
        self.total.sub(&had);
        self.gpu_nodes -= usize::from(row.gpus.take().is_some());
        let zone = row.zone;
        self.tree.remove(zone, index);
        self.stale_order = true;
        self.count_images(Some(&old), None);
        self.free_row(index);
    }

    fn free_row(&mut self, index: u32) {
        let row = &self.rows[index as usize];
        if row.node.is_none() && row.pods.is_empty() {
            self.by_name.remove(&row.name);
            self.free.push(index);
        }
    }

    fn count_images(&mut self, old: Option<&Node>, new: Option<&Node>) {
        let prefers = |n: &Node| n.taints.iter().any(|t| t.effect == Effect::PreferNoSchedule);
        self.prefer_taints -= usize::from(old.is_some_and(prefers));
        self.prefer_taints += usize::from(new.is_some_and(prefers));
        let images = |n: Option<&Node>| n.map(|n| Arc::clone(&n.status.images));
        let (old, new) = (images(old), images(new));
        if old == new {
            return;
        }
        for image in new.iter().flat_map(|list| list.iter()) {
            for name in &image.names {
                let row = self.images.entry(*name).or_default();
                if row.nodes == 0 {
                    row.size = image.size;
                }
                row.nodes += 1;
            }
        }
        for name in old.iter().flat_map(|list| list.iter()).flat_map(|image| &image.names) {
            if let Some(row) = self.images.get_mut(name) {
                row.nodes -= 1;
                if row.nodes == 0 {
                    self.images.remove(name);
                }
            }
        }
    }

    /// Brings the node order and the columns up to date. To be called before a cycle.
    pub fn settle(&mut self) {
        self.counts.trim();
        if !self.stale_order {
            return;
        }
        self.stale_order = false;
        let mut order = std::mem::take(&mut self.order);
        self.tree.list(&mut order);
        for (at, &index) in order.iter().enumerate() {
            self.rows[index as usize].at = num::u32_of(at);
        }
        self.columns.rebuild(order.len(), order.iter().map(|&i| &self.rows[i as usize]));
        self.order = order;
        self.forget_topologies();
        self.log.clear();
        self.epoch += 1;
    }

    /// Makes the domains of a key known. Only after [`Cache::settle`].
    pub fn ensure_topology(&mut self, key: Sym) {
        if self.topology(key).is_some() {
            return;
        }
        let mut ids: FxHashMap<Sym, u32> = FxHashMap::default();
        let mut domain = Vec::with_capacity(self.order.len());
        for at in 0..self.order.len() {
            let value = self.node(at).meta.labels.get(key);
            let next = num::u32_of(ids.len());
            domain.push(value.map_or(NONE, |v| *ids.entry(v).or_insert(next)));
        }
        let everywhere = !domain.contains(&NONE);
        let mut of_index = vec![NONE; self.rows.len()];
        for (&index, &domain) in self.order.iter().zip(&domain) {
            of_index[index as usize] = domain;
        }
        let (n, of_index) = (ids.len(), of_index.into());
        self.topologies.push(Topology { key, domain, n, everywhere, of_index });
    }

    /// Keeps sums of a group over the domains of a key that is known.
    pub fn ensure_group_sums(&mut self, group: u32, key: Sym) {
        if let Some(topology) = self.topologies.iter().find(|t| t.key == key) {
            self.counts.ensure_group_sums(group, topology);
        }
    }

    /// The same of a carrier.
    pub fn ensure_carrier_sums(&mut self, carrier: usize, key: Sym) {
        if let Some(topology) = self.topologies.iter().find(|t| t.key == key) {
            self.counts.ensure_carrier_sums(carrier, topology);
        }
    }

    /// The nodes or their labels have changed: domains are found anew when somebody asks.
    fn forget_topologies(&mut self) {
        self.topologies.clear();
        self.counts.forget_sums();
    }

    /// The number of a group of pods, counted from now on.
    pub fn ensure_group(&mut self, key: &GroupKey) -> u32 {
        let (rows, pods) = (&self.rows, &self.pods);
        let on =
            |node: u32| rows[node as usize].pods.iter().filter_map(|p| Some(&*pods.get(*p)?.pod));
        self.counts.group(key, num::u32_of(rows.len()), on)
    }

    // ----- pods -----

    /// Puts a pod on a node (a row is made if the node is not known yet).
    pub fn add_pod(&mut self, object: ObjRef, pod: &Arc<Pod>, node: Sym, assumed: bool) {
        let index = self.row_of(node);
        let devices = self.devices_of(index, pod);
        let row = PodRow { pod: Arc::clone(pod), node: index, assumed, devices };
        self.put_row(object, row);
    }

    /// Puts a pod on a node with these GPUs.
    pub fn add_pod_with(
        &mut self,
        object: ObjRef,
        pod: &Arc<Pod>,
        node: Sym,
        assumed: bool,
        devices: Devices,
    ) {
        let index = self.row_of(node);
        self.put_row(object, PodRow { pod: Arc::clone(pod), node: index, assumed, devices });
    }

    fn put_row(&mut self, object: ObjRef, row: PodRow) {
        let (index, pod, devices) = (row.node, Arc::clone(&row.pod), row.devices);
        if self.pods.insert(object, row).is_some() {
            panic!("pod {} is on two nodes", pod.meta.full_name());
        }
        self.rows[index as usize].pods.push(object);
        self.tally(index, (&pod, devices), true);
    }

    /// A pod on a node changed (or an assumed pod turns out to be bound where it was assumed).
    pub fn update_pod(&mut self, object: ObjRef, pod: &Arc<Pod>) {
        let Some(row) = self.pods.get_mut(object) else { return };
        row.assumed = false;
        let (index, devices) = (row.node, row.devices);
        let old = std::mem::replace(&mut row.pod, Arc::clone(pod));
        let same = Arc::ptr_eq(&old.spec, &pod.spec)
            && old.meta.labels == pod.meta.labels
            && old.meta.terminating() == pod.meta.terminating()
            && old.status.resized == pod.status.resized;
        if !same {
            self.tally(index, (&old, devices), false);
            self.tally(index, (pod, devices), true);
        }
    }

    /// Takes a pod off its node.
    pub fn remove_pod(&mut self, object: ObjRef) -> Option<PodRow> {
        let gone = self.pods.remove(object)?;
        let row = &mut self.rows[gone.node as usize];
        let i = row.pods.iter().position(|p| *p == object).expect("the node lists its pods");
        row.pods.swap_remove(i);
        self.tally(gone.node, (&gone.pod, gone.devices), false);
        self.free_row(gone.node);
        Some(gone)
    }

    /// Puts back the host ports of a node after pods were moved for a while: being a set, they do
    /// not come back by themselves.
    pub fn restore_ports(&mut self, at: usize, ports: SmallVec<[HostPort; 2]>) {
        self.rows[self.order[at] as usize].ports = ports;
    }

    /// A node whose sums are not those of its pods: none, unless there is a bug. For checkers.
    #[must_use]
    pub fn miscounted(&self) -> Option<Sym> {
        let wrong = |row: &&NodeRow| {
            let mut used = Resources::default();
            for object in &row.pods {
                if let Some(pod) = self.pods.get(*object) {
                    used.add(&accounted(&pod.pod).requests);
                }
            }
            (used.cpu_milli, used.memory) != (row.used.cpu_milli, row.used.memory)
        };
        self.rows.iter().find(wrong).map(|row| row.name)
    }

    /// The name of the node a pod is on.
    #[must_use]
    pub fn node_of(&self, object: ObjRef) -> Option<Sym> {
        Some(self.rows[self.pods.get(object)?.node as usize].name)
    }

    fn tally(&mut self, index: u32, (pod, devices): (&Pod, Devices), add: bool) {
        self.version += 1;
        let row = &mut self.rows[index as usize];
        row.version = self.version;
        if let Some(gpus) = &mut row.gpus
            && let Some(ask) = GpuAsk::of(&pod.spec.requests)
        {
            gpus.take(ask, devices, add);
        }
        let same = self.priorities.entry(pod.spec.priority).or_default();
        *same = if add { *same + 1 } else { *same - 1 };
        if *same == 0 {
            self.priorities.remove(&pod.spec.priority);
        }
        if let Some(counts) = &mut self.by_group
            && let Some(group) = gang::group_of(pod)
        {
            let count = counts.entry((pod.meta.ns, group)).or_default();
            *count = if add { *count + 1 } else { *count - 1 };
        }
        let amounts = accounted(pod);
        if let Some(sums) = &mut self.by_namespace {
            let sum = sums.entry(pod.meta.ns).or_default();
            if add {
                sum.add(&amounts.requests);
            } else {
                sum.sub(&amounts.requests);
            }
        }
        if add {
            row.used.add(&amounts.requests);
            row.nonzero.0 += amounts.nonzero.0;
            row.nonzero.1 += amounts.nonzero.1;
        } else {
            row.used.sub(&amounts.requests);
            row.nonzero.0 -= amounts.nonzero.0;
            row.nonzero.1 -= amounts.nonzero.1;
        }
        for port in host_ports(&pod.spec) {
            // A set, as upstream: the first of several holders to go frees the port for all.
            row.ports.retain(|p| *p != port);
            if add {
                row.ports.push(port);
            }
        }
        if row.at != NONE && !self.stale_order {
            self.columns.set_used(row.at as usize, row);
        }
        self.counts.count(index, pod, add);
        self.volumes.count(index, pod, add);
    }

    // ----- other objects -----

    /// A namespace changed; none if it is gone.
    pub fn set_namespace(&mut self, ns: Sym, labels: Option<LabelSet>) {
        match labels {
            Some(labels) => self.namespaces.insert(ns, labels),
            None => self.namespaces.remove(&ns),
        };
    }

    /// A service changed; none if it is gone (or has no selector).
    pub fn set_service(&mut self, ns: Sym, name: Name, selector: Option<Selector>) {
        let list = self.services.entry(ns).or_default();
        list.retain(|(n, _)| *n != name);
        list.extend(selector.map(|s| (name, s)));
    }

    /// A disruption budget changed; none if it is gone.
    pub fn set_budget(&mut self, ns: Sym, name: Name, budget: Option<PodDisruptionBudget>) {
        self.budgets.retain(|b| (b.meta.ns, b.meta.name) != (ns, name));
        self.budgets.extend(budget);
    }

    /// An owner of pods changed; none if it is gone.
    pub fn set_owner(&mut self, kind: Kind, ns: Sym, name: Name, selector: Option<Selector>) {
        match selector {
            Some(selector) => self.owners.insert((kind, ns, name), selector),
            None => self.owners.remove(&(kind, ns, name)),
        };
    }
}
