//! Lives and connections of the control plane's clients: a component that starts, whether with the
//! cluster or anew, lists and then watches; one that lost its connection comes back by the same
//! door.

use super::spec::Component;
use super::{Cluster, manager_config, policy};
use crate::api::versions::Change;
use crate::api::{Kind, Obj};
use crate::client::watch::Due;
use crate::control_plane::controllers::ControllerManager;
use crate::engine::Sym;
use crate::event::{Address, Role, What};

/// The present life of a component.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) address: Address,
    pub(super) up: bool,
    /// The number of the event it began with: mail from before was meant for an earlier life.
    born: u64,
}

impl Life {
    /// The first life.
    pub(super) const fn first(role: Role) -> Self {
        Self { address: Address::new(role, 0), up: true, born: 0 }
    }

    /// True if an event that was scheduled with this number is meant for the present life.
    pub(super) const fn hears(&self, seq: u64) -> bool {
        self.up && seq >= self.born
    }

    /// True if an answer is meant for the present life.
    pub(super) const fn awaits(&self, to: Address) -> bool {
        self.up && to.incarnation == self.address.incarnation
    }
}

/// The components of a control plane that watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lives {
    pub(super) scheduler: Life,
    pub(super) controllers: Life,
}

impl Default for Lives {
    fn default() -> Self {
        Self {
            scheduler: Life::first(Role::Scheduler),
            controllers: Life::first(Role::ControllerManager),
        }
    }
}

/// What a scheduler watches.
const SCHEDULER_KINDS: &[Kind] = &[
    Kind::Pod,
    Kind::Node,
    Kind::Namespace,
    Kind::Service,
    Kind::ReplicationController,
    Kind::ReplicaSet,
    Kind::StatefulSet,
    Kind::PodDisruptionBudget,
    Kind::PersistentVolume,
    Kind::PersistentVolumeClaim,
    Kind::StorageClass,
    Kind::CSINode,
    Kind::CSIDriver,
    Kind::CSIStorageCapacity,
    Kind::VolumeAttachment,
];

impl Cluster {
    pub(super) fn life(&mut self, component: Component) -> &mut Life {
        match component {
            Component::Scheduler => &mut self.lives.scheduler,
            Component::ControllerManager => &mut self.lives.controllers,
        }
    }

    /// A component starts cold: it opens its watches, and its handlers are told what is there.
    pub(super) fn start_component(&mut self, component: Component, seq: u64) {
        let lag = self.plan.cluster.latency.watch;
        let address = self.life(component).address;
        let kinds = match component {
            Component::Scheduler => SCHEDULER_KINDS,
            Component::ControllerManager => ControllerManager::kinds(),
        };
        for &kind in kinds {
            self.api.watch(kind, address, lag, &self.shared.context(seq));
            for change in self.shared.versions.list(kind) {
                let hop = self.shared.context(seq).trace(|| listed(address, &change));
                self.hand_over(address, &change, hop);
            }
            if component == Component::ControllerManager {
                self.controllers.listed(kind, self.shared.versions.rev());
            }
        }
        if component == Component::ControllerManager {
            self.controllers.start(&mut self.shared.context(seq));
        }
    }

    /// The process ends: what it knew is gone, and so is what it had planned.
    pub(super) fn stop_component(&mut self, component: Component) {
        let life = self.life(component);
        life.up = false;
        let address = life.address;
        self.api.watches.close(address);
    }

    /// The process starts anew.
    pub(super) fn restart_component(&mut self, component: Component, seq: u64) {
        let born = self.shared.last_seq() + 1;
        let life = self.life(component);
        life.up = true;
        life.born = born;
        life.address.incarnation += 1;
        let address = life.address;
        match component {
            Component::Scheduler => self.scheduler = policy::scheduler(&self.plan, address),
            Component::ControllerManager => {
                let config = manager_config(&self.plan);
                let mut fresh = ControllerManager::new(address, config, &self.shared.draws);
                fresh.began(self.shared.now());
                self.controllers = fresh;
            }
        }
        self.start_component(component, seq);
    }

    /// The connection of a component is cut, or comes back.
    pub(super) fn connect_component(&mut self, component: Component, on: bool, seq: u64) {
        let address = self.life(component).address;
        self.connect(address, on, seq);
    }

    /// The watches of a client are cut, or will be taken up again by its next attempt.
    pub(super) fn connect(&mut self, address: Address, on: bool, seq: u64) {
        if on {
            self.api.watches.restore(address, &mut self.shared.context(seq));
        } else {
            self.api.watches.sever(address, self.shared.now());
        }
    }

    /// Everything that has reached the client of a watch by now, in order of revision.
    /// `copy` holds the change told last: most watches that wake together are told the same one.
    pub(super) fn deliver(
        &mut self,
        watch: u32,
        seq: u64,
        copy: &mut Option<((Kind, u64), Change)>,
    ) {
        let Some(client) = self.api.watches.client(watch) else { return };
        if let Some((of, change)) = &*copy
            && self.api.watches.same(watch, *of, &self.shared.versions)
        {
            let hop = self.shared.context(seq).delivered(client, of.0, of.1, change.seq);
            self.hand_over(client, change, hop);
            return;
        }
        loop {
            let cx = &mut self.shared.context(seq);
            match self.api.watches.next(watch, cx) {
                Due::Change(kind, log, more) => {
                    if copy.as_ref().is_none_or(|(of, _)| *of != (kind, log)) {
                        let change = cx.versions().change(kind, log).cloned();
                        *copy = change.map(|change| ((kind, log), change));
                    }
                    let Some((_, change)) = &*copy else { return };
                    let hop = cx.delivered(client, kind, log, change.seq);
                    self.hand_over(client, change, hop);
                    if !more {
                        return;
                    }
                }
                Due::Nothing => return,
                Due::Gone(_) => {
                    let who = Sym::new(client.role.name());
                    let step = "its watch is too old (410 Gone): it lists";
                    let hop = cx.record(What::Noticed { who, node: Sym::EMPTY, step });
                    for change in self.api.watches.relist(watch, &self.shared.versions) {
                        let cx = &mut self.shared.context(seq);
                        let hop = cx.trace_from(hop, || listed(client, &change));
                        self.hand_over(client, &change, hop);
                    }
                    return;
                }
            }
        }
    }
}

/// The record of what a list tells a client about one object.
fn listed(to: Address, change: &Change) -> What {
    let rev = |o: &Obj| o.meta().map_or(0, |m| m.resource_version);
    What::Listed {
        to,
        kind: change.value.kind(),
        object: change.object,
        known: change.before.as_ref().map_or(0, rev),
        rev: if change.deleted { 0 } else { change.rev },
    }
}
