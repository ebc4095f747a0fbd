//! Logs of containers: rotated by kubelets, shipped by agents, lost or left on disks.

use super::support::scratch;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wavetank::api::Obj;
use wavetank::api::versions::Versions;
use wavetank::event::{Record, What};
use wavetank::report::logs::LogSummary;
use wavetank::report::metrics::Metrics;
use wavetank::report::summary::Summary;
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Kubernetes Events: when, reason, about whom, message.
#[derive(Default)]
struct Events(Vec<(f64, String, String, String)>);

impl Observer for Events {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind, log, .. } = record.what else { return };
        let change = versions.change(kind, log).unwrap();
        if let Obj::Event(event) = &change.value
            && !change.deleted
        {
            let (reason, about) = (event.reason.to_string(), event.name.to_string());
            self.0.push((record.time.secs_f64(), reason, about, event.message()));
        }
    }
}

impl Events {
    /// Instants of those with a reason.
    fn at(&self, reason: &str) -> Vec<f64> {
        self.0.iter().filter(|e| e.1 == reason).map(|e| e.0).collect()
    }
}

/// What a run came to.
struct Run {
    summary: Summary,
    events: Events,
    steps: u64,
}

impl Run {
    fn logs(&self) -> &LogSummary {
        self.summary.logs.as_ref().expect("there are logs")
    }
}

/// An app, a pod of which writes logs, and the agent; the flow style of YAML.
const OBJECTS: &str = "
namespaces: [logging]
objects:
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 1, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: web}]}}}}
  - {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: logging}, spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, spec: {priorityClassName: system-node-critical, nodeSelector: {AGENT}, containers: [{name: main, image: agent}]}}}}
";

/// Runs a scenario with one node, its disk and the rate of its writer given.
fn run_on(disk: &str, agent: bool, rate: &str, rest: &str) -> Run {
    let label = if agent { "" } else { "nowhere: 'true'" };
    let objects = OBJECTS.replace("AGENT", label);
    play(&format!(
        "cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, ephemeralStorage: {disk}}}]}}{objects}{rest}"
    ).replace("RATE", rate))
}

fn play(text: &str) -> Run {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = scratch(&format!("logs-{number}")).join("scenario.yaml");
    fs::write(&path, format!("apiVersion: wavetank.dev/v1\nkind: Scenario\n{text}")).unwrap();
    let loaded = load_with(&path, &LoadOptions::default());
    let plan = Arc::new(loaded.unwrap_or_else(|errors| panic!("{}\n{text}", errors[0])).plan);
    let (mut events, mut metrics) = (Events::default(), Metrics::new(&plan, None));
    let mut session = Session::new(plan);
    session.run(&mut [&mut events, &mut metrics], |_| {});
    let summary = Summary::new(&metrics, &session.digest());
    let run = Run { summary, events, steps: session.steps() };
    if let Some(logs) = &run.summary.logs {
        // Nothing appears and nothing vanishes, but for parts of bytes.
        let there = logs.shipped_bytes + logs.lost_bytes + logs.buffered_bytes + logs.unread_bytes;
        assert!(logs.written_bytes.abs_diff(there) <= 4, "{logs:?}");
    }
    run
}

const WRITES: &str = "
logging:
  sources: [{workload: deployment/web, bytesPerSecond: RATE}]
  agent: {workload: daemonset/logging/agent, bytesPerSecond: 20Mi}
";

fn writes(rest: &str) -> String {
    format!("until: 2h{WRITES}{rest}")
}

#[test]
fn an_agent_ships_what_containers_write() {
    let run = run_on("20Gi", true, "1Mi", &writes("expect: [{logs: {lost: {atMost: 0}}}]\n"));
    let logs = run.logs();
    assert!(logs.written_bytes > 7_100 * MIB && logs.written_bytes < 7_200 * MIB, "{logs:?}");
    // Whatever the container has written before the agent was there was still in its file.
    assert_eq!((logs.lost_bytes, logs.buffered_bytes, logs.unread_bytes), (0, 0, 0));
    assert!(run.summary.passed(), "{:?}", run.summary.expectations);
    assert_eq!(run.events.at("NodeHasDiskPressure"), [0.0; 0]);
}

