//! The rules of the volume plugins, one by one.

use super::cache::Cache;
use super::config::ProfileConfig;
use super::evaluate::{Evaluation, evaluate};
use super::framework::{ClusterEvent, Hint, Plugin, StorageEvent};
use super::plugins::node_volume_limits::NodeVolumeLimits;
use super::plugins::volume_binding::VolumeBinding;
use super::plugins::volume_restrictions::VolumeRestrictions;
use super::plugins::volume_zone::VolumeZone;
use super::profile::Profile;
use super::ties::TieRule;
use super::volume_binder;
use crate::api::labels::{Op, Requirement};
use crate::api::node::{Node, NodeStatus, keys::ZONE};
use crate::api::pod::{NodeSelectorTerm, Volume, VolumeSource};
use crate::api::resources::Resources;
use crate::api::storage::{
    AccessModes, ClaimPhase, ClaimRef, CsiDriver, CsiNode, CsiNodeDriver, CsiStorageCapacity,
    DiskSource, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumePhase, keys,
};
use crate::api::versions::ObjRef;
use crate::api::{LabelSet, Meta, Name, Obj, Pod, PodSpec, Selector, Uid};
use crate::engine::Sym;
use std::sync::Arc;

const GIB: i64 = 1 << 30;
const DRIVER: &str = "disk.csi.example.com";

/// Nodes a, b, c in zones of the same name.
fn cluster() -> Cache {
    let mut cache = Cache::default();
    for name in ["a", "b", "c"] {
        let mut meta = Meta::named(Sym::EMPTY, name.into());
        meta.labels = LabelSet::new([(ZONE.into(), name.into())]);
        let allocatable = Resources { cpu_milli: 4000, pods: 110, ..Resources::default() };
        let status = NodeStatus { allocatable: Arc::new(allocatable), ..NodeStatus::default() };
        cache.set_node(&Arc::new(Node { meta, status, ..Node::default() }), 0);
    }
    cache
}

fn learn(cache: &mut Cache, objects: impl IntoIterator<Item = Obj>) {
    for object in objects {
        cache.volumes.apply(&object, false);
    }
}

fn class(name: &str, provisioner: &str, waits: bool) -> StorageClass {
    let meta = Meta::named(Sym::EMPTY, name.into());
    StorageClass { meta, provisioner: provisioner.into(), waits, ..StorageClass::default() }
}

fn claim(name: &str, class: &str, gib: i64) -> PersistentVolumeClaim {
    let mut meta = Meta::named("ns".into(), name.into());
    meta.uid = Uid(Name::new(name).stable_hash());
    PersistentVolumeClaim {
        meta,
        class: Some(class.into()),
        request: gib * GIB,
        modes: AccessModes::of(["ReadWriteOnce"]),
        ..PersistentVolumeClaim::default()
    }
}

fn volume(name: &str, class: &str, gib: i64, zone: &str) -> PersistentVolume {
    let zone = Requirement { key: ZONE.into(), op: Op::In, values: vec![zone.into()] };
    let term = NodeSelectorTerm { expressions: vec![zone], fields: Vec::new() };
    PersistentVolume {
        meta: Meta::named(Sym::EMPTY, name.into()),
        class: class.into(),
        capacity: gib * GIB,
        modes: AccessModes::of(["ReadWriteOnce"]),
        phase: VolumePhase::Available,
        affinity: Some([term].into()),
        ..PersistentVolume::default()
    }
}

/// A claim and its volume, bound to each other.
fn bound(name: &str, mut v: PersistentVolume) -> [Obj; 2] {
    let mut c = claim(name, v.class.as_str(), v.capacity / GIB);
    c.volume = v.meta.name;
    c.phase = ClaimPhase::Bound;
    c.meta.set_annotation(keys::BIND_COMPLETED, "yes");
    v.claim = Some(ClaimRef { ns: c.meta.ns, name: c.meta.name, uid: c.meta.uid });
    v.phase = VolumePhase::Bound;
    [Obj::PersistentVolumeClaim(Arc::new(c)), Obj::PersistentVolume(Arc::new(v))]
}

