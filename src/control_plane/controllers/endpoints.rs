//! Endpoints: all addresses of a Service in one object, the old form that is still produced
//! (source: `ctl/endpoint/endpoints_controller.go`).

use super::endpointslice::{Services, labels, ports};
use super::support::{Reporter, namespace_going, put, reports, text};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::service::{Address, Endpoints, Service, Subset};
use crate::api::versions::Change;
use crate::api::{Kind, Meta, Obj, Pod};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, SimTime};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What it takes to put an address into subsets and to sort and hash those (`RepackSubsets`). Only
/// then is the object itself read, which is why a large one is hardly ever stale: between an answer
/// and the next request for a hundred addresses lie 1.6 ms at least (recorded in `timelines/07`).
const PER_ADDRESS: SimDuration = SimDuration::from_micros(15);

/// Addresses of one object at most; it is then marked as truncated (source: `maxCapacity`).
const MOST: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// The Endpoints controller.
#[derive(Debug, Clone)]
pub struct EndpointsController {
    reporter: Reporter,
    services: Services,
    /// When the subsets of a Service have been worked out.
    busy: FxHashMap<Key, SimTime>,
}

impl Default for EndpointsController {
    fn default() -> Self {
        let reporter = Reporter::new("endpoint-controller", "endpoint-controller");
        Self { reporter, services: Services::default(), busy: FxHashMap::default() }
    }
}

impl Reconcile for EndpointsController {
    /// True once the object has been written.
    type State = bool;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Obj::Endpoints(own) = &change.value {
            let key = Key { kind: Kind::Service, ns: own.meta.ns, name: own.meta.name };
            if change.deleted && self.services.known(key) {
                wake.push((key, SimDuration::ZERO));
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
        asked: &mut bool,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let kind = Kind::Endpoints;
        if *asked {
            return self.answered(key, answers, cx);
        }
        let found = caches.named(cx.versions(), kind, key.ns, key.name);
        if !self.services.known(key) {
            // The Service is gone, and its endpoints with it: the API server has most often been
            // faster.
            *asked = true;
            self.busy.remove(&key);
            let op = Op::Delete { grace_s: None, propagation: None, uid: None };
            let target = found.map(|(object, _)| object);
            return Next::Call(vec![Call { kind, ns: key.ns, name: key.name, target, op }]);
        }
        let Some(service) = self.services.get(key) else { return Next::Done };
        if let Some(left) = self.works(key, caches, cx) {
            return Next::Requeue(left);
        }
        let wanted = self.wanted(key, &service, caches, cx);
        let call = match found {
            None => {
                let op = Op::Create { object: Obj::Endpoints(Arc::new(wanted)), generate: false };
                Call { kind, ns: key.ns, name: key.name, target: None, op }
            }
            Some((_, Obj::Endpoints(old)))
                if old.subsets == wanted.subsets && old.meta.labels == wanted.meta.labels =>
            {
                return Next::Done;
            }
            Some((object, old)) => {
                let mut new = wanted;
                if let Some(meta) = old.meta() {
                    let Meta { labels, annotations, .. } = new.meta;
                    new.meta = Meta { labels, annotations, ..meta.clone() };
                }
                put(Obj::Endpoints(Arc::new(new)), object)
            }
        };
        *asked = true;
        Next::Call(vec![call])
    }
}

impl EndpointsController {
    /// How long a sync still works before it reads the object.
    fn works(&mut self, key: Key, caches: &Cache, cx: &Context<'_>) -> Option<SimDuration> {
        let n = self.services.pods(key, caches, cx).len() as u64;
        let ready = *self.busy.entry(key).or_insert(cx.now() + PER_ADDRESS.times(n));
        if ready > cx.now() {
            return Some(ready.since(cx.now()));
        }
        self.busy.remove(&key);
        None
    }

    fn answered(&mut self, key: Key, answers: &[Outcome], cx: &Context<'_>) -> Next {
        match answers.first() {
            Some(Ok(_) | Err(ApiError::NotFound)) | None => Next::Done,
            Some(Err(error)) if namespace_going(*error) => Next::Done,
            Some(Err(error)) => {
                if let Some(service) = self.services.get(key) {
                    let message = text(&format!(
                        "Failed to update endpoint: {}",
                        error.message(Kind::Endpoints, key.name)
                    ));
                    let reason = "FailedToUpdateEndpoint";
                    self.reporter.warning(Kind::Endpoints, &service.meta, reason, message, cx);
                }
                Next::Retry
            }
        }
    }

    fn wanted(&self, key: Key, service: &Service, caches: &Cache, cx: &Context<'_>) -> Endpoints {
        let mut subsets: Vec<Subset> = Vec::new();
        let mut n = 0;
        let mut over = false;
        for pod in self.services.pods(key, caches, cx) {
            // Pods that are on their way out are left out here, unless all are wanted.
            if pod.meta.terminating() && !service.publish_not_ready {
                continue;
            }
            n += 1;
            if n > MOST {
                over = true;
                continue;
            }
            let ports = ports(service, &pod);
            if ports.is_empty() && !service.ports.is_empty() {
                continue;
            }
            let at = subsets.iter().position(|s| *s.ports == *ports).unwrap_or_else(|| {
                subsets.push(Subset { ports: ports.into(), ..Subset::default() });
                subsets.len() - 1
            });
            let address = Address {
                ip: pod.status.pod_ip,
                node: pod.node,
                pod: pod.meta.name,
                uid: pod.meta.uid,
            };
            let ready = service.publish_not_ready || pod.ready();
            let list = if ready { &mut subsets[at].ready } else { &mut subsets[at].not_ready };
            list.push(address);
        }
        for subset in &mut subsets {
            subset.ready.sort_by_key(|a| a.ip);
            subset.not_ready.sort_by_key(|a| a.ip);
        }
        let mut meta = Meta { labels: labels(service), ..Meta::named(key.ns, key.name) };
        if over {
            meta.set_annotation(OVER_CAPACITY, "truncated");
        }
        Endpoints { meta, subsets, doc: None }
    }
}
