//! What nodes do that simulators most often get wrong.

use super::{changes, pod_of, run, scenario};
use wavetank::api::pod::{ContainerState, Phase};
use wavetank::api::{Kind, Obj};

#[test]
fn row_27_a_pod_in_crash_loop_back_off_is_running() {
    let plan = scenario(
        "until: 10m
cluster: {nodes: [{name: node, cpu: 4, memory: 8Gi}]}
objects:
  - apiVersion: v1
    kind: Pod
    metadata: {name: p, annotations: {wavetank.dev/exit-after: 5s, wavetank.dev/exit-code: '1'}}
    spec: {containers: [{name: c, image: 'c:1'}]}
",
    );
    let mut backing_off = 0;
    for (_, value) in changes(&plan) {
        let Obj::Pod(pod) = value else { continue };
        let Some(c) = pod.status.containers.first() else { continue };
        if c.state == (ContainerState::Waiting { reason: "CrashLoopBackOff".into() }) {
            assert_eq!((pod.status.phase, pod.ready()), (Phase::Running, false));
            assert!(matches!(c.last, Some(ContainerState::Terminated { exit_code: 1, .. })));
            backing_off += 1;
        }
    }
    assert!(backing_off >= 4, "{backing_off}");
}

#[test]
fn row_28_containers_start_in_turn_and_do_not_wait_for_readiness() {
    let plan = scenario(
        "until: 5m
cluster: {nodes: [{name: node, cpu: 4, memory: 8Gi}]}
objects:
  - apiVersion: v1
    kind: Pod
    metadata: {name: p}
    spec:
      containers:
        - {name: first, image: 'a:1', readinessProbe: {exec: {command: [x]}, initialDelaySeconds: 60}}
        - {name: second, image: 'b:1'}
        - {name: third, image: 'c:1'}
",
    );
    let (mut started, mut ready) = (Vec::new(), None);
    for (at, value) in changes(&plan) {
        if let Obj::Event(event) = &value
            && event.reason.as_str() == "Started"
        {
            started.push((at, event.message()));
        }
        if ready.is_none() && value.as_pod().is_some_and(|p| p.ready()) {
            ready = Some(at);
        }
    }
    let order: Vec<&str> = started.iter().map(|s| s.1.as_str()).collect();
    assert_eq!(order.len(), 3, "{order:?}");
    for (said, name) in order.iter().zip(["first", "second", "third"]) {
        assert!(said.contains(name), "{order:?}");
    }
    // Each after the one before, with its image to pull.
    assert!(started.windows(2).all(|w| w[0].0 + 0.1 < w[1].0), "{started:?}");
    assert!(started[2].0 < 40.0 && ready.unwrap() > 60.0, "{started:?} {ready:?}");
}

#[test]
fn row_31_allocatable_is_less_than_capacity_by_the_hard_eviction_threshold() {
    let plan = scenario(
        "until: 1m
cluster: {nodes: [{name: node, count: 2, cpu: 4, memory: 8Gi}]}
objects:
  - {apiVersion: v1, kind: Pod, metadata: {name: all}, spec: {containers: [{name: c, image: 'c:1', resources: {requests: {memory: 8Gi}}}]}}
  - {apiVersion: v1, kind: Pod, metadata: {name: rest}, spec: {containers: [{name: c, image: 'c:1', resources: {requests: {memory: 8092Mi}}}]}}
  - {apiVersion: v1, kind: Pod, metadata: {name: more}, spec: {containers: [{name: c, image: 'c:1', resources: {requests: {memory: 8093Mi}}}]}}
",
    );
    let session = run(&plan);
    let versions = &session.cluster().shared().versions;
    for (_, node) in versions.iter(Kind::Node) {
        let status = &node.as_node().unwrap().status;
        assert_eq!(status.capacity.memory, 8 << 30);
        assert_eq!(status.capacity.memory - status.allocatable.memory, 100 << 20);
        assert_eq!(status.capacity.cpu_milli, status.allocatable.cpu_milli);
    }
    let bound = ["all", "rest", "more"].map(|name| !pod_of(&plan, name).node.is_empty());
    assert_eq!(bound, [false, true, false], "8Gi less 100Mi are 8092Mi");
}
