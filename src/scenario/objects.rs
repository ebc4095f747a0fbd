//! Kubernetes objects of a scenario: read from manifests and from the file itself, put into the
//! order in which they are applied, and known by name to everything that refers to them.

use super::added::Additions;
use super::arrivals::nested;
use super::error::{InputError, InputErrors};
use super::file::{Document, ManifestFile, Program, ScenarioFile};
use super::files::Files;
use super::manifest;
use super::names;
use super::place::{Place, suggest};
use super::pools;
use super::report::Report;
use super::target::Target;
use super::traces::{recorded, simkube};
use crate::api::request::User;
use crate::api::workload::PodTemplate;
use crate::api::{Kind, Name, Obj, Pod};
use crate::cluster::spec::{Action, NodeSpec, Step};
use crate::engine::{SimTime, Sym};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespaces that are always there.
const ALWAYS: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// True for a namespace that nobody has to make.
pub(crate) fn always_there(ns: &str) -> bool {
    ALWAYS.contains(&ns)
}

/// Priority classes that are always there.
const ALWAYS_CLASSES: [&str; 2] = ["system-cluster-critical", "system-node-critical"];
/// Kinds that move in this version; all others are kept and counted.
const MODELLED: [Kind; 36] = [
    Kind::Pod,
    Kind::Node,
    Kind::Namespace,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::Job,
    Kind::PriorityClass,
    Kind::Role,
    Kind::RoleBinding,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::ServiceAccount,
    Kind::LimitRange,
    Kind::ResourceQuota,
    Kind::RuntimeClass,
    Kind::PersistentVolume,
    Kind::PersistentVolumeClaim,
    Kind::StorageClass,
    Kind::CSINode,
    Kind::CSIDriver,
    Kind::CSIStorageCapacity,
    Kind::VolumeAttachment,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::PodDisruptionBudget,
    Kind::ReplicationController,
    Kind::CronJob,
    Kind::ControllerRevision,
    Kind::HorizontalPodAutoscaler,
    Kind::EndpointSlice,
    Kind::Endpoints,
    Kind::Service,
    Kind::Ingress,
    Kind::HTTPRoute,
];

/// Where an object stands, for messages about it.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// In a file of its own.
    File(String, usize),
    /// In the scenario.
    Inline(Place),
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) obj: Obj,
    pub(crate) origin: Origin,
    /// Kind of a custom resource.
    pub(crate) custom: Option<String>,
}

type Key = (Kind, &'static str, String);

/// What a scenario may refer to by name.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Nodes, in order of registration.
    pub(crate) nodes: Vec<NodeSpec>,
    /// Requests are sent to Services.
    pub(crate) has_traffic: bool,
    /// Pods write logs.
    pub(crate) has_logging: bool,
    /// Names of the nodes that run the control plane.
    pub(crate) control_plane: Vec<Sym>,
    node_names: BTreeSet<&'static str>,
    namespaces: BTreeSet<String>,
    objects: BTreeMap<Key, Obj>,
    /// What files of recorded nodes hold, a line each.
    pub(crate) facts: Vec<String>,
    /// Namespace and name of arrival processes and traces.
    arrivals: Vec<(String, String)>,
}

fn key(obj: &Obj) -> Key {
    let (ns, name) = obj.key();
    (obj.kind(), ns.as_str(), name.to_string())
}

fn note(report: &mut Report, origin: &Origin, field: &str, problem: String, hint: &str) {
    match origin {
        Origin::File(file, line) => {
            report.elsewhere.push(InputError::new(file, problem).at(*line).field(field).hint(hint));
        }
        Origin::Inline(place) => {
            let below = Place::parse(field).unwrap_or_default();
            let place = Place(place.0.iter().chain(&below.0).cloned().collect());
            report.error(&place, problem, hint);
        }
    }
}

impl Known {
    /// Takes the nodes in; names must differ.
    pub(crate) fn add_nodes(&mut self, nodes: Vec<NodeSpec>, origin: &Origin, report: &mut Report) {
        for node in nodes {
            if self.node_names.insert(node.name.as_str()) {
                // Mirrors of static pods bear their node's name.
                for pod in node.statics.iter() {
                    let name = format!("{}-{}", pod.meta.name, node.name);
                    let key = (Kind::Pod, pod.meta.ns.as_str(), name);
                    self.objects.insert(key, Obj::Pod(Arc::clone(pod)));
                }
                self.nodes.push(node);
            } else {
                let problem = format!("a node called {:?} is there already", node.name.as_str());
                note(report, origin, "", problem, "node names must differ");
            }
        }
    }

