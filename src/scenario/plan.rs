//! The scenario file to the plan of the run.

use super::arrivals::{self, instant};
use super::file::{self, Heartbeats, QueueName, ScenarioFile, TieRule, Until};
use super::files::Files;
use super::objects::{self, Known, Objects, Origin};
use super::place::Place;
use super::policies;
use super::report::Report;
use super::traces::{openb, recorded};
use super::value::{self, DIST_HINT, QUANTITY_HINT, SPAN_HINT};
use super::{
    ailments, expect, faults, logging, machines, names, outages, planes, pools, scheduler, steps,
    traffic, usage,
};
use crate::api::Cidr;
use crate::api::gpu;
use crate::api::version::KubeVersion;
use crate::cluster::spec::{
    Arrival, ClientLimits, CloudPlan, ClusterSpec, Discipline, Latencies, Made, Named, NodeSpec,
    Plan, Process, SchedulerSpec, Ties, Tuning,
};
use crate::engine::{Dist, SimDuration, SimTime, num};
use crate::event::usage::Load;
use crate::traffic::RowSpec;
use std::sync::Arc;

/// 2026-01-01T00:00:00Z.
const EPOCH_S: u32 = 1_767_225_600;
/// End of a run that is to end by itself: long enough for any workload that does.
const IDLE_CAP: SimTime = SimTime::from_secs(7 * 86_400);
/// `--metric-resolution` as released manifests of metrics-server pass it.
const METRICS_RESOLUTION: SimDuration = SimDuration::from_secs(15);
/// Round trip between members of etcd on nodes of their own (unsourced: that of zones of a region).
const MEMBERS_RTT: SimDuration = SimDuration::from_millis(1);
/// `--event-ttl`.
const EVENT_TTL: SimDuration = SimDuration::from_secs(3_600);
/// What the report says about usage that has no meaning for one container.
const UNFELT: &str = "memory, storage or processes as a total or a walk: no kubelet feels them";
/// What the report says about two sources of one usage.
const COUNTED: &str = "CPU that requests cost, of pods whose CPU `usage:` gives";
/// A field that means something only where the network of pods is described.
const HOST_NETWORK: &str = "spec.hostNetwork";

pub(crate) fn top(field: &str) -> Place {
    Place::default().key(field)
}

/// The plan; what is wrong is noted in the report, and then the plan is not to be run.
pub(crate) fn build(file: &ScenarioFile, files: &mut Files, report: &mut Report) -> Plan {
    header(file, report);
    let (until, until_idle) = until(&file.until, report);
    let mut latency = latencies(file, report);
    let members = file.cluster.control_plane.as_ref().map_or(1, |c| c.nodes);
    if members > 1 && file.cluster.latencies.raft_rtt.is_none() {
        latency.raft_rtt = MEMBERS_RTT;
    }
    let mut known = Known::default();
    known.has_traffic = !file.traffic.is_empty();
    known.has_logging = file.logging.is_some();
    let clouds = nodes(file, &latency, &mut known, files, report);
    let objects = objects::read(file, known, files, report);
    let known = &objects.known;
    if known.nodes.is_empty() && !report.failed() {
        report.error(
            &top("cluster"),
            "has no node",
            "write nodes: with at least one pool such as {name: node, count: 3, cpu: 4, memory: 16Gi}",
        );
    }
    let mut arrivals = arrivals(file, known, report);
    let traced = traces(file, known, files, report);
    let facts = openb_facts(file, &traced).chain(objects.facts.clone()).collect();
    arrivals.extend(traced);
    let mut plan = Plan {
        name: file.metadata.name.clone(),
        seed: file.seed,
        until,
        until_idle,
        steps: steps::steps(file, &objects, report),
        arrivals,
        faults: each(&file.faults, "faults", |f, at| faults::fault(f, known, at, report)),
        awaits: ailments::awaits(&file.faults, known, report),
        outages: Vec::new(),
        usage: file
            .usage
            .iter()
            .enumerate()
            .flat_map(|(i, u)| usage::loads(u, known, &top("usage").item(i), report))
            .collect(),
        expect: each(&file.expect, "expect", |e, at| expect::expect(e, known, at, report)),
        pins: each(&file.pin, "pin", |p, at| Some(expect::pin(p, known, at, report))),
        warm: objects.warm.clone(),
        logging: file
            .logging
            .as_ref()
            .map(|l| Arc::new(logging::logging(l, known, &top("logging"), report))),
        traffic: Vec::new(),
        recorded: facts,
        not_modelled: not_modelled(&objects, file.cluster.cni.is_some()),
        cluster: cluster(file, latency, known, report),
    };
    replay(&mut plan, recorded::arrivals(&file.traces, known, files, report));
    requests(&mut plan, traffic::rows(&file.traffic, known, until, files, report));
    let limits = plan.cluster.limits.scheduler;
    plan.cluster.scheduler = scheduler(file, limits, files, &mut plan.not_modelled, report);
    let read =
        each(&file.outages, "outages", |o, at| outages::outages(o, known, at, files, report));
    for (outages, beyond) in read {
        plan.not_modelled.extend(beyond);
        plan.outages.push(outages);
    }
    late(&plan, report);
    plan.cluster.nodes = objects.known.nodes;
    gpus(file, &plan, report);
    plan.cluster.cloud = clouds.map(Arc::new);
    plan
}

