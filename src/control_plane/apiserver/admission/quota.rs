//! `ResourceQuota`: what a new object uses is charged to every quota of its namespace that tracks
//! it, by compare-and-swap on the quota's status, before the object itself is written.
//! Source: `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go`,
//! `pkg/quota/v1/evaluator/core`.
//!
//! The quota controller fills in `status` and gives back what deleted objects used. In a cluster
//! that runs none, usage is counted afresh at every creation, as if it had just been there.

use super::documents::{self, Amounts};
use crate::api::pod::{Pod, PodSpec, Qos};
use crate::api::quantity::Quantity;
use crate::api::request::ApiError;
use crate::api::resources::Named;
use crate::api::storage::PersistentVolumeClaim;
use crate::api::versions::{ObjRef, Versions};
use crate::api::workload::Generic;
use crate::api::{Kind, Name, Obj};
use crate::engine::Sym;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use std::sync::Arc;

/// Quotas by namespace, kept from the kind's log.
#[derive(Debug, Clone, Default)]
pub(super) struct Quotas {
    /// The next entry of the log to look at.
    cursor: u64,
    by_ns: FxHashMap<Sym, Vec<(Name, ObjRef)>>,
}

/// A quota with its new content.
pub(in crate::control_plane::apiserver) type Charge = (ObjRef, u64, Obj);

impl Quotas {
    fn follow(&mut self, versions: &Versions) {
        let kind = Kind::ResourceQuota;
        if self.cursor < versions.log_start(kind) {
            self.by_ns.clear();
            for (object, value) in versions.iter(kind) {
                self.insert(value.key(), object);
            }
        } else {
            for change in
                (self.cursor..versions.log_end(kind)).filter_map(|i| versions.change(kind, i))
            {
                let (ns, name) = change.value.key();
                if change.deleted {
                    self.by_ns.entry(ns).or_default().retain(|(n, _)| *n != name);
                } else if change.created() {
                    self.insert((ns, name), change.object);
                }
            }
        }
        self.cursor = versions.log_end(kind);
    }

    fn insert(&mut self, (ns, name): (Sym, Name), object: ObjRef) {
        let list = self.by_ns.entry(ns).or_default();
        let at = list.partition_point(|(n, _)| n.cmp_text(name).is_lt());
        list.insert(at, (name, object));
    }

    /// Whether a new object of this kind is charged to a quota of its namespace.
    pub(super) fn tracked(&mut self, kind: Kind, ns: Sym, versions: &Versions) -> bool {
        if versions.count(Kind::ResourceQuota) == 0 || matches!(kind, Kind::Event) {
            return false;
        }
        self.follow(versions);
        self.by_ns.get(&ns).is_some_and(|list| {
            list.iter().filter_map(|(_, o)| Quota::read(*o, versions)).any(|q| q.tracks(kind))
        })
    }

    /// The charges for a new object, or the refusal. `kept`: a controller keeps the status.
    pub(super) fn charge(
        &mut self,
        object: &Obj,
        kept: bool,
        versions: &Versions,
    ) -> Result<Vec<Charge>, ApiError> {
        let (ns, _) = object.key();
        if !self.tracked(object.kind(), ns, versions) {
            return Ok(Vec::new());
        }
        let delta = usage(object);
        let list = self.by_ns.get(&ns).map(Vec::as_slice).unwrap_or_default();
        let mut charges = Vec::new();
        for mut quota in list.iter().filter_map(|(_, o)| Quota::read(*o, versions)) {
            if !quota.matches(object) {
                continue;
            }
            if !kept {
                quota.recount(ns, versions);
            }
            charges.extend(quota.check(object, &delta)?);
        }
        Ok(charges)
    }
}

/// A quota, read.
struct Quota {
    object: ObjRef,
    content: Arc<Generic>,
    hard: Amounts,
    used: Amounts,
}

fn forbidden<T>(text: &str) -> Result<T, ApiError> {
    Err(ApiError::Forbidden(Sym::new(text)))
}

impl Quota {
    fn read(object: ObjRef, versions: &Versions) -> Option<Self> {
        let Obj::Generic(_, content) = versions.current(Kind::ResourceQuota, object)? else {
            return None;
        };
        let list = |path| documents::amounts(content.doc.pointer(path));
        let content = Arc::clone(content);
        Some(Self { object, hard: list("/spec/hard"), used: list("/status/used"), content })
    }

    fn tracks(&self, kind: Kind) -> bool {
        let count = counted(kind);
        self.hard.keys().any(|name| *name == count || belongs(name, kind))
    }

