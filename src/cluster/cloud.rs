//! The cloud's side of the cluster: machines that come into being and go while a run is under way,
//! and mail between the provider and its customers.

use super::spec::{ClusterSpec, NodeSpec, Plan};
use super::{Cluster, World, policy, setup};
use crate::api::labels::LabelSet;
use crate::api::meta::Stamp;
use crate::api::node::keys;
use crate::api::pod::{Effect, Taint};
use crate::api::request::User;
use crate::control_plane::cloud::autoscaler::{CAPACITY_TYPE, capacity_type, simulation};
use crate::control_plane::cloud::{Autoscaler, Cloud, CloudManager, Deed, manager};
use crate::engine::id::Id;
use crate::engine::{Sym, num};
use crate::event::cloud::{Customer, Machine, Offer};
use crate::event::{Address, CloudEvent, Role, What};
use crate::node::NodeAgent;
use std::sync::Arc;

/// A cloud and those who talk to it.
#[derive(Debug, Clone)]
pub(super) struct Clouds {
    pub(super) provider: Cloud,
    pub(super) manager: CloudManager,
    pub(super) autoscaler: Option<Autoscaler>,
    /// What new nodes are made from.
    world: World,
}

const MANAGER: Address = Address::new(Role::CloudManager, 0);
const AUTOSCALER: Address = Address::new(Role::Autoscaler, 0);

/// The taint of a node whose machine nobody has asked the cloud about yet.
fn uninitialized() -> Taint {
    Taint {
        key: keys::UNINITIALIZED.into(),
        value: Sym::new("true"),
        effect: Effect::NoSchedule,
        added: Stamp::NONE,
    }
}

impl Clouds {
    /// The cloud of a plan, if it has one.
    pub(super) fn new(plan: &Plan, world: &World) -> Option<Box<Self>> {
        let config = &plan.cluster.cloud.as_ref()?.config;
        Some(Box::new(Self {
            provider: Cloud::new(Arc::clone(config)),
            manager: CloudManager::new(MANAGER, config),
            autoscaler: Autoscaler::new(config, &policy::config(plan)),
            world: world.clone(),
        }))
    }
}

/// `spec.providerID` of a node that is there from the start; empty for one of no cloud.
pub(super) fn provider_id(node: &NodeSpec, spec: &ClusterSpec) -> Sym {
    match (&spec.cloud, node.machine) {
        (Some(cloud), Some(_)) => manager::provider_id(&cloud.config, node.zone, node.name),
        (Some(_) | None, _) => Sym::EMPTY,
    }
}

impl Cluster {
    /// The cloud knows the machines that are there from the start; its customers list and watch.
    pub(super) fn start_cloud(&mut self) {
        let plan = Arc::clone(&self.plan);
        let Some(mut clouds) = self.cloud.take() else { return };
        for node in &plan.cluster.nodes {
            let Some(of) = node.machine else { continue };
            let offer = Offer { kind: of.kind, zone: node.zone, spot: of.spot };
            clouds.provider.adopt(node.name, of.group, offer, &mut self.shared.context(0));
        }
        let lag = plan.cluster.latency.watch;
        for &kind in manager::KINDS {
            self.api.watch(kind, MANAGER, lag, &self.shared.context(0));
            for change in self.shared.versions.list(kind) {
                clouds.manager.on_change(&change, None, &mut self.shared.context(0));
            }
            clouds.manager.listed(kind, self.shared.versions.rev());
        }
        if let Some(autoscaler) = &mut clouds.autoscaler {
            for &kind in simulation::KINDS {
                self.api.watch(kind, AUTOSCALER, lag, &self.shared.context(0));
                for change in self.shared.versions.list(kind) {
                    autoscaler.on_change(&change, &mut self.shared.context(0));
                }
            }
        }
        self.cloud = Some(clouds);
    }

    /// An event of the cloud.
    pub(super) fn cloud_event(&mut self, event: CloudEvent, seq: u64) {
        let Some(clouds) = &mut self.cloud else { return };
        match clouds.provider.handle(event, &mut self.shared.context(seq)) {
            Deed::None => {}
            Deed::Answers(id) => self.cloud_answers(id, seq),
            Deed::Starts(row) => self.machine_starts(row, seq),
            Deed::Stops(row) => self.machine_stops(row, seq),
            Deed::Ends(row) | Deed::Taken(row) => self.machine_is_gone(row, seq),
            Deed::Notice(row) => self.machine_noticed(row, seq),
            Deed::Balances(balancer) => self.balancer_told(balancer, seq),
        }
    }

    fn cloud_answers(&mut self, id: Id, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let Some(call) = cx.take_cloud_call(id) else { return };
        let (Some(answer), Some(clouds)) = (call.answer, &mut self.cloud) else { return };
        match call.from {
            Customer::Manager => clouds.manager.on_cloud(call.token, answer, cx),
            Customer::Autoscaler => {
                if let Some(autoscaler) = &mut clouds.autoscaler {
                    autoscaler.on_cloud(call.token, answer, cx);
                }
            }
        }
    }

