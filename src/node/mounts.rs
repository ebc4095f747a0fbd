//! Volumes of pods that are more than a directory: disks that have to be attached, ConfigMaps and
//! Secrets that have to be there. A pod's containers wait until all are mounted.
//!
//! A disk is first *in use*: the node's status says so with the next turn of its loop, which the
//! attach-detach controller waits for in vain before it ever detaches it. Then the kubelet looks at
//! `volumesAttached` of its node, and mounts what is there. Each attempt that fails is tried again
//! after a back-off, whatever the pod's sync does; the sync gives up after 2 min 3 s, tells so, and
//! begins anew. Sources: `pkg/kubelet/volumemanager`, `operationexecutor/operation_generator.go`.

use super::NodeAgent;
use super::configs;
use super::kubelet::{event, mounted, trace};
use super::worker::{Stage, Worker};
use crate::api::kevent::Text;
use crate::api::pod::VolumeSource;
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::storage::{DiskSource, unique_name};
use crate::api::{Kind, Name, Obj};
use crate::client::retry::operation_back_off;
use crate::engine::digest::mix;
use crate::engine::intern::Known;
use crate::engine::{Grid, Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Context, NodeEvent};
use smallvec::SmallVec;
use std::sync::Arc;

pub(super) static FAILED_MOUNT: Known = Known::new("FailedMount");

/// The reconciler's period (source: `reconcilerLoopSleepPeriod`).
const LOOP: SimDuration = SimDuration::from_millis(100);
/// How often a sync looks whether its volumes are mounted, and for how long (source:
/// `podAttachAndMountRetryInterval`, `podAttachAndMountTimeout`).
const POLL: SimDuration = SimDuration::from_millis(300);
const PATIENCE: SimDuration = SimDuration::from_secs(123);
/// A sync that has failed comes again after this, and up to half as much more (source:
/// `pod_workers.go` `completeWork`).
const FAILED_SYNC: SimDuration = SimDuration::from_secs(10);
/// What another pod of the node has mounted is only bound to one more place.
const BIND: SimDuration = SimDuration::from_millis(50);

/// Tokens of answers to what is asked for volumes; below the number of the question.
const ASKED: u32 = 1 << 30;

/// What a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A disk, as the node's status calls it.
    Disk(Sym),
    /// A claim that is not bound.
    Unbound(Name),
    /// A ConfigMap or Secret; true if it may be missing.
    Config(Kind, Sym, bool),
}

/// How far a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It will be tried, or tried again.
    Waits,
    /// The API server has been asked.
    Asks,
    /// It is being mounted.
    Mounts,
    /// It is there.
    There,
}

/// A volume of a pod.
#[derive(Debug, Clone, Copy)]
struct Wish {
    volume: u16,
    what: What,
    turn: Turn,
    failures: u32,
    /// Its turn comes no earlier.
    due: SimTime,
    /// A sync to come brings new content.
    refreshing: bool,
}

/// The volumes of a pod.
#[derive(Debug, Clone)]
pub(super) struct Mounts {
    wishes: SmallVec<[Wish; 1]>,
    /// Since when its sync waits for them; none while it waits to try again.
    since: Option<SimTime>,
    /// The sync has looked in vain.
    polled: bool,
    /// When it gives up, or tries again, once that is armed.
    due: Option<SimTime>,
    rounds: u64,
    /// The last of its syncs that has been reckoned, and its number.
    synced: (SimTime, u64),
}

/// What is known of a disk's place on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    /// Nothing is there.
    Away,
    /// It is being mounted, or is.
    Held(bool),
    /// It is being unmounted.
    Leaves,
}

/// A disk that pods of the node want or have.
#[derive(Debug, Clone)]
struct Disk {
    number: u32,
    name: Sym,
    driver: Sym,
    pods: SmallVec<[u32; 1]>,
    device: Device,
    /// The node's status says that it is in use.
    told: bool,
}

/// The disks of a node, and what is asked for volumes.
#[derive(Debug, Clone, Default)]
pub(super) struct Disks {
    list: Vec<Disk>,
    next: u32,
    questions: Vec<Option<(u32, u16)>>,
    /// ConfigMaps and Secrets to be watched from now on.
    heeds: Vec<(Kind, Sym, Name)>,
}

