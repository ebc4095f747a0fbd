//! Nominated pods and preemption, from the decision to the requests.

use super::SchedulerConfig;
use super::cache::Cache;
use super::config::ProfileConfig;
use super::evaluate::{Evaluation, evaluate};
use super::profile::Profile;
use super::tests::{GIB, World, node, pod, spec, world};
use super::ties::TieRule;
use crate::api::meta::Stamp;
use crate::api::pdb::PodDisruptionBudget;
use crate::api::pod::{
    Affinity, ConditionType, PodAffinityTerm, Port, PreemptionPolicy, SpreadConstraint,
};
use crate::api::version::KubeVersion;
use crate::api::versions::ObjRef;
use crate::api::{Kind, LabelSet, Meta, Name, Pod, PodSpec, Selector};
use crate::engine::{SimTime, Sym};
use std::sync::Arc;

const ZONE: &str = "topology.kubernetes.io/zone";

fn object(slot: u32) -> ObjRef {
    ObjRef { slot, generation: 0 }
}

fn with_priority(priority: i32, of: PodSpec) -> PodSpec {
    PodSpec { priority, ..of }
}

fn labelled(mut pod: Pod, app: &str) -> Pod {
    pod.meta.labels = LabelSet::new([("app".into(), app.into())]);
    pod
}

fn selects(app: &str) -> Selector {
    Selector::of_labels([("app".into(), app.into())])
}

fn started(mut pod: Pod, at: u32) -> Pod {
    pod.status.start = Stamp(at);
    pod
}

/// Two nodes of one zone each.
fn two_nodes() -> Cache {
    let mut cache = Cache::default();
    cache.set_node(&Arc::new(node("n1", 4000, "a")), 0);
    cache.set_node(&Arc::new(node("n2", 4000, "b")), 0);
    cache
}

fn put(cache: &mut Cache, slot: u32, node: &str, pod: Pod) {
    let pod = Pod { node: node.into(), ..pod };
    cache.add_pod(object(slot), &Arc::new(pod), node.into(), false);
}

fn nominate(cache: &mut Cache, slot: u32, node: &str, pod: Pod) {
    cache.nominator.set(object(slot), &Arc::new(pod), node.into());
}

fn decide(cache: &Cache, pod: &Pod) -> Evaluation {
    let mut profile = Profile::new(&ProfileConfig::default());
    let plain = evaluate(cache, &profile, pod, TieRule::Name, |_| 0);
    // The fast path says the same, and both leave the cache as it was.
    let mut fast_cache = cache.clone();
    for _ in 0..2 {
        let mut start = 0;
        let mut turn = super::profile::Turn { start: &mut start, ties: TieRule::Name };
        match profile.decide(&mut fast_cache, pod, &mut turn, |_| 0).node {
            Ok(at) => assert_eq!(Some(fast_cache.at(at).name), plain.pick),
            Err(failure) => {
                let said = &plain.post_filter.as_ref().unwrap().said;
                assert_eq!(failure.nomination, said.nomination);
                let text = format!("{} {}", plain.fit_error, said.message);
                assert_eq!(failure.message, text.trim_end());
            }
        }
    }
    plain
}

fn feasible(cache: &Cache, pod: &Pod) -> Vec<String> {
    decide(cache, pod).feasible.iter().map(ToString::to_string).collect()
}

fn candidates(cache: &Cache, pod: &Pod) -> Vec<(String, Vec<String>, u32)> {
    let mut found = decide(cache, pod).post_filter.unwrap().candidates;
    found.sort_by(|a, b| a.node.cmp_text(b.node));
    found.into_iter().map(|c| (c.node.to_string(), c.victims, c.violations)).collect()
}

