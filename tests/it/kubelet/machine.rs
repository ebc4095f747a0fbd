//! Machines and kubelets that go down and come back.

use super::run;
use wavetank::api::Obj;
use wavetank::api::pod::{ConditionType, Phase, Truth};

const APPS: &str = "
  - {apiVersion: v1, kind: Pod, metadata: {name: plain, annotations: {wavetank.dev/stop-after: 5s}}, spec: {containers: [{name: c, image: 'c:1'}]}}
  - {apiVersion: v1, kind: Pod, metadata: {name: stuck, annotations: {wavetank.dev/stop-after: 10m}}, spec: {terminationGracePeriodSeconds: 600, containers: [{name: c, image: 'c:1'}]}}
  - {apiVersion: v1, kind: Pod, metadata: {name: vital, namespace: kube-system, annotations: {wavetank.dev/stop-after: 3s}}, spec: {priorityClassName: system-node-critical, containers: [{name: c, image: 'c:1'}]}}
";

#[test]
fn a_graceful_shutdown_ends_critical_pods_last_and_within_their_time() {
    let seen = run(&format!(
        "until: 10m
cluster:
  nodes: [{{name: node, cpu: 4, memory: 8Gi, kubelet: {{shutdownGracePeriod: 60s, shutdownGracePeriodCriticalPods: 20s}}}}]
objects:{APPS}
workload:
  - {{at: 125s, create: {{apiVersion: v1, kind: Pod, metadata: {{name: late}}, spec: {{nodeName: node, containers: [{{name: c, image: 'c:1'}}]}}}}}}
faults:
  - {{shutdown: {{node: node}}, at: 2m, for: 4m}}
"
    ));
    let failed = |name: &str| {
        let (at, pod) = seen.pod(name).into_iter().find(|(_, p)| p.terminal()).unwrap();
        assert_eq!(
            (pod.status.phase, pod.status.reason.as_str()),
            (Phase::Failed, "Terminated"),
            "{name}"
        );
        assert_eq!(
            pod.status.message.as_str(),
            "Pod was terminated in response to imminent node shutdown."
        );
        let target = pod.status.condition(ConditionType::DisruptionTarget).unwrap();
        assert_eq!(target.reason.as_str(), "TerminationByKubelet");
        at
    };
    // A grace of ten minutes is cut to the 40 s of pods that are not critical.
    assert!((125.0..127.0).contains(&failed("plain")), "{}", failed("plain"));
    assert!((160.0..162.0).contains(&failed("stuck")), "{}", failed("stuck"));
    assert!((163.0..165.0).contains(&failed("vital")), "{}", failed("vital"));
    let late = seen.last("late");
    assert_eq!(late.status.reason.as_str(), "NodeShutdown");
    assert_eq!(
        late.status.message.as_str(),
        "Pod was rejected: Pod was rejected as the node is shutting down."
    );
    // Not ready at once, not only when the leases are missed; ready again after the boot.
    let ready: Vec<(f64, bool)> = seen
        .changes
        .iter()
        .filter_map(|(at, o)| {
            let ready = o.as_node()?.status.conditions.get(ConditionType::Ready)?;
            Some((*at, ready.status == Truth::True))
        })
        .collect();
    let down = ready.iter().find(|(at, is)| *at >= 120.0 && !is).unwrap().0;
    let back = ready.iter().find(|(at, is)| *at > down && *is).unwrap().0;
    assert!(down < 120.5 && (360.0..361.0).contains(&back), "{down} {back}");
}

#[test]
fn without_a_grace_period_the_machine_just_goes() {
    let seen = run(&format!(
        "until: 5m\ncluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi}}]}}\nobjects:{APPS}\nfaults:\n  - {{shutdown: {{node: node}}, at: 2m}}\n"
    ));
    assert!(["plain", "stuck", "vital"].iter().all(|name| !seen.last(name).terminal()));
}

