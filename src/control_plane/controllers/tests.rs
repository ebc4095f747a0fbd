//! What the controllers do together, against the tests' API server.

use super::testkit::{Kit, label, meta};
use crate::api::node::{Node, keys};
use crate::api::pod::{
    Condition, ConditionType, Container, ContainerState, ContainerStatus, Effect, Phase, Taint,
    Toleration, Truth,
};
use crate::api::request::{ApiError, Op, Propagation};
use crate::api::version::KubeVersion;
use crate::api::workload::{
    DaemonSet, Deployment, Job, PodTemplate, ReplicaSet, StatefulSet, Strategy,
};
use crate::api::{Kind, Meta, Obj, Pod, PodSpec, Selector, Stamp};
use crate::engine::{SimDuration, Sym};
use crate::event::What;
use std::sync::Arc;

pub(super) fn template(image: &str) -> Arc<PodTemplate> {
    let container = Container { name: "c".into(), image: image.into(), ..Container::default() };
    let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
    Arc::new(PodTemplate { labels: label("web"), spec: Arc::new(spec), ..PodTemplate::default() })
}

pub(super) fn selector() -> Selector {
    Selector::of_labels([(Sym::new("app"), Sym::new("web"))])
}

pub(super) fn create(kit: &mut Kit, object: Obj) {
    let name = object.key().1.to_string();
    kit.user(object.kind(), &name, Op::Create { object, generate: false });
}

pub(super) fn replica_set(kit: &mut Kit, replicas: i32) {
    let rs = ReplicaSet {
        meta: meta("web"),
        replicas,
        selector: selector(),
        template: template("a"),
        ..ReplicaSet::default()
    };
    create(kit, Obj::ReplicaSet(Arc::new(rs)));
}

pub(super) fn deployment(kit: &mut Kit, replicas: i32, strategy: Strategy) {
    let deployment = Deployment {
        meta: meta("web"),
        replicas,
        selector: selector(),
        template: template("a"),
        strategy,
        history_limit: 10,
        progress_deadline_s: 600,
        ..Deployment::default()
    };
    create(kit, Obj::Deployment(Arc::new(deployment)));
}

pub(super) fn edit_deployment(kit: &mut Kit, f: impl FnOnce(&mut Deployment)) {
    let Some(Obj::Deployment(mut d)) = kit.get(Kind::Deployment, "web") else { panic!("gone") };
    f(Arc::make_mut(&mut d));
    Arc::make_mut(&mut d).meta.resource_version = 0;
    kit.user(Kind::Deployment, "web", Op::Update(Obj::Deployment(d)));
}

pub(super) fn status_of(kit: &Kit) -> crate::api::workload::DeploymentStatus {
    let Some(Obj::Deployment(d)) = kit.get(Kind::Deployment, "web") else { panic!("gone") };
    d.status.clone()
}

pub(super) fn sizes(kit: &Kit) -> Vec<i32> {
    let sets = kit.shared.versions.iter(Kind::ReplicaSet);
    let mut sets: Vec<_> = sets
        .filter_map(|(_, o)| if let Obj::ReplicaSet(r) = o { Some(Arc::clone(r)) } else { None })
        .collect();
    sets.sort_by_key(|r| r.meta.uid);
    sets.iter().map(|r| r.replicas).collect()
}

#[test]
fn creation_starts_slowly() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    replica_set(&mut kit, 10);
    kit.run(1.0);
    let creates: Vec<f64> =
        kit.writes.iter().filter(|w| w.1 == "create" && w.2 == Kind::Pod).map(|w| w.0).collect();
    let mut batches = Vec::new();
    for t in creates {
        match batches.last_mut() {
            Some((last, n)) if *last == t.to_bits() => *n += 1,
            _ => batches.push((t.to_bits(), 1)),
        }
    }
    assert_eq!(batches.iter().map(|b| b.1).collect::<Vec<i32>>(), [1, 2, 4, 3]);
    let Some(Obj::ReplicaSet(rs)) = kit.get(Kind::ReplicaSet, "web") else { panic!("gone") };
    assert_eq!((rs.status.replicas, rs.status.fully_labeled, rs.status.ready), (10, 10, 0));
    assert_eq!(kit.events.len(), 10);
}

