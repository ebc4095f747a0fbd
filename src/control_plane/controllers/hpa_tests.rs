//! How many replicas the metrics of an autoscaler ask for (behaviour reference §3.8).

use super::hpareplicas::{Question, Tolerance};
use super::testkit::{EPOCH, Kit, meta};
use crate::api::autoscaling::PodMetric;
use crate::api::pod::{Condition, ConditionType, Container, Phase, Truth};
use crate::api::version::KubeVersion;
use crate::api::{Pod, PodSpec, Stamp};
use crate::engine::{SimTime, Sym};
use std::sync::Arc;

fn scaled_pod(name: &str, ready: bool) -> Arc<Pod> {
    let mut container = Container { name: "c".into(), ..Container::default() };
    container.requests.cpu_milli = 100;
    container.requests_named.cpu = true;
    let spec = PodSpec { containers: vec![container], ..PodSpec::default() };
    let mut pod = Pod { meta: meta(name), spec: Arc::new(spec), ..Pod::default() };
    pod.meta.uid = crate::api::Uid(crate::engine::digest::hash_bytes(name.as_bytes()));
    pod.status.phase = Phase::Running;
    pod.status.start = Stamp(EPOCH);
    pod.status.conditions.set(Condition {
        kind: ConditionType::Ready,
        status: if ready { Truth::True } else { Truth::False },
        reason: Sym::EMPTY,
        message: Sym::EMPTY,
        transition: Stamp(EPOCH),
    });
    Arc::new(pod)
}

/// §3.8: memory is a resource like cpu, but nobody waits for it to settle; a metric of one
/// container looks at that container's usage and requests alone.
#[test]
fn hpa_reads_memory_and_single_containers() {
    const MIB: i64 = 1 << 20;
    let mut kit = Kit::new(KubeVersion::V1_35);
    kit.run(11.0);
    let pods: Vec<Arc<Pod>> = ["a", "b"]
        .map(|name| {
            let mut pod = Pod::clone(&scaled_pod(name, true));
            let mut spec = PodSpec::clone(&pod.spec);
            let app = &mut spec.containers[0];
            (app.requests.memory, app.requests_named.memory) = (100 * MIB, true);
            let side = Container { name: "side".into(), ..app.clone() };
            spec.containers.push(side);
            pod.spec = Arc::new(spec);
            Arc::new(pod)
        })
        .into();
    let sample = |pod: &Arc<Pod>, container: &str, mib: i64| PodMetric {
        uid: pod.meta.uid,
        container: container.into(),
        milli: mib * MIB * 1000,
        at: SimTime::from_secs(10),
        window_s: 15,
    };
    let metrics: Vec<PodMetric> =
        pods.iter().flat_map(|p| [sample(p, "c", 90), sample(p, "side", 10)]).collect();
    let tolerance = Tolerance { down: 0.1, up: 0.1 };
    let ask = |name: &str, container: Option<&str>| Question {
        pods: &pods,
        metrics: &metrics,
        name: name.into(),
        container: container.map(Sym::new),
        current: 2,
        tolerance,
    };
    let all = ask("memory", None).utilization(25, &kit.cx()).unwrap();
    assert_eq!((all.replicas, all.utilization), (4, Some(50)), "100 of 200 MiB each");
    let one = ask("memory", Some("c")).utilization(30, &kit.cx()).unwrap();
    assert_eq!((one.replicas, one.utilization), (6, Some(90)), "90 of 100 MiB each");
    let side = ask("memory", Some("side")).average(5 * MIB * 1000, &kit.cx()).unwrap();
    assert_eq!((side.replicas, side.average), (4, 10 * MIB * 1000));
    // Samples of cpu are not taken seriously before they span time in which the pod was ready.
    assert!(ask("cpu", None).utilization(25, &kit.cx()).is_err());
    assert!(ask("memory", Some("none")).utilization(25, &kit.cx()).is_err());
}

/// Replicas that utilisation asks for, given the usage of each pod (none: no sample).
fn asked(usage: &[Option<i64>], target: i32) -> i32 {
    let mut kit = Kit::new(KubeVersion::V1_35);
    kit.run(1000.0);
    let pods: Vec<Arc<Pod>> =
        (0..usage.len()).map(|i| scaled_pod(&format!("p{i}"), true)).collect();
    let metrics: Vec<PodMetric> = pods
        .iter()
        .zip(usage)
        .filter_map(|(pod, milli)| {
            let at = SimTime::from_secs(990);
            let container = Sym::new("c");
            Some(PodMetric { uid: pod.meta.uid, container, milli: (*milli)?, at, window_s: 15 })
        })
        .collect();
    let current = i32::try_from(usage.len()).unwrap();
    let question = Question {
        pods: &pods,
        metrics: &metrics,
        name: "cpu".into(),
        container: None,
        current,
        tolerance: Tolerance { down: 0.1, up: 0.1 },
    };
    question.utilization(target, &kit.cx()).unwrap().replicas
}

#[test]
fn hpa_utilisation_is_a_whole_percentage_and_missing_pods_speak_against_a_change() {
    assert_eq!(asked(&[Some(100), Some(100)], 50), 4);
    assert_eq!(asked(&[Some(55), Some(54)], 50), 2, "54.5 % counts as 54 %, within the tolerance");
    assert_eq!(
        asked(&[Some(10), Some(10), None], 50),
        3,
        "missing: 100 % of the request on the way down"
    );
    assert_eq!(asked(&[Some(200), None], 50), 4, "missing: nothing on the way up");
    assert_eq!(asked(&[Some(80), None], 50), 2, "a change that would turn round is left");
}
