//! Hints of `service.kubernetes.io/topology-mode: Auto`: zones share the ready endpoints in
//! proportion to the CPU of their ready nodes, unless that would overload some of them
//! (source: `staging/src/k8s.io/endpointslice/topologycache`). Where upstream takes any of several
//! zones (Go's map order), the first by name is taken.

use super::hpascale::ceil;
use super::slicepacking::{Packed, Slice};
use crate::api::node::{Node, keys};
use crate::api::pod::{ConditionType, Truth};
use crate::api::service::{Endpoint, Service};
use crate::api::versions::ObjRef;
use crate::engine::{Sym, num};
use std::cmp::Ordering;
use std::sync::Arc;

/// How much more than its share an endpoint may have to bear.
const OVERLOAD: f64 = 0.2;

/// Labels of nodes that do not count.
const EXCLUDED: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Whether a Service asks for hints.
pub(super) fn asked(service: &Service) -> bool {
    let value = |key| service.meta.annotation(key);
    let mode = value("service.kubernetes.io/topology-mode")
        .or_else(|| value("service.kubernetes.io/topology-aware-hints"));
    matches!(mode, Some("Auto" | "auto"))
}

/// Something per zone, by its name.
pub(super) type PerZone<T> = Vec<(Sym, T)>;

fn entry<T: Copy + Default>(all: &mut PerZone<T>, zone: Sym) -> &mut T {
    let at = all.binary_search_by(|(z, _)| z.cmp_text(zone)).unwrap_or_else(|at| {
        all.insert(at, (zone, T::default()));
        at
    });
    &mut all[at].1
}

fn of<T: Copy + Default>(all: &PerZone<T>, zone: Sym) -> T {
    all.iter().find(|(z, _)| *z == zone).map(|(_, value)| *value).unwrap_or_default()
}

/// What of a node bears on hints: nothing, or its zone and CPU.
pub(super) fn weight(node: &Node) -> Option<(Sym, i64)> {
    let labels = node.meta.labels;
    let ready = node.status.conditions.get(ConditionType::Ready);
    let counts = ready.is_some_and(|c| c.status == Truth::True)
        && EXCLUDED.iter().all(|key| labels.get((*key).into()).is_none());
    let zone = labels.get(keys::ZONE.into()).unwrap_or_default();
    counts.then_some((zone, node.status.allocatable.cpu_milli))
}

/// The share of each zone in the CPU of all ready nodes; none if some node does not say where it
/// is, or there are fewer than two zones.
pub(super) fn ratios(nodes: impl Iterator<Item = (Sym, i64)>) -> Option<PerZone<f64>> {
    let mut cpu: PerZone<i64> = Vec::new();
    for (zone, milli) in nodes {
        if zone.is_empty() || milli == 0 {
            return None;
        }
        *entry(&mut cpu, zone) += milli;
    }
    let all: i64 = cpu.iter().map(|(_, milli)| milli).sum();
    let share = |(zone, milli): &(Sym, i64)| (*zone, num::float(*milli) / num::float(all));
    (cpu.len() >= 2).then(|| cpu.iter().map(share).collect())
}

/// How many endpoints a zone is to have.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    most: i32,
    desired: f64,
}

/// Source: `getAllocations`; the text says why there are none.
fn shares(ratios: Option<&PerZone<f64>>, endpoints: i32) -> Result<PerZone<Share>, String> {
    let Some(ratios) = ratios else {
        return Err("Insufficient Node information: allocatable CPU or zone not specified on one \
                    or more nodes"
            .to_owned());
    };
    let zones = num::i32_of(ratios.len());
    let counts = format!("({endpoints} endpoints, {zones} zones)");
    if zones > endpoints {
        return Err(format!("Insufficient number of endpoints {counts}"));
    }
    let desired = |ratio: f64| ratio * num::float(i64::from(endpoints));
    let least = |ratio: f64| ceil(desired(ratio) * (1.0 / (1.0 + OVERLOAD)), 1);
    let all: i32 = ratios.iter().map(|(_, ratio)| least(*ratio)).sum();
    if all > endpoints {
        let why = "Minimum allocation of endpoints exceeds overload threshold";
        return Err(format!("{why} {counts}"));
    }
    let share = |(zone, ratio): &(Sym, f64)| {
        let least = least(*ratio);
        let desired = desired(*ratio).max(num::float(i64::from(least)));
        (*zone, Share { most: least + endpoints - all, desired })
    };
    Ok(ratios.iter().map(share).collect())
}

/// Slices that nothing is to be written to.
fn unchanged<'a>(packed: &Packed, slices: &'a [Slice]) -> Vec<&'a Slice> {
    let written: Vec<ObjRef> = packed
        .update
        .iter()
        .map(|((object, _), _)| *object)
        .chain(packed.delete.iter().map(|(object, _)| *object))
        .collect();
    slices.iter().filter(|(object, _)| !written.contains(object)).collect()
}

