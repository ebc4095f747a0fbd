//! Karpenter's disruption: nodes that have expired, nodes that are empty, and nodes whose pods have
//! room elsewhere or on something cheaper (source: `karp:pkg/controllers/disruption`).

use super::config::{Budget, Consolidation, NodePool};
use super::karpenter::{Command, Karpenter, Own};
use super::simulation::{Pending, is_daemon, place};
use crate::api::versions::ObjRef;
use crate::api::{Kind, Pod};
use crate::engine::{SimTime, Sym, num};
use crate::event::Context;
use std::sync::Arc;

/// Nodes of one multi-node consolidation at most (source: `multinodeconsolidation.go`).
const TOGETHER: usize = 100;
/// The annotation of pods and nodes that are to be left alone.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

type Pods = Vec<(ObjRef, Arc<Pod>)>;

impl Karpenter {
    /// The pods that have to leave with a node.
    pub(super) fn movable(&self, node: Sym) -> Pods {
        let mut pods = self.mirror.pods_on(node);
        pods.retain(|(_, pod)| !is_daemon(pod) && !pod.meta.terminating());
        pods
    }

    /// One round; says when something is due that nothing announces.
    pub(super) fn disrupt(&mut self, cx: &mut Context<'_>) -> Option<SimTime> {
        self.finish_commands(cx);
        self.expire(cx);
        let now = cx.now();
        let due = self.due(now);
        if self.commands.is_empty() {
            let acted = self.remove_empty(&due, cx)
                || self.launches.is_empty()
                    && (self.consolidate_many(&due, cx) || self.consolidate_one(&due, cx));
            if acted {
                return Some(now);
            }
        }
        self.own.values().filter_map(|own| self.instant(own)).filter(|at| *at > now).min()
    }

    fn pool(&self, own: &Own) -> Option<&NodePool> {
        self.options.pools.iter().find(|p| p.group == own.machine.group)
    }

    /// When a node may first be consolidated, or expires.
    fn instant(&self, own: &Own) -> Option<SimTime> {
        let pool = self.pool(own)?;
        let rests = pool.consolidate_after.map(|after| own.touched + after);
        let expires = pool.expire_after.map(|after| own.machine.since + after);
        rests.into_iter().chain(expires).filter(|at| *at > SimTime::ZERO).min()
    }

    /// Nodes at rest for long enough, the least to disturb first.
    fn due(&self, now: SimTime) -> Vec<(Sym, Pods)> {
        let mut due: Vec<(Sym, Pods)> = Vec::new();
        for own in self.own.values().filter(|own| own.served) {
            let name = own.machine.name;
            let after = self.pool(own).and_then(|p| p.consolidate_after);
            let rests = after.is_some_and(|after| own.touched + after <= now);
            if !rests || self.drains.holds(name) || self.leaves(name) {
                continue;
            }
            let pods = self.movable(name);
            if self.mirror.cache.node_named(name).is_some() && !self.held(name, &pods) {
                due.push((name, pods));
            }
        }
        due.sort_by_key(|(name, pods)| (pods.len(), name.as_str()));
        due
    }

    /// Something on the node, or a budget, says that it is to be left alone.
    fn held(&self, node: Sym, pods: &Pods) -> bool {
        let marked = |value: Option<&str>| value == Some("true");
        let object = self.mirror.cache.node_named(node);
        let budgets = self.mirror.cache.budgets();
        object.is_some_and(|n| marked(n.meta.annotation(DO_NOT_DISRUPT)))
            || pods.iter().any(|(_, pod)| {
                let meta = &pod.meta;
                let own = |b: &&crate::api::pdb::PodDisruptionBudget| {
                    b.meta.ns == meta.ns && b.matches(meta.labels)
                };
                marked(meta.annotation(DO_NOT_DISRUPT))
                    || budgets.iter().filter(own).any(|b| b.status.disruptions_allowed < 1)
            })
    }

    /// How many nodes of a pool may still be disrupted now.
    fn allowance(&self, group: u16) -> usize {
        let Some(pool) = self.options.pools.iter().find(|p| p.group == group) else { return 0 };
        let of_pool = || self.own.values().filter(|own| own.machine.group == group);
        let all = of_pool().count();
        let away = of_pool()
            .filter(|own| self.drains.holds(own.machine.name) || self.leaves(own.machine.name))
            .count();
        let most = |budget: &Budget| match *budget {
            Budget::Nodes(n) => n as usize,
            Budget::Percent(p) => (all * p as usize).div_ceil(100),
        };
        let most = pool.budgets.iter().map(most).min().unwrap_or(usize::MAX);
        most.saturating_sub(away)
    }

    /// Keeps as many of them, in order, as the budgets of their pools allow.
    fn within_budgets(&self, due: &[(Sym, Pods)]) -> Vec<(Sym, Pods)> {
        let mut taken: Vec<(u16, usize)> = Vec::new();
        let mut kept = Vec::new();
        for (name, pods) in due {
            let Some(own) = self.own.get(name.as_str()) else { continue };
            let group = own.machine.group;
            let at = taken.iter().position(|(g, _)| *g == group).unwrap_or_else(|| {
                taken.push((group, 0));
                taken.len() - 1
            });
            if taken[at].1 < self.allowance(group) {
                taken[at].1 += 1;
                kept.push((*name, pods.clone()));
            }
        }
        kept
    }

    fn remove_empty(&mut self, due: &[(Sym, Pods)], cx: &mut Context<'_>) -> bool {
        let mut empty: Vec<(Sym, Pods)> =
            due.iter().filter(|(_, pods)| pods.is_empty()).cloned().collect();
        if !empty.is_empty() && !self.mirror.pending.is_empty() {
            self.leave_awaited(&mut empty);
        }
        let empty = self.within_budgets(&empty);
        for (node, pods) in &empty {
            self.drain(*node, pods, "Empty", cx);
        }
        !empty.is_empty()
    }

