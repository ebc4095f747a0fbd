//! One test per rule of the behaviour reference (§3 and §8) that is not tested with its file.

use super::testkit::{EPOCH, Kit, label, meta};
use super::tests::{
    bare_pod, create, deployment, edit_deployment, node, replica_set, selector, sizes, template,
};
use crate::api::cronjob::{Concurrency, CronJob};
use crate::api::pod::{ConditionType, ContainerState, ContainerStatus, Phase};
use crate::api::request::{Op, Propagation};
use crate::api::version::KubeVersion;
use crate::api::workload::{
    DaemonSet, FailureAction, FailureRule, Generic, Indexes, IntOrPercent, Job, Namespace,
    ReplicaSet, StatefulSet, Strategy, SuccessRule,
};
use crate::api::{Kind, Meta, Obj, Owner, Pod, Stamp};
use crate::engine::Sym;
use serde_json::json;
use std::sync::Arc;

fn delete(kit: &mut Kit, kind: Kind, name: &str) {
    let op = Op::Delete { grace_s: None, propagation: Some(Propagation::Background), uid: None };
    kit.user(kind, name, op);
}

#[expect(clippy::needless_pass_by_value, reason = "called with json!")]
fn generic(kind: Kind, name: &str, spec: serde_json::Value) -> Obj {
    let meta = Meta { generation: 1, ..meta(name) };
    Obj::Generic(kind, Arc::new(Generic { meta, doc: Arc::new(json!({ "spec": spec })) }))
}

fn labelled(kit: &mut Kit, name: &str, app: &str) {
    let pod = Pod { meta: Meta { labels: label(app), ..meta(name) }, ..Pod::default() };
    create(kit, Obj::Pod(Arc::new(pod)));
}

#[test]
fn a_replica_set_does_not_count_terminating_pods_a_stateful_set_waits_for_them() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    node(&mut kit, "n1");
    replica_set(&mut kit, 2);
    let set = StatefulSet {
        meta: meta("db"),
        replicas: 1,
        template: template("a"),
        ..StatefulSet::default()
    };
    create(&mut kit, Obj::StatefulSet(Arc::new(set)));
    kit.run(1.0);
    kit.kubelets();
    kit.run(1.0);
    let victim = kit.active().into_iter().find(|n| n.starts_with("web")).unwrap();
    delete(&mut kit, Kind::Pod, &victim);
    delete(&mut kit, Kind::Pod, "db-0");
    kit.run(1.0);
    let web = kit.active().iter().filter(|n| n.starts_with("web")).count();
    assert_eq!((web, kit.pods().len()), (2, 4), "replaced at once; db-0 is still terminating");
    kit.kubelets();
    kit.run(1.0);
    assert!(kit.active().contains(&"db-0".to_owned()));
}

#[test]
fn row_13_ready_ages_are_compared_by_powers_of_two() {
    // Nanoseconds: 600 s and 1000 s lie between 2^39 and 2^40, 500 s does not.
    for (younger_at, older_goes) in [(400.0, true), (500.0, false)] {
        let mut kit = Kit::new(KubeVersion::V1_35);
        for name in ["n1", "n2"] {
            node(&mut kit, name);
        }
        replica_set(&mut kit, 2);
        kit.run(1.0);
        let names = kit.active();
        kit.start_pod(&names[0], "n1");
        kit.run(younger_at);
        kit.start_pod(&names[1], "n2");
        kit.run(1000.0 - younger_at);
        let Some(Obj::ReplicaSet(mut rs)) = kit.get(Kind::ReplicaSet, "web") else { panic!() };
        Arc::make_mut(&mut rs).replicas = 1;
        kit.user(Kind::ReplicaSet, "web", Op::Update(Obj::ReplicaSet(rs)));
        kit.run(1.0);
        let left = &names[usize::from(older_goes)];
        assert_eq!(
            kit.active(),
            std::slice::from_ref(left),
            "the smaller identity, or else the younger"
        );
    }
}

