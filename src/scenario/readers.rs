//! One reader per built-in kind: typed by k8s-openapi, validated, converted.

use super::manifest::Mode;
use super::path::{At, Problem, Problems, Seg, nearest};
use super::{
    convert, convert_control, convert_pod, convert_storage, convert_workload, defaults, kinds,
    typed, validate, validate_pod,
};
use crate::api::workload::Generic;
use crate::api::{Kind, Obj};
use k8s_openapi::Metadata;
use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, autoscaling, batch::v1 as batch,
    certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flow,
    networking::v1 as networking, node::v1 as nodes, policy::v1 as policy, rbac::v1 as rbac,
    resource::v1 as resource, scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as registration;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// What was found wrong with an object.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) mode: Mode,
    pub(crate) errors: Problems,
    pub(crate) warnings: Problems,
}

impl Found {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, errors: Problems::default(), warnings: Problems::default() }
    }

    /// Takes in what was found in a part of the object that was read by itself.
    pub(crate) fn below(&mut self, path: &[Seg], part: Self) {
        let moved = |mut p: Problem| {
            p.path.0.splice(0..0, path.iter().cloned());
            p
        };
        self.errors.0.extend(part.errors.0.into_iter().map(moved));
        self.warnings.0.extend(part.warnings.0.into_iter().map(moved));
    }

    fn unknown(&mut self, list: Vec<Problem>) {
        match self.mode {
            Mode::Strict => self.errors.0.extend(list),
            Mode::Dump => self.warnings.0.extend(list),
        }
    }

    /// Runs a validation of what a person wrote; a cluster's own objects have passed it.
    fn validate(&mut self, check: impl FnOnce(&mut Problems)) {
        if self.mode == Mode::Strict {
            check(&mut self.errors);
        }
    }
}

type Reader = fn(Kind, &Value, &mut Found) -> Option<Obj>;

/// Reads a document of a built-in kind.
pub(crate) fn read(kind: Kind, version: &str, doc: &Value, found: &mut Found) -> Option<Obj> {
    let reader = match (kind, version) {
        (Kind::HorizontalPodAutoscaler, "autoscaling/v1") => |k, d: &Value, f: &mut Found| {
            let object = typed::<autoscaling::v1::HorizontalPodAutoscaler>(k, d, f)?;
            f.validate(|problems| validate::hpa_v1(&object, problems));
            let hpa = convert_control::hpa_v1(&object, d);
            Some(Obj::HorizontalPodAutoscaler(Arc::new(hpa)))
        },
        (Kind::Event, "events.k8s.io/v1") => {
            |k, d: &Value, f: &mut Found| generic::<events::Event>(k, d, f, |_, _| {})
        }
        _ => READERS.iter().find(|(k, _)| *k == kind).map_or(custom as Reader, |(_, r)| *r),
    };
    if doc.pointer("/spec/template/spec/affinity").is_some_and(names_label_keys) {
        let at = At::ROOT.key("spec");
        let at = at.key("template");
        let at = at.key("spec");
        let note = "matchLabelKeys and mismatchLabelKeys of a template are not modelled";
        found.warnings.push(&at.key("affinity"), note);
    }
    match found.mode {
        Mode::Dump => reader(kind, doc, found),
        Mode::Strict => {
            let mut filled = doc.clone();
            defaults::apply(kind, &mut filled);
            reader(kind, &filled, found)
        }
    }
}

/// The API server merges these keys into the selector of each pod it creates; it does so here for
/// pods of a manifest only. The reader has refused deep nesting before, so recursion is safe.
fn names_label_keys(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, below)| {
            key == "matchLabelKeys" || key == "mismatchLabelKeys" || names_label_keys(below)
        }),
        Value::Array(list) => list.iter().any(names_label_keys),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The typed form of a document, with its metadata checked.
fn typed<T: DeserializeOwned + Metadata<Ty = ObjectMeta>>(
    kind: Kind,
    doc: &Value,
    found: &mut Found,
) -> Option<T> {
    let read = typed::read::<T>(doc);
    found.errors.0.extend(read.errors);
    found.unknown(read.unknown);
    let object = read.value?;
    found.validate(|problems| validate::meta(kind, object.metadata(), problems));
    Some(object)
}

fn generic<T: DeserializeOwned + Metadata<Ty = ObjectMeta>>(
    kind: Kind,
    doc: &Value,
    found: &mut Found,
    check: fn(&T, &mut Problems),
) -> Option<Obj> {
    let object = typed::<T>(kind, doc, found)?;
    found.validate(|problems| check(&object, problems));
    let meta = convert::meta(kind.namespaced(), object.metadata());
    Some(Obj::Generic(kind, Arc::new(Generic { meta, doc: Arc::new(doc.clone()) })))
}

