//! The pvc-protection and pv-protection controllers (source: `ctl/volume/{pvcprotection,
//! pvprotection}`): a deleted claim stays while a pod on a node uses it, a deleted volume while it
//! is bound.

use super::persistentvolume::{claim_at, volume_at};
use super::support::{Reporter, put, reports};
use crate::api::pod::VolumeSource;
use crate::api::request::Outcome;
use crate::api::storage::{VolumePhase, keys};
use crate::api::versions::Change;
use crate::api::{Kind, Name, Obj, Pod};
use crate::client::{Cache, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// One of the two controllers.
#[derive(Debug, Clone)]
pub struct VolumeProtection {
    reporter: Reporter,
    /// What it protects.
    kind: Kind,
    /// How many live pods on nodes use a claim.
    used: FxHashMap<(Sym, Name), u32>,
}

impl VolumeProtection {
    /// pvc-protection-controller.
    #[must_use]
    pub fn claims() -> Self {
        Self::new(Kind::PersistentVolumeClaim, "pvc-protection-controller")
    }

    /// pv-protection-controller.
    #[must_use]
    pub fn volumes() -> Self {
        Self::new(Kind::PersistentVolume, "pv-protection-controller")
    }

    fn new(kind: Kind, name: &'static str) -> Self {
        Self { reporter: Reporter::new(name, name), kind, used: FxHashMap::default() }
    }
}

/// The claims a pod holds: none unless it is on a node and has not ended.
fn held(pod: Option<&Pod>) -> impl Iterator<Item = (Sym, Name)> {
    let pod = pod.filter(|p| !p.node.is_empty() && !p.terminal());
    pod.into_iter().flat_map(|pod| {
        pod.spec.volumes.iter().filter_map(|v| match v.source {
            VolumeSource::Claim(name, _) => Some((pod.meta.ns, name.into())),
            VolumeSource::Ephemeral(_) => {
                Some((pod.meta.ns, Name::new(&format!("{}-{}", pod.meta.name, v.name))))
            }
            VolumeSource::GcePd(..)
            | VolumeSource::AwsEbs(..)
            | VolumeSource::Iscsi(..)
            | VolumeSource::Rbd(..)
            | VolumeSource::ConfigMap(..)
            | VolumeSource::Secret(..)
            | VolumeSource::Csi(_)
            | VolumeSource::Other => None,
        })
    })
}

impl Reconcile for VolumeProtection {
    type State = ();

    reports!(1);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Some(pod) = change.value.as_pod() else {
            let goes = change.value.meta().is_some_and(|m| m.terminating()) && !change.deleted;
            if goes && change.value.kind() == self.kind {
                wake.push((Key::of(&change.value), SimDuration::ZERO));
            }
            return;
        };
        for claim in held((!change.deleted).then_some(&**pod)) {
            *self.used.entry(claim).or_default() += 1;
        }
        for claim in held(before.and_then(Obj::as_pod).map(|p| &**p)) {
            let n = self.used.entry(claim).or_default();
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.used.remove(&claim);
                let kind = Kind::PersistentVolumeClaim;
                wake.push((Key { kind, ns: claim.0, name: claim.1 }, SimDuration::ZERO));
            }
        }
    }

    fn ignores(&self, pod: &Pod) -> bool {
        pod.spec.volumes.is_empty()
    }

    fn sync(
        &mut self,
        key: Key,
        _state: &mut (),
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if let Some(answer) = answers.first() {
            return if answer.is_ok() { Next::Done } else { Next::Retry };
        }
        let claims = key.kind == Kind::PersistentVolumeClaim;
        let finalizer = if claims { keys::CLAIM_PROTECTION } else { keys::VOLUME_PROTECTION };
        let (object, mut new, busy) = if claims {
            let Some((object, claim)) = claim_at((key.ns, key.name), caches, cx) else {
                return Next::Done;
            };
            let busy = self.used.contains_key(&(key.ns, key.name));
            (object, Obj::PersistentVolumeClaim(Arc::clone(claim)), busy)
        } else {
            let Some((object, volume)) = volume_at(key.name, caches, cx) else {
                return Next::Done;
            };
            let busy = volume.phase == VolumePhase::Bound;
            (object, Obj::PersistentVolume(Arc::clone(volume)), busy)
        };
        let Some(meta) = new.meta_mut() else { return Next::Done };
        if busy || !meta.terminating() || !meta.has_finalizer(finalizer) {
            return Next::Done;
        }
        let others =
            meta.finalizers.iter().flat_map(|f| f.iter()).filter(|f| f.as_str() != finalizer);
        let others: Arc<[Sym]> = others.copied().collect();
        meta.finalizers = (!others.is_empty()).then_some(others);
        Next::Call(vec![put(new, object)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Meta;
    use crate::api::meta::{Deletion, Stamp};
    use crate::api::storage::{PersistentVolume, PersistentVolumeClaim};
    use crate::api::version::KubeVersion;
    use crate::api::versions::Versions;
    use crate::engine::SimTime;
    use crate::event::Shared;

    /// How many keys a change to this object wakes.
    fn woken(controller: &mut VolumeProtection, object: Obj) -> usize {
        let (kind, mut versions) = (object.kind(), Versions::default());
        versions.put(None, object, SimTime::ZERO, 1);
        let change = versions.change(kind, 0).cloned().unwrap();
        let mut shared = Shared::new(1, KubeVersion::V1_35, 0, SimDuration::ZERO);
        let mut wake = Vec::new();
        let caches = Cache::default();
        controller.on_change(&change, None, &caches, &mut shared.context(1), &mut wake);
        wake.len()
    }

    #[test]
    fn only_what_is_to_go_costs_a_sync_and_only_its_own_controller() {
        let meta = |goes: bool| Meta {
            deletion: goes.then_some(Deletion { at: Stamp(1), grace_s: 0 }),
            ..Meta::named("ns".into(), "data".into())
        };
        let claim = |goes| {
            let claim = PersistentVolumeClaim { meta: meta(goes), ..Default::default() };
            Obj::PersistentVolumeClaim(Arc::new(claim))
        };
        let volume = |goes| {
            let volume = PersistentVolume { meta: meta(goes), ..Default::default() };
            Obj::PersistentVolume(Arc::new(volume))
        };
        let (claims, volumes) = (&mut VolumeProtection::claims(), &mut VolumeProtection::volumes());
        assert_eq!([woken(claims, claim(true)), woken(volumes, volume(true))], [1, 1]);
        assert_eq!([woken(claims, claim(false)), woken(volumes, volume(false))], [0, 0]);
        assert_eq!([woken(claims, volume(true)), woken(volumes, claim(true))], [0, 0]);
    }
}
