//! What every namespace gets: the service account `default`
//! (source: `ctl/serviceaccount/serviceaccounts_controller.go`) and the ConfigMap
//! `kube-root-ca.crt` (source: `ctl/certificates/rootcacertpublisher/publisher.go`). Both are made
//! again if they are deleted.

use super::support::{Reporter, reports};
use crate::api::request::{ApiError, Op, Outcome};
use crate::api::versions::Change;
use crate::api::workload::Generic;
use crate::api::{Kind, Meta, Name, Obj};
use crate::client::{Cache, Call, Key, Next, Reconcile};
use crate::engine::{SimDuration, Sym};
use crate::event::Context;
use serde_json::json;
use std::sync::Arc;

/// A controller that keeps one object in every namespace.
#[derive(Debug, Clone)]
pub struct PerNamespace {
    reporter: Reporter,
    kind: Kind,
    object: Name,
}

/// The object of a kind that every namespace has.
#[must_use]
pub fn standing(kind: Kind, ns: Sym) -> Obj {
    let (name, doc) = if kind == Kind::ServiceAccount {
        ("default", json!({"apiVersion": "v1", "kind": "ServiceAccount"}))
    } else {
        let data = json!({"ca.crt": ""});
        ("kube-root-ca.crt", json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data}))
    };
    let meta = Meta::named(ns, name.into());
    Obj::Generic(kind, Arc::new(Generic { meta, doc: Arc::new(doc) }))
}

impl PerNamespace {
    /// The service account controller.
    #[must_use]
    pub fn accounts() -> Self {
        let name = "service-account-controller";
        let reporter = Reporter::new(name, name);
        Self { reporter, kind: Kind::ServiceAccount, object: "default".into() }
    }

    /// The publisher of the cluster's root certificate.
    #[must_use]
    pub fn root_ca() -> Self {
        let name = "root-ca-cert-publisher";
        let reporter = Reporter::new(name, name);
        Self { reporter, kind: Kind::ConfigMap, object: "kube-root-ca.crt".into() }
    }
}

impl Reconcile for PerNamespace {
    /// True once the object has been asked for.
    type State = bool;

    reports!(1);

    fn on_change(
        &mut self,
        change: &Change,
        _before: Option<&Obj>,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    ) {
        let (ns, name) = change.value.key();
        let namespace = if change.value.kind() == Kind::Namespace {
            let going = matches!(&change.value, Obj::Namespace(ns) if ns.terminating);
            (!change.deleted && !going).then_some(name)
        } else {
            (change.deleted && name == self.object).then(|| ns.into())
        };
        if let Some(name) = namespace {
            wake.push((Key { kind: Kind::Namespace, ns: Sym::EMPTY, name }, SimDuration::ZERO));
        }
    }

    fn sync(
        &mut self,
        key: Key,
        asked: &mut bool,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next {
        if *asked {
            // A namespace that is going away takes nothing new.
            let fine = |a: &Outcome| {
                matches!(
                    a,
                    Ok(_)
                        | Err(ApiError::AlreadyExists
                            | ApiError::Forbidden(_)
                            | ApiError::NotFound)
                )
            };
            return if answers.iter().all(fine) { Next::Done } else { Next::Retry };
        }
        let found = caches.named(cx.versions(), Kind::Namespace, Sym::EMPTY, key.name);
        let Some((_, Obj::Namespace(namespace))) = found else { return Next::Done };
        let ns = key.name.sym();
        // Upstream's publisher does not look at the phase: it is refused.
        let skips = namespace.terminating && self.kind == Kind::ServiceAccount;
        if skips || caches.find(cx.versions(), self.kind, ns, self.object).is_some() {
            return Next::Done;
        }
        *asked = true;
        let op = Op::Create { object: standing(self.kind, ns), generate: false };
        Next::Call(vec![Call { kind: self.kind, ns, name: self.object, target: None, op }])
    }
}