/// Those that are to be watched from now on.
pub(super) fn take_heeds(disks: &mut Disks) -> Vec<(Kind, Sym, Name)> {
    std::mem::take(&mut disks.heeds)
}

/// The next sync of a pod by its own clock: a minute after the last one and up to half as much more
/// (source: `pod_workers.go` `completeWork`).
fn next_sync(mounts: &mut Mounts, entity: u64, cx: &Context<'_>) -> SimTime {
    const RESYNC: SimDuration = SimDuration::from_secs(60);
    let (mut at, mut n) = mounts.synced;
    while at <= cx.now() {
        let extra = cx.draw(entity, Purpose("pod resync"), n).below(RESYNC.0 / 2);
        (at, n) = (at + RESYNC + SimDuration(extra), n + 1);
    }
    mounts.synced = (at, n);
    at
}

/// What of a pod's volumes has changed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Changed {
    /// A ConfigMap or Secret.
    Config(Kind, Sym),
    /// A disk, by the name that the node's status has for it.
    Disk(Sym),
}

/// Something has changed: the volumes of a pod that show it, each with the wait for the sync that
/// brings it there, unless one will already.
pub(super) fn outdated(
    node: &mut NodeAgent,
    id: u32,
    changed: Changed,
    cx: &Context<'_>,
) -> SmallVec<[(u16, SimDuration); 1]> {
    let entity = node.workers.get(id).map_or(0, |w| w.name.stable_hash());
    let reconciler = turns(node, cx);
    let mut found = SmallVec::new();
    let Some(mounts) = mounts_of(node, id) else { return found };
    for i in 0..mounts.wishes.len() {
        let wish = &mut mounts.wishes[i];
        let shows = match (wish.what, changed) {
            (What::Config(k, n, _), Changed::Config(kind, name)) => (k, n) == (kind, name),
            (What::Disk(n), Changed::Disk(name)) => n == name,
            (What::Config(..) | What::Disk(_) | What::Unbound(_), _) => false,
        };
        if shows && wish.turn == Turn::There && !std::mem::replace(&mut wish.refreshing, true) {
            let volume = wish.volume;
            let at = reconciler.after(next_sync(mounts, entity, cx));
            found.push((volume, at.since(cx.now())));
        }
    }
    found
}

/// A sync has come by: whether it had something to bring, and whether the volume is a disk.
pub(super) fn refreshed(node: &mut NodeAgent, id: u32, volume: u16) -> (bool, bool) {
    wish_of(node, id, volume).map_or((false, false), |w| {
        (std::mem::replace(&mut w.refreshing, false), matches!(w.what, What::Disk(_)))
    })
}

/// The kubelet watches an object from now on.
pub(super) fn heed(node: &mut NodeAgent, of: (Kind, Sym, Name)) {
    let heeds = &mut node.disks.get_or_insert_default().heeds;
    if !heeds.contains(&of) {
        heeds.push(of);
    }
}

/// `volumesInUse` of the node's status.
pub(super) fn in_use(node: &NodeAgent) -> Arc<[Sym]> {
    let disks = node.disks.iter().flat_map(|d| &d.list);
    disks.map(|d| d.name).collect()
}

/// True while the disk is mounted.
pub(super) fn has_mounted(node: &NodeAgent, name: Sym) -> bool {
    let mut disks = node.disks.iter().flat_map(|d| &d.list);
    disks.any(|d| d.name == name && d.device == Device::Held(true))
}

/// The node's status has said it.
pub(super) fn told(node: &mut NodeAgent) {
    for disk in node.disks.iter_mut().flat_map(|d| &mut d.list) {
        disk.told = true;
    }
}

/// True for the token of an answer to what was asked for a volume.
pub(super) fn asked(token: u32) -> bool {
    token & super::kubelet::FINAL_PATCH == 0 && token & ASKED != 0
}

/// True while the pod waits for some of its volumes.
pub(super) fn wanting(worker: &mut Worker) -> bool {
    let Some(mounts) = worker.rare.as_deref_mut().and_then(|r| r.mounts.as_deref_mut()) else {
        return false;
    };
    mounts.polled = true;
    mounts.wishes.iter().any(|w| w.turn != Turn::There)
}

fn mounts_of(node: &mut NodeAgent, id: u32) -> Option<&mut Mounts> {
    node.workers.get_mut(id)?.rare.as_deref_mut()?.mounts.as_deref_mut()
}