/// Traffic, and the CPU that serving it takes.
fn requests(plan: &mut Plan, (rows, served): (Vec<RowSpec>, Vec<Load>)) {
    plan.traffic = rows;
    let told = |load: &Load| {
        plan.usage.iter().any(|l| (l.ns, &l.pods, l.metric) == (load.ns, &load.pods, load.metric))
    };
    let (told, served): (Vec<Load>, Vec<Load>) = served.into_iter().partition(told);
    if !told.is_empty() {
        plan.not_modelled.push((COUNTED.to_owned(), num::u32_of(told.len())));
    }
    plan.usage.extend(served);
    let unfelt = plan.usage.iter().filter(|l| l.unfelt()).count();
    if unfelt > 0 {
        plan.not_modelled.push((UNFELT.to_owned(), num::u32_of(unfelt)));
    }
}

/// Devices that are too many, and loads of devices that are not there.
fn gpus(file: &ScenarioFile, plan: &Plan, report: &mut Report) {
    let count = |n: &NodeSpec| n.allocatable.scalar(gpu::count());
    let most = num::i64_of(gpu::MOST);
    if let Some(node) = plan.cluster.nodes.iter().find(|n| count(n) > most) {
        let problem = format!("{}: {} devices of {}", node.name, count(node), gpu::COUNT);
        let hint = format!("at most {most} devices of a node can be shared");
        report.error(&top("cluster"), problem, hint);
    }
    let any = plan.cluster.nodes.iter().any(|n| count(n) > 0);
    for (i, trace) in file.traces.iter().enumerate() {
        if trace.openb.as_ref().is_some_and(|t| t.gpu_load.is_some()) && !any {
            let place = top("traces").item(i).key("openb").key("gpuLoad");
            report.error(&place, "no node has GPUs that pods share", "name the trace's nodes");
        }
    }
}

/// Recorded workloads.
fn replay(plan: &mut Plan, read: recorded::Recorded) {
    plan.arrivals.extend(read.arrivals);
    plan.recorded.extend(read.facts);
    plan.not_modelled.extend(read.not_modelled);
}

/// Converts a list item by item, with the place of each.
fn each<T, U>(list: &[T], field: &str, mut convert: impl FnMut(&T, &Place) -> Option<U>) -> Vec<U> {
    let at = top(field);
    list.iter().enumerate().filter_map(|(i, item)| convert(item, &at.item(i))).collect()
}

fn header(file: &ScenarioFile, report: &mut Report) {
    if file.api_version != "wavetank.dev/v1" {
        let problem = format!("{:?} is not supported", file.api_version);
        report.error(&top("apiVersion"), problem, "write apiVersion: wavetank.dev/v1");
    }
    if file.kind != "Scenario" {
        let problem = format!("{:?} is no scenario", file.kind);
        let hint = "write kind: Scenario; Kubernetes objects go into manifests: or objects:";
        report.error(&top("kind"), problem, hint);
    }
}

