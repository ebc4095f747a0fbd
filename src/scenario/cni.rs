//! `cluster.cni`: the network of pods, as one of the known plugins or as one that differs from it.

use super::file::{Cluster, ScenarioFile};
use super::objects::Known;
use super::place::Place;
use super::report::Report;
use super::target::{self, Target};
use super::value::{self, DIST_HINT, DistSpec, SPAN_HINT, Span};
use crate::api::{Cidr, Kind, Name};
use crate::control_plane::controllers::nodeipam::NODE_BITS;
use crate::engine::{Dist, SimDuration, Sym, num};
use crate::node::CniConfig;
use crate::node::cni::{Encapsulation, Ipam, addresses};
use schemars::JsonSchema;
use serde::Deserialize;

/// `RunPodSandbox` without its network: containerd starts a container without one in 70 ms (`ctr
/// run`; behaviour reference §4.14).
pub(super) const RUNTIME: Dist =
    Dist::LogNormal { median: SimDuration::from_millis(70), sigma: SPREAD };
/// Spread of set-up times, as of the runtime's others (assumption).
const SPREAD: f64 = 0.3;
/// MTU of Ethernet.
const ETHERNET: u32 = 1500;
/// Ranges of nodes may be cut out of the cluster's by so many bits (source: `cidrset/cidr_set.go`
/// `clusterSubnetMaxDiff`).
const MOST_BITS: u8 = 16;

/// The network of pods: a plugin by name, or with what differs from what is known of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cni {
    /// `calico`, `flannel`, `cilium` or `weave`.
    Name(Preset),
    /// A plugin, and what differs.
    Spec(Box<CniSpec>),
}

/// A plugin of which figures are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Preset {
    /// Calico: IP in IP, a pool of its own.
    Calico,
    /// Flannel: VXLAN, `host-local` addresses out of `spec.podCIDR`.
    Flannel,
    /// Cilium: VXLAN, a pool of its own.
    Cilium,
    /// Weave Net: VXLAN, a pool of its own.
    Weave,
}

/// A plugin, and what differs from what is known of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CniSpec {
    /// `calico`, `flannel`, `cilium` or `weave`.
    pub preset: Preset,
    /// How long `CNI ADD` takes, beside the runtime's own part of a sandbox (`latencies.sandbox`).
    pub setup: Option<DistSpec>,
    /// How packets between nodes are wrapped.
    pub encapsulation: Option<EncapsulationName>,
    /// MTU between the nodes, bytes; 1500 by default.
    #[schemars(range(min = 576, max = 65535))]
    pub link_mtu: Option<u32>,
    /// MTU of pods, bytes; by default that between the nodes, less what the wrapping takes.
    #[schemars(range(min = 576, max = 65535))]
    pub mtu: Option<u32>,
    /// What a request to a pod of another node takes longer than between the nodes themselves,
    /// there and back.
    pub latency: Option<Span>,
    /// Where addresses come from.
    pub ipam: Option<IpamName>,
    /// The DaemonSet whose pod installs the plugin on its node: until it runs there, the node is
    /// not ready. `daemonset/kube-system/calico-node`; by default machines come with the plugin.
    pub agent: Option<String>,
}

/// How packets between nodes are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EncapsulationName {
    /// Not at all: the network between the nodes knows the ranges of pods.
    None,
    /// IP in IP, 20 bytes.
    Ipip,
    /// VXLAN over IPv4, 50 bytes.
    Vxlan,
    /// VXLAN over IPv6, 70 bytes.
    VxlanIpv6,
    /// `WireGuard` over IPv4, 60 bytes.
    Wireguard,
}

/// Where addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IpamName {
    /// `spec.podCIDR` of the node: without one the node is not ready, and a range has an end.
    HostLocal,
    /// The plugin's own pool, which is never short.
    Pool,
}

