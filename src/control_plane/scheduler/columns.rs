//! Amounts by position, as floats so that a scan over many nodes vectorises. They mirror the
//! integers of the cache's rows; all are far below 2^53, so nothing is rounded.

use super::cache::NodeRow;
use super::plugins::fit::Amount;
use crate::api::resources::Resources;
use crate::engine::{Sym, num};

/// From this capacity on, `(free * 100) / capacity` in floats could be off by one: see
/// [`super::plugins::fit`].
pub const WIDE: i64 = 1 << 46;

/// A scalar resource.
#[derive(Debug, Clone)]
pub struct ScalarColumn {
    /// Name.
    pub name: Sym,
    /// Allocatable.
    pub alloc: Vec<f64>,
    /// Requested by the pods there.
    pub used: Vec<f64>,
}

/// Columns over all nodes in nodeTree order.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Allocatable CPU, milli.
    pub alloc_cpu: Vec<f64>,
    /// Allocatable memory.
    pub alloc_mem: Vec<f64>,
    /// Allocatable ephemeral storage.
    pub alloc_eph: Vec<f64>,
    /// Allocatable pods.
    pub alloc_pods: Vec<f64>,
    /// Requested CPU, milli.
    pub used_cpu: Vec<f64>,
    /// Requested memory.
    pub used_mem: Vec<f64>,
    /// Requested ephemeral storage.
    pub used_eph: Vec<f64>,
    /// Pods.
    pub n_pods: Vec<f64>,
    /// CPU for scoring.
    pub nonzero_cpu: Vec<f64>,
    /// Memory for scoring.
    pub nonzero_mem: Vec<f64>,
    /// Scalar resources that some node has.
    pub scalars: Vec<ScalarColumn>,
    /// Nodes whose CPU or memory is 0 or at least [`WIDE`]: with any of them, scoring goes node by
    /// node in integers.
    pub irregular: usize,
}

fn irregular(alloc: &Resources) -> bool {
    let odd = |cap: i64| cap <= 0 || cap >= WIDE;
    odd(alloc.cpu_milli) || odd(alloc.memory)
}

impl Columns {
    /// Rebuilds everything for rows in this order.
    pub fn rebuild<'a>(&mut self, n: usize, rows: impl Iterator<Item = &'a NodeRow>) {
        for column in self.dense() {
            column.clear();
            column.resize(n, 0.0);
        }
        self.scalars.clear();
        self.irregular = 0;
        for (at, row) in rows.enumerate() {
            self.set_alloc(at, &row.alloc, None);
            self.set_used(at, row);
        }
    }

    fn dense(&mut self) -> [&mut Vec<f64>; 10] {
        [
            &mut self.alloc_cpu,
            &mut self.alloc_mem,
            &mut self.alloc_eph,
            &mut self.alloc_pods,
            &mut self.used_cpu,
            &mut self.used_mem,
            &mut self.used_eph,
            &mut self.n_pods,
            &mut self.nonzero_cpu,
            &mut self.nonzero_mem,
        ]
    }

    /// Sets what a node has; `old` is what it had before.
    pub fn set_alloc(&mut self, at: usize, alloc: &Resources, old: Option<&Resources>) {
        self.irregular -= usize::from(old.is_some_and(irregular));
        self.irregular += usize::from(irregular(alloc));
        self.alloc_cpu[at] = num::float(alloc.cpu_milli);
        self.alloc_mem[at] = num::float(alloc.memory);
        self.alloc_eph[at] = num::float(alloc.ephemeral);
        self.alloc_pods[at] = num::float(alloc.pods);
        for &(name, _) in old.iter().flat_map(|old| &old.scalars) {
            self.scalar_mut(name).alloc[at] = 0.0;
        }
        for &(name, amount) in &alloc.scalars {
            self.scalar_mut(name).alloc[at] = num::float(amount);
        }
    }

    /// Sets what is used on a node.
    pub fn set_used(&mut self, at: usize, row: &NodeRow) {
        self.used_cpu[at] = num::float(row.used.cpu_milli);
        self.used_mem[at] = num::float(row.used.memory);
        self.used_eph[at] = num::float(row.used.ephemeral);
        self.n_pods[at] = num::float_u(row.pods.len() as u64);
        self.nonzero_cpu[at] = num::float(row.nonzero.0);
        self.nonzero_mem[at] = num::float(row.nonzero.1);
        for &(name, amount) in &row.used.scalars {
            self.scalar_mut(name).used[at] = num::float(amount);
        }
    }

    fn scalar_mut(&mut self, name: Sym) -> &mut ScalarColumn {
        if let Some(i) = self.scalars.iter().position(|c| c.name == name) {
            return &mut self.scalars[i];
        }
        let n = self.alloc_cpu.len();
        let (alloc, used) = (vec![0.0; n], vec![0.0; n]);
        self.scalars.push(ScalarColumn { name, alloc, used });
        self.scalars.last_mut().expect("it was pushed the line before")
    }

    /// The most that a node has of a resource; 0 if none has any.
    #[must_use]
    pub fn largest(&self, of: Amount) -> f64 {
        let column = match of {
            Amount::Cpu => Some(&self.alloc_cpu),
            Amount::Memory => Some(&self.alloc_mem),
            Amount::Ephemeral => Some(&self.alloc_eph),
            Amount::Scalar(name) => self.scalar(name).map(|c| &c.alloc),
        };
        column.into_iter().flatten().copied().fold(0.0, f64::max)
    }

    /// The column of a scalar resource, if any node has it.
    #[must_use]
    pub fn scalar(&self, name: Sym) -> Option<&ScalarColumn> {
        self.scalars.iter().find(|c| c.name == name)
    }
}
