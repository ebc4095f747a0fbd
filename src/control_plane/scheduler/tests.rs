//! The scheduler among its events, and the fast path against the plain one.

use super::cache::Cache;
use super::config::ProfileConfig;
use super::evaluate::evaluate;
use super::framework::View;
use super::plugins::fit::{Strategy as Scoring, floor_small, small_to_int};
use super::profile::{Profile, Turn, enough_nodes};
use super::ties::TieRule;
use super::{Scheduler, SchedulerConfig};
use crate::api::labels::{Op::In, Requirement};
use crate::api::meta::Stamp;
use crate::api::node::{Node, NodeStatus};
use crate::api::pod::{
    Affinity, ConditionType, Container, Effect, NodeSelectorTerm, Phase, Taint, Toleration,
};
use crate::api::request::{ApiError, Op, Outcome, Success};
use crate::api::resources::{Named, Resources};
use crate::api::version::KubeVersion;
use crate::api::versions::{ObjRef, Versions};
use crate::api::{Kind, LabelSet, Meta, Name, Obj, Pod, PodSpec, Selector};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::{Address, ApiEvent, Event, Role, Shared};
use proptest::prelude::*;
use std::sync::Arc;

pub(super) const GIB: i64 = 1 << 30;

pub(super) fn node(name: &str, cpu_milli: i64, zone: &str) -> Node {
    let mut meta = Meta::named(Sym::EMPTY, name.into());
    meta.labels = LabelSet::new([
        ("topology.kubernetes.io/zone".into(), zone.into()),
        ("kubernetes.io/hostname".into(), name.into()),
    ]);
    let allocatable = Resources { cpu_milli, memory: 64 * GIB, pods: 110, ..Resources::default() };
    let status = NodeStatus { allocatable: Arc::new(allocatable), ..NodeStatus::default() };
    Node { meta, status, ..Node::default() }
}

pub(super) fn spec(cpu_milli: i64, memory: i64) -> PodSpec {
    let requests = Resources { cpu_milli, memory, ..Resources::default() };
    let requests_named = Named { cpu: cpu_milli > 0, memory: memory > 0 };
    let container = Container { requests, requests_named, ..Container::default() };
    let mut spec = PodSpec {
        containers: vec![container],
        scheduler_name: "default-scheduler".into(),
        ..PodSpec::default()
    };
    spec.sum_requests();
    spec
}

pub(super) fn pod(name: &str, spec: PodSpec) -> Pod {
    let mut meta = Meta::named("ns".into(), Name::new(name));
    meta.labels = LabelSet::new([("app".into(), "web".into())]);
    Pod { meta, spec: Arc::new(spec), ..Pod::default() }
}

/// A scheduler with a store that answers at once.
pub(super) struct World {
    pub(super) scheduler: Scheduler,
    pub(super) shared: Shared,
    store: Versions,
    pub(super) bindings: Vec<(SimTime, String, String)>,
    pub(super) events: Vec<String>,
    pub(super) conditions: Vec<String>,
    /// Requests that write to existing pods, as `VERB NAME`, and when they arrived.
    pub(super) writes: Vec<(SimTime, String)>,
    /// Conditions, nominations and deletions are stored and delivered.
    pub(super) keeps: bool,
    /// Bindings to be answered with an error.
    pub(super) errors: usize,
    /// Deletions to be answered with an error.
    pub(super) delete_errors: usize,
    /// Writes of claims and volumes to be answered with an error.
    pub(super) volume_errors: usize,
}

impl World {
    pub(super) fn new(config: SchedulerConfig) -> Self {
        let version = config.version;
        Self {
            scheduler: Scheduler::new(Address::new(Role::Scheduler, 0), config),
            shared: Shared::new(1, version, 1_700_000_000, SimDuration::from_micros(100)),
            store: Versions::default(),
            bindings: Vec::new(),
            events: Vec::new(),
            conditions: Vec::new(),
            writes: Vec::new(),
            keeps: false,
            errors: 0,
            delete_errors: 0,
            volume_errors: 0,
        }
    }

    pub(super) fn put(&mut self, object: Option<ObjRef>, value: Obj) -> ObjRef {
        let kind = value.kind();
        let (object, _) = self.store.put(object, value, self.shared.now(), 1);
        self.deliver(kind);
        object
    }

    pub(super) fn delete(&mut self, kind: Kind, object: ObjRef) {
        self.store.delete(kind, object, self.shared.now(), 1);
        self.deliver(kind);
    }

