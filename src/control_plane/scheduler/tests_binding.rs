//! Binding cycles: `PreBind`, what is written before it, and what becomes of a pod when it fails.

use super::SchedulerConfig;
use super::framework::Plugin;
use super::plugins::registry::Points;
use super::profile::ProfileRow;
use super::tests::{GIB, World, node, pod, spec};
use crate::api::pod::{Volume, VolumeSource};
use crate::api::storage::{AccessModes, PersistentVolumeClaim, StorageClass};
use crate::api::version::KubeVersion;
use crate::api::versions::ObjRef;
use crate::api::{Meta, Obj, Pod};
use crate::engine::Sym;
use std::sync::Arc;

/// Lets no pod of one name be bound.
#[derive(Debug)]
struct Refuses(&'static str);

impl Plugin for Refuses {
    fn pre_bind(&self, pod: &Pod) -> bool {
        pod.meta.name.to_string() != self.0
    }
}

/// A pod whose `PreBind` fails is told so and gives up its node, which others may have meanwhile;
/// it is tried again after a back-off that counts errors, and nothing is ever posted for it.
#[test]
fn a_failed_pre_bind_gives_the_node_up_and_backs_off() {
    let mut w = World::new(SchedulerConfig::default());
    let plugin = Arc::new(Refuses("p1"));
    let row = ProfileRow { name: "Refuses", plugin, points: Points::PRE_BIND, weight: 1 };
    w.scheduler.add_plugin(0, row);
    w.add_node(node("n1", 1000, "a"));
    let first = w.add_pod(pod("p1", spec(800, GIB)));
    w.run(1);
    assert!(w.bindings.is_empty());
    assert_eq!(w.conditions, ["error: a plugin failed in PreBind"]);
    assert_eq!(w.events, ["FailedScheduling a plugin failed in PreBind"]);
    assert_eq!(w.scheduler.cache().n_pods(), 0, "no room is kept for it");
    let waiting = w.scheduler.queue().get(first).unwrap();
    assert_eq!((waiting.errors, waiting.rejections), (1, 0));
    w.add_pod(pod("p2", spec(800, GIB)));
    w.run(2);
    assert_eq!(w.bindings.iter().map(|b| b.1.as_str()).collect::<Vec<_>>(), ["p2"]);
    // Now it does not even fit: that is no error any more.
    w.run(4);
    let waiting = w.scheduler.queue().get(first).unwrap();
    assert_eq!((waiting.errors, waiting.rejections), (0, 1), "{:?}", w.conditions);
}

/// A pod with a claim that waits for it.
fn with_claim(w: &mut World) -> ObjRef {
    let class = StorageClass {
        meta: Meta::named(Sym::EMPTY, "fast".into()),
        provisioner: "csi.example.com".into(),
        waits: true,
        ..StorageClass::default()
    };
    w.put(None, Obj::StorageClass(Arc::new(class)));
    let claim = PersistentVolumeClaim {
        meta: Meta::named("ns".into(), "data".into()),
        class: Some("fast".into()),
        request: GIB,
        modes: AccessModes::of(["ReadWriteOnce"]),
        ..PersistentVolumeClaim::default()
    };
    w.put(None, Obj::PersistentVolumeClaim(Arc::new(claim)));
    let source = VolumeSource::Claim("data".into(), false);
    let mut wanted = spec(800, GIB);
    wanted.volumes.push(Volume { name: "data".into(), source });
    w.add_pod(pod("p1", wanted))
}

/// Before volumes are bound, which takes long, the pod is told where it will be; when that comes to
/// nothing, it is told that, too. Before 1.35 neither is written.
#[test]
fn a_slow_pre_bind_nominates_its_node_first() {
    for (version, told) in [(KubeVersion::V1_35, true), (KubeVersion::V1_29, false)] {
        let mut w = World::new(SchedulerConfig { version, ..SchedulerConfig::default() });
        w.keeps = true;
        w.volume_errors = 1;
        w.add_node(node("n1", 1000, "a"));
        let object = with_claim(&mut w);
        w.run(1);
        let writes: Vec<&str> = w.writes.iter().map(|(_, what)| what.as_str()).collect();
        let first = if told { vec!["Nominate p1", "claim data"] } else { vec!["claim data"] };
        assert_eq!(writes[..first.len()], first, "{version:?}");
        assert!(w.conditions[0].contains("running PreBind plugin \"VolumeBinding\""));
        assert_eq!(w.stored(object).status.nominated, Sym::EMPTY, "{version:?}: taken back");
        assert!(w.bindings.is_empty());
    }
}
