//! The network of pods, as a CNI plugin gives it: an address for each pod out of the node's range,
//! the time that takes, and a node that is not ready until the plugin is there.
//!
//! Addresses are given as `host-local` does: the next free one after the last, the network's own,
//! the gateway's and the broadcast address left out; one returns when its sandbox is torn down, so
//! which ones are taken is read off the pods, and nothing is kept beside them. What of a plugin the
//! runtime knows, the kubelet hears every five seconds. Sources: behaviour reference §4.3, §4.18;
//! `containernetworking/plugins` `ipam/host-local/backend/allocator`; `pkg/kubelet/kubelet.go`
//! `SyncPod`, `updateRuntimeUp`, `fastStatusUpdateOnce`; `pod_workers.go` `completeWork`.

use super::kubelet::{event, run_sandbox, trace, volumes};
use super::worker::{Stage, Worker};
use super::{NodeAgent, restarts};
use crate::api::kevent::Text;
use crate::api::{Cidr, Name, Pod};
use crate::engine::intern::Known;
use crate::engine::{Dist, Grid, Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Context, NodeEvent};
use std::net::Ipv4Addr;

pub(super) static FAILED_SANDBOX: Known = Known::new("FailedCreatePodSandBox");
pub(super) static NETWORK_NOT_READY: Known = Known::new("NetworkNotReady");
/// What a node without a network says of itself.
pub(super) const NOT_READY: &str = "container runtime network not ready: NetworkReady=false \
     reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";

/// The kubelet looks at the runtime's conditions this often (source: `kubelet.go` `Run`).
const LOOK: SimDuration = SimDuration::from_secs(5);
/// So long after its start, a kubelet reports at once that its node is ready (source:
/// `nodeReadyGracePeriod`).
const FRESH: SimDuration = SimDuration::from_secs(120);
/// A pod that waits for the network is tried again after this, and up to half as much more (source:
/// `backOffOnTransientErrorPeriod`).
const TRANSIENT: SimDuration = SimDuration::from_secs(1);
/// Range of which each node has a part where the plugin has a pool of its own.
const POOL: Cidr = Cidr { base: 10 << 24, bits: 8 };
/// Addresses of the nodes themselves, which pods of the host's network share.
const NODES: Cidr = Cidr { base: 172 << 24 | 16 << 16, bits: 12 };
/// Headers of IPv4 and TCP, bytes.
const HEADERS: u32 = 40;
/// What Ethernet adds to a packet on the wire: preamble, header, check sequence, gap; bytes.
const FRAME: u32 = 38;

/// How packets between nodes are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encapsulation {
    /// Not at all: the network between the nodes knows the ranges of pods.
    None,
    /// IP in IP.
    Ipip,
    /// VXLAN over IPv4.
    Vxlan,
    /// VXLAN over IPv6.
    VxlanIpv6,
    /// `WireGuard` over IPv4.
    Wireguard,
}

impl Encapsulation {
    /// Bytes that it adds to each packet (sources: interfaces-vxlan(5) by way of behaviour
    /// reference §4.18; Calico's "Configure MTU").
    #[must_use]
    pub const fn overhead(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Ipip => 20,
            Self::Vxlan => 50,
            Self::VxlanIpv6 => 70,
            Self::Wireguard => 60,
        }
    }

    /// As the scenario names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ipip => "ipip",
            Self::Vxlan => "vxlan",
            Self::VxlanIpv6 => "vxlan-ipv6",
            Self::Wireguard => "wireguard",
        }
    }
}

/// Where addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipam {
    /// The range of `spec.podCIDR`, which the node must have.
    HostLocal,
    /// The plugin's own range, of which each node has a part with so long a prefix: as many
    /// addresses as its pods can need.
    Pool(u8),
}

/// A CNI plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct CniConfig {
    /// Its name, as messages have it.
    pub name: Sym,
    /// Where addresses come from.
    pub ipam: Ipam,
    /// `CNI ADD`, beside the runtime's own part of `RunPodSandbox`.
    pub setup: Dist,
    /// How packets between nodes are wrapped.
    pub encapsulation: Encapsulation,
    /// MTU between the nodes, bytes.
    pub link_mtu: u32,
    /// MTU of pods, bytes.
    pub mtu: u32,
    /// What a request to a pod of another node takes longer, there and back.
    pub latency: SimDuration,
    /// The DaemonSet whose pod installs the plugin on its node: namespace and name; none if
    /// machines come with it.
    pub agent: Option<(Sym, Name)>,
}