#[test]
fn a_kubelet_that_crashes_is_back_before_anybody_notices() {
    let seen = run(&format!(
        "until: 10m\ncluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi}}]}}\nobjects:{APPS}\nfaults:\n  - {{kubeletCrash: {{node: node}}, at: 2m}}\n"
    ));
    for name in ["plain", "stuck", "vital"] {
        assert_eq!(seen.last(name).status.containers[0].restarts, 0);
        assert!(seen.last(name).ready());
    }
    let tainted =
        seen.changes.iter().any(|(_, o)| matches!(o, Obj::Node(n) if !n.taints.is_empty()));
    assert!(!tainted);
    // It reports anew after ten seconds.
    let reports =
        seen.changes.iter().any(|(at, o)| matches!(o, Obj::Node(_)) && (130.0..130.5).contains(at));
    assert!(reports);
}

const STATIC: &str = "{apiVersion: v1, kind: Pod, metadata: {name: proxy, namespace: kube-system}, spec: {containers: [{name: c, image: 'c:1'}]}}";

#[test]
fn a_static_pod_runs_whatever_becomes_of_its_mirror() {
    let seen = super::run_with(
        &[("proxy.yaml", STATIC)],
        "until: 10m
cluster: {nodes: [{name: node, count: 2, cpu: 4, memory: 8Gi, staticPods: [proxy.yaml]}]}
workload:
  - {at: 2m, delete: pod/kube-system/proxy-node-0}
faults:
  - {crash: {node: node-1}, at: 4m, for: 1m}
  - {kubeletCrash: {node: node-0}, at: 5m}
",
    );
    let started: Vec<f64> =
        seen.events("Started").into_iter().filter(|e| e.1 == "proxy-node-0").map(|e| e.0).collect();
    assert_eq!(started.len(), 1, "nothing was started again: {started:?}");
    let gone: Vec<&(f64, String)> = seen.gone.iter().filter(|g| g.1 == "proxy-node-0").collect();
    assert!(gone.len() == 1 && (120.0..121.0).contains(&gone[0].0), "{gone:?}");
    for name in ["proxy-node-0", "proxy-node-1"] {
        let mirror = seen.last(name);
        assert!(mirror.ready(), "{name}");
        assert!(mirror.meta.annotation("kubernetes.io/config.mirror").is_some());
        assert_eq!(mirror.meta.controller().unwrap().name.to_string(), name[6..]);
    }
    // The mirror that was made again shows the start of the pod behind it.
    let (first, second) = (seen.pod("proxy-node-0"), seen.last("proxy-node-0"));
    assert_ne!(first[0].1.meta.uid, second.meta.uid);
    assert_eq!(first.iter().find(|p| p.1.ready()).unwrap().1.status.start, second.status.start);
    // A machine that was away starts its own again.
    let again = seen.events("Started").into_iter().filter(|e| e.1 == "proxy-node-1").count();
    assert_eq!(again, 2);
}

#[test]
fn unhealthy_devices_are_offered_no_more() {
    let pod = |name: &str, n: u32| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: c, image: 'c:1', resources: {{limits: {{nvidia.com/gpu: {n}}}}}}}]}}}}"
        )
    };
    let seen = run(&format!(
        "until: 30m
cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, resources: {{nvidia.com/gpu: 4}}}}]}}
objects: [{}]
workload:
  - {{at: 3m, create: {}}}
  - {{at: 3m, create: {}}}
faults:
  - {{deviceFailure: {{resource: nvidia.com/gpu, devices: 2, on: {{node: node}}}}, at: 2m, for: 10m}}
",
        pod("before", 1),
        pod("fits", 1),
        pod("waits", 2),
    ));
    assert!(seen.last("before").ready() && seen.last("before").status.containers[0].restarts == 0);
    let offered: Vec<(f64, i64)> = seen
        .changes
        .iter()
        .filter_map(|(at, o)| {
            Some((*at, o.as_node()?.status.allocatable.scalar("nvidia.com/gpu".into())))
        })
        .collect();
    let less = offered.iter().find(|(_, n)| *n == 2).unwrap().0;
    assert!((120.0..131.0).contains(&less), "{offered:?}");
    let started = |name: &str| seen.events("Started").into_iter().find(|e| e.1 == name).unwrap().0;
    assert!(
        started("fits") < 190.0 && (720.0..740.0).contains(&started("waits")),
        "{}",
        started("waits")
    );
}
