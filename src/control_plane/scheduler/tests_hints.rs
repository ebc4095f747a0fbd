//! The hint table (behaviour reference §2.4), row by row: an event that queues a pod the plugin
//! has rejected, and one that does not.

use super::SchedulerConfig;
use super::cache::Cache;
use super::config::ProfileConfig;
use super::framework::{ClusterEvent, Hint};
use super::profile::Profile;
use super::tests::{GIB, World, node, pod, spec};
use crate::api::labels::{Op, Requirement};
use crate::api::meta::Stamp;
use crate::api::node::Node;
use crate::api::pod::{
    Affinity, Effect, NodeSelectorTerm, PodAffinityTerm, Port, PreemptionPolicy, Resized,
    SpreadConstraint, Taint, Toleration,
};
use crate::api::resources::Resources;
use crate::api::{Kind, LabelSet, Obj, Pod, PodSpec, Selector};
use crate::engine::Sym;
use std::sync::Arc;

const ZONE: &str = "topology.kubernetes.io/zone";

fn ask(plugin: &str, pod: &Pod, event: ClusterEvent<'_>) -> Hint {
    let profile = Profile::new(&ProfileConfig::default());
    let row = profile.rows.iter().find(|r| r.name == plugin).unwrap();
    row.plugin.hint(pod, &event, &Cache::default())
}

fn on_node(pod: Pod) -> Pod {
    Pod { node: "n1".into(), ..pod }
}

fn app(mut pod: Pod, app: &str) -> Pod {
    pod.meta.labels = LabelSet::new([("app".into(), app.into())]);
    pod
}

fn relabelled(mut node: Node, key: &str, value: &str) -> Node {
    node.meta.labels = node.meta.labels.with(key.into(), value.into());
    node
}

fn tainted(mut node: Node, effect: Effect) -> Node {
    let taint = Taint { key: "t".into(), value: Sym::EMPTY, effect, added: Stamp::NONE };
    node.taints = Arc::new([taint]);
    node
}

fn small() -> Node {
    node("n1", 1000, "a")
}

fn large() -> Node {
    node("n1", 4000, "a")
}

#[test]
fn node_resources_fit() {
    let ask = |event: ClusterEvent<'_>| ask("NodeResourcesFit", &pod("p", spec(2000, GIB)), event);
    let other = pod("o", spec(100, GIB));
    assert_eq!(ask(ClusterEvent::PodGone(&on_node(other.clone()))), Hint::Queue);
    assert_eq!(ask(ClusterEvent::PodGone(&other)), Hint::Skip, "it was nowhere");
    let mut promised = other.clone();
    promised.status.nominated = "n1".into();
    assert_eq!(ask(ClusterEvent::PodGone(&promised)), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeAdd(&large())), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeAdd(&small())), Hint::Skip, "too small even if empty");
    let grown = ClusterEvent::NodeUpdate { old: &small(), new: &large() };
    assert_eq!(ask(grown), Hint::Queue);
    let shrunk = ClusterEvent::NodeUpdate { old: &node("n1", 8000, "a"), new: &large() };
    assert_eq!(ask(shrunk), Hint::Skip);
    let came = on_node(other);
    assert_eq!(ask(ClusterEvent::AssignedPod { old: None, pod: &came }), Hint::Unregistered);
}

/// A pod resized in place to this much cpu.
fn resized(cpu_milli: i64) -> Pod {
    let mut pod = on_node(pod("o", spec(cpu_milli, GIB)));
    let amounts = Resources { cpu_milli, memory: GIB, ..Resources::default() };
    let name = pod.spec.containers[0].name;
    let containers = vec![(name, Some(amounts.clone()), Some(amounts))];
    pod.status.resized = Some(Arc::new(Resized { containers, infeasible: false }));
    pod
}