#[test]
fn without_an_agent_logs_are_rotated_away() {
    let run = run_on("20Gi", false, "1Mi", &writes("expect: [{logs: {lost: {atMost: 0}}}]\n"));
    let logs = run.logs();
    assert_eq!(logs.shipped_bytes, 0);
    // What is in the file in use is not lost yet: 10 MiB at most.
    assert_eq!(logs.rotated_away_bytes, logs.lost_bytes);
    assert!(logs.written_bytes - logs.lost_bytes <= 10 * MIB, "{logs:?}");
    assert!(!run.summary.passed());
}

/// A pod that writes for half an hour, and the message of its eviction if its limit is passed.
fn limited(limit: &str, more: &str) -> Vec<(f64, String, String, String)> {
    let objects = format!(
        "objects:\n  - {{apiVersion: v1, kind: Pod, metadata: {{name: web, labels: {{app: web}}}}, spec: \
         {{containers: [{{name: main, image: web, resources: {{limits: {{ephemeral-storage: {limit}}}}}}}]}}}}\n  \
         - {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: 0, selector: \
         {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: main, image: web}}]}}}}}}}}\n"
    );
    let run = play(&format!(
        "until: 30m\ncluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, ephemeralStorage: 20Gi{more}}}]}}\n{objects}\
         logging: {{compression: 1, sources: [{{workload: deployment/web, bytesPerSecond: 512Ki}}]}}\n"
    ));
    run.events.0.into_iter().filter(|e| e.1 == "Evicted").collect()
}

#[test]
fn rotation_bounds_the_log_of_a_container() {
    // Files of 10 MiB are full after 20 s; five of them are 50 MiB and no more.
    assert_eq!(limited("50Mi", ""), []);
    let evicted = limited("49Mi", "");
    assert!(evicted[0].3.contains("exceeds the total limit of containers 49Mi"), "{evicted:?}");
    // After a hundred seconds they are all there.
    assert!(evicted[0].0 > 98.0 && evicted[0].0 < 115.0, "{evicted:?}");
    // The kubelet's own fields say how many, and how large.
    let two = ", kubelet: {containerLogMaxSize: 5Mi, containerLogMaxFiles: 2}";
    assert_eq!(limited("10Mi", two), []);
    assert_eq!(limited("9Mi", two).len(), 1);
    // It looks each 10 s: until then a file may become larger than it should.
    let rare = ", kubelet: {containerLogMaxSize: 5Mi, containerLogMaxFiles: 2, containerLogMonitorInterval: 30s}";
    assert_eq!(limited("30Mi", rare), []);
    assert_eq!(limited("29Mi", rare).len(), 1);
}

/// The store is away for an hour, and a writer of 4 MiB per second is behind it.
fn away(limit: &str, rest: &str) -> String {
    let writes = WRITES.replace("20Mi}", &format!("20Mi{limit}}}"));
    format!(
        "until: 3h{writes}faults: [{{name: store, logStoreDown: true, at: 10m, for: 1h}}]\n{rest}"
    )
}

