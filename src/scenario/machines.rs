//! The cloud of the file to that of the plan: catalogue, node groups, autoscaler.

use super::cloud::{
    AutoscalerEntry, AutoscalerKind, CloudLatencyEntries, CloudSection, ConsolidationName,
    MachineTypeEntry, NodePoolEntry, ProviderName, RequirementEntry,
};
use super::file::{Pool, ScenarioFile};
use super::place::{Place, suggest};
use super::pools;
use super::report::Report;
use super::value::{self, DIST_HINT, DistSpec, QUANTITY_HINT, Quantity, SPAN_HINT, Span};
use crate::api::node::{Node, NodeStatus, keys};
use crate::api::{Meta, Name, Pod};
use crate::cluster::spec::{Agent, CloudPlan, MachineOf, NodeSpec};
use crate::control_plane::cloud::autoscaler::AutoscalerConfig;
use crate::control_plane::cloud::autoscaler::config::{
    Budget, ClusterFlags, Consolidation, Expander, KarpenterOptions, NodePool,
};
use crate::control_plane::cloud::config::{
    CloudConfig, CloudLatencies, Group, MachineType, Provider, Quota, StockOut,
};
use crate::engine::{Dist, SimDuration, SimTime, Sym, num};
use crate::node::KubeletConfig;
use std::sync::Arc;

/// Calls that a provider takes by default (not sourced).
const LIMIT: (f64, u32) = (20.0, 100);
/// Client limits of cloud-controller-manager (source: behaviour reference §3.21).
const MANAGER: (f64, u32) = (20.0, 30);
/// `expireAfter` (source: behaviour reference §5.2).
const EXPIRES: SimDuration = SimDuration::from_secs(720 * 3600);
/// Label of Karpenter's pool.
const NODE_POOL: &str = "karpenter.sh/nodepool";

/// Reads the cloud while the node pools are read.
#[derive(Debug)]
pub(crate) struct Reader<'f> {
    from: Option<&'f CloudSection>,
    hosted: bool,
    ranges: bool,
    at: Place,
    types: Vec<MachineType>,
    groups: Vec<Group>,
    blueprints: Vec<NodeSpec>,
    zones: Vec<Sym>,
    latency: CloudLatencies,
}

fn span(text: &Span, at: &Place, report: &mut Report) -> Option<SimDuration> {
    report.take(at, value::span(&text.0), SPAN_HINT)
}

fn micro(price: f64, at: &Place, report: &mut Report) -> u32 {
    let micro = num::round(price * 1e6);
    let fits = u32::try_from(micro).ok().filter(|_| price.is_finite());
    let problem = || format!("{price} is no price");
    report.take(at, fits.ok_or_else(problem), "write a number from 0 to 4294").unwrap_or(0)
}

/// A machine type as a pool, whose reader knows amounts.
fn as_pool(from: &MachineTypeEntry) -> Pool {
    Pool {
        name: from.name.clone(),
        cpu: Some(from.cpu.clone()),
        memory: Some(from.memory.clone()),
        ephemeral_storage: from.ephemeral_storage.clone(),
        pods: from.pods,
        resources: from.resources.clone(),
        ..Pool::default()
    }
}

impl<'f> Reader<'f> {
    /// Reads the catalogue.
    pub(crate) fn new(file: &'f ScenarioFile, report: &mut Report) -> Self {
        let from = file.cloud.as_ref();
        let at = Place::default().key("cloud");
        let mut types: Vec<MachineType> = Vec::new();
        for (i, entry) in from.iter().flat_map(|c| &c.machine_types).enumerate() {
            let place = at.key("machineTypes").item(i);
            let name = Sym::new(&entry.name);
            if types.iter().any(|t| t.name == name) {
                report.error(&place.key("name"), "is there already", "machine types must differ");
            }
            let capacity = Arc::new(pools::capacity(&as_pool(entry), &place, report));
            let kubelet = KubeletConfig::default();
            let allocatable = pools::default_allocatable(&capacity, Agent::Kubelet, &kubelet);
            let price = micro(entry.price, &place.key("price"), report);
            let spot = entry.spot_price.map(|p| micro(p, &place.key("spotPrice"), report));
            let allocatable = Arc::new(allocatable);
            types.push(MachineType { name, capacity, allocatable, price, spot_price: spot });
        }
        let provider = provider(from);
        let mut latency = CloudLatencies::of(provider);
        if let Some(section) = from {
            latencies(&section.latencies, &at.key("latencies"), &mut latency, report);
        }
        let zones = from.iter().flat_map(|c| &c.zones).map(|z| Sym::new(z)).collect();
        let hosted = file.cluster.control_plane.is_some();
        let (groups, blueprints) = (Vec::new(), Vec::new());
        let ranges = file.cluster.pod_cidr.is_some();
        Self { from, hosted, ranges, at, types, groups, blueprints, zones, latency }
    }

