//! Rules of the API server, one test each, named after the rule. Requests pass all stages and are
//! carried out at once: queueing and latency have tests of their own.

#![expect(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

use super::*;
use crate::api::Name;
use crate::api::amounts::Amounts;
use crate::api::gpu::Devices;
use crate::api::kind::KINDS;
use crate::api::pod::{Condition, ConditionType, Effect, Phase, Truth};
use crate::api::quantity::Quantity;
use crate::api::quota::ResourceQuota;
use crate::api::request::Propagation;
use crate::api::version::KubeVersion;
use crate::engine::Dist;
use crate::event::Shared;
use crate::scenario::{Mode, obj_from_json};
use serde_json::{Value, json};
use std::sync::Arc;

struct Kit {
    api: ApiServer,
    shared: Shared,
}

impl Kit {
    fn new() -> Self {
        let mut kit = Self::bare();
        kit.make(account("default")).unwrap();
        kit
    }

    /// Nobody has made a service account yet.
    fn bare() -> Self {
        let latency = Dist::Constant(SimDuration::from_millis(2));
        let epoch = 1_767_225_600;
        let shared = Shared::new(1, KubeVersion::V1_35, epoch, SimDuration::ZERO);
        let api = ApiServer::new(
            Config {
                work: SimDuration::from_millis(1),
                event_ttl: SimDuration::from_secs(3_600),
                service_cidr: Cidr::SERVICES,
                commit: CommitLatency::new(latency, SimDuration::ZERO),
                pins: Vec::new(),
                members: None,
            },
            &shared.draws,
        );
        let mut kit = Self { api, shared };
        kit.make(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
            .unwrap();
        kit
    }

    fn ask(&mut self, user: User, about: (Kind, &str), op: Op) -> Result<Obj, String> {
        let (kind, name) = about;
        let ns = if kind.namespaced() { Sym::new("shop") } else { Sym::EMPTY };
        let name = Name::new(name);
        let mut request = Request { user, kind, ns, name, target: None, op };
        let access = Access::of(&request.op);
        let cx = &mut self.shared.context(1);
        self.api
            .stages(&mut request, access, cx)
            .and_then(|_| self.api.execute(request, cx))
            .map(|success| success.value)
            .map_err(|e| format!("{} {}", e.code(), e.message(kind, name)))
    }

    /// `kubectl create`; objects without a namespace go to `shop`.
    fn make(&mut self, doc: Value) -> Result<Obj, String> {
        let object = read(doc);
        let (kind, name) = (object.kind(), object.key().1.to_string());
        self.ask(User::Admin, (kind, &name), Op::Create { object, generate: false })
    }

    fn apply(&mut self, doc: Value) -> Result<Obj, String> {
        let object = read(doc);
        let (kind, name) = (object.kind(), object.key().1.to_string());
        self.ask(User::Admin, (kind, &name), Op::Apply(object))
    }

    /// A quota, counted as its controller would.
    fn limit(&mut self, spec: Value) {
        let Ok(Obj::Generic(kind, object)) = self.make(quota(spec)) else { panic!("no quota") };
        let read = ResourceQuota::of(&object);
        let mut used: Amounts = read.hard.keys().map(|n| (n.clone(), Quantity::ZERO)).collect();
        for kind in KINDS.iter().map(|k| k.kind).filter(|k| read.tracks(*k)) {
            for (_, object) in self.shared.versions.iter(kind) {
                for (name, amount) in read.usage(object) {
                    used.entry(name).and_modify(|sum| *sum = sum.plus(amount));
                }
            }
        }
        let mut new = crate::api::workload::Generic::clone(&object);
        Arc::make_mut(&mut new.doc)["status"] = read.status(&used);
        let who = User::Controller("resourcequota-controller".into());
        let op = Op::UpdateStatus(Obj::Generic(kind, Arc::new(new)));
        self.ask(who, (kind, "q"), op).unwrap();
    }

    /// What stands from the start, status included.
    fn put(&mut self, doc: Value) {
        let mut object = read(doc);
        if let Some(meta) = object.meta_mut() {
            meta.generation = 1;
        }
        let cx = &mut self.shared.context(1);
        self.api.preload(object, cx).unwrap();
    }

    fn get(&self, kind: Kind, name: &str) -> Option<Obj> {
        let ns = if kind.namespaced() { Sym::new("shop") } else { Sym::EMPTY };
        let object = self.shared.versions.find(kind, ns, Name::new(name))?;
        self.shared.versions.current(kind, object).cloned()
    }

    fn doc(&self, kind: Kind, name: &str) -> Value {
        let Some(Obj::Generic(_, generic)) = self.get(kind, name) else { panic!("{name} is gone") };
        Value::clone(&generic.doc)
    }

    /// The pod runs on a node, and is ready or not.
    fn runs(&mut self, name: &str, ready: bool) {
        let bind = Op::Bind { node: "n0".into(), devices: Devices::NONE };
        self.ask(User::Scheduler, (Kind::Pod, name), bind).unwrap();
        let pod = self.get(Kind::Pod, name).unwrap();
        let mut status = pod.as_pod().unwrap().status.clone();
        status.phase = Phase::Running;
        status.conditions.set(Condition {
            kind: ConditionType::Ready,
            status: if ready { Truth::True } else { Truth::False },
            reason: Sym::EMPTY,
            message: Sym::EMPTY,
            transition: crate::api::Stamp::NONE,
        });
        let op = Op::PodStatus(Box::new(status));
        self.ask(User::Kubelet("n0".into()), (Kind::Pod, name), op).unwrap();
    }
}

fn read(mut doc: Value) -> Obj {
    let kind = doc["kind"].as_str().unwrap().to_owned();
    let namespaced = KINDS.iter().any(|k| k.name == kind && k.namespaced);
    if namespaced {
        doc["metadata"]["namespace"] = "shop".into();
    }
    obj_from_json(&doc, Mode::Strict).unwrap()
}

fn account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}

