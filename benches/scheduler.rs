//! The scheduler's hot path: the whole life of a pod in the scheduler (delivery, queue, `PreFilter`
//! to Score, choice, assume, request for the binding, its answer, delivery of the bound pod) over
//! the workloads in `results/README.md`. `cargo bench --bench scheduler`.
//!
//! What the benchmark itself does per pod (two writes to the table of versions) is counted in.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use wavetank::api::labels::Requirement;
use wavetank::api::node::{Node, NodeStatus};
use wavetank::api::pod::{
    Affinity, Container, NodeSelectorTerm, PodAffinityTerm, PreferredNodeTerm, PreferredPodTerm,
    SpreadConstraint,
};
use wavetank::api::request::{Op, Success};
use wavetank::api::resources::{Named, Resources};
use wavetank::api::version::KubeVersion;
use wavetank::api::versions::ObjRef;
use wavetank::api::{Kind, LabelSet, Meta, Name, Obj, Pod, PodSpec, Selector};
use wavetank::control_plane::scheduler::{Scheduler, SchedulerConfig};
use wavetank::engine::{Draws, Purpose, SimDuration, SimTime, Sym, num};
use wavetank::event::{Address, ApiEvent, Event, Role, Shared};

const MIB: i64 = 1024 * 1024;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// 4 CPU, 32 GiB, 110 pods, one of three zones.
fn node(i: u32) -> Arc<Node> {
    let mut meta = Meta::named(Sym::EMPTY, Name::numbered("node".into(), i));
    let zone = ["a", "b", "c"][i as usize % 3];
    meta.labels = LabelSet::new([
        (ZONE.into(), zone.into()),
        (HOSTNAME.into(), meta.name.sym()),
        ("disk".into(), if i.is_multiple_of(2) { "ssd" } else { "hdd" }.into()),
    ]);
    let allocatable =
        Resources { cpu_milli: 4_000, memory: 32 * 1024 * MIB, pods: 110, ..Resources::default() };
    let status = NodeStatus { allocatable: Arc::new(allocatable), ..NodeStatus::default() };
    Arc::new(Node { meta, status, ..Node::default() })
}

fn spec(cpu_milli: i64, mib: i64) -> PodSpec {
    let requests = Resources { cpu_milli, memory: mib * MIB, ..Resources::default() };
    let requests_named = Named { cpu: true, memory: true };
    let container = Container { requests, requests_named, ..Container::default() };
    PodSpec {
        containers: vec![container],
        scheduler_name: "default-scheduler".into(),
        ..PodSpec::default()
    }
}

fn pod(i: u32, app: &str, spec: &Arc<PodSpec>) -> Arc<Pod> {
    let mut meta = Meta::named("bench".into(), Name::numbered("pod".into(), i));
    meta.labels = LabelSet::new([("app".into(), app.into())]);
    Arc::new(Pod { meta, spec: Arc::clone(spec), ..Pod::default() })
}

fn selects(app: &str) -> Selector {
    Selector::of_labels([("app".into(), app.into())])
}

fn term(app: &str, key: &str) -> PodAffinityTerm {
    PodAffinityTerm {
        selector: Some(selects(app)),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: key.into(),
    }
}

fn spread(app: &str, key: &str, max_skew: i32, hard: bool) -> SpreadConstraint {
    SpreadConstraint {
        max_skew,
        topology_key: key.into(),
        hard,
        selector: Some(selects(app)),
        min_domains: None,
        honor_affinity: true,
        honor_taints: false,
        match_label_keys: Vec::new(),
    }
}

fn summed(mut spec: PodSpec) -> Arc<PodSpec> {
    spec.sum_requests();
    Arc::new(spec)
}

/// 100m/500Mi, labels `app=bench`.
fn plain(n: u32) -> Vec<Arc<Pod>> {
    let spec = summed(spec(100, 500));
    (0..n).map(|i| pod(i, "bench", &spec)).collect()
}

/// The same with preferred anti-affinity by zone, weight 1.
fn apart(n: u32) -> Vec<Arc<Pod>> {
    let mut own = spec(100, 500);
    let affinity = Affinity {
        anti_preferred: vec![PreferredPodTerm { weight: 1, term: term("bench", ZONE) }],
        ..Affinity::default()
    };
    own.affinity = Some(Arc::new(affinity));
    let spec = summed(own);
    (0..n).map(|i| pod(i, "bench", &spec)).collect()
}

