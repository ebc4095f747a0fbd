//! Requests to Services within the cluster: what traffic and the proxies are told, and what they
//! ask of the machines as they are.

use super::Cluster;
use super::links::{CONTROL, Links};
use super::spec::Plan;
use crate::api::versions::Change;
use crate::api::{Name, Uid};
use crate::engine::digest::mix;
use crate::engine::{SimTime, Sym, num};
use crate::event::{Address, ProxyEvent, Role, Shared, TrafficEvent};
use crate::node::proxy::{Proxies, WATCHES};
use crate::node::{NodeAgent, Serving};
use crate::traffic::{CLIENTS, Traffic, World};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

const ZONE: &str = crate::api::node::keys::ZONE;

/// Traffic and the proxies, of a scenario that has any.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    pub(super) proxies: Proxies,
    traffic: Traffic,
    /// Nodes whose proxies no change reaches.
    cut: BTreeSet<u32>,
    /// As the links were when that was found out.
    turns: u64,
}

/// The machines as they are.
struct Ground<'c> {
    nodes: &'c [NodeAgent],
    by_name: &'c FxHashMap<Sym, u32>,
    links: &'c Links,
    plan: &'c Plan,
}

impl World for Ground<'_> {
    fn serving(&self, node: u32, pod: Uid, now: SimTime) -> Serving {
        self.nodes[node as usize].serving(pod, now)
    }

    fn blocked(&self, from: u32, to: u32) -> bool {
        from != to && (self.links.blocked(from, to) || self.links.blocked(to, from))
    }

    fn stands(&self, node: u32) -> bool {
        self.nodes[node as usize].runs() && !self.links.frozen.contains_key(&node)
    }

    fn node(&self, name: Sym) -> Option<u32> {
        self.by_name.get(&name).copied()
    }

    fn place(&self, node: u32) -> (Sym, Sym) {
        let agent = &self.nodes[node as usize];
        (agent.name(), agent.labels().get(Sym::new(ZONE)).unwrap_or_default())
    }

    fn takes(&self, node: u32) -> bool {
        let control = self.plan.cluster.control_plane.as_ref();
        !control.is_some_and(|c| c.nodes.contains(&self.nodes[node as usize].name()))
    }

    fn cuts(&self) -> Option<u64> {
        let cuts = &self.links.cuts;
        (!cuts.is_empty()).then(|| cuts.iter().fold(0, |all, cut| mix(all, u64::from(cut.row))))
    }
}

/// Proxies and traffic, and what they need beside each other.
struct Parts<'c> {
    proxies: &'c mut Proxies,
    traffic: &'c mut Traffic,
    cut: &'c mut BTreeSet<u32>,
    turns: &'c mut u64,
    ground: Ground<'c>,
    shared: &'c mut Shared,
}

impl Requests {
    /// Those of a plan; none if it has no traffic.
    pub(super) fn of(plan: &Plan) -> Option<Box<Self>> {
        if plan.traffic.is_empty() {
            return None;
        }
        let names = plan.cluster.nodes.iter().map(|n| n.name);
        let mut proxies = Proxies::new(plan.cluster.proxy, names);
        let between = plan.cluster.cni.as_ref().map_or(0.0, |cni| cni.latency.secs_f64());
        let traffic = Traffic::new(&plan.traffic, between, &mut proxies);
        Some(Box::new(Self { proxies, traffic, cut: BTreeSet::new(), turns: 0 }))
    }
}