#[test]
fn a_refused_batch_stops_the_rest_and_is_tried_again() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    kit.refuse = Some(("create", Kind::Pod, ApiError::Forbidden("exceeded quota".into()), 3));
    replica_set(&mut kit, 4);
    kit.run(1.0);
    let tried = kit.writes.iter().filter(|w| w.1 == "create" && w.2 == Kind::Pod);
    let tried: Vec<(f64, u16)> = tried.map(|w| (w.0, w.4)).collect();
    assert!(tried[..3].iter().all(|t| t.1 == 403) && tried[2].0 > tried[1].0, "{tried:?}");
    assert!(tried[1].0 > tried[0].0, "one at a time while it is refused: {tried:?}");
    assert_eq!(kit.active().len(), 4);
    assert!(kit.events.iter().any(|e| e.contains("exceeded quota")));
    let Some(Obj::ReplicaSet(rs)) = kit.get(Kind::ReplicaSet, "web") else { panic!("gone") };
    assert!(rs.status.conditions.get(ConditionType::ReplicaFailure).is_none());
}

#[test]
fn surplus_pods_go_by_rank() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["n1", "n2", "n3", "n4"] {
        node(&mut kit, name);
    }
    replica_set(&mut kit, 6);
    kit.run(100.0);
    let names = kit.active();
    // 0: not bound. 1: bound, pending. 2: alone, old. 3 and 4: share a node. 5: cheap.
    kit.pod(&names[1], |p| p.node = "n1".into());
    kit.start_pod(&names[2], "n2");
    kit.start_pod(&names[3], "n3");
    kit.start_pod(&names[5], "n4");
    kit.run(1000.0);
    kit.start_pod(&names[4], "n3");
    kit.pod(&names[5], |p| {
        p.meta.set_annotation("controller.kubernetes.io/pod-deletion-cost", "-5");
    });
    kit.run(1.0);
    let mut gone = Vec::new();
    for left in (1..6).rev() {
        let Some(Obj::ReplicaSet(mut rs)) = kit.get(Kind::ReplicaSet, "web") else { panic!() };
        Arc::make_mut(&mut rs).replicas = left;
        kit.user(Kind::ReplicaSet, "web", Op::Update(Obj::ReplicaSet(rs)));
        let before = kit.active();
        kit.run(1.0);
        let after = kit.active();
        gone.extend(before.into_iter().filter(|n| !after.contains(n)));
    }
    let order: Vec<usize> =
        gone.iter().map(|g| names.iter().position(|n| n == g).unwrap()).collect();
    assert_eq!(order, [0, 1, 5, 4, 2], "of equal ones the smaller identity");
}

#[test]
fn a_new_deployment_writes_what_the_recording_shows() {
    let mut kit = Kit::new(KubeVersion::V1_29);
    node(&mut kit, "n1");
    deployment(&mut kit, 3, Strategy::default());
    kit.run(1.0);
    let first: Vec<(&str, Kind)> = kit.writes.iter().map(|w| (w.1.as_str(), w.2)).take(2).collect();
    assert_eq!(first, [("create", Kind::ReplicaSet), ("update/status", Kind::Deployment)]);
    assert!(kit.events[0].starts_with("Scaled up replica set web-"), "{}", kit.events[0]);
    assert!(kit.events[0].ends_with(" to 3"));
    let Some(Obj::Deployment(d)) = kit.get(Kind::Deployment, "web") else { panic!("gone") };
    assert_eq!(d.meta.annotation("deployment.kubernetes.io/revision"), Some("1"));
    let reason = |kind| status_of(&kit).conditions.get(kind).map(|c| c.reason.to_string());
    assert_eq!(reason(ConditionType::Available).unwrap(), "MinimumReplicasUnavailable");
    assert_eq!(reason(ConditionType::Progressing).unwrap(), "ReplicaSetUpdated");
    kit.kubelets();
    kit.run(1.0);
    let status = status_of(&kit);
    let reason = |kind| status.conditions.get(kind).map(|c| c.reason.to_string()).unwrap();
    assert_eq!(reason(ConditionType::Available), "MinimumReplicasAvailable");
    assert_eq!(reason(ConditionType::Progressing), "NewReplicaSetAvailable");
    assert_eq!((status.ready, status.available, status.unavailable), (3, 3, 0));
    let quiet = kit.writes.len();
    kit.run(2000.0);
    assert_eq!(kit.writes.len(), quiet, "a settled deployment writes nothing");
}

