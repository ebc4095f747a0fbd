//! What the attach-detach controller makes of pods and volumes: which volumes a pod holds, and what
//! there is to attach of each.

use super::attachstate::Disk;
use crate::api::pod::{ContainerState, ContainerStatus, VolumeSource};
use crate::api::storage::{AccessModes, MIGRATED, PersistentVolume};
use crate::api::{Kind, Name, Obj, Pod};
use crate::client::Cache;
use crate::engine::Sym;
use crate::event::Context;

/// True if its volumes may have to be attached.
pub(super) fn may_attach(source: &VolumeSource) -> bool {
    match source {
        VolumeSource::Claim(..)
        | VolumeSource::Ephemeral(_)
        | VolumeSource::GcePd(..)
        | VolumeSource::AwsEbs(..) => true,
        VolumeSource::Iscsi(..)
        | VolumeSource::Rbd(..)
        | VolumeSource::ConfigMap(..)
        | VolumeSource::Secret(..)
        | VolumeSource::Csi(_)
        | VolumeSource::Other => false,
    }
}

/// True for a pod that holds its volumes: on a node, and not ended (source:
/// `pkg/volume/util/util.go` `IsPodTerminated`).
pub(super) fn holds(pod: &Pod) -> bool {
    let running = |c: &ContainerStatus| {
        !matches!(c.state, ContainerState::Terminated { .. } | ContainerState::Waiting { .. })
    };
    let gone = pod.meta.terminating() && !pod.status.containers.iter().any(running);
    !pod.node.is_empty() && !pod.terminal() && !gone
}

/// True if the volume of these modes may be on several nodes at once. One without modes is taken to
/// be (source: `IsMultiAttachAllowed`).
fn many(modes: AccessModes) -> bool {
    let shared = ["ReadWriteMany", "ReadOnlyMany"];
    modes == AccessModes::default() || modes.names().any(|name| shared.contains(&name))
}

/// A disk that stands in a pod, not in a volume.
pub(super) fn inline(source: &VolumeSource) -> Option<Disk> {
    let (plugin, disk, many) = match *source {
        VolumeSource::GcePd(disk, read_only) => ("kubernetes.io/gce-pd", disk, read_only),
        VolumeSource::AwsEbs(disk, _) => ("kubernetes.io/aws-ebs", disk, false),
        VolumeSource::Claim(..)
        | VolumeSource::Ephemeral(_)
        | VolumeSource::Iscsi(..)
        | VolumeSource::Rbd(..)
        | VolumeSource::ConfigMap(..)
        | VolumeSource::Secret(..)
        | VolumeSource::Csi(_)
        | VolumeSource::Other => return None,
    };
    let (_, driver) = MIGRATED.iter().find(|(p, _)| *p == plugin)?;
    Some(Disk { driver: Sym::new(driver), object: Name::default(), handle: disk, many })
}

/// The claim behind a volume of a pod.
pub(super) fn claim_name(pod: &Pod, volume: &crate::api::pod::Volume) -> Option<Name> {
    if let VolumeSource::Claim(name, _) = volume.source {
        Some(name.into())
    } else if matches!(volume.source, VolumeSource::Ephemeral(_)) {
        Some(Name::new(&format!("{}-{}", pod.meta.name, volume.name)))
    } else {
        None
    }
}

/// What there is to attach of a volume; none of what is mounted over the network.
pub(super) fn disk_of(volume: &PersistentVolume) -> Option<Disk> {
    let (driver, handle) = volume.source.disk()?;
    Some(Disk { driver, object: volume.meta.name, handle, many: many(volume.modes) })
}

/// True unless the driver says that its volumes are not attached (source: `csi_plugin.go`
/// `CanAttach`).
pub(super) fn attaches(driver: Sym, caches: &Cache, cx: &Context<'_>) -> bool {
    let found = caches.named(cx.versions(), Kind::CSIDriver, Sym::EMPTY, driver.into());
    !matches!(found, Some((_, Obj::CSIDriver(driver))) if !driver.attaches)
}