#[test]
fn pods_of_its_priority_or_more_keep_the_room_they_were_promised() {
    for (priority, nodes) in [(4, vec!["n1", "n2"]), (5, vec!["n2"]), (6, vec!["n2"])] {
        let mut cache = two_nodes();
        nominate(&mut cache, 1, "n1", pod("promised", with_priority(priority, spec(3000, GIB))));
        let mine = pod("mine", with_priority(5, spec(2000, GIB)));
        assert_eq!(feasible(&cache, &mine), nodes, "priority {priority}");
    }
    // A pod does not stand in its own way.
    let mut cache = two_nodes();
    nominate(&mut cache, 1, "n1", pod("mine", with_priority(5, spec(3000, GIB))));
    let mine = pod("mine", with_priority(5, spec(3000, GIB)));
    assert_eq!(feasible(&cache, &mine), ["n1", "n2"]);
}

#[test]
fn nominated_pods_count_for_ports_spread_and_anti_affinity() {
    let term = PodAffinityTerm {
        selector: Some(selects("web")),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: ZONE.into(),
    };
    let mut ports = spec(100, GIB);
    ports.containers[0].ports = vec![Port { host_port: 80, ..Port::default() }];
    let anti = Affinity { anti_required: vec![term], ..Affinity::default() };
    let repels = PodSpec { affinity: Some(Arc::new(anti)), ..spec(100, GIB) };
    let mut spread = spec(100, GIB);
    spread.spread = vec![SpreadConstraint {
        max_skew: 1,
        topology_key: ZONE.into(),
        hard: true,
        selector: Some(selects("web")),
        min_domains: None,
        honor_affinity: true,
        honor_taints: false,
        match_label_keys: Vec::new(),
    }];
    for (what, of) in [("ports", ports), ("anti-affinity", repels), ("spread", spread)] {
        let mut cache = two_nodes();
        nominate(&mut cache, 1, "n1", pod("promised", of.clone()));
        assert_eq!(feasible(&cache, &pod("mine", of)), ["n2"], "{what}");
    }
    // Only by the terms of the nominated pod: a topology key nobody else has asked for.
    let mut cache = two_nodes();
    put(&mut cache, 7, "n2", labelled(pod("old", anti_to("mine", ZONE)), "old"));
    nominate(
        &mut cache,
        1,
        "n1",
        labelled(pod("promised", anti_to("mine", "kubernetes.io/hostname")), "x"),
    );
    let mine = labelled(pod("mine", spec(100, GIB)), "mine");
    assert!(decide(&cache, &mine).feasible.is_empty());
}

fn anti_to(app: &str, key: &str) -> PodSpec {
    let term = PodAffinityTerm {
        selector: Some(selects(app)),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: key.into(),
    };
    let anti = Affinity { anti_required: vec![term], ..Affinity::default() };
    PodSpec { affinity: Some(Arc::new(anti)), ..spec(100, GIB) }
}

#[test]
fn a_pod_may_not_lean_on_a_pod_that_has_not_come_yet() {
    let term = PodAffinityTerm {
        selector: Some(selects("friend")),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: ZONE.into(),
    };
    let likes = Affinity { pod_required: vec![term], ..Affinity::default() };
    let mine = pod("mine", PodSpec { affinity: Some(Arc::new(likes)), ..spec(100, GIB) });
    let mut cache = two_nodes();
    nominate(&mut cache, 1, "n1", labelled(pod("promised", spec(100, GIB)), "friend"));
    assert!(decide(&cache, &mine).feasible.is_empty(), "the second pass is without it");
    put(&mut cache, 2, "n2", labelled(pod("there", spec(100, GIB)), "friend"));
    assert_eq!(feasible(&cache, &mine), ["n2"]);
}

