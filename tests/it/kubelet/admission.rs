//! Pods that a kubelet refuses.

use super::run;
use wavetank::api::pod::Phase;

/// Pods with `nodeName`, past the scheduler, on a node of 4 cpus, 8Gi and three pods.
fn bound(nodes: &str, pods: &[(&str, &str)]) -> super::Seen {
    let objects: Vec<String> = pods
        .iter()
        .map(|(name, spec)| format!("  - {{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeName: node, {spec}}}}}\n"))
        .collect();
    run(&format!("until: 3m\ncluster: {{nodes: [{nodes}]}}\nobjects:\n{}", objects.concat()))
}

const NODE: &str = "{name: node, cpu: 4, memory: 8Gi, pods: 3, resources: {example.com/card: 2}}";

fn container(requests: &str) -> String {
    format!(
        "containers: [{{name: c, image: 'c:1', resources: {{requests: {{{requests}}}, limits: {{{requests}}}}}}}]"
    )
}

#[test]
fn a_pod_that_does_not_fit_fails_for_good_with_its_reason() {
    let cases = [
        ("cpu: 5", "OutOfcpu", "cpu, requested: 5000, used: 0, capacity: 4000"),
        (
            "memory: 8Gi",
            "OutOfmemory",
            "memory, requested: 8589934592, used: 0, capacity: 8485076992",
        ),
        (
            "example.com/card: 3",
            "OutOfexample.com/card",
            "example.com/card, requested: 3, used: 0, capacity: 2",
        ),
    ];
    for (wants, reason, message) in cases {
        let seen = bound(NODE, &[("p", &container(wants))]);
        let pod = seen.last("p");
        assert_eq!((pod.status.phase, pod.status.reason.as_str()), (Phase::Failed, reason));
        let whole = format!("Pod was rejected: Node didn't have enough resource: {message}");
        assert_eq!(pod.status.message.as_str(), whole);
        assert_eq!(seen.events(reason).len(), 1);
        assert!(seen.events("Started").is_empty());
    }
}

#[test]
fn pods_that_hold_resources_count_and_those_that_have_ended_do_not() {
    let ends = "restartPolicy: Never, ".to_owned() + &container("cpu: 3");
    let text = format!(
        "until: 5m
cluster: {{nodes: [{NODE}]}}
objects:
  - {{apiVersion: v1, kind: Pod, metadata: {{name: first, annotations: {{wavetank.dev/exit-after: 60s}}}}, spec: {{nodeName: node, {ends}}}}}
workload:
  - {{at: 30s, create: {{apiVersion: v1, kind: Pod, metadata: {{name: early}}, spec: {{nodeName: node, {ends}}}}}}}
  - {{at: 90s, create: {{apiVersion: v1, kind: Pod, metadata: {{name: late}}, spec: {{nodeName: node, {ends}}}}}}}
"
    );
    let seen = run(&text);
    assert_eq!(seen.last("first").status.phase, Phase::Succeeded);
    let early = seen.last("early");
    assert_eq!(early.status.reason.as_str(), "OutOfcpu");
    assert!(early.status.message.as_str().ends_with("requested: 3000, used: 3000, capacity: 4000"));
    assert_eq!(seen.last("late").status.phase, Phase::Running);
}

#[test]
fn a_node_takes_no_more_pods_than_it_may() {
    let spec = container("cpu: 100m");
    let names = ["a", "b", "c", "d"];
    let seen = bound(NODE, &names.map(|name| (name, spec.as_str())));
    let refused: Vec<&str> =
        names.into_iter().filter(|n| seen.last(n).status.reason.as_str() == "OutOfpods").collect();
    assert_eq!(refused.len(), 1);
    let message = seen.last(refused[0]).status.message;
    assert!(message.as_str().ends_with("pods, requested: 1, used: 3, capacity: 3"), "{message}");
}

