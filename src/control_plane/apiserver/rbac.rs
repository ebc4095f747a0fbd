//! Who may do what: the RBAC authorizer, and for kubelets the Node authorizer's rules.
//!
//! A subject's roles are gathered once per revision of the RBAC objects; what it may do everywhere
//! is a bit per (verb, kind), so that a component's request costs a look-up of its account and a
//! bit test. What is granted in a namespace only is remembered per (subject, verb, kind,
//! namespace). Aggregated roles are added up here when they are read; upstream a controller writes
//! the sum into them.
//! Source: `plugin/pkg/auth/authorizer/rbac/rbac.go`, `pkg/registry/rbac/validation/rule.go`.

use super::bootstrap;
use crate::api::request::{ApiError, Op, Request, User};
use crate::api::versions::Versions;
use crate::api::workload::Generic;
use crate::api::{Kind, Name, Obj};
use crate::engine::Sym;
use rustc_hash::FxHashMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Verb and subresource of a request, as a small number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Access(u8);

/// All of them.
const ACCESS: [(&str, &str); 15] = [
    ("create", ""),
    ("update", ""),
    ("update", "/status"),
    ("patch", ""),
    ("patch", "/status"),
    ("patch", "/scale"),
    ("create", "/binding"),
    ("create", "/eviction"),
    ("delete", ""),
    ("get", ""),
    ("patch", "/resize"),
    ("deletecollection", ""),
    ("update", "/finalize"),
    ("update", "/scale"),
    ("list", ""),
];

impl Access {
    /// `get`, which kubectl does before it applies.
    pub(super) const GET: Self = Self(9);
    /// `create`.
    pub(super) const CREATE: Self = Self(0);

    /// Of a request. `Apply` counts as the patch it is if the object exists.
    pub(super) fn of(op: &Op) -> Self {
        Self(match op {
            Op::Create { .. } | Op::CreateEvent(..) => 0,
            Op::Update(_) | Op::Apply(Obj::Lease(_)) => 1,
            Op::UpdateStatus(_) => 2,
            Op::Apply(_)
            | Op::PatchEvent(..)
            | Op::NodeTaints { .. }
            | Op::Cordon(_)
            | Op::SetImage(..)
            | Op::RemoveFinalizer(_)
            | Op::RemoveOwners(_)
            | Op::AddOwner { .. }
            | Op::PodCidr(_) => 3,
            Op::PodStatus(_)
            | Op::VolumesAttached(_)
            | Op::PodCondition(..)
            | Op::Nominate(_)
            | Op::NodeStatus(_)
            | Op::Heartbeat(_) => 4,
            Op::Scale(_) => 5,
            Op::Bind { .. } => 6,
            Op::Evict => 7,
            Op::Delete { .. } => 8,
            Op::DeleteCollection => 11,
            Op::Finalize => 12,
            Op::PutScale(_) => 13,
            Op::Metrics(_) => 14,
            Op::Get => Self::GET.0,
        })
    }

    /// Verb, and subresource with its slash.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        ACCESS[usize::from(self.0)]
    }
}

/// A rule of a role.
#[derive(Debug, Clone, Default)]
struct Rule {
    verbs: Vec<Sym>,
    groups: Vec<Sym>,
    resources: Vec<Sym>,
    names: Vec<Sym>,
}

fn words(list: &str) -> Vec<Sym> {
    list.split_whitespace().map(Sym::new).collect()
}