fn pod(name: &str, sources: impl IntoIterator<Item = VolumeSource>) -> Pod {
    let volumes = sources.into_iter().map(|source| Volume { name: "data".into(), source });
    let spec = PodSpec {
        volumes: volumes.collect(),
        scheduler_name: "default-scheduler".into(),
        ..PodSpec::default()
    };
    Pod { meta: Meta::named("ns".into(), name.into()), spec: Arc::new(spec), ..Pod::default() }
}

fn using(claims: &[&str]) -> Pod {
    pod("pod", claims.iter().map(|c| VolumeSource::Claim((*c).into(), false)))
}

fn put(cache: &mut Cache, slot: u32, pod: &Pod, node: &str) {
    let object = ObjRef { slot, generation: 0 };
    cache.add_pod(object, &Arc::new(pod.clone()), node.into(), false);
}

fn decide(cache: &mut Cache, pod: &Pod) -> Evaluation {
    cache.settle();
    let profile = Profile::new(&ProfileConfig::default());
    evaluate(cache, &profile, pod, TieRule::Name, |_| 0)
}

fn feasible(cache: &mut Cache, pod: &Pod) -> Vec<&'static str> {
    decide(cache, pod).feasible.iter().map(|n| n.as_str()).collect()
}

/// The reasons against each node, or against the pod.
fn reasons(cache: &mut Cache, pod: &Pod) -> String {
    decide(cache, pod).fit_error
}

#[test]
fn a_bound_volume_pins_the_pod() {
    let mut cache = cluster();
    learn(&mut cache, bound("data", volume("v", "", 1, "b")));
    assert_eq!(feasible(&mut cache, &using(&["data"])), ["b"]);
    cache.volumes.apply(&Obj::PersistentVolume(Arc::new(volume("v", "", 1, "b"))), true);
    let gone = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
    // VolumeZone's PreFilter looks the volume up, too, and ends the cycle.
    let text = reasons(&mut cache, &using(&["data"]));
    assert!(text.contains("persistentvolume \"v\" not found"), "{text}");
    let node = cache.node(0);
    let claims =
        super::plugins::volume_binding::PodClaims::gather(&cache.volumes, &using(&["data"]));
    let mask = claims.unwrap().unwrap().find(node).unwrap_err();
    let bit = u8::try_from(mask.trailing_zeros()).unwrap();
    let pod = using(&["data"]);
    let view = super::framework::View { cache: &cache, pod: &pod };
    assert_eq!(VolumeBinding.reason(view, bit), gone);
}

#[test]
fn claims_that_cannot_be_used_end_the_cycle() {
    let mut cache = cluster();
    let text = reasons(&mut cache, &using(&["nowhere"]));
    assert_eq!(text, "0/3 nodes are available: persistentvolumeclaim \"nowhere\" not found.");
    let said = decide(&mut cache, &using(&["nowhere"])).post_filter.unwrap().said.message;
    assert_eq!(said, "not found");
    let now = class("now", DRIVER, false);
    let mut lost = claim("lost", "now", 1);
    (lost.phase, lost.volume) = (ClaimPhase::Lost, "v".into());
    let mut going = claim("going", "now", 1);
    going.meta.deletion = Some(crate::api::meta::Deletion { at: crate::api::Stamp(1), grace_s: 0 });
    learn(&mut cache, [Obj::StorageClass(Arc::new(now))]);
    learn(
        &mut cache,
        [lost, going, claim("slow", "now", 1)].map(|c| Obj::PersistentVolumeClaim(Arc::new(c))),
    );
    let cases = [
        ("lost", "persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"v\""),
        ("going", "persistentvolumeclaim \"going\" is being deleted"),
        ("slow", "pod has unbound immediate PersistentVolumeClaims"),
    ];
    for (name, why) in cases {
        let text = reasons(&mut cache, &using(&[name]));
        assert_eq!(text, format!("0/3 nodes are available: {why}."));
    }
    let ephemeral = pod("pod", [VolumeSource::Ephemeral(Arc::default())]);
    let text = reasons(&mut cache, &ephemeral);
    assert!(text.contains("waiting for ephemeral volume controller to create"), "{text}");
}