    /// The nodes of a pool; one with a machine type is a node group.
    pub(crate) fn nodes(
        &mut self,
        pool: &Pool,
        (image_bytes, statics): (u64, &Arc<[Arc<Pod>]>),
        at: &Place,
        report: &mut Report,
    ) -> Vec<NodeSpec> {
        let Some(wanted) = &pool.machine_type else {
            for (field, given) in [("spot", pool.spot), ("autoscale", pool.autoscale.is_some())] {
                if given {
                    let hint = "give machineType: one of cloud.machineTypes";
                    report.error(&at.key(field), "only machines of the cloud have it", hint);
                }
            }
            return pools::pool_nodes(pool, image_bytes, statics, at, report);
        };
        let Some(kind) = self.kind(wanted, &at.key("machineType"), report) else {
            return Vec::new();
        };
        for (field, given) in [("cpu", &pool.cpu), ("memory", &pool.memory)] {
            if given.is_some() {
                report.error(&at.key(field), "is given beside machineType", "leave it out");
            }
        }
        let Some(entry) = self.from.and_then(|c| c.machine_types.get(usize::from(kind))) else {
            return Vec::new();
        };
        let mut whole = Pool {
            cpu: Some(entry.cpu.clone()),
            memory: Some(entry.memory.clone()),
            ephemeral_storage: entry.ephemeral_storage.clone(),
            pods: pool.pods.or(entry.pods),
            resources: entry.resources.clone(),
            ..pool.clone()
        };
        let given = pool.autoscale.as_ref();
        whole.count = Some(pool.count.or(given.map(|a| a.min)).unwrap_or(1));
        let one = Pool { count: Some(1), ..whole.clone() };
        let first = pools::pool_nodes(&one, image_bytes, statics, at, report);
        let Some(blueprint) = first.into_iter().next() else { return Vec::new() };
        let mut nodes = pools::pool_nodes(&whole, image_bytes, statics, at, report);
        let group = u16::try_from(self.groups.len()).unwrap_or(u16::MAX);
        self.group((&whole, kind), blueprint, at, report);
        for node in &mut nodes {
            node.machine = Some(MachineOf { group, kind, spot: pool.spot });
            let region = self.from.and_then(|c| c.region.as_deref()).map(|r| (keys::REGION, r));
            let pairs = [Some((keys::INSTANCE_TYPE, wanted.as_str())), region];
            for (key, value) in pairs.into_iter().flatten() {
                node.labels = node.labels.with(key.into(), value.into());
            }
        }
        nodes
    }

    fn kind(&self, name: &str, at: &Place, report: &mut Report) -> Option<u16> {
        let found = self.types.iter().position(|t| t.name.as_str() == name);
        if found.is_none() {
            let names: Vec<&str> = self.types.iter().map(|t| t.name.as_str()).collect();
            let hint = if names.is_empty() {
                "describe it in cloud.machineTypes".to_owned()
            } else {
                suggest(name, &names)
            };
            report.error(at, format!("machine type {name:?} not found"), hint);
        }
        found.and_then(|at| u16::try_from(at).ok())
    }

