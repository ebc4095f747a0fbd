//! The service controller: a Service of type `LoadBalancer` gets one of the cloud's, whose address
//! is written to its status, and which sends to the nodes of the cluster
//! (source: `cprov/controllers/service/controller.go`).

use super::Desk;
use crate::api::node::Node;
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::Generic;
use crate::api::{Kind, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::control_plane::controllers::{Reporter, reports};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use crate::event::cloud::{CloudAnswer, CloudOp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The finalizer of a Service whose load balancer is to be taken down first.
const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
/// Label of nodes that load balancers leave out.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Taint of nodes that the cluster autoscaler takes away.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// The service controller.
#[derive(Debug, Clone)]
pub(super) struct ServiceController {
    reporter: Reporter,
    pub(super) desk: Desk,
    /// Services with a load balancer, and the nodes it was last told of.
    balanced: BTreeMap<String, (Key, Arc<[Sym]>)>,
}

impl Default for ServiceController {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("service-controller", "service-controller"),
            desk: Desk::new(super::SERVICE),
            balanced: BTreeMap::new(),
        }
    }
}

/// How far a sync is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum State {
    /// It begins.
    #[default]
    Begin,
    /// The finalizer has been written.
    Finalized,
    /// The cloud has been asked for a load balancer that sends to these nodes.
    Asked(Arc<[Sym]>),
    /// The cloud has been asked to take it down.
    Dropping,
    /// The last write of the sync is on its way.
    Written,
}

fn text<'a>(doc: &'a Value, path: &str) -> Option<&'a str> {
    doc.pointer(path)?.as_str()
}

/// Source: `wantsLoadBalancer`.
fn wants(service: &Generic) -> bool {
    text(&service.doc, "/spec/type") == Some("LoadBalancer")
        && service.doc.pointer("/spec/loadBalancerClass").is_none()
        && !service.meta.terminating()
}

fn address(service: &Generic) -> Option<&str> {
    text(&service.doc, "/status/loadBalancer/ingress/0/ip")
}

/// Source: `stableNodeSetPredicates`: readiness is none of them, since a load balancer has health
/// checks of its own.
fn serves(node: &Node) -> bool {
    !node.provider_id.is_empty()
        && !node.meta.terminating()
        && node.meta.labels.get(EXCLUDED.into()).is_none()
        && !node.taints.iter().any(|t| t.key.as_str() == TO_BE_DELETED)
}

fn nodes(caches: &Cache, cx: &Context<'_>) -> Arc<[Sym]> {
    let node = |o: &ObjRef| caches.get(cx.versions(), Kind::Node, *o)?.as_node().cloned();
    let all = caches.list(Kind::Node).iter().filter_map(node).filter(|n| serves(n));
    let mut names: Vec<Sym> = all.map(|n| n.meta.name.sym()).collect();
    names.sort_by(|a, b| a.cmp_text(*b));
    names.into()
}

/// What the cloud calls the load balancer of a Service (source: `DefaultLoadBalancerName`).
fn balancer(key: Key) -> Sym {
    Sym::new(&format!("{}/{}", key.ns, key.name))
}

fn found<'v>(key: Key, caches: &Cache, cx: &'v Context<'_>) -> Option<(ObjRef, &'v Arc<Generic>)> {
    let (target, obj) = caches.named(cx.versions(), Kind::Service, key.ns, key.name)?;
    let Obj::Generic(Kind::Service, service) = obj else { return None };
    Some((target, service))
}

fn call(key: Key, target: ObjRef, op: Op) -> Next {
    let (ns, name) = (key.ns, key.name);
    Next::Call(vec![Call { kind: Kind::Service, ns, name, target: Some(target), op }])
}

impl ServiceController {
    fn begin(
        &mut self,
        (key, state): (Key, &mut State),
        (target, service): (ObjRef, &Arc<Generic>),
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let (meta, held) = (service.meta.clone(), service.meta.has_finalizer(FINALIZER));
        let known = self.balanced.get(balancer(key).as_str()).map(|(_, nodes)| Arc::clone(nodes));
        if !wants(service) {
            if !held && known.is_none() {
                return Next::Done;
            }
            let words = "Deleting load balancer";
            self.reporter.say(Kind::Service, &meta, "DeletingLoadBalancer", words, cx);
            *state = State::Dropping;
            self.desk.ask(key, CloudOp::Unbalance { balancer: balancer(key) }, cx);
            return Next::Wait;
        }
        let nodes = nodes(caches, cx);
        if held && address(service).is_some() && known.is_some_and(|told| told == nodes) {
            return Next::Done;
        }
        if held {
            return self.ensure((key, state), service, nodes, cx);
        }
        let words = "Ensuring load balancer";
        self.reporter.say(Kind::Service, &meta, "EnsuringLoadBalancer", words, cx);
        *state = State::Finalized;
        let mut new = Generic::clone(service);
        let old = new.meta.finalizers.iter().flat_map(|f| f.iter()).copied();
        new.meta.finalizers = Some(old.chain([Sym::new(FINALIZER)]).collect());
        call(key, target, Op::Update(Obj::Generic(Kind::Service, Arc::new(new))))
    }

