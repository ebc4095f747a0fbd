//! The RBAC policy that every cluster has: what the API server writes at its start and keeps in
//! order. Only verbs and resources that a request of the model can be about are spelt out in full.
//! Source: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go` and `controller_policy.go`.

/// A rule: verbs, API group (`*` for all; empty for core), resources.
pub(super) type Row = (&'static str, &'static str, &'static str);

const READ: &str = "get list watch";
const WRITE: &str = "create update patch delete deletecollection";
const EVENTS: [Row; 2] =
    [("create update patch", "", "events"), ("create update patch", "events.k8s.io", "events")];

/// Names of the aggregated roles, least first: each contains the one before.
pub(super) const AGGREGATED: [&str; 3] = ["view", "edit", "admin"];

/// Label of roles whose rules an aggregated role takes up.
pub(super) const AGGREGATE_TO: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// Groups with the right to everything without a look at roles.
pub(super) const MASTERS: &str = "system:masters";

/// `ClusterRoleBinding`s that every cluster has, to groups: role and group.
pub(super) const GROUP_BINDINGS: [(&str, &str); 2] =
    [("cluster-admin", MASTERS), ("cluster-admin", "kubeadm:cluster-admins")];

/// The rules of a `ClusterRole` that every cluster has.
pub(super) fn cluster_role(name: &str) -> Option<Vec<Row>> {
    if let Some(controller) = name.strip_prefix("system:controller:") {
        return controller_role(controller);
    }
    Some(match name {
        "cluster-admin" => vec![("*", "*", "*")],
        "view" => view(),
        "edit" => [view(), edit()].concat(),
        "admin" => [view(), edit(), admin()].concat(),
        "system:kube-scheduler" => scheduler(),
        "system:node" => node(),
        _ => return None,
    })
}

/// Resources of a namespace that may be looked at.
const NAMESPACED: [(&str, &str); 8] = [
    (
        "",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods \
         replicationcontrollers replicationcontrollers/scale serviceaccounts services \
         services/status bindings events limitranges namespaces/status pods/log pods/status \
         replicationcontrollers/status resourcequotas resourcequotas/status namespaces",
    ),
    ("discovery.k8s.io", "endpointslices"),
    (
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale \
         deployments/status replicasets replicasets/scale replicasets/status statefulsets \
         statefulsets/scale statefulsets/status",
    ),
    ("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    ("batch", "cronjobs cronjobs/status jobs jobs/status"),
    ("policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    ("networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    ("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
];

fn view() -> Vec<Row> {
    NAMESPACED.iter().map(|&(group, resources)| (READ, group, resources)).collect()
}

/// `system:aggregate-to-edit`: writes, but neither quotas, limits nor roles.
fn edit() -> Vec<Row> {
    vec![
        (READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        (
            WRITE,
            "",
            "pods pods/attach pods/exec pods/portforward pods/proxy configmaps endpoints events \
             persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets \
             serviceaccounts services services/proxy",
        ),
        ("create", "", "pods/eviction serviceaccounts/token"),
        ("impersonate", "", "serviceaccounts"),
        (
            WRITE,
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets \
             replicasets/scale statefulsets statefulsets/scale",
        ),
        (WRITE, "autoscaling", "horizontalpodautoscalers"),
        (WRITE, "batch", "cronjobs jobs"),
        (WRITE, "policy", "poddisruptionbudgets"),
        (WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        (WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
        (
            "create delete deletecollection get list patch update watch",
            "coordination.k8s.io",
            "leases",
        ),
    ]
}

/// `system:aggregate-to-admin`.
fn admin() -> Vec<Row> {
    vec![
        ("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        (
            "create delete deletecollection get list patch update watch",
            "rbac.authorization.k8s.io",
            "roles rolebindings",
        ),
    ]
}

fn scheduler() -> Vec<Row> {
    let mut rows = EVENTS.to_vec();
    rows.extend([
        ("create", "coordination.k8s.io", "leases"),
        ("get update", "coordination.k8s.io", "leases"),
        (READ, "", "nodes"),
        ("get list watch delete", "", "pods"),
        ("create", "", "bindings pods/binding"),
        ("patch update", "", "pods/status"),
        (READ, "", "replicationcontrollers services"),
        (READ, "apps", "replicasets statefulsets"),
        (READ, "policy", "poddisruptionbudgets"),
        ("get list watch patch update", "", "persistentvolumeclaims persistentvolumes"),
        (READ, "storage.k8s.io", "csinodes csidrivers csistoragecapacities volumeattachments"),
        (READ, "storage.k8s.io", "storageclasses"),
        (READ, "", "namespaces"),
        (READ, "resource.k8s.io", "deviceclasses resourceslices"),
        ("get list watch update patch", "resource.k8s.io", "resourceclaims"),
        ("update patch", "resource.k8s.io", "resourceclaims/status"),
    ]);
    rows
}

/// What the Node authorizer lets every kubelet do (it and `NodeRestriction` see to it that it is
/// about the node itself and its pods). Source: `NodeRules` of the bootstrap policy.
fn node() -> Vec<Row> {
    let mut rows = EVENTS.to_vec();
    rows.extend([
        (READ, "", "services"),
        ("create get list watch", "", "nodes"),
        ("update patch", "", "nodes/status nodes"),
        (READ, "", "pods"),
        ("create delete", "", "pods"),
        ("update patch", "", "pods/status"),
        ("create", "", "pods/eviction serviceaccounts/token"),
        ("get", "", "secrets configmaps persistentvolumes persistentvolumeclaims"),
        ("get list watch", "", "configmaps secrets"),
        ("get create update patch delete", "coordination.k8s.io", "leases"),
        ("get", "storage.k8s.io", "volumeattachments"),
        (READ, "storage.k8s.io", "csidrivers"),
        ("get create update patch delete", "storage.k8s.io", "csinodes"),
        (READ, "node.k8s.io", "runtimeclasses"),
        ("get update patch", "", "persistentvolumeclaims/status"),
        ("get", "resource.k8s.io", "resourceclaims"),
    ]);
    rows
}

/// `system:controller:NAME`, bound to the service account NAME of `kube-system`.
fn controller_role(name: &str) -> Option<Vec<Row>> {
    if name == "kube-controller-manager" {
        let leases = "leases";
        let group = "coordination.k8s.io";
        return Some(vec![("create", group, leases), ("get update", group, leases)]);
    }
    let mut rows = workload_controller(name)
        .or_else(|| cluster_controller(name))
        .or_else(|| cloud_component(name))
        .or_else(|| volume_controller(name))?;
    rows.extend(EVENTS);
    Some(rows)
}

fn workload_controller(name: &str) -> Option<Vec<Row>> {
    Some(match name {
        "deployment-controller" => vec![
            ("get list watch update", "apps", "deployments"),
            ("update", "apps", "deployments/status deployments/finalizers"),
            ("get list watch create update patch delete", "apps", "replicasets"),
            ("get list update watch", "", "pods"),
        ],
        "replicaset-controller" => vec![
            ("get list watch update", "apps", "replicasets"),
            ("update", "apps", "replicasets/status replicasets/finalizers"),
            ("list watch create delete patch", "", "pods"),
        ],
        "replication-controller" => vec![
            ("get list watch update", "", "replicationcontrollers"),
            ("update", "", "replicationcontrollers/status replicationcontrollers/finalizers"),
            ("list watch create delete patch", "", "pods"),
        ],
        "statefulset-controller" => vec![
            ("list watch", "", "pods"),
            ("get list watch", "apps", "statefulsets"),
            ("update", "apps", "statefulsets/status statefulsets/finalizers"),
            ("get create delete update patch", "", "pods"),
            ("get create update patch delete list watch", "apps", "controllerrevisions"),
            ("get create list watch update delete", "", "persistentvolumeclaims"),
        ],
        "daemon-set-controller" => vec![
            (READ, "apps", "daemonsets"),
            ("update", "apps", "daemonsets/status daemonsets/finalizers"),
            ("list watch", "", "nodes"),
            ("list watch create delete patch", "", "pods"),
            ("create", "", "pods/binding"),
            ("get list watch create delete update patch", "apps", "controllerrevisions"),
        ],
        "job-controller" => vec![
            ("get list watch update patch", "batch", "jobs"),
            ("update", "batch", "jobs/status jobs/finalizers"),
            ("list watch create delete patch", "", "pods"),
        ],
        "cronjob-controller" => vec![
            ("get list watch update", "batch", "cronjobs"),
            ("get list watch create update delete patch", "batch", "jobs"),
            ("update", "batch", "cronjobs/status cronjobs/finalizers"),
            ("list delete", "", "pods"),
        ],
        "horizontal-pod-autoscaler" => vec![
            (READ, "autoscaling", "horizontalpodautoscalers"),
            ("update", "autoscaling", "horizontalpodautoscalers/status"),
            ("get update patch", "*", "*/scale"),
            ("list", "", "pods"),
            ("list get", "metrics.k8s.io", "pods"),
        ],
        "disruption-controller" => vec![
            (READ, "apps", "deployments replicasets statefulsets"),
            (READ, "", "replicationcontrollers"),
            (READ, "policy", "poddisruptionbudgets"),
            ("update", "policy", "poddisruptionbudgets/status"),
            ("patch update", "", "pods/status"),
            ("get", "*", "*/scale"),
        ],
        "ttl-after-finished-controller" => vec![("get list watch delete", "batch", "jobs")],
        _ => return None,
    })
}

fn cluster_controller(name: &str) -> Option<Vec<Row>> {
    Some(match name {
        "node-controller" => vec![
            ("get list watch update delete patch create", "", "nodes"),
            ("patch update", "", "nodes/status"),
            ("patch update", "", "pods/status"),
            ("get list watch delete", "", "pods"),
        ],
        "pod-garbage-collector" => vec![
            ("list watch delete", "", "pods"),
            ("get list", "", "nodes"),
            ("patch", "", "pods/status"),
        ],
        "generic-garbage-collector" => vec![("get list watch patch update delete", "*", "*")],
        "namespace-controller" => vec![
            ("get list watch delete", "", "namespaces"),
            ("update", "", "namespaces/finalize namespaces/status"),
            ("get list delete deletecollection", "*", "*"),
        ],
        "resourcequota-controller" => {
            vec![("list watch", "*", "*"), ("update", "", "resourcequotas/status")]
        }
        "service-account-controller" => vec![("create", "", "serviceaccounts")],
        "root-ca-cert-publisher" => vec![("create update", "", "configmaps")],
        "endpoint-controller" => vec![
            (READ, "", "services pods"),
            ("get list create update delete", "", "endpoints"),
            ("create", "", "endpoints/restricted"),
        ],
        "endpointslice-controller" => vec![
            (READ, "", "services pods nodes"),
            ("update", "", "services/finalizers"),
            ("get list create update delete", "discovery.k8s.io", "endpointslices"),
        ],
        "endpointslicemirroring-controller" => vec![
            (READ, "", "services endpoints"),
            ("get list create update delete", "discovery.k8s.io", "endpointslices"),
        ],
        "ttl-controller" => vec![("update patch list watch", "", "nodes")],
        "clusterrole-aggregation-controller" => {
            let verbs = "escalate get list patch update watch";
            vec![(verbs, "rbac.authorization.k8s.io", "clusterroles")]
        }
        _ => return None,
    })
}

/// Controllers of cloud-controller-manager, and autoscalers of nodes.
fn cloud_component(name: &str) -> Option<Vec<Row>> {
    Some(match name {
        "service-controller" => vec![
            (READ, "", "services"),
            // The finalizer is written with the Service itself (source: the manifests of the
            // providers' cloud-controller-managers).
            ("patch update", "", "services services/status"),
            ("list watch", "", "nodes"),
        ],
        "cloud-node-controller" => {
            vec![("get list watch update patch", "", "nodes"), ("patch update", "", "nodes/status")]
        }
        "cloud-node-lifecycle-controller" => vec![("get list watch patch delete", "", "nodes")],
        // Source: `CA:cloudprovider/aws/examples/cluster-autoscaler-autodiscover.yaml`.
        "cluster-autoscaler" => vec![
            ("create", "", "pods/eviction"),
            ("watch list get update patch", "", "nodes"),
            (READ, "", "namespaces pods services replicationcontrollers"),
            (READ, "", "persistentvolumeclaims persistentvolumes"),
            (READ, "apps", "statefulsets replicasets daemonsets"),
            (READ, "policy", "poddisruptionbudgets"),
            (READ, "storage.k8s.io", "storageclasses csinodes csidrivers csistoragecapacities"),
            ("create get list watch update patch", "", "configmaps"),
        ],
        // Source: `karp-aws:charts/karpenter/templates/clusterrole-core.yaml`.
        "karpenter" => vec![
            ("create", "", "pods/eviction"),
            ("get list watch update patch delete", "", "nodes"),
            (READ, "", "namespaces pods services replicationcontrollers"),
            (READ, "", "persistentvolumeclaims persistentvolumes"),
            (READ, "apps", "statefulsets replicasets daemonsets deployments"),
            (READ, "policy", "poddisruptionbudgets"),
            (READ, "storage.k8s.io", "storageclasses csinodes volumeattachments"),
        ],
        "route-controller" => {
            vec![("list watch", "", "nodes"), ("patch update", "", "nodes/status")]
        }
        _ => return None,
    })
}

fn volume_controller(name: &str) -> Option<Vec<Row>> {
    Some(match name {
        "attachdetach-controller" => vec![
            ("list watch", "", "persistentvolumes persistentvolumeclaims pods"),
            (READ, "", "nodes"),
            ("patch update", "", "nodes/status"),
            (READ, "storage.k8s.io", "csidrivers csinodes"),
            ("get create delete list watch", "storage.k8s.io", "volumeattachments"),
        ],
        "persistent-volume-binder" => vec![
            ("get list watch update create delete", "", "persistentvolumes"),
            ("update", "", "persistentvolumes/status"),
            ("get list watch update", "", "persistentvolumeclaims"),
            ("update", "", "persistentvolumeclaims/status"),
            ("list watch get create delete", "", "pods"),
            (READ, "storage.k8s.io", "storageclasses"),
            (READ, "", "nodes secrets"),
        ],
        "pvc-protection-controller" => vec![
            ("get list watch update", "", "persistentvolumeclaims"),
            ("list watch get", "", "pods"),
        ],
        "pv-protection-controller" => vec![("get list watch update", "", "persistentvolumes")],
        // No part of Kubernetes: it comes with a driver (source: external-provisioner
        // `deploy/kubernetes/rbac.yaml`).
        "csi-provisioner" => vec![
            ("get list watch create patch delete", "", "persistentvolumes"),
            ("get list watch update", "", "persistentvolumeclaims"),
            (READ, "storage.k8s.io", "storageclasses csinodes volumeattachments"),
            (READ, "", "nodes"),
        ],
        // Likewise (source: external-attacher `deploy/kubernetes/rbac.yaml`).
        "csi-attacher" => vec![
            ("get list watch patch", "", "persistentvolumes"),
            (READ, "storage.k8s.io", "csinodes"),
            ("get list watch patch update", "storage.k8s.io", "volumeattachments"),
            ("patch update", "storage.k8s.io", "volumeattachments/status"),
        ],
        // Likewise (source: external-resizer `deploy/kubernetes/rbac.yaml`).
        "csi-resizer" => vec![
            ("get list watch patch update", "", "persistentvolumes"),
            ("get list watch", "", "persistentvolumeclaims pods"),
            ("patch update", "", "persistentvolumeclaims/status"),
        ],
        "expand-controller" => vec![
            ("get list watch update patch", "", "persistentvolumes"),
            ("update patch", "", "persistentvolumeclaims/status"),
            (READ, "", "persistentvolumeclaims"),
        ],
        "ephemeral-volume-controller" => vec![
            ("update", "", "pods/finalizers"),
            (READ, "", "pods"),
            ("get list watch create", "", "persistentvolumeclaims"),
        ],
        "resource-claim-controller" => vec![
            (READ, "", "pods"),
            ("update", "", "pods/finalizers"),
            ("get list watch create delete", "resource.k8s.io", "resourceclaims"),
            ("update", "", "pods/status"),
            ("update patch", "resource.k8s.io", "resourceclaims resourceclaims/status"),
        ],
        _ => return None,
    })
}
