//! The observer behind every report: it reads records and keeps columns.
//!
//! A run of 100,000 pods makes 1.4 million records in about two seconds, so a record may cost some
//! 100 ns: columns by dense number, no text, no allocation. What a pod did is written to the
//! sink when the pod is gone.

use super::cost::Bills;
use super::disks::{OutOfReach, out_of_reach};
use super::downtime::{Need, needs};
use super::events::{EVENTS_HEAD, event_row, fits};
use super::faults::{FaultRow, begins};
use super::gpus::GpuTable;
use super::network::Network;
use super::nodes::{NodeTable, Used};
use super::pods::{NONE, PODS_HEAD, PodTable, State, pod_row};
use super::refusals::Refusals;
use super::requests::Requests;
use super::rows::{Line, RowSink, Stream};
use super::slowdown::Slowdowns;
use super::standing::Standing;
use super::strain::Strain;
use super::timeseries::{Gauges, TimeSeries};
use super::workloads::{Counts, WorkloadTable};
use crate::api::object::Obj;
use crate::api::pod::{ConditionType, Pod};
use crate::api::request::User;
use crate::api::versions::{Change, ObjRef, Versions};
use crate::api::{Kind, node::Node};
use crate::cluster::spec::{Agent, EventMatch, Expect, FaultKind, Plan, SchedulerSpec};
use crate::cluster::{HELD, NETWORK};
use crate::control_plane::cloud::config::Group;
use crate::engine::{SimTime, Sym, num};
use crate::event::logs::Tally as LogTally;
use crate::event::traffic::Flow;
use crate::event::{Record, What};
use crate::session::Observer;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Decisions of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decisions {
    /// Pods for which a node was found.
    pub placed: u64,
    /// Attempts that found none.
    pub failed: u64,
    /// Nodes looked at.
    pub evaluated: u64,
}

/// Watches a run.
#[derive(Debug)]
pub struct Metrics {
    /// The plan's facts that the report repeats.
    pub plan: Box<Plan>,
    /// Pods.
    pub pods: PodTable,
    /// Nodes and zones.
    pub nodes: NodeTable,
    /// Workloads.
    pub workloads: WorkloadTable,
    /// Faults.
    pub faults: Vec<FaultRow>,
    /// Requests.
    pub requests: Requests,
    /// Requests that were refused, and warnings.
    pub refusals: Refusals,
    /// Requests to Services.
    pub traffic: super::traffic::Table,
    /// Logs of containers.
    pub logs: super::logs::Table,
    /// What the time of those that work was spent on.
    pub workers: super::work::Table,
    /// Samples.
    pub series: TimeSeries,
    /// What is counted between samples.
    pub gauges: Gauges,
    /// Sums over all pods.
    pub totals: Counts,
    /// Decisions of the scheduler.
    pub decisions: Decisions,
    /// Kubernetes Events written, new or repeated.
    pub events: u64,
    /// GPUs that pods share, if there are any.
    pub gpus: Option<Box<GpuTable>>,
    /// The network of pods, if the scenario describes one.
    pub network: Option<Box<Network>>,
    /// Those that assertions ask for.
    pub expected_events: Vec<(EventMatch, u64)>,
    /// First creation of a pod and last end of one.
    pub work: (Option<SimTime>, Option<SimTime>),
    /// The end of the run.
    pub ended: SimTime,
    /// Pods without a node at the end, by the scheduler's message, with their workloads.
    pub unscheduled: BTreeMap<String, u32>,
    /// The longest wait for a node, waits that did not end included, nanoseconds.
    pub longest_wait: u64,
    /// How many ready replicas each workload needs by its disruption budget, in the order of the
    /// workloads: known at the end.
    pub needs: Vec<Option<Need>>,
    /// Claims and Services: known at the end.
    pub standing: Standing,
    /// Waiting time by reason and lost work, if somebody asks for them.
    pub strain: Option<Box<Strain>>,
    /// CPU and memory that pods use, where the scenario says so.
    pub used: Used,
    /// How much longer pods took than they had to.
    pub slowdowns: Slowdowns,
    /// What machines of the cloud cost, if there are any.
    pub bills: Option<Box<Bills>>,
    sink: Option<Box<dyn RowSink>>,
    line: Line,
    /// Who deletes pods because of taints: the controller's own account, and since 1.29 the one it
    /// shares with the node controller.
    evictors: [Sym; 2],
    /// Nodes struck at one instant, whose pods are looked at once it has passed.
    crashed: (SimTime, BTreeSet<u32>),
    active_faults: bool,
    primed: bool,
}

