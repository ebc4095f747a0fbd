//! Requests to Services: who sends them, what the rules of the sender's node make of them, and what
//! becomes of them at the pods.
//!
//! Requests are flows. Between two changes (of a rate, of the rules of a node, of a program that
//! begins or ceases to listen) each row of traffic has one rate for each outcome, and what is
//! counted is rates times time: twice as many requests cost nothing more. Numbers of requests in
//! reports are therefore expected values, and no whole numbers.

pub mod balancer;
pub mod choice;
mod flow;
pub mod station;

use crate::api::labels::Selector;
use crate::api::object::Obj;
use crate::api::pod::Phase;
use crate::api::versions::Change;
use crate::api::{Kind, Name, Uid};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::traffic::{CAUSES, Cause};
use crate::event::usage::Course;
use crate::event::{Context, Event, TrafficEvent, What};
use crate::node::Serving;
use crate::node::proxy::Proxies;
use flow::Row;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
pub use station::Request;
use std::collections::{BTreeMap, BTreeSet};

/// A row of traffic, as the plan has it.
#[derive(Debug, Clone)]
pub struct RowSpec {
    /// Name.
    pub name: Sym,
    /// Namespace of the Service.
    pub ns: Sym,
    /// The Service.
    pub service: Name,
    /// Who sends.
    pub from: Clients,
    /// Thousandths of a request per second.
    pub rate: Course,
    /// What a request costs.
    pub request: Request,
    /// Share of requests that should be answered in time, if one is promised.
    pub objective: Option<f64>,
    /// What the name of the Service costs whoever connects.
    pub dns: Option<Lookup>,
    /// Senders know the endpoints themselves, and no node's rules come between: an Ingress
    /// controller, or a load balancer outside that sends to pods.
    pub direct: bool,
    /// The row of the way up to these senders: what fails there does not come here.
    pub through: Option<u32>,
    /// Of queries for names, or of the way to a controller: nobody has written it.
    pub derived: bool,
}

/// Names that are looked up for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// The row of traffic of the queries.
    pub row: u32,
    /// Queries for a connection: addresses of both families, for each name of the search list that
    /// is tried.
    pub queries: u32,
}

/// A sender that is on no node.
const OUTSIDE: u32 = u32::MAX - 1;

/// Who sends requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// Clients outside of the cluster, through a load balancer that spreads them over all nodes.
    Outside(balancer::Checks),
    /// A load balancer outside that knows the pods and sends to them.
    Direct,
    /// The running pods of a workload, each as much as the others.
    Pods(Sym, Selector),
}

/// What traffic must know of the cluster as it is, and no component tells.
pub trait World {
    /// How a pod serves.
    fn serving(&self, node: u32, pod: Uid, now: SimTime) -> Serving;
    /// True if what one node sends does not reach the other.
    fn blocked(&self, from: u32, to: u32) -> bool;
    /// True if a machine has power and goes on.
    fn stands(&self, node: u32) -> bool;
    /// The node of a name.
    fn node(&self, name: Sym) -> Option<u32>;
    /// Name and zone of a node.
    fn place(&self, node: u32) -> (Sym, Sym);
    /// True unless load balancers are kept from a node: those of a control plane are, by their
    /// label (source: kubeadm, `node.kubernetes.io/exclude-from-external-load-balancers`).
    fn takes(&self, node: u32) -> bool;
    /// What is cut, as a number that changes with it; none while nothing is.
    fn cuts(&self) -> Option<u64>;
}

/// All traffic of a cluster.
#[derive(Debug, Clone)]
pub struct Traffic {
    rows: Vec<Row>,
    /// Rows by the Service that they go to, as the proxies number it.
    by_service: FxHashMap<u32, Vec<u32>>,
    /// Rows whose endpoints include a pod.
    by_pod: FxHashMap<Uid, Vec<u32>>,
    /// Pods that are clients: rows and nodes.
    clients: FxHashMap<Uid, SmallVec<[(u32, u32); 1]>>,
    /// By row and node: its clients.
    on_node: BTreeMap<(u32, u32), BTreeSet<Uid>>,
    dirty: BTreeSet<u32>,
    /// Rows whose load balancer's checks may come to another end on a node.
    checked: BTreeSet<(u32, u32)>,
    cut: Option<u64>,
}

impl Traffic {
    /// Traffic of these rows; a request to a pod of another node takes `between_s` seconds longer.
    pub fn new(rows: &[RowSpec], between_s: f64, proxies: &mut Proxies) -> Self {
        let mut traffic = Self {
            rows: Vec::new(),
            by_service: FxHashMap::default(),
            by_pod: FxHashMap::default(),
            clients: FxHashMap::default(),
            on_node: BTreeMap::new(),
            dirty: BTreeSet::new(),
            checked: BTreeSet::new(),
            cut: None,
        };
        for (i, spec) in rows.iter().enumerate() {
            let service = proxies.service(spec.ns, spec.service);
            proxies.watch_service(service);
            traffic.by_service.entry(service).or_default().push(num::u32_of(i));
            traffic.rows.push(Row::new(spec, service, between_s));
        }
        traffic
    }

