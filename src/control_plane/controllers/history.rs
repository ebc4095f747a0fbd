//! `ControllerRevisions`: the templates that a StatefulSet or DaemonSet has had
//! (source: `ctl/history/controller_history.go`).

use super::support::{delete, owned_by, put, template_hash};
use crate::api::request::Op;
use crate::api::versions::ObjRef;
use crate::api::workload::{ControllerRevision, PodTemplate};
use crate::api::{Kind, LabelSet, Meta, Name, Obj, Uid};
use crate::client::{Cache, Call};
use crate::engine::Sym;
use crate::event::Context;
use std::sync::Arc;

/// The label of pods and revisions that names the revision.
pub(super) const HASH_LABEL: &str = "controller-revision-hash";

/// A revision and its place.
pub(super) type Revision = (ObjRef, Arc<ControllerRevision>);

/// Revisions of an owner as the cache knows them, oldest first.
pub(super) fn of(uid: Uid, caches: &Cache, cx: &Context<'_>) -> Vec<Revision> {
    let mut all: Vec<Revision> = caches
        .owned(uid, Kind::ControllerRevision)
        .filter_map(|object| {
            let found = caches.get(cx.versions(), Kind::ControllerRevision, object)?;
            let Obj::ControllerRevision(revision) = found else { return None };
            Some((object, Arc::clone(revision)))
        })
        .collect();
    all.sort_by(|a, b| {
        let (a, b) = (&a.1, &b.1);
        let by_age = a.revision.cmp(&b.revision).then(a.meta.created.cmp(&b.meta.created));
        by_age.then_with(|| a.meta.name.cmp_text(b.meta.name))
    });
    all
}

/// Whether two templates are the same one.
pub(super) fn same(a: &Arc<PodTemplate>, b: &Arc<PodTemplate>) -> bool {
    Arc::ptr_eq(a, b)
        || a.labels == b.labels
            && a.annotations == b.annotations
            && (Arc::ptr_eq(&a.spec, &b.spec) || a.spec == b.spec)
}

/// What is to be done about the newest revision.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once per sync, taken apart at once")]
pub(super) enum Newest {
    /// It is there, as the last one.
    There(Arc<ControllerRevision>),
    /// An older one is the newest again, or there is none yet: a request brings it about.
    Write(Arc<ControllerRevision>, Call),
}

/// The revision of the present template. Source: `getStatefulSetRevisions`, `constructHistory`.
pub(super) fn newest(
    (kind, owner): (Kind, &Meta),
    template: &Arc<PodTemplate>,
    collisions: u32,
    known: &[Revision],
) -> Newest {
    let last = known.last().map_or(0, |(_, r)| r.revision);
    if let Some((object, revision)) = known.iter().rev().find(|(_, r)| same(&r.template, template))
    {
        if revision.revision == last {
            return Newest::There(Arc::clone(revision));
        }
        let renumbered =
            Arc::new(ControllerRevision { revision: last + 1, ..(**revision).clone() });
        let call = put(Obj::ControllerRevision(Arc::clone(&renumbered)), *object);
        return Newest::Write(renumbered, call);
    }
    let hash = template_hash(template, collisions);
    let name = Name::new(&format!("{}-{hash}", owner.name));
    let labels: LabelSet = template.labels.with(HASH_LABEL.into(), hash);
    let revision = Arc::new(ControllerRevision {
        meta: Meta { labels, owners: Some(owned_by(kind, owner)), ..Meta::named(owner.ns, name) },
        revision: last + 1,
        template: Arc::clone(template),
        doc: None,
    });
    let object = Obj::ControllerRevision(Arc::clone(&revision));
    let op = Op::Create { object, generate: false };
    let (ns, target) = (owner.ns, None);
    let call = Call { kind: Kind::ControllerRevision, ns, name, target, op };
    Newest::Write(revision, call)
}

/// The value of the hash label of a revision.
pub(super) fn hash(revision: &ControllerRevision) -> Sym {
    revision.meta.labels.get(HASH_LABEL.into()).unwrap_or_default()
}

/// Deletes the oldest revisions that nothing uses, beyond a limit. Source: `truncateHistory`.
pub(super) fn truncate(
    known: &[Revision],
    limit: i32,
    live: impl Fn(&ControllerRevision) -> bool,
) -> Vec<Call> {
    let idle: Vec<&Revision> = known.iter().filter(|(_, r)| !live(r)).collect();
    let excess = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    let gone = idle.into_iter().take(excess);
    gone.map(|(object, r)| delete(Kind::ControllerRevision, &r.meta, Some(*object))).collect()
}