    /// A node group.
    fn group(
        &mut self,
        (pool, kind): (&Pool, u16),
        mut blueprint: NodeSpec,
        at: &Place,
        report: &mut Report,
    ) {
        let zones: Vec<Sym> = match (&pool.zone, &pool.zones) {
            (Some(one), _) => vec![Sym::new(one)],
            (None, Some(list)) => list.iter().map(|z| Sym::new(z)).collect(),
            (None, None) => vec![Sym::EMPTY],
        };
        for zone in zones.iter().filter(|z| !z.is_empty()) {
            if !self.zones.contains(zone) {
                self.zones.push(*zone);
            }
        }
        let count = pool.count.unwrap_or(0);
        let bounds = pool.autoscale.as_ref().map(|a| (a.min, a.max));
        if let Some((min, max)) =
            bounds.filter(|(min, max)| min > max || count > *max || count < *min)
        {
            let problem = format!("{count} nodes, at least {min} and at most {max}");
            report.error(&at.key("autoscale"), problem, "min ≤ count ≤ max");
        }
        if pool.spot && self.types[usize::from(kind)].spot_price.is_none() {
            let hint = "give the machine type a spotPrice";
            report.error(&at.key("spot"), "the type is not sold as spare capacity", hint);
        }
        // What the cloud's controllers write is not known to a new node.
        blueprint.labels = blueprint.labels.without(keys::ZONE.into());
        if pool.boot.is_none() {
            blueprint.boot = self.latency.boot;
        }
        let name = pool.name.replace("-{}", "").replace("{}", "");
        let pattern = if pool.name.contains("{}") {
            pool.name.clone()
        } else {
            format!("{}-{{}}", pool.name)
        };
        self.groups.push(Group {
            name: Sym::new(&name),
            pattern: Sym::new(&pattern),
            kind: Some(kind),
            zones: zones.into(),
            spot: pool.spot,
            bounds,
            priority: pool.autoscale.as_ref().map_or(0, |a| a.priority),
            count,
            template: template(&blueprint),
        });
        self.blueprints.push(blueprint);
    }

