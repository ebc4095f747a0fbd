//! Addresses and node ports of Services. Who gives none gets one out of the upper part of the
//! range; the lower part is for those who choose theirs, and is given away when the upper one is
//! full. Sources: behaviour reference §4.16; `registry/core/service/{ipallocator,portallocator}`;
//! `registry/core/service/storage/alloc.go`. `IPAddress` objects, which 1.33 and later write beside
//! each address, are not made; what was given to a request that is refused later (a quota, a race
//! for the name) stays taken, where upstream's repair loop frees it after some minutes.

use super::{ApiServer, handlers};
use crate::api::request::{ApiError, Op};
use crate::api::{Cidr, Kind, Obj};
use crate::engine::digest::mix;
use crate::engine::{Purpose, Sym};
use crate::event::Context;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// `--service-node-port-range`.
const PORTS: std::ops::Range<u32> = 30_000..32_768;

/// What is taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    ips: BTreeSet<u32>,
    ports: BTreeSet<u32>,
}

/// A range of which the lower part is given away last.
#[derive(Debug, Clone, Copy)]
struct Band {
    first: u32,
    /// Begin of the upper part.
    upper: u32,
    end: u32,
}

impl Band {
    /// Addresses of a range: without its own, which is the network's, the first one, which is
    /// `kubernetes.default`'s, and the last one, for broadcasts.
    fn addresses(range: Cidr) -> Self {
        let size = 1_u32.checked_shl(32 - u32::from(range.bits)).unwrap_or(u32::MAX);
        let usable = size.saturating_sub(2);
        let reserved = (usable / 16).clamp(16, 256).min(usable);
        let first = range.base + 1;
        Self { first, upper: first + reserved, end: range.base + size.saturating_sub(1) }
    }

    /// Node ports.
    fn ports() -> Self {
        let size = PORTS.end - PORTS.start;
        let reserved = (size / 32).clamp(16, 128);
        Self { first: PORTS.start, upper: PORTS.start + reserved, end: PORTS.end }
    }

    fn holds(&self, n: u32) -> bool {
        (self.first..self.end).contains(&n)
    }

    /// A free one: from a place of the upper part on, then the lower part.
    fn free(&self, taken: &BTreeSet<u32>, mut draw: impl FnMut(u64) -> u64) -> Option<u32> {
        for part in [self.upper..self.end, self.first..self.upper] {
            let size = part.end.saturating_sub(part.start);
            if size == 0 {
                continue;
            }
            let offset = u32::try_from(draw(u64::from(size))).unwrap_or(0);
            let from = part.start + offset;
            let free = (from..part.end).chain(part.start..from).find(|n| !taken.contains(n));
            if free.is_some() {
                return free;
            }
        }
        None
    }
}

/// What a Service has.
fn held(doc: &Value) -> (Option<u32>, Vec<u32>) {
    let ip = doc.pointer("/spec/clusterIP").and_then(Value::as_str);
    let ip = ip.and_then(|text| text.parse::<Ipv4Addr>().ok()).map(u32::from);
    let ports = doc.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let port = |key: &Value| u32::try_from(key.as_u64()?).ok().filter(|n| *n > 0);
    let mut all: Vec<u32> = ports.filter_map(|p| port(p.get("nodePort")?)).collect();
    all.extend(doc.pointer("/spec/healthCheckNodePort").and_then(port));
    (ip, all)
}

fn document(obj: &Obj) -> Option<&Value> {
    if let Obj::Generic(Kind::Service, generic) = obj { Some(&generic.doc) } else { None }
}

fn text<'d>(doc: &'d Value, path: &str) -> Option<&'d str> {
    doc.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

impl Addresses {
    /// A Service has been written, or deleted.
    pub(super) fn note(&mut self, value: &Obj, before: Option<&Obj>, deleted: bool) {
        for (object, taken) in [(before, false), (Some(value), !deleted)] {
            let Some(doc) = object.and_then(document) else { continue };
            let (ip, ports) = held(doc);
            if let Some(ip) = ip {
                if taken {
                    self.ips.insert(ip)
                } else {
                    self.ips.remove(&ip)
                };
            }
            for port in ports {
                if taken {
                    self.ports.insert(port)
                } else {
                    self.ports.remove(&port)
                };
            }
        }
    }
}

