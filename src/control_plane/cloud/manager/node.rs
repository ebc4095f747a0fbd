//! The cloud node controller: a new node says by a taint that nobody knows its machine yet; this
//! one asks the cloud, and writes what it learns (source: `cprov/controllers/node/
//! node_controller.go`).

use super::super::config::CloudConfig;
use super::Desk;
use super::route::with_route;
use crate::api::node::{Node, keys};
use crate::api::pod::ConditionType;
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::control_plane::controllers::{Reporter, reports};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use crate::event::cloud::{CloudAnswer, CloudOp, Machine};
use std::sync::Arc;

/// The cloud node controller.
#[derive(Debug, Clone)]
pub(super) struct CloudNode {
    reporter: Reporter,
    config: Arc<CloudConfig>,
    pub(super) desk: Desk,
}

/// How far a sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// It begins.
    #[default]
    Begin,
    /// The cloud has been asked.
    Asked,
    /// It has been written that the node has no route yet.
    Unrouted(Machine),
    /// The node has been written.
    Written,
}

fn uninitialized(node: &Node) -> bool {
    node.taints.iter().any(|t| t.key.as_str() == keys::UNINITIALIZED)
}

/// `spec.providerID` of a machine.
#[must_use]
pub fn provider_id(config: &CloudConfig, zone: Sym, name: Sym) -> Sym {
    let scheme = config.provider.scheme();
    Sym::new(&format!("{scheme}:///{zone}/{name}"))
}

fn write(key: Key, target: ObjRef, op: Op) -> Next {
    let (kind, ns, name) = (Kind::Node, Sym::EMPTY, key.name);
    Next::Call(vec![Call { kind, ns, name, target: Some(target), op }])
}

impl CloudNode {
    pub(super) fn new(config: &Arc<CloudConfig>) -> Self {
        Self {
            reporter: Reporter::new("cloud-node-controller", "cloud-node-controller"),
            config: Arc::clone(config),
            desk: Desk::new(super::NODE),
        }
    }

    fn initialized(&self, node: &Node, machine: &Machine) -> Node {
        let mut node = node.clone();
        self.config.label(&mut node, machine.offer);
        node.provider_id = provider_id(&self.config, machine.offer.zone, machine.name);
        let kept = node.taints.iter().filter(|t| t.key.as_str() != keys::UNINITIALIZED);
        node.taints = kept.copied().collect();
        node
    }
}

impl Reconcile for CloudNode {
    type State = State;

    reports!(1);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(node) = change.value.as_node().filter(|_| !change.deleted) else { return };
        if uninitialized(node) {
            wake.push((Key::of(&change.value), SimDuration::ZERO));
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
        let found = caches.named(cx.versions(), Kind::Node, Sym::EMPTY, key.name);
        let Some((target, Obj::Node(node))) = found else { return Next::Done };
        match *state {
            State::Begin if !uninitialized(node) => Next::Done,
            State::Begin => {
                *state = State::Asked;
                self.desk.ask(key, CloudOp::Describe { machine: key.name.sym() }, cx);
                Next::Wait
            }
            // Somebody else may have been faster, or what began the sync was seen late.
            State::Asked if !uninitialized(node) => Next::Done,
            State::Asked => {
                let Some(CloudAnswer::Machine(machine)) = answer else {
                    return Next::Retry;
                };
                let known = node.status.conditions.get(ConditionType::NetworkUnavailable);
                if self.config.routes && known.is_none() {
                    *state = State::Unrouted(machine);
                    let bare = with_route(node, false, cx);
                    return write(key, target, Op::UpdateStatus(Obj::Node(Arc::new(bare))));
                }
                *state = State::Written;
                let op = Op::Update(Obj::Node(Arc::new(self.initialized(node, &machine))));
                write(key, target, op)
            }
            State::Unrouted(machine) => {
                let Some(Ok(success)) = answers.first() else { return Next::Retry };
                let Some(node) = success.value.as_node() else { return Next::Retry };
                *state = State::Written;
                let op = Op::Update(Obj::Node(Arc::new(self.initialized(node, &machine))));
                write(key, target, op)
            }
            State::Written => {
                let meta = node.meta.clone();
                match answers.first() {
                    Some(Ok(_)) => {
                        let text = "Node synced successfully";
                        self.reporter.say(Kind::Node, &meta, "Synced", text, cx);
                        Next::Done
                    }
                    Some(Err(ApiError::NotFound)) => Next::Done,
                    Some(Err(_)) | None => Next::Retry,
                }
            }
        }
    }
}
