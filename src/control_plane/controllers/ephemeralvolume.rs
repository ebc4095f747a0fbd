//! Claims of generic ephemeral volumes: each pod gets its own, called `POD-VOLUME` and owned by it,
//! with which it goes (source: `ctl/volume/ephemeral/controller.go`).

use super::support::{Reporter, owned_by, reports};
use crate::api::pod::VolumeSource;
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::storage::PersistentVolumeClaim;
use crate::api::versions::Change;
use crate::api::{Kind, Meta, Name, Obj, Pod};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::SimDuration;
use crate::event::Context;
use std::sync::Arc;

/// The controller.
#[derive(Debug, Clone)]
pub struct EphemeralVolumes {
    reporter: Reporter,
}

impl Default for EphemeralVolumes {
    fn default() -> Self {
        let name = "ephemeral-volume-controller";
        Self { reporter: Reporter::new(name, name) }
    }
}

/// Whether a pod has such volumes.
fn concerns(pod: &Pod) -> bool {
    pod.spec.volumes.iter().any(|v| matches!(v.source, VolumeSource::Ephemeral(_)))
}

/// The claims a pod needs.
fn wanted(pod: &Pod) -> impl Iterator<Item = PersistentVolumeClaim> {
    pod.spec.volumes.iter().filter_map(|volume| {
        let VolumeSource::Ephemeral(template) = &volume.source else { return None };
        let template = &template.0;
        let meta = Meta {
            labels: template.meta.labels,
            annotations: template.meta.annotations.clone(),
            owners: Some(owned_by(Kind::Pod, &pod.meta)),
            ..Meta::named(pod.meta.ns, Name::new(&format!("{}-{}", pod.meta.name, volume.name)))
        };
        Some(PersistentVolumeClaim { meta, ..PersistentVolumeClaim::clone(template) })
    })
}

impl Reconcile for EphemeralVolumes {
    /// True once the claims have been asked for.
    type State = bool;

    reports!();

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Some(pod) = change.value.as_pod() {
            let key = Key::of(&change.value);
            let lacks = |claim: PersistentVolumeClaim| {
                caches.named(cx.versions(), Kind::PersistentVolumeClaim, key.ns, claim.meta.name)
            };
            if !change.deleted && !pod.meta.terminating() && wanted(pod).any(|c| lacks(c).is_none())
            {
                wake.push((key, SimDuration::ZERO));
            }
            return;
        }
        // A claim that somebody has deleted is made again.
        let owner = change.value.meta().and_then(|m| Some((m.ns, *m.controller()?)));
        if let Some((ns, owner)) = owner.filter(|(_, o)| change.deleted && o.kind == Kind::Pod) {
            wake.push((Key { kind: Kind::Pod, ns, name: owner.name }, SimDuration::ZERO));
        }
    }

    fn ignores(&self, pod: &Pod) -> bool {
        !concerns(pod)
    }

    fn sync(
        &mut self,
        key: Key,
        asked: &mut bool,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if *asked {
            let refused = |a: &Outcome| matches!(a, Err(e) if *e != ApiError::AlreadyExists);
            return if answers.iter().any(refused) { Next::Retry } else { Next::Done };
        }
        let found = caches.named(cx.versions(), Kind::Pod, key.ns, key.name);
        let Some(pod) = found.and_then(|(_, obj)| obj.as_pod()) else { return Next::Done };
        if pod.meta.terminating() {
            return Next::Done;
        }
        let kind = Kind::PersistentVolumeClaim;
        let mut calls = Vec::new();
        for claim in wanted(pod) {
            let name = claim.meta.name;
            if let Some((_, there)) = caches.named(cx.versions(), kind, key.ns, name) {
                let own = there.meta().and_then(Meta::controller).map(|o| o.uid);
                if own != Some(pod.meta.uid) {
                    // Somebody else's, or that of a pod of this name before.
                    return Next::Retry;
                }
                continue;
            }
            let object = Obj::PersistentVolumeClaim(Arc::new(claim));
            let op = Op::Create { object, generate: false };
            calls.push(Call { kind, ns: key.ns, name, target: None, op });
        }
        if calls.is_empty() {
            return Next::Done;
        }
        *asked = true;
        Next::Call(calls)
    }
}
