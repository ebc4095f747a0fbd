//! Images: pull policies, bandwidth, layers, registries that do not answer, and garbage.

use super::{Seen, run};
use wavetank::api::pod::{ContainerState, Phase};

/// A pod of one container with an image and a policy.
fn pod(name: &str, image: &str, policy: &str) -> String {
    format!(
        "  - {{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: c, image: '{image}', imagePullPolicy: {policy}}}]}}}}\n"
    )
}

/// How long the pull of an image took by the Event's own words, seconds.
fn took(seen: &Seen, image: &str) -> Vec<f64> {
    let said = format!("Successfully pulled image \"{image}\" in ");
    let texts = seen.events("Pulled").into_iter().filter_map(|e| {
        e.2.strip_prefix(&said).and_then(|s| s.strip_suffix('s')).and_then(|s| s.parse().ok())
    });
    texts.collect()
}

/// What a pod's container waited for, in order, each once.
fn reasons(seen: &Seen, name: &str) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for (_, pod) in seen.pod(name) {
        if let Some(c) = pod.status.containers.first()
            && let ContainerState::Waiting { reason } = c.state
            && list.last().is_none_or(|last| last != reason.as_str())
        {
            list.push(reason.to_string());
        }
    }
    list
}

#[test]
fn pull_policies_differ_in_when_they_ask() {
    let seen = run(&format!(
        "until: 3m\ncluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, images: ['a:1']}}]}}\nobjects:\n{}{}{}{}",
        pod("there", "a:1", "IfNotPresent"),
        pod("asks", "a:1", "Always"),
        pod("never", "a:1", "Never"),
        pod("lacks", "b:1", "Never"),
    ));
    assert_eq!(seen.at("Pulled", "already present on machine").len(), 2);
    let asked = took(&seen, "a:1");
    assert!(asked.len() == 1 && (0.1..0.5).contains(&asked[0]), "{asked:?}");
    assert!(took(&seen, "b:1").is_empty());
    let lacks = seen.last("lacks");
    assert_eq!(lacks.status.phase, Phase::Pending);
    assert_eq!(reasons(&seen, "lacks").last().unwrap(), "ErrImageNeverPull");
    let told = seen.at("ErrImageNeverPull", "is not present with pull policy of Never");
    assert!(told.len() >= 2, "{told:?}");
}

#[test]
fn layers_that_are_there_are_not_transferred_again() {
    let seen = run(&format!(
        "until: 3m
cluster:
  nodes: [{{name: node, cpu: 4, memory: 8Gi}}]
  latencies: {{pullBytesPerSecond: 10M}}
  images:
    - {{name: 'a:1', layers: [{{name: base, size: 100M}}, {{name: a, size: 20M}}]}}
    - {{name: 'b:1', layers: [{{name: base, size: 100M}}, {{name: b, size: 50M}}]}}
objects:
{}{}",
        pod("first", "a:1", "IfNotPresent"),
        pod("second", "b:1", "IfNotPresent"),
    ));
    let (a, b) = (took(&seen, "a:1")[0], took(&seen, "b:1")[0]);
    // Whichever comes first brings the base.
    assert!(
        (a - 12.0).abs() < 0.01 && (b - 5.0).abs() < 0.01
            || (a - 2.0).abs() < 0.01 && (b - 15.0).abs() < 0.01,
        "{a} {b}"
    );
}

#[test]
fn pulls_of_a_node_wait_for_each_other_or_share_its_bandwidth() {
    let spans = |kubelet: &str| {
        let seen = run(&format!(
            "until: 3m\ncluster:\n  nodes: [{{name: node, cpu: 4, memory: 8Gi{kubelet}}}]\n  latencies: {{pullBytesPerSecond: 10M, mount: 300ms, sandbox: 300ms}}\nobjects:\n{}{}",
            pod("one", "a:1", "IfNotPresent"),
            pod("two", "b:1", "IfNotPresent"),
        ));
        let started = seen.events("Started").iter().map(|e| e.0).collect::<Vec<f64>>();
        (took(&seen, "a:1")[0].max(took(&seen, "b:1")[0]), started)
    };
    // 100 MB at 10 MB/s: one after the other, or both in twice the time.
    let (longest, started) = spans("");
    assert!((longest - 10.0).abs() < 0.1 && started[1] - started[0] > 9.0, "{longest} {started:?}");
    let parallel = ", kubelet: {serializeImagePulls: false, maxParallelImagePulls: 2}";
    let (longest, started) = spans(parallel);
    assert!((longest - 20.0).abs() < 0.3 && started[1] - started[0] < 1.0, "{longest} {started:?}");
}

#[test]
fn nodes_share_the_bandwidth_of_the_registry_where_it_has_one() {
    let longest = |registry: &str| {
        let seen = run(&format!(
            "until: 5m
cluster:
  nodes: [{{name: node, count: 10, cpu: 4, memory: 8Gi}}]
  latencies: {{pullBytesPerSecond: 50M, mount: 300ms, sandbox: 300ms}}{registry}
objects:
  - {{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: d}}, spec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: 'a:1'}}]}}}}}}}}