#[test]
fn a_rolling_update_keeps_its_bounds_and_ends() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    deployment(&mut kit, 10, Strategy::default());
    kit.run(1.0);
    kit.kubelets();
    kit.run(1.0);
    edit_deployment(&mut kit, |d| d.template = template("b"));
    kit.run(1.0);
    assert_eq!(sizes(&kit), [8, 5], "new 3, old 8, new 5, then it waits");
    for _ in 0..20 {
        kit.kubelets();
        kit.run(1.0);
        let ready = kit.pods().iter().filter(|p| p.active() && p.ready()).count();
        assert!(ready >= 8 && sizes(&kit).iter().sum::<i32>() <= 13);
    }
    assert_eq!(sizes(&kit), [0, 10]);
    assert_eq!(status_of(&kit).updated, 10);
    // Back again: the old set is renumbered.
    edit_deployment(&mut kit, |d| d.template = template("a"));
    for _ in 0..20 {
        kit.run(1.0);
        kit.kubelets();
    }
    assert_eq!(sizes(&kit), [10, 0]);
    let Some(Obj::Deployment(d)) = kit.get(Kind::Deployment, "web") else { panic!("gone") };
    assert_eq!(d.meta.annotation("deployment.kubernetes.io/revision"), Some("3"));
}

#[test]
fn scaling_a_deployment_scales_its_set() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    deployment(&mut kit, 2, Strategy::default());
    kit.run(1.0);
    kit.user(Kind::Deployment, "web", Op::Scale(5));
    kit.run(1.0);
    assert_eq!((sizes(&kit), kit.active().len()), (vec![5], 5));
    assert!(kit.events.iter().any(|e| e.ends_with("from 2 to 5")), "{:?}", kit.events);
}

/// Pods that are to go are told of until they have ended, by the set and by the Deployment
/// (`terminatingReplicas`, since 1.33 behind a gate that is on in 1.35).
#[test]
fn terminating_pods_are_counted_in_1_35() {
    for (version, counts) in [(KubeVersion::V1_35, true), (KubeVersion::V1_29, false)] {
        let mut kit = Kit::new(version);
        node(&mut kit, "n1");
        deployment(&mut kit, 3, Strategy::default());
        kit.run(1.0);
        kit.kubelets();
        kit.run(1.0);
        kit.user(Kind::Deployment, "web", Op::Scale(1));
        kit.run(1.0);
        assert_eq!(status_of(&kit).terminating, counts.then_some(2), "{version:?}");
        kit.kubelets();
        kit.run(1.0);
        assert_eq!(status_of(&kit).terminating, counts.then_some(0), "{version:?}");
        assert_eq!(status_of(&kit).replicas, 1);
    }
}

#[test]
fn recreate_ends_the_old_pods_first() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    deployment(&mut kit, 3, Strategy::Recreate);
    kit.run(1.0);
    kit.kubelets();
    kit.run(1.0);
    edit_deployment(&mut kit, |d| d.template = template("b"));
    kit.run(1.0);
    assert_eq!(sizes(&kit), [0], "the old pods are still terminating");
    kit.kubelets();
    kit.run(1.0);
    assert_eq!(sizes(&kit), [0, 3]);
}

#[test]
fn a_rollout_that_does_not_move_misses_its_deadline() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    deployment(&mut kit, 1, Strategy::default());
    kit.run(590.0);
    let reason =
        |kit: &Kit| status_of(kit).conditions.get(ConditionType::Progressing).unwrap().reason;
    assert_eq!(reason(&kit).as_str(), "ReplicaSetUpdated");
    let (before, size) = (kit.writes.len(), sizes(&kit));
    kit.run(15.0);
    assert_eq!(reason(&kit).as_str(), "ProgressDeadlineExceeded");
    kit.run(600.0);
    let after: Vec<_> = kit.writes[before..].iter().map(|w| (w.1.as_str(), w.2)).collect();
    assert_eq!(after, [("update/status", Kind::Deployment)], "a condition and nothing else");
    assert_eq!(sizes(&kit), size);
    kit.kubelets();
    node(&mut kit, "n1");
    kit.kubelets();
    kit.run(1.0);
    assert_eq!(reason(&kit).as_str(), "NewReplicaSetAvailable", "the rollout went on");
}