#[test]
fn each_pod_becomes_available_in_its_own_time() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    node(&mut kit, "n1");
    replica_set(&mut kit, 3);
    let Some(Obj::ReplicaSet(mut rs)) = kit.get(Kind::ReplicaSet, "web") else { panic!() };
    Arc::make_mut(&mut rs).min_ready_s = 10;
    kit.user(Kind::ReplicaSet, "web", Op::Update(Obj::ReplicaSet(rs)));
    kit.run(1.0);
    // The third pod never gets ready: nothing but time makes the others available.
    let names = kit.active();
    kit.start_pod(&names[0], "n1");
    kit.run(5.0);
    kit.start_pod(&names[1], "n1");
    let available = |kit: &Kit| {
        let Some(Obj::ReplicaSet(rs)) = kit.get(Kind::ReplicaSet, "web") else { panic!() };
        rs.status.available
    };
    let mut seen = Vec::new();
    for _ in 0..14 {
        kit.run(1.0);
        seen.push(available(&kit));
    }
    let from = |n| seen.iter().position(|a| *a == n).map(|i| i + 1);
    assert!(from(1).is_some_and(|s| (5..=6).contains(&s)), "{seen:?}");
    assert!(from(2).is_some_and(|s| (10..=11).contains(&s)), "{seen:?}");
}

#[test]
fn orphans_that_match_are_adopted_and_count() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["a", "b"] {
        labelled(&mut kit, name, "web");
    }
    labelled(&mut kit, "other", "db");
    replica_set(&mut kit, 3);
    kit.run(1.0);
    assert_eq!(kit.count("create", Kind::Pod), 1, "two of three are there already");
    assert_eq!(kit.count("patch", Kind::Pod), 2);
    // One that appears later is adopted, too, and is then one too many.
    labelled(&mut kit, "late", "web");
    kit.run(1.0);
    let owned = kit.pods().iter().filter(|p| p.meta.controller().is_some()).count();
    assert_eq!((kit.count("delete", Kind::Pod), owned), (1, 3));
    // One whose labels match no more is released and replaced.
    kit.pod("a", |p| p.meta.labels = label("x"));
    kit.run(1.0);
    let free = kit.pods().iter().filter(|p| p.meta.controller().is_none()).count();
    assert_eq!((free, kit.count("create", Kind::Pod)), (2, 2));
}

#[test]
fn a_deployment_adopts_the_replica_set_that_an_orphaning_deletion_left() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    deployment(&mut kit, 2, Strategy::default());
    kit.run(1.0);
    let op = Op::Delete { grace_s: None, propagation: Some(Propagation::Orphan), uid: None };
    kit.user(Kind::Deployment, "web", op);
    kit.run(2.0);
    deployment(&mut kit, 2, Strategy::default());
    kit.run(2.0);
    assert_eq!((sizes(&kit), kit.pods().len()), (vec![2], 2));
    assert_eq!(kit.count("create", Kind::ReplicaSet), 1, "the old one serves again");
}

#[test]
fn old_replica_sets_beyond_the_history_limit_go() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    deployment(&mut kit, 1, Strategy::default());
    edit_deployment(&mut kit, |d| d.history_limit = 1);
    for image in ["b", "c", "d"] {
        for _ in 0..4 {
            kit.run(1.0);
            kit.kubelets();
        }
        edit_deployment(&mut kit, |d| d.template = template(image));
    }
    for _ in 0..4 {
        kit.run(1.0);
        kit.kubelets();
    }
    assert_eq!(sizes(&kit), [0, 1], "the newest and one before it");
}

/// §3.14: an object goes when the last of its owners has gone; of those that go before, it loses
/// the reference. Foreground deletion waits for each object whose reference says so, whoever
/// controls it.
#[test]
fn an_object_stays_while_one_of_its_owners_does() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["a", "b"] {
        create(&mut kit, generic(Kind::ConfigMap, name, json!({})));
    }
    let owner = |kit: &Kit, name: &str, block_owner_deletion| Owner {
        kind: Kind::ConfigMap,
        name: name.into(),
        uid: kit.get(Kind::ConfigMap, name).unwrap().meta().unwrap().uid,
        controller: false,
        block_owner_deletion,
    };
    let owners = Some([owner(&kit, "a", false), owner(&kit, "b", true)].into());
    let pod = Pod { meta: Meta { owners, ..meta("child") }, ..Pod::default() };
    create(&mut kit, Obj::Pod(Arc::new(pod)));
    kit.run(1.0);
    delete(&mut kit, Kind::ConfigMap, "a");
    kit.run(1.0);
    let left = kit.pods()[0].meta.owners.as_deref().unwrap().to_vec();
    assert_eq!(left.iter().map(|o| o.name.to_string()).collect::<Vec<_>>(), ["b"]);
    kit.start_pod("child", "n1");
    let op = Op::Delete { grace_s: None, propagation: Some(Propagation::Foreground), uid: None };
    kit.user(Kind::ConfigMap, "b", op);
    kit.run(1.0);
    assert!(kit.pods()[0].meta.terminating() && kit.get(Kind::ConfigMap, "b").is_some());
    kit.kubelets();
    kit.run(1.0);
    assert!(kit.pods().is_empty() && kit.get(Kind::ConfigMap, "b").is_none());
}