    fn deliver(&mut self, kind: Kind) {
        let change = self.store.change(kind, self.store.log_end(kind) - 1).cloned().unwrap();
        let mut cx = self.shared.context(1);
        if kind == Kind::Pod {
            self.scheduler.on_pod(&change, None, &mut cx);
        } else if kind == Kind::Node {
            self.scheduler.on_node(&change, None, &mut cx);
        } else {
            self.scheduler.on_other(kind, &change, None, &mut cx);
        }
    }

    pub(super) fn run(&mut self, until_s: u64) {
        while let Some(time) = self.shared.queue.next_time() {
            if time > SimTime::from_secs(until_s) {
                break;
            }
            let entry = self.shared.queue.pop().unwrap();
            self.shared.advance(entry.time);
            if let Event::Scheduler(event) = entry.event {
                self.scheduler.handle(event, &mut self.shared.context(entry.seq));
            } else if let Event::Api(ApiEvent::Arrive(id)) = entry.event {
                let flight = self.shared.context(entry.seq).take_request(id).unwrap();
                self.answer(&flight.request, flight.reply.map(|(_, token)| token));
            }
        }
        self.shared.advance(SimTime::from_secs(until_s));
    }

    fn answer(&mut self, request: &crate::api::request::Request, token: Option<u32>) {
        let object = request.target.unwrap_or_default();
        if let Op::Bind { node, .. } = request.op {
            let at = self.shared.now();
            self.bindings.push((at, request.name.to_string(), node.to_string()));
            let outcome: Outcome = if self.errors > 0 {
                self.errors -= 1;
                Err(ApiError::Conflict)
            } else {
                let old = self.store.current(Kind::Pod, object).and_then(Obj::as_pod).unwrap();
                let value = Obj::Pod(Arc::new(Pod { node, ..(**old).clone() }));
                self.put(Some(object), value.clone());
                Ok(Success { object, value })
            };
            let mut cx = self.shared.context(1);
            self.scheduler.on_answer(token.unwrap(), &outcome, &mut cx);
        } else if let Op::Update(value) = &request.op {
            self.writes.push((self.shared.now(), format!("claim {}", request.name)));
            let refused = self.volume_errors > 0;
            self.volume_errors -= usize::from(refused);
            let value = value.clone();
            let outcome =
                if refused { Err(ApiError::Conflict) } else { Ok(Success { object, value }) };
            let mut cx = self.shared.context(1);
            self.scheduler.on_answer(token.unwrap(), &outcome, &mut cx);
        } else if let Op::PodCondition(condition, _) = request.op
            && condition.kind == ConditionType::PodScheduled
        {
            let text = if condition.reason.as_str() == "Unschedulable" { "" } else { "error: " };
            self.conditions.push(format!("{text}{}", condition.message));
            self.write(object, token, &request.op);
        } else if let Op::CreateEvent(event, _) | Op::PatchEvent(event, _) = &request.op {
            self.events.push(format!("{} {}", event.reason, event.message()));
        } else {
            self.write(object, token, &request.op);
        }
    }

    /// A write to a pod that exists.
    fn write(&mut self, object: ObjRef, token: Option<u32>, op: &Op) {
        let old = self.store.current(Kind::Pod, object).and_then(Obj::as_pod).cloned();
        let name = old.as_ref().map(|p| p.meta.name.to_string()).unwrap_or_default();
        let verb = if let Op::PodCondition(condition, _) = op {
            condition.kind.as_str()
        } else if let Op::Nominate(_) = op {
            "Nominate"
        } else {
            assert!(matches!(op, Op::Delete { .. }), "{op:?}");
            "Delete"
        };
        self.writes.push((self.shared.now(), format!("{verb} {name}")));
        let refused = matches!(op, Op::Delete { .. }) && self.delete_errors > 0;
        self.delete_errors -= usize::from(refused);
        let outcome = match old {
            None => Err(ApiError::NotFound),
            Some(_) if refused => Err(ApiError::Lost),
            Some(old) => {
                let mut new = (*old).clone();
                if let Op::PodCondition(condition, nominated) = op {
                    new.status.conditions.set(*condition);
                    new.status.nominated = nominated.unwrap_or(new.status.nominated);
                } else if let Op::Nominate(node) = op {
                    new.status.nominated = *node;
                } else {
                    let at = self.shared.context(1).stamp();
                    new.meta.deletion = Some(crate::api::meta::Deletion { at, grace_s: 30 });
                }
                let value = Obj::Pod(Arc::new(new));
                if self.keeps {
                    self.put(Some(object), value.clone());
                }
                Ok(Success { object, value })
            }
        };
        if let Some(token) = token {
            self.scheduler.on_answer(token, &outcome, &mut self.shared.context(1));
        }
    }

