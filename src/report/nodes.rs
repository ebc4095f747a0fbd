//! Nodes and zones: what their pods request of what they offer, over time.

use super::cost::Bills;
use super::fragments::{Fragments, Left};
use super::pods::NONE;
use super::rows::Line;
use crate::api::node::Node;
use crate::api::pod::{ConditionType, Truth};
use crate::api::versions::ObjRef;
use crate::cluster::spec::{Agent, NodeSpec};
use crate::engine::{SimTime, Sym, num};
use rustc_hash::FxHashMap;

/// The head of `nodes.csv`.
pub const NODES_HEAD: &str = "node,zone,cpu_allocatable_cores,memory_allocatable_bytes,\
    pods_allocatable,cpu_requested_mean_percent,cpu_requested_peak_percent,\
    memory_requested_mean_percent,memory_requested_peak_percent,pods_bound_total,pods_at_end,\
    not_ready_s,crashes,ready_at_end,machine_type,price_per_hour,cost\n";

/// A node that is not Ready, in [`NodeTable::heat`].
pub const COLD: u8 = u8::MAX;

/// CPU and memory, requested and allocatable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// CPU requested by pods on Ready nodes, milli-cores.
    pub cpu: i64,
    /// Memory requested by pods on Ready nodes, bytes.
    pub memory: i64,
    /// CPU allocatable on Ready nodes, milli-cores.
    pub cpu_allocatable: i64,
    /// Memory allocatable on Ready nodes, bytes.
    pub memory_allocatable: i64,
}

/// Integrals of a [`Room`] over time, per nanosecond.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoomTime {
    since: SimTime,
    cpu: u128,
    memory: u128,
    cpu_allocatable: u128,
    memory_allocatable: u128,
}

impl RoomTime {
    fn touch(&mut self, room: &Room, now: SimTime) {
        let span = u128::from(now.since(self.since).0);
        if span == 0 {
            return;
        }
        let wide = |n: i64| u128::from(num::u64_of(n)) * span;
        self.since = now;
        self.cpu += wide(room.cpu);
        self.memory += wide(room.memory);
        self.cpu_allocatable += wide(room.cpu_allocatable);
        self.memory_allocatable += wide(room.memory_allocatable);
    }

    /// Mean share of CPU and of memory that was requested, 0 to 1.
    #[must_use]
    pub fn shares(&self) -> (f64, f64) {
        let share = |used: u128, all: u128| {
            if all == 0 { 0.0 } else { num::float_wide(used) / num::float_wide(all) }
        };
        (share(self.cpu, self.cpu_allocatable), share(self.memory, self.memory_allocatable))
    }
}

/// What pods use of what Ready nodes offer, as scraped: each scrape speaks for the time since the
/// one before. Pods of which the scenario does not say what they use count as using nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    since: Option<SimTime>,
    used: (u128, u128),
    allocatable: (u128, u128),
}

impl Used {
    /// The metrics server has scraped so much CPU (milli-cores) and memory (bytes).
    pub fn scraped(&mut self, now: SimTime, used: (i64, i64), all: &Room) {
        let span = self.since.map_or(0, |since| u128::from(now.since(since).0));
        self.since = Some(now);
        let wide = |n: i64| u128::from(num::u64_of(n)) * span;
        self.used.0 += wide(used.0);
        self.used.1 += wide(used.1);
        self.allocatable.0 += wide(all.cpu_allocatable);
        self.allocatable.1 += wide(all.memory_allocatable);
    }

