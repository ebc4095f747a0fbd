//! The external provisioner that every CSI driver brings along (source: kubernetes-csi
//! `external-provisioner`): makes volumes for claims that ask for its driver, and deletes those
//! whose claim is gone. How long the storage behind it takes is a fact of the driver, drawn by the
//! claim's name.

use super::due::Due;
use super::persistentvolume::{claim_at, class_at, volume_at};
use super::support::{Reporter, delete, reports, text};
use crate::api::labels::{Op as LabelOp, Requirement};
use crate::api::node::keys as node_keys;
use crate::api::pod::NodeSelectorTerm;
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::storage::{
    ClaimRef, DiskSource, PersistentVolume, PersistentVolumeClaim, ReclaimPolicy, StorageClass,
    VolumePhase, keys,
};
use crate::api::versions::Change;
use crate::api::{Kind, LabelSet, Meta, Name, Obj, Uid};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::digest::mix;
use crate::engine::{Purpose, SimDuration, Sym};
use crate::event::Context;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The provisioner.
#[derive(Debug, Clone)]
pub struct Provisioner {
    reporter: Reporter,
    /// When the storage is done with a claim or volume, by identity.
    due: Due<()>,
    /// How many attachments each volume has.
    attached: FxHashMap<Name, u32>,
}

impl Default for Provisioner {
    fn default() -> Self {
        Self {
            reporter: Reporter::new("csi-provisioner", "csi-provisioner"),
            due: Due::default(),
            attached: FxHashMap::default(),
        }
    }
}

/// The driver that is to make a volume for the claim; none if nobody is asked (yet).
fn asked<'c>(
    claim: &'c PersistentVolumeClaim,
    caches: &Cache,
    cx: &Context<'_>,
) -> Option<&'c str> {
    let driver = claim.meta.annotation(keys::PROVISIONER)?;
    let class = class_at(claim.class_name(), caches, cx)?;
    let free = claim.volume.is_empty() && !claim.meta.terminating();
    (free && (!class.waits || claim.selected_node().is_some())).then_some(driver)
}

/// Labels of the claim's node, and the node label keys of the driver's topology there.
fn selected(
    claim: &PersistentVolumeClaim,
    driver: &str,
    caches: &Cache,
    cx: &Context<'_>,
) -> Option<(LabelSet, Vec<Sym>)> {
    let name = Name::new(claim.selected_node()?);
    let find = |kind| caches.named(cx.versions(), kind, Sym::EMPTY, name).map(|(_, o)| o);
    let labels = find(Kind::Node)?.as_node()?.meta.labels;
    // A driver that says nothing of its topology is taken for zonal storage, as clouds have it.
    let mut topology = vec![Sym::new(node_keys::ZONE)];
    if let Some(Obj::CSINode(csi)) = find(Kind::CSINode)
        && let Some(known) = csi.drivers.iter().find(|d| d.name.as_str() == driver)
    {
        topology.clone_from(&known.topology_keys);
    }
    Some((labels, topology))
}

/// Where the new volume can be reached: the segment of the selected node, else what the class
/// allows; none for everywhere.
fn reach(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    driver: &str,
    caches: &Cache,
    cx: &Context<'_>,
) -> Option<Arc<[NodeSelectorTerm]>> {
    let one = |key: Sym, values: Vec<Sym>| Requirement { key, op: LabelOp::In, values };
    let term = |expressions| NodeSelectorTerm { expressions, fields: Vec::new() };
    if let Some((labels, topology)) = selected(claim, driver, caches, cx) {
        let pair = |key: &Sym| labels.get(*key).map(|value| one(*key, vec![value]));
        let expressions: Vec<Requirement> = topology.iter().filter_map(pair).collect();
        return (!expressions.is_empty()).then(|| [term(expressions)].into());
    }
    let allowed = class.topologies.iter().filter(|t| !t.is_empty());
    let terms: Vec<NodeSelectorTerm> = allowed
        .map(|t| term(t.iter().map(|(key, values)| one(*key, values.clone())).collect()))
        .collect();
    (!terms.is_empty()).then(|| terms.into())
}

/// The volume for a claim (source: `Provision` of external-provisioner).
fn volume_for(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    driver: &str,
    affinity: Option<Arc<[NodeSelectorTerm]>>,
) -> PersistentVolume {
    let name = Name::new(&format!("pvc-{}", claim.meta.uid));
    let mut meta = Meta::named(Sym::EMPTY, name);
    meta.set_annotation(keys::PROVISIONED_BY, driver);
    PersistentVolume {
        meta,
        capacity: claim.request,
        modes: claim.modes,
        block: claim.block,
        class: class.meta.name.sym(),
        attributes: claim.attributes,
        reclaim: class.reclaim,
        claim: Some(ClaimRef { ns: claim.meta.ns, name: claim.meta.name, uid: claim.meta.uid }),
        affinity,
        source: DiskSource::Csi(Sym::new(driver), name.sym()),
        phase: VolumePhase::Pending,
        doc: None,
    }
}