    /// The pod as stored.
    pub(super) fn stored(&self, object: ObjRef) -> Arc<Pod> {
        Arc::clone(self.store.current(Kind::Pod, object).and_then(Obj::as_pod).unwrap())
    }

    pub(super) fn add_pod(&mut self, pod: Pod) -> ObjRef {
        self.put(None, Obj::Pod(Arc::new(pod)))
    }

    pub(super) fn add_node(&mut self, node: Node) -> ObjRef {
        self.put(None, Obj::Node(Arc::new(node)))
    }
}

pub(super) fn world() -> World {
    World::new(SchedulerConfig::default())
}

#[test]
fn a_pod_is_bound_and_told() {
    let mut w = world();
    w.add_node(node("n1", 4000, "a"));
    w.add_pod(pod("p1", spec(1000, GIB)));
    w.run(1);
    let micros: Vec<u64> = w.bindings.iter().map(|b| b.0.0 / 1000).collect();
    assert_eq!(micros, [400], "300 us of cycle and 100 us of network");
    assert_eq!(w.events, ["Scheduled Successfully assigned ns/p1 to n1"]);
    assert!(w.scheduler.queue().is_empty());
    assert_eq!(w.scheduler.cache().n_pods(), 1);
}

#[test]
fn one_cycle_at_a_time_and_the_client_is_limited() {
    let mut w = World::new(SchedulerConfig { qps: 50.0, burst: 2, ..SchedulerConfig::default() });
    w.add_node(node("n1", 4000, "a"));
    for i in 0..5 {
        w.add_pod(pod(&format!("p-{i}"), spec(100, GIB)));
    }
    w.run(1);
    let micros: Vec<u64> = w.bindings.iter().map(|b| b.0.0 / 1000).collect();
    assert_eq!(micros, [400, 700, 20_400, 40_400, 60_400]);
}

#[test]
fn what_does_not_fit_waits_until_something_helps() {
    let mut w = world();
    w.add_node(node("n1", 1000, "a"));
    let first = w.add_pod(pod("p1", spec(800, GIB)));
    w.run(1);
    w.add_pod(pod("p2", spec(900, GIB)));
    w.run(20);
    let why = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: \
               0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    assert_eq!(w.conditions, [why]);
    assert_eq!(w.events[1], format!("FailedScheduling {why}"));
    assert_eq!(w.scheduler.queue().depths(), (0, 0, 1));
    // A node that is too small does not help; the end of a pod does.
    w.add_node(node("n2", 100, "a"));
    assert_eq!(w.scheduler.queue().depths(), (0, 0, 1));
    w.delete(Kind::Pod, first);
    w.run(21);
    assert_eq!(w.bindings.last().map(|b| (&*b.1, &*b.2)), Some(("p2", "n1")));
}

#[test]
fn a_pod_that_names_a_node_goes_there_as_soon_as_it_is_there() {
    let mut w = world();
    w.add_node(node("n1", 4000, "a"));
    let field = Requirement { key: "metadata.name".into(), op: In, values: vec!["n9".into()] };
    let named = NodeSelectorTerm { expressions: Vec::new(), fields: vec![field] };
    let affinity = Affinity { node_required: Some(vec![named]), ..Affinity::default() };
    w.add_pod(pod("p1", PodSpec { affinity: Some(Arc::new(affinity)), ..spec(100, GIB) }));
    w.run(20);
    assert_eq!(w.scheduler.queue().depths(), (0, 0, 1), "{:?}", w.conditions);
    // Another node is none of its business.
    w.add_node(node("n2", 4000, "a"));
    assert_eq!(w.scheduler.queue().depths(), (0, 0, 1));
    w.add_node(node("n9", 4000, "a"));
    w.run(21);
    assert_eq!(w.bindings.last().map(|b| (&*b.1, &*b.2)), Some(("p1", "n9")));
}