fn kit() -> Kit {
    Kit::new()
}

fn pod(name: &str, container: Value) -> Value {
    let mut own = json!({"name": "c", "image": "c:1"});
    for (key, value) in container.as_object().unwrap() {
        own[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [own]}})
}

fn requests(cpu: &str) -> Value {
    json!({"resources": {"requests": {"cpu": cpu}}})
}

fn limit_range(item: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
        "spec": {"limits": [item]}})
}

fn quota(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": spec})
}

#[test]
fn limit_ranger_fills_in_and_then_judges() {
    let mut kit = kit();
    kit.make(limit_range(
        json!({"type": "Container", "max": {"cpu": "500m"}, "min": {"cpu": "50m"},
        "defaultRequest": {"memory": "64Mi"}}),
    ))
    .unwrap();
    let made = kit.make(pod("a", json!({}))).unwrap();
    let container = &made.as_pod().unwrap().spec.containers[0];
    // The maximum is the default limit, and that the default request.
    assert_eq!((container.limits.cpu_milli, container.requests.cpu_milli), (500, 500));
    assert_eq!(container.requests.memory, 64 << 20);
    assert_eq!(made.as_pod().unwrap().spec.requests.cpu_milli, 500);
    let doc = made.as_pod().unwrap().spec.doc.as_ref().unwrap();
    assert_eq!(doc.pointer("/containers/0/resources/limits/cpu"), Some(&json!("500m")));
    let big = json!({"resources": {"limits": {"cpu": "600m"}}});
    assert_eq!(
        kit.make(pod("b", big)).unwrap_err(),
        "403 pods \"b\" is forbidden: maximum cpu usage per Container is 500m, but limit is 600m"
    );
    assert_eq!(
        kit.make(pod("c", requests("10m"))).unwrap_err(),
        "403 pods \"c\" is forbidden: minimum cpu usage per Container is 50m, but request is 10m"
    );
}

#[test]
fn limit_ranger_bounds_whole_pods_and_ratios() {
    let mut kit = kit();
    kit.make(limit_range(json!({"type": "Pod", "max": {"memory": "1Gi"},
        "maxLimitRequestRatio": {"memory": "2"}})))
        .unwrap();
    assert_eq!(
        kit.make(pod("a", json!({}))).unwrap_err(),
        "403 pods \"a\" is forbidden: [maximum memory usage per Pod is 1Gi.  No limit is specified, \
         memory max limit to request ratio per Pod is 2, but no request is specified or request is 0]"
    );
    let wide =
        json!({"resources": {"requests": {"memory": "100Mi"}, "limits": {"memory": "250Mi"}}});
    assert_eq!(
        kit.make(pod("b", wide)).unwrap_err(),
        "403 pods \"b\" is forbidden: memory max limit to request ratio per Pod is 2, but provided \
         ratio is 2.500000"
    );
}

