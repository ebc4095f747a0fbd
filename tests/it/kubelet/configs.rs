//! ConfigMaps and Secrets: what is missing holds a container or a pod, what changes reaches volumes
//! with the pod's next sync, and the environment never.

use super::{Seen, run, traced};
use wavetank::api::pod::{ContainerState, Phase};

/// A pod whose container has this in its body, and these volumes.
fn pod(name: &str, container: &str, volumes: &str) -> String {
    format!(
        "  - {{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: c, image: 'a:1'{container}}}], volumes: [{volumes}]}}}}\n"
    )
}

fn config(kind: &str, name: &str, data: &str) -> String {
    format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}}}, {data}}}")
}

fn cluster(objects: &str, workload: &str) -> String {
    format!(
        "until: 10m\ncluster: {{nodes: [{{name: node, cpu: 8, memory: 16Gi, images: ['a:1']}}]}}\nobjects:\n{objects}workload:\n{workload}"
    )
}

fn reason(seen: &Seen, name: &str) -> String {
    let pod = seen.last(name);
    match pod.status.containers[0].state {
        ContainerState::Waiting { reason } => reason.to_string(),
        ContainerState::Running { .. } => "running".to_owned(),
        ContainerState::Terminated { .. } => "terminated".to_owned(),
    }
}

/// When the pod's container was first seen to run.
fn runs(seen: &Seen, name: &str) -> Option<f64> {
    let started =
        |c: &wavetank::api::pod::ContainerStatus| matches!(c.state, ContainerState::Running { .. });
    seen.pod(name).iter().find(|(_, p)| p.status.containers.iter().any(started)).map(|p| p.0)
}

#[test]
fn an_environment_without_its_config_map_holds_the_container() {
    let env = |kind: &str, more: &str| format!(", envFrom: [{{{kind}: {{name: later{more}}}}}]");
    let key = |kind: &str, key: &str, more: &str| {
        format!(", env: [{{name: A, valueFrom: {{{kind}: {{name: there, key: {key}{more}}}}}}}]")
    };
    let objects = [
        format!("  - {}\n", config("ConfigMap", "there", "data: {a: '1'}")),
        pod("waits", &env("configMapRef", ""), ""),
        pod("forever", ", envFrom: [{secretRef: {name: never}}]", ""),
        pod("optional", &env("secretRef", ", optional: true"), ""),
        pod("key", &key("configMapKeyRef", "a", ""), ""),
        pod("no-key", &key("configMapKeyRef", "b", ""), ""),
        pod("no-key-needed", &key("configMapKeyRef", "b", ", optional: true"), ""),
    ]
    .concat();
    let later = config("ConfigMap", "later", "data: {x: 'y'}");
    let seen = run(&cluster(&objects, &format!("  - {{at: 100s, apply: {later}}}\n")));
    for fine in ["optional", "key", "no-key-needed"] {
        assert!(runs(&seen, fine).is_some_and(|at| at < 5.0), "{fine}");
    }
    let forever = seen.last("forever");
    assert_eq!(forever.status.phase, Phase::Pending);
    assert_eq!(reason(&seen, "forever"), "CreateContainerConfigError");
    let said = seen.at("Failed", "Error: secret \"never\" not found");
    assert!(said.len() > 5, "tried again with each sync: {said:?}");
    let gap = said[4] - said[3];
    assert!((9.9..17.0).contains(&gap), "10 s and up to half as much more: {gap}");
    assert_eq!(reason(&seen, "no-key"), "CreateContainerConfigError");
    assert!(!seen.at("Failed", "couldn't find key b in ConfigMap default/there").is_empty());
    // It is there after 100 s: the next sync finds it.
    let first = runs(&seen, "waits").expect("it runs in the end");
    assert!((100.0..118.0).contains(&first), "{first}");
    assert_eq!(seen.last("waits").status.containers[0].restarts, 0);
}