#[test]
fn only_as_many_victims_as_needed_and_the_least_important_ones() {
    let mut cache = two_nodes();
    cache.remove_node("n2".into());
    for (slot, priority, cpu) in [(1, 1, 1000), (2, 3, 1000), (3, 2, 1000), (4, 9, 1000)] {
        let of = with_priority(priority, spec(cpu, GIB));
        put(&mut cache, slot, "n1", pod(&format!("p{slot}"), of));
    }
    let mine = |cpu| pod("mine", with_priority(5, spec(cpu, GIB)));
    let names = |list: &[&str]| list.iter().map(|n| format!("ns/{n}")).collect::<Vec<_>>();
    assert_eq!(candidates(&cache, &mine(1000)), [("n1".into(), names(&["p1"]), 0)]);
    assert_eq!(candidates(&cache, &mine(1500)), [("n1".into(), names(&["p3", "p1"]), 0)]);
    assert_eq!(candidates(&cache, &mine(3000)), [("n1".into(), names(&["p2", "p3", "p1"]), 0)]);
    let found = decide(&cache, &mine(3500));
    let said = found.post_filter.unwrap().said;
    assert_eq!(
        said.message,
        "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Insufficient cpu."
    );
    assert!(said.nomination.is_some_and(|n| n.node.is_empty()), "an old promise is void");
}

#[test]
fn budgets_are_spared_first_and_counted() {
    let mut cache = two_nodes();
    let of = |app, slot: u32| labelled(pod(&format!("{app}{slot}"), spec(2000, GIB)), app);
    put(&mut cache, 1, "n1", of("db", 1));
    put(&mut cache, 2, "n1", of("web", 2));
    put(&mut cache, 3, "n2", of("db", 3));
    put(&mut cache, 4, "n2", of("db", 4));
    let mut budget = PodDisruptionBudget {
        meta: Meta::named("ns".into(), Name::new("db")),
        selector: Some(selects("db")),
        ..PodDisruptionBudget::default()
    };
    cache.set_budget("ns".into(), budget.meta.name, Some(budget.clone()));
    let mine = pod("mine", with_priority(5, spec(2000, GIB)));
    let names = |n: &str| vec![format!("ns/{n}")];
    let found = candidates(&cache, &mine);
    assert_eq!(found, [("n1".into(), names("web2"), 0), ("n2".into(), names("db4"), 1)]);
    // One may go: the budget is used up by the more important pod.
    budget.status.disruptions_allowed = 1;
    cache.set_budget("ns".into(), budget.meta.name, Some(budget.clone()));
    let found = candidates(&cache, &mine);
    assert_eq!(found[1], ("n2".into(), names("db3"), 0), "db4 is spared first: it would violate");
    budget.status.disrupted = ["db3", "db4"].map(|n| (Name::new(n), Stamp(1))).to_vec();
    budget.status.disruptions_allowed = 0;
    cache.set_budget("ns".into(), budget.meta.name, Some(budget));
    assert_eq!(candidates(&cache, &mine)[1].2, 0, "counted already");
}

#[test]
fn the_node_is_chosen_by_the_ladder_of_rules() {
    // Per node: priority, cpu and start of each pod. n2 wins each time, by the rule named.
    type Pods = &'static [(i32, i64, u32)];
    let ladder: [(&str, Pods, Pods); 4] = [
        ("lowest highest priority", &[(3, 4000, 9)], &[(2, 2000, 1), (2, 2000, 1)]),
        ("smallest sum", &[(3, 2000, 9), (3, 2000, 9)], &[(3, 2000, 1), (2, 2000, 1)]),
        ("fewer victims", &[(-9, 2000, 9), (-9, 2000, 9)], &[(-9, 4000, 1)]),
        ("latest start", &[(3, 4000, 8)], &[(3, 4000, 9)]),
    ];
    for (rule, first, second) in ladder {
        let mut cache = two_nodes();
        let mut slot = 0;
        for (node, pods) in [("n1", first), ("n2", second)] {
            for &(priority, cpu, start) in pods {
                slot += 1;
                let of = with_priority(priority, spec(cpu, GIB));
                put(&mut cache, slot, node, started(pod(&format!("p{slot}"), of), start));
            }
        }
        let mine = pod("mine", with_priority(5, spec(4000, GIB)));
        let found = decide(&cache, &mine).post_filter.unwrap();
        assert_eq!(found.best, [Sym::new("n2")], "{rule}");
    }
}

