//! A made-up run: three zones, one of them lost, told to the observer record by record.

use super::metrics::Metrics;
use super::rundir::{Facts, RunDir};
use super::summary::Summary;
use super::text::render;
use crate::api::kevent::{KEvent, Source, Text};
use crate::api::node::{Node, NodeStatus, keys};
use crate::api::pod::{Condition, ConditionType, Conditions, Phase, Pod, PodSpec, Truth};
use crate::api::request::User;
use crate::api::resources::Resources;
use crate::api::version::KubeVersion;
use crate::api::versions::{ObjRef, Versions};
use crate::api::workload::{Deployment, ReplicaSet};
use crate::api::{Kind, LabelSet, Meta, Name, Obj, Owner, Stamp, Uid};
use crate::cluster::spec::{
    Agent, ClientLimits, ClusterSpec, Component, Expect, Fault, FaultKind, Latencies, NodeSpec,
    Plan, SchedulerSpec, Whom,
};
use crate::engine::{Dist, SimDuration, SimTime, Sym, num};
use crate::event::{Record, What};
use crate::session::Observer;
use std::path::Path;
use std::sync::Arc;

const GIB: i64 = 1 << 30;

fn s(text: &str) -> Sym {
    Sym::new(text)
}

fn secs(t: f64) -> SimTime {
    SimTime(SimDuration::from_secs_f64(t).0)
}

fn offer() -> Arc<Resources> {
    Arc::new(Resources { cpu_milli: 4000, memory: 16 * GIB, pods: 110, ..Resources::default() })
}

#[expect(clippy::too_many_lines, reason = "a plan has that many fields")]
fn plan(nodes: u32) -> Plan {
    let zones = ["a", "b", "c"];
    let specs = (0..nodes).map(|i| NodeSpec {
        name: Name::numbered(s("node"), i).sym(),
        labels: LabelSet::new([(s(keys::ZONE), s(zones[(i % 3) as usize]))]),
        zone: s(zones[(i % 3) as usize]),
        taints: Vec::new(),
        capacity: offer(),
        allocatable: offer(),
        images: Arc::new([]),
        agent: Agent::Kubelet,
        boot: Dist::Constant(SimDuration::ZERO),
        joins: SimTime::ZERO,
        kubelet: Arc::default(),
        statics: Arc::default(),
        runtime: Default::default(),
        machine: None,
    });
    Plan {
        name: "zone-loss".into(),
        seed: 7,
        until: secs(1800.0),
        until_idle: false,
        cluster: ClusterSpec {
            control_plane: None,
            explicit_heartbeats: false,
            images: Vec::new(),
            registry_bytes_per_s: None,
            version: KubeVersion::V1_35,
            epoch_s: 1_700_000_000,
            nodes: specs.collect(),
            limits: ClientLimits::default(),
            latency: Latencies::default(),
            scheduler: SchedulerSpec::default(),
            monitor_grace: None,
            event_ttl: SimDuration::from_secs(3600),
            service_cidr: crate::api::Cidr::SERVICES,
            proxy: crate::node::proxy::ProxyConfig::default(),
            pod_cidr: None,
            node_cidr_bits: 24,
            cni: None,
            cloud: None,
            drivers: crate::event::Drivers::default(),
            metrics_resolution: SimDuration::from_secs(15),
        },
        steps: Vec::new(),
        arrivals: Vec::new(),
        outages: Vec::new(),
        awaits: Vec::new(),
        faults: vec![Fault {
            name: "zone-b".into(),
            what: FaultKind::NodeCrash,
            whom: Whom::Zone(s("b")),
            at: secs(600.0),
            lasts: Some(SimDuration::from_secs(900)),
        }],
        expect: vec![
            Expect::Converged,
            Expect::Available {
                workload: "deployment/web".into(),
                at_least: 5,
                except: SimDuration::ZERO,
            },
            Expect::Available {
                workload: "deployment/wbe".into(),
                at_least: 5,
                except: SimDuration::ZERO,
            },
            Expect::Evicted { at_least: 1, at_most: u64::MAX },
            Expect::PendingAtMost(SimDuration::from_secs(1)),
        ],
        pins: Vec::new(),
        warm: Vec::new(),
        usage: Vec::new(),
        logging: None,
        traffic: Vec::new(),
        recorded: Vec::new(),
        not_modelled: vec![("spec.template.spec.dnsPolicy".into(), 3)],
    }
}

