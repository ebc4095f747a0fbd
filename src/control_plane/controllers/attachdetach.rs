//! The attach-detach controller (source: `ctl/volume/attachdetach`): volumes that pods on a node
//! want are attached there, others taken away. A volume that its kubelet has in use stays until the
//! kubelet lets go of it, for six minutes if the node is not well, or not at all once an operator
//! has said that the node is out of service. What is exclusive is attached to one node at a time.
//!
//! Upstream's reconciler looks at all volumes each 100 ms. Here a change wakes the attachments that
//! it concerns at the next of these ticks, and a volume that nothing happens to costs nothing.
//! Operations: attaching makes a `VolumeAttachment` and waits for its driver, detaching deletes it
//! and waits until it is gone (source: `pkg/volume/csi/csi_attacher.go`).

use super::attachrules::{attaches, claim_name, disk_of, holds, inline, may_attach};
use super::attachstate::{Disk, Spot, Stage, Volume, World};
use super::persistentvolume::{claim_at, volume_at};
use super::support::{Reporter, delete, reports, text};
use crate::api::node::{Node, keys as node_keys};
use crate::api::pod::{ConditionType, Truth};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::storage::{VolumeAttachment, unique_name};
use crate::api::versions::Change;
use crate::api::{Kind, Meta, Name, Obj, Pod};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{Draws, Grid, Purpose, SimDuration, SimTime, Sym};
use crate::event::{Context, ControllerEvent, Event};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// The reconciler's period (source: `reconcilerLoopPeriod`).
const LOOP: SimDuration = SimDuration::from_millis(100);
/// How long a kubelet that is not well may take to unmount (source:
/// `reconcilerMaxWaitForUnmountDuration`).
const MAX_UNMOUNT: SimDuration = SimDuration::from_secs(360);
/// How long a driver may take (source: `pkg/volume/csi/csi_plugin.go` `csiTimeout`).
const TIMEOUT: SimDuration = SimDuration::from_secs(120);
/// What has been attached is held against the attachments this often (source:
/// `reconcilerSyncDuration`).
const VERIFY: SimDuration = SimDuration::from_secs(60);

/// The controller.
#[derive(Debug, Clone)]
pub struct AttachDetach {
    reporter: Reporter,
    ticks: Grid,
    verify: Grid,
    world: World,
    /// Pods that wait for a claim to be bound.
    unbound: FxHashMap<(Sym, Name), Vec<Name>>,
    /// Nodes whose status is to be told anew.
    untold: Vec<Sym>,
    /// Keys to look at with the next tick, and whether it is armed.
    later: Vec<Key>,
    armed: bool,
    row: u8,
}

/// What a sync remembers between its calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Doing {
    step: Step,
    /// The kubelet is not asked.
    forced: bool,
}

/// What a sync is about to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    /// Nothing yet.
    #[default]
    Begin,
    /// The attachment is being made.
    Attach,
    /// The node's status is being told without the volume.
    Untell,
    /// The node's status is being looked at once more.
    Safe,
    /// The attachment is being deleted.
    Detach,
}

fn ready(node: &Node) -> bool {
    let condition = node.status.conditions.get(ConditionType::Ready);
    condition.is_some_and(|c| c.status == Truth::True)
}

fn node_at<'v>(name: Sym, caches: &Cache, cx: &'v Context<'_>) -> Option<&'v Arc<Node>> {
    caches.named(cx.versions(), Kind::Node, Sym::EMPTY, name.into())?.1.as_node()
}

fn attachment_at<'v>(
    name: Name,
    caches: &Cache,
    cx: &'v Context<'_>,
) -> Option<&'v Arc<VolumeAttachment>> {
    let kind = Kind::VolumeAttachment;
    let (_, found) = caches.named(cx.versions(), kind, Sym::EMPTY, name)?;
    if let Obj::VolumeAttachment(attachment) = found { Some(attachment) } else { None }
}