/// What an update leaves out stays as it was given (source: `patchAllocatedValues`).
pub(super) fn keep(old: &Obj, new: &mut Obj) {
    let Some(before) = document(old).cloned() else { return };
    let Obj::Generic(Kind::Service, generic) = new else { return };
    if text(&generic.doc, "/spec/type") == Some("ExternalName")
        || text(&generic.doc, "/spec/clusterIP").is_some()
        || text(&before, "/spec/clusterIP").is_none()
    {
        return;
    }
    let doc = Arc::make_mut(&mut Arc::make_mut(generic).doc);
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = before.pointer(&format!("/spec/{field}"))
            && let Some(spec) = doc.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.entry(field).or_insert_with(|| value.clone());
        }
    }
    if !needs_ports(doc) {
        return;
    }
    let empty = Vec::new();
    let old_ports = before.pointer("/spec/ports").and_then(Value::as_array).unwrap_or(&empty);
    let ports = doc.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        let same =
            |old: &&Value| ["port", "protocol"].iter().all(|key| old.get(key) == port.get(*key));
        let given = old_ports.iter().find(same).and_then(|old| old.get("nodePort"));
        if let Some(given) = given.filter(|_| !port.contains_key("nodePort")) {
            port.insert("nodePort".to_owned(), given.clone());
        }
    }
}

/// A Service that is no `LoadBalancer` any more has no address of one (source: service strategy,
/// `dropTypeDependentStatus`).
pub(super) fn forget_balancer(new: &mut Obj) {
    const INGRESS: &str = "/status/loadBalancer/ingress";
    let Obj::Generic(Kind::Service, generic) = new else { return };
    let stays = text(&generic.doc, "/spec/type") == Some("LoadBalancer");
    if stays || generic.doc.pointer(INGRESS).is_none() {
        return;
    }
    let doc = Arc::make_mut(&mut Arc::make_mut(generic).doc);
    if let Some(status) = doc.pointer_mut("/status/loadBalancer").and_then(Value::as_object_mut) {
        status.remove("ingress");
    }
}

/// True for Services that have a port on each node.
fn needs_ports(doc: &Value) -> bool {
    match text(doc, "/spec/type") {
        Some("NodePort") => true,
        Some("LoadBalancer") => {
            doc.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false))
        }
        Some(_) | None => false,
    }
}

impl ApiServer {
    /// A PUT of a Service, with what it needs and has not; any other request as it is.
    ///
    /// # Errors
    /// As of [`ApiServer::address`], or the Service has changed meanwhile.
    pub(super) fn addressed(
        &mut self,
        about: Op,
        old: &Obj,
        cx: &Context<'_>,
    ) -> Result<Op, ApiError> {
        if let Op::Update(mut new) = about {
            if new.kind() == Kind::Service {
                handlers::fresh(old, &new, cx)?;
                keep(old, &mut new);
                self.address(&mut new, Some(old), cx)?;
            }
            return Ok(Op::Update(new));
        }
        Ok(about)
    }