#[test]
fn node_resources_fit_and_a_pod_that_is_scaled_down() {
    let (more, less) = (resized(3000), resized(1000));
    let cpu = pod("p", spec(2000, GIB));
    let memory = pod("p", spec(0, GIB));
    let event = |old, pod| ClusterEvent::AssignedPod { old: Some(old), pod };
    assert_eq!(ask("NodeResourcesFit", &cpu, event(&more, &less)), Hint::Queue);
    assert_eq!(ask("NodeResourcesFit", &memory, event(&more, &less)), Hint::Skip);
    assert_eq!(ask("NodeResourcesFit", &cpu, event(&less, &more)), Hint::Unregistered);
    let own = pod("p", spec(3000, GIB));
    assert_eq!(ask("NodeResourcesFit", &cpu, ClusterEvent::Own { old: &own }), Hint::Queue);
    assert_eq!(ask("NodeResourcesFit", &own, ClusterEvent::Own { old: &cpu }), Hint::Unregistered);
}

#[test]
fn node_name() {
    let wanted = pod("p", PodSpec { node_name: "n1".into(), ..spec(1, 1) });
    assert_eq!(ask("NodeName", &wanted, ClusterEvent::NodeAdd(&small())), Hint::Queue);
    let gone = on_node(pod("o", spec(1, 1)));
    assert_eq!(ask("NodeName", &wanted, ClusterEvent::PodGone(&gone)), Hint::Unregistered);
}

#[test]
fn node_unschedulable() {
    let p = pod("p", spec(1, 1));
    let cordoned = Node { unschedulable: true, ..small() };
    let ask = |event: ClusterEvent<'_>| ask("NodeUnschedulable", &p, event);
    assert_eq!(ask(ClusterEvent::NodeAdd(&small())), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeAdd(&cordoned)), Hint::Skip);
    assert_eq!(ask(ClusterEvent::NodeUpdate { old: &cordoned, new: &small() }), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeUpdate { old: &small(), new: &cordoned }), Hint::Skip);
}

#[test]
fn node_unschedulable_and_an_own_toleration() {
    let key = "node.kubernetes.io/unschedulable".into();
    let all = Toleration { key, exists: true, ..Toleration::default() };
    let tolerant = pod("p", PodSpec { tolerations: vec![all], ..spec(1, 1) });
    let plain = pod("p", spec(1, 1));
    let own = |new: &Pod, old: &Pod| ask("NodeUnschedulable", new, ClusterEvent::Own { old });
    assert_eq!(own(&tolerant, &plain), Hint::Queue);
    assert_eq!(own(&plain, &tolerant), Hint::Skip);
}

#[test]
fn taint_toleration() {
    let p = pod("p", spec(1, 1));
    let hard = tainted(small(), Effect::NoSchedule);
    let ask_p = |event: ClusterEvent<'_>| ask("TaintToleration", &p, event);
    assert_eq!(ask_p(ClusterEvent::NodeAdd(&small())), Hint::Queue);
    assert_eq!(ask_p(ClusterEvent::NodeAdd(&hard)), Hint::Skip);
    assert_eq!(ask_p(ClusterEvent::NodeUpdate { old: &hard, new: &small() }), Hint::Queue);
    assert_eq!(ask_p(ClusterEvent::NodeUpdate { old: &small(), new: &small() }), Hint::Skip);
    let all = Toleration { exists: true, ..Toleration::default() };
    let tolerant = pod("p", PodSpec { tolerations: vec![all], ..spec(1, 1) });
    assert_eq!(ask("TaintToleration", &tolerant, ClusterEvent::Own { old: &p }), Hint::Queue);
    assert_eq!(ask_p(ClusterEvent::Own { old: &p }), Hint::Skip);
}

#[test]
fn node_affinity() {
    let term = NodeSelectorTerm {
        expressions: vec![Requirement { key: "disk".into(), op: Op::Exists, values: Vec::new() }],
        fields: Vec::new(),
    };
    let affinity = Affinity { node_required: Some(vec![term]), ..Affinity::default() };
    let p = pod("p", PodSpec { affinity: Some(Arc::new(affinity)), ..spec(1, 1) });
    let with = relabelled(small(), "disk", "ssd");
    let ask = |event: ClusterEvent<'_>| ask("NodeAffinity", &p, event);
    assert_eq!(ask(ClusterEvent::NodeAdd(&with)), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeAdd(&small())), Hint::Skip);
    assert_eq!(ask(ClusterEvent::NodeUpdate { old: &small(), new: &with }), Hint::Queue);
    let still = relabelled(with.clone(), "x", "y");
    assert_eq!(ask(ClusterEvent::NodeUpdate { old: &with, new: &still }), Hint::Skip);
}