    /// The scopes of the quota hold for the object.
    fn matches(&self, object: &Obj) -> bool {
        let spec = self.content.doc.get("spec");
        let list = |key: &str| spec.and_then(|s| s.get(key)).and_then(Value::as_array);
        let scopes = list("scopes").into_iter().flatten().filter_map(Value::as_str);
        let mut all: Vec<(&str, &str, Vec<&str>)> =
            scopes.map(|s| (s, "Exists", Vec::new())).collect();
        let selector = spec.and_then(|s| s.pointer("/scopeSelector/matchExpressions"));
        for one in selector.and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
            let values = one.get("values").and_then(Value::as_array).into_iter().flatten();
            all.push((
                text("scopeName"),
                text("operator"),
                values.filter_map(Value::as_str).collect(),
            ));
        }
        if all.is_empty() {
            return true;
        }
        object.as_pod().is_some_and(|pod| all.iter().all(|scope| in_scope(pod, scope)))
    }

    /// Usage as the controller would count it now.
    fn recount(&mut self, ns: Sym, versions: &Versions) {
        let mut used: Amounts =
            self.hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
        for info in crate::api::kind::KINDS.iter().filter(|k| k.namespaced && self.tracks(k.kind)) {
            for (_, object) in versions.iter(info.kind).filter(|(_, o)| o.key().0 == ns) {
                let over = object.as_pod().is_some_and(|p| p.terminal());
                if over || !self.matches(object) {
                    continue;
                }
                for (name, amount) in usage(object) {
                    used.entry(name).and_modify(|sum| *sum = sum.plus(amount));
                }
            }
        }
        self.used = used;
    }

    fn check(&self, object: &Obj, delta: &Amounts) -> Result<Option<Charge>, ApiError> {
        let name = self.content.meta.name;
        if let Some(pod) = object.as_pod()
            && let Some(missing) = missing(&self.hard, &pod.spec)
        {
            return forbidden(&format!("failed quota: {name}: must specify {missing}"));
        }
        let unknown: Vec<&str> = self
            .hard
            .keys()
            .filter(|n| belongs(n, object.kind()) && !self.used.contains_key(*n))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            let list = unknown.join(",");
            return forbidden(&format!("status unknown for quota: {name}, resources: {list}"));
        }
        let tracked = |n: &String| self.hard.contains_key(n);
        let asked: Amounts = delta
            .iter()
            .filter(|(n, q)| tracked(n) && **q > Quantity::ZERO)
            .map(|(n, q)| (n.clone(), *q))
            .collect();
        if asked.is_empty() {
            return Ok(None);
        }
        let mut used = self.used.clone();
        let mut exceeded = Vec::new();
        for (resource, amount) in &asked {
            let sum = used.entry(resource.clone()).or_default();
            *sum = sum.plus(*amount);
            if self.hard.get(resource).is_some_and(|most| *sum > *most) {
                exceeded.push(resource.as_str());
            }
        }
        if !exceeded.is_empty() {
            let print = |of: &Amounts| {
                let one = |n: &&str| format!("{n}={}", of.get(*n).copied().unwrap_or_default());
                exceeded.iter().map(one).collect::<Vec<_>>().join(",")
            };
            return forbidden(&format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                print(&asked),
                print(&self.used),
                print(&self.hard)
            ));
        }
        Ok(Some(self.charged(&used)))
    }

    fn charged(&self, used: &Amounts) -> Charge {
        let text = |a: &Amounts| {
            a.iter().map(|(n, q)| (n.clone(), Value::from(q.to_string()))).collect::<Value>()
        };
        let mut content = Generic::clone(&self.content);
        let rev = content.meta.resource_version;
        let doc = Arc::make_mut(&mut content.doc);
        doc["status"] = json!({"hard": text(&self.hard), "used": text(used)});
        (self.object, rev, Obj::Generic(Kind::ResourceQuota, Arc::new(content)))
    }
}

