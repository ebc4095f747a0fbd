//! The network of pods: addresses and their end, nodes without a network, what plugins cost.
//! Each test is a line of behaviour reference §4.18 (and of §4.3: step 3).

use super::{Seen, run, traced};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::pod::{ConditionType, Effect, Phase, Truth};
use wavetank::api::{Cidr, Obj};
use wavetank::node::cni::node_address;
use wavetank::report::metrics::Metrics;
use wavetank::report::summary::Summary;
use wavetank::report::text::render;
use wavetank::scenario::{LoadOptions, parse};
use wavetank::session::Session;

const NOT_READY: &str = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";

/// A Deployment.
fn web(replicas: u32, spec: &str) -> String {
    format!(
        "objects:
  - {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: {replicas},
      selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}},
      spec: {{{spec}containers: [{{name: c, image: 'c:1', resources: {{requests: {{cpu: 10m}}}}}}]}}}}}}}}
"
    )
}

/// The pod `name`, past the scheduler.
fn bare(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeName: node, {spec}containers: [{{name: c, image: 'c:1'}}]}}}}"
    )
}

/// Addresses as pods showed them: by address, who had it from when to when.
fn lives(seen: &Seen) -> BTreeMap<u32, Vec<(String, f64, f64)>> {
    let mut lives: BTreeMap<u32, Vec<(String, f64, f64)>> = BTreeMap::new();
    for (at, object) in &seen.changes {
        let Some(pod) = object.as_pod() else { continue };
        let (ip, name) = (pod.status.pod_ip, pod.meta.name.to_string());
        if ip == 0 {
            continue;
        }
        let spans = lives.entry(ip).or_default();
        match spans.iter_mut().find(|(who, _, _)| *who == name) {
            Some(span) => span.2 = *at,
            None => spans.push((name, *at, *at)),
        }
    }
    lives
}

/// Pods that run, at the end.
fn running(seen: &Seen) -> usize {
    let mut phases: BTreeMap<String, Phase> = BTreeMap::new();
    for pod in seen.changes.iter().filter_map(|(_, o)| o.as_pod()) {
        phases.insert(pod.meta.name.to_string(), pod.status.phase);
    }
    for (_, name) in &seen.gone {
        phases.remove(name);
    }
    phases.values().filter(|p| **p == Phase::Running).count()
}

/// What a node said of itself: when, whether it was ready, and its message.
fn readiness(seen: &Seen, name: &str) -> Vec<(f64, Truth, String)> {
    let mut said: Vec<(f64, Truth, String)> = Vec::new();
    for (at, object) in &seen.changes {
        let Obj::Node(node) = object else { continue };
        let ready = node.status.conditions.get(ConditionType::Ready);
        let Some(ready) = ready.filter(|_| node.meta.name.to_string() == name) else { continue };
        if said.last().is_none_or(|(_, truth, _)| *truth != ready.status) {
            said.push((*at, ready.status, ready.message.to_string()));
        }
    }
    said
}

#[test]
fn every_pod_has_an_address_of_its_own_out_of_its_nodes_range() {
    for plugin in ["flannel", "calico", "cilium", "weave"] {
        let text = format!(
            "until: 10m
cluster:
  podCIDR: 10.244.0.0/16
  cni: {plugin}
  nodes: [{{name: node, count: 3, cpu: 8, memory: 32Gi}}]
workload:
  - {{at: 3m, scale: {{target: deployment/web, replicas: 20}}}}
  - {{at: 5m, scale: {{target: deployment/web, replicas: 90}}}}
{}",
            web(60, "")
        );
        let seen = run(&text);
        assert_eq!(running(&seen), 90);
        for (ip, mut spans) in lives(&seen) {
            spans.sort_by(|a, b| a.1.total_cmp(&b.1));
            for pair in spans.windows(2) {
                let who = (&pair[0], &pair[1]);
                assert!(pair[0].2 <= pair[1].1, "{}: {who:?}", Ipv4Addr::from(ip));
            }
            let range = Cidr { base: 10 << 24 | 244 << 16, bits: 16 };
            let inside = ip & !range.hosts() == range.base;
            assert!(plugin != "flannel" || inside, "{}", Ipv4Addr::from(ip));
        }
    }
}