fn until(from: &Until, report: &mut Report) -> (SimTime, bool) {
    let at = top("until");
    let (end, idle) = match from {
        Until::Word(word) if word.0.0 == "idle" => return (IDLE_CAP, true),
        Until::Word(word) => (instant(&word.0, &at, report), false),
        Until::Both(both) => (instant(&both.at, &at.key("at"), report), both.idle),
    };
    if end == SimTime::ZERO {
        report.error(&at, "the run would end as it begins", "write a span above zero, or idle");
    }
    (end, idle)
}

fn cluster(
    file: &ScenarioFile,
    latency: Latencies,
    known: &Known,
    report: &mut Report,
) -> ClusterSpec {
    let from = &file.cluster;
    let at = top("cluster");
    let version = from.kubernetes_version.as_ref().and_then(|v| {
        let place = at.key("kubernetesVersion");
        report.take(&place, KubeVersion::parse(&v.0.0), "write \"1.35\" or \"1.29\", in quotes")
    });
    let mut span = |field: &str, given: &Option<value::Span>| {
        given.as_ref().and_then(|s| report.take(&at.key(field), value::span(&s.0), SPAN_HINT))
    };
    let monitor_grace = span("nodeMonitorGracePeriod", &from.node_monitor_grace_period);
    let event_ttl = span("eventTTL", &from.event_ttl).unwrap_or(EVENT_TTL);
    let resolution = span("metricsResolution", &from.metrics_resolution);
    let metrics_resolution = resolution.unwrap_or(METRICS_RESOLUTION);
    if metrics_resolution < SimDuration::from_secs(1) {
        report.error(&at.key("metricsResolution"), "is too short", "write 1s or more");
    }
    let (pod_cidr, node_cidr_bits) = super::cni::ranges(from, &at, report);
    let service_cidr = from.service_cidr.as_ref().and_then(|text| {
        let cidr = Cidr::parse(text).filter(|c| (12..=28).contains(&c.bits));
        let cidr = cidr.ok_or_else(|| format!("{text:?} is no range of addresses from /12 to /28"));
        report.take(&at.key("serviceCIDR"), cidr, "write 10.96.0.0/12")
    });
    let images = super::images::described(&from.images, &at.key("images"), report);
    let registry = super::images::bandwidth(&from.registry, &at.key("registry"), report);
    ClusterSpec {
        drivers: super::drivers::read(&from.storage, &at.key("storage"), report),
        images,
        registry_bytes_per_s: registry,
        version: version.unwrap_or_default(),
        epoch_s: from.epoch.as_ref().map_or(EPOCH_S, |text| epoch(text, &at, report)),
        nodes: Vec::new(),
        limits: limits(&from.limits, &at.key("limits"), report),
        latency,
        scheduler: SchedulerSpec::default(),
        monitor_grace,
        event_ttl,
        pod_cidr,
        node_cidr_bits,
        cni: super::cni::read(file, known, &at.key("cni"), report).map(Arc::new),
        service_cidr: service_cidr.unwrap_or(Cidr::SERVICES),
        metrics_resolution,
        proxy: traffic::proxy(&from.proxy, &at.key("proxy"), report),
        cloud: None,
        explicit_heartbeats: from.heartbeats == Heartbeats::Explicit,
        control_plane: from
            .control_plane
            .as_ref()
            .map(|c| planes::control_plane(c, known, &at.key("controlPlane"), report)),
    }
}

fn epoch(text: &str, at: &Place, report: &mut Report) -> u32 {
    let parsed = text
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|stamp| u32::try_from(stamp.as_second()).ok())
        .filter(|s| *s > 0 && *s < u32::MAX / 2)
        .ok_or_else(|| format!("{text:?} is no instant between 1970 and 2038"));
    report.take(&at.key("epoch"), parsed, "write 2026-01-01T00:00:00Z").unwrap_or(EPOCH_S)
}

