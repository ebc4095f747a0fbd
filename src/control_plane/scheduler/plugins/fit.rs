//! `NodeResourcesFit` (source: `plg/noderesources/fit.go`, `resource_allocation.go`).
//!
//! The scans use floats, because integer division does not vectorise. They are exact: amounts are
//! integers below 2^53, so sums and differences are not rounded; and with `0 <= free <= cap < 2^46`
//! the product `free * 100` is below 2^53. Let q = free * 100 / cap, at most 100. If q is no
//! integer, the next integer above is at least 1/cap > 2^-46 away, while rounding moves q by at
//! most half a unit in the last place of a number below 128, 2^-47. So the rounded quotient never
//! reaches that integer, and its floor is that of the integer division. A property test compares.

use crate::api::resources::Resources;
use crate::api::{Pod, node::Node};
use crate::control_plane::scheduler::cache::{Cache, NodeRow};
use crate::control_plane::scheduler::framework::{
    Batch, ClusterEvent, Code, CycleState, Hint, Plugin, PreFilter, Reason, Verdict, View,
};
use crate::control_plane::scheduler::requests::accounted;
use crate::engine::{Loop, Sym, num, wide};
use smallvec::SmallVec;
use std::sync::Arc;

/// Nodes scored at once.
pub const CHUNK: usize = 64;

/// A resource as the scheduler tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// `cpu`.
    Cpu,
    /// `memory`.
    Memory,
    /// `ephemeral-storage`.
    Ephemeral,
    /// Anything else.
    Scalar(Sym),
}

impl Amount {
    /// The resource of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "ephemeral-storage" => Self::Ephemeral,
            other => Self::Scalar(Sym::new(other)),
        }
    }

    /// How much of it a list has.
    #[must_use]
    pub fn of(self, list: &Resources) -> i64 {
        match self {
            Self::Cpu => list.cpu_milli,
            Self::Memory => list.memory,
            Self::Ephemeral => list.ephemeral,
            Self::Scalar(name) => list.scalar(name),
        }
    }

    /// Extended resources, huge pages and the like.
    #[must_use]
    pub fn scalar(self) -> bool {
        matches!(self, Self::Scalar(_))
    }
}

/// How nodes are scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Emptier nodes first.
    LeastAllocated,
    /// Fuller nodes first.
    MostAllocated,
    /// By a shape: (utilisation in per cent, score 0 to 10), ascending.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

/// `NodeResourcesFitArgs`, and the plugin made of them.
#[derive(Debug, Clone)]
pub struct Fit {
    /// `ignoredResources`.
    pub ignored: Vec<Sym>,
    /// `ignoredResourceGroups`.
    pub ignored_groups: Vec<Sym>,
    /// `scoringStrategy.type`.
    pub strategy: Strategy,
    /// `scoringStrategy.resources` with their weights.
    pub resources: Vec<(Amount, i64)>,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            ignored: Vec::new(),
            ignored_groups: Vec::new(),
            strategy: Strategy::LeastAllocated,
            resources: vec![(Amount::Cpu, 1), (Amount::Memory, 1)],
        }
    }
}

/// What Filter asks of a node. Something not asked for is minus infinity, which always fits.
#[derive(Debug, Clone, Default)]
pub struct FitState {
    cpu: f64,
    memory: f64,
    ephemeral: f64,
    /// Scalars to check.
    scalars: SmallVec<[(Sym, i64); 2]>,
}

const PODS: u16 = 1;
const CPU: u16 = 1 << 1;
const MEMORY: u16 = 1 << 2;
const EPHEMERAL: u16 = 1 << 3;
const FIRST_SCALAR: u8 = 4;

fn asked(amount: i64) -> f64 {
    if amount > 0 { num::float(amount) } else { f64::NEG_INFINITY }
}

/// True for resources outside Kubernetes' own names (source: `v1helper.IsExtendedResourceName`).
fn extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.")
}

impl Fit {
    fn ignores(&self, name: Sym) -> bool {
        if self.ignored.is_empty() && self.ignored_groups.is_empty() {
            return false;
        }
        let text = name.as_str();
        extended(text)
            && (self.ignored.contains(&name)
                || text.split_once('/').is_some_and(|(group, _)| {
                    self.ignored_groups.iter().any(|g| g.as_str() == group)
                }))
    }