/// The same with a hard spread over host names, `maxSkew: 1`.
fn spread_out(n: u32) -> Vec<Arc<Pod>> {
    let mut own = spec(100, 500);
    own.spread.push(spread("bench", HOSTNAME, 1, true));
    let spec = summed(own);
    (0..n).map(|i| pod(i, "bench", &spec)).collect()
}

/// Distinct templates, each with its own requests and label; every fifth with affinity or spread.
fn distinct(n: u32) -> Vec<Arc<Pod>> {
    const TEMPLATES: u32 = 5000;
    let draws = Draws::new(1);
    let made: Vec<(String, Arc<PodSpec>)> = (0..TEMPLATES)
        .map(|i| {
            let mut draw = draws.draw(u64::from(i), Purpose("bench-template"), 0);
            let (cpu, mib) = (50 + draw.below(150), 100 + draw.below(900));
            let mut own = spec(i64::try_from(cpu).unwrap(), i64::try_from(mib).unwrap());
            let app = format!("app-{i}");
            if i.is_multiple_of(5) {
                constrain(&mut own, &app, i / 5);
            }
            (app, summed(own))
        })
        .collect();
    (0..n)
        .map(|i| {
            let (app, spec) = &made[(i % TEMPLATES) as usize];
            pod(i, app, spec)
        })
        .collect()
}

fn constrain(own: &mut PodSpec, app: &str, i: u32) {
    let mut affinity = Affinity::default();
    match i % 5 {
        0 => own.spread.push(spread(app, ZONE, 1, true)),
        1 => own.spread.push(spread(app, HOSTNAME, 2, false)),
        2 => affinity.anti_required.push(term(app, HOSTNAME)),
        3 => affinity.pod_preferred.push(PreferredPodTerm { weight: 10, term: term(app, ZONE) }),
        _ => affinity.node_preferred.push(PreferredNodeTerm {
            weight: 5,
            term: NodeSelectorTerm {
                expressions: vec![Requirement {
                    key: "disk".into(),
                    op: wavetank::api::labels::Op::In,
                    values: vec!["ssd".into()],
                }],
                fields: Vec::new(),
            },
        }),
    }
    if affinity != Affinity::default() {
        own.affinity = Some(Arc::new(affinity));
    }
}

/// A few hundred workloads, each with its constraints, as a shared cluster has them.
fn mixed(n: u32) -> Vec<Arc<Pod>> {
    let made: Vec<(String, Arc<PodSpec>)> = (0..300_u32)
        .map(|i| {
            let app = format!("mixed-{i}");
            let mut own = spec(i64::from(50 + i % 7 * 50), i64::from(128 << (i % 4)));
            if i % 3 != 0 {
                constrain(&mut own, &app, i);
            }
            (app, summed(own))
        })
        .collect();
    (0..n)
        .map(|i| {
            let (app, spec) = &made[i as usize * 7 % made.len()];
            pod(i, app, spec)
        })
        .collect()
}

/// A scheduler with its cluster.
struct Bench {
    scheduler: Scheduler,
    shared: Shared,
    /// Pods that run, oldest first.
    standing: VecDeque<ObjRef>,
}

impl Bench {
    fn new(nodes: u32, percentage: Option<u32>) -> Self {
        let mut config = SchedulerConfig { qps: 0.0, ..SchedulerConfig::default() };
        config.profiles[0].percentage = percentage;
        let scheduler = Scheduler::new(Address::new(Role::Scheduler, 0), config);
        let shared =
            Shared::new(1, KubeVersion::default(), 1_700_000_000, SimDuration::from_micros(100));
        let mut made = Self { scheduler, shared, standing: VecDeque::new() };
        for i in 0..nodes {
            made.shared.versions.put(None, Obj::Node(node(i)), SimTime::ZERO, 1);
            let change = made.shared.versions.change(Kind::Node, u64::from(i)).unwrap().clone();
            made.scheduler.on_node(&change, None, &mut made.shared.context(1));
        }
        made
    }