/// Source: `pods.go` `podMatchesScopeFunc`, `podMatchesSelector`.
fn in_scope(pod: &Pod, (scope, operator, values): &(&str, &str, Vec<&str>)) -> bool {
    let terminating = pod.spec.active_deadline_s.is_some();
    let effort = pod.status.qos == Qos::BestEffort;
    match *scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => effort,
        "NotBestEffort" => !effort,
        "PriorityClass" => {
            let class = pod.spec.priority_class.as_str();
            match *operator {
                "In" => values.contains(&class),
                "NotIn" => !values.contains(&class),
                "DoesNotExist" => class.is_empty(),
                _exists => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => crosses(&pod.spec),
        _unknown => false,
    }
}

fn crosses(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let preferred = affinity.pod_preferred.iter().chain(&affinity.anti_preferred).map(|p| &p.term);
    let required = affinity.pod_required.iter().chain(&affinity.anti_required);
    required.chain(preferred).any(|t| !t.namespaces.is_empty() || t.namespace_selector.is_some())
}

/// `count/pods`, `count/deployments.apps`.
fn counted(kind: Kind) -> String {
    let group = kind.info().map_or("", |k| k.group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("count/{}{dot}{group}", kind.plural())
}

/// Resources with names of their own that objects of a kind use.
fn belongs(name: &str, kind: Kind) -> bool {
    if name.starts_with("count/") {
        return name == counted(kind);
    }
    let storage = name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/");
    if kind == Kind::Pod {
        let plain = matches!(name, "pods" | "cpu" | "memory" | "ephemeral-storage");
        let hugepages = name.starts_with("hugepages-");
        let prefixed = name.starts_with("requests.") || name.starts_with("limits.");
        plain || hugepages || prefixed && !storage
    } else if kind == Kind::PersistentVolumeClaim {
        name == "persistentvolumeclaims" || storage
    } else if kind == Kind::Service {
        name == "services" || name.starts_with("services.")
    } else {
        name == kind.plural()
    }
}

/// What an object uses of each resource.
fn usage(object: &Obj) -> Amounts {
    let one = Quantity::from_value(1);
    let mut out = Amounts::new();
    out.insert(counted(object.kind()), one);
    if let Obj::Pod(pod) = object {
        of_pod(&pod.spec, &mut out);
    } else if let Obj::PersistentVolumeClaim(claim) = object {
        of_claim(claim, &mut out);
    } else if let Obj::Generic(Kind::Service, service) = object {
        of_service(&service.doc, &mut out);
    } else {
        out.insert(object.kind().plural().to_owned(), one);
    }
    out
}

fn of_pod(spec: &PodSpec, out: &mut Amounts) {
    let one = Quantity::from_value(1);
    out.insert("pods".into(), one);
    let (mut limits, mut requests) = documents::of_pod(spec);
    for (name, amount) in documents::listed(&spec.overhead, Named::default()) {
        if let Some(limit) = limits.get_mut(&name) {
            *limit = limit.plus(amount);
        }
        let sum = requests.entry(name).or_default();
        *sum = amount.plus(*sum);
    }
    for (name, amount) in requests {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-")
        {
            out.insert(name.clone(), amount);
        }
        out.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            out.insert(format!("limits.{name}"), amount);
        }
    }
}

fn of_claim(claim: &PersistentVolumeClaim, out: &mut Amounts) {
    let one = Quantity::from_value(1);
    out.insert("persistentvolumeclaims".into(), one);
    let class = claim.class_name();
    let of_class = |name: &str| format!("{class}.storageclass.storage.k8s.io/{name}");
    if !class.is_empty() {
        out.insert(of_class("persistentvolumeclaims"), one);
    }
    let storage = Quantity::from_bytes(claim.request);
    out.insert("requests.storage".into(), storage);
    if !class.is_empty() {
        out.insert(of_class("requests.storage"), storage);
    }
}

fn of_service(doc: &Value, out: &mut Amounts) {
    let kind = doc.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let ports = doc.pointer("/spec/ports").and_then(Value::as_array).map_or(0, Vec::len);
    let ports = Quantity::from_value(i64::try_from(ports).unwrap_or(i64::MAX));
    out.insert("services".into(), Quantity::from_value(1));
    let balanced = kind == "LoadBalancer";
    if balanced {
        out.insert("services.loadbalancers".into(), Quantity::from_value(1));
    }
    let none = doc.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&Value::Bool(false));
    if kind == "NodePort" || balanced && !none {
        out.insert("services.nodeports".into(), ports);
    }
}

/// Amounts that a quota makes every container name, and those that do not. Source: `pods.go`
/// `Constraints`.
fn missing(hard: &Amounts, spec: &PodSpec) -> Option<String> {
    let mut texts = Vec::new();
    for name in hard.keys() {
        let (limit, resource) = match name.as_str() {
            "cpu" | "requests.cpu" => (false, "cpu"),
            "memory" | "requests.memory" => (false, "memory"),
            "limits.cpu" => (true, "cpu"),
            "limits.memory" => (true, "memory"),
            _free => continue,
        };
        let mut names: Vec<&str> = spec
            .containers
            .iter()
            .chain(&spec.init_containers)
            .filter(|c| {
                let (limits, requests) = documents::of_container(c);
                !if limit { limits } else { requests }.contains_key(resource)
            })
            .map(|c| c.name.as_str())
            .collect();
        names.sort_unstable();
        if !names.is_empty() {
            texts.push(format!("{name} for: {}", names.join(",")));
        }
    }
    (!texts.is_empty()).then(|| texts.join("; "))
}
