//! What objects use of a `ResourceQuota`'s resources: shared by admission, which charges new
//! objects, and the controller, which counts those that are there.
//! Sources: `pkg/quota/v1/evaluator/core`, `apiserver/pkg/quota/v1/generic`.

use super::amounts::{self, Amounts};
use super::meta::Stamp;
use super::pod::{Pod, PodSpec, Qos};
use super::quantity::Quantity;
use super::resources::Named;
use super::storage::PersistentVolumeClaim;
use super::workload::Generic;
use super::{Kind, Obj};
use crate::engine::Sym;
use serde_json::{Value, json};

/// Kinds that no quota counts: Events (as upstream), leases and what is no object of the store.
const UNCOUNTED: [Kind; 6] =
    [Kind::Event, Kind::Lease, Kind::Binding, Kind::Eviction, Kind::PodMetrics, Kind::Custom];

/// Whether quotas may count objects of this kind.
#[must_use]
pub fn counts(kind: Kind) -> bool {
    kind.namespaced() && !UNCOUNTED.contains(&kind)
}

/// A condition on pods: name, operator, values.
type Scope = (Sym, Sym, Vec<Sym>);

/// A `ResourceQuota`, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResourceQuota {
    /// `spec.hard`.
    pub hard: Amounts,
    /// `spec.scopes` and `spec.scopeSelector`: all must hold.
    scopes: Vec<Scope>,
    /// `status.hard`; none before the first status.
    pub status_hard: Option<Amounts>,
    /// `status.used`.
    pub used: Amounts,
}

impl ResourceQuota {
    /// Reads the document.
    #[must_use]
    pub fn of(object: &Generic) -> Self {
        let doc = &object.doc;
        let list = |path| amounts::amounts(doc.pointer(path));
        Self {
            hard: list("/spec/hard"),
            scopes: scopes(doc),
            status_hard: doc.pointer("/status/hard").is_some().then(|| list("/status/hard")),
            used: list("/status/used"),
        }
    }

    /// Whether it limits objects of this kind.
    #[must_use]
    pub fn tracks(&self, kind: Kind) -> bool {
        counts(kind) && self.hard.keys().any(|name| belongs(name, kind))
    }

    /// Whether its scopes hold for the object.
    #[must_use]
    pub fn matches(&self, object: &Obj) -> bool {
        self.scopes.is_empty()
            || object.as_pod().is_some_and(|pod| self.scopes.iter().all(|s| in_scope(pod, s)))
    }

    /// What the object uses of the resources it limits; nothing if it is out of scope.
    #[must_use]
    pub fn usage(&self, object: &Obj) -> Amounts {
        if !self.tracks(object.kind()) || !self.matches(object) {
            return Amounts::new();
        }
        let mut used = usage(object);
        used.retain(|name, _| self.hard.contains_key(name));
        used
    }

    /// Whether the other one limits the same.
    #[must_use]
    pub fn same_spec(&self, other: &Self) -> bool {
        self.hard == other.hard && self.scopes == other.scopes
    }

    /// The status as the document has it.
    #[must_use]
    pub fn status(&self, used: &Amounts) -> Value {
        json!({"hard": amounts::to_value(&self.hard), "used": amounts::to_value(used)})
    }
}

fn scopes(doc: &Value) -> Vec<Scope> {
    let spec = doc.get("spec");
    let list = |key: &str| spec.and_then(|s| s.get(key)).and_then(Value::as_array);
    let plain = list("scopes").into_iter().flatten().filter_map(Value::as_str);
    let mut all: Vec<Scope> =
        plain.map(|s| (Sym::new(s), Sym::new("Exists"), Vec::new())).collect();
    let selector = spec.and_then(|s| s.pointer("/scopeSelector/matchExpressions"));
    for one in selector.and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        let values = one.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = values.filter_map(Value::as_str).map(Sym::new).collect();
        all.push((Sym::new(text("scopeName")), Sym::new(text("operator")), values));
    }
    all
}

/// When a terminating pod stops to count, if it is stuck: a grace after it should have gone.
/// Source: `quota.go` `QuotaV1Pod`.
#[must_use]
pub fn counts_until(pod: &Pod) -> Option<Stamp> {
    let deletion = pod.meta.deletion.filter(|_| !pod.terminal())?;
    Some(Stamp(deletion.at.0.saturating_add(deletion.grace_s)))
}

/// Source: `pods.go` `podMatchesScopeFunc`, `podMatchesSelector`.
fn in_scope(pod: &Pod, (scope, operator, values): &Scope) -> bool {
    let terminating = pod.spec.active_deadline_s.is_some();
    let effort = pod.status.qos == Qos::BestEffort;
    match scope.as_str() {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => effort,
        "NotBestEffort" => !effort,
        "PriorityClass" => {
            let class = pod.spec.priority_class;
            match operator.as_str() {
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
#[must_use]
pub fn belongs(name: &str, kind: Kind) -> bool {
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

/// What an object uses of each resource: a pod that has ended is still an object.
#[must_use]
pub fn usage(object: &Obj) -> Amounts {
    let one = Quantity::from_value(1);
    let mut out = Amounts::new();
    out.insert(counted(object.kind()), one);
    if let Obj::Pod(pod) = object {
        if !pod.terminal() {
            of_pod(&pod.spec, &mut out);
        }
    } else if let Obj::PersistentVolumeClaim(claim) = object {
        of_claim(claim, &mut out);
    } else if let Obj::Generic(Kind::Service, service) = object {
        of_service(&service.doc, &mut out);
    } else {
        out.insert(object.kind().plural().to_owned(), one);
    }
    out
}

/// What a pod uses while it lives.
#[must_use]
pub fn compute_usage(pod: &Pod) -> Amounts {
    let mut out = Amounts::new();
    of_pod(&pod.spec, &mut out);
    out
}

fn of_pod(spec: &PodSpec, out: &mut Amounts) {
    let one = Quantity::from_value(1);
    out.insert("pods".into(), one);
    let (mut limits, mut requests) = amounts::of_pod(spec);
    for (name, amount) in amounts::listed(&spec.overhead, Named::default()) {
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