/// The scheduler of a configuration, or of a policy; `limits` count where the configuration names
/// none.
fn scheduler(
    file: &ScenarioFile,
    limits: (f64, u32),
    files: &mut Files,
    not_modelled: &mut Vec<(String, u32)>,
    report: &mut Report,
) -> SchedulerSpec {
    let from = &file.scheduler;
    let mut spec = policy(file, report);
    let at = top("scheduler").key("config");
    let (read, label) = match &from.config {
        None => return spec,
        Some(file::SchedulerConfigRef::Inline(document)) => {
            let value = serde_json::Value::Object(document.clone());
            (scheduler::read_inline(&value, &at, report), "inline".to_owned())
        }
        Some(file::SchedulerConfigRef::File(path)) => {
            let text = report.take_all(&at, files.text(path));
            let Some((label, text)) = text else { return spec };
            let read = scheduler::read_file(&label, &text, report);
            let Some(read) = report.take_all(&at, read) else { return spec };
            (read, path.clone())
        }
    };
    if from.policy.is_some() {
        let hint = "leave policy out, and name its scoringStrategy in the configuration";
        report.error(&top("scheduler").key("policy"), "is given beside config", hint);
    }
    let mut config = read.config;
    config.qps = read.qps.unwrap_or(limits.0);
    config.burst = read.burst.unwrap_or(limits.1);
    let general = read.percentage.or((spec.percentage > 0).then_some(spec.percentage));
    for profile in &mut config.profiles {
        profile.percentage = profile.percentage.or(general);
    }
    for field in read.not_modelled {
        not_modelled.push((format!("KubeSchedulerConfiguration: {field}"), 1));
    }
    spec.label = label;
    spec.config = Some(Arc::new(config));
    spec
}

fn policy(file: &ScenarioFile, report: &mut Report) -> SchedulerSpec {
    let from = &file.scheduler;
    let label = from.policy.as_deref().unwrap_or(Named::LeastAllocated.name());
    let (policy, expressions) = policies::find(label, file, report);
    policies::check(file, report);
    let at = top("scheduler");
    let gang = from.gang.as_ref().map(|gang| match &gang.timeout {
        None => SimDuration::from_secs(60),
        Some(text) => {
            let place = at.key("gang").key("timeout");
            report.take(&place, value::span(&text.0), SPAN_HINT).unwrap_or_default()
        }
    });
    let discipline = match from.queue {
        QueueName::Priority => Discipline::Priority,
        QueueName::Fifo => Discipline::Fifo,
        QueueName::ShortestFirst => Discipline::ShortestFirst,
        QueueName::DominantResourceFairness => Discipline::DominantResourceFairness,
    };
    let ties = match from.ties {
        TieRule::Uniform => Ties::Uniform,
        TieRule::Upstream => Ties::Upstream,
        TieRule::First => Ties::First,
        TieRule::Name => Ties::Name,
        TieRule::NodeOrderPerRun => Ties::NodeOrderPerRun,
    };
    let percentage = from.percentage_of_nodes_to_score;
    SchedulerSpec {
        policy,
        expressions,
        discipline,
        gang,
        ties,
        percentage,
        label: label.to_owned(),
        attempts: from.attempts,
        config: None,
    }
}

fn limits(from: &file::Limits, at: &Place, report: &mut Report) -> ClientLimits {
    let default = ClientLimits::default();
    let mut one = |field: &str, given: Option<file::Limit>, default: (f64, u32)| {
        let Some(limit) = given else { return default };
        if !limit.qps.is_finite() || limit.qps <= 0.0 || limit.qps > 1e9 {
            let problem = format!("{} is out of range", limit.qps);
            report.error(&at.key(field).key("qps"), problem, "above 0 and at most 1e9");
        }
        (limit.qps, limit.burst)
    };
    ClientLimits {
        controllers: one("controllers", from.controllers, default.controllers),
        scheduler: one("scheduler", from.scheduler, default.scheduler),
        kubelet: one("kubelet", from.kubelet, default.kubelet),
    }
}

