//! A cluster small enough for a table test: the controllers, and an API server that applies each
//! request at once and shows it to the controllers one millisecond later. No kubelets, no
//! scheduler: tests bind pods and make them ready themselves.

#![expect(clippy::wildcard_enum_match_arm, reason = "what the controllers do not send is a panic")]

use super::{ControllerManager, ManagerConfig};
use crate::api::autoscaling::PodMetricsList;
use crate::api::pod::{Condition, ConditionType, Phase, Truth};
use crate::api::request::{ApiError, Op, Outcome, Propagation, Request, Success};
use crate::api::version::KubeVersion;
use crate::api::versions::ObjRef;
use crate::api::{Kind, LabelSet, Meta, Name, Obj, Pod, Uid};
use crate::control_plane::apiserver::handlers::left_over;
use crate::control_plane::apiserver::patch::{
    add_owner, pod_cidr, remove_owners, scale, status_of, volumes_attached,
};
use crate::engine::{Draws, SimDuration, SimTime, Sym};
use crate::event::{Address, ApiEvent, Context, Event, Role, Shared};
use std::sync::Arc;

/// When the tests happen.
pub(super) const EPOCH: u32 = 1_700_000_000;
const LAG: SimDuration = SimDuration::from_millis(1);

/// The cluster under test.
#[derive(Debug)]
pub(super) struct Kit {
    pub(super) shared: Shared,
    pub(super) manager: ControllerManager,
    /// Requests in order: seconds, verb, kind, name, HTTP code.
    pub(super) writes: Vec<(f64, String, Kind, String, u16)>,
    /// Messages of Kubernetes Events in order.
    pub(super) events: Vec<String>,
    /// Requests that answer this error (verb with subresource, kind), so many times.
    pub(super) refuse: Option<(&'static str, Kind, ApiError, u32)>,
    delivered: Vec<u64>,
    uids: u64,
}

impl Kit {
    pub(super) fn new(version: KubeVersion) -> Self {
        Self::with_qps(version, 0.0)
    }

    /// As [`Kit::new`], with a limit on requests per client.
    pub(super) fn with_qps(version: KubeVersion, qps: f64) -> Self {
        let shared = Shared::new(1, version, EPOCH, LAG);
        let config = ManagerConfig { qps, ..ManagerConfig::new(version) };
        let address = Address::new(Role::ControllerManager, 0);
        let manager = ControllerManager::new(address, config, &Draws::new(1));
        Self {
            shared,
            manager,
            writes: Vec::new(),
            events: Vec::new(),
            refuse: None,
            delivered: vec![0; ControllerManager::kinds().len()],
            uids: 0,
        }
    }

    /// Runs for so many seconds of virtual time.
    pub(super) fn run(&mut self, secs: f64) {
        let end = self.shared.now() + SimDuration::from_secs_f64(secs);
        self.deliver();
        while self.shared.queue.next_time().is_some_and(|t| t <= end) {
            let entry = self.shared.pop().unwrap();
            match entry.event {
                Event::Api(ApiEvent::Arrive(id)) => self.api(id, entry.seq),
                Event::Answer { to, token, request } => {
                    let done = self.shared.requests.remove(request).unwrap();
                    let row = u8::try_from(to.index).unwrap();
                    let cx = &mut self.shared.context(entry.seq);
                    self.manager.on_answer(row, token, done.outcome.unwrap(), cx);
                }
                Event::Controller { controller, event } => {
                    self.manager.handle(controller, event, &mut self.shared.context(entry.seq));
                }
                Event::Watch { .. } => self.deliver(),
                other => panic!("{other:?}"),
            }
        }
        self.shared.advance(end);
    }

    /// Hands out everything committed at least the lag ago, in order of revision.
    fn deliver(&mut self) {
        loop {
            let next = ControllerManager::kinds()
                .iter()
                .enumerate()
                .filter_map(|(i, kind)| {
                    let change = self.shared.versions.change(*kind, self.delivered[i])?;
                    (change.time + LAG <= self.shared.now()).then_some((change.rev, i))
                })
                .min();
            let Some((_, i)) = next else { return };
            let kind = ControllerManager::kinds()[i];
            let change = self.shared.versions.change(kind, self.delivered[i]).unwrap().clone();
            let before = change.before.clone();
            self.delivered[i] += 1;
            let seq = change.seq;
            let cx = &mut self.shared.context(seq);
            self.manager.on_change(&change, before.as_ref(), cx);
        }
    }

