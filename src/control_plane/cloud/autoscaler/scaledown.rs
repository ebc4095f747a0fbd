//! Shrinking: nodes that are little used, and whose pods have room elsewhere, are taken away once
//! that has lasted (source: `CA:core/scaledown/{planner,eligibility,actuation}`,
//! `CA:simulator/drainability/rules`).

use super::cluster::{ClusterAutoscaler, NAME};
use super::config::ClusterFlags;
use super::drain::set_taint;
use super::simulation::{Trial, is_daemon, ready};
use crate::api::meta::Stamp;
use crate::api::node::Node;
use crate::api::pdb::PodDisruptionBudget;
use crate::api::pod::{Effect, Taint};
use crate::api::versions::ObjRef;
use crate::api::{Kind, Pod};
use crate::engine::{SimTime, Sym, num};
use crate::event::Context;
use crate::event::cloud::Machine;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Candidates with pods that are tried in one scan (source:
/// `--scale-down-non-empty-candidates-count`).
const CANDIDATES: usize = 30;
/// Soft taints put or taken away in one scan (source: `--max-bulk-soft-taint-count`).
const SOFT_TAINTS: usize = 10;
/// The taint of a node that may be taken away.
const CANDIDATE: &str = "DeletionCandidateOfClusterAutoscaler";
/// Annotations.
const DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
const SAFE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const SAFE_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

type Pods = Vec<(ObjRef, Arc<Pod>)>;

/// A node could not go when last tried.
#[derive(Debug, Clone, Copy)]
struct Bar {
    /// Until when that is believed.
    until: SimTime,
    /// How often something had changed by then.
    heard: u64,
}

/// What shrinking remembers. Nodes go by their names, in the order of these.
#[derive(Debug, Clone, Default)]
pub(super) struct ScaleDown {
    /// Since when each node is not needed.
    unneeded: BTreeMap<&'static str, SimTime>,
    /// Nodes that could not go when last tried.
    unremovable: BTreeMap<&'static str, Bar>,
    /// How often something has changed.
    heard: u64,
    last_deleted: Option<SimTime>,
    last_failed: Option<SimTime>,
}

impl ScaleDown {
    /// Nodes that are not needed now.
    pub(super) fn count(&self) -> usize {
        self.unneeded.len()
    }

    /// Something has changed.
    pub(super) fn hear(&mut self) {
        self.heard += 1;
    }

    /// When a node is to be tried again that could not go: if nothing has changed since, the same
    /// would be found.
    pub(super) fn recheck(&self) -> Option<SimTime> {
        let stirred = self.unremovable.values().filter(|bar| bar.heard != self.heard);
        stirred.map(|bar| bar.until).min()
    }

    /// A node's machine has been ended.
    pub(super) fn deleted(&mut self, node: Sym, now: SimTime) {
        self.unneeded.remove(node.as_str());
        self.last_deleted = Some(now);
    }
}

/// Share of a node that its pods request: the larger one of CPU and memory (source:
/// `CA:simulator/utilization/info.go`).
fn utilization(node: &Node, pods: &[(ObjRef, Arc<Pod>)], flags: &ClusterFlags) -> f64 {
    let (mut cpu, mut memory) = (0, 0);
    for (_, pod) in pods {
        if !(flags.ignore_daemonsets_utilization && is_daemon(pod)) {
            cpu += pod.spec.requests.cpu_milli;
            memory += pod.spec.requests.memory;
        }
    }
    let share = |used: i64, of: i64| if of == 0 { 0.0 } else { num::float(used) / num::float(of) };
    let has = &node.status.allocatable;
    share(cpu, has.cpu_milli).max(share(memory, has.memory))
}

/// The volumes of a pod that lie on its node: `hostPath`, and `emptyDir` but in memory.
fn local_volumes(pod: &Pod) -> Vec<&str> {
    let doc = pod.spec.doc.as_deref().and_then(|d| d.get("volumes")).and_then(Value::as_array);
    let local = |volume: &&Value| {
        let empty = volume.get("emptyDir");
        let medium = empty.and_then(|e| e.get("medium")).and_then(Value::as_str);
        volume.get("hostPath").is_some() || empty.is_some() && medium != Some("Memory")
    };
    doc.into_iter()
        .flatten()
        .filter(local)
        .filter_map(|v| v.get("name").and_then(Value::as_str))
        .collect()
}

/// Why a pod may not be moved, if it may not.
pub(super) fn blocks(
    pod: &Pod,
    budgets: &[PodDisruptionBudget],
    flags: &ClusterFlags,
) -> Option<&'static str> {
    let meta = &pod.meta;
    let budget = |b: &&PodDisruptionBudget| b.meta.ns == meta.ns && b.matches(meta.labels);
    let mut own = budgets.iter().filter(budget).peekable();
    let guarded = own.peek().is_some();
    if own.any(|b| b.status.disruptions_allowed < 1) {
        return Some("not enough pod disruption budget");
    }
    match meta.annotation(SAFE) {
        Some("true") => return None,
        Some("false") => return Some("annotated as not safe to evict"),
        Some(_) | None => {}
    }
    if meta.controller().is_none() {
        return Some("not replicated");
    }
    if flags.skip_nodes_with_system_pods && meta.ns.as_str() == "kube-system" && !guarded {
        return Some("a pod of kube-system without a budget");
    }
    let listed: Vec<&str> =
        meta.annotation(SAFE_VOLUMES).map(|l| l.split(',').collect()).unwrap_or_default();
    let local = local_volumes(pod).into_iter().any(|v| !listed.contains(&v));
    (flags.skip_nodes_with_local_storage && local).then_some("local storage")
}