/// A custom resource, or a kind that k8s-openapi lacks: metadata is read strictly, the rest kept.
pub(crate) fn custom(kind: Kind, doc: &Value, found: &mut Found) -> Option<Obj> {
    let empty = Value::Object(serde_json::Map::new());
    let read = typed::read::<ObjectMeta>(doc.get("metadata").unwrap_or(&empty));
    let below = |mut p: Problem| {
        p.path.0.insert(0, Seg::Key("metadata".to_owned()));
        p
    };
    found.errors.0.extend(read.errors.into_iter().map(below));
    found.unknown(read.unknown.into_iter().map(below).collect());
    if let Some(fields) = kinds::gateway_spec(kind) {
        let mut problems = Problems::default();
        let top = ["apiVersion", "kind", "metadata", "spec", "status"];
        known_fields(doc, &top, &At::ROOT, &mut problems);
        if let Some(spec) = doc.get("spec") {
            known_fields(spec, fields, &At::ROOT.key("spec"), &mut problems);
        }
        found.unknown(problems.0);
    }
    if kind == Kind::Custom {
        let name = doc.get("kind").and_then(Value::as_str).unwrap_or_default();
        let note =
            format!("{name} is a custom resource: kept, but nothing in the model acts on it");
        found.warnings.push(&At::ROOT.key("kind"), note);
    }
    let object_meta = read.value?;
    found.validate(|problems| validate::meta(kind, &object_meta, problems));
    let meta = match (kind, object_meta.namespace.is_some()) {
        // Whether a custom resource lives in a namespace is for its definition to say.
        (Kind::Custom, false) => convert::meta(false, &object_meta),
        _ => convert::meta(kind.namespaced(), &object_meta),
    };
    Some(Obj::Generic(kind, Arc::new(Generic { meta, doc: Arc::new(doc.clone()) })))
}

fn known_fields(map: &Value, known: &[&str], at: &At<'_>, problems: &mut Problems) {
    for key in map.as_object().into_iter().flat_map(|m| m.keys()) {
        if !known.contains(&key.as_str()) {
            let hint = nearest(key, known.iter().copied())
                .map(|near| format!("did you mean {near:?}?"))
                .unwrap_or_default();
            problems.push_hint(&at.key(key), "unknown field", hint);
        }
    }
}

/// A kind with a compact form: type it, validate it, convert it.
macro_rules! compact {
    ($kind:ident, $type:ty, $check:path,
     |$object:ident, $doc:ident, $into:ident| $convert:expr) => {
        (Kind::$kind, |kind, $doc: &Value, found: &mut Found| {
            let $object = typed::<$type>(kind, $doc, found)?;
            found.validate(|problems| $check(&$object, problems));
            let $into = &mut *found;
            Some(Obj::$kind(Arc::new($convert)))
        })
    };
}

/// A kind of which metadata and document are kept.
macro_rules! plain {
    ($kind:ident, $type:ty) => {
        plain!($kind, $type, |_, _| {})
    };
    ($kind:ident, $type:ty, $check:expr) => {
        (Kind::$kind, |kind, doc: &Value, found: &mut Found| {
            generic::<$type>(kind, doc, found, $check)
        })
    };
}