impl CniConfig {
    /// Payload per byte on the wire, for full packets between nodes, as a share of what there would
    /// be without the plugin.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        let share = |mtu: u32, more: u32| {
            f64::from(mtu.saturating_sub(HEADERS)) / f64::from(mtu + more + FRAME)
        };
        share(self.mtu, self.encapsulation.overhead()) / share(self.link_mtu, 0)
    }
}

/// How many addresses `host-local` can give out of a range: all but those of the network, of the
/// gateway (the first one) and for broadcast.
#[must_use]
pub fn addresses(range: Cidr) -> u32 {
    range.hosts().saturating_sub(2)
}

/// The address of a node, by its row.
#[must_use]
pub fn node_address(node: u32) -> u32 {
    NODES.base + 1 + node
}

/// What a pod waits for, beside its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Held {
    /// Nothing.
    #[default]
    No,
    /// The node's network.
    Network,
    /// An address.
    Address,
}

/// The state of a node's network.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Network {
    /// Out of which addresses come.
    range: Option<Cidr>,
    /// The plugin has been installed. That lasts: it lies on the node's disk.
    installed: bool,
    /// The pod that installs it.
    agent: Option<u32>,
    /// What the kubelet knows.
    ready: bool,
    /// When the kubelet started.
    since: SimTime,
}

impl Network {
    /// That of a new machine.
    pub(super) fn new(config: &CniConfig, index: u32) -> Self {
        let range = match config.ipam {
            Ipam::HostLocal => None,
            Ipam::Pool(bits) => POOL.part(bits, index % POOL.parts(bits)),
        };
        let installed = config.agent.is_none();
        let ready = installed && range.is_some();
        Self { range, installed, ready, ..Self::default() }
    }

    fn up(&self) -> bool {
        self.installed && self.range.is_some()
    }
}

/// True unless the kubelet knows that pods have no network yet.
pub(super) fn ready(node: &NodeAgent) -> bool {
    node.network.as_deref().is_none_or(|n| n.ready)
}

/// True if the node waits for its range.
pub(super) fn wants_range(node: &NodeAgent) -> bool {
    node.network.as_deref().is_some_and(|n| n.range.is_none())
}

/// The node has this range from the start.
pub(super) fn begin_with(node: &mut NodeAgent, range: Cidr) {
    if let Some(network) = node.network.as_deref_mut().filter(|n| n.range.is_none()) {
        network.range = Some(range);
        network.ready = network.up();
    }
}

/// `spec.podCIDR` that the node has from the start; empty for none.
pub(super) fn pod_cidr(node: &NodeAgent) -> Sym {
    let local = node.setup.cni.as_ref().is_some_and(|c| c.ipam == Ipam::HostLocal);
    let range = node.network.as_deref().and_then(|n| n.range).filter(|_| local);
    range.map_or(Sym::EMPTY, |range| Sym::new(&range.to_string()))
}

/// The kubelet starts, and reads its Node: the range that it says, if it has one.
pub(super) fn start(node: &mut NodeAgent, cidr: Option<Sym>, cx: &Context<'_>) {
    let local = node.setup.cni.as_ref().is_some_and(|c| c.ipam == Ipam::HostLocal);
    let Some(network) = node.network.as_deref_mut() else { return };
    if local {
        network.range = cidr.and_then(|text| Cidr::parse(text.as_str()));
    }
    network.ready = network.up();
    network.since = cx.now();
}

/// The machine loses power: who was about to install the plugin is gone, what is installed stays.
pub(super) fn crash(node: &mut NodeAgent) {
    if let Some(network) = node.network.as_deref_mut() {
        network.agent = None;
    }
}

/// The node's object has changed: it may have been given its range.
pub(super) fn on_node(node: &mut NodeAgent, cidr: Sym, cx: &mut Context<'_>) {
    let Some(network) = node.network.as_deref_mut().filter(|n| n.range.is_none()) else { return };
    network.range = Cidr::parse(cidr.as_str());
    turn(node, cx);
}

