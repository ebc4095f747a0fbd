//! Alibaba's openb trace (cluster-trace-gpu-v2023): 1,523 nodes and lists of about 8,000 pods.
//!
//! What becomes of the columns:
//!
//! - node `sn`: name
//! - node `cpu_milli`, `memory_mib`: capacity; the list is of what pods may use, so allocatable is
//!   the same
//! - node `gpu`: `alibabacloud.com/gpu-milli`, 1000 per GPU, and `alibabacloud.com/gpu-count`, the
//!   devices
//! - node `model`: label `alibabacloud.com/gpu-card-model`, as in the node list published as YAML
//! - pod `cpu_milli`, `memory_mib`: requests of one container, without limits
//! - pod `num_gpu` × `gpu_milli`: a request of `alibabacloud.com/gpu-milli`; up to 1000 lie on one
//!   device, more are whole devices (`api/gpu.rs`)
//! - pod `gpu_spec`: required node affinity: the card model is one of those between the bars
//! - pod `qos`: label `alibabacloud.com/qos`; it gives no priority, as the trace does not say how
//!   it ranks
//! - pod `creation_time`: arrival, counted from the first one of the list
//! - pod `deletion_time`: the pod's user deletes it then, bound or not
//! - pod `pod_phase`, `scheduled_time`: not read: they tell what that cluster did, and a blank
//!   `scheduled_time` that it never found a node; here the pod arrives all the same and may wait
//!   until it is deleted
//!
//! Lists without times (`multigpu*`) arrive in file order with equal gaps and stay for ever.

use crate::api::Name;
use crate::api::gpu::{COUNT as GPU_COUNT, MILLI as GPU_MILLI, MODEL as GPU_MODEL};
use crate::api::labels::{LabelSet, Op, Requirement};
use crate::api::pod::{Affinity, NodeSelectorTerm, PodSpec};
use crate::api::resources::{Named, Resources};
use crate::api::workload::PodTemplate;
use crate::cluster::spec::{Agent, NodeSpec, Row};
use crate::engine::{Dist, SimDuration, SimTime, Sym, num};
use crate::scenario::error::{InputError, InputErrors};
use crate::scenario::{plan_pod, pools};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use std::io::Read;
use std::sync::Arc;

/// QoS word of the trace.
pub const QOS: &str = "alibabacloud.com/qos";
/// Pods a node takes: that of the published YAML, beyond any kubelet's default.
const PODS_PER_NODE: i64 = 1001;
/// Errors told before the rest is only counted.
const MAX_ERRORS: usize = 20;

#[derive(Debug, Deserialize)]
struct NodeRow {
    sn: String,
    cpu_milli: u32,
    memory_mib: u32,
    gpu: u16,
    #[serde(default)]
    model: String,
}

#[derive(Debug, Deserialize)]
struct PodRow {
    name: String,
    cpu_milli: u32,
    memory_mib: u32,
    num_gpu: u16,
    gpu_milli: u16,
    #[serde(default)]
    gpu_spec: String,
    #[serde(default)]
    qos: String,
    creation_time: Option<u32>,
    deletion_time: Option<u32>,
}

