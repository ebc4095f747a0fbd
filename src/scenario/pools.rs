//! Node pools, trace nodes and Node objects to the list of nodes.

use super::file::{AgentName, Allocatable, Image, Pool, RuntimeChoice};
use super::place::Place;
use super::report::Report;
use super::value::{self, DIST_HINT, QUANTITY_HINT, Quantity, TAINT_HINT};
use crate::api::Pod;
use crate::api::labels::LabelSet;
use crate::api::meta::Stamp;
use crate::api::node::{Node, NodeImage, keys};
use crate::api::pod::{Effect, Taint};
use crate::api::quantity::Quantity as Exact;
use crate::api::resources::Resources;
use crate::cluster::spec::{Agent, NodeSpec};
use crate::engine::{Dist, SimDuration, SimTime, Sym};
use crate::node::{KubeletConfig, RuntimeName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// kubelet's `--max-pods`.
pub(crate) const MAX_PODS: u32 = 110;
/// Most nodes of a scenario: a mistyped count should not fill the memory.
const MAX_NODES: usize = 1_000_000;

/// Reads `key=value:Effect` or `key:Effect`.
pub(crate) fn taint(text: &str) -> Result<Taint, String> {
    let (body, effect) =
        text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no effect after a colon"))?;
    let effect = match effect {
        "NoSchedule" => Effect::NoSchedule,
        "PreferNoSchedule" => Effect::PreferNoSchedule,
        "NoExecute" => Effect::NoExecute,
        other => return Err(format!("{other:?} is no effect of a taint")),
    };
    let (key, value) = body.split_once('=').unwrap_or((body, ""));
    if key.is_empty() {
        return Err(format!("{text:?} has no key"));
    }
    Ok(Taint { key: key.into(), value: value.into(), effect, added: Stamp::NONE })
}

/// The agent by its name in the file.
pub(crate) fn agent(name: AgentName) -> Agent {
    match name {
        AgentName::Kubelet => Agent::Kubelet,
        AgentName::Fakelet => Agent::Fakelet,
    }
}

fn runtime(name: RuntimeChoice) -> RuntimeName {
    match name {
        RuntimeChoice::Containerd => RuntimeName::Containerd,
        RuntimeChoice::CriO => RuntimeName::CriO,
        RuntimeChoice::Docker => RuntimeName::Docker,
    }
}

/// Allocatable where nobody says otherwise.
pub(crate) fn default_allocatable(
    capacity: &Resources,
    agent: Agent,
    kubelet: &KubeletConfig,
) -> Resources {
    match agent {
        Agent::Kubelet => kubelet.allocatable(capacity),
        Agent::Fakelet => capacity.clone(),
    }
}

/// Labels every kubelet sets, those of the zone, and the given ones. The old names of system and
/// architecture are still set, and old manifests select by them (source: `kubelet_node_status.go`
/// `initialNode`; recorded).
pub(crate) fn node_labels(
    name: &str,
    zone: &str,
    (os, arch): (&str, &str),
    others: impl IntoIterator<Item = (Sym, Sym)>,
) -> LabelSet {
    let always = [
        (keys::HOSTNAME, name),
        ("kubernetes.io/os", os),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", os),
        ("beta.kubernetes.io/arch", arch),
    ];
    let zone = (!zone.is_empty()).then_some((keys::ZONE, zone));
    LabelSet::new(
        always.into_iter().chain(zone).map(|(k, v)| (Sym::new(k), Sym::new(v))).chain(others),
    )
}

/// Reads quantities of one pool, noting what is wrong.
struct Amounts<'r> {
    report: &'r mut Report,
    at: Place,
}

impl Amounts<'_> {
    fn read(&mut self, field: &str, quantity: &Quantity) -> Exact {
        let at = self.at.key(field);
        self.report.take(&at, value::amount(&quantity.0), QUANTITY_HINT).unwrap_or_default()
    }

    fn milli(&mut self, field: &str, quantity: &Quantity) -> i64 {
        self.read(field, quantity).milli_value()
    }

    fn units(&mut self, field: &str, quantity: &Quantity) -> i64 {
        self.read(field, quantity).value()
    }

    fn scalars(&mut self, of: &BTreeMap<String, Quantity>, into: &mut Resources) {
        let top = std::mem::take(&mut self.at);
        for (name, quantity) in of {
            self.at = top.key("resources");
            if let Some(field) = basic(name) {
                let hint = format!("write {field}: beside resources:, not below it");
                self.report.error(&self.at.key(name), "is no extended resource", hint);
                continue;
            }
            let amount = self.read(name, quantity);
            if !amount.is_whole() {
                self.report.error(
                    &self.at.key(name),
                    "must be a whole number",
                    "write 8, not 0.5 or 500m",
                );
            }
            into.set_scalar(name.as_str().into(), amount.value());
        }
        self.at = top;
    }
}