    fn committed(&mut self) {
        let at = self.shared.now() + LAG;
        self.shared.context(0).schedule(at, Event::Watch { watch: 0 });
    }

    fn api(&mut self, id: crate::engine::id::Id, seq: u64) {
        let flight = self.shared.requests.get(id).unwrap().clone();
        let outcome = self.serve(flight.request, seq);
        let Some((to, token)) = flight.reply else {
            self.shared.requests.remove(id);
            return;
        };
        self.shared.requests.get_mut(id).unwrap().outcome = Some(outcome);
        let at = self.shared.now() + LAG;
        self.shared.context(seq).schedule(at, Event::Answer { to, token, request: id });
    }

    /// Applies a request.
    fn serve(&mut self, request: Request, seq: u64) -> Outcome {
        let (verb, sub) = request.op.verb();
        let verb = format!("{verb}{sub}");
        let kind = request.kind;
        let mut name = request.name.to_string();
        let outcome = match self.refusal(&verb, kind) {
            Some(error) => Err(error),
            None => self.apply(request, seq),
        };
        if let Ok(success) = &outcome {
            name = success.value.key().1.to_string();
        }
        if kind != Kind::Event {
            let code = outcome.as_ref().map_or_else(|e| e.code(), |_| 200);
            self.writes.push((self.shared.now().secs_f64(), verb, kind, name, code));
        }
        outcome
    }

    fn refusal(&mut self, verb: &str, kind: Kind) -> Option<ApiError> {
        let (v, k, error, left) = self.refuse.as_mut()?;
        if *v != verb || *k != kind || *left == 0 {
            return None;
        }
        *left -= 1;
        Some(*error)
    }

    /// Applies a request of the test's user.
    pub(super) fn user(&mut self, kind: Kind, name: &str, op: Op) {
        let ns = if kind.namespaced() { Sym::new("ns") } else { Sym::EMPTY };
        let user = crate::api::request::User::Admin;
        let request = Request { user, kind, ns, name: name.into(), target: None, op };
        self.apply(request, 0).unwrap();
    }

    fn apply(&mut self, request: Request, seq: u64) -> Outcome {
        let Request { kind, ns, name, op, .. } = request;
        match op {
            Op::CreateEvent(event, _) | Op::PatchEvent(event, _) => {
                self.events.push(event.message());
                Ok(Success { object: ObjRef::default(), value: Obj::Event(event) })
            }
            Op::Create { object, generate } => self.create(object, generate, seq),
            Op::DeleteCollection => {
                let all = self.shared.versions.iter(kind).filter(|(_, o)| o.key().0 == ns);
                let all: Vec<(ObjRef, Obj)> = all.map(|(o, v)| (o, v.clone())).collect();
                for (object, value) in all {
                    self.delete(object, value, (None, None), seq);
                }
                let value = left_over(kind, ns, &self.shared.context(0));
                Ok(Success { object: ObjRef::default(), value })
            }
            Op::Metrics(query) => {
                let pods = self.shared.usage.query(ns, &query);
                let pods = pods.ok_or(ApiError::Internal("no metrics".into()))?;
                let list = PodMetricsList { pods, ..PodMetricsList::default() };
                Ok(Success { object: ObjRef::default(), value: Obj::PodMetrics(Arc::new(list)) })
            }
            op => {
                let object = self.shared.versions.find(kind, ns, name).ok_or(ApiError::NotFound)?;
                let old = self.shared.versions.current(kind, object).unwrap().clone();
                if matches!(op, Op::Get) {
                    return Ok(Success { object, value: old });
                }
                self.change(object, &old, op, seq)
            }
        }
    }

    fn create(&mut self, mut object: Obj, generate: bool, seq: u64) -> Outcome {
        self.uids += 1;
        let uid = Uid(self.uids);
        let created = self.shared.context(0).stamp();
        let meta = object.meta_mut().unwrap();
        if generate {
            let code = u32::try_from(self.uids * 7919).unwrap();
            meta.name = Name::suffixed(meta.name.sym(), code);
        }
        (meta.uid, meta.created, meta.generation) = (uid, created, 1);
        if let Obj::Job(job) = &mut object {
            Arc::make_mut(job).generate_selector();
        }
        let (ns, name) = object.key();
        if self.shared.versions.find(object.kind(), ns, name).is_some() {
            return Err(ApiError::AlreadyExists);
        }
        Ok(self.put(None, object, seq))
    }

