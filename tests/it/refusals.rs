//! What the API server refuses, end to end: a user without rights, a quota exceeded, an admission
//! denial, a conflict. Each is visible in the report, in Kubernetes Events where a controller was
//! refused, and to `expect:`.

use super::support::{root, scratch};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use wavetank::api::versions::Versions;
use wavetank::api::{Kind, Obj};
use wavetank::event::{Record, What};
use wavetank::report::metrics::Metrics;
use wavetank::report::summary::Summary;
use wavetank::report::text;
use wavetank::scenario::{LoadOptions, load_with};
use wavetank::session::{Observer, Session};

const HEAD: &str = "
apiVersion: wavetank.dev/v1
kind: Scenario
cluster: {nodes: [{name: node, count: 2, cpu: 4, memory: 16Gi}]}
";

/// Runs a scenario; what it expects must hold. Gives the summary, the page and all Events' texts.
fn run(name: &str, body: &str) -> (Summary, String, Vec<String>) {
    let path = scratch(name).join("scenario.yaml");
    fs::write(&path, format!("{HEAD}{body}")).unwrap();
    let (summary, page, events, _) = run_file(&path);
    (summary, page, events)
}

/// Refusals as the trace tells them: who, verb, kind, code; and the seconds of every refused
/// creation of a pod.
#[derive(Default)]
struct Told(BTreeSet<(String, String, Kind, u16)>, Vec<f64>);

impl Observer for Told {
    fn on(&mut self, record: &Record, _versions: &Versions) {
        if let What::Refused { user, verb, kind, error, .. } = record.what {
            if kind == Kind::Pod && verb.0 == "create" {
                self.1.push(record.time.secs_f64());
            }
            let verb = format!("{}{}", verb.0, verb.1);
            self.0.insert((user.to_string(), verb, kind, error.code()));
        }
    }
}

fn run_file(path: &Path) -> (Summary, String, Vec<String>, Told) {
    let loaded = load_with(path, &LoadOptions::default()).unwrap_or_else(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"));
    });
    let plan = Arc::new(loaded.plan);
    let mut metrics = Metrics::new(&plan, None);
    let mut session = Session::new(plan);
    let mut told = Told::default();
    session.run(&mut [&mut metrics, &mut told], |_| {});
    let summary = Summary::new(&metrics, &session.digest());
    let page = text::render(&summary, 400);
    assert!(summary.passed(), "{page}");
    let versions = &session.cluster().shared().versions;
    let events = versions.iter(Kind::Event).filter_map(|(_, o)| {
        let Obj::Event(event) = o else { return None };
        Some(format!("{} {}", event.reason, event.message()))
    });
    (summary, page, events.collect(), told)
}

/// A deployment of three replicas with some lines in its pod spec and container.
fn deployment(name: &str, ns: &str, replicas: u32, container: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: {ns}}}, \
         spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: {name}}}}}, template: \
         {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: \
         [{{name: c, image: 'c:1'{container}}}]}}}}}}}}"
    )
}

#[test]
fn a_user_without_rights_is_refused_until_bound() {
    let web = deployment("web", "shop", 1, "");
    let body = format!(
        "until: 10m
namespaces: [shop]
workload:
  - {{at: 1m, as: alice, apply: {web}}}
  - {{at: 2m, apply: {{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: a, namespace: shop}},
      roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}}, subjects: [{{kind: Group, name: dev}}]}}}}
  - {{at: 3m, as: alice, apply: {web}}}
  - {{at: 4m, as: alice, groups: [dev], apply: {web}}}
  - {{at: 5m, as: alice, groups: [dev], cordon: node-0}}
  - {{at: 6m, as: 'system:serviceaccount:shop:ci', delete: deployment/shop/web}}
expect:
  - refused: {{user: alice, verb: get, kind: deployment, code: 403, reason: Forbidden, atLeast: 2, atMost: 2}}
  - refused: {{user: alice, verb: patch, kind: node, message: at the cluster scope, atMost: 1}}
  - refused: {{user: 'system:serviceaccount:shop:ci', code: 401}}
  - refused: {{user: user, atMost: 0}}
  - converged: true
"
    );
    let (summary, page, _) = run("rights", &body);
    assert_eq!(summary.pods.bound, 1);
    let line = "2 x alice get Deployment: 403 deployments.apps \"web\" is forbidden: User \"alice\" cannot get resource \"deployments\" in API group \"apps\" in the namespace \"shop\"";
    assert!(page.contains(line), "{page}");
}

#[test]
fn a_quota_holds_pods_back_and_says_so() {
    let web = deployment("web", "shop", 5, ", resources: {requests: {cpu: 500m}}");
    let body = format!(
        "until: 5m
namespaces: [shop]
objects:
  - {{apiVersion: v1, kind: ResourceQuota, metadata: {{name: q, namespace: shop}}, spec: {{hard: {{pods: 4, requests.cpu: 1500m}}}}}}
  - {web}
expect:
  - refused: {{user: 'kcm:replicaset-controller', kind: pod, code: 403, message: 'exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=1500m, limited: requests.cpu=1500m'}}
  - bound: 3
"
    );
    let (summary, page, events) = run("quota", &body);
    assert_eq!(summary.pods.created, 3);
    assert!(page.contains("exceeded quota: q"), "{page}");
    let said = events.iter().any(|e| e.starts_with("FailedCreate") && e.contains("exceeded quota"));
    assert!(said, "{events:?}");
}

