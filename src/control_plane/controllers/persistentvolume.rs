//! The persistentvolume controller (source: `ctl/volume/persistentvolume/pv_controller.go`): binds
//! claims and volumes to each other in four writes, asks provisioners for volumes, and keeps the
//! phases. Deprecated recycling is left out.

use super::support::{Reporter, put, put_status, reports, text};
use crate::api::request::Outcome;
use crate::api::storage::{
    AccessModes, ClaimPhase, MIGRATED, PersistentVolume, PersistentVolumeClaim, StorageClass,
    VolumePhase, bind_volume_to_claim, default_class, find_matching, keys,
};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Name, Obj, Uid};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{Grid, SimDuration, SimTime, Sym};
use crate::event::{Context, ControllerEvent, Event};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// `--pvclaimbinder-sync-period`: claims that found nothing look again.
const RESYNC: SimDuration = SimDuration::from_secs(15);

/// What a sync is doing: binding a claim and a volume, write by write.
#[derive(Debug, Clone, Default)]
pub struct Binding {
    volume: Option<Arc<PersistentVolume>>,
    claim: Option<Arc<PersistentVolumeClaim>>,
}

/// The controller.
#[derive(Debug, Clone)]
pub struct VolumeBinder {
    reporter: Reporter,
    row: u8,
    armed: bool,
    /// Unbound claims that found nothing, and what was last said about them.
    told: FxHashMap<Uid, &'static str>,
    /// Volumes by the claim they refer to.
    volumes: FxHashMap<Option<(Sym, Name)>, Vec<Name>>,
    /// Claims to look at again at the next resync.
    unbound: Vec<Key>,
}

/// A named claim, as the cache knows it.
pub(super) fn claim_at<'v>(
    (ns, name): (Sym, Name),
    caches: &Cache,
    cx: &'v Context<'_>,
) -> Option<(ObjRef, &'v Arc<PersistentVolumeClaim>)> {
    let (object, found) = caches.named(cx.versions(), Kind::PersistentVolumeClaim, ns, name)?;
    if let Obj::PersistentVolumeClaim(claim) = found { Some((object, claim)) } else { None }
}

/// A named volume, as the cache knows it.
pub(super) fn volume_at<'v>(
    name: Name,
    caches: &Cache,
    cx: &'v Context<'_>,
) -> Option<(ObjRef, &'v Arc<PersistentVolume>)> {
    let kind = Kind::PersistentVolume;
    let (object, found) = caches.named(cx.versions(), kind, Sym::EMPTY, name)?;
    if let Obj::PersistentVolume(volume) = found { Some((object, volume)) } else { None }
}

/// A class, as the cache knows it.
pub(super) fn class_at<'v>(
    name: Sym,
    caches: &Cache,
    cx: &'v Context<'_>,
) -> Option<&'v Arc<StorageClass>> {
    let kind = Kind::StorageClass;
    let (_, found) = caches.named(cx.versions(), kind, Sym::EMPTY, name.into())?;
    if let Obj::StorageClass(class) = found { Some(class) } else { None }
}

impl VolumeBinder {
    /// Keeps the lists of volumes.
    fn list(&mut self, volume: &Arc<PersistentVolume>, add: bool) {
        let key = volume.claim.map(|r| (r.ns, r.name));
        let list = self.volumes.entry(key).or_default();
        list.retain(|name| *name != volume.meta.name);
        if add {
            list.push(volume.meta.name);
        } else if list.is_empty() {
            self.volumes.remove(&key);
        }
    }

