//! Attaching and detaching, against the tests' API server: a test per rule of the behaviour
//! reference §3.16 on the attach-detach controller.

use super::testkit::{Kit, meta};
use crate::api::node::{Node, keys as node_keys};
use crate::api::pod::{
    Condition, ConditionType, ContainerState, ContainerStatus, Effect, Phase, PodStatus, Taint,
    Truth, Volume, VolumeSource,
};
use crate::api::request::Op;
use crate::api::storage::{
    AccessModes, ClaimPhase, CsiDriver, DiskSource, PersistentVolume, PersistentVolumeClaim,
    VolumeAttachment, keys,
};
use crate::api::version::KubeVersion;
use crate::api::{Kind, Meta, Obj, Pod, PodSpec, Stamp};
use crate::engine::{Dist, SimDuration, Sym};
use crate::event::{Driver, Drivers};
use std::sync::Arc;

const DRIVER: &str = "ebs.csi.aws.com";
const DISK: &str = "kubernetes.io/csi/ebs.csi.aws.com^vol-1";

fn create(kit: &mut Kit, object: Obj) {
    let name = object.key().1.to_string();
    kit.user(object.kind(), &name, Op::Create { object, generate: false });
}

fn truth(ready: bool) -> Condition {
    Condition {
        kind: ConditionType::Ready,
        status: if ready { Truth::True } else { Truth::Unknown },
        reason: Sym::EMPTY,
        message: Sym::EMPTY,
        transition: Stamp::NONE,
    }
}

fn machine(kit: &mut Kit, name: &str) {
    let mut node = Node { meta: Meta::named(Sym::EMPTY, name.into()), ..Node::default() };
    node.meta.set_annotation(node_keys::CONTROLLER_ATTACHES, "true");
    node.status.conditions.set(truth(true));
    let now = kit.now();
    kit.cx().leases_mut().start(name.into(), now, SimDuration::from_secs(5), true);
    create(kit, Obj::Node(Arc::new(node)));
}

/// Changes a node as its kubelet, its monitor or an operator would.
fn alter(kit: &mut Kit, name: &str, with: impl FnOnce(&mut Node)) {
    let Some(Obj::Node(mut node)) = kit.get(Kind::Node, name) else { panic!("no node") };
    with(Arc::make_mut(&mut node));
    let status = Box::new(node.status.clone());
    kit.user(Kind::Node, name, Op::Update(Obj::Node(node)));
    kit.user(Kind::Node, name, Op::NodeStatus(status));
}

fn ill(node: &mut Node) {
    node.status.conditions.set(truth(false));
}

fn uses(kit: &mut Kit, name: &str, disks: &[&str]) {
    alter(kit, name, |n| n.status.volumes_in_use = disks.iter().map(|d| Sym::new(d)).collect());
}

