//! Amounts of resources and the arithmetic of requests.

use crate::engine::Sym;
use smallvec::SmallVec;

/// Amounts: CPU in milli-cores, memory and ephemeral storage in bytes, pods and every other
/// (scalar, extended) resource in whole units, as kube-scheduler's `framework.Resource` does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Resources {
    /// CPU, thousandths of a core.
    pub cpu_milli: i64,
    /// Memory, bytes.
    pub memory: i64,
    /// Ephemeral storage, bytes.
    pub ephemeral: i64,
    /// Number of pods (of a node's allocatable; 0 in requests).
    pub pods: i64,
    /// Everything else (`nvidia.com/gpu`, `hugepages-2Mi`), sorted by name.
    pub scalars: SmallVec<[(Sym, i64); 1]>,
}

impl Resources {
    /// The amount of a scalar resource; 0 if absent.
    #[must_use]
    pub fn scalar(&self, name: Sym) -> i64 {
        self.scalars.iter().find(|(n, _)| *n == name).map_or(0, |(_, v)| *v)
    }

    /// Sets a scalar resource.
    pub fn set_scalar(&mut self, name: Sym, amount: i64) {
        match self.scalars.binary_search_by(|(n, _)| n.cmp_text(name)) {
            Ok(at) => self.scalars[at].1 = amount,
            Err(at) => self.scalars.insert(at, (name, amount)),
        }
    }

    /// Adds amounts.
    pub fn add(&mut self, other: &Self) {
        self.cpu_milli += other.cpu_milli;
        self.memory += other.memory;
        self.ephemeral += other.ephemeral;
        self.pods += other.pods;
        for &(name, amount) in &other.scalars {
            self.set_scalar(name, self.scalar(name) + amount);
        }
    }

    /// Takes amounts away.
    pub fn sub(&mut self, other: &Self) {
        self.cpu_milli -= other.cpu_milli;
        self.memory -= other.memory;
        self.ephemeral -= other.ephemeral;
        self.pods -= other.pods;
        for &(name, amount) in &other.scalars {
            self.set_scalar(name, self.scalar(name) - amount);
        }
    }

    /// Raises each amount to at least the other's.
    pub fn max(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory = self.memory.max(other.memory);
        self.ephemeral = self.ephemeral.max(other.ephemeral);
        self.pods = self.pods.max(other.pods);
        for &(name, amount) in &other.scalars {
            self.set_scalar(name, self.scalar(name).max(amount));
        }
    }
}

/// Which resources a list names at all: "0" and absent differ for scoring defaults and QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Named {
    /// cpu is named.
    pub cpu: bool,
    /// memory is named.
    pub memory: bool,
}

/// CPU that a container without a CPU request counts for scoring (source: scheduler
/// `util/pod_resources.go`).
pub const DEFAULT_MILLI_CPU: i64 = 100;
/// Memory that a container without a memory request counts for scoring.
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;