/// A store and an observer.
struct Fake {
    versions: Versions,
    metrics: Metrics,
    seq: u64,
}

impl Fake {
    fn say(&mut self, t: f64, what: What) {
        self.seq += 1;
        let record = Record { seq: self.seq, time: secs(t), cause: 0, what };
        self.metrics.on(&record, &self.versions);
    }

    fn committed(&mut self, t: f64, kind: Kind, object: ObjRef, by: User, verb: &'static str) {
        let log = self.versions.log_end(kind) - 1;
        self.say(t, What::Committed { kind, log, object, user: by, verb: (verb, "") });
    }

    fn put(&mut self, t: f64, object: Option<ObjRef>, value: Obj, by: User) -> ObjRef {
        let kind = value.kind();
        let verb = if object.is_some() { "patch" } else { "create" };
        let (object, _) = self.versions.put(object, value, secs(t), self.seq);
        self.committed(t, kind, object, by, verb);
        object
    }

    fn delete(&mut self, t: f64, object: ObjRef, by: User) {
        self.versions.delete(Kind::Pod, object, secs(t), self.seq);
        self.committed(t, Kind::Pod, object, by, "delete");
    }

    fn node(
        &mut self,
        t: f64,
        name: &str,
        zone: &str,
        object: Option<ObjRef>,
        ready: bool,
    ) -> ObjRef {
        let mut meta = Meta::named(Sym::EMPTY, name.into());
        meta.labels = LabelSet::new([(s(keys::ZONE), s(zone))]);
        let mut conditions = Conditions::default();
        conditions.set(condition(ConditionType::Ready, ready));
        let status = NodeStatus {
            capacity: offer(),
            allocatable: offer(),
            conditions,
            ..NodeStatus::default()
        };
        let node = Node { meta, status, ..Node::default() };
        self.put(t, object, Obj::Node(Arc::new(node)), User::Kubelet(s(name)))
    }

    fn deployment(&mut self, name: &str, replicas: i32) {
        let meta = Meta::named(s("default"), name.into());
        let owner = Owner {
            kind: Kind::Deployment,
            name: name.into(),
            uid: Uid(1),
            controller: true,
            block_owner_deletion: true,
        };
        let set = Meta {
            owners: Some(Arc::new([owner])),
            ..Meta::named(s("default"), Name::new(&format!("{name}-6d4b75cb6d")))
        };
        let deployment = Deployment { meta, replicas, ..Deployment::default() };
        self.put(0.5, None, Obj::Deployment(Arc::new(deployment)), User::Admin);
        let set = ReplicaSet { meta: set, replicas, ..ReplicaSet::default() };
        let by = User::Controller(s("deployment-controller"));
        self.put(0.6, None, Obj::ReplicaSet(Arc::new(set)), by);
    }
}

fn condition(kind: ConditionType, yes: bool) -> Condition {
    Condition {
        kind,
        status: if yes { Truth::True } else { Truth::False },
        reason: Sym::EMPTY,
        message: s(if yes { "" } else { "0/12 nodes are available: 12 Insufficient cpu." }),
        transition: Stamp(1),
    }
}

/// A pod of a Deployment in the stages of its life.
fn pod(owner: &str, number: u32, cpu: i64) -> Pod {
    let set = format!("{owner}-6d4b75cb6d");
    let name = Name::suffixed(s(&set), number * 7919);
    let owner = Owner {
        kind: Kind::ReplicaSet,
        name: Name::new(&set),
        uid: Uid(2),
        controller: true,
        block_owner_deletion: true,
    };
    let requests = Resources { cpu_milli: cpu, memory: GIB, ..Resources::default() };
    Pod {
        meta: Meta { owners: Some(Arc::new([owner])), ..Meta::named(s("default"), name) },
        spec: Arc::new(PodSpec { requests, ..PodSpec::default() }),
        ..Pod::default()
    }
}

