//! The authorizer against policies written as manifests are.

#![expect(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

use super::*;
use crate::api::Meta;
use crate::engine::SimTime;
use serde_json::json;

fn put(versions: &mut Versions, kind: Kind, (ns, name): (&str, &str), doc: Value) {
    let labels = doc.pointer("/metadata/labels").and_then(Value::as_object).cloned();
    let pairs = labels.into_iter().flatten();
    let mut meta = Meta::named(ns.into(), Name::new(name));
    meta.labels = crate::api::LabelSet::new(
        pairs.map(|(k, v)| (Sym::new(&k), Sym::new(v.as_str().unwrap_or_default()))),
    );
    let object = Generic { meta, doc: Arc::new(doc) };
    versions.put(None, Obj::Generic(kind, Arc::new(object)), SimTime::ZERO, 1);
}

fn person(name: &str, groups: &str) -> User {
    User::Person { name: name.into(), groups: groups.into() }
}

fn bind(versions: &mut Versions, kind: Kind, ns: &str, role: Value, subject: Value) {
    let name = format!("b{}", versions.rev());
    put(versions, kind, (ns, &name), json!({"roleRef": role, "subjects": [subject]}));
}

fn ask(
    rbac: &mut Authorizer,
    versions: &Versions,
    user: User,
    verb: usize,
    about: (Kind, &str, &str),
) -> Result<(), String> {
    let (kind, ns, name) = about;
    let access = Access(u8::try_from(verb).unwrap());
    rbac.authorize(user, access, (kind, ns.into(), Name::new(name)), versions)
        .map_err(|e| e.message(kind, Name::new(name)))
}

const CREATE: usize = 0;
const PATCH: usize = 3;
const DELETE: usize = 8;

#[test]
fn who_is_bound_to_nothing_is_refused_with_upstreams_words() {
    let (mut rbac, versions) = (Authorizer::default(), Versions::default());
    let alice = person("alice", "");
    let said = ask(&mut rbac, &versions, alice, CREATE, (Kind::Deployment, "shop", "web"));
    assert_eq!(
        said.unwrap_err(),
        "deployments.apps \"web\" is forbidden: User \"alice\" cannot create resource \
         \"deployments\" in API group \"apps\" in the namespace \"shop\""
    );
    let said = ask(&mut rbac, &versions, alice, PATCH, (Kind::Node, "", "n0"));
    assert_eq!(
        said.unwrap_err(),
        "nodes \"n0\" is forbidden: User \"alice\" cannot patch resource \"nodes\" in API group \
         \"\" at the cluster scope"
    );
    let said = ask(&mut rbac, &versions, alice, 7, (Kind::Pod, "shop", "web-x"));
    assert!(said.unwrap_err().contains("cannot create resource \"pods/eviction\""));
}

#[test]
fn a_role_binding_grants_in_its_namespace_only() {
    let (mut rbac, mut versions) = (Authorizer::default(), Versions::default());
    let edit = json!({"kind": "ClusterRole", "name": "edit"});
    let alice = json!({"kind": "User", "name": "alice"});
    bind(&mut versions, Kind::RoleBinding, "shop", edit, alice);
    let alice = person("alice", "");
    assert!(ask(&mut rbac, &versions, alice, CREATE, (Kind::Deployment, "shop", "web")).is_ok());
    assert!(ask(&mut rbac, &versions, alice, CREATE, (Kind::Deployment, "bank", "web")).is_err());
    // `edit` writes neither quotas nor roles, and no status of another kind.
    assert!(ask(&mut rbac, &versions, alice, CREATE, (Kind::ResourceQuota, "shop", "q")).is_err());
    assert!(ask(&mut rbac, &versions, alice, CREATE, (Kind::RoleBinding, "shop", "b")).is_err());
    assert!(ask(&mut rbac, &versions, alice, 4, (Kind::Pod, "shop", "p")).is_err());
}

#[test]
fn a_change_of_a_binding_changes_what_was_decided() {
    let (mut rbac, mut versions) = (Authorizer::default(), Versions::default());
    let dev = person("bob", "dev,night");
    let about = (Kind::ConfigMap, "shop", "c");
    assert!(ask(&mut rbac, &versions, dev, DELETE, about).is_err());
    let admin = json!({"kind": "ClusterRole", "name": "cluster-admin"});
    let group = json!({"kind": "Group", "name": "night"});
    bind(&mut versions, Kind::ClusterRoleBinding, "", admin, group);
    assert!(ask(&mut rbac, &versions, dev, DELETE, about).is_ok());
    assert!(ask(&mut rbac, &versions, person("eve", ""), DELETE, about).is_err());
}

