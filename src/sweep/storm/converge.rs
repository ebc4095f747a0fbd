//! After the storm: with every fault over, each workload must come to what it wants within
//! [`PATIENCE_S`], or it must be provable from the objects alone that it cannot. The proof is a
//! small model of its own: it reads the store and shares no code with the scheduler's plugins.
//!
//! The reasons that excuse a pod without a node are a closed list: [`Excuse`].

use crate::api::node::{Node, keys};
use crate::api::pod::{ConditionType, Effect, Truth, VolumeSource};
use crate::api::versions::Versions;
use crate::api::workload::Job;
use crate::api::{Kind, Meta, Obj, Pod, Uid};
use crate::cluster::Cluster;
use crate::engine::Sym;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long after the last fault all must be well, virtual seconds: longer than every time-out and
/// back-off of the control plane one after the other, and than the resync of informers (12 to 24
/// hours), which alone wakes a controller that waits for what came and went unseen.
pub const PATIENCE_S: u32 = 25 * 3600;

/// Why a pod cannot have a node, whatever the scheduler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Excuse {
    /// Beside the pods of its priority and higher ones it fits nowhere.
    NoRoom,
    /// Where there is room, a pod stands that it (or that pod) will not stand beside.
    Apart,
    /// Where there is room, it would break a hard spread constraint.
    Spread,
}

/// A workload that is not what it should be, and cannot be excused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray(pub String);

/// What was found when all was quiet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calm {
    /// How often each excuse was needed.
    pub excuses: BTreeMap<Excuse, u32>,
    /// What cannot be excused.
    pub astray: Vec<Astray>,
}

/// The store, by what is asked of it.
struct World<'a> {
    versions: &'a Versions,
    nodes: Vec<&'a Arc<Node>>,
    pods: Vec<&'a Arc<Pod>>,
    by_owner: FxHashMap<Uid, Vec<&'a Arc<Pod>>>,
}

/// Looks at a cluster that should be at rest.
#[must_use]
pub fn look(versions: &Versions) -> Calm {
    let nodes = versions.iter(Kind::Node).filter_map(|(_, o)| o.as_node()).collect();
    let pods: Vec<&Arc<Pod>> = versions.iter(Kind::Pod).filter_map(|(_, o)| o.as_pod()).collect();
    let mut by_owner: FxHashMap<Uid, Vec<&Arc<Pod>>> = FxHashMap::default();
    for pod in &pods {
        if let Some(owner) = pod.meta.controller() {
            by_owner.entry(owner.uid).or_default().push(pod);
        }
    }
    let world = World { versions, nodes, pods, by_owner };
    let mut calm = Calm::default();
    world.nodes(&mut calm);
    world.leftovers(&mut calm);
    for kind in [
        Kind::Deployment,
        Kind::ReplicaSet,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::EndpointSlice,
    ] {
        for (_, object) in versions.iter(kind) {
            world.workload(object, &mut calm);
        }
    }
    calm.astray.sort_by(|a, b| a.0.cmp(&b.0));
    calm
}

/// A row of traffic of which some requests still fail although its Service has ready endpoints, in
/// words. What the rules of nodes say is not asked: only what is in the store.
#[must_use]
pub fn unanswered(cluster: &Cluster) -> Option<String> {
    /// So few may fail: a queue of two hundred is full once in a while.
    const FEW: f64 = 1e-9;
    let shared = cluster.shared();
    let label = Sym::new(crate::api::service::SERVICE_NAME);
    for (spec, flow) in cluster.plan().traffic.iter().zip(&shared.traffic.flows) {
        let slices = shared.versions.iter(Kind::EndpointSlice).filter_map(|(_, obj)| {
            if let Obj::EndpointSlice(slice) = obj { Some(slice) } else { None }
        });
        let own = slices.filter(|slice| {
            let service = slice.meta.labels.get(label);
            slice.meta.ns == spec.ns && service == Some(spec.service.sym())
        });
        let ready = own.flat_map(|slice| slice.endpoints.iter()).filter(|e| e.ready).count();
        let failing: f64 = flow.failing.iter().sum();
        if ready > 0 && failing > FEW * flow.offered {
            return Some(format!(
                "{failing:.3} of {} requests {} per second fail with {ready} endpoints ready: {:?}",
                flow.offered, spec.name, flow.failing
            ));
        }
    }
    None
}

