//! `RuntimeClass`: a pod's overhead, and where its handler is installed.
//! Source: `plugin/pkg/admission/runtimeclass/admission.go`.

use crate::api::amounts;
use crate::api::pod::{Effect, PodSpec, Toleration};
use crate::api::request::ApiError;
use crate::api::resources::Resources;
use crate::api::versions::Versions;
use crate::api::{Kind, Obj};
use crate::engine::Sym;
use serde_json::Value;

fn forbidden<T>(text: &str) -> Result<T, ApiError> {
    Err(ApiError::Forbidden(Sym::new(text)))
}

/// Sets the overhead, and merges the class' node selector and tolerations into the pod's.
pub(super) fn admit(spec: &mut PodSpec, versions: &Versions) -> Result<(), ApiError> {
    let name = spec.runtime_class;
    if name.is_empty() {
        if spec.overhead != Resources::default() {
            return forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            );
        }
        return Ok(());
    }
    let class = versions
        .find(Kind::RuntimeClass, Sym::EMPTY, name.into())
        .and_then(|object| versions.current(Kind::RuntimeClass, object));
    let Some(Obj::Generic(_, class)) = class else {
        return forbidden(&format!("pod rejected: RuntimeClass \"{name}\" not found"));
    };
    overhead(spec, &class.doc)?;
    if let Some(scheduling) = class.doc.get("scheduling") {
        selector(spec, scheduling)?;
        let list = scheduling.get("tolerations").and_then(Value::as_array).into_iter().flatten();
        for toleration in list.map(toleration) {
            if !spec.tolerations.contains(&toleration) {
                spec.tolerations.push(toleration);
            }
        }
    }
    Ok(())
}

fn overhead(spec: &mut PodSpec, doc: &Value) -> Result<(), ApiError> {
    let Some(fixed) = doc.pointer("/overhead/podFixed") else {
        if spec.overhead != Resources::default() {
            return forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            );
        }
        return Ok(());
    };
    let mut amounts = Resources::default();
    for (name, amount) in amounts::amounts(Some(fixed)) {
        match name.as_str() {
            "cpu" => amounts.cpu_milli = amount.milli_value(),
            "memory" => amounts.memory = amount.value(),
            "ephemeral-storage" => amounts.ephemeral = amount.value(),
            other => amounts.set_scalar(Sym::new(other), amount.value()),
        }
    }
    if spec.overhead != Resources::default() && spec.overhead != amounts {
        return forbidden(
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        );
    }
    spec.overhead = amounts;
    spec.sum_requests();
    Ok(())
}

fn selector(spec: &mut PodSpec, scheduling: &Value) -> Result<(), ApiError> {
    let pairs = scheduling.get("nodeSelector").and_then(Value::as_object).into_iter().flatten();
    for (key, value) in pairs {
        let (key, value) = (Sym::new(key), Sym::new(value.as_str().unwrap_or_default()));
        match spec.node_selector.iter().find(|(k, _)| *k == key) {
            Some((_, own)) if *own != value => {
                return forbidden(&format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
                ));
            }
            Some(_) => {}
            None => spec.node_selector.push((key, value)),
        }
    }
    Ok(())
}

fn toleration(doc: &Value) -> Toleration {
    let text = |key: &str| doc.get(key).and_then(Value::as_str).unwrap_or_default();
    Toleration {
        key: Sym::new(text("key")),
        exists: text("operator") == "Exists",
        value: Sym::new(text("value")),
        effect: match text("effect") {
            "NoSchedule" => Some(Effect::NoSchedule),
            "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
            "NoExecute" => Some(Effect::NoExecute),
            _all => None,
        },
        seconds: doc.get("tolerationSeconds").and_then(Value::as_i64),
    }
}