    /// The cloud, once all pools have been read.
    pub(crate) fn finish(mut self, report: &mut Report) -> Option<CloudPlan> {
        let from = self.from?;
        if self.hosted {
            let hint =
                "leave cluster.controlPlane out: nodes that come and go are not modelled with it";
            report.error(&self.at, "is given beside cluster.controlPlane", hint);
        }
        if from.routes && !self.ranges {
            let hint = "write cluster.podCIDR: 10.244.0.0/16";
            report.error(&self.at.key("routes"), "no node has a range of pod addresses", hint);
        }
        let at = self.at.clone();
        let autoscaler = from.autoscaler.as_ref();
        let autoscaler = autoscaler.and_then(|a| self.autoscaler(a, &at.key("autoscaler"), report));
        let failures = from.failures.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&failures) {
            report.error(&at.key("failures"), "is no share", "write a number from 0 to 1");
        }
        let spot_life = from.spot_life.as_ref();
        let spot_life =
            spot_life.and_then(|d| report.take(&at.key("spotLife"), value::dist(d), DIST_HINT));
        let config = CloudConfig {
            provider: provider(Some(from)),
            region: Sym::new(from.region.as_deref().unwrap_or_default()),
            quota: self.quota(from, report),
            stock_outs: self.stock_outs(from, report),
            latency: self.latency,
            spot_life,
            failures,
            limit: from.limit.map_or(LIMIT, |l| (l.qps, l.burst)),
            routes: from.routes,
            repairs: from.repairs.unwrap_or(true),
            manager_limit: MANAGER,
            autoscaler,
            types: self.types,
            groups: self.groups,
        };
        Some(CloudPlan { config: Arc::new(config), blueprints: self.blueprints })
    }

    fn quota(&self, from: &CloudSection, report: &mut Report) -> Quota {
        let at = self.at.key("quotas");
        let mut cpu = |field: &str, given: &Option<Quantity>| {
            let text = given.as_ref()?;
            let amount = report.take(&at.key(field), value::amount(&text.0), QUANTITY_HINT)?;
            Some(amount.milli_value())
        };
        Quota {
            cpu: cpu("cpu", &from.quotas.cpu),
            spot_cpu: cpu("spotCpu", &from.quotas.spot_cpu),
            machines: from.quotas.machines,
        }
    }

    fn stock_outs(&self, from: &CloudSection, report: &mut Report) -> Vec<StockOut> {
        let mut all = Vec::new();
        for (i, entry) in from.stock_outs.iter().enumerate() {
            let at = self.at.key("stockOuts").item(i);
            let kind = entry.machine_type.as_ref();
            let kind = kind.and_then(|t| self.kind(t, &at.key("machineType"), report));
            let begins = span(&entry.at, &at.key("at"), report).unwrap_or_default();
            let lasts = entry.lasts.as_ref().and_then(|s| span(s, &at.key("for"), report));
            let from = SimTime::ZERO + begins;
            all.push(StockOut {
                kind,
                zone: entry.zone.as_ref().map(|z| Sym::new(z)),
                spot: entry.spot,
                from,
                until: lasts.map_or(SimTime::MAX, |l| from + l),
            });
        }
        all
    }

    fn autoscaler(
        &mut self,
        from: &AutoscalerEntry,
        at: &Place,
        report: &mut Report,
    ) -> Option<AutoscalerConfig> {
        match from.kind {
            AutoscalerKind::ClusterAutoscaler => {
                if !from.node_pools.is_empty() {
                    let hint = "give pools of cluster.nodes autoscale: {min: 1, max: 10}";
                    report.error(&at.key("node-pools"), "are Karpenter's", hint);
                }
                if self.groups.iter().all(|g| g.bounds.is_none()) {
                    let hint = "give a pool of cluster.nodes autoscale: {min: 1, max: 10}";
                    report.error(at, "has no pool that it may change", hint);
                }
                Some(AutoscalerConfig::Cluster(Box::new(flags(from, at, report))))
            }
            AutoscalerKind::Karpenter => {
                let second = SimDuration::from_secs;
                let mut of = |field: &str, given: &Option<Span>, default| {
                    let read = given.as_ref().and_then(|s| span(s, &at.key(field), report));
                    read.unwrap_or(default)
                };
                let batch_idle = of("batch-idle-duration", &from.batch_idle_duration, second(1));
                let batch_max = of("batch-max-duration", &from.batch_max_duration, second(10));
                if from.node_pools.is_empty() {
                    let hint = "write node-pools: [{metadata: {name: default}}]";
                    report.error(&at.key("node-pools"), "Karpenter needs one", hint);
                }
                let place = at.key("node-pools");
                let pools = from.node_pools.iter().enumerate();
                let pools: Vec<NodePool> =
                    pools.map(|(i, p)| self.node_pool(p, &place.item(i), report)).collect();
                let options = KarpenterOptions { batch_idle, batch_max, pools };
                Some(AutoscalerConfig::Karpenter(Box::new(options)))
            }
        }
    }

    fn node_pool(&mut self, from: &NodePoolEntry, at: &Place, report: &mut Report) -> NodePool {
        let name = &from.metadata.name;
        if let Err(why) = super::names::subdomain(name) {
            report.error(&at.key("metadata").key("name"), why, super::names::HINT);
        }
        let spec = &from.spec;
        let template_at = at.key("spec").key("template").key("spec");
        let pool = any_pool(from);
        let none: Arc<[Arc<Pod>]> = Arc::default();
        let first = pools::pool_nodes(&pool, 0, &none, &template_at, report).into_iter().next();
        let group = u16::try_from(self.groups.len()).unwrap_or(u16::MAX);
        let requirements = &spec.template.spec.requirements;
        let of = Requirements { list: requirements, at: &template_at.key("requirements") };
        let zones = of.filter(keys::ZONE, self.zones.clone(), |z| *z);
        let kinds: Vec<u16> = (0..self.types.len()).filter_map(|i| u16::try_from(i).ok()).collect();
        let kinds = of.filter(keys::INSTANCE_TYPE, kinds, |k| self.types[usize::from(*k)].name);
        let capacity = of.capacity();
        of.check(report);
        if kinds.is_empty() {
            report.error(
                &template_at,
                "no machine type is left",
                "describe one in cloud.machineTypes",
            );
        }
        if let Some(mut blueprint) = first {
            blueprint.boot = self.latency.direct_boot;
            self.groups.push(any_group(name, &zones, &blueprint));
            self.blueprints.push(blueprint);
        }
        let zones = if zones.is_empty() { vec![Sym::EMPTY] } else { zones };
        let limits = limits(from, &at.key("spec").key("limits"), report);
        let disruption_at = at.key("spec").key("disruption");
        let disruption = &spec.disruption;
        let after = &disruption.consolidate_after;
        let expires = &spec.template.spec.expire_after;
        NodePool {
            group,
            kinds,
            zones,
            capacity,
            limits,
            weight: spec.weight,
            policy: match disruption.consolidation_policy {
                Some(ConsolidationName::WhenEmpty) => Consolidation::WhenEmpty,
                Some(ConsolidationName::WhenEmptyOrUnderutilized) | None => {
                    Consolidation::WhenEmptyOrUnderutilized
                }
            },
            consolidate_after: or_never(
                after.as_deref(),
                SimDuration::ZERO,
                &disruption_at.key("consolidateAfter"),
                report,
            ),
            budgets: budgets(disruption.budgets.as_deref(), &disruption_at.key("budgets"), report),
            expire_after: or_never(
                expires.as_deref(),
                EXPIRES,
                &template_at.key("expireAfter"),
                report,
            ),
        }
    }
}

