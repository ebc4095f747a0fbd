//! `PersistentVolumeClaimResize`: a claim grows only if its class says that volumes can.
//! Source: `plugin/pkg/admission/storage/persistentvolume/resize/admission.go`.

use super::documents;
use crate::api::request::ApiError;
use crate::api::versions::Versions;
use crate::api::{Kind, Obj};
use crate::engine::Sym;
use serde_json::Value;

/// Checks an update of a claim.
pub(in crate::control_plane::apiserver) fn updated(
    old: &Obj,
    new: &Obj,
    versions: &Versions,
) -> Result<(), ApiError> {
    let (
        Obj::Generic(Kind::PersistentVolumeClaim, old),
        Obj::Generic(Kind::PersistentVolumeClaim, new),
    ) = (old, new)
    else {
        return Ok(());
    };
    let size = |doc: &Value| {
        let requests = documents::amounts(doc.pointer("/spec/resources/requests"));
        requests.get("storage").copied().unwrap_or_default()
    };
    if size(&new.doc) <= size(&old.doc) {
        return Ok(());
    }
    let forbidden = |text: &str| Err(ApiError::Forbidden(Sym::new(text)));
    let phase = old.doc.pointer("/status/phase").and_then(Value::as_str);
    if phase != Some("Bound") {
        return forbidden("Only bound persistent volume claims can be expanded");
    }
    let class = old.doc.pointer("/spec/storageClassName").and_then(Value::as_str);
    let expands = class
        .and_then(|name| versions.find(Kind::StorageClass, Sym::EMPTY, name.into()))
        .and_then(|object| versions.current(Kind::StorageClass, object))
        .is_some_and(|class| {
            let Obj::Generic(_, class) = class else { return false };
            class.doc.get("allowVolumeExpansion") == Some(&Value::Bool(true))
        });
    if expands {
        return Ok(());
    }
    forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the \
         pvc must support resize",
    )
}
