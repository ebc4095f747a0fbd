//! Init containers, sidecars and app containers from start to end, with their hooks.

use super::{Seen, run};
use wavetank::api::pod::{ConditionType, ContainerState, Phase, Truth};

const NODE: &str = "cluster: {nodes: [{name: node, cpu: 4, memory: 8Gi, images: [a]}]}\n";

/// A pod called `one` with annotations and the rest of its spec.
fn pod(until: &str, annotations: &str, spec: &str, more: &str) -> Seen {
    run(&format!(
        "until: {until}\n{NODE}objects:\n  - {{apiVersion: v1, kind: Pod, metadata: {{name: one, annotations: {annotations}}}, spec: {spec}}}\n{more}"
    ))
}

const CHAIN: &str = "{restartPolicy: Never, initContainers: [\
    {name: first, image: a, imagePullPolicy: IfNotPresent}, \
    {name: proxy, image: a, imagePullPolicy: IfNotPresent, restartPolicy: Always, startupProbe: {exec: {command: [x]}, periodSeconds: 5, failureThreshold: 60}}, \
    {name: log, image: a, imagePullPolicy: IfNotPresent, restartPolicy: Always}, \
    {name: last, image: a, imagePullPolicy: IfNotPresent}], \
    containers: [{name: app, image: a, imagePullPolicy: IfNotPresent}]}";

#[test]
fn init_containers_end_and_sidecars_come_up_before_the_next_one_starts() {
    let said = "{wavetank.dev/exit-after.first: 5s, wavetank.dev/startup-after.proxy: 20s, \
                wavetank.dev/exit-after.last: 3s, wavetank.dev/exit-after.app: 30s}";
    let seen = pod("5m", said, CHAIN, "");
    let started = |name: &str| seen.at("Started", &format!("container {name}"))[0];
    let order = ["first", "proxy", "log", "last", "app"].map(started);
    let gaps: Vec<f64> = order.windows(2).map(|w| w[1] - w[0]).collect();
    // The first one's work; the second one's startup probe; until the third one is seen to run; the
    // fourth one's work.
    let bounds = [(5.0, 6.5), (20.0, 26.5), (0.05, 1.5), (3.0, 4.5)];
    for (gap, (least, most)) in gaps.iter().zip(bounds) {
        assert!((least..most).contains(gap), "{gaps:?}");
    }
    let initialized = seen.pod("one").into_iter().find(|(_, p)| {
        p.status.condition(ConditionType::Initialized).is_some_and(|c| c.status == Truth::True)
    });
    assert!(initialized.unwrap().0 > order[3] + 3.0);
}

#[test]
fn sidecars_stop_after_the_app_container_has_ended_the_last_one_first() {
    let said = "{wavetank.dev/exit-after.app: 30s, wavetank.dev/stop-after.proxy: 4s, \
                wavetank.dev/stop-after.log: 7s}";
    let seen = pod("5m", said, CHAIN, "");
    let last = seen.last("one");
    assert_eq!(last.status.phase, Phase::Succeeded);
    let ended = |name: &str| {
        let all = last.status.init_containers.iter().chain(last.status.containers.iter());
        let state = all.into_iter().find(|c| c.name.as_str() == name).unwrap().state;
        let ContainerState::Terminated { finished, exit_code, .. } = state else {
            panic!("{name} is {state:?}")
        };
        assert_eq!(exit_code, 0, "{name}");
        finished.0
    };
    let (app, log, proxy) = (ended("app"), ended("log"), ended("proxy"));
    assert!((7..=9).contains(&(log - app)), "{app} {log} {proxy}");
    assert_eq!(proxy - log, 4, "{app} {log} {proxy}");
    // The phase is told when nothing runs any more.
    let told = seen.pod("one").into_iter().find(|(_, p)| p.terminal()).unwrap();
    let stamp = told.1.status.init_containers[1].state;
    assert!(matches!(stamp, ContainerState::Terminated { .. }));
}

#[test]
fn a_deleted_pod_stops_its_sidecars_in_turn_within_one_grace() {
    let delete = "workload: [{at: 60s, delete: pod/one}]\n";
    let spec = CHAIN.replace("{restartPolicy: Never,", "{terminationGracePeriodSeconds: 10,");
    let marks = |said: &str| {
        let seen = pod("5m", said, &spec, delete);
        let killing: Vec<f64> = seen.events("Killing").iter().map(|e| e.0).collect();
        // All are told at once, in order of the spec.
        assert_eq!(killing.len(), 3, "{killing:?}");
        assert!(killing[2] - killing[0] < 0.5);
        seen.gone[0].0 - killing[0]
    };
    // 2 s, then 3 s, then 1 s; the lists and the last patches come on top.
    let apart = "{wavetank.dev/stop-after.app: 2s, wavetank.dev/stop-after.log: 3s, wavetank.dev/stop-after.proxy: 1s}";
    let span = marks(apart);
    assert!((6.0..7.5).contains(&span), "{span}");
    // The app takes the whole grace: each sidecar has two seconds, then it is killed.
    let stuck = "{wavetank.dev/stop-after: 10m}";
    let span = marks(stuck);
    assert!((12.0..15.5).contains(&span), "{span}");
}