#[test]
fn a_replication_controller_keeps_its_pods() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let set = ReplicaSet {
        meta: meta("web"),
        replicas: 3,
        selector: selector(),
        template: template("a"),
        ..ReplicaSet::default()
    };
    create(&mut kit, Obj::ReplicationController(Arc::new(set)));
    kit.run(1.0);
    assert_eq!(kit.active().len(), 3);
    let Some(Obj::ReplicationController(set)) = kit.get(Kind::ReplicationController, "web") else {
        panic!("gone")
    };
    assert_eq!(set.status.replicas, 3);
}

fn daemon_set(kit: &mut Kit, unavailable: IntOrPercent, surge: Option<IntOrPercent>) {
    let set = DaemonSet {
        meta: meta("ds"),
        template: template("a"),
        max_unavailable: Some(unavailable),
        max_surge: surge,
        history_limit: 10,
        ..DaemonSet::default()
    };
    create(kit, Obj::DaemonSet(Arc::new(set)));
    kit.run(1.0);
    bind_daemons(kit);
    kit.run(1.0);
}

fn bind_daemons(kit: &mut Kit) {
    for pod in kit.pods() {
        let terms = pod.spec.affinity.as_ref().and_then(|a| a.node_required.clone());
        let node = terms.map(|t| t[0].fields[0].values[0]);
        if let Some(node) = node.filter(|_| pod.node.is_empty()) {
            kit.start_pod(&pod.meta.name.to_string(), node.as_str());
        }
    }
}

fn new_daemon_image(kit: &mut Kit) {
    let Some(Obj::DaemonSet(mut set)) = kit.get(Kind::DaemonSet, "ds") else { panic!("gone") };
    Arc::make_mut(&mut set).template = template("b");
    Arc::make_mut(&mut set).meta.resource_version = 0;
    kit.user(Kind::DaemonSet, "ds", Op::Update(Obj::DaemonSet(set)));
    kit.run(1.0);
}

#[test]
fn max_unavailable_of_a_daemon_set_rounds_up() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["n1", "n2", "n3", "n4"] {
        node(&mut kit, name);
    }
    daemon_set(&mut kit, IntOrPercent::Percent(30), None);
    new_daemon_image(&mut kit);
    assert_eq!(kit.count("delete", Kind::Pod), 2, "30 % of 4 is 2, not 1");
    assert_eq!(kit.count("create", Kind::ControllerRevision), 2);
}

#[test]
fn a_surging_daemon_set_makes_the_new_pod_first() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    for name in ["n1", "n2", "n3"] {
        node(&mut kit, name);
    }
    daemon_set(&mut kit, IntOrPercent::Int(0), Some(IntOrPercent::Int(1)));
    new_daemon_image(&mut kit);
    assert_eq!((kit.count("delete", Kind::Pod), kit.active().len()), (0, 4));
    bind_daemons(&mut kit);
    kit.run(1.0);
    assert_eq!(kit.count("delete", Kind::Pod), 1, "the old one goes once the new one is available");
}

fn claim() -> Obj {
    generic(Kind::PersistentVolumeClaim, "data", json!({}))
}

fn set_with_claims(kit: &mut Kit, with_pod: bool) {
    let set = StatefulSet {
        meta: meta("db"),
        replicas: 2,
        ordinals_start: 5,
        claims: [claim()].into(),
        claims_go_with_pod: with_pod,
        template: template("a"),
        history_limit: 10,
        ..StatefulSet::default()
    };
    create(kit, Obj::StatefulSet(Arc::new(set)));
    for _ in 0..4 {
        kit.run(1.0);
        kit.kubelets();
    }
}

