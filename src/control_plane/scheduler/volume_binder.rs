//! What `VolumeBinding` does once a node is chosen (source: `plg/volumebinding/binder.go`). Reserve
//! assumes volumes and claims as they will be; `PreBind` writes them, then looks once a second
//! whether the controller has bound them all; a failure takes everything back and the pod is tried
//! again after a backoff. Since all this takes long, the node is written as the pod's nominated one
//! first, for whoever wonders where it will be (`schedule_one.go` `bindingCycle`).
//!
//! A second at which nothing can have changed is not looked at: a check is armed for the first tick
//! after a delivery about one of the pod's volumes or claims.

use super::cycle::Scheduler;
use super::plugins::volume_binding::{PodVolumes, pod_volumes};
use super::queue::Waiting;
use super::volumes::VolumeIndex;
use crate::api::request::{ApiError, Op, Outcome, Request, User};
use crate::api::storage::{PersistentVolume, PersistentVolumeClaim, bind_volume_to_claim, keys};
use crate::api::versions::ObjRef;
use crate::api::{Kind, Name, Obj, Pod, Uid};
use crate::engine::{Grid, SimDuration, SimTime, Sym};
use crate::event::{Context, Event, SchedulerEvent};
use std::sync::Arc;

/// Marks the tokens of requests about volumes.
pub(super) const VOLUME_TOKEN: u32 = 1 << 31;

/// How often bindings are looked at.
const POLL: SimDuration = SimDuration::from_secs(1);

/// A pod in `PreBind` whose volumes are being bound.
#[derive(Debug, Clone)]
pub(super) struct VolumeWork {
    pub(super) object: ObjRef,
    pub(super) node: Sym,
    pub(super) waiting: Waiting,
    /// Claims and volumes as assumed.
    volumes: PodVolumes,
    /// Resource versions of what has been written: bindings, then claims to provision.
    written: Vec<u64>,
    /// When the writes were done; ticks count from here.
    since: SimTime,
    /// How long the controller may take (`VolumeBindingArgs.bindTimeoutSeconds`).
    timeout: SimDuration,
    armed: Option<SimTime>,
    /// The nomination is being written.
    nominating: bool,
}

/// How bindings stand.
#[derive(Debug, PartialEq, Eq)]
enum Check {
    Bound,
    NotYet,
    Failed(String),
}

/// Assumes what binding a pod on a node takes; gives it in its assumed form.
pub fn reserve(cache: &mut super::cache::Cache, pod: &Pod, at: usize) -> PodVolumes {
    if pod.spec.volumes.is_empty() {
        return PodVolumes::default();
    }
    let found = pod_volumes(cache, pod, at);
    let node = cache.at(at).name;
    let index = &mut cache.volumes;
    let bindings = found.bindings.into_iter().map(|(claim, volume)| {
        let (bound, dirty) = bind_volume_to_claim(&volume, &claim);
        let bound = Arc::new(bound);
        if dirty {
            index.assume_volume(&bound);
        }
        (claim, bound)
    });
    let bindings = bindings.collect();
    let provisions = found.provisions.into_iter().map(|claim| {
        let mut selected = PersistentVolumeClaim::clone(&claim);
        selected.meta.set_annotation(keys::SELECTED_NODE, node.as_str());
        let selected = Arc::new(selected);
        index.assume_claim(&selected);
        selected
    });
    PodVolumes { provisions: provisions.collect(), bindings }
}

/// Unreserve: takes back what was assumed.
pub(super) fn unreserve(index: &mut VolumeIndex, volumes: &PodVolumes) {
    for (_, volume) in &volumes.bindings {
        index.restore_volume(volume.meta.name);
    }
    for claim in &volumes.provisions {
        index.restore_claim(claim.meta.ns, claim.meta.name);
    }
}

impl VolumeWork {
    /// The next write, if one is left.
    fn next_write(&self) -> Option<Obj> {
        let at = self.written.len();
        let bindings = &self.volumes.bindings;
        match bindings.get(at) {
            Some((_, volume)) => Some(Obj::PersistentVolume(Arc::clone(volume))),
            None => {
                let claim = self.volumes.provisions.get(at - bindings.len())?;
                Some(Obj::PersistentVolumeClaim(Arc::clone(claim)))
            }
        }
    }

    fn deadline(&self) -> SimTime {
        self.since + self.timeout
    }

    /// True if the object is one of those that are waited for.
    fn waits_for(&self, value: &Obj) -> bool {
        let (ns, name) = value.key();
        let claim = |c: &Arc<PersistentVolumeClaim>| (c.meta.ns, c.meta.name) == (ns, name);
        if value.kind() == Kind::PersistentVolumeClaim {
            return self.volumes.bindings.iter().any(|(c, _)| claim(c))
                || self.volumes.provisions.iter().any(claim);
        }
        // The volume of a claim that is provisioned has a name that nobody knows yet.
        !self.volumes.provisions.is_empty()
            || self.volumes.bindings.iter().any(|(_, v)| v.meta.name == name)
    }

