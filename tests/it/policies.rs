//! Policies by name, policies in CEL, GPUs that pods share, queueing disciplines and gangs.

use super::support::{plan_with, shared_dir};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::gpu::{self, Devices, GpuAsk};
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Pod};
use wavetank::cluster::spec::{Named, Plan};
use wavetank::event::{Record, What};
use wavetank::report::metrics::Metrics;
use wavetank::scenario::{LoadOptions, parse};
use wavetank::session::{Observer, Session};

fn plan(text: &str) -> Plan {
    let head = "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {name: t}\n";
    let loaded = parse("t.yaml", format!("{head}{text}"), Path::new("."), &LoadOptions::default());
    loaded.unwrap_or_else(|errors| panic!("{}", errors[0])).plan
}

fn refused(text: &str) -> String {
    let head = "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {name: t}\n";
    let all = parse("t.yaml", format!("{head}{text}"), Path::new("."), &LoadOptions::default())
        .unwrap_err();
    all.iter().map(ToString::to_string).collect::<Vec<String>>().join("\n")
}

/// Digest, and the pods at the end by name.
fn run(plan: Plan) -> (String, BTreeMap<String, Arc<Pod>>) {
    let mut session = Session::new(Arc::new(plan));
    session.run(&mut [], |_| {});
    let versions = &session.cluster().shared().versions;
    let pods = versions.iter(Kind::Pod).filter_map(|(_, o)| o.as_pod());
    let all = pods.map(|p| (p.meta.name.to_string(), Arc::clone(p))).collect();
    (session.digest(), all)
}

fn places(pods: &BTreeMap<String, Arc<Pod>>) -> Vec<(String, String)> {
    pods.iter().map(|(name, pod)| (name.clone(), pod.node.to_string())).collect()
}

const MIXED: &str = r#"
until: 10m
cluster:
  nodes:
    - {name: small, count: 6, cpu: 8, memory: 32Gi, agent: fakelet}
    - {name: large, count: 3, cpu: 32, memory: 64Gi, agent: fakelet}
arrivals:
  - name: p
    pod: {cpu: 1, memory: 1Gi}
    poisson: 30/m
    count: 80
    requests:
      cpu: {base: 250m, step: 250m, steps: 8}
      memory: {base: 512Mi, step: 512Mi, steps: 8}
policies:
  my-best-fit:
    score: >-
      100.0 * (1.0 - 0.5 * ((node.free.cpu - pod.requests.cpu) / cluster.largest.cpu +
      (node.free.memory - pod.requests.memory) / cluster.largest.memory))
    normalize: stretch
  only-large:
    filter: node.name.startsWith("large-") && node.allocatable.cpu >= 16000.0
    reason: node(s) were small
    base: most-allocated
"#;

fn under(policy: &str) -> Plan {
    plan(&format!("{MIXED}scheduler: {{policy: {policy}}}\n"))
}

#[test]
fn a_best_fit_in_cel_places_as_the_one_that_is_built_in() {
    let (digest, pods) = run(under("best-fit"));
    let (own, same) = run(under("my-best-fit"));
    assert!(pods.len() == 80 && pods.values().all(|p| !p.node.is_empty()));
    assert_eq!(places(&pods), places(&same));
    assert_eq!(digest, own, "equal decisions are equal runs");
    assert_ne!(places(&pods), places(&run(under("worst-fit")).1));
}

#[test]
fn a_best_fit_in_cel_shares_gpus_as_the_one_that_is_built_in() {
    if shared_dir().is_none() {
        return;
    }
    let policies = r#"{mine: {normalize: stretch, score: "100.0 * (1.0 - 0.5 * ((node.free.cpu - pod.requests.cpu) / cluster.largest.cpu + (node.free.gpu - pod.requests.gpu) / cluster.largest.gpu))"}}"#;
    let with = |policy: &str| {
        let sets = [
            ("scheduler.policy", policy),
            ("policies", policies),
            ("traces[0].openb.limit", "2500"),
            ("traces[0].openb.gpuLoad", "30%"),
        ];
        let plan = plan_with("fgd", &sets).unwrap();
        run(Plan::clone(&plan))
    };
    let ((digest, pods), (own, _)) = (with("best-fit"), with("mine"));
    assert!(pods.len() > 1000);
    assert_eq!(digest, own);
}