#[test]
fn a_quota_is_charged_before_the_object_is_written() {
    let mut kit = kit();
    kit.limit(json!({"hard": {"pods": "2", "requests.cpu": "1", "count/configmaps": "1"}}));
    kit.make(pod("a", requests("600m"))).unwrap();
    let used = kit.doc(Kind::ResourceQuota, "q")["status"]["used"].clone();
    assert_eq!(used, json!({"count/configmaps": "0", "pods": "1", "requests.cpu": "600m"}));
    let at = |kit: &Kit, kind, name| kit.get(kind, name).unwrap().meta().unwrap().resource_version;
    assert_eq!(at(&kit, Kind::ResourceQuota, "q") + 1, at(&kit, Kind::Pod, "a"));
    assert_eq!(
        kit.make(pod("b", requests("500m"))).unwrap_err(),
        "403 pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: \
         requests.cpu=600m, limited: requests.cpu=1"
    );
    let map = |name| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    kit.make(map("m")).unwrap();
    assert!(
        kit.make(map("n"))
            .unwrap_err()
            .contains("exceeded quota: q, requested: count/configmaps=1")
    );
}

#[test]
fn a_quota_on_cpu_makes_every_container_name_it() {
    let mut kit = kit();
    kit.limit(json!({"hard": {"requests.cpu": "1", "limits.memory": "1Gi"}}));
    assert_eq!(
        kit.make(pod("a", json!({}))).unwrap_err(),
        "403 pods \"a\" is forbidden: failed quota: q: must specify limits.memory for: c; \
         requests.cpu for: c"
    );
}

#[test]
fn scopes_narrow_a_quota() {
    let mut kit = kit();
    kit.limit(json!({"hard": {"pods": "0"}, "scopes": ["BestEffort"]}));
    assert!(
        kit.make(pod("a", json!({}))).unwrap_err().contains("exceeded quota: q, requested: pods=1")
    );
    assert!(kit.make(pod("b", requests("1m"))).is_ok());
}

#[test]
fn a_quota_without_status_is_unknown_while_its_controller_has_not_been_there() {
    let mut kit = kit();
    kit.make(quota(json!({"hard": {"pods": "5"}}))).unwrap();
    assert_eq!(
        kit.make(pod("a", json!({}))).unwrap_err(),
        "403 pods \"a\" is forbidden: status unknown for quota: q, resources: pods"
    );
    let mut seen = kit.get(Kind::ResourceQuota, "q").unwrap();
    let Obj::Generic(_, generic) = &mut seen else { panic!("typed") };
    Arc::make_mut(&mut Arc::make_mut(generic).doc)["status"] =
        json!({"hard": {"pods": "5"}, "used": {"pods": "4"}});
    let who = User::Controller("resourcequota-controller".into());
    kit.ask(who, (Kind::ResourceQuota, "q"), Op::UpdateStatus(seen)).unwrap();
    assert!(kit.make(pod("a", json!({}))).is_ok());
    assert!(kit.make(pod("b", json!({}))).unwrap_err().contains("used: pods=5, limited: pods=5"));
}

#[test]
fn a_taken_name_is_not_charged() {
    let mut kit = Kit::new();
    kit.limit(json!({"hard": {"pods": "5"}}));
    kit.make(pod("a", json!({}))).unwrap();
    assert_eq!(kit.make(pod("a", json!({}))).unwrap_err(), "409 pods \"a\" already exists");
    assert_eq!(kit.doc(Kind::ResourceQuota, "q")["status"]["used"], json!({"pods": "1"}));
}

#[test]
fn pods_run_as_accounts_that_exist() {
    let mut kit = Kit::bare();
    assert_eq!(
        kit.make(pod("a", json!({}))).unwrap_err(),
        "403 pods \"a\" is forbidden: error looking up service account shop/default: \
         serviceaccount \"default\" not found"
    );
    kit.make(account("default")).unwrap();
    let made = kit.make(pod("a", json!({}))).unwrap();
    assert_eq!(made.as_pod().unwrap().spec.service_account.as_str(), "default");
}

fn labelled(levels: &[(&str, &str)]) -> Kit {
    let mut kit = kit();
    let mut doc = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {}}});
    for (mode, level) in levels {
        doc["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}")] = (*level).into();
    }
    kit.apply(doc).unwrap();
    kit
}