pub(super) fn node(kit: &mut Kit, name: &str) {
    let mut node = Node { meta: Meta::named(Sym::EMPTY, name.into()), ..Node::default() };
    node.status.conditions.set(Condition {
        kind: ConditionType::Ready,
        status: Truth::True,
        reason: "KubeletReady".into(),
        message: Sym::EMPTY,
        transition: Stamp::NONE,
    });
    let now = kit.now();
    kit.cx().leases_mut().start(name.into(), now, SimDuration::from_secs(5), true);
    create(kit, Obj::Node(Arc::new(node)));
}

fn taints(kit: &Kit, name: &str) -> Vec<(String, Effect)> {
    let Some(Obj::Node(node)) = kit.get(Kind::Node, name) else { panic!("gone") };
    node.taints.iter().map(|t| (t.key.to_string(), t.effect)).collect()
}

pub(super) fn bare_pod(kit: &mut Kit, name: &str, on: &str, seconds: Option<i64>) {
    let toleration = Toleration {
        exists: true,
        effect: Some(Effect::NoExecute),
        seconds,
        ..Toleration::default()
    };
    let spec = PodSpec { tolerations: vec![toleration], ..PodSpec::default() };
    let pod = Pod { meta: meta(name), spec: Arc::new(spec), ..Pod::default() };
    create(kit, Obj::Pod(Arc::new(pod)));
    kit.start_pod(name, on);
}

#[test]
fn a_silent_node_is_tainted_and_its_pods_leave() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["n1", "n2", "n3"] {
        node(&mut kit, name);
    }
    bare_pod(&mut kit, "a", "n1", Some(30));
    bare_pod(&mut kit, "b", "n1", None);
    kit.run(100.0);
    assert!(kit.writes.is_empty(), "healthy nodes cost nothing: {:?}", kit.writes);
    let now = kit.now();
    kit.cx().leases_mut().stop("n1".into(), now, 77);
    kit.manager.heartbeat_stopped("n1".into(), &mut kit.shared.context(0));
    kit.run(120.0);
    let at = |verb: &str, kind: Kind, n: usize| {
        kit.writes.iter().filter(|w| w.1 == verb && w.2 == kind).nth(n).unwrap().0
    };
    let unknown = at("update/status", Kind::Node, 0);
    assert!((139.0..155.5).contains(&unknown), "{unknown}");
    for pod in 0..2 {
        let unready = at("update/status", Kind::Pod, pod);
        assert!(unready > unknown && unready - unknown < 0.1, "not ready once the node is Unknown");
    }
    assert_eq!(kit.count("update/status", Kind::Pod), 2, "each pod once");
    assert!(at("patch", Kind::Node, 0) - unknown < 0.1, "NoSchedule at once");
    let no_execute = at("patch", Kind::Node, 1);
    assert!((4.9..5.3).contains(&(no_execute - unknown)), "at the next pass");
    let deletion = at("delete", Kind::Pod, 0);
    assert!((29.9..30.3).contains(&(deletion - no_execute)), "{deletion} {no_execute}");
    assert_eq!(kit.count("delete", Kind::Pod), 1, "the other pod tolerates the taint for ever");
    let keys: Vec<String> = taints(&kit, "n1").into_iter().map(|t| t.0).collect();
    assert_eq!(keys, [keys::UNREACHABLE, keys::UNREACHABLE]);
    let noticed = kit.shared.records.iter().find(|r| matches!(r.what, What::Noticed { .. }));
    assert_eq!(noticed.unwrap().cause, 77, "why leads to what stopped the renewals");
    come_back(&mut kit);
}

