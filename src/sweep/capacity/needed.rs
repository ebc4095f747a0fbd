//! How many nodes of a pool a workload needs: by bisection over the size of the pool, each size
//! tried by placing the whole workload anew, the more important pods first. The answer is verified
//! at that size and at one node fewer. Sums of requests give a lower bound; what lies between the
//! two is what fragmentation and constraints cost.

use super::desk::{Desk, amount, anew};
use super::pools::Pools;
use super::shapes::{Shape, with_its_node};
use crate::api::Pod;
use crate::api::node::{Node, keys};
use crate::api::resources::Resources;
use crate::engine::{Sym, num};
use std::sync::Arc;

/// No pool is grown beyond this.
const LARGEST: usize = 100_000;

/// The smallest size of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The pool.
    pub pool: String,
    /// Its size in the scenario.
    pub now: usize,
    /// Pods that must fit.
    pub pods: usize,
    /// The smallest size with which all of them fit; none if no size does.
    pub nodes: Option<usize>,
    /// No fewer nodes can do, by the sums of requests alone.
    pub by_sums: usize,
    /// The resource that says so.
    pub bound_by: String,
    /// What does not fit with one node fewer (or with any size), and why.
    pub first_left: String,
}

/// The pools asked for, one at a time; all of them by an empty list.
pub(super) fn all(
    desk: &Desk,
    pools: &Pools,
    names: &[String],
    shapes: Option<&[Shape]>,
) -> Vec<Need> {
    let every = pools.names();
    let names = if names.is_empty() { &every } else { names };
    names.iter().map(|name| need(desk, pools, name, shapes)).collect()
}

/// The pods that must fit, the more important ones first, then as they were made.
fn workload(desk: &Desk, shapes: Option<&[Shape]>) -> Vec<Arc<Pod>> {
    let mut pods: Vec<Arc<Pod>> = match shapes {
        Some(shapes) => shapes.iter().flat_map(|s| (0..s.count).map(|n| s.numbered(n))).collect(),
        None => {
            let on = |node: Arc<Node>| desk.pods_on(node.meta.name.sym());
            let mut all: Vec<_> = desk.nodes().into_iter().flat_map(on).collect();
            all.retain(|(_, pod)| !with_its_node(pod) && !pod.meta.terminating());
            let mut pods: Vec<Arc<Pod>> =
                all.into_iter().map(|(_, pod)| Arc::new(anew(&pod))).collect();
            pods.extend(desk.waiting.iter().map(|pod| Arc::new(anew(pod))));
            pods.sort_by_cached_key(|pod| (pod.meta.created.0, pod.meta.full_name()));
            pods
        }
    };
    pods.sort_by_key(|pod| -i64::from(pod.spec.priority));
    pods
}

/// A cluster without the pods that must fit, and a pool to be sized.
struct Trial<'a> {
    base: Desk,
    pool: &'a [Arc<Node>],
    /// The pods that come with each node of the pool.
    daemons: Vec<Vec<Arc<Pod>>>,
    pods: &'a [Arc<Pod>],
}

impl Trial<'_> {
    /// The first pod that finds no place with a pool of this size, and why.
    fn left(&self, size: usize) -> Option<String> {
        let mut desk = self.base.clone();
        for i in 0..size {
            let like = i % self.pool.len();
            let node = if i < self.pool.len() {
                Arc::clone(&self.pool[i])
            } else {
                Arc::new(another(&self.pool[like], i))
            };
            desk.cache.set_node(&node, 0);
            for pod in &self.daemons[like] {
                desk.put(pod, node.meta.name.sym());
            }
        }
        desk.cache.settle();
        self.pods.iter().find_map(|pod| {
            let failure = desk.place(pod).err()?;
            Some(format!("{}: {}", pod.meta.full_name(), failure.message))
        })
    }
}

/// A node like this one under another name.
fn another(like: &Node, number: usize) -> Node {
    let name = format!("{}-and-{number}", like.meta.name);
    let mut node = like.clone();
    node.meta.name = name.as_str().into();
    node.meta.labels = node.meta.labels.with(Sym::new(keys::HOSTNAME), Sym::new(&name));
    node
}

