//! What a person gets to read, and what an accepted manifest becomes.

use super::*;
use crate::api::pod::{Protocol, PullPolicy, Qos, RestartPolicy};
use crate::api::workload::{IntOrPercent, Strategy};
use crate::engine::Sym;
use proptest::prelude::*;

fn strict(text: &str) -> Manifests {
    parse_manifests("m.yaml", text, Mode::Strict).unwrap_or_else(|e| panic!("{e:#?}"))
}

fn errors(text: &str) -> String {
    let all = parse_manifests("m.yaml", text, Mode::Strict).expect_err(text);
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const DEPLOYMENT: &str = "\
# a comment
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
      annotations:
        wavetank.dev/exit-after: 90s
        sim/ready-after: \"2\"
    spec:
      hostNetwork: true
      containers:
      - name: web
        image: nginx:1.25
        ports:
        - containerPort: 80
        resources:
          limits: {cpu: 500m, memory: 1Gi, nvidia.com/gpu: 1}
        readinessProbe:
          httpGet: {port: 80}
          periodSeconds: 0
      - name: side
        image: busybox
";

#[test]
fn defaults_are_the_servers() {
    let read = strict(DEPLOYMENT);
    let [loaded] = read.objects.as_slice() else { panic!("one object") };
    assert_eq!((loaded.line, loaded.generate_name), (2, false));
    let Obj::Deployment(d) = &loaded.obj else { panic!("a Deployment") };
    assert_eq!((d.meta.ns.as_str(), d.replicas, d.history_limit), ("default", 1, 10));
    let quarter = IntOrPercent::Percent(25);
    assert_eq!(
        d.strategy,
        Strategy::RollingUpdate { max_surge: quarter, max_unavailable: quarter }
    );
    let spec = &d.template.spec;
    assert_eq!((spec.restart, spec.grace_s), (RestartPolicy::Always, 30));
    assert_eq!(spec.scheduler_name.as_str(), "default-scheduler");
    assert_eq!(spec.behaviour.exit_after_ns, Some(90_000_000_000));
    assert_eq!(spec.behaviour.ready_after_ns, 2_000_000_000);
    let [web, side] = spec.containers.as_slice() else { panic!("two containers") };
    assert_eq!((web.requests.cpu_milli, web.requests.memory), (500, 1 << 30));
    assert_eq!(web.requests.scalar(Sym::new("nvidia.com/gpu")), 1);
    assert_eq!((web.ports[0].host_port, web.ports[0].protocol), (80, Protocol::Tcp));
    assert_eq!((web.pull, side.pull), (PullPolicy::IfNotPresent, PullPolicy::Always));
    let probe = web.readiness.expect("a probe");
    assert_eq!((probe.period_s, probe.timeout_s, probe.failure_threshold), (10, 1, 3));
    assert_eq!(spec.qos(), Qos::Burstable);
    let yaml = crate::report::export::to_yaml(&loaded.obj, 0);
    assert!(yaml.contains("terminationMessagePath: /dev/termination-log"), "{yaml}");
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_line() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: Web_1
spec:
  replica: 3
  replicas: -1
  selector:
    matchLabels: {app: web}
  strategy:
    rollingUpdate:
      maxSurge: 0
      maxUnavailable: 0%
  template:
    metadata:
      labels: {app: wab}
    spec:
      restartPolicy: always
      containers:
      - name: a
        image: x
        resources:
          requests: {cpu: 2, memory: 1GiB}
          limits: {cpu: 1}
        ports:
        - containerPort: 70000
      - name: a
---
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: x}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers: []
  nodeSelector: {a: yes}
";
    insta::assert_snapshot!(errors(text), @r#"
m.yaml:4: metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
m.yaml:6: spec.replica: unknown field
  hint: did you mean "replicas"?
m.yaml:7: spec.replicas: Invalid value: -1: must be greater than or equal to 0
m.yaml:13: spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
m.yaml:16: spec.template.metadata.labels: Invalid value: {"app":"wab"}: `selector` does not match template `labels`
  hint: give the template the labels that spec.selector.matchLabels asks for
m.yaml:18: spec.template.spec.restartPolicy: Unsupported value: "always": supported values: "Always", "OnFailure", "Never"
  hint: did you mean "Always"?
m.yaml:23: spec.template.spec.containers[0].resources.requests.cpu: Invalid value: "2": must be less than or equal to cpu limit of 1
m.yaml:23: spec.template.spec.containers[0].resources.requests.memory: "1GiB" is not a quantity: unknown suffix "GiB" (the suffix is "Gi")
m.yaml:26: spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
m.yaml:27: spec.template.spec.containers[1].name: Duplicate value: "a"
m.yaml:27: spec.template.spec.containers[1].image: Required value
m.yaml:30: kind: no matches for kind "Ingress" in version "extensions/v1beta1"
  hint: write apiVersion: networking.k8s.io/v1
m.yaml:38: spec.nodeSelector.a: expected a string, found boolean `true`
  hint: put the value in quotes
"#);
}

#[test]
fn lists_of_all_shapes_are_taken_apart() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
- apiVersion: v1
  kind: PodList
  items:
  - metadata: {name: p}
    spec: {containers: [{name: c, image: i}]}
---
{\"apiVersion\": \"v1\", \"kind\": \"ServiceAccount\", \"metadata\": {\"name\": \"b\"}}
{\"apiVersion\": \"example.com/v1\", \"kind\": \"Thing\", \"metadata\": {\"generateName\": \"t-\"}}
";
    let read = strict(text);
    let seen: Vec<(usize, Kind, String)> =
        read.objects.iter().map(|l| (l.line, l.obj.kind(), l.obj.key().1.to_string())).collect();
    let want = [
        (4, Kind::ConfigMap, "a"),
        (10, Kind::Pod, "p"),
        (13, Kind::ServiceAccount, "b"),
        (14, Kind::Custom, "t"),
    ];
    assert_eq!(seen, want.map(|(l, k, n)| (l, k, n.to_owned())));
    assert!(read.warnings[0].to_string().starts_with("m.yaml:14: kind: Thing is a custom"));
    let custom = Some(("example.com/v1".to_owned(), "Thing".to_owned()));
    assert_eq!((&read.objects[3].custom, read.objects[3].generate_name), (&custom, true));
}

#[test]
fn yaml_1_1_spellings_mean_what_they_mean_to_kubectl() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  hostNetwork: on
  hostPID: \"on\"
  containers:
  - name: c
    image: i
    args:
    - yes
    - 'yes'
  volumes:
  - name: v
    configMap: {name: m}
";
    let told = errors(text);
    assert!(
        told.contains("m.yaml:6: spec.hostPID: expected true or false, found string"),
        "{told}"
    );
    assert!(told.contains("m.yaml:11: spec.containers[0].args[0]: expected a string"), "{told}");
    assert_eq!(told.lines().filter(|l| l.starts_with("m.yaml")).count(), 2, "{told}");
    let octal = strict(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c, image: i}]\n  volumes:\n  - name: v\n    configMap:\n      name: m\n      defaultMode: 0400\n",
    );
    let Obj::Pod(pod) = &octal.objects[0].obj else { panic!("a pod") };
    let mode = pod.spec.doc.as_ref().and_then(|d| d.pointer("/volumes/0/configMap/defaultMode"));
    assert_eq!(mode, Some(&Value::from(0o400)));
}