    /// Which resources are short, and whether the node as a whole is too small.
    fn shortage(&self, pod: &Pod, alloc: &Resources, used: &Resources, n_pods: i64) -> Verdict {
        let asked = &pod.spec.requests;
        let mut mask = 0;
        let mut hopeless = false;
        if n_pods + 1 > alloc.pods {
            mask |= PODS;
        }
        let mut check = |bit: u16, want: i64, have: i64, used: i64| {
            if want > 0 && want > have - used {
                mask |= bit;
                hopeless |= want > have;
            }
        };
        check(CPU, asked.cpu_milli, alloc.cpu_milli, used.cpu_milli);
        check(MEMORY, asked.memory, alloc.memory, used.memory);
        check(EPHEMERAL, asked.ephemeral, alloc.ephemeral, used.ephemeral);
        for (i, &(name, want)) in asked.scalars.iter().enumerate().take(12) {
            if !self.ignores(name) {
                let bit = 1 << (usize::from(FIRST_SCALAR) + i);
                check(bit, want, alloc.scalar(name), used.scalar(name));
            }
        }
        if mask == 0 {
            return Verdict::PASS;
        }
        let code = if hopeless { Code::UnschedulableAndUnresolvable } else { Code::Unschedulable };
        Verdict::reject(code, mask)
    }

    /// Whether an empty node of this size would do (the queueing hint's question).
    fn fits_empty(&self, pod: &Pod, node: &Node) -> bool {
        self.shortage(pod, &node.status.allocatable, &Resources::default(), 0).passed()
    }

    fn row_score(&self, pod: &Pod, row: &NodeRow) -> i64 {
        let mut sum = 0;
        let mut weights = 0;
        for &(resource, weight) in &self.resources {
            let (requested, capacity) = scored(resource, pod, row);
            if capacity == 0 {
                continue;
            }
            let score = match &self.strategy {
                Strategy::RequestedToCapacityRatio(shape) => {
                    ratio_score(shape, requested, capacity)
                }
                Strategy::LeastAllocated if requested > capacity => 0,
                Strategy::LeastAllocated => (capacity - requested) * 100 / capacity,
                Strategy::MostAllocated => requested.min(capacity) * 100 / capacity,
            };
            let by_ratio = matches!(self.strategy, Strategy::RequestedToCapacityRatio(_));
            if by_ratio && score <= 0 {
                continue;
            }
            sum += score * weight;
            weights += weight;
        }
        if weights == 0 {
            return 0;
        }
        match self.strategy {
            Strategy::RequestedToCapacityRatio(_) => {
                num::round(num::float(sum) / num::float(weights))
            }
            Strategy::LeastAllocated | Strategy::MostAllocated => sum / weights,
        }
    }

    /// The weights of cpu and memory if these two are all that is scored.
    fn cpu_and_memory(&self) -> Option<(f64, f64)> {
        match self.resources.as_slice() {
            [(Amount::Cpu, c), (Amount::Memory, m)] | [(Amount::Memory, m), (Amount::Cpu, c)]
                if c + m > 0 =>
            {
                Some((num::float(*c), num::float(*m)))
            }
            _ => None,
        }
    }
}

/// Requested (with the pod) and capacity of a resource, as scoring sees them; (0, 0) to leave it
/// out.
fn scored(resource: Amount, pod: &Pod, row: &NodeRow) -> (i64, i64) {
    let capacity = resource.of(&row.alloc);
    let (there, asked) = match resource {
        Amount::Cpu => (row.nonzero.0, pod.spec.nonzero.0),
        Amount::Memory => (row.nonzero.1, pod.spec.nonzero.1),
        Amount::Ephemeral | Amount::Scalar(_) => {
            (resource.of(&row.used), resource.of(&pod.spec.requests))
        }
    };
    if resource.scalar() && asked == 0 { (0, 0) } else { (there + asked, capacity) }
}

/// Piecewise linear in integers, as upstream: division truncates toward zero on slopes of either
/// sign.
fn ratio_score(shape: &[(i64, i64)], requested: i64, capacity: i64) -> i64 {
    let p = if requested > capacity { 100 } else { requested * 100 / capacity };
    let score = |i: usize| shape[i].1 * 10;
    for (i, &(utilisation, _)) in shape.iter().enumerate() {
        if p <= utilisation {
            if i == 0 {
                return score(0);
            }
            let (u0, s0, s1) = (shape[i - 1].0, score(i - 1), score(i));
            return s0 + (s1 - s0) * (p - u0) / (utilisation - u0);
        }
    }
    shape.last().map_or(0, |last| last.1 * 10)
}

