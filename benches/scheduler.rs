//! The scheduler's hot path: a whole cycle (queue, Filter, Score, choice, assume, request for the
//! binding) with default sampling, for pods of distinct requests.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use wavetank::api::node::{Node, NodeStatus};
use wavetank::api::pod::Container;
use wavetank::api::resources::{Named, Resources};
use wavetank::api::version::KubeVersion;
use wavetank::api::versions::{ObjRef, Versions};
use wavetank::api::{LabelSet, Meta, Name, Obj, Pod, PodSpec};
use wavetank::control_plane::scheduler::cache::Cache;
use wavetank::control_plane::scheduler::config::ProfileConfig;
use wavetank::control_plane::scheduler::profile::{Profile, Turn};
use wavetank::control_plane::scheduler::ties::{self, TieRule};
use wavetank::control_plane::scheduler::{Scheduler, SchedulerConfig};
use wavetank::engine::{Draws, Purpose, SimDuration, SimTime, Sym};
use wavetank::event::{Address, Event, Role, Shared};

const MIB: i64 = 1024 * 1024;

fn node(i: u32) -> Arc<Node> {
    let mut meta = Meta::named(Sym::EMPTY, Name::numbered("node".into(), i));
    let zone = ["a", "b", "c"][i as usize % 3];
    meta.labels = LabelSet::new([
        ("topology.kubernetes.io/zone".into(), zone.into()),
        ("kubernetes.io/hostname".into(), meta.name.sym()),
    ]);
    let allocatable = Resources {
        cpu_milli: 64_000,
        memory: 256 * 1024 * MIB,
        pods: 250,
        ..Resources::default()
    };
    let status = NodeStatus { allocatable: Arc::new(allocatable), ..NodeStatus::default() };
    Arc::new(Node { meta, status, ..Node::default() })
}

fn pod(draws: &Draws, i: u32) -> Arc<Pod> {
    let mut draw = draws.draw(u64::from(i), Purpose("bench-pod"), 0);
    let requests = Resources {
        cpu_milli: 500 + 100 * i64::try_from(draw.below(76)).unwrap(),
        memory: (1024 + 256 * i64::try_from(draw.below(125)).unwrap()) * MIB,
        ..Resources::default()
    };
    let requests_named = Named { cpu: true, memory: true };
    let container = Container { requests, requests_named, ..Container::default() };
    let mut spec = PodSpec {
        containers: vec![container],
        scheduler_name: "default-scheduler".into(),
        ..PodSpec::default()
    };
    spec.sum_requests();
    let mut meta = Meta::named("bench".into(), Name::numbered("pod".into(), i));
    meta.labels = LabelSet::new([("app".into(), "bench".into())]);
    Arc::new(Pod { meta, spec: Arc::new(spec), ..Pod::default() })
}

/// Decision, assume and (to keep the cluster as it is) the end of the oldest pod.
fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("cycle");
    group.throughput(Throughput::Elements(1));
    for nodes in [1000_u32, 5000] {
        let draws = Draws::new(1);
        let pods: Vec<Arc<Pod>> = (0..65_536).map(|i| pod(&draws, i)).collect();
        let mut cache = Cache::default();
        (0..nodes).for_each(|i| cache.set_node(&node(i), 0));
        let mut profile = Profile::new(&ProfileConfig::default());
        let (mut start, mut i) = (0, 0_u32);
        let standing = nodes * 8;
        let object = |slot: u32| ObjRef { slot, generation: 0 };
        let mut step = || {
            let pod = &pods[i as usize % pods.len()];
            let mut turn = Turn { start: &mut start, ties: TieRule::Uniform };
            let draw = |n| ties::uniform(&draws, pod, 1, n);
            let decision = profile.decide(&mut cache, pod, &mut turn, draw);
            if let Ok(at) = decision.node {
                let name = cache.at(at).name;
                cache.add_pod(object(i), pod, name, true);
            }
            if i >= standing {
                cache.remove_pod(object(i - standing));
            }
            i += 1;
            decision.evaluated
        };
        (0..2 * standing).for_each(|_| {
            step();
        });
        let id = BenchmarkId::new("decide+assume+remove", nodes);
        group.bench_function(id, |b| b.iter(|| black_box(step())));
    }
    group.finish();
}

fn shared() -> Shared {
    Shared::new(1, KubeVersion::default(), 1_700_000_000, SimDuration::from_micros(100))
}

/// The component with its events: from delivery to the request for the binding.
fn component(c: &mut Criterion) {
    let mut group = c.benchmark_group("component");
    group.sample_size(10);
    for nodes in [1000_u32, 5000] {
        let n = nodes * 8;
        let draws = Draws::new(1);
        let mut objects = Versions::default();
        for i in 0..nodes {
            objects.put(None, Obj::Node(node(i)), SimTime::ZERO, 1);
        }
        for i in 0..n {
            objects.put(None, Obj::Pod(pod(&draws, i)), SimTime::ZERO, 1);
        }
        group.throughput(Throughput::Elements(u64::from(n)));
        group.bench_function(BenchmarkId::new("deliver to bind request", nodes), |b| {
            b.iter(|| black_box(run(&objects, nodes, n)));
        });
    }
    group.finish();
}

fn run(objects: &Versions, nodes: u32, pods: u32) -> u32 {
    use wavetank::api::Kind;
    let config = SchedulerConfig { qps: 0.0, ..SchedulerConfig::default() };
    let mut scheduler = Scheduler::new(Address::new(Role::Scheduler, 0), config);
    let mut shared = shared();
    for i in 0..u64::from(nodes) {
        let change = objects.change(Kind::Node, i).unwrap();
        scheduler.on_node(change, None, &mut shared.context(1));
    }
    for i in 0..u64::from(pods) {
        let change = objects.change(Kind::Pod, i).unwrap();
        scheduler.on_pod(change, None, &mut shared.context(1));
    }
    let mut bound = 0;
    while let Some(entry) = shared.next() {
        shared.records.clear();
        match entry.event {
            Event::Scheduler(event) => {
                scheduler.handle(event, &mut shared.context(entry.seq));
            }
            Event::Api(wavetank::event::ApiEvent::Arrive(id)) => {
                bound += u32::from(shared.context(entry.seq).take_request(id).is_some());
            }
            _ => {}
        }
    }
    bound
}

criterion_group!(benches, decide, component);
criterion_main!(benches);