/// The first look at an attachment at or after now of an operation that began then: after half a
/// second, then a twentieth later each time, up to 7 s, each with a jitter of a tenth (source:
/// `csi_attacher.go` `waitForVolumeAttachDetachStatus`).
fn look(name: Name, began: SimTime, cx: &Context<'_>) -> SimTime {
    const LONGEST: SimDuration = SimDuration::from_secs(7);
    let (mut at, mut step) = (began, SimDuration::from_millis(500));
    for n in 0.. {
        let jitter = cx.draw(name.stable_hash(), Purpose("attach poll"), n).below(step.0 / 10);
        at = at + step + SimDuration(jitter);
        if at >= cx.now() {
            break;
        }
        step = SimDuration(step.0 + step.0 / 20).min(LONGEST);
    }
    at
}

impl AttachDetach {
    /// A controller whose ticks begin somewhere in their period.
    #[must_use]
    pub fn new(row: u8, draws: &Draws) -> Self {
        let entity = Sym::new("attachdetach-controller").stable_hash();
        let grid = |purpose, period| Grid::drawn(draws, entity, Purpose(purpose), period);
        Self {
            reporter: Reporter::new("attachdetach-controller", "attachdetach-controller"),
            ticks: grid("attach-detach loop", LOOP),
            verify: grid("attach-detach verification", VERIFY),
            world: World::default(),
            unbound: FxHashMap::default(),
            untold: Vec::new(),
            later: Vec::new(),
            armed: false,
            row,
        }
    }

    /// The wait for the next tick.
    fn tick(&self, cx: &Context<'_>) -> SimDuration {
        self.ticks.after(cx.now()).since(cx.now())
    }

    /// The wait for the first tick at or after an instant.
    fn tick_at(&self, at: SimTime, cx: &Context<'_>) -> SimDuration {
        self.ticks.at_or_after(at.max(SimTime(cx.now().0 + 1))).since(cx.now())
    }

    /// The next tick looks at these keys.
    fn look_later(&mut self, keys: impl IntoIterator<Item = Key>, cx: &mut Context<'_>) {
        self.later.extend(keys);
        if !self.later.is_empty() && !std::mem::replace(&mut self.armed, true) {
            let event = Event::Controller { controller: self.row, event: ControllerEvent::Tick };
            cx.schedule(self.ticks.after(cx.now()), event);
        }
    }

    /// The node's status is told with the next tick.
    fn tell(&mut self, node: Sym, cx: &mut Context<'_>) {
        if !self.untold.contains(&node) {
            self.untold.push(node);
        }
        self.look_later([node_key(node)], cx);
    }

    /// An operation on a volume is over: the next tick looks at whoever else wants it.
    fn pass_on(&mut self, volume: Volume, cx: &mut Context<'_>) {
        let wants = |n: &&Name| self.world.spot(**n).is_some_and(|s| !s.pods.is_empty());
        let names = self.world.of_volume(volume).iter().filter(wants);
        let keys: SmallVec<[Key; 2]> = names.map(|n| attachment_key(*n)).collect();
        self.look_later(keys, cx);
    }

    fn wake_all(&self, names: &[Name], cx: &Context<'_>, wake: &mut Vec<(Key, SimDuration)>) {
        let after = self.tick(cx);
        wake.extend(names.iter().map(|name| (attachment_key(*name), after)));
    }

    // ----- the desired state -----

    /// What a pod wants, as far as its claims are bound.
    fn wants(&mut self, pod: &Pod, caches: &Cache, cx: &Context<'_>) -> SmallVec<[Volume; 1]> {
        let mut volumes = SmallVec::new();
        let managed = node_at(pod.node, caches, cx)
            .is_some_and(|n| n.meta.annotation(node_keys::CONTROLLER_ATTACHES) == Some("true"));
        if !managed || !holds(pod) {
            return volumes;
        }
        for volume in pod.spec.volumes.iter().filter(|v| may_attach(&v.source)) {
            let disk = match claim_name(pod, volume) {
                None => inline(&volume.source),
                Some(claim) => self.disk_behind(pod, claim, caches, cx),
            };
            if let Some(disk) = disk {
                let name = unique_name(disk.driver, disk.handle);
                self.world.disks.insert(name, disk);
                volumes.push(name);
            }
        }
        volumes
    }