fn scale_set(kit: &mut Kit, replicas: i32) {
    kit.user(Kind::StatefulSet, "db", Op::PutScale(replicas));
    for _ in 0..4 {
        kit.run(1.0);
        kit.kubelets();
    }
}

#[test]
fn claims_come_before_their_pods_and_stay_unless_the_policy_says_otherwise() {
    for with_pod in [false, true] {
        let mut kit = Kit::new(KubeVersion::V1_35);
        node(&mut kit, "n1");
        set_with_claims(&mut kit, with_pod);
        assert_eq!(kit.active(), ["db-5", "db-6"], "ordinals begin at ordinals.start");
        let order: Vec<&str> = kit
            .writes
            .iter()
            .filter(|w| w.1 == "create" && matches!(w.2, Kind::Pod | Kind::PersistentVolumeClaim))
            .map(|w| w.3.as_str())
            .collect();
        assert_eq!(order, ["data-db-5", "db-5", "data-db-6", "db-6"]);
        scale_set(&mut kit, 1);
        kit.run(5.0);
        let left = kit.get(Kind::PersistentVolumeClaim, "data-db-6").is_some();
        assert_eq!((kit.active(), left), (vec!["db-5".to_owned()], !with_pod));
    }
}

#[test]
fn below_the_partition_pods_keep_the_old_revision() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let set = StatefulSet {
        meta: meta("db"),
        replicas: 3,
        partition: 2,
        template: template("a"),
        history_limit: 10,
        ..StatefulSet::default()
    };
    create(&mut kit, Obj::StatefulSet(Arc::new(set)));
    for _ in 0..5 {
        kit.run(1.0);
        kit.kubelets();
    }
    let Some(Obj::StatefulSet(mut set)) = kit.get(Kind::StatefulSet, "db") else { panic!("gone") };
    Arc::make_mut(&mut set).template = template("b");
    Arc::make_mut(&mut set).meta.resource_version = 0;
    kit.user(Kind::StatefulSet, "db", Op::Update(Obj::StatefulSet(set)));
    delete(&mut kit, Kind::Pod, "db-0");
    for _ in 0..8 {
        kit.run(1.0);
        kit.kubelets();
    }
    let images: Vec<(String, String)> = kit
        .pods()
        .iter()
        .map(|p| (p.meta.name.to_string(), p.spec.containers[0].image.to_string()))
        .collect();
    let image = |name: &str| images.iter().find(|(n, _)| n == name).unwrap().1.clone();
    assert_eq!((image("db-0"), image("db-1"), image("db-2")), ("a".into(), "a".into(), "b".into()));
}

fn indexed(kit: &mut Kit, change: impl FnOnce(&mut Job)) {
    let mut job = Job {
        meta: meta("work"),
        parallelism: 3,
        completions: Some(3),
        backoff_limit: 6,
        indexed: true,
        template: template("a"),
        ..Job::default()
    };
    change(&mut job);
    create(kit, Obj::Job(Arc::new(job)));
    kit.run(2.0);
}

/// Ends the pod of an index with an exit code.
fn finish(kit: &mut Kit, index: &str, code: i32) {
    let finished = Stamp(EPOCH + u32::try_from(kit.now().0 / 1_000_000_000).unwrap());
    let pod = kit.pods().into_iter().find(|p| {
        p.active() && p.meta.annotation("batch.kubernetes.io/job-completion-index") == Some(index)
    });
    let name = pod.unwrap_or_else(|| panic!("no pod of index {index}")).meta.name.to_string();
    kit.pod(&name, |p| {
        p.status.phase = if code == 0 { Phase::Succeeded } else { Phase::Failed };
        let reason = Sym::new("Error");
        let state =
            ContainerState::Terminated { exit_code: code, reason, started: finished, finished };
        p.status.containers = [ContainerStatus {
            name: "c".into(),
            image: "a".into(),
            state,
            last: None,
            restarts: 0,
            ready: false,
            started: true,
        }]
        .into();
    });
    kit.run(2.0);
}

fn work(kit: &Kit) -> Arc<Job> {
    let Some(Obj::Job(job)) = kit.get(Kind::Job, "work") else { panic!("gone") };
    job
}