    /// Gives a new or changed Service what it needs and has not.
    ///
    /// # Errors
    /// An address or port that it asks for is outside of the range or taken, or the range is full.
    pub(super) fn address(
        &mut self,
        object: &mut Obj,
        old: Option<&Obj>,
        cx: &Context<'_>,
    ) -> Result<(), ApiError> {
        let Obj::Generic(Kind::Service, generic) = object else { return Ok(()) };
        if text(&generic.doc, "/spec/type") == Some("ExternalName") {
            return Ok(());
        }
        let entity = mix(generic.meta.ns.stable_hash(), generic.meta.name.stable_hash());
        let had = old.and_then(document).map(held).unwrap_or_default();
        let range = self.config.service_cidr;
        let mut doc = (*generic.doc).clone();
        let ports = needs_ports(&doc);
        let (ip, asked) = held(&doc);
        for port in asked.iter().filter(|port| !had.1.contains(port)) {
            self.check_port(*port)?;
        }
        if text(&doc, "/spec/clusterIP") != Some("None") && had.0.is_none() {
            let ip = self.give_ip(ip, range, entity, cx)?;
            let address = Ipv4Addr::from(ip).to_string();
            if let Some(spec) = doc.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("clusterIP".to_owned(), json!(address));
                spec.insert("clusterIPs".to_owned(), json!([address]));
                spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
                spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
            }
        }
        if ports {
            self.give_ports(&mut doc, entity, cx)?;
        }
        Arc::make_mut(generic).doc = Arc::new(doc);
        Ok(())
    }

    fn give_ip(
        &mut self,
        asked: Option<u32>,
        range: Cidr,
        entity: u64,
        cx: &Context<'_>,
    ) -> Result<u32, ApiError> {
        let band = Band::addresses(range);
        // The first address is that of `kubernetes.default`.
        self.addresses.ips.insert(band.first);
        let refused = |ip: u32, why: String| {
            let ip = Ipv4Addr::from(ip);
            let text = format!(
                "spec.clusterIPs: Invalid value: [\"{ip}\"]: failed to allocate IP {ip}: {why}"
            );
            Err(ApiError::Invalid(Sym::new(&text)))
        };
        if let Some(ip) = asked {
            if !band.holds(ip) {
                let (base, bits) = (Ipv4Addr::from(range.base), range.bits);
                let ip_text = Ipv4Addr::from(ip);
                return refused(
                    ip,
                    format!(
                        "the provided IP ({ip_text}) is not in the valid range. \
                         The range of valid IPs is {base}/{bits}"
                    ),
                );
            }
            if self.addresses.ips.contains(&ip) {
                return refused(ip, "provided IP is already allocated".to_owned());
            }
            self.addresses.ips.insert(ip);
            return Ok(ip);
        }
        let draw = |n| cx.draw(entity, Purpose("cluster IP"), 0).below(n);
        let Some(ip) = band.free(&self.addresses.ips, draw) else {
            let text = "failed to allocate a serviceIP: range is full";
            return Err(ApiError::Internal(Sym::new(text)));
        };
        self.addresses.ips.insert(ip);
        Ok(ip)
    }

    /// A port that somebody asks for must be one, and free.
    fn check_port(&self, port: u32) -> Result<(), ApiError> {
        let why = if !PORTS.contains(&port) {
            let last = PORTS.end - 1;
            format!(
                "provided port is not in the valid range. The range of valid ports is {}-{last}",
                PORTS.start
            )
        } else if self.addresses.ports.contains(&port) {
            "provided port is already allocated".to_owned()
        } else {
            return Ok(());
        };
        let text = format!("spec.ports[0].nodePort: Invalid value: {port}: {why}");
        Err(ApiError::Invalid(Sym::new(&text)))
    }

    fn give_ports(
        &mut self,
        doc: &mut Value,
        entity: u64,
        cx: &Context<'_>,
    ) -> Result<(), ApiError> {
        let local = text(doc, "/spec/externalTrafficPolicy") == Some("Local")
            && text(doc, "/spec/type") == Some("LoadBalancer");
        let addresses = &mut self.addresses;
        let mut given = 0_u64;
        let mut give = || {
            given += 1;
            let draw = |n| cx.draw(entity, Purpose("node port"), given).below(n);
            let free = Band::ports().free(&addresses.ports, draw);
            let full = "failed to allocate a nodePort: range is full";
            let port = free.ok_or(ApiError::Internal(Sym::new(full)))?;
            addresses.ports.insert(port);
            Ok::<Value, ApiError>(json!(port))
        };
        let ports = doc.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            if port.get("nodePort").and_then(Value::as_u64).unwrap_or(0) == 0 {
                port.insert("nodePort".to_owned(), give()?);
            }
        }
        if local
            && doc.pointer("/spec/healthCheckNodePort").is_none()
            && let Some(spec) = doc.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.insert("healthCheckNodePort".to_owned(), give()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::num;

    #[test]
    fn the_lower_part_is_for_those_who_choose() {
        let band = Band::addresses(Cidr { base: 0x0a00_0000, bits: 24 });
        // 254 usable: 16 for those who choose, the first one for kubernetes.default.
        assert_eq!((band.first, band.upper, band.end), (0x0a00_0001, 0x0a00_0011, 0x0a00_00ff));
        let kubeadm = Band::addresses(Cidr::SERVICES);
        assert_eq!(kubeadm.upper - kubeadm.first, 256);
        let ports = Band::ports();
        assert_eq!((ports.upper - ports.first, ports.end - ports.first), (86, 2_768));
    }

    #[test]
    fn it_is_given_away_when_the_upper_part_is_full() {
        let band = Band { first: 1, upper: 3, end: 6 };
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(n) = band.free(&taken, |size| size - 1) {
            taken.insert(n);
            given.push(n);
        }
        assert_eq!(given, [5, 3, 4, 2, 1], "all once, the lower part last");
        assert_eq!(num::u32_of(given.len()), band.end - band.first);
    }
}