fn come_back(kit: &mut Kit) {
    let now = kit.now();
    kit.cx().leases_mut().start("n1".into(), now, SimDuration::from_secs(5), true);
    let Some(Obj::Node(node)) = kit.get(Kind::Node, "n1") else { panic!("gone") };
    let mut status = node.status.clone();
    for mut condition in node.status.conditions.iter() {
        let ready = condition.kind == ConditionType::Ready;
        condition.status = if ready { Truth::True } else { Truth::False };
        status.conditions.set(condition);
    }
    kit.user(Kind::Node, "n1", Op::NodeStatus(Box::new(status)));
    kit.run(6.0);
    assert!(taints(kit, "n1").is_empty());
    let quiet = kit.writes.len();
    kit.run(1000.0);
    assert_eq!(kit.writes.len(), quiet);
}

#[test]
fn a_cancelled_eviction_neither_hastens_nor_loses_the_next() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    node(&mut kit, "n1");
    bare_pod(&mut kit, "a", "n1", Some(100));
    let taint = |kit: &mut Kit, taints: &[Taint]| {
        let Some(Obj::Node(mut node)) = kit.get(Kind::Node, "n1") else { panic!("gone") };
        Arc::make_mut(&mut node).taints = taints.into();
        kit.user(Kind::Node, "n1", Op::Update(Obj::Node(node)));
    };
    let bad = Taint {
        key: "bad".into(),
        value: Sym::EMPTY,
        effect: Effect::NoExecute,
        added: Stamp::NONE,
    };
    taint(&mut kit, &[bad]);
    kit.run(50.0);
    taint(&mut kit, &[]);
    kit.run(10.0);
    taint(&mut kit, &[bad]);
    kit.run(95.0);
    assert_eq!(kit.count("delete", Kind::Pod), 0, "the first timer was cancelled");
    kit.run(10.0);
    assert_eq!(kit.count("delete", Kind::Pod), 1, "100 s after the second taint");
}

#[test]
fn when_all_nodes_are_silent_nobody_is_evicted() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["n1", "n2"] {
        node(&mut kit, name);
    }
    bare_pod(&mut kit, "a", "n1", Some(30));
    kit.run(10.0);
    for name in ["n1", "n2"] {
        let Kit { shared, manager, .. } = &mut kit;
        let now = shared.now();
        shared.leases.stop(name.into(), now, 1);
        manager.heartbeat_stopped(name.into(), &mut shared.context(0));
    }
    kit.run(400.0);
    let no_execute = |name| taints(&kit, name).iter().filter(|t| t.1 == Effect::NoExecute).count();
    assert_eq!((no_execute("n1"), no_execute("n2")), (0, 0));
    assert_eq!(kit.count("delete", Kind::Pod), 0);
}

pub(super) fn job(kit: &mut Kit, parallelism: i32, completions: i32, backoff_limit: i32) {
    let job = Job {
        meta: meta("work"),
        parallelism,
        completions: Some(completions),
        backoff_limit,
        template: template("a"),
        ..Job::default()
    };
    create(kit, Obj::Job(Arc::new(job)));
}

pub(super) fn job_status(kit: &Kit) -> crate::api::workload::JobStatus {
    let Some(Obj::Job(job)) = kit.get(Kind::Job, "work") else { panic!("gone") };
    job.status.clone()
}

fn end_pods(kit: &mut Kit, phase: Phase) {
    let finished = kit.cx().stamp();
    for pod in kit.pods().iter().filter(|p| p.active()) {
        let exit_code = i32::from(phase == Phase::Failed);
        let state = ContainerState::Terminated {
            exit_code,
            reason: Sym::EMPTY,
            started: finished,
            finished,
        };
        kit.pod(&pod.meta.name.to_string(), |p| {
            p.node = "n1".into();
            p.status.phase = phase;
            let status = ContainerStatus {
                name: "c".into(),
                image: Sym::EMPTY,
                state,
                last: None,
                restarts: 0,
                ready: false,
                started: true,
            };
            p.status.containers = [status].into();
        });
    }
}

