//! `ResourceQuota`: what a new object uses is charged to every quota of its namespace that tracks
//! it, by compare-and-swap on the quota's status, before the object itself is written.
//! Source: `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go`,
//! `pkg/quota/v1/evaluator/core`.
//!
//! The quota controller fills in `status` and gives back what deleted objects used.

use crate::api::amounts::{self, Amounts};
use crate::api::pod::PodSpec;
use crate::api::quantity::Quantity;
use crate::api::quota::{ResourceQuota, belongs, usage};
use crate::api::request::ApiError;
use crate::api::versions::{ObjRef, Versions};
use crate::api::workload::Generic;
use crate::api::{Kind, Name, Obj};
use crate::engine::Sym;
use rustc_hash::FxHashMap;
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
        if versions.count(Kind::ResourceQuota) == 0 {
            return false;
        }
        self.follow(versions);
        self.by_ns.get(&ns).is_some_and(|list| {
            list.iter().filter_map(|(_, o)| Quota::read(*o, versions)).any(|q| q.read.tracks(kind))
        })
    }

    /// The charges for an object that takes the place of another (or of none), or the refusal.
    pub(super) fn charge(
        &mut self,
        object: &Obj,
        before: Option<&Obj>,
        versions: &Versions,
    ) -> Result<Vec<Charge>, ApiError> {
        let (ns, _) = object.key();
        if !self.tracked(object.kind(), ns, versions) {
            return Ok(Vec::new());
        }
        let mut delta = usage(object);
        for (name, had) in before.map(usage).unwrap_or_default() {
            delta.entry(name).and_modify(|amount| *amount = amount.minus(had));
        }
        let list = self.by_ns.get(&ns).map(Vec::as_slice).unwrap_or_default();
        let mut charges = Vec::new();
        for quota in list.iter().filter_map(|(_, o)| Quota::read(*o, versions)) {
            if quota.read.matches(object) {
                charges.extend(quota.check(object, &delta)?);
            }
        }
        Ok(charges)
    }
}

/// A quota and its object.
struct Quota {
    object: ObjRef,
    content: Arc<Generic>,
    read: ResourceQuota,
}

fn forbidden<T>(text: &str) -> Result<T, ApiError> {
    Err(ApiError::Forbidden(Sym::new(text)))
}

impl Quota {
    fn read(object: ObjRef, versions: &Versions) -> Option<Self> {
        let Obj::Generic(_, content) = versions.current(Kind::ResourceQuota, object)? else {
            return None;
        };
        Some(Self { object, read: ResourceQuota::of(content), content: Arc::clone(content) })
    }

    fn check(&self, object: &Obj, delta: &Amounts) -> Result<Option<Charge>, ApiError> {
        let name = self.content.meta.name;
        if let Some(pod) = object.as_pod()
            && let Some(missing) = missing(&self.read.hard, &pod.spec)
        {
            return forbidden(&format!("failed quota: {name}: must specify {missing}"));
        }
        let unknown: Vec<&str> = self
            .read
            .hard
            .keys()
            .filter(|n| belongs(n, object.kind()) && !self.read.used.contains_key(*n))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            let list = unknown.join(",");
            return forbidden(&format!("status unknown for quota: {name}, resources: {list}"));
        }
        let tracked = |n: &String| self.read.hard.contains_key(n);
        let asked: Amounts = delta
            .iter()
            .filter(|(n, q)| tracked(n) && **q > Quantity::ZERO)
            .map(|(n, q)| (n.clone(), *q))
            .collect();
        if asked.is_empty() {
            return Ok(None);
        }
        let mut used = self.read.used.clone();
        let mut exceeded = Vec::new();
        for (resource, amount) in &asked {
            let sum = used.entry(resource.clone()).or_default();
            *sum = sum.plus(*amount);
            if self.read.hard.get(resource).is_some_and(|most| *sum > *most) {
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
                print(&self.read.used),
                print(&self.read.hard)
            ));
        }
        Ok(Some(self.charged(&used)))
    }

    fn charged(&self, used: &Amounts) -> Charge {
        let mut content = Generic::clone(&self.content);
        let rev = content.meta.resource_version;
        Arc::make_mut(&mut content.doc)["status"] = self.read.status(used);
        (self.object, rev, Obj::Generic(Kind::ResourceQuota, Arc::new(content)))
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
                let (limits, requests) = amounts::of_container(c);
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