impl Fake {
    fn start(&mut self, t: f64, pod: &Pod, node: Option<&str>) -> (ObjRef, Pod) {
        let mut pod = pod.clone();
        let wrap = |pod: &Pod| Obj::Pod(Arc::new(pod.clone()));
        let object = self.put(t, None, wrap(&pod), User::Controller(s("replicaset-controller")));
        let Some(node) = node else {
            pod.status.conditions.set(condition(ConditionType::PodScheduled, false));
            self.put(t + 0.01, Some(object), wrap(&pod), User::Scheduler);
            return (object, pod);
        };
        let wait = 0.005 + f64::from(num::u32_of(num::index(self.seq % 37))) * 0.01;
        pod.node = s(node);
        self.put(t + wait, Some(object), wrap(&pod), User::Scheduler);
        pod.status.phase = Phase::Running;
        pod.status.conditions.set(condition(ConditionType::Ready, true));
        self.put(t + wait + 1.5, Some(object), wrap(&pod), User::Kubelet(s(node)));
        (object, pod)
    }
}

/// The made-up run: `web`, `api` and `cache` on twelve nodes; zone b dies at 10 minutes.
fn run(metrics: Metrics) -> Fake {
    let mut fake = Fake { versions: Versions::default(), metrics, seq: 0 };
    let zones = ["a", "b", "c"];
    let names: Vec<String> = (0..12).map(|i| format!("node-{i}")).collect();
    let mut nodes = Vec::new();
    for (i, name) in names.iter().enumerate() {
        nodes.push(fake.node(0.1, name, zones[i % 3], None, true));
    }
    let mut lost = Vec::new();
    for (owner, replicas, cpu) in [("web", 9, 900), ("api", 6, 1500), ("cache", 2, 500)] {
        fake.deployment(owner, replicas);
        for i in 0..replicas.unsigned_abs() {
            let on = if owner == "cache" { 1 } else { (i * 2 + 1) % 12 } as usize;
            let t = 1.0 + 3.0 * f64::from(i);
            let made = fake.start(t, &pod(owner, i, cpu), Some(&names[on]));
            if on % 3 == 1 {
                lost.push((owner, cpu, made));
            }
        }
    }
    let b = || (0..12_usize).filter(|i| i % 3 == 1);
    for i in b() {
        fake.say(600.0, What::Fault { fault: 0, node: s(&names[i]), step: "machine crashes" });
    }
    for i in b() {
        fake.node(641.0, &names[i], "b", Some(nodes[i]), false);
    }
    let evictor = User::Controller(s("taint-eviction-controller"));
    for (n, (owner, cpu, (object, pod_was))) in lost.iter().enumerate() {
        let t = 941.0 + 0.4 * f64::from(num::u32_of(n));
        fake.delete(t, *object, evictor);
        assert!(!pod_was.node.is_empty());
        let fits = n % 4 != 3;
        let fresh = pod(owner, 100 + num::u32_of(n), *cpu);
        fake.start(t + 0.2, &fresh, fits.then_some(names[n % 2 * 2].as_str()));
    }
    for i in b() {
        fake.say(1500.0, What::Fault { fault: 0, node: s(&names[i]), step: "machine boots" });
        fake.node(1530.0, &names[i], "b", Some(nodes[i]), true);
    }
    let Fake { versions, metrics, .. } = &mut fake;
    metrics.end(secs(1800.0), versions);
    fake
}

#[test]
fn a_lost_zone_is_told() {
    let fake = run(Metrics::new(&plan(12), None));
    let summary = Summary::new(&fake.metrics, "d1gest");
    let fault = &summary.faults[0];
    assert_eq!(fault.what, "Zone b lost");
    assert_eq!((fault.at_s, fault.ended_s), (Some(600.0), Some(1500.0)));
    assert_eq!(fault.detected_s, Some(641.0));
    assert_eq!(fault.first_evicted_s, Some(941.0));
    assert_eq!(fault.evicted, fault.pods);
    assert_eq!(u64::from(fault.evicted), summary.pods.evicted);
    // The crash counts at once, not when the control plane notices.
    let cache = summary.workloads.iter().find(|w| w.workload == "deployment/cache").unwrap();
    assert_eq!(cache.worst(), "0/2");
    assert!(cache.none_s > 341.0, "{cache:?}");
    assert_eq!(summary.unscheduled.len(), 1);
    let verdicts: Vec<bool> = summary.expectations.iter().map(|v| v.pass).collect();
    assert_eq!(verdicts, [false, true, false, true, false]);
    let held: i64 = fake.metrics.nodes.rows.iter().map(|n| n.room.cpu).sum();
    let live = fake.versions.iter(Kind::Pod).filter_map(|(_, o)| o.as_pod());
    let want: i64 = live.filter(|p| !p.node.is_empty()).map(|p| p.spec.requests.cpu_milli).sum();
    assert_eq!(held, want);
    assert_eq!(fake.metrics.nodes.all.cpu, want);
    let page = render(&summary, 100);
    assert!(page.lines().count() <= 24, "{page}");
    assert!(page.lines().all(|l| l.chars().count() <= 100), "{page}");
}