#[test]
fn a_store_that_is_down_fills_the_disk_and_pods_are_evicted() {
    let run = run_on("20Gi", true, "4Mi", &away("", ""));
    let logs = run.logs();
    // 85 % of 20 GiB, less images and the logs themselves, at 4 MiB/s: some 72 minutes without
    // what lies there; the eviction manager looks every 10 s.
    assert_eq!(logs.disk_pressure.len(), 0, "{logs:?}");
    let run = run_on("10Gi", true, "4Mi", &away("", ""));
    let logs = run.logs();
    let full = 10 * GIB * 85 / 100;
    assert!(logs.peak_backlog_bytes < full, "{logs:?}");
    assert!(logs.peak_backlog_bytes > full - GIB, "{logs:?}");
    assert_eq!(logs.disk_pressure.len(), 1);
    assert_eq!(logs.disk_pressure[0].node, "node");
    let at = logs.disk_pressure[0].at_s;
    assert!(at > 40.0 * 60.0 && at < 47.0 * 60.0, "{logs:?}");
    // The writer uses more than it has asked for; the agent is critical and stays.
    let evicted: Vec<_> = run.events.0.iter().filter(|e| e.1 == "Evicted").collect();
    assert!(evicted[0].2.starts_with("web-"), "{evicted:?}");
    assert!(evicted[0].3.contains("low on resource: ephemeral-storage"), "{evicted:?}");
    assert!(evicted[0].3.contains("Container main was using"), "{evicted:?}");
    assert!(evicted.iter().all(|e| e.2.starts_with("web-")), "{evicted:?}");
    assert!(logs.evicted >= 1);
    // That frees no more than its own files: the buffer stays, and whenever the writer is let in
    // again after five minutes, it is evicted again, until the store is back.
    let short = run.events.at("NodeHasDiskPressure");
    assert!(short.len() >= 3 && u64::try_from(short.len()).unwrap() == logs.evicted, "{short:?}");
    assert!(short.windows(2).all(|two| two[1] - two[0] > 300.0), "{short:?}");
    assert!(short.iter().all(|at| *at < 71.0 * 60.0), "{short:?}");
    assert_eq!((logs.buffer_full_bytes, logs.disk_full_bytes), (0, 0));
}

#[test]
fn the_backlog_drains_at_the_rate_of_the_agent() {
    let run = run_on(
        "100Gi",
        true,
        "4Mi",
        &away("", "expect: [{logs: {lost: {atMost: 0}, backlog: {atMost: 15Gi}}}]\n"),
    );
    let logs = run.logs();
    assert!(run.summary.passed(), "{:?}", run.summary.expectations);
    // An hour of 4 MiB/s, full at the instant at which the store is back.
    assert!(logs.peak_backlog_bytes.abs_diff(3_600 * 4 * MIB) < MIB, "{logs:?}");
    assert!((logs.peak_s - 70.0 * 60.0).abs() < 1.0, "{logs:?}");
    assert_eq!((logs.buffered_bytes, logs.lost_bytes), (0, 0));
    // 20 MiB/s out, 4 MiB/s in: 900 s. A run that ends before that still has some.
    let early = away("", "").replace("until: 3h", "until: 82m30s");
    let logs = run_on("100Gi", true, "4Mi", &early).logs().clone();
    assert!(logs.buffered_bytes.abs_diff(150 * 16 * MIB) < MIB, "{logs:?}");
    let shared = away("", "").replace("agent:", "store: {bytesPerSecond: 8Mi}\n  agent:");
    let logs =
        run_on("100Gi", true, "4Mi", &shared.replace("until: 3h", "until: 90m")).logs().clone();
    // A store of 8 MiB/s leaves 4 MiB/s for the backlog: twenty minutes are a third of it.
    assert!(logs.buffered_bytes.abs_diff(2_400 * 4 * MIB) < MIB, "{logs:?}");
}

#[test]
fn a_full_buffer_throws_the_oldest_away() {
    let run = run_on("100Gi", true, "4Mi", &away(", bufferLimit: 6Gi", ""));
    let logs = run.logs();
    assert_eq!(logs.peak_backlog_bytes, 6 * GIB);
    let lost = 3_600 * 4 * MIB - 6 * GIB;
    assert_eq!(logs.buffer_full_bytes, logs.lost_bytes);
    assert!(logs.lost_bytes.abs_diff(lost) < MIB, "{logs:?}");
    assert_eq!(logs.disk_pressure, []);
}

