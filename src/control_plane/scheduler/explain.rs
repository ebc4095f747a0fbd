//! What a scheduling cycle would make of a pod now, in full, and where the pod waits. Nothing is
//! recorded during a run: whoever asks replays it up to the cycle and asks here.

use super::cycle::Scheduler;
use super::evaluate::{Evaluation, Look, evaluate_at};
use super::plugins::registry::Points;
use super::profile::Profile;
use super::queue::{LEFTOVER_PERIOD, MAX_UNSCHEDULABLE, Place};
use super::ties::{self, TieRule};
use crate::api::Pod;
use crate::api::versions::ObjRef;
use crate::engine::{Draws, Grid, SimTime, Sym};

/// A cycle, evaluated in full without taking place.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// `schedulerName` of the profile.
    pub profile: Sym,
    /// The number of the attempt.
    pub attempt: u32,
    /// Nodes there are.
    pub nodes: usize,
    /// The node at which the search begins; empty if there is none.
    pub first: Sym,
    /// The tie rule.
    pub ties: TieRule,
    /// Plugins per extension point, in the order in which they are called.
    pub called: Vec<(&'static str, Vec<&'static str>)>,
    /// Every verdict and score.
    pub evaluation: Evaluation,
}

impl Rehearsal {
    /// The plugins of an extension point.
    #[must_use]
    pub fn at(&self, point: &str) -> &[&'static str] {
        self.called.iter().find(|(name, _)| *name == point).map_or(&[], |(_, list)| list.as_slice())
    }

    /// Nodes are scored only if there is a choice.
    #[must_use]
    pub fn scored(&self) -> bool {
        self.evaluation.feasible.len() > 1
    }
}

/// Where a pod waits for the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// No profile has its `schedulerName`.
    Unserved,
    /// The scheduler has not heard of it, or has nothing to do with it.
    Unknown,
    /// A node is chosen; the binding is under way.
    Assumed(Sym),
    /// It waits.
    Queued(Wait),
}

/// A pod in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Where.
    pub place: Place,
    /// Since when.
    pub since: SimTime,
    /// How often it was tried.
    pub attempts: u32,
    /// Plugins that rejected it last.
    pub rejectors: Vec<&'static str>,
    /// When its backoff ends.
    pub backoff_end: SimTime,
    /// When it is tried again even if nothing happens (unschedulable pods).
    pub at_the_latest: SimTime,
}

/// What moves a pod that a plugin has rejected (source: `EventsToRegister` of the plugins).
const MOVED_BY: &[(&str, &str)] = &[
    ("SchedulingGates", "its scheduling gates are removed"),
    ("NodeUnschedulable", "a node is added or uncordoned, or the pod's tolerations change"),
    ("NodeName", "a node is added"),
    ("TaintToleration", "a node is added or its taints change, or the pod's tolerations change"),
    ("NodeAffinity", "a node is added or its labels change, and it matches now"),
    ("NodePorts", "a pod with the host port is deleted, or a node is added"),
    (
        "NodeResourcesFit",
        "a pod is deleted or scaled down, or a node on which it fits is added or grows",
    ),
    (
        "PodTopologySpread",
        "a pod that counts is bound, relabelled or deleted, or a node comes, goes, or changes labels or taints",
    ),
    (
        "InterPodAffinity",
        "a pod that matters is bound, relabelled or deleted, or a node is added or relabelled",
    ),
    ("VolumeRestrictions", "a pod with the volume is deleted, or a node or claim is added"),
    ("NodeVolumeLimits", "a pod with volumes is deleted, or a node's limit grows"),
    ("VolumeBinding", "a claim, volume, class, capacity or node is added or changes"),
    ("VolumeZone", "a claim, volume, class or node is added or changes"),
    ("DynamicResources", "a claim, class, slice or node is added or changes"),
];

/// What moves a pod that this plugin has rejected, in words.
#[must_use]
pub fn moved_by(plugin: &str) -> &'static str {
    let known = MOVED_BY.iter().find(|(name, _)| *name == plugin);
    known.map_or("what its hint says", |(_, text)| text)
}

fn called(profile: &Profile) -> Vec<(&'static str, Vec<&'static str>)> {
    let at = |point| profile.rows_at(point).map(|(_, row)| row.name).collect();
    Points::NAMES.into_iter().map(|(name, point)| (name, at(point))).collect()
}

impl Scheduler {
    /// The cycle that would take place if the waiting pod were next in line.
    #[must_use]
    pub fn rehearse(&self, object: ObjRef, draws: &Draws) -> Option<Rehearsal> {
        let waiting = self.queue.get(object)?;
        let profile = &self.profiles[waiting.profile];
        let attempt = waiting.attempts + 1;
        let pod: &Pod = &waiting.pod;
        let mut cache = self.cache.clone();
        cache.settle();
        let first = if cache.is_empty() { 0 } else { self.start % cache.len() };
        let draw = |n| ties::uniform(draws, pod, attempt, n);
        let how = (self.config.ties, Look::From(self.start));
        Some(Rehearsal {
            profile: profile.name,
            attempt,
            nodes: cache.len(),
            first: if cache.is_empty() { Sym::EMPTY } else { cache.at(first).name },
            ties: self.config.ties,
            called: called(profile),
            evaluation: evaluate_at(&cache, profile, pod, how, draw),
        })
    }

    /// Where a pod without a node waits.
    #[must_use]
    pub fn whereabouts(&self, object: ObjRef, pod: &Pod, now: SimTime) -> Whereabouts {
        let name = pod.spec.scheduler_name;
        if self.profiles.iter().all(|p| p.name != name) {
            return Whereabouts::Unserved;
        }
        if let Some(node) = self.cache.node_of(object) {
            return Whereabouts::Assumed(node);
        }
        let Some(waiting) = self.queue.get(object) else { return Whereabouts::Unknown };
        let rows = (0_u8..).zip(&self.profiles[waiting.profile].rows);
        let rejected = rows.filter(|(i, _)| waiting.rejectors >> i & 1 == 1);
        let due = (waiting.since + MAX_UNSCHEDULABLE).max(now);
        Whereabouts::Queued(Wait {
            place: waiting.place,
            since: waiting.since,
            attempts: waiting.attempts,
            rejectors: rejected.map(|(_, row)| row.name).collect(),
            backoff_end: self.queue.backoff_end(waiting),
            at_the_latest: Grid::new(SimTime::ZERO, LEFTOVER_PERIOD).after(due),
        })
    }
}