/// Buffers for columns of nodes that do not lie side by side; made when first needed: most do.
#[derive(Debug, Default)]
pub struct Lanes(Option<[[f64; CHUNK]; 4]>);

/// Four columns at these nodes: slices of the columns themselves where the nodes are consecutive.
#[must_use]
pub fn gather<'a>(lanes: &'a mut Lanes, nodes: &[u32], columns: [&'a [f64]; 4]) -> [&'a [f64]; 4] {
    let n = nodes.len();
    let first = nodes[0] as usize;
    if nodes[n - 1] as usize == first + n - 1 && nodes[n / 2] as usize == first + n / 2 {
        return columns.map(|c| &c[first..first + n]);
    }
    let lanes = lanes.0.get_or_insert([[0.0; CHUNK]; 4]);
    for (lane, column) in lanes.iter_mut().zip(columns) {
        for (slot, &at) in lane.iter_mut().zip(nodes) {
            *slot = column[at as usize];
        }
    }
    let [a, b, c, d] = &*lanes;
    [&a[..n], &b[..n], &c[..n], &d[..n]]
}

/// 2^52: adding it leaves no room for a fraction.
const MAGIC: f64 = 4_503_599_627_370_496.0;

/// Floor of a number in `0..2^51`, in arithmetic that vectorises on every target.
#[inline]
#[must_use]
pub fn floor_small(x: f64) -> f64 {
    let near = (x + MAGIC) - MAGIC;
    if near > x { near - 1.0 } else { near }
}

/// An integer in `0..2^51` out of its float: its bits, once 2^52 is added.
#[inline]
#[must_use]
pub fn small_to_int(x: f64) -> i64 {
    ((x + MAGIC).to_bits() & ((1 << 52) - 1)).cast_signed()
}

/// `(cap - requested) * 100 / cap`, or 0 if more is requested than there is.
#[inline]
fn free_percent(requested: f64, cap: f64) -> f64 {
    let free = cap - requested;
    let free = if free < 0.0 { 0.0 } else { free };
    floor_small(free * 100.0 / cap)
}

/// `requested * 100 / cap`, at most 100.
#[inline]
fn used_percent(requested: f64, cap: f64) -> f64 {
    let used = if requested > cap { cap } else { requested };
    floor_small(used * 100.0 / cap)
}

impl Plugin for Fit {
    fn pre_filter(&self, view: View<'_>, state: &mut CycleState) -> PreFilter {
        let requests = &view.pod.spec.requests;
        let fit = &mut state.fit;
        fit.cpu = asked(requests.cpu_milli);
        fit.memory = asked(requests.memory);
        fit.ephemeral = asked(requests.ephemeral);
        fit.scalars.clear();
        let wanted = requests.scalars.iter().filter(|(n, a)| *a > 0 && !self.ignores(*n));
        fit.scalars.extend(wanted.copied());
        PreFilter::Run
    }

    fn filter_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> Verdict {
        let row = view.cache.at(at);
        self.shortage(view.pod, &row.alloc, &row.used, num::i64_of(row.pods.len()))
    }

    fn filter(&self, view: View<'_>, state: &CycleState, batch: &mut Batch<'_>) {
        let (first, n) = (batch.first, batch.verdicts.len().min(CHUNK));
        let c = view.cache.columns();
        let columns = [
            &c.alloc_cpu,
            &c.used_cpu,
            &c.alloc_mem,
            &c.used_mem,
            &c.alloc_eph,
            &c.used_eph,
            &c.alloc_pods,
            &c.n_pods,
        ];
        let columns = columns.map(|column| &column[first..first + n]);
        let FitState { cpu, memory, ephemeral, .. } = state.fit;
        let mut slack = [0.0; CHUNK];
        let mut short =
            wide(Slack { columns, asked: [cpu, memory, ephemeral, 1.0], out: &mut slack[..n] });
        for &(name, want) in &state.fit.scalars {
            let Some(column) = c.scalar(name) else {
                slack = [-1.0; CHUNK];
                break;
            };
            for (i, slack) in slack.iter_mut().enumerate().take(n) {
                let free = column.alloc[first + i] - column.used[first + i];
                *slack = least(*slack, free - num::float(want));
            }
        }
        short |= !state.fit.scalars.is_empty() && any_negative(&slack[..n]);
        if !short {
            return;
        }
        // The reasons are worked out only where something is short.
        for (i, _) in slack.iter().enumerate().take(n).filter(|(_, s)| **s < 0.0) {
            let verdict = self.filter_node(view, state, first + i);
            batch.judge(i, verdict);
        }
    }