    fn ensure(
        &mut self,
        (key, state): (Key, &mut State),
        service: &Arc<Generic>,
        nodes: Arc<[Sym]>,
        cx: &mut Context<'_>,
    ) -> Next {
        if nodes.is_empty() {
            let words = "There are no available nodes for LoadBalancer";
            let meta = service.meta.clone();
            self.reporter.warn(Kind::Service, &meta, "UnAvailableLoadBalancer", words, cx);
        }
        *state = State::Asked(Arc::clone(&nodes));
        self.desk.ask(key, CloudOp::Balance { balancer: balancer(key), nodes }, cx);
        Next::Wait
    }

    fn ensured(
        &mut self,
        (key, state): (Key, &mut State),
        (target, service): (ObjRef, &Arc<Generic>),
        (told, answer): (&Arc<[Sym]>, Option<CloudAnswer>),
        cx: &mut Context<'_>,
    ) -> Next {
        let meta = service.meta.clone();
        let ip = match answer {
            Some(CloudAnswer::Address(ip)) => ip,
            Some(CloudAnswer::Failed(error)) => {
                let words = format!(
                    "Error syncing load balancer: failed to ensure load balancer: {}",
                    error.text()
                );
                self.reporter.warn(Kind::Service, &meta, "SyncLoadBalancerFailed", &words, cx);
                return Next::Retry;
            }
            Some(CloudAnswer::Done | CloudAnswer::Machine(_) | CloudAnswer::List(_)) | None => {
                return Next::Retry;
            }
        };
        let entry = (key, Arc::clone(told));
        let before = self.balanced.insert(balancer(key).to_string(), entry);
        let ip = Ipv4Addr::from(ip).to_string();
        // By the status alone: it may be that the balancer is there and could not be written down.
        if address(service) == Some(&ip) {
            if before.is_some_and(|(_, nodes)| nodes != *told) {
                let words = "Updated load balancer with new hosts";
                self.reporter.say(Kind::Service, &meta, "UpdatedLoadBalancer", words, cx);
            }
            return Next::Done;
        }
        let words = "Ensured load balancer";
        self.reporter.say(Kind::Service, &meta, "EnsuredLoadBalancer", words, cx);
        let mut new = Generic::clone(service);
        let doc = Arc::make_mut(&mut new.doc);
        if let Some(map) = doc.as_object_mut() {
            let status = json!({"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}});
            map.insert("status".to_owned(), status);
        }
        *state = State::Written;
        call(key, target, Op::UpdateStatus(Obj::Generic(Kind::Service, Arc::new(new))))
    }
}

impl Reconcile for ServiceController {
    type State = State;

    // `--concurrent-service-syncs`.
    reports!(1);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Obj::Generic(Kind::Service, service) = &change.value {
            let key = Key::of(&change.value);
            let known = self.balanced.contains_key(balancer(key).as_str());
            if wants(service) || known || service.meta.has_finalizer(FINALIZER) {
                wake.push((key, SimDuration::ZERO));
            }
        } else if let Some(node) = change.value.as_node() {
            let was = before.and_then(Obj::as_node).is_some_and(|n| serves(n));
            if was != (serves(node) && !change.deleted) {
                wake.extend(self.balanced.values().map(|(key, _)| (*key, SimDuration::ZERO)));
            }
        }
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let answer = self.desk.read(key);
        let Some((target, service)) = found(key, caches, cx).map(|(t, s)| (t, Arc::clone(s)))
        else {
            self.balanced.remove(balancer(key).as_str());
            return Next::Done;
        };
        let at = (key, &mut *state);
        match at.1.clone() {
            State::Begin => self.begin(at, (target, &service), caches, cx),
            State::Finalized => match answers.first() {
                Some(Ok(_)) => self.ensure(at, &service, nodes(caches, cx), cx),
                Some(Err(ApiError::NotFound)) => Next::Done,
                Some(Err(_)) | None => Next::Retry,
            },
            State::Asked(told) => self.ensured(at, (target, &service), (&told, answer), cx),
            State::Dropping => {
                if !matches!(answer, Some(CloudAnswer::Done)) {
                    return Next::Retry;
                }
                self.balanced.remove(balancer(key).as_str());
                let words = "Deleted load balancer";
                self.reporter.say(Kind::Service, &service.meta, "DeletedLoadBalancer", words, cx);
                *state = State::Written;
                call(key, target, Op::RemoveFinalizer(FINALIZER.into()))
            }
            State::Written => match answers.first() {
                Some(Ok(_) | Err(ApiError::NotFound)) => Next::Done,
                Some(Err(_)) | None => Next::Retry,
            },
        }
    }
}
