//! Requests to the API server and its answers. Outcomes of the simulated world (`Conflict`,
//! `NotFound`) are values.

use super::autoscaling::MetricQuery;
use super::gpu::Devices;
use super::kevent::KEvent;
use super::meta::{Owner, Uid};
use super::node::NodeStatus;
use super::object::Obj;
use super::pod::{Condition, PodStatus, Taint};
use super::versions::ObjRef;
use super::{Kind, Name};
use crate::engine::{SimTime, Sym};
use std::sync::Arc;

/// Who asks: decides authorization, fairness and the row in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum User {
    /// The scenario's user (kubectl).
    Admin,
    /// kube-scheduler.
    Scheduler,
    /// A controller of kube-controller-manager by its service account (`replicaset-controller`).
    Controller(Sym),
    /// The kubelet of a node.
    Kubelet(Sym),
    /// The API server itself.
    ApiServer,
    /// Somebody a step of the scenario names: `alice`, `system:serviceaccount:NAMESPACE:NAME`.
    Person {
        /// User name.
        name: Sym,
        /// Groups, joined by commas; `system:authenticated` and those of service accounts are
        /// understood.
        groups: Sym,
    },
}

impl std::fmt::Display for User {
    /// As the recordings name writers: `user`, `scheduler`, `kcm:…`, `kubelet:…`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admin => f.write_str("user"),
            Self::Scheduler => f.write_str("scheduler"),
            Self::Controller(name) => write!(f, "kcm:{name}"),
            Self::Kubelet(node) => write!(f, "kubelet:{node}"),
            Self::ApiServer => f.write_str("apiserver"),
            Self::Person { name, .. } => f.write_str(name.as_str()),
        }
    }
}

/// `propagationPolicy` of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// The owner goes first, the garbage collector takes its dependents afterwards.
    Background,
    /// Dependents go first.
    Foreground,
    /// Dependents stay.
    Orphan,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Op {
    /// POST. With `generate`, the name is `generate` + 5 random letters.
    Create {
        /// The object.
        object: Obj,
        /// True: the object's name is the base (without dash) of a generated one.
        generate: bool,
    },
    /// POST of a Kubernetes Event, with what tells it from others about its object, so that
    /// repetitions can be folded into it; 0 if there will be none.
    CreateEvent(Arc<KEvent>, u32),
    /// PATCH of a Kubernetes Event with the same object and key: a higher count. If it has expired,
    /// it is made again, as client-go does after a 404.
    PatchEvent(Arc<KEvent>, u32),
    /// PUT of the whole object; its `resource_version` is compared unless 0.
    Update(Obj),
    /// PUT to `/status`; only the status is taken.
    UpdateStatus(Obj),
    /// kubectl apply of a manifest: creates or replaces spec, labels and annotations.
    Apply(Obj),
    /// PATCH of the pod's status by its kubelet: everything but conditions owned by others.
    PodStatus(Box<PodStatus>),
    /// PATCH of one pod condition, and of `nominatedNodeName` if given.
    PodCondition(Condition, Option<Sym>),
    /// PATCH of a pod's `nominatedNodeName`; empty to clear it.
    Nominate(Sym),
    /// PATCH of the node's status by its kubelet (or, for Unknown, by node-lifecycle).
    NodeStatus(Box<NodeStatus>),
    /// PATCH of the node's status by its kubelet when nothing has changed: heartbeat times alone.
    Heartbeat(SimTime),
    /// PATCH of node taints: those to take away (by key and effect), then those to add.
    NodeTaints {
        /// Taken away if key and effect are equal.
        remove: Arc<[Taint]>,
        /// Added unless key and effect are there already.
        add: Arc<[Taint]>,
    },
    /// PATCH of `spec.unschedulable`.
    Cordon(bool),
    /// PATCH of `/scale`.
    Scale(i32),
    /// PATCH of a container's image in a workload's template (`kubectl set image`): container
    /// (empty: all) and image.
    SetImage(Sym, Sym),
    /// POST to `pods/binding`.
    Bind {
        /// The node.
        node: Sym,
        /// GPUs that the scheduler has chosen: an annotation of the binding, which the API server
        /// puts on the pod.
        devices: Devices,
    },
    /// POST to `pods/eviction`.
    Evict,
    /// DELETE.
    Delete {
        /// `gracePeriodSeconds`; none for the pod's own.
        grace_s: Option<u32>,
        /// `propagationPolicy`; none for the kind's default.
        propagation: Option<Propagation>,
        /// Precondition on the identity.
        uid: Option<Uid>,
    },
    /// PATCH that removes a finalizer.
    RemoveFinalizer(Sym),
    /// PATCH that removes the owner references with these identities.
    RemoveOwners(Arc<[Uid]>),
    /// PATCH that adds an owner reference (adoption).
    AddOwner {
        /// The owner.
        owner: Owner,
        /// Precondition on the identity of the object.
        uid: Uid,
        /// A finalizer that comes with it.
        finalizer: Option<Sym>,
    },
    /// PUT of `/scale`.
    PutScale(i32),
    /// PUT of a namespace's `/finalize`: it has been emptied.
    Finalize,
    /// DELETE of all objects of the kind in the namespace.
    DeleteCollection,
    /// PATCH of `spec.podCIDR` of a node.
    PodCidr(Sym),
    /// PATCH of `volumesAttached` in a node's status.
    VolumesAttached(Arc<[Sym]>),
    /// GET.
    Get,
    /// GET of metrics from the server behind the API (`metrics.k8s.io` and its like).
    Metrics(Arc<MetricQuery>),
}