#[test]
fn a_dump_keeps_its_status_and_names_what_is_unknown() {
    let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "6b1c9d3e-0f5a-4c7b-9d2e-3f4a5b6c7d8e", "creationTimestamp": "2024-01-02T03:04:05Z"},
 "spec": {"nodeName": "n1", "newField": 1, "containers": [{"name": "c", "image": "i"}]},
 "status": {"phase": "Running", "podIP": "10.1.2.3", "nominatedNodeName": "n2", "startTime": "2024-01-02T03:04:06Z",
  "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-02T03:04:07Z"}],
  "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 2, "allocatedResources": {"cpu": "1"},
   "state": {"running": {"startedAt": "2024-01-02T03:04:07Z"}}}]}},
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}, "spec": {"newField": 1, "containers": []}},
{"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {"minAvailable": 1}}
]}"#;
    let read = parse_manifests("d.json", text, Mode::Dump).expect("a good dump");
    let Obj::Pod(pod) = &read.objects[0].obj else { panic!("a pod") };
    assert!(pod.ready() && pod.node.as_str() == "n1");
    assert_eq!(pod.meta.created.to_string(), "2024-01-02T03:04:05Z");
    assert!(pod.meta.uid.to_string().starts_with("6b1c9d3e-0f5a-4c7b-"));
    assert_eq!(pod.status.pod_ip, u32::from(std::net::Ipv4Addr::new(10, 1, 2, 3)));
    assert_eq!(pod.status.containers[0].restarts, 2);
    let resized = pod.status.resized.as_ref().expect("allocated resources");
    assert_eq!(resized.containers[0].1.as_ref().map(|r| r.cpu_milli), Some(1000));
    let warnings: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "d.json:9: items[2].apiVersion: policy/v1beta1 is not served any more: read as policy/v1",
            "d.json:3: items[0].spec.newField: unknown field (and 1 more like it)",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens to a manifest on its way, the reader answers.
    #[test]
    fn damage_never_panics(at in 0_usize..1000, cut in 0_usize..40, put in "[-a:{}\\[\\]\"'|>&*!#%@ \n0-9]{0,12}") {
        let at = at % DEPLOYMENT.len();
        let end = (at + cut).min(DEPLOYMENT.len());
        let text = format!("{}{put}{}", &DEPLOYMENT[..at], &DEPLOYMENT[end..]);
        if let Err(all) = parse_manifests("m.yaml", &text, Mode::Strict) {
            prop_assert!(!all.is_empty());
            let lines = text.lines().count();
            for e in all {
                prop_assert!(e.line <= lines + 1, "{e}");
            }
        }
    }
}
