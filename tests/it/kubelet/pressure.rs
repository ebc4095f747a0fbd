//! Memory, disk and processes that run short: containers killed, pods evicted.

use super::{Seen, run};
use wavetank::api::Obj;
use wavetank::api::pod::{ConditionType, ContainerState, Phase, Truth};

/// A Deployment of one pod with requests and limits of memory, labelled with its name.
fn app(name: &str, resources: &str, more: &str) -> String {
    format!(
        "  - {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{selector: {{matchLabels: {{app: {name}}}}}, \
         template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{{more} containers: [{{name: main, image: 'a:1', resources: {{{resources}}}}}]}}}}}}}}\n"
    )
}

/// The node's conditions over time.
fn conditions(seen: &Seen, kind: ConditionType) -> Vec<(f64, bool)> {
    let mut turns: Vec<(f64, bool)> = Vec::new();
    for (at, obj) in &seen.changes {
        let Obj::Node(node) = obj else { continue };
        let is = node.status.conditions.get(kind).is_some_and(|c| c.status == Truth::True);
        if turns.last().map_or(is, |last| last.1 != is) {
            turns.push((*at, is));
        }
    }
    turns
}

#[test]
fn a_container_above_its_memory_limit_is_killed_and_starts_again() {
    let seen = run(&format!(
        "until: 20m
cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi}}]}}
objects:
{}usage:
  - {{workload: deployment/leak, memory: {{perPod: {{growth: {{start: 100Mi, perMinute: 60Mi, max: 2Gi}}}}}}}}
",
        app("leak", "requests: {memory: 100Mi}, limits: {memory: 400Mi}", "")
    ));
    let pods = seen.changes.iter().filter_map(|(at, o)| Some((*at, o.as_pod()?)));
    let killed: Vec<f64> = pods
        .filter(|(_, p)| {
            p.status.containers.first().is_some_and(|c| {
                matches!(c.state, ContainerState::Terminated { exit_code: 137, reason, .. } if reason.as_str() == "OOMKilled")
            })
        })
        .map(|(at, _)| at)
        .collect();
    let started = seen.at("Started", "container main");
    assert!(killed.len() >= 2 && started.len() >= 3, "{killed:?} {started:?}");
    // 300Mi more take five minutes, each time from the start of the run.
    assert!((300.0..301.5).contains(&(killed[0] - started[0])), "{killed:?} {started:?}");
    assert!(seen.events("Evicted").is_empty());
}

#[test]
fn a_container_that_stays_below_its_limit_costs_no_event() {
    let text = |usage: &str| {
        format!(
            "until: 1h\ncluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi}}]}}\nobjects:\n{}{usage}",
            app("calm", "requests: {memory: 100Mi}, limits: {memory: 400Mi}", "")
        )
    };
    let calm = "usage:\n  - {workload: deployment/calm, memory: {perPod: 300Mi}}\n";
    let scrapes = 3600 / 15;
    let (with, without) = (run(&text(calm)).steps, run(&text("")).steps);
    // The metrics server scrapes and hears of each change of the pod; the kubelet does nothing.
    assert!(with - without <= scrapes + 8, "{with} {without}");
}

const SHORT: &str = "cluster: {nodes: [{name: node, cpu: 4, memory: 1Gi}]}\n";

#[test]
fn short_of_memory_the_pod_furthest_above_its_request_goes_first() {
    let objects = [
        app("modest", "requests: {memory: 300Mi}", ""),
        app("greedy", "requests: {memory: 100Mi}", ""),
        app("urgent", "requests: {memory: 50Mi}", "priority: 1000,"),
    ];
    let seen = run(&format!(
        "until: 30m\n{SHORT}objects:\n{}usage:
  - {{workload: deployment/modest, memory: {{perPod: 250Mi}}}}
  - {{workload: deployment/urgent, memory: {{perPod: 280Mi}}}}
  - {{workload: deployment/greedy, memory: {{perPod: {{growth: {{start: 100Mi, perMinute: 60Mi, max: 500Mi}}}}}}}}
",
        objects.concat().replace("priority: 1000,", "priorityClassName: urgent,")
            + "  - {apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: urgent}, value: 1000}\n"
    ));
    let evicted = seen.events("Evicted");
    assert!(evicted[0].1.starts_with("greedy-"), "{evicted:?}");
    // 1024 - 100 - 530 leave 394Mi: reached after 4.9 minutes, seen at a look every 10 s.
    let started = seen.at("Started", "container main");
    let before = started.iter().copied().filter(|at| *at < evicted[0].0);
    let span = evicted[0].0 - before.fold(0.0, f64::max);
    assert!((292.0..305.0).contains(&span), "{span}");
    let text = &evicted[0].2;
    assert!(
        text.starts_with(
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: "
        ),
        "{text}"
    );
    assert!(
        text.contains("Container main was using ")
            && text.ends_with(", request is 100Mi, has larger consumption of memory. "),
        "{text}"
    );
    let pod = seen.last(&evicted[0].1);
    assert_eq!((pod.status.phase, pod.status.reason.as_str()), (Phase::Failed, "Evicted"));
    assert_eq!(pod.status.message.as_str(), text);
    let target = pod.status.condition(ConditionType::DisruptionTarget).unwrap();
    assert_eq!(target.reason.as_str(), "TerminationByKubelet");
    // A new one is made, which does not go where memory is short while the condition lasts.
    let turns = conditions(&seen, ConditionType::MemoryPressure);
    assert!(turns.len() >= 2 && turns[0].1, "{turns:?}");
    let last = evicted.iter().map(|e| e.0).filter(|at| *at < turns[1].0).fold(0.0, f64::max);
    assert!((300.0..330.0).contains(&(turns[1].0 - last)), "{turns:?} {evicted:?}");
    assert_eq!(
        seen.at("EvictionThresholdMet", "Attempting to reclaim memory").len(),
        evicted.len()
    );
    assert!(!seen.at("NodeHasInsufficientMemory", "Node node status is now").is_empty());
    assert!(seen.events("SystemOOM").is_empty());
}

