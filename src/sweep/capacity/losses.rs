//! What is left when nodes or zones are lost: whether the pods that were there fit elsewhere, and
//! how many more of each shape fit then. Every loss is tried on a copy of its own.
//!
//! The pods of controllers are made anew and placed by their own constraints, the more important
//! ones first; those of a DaemonSet, static ones and those that nobody makes anew are gone with
//! their machine.

use super::desk::{Desk, anew};
use super::fill::count;
use super::pools::zone;
use super::shapes::{Shape, with_its_node};
use crate::api::Pod;
use crate::api::node::{Node, keys};
use crate::engine::{Purpose, Sym};
use crate::report::workloads::WorkloadTable;
use crate::sweep::runs::parallel;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Kinds of nodes that are tried one by one; of more, a sample is drawn.
const MOST_KINDS: usize = 256;
/// Kinds that are tried behind each step of a greedy search.
const MOST_NEXT: usize = 64;
/// Sets of several nodes that are drawn.
const SETS: u64 = 32;

const KINDS: Purpose = Purpose("capacity-kinds");
const NEXT: Purpose = Purpose("capacity-next");
const SET: Purpose = Purpose("capacity-set");

/// How a loss was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// It is the one that was asked for.
    Asked,
    /// The worst of all single nodes; nodes that are alike are tried once: nodes, kinds.
    Each(usize, usize),
    /// The worst of a sample of kinds of nodes: tried, kinds.
    Sample(usize, usize),
    /// The worst single node, then the worst behind it, and so on.
    Greedy,
    /// The worst of so many sets that were drawn.
    Drawn(u64),
}

/// What a loss leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// `1 node`, `zone b`.
    pub what: String,
    /// The nodes.
    pub nodes: Vec<String>,
    /// How it was chosen.
    pub tried: Tried,
    /// Pods that were there and are made anew.
    pub evicted: u32,
    /// Pods that were there and that nobody makes anew.
    pub gone: u32,
    /// Those of [`Lost::evicted`] that find no place, by workload.
    pub stuck: BTreeMap<String, u32>,
    /// Why the first of them does not, in the scheduler's words.
    pub why: String,
    /// How many more of each shape fit afterwards.
    pub fits: Vec<u32>,
}

impl Lost {
    /// Pods that find no place.
    #[must_use]
    pub fn stuck(&self) -> u32 {
        self.stuck.values().sum()
    }

    /// The larger, the worse: pods without a place, then room lost.
    fn rank(&self) -> (u32, i64) {
        (self.stuck(), -self.fits.iter().map(|n| i64::from(*n)).sum::<i64>())
    }
}

/// What losses are tried on.
pub(super) struct Setting<'a> {
    pub(super) desk: &'a Desk,
    pub(super) shapes: &'a [Shape],
    pub(super) most: u32,
    /// A cloud deletes the Node objects of machines that are no more.
    pub(super) deleted: bool,
    pub(super) threads: usize,
    pub(super) table: WorkloadTable,
}

/// All losses that are asked for: of 1 to `nodes` nodes, and of each zone.
pub(super) fn all(
    setting: &mut Setting<'_>,
    (nodes, zones): (u32, bool),
    tick: &(impl Fn() + Sync),
) -> Vec<Lost> {
    let mut losses = Vec::new();
    let kinds = if nodes > 0 { kinds(setting) } else { Vec::new() };
    let mut worst: Vec<Sym> = Vec::new();
    for k in 1..=nodes.min(crate::engine::num::u32_of(setting.desk.cache.len())) {
        let found = behind(setting, &kinds, &worst, tick);
        if let Some(lost) = found {
            worst = lost.nodes.iter().map(|n| Sym::new(n)).collect();
            losses.push(lost);
        }
        if k > 1 {
            losses.extend(drawn(setting, k, tick));
        }
    }
    if zones {
        let mut by_zone: BTreeMap<String, Vec<Sym>> = BTreeMap::new();
        for node in setting.desk.nodes() {
            by_zone.entry(zone(&node)).or_default().push(node.meta.name.sym());
        }
        by_zone.remove("");
        let sets: Vec<(String, Vec<Sym>)> =
            by_zone.into_iter().map(|(z, nodes)| (format!("zone {z}"), nodes)).collect();
        losses.extend(tried(setting, &sets, &Tried::Asked, tick));
    }
    losses
}

/// `1 node`, `2 nodes`.
fn words(k: usize) -> String {
    crate::report::text::count(k as u64, "node")
}

/// The worst node to lose behind those that are lost already.
fn behind(
    setting: &Setting<'_>,
    kinds: &[Vec<Sym>],
    lost: &[Sym],
    tick: &(impl Fn() + Sync),
) -> Option<Lost> {
    let k = lost.len() + 1;
    let (most, purpose) = if k == 1 { (MOST_KINDS, KINDS) } else { (MOST_NEXT, NEXT) };
    // One of each kind that is not lost yet.
    let first = |of: &Vec<Sym>| of.iter().copied().find(|node| !lost.contains(node));
    let left: Vec<Sym> = kinds.iter().filter_map(first).collect();
    let all = left.len();
    let chosen = sample(setting, left, most, purpose);
    let how = match (k, chosen.len() < all) {
        (1, false) => Tried::Each(setting.desk.cache.len(), all),
        (1, true) => Tried::Sample(chosen.len(), all),
        _more => Tried::Greedy,
    };
    let set = |node: Sym| (words(k), lost.iter().copied().chain([node]).collect());
    let sets: Vec<(String, Vec<Sym>)> = chosen.into_iter().map(set).collect();
    worst(tried(setting, &sets, &how, tick))
}