fn latencies(file: &ScenarioFile, report: &mut Report) -> Latencies {
    let at = top("cluster").key("latencies");
    let mut result = Latencies::default();
    if file.cluster.cni.is_some() {
        result.sandbox = super::cni::RUNTIME;
    }
    let from = &file.cluster.latencies;
    let spans = [
        ("network", &from.network, &mut result.network),
        ("watch", &from.watch, &mut result.watch),
        ("api", &from.api, &mut result.api),
        ("raftRtt", &from.raft_rtt, &mut result.raft_rtt),
        ("schedule", &from.schedule, &mut result.schedule),
    ];
    for (field, given, into) in spans {
        let Some(text) = given else { continue };
        *into = report.take(&at.key(field), value::span(&text.0), SPAN_HINT).unwrap_or(*into);
    }
    let dists: [(&str, _, &mut Dist); 4] = [
        ("fsync", &from.fsync, &mut result.fsync),
        ("mount", &from.mount, &mut result.mount),
        ("sandbox", &from.sandbox, &mut result.sandbox),
        ("container", &from.container, &mut result.container),
    ];
    for (field, given, into) in dists {
        let Some(spec) = given else { continue };
        *into = report.take(&at.key(field), value::dist(spec), DIST_HINT).unwrap_or(*into);
    }
    let amounts = [
        ("pullBytesPerSecond", &from.pull_bytes_per_second, &mut result.pull_bytes_per_s),
        ("imageBytes", &from.image_bytes, &mut result.image_bytes),
    ];
    for (field, given, into) in amounts {
        let Some(text) = given else { continue };
        let amount = report.take(&at.key(field), value::amount(&text.0), QUANTITY_HINT);
        *into = amount.map_or(*into, |a| a.value().unsigned_abs());
    }
    if result.pull_bytes_per_s == 0 {
        let place = at.key("pullBytesPerSecond");
        report.error(&place, "nothing could ever be pulled", "give an amount above zero");
    }
    result
}

fn nodes(
    file: &ScenarioFile,
    latency: &Latencies,
    known: &mut Known,
    files: &mut Files,
    report: &mut Report,
) -> Option<CloudPlan> {
    let at = top("cluster");
    let mut clouds = machines::Reader::new(file, report);
    for (i, pool) in file.cluster.nodes.iter().enumerate() {
        let place = at.key("nodes").item(i);
        let statics = objects::pods_of(&pool.static_pods, &place.key("staticPods"), files, report);
        let nodes = clouds.nodes(pool, (latency.image_bytes, &statics), &place, report);
        known.add_nodes(nodes, &Origin::Inline(place.key("name")), report);
    }
    if let Some(from) = &file.cluster.nodes_from {
        let place = at.key("nodesFrom").key("openb");
        trace_nodes(&from.openb, from.agent, &place, known, files, report);
    }
    for (i, trace) in file.traces.iter().enumerate() {
        let Some(openb) = &trace.openb else { continue };
        if let Some(written) = &openb.nodes {
            let place = top("traces").item(i).key("openb").key("nodes");
            trace_nodes(written, openb.agent, &place, known, files, report);
        }
    }
    recorded::nodes(&file.traces, known, files, report);
    if let Some(control) = &file.cluster.control_plane {
        let place = at.key("controlPlane");
        let nodes = planes::nodes(control, latency.image_bytes, &place, report);
        known.control_plane = nodes.iter().map(|n| n.name).collect();
        known.add_nodes(nodes, &Origin::Inline(place.key("name")), report);
    }
    clouds.finish(report)
}

fn trace_nodes(
    written: &str,
    agent: file::AgentName,
    at: &Place,
    known: &mut Known,
    files: &mut Files,
    report: &mut Report,
) {
    let read = files
        .trace(written)
        .and_then(|(label, bytes)| openb::nodes(&label, bytes.as_slice(), pools::agent(agent)));
    if let Some(nodes) = report.take_all(at, read) {
        known.facts.push(recorded::nodes_offered(written, &nodes));
        known.add_nodes(nodes, &Origin::Inline(at.clone()), report);
    }
}

fn arrivals(file: &ScenarioFile, known: &Known, report: &mut Report) -> Vec<Arrival> {
    let mut names = std::collections::BTreeSet::new();
    each(&file.arrivals, "arrivals", |from, at| {
        let ns = from.namespace.clone().unwrap_or_default();
        if !names.insert((ns, from.name.clone())) {
            let problem = format!("an arrival called {:?} is there already", from.name);
            report.error(&at.key("name"), problem, "names of arrivals must differ");
        }
        arrivals::arrival(from, known, at, report)
    })
}

fn traces(
    file: &ScenarioFile,
    known: &Known,
    files: &mut Files,
    report: &mut Report,
) -> Vec<Arrival> {
    each(&file.traces, "traces", |trace, at| {
        let openb = trace.openb.as_ref()?;
        openb_arrival(openb, known, &at.key("openb"), files, report)
    })
}

