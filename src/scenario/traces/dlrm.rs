//! Alibaba's DLRM trace (cluster-trace-gpu-v2025): instances of recommendation models, each a
//! CPU node (CN) or a GPU node (HN) of an application.
//!
//! | column | in the model |
//! |---|---|
//! | `instance_sn` | name of a bare pod, `instance-N` |
//! | `role`, `app_name` | labels `role`, `app` |
//! | `cpu_request`, `memory_request` (GiB), `disk_request` (GiB) | requests of CPU, memory and ephemeral storage |
//! | `cpu_limit`, `memory_limit`, `disk_limit` | limits likewise |
//! | `gpu_request` | `nvidia.com/gpu`, request and limit |
//! | `rdma_request` | `alibabacloud.com/rdma-percent`, request and limit: percent of a node's network card, of which a node offers 100 |
//! | `max_instance_per_node` | 1: required anti-affinity to pods of the same app and role on the node; N above 1: a spread constraint over `kubernetes.io/hostname`, `DoNotSchedule`, with `maxSkew` N and a `minDomains` that no cluster reaches, so that a node counts from zero and takes N at most; -1: nothing |
//! | `creation_time` | arrival, seconds with decimals; blank: it was there before, and arrives at the trace's zero |
//! | `deletion_time` | the pod's user deletes it then, bound or not; blank: it stays |
//! | `scheduled_time` | not read: what that scheduler did |
//! | `gpu_limit`, `rdma_limit` | not read: Kubernetes has no limit above the request of such resources |

use super::rows::{self, Imported, decimal, file_name, grouped, scaled, tallied};
use super::table::{self, Cells, Columns};
use crate::api::Name;
use crate::api::labels::{Op, Requirement, Selector};
use crate::api::node::keys;
use crate::api::pod::{Affinity, PodAffinityTerm, PodSpec, SpreadConstraint};
use crate::api::resources::Resources;
use crate::api::workload::PodTemplate;
use crate::cluster::spec::Row;
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::scenario::error::InputErrors;
use crate::scenario::names;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

/// What the names of its pods begin with.
pub(crate) const BASE: &str = "instance";
const GPU: &str = "nvidia.com/gpu";
const RDMA: &str = "alibabacloud.com/rdma-percent";
const GIB: f64 = 1_073_741_824.0;

const COLUMNS: Columns = Columns {
    names: &[
        "instance_sn",
        "role",
        "app_name",
        "cpu_request",
        "memory_request",
        "disk_request",
        "gpu_request",
        "rdma_request",
        "cpu_limit",
        "memory_limit",
        "disk_limit",
        "max_instance_per_node",
        "creation_time",
        "deletion_time",
    ],
    places: None,
};

/// What pods of equal template share: app, role, cap, requests and limits.
type Shape = (String, String, i32, Resources, Resources);

#[derive(Debug, Default)]
struct Facts {
    instances: u64,
    apps: BTreeSet<String>,
    roles: BTreeMap<String, u64>,
    cpu_milli: i64,
    memory_gib: f64,
    disk_gib: f64,
    gpus: i64,
    early: u64,
    stay: u64,
    last: [f64; 2],
    capped: u64,
}

/// Reads the instances.
///
/// # Errors
/// Every bad row, by line.
pub(crate) fn pods(label: &str, from: impl Read) -> Result<Imported, InputErrors> {
    let mut facts = Facts::default();
    let mut templates: FxHashMap<Shape, Arc<PodTemplate>> = FxHashMap::default();
    let mut seen = FxHashSet::default();
    let mut rows = Vec::new();
    table::rows(label, from, COLUMNS, |cells| {
        let name = cells.text(0)?.replace('_', "-");
        names::subdomain(&name)?;
        let name = Name::new(&name);
        if !seen.insert(name) {
            return Err(format!("instance_sn: a pod called {name} is there already"));
        }
        let (at, lifetime) = times(cells)?;
        let shape = shape(cells)?;
        facts.count(cells, &shape)?;
        let template = match templates.get(&shape) {
            Some(template) => Arc::clone(template),
            None => {
                let made = template(&shape);
                Arc::clone(templates.entry(shape).or_insert(made))
            }
        };
        rows.push(Row { at, name, template: Some(template), lifetime, run: None });
        Ok(())
    })?;
    Ok(Imported { rows, facts: facts.lines(label), not_modelled: Vec::new() })
}

fn times(cells: &Cells<'_>) -> Result<(SimTime, Option<SimDuration>), String> {
    let created = cells.blank_or_amount(12)?.unwrap_or(0.0);
    let at = SimTime::ZERO + SimDuration::from_secs_f64(created);
    let Some(deleted) = cells.blank_or_amount(13)? else { return Ok((at, None)) };
    let until = SimTime::ZERO + SimDuration::from_secs_f64(deleted);
    if until < at {
        return Err(format!("deletion_time {deleted} lies before creation_time {created}"));
    }
    Ok((at, Some(until.since(at))))
}