/// The field of a resource that is no extended one.
fn basic(name: &str) -> Option<&'static str> {
    match name {
        "cpu" => Some("cpu"),
        "memory" => Some("memory"),
        "pods" => Some("pods"),
        "ephemeral-storage" => Some("ephemeralStorage"),
        _ => None,
    }
}

/// What a machine has.
pub(crate) fn capacity(pool: &Pool, at: &Place, report: &mut Report) -> Resources {
    let missing = [("cpu", pool.cpu.is_none()), ("memory", pool.memory.is_none())];
    for (field, _) in missing.iter().filter(|(_, missing)| *missing) {
        let hint = "give it, or machineType: one of cloud.machineTypes";
        report.error(at, format!("missing field `{field}`"), hint);
    }
    if missing.iter().any(|(_, missing)| *missing) {
        return Resources::default();
    }
    let mut amounts = Amounts { report, at: at.clone() };
    let mut capacity = Resources {
        cpu_milli: pool.cpu.as_ref().map_or(0, |q| amounts.milli("cpu", q)),
        memory: pool.memory.as_ref().map_or(0, |q| amounts.units("memory", q)),
        ephemeral: pool
            .ephemeral_storage
            .as_ref()
            .map_or(0, |q| amounts.units("ephemeralStorage", q)),
        pods: i64::from(pool.pods.unwrap_or(MAX_PODS)),
        ..Resources::default()
    };
    amounts.scalars(&pool.resources, &mut capacity);
    if capacity.cpu_milli == 0 || capacity.memory == 0 {
        let field = if capacity.cpu_milli == 0 { "cpu" } else { "memory" };
        report.error(&at.key(field), "a node without it runs nothing", "give an amount above zero");
    }
    capacity
}

fn allocatable(
    given: &Allocatable,
    (capacity, agent, kubelet): (&Resources, Agent, &KubeletConfig),
    at: &Place,
    report: &mut Report,
) -> Resources {
    let mut result = default_allocatable(capacity, agent, kubelet);
    let mut amounts = Amounts { report, at: at.clone() };
    if let Some(q) = &given.cpu {
        result.cpu_milli = amounts.milli("cpu", q);
    }
    if let Some(q) = &given.memory {
        result.memory = amounts.units("memory", q);
    }
    if let Some(q) = &given.ephemeral_storage {
        result.ephemeral = amounts.units("ephemeralStorage", q);
    }
    if let Some(pods) = given.pods {
        result.pods = i64::from(pods);
    }
    amounts.scalars(&given.resources, &mut result);
    for (field, more) in [
        ("cpu", result.cpu_milli > capacity.cpu_milli),
        ("memory", result.memory > capacity.memory),
        ("pods", result.pods > capacity.pods),
        ("ephemeralStorage", result.ephemeral > capacity.ephemeral),
    ] {
        if more {
            report.error(
                &at.key(field),
                "more is allocatable than there is capacity",
                "raise the capacity, or lower this",
            );
        }
    }
    result
}

/// The zones of a pool in turn; empty text for none.
fn zones(pool: &Pool, at: &Place, report: &mut Report) -> Vec<String> {
    match (&pool.zone, &pool.zones) {
        (Some(_), Some(_)) => {
            report.error(&at.key("zones"), "zone and zones are both given", "keep one of them");
            Vec::new()
        }
        (Some(one), None) => vec![one.clone()],
        (None, Some(list)) if list.is_empty() => {
            report.error(&at.key("zones"), "the list is empty", "name a zone or leave zones out");
            Vec::new()
        }
        (None, Some(list)) => list.clone(),
        (None, None) => vec![String::new()],
    }
}

/// The name of node `number` of a pool.
pub(crate) fn node_name(pool: &Pool, number: usize) -> String {
    if pool.name.contains("{}") {
        pool.name.replace("{}", &number.to_string())
    } else if pool.count.is_some() {
        format!("{}-{number}", pool.name)
    } else {
        pool.name.clone()
    }
}