/// The Kubernetes Events that an assertion asks for, none of them seen.
fn asked(expect: &Expect) -> Option<(EventMatch, u64)> {
    let Expect::Event { which, .. } = expect else { return None };
    Some((EventMatch::clone(which), 0))
}

/// Nodes that may come during the run and that the heat map is to have rows for.
fn later(plan: &Plan) -> usize {
    const MOST: usize = 2000;
    let groups = plan.cluster.cloud.iter().flat_map(|cloud| &cloud.config.groups);
    let of = |group: &Group| match (group.bounds, group.kind) {
        (Some((_, max)), _) => 2 * max as usize,
        (None, Some(_)) => group.count as usize,
        (None, None) => 100,
    };
    groups.map(of).sum::<usize>().min(MOST)
}

/// True if an assertion cannot be judged without [`Strain`].
fn strains(expect: &Expect) -> bool {
    matches!(expect, Expect::LostWork(_) | Expect::PendingTotal(_))
}

impl Metrics {
    /// An observer for a run of this plan; rows of pods and events go to the sink, if there is one.
    #[must_use]
    pub fn new(plan: &Plan, sink: Option<Box<dyn RowSink>>) -> Self {
        let nodes = NodeTable::new(&plan.cluster.nodes);
        let mut metrics = Self {
            series: TimeSeries::new(nodes.zones.len(), nodes.rows.len() + later(plan)),
            nodes,
            faults: (plan.faults.iter().map(FaultRow::new))
                .chain(plan.outages.iter().map(|o| FaultRow::again(&o.name)))
                .collect(),
            plan: Box::new(slim(plan)),
            pods: PodTable::default(),
            workloads: WorkloadTable::default(),
            requests: Requests::default(),
            traffic: super::traffic::Table::new(&plan.traffic),
            logs: super::logs::Table::default(),
            workers: super::work::Table::default(),
            refusals: Refusals::default(),
            gauges: Gauges::default(),
            totals: Counts::default(),
            decisions: Decisions::default(),
            events: 0,
            gpus: GpuTable::of(plan),
            network: Network::of(plan),
            expected_events: plan.expect.iter().filter_map(asked).collect(),
            work: (None, None),
            ended: SimTime::ZERO,
            unscheduled: BTreeMap::new(),
            longest_wait: 0,
            needs: Vec::new(),
            standing: Standing::default(),
            strain: plan.expect.iter().any(strains).then(Box::default),
            used: Used::default(),
            slowdowns: Slowdowns::default(),
            bills: None,
            sink,
            line: Line::default(),
            evictors: [Sym::new("taint-eviction-controller"), Sym::new("node-controller")],
            crashed: (SimTime::ZERO, BTreeSet::new()),
            active_faults: false,
            primed: false,
        };
        if let Some(sink) = &mut metrics.sink {
            sink.row(Stream::Pods, PODS_HEAD.as_bytes());
            sink.row(Stream::Events, EVENTS_HEAD.as_bytes());
        }
        metrics
    }

    /// Closes the sink: call it after the end of the run.
    ///
    /// # Errors
    /// The first error of writing rows.
    pub fn close(&mut self) -> io::Result<()> {
        self.sink.take().map_or(Ok(()), |mut sink| sink.close())
    }

    /// Joins a run that is under way: what is there now is taken as it is, bare pods that serve as
    /// wanted.
    pub fn join(&mut self, now: SimTime, versions: &Versions) {
        self.series.begin(now);
        self.prime(now, None, versions);
        self.workloads.keep_bare(now);
        if let Some(strain) = &mut self.strain {
            strain.join(now, self.plan.cluster.epoch_s, versions);
        }
    }

