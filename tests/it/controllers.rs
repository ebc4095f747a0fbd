//! Controllers in a whole cluster: what they write, seen from the store.

use super::support::scratch;
use std::fs;
use std::sync::Arc;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj};
use wavetank::event::{Record, What};
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

/// Writes of some kinds: instant, verb with subresource, kind, and the size of a Deployment.
#[derive(Default)]
struct Writes(Vec<(f64, String, Kind, i32)>);

impl Observer for Writes {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let What::Committed { kind, log, verb, .. } = record.what else { return };
        let change = versions.change(kind, log).unwrap();
        let size = if let Obj::Deployment(d) = &change.value { d.replicas } else { 0 };
        self.0.push((record.time.secs_f64(), format!("{}{}", verb.0, verb.1), kind, size));
    }
}

fn run(name: &str, scenario: &str) -> (Writes, Session) {
    let dir = scratch(name);
    let file = dir.join("scenario.yaml");
    fs::write(&file, scenario).unwrap();
    let loaded = load_with(&file, &LoadOptions::default());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors[0]));
    let mut session = Session::new(Arc::new(loaded.plan));
    let mut writes = Writes::default();
    session.run(&mut [&mut writes], |_| {});
    (writes, session)
}

const HPA: &str = "
apiVersion: wavetank.dev/v1
kind: Scenario
until: 560s
cluster:
  kubernetesVersion: \"1.29\"
  metricsResolution: 1s
  nodes: [{name: node, count: 5, cpu: 4, memory: 16Gi}]
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
            - {name: c, image: web, resources: {requests: {cpu: 100m}}}
  - apiVersion: autoscaling/v2
    kind: HorizontalPodAutoscaler
    metadata: {name: web}
    spec:
      scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
      minReplicas: 1
      maxReplicas: 20
      metrics:
        - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
usage:
  - workload: deployment/web
    cpu:
      total:
        series:
          - {at: 0s, value: 100m}
          - {at: 74s, value: 900m}
          - {at: 194s, value: 60m}
expect:
  - bound: 18
";

/// The load of `timelines/10_hpa_kubelet`: recorded 4, 8, 16 and 18 replicas at steps of 15.02 to
/// 15.05 s, and the way down five minutes after the last higher recommendation.
#[test]
fn an_autoscaler_takes_the_recorded_steps() {
    let (writes, _) = run("hpa", HPA);
    let scaled = writes.0.iter().filter(|w| w.1 == "update/scale" && w.2 == Kind::Deployment);
    let steps: Vec<(f64, i32)> = scaled.map(|w| (w.0, w.3)).collect();
    let sizes: Vec<i32> = steps.iter().map(|s| s.1).collect();
    assert_eq!(sizes[..4], [4, 8, 16, 18], "{steps:?}");
    for pair in steps[..4].windows(2) {
        assert!((14.9..15.2).contains(&(pair[1].0 - pair[0].0)), "{steps:?}");
    }
    // 18 were recommended until the load fell; five minutes later the first pods may go.
    let down = steps[4];
    assert!(down.1 < 18 && (480.0..510.0).contains(&down.0), "{steps:?}");
}

const NAMESPACE: &str = "
apiVersion: wavetank.dev/v1
kind: Scenario
until: 120s
namespaces: [shop]
cluster:
  nodes: [{name: node, count: 3, cpu: 4, memory: 16Gi}]
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: shop}
    spec:
      replicas: 5
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: c, image: web}]}
  - apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: shop}
    spec: {selector: {app: web}, ports: [{port: 80}]}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}
workload:
  - {at: 40s, delete: namespace/shop}
expect:
  - bound: 5
";

#[test]
fn a_deleted_namespace_is_emptied_and_goes() {
    let (writes, session) = run("namespace", NAMESPACE);
    let swept: Vec<(f64, Kind)> = writes
        .0
        .iter()
        .filter(|w| w.1 == "deletecollection" && w.2 != Kind::Event)
        .map(|w| (w.0, w.2))
        .collect();
    assert!((45.0..45.1).contains(&swept[0].0), "5 s of grace: {swept:?}");
    let others = swept.iter().find(|s| s.1 != Kind::Pod).unwrap().0;
    let last = swept.iter().filter(|s| s.1 == Kind::Pod).map(|s| s.0).fold(0.0, f64::max);
    assert!(last < others, "pods go first: {swept:?}");
    let versions = &session.cluster().shared().versions;
    for info in wavetank::api::kind::KINDS.iter().filter(|k| k.namespaced) {
        let left = versions.iter(info.kind).filter(|(_, o)| o.key().0.as_str() == "shop").count();
        assert_eq!(left, 0, "{}", info.name);
    }
    let there = versions.iter(Kind::Namespace).any(|(_, o)| o.key().1.to_string() == "shop");
    assert!(!there, "the namespace itself");
    let slices = writes.0.iter().filter(|w| w.2 == Kind::EndpointSlice).count();
    assert!(slices >= 2, "its Service had endpoints");
}