fn wish_of(node: &mut NodeAgent, id: u32, volume: u16) -> Option<&mut Wish> {
    mounts_of(node, id)?.wishes.iter_mut().find(|w| w.volume == volume)
}

/// The pod, while it waits for its volumes.
fn waiting(node: &NodeAgent, id: u32) -> Option<&Worker> {
    node.workers.get(id).filter(|w| w.stage == Stage::Mounting)
}

fn disk_of(node: &mut NodeAgent, name: Sym) -> Option<&mut Disk> {
    node.disks.as_deref_mut()?.list.iter_mut().find(|d| d.name == name)
}

/// The first turn of the reconciler after a span.
fn turn(node: &NodeAgent, after: SimDuration, cx: &Context<'_>) -> SimDuration {
    turns(node, cx).after(cx.now() + after).since(cx.now())
}

/// The turns of the reconciler.
fn turns(node: &NodeAgent, cx: &Context<'_>) -> Grid {
    let entity = node.setup.name.stable_hash();
    Grid::drawn(cx.draws(), entity, Purpose("volume reconciler"), LOOP)
}

/// What a volume of a pod is; none for what is there at once: directories, files of the node,
/// shares in the network. The kubelet asks for claim and volume each time (source:
/// `desired_state_of_world_populator.go` `createVolumeSpec`); both are there, or the pod would not
/// have been bound.
fn what(worker: &Worker, volume: usize, cx: &Context<'_>) -> Option<(What, Sym)> {
    let of = &worker.spec.volumes[volume];
    let disk = |source: DiskSource| {
        let (driver, handle) = source.disk()?;
        let versions = cx.versions();
        let object = versions.find(Kind::CSIDriver, Sym::EMPTY, driver.into());
        let known = object.and_then(|o| versions.current(Kind::CSIDriver, o));
        let attaches = !matches!(known, Some(Obj::CSIDriver(d)) if !d.attaches);
        attaches.then(|| (What::Disk(unique_name(driver, handle)), driver))
    };
    match of.source {
        VolumeSource::Claim(name, _) => of_claim(worker.ns, name.into(), disk, cx),
        VolumeSource::Ephemeral(_) => {
            let claim = Name::new(&format!("{}-{}", worker.name, of.name));
            of_claim(worker.ns, claim, disk, cx)
        }
        VolumeSource::AwsEbs(id, _) => disk(DiskSource::InTree("kubernetes.io/aws-ebs", id)),
        VolumeSource::GcePd(id, _) => disk(DiskSource::InTree("kubernetes.io/gce-pd", id)),
        VolumeSource::ConfigMap(name, optional) => {
            Some((What::Config(Kind::ConfigMap, name, optional), Sym::EMPTY))
        }
        VolumeSource::Secret(name, optional) => {
            Some((What::Config(Kind::Secret, name, optional), Sym::EMPTY))
        }
        VolumeSource::Iscsi(..)
        | VolumeSource::Rbd(..)
        | VolumeSource::Csi(_)
        | VolumeSource::Other => None,
    }
}

fn of_claim(
    ns: Sym,
    name: Name,
    disk: impl Fn(DiskSource) -> Option<(What, Sym)>,
    cx: &Context<'_>,
) -> Option<(What, Sym)> {
    let versions = cx.versions();
    let find = |kind, ns, name| {
        let object = versions.find(kind, ns, name)?;
        versions.current(kind, object)
    };
    let claim = find(Kind::PersistentVolumeClaim, ns, name);
    if let Some(Obj::PersistentVolumeClaim(claim)) = claim
        && claim.fully_bound()
        && let Some(Obj::PersistentVolume(volume)) =
            find(Kind::PersistentVolume, Sym::EMPTY, claim.volume)
    {
        return disk(volume.source);
    }
    Some((What::Unbound(name), Sym::EMPTY))
}