    /// Mean share of CPU and of memory that was used, 0 to 1; none of what nobody uses.
    #[must_use]
    pub fn shares(&self) -> (Option<f64>, Option<f64>) {
        let share = |used: u128, all: u128| {
            (used > 0 && all > 0).then(|| num::float_wide(used) / num::float_wide(all))
        };
        (share(self.used.0, self.allocatable.0), share(self.used.1, self.allocatable.1))
    }
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// Name.
    pub name: Sym,
    /// Index of its zone.
    pub zone: u32,
    /// Its agent: the minimal one does not report again after a short outage.
    pub agent: Agent,
    /// Condition Ready is True.
    pub ready: bool,
    /// The machine is down.
    pub down: bool,
    /// Row of the last fault that struck it, or [`NONE`].
    pub fault: u32,
    /// Requested by its pods, and allocatable, whether Ready or not.
    pub room: Room,
    /// Pods it offers room for.
    pub max_pods: i64,
    /// Pods that hold room now.
    pub pods: u32,
    /// Pods bound to it in the run.
    pub bound: u64,
    /// Peaks of requests: CPU and memory.
    pub peak: (i64, i64),
    /// Machine crashes.
    pub crashes: u32,
    time: RoomTime,
    not_ready_ns: u64,
    not_ready_since: Option<SimTime>,
    seen: bool,
}

/// All nodes, zones and the whole cluster.
#[derive(Debug, Clone, Default)]
pub struct NodeTable {
    /// Nodes in order of the plan, later ones behind.
    pub rows: Vec<NodeRow>,
    /// Zones by name.
    pub zones: Vec<Sym>,
    /// Requests and room of each zone, Ready nodes only.
    pub zone_rooms: Vec<Room>,
    /// The cluster's integral.
    pub time: RoomTime,
    /// The cluster's requests and room, Ready nodes only.
    pub all: Room,
    /// Ready nodes.
    pub ready: u32,
    /// CPU requested of each node in per cent, [`COLD`] if not Ready: as of the last
    /// [`NodeTable::settle`].
    pub heat: Vec<u8>,
    /// Free CPU that pods cannot use: as of the last [`NodeTable::settle`].
    pub fragments: Fragments,
    /// Nodes that have changed since.
    stale: Vec<u32>,
    /// The same by node.
    is_stale: Vec<bool>,
    by_name: FxHashMap<Sym, u32>,
    of_slot: Vec<(u32, u32)>,
}

impl NodeTable {
    /// The nodes of a plan, none registered yet.
    #[must_use]
    pub fn new(specs: &[NodeSpec]) -> Self {
        let mut zones: Vec<Sym> = Vec::new();
        for spec in specs {
            if !zones.contains(&spec.zone) {
                zones.push(spec.zone);
            }
        }
        zones.sort_by(|a, b| a.cmp_text(*b));
        let mut table =
            Self { zone_rooms: vec![Room::default(); zones.len()], zones, ..Self::default() };
        for spec in specs {
            let zone = table.zones.iter().position(|z| *z == spec.zone);
            let zone = zone.map_or(NONE, num::u32_of);
            table.push(spec.name, zone, spec.agent);
        }
        table
    }

    fn push(&mut self, name: Sym, zone: u32, agent: Agent) -> usize {
        let index = self.rows.len();
        self.by_name.insert(name, num::u32_of(index));
        self.rows.push(NodeRow {
            name,
            zone,
            agent,
            ready: false,
            down: false,
            fault: NONE,
            room: Room::default(),
            max_pods: 0,
            pods: 0,
            bound: 0,
            peak: (0, 0),
            crashes: 0,
            time: RoomTime::default(),
            not_ready_ns: 0,
            not_ready_since: None,
            seen: false,
        });
        self.heat.push(COLD);
        self.is_stale.push(false);
        index
    }

    /// The index of a node; a node that the plan does not name is taken in.
    pub fn index(&mut self, name: Sym) -> usize {
        match self.by_name.get(&name) {
            Some(&index) => index as usize,
            None => self.push(name, NONE, Agent::Kubelet),
        }
    }

    /// The index of an object. A name's text is made only once per object: heartbeats are many.
    fn of_object(&mut self, object: ObjRef, node: &Node) -> usize {
        let slot = object.slot as usize;
        if self.of_slot.len() <= slot {
            self.of_slot.resize(slot + 1, (0, NONE));
        }
        let (generation, known) = self.of_slot[slot];
        if known != NONE && generation == object.generation {
            return known as usize;
        }
        let index = self.index(node.meta.name.sym());
        self.of_slot[slot] = (object.generation, num::u32_of(index));
        index
    }

