//! Pod workers: one per pod on the node, addressed by slot and generation in one number, so that an
//! event meant for a pod that is gone finds nobody.

use super::cni::Held;
use super::ending::End;
use super::hooks::Hooked;
use super::memory::Use;
use super::mounts::Mounts;
use super::pulls::Wanting;
use super::runs::Runs;
use crate::api::pod::{Behaviour, Container};
use crate::api::resources::Resources;
use crate::api::versions::ObjRef;
use crate::api::{Name, PodSpec, Stamp, Uid};
use crate::engine::{SimDuration, SimTime, Sym, num};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// How far a pod has come on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for its volumes.
    Mounting,
    /// Waits for its sandbox.
    Sandbox,
    /// Containers are being started; this one (counted over init and app containers) is next.
    Starting(u16),
    /// Every container has been started once.
    Up,
    /// Being deleted: its containers stop.
    Stopping,
    /// All containers have stopped, the last status is on its way.
    Stopped,
    /// Its app containers have ended by themselves, or the kubelet ends it: told, but the phase
    /// waits until nothing runs and the pod is stopped.
    Ending,
    /// The phase is terminal, the sandbox is gone.
    Finished,
    /// Ended by itself, and told to the end.
    Ended,
}

/// A pod worker.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) object: ObjRef,
    pub(super) ns: Sym,
    pub(super) name: Name,
    pub(super) uid: Uid,
    pub(super) spec: Arc<PodSpec>,
    pub(super) stage: Stage,
    /// Init containers, then app containers.
    pub(super) runs: Runs,
    pub(super) ip: u32,
    pub(super) start: Stamp,
    /// Something changed that no status patch has reported.
    pub(super) dirty: bool,
    /// The last step on the pod: the cause of the next report.
    pub(super) cause: u64,
    /// Gate for the DELETE: the last status patch has been answered.
    pub(super) final_patch: bool,
    /// What few pods need.
    pub(super) rare: Option<Box<Rare>>,
}

/// What few pods need.
#[derive(Debug, Clone, Default)]
pub(super) struct Rare {
    /// The API server says of it what the kubelet has not told.
    pub(super) differs: bool,
    /// When the containers must be killed.
    deadline: Option<SimTime>,
    /// When its probes were registered: their ticks count from there.
    probing: SimTime,
    /// When the worker wakes by its own clock.
    pub(super) wake: Option<SimTime>,
    /// Why the kubelet ends the pod.
    pub(super) end: Option<End>,
    /// A `postStart` hook under way.
    pub(super) hooked: Option<Hooked>,
    /// When its containers were told to stop, and their grace: for sidecars, which take turns.
    pub(super) stopping: Option<(SimTime, SimDuration)>,
    /// Containers that wait for their images.
    pub(super) wanting: SmallVec<[Wanting; 1]>,
    /// Volumes that are more than a directory: disks, ConfigMaps, Secrets.
    pub(super) mounts: Option<Box<Mounts>>,
    /// What its containers use, as far as the scenario says.
    pub(super) uses: SmallVec<[Use; 2]>,
    /// When its program is told to stop, if requests come to it.
    pub(super) quits: Option<SimTime>,
    /// What it waits for, of the node's network.
    pub(super) held: Held,
    /// Sandboxes that could not be made.
    pub(super) sandboxes: u16,
}

impl Worker {
    /// Number of init containers.
    pub(super) fn n_init(&self) -> usize {
        self.spec.init_containers.len()
    }

    /// True if its Events may repeat each other or be too many: its containers end, or are found
    /// unready. Others say each thing once, which costs nothing to remember.
    pub(super) fn repeats(&self) -> bool {
        /// Events of a container that starts and stops, and the bucket of an object.
        const PER_CONTAINER: usize = 4;
        const BUCKET: usize = 25;
        let behaviour = &self.spec.behaviour;
        self.runs.len() * PER_CONTAINER > BUCKET
            || behaviour.exit_after_ns.is_some()
            || behaviour.work.is_some()
            || behaviour.ready_after_ns > 0
            || behaviour.probing.is_some()
            || self.rare().is_some_and(|r| !r.wanting.is_empty() || r.held != Held::No)
    }

    /// The container with this number.
    pub(super) fn container(&self, i: usize) -> &Container {
        self.spec.container(i)
    }

    /// How the container with this number behaves.
    pub(super) fn behaviour(&self, i: usize) -> &Behaviour {
        self.spec.behaviour_of(i)
    }

    /// True if the container with this number is a sidecar.
    pub(super) fn sidecar(&self, i: usize) -> bool {
        i < self.n_init() && self.spec.init_containers[i].sidecar
    }

    /// True if the container with this number is the one that is being started.
    pub(super) fn starting(&self, i: usize) -> bool {
        matches!(self.stage, Stage::Starting(at) if usize::from(at) == i)
    }

    /// True until its containers have stopped for good (source: `kubelet_pods.go`
    /// `filterOutInactivePods`).
    pub(super) fn holds(&self) -> bool {
        !matches!(self.stage, Stage::Stopped | Stage::Finished | Stage::Ended)
    }

    /// When the containers must be killed; never unless the pod is to go.
    pub(super) fn deadline(&self) -> SimTime {
        self.rare().and_then(|r| r.deadline).unwrap_or(SimTime::MAX)
    }

    /// Sets it.
    pub(super) fn set_deadline(&mut self, deadline: SimTime) {
        self.rare_mut().deadline = Some(deadline);
    }

