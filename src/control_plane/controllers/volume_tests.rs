//! Claims and volumes, against the tests' API server.

use super::testkit::{Kit, meta};
use crate::api::pod::{Volume, VolumeSource};
use crate::api::request::{ApiError, Op};
use crate::api::storage::{
    AccessModes, ClaimPhase, ClaimRef, ClaimTemplate, PersistentVolume, PersistentVolumeClaim,
    ReclaimPolicy, StorageClass, VolumePhase, keys,
};
use crate::api::version::KubeVersion;
use crate::api::{Kind, Meta, Obj, Pod, PodSpec, Uid};
use crate::engine::Sym;
use std::sync::Arc;

const GIB: i64 = 1 << 30;
const CLAIM: Kind = Kind::PersistentVolumeClaim;
const VOLUME: Kind = Kind::PersistentVolume;

fn kit() -> Kit {
    Kit::new(KubeVersion::V1_35)
}

fn create(kit: &mut Kit, object: Obj) {
    let name = object.key().1.to_string();
    kit.user(object.kind(), &name, Op::Create { object, generate: false });
}

fn delete(kit: &mut Kit, kind: Kind, name: &str) {
    kit.user(kind, name, Op::Delete { grace_s: None, propagation: None, uid: None });
}

fn claim(name: &str, class: Option<&str>, gib: i64) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        meta: meta(name),
        class: class.map(Sym::new),
        request: gib * GIB,
        modes: AccessModes::of(["ReadWriteOnce"]),
        ..PersistentVolumeClaim::default()
    }
}