    /// The disk of a pod's claim; the pod is looked at again if that is not bound yet.
    fn disk_behind(
        &mut self,
        pod: &Pod,
        claim: Name,
        caches: &Cache,
        cx: &Context<'_>,
    ) -> Option<Disk> {
        let bound = claim_at((pod.meta.ns, claim), caches, cx);
        let bound = bound.filter(|(_, c)| c.fully_bound());
        let found = bound.and_then(|(_, c)| volume_at(c.volume, caches, cx));
        if let Some((_, volume)) = found {
            return disk_of(volume);
        }
        let waiting = self.unbound.entry((pod.meta.ns, claim)).or_default();
        if !waiting.contains(&pod.meta.name) {
            waiting.push(pod.meta.name);
        }
        None
    }

    fn look_at_pod(
        &mut self,
        pod: &Pod,
        gone: bool,
        caches: &Cache,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let (uid, who) = (pod.meta.uid, (pod.meta.ns, pod.meta.name));
        let volumes = if gone { SmallVec::new() } else { self.wants(pod, caches, cx) };
        let touched = if volumes.is_empty() {
            self.world.drop_pod(uid, who)
        } else {
            self.world.want((uid, who.0, who.1), pod.node, volumes)
        };
        self.wake_all(&touched, cx, wake);
    }

    /// A claim has been bound, or its volume has turned up: pods that waited for it are looked at.
    fn bound(
        &mut self,
        claim: (Sym, Name),
        caches: &Cache,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        for name in self.unbound.remove(&claim).unwrap_or_default() {
            let found = caches.named(cx.versions(), Kind::Pod, claim.0, name);
            let Some(pod) = found.and_then(|(_, o)| o.as_pod()).cloned() else { continue };
            self.look_at_pod(&pod, false, caches, cx, wake);
        }
    }

    // ----- the actual state -----

    fn on_node(
        &self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) -> Vec<Arc<Pod>> {
        let Some(node) = change.value.as_node() else { return Vec::new() };
        let name = node.meta.name.sym();
        let was = before.and_then(Obj::as_node);
        let managed = |n: &Node| n.meta.annotation(node_keys::CONTROLLER_ATTACHES).is_some();
        let out = |n: &Node| n.taints.iter().any(|t| t.key.as_str() == node_keys::OUT_OF_SERVICE);
        let same = |was: &Arc<Node>| {
            !change.deleted
                && was.status.volumes_in_use == node.status.volumes_in_use
                && ready(was) == ready(node)
                && out(was) == out(node)
        };
        if !was.is_some_and(same) {
            let due = self
                .world
                .of_node(name)
                .iter()
                .filter(|n| self.world.spot(**n).is_some_and(|s| s.pods.is_empty()));
            let after = self.tick(cx);
            wake.extend(due.map(|n| (attachment_key(*n), after)));
        }
        // Pods may be heard of before their node.
        if managed(node) && !was.is_some_and(|w| managed(w)) {
            let pods = caches.on_node(name).iter();
            let pods = pods.filter_map(|o| caches.get(cx.versions(), Kind::Pod, *o)?.as_pod());
            return pods.filter(|p| !self.ignores(p)).cloned().collect();
        }
        Vec::new()
    }

    /// An attachment of another life of the controller, or of somebody else.
    fn on_attachment(
        &mut self,
        change: &Change,
        caches: &Cache,
        cx: &Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let Obj::VolumeAttachment(attachment) = &change.value else { return };
        let name = attachment.meta.name;
        if let Some(spot) = self.world.spot(name).filter(|s| s.stage.is_some()) {
            let after = match spot.stage {
                Some(Stage::Attaching(began) | Stage::Detaching(began)) => {
                    look(name, began, cx).since(cx.now())
                }
                // Somebody else has deleted it.
                Some(_) if change.deleted => self.verify.after(cx.now()).since(cx.now()),
                Some(_) | None => return,
            };
            return wake.push((attachment_key(name), after));
        }
        if change.deleted || attachment.volume.is_empty() {
            return;
        }
        let Some((_, object)) = volume_at(attachment.volume, caches, cx) else { return };
        let Some(disk) = disk_of(object) else { return };
        let volume = unique_name(disk.driver, disk.handle);
        let told = node_at(attachment.node, caches, cx)
            .is_some_and(|n| n.status.volumes_attached.contains(&volume));
        self.world.disks.insert(volume, disk);
        let (name, spot) = self.world.spot_of(volume, attachment.node);
        spot.stage = Some(if told { Stage::Attached } else { Stage::Uncertain });
        self.wake_all(&[name], cx, wake);
    }