#[test]
fn a_job_runs_to_completion_and_counts_each_pod_once() {
    for version in [KubeVersion::V1_29, KubeVersion::V1_35] {
        let mut kit = Kit::new(version);
        job(&mut kit, 2, 5, 6);
        kit.run(2.0);
        assert_eq!((kit.active().len(), job_status(&kit).active), (2, 2));
        for done in [2, 4, 5] {
            end_pods(&mut kit, Phase::Succeeded);
            kit.run(3.0);
            assert_eq!(job_status(&kit).succeeded, done, "{version:?}");
        }
        let status = job_status(&kit);
        let holds = |kind| status.conditions.get(kind).is_some_and(|c| c.status == Truth::True);
        assert!(holds(ConditionType::Complete), "{status:?}");
        assert_eq!(holds(ConditionType::SuccessCriteriaMet), version == KubeVersion::V1_35);
        assert_eq!(kit.count("create", Kind::Pod), 5);
        assert_eq!(kit.count("patch", Kind::Pod), 5, "one finalizer per pod");
        assert!(kit.events.iter().any(|e| e == "Job completed"));
    }
}

#[test]
fn failures_back_off_until_the_limit() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    job(&mut kit, 1, 1, 2);
    for _ in 0..200 {
        kit.run(1.0);
        end_pods(&mut kit, Phase::Failed);
    }
    let created: Vec<f64> =
        kit.writes.iter().filter(|w| w.1 == "create" && w.2 == Kind::Pod).map(|w| w.0).collect();
    assert_eq!(created.len(), 3, "{created:?}");
    let gaps: Vec<f64> = created.windows(2).map(|w| w[1] - w[0]).collect();
    assert!((10.0..13.0).contains(&gaps[0]) && (20.0..23.0).contains(&gaps[1]), "{gaps:?}");
    let status = job_status(&kit);
    let failed = status.conditions.get(ConditionType::Failed).unwrap();
    assert_eq!((failed.reason.as_str(), status.failed), ("BackoffLimitExceeded", 3));
}

#[test]
fn a_deployment_takes_its_dependents_along() {
    for how in [Propagation::Background, Propagation::Foreground, Propagation::Orphan] {
        let mut kit = Kit::new(KubeVersion::V1_35);
        deployment(&mut kit, 2, Strategy::default());
        kit.run(1.0);
        let op = Op::Delete { grace_s: None, propagation: Some(how), uid: None };
        kit.user(Kind::Deployment, "web", op);
        kit.run(5.0);
        assert!(kit.get(Kind::Deployment, "web").is_none(), "{how:?}");
        let left = (sizes(&kit).len(), kit.pods().len());
        let want = if how == Propagation::Orphan { (1, 2) } else { (0, 0) };
        assert_eq!(left, want, "{how:?}");
    }
}

pub(super) fn stateful_set(kit: &mut Kit, parallel: bool) {
    let set = StatefulSet {
        meta: meta("db"),
        replicas: 3,
        parallel,
        template: template("a"),
        ..StatefulSet::default()
    };
    create(kit, Obj::StatefulSet(Arc::new(set)));
}

#[test]
fn a_stateful_set_goes_in_order() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    stateful_set(&mut kit, false);
    for n in 1..=3 {
        kit.run(1.0);
        assert_eq!(kit.active().len(), n);
        kit.kubelets();
    }
    kit.run(1.0);
    assert_eq!(kit.active(), ["db-0", "db-1", "db-2"]);
    let Some(Obj::StatefulSet(mut set)) = kit.get(Kind::StatefulSet, "db") else { panic!("gone") };
    Arc::make_mut(&mut set).template = template("b");
    Arc::make_mut(&mut set).meta.resource_version = 0;
    kit.user(Kind::StatefulSet, "db", Op::Update(Obj::StatefulSet(set)));
    kit.writes.clear();
    for _ in 0..12 {
        kit.run(1.0);
        kit.kubelets();
    }
    let deleted = kit.writes.iter().filter(|w| w.1 == "delete" && w.2 == Kind::Pod);
    assert_eq!(deleted.map(|w| w.3.as_str()).collect::<Vec<_>>(), ["db-2", "db-1", "db-0"]);
    let Some(Obj::StatefulSet(set)) = kit.get(Kind::StatefulSet, "db") else { panic!("gone") };
    assert_eq!(set.status.current_revision, set.status.update_revision);
    assert_eq!((set.status.updated, set.status.ready), (3, 3));
}

