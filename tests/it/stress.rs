//! Controllers under stress: they converge, lose no update, and each object costs what it costs
//! alone.

use super::support::scratch;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use wavetank::api::workload::Deployment;
use wavetank::api::{Kind, Obj};
use wavetank::cluster::Profile;
use wavetank::engine::num::float_u;
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::Session;

const OLD: &str = "registry.k8s.io/pause:3.9";
const NEW: &str = "registry.k8s.io/pause:3.10";

/// So many Deployments of a namespace.
fn deployments(ns: &str, n: usize, replicas: usize) -> String {
    let mut text = String::new();
    for i in 0..n {
        write!(
            text,
            "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d{i}, namespace: {ns}}}, \
             spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: d{i}}}}}, template: \
             {{metadata: {{labels: {{app: d{i}}}}}, spec: {{containers: [{{name: c, image: '{OLD}', \
             resources: {{requests: {{cpu: 10m, memory: 16Mi}}}}}}]}}}}}}}}\n"
        )
        .unwrap();
    }
    text
}

/// Runs a scenario of these Deployments and the rest of its file to the end.
fn run(name: &str, manifests: &str, rest: &str) -> Session {
    let folder = scratch(name);
    fs::write(folder.join("all.yaml"), manifests).unwrap();
    let text = format!(
        "apiVersion: wavetank.dev/v1\nkind: Scenario\nmetadata: {{name: stress}}\nseed: 1\n\
         manifests: [all.yaml]\n{rest}"
    );
    let file = folder.join("scenario.yaml");
    fs::write(&file, text).unwrap();
    let loaded = load_with(&file, &LoadOptions::default()).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    let mut session = Session::new(Arc::new(loaded.plan));
    session.run(&mut [], |_| {});
    session
}

const CLUSTER: &str =
    "until: 2h\ncluster:\n  nodes: [{name: node, count: 50, cpu: 64, memory: 256Gi}]\n";

fn all(session: &Session) -> Vec<Arc<Deployment>> {
    let found = session.cluster().shared().versions.iter(Kind::Deployment);
    found
        .filter_map(|(_, o)| if let Obj::Deployment(d) = o { Some(Arc::clone(d)) } else { None })
        .collect()
}

/// Every Deployment has what it asks for and says so.
fn whole(session: &Session, n: usize) {
    let all = all(session);
    assert_eq!(all.len(), n);
    for d in all {
        let s = &d.status;
        let counts = [s.replicas, s.updated, s.ready, s.available];
        assert_eq!(counts, [d.replicas; 4], "{}", d.meta.full_name());
        assert_eq!(s.observed_generation, d.meta.generation, "{}", d.meta.full_name());
    }
}

/// What a Deployment costs when there are so many more of them, over what it cost.
fn dearer(few: (&Profile, usize), many: (&Profile, usize), of: impl Fn(&Profile) -> u64) -> f64 {
    let each = |(profile, n): (&Profile, usize)| float_u(of(profile)) / float_u(n as u64);
    each(many) / each(few)
}

#[test]
fn many_deployments_at_once_cost_no_more_each() {
    let sized = |n: usize| {
        let session = run(&format!("stress-create-{n}"), &deployments("default", n, 2), CLUSTER);
        whole(&session, n);
        session.cluster().profile()
    };
    let (few, many) = ((&sized(250), 250), (&sized(2000), 2000));
    let [requests, events] = [dearer(few, many, |p| p.requests), dearer(few, many, |p| p.events)];
    assert!(requests < 1.02 && events < 1.10, "requests x{requests:.3}, events x{events:.3}");
}