#[test]
fn pods_of_the_hosts_network_share_the_address_of_their_node() {
    let text = format!(
        "until: 3m
cluster:
  podCIDR: 10.244.0.0/16
  cni: flannel
  nodes: [{{name: other, cpu: 4, memory: 8Gi}}, {{name: node, cpu: 4, memory: 8Gi}}]
objects:
  - {}
  - {}
  - {}
",
        bare("a", "hostNetwork: true, "),
        bare("b", "hostNetwork: true, "),
        bare("c", "")
    );
    let seen = run(&text);
    let ip = |name| seen.last(name).status.pod_ip;
    assert_eq!((ip("a"), ip("b")), (node_address(1), node_address(1)));
    // The first address behind the gateway: neither of the others has taken one.
    assert_eq!(ip("c"), 10 << 24 | 244 << 16 | 1 << 8 | 2);
}

#[test]
fn the_254th_pod_of_a_24_waits_until_one_leaves() {
    let text = format!(
        "until: 12m
cluster:
  podCIDR: 10.244.0.0/16
  cni: flannel
  nodes: [{{name: node, cpu: 64, memory: 256Gi, pods: 300}}]
workload:
  - {{at: 5m, create: {}}}
  - {{at: 8m, scale: {{target: deployment/web, replicas: 252}}}}
{}",
        bare("last", ""),
        web(253, "")
    );
    let seen = run(&text);
    let waits = seen.events("FailedCreatePodSandBox");
    assert!(
        waits.iter().all(|(at, who, _)| who == "last" && (300.0..500.0).contains(at)),
        "{waits:?}"
    );
    let why = "plugin type=\"flannel\" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.0.1-10.244.0.254";
    let (_, _, first) = &waits[0];
    assert!(first.starts_with("Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \""), "{first}");
    assert!(first.ends_with(why), "{first}");
    // The back-off of a failed sync: 10 s and up to half as much more, and a sandbox in between.
    let at: Vec<f64> = waits.iter().map(|w| w.0).collect();
    assert!(at.len() >= 10, "{at:?}");
    assert!(at.windows(2).all(|w| (10.0..17.5).contains(&(w[1] - w[0]))), "{at:?}");
    // After ten texts they are folded.
    assert!(
        waits.last().unwrap().2.starts_with("(combined from similar events): Failed to create")
    );
    let waiting = seen.pod("last").into_iter().filter(|(at, _)| *at < 480.0);
    assert!(
        waiting.map(|(_, p)| (p.status.phase, p.status.pod_ip)).all(|s| s == (Phase::Pending, 0))
    );
    let reason = seen.pod("last").iter().find_map(|(_, p)| {
        let wavetank::api::pod::ContainerState::Waiting { reason } =
            p.status.containers.first()?.state
        else {
            return None;
        };
        Some(reason.to_string())
    });
    assert_eq!(reason.as_deref(), Some("ContainerCreating"));
    let started = seen.at("Started", "c");
    assert!(started.iter().any(|at| (480.0..530.0).contains(at)), "{started:?}");
    assert_eq!(seen.last("last").status.phase, Phase::Running);
}

#[test]
fn a_smaller_mask_has_fewer_addresses_and_they_are_given_in_turn() {
    let ends = "restartPolicy: Never, ";
    let pods: Vec<String> = (0..3)
        .map(|i| {
            let at = 60 + 60 * i;
            format!("  - {{at: {at}s, create: {}}}\n", bare(&format!("p{i}"), ends))
        })
        .collect();
    let text = format!(
        "until: 5m
cluster:
  podCIDR: 10.244.0.0/16
  nodeCIDRMaskSize: 29
  cni: flannel
  nodes: [{{name: node, cpu: 4, memory: 8Gi}}]
workload:
{}  - {{at: 90s, delete: pod/default/p0}}
",
        pods.concat()
    );
    let seen = run(&text);
    // Of 10.244.0.2 to .6: the one that is free again comes after all others.
    let given =
        |name: &str| seen.pod(name).iter().map(|(_, p)| p.status.pod_ip & 0xff).max().unwrap();
    assert_eq!([given("p0"), given("p1"), given("p2")], [2, 3, 4]);
    let crowded = text.replace("  - {at: 90s, delete: pod/default/p0}\n", "") + &web(3, "");
    let seen = run(&crowded);
    // Three of the Deployment, three more: one too many.
    assert_eq!(running(&seen), 5);
    assert!(!seen.at("FailedCreatePodSandBox", "range set: 10.244.0.1-10.244.0.6").is_empty());
}