fn reason(kit: &Kit, kind: ConditionType) -> Option<String> {
    work(kit).status.conditions.get(kind).map(|c| c.reason.to_string())
}

#[test]
fn an_indexed_job_has_one_pod_per_index_lowest_first() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    indexed(&mut kit, |job| job.parallelism = 2);
    let names = kit.active();
    assert!(names[0].starts_with("work-0-") && names[1].starts_with("work-1-"), "{names:?}");
    finish(&mut kit, "0", 0);
    assert_eq!(work(&kit).status.completed_indexes.to_string(), "0");
    finish(&mut kit, "2", 0);
    finish(&mut kit, "1", 0);
    let job = work(&kit);
    assert_eq!(
        (job.status.completed_indexes.to_string().as_str(), job.status.succeeded),
        ("0-2", 3)
    );
    assert_eq!(reason(&kit, ConditionType::Complete).as_deref(), Some("CompletionsReached"));
}

#[test]
fn the_failure_back_off_is_per_index_if_the_limit_is() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    indexed(&mut kit, |job| {
        job.backoff_per_index = Some(1);
        job.backoff_limit = i32::MAX;
    });
    finish(&mut kit, "1", 1);
    assert_eq!(kit.active().len(), 2, "10 s of back-off");
    kit.run(12.0);
    assert_eq!(kit.active().len(), 3);
    finish(&mut kit, "1", 1);
    assert_eq!(work(&kit).status.failed_indexes.to_string(), "1");
    finish(&mut kit, "0", 0);
    finish(&mut kit, "2", 0);
    assert_eq!(reason(&kit, ConditionType::Failed).as_deref(), Some("FailedIndexes"));
}

/// §3.6: `maxFailedIndexes` ends the job once one index more has failed, and its other pods with
/// it.
#[test]
fn too_many_failed_indexes_end_an_indexed_job() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    indexed(&mut kit, |job| {
        (job.parallelism, job.completions) = (4, Some(4));
        (job.backoff_per_index, job.max_failed_indexes) = (Some(0), Some(1));
        job.backoff_limit = i32::MAX;
    });
    kit.kubelets();
    kit.run(1.0);
    finish(&mut kit, "1", 1);
    assert_eq!(
        (work(&kit).status.failed_indexes.to_string().as_str(), kit.active().len()),
        ("1", 3)
    );
    assert_eq!(reason(&kit, ConditionType::FailureTarget), None);
    finish(&mut kit, "3", 1);
    let why = Some("MaxFailedIndexesExceeded");
    assert_eq!(reason(&kit, ConditionType::FailureTarget).as_deref(), why);
    assert!(kit.active().is_empty(), "{:?}", kit.active());
    for _ in 0..3 {
        kit.kubelets();
        kit.run(3.0);
    }
    assert_eq!(reason(&kit, ConditionType::Failed).as_deref(), why);
}

#[test]
fn the_first_matching_rule_of_the_failure_policy_decides() {
    let rule = |action, codes: &[i32]| FailureRule {
        action,
        exit_codes: Some((Sym::EMPTY, true, codes.into())),
        conditions: [].into(),
    };
    let rules = [rule(FailureAction::Ignore, &[7]), rule(FailureAction::FailJob, &[7, 42])];
    let mut kit = Kit::new(KubeVersion::V1_35);
    indexed(&mut kit, |job| job.failure_policy = Some(rules.into()));
    finish(&mut kit, "0", 7);
    assert_eq!(work(&kit).status.failed, 0, "ignored");
    finish(&mut kit, "1", 42);
    kit.kubelets();
    kit.run(3.0);
    assert_eq!(reason(&kit, ConditionType::FailureTarget).as_deref(), Some("PodFailurePolicy"));
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let rule = SuccessRule { indexes: Some(Indexes::parse("0,2")), count: Some(1) };
    indexed(&mut kit, |job| job.success_policy = [rule].into());
    finish(&mut kit, "1", 0);
    assert!(reason(&kit, ConditionType::SuccessCriteriaMet).is_none());
    finish(&mut kit, "2", 0);
    assert_eq!(reason(&kit, ConditionType::SuccessCriteriaMet).as_deref(), Some("SuccessPolicy"));
    kit.run(5.0);
    assert_eq!(reason(&kit, ConditionType::Complete).as_deref(), Some("SuccessPolicy"));
    assert!(kit.active().is_empty());
}

