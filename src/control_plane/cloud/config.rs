//! What a cloud is: its catalogue of machines with their prices, its node groups, its limits, and
//! how long things take.

use super::super::cloud::autoscaler::AutoscalerConfig;
use crate::api::node::{Node, keys};
use crate::api::resources::Resources;
use crate::engine::{Dist, SimDuration, SimTime, Sym};
use crate::event::cloud::Offer;
use std::sync::Arc;

/// Whose cloud it is: what its latencies are by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// Amazon Web Services.
    #[default]
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
}

impl Provider {
    /// Scheme of `spec.providerID`.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gce",
            Self::Azure => "azure",
        }
    }

    /// What a node group is called there.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Aws => "Auto Scaling group",
            Self::Gcp => "managed instance group",
            Self::Azure => "virtual machine scale set",
        }
    }
}

/// How long things take in a cloud.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CloudLatencies {
    /// Work on one call.
    pub request: Dist,
    /// From the grant of a group's machine to the registration of its kubelet.
    pub boot: Dist,
    /// The same of a machine launched for itself (Karpenter).
    pub direct_boot: Dist,
    /// From the order to end to the end.
    pub terminate: Dist,
    /// From the order of a load balancer to its address.
    pub balancer: Dist,
    /// From the failure of a machine to its replacement by the group's health check.
    pub health_check: Dist,
    /// Notice before a spot machine is taken.
    pub notice: SimDuration,
}

impl CloudLatencies {
    /// The defaults of a provider.
    ///
    /// Boot: behaviour reference §5.3 (EKS with cluster autoscaler 3 to 5 min from the pod to the
    /// node, GKE 3 to 4 min, Karpenter on EC2 30 to 60 s; suggested there: log-normal, median 120
    /// to 240 s for groups, 35 to 60 s for direct launches). Notice: §5.4 (AWS 2 min, GCP 30 s,
    /// Azure about 30 s). Not sourced, and to be measured where they matter: calls, the end of a
    /// machine, load balancers, health checks, and all of Azure's but the notice.
    #[must_use]
    pub fn of(provider: Provider) -> Self {
        let s = SimDuration::from_secs;
        let normal = |median: u64, sigma: f64| Dist::LogNormal { median: s(median), sigma };
        let (boot, balancer, notice) = match provider {
            Provider::Aws => (150, 120, 120),
            Provider::Gcp => (130, 45, 30),
            Provider::Azure => (180, 60, 30),
        };
        Self {
            request: Dist::LogNormal { median: SimDuration::from_millis(300), sigma: 0.4 },
            boot: normal(boot, 0.2),
            direct_boot: normal(45, 0.25),
            terminate: normal(40, 0.3),
            balancer: normal(balancer, 0.3),
            health_check: normal(300, 0.2),
            notice: s(notice),
        }
    }
}

/// A machine type.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineType {
    /// Name.
    pub name: Sym,
    /// What it has.
    pub capacity: Arc<Resources>,
    /// What pods may use of it.
    pub allocatable: Arc<Resources>,
    /// Price on demand, millionths of the currency per hour.
    pub price: u32,
    /// Price of spare capacity; none: there is none.
    pub spot_price: Option<u32>,
}

impl MachineType {
    /// Its price at one of the two.
    #[must_use]
    pub fn price_of(&self, spot: bool) -> u32 {
        if spot { self.spot_price.unwrap_or(self.price) } else { self.price }
    }
}

/// A node group, or a pool of machines that are launched one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Name.
    pub name: Sym,
    /// Names of its machines; `{}` stands for the number.
    pub pattern: Sym,
    /// Its machine type; none for a pool, whose machines are of any.
    pub kind: Option<u16>,
    /// Its zones.
    pub zones: Arc<[Sym]>,
    /// Of spare capacity.
    pub spot: bool,
    /// The autoscaler may shrink it to this, and grow it to that.
    pub bounds: Option<(u32, u32)>,
    /// Rank for the expander `priority`.
    pub priority: i32,
    /// Machines when the run begins.
    pub count: u32,
    /// The Node of a new machine, without what depends on its name, zone and (of a pool) type.
    pub template: Arc<Node>,
}

/// What an account may have at most; none: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// CPU of machines on demand, milli-cores.
    pub cpu: Option<i64>,
    /// CPU of spot machines, milli-cores.
    pub spot_cpu: Option<i64>,
    /// Machines.
    pub machines: Option<u32>,
}

/// For a while the provider has none left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockOut {
    /// Of this type; none: of any.
    pub kind: Option<u16>,
    /// In this zone; none: in any.
    pub zone: Option<Sym>,
    /// Of spot machines, or of those on demand; none: of both.
    pub spot: Option<bool>,
    /// From then.
    pub from: SimTime,
    /// Until then.
    pub until: SimTime,
}

/// A cloud.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// Whose.
    pub provider: Provider,
    /// `topology.kubernetes.io/region`; may be empty.
    pub region: Sym,
    /// Machine types.
    pub types: Vec<MachineType>,
    /// Node groups, and pools behind them.
    pub groups: Vec<Group>,
    /// Limits of the account.
    pub quota: Quota,
    /// What is not to be had, and when.
    pub stock_outs: Vec<StockOut>,
    /// How long things take.
    pub latency: CloudLatencies,
    /// How long a spot machine lasts until the provider takes it back; none: for good.
    pub spot_life: Option<Dist>,
    /// Share of calls that the provider fails, 0 to 1.
    pub failures: f64,
    /// Calls per second, and at one time.
    pub limit: (f64, u32),
    /// Whether the cloud's network carries the pods' traffic, by a route per node.
    pub routes: bool,
    /// Whether groups replace machines that have died.
    pub repairs: bool,
    /// Client limits of cloud-controller-manager.
    pub manager_limit: (f64, u32),
    /// Who adds and takes away machines, if anybody does.
    pub autoscaler: Option<AutoscalerConfig>,
}

impl CloudConfig {
    /// The machine type of a row.
    #[must_use]
    pub fn kind(&self, row: u16) -> &MachineType {
        &self.types[usize::from(row)]
    }

    /// Writes onto a Node what a machine of an offer is and where it stands.
    pub fn label(&self, node: &mut Node, offer: Offer) {
        let pairs = [
            (keys::INSTANCE_TYPE, self.kind(offer.kind).name),
            (keys::ZONE, offer.zone),
            (keys::REGION, self.region),
        ];
        for (key, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            node.meta.labels = node.meta.labels.with(key.into(), value);
        }
    }

    /// The group or pool of a row.
    #[must_use]
    pub fn group(&self, row: u16) -> &Group {
        &self.groups[usize::from(row)]
    }
}