#[test]
fn a_parallel_stateful_set_does_not_wait() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    stateful_set(&mut kit, true);
    kit.run(1.0);
    assert_eq!(kit.active().len(), 3);
}

#[test]
fn a_daemon_set_runs_where_it_is_tolerated() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["n1", "n2", "n3"] {
        node(&mut kit, name);
    }
    let set = DaemonSet { meta: meta("ds"), template: template("a"), ..DaemonSet::default() };
    create(&mut kit, Obj::DaemonSet(Arc::new(set)));
    kit.run(1.0);
    assert_eq!(kit.active().len(), 3);
    let fields = |p: &Pod| {
        let terms = p.spec.affinity.as_ref().unwrap().node_required.as_ref().unwrap();
        terms[0].fields[0].values[0].to_string()
    };
    let on: Vec<String> = kit.pods().iter().map(|p| fields(p)).collect();
    assert_eq!(on, ["n1", "n2", "n3"]);
    for (pod, node) in kit.active().iter().zip(&on) {
        kit.start_pod(pod, node);
    }
    let taint = Taint {
        key: "dedicated".into(),
        value: Sym::EMPTY,
        effect: Effect::NoExecute,
        added: Stamp::NONE,
    };
    kit.user(Kind::Node, "n2", Op::NodeTaints { remove: [].into(), add: [taint].into() });
    kit.run(1.0);
    assert_eq!(kit.active().len(), 2);
    let Some(Obj::DaemonSet(set)) = kit.get(Kind::DaemonSet, "ds") else { panic!("gone") };
    assert_eq!((set.status.desired, set.status.ready), (2, 2));
}

#[test]
fn pods_of_a_node_that_is_gone_are_collected() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    node(&mut kit, "n1");
    bare_pod(&mut kit, "a", "n1", None);
    kit.run(10.0);
    kit.user(Kind::Node, "n1", Op::Delete { grace_s: None, propagation: None, uid: None });
    kit.run(39.0);
    assert_eq!(kit.pods().len(), 1);
    kit.run(45.0);
    assert!(kit.pods().is_empty());
}

#[test]
fn a_node_that_returns_in_time_keeps_its_pods() {
    let mut kit = Kit::new(KubeVersion::V1_29);
    for name in ["n1", "n2", "n3"] {
        node(&mut kit, name);
    }
    bare_pod(&mut kit, "a", "n1", Some(30));
    kit.run(10.0);
    let now = kit.now();
    kit.shared.leases.stop("n1".into(), now, 1);
    kit.manager.heartbeat_stopped("n1".into(), &mut kit.shared.context(0));
    kit.run(65.0);
    assert_eq!(taints(&kit, "n1").len(), 2);
    come_back(&mut kit);
    assert_eq!(kit.count("delete", Kind::Pod), 0);
    assert!(kit.events.iter().any(|e| e == "Cancelling deletion of Pod ns/a"), "{:?}", kit.events);
}

#[test]
fn four_nodes_of_a_zone_are_tainted_ten_seconds_apart() {
    let mut kit = Kit::new(KubeVersion::V1_29);
    for i in 0..10 {
        node(&mut kit, &format!("n{i}"));
    }
    kit.run(10.0);
    for i in 0..4 {
        let name = Sym::new(&format!("n{i}"));
        let now = kit.now();
        kit.shared.leases.stop(name, now, 1);
        kit.manager.heartbeat_stopped(name, &mut kit.shared.context(0));
    }
    kit.run(120.0);
    let patches = kit.writes.iter().filter(|w| w.1 == "patch" && w.2 == Kind::Node);
    let at: Vec<f64> = patches.map(|w| w.0).skip(4).collect();
    assert_eq!(at.len(), 4, "{:?}", kit.writes);
    for gap in at.windows(2).map(|w| w[1] - w[0]) {
        assert!((9.9..10.2).contains(&gap), "{at:?}");
    }
}