fn texts(of: &Value, key: &str) -> Vec<Sym> {
    let list = of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(Sym::new).collect()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn array<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl Rule {
    fn row((verbs, group, resources): bootstrap::Row) -> Self {
        let groups = vec![Sym::new(group)];
        Self { verbs: words(verbs), groups, resources: words(resources), names: Vec::new() }
    }

    fn read(rule: &Value) -> Self {
        Self {
            verbs: texts(rule, "verbs"),
            groups: texts(rule, "apiGroups"),
            resources: texts(rule, "resources"),
            names: texts(rule, "resourceNames"),
        }
    }

    /// Whether verb, group and resource are covered, whatever the object's name.
    fn covers(&self, access: Access, kind: Kind) -> bool {
        let (verb, sub) = access.words();
        let group = kind.info().map_or("", |k| k.group);
        let has = |list: &[Sym], word: &str| {
            list.iter().any(|s| matches!(s.as_str(), "*") || s.as_str() == word)
        };
        let resource = |s: &Sym| {
            let (of, below) = s.as_str().split_once('/').unwrap_or((s.as_str(), ""));
            let same = below == sub.trim_start_matches('/');
            s.as_str() == "*" || (of == "*" || of == kind.plural()) && same
        };
        has(&self.verbs, verb) && has(&self.groups, group) && self.resources.iter().any(resource)
    }
}

/// A role and what it takes up of others.
#[derive(Debug, Clone, Default)]
struct Role {
    rules: Vec<Rule>,
    /// Selectors of an aggregated role, each as labels that must all be there.
    aggregates: Vec<Vec<(String, String)>>,
    labels: Vec<(String, String)>,
}

impl Role {
    fn read(object: &Generic) -> Self {
        let doc = &object.doc;
        let selectors = doc.get("aggregationRule").map(|r| array(r, "clusterRoleSelectors"));
        let aggregates = selectors.unwrap_or_default().iter().map(|s| {
            let labels = s.get("matchLabels").and_then(Value::as_object);
            let pair =
                |(k, v): (&String, &Value)| (k.clone(), v.as_str().unwrap_or_default().to_owned());
            labels.into_iter().flatten().map(pair).collect()
        });
        Self {
            rules: array(doc, "rules").iter().map(Rule::read).collect(),
            aggregates: aggregates.collect(),
            labels: (object.meta.labels.pairs().iter())
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        }
    }
}

/// Who is bound to what.
#[derive(Debug, Clone)]
struct Binding {
    /// Namespace of a `RoleBinding`; none for a `ClusterRoleBinding`.
    ns: Option<Sym>,
    /// True if the role is a `ClusterRole`.
    cluster_role: bool,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Debug, Clone)]
enum Subject {
    User(String),
    Group(String),
}

impl Binding {
    fn read(object: &Generic, namespaced: bool) -> Self {
        let ns = namespaced.then_some(object.meta.ns);
        let role = object.doc.get("roleRef").cloned().unwrap_or_default();
        let subject = |s: &Value| {
            let name = text(s, "name").to_owned();
            match text(s, "kind") {
                "Group" => Subject::Group(name),
                "ServiceAccount" => {
                    let of = text(s, "namespace");
                    let of = if of.is_empty() { object.meta.ns.as_str() } else { of };
                    Subject::User(format!("system:serviceaccount:{of}:{name}"))
                }
                _user => Subject::User(name),
            }
        };
        Self {
            ns,
            cluster_role: text(&role, "kind") == "ClusterRole",
            role: text(&role, "name").to_owned(),
            subjects: array(&object.doc, "subjects").iter().map(subject).collect(),
        }
    }
}

/// The RBAC objects of the store, read.
#[derive(Debug, Clone, Default)]
struct Policy {
    cluster_roles: BTreeMap<String, Role>,
    roles: BTreeMap<(&'static str, String), Role>,
    bindings: Vec<Binding>,
}

impl Policy {
    fn read(versions: &Versions) -> Self {
        let mut policy = Self::default();
        let all = |kind| {
            let mut list: Vec<Arc<Generic>> = versions
                .iter(kind)
                .filter_map(
                    |(_, o)| if let Obj::Generic(_, g) = o { Some(Arc::clone(g)) } else { None },
                )
                .collect();
            list.sort_by(|a, b| {
                a.meta.ns.cmp_text(b.meta.ns).then(a.meta.name.cmp_text(b.meta.name))
            });
            list
        };
        for role in all(Kind::ClusterRole) {
            policy.cluster_roles.insert(role.meta.name.to_string(), Role::read(&role));
        }
        for role in all(Kind::Role) {
            let key = (role.meta.ns.as_str(), role.meta.name.to_string());
            policy.roles.insert(key, Role::read(&role));
        }
        for kind in [Kind::ClusterRoleBinding, Kind::RoleBinding] {
            let namespaced = kind == Kind::RoleBinding;
            policy.bindings.extend(all(kind).iter().map(|b| Binding::read(b, namespaced)));
        }
        policy
    }

