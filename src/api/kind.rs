//! The built-in kinds: one row each, in one table.

use std::fmt;

/// Group, versions, names and key of a kind, as the API server knows them.
#[derive(Debug, Clone, Copy)]
pub struct KindInfo {
    /// The kind.
    pub kind: Kind,
    /// API group; empty for core.
    pub group: &'static str,
    /// Versions accepted, preferred one first.
    pub versions: &'static [&'static str],
    /// CamelCase kind as in a manifest.
    pub name: &'static str,
    /// Lower-case plural as in a URL.
    pub plural: &'static str,
    /// True if objects live in a namespace.
    pub namespaced: bool,
    /// The folder below `/registry/` in etcd (source: `default_storage_factory_builder.go`).
    pub registry: &'static str,
}

macro_rules! kinds {
    ($($variant:ident $group:literal [$($version:literal),+] $plural:literal $namespaced:literal
       $registry:literal;)*) => {
        /// A kind of object. Custom resources share [`Kind::Custom`]; their document says which.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = concat!("`", $group, "` ", stringify!($variant), ".")] $variant,)*
            /// A custom resource.
            Custom,
        }

        /// Every built-in kind, in table order.
        pub const KINDS: &[KindInfo] = &[
            $(KindInfo { kind: Kind::$variant, group: $group, versions: &[$($version),+],
                name: stringify!($variant), plural: $plural, namespaced: $namespaced,
                registry: $registry },)*
        ];
    };
}

kinds! {
    Pod "" ["v1"] "pods" true "pods";
    Node "" ["v1"] "nodes" false "minions";
    Event "" ["v1"] "events" true "events";
    Namespace "" ["v1"] "namespaces" false "namespaces";
    Service "" ["v1"] "services" true "services/specs";
    Endpoints "" ["v1"] "endpoints" true "services/endpoints";
    ConfigMap "" ["v1"] "configmaps" true "configmaps";
    Secret "" ["v1"] "secrets" true "secrets";
    ServiceAccount "" ["v1"] "serviceaccounts" true "serviceaccounts";
    PersistentVolume "" ["v1"] "persistentvolumes" false "persistentvolumes";
    PersistentVolumeClaim "" ["v1"] "persistentvolumeclaims" true "persistentvolumeclaims";
    ReplicationController "" ["v1"] "replicationcontrollers" true "controllers";
    LimitRange "" ["v1"] "limitranges" true "limitranges";
    ResourceQuota "" ["v1"] "resourcequotas" true "resourcequotas";
    PodTemplate "" ["v1"] "podtemplates" true "podtemplates";
    ComponentStatus "" ["v1"] "componentstatuses" false "componentstatuses";
    Binding "" ["v1"] "bindings" true "bindings";
    Deployment "apps" ["v1"] "deployments" true "deployments";
    ReplicaSet "apps" ["v1"] "replicasets" true "replicasets";
    StatefulSet "apps" ["v1"] "statefulsets" true "statefulsets";
    DaemonSet "apps" ["v1"] "daemonsets" true "daemonsets";
    ControllerRevision "apps" ["v1"] "controllerrevisions" true "controllerrevisions";
    Job "batch" ["v1"] "jobs" true "jobs";
    CronJob "batch" ["v1"] "cronjobs" true "cronjobs";
    HorizontalPodAutoscaler "autoscaling" ["v2", "v1"] "horizontalpodautoscalers" true "horizontalpodautoscalers";
    Ingress "networking.k8s.io" ["v1"] "ingresses" true "ingress";
    IngressClass "networking.k8s.io" ["v1"] "ingressclasses" false "ingressclasses";
    NetworkPolicy "networking.k8s.io" ["v1"] "networkpolicies" true "networkpolicies";
    ServiceCIDR "networking.k8s.io" ["v1"] "servicecidrs" false "servicecidrs";
    IPAddress "networking.k8s.io" ["v1"] "ipaddresses" false "ipaddresses";
    PodDisruptionBudget "policy" ["v1"] "poddisruptionbudgets" true "poddisruptionbudgets";
    Eviction "policy" ["v1"] "evictions" true "evictions";
    Role "rbac.authorization.k8s.io" ["v1"] "roles" true "roles";
    RoleBinding "rbac.authorization.k8s.io" ["v1"] "rolebindings" true "rolebindings";
    ClusterRole "rbac.authorization.k8s.io" ["v1"] "clusterroles" false "clusterroles";
    ClusterRoleBinding "rbac.authorization.k8s.io" ["v1"] "clusterrolebindings" false "clusterrolebindings";
    PriorityClass "scheduling.k8s.io" ["v1"] "priorityclasses" false "priorityclasses";
    StorageClass "storage.k8s.io" ["v1"] "storageclasses" false "storageclasses";
    VolumeAttachment "storage.k8s.io" ["v1"] "volumeattachments" false "volumeattachments";
    CSIDriver "storage.k8s.io" ["v1"] "csidrivers" false "csidrivers";
    CSINode "storage.k8s.io" ["v1"] "csinodes" false "csinodes";
    CSIStorageCapacity "storage.k8s.io" ["v1"] "csistoragecapacities" true "csistoragecapacities";
    VolumeAttributesClass "storage.k8s.io" ["v1"] "volumeattributesclasses" false "volumeattributesclasses";
    EndpointSlice "discovery.k8s.io" ["v1"] "endpointslices" true "endpointslices";
    Lease "coordination.k8s.io" ["v1"] "leases" true "leases";
    RuntimeClass "node.k8s.io" ["v1"] "runtimeclasses" false "runtimeclasses";
    CustomResourceDefinition "apiextensions.k8s.io" ["v1"] "customresourcedefinitions" false "apiextensions.k8s.io/customresourcedefinitions";
    APIService "apiregistration.k8s.io" ["v1"] "apiservices" false "apiregistration.k8s.io/apiservices";
    MutatingWebhookConfiguration "admissionregistration.k8s.io" ["v1"] "mutatingwebhookconfigurations" false "mutatingwebhookconfigurations";
    ValidatingWebhookConfiguration "admissionregistration.k8s.io" ["v1"] "validatingwebhookconfigurations" false "validatingwebhookconfigurations";
    ValidatingAdmissionPolicy "admissionregistration.k8s.io" ["v1"] "validatingadmissionpolicies" false "validatingadmissionpolicies";
    ValidatingAdmissionPolicyBinding "admissionregistration.k8s.io" ["v1"] "validatingadmissionpolicybindings" false "validatingadmissionpolicybindings";
    CertificateSigningRequest "certificates.k8s.io" ["v1"] "certificatesigningrequests" false "certificatesigningrequests";
    FlowSchema "flowcontrol.apiserver.k8s.io" ["v1"] "flowschemas" false "flowschemas";
    PriorityLevelConfiguration "flowcontrol.apiserver.k8s.io" ["v1"] "prioritylevelconfigurations" false "prioritylevelconfigurations";
    ResourceClaim "resource.k8s.io" ["v1"] "resourceclaims" true "resourceclaims";
    ResourceClaimTemplate "resource.k8s.io" ["v1"] "resourceclaimtemplates" true "resourceclaimtemplates";
    ResourceSlice "resource.k8s.io" ["v1"] "resourceslices" false "resourceslices";
    DeviceClass "resource.k8s.io" ["v1"] "deviceclasses" false "deviceclasses";
    GatewayClass "gateway.networking.k8s.io" ["v1", "v1beta1"] "gatewayclasses" false "gateway.networking.k8s.io/gatewayclasses";
    Gateway "gateway.networking.k8s.io" ["v1", "v1beta1"] "gateways" true "gateway.networking.k8s.io/gateways";
    HTTPRoute "gateway.networking.k8s.io" ["v1", "v1beta1"] "httproutes" true "gateway.networking.k8s.io/httproutes";
    GRPCRoute "gateway.networking.k8s.io" ["v1"] "grpcroutes" true "gateway.networking.k8s.io/grpcroutes";
    ReferenceGrant "gateway.networking.k8s.io" ["v1", "v1beta1"] "referencegrants" true "gateway.networking.k8s.io/referencegrants";
    PodMetrics "metrics.k8s.io" ["v1beta1"] "pods" true "metrics";
    BackendTLSPolicy "gateway.networking.k8s.io" ["v1"] "backendtlspolicies" true "gateway.networking.k8s.io/backendtlspolicies";
}