#[test]
fn pod_security_baseline_forbids_what_escalates() {
    let mut kit = labelled(&[("enforce", "baseline")]);
    assert!(kit.make(pod("plain", json!({}))).is_ok());
    let mut bad = pod(
        "bad",
        json!({"securityContext": {"privileged": true,
        "capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}, "ports": [{"containerPort": 80, "hostPort": 80}]}),
    );
    bad["spec"]["hostPID"] = true.into();
    bad["spec"]["volumes"] = json!([{"name": "root", "hostPath": {"path": "/"}}]);
    assert_eq!(
        kit.make(bad).unwrap_err(),
        "403 pods \"bad\" is forbidden: violates PodSecurity \"baseline:latest\": non-default \
         capabilities (container \"c\" must not include \"NET_ADMIN\" in \
         securityContext.capabilities.add), host namespaces (hostPID=true), hostPath volumes \
         (volume \"root\"), hostPort (container \"c\" uses hostPort 80), privileged (container \
         \"c\" must not set securityContext.privileged=true)"
    );
}

#[test]
fn pod_security_restricted_wants_hardening() {
    let mut kit = labelled(&[("enforce", "restricted")]);
    assert_eq!(
        kit.make(pod("plain", json!({}))).unwrap_err(),
        "403 pods \"plain\" is forbidden: violates PodSecurity \"restricted:latest\": \
         allowPrivilegeEscalation != false (container \"c\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \
         \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or \
         container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or \
         container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\")"
    );
    let hard = json!({"securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}});
    assert!(kit.make(pod("hard", hard)).is_ok());
}

#[test]
fn pod_security_warns_about_templates_and_refuses_only_pods() {
    let mut kit =
        labelled(&[("enforce", "restricted"), ("warn", "baseline"), ("audit", "baseline")]);
    kit.shared.records.clear();
    let template = pod("x", json!({"securityContext": {"privileged": true}}))["spec"].clone();
    kit.make(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template":
            {"metadata": {"labels": {"app": "web"}}, "spec": template}}}))
        .unwrap();
    let warned: Vec<String> = kit
        .shared
        .records
        .iter()
        .filter_map(|r| {
            let What::Warned { user, text, .. } = r.what else { return None };
            Some(format!("{user}: {text}"))
        })
        .collect();
    let text = "would violate PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)";
    assert_eq!(warned, [format!("user: {text}"), format!("apiserver: {text}")]);
}

#[test]
fn runtime_class_sets_overhead_and_place() {
    let mut kit = kit();
    kit.make(json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "vm"},
        "handler": "vm", "overhead": {"podFixed": {"cpu": "250m", "memory": "120Mi"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}}))
        .unwrap();
    let mut doc = pod("a", requests("1"));
    doc["spec"]["runtimeClassName"] = "vm".into();
    let made = kit.make(doc).unwrap();
    let spec = &made.as_pod().unwrap().spec;
    assert_eq!((spec.requests.cpu_milli, spec.overhead.memory), (1_250, 120 << 20));
    assert_eq!(spec.node_selector, [("vm".into(), "yes".into())]);
    assert!(spec.tolerations.iter().any(|t| t.key.as_str() == "vm"));
    let mut lost = pod("b", json!({}));
    lost["spec"]["runtimeClassName"] = "gone".into();
    let said = kit.make(lost).unwrap_err();
    assert!(said.ends_with("pod rejected: RuntimeClass \"gone\" not found"), "{said}");
}

#[test]
fn a_kubelet_changes_its_own_node_and_pods_only() {
    let mut kit = kit();
    kit.make(pod("a", json!({}))).unwrap();
    kit.runs("a", true);
    let status = kit.get(Kind::Pod, "a").unwrap().as_pod().unwrap().status.clone();
    let op = Op::PodStatus(Box::new(status));
    assert_eq!(
        kit.ask(User::Kubelet("n1".into()), (Kind::Pod, "a"), op).unwrap_err(),
        "403 pods \"a\" is forbidden: node \"n1\" can only update pod status for pods with \
         spec.nodeName set to itself"
    );
    let op = Op::Delete { grace_s: Some(0), propagation: None, uid: None };
    assert!(kit.ask(User::Kubelet("n1".into()), (Kind::Pod, "a"), op.clone()).is_err());
    assert!(kit.ask(User::Kubelet("n0".into()), (Kind::Pod, "a"), op).is_ok());
    let object = read(pod("b", json!({})));
    let op = Op::Create { object, generate: false };
    let said = kit.ask(User::Kubelet("n0".into()), (Kind::Pod, "b"), op).unwrap_err();
    assert!(said.contains("can only create mirror pods"), "{said}");
}