#[test]
fn who_may_not_preempt() {
    let mut cache = two_nodes();
    put(&mut cache, 1, "n1", pod("p1", spec(4000, GIB)));
    put(&mut cache, 2, "n2", pod("p2", spec(4000, GIB)));
    let mut mine = with_priority(5, spec(4000, GIB));
    mine.preemption = PreemptionPolicy::Never;
    let said = decide(&cache, &pod("mine", mine)).post_filter.unwrap();
    assert!(!said.eligible);
    assert_eq!(
        said.said.message,
        "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
    );
    assert_eq!(said.said.nomination, None);
}

#[test]
fn a_hard_spread_follows_the_victims() {
    let mut cache = two_nodes();
    let mut of = spec(100, GIB);
    of.spread = vec![SpreadConstraint {
        max_skew: 1,
        topology_key: ZONE.into(),
        hard: true,
        selector: Some(selects("web")),
        min_domains: None,
        honor_affinity: true,
        honor_taints: false,
        match_label_keys: Vec::new(),
    }];
    put(&mut cache, 1, "n1", pod("p1", spec(100, GIB)));
    put(&mut cache, 2, "n1", pod("p2", spec(100, GIB)));
    put(&mut cache, 3, "n2", labelled(pod("big", with_priority(9, spec(4000, GIB))), "big"));
    let mine = pod("mine", with_priority(5, of));
    let found = candidates(&cache, &mine);
    assert_eq!(found, [("n1".into(), vec!["ns/p1".into(), "ns/p2".into()], 0)]);
}

// ----- through requests -----

fn full_cluster() -> (World, [ObjRef; 2]) {
    let mut w = World::new(SchedulerConfig::default());
    w.keeps = true;
    w.add_node(node("n1", 2000, "a"));
    let first = w.add_pod(Pod { node: "n1".into(), ..pod("low-1", spec(1000, GIB)) });
    let second = w.add_pod(Pod { node: "n1".into(), ..pod("low-2", spec(1000, GIB)) });
    (w, [first, second])
}

fn high(name: &str) -> Pod {
    pod(name, with_priority(5, spec(2000, GIB)))
}