#[test]
fn a_job_ends_by_deadline_and_goes_by_ttl() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let work = Job {
        meta: meta("work"),
        parallelism: 2,
        completions: Some(2),
        backoff_limit: 6,
        active_deadline_s: Some(15),
        ttl_s: Some(10),
        template: template("a"),
        ..Job::default()
    };
    create(&mut kit, Obj::Job(Arc::new(work)));
    kit.run(14.5);
    assert_eq!(job_status(&kit).active, 2);
    kit.run(5.0);
    let status = job_status(&kit);
    let failed = status.conditions.get(ConditionType::Failed).unwrap();
    assert_eq!(failed.reason.as_str(), "DeadlineExceeded", "{status:?}");
    assert!(kit.active().is_empty());
    kit.run(10.0);
    assert!(kit.get(Kind::Job, "work").is_none());
}

#[test]
fn a_suspended_job_has_no_pods_until_resumed() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let work = Job {
        meta: meta("work"),
        parallelism: 2,
        completions: Some(2),
        suspend: true,
        template: template("a"),
        ..Job::default()
    };
    create(&mut kit, Obj::Job(Arc::new(work)));
    kit.run(5.0);
    assert!(kit.active().is_empty() && job_status(&kit).start.is_none());
    let Some(Obj::Job(mut work)) = kit.get(Kind::Job, "work") else { panic!("gone") };
    Arc::make_mut(&mut work).suspend = false;
    kit.user(Kind::Job, "work", Op::Update(Obj::Job(work)));
    kit.run(5.0);
    assert_eq!(kit.active().len(), 2);
    assert!(!job_status(&kit).start.is_none());
}

#[test]
fn a_failed_daemon_pod_is_replaced_ever_more_slowly() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    node(&mut kit, "n1");
    let set = DaemonSet { meta: meta("ds"), template: template("a"), ..DaemonSet::default() };
    create(&mut kit, Obj::DaemonSet(Arc::new(set)));
    for _ in 0..160 {
        kit.run(0.1);
        for name in kit.active() {
            kit.pod(&name, |p| {
                p.node = "n1".into();
                p.status.phase = Phase::Failed;
            });
        }
    }
    let made = kit.count("create", Kind::Pod);
    assert!((5..=7).contains(&made), "{made} in 16 s: after 0, 1, 2, 4 and 8 s");
}

#[test]
fn a_change_of_scale_in_mid_rollout_is_shared_out() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    node(&mut kit, "n1");
    deployment(&mut kit, 10, Strategy::default());
    kit.run(1.0);
    kit.kubelets();
    kit.run(1.0);
    edit_deployment(&mut kit, |d| d.template = template("b"));
    kit.run(1.0);
    assert_eq!(sizes(&kit), [8, 5]);
    kit.user(Kind::Deployment, "web", Op::Scale(15));
    kit.run(1.0);
    assert_eq!(sizes(&kit), [12, 7], "in proportion of 13 to 19");
}

#[test]
fn the_client_limit_spreads_pods_and_events_are_dropped_rather_than_late() {
    let mut kit = Kit::with_qps(KubeVersion::V1_29, 20.0);
    replica_set(&mut kit, 200);
    kit.run(60.0);
    let creates = kit.writes.iter().filter(|w| w.1 == "create" && w.2 == Kind::Pod);
    let last = creates.map(|w| w.0).fold(0.0, f64::max);
    // 30 requests go at once and 20 a second from there. The 25 events share the pods' tokens as
    // they go out, one after the other: the last pod waits for all of them at most.
    assert!((8.5..9.8).contains(&last), "{last}");
    assert_eq!(kit.events.len(), 25, "an object has 25 events, then one in five minutes");
}

#[test]
fn two_runs_write_the_same() {
    let run = || {
        let mut kit = Kit::with_qps(KubeVersion::V1_35, 20.0);
        for name in ["n1", "n2", "n3"] {
            node(&mut kit, name);
        }
        deployment(&mut kit, 10, Strategy::default());
        job(&mut kit, 2, 4, 6);
        stateful_set(&mut kit, false);
        for round in 0..20 {
            kit.run(1.0);
            kit.kubelets();
            if round == 5 {
                edit_deployment(&mut kit, |d| d.template = template("b"));
            }
        }
        (kit.writes, kit.events, kit.shared.last_seq())
    };
    assert_eq!(run(), run());
}
