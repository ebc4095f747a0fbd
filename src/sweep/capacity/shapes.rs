//! Shapes of pods: what is asked to fit. They come as amounts, from manifests, or from the pods
//! that a scenario runs.

use super::desk::anew;
use crate::api::meta::{Meta, Owner};
use crate::api::pod::{PodSpec, VolumeSource};
use crate::api::versions::Versions;
use crate::api::workload::PodTemplate;
use crate::api::{Kind, Obj, Pod, Selector};
use crate::engine::num;
use crate::report::workloads::WorkloadTable;
use crate::scenario::manifest::Loaded;
use crate::scenario::{InputError, InputErrors, Mode, pod_spec_from_value, read_manifests};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Shapes of a scenario's own pods that are looked at: the most common ones.
const MOST: usize = 20;

/// A pod of which more may come.
#[derive(Debug, Clone)]
pub struct Shape {
    /// As the tables call it.
    pub name: String,
    /// The pod as its controller makes it.
    pub pod: Arc<Pod>,
    /// What selects the pods of its owner, for default spreading.
    pub(super) selector: Option<Selector>,
    /// How many its manifest asks for, or the cluster has.
    pub count: u32,
    /// Each of its pods has claims of its own, which are not looked at: they are made with the pod.
    pub own_claims: bool,
}

/// `cpu=500m,memory=1Gi,nvidia.com/gpu=1`: a pod that asks for this and nothing else.
///
/// # Errors
/// If it is not understood.
pub fn of_amounts(text: &str) -> Result<Shape, InputError> {
    let wrong = |why: String| {
        InputError::new("", format!("--pod {text}: {why}"))
            .hint("write --pod cpu=500m,memory=1Gi or --pod cpu=4,nvidia.com/gpu=1")
    };
    let mut requests = Map::new();
    let mut limits = Map::new();
    for part in text.split(',') {
        let (name, amount) =
            part.split_once('=').ok_or_else(|| wrong(format!("no `=` in {part:?}")))?;
        let (name, amount) = (name.trim(), amount.trim());
        if requests.insert(name.to_owned(), amount.into()).is_some() {
            return Err(wrong(format!("{name} is there twice")));
        }
        if name.contains('/') {
            // Extended resources cannot be overcommitted: request and limit are equal.
            limits.insert(name.to_owned(), amount.into());
        } else if !["cpu", "memory", "ephemeral-storage"].contains(&name)
            && !name.starts_with("hugepages-")
        {
            return Err(wrong(format!("{name:?} is no resource of a pod")));
        }
    }
    let resources = json!({ "requests": requests, "limits": limits });
    let container = json!({
        "name": "main", "image": "registry.k8s.io/pause:3.10", "resources": resources,
    });
    let spec = pod_spec_from_value(&json!({ "containers": [container] }), Mode::Strict)
        .map_err(|errors| wrong(errors.first().map_or(String::new(), |e| e.problem.clone())))?;
    let meta = Meta::named("default".into(), "pod".into());
    let pod = Pod { meta, spec: Arc::new(spec), ..Pod::default() };
    Ok(Shape {
        name: text.to_owned(),
        pod: Arc::new(pod),
        selector: None,
        count: 1,
        own_claims: false,
    })
}

/// The pods of a file of manifests, one shape per object that makes pods.
///
/// # Errors
/// All that is wrong with the file.
pub fn of_file(path: &Path) -> Result<Vec<Shape>, InputErrors> {
    let manifests = read_manifests(path)?;
    let mut shapes = Vec::new();
    for loaded in &manifests.objects {
        shapes.extend(of_object(loaded)?);
    }
    if shapes.is_empty() {
        let error = InputError::new(path.display().to_string(), "no object in it makes pods");
        let kinds = "Pod, Deployment, ReplicaSet, StatefulSet, Job or CronJob";
        return Err(vec![error.hint(format!("it needs a {kinds}"))]);
    }
    Ok(shapes)
}