/// `spec.limits`.
fn limits(from: &NodePoolEntry, at: &Place, report: &mut Report) -> (Option<i64>, Option<i64>) {
    let given = &from.spec.limits;
    let mut limit = |name: &str| {
        let text = given.get(name)?;
        report.take(&at.key(name), value::amount(&text.0), QUANTITY_HINT)
    };
    let limits = (limit("cpu").map(|a| a.milli_value()), limit("memory").map(|a| a.value()));
    for other in given.keys().filter(|k| !matches!(k.as_str(), "cpu" | "memory")) {
        report.error(&at.key(other), "is not modelled", "cpu and memory are");
    }
    limits
}

/// A pool whose machines are of any type: their amounts are put in when one is launched.
fn any_pool(from: &NodePoolEntry) -> Pool {
    let one = || Some(Quantity("1".to_owned()));
    let mut labels = from.spec.template.metadata.labels.clone();
    labels.insert(NODE_POOL.to_owned(), from.metadata.name.clone());
    Pool {
        name: from.metadata.name.clone(),
        count: Some(1),
        cpu: one(),
        memory: one(),
        labels,
        taints: from.spec.template.spec.taints.clone(),
        ..Pool::default()
    }
}

/// Its row among the groups.
fn any_group(name: &str, zones: &[Sym], blueprint: &NodeSpec) -> Group {
    Group {
        name: Sym::new(name),
        pattern: Sym::new(&format!("{name}-{{}}")),
        kind: None,
        zones: zones.into(),
        spot: false,
        bounds: None,
        priority: 0,
        count: 0,
        template: template(blueprint),
    }
}

/// `Never`, a span, or the default.
fn or_never(
    text: Option<&str>,
    default: SimDuration,
    at: &Place,
    report: &mut Report,
) -> Option<SimDuration> {
    match text {
        None => Some(default),
        Some("Never") => None,
        Some(text) => report.take(at, value::span(text), "write 5m, or Never"),
    }
}

fn budgets(
    from: Option<&[super::cloud::BudgetEntry]>,
    at: &Place,
    report: &mut Report,
) -> Vec<Budget> {
    let Some(list) = from else { return vec![Budget::Percent(10)] };
    let mut all = Vec::new();
    for (i, entry) in list.iter().enumerate() {
        let text = entry.nodes.0.as_str();
        let read = match text.strip_suffix('%') {
            Some(share) => share.parse().ok().filter(|p| *p <= 100).map(Budget::Percent),
            None => text.parse().ok().map(Budget::Nodes),
        };
        let read = read.ok_or_else(|| format!("{text:?} is no number of nodes"));
        all.extend(report.take(&at.item(i).key("nodes"), read, "write 5 or 10%"));
    }
    all
}

/// Requirements of a pool.
struct Requirements<'a> {
    list: &'a [RequirementEntry],
    at: &'a Place,
}