/// The nodes of one pool.
pub(crate) fn pool_nodes(
    pool: &Pool,
    image_bytes: u64,
    statics: &Arc<[Arc<Pod>]>,
    at: &Place,
    report: &mut Report,
) -> Vec<NodeSpec> {
    let count = pool.count.unwrap_or(1) as usize;
    if count > MAX_NODES {
        report.error(&at.key("count"), format!("more than {MAX_NODES} nodes"), "");
        return Vec::new();
    }
    if let Err(why) = super::names::subdomain(&node_name(pool, 0)) {
        report.error(&at.key("name"), why, super::names::HINT);
        return Vec::new();
    }
    let agent = agent(pool.agent);
    let capacity = Arc::new(capacity(pool, at, report));
    let kubelet = Arc::new(super::kubelet::config(&pool.kubelet, &at.key("kubelet"), report));
    let basis = (capacity.as_ref(), agent, kubelet.as_ref());
    let allocatable =
        Arc::new(allocatable(&pool.allocatable, basis, &at.key("allocatable"), report));
    let zones = zones(pool, at, report);
    let taints = taints(pool, &at.key("taints"), report);
    let images: Arc<[NodeImage]> = images(pool, image_bytes, &at.key("images"), report).into();
    let boot = pool
        .boot
        .as_ref()
        .and_then(|spec| report.take(&at.key("boot"), value::dist(spec), DIST_HINT))
        .unwrap_or(Dist::Constant(SimDuration::ZERO));
    let joins = pool.joins.as_ref().map(|text| value::span(&text.0));
    let joins = joins.and_then(|span| report.take(&at.key("joins"), span, value::SPAN_HINT));
    let joins = SimTime::ZERO + joins.unwrap_or(SimDuration::ZERO);
    let machine = (pool.os.as_deref().unwrap_or("linux"), pool.arch.as_deref().unwrap_or("amd64"));
    let others: Vec<(Sym, Sym)> =
        pool.labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
    super::names::labels(&pool.labels, &at.key("labels"), report);
    (0..count)
        .filter_map(|i| {
            let zone = zones.get(i % zones.len().max(1))?;
            let name = node_name(pool, i);
            let labels = node_labels(&name, zone, machine, others.iter().copied());
            Some(NodeSpec {
                name: name.as_str().into(),
                labels,
                zone: labels.get(keys::ZONE.into()).unwrap_or_default(),
                taints: taints.clone(),
                capacity: Arc::clone(&capacity),
                allocatable: Arc::clone(&allocatable),
                images: Arc::clone(&images),
                agent,
                boot,
                joins,
                kubelet: Arc::clone(&kubelet),
                statics: Arc::clone(statics),
                runtime: runtime(pool.runtime),
                machine: None,
            })
        })
        .collect()
}

fn taints(pool: &Pool, at: &Place, report: &mut Report) -> Vec<Taint> {
    let mut list: Vec<Taint> = Vec::new();
    for (i, text) in pool.taints.iter().enumerate() {
        let Some(taint) = report.take(&at.item(i), taint(&text.0), TAINT_HINT) else { continue };
        if list.iter().any(|t| t.key == taint.key && t.effect == taint.effect) {
            report.error(&at.item(i), "a taint with this key and effect is there already", "");
        }
        list.push(taint);
    }
    list
}

fn images(pool: &Pool, default_bytes: u64, at: &Place, report: &mut Report) -> Vec<NodeImage> {
    let default_bytes = i64::try_from(default_bytes).unwrap_or(i64::MAX);
    let mut list = Vec::new();
    for (i, image) in pool.images.iter().enumerate() {
        let (name, size) = match image {
            Image::Name(name) => (name, default_bytes),
            Image::Sized(sized) => {
                let size = value::amount(&sized.size.0);
                let size = report.take(&at.item(i).key("size"), size, QUANTITY_HINT);
                (&sized.name, size.unwrap_or_default().value())
            }
        };
        list.push(NodeImage { names: vec![name.as_str().into()], size });
    }
    list
}

/// A Node object of a manifest or dump as a node of the plan.
pub(crate) fn of_object(node: &Node) -> NodeSpec {
    let name = node.meta.name.sym();
    let labels = if node.meta.labels.get(keys::HOSTNAME.into()).is_some() {
        node.meta.labels
    } else {
        node.meta.labels.with(keys::HOSTNAME.into(), name)
    };
    let lifecycle = [keys::NOT_READY, keys::UNREACHABLE, keys::UNSCHEDULABLE];
    NodeSpec {
        name,
        labels,
        zone: labels.get(keys::ZONE.into()).unwrap_or_default(),
        // Taints of the node's life are set by the control plane when they are due.
        taints: node
            .taints
            .iter()
            .filter(|t| !lifecycle.contains(&t.key.as_str()))
            .copied()
            .collect(),
        capacity: Arc::clone(&node.status.capacity),
        allocatable: Arc::clone(&node.status.allocatable),
        images: Arc::clone(&node.status.images),
        agent: Agent::Kubelet,
        boot: Dist::Constant(SimDuration::ZERO),
        joins: SimTime::ZERO,
        kubelet: Arc::default(),
        statics: Arc::default(),
        runtime: Default::default(),
        machine: None,
    }
}