    /// Takes in what was there before the first record (a warm start). The object of that record
    /// is left to it; what is there already was neither created nor bound in this run.
    fn prime(&mut self, now: SimTime, first: Option<(Kind, ObjRef)>, versions: &Versions) {
        self.primed = true;
        for kind in [
            Kind::Node,
            Kind::Deployment,
            Kind::StatefulSet,
            Kind::DaemonSet,
            Kind::ReplicaSet,
            Kind::Pod,
        ] {
            for (object, value) in versions.iter(kind).filter(|(o, _)| Some((kind, *o)) != first) {
                self.prime_one(now, object, value);
            }
        }
        self.totals = Counts::default();
        self.work = (None, None);
        for row in &mut self.workloads.rows {
            row.counts = Counts::default();
        }
    }

    fn prime_one(&mut self, now: SimTime, object: ObjRef, value: &Obj) {
        if let Obj::Pod(pod) = value {
            self.pod(now, User::ApiServer, object, pod);
        } else if let Obj::Node(node) = value {
            self.node(now, object, node, false);
        } else {
            self.workloads.object(value, false, now);
        }
    }

    fn committed(&mut self, change: &Change, user: User, verb: (&'static str, &'static str)) {
        let now = change.time;
        if let Obj::Pod(pod) = &change.value {
            if verb.0 == "delete" || verb.1 == "/eviction" {
                self.unwanted(change.object, user, verb.1, now);
            }
            if change.deleted {
                self.gone(now, change.object, pod);
            } else {
                self.pod(now, user, change.object, pod);
            }
        } else if let Obj::Event(event) = &change.value {
            // That an Event expires an hour later is no news.
            if change.deleted {
                return;
            }
            self.events += 1;
            if let Some(network) = &mut self.network {
                network.event(event);
            }
            for (wanted, count) in &mut self.expected_events {
                *count += u64::from(fits(event, wanted));
            }
            if let Some(sink) = &mut self.sink {
                event_row(&mut self.line, now, event);
                sink.row(Stream::Events, self.line.end());
            }
        } else if let Obj::Node(node) = &change.value {
            self.node(now, change.object, node, change.deleted);
        } else {
            self.workloads.object(&change.value, change.deleted, now);
        }
    }

    /// Somebody asks that a pod go away; the first one counts.
    fn unwanted(&mut self, object: ObjRef, user: User, subresource: &str, now: SimTime) {
        let Some(index) = self.pods.find(object) else { return };
        if !self.pods.unwanted(index, user) {
            return;
        }
        if user == User::Scheduler {
            let workload = self.pods.row(index).workload;
            self.totals.preempted += 1;
            self.workloads.row_mut(workload).counts.preempted += 1;
        }
        let by_taint = matches!(user, User::Controller(name) if self.evictors.contains(&name));
        if !by_taint && subresource != "/eviction" {
            return;
        }
        let row = self.pods.row_mut(index);
        row.evicted = true;
        let (workload, node) = (row.workload, row.node);
        self.totals.evicted += 1;
        self.workloads.row_mut(workload).counts.evicted += 1;
        let fault = self.nodes.rows.get(node as usize).map_or(NONE, |n| n.fault);
        if let Some(fault) = self.faults.get_mut(fault as usize).filter(|_| by_taint) {
            fault.evictions += 1;
            fault.evicted.add(now);
        }
    }

