//! `EndpointSlices`: the addresses behind a Service, up to a hundred each
//! (source: `ctl/endpointslice/endpointslice_controller.go`; how they are packed stands in
//! `slicepacking`).

use super::members::Members;
use super::slicepacking::{self, Group, Packed, Slice};
use super::support::{Reporter, delete, namespace_going, put, reports, text};
use super::topologyhints::{self as hints, PerZone};
use crate::api::node::keys;
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::service::{
    Distribution, Endpoint, EndpointPort, EndpointSlice, SERVICE_NAME, Service, ServicePort,
    TargetPort,
};
use crate::api::versions::Change;
use crate::api::{Kind, LabelSet, Meta, Obj, Owner, Pod};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Services as read, and the pods that each selects.
#[derive(Debug, Clone, Default)]
pub(super) struct Services {
    read: FxHashMap<Key, Arc<Service>>,
    members: Members,
}

impl Services {
    /// A delivery about a Service or a pod: the Services to look at.
    pub(super) fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Obj::Generic(Kind::Service, object) = &change.value {
            let key = Key::of(&change.value);
            if change.deleted {
                self.read.remove(&key);
                self.members.set(key, None, caches, cx);
            } else {
                let service = Service::of(object);
                let selector = service.selector.clone().filter(|_| !service.external_name);
                self.members.set(key, selector, caches, cx);
                self.read.insert(key, Arc::new(service));
            }
            wake.push((key, SimDuration::ZERO));
            return;
        }
        let Some(pod) = change.value.as_pod() else { return };
        let was = before.and_then(Obj::as_pod);
        let touched = self.members.on_pod(change, before);
        let news = change.deleted || was.is_none_or(|was| differs(was, pod));
        if news {
            wake.extend(touched.into_iter().map(|key| (key, SimDuration::ZERO)));
        }
    }

    /// A Service that somebody keeps the endpoints of.
    pub(super) fn get(&self, key: Key) -> Option<Arc<Service>> {
        self.read.get(&key).filter(|s| s.selector.is_some() && !s.external_name).map(Arc::clone)
    }

    /// True if there are no Services that select pods.
    pub(super) fn none(&self) -> bool {
        self.members.none()
    }

    pub(super) fn known(&self, key: Key) -> bool {
        self.read.contains_key(&key)
    }

    /// Its pods that have an address and have not ended.
    pub(super) fn pods(&self, key: Key, caches: &Cache, cx: &Context<'_>) -> Vec<Arc<Pod>> {
        let all = self
            .members
            .of(key)
            .filter_map(|object| caches.get(cx.versions(), Kind::Pod, object)?.as_pod().cloned());
        all.filter(|pod| pod.status.pod_ip != 0 && !pod.terminal()).collect()
    }
}

/// What of a pod its endpoints show. Source: `podEndpointsChanged`.
fn differs(old: &Pod, new: &Pod) -> bool {
    old.meta.labels != new.meta.labels
        || old.ready() != new.ready()
        || old.status.pod_ip != new.status.pod_ip
        || old.node != new.node
        || old.meta.terminating() != new.meta.terminating()
        || old.terminal() != new.terminal()
}

/// The ports of a Service as a pod has them; those it has not are left out.
/// Source: `getEndpointPorts`, `FindPort`.
pub(super) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let number = |port: &ServicePort| match port.target {
        TargetPort::Number(number) => Some(number),
        TargetPort::Name(name) => {
            let all = pod
                .spec
                .containers
                .iter()
                .chain(pod.spec.init_containers.iter().filter(|c| c.sidecar));
            let mut named = all.flat_map(|c| &c.ports);
            named.find(|p| p.name == name && p.protocol == port.protocol).map(|p| p.container_port)
        }
    };
    let one = |port: &ServicePort| {
        Some(EndpointPort { name: port.name, protocol: port.protocol, port: number(port)? })
    };
    service.ports.iter().filter_map(one).collect()
}

/// Labels of a Service's endpoints: its own, and what tells that they are its.
pub(super) fn labels(service: &Service) -> LabelSet {
    if service.headless {
        service.meta.labels.with(HEADLESS.into(), Sym::EMPTY)
    } else {
        service.meta.labels
    }
}

/// The EndpointSlice controller.
#[derive(Debug, Clone)]
pub struct EndpointSliceController {
    reporter: Reporter,
    services: Services,
    /// The newest revision that was written for each Service: until the cache shows it, its slices
    /// are not what they seem (source: `endpointslice_tracker.go` `StaleSlices`).
    written: FxHashMap<Key, u64>,
    zone: Sym,
    /// Services whose endpoints have hints by topology, and how many each zone has.
    hinted: BTreeMap<String, (Key, PerZone<i32>)>,
    /// The shares of the zones, and the revision of nodes that they were worked out from.
    ratios: (u64, Option<PerZone<f64>>),
}

impl Default for EndpointSliceController {
    fn default() -> Self {
        let name = "endpointslice-controller";
        Self {
            reporter: Reporter::new(name, "endpoint-slice-controller"),
            services: Services::default(),
            written: FxHashMap::default(),
            zone: keys::ZONE.into(),
            hinted: BTreeMap::new(),
            ratios: (0, None),
        }
    }
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    asked: bool,
    /// The node of some pod is not known yet.
    incomplete: bool,
}