    fn add_namespace(&mut self, name: &str) {
        self.namespaces.insert(name.to_owned());
    }

    /// Notes an error if no node has the name.
    pub(crate) fn check_node(&self, node: &str, at: &Place, report: &mut Report) {
        if !self.node_names.contains(node) {
            let names: Vec<&str> = self.node_names.iter().copied().collect();
            report.error(at, format!("nodes {node:?} not found"), suggest(node, &names));
        }
    }

    /// Notes an error if the namespace is neither declared nor always there.
    pub(crate) fn check_namespace(&self, ns: &str, at: &Place, report: &mut Report) {
        if let Some((problem, hint)) = self.namespace_problem(ns) {
            report.error(at, problem, hint);
        }
    }

    fn namespace_problem(&self, ns: &str) -> Option<(String, String)> {
        if ALWAYS.contains(&ns) || self.namespaces.contains(ns) {
            return None;
        }
        let hint = format!("add a Namespace object, or {ns:?} to the list namespaces:");
        Some((format!("namespaces {ns:?} not found"), hint))
    }

    /// Notes an error if the priority class is neither declared nor always there.
    pub(crate) fn check_priority_class(&self, class: &str, at: &Place, report: &mut Report) {
        let key = (Kind::PriorityClass, "", class.to_owned());
        if !ALWAYS_CLASSES.contains(&class) && !self.objects.contains_key(&key) {
            let hint = "declare a PriorityClass object of this name";
            report.error(at, format!("no PriorityClass with name {class} was found"), hint);
        }
    }

    /// Notes an error if no manifest makes the object (pods may come from a workload by name).
    pub(crate) fn check_target(&self, target: &Target, at: &Place, report: &mut Report) -> bool {
        let name = target.name.to_string();
        let Target { kind, ns, .. } = *target;
        let there = if kind == Kind::Node {
            self.node_names.contains(name.as_str())
        } else if kind == Kind::Namespace {
            self.namespace_problem(&name).is_none()
        } else {
            self.objects.contains_key(&(kind, ns.as_str(), name.clone()))
                || [Kind::Pod, Kind::Job].contains(&kind) && self.makes(ns, &name)
        };
        if !there {
            let near: Vec<&str> = self
                .objects
                .keys()
                .filter(|(kind, ns, _)| *kind == target.kind && *ns == target.ns.as_str())
                .map(|(_, _, name)| name.as_str())
                .collect();
            let hint = if near.is_empty() {
                "name an object that manifests:, objects: or an apply step makes".to_owned()
            } else {
                suggest(&name, &near)
            };
            report.error(at, format!("{target} not found"), hint);
        }
        there
    }

    /// Notes an error if nothing makes objects whose names begin so.
    pub(crate) fn check_makes(&self, target: &Target, at: &Place, report: &mut Report) -> bool {
        let makes = self.makes(target.ns, &format!("{}-", target.name));
        if !makes {
            let problem = format!("nothing makes {} \"{}-…\"", target.kind.plural(), target.name);
            report.error(at, problem, "write the name of a workload, then -*");
        }
        makes
    }

    /// Whether a workload or an arrival process makes objects with names like this.
    fn makes(&self, ns: Sym, name: &str) -> bool {
        let begins = |base: &str| name.strip_prefix(base).is_some_and(|r| r.starts_with('-'));
        self.objects
            .keys()
            .any(|(kind, of, base)| *kind != Kind::Pod && *of == ns.as_str() && begins(base))
            || self.arrivals.iter().any(|(of, base)| of == ns.as_str() && begins(base))
    }

    /// The selector of a workload's pods.
    pub(crate) fn selector_of(&self, target: &Target) -> Option<crate::api::Selector> {
        let key = (target.kind, target.ns.as_str(), target.name.to_string());
        let found = self.objects.get(&key)?;
        if let Obj::Deployment(o) = found {
            return Some(o.selector.clone());
        }
        if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = found {
            return Some(o.selector.clone());
        }
        if let Obj::StatefulSet(o) = found {
            return Some(o.selector.clone());
        }
        if let Obj::DaemonSet(o) = found { Some(o.selector.clone()) } else { None }
    }

    /// The document of an object that is kept as one.
    pub(crate) fn document(&self, target: &Target) -> Option<&Value> {
        let key = (target.kind, target.ns.as_str(), target.name.to_string());
        if let Obj::Generic(_, object) = self.objects.get(&key)? { Some(&object.doc) } else { None }
    }

