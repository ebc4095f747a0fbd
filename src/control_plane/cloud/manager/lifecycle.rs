//! The cloud node lifecycle controller: of nodes that are not ready it asks the cloud whether their
//! machine is still there. Node of a machine that is gone: deleted; of one that is shut down:
//! tainted (source: `cprov/controllers/nodelifecycle/node_lifecycle_controller.go`).

use super::Desk;
use crate::api::meta::Stamp;
use crate::api::node::{Node, keys};
use crate::api::pod::{ConditionType, Effect, Taint, Truth};
use crate::api::request::{Op, Outcome};
use crate::api::versions::Change;
use crate::api::{Kind, Obj};
use crate::client::{Cache, Key, Next, Reconcile};
use crate::control_plane::controllers::{Reporter, reports};
use crate::engine::{Grid, SimDuration, SimTime, Sym};
use crate::event::cloud::{CloudAnswer, CloudError, CloudOp, Phase};
use crate::event::{Context, ControllerEvent, Event};
use std::collections::BTreeMap;

/// `--node-monitor-period` (source: `cprov/config`, behaviour reference §3.21).
const PERIOD: SimDuration = SimDuration::from_secs(5);

/// The cloud node lifecycle controller.
#[derive(Debug, Clone)]
pub(super) struct CloudNodeLifecycle {
    reporter: Reporter,
    pub(super) desk: Desk,
    /// Nodes that are not ready, in the order of their names.
    suspects: BTreeMap<&'static str, Key>,
    armed: bool,
}

impl Default for CloudNodeLifecycle {
    fn default() -> Self {
        let name = "cloud-node-lifecycle-controller";
        Self {
            reporter: Reporter::new(name, name),
            desk: Desk::new(super::LIFECYCLE),
            suspects: BTreeMap::new(),
            armed: false,
        }
    }
}

/// What a sync has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Nothing yet.
    #[default]
    Begin,
    /// The cloud has been asked.
    Asked,
}

fn ready(node: &Node) -> bool {
    node.status.conditions.get(ConditionType::Ready).is_some_and(|c| c.status == Truth::True)
}

fn shut_down() -> Taint {
    Taint {
        key: keys::SHUT_DOWN.into(),
        value: Sym::EMPTY,
        effect: Effect::NoSchedule,
        added: Stamp::NONE,
    }
}

fn tainted(node: &Node) -> bool {
    node.taints.iter().any(|t| t.key.as_str() == keys::SHUT_DOWN)
}

impl CloudNodeLifecycle {
    fn arm(&mut self, cx: &mut Context<'_>) {
        if !self.suspects.is_empty() && !std::mem::replace(&mut self.armed, true) {
            let at = Grid::new(SimTime::ZERO, PERIOD).after(cx.now());
            let controller = super::LIFECYCLE;
            cx.schedule(at, Event::Controller { controller, event: ControllerEvent::Tick });
        }
    }

    fn taint(&mut self, node: &Node, on: bool, cx: &Context<'_>) {
        if tainted(node) == on {
            return;
        }
        let (one, none) = ([shut_down()], []);
        let (add, remove): (&[Taint], &[Taint]) = if on { (&one, &none) } else { (&none, &one) };
        let op = Op::NodeTaints { remove: remove.into(), add: add.into() };
        self.reporter.send(Kind::Node, Sym::EMPTY, node.meta.name, op, cx);
    }

    fn judge(&mut self, node: &Node, answer: &CloudAnswer, cx: &mut Context<'_>) {
        let name = node.meta.name;
        match answer {
            CloudAnswer::Failed(CloudError::NotFound) => {
                let text =
                    format!("Deleting node {name} because it does not exist in the cloud provider");
                self.reporter.say(Kind::Node, &node.meta, "DeletingNode", &text, cx);
                let op = Op::Delete { grace_s: None, propagation: None, uid: None };
                self.reporter.send(Kind::Node, Sym::EMPTY, name, op, cx);
            }
            CloudAnswer::Machine(machine) => {
                self.taint(node, machine.phase == Phase::Stopping, cx);
            }
            CloudAnswer::Failed(_)
            | CloudAnswer::Done
            | CloudAnswer::List(_)
            | CloudAnswer::Address(_) => {}
        }
    }
}

impl Reconcile for CloudNodeLifecycle {
    type State = State;

    reports!(1);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        cx: &mut Context<'_>,
        _wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(node) = change.value.as_node() else { return };
        let name = node.meta.name.sym().as_str();
        // Nodes that are not the cloud's are not asked about.
        let ours = !node.provider_id.is_empty() && !change.deleted;
        if !ours || ready(node) && !tainted(node) {
            self.suspects.remove(name);
        } else {
            self.suspects.insert(name, Key::of(&change.value));
            self.arm(cx);
        }
    }

    fn on_tick(
        &mut self,
        _caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.armed = false;
        wake.extend(self.suspects.values().map(|key| (*key, SimDuration::ZERO)));
        self.arm(cx);
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        _answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let answer = self.desk.read(key);
        let found = caches.named(cx.versions(), Kind::Node, Sym::EMPTY, key.name);
        let Some((_, Obj::Node(node))) = found else { return Next::Done };
        let node = std::sync::Arc::clone(node);
        if ready(&node) {
            self.taint(&node, false, cx);
            return Next::Done;
        }
        if *state == State::Begin {
            *state = State::Asked;
            self.desk.ask(key, CloudOp::Describe { machine: key.name.sym() }, cx);
            return Next::Wait;
        }
        if let Some(answer) = answer {
            self.judge(&node, &answer, cx);
        }
        Next::Done
    }
}
