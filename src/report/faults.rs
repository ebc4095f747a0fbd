//! Faults: whom they struck, when that was noticed, and when what they broke was whole again.

use super::disks::OutOfReach;
use crate::cluster::spec::{Fault, FaultKind, Whom};
use crate::engine::{SimTime, Sym};
use std::collections::{BTreeMap, BTreeSet};

/// A fault and what followed from it.
#[derive(Debug, Clone)]
pub struct FaultRow {
    /// As in the plan.
    pub name: String,
    /// What happens.
    pub what: FaultKind,
    /// The component, if the fault is about one; empty if it is about nodes.
    pub component: &'static str,
    /// The zone, if the fault is about a zone.
    pub zone: Option<Sym>,
    /// First node struck.
    pub begun: Option<SimTime>,
    /// Last node back.
    pub ended: Option<SimTime>,
    /// Nodes struck, by index.
    pub nodes: BTreeSet<usize>,
    /// Nodes that are back.
    pub back: BTreeSet<usize>,
    /// Nodes whose Ready condition turned, first and last time.
    pub detected: Span,
    /// Nodes that the control plane noticed.
    pub noticed: BTreeSet<usize>,
    /// Evictions from its nodes.
    pub evicted: Span,
    /// Number of evictions.
    pub evictions: u32,
    /// Pods that were on its nodes, by workload.
    pub hit: BTreeMap<u32, u32>,
    /// Pods of workloads that keep replicas, on its nodes.
    pub to_replace: u32,
    /// Replacements bound so far.
    pub replaced: u32,
    /// First and last replacement bound.
    pub rebound: Span,
    /// Disks that only its nodes reach: known at the end.
    pub disks: OutOfReach,
}

/// First and last instant of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First.
    pub first: Option<SimTime>,
    /// Last.
    pub last: Option<SimTime>,
}

impl Span {
    /// It happened now.
    pub fn add(&mut self, now: SimTime) {
        self.first = self.first.or(Some(now));
        self.last = Some(now);
    }
}

impl FaultRow {
    /// A fault of the plan that has not begun.
    #[must_use]
    pub fn new(fault: &Fault) -> Self {
        let zone = match &fault.whom {
            Whom::Zone(zone) => Some(*zone),
            Whom::Names(_)
            | Whom::Selector(..)
            | Whom::Count(_)
            | Whom::Component(_)
            | Whom::Registry(_)
            | Whom::LogStore
            | Whom::Process(..)
            | Whom::ControlPlane
            | Whom::All
            | Whom::Share(..)
            | Whom::Between(_) => None,
        };
        Self {
            name: fault.name.clone(),
            what: fault.what,
            component: match &fault.whom {
                _ if matches!(fault.what, FaultKind::Overload(_)) => "kube-apiserver",
                Whom::Component(component) => component.name(),
                Whom::Registry(_) => "image registry",
                Whom::LogStore => "log store",
                Whom::Process(process, _) => process.name(),
                Whom::Names(_)
                | Whom::Zone(_)
                | Whom::Selector(..)
                | Whom::Count(_)
                | Whom::ControlPlane
                | Whom::All
                | Whom::Share(..)
                | Whom::Between(_) => "",
            },
            zone,
            ..Self::again("")
        }
    }

    /// Outages of machines that come again and again.
    #[must_use]
    pub fn again(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            what: FaultKind::NodeCrash,
            component: "",
            zone: None,
            begun: None,
            ended: None,
            nodes: BTreeSet::new(),
            back: BTreeSet::new(),
            detected: Span::default(),
            noticed: BTreeSet::new(),
            evicted: Span::default(),
            evictions: 0,
            hit: BTreeMap::new(),
            to_replace: 0,
            replaced: 0,
            rebound: Span::default(),
            disks: OutOfReach::default(),
        }
    }

    /// A node is struck.
    pub fn strike(&mut self, node: usize, now: SimTime) {
        self.begun = self.begun.or(Some(now));
        self.nodes.insert(node);
    }

    /// A node is back.
    pub fn relieve(&mut self, node: usize, now: SimTime) {
        self.back.insert(node);
        if self.back.len() >= self.nodes.len() {
            self.ended = Some(now);
        }
    }

    /// A pod was on a struck node.
    pub fn hits(&mut self, workload: u32, serves: bool) {
        *self.hit.entry(workload).or_default() += 1;
        self.to_replace += u32::from(serves);
    }

    /// A pod that was created at `created` has been bound: is it a replacement?
    pub fn bound(&mut self, workload: u32, created: SimTime, now: SimTime) {
        let Some(begun) = self.begun else { return };
        if self.replaced < self.to_replace && created >= begun && self.hit.contains_key(&workload) {
            self.replaced += 1;
            self.rebound.add(now);
        }
    }
}

/// True if a phrase of a fault record tells its begin (`machine crashes`, `kubelet stops`) and
/// not its end (`machine boots`, `kubelet starts`).
#[must_use]
pub fn begins(step: &str) -> bool {
    ["crash", "stop", "shut", "fail", "lost", "loses", "dies", "power off", "alarm: "]
        .iter()
        .any(|word| step.contains(word))
}
