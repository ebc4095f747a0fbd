//! Resource quotas, against the tests' API server.

use super::testkit::{Kit, meta};
use crate::api::pod::{Container, Phase};
use crate::api::request::{ApiError, Op};
use crate::api::resources::Resources;
use crate::api::version::KubeVersion;
use crate::api::workload::Generic;
use crate::api::{Kind, Meta, Obj, Pod, PodSpec};
use crate::engine::Sym;
use serde_json::{Value, json};
use std::sync::Arc;

const QUOTA: Kind = Kind::ResourceQuota;

fn create(kit: &mut Kit, object: Obj) {
    let name = object.key().1.to_string();
    kit.user(object.kind(), &name, Op::Create { object, generate: false });
}

fn quota(kit: &mut Kit, hard: &Value) {
    let doc = Arc::new(json!({"spec": {"hard": hard}}));
    create(kit, Obj::Generic(QUOTA, Arc::new(Generic { meta: meta("q"), doc })));
}

fn pod(kit: &mut Kit, name: &str) {
    let requests = Resources { cpu_milli: 500, ..Resources::default() };
    let mut spec = PodSpec {
        containers: vec![Container { name: "c".into(), requests, ..Container::default() }],
        ..PodSpec::default()
    };
    spec.sum_requests();
    create(
        kit,
        Obj::Pod(Arc::new(Pod { meta: meta(name), spec: Arc::new(spec), ..Pod::default() })),
    );
}

fn delete(kit: &mut Kit, name: &str, grace_s: u32) {
    kit.user(Kind::Pod, name, Op::Delete { grace_s: Some(grace_s), propagation: None, uid: None });
}

fn status(kit: &Kit, key: &str) -> Value {
    let Some(Obj::Generic(_, object)) = kit.get(QUOTA, "q") else { panic!("no quota") };
    object.doc["status"][key].clone()
}

#[test]
fn what_is_there_is_counted_and_ended_pods_are_only_objects() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["a", "b", "c"] {
        pod(&mut kit, name);
    }
    kit.pod("c", |pod| pod.status.phase = Phase::Succeeded);
    let hard = json!({"pods": "5", "count/pods": "9", "requests.cpu": "4", "secrets": "1"});
    quota(&mut kit, &hard);
    kit.run(1.0);
    assert_eq!(status(&kit, "hard"), hard);
    let used = json!({"pods": "2", "count/pods": "3", "requests.cpu": "1", "secrets": "0"});
    assert_eq!(status(&kit, "used"), used);
}

#[test]
fn what_ends_or_goes_is_given_back_and_what_comes_wakes_nobody() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    quota(&mut kit, &json!({"pods": "5"}));
    pod(&mut kit, "a");
    kit.run(1.0);
    let written = kit.count("update/status", QUOTA);
    pod(&mut kit, "b");
    kit.run(1.0);
    assert_eq!(kit.count("update/status", QUOTA), written, "admission charges what is new");
    kit.pod("a", |pod| pod.status.phase = Phase::Failed);
    kit.run(1.0);
    assert_eq!(status(&kit, "used"), json!({"pods": "1"}));
    delete(&mut kit, "b", 0);
    kit.run(1.0);
    assert_eq!(status(&kit, "used"), json!({"pods": "0"}));
}

#[test]
fn another_limit_is_counted_afresh_and_a_conflict_is_tried_again() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    quota(&mut kit, &json!({"pods": "5"}));
    pod(&mut kit, "a");
    kit.run(1.0);
    kit.refuse = Some(("update/status", QUOTA, ApiError::Conflict, 1));
    let Some(Obj::Generic(_, old)) = kit.get(QUOTA, "q") else { panic!("no quota") };
    let mut new = Generic::clone(&old);
    Arc::make_mut(&mut new.doc)["spec"] = json!({"hard": {"requests.cpu": "1"}});
    kit.user(QUOTA, "q", Op::Update(Obj::Generic(QUOTA, Arc::new(new))));
    kit.run(1.0);
    assert_eq!(status(&kit, "used"), json!({"requests.cpu": "500m"}));
    let codes: Vec<u16> = kit.writes.iter().filter(|w| w.2 == QUOTA).map(|w| w.4).collect();
    assert_eq!(codes, [200, 409, 200]);
}

#[test]
fn a_pod_that_cannot_end_is_given_back_at_the_next_resync() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let meta = Meta::named(Sym::EMPTY, "n".into());
    create(
        &mut kit,
        Obj::Node(Arc::new(crate::api::node::Node { meta, ..crate::api::node::Node::default() })),
    );
    quota(&mut kit, &json!({"pods": "5", "count/pods": "5"}));
    pod(&mut kit, "a");
    kit.start_pod("a", "n");
    kit.run(1.0);
    quota_is(&kit, "1", "1");
    delete(&mut kit, "a", 30);
    kit.run(290.0);
    quota_is(&kit, "1", "1");
    kit.run(10.0);
    quota_is(&kit, "0", "1");
}

fn quota_is(kit: &Kit, pods: &str, objects: &str) {
    assert_eq!(status(kit, "used"), json!({"pods": pods, "count/pods": objects}));
}