#[test]
fn a_run_of_nothing_says_so() {
    let mut metrics = Metrics::new(&plan(0), None);
    metrics.end(SimTime::ZERO, &Versions::default());
    let summary = Summary::new(&metrics, "d");
    assert!(render(&summary, 80).contains("NOTHING RAN"));
    for (_, picture) in super::plots::all(&metrics, &summary) {
        assert!(!super::plots::svg::svg(&picture).contains("NaN"), "{}", picture.title);
    }
}

#[test]
fn a_fault_that_never_began_is_told_by_what_it_does() {
    let mut plan = plan(3);
    plan.faults[0].name = String::new();
    let said = |plan: &Plan| {
        let mut metrics = Metrics::new(plan, None);
        metrics.end(secs(60.0), &Versions::default());
        render(&Summary::new(&metrics, "d"), 100)
    };
    for (what, whom, words) in [
        (FaultKind::NodeCrash, Whom::Zone(s("b")), "Zone b lost"),
        (FaultKind::NodeCrash, Whom::Count(2), "crash of machines"),
        (FaultKind::Restart, Whom::Component(Component::Scheduler), "kube-scheduler restarted"),
    ] {
        plan.faults[0].what = what;
        plan.faults[0].whom = whom;
        let page = said(&plan);
        let line = format!("Fault ({words}) never began: the run ended before it.");
        assert!(page.contains(&line), "{page}");
    }
    plan.faults[0].name = "the storm".to_owned();
    assert!(said(&plan).contains("Fault (the storm) never began"));
}

#[test]
fn a_run_that_could_schedule_nothing_says_so() {
    let mut fake =
        Fake { versions: Versions::default(), metrics: Metrics::new(&plan(3), None), seq: 0 };
    fake.deployment("web", 2);
    for i in 0..2 {
        fake.start(1.0, &pod("web", i, 9000), None);
    }
    let Fake { versions, metrics, .. } = &mut fake;
    metrics.end(secs(60.0), versions);
    let page = render(&Summary::new(metrics, "d"), 100);
    assert!(page.contains("NOTHING COULD BE SCHEDULED"), "{page}");
    assert!(page.contains("NEVER FULL 0/2"), "{page}");
    assert!(page.contains("2 x 0/12 nodes are available"), "{page}");
}

#[test]
fn what_was_there_before_the_run_is_not_counted_as_made_by_it() {
    let mut fake =
        Fake { versions: Versions::default(), metrics: Metrics::new(&plan(3), None), seq: 0 };
    let mut old = pod("web", 1, 500);
    old.node = s("node-0");
    old.status.phase = Phase::Running;
    old.status.conditions.set(condition(ConditionType::Ready, true));
    fake.versions.put(None, Obj::Pod(Arc::new(old)), SimTime::ZERO, 0);
    fake.start(1.0, &pod("web", 2, 500), Some("node-1"));
    let Fake { versions, metrics, .. } = &mut fake;
    metrics.end(secs(60.0), versions);
    let summary = Summary::new(metrics, "d");
    assert_eq!((summary.pods.created, summary.pods.bound, summary.pending.samples), (1, 1, 1));
    assert_eq!(summary.pods.ready_at_end, 2);
}

