//! A kubelet's configuration, as far as it is modelled. Defaults are upstream's (behaviour
//! reference §4.1, §4.11; `apis/config/v1beta1/defaults.go`, `eviction/defaults_linux.go`).

use crate::api::resources::Resources;
use crate::engine::SimDuration;

/// What the eviction manager watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// `memory.available`.
    Memory,
    /// `nodefs.available`.
    NodeFs,
    /// `imagefs.available`.
    ImageFs,
    /// `pid.available`.
    Pid,
}

impl Signal {
    /// All of them, in the order in which they are acted upon: memory first (source:
    /// `helpers.go` `byEvictionPriority`).
    pub const ALL: [Self; 4] = [Self::Memory, Self::NodeFs, Self::ImageFs, Self::Pid];

    /// As the configuration names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::NodeFs => "nodefs.available",
            Self::ImageFs => "imagefs.available",
            Self::Pid => "pid.available",
        }
    }

    /// The resource that messages name (source: `helpers.go` `signalToResource`).
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::NodeFs | Self::ImageFs => "ephemeral-storage",
            Self::Pid => "pids",
        }
    }
}

/// An amount, or a share of the capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Bytes (or processes).
    Amount(i64),
    /// Hundredths of a percent of the capacity.
    Share(u32),
}

impl Level {
    /// The amount, given the capacity.
    #[must_use]
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Amount(amount) => amount,
            Self::Share(share) => {
                let part = i128::from(capacity) * i128::from(share) / 10_000;
                i64::try_from(part).unwrap_or(i64::MAX)
            }
        }
    }
}

/// An eviction threshold: met while less is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// What it is about.
    pub signal: Signal,
    /// Below this.
    pub level: Level,
    /// How long a soft threshold must be met; none for a hard one.
    pub grace: Option<SimDuration>,
    /// What must be available beyond the level until it counts as no longer met.
    pub reclaim: Level,
}

/// A container runtime, as far as its latencies differ. containerd is the one that the cluster's
/// latencies describe; the others stretch those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RuntimeName {
    /// containerd.
    #[default]
    Containerd,
    /// CRI-O. Its start-up was measured beside containerd's without a difference that carries
    /// over (Espe et al., CLOSER 2020), so it has the same latencies.
    CriO,
    /// Docker behind its shim, as before 1.24 or with cri-dockerd: pods started in 340 ms at the
    /// median and in 180 ms after the move to containerd (one team's report; behaviour reference
    /// §4.14).
    Docker,
}

impl RuntimeName {
    /// How much longer sandboxes and containers take than with containerd, in percent.
    #[must_use]
    pub const fn percent(self) -> u64 {
        match self {
            Self::Containerd | Self::CriO => 100,
            Self::Docker => 189,
        }
    }
}

/// The configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeletConfig {
    /// `kubeReserved` and `systemReserved` together.
    pub reserved: Resources,
    /// `evictionHard`, `evictionSoft` with its grace periods, `evictionMinimumReclaim`.
    pub thresholds: Vec<Threshold>,
    /// `evictionPressureTransitionPeriod`.
    pub transition: SimDuration,
    /// `evictionMaxPodGracePeriod`, seconds.
    pub max_pod_grace_s: u32,
    /// Image pulls at one time; 1 for `serializeImagePulls`.
    pub parallel_pulls: u32,
    /// `imageGCHighThresholdPercent` and `imageGCLowThresholdPercent`.
    pub image_gc: (u8, u8),
    /// `imageMinimumGCAge`.
    pub image_min_age: SimDuration,
    /// `shutdownGracePeriod`, and the part of it for critical pods.
    pub shutdown: (SimDuration, SimDuration),
    /// Processes that the node can have.
    pub pids: i64,
    /// Size of a file system for images of its own, bytes; 0: images lie on the node's.
    pub image_fs: i64,
    /// What the node uses beside its pods.
    pub system: Resources,
    /// `containerLogMaxSize`, bytes, and `containerLogMaxFiles`.
    pub log_files: (u64, u32),
    /// `containerLogMonitorInterval`.
    pub log_interval: SimDuration,
}

impl Default for KubeletConfig {
    fn default() -> Self {
        let hard =
            |signal, level| Threshold { signal, level, grace: None, reclaim: Level::Amount(0) };
        Self {
            reserved: Resources::default(),
            thresholds: vec![
                hard(Signal::Memory, Level::Amount(100 << 20)),
                hard(Signal::NodeFs, Level::Share(1_000)),
                hard(Signal::ImageFs, Level::Share(1_500)),
            ],
            transition: SimDuration::from_secs(300),
            max_pod_grace_s: 0,
            parallel_pulls: 1,
            image_gc: (85, 80),
            image_min_age: SimDuration::from_secs(120),
            shutdown: (SimDuration::ZERO, SimDuration::ZERO),
            pids: 4_194_304,
            image_fs: 0,
            system: Resources::default(),
            log_files: (10 << 20, 5),
            log_interval: SimDuration::from_secs(10),
        }
    }
}

impl KubeletConfig {
    /// Allocatable is capacity less what is reserved and the hard eviction thresholds (source:
    /// `pkg/kubelet/cm/node_container_manager_linux.go`; behaviour reference §4.10).
    #[must_use]
    pub fn allocatable(&self, capacity: &Resources) -> Resources {
        let hard = |signal, whole: i64| {
            let mut hard = self.thresholds.iter().filter(|t| t.grace.is_none());
            hard.find(|t| t.signal == signal).map_or(0, |t| t.level.of(whole))
        };
        let mut left = capacity.clone();
        left.sub(&self.reserved);
        left.memory -= hard(Signal::Memory, capacity.memory);
        left.ephemeral -= hard(Signal::NodeFs, capacity.ephemeral);
        for amount in [&mut left.cpu_milli, &mut left.memory, &mut left.ephemeral] {
            *amount = (*amount).max(0);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocatable_is_capacity_less_reserved_less_hard_thresholds() {
        let capacity = Resources {
            cpu_milli: 4_000,
            memory: 8 << 30,
            ephemeral: 100 << 30,
            pods: 110,
            ..Resources::default()
        };
        let plain = KubeletConfig::default().allocatable(&capacity);
        assert_eq!((plain.cpu_milli, plain.pods), (4_000, 110));
        assert_eq!(plain.memory, (8 << 30) - (100 << 20));
        assert_eq!(plain.ephemeral, 90 << 30);
        let reserved = Resources { cpu_milli: 500, memory: 1 << 30, ..Resources::default() };
        let mut config = KubeletConfig { reserved, ..KubeletConfig::default() };
        config.thresholds[0].level = Level::Share(500);
        let less = config.allocatable(&capacity);
        assert_eq!(less.cpu_milli, 3_500);
        assert_eq!(less.memory, (7 << 30) - (8 << 30) / 20);
        // Nothing falls below zero.
        config.reserved.memory = 9 << 30;
        assert_eq!(config.allocatable(&capacity).memory, 0);
    }
}
