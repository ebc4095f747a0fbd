//! Which apiVersion and kind is which, and what kubectl says to those that are not served.

use super::path::nearest;
use crate::api::Kind;
use crate::api::kind::KINDS;

/// What an apiVersion and kind stand for.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// A built-in kind, with the version named.
    BuiltIn(Kind),
    /// A custom resource.
    Custom,
    /// Nothing a 1.35 API server serves.
    Refused {
        /// As kubectl says it.
        problem: String,
        /// What to write instead.
        hint: String,
    },
}

/// Groups that were or are built in and have no kind of ours by themselves.
const RESERVED: [&str; 4] =
    ["extensions", "settings.k8s.io", "auditregistration.k8s.io", "internal.apiserver.k8s.io"];

/// Groups of configuration files, which no API server takes.
const CONFIG_FILES: [(&str, &str); 8] = [
    ("kind.x-k8s.io", "kind"),
    ("apiserver.k8s.io", "kube-apiserver"),
    ("apiserver.config.k8s.io", "kube-apiserver"),
    ("audit.k8s.io", "kube-apiserver"),
    ("kubelet.config.k8s.io", "the kubelet"),
    ("kubeproxy.config.k8s.io", "kube-proxy"),
    ("kubeadm.k8s.io", "kubeadm"),
    ("kubescheduler.config.k8s.io", "kube-scheduler"),
];

/// Kinds that were removed for good, and what came after them.
const REMOVED: [(&str, &str); 5] = [
    ("PodSecurityPolicy", "it was removed in 1.25; see Pod Security Admission"),
    ("PodPreset", "it was removed in 1.20"),
    ("ComponentStatus", "use apiVersion v1"),
    ("ThirdPartyResource", "it was removed in 1.8; write a CustomResourceDefinition"),
    ("JobTemplate", "it was removed; write a CronJob"),
];

/// Looks an apiVersion and kind up.
pub(crate) fn resolve(api_version: &str, kind: &str) -> Resolved {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if (group, version, kind) == ("events.k8s.io", "v1", "Event") {
        return Resolved::BuiltIn(Kind::Event);
    }
    if let Some(found) = Kind::find(group, kind) {
        let served = found.info().is_some_and(|info| info.versions.contains(&version));
        return if served {
            Resolved::BuiltIn(found)
        } else {
            refused(api_version, kind, format!("write apiVersion: {}", found.api_version()))
        };
    }
    if let Some((_, program)) = CONFIG_FILES.iter().find(|(g, _)| *g == group) {
        let hint = format!("this is a configuration file of {program}, not an object of a cluster");
        return refused(api_version, kind, hint);
    }
    let known = KINDS.iter().any(|k| k.group == group)
        || RESERVED.contains(&group)
        || group == "events.k8s.io";
    if !known {
        return Resolved::Custom;
    }
    refused(api_version, kind, hint_for(kind))
}

fn refused(api_version: &str, kind: &str, hint: String) -> Resolved {
    Resolved::Refused {
        problem: format!("no matches for kind {kind:?} in version {api_version:?}"),
        hint,
    }
}

fn hint_for(kind: &str) -> String {
    if let Some((_, after)) = REMOVED.iter().find(|(removed, _)| *removed == kind) {
        return (*after).to_owned();
    }
    if let Some(info) = KINDS.iter().find(|k| k.name == kind) {
        return format!("write apiVersion: {}", info.kind.api_version());
    }
    nearest(kind, KINDS.iter().map(|k| k.name))
        .map(|near| format!("did you mean {near:?}?"))
        .unwrap_or_default()
}

/// Fields of `spec` per kind of the Gateway API, which k8s-openapi does not hold.
/// Source: gateway-api `apis/v1/*_types.go`, release 1.4.
pub(crate) fn gateway_spec(kind: Kind) -> Option<&'static [&'static str]> {
    const TABLE: [(Kind, &[&str]); 6] = [
        (Kind::GatewayClass, &["controllerName", "parametersRef", "description"]),
        (
            Kind::Gateway,
            &[
                "gatewayClassName",
                "listeners",
                "addresses",
                "infrastructure",
                "allowedListeners",
                "backendTLS",
                "tls",
                "defaultScope",
            ],
        ),
        (Kind::HTTPRoute, &["parentRefs", "hostnames", "rules", "useDefaultGateways"]),
        (Kind::GRPCRoute, &["parentRefs", "hostnames", "rules", "useDefaultGateways"]),
        (Kind::ReferenceGrant, &["from", "to"]),
        (Kind::BackendTLSPolicy, &["targetRefs", "validation", "options"]),
    ];
    TABLE.iter().find(|(k, _)| *k == kind).map(|(_, fields)| *fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_served_is_refused_as_kubectl_does() {
        let cases = [
            ("extensions/v1beta1", "Ingress", "write apiVersion: networking.k8s.io/v1"),
            ("extensions/v1beta1", "Deployment", "write apiVersion: apps/v1"),
            ("apps/v1beta1", "Deployment", "write apiVersion: apps/v1"),
            ("policy/v1beta1", "PodDisruptionBudget", "write apiVersion: policy/v1"),
            (
                "policy/v1beta1",
                "PodSecurityPolicy",
                "it was removed in 1.25; see Pod Security Admission",
            ),
            ("apps/v1", "Deploymnt", "did you mean \"Deployment\"?"),
            ("v1", "Deployment", "write apiVersion: apps/v1"),
            (
                "kind.x-k8s.io/v1alpha4",
                "Cluster",
                "this is a configuration file of kind, not an object of a cluster",
            ),
        ];
        for (version, kind, want) in cases {
            let Resolved::Refused { problem, hint } = resolve(version, kind) else {
                panic!("{version} {kind} is accepted");
            };
            assert_eq!(problem, format!("no matches for kind {kind:?} in version {version:?}"));
            assert_eq!(hint, want);
        }
        assert!(matches!(resolve("kueue.x-k8s.io/v1beta2", "ClusterQueue"), Resolved::Custom));
        assert!(matches!(resolve("events.k8s.io/v1", "Event"), Resolved::BuiltIn(Kind::Event)));
    }
}