#[test]
fn terminal_pods_release_what_they_used() {
    let mut w = world();
    w.add_node(node("n1", 1000, "a"));
    let first = w.add_pod(pod("p1", spec(800, GIB)));
    w.run(1);
    w.add_pod(pod("p2", spec(900, GIB)));
    w.run(2);
    let mut ended = pod("p1", spec(800, GIB));
    ended.node = "n1".into();
    ended.status.phase = Phase::Succeeded;
    w.put(Some(first), Obj::Pod(Arc::new(ended)));
    w.run(3);
    assert_eq!(w.bindings.len(), 2);
}

#[test]
fn a_failed_binding_is_tried_again_after_a_backoff() {
    let mut w = world();
    w.errors = 1;
    w.add_node(node("n1", 1000, "a"));
    w.add_pod(pod("p1", spec(800, GIB)));
    w.run(1);
    assert_eq!((w.bindings.len(), w.scheduler.cache().n_pods()), (1, 0));
    let told = "running Bind plugin \"DefaultBinder\": Operation cannot be fulfilled on pods/binding \"p1\"";
    assert_eq!(w.events, [format!("FailedScheduling {told}")]);
    assert_eq!(w.conditions, [format!("error: {told}")]);
    w.run(5);
    let seconds: Vec<u64> = w.bindings.iter().map(|b| b.0.floor_sec().0 / 1_000_000_000).collect();
    assert_eq!(seconds, [0, 2]);
    assert_eq!(w.scheduler.cache().n_pods(), 1);
}

#[test]
fn gates_hold_a_pod_until_they_are_gone() {
    let mut w = world();
    w.add_node(node("n1", 1000, "a"));
    let gated = PodSpec { gates: vec!["g".into()], ..spec(100, GIB) };
    let object = w.add_pod(pod("p1", gated));
    w.run(400);
    assert!(w.bindings.is_empty());
    w.put(Some(object), Obj::Pod(Arc::new(pod("p1", spec(100, GIB)))));
    w.run(401);
    assert_eq!(w.bindings.len(), 1);
}

#[test]
fn unschedulable_pods_are_tried_again_after_five_minutes() {
    let mut w = world();
    w.add_node(node("n1", 1000, "a"));
    w.add_pod(pod("p1", spec(1100, GIB)));
    w.run(299);
    let attempts = |w: &World| {
        let object = ObjRef { slot: 0, generation: 0 };
        w.scheduler.queue().get(object).map(|waiting| waiting.attempts)
    };
    assert_eq!(attempts(&w), Some(1));
    w.run(331);
    assert_eq!(attempts(&w), Some(2));
    assert_eq!(w.conditions.len(), 2, "the store of this test does not keep conditions");
}

#[test]
fn version_1_29_moves_on_any_registered_event() {
    for (version, moved) in [(KubeVersion::V1_35, 0), (KubeVersion::V1_29, 1)] {
        let mut w = World::new(SchedulerConfig { version, ..SchedulerConfig::default() });
        w.add_node(node("n1", 1000, "a"));
        w.add_pod(pod("p1", spec(1100, GIB)));
        w.run(20);
        w.add_node(node("n2", 100, "a"));
        let (active, backoff, _) = w.scheduler.queue().depths();
        assert_eq!(active + backoff, moved, "{version:?}");
    }
}

#[test]
fn pods_bound_by_others_and_deleted_while_in_hand() {
    let mut w = world();
    w.add_node(node("n1", 1000, "a"));
    let object = w.add_pod(pod("p1", spec(100, GIB)));
    w.shared.queue.pop().into_iter().for_each(|entry| {
        if let Event::Scheduler(event) = entry.event {
            w.scheduler.handle(event, &mut w.shared.context(entry.seq));
        }
    });
    assert_eq!(w.scheduler.cache().n_pods(), 1, "assumed");
    w.delete(Kind::Pod, object);
    w.run(5);
    assert!(w.bindings.is_empty() && w.scheduler.queue().is_empty());
    assert_eq!(w.scheduler.cache().n_pods(), 0);
    let foreign = Pod { node: "n1".into(), ..pod("p2", spec(500, GIB)) };
    w.add_pod(foreign);
    w.run(6);
    assert_eq!(w.scheduler.cache().n_pods(), 1);
}

#[test]
fn enough_nodes_as_upstream_counts_them() {
    let given: Vec<usize> =
        [50, 100, 1000, 5000, 5625, 20_000].map(|n| enough_nodes(n, None)).to_vec();
    assert_eq!(given, [50, 100, 420, 500, 281, 1000]);
    assert_eq!(enough_nodes(1000, Some(100)), 1000);
}

