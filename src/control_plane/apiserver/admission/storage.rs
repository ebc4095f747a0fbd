//! Admission of storage objects: `DefaultStorageClass`
//! (source: `plugin/pkg/admission/storage/storageclass/setdefault`) and
//! `StorageObjectInUseProtection` (source: `.../storageobjectinuseprotection`).

use crate::api::storage::{PersistentVolume, PersistentVolumeClaim, default_class, keys};
use crate::api::{Kind, Meta, Obj};
use crate::engine::Sym;
use crate::event::Context;
use std::sync::Arc;

/// Adds a finalizer unless it is there.
fn protect(meta: &mut Meta, finalizer: &str) {
    if !meta.has_finalizer(finalizer) {
        let old = meta.finalizers.as_deref().unwrap_or_default().iter().copied();
        meta.finalizers = Some(old.chain([Sym::new(finalizer)]).collect());
    }
}

/// A new claim: it gets the default class if it names none, and is protected.
pub(super) fn claim(claim: &mut PersistentVolumeClaim, cx: &Context<'_>) {
    let named = claim.class.is_some() || claim.meta.annotation(keys::BETA_CLASS).is_some();
    if !named {
        let all = cx.versions().iter(Kind::StorageClass);
        let classes =
            all.filter_map(|(_, o)| if let Obj::StorageClass(c) = o { Some(c) } else { None });
        claim.class = default_class(classes).map(|class| class.meta.name.sym());
    }
    protect(&mut claim.meta, keys::CLAIM_PROTECTION);
}

/// A new volume: it is protected.
pub(super) fn volume(volume: &mut PersistentVolume) {
    protect(&mut volume.meta, keys::VOLUME_PROTECTION);
}

/// `kubectl apply` of a manifest leaves alone what others have set since: annotations, the class
/// that admission chose, and the binding.
pub(in crate::control_plane::apiserver) fn keep_binding(old: &Obj, new: &mut Obj) {
    match (old, new) {
        (Obj::PersistentVolumeClaim(old), Obj::PersistentVolumeClaim(new)) => {
            let new = Arc::make_mut(new);
            new.class = new.class.or(old.class);
            if new.volume.is_empty() {
                new.volume = old.volume;
            }
            keep_annotations(&old.meta, &mut new.meta);
        }
        (Obj::PersistentVolume(old), Obj::PersistentVolume(new)) => {
            let new = Arc::make_mut(new);
            new.claim = old.claim.or(new.claim);
            keep_annotations(&old.meta, &mut new.meta);
        }
        _other => {}
    }
}

fn keep_annotations(old: &Meta, new: &mut Meta) {
    for (key, value) in old.annotations.as_deref().unwrap_or_default() {
        if new.annotation(key.as_str()).is_none() {
            new.set_annotation(key.as_str(), value);
        }
    }
}
