//! cloud-controller-manager: it sees to what only the cloud knows of nodes and Services.
//!
//! One file per controller, as in kube-controller-manager; they share the caches of their process
//! and have a client of their own. What they ask of the cloud takes a worker as long as upstream's
//! blocking call does.

mod lifecycle;
mod node;
mod route;
mod service;

pub use node::provider_id;

use super::config::CloudConfig;
use crate::api::request::Outcome;
use crate::api::versions::Change;
use crate::api::{Kind, Obj};
use crate::client::{Cache, Key, RateLimiter, Runner};
use crate::event::cloud::{CloudAnswer, CloudCall, CloudOp, Customer};
use crate::event::{Address, Context, ControllerEvent};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of the manager's controllers: behind all of kube-controller-manager's.
pub const FIRST_ROW: u8 = 200;
const NODE: u8 = FIRST_ROW;
const LIFECYCLE: u8 = FIRST_ROW + 1;
const SERVICE: u8 = FIRST_ROW + 2;
const ROUTE: u8 = FIRST_ROW + 3;

/// What it watches.
pub const KINDS: &[Kind] = &[Kind::Node, Kind::Service];

/// What a controller has asked of the cloud, and for which key.
#[derive(Debug, Clone)]
struct Desk {
    row: u8,
    next: u32,
    asked: BTreeMap<u32, Key>,
    /// Answers that the sync of a key has not read yet.
    answers: Vec<(Key, CloudAnswer)>,
}

impl Desk {
    const fn new(row: u8) -> Self {
        Self { row, next: 0, asked: BTreeMap::new(), answers: Vec::new() }
    }

    fn ask(&mut self, key: Key, op: CloudOp, cx: &mut Context<'_>) {
        self.next = (self.next + 1) & 0x00ff_ffff;
        let token = u32::from(self.row) << 24 | self.next;
        self.asked.insert(token, key);
        cx.ask_cloud(CloudCall { from: Customer::Manager, token, op, answer: None });
    }

    /// The answer for a key, which is read once. A sync takes it whatever it finds: it must not
    /// stay for a later object of that name.
    fn read(&mut self, key: Key) -> Option<CloudAnswer> {
        let at = self.answers.iter().position(|(k, _)| *k == key)?;
        Some(self.answers.swap_remove(at).1)
    }

    fn put(&mut self, token: u32, answer: CloudAnswer) -> Option<Key> {
        let key = self.asked.remove(&token)?;
        self.answers.push((key, answer));
        Some(key)
    }
}

/// A cloud-controller-manager.
#[derive(Debug, Clone)]
pub struct CloudManager {
    caches: Cache,
    node: Runner<node::CloudNode>,
    lifecycle: Runner<lifecycle::CloudNodeLifecycle>,
    service: Runner<service::ServiceController>,
    route: Runner<route::RouteController>,
}

impl CloudManager {
    /// A manager that knows nothing yet.
    #[must_use]
    pub fn new(address: Address, config: &Arc<CloudConfig>) -> Self {
        let limit = || RateLimiter::new(config.manager_limit.0, config.manager_limit.1);
        Self {
            caches: Cache::default(),
            node: Runner::new(node::CloudNode::new(config), NODE, address, limit()),
            lifecycle: Runner::new(
                lifecycle::CloudNodeLifecycle::default(),
                LIFECYCLE,
                address,
                limit(),
            ),
            service: Runner::new(service::ServiceController::default(), SERVICE, address, limit()),
            route: Runner::new(route::RouteController::new(config.routes), ROUTE, address, limit()),
        }
    }

    /// A delivered change.
    pub fn on_change(&mut self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
        self.caches.apply(change, before);
        let kind = change.value.kind();
        if kind == Kind::Node {
            self.node.on_change(change, before, &self.caches, cx);
            self.lifecycle.on_change(change, before, &self.caches, cx);
            self.route.on_change(change, before, &self.caches, cx);
        }
        self.service.on_change(change, before, &self.caches, cx);
    }

    /// A kind has been listed as of a revision.
    pub fn listed(&mut self, kind: Kind, rev: u64) {
        self.caches.reached(kind, rev);
    }

    /// An event of one of its controllers.
    pub fn handle(&mut self, row: u8, event: ControllerEvent, cx: &mut Context<'_>) {
        match row {
            NODE => self.node.handle(event, &self.caches, cx),
            LIFECYCLE => self.lifecycle.handle(event, &self.caches, cx),
            ROUTE => self.route.handle(event, &self.caches, cx),
            _service => self.service.handle(event, &self.caches, cx),
        }
    }

    /// The answer to a request.
    pub fn on_answer(&mut self, row: u32, token: u32, outcome: Outcome, cx: &mut Context<'_>) {
        match u8::try_from(row) {
            Ok(NODE) => self.node.on_answer(token, outcome, &self.caches, cx),
            Ok(LIFECYCLE) => self.lifecycle.on_answer(token, outcome, &self.caches, cx),
            Ok(ROUTE) => self.route.on_answer(token, outcome, &self.caches, cx),
            Ok(_) | Err(_) => self.service.on_answer(token, outcome, &self.caches, cx),
        }
    }

    /// The cloud has answered.
    pub fn on_cloud(&mut self, token: u32, answer: CloudAnswer, cx: &mut Context<'_>) {
        match token.to_be_bytes()[0] {
            NODE => {
                if let Some(key) = self.node.inner.desk.put(token, answer) {
                    self.node.resume(key, &self.caches, cx);
                }
            }
            LIFECYCLE => {
                if let Some(key) = self.lifecycle.inner.desk.put(token, answer) {
                    self.lifecycle.resume(key, &self.caches, cx);
                }
            }
            ROUTE => {
                if let Some(key) = self.route.inner.desk.put(token, answer) {
                    self.route.resume(key, &self.caches, cx);
                }
            }
            _service => {
                if let Some(key) = self.service.inner.desk.put(token, answer) {
                    self.service.resume(key, &self.caches, cx);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Name;
    use crate::api::version::KubeVersion;
    use crate::client::Reconcile;
    use crate::engine::{SimDuration, Sym};
    use crate::event::Shared;
    use crate::event::cloud::CloudError;

    /// The cloud answers about an object that is gone by then: gives what stays of that.
    fn stays<C: Reconcile>(
        (mut inner, kind): (C, Kind),
        mut state: C::State,
        desk: fn(&mut C) -> &mut Desk,
    ) -> Option<CloudAnswer> {
        let mut shared = Shared::new(1, KubeVersion::default(), 0, SimDuration::ZERO);
        let cx = &mut shared.context(0);
        let key = Key { kind, ns: Sym::EMPTY, name: Name::new("web") };
        desk(&mut inner).answers.push((key, CloudAnswer::Failed(CloudError::NotFound)));
        inner.sync(key, &mut state, &[], &Cache::default(), cx);
        desk(&mut inner).read(key)
    }

    #[test]
    fn an_answer_about_an_object_that_is_gone_is_not_read_of_the_next_of_its_name() {
        let lifecycle = (lifecycle::CloudNodeLifecycle::default(), Kind::Node);
        assert!(stays(lifecycle, lifecycle::State::Asked, |c| &mut c.desk).is_none());
        let service = (service::ServiceController::default(), Kind::Service);
        assert!(stays(service, service::State::Dropping, |c| &mut c.desk).is_none());
        let route = (route::RouteController::new(true), Kind::Node);
        assert!(stays(route, route::State::Asked, |c| &mut c.desk).is_none());
    }
}