impl Calm {
    fn astray(&mut self, what: String) {
        self.astray.push(Astray(what));
    }
}

/// Room that pods take on a node.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    cpu: i64,
    memory: i64,
    pods: i64,
}

impl<'a> World<'a> {
    /// Machines that are up are Ready and carry no taint of the node controllers.
    fn nodes(&self, calm: &mut Calm) {
        for node in &self.nodes {
            let ready = node.status.conditions.get(ConditionType::Ready);
            if ready.is_none_or(|c| c.status != Truth::True) {
                calm.astray(format!("node {} is not Ready", node.meta.name));
            }
            // A node that the autoscaler would take is the scheduler's last choice as long as that
            // is so.
            let lasting = [keys::CONTROL_PLANE, "DeletionCandidateOfClusterAutoscaler"];
            for taint in node.taints.iter().filter(|t| !lasting.contains(&t.key.as_str())) {
                calm.astray(format!("node {} keeps the taint {}", node.meta.name, taint.key));
            }
        }
    }

    /// Nothing is left half deleted, and nothing without the owner it had.
    fn leftovers(&self, calm: &mut Calm) {
        for pod in &self.pods {
            let name = pod.meta.full_name();
            if pod.meta.terminating() {
                calm.astray(format!("pod {name} is Terminating for ever"));
            }
            let there = |node: &&Arc<Node>| node.meta.name.sym() == pod.node;
            if !pod.node.is_empty() && !self.nodes.iter().any(there) {
                calm.astray(format!("pod {name} is on {}, which is gone", pod.node));
            }
            if let Some(owner) = pod.meta.controller() {
                // Mirror pods belong to their node, which has no namespace.
                let ns = if owner.kind.namespaced() { pod.meta.ns } else { Sym::EMPTY };
                let found = self.versions.find(owner.kind, ns, owner.name);
                let uid =
                    found.and_then(|o| self.versions.current(owner.kind, o)?.meta()).map(|m| m.uid);
                if uid != Some(owner.uid) {
                    calm.astray(format!("pod {name} has outlived its owner {}", owner.name));
                }
            }
        }
    }

    fn owned(&self, meta: &Meta) -> &[&'a Arc<Pod>] {
        self.by_owner.get(&meta.uid).map_or(&[], Vec::as_slice)
    }

    fn workload(&self, object: &Obj, calm: &mut Calm) {
        if let Obj::Deployment(d) = object {
            let sets = self.versions.iter(Kind::ReplicaSet).filter_map(|(_, o)| {
                let Obj::ReplicaSet(set) = o else { return None };
                let mine = set.meta.controller().is_some_and(|o| o.uid == d.meta.uid);
                mine.then_some(set)
            });
            let pods: Vec<_> = sets.flat_map(|s| self.owned(&s.meta)).copied().collect();
            self.replicas("deployment", &d.meta, &pods, d.replicas, calm);
        } else if let Obj::ReplicaSet(set) = object {
            if set.meta.controller().is_none() {
                self.replicas("replicaset", &set.meta, self.owned(&set.meta), set.replicas, calm);
            }
        } else if let Obj::StatefulSet(set) = object {
            self.replicas("statefulset", &set.meta, self.owned(&set.meta), set.replicas, calm);
        } else if let Obj::DaemonSet(set) = object {
            let open = self
                .nodes
                .iter()
                .filter(|n| !n.taints.iter().any(|t| t.key.as_str() == keys::CONTROL_PLANE));
            let n = i32::try_from(open.count()).unwrap_or(i32::MAX);
            self.replicas("daemonset", &set.meta, self.owned(&set.meta), n, calm);
        } else if let Obj::Job(job) = object {
            self.job(job, calm);
        } else if let Obj::EndpointSlice(slice) = object {
            self.endpoints(slice, calm);
        }
    }

