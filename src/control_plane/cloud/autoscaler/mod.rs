//! Autoscalers of nodes: [`cluster`] is the cluster autoscaler, [`karpenter`] is Karpenter. Both
//! see the cluster through a [`simulation::Mirror`] and try things out on a [`simulation::Trial`].

pub mod cluster;
pub mod config;
mod disruption;
mod drain;
pub mod karpenter;
mod scaledown;
mod scaleup;
pub mod simulation;

pub use config::AutoscalerConfig;

use super::config::CloudConfig;
use crate::api::node::{Node, keys};
use crate::api::request::Outcome;
use crate::api::versions::Change;
use crate::control_plane::scheduler::config::SchedulerConfig;
use crate::engine::{SimTime, Sym};
use crate::event::cloud::{CloudAnswer, Offer};
use crate::event::{Address, AutoscalerEvent, Context, Event, Role};
use std::sync::Arc;

/// The autoscaler of a cluster.
#[derive(Debug, Clone)]
pub enum Autoscaler {
    /// The cluster autoscaler.
    Cluster(Box<cluster::ClusterAutoscaler>),
    /// Karpenter.
    Karpenter(Box<karpenter::Karpenter>),
}

impl Autoscaler {
    /// The autoscaler of a cloud, if it has one.
    #[must_use]
    pub fn new(config: &Arc<CloudConfig>, scheduler: &SchedulerConfig) -> Option<Self> {
        match config.autoscaler.as_ref()? {
            AutoscalerConfig::Cluster(flags) => {
                let made = cluster::ClusterAutoscaler::new(config, flags, scheduler);
                Some(Self::Cluster(Box::new(made)))
            }
            AutoscalerConfig::Karpenter(options) => {
                let made = karpenter::Karpenter::new(config, options, scheduler);
                Some(Self::Karpenter(Box::new(made)))
            }
        }
    }

    /// A delivered change.
    pub fn on_change(&mut self, change: &Change, cx: &mut Context<'_>) {
        match self {
            Self::Cluster(it) => it.on_change(change, cx),
            Self::Karpenter(it) => it.on_change(change, cx),
        }
    }

    /// The provider says that it takes a machine. True if the autoscaler sees to it: the cluster
    /// autoscaler does not.
    pub fn on_notice(&mut self, node: Sym, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Cluster(_) => false,
            Self::Karpenter(it) => {
                it.on_notice(node, cx);
                true
            }
        }
    }

    /// An event.
    pub fn handle(&mut self, event: AutoscalerEvent, cx: &mut Context<'_>) {
        match self {
            Self::Cluster(it) => it.handle(event, cx),
            Self::Karpenter(it) => it.handle(event, cx),
        }
    }

    /// The answer to a request.
    pub fn on_answer(&mut self, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        match self {
            Self::Cluster(it) => it.on_answer(token, outcome, cx),
            Self::Karpenter(it) => it.on_answer(token, outcome, cx),
        }
    }

    /// The cloud has answered.
    pub fn on_cloud(&mut self, token: u32, answer: CloudAnswer, cx: &mut Context<'_>) {
        match self {
            Self::Cluster(it) => it.on_cloud(token, answer, cx),
            Self::Karpenter(it) => it.on_cloud(token, &answer, cx),
        }
    }
}

/// The Node of a machine that is still to come.
fn template(config: &CloudConfig, group: u16, offer: Offer, name: Sym) -> Arc<Node> {
    let kind = config.kind(offer.kind);
    let mut node = Node::clone(&config.group(group).template);
    node.meta.name = crate::api::Name::new(name.as_str());
    node.meta.labels = node.meta.labels.with(keys::HOSTNAME.into(), name);
    config.label(&mut node, offer);
    if config.group(group).kind.is_none() {
        node.meta.labels = node.meta.labels.with(CAPACITY_TYPE.into(), capacity_type(offer.spot));
        node.status.capacity = Arc::clone(&kind.capacity);
        node.status.allocatable = Arc::clone(&kind.allocatable);
    }
    Arc::new(node)
}

/// Token of the answers to Kubernetes Events; no drain has it.
const EVENT: u32 = u32::MAX;

/// Where the answer to a request goes that has this token.
const fn reply(token: u32) -> (Address, u32) {
    (Address::new(Role::Autoscaler, 0), token)
}

/// Sees to it that the next scan comes no later than `at`.
fn rearm(armed: &mut Option<(SimTime, u64)>, at: SimTime, cx: &mut Context<'_>) {
    match *armed {
        Some((before, _)) if before <= at => return,
        Some((_, seq)) => cx.cancel(seq),
        None => {}
    }
    *armed = Some((at, cx.schedule(at, Event::Autoscaler(AutoscalerEvent::Scan))));
}

/// Karpenter's label of the price a machine has.
pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";

/// Its values.
#[must_use]
pub fn capacity_type(spot: bool) -> Sym {
    Sym::new(if spot { "spot" } else { "on-demand" })
}