    /// Source: `checkBindings`.
    fn check(&self, index: &VolumeIndex, labels: crate::api::LabelSet) -> Check {
        for ((claim, volume), written) in self.volumes.bindings.iter().zip(&self.written) {
            let at = (self.node, labels);
            let check = check_binding(index, claim, (volume.meta.name, *written), at);
            if check != Check::Bound {
                return check;
            }
        }
        let written = self.written.iter().skip(self.volumes.bindings.len());
        for (claim, written) in self.volumes.provisions.iter().zip(written) {
            let check = check_provision(index, claim, *written, (self.node, labels));
            if check != Check::Bound {
                return check;
            }
        }
        Check::Bound
    }
}

/// A node by name, with its labels.
type At = (Sym, crate::api::LabelSet);

fn unreachable(volume: &PersistentVolume, (node, labels): At) -> Option<Check> {
    let text = || {
        let name = volume.meta.name;
        let why = "no matching NodeSelectorTerms";
        Check::Failed(format!("pv \"{name}\" node affinity doesn't match node \"{node}\": {why}"))
    };
    (!volume.reaches(labels)).then(text)
}

fn check_binding(
    index: &VolumeIndex,
    claim: &PersistentVolumeClaim,
    (name, written): (Name, u64),
    at: At,
) -> Check {
    let Some(volume) = index.volume(name) else {
        let what = "failed to check binding: could not find v1.PersistentVolume";
        return Check::Failed(format!("{what} \"{name}\""));
    };
    let Some(claim) = index.claim(claim.meta.ns, claim.meta.name) else {
        let what = "failed to check binding: could not find v1.PersistentVolumeClaim";
        return Check::Failed(format!("{what} \"{}\"", claim.meta.full_name()));
    };
    if written > volume.meta.resource_version {
        return Check::NotYet;
    }
    if let Some(failed) = unreachable(volume, at) {
        return failed;
    }
    if volume.claim.is_none_or(|r| r.uid == Uid::default()) {
        return Check::Failed(format!("ClaimRef got reset for pv \"{name}\""));
    }
    if claim.fully_bound() { Check::Bound } else { Check::NotYet }
}

fn check_provision(
    index: &VolumeIndex,
    claim: &PersistentVolumeClaim,
    written: u64,
    at: At,
) -> Check {
    let name = claim.meta.name;
    let Some(claim) = index.claim(claim.meta.ns, name) else {
        let what = "failed to check provisioning pvc: could not find v1.PersistentVolumeClaim";
        return Check::Failed(format!("{what} \"{}\"", claim.meta.full_name()));
    };
    if written > claim.meta.resource_version {
        return Check::NotYet;
    }
    if claim.meta.annotations.is_none() {
        return Check::Failed(format!("selectedNode annotation reset for PVC \"{name}\""));
    }
    if claim.selected_node() != Some(at.0.as_str()) {
        return Check::Failed(format!("provisioning failed for PVC \"{name}\""));
    }
    if !claim.volume.is_empty() {
        let Some(volume) = index.volume(claim.volume) else { return Check::NotYet };
        if let Some(failed) = unreachable(volume, at) {
            return failed;
        }
    }
    if claim.fully_bound() { Check::Bound } else { Check::NotYet }
}

/// How client-go words an error of the API server about an object.
fn words(error: ApiError, value: &Obj) -> String {
    let (plural, name) = (value.kind().plural(), value.key().1);
    if error == ApiError::Conflict {
        let advice = "please apply your changes to the latest version and try again";
        return format!(
            "Operation cannot be fulfilled on {plural} \"{name}\": the object has been modified; \
             {advice}"
        );
    }
    if error == ApiError::NotFound {
        return format!("{plural} \"{name}\" not found");
    }
    format!("{plural} \"{name}\": {}", error.code())
}

impl Scheduler {
    /// `PreBind` begins for a pod with volumes to bind.
    pub(super) fn bind_volumes(
        &mut self,
        (object, node): (ObjRef, Sym),
        waiting: Waiting,
        volumes: PodVolumes,
        cx: &mut Context<'_>,
    ) {
        let nominating =
            self.config.version.nominates_before_binding() && waiting.pod.status.nominated != node;
        let timeout = self.config.profiles[waiting.profile].args.volume_bind_timeout.0;
        let work = VolumeWork {
            object,
            node,
            waiting,
            volumes,
            written: Vec::new(),
            since: cx.now(),
            timeout,
            armed: None,
            nominating,
        };
        let token = self.next_volume_token;
        self.next_volume_token = (token + 1) % VOLUME_TOKEN;
        let meta = &work.waiting.pod.meta;
        let request = Request {
            target: Some(object),
            ..Context::request(User::Scheduler, Kind::Pod, meta.ns, meta.name, Op::Nominate(node))
        };
        self.volume_work.insert(token, work);
        if nominating {
            self.submit_volume(token, request, cx);
        } else {
            self.write_volume(token, cx);
        }
    }