#[test]
fn the_failure_back_off_of_jobs_is_capped_at_ten_minutes() {
    let seconds: Vec<u64> = (0..9).map(|n| super::jobplan::backoff(n).as_millis() / 1000).collect();
    assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 320, 600, 600]);
}

fn cron(kit: &mut Kit, change: impl FnOnce(&mut CronJob)) {
    let job = Job {
        parallelism: 1,
        completions: Some(1),
        backoff_limit: 6,
        template: template("a"),
        ..Job::default()
    };
    let mut cron = CronJob {
        meta: meta("tick"),
        schedule: "* * * * *".into(),
        successful_limit: 1,
        failed_limit: 1,
        template: Arc::new(job),
        ..CronJob::default()
    };
    change(&mut cron);
    create(kit, Obj::CronJob(Arc::new(cron)));
}

fn jobs(kit: &Kit) -> Vec<Arc<Job>> {
    let all = kit.shared.versions.iter(Kind::Job);
    all.filter_map(|(_, o)| if let Obj::Job(j) = o { Some(Arc::clone(j)) } else { None }).collect()
}

#[test]
fn a_cron_job_runs_on_the_minute_and_keeps_its_history_short() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    cron(&mut kit, |_| {});
    // The tests begin at second 20 of a minute.
    kit.run(39.9);
    assert!(jobs(&kit).is_empty());
    kit.run(0.3);
    let first = jobs(&kit);
    assert_eq!(first[0].meta.name.to_string(), format!("tick-{}", (EPOCH + 40) / 60));
    for _ in 0..5 {
        kit.run(60.0);
        for pod in kit.active() {
            kit.pod(&pod, |p| p.status.phase = Phase::Succeeded);
        }
        kit.run(0.1);
    }
    kit.run(5.0);
    assert_eq!(jobs(&kit).len(), 1, "successfulJobsHistoryLimit is 1");
}

#[test]
fn forbid_skips_and_replace_replaces() {
    for (policy, want) in
        [(Concurrency::Allow, 3), (Concurrency::Forbid, 1), (Concurrency::Replace, 1)]
    {
        let mut kit = Kit::new(KubeVersion::V1_35);
        cron(&mut kit, |c| c.concurrency = policy);
        kit.run(165.0);
        assert_eq!(jobs(&kit).len(), want, "{policy:?}");
        let made = kit.count("create", Kind::Job);
        assert_eq!(made, if policy == Concurrency::Forbid { 1 } else { 3 }, "{policy:?}");
    }
}

#[test]
fn more_than_a_hundred_missed_runs_are_a_warning_and_the_latest_still_starts() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    cron(&mut kit, |c| c.suspend = true);
    kit.run(7200.0);
    let Some(Obj::CronJob(mut cron)) = kit.get(Kind::CronJob, "tick") else { panic!("gone") };
    Arc::make_mut(&mut cron).suspend = false;
    Arc::make_mut(&mut cron).meta.resource_version = 0;
    kit.user(Kind::CronJob, "tick", Op::Update(Obj::CronJob(cron)));
    kit.run(1.0);
    let names: Vec<String> = jobs(&kit).iter().map(|j| j.meta.name.to_string()).collect();
    assert_eq!(names, [format!("tick-{}", (EPOCH + 7200) / 60)]);
    assert!(kit.events.iter().any(|e| e.starts_with("too many missed start times")));
}

#[test]
fn a_namespace_is_emptied_after_five_seconds_pods_first() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let namespace = Namespace {
        meta: Meta::named(Sym::EMPTY, "ns".into()),
        terminating: true,
        ..Namespace::default()
    };
    node(&mut kit, "n1");
    bare_pod(&mut kit, "a", "n1", None);
    create(&mut kit, generic(Kind::ConfigMap, "cm", json!({})));
    create(&mut kit, Obj::Namespace(Arc::new(namespace)));
    kit.run(4.9);
    assert_eq!(kit.count("deletecollection", Kind::Pod), 0);
    kit.run(0.5);
    assert_eq!(kit.count("deletecollection", Kind::Pod), 1);
    assert_eq!(kit.count("deletecollection", Kind::ConfigMap), 0, "pods go first");
    kit.kubelets();
    kit.run(40.0);
    assert_eq!(kit.count("deletecollection", Kind::ConfigMap), 1);
    assert!(kit.get(Kind::Namespace, "ns").is_none() && kit.get(Kind::ConfigMap, "cm").is_none());
}