/// True for a pod of the DaemonSet that installs the plugin.
fn installs(node: &NodeAgent, pod: &Pod) -> bool {
    let agent = node.setup.cni.as_ref().and_then(|c| c.agent);
    let owner = pod.meta.controller();
    owner.is_some_and(|o| {
        o.kind == crate::api::Kind::DaemonSet && agent == Some((pod.meta.ns, o.name))
    })
}

/// A pod has been admitted.
pub(super) fn admitted(node: &mut NodeAgent, id: u32, pod: &Pod) {
    if node.network.is_some()
        && installs(node, pod)
        && let Some(network) = node.network.as_deref_mut()
    {
        network.agent = Some(id);
    }
}

/// All containers of a pod have been started: the agent has installed the plugin.
pub(super) fn came_up(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(network) = node.network.as_deref_mut().filter(|n| n.agent == Some(id)) else { return };
    if !std::mem::replace(&mut network.installed, true) {
        trace(node, id, "the CNI plugin is installed", cx);
        turn(node, cx);
    }
}

/// The plugin may be ready by now: the kubelet sees it when it looks next.
fn turn(node: &NodeAgent, cx: &mut Context<'_>) {
    if node.network.as_deref().is_some_and(|n| n.up() && !n.ready) {
        let entity = node.setup.name.stable_hash();
        let looks = Grid::drawn(cx.draws(), entity, Purpose("runtime conditions"), LOOK);
        let wait = looks.after(cx.now()).since(cx.now());
        node.schedule(wait, NodeEvent::LookAtNetwork, cx);
    }
}

/// The kubelet looks at the runtime's conditions.
pub(super) fn look(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let up = node.kubelet_up;
    let Some(network) = node.network.as_deref_mut().filter(|n| up && n.up() && !n.ready) else {
        return;
    };
    network.ready = true;
    let fresh = cx.now().since(network.since) < FRESH;
    if fresh {
        node.status_armed = true;
        node.tell_status(cx);
    } else {
        node.look_at_status(cx);
    }
}

/// True if the pod cannot go on before the node has a network: that is told, and tried again.
pub(super) fn lacks_network(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) -> bool {
    if ready(node) {
        return false;
    }
    let Some(worker) = node.workers.get_mut(id).filter(|w| !w.spec.host_network) else {
        return false;
    };
    worker.rare_mut().held = Held::Network;
    trace(node, id, "the node has no network for the pod yet", cx);
    let text = Sym::new(&format!("network is not ready: {NOT_READY}"));
    event(node, id, &NETWORK_NOT_READY, Text::Plain(text), cx);
    restarts::wake_after(node, id, TRANSIENT, cx);
    true
}

/// What a pod is held by.
pub(super) fn held(worker: &Worker) -> Held {
    worker.rare().map_or(Held::No, |r| r.held)
}

/// The worker wakes by its own clock: true if the pod was held, and is tried again.
pub(super) fn wake(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) -> bool {
    let (now, up) = (cx.now(), node.kubelet_up);
    let Some(worker) = node.workers.get(id) else { return false };
    let held = held(worker) != Held::No;
    if held && up && worker.rare().is_some_and(|r| r.wake == Some(now)) {
        again(node, id, cx);
    }
    held
}

/// What is held is tried again: by its own clock, or by a kubelet that has started anew.
pub(super) fn again(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get_mut(id) else { return };
    let Some(rare) = &mut worker.rare else { return };
    rare.wake = None;
    let held = std::mem::take(&mut rare.held);
    match (held, worker.stage) {
        (Held::Network, Stage::Mounting) => {
            if !lacks_network(node, id, cx) {
                volumes(node, id, cx);
            }
        }
        (Held::Address, Stage::Sandbox) => run_sandbox(node, id, cx),
        // It is to go meanwhile.
        (Held::No | Held::Network | Held::Address, _) => {}
    }
}

/// A kubelet has started again: what its predecessor held is tried again.
pub(super) fn resume(node: &mut NodeAgent, cx: &mut Context<'_>) {
    if node.network.is_none() {
        return;
    }
    for id in node.workers.ids() {
        if node.workers.get(id).is_some_and(|w| held(w) != Held::No) {
            again(node, id, cx);
        }
    }
}

