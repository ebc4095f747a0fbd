//! Namespaces: one that is deleted is emptied first
//! (source: `ctl/namespace/{namespace_controller,deletion/namespaced_resources_deleter}.go`).

use super::support::{Reporter, condition, put_status, reports};
use crate::api::kind::KINDS;
use crate::api::pod::{Condition, ConditionType, Truth};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::{Change, ObjRef};
use crate::api::workload::Namespace;
use crate::api::{Kind, Name, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{Purpose, SimDuration, Sym, num};
use crate::event::Context;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// The controller waits this long, so that everybody has seen that the namespace is going
/// (source: `namespaceDeletionGracePeriod`).
const GRACE: SimDuration = SimDuration::from_secs(5);

/// The namespace controller.
#[derive(Debug, Clone)]
pub struct NamespaceController {
    reporter: Reporter,
}

impl Default for NamespaceController {
    fn default() -> Self {
        Self { reporter: Reporter::new("namespace-controller", "namespace-controller") }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Start,
    /// Pods are deleted before everything else (gate `OrderedNamespaceDeletion`).
    Pods,
    /// The kind of this number (in this pass's order) is being deleted.
    Kind(usize),
    Status,
    Last,
}

/// What a sync remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    step: Step,
    target: ObjRef,
    namespace: Option<Arc<Namespace>>,
    /// Kinds to delete, in order.
    kinds: Arc<[Kind]>,
    /// Objects that are still there, by resource.
    remaining: BTreeMap<String, u64>,
    /// The finalizers that hold them.
    finalizers: BTreeMap<String, u64>,
    /// The longest grace of a pod that is still there, seconds.
    grace_s: u64,
}

/// Kinds whose collections are deleted, in the order of this pass: that of a map, which is any.
/// Kubernetes Events are there in two groups. Kinds of other projects, and custom ones, are served
/// only where they are installed: here, where there are any.
fn swept(ns: Sym, cx: &Context<'_>) -> Arc<[Kind]> {
    const OTHERS: &str = "gateway.networking.k8s.io";
    let version = cx.version();
    let listed = |kind: Kind| {
        let never = matches!(kind, Kind::Binding | Kind::Eviction | Kind::PodMetrics);
        let claims = matches!(kind, Kind::ResourceClaim | Kind::ResourceClaimTemplate);
        let other = kind.info().is_none_or(|k| k.group == OTHERS);
        kind.namespaced()
            && !never
            && (!claims || version.dynamic_resources())
            && (!other || cx.versions().count(kind) > 0)
    };
    let first = version.ordered_namespace_deletion();
    let twice = [Kind::Event, Kind::Custom];
    let all = KINDS.iter().map(|k| k.kind).chain(twice);
    let mut kinds: Vec<Kind> = all.filter(|k| listed(*k) && !(first && *k == Kind::Pod)).collect();
    let mut draw = cx.draw(ns.stable_hash(), Purpose("namespace-sweep"), cx.now().0);
    for i in (1..kinds.len()).rev() {
        kinds.swap(i, num::index(draw.below(i as u64 + 1)));
    }
    kinds.into()
}

impl Reconcile for NamespaceController {
    type State = State;

    reports!(10);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let going = |obj: &Obj| matches!(obj, Obj::Namespace(ns) if ns.terminating);
        // Every change comes with the same delay, that of the status that a pass has written too.
        if going(&change.value) && !change.deleted {
            wake.push((Key::of(&change.value), GRACE));
        }
    }

    fn sync(
        &mut self,
        key: Key,
        state: &mut State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        let refused = |a: &Outcome| a.as_ref().is_err_and(|e| *e != ApiError::NotFound);
        match state.step {
            Step::Start => Self::start(key, state, caches, cx),
            Step::Pods | Step::Kind(_) | Step::Status if answers.iter().any(refused) => Next::Retry,
            Step::Pods => {
                state.note(Kind::Pod, answers);
                if !state.remaining.is_empty() {
                    return Self::status(state, cx);
                }
                Self::sweep(0, state, cx)
            }
            Step::Kind(i) => {
                if let Some(kind) = state.kinds.get(i).copied() {
                    state.note(kind, answers);
                }
                Self::sweep(i + 1, state, cx)
            }
            Step::Status => Self::end(state),
            Step::Last if answers.iter().any(refused) => Next::Retry,
            Step::Last => Next::Done,
        }
    }
}

impl State {
    /// Takes in what an answer says is left: a list of a collection.
    fn note(&mut self, kind: Kind, answers: &[Outcome]) {
        for answer in answers.iter().flatten() {
            let Obj::Generic(_, list) = &answer.value else { continue };
            let number = |key: &str| list.doc.get(key).and_then(serde_json::Value::as_u64);
            let left = number("remainingItemCount").unwrap_or(0);
            if left == 0 {
                continue;
            }
            let group = kind.info().map_or("", |k| k.group);
            *self.remaining.entry(format!("{}.{group}", kind.plural())).or_default() += left;
            self.grace_s = self.grace_s.max(number("gracePeriodSeconds").unwrap_or(0));
            let held = list.doc.get("finalizers").and_then(serde_json::Value::as_object);
            for (finalizer, n) in held.into_iter().flatten() {
                let n = n.as_u64().unwrap_or(0);
                *self.finalizers.entry(finalizer.clone()).or_default() += n;
            }
        }
    }
}