/// What the pod lists of openb hold, as far as it is played.
fn openb_facts(file: &ScenarioFile, traced: &[Arrival]) -> impl Iterator<Item = String> {
    let lists = file.traces.iter().filter_map(|trace| trace.openb.as_ref());
    lists.zip(traced).filter_map(|(openb, arrival)| {
        let Process::Rows(rows) = &arrival.process else { return None };
        Some(recorded::pods_asked(&openb.pods, rows))
    })
}

fn openb_arrival(
    from: &file::Openb,
    known: &Known,
    at: &Place,
    files: &mut Files,
    report: &mut Report,
) -> Option<Arrival> {
    let ns = from.namespace.as_deref().unwrap_or("default");
    known.check_namespace(ns, &at.key("namespace"), report);
    let mut options = openb::PodOptions::default();
    if let Some(gap) = &from.gap {
        options.gap = report.take(&at.key("gap"), value::span(&gap.0), SPAN_HINT)?;
    }
    if let Some(speed_up) = from.speed_up {
        if !speed_up.is_finite() || !(1e-6..=1e9).contains(&speed_up) {
            let hint = "above 1 for a shorter trace, between 1e-6 and 1e9";
            report.error(&at.key("speedUp"), format!("{speed_up} is out of range"), hint);
            return None;
        }
        options.speed_up = speed_up;
    }
    options.limit = from.limit.unwrap_or(u32::MAX);
    let tuning = tuning(from, options.gap, at, report)?;
    let read = files
        .trace(&from.pods)
        .and_then(|(label, bytes)| openb::pods(&label, bytes.as_slice(), options));
    let rows = report.take_all(&at.key("pods"), read)?;
    let made = Made::Pod(recorded::first_template(&rows));
    let start = recorded::first_instant(ns);
    Some(Arrival { start, tuning, ..Arrival::of_rows(("openb-pod".into(), ns.into()), made, rows) })
}

/// Whether the rows are drawn, and how: none if that cannot be read.
fn tuning(
    from: &file::Openb,
    gap: SimDuration,
    at: &Place,
    report: &mut Report,
) -> Option<Option<Tuning>> {
    let load = match &from.gpu_load {
        None => None,
        Some(text) => {
            let hint = "write 130% or 1.3: GPUs asked for, of those that the cluster has";
            Some(report.take(&at.key("gpuLoad"), value::share(&text.0), hint)?)
        }
    };
    let drawn = from.order == file::TraceOrder::Shuffled || load.is_some();
    Some(drawn.then_some(Tuning { gap, load }))
}

fn not_modelled(objects: &Objects, cni: bool) -> Vec<(String, u32)> {
    let told = |what: &str| !(cni && what == HOST_NETWORK);
    let found = objects.not_modelled.iter().filter(|(what, _)| told(what));
    let list: Vec<(String, u32)> = found.map(|(what, n)| (what.clone(), *n)).collect();
    list
}

/// What lies behind the end of the run happens never: most likely a slip.
fn late(plan: &Plan, report: &mut Report) {
    let hint = format!("the run ends at {}", plan.until);
    for (i, fault) in
        plan.faults.iter().enumerate().filter(|(_, f)| f.at >= plan.until && f.at < SimTime::MAX)
    {
        let place = top("faults").item(i).key("at");
        report.warn(&place, format!("the fault at {} never happens", fault.at), &hint);
    }
    for (i, a) in plan.arrivals.iter().enumerate().filter(|(_, a)| a.start >= plan.until) {
        let place = top("arrivals").item(i).key("start");
        report.warn(&place, format!("{} never arrives", a.name), &hint);
    }
}

/// The scenario's name: its own, else that of its directory.
pub(crate) fn name(given: &str, path: &std::path::Path, report: &mut Report) -> String {
    if given.is_empty() {
        let of_dir = path.parent().and_then(|d| d.file_name()).or_else(|| path.file_stem());
        return of_dir.map_or_else(|| "scenario".into(), |n| n.to_string_lossy().into_owned());
    }
    if let Err(why) = names::subdomain(given) {
        report.error(&top("metadata").key("name"), why, names::HINT);
    }
    given.to_owned()
}