/// Number of kinds, custom resources included.
pub const N_KINDS: usize = KINDS.len() + 1;

impl Kind {
    /// Position in [`KINDS`]; the last one is [`Kind::Custom`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind at a position of the table.
    #[must_use]
    pub fn from_index(index: usize) -> Self {
        KINDS.get(index).map_or(Self::Custom, |info| info.kind)
    }

    /// The row of the table; none for custom resources.
    #[must_use]
    pub fn info(self) -> Option<&'static KindInfo> {
        KINDS.get(self.index())
    }

    /// The kind with this group and name, whatever the version.
    #[must_use]
    pub fn find(group: &str, name: &str) -> Option<Self> {
        KINDS.iter().find(|k| k.group == group && k.name == name).map(|k| k.kind)
    }

    /// Lower-case plural, as in URLs and audit logs.
    #[must_use]
    pub fn plural(self) -> &'static str {
        self.info().map_or("customresources", |k| k.plural)
    }

    /// CamelCase name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().map_or("CustomResource", |k| k.name)
    }

    /// True if objects of the kind live in a namespace.
    #[must_use]
    pub fn namespaced(self) -> bool {
        self.info().is_none_or(|k| k.namespaced)
    }

    /// `apps/v1`, `v1`: the preferred apiVersion.
    #[must_use]
    pub fn api_version(self) -> String {
        self.info().map_or_else(String::new, |k| {
            if k.group.is_empty() {
                k.versions[0].to_owned()
            } else {
                format!("{}/{}", k.group, k.versions[0])
            }
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