/// Hints of a slice by zone, unless they must be given anew. Source: `getHintsByZone`.
fn hinted(slice: &Slice, before: &PerZone<i32>, shares: &PerZone<Share>) -> Option<PerZone<i32>> {
    let mut found: PerZone<i32> = Vec::new();
    for endpoint in slice.1.endpoints.iter().filter(|e| e.ready) {
        if shares.iter().all(|(zone, _)| *zone != endpoint.hint_zone) {
            return None;
        }
        *entry(&mut found, endpoint.hint_zone) += 1;
    }
    let fits = |(zone, n): &(Sym, i32)| *n + of(before, *zone) <= of(shares, *zone).most;
    found.iter().all(fits).then_some(found)
}

/// A slice that is left alone so far is to be written, with its endpoints as they are.
fn write(packed: &mut Packed, slice: &Slice) {
    let content = (slice.1.ports.to_vec(), slice.1.endpoints.to_vec());
    packed.update.push(((slice.0, Arc::clone(&slice.1)), content));
}

/// Endpoints of the slices that are to be written, in their order.
fn open(packed: &mut Packed) -> impl Iterator<Item = &mut Endpoint> {
    let made = packed.create.iter_mut().flat_map(|(_, list)| list);
    made.chain(packed.update.iter_mut().flat_map(|(_, (_, list))| list))
}

/// Gives the endpoints their zones. Gives how many each zone got, or why there are no hints.
/// Source: `AddHints`.
pub(super) fn add(
    packed: &mut Packed,
    slices: &[Slice],
    ratios: Option<&PerZone<f64>>,
) -> Result<PerZone<i32>, String> {
    let still = unchanged(packed, slices);
    let ready = open(packed).filter(|e| e.ready).count()
        + still.iter().flat_map(|s| s.1.endpoints.iter()).filter(|e| e.ready).count();
    let shares = shares(ratios, num::i32_of(ready)).inspect_err(|_| remove(packed, slices))?;
    let mut given: PerZone<i32> = Vec::new();
    for slice in still {
        match hinted(slice, &given, &shares) {
            Some(hints) => hints.iter().for_each(|(zone, n)| *entry(&mut given, *zone) += n),
            None => write(packed, slice),
        }
    }
    if open(packed).any(|e| e.ready && e.zone.is_empty()) {
        remove(packed, slices);
        return Err("One or more endpoints do not have a zone specified".to_owned());
    }
    for endpoint in open(packed) {
        endpoint.hint_zone = if endpoint.ready { endpoint.zone } else { Sym::EMPTY };
        if endpoint.ready {
            *entry(&mut given, endpoint.zone) += 1;
        }
    }
    share_out(packed, &shares, &mut given);
    if given.is_empty() {
        remove(packed, slices);
        return Err("No hints allocated for zones".to_owned());
    }
    Ok(given)
}

/// The zone of which most is left, and how much.
fn most(zones: &PerZone<f64>) -> Option<(Sym, f64)> {
    let larger = |a: &&(Sym, f64), b: &&(Sym, f64)| {
        // The first of equals.
        a.1.total_cmp(&b.1).then(Ordering::Greater)
    };
    zones.iter().filter(|(_, n)| *n > 0.0).max_by(larger).copied()
}

/// Zones that have more than their share lend endpoints to those that have less.
/// Source: `getGivingAndReceivingZones`, `redistributeHints`.
fn share_out(packed: &mut Packed, shares: &PerZone<Share>, given: &mut PerZone<i32>) {
    let over = |(zone, share): &(Sym, Share)| {
        (*zone, num::float(i64::from(of(given, *zone))) - share.desired)
    };
    let mut giving: PerZone<f64> = shares.iter().map(over).collect();
    let mut receiving: PerZone<f64> = giving.iter().map(|(zone, n)| (*zone, -n)).collect();
    let (mut gives, mut receives): (PerZone<i32>, PerZone<i32>) = (Vec::new(), Vec::new());
    while let (Some((from, give)), Some((to, take))) = (most(&giving), most(&receiving)) {
        if give < 1.0 && take < 1.0 || give < 0.5 || take < 0.5 {
            break;
        }
        *entry(&mut gives, from) += 1;
        *entry(&mut giving, from) -= 1.0;
        *entry(&mut receives, to) += 1;
        *entry(&mut receiving, to) -= 1.0;
    }
    for endpoint in open(packed).filter(|e| e.ready) {
        let Some((to, left)) = receives.iter_mut().find(|(_, left)| *left > 0) else { return };
        if of(&gives, endpoint.zone) > 0 {
            *left -= 1;
            endpoint.hint_zone = *to;
            *entry(&mut gives, endpoint.zone) -= 1;
            *entry(given, endpoint.zone) -= 1;
            *entry(given, *to) += 1;
        }
    }
}