#[test]
fn admission_denies_and_warns() {
    let open = deployment("open", "hard", 1, ", securityContext: {privileged: true}");
    let big = deployment("big", "small", 1, ", resources: {limits: {cpu: 2}}");
    let body = format!(
        "until: 5m
objects:
  - {{apiVersion: v1, kind: Namespace, metadata: {{name: hard, labels: {{pod-security.kubernetes.io/enforce: baseline, pod-security.kubernetes.io/warn: restricted}}}}}}
  - {{apiVersion: v1, kind: Namespace, metadata: {{name: small}}}}
  - {{apiVersion: v1, kind: LimitRange, metadata: {{name: l, namespace: small}}, spec: {{limits: [{{type: Container, max: {{cpu: 500m}}}}]}}}}
  - {open}
  - {big}
  - {{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: small}}, spec: {{containers: [{{name: c, image: 'c:1'}}], serviceAccountName: ghost}}}}
expect:
  - refused: {{kind: pod, message: 'violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)'}}
  - warned: {{message: 'would violate PodSecurity \"restricted:latest\": privileged'}}
  - refused: {{kind: pod, message: 'maximum cpu usage per Container is 500m, but limit is 2'}}
  - refused: {{user: user, kind: pod, code: 403, message: 'error looking up service account small/ghost'}}
  - bound: 0
"
    );
    let (summary, page, events) = run("admission", &body);
    assert_eq!(summary.pods.created, 0);
    assert!(page.contains("Warning to user x 1: would violate PodSecurity"), "{page}");
    let reason = events.iter().filter(|e| e.starts_with("FailedCreate")).count();
    assert!(reason >= 2, "{events:?}");
}

#[test]
fn conflicts_and_immutable_fields_are_answered() {
    let map = |extra: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: m{extra}}}, data: {{a: b}}}}")
    };
    let other = deployment("web", "default", 1, "").replace("{app: web}", "{app: other}");
    let body = format!(
        "until: 5m
objects:
  - {}
  - {}
workload:
  - {{at: 1m, create: {}}}
  - {{at: 2m, replace: {}}}
  - {{at: 3m, apply: {other}}}
expect:
  - refused: {{user: user, verb: create, kind: configmap, code: 409, reason: AlreadyExists}}
  - refused: {{user: user, verb: update, kind: configmap, code: 409, reason: Conflict}}
  - refused: {{verb: patch, kind: deployment, code: 422, message: 'spec.selector: Invalid value: {{\"matchLabels\":{{\"app\":\"other\"}}}}: field is immutable'}}
  - bound: 1
",
        map(""),
        deployment("web", "default", 1, ""),
        map(""),
        map(", resourceVersion: '1'"),
    );
    let (_, page, _) = run("conflicts", &body);
    assert!(page.contains("Operation cannot be fulfilled on configmaps \"m\""), "{page}");
}

#[test]
fn a_drain_asks_the_budget_again_every_five_seconds() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: NAME, labels: {app: db}}, spec: {nodeName: node-0, containers: [{name: c, image: 'c:1'}]}}";
    let body = format!(
        "until: 5m
objects:
  - {}
  - {}
  - apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {{name: db, namespace: default, generation: 1, creationTimestamp: '2025-12-01T00:00:00Z'}}
    spec: {{minAvailable: 1, selector: {{matchLabels: {{app: db}}}}}}
    status: {{observedGeneration: 1, disruptionsAllowed: 1, currentHealthy: 2, desiredHealthy: 1, expectedPods: 2}}
workload:
  - {{at: 1m, drain: node-0}}
  - {{at: 80s, delete: pdb/db}}
expect:
  - refused: {{verb: create/eviction, code: 429, message: 'needs 1 healthy pods', atLeast: 4, atMost: 4}}
  - evicted: {{atLeast: 2, atMost: 2}}
",
        pod.replace("NAME", "db-a"),
        pod.replace("NAME", "db-b")
    );
    let (summary, page, _) = run("drain", &body);
    assert!(page.contains("Cannot evict pod as it would violate the pod's disruption budget."));
    assert_eq!(summary.pods.deleted, 2);
}

