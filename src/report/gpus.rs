//! GPUs that pods share: how much of them is allocated and how much of what is free the typical
//! pods cannot use, over time and by what has arrived (source: Weng et al., USENIX ATC'23).

use crate::api::Pod;
use crate::api::gpu::{self, Devices, GpuAsk, Gpus};
use crate::api::node::Node;
use crate::api::versions::ObjRef;
use crate::cluster::spec::Plan;
use crate::cluster::{shares_gpus, typical_pods};
use crate::control_plane::scheduler::policies::fragmentation::{Fragmentation, model_key};
use crate::engine::{SimTime, Sym, num};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// A node with GPUs.
#[derive(Debug, Clone)]
struct Row {
    model: Sym,
    /// CPU that pods have left, milli-cores.
    cpu: i64,
    gpus: Gpus,
    /// What typical pods cannot use, thousandths.
    lost: f64,
}

/// What a pod holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    node: usize,
    cpu: i64,
    ask: Option<GpuAsk>,
    devices: Devices,
}

/// Sums of the samples that fall on one per cent of arrived GPUs.
#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    n: u32,
    allocated: f64,
    lost: f64,
    of_idle: f64,
}

/// Arrivals are told apart up to so many per cent.
const MOST: usize = 1000;

/// The GPUs of a cluster.
#[derive(Debug, Clone)]
pub struct GpuTable {
    rows: Vec<Row>,
    by_name: FxHashMap<Sym, usize>,
    held: FxHashMap<ObjRef, Held>,
    measure: Fragmentation,
    /// All devices, thousandths.
    capacity: u64,
    free: u64,
    lost: f64,
    arrived: u64,
    pods: u64,
    bins: Vec<Bin>,
    /// Integrals over time of the allocated and the lost share, and until when.
    over_time: (f64, f64, SimTime),
}

/// GPUs by what has arrived, per cent of all GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ByArrived {
    /// GPUs that pods which have arrived ask for.
    pub arrived_pct: u32,
    /// GPUs allocated.
    pub allocated_pct: f64,
    /// GPUs free that typical pods cannot use.
    pub fragmented_pct: f64,
    /// The same, of the free ones.
    pub fragmented_of_idle_pct: f64,
}

/// What the GPUs of a run amount to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GpuSummary {
    /// Devices.
    pub devices: u64,
    /// Mean over time of the allocated share, 0 to 1.
    pub allocated: f64,
    /// Mean over time of the share that is free and that typical pods cannot use, 0 to 1.
    pub fragmented: f64,
    /// GPUs asked for by all pods that arrived, per cent of all.
    pub arrived_pct: f64,
    /// GPUs allocated at the end, per cent.
    pub allocated_at_end_pct: f64,
    /// By what has arrived: every per cent that some arrival came to.
    #[serde(skip)]
    pub by_arrived: Vec<ByArrived>,
}