impl Requirements<'_> {
    fn allows(&self, key: &str, value: &str) -> bool {
        self.list.iter().filter(|r| r.key == key).all(|r| {
            let listed = r.values.iter().any(|v| v == value);
            if r.operator == "NotIn" { !listed } else { listed }
        })
    }

    fn filter<T>(&self, key: &str, all: Vec<T>, name: impl Fn(&T) -> Sym) -> Vec<T> {
        all.into_iter().filter(|item| self.allows(key, name(item).as_str())).collect()
    }

    /// Whether spot machines and machines on demand are allowed; without a word of it, those on
    /// demand are (source: karpenter's default requirement).
    fn capacity(&self) -> (bool, bool) {
        let key = crate::control_plane::cloud::autoscaler::CAPACITY_TYPE;
        if self.list.iter().any(|r| r.key == key) {
            (self.allows(key, "spot"), self.allows(key, "on-demand"))
        } else {
            (false, true)
        }
    }

    fn check(&self, report: &mut Report) {
        let key = crate::control_plane::cloud::autoscaler::CAPACITY_TYPE;
        let known = [keys::ZONE, keys::INSTANCE_TYPE, key];
        for (i, requirement) in self.list.iter().enumerate() {
            let at = self.at.item(i);
            if !known.contains(&requirement.key.as_str()) {
                let hint = format!("modelled are {}", known.join(", "));
                report.error(&at.key("key"), "is not modelled", hint);
            }
            if !matches!(requirement.operator.as_str(), "In" | "NotIn") {
                report.error(&at.key("operator"), "is not modelled", "write In or NotIn");
            }
        }
    }
}

fn provider(from: Option<&CloudSection>) -> Provider {
    match from.map(|c| c.provider).unwrap_or_default() {
        ProviderName::Aws => Provider::Aws,
        ProviderName::Gcp => Provider::Gcp,
        ProviderName::Azure => Provider::Azure,
    }
}

/// The Node that a blueprint registers, as far as it is known beforehand.
fn template(blueprint: &NodeSpec) -> Arc<Node> {
    Arc::new(Node {
        meta: Meta {
            labels: blueprint.labels,
            ..Meta::named(Sym::EMPTY, Name::new(blueprint.name.as_str()))
        },
        taints: blueprint.taints.clone().into(),
        status: NodeStatus {
            capacity: Arc::clone(&blueprint.capacity),
            allocatable: Arc::clone(&blueprint.allocatable),
            images: Arc::clone(&blueprint.images),
            ..NodeStatus::default()
        },
        ..Node::default()
    })
}

fn latencies(
    from: &CloudLatencyEntries,
    at: &Place,
    into: &mut CloudLatencies,
    report: &mut Report,
) {
    let dists: [(&str, &Option<DistSpec>, &mut Dist); 6] = [
        ("request", &from.request, &mut into.request),
        ("boot", &from.boot, &mut into.boot),
        ("directBoot", &from.direct_boot, &mut into.direct_boot),
        ("terminate", &from.terminate, &mut into.terminate),
        ("loadBalancer", &from.load_balancer, &mut into.balancer),
        ("healthCheck", &from.health_check, &mut into.health_check),
    ];
    for (field, given, into) in dists {
        let Some(spec) = given else { continue };
        *into = report.take(&at.key(field), value::dist(spec), DIST_HINT).unwrap_or(*into);
    }
    if let Some(notice) = &from.spot_notice {
        into.notice = span(notice, &at.key("spotNotice"), report).unwrap_or(into.notice);
    }
}

/// Flags of the cluster autoscaler.
fn flags(from: &AutoscalerEntry, at: &Place, report: &mut Report) -> ClusterFlags {
    let mut flags = ClusterFlags::default();
    spans(from, &mut flags, at, report);
    if flags.scan_interval < SimDuration::from_secs(1) {
        report.error(&at.key("scan-interval"), "is too short", "write 1s or more");
        flags.scan_interval = SimDuration::from_secs(1);
    }
    if let Some(chain) = &from.expander {
        flags.expanders = expanders(chain, &at.key("expander"), report);
    }
    numbers(from, &mut flags);
    flags
}