impl Provisioner {
    /// The time until the storage is done; zero once it is.
    fn wait(
        &mut self,
        uid: Uid,
        entity: u64,
        (driver, what): (&str, &'static str),
        cx: &Context<'_>,
    ) -> SimDuration {
        self.due.wait(uid, (), cx, || {
            let span = cx.driver(Sym::new(driver)).provision;
            span.sample(&mut cx.draw(entity, Purpose(what), 0))
        })
    }

    fn make(&mut self, key: Key, answers: &[Outcome], caches: &Cache, cx: &Context<'_>) -> Next {
        let Some((_, claim)) = claim_at((key.ns, key.name), caches, cx) else { return Next::Done };
        let Some(driver) = asked(claim, caches, cx) else {
            self.due.forget(claim.meta.uid);
            return Next::Done;
        };
        let Some(class) = class_at(claim.class_name(), caches, cx) else { return Next::Done };
        let kind = Kind::PersistentVolumeClaim;
        let volume = volume_for(claim, class, driver, reach(claim, class, driver, caches, cx));
        match answers.first() {
            Some(Ok(_) | Err(ApiError::AlreadyExists)) => {
                let what = format!("Successfully provisioned volume {}", volume.meta.name);
                let reason = "ProvisioningSucceeded";
                self.reporter.normal(kind, &claim.meta, reason, text(&what), cx);
                return Next::Done;
            }
            Some(Err(_)) => return Next::Retry,
            None => {}
        }
        if volume_at(volume.meta.name, caches, cx).is_some() {
            return Next::Done;
        }
        if !self.due.waits(claim.meta.uid) {
            let name = claim.meta.full_name();
            let what = format!("External provisioner is provisioning volume for claim \"{name}\"");
            self.reporter.normal(kind, &claim.meta, "Provisioning", text(&what), cx);
        }
        let entity = mix(claim.meta.ns.stable_hash(), claim.meta.name.stable_hash());
        let wait = self.wait(claim.meta.uid, entity, (driver, "provision volume"), cx);
        if wait > SimDuration::ZERO {
            return Next::Requeue(wait);
        }
        let name = volume.meta.name;
        let op = Op::Create { object: Obj::PersistentVolume(Arc::new(volume)), generate: false };
        let kind = Kind::PersistentVolume;
        Next::Call(vec![Call { kind, ns: Sym::EMPTY, name, target: None, op }])
    }

    fn unmake(&mut self, key: Key, answers: &[Outcome], caches: &Cache, cx: &Context<'_>) -> Next {
        let Some((object, volume)) = volume_at(key.name, caches, cx) else { return Next::Done };
        match answers.first() {
            None => {}
            Some(Ok(_) | Err(ApiError::NotFound)) => return Next::Done,
            Some(Err(_)) => return Next::Retry,
        }
        if !to_delete(volume) {
            return Next::Done;
        }
        // Looked at again when it is detached; upstream tries each 1, 2, 4 s and so on.
        if self.attached.contains_key(&key.name) {
            return Next::Done;
        }
        let entity = volume.meta.name.stable_hash();
        let driver = volume.meta.annotation(keys::PROVISIONED_BY).unwrap_or_default();
        let wait = self.wait(volume.meta.uid, entity, (driver, "delete volume"), cx);
        if wait > SimDuration::ZERO {
            return Next::Requeue(wait);
        }
        Next::Call(vec![delete(Kind::PersistentVolume, &volume.meta, Some(object))])
    }
}

/// A volume that its provisioner is to delete.
fn to_delete(volume: &PersistentVolume) -> bool {
    volume.phase == VolumePhase::Released
        && volume.reclaim == ReclaimPolicy::Delete
        && volume.meta.annotation(keys::PROVISIONED_BY).is_some()
        && !volume.meta.terminating()
}

impl Reconcile for Provisioner {
    type State = ();

    // `--worker-threads` of external-provisioner.
    reports!(100);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Obj::VolumeAttachment(attachment) = &change.value {
            let name = attachment.volume;
            let n = self.attached.entry(name).or_default();
            *n = *n + u32::from(before.is_none()) - u32::from(change.deleted && *n > 0);
            if *n == 0 {
                self.attached.remove(&name);
                let kind = Kind::PersistentVolume;
                wake.push((Key { kind, ns: Sym::EMPTY, name }, SimDuration::ZERO));
            }
            return;
        }
        let due = if let Obj::PersistentVolumeClaim(claim) = &change.value {
            if change.deleted || !claim.volume.is_empty() {
                self.due.forget(claim.meta.uid);
            }
            asked(claim, caches, cx).is_some()
        } else if let Obj::PersistentVolume(volume) = &change.value {
            if change.deleted {
                self.due.forget(volume.meta.uid);
            }
            to_delete(volume)
        } else {
            false
        };
        if due && !change.deleted {
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
        if key.kind == Kind::PersistentVolume {
            self.unmake(key, answers, caches, cx)
        } else {
            self.make(key, answers, caches, cx)
        }
    }
}
