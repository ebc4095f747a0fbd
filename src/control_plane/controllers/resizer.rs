//! The external resizer that a CSI driver brings along (source: kubernetes-csi `external-resizer`
//! `pkg/controller/controller.go`): a claim that asks for more than it has gets a larger disk. What
//! is in a file system grows where it is mounted: the kubelet does that, and tells the claim.

use super::due::Due;
use super::persistentvolume::{claim_at, volume_at};
use super::support::{Reporter, put, put_status, reports, text};
use crate::api::request::Outcome;
use crate::api::storage::{ClaimPhase, DiskSource, PersistentVolume, PersistentVolumeClaim};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Obj};
use crate::client::{Cache, Key, Next, Reconcile};
use crate::engine::{Purpose, SimDuration, Sym};
use crate::event::Context;
use std::sync::Arc;

/// The resizer.
#[derive(Debug, Clone)]
pub struct Resizer {
    reporter: Reporter,
    /// When the storage is done with a claim, and the size that it was asked for.
    due: Due<i64>,
}

impl Default for Resizer {
    fn default() -> Self {
        let reporter = Reporter::new("csi-resizer", "csi-resizer");
        Self { reporter, due: Due::default() }
    }
}

/// Writes down that a claim has what it asks for.
fn raised(claim: &PersistentVolumeClaim, object: ObjRef) -> Next {
    let mut new = PersistentVolumeClaim::clone(claim);
    new.status_capacity = claim.request;
    Next::Call(vec![put_status(Obj::PersistentVolumeClaim(Arc::new(new)), object)])
}

/// A claim that asks for more than it has been given.
fn asks(claim: &PersistentVolumeClaim) -> bool {
    claim.phase == ClaimPhase::Bound
        && claim.request > claim.status_capacity
        && !claim.meta.terminating()
}

impl Resizer {
    /// The time until the storage is done; zero once it is.
    fn wait(
        &mut self,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
        driver: Sym,
        cx: &Context<'_>,
    ) -> SimDuration {
        let reporter = &mut self.reporter;
        self.due.wait(claim.meta.uid, claim.request, cx, || {
            let what = format!("External resizer is resizing volume {}", volume.meta.name);
            let kind = Kind::PersistentVolumeClaim;
            reporter.normal(kind, &claim.meta, "Resizing", text(&what), cx);
            let entity = volume.meta.name.stable_hash();
            let ordinal = u64::try_from(claim.request).unwrap_or_default();
            let draw = &mut cx.draw(entity, Purpose("resize volume"), ordinal);
            cx.driver(driver).resize.sample(draw)
        })
    }
}

impl Reconcile for Resizer {
    type State = ();

    reports!(10);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Obj::PersistentVolumeClaim(claim) = &change.value else { return };
        if change.deleted || !asks(claim) {
            self.due.forget(claim.meta.uid);
        } else {
            wake.push((Key::of(&change.value), SimDuration::ZERO));
        }
    }

    fn sync(
        &mut self,
        key: Key,
        _state: &mut (),
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some((object, claim)) = claim_at((key.ns, key.name), caches, cx) else {
            return Next::Done;
        };
        let Some((at, volume)) = volume_at(claim.volume, caches, cx) else { return Next::Done };
        let (claim, volume) = (Arc::clone(claim), Arc::clone(volume));
        let DiskSource::Csi(driver, _) = volume.source else { return Next::Done };
        if !asks(&claim) {
            return Next::Done;
        }
        let kind = Kind::PersistentVolumeClaim;
        match answers.first() {
            Some(Err(_)) => return Next::Retry,
            Some(Ok(done)) if done.value.kind() == kind => {
                let what = "Resize volume succeeded";
                let reason = "VolumeResizeSuccessful";
                self.reporter.normal(kind, &claim.meta, reason, text(what), cx);
                return Next::Done;
            }
            Some(Ok(_)) if !claim.block => {
                let what = "Require file system resize of volume on node";
                let reason = "FileSystemResizeRequired";
                self.reporter.normal(kind, &claim.meta, reason, text(what), cx);
                return Next::Done;
            }
            Some(Ok(_)) => {
                return raised(&claim, object);
            }
            None => {}
        }
        if volume.capacity >= claim.request {
            // A block volume has no file system whose kubelet would write it down.
            if claim.block && claim.status_capacity < claim.request {
                return raised(&claim, object);
            }
            return Next::Done;
        }
        let wait = self.wait(&claim, &volume, driver, cx);
        if wait > SimDuration::ZERO {
            return Next::Requeue(wait);
        }
        let mut new = PersistentVolume::clone(&volume);
        new.capacity = claim.request;
        Next::Call(vec![put(Obj::PersistentVolume(Arc::new(new)), at)])
    }
}