    fn machine(&self, row: u32) -> Option<Machine> {
        Some(*self.cloud.as_ref()?.provider.machine(row))
    }

    /// A machine gets power: it boots, and its kubelet will register a node that nobody knows.
    fn machine_starts(&mut self, row: u32, seq: u64) {
        let plan = Arc::clone(&self.plan);
        let (Some(machine), Some(clouds)) = (self.machine(row), &self.cloud) else { return };
        let Some(cloud) = &plan.cluster.cloud else { return };
        let mut spec = cloud.blueprints[usize::from(machine.group)].clone();
        spec.name = machine.name;
        spec.zone = machine.offer.zone;
        spec.labels = spec.labels.with(keys::HOSTNAME.into(), machine.name);
        spec.taints.push(uninitialized());
        if cloud.config.group(machine.group).kind.is_none() {
            let kind = cloud.config.kind(machine.offer.kind);
            spec.capacity = Arc::clone(&kind.capacity);
            spec.allocatable = Arc::clone(&kind.allocatable);
            let value = capacity_type(machine.offer.spot);
            spec.labels = LabelSet::with(spec.labels, CAPACITY_TYPE.into(), value);
        }
        let setup = Arc::new(setup(&spec, &clouds.world, &plan.cluster));
        let index = num::u32_of(self.nodes.len());
        let mut agent = NodeAgent::unborn(setup, index, &self.shared.draws);
        let cx = &mut self.shared.context(seq);
        let what = What::Noticed { who: "cloud".into(), node: spec.name, step: "machine boots" };
        let hop = cx.record(what);
        cx.at_hop(hop, |cx| agent.power_on(cx));
        self.nodes.push(agent);
        self.by_name.insert(spec.name, index);
        self.add_to_requests(index);
    }

    fn index_of(&self, machine: &Machine) -> Option<u32> {
        self.by_name.get(&machine.name).copied()
    }

    /// A machine is told to shut down for good.
    fn machine_stops(&mut self, row: u32, seq: u64) {
        let Some(machine) = self.machine(row) else { return };
        let Some(index) = self.index_of(&machine) else { return };
        let cx = &mut self.shared.context(seq);
        let step = "machine is told to end";
        let hop = cx.record(What::Noticed { who: "cloud".into(), node: machine.name, step });
        let agent = &mut self.nodes[index as usize];
        agent.retire();
        if agent.kubelet_up() {
            cx.at_hop(hop, |cx| agent.shut_down(cx));
        }
    }

    /// A machine is gone.
    fn machine_is_gone(&mut self, row: u32, seq: u64) {
        let Some(machine) = self.machine(row) else { return };
        let Some(index) = self.index_of(&machine) else { return };
        let cx = &mut self.shared.context(seq);
        let step = "machine is gone";
        let hop = cx.record(What::Noticed { who: "cloud".into(), node: machine.name, step });
        self.nodes[index as usize].retire();
        self.goes_down(index, hop);
    }

    /// A load balancer of a Service has been told its nodes.
    fn balancer_told(&mut self, balancer: Sym, seq: u64) {
        let Some(clouds) = &self.cloud else { return };
        let names = clouds.provider.balanced(balancer).unwrap_or_default();
        let nodes = names.iter().filter_map(|name| self.by_name.get(name).copied()).collect();
        self.balance_requests(balancer, &nodes, seq);
    }

    /// The provider says that it will take a spot machine: where no autoscaler sees to that, the
    /// provider's termination handler drains it.
    fn machine_noticed(&mut self, row: u32, seq: u64) {
        let Some(machine) = self.machine(row) else { return };
        let hop = self.hears_notice(machine.name, seq);
        self.taint_noticed(machine.name, hop);
        let cx = &mut self.shared.context(hop);
        let autoscaler = self.cloud.as_mut().and_then(|c| c.autoscaler.as_mut());
        if !autoscaler.is_some_and(|it| it.on_notice(machine.name, cx)) {
            self.driver.drain(User::Admin, machine.name, &mut self.shared.context(hop));
        }
    }

    /// The cloud learns that a machine has lost its power, or has it again.
    pub(super) fn cloud_hears(&mut self, node: Sym, alive: bool, seq: u64) {
        if let Some(clouds) = &mut self.cloud {
            if alive {
                clouds.provider.revived(node);
            } else {
                clouds.provider.died(node, &mut self.shared.context(seq));
            }
        }
    }

    /// A fault of the scenario takes a machine for good.
    pub(super) fn cloud_loses(&mut self, node: Sym, index: u32, seq: u64) {
        if let Some(clouds) = &mut self.cloud
            && self.plan.cluster.nodes.get(index as usize).is_none_or(|n| n.machine.is_some())
        {
            clouds.provider.taken(node, &mut self.shared.context(seq));
            self.nodes[index as usize].retire();
        }
    }

    /// The cloud's groups and machines, for tests and reports.
    #[must_use]
    pub fn cloud(&self) -> Option<&Cloud> {
        self.cloud.as_ref().map(|clouds| &clouds.provider)
    }
}
