//! What can be lost, read off the plan.

use crate::api::node::keys;
use crate::cluster::spec::{Component, Fault, FaultKind, NodeSpec, Plan, StaticPod, Which, Whom};
use crate::engine::{SimDuration, SimTime, Sym};
use std::fmt;

/// Kinds of things that can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain {
    /// A zone: all its nodes lose power.
    Zone,
    /// A node of the control plane loses power.
    ControlPlane,
    /// A worker node loses power.
    Node,
    /// The process of a control-plane component is gone until the repair: of several on nodes the
    /// one that leads, and another one may take over.
    Component,
    /// The process of a member of etcd is gone.
    Etcd,
    /// The process of an API server is gone.
    ApiServer,
}

impl Domain {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Zone, Self::ControlPlane, Self::Node, Self::Component, Self::Etcd, Self::ApiServer];

    /// As the command line and the tables call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::ControlPlane => "control-plane",
            Self::Node => "node",
            Self::Component => "component",
            Self::Etcd => StaticPod::Etcd.name(),
            Self::ApiServer => StaticPod::ApiServer.name(),
        }
    }

    /// By that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.word() == word)
    }
}

/// One thing that can be lost.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its kind.
    pub domain: Domain,
    /// Its name.
    pub name: Sym,
    /// What happens to whom.
    pub blows: Vec<(FaultKind, Whom)>,
}

/// Everything of a plan that can be lost: the one place to extend when something else can.
#[must_use]
pub fn parts(plan: &Plan) -> Vec<Part> {
    let crash =
        |domain, name, whom| Part { domain, name, blows: vec![(FaultKind::NodeCrash, whom)] };
    let mut all = Vec::new();
    let mut zones: Vec<Sym> = plan.cluster.nodes.iter().map(|n| n.zone).collect();
    zones.retain(|zone| !zone.is_empty());
    zones.sort_by(|a, b| a.cmp_text(*b));
    zones.dedup();
    all.extend(zones.into_iter().map(|zone| crash(Domain::Zone, zone, Whom::Zone(zone))));
    for node in &plan.cluster.nodes {
        let domain = if rules(node) { Domain::ControlPlane } else { Domain::Node };
        all.push(crash(domain, node.name, Whom::Names(vec![node.name])));
    }
    all.extend(processes(plan));
    all
}

/// Processes of the control plane, without the nodes that they may run on.
fn processes(plan: &Plan) -> Vec<Part> {
    let gone = |domain, name, whom| Part { domain, name, blows: vec![(FaultKind::Restart, whom)] };
    let nodes = plan.cluster.control_plane.as_ref().map_or(&[][..], |c| c.nodes.as_slice());
    let elected = [
        (Component::Scheduler, StaticPod::Scheduler),
        (Component::ControllerManager, StaticPod::ControllerManager),
    ];
    let leaders = elected.into_iter().map(|(component, pod)| {
        let whom = if nodes.is_empty() {
            Whom::Component(component)
        } else {
            Whom::Process(pod, Which::Leader)
        };
        gone(Domain::Component, Sym::new(component.name()), whom)
    });
    let members = [(Domain::Etcd, StaticPod::Etcd), (Domain::ApiServer, StaticPod::ApiServer)];
    let members = members.into_iter().flat_map(|(domain, pod)| {
        let on = move |node: &Sym| Whom::Process(pod, Which::On(vec![*node]));
        nodes.iter().map(move |node| gone(domain, *node, on(node)))
    });
    leaders.chain(members).collect()
}

/// True for a node of the control plane.
fn rules(node: &NodeSpec) -> bool {
    let role = Sym::new(keys::CONTROL_PLANE);
    node.labels.get(role).is_some() || node.taints.iter().any(|t| t.key == role)
}

/// One or more things that are lost at once.
#[derive(Debug, Clone)]
pub struct Loss {
    /// The things.
    pub parts: Vec<Part>,
}

impl Loss {
    /// The faults that make it, from an instant on for a span.
    #[must_use]
    pub fn faults(&self, at: SimTime, lasts: SimDuration) -> Vec<Fault> {
        let blows = self.parts.iter().flat_map(|part| &part.blows);
        blows
            .map(|(what, whom)| Fault {
                name: self.to_string(),
                what: *what,
                whom: whom.clone(),
                at,
                lasts: Some(lasts),
            })
            .collect()
    }

    /// The kind of its things; several are joined.
    #[must_use]
    pub fn kind(&self) -> String {
        let words: Vec<&str> = self.parts.iter().map(|p| p.domain.word()).collect();
        words.join("+")
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            let join = if i == 0 { "" } else { " + " };
            write!(f, "{join}{} {}", part.domain.word(), part.name)?;
        }
        Ok(())
    }
}

/// Each thing of these kinds by itself.
#[must_use]
pub fn all(parts: &[Part], domains: &[Domain]) -> Vec<Loss> {
    let chosen = parts.iter().filter(|p| domains.contains(&p.domain));
    chosen.map(|part| Loss { parts: vec![part.clone()] }).collect()
}

/// Each two things of these kinds together.
#[must_use]
pub fn pairs(parts: &[Part], domains: &[Domain]) -> Vec<Loss> {
    let chosen: Vec<&Part> = parts.iter().filter(|p| domains.contains(&p.domain)).collect();
    let mut losses = Vec::new();
    for (i, one) in chosen.iter().enumerate() {
        for other in &chosen[i + 1..] {
            losses.push(Loss { parts: vec![Part::clone(one), Part::clone(other)] });
        }
    }
    losses
}