/// The worst of sets that are drawn.
fn drawn(setting: &Setting<'_>, k: u32, tick: &(impl Fn() + Sync)) -> Option<Lost> {
    let nodes: Vec<Sym> = setting.desk.nodes().iter().map(|n| n.meta.name.sym()).collect();
    let set = |number: u64| {
        let mut draw = setting.desk.draws().draw(number, SET, u64::from(k));
        let mut left = nodes.clone();
        let pick = |_| {
            let i = crate::engine::num::index(draw.below(left.len() as u64));
            left.swap_remove(i)
        };
        (words(k as usize), (0..k).map(pick).collect())
    };
    let sets: Vec<(String, Vec<Sym>)> = (0..SETS).map(set).collect();
    worst(tried(setting, &sets, &Tried::Drawn(SETS), tick))
}

/// The first of the worst.
fn worst(losses: Vec<Lost>) -> Option<Lost> {
    losses.into_iter().reduce(|a, b| if b.rank() > a.rank() { b } else { a })
}

/// At most so many of the nodes, drawn without replacement, in their order.
fn sample(setting: &Setting<'_>, from: Vec<Sym>, most: usize, purpose: Purpose) -> Vec<Sym> {
    if from.len() <= most {
        return from;
    }
    let mut places: Vec<usize> = (0..from.len()).collect();
    let mut draw = setting.desk.draws().draw(0, purpose, 0);
    let mut chosen = BTreeSet::new();
    for _ in 0..most {
        let i = crate::engine::num::index(draw.below(places.len() as u64));
        chosen.insert(places.swap_remove(i));
    }
    chosen.into_iter().map(|i| from[i]).collect()
}

/// One node of each kind, and how many are of it: nodes that differ in nothing but their names,
/// with pods that ask for the same.
fn kinds(setting: &Setting<'_>) -> Vec<Vec<Sym>> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut kinds: Vec<Vec<Sym>> = Vec::new();
    for node in setting.desk.nodes() {
        let name = node.meta.name.sym();
        match known.get(&facts(setting, &node)) {
            Some(&i) => kinds[i].push(name),
            None => {
                known.insert(facts(setting, &node), kinds.len());
                kinds.push(vec![name]);
            }
        }
    }
    kinds
}

/// All that a scheduler sees of a node but its name.
fn facts(setting: &Setting<'_>, node: &Node) -> String {
    let labels = node.meta.labels.without(Sym::new(keys::HOSTNAME));
    let mut pods: Vec<String> = setting
        .desk
        .pods_on(node.meta.name.sym())
        .iter()
        .map(|(_, pod)| {
            let owner = pod.meta.controller().map(|o| (o.kind, o.name));
            let own = owner.map_or_else(|| pod.meta.full_name(), |o| format!("{o:?}"));
            format!("{} {own} {:?} {:?}", pod.meta.ns, pod.spec.requests, pod.spec.priority)
        })
        .collect();
    pods.sort();
    let amounts = &node.status.allocatable;
    let shut = node.unschedulable;
    format!("{:?} {:?} {shut} {amounts:?} {pods:?}", labels.pairs(), node.taints)
}

/// Tries sets of nodes.
fn tried(
    setting: &Setting<'_>,
    sets: &[(String, Vec<Sym>)],
    how: &Tried,
    tick: &(impl Fn() + Sync),
) -> Vec<Lost> {
    parallel(setting.threads, sets, |(what, nodes)| {
        let lost = lose(setting, what, nodes, how.clone());
        tick();
        lost
    })
}

/// Loses nodes.
fn lose(setting: &Setting<'_>, what: &str, nodes: &[Sym], tried: Tried) -> Lost {
    let mut desk = setting.desk.clone();
    let mut pods: Vec<Arc<Pod>> = Vec::new();
    for node in nodes {
        pods.extend(desk.lose(*node, setting.deleted));
    }
    pods.retain(|pod| !with_its_node(pod) && !pod.meta.terminating());
    let all = pods.len();
    pods.retain(|pod| pod.meta.controller().is_some());
    pods.sort_by_cached_key(|pod| (-i64::from(pod.spec.priority), pod.meta.full_name()));
    let mut lost = Lost {
        what: what.to_owned(),
        nodes: nodes.iter().map(|n| n.to_string()).collect(),
        tried,
        evicted: crate::engine::num::u32_of(pods.len()),
        gone: crate::engine::num::u32_of(all - pods.len()),
        stuck: BTreeMap::new(),
        why: String::new(),
        fits: Vec::new(),
    };
    let mut table = setting.table.clone();
    for pod in &pods {
        if let Err(failure) = desk.place(&Arc::new(anew(pod))) {
            let row = table.of_pod(pod);
            *lost.stuck.entry(table.row_mut(row).label.clone()).or_insert(0) += 1;
            if lost.why.is_empty() {
                lost.why = failure.message;
            }
        }
    }
    lost.fits = setting.shapes.iter().map(|s| count(&desk, s, setting.most)).collect();
    lost
}