const AGENT: &str = "objects:
  - {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: kube-system}, spec: {
      selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}},
      spec: {hostNetwork: true, tolerations: [{operator: Exists, effect: NoSchedule}], containers: [{name: c, image: 'agent:1'}]}}}}
";

#[test]
fn a_node_is_not_ready_until_its_agent_has_installed_the_plugin() {
    let text = format!(
        "until: 5m
cluster:
  cni: {{preset: calico, agent: daemonset/kube-system/agent}}
  nodes: [{{name: node, cpu: 4, memory: 8Gi}}]
{AGENT}  - {}
{}",
        bare("early", ""),
        web(2, "").replace("objects:\n", "")
    );
    let seen = run(&text);
    let said = readiness(&seen, "node");
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!((said[0].0, said[0].1, said[0].2.as_str()), (0.0, Truth::False, NOT_READY));
    assert_eq!(said[1].1, Truth::True);
    let ready = said[1].0;
    let agents: Vec<f64> = seen.at("Started", "c");
    // The agent came first, on the host's network; then the kubelet looks, at most 5 s later.
    assert!(agents[0] < ready && ready < agents[0] + 6.0, "{agents:?} {ready}");
    assert!(agents[1..].iter().all(|at| *at > ready), "{agents:?} {ready}");
    // No pod is scheduled before the taint has gone.
    assert!(
        seen.events("Scheduled").iter().filter(|e| e.1.starts_with("web")).all(|e| e.0 > ready)
    );
    let tainted = |node: &wavetank::api::node::Node| {
        node.taints.iter().any(|t| {
            t.key.as_str() == "node.kubernetes.io/not-ready" && t.effect == Effect::NoSchedule
        })
    };
    let nodes = seen.changes.iter().filter_map(|(at, o)| Some((*at, o.as_node()?)));
    assert!(nodes.filter(|(at, _)| *at < ready).all(|(_, node)| tainted(node)));
    // Who is there by name is held by its kubelet, which says so and tries again each second.
    let held = seen.events("NetworkNotReady");
    assert!(
        held.iter().all(|e| e.1 == "early" && e.2 == format!("network is not ready: {NOT_READY}")),
        "{held:?}"
    );
    assert!(held.len() > 2 && held[1].0 - held[0].0 < 3.0, "{held:?}");
    assert_eq!(seen.last("early").status.phase, Phase::Running);
    assert_eq!(running(&seen), 4);
}

#[test]
fn a_node_is_not_ready_until_it_has_a_range() {
    let with = |range: &str| {
        let text = format!(
            "until: 5m
cluster:
  {range}cni: flannel
  nodes: [{{name: node, cpu: 4, memory: 8Gi}}, {{name: late, cpu: 4, memory: 8Gi, joins: 1m}}]
"
        );
        run(&text)
    };
    let seen = with("podCIDR: 10.244.0.0/16\n  ");
    assert_eq!(readiness(&seen, "node").len(), 1);
    let late = readiness(&seen, "late");
    // Registered not ready, then given its range, and seen to be ready with the next look.
    let (first, last) = (&late[0], late.last().unwrap());
    assert_eq!((first.1, last.1), (Truth::False, Truth::True));
    assert!(last.0 - 60.0 < 6.0, "{late:?}");
    let cidr = |seen: &Seen, name: &str| {
        let nodes = seen.changes.iter().rev().filter_map(|(_, o)| o.as_node());
        nodes
            .filter(|n| n.meta.name.to_string() == name)
            .map(|n| n.pod_cidr.to_string())
            .next()
            .unwrap()
    };
    assert_eq!(cidr(&seen, "node"), "10.244.0.0/24");
    assert_eq!(cidr(&seen, "late"), "10.244.1.0/24");
    // Without ranges nobody ever gets ready.
    let seen = with("");
    for name in ["node", "late"] {
        let said = readiness(&seen, name);
        assert!(said.iter().all(|said| said.1 == Truth::False), "{name}: {said:?}");
    }
    let nodes = seen.changes.iter().rev().filter_map(|(_, o)| o.as_node());
    let ready = nodes.filter_map(|n| n.status.conditions.get(ConditionType::Ready)).next().unwrap();
    assert_eq!((ready.reason.as_str(), ready.message.as_str()), ("KubeletNotReady", NOT_READY));
}