fn budget(spec: Value, status: Value) -> Value {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"}, "spec": spec, "status": status})
}

fn status(allowed: i32, healthy: i32, desired: i32) -> Value {
    json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": desired, "expectedPods": 3})
}

/// A cluster with a budget and a pod `a`.
fn guarded(spec: Value, status: Value) -> Kit {
    let mut kit = kit();
    kit.put(budget(spec, status));
    kit.make(pod("a", json!({}))).unwrap();
    kit
}

#[test]
fn an_eviction_takes_one_from_the_budget() {
    let mut kit = guarded(json!({"minAvailable": 2}), status(1, 3, 2));
    kit.runs("a", true);
    kit.ask(User::Admin, (Kind::Pod, "a"), Op::Evict).unwrap();
    let after = kit.get(Kind::Pod, "a").unwrap();
    assert!(after.meta().unwrap().deletion.is_some());
    let why = after.as_pod().unwrap().status.condition(ConditionType::DisruptionTarget).unwrap();
    assert_eq!(why.reason.as_str(), "EvictionByEvictionAPI");
    let left = kit.doc(Kind::PodDisruptionBudget, "b")["status"].clone();
    assert_eq!(left["disruptionsAllowed"], 0);
    assert!(left["disruptedPods"]["a"].is_string());
    kit.make(pod("c", json!({}))).unwrap();
    kit.runs("c", true);
    assert_eq!(
        kit.ask(User::Admin, (Kind::Pod, "c"), Op::Evict).unwrap_err(),
        "429 Cannot evict pod as it would violate the pod's disruption budget. (The disruption \
         budget b needs 2 healthy pods and has 3 currently)"
    );
}

#[test]
fn row_24_evictions_of_pending_and_ended_pods_ignore_budgets_and_two_budgets_are_an_error() {
    let mut kit = guarded(json!({"minAvailable": 2}), status(0, 2, 2));
    assert!(kit.ask(User::Admin, (Kind::Pod, "a"), Op::Evict).is_ok(), "pending");
    kit.make(pod("e", json!({}))).unwrap();
    kit.runs("e", true);
    let held = kit.ask(User::Admin, (Kind::Pod, "e"), Op::Evict).unwrap_err();
    assert!(held.starts_with("429"), "running: {held}");
    let mut ended = kit.get(Kind::Pod, "e").unwrap().as_pod().unwrap().status.clone();
    ended.phase = Phase::Succeeded;
    let op = Op::PodStatus(Box::new(ended));
    kit.ask(User::Kubelet("n0".into()), (Kind::Pod, "e"), op).unwrap();
    assert!(kit.ask(User::Admin, (Kind::Pod, "e"), Op::Evict).is_ok(), "at its end");
    let mut second = budget(json!({"maxUnavailable": 1}), status(1, 3, 2));
    second["metadata"]["name"] = "c".into();
    kit.put(second);
    kit.make(pod("d", json!({}))).unwrap();
    kit.runs("d", true);
    let said = kit.ask(User::Admin, (Kind::Pod, "d"), Op::Evict).unwrap_err();
    assert!(said.starts_with("500 This pod has more than one PodDisruptionBudget"), "{said}");
}

#[test]
fn unhealthy_pods_go_if_the_budget_is_healthy_or_always_allows_it() {
    for (policy, healthy, gone) in
        [("IfHealthyBudget", 2, true), ("IfHealthyBudget", 1, false), ("AlwaysAllow", 0, true)]
    {
        let spec = json!({"minAvailable": 2, "unhealthyPodEvictionPolicy": policy});
        let mut kit = guarded(spec, status(0, healthy, 2));
        kit.runs("a", false);
        let outcome = kit.ask(User::Admin, (Kind::Pod, "a"), Op::Evict);
        assert_eq!(outcome.is_ok(), gone, "{policy} {healthy}");
        let doc = kit.doc(Kind::PodDisruptionBudget, "b");
        assert_eq!(doc.pointer("/status/disruptedPods"), None, "not charged");
    }
}