/// A claim that is bound to a disk.
fn disk(kit: &mut Kit, modes: &[&'static str]) {
    let modes = AccessModes::of(modes.iter().copied());
    let volume = PersistentVolume {
        meta: Meta::named(Sym::EMPTY, "pv-1".into()),
        modes,
        source: DiskSource::Csi(DRIVER.into(), "vol-1".into()),
        ..PersistentVolume::default()
    };
    create(kit, Obj::PersistentVolume(Arc::new(volume)));
    let mut claim = PersistentVolumeClaim {
        meta: meta("data"),
        modes,
        class: Some(Sym::EMPTY),
        volume: "pv-1".into(),
        phase: ClaimPhase::Bound,
        ..PersistentVolumeClaim::default()
    };
    claim.meta.set_annotation(keys::BIND_COMPLETED, "yes");
    create(kit, Obj::PersistentVolumeClaim(Arc::new(claim)));
}

fn pod(kit: &mut Kit, name: &str, node: &str) {
    let volumes =
        vec![Volume { name: "v".into(), source: VolumeSource::Claim("data".into(), false) }];
    let spec = Arc::new(PodSpec { volumes, ..PodSpec::default() });
    let state = ContainerState::Running { started: Stamp(1) };
    let main = ContainerStatus {
        name: "main".into(),
        image: "i".into(),
        state,
        last: None,
        restarts: 0,
        ready: true,
        started: true,
    };
    let status = PodStatus { containers: [main].into(), ..PodStatus::default() };
    let pod = Pod { meta: meta(name), spec, node: node.into(), status };
    create(kit, Obj::Pod(Arc::new(pod)));
}

fn force_delete(kit: &mut Kit, name: &str) {
    kit.user(Kind::Pod, name, Op::Delete { grace_s: Some(0), propagation: None, uid: None });
}

fn attachments(kit: &Kit) -> Vec<Arc<VolumeAttachment>> {
    let all = kit.shared.versions.iter(Kind::VolumeAttachment);
    all.filter_map(
        |(_, o)| if let Obj::VolumeAttachment(a) = o { Some(Arc::clone(a)) } else { None },
    )
    .collect()
}

/// Where the volume is attached, by its attachments.
fn places(kit: &Kit) -> Vec<String> {
    let there = attachments(kit).into_iter().filter(|a| a.attached);
    let mut nodes: Vec<String> = there.map(|a| a.node.to_string()).collect();
    nodes.sort();
    nodes
}

fn told(kit: &Kit, name: &str) -> Vec<&'static str> {
    let Some(Obj::Node(node)) = kit.get(Kind::Node, name) else { panic!("no node") };
    node.status.volumes_attached.iter().map(|v| v.as_str()).collect()
}

/// Two nodes, a disk, and a pod on the first that has it mounted.
fn mounted(modes: &[&'static str]) -> Kit {
    let mut kit = Kit::new(KubeVersion::V1_35);
    machine(&mut kit, "n1");
    machine(&mut kit, "n2");
    disk(&mut kit, modes);
    pod(&mut kit, "db-0", "n1");
    kit.run(60.0);
    assert_eq!((places(&kit), told(&kit, "n1")), (vec!["n1".to_owned()], vec![DISK]));
    uses(&mut kit, "n1", &[DISK]);
    kit.run(1.0);
    kit
}

#[test]
fn a_volume_is_attached_where_a_pod_wants_it_and_the_node_says_so() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    machine(&mut kit, "n1");
    disk(&mut kit, &["ReadWriteOnce"]);
    kit.run(10.0);
    assert_eq!(attachments(&kit).len(), 0, "nobody wants it");
    pod(&mut kit, "db-0", "n1");
    let since = kit.now().secs_f64();
    kit.run(60.0);
    let made = &attachments(&kit)[0];
    assert_eq!((made.attacher.as_str(), made.node.as_str()), (DRIVER, "n1"));
    assert!(made.meta.has_finalizer("external-attacher/ebs-csi-aws-com"));
    assert!(made.attached);
    assert_eq!(told(&kit, "n1"), [DISK]);
    assert_eq!(kit.events, ["AttachVolume.Attach succeeded for volume \"pv-1\" "]);
    let at = |verb: &str, kind| {
        let found = kit.writes.iter().find(|w| w.0 >= since && w.1 == verb && w.2 == kind);
        found.unwrap_or_else(|| panic!("no {verb} {kind}")).0 - since
    };
    let asked = at("create", Kind::VolumeAttachment);
    assert!(asked < 0.12, "with the reconciler's next turn: {asked}");
    let there = at("update/status", Kind::VolumeAttachment);
    let said = at("patch/status", Kind::Node);
    assert!((1.0..15.0).contains(&there), "the driver takes its time: {there}");
    assert!((0.0..1.3).contains(&(said - there)), "polled, then told with a turn: {said} {there}");
    // Idle volumes cost nothing.
    let quiet = (kit.writes.len(), kit.shared.last_seq());
    kit.run(3600.0);
    assert_eq!((kit.writes.len(), kit.shared.last_seq()), quiet);
}