    /// A Service.
    pub(crate) fn service(&self, target: &Target) -> Option<crate::api::service::Service> {
        let key = (target.kind, target.ns.as_str(), target.name.to_string());
        super::traffic::read(self.objects.get(&key)?)
    }

    /// The pod template of a workload.
    pub(crate) fn template_of(&self, target: &Target) -> Option<&PodTemplate> {
        let key = (target.kind, target.ns.as_str(), target.name.to_string());
        template(self.objects.get(&key)?)
    }
}

fn template(obj: &Obj) -> Option<&PodTemplate> {
    if let Obj::Deployment(o) = obj {
        return Some(&o.template);
    }
    if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = obj {
        return Some(&o.template);
    }
    if let Obj::StatefulSet(o) = obj {
        return Some(&o.template);
    }
    if let Obj::DaemonSet(o) = obj {
        return Some(&o.template);
    }
    if let Obj::Job(o) = obj {
        return Some(&o.template);
    }
    if let Obj::CronJob(o) = obj { Some(&o.template.template) } else { None }
}

/// Only an object that a cluster has stored has a creation time.
fn of_the_past(obj: &Obj) -> bool {
    obj.meta().is_some_and(|m| !m.created.is_none())
}

/// Fields of a pod spec that something acts upon.
const SPEC_FIELDS: [&str; 18] = [
    "affinity",
    "containers",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
];

/// Fields of a container that something acts upon.
const CONTAINER_FIELDS: [&str; 12] = [
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "restartPolicy",
    "startupProbe",
    "volumeMounts",
];

/// Fields of a pod spec's document that are kept and that nothing acts upon, each once per pod
/// spec.
fn ignored_fields(obj: &Obj) -> BTreeSet<String> {
    let spec = obj.as_pod().map(|pod| &pod.spec).or_else(|| template(obj).map(|t| &t.spec));
    let mut ignored = BTreeSet::new();
    let Some(doc) = spec.and_then(|s| s.doc.as_ref()).and_then(|d| d.as_object()) else {
        return ignored;
    };
    let other = |(key, value): &(&String, &Value)| {
        !SPEC_FIELDS.contains(&key.as_str()) && *key != "volumes" && !by_default(key, value)
    };
    ignored.extend(doc.iter().filter(other).map(|(key, _)| format!("spec.{key}")));
    for list in ["containers", "initContainers"] {
        for container in doc.get(list).and_then(|c| c.as_array()).into_iter().flatten() {
            let fields = container.as_object().into_iter().flatten();
            ignored.extend(fields.filter_map(|(key, value)| ignored_of(list, key, value)));
        }
    }
    ignored
}

/// A container's field, if nothing acts upon it.
fn ignored_of(list: &str, key: &str, value: &Value) -> Option<String> {
    let ignored = !CONTAINER_FIELDS.contains(&key) && !by_default(key, value);
    ignored.then(|| format!("spec.{list}[].{key}"))
}

/// True for what the API server fills in where nothing is said: nobody asked for it.
fn by_default(key: &str, value: &Value) -> bool {
    match key {
        "dnsPolicy" => value == "ClusterFirst",
        "enableServiceLinks" => value == true,
        "securityContext" => value.as_object().is_some_and(serde_json::Map::is_empty),
        "terminationMessagePath" => value == "/dev/termination-log",
        "terminationMessagePolicy" => value == "File",
        _ => false,
    }
}

/// Fields of a pod spec that are read and kept, and that nothing acts upon yet.
fn unmodelled_fields(obj: &Obj) -> Vec<&'static str> {
    let spec = obj.as_pod().map(|pod| &pod.spec).or_else(|| template(obj).map(|t| &t.spec));
    let Some(spec) = spec else { return Vec::new() };
    let resource_claims = |doc: &Value| doc.get("resourceClaims").is_some();
    [
        (spec.doc.as_deref().is_some_and(resource_claims), "resourceClaims"),
        (!spec.readiness_gates.is_empty(), "readinessGates"),
    ]
    .into_iter()
    .filter_map(|(is, what)| is.then_some(what))
    .collect()
}