impl NamespaceController {
    fn start(key: Key, state: &mut State, caches: &Cache, cx: &Context<'_>) -> Next {
        let found = caches.named(cx.versions(), Kind::Namespace, key.ns, key.name);
        let Some((target, Obj::Namespace(namespace))) = found else { return Next::Done };
        if !namespace.terminating || namespace.finalized {
            return Next::Done;
        }
        state.target = target;
        state.namespace = Some(Arc::clone(namespace));
        state.kinds = swept(key.name.sym(), cx);
        if !cx.version().ordered_namespace_deletion() {
            return Self::sweep(0, state, cx);
        }
        state.step = Step::Pods;
        Next::Call(vec![Self::collection(Kind::Pod, key.name.sym())])
    }

    fn collection(kind: Kind, ns: Sym) -> Call {
        let (name, target) = (Name::default(), None);
        Call { kind, ns, name, target, op: Op::DeleteCollection }
    }

    fn sweep(i: usize, state: &mut State, cx: &Context<'_>) -> Next {
        let Some(namespace) = &state.namespace else { return Next::Done };
        let Some(kind) = state.kinds.get(i).copied() else { return Self::status(state, cx) };
        state.step = Step::Kind(i);
        Next::Call(vec![Self::collection(kind, namespace.meta.name.sym())])
    }

    /// Writes down what is left, if that is news.
    fn status(state: &mut State, cx: &Context<'_>) -> Next {
        let Some(namespace) = state.namespace.clone() else { return Next::Done };
        state.step = Step::Status;
        let mut object = Namespace::clone(&namespace);
        let mut changed = false;
        for condition in conditions(state, cx) {
            let old = object.conditions.get(condition.kind);
            let same = |c: Condition| {
                (c.status, c.reason, c.message)
                    == (condition.status, condition.reason, condition.message)
            };
            if !old.is_some_and(same) {
                object.conditions.set(condition);
                changed = true;
            }
        }
        if !changed {
            return Self::end(state);
        }
        // Conditions are written whatever else has happened to the namespace since.
        object.meta.resource_version = 0;
        Next::Call(vec![put_status(Obj::Namespace(Arc::new(object)), state.target)])
    }

    /// Empty: the namespace may go. Otherwise look again when the pods may have ended.
    fn end(state: &mut State) -> Next {
        if !state.remaining.is_empty() {
            return Next::Requeue(SimDuration::from_secs(state.grace_s / 2 + 1));
        }
        let Some(namespace) = &state.namespace else { return Next::Done };
        state.step = Step::Last;
        let (kind, ns, name) = (Kind::Namespace, Sym::EMPTY, namespace.meta.name);
        Next::Call(vec![Call { kind, ns, name, target: Some(state.target), op: Op::Finalize }])
    }
}

/// Source: `namespace_controller/deletion/status_condition_utils.go`.
fn conditions(state: &State, cx: &Context<'_>) -> Vec<Condition> {
    let list = |what: &BTreeMap<String, u64>, verb: &str| {
        what.iter().fold(String::new(), |mut text, (name, n)| {
            let comma = if text.is_empty() { "" } else { ", " };
            let ignored = write!(text, "{comma}{name} {verb} {n} resource instances");
            debug_assert!(ignored.is_ok(), "writing to a string");
            text
        })
    };
    let (some, held) = (!state.remaining.is_empty(), !state.finalizers.is_empty());
    let remaining = format!("Some resources are remaining: {}", list(&state.remaining, "has"));
    let finalizers = format!(
        "Some content in the namespace has finalizers remaining: {}",
        list(&state.finalizers, "in")
    );
    let row = |kind: &str, holds: bool, reason: &str, message: &str| {
        let kind = ConditionType::Other(Sym::new(kind));
        let status = if holds { Truth::True } else { Truth::False };
        condition(kind, status, reason, message, cx)
    };
    let pick = |holds: bool, yes: (&'static str, String), no: (&'static str, &str)| {
        if holds { yes } else { (no.0, no.1.to_owned()) }
    };
    let content = pick(
        some,
        ("SomeResourcesRemain", remaining),
        ("ContentRemoved", "All content successfully removed"),
    );
    let finalizing = pick(
        held,
        ("SomeFinalizersRemain", finalizers),
        ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    );
    vec![
        row(
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        row(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        row(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        row("NamespaceContentRemaining", some, content.0, &content.1),
        row("NamespaceFinalizersRemaining", held, finalizing.0, &finalizing.1),
    ]
}