#[test]
fn a_volume_in_use_stays_until_its_kubelet_lets_go() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    force_delete(&mut kit, "db-0");
    kit.run(7.0 * 60.0);
    assert_eq!(places(&kit), ["n1"], "a node that is well is waited for, whatever it takes");
    uses(&mut kit, "n1", &[]);
    let since = kit.now().secs_f64();
    kit.run(60.0);
    assert_eq!((attachments(&kit).len(), told(&kit, "n1")), (0, Vec::new()));
    // First the status, then a look at the node, then the attachment.
    let order: Vec<&str> = kit
        .writes
        .iter()
        .filter(|w| w.0 > since && matches!(w.2, Kind::Node | Kind::VolumeAttachment))
        .map(|w| w.1.as_str())
        .collect();
    assert_eq!(order[..3], ["patch/status", "get", "delete"]);
}

#[test]
fn a_node_that_is_not_ready_loses_its_volumes_after_six_minutes() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    alter(&mut kit, "n1", ill);
    kit.run(600.0);
    assert_eq!(places(&kit), ["n1"], "its pod is still there");
    force_delete(&mut kit, "db-0");
    let since = kit.now().secs_f64();
    kit.run(600.0);
    let deleted = kit.writes.iter().find(|w| w.1 == "delete" && w.2 == Kind::VolumeAttachment);
    let after = deleted.expect("detached by force").0 - since;
    assert!((360.0..360.4).contains(&after), "{after}");
    assert_eq!(attachments(&kit).len(), 0);
    let looks = kit.writes.iter().filter(|w| w.1 == "get" && w.2 == Kind::Node).count();
    assert_eq!(looks, 0, "nobody asks the node whether that is safe");
}

#[test]
fn a_node_that_falls_ill_after_six_minutes_loses_them_at_once() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    force_delete(&mut kit, "db-0");
    kit.run(500.0);
    assert_eq!(places(&kit), ["n1"]);
    alter(&mut kit, "n1", ill);
    let since = kit.now().secs_f64();
    kit.run(60.0);
    let deleted = kit.writes.iter().find(|w| w.1 == "delete" && w.2 == Kind::VolumeAttachment);
    assert!(deleted.expect("detached").0 - since < 0.2);
}

#[test]
fn a_node_that_is_gone_is_waited_for_as_well() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    kit.user(Kind::Node, "n1", Op::Delete { grace_s: None, propagation: None, uid: None });
    force_delete(&mut kit, "db-0");
    kit.run(355.0);
    assert_eq!(places(&kit), ["n1"], "its kubelet had it in use");
    kit.run(60.0);
    assert_eq!(attachments(&kit).len(), 0);
}

#[test]
fn a_node_out_of_service_loses_its_volumes_at_once() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    alter(&mut kit, "n1", |n| {
        n.status.conditions.set(truth(false));
        let key = node_keys::OUT_OF_SERVICE.into();
        let (effect, added) = (Effect::NoSchedule, Stamp::NONE);
        n.taints = [Taint { key, value: "nodeshutdown".into(), effect, added }].into();
    });
    kit.run(1.0);
    assert_eq!(places(&kit), ["n1"], "while its pod is there");
    force_delete(&mut kit, "db-0");
    let since = kit.now().secs_f64();
    kit.run(60.0);
    let deleted = kit.writes.iter().find(|w| w.1 == "delete" && w.2 == Kind::VolumeAttachment);
    assert!(deleted.expect("detached").0 - since < 0.2);
    assert_eq!(attachments(&kit).len(), 0);
}