/// A pod has been admitted: what its volumes need is begun.
pub(super) fn begin(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id).filter(|w| !w.spec.volumes.is_empty()) else { return };
    let found = (0..worker.spec.volumes.len()).filter_map(|i| Some((i, what(worker, i, cx)?)));
    let found: SmallVec<[(usize, (What, Sym)); 2]> = found.collect();
    if found.is_empty() {
        return;
    }
    let mut wishes = SmallVec::new();
    for (i, (what, driver)) in found {
        if let What::Disk(name) = what {
            enlist(node, id, name, driver, cx);
        }
        let volume = u16::try_from(i).unwrap_or(u16::MAX);
        let wait = turn(node, SimDuration::ZERO, cx);
        wishes.push(Wish {
            volume,
            what,
            turn: Turn::Waits,
            failures: 0,
            due: cx.now() + wait,
            refreshing: false,
        });
        node.schedule(wait, NodeEvent::Volume { pod: id, volume, mounted: false }, cx);
    }
    let since = Some(cx.now());
    let mounts =
        Mounts { wishes, since, polled: false, due: None, rounds: 0, synced: (cx.now(), 0) };
    if let Some(worker) = node.workers.get_mut(id) {
        worker.rare_mut().mounts = Some(Box::new(mounts));
    }
}

/// A pod wants a disk: it is in use from now on.
fn enlist(node: &mut NodeAgent, id: u32, name: Sym, driver: Sym, cx: &mut Context<'_>) {
    let disks = node.disks.get_or_insert_default();
    if let Some(disk) = disks.list.iter_mut().find(|d| d.name == name) {
        if !disk.pods.contains(&id) {
            disk.pods.push(id);
        }
        return;
    }
    let number = disks.next;
    disks.next += 1;
    let pods = SmallVec::from_slice(&[id]);
    disks.list.push(Disk { number, name, driver, pods, device: Device::Away, told: false });
    node.arm_status(cx);
}

/// A volume's turn has come.
pub(super) fn attempt(node: &mut NodeAgent, id: u32, volume: u16, cx: &mut Context<'_>) {
    if !node.kubelet_up || waiting(node, id).is_none() {
        return;
    }
    let now = cx.now();
    let due = |w: &&mut Wish| w.turn == Turn::Waits && w.due <= now;
    let Some(mut wish) = wish_of(node, id, volume).filter(due).copied() else { return };
    if let What::Unbound(_) = wish.what {
        let Some(worker) = waiting(node, id) else { return };
        match what(worker, usize::from(volume), cx) {
            None => return there(node, id, volume, cx),
            Some((What::Unbound(_), _)) => return failed(node, id, volume, cx),
            Some((now, driver)) => {
                wish.what = now;
                if let Some(wish) = wish_of(node, id, volume) {
                    wish.what = now;
                }
                if let What::Disk(name) = now {
                    enlist(node, id, name, driver, cx);
                }
            }
        }
    }
    match wish.what {
        What::Disk(name) => attempt_disk(node, id, volume, name, cx),
        What::Config(kind, name, _) => {
            let Some(ns) = waiting(node, id).map(|w| w.ns) else { return };
            ask(node, (id, volume), (kind, ns, name.into()), cx);
        }
        What::Unbound(_) => {}
    }
}

fn attempt_disk(node: &mut NodeAgent, id: u32, volume: u16, name: Sym, cx: &mut Context<'_>) {
    let Some(disk) = disk_of(node, name) else { return };
    match disk.device {
        Device::Held(true) => mount(node, id, volume, BIND, cx),
        Device::Away if disk.told => {
            let own = Name::new(node.setup.name.as_str());
            ask(node, (id, volume), (Kind::Node, Sym::EMPTY, own), cx);
        }
        // Not told yet, or something is being done with it.
        Device::Away | Device::Held(false) | Device::Leaves => failed(node, id, volume, cx),
    }
}

/// Asks the API server for an object.
fn ask(
    node: &mut NodeAgent,
    who: (u32, u16),
    (kind, ns, name): (Kind, Sym, Name),
    cx: &mut Context<'_>,
) {
    if let Some(wish) = wish_of(node, who.0, who.1) {
        wish.turn = Turn::Asks;
    }
    let questions = &mut node.disks.get_or_insert_default().questions;
    let free = questions.iter().position(Option::is_none).unwrap_or_else(|| {
        questions.push(None);
        questions.len() - 1
    });
    questions[free] = Some(who);
    let token = ASKED | num::u32_of(free);
    node.submit(kind, ns, name, None, Op::Get, Some(token), cx);
}