/// Flags that are spans of time.
fn spans(from: &AutoscalerEntry, f: &mut ClusterFlags, at: &Place, report: &mut Report) {
    let spans: [(&str, &Option<Span>, &mut SimDuration); 14] = [
        ("scan-interval", &from.scan_interval, &mut f.scan_interval),
        ("new-pod-scale-up-delay", &from.new_pod_scale_up_delay, &mut f.new_pod_scale_up_delay),
        ("max-node-provision-time", &from.max_node_provision_time, &mut f.max_node_provision_time),
        (
            "scale-down-unneeded-time",
            &from.scale_down_unneeded_time,
            &mut f.scale_down_unneeded_time,
        ),
        ("scale-down-unready-time", &from.scale_down_unready_time, &mut f.scale_down_unready_time),
        (
            "scale-down-delay-after-add",
            &from.scale_down_delay_after_add,
            &mut f.scale_down_delay_after_add,
        ),
        (
            "scale-down-delay-after-delete",
            &from.scale_down_delay_after_delete,
            &mut f.scale_down_delay_after_delete,
        ),
        (
            "scale-down-delay-after-failure",
            &from.scale_down_delay_after_failure,
            &mut f.scale_down_delay_after_failure,
        ),
        ("max-pod-eviction-time", &from.max_pod_eviction_time, &mut f.max_pod_eviction_time),
        (
            "node-delete-delay-after-taint",
            &from.node_delete_delay_after_taint,
            &mut f.node_delete_delay_after_taint,
        ),
        (
            "unremovable-node-recheck-timeout",
            &from.unremovable_node_recheck_timeout,
            &mut f.unremovable_node_recheck_timeout,
        ),
        (
            "initial-node-group-backoff-duration",
            &from.initial_node_group_backoff_duration,
            &mut f.initial_node_group_backoff_duration,
        ),
        (
            "max-node-group-backoff-duration",
            &from.max_node_group_backoff_duration,
            &mut f.max_node_group_backoff_duration,
        ),
        (
            "node-group-backoff-reset-timeout",
            &from.node_group_backoff_reset_timeout,
            &mut f.node_group_backoff_reset_timeout,
        ),
    ];
    for (field, given, into) in spans {
        let Some(text) = given else { continue };
        *into = span(text, &at.key(field), report).unwrap_or(*into);
    }
}

/// Flags that are numbers and switches.
fn numbers(from: &AutoscalerEntry, flags: &mut ClusterFlags) {
    let numbers = [
        (from.max_nodes_per_scaleup, &mut flags.max_nodes_per_scaleup),
        (from.max_nodes_total, &mut flags.max_nodes_total),
        (from.max_scale_down_parallelism, &mut flags.max_scale_down_parallelism),
        (from.max_drain_parallelism, &mut flags.max_drain_parallelism),
        (from.ok_total_unready_count, &mut flags.ok_total_unready_count),
        (from.max_total_unready_percentage, &mut flags.max_total_unready_percentage),
    ];
    for (given, into) in numbers {
        *into = given.unwrap_or(*into);
    }
    let switches = [
        (from.balance_similar_node_groups, &mut flags.balance_similar_node_groups),
        (from.scale_down_enabled, &mut flags.scale_down_enabled),
        (from.skip_nodes_with_local_storage, &mut flags.skip_nodes_with_local_storage),
        (from.skip_nodes_with_system_pods, &mut flags.skip_nodes_with_system_pods),
        (from.ignore_daemonsets_utilization, &mut flags.ignore_daemonsets_utilization),
    ];
    for (given, into) in switches {
        *into = given.unwrap_or(*into);
    }
    if let Some(share) = from.scale_down_utilization_threshold {
        let percent = num::round(share * 100.0).clamp(0, 100);
        flags.scale_down_utilization_percent = u32::try_from(percent).unwrap_or(0);
    }
    if let Some(seconds) = from.max_graceful_termination_sec {
        flags.max_graceful_termination = SimDuration::from_secs(u64::from(seconds));
    }
}

fn expanders(chain: &str, at: &Place, report: &mut Report) -> Vec<Expander> {
    let known = [
        ("random", Expander::Random),
        ("most-pods", Expander::MostPods),
        ("least-waste", Expander::LeastWaste),
        ("least-nodes", Expander::LeastNodes),
        ("price", Expander::Price),
        ("priority", Expander::Priority),
    ];
    let mut all = Vec::new();
    for name in chain.split(',').map(str::trim) {
        match known.iter().find(|(n, _)| *n == name) {
            Some((_, expander)) => all.push(*expander),
            None => {
                let names = known.map(|(n, _)| n);
                report.error(at, format!("{name:?} is no expander"), suggest(name, &names));
            }
        }
    }
    all
}