impl ClusterAutoscaler {
    /// Looks which nodes are not needed, and takes away those that have not been for long enough.
    /// Says when one of its delays ends.
    pub(super) fn scale_down(&mut self, grew: bool, cx: &mut Context<'_>) -> Option<SimTime> {
        if !self.flags.scale_down_enabled {
            return None;
        }
        self.find_unneeded(cx);
        self.soft_taints(cx);
        let now = cx.now();
        let rest = self.rests_until();
        let first = self.down.unneeded.iter().map(|(name, since)| *since + self.patience(name));
        let first = first.min()?;
        if grew || rest > now || first > now {
            return Some(rest.max(first).max(now));
        }
        self.take_away(cx);
        let later = self.down.unneeded.iter().map(|(name, since)| *since + self.patience(name));
        later.filter(|at| *at > now).min()
    }

    /// Nothing is taken away until then.
    fn rests_until(&self) -> SimTime {
        let flags = &self.flags;
        let after = |at: Option<SimTime>, span| at.map_or(SimTime::ZERO, |at| at + span);
        after(self.last_grown, flags.scale_down_delay_after_add)
            .max(after(self.down.last_deleted, flags.scale_down_delay_after_delete))
            .max(after(self.down.last_failed, flags.scale_down_delay_after_failure))
    }

    fn patience(&self, name: &str) -> crate::engine::SimDuration {
        let node = self.mirror.cache.node_named(Sym::new(name));
        if node.is_some_and(|node| ready(&node)) {
            self.flags.scale_down_unneeded_time
        } else {
            self.flags.scale_down_unready_time
        }
    }

