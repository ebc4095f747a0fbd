//! Messages to the cloud around the cluster. They are no requests to an API server: they take a way
//! of their own over the network, are throttled and refused by the cloud alone, and have answers of
//! their own.

use crate::engine::id::Id;
use crate::engine::{SimTime, Sym};
use std::sync::Arc;

/// Who asks the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Customer {
    /// cloud-controller-manager.
    Manager,
    /// The autoscaler of nodes, of whichever style.
    Autoscaler,
}

/// A kind of machine in a zone, at one of two prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offer {
    /// Machine type, by its row in the catalogue.
    pub kind: u16,
    /// Zone.
    pub zone: Sym,
    /// Of spare capacity, which the provider may take back.
    pub spot: bool,
}

/// Why the cloud refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloudError {
    /// The account may not have more.
    Quota,
    /// The provider has none of these left in the zone.
    NoCapacity,
    /// Too many requests.
    Throttled,
    /// An internal error of the provider.
    Unavailable,
    /// There is no such thing.
    NotFound,
}

impl CloudError {
    /// In the words of the autoscaler's events and status.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Quota => "quota exceeded",
            Self::NoCapacity => "out of capacity",
            Self::Throttled => "rate limit exceeded",
            Self::Unavailable => "internal error",
            Self::NotFound => "not found",
        }
    }
}

/// What is asked of the cloud.
#[derive(Debug, Clone)]
pub enum CloudOp {
    /// A node group is to have so many machines more.
    Grow {
        /// The group.
        group: u16,
        /// How many.
        by: u16,
    },
    /// A node group is to wait no longer for so many machines that do not come.
    Shrink {
        /// The group.
        group: u16,
        /// How many.
        by: u16,
    },
    /// A machine outside of any group: the first of these offers that is to be had.
    Launch {
        /// The pool it is for.
        pool: u16,
        /// Offers, the preferred one first.
        offers: Arc<[Offer]>,
    },
    /// A machine is to go; its group is to have one less.
    Terminate {
        /// Its name.
        machine: Sym,
    },
    /// All groups and their machines.
    List,
    /// One machine.
    Describe {
        /// Its name.
        machine: Sym,
    },
    /// The network is to carry a node's pod addresses to it, or no longer.
    Route {
        /// The node.
        node: Sym,
        /// True: it is to.
        on: bool,
    },
    /// A load balancer is to send to these nodes; it is made if there is none.
    Balance {
        /// Its name.
        balancer: Sym,
        /// Nodes.
        nodes: Arc<[Sym]>,
    },
    /// A load balancer is to go.
    Unbalance {
        /// Its name.
        balancer: Sym,
    },
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has been granted, and boots or runs.
    Running,
    /// It has been told to end.
    Stopping,
    /// It is gone.
    Gone,
}

/// A machine as the cloud describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Its name, which is its node's.
    pub name: Sym,
    /// Its group or pool.
    pub group: u16,
    /// What it is.
    pub offer: Offer,
    /// How far it is.
    pub phase: Phase,
    /// When it was granted.
    pub since: SimTime,
    /// The provider has said that it takes it back.
    pub notice: bool,
}

/// A group as the cloud describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupState {
    /// How many machines it is to have.
    pub desired: u32,
    /// How many of them are not to be had, and why.
    pub missing: Option<(u32, CloudError)>,
}

/// The answer to [`CloudOp::List`].
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Groups, in the order of the catalogue.
    pub groups: Arc<[GroupState]>,
    /// Machines that are not gone, the oldest first.
    pub machines: Arc<[Machine]>,
}

/// What the cloud answers.
#[derive(Debug, Clone)]
pub enum CloudAnswer {
    /// It is, or will be, done.
    Done,
    /// One machine.
    Machine(Machine),
    /// Groups and machines.
    List(Listing),
    /// A load balancer at this address.
    Address(u32),
    /// Refused.
    Failed(CloudError),
}

/// A message on its way to the cloud, and its answer once there is one.
#[derive(Debug, Clone)]
pub struct CloudCall {
    /// Who asks.
    pub from: Customer,
    /// What they need to find their place again.
    pub token: u32,
    /// What is asked.
    pub op: CloudOp,
    /// Filled by the cloud.
    pub answer: Option<CloudAnswer>,
}

/// Events of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloudEvent {
    /// A message arrives.
    Arrive(Id),
    /// The cloud has worked on it.
    Work(Id),
    /// The answer arrives.
    Answer(Id),
    /// A group looks whether it has as many machines as it is to have.
    Group(u16),
    /// Something happens to a machine, by its row.
    Machine(u32, MachineStep),
}

/// What happens to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineStep {
    /// It gets power.
    Starts,
    /// It is off for good.
    Ends,
    /// The provider says that it will take it back.
    Notice,
    /// The provider takes it.
    Taken,
    /// The group's health check looks at it again.
    Check,
}

/// Events of the autoscaler of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AutoscalerEvent {
    /// It looks at the cluster.
    Scan,
    /// A node that is drained is looked at again.
    Drain(u32),
    /// New pods have waited long enough for others to join them.
    Batch(u32),
}