#[test]
fn a_volume_without_its_config_map_holds_the_pod() {
    let mount = ", volumeMounts: [{name: v, mountPath: /v}]";
    let objects = [
        pod("waits", mount, "{name: v, configMap: {name: later}}"),
        pod("forever", mount, "{name: v, secret: {secretName: never}}"),
        pod("optional", mount, "{name: v, configMap: {name: later, optional: true}}"),
        pod("item", mount, "{name: v, configMap: {name: there, items: [{key: b, path: b}]}}"),
        format!("  - {}\n", config("ConfigMap", "there", "data: {a: '1'}")),
    ]
    .concat();
    let later = config("ConfigMap", "later", "data: {x: 'y'}");
    let seen = run(&cluster(&objects, &format!("  - {{at: 100s, apply: {later}}}\n")));
    assert!(runs(&seen, "optional").is_some_and(|at| at < 5.0));
    assert_eq!(reason(&seen, "forever"), "ContainerCreating");
    let why = "MountVolume.SetUp failed for volume \"v\" : secret \"never\" not found";
    let said = seen.at("FailedMount", why);
    // After 0, 0.5, 1, 2, 4, 8 s and so on: the first ones come one by one.
    assert!(said.len() >= 5, "{said:?}");
    let gaps: Vec<f64> = said.windows(2).map(|w| w[1] - w[0]).collect();
    for (gap, expected) in gaps.iter().zip([0.5, 1.0, 2.0, 4.0]) {
        assert!((expected..expected + 0.25).contains(gap), "{gaps:?}");
    }
    let late = seen.at("FailedMount", "unmounted volumes=[v]");
    assert!((123.0..124.0).contains(&late[0]), "{late:?}");
    assert!(!seen.at("FailedMount", "references non-existent config key: b").is_empty());
    // Tried after 64 s, and then after 128 s.
    let first = runs(&seen, "waits").expect("it runs in the end");
    assert!((127.0..150.0).contains(&first), "{first}");
}

#[test]
fn a_change_reaches_volumes_with_the_next_sync_and_nothing_else() {
    let mount = ", volumeMounts: [{name: v, mountPath: /v}]";
    let volume = "{name: v, configMap: {name: there}}";
    let mut objects: String = (0..8).map(|i| pod(&format!("p{i}"), mount, volume)).collect();
    let file = ", volumeMounts: [{name: v, mountPath: /v/a, subPath: a}]";
    objects += &pod("file", file, volume);
    objects += &pod("environment", ", envFrom: [{configMapRef: {name: there}}]", "");
    objects += &format!("  - {}\n", config("ConfigMap", "there", "data: {a: '1'}"));
    let change = |at: &str, a: &str| {
        let changed = config("ConfigMap", "there", &format!("data: {{a: '{a}'}}"));
        format!("  - {{at: {at}, apply: {changed}}}\n")
    };
    let step = "its containers see the new content of a volume";
    let at = |seen: &Seen| {
        let all = seen.told.iter().filter(|(_, what)| *what == step);
        all.map(|(at, _)| *at).collect::<Vec<f64>>()
    };
    let seen = traced(&cluster(&objects, &change("100s", "2")));
    let seen_at = at(&seen);
    assert_eq!(seen_at.len(), 8, "each of the volumes once: {seen_at:?}");
    assert!(seen_at.iter().all(|at| (100.0..190.2).contains(at)), "{seen_at:?}");
    let (least, most) = (seen_at[0], seen_at[7]);
    assert!(most - least > 20.0, "each pod has a clock of its own: {seen_at:?}");
    // Two changes before a sync are seen as one, the newer.
    let both = format!("{}{}", change("100s", "2"), change("100500ms", "3"));
    let twice = at(&traced(&cluster(&objects, &both)));
    assert!((8..=10).contains(&twice.len()), "{twice:?}");
    // The pods themselves know nothing of it.
    assert!(seen.last("environment").status.containers[0].restarts == 0);
}

#[test]
fn a_sealed_config_map_refuses_changes() {
    let sealed = |a: &str| {
        let text = format!("data: {{a: '{a}'}}, immutable: true");
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: sealed}}, {text}}}")
    };
    let objects = format!("  - {}\n{}", sealed("1"), pod("p", "", ""));
    let text = cluster(&objects, &format!("  - {{at: 60s, apply: {}}}\n", sealed("2")));
    let seen = run(&text);
    let changes =
        seen.changes.iter().filter(|(at, o)| *at > 1.0 && o.key().1.to_string() == "sealed");
    assert_eq!(changes.count(), 0, "it is as it was made");
}