#[test]
fn the_smallest_volume_that_fits_is_taken_and_large_ones_are_left() {
    let mut cache = cluster();
    learn(&mut cache, [Obj::StorageClass(Arc::new(class("local", keys::NO_PROVISIONER, true)))]);
    let volumes = [("large", 100), ("small", 10), ("middle", 50)];
    learn(
        &mut cache,
        volumes.map(|(n, gib)| Obj::PersistentVolume(Arc::new(volume(n, "local", gib, "b")))),
    );
    learn(
        &mut cache,
        [("x", 40), ("y", 5)]
            .map(|(n, gib)| Obj::PersistentVolumeClaim(Arc::new(claim(n, "local", gib)))),
    );
    let got = decide(&mut cache, &using(&["x", "y"]));
    assert_eq!(got.feasible, ["b".into()]);
    let pairs: Vec<(String, String)> = got.volumes[0]
        .1
        .bindings
        .iter()
        .map(|(c, v)| (c.meta.name.to_string(), v.meta.name.to_string()))
        .collect();
    let want = [("y", "small"), ("x", "middle")].map(|(c, v)| (c.to_owned(), v.to_owned()));
    assert_eq!(pairs, want);
    learn(&mut cache, [Obj::PersistentVolumeClaim(Arc::new(claim("z", "local", 500)))]);
    let text = reasons(&mut cache, &using(&["z"]));
    assert!(text.contains("3 node(s) didn't find available persistent volumes to bind"), "{text}");
}

#[test]
fn reserve_takes_volumes_away_from_others_and_unreserve_gives_them_back() {
    let mut cache = cluster();
    learn(&mut cache, [Obj::StorageClass(Arc::new(class("local", keys::NO_PROVISIONER, true)))]);
    learn(&mut cache, [Obj::PersistentVolume(Arc::new(volume("v", "local", 10, "b")))]);
    learn(
        &mut cache,
        ["x", "y"].map(|n| Obj::PersistentVolumeClaim(Arc::new(claim(n, "local", 5)))),
    );
    cache.settle();
    let at = cache.position("b".into()).unwrap();
    let taken = volume_binder::reserve(&mut cache, &using(&["x"]), at);
    assert_eq!(taken.bindings.len(), 1);
    assert!(feasible(&mut cache, &using(&["y"])).is_empty());
    assert_eq!(feasible(&mut cache, &using(&["x"])), ["b"], "its own");
    volume_binder::unreserve(&mut cache.volumes, &taken);
    assert_eq!(feasible(&mut cache, &using(&["y"])), ["b"]);
}

#[test]
fn provisioning_asks_for_topology_and_room() {
    let mut cache = cluster();
    let mut fast = class("fast", DRIVER, true);
    fast.topologies = vec![vec![(ZONE.into(), vec!["a".into(), "b".into()])]];
    learn(
        &mut cache,
        [
            Obj::StorageClass(Arc::new(fast)),
            Obj::PersistentVolumeClaim(Arc::new(claim("data", "fast", 10))),
        ],
    );
    assert_eq!(feasible(&mut cache, &using(&["data"])), ["a", "b"]);
    let meta = Meta::named(Sym::EMPTY, DRIVER.into());
    let driver = CsiDriver { meta, tracks_capacity: true, ..CsiDriver::default() };
    let room = |name: &str, zone: &str, gib: i64| CsiStorageCapacity {
        meta: Meta::named("csi".into(), name.into()),
        class: "fast".into(),
        topology: Some(Selector::of_labels([(ZONE.into(), zone.into())])),
        capacity: Some(gib * GIB),
        ..CsiStorageCapacity::default()
    };
    learn(
        &mut cache,
        [
            Obj::CSIDriver(Arc::new(driver)),
            Obj::CSIStorageCapacity(Arc::new(room("one", "a", 9))),
            Obj::CSIStorageCapacity(Arc::new(room("two", "b", 10))),
        ],
    );
    let got = decide(&mut cache, &using(&["data"]));
    assert_eq!(got.feasible, ["b".into()]);
    assert_eq!(got.volumes[0].1.provisions.len(), 1);
    let reason = |node: &str| {
        got.rejected.iter().find(|(n, _)| n.as_str() == node).unwrap().1.reasons.join("|")
    };
    assert_eq!(reason("a"), "node(s) did not have enough free storage");
    assert_eq!(reason("c"), "node(s) didn't find available persistent volumes to bind");
    // Once a node has been chosen, the claim stays there.
    let mut chosen = claim("data", "fast", 10);
    chosen.meta.set_annotation(keys::SELECTED_NODE, "a");
    learn(&mut cache, [Obj::PersistentVolumeClaim(Arc::new(chosen))]);
    assert!(feasible(&mut cache, &using(&["data"])).is_empty());
}

