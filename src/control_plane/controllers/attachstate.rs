//! What the attach-detach controller knows: the *desired state of the world* (which pods on which
//! nodes want a volume), kept from pods, and the *actual state* (where it is attached, or is
//! being), kept from its own operations (source: `ctl/volume/attachdetach/cache`).

use crate::api::{Name, Uid};
use crate::client::retry::operation_back_off;
use crate::engine::digest::mix;
use crate::engine::{SimDuration, SimTime, Sym};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// A volume, as nodes name it.
pub(super) type Volume = Sym;

/// What is known of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disk {
    /// Its driver.
    pub(super) driver: Sym,
    /// Its object; empty for one that is written into a pod.
    pub(super) object: Name,
    /// What its driver knows it by.
    pub(super) handle: Sym,
    /// It may be attached to several nodes at once (source: `pkg/volume/util/util.go`
    /// `IsMultiAttachAllowed`).
    pub(super) many: bool,
}

impl Disk {
    /// What events call it.
    pub(super) fn shown(&self) -> String {
        if self.object.is_empty() { self.handle.to_string() } else { self.object.to_string() }
    }
}

/// How far a volume is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Somebody wanted it there, or an operation has failed: nobody can tell.
    Uncertain,
    /// The driver has been asked for it.
    Attaching(SimTime),
    /// It is there.
    Attached,
    /// The driver has been asked to take it away.
    Detaching(SimTime),
}

/// A volume on a node.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) volume: Volume,
    pub(super) node: Sym,
    /// Pods that want it there, in the order in which they came.
    pub(super) pods: SmallVec<[(Sym, Name); 1]>,
    /// None while it is not there at all.
    pub(super) stage: Option<Stage>,
    /// Since when nobody wants it there.
    pub(super) unwanted: Option<SimTime>,
    /// That another node has it has been told.
    pub(super) told: bool,
    /// Operations that have failed in a row, and until when none is begun.
    pub(super) failures: u32,
    pub(super) not_before: SimTime,
}

impl Spot {
    /// An operation is under way.
    pub(super) fn pending(&self) -> bool {
        matches!(self.stage, Some(Stage::Attaching(_) | Stage::Detaching(_)))
    }

    /// The operation has failed: the next one waits.
    pub(super) fn failed(&mut self, now: SimTime) -> SimDuration {
        let wait = operation_back_off(self.failures);
        self.failures += 1;
        self.not_before = now + wait;
        wait
    }

    /// It has succeeded.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.not_before) = (0, SimTime::ZERO);
    }
}

/// The name of a volume's attachment to a node. Upstream takes SHA-256 of handle, driver and node;
/// here a hash of the same length (source: `pkg/volume/csi/csi_attacher.go` `getAttachmentName`).
pub(super) fn attachment_name(volume: Volume, node: Sym) -> Name {
    use std::fmt::Write;
    let mut text = String::from("csi-");
    let mut word = mix(volume.stable_hash(), node.stable_hash());
    for part in 0..4 {
        word = mix(word, part);
        // Writing to a string cannot fail.
        let _written = write!(text, "{word:016x}");
    }
    Name::new(&text)
}

/// Both states of the world.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) disks: FxHashMap<Volume, Disk>,
    /// By the name of the attachment.
    spots: FxHashMap<Name, Spot>,
    /// Attachments of a volume, in the order in which they came up.
    of_volume: FxHashMap<Volume, SmallVec<[Name; 2]>>,
    /// Attachments on a node, in the order in which they came up.
    of_node: FxHashMap<Sym, Vec<Name>>,
    /// What a pod wants, and where.
    of_pod: FxHashMap<Uid, (Sym, SmallVec<[Volume; 1]>)>,
}

impl World {
    pub(super) fn spot(&self, name: Name) -> Option<&Spot> {
        self.spots.get(&name)
    }

    pub(super) fn spot_mut(&mut self, name: Name) -> Option<&mut Spot> {
        self.spots.get_mut(&name)
    }

    /// The volume on the node, made if need be.
    pub(super) fn spot_of(&mut self, volume: Volume, node: Sym) -> (Name, &mut Spot) {
        let name = attachment_name(volume, node);
        let spot = self.spots.entry(name).or_insert_with(|| {
            self.of_volume.entry(volume).or_default().push(name);
            self.of_node.entry(node).or_default().push(name);
            Spot {
                volume,
                node,
                pods: SmallVec::new(),
                stage: None,
                unwanted: None,
                told: false,
                failures: 0,
                not_before: SimTime::ZERO,
            }
        });
        (name, spot)
    }

    /// Forgets a spot that nobody wants and where nothing is.
    pub(super) fn tidy(&mut self, name: Name) {
        let idle = |s: &Spot| s.pods.is_empty() && s.stage.is_none();
        let Some(spot) = self.spots.get(&name).filter(|s| idle(s)) else { return };
        let (volume, node) = (spot.volume, spot.node);
        self.spots.remove(&name);
        if let Some(list) = self.of_volume.get_mut(&volume) {
            list.retain(|n| *n != name);
            if list.is_empty() {
                self.of_volume.remove(&volume);
                self.disks.remove(&volume);
            }
        }
        if let Some(list) = self.of_node.get_mut(&node) {
            list.retain(|n| *n != name);
            if list.is_empty() {
                self.of_node.remove(&node);
            }
        }
    }

    /// Attachments of a volume.
    pub(super) fn of_volume(&self, volume: Volume) -> &[Name] {
        self.of_volume.get(&volume).map_or(&[], SmallVec::as_slice)
    }

    /// Attachments on a node.
    pub(super) fn of_node(&self, node: Sym) -> &[Name] {
        self.of_node.get(&node).map_or(&[], Vec::as_slice)
    }

    /// What the node's status is to say.
    pub(super) fn attached_to(&self, node: Sym) -> impl Iterator<Item = Volume> {
        let spots = self.of_node(node).iter().filter_map(|name| self.spots.get(name));
        spots.filter(|s| s.stage == Some(Stage::Attached)).map(|s| s.volume)
    }

    /// A pod wants these volumes on its node; gives the attachments that this changes.
    pub(super) fn want(
        &mut self,
        (uid, ns, name): (Uid, Sym, Name),
        node: Sym,
        volumes: SmallVec<[Volume; 1]>,
    ) -> SmallVec<[Name; 2]> {
        if self.of_pod.get(&uid).is_some_and(|(at, had)| (*at, had) == (node, &volumes)) {
            return SmallVec::new();
        }
        let mut touched = self.drop_pod(uid, (ns, name));
        for &volume in &volumes {
            let (attachment, spot) = self.spot_of(volume, node);
            spot.pods.push((ns, name));
            touched.push(attachment);
        }
        self.of_pod.insert(uid, (node, volumes));
        touched
    }

    /// A pod wants nothing any more.
    pub(super) fn drop_pod(&mut self, uid: Uid, pod: (Sym, Name)) -> SmallVec<[Name; 2]> {
        let mut touched = SmallVec::new();
        let Some((node, volumes)) = self.of_pod.remove(&uid) else { return touched };
        for volume in volumes {
            let name = attachment_name(volume, node);
            if let Some(spot) = self.spots.get_mut(&name) {
                spot.pods.retain(|p| *p != pod);
                touched.push(name);
            }
        }
        touched
    }
}
