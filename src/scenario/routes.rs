//! Where an Ingress or an HTTPRoute sends a request to. Sources: behaviour reference §4.19; the
//! API documentation of `networking.k8s.io/v1` and of `gateway.networking.k8s.io/v1`.

use super::objects::Known;
use super::place::Place;
use super::report::Report;
use super::target::Target;
use crate::api::{Kind, Name};
use crate::engine::{Sym, num};
use serde_json::Value;

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
}

/// A Service, and its share of the requests among others.
pub(crate) type Backend = (Target, u32);

/// The Services that requests to an Ingress or an HTTPRoute go to; none if something is wrong.
pub(crate) fn backends(
    target: &Target,
    asked: Asked<'_>,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Vec<Backend>> {
    let doc = known.document(target)?;
    let found = if target.kind == Kind::Ingress {
        ingress(doc, target.ns, asked)
    } else {
        route(doc, target.ns, asked)
    };
    if found.is_empty() {
        let problem = format!("{target} sends {}{} nowhere", asked.host, asked.path);
        report.error(at, problem, "give host and path that one of its rules has");
        return None;
    }
    let there = found.iter().all(|(service, _)| known.check_target(service, at, report));
    there.then_some(found)
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn service(ns: Sym, name: &str) -> Target {
    Target { kind: Kind::Service, ns, name: Name::new(name) }
}

/// True if a rule's host is this one: itself, or `*.` and what follows the first label.
fn host_fits(rule: &str, host: &str) -> bool {
    rule.is_empty()
        || rule == host
        || rule.strip_prefix('*').is_some_and(|rest| {
            host.split_once('.')
                .is_some_and(|(label, _)| !label.is_empty() && &host[label.len()..] == rest)
        })
}

/// True if a path begins with the elements of another one.
fn begins(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Exact paths come before prefixes, longer ones before shorter ones.
fn ingress(doc: &Value, ns: Sym, asked: Asked<'_>) -> Vec<Backend> {
    let mut best: Option<((bool, usize), &str)> = None;
    for rule in list(doc, "/spec/rules") {
        if !host_fits(text(rule, "/host"), asked.host) {
            continue;
        }
        for path in list(rule, "/http/paths") {
            let written = text(path, "/path");
            let exact = text(path, "/pathType") == "Exact";
            let fits = if exact { written == asked.path } else { begins(asked.path, written) };
            let rank = (exact, written.len());
            if fits && best.is_none_or(|(held, _)| rank > held) {
                best = Some((rank, text(path, "/backend/service/name")));
            }
        }
    }
    let chosen = best.map_or_else(|| text(doc, "/spec/defaultBackend/service/name"), |b| b.1);
    if chosen.is_empty() { Vec::new() } else { vec![(service(ns, chosen), 1)] }
}

/// An exact path, then the longest prefix, then the rule that comes first; its backends by weight.
fn route(doc: &Value, ns: Sym, asked: Asked<'_>) -> Vec<Backend> {
    let hosts = list(doc, "/spec/hostnames");
    let fits = |host: &Value| host.as_str().is_some_and(|h| host_fits(h, asked.host));
    if !hosts.is_empty() && !hosts.iter().any(fits) {
        return Vec::new();
    }
    let mut best: Option<((bool, usize), &Value)> = None;
    for rule in list(doc, "/spec/rules") {
        let matches = list(rule, "/matches");
        let any = Value::Null;
        let matches = if matches.is_empty() { std::slice::from_ref(&any) } else { matches };
        for one in matches {
            let written = match text(one, "/path/value") {
                "" => "/",
                path => path,
            };
            let exact = text(one, "/path/type") == "Exact";
            let fits = if exact { written == asked.path } else { begins(asked.path, written) };
            let rank = (exact, written.len());
            if fits && best.is_none_or(|(held, _)| rank > held) {
                best = Some((rank, rule));
            }
        }
    }
    let Some((_, rule)) = best else { return Vec::new() };
    let one = |backend: &Value| {
        let ns = backend.get("namespace").and_then(Value::as_str).map_or(ns, Sym::new);
        let weight = backend.get("weight").and_then(Value::as_u64).unwrap_or(1);
        let target = service(ns, text(backend, "/name"));
        (target, u32::try_from(weight).unwrap_or(u32::MAX))
    };
    list(rule, "/backendRefs").iter().map(one).filter(|(_, weight)| *weight > 0).collect()
}

/// The share of a backend.
pub(crate) fn share(weight: u32, all: &[Backend]) -> f64 {
    let sum: u64 = all.iter().map(|(_, w)| u64::from(*w)).sum();
    f64::from(weight) / num::float_u(sum).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(found: &[Backend]) -> Vec<String> {
        found.iter().map(|(t, w)| format!("{} {w}", t.name)).collect()
    }

    #[test]
    fn an_ingress_prefers_exact_paths_and_then_long_ones() {
        let path = |path: &str, kind: &str, name: &str| {
            json!({"path": path, "pathType": kind,
            "backend": {"service": {"name": name}}})
        };
        let doc = json!({"spec": {"defaultBackend": {"service": {"name": "rest"}}, "rules": [
            {"host": "*.example.com", "http": {"paths": [
                path("/", "Prefix", "web"), path("/cart", "Prefix", "cart"),
                path("/cart", "Exact", "summary")]}}]}});
        let go = |host, path| names(&ingress(&doc, Sym::new("default"), Asked { host, path }));
        assert_eq!(go("shop.example.com", "/"), ["web 1"]);
        assert_eq!(go("shop.example.com", "/cart"), ["summary 1"]);
        assert_eq!(go("shop.example.com", "/cart/1"), ["cart 1"]);
        assert_eq!(go("shop.example.com", "/cartoon"), ["web 1"], "elements, not letters");
        assert_eq!(go("a.shop.example.com", "/"), ["rest 1"], "one label alone");
        assert_eq!(go("example.com", "/"), ["rest 1"]);
    }

    #[test]
    fn a_route_splits_by_weight() {
        let doc = json!({"spec": {"hostnames": ["shop.example.com"], "rules": [
            {"backendRefs": [{"name": "old", "weight": 90}, {"name": "new", "weight": 10},
                {"name": "off", "weight": 0}]},
            {"matches": [{"path": {"type": "PathPrefix", "value": "/cart"}}],
             "backendRefs": [{"name": "cart"}]}]}});
        let go = |host, path| names(&route(&doc, Sym::new("default"), Asked { host, path }));
        assert_eq!(go("shop.example.com", "/x"), ["old 90", "new 10"]);
        assert_eq!(go("shop.example.com", "/cart/2"), ["cart 1"]);
        assert!(go("other.example.com", "/").is_empty());
    }
}