impl Op {
    /// The HTTP verb as audit logs print it, and the subresource (with slash) if any.
    #[must_use]
    pub fn verb(&self) -> (&'static str, &'static str) {
        match self {
            Self::Create { .. } | Self::CreateEvent(..) => ("create", ""),
            Self::Update(_) | Self::Apply(Obj::Lease(_)) => ("update", ""),
            Self::UpdateStatus(_) => ("update", "/status"),
            Self::Apply(_)
            | Self::PatchEvent(..)
            | Self::NodeTaints { .. }
            | Self::Cordon(_)
            | Self::SetImage(..)
            | Self::RemoveFinalizer(_)
            | Self::RemoveOwners(_)
            | Self::AddOwner { .. }
            | Self::PodCidr(_) => ("patch", ""),
            Self::PutScale(_) => ("update", "/scale"),
            Self::Finalize => ("update", "/finalize"),
            Self::DeleteCollection => ("deletecollection", ""),
            Self::Metrics(_) => ("list", ""),
            Self::Get => ("get", ""),
            Self::PodStatus(_)
            | Self::VolumesAttached(_)
            | Self::PodCondition(..)
            | Self::Nominate(_)
            | Self::NodeStatus(_)
            | Self::Heartbeat(_) => ("patch", "/status"),
            Self::Scale(_) => ("patch", "/scale"),
            Self::Bind { .. } => ("create", "/binding"),
            Self::Evict => ("create", "/eviction"),
            Self::Delete { .. } => ("delete", ""),
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks.
    pub user: User,
    /// Kind of the object.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub ns: Sym,
    /// Name; with `generate`, its base.
    pub name: Name,
    /// The object as the client knows it (saves the look-up by name, and is no precondition: the
    /// name decides if the object is another one by now).
    pub target: Option<ObjRef>,
    /// What is asked for.
    pub op: Op,
}

/// An error answer of the API server: HTTP code and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiError {
    /// 401.
    Unauthorized,
    /// 403, with the part of the message that says why.
    Forbidden(Sym),
    /// 403 once the server has made up the object's name: that name, and why.
    ForbiddenNamed(Name, Sym),
    /// 404.
    NotFound,
    /// 409: the name is taken.
    AlreadyExists,
    /// 409: the object has changed, or the precondition failed.
    Conflict,
    /// 422, with the list of causes.
    Invalid(Sym),
    /// 429, with a message, and seconds of the `Retry-After` header (0: none is sent).
    TooManyRequests(Sym, u16),
    /// 500, with a message (etcd out of space, for one).
    Internal(Sym),
    /// No answer came: the outcome is unknown.
    Lost,
    /// Nobody listens: connection refused, nothing was sent.
    Unreachable,
}

impl ApiError {
    /// Without the name that the server made up, which stands beside it.
    #[must_use]
    pub fn unnamed(self) -> (Option<Name>, Self) {
        match self {
            Self::ForbiddenNamed(name, why) => (Some(name), Self::Forbidden(why)),
            Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotFound
            | Self::AlreadyExists
            | Self::Conflict
            | Self::Invalid(_)
            | Self::TooManyRequests(..)
            | Self::Internal(_)
            | Self::Unreachable
            | Self::Lost => (None, self),
        }
    }

