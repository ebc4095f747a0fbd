//! How endpoints are packed into slices: up to a hundred each; removals never repack, additions
//! fill the slices that are written anyway, then the unchanged one that fits best, then new ones
//! (source: `staging/src/k8s.io/endpointslice/reconciler.go` `reconcileByPortMapping`, `finalize`).

use crate::api::service::{Endpoint, EndpointPort, EndpointSlice};
use crate::api::versions::ObjRef;
use crate::api::{LabelSet, Uid};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// `--max-endpoints-per-slice`.
const MOST: usize = 100;

pub(super) type Slice = (ObjRef, Arc<EndpointSlice>);

/// Endpoints with the ports that they share.
pub(super) type Group = (Vec<EndpointPort>, Vec<Endpoint>);

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) create: Vec<Group>,
    pub(super) update: Vec<(Slice, Group)>,
    pub(super) delete: Vec<Slice>,
}

/// Packs the endpoints wanted, by ports, into the slices that are there.
pub(super) fn pack(slices: &[Slice], wanted: Vec<Group>, labels: LabelSet) -> Packed {
    let mut packed = Packed::default();
    let mut kept = 0;
    for (object, slice) in slices {
        if wanted.iter().all(|(ports, _)| ports.as_slice() != &*slice.ports) {
            packed.delete.push((*object, Arc::clone(slice)));
        }
    }
    for (ports, endpoints) in wanted {
        let own: Vec<&Slice> = slices.iter().filter(|(_, s)| *s.ports == *ports).collect();
        kept += pack_ports(&own, (ports, endpoints), labels, &mut packed);
    }
    if kept == 0 && packed.create.is_empty() && packed.update.is_empty() {
        placeholder(&mut packed, labels);
    }
    // A slice that would be deleted is used again for one that would be made.
    let reused = packed.create.len().min(packed.delete.len());
    let made: Vec<_> = packed.create.drain(..reused).collect();
    let freed: Vec<Slice> = packed.delete.drain(..reused).collect();
    for ((object, slice), (ports, endpoints)) in freed.into_iter().zip(made) {
        packed.update.push(((object, slice), (ports, endpoints)));
    }
    packed
}

/// A Service always has a slice, if need be one without endpoints and ports.
fn placeholder(packed: &mut Packed, labels: LabelSet) {
    let empty =
        |s: &EndpointSlice| s.endpoints.is_empty() && s.ports.is_empty() && s.meta.labels == labels;
    match packed.delete.iter().position(|(_, s)| empty(s)) {
        Some(there) => {
            packed.delete.remove(there);
        }
        None => packed.create.push((Vec::new(), Vec::new())),
    }
}