#[test]
fn many_rollouts_at_once_end() {
    let rolled = |n: usize| {
        let mut rest = format!("{CLUSTER}workload:\n");
        for i in 0..n {
            let target = format!("target: deployment/d{i}, container: c, image: '{NEW}'");
            writeln!(rest, "  - {{at: 10m, setImage: {{{target}}}}}").unwrap();
        }
        let session = run(&format!("stress-roll-{n}"), &deployments("default", n, 5), &rest);
        whole(&session, n);
        for d in all(&session) {
            assert_eq!(d.template.spec.containers[0].image.as_str(), NEW);
        }
        let versions = &session.cluster().shared().versions;
        assert_eq!(versions.count(Kind::ReplicaSet), 2 * n);
        assert_eq!(versions.count(Kind::Pod), 5 * n);
        session.cluster().profile()
    };
    let (few, many) = ((&rolled(100), 100), (&rolled(1000), 1000));
    let requests = dearer(few, many, |p| p.requests);
    assert!(requests < 1.25, "a rollout among many takes {requests:.3} times the requests");
}

#[test]
fn a_namespace_of_many_objects_is_emptied() {
    // Of 40 objects 30 are ConfigMaps, one is a Deployment, one its ReplicaSet, eight its pods.
    let emptied = |objects: usize| {
        let mut manifests = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: load}}}}\n{}",
            deployments("load", objects / 40, 8)
        );
        for i in 0..objects / 40 * 30 {
            let meta = format!("{{name: c{i}, namespace: load}}");
            let map = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {meta}}}");
            writeln!(manifests, "---\n{map}").unwrap();
        }
        let rest = format!("{CLUSTER}workload:\n  - {{at: 30m, delete: namespace/load}}\n");
        let session = run(&format!("stress-namespace-{objects}"), &manifests, &rest);
        let versions = &session.cluster().shared().versions;
        for kind in
            [Kind::Deployment, Kind::ReplicaSet, Kind::Pod, Kind::ConfigMap, Kind::ServiceAccount]
        {
            let left = versions.iter(kind).filter(|(_, o)| o.key().0.as_str() == "load").count();
            assert_eq!(left, 0, "{kind:?}");
        }
        let left = versions.iter(Kind::Namespace).any(|(_, o)| o.key().1.to_string() == "load");
        assert!(!left, "the namespace is gone");
        session.cluster().profile()
    };
    let (few, many) = ((&emptied(2000), 2000), (&emptied(20_000), 20_000));
    for (what, times) in [
        ("requests", dearer(few, many, |p| p.requests)),
        ("events", dearer(few, many, |p| p.events)),
    ] {
        assert!(times < 1.25, "an object among many takes {times:.3} times the {what}");
    }
}

#[test]
fn slow_informers_and_broken_watches_converge() {
    let mut rest =
        "until: 3h\ncluster:\n  nodes: [{name: node, count: 40, cpu: 64, memory: 256Gi}]\n  \
                    latencies: {watch: 30s}\nfaults:\n"
            .to_owned();
    // One watch in twenty is cut at any time: each component for three of sixty minutes, and two
    // kubelets of forty all the time.
    for round in 0..8 {
        let at = 1 + 10 * round;
        for whom in ["kube-controller-manager", "kube-scheduler"] {
            writeln!(rest, "  - {{watchLoss: {whom}, at: {at}m, for: 30s}}").unwrap();
        }
        let nodes = format!("[node-{}, node-{}]", 2 * round, 2 * round + 1);
        writeln!(rest, "  - {{kubeletWatchLoss: {{nodes: {nodes}}}, at: {at}m, for: 10m}}")
            .unwrap();
    }
    rest.push_str("workload:\n");
    for i in 0..40 {
        writeln!(rest, "  - {{at: 20m, scale: {{target: deployment/d{i}, replicas: 6}}}}").unwrap();
        writeln!(rest, "  - {{at: 22m, scale: {{target: deployment/d{i}, replicas: 3}}}}").unwrap();
        let target = format!("target: deployment/d{i}, container: c, image: '{NEW}'");
        writeln!(rest, "  - {{at: 45m, setImage: {{{target}}}}}").unwrap();
    }
    let session = run("stress-lag", &deployments("default", 40, 4), &rest);
    whole(&session, 40);
    assert_eq!(session.cluster().shared().versions.count(Kind::Pod), 120, "none too many");
}