#[test]
fn a_budget_the_controller_has_not_seen_asks_for_patience() {
    let unseen = json!({"observedGeneration": 0, "disruptionsAllowed": 1});
    let mut kit = guarded(json!({"minAvailable": 2}), unseen);
    kit.runs("a", true);
    let said = kit.ask(User::Admin, (Kind::Pod, "a"), Op::Evict).unwrap_err();
    assert!(said.contains("The disruption budget b is still being processed by the server."));
}

fn deployment(labels: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "c:1"}]}}}})
}

#[test]
fn selectors_of_workloads_are_immutable() {
    let mut kit = kit();
    kit.make(deployment(json!({"app": "web"}))).unwrap();
    assert_eq!(
        kit.apply(deployment(json!({"app": "x"}))).unwrap_err(),
        "422 Deployment.apps \"web\" is invalid: spec.selector: Invalid value: \
         {\"matchLabels\":{\"app\":\"x\"}}: field is immutable"
    );
}

#[test]
fn a_pods_spec_takes_new_images_and_nothing_else() {
    let mut kit = kit();
    kit.make(pod("a", json!({}))).unwrap();
    assert!(kit.apply(pod("a", json!({"image": "c:2"}))).is_ok());
    let said = kit.apply(pod("a", json!({"image": "c:2", "ports": [{"containerPort": 80}]})));
    assert!(said.unwrap_err().contains("pod updates may not change fields other than"));
    let mut tolerant = pod("a", json!({"image": "c:2"}));
    tolerant["spec"]["tolerations"] = json!([{"key": "x", "operator": "Exists"}]);
    assert!(kit.apply(tolerant).is_ok(), "tolerations may be added");
    let said = kit.apply(pod("a", json!({"image": "c:2"}))).unwrap_err();
    assert!(said.contains("existing toleration can not be modified"), "{said}");
}

#[test]
fn stateful_sets_classes_and_bindings_keep_what_they_were_made_with() {
    let mut kit = kit();
    let set = |service: &str, replicas: i32| {
        let mut doc = deployment(json!({"app": "db"}));
        doc["kind"] = "StatefulSet".into();
        doc["spec"]["serviceName"] = service.into();
        doc["spec"]["replicas"] = replicas.into();
        doc
    };
    kit.make(set("db", 1)).unwrap();
    assert!(kit.apply(set("db", 3)).is_ok());
    let said = kit.apply(set("other", 3)).unwrap_err();
    assert!(said.contains("updates to statefulset spec for fields other than"), "{said}");
    let class = |provisioner: &str| {
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "fast"}, "provisioner": provisioner})
    };
    kit.make(class("a")).unwrap();
    let said = kit.apply(class("b")).unwrap_err();
    assert!(
        said.ends_with("provisioner: Forbidden: updates to provisioner are forbidden."),
        "{said}"
    );
    let priority = |value: i32| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": "high"}, "value": value})
    };
    kit.make(priority(1)).unwrap();
    let said = kit.apply(priority(2)).unwrap_err();
    assert!(said.ends_with("value: Forbidden: may not be changed in an update."), "{said}");
}

#[test]
fn a_claim_without_a_class_may_be_given_one_once() {
    let mut kit = kit();
    let claim = |class: Option<&str>| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}}})
    };
    kit.make(claim(None)).unwrap();
    kit.apply(claim(Some("standard"))).unwrap();
    let said = kit.apply(claim(Some("fast"))).unwrap_err();
    assert!(said.contains("spec is immutable after creation"), "{said}");
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_has_no_address_of_one() {
    let mut kit = kit();
    let service = |kind: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"type": kind, "selector": {"app": "web"}, "ports": [{"port": 80}]}})
    };
    kit.make(service("LoadBalancer")).unwrap();
    let mut balanced = kit.get(Kind::Service, "web").unwrap();
    let Obj::Generic(_, generic) = &mut balanced else { panic!("not a Service") };
    let doc = Arc::make_mut(&mut Arc::make_mut(generic).doc);
    doc["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}});
    let user = User::Controller("service-controller".into());
    kit.ask(user, (Kind::Service, "web"), Op::UpdateStatus(balanced)).unwrap();
    let address = |kit: &Kit| kit.doc(Kind::Service, "web")["status"]["loadBalancer"].clone();
    kit.apply(service("LoadBalancer")).unwrap();
    assert_eq!(address(&kit)["ingress"][0]["ip"], "203.0.113.1");
    kit.apply(service("ClusterIP")).unwrap();
    assert_eq!(address(&kit), json!({}));
}