#[test]
fn a_full_disk_bounds_the_buffer() {
    // Nobody evicts: what has no room is lost.
    let objects = OBJECTS.replace("AGENT", "");
    let rest = away("", "").replace("RATE", "4Mi");
    let run = play(&format!(
        "cluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, ephemeralStorage: 10Gi, kubelet: \
         {{evictionHard: {{memory.available: 100Mi}}}}}}]}}{objects}{rest}"
    ));
    let logs = run.logs();
    assert!(logs.peak_backlog_bytes <= 10 * GIB, "{logs:?}");
    assert!(logs.peak_backlog_bytes > 9 * GIB, "{logs:?}");
    assert_eq!(logs.disk_full_bytes, logs.lost_bytes);
    let lost = 3_600 * 4 * MIB - logs.peak_backlog_bytes;
    assert!(logs.lost_bytes.abs_diff(lost) < MIB, "{logs:?}");
}

#[test]
fn an_agent_that_dies_leaves_its_buffer_and_reads_on_from_there() {
    // A machine without power writes nothing; its disk keeps the buffer.
    let rest = "faults: [{name: store, logStoreDown: true, at: 10m, for: 30m}, {name: crash, crash: {node: node}, at: 20m, for: 5m}]\n";
    let run = run_on("100Gi", true, "1Mi", &format!("until: 2h{WRITES}{rest}"));
    let logs = run.logs();
    assert!(logs.peak_backlog_bytes > 20 * 60 * MIB, "{logs:?}");
    assert!(logs.written_bytes < (120 - 4) * 60 * MIB, "{logs:?}");
    assert!(logs.lost_bytes < 10 * MIB, "{logs:?}");
    assert_eq!(logs.buffered_bytes, 0);
    // A pod of the agent that is deleted comes back: what was rotated away meanwhile is lost.
    let quick = "workload: [{at: 10m, delete: 'pod/logging/agent-*'}]\n";
    let run = run_on("100Gi", true, "4Mi", &format!("until: 1h{WRITES}{quick}"));
    let logs = run.logs();
    assert!(logs.lost_bytes < 200 * MIB, "{logs:?}");
    assert_eq!(logs.lost_bytes, logs.rotated_away_bytes);
    assert_eq!(logs.unread_bytes + logs.buffered_bytes, 0);
}

#[test]
fn twice_the_logs_are_not_twice_the_events() {
    let steps = |rate: &str| run_on("500Gi", true, rate, &away("", "")).steps;
    let (once, twice, much) = (steps("1Mi"), steps("2Mi"), steps("16Mi"));
    assert_eq!(once, twice);
    assert!(much.abs_diff(once) <= 4, "{once} and {much}");
}

#[test]
fn scenarios_without_logs_say_nothing_of_them() {
    let objects = OBJECTS.replace("AGENT", "");
    let run = play(&format!(
        "until: 10m\ncluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi}}]}}{objects}"
    ));
    assert!(run.summary.logs.is_none());
    let page = wavetank::report::text::render(&run.summary, 100);
    assert!(!page.contains("Logs"), "{page}");
}

#[test]
fn a_snapshot_goes_on_as_the_run_does() {
    let objects = OBJECTS.replace("AGENT", "");
    let rest = away("", "").replace("RATE", "4Mi");
    let text = format!(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\ncluster: {{nodes: [{{name: node, cpu: 4, memory: 8Gi, \
         ephemeralStorage: 10Gi}}]}}{objects}{rest}"
    );
    let path = scratch("logs-snapshot").join("scenario.yaml");
    fs::write(&path, text).unwrap();
    let plan = Arc::new(load_with(&path, &LoadOptions::default()).unwrap().plan);
    let mut session = Session::new(plan);
    while session.now().secs_f64() < 1800.0 && session.step().is_some() {}
    let mut copy = session.clone();
    let tallies =
        |session: &Session| session.cluster().log_tallies(session.now()).collect::<Vec<_>>();
    assert_eq!(tallies(&session), tallies(&session), "looking changes nothing");
    session.run(&mut [], |_| {});
    copy.run(&mut [], |_| {});
    assert_eq!(session.digest(), copy.digest());
    assert_eq!(tallies(&session), tallies(&copy));
    assert_eq!(tallies(&session).len(), 1);
}