    /// Says what a node has become. Gives its index and whether its Ready condition turned.
    pub fn update(
        &mut self,
        object: ObjRef,
        node: &Node,
        deleted: bool,
        now: SimTime,
    ) -> (usize, bool) {
        let index = self.of_object(object, node);
        self.place(index, node, now);
        let ready = !deleted
            && node
                .status
                .conditions
                .get(ConditionType::Ready)
                .is_some_and(|c| c.status == Truth::True);
        let offer = &node.status.allocatable;
        let row = &self.rows[index];
        let old = (row.room.cpu_allocatable, row.room.memory_allocatable, row.ready);
        if old == (offer.cpu_milli, offer.memory, ready) {
            return (index, false);
        }
        self.count(index, now, -1);
        let row = &mut self.rows[index];
        row.room.cpu_allocatable = offer.cpu_milli;
        row.room.memory_allocatable = offer.memory;
        row.max_pods = offer.pods;
        let turned = row.ready != ready;
        row.ready = ready;
        if turned {
            row.turn(ready, now);
        }
        self.count(index, now, 1);
        (index, turned)
    }

    /// A node's zone is what its label says, which may come later than the node.
    fn place(&mut self, index: usize, node: &Node, now: SimTime) {
        let known = self.zones.get(self.rows[index].zone as usize);
        if known.is_some_and(|zone| !zone.is_empty()) {
            return;
        }
        let zone = self.zone_of(node);
        if zone != self.rows[index].zone {
            self.count(index, now, -1);
            self.rows[index].zone = zone;
            self.count(index, now, 1);
        }
    }

    /// The machine of a node is not wanted any more: that it is not ready is no failure.
    pub fn retire(&mut self, name: Sym, now: SimTime) {
        let index = self.index(name);
        let row = &mut self.rows[index];
        row.turn(true, now);
        row.seen = false;
    }

    fn zone_of(&mut self, node: &Node) -> u32 {
        let key = crate::api::node::keys::ZONE;
        let pair = node.meta.labels.pairs().iter().find(|(k, _)| k.as_str() == key);
        let name = pair.map_or(Sym::EMPTY, |(_, v)| *v);
        let at = self.zones.iter().position(|z| *z == name).unwrap_or_else(|| {
            self.zones.push(name);
            self.zone_rooms.push(Room::default());
            self.zones.len() - 1
        });
        num::u32_of(at)
    }

    /// Adds (or with −1 takes away) all of a node to its zone and to the cluster, if it is Ready.
    fn count(&mut self, index: usize, now: SimTime, sign: i64) {
        self.time.touch(&self.all, now);
        self.spoil(index);
        let row = &mut self.rows[index];
        row.time.touch(&row.room, now);
        if !row.ready {
            return;
        }
        self.ready = self.ready.saturating_add_signed(if sign > 0 { 1 } else { -1 });
        for room in [Some(&mut self.all), self.zone_rooms.get_mut(row.zone as usize)] {
            let Some(room) = room else { continue };
            room.cpu += sign * row.room.cpu;
            room.memory += sign * row.room.memory;
            room.cpu_allocatable += sign * row.room.cpu_allocatable;
            room.memory_allocatable += sign * row.room.memory_allocatable;
        }
    }

    fn spoil(&mut self, index: usize) {
        if !std::mem::replace(&mut self.is_stale[index], true) {
            self.stale.push(num::u32_of(index));
        }
    }