    /// True if it must know which pods are clients.
    #[must_use]
    pub fn watches_pods(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.spec.from, Clients::Pods(..)))
    }

    /// The first rates, and the nodes that clients outside come through.
    pub fn start(&mut self, nodes: &[u32], proxies: &mut Proxies, cx: &mut Context<'_>) {
        cx.traffic_mut().flows = vec![crate::event::traffic::Flow::default(); self.rows.len()];
        for row in 0..num::u32_of(self.rows.len()) {
            if matches!(self.rows[row as usize].spec.from, Clients::Outside(_)) {
                for &node in nodes {
                    proxies.use_node(node, cx);
                    self.rows[row as usize].stands_behind(node);
                }
            }
            if self.rows[row as usize].spec.from == Clients::Direct {
                self.rows[row as usize].enter(OUTSIDE, 1);
            }
            if !self.rows[row as usize].spec.derived {
                self.rate(row, cx);
            }
            self.dirty.insert(row);
        }
    }

    /// The rate of a row is another one from now on.
    fn rate(&mut self, row: u32, cx: &mut Context<'_>) {
        let now = cx.now();
        let this = &mut self.rows[row as usize];
        let piece = this.spec.rate.piece(SimTime::ZERO, now);
        this.rate = num::float(piece.amount.max(0)) / 1000.0;
        self.dirty.insert(row);
        if let Some(next) = piece.until.filter(|t| *t > now) {
            cx.schedule(next, Event::Traffic(TrafficEvent::Rate { row }));
        }
    }

    /// An event of traffic.
    pub fn handle(&mut self, event: TrafficEvent, world: &impl World, cx: &mut Context<'_>) {
        match event {
            TrafficEvent::Rate { row } => self.rate(row, cx),
            TrafficEvent::Listens { pod } => self.look(pod, world, cx),
            TrafficEvent::Checked { row, node, number } => {
                let this = &mut self.rows[row as usize];
                if this.checked(node, number) {
                    self.dirty.insert(row);
                }
            }
        }
    }

    /// The rules of a node have changed for these Services.
    pub fn programmed(&mut self, node: u32, services: &[u32], proxies: &Proxies) {
        for service in services {
            for &row in self.by_service.get(service).into_iter().flatten() {
                let this = &mut self.rows[row as usize];
                if matches!(this.spec.from, Clients::Outside(_)) {
                    self.checked.insert((row, node));
                }
                if this.moved(node, proxies) {
                    self.dirty.insert(row);
                }
            }
        }
    }

    /// The load balancer of a Service has been told its nodes.
    pub fn balanced(
        &mut self,
        (ns, service): (Sym, Name),
        nodes: &BTreeSet<u32>,
        cx: &mut Context<'_>,
    ) {
        for row in 0..num::u32_of(self.rows.len()) {
            let this = &mut self.rows[row as usize];
            let Clients::Outside(checks) = this.spec.from else { continue };
            let own = (this.spec.ns, this.spec.service) == (ns, service);
            if own && this.told(row, nodes, checks, cx) {
                self.dirty.insert(row);
            }
        }
    }

    /// All rules of a node are gone, or are others.
    pub fn programmed_all(&mut self, node: u32, proxies: &Proxies) {
        for row in 0..num::u32_of(self.rows.len()) {
            if self.rows[row as usize].moved(node, proxies) {
                self.dirty.insert(row);
            }
        }
    }

    /// The endpoints of a Service have changed: those who know them themselves act upon it.
    pub fn endpoints_changed(&mut self, service: u32, proxies: &Proxies) {
        for &row in self.by_service.get(&service).into_iter().flatten() {
            if self.rows[row as usize].all_moved(proxies) {
                self.dirty.insert(row);
            }
        }
    }

    /// A pod has changed, as its clients' owner is told.
    pub fn on_pod(
        &mut self,
        change: &Change,
        (world, proxies): (&impl World, &mut Proxies),
        cx: &mut Context<'_>,
    ) {
        let Obj::Pod(pod) = &change.value else { return };
        let uid = pod.meta.uid;
        let runs = !change.deleted && pod.status.phase == Phase::Running;
        if !runs {
            for client in self.clients.remove(&uid).into_iter().flatten() {
                self.leave(client, uid);
            }
            return;
        }
        if self.clients.contains_key(&uid) {
            return;
        }
        let Some(node) = world.node(pod.node) else { return };
        for row in 0..num::u32_of(self.rows.len()) {
            let Clients::Pods(ns, selector) = &self.rows[row as usize].spec.from else { continue };
            if *ns == pod.meta.ns && selector.matches(pod.meta.labels) {
                self.clients.entry(uid).or_default().push((row, node));
                self.on_node.entry((row, node)).or_default().insert(uid);
                proxies.use_node(node, cx);
                self.count(row, node, world, cx.now());
            }
        }
        self.await_client(uid, world, cx);
    }

    fn leave(&mut self, (row, node): (u32, u32), uid: Uid) {
        if let Some(here) = self.on_node.get_mut(&(row, node)) {
            here.remove(&uid);
        }
        if self.rows[row as usize].counted.remove(&uid) {
            self.enters(row, node, false);
        }
    }

    /// A client more sends from a node, or one less; it asks for names from there as well.
    fn enters(&mut self, row: u32, node: u32, more: bool) {
        let names = self.rows[row as usize].spec.dns.map(|lookup| lookup.row);
        for row in std::iter::once(row).chain(names) {
            let this = &mut self.rows[row as usize];
            if more {
                this.enter(node, 1);
            } else {
                this.exit(node, 1);
            }
            self.dirty.insert(row);
        }
    }

    /// Counts the clients of a row on a node anew: those whose programs run.
    fn count(&mut self, row: u32, node: u32, world: &impl World, now: SimTime) {
        let here = self.on_node.get(&(row, node)).cloned().unwrap_or_default();
        for uid in here {
            let this = &mut self.rows[row as usize];
            let runs = world.stands(node)
                && world.serving(node, uid, now).answers == crate::node::Answers::Program;
            let turned = if runs { this.counted.insert(uid) } else { this.counted.remove(&uid) };
            if turned {
                self.enters(row, node, runs);
            }
        }
    }

    /// Something may have happened to a pod's program.
    fn look(&mut self, pod: Uid, world: &impl World, cx: &mut Context<'_>) {
        for row in self.by_pod.get(&pod).cloned().unwrap_or_default() {
            if self.rows[row as usize].look(row, pod, world, cx) {
                self.dirty.insert(row);
            }
        }
        for (row, node) in self.clients.get(&pod).cloned().unwrap_or_default() {
            self.count(row, node, world, cx.now());
        }
        self.await_client(pod, world, cx);
    }

    /// A client whose program listens later sends later.
    fn await_client(&self, pod: Uid, world: &impl World, cx: &mut Context<'_>) {
        let Some(&(_, node)) = self.clients.get(&pod).and_then(|rows| rows.first()) else { return };
        let serving = world.serving(node, pod, cx.now());
        let waits = world.stands(node) && serving.answers != crate::node::Answers::Program;
        if let Some(at) = serving.until.filter(|_| waits) {
            cx.schedule(at, Event::Traffic(TrafficEvent::Listens { pod }));
        }
    }

    /// After each event: what it has touched is looked at, and rates follow.
    pub fn settle(&mut self, world: &impl World, proxies: &mut Proxies, cx: &mut Context<'_>) {
        let touched = std::mem::take(&mut cx.traffic_mut().touched);
        let mut last = None;
        for pod in touched {
            if last.replace(pod) != Some(pod) {
                self.look(pod, world, cx);
            }
        }
        for node in std::mem::take(&mut cx.traffic_mut().struck) {
            self.struck(node, (world, proxies), cx);
        }
        while let Some((row, node)) = self.checked.pop_first() {
            let this = &mut self.rows[row as usize];
            if let Clients::Outside(checks) = this.spec.from
                && world.takes(node)
            {
                this.check(row, node, (checks, world, proxies), cx);
            }
        }
        let cut = world.cuts();
        if cut != self.cut {
            self.cut = cut;
            for row in 0..num::u32_of(self.rows.len()) {
                self.rows[row as usize].apart(cut.is_some());
                self.dirty.insert(row);
            }
        }
        while let Some(row) = self.dirty.pop_first() {
            self.flow(row, world, proxies, cx);
        }
    }

    /// A machine has crashed, stands still, goes on or is back.
    fn struck(
        &mut self,
        node: u32,
        (world, proxies): (&impl World, &mut Proxies),
        cx: &mut Context<'_>,
    ) {
        for row in 0..num::u32_of(self.rows.len()) {
            let this = &mut self.rows[row as usize];
            let changed = this.look_at_node(row, node, world, cx);
            if let Clients::Outside(checks) = this.spec.from
                && world.takes(node)
            {
                proxies.use_node(node, cx);
                this.check(row, node, (checks, world, proxies), cx);
            }
            if changed {
                self.dirty.insert(row);
            }
            self.count(row, node, world, cx.now());
        }
        let rows = 0..num::u32_of(self.rows.len());
        let here = rows.filter_map(|row| self.on_node.get(&(row, node)));
        let clients: BTreeSet<Uid> = here.flatten().copied().collect();
        for pod in clients {
            self.await_client(pod, world, cx);
        }
    }

    /// What fails before requests come to the Service: their shares by cause, and how long they
    /// take to get there.
    fn before(&self, row: u32, cx: &Context<'_>) -> ([f64; CAUSES], f64) {
        let spec = &self.rows[row as usize].spec;
        let mut failing = [0.0; CAUSES];
        let mut takes = 0.0;
        if let Some(way) = spec.through {
            let flow = &cx.traffic().flows[way as usize];
            for (share, rate) in failing.iter_mut().zip(flow.failing) {
                *share = rate / flow.offered.max(1e-12);
            }
            takes = flow.latency.quantile(0.5).unwrap_or(0.0);
        }
        if let Some(lookup) = spec.dns {
            let flow = &cx.traffic().flows[lookup.row as usize];
            let share = flow.failing.iter().sum::<f64>() / flow.offered.max(1e-12);
            // Who gets no answer asks once more.
            failing[Cause::NoDns as usize] += share.clamp(0.0, 1.0) * share.clamp(0.0, 1.0);
        }
        (failing, takes)
    }

    /// The rates of a row, from now on.
    fn flow(&mut self, row: u32, world: &impl World, proxies: &Proxies, cx: &mut Context<'_>) {
        let (failing, takes) = self.before(row, cx);
        let this = &mut self.rows[row as usize];
        let rules = if this.spec.direct { 0.0 } else { proxies.lookup_s() };
        let (known, gone) = this.rebuild(row, (world, proxies), cx);
        let flow = this.evaluate((takes + rules, failing), cx);
        debug_assert!(
            flow.failing.iter().sum::<f64>() <= flow.offered * (1.0 + 1e-9) + 1e-9,
            "more requests fail than are sent: {flow:?}"
        );
        for uid in gone {
            if let Some(rows) = self.by_pod.get_mut(&uid) {
                rows.retain(|r| *r != row);
                if rows.is_empty() {
                    self.by_pod.remove(&uid);
                }
            }
        }
        for uid in known {
            self.by_pod.entry(uid).or_default().push(row);
        }
        self.asks(row, flow.offered);
        if cx.traffic().flows[row as usize] == flow {
            return;
        }
        for amount in std::iter::once(flow.offered).chain(flow.failing) {
            cx.fold(amount.to_bits());
        }
        cx.traffic_mut().flows[row as usize] = flow;
        cx.record(What::Flow { row });
        // Whoever comes this way, or asks for names here, feels it.
        for other in 0..num::u32_of(self.rows.len()) {
            let spec = &self.rows[other as usize].spec;
            if spec.through == Some(row) || spec.dns.is_some_and(|d| d.row == row) {
                self.dirty.insert(other);
            }
        }
    }

    /// Queries for names, and requests on their way to a controller, follow those of a row.
    fn asks(&mut self, row: u32, offered: f64) {
        let spec = &self.rows[row as usize].spec;
        let (dns, way) = (spec.dns, spec.through);
        self.rows[row as usize].offered = offered;
        let asked = dns.map(|lookup| lookup.row).into_iter().chain(way);
        for other in asked.collect::<SmallVec<[u32; 2]>>() {
            let each = |r: &Row| {
                let names = r.spec.dns.filter(|d| d.row == other).map_or(0, |d| d.queries);
                r.offered * f64::from(names + u32::from(r.spec.through == Some(other)))
            };
            let rate: f64 = self.rows.iter().map(each).sum();
            let there = &mut self.rows[other as usize];
            if (there.rate - rate).abs() > 1e-9 {
                there.rate = rate;
                self.dirty.insert(other);
            }
        }
    }

    /// Before a scrape: what pods have spent is written down.
    pub fn tally(&mut self, cx: &mut Context<'_>) {
        for row in &mut self.rows {
            row.fold(cx);
        }
    }
}

/// The row of queries for names, for clusters with a DNS Service.
#[must_use]
pub fn names_row(ns: Sym, service: Name) -> RowSpec {
    RowSpec {
        name: Sym::new("dns"),
        ns,
        service,
        from: Clients::Pods(Sym::EMPTY, Selector::default()),
        rate: Course::Constant(0),
        request: Request {
            cpu: SimDuration::from_micros(35),
            latency: crate::engine::Dist::Constant(SimDuration::from_micros(300)),
            concurrency: 1_000,
            queue: 0,
            timeout: SimDuration::from_secs(5),
        },
        objective: None,
        dns: None,
        direct: false,
        through: None,
        derived: true,
    }
}

/// The kind of clients.
pub const CLIENTS: Kind = Kind::Pod;