    fn reason(&self, view: View<'_>, bit: u8) -> Reason {
        match bit {
            0 => "Too many pods".into(),
            1 => "Insufficient cpu".into(),
            2 => "Insufficient memory".into(),
            3 => "Insufficient ephemeral-storage".into(),
            _ => {
                let scalars = &view.pod.spec.requests.scalars;
                let name = scalars.get(usize::from(bit - FIRST_SCALAR)).map(|(n, _)| *n);
                format!("Insufficient {}", name.unwrap_or_default()).into()
            }
        }
    }

    fn score_node(&self, view: View<'_>, _state: &CycleState, at: usize) -> i64 {
        self.row_score(view.pod, view.cache.at(at))
    }

    fn score(&self, view: View<'_>, state: &CycleState, nodes: &[u32], out: &mut [i64]) {
        let columns = view.cache.columns();
        let percent: fn(f64, f64) -> f64 = match self.strategy {
            Strategy::LeastAllocated => free_percent,
            Strategy::MostAllocated => used_percent,
            Strategy::RequestedToCapacityRatio(_) => |_, _| 0.0,
        };
        let by_ratio = matches!(self.strategy, Strategy::RequestedToCapacityRatio(_));
        let weights = self.cpu_and_memory().filter(|_| columns.irregular == 0 && !by_ratio);
        let Some(weights) = weights else {
            for (score, &at) in out.iter_mut().zip(nodes) {
                *score = self.score_node(view, state, at as usize);
            }
            return;
        };
        // Two calls of one generic function, so that each strategy gets its own tight loop.
        if self.strategy == Strategy::LeastAllocated {
            scan(view, weights, nodes, out, free_percent);
        } else {
            scan(view, weights, nodes, out, percent);
        }
    }

    fn hint(&self, pod: &Pod, event: &ClusterEvent<'_>, _cache: &Cache) -> Hint {
        match event {
            ClusterEvent::PodGone(gone) => {
                Hint::of(!gone.node.is_empty() || !gone.status.nominated.is_empty())
            }
            ClusterEvent::AssignedPod { old: Some(old), pod: other } if scaled_down(old, other) => {
                Hint::of(freed(pod, old, other))
            }
            ClusterEvent::NodeAdd(node) => Hint::of(self.fits_empty(pod, node)),
            ClusterEvent::NodeUpdate { old, new } => {
                Hint::of(grew(pod, old, new) && self.fits_empty(pod, new))
            }
            ClusterEvent::Own { old } if scaled_down(old, pod) => Hint::Queue,
            ClusterEvent::NodeDelete(_)
            | ClusterEvent::AssignedPod { .. }
            | ClusterEvent::Own { .. }
            | ClusterEvent::Storage(_)
            | ClusterEvent::Other => Hint::Unregistered,
        }
    }
}

/// True if `less` asks for less of something than `more`, of what `of_interest` is true.
fn less_of(more: &Resources, less: &Resources, of_interest: impl Fn(Amount) -> bool) -> bool {
    let native = [Amount::Cpu, Amount::Memory, Amount::Ephemeral];
    let scalars = more.scalars.iter().map(|(name, _)| Amount::Scalar(*name));
    native.into_iter().chain(scalars).any(|r| of_interest(r) && r.of(less) < r.of(more))
}

/// True if a pod asks for less than before (event `UpdatePodScaleDown`).
#[must_use]
pub fn scaled_down(old: &Pod, new: &Pod) -> bool {
    let unresized = old.status.resized == new.status.resized;
    if unresized && Arc::ptr_eq(&old.spec, &new.spec) {
        return false;
    }
    less_of(&accounted(old).requests, &accounted(new).requests, |_| true)
}

/// True if another pod that asks for less now set something free that `pod` asks for.
fn freed(pod: &Pod, old: &Pod, new: &Pod) -> bool {
    let wanted = &pod.spec.requests;
    less_of(&accounted(old).requests, &accounted(new).requests, |r| r.of(wanted) > 0)
}