/// `CNI ADD` for a pod; none if no address is free.
pub(super) fn add(node: &mut NodeAgent, id: u32) -> Option<u32> {
    let Some(network) = node.network.as_deref() else { return Some(next_of_24(node)) };
    if node.workers.get(id).is_some_and(|w| w.spec.host_network) {
        return Some(node_address(node.index));
    }
    let ip = next_free(node, network.range?)?;
    node.next_ip = ip;
    Some(ip)
}

/// Where nobody says what network there is: 253 addresses of a /24, in turn.
pub(super) fn next_of_24(node: &mut NodeAgent) -> u32 {
    let ip = node.next_ip;
    node.next_ip = ip & !0xff | (((ip & 0xff) - 2 + 1) % 253 + 2);
    ip
}

/// The first address behind the last one given that no pod has.
fn next_free(node: &NodeAgent, range: Cidr) -> Option<u32> {
    let n = addresses(range);
    let first = range.base + 2;
    let number = |ip: u32| ip.checked_sub(first).filter(|i| *i < n);
    let mut taken = vec![false; n as usize];
    for worker in node.workers.active() {
        if let Some(i) = number(worker.ip) {
            taken[i as usize] = true;
        }
    }
    let begin = number(node.next_ip).map_or(0, |i| i + 1);
    let free = (begin..n).chain(0..begin.min(n)).find(|i| !taken[*i as usize])?;
    Some(first + free)
}

/// `RunPodSandbox` has failed for want of an address: it is tried again with the pod's next sync.
pub(super) fn exhausted(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(config) = node.setup.cni.clone() else { return };
    let range = node.network.as_deref().and_then(|n| n.range).unwrap_or(POOL);
    let Some(worker) = node.workers.get_mut(id) else { return };
    let rare = worker.rare_mut();
    rare.held = Held::Address;
    rare.sandboxes = rare.sandboxes.saturating_add(1);
    let attempt = rare.sandboxes;
    trace(node, id, "no address is free, RunPodSandbox fails", cx);
    let (first, last) = (range.base + 1, range.base + range.hosts().saturating_sub(1));
    let why = format!(
        "plugin type=\"{}\" failed (add): failed to allocate for range 0: no IP addresses available \
         in range set: {}-{}",
        config.name,
        Ipv4Addr::from(first),
        Ipv4Addr::from(last)
    );
    let text = Text::NoSandbox(Sym::new(&why), num::u32_of(usize::from(attempt)));
    event(node, id, &FAILED_SANDBOX, text, cx);
    restarts::failed_sync(node, id, cx);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(encapsulation: Encapsulation, link_mtu: u32) -> CniConfig {
        CniConfig {
            name: Sym::new("flannel"),
            ipam: Ipam::HostLocal,
            setup: Dist::Constant(SimDuration::ZERO),
            encapsulation,
            link_mtu,
            mtu: link_mtu - encapsulation.overhead(),
            latency: SimDuration::ZERO,
            agent: None,
        }
    }

    #[test]
    fn a_range_has_all_addresses_but_three() {
        let range = |bits| addresses(Cidr { base: 10 << 24, bits });
        assert_eq!((range(24), range(25), range(26), range(28)), (253, 125, 61, 13));
        assert_eq!((range(30), range(31), range(32)), (1, 0, 0));
    }

    #[test]
    fn what_wraps_packets_takes_of_their_length() {
        let mtus: Vec<u32> = [
            Encapsulation::None,
            Encapsulation::Ipip,
            Encapsulation::Vxlan,
            Encapsulation::VxlanIpv6,
            Encapsulation::Wireguard,
        ]
        .map(|e| plugin(e, 1500).mtu)
        .into();
        assert_eq!(mtus, [1500, 1480, 1450, 1430, 1440]);
        assert!((plugin(Encapsulation::None, 1500).goodput() - 1.0).abs() < 1e-12);
        // 1410 of 1460 bytes of payload in a frame of 1538.
        assert!((plugin(Encapsulation::Vxlan, 1500).goodput() - 1410.0 / 1460.0).abs() < 1e-12);
        // With jumbo frames it is next to nothing.
        assert!(plugin(Encapsulation::Vxlan, 9000).goodput() > 0.994);
    }
}