/// Everything read of a scenario's objects.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// Names to refer to.
    pub(crate) known: Known,
    /// Objects of the start, in order of application.
    pub(crate) first: Vec<Obj>,
    /// Objects of the past.
    pub(crate) warm: Vec<Obj>,
    /// Objects of `apply`, `create` and `replace` steps, by number of the step.
    pub(crate) applied: BTreeMap<usize, Vec<Obj>>,
    /// Nodes that manifests or dumps say are cordoned.
    cordoned: Vec<Sym>,
    /// What recordings of a cluster do.
    recorded: Vec<Step>,
    /// What files of such recordings hold, a line each.
    pub(crate) facts: Vec<String>,
    /// Kinds kept without moving, and ignored fields, with counts.
    pub(crate) not_modelled: BTreeMap<String, u32>,
}

/// Reads all objects of a scenario; the nodes of pools and traces are known already.
pub(crate) fn read(
    file: &ScenarioFile,
    known: Known,
    files: &mut Files,
    report: &mut Report,
) -> Objects {
    let mut all = Objects { known, ..Objects::default() };
    let added = &Additions::read(&file.programs, report);
    let mut at_start = Vec::new();
    for (i, written) in file.manifests.iter().enumerate() {
        let place = Place::default().key("manifests").item(i);
        at_start.extend(manifests(written, (added, &place), files, report));
    }
    for (i, document) in file.objects.iter().enumerate() {
        let place = Place::default().key("objects").item(i);
        at_start.extend(inline(document, (added, &place), report));
    }
    let mut later: Vec<(usize, Vec<Found>)> = Vec::new();
    for (i, step) in file.workload.iter().enumerate() {
        let place = Place::default().key("workload").item(i);
        let found = match (&step.apply, &step.create, &step.replace) {
            (Some(super::file::Applied::Path(written)), _, _) => {
                from_file(written, (added, &place.key("apply")), files, report)
            }
            (Some(super::file::Applied::Object(document)), _, _) => {
                inline(document, (added, &place.key("apply")), report)
            }
            (None, Some(document), _) => inline(document, (added, &place.key("create")), report),
            (None, None, Some(document)) => {
                inline(document, (added, &place.key("replace")), report)
            }
            (None, None, None) => continue,
        };
        later.push((i, found));
    }
    later.push((usize::MAX, all.replayed(file, files, report)));
    all.declare(file, &at_start, &later, report);
    all.check_programs(&file.programs, report);
    all.sort_out(at_start, report);
    for (i, found) in later {
        all.check_all(&found, report);
        all.applied.insert(i, found.into_iter().map(|f| f.obj).collect());
    }
    all
}

impl Objects {
    /// The objects of recordings of a cluster. Their namespaces were there.
    fn replayed(
        &mut self,
        file: &ScenarioFile,
        files: &mut Files,
        report: &mut Report,
    ) -> Vec<Found> {
        let timed = simkube::read(&file.traces, files, report);
        for found in timed.objects.iter().filter(|found| found.obj.kind().namespaced()) {
            self.known.add_namespace(found.obj.key().0.as_str());
        }
        self.not_modelled.extend(timed.not_modelled);
        self.facts = timed.facts;
        self.recorded = timed.steps;
        timed.objects
    }

    /// Whoever is said to behave must be there.
    fn check_programs(&self, programs: &[Program], report: &mut Report) {
        for (i, program) in programs.iter().enumerate() {
            let place = Place::default().key("programs").item(i).key("workload");
            if let Ok(target) = Target::parse(&program.workload) {
                self.known.check_target(&target, &place, report);
            }
        }
    }

    /// Makes names known before anything refers to them.
    fn declare(
        &mut self,
        file: &ScenarioFile,
        at_start: &[Found],
        later: &[(usize, Vec<Found>)],
        report: &mut Report,
    ) {
        for (i, ns) in file.namespaces.iter().enumerate() {
            let place = Place::default().key("namespaces").item(i);
            if report.take(&place, names::label(ns), names::HINT).is_some() {
                self.known.add_namespace(ns);
            }
        }
        for found in at_start.iter().chain(later.iter().flat_map(|(_, found)| found)) {
            let kind = found.obj.kind();
            if kind == Kind::Namespace {
                self.known.add_namespace(&found.obj.key().1.to_string());
            }
            // What has lived in a namespace proves that it was there.
            if of_the_past(&found.obj) && kind.namespaced() {
                self.known.add_namespace(found.obj.key().0.as_str());
            }
            for field in unmodelled_fields(&found.obj) {
                *self.not_modelled.entry(field.to_owned()).or_default() += 1;
            }
            for field in ignored_fields(&found.obj) {
                *self.not_modelled.entry(field).or_default() += 1;
            }
            if !MODELLED.contains(&kind) {
                *self.not_modelled.entry(kind_name(found)).or_default() += 1;
            }
        }
        for found in at_start {
            if self.known.objects.insert(key(&found.obj), found.obj.clone()).is_some() {
                let (ns, name) = found.obj.key();
                let target = Target { kind: found.obj.kind(), ns, name };
                let problem = format!("{target} is there already");
                note(
                    report,
                    &found.origin,
                    "metadata.name",
                    problem,
                    "give it another name or delete one of the two",
                );
            }
        }
        for found in later.iter().flat_map(|(_, found)| found) {
            self.known.objects.insert(key(&found.obj), found.obj.clone());
        }
        for arrival in &file.arrivals {
            let ns = arrival.namespace.clone().unwrap_or_else(|| "default".into());
            self.known.arrivals.push((ns, arrival.name.clone()));
        }
        self.known.arrivals.extend(file.traces.iter().filter_map(recorded::makes));
    }