#[test]
fn a_failed_init_container_keeps_the_app_from_starting() {
    let fails = "{wavetank.dev/exit-after.first: 1s, wavetank.dev/exit-code.first: '3'}";
    let seen = pod("5m", fails, CHAIN, "");
    let last = seen.last("one");
    assert_eq!(last.status.phase, Phase::Failed);
    assert!(seen.at("Started", "container app").is_empty());
    assert!(seen.at("Started", "container proxy").is_empty());
    // With another policy it is tried again, and the pod is pending.
    let seen = pod("5m", fails, &CHAIN.replace("Never", "OnFailure"), "");
    assert_eq!(seen.last("one").status.phase, Phase::Pending);
    assert!(seen.at("Started", "container first").len() >= 4);
    assert!(seen.at("Started", "container proxy").is_empty());
}

#[test]
fn a_post_start_hook_holds_up_the_next_container_and_the_status() {
    let spec = "{containers: [\
        {name: one, image: a, imagePullPolicy: IfNotPresent, lifecycle: {postStart: {sleep: {seconds: 8}}}}, \
        {name: two, image: a, imagePullPolicy: IfNotPresent}]}";
    let seen = pod("2m", "{}", spec, "");
    let (one, two) =
        (seen.at("Started", "container one")[0], seen.at("Started", "container two")[0]);
    assert!((8.0..8.5).contains(&(two - one)), "{one} {two}");
    let ran = |(_, p): &(f64, std::sync::Arc<wavetank::api::Pod>)| {
        p.status.containers.iter().any(|c| matches!(c.state, ContainerState::Running { .. }))
    };
    let shown = seen.pod("one").into_iter().find(ran).unwrap().0;
    assert!(shown >= one + 8.0, "{shown}");
}

#[test]
fn a_post_start_hook_that_fails_has_the_container_killed_and_started_again() {
    let spec = "{containers: [{name: c, image: a, imagePullPolicy: IfNotPresent, lifecycle: {postStart: {exec: {command: [x]}}}}]}";
    let seen = pod("3m", "{wavetank.dev/post-start: 2s fails}", spec, "");
    let failed = seen.at("FailedPostStartHook", "PostStartHook failed");
    assert!(failed.len() >= 3, "{failed:?}");
    let started = seen.at("Started", "container c");
    assert!((1.95..2.2).contains(&(failed[0] - started[0])), "{started:?} {failed:?}");
    assert!(seen.last("one").status.containers[0].restarts >= 2);
}

#[test]
fn a_pod_past_its_active_deadline_fails() {
    let spec = "{activeDeadlineSeconds: 40, terminationGracePeriodSeconds: 5, containers: [{name: c, image: a, imagePullPolicy: IfNotPresent}]}";
    let seen = pod("3m", "{wavetank.dev/stop-after: 3s}", spec, "");
    let last = seen.last("one");
    assert_eq!(
        (last.status.phase, last.status.reason.as_str()),
        (Phase::Failed, "DeadlineExceeded")
    );
    let told = seen.at("DeadlineExceeded", "longer than the specified deadline")[0];
    assert!((40.0..42.0).contains(&told), "{told}");
    // Nothing is said of the phase while the container runs.
    let first = seen.pod("one").into_iter().find(|(_, p)| p.terminal()).unwrap().0;
    assert!((told + 3.0..told + 5.0).contains(&first), "{told} {first}");
    assert!(matches!(
        last.status.containers[0].state,
        ContainerState::Terminated { exit_code: 0, .. }
    ));
}

#[test]
fn ten_quiet_minutes_end_a_restart_back_off() {
    // Each run lasts eleven minutes: it is started again at once each time.
    let spec = "{containers: [{name: c, image: a, imagePullPolicy: IfNotPresent}]}";
    let seen = pod("1h", "{wavetank.dev/exit-after: 11m}", spec, "");
    let started = seen.at("Started", "container c");
    assert!(started.len() >= 5, "{started:?}");
    for pair in started.windows(2) {
        assert!((660.0..662.0).contains(&(pair[1] - pair[0])), "{started:?}");
    }
    // Runs of nine minutes are quiet for too short a time: back-offs add up.
    let seen = pod("1h", "{wavetank.dev/exit-after: 9m}", spec, "");
    let started = seen.at("Started", "container c");
    let gap = started[3] - started[2];
    assert!(gap > 555.0, "{started:?}");
}
