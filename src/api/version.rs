//! A Kubernetes version is a table of defaults and feature gates: 1.35 (default) and 1.29 (that of
//! the recordings).

use crate::engine::SimDuration;

/// A supported version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum KubeVersion {
    /// 1.29.
    V1_29,
    /// 1.35.
    #[default]
    V1_35,
}

impl KubeVersion {
    /// Parses `1.35`, `v1.29`, `1.35.4`; anything else is refused by name.
    ///
    /// # Errors
    /// A sentence with the versions that are supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let mut parts = bare.split('.');
        match (parts.next(), parts.next()) {
            (Some("1"), Some("35")) => Ok(Self::V1_35),
            (Some("1"), Some("29")) => Ok(Self::V1_29),
            _ => Err(format!("Kubernetes {text} is not supported (1.35 and 1.29 are)")),
        }
    }

    /// `1.35`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_29 => "1.29",
            Self::V1_35 => "1.35",
        }
    }

    /// `--node-monitor-grace-period`: 50 s since 1.32, 40 s before.
    #[must_use]
    pub fn node_monitor_grace(self) -> SimDuration {
        match self {
            Self::V1_29 => SimDuration::from_secs(40),
            Self::V1_35 => SimDuration::from_secs(50),
        }
    }

    /// Pods carry `metadata.generation` (`PodObservedGenerationTracking`).
    #[must_use]
    pub fn pod_generation(self) -> bool {
        self >= Self::V1_35
    }

    /// Zone and region labels are copied to a pod when it is bound (`PodTopologyLabelsAdmission`).
    #[must_use]
    pub fn topology_labels_at_bind(self) -> bool {
        self >= Self::V1_35
    }

    /// Queueing hints decide which pods an event moves.
    #[must_use]
    pub fn queueing_hints(self) -> bool {
        self >= Self::V1_35
    }

    /// An idle scheduler pops from backoffQ early, and backoff ends on whole seconds.
    #[must_use]
    pub fn pop_from_backoff(self) -> bool {
        self >= Self::V1_35
    }

    /// Victims are ended beside the scheduling cycles (`SchedulerAsyncPreemption`, since 1.33);
    /// before, within the preemptor's own.
    #[must_use]
    pub fn asynchronous_preemption(self) -> bool {
        self >= Self::V1_35
    }

    /// The status of `ReplicaSets` and Deployments counts terminating pods
    /// (`DeploymentReplicaSetTerminatingReplicas`).
    #[must_use]
    pub fn terminating_replicas(self) -> bool {
        self >= Self::V1_35
    }

    /// The node is written as nominated before a `PreBind` that takes long
    /// (`NominatedNodeNameForExpectation`).
    #[must_use]
    pub fn nominates_before_binding(self) -> bool {
        self >= Self::V1_35
    }

    /// A pod worker that waits for a container's back-off aims at its end (`MinBackoffExpiration`).
    #[must_use]
    pub fn wakes_at_back_off(self) -> bool {
        self >= Self::V1_35
    }

    /// The taint reason of FitError names no key any more.
    #[must_use]
    pub fn short_taint_reason(self) -> bool {
        self >= Self::V1_35
    }

    /// A namespace's pods go before everything else in it (`OrderedNamespaceDeletion`).
    #[must_use]
    pub fn ordered_namespace_deletion(self) -> bool {
        self >= Self::V1_35
    }

    /// `DynamicResources` is among the default plugins (its API is GA since 1.34).
    #[must_use]
    pub fn dynamic_resources(self) -> bool {
        self >= Self::V1_35
    }

    /// A job gets `SuccessCriteriaMet` or `FailureTarget` before its final condition.
    #[must_use]
    pub fn two_step_job_finish(self) -> bool {
        self >= Self::V1_35
    }
}