/// The answer, or none will come.
pub(super) fn answered(
    node: &mut NodeAgent,
    token: u32,
    outcome: Option<&Outcome>,
    cx: &mut Context<'_>,
) {
    let question = node.disks.as_deref_mut().map(|d| &mut d.questions);
    let question = question.and_then(|q| q.get_mut(num::index(u64::from(token & !ASKED))));
    let Some((id, volume)) = question.and_then(Option::take) else { return };
    if waiting(node, id).is_none() {
        return;
    }
    let Some(wish) = wish_of(node, id, volume).filter(|w| w.turn == Turn::Asks) else { return };
    wish.turn = Turn::Waits;
    let what = wish.what;
    let object = match outcome {
        Some(Ok(success)) => Some(Ok(&success.value)),
        Some(Err(error)) => Some(Err(*error)),
        None => None,
    };
    match (what, object) {
        (What::Disk(name), Some(Ok(Obj::Node(own)))) => {
            looked(node, (id, volume), name, &own.status, cx);
        }
        (What::Config(kind, name, optional), Some(found)) => {
            configured(node, (id, volume), (kind, name, optional), found, cx);
        }
        (What::Disk(_) | What::Unbound(_) | What::Config(..), _) => failed(node, id, volume, cx),
    }
}

/// The kubelet has looked at its node: the disk is there, or not yet.
fn looked(
    node: &mut NodeAgent,
    (id, volume): (u32, u16),
    name: Sym,
    status: &crate::api::node::NodeStatus,
    cx: &mut Context<'_>,
) {
    let slow = u64::from(node.slow);
    let Some(disk) = disk_of(node, name) else { return };
    if !status.volumes_in_use.contains(&name) {
        // The status has got lost.
        disk.told = false;
        node.arm_status(cx);
        return failed(node, id, volume, cx);
    }
    if disk.device != Device::Away || !status.volumes_attached.contains(&name) {
        return failed(node, id, volume, cx);
    }
    disk.device = Device::Held(false);
    let span = cx.driver(disk.driver).mount;
    let entity = mix(name.stable_hash(), cx.now().0);
    let span = span.sample(&mut cx.draw(entity, Purpose("mount disk"), 0));
    trace(node, id, "disk attached, it is being mounted", cx);
    mount(node, id, volume, span.times(slow), cx);
}

fn mount(node: &mut NodeAgent, id: u32, volume: u16, span: SimDuration, cx: &mut Context<'_>) {
    if let Some(wish) = wish_of(node, id, volume) {
        wish.turn = Turn::Mounts;
    }
    node.schedule(span, NodeEvent::Volume { pod: id, volume, mounted: true }, cx);
}

/// A ConfigMap or Secret is there, or is missing.
fn configured(
    node: &mut NodeAgent,
    (id, volume): (u32, u16),
    (kind, name, optional): (Kind, Sym, bool),
    found: Result<&Obj, ApiError>,
    cx: &mut Context<'_>,
) {
    let missing = matches!(found, Err(ApiError::NotFound));
    let Some(worker) = node.workers.get(id) else { return };
    if found.is_ok() || missing && optional {
        let of = (kind, worker.ns, name.into());
        heed(node, of);
    }
    let Some(worker) = node.workers.get(id) else { return };
    let absent = found.ok().and_then(|object| absent_key(worker, volume, object));
    let why = match (found, absent) {
        (Ok(_), None) => return there(node, id, volume, cx),
        (Ok(_), Some(_)) if optional => return there(node, id, volume, cx),
        (Ok(_), Some(key)) => {
            let word = if kind == Kind::Secret { "secret" } else { "config" };
            format!("references non-existent {word} key: {key}")
        }
        (Err(_), _) if missing && optional => return there(node, id, volume, cx),
        (Err(_), _) if missing => {
            format!("{} \"{name}\" not found", kind.name().to_lowercase())
        }
        (Err(error), _) => error.message(kind, name.into()),
    };
    let called = worker.spec.volumes[usize::from(volume)].name;
    let text = format!("MountVolume.SetUp failed for volume \"{called}\" : {why}");
    failed(node, id, volume, cx);
    event(node, id, &FAILED_MOUNT, Text::Plain(Sym::new(&text)), cx);
}