#[test]
fn a_filter_in_cel_keeps_pods_off_nodes() {
    let (_, pods) = run(under("only-large"));
    let on = |what: &str| pods.values().filter(|p| p.node.as_str().starts_with(what)).count();
    assert!(on("large-") > 70 && on("small-") == 0, "{:?}", places(&pods));
    let waiting = pods.values().find(|p| p.node.is_empty()).unwrap();
    let said = waiting.status.conditions.iter().find(|c| !c.message.is_empty()).unwrap();
    assert!(said.message.as_str().contains("6 node(s) were small"), "{}", said.message);
}

#[test]
fn a_wrong_expression_is_told_with_line_field_and_place() {
    let text = "until: 5m\ncluster: {nodes: [{name: m, count: 1, cpu: 1, memory: 1Gi}]}\npolicies:\n  mine:\n    score: |-\n      1.0 +\n      2 * node.free.cpu\n";
    let said = refused(text);
    assert!(said.contains("t.yaml:8: policies.mine.score"), "{said}");
    assert!(said.contains("int and double (at 2:3 of the expression)"), "{said}");
    let said = refused("until: 5m\ncluster: {}\nscheduler: {policy: bestfit}\n");
    assert!(said.contains("\"bestfit\" is no policy") && said.contains("best-fit"), "{said}");
}

#[test]
fn every_policy_by_name_places_every_pod() {
    for policy in Named::ALL {
        let (_, pods) = run(under(policy.name()));
        let bound = pods.values().filter(|p| !p.node.is_empty()).count();
        assert_eq!(bound, 80, "{}", policy.name());
    }
}

#[test]
fn policies_do_what_their_names_say() {
    let of = |policy: &str| {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for (_, node) in places(&run(under(policy)).1) {
            *counts.entry(node).or_default() += 1;
        }
        counts
    };
    // One node after the other, and every node in turn.
    let (first, round) = (of("first-fit"), of("round-robin"));
    assert!(first.len() < 9, "{first:?}");
    assert_eq!(round.len(), 9);
    assert!(round.values().all(|n| *n >= 5), "{round:?}");
    let (best, worst) = (of("best-fit"), of("worst-fit"));
    assert!(best.len() < worst.len(), "{best:?} {worst:?}");
    assert_eq!(of("random").len(), 9);
}

/// GPUs of every node as its pods hold them: no device more than once over, whole devices whole.
fn check_devices(pods: &BTreeMap<String, Arc<Pod>>) -> usize {
    let mut used: BTreeMap<(String, usize), u32> = BTreeMap::new();
    let mut n = 0;
    for pod in pods.values().filter(|p| !p.node.is_empty()) {
        let Some(ask) = GpuAsk::of(&pod.spec.requests) else { continue };
        let devices = pod.meta.annotation(gpu::INDEX).and_then(Devices::parse).unwrap();
        assert_eq!(devices.iter().count(), usize::from(ask.count), "{}", pod.meta.name);
        for device in devices.iter() {
            let sum = used.entry((pod.node.to_string(), device)).or_default();
            *sum += u32::from(ask.milli);
            assert!(*sum <= 1000, "device {device} of {} holds {sum}", pod.node);
        }
        n += 1;
    }
    n
}

#[test]
fn devices_are_never_given_twice() {
    if shared_dir().is_none() {
        return;
    }
    for policy in ["fgd", "random", "gpu-packing", "kube-default"] {
        let sets = [("scheduler.policy", policy), ("scheduler.ties", "uniform")];
        let plan = plan_with("fgd", &sets).unwrap();
        let (_, pods) = run(Plan::clone(&plan));
        assert!(check_devices(&pods) > 5000, "{policy}");
    }
}

const SHARES: &str = r#"
until: 5m
cluster:
  nodes:
    - name: g
      count: 1
      cpu: 32
      memory: 64Gi
      agent: fakelet
      resources: {alibabacloud.com/gpu-milli: 2000, alibabacloud.com/gpu-count: 2}
