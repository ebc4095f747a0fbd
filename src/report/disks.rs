//! Disks that only the nodes of a fault could reach: whoever needs one waits until a node is back.

use super::faults::FaultRow;
use super::metrics::Metrics;
use crate::api::pod::VolumeSource;
use crate::api::storage::{ClaimRef, PersistentVolume, VolumePhase};
use crate::api::versions::Versions;
use crate::api::{Kind, LabelSet, Name, Obj, Pod};
use crate::engine::{Sym, num};
use std::collections::BTreeMap;

/// The disks of a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutOfReach {
    /// Claims whose volumes only the struck nodes reach, as `NAMESPACE/NAME`, sorted.
    pub claims: Vec<String>,
    /// Pods that wait for one of them at the end, by workload.
    pub waiting: BTreeMap<String, u32>,
}

/// The labels of all nodes, those struck by the fault first.
fn sides(row: &FaultRow, metrics: &Metrics) -> (Vec<LabelSet>, Vec<LabelSet>) {
    let struck: Vec<Sym> = row.nodes.iter().map(|&n| metrics.nodes.rows[n].name).collect();
    let all = &metrics.plan.cluster.nodes;
    let (inside, outside): (Vec<_>, Vec<_>) = all.iter().partition(|n| struck.contains(&n.name));
    let labels =
        |nodes: Vec<&crate::cluster::spec::NodeSpec>| nodes.iter().map(|n| n.labels).collect();
    (labels(inside), labels(outside))
}

/// The claim of a bound volume that none but the struck nodes reach.
fn held(volume: &PersistentVolume, inside: &[LabelSet], outside: &[LabelSet]) -> Option<ClaimRef> {
    let reaches = |nodes: &[LabelSet]| nodes.iter().any(|labels| volume.reaches(*labels));
    let lost = volume.affinity.is_some() && volume.phase == VolumePhase::Bound;
    volume.claim.filter(|_| lost && reaches(inside) && !reaches(outside))
}

/// The claims that a pod uses.
fn claims(pod: &Pod) -> impl Iterator<Item = (Sym, Name)> {
    pod.spec.volumes.iter().filter_map(|v| {
        if let VolumeSource::Claim(name, _) = v.source {
            Some((pod.meta.ns, name.into()))
        } else if matches!(v.source, VolumeSource::Ephemeral(_)) {
            Some((pod.meta.ns, Name::new(&format!("{}-{}", pod.meta.name, v.name))))
        } else {
            None
        }
    })
}

/// What a fault of nodes has put out of reach, as it is at the end of the run. `waits` are the pods
/// without a node then, with their workloads.
pub(super) fn out_of_reach(
    row: &FaultRow,
    metrics: &Metrics,
    waits: &[(&Pod, u32)],
    versions: &Versions,
) -> OutOfReach {
    let mut found = OutOfReach::default();
    if row.nodes.is_empty() || versions.count(Kind::PersistentVolume) == 0 {
        return found;
    }
    let (inside, outside) = sides(row, metrics);
    let volumes = versions.iter(Kind::PersistentVolume).filter_map(|(_, object)| {
        if let Obj::PersistentVolume(volume) = object {
            held(volume, &inside, &outside)
        } else {
            None
        }
    });
    let lost: Vec<(Sym, Name)> = volumes.map(|claim| (claim.ns, claim.name)).collect();
    found.claims = lost.iter().map(|(ns, name)| format!("{ns}/{name}")).collect();
    found.claims.sort();
    if row.ended.is_some() {
        return found;
    }
    for (pod, workload) in waits {
        if claims(pod).any(|claim| lost.contains(&claim)) {
            let name = metrics.workloads.rows[num::index(u64::from(*workload))].label.clone();
            *found.waiting.entry(name).or_default() += 1;
        }
    }
    found
}