/// A key that the volume names and the object lacks.
fn absent_key(worker: &Worker, volume: u16, object: &Obj) -> Option<String> {
    let doc = worker.spec.doc.as_deref()?.get("volumes")?.get(usize::from(volume))?;
    let source = doc.get("configMap").or_else(|| doc.get("secret"))?;
    let keys = source.get("items")?.as_array()?.iter().filter_map(|i| i.get("key")?.as_str());
    keys.filter(|key| !configs::has_key(object, key)).map(str::to_owned).next()
}

/// A volume has been mounted.
pub(super) fn done(node: &mut NodeAgent, id: u32, volume: u16, cx: &mut Context<'_>) {
    let Some(wish) = wish_of(node, id, volume).filter(|w| w.turn == Turn::Mounts) else { return };
    if let What::Disk(name) = wish.what
        && let Some(disk) = disk_of(node, name)
        && disk.device == Device::Held(false)
    {
        disk.device = Device::Held(true);
    }
    configs::grow(node, id, volume, cx);
    there(node, id, volume, cx);
}

/// A volume is there: if it is the last one, the sync sees it when it looks next.
fn there(node: &mut NodeAgent, id: u32, volume: u16, cx: &mut Context<'_>) {
    let Some(wish) = wish_of(node, id, volume) else { return };
    wish.turn = Turn::There;
    let Some(mounts) = mounts_of(node, id) else { return };
    if mounts.wishes.iter().any(|w| w.turn != Turn::There) || !mounts.polled {
        return;
    }
    if let Some(since) = mounts.since {
        let looks = Grid::new(since, POLL).after(cx.now());
        node.schedule(looks.since(cx.now()), NodeEvent::Mounted { pod: id }, cx);
    }
}

/// An attempt has failed: the next one comes after the back-off.
fn failed(node: &mut NodeAgent, id: u32, volume: u16, cx: &mut Context<'_>) {
    let Some(failures) = wish_of(node, id, volume).map(|w| w.failures) else { return };
    let wait = turn(node, operation_back_off(failures), cx);
    if let Some(wish) = wish_of(node, id, volume) {
        (wish.turn, wish.failures, wish.due) = (Turn::Waits, failures + 1, cx.now() + wait);
    }
    node.schedule(wait, NodeEvent::Volume { pod: id, volume, mounted: false }, cx);
    let Some(mounts) = mounts_of(node, id).filter(|m| m.due.is_none()) else { return };
    if let Some(since) = mounts.since {
        mounts.due = Some(since + PATIENCE);
        let wait = (since + PATIENCE).since(cx.now());
        node.schedule(wait, NodeEvent::VolumesLate { pod: id }, cx);
    }
}

/// A sync has waited as long as it does, or the next one begins.
pub(super) fn late(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    if !node.kubelet_up || waiting(node, id).is_none() {
        return;
    }
    let now = cx.now();
    let due = |m: &&mut Mounts| m.due.is_some_and(|due| due <= now);
    let Some(mounts) = mounts_of(node, id).filter(due) else { return };
    let begins = mounts.since.is_none();
    if !begins && mounts.wishes.iter().all(|w| w.turn == Turn::There) {
        return;
    }
    mounts.rounds += 1;
    let round = mounts.rounds;
    mounts.since = begins.then_some(now);
    let wait = if begins {
        PATIENCE
    } else {
        let entity = node.workers.get(id).map_or(0, |w| w.name.stable_hash());
        let extra = cx.draw(entity, Purpose("failed volumes"), round).below(FAILED_SYNC.0 / 2);
        tell_late(node, id, cx);
        FAILED_SYNC + SimDuration(extra)
    };
    if let Some(mounts) = mounts_of(node, id) {
        mounts.due = Some(now + wait);
    }
    node.schedule(wait, NodeEvent::VolumesLate { pod: id }, cx);
    if begins {
        mounted(node, id, cx);
    }
}

fn tell_late(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(worker) = node.workers.get(id) else { return };
    let Some(mounts) = worker.rare().and_then(|r| r.mounts.as_deref()) else { return };
    let called = |w: &Wish| worker.spec.volumes[usize::from(w.volume)].name.as_str();
    let list = |keep: &dyn Fn(&Wish) -> bool| {
        let names: Vec<&str> = mounts.wishes.iter().filter(|w| keep(w)).map(called).collect();
        names.join(" ")
    };
    let unmounted = list(&|w| w.turn != Turn::There);
    let unbound = list(&|w| matches!(w.what, What::Unbound(_)));
    let text = format!(
        "Unable to attach or mount volumes: unmounted volumes=[{unmounted}], unattached volumes=[], \
         failed to process volumes=[{unbound}]: context deadline exceeded"
    );
    event(node, id, &FAILED_MOUNT, Text::Plain(Sym::new(&text)), cx);
    trace(node, id, "the sync gives up waiting for volumes", cx);
}

