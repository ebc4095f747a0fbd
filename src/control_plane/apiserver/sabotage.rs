//! Planted bugs of the API server ([`Canary`]): what a write would be if the server were wrong.

use super::{Plan, Success};
use crate::api::Obj;
use crate::api::pod::Phase;
use crate::engine::Sym;
use crate::event::{Canary, Context};
use std::sync::Arc;

/// The plan as it is, unless a bug is planted that strikes now.
pub(super) fn sabotage(plan: Plan, cx: &Context<'_>) -> Plan {
    let Some(canary) = cx.planted() else { return plan };
    let Plan::Put(Some(object), compare, mut value) = plan else { return plan };
    let kind = value.kind();
    let strikes = |of: Canary, once_in: u64| canary == of && cx.strikes(canary, once_in);
    if strikes(Canary::DoubleBind, 20) {
        if let Obj::Pod(pod) = &mut value
            && !pod.node.is_empty()
        {
            Arc::make_mut(pod).node = Sym::new("elsewhere");
        }
    } else if strikes(Canary::Revival, 2) {
        let before = cx.versions().current(kind, object).and_then(Obj::as_pod);
        if before.is_some_and(|p| p.terminal())
            && let Obj::Pod(pod) = &mut value
        {
            Arc::make_mut(pod).status.phase = Phase::Running;
        }
    } else if strikes(Canary::LostFinalizer, 2) {
        let held = |o: &Obj| {
            let meta = o.meta().filter(|m| m.terminating());
            meta.is_some_and(|m| m.finalizers.as_deref().is_some_and(|f| !f.is_empty()))
        };
        if cx.versions().current(kind, object).is_some_and(held) {
            return Plan::Delete(kind, object);
        }
    } else if strikes(Canary::LostWrite, 50) {
        if let Some(meta) = value.meta_mut() {
            meta.resource_version = cx.versions().rev() + 1;
        }
        return Plan::Unchanged(Success { object, value });
    }
    Plan::Put(Some(object), compare, value)
}
