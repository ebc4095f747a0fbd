//! Any object, as etcd stores it: a shared pointer to its typed form.

use super::autoscaling::{HorizontalPodAutoscaler, PodMetricsList};
use super::cronjob::CronJob;
use super::kevent::KEvent;
use super::lease::Lease;
use super::meta::Meta;
use super::node::Node;
use super::pod::Pod;
use super::service::{EndpointSlice, Endpoints};
use super::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
    VolumeAttachment,
};
use super::workload::{
    ControllerRevision, DaemonSet, Deployment, Generic, Job, Namespace, PriorityClass, ReplicaSet,
    StatefulSet,
};
use super::{Kind, Name};
use crate::engine::Sym;
use std::sync::Arc;

macro_rules! objects {
    ($($variant:ident($type:ty) $doc:literal;)*) => {
        /// A stored object. Cloning shares it; writers make a new one.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Obj {
            $(#[doc = $doc] $variant(Arc<$type>),)*
            /// A Kubernetes Event.
            Event(Arc<KEvent>),
            /// Any other kind.
            Generic(Kind, Arc<Generic>),
        }

        impl Obj {
            /// The kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(_) => Kind::$variant,)*
                    Self::Event(_) => Kind::Event,
                    Self::Generic(kind, _) => *kind,
                }
            }

            /// Metadata; Events have none of their own (they are named by what they are about).
            #[must_use]
            pub fn meta(&self) -> Option<&Meta> {
                Some(match self {
                    $(Self::$variant(o) => &o.meta,)*
                    Self::Event(_) => return None,
                    Self::Generic(_, o) => &o.meta,
                })
            }

            /// Metadata for writing: the object is copied first if it is shared.
            pub fn meta_mut(&mut self) -> Option<&mut Meta> {
                Some(match self {
                    $(Self::$variant(o) => &mut Arc::make_mut(o).meta,)*
                    Self::Event(_) => return None,
                    Self::Generic(_, o) => &mut Arc::make_mut(o).meta,
                })
            }
        }
    };
}

objects! {
    Pod(Pod) "A pod.";
    Node(Node) "A node.";
    Namespace(Namespace) "A namespace.";
    Deployment(Deployment) "A Deployment.";
    ReplicaSet(ReplicaSet) "A ReplicaSet.";
    ReplicationController(ReplicaSet) "A `ReplicationController`.";
    StatefulSet(StatefulSet) "A StatefulSet.";
    DaemonSet(DaemonSet) "A DaemonSet.";
    Job(Job) "A Job.";
    CronJob(CronJob) "A CronJob.";
    PriorityClass(PriorityClass) "A PriorityClass.";
    PersistentVolume(PersistentVolume) "A `PersistentVolume`.";
    PersistentVolumeClaim(PersistentVolumeClaim) "A `PersistentVolumeClaim`.";
    StorageClass(StorageClass) "A `StorageClass`.";
    CSINode(CsiNode) "A `CSINode`.";
    CSIDriver(CsiDriver) "A `CSIDriver`.";
    CSIStorageCapacity(CsiStorageCapacity) "A `CSIStorageCapacity`.";
    VolumeAttachment(VolumeAttachment) "A `VolumeAttachment`.";
    Lease(Lease) "A Lease that a component renews.";
    ControllerRevision(ControllerRevision) "A revision of a template.";
    HorizontalPodAutoscaler(HorizontalPodAutoscaler) "A `HorizontalPodAutoscaler`.";
    EndpointSlice(EndpointSlice) "Addresses of a Service.";
    Endpoints(Endpoints) "Addresses of a Service, in the old form.";
    PodMetrics(PodMetricsList) "What a metrics server answers; never stored.";
}

impl Obj {
    /// Namespace and name (of an Event: those of the object it is about).
    #[must_use]
    pub fn key(&self) -> (Sym, Name) {
        if let Self::Event(e) = self {
            return (e.ns, e.name);
        }
        self.meta().map(|m| (m.ns, m.name)).unwrap_or_default()
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