/// What is known of a plugin: sources stand in ACCURACY.md.
struct Figures {
    name: &'static str,
    /// Median of `CNI ADD`, milliseconds.
    setup_ms: u64,
    encapsulation: Encapsulation,
    /// MTU of pods on Ethernet, where it is not what the wrapping leaves.
    mtu: Option<u32>,
    /// From pod to pod of another node and back, less from node to node, microseconds.
    latency_us: u64,
    host_local: bool,
}

impl Preset {
    const fn known(self) -> Figures {
        match self {
            Self::Calico => Figures {
                name: "calico",
                setup_ms: 151,
                encapsulation: Encapsulation::Ipip,
                mtu: None,
                latency_us: 135,
                host_local: false,
            },
            Self::Flannel => Figures {
                name: "flannel",
                setup_ms: 64,
                encapsulation: Encapsulation::Vxlan,
                mtu: None,
                latency_us: 162,
                host_local: true,
            },
            Self::Cilium => Figures {
                name: "cilium-cni",
                setup_ms: 653,
                encapsulation: Encapsulation::Vxlan,
                mtu: None,
                latency_us: 88,
                host_local: false,
            },
            Self::Weave => Figures {
                name: "weave-net",
                setup_ms: 267,
                encapsulation: Encapsulation::Vxlan,
                mtu: Some(1376),
                latency_us: 162,
                host_local: false,
            },
        }
    }
}

/// What a wrapping costs that is not the plugin's usual one: Calico's figures.
const fn wrapped_us(encapsulation: Encapsulation) -> u64 {
    match encapsulation {
        Encapsulation::None => 82,
        Encapsulation::Ipip => 135,
        Encapsulation::Vxlan | Encapsulation::VxlanIpv6 | Encapsulation::Wireguard => 162,
    }
}

impl From<EncapsulationName> for Encapsulation {
    fn from(name: EncapsulationName) -> Self {
        match name {
            EncapsulationName::None => Self::None,
            EncapsulationName::Ipip => Self::Ipip,
            EncapsulationName::Vxlan => Self::Vxlan,
            EncapsulationName::VxlanIpv6 => Self::VxlanIpv6,
            EncapsulationName::Wireguard => Self::Wireguard,
        }
    }
}