    // ----- operations -----

    /// Somebody wants the volume on the node, and it is not known to be there.
    fn attach(&mut self, name: Name, doing: &mut Doing, caches: &Cache, cx: &Context<'_>) -> Next {
        let Some(spot) = self.world.spot(name) else { return Next::Done };
        if cx.now() < spot.not_before {
            return Next::Requeue(self.tick_at(spot.not_before, cx));
        }
        let Some(disk) = self.world.disks.get(&spot.volume).copied() else { return Next::Done };
        if !attaches(disk.driver, caches, cx) {
            return Next::Done;
        }
        if !disk.many {
            let others: SmallVec<[Name; 2]> =
                self.world.of_volume(spot.volume).iter().copied().filter(|n| *n != name).collect();
            let elsewhere = |n: &Name| self.world.spot(*n).filter(|s| s.stage.is_some());
            // Whoever lets go of it wakes those who wait.
            if others.iter().filter_map(elsewhere).any(Spot::pending) {
                return Next::Done;
            }
            if others.iter().any(|n| elsewhere(n).is_some()) {
                self.complain(name, disk, &others, caches, cx);
                return Next::Done;
            }
        }
        let node = spot.node;
        if let Some(spot) = self.world.spot_mut(name) {
            (spot.stage, spot.unwanted) = (Some(Stage::Attaching(cx.now())), None);
        }
        doing.step = Step::Attach;
        let attachment = VolumeAttachment {
            meta: Meta::named(Sym::EMPTY, name),
            attacher: disk.driver,
            node,
            volume: disk.object,
            ..VolumeAttachment::default()
        };
        let object = Obj::VolumeAttachment(Arc::new(attachment));
        let op = Op::Create { object, generate: false };
        let kind = Kind::VolumeAttachment;
        Next::Call(vec![Call { kind, ns: Sym::EMPTY, name, target: None, op }])
    }

    /// Another node has the volume: said once to each node's pods (source: `reconciler.go`
    /// `reportMultiAttachError`).
    fn complain(
        &mut self,
        name: Name,
        disk: Disk,
        others: &[Name],
        caches: &Cache,
        cx: &Context<'_>,
    ) {
        let users: Vec<(Sym, Name)> = others
            .iter()
            .filter_map(|n| self.world.spot(*n).filter(|s| s.stage.is_some()))
            .flat_map(|s| s.pods.iter().copied())
            .collect();
        let Some(spot) = self.world.spot_mut(name) else { return };
        if std::mem::replace(&mut spot.told, true) {
            return;
        }
        let pods = spot.pods.clone();
        for (ns, pod) in pods {
            let near: Vec<String> =
                users.iter().filter(|u| u.0 == ns).map(|u| u.1.to_string()).collect();
            let far = users.len() - near.len();
            let what = if users.is_empty() {
                "Volume is already exclusively attached to one node and can't be attached to another"
                    .to_owned()
            } else if near.is_empty() {
                format!("Volume is already used by {far} pod(s) in different namespaces")
            } else {
                let mut what = format!("Volume is already used by pod(s) {}", near.join(", "));
                if far > 0 {
                    what += &format!(" and {far} pod(s) in different namespaces");
                }
                what
            };
            let what = format!("Multi-Attach error for volume \"{}\" {what}", disk.shown());
            self.say((ns, pod), true, &what, caches, cx);
        }
    }

    /// An Event about a pod.
    fn say(
        &mut self,
        (ns, name): (Sym, Name),
        fails: bool,
        what: &str,
        caches: &Cache,
        cx: &Context<'_>,
    ) {
        let found = caches.named(cx.versions(), Kind::Pod, ns, name);
        let Some(pod) = found.and_then(|(_, o)| o.as_pod()) else { return };
        if fails {
            let reason = "FailedAttachVolume";
            self.reporter.warning(Kind::Pod, &pod.meta, reason, text(what), cx);
        } else {
            let reason = "SuccessfulAttachVolume";
            self.reporter.normal(Kind::Pod, &pod.meta, reason, text(what), cx);
        }
    }

