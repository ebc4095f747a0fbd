//! Probes and hooks: what the scenario lets them find, seen from the pod's status and its Events.

use super::support::scratch;
use std::fs;
use std::sync::Arc;
use wavetank::api::pod::Phase;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj, Pod};
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// What is seen of the one pod: instants in seconds.
#[derive(Default)]
struct Seen {
    /// When a container started, by run.
    starts: Vec<f64>,
    /// Each turn of readiness.
    ready: Vec<(f64, bool)>,
    /// Events: reason and message.
    events: Vec<(f64, String, String)>,
    marked: f64,
    gone: f64,
    restarts: u32,
}

impl Observer for Seen {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind, log, .. } = record.what else { return };
        let change = versions.change(kind, log).unwrap();
        let now = record.time.secs_f64();
        if let Obj::Event(event) = &change.value {
            if event.reason.as_str() == "Started" {
                self.starts.push(now);
            }
            self.events.push((now, event.reason.to_string(), event.message()));
        }
        let Some(pod) = change.value.as_pod().filter(|p| p.meta.name.to_string() == "one") else {
            return;
        };
        if change.deleted {
            self.gone = now;
            return;
        }
        let before = change.before.as_ref().and_then(Obj::as_pod);
        let was = before.is_some_and(|p| p.ready());
        if pod.ready() != was {
            self.ready.push((now, pod.ready()));
        }
        if pod.meta.terminating() && before.is_some_and(|p| !p.meta.terminating()) {
            self.marked = now;
        }
        self.restarts = pod.status.containers.first().map_or(0, |c| c.restarts);
    }
}

impl Seen {
    fn of(&self, reason: &str) -> Vec<f64> {
        self.events.iter().filter(|e| e.1 == reason).map(|e| e.0).collect()
    }

    /// The turns of readiness, counted from the first start, in whole seconds.
    fn turns(&self) -> Vec<(i64, bool)> {
        let from = self.starts[0];
        #[expect(clippy::cast_possible_truncation, reason = "a test's instants are small")]
        self.ready.iter().map(|(at, is)| ((at - from).round() as i64, *is)).collect()
    }
}

/// Runs one pod with these annotations and fields of its container; the events of the run so far.
fn run(
    name: &str,
    annotations: &str,
    container: &str,
    more: &str,
) -> (Seen, Option<Arc<Pod>>, u64) {
    let folder = scratch(&format!("probes-{name}"));
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: one\n  namespace: default\n  annotations: {annotations}\n\
         spec:\n  containers:\n  - name: c\n    image: registry.k8s.io/pause:3.9\n{container}"
    );
    let scenario = format!(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nuntil: 10m\ncluster:\n  nodes:\n  \
         - {{name: node, cpu: 4, memory: 8Gi}}\nmanifests: [pod.yaml]\n{more}"
    );
    fs::write(folder.join("pod.yaml"), pod).unwrap();
    fs::write(folder.join("scenario.yaml"), scenario).unwrap();
    let loaded = load_with(&folder.join("scenario.yaml"), &LoadOptions::default());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors[0]));
    let mut seen = Seen::default();
    let mut session = Session::new(Arc::new(loaded.plan));
    session.run(&mut [&mut seen], |_| {});
    let versions = &session.cluster().shared().versions;
    let found = versions.find(Kind::Pod, "default".into(), "one".into());
    let pod = found.and_then(|o| versions.current(Kind::Pod, o)?.as_pod().cloned());
    (seen, pod, session.steps())
}

const LIVENESS: &str = "    livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 10}\n";

#[test]
fn a_probe_that_passes_costs_nothing() {
    let (_, _, plain) = run("plain", "{}", "", "");
    let (seen, pod, probed) = run("passes", "{}", LIVENESS, "");
    assert_eq!((seen.restarts, plain), (0, probed));
    assert!(pod.unwrap().ready());
}