/// A pod has stopped: disks that no other pod of the node wants are unmounted.
pub(super) fn release(node: &mut NodeAgent, id: u32, cx: &mut Context<'_>) {
    let Some(disks) = node.disks.as_deref_mut() else { return };
    let mut leaving: SmallVec<[(u32, Sym); 1]> = SmallVec::new();
    let before = disks.list.len();
    for disk in disks.list.iter_mut().filter(|d| d.pods.contains(&id)) {
        disk.pods.retain(|pod| *pod != id);
        if disk.pods.is_empty() && matches!(disk.device, Device::Held(_)) {
            disk.device = Device::Leaves;
            leaving.push((disk.number, disk.driver));
        }
    }
    disks.list.retain(|d| !(d.pods.is_empty() && d.device == Device::Away));
    let fewer = disks.list.len() < before;
    for (disk, driver) in leaving {
        let span = cx.driver(driver).unmount;
        let entity = mix(u64::from(node.index), cx.now().0);
        let draw = &mut cx.draw(entity, Purpose("unmount disk"), u64::from(disk));
        let span = span.sample(draw).times(u64::from(node.slow));
        let wait = turn(node, SimDuration::ZERO, cx) + span;
        node.schedule(wait, NodeEvent::Unmounted { disk }, cx);
    }
    if fewer {
        node.arm_status(cx);
    }
}

/// A disk has been unmounted: the node's status says so with the next turn of its loop.
pub(super) fn unmounted(node: &mut NodeAgent, number: u32, cx: &mut Context<'_>) {
    let Some(disks) = node.disks.as_deref_mut() else { return };
    let Some(at) = disks.list.iter().position(|d| d.number == number) else { return };
    if disks.list[at].pods.is_empty() {
        disks.list.remove(at);
        node.arm_status(cx);
    } else {
        disks.list[at].device = Device::Away;
    }
}

/// The kubelet has restarted: whatever it had asked for is asked again.
pub(super) fn resume(node: &mut NodeAgent, cx: &mut Context<'_>) {
    let Some(disks) = node.disks.as_deref_mut() else { return };
    disks.questions.clear();
    for disk in &mut disks.list {
        disk.told = false;
    }
    if !disks.list.is_empty() {
        node.arm_status(cx);
    }
    let now = cx.now();
    for id in node.workers.ids() {
        if waiting(node, id).is_none() {
            heed_again(node, id);
            continue;
        }
        let Some(mounts) = mounts_of(node, id) else { continue };
        (mounts.since, mounts.polled, mounts.due) = (Some(now), true, Some(now + PATIENCE));
        let mut again: SmallVec<[u16; 1]> = SmallVec::new();
        for wish in mounts.wishes.iter_mut().filter(|w| matches!(w.turn, Turn::Waits | Turn::Asks))
        {
            (wish.turn, wish.failures, wish.due) = (Turn::Waits, 0, now);
            again.push(wish.volume);
        }
        for volume in again {
            let wait = turn(node, SimDuration::ZERO, cx);
            node.schedule(wait, NodeEvent::Volume { pod: id, volume, mounted: false }, cx);
        }
        node.schedule(PATIENCE, NodeEvent::VolumesLate { pod: id }, cx);
        node.schedule(POLL, NodeEvent::Mounted { pod: id }, cx);
    }
}

/// A pod that runs has ConfigMaps and Secrets mounted: the kubelet watches them anew.
fn heed_again(node: &mut NodeAgent, id: u32) {
    let Some(ns) = node.workers.get(id).map(|w| w.ns) else { return };
    let Some(mounts) = mounts_of(node, id) else { return };
    let mut heeds: SmallVec<[(Kind, Sym, Name); 2]> = SmallVec::new();
    for wish in &mut mounts.wishes {
        if let What::Config(kind, name, _) = wish.what {
            heeds.push((kind, ns, name.into()));
        }
    }
    for of in heeds {
        heed(node, of);
    }
}