    fn put(&mut self, object: Option<ObjRef>, value: Obj, seq: u64) -> Success {
        let now = self.shared.now();
        let kind = value.kind();
        let (object, _) = self.shared.versions.put(object, value, now, seq);
        self.committed();
        let value = self.shared.versions.current(kind, object).unwrap().clone();
        Success { object, value }
    }

    fn remove(&mut self, object: ObjRef, old: Obj, seq: u64) -> Success {
        self.shared.versions.delete(old.kind(), object, self.shared.now(), seq);
        self.committed();
        Success { object, value: old }
    }

    fn change(&mut self, object: ObjRef, old: &Obj, op: Op, seq: u64) -> Outcome {
        let mut new = old.clone();
        match op {
            Op::Update(sent) => {
                check_version(&sent, old)?;
                new = status_of(&sent, old);
                let meta = new.meta_mut().unwrap();
                meta.generation += 1;
                let gone = meta.deletion.is_some_and(|d| d.grace_s == 0);
                if gone && meta.finalizers.is_none() {
                    return Ok(self.remove(object, new, seq));
                }
            }
            Op::UpdateStatus(sent) => {
                check_version(&sent, old)?;
                let generation = old.meta().unwrap().generation;
                let annotations = sent.meta().unwrap().annotations.clone();
                new = status_of(old, &sent);
                let meta = new.meta_mut().unwrap();
                (meta.generation, meta.annotations) = (generation, annotations);
            }
            Op::Delete { grace_s, propagation, uid } => {
                if uid.is_some_and(|uid| old.meta().unwrap().uid != uid) {
                    return Err(ApiError::Conflict);
                }
                return Ok(self.delete(object, new, (grace_s, propagation), seq));
            }
            Op::RemoveFinalizer(finalizer) => {
                let meta = new.meta_mut().unwrap();
                let all = meta.finalizers.as_deref().unwrap_or_default();
                let left: Vec<Sym> = all.iter().copied().filter(|f| *f != finalizer).collect();
                let free = left.is_empty() && meta.deletion.is_some_and(|d| d.grace_s == 0);
                meta.finalizers = (!left.is_empty()).then(|| left.into());
                if free {
                    return Ok(self.remove(object, new, seq));
                }
            }
            Op::RemoveOwners(uids) => new = remove_owners(old, &uids),
            Op::AddOwner { owner, uid, finalizer } => {
                new = add_owner(old, owner, uid, finalizer)?;
            }
            Op::PodCidr(cidr) => new = pod_cidr(old, cidr),
            Op::VolumesAttached(list) => new = volumes_attached(old, list),
            Op::PutScale(n) => new = scale(old, n)?,
            Op::Finalize => return Ok(self.remove(object, new, seq)),
            op => patch(&mut new, op),
        }
        Ok(self.put(Some(object), new, seq))
    }

    fn delete(
        &mut self,
        object: ObjRef,
        mut new: Obj,
        (grace_s, propagation): (Option<u32>, Option<Propagation>),
        seq: u64,
    ) -> Success {
        let at = self.shared.context(0).stamp();
        let bound = new.as_pod().is_some_and(|p| !p.node.is_empty() && !p.terminal());
        let grace_s = if bound { grace_s.unwrap_or(30) } else { 0 };
        let meta = new.meta_mut().unwrap();
        let extra = match propagation {
            Some(Propagation::Foreground) => Some(Sym::new("foregroundDeletion")),
            Some(Propagation::Orphan) => Some(Sym::new("orphan")),
            Some(Propagation::Background) | None => None,
        };
        let mut finalizers = meta.finalizers.as_deref().unwrap_or_default().to_vec();
        finalizers.extend(extra);
        if grace_s == 0 && finalizers.is_empty() {
            return self.remove(object, new, seq);
        }
        meta.finalizers = (!finalizers.is_empty()).then(|| finalizers.into());
        meta.deletion = Some(crate::api::meta::Deletion { at, grace_s });
        self.put(Some(object), new, seq)
    }

    /// Changes a pod as scheduler and kubelet would.
    pub(super) fn pod(&mut self, name: &str, f: impl FnOnce(&mut Pod)) {
        let object = self.shared.versions.find(Kind::Pod, "ns".into(), name.into()).unwrap();
        let old = self.shared.versions.current(Kind::Pod, object).unwrap().clone();
        let Obj::Pod(mut pod) = old else { panic!("not a pod") };
        f(Arc::make_mut(&mut pod));
        self.put(Some(object), Obj::Pod(pod), 0);
    }

