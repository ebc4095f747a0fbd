//! What a policy costs per node: a decision (`PreFilter` to the choice) over 1,000 nodes with eight
//! GPUs each, half full, and the pod put on the chosen node, the oldest taken off.
//! `cargo bench --bench policies`; criterion's throughput is in nodes, so its time per element is
//! the policy's price per node.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use wavetank::api::gpu::{self, GpuAsk};
use wavetank::api::node::{Node, NodeStatus};
use wavetank::api::pod::Container;
use wavetank::api::resources::{Named, Resources};
use wavetank::api::versions::ObjRef;
use wavetank::api::{Meta, Name, Pod, PodSpec};
use wavetank::control_plane::scheduler::cache::Cache;
use wavetank::control_plane::scheduler::config::{Enabled, ProfileConfig};
use wavetank::control_plane::scheduler::framework::View;
use wavetank::control_plane::scheduler::policies::cel::{CelPolicy, CelTexts, Normalize};
use wavetank::control_plane::scheduler::policies::fgd::Fgd;
use wavetank::control_plane::scheduler::policies::find;
use wavetank::control_plane::scheduler::policies::fragmentation::{Fragmentation, Shape};
use wavetank::control_plane::scheduler::policies::named::{Named as Policy, alone};
use wavetank::control_plane::scheduler::profile::{Profile, Turn};
use wavetank::control_plane::scheduler::ties::TieRule;
use wavetank::engine::Sym;

const NODES: u32 = 1000;
const STANDING: u32 = 8000;

fn node(i: u32) -> Arc<Node> {
    let meta = Meta::named(Sym::EMPTY, Name::numbered("node".into(), i));
    let mut allocatable =
        Resources { cpu_milli: 96_000, memory: 768 << 30, pods: 1001, ..Resources::default() };
    allocatable.set_scalar(gpu::milli(), 8000);
    allocatable.set_scalar(gpu::count(), 8);
    let status = NodeStatus { allocatable: Arc::new(allocatable), ..NodeStatus::default() };
    Arc::new(Node { meta, status, ..Node::default() })
}

/// Five kinds of pods: shares of a GPU, a whole one, none.
fn pod(i: u32) -> Arc<Pod> {
    let (cpu_milli, gpus) =
        [(4_000, 250), (8_000, 500), (12_000, 1000), (6_000, 100), (16_000, 0)][i as usize % 5];
    let mut requests = Resources { cpu_milli, memory: 8 << 30, ..Resources::default() };
    if gpus > 0 {
        requests.set_scalar(gpu::milli(), gpus);
    }
    let requests_named = Named { cpu: true, memory: true };
    let container = Container { requests, requests_named, ..Container::default() };
    let mut spec = PodSpec { containers: vec![container], ..PodSpec::default() };
    spec.sum_requests();
    let meta = Meta::named("bench".into(), Name::numbered("pod".into(), i));
    Arc::new(Pod { meta, spec: Arc::new(spec), ..Pod::default() })
}

struct Bench {
    profile: Profile,
    cache: Cache,
    standing: VecDeque<ObjRef>,
    next: u32,
    start: usize,
}

impl Bench {
    fn new(mut config: ProfileConfig) -> Self {
        let typical: Vec<(Shape, f64)> = (0..5).map(|i| (Shape::of(&pod(i).spec), 0.2)).collect();
        config.args.policy.fgd = Fgd { measure: Arc::new(Fragmentation::new(&typical)) };
        config.plugins.push(Enabled::of(find("GpuShare").unwrap()));
        config.percentage = Some(100);
        let mut cache = Cache::default();
        for i in 0..NODES {
            cache.set_node(&node(i), u64::from(i));
        }
        let profile = Profile::new(&config);
        let mut made = Self { profile, cache, standing: VecDeque::new(), next: 0, start: 0 };
        for _ in 0..STANDING {
            made.place();
        }
        made
    }

    fn place(&mut self) -> bool {
        let pod = pod(self.next);
        let object = ObjRef { slot: self.next, generation: 0 };
        self.next += 1;
        let mut turn = Turn { start: &mut self.start, ties: TieRule::First };
        let decision = self.profile.decide(&mut self.cache, &pod, &mut turn, |_| 0);
        let Ok(at) = decision.node else { return false };
        let devices = self.profile.devices(View { cache: &self.cache, pod: &pod }, at);
        let name = self.cache.at(at).name;
        self.cache.add_pod_with(object, &pod, name, true, devices);
        self.standing.push_back(object);
        true
    }

    fn step(&mut self) -> bool {
        if let Some(oldest) = self.standing.pop_front() {
            self.cache.remove_pod(oldest);
        }
        self.place()
    }
}

/// The same as the built-in best fit.
const BEST_FIT: &str = "100.0 * (1.0 - 0.5 * (\
    (node.free.cpu - pod.requests.cpu) / cluster.largest.cpu + \
    (node.free.gpu - pod.requests.gpu) / cluster.largest.gpu))";

fn cel(filter: Option<&str>, score: &str) -> ProfileConfig {
    let texts = CelTexts {
        filter,
        score: Some(score),
        normalize: Normalize::Stretch,
        ..CelTexts::default()
    };
    let policy = CelPolicy::new(texts).unwrap();
    let mut config = ProfileConfig::default();
    alone(&mut config, None);
    config.plugins.push(Enabled::of(find("Cel").unwrap()));
    config.args.policy.cel = Some(policy);
    config
}

fn decisions(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::from(NODES)));
    let mut loads: Vec<(&str, ProfileConfig)> =
        Policy::ALL.iter().map(|policy| (policy.name(), policy.profile())).collect();
    let mut none = ProfileConfig::default();
    alone(&mut none, None);
    loads.push(("no score at all", none));
    loads.push(("cel best-fit", cel(None, BEST_FIT)));
    loads.push((
        "cel filter and best-fit",
        cel(Some("node.free.cpu > 2.0 && !node.unschedulable"), BEST_FIT),
    ));
    for (name, config) in loads {
        let mut bench = Bench::new(config);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| black_box(bench.step()));
        });
    }
    group.finish();
    assert!(GpuAsk::of(&pod(0).spec.requests).is_some(), "the pods ask for GPUs");
}

criterion_group!(benches, decisions);
criterion_main!(benches);