fn shape(cells: &Cells<'_>) -> Result<Shape, String> {
    let word = |column: usize| {
        let text = cells.text(column)?;
        names::label(&text.replace('_', "-").to_lowercase()).map(|()| text.to_owned())
    };
    let (role, app) = (word(1)?, word(2)?);
    let amounts = |cpu: usize, memory: usize, disk: usize| -> Result<Resources, String> {
        Ok(Resources {
            cpu_milli: scaled(cells.amount(cpu)?, 1000.0),
            memory: scaled(cells.amount(memory)?, GIB),
            ephemeral: scaled(cells.amount(disk)?, GIB),
            ..Resources::default()
        })
    };
    let (mut requests, mut limits) = (amounts(3, 4, 5)?, amounts(8, 9, 10)?);
    for (resource, column) in [(GPU, 6), (RDMA, 7)] {
        let amount: u32 = cells.count(column)?;
        if amount > 0 {
            requests.set_scalar(resource.into(), amount.into());
            limits.set_scalar(resource.into(), amount.into());
        }
    }
    let cap: i32 = cells.number(11, "whole number")?;
    if cap == 0 || cap < -1 {
        return Err(format!("max_instance_per_node: {cap} is neither a cap nor -1"));
    }
    Ok((app, role, cap, requests, limits))
}

fn template((app, role, cap, requests, limits): &Shape) -> Arc<PodTemplate> {
    let labels = [(Sym::new("app"), Sym::new(app)), (Sym::new("role"), Sym::new(role))];
    let of_kind = labels.map(|(key, value)| Requirement { key, op: Op::In, values: vec![value] });
    let selector = Selector { requirements: of_kind.into() };
    rows::template(requests.clone(), limits.clone(), labels, |spec| cap_of(*cap, selector, spec))
}

/// At most `cap` of the selected pods on a node.
fn cap_of(cap: i32, selector: Selector, spec: &mut PodSpec) {
    let topology_key = Sym::new(keys::HOSTNAME);
    if cap == 1 {
        let term = PodAffinityTerm {
            selector: Some(selector),
            namespaces: Vec::new(),
            namespace_selector: None,
            topology_key,
        };
        let affinity = Affinity { anti_required: vec![term], ..Affinity::default() };
        spec.affinity = Some(Arc::new(affinity));
    } else if cap > 1 {
        spec.spread.push(SpreadConstraint {
            max_skew: cap,
            topology_key,
            hard: true,
            selector: Some(selector),
            min_domains: Some(i32::MAX),
            honor_affinity: true,
            honor_taints: false,
            match_label_keys: Vec::new(),
        });
    }
}

impl Facts {
    fn count(&mut self, cells: &Cells<'_>, shape: &Shape) -> Result<(), String> {
        let (app, role, cap, requests, _) = shape;
        self.instances += 1;
        if !self.apps.contains(app) {
            self.apps.insert(app.clone());
        }
        *self.roles.entry(role.clone()).or_default() += 1;
        self.cpu_milli += requests.cpu_milli;
        self.memory_gib += cells.amount(4)?;
        self.disk_gib += cells.amount(5)?;
        self.gpus += requests.scalar(GPU.into());
        for (i, (column, blank)) in
            [(12, &mut self.early), (13, &mut self.stay)].into_iter().enumerate()
        {
            match cells.blank_or_amount(column)? {
                Some(at) => self.last[i] = self.last[i].max(at),
                None => *blank += 1,
            }
        }
        self.capped += u64::from(*cap != -1);
        Ok(())
    }

    fn lines(&self, label: &str) -> Vec<String> {
        let cpu = num::float(self.cpu_milli) / 1000.0;
        let [created, deleted] = self.last;
        vec![
            format!(
                "{}: {} instances of {} apps ({}), {} CPU, {} GiB of memory, {} GPUs, {} GiB of disk",
                file_name(label),
                grouped(self.instances),
                self.apps.len(),
                tallied(&self.roles),
                decimal(cpu, 0),
                decimal(self.memory_gib, 1),
                grouped(num::u64_of(self.gpus)),
                decimal(self.disk_gib, 0),
            ),
            format!(
                "  {} are there from the start, the last comes at {created} s; {} stay, the last \
                 deletion is at {deleted} s; {} have a cap per node",
                grouped(self.early),
                grouped(self.stay),
                grouped(self.capped),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_constraints_of_the_pods() {
        let head = COLUMNS.names.join(",");
        let row =
            |n: u32, cap: i32| format!("instance_{n},HN,app_0,1.5,2,10,1,25,2,2,10,{cap},,\n");
        let text = format!("{head}\n{}{}{}", row(0, 1), row(1, 8), row(2, -1));
        let read = pods("d.csv", text.as_bytes()).unwrap();
        let spec = |i: usize| &read.rows[i].template.as_ref().unwrap().spec;
        let anti = &spec(0).affinity.as_ref().unwrap().anti_required;
        assert_eq!((anti.len(), anti[0].topology_key.as_str()), (1, "kubernetes.io/hostname"));
        let spread = &spec(1).spread[0];
        assert_eq!((spread.max_skew, spread.hard, spread.min_domains), (8, true, Some(i32::MAX)));
        assert!(spec(2).spread.is_empty() && spec(2).affinity.is_none());
        assert_eq!(spec(2).requests.cpu_milli, 1500);
        assert_eq!(spec(2).requests.scalar(RDMA.into()), 25);
        let errors = pods("d.csv", format!("{head}\n{}", row(0, 0)).as_bytes()).unwrap_err();
        assert!(errors[0].to_string().contains("0 is neither a cap nor -1"), "{errors:?}");
    }
}