#[test]
fn node_ports() {
    let holding = |port: u16| {
        let mut of = spec(1, 1);
        of.containers[0].ports = vec![Port { host_port: port, ..Port::default() }];
        of
    };
    let p = pod("p", holding(80));
    let ask = |event: ClusterEvent<'_>| ask("NodePorts", &p, event);
    assert_eq!(ask(ClusterEvent::PodGone(&on_node(pod("o", holding(80))))), Hint::Queue);
    assert_eq!(ask(ClusterEvent::PodGone(&on_node(pod("o", holding(81))))), Hint::Skip);
    assert_eq!(ask(ClusterEvent::PodGone(&pod("o", holding(80)))), Hint::Skip, "it was nowhere");
    assert_eq!(ask(ClusterEvent::NodeAdd(&small())), Hint::Queue);
    let update = ClusterEvent::NodeUpdate { old: &small(), new: &large() };
    assert_eq!(ask(update), Hint::Unregistered);
}

fn term(to: &str) -> PodAffinityTerm {
    PodAffinityTerm {
        selector: Some(Selector::of_labels([("app".into(), to.into())])),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: ZONE.into(),
    }
}

fn likes(to: &str) -> PodSpec {
    let affinity = Affinity { pod_required: vec![term(to)], ..Affinity::default() };
    PodSpec { affinity: Some(Arc::new(affinity)), ..spec(1, 1) }
}

fn shuns(to: &str) -> PodSpec {
    let affinity = Affinity { anti_required: vec![term(to)], ..Affinity::default() };
    PodSpec { affinity: Some(Arc::new(affinity)), ..spec(1, 1) }
}

#[test]
fn inter_pod_affinity_and_pods() {
    let other = |label: &str| on_node(app(pod("o", spec(1, 1)), label));
    let (db, web) = (other("db"), other("web"));
    let fond = pod("p", likes("db"));
    let ask_as = |p: &Pod, event: ClusterEvent<'_>| ask("InterPodAffinity", p, event);
    let came = |pod| ClusterEvent::AssignedPod { old: None, pod };
    let changed = |old, pod| ClusterEvent::AssignedPod { old: Some(old), pod };
    assert_eq!(ask_as(&fond, came(&db)), Hint::Queue);
    assert_eq!(ask_as(&fond, came(&web)), Hint::Skip);
    assert_eq!(ask_as(&fond, changed(&web, &db)), Hint::Queue);
    assert_eq!(ask_as(&fond, changed(&db, &web)), Hint::Skip);
    assert_eq!(ask_as(&fond, ClusterEvent::PodGone(&db)), Hint::Skip);
    let shy = pod("p", shuns("db"));
    assert_eq!(ask_as(&shy, ClusterEvent::PodGone(&db)), Hint::Queue);
    assert_eq!(ask_as(&shy, ClusterEvent::PodGone(&web)), Hint::Skip);
    assert_eq!(ask_as(&shy, changed(&db, &web)), Hint::Queue);
    // Shunned by the other pod: its end helps.
    let plain = app(pod("p", spec(1, 1)), "mine");
    let unkind = |to: &str| on_node(pod("o", shuns(to)));
    assert_eq!(ask_as(&plain, ClusterEvent::PodGone(&unkind("mine"))), Hint::Queue);
    assert_eq!(ask_as(&plain, ClusterEvent::PodGone(&unkind("db"))), Hint::Skip);
}

#[test]
fn inter_pod_affinity_and_nodes() {
    let fond = pod("p", likes("db"));
    let ask = |event: ClusterEvent<'_>| ask("InterPodAffinity", &fond, event);
    let mut bare = small();
    bare.meta.labels = LabelSet::default();
    assert_eq!(ask(ClusterEvent::NodeAdd(&small())), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeAdd(&bare)), Hint::Skip, "it lacks the topology key");
    let moved = relabelled(small(), ZONE, "b");
    assert_eq!(ask(ClusterEvent::NodeUpdate { old: &small(), new: &moved }), Hint::Queue);
    let other = relabelled(small(), "x", "y");
    assert_eq!(ask(ClusterEvent::NodeUpdate { old: &small(), new: &other }), Hint::Skip);
    let same = ClusterEvent::NodeUpdate { old: &small(), new: &large() };
    assert_eq!(ask(same), Hint::Unregistered);
}