    /// The attachment has been made, or was there, or could not be made.
    fn made(
        &mut self,
        name: Name,
        answer: &Result<Option<Obj>, ApiError>,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(Stage::Attaching(began)) = self.world.spot(name).and_then(|s| s.stage) else {
            return Next::Done;
        };
        match answer {
            Ok(_) | Err(ApiError::AlreadyExists) => {
                Next::Requeue(look(name, began, cx).since(cx.now()))
            }
            Err(error) => {
                let why = error.message(Kind::VolumeAttachment, name);
                self.attached(name, &Err(why), caches, cx)
            }
        }
    }

    /// The driver has been asked for the volume.
    fn attaching(
        &mut self,
        name: Name,
        began: SimTime,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let attachment = attachment_at(name, caches, cx);
        let there = attachment.is_some_and(|a| a.attached);
        let outcome = if attachment.is_some_and(|a| a.meta.terminating()) {
            Err("volume attachment is being deleted".to_owned())
        } else if there {
            Ok(())
        } else if cx.now() < began + TIMEOUT {
            return Next::Requeue((began + TIMEOUT).since(cx.now()));
        } else {
            let disk = self.world.spot(name).and_then(|s| self.world.disks.get(&s.volume));
            let Some(disk) = disk else { return Next::Done };
            Err(format!(
                "timed out waiting for external-attacher of {} CSI driver to attach volume {}",
                disk.driver, disk.handle
            ))
        };
        self.attached(name, &outcome, caches, cx)
    }

    /// Attaching is over.
    fn attached(
        &mut self,
        name: Name,
        outcome: &Result<(), String>,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(spot) = self.world.spot_mut(name) else { return Next::Done };
        let (volume, node, pods) = (spot.volume, spot.node, spot.pods.clone());
        let mut next = cx.now();
        if outcome.is_ok() {
            spot.stage = Some(Stage::Attached);
            spot.succeeded();
        } else {
            spot.stage = Some(Stage::Uncertain);
            next += spot.failed(cx.now());
        }
        if let Some(disk) = self.world.disks.get(&volume).copied() {
            let shown = disk.shown();
            let what = match outcome {
                Ok(()) => format!("AttachVolume.Attach succeeded for volume \"{shown}\" "),
                Err(why) => format!("AttachVolume.Attach failed for volume \"{shown}\" : {why}"),
            };
            for pod in pods {
                self.say(pod, outcome.is_err(), &what, caches, cx);
            }
        }
        if outcome.is_ok() {
            self.tell(node, cx);
        }
        self.pass_on(volume, cx);
        Next::Requeue(self.tick_at(next, cx))
    }

    /// Nobody wants the volume on the node any more.
    fn let_go(
        &mut self,
        name: Name,
        doing: &mut Doing,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(spot) = self.world.spot_mut(name) else { return Next::Done };
        let since = *spot.unwanted.get_or_insert(cx.now());
        let (volume, at, not_before) = (spot.volume, spot.node, spot.not_before);
        if cx.now() < not_before {
            return Next::Requeue(self.tick_at(not_before, cx));
        }
        let node = node_at(at, caches, cx);
        let (well, out) = (node.is_some_and(|n| ready(n)), node.is_some_and(|n| out_of_service(n)));
        // A node that is gone is remembered as its last status said.
        let mounted = node.is_none_or(|n| n.status.volumes_in_use.contains(&volume));
        let expired = cx.now().since(since) > MAX_UNMOUNT;
        let force = expired && !well;
        if mounted && !force && !out {
            // Once it has expired, a change of the node decides.
            let due = since + MAX_UNMOUNT;
            let wait = self.tick_at(SimTime(due.0 + 1), cx);
            return if expired { Next::Done } else { Next::Requeue(wait) };
        }
        *doing = Doing { step: Step::Untell, forced: force || out };
        let there = node.is_some();
        if let Some(spot) = self.world.spot_mut(name) {
            spot.stage = Some(Stage::Detaching(cx.now()));
        }
        if !there {
            return self.go_on(name, doing, &Ok(None), caches, cx);
        }
        Next::Call(vec![self.status_of(at)])
    }