#[test]
fn zone_labels_of_volumes_are_met() {
    let mut cache = cluster();
    let mut labelled = volume("v", "", 1, "b");
    labelled.affinity = None;
    labelled.meta.labels =
        LabelSet::new([("failure-domain.beta.kubernetes.io/zone".into(), "b__c".into())]);
    learn(&mut cache, bound("data", labelled));
    let got = decide(&mut cache, &using(&["data"]));
    assert_eq!(got.feasible, ["b".into(), "c".into()]);
    assert_eq!(got.rejected[0].1.plugin, "VolumeZone");
    assert_eq!(got.rejected[0].1.reasons.join("|"), "node(s) had no available volume zone");
}

#[test]
fn disks_are_not_shared_on_a_node_unless_read_only() {
    let gce = |ro| VolumeSource::GcePd("d".into(), ro);
    let rbd = |m: &str, ro| VolumeSource::Rbd(m.into(), "rbd".into(), "i".into(), ro);
    let iscsi = |ro| VolumeSource::Iscsi("iqn".into(), ro);
    let ebs = |ro| VolumeSource::AwsEbs("vol-1".into(), ro);
    let cases = [
        (gce(false), gce(true), true),
        (gce(true), gce(true), false),
        (ebs(true), ebs(true), true),
        (iscsi(true), iscsi(false), true),
        (iscsi(true), iscsi(true), false),
        (rbd("m1,m2", false), rbd("m2,m3", false), true),
        (rbd("m1", false), rbd("m2", false), false),
        (rbd("m1", true), rbd("m1", true), false),
        (gce(false), ebs(false), false),
    ];
    for (mine, theirs, conflict) in cases {
        let mut cache = cluster();
        put(&mut cache, 1, &pod("other", [theirs.clone()]), "a");
        let me = pod("pod", [mine.clone()]);
        let free = if conflict { vec!["b", "c"] } else { vec!["a", "b", "c"] };
        assert_eq!(feasible(&mut cache, &me), free, "{mine:?} beside {theirs:?}");
        let gone = pod("other", [theirs]);
        let hint = VolumeRestrictions.hint(&me, &ClusterEvent::PodGone(&gone), &cache);
        assert_eq!(hint, Hint::of(conflict));
    }
}

#[test]
fn a_once_pod_claim_has_one_pod_which_may_be_preempted() {
    let mut cache = cluster();
    let mut v = volume("v", "", 1, "b");
    v.affinity = None;
    let [c, v] = bound("data", v);
    let Obj::PersistentVolumeClaim(mut c) = c else { panic!("a claim") };
    Arc::make_mut(&mut c).modes = AccessModes::ONCE_POD;
    learn(&mut cache, [Obj::PersistentVolumeClaim(c), v]);
    assert_eq!(feasible(&mut cache, &using(&["data"])).len(), 3);
    let mut other = using(&["data"]);
    other.meta.name = "other".into();
    put(&mut cache, 1, &other, "b");
    let got = decide(&mut cache, &using(&["data"]));
    assert!(got.feasible.is_empty());
    assert!(got.rejected.iter().all(|(_, r)| r.code.as_str() == "Unschedulable"));
    cache.remove_pod(ObjRef { slot: 1, generation: 0 });
    assert_eq!(feasible(&mut cache, &using(&["data"])).len(), 3);
}

fn csi_node(name: &str, limit: Option<i32>) -> Arc<CsiNode> {
    let driver = CsiNodeDriver { name: DRIVER.into(), topology_keys: Vec::new(), count: limit };
    let meta = Meta::named(Sym::EMPTY, name.into());
    Arc::new(CsiNode { meta, drivers: vec![driver], ..CsiNode::default() })
}