    /// A job ends, or goes on as long as one of its pods may run.
    fn job(&self, job: &Job, calm: &mut Calm) {
        let holds = |kind| job.status.conditions.get(kind).is_some_and(|c| c.status == Truth::True);
        if holds(ConditionType::Complete) || holds(ConditionType::Failed) {
            return;
        }
        let active: Vec<_> = self.owned(&job.meta).iter().copied().filter(|p| p.active()).collect();
        let all_wait = active.iter().all(|p| p.node.is_empty());
        if active.is_empty() || !all_wait {
            calm.astray(format!("job {} has not come to an end", job.meta.name));
        }
        for pod in active {
            self.must_wait(pod, calm);
        }
    }

    /// As many pods as wanted, all ready; those that are not are excused one by one.
    fn replicas(&self, kind: &str, meta: &Meta, pods: &[&Arc<Pod>], wanted: i32, calm: &mut Calm) {
        if meta.terminating() {
            calm.astray(format!("{kind} {} is Terminating for ever", meta.name));
        }
        let active: Vec<_> = pods.iter().filter(|p| p.active()).collect();
        let waiting: Vec<_> = active.iter().filter(|p| p.node.is_empty()).collect();
        let ready = active.iter().filter(|p| p.ready()).count();
        let wanted = usize::try_from(wanted).unwrap_or_default();
        for pod in &waiting {
            self.must_wait(pod, calm);
        }
        let unready = active.len() - waiting.len() - ready;
        if unready > 0 {
            calm.astray(format!("{kind} {}: {unready} pods have a node, unready", meta.name));
        }
        // A set that goes in order, or a rollout, waits for the pod that cannot have a node.
        let stuck = !waiting.is_empty();
        if active.len() != wanted && !stuck {
            let n = active.len();
            calm.astray(format!("{kind} {} has {n} pods of {wanted}", meta.name));
        }
    }

    /// The addresses of a Service are those of its ready pods.
    fn endpoints(&self, slice: &crate::api::service::EndpointSlice, calm: &mut Calm) {
        for endpoint in slice.endpoints.iter() {
            let pod = self.pods.iter().find(|p| p.meta.uid == endpoint.uid);
            let ready = pod.is_some_and(|p| p.ready() && !p.meta.terminating());
            if endpoint.ready != ready {
                let (name, pod) = (slice.meta.name, endpoint.pod);
                calm.astray(format!("{name} says that {pod} is ready: {}", endpoint.ready));
            }
        }
    }

    /// A pod without a node must have an excuse.
    fn must_wait(&self, pod: &Pod, calm: &mut Calm) {
        match self.excuse(pod) {
            Some(excuse) => *calm.excuses.entry(excuse).or_default() += 1,
            None => {
                let name = pod.meta.full_name();
                calm.astray(format!("pod {name} waits, though there is a node for it"));
            }
        }
    }

    /// Why the pod cannot have a node; none if it could.
    fn excuse(&self, pod: &Pod) -> Option<Excuse> {
        let mut best = Excuse::NoRoom;
        for node in &self.nodes {
            if !open(node, pod) || !self.room(node, pod) || !self.reaches(node, pod) {
                continue;
            }
            if self.apart(node, pod) {
                best = best.max(Excuse::Apart);
            } else if self.uneven(node, pod) {
                best = best.max(Excuse::Spread);
            } else {
                return None;
            }
        }
        Some(best)
    }