#[test]
fn resource_names_narrow_a_rule_but_never_a_create() {
    let (mut rbac, mut versions) = (Authorizer::default(), Versions::default());
    let rule = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps"],
        "resourceNames": ["settings"]});
    put(&mut versions, Kind::Role, ("shop", "r"), json!({"rules": [rule]}));
    let role = json!({"kind": "Role", "name": "r"});
    let account = json!({"kind": "ServiceAccount", "name": "ci", "namespace": "shop"});
    bind(&mut versions, Kind::RoleBinding, "shop", role, account);
    let ci = person("system:serviceaccount:shop:ci", "");
    assert!(ask(&mut rbac, &versions, ci, PATCH, (Kind::ConfigMap, "shop", "settings")).is_ok());
    assert!(ask(&mut rbac, &versions, ci, PATCH, (Kind::ConfigMap, "shop", "other")).is_err());
    assert!(ask(&mut rbac, &versions, ci, PATCH, (Kind::ConfigMap, "shop", "settings")).is_ok());
    assert!(ask(&mut rbac, &versions, ci, CREATE, (Kind::ConfigMap, "shop", "settings")).is_err());
}

#[test]
fn service_accounts_and_the_authenticated_are_groups() {
    let (mut rbac, mut versions) = (Authorizer::default(), Versions::default());
    for (ns, group) in [("a", "system:serviceaccounts:shop"), ("b", "system:authenticated")] {
        let edit = json!({"kind": "ClusterRole", "name": "edit"});
        let group = json!({"kind": "Group", "name": group});
        bind(&mut versions, Kind::RoleBinding, ns, edit, group);
    }
    let ci = person("system:serviceaccount:shop:ci", "");
    for (user, in_a, in_b) in [
        (ci, true, true),
        (person("alice", ""), false, true),
        (person("system:anonymous", ""), false, false),
    ] {
        let pod = |ns| (Kind::Pod, ns, "p");
        assert_eq!(ask(&mut rbac, &versions, user, DELETE, pod("a")).is_ok(), in_a, "{user}");
        assert_eq!(ask(&mut rbac, &versions, user, DELETE, pod("b")).is_ok(), in_b, "{user}");
    }
}

#[test]
fn aggregated_roles_take_up_rules_by_label() {
    let (mut rbac, mut versions) = (Authorizer::default(), Versions::default());
    let rules = json!([{"verbs": ["create"], "apiGroups": ["scheduling.k8s.io"],
        "resources": ["priorityclasses"]}]);
    let labels = json!({"rbac.authorization.k8s.io/aggregate-to-edit": "true", "team": "x"});
    let part = json!({"metadata": {"labels": labels}, "rules": rules});
    put(&mut versions, Kind::ClusterRole, ("", "part"), part);
    let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"team": "x"}}]});
    put(&mut versions, Kind::ClusterRole, ("", "sum"), json!({"aggregationRule": selectors}));
    for (role, may) in [("sum", true), ("edit", true), ("admin", true), ("view", false)] {
        let user = json!({"kind": "User", "name": role});
        let role_ref = json!({"kind": "ClusterRole", "name": role});
        bind(&mut versions, Kind::ClusterRoleBinding, "", role_ref, user);
        let said =
            ask(&mut rbac, &versions, person(role, ""), CREATE, (Kind::PriorityClass, "", "p"));
        assert_eq!(said.is_ok(), may, "{role}");
    }
}

#[test]
fn a_binding_to_a_missing_role_says_so() {
    let (mut rbac, mut versions) = (Authorizer::default(), Versions::default());
    let role = json!({"kind": "Role", "name": "gone"});
    let alice = json!({"kind": "User", "name": "alice"});
    bind(&mut versions, Kind::RoleBinding, "shop", role, alice);
    let said = ask(&mut rbac, &versions, person("alice", ""), CREATE, (Kind::Pod, "shop", "p"));
    let said = said.unwrap_err();
    assert!(said.ends_with(": RBAC: role.rbac.authorization.k8s.io \"gone\" not found"), "{said}");
}

#[test]
fn components_may_do_their_work_and_no_more() {
    let (mut rbac, versions) = (Authorizer::default(), Versions::default());
    let mut may =
        |user, verb, kind| ask(&mut rbac, &versions, user, verb, (kind, "x", "y")).is_ok();
    let controller = |name| User::Controller(Sym::new(name));
    assert!(may(User::Scheduler, 6, Kind::Pod));
    assert!(!may(User::Scheduler, CREATE, Kind::Pod));
    assert!(may(controller("replicaset-controller"), CREATE, Kind::Pod));
    assert!(may(controller("replicaset-controller"), CREATE, Kind::Event));
    assert!(!may(controller("replicaset-controller"), CREATE, Kind::Deployment));
    assert!(may(controller("node-controller"), PATCH, Kind::Node));
    assert!(may(controller("generic-garbage-collector"), DELETE, Kind::ConfigMap));
    assert!(may(controller("horizontal-pod-autoscaler"), 5, Kind::Deployment));
    assert!(!may(controller("no-such-controller"), CREATE, Kind::Event));
    assert!(may(User::Kubelet("n0".into()), 4, Kind::Pod));
    assert!(!may(User::Kubelet("n0".into()), PATCH, Kind::Pod));
    assert!(may(User::Admin, CREATE, Kind::ClusterRole));
}
