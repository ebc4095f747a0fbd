//! Machines that are taken away with notice or upgraded one after the other, as whoever runs the
//! cluster does it: by cordon and eviction, with the patience of `kubectl drain`.

use super::Cluster;
use super::links::Links;
use super::spec::{Fault, FaultKind};
use super::user::is_cordon;
use crate::api::meta::Stamp;
use crate::api::pod::{ConditionType, Effect, Taint, Truth};
use crate::api::request::{Op, Propagation, User};
use crate::api::{Kind, Name};
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::context::NOWHERE;
use crate::event::{Event, TroubleEvent, What};
use std::collections::VecDeque;
use std::sync::Arc;

/// `kubectl drain` looks so often whether evicted pods are gone.
const LOOKS: SimDuration = SimDuration::from_secs(1);
/// A cloud's node lifecycle controller looks so often whether the machine of a node that is not
/// ready still exists (source: `cloud-provider/controllers/nodelifecycle`,
/// `--node-monitor-period`).
const CLOUD_LOOKS: SimDuration = SimDuration::from_secs(5);
/// The taint of AWS's node termination handler (source: its `pkg/node/node.go`).
const TAINT: &str = "aws-node-termination-handler/spot-itn";

/// How far an upgraded node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its pods leave, by the drain of this number.
    Drains(u32),
    /// It is off until then.
    Off(SimTime),
    /// It boots since then, and becomes ready.
    Boots(SimTime),
}

/// An upgrade of nodes, wave by wave.
#[derive(Debug, Clone, Default)]
pub(super) struct Wave {
    /// Nodes still to come.
    queue: VecDeque<u32>,
    /// Nodes under way.
    doing: Vec<(u32, Stage)>,
}

impl Cluster {
    /// The provider says that it will take machines.
    pub(super) fn gives_notice(&mut self, row: u32, notice: SimDuration, struck: &[u32], seq: u64) {
        for &node in struck {
            let name = self.nodes[node as usize].name();
            let hop = self.hears_notice(name, seq);
            let taken = TroubleEvent::Taken { fault: row, node };
            self.shared.context(hop).after(notice, Event::Trouble(taken));
            self.taint_noticed(name, hop);
            self.driver.drain(User::Admin, name, &mut self.shared.context(hop));
        }
    }

    /// The provider says that it will take a machine.
    pub(super) fn hears_notice(&mut self, name: Sym, seq: u64) -> u64 {
        let cx = &mut self.shared.context(seq);
        let step = "gets notice";
        cx.record(What::Noticed { who: Sym::new("provider"), node: name, step })
    }

    /// The node of a machine that will be taken gets a taint.
    pub(super) fn taint_noticed(&mut self, name: Sym, hop: u64) {
        let taint = Taint {
            key: Sym::new(TAINT),
            value: Sym::EMPTY,
            effect: Effect::NoSchedule,
            added: Stamp::default(),
        };
        let op = Op::NodeTaints { remove: Arc::from([]), add: Arc::from([taint]) };
        self.act_on_node(name, op, hop);
    }

    /// A machine is taken; later looks at the same one see to its Node, and to what comes after it.
    pub(super) fn taken(&mut self, row: u32, node: u32, seq: u64) {
        let plan = Arc::clone(&self.plan);
        let fault = &plan.faults[row as usize];
        let struck = &self.struck[row as usize];
        if struck.contains(&node) && !self.links.taken.contains_key(&(row, node)) {
            self.links.taken.insert((row, node), false);
            let all = struck.iter().all(|n| self.links.taken.contains_key(&(row, *n)));
            self.strike(row, FaultKind::NodeCrash, node, seq);
            let name = self.nodes[node as usize].name();
            self.cloud_loses(name, node, seq);
            if all && fault.lasts.is_none() {
                self.faults_open -= 1;
                self.fault_heard(row, true, seq);
            }
        }
        // A replacement may have come.
        let Some(&due) = self.links.taken.get(&(row, node)) else { return };
        let name = self.nodes[node as usize].name();
        let Some(ready) = self.shown_ready(name) else {
            if due {
                self.links.taken.remove(&(row, node));
                self.withdraw(name);
                self.heal(row, FaultKind::NodeCrash, node, seq);
            }
            return;
        };
        // Where there is a cloud, its controllers see to the node.
        let managed = self.cloud.is_some() && self.nodes[node as usize].retired();
        if (due || !ready) && !managed {
            self.withdraw(name);
            let propagation = Some(Propagation::Background);
            self.act_on_node(name, Op::Delete { grace_s: None, propagation, uid: None }, seq);
        }
        let again = TroubleEvent::Taken { fault: row, node };
        self.shared.context(seq).after(CLOUD_LOOKS, Event::Trouble(again));
    }

    /// Replacements come: machines of the same kind under the same names, once the old Nodes are
    /// gone.
    pub(super) fn replaced(&mut self, row: u32, struck: &[u32], seq: u64) {
        for &node in struck {
            if let Some(due) = self.links.taken.get_mut(&(row, node)) {
                *due = true;
                self.taken(row, node, seq);
            }
        }
    }

    /// What has been asked about a node, and has not reached an API server yet, is asked no more.
    fn withdraw(&mut self, name: Sym) {
        self.driver.give_up(name);
        let cx = &mut self.shared.context(0);
        for id in cx.all_in_flight() {
            let void = cx.in_flight(id).is_some_and(|f| {
                let request = &f.request;
                f.server == NOWHERE
                    && f.reply.is_none_or(|(_, token)| is_cordon(token))
                    && (request.user, request.kind) == (User::Admin, Kind::Node)
                    && request.name.sym() == name
            });
            if void {
                cx.take_request(id);
            }
        }
    }