#[test]
fn liveness_failures_restart_the_container() {
    let fails = "{wavetank.dev/liveness-fails: after 35s}";
    let (seen, pod, _) = run("liveness", fails, LIVENESS, "");
    // Three ticks fail, the first one within a period; the next runs fail alike, each after its
    // back-off. Ticks count from before the image was pulled.
    let from = seen.starts[0];
    let unhealthy: Vec<f64> = seen.of("Unhealthy").iter().take(3).map(|t| t - from).collect();
    assert!((35.0..45.5).contains(&unhealthy[0]), "{unhealthy:?}");
    for pair in unhealthy.windows(2) {
        assert!((pair[1] - pair[0] - 10.0).abs() < 0.1, "{unhealthy:?}");
    }
    let second = seen.starts[1] - from - unhealthy[2];
    assert!((0.0..2.5).contains(&second), "restarted after {second}");
    let third = seen.starts[2] - seen.starts[1];
    // Starts are read off the Events, whose commits take some milliseconds more or less. The worker
    // wakes up to half of the back-off late.
    assert!((64.9..82.5).contains(&third), "55 to 65 s, then 10 to 15 s of back-off: {third}");
    let text = "Container c failed liveness probe, will be restarted";
    assert!(seen.events.iter().any(|e| e.1 == "Killing" && e.2 == text));
    let pod = pod.unwrap();
    assert_eq!(pod.status.phase, Phase::Running);
    assert!(seen.restarts >= 3, "{}", seen.restarts);
}

#[test]
fn a_slow_start_is_waited_for_and_a_slower_one_is_not() {
    let probes = "    startupProbe: {tcpSocket: {port: 80}, periodSeconds: 5, failureThreshold: 6}\n    \
                  livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 5, failureThreshold: 1}\n";
    // Liveness would fail from the start, but is not asked before the container has come up.
    let slow = "{wavetank.dev/startup-after: 22s, wavetank.dev/liveness-fails: after 0s for 20s}";
    let (seen, _, _) = run("slow", slow, probes, "");
    // No tick as the container starts: the first one is a period after the pod was taken in.
    let turns = seen.turns();
    assert!((22..=27).contains(&turns[0].0) && turns.len() == 1 && seen.restarts == 0, "{turns:?}");
    assert_eq!(seen.of("Unhealthy").len(), 4);
    let slower = "{wavetank.dev/startup-after: 40s}";
    let (seen, _, _) = run("slower", slower, probes, "");
    assert!(seen.ready.is_empty(), "{:?}", seen.ready);
    let (first, second) = (seen.starts[0], seen.starts[1]);
    assert!((25.0..32.5).contains(&(second - first)), "sixth failure within 30 s");
}

#[test]
fn readiness_flaps_with_thresholds() {
    let probe = "    readinessProbe: {exec: {command: [x]}, periodSeconds: 5, failureThreshold: 2, \
                 successThreshold: 2, initialDelaySeconds: 3}\n";
    let flaps = "{wavetank.dev/readiness-fails: after 60s for 30s every 2m}";
    let (seen, _, _) = run("readiness", flaps, probe, "");
    // Ready with the second success; unready with the second failure, and back.
    let turns = seen.turns();
    // Ticks count from before the image was pulled.
    let want = [(12, true), (67, false), (97, true), (187, false), (217, true)];
    for ((at, is), (wanted, to)) in turns.iter().zip(want) {
        assert!((at - wanted).abs() <= 1 && *is == to, "{turns:?}");
    }
    assert!(turns.len() >= 9 && seen.restarts == 0, "{turns:?}");
}

#[test]
fn failures_may_begin_at_an_instant_of_the_run() {
    let probe =
        "    readinessProbe: {exec: {command: [x]}, periodSeconds: 1, failureThreshold: 1}\n";
    let (seen, _, _) = run("instant", "{wavetank.dev/readiness-fails: at 5m for 10s}", probe, "");
    let (down, up) = (seen.ready[1].0, seen.ready[2].0);
    assert!((300.0..301.5).contains(&down) && (310.0..311.5).contains(&up), "{:?}", seen.ready);
}

#[test]
fn hooks_run_within_the_grace() {
    let deletes = "workload:\n- {at: 2m, delete: pod/default/one}\n";
    let span = |name, annotations, container: &str| {
        let (seen, pod, _) = run(name, annotations, container, deletes);
        assert!(pod.is_none() && seen.marked >= 120.0);
        seen.gone - seen.marked
    };
    let sleep = |s: u32| format!("    lifecycle: {{preStop: {{sleep: {{seconds: {s}}}}}}}\n");
    let hook = "    lifecycle: {preStop: {exec: {command: [x]}}}\n";
    // Up to a second more until PLEG has seen it.
    let near = |at: f64, want: f64| assert!((want..want + 1.2).contains(&at), "{at}, not {want}");
    near(span("sleep", "{wavetank.dev/stop-after: 3s}", &sleep(7)), 10.0);
    near(span("hook", "{wavetank.dev/pre-stop: 12s..12s}", hook), 12.0);
    // The hook takes the whole grace of 30 s; two seconds are left to stop.
    near(span("long", "{wavetank.dev/stop-after: 9s}", &sleep(100)), 32.0);
    near(span("none", "{wavetank.dev/stop-after: 100s}", ""), 30.0);
}
