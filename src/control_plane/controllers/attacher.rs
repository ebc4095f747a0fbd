//! The external attacher that every CSI driver brings along (source: kubernetes-csi
//! `external-attacher`): a `VolumeAttachment` gets its finalizer, then the disk is attached, which
//! its status says; one that is deleted stays until the disk is detached. How long the storage
//! behind it takes is a fact of the driver.

use super::due::Due;
use super::support::{Reporter, put, put_status, reports};
use crate::api::request::{Op, Outcome};
use crate::api::storage::VolumeAttachment;
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Name, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{Purpose, SimDuration, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The attacher.
#[derive(Debug, Clone)]
pub struct Attacher {
    reporter: Reporter,
    /// When the storage is done with an attachment, and whether that is its end.
    due: Due<bool>,
    /// How often a volume has been attached or detached.
    times: FxHashMap<Name, u64>,
}

impl Default for Attacher {
    fn default() -> Self {
        let reporter = Reporter::new("csi-attacher", "csi-attacher");
        Self { reporter, due: Due::default(), times: FxHashMap::default() }
    }
}

/// The finalizer that a driver's attacher puts on its attachments (source: `pkg/controller/util.go`
/// `GetFinalizerName`).
fn finalizer(driver: Sym) -> Sym {
    Sym::new(&format!("external-attacher/{}", driver.as_str().replace('.', "-")))
}

fn attachment_at<'v>(
    name: Name,
    caches: &Cache,
    cx: &'v Context<'_>,
) -> Option<(ObjRef, &'v Arc<VolumeAttachment>)> {
    let kind = Kind::VolumeAttachment;
    let (object, found) = caches.named(cx.versions(), kind, Sym::EMPTY, name)?;
    if let Obj::VolumeAttachment(found) = found { Some((object, found)) } else { None }
}

impl Attacher {
    /// The time until the storage is done; zero once it is.
    fn wait(&mut self, of: &VolumeAttachment, end: bool, cx: &Context<'_>) -> SimDuration {
        let times = &mut self.times;
        self.due.wait(of.meta.uid, end, cx, || {
            let driver = cx.driver(of.attacher);
            let span = if end { driver.detach } else { driver.attach };
            let times = times.entry(of.meta.name).or_default();
            *times += 1;
            let purpose = Purpose(if end { "detach volume" } else { "attach volume" });
            span.sample(&mut cx.draw(of.meta.name.stable_hash(), purpose, *times))
        })
    }
}

impl Reconcile for Attacher {
    type State = ();

    // The storage is waited for between the syncs.
    reports!(10);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Obj::VolumeAttachment(attachment) = &change.value else { return };
        if change.deleted {
            self.due.forget(attachment.meta.uid);
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
        if let Some(answer) = answers.first() {
            // What has been written comes back as a change.
            return if answer.is_ok() { Next::Done } else { Next::Retry };
        }
        let Some((object, found)) = attachment_at(key.name, caches, cx) else { return Next::Done };
        let found = Arc::clone(found);
        let finalizer = finalizer(found.attacher);
        let held = found.meta.has_finalizer(finalizer.as_str());
        if found.meta.terminating() && held {
            let wait = self.wait(&found, true, cx);
            if wait > SimDuration::ZERO {
                return Next::Requeue(wait);
            }
            let op = Op::RemoveFinalizer(finalizer);
            let Key { kind, ns, name } = key;
            return Next::Call(vec![Call { kind, ns, name, target: Some(object), op }]);
        }
        if found.meta.terminating() || found.attached {
            return Next::Done;
        }
        let mut new = VolumeAttachment::clone(&found);
        if !held {
            let had = new.meta.finalizers.as_deref().unwrap_or_default().iter().copied();
            new.meta.finalizers = Some(had.chain([finalizer]).collect());
            return Next::Call(vec![put(Obj::VolumeAttachment(Arc::new(new)), object)]);
        }
        let wait = self.wait(&found, false, cx);
        if wait > SimDuration::ZERO {
            return Next::Requeue(wait);
        }
        new.attached = true;
        Next::Call(vec![put_status(Obj::VolumeAttachment(Arc::new(new)), object)])
    }
}