arrivals:
  - {name: a, pod: {cpu: 1, memory: 1Gi, resources: {alibabacloud.com/gpu-milli: 600}}, every: 1s, count: 3}
"#;

#[test]
fn what_is_free_in_sum_is_not_enough() {
    // 600 and 600 lie on two devices; 800 are left, but no 600 on one of them.
    let (_, pods) = run(plan(SHARES));
    assert_eq!(check_devices(&pods), 2);
    let waiting = pods.values().find(|p| p.node.is_empty()).unwrap();
    let condition = waiting.status.conditions.iter().find(|c| !c.message.is_empty()).unwrap();
    let said = condition.message.as_str();
    assert!(said.contains("1 node(s) had no GPU with enough left for the pod"), "{said}");
}

/// Names of pods in the order in which they got a node.
fn order(discipline: &str, text: &str) -> Vec<String> {
    let head = format!("until: 20m\nnamespaces: [a, b]\nscheduler: {{queue: {discipline}}}\n");
    let mut plan = plan(&(head + text));
    plan.until_idle = false;
    let mut metrics = Metrics::new(&plan, None);
    let mut bound: Vec<String> = Vec::new();
    let mut session = Session::new(Arc::new(plan));
    let mut watcher = Binds(&mut bound);
    session.run(&mut [&mut metrics, &mut watcher], |_| {});
    bound
}

/// Notes each pod that gets a node.
struct Binds<'a>(&'a mut Vec<String>);

impl Observer for Binds<'_> {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Scheduled { pod, node, .. } = record.what else { return };
        if !node.is_empty()
            && let Some(pod) = versions.current(Kind::Pod, pod).and_then(|o| o.as_pod())
        {
            self.0.push(pod.meta.name.to_string());
        }
    }
}

/// One pod at a time fits.
const ONE: &str = r#"
cluster: {nodes: [{name: m, count: 1, cpu: 4, memory: 8Gi}]}
arrivals:
  - {name: long, namespace: a, pod: {cpu: 3, memory: 1Gi}, every: 100ms, start: 1s, count: 3, duration: 60s}
  - {name: short, namespace: b, pod: {cpu: 3, memory: 1Gi}, every: 100ms, start: 1050ms, count: 3, duration: 20s}
"#;

/// Four at a time fit; those of namespace b come later.
const FOUR: &str = r#"
cluster: {nodes: [{name: m, count: 1, cpu: 8, memory: 8Gi}]}
arrivals:
  - {name: early, namespace: a, pod: {cpu: 1750m}, every: 1ms, start: 1s, count: 12, duration: 60s}
  - {name: late, namespace: b, pod: {cpu: 1750m}, every: 1ms, start: 2s, count: 12, duration: 60s}
"#;

#[test]
fn disciplines_order_the_queue() {
    let first = |list: &[String], from: usize, to: usize| -> Vec<String> {
        list[from..to].iter().map(|n| n.split('-').next().unwrap().to_owned()).collect()
    };
    let shortest = order("shortest-first", ONE);
    assert_eq!(first(&shortest, 0, 4), ["long", "short", "short", "short"], "{shortest:?}");
    let fifo = order("fifo", ONE);
    assert_eq!(first(&fifo, 0, 4), ["long", "short", "long", "short"], "{fifo:?}");
    let late = |discipline| {
        let order = order(discipline, FOUR);
        assert_eq!(order.len(), 24);
        first(&order, 4, 8).iter().filter(|name| *name == "late").count()
    };
    // The second four: all of those that came first, or two of each namespace.
    assert_eq!((late("priority"), late("dominant-resource-fairness")), (0, 2));
}

fn gang(text: &str) -> BTreeMap<String, Arc<Pod>> {
    let head = r#"
until: 10m
cluster: {nodes: [{name: m, count: 4, cpu: 4, memory: 8Gi, agent: fakelet}]}
arrivals:
"#;
    run(plan(&format!("{head}{text}"))).1
}

