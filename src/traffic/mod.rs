//! Requests to Services: who sends them, what the rules of the sender's node make of them, and what
//! becomes of them at the pods.
//!
//! Requests are flows. Between two changes (of a rate, of the rules of a node, of a program that
//! begins or ceases to listen) each row of traffic has one rate for each outcome, and what is counted
//! is rates times time: twice as many requests cost nothing more. Numbers of requests in reports are
//! therefore expected values, and no whole numbers.

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
use crate::event::usage::Course;
use crate::event::{Context, Event, TrafficEvent, What};
use crate::node::Serving;
use crate::node::proxy::Proxies;
use flow::Row;
use rustc_hash::FxHashMap;
pub use station::Request;
use std::collections::BTreeSet;

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
    /// Of queries for names: nobody has written it.
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

/// Who sends requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// Clients outside of the cluster, through a load balancer that spreads them over all nodes.
    Outside(balancer::Checks),
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
    /// Name and zone of a node, and a number that all nodes of that zone share.
    fn place(&self, node: u32) -> (Sym, Sym, u32);
    /// True while something is cut.
    fn cuts(&self) -> bool;
}

/// A client pod.
#[derive(Debug, Clone, Copy)]
struct Client {
    row: u32,
    node: u32,
    uid: Uid,
}

/// All traffic of a cluster.
#[derive(Debug, Clone)]
pub struct Traffic {
    rows: Vec<Row>,
    /// Rows by the Service that they go to, as the proxies number it.
    by_service: FxHashMap<u32, Vec<u32>>,
    /// Rows whose endpoints include a pod.
    by_pod: FxHashMap<Uid, Vec<u32>>,
    clients: FxHashMap<Uid, Vec<Client>>,
    dirty: BTreeSet<u32>,
    cut: bool,
}