    /// A call that tells a node's status.
    fn status_of(&self, node: Sym) -> Call {
        let mut list: Vec<Volume> = self.world.attached_to(node).collect();
        list.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        let op = Op::VolumesAttached(list.into());
        Call { kind: Kind::Node, ns: Sym::EMPTY, name: node.into(), target: None, op }
    }

    /// The next step of a detachment, given the answer to the one before.
    fn go_on(
        &mut self,
        name: Name,
        doing: &mut Doing,
        answer: &Result<Option<Obj>, ApiError>,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(spot) = self.world.spot(name) else { return Next::Done };
        let (volume, node) = (spot.volume, spot.node);
        let fine = matches!(answer, Ok(_) | Err(ApiError::NotFound));
        match doing.step {
            Step::Untell if fine && !doing.forced => {
                doing.step = Step::Safe;
                let (kind, op) = (Kind::Node, Op::Get);
                let call = Call { kind, ns: Sym::EMPTY, name: node.into(), target: None, op };
                Next::Call(vec![call])
            }
            Step::Safe if matches!(answer, Ok(Some(Obj::Node(n))) if uses(n, volume)) => {
                // Its kubelet has taken it up again meanwhile.
                self.keep(name, true, cx)
            }
            Step::Untell | Step::Safe if fine => {
                doing.step = Step::Detach;
                let target = attachment_at(name, caches, cx);
                let meta = target.map_or_else(|| Meta::named(Sym::EMPTY, name), |a| a.meta.clone());
                Next::Call(vec![delete(Kind::VolumeAttachment, &meta, None)])
            }
            Step::Detach if fine => self.detaching(name, caches, cx),
            Step::Begin | Step::Attach | Step::Untell => self.keep(name, false, cx),
            Step::Safe | Step::Detach => self.keep(name, true, cx),
        }
    }

    /// The volume stays after all, for now.
    fn keep(&mut self, name: Name, backs_off: bool, cx: &mut Context<'_>) -> Next {
        let Some(spot) = self.world.spot_mut(name) else { return Next::Done };
        spot.stage = Some(Stage::Attached);
        let node = spot.node;
        let wait = if backs_off { spot.failed(cx.now()) } else { SimDuration::ZERO };
        self.tell(node, cx);
        Next::Requeue(self.tick_at(cx.now() + wait, cx))
    }

    /// The driver has been asked to take the volume away.
    fn detaching(&mut self, name: Name, caches: &Cache, cx: &mut Context<'_>) -> Next {
        let Some(spot) = self.world.spot_mut(name) else { return Next::Done };
        let Some(Stage::Detaching(began)) = spot.stage else { return Next::Done };
        if attachment_at(name, caches, cx).is_none() {
            spot.stage = None;
            spot.succeeded();
            (spot.unwanted, spot.told) = (None, false);
            let volume = spot.volume;
            self.pass_on(volume, cx);
            return Next::Requeue(self.tick(cx));
        }
        if cx.now() < began + TIMEOUT {
            return Next::Requeue((began + TIMEOUT).since(cx.now()));
        }
        self.keep(name, true, cx)
    }
}

/// True if an operator has said that the node is out of service.
fn out_of_service(node: &Node) -> bool {
    node.taints.iter().any(|t| t.key.as_str() == node_keys::OUT_OF_SERVICE)
}

fn uses(node: &Node, volume: Volume) -> bool {
    node.status.volumes_in_use.contains(&volume)
}

fn attachment_key(name: Name) -> Key {
    Key { kind: Kind::VolumeAttachment, ns: Sym::EMPTY, name }
}

fn node_key(name: Sym) -> Key {
    Key { kind: Kind::Node, ns: Sym::EMPTY, name: name.into() }
}