/// The scoring loop over cpu and memory.
#[inline]
fn scan(
    view: View<'_>,
    (w_cpu, w_mem): (f64, f64),
    nodes: &[u32],
    out: &mut [i64],
    percent: impl Fn(f64, f64) -> f64,
) {
    let columns = view.cache.columns();
    let (cpu, mem) = (num::float(view.pod.spec.nonzero.0), num::float(view.pod.spec.nonzero.1));
    let mut lanes = Lanes::default();
    for (nodes, out) in nodes.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
        let [a, b, c, d] = gather(
            &mut lanes,
            nodes,
            [&columns.nonzero_cpu, &columns.alloc_cpu, &columns.nonzero_mem, &columns.alloc_mem],
        );
        wide(Scan {
            columns: [a, b, c, d],
            asked: (cpu, mem),
            weights: (w_cpu, w_mem),
            percent: &percent,
            out,
        });
    }
}

/// [`scan`] over a chunk: requested and allocatable cpu, requested and allocatable memory.
struct Scan<'a, P> {
    columns: [&'a [f64]; 4],
    asked: (f64, f64),
    weights: (f64, f64),
    percent: &'a P,
    out: &'a mut [i64],
}

impl<P: Fn(f64, f64) -> f64> Loop for Scan<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { columns: [a, b, c, d], asked: (cpu, mem), weights, percent, out } = self;
        let rows = out.iter_mut().zip(a).zip(b).zip(c).zip(d);
        let weigh = |cpu: f64, mem: f64| cpu * weights.0 + mem * weights.1;
        let sum = weights.0 + weights.1;
        // Two loops, since a division by the usual sum of weights (1 + 1) would cost a third of it.
        if (sum - 2.0).abs() < 0.5 {
            for ((((out, a), b), c), d) in rows {
                let s = weigh(percent(a + cpu, *b), percent(c + mem, *d));
                *out = small_to_int(floor_small(s * 0.5));
            }
        } else {
            for ((((out, a), b), c), d) in rows {
                let s = weigh(percent(a + cpu, *b), percent(c + mem, *d));
                *out = small_to_int(floor_small(s / sum));
            }
        }
    }
}

/// What a chunk of nodes has left of everything, once the pod is there: allocatable and used of
/// cpu, memory, ephemeral storage and pods.
struct Slack<'a> {
    columns: [&'a [f64]; 8],
    asked: [f64; 4],
    out: &'a mut [f64],
}

impl Loop for Slack<'_> {
    /// Whether anything is short anywhere.
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let n = self.out.len();
        let [ac, uc, am, um, ae, ue, ap, np] = self.columns.map(|c| &c[..n]);
        let [cpu, memory, ephemeral, pods] = self.asked;
        for (i, out) in self.out.iter_mut().enumerate() {
            let a = least(ac[i] - uc[i] - cpu, am[i] - um[i] - memory);
            let b = least(ae[i] - ue[i] - ephemeral, ap[i] - np[i] - pods);
            *out = least(a, b);
        }
        any_negative(self.out)
    }
}

/// The lesser number, of two that are none of them NaN.
#[inline]
fn least(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// True if a number is below 0. Least values are kept in eight lanes, which vectorises; one running
/// minimum would not.
#[inline(always)]
fn any_negative(numbers: &[f64]) -> bool {
    let mut least = [0.0_f64; 8];
    let (lanes, rest) = numbers.as_chunks::<8>();
    for lane in lanes {
        for (least, x) in least.iter_mut().zip(lane) {
            *least = if *x < *least { *x } else { *least };
        }
    }
    least.iter().chain(rest).any(|x| *x < 0.0)
}

/// Whether a node got more of something the pod asks for (or room for more pods).
fn grew(pod: &Pod, old: &Node, new: &Node) -> bool {
    let (a, b) = (&old.status.allocatable, &new.status.allocatable);
    let asked = &pod.spec.requests;
    let more = |want: i64, old: i64, new: i64| want > 0 && new > old;
    b.pods > a.pods
        || more(asked.cpu_milli, a.cpu_milli, b.cpu_milli)
        || more(asked.memory, a.memory, b.memory)
        || more(asked.ephemeral, a.ephemeral, b.ephemeral)
        || asked.scalars.iter().any(|&(n, want)| more(want, a.scalar(n), b.scalar(n)))
}