impl Reconcile for EndpointSliceController {
    type State = State;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Obj::EndpointSlice(slice) = &change.value {
            // One that somebody else has deleted is made again.
            let name = slice.meta.labels.get(SERVICE_NAME.into()).filter(|_| change.deleted);
            if let Some(name) = name {
                let key = Key { kind: Kind::Service, ns: slice.meta.ns, name: name.into() };
                if self.services.known(key) {
                    wake.push((key, SimDuration::ZERO));
                }
            }
            return;
        }
        if let Some(node) = change.value.as_node() {
            let was = before.and_then(Obj::as_node).and_then(|n| hints::weight(n));
            let is = hints::weight(node).filter(|_| !change.deleted);
            if was != is && !self.hinted.is_empty() {
                self.wake_overloaded(caches, cx, wake);
            }
            return;
        }
        self.services.on_change(change, before, caches, cx, wake);
    }

    fn ignores(&self, _pod: &Pod) -> bool {
        self.services.none()
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(service) = self.services.get(key) else {
            self.written.remove(&key);
            self.hinted.remove(&key_text(key));
            return Next::Done;
        };
        if state.asked {
            return self.written(key, &service, state, answers, cx);
        }
        if self.written.get(&key).is_some_and(|rev| caches.rev(Kind::EndpointSlice) < *rev) {
            return Next::Retry;
        }
        let (mut wanted, incomplete) = self.wanted(key, &service, caches, cx);
        state.incomplete = incomplete;
        let slices: Vec<Slice> = caches
            .owned(service.meta.uid, Kind::EndpointSlice)
            .filter_map(|object| {
                let found = caches.get(cx.versions(), Kind::EndpointSlice, object)?;
                let Obj::EndpointSlice(slice) = found else { return None };
                (!slice.meta.terminating()).then(|| (object, Arc::clone(slice)))
            })
            .collect();
        let blank = blank(&service);
        let auto = hints::asked(&service);
        if auto {
            keep_hints(&mut wanted, &slices);
        }
        let mut packed = slicepacking::pack(&slices, wanted, blank.meta.labels);
        if auto || self.hinted.contains_key(&key_text(key)) {
            self.hint((key, &service, auto), &mut packed, &slices, caches, cx);
        }
        let calls = calls(packed, &blank);
        if calls.is_empty() {
            return if incomplete { Next::Retry } else { Next::Done };
        }
        state.asked = true;
        Next::Call(calls)
    }
}

/// What orders the Services.
fn key_text(key: Key) -> String {
    format!("{}/{}", key.ns, key.name)
}

/// Endpoints that are there keep their hints for the comparison, which is about the rest.
fn keep_hints(wanted: &mut [Group], slices: &[Slice]) {
    let there: FxHashMap<_, Sym> = slices
        .iter()
        .flat_map(|(_, slice)| slice.endpoints.iter())
        .map(|e| (e.uid, e.hint_zone))
        .collect();
    for endpoint in wanted.iter_mut().flat_map(|(_, list)| list) {
        endpoint.hint_node = Sym::EMPTY;
        endpoint.hint_zone = there.get(&endpoint.uid).copied().unwrap_or_default();
    }
}

impl EndpointSliceController {
    /// The shares of the zones as the cache knows the nodes.
    fn shares(&mut self, caches: &Cache, cx: &Context<'_>) -> Option<&PerZone<f64>> {
        let rev = caches.rev(Kind::Node);
        if self.ratios.0 != rev {
            let nodes = caches.list(Kind::Node).iter().filter_map(|object| {
                hints::weight(caches.get(cx.versions(), Kind::Node, *object)?.as_node()?)
            });
            self.ratios = (rev, hints::ratios(nodes));
        }
        self.ratios.1.as_ref()
    }

    /// Services that have too few endpoints in some zone since its nodes changed.
    fn wake_overloaded(
        &mut self,
        caches: &Cache,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.shares(caches, cx);
        let ratios = self.ratios.1.as_ref();
        let all = self.hinted.values().filter(|(_, given)| hints::overloaded(given, ratios));
        wake.extend(all.map(|(key, _)| (*key, SimDuration::ZERO)));
    }

    /// Adds or takes away hints, and says so when that is news.
    fn hint(
        &mut self,
        (key, service, auto): (Key, &Service, bool),
        packed: &mut Packed,
        slices: &[Slice],
        caches: &Cache,
        cx: &Context<'_>,
    ) {
        let name = key_text(key);
        let (warning, message) = if auto {
            self.shares(caches, cx);
            match hints::add(packed, slices, self.ratios.1.as_ref()) {
                Ok(given) => {
                    if self.hinted.insert(name, (key, given)).is_some() {
                        return;
                    }
                    (false, "Topology Aware Hints has been enabled".to_owned())
                }
                Err(why) => {
                    self.hinted.remove(&name);
                    (true, why)
                }
            }
        } else {
            self.hinted.remove(&name);
            hints::remove(packed, slices);
            (false, "Topology Aware Hints has been disabled".to_owned())
        };
        let on = !warning && auto;
        let reason = if on { "TopologyAwareHintsEnabled" } else { "TopologyAwareHintsDisabled" };
        let message = text(&format!("{message}, addressType: IPv4"));
        if warning {
            self.reporter.warning(Kind::Service, &service.meta, reason, message, cx);
        } else {
            self.reporter.normal(Kind::Service, &service.meta, reason, message, cx);
        }
    }