/// Takes all hints away. Source: `RemoveHintsFromSlices`.
pub(super) fn remove(packed: &mut Packed, slices: &[Slice]) {
    for slice in unchanged(packed, slices) {
        if slice.1.endpoints.iter().any(|e| !e.hint_zone.is_empty()) {
            write(packed, slice);
        }
    }
    for endpoint in open(packed) {
        (endpoint.hint_zone, endpoint.hint_node) = (Sym::EMPTY, Sym::EMPTY);
    }
}

/// True if some zone has too few endpoints for its nodes by now. Source: `serviceOverloaded`.
pub(super) fn overloaded(given: &PerZone<i32>, ratios: Option<&PerZone<f64>>) -> bool {
    let Some(ratios) = ratios else { return !given.is_empty() };
    let all: i32 = given.iter().map(|(_, n)| n).sum();
    let share = num::float(i64::from(all)) * (1.0 / (1.0 + OVERLOAD));
    !given.is_empty()
        && ratios.iter().any(|(zone, ratio)| of(given, *zone) < ceil(share * ratio, 1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Uid;

    fn endpoints(zones: &[(&str, usize)]) -> Vec<Endpoint> {
        let mut all = Vec::new();
        for (zone, n) in zones {
            for _ in 0..*n {
                let uid = Uid(all.len() as u64 + 1);
                let zone = Sym::new(zone);
                all.push(Endpoint { uid, zone, ready: true, ..Endpoint::default() });
            }
        }
        all
    }

    /// Hints of new endpoints in these zones on nodes with so much CPU.
    fn hints(cpu: &[(&str, i64)], zones: &[(&str, usize)]) -> Result<Vec<(String, i32)>, String> {
        let mut packed = Packed::default();
        packed.create.push((Vec::new(), endpoints(zones)));
        let ratios = ratios(cpu.iter().map(|(zone, milli)| (Sym::new(zone), *milli)));
        let given = add(&mut packed, &[], ratios.as_ref())?;
        let list = &packed.create[0].1;
        let told = |zone: Sym| list.iter().filter(|e| e.hint_zone == zone).count();
        if let Some((zone, n)) = given.iter().find(|(zone, n)| num::i32_of(told(*zone)) != *n) {
            return Err(format!("{zone}: {n} given, {} told", told(*zone)));
        }
        Ok(given.into_iter().map(|(zone, n)| (zone.to_string(), n)).collect())
    }

    #[test]
    fn zones_share_endpoints_by_the_cpu_of_their_nodes() {
        let even: &[(&str, i64)] = &[("a", 8000), ("b", 8000)];
        let named = |list: &[(&str, i32)]| -> Vec<(String, i32)> {
            list.iter().map(|(zone, n)| ((*zone).to_owned(), *n)).collect()
        };
        assert_eq!(hints(even, &[("a", 3), ("b", 3)]).unwrap(), named(&[("a", 3), ("b", 3)]));
        // One and a half too many are worth lending one.
        assert_eq!(hints(even, &[("a", 5), ("b", 2)]).unwrap(), named(&[("a", 4), ("b", 3)]));
        let skewed: &[(&str, i64)] = &[("a", 8000), ("b", 4000)];
        assert_eq!(hints(skewed, &[("a", 3), ("b", 3)]).unwrap(), named(&[("a", 4), ("b", 2)]));
        let why = hints(even, &[("a", 1)]).unwrap_err();
        assert_eq!(why, "Insufficient number of endpoints (1 endpoints, 2 zones)");
        let why = hints(&[("a", 1000), ("b", 1000)], &[("a", 2), ("b", 1)]).unwrap_err();
        let text = "Minimum allocation of endpoints exceeds overload threshold";
        assert_eq!(why, format!("{text} (3 endpoints, 2 zones)"));
        assert!(hints(&[("a", 1000)], &[("a", 2)]).unwrap_err().starts_with("Insufficient Node"));
        assert!(hints(even, &[("a", 2), ("", 2)]).unwrap_err().contains("zone specified"));
    }

    #[test]
    fn a_zone_with_too_few_endpoints_for_its_nodes_is_overloaded() {
        let of = |a, b| ratios([(Sym::new("a"), a), (Sym::new("b"), b)].into_iter());
        let given = vec![(Sym::new("a"), 3), (Sym::new("b"), 3)];
        assert!(!overloaded(&given, of(1000, 1000).as_ref()));
        assert!(overloaded(&given, of(3000, 1000).as_ref()), "75 % of the nodes, 50 %");
        assert!(overloaded(&given, None) && !overloaded(&Vec::new(), None));
    }
}