impl AttachDetach {
    /// Looks at a volume on a node.
    fn look_at(
        &mut self,
        name: Name,
        doing: &mut Doing,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let there = attachment_at(name, caches, cx).is_some();
        let Some(spot) = self.world.spot_mut(name) else { return Next::Done };
        let (wanted, volume) = (!spot.pods.is_empty(), spot.volume);
        match spot.stage {
            Some(Stage::Attaching(began)) => self.attaching(name, began, caches, cx),
            Some(Stage::Detaching(_)) => self.detaching(name, caches, cx),
            Some(Stage::Attached) if !there => {
                // Somebody has deleted the attachment.
                spot.stage = None;
                let node = spot.node;
                self.tell(node, cx);
                self.pass_on(volume, cx);
                Next::Requeue(self.tick(cx))
            }
            Some(Stage::Attached) if wanted => {
                spot.unwanted = None;
                Next::Done
            }
            Some(Stage::Attached | Stage::Uncertain) if !wanted => {
                self.let_go(name, doing, caches, cx)
            }
            Some(Stage::Attached | Stage::Uncertain) | None if wanted => {
                self.attach(name, doing, caches, cx)
            }
            Some(Stage::Attached | Stage::Uncertain) | None => {
                self.world.tidy(name);
                Next::Done
            }
        }
    }

    /// Tells a node's status.
    fn tell_now(
        &mut self,
        node: Sym,
        answer: Option<&Outcome>,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        match answer {
            Some(Ok(_) | Err(ApiError::NotFound)) => return Next::Done,
            Some(Err(_)) => self.untold.push(node),
            None => {}
        }
        if answer.is_some() {
            return Next::Requeue(self.tick(cx));
        }
        let Some(at) = self.untold.iter().position(|n| *n == node) else { return Next::Done };
        self.untold.remove(at);
        if node_at(node, caches, cx).is_none() {
            return Next::Done;
        }
        Next::Call(vec![self.status_of(node)])
    }
}

impl Reconcile for AttachDetach {
    type State = Doing;

    // Operations run side by side, however many there are.
    reports!(100);

    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        if let Some(pod) = change.value.as_pod() {
            self.look_at_pod(pod, change.deleted, caches, cx, wake);
        } else if let Some(node) = change.value.as_node() {
            // A Node that has come anew tells nothing of what is attached (source:
            // `attach_detach_controller.go` `nodeAdd`); whoever lists may hear of that as a change.
            let another = before.and_then(Obj::as_node).is_none_or(|w| w.meta.uid != node.meta.uid);
            let name = node.meta.name.sym();
            if another && !change.deleted && self.world.attached_to(name).next().is_some() {
                self.tell(name, cx);
            }
            for pod in self.on_node(change, before, caches, cx, wake) {
                self.look_at_pod(&pod, false, caches, cx, wake);
            }
        } else if let Obj::PersistentVolumeClaim(claim) = &change.value {
            let waited = (claim.meta.ns, claim.meta.name);
            if claim.fully_bound() && self.unbound.contains_key(&waited) {
                self.bound(waited, caches, cx, wake);
            }
        } else if let Obj::PersistentVolume(volume) = &change.value {
            if let Some(waited) = volume.claim.map(|c| (c.ns, c.name))
                && self.unbound.contains_key(&waited)
            {
                self.bound(waited, caches, cx, wake);
            }
        } else {
            self.on_attachment(change, caches, cx, wake);
        }
    }

    fn ignores(&self, pod: &Pod) -> bool {
        !pod.spec.volumes.iter().any(|v| may_attach(&v.source))
    }

    fn on_tick(
        &mut self,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        self.armed = false;
        wake.extend(self.later.drain(..).map(|key| (key, SimDuration::ZERO)));
    }

    fn sync(
        &mut self,
        key: Key,
        doing: &mut Doing,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if key.kind == Kind::Node {
            return self.tell_now(key.name.sym(), answers.first(), caches, cx);
        }
        let Some(answer) = answers.first() else {
            return self.look_at(key.name, doing, caches, cx);
        };
        let answer = answer.as_ref().map(|s| Some(s.value.clone())).map_err(|e| *e);
        if doing.step == Step::Attach {
            self.made(key.name, &answer, caches, cx)
        } else {
            self.go_on(key.name, doing, &answer, caches, cx)
        }
    }
}
