//! `LimitRanger`: defaults for containers that say nothing, then the bounds of every `LimitRange`
//! of the namespace. Source: `plugin/pkg/admission/limitranger/admission.go`; the defaulting of the
//! object itself, `apis/core/v1/defaults.go` `SetDefaults_LimitRangeItem`.

use super::documents;
use crate::api::amounts::{self, Amounts};
use crate::api::pod::PodSpec;
use crate::api::quantity::Quantity;
use crate::api::versions::Versions;
use crate::api::{Kind, Obj};
use crate::engine::Sym;
use serde_json::Value;
use std::sync::Arc;

/// What a limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Container,
    Pod,
    Claim,
}

/// One item of `spec.limits`.
#[derive(Debug, Clone)]
struct Limit {
    subject: Subject,
    max: Amounts,
    min: Amounts,
    default: Amounts,
    default_request: Amounts,
    ratio: Amounts,
}

impl Limit {
    fn read(item: &Value) -> Option<Self> {
        let subject = match item.get("type").and_then(Value::as_str)? {
            "Container" => Subject::Container,
            "Pod" => Subject::Pod,
            "PersistentVolumeClaim" => Subject::Claim,
            _unknown => return None,
        };
        let amounts = |key| amounts::amounts(item.get(key));
        let mut limit = Self {
            subject,
            max: amounts("max"),
            min: amounts("min"),
            default: amounts("default"),
            default_request: amounts("defaultRequest"),
            ratio: amounts("maxLimitRequestRatio"),
        };
        if subject == Subject::Container {
            fill(&mut limit.default, &limit.max);
            fill(&mut limit.default_request, &limit.default);
            fill(&mut limit.default_request, &limit.min);
        }
        Some(limit)
    }
}

fn fill(into: &mut Amounts, from: &Amounts) {
    for (name, amount) in from {
        into.entry(name.clone()).or_insert(*amount);
    }
}

/// The limits of a namespace, in order of their objects' names.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits(Vec<Limit>);