    /// A pod has this content now.
    fn pod(&mut self, now: SimTime, user: User, object: ObjRef, pod: &Pod) {
        let (index, known) = match self.pods.find(object) {
            Some(index) => (index, true),
            None => (self.created(now, object, pod), false),
        };
        if self.pods.row(index).node == NONE && !pod.node.is_empty() {
            self.bound(now, index, pod.node, known);
            if let Some(gpus) = &mut self.gpus {
                gpus.bound(object, pod, now);
            }
        }
        if let Some(gpus) = &mut self.gpus
            && pod.terminal()
        {
            gpus.gone(object, now);
        }
        let row = self.pods.row_mut(index);
        if row.lost && matches!(user, User::Kubelet(_)) {
            row.lost = self.nodes.rows.get(row.node as usize).is_some_and(|n| n.down);
        }
        let restarts = pod.status.containers.iter().map(|c| c.restarts).sum::<u32>();
        let more = u64::from(restarts.saturating_sub(row.restarts));
        if more > 0 {
            row.restarts = restarts;
            self.totals.restarts += more;
            self.workloads.row_mut(row.workload).counts.restarts += more;
        }
        let state = row.judge(pod);
        // A kubelet that is short of something asks nobody: it ends the pod and says so.
        let evicted = pod.terminal() && pod.status.reason.as_str() == "Evicted";
        let workload = row.workload;
        if evicted && self.pods.unwanted(index, user) {
            self.pods.row_mut(index).evicted = true;
            self.totals.evicted += 1;
            self.workloads.row_mut(workload).counts.evicted += 1;
        }
        self.turn(now, index, state);
    }

    fn created(&mut self, now: SimTime, object: ObjRef, pod: &Pod) -> usize {
        if let Some(gpus) = &mut self.gpus {
            gpus.created(pod);
        }
        let workload = self.workloads.of_pod(pod);
        let index = self.pods.add(object, pod, workload, now);
        self.totals.created += 1;
        self.workloads.row_mut(workload).counts.created += 1;
        self.work.0 = self.work.0.or(Some(now));
        self.gauges.turn(State::Waiting, 1);
        let (cpu, memory) = self.pods.row(index).room();
        self.gauges.waiting.0 += cpu;
        self.gauges.waiting.1 += memory;
        self.nodes.fragments.created((cpu, memory));
        index
    }

    /// A pod has a node. One that came with it (static, or from a file) waited for nobody.
    fn bound(&mut self, now: SimTime, index: usize, node: Sym, waited: bool) {
        let node = self.nodes.index(node);
        self.pods.bind(index, node, now);
        let row = self.pods.row(index);
        let ((cpu, memory), workload) = (row.room(), row.workload);
        let (wait, created) = (now.since(row.created).0, row.created);
        if row.state == State::Waiting {
            self.gauges.waiting.0 -= cpu;
            self.gauges.waiting.1 -= memory;
        }
        if waited {
            self.pods.waits.push(wait);
            self.longest_wait = self.longest_wait.max(wait);
        }
        self.totals.bound += 1;
        self.workloads.row_mut(workload).counts.bound += 1;
        self.nodes.rows[node].bound += 1;
        self.nodes.occupy(node, cpu, memory, 1, now);
        if self.active_faults {
            for fault in &mut self.faults {
                fault.bound(workload, created, now);
            }
        }
    }

    /// A pod's state has become this one.
    fn turn(&mut self, now: SimTime, index: usize, state: State) {
        let row = self.pods.row_mut(index);
        let old = row.state;
        if old == state {
            return;
        }
        let held = row.holds();
        row.state = state;
        let freed = held && !row.holds();
        if matches!(state, State::Ready | State::NotReady) && row.running == SimTime::MAX {
            row.running = now;
        }
        if state == State::Ready && row.ready == SimTime::MAX {
            row.ready = now;
        }
        let ((cpu, memory), node, workload) = (row.room(), row.node, row.workload);
        self.gauges.turn(old, -1);
        self.gauges.turn(state, 1);
        if old == State::Waiting && node == NONE {
            self.gauges.waiting.0 -= cpu;
            self.gauges.waiting.1 -= memory;
        }
        if freed {
            self.nodes.occupy(node as usize, cpu, memory, -1, now);
        }
        if state == State::Ready {
            self.workloads.serve(workload, 1, now);
        } else if old == State::Ready {
            self.workloads.serve(workload, -1, now);
        }
        if matches!(state, State::Succeeded | State::Failed) {
            self.finished(now, index, state);
        }
    }

    fn finished(&mut self, now: SimTime, index: usize, state: State) {
        self.pods.end(index, now);
        let row = self.pods.row(index);
        self.work.1 = Some(now);
        if state == State::Succeeded {
            self.slowdowns.add(row.workload, (row.created, row.running, now));
        }
        let failed = u64::from(state == State::Failed);
        for counts in [&mut self.totals, &mut self.workloads.row_mut(row.workload).counts] {
            counts.failed += failed;
            counts.succeeded += 1 - failed;
        }
    }

