//! `NodeRestriction`: a kubelet changes its own node and the pods bound to it, and nothing else.
//! Source: `plugin/pkg/admission/noderestriction/admission.go`.

use crate::api::Obj;
use crate::api::request::{ApiError, Op};
use crate::engine::Sym;

/// Checks a kubelet's request about an object that is there.
pub(in crate::control_plane::apiserver) fn existing(
    node: Sym,
    op: &Op,
    old: &Obj,
) -> Result<(), ApiError> {
    let text = match old {
        Obj::Pod(pod) if pod.node != node => match op {
            Op::Delete { .. } => {
                format!("node \"{node}\" can only delete pods with spec.nodeName set to itself")
            }
            Op::Evict => {
                format!("node {node} can only evict pods with spec.nodeName set to itself")
            }
            _status => format!(
                "node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"
            ),
        },
        Obj::Node(other) if other.meta.name.sym() != node => {
            format!("node \"{node}\" is not allowed to modify node \"{}\"", other.meta.name)
        }
        Obj::Node(_) if matches!(op, Op::NodeTaints { .. }) => {
            format!("node \"{node}\" is not allowed to modify taints")
        }
        Obj::Node(_) if matches!(op, Op::Delete { .. }) => {
            format!("node \"{node}\" is not allowed to delete node \"{node}\"")
        }
        _fine => return Ok(()),
    };
    Err(ApiError::Forbidden(Sym::new(&text)))
}

/// Checks what a kubelet makes: its own node, and mirror pods bound to it.
pub(in crate::control_plane::apiserver) fn created(node: Sym, new: &Obj) -> Result<(), ApiError> {
    let text = match new {
        Obj::Pod(pod) if pod.meta.annotation("kubernetes.io/config.mirror").is_none() => {
            format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"{node}\" can only create mirror pods"
            )
        }
        Obj::Pod(pod) if pod.node != node && pod.spec.node_name != node => {
            format!("node \"{node}\" can only create pods with spec.nodeName set to itself")
        }
        Obj::Node(other) if other.meta.name.sym() != node => {
            format!("node \"{node}\" is not allowed to modify node \"{}\"", other.meta.name)
        }
        _fine => return Ok(()),
    };
    Err(ApiError::Forbidden(Sym::new(&text)))
}