#[test]
fn labels_ports_and_taints_are_checked_where_the_scheduler_was_passed_by() {
    let spec =
        |more: &str, ports: &str| format!("{more} containers: [{{name: c, image: 'c:1'{ports}}}]");
    let port = ", ports: [{containerPort: 80, hostPort: 80}]";
    let node =
        "{name: node, cpu: 4, memory: 8Gi, labels: {disk: ssd}, taints: ['team=a:NoExecute']}";
    let free = "tolerations: [{operator: Exists}], ";
    let seen = bound(
        node,
        &[
            ("fits", &spec(&format!("{free} nodeSelector: {{disk: ssd}},"), port)),
            ("label", &spec(&format!("{free} nodeSelector: {{disk: hdd}},"), "")),
            ("port", &spec(free, port)),
            ("os", &spec(&format!("{free} nodeSelector: {{kubernetes.io/os: windows}},"), "")),
        ],
    );
    assert_eq!(seen.last("fits").status.phase, Phase::Running);
    let said = |name: &str| {
        let pod = seen.last(name);
        assert_eq!(pod.status.phase, Phase::Failed, "{name}");
        (pod.status.reason.as_str(), pod.status.message.as_str())
    };
    assert_eq!(said("label").0, "NodeAffinity");
    assert!(
        said("label")
            .1
            .contains("Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity")
    );
    assert_eq!(said("port").0, "NodePorts");
    assert_eq!(said("os").0, "PodOSSelectorNodeLabelDoesNotMatch");
    let seen = bound(node, &[("p", &spec("", ""))]);
    assert_eq!(seen.last("p").status.reason.as_str(), "TaintToleration");
}

/// Three pods of a node of 4 cpus, and a critical one of so much that comes after a minute.
fn and_then_a_critical_pod(cpu: &str, grace: &str) -> super::Seen {
    let container = |resources: &str| {
        format!("containers: [{{name: c, image: 'c:1', resources: {{{resources}}}}}]")
    };
    let pod = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeName: node, {spec}}}}}"
        )
    };
    let limited = container("requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}");
    let small =
        format!("terminationGracePeriodSeconds: {grace}, {}", container("requests: {cpu: 1}"));
    let large =
        format!("terminationGracePeriodSeconds: {grace}, {}", container("requests: {cpu: 1500m}"));
    let urgent = container(&format!("requests: {{cpu: {cpu}}}"));
    run(&format!(
        "until: 3m
cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi}}]}}
objects: [{}, {}, {}]
workload:
  - {{at: 60s, create: {}}}
",
        pod("guaranteed", &limited),
        pod("small", &small),
        pod("large", &large),
        pod("urgent", &format!("priorityClassName: system-node-critical, {urgent}")),
    ))
}

#[test]
fn a_critical_pod_has_the_kubelet_end_the_pod_that_leaves_least_to_be_found() {
    // Half a cpu is free: 900m are missing for 1400m, and `small` (1000m) is enough.
    let seen = and_then_a_critical_pod("1400m", "0");
    let small = seen.last("small");
    assert_eq!((small.status.phase, small.status.reason.as_str()), (Phase::Failed, "Preempting"));
    assert_eq!(small.status.message.as_str(), "Preempted in order to admit critical pod");
    for name in ["guaranteed", "large", "urgent"] {
        assert_eq!(seen.last(name).status.phase, Phase::Running, "{name}");
    }
    assert_eq!(seen.events("Preempting").len(), 1);
    // For 1700m 1200m are missing: `large` by itself, not two pods.
    let seen = and_then_a_critical_pod("1700m", "0");
    assert_eq!(seen.last("large").status.reason.as_str(), "Preempting");
    assert_eq!(seen.last("small").status.phase, Phase::Running);
    // All burstable ones before one that asked for guarantees; and then that, too.
    let seen = and_then_a_critical_pod("2900m", "0");
    assert_eq!(seen.last("guaranteed").status.phase, Phase::Running);
    let seen = and_then_a_critical_pod("3500m", "0");
    for name in ["guaranteed", "small", "large"] {
        assert_eq!(seen.last(name).status.reason.as_str(), "Preempting", "{name}");
    }
    assert_eq!(seen.last("urgent").status.phase, Phase::Running);
}

#[test]
fn a_critical_pod_that_cannot_fit_ends_nobody() {
    let seen = and_then_a_critical_pod("5", "0");
    assert_eq!(seen.last("urgent").status.reason.as_str(), "OutOfcpu");
    assert!(seen.events("Preempting").is_empty());
}