fn of_object(loaded: &Loaded) -> Result<Option<Shape>, InputErrors> {
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    let obj = &loaded.obj;
    let (kind, template, n, selector) = if let Obj::Pod(pod) = obj {
        return Ok(Some(of_pod(pod)));
    } else if let Obj::Deployment(o) = obj {
        (Kind::ReplicaSet, &o.template, count(o.replicas), &o.selector)
    } else if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = obj {
        (obj.kind(), &o.template, count(o.replicas), &o.selector)
    } else if let Obj::StatefulSet(o) = obj {
        (Kind::StatefulSet, &o.template, count(o.replicas), &o.selector)
    } else if let Obj::Job(o) = obj {
        (Kind::Job, &o.template, count(o.parallelism), &o.selector)
    } else if let Obj::CronJob(o) = obj {
        let job = &o.template;
        (Kind::Job, &job.template, count(job.parallelism), &job.selector)
    } else if let Obj::DaemonSet(_) = obj {
        let error = InputError::new(loaded.file.as_str(), "a DaemonSet runs once per node");
        let hint = "leave it out, or put it into the scenario";
        return Err(vec![error.at(loaded.line).hint(hint)]);
    } else {
        return Ok(None);
    };
    let Some(meta) = obj.meta() else { return Ok(None) };
    let own_claims = matches!(obj, Obj::StatefulSet(set) if !set.claims.is_empty());
    let word = obj.kind().name().to_lowercase();
    let name = label(&word, meta);
    let pod = made(template, meta, kind);
    let selector = (kind != Kind::Job).then(|| selector.clone());
    Ok(Some(Shape { name, pod: Arc::new(pod), selector, count: n, own_claims }))
}

fn label(word: &str, meta: &Meta) -> String {
    match meta.ns.as_str() {
        "" | "default" => format!("{word}/{}", meta.name),
        ns => format!("{word}/{ns}/{}", meta.name),
    }
}

fn of_pod(pod: &Arc<Pod>) -> Shape {
    let mut own = anew(pod);
    if own.meta.ns.is_empty() {
        own.meta.ns = "default".into();
    }
    let name = label("pod", &pod.meta);
    Shape { name, pod: Arc::new(own), selector: None, count: 1, own_claims: false }
}

/// A pod of a template, as the controller of its object makes it.
fn made(template: &PodTemplate, of: &Meta, kind: Kind) -> Pod {
    let owner =
        Owner { kind, name: of.name, uid: of.uid, controller: true, block_owner_deletion: false };
    let ns = if of.ns.is_empty() { "default".into() } else { of.ns };
    let mut meta = Meta::named(ns, of.name);
    meta.labels = template.labels;
    meta.annotations.clone_from(&template.annotations);
    meta.owners = Some(Arc::from([owner]));
    Pod { meta, spec: Arc::clone(&template.spec), ..Pod::default() }
}

/// The names of the workloads of a cluster's pods.
pub(super) fn workloads(versions: &Versions) -> WorkloadTable {
    let mut table = WorkloadTable::default();
    // Owners first: a ReplicaSet is part of its Deployment.
    for kind in [Kind::Deployment, Kind::ReplicaSet] {
        for (_, obj) in versions.iter(kind) {
            table.object(obj, false, crate::engine::SimTime::ZERO);
        }
    }
    table
}

/// The shapes of a cluster's own pods, the most common first, and how many kinds are left out.
/// Pods that come with a node are not among them.
pub(super) fn of_cluster(versions: &Versions) -> (Vec<Shape>, usize) {
    let mut table = workloads(versions);
    let mut known: BTreeMap<(u32, String), usize> = BTreeMap::new();
    let mut shapes: Vec<Shape> = Vec::new();
    for (_, obj) in versions.iter(Kind::Pod) {
        let Some(pod) = obj.as_pod().filter(|p| !with_its_node(p)) else { continue };
        let row = table.of_pod(pod);
        let key = (row, format!("{:?}", pod.spec.requests));
        if let Some(&i) = known.get(&key) {
            shapes[i].count += 1;
            continue;
        }
        known.insert(key, shapes.len());
        let set = pod.meta.controller().is_some_and(|o| o.kind == Kind::StatefulSet);
        let (pod, own_claims) = without_claims(anew(pod), set);
        shapes.push(Shape {
            name: table.row_mut(row).label.clone(),
            pod: Arc::new(pod),
            selector: None,
            count: 1,
            own_claims,
        });
    }
    shapes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    let left = shapes.len().saturating_sub(MOST);
    shapes.truncate(MOST);
    (shapes, left)
}