impl Cluster {
    /// Proxies, traffic, the machines, and what all share.
    fn requests(&mut self) -> Option<Parts<'_>> {
        let Self { requests, nodes, by_name, links, plan, shared, .. } = self;
        let Requests { proxies, traffic, cut, turns } = requests.as_deref_mut()?;
        let ground = Ground { nodes, by_name, links, plan };
        Some(Parts { proxies, traffic, cut, turns, ground, shared })
    }

    /// Watches are opened before anything is there.
    pub(super) fn watch_requests(&mut self) {
        let lag = self.plan.cluster.latency.watch;
        let Some(requests) = &self.requests else { return };
        let cx = &mut self.shared.context(0);
        for kind in WATCHES {
            self.api.watch(kind, Address::new(Role::Proxies, 0), lag, cx);
        }
        if requests.traffic.watches_pods() {
            self.api.watch(CLIENTS, Address::new(Role::Clients, 0), lag, cx);
        }
        self.shared.traffic.on = true;
    }

    /// A machine more; its kubelet has not started yet.
    pub(super) fn add_to_requests(&mut self, node: u32) {
        if let Some(requests) = self.requests.as_deref_mut() {
            requests.proxies.add_node(self.nodes[node as usize].name());
        }
    }

    /// The first requests.
    pub(super) fn start_requests(&mut self) {
        let nodes = num::u32_of(self.nodes.len());
        let joins: Vec<bool> = self.nodes.iter().map(|n| !n.runs()).collect();
        let Some(parts) = self.requests() else { return };
        let workers: Vec<u32> = (0..nodes).filter(|node| parts.ground.takes(*node)).collect();
        let cx = &mut parts.shared.context(0);
        for (node, later) in (0..nodes).zip(joins) {
            if later {
                parts.proxies.down(node, cx);
            }
        }
        parts.traffic.start(&workers, parts.proxies, cx);
        for node in 0..nodes {
            cx.strikes_node(node);
        }
        self.settle_requests(0);
    }

    /// A Service, slice or client pod has changed.
    pub(super) fn tell_requests(&mut self, role: Role, change: &Change, hop: u64) {
        let Some(parts) = self.requests() else { return };
        let cx = &mut parts.shared.context(hop);
        if role == Role::Proxies {
            if let Some(service) = parts.proxies.on_change(change, cx) {
                parts.traffic.endpoints_changed(service, parts.proxies);
            }
        } else {
            parts.traffic.on_pod(change, (&parts.ground, parts.proxies), cx);
        }
    }

    /// The load balancer of a Service (`NAMESPACE/NAME`) sends to these nodes.
    pub(super) fn balance_requests(&mut self, service: Sym, nodes: &BTreeSet<u32>, seq: u64) {
        let Some(parts) = self.requests() else { return };
        let Some((ns, name)) = service.as_str().split_once('/') else { return };
        let service = (Sym::new(ns), Name::new(name));
        parts.traffic.balanced(service, nodes, &mut parts.shared.context(seq));
    }

    /// A proxy writes rules, or has written them.
    pub(super) fn proxy_event(&mut self, event: ProxyEvent, seq: u64) {
        let Some(parts) = self.requests() else { return };
        let changed = parts.proxies.handle(event, &mut parts.shared.context(seq));
        let (ProxyEvent::Sync { node, .. } | ProxyEvent::Synced { node, .. }) = event;
        parts.traffic.programmed(node, &changed, parts.proxies);
    }

    /// An event of traffic.
    pub(super) fn traffic_event(&mut self, event: TrafficEvent, seq: u64) {
        let Some(parts) = self.requests() else { return };
        parts.traffic.handle(event, &parts.ground, &mut parts.shared.context(seq));
    }

    /// After each event, where there is traffic: what it has touched changes the rates.
    pub(super) fn settle_requests(&mut self, seq: u64) {
        let Some(parts) = self.requests() else { return };
        let Parts { proxies, traffic, cut, turns, ground, shared } = parts;
        let cx = &mut shared.context(seq);
        for node in cx.traffic().struck.clone() {
            if ground.nodes[node as usize].runs() {
                proxies.up(node, cx);
            } else {
                proxies.down(node, cx);
            }
            // A machine that comes back has no rules yet.
            traffic.programmed_all(node, proxies);
        }
        if *turns == ground.links.turns() {
            debug_assert!(*cut == ground.links.deaf(), "someone is cut off, and nobody was told");
        } else {
            *turns = ground.links.turns();
            let deaf = ground.links.deaf();
            let turned: Vec<u32> = deaf.symmetric_difference(cut).copied().collect();
            for node in turned {
                proxies.cut(node, deaf.contains(&node), cx);
            }
            *cut = deaf;
        }
        traffic.settle(&ground, proxies, cx);
    }

    /// Before a scrape: what serving has cost so far.
    pub(super) fn tally_requests(&mut self, seq: u64) {
        let Some(parts) = self.requests() else { return };
        parts.traffic.tally(&mut parts.shared.context(seq));
    }

    /// The proxies of all nodes, brought to the present, if there is traffic.
    pub fn proxies(&mut self) -> Option<&Proxies> {
        let Self { requests, shared, .. } = self;
        let requests = requests.as_deref_mut()?;
        requests.proxies.settle(&shared.context(0));
        Some(&requests.proxies)
    }
}

impl Links {
    /// Nodes that no change reaches.
    fn deaf(&self) -> BTreeSet<u32> {
        let broken = self.broken.iter().filter(|(_, b)| b.down || b.dead).map(|(node, _)| *node);
        let all = broken.chain(self.frozen.keys().copied());
        all.filter(|node| *node != CONTROL).collect()
    }
}