    /// The volume for a claim. Volumes with fewer access modes come first, whatever their size
    /// (source: `persistentVolumeOrderedIndex.findByClaim`).
    fn best_volume(
        &self,
        claim: &PersistentVolumeClaim,
        waits: bool,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Option<Arc<PersistentVolume>> {
        let own = self.volumes.get(&Some((claim.meta.ns, claim.meta.name)));
        let free = self.volumes.get(&None).filter(|_| !waits);
        let names = own.into_iter().chain(free).flatten();
        let mut volumes: Vec<&Arc<PersistentVolume>> = names
            .filter_map(|name| volume_at(*name, caches, cx).map(|(_, volume)| volume))
            .filter(|volume| volume.modes.has(claim.modes))
            .collect();
        let rank = |modes: AccessModes| (modes.0.count_ones(), modes);
        volumes.sort_by(|a, b| {
            let modes = rank(a.modes).cmp(&rank(b.modes));
            modes.then_with(|| a.meta.name.cmp_text(b.meta.name))
        });
        volumes
            .chunk_by(|a, b| a.modes == b.modes)
            .find_map(|same| find_matching(claim, same.iter().copied(), None, waits))
            .map(Arc::clone)
    }

    /// A controller in this row.
    #[must_use]
    pub fn new(row: u8) -> Self {
        Self {
            reporter: Reporter::new("persistent-volume-binder", "persistentvolume-controller"),
            row,
            armed: false,
            told: FxHashMap::default(),
            volumes: FxHashMap::default(),
            unbound: Vec::new(),
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        if !self.armed && !self.unbound.is_empty() {
            self.armed = true;
            let at = Grid::new(SimTime::ZERO, RESYNC).after(cx.now());
            let event = Event::Controller { controller: self.row, event: ControllerEvent::Tick };
            cx.schedule(at, event);
        }
    }

    /// Says something about a claim, once in a row.
    fn tell(
        &mut self,
        claim: &PersistentVolumeClaim,
        (warning, reason): (bool, &'static str),
        message: &str,
        cx: &Context<'_>,
    ) {
        if self.told.insert(claim.meta.uid, reason) == Some(reason) {
            return;
        }
        let kind = Kind::PersistentVolumeClaim;
        if warning {
            self.reporter.warning(kind, &claim.meta, reason, text(message), cx);
        } else {
            self.reporter.normal(kind, &claim.meta, reason, text(message), cx);
        }
    }

    /// The claim stays (or becomes) Pending; it looks again when something has changed.
    fn pending(&mut self, object: ObjRef, claim: &Arc<PersistentVolumeClaim>) -> Next {
        let key =
            Key { kind: Kind::PersistentVolumeClaim, ns: claim.meta.ns, name: claim.meta.name };
        // A claim may stand here twice; the work queue folds its keys.
        self.unbound.push(key);
        if claim.phase == ClaimPhase::Pending {
            return Next::Done;
        }
        let mut new = PersistentVolumeClaim::clone(claim);
        new.phase = ClaimPhase::Pending;
        Next::Call(vec![put_status(Obj::PersistentVolumeClaim(Arc::new(new)), object)])
    }

    /// A claim whose binding is not complete (source: `syncUnboundClaim`).
    fn sync_unbound(
        &mut self,
        (object, claim): (ObjRef, &Arc<PersistentVolumeClaim>),
        state: &mut Binding,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Next {
        if !claim.volume.is_empty() {
            return self.sync_named((object, claim), state, caches, cx);
        }
        let class = claim.class_name();
        let waits = class_at(class, caches, cx).is_some_and(|c| c.waits);
        if let Some(volume) = self.best_volume(claim, waits, caches, cx) {
            *state = Binding { volume: Some(volume), claim: Some(Arc::clone(claim)) };
            return self.bind(state, caches, cx);
        }
        if claim.class.is_none() && class.is_empty() {
            let classes = caches.list(Kind::StorageClass).iter();
            let all = classes.filter_map(|o| caches.get(cx.versions(), Kind::StorageClass, *o));
            let all = all.filter_map(|o| if let Obj::StorageClass(c) = o { Some(c) } else { None });
            if let Some(default) = default_class(all) {
                let mut new = PersistentVolumeClaim::clone(claim);
                new.class = Some(default.meta.name.sym());
                let new = Obj::PersistentVolumeClaim(Arc::new(new));
                return Next::Call(vec![put(new, object)]);
            }
        }
        if waits && claim.selected_node().is_none() {
            let what = "waiting for first consumer to be created before binding";
            self.tell(claim, (false, "WaitForFirstConsumer"), what, cx);
        } else if !class.is_empty() {
            return self.provision((object, claim), caches, cx);
        } else {
            let what = "no persistent volumes available for this claim and no storage class is set";
            self.tell(claim, (false, "FailedBinding"), what, cx);
        }
        self.pending(object, claim)
    }

    /// A claim that the user has pointed at a volume.
    fn sync_named(
        &mut self,
        (object, claim): (ObjRef, &Arc<PersistentVolumeClaim>),
        state: &mut Binding,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Next {
        let Some((_, volume)) = volume_at(claim.volume, caches, cx) else {
            return self.pending(object, claim);
        };
        if volume.claim.is_none() {
            if let Some(why) = mismatch(volume, claim) {
                let name = volume.meta.name;
                let what = format!("Cannot bind to requested volume \"{name}\": {why}");
                self.tell(claim, (true, "VolumeMismatch"), &what, cx);
                return self.pending(object, claim);
            }
        } else if !volume.refers_to(claim) {
            let what =
                format!("volume \"{}\" already bound to a different claim.", volume.meta.name);
            self.tell(claim, (true, "FailedBinding"), &what, cx);
            return self.pending(object, claim);
        }
        *state = Binding { volume: Some(Arc::clone(volume)), claim: Some(Arc::clone(claim)) };
        self.bind(state, caches, cx)
    }

    /// Asks a provisioner for a volume (source: `provisionClaim`).
    fn provision(
        &mut self,
        (object, claim): (ObjRef, &Arc<PersistentVolumeClaim>),
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Next {
        let name = claim.class_name();
        let Some(class) = class_at(name, caches, cx) else {
            let what = format!("storageclass.storage.k8s.io \"{name}\" not found");
            self.tell(claim, (true, "ProvisioningFailed"), &what, cx);
            return self.pending(object, claim);
        };
        let by = class.provisioner.as_str();
        let migrated = MIGRATED.iter().find(|(plugin, _)| *plugin == by);
        let by = migrated.map_or(by, |(_, driver)| driver);
        if by.starts_with("kubernetes.io/") {
            let what = format!("no volume plugin matched name: {by}");
            self.tell(claim, (true, "ProvisioningFailed"), &what, cx);
            return self.pending(object, claim);
        }
        if claim.meta.annotation(keys::PROVISIONER) != Some(by) {
            let mut new = PersistentVolumeClaim::clone(claim);
            new.meta.set_annotation(keys::PROVISIONER, by);
            new.meta.set_annotation(keys::BETA_PROVISIONER, by);
            return Next::Call(vec![put(Obj::PersistentVolumeClaim(Arc::new(new)), object)]);
        }
        let what = format!(
            "Waiting for a volume to be created either by the external provisioner '{by}' or \
             manually by the system administrator. If volume creation is delayed, please verify \
             that the provisioner is running and correctly registered."
        );
        self.tell(claim, (false, "ExternalProvisioning"), &what, cx);
        self.pending(object, claim)
    }

    /// The next of the four writes (source: `bind`): the volume's reference, its phase, the claim's
    /// volume, its status.
    fn bind(&mut self, state: &Binding, caches: &Cache, cx: &Context<'_>) -> Next {
        let (Some(volume), Some(claim)) = (&state.volume, &state.claim) else { return Next::Done };
        let Some((at_volume, _)) = volume_at(volume.meta.name, caches, cx) else {
            return Next::Retry;
        };
        let Some((at_claim, _)) = claim_at((claim.meta.ns, claim.meta.name), caches, cx) else {
            return Next::Done;
        };
        let (mut bound, dirty) = bind_volume_to_claim(volume, claim);
        if dirty {
            let value = Obj::PersistentVolume(Arc::new(bound));
            return Next::Call(vec![put(value, at_volume)]);
        }
        if volume.phase != VolumePhase::Bound {
            bound.phase = VolumePhase::Bound;
            let value = Obj::PersistentVolume(Arc::new(bound));
            return Next::Call(vec![put_status(value, at_volume)]);
        }
        let mut new = PersistentVolumeClaim::clone(claim);
        if new.volume != volume.meta.name {
            new.volume = volume.meta.name;
            new.meta.set_annotation(keys::BOUND_BY_CONTROLLER, "yes");
        }
        if new.meta.annotation(keys::BIND_COMPLETED).is_none() {
            new.meta.set_annotation(keys::BIND_COMPLETED, "yes");
        }
        if new != **claim {
            return Next::Call(vec![put(Obj::PersistentVolumeClaim(Arc::new(new)), at_claim)]);
        }
        new.status_modes = volume.modes;
        // One that is bound already has what its file system has (source: `updateClaimStatus`).
        if new.phase != ClaimPhase::Bound {
            new.status_capacity = volume.capacity;
        }
        new.phase = ClaimPhase::Bound;
        self.told.remove(&claim.meta.uid);
        if new == **claim {
            return Next::Done;
        }
        Next::Call(vec![put_status(Obj::PersistentVolumeClaim(Arc::new(new)), at_claim)])
    }

    /// A claim that was bound (source: `syncBoundClaim`).
    fn sync_bound(
        &mut self,
        (object, claim): (ObjRef, &Arc<PersistentVolumeClaim>),
        state: &mut Binding,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Next {
        let volume = volume_at(claim.volume, caches, cx).map(|(_, v)| v);
        if let Some(volume) = volume.filter(|v| v.claim.is_none() || v.refers_to(claim)) {
            *state = Binding { volume: Some(Arc::clone(volume)), claim: Some(Arc::clone(claim)) };
            return self.bind(state, caches, cx);
        }
        if claim.phase == ClaimPhase::Lost {
            return Next::Done;
        }
        let what = if volume.is_some() {
            (
                "ClaimMisbound",
                "Two claims are bound to the same volume, this one is bound incorrectly",
            )
        } else {
            let what = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            ("ClaimLost", what)
        };
        self.tell(claim, (true, what.0), what.1, cx);
        let mut new = PersistentVolumeClaim::clone(claim);
        new.phase = ClaimPhase::Lost;
        Next::Call(vec![put_status(Obj::PersistentVolumeClaim(Arc::new(new)), object)])
    }
}

/// Why a claim cannot have the volume it names (source: `checkVolumeSatisfyClaim`).
fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    if volume.meta.terminating() {
        Some("volume is being deleted")
    } else if volume.capacity < claim.request {
        Some("requested PV is too small")
    } else if volume.class != claim.class_name() {
        Some("storageClassName does not match")
    } else if volume.block != claim.block {
        Some("incompatible volumeMode")
    } else if !volume.modes.has(claim.modes) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// The phase a volume should be in (source: `syncVolume`); none if its claim is to settle that.
fn phase_of(volume: &PersistentVolume, caches: &Cache, cx: &Context<'_>) -> Option<VolumePhase> {
    let Some(r) = volume.claim else { return Some(VolumePhase::Available) };
    if r.uid == Uid::default() {
        return Some(VolumePhase::Available);
    }
    let claim = claim_at((r.ns, r.name), caches, cx).map(|(_, c)| c);
    match claim.filter(|c| c.meta.uid == r.uid) {
        None if volume.phase == VolumePhase::Failed => None,
        None => Some(VolumePhase::Released),
        Some(claim) if claim.volume == volume.meta.name => Some(VolumePhase::Bound),
        Some(_) => None,
    }
}

fn sync_volume(name: Name, caches: &Cache, cx: &Context<'_>) -> Option<Call> {
    let (object, volume) = volume_at(name, caches, cx)?;
    let phase = phase_of(volume, caches, cx).filter(|p| *p != volume.phase)?;
    let mut new = PersistentVolume::clone(volume);
    new.phase = phase;
    Some(put_status(Obj::PersistentVolume(Arc::new(new)), object))
}

impl Reconcile for VolumeBinder {
    type State = Binding;

    reports!(2);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        _caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let (claims, volumes) = (Kind::PersistentVolumeClaim, Kind::PersistentVolume);
        let own = Key::of(&change.value);
        if let Obj::PersistentVolumeClaim(claim) = &change.value {
            wake.push((own, SimDuration::ZERO));
            if change.deleted {
                self.told.remove(&claim.meta.uid);
            }
            if !claim.volume.is_empty() {
                let key = Key { kind: volumes, ns: Sym::EMPTY, name: claim.volume };
                wake.push((key, SimDuration::ZERO));
            }
            return;
        }
        if let Obj::PersistentVolume(volume) = &change.value {
            wake.push((own, SimDuration::ZERO));
            if let Some(Obj::PersistentVolume(old)) = before {
                self.list(old, false);
            }
            if !change.deleted {
                self.list(volume, true);
            }
            if let Some(r) = volume.claim {
                let key = Key { kind: claims, ns: r.ns, name: r.name };
                wake.push((key, SimDuration::ZERO));
            }
        }
        self.arm(cx);
    }

    fn on_tick(
        &mut self,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.armed = false;
        wake.extend(self.unbound.drain(..).map(|key| (key, SimDuration::ZERO)));
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut Binding,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if answers.iter().any(Result::is_err) {
            return Next::Retry;
        }
        if key.kind == Kind::PersistentVolume {
            let call = if answers.is_empty() { sync_volume(key.name, caches, cx) } else { None };
            return call.map_or(Next::Done, |call| Next::Call(vec![call]));
        }
        let answered = answers.iter().flatten().next().map(|success| &success.value);
        match answered {
            Some(Obj::PersistentVolume(volume)) => state.volume = Some(Arc::clone(volume)),
            Some(Obj::PersistentVolumeClaim(claim)) => {
                if state.claim.is_none() {
                    // A write of its own, not one of a binding: its delivery brings the key back.
                    return Next::Done;
                }
                state.claim = Some(Arc::clone(claim));
            }
            Some(_) | None => {
                let Some(found) = claim_at((key.ns, key.name), caches, cx) else {
                    return Next::Done;
                };
                let found = (found.0, &Arc::clone(found.1));
                let complete = found.1.meta.annotation(keys::BIND_COMPLETED).is_some();
                return if complete && !found.1.volume.is_empty() {
                    self.sync_bound(found, state, caches, cx)
                } else {
                    self.sync_unbound(found, state, caches, cx)
                };
            }
        }
        self.bind(state, caches, cx)
    }
}