    /// The pods that have to go elsewhere with a node; or why they cannot.
    fn to_move(&self, node: Sym) -> Result<Pods, &'static str> {
        let budgets = self.mirror.cache.budgets();
        let mut pods = self.mirror.pods_on(node);
        pods.retain(|(_, pod)| !is_daemon(pod) && !pod.meta.terminating());
        match pods.iter().find_map(|(_, pod)| blocks(pod, budgets, &self.flags)) {
            Some(why) => Err(why),
            None => Ok(pods),
        }
    }

    /// Nodes that may be looked at, by name.
    fn eligible(&mut self, now: SimTime) -> Vec<(Sym, Machine)> {
        self.down.unremovable.retain(|_, bar| bar.until > now);
        let threshold = f64::from(self.flags.scale_down_utilization_percent) / 100.0;
        let mut all: Vec<(Sym, Machine)> = Vec::new();
        for machine in self.own() {
            let name = machine.name;
            let Some(node) = self.mirror.cache.node_named(name) else { continue };
            let barred = self.drains.holds(name)
                || node.meta.annotation(DISABLED) == Some("true")
                || self.down.unremovable.contains_key(name.as_str());
            let pods = self.mirror.pods_on(name);
            if !barred && (!ready(&node) || utilization(&node, &pods, &self.flags) < threshold) {
                all.push((name, *machine));
            }
        }
        all.sort_by(|a, b| a.0.cmp_text(b.0));
        all
    }

    fn find_unneeded(&mut self, cx: &Context<'_>) {
        let now = cx.now();
        let eligible = self.eligible(now);
        let profiles = self.profiles.clone();
        let mut trial = Trial::new(&self.mirror, &profiles);
        let mut gone: Vec<Sym> = self.drains.all().map(|(node, _)| node).collect();
        let mut with_pods = Vec::new();
        for (name, _) in eligible {
            match self.to_move(name) {
                Ok(pods) if pods.is_empty() => gone.push(name),
                Ok(pods) => with_pods.push((name, pods)),
                Err(_) => self.unremovable(name, now),
            }
        }
        // Those that were not needed before are tried first.
        with_pods.sort_by_key(|(name, _)| !self.down.unneeded.contains_key(name.as_str()));
        for (name, pods) in with_pods.into_iter().take(CANDIDATES) {
            if place_all(&mut trial, name, &pods, &gone) {
                gone.push(name);
            } else {
                self.unremovable(name, now);
            }
        }
        let draining: Vec<Sym> = self.drains.all().map(|(node, _)| node).collect();
        gone.retain(|name| !draining.contains(name));
        let before = std::mem::take(&mut self.down.unneeded);
        for name in gone {
            let name = name.as_str();
            self.down.unneeded.insert(name, before.get(name).copied().unwrap_or(now));
        }
    }

    fn unremovable(&mut self, name: Sym, now: SimTime) {
        let until = now + self.flags.unremovable_node_recheck_timeout;
        let bar = Bar { until, heard: self.down.heard };
        self.down.unremovable.insert(name.as_str(), bar);
    }

    /// Nodes that may go are the scheduler's last choice (source: `softtaint.go`).
    fn soft_taints(&mut self, cx: &mut Context<'_>) {
        let mut turn = Vec::new();
        for machine in self.own() {
            let Some(node) = self.mirror.cache.node_named(machine.name) else { continue };
            let has = node.taints.iter().any(|t| t.key.as_str() == CANDIDATE);
            let wants = self.down.unneeded.contains_key(machine.name.as_str());
            if has != wants && !self.drains.holds(machine.name) {
                turn.push((machine.name, wants));
            }
        }
        for (node, on) in turn.into_iter().take(SOFT_TAINTS) {
            let (effect, added) = (Effect::PreferNoSchedule, Stamp::NONE);
            let value = Sym::new(&cx.stamp().0.to_string());
            let taint = Taint { key: CANDIDATE.into(), value, effect, added };
            set_taint((NAME.into(), node), (taint, on), None, &mut self.limiter, cx);
        }
    }

    /// Takes away what is due: empty nodes together, nodes with pods one at a time.
    fn take_away(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        let mut sizes: BTreeMap<u16, u32> = BTreeMap::new();
        let draining = |group: u16| {
            let of = |m: &&Machine| m.group == group && self.drains.holds(m.name);
            num::u32_of(self.listing.machines.iter().filter(of).count())
        };
        for group in self.own().map(|m| m.group) {
            let left = self.size(group).saturating_sub(draining(group));
            sizes.insert(group, left);
        }
        let due: Vec<Machine> = self
            .own()
            .filter(|m| {
                let since = self.down.unneeded.get(m.name.as_str());
                since.is_some_and(|since| *since + self.patience(m.name.as_str()) <= now)
            })
            .copied()
            .collect();
        let mut due: Vec<(Machine, Pods)> =
            due.into_iter().filter_map(|m| Some((m, self.to_move(m.name).ok()?))).collect();
        due.sort_by_key(|(_, pods)| !pods.is_empty());
        for (machine, pods) in due {
            let (mut all, mut full) = (0, 0);
            for (_, has_pods) in self.drains.all() {
                all += 1;
                full += u32::from(has_pods);
            }
            let min = self.config.group(machine.group).bounds.map_or(0, |b| b.0);
            let size = sizes.entry(machine.group).or_default();
            let busy = all >= self.flags.max_scale_down_parallelism
                || !pods.is_empty() && full >= self.flags.max_drain_parallelism;
            if busy || *size <= min {
                continue;
            }
            *size -= 1;
            self.drain(machine.name, &pods, cx);
        }
    }

    fn drain(&mut self, node: Sym, pods: &Pods, cx: &mut Context<'_>) {
        if let Some(object) = self.mirror.cache.node_named(node) {
            let words = "marked the node as toBeDeleted/unschedulable";
            self.say((Kind::Node, &object.meta), (false, "ScaleDown"), words, cx);
        }
        for (_, pod) in pods {
            self.say_of_pod(pod, "ScaleDown", "deleting pod for node scale down", cx);
        }
        self.drains.begin(node, pods, &mut self.limiter, cx);
    }

    /// The node stays: it may be used again (source: `actuation/node_deletion_batcher.go`,
    /// `CleanToBeDeleted`).
    pub(super) fn drain_failed(&mut self, node: Sym, cx: &mut Context<'_>) {
        self.down.last_failed = Some(cx.now());
        self.unremovable(node, cx.now());
        let Some(object) = self.mirror.cache.node_named(node) else { return };
        let words = "failed to drain the node, aborting ScaleDown";
        self.say((Kind::Node, &object.meta), (true, "ScaleDownFailed"), words, cx);
        let key = Sym::new("ToBeDeletedByClusterAutoscaler");
        if let Some(taint) = object.taints.iter().find(|t| t.key == key).copied() {
            set_taint((NAME.into(), node), (taint, false), None, &mut self.limiter, cx);
        }
    }
}