    /// Binds a pod and makes it run and be ready.
    pub(super) fn start_pod(&mut self, name: &str, node: &str) {
        let transition = self.shared.context(0).stamp();
        self.pod(name, |pod| {
            pod.node = node.into();
            pod.status.phase = Phase::Running;
            pod.status.conditions.set(Condition {
                kind: ConditionType::Ready,
                status: Truth::True,
                reason: Sym::EMPTY,
                message: Sym::EMPTY,
                transition,
            });
        });
    }

    /// All live pods, by creation.
    pub(super) fn pods(&self) -> Vec<Arc<Pod>> {
        let all = self.shared.versions.iter(Kind::Pod).filter_map(|(_, o)| o.as_pod().cloned());
        let mut pods: Vec<Arc<Pod>> = all.collect();
        pods.sort_by_key(|p| p.meta.uid);
        pods
    }

    /// Names of the pods that are active, by creation.
    pub(super) fn active(&self) -> Vec<String> {
        self.pods().iter().filter(|p| p.active()).map(|p| p.meta.name.to_string()).collect()
    }

    /// Binds and starts every pod that waits; ends every pod that is being deleted.
    pub(super) fn kubelets(&mut self) {
        for pod in self.pods() {
            let name = pod.meta.name.to_string();
            if pod.meta.terminating() {
                let op = Op::Delete { grace_s: Some(0), propagation: None, uid: None };
                self.pod(&name, |p| p.status.phase = Phase::Succeeded);
                self.user(Kind::Pod, &name, op);
            } else if pod.node.is_empty() {
                self.start_pod(&name, "n1");
            }
        }
    }

    /// The current object.
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<Obj> {
        let ns = if kind.namespaced() { Sym::new("ns") } else { Sym::EMPTY };
        let object = self.shared.versions.find(kind, ns, name.into())?;
        self.shared.versions.current(kind, object).cloned()
    }

    /// A context outside of any event.
    pub(super) fn cx(&mut self) -> Context<'_> {
        self.shared.context(0)
    }

    /// How many requests of this verb and kind were served since a position of `writes`.
    pub(super) fn count(&self, verb: &str, kind: Kind) -> usize {
        self.writes.iter().filter(|w| w.1 == verb && w.2 == kind && w.4 == 200).count()
    }

    /// Now, in seconds.
    pub(super) fn now(&self) -> SimTime {
        self.shared.now()
    }
}

fn check_version(sent: &Obj, old: &Obj) -> Result<(), ApiError> {
    let version = |o: &Obj| o.meta().unwrap().resource_version;
    if version(sent) != 0 && version(sent) != version(old) {
        return Err(ApiError::Conflict);
    }
    Ok(())
}

/// Patches of pods and nodes.
fn patch(obj: &mut Obj, op: Op) {
    match (obj, op) {
        (Obj::Pod(pod), Op::PodCondition(condition, _)) => {
            Arc::make_mut(pod).status.conditions.set(condition);
        }
        (Obj::Pod(pod), Op::PodStatus(status)) => Arc::make_mut(pod).status = *status,
        (Obj::Node(node), Op::NodeStatus(status)) => Arc::make_mut(node).status = *status,
        (Obj::Node(node), Op::NodeTaints { remove, add }) => {
            let node = Arc::make_mut(node);
            let same = |a: &crate::api::pod::Taint, b: &crate::api::pod::Taint| {
                a.key == b.key && a.effect == b.effect
            };
            let mut taints: Vec<_> = node.taints.to_vec();
            taints.retain(|t| !remove.iter().any(|r| same(t, r)));
            for taint in add.iter() {
                if !taints.iter().any(|t| same(t, taint)) {
                    taints.push(*taint);
                }
            }
            node.taints = taints.into();
        }
        (Obj::Deployment(d), Op::Scale(n)) => {
            let d = Arc::make_mut(d);
            d.replicas = n;
            d.meta.generation += 1;
        }
        (obj, op) => panic!("{op:?} on {obj:?}"),
    }
}

/// Metadata in the tests' namespace.
pub(super) fn meta(name: &str) -> Meta {
    Meta::named("ns".into(), name.into())
}

/// One label.
pub(super) fn label(value: &str) -> LabelSet {
    LabelSet::new([(Sym::new("app"), Sym::new(value))])
}
