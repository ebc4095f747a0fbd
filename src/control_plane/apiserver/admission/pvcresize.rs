//! `PersistentVolumeClaimResize`: a claim grows only if its class says that volumes can.
//! Source: `plugin/pkg/admission/storage/persistentvolume/resize/admission.go`.

use crate::api::request::ApiError;
use crate::api::storage::{ClaimPhase, PersistentVolumeClaim};
use crate::api::versions::Versions;
use crate::api::{Kind, Name, Obj};
use crate::engine::Sym;
use serde_json::Value;

/// Checks an update of a claim.
pub(in crate::control_plane::apiserver) fn updated(
    old: &PersistentVolumeClaim,
    new: &PersistentVolumeClaim,
    versions: &Versions,
) -> Result<(), ApiError> {
    if new.request <= old.request {
        return Ok(());
    }
    let forbidden = |text: &str| Err(ApiError::Forbidden(Sym::new(text)));
    if old.phase != ClaimPhase::Bound {
        return forbidden("Only bound persistent volume claims can be expanded");
    }
    let class = Name::from(old.class_name());
    let expands = versions
        .find(Kind::StorageClass, Sym::EMPTY, class)
        .and_then(|object| versions.current(Kind::StorageClass, object))
        .is_some_and(|class| {
            let Obj::StorageClass(class) = class else { return false };
            let doc = class.doc.as_deref();
            doc.and_then(|d| d.get("allowVolumeExpansion")) == Some(&Value::Bool(true))
        });
    if expands {
        return Ok(());
    }
    forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the \
         pvc must support resize",
    )
}