/// Puts all pods of a node elsewhere on the trial cluster; if one fits nowhere, none is moved.
fn place_all(trial: &mut Trial<'_>, node: Sym, pods: &Pods, gone: &[Sym]) -> bool {
    for (object, _) in pods {
        trial.cache.remove_pod(*object);
    }
    for (i, (object, pod)) in pods.iter().enumerate() {
        let mut free = Pod::clone(pod);
        free.node = Sym::EMPTY;
        let place = trial.fits(&free, 0, |n| n != node && !gone.contains(&n));
        let Some((_, target)) = place else {
            for (object, _) in &pods[..i] {
                trial.cache.remove_pod(*object);
            }
            for (object, pod) in pods {
                trial.put(*object, pod, node);
            }
            return false;
        };
        trial.put(*object, pod, target);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::meta::Owner;
    use crate::api::{Name, PodSpec, Uid};
    use serde_json::json;

    fn pod(ns: &str) -> Pod {
        let mut pod = Pod::default();
        pod.meta.ns = ns.into();
        pod.meta.name = Name::new("web-1");
        pod.meta.owners = Some(
            [Owner {
                kind: Kind::ReplicaSet,
                name: Name::new("web"),
                uid: Uid(1),
                controller: true,
                block_owner_deletion: true,
            }]
            .into(),
        );
        pod
    }

    fn with_volume(volume: &Value) -> Pod {
        let mut pod = pod("default");
        let doc = Some(Arc::new(json!({"volumes": [volume]})));
        pod.spec = Arc::new(PodSpec { doc, ..PodSpec::default() });
        pod
    }

    fn budget(allowed: i32) -> PodDisruptionBudget {
        let doc = json!({"spec": {"selector": {}}, "status": {"disruptionsAllowed": allowed}});
        let meta = crate::api::Meta::named("kube-system".into(), "budget".into());
        PodDisruptionBudget::read(&meta, &doc)
    }

    #[test]
    fn blocking_pods_are_those_of_the_table() {
        let flags = ClusterFlags::default();
        let why = |pod: &Pod| blocks(pod, &[], &flags);
        assert_eq!(why(&pod("default")), None);
        let mut bare = pod("default");
        bare.meta.owners = None;
        assert_eq!(why(&bare), Some("not replicated"));
        assert_eq!(why(&pod("kube-system")), Some("a pod of kube-system without a budget"));
        assert_eq!(why(&with_volume(&json!({"name": "v", "hostPath": {}}))), Some("local storage"));
        let empty = json!({"name": "v", "emptyDir": {}});
        assert_eq!(why(&with_volume(&empty)), Some("local storage"));
        let memory = json!({"name": "v", "emptyDir": {"medium": "Memory"}});
        assert_eq!(why(&with_volume(&memory)), None);
        assert_eq!(why(&with_volume(&json!({"name": "v", "configMap": {}}))), None);
    }

    #[test]
    fn annotations_override_all_but_budgets() {
        let flags = ClusterFlags::default();
        let mut safe = with_volume(&json!({"name": "v", "hostPath": {}}));
        safe.meta.set_annotation(SAFE_VOLUMES, "u,v");
        assert_eq!(blocks(&safe, &[], &flags), None);
        let mut marked = pod("kube-system");
        marked.meta.set_annotation(SAFE, "true");
        assert_eq!(blocks(&marked, &[], &flags), None);
        let why = "not enough pod disruption budget";
        assert_eq!(blocks(&marked, &[budget(0)], &flags), Some(why));
        assert_eq!(blocks(&pod("kube-system"), &[budget(1)], &flags), None, "it has a budget");
        marked.meta.set_annotation(SAFE, "false");
        assert_eq!(blocks(&marked, &[budget(1)], &flags), Some("annotated as not safe to evict"));
    }

    #[test]
    fn skips_can_be_turned_off() {
        let flags = ClusterFlags {
            skip_nodes_with_local_storage: false,
            skip_nodes_with_system_pods: false,
            ..ClusterFlags::default()
        };
        assert_eq!(blocks(&pod("kube-system"), &[], &flags), None);
        let host = with_volume(&json!({"name": "v", "hostPath": {}}));
        assert_eq!(blocks(&host, &[], &flags), None);
    }
}