fn volume(name: &str, gib: i64, modes: &[&'static str]) -> PersistentVolume {
    PersistentVolume {
        meta: Meta::named(Sym::EMPTY, name.into()),
        capacity: gib * GIB,
        modes: AccessModes::of(modes.iter().copied()),
        ..PersistentVolume::default()
    }
}

fn add_claim(kit: &mut Kit, claim: PersistentVolumeClaim) {
    create(kit, Obj::PersistentVolumeClaim(Arc::new(claim)));
}

fn add_volume(kit: &mut Kit, volume: PersistentVolume) {
    create(kit, Obj::PersistentVolume(Arc::new(volume)));
}

fn add_class(kit: &mut Kit, name: &str, provisioner: &str, waits: bool) {
    let meta = Meta::named(Sym::EMPTY, name.into());
    let reclaim = ReclaimPolicy::Delete;
    let class = StorageClass {
        meta,
        provisioner: provisioner.into(),
        reclaim,
        waits,
        ..StorageClass::default()
    };
    create(kit, Obj::StorageClass(Arc::new(class)));
}

fn the_claim(kit: &Kit, name: &str) -> Arc<PersistentVolumeClaim> {
    let Some(Obj::PersistentVolumeClaim(claim)) = kit.get(CLAIM, name) else { panic!("no claim") };
    claim
}

fn the_volume(kit: &Kit, name: &str) -> Arc<PersistentVolume> {
    let Some(Obj::PersistentVolume(volume)) = kit.get(VOLUME, name) else { panic!("no volume") };
    volume
}

#[test]
fn a_claim_gets_the_smallest_volume_with_the_fewest_modes() {
    let mut kit = kit();
    add_volume(&mut kit, volume("shared", 10, &["ReadWriteOnce", "ReadWriteMany"]));
    add_volume(&mut kit, volume("large", 90, &["ReadWriteOnce"]));
    add_volume(&mut kit, volume("fits", 50, &["ReadWriteOnce"]));
    add_volume(&mut kit, volume("small", 1, &["ReadWriteOnce"]));
    kit.run(1.0);
    assert_eq!(the_volume(&kit, "fits").phase, VolumePhase::Available);
    add_claim(&mut kit, claim("data", Some(""), 5));
    let before = kit.writes.len();
    kit.run(1.0);
    let bound = the_claim(&kit, "data");
    assert_eq!((bound.phase, bound.volume), (ClaimPhase::Bound, "fits".into()));
    assert_eq!(bound.status_capacity, 50 * GIB);
    assert!(bound.fully_bound());
    assert_eq!(bound.meta.annotation(keys::BOUND_BY_CONTROLLER), Some("yes"));
    let volume = the_volume(&kit, "fits");
    assert_eq!(volume.phase, VolumePhase::Bound);
    assert_eq!(volume.claim.map(|r| r.uid), Some(bound.meta.uid));
    // The order of the four writes.
    let writes: Vec<String> =
        kit.writes[before..].iter().map(|(_, verb, kind, ..)| format!("{verb} {kind}")).collect();
    let volumes = ["update PersistentVolume", "update/status PersistentVolume"];
    let claims = ["update PersistentVolumeClaim", "update/status PersistentVolumeClaim"];
    assert_eq!(writes, [volumes, claims].concat());
}

#[test]
fn a_claim_that_finds_nothing_says_why_and_looks_again() {
    let mut kit = kit();
    add_class(&mut kit, "late", "disk.csi.example.com", true);
    add_class(&mut kit, "by-hand", keys::NO_PROVISIONER, false);
    add_claim(&mut kit, claim("none", Some(""), 5));
    add_claim(&mut kit, claim("waits", Some("late"), 5));
    add_claim(&mut kit, claim("lost-class", Some("nowhere"), 5));
    add_claim(&mut kit, claim("local", Some("by-hand"), 5));
    kit.run(1.0);
    let said = [
        "no persistent volumes available for this claim and no storage class is set",
        "waiting for first consumer to be created before binding",
        "storageclass.storage.k8s.io \"nowhere\" not found",
        "no volume plugin matched name: kubernetes.io/no-provisioner",
    ];
    assert_eq!(kit.events, said);
    add_volume(&mut kit, volume("v", 5, &["ReadWriteOnce"]));
    kit.run(1.0);
    assert_eq!(the_claim(&kit, "none").phase, ClaimPhase::Pending);
    kit.run(15.0);
    assert_eq!(the_claim(&kit, "none").phase, ClaimPhase::Bound);
}

#[test]
fn a_claim_without_class_gets_the_default_once_there_is_one() {
    let mut kit = kit();
    add_claim(&mut kit, claim("data", None, 5));
    kit.run(1.0);
    let mut meta = Meta::named(Sym::EMPTY, "standard".into());
    meta.set_annotation(keys::DEFAULT_CLASS, "true");
    let class = StorageClass { meta, provisioner: "d".into(), ..StorageClass::default() };
    create(&mut kit, Obj::StorageClass(Arc::new(class)));
    kit.run(16.0);
    assert_eq!(the_claim(&kit, "data").class, Some("standard".into()));
}

#[test]
fn a_provisioned_volume_comes_and_goes_with_its_claim() {
    let mut kit = kit();
    add_class(&mut kit, "fast", "disk.csi.example.com", false);
    add_claim(&mut kit, claim("data", Some("fast"), 5));
    kit.run(60.0);
    let bound = the_claim(&kit, "data");
    assert_eq!(bound.phase, ClaimPhase::Bound);
    assert_eq!(bound.meta.annotation(keys::PROVISIONER), Some("disk.csi.example.com"));
    let name = bound.volume.to_string();
    assert_eq!(name, format!("pvc-{}", bound.meta.uid));
    assert_eq!(the_volume(&kit, &name).capacity, 5 * GIB);
    let said = [
        "Waiting for a volume to be created either by the external provisioner \
         'disk.csi.example.com' or manually by the system administrator. If volume creation is \
         delayed, please verify that the provisioner is running and correctly registered."
            .to_owned(),
        "External provisioner is provisioning volume for claim \"ns/data\"".to_owned(),
        format!("Successfully provisioned volume {name}"),
    ];
    for text in said {
        assert_eq!(kit.events.iter().filter(|e| **e == text).count(), 1, "{text}");
    }
    delete(&mut kit, CLAIM, "data");
    kit.run(60.0);
    assert_eq!(kit.get(VOLUME, &name), None);
}

#[test]
fn a_volume_whose_deletion_has_failed_is_deleted_again() {
    let mut kit = kit();
    add_class(&mut kit, "fast", "disk.csi.example.com", false);
    add_claim(&mut kit, claim("data", Some("fast"), 5));
    kit.run(60.0);
    let name = the_claim(&kit, "data").volume.to_string();
    kit.refuse = Some(("delete", VOLUME, ApiError::Internal("no answer".into()), 1));
    delete(&mut kit, CLAIM, "data");
    kit.run(60.0);
    assert!(kit.refuse.as_ref().is_none_or(|r| r.3 == 0), "it was asked for, and refused");
    assert_eq!(kit.get(VOLUME, &name), None);
}

#[test]
fn a_kept_volume_is_released_and_a_deleted_one_loses_the_claim() {
    let mut kit = kit();
    add_volume(&mut kit, volume("v", 5, &["ReadWriteOnce"]));
    add_claim(&mut kit, claim("data", Some(""), 5));
    kit.run(20.0);
    delete(&mut kit, CLAIM, "data");
    kit.run(20.0);
    assert_eq!(the_volume(&kit, "v").phase, VolumePhase::Released);
    // A new claim of that name is not the one the volume was bound to.
    add_claim(&mut kit, claim("data", Some(""), 5));
    kit.run(20.0);
    assert_eq!(the_claim(&kit, "data").phase, ClaimPhase::Pending);
    add_volume(&mut kit, volume("w", 5, &["ReadWriteOnce"]));
    kit.run(20.0);
    assert_eq!(the_claim(&kit, "data").volume, "w".into());
    delete(&mut kit, VOLUME, "w");
    kit.run(20.0);
    assert_eq!(the_claim(&kit, "data").phase, ClaimPhase::Lost);
    let lost = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    assert!(kit.events.iter().any(|e| e == lost));
}

#[test]
fn users_may_bind_by_hand() {
    let mut kit = kit();
    let mut reserved = volume("reserved", 50, &["ReadWriteOnce"]);
    reserved.claim = Some(ClaimRef { ns: "ns".into(), name: "vip".into(), uid: Uid::default() });
    add_volume(&mut kit, reserved);
    add_volume(&mut kit, volume("tiny", 1, &["ReadWriteOnce"]));
    add_claim(&mut kit, claim("other", Some(""), 5));
    add_claim(&mut kit, claim("vip", Some(""), 5));
    let mut named = claim("named", Some(""), 5);
    named.volume = "tiny".into();
    add_claim(&mut kit, named);
    kit.run(20.0);
    assert_eq!(the_claim(&kit, "vip").volume, "reserved".into());
    assert_eq!(the_volume(&kit, "reserved").meta.annotation(keys::BOUND_BY_CONTROLLER), None);
    assert_eq!(the_claim(&kit, "other").phase, ClaimPhase::Pending);
    assert_eq!(the_claim(&kit, "named").phase, ClaimPhase::Pending);
    let small = "Cannot bind to requested volume \"tiny\": requested PV is too small";
    assert!(kit.events.iter().any(|e| e == small), "{:?}", kit.events);
}

#[test]
fn protected_objects_stay_while_they_are_used() {
    let mut kit = kit();
    let mut guarded = volume("v", 5, &["ReadWriteOnce"]);
    guarded.meta.finalizers = Some([Sym::new(keys::VOLUME_PROTECTION)].into());
    add_volume(&mut kit, guarded);
    let mut data = claim("data", Some(""), 5);
    data.meta.finalizers = Some([Sym::new(keys::CLAIM_PROTECTION)].into());
    add_claim(&mut kit, data);
    let source = VolumeSource::Claim("data".into(), false);
    let spec =
        PodSpec { volumes: vec![Volume { name: "data".into(), source }], ..PodSpec::default() };
    let pod = Pod { meta: meta("pod"), spec: Arc::new(spec), ..Pod::default() };
    create(&mut kit, Obj::Pod(Arc::new(pod)));
    kit.start_pod("pod", "n");
    kit.run(20.0);
    delete(&mut kit, CLAIM, "data");
    delete(&mut kit, VOLUME, "v");
    kit.run(20.0);
    assert!(the_claim(&kit, "data").meta.terminating());
    assert!(the_volume(&kit, "v").meta.terminating());
    kit.pod("pod", |pod| pod.status.phase = crate::api::pod::Phase::Succeeded);
    kit.run(20.0);
    assert_eq!(kit.get(CLAIM, "data"), None);
    assert_eq!(kit.get(VOLUME, "v"), None);
}

/// §3.16: a generic ephemeral volume has a claim of its own, called after pod and volume and owned
/// by the pod, which is made again if it is deleted and goes with the pod.
#[test]
fn a_pod_owns_the_claims_of_its_ephemeral_volumes() {
    let mut kit = kit();
    let template = PersistentVolumeClaim {
        meta: Meta { labels: super::testkit::label("scratch"), ..Meta::default() },
        ..claim("", Some("fast"), 2)
    };
    let source = VolumeSource::Ephemeral(Arc::new(ClaimTemplate(template)));
    let volumes = vec![Volume { name: "tmp".into(), source }];
    let spec = Arc::new(PodSpec { volumes, ..PodSpec::default() });
    create(&mut kit, Obj::Pod(Arc::new(Pod { meta: meta("web"), spec, ..Pod::default() })));
    kit.run(1.0);
    let Some(Obj::PersistentVolumeClaim(made)) = kit.get(CLAIM, "web-tmp") else { panic!("none") };
    assert_eq!((made.request, made.class_name().as_str()), (2 * GIB, "fast"));
    assert_eq!(made.meta.labels, super::testkit::label("scratch"));
    let owner = made.meta.controller().unwrap();
    let pod = kit.pods()[0].meta.uid;
    assert!(owner.kind == Kind::Pod && owner.uid == pod && owner.block_owner_deletion);
    delete(&mut kit, CLAIM, "web-tmp");
    kit.run(1.0);
    assert!(kit.get(CLAIM, "web-tmp").is_some(), "made again");
    delete(&mut kit, Kind::Pod, "web");
    kit.run(2.0);
    assert!(kit.pods().is_empty() && kit.get(CLAIM, "web-tmp").is_none(), "gone with its pod");
}