    fn check_all(&self, list: &[Found], report: &mut Report) {
        for found in list {
            let (ns, _) = found.obj.key();
            if ns.is_empty() {
                continue;
            }
            if let Some((problem, hint)) = self.known.namespace_problem(ns.as_str()) {
                note(report, &found.origin, "metadata.namespace", problem, &hint);
            }
        }
    }

    /// Nodes to the nodes, objects of the past to `warm`, the rest in order of application:
    /// namespaces and priority classes come first, since others need them.
    fn sort_out(&mut self, list: Vec<Found>, report: &mut Report) {
        self.check_all(&list, report);
        let rank = |kind: Kind| {
            if kind == Kind::Namespace { 0 } else { 1 + u8::from(kind != Kind::PriorityClass) }
        };
        let mut first = Vec::new();
        for Found { obj, origin, .. } in list {
            if let Some(node) = obj.as_node() {
                if node.unschedulable {
                    self.cordoned.push(node.meta.name.sym());
                }
                self.known.add_nodes(vec![pools::of_object(node)], &origin, report);
            } else if of_the_past(&obj) {
                self.warm.push(obj);
            } else {
                first.push(obj);
            }
        }
        let declared: BTreeSet<String> = first
            .iter()
            .chain(&self.warm)
            .chain(self.applied.values().flatten())
            .filter(|o| o.kind() == Kind::Namespace)
            .map(|o| o.key().1.to_string())
            .collect();
        let listed = self.known.namespaces.iter().filter(|ns| !declared.contains(*ns));
        first.extend(listed.map(|ns| namespace(ns)));
        first.sort_by_key(|obj| rank(obj.kind()));
        self.first = first;
    }

    /// The start's objects as steps at time zero, and those of recordings at theirs.
    pub(crate) fn first_steps(&self) -> Vec<Step> {
        let step = |action| Step { at: SimTime::ZERO, user: User::Admin, action };
        let apply = |obj: &Obj| step(Action::Apply(obj.clone()));
        let cordon = |&node: &Sym| step(Action::Cordon { node, on: true });
        let first = self.first.iter().map(apply).chain(self.cordoned.iter().map(cordon));
        first.chain(self.recorded.iter().cloned()).collect()
    }
}

fn namespace(name: &str) -> Obj {
    let meta = crate::api::Meta::named(Sym::EMPTY, Name::new(name));
    let label = (Sym::new("kubernetes.io/metadata.name"), Sym::new(name));
    let meta = crate::api::Meta { labels: crate::api::LabelSet::new([label]), ..meta };
    let object = crate::api::workload::Namespace { meta, ..Default::default() };
    Obj::Namespace(Arc::new(object))
}

/// The kind as its document spells it.
fn kind_name(found: &Found) -> String {
    found.custom.as_ref().map_or_else(
        || found.obj.kind().name().to_owned(),
        |kind| format!("{kind} (custom resource)"),
    )
}

fn manifests(
    written: &ManifestFile,
    (added, place): (&Additions, &Place),
    files: &mut Files,
    report: &mut Report,
) -> Vec<Found> {
    match written {
        ManifestFile::Path(path) => from_file(path, (added, place), files, report),
        ManifestFile::Labelled(given) => {
            let added = added.with_labels(&given.labels);
            from_file(&given.file, (&added, &place.key("file")), files, report)
        }
    }
}