"
        ));
        took(&seen, "a:1").into_iter().fold(0.0, f64::max)
    };
    assert!((longest("") - 2.0).abs() < 0.01);
    // Ten times 100 MB at 100 MB/s.
    let shared = longest("\n  registry: {bytesPerSecond: 100M}");
    assert!((9.0..10.5).contains(&shared), "{shared}");
}

#[test]
fn a_registry_that_does_not_answer_is_asked_again_after_a_back_off() {
    let seen = run(&format!(
        "until: 20m
cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, images: ['quay.io/there:1']}}]}}
objects:
{}workload:
  - {{at: 60s, create: {{apiVersion: v1, kind: Pod, metadata: {{name: new}}, spec: {{containers: [{{name: c, image: 'quay.io/new:1'}}]}}}}}}
  - {{at: 60s, create: {{apiVersion: v1, kind: Pod, metadata: {{name: there}}, spec: {{containers: [{{name: c, image: 'quay.io/there:1', imagePullPolicy: IfNotPresent}}]}}}}}}
  - {{at: 60s, create: {{apiVersion: v1, kind: Pod, metadata: {{name: asks}}, spec: {{containers: [{{name: c, image: 'quay.io/there:1', imagePullPolicy: Always}}]}}}}}}
  - {{at: 60s, create: {{apiVersion: v1, kind: Pod, metadata: {{name: other}}, spec: {{containers: [{{name: c, image: 'ghcr.io/other:1'}}]}}}}}}
faults:
  - {{registryDown: quay.io, at: 30s, for: 10m}}
",
        pod("before", "quay.io/before:1", "IfNotPresent"),
    ));
    let started = |name: &str| {
        let all = seen.events("Started").into_iter().find(|e| e.1 == name);
        all.unwrap_or_else(|| panic!("{name} never started")).0
    };
    assert!(started("before") < 30.0 && started("there") < 65.0 && started("other") < 70.0);
    for name in ["new", "asks"] {
        // Back in at most the longest back-off and a worker's turn.
        assert!((630.0..630.0 + 320.0).contains(&started(name)), "{name} {}", started(name));
        let said = reasons(&seen, name);
        assert!(said.windows(2).any(|w| w == ["ErrImagePull", "ImagePullBackOff"]), "{said:?}");
        assert_eq!(seen.last(name).status.containers[0].restarts, 0);
    }
    let text = "Failed to pull image \"quay.io/new:1\"";
    let failed = seen.at("Failed", text);
    // New Events of the same words are folded: what is counted are its writes.
    assert!((4..=8).contains(&failed.len()), "{failed:?}");
    let gaps: Vec<f64> = failed.windows(2).map(|w| w[1] - w[0]).collect();
    for (gap, least) in gaps.iter().zip([10.0, 20.0, 40.0, 80.0, 160.0]) {
        assert!((least..least + 17.0).contains(gap), "{gaps:?}");
    }
    assert!(!seen.at("BackOff", "Back-off pulling image \"quay.io/new:1\"").is_empty());
    assert!(!seen.at("Failed", "Error: ImagePullBackOff").is_empty());
}

#[test]
fn a_pull_under_way_is_lost_with_its_registry() {
    let seen = run(&format!(
        "until: 5m
cluster:
  nodes: [{{name: node, cpu: 4, memory: 8Gi}}]
  latencies: {{pullBytesPerSecond: 2M}}
objects:
{}faults:
  - {{registryDown: all, at: 20s, for: 15s}}
",
        pod("one", "a:1", "IfNotPresent"),
    ));
    let failed = seen.at("Failed", "Failed to pull image");
    assert!((20.0..20.5).contains(&failed[0]), "{failed:?}");
    // It begins anew once the registry answers.
    let started = seen.events("Started")[0].0;
    assert!((85.0..110.0).contains(&started), "{started}");
}

#[test]
fn unused_images_go_when_the_disk_is_full_enough() {
    let job = |name: &str, at: &str, image: &str| {
        format!(
            "  - {{at: {at}, create: {{apiVersion: v1, kind: Pod, metadata: {{name: {name}, annotations: {{wavetank.dev/exit-after: 20s}}}}, spec: {{restartPolicy: Never, containers: [{{name: c, image: '{image}', imagePullPolicy: IfNotPresent}}]}}}}}}\n"
        )
    };
    let seen = run(&format!(
        "until: 40m
cluster:
  nodes: [{{name: node, cpu: 4, memory: 8Gi, ephemeralStorage: 10G, kubelet: {{evictionHard: {{memory.available: 100Mi}}}}}}]
  latencies: {{pullBytesPerSecond: 500M}}
  images: [{{name: 'a:1', size: 3G}}, {{name: 'b:1', size: 3G}}, {{name: 'c:1', size: 3G}}]
workload:
{}{}{}{}{}",
        job("p1", "1s", "a:1"),
        job("p2", "2m", "b:1"),
        job("p3", "4m", "c:1"),
        job("p4", "24m", "b:1"),
        job("p5", "25m", "a:1"),
    ));
    // 9 of 10 GB: at the next tick the oldest unused one goes, and has to be pulled again.
    assert_eq!(took(&seen, "a:1").len(), 2);
    assert_eq!(took(&seen, "b:1").len(), 1);
}