    /// A pod is gone from the store.
    fn gone(&mut self, now: SimTime, object: ObjRef, pod: &Pod) {
        if let Some(gpus) = &mut self.gpus {
            gpus.gone(object, now);
        }
        let Some(index) = self.pods.find(object) else { return };
        let row = self.pods.row(index);
        let (state, node, workload) = (row.state, row.node, row.workload);
        let (cpu, memory) = row.room();
        if row.holds() {
            self.nodes.occupy(node as usize, cpu, memory, -1, now);
        }
        if state == State::Waiting {
            self.gauges.waiting.0 -= cpu;
            self.gauges.waiting.1 -= memory;
        }
        self.gauges.turn(state, -1);
        if state == State::Ready {
            self.workloads.serve(workload, -1, now);
        }
        self.totals.deleted += 1;
        self.workloads.row_mut(workload).counts.deleted += 1;
        if node == NONE {
            self.longest_wait = self.longest_wait.max(now.since(self.pods.row(index).created).0);
        }
        self.write_pod(index, pod, now);
        self.pods.remove(index);
    }

    fn write_pod(&mut self, index: usize, pod: &Pod, gone: SimTime) {
        let Some(sink) = &mut self.sink else { return };
        let row = self.pods.row(index);
        let workload = &self.workloads.rows[row.workload as usize].label;
        let node = self.nodes.rows.get(row.node as usize).map_or(Sym::EMPTY, |n| n.name);
        let (ended, by) = (self.pods.ended(index), self.pods.gone_by(index));
        pod_row(&mut self.line, (row, pod), (workload, node), (ended, gone, by));
        sink.row(Stream::Pods, self.line.end());
    }

    fn node(&mut self, now: SimTime, object: ObjRef, node: &Node, deleted: bool) {
        if let Some(gpus) = &mut self.gpus {
            if deleted {
                gpus.lost(node, now);
            } else {
                gpus.node(node);
            }
        }
        let (index, turned) = self.nodes.update(object, node, deleted, now);
        let row = &self.nodes.rows[index];
        if !turned || row.ready {
            return;
        }
        if let Some(fault) = self.faults.get_mut(row.fault as usize)
            && fault.nodes.contains(&index)
            && fault.noticed.insert(index)
        {
            fault.detected.add(now);
        }
    }

    fn fault(&mut self, now: SimTime, fault: u32, node: Sym, step: &str) {
        let Some(row) = self.faults.get_mut(fault as usize) else { return };
        if !of_nodes(row.what) || node.as_str() == NETWORK {
            // No node goes down with it.
            if begins(step) {
                row.begun = row.begun.or(Some(now));
            } else {
                row.ended = Some(now);
            }
            if row.component.is_empty() && of_watches(row.what) {
                row.nodes.insert(self.nodes.index(node));
            }
            return;
        }
        let index = self.nodes.index(node);
        let crash = downs(row.what);
        let machine = &mut self.nodes.rows[index];
        if begins(step) {
            row.strike(index, now);
            machine.fault = fault;
            machine.down |= crash;
            machine.crashes += u32::from(crash);
            self.active_faults = true;
            if self.crashed.0 < now {
                self.flush_crashes();
            }
            self.crashed.0 = now;
            self.crashed.1.insert(num::u32_of(index));
        } else {
            row.relieve(index, now);
            if step == HELD {
                return;
            }
            machine.down &= !crash;
            if machine.agent == Agent::Fakelet {
                self.revive(now, index);
            }
        }
    }

    /// The minimal agent does not report its pods again after an outage that nobody noticed.
    fn revive(&mut self, now: SimTime, node: usize) {
        for index in self.pods.on_node(node) {
            let row = self.pods.row_mut(index);
            if !std::mem::take(&mut row.lost) {
                continue;
            }
            if row.state == State::NotReady && self.nodes.rows[node].ready {
                self.turn(now, index, State::Ready);
            }
        }
    }