/// A random cluster under churn.
#[derive(Debug, Clone)]
enum Step {
    Node { name: u8, cpu: i64, memory: i64, taint: bool, cordon: bool, zone: u8 },
    RemoveNode(u8),
    Pod { slot: u8, node: u8, cpu: i64, memory: i64, terminating: bool },
    RemovePod(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let amount = prop_oneof![Just(0), 1..4000_i64];
    let memory = prop_oneof![Just(0), 1..64 * GIB, Just(1_i64 << 46)];
    prop_oneof![
        2 => (0..20_u8, 0..9000_i64, memory, any::<bool>(), any::<bool>(), 0..3_u8).prop_map(
            |(name, cpu, memory, taint, cordon, zone)| {
                Step::Node { name, cpu, memory, taint: taint && cordon, cordon, zone }
            }
        ),
        1 => (0..20_u8).prop_map(Step::RemoveNode),
        8 => (0..60_u8, 0..20_u8, amount, 0..9 * GIB, any::<bool>()).prop_map(
            |(slot, node, cpu, memory, terminating)| {
                Step::Pod { slot, node, cpu, memory, terminating }
            }
        ),
        2 => (0..60_u8).prop_map(Step::RemovePod),
    ]
}

fn apply(cache: &mut Cache, step: &Step) {
    let name = |n: u8| format!("n-{n}");
    let object = |slot: u8| ObjRef { slot: u32::from(slot), generation: 0 };
    match *step {
        Step::Node { name: n, cpu, memory, taint, cordon, zone } => {
            let mut made = node(&name(n), cpu, ["a", "b", "c"][usize::from(zone)]);
            let alloc = Resources { memory, ..(*made.status.allocatable).clone() };
            made.status.allocatable = Arc::new(alloc);
            made.unschedulable = cordon;
            if taint {
                let (key, value, effect) = ("t".into(), Sym::EMPTY, Effect::NoSchedule);
                made.taints = Arc::new([Taint { key, value, effect, added: Stamp::NONE }]);
            }
            cache.set_node(&Arc::new(made), 0);
        }
        Step::RemoveNode(n) => cache.remove_node(name(n).as_str().into()),
        Step::Pod { slot, node, cpu, memory, terminating } => {
            cache.remove_pod(object(slot));
            let mut made = pod(&format!("p-{slot}"), spec(cpu, memory));
            if terminating {
                let at = Stamp(9);
                made.meta.deletion = Some(crate::api::meta::Deletion { at, grace_s: 30 });
            }
            cache.add_pod(object(slot), &Arc::new(made), name(node).as_str().into(), false);
        }
        Step::RemovePod(slot) => {
            cache.remove_pod(object(slot));
        }
    }
}

/// Pods of different kinds, so that every path of the cycle is taken.
fn probes() -> Vec<Pod> {
    let plain = pod("plain", spec(700, GIB));
    let empty = pod("empty", spec(0, 0));
    let tolerant = PodSpec {
        tolerations: vec![Toleration { exists: true, ..Toleration::default() }],
        ..spec(300, GIB)
    };
    let zoned = PodSpec {
        node_selector: vec![("topology.kubernetes.io/zone".into(), "a".into())],
        ..spec(300, 5 * GIB)
    };
    let named = NodeSelectorTerm {
        expressions: Vec::new(),
        fields: vec![Requirement {
            key: "metadata.name".into(),
            op: In,
            values: vec!["n-1".into(), "n-7".into()],
        }],
    };
    let affinity = Affinity { node_required: Some(vec![named]), ..Affinity::default() };
    let named = PodSpec { affinity: Some(Arc::new(affinity)), ..spec(300, GIB) };
    let mut spread = spec(100, GIB);
    spread.spread = super::plugins::spread::Spread::default().defaults;
    for (i, constraint) in spread.spread.iter_mut().enumerate() {
        constraint.hard = i == 1;
        constraint.selector = Some(Selector::of_labels([("app".into(), "web".into())]));
    }
    vec![
        plain,
        empty,
        pod("tolerant", tolerant),
        pod("zoned", zoned),
        pod("named", named),
        pod("spread", spread),
    ]
}

/// The same cluster, built afresh.
fn rebuilt(cache: &Cache, objects: &[ObjRef]) -> Cache {
    let mut fresh = Cache::default();
    for at in 0..cache.len() {
        fresh.set_node(&Arc::new(cache.node(at).clone()), 0);
    }
    for object in objects {
        if let (Some(row), Some(node)) = (cache.pod(*object), cache.node_of(*object)) {
            fresh.add_pod(*object, &row.pod, node, false);
        }
    }
    fresh
}

fn compare(profile: &mut Profile, cache: &mut Cache, ties: TieRule) -> Result<(), TestCaseError> {
    cache.settle();
    let objects: Vec<ObjRef> = (0..60).map(|slot| ObjRef { slot, generation: 0 }).collect();
    let fresh = rebuilt(cache, &objects);
    for pod in probes() {
        let mut start = 0;
        let mut turn = Turn { start: &mut start, ties };
        let fast = profile.decide(cache, &pod, &mut turn, |_| 0);
        let plain = evaluate(cache, profile, &pod, ties, |_| 0);
        match fast.node {
            Ok(at) => prop_assert_eq!(Some(cache.at(at).name), plain.pick),
            Err(failure) if !cache.is_empty() => {
                let said = plain.post_filter.as_ref().map(|p| p.said.message.as_str());
                let whole = format!("{} {}", plain.fit_error, said.unwrap_or_default());
                prop_assert_eq!(failure.message, whole);
            }
            Err(_) => {}
        }
        // Verdicts of a cache that has lived equal those of one built afresh.
        let again = evaluate(&fresh, profile, &pod, TieRule::Name, |_| 0);
        let mut lists = [plain.feasible.clone(), again.feasible.clone()];
        lists.iter_mut().for_each(|list| list.sort_by(|a, b| a.cmp_text(*b)));
        prop_assert_eq!(&lists[0], &lists[1]);
        let [a, b] = [&plain, &again].map(|e| e.totals.iter().copied().max());
        prop_assert_eq!(a, b);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_path_decides_as_the_plain_one(
        steps in proptest::collection::vec(step(), 1..60),
        most in any::<bool>(),
    ) {
        let mut config = ProfileConfig::default();
        if most {
            config.args.fit.strategy = Scoring::MostAllocated;
        }
        let mut profile = Profile::new(&config);
        let mut cache = Cache::default();
        for (i, step) in steps.iter().enumerate() {
            apply(&mut cache, step);
            if i % 8 == 0 || i + 1 == steps.len() {
                compare(&mut profile, &mut cache, TieRule::Upstream)?;
            }
        }
    }

    #[test]
    fn float_scores_equal_integer_division(
        cap in 1_i64..(1 << 46),
        part in 0_i64..=1_000_000,
        nudge in -2_i64..=2,
    ) {
        // Near multiples of cap / 100, where rounding would show.
        let free = (cap / 1_000_000 * part + cap * (part % 101) / 100 + nudge).clamp(0, cap);
        let float = num::float(free) * 100.0 / num::float(cap);
        prop_assert_eq!(small_to_int(floor_small(float)), free * 100 / cap);
    }
}

#[test]
fn batches_equal_single_nodes_in_a_cluster_of_several_chunks() {
    let mut cache = Cache::default();
    for i in 0..300_u32 {
        let cpu = 1000 + i64::from(i * 37 % 64) * 500;
        cache.set_node(&Arc::new(node(&format!("n-{i}"), cpu, ["a", "b"][i as usize % 2])), 0);
    }
    let mut profile = Profile::new(&ProfileConfig::default());
    let mut start = 0;
    for i in 0..900_u32 {
        let size = i64::from(i * 7919 % 1800);
        let pod = Arc::new(pod(&format!("p-{i}"), spec(100 + size, GIB + size * 1_000_003)));
        let before = start % 300;
        let mut turn = Turn { start: &mut start, ties: TieRule::First };
        let decision = profile.decide(&mut cache, &pod, &mut turn, |_| 0);
        let Ok(at) = decision.node else { continue };
        // The plain path over the same window of nodes.
        let mut state = super::framework::CycleState::default();
        profile.prepare(&mut cache, &pod, &mut state);
        let view = View { cache: &cache, pod: &pod };
        let seen = decision.evaluated as usize;
        let window: Vec<usize> = (0..seen).map(|k| (before + k) % 300).collect();
        let fits: Vec<usize> = window
            .iter()
            .copied()
            .filter(|at| profile.judge(view, &state, 0, *at).passed())
            .collect();
        assert!(fits.contains(&at));
        assert_eq!(fits.len(), decision.feasible as usize);
        let object = ObjRef { slot: i, generation: 0 };
        let name = cache.at(at).name;
        cache.add_pod(object, &pod, name, true);
    }
}