    /// The rules of a `ClusterRole`, with what it aggregates; none if there is no such role.
    fn cluster_role(&self, name: &str) -> Option<Vec<Rule>> {
        let stored = self.cluster_roles.get(name);
        let mut rules = match stored {
            Some(role) => role.rules.clone(),
            None => bootstrap::cluster_role(name)?.into_iter().map(Rule::row).collect(),
        };
        let taken = |role: &Role| match stored {
            Some(own) => {
                own.aggregates.iter().any(|all| all.iter().all(|l| role.labels.contains(l)))
            }
            None => bootstrap::AGGREGATED.iter().position(|r| *r == name).is_some_and(|rank| {
                bootstrap::AGGREGATED[..=rank].iter().any(|part| {
                    let label = format!("{}{part}", bootstrap::AGGREGATE_TO);
                    role.labels.contains(&(label, "true".to_owned()))
                })
            }),
        };
        for (other, role) in &self.cluster_roles {
            if other != name && taken(role) {
                rules.extend(role.rules.iter().cloned());
            }
        }
        Some(rules)
    }
}

/// A user name and its groups.
#[derive(Debug, Clone)]
struct Identity {
    name: String,
    groups: Vec<String>,
}

/// What a service account's user name begins with.
const ACCOUNT: &str = "system:serviceaccount:";

/// The user name of a component, or of a person.
pub(super) fn user_name(user: User) -> String {
    match user {
        User::Admin => "kubernetes-admin".to_owned(),
        User::ApiServer => "system:apiserver".to_owned(),
        User::Scheduler => "system:kube-scheduler".to_owned(),
        User::Controller(name) if name.as_str() == "kube-controller-manager" => {
            "system:kube-controller-manager".to_owned()
        }
        User::Controller(name) => format!("{ACCOUNT}kube-system:{name}"),
        User::Kubelet(node) => format!("system:node:{node}"),
        User::Person { name, .. } => name.to_string(),
    }
}

/// Namespace and name of a service account, out of its user name.
pub(super) fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(ACCOUNT)?.split_once(':')
}

fn identity(user: User) -> Identity {
    let name = user_name(user);
    let mut groups: Vec<String> = match user {
        User::Admin | User::ApiServer => vec![bootstrap::MASTERS.to_owned()],
        User::Kubelet(_) => vec!["system:nodes".to_owned()],
        User::Person { groups, .. } => {
            groups.as_str().split(',').filter(|g| !g.is_empty()).map(str::to_owned).collect()
        }
        User::Scheduler | User::Controller(_) => Vec::new(),
    };
    if let Some((ns, _)) = service_account(&name) {
        groups
            .extend(["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{ns}")]);
    }
    let anonymous = name == "system:anonymous";
    groups.push(if anonymous { "system:unauthenticated" } else { "system:authenticated" }.into());
    Identity { name, groups }
}

/// A subject's rights.
#[derive(Debug, Clone, Default)]
struct Rights {
    /// Bit per kind, for each access: granted in all namespaces and whatever the name.
    everywhere: [u128; ACCESS.len()],
    /// Rules with where they hold (none: everywhere).
    grants: Vec<(Option<Sym>, Vec<Rule>)>,
    /// Roles that bindings name and that are not there, with the namespace of the binding.
    missing: Vec<(Option<Sym>, String)>,
    /// What has been decided for a namespace.
    decided: FxHashMap<(Access, Kind, Sym), bool>,
}