fn writes(w: &World) -> Vec<&str> {
    w.writes.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn victims_are_told_and_deleted_and_the_preemptor_waits_for_the_last() {
    let (mut w, lows) = full_cluster();
    w.run(5);
    let object = w.add_pod(high("high"));
    w.run(10);
    let expected = [
        "DisruptionTarget low-1",
        "PodScheduled high",
        "Delete low-1",
        "DisruptionTarget low-2",
        "Delete low-2",
    ];
    assert_eq!(writes(&w), expected);
    assert_eq!(w.stored(object).status.nominated, Sym::new("n1"));
    let told = w.stored(lows[0]);
    let told = told.status.condition(ConditionType::DisruptionTarget).unwrap();
    assert_eq!(told.reason.as_str(), "PreemptionByScheduler");
    assert_eq!(
        told.message.as_str(),
        "default-scheduler: preempting to accommodate a higher priority pod"
    );
    let preempted: Vec<_> = w.events.iter().filter(|e| e.starts_with("Preempted")).collect();
    assert_eq!(preempted.len(), 2);
    assert!(preempted[0].ends_with("on node n1"), "{preempted:?}");
    // The first victim goes: not enough, and no second preemption while one is on its way out.
    w.delete(Kind::Pod, lows[0]);
    w.run(20);
    assert_eq!(writes(&w).len(), 6, "the condition says why");
    let last = w.conditions.last().unwrap();
    assert!(
        last.ends_with("not eligible due to a terminating pod on the nominated node."),
        "{last}"
    );
    assert_eq!(w.stored(object).status.nominated, Sym::new("n1"));
    w.delete(Kind::Pod, lows[1]);
    w.run(30);
    let bound: Vec<_> = w.bindings.iter().map(|b| (&*b.1, &*b.2)).collect();
    assert_eq!(bound, [("high", "n1")]);
    assert!(w.scheduler.cache().nominator.is_empty());
}

#[test]
fn while_its_victims_are_being_deleted_the_preemptor_is_held() {
    let (mut w, lows) = full_cluster();
    w.run(5);
    let object = w.add_pod(high("high"));
    // The cycle ends after 300 us, the first requests arrive 100 us later. Before their answers, a
    // victim goes by itself.
    let steps = SimTime(5_000_000_000 + 350_000);
    while w.shared.queue.next_time().is_some_and(|t| t < steps) {
        let entry = w.shared.queue.pop().unwrap();
        w.shared.advance(entry.time);
        if let crate::event::Event::Scheduler(event) = entry.event {
            w.scheduler.handle(event, &mut w.shared.context(entry.seq));
        }
    }
    w.delete(Kind::Pod, lows[0]);
    let waiting = w.scheduler.queue().get(object).unwrap();
    assert!(waiting.held);
    assert_eq!(w.scheduler.queue().depths(), (0, 0, 1));
    w.run(10);
    // The preemption has ended meanwhile; the end of a victim is what is waited for.
    w.delete(Kind::Pod, lows[1]);
    w.run(20);
    assert_eq!(w.bindings.len(), 1);
}

#[test]
fn a_preemption_that_fails_brings_the_preemptor_back() {
    let (mut w, _) = full_cluster();
    w.delete_errors = 1;
    w.run(5);
    let object = w.add_pod(high("high"));
    w.run(9);
    let deletes = writes(&w).iter().filter(|t| t.starts_with("Delete")).count();
    assert!(deletes >= 3, "{:?}", writes(&w));
    assert!(w.scheduler.queue().get(object).is_some_and(|p| p.attempts >= 2));
}

#[test]
fn a_pod_of_lower_priority_loses_its_promise() {
    let (mut w, _) = full_cluster();
    let patient = PodSpec { preemption: PreemptionPolicy::Never, ..spec(1500, GIB) };
    let mut promised = pod("middle", with_priority(2, patient));
    promised.status.nominated = "n1".into();
    let middle = w.add_pod(promised);
    w.run(5);
    w.writes.clear();
    w.add_pod(high("high"));
    w.run(6);
    assert!(writes(&w).contains(&"Nominate middle"), "{:?}", writes(&w));
    let first = writes(&w)[0].to_owned();
    assert_eq!(first, "Nominate middle", "before any victim is told");
    assert_eq!(w.stored(middle).status.nominated, Sym::EMPTY);
}

#[test]
fn the_end_of_a_nominated_pod_helps_pods_of_its_priority_or_less() {
    let (mut w, lows) = full_cluster();
    w.delete(Kind::Pod, lows[0]);
    let mut promised = pod(
        "middle",
        PodSpec { preemption: PreemptionPolicy::Never, ..with_priority(7, spec(1500, GIB)) },
    );
    promised.status.nominated = "n1".into();
    let middle = w.add_pod(promised);
    let never =
        PodSpec { preemption: PreemptionPolicy::Never, ..with_priority(5, spec(1000, GIB)) };
    w.add_pod(pod("waits", never));
    w.run(10);
    assert!(w.bindings.is_empty());
    w.delete(Kind::Pod, middle);
    w.run(20);
    assert_eq!(w.bindings.last().map(|b| &*b.1), Some("waits"));
}

#[test]
fn version_1_29_knows_no_claims() {
    let version = KubeVersion::V1_29;
    let mut w = World::new(SchedulerConfig { version, ..SchedulerConfig::default() });
    w.add_node(node("n1", 1000, "a"));
    w.add_pod(pod("p1", spec(1100, GIB)));
    w.run(5);
    let recorded = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are \
                    available: 1 Preemption is not helpful for scheduling.";
    assert_eq!(w.conditions, [recorded]);
}

#[test]
fn row_02_a_nominated_node_goes_first_whatever_the_others_offer() {
    for (nominated, want) in [("", "large"), ("small", "small")] {
        let mut w = world();
        w.add_node(node("small", 4000, "a"));
        w.add_node(node("large", 64_000, "a"));
        let mut waiting = pod("p", spec(1000, GIB));
        waiting.status.nominated = nominated.into();
        w.add_pod(waiting);
        w.run(1);
        assert_eq!(w.bindings[0].2, want);
    }
}