fn from_file(
    written: &str,
    (added, place): (&Additions, &Place),
    files: &mut Files,
    report: &mut Report,
) -> Vec<Found> {
    let read = files.text(written);
    let Some((label, text)) = report.take_all(place, read) else { return Vec::new() };
    let read = manifest::parse_with(&label, &text, mode_of(&text), added);
    let read = match read {
        Ok(read) => read,
        Err(errors) => {
            report.elsewhere.extend(errors);
            return Vec::new();
        }
    };
    report.warnings_elsewhere.extend(read.warnings);
    if read.objects.is_empty() {
        report.warn(place, format!("{label}: holds no object"), "");
    }
    let found = |l: manifest::Loaded| {
        let origin = Origin::File(l.file.clone(), l.line);
        found(l, origin)
    };
    read.objects.into_iter().map(found).collect()
}

/// The pods of static manifests.
pub(crate) fn pods_of(
    list: &[String],
    at: &Place,
    files: &mut Files,
    report: &mut Report,
) -> Arc<[Arc<Pod>]> {
    let mut pods = Vec::new();
    for (i, written) in list.iter().enumerate() {
        let place = at.item(i);
        for found in from_file(written, (&Additions::default(), &place), files, report) {
            if let Obj::Pod(pod) = &found.obj {
                pods.push(Arc::clone(pod));
            } else {
                report.error(&place, "holds something else than pods", "a kubelet runs pods alone");
            }
        }
    }
    pods.into()
}

/// What a cluster wrote carries resource versions; what a person writes does not.
fn mode_of(text: &str) -> manifest::Mode {
    let dump = text.contains("resourceVersion:") || text.contains("\"resourceVersion\":");
    if dump { manifest::Mode::Dump } else { manifest::Mode::Strict }
}

fn inline(
    document: &Document,
    (added, place): (&Additions, &Place),
    report: &mut Report,
) -> Vec<Found> {
    match parse(document, added) {
        Ok(read) => {
            for warning in &read.warnings {
                let below = Place::parse(&warning.field).unwrap_or_default();
                let at = Place(place.0.iter().chain(&below.0).cloned().collect());
                report.warn(&at, &warning.problem, &warning.hint);
            }
            let origin = Origin::Inline(place.clone());
            let found = |l: manifest::Loaded| found(l, origin.clone());
            read.objects.into_iter().map(found).collect()
        }
        Err(errors) => {
            nested(&errors, place, report);
            Vec::new()
        }
    }
}

fn parse(document: &Document, added: &Additions) -> Result<manifest::Manifests, InputErrors> {
    let text = serde_json::to_string(document).unwrap_or_default();
    manifest::parse_with("", &text, manifest::Mode::Strict, added)
}

fn found(loaded: manifest::Loaded, origin: Origin) -> Found {
    let mut obj = at_home(loaded.obj);
    if let Some(meta) = obj.meta_mut().filter(|_| loaded.generate_name) {
        // The place of the object stands for chance: the name is the same in every run, and differs
        // between objects.
        let place = match &origin {
            Origin::File(file, line) => format!("{file}:{line}"),
            Origin::Inline(place) => place.to_string(),
        };
        let hash = crate::engine::digest::hash_bytes(place.as_bytes());
        let code = u32::try_from(hash % u64::from(crate::api::name::N_SUFFIXES)).unwrap_or(0);
        meta.name = Name::suffixed(meta.name.sym(), code);
    }
    Found { obj, origin, custom: loaded.custom.map(|(_, kind)| kind) }
}

/// The object, in `default` if it names no namespace but needs one.
pub(crate) fn at_home(mut obj: Obj) -> Obj {
    let namespaced = obj.kind().namespaced();
    if let Some(meta) = obj.meta_mut().filter(|m| namespaced && m.ns.is_empty()) {
        meta.ns = "default".into();
    }
    obj
}

/// A pod template (`metadata`, `spec`) read as the pod it describes.
pub(crate) fn pod_template(document: &Document, ends: bool) -> Result<PodTemplate, InputErrors> {
    let mut pod = document.clone();
    pod.insert("apiVersion".into(), "v1".into());
    pod.insert("kind".into(), "Pod".into());
    let meta = pod.entry("metadata").or_insert_with(|| Value::Object(Document::new()));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("name".into(), "template".into());
    }
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(spec) = spec.filter(|_| ends) {
        spec.entry("restartPolicy").or_insert_with(|| "Never".into());
    }
    let read = parse(&pod, &Additions::default())?;
    let pod = read.objects.iter().find_map(|l| l.obj.as_pod());
    pod.map(|pod| PodTemplate {
        labels: pod.meta.labels,
        annotations: pod.meta.annotations.clone(),
        spec: Arc::clone(&pod.spec),
    })
    .ok_or_else(|| {
        vec![InputError::new("", "is no pod template").hint("write metadata: and spec:")]
    })
}