impl GpuTable {
    /// The GPUs of a plan; none if no node has any.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Box<Self>> {
        let mut table = Self {
            rows: Vec::new(),
            by_name: FxHashMap::default(),
            held: FxHashMap::default(),
            measure: Fragmentation::default(),
            capacity: 0,
            free: 0,
            lost: 0.0,
            arrived: 0,
            pods: 0,
            bins: Vec::new(),
            over_time: (0.0, 0.0, SimTime::ZERO),
        };
        if !shares_gpus(plan) {
            return None;
        }
        table.measure = Fragmentation::new(&typical_pods(plan));
        for node in &plan.cluster.nodes {
            let model = node.labels.get(model_key()).unwrap_or_default();
            let devices = gpu::devices_of(&node.allocatable);
            table.add(node.name, model, node.allocatable.cpu_milli, devices);
        }
        Some(Box::new(table))
    }

    fn add(&mut self, name: Sym, model: Sym, cpu: i64, devices: usize) {
        if devices == 0 || self.by_name.contains_key(&name) {
            return;
        }
        let gpus = Gpus::new(devices);
        self.capacity += u64::from(gpus.sum());
        self.free += u64::from(gpus.sum());
        let lost = self.measure.of(model, cpu, gpus.left());
        self.lost += lost;
        self.by_name.insert(name, self.rows.len());
        self.rows.push(Row { model, cpu, gpus, lost });
    }

    /// A node that came later.
    pub fn node(&mut self, node: &Node) {
        let model = node.meta.labels.get(model_key()).unwrap_or_default();
        let alloc = &node.status.allocatable;
        self.add(node.meta.name.sym(), model, alloc.cpu_milli, gpu::devices_of(alloc));
    }

    /// A node is no more: neither are its GPUs.
    pub fn lost(&mut self, node: &Node, now: SimTime) {
        let Some(index) = self.by_name.remove(&node.meta.name.sym()) else { return };
        self.pass(now);
        let row = &mut self.rows[index];
        self.free -= u64::from(row.gpus.sum());
        self.capacity -= 1000 * row.gpus.left().len() as u64;
        self.lost -= row.lost;
        // Pods that were there hold nothing of others.
        (row.gpus, row.lost) = (Gpus::new(0), 0.0);
    }

    /// A pod has been created.
    pub fn created(&mut self, pod: &Pod) {
        if self.pods > 0 {
            self.sample();
        }
        self.pods += 1;
        self.arrived += GpuAsk::of(&pod.spec.requests).map_or(0, |ask| u64::from(ask.total()));
    }

    /// A pod has a node.
    pub fn bound(&mut self, object: ObjRef, pod: &Pod, now: SimTime) {
        let Some(&node) = self.by_name.get(&pod.node) else { return };
        let ask = GpuAsk::of(&pod.spec.requests);
        let fallback = |ask| self.rows[node].gpus.best_fit(ask);
        let devices = ask.map(|ask| Devices::told(pod, ask).unwrap_or_else(|| fallback(ask)));
        let held = Held {
            node,
            cpu: pod.spec.requests.cpu_milli,
            ask,
            devices: devices.unwrap_or_default(),
        };
        if self.held.insert(object, held).is_none() {
            self.turn(held, true, now);
        }
    }

    /// A pod holds nothing any more.
    pub fn gone(&mut self, object: ObjRef, now: SimTime) {
        if let Some(held) = self.held.remove(&object) {
            self.turn(held, false, now);
        }
    }

    fn turn(&mut self, held: Held, add: bool, now: SimTime) {
        self.pass(now);
        let row = &mut self.rows[held.node];
        let before = u64::from(row.gpus.sum());
        row.cpu += if add { -held.cpu } else { held.cpu };
        if let Some(ask) = held.ask {
            row.gpus.take(ask, held.devices, add);
        }
        self.free = self.free + u64::from(row.gpus.sum()) - before;
        let lost = self.measure.of(row.model, row.cpu, row.gpus.left());
        self.lost += lost - row.lost;
        row.lost = lost;
    }

    /// Shares of all GPUs: allocated, and free but of no use.
    fn shares(&self) -> (f64, f64) {
        let capacity = num::float_u(self.capacity.max(1));
        let allocated = num::float_u(self.capacity - self.free) / capacity;
        (allocated, (self.lost / capacity).max(0.0))
    }

    fn pass(&mut self, now: SimTime) {
        let seconds = now.since(self.over_time.2).secs_f64();
        let (allocated, lost) = self.shares();
        self.over_time.0 += allocated * seconds;
        self.over_time.1 += lost * seconds;
        self.over_time.2 = now;
    }

    /// What the last arrival has come to, as the next one comes.
    fn sample(&mut self) {
        let capacity = num::float_u(self.capacity.max(1));
        let arrived = 100.0 * num::float_u(self.arrived) / capacity;
        let at = num::index(num::trunc_u(half_to_even(arrived))).min(MOST);
        if self.bins.len() <= at {
            self.bins.resize(at + 1, Bin::default());
        }
        let (allocated, lost) = self.shares();
        let idle = num::float_u(self.free) / capacity;
        let percent = |share: f64| num::rounded(100.0 * share, 2);
        let bin = &mut self.bins[at];
        bin.n += 1;
        bin.allocated += percent(allocated);
        bin.lost += percent(lost);
        bin.of_idle += if idle > 0.0 { percent(lost / idle) } else { 0.0 };
    }

    /// The end of the run.
    pub fn end(&mut self, now: SimTime) {
        self.pass(now);
        if self.pods > 0 {
            self.sample();
        }
    }

    /// What it comes to.
    #[must_use]
    pub fn summary(&self) -> GpuSummary {
        let seconds = self.over_time.2.since(SimTime::ZERO).secs_f64();
        let mean = |sum: f64| if seconds > 0.0 { sum / seconds } else { 0.0 };
        let (allocated, _) = self.shares();
        let capacity = num::float_u(self.capacity.max(1));
        let rows = 0..=num::u32_of(self.bins.len().saturating_sub(1));
        GpuSummary {
            devices: self.capacity / 1000,
            allocated: mean(self.over_time.0),
            fragmented: mean(self.over_time.1),
            arrived_pct: 100.0 * num::float_u(self.arrived) / capacity,
            allocated_at_end_pct: 100.0 * allocated,
            by_arrived: rows.filter_map(|at| self.at(at)).collect(),
        }
    }

    /// The mean of the samples at a per cent, or of those beside it if there are none.
    fn at(&self, percent: u32) -> Option<ByArrived> {
        let at = percent as usize;
        let exact = self.bins.get(at).copied().filter(|bin| bin.n > 0);
        let bin = exact.or_else(|| {
            let mut sum = Bin::default();
            for bin in self.bins.iter().skip(at.saturating_sub(1)).take(3) {
                sum.n += bin.n;
                sum.allocated += bin.allocated;
                sum.lost += bin.lost;
                sum.of_idle += bin.of_idle;
            }
            (sum.n > 0).then_some(sum)
        })?;
        let n = f64::from(bin.n);
        Some(ByArrived {
            arrived_pct: percent,
            allocated_pct: bin.allocated / n,
            fragmented_pct: bin.lost / n,
            fragmented_of_idle_pct: bin.of_idle / n,
        })
    }
}

impl GpuSummary {
    /// The row of a per cent of arrived GPUs.
    #[must_use]
    pub fn arrived(&self, percent: u32) -> Option<&ByArrived> {
        self.by_arrived.iter().find(|row| row.arrived_pct == percent)
    }

    /// `gpus.csv`: the curves of the run.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut out =
            String::from("arrived_pct,allocated_pct,fragmented_pct,fragmented_of_idle_pct\n");
        for row in &self.by_arrived {
            let ByArrived { arrived_pct, allocated_pct, fragmented_pct, fragmented_of_idle_pct } =
                row;
            out.push_str(&format!(
                "{arrived_pct},{allocated_pct:.3},{fragmented_pct:.3},{fragmented_of_idle_pct:.3}\n"
            ));
        }
        out
    }
}

/// The nearest whole number; of two equally near ones the even one.
fn half_to_even(x: f64) -> f64 {
    let below = num::float_u(num::trunc_u(x));
    let rest = x - below;
    let odd = num::trunc_u(below) % 2 == 1;
    if rest > 0.5 || (rest >= 0.5 && odd) { below + 1.0 } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even() {
        let all = [0.4, 0.5, 1.5, 2.5, 2.6].map(|x| num::trunc(half_to_even(x)));
        assert_eq!(all, [0, 0, 2, 2, 3]);
    }
}