    /// Hands the newest change of a pod over.
    fn deliver(&mut self) {
        let last = self.shared.versions.log_end(Kind::Pod) - 1;
        let change = self.shared.versions.change(Kind::Pod, last).unwrap().clone();
        self.scheduler.on_pod(&change, change.before.as_ref(), &mut self.shared.context(1));
    }

    /// A pod comes and is bound.
    fn create(&mut self, pod: &Arc<Pod>) {
        let now = self.shared.now();
        let pod = Obj::Pod(Arc::clone(pod));
        let (object, _) = self.shared.versions.put(None, pod, now, 1);
        self.deliver();
        while let Some(entry) = self.shared.pop() {
            self.shared.records.clear();
            if let Event::Scheduler(event) = entry.event {
                self.scheduler.handle(event, &mut self.shared.context(entry.seq));
            } else if let Event::Api(ApiEvent::Arrive(id)) = entry.event {
                self.serve(id, entry.seq);
            }
        }
        self.standing.push_back(object);
    }

    fn serve(&mut self, id: wavetank::engine::id::Id, seq: u64) {
        let request = self.shared.context(seq).take_request(id).unwrap();
        let (Op::Bind { node, .. }, Some(object)) = (request.request.op, request.request.target)
        else {
            return;
        };
        let now = self.shared.now();
        let mut bound = self.shared.versions.current(Kind::Pod, object).unwrap().clone();
        if let Obj::Pod(pod) = &mut bound {
            Arc::make_mut(pod).node = node;
        }
        self.shared.versions.put(Some(object), bound.clone(), now, seq);
        self.deliver();
        let answer = Ok(Success { object, value: bound });
        let (_, token) = request.reply.unwrap();
        self.scheduler.on_answer(token, &answer, &mut self.shared.context(seq));
    }

    /// The oldest pod ends.
    fn delete(&mut self) {
        let object = self.standing.pop_front().unwrap();
        let now = self.shared.now();
        self.shared.versions.delete(Kind::Pod, object, now, 1);
        self.deliver();
    }

    fn run(&mut self, pods: &[Arc<Pod>], churn: bool) -> usize {
        for (i, pod) in pods.iter().enumerate() {
            self.create(pod);
            if churn {
                self.delete();
            }
            if i % 4096 == 0 {
                let rev = self.shared.versions.rev();
                self.shared.versions.compact(rev, &[]);
            }
        }
        self.scheduler.cache().n_pods()
    }
}

/// Pods of a workload, by their number.
type Maker = fn(u32) -> Vec<Arc<Pod>>;

/// Name, nodes, pods standing before, pods measured, the pods, one deletion per creation,
/// `percentageOfNodesToScore`.
type Load = (&'static str, u32, u32, u32, Maker, bool, Option<u32>);

const LOADS: &[Load] = &[
    ("a plain", 1_000, 0, 10_000, plain, false, None),
    ("b plain", 5_000, 0, 20_000, plain, false, None),
    ("c preferred zone anti-affinity", 5_000, 0, 5_000, apart, false, None),
    ("d hard hostname spread", 5_000, 0, 5_000, spread_out, false, None),
    ("e distinct templates, churn", 1_000, 10_000, 10_000, distinct, true, None),
    ("b plain, all nodes scored", 5_000, 0, 20_000, plain, false, Some(100)),
    ("f mixed workloads, churn", 5_000, 20_000, 10_000, mixed, true, None),
    ("g plain", 15_000, 0, 20_000, plain, false, None),
    ("g preferred zone anti-affinity", 15_000, 0, 5_000, apart, false, None),
    ("g hard hostname spread", 15_000, 0, 5_000, spread_out, false, None),
];

fn cycles(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler");
    group.sample_size(10);
    for &(name, nodes, standing, n, make, churn, percentage) in LOADS {
        let pods = make(standing + n);
        let (before, measured) = pods.split_at(standing as usize);
        group.throughput(Throughput::Elements(u64::from(n)));
        let setup = || {
            let mut bench = Bench::new(nodes, percentage);
            bench.run(before, false);
            bench
        };
        group.bench_function(BenchmarkId::new(name, nodes), |b| {
            b.iter_batched_ref(
                setup,
                |bench| {
                    let there = black_box(bench.run(measured, churn));
                    let want = if churn { standing } else { n };
                    assert_eq!(num::u32_of(there), want, "every pod found a node");
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, cycles);
criterion_main!(benches);