/// The example: a user without rights, a quota exceeded, an admission denial and a conflict, each
/// in the trace, on the page, to `expect:`, and in Kubernetes Events where upstream writes one.
#[test]
fn the_guard_rails_show_every_refusal_everywhere() {
    let path = root().join("scenarios/guard-rails/scenario.yaml");
    let (summary, page, events, told) = run_file(&path);
    let rows = [
        ("mallory", "patch/scale", Kind::Deployment, 403, "User \"mallory\" cannot patch resource"),
        ("kcm:replicaset-controller", "create", Kind::Pod, 403, "exceeded quota: compute"),
        ("alice", "create", Kind::Pod, 403, "violates PodSecurity \"baseline:latest\""),
        ("user", "create", Kind::ConfigMap, 409, "configmaps \"settings\" already exists"),
        ("user", "update", Kind::ConfigMap, 409, "Operation cannot be fulfilled on configmaps"),
    ];
    for (user, verb, kind, code, text) in rows {
        let seen = told.0.iter().any(|(by, v, k, c)| {
            by.trim_end_matches(':') == user && v == verb && *k == kind && *c == code
        });
        assert!(seen, "{user} {verb} {kind} {code}: {:?}", told.0);
        let begin = format!(" x {user} {verb} {}: {code} ", kind.name());
        let line = page.lines().find(|l| l.contains(&begin) && l.contains(text));
        assert!(line.is_some(), "{begin}{text}\n{page}");
        let row = summary.refusals.iter().find(|r| r.user == user && r.message.contains(text));
        assert!(row.is_some_and(|r| r.code == code && r.notable), "{user} {text}");
    }
    for text in ["exceeded quota: compute", "violates PodSecurity"] {
        let said = |e: &&String| e.starts_with("FailedCreate ") && e.contains(text);
        assert!(events.iter().any(|e| said(&e)), "{text}: {events:?}");
    }
}

/// Quota, replica set and their retries: what is deleted is given back by the controller, and the
/// replica set's next try after its back-off gets it.
#[test]
fn what_a_deleted_pod_used_goes_to_whoever_tries_next() {
    let web = deployment("web", "shop", 3, ", resources: {requests: {cpu: 500m}}");
    let old = deployment("old", "shop", 2, ", resources: {requests: {cpu: 500m}}");
    let body = format!(
        "until: 30m
namespaces: [shop]
objects:
  - {{apiVersion: v1, kind: ResourceQuota, metadata: {{name: q, namespace: shop}}, spec: {{hard: {{requests.cpu: 2}}}}}}
workload:
  - {{at: 1m, apply: {old}}}
  - {{at: 2m, apply: {web}}}
  - {{at: 5m, delete: deployment/shop/old}}
expect:
  - event: {{reason: FailedCreate, kind: replicaset, message: 'used: requests.cpu=2, limited: requests.cpu=2'}}
  - event: {{reason: FailedCreate, kind: pod, atMost: 0}}
  - converged: true
  - bound: 5
"
    );
    let (summary, _, _) = run("given-back", &body);
    assert_eq!(summary.pods.created, 5);
}

/// A pod may follow its namespace at once: admission waits for the account `default`, for a while.
#[test]
fn admission_waits_for_the_account_of_a_new_namespace() {
    for (watch, expect) in [
        ("500ms", "[{refused: {kind: pod, atMost: 0}}, {bound: 1}]"),
        (
            "5s",
            "[{refused: {user: user, kind: pod, code: 403, message: 'error looking up service account new/default'}}]",
        ),
    ] {
        let path = scratch("account").join("scenario.yaml");
        let text = format!(
            "{}
until: 1m
objects:
  - {{apiVersion: v1, kind: Namespace, metadata: {{name: new}}}}
  - {{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: new}}, spec: {{containers: [{{name: c, image: 'c:1'}}]}}}}
expect: {expect}
",
            HEAD.replace("cluster: {", &format!("cluster: {{latencies: {{watch: {watch}}}, "))
        );
        fs::write(&path, text).unwrap();
        run_file(&path);
    }
}

/// The recorded experiment `06b_quota_retry`: five replicas against a quota of three, which is
/// raised after 25 s. Failures in a row double from 5 ms, one try waits at a time, and a raised
/// quota wakes nobody.
#[test]
fn retries_against_a_quota_double_as_recorded() {
    let path = scratch("retries").join("scenario.yaml");
    let quota = |pods: u32| {
        format!(
            "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: q}}, spec: {{hard: {{pods: {pods}}}}}}}"
        )
    };
    let text = format!(
        "{}
until: 60s
workload:
  - {{at: 2s, apply: {}}}
  - {{at: 4s, apply: {}}}
  - {{at: 29s, apply: {}}}
expect: [{{bound: 5}}]
",
        HEAD.replace("{name: node,", "{name: node, agent: fakelet,"),
        quota(3),
        deployment("qapp", "default", 5, ""),
        quota(5),
    );
    fs::write(&path, text).unwrap();
    let (_, _, _, told) = run_file(&path);
    let gaps: Vec<f64> = told.1.windows(2).map(|w| w[1] - w[0]).collect();
    // Seconds between the last refusals of the recording.
    let recorded = [0.324, 0.644, 1.284, 2.564, 5.125, 10.246];
    let last = &gaps[gaps.len() - recorded.len()..];
    for (ours, theirs) in last.iter().zip(recorded) {
        assert!((ours - theirs).abs() < 0.05, "{last:?}, recorded {recorded:?}");
    }
    let ended = told.1.last().copied().unwrap();
    assert!((24.0..26.0).contains(&ended), "{ended}: recorded 24.857, then 45.341");
    assert!(told.1.len().abs_diff(14) <= 3, "{} refusals, recorded 14", told.1.len());
}