    /// Sends the next write, or begins to poll.
    fn write_volume(&mut self, token: u32, cx: &mut Context<'_>) {
        let Some(work) = self.volume_work.get_mut(&token) else { return };
        let Some(value) = work.next_write() else {
            work.since = cx.now();
            let end = work.deadline();
            cx.schedule(end, Event::Scheduler(SchedulerEvent::PollVolumes(token)));
            self.arm_poll(token, cx);
            return;
        };
        let (ns, name) = value.key();
        let op = Op::Update(value.clone());
        let request = Context::request(User::Scheduler, value.kind(), ns, name, op);
        self.submit_volume(token, request, cx);
    }

    fn submit_volume(&mut self, token: u32, request: Request, cx: &mut Context<'_>) {
        let at = self.requests.reserve(cx.now());
        cx.submit(at, request, Some((self.address, token | VOLUME_TOKEN)));
    }

    /// The answer to a write.
    pub(super) fn on_volume_answer(&mut self, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        let Some(work) = self.volume_work.get_mut(&token) else { return };
        if std::mem::take(&mut work.nominating) {
            // It only helps: a failure is not minded, but what was written is to be taken back if
            // the binding fails.
            if outcome.is_ok() {
                Arc::make_mut(&mut work.waiting.pod).status.nominated = work.node;
            }
            self.write_volume(token, cx);
            return;
        }
        match outcome {
            Ok(success) => {
                let version = success.value.meta().map_or(0, |m| m.resource_version);
                work.written.push(version);
                self.write_volume(token, cx);
            }
            Err(error) => {
                let text = work.next_write().map(|v| words(*error, &v)).unwrap_or_default();
                self.fail_volumes(token, &text, cx);
            }
        }
    }

    /// Arms the next tick of a pod's poll.
    fn arm_poll(&mut self, token: u32, cx: &mut Context<'_>) {
        let Some(work) = self.volume_work.get_mut(&token) else { return };
        if work.nominating || work.next_write().is_some() || work.armed.is_some() {
            return;
        }
        let at = Grid::new(work.since, POLL).after(cx.now()).max(work.since + POLL);
        work.armed = Some(at);
        cx.schedule(at, Event::Scheduler(SchedulerEvent::PollVolumes(token)));
    }

    /// A tick, or the end of the time there is.
    pub(super) fn poll_volumes(&mut self, token: u32, cx: &mut Context<'_>) {
        let Some(work) = self.volume_work.get_mut(&token) else { return };
        let now = cx.now();
        let tick = work.armed.is_some_and(|at| at <= now);
        if tick {
            work.armed = None;
        }
        let Some(labels) = self.cache.node_named(work.node).map(|n| n.meta.labels) else {
            let text = format!("binding volumes: failed to get node \"{}\"", work.node);
            return self.fail_volumes(token, &text, cx);
        };
        if self.cache.pod(work.object).is_none() {
            let text = "binding volumes: pod does not exist any more";
            return self.fail_volumes(token, text, cx);
        }
        match work.check(&self.cache.volumes, labels) {
            Check::Bound if tick => {
                if let Some(work) = self.volume_work.remove(&token) {
                    self.post_binding(work.object, work.node, work.waiting, cx);
                }
            }
            Check::Failed(text) if tick => {
                self.fail_volumes(token, &format!("binding volumes: {text}"), cx);
            }
            Check::Bound | Check::Failed(_) | Check::NotYet => {
                if work.deadline() <= now {
                    let text = "binding volumes: context deadline exceeded";
                    self.fail_volumes(token, text, cx);
                }
            }
        }
    }

    /// Unreserve, and another try after a backoff.
    fn fail_volumes(&mut self, token: u32, text: &str, cx: &mut Context<'_>) {
        let Some(work) = self.volume_work.remove(&token) else { return };
        unreserve(&mut self.cache.volumes, &work.volumes);
        let text = format!("running PreBind plugin \"VolumeBinding\": {text}");
        self.give_up((work.object, work.node), work.waiting, &text, cx);
    }

    /// Something about storage, or the pod itself, has changed: whoever polls looks at it.
    pub(super) fn wake_polls(&mut self, value: &Obj, cx: &mut Context<'_>) {
        if self.volume_work.is_empty() {
            return;
        }
        let woken: Vec<u32> = self
            .volume_work
            .iter()
            .filter(|(_, work)| work.waits_for(value))
            .map(|(token, _)| *token)
            .collect();
        for token in woken {
            self.arm_poll(token, cx);
        }
    }

    /// A pod is gone: its poll finds out at its next tick.
    pub(super) fn wake_poll_of(&mut self, object: ObjRef, cx: &mut Context<'_>) {
        let found = self.volume_work.iter().find(|(_, work)| work.object == object);
        if let Some(token) = found.map(|(token, _)| *token) {
            self.arm_poll(token, cx);
        }
    }
}