/// The network of pods, if there is one.
pub(super) fn read(
    file: &ScenarioFile,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<CniConfig> {
    let spec = match file.cluster.cni.as_ref()? {
        Cni::Name(preset) => CniSpec::of(*preset),
        Cni::Spec(spec) => (**spec).clone(),
    };
    let preset = spec.preset.known();
    let given = spec.encapsulation.map(Encapsulation::from);
    let encapsulation = given.unwrap_or(preset.encapsulation);
    let own = encapsulation == preset.encapsulation;
    let (link_mtu, mtu) = spec.mtus(&preset, encapsulation, at, report);
    let median = SimDuration::from_millis(preset.setup_ms);
    let usual = Dist::LogNormal { median, sigma: SPREAD };
    let setup =
        spec.setup.as_ref().and_then(|d| report.take(&at.key("setup"), value::dist(d), DIST_HINT));
    let us = if own { preset.latency_us } else { wrapped_us(encapsulation) };
    let latency = spec
        .latency
        .as_ref()
        .and_then(|s| report.take(&at.key("latency"), value::span(&s.0), SPAN_HINT));
    let local = spec.ipam.map_or(preset.host_local, |ipam| ipam == IpamName::HostLocal);
    if local && file.cluster.pod_cidr.is_none() {
        let hint = "write cluster.podCIDR: 10.244.0.0/16";
        report.warn(at, "no node has a range of pod addresses: none gets ready", hint);
    }
    let ipam = if local { Ipam::HostLocal } else { Ipam::Pool(pool_bits(file, known)) };
    let agent = spec.agent.as_ref().and_then(|text| agent(text, known, &at.key("agent"), report));
    Some(CniConfig {
        name: Sym::new(preset.name),
        ipam,
        setup: setup.unwrap_or(usual),
        encapsulation,
        link_mtu,
        mtu,
        latency: latency.unwrap_or(SimDuration::from_micros(us)),
        agent,
    })
}

impl CniSpec {
    const fn of(preset: Preset) -> Self {
        Self {
            preset,
            setup: None,
            encapsulation: None,
            link_mtu: None,
            mtu: None,
            latency: None,
            ipam: None,
            agent: None,
        }
    }

    /// MTU between nodes, and of pods.
    fn mtus(
        &self,
        preset: &Figures,
        encapsulation: Encapsulation,
        at: &Place,
        report: &mut Report,
    ) -> (u32, u32) {
        let link = self.link_mtu.unwrap_or(ETHERNET);
        let most = link.saturating_sub(encapsulation.overhead());
        let usual = preset.mtu.filter(|_| link == ETHERNET && self.encapsulation.is_none());
        let mtu = self.mtu.or(usual).unwrap_or(most);
        if mtu > most {
            let problem = format!(
                "{mtu} bytes and {} of {} do not fit into {link}",
                encapsulation.overhead(),
                encapsulation.name()
            );
            report.error(&at.key("mtu"), problem, format!("{most} at most"));
        }
        (link, mtu)
    }
}

/// The DaemonSet that installs the plugin.
fn agent(text: &str, known: &Known, at: &Place, report: &mut Report) -> Option<(Sym, Name)> {
    let target = report.take(at, Target::parse(text), target::HINT)?;
    if target.kind != Kind::DaemonSet {
        let hint = "write daemonset/kube-system/NAME";
        report.error(at, format!("a {} is on no node of its own accord", target.kind), hint);
        return None;
    }
    known.check_target(&target, at, report).then_some((target.ns, target.name))
}

/// How long the prefix of a node's part of the pool is: short enough for the pods of the largest
/// node, and at most a /24.
fn pool_bits(file: &ScenarioFile, known: &Known) -> u8 {
    let nodes = known.nodes.iter().map(|n| n.capacity.pods);
    let pools = file.cluster.nodes.iter().filter_map(|p| p.pods);
    let types = file.cloud.iter().flat_map(|c| &c.machine_types).filter_map(|t| t.pods);
    let most = nodes.chain(pools.chain(types).map(i64::from)).max().unwrap_or(0);
    let fits = |bits: &u8| i64::from(addresses(Cidr { base: 0, bits: *bits })) >= most;
    (12..=NODE_BITS).rev().find(fits).unwrap_or(12)
}

/// `--cluster-cidr`, if nodes get ranges out of it, and `--node-cidr-mask-size-ipv4`.
pub(super) fn ranges(from: &Cluster, at: &Place, report: &mut Report) -> (Option<Cidr>, u8) {
    let bits = from.node_cidr_mask_size.unwrap_or(NODE_BITS);
    let place = at.key("nodeCIDRMaskSize");
    if !(8..=30).contains(&bits) {
        report.error(&place, format!("/{bits} is no range for the pods of a node"), "write 24");
    } else if from.node_cidr_mask_size.is_some() && from.pod_cidr.is_none() {
        let hint = "write cluster.podCIDR: 10.244.0.0/16";
        report.error(&place, "there is no range that nodes get theirs from", hint);
    }
    let cidr = from.pod_cidr.as_ref().and_then(|text| {
        let cidr = Cidr::parse(text).filter(|c| (8..=bits).contains(&c.bits));
        let cidr =
            cidr.ok_or_else(|| format!("{text:?} is no range of addresses from /8 to /{bits}"));
        report.take(&at.key("podCIDR"), cidr, "write 10.244.0.0/16")
    });
    if let Some(wide) = cidr.filter(|c| bits.saturating_sub(c.bits) > MOST_BITS) {
        let problem = format!("/{bits} is more than {MOST_BITS} bits longer than /{}", wide.bits);
        let hint = format!("write {} at most", num::u32_of(usize::from(wide.bits + MOST_BITS)));
        report.error(&place, problem, hint);
    }
    (cidr, bits)
}