fn spread(honor_taints: bool) -> Pod {
    let constraint = SpreadConstraint {
        max_skew: 1,
        topology_key: ZONE.into(),
        hard: true,
        selector: Some(Selector::of_labels([("app".into(), "web".into())])),
        min_domains: None,
        honor_affinity: true,
        honor_taints,
        match_label_keys: Vec::new(),
    };
    pod("p", PodSpec { spread: vec![constraint], ..spec(1, 1) })
}

#[test]
fn pod_topology_spread_and_pods() {
    let p = spread(false);
    let ask = |event: ClusterEvent<'_>| ask("PodTopologySpread", &p, event);
    let (web, db) = (on_node(pod("o", spec(1, 1))), on_node(app(pod("o", spec(1, 1)), "db")));
    let mut far = web.clone();
    far.meta.ns = "elsewhere".into();
    let came = |pod| ClusterEvent::AssignedPod { old: None, pod };
    let changed = |old, pod| ClusterEvent::AssignedPod { old: Some(old), pod };
    assert_eq!(ask(came(&web)), Hint::Queue);
    assert_eq!(ask(came(&db)), Hint::Skip);
    assert_eq!(ask(came(&far)), Hint::Skip, "another namespace");
    assert_eq!(ask(changed(&web, &db)), Hint::Queue);
    assert_eq!(ask(changed(&db, &app(db.clone(), "cache"))), Hint::Skip);
    assert_eq!(ask(ClusterEvent::PodGone(&web)), Hint::Queue);
    assert_eq!(ask(ClusterEvent::PodGone(&db)), Hint::Skip);
}

#[test]
fn pod_topology_spread_and_an_own_toleration() {
    for (honor, hint) in [(true, Hint::Queue), (false, Hint::Skip)] {
        let old = spread(honor);
        let all = Toleration { exists: true, ..Toleration::default() };
        let mut now = old.clone();
        Arc::make_mut(&mut now.spec).tolerations = vec![all];
        assert_eq!(ask("PodTopologySpread", &now, ClusterEvent::Own { old: &old }), hint);
    }
}

#[test]
fn pod_topology_spread_and_nodes() {
    let p = spread(false);
    let ask = |event: ClusterEvent<'_>| ask("PodTopologySpread", &p, event);
    let mut bare = small();
    bare.meta.labels = LabelSet::default();
    assert_eq!(ask(ClusterEvent::NodeAdd(&small())), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeAdd(&bare)), Hint::Skip);
    assert_eq!(ask(ClusterEvent::NodeDelete(&small())), Hint::Queue);
    assert_eq!(ask(ClusterEvent::NodeDelete(&bare)), Hint::Skip);
    let update = |old: &Node, new: &Node| ask(ClusterEvent::NodeUpdate { old, new });
    assert_eq!(update(&bare, &small()), Hint::Queue, "it enters the topology");
    assert_eq!(update(&small(), &bare), Hint::Queue, "it leaves");
    assert_eq!(update(&small(), &relabelled(small(), ZONE, "b")), Hint::Queue);
    assert_eq!(update(&small(), &tainted(small(), Effect::NoSchedule)), Hint::Queue);
    assert_eq!(update(&small(), &large()), Hint::Skip);
}

#[test]
fn scheduling_gates() {
    let gated = pod("p", PodSpec { gates: vec!["g".into()], ..spec(1, 1) });
    let free = pod("p", spec(1, 1));
    assert_eq!(ask("SchedulingGates", &free, ClusterEvent::Own { old: &gated }), Hint::Queue);
    assert_eq!(ask("SchedulingGates", &gated, ClusterEvent::Own { old: &gated }), Hint::Skip);
    assert_eq!(ask("SchedulingGates", &gated, ClusterEvent::NodeAdd(&small())), Hint::Unregistered);
}