#[test]
fn a_driver_attaches_so_many_distinct_volumes() {
    let mut cache = cluster();
    for name in ["one", "two", "three"] {
        let mut v = volume(&format!("v-{name}"), "", 1, "b");
        v.affinity = None;
        v.source = DiskSource::Csi(DRIVER.into(), name.into());
        learn(&mut cache, bound(name, v));
    }
    learn(
        &mut cache,
        [("a", Some(2)), ("b", Some(1)), ("c", None)]
            .map(|(n, limit)| Obj::CSINode(csi_node(n, limit))),
    );
    let mut other = using(&["one"]);
    other.meta.name = "other".into();
    for (slot, node) in [(1, "a"), (2, "b"), (3, "c")] {
        put(&mut cache, slot, &other, node);
    }
    assert_eq!(feasible(&mut cache, &using(&["one"])).len(), 3, "the same volume counts once");
    assert_eq!(feasible(&mut cache, &using(&["two"])), ["a", "c"]);
    let got = decide(&mut cache, &using(&["two", "three"]));
    assert_eq!(got.feasible, ["c".into()]);
    assert_eq!(got.rejected[0].1.reasons.join("|"), "node(s) exceed max volume count");
}

#[test]
fn an_in_tree_disk_counts_where_its_plugin_has_migrated() {
    let mut cache = cluster();
    let mut a = CsiNode::clone(&csi_node("a", None));
    a.drivers[0].name = "ebs.csi.aws.com".into();
    a.drivers[0].count = Some(0);
    let mut b = a.clone();
    b.meta.name = "b".into();
    b.meta.set_annotation(keys::MIGRATED_PLUGINS, "kubernetes.io/aws-ebs,kubernetes.io/gce-pd");
    learn(&mut cache, [a, b].map(|n| Obj::CSINode(Arc::new(n))));
    let me = pod("pod", [VolumeSource::AwsEbs("aws://z/vol-1".into(), false)]);
    assert_eq!(feasible(&mut cache, &me), ["a", "c"]);
}

/// The hint table, row by row (behaviour reference §2.4).
#[test]
fn hints_of_the_volume_plugins() {
    let cache = cluster();
    let pod = using(&["data"]);
    let mine = Arc::new(claim("data", "c", 1));
    let theirs = Arc::new(claim("other", "c", 1));
    let v = Arc::new(volume("v", "c", 1, "b"));
    let mut labelled = PersistentVolume::clone(&v);
    labelled.meta.labels = LabelSet::new([(ZONE.into(), "b".into())]);
    let labelled = Arc::new(labelled);
    let waits = Arc::new(class("c", DRIVER, true));
    let now = Arc::new(class("c", DRIVER, false));
    let (old, new) = (csi_node("a", Some(1)), csi_node("a", Some(2)));
    let ask = |plugin: &dyn Plugin, event| plugin.hint(&pod, &ClusterEvent::Storage(event), &cache);
    let (queue, skip, none) = (Hint::Queue, Hint::Skip, Hint::Unregistered);
    let add = |c| StorageEvent::Claim { old: None, new: c };
    let update = |c| StorageEvent::Claim { old: Some(c), new: c };
    let add_volume = StorageEvent::Volume { old: None, new: &v };
    let relabel = StorageEvent::Volume { old: Some(&v), new: &labelled };
    let same = StorageEvent::Volume { old: Some(&v), new: &v };
    let add_class = |c| StorageEvent::Class { old: None, new: c };
    let raise = StorageEvent::CsiNode { old: Some(&old), new: &new };
    let lower = StorageEvent::CsiNode { old: Some(&new), new: &old };
    let rows: [(StorageEvent<'_>, [Hint; 4]); 10] = [
        // VolumeBinding, VolumeZone, VolumeRestrictions, NodeVolumeLimits.
        (add(&mine), [queue, queue, queue, queue]),
        (add(&theirs), [skip, skip, skip, skip]),
        (update(&mine), [queue, queue, none, none]),
        (add_volume, [queue, queue, none, none]),
        (relabel, [queue, queue, none, none]),
        (same, [queue, skip, none, none]),
        (add_class(&waits), [queue, queue, none, none]),
        (add_class(&now), [queue, skip, none, none]),
        (raise, [skip, none, none, queue]),
        (lower, [skip, none, none, skip]),
    ];
    let zone = VolumeZone::default();
    let plugins: [&dyn Plugin; 4] = [&VolumeBinding, &zone, &VolumeRestrictions, &NodeVolumeLimits];
    for (event, want) in rows {
        assert_eq!(plugins.map(|p| ask(p, event)), want, "{event:?}");
    }
}