    /// Machines have crashed: what ran on them serves no more, whatever the API still says.
    fn flush_crashes(&mut self) {
        let now = self.crashed.0;
        let nodes = std::mem::take(&mut self.crashed.1);
        let all = nodes.into_iter().flat_map(|node| self.pods.on_node(node as usize));
        for index in all.collect::<Vec<usize>>() {
            let row = self.pods.row_mut(index);
            if !row.holds() || row.lost {
                continue;
            }
            let (node, workload, state) = (row.node as usize, row.workload, row.state);
            let machine = &self.nodes.rows[node];
            row.lost = machine.down;
            let serves = self.workloads.rows[workload as usize].serves();
            if let Some(fault) = self.faults.get_mut(machine.fault as usize) {
                fault.hits(workload, serves);
            }
            if machine.down && state == State::Ready {
                self.turn(now, index, State::NotReady);
            }
        }
    }

    fn scheduled(&mut self, pod: ObjRef, node: Sym, evaluated: u32) {
        if let Some(index) = self.pods.find(pod) {
            self.pods.row_mut(index).attempts += 1;
        }
        self.decisions.evaluated += u64::from(evaluated);
        if node.is_empty() {
            self.decisions.failed += 1;
        } else {
            self.decisions.placed += 1;
        }
    }
}

/// True for faults that nodes are counted of, from strike to relief.
const fn of_nodes(what: FaultKind) -> bool {
    downs(what)
        || matches!(
            what,
            FaultKind::KubeletStop
                | FaultKind::Partition { .. }
                | FaultKind::Freeze
                | FaultKind::Network(_)
        )
}

/// True for faults in which machines go down.
const fn downs(what: FaultKind) -> bool {
    matches!(
        what,
        FaultKind::NodeCrash
            | FaultKind::Shutdown
            | FaultKind::Blackout(_)
            | FaultKind::Interrupt(_)
            | FaultKind::Upgrade(_)
    )
}

/// True for faults whose nodes are counted although nothing on them ends.
const fn of_watches(what: FaultKind) -> bool {
    matches!(what, FaultKind::WatchLoss | FaultKind::SlowNode(_) | FaultKind::DiskFull(_))
}

/// The plan without the objects and traces, which the report does not need.
fn slim(plan: &Plan) -> Plan {
    let mut kept = plan.clone();
    kept.steps.clear();
    kept.arrivals.clear();
    kept.warm.clear();
    kept.pins.clear();
    kept.outages.clear();
    kept
}

/// The scheduler's last word on a pod.
fn why_waiting(pod: &Pod, scheduler: &SchedulerSpec) -> String {
    let name = pod.spec.scheduler_name;
    if !name.is_empty() && !scheduler.serves(name) {
        return format!("no profile of the scheduler serves schedulerName {:?}", name.as_str());
    }
    let condition = pod.status.condition(ConditionType::PodScheduled);
    let message = condition.map_or("", |c| c.message.as_str());
    if message.is_empty() { "not looked at yet".to_owned() } else { message.to_owned() }
}

impl Metrics {
    /// What the faults have put out of reach.
    fn look_for_disks(&mut self, live: &[u32], versions: &Versions) {
        let waits = live.iter().map(|&index| index as usize);
        let waits = waits.filter(|&index| self.pods.row(index).state == State::Waiting);
        let waits: Vec<(&Pod, u32)> = waits
            .filter_map(|index| {
                let pod = self.pods.content(index, versions)?;
                Some((pod, self.pods.row(index).workload))
            })
            .collect();
        let found: Vec<OutOfReach> =
            self.faults.iter().map(|row| out_of_reach(row, self, &waits, versions)).collect();
        for (row, disks) in self.faults.iter_mut().zip(found) {
            row.disks = disks;
        }
    }
}