const _: () = assert!(crate::api::kind::N_KINDS <= 128, "a kind is a bit of a u128");

impl Rights {
    fn of(user: User, policy: &Policy) -> Self {
        let who = identity(user);
        let mut rights = Self::default();
        let component = match user {
            User::Scheduler => Some("system:kube-scheduler".to_owned()),
            User::Controller(name) => Some(format!("system:controller:{name}")),
            User::Kubelet(_) => Some("system:node".to_owned()),
            User::Admin | User::ApiServer | User::Person { .. } => None,
        };
        let groups =
            bootstrap::GROUP_BINDINGS.iter().filter(|(_, g)| who.groups.iter().any(|w| w == g));
        for role in component.into_iter().chain(groups.map(|(role, _)| (*role).to_owned())) {
            rights.grant(None, true, &role, policy);
        }
        for binding in &policy.bindings {
            let bound = binding.subjects.iter().any(|s| match s {
                Subject::User(name) => *name == who.name,
                Subject::Group(name) => who.groups.contains(name),
            });
            if bound {
                rights.grant(binding.ns, binding.cluster_role, &binding.role, policy);
            }
        }
        rights
    }

    fn grant(&mut self, ns: Option<Sym>, cluster_role: bool, role: &str, policy: &Policy) {
        let rules = if cluster_role {
            policy.cluster_role(role)
        } else {
            let key = (ns.unwrap_or_default().as_str(), role.to_owned());
            policy.roles.get(&key).map(|r| r.rules.clone())
        };
        match rules {
            Some(rules) => self.grants.push((ns, rules)),
            None => {
                let kind = if cluster_role { "clusterrole" } else { "role" };
                let text = format!("{kind}.rbac.authorization.k8s.io \"{role}\" not found");
                self.missing.push((ns, text));
            }
        }
    }

    fn may(&mut self, access: Access, kind: Kind, ns: Sym, name: Name) -> bool {
        if self.everywhere[usize::from(access.0)] >> kind.index() & 1 == 1 {
            return true;
        }
        if let Some(known) = self.decided.get(&(access, kind, ns)) {
            return *known;
        }
        let holds = |scope: &Option<Sym>| scope.is_none_or(|s| s == ns && !ns.is_empty());
        let (mut named, mut allowed, mut everywhere) = (false, false, false);
        let grants = self.grants.iter().filter(|(scope, _)| holds(scope));
        let rules = grants.flat_map(|(scope, rules)| rules.iter().map(move |r| (scope, r)));
        for (scope, rule) in rules.filter(|(_, r)| r.covers(access, kind)) {
            let free = rule.names.is_empty();
            allowed |= free;
            everywhere |= free && scope.is_none();
            named |= !free;
            // A name is not known yet when an object is created.
            if !free && access != Access::CREATE && rule.names.contains(&name.sym()) {
                return true;
            }
        }
        if everywhere {
            self.everywhere[usize::from(access.0)] |= 1 << kind.index();
        }
        if allowed || !named {
            self.decided.insert((access, kind, ns), allowed);
        }
        allowed
    }

    /// Why nothing could be said about some of the bindings.
    fn reason(&self, ns: Sym) -> String {
        let here = self.missing.iter().filter(|(scope, _)| scope.is_none_or(|s| s == ns));
        let texts: Vec<&str> = here.map(|(_, text)| text.as_str()).collect();
        match texts.as_slice() {
            [] => String::new(),
            [one] => format!(": RBAC: {one}"),
            many => format!(": RBAC: [{}]", many.join(", ")),
        }
    }
}

/// The authorizer.
#[derive(Debug, Clone, Default)]
pub(super) struct Authorizer {
    /// State of the RBAC objects that the rest was made from.
    rev: u64,
    policy: Arc<Policy>,
    rows: FxHashMap<User, u32>,
    rights: Vec<Rights>,
    /// What was refused last, until somebody has asked.
    denied: Option<Access>,
}