impl Traffic {
    /// Traffic of these rows.
    pub fn new(rows: &[RowSpec], proxies: &mut Proxies) -> Self {
        let mut traffic = Self {
            rows: Vec::new(),
            by_service: FxHashMap::default(),
            by_pod: FxHashMap::default(),
            clients: FxHashMap::default(),
            dirty: BTreeSet::new(),
            cut: false,
        };
        for (i, spec) in rows.iter().enumerate() {
            let service = proxies.service(spec.ns, spec.service);
            proxies.watch_service(service);
            traffic.by_service.entry(service).or_default().push(num::u32_of(i));
            traffic.rows.push(Row::new(spec, service));
        }
        traffic
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// True if it must know which pods are clients.
    #[must_use]
    pub fn watches_pods(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.spec.from, Clients::Pods(..)))
    }

    /// The first rates, and the nodes that clients outside come through.
    pub fn start(&mut self, nodes: u32, proxies: &mut Proxies, cx: &mut Context<'_>) {
        cx.traffic_mut().flows = vec![crate::event::traffic::Flow::default(); self.rows.len()];
        for row in 0..num::u32_of(self.rows.len()) {
            if matches!(self.rows[row as usize].spec.from, Clients::Outside(_)) {
                for node in 0..nodes {
                    proxies.use_node(node, cx);
                    self.rows[row as usize].enter(node, 1);
                }
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
            TrafficEvent::Listens { pod, .. } => self.look(pod, world, cx),
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
                if self.rows[row as usize].moved(node, proxies) {
                    self.dirty.insert(row);
                }
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

    /// A pod has changed, as its clients' owner is told.
    pub fn on_pod(&mut self, change: &Change, world: &impl World, cx: &mut Touch<'_, '_>) {
        let Obj::Pod(pod) = &change.value else { return };
        let uid = pod.meta.uid;
        let runs = !change.deleted && pod.status.phase == Phase::Running;
        let known = self.clients.get(&uid).map_or(0, Vec::len);
        if !runs {
            for client in self.clients.remove(&uid).into_iter().flatten() {
                self.leave(client);
            }
            return;
        }
        if known > 0 {
            return;
        }
        let Some(node) = world.node(pod.node) else { return };
        for row in 0..num::u32_of(self.rows.len()) {
            let Clients::Pods(ns, selector) = &self.rows[row as usize].spec.from else { continue };
            if *ns == pod.meta.ns && selector.matches(pod.meta.labels) {
                self.clients.entry(uid).or_default().push(Client { row, node, uid });
                cx.proxies.use_node(node, cx.cx);
                self.count(row, node, world, cx.cx.now());
            }
        }
    }

    fn leave(&mut self, client: Client) {
        if self.rows[client.row as usize].counted.remove(&client.uid).is_some() {
            self.rows[client.row as usize].exit(client.node, 1);
            self.dirty.insert(client.row);
        }
    }

    /// Counts the clients of a row on a node anew: those whose programs run.
    fn count(&mut self, row: u32, node: u32, world: &impl World, now: SimTime) {
        let all = self.clients.values().flatten();
        let mut here: Vec<Uid> =
            all.filter(|c| (c.row, c.node) == (row, node)).map(|c| c.uid).collect();
        here.sort_unstable_by_key(|uid| uid.0);
        let this = &mut self.rows[row as usize];
        for uid in here {
            let runs = world.stands(node)
                && world.serving(node, uid, now).answers == crate::node::Answers::Program;
            let was = this.counted.contains_key(&uid);
            if runs && !was {
                this.counted.insert(uid, node);
                this.enter(node, 1);
            } else if !runs && was {
                this.counted.remove(&uid);
                this.exit(node, 1);
            } else {
                continue;
            }
            self.dirty.insert(row);
        }
    }

    /// Something may have happened to a pod's program.
    fn look(&mut self, pod: Uid, world: &impl World, cx: &mut Context<'_>) {
        for row in self.by_pod.get(&pod).cloned().unwrap_or_default() {
            if self.rows[row as usize].look(row, pod, world, cx) {
                self.dirty.insert(row);
            }
        }
        for client in self.clients.get(&pod).cloned().unwrap_or_default() {
            self.count(client.row, client.node, world, cx.now());
        }
    }

    /// After each event: what it has touched is looked at, and rates follow.
    pub fn settle(&mut self, world: &impl World, proxies: &Proxies, cx: &mut Context<'_>) {
        let touched = std::mem::take(&mut cx.traffic_mut().touched);
        let mut last = None;
        for pod in touched {
            if last.replace(pod) != Some(pod) {
                self.look(pod, world, cx);
            }
        }
        for node in std::mem::take(&mut cx.traffic_mut().struck) {
            self.struck(node, world, cx);
        }
        if world.cuts() || self.cut {
            // What reaches whom is asked anew: cuts are rare.
            self.cut = world.cuts();
            for row in 0..num::u32_of(self.rows.len()) {
                self.rows[row as usize].apart(self.cut, proxies);
                self.dirty.insert(row);
            }
        }
        while let Some(row) = self.dirty.pop_first() {
            self.flow(row, world, proxies, cx);
        }
    }

    /// A machine has crashed, stands still, goes on or is back.
    fn struck(&mut self, node: u32, world: &impl World, cx: &mut Context<'_>) {
        for row in 0..num::u32_of(self.rows.len()) {
            let this = &mut self.rows[row as usize];
            let mut changed = this.look_at_node(row, node, world, cx);
            if let Clients::Outside(checks) = this.spec.from {
                changed |= this.check(row, node, (checks, world.stands(node)), cx);
            }
            if changed {
                self.dirty.insert(row);
            }
            self.count(row, node, world, cx.now());
        }
    }

    /// The rates of a row, from now on.
    fn flow(&mut self, row: u32, world: &impl World, proxies: &Proxies, cx: &mut Context<'_>) {
        let this = &mut self.rows[row as usize];
        let unresolved = this.spec.dns.map_or(0.0, |lookup| {
            let flow = &cx.traffic().flows[lookup.row as usize];
            let failing = flow.failing.iter().sum::<f64>() / flow.offered.max(1e-12);
            // Asked twice; each of the two families fails for itself.
            failing.clamp(0.0, 1.0) * failing.clamp(0.0, 1.0)
        });
        let (known, gone) = this.rebuild(row, (world, proxies), cx);
        let flow = this.evaluate((proxies.lookup_s(), unresolved), cx);
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
        self.ask_names(row, flow.offered);
        if cx.traffic().flows[row as usize] == flow {
            return;
        }
        for amount in std::iter::once(flow.offered).chain(flow.failing) {
            cx.fold(amount.to_bits());
        }
        cx.traffic_mut().flows[row as usize] = flow;
        cx.record(What::Flow { row });
        // Whoever needs names that this row looks up, feels it.
        for other in 0..num::u32_of(self.rows.len()) {
            if self.rows[other as usize].spec.dns.is_some_and(|d| d.row == row) {
                self.dirty.insert(other);
            }
        }
    }

    /// Queries for names follow the connections.
    fn ask_names(&mut self, row: u32, offered: f64) {
        let Some(lookup) = self.rows[row as usize].spec.dns else { return };
        self.rows[row as usize].asks = offered * f64::from(lookup.queries);
        let of = |r: &&Row| r.spec.dns.is_some_and(|d| d.row == lookup.row);
        let asked: f64 = self.rows.iter().filter(of).map(|r| r.asks).sum();
        let names = &mut self.rows[lookup.row as usize];
        if (names.rate - asked).abs() > 1e-9 {
            names.rate = asked;
            self.dirty.insert(lookup.row);
        }
    }

    /// Before a scrape: what pods have spent is written down.
    pub fn tally(&mut self, cx: &mut Context<'_>) {
        for row in &mut self.rows {
            row.fold(cx);
        }
    }
}

/// Proxies and context together.
#[derive(Debug)]
pub struct Touch<'a, 'c> {
    /// All proxies.
    pub proxies: &'a mut Proxies,
    /// The context.
    pub cx: &'a mut Context<'c>,
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
        derived: true,
    }
}

/// The kind of clients.
pub const CLIENTS: Kind = Kind::Pod;