#[test]
fn a_claim_grows_only_if_bound_and_its_class_lets_it() {
    let mut kit = kit();
    let claim = |size: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast", "resources": {"requests": {"storage": size}}}})
    };
    kit.make(claim("1Gi")).unwrap();
    let said = kit.apply(claim("2Gi")).unwrap_err();
    assert!(said.contains("Only bound persistent volume claims can be expanded"), "{said}");
    let mut bound = kit.get(Kind::PersistentVolumeClaim, "data").unwrap();
    let Obj::PersistentVolumeClaim(content) = &mut bound else { panic!("not a claim") };
    Arc::make_mut(content).phase = crate::api::storage::ClaimPhase::Bound;
    let binder = User::Controller("persistent-volume-binder".into());
    let op = Op::UpdateStatus(bound);
    kit.ask(binder, (Kind::PersistentVolumeClaim, "data"), op).unwrap();
    let said = kit.apply(claim("2Gi")).unwrap_err();
    assert!(said.contains("only dynamically provisioned pvc can be resized"), "{said}");
    kit.make(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "fast"}, "provisioner": "p", "allowVolumeExpansion": true}))
        .unwrap();
    kit.limit(json!({"hard": {"requests.storage": "2Gi"}}));
    let said = kit.apply(claim("3Gi")).unwrap_err();
    assert!(said.contains("requested: requests.storage=2Gi, used: requests.storage=1Gi"), "{said}");
    assert!(kit.apply(claim("2Gi")).is_ok());
    let used = kit.doc(Kind::ResourceQuota, "q")["status"]["used"].clone();
    assert_eq!(used, json!({"requests.storage": "2Gi"}), "charged for the difference");
    let said = kit.apply(claim("1Gi")).unwrap_err();
    assert!(said.contains("field can not be less than status.capacity"), "{said}");
}

#[test]
fn some_kinds_are_not_replaced_without_a_version() {
    let mut kit = kit();
    let lease = |holder: &str, version: &str| {
        read(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "l", "resourceVersion": version}, "spec": {"holderIdentity": holder}}))
    };
    kit.ask(
        User::Admin,
        (Kind::Lease, "l"),
        Op::Create { object: lease("a", ""), generate: false },
    )
    .unwrap();
    assert_eq!(
        kit.ask(User::Admin, (Kind::Lease, "l"), Op::Update(lease("b", ""))).unwrap_err(),
        "422 Lease.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: \
         must be specified for an update"
    );
    let rev = kit.get(Kind::Lease, "l").unwrap().meta().unwrap().resource_version;
    let said = kit.ask(User::Admin, (Kind::Lease, "l"), Op::Update(lease("b", "1"))).unwrap_err();
    assert!(said.starts_with("409 Operation cannot be fulfilled"), "{said}");
    assert!(
        kit.ask(User::Admin, (Kind::Lease, "l"), Op::Update(lease("b", &rev.to_string()))).is_ok()
    );
}

#[test]
fn row_37_an_update_without_a_change_writes_nothing() {
    let mut kit = kit();
    kit.make(deployment(json!({"app": "web"}))).unwrap();
    let rev = kit.shared.versions.rev();
    kit.apply(deployment(json!({"app": "web"}))).unwrap();
    assert_eq!(kit.shared.versions.rev(), rev);
    let mut annotated = deployment(json!({"app": "web"}));
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    let generation = |o: Obj| o.meta().unwrap().generation;
    assert_eq!(generation(kit.apply(annotated).unwrap()), 2, "annotations raise it");
    let map = |value: &str, label: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "p", "labels": {"l": label}}, "spec": {"podSelector": {"matchLabels": {"a": value}}}})
    };
    assert_eq!(generation(kit.make(map("x", "1")).unwrap()), 1);
    assert_eq!(generation(kit.apply(map("x", "2")).unwrap()), 1, "labels do not");
    assert_eq!(generation(kit.apply(map("y", "2")).unwrap()), 2);
}

fn delete(propagation: Option<Propagation>) -> Op {
    Op::Delete { grace_s: None, propagation, uid: None }
}