#[test]
fn soft_thresholds_wait_and_leave_the_pod_its_grace() {
    let seen = run(&format!(
        "until: 15m
cluster:
  nodes:
    - name: node
      cpu: 4
      memory: 1Gi
      kubelet:
        evictionSoft: {{memory.available: 30%}}
        evictionSoftGracePeriod: {{memory.available: 90s}}
        evictionMaxPodGracePeriod: 20
objects:
{}usage:
  - {{workload: deployment/one, memory: {{perPod: {{series: [{{at: 0s, value: 100Mi}}, {{at: 2m, value: 800Mi}}]}}}}}}
",
        app("one", "requests: {memory: 100Mi}", "")
            .replace("metadata: {labels:", "metadata: {annotations: {wavetank.dev/stop-after: 8s}, labels:")
    ));
    let evicted = seen.events("Evicted");
    // Seen within 10 s after the step, then a minute and a half, at a look.
    assert!((210.0..=230.5).contains(&evicted[0].0), "{evicted:?}");
    let failed = seen.pod(&evicted[0].1).into_iter().find(|(_, p)| p.status.phase == Phase::Failed);
    let span = failed.unwrap().0 - evicted[0].0;
    assert!((8.0..10.0).contains(&span), "{span}");
}

#[test]
fn a_node_without_any_memory_kills_by_score() {
    let objects = [
        app(
            "guaranteed",
            "requests: {memory: 500Mi, cpu: 100m}, limits: {memory: 500Mi, cpu: 100m}",
            "",
        ),
        app("nothing", "", ""),
    ];
    let seen = run(&format!(
        "until: 10m\n{SHORT}objects:\n{}usage:
  - {{workload: deployment/guaranteed, memory: {{perPod: 480Mi}}}}
  - {{workload: deployment/nothing, memory: {{perPod: {{series: [{{at: 0s, value: 10Mi}}, {{at: 121s, value: 700Mi}}, {{at: 122s, value: 10Mi}}]}}}}}}
",
        objects.concat()
    ));
    let told = seen.at("SystemOOM", "victim process: main");
    assert!((121.0..121.5).contains(&told[0]), "{told:?}");
    let killed = seen.changes.iter().filter_map(|(_, o)| o.as_pod()).filter(|p| {
        p.status.containers.first().is_some_and(|c| {
            matches!(c.state, ContainerState::Terminated { reason, .. } if reason.as_str() == "OOMKilled")
        })
    });
    for pod in killed {
        assert!(pod.meta.name.to_string().starts_with("nothing-"));
    }
}

#[test]
fn a_pod_above_its_limit_of_local_storage_is_evicted() {
    let seen = run(&format!(
        "until: 10m
cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, ephemeralStorage: 100Gi}}]}}
objects:
{}usage:
  - {{workload: deployment/logs, ephemeralStorage: {{perPod: {{growth: {{start: 0, perMinute: 1Gi, max: 50Gi}}}}}}}}
",
        app("logs", "limits: {ephemeral-storage: 2Gi}", "")
    ));
    let evicted = seen.events("Evicted");
    assert!(evicted.len() >= 2, "{evicted:?}");
    assert_eq!(
        evicted[0].2,
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. "
    );
    let span = evicted[0].0 - seen.at("Started", "container main")[0];
    assert!((120.0..131.0).contains(&span), "{span}");
    // The node itself is not short of anything.
    assert!(conditions(&seen, ConditionType::DiskPressure).is_empty());
}

#[test]
fn a_full_disk_evicts_the_largest_user_and_keeps_new_pods_away() {
    let objects = [
        app("small", "requests: {ephemeral-storage: 1Gi}", ""),
        app("large", "requests: {ephemeral-storage: 1Gi}", ""),
    ];
    let seen = run(&format!(
        "until: 20m
cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, ephemeralStorage: 20Gi}}]}}
objects:
{}usage:
  - {{workload: deployment/small, ephemeralStorage: {{perPod: 2Gi}}}}
  - {{workload: deployment/large, ephemeralStorage: {{perPod: {{growth: {{start: 1Gi, perMinute: 2Gi, max: 19Gi}}}}}}}}
",
        objects.concat()
    ));
    let evicted = seen.events("Evicted");
    assert!(evicted[0].1.starts_with("large-"), "{evicted:?}");
    assert!(
        evicted[0]
            .2
            .contains("low on resource: ephemeral-storage. Threshold quantity: 3Gi, available: "),
        "{evicted:?}"
    );
    assert!(conditions(&seen, ConditionType::DiskPressure)[0].1);
    let small =
        seen.changes.iter().filter_map(|(_, o)| o.as_pod()).any(|p| {
            p.meta.name.to_string().starts_with("small-") && p.status.phase == Phase::Failed
        });
    assert!(!small);
}