#[test]
fn sandboxes_take_as_long_as_the_plugin_says() {
    let spans = |cni: &str, spec: &str| {
        let text = format!(
            "until: 5m
cluster:
  podCIDR: 10.244.0.0/16
  cni: {cni}
  nodes: [{{name: node, cpu: 64, memory: 256Gi}}]
{}",
            web(60, spec)
        );
        let seen = traced(&text);
        let steps = |what: &str| -> Vec<f64> {
            seen.told.iter().filter(|(_, s)| *s == what).map(|t| t.0).collect()
        };
        let (begun, done) =
            (steps("volumes mounted, RunPodSandbox"), steps("sandbox and network ready (CNI)"));
        assert_eq!((begun.len(), done.len()), (60, 60));
        (done.iter().sum::<f64>() - begun.iter().sum::<f64>()) / 60.0
    };
    // 70 ms of the runtime; means of log-normal times lie 4.6 % above their medians.
    for (plugin, setup) in
        [("flannel", 0.064), ("calico", 0.151), ("weave", 0.267), ("cilium", 0.653)]
    {
        let mean = spans(plugin, "");
        let expected = (0.070 + setup) * 1.046;
        assert!((mean / expected - 1.0).abs() < 0.12, "{plugin}: {mean}, not {expected}");
    }
    let mean = spans("{preset: cilium, setup: 2s}", "");
    assert!((2.06..2.09).contains(&mean), "{mean}");
    // A pod of the host's network needs none.
    let mean = spans("cilium", "hostNetwork: true, ");
    assert!(mean < 0.09, "{mean}");
}

#[test]
fn an_address_outlives_a_restart_of_the_kubelet_and_waits_go_on() {
    let text = format!(
        "until: 10m
cluster:
  podCIDR: 10.244.0.0/16
  nodeCIDRMaskSize: 29
  cni: flannel
  nodes: [{{name: node, cpu: 4, memory: 8Gi}}]
workload:
  - {{at: 4m, scale: {{target: deployment/web, replicas: 5}}}}
faults:
  - {{kubeletStop: {{node: node}}, at: 2m, for: 30s}}
  - {{crash: {{node: node}}, at: 6m, for: 20s}}
{}",
        web(6, "")
    );
    let seen = run(&text);
    assert_eq!(running(&seen), 5);
    let waits = seen.events("FailedCreatePodSandBox");
    assert!(waits.iter().any(|w| w.0 < 120.0), "{waits:?}");
    assert!(waits.iter().all(|w| w.0 < 121.0 || w.0 >= 150.0), "{waits:?}");
    let ips: Vec<u32> = lives(&seen).keys().map(|ip| ip & 0xff).collect();
    assert_eq!(ips, [2, 3, 4, 5, 6]);
}

#[test]
fn network_policies_are_named_in_the_report_with_their_number() {
    let policy = |name: &str| {
        format!(
            "  - {{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}}}, spec: {{podSelector: {{}}}}}}\n"
        )
    };
    let text = format!(
        "apiVersion: wavetank.dev/v1
kind: Scenario
metadata: {{name: t}}
until: 1m
cluster:
  cni: weave
  nodes: [{{name: node, cpu: 4, memory: 8Gi}}]
{}{}{}",
        web(1, "hostNetwork: true, "),
        policy("a"),
        policy("b")
    );
    let loaded = parse("t.yaml", text, Path::new(""), &LoadOptions::default()).unwrap();
    let plan = Arc::new(loaded.plan);
    let mut metrics = Metrics::new(&plan, None);
    let mut session = Session::new(plan);
    session.run(&mut [&mut metrics], |_| {});
    let page = render(&Summary::new(&metrics, &session.digest()), 200);
    assert!(page.contains("Accepted, not modelled: NetworkPolicy x2."), "{page}");
    let network = "Network of pods: weave-net, vxlan, MTU 1376; between nodes 96.1 % of the goodput and 162us more per request.";
    assert!(page.contains(network), "{page}");
}