/// Reads every row, with all mistakes (the first twenty of them) told by line.
fn rows<T: serde::de::DeserializeOwned>(
    label: &str,
    from: impl Read,
    columns: &[&str],
    mut each: impl FnMut(T) -> Result<(), String>,
) -> Result<(), InputErrors> {
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(from);
    let headers = reader
        .headers()
        .map_err(|err| vec![InputError::new(label, format!("is not CSV: {err}")).at(1)])?
        .clone();
    let missing: Vec<&str> =
        columns.iter().copied().filter(|c| !headers.iter().any(|h| h == *c)).collect();
    if !missing.is_empty() {
        let problem = format!("has no column {}", missing.join(", "));
        let hint = format!("the first line of an openb list names {}", columns.join(","));
        return Err(vec![InputError::new(label, problem).at(1).hint(hint)]);
    }
    let (mut errors, mut wrong) = (Vec::new(), 0_usize);
    let mut record = csv::StringRecord::new();
    loop {
        let line = num::index(reader.position().line());
        let outcome = match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => record
                .deserialize::<T>(Some(&headers))
                .map_err(|err| problem_of(&err, &headers, &record))
                .and_then(&mut each),
            Err(err) => Err(err.to_string()),
        };
        if let Err(problem) = outcome {
            wrong += 1;
            if wrong <= MAX_ERRORS {
                let line = record.position().map_or(line, |p| num::index(p.line()));
                errors.push(InputError::new(label, problem).at(line));
            }
        }
    }
    if wrong > MAX_ERRORS {
        let more = format!("{} more rows are wrong", wrong - MAX_ERRORS);
        errors.push(InputError::new(label, more));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Names the column and its content.
fn problem_of(err: &csv::Error, headers: &csv::StringRecord, record: &csv::StringRecord) -> String {
    let csv::ErrorKind::Deserialize { err: inner, .. } = err.kind() else { return err.to_string() };
    if record.len() < headers.len() {
        return format!("has {} of {} columns", record.len(), headers.len());
    }
    let column = inner.field().map(num::index).unwrap_or_default();
    let (name, text) = (headers.get(column), record.get(column));
    format!("{}: {:?} is no whole number", name.unwrap_or_default(), text.unwrap_or_default())
}

/// The nodes of an openb node list.
///
/// # Errors
/// Every bad row, by line.
pub fn nodes(label: &str, from: impl Read, agent: Agent) -> Result<Vec<NodeSpec>, InputErrors> {
    let mut list = Vec::new();
    let mut shapes: FxHashMap<(u32, u32, u16), Arc<Resources>> = FxHashMap::default();
    rows(label, from, &["sn", "cpu_milli", "memory_mib", "gpu"], |row: NodeRow| {
        crate::scenario::names::subdomain(&row.sn)?;
        let shape = (row.cpu_milli, row.memory_mib, row.gpu);
        let capacity = Arc::clone(shapes.entry(shape).or_insert_with(|| Arc::new(capacity(&row))));
        let model = (!row.model.is_empty()).then(|| (Sym::new(GPU_MODEL), Sym::new(&row.model)));
        list.push(NodeSpec {
            name: Sym::new(&row.sn),
            labels: pools::node_labels(&row.sn, "", ("linux", "amd64"), model),
            zone: Sym::EMPTY,
            taints: Vec::new(),
            allocatable: Arc::clone(&capacity),
            capacity,
            images: Arc::new([]),
            agent,
            boot: Dist::Constant(SimDuration::ZERO),
            joins: SimTime::ZERO,
            kubelet: Arc::default(),
            machine: None,
            statics: Arc::default(),
            runtime: Default::default(),
        });
        Ok(())
    })?;
    Ok(list)
}

fn capacity(row: &NodeRow) -> Resources {
    let mut capacity = Resources {
        cpu_milli: i64::from(row.cpu_milli),
        memory: i64::from(row.memory_mib) << 20,
        pods: PODS_PER_NODE,
        ..Resources::default()
    };
    if row.gpu > 0 {
        capacity.set_scalar(GPU_MILLI.into(), i64::from(row.gpu) * 1000);
        capacity.set_scalar(GPU_COUNT.into(), i64::from(row.gpu));
    }
    capacity
}

/// What pods of equal template share.
type Shape = (u32, u32, u16, u16, String, String);

/// What to make of a pod list.
#[derive(Debug, Clone, Copy)]
pub struct PodOptions {
    /// Gap between pods of a list without times.
    pub gap: SimDuration,
    /// All times are divided by this.
    pub speed_up: f64,
    /// Only the first so many rows.
    pub limit: u32,
}

impl Default for PodOptions {
    fn default() -> Self {
        Self { gap: SimDuration::from_secs(1), speed_up: 1.0, limit: u32::MAX }
    }
}

/// The pods of an openb pod list as rows in order of time; pods of equal shape share a template.
///
/// # Errors
/// Every bad row, by line.
pub fn pods(label: &str, from: impl Read, options: PodOptions) -> Result<Vec<Row>, InputErrors> {
    let mut list: Vec<Row> = Vec::new();
    let mut shapes: FxHashMap<Shape, Arc<PodTemplate>> = FxHashMap::default();
    let mut seen = rustc_hash::FxHashSet::default();
    let columns = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"];
    rows(label, from, &columns, |row: PodRow| {
        crate::scenario::names::subdomain(&row.name)?;
        if !seen.insert(row.name.clone()) {
            return Err(format!("a pod called {} is there already", row.name));
        }
        if row.num_gpu > 1 && row.gpu_milli != 1000 || row.gpu_milli > 1000 {
            return Err(format!("{} GPUs of {} milli each", row.num_gpu, row.gpu_milli));
        }
        let (at, lifetime) = times(&row, list.len(), options)?;
        if num::u32_of(list.len()) < options.limit {
            let template = Some(Arc::clone(
                shapes.entry(shape(&row)).or_insert_with(|| Arc::new(template(&row))),
            ));
            list.push(Row { at, name: Name::new(&row.name), template, lifetime, run: None });
        }
        Ok(())
    })?;
    // Stable: rows of one instant stay in file order.
    list.sort_by_key(|row| row.at);
    let first = list.first().map_or(SimTime::ZERO, |row| row.at);
    for row in &mut list {
        row.at = SimTime::ZERO + row.at.since(first);
    }
    Ok(list)
}

fn shape(row: &PodRow) -> Shape {
    let (spec, qos) = (row.gpu_spec.clone(), row.qos.clone());
    (row.cpu_milli, row.memory_mib, row.num_gpu, row.gpu_milli, spec, qos)
}

fn times(
    row: &PodRow,
    index: usize,
    options: PodOptions,
) -> Result<(SimTime, Option<SimDuration>), String> {
    let scaled = |s: u32| SimDuration::from_secs(u64::from(s)).scale(1.0 / options.speed_up);
    let Some(created) = row.creation_time else {
        if row.deletion_time.is_some() {
            return Err("deletion_time without creation_time".into());
        }
        return Ok((SimTime::ZERO + options.gap.times(index as u64), None));
    };
    let lifetime = match row.deletion_time {
        Some(deleted) if deleted < created => {
            return Err(format!("deletion_time {deleted} lies before creation_time {created}"));
        }
        Some(deleted) => Some(scaled(deleted - created)),
        None => None,
    };
    Ok((SimTime::ZERO + scaled(created), lifetime))
}

fn template(row: &PodRow) -> PodTemplate {
    let mut requests = Resources {
        cpu_milli: i64::from(row.cpu_milli),
        memory: i64::from(row.memory_mib) << 20,
        ..Resources::default()
    };
    let gpu = i64::from(row.num_gpu) * i64::from(row.gpu_milli);
    if gpu > 0 {
        requests.set_scalar(GPU_MILLI.into(), gpu);
    }
    let mut limits = requests.clone();
    (limits.cpu_milli, limits.memory) = (0, 0);
    let mut container = plan_pod::container(plan_pod::PAUSE);
    container.requests = requests;
    container.requests_named = Named { cpu: true, memory: true };
    container.limits = limits;
    let mut spec = PodSpec {
        containers: vec![container],
        affinity: card_affinity(&row.gpu_spec),
        ..plan_pod::base_spec()
    };
    spec.sum_requests();
    let qos = (!row.qos.is_empty()).then(|| (Sym::new(QOS), Sym::new(&row.qos)));
    PodTemplate { labels: LabelSet::new(qos), annotations: None, spec: Arc::new(spec) }
}

/// `A10|T4`: the node's card model must be one of these.
fn card_affinity(gpu_spec: &str) -> Option<Arc<Affinity>> {
    let mut values: Vec<Sym> = Vec::new();
    for model in gpu_spec.split('|').filter(|m| !m.is_empty()).map(Sym::new) {
        if !values.contains(&model) {
            values.push(model);
        }
    }
    if values.is_empty() {
        return None;
    }
    let card = Requirement { key: GPU_MODEL.into(), op: Op::In, values };
    let term = NodeSelectorTerm { expressions: vec![card], fields: Vec::new() };
    Some(Arc::new(Affinity { node_required: Some(vec![term]), ..Affinity::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    /// The trace lies beside the repository; without it these tests have nothing to check.
    fn data(name: &str) -> Option<Vec<u8>> {
        let path: PathBuf =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/openb").join(name);
        let bytes = std::fs::read(path).ok()?;
        crate::scenario::report::unpack(name, bytes, 1 << 30).ok()
    }

    fn node_facts(name: &str) -> Option<(usize, i64, i64, i64)> {
        let list = nodes(name, data(name)?.as_slice(), Agent::Fakelet).unwrap();
        let sum = |of: fn(&NodeSpec) -> i64| list.iter().map(of).sum();
        Some((
            list.len(),
            sum(|n| n.capacity.cpu_milli),
            sum(|n| n.capacity.memory >> 20),
            sum(|n| n.allocatable.scalar(GPU_MILLI.into()) / 1000),
        ))
    }

    #[test]
    fn node_totals_are_as_published() {
        let Some(all) = node_facts("openb_node_list_all_node.csv") else { return };
        assert_eq!(all, (1523, 125_514_000, 612_028_416, 6212));
        let gpu = node_facts("openb_node_list_gpu_node.csv").unwrap();
        assert_eq!(gpu, (1213, 107_018_000, 503_828_480, 6212));
    }

    fn pod_facts(name: &str) -> Option<(usize, i64, i64, i64, usize)> {
        let list = pods(name, data(name)?.as_slice(), PodOptions::default()).unwrap();
        let specs = || list.iter().filter_map(|r| r.template.as_ref()).map(|t| &t.spec);
        Some((
            list.len(),
            specs().map(|s| s.requests.cpu_milli).sum(),
            specs().map(|s| s.requests.memory >> 20).sum(),
            specs().map(|s| s.requests.scalar(GPU_MILLI.into())).sum(),
            specs().filter(|s| s.affinity.is_some()).count(),
        ))
    }

    #[test]
    fn pod_totals_are_as_published() {
        let name = "openb_pod_list_default.csv.gz";
        let Some(default) = pod_facts(name) else { return };
        assert_eq!(default, (8152, 85_436_012, 303_546_211, 6_086_800, 0));
        let spec = pod_facts("openb_pod_list_gpuspec33.csv.gz").unwrap();
        assert_eq!(spec, (8152, 85_436_012, 303_546_211, 6_086_800, 2388));
        let multi = pod_facts("openb_pod_list_multigpu20.csv.gz").unwrap();
        assert_eq!(multi, (8324, 95_171_812, 344_773_251, 7_086_800, 0));
        let list = pods(name, data(name).unwrap().as_slice(), PodOptions::default()).unwrap();
        assert!(list.is_sorted_by_key(|row| row.at));
        assert_eq!(list.last().unwrap().at, SimTime::from_secs(12_901_761));
        assert_eq!(list[0].lifetime, Some(SimDuration::from_secs(12_537_496)));
        let templates: rustc_hash::FxHashSet<_> =
            list.iter().filter_map(|r| r.template.as_ref()).map(Arc::as_ptr).collect();
        assert!(templates.len() < 400, "{} templates", templates.len());
    }
}
