//! Any object, as etcd stores it: a shared pointer to its typed form.

use super::kevent::KEvent;
use super::lease::Lease;
use super::meta::Meta;
use super::node::Node;
use super::pod::Pod;
use super::workload::{
    DaemonSet, Deployment, Generic, Job, Namespace, PriorityClass, ReplicaSet, StatefulSet,
};
use super::{Kind, Name};
use crate::engine::Sym;
use std::sync::Arc;

/// A stored object. Cloning shares it; writers make a new one.
#[derive(Debug, Clone, PartialEq)]
pub enum Obj {
    /// A pod.
    Pod(Arc<Pod>),
    /// A node.
    Node(Arc<Node>),
    /// A Kubernetes Event.
    Event(Arc<KEvent>),
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// A Deployment.
    Deployment(Arc<Deployment>),
    /// A ReplicaSet.
    ReplicaSet(Arc<ReplicaSet>),
    /// A StatefulSet.
    StatefulSet(Arc<StatefulSet>),
    /// A DaemonSet.
    DaemonSet(Arc<DaemonSet>),
    /// A Job.
    Job(Arc<Job>),
    /// A PriorityClass.
    PriorityClass(Arc<PriorityClass>),
    /// A Lease that a component renews.
    Lease(Arc<Lease>),
    /// Any other kind.
    Generic(Kind, Arc<Generic>),
}

impl Obj {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::Event(_) => Kind::Event,
            Self::Namespace(_) => Kind::Namespace,
            Self::Deployment(_) => Kind::Deployment,
            Self::ReplicaSet(_) => Kind::ReplicaSet,
            Self::StatefulSet(_) => Kind::StatefulSet,
            Self::DaemonSet(_) => Kind::DaemonSet,
            Self::Job(_) => Kind::Job,
            Self::PriorityClass(_) => Kind::PriorityClass,
            Self::Lease(_) => Kind::Lease,
            Self::Generic(kind, _) => *kind,
        }
    }

    /// Metadata; Events have none of their own (they are named by what they are about).
    #[must_use]
    pub fn meta(&self) -> Option<&Meta> {
        Some(match self {
            Self::Pod(o) => &o.meta,
            Self::Node(o) => &o.meta,
            Self::Event(_) => return None,
            Self::Namespace(o) => &o.meta,
            Self::Deployment(o) => &o.meta,
            Self::ReplicaSet(o) => &o.meta,
            Self::StatefulSet(o) => &o.meta,
            Self::DaemonSet(o) => &o.meta,
            Self::Job(o) => &o.meta,
            Self::PriorityClass(o) => &o.meta,
            Self::Lease(o) => &o.meta,
            Self::Generic(_, o) => &o.meta,
        })
    }

    /// Metadata for writing: the object is copied first if it is shared.
    pub fn meta_mut(&mut self) -> Option<&mut Meta> {
        Some(match self {
            Self::Pod(o) => &mut Arc::make_mut(o).meta,
            Self::Node(o) => &mut Arc::make_mut(o).meta,
            Self::Event(_) => return None,
            Self::Namespace(o) => &mut Arc::make_mut(o).meta,
            Self::Deployment(o) => &mut Arc::make_mut(o).meta,
            Self::ReplicaSet(o) => &mut Arc::make_mut(o).meta,
            Self::StatefulSet(o) => &mut Arc::make_mut(o).meta,
            Self::DaemonSet(o) => &mut Arc::make_mut(o).meta,
            Self::Job(o) => &mut Arc::make_mut(o).meta,
            Self::PriorityClass(o) => &mut Arc::make_mut(o).meta,
            Self::Lease(o) => &mut Arc::make_mut(o).meta,
            Self::Generic(_, o) => &mut Arc::make_mut(o).meta,
        })
    }

    /// Namespace and name (of an Event: those of the object it is about).
    #[must_use]
    pub fn key(&self) -> (Sym, Name) {
        match self {
            Self::Event(e) => (e.ns, e.name),
            Self::Pod(_)
            | Self::Node(_)
            | Self::Namespace(_)
            | Self::Deployment(_)
            | Self::ReplicaSet(_)
            | Self::StatefulSet(_)
            | Self::DaemonSet(_)
            | Self::Job(_)
            | Self::PriorityClass(_)
            | Self::Lease(_)
            | Self::Generic(..) => self.meta().map(|m| (m.ns, m.name)).unwrap_or_default(),
        }
    }

    /// The pod, if it is one.
    #[must_use]
    pub fn as_pod(&self) -> Option<&Arc<Pod>> {
        if let Self::Pod(o) = self { Some(o) } else { None }
    }

    /// The lease, if it is one that a component renews.
    #[must_use]
    pub fn as_lease(&self) -> Option<&Arc<Lease>> {
        if let Self::Lease(o) = self { Some(o) } else { None }
    }

    /// The node, if it is one.
    #[must_use]
    pub fn as_node(&self) -> Option<&Arc<Node>> {
        if let Self::Node(o) = self { Some(o) } else { None }
    }
}