impl Observer for Metrics {
    fn on(&mut self, record: &Record, versions: &Versions) {
        if let Some(strain) = &mut self.strain {
            strain.on(record, versions);
        }
        // First: samples that are due lie between the crash and this record.
        if !self.crashed.1.is_empty() && record.time > self.crashed.0 {
            self.flush_crashes();
        }
        if self.series.due(record.time) {
            self.series.catch_up(record.time, &mut self.gauges, &mut self.nodes);
        }
        match record.what {
            What::Committed { kind, log, object, user, verb } => {
                self.requests.count(user, verb, kind, false);
                if !self.primed {
                    self.prime(record.time, Some((kind, object)), versions);
                }
                if let Some(change) = versions.change(kind, log) {
                    self.committed(change, user, verb);
                }
            }
            What::Refused { user, verb, kind, ns, name, error } => {
                self.requests.count(user, verb, kind, true);
                self.refusals.refused((user, verb, kind), (ns, name), error, record.time);
            }
            What::Warned { user, kind, text, .. } => self.refusals.warned(user, kind, text),
            What::Scheduled { pod, node, evaluated, .. } => {
                self.scheduled(pod, node, evaluated);
            }
            What::Machine { node, pool, kind, spot, micro_per_hour, on } => {
                let bill = (node, pool, kind, spot, micro_per_hour);
                self.bills.get_or_insert_default().turn(bill, on, record.time);
                if !on {
                    self.nodes.retire(node, record.time);
                }
            }
            What::Fault { fault, node, step } => self.fault(record.time, fault, node, step),
            What::Worked { pod, part, ns, done } => {
                if let Some(index) = self.pods.find(pod) {
                    let workload = self.pods.row(index).workload;
                    self.workers.add(workload, part, (ns, done), record.time);
                }
            }
            What::Lost { row, cause, count } => self.traffic.lost(row, cause, count),
            What::Flow { .. }
            | What::Event(_)
            | What::Submitted { .. }
            | What::Stage(_)
            | What::Delivered { .. }
            | What::Sync { .. }
            | What::Node { .. }
            | What::Noticed { .. }
            | What::Listed { .. }
            | What::Scenario { .. } => {}
        }
    }

    fn flow(&mut self, now: SimTime, row: u32, flow: &Flow) {
        self.traffic.flow(now, row, flow);
    }

    fn usage(&mut self, now: SimTime, used: (i64, i64)) {
        self.used.scraped(now, used, &self.nodes.all);
    }

    fn logs(&mut self, node: Sym, tally: &LogTally) {
        self.logs.node(node, tally);
    }

    fn end(&mut self, now: SimTime, versions: &Versions) {
        self.flush_crashes();
        self.traffic.end(now);
        self.ended = now;
        self.needs = needs(&self.workloads.rows, versions);
        self.standing = Standing::of(versions);
        if let Some(strain) = &mut self.strain {
            strain.end(now);
        }
        if let Some(bills) = &mut self.bills {
            bills.close(now);
        }
        if let Some(gpus) = &mut self.gpus {
            gpus.end(now);
        }
        self.series.close(now, &mut self.gauges, &mut self.nodes);
        self.nodes.close(now);
        // Narrow numbers and no buffer: of a big cluster this is the moment of most memory.
        let mut live: Vec<u32> = self.pods.live().map(num::u32_of).collect();
        live.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            let by_name = || {
                let (a, b) = (self.pods.content(a, versions), self.pods.content(b, versions));
                let (a, b) = (a.map(|p| &p.meta), b.map(|p| &p.meta));
                let ordering = a
                    .zip(b)
                    .map(|(a, b)| a.ns.cmp_text(b.ns).then_with(|| a.name.cmp_text(b.name)));
                ordering.unwrap_or_else(|| a.is_some().cmp(&b.is_some()))
            };
            self.pods.row(a).created.cmp(&self.pods.row(b).created).then_with(by_name)
        });
        self.look_for_disks(&live, versions);
        for index in live {
            let index = index as usize;
            let Some(pod) = self.pods.content(index, versions) else { continue };
            let row = self.pods.row(index);
            if row.state == State::Waiting {
                self.longest_wait = self.longest_wait.max(now.since(row.created).0);
                let why = why_waiting(pod, &self.plan.cluster.scheduler);
                *self.unscheduled.entry(why).or_default() += 1;
            }
            self.write_pod(index, pod, SimTime::MAX);
        }
    }
}
