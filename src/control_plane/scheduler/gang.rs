//! Gang scheduling: pods of one group are bound together or not at all (as the scheduler-plugins'
//! Coscheduling does in Permit). A pod says its group by the label
//! `scheduling.x-k8s.io/pod-group` and the least number of the group that makes sense by the
//! annotation `scheduling.x-k8s.io/min-member`; the first ones hold their nodes until so many have
//! one, or give them back when the time is up.

use super::cycle::{Binding, Scheduler};
use super::plugins::volume_binding::PodVolumes;
use super::queue::Waiting;
use super::volume_binder;
use crate::api::Pod;
use crate::api::versions::ObjRef;
use crate::engine::Sym;
use crate::engine::intern::Known;
use crate::event::{Context, Event, SchedulerEvent};

/// Label: the pod's group.
pub const GROUP: &str = "scheduling.x-k8s.io/pod-group";
/// Annotation: how many of the group have to start together.
pub const MIN_MEMBER: &str = "scheduling.x-k8s.io/min-member";

static GROUP_SYM: Known = Known::new(GROUP);

/// A pod with a node that is not bound yet.
#[derive(Debug, Clone)]
struct Held {
    object: ObjRef,
    node: Sym,
    waiting: Waiting,
    volumes: PodVolumes,
}

/// A group of which some pods hold nodes.
#[derive(Debug, Clone)]
struct Gang {
    ns: Sym,
    group: Sym,
    held: Vec<Held>,
    /// Which timeout counts.
    round: u32,
}

/// The groups that wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Gangs {
    all: Vec<Gang>,
    rounds: u32,
}

/// A pod's group.
pub(super) fn group_of(pod: &Pod) -> Option<Sym> {
    pod.meta.labels.get(GROUP_SYM.sym())
}

/// A pod's group and how many of it have to start together; none for a pod by itself.
fn gang_of(pod: &Pod) -> Option<(Sym, usize)> {
    let group = group_of(pod)?;
    let least: usize = pod.meta.annotation(MIN_MEMBER)?.parse().ok()?;
    (least > 1).then_some((group, least))
}

impl Scheduler {
    /// Holds a pod's node until enough of its group have one; false if it need not wait.
    pub(super) fn waits_for_gang(
        &mut self,
        (object, node): (ObjRef, Sym),
        waiting: &Waiting,
        volumes: &PodVolumes,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(timeout) = self.config.gang else { return false };
        let Some((group, least)) = gang_of(&waiting.pod) else { return false };
        let ns = waiting.pod.meta.ns;
        let known = self.gangs.all.iter().position(|g| g.ns == ns && g.group == group);
        let at = known.unwrap_or(self.gangs.all.len());
        if known.is_none() {
            self.gangs.rounds += 1;
            let round = self.gangs.rounds;
            self.gangs.all.push(Gang { ns, group, held: Vec::new(), round });
            cx.after(timeout, Event::Scheduler(SchedulerEvent::PermitTimeout(round)));
        }
        let (waiting, volumes) = (waiting.clone(), volumes.clone());
        self.gangs.all[at].held.push(Held { object, node, waiting, volumes });
        // Those that hold nodes, that are being bound and that run: the cache has them all.
        if self.cache.in_group(ns, group) >= least {
            let gang = self.gangs.all.remove(at);
            for Held { object, node, waiting, volumes } in gang.held {
                self.bind_now((object, node), waiting, volumes, cx);
            }
        }
        true
    }

    /// A pod is gone, or is on a node already: it waits for nobody.
    pub(super) fn leaves_gang(&mut self, object: ObjRef) {
        for gang in &mut self.gangs.all {
            if let Some(i) = gang.held.iter().position(|held| held.object == object) {
                let held = gang.held.remove(i);
                volume_binder::unreserve(&mut self.cache.volumes, &held.volumes);
            }
        }
        self.gangs.all.retain(|gang| !gang.held.is_empty());
    }

    /// The time of a group is up: its pods give their nodes back.
    pub(super) fn gang_timed_out(&mut self, round: u32, cx: &mut Context<'_>) {
        let Some(at) = self.gangs.all.iter().position(|g| g.round == round) else { return };
        let gang = self.gangs.all.remove(at);
        let why = format!(
            "pod group {}/{}: {} of its pods had a node when the time was up",
            gang.ns,
            gang.group,
            self.cache.in_group(gang.ns, gang.group)
        );
        for Held { object, node, waiting, volumes } in gang.held {
            volume_binder::unreserve(&mut self.cache.volumes, &volumes);
            self.unbind(Binding { object, node, waiting }, &why, cx);
        }
    }
}