#[test]
fn every_namespace_has_a_default_service_account() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    let namespace =
        Namespace { meta: Meta::named(Sym::EMPTY, "ns".into()), ..Namespace::default() };
    create(&mut kit, Obj::Namespace(Arc::new(namespace)));
    kit.run(1.0);
    assert!(kit.get(Kind::ServiceAccount, "default").is_some());
    delete(&mut kit, Kind::ServiceAccount, "default");
    kit.run(1.0);
    assert!(kit.get(Kind::ServiceAccount, "default").is_some(), "made again");
    assert!(kit.get(Kind::ConfigMap, "kube-root-ca.crt").is_some());
}

fn budget(kit: &Kit) -> (i64, i64, i64, i64) {
    let Some(Obj::Generic(_, pdb)) = kit.get(Kind::PodDisruptionBudget, "pdb") else { panic!() };
    let field =
        |key: &str| pdb.doc.pointer(&format!("/status/{key}")).and_then(|v| v.as_i64()).unwrap();
    (
        field("expectedPods"),
        field("desiredHealthy"),
        field("currentHealthy"),
        field("disruptionsAllowed"),
    )
}

#[test]
fn percentages_of_disruption_budgets_round_up() {
    for (spec, want) in [
        (json!({"maxUnavailable": "25%"}), (10, 7, 10, 3)),
        (json!({"maxUnavailable": "1%"}), (10, 9, 10, 1)),
        (json!({"minAvailable": "25%"}), (10, 3, 10, 7)),
        (json!({"minAvailable": 10}), (10, 10, 10, 0)),
    ] {
        let mut kit = Kit::new(KubeVersion::V1_35);
        node(&mut kit, "n1");
        deployment(&mut kit, 10, Strategy::default());
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        create(&mut kit, generic(Kind::PodDisruptionBudget, "pdb", spec.clone()));
        kit.run(1.0);
        kit.kubelets();
        kit.run(1.0);
        assert_eq!(budget(&kit), want, "{spec}");
        let victim = kit.active()[0].clone();
        delete(&mut kit, Kind::Pod, &victim);
        kit.run(1.0);
        assert_eq!(budget(&kit).2, 9, "a terminating pod is not healthy");
    }
}

#[test]
fn a_terminating_endpoint_serves_but_is_not_ready() {
    let mut kit = Kit::new(KubeVersion::V1_35);
    node(&mut kit, "n1");
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    create(&mut kit, generic(Kind::Service, "svc", spec));
    kit.run(1.0);
    let slice = |kit: &Kit| {
        let found = kit.shared.versions.iter(Kind::EndpointSlice).next();
        let Some((_, Obj::EndpointSlice(slice))) = found else { panic!("no slice") };
        Arc::clone(slice)
    };
    assert!(slice(&kit).endpoints.is_empty(), "a placeholder");
    replica_set(&mut kit, 2);
    kit.run(1.0);
    kit.kubelets();
    for name in kit.active() {
        kit.pod(&name, |p| p.status.pod_ip = 1);
    }
    kit.run(1.0);
    let ready = |kit: &Kit| slice(kit).endpoints.iter().filter(|e| e.ready).count();
    assert_eq!((slice(&kit).endpoints.len(), ready(&kit)), (2, 2));
    assert_eq!(kit.count("create", Kind::EndpointSlice), 1, "the placeholder was used");
    let victim = kit.active()[0].clone();
    delete(&mut kit, Kind::Pod, &victim);
    kit.run(0.5);
    let leaving = slice(&kit).endpoints.iter().find(|e| e.terminating).copied().unwrap();
    assert!(leaving.serving && !leaving.ready);
    let Some(Obj::Endpoints(old)) = kit.get(Kind::Endpoints, "svc") else { panic!("gone") };
    assert_eq!(old.subsets[0].ready.len(), 1, "the old form leaves it out");
}