    /// When its probes were registered: their ticks count from there.
    pub(super) fn probing(&self) -> SimTime {
        self.rare().map_or(SimTime::ZERO, |r| r.probing)
    }

    /// Its probes, if it has any, are registered.
    pub(super) fn probes_from(&mut self, at: SimTime) {
        let asked = |i: usize| {
            let (container, behaviour) = (self.container(i), self.behaviour(i));
            let own = [container.startup, container.liveness, container.readiness];
            let told = behaviour.probing.is_some() || behaviour.ready_after_ns > 0;
            told || own.iter().any(Option::is_some)
        };
        if (0..self.runs.len()).any(asked) {
            self.rare_mut().probing = at;
        }
    }

    /// What few pods need, if this one does.
    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    /// What few pods need.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// The workers of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    slots: Vec<Option<Worker>>,
    /// How often each slot has been left.
    generations: Vec<u16>,
    free: Vec<u16>,
    by_object: FxHashMap<ObjRef, u32>,
    /// Requests of the pods that hold resources, and their number.
    held: Resources,
    holding: usize,
}

/// Room for so many more pods is made at a time.
const SLOTS: usize = 8;

impl Workers {
    /// Adds a worker; gives its number.
    pub(super) fn insert(&mut self, worker: Worker) -> u32 {
        let object = worker.object;
        self.held.add(&worker.spec.requests);
        self.holding += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.slots.len() == self.slots.capacity() {
                // By and by: nodes are many, and none needs room for twice its pods.
                self.slots.reserve_exact(SLOTS);
                self.generations.reserve_exact(SLOTS);
            }
            self.slots.push(None);
            self.generations.push(0);
            u16::try_from(self.slots.len() - 1).expect("fewer than 65,536 pods on a node")
        });
        self.slots[usize::from(slot)] = Some(worker);
        let id = self.id(usize::from(slot));
        self.by_object.insert(object, id);
        id
    }

    /// The number of whoever is in a slot.
    fn id(&self, slot: usize) -> u32 {
        u32::from(self.generations[slot]) << 16 | num::u32_of(slot)
    }

    /// The slot of a number, if it is still that worker's.
    fn slot(&self, id: u32) -> Option<usize> {
        let slot = (id & 0xffff) as usize;
        (self.generations.get(slot).copied().map(u32::from) == Some(id >> 16)).then_some(slot)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Worker> {
        let slot = self.slot(id)?;
        self.slots[slot].as_mut()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Worker> {
        self.slots[self.slot(id)?].as_ref()
    }

    /// The worker of an object.
    pub(super) fn find(&self, object: ObjRef) -> Option<u32> {
        self.by_object.get(&object).copied()
    }

    /// The worker of the pod with this identity.
    pub(super) fn with_uid(&self, uid: Uid) -> Option<&Worker> {
        self.slots.iter().flatten().find(|w| w.uid == uid)
    }

    pub(super) fn remove(&mut self, id: u32) {
        let Some(slot) = self.slot(id) else { return };
        if let Some(worker) = self.slots[slot].take() {
            self.by_object.remove(&worker.object);
            if worker.holds() {
                self.held.sub(&worker.spec.requests);
                self.holding -= 1;
            }
            self.generations[slot] = self.generations[slot].wrapping_add(1);
            self.free.push(u16::try_from(slot).unwrap_or_default());
        }
    }

    /// Another object stands for the pod from now on.
    pub(super) fn rename(&mut self, id: u32, object: ObjRef) {
        let Some(worker) = self.get_mut(id) else { return };
        let old = std::mem::replace(&mut worker.object, object);
        self.by_object.remove(&old);
        self.by_object.insert(object, id);
    }

    /// A pod comes to this stage.
    pub(super) fn enter(&mut self, id: u32, stage: Stage) {
        let Some(worker) = self.get_mut(id) else { return };
        let held = worker.holds();
        worker.stage = stage;
        if held && !worker.holds() {
            let spec = Arc::clone(&worker.spec);
            self.held.sub(&spec.requests);
            self.holding -= 1;
        }
    }

    /// Requests of the pods that hold resources of the node, and their number.
    pub(super) fn held(&self) -> (&Resources, usize) {
        (&self.held, self.holding)
    }

    /// Pods that hold resources of the node, in slot order.
    pub(super) fn active(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().flatten().filter(|w| w.holds())
    }

    /// Numbers of all workers, in slot order.
    pub(super) fn ids(&self) -> Vec<u32> {
        let taken = |slot: &usize| self.slots[*slot].is_some();
        (0..self.slots.len()).filter(taken).map(|slot| self.id(slot)).collect()
    }

    /// The specs of pods whose containers run, or will.
    pub(super) fn holding(&self) -> impl Iterator<Item = &PodSpec> + '_ {
        self.active().map(|w| &*w.spec)
    }

    /// Numbers of workers with something to report, in slot order.
    pub(super) fn dirty(&self) -> SmallVec<[u32; 8]> {
        let dirty = |slot: &usize| self.slots[*slot].as_ref().is_some_and(|w| w.dirty);
        (0..self.slots.len()).filter(dirty).map(|slot| self.id(slot)).collect()
    }

    /// Objects of all workers, in slot order.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjRef> + '_ {
        self.slots.iter().flatten().map(|w| w.object)
    }
}

const _: () = assert!(size_of::<Option<Worker>>() <= 104, "there is one for each pod");