    /// Takes out nodes on which pods that wait have room (source: `IsNodeNominated`).
    fn leave_awaited(&self, nodes: &mut Vec<(Sym, Pods)>) {
        let profiles = self.profiles.clone();
        let mut trial = self.trial(&profiles);
        self.pack(&mut trial, self.waiting());
        let waits = |object: &ObjRef| self.mirror.pending.contains_key(&place(*object));
        let row = |name: Sym| trial.cache.row_named(name);
        nodes.retain(|(name, _)| !row(*name).is_some_and(|row| row.pods.iter().any(waits)));
    }

    /// Of nodes that may be consolidated with their pods, the most that can go together.
    fn consolidate_many(&mut self, due: &[(Sym, Pods)], cx: &mut Context<'_>) -> bool {
        let all = self.consolidatable(due);
        let mut n = all.len().min(TOGETHER);
        while n >= 2 {
            if self.consolidate(&all[..n], cx) {
                return true;
            }
            n /= 2;
        }
        false
    }

    fn consolidate_one(&mut self, due: &[(Sym, Pods)], cx: &mut Context<'_>) -> bool {
        let all = self.consolidatable(due);
        (0..all.len()).any(|i| self.consolidate(&all[i..=i], cx))
    }

    fn consolidatable(&self, due: &[(Sym, Pods)]) -> Vec<(Sym, Pods)> {
        let wants = |(name, pods): &&(Sym, Pods)| {
            let pool = self.own.get(name.as_str()).and_then(|own| self.pool(own));
            !pods.is_empty()
                && pool.is_some_and(|p| p.policy == Consolidation::WhenEmptyOrUnderutilized)
        };
        let all: Vec<(Sym, Pods)> = due.iter().filter(wants).cloned().collect();
        self.within_budgets(&all)
    }

    /// Takes nodes away if their pods have room on the others, or on one new machine that costs
    /// less than they do. Pods that wait are tried too; those that fit nowhere anyway do not matter
    /// (source: `AllNonPendingPodsScheduled`). One spot machine is not replaced by another (source:
    /// `SpotToSpotConsolidation` is off).
    fn consolidate(&mut self, nodes: &[(Sym, Pods)], cx: &mut Context<'_>) -> bool {
        let profiles = self.profiles.clone();
        let mut trial = self.trial(&profiles);
        let (mut price, mut spot) = (0_u64, false);
        let mut pods = Vec::new();
        for (name, on) in nodes {
            if let Some(own) = self.own.get(name.as_str()) {
                let offer = own.machine.offer;
                price += u64::from(self.config.kind(offer.kind).price_of(offer.spot));
                spot |= offer.spot;
            }
            for (object, pod) in on {
                trial.cache.remove_pod(*object);
                let mut free = Pod::clone(pod);
                free.node = Sym::EMPTY;
                let since = cx.now();
                pods.push(Pending { object: *object, pod: Arc::new(free), since });
            }
            trial.cache.remove_node(*name);
        }
        pods.extend(self.mirror.pending.values().cloned());
        let waits = |p: &Pending| self.mirror.pending.contains_key(&place(p.object));
        let (mut claims, stuck) = self.pack(&mut trial, pods);
        let new = claims.iter().any(|claim| claim.pods.iter().any(waits));
        let homeless = stuck.iter().any(|(pending, _)| !waits(pending));
        if new || homeless || claims.len() > 1 || spot && !claims.is_empty() {
            return false;
        }
        let names: Vec<Sym> = nodes.iter().map(|(name, _)| *name).collect();
        let Some(mut claim) = claims.pop() else {
            for (node, pods) in nodes {
                self.drain(*node, pods, "Underutilized", cx);
            }
            return true;
        };
        claim.pods.clear();
        let Some(token) = self.launch(claim, Some(price), cx) else { return false };
        self.commands.push(Command { nodes: names, launch: Some(token), machine: None });
        true
    }

    /// Nodes whose replacements serve are drained.
    fn finish_commands(&mut self, cx: &mut Context<'_>) {
        let commands = std::mem::take(&mut self.commands);
        for command in commands {
            let own = command.machine.map(|name| self.own.get(name.as_str()));
            let served = own.is_some_and(|own| own.is_some_and(|own| own.served));
            let lost = own.is_some_and(|own| own.is_none());
            if served {
                for node in command.nodes {
                    let pods = self.movable(node);
                    self.drain(node, &pods, "Underutilized", cx);
                }
            } else if !lost {
                self.commands.push(command);
            }
        }
    }

    /// Nodes that have lived as long as they may go whatever is on them.
    fn expire(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        let old = |own: &&Own| {
            let after = self.pool(own).and_then(|p| p.expire_after);
            after.is_some_and(|after| own.machine.since + after <= now)
        };
        let old: Vec<Sym> = self.own.values().filter(old).map(|own| own.machine.name).collect();
        for node in old {
            if !self.drains.holds(node) {
                let pods = self.movable(node);
                self.drain(node, &pods, "Expired", cx);
            }
        }
    }

    fn drain(&mut self, node: Sym, pods: &Pods, why: &str, cx: &mut Context<'_>) {
        if let Some(object) = self.mirror.cache.node_named(node) {
            let n = num::u32_of(pods.len());
            let words = format!("Disrupting Node: {why} ({n} pods)");
            self.say((Kind::Node, &object.meta), (false, "DisruptionTerminating"), &words, cx);
        }
        self.drains.begin(node, pods, &mut self.limiter, cx);
    }
}