    /// With the name of the object, if it was refused.
    #[must_use]
    pub fn named(self, name: Name) -> Self {
        if let Self::Forbidden(why) = self { Self::ForbiddenNamed(name, why) } else { self }
    }

    /// True if it says nothing about the request: whoever can, asks again later.
    #[must_use]
    pub fn is_outage(self) -> bool {
        match self {
            Self::Lost | Self::Unreachable => true,
            Self::Internal(text) => text.as_str().starts_with("etcdserver: "),
            Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotFound
            | Self::AlreadyExists
            | Self::Conflict
            | Self::Invalid(_)
            | Self::ForbiddenNamed(..)
            | Self::TooManyRequests(..) => false,
        }
    }

    /// The HTTP code; 0 for an answer that was lost.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden(_) | Self::ForbiddenNamed(..) => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Invalid(_) => 422,
            Self::TooManyRequests(..) => 429,
            Self::Internal(_) => 500,
            Self::Lost | Self::Unreachable => 0,
        }
    }

    /// `reason` of the Status (source: `apimachinery/pkg/apis/meta/v1/types.go`).
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden(_) | Self::ForbiddenNamed(..) => "Forbidden",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Invalid(_) => "Invalid",
            Self::TooManyRequests(..) => "TooManyRequests",
            Self::Internal(_) => "InternalError",
            Self::Lost => "Lost",
            Self::Unreachable => "Unreachable",
        }
    }

    /// `message` of the Status, as kubectl prints it after `Error from server` (source:
    /// `apimachinery/pkg/api/errors/errors.go`).
    #[must_use]
    pub fn message(self, kind: Kind, name: Name) -> String {
        let group = kind.info().map_or("", |k| k.group);
        let dot = if group.is_empty() { "" } else { "." };
        let resource = format!("{}{dot}{group}", kind.plural());
        match self {
            Self::Unauthorized => "Unauthorized".to_owned(),
            Self::Forbidden(why) if name.is_empty() => format!("{resource} is forbidden: {why}"),
            Self::Forbidden(why) => format!("{resource} \"{name}\" is forbidden: {why}"),
            Self::ForbiddenNamed(own, why) => {
                let own = if own.is_empty() { name } else { own };
                Self::Forbidden(why).message(kind, own)
            }
            Self::NotFound => format!("{resource} \"{name}\" not found"),
            Self::AlreadyExists => format!("{resource} \"{name}\" already exists"),
            Self::Conflict => format!(
                "Operation cannot be fulfilled on {resource} \"{name}\": the object has been \
                 modified; please apply your changes to the latest version and try again"
            ),
            Self::Invalid(why) => {
                format!("{}{dot}{group} \"{name}\" is invalid: {why}", kind.name())
            }
            Self::TooManyRequests(why, _) | Self::Internal(why) => why.to_string(),
            Self::Lost => "no answer came".to_owned(),
            Self::Unreachable => "connection refused: no API server answers".to_owned(),
        }
    }
}

/// What a successful request gives: the object and its content after the request (its last content
/// for a deletion).
#[derive(Debug, Clone)]
pub struct Success {
    /// The object.
    pub object: ObjRef,
    /// Its content.
    pub value: Obj,
}

/// The answer.
pub type Outcome = Result<Success, ApiError>;