    /// The pod's disks can be had there. A claim without a volume yet can be served anywhere.
    fn reaches(&self, node: &Node, pod: &Pod) -> bool {
        pod.spec.volumes.iter().all(|volume| {
            let VolumeSource::Claim(name, _) = volume.source else { return true };
            let find = |kind, ns, name| {
                let object = self.versions.find(kind, ns, name)?;
                self.versions.current(kind, object)
            };
            let claim = find(Kind::PersistentVolumeClaim, pod.meta.ns, name.into());
            let Some(Obj::PersistentVolumeClaim(claim)) = claim else { return true };
            let Some(Obj::PersistentVolume(disk)) =
                find(Kind::PersistentVolume, Sym::EMPTY, claim.volume)
            else {
                return true;
            };
            disk.reaches(node.meta.labels)
        })
    }

    /// Pods on a node that no pod of this priority may drive away.
    fn staying<'s>(&'s self, node: &'s Node, pod: &'s Pod) -> impl Iterator<Item = &'s Pod> {
        self.pods.iter().map(|p| &***p).filter(move |p| {
            p.node == node.meta.name.sym() && !p.terminal() && p.spec.priority >= pod.spec.priority
        })
    }

    fn room(&self, node: &Node, pod: &Pod) -> bool {
        let mut taken = Taken::default();
        for other in self.staying(node, pod) {
            taken.cpu += other.spec.requests.cpu_milli;
            taken.memory += other.spec.requests.memory;
            taken.pods += 1;
        }
        let (offer, asks) = (&node.status.allocatable, &pod.spec.requests);
        taken.cpu + asks.cpu_milli <= offer.cpu_milli
            && taken.memory + asks.memory <= offer.memory
            && taken.pods < offer.pods
    }

    /// A pod there keeps it away, or it them: by host.
    fn apart(&self, node: &Node, pod: &Pod) -> bool {
        self.staying(node, pod).any(|other| keeps_off(pod, other) || keeps_off(other, pod))
    }

    /// It would stand in a domain that has too many of its kind.
    fn uneven(&self, node: &Node, pod: &Pod) -> bool {
        pod.spec.spread.iter().filter(|c| c.hard).any(|constraint| {
            let domain = |n: &Node| n.meta.labels.get(constraint.topology_key);
            let Some(here) = domain(node) else { return true };
            let mut counts: BTreeMap<&str, i32> = BTreeMap::new();
            for node in &self.nodes {
                if let Some(domain) = domain(node) {
                    counts.entry(domain.as_str()).or_default();
                }
            }
            for other in &self.pods {
                let mine =
                    constraint.selector.as_ref().is_some_and(|s| s.matches(other.meta.labels));
                let counted = mine && other.meta.ns == pod.meta.ns && other.active();
                let on = self.nodes.iter().find(|n| n.meta.name.sym() == other.node);
                if let Some(domain) = on.filter(|_| counted).and_then(|n| domain(n)) {
                    *counts.entry(domain.as_str()).or_default() += 1;
                }
            }
            let least = counts.values().min().copied().unwrap_or_default();
            let there = counts.get(here.as_str()).copied().unwrap_or_default();
            there + 1 - least > constraint.max_skew
        })
    }
}

/// One pod's rule against the other on its host.
fn keeps_off(pod: &Pod, other: &Pod) -> bool {
    let Some(affinity) = &pod.spec.affinity else { return false };
    affinity.anti_required.iter().any(|term| {
        let hosts = term.topology_key == Sym::new(keys::HOSTNAME);
        let selects = term.selector.as_ref().is_some_and(|s| s.matches(other.meta.labels));
        hosts && selects && other.meta.ns == pod.meta.ns
    })
}

/// The node takes new pods, and this one may go there.
fn open(node: &Node, pod: &Pod) -> bool {
    let keeps = |taint: &crate::api::pod::Taint| {
        taint.effect != Effect::PreferNoSchedule
            && !pod.spec.tolerations.iter().any(|t| t.tolerates(taint))
    };
    let pinned = pod.spec.affinity.as_ref().and_then(|a| a.node_required.as_ref());
    let here = pinned.is_none_or(|terms| {
        terms
            .iter()
            .any(|term| term.fields.iter().all(|f| f.values.contains(&node.meta.name.sym())))
    });
    !node.unschedulable && here && !node.taints.iter().any(keeps)
}