fn member(name: &str, group: &str, count: u32, start: &str) -> String {
    format!(
        "  - name: {name}
    every: 100ms
    start: {start}
    count: {count}
    pod:
      template:
        metadata:
          labels: {{scheduling.x-k8s.io/pod-group: {group}}}
          annotations: {{scheduling.x-k8s.io/min-member: \"3\"}}
        spec: {{containers: [{{name: c, image: i, resources: {{requests: {{cpu: 3}}}}}}]}}
"
    )
}

#[test]
fn a_gang_starts_together_or_not_at_all() {
    let two = member("a", "a", 3, "0s") + &member("b", "b", 3, "50ms");
    // Four nodes: of two groups of three one starts; without gangs parts of both would.
    let alone = gang(&two);
    let of = |pods: &BTreeMap<String, Arc<Pod>>, group: &str| {
        let bound = |p: &&Arc<Pod>| !p.node.is_empty();
        pods.iter().filter(|(n, p)| n.starts_with(group) && bound(p)).count()
    };
    assert_eq!((of(&alone, "a"), of(&alone, "b")), (2, 2));
    let together = gang(&format!("{two}scheduler: {{gang: {{timeout: 20s}}}}\n"));
    let counts = [of(&together, "a"), of(&together, "b")];
    assert!(counts == [3, 0] || counts == [0, 3], "{counts:?}");
    // Two of three: nobody starts.
    let few = member("c", "c", 2, "0s") + "scheduler: {gang: {timeout: 20s}}\n";
    assert_eq!(of(&gang(&few), "c"), 0);
}

#[test]
fn published_means_of_fgd_are_met() {
    // A share of `cargo run --release --example fgd`: two workloads, three seeds.
    let Some(shared) = shared_dir() else { return };
    let path = shared.join("data/fgd-expected/summary_by_policy.csv");
    let mut published = BTreeMap::new();
    for row in csv::Reader::from_path(path).unwrap().records() {
        let row = row.unwrap();
        let number = |i: usize| row[i].parse::<f64>().unwrap();
        let key = (row[0].to_owned(), row[1].to_owned(), row[2].to_owned(), row[3].to_owned());
        published.insert(key, (number(5), number(7)));
    }
    let policies = [
        ("01-Random", "random"),
        ("02-DotProd", "dot-product"),
        ("03-GpuClustering", "gpu-clustering"),
        ("04-GpuPacking", "gpu-packing"),
        ("05-BestFit", "best-fit"),
        ("06-FGD", "fgd"),
    ];
    for (workload, (name, policy)) in ["openb_pod_list_default", "openb_pod_list_gpuspec33"]
        .iter()
        .flat_map(|w| policies.iter().map(move |p| (w, p)))
    {
        let pods = format!("${{shared}}/data/openb/{workload}.csv.gz");
        let sets = [("scheduler.policy", *policy), ("traces[0].openb.pods", pods.as_str())];
        let plan = plan_with("fgd", &sets).unwrap();
        let seeds = [42, 43, 44].map(|seed| {
            let plan = Arc::new(Plan { seed, ..Plan::clone(&plan) });
            let mut metrics = Metrics::new(&plan, None);
            Session::new(plan).run(&mut [&mut metrics], |_| {});
            let gpus = metrics.gpus.unwrap().summary();
            (*gpus.arrived(100).unwrap(), *gpus.arrived(130).unwrap())
        });
        let mean = |of: fn(&(wavetank::report::gpus::ByArrived, _)) -> f64| {
            seeds.iter().map(of).sum::<f64>() / 3.0
        };
        let found = [
            ("alloc_pct", "100", mean(|s| s.0.allocated_pct)),
            ("frag_amount_pct", "100", mean(|s| s.0.fragmented_pct)),
            (
                "alloc_pct",
                "130",
                mean(|s: &(_, wavetank::report::gpus::ByArrived)| s.1.allocated_pct),
            ),
        ];
        for (measure, arrived, mean) in found {
            let key = (
                measure.to_owned(),
                (*workload).to_owned(),
                (*name).to_owned(),
                arrived.to_owned(),
            );
            let (expected, sd) = published[&key];
            let allowed = 3.0 * sd / 3.0_f64.sqrt() + 0.15;
            assert!(
                (mean - expected).abs() <= allowed,
                "{workload} {name} {measure} at {arrived} %: {mean:.2}, published {expected:.2}"
            );
        }
    }
}
