//! The volume claims of `StatefulSets` (source: `ctl/statefulset/stateful_set_utils.go`,
//! `stateful_pod_control.go`): made before the pod, kept when it goes, unless the retention policy
//! gives them an owner with which they go.

use super::support::put;
use crate::api::pod::{Volume, VolumeSource};
use crate::api::request::Op;
use crate::api::workload::StatefulSet;
use crate::api::{Kind, Meta, Name, Obj, Owner, Pod};
use crate::client::{Cache, Call};
use crate::event::Context;

/// `TEMPLATE-SET-ORDINAL`.
fn name(set: &StatefulSet, template: &Obj, ordinal: i32) -> Name {
    Name::new(&format!("{}-{}-{ordinal}", template.key().1, set.meta.name))
}

/// The volumes of a pod: those of the templates are its own claims.
pub(super) fn volumes(set: &StatefulSet, ordinal: i32, given: &[Volume]) -> Vec<Volume> {
    let own = set.claims.iter().map(|template| Volume {
        name: template.key().1.sym(),
        source: VolumeSource::Claim(name(set, template, ordinal).sym(), false),
    });
    let own: Vec<Volume> = own.collect();
    let others = given.iter().filter(|v| own.iter().all(|o| o.name != v.name)).cloned();
    own.iter().cloned().chain(others).collect()
}

/// Calls that make the claims a pod lacks; or the claim that is going away and must be waited for.
pub(super) fn missing(
    set: &StatefulSet,
    ordinal: i32,
    caches: &Cache,
    cx: &Context<'_>,
) -> Result<Vec<Call>, Name> {
    let mut calls = Vec::new();
    for template in set.claims.iter() {
        let name = name(set, template, ordinal);
        let kind = Kind::PersistentVolumeClaim;
        if let Some((_, claim)) = caches.named(cx.versions(), kind, set.meta.ns, name) {
            let meta = claim.meta();
            // A claim owned by a pod goes with that pod, which is gone: a stale one.
            let stale =
                |m: &Meta| m.terminating() || m.controller().is_some_and(|o| o.kind == Kind::Pod);
            if meta.is_some_and(stale) {
                return Err(name);
            }
            continue;
        }
        let mut object = template.clone();
        if let Some(meta) = object.meta_mut() {
            let labels = set.selector.requirements.iter().filter(|r| r.values.len() == 1);
            let labels = labels.fold(meta.labels, |all, r| all.with(r.key, r.values[0]));
            *meta = Meta {
                labels,
                annotations: meta.annotations.clone(),
                owners: None,
                ..Meta::named(set.meta.ns, name)
            };
        }
        let op = Op::Create { object, generate: false };
        calls.push(Call { kind, ns: set.meta.ns, name, target: None, op });
    }
    Ok(calls)
}

/// Who should own the claims of a pod. Source: `updateClaimOwnerRefForSetAndPod`.
fn owner(set: &StatefulSet, pod: &Pod, condemned: bool) -> Option<Owner> {
    let of = |kind, meta: &Meta| Owner {
        kind,
        name: meta.name,
        uid: meta.uid,
        controller: true,
        block_owner_deletion: true,
    };
    if condemned && set.claims_go_with_pod {
        Some(of(Kind::Pod, &pod.meta))
    } else {
        set.claims_go_with_set.then(|| of(Kind::StatefulSet, &set.meta))
    }
}

/// Calls that give claims the owners that the retention policy asks for.
pub(super) fn owners<'a>(
    set: &StatefulSet,
    pods: impl Iterator<Item = (i32, &'a Pod)>,
    caches: &Cache,
    cx: &Context<'_>,
) -> Vec<Call> {
    let mut calls = Vec::new();
    if set.claims.is_empty() {
        return calls;
    }
    let last = set.ordinals_start.saturating_add(set.replicas.max(0));
    for (ordinal, pod) in pods {
        let condemned = !(set.ordinals_start..last).contains(&ordinal);
        let wanted = owner(set, pod, condemned);
        for template in set.claims.iter() {
            let name = name(set, template, ordinal);
            let kind = Kind::PersistentVolumeClaim;
            let found = caches.named(cx.versions(), kind, set.meta.ns, name);
            let Some((object, claim)) = found else { continue };
            let Some(meta) = claim.meta().filter(|m| !m.terminating()) else { continue };
            if meta.controller().map(|o| o.uid) == wanted.map(|o| o.uid) {
                continue;
            }
            let others = meta.owners.iter().flat_map(|o| o.iter()).filter(|o| !o.controller);
            let owners: Vec<Owner> = others.copied().chain(wanted).collect();
            let mut claim = claim.clone();
            if let Some(meta) = claim.meta_mut() {
                meta.owners = (!owners.is_empty()).then(|| owners.into());
            }
            calls.push(put(claim, object));
        }
    }
    calls
}