    /// Endpoints by the ports that their pods have; true if some node is not known.
    fn wanted(
        &self,
        key: Key,
        service: &Service,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> (Vec<Group>, bool) {
        let mut wanted: Vec<Group> = Vec::new();
        let mut incomplete = false;
        for pod in self.services.pods(key, caches, cx) {
            let found = caches.named(cx.versions(), Kind::Node, Sym::EMPTY, pod.node.into());
            let Some(node) = found.and_then(|(_, obj)| obj.as_node()) else {
                incomplete = true;
                continue;
            };
            let zone = node.meta.labels.get(self.zone).unwrap_or_default();
            let endpoint = endpoint(service, &pod, zone);
            let ports = ports(service, &pod);
            match wanted.iter_mut().find(|(p, _)| *p == ports) {
                Some((_, list)) => list.push(endpoint),
                None => wanted.push((ports, vec![endpoint])),
            }
        }
        (wanted, incomplete)
    }

    fn written(
        &mut self,
        key: Key,
        service: &Service,
        state: &State,
        answers: &[Outcome],
        cx: &Context<'_>,
    ) -> Next {
        let mut failed = state.incomplete;
        for answer in answers {
            match answer {
                Ok(success) => {
                    let rev = success.value.meta().map_or(0, |m| m.resource_version);
                    let newest = self.written.entry(key).or_default();
                    *newest = rev.max(*newest);
                }
                Err(ApiError::NotFound) => {}
                // In a namespace that is going away there is nothing left to do.
                Err(error) if namespace_going(*error) => {}
                Err(error) => {
                    failed = true;
                    let message = format!(
                        "Error updating Endpoint Slices for Service {}: {}",
                        service.meta.full_name(),
                        error.message(Kind::EndpointSlice, key.name)
                    );
                    let reason = "FailedToUpdateEndpointSlices";
                    let (kind, message) = (Kind::Service, text(&message));
                    self.reporter.warning(kind, &service.meta, reason, message, cx);
                }
            }
        }
        if failed { Next::Retry } else { Next::Done }
    }
}

/// Source: `podToEndpoint`; hints of `trafficDistribution` go to ready endpoints
/// (source: `endpointslice/trafficdist/trafficdist.go`).
fn endpoint(service: &Service, pod: &Pod, zone: Sym) -> Endpoint {
    let (serving, terminating) = (pod.ready(), pod.meta.terminating());
    let ready = service.publish_not_ready || serving && !terminating;
    let near = service.distribution != Distribution::None && ready;
    let same_node = service.distribution == Distribution::SameNode && ready;
    Endpoint {
        ip: pod.status.pod_ip,
        ready,
        serving,
        terminating,
        node: pod.node,
        zone,
        hint_zone: if near { zone } else { Sym::EMPTY },
        hint_node: if same_node { pod.node } else { Sym::EMPTY },
        pod: pod.meta.name,
        uid: pod.meta.uid,
    }
}

/// A slice of a Service, with nothing in it.
fn blank(service: &Service) -> EndpointSlice {
    let labels = labels(service)
        .with(SERVICE_NAME.into(), service.meta.name.sym())
        .with(MANAGED_BY.into(), "endpointslice-controller.k8s.io".into());
    let owner = Owner {
        kind: Kind::Service,
        name: service.meta.name,
        uid: service.meta.uid,
        controller: true,
        block_owner_deletion: true,
    };
    let meta = Meta {
        labels,
        owners: Some([owner].into()),
        ..Meta::named(service.meta.ns, service.meta.name)
    };
    EndpointSlice { meta, ..EndpointSlice::default() }
}

/// What is to be written: creations first, deletions last.
fn calls(packed: Packed, blank: &EndpointSlice) -> Vec<Call> {
    let kind = Kind::EndpointSlice;
    let mut calls = Vec::new();
    for (ports, endpoints) in packed.create {
        let slice =
            EndpointSlice { ports: ports.into(), endpoints: endpoints.into(), ..blank.clone() };
        let op = Op::Create { object: Obj::EndpointSlice(Arc::new(slice)), generate: true };
        calls.push(Call { kind, ns: blank.meta.ns, name: blank.meta.name, target: None, op });
    }
    for ((object, slice), (ports, endpoints)) in packed.update {
        let mut slice =
            EndpointSlice { ports: ports.into(), endpoints: endpoints.into(), ..(*slice).clone() };
        slice.meta.labels = blank.meta.labels;
        calls.push(put(Obj::EndpointSlice(Arc::new(slice)), object));
    }
    calls.extend(
        packed.delete.iter().map(|(object, slice)| delete(kind, &slice.meta, Some(*object))),
    );
    calls
}