/// Another replica of a StatefulSet would have claims of its own; so would one with an ephemeral
/// claim.
fn without_claims(mut pod: Pod, set: bool) -> (Pod, bool) {
    let own = |source: &VolumeSource| {
        matches!(source, VolumeSource::Ephemeral(_))
            || set && matches!(source, VolumeSource::Claim(..))
    };
    let any = pod.spec.volumes.iter().any(|v| own(&v.source));
    if any {
        let spec: &mut PodSpec = Arc::make_mut(&mut pod.spec);
        spec.volumes.retain(|v| !own(&v.source));
    }
    (pod, any)
}

/// True for a pod that no scheduler moves elsewhere: of a DaemonSet, or a static one.
pub(super) fn with_its_node(pod: &Pod) -> bool {
    pod.meta.controller().is_some_and(|o| matches!(o.kind, Kind::DaemonSet | Kind::Node))
}

impl Shape {
    /// The same pod as its number so and so: ties are drawn by name.
    pub(super) fn numbered(&self, number: u32) -> Arc<Pod> {
        let mut pod = Pod::clone(&self.pod);
        pod.meta.name = crate::api::Name::numbered(self.pod.meta.name.sym(), number);
        Arc::new(pod)
    }

    /// The priority its class gives it, if it names one that the cluster has.
    pub(super) fn admit(&mut self, versions: &Versions) {
        let class = self.pod.spec.priority_class;
        if class.is_empty() {
            return;
        }
        let found = versions.iter(Kind::PriorityClass).find_map(|(_, obj)| {
            let Obj::PriorityClass(found) = obj else { return None };
            (found.meta.name.sym() == class).then_some(found.value)
        });
        if let Some(priority) = found {
            let pod = Arc::make_mut(&mut self.pod);
            Arc::make_mut(&mut pod.spec).priority = priority;
        }
    }

    /// What it asks for, in Kubernetes' words.
    #[must_use]
    pub fn requests(&self) -> String {
        use crate::api::quantity::Quantity;
        let r = &self.pod.spec.requests;
        let mut parts = Vec::new();
        if r.cpu_milli > 0 {
            parts.push(format!("cpu {}", Quantity::from_milli(r.cpu_milli)));
        }
        if r.memory > 0 {
            parts.push(format!("memory {}", Quantity::from_bytes(r.memory)));
        }
        if r.ephemeral > 0 {
            parts.push(format!("ephemeral-storage {}", Quantity::from_bytes(r.ephemeral)));
        }
        parts.extend(r.scalars.iter().filter(|s| s.1 > 0).map(|(name, n)| format!("{name} {n}")));
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
    }

    /// The number of pods that its manifest asks for, as an amount.
    #[must_use]
    pub fn wanted(&self) -> i64 {
        num::i64_of(self.count as usize)
    }
}

/// The value of a shape for programs.
impl From<&Shape> for Value {
    fn from(shape: &Shape) -> Self {
        let r = &shape.pod.spec.requests;
        let scalars: Map<String, Self> =
            r.scalars.iter().map(|(name, n)| (name.to_string(), (*n).into())).collect();
        json!({
            "cpu_milli": r.cpu_milli,
            "memory_bytes": r.memory,
            "ephemeral_storage_bytes": r.ephemeral,
            "scalars": scalars,
        })
    }
}
