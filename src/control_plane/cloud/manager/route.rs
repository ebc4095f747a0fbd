//! The route controller: where the cloud's own network carries the pods' traffic, each node's range
//! of pod addresses needs a route, and the node says that it has none until one is made
//! (source: `cprov/controllers/route/route_controller.go`).

use super::Desk;
use crate::api::node::Node;
use crate::api::pod::{Condition, ConditionType, Truth};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::control_plane::controllers::{Reporter, reports};
use crate::engine::{Grid, SimDuration, SimTime, Sym};
use crate::event::Context;
use crate::event::cloud::{CloudAnswer, CloudOp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `--route-reconciliation-period`.
const PERIOD: SimDuration = SimDuration::from_secs(10);

/// The route controller.
#[derive(Debug, Clone)]
pub(super) struct RouteController {
    reporter: Reporter,
    pub(super) desk: Desk,
    /// It runs (`--configure-cloud-routes`).
    on: bool,
    /// Nodes that have a route, by name.
    routed: BTreeSet<&'static str>,
}

/// How far a sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// It begins.
    #[default]
    Begin,
    /// The cloud has been asked for a route.
    Asked,
    /// The cloud has been asked to drop one.
    Dropping,
    /// The node's condition is being written.
    Written,
}

/// A node with the condition that it has a route, or none.
pub(super) fn with_route(node: &Node, has: bool, cx: &Context<'_>) -> Node {
    let (status, reason, message) = if has {
        (Truth::False, "RouteCreated", "RouteController created a route")
    } else {
        (Truth::True, "NoRouteCreated", "Node created without a route")
    };
    let mut node = node.clone();
    node.status.conditions.set(Condition {
        kind: ConditionType::NetworkUnavailable,
        status,
        reason: reason.into(),
        message: message.into(),
        transition: cx.stamp(),
    });
    node
}

/// True if the node's condition says that its network is there.
fn says_routed(node: &Node) -> bool {
    let network = node.status.conditions.get(ConditionType::NetworkUnavailable);
    network.is_some_and(|c| c.status == Truth::False)
}

/// Writes that a node has a route.
fn tell(key: Key, target: ObjRef, node: &Node, cx: &Context<'_>) -> Next {
    let op = Op::UpdateStatus(Obj::Node(Arc::new(with_route(node, true, cx))));
    let (kind, ns, name) = (Kind::Node, Sym::EMPTY, key.name);
    Next::Call(vec![Call { kind, ns, name, target: Some(target), op }])
}

impl RouteController {
    pub(super) fn new(on: bool) -> Self {
        Self {
            reporter: Reporter::new("route-controller", "route_controller"),
            desk: Desk::new(super::ROUTE),
            on,
            routed: BTreeSet::new(),
        }
    }
}

impl Reconcile for RouteController {
    type State = State;

    // Routes that are made at one time (source: `maxConcurrentRouteOperations`).
    reports!(200);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(node) = change.value.as_node().filter(|_| self.on) else { return };
        let routed = self.routed.contains(node.meta.name.sym().as_str());
        let wants = !change.deleted && !node.pod_cidr.is_empty();
        if routed != wants || wants && !says_routed(node) {
            let tick = Grid::new(SimTime::ZERO, PERIOD).after(cx.now());
            wake.push((Key::of(&change.value), tick.since(cx.now())));
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
        let name = key.name.sym();
        let answer = self.desk.read(key);
        let found = caches.named(cx.versions(), Kind::Node, Sym::EMPTY, key.name);
        let node = found.and_then(|(target, obj)| Some((target, Arc::clone(obj.as_node()?))));
        let routed = self.routed.contains(name.as_str());
        match (*state, node) {
            (State::Begin, None) if routed => {
                *state = State::Dropping;
                self.desk.ask(key, CloudOp::Route { node: name, on: false }, cx);
                Next::Wait
            }
            (State::Begin, Some((_, node))) if !routed && !node.pod_cidr.is_empty() => {
                *state = State::Asked;
                self.desk.ask(key, CloudOp::Route { node: name, on: true }, cx);
                Next::Wait
            }
            // It was deleted and is there again: its route has never gone.
            (State::Begin, Some((target, node))) if routed && !says_routed(&node) => {
                *state = State::Written;
                tell(key, target, &node, cx)
            }
            (State::Dropping, _) => {
                if !matches!(answer, Some(CloudAnswer::Done)) {
                    return Next::Retry;
                }
                self.routed.remove(name.as_str());
                Next::Done
            }
            (State::Asked, Some((target, node))) => {
                if !matches!(answer, Some(CloudAnswer::Done)) {
                    let words = format!("Could not create route for node {name}");
                    self.reporter.warn(Kind::Node, &node.meta, "FailedToCreateRoute", &words, cx);
                    return Next::Retry;
                }
                self.routed.insert(name.as_str());
                *state = State::Written;
                tell(key, target, &node, cx)
            }
            (State::Written, Some(_)) => match answers.first() {
                Some(Ok(_) | Err(ApiError::NotFound)) => Next::Done,
                Some(Err(_)) | None => {
                    // The route is there; the condition is written with the next try.
                    self.routed.remove(name.as_str());
                    Next::Retry
                }
            },
            (State::Asked, None) => {
                if matches!(answer, Some(CloudAnswer::Done)) {
                    self.routed.insert(name.as_str());
                }
                Next::Requeue(SimDuration(1))
            }
            (State::Begin | State::Written, _) => Next::Done,
        }
    }
}