/// The kinds k8s-openapi has, the frequent ones first.
const READERS: &[(Kind, Reader)] = &[
    compact!(Pod, core::Pod, validate_pod::pod, |o, doc, f| convert_pod::pod(
        &o,
        doc,
        &mut f.errors
    )),
    compact!(Node, core::Node, validate::node, |o, doc, f| convert::node(&o, doc, &mut f.errors)),
    compact!(Namespace, core::Namespace, validate::nothing, |o, doc, _f| convert::namespace(
        &o, doc
    )),
    compact!(Deployment, apps::Deployment, validate::deployment, |o, doc, f| {
        convert_workload::deployment(&o, doc, &mut f.errors)
    }),
    compact!(ReplicaSet, apps::ReplicaSet, validate::replica_set, |o, doc, f| {
        convert_workload::replica_set(&o, doc, &mut f.errors)
    }),
    compact!(StatefulSet, apps::StatefulSet, validate::stateful_set, |o, doc, f| {
        convert_workload::stateful_set(&o, doc, f)
    }),
    compact!(DaemonSet, apps::DaemonSet, validate::daemon_set, |o, doc, f| {
        convert_workload::daemon_set(&o, doc, &mut f.errors)
    }),
    compact!(Job, batch::Job, validate::job, |o, doc, f| convert_workload::job(
        &o,
        doc,
        &mut f.errors
    )),
    compact!(PriorityClass, scheduling::PriorityClass, validate::priority_class, |o, doc, _f| {
        convert::priority_class(&o, doc)
    }),
    plain!(Service, core::Service, validate::service),
    plain!(Event, core::Event),
    compact!(Endpoints, core::Endpoints, validate::nothing, |o, doc, _f| {
        convert_control::endpoints(&o, doc)
    }),
    plain!(ConfigMap, core::ConfigMap, validate::config_map),
    plain!(Secret, core::Secret, validate::secret),
    plain!(ServiceAccount, core::ServiceAccount),
    compact!(PersistentVolume, core::PersistentVolume, validate::persistent_volume, |o, doc, f| {
        convert_storage::volume(&o, doc, &mut f.errors)
    }),
    compact!(PersistentVolumeClaim, core::PersistentVolumeClaim, validate::claim, |o, doc, f| {
        convert_storage::claim(&o, doc, &mut f.errors)
    }),
    compact!(
        ReplicationController,
        core::ReplicationController,
        validate::replication_controller,
        |o, doc, f| convert_workload::replication_controller(&o, doc, &mut f.errors)
    ),
    plain!(LimitRange, core::LimitRange),
    plain!(ResourceQuota, core::ResourceQuota, validate::quota),
    plain!(PodTemplate, core::PodTemplate),
    plain!(ComponentStatus, core::ComponentStatus),
    plain!(Binding, core::Binding),
    compact!(ControllerRevision, apps::ControllerRevision, validate::nothing, |o, doc, f| {
        convert_workload::controller_revision(&o, doc, &mut f.errors)
    }),
    compact!(CronJob, batch::CronJob, validate::cron_job, |o, doc, f| convert_control::cron_job(
        &o, doc, f
    )),
    compact!(
        HorizontalPodAutoscaler,
        autoscaling::v2::HorizontalPodAutoscaler,
        validate::hpa,
        |o, doc, f| convert_control::hpa(&o, doc, &mut f.errors)
    ),
    plain!(Ingress, networking::Ingress),
    plain!(IngressClass, networking::IngressClass),
    plain!(NetworkPolicy, networking::NetworkPolicy),
    plain!(ServiceCIDR, networking::ServiceCIDR),
    plain!(IPAddress, networking::IPAddress),
    plain!(PodDisruptionBudget, policy::PodDisruptionBudget, validate::pdb),
    plain!(Eviction, policy::Eviction),
    plain!(Role, rbac::Role),
    plain!(RoleBinding, rbac::RoleBinding),
    plain!(ClusterRole, rbac::ClusterRole),
    plain!(ClusterRoleBinding, rbac::ClusterRoleBinding),
    compact!(StorageClass, storage::StorageClass, validate::storage_class, |o, doc, _f| {
        convert_storage::class(&o, doc)
    }),
    compact!(VolumeAttachment, storage::VolumeAttachment, validate::nothing, |o, doc, _f| {
        convert_storage::attachment(&o, doc)
    }),
    compact!(CSIDriver, storage::CSIDriver, validate::nothing, |o, doc, _f| {
        convert_storage::csi_driver(&o, doc)
    }),
    compact!(CSINode, storage::CSINode, validate::nothing, |o, doc, _f| {
        convert_storage::csi_node(&o, doc)
    }),
    compact!(CSIStorageCapacity, storage::CSIStorageCapacity, validate::nothing, |o, doc, f| {
        convert_storage::csi_capacity(&o, doc, &mut f.errors)
    }),
    plain!(VolumeAttributesClass, storage::VolumeAttributesClass),
    compact!(EndpointSlice, discovery::EndpointSlice, validate::nothing, |o, doc, _f| {
        convert_control::endpoint_slice(&o, doc)
    }),
    plain!(Lease, coordination::Lease),
    plain!(RuntimeClass, nodes::RuntimeClass),
    plain!(CustomResourceDefinition, extensions::CustomResourceDefinition),
    plain!(APIService, registration::APIService),
    plain!(MutatingWebhookConfiguration, admission::MutatingWebhookConfiguration),
    plain!(ValidatingWebhookConfiguration, admission::ValidatingWebhookConfiguration),
    plain!(ValidatingAdmissionPolicy, admission::ValidatingAdmissionPolicy),
    plain!(ValidatingAdmissionPolicyBinding, admission::ValidatingAdmissionPolicyBinding),
    plain!(CertificateSigningRequest, certificates::CertificateSigningRequest),
    plain!(FlowSchema, flow::FlowSchema),
    plain!(PriorityLevelConfiguration, flow::PriorityLevelConfiguration),
    plain!(ResourceClaim, resource::ResourceClaim),
    plain!(ResourceClaimTemplate, resource::ResourceClaimTemplate),
    plain!(ResourceSlice, resource::ResourceSlice),
    plain!(DeviceClass, resource::DeviceClass),
    (Kind::PodMetrics, |_kind, _doc, found| {
        let at = At::ROOT.key("kind");
        found.errors.push(&at, "a metrics server answers with it; it cannot be created");
        None
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::KINDS;

    #[test]
    fn every_built_in_kind_has_a_reader() {
        for info in KINDS {
            let typed = READERS.iter().any(|(k, _)| *k == info.kind);
            assert!(typed || kinds::gateway_spec(info.kind).is_some(), "{}", info.name);
        }
    }
}