impl Limits {
    /// Reads the objects of a namespace.
    pub(super) fn read(ns: Sym, versions: &Versions) -> Self {
        if versions.count(Kind::LimitRange) == 0 {
            return Self::default();
        }
        let mut objects: Vec<_> = versions
            .iter(Kind::LimitRange)
            .filter_map(|(_, o)| if let Obj::Generic(_, o) = o { Some(o) } else { None })
            .filter(|o| o.meta.ns == ns)
            .collect();
        objects.sort_by(|a, b| a.meta.name.cmp_text(b.meta.name));
        let items = |o: &&Arc<crate::api::workload::Generic>| {
            let list = o.doc.pointer("/spec/limits").and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        Self(objects.iter().flat_map(items).filter_map(|i| Limit::read(&i)).collect())
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills in what containers do not say; true if anything was.
    pub(super) fn fill_in(&self, spec: &mut PodSpec) -> bool {
        let mut changed = false;
        for limit in self.0.iter().filter(|l| l.subject == Subject::Container) {
            let all = spec.containers.iter_mut().chain(&mut spec.init_containers);
            for container in all {
                let (limits, requests) = amounts::of_container(container);
                for (name, amount) in limit.default.iter().filter(|(n, _)| !limits.contains_key(*n))
                {
                    documents::set(container, true, name, *amount);
                    changed = true;
                }
                let asked = |n: &String| requests.contains_key(n);
                for (name, amount) in limit.default_request.iter().filter(|(n, _)| !asked(n)) {
                    documents::set(container, false, name, *amount);
                    changed = true;
                }
            }
        }
        if changed {
            documents::resources(spec);
        }
        changed
    }

    /// The bounds a pod breaks, in upstream's words.
    pub(super) fn check(&self, spec: &PodSpec) -> Vec<String> {
        let mut errors = Vec::new();
        for limit in &self.0 {
            match limit.subject {
                Subject::Container => {
                    for container in spec.containers.iter().chain(&spec.init_containers) {
                        let (limits, requests) = amounts::of_container(container);
                        bounds(limit, "Container", &requests, &limits, &mut errors);
                    }
                }
                Subject::Pod => {
                    let (limits, requests) = amounts::of_pod(spec);
                    bounds(limit, "Pod", &requests, &limits, &mut errors);
                }
                Subject::Claim => {}
            }
        }
        errors
    }

    /// The bounds a claim breaks.
    pub(super) fn check_claim(&self, bytes: i64) -> Vec<String> {
        let requests = Amounts::from([("storage".to_owned(), Quantity::from_bytes(bytes))]);
        let mut errors = Vec::new();
        for limit in self.0.iter().filter(|l| l.subject == Subject::Claim) {
            let what = "PersistentVolumeClaim";
            for (name, least) in &limit.min {
                minimum(what, name, *least, requests.get(name), None, &mut errors);
            }
            for (name, most) in &limit.max {
                let asked = requests.get(name);
                // A claim has no limits: its request is what is bounded.
                maximum(what, name, *most, asked, asked, &mut errors);
            }
        }
        errors
    }
}

fn bounds(
    limit: &Limit,
    what: &str,
    requests: &Amounts,
    limits: &Amounts,
    errors: &mut Vec<String>,
) {
    for (name, least) in &limit.min {
        minimum(what, name, *least, requests.get(name), limits.get(name), errors);
    }
    for (name, most) in &limit.max {
        maximum(what, name, *most, requests.get(name), limits.get(name), errors);
    }
    for (name, most) in &limit.ratio {
        ratio(what, name, *most, requests.get(name), limits.get(name), errors);
    }
}

fn minimum(
    what: &str,
    name: &str,
    least: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
    errors: &mut Vec<String>,
) {
    let begin = format!("minimum {name} usage per {what} is {least}");
    match (request, limit) {
        (None, _) => errors.push(format!("{begin}.  No request is specified")),
        (Some(request), _) if *request < least => {
            errors.push(format!("{begin}, but request is {request}"));
        }
        (Some(_), Some(limit)) if *limit < least => {
            errors.push(format!("{begin}, but limit is {limit}"));
        }
        (Some(_), _) => {}
    }
}

fn maximum(
    what: &str,
    name: &str,
    most: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
    errors: &mut Vec<String>,
) {
    let begin = format!("maximum {name} usage per {what} is {most}");
    match (limit, request) {
        (None, _) => errors.push(format!("{begin}.  No limit is specified")),
        (Some(limit), _) if *limit > most => errors.push(format!("{begin}, but limit is {limit}")),
        (Some(_), Some(request)) if *request > most => {
            errors.push(format!("{begin}, but request is {request}"));
        }
        (Some(_), _) => {}
    }
}

fn ratio(
    what: &str,
    name: &str,
    most: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
    errors: &mut Vec<String>,
) {
    let begin = format!("{name} max limit to request ratio per {what} is {most}");
    let given = |q: Option<&Quantity>| q.copied().filter(|q| !q.is_zero());
    match (given(request), given(limit)) {
        (None, _) => {
            errors.push(format!("{begin}, but no request is specified or request is 0"));
        }
        (Some(_), None) => errors.push(format!("{begin}, but no limit is specified or limit is 0")),
        (Some(request), Some(limit)) => {
            // limit / request > most, without a division.
            let (left, right) = (limit.milli_value(), i128::from(request.milli_value()));
            if i128::from(left) * 1000 > right * i128::from(most.milli_value()) {
                let micro = i128::from(left) * 1_000_000 / right.max(1);
                let (whole, rest) = (micro / 1_000_000, micro % 1_000_000);
                errors.push(format!("{begin}, but provided ratio is {whole}.{rest:06}"));
            }
        }
    }
}

/// Several errors as one, as upstream joins them.
pub(super) fn joined(errors: &[String]) -> String {
    if let [one] = errors { one.clone() } else { format!("[{}]", errors.join(", ")) }
}