    fn act_on_node(&mut self, name: Sym, op: Op, seq: u64) {
        let cx = &mut self.shared.context(seq);
        let name = Name::new(name.as_str());
        let request = crate::event::Context::request(User::Admin, Kind::Node, Sym::EMPTY, name, op);
        cx.submit(cx.now(), request, None);
    }

    /// Whether the store shows the node as ready; none if it has no such node.
    fn shown_ready(&self, name: Sym) -> Option<bool> {
        Some(self.reported_ready(name)?.is_some())
    }

    /// When a node that the store shows as ready has last been reported, nanoseconds of the run;
    /// none if it has no such node.
    fn reported_ready(&self, name: Sym) -> Option<Option<u64>> {
        let versions = &self.shared.versions;
        let object = versions.find(Kind::Node, Sym::EMPTY, Name::new(name.as_str()))?;
        let node = versions.current(Kind::Node, object)?.as_node()?;
        let ready = node.status.conditions.get(ConditionType::Ready);
        let is = ready.is_some_and(|c| c.status == Truth::True);
        Some(is.then_some(node.status.heartbeat_ns))
    }

    /// An upgrade begins.
    pub(super) fn upgrade_begins(&mut self, row: u32, struck: &[u32], seq: u64) {
        let wave = Wave { queue: struck.iter().copied().collect(), doing: Vec::new() };
        self.links.waves.insert(row, wave);
        self.upgrade(row, seq);
    }

    /// Looks how far the nodes under way are, and takes the next ones.
    pub(super) fn upgrade(&mut self, row: u32, seq: u64) {
        let plan = Arc::clone(&self.plan);
        let fault = &plan.faults[row as usize];
        let FaultKind::Upgrade(most) = fault.what else { return };
        let Some(mut wave) = self.links.waves.remove(&row) else { return };
        let doing = std::mem::take(&mut wave.doing);
        for (node, stage) in doing {
            let stage = self.upgrade_node(row, fault, (node, stage), seq);
            wave.doing.extend(stage.map(|stage| (node, stage)));
        }
        while wave.doing.len() < most as usize
            && let Some(node) = wave.queue.pop_front()
        {
            let name = self.nodes[node as usize].name();
            let who = Sym::new("upgrade");
            let step = "is drained";
            let hop = self.shared.context(seq).record(What::Noticed { who, node: name, step });
            let drain = self.driver.drain(User::Admin, name, &mut self.shared.context(hop));
            wave.doing.push((node, Stage::Drains(drain)));
        }
        if wave.doing.is_empty() {
            self.faults_open -= 1;
            return self.fault_heard(row, true, seq);
        }
        self.links.waves.insert(row, wave);
        let look = Event::Trouble(TroubleEvent::Upgrade { fault: row });
        self.shared.context(seq).after(LOOKS, look);
    }

    /// One node under way: where it is now; none once it is back in service.
    fn upgrade_node(
        &mut self,
        row: u32,
        fault: &Fault,
        (node, stage): (u32, Stage),
        seq: u64,
    ) -> Option<Stage> {
        let now = self.shared.now();
        let name = self.nodes[node as usize].name();
        match stage {
            Stage::Drains(drain) if !self.driver.drained(drain, &self.shared.versions) => {
                Some(stage)
            }
            Stage::Drains(_) => {
                self.strike(row, FaultKind::NodeCrash, node, seq);
                Some(Stage::Off(now + fault.lasts.unwrap_or_default()))
            }
            Stage::Off(until) if now < until => Some(stage),
            Stage::Off(_) => {
                self.heal(row, FaultKind::NodeCrash, node, seq);
                Some(Stage::Boots(now))
            }
            Stage::Boots(since) => {
                // What the store says may be of the time before.
                let reported = self.reported_ready(name).flatten();
                let agent = &self.nodes[node as usize];
                let back = agent.kubelet_up()
                    && !self.links.holds(node)
                    && reported.is_some_and(|at| at >= since.0 || agent.is_fake());
                if !back {
                    return Some(stage);
                }
                self.act_on_node(name, Op::Cordon(false), seq);
                None
            }
        }
    }
}

impl Links {
    /// True for a fault that says itself when it is over.
    pub(super) const fn ends_itself(fault: &Fault) -> bool {
        match fault.what {
            FaultKind::Upgrade(_) => true,
            FaultKind::Interrupt(_) => fault.lasts.is_none(),
            FaultKind::NodeCrash
            | FaultKind::Shutdown
            | FaultKind::KubeletStop
            | FaultKind::Restart
            | FaultKind::WatchLoss
            | FaultKind::RegistryDown
            | FaultKind::LogStoreDown
            | FaultKind::DeviceFailure(..)
            | FaultKind::Terminate
            | FaultKind::Pause
            | FaultKind::SlowDisk(_)
            | FaultKind::LoseLog
            | FaultKind::SpaceAlarm
            | FaultKind::Overload(_)
            | FaultKind::Blackout(_)
            | FaultKind::Partition { .. }
            | FaultKind::Freeze
            | FaultKind::Network(_)
            | FaultKind::SlowNode(_)
            | FaultKind::DiskFull(_) => false,
        }
    }
}
