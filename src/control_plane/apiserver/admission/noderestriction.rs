//! `NodeRestriction`: a kubelet changes its own node and the pods bound to it, and nothing else.
//! Source: `plugin/pkg/admission/noderestriction/admission.go`.

use crate::api::Obj;
use crate::api::request::{ApiError, Op};
use crate::engine::Sym;

fn forbidden(text: &str) -> Result<(), ApiError> {
    Err(ApiError::Forbidden(Sym::new(text)))
}

/// Checks a kubelet's request about an object that is there.
pub(in crate::control_plane::apiserver) fn existing(
    node: Sym,
    op: &Op,
    old: &Obj,
) -> Result<(), ApiError> {
    let deletes = matches!(op, Op::Delete { .. });
    if let Obj::Pod(pod) = old {
        if pod.node == node {
            return Ok(());
        }
        let what = if deletes {
            "delete pods"
        } else if matches!(op, Op::Evict) {
            "evict pods"
        } else {
            "update pod status for pods"
        };
        let text = format!("node \"{node}\" can only {what} with spec.nodeName set to itself");
        return forbidden(&text);
    }
    let Obj::Node(other) = old else { return Ok(()) };
    if other.meta.name.sym() != node {
        let name = other.meta.name;
        return forbidden(&format!("node \"{node}\" is not allowed to modify node \"{name}\""));
    }
    if matches!(op, Op::NodeTaints { .. }) {
        return forbidden(&format!("node \"{node}\" is not allowed to modify taints"));
    }
    if deletes {
        return forbidden(&format!("node \"{node}\" is not allowed to delete node \"{node}\""));
    }
    Ok(())
}

/// Checks what a kubelet makes: its own node, and mirror pods bound to it.
pub(in crate::control_plane::apiserver) fn created(node: Sym, new: &Obj) -> Result<(), ApiError> {
    if let Obj::Pod(pod) = new {
        let mirror = "kubernetes.io/config.mirror";
        if pod.meta.annotation(mirror).is_none() {
            return forbidden(&format!(
                "pod does not have \"{mirror}\" annotation, node \"{node}\" can only create mirror \
                 pods"
            ));
        }
        if pod.node != node && pod.spec.node_name != node {
            let text = "can only create pods with spec.nodeName set to itself";
            return forbidden(&format!("node \"{node}\" {text}"));
        }
    }
    if let Obj::Node(other) = new
        && other.meta.name.sym() != node
    {
        let name = other.meta.name;
        return forbidden(&format!("node \"{node}\" is not allowed to modify node \"{name}\""));
    }
    Ok(())
}