/// The slices of one set of ports; gives how many stay as they are.
fn pack_ports(
    slices: &[&Slice],
    (ports, endpoints): Group,
    labels: LabelSet,
    packed: &mut Packed,
) -> usize {
    let order: Vec<Uid> = endpoints.iter().map(|e| e.uid).collect();
    let mut left: FxHashMap<Uid, Endpoint> = endpoints.into_iter().map(|e| (e.uid, e)).collect();
    let mut unchanged: Vec<(&Slice, Vec<Endpoint>)> = Vec::new();
    let mut changed: Vec<(&Slice, Vec<Endpoint>)> = Vec::new();
    for slice in slices {
        let stay: Vec<Endpoint> =
            slice.1.endpoints.iter().filter_map(|e| left.remove(&e.uid)).collect();
        let same = *stay == *slice.1.endpoints && slice.1.meta.labels == labels;
        if same {
            unchanged.push((slice, stay));
        } else if stay.is_empty() {
            packed.delete.push((slice.0, Arc::clone(&slice.1)));
        } else {
            changed.push((slice, stay));
        }
    }
    let mut added = order.into_iter().filter_map(|uid| left.remove(&uid)).collect::<Vec<_>>();
    // The fullest of those that are written anyway come first.
    changed.sort_by_key(|(_, list)| std::cmp::Reverse(list.len()));
    for (_, list) in &mut changed {
        let room = MOST.saturating_sub(list.len()).min(added.len());
        list.extend(added.drain(..room));
    }
    while !added.is_empty() {
        let fits = |n: usize| n + added.len() <= MOST && n > 0;
        let best = unchanged.iter().enumerate().filter(|(_, (_, list))| fits(list.len()));
        let best = best.max_by_key(|(i, (_, list))| (list.len(), std::cmp::Reverse(*i)));
        if let Some((i, _)) = best {
            let (slice, mut list) = unchanged.remove(i);
            list.append(&mut added);
            changed.push((slice, list));
        } else {
            let n = MOST.min(added.len());
            packed.create.push((ports.clone(), added.drain(..n).collect()));
        }
    }
    for ((object, slice), list) in changed {
        packed.update.push(((*object, Arc::clone(slice)), (ports.clone(), list)));
    }
    unchanged.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Meta;

    fn endpoints(range: std::ops::Range<u64>) -> Vec<Endpoint> {
        range.map(|n| Endpoint { uid: Uid(n), ready: true, ..Endpoint::default() }).collect()
    }

    fn slice(slot: u32, list: Vec<Endpoint>) -> Slice {
        let meta = Meta { ..Meta::default() };
        let slice = EndpointSlice { meta, endpoints: list.into(), ..EndpointSlice::default() };
        (ObjRef { slot, generation: 0 }, Arc::new(slice))
    }

    fn sizes(packed: &Packed) -> (Vec<usize>, Vec<(u32, usize)>, usize) {
        let created = packed.create.iter().map(|(_, e)| e.len()).collect();
        let updated = packed.update.iter().map(|((o, _), (_, e))| (o.slot, e.len())).collect();
        (created, updated, packed.delete.len())
    }

    fn packed(slices: &[Slice], wanted: Vec<Endpoint>) -> (Vec<usize>, Vec<(u32, usize)>, usize) {
        sizes(&pack(slices, vec![(Vec::new(), wanted)], LabelSet::default()))
    }

    #[test]
    fn a_hundred_endpoints_fill_a_slice() {
        assert_eq!(packed(&[], endpoints(0..250)), (vec![100, 100, 50], vec![], 0));
    }

    #[test]
    fn removals_do_not_repack() {
        let slices = [slice(0, endpoints(0..100)), slice(1, endpoints(100..150))];
        let mut left = endpoints(0..40);
        left.extend(endpoints(100..150));
        assert_eq!(packed(&slices, left), (vec![], vec![(0, 40)], 0));
    }

    #[test]
    fn additions_fill_what_is_written_anyway_then_what_fits_best() {
        let slices = [slice(0, endpoints(0..90)), slice(1, endpoints(100..150))];
        let mut all = endpoints(0..90);
        all.extend(endpoints(100..150));
        let mut grown = all.clone();
        grown.extend(endpoints(200..205));
        assert_eq!(packed(&slices, grown), (vec![], vec![(0, 95)], 0), "the fullest that has room");
        let mut changed: Vec<Endpoint> =
            all.iter().filter(|e| e.uid != Uid(100)).copied().collect();
        changed.extend(endpoints(200..205));
        assert_eq!(packed(&slices, changed), (vec![], vec![(1, 54)], 0), "written anyway");
    }

    #[test]
    fn nothing_left_leaves_a_placeholder() {
        assert_eq!(sizes(&pack(&[], Vec::new(), LabelSet::default())), (vec![0], vec![], 0));
        let full = [slice(0, endpoints(0..3))];
        let ports = vec![EndpointPort {
            name: "web".into(),
            protocol: crate::api::pod::Protocol::Tcp,
            port: 80,
        }];
        let named = EndpointSlice { ports: ports.into(), ..(*full[0].1).clone() };
        let gone = pack(&[(full[0].0, Arc::new(named))], Vec::new(), LabelSet::default());
        assert_eq!(sizes(&gone), (vec![], vec![(0, 0)], 0), "the last slice is used again");
    }
}