#[test]
fn default_preemption() {
    let p = pod("p", spec(1, 1));
    let gone = on_node(pod("o", spec(1, 1)));
    assert_eq!(ask("DefaultPreemption", &p, ClusterEvent::PodGone(&gone)), Hint::Skip);
    assert_eq!(ask("DefaultPreemption", &p, ClusterEvent::NodeAdd(&small())), Hint::Unregistered);
}

// ----- in the queue -----

fn waiting(w: &World) -> usize {
    w.scheduler.queue().depths().2
}

#[test]
fn a_pod_that_comes_moves_only_pods_that_look_at_others() {
    let mut w = World::new(SchedulerConfig::default());
    w.add_node(small());
    w.add_pod(pod("too-big", spec(2000, GIB)));
    w.add_pod(pod("fond", likes("db")));
    w.run(10);
    assert_eq!(waiting(&w), 2);
    w.add_pod(on_node(app(pod("web", spec(1, 1)), "web")));
    assert_eq!(waiting(&w), 2);
    w.add_pod(on_node(app(pod("db", spec(1, 1)), "db")));
    assert_eq!(waiting(&w), 1);
    w.run(11);
    assert_eq!(w.bindings.last().map(|b| &*b.1), Some("fond"));
}

#[test]
fn an_event_during_the_cycle_is_not_lost() {
    for (helps, place) in [(true, (0, 1, 0)), (false, (0, 0, 1))] {
        let mut w = World::new(SchedulerConfig::default());
        w.add_node(small());
        let low = w.add_pod(on_node(pod("low", spec(800, GIB))));
        w.run(5);
        let never = PodSpec { preemption: PreemptionPolicy::Never, ..spec(900, GIB) };
        w.add_pod(pod("p", never));
        let mut handle = || {
            let entry = w.shared.queue.pop().unwrap();
            w.shared.advance(entry.time);
            if let crate::event::Event::Scheduler(event) = entry.event {
                w.scheduler.handle(event, &mut w.shared.context(entry.seq));
            }
        };
        // The cycle has looked at the cluster, and ends 300 us later.
        handle();
        if helps {
            w.delete(Kind::Pod, low);
        } else {
            w.add_node(node("n2", 100, "a"));
        }
        let depths = |w: &World| w.scheduler.queue().depths();
        assert_eq!(depths(&w), (0, 0, 0), "in hand");
        let mut end = || {
            let entry = w.shared.queue.pop().unwrap();
            w.shared.advance(entry.time);
            if let crate::event::Event::Scheduler(event) = entry.event {
                w.scheduler.handle(event, &mut w.shared.context(entry.seq));
            }
        };
        end();
        assert_eq!(depths(&w), place, "helps: {helps}");
    }
}

#[test]
fn a_pod_that_changes_itself_is_tried_again_only_if_that_helps() {
    let mut w = World::new(SchedulerConfig::default());
    w.add_node(tainted(small(), Effect::NoSchedule));
    let object = w.add_pod(pod("p", spec(1, 1)));
    w.run(5);
    let mut changed = pod("p", spec(1, 1));
    changed.meta.labels = changed.meta.labels.with("x".into(), "y".into());
    w.put(Some(object), Obj::Pod(Arc::new(changed.clone())));
    assert_eq!(waiting(&w), 1);
    let all = Toleration { exists: true, ..Toleration::default() };
    Arc::make_mut(&mut changed.spec).tolerations = vec![all];
    w.put(Some(object), Obj::Pod(Arc::new(changed)));
    w.run(6);
    assert_eq!(w.bindings.len(), 1);
}

#[test]
fn the_room_of_a_failed_binding_helps_others() {
    let mut w = World::new(SchedulerConfig::default());
    w.errors = 1;
    w.add_node(small());
    w.add_pod(pod("first", spec(800, GIB)));
    let patient = PodSpec { preemption: PreemptionPolicy::Never, ..spec(900, GIB) };
    w.add_pod(pod("second", patient));
    w.run(2);
    // `first` backs off for its error; `second` was rejected while `first` was assumed.
    assert_eq!(w.bindings.last().map(|b| &*b.1), Some("second"));
}