const RBAC_KINDS: [Kind; 4] =
    [Kind::Role, Kind::RoleBinding, Kind::ClusterRole, Kind::ClusterRoleBinding];

/// What a request asks for: an `Apply` is a patch, or a create if the object is not there.
fn asked(request: &Request, versions: &Versions) -> Access {
    let Request { kind, ns, name, .. } = *request;
    let makes = matches!(request.op, Op::Apply(_)) && versions.find(kind, ns, name).is_none();
    if makes { Access::CREATE } else { Access::of(&request.op) }
}

impl Authorizer {
    /// What the request was refused for: kubectl asks for two things when it applies.
    pub(super) fn refused(&mut self, request: &Request, versions: &Versions) -> Access {
        self.denied.take().unwrap_or_else(|| asked(request, versions))
    }

    /// Whether the request is allowed. kubectl reads an object before it applies it.
    pub(super) fn check(
        &mut self,
        request: &Request,
        access: Access,
        versions: &Versions,
    ) -> Result<(), ApiError> {
        let Request { user, kind, ns, name, .. } = *request;
        let applies = matches!((&request.op, user), (Op::Apply(_), User::Person { .. }));
        // Unless a scenario brings roles of its own, components have the rights they need: builds
        // with debug assertions, tests among them, look each time.
        if !matches!(user, User::Person { .. }) && versions.count(Kind::ClusterRole) == 0 {
            debug_assert_eq!(self.authorize(user, access, (kind, ns, name), versions), Ok(()));
            return Ok(());
        }
        if !applies {
            return self.authorize(user, access, (kind, ns, name), versions);
        }
        self.authorize(user, Access::GET, (kind, ns, name), versions)?;
        self.authorize(user, asked(request, versions), (kind, ns, name), versions)
    }

    /// Whether the user may.
    pub(super) fn authorize(
        &mut self,
        user: User,
        access: Access,
        (kind, ns, name): (Kind, Sym, Name),
        versions: &Versions,
    ) -> Result<(), ApiError> {
        let class = match user {
            User::Admin | User::ApiServer => return Ok(()),
            // The rules are the same for all nodes.
            User::Kubelet(_) => User::Kubelet(Sym::EMPTY),
            User::Scheduler | User::Controller(_) | User::Person { .. } => user,
        };
        let rights = self.rights(class, versions);
        if rights.may(access, kind, ns, name) {
            return Ok(());
        }
        let reason = rights.reason(ns);
        self.denied = Some(access);
        Err(ApiError::Forbidden(Sym::new(&refusal(user, access, (kind, ns), &reason))))
    }

    fn rights(&mut self, class: User, versions: &Versions) -> &mut Rights {
        let rev = RBAC_KINDS.iter().map(|k| versions.log_end(*k)).sum();
        if rev != self.rev {
            self.rev = rev;
            self.policy = Arc::new(Policy::read(versions));
            self.rows.clear();
            self.rights.clear();
        }
        let row = match self.rows.get(&class) {
            Some(row) => *row as usize,
            None => {
                let row = self.rights.len();
                self.rights.push(Rights::of(class, &self.policy));
                self.rows.insert(class, crate::engine::num::u32_of(row));
                row
            }
        };
        &mut self.rights[row]
    }
}

/// Source: `endpoints/handlers/responsewriters/errors.go` `forbiddenMessage`.
fn refusal(user: User, access: Access, (kind, ns): (Kind, Sym), reason: &str) -> String {
    let (verb, sub) = access.words();
    let group = kind.info().map_or("", |k| k.group);
    let place = if ns.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{ns}\"")
    };
    format!(
        "User \"{}\" cannot {verb} resource \"{}{sub}\" in API group \"{group}\" {place}{reason}",
        user_name(user),
        kind.plural(),
    )
}

#[cfg(test)]
#[path = "rbac_tests.rs"]
mod tests;