fn need(desk: &Desk, pools: &Pools, name: &str, shapes: Option<&[Shape]>) -> Need {
    let pods = workload(desk, shapes);
    let pool = pools.nodes(name);
    let mut base = desk.clone();
    for node in desk.nodes() {
        for (object, pod) in desk.pods_on(node.meta.name.sym()) {
            if !with_its_node(&pod) {
                base.cache.remove_pod(object);
            }
        }
    }
    let mut daemons = Vec::new();
    for node in pool {
        let own = base.pods_on(node.meta.name.sym());
        for (object, _) in &own {
            base.cache.remove_pod(*object);
        }
        daemons.push(own.into_iter().map(|(_, pod)| pod).collect::<Vec<_>>());
        base.cache.remove_node(node.meta.name.sym());
    }
    base.cache.settle();
    let (by_sums, bound_by) = sums(&base, pool, &daemons, &pods);
    let trial = Trial { base, pool, daemons, pods: &pods };
    let found = smallest(&trial, by_sums);
    Need {
        pool: name.to_owned(),
        now: pool.len(),
        pods: pods.len(),
        nodes: found.as_ref().ok().map(|(n, _)| *n),
        by_sums,
        bound_by,
        first_left: found.map_or_else(|why| why, |(_, why)| why),
    }
}

/// The smallest size with which all fit, and what is left out with one fewer; or why none does.
fn smallest(trial: &Trial<'_>, by_sums: usize) -> Result<(usize, String), String> {
    let Some(mut why) = trial.left(0) else { return Ok((0, String::new())) };
    let (mut low, mut high) = (0, by_sums.max(1));
    // With a node for each pod nothing but a constraint can be in the way, which no node helps
    // against.
    let limit = (trial.pods.len() + trial.pool.len()).max(by_sums).clamp(high, LARGEST.max(high));
    while let Some(left) = trial.left(high) {
        if high >= limit {
            return Err(left);
        }
        (low, why) = (high, left);
        high = (high * 2).min(limit);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match trial.left(middle) {
            Some(left) => (low, why) = (middle, left),
            None => high = middle,
        }
    }
    Ok((high, why))
}

/// The fewest nodes whose amounts, with what the other pools offer, reach the sum of all requests.
fn sums(
    base: &Desk,
    pool: &[Arc<Node>],
    daemons: &[Vec<Arc<Pod>>],
    pods: &[Arc<Pod>],
) -> (usize, String) {
    let mut wanted = Resources::default();
    for pod in pods {
        wanted.add(&pod.spec.requests);
    }
    wanted.pods = num::i64_of(pods.len());
    let mut names = vec!["cpu", "memory", "ephemeral-storage", "pods"];
    names.extend(wanted.scalars.iter().map(|(name, _)| name.as_str()));
    let mut most = (0, String::new());
    for name in names {
        let free = |at: usize| {
            let row = base.cache.at(at);
            let used =
                if name == "pods" { num::i64_of(row.pods.len()) } else { amount(&row.used, name) };
            (amount(&row.alloc, name) - used).max(0)
        };
        let others: i64 = (0..base.cache.len()).map(free).sum();
        let own = |(node, daemons): (&Arc<Node>, &Vec<Arc<Pod>>)| {
            let of =
                |pod: &Arc<Pod>| if name == "pods" { 1 } else { amount(&pod.spec.requests, name) };
            amount(&node.status.allocatable, name) - daemons.iter().map(of).sum::<i64>()
        };
        // Of a pool whose nodes differ, the largest: a bound must not be too high.
        let each = pool.iter().zip(daemons).map(own).max().unwrap_or(0);
        let missing = amount(&wanted, name) - others;
        if missing > 0 && each > 0 {
            let nodes = num::index(num::u64_of((missing + each - 1) / each));
            if nodes > most.0 {
                most = (nodes, name.to_owned());
            }
        }
    }
    most
}
