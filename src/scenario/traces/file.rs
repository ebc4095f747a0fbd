//! Recorded workloads as a scenario names them.

use crate::scenario::file::{AgentName, DrawnRequests, Openb};
use crate::scenario::value::{Quantity, Span};
use schemars::JsonSchema;
use serde::Deserialize;

/// A recorded workload; exactly one importer is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trace {
    /// The Alibaba openb trace of 2023.
    pub openb: Option<Openb>,
    /// Alibaba's trace of recommendation models of 2025.
    pub dlrm: Option<Dlrm>,
    /// Jobs and machines of Google's cluster of 2011.
    pub google2011: Option<Google2011>,
    /// Virtual machines of Azure, V1.
    pub azure_vm: Option<AzureVm>,
    /// Jobs of Microsoft's Philly cluster of 2017.
    pub philly: Option<Philly>,
    /// Jobs of SURF's Lisa cluster of 2022.
    pub surf: Option<Surf>,
    /// A log of the Parallel Workloads Archive, in the Standard Workload Format.
    pub swf: Option<Swf>,
    /// What `SimKube` has recorded of a cluster.
    pub simkube: Option<Simkube>,
}

/// What all importers of arrivals have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common<'f> {
    pub(crate) from: Option<&'f Span>,
    pub(crate) until: Option<&'f Span>,
    pub(crate) limit: Option<u32>,
    pub(crate) speed_up: Option<f64>,
    pub(crate) namespace: Option<&'f str>,
}

macro_rules! importers {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Deserialize, JsonSchema)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            pub struct $name {
                $($fields)*
                /// Leave out what arrives earlier, counted from the trace's first arrival: the run
                /// begins here, with nothing of what arrived before.
                pub from: Option<Span>,
                /// Leave out what arrives at this time of the trace or later, counted likewise.
                pub until: Option<Span>,
                /// Only the first so many arrivals.
                pub limit: Option<u32>,
                /// Divide all times by this.
                pub speed_up: Option<f64>,
                /// Namespace; `default` by default.
                pub namespace: Option<String>,
            }

            impl $name {
                pub(crate) fn common(&self) -> Common<'_> {
                    Common {
                        from: self.from.as_ref(),
                        until: self.until.as_ref(),
                        limit: self.limit,
                        speed_up: self.speed_up,
                        namespace: self.namespace.as_deref(),
                    }
                }
            }
        )*
    };
}

importers! {
    /// Alibaba's trace of recommendation models (cluster-trace-gpu-v2025): instances with CPU, GPU,
    /// network, memory, disk, and a cap per node.
    Dlrm {
        /// The table of instances (CSV, may be gzipped).
        pub pods: String,
    }

    /// Google's cluster of May 2011 (clusterdata-2011-2): when jobs were submitted, and how long
    /// they ran. The table names no sizes.
    Google2011 {
        /// Parts of the table `job_events` (CSV without header, may be gzipped), in order.
        pub job_events: Vec<String>,
        /// Size of each job's pod, drawn.
        #[serde(default)]
        pub requests: DrawnRequests,
        /// Machines of the trace as nodes; none if the cluster has its own.
        pub machines: Option<Machines>,
    }

    /// Virtual machines of Azure (`AzurePublicDataset` V1): flavours, lifetimes, bins of 300 s.
    AzureVm {
        /// Flavours of the VMs that arrive in each bin.
        pub arrivals: String,
        /// Bins of their lifetimes, line by line.
        pub lifetimes: String,
        /// vCPUs and GB of each flavour.
        pub flavors: String,
        /// The lengths of which each bin of lifetimes consists.
        pub intervals: String,
    }

    /// Microsoft's Philly cluster of 2017: deep-learning jobs with GPUs and durations.
    Philly {
        /// The table of jobs (CSV, may be gzipped).
        pub jobs: String,
        /// Most GPUs of a pod; a larger job becomes several equal pods. 8 by default.
        #[schemars(range(min = 1))]
        pub gpus_per_pod: Option<u32>,
        /// CPU and memory of each pod, drawn; the table names none.
        #[serde(default)]
        pub requests: DrawnRequests,
    }

    /// SURF's Lisa cluster of 2022, batch jobs as `OpenDC` has them.
    Surf {
        /// The table of jobs (CSV, may be gzipped).
        pub jobs: String,
    }

    /// A log of the Parallel Workloads Archive, in the Standard Workload Format.
    Swf {
        /// The log (may be gzipped).
        pub jobs: String,
        /// Most processors of a pod; a larger job becomes several equal pods. No bound by default.
        #[schemars(range(min = 1))]
        pub cores_per_pod: Option<u32>,
        /// Memory per processor of jobs of which the log tells none; none by default.
        pub memory: Option<Quantity>,
    }
}

/// Machines of Google's cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machines {
    /// The table (CSV with `machine_id,cpu,memory`, may be gzipped).
    pub file: String,
    /// CPU of a machine of 1.0.
    pub cpu: Quantity,
    /// Memory of a machine of 1.0.
    pub memory: Quantity,
    /// Only every so many-th machine; all by default.
    #[schemars(range(min = 1))]
    pub every: Option<u32>,
    /// Agent; `kubelet` by default.
    #[serde(default)]
    pub agent: AgentName,
}

/// What `SimKube` has recorded of a cluster: objects are applied and deleted when they were. What
/// stood before `from` is applied at the start.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Simkube {
    /// The trace: `.sktrace` (version 2), or the same as JSON; may be gzipped.
    pub trace: String,
    /// Begin, counted from the trace's first event.
    pub from: Option<Span>,
    /// Leave out events at this time of the trace or later, counted likewise.
    pub until: Option<Span>,
    /// Only the first so many events.
    pub limit: Option<u32>,
    /// Divide all times by this.
    pub speed_up: Option<f64>,
}

impl Simkube {
    pub(crate) fn common(&self) -> Common<'_> {
        Common {
            from: self.from.as_ref(),
            until: self.until.as_ref(),
            limit: self.limit,
            speed_up: self.speed_up,
            namespace: None,
        }
    }
}