#[test]
fn a_stopped_kubelet_counts_from_when_it_is_noticed() {
    let mut plan = plan(3);
    plan.faults[0].what = FaultKind::KubeletStop;
    plan.faults[0].whom = Whom::Names(vec![s("node-1")]);
    let mut fake =
        Fake { versions: Versions::default(), metrics: Metrics::new(&plan, None), seq: 0 };
    let node = fake.node(0.1, "node-1", "b", None, true);
    fake.deployment("web", 1);
    let (object, mut web) = fake.start(1.0, &pod("web", 1, 500), Some("node-1"));
    fake.say(100.0, What::Fault { fault: 0, node: s("node-1"), step: "kubelet stops" });
    fake.node(140.0, "node-1", "b", Some(node), false);
    web.status.conditions.set(condition(ConditionType::Ready, false));
    let by = User::Controller(s("node-controller"));
    fake.put(140.0, Some(object), Obj::Pod(Arc::new(web.clone())), by);
    fake.say(200.0, What::Fault { fault: 0, node: s("node-1"), step: "kubelet starts" });
    fake.node(201.0, "node-1", "b", Some(node), true);
    web.status.conditions.set(condition(ConditionType::Ready, true));
    fake.put(202.0, Some(object), Obj::Pod(Arc::new(web)), User::Kubelet(s("node-1")));
    let Fake { versions, metrics, .. } = &mut fake;
    metrics.end(secs(300.0), versions);
    let summary = Summary::new(metrics, "d");
    assert_eq!(summary.faults[0].what, "Kubelet of node-1 stopped");
    assert_eq!(summary.faults[0].recovered_s, Some(202.0));
    assert_eq!(
        (summary.workloads[0].short_s.to_bits(), summary.pods.evicted),
        (62.0_f64.to_bits(), 0)
    );
    assert_eq!(summary.faults[0].detected_s, Some(140.0));
}

fn write(target: &Path) -> Summary {
    let dir = RunDir::begin(target).unwrap();
    let mut fake = run(Metrics::new(&plan(12), Some(dir.sink().unwrap())));
    let about = (Kind::Pod, s("default"), "web-1".into(), Uid(1));
    let text = Text::Plain(s("0/12 nodes are available: 12 Insufficient cpu."));
    let said = (true, s("FailedScheduling"), text);
    let event = KEvent::new(about, said, Source::Scheduler, Stamp(1));
    fake.put(1800.0, None, Obj::Event(Arc::new(event)), User::Scheduler);
    let facts = Facts {
        digest: "d1gest".into(),
        options: vec![("seed".into(), "7".into())],
        inputs: vec![("../scenario.yaml".into(), b"kind: Scenario".to_vec())],
        plots: true,
    };
    dir.finish(&mut fake.metrics, &facts).unwrap()
}

fn scratch(name: &str) -> std::path::PathBuf {
    let root = std::env::temp_dir().join(format!("wavetank-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&root).unwrap_or_default();
    std::fs::create_dir_all(&root).unwrap();
    root
}

fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|e| e.path().is_file())
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_run_directory_is_complete_or_absent() {
    let root = scratch("rundir");
    let target = root.join("run");
    // A killed run left its things; no process has this number.
    std::fs::create_dir(root.join(".run.tmp-4194305")).unwrap();
    drop(RunDir::begin(&target).unwrap());
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    write(&target);
    let first = content(&target);
    let names: Vec<&str> = first.iter().map(|f| f.0.as_str()).collect();
    for name in ["run.json", "summary.json", "pods.csv", "events.csv", "report.html", "pods.png"] {
        assert!(names.contains(&name), "{name} is missing of {names:?}");
    }
    assert!(target.join("inputs/scenario.yaml").is_file());
    // The same run again, elsewhere and over the first: the same bytes.
    write(&target);
    write(&root.join("other"));
    assert_eq!(content(&target), first);
    assert_eq!(content(&root.join("other")), first);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2);
    let html = String::from_utf8(std::fs::read(target.join("report.html")).unwrap()).unwrap();
    for loads in ["src=", "href=", "@import", "url("] {
        assert!(!html.contains(loads), "the page loads something: {loads}");
    }
    let foreign = root.join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.tex"), "x").unwrap();
    assert!(RunDir::begin(&foreign).is_err());
    assert!(foreign.join("thesis.tex").is_file());
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn tables_have_as_many_cells_as_their_head() {
    let root = scratch("tables");
    write(&root.join("run"));
    for (name, bytes) in content(&root.join("run")) {
        if name.ends_with(".csv") {
            let rows = csv::Reader::from_reader(bytes.as_slice()).into_records();
            let rows: Result<Vec<_>, _> = rows.collect();
            assert!(!rows.expect(&name).is_empty(), "{name} has no rows");
        }
    }
    std::fs::remove_dir_all(&root).unwrap();
}

/// Not a check: `cargo test report::tests::look -- --ignored` leaves pictures to look at.
#[test]
#[ignore = "writes pictures for a person to look at"]
fn look() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/look");
    let summary = write(&root);
    std::fs::write(root.join("page.txt"), render(&summary, 100)).unwrap();
}