#[test]
fn a_volume_for_one_node_is_not_attached_to_two_and_that_is_said() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    pod(&mut kit, "db-1", "n2");
    kit.run(600.0);
    assert_eq!(places(&kit), ["n1"]);
    let multi = "Multi-Attach error for volume \"pv-1\" Volume is already used by pod(s) db-0";
    assert_eq!(kit.events[1..], [multi], "once");
    // The first pod ends, its kubelet lets go: the volume moves.
    force_delete(&mut kit, "db-0");
    uses(&mut kit, "n1", &[]);
    kit.run(60.0);
    assert_eq!(places(&kit), ["n2"]);
    assert_eq!((told(&kit, "n1"), told(&kit, "n2")), (Vec::new(), vec![DISK]));
}

#[test]
fn a_volume_whose_pod_is_gone_is_said_to_be_attached_elsewhere() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    force_delete(&mut kit, "db-0");
    pod(&mut kit, "db-0", "n2");
    kit.run(60.0);
    let gone = "Multi-Attach error for volume \"pv-1\" Volume is already exclusively attached to \
                one node and can't be attached to another";
    assert_eq!(kit.events[1..], [gone]);
}

#[test]
fn a_volume_for_many_is_attached_to_each() {
    let mut kit = mounted(&["ReadWriteMany"]);
    pod(&mut kit, "db-1", "n2");
    kit.run(60.0);
    assert_eq!(places(&kit), ["n1", "n2"]);
}

#[test]
fn what_need_not_be_attached_is_not() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    machine(&mut kit, "n1");
    let node = Node { meta: Meta::named(Sym::EMPTY, "fake".into()), ..Node::default() };
    create(&mut kit, Obj::Node(Arc::new(node)));
    disk(&mut kit, &["ReadWriteOnce"]);
    pod(&mut kit, "on-a-node-of-its-own", "fake");
    kit.run(60.0);
    assert_eq!(attachments(&kit).len(), 0, "the node does not want the controller to attach");
    let meta = Meta::named(Sym::EMPTY, DRIVER.into());
    let driver = CsiDriver { meta, attaches: false, ..CsiDriver::default() };
    create(&mut kit, Obj::CSIDriver(Arc::new(driver)));
    kit.run(1.0);
    pod(&mut kit, "db-0", "n1");
    kit.run(60.0);
    assert_eq!(attachments(&kit).len(), 0, "the driver does not attach");
}

#[test]
fn a_pod_that_has_ended_wants_nothing() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    let Some(Obj::Pod(pod)) = kit.get(Kind::Pod, "db-0") else { panic!("no pod") };
    let status = PodStatus { phase: Phase::Succeeded, ..pod.status.clone() };
    kit.user(Kind::Pod, "db-0", Op::PodStatus(Box::new(status)));
    uses(&mut kit, "n1", &[]);
    kit.run(60.0);
    assert_eq!(attachments(&kit).len(), 0);
}

#[test]
fn an_attachment_that_somebody_deletes_is_made_again() {
    let mut kit = mounted(&["ReadWriteOnce"]);
    let name = attachments(&kit)[0].meta.name.to_string();
    let op = Op::Delete { grace_s: None, propagation: None, uid: None };
    kit.user(Kind::VolumeAttachment, &name, op);
    kit.run(180.0);
    assert_eq!(places(&kit), ["n1"], "found missing with the verification each minute");
}

#[test]
fn a_driver_that_does_not_answer_is_asked_again() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let long = Dist::Constant(SimDuration::from_secs(200));
    let slow = Driver { attach: long, ..Driver::named(DRIVER.into()) };
    kit.shared.drivers = Drivers([slow].into());
    machine(&mut kit, "n1");
    disk(&mut kit, &["ReadWriteOnce"]);
    pod(&mut kit, "db-0", "n1");
    kit.run(130.0);
    let late = "AttachVolume.Attach failed for volume \"pv-1\" : timed out waiting for \
                external-attacher of ebs.csi.aws.com CSI driver to attach volume vol-1";
    assert_eq!(kit.events, [late]);
    kit.run(120.0);
    assert_eq!(places(&kit), ["n1"]);
    assert_eq!(kit.events[1..], ["AttachVolume.Attach succeeded for volume \"pv-1\" "]);
}