    /// Brings heat and fragments of the nodes that have changed up to date.
    pub fn settle(&mut self, now: SimTime) {
        if self.fragments.advance(now) {
            (0..self.rows.len()).for_each(|index| self.spoil(index));
        }
        while let Some(index) = self.stale.pop() {
            let row = &self.rows[index as usize];
            self.is_stale[index as usize] = false;
            self.fragments.look(index as usize, row.left());
            self.heat[index as usize] = if row.ready {
                let share = num::round(percent(row.room.cpu, row.room.cpu_allocatable));
                u8::try_from(share.clamp(0, 254)).unwrap_or(0)
            } else {
                COLD
            };
        }
    }

    /// A pod takes up room on a node (or with −1 leaves it).
    pub fn occupy(&mut self, index: usize, cpu: i64, memory: i64, sign: i64, now: SimTime) {
        self.spoil(index);
        let row = &mut self.rows[index];
        row.time.touch(&row.room, now);
        row.room.cpu += sign * cpu;
        row.room.memory += sign * memory;
        row.peak = (row.peak.0.max(row.room.cpu), row.peak.1.max(row.room.memory));
        row.pods = row.pods.saturating_add_signed(if sign > 0 { 1 } else { -1 });
        if row.ready {
            self.time.touch(&self.all, now);
            self.all.cpu += sign * cpu;
            self.all.memory += sign * memory;
            if let Some(zone) = self.zone_rooms.get_mut(row.zone as usize) {
                zone.cpu += sign * cpu;
                zone.memory += sign * memory;
            }
        }
    }

    /// The run has ended: integrals are brought up to date.
    pub fn close(&mut self, now: SimTime) {
        self.time.touch(&self.all, now);
        for row in &mut self.rows {
            row.time.touch(&row.room, now);
            if let Some(since) = row.not_ready_since.take() {
                row.not_ready_ns += now.since(since).0;
            }
        }
    }

    /// `nodes.csv`.
    #[must_use]
    pub fn csv(&self, bills: Option<&Bills>) -> Vec<u8> {
        let mut out = NODES_HEAD.as_bytes().to_vec();
        let mut line = Line::default();
        for row in &self.rows {
            let zone = self.zones.get(row.zone as usize).copied().unwrap_or_default();
            let (cpu, memory) = row.time.shares();
            line.begin().sym(row.name).sym(zone).milli(row.room.cpu_allocatable);
            line.int(row.room.memory_allocatable).int(row.max_pods);
            line.float(100.0 * cpu, 2);
            line.float(percent(row.peak.0, row.room.cpu_allocatable), 2);
            line.float(100.0 * memory, 2);
            line.float(percent(row.peak.1, row.room.memory_allocatable), 2);
            line.uint(row.bound).uint(u64::from(row.pods)).seconds(SimTime(row.not_ready_ns));
            line.uint(u64::from(row.crashes)).text(if row.ready { "true" } else { "false" });
            match bills.and_then(|bills| bills.of(row.name)) {
                Some((bill, cost)) => {
                    let price = num::float(i64::from(bill.micro_per_hour)) / 1e6;
                    line.sym(bill.kind).float(price, 6).float(cost, 6);
                }
                None => {
                    line.text("").text("").text("");
                }
            }
            out.extend_from_slice(line.end());
        }
        out
    }
}

impl NodeRow {
    /// What it has left for pods; nothing if it is not Ready.
    fn left(&self) -> Left {
        let Room { cpu, memory, cpu_allocatable, memory_allocatable } = self.room;
        if !self.ready {
            return Left::default();
        }
        let pods = self.max_pods - i64::from(self.pods);
        Left { cpu: cpu_allocatable - cpu, memory: memory_allocatable - memory, pods }
    }

    /// Its Ready condition turned. A node that has not been Ready yet is booting, not failing.
    fn turn(&mut self, ready: bool, now: SimTime) {
        if ready {
            self.seen = true;
            if let Some(since) = self.not_ready_since.take() {
                self.not_ready_ns += now.since(since).0;
            }
        } else if self.seen {
            self.not_ready_since = Some(now);
        }
    }
}

/// `part` of `whole` in per cent; 0 of nothing.
#[must_use]
pub fn percent(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * num::float(part) / num::float(whole) }
}