#[test]
fn row_25_a_pod_without_a_node_or_with_an_end_has_no_grace() {
    let mut kit = kit();
    kit.make(pod("a", json!({}))).unwrap();
    kit.ask(User::Admin, (Kind::Pod, "a"), delete(None)).unwrap();
    assert!(kit.get(Kind::Pod, "a").is_none(), "without a node");
    kit.make(pod("b", json!({}))).unwrap();
    kit.runs("b", true);
    kit.ask(User::Admin, (Kind::Pod, "b"), delete(None)).unwrap();
    let grace = kit.get(Kind::Pod, "b").unwrap().meta().unwrap().deletion.unwrap().grace_s;
    assert_eq!(grace, 30, "a running pod has its grace");
    kit.make(pod("c", json!({}))).unwrap();
    kit.runs("c", true);
    let mut status = kit.get(Kind::Pod, "c").unwrap().as_pod().unwrap().status.clone();
    status.phase = Phase::Succeeded;
    let op = Op::PodStatus(Box::new(status));
    kit.ask(User::Kubelet("n0".into()), (Kind::Pod, "c"), op).unwrap();
    kit.ask(User::Admin, (Kind::Pod, "c"), delete(None)).unwrap();
    assert!(kit.get(Kind::Pod, "c").is_none(), "at its end");
}

#[test]
fn row_18_a_job_deleted_without_a_word_orphans_its_pods() {
    let mut kit = kit();
    let mut job = deployment(json!({"app": "web"}));
    job["apiVersion"] = "batch/v1".into();
    job["kind"] = "Job".into();
    job["spec"] = json!({"template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "c:1"}]}}});
    kit.make(job).unwrap();
    kit.ask(User::Admin, (Kind::Job, "web"), delete(None)).unwrap();
    assert!(kit.get(Kind::Job, "web").unwrap().meta().unwrap().has_finalizer("orphan"));
    kit.make(deployment(json!({"app": "web"}))).unwrap();
    kit.ask(User::Admin, (Kind::Deployment, "web"), delete(None)).unwrap();
    assert!(kit.get(Kind::Deployment, "web").is_none(), "other kinds go in the background");
}

#[test]
fn what_is_going_takes_no_new_finalizers() {
    let mut kit = kit();
    kit.make(deployment(json!({"app": "web"}))).unwrap();
    kit.ask(User::Admin, (Kind::Deployment, "web"), delete(Some(Propagation::Foreground))).unwrap();
    let held = kit.get(Kind::Deployment, "web").unwrap();
    assert!(held.meta().unwrap().has_finalizer("foregroundDeletion"));
    // Nothing may be held that is going already.
    let mut more = held;
    more.meta_mut().unwrap().finalizers = Some(["foregroundDeletion".into(), "x/y".into()].into());
    let said = kit.ask(User::Admin, (Kind::Deployment, "web"), Op::Update(more)).unwrap_err();
    assert!(
        said.contains("no new finalizers can be added if the object is being deleted"),
        "{said}"
    );
}

#[test]
fn row_39_new_nodes_are_tainted_and_new_pods_tolerate_for_five_minutes() {
    let mut kit = kit();
    let node =
        kit.make(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n9"}})).unwrap();
    let taint = node.as_node().unwrap().taints[0];
    assert_eq!(taint.key.as_str(), "node.kubernetes.io/not-ready");
    assert_eq!(taint.effect, Effect::NoSchedule);
    let made = kit.make(pod("a", json!({}))).unwrap();
    let tolerations = &made.as_pod().unwrap().spec.tolerations;
    let all: Vec<_> = tolerations.iter().map(|t| (t.effect, t.seconds)).collect();
    assert_eq!(all, [(Some(Effect::NoExecute), Some(300)); 2]);
}

#[test]
fn a_user_without_rights_leaves_no_trace_in_the_store() {
    let mut kit = kit();
    let rev = kit.shared.versions.rev();
    let eve = User::Person { name: "eve".into(), groups: Sym::EMPTY };
    let object = read(pod("a", json!({})));
    let said = kit.ask(eve, (Kind::Pod, "a"), Op::Apply(object)).unwrap_err();
    assert!(said.contains("User \"eve\" cannot get resource \"pods\""), "{said}");
    assert_eq!(kit.shared.versions.rev(), rev);
    let ghost =
        User::Person { name: "system:serviceaccount:shop:ghost".into(), groups: Sym::EMPTY };
    assert_eq!(kit.ask(ghost, (Kind::Pod, "a"), Op::Evict).unwrap_err(), "401 Unauthorized");
}
