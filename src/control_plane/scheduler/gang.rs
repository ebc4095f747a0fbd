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

/// A group.
#[derive(Debug, Clone)]
struct Gang {
    ns: Sym,
    group: Sym,
    held: Vec<Held>,
    /// Members that were bound.
    bound: usize,
    /// Which timeout counts.
    round: u32,
}

/// The groups that a scheduler has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Gangs {
    all: Vec<Gang>,
    rounds: u32,
}

/// A pod's group and how many of it have to start together; none for a pod by itself.
fn gang_of(pod: &Pod) -> Option<(Sym, usize)> {
    let group = pod.meta.labels.get(GROUP_SYM.sym())?;
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
            self.gangs.all.push(Gang { ns, group, held: Vec::new(), bound: 0, round: 0 });
        }
        let gang = &mut self.gangs.all[at];
        if gang.held.is_empty() {
            self.gangs.rounds += 1;
            gang.round = self.gangs.rounds;
            cx.after(timeout, Event::Scheduler(SchedulerEvent::PermitTimeout(gang.round)));
        }
        let (waiting, volumes) = (waiting.clone(), volumes.clone());
        gang.held.push(Held { object, node, waiting, volumes });
        let cache = &self.cache;
        gang.held.retain(|held| cache.pod(held.object).is_some_and(|row| row.assumed));
        if gang.held.len() + gang.bound >= least {
            gang.bound += gang.held.len();
            let held = std::mem::take(&mut gang.held);
            for Held { object, node, waiting, volumes } in held {
                self.bind_now((object, node), waiting, volumes, cx);
            }
        }
        true
    }

    /// A pod is gone: its group may have to start anew one day.
    pub(super) fn left_gang(&mut self, pod: &Pod) {
        if self.config.gang.is_none() || pod.node.is_empty() {
            return;
        }
        let Some((group, _)) = gang_of(pod) else { return };
        let of = |g: &&mut Gang| g.ns == pod.meta.ns && g.group == group;
        if let Some(gang) = self.gangs.all.iter_mut().find(of) {
            gang.bound = gang.bound.saturating_sub(1);
        }
    }

    /// The time of a group is up: its pods give their nodes back.
    pub(super) fn gang_timed_out(&mut self, round: u32, cx: &mut Context<'_>) {
        let of = |g: &&mut Gang| g.round == round && !g.held.is_empty();
        let Some(gang) = self.gangs.all.iter_mut().find(of) else { return };
        let held = std::mem::take(&mut gang.held);
        let why = format!(
            "pod group {}/{}: {} of its pods had a node when the time was up",
            gang.ns,
            gang.group,
            held.len() + gang.bound
        );
        for Held { object, node, waiting, volumes } in held {
            volume_binder::unreserve(&mut self.cache.volumes, &volumes);
            self.unbind(Binding { object, node, waiting }, &why, cx);
        }
    }
}
