//! POST to `pods/eviction`: a deletion that asks the pod's disruption budget first. Source:
//! `pkg/registry/core/pod/storage/eviction.go`; behaviour reference §1.12.

use super::{ApiServer, Plan, delete, handlers};
use crate::api::pdb::PodDisruptionBudget;
use crate::api::pod::{Condition, ConditionType, Phase, Pod, Truth};
use crate::api::request::ApiError;
use crate::api::versions::ObjRef;
use crate::api::workload::Generic;
use crate::api::{Kind, Obj};
use crate::control_plane::etcd::{Compare, Write};
use crate::engine::Sym;
use crate::event::{Canary, Context};
use serde_json::Value;
use std::sync::Arc;

/// `MaxDisruptedPodSize`: evictions that the controller has not seen to go.
const MOST_DISRUPTED: usize = 2000;

/// Seconds of `Retry-After` while the controller has not seen the budget.
const UNSEEN_RETRY_S: u16 = 10;

/// A budget, as far as the eviction API reads it.
struct Budget {
    object: ObjRef,
    content: Arc<Generic>,
    read: PodDisruptionBudget,
}

impl Budget {
    fn always_allows_unhealthy(&self) -> bool {
        self.content.doc.pointer("/spec/unhealthyPodEvictionPolicy").and_then(Value::as_str)
            == Some("AlwaysAllow")
    }

    /// One disruption less, for this pod; or why not. If it was the last one, the condition says so
    /// in the same write (recorded in `timelines/06`).
    fn charge(&self, pod: &Pod, cx: &Context<'_>) -> Result<Obj, ApiError> {
        let name = self.content.meta.name;
        let status = &self.read.status;
        if status.observed_generation < self.content.meta.generation {
            let cause =
                format!("The disruption budget {name} is still being processed by the server.");
            return Err(refused(&cause, UNSEEN_RETRY_S));
        }
        let allowed = status.disruptions_allowed;
        if allowed < 0 {
            return Err(ApiError::Forbidden(Sym::new("pdb disruptions allowed is negative")));
        }
        if status.disrupted.len() > MOST_DISRUPTED {
            let text =
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
            return Err(ApiError::Forbidden(Sym::new(text)));
        }
        if allowed == 0 {
            let cause = format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                status.desired_healthy, status.current_healthy
            );
            return Err(refused(&cause, 0));
        }
        let mut status = status.clone();
        status.disruptions_allowed = allowed - 1;
        status.disrupted.push((pod.meta.name, cx.stamp()));
        if status.disruptions_allowed == 0 {
            status.condition = Some((Sym::new("InsufficientPods"), cx.stamp()));
        }
        let mut content = Generic::clone(&self.content);
        Arc::make_mut(&mut content.doc)["status"] = status.to_value();
        Ok(Obj::Generic(Kind::PodDisruptionBudget, Arc::new(content)))
    }
}

/// 429; the cause stands in the details of the Status, here behind the message.
fn refused(cause: &str, retry_after_s: u16) -> ApiError {
    let text =
        format!("Cannot evict pod as it would violate the pod's disruption budget. ({cause})");
    ApiError::TooManyRequests(Sym::new(&text), retry_after_s)
}

/// The budgets of a pod. One without labels has none; an empty selector takes every pod.
fn budgets(pod: &Pod, cx: &Context<'_>) -> Vec<Budget> {
    if pod.meta.labels.is_empty() {
        return Vec::new();
    }
    cx.versions()
        .iter(Kind::PodDisruptionBudget)
        .filter_map(|(object, o)| {
            let Obj::Generic(_, content) = o else { return None };
            let read = PodDisruptionBudget::of(content);
            let mine = content.meta.ns == pod.meta.ns && read.matches(pod.meta.labels);
            mine.then(|| Budget { object, content: Arc::clone(content), read })
        })
        .collect()
}

impl ApiServer {
    /// Decides on an eviction: the budget's status, then the pod's condition, then its deletion
    /// (`addConditionAndDeletePod`).
    pub(super) fn evict(
        &self,
        object: ObjRef,
        old: &Obj,
        cx: &Context<'_>,
    ) -> Result<Plan, ApiError> {
        let Obj::Pod(pod) = old else { return Err(ApiError::NotFound) };
        let free = pod.terminal()
            || pod.status.phase == Phase::Pending
            || pod.meta.deletion.is_some()
            || cx.versions().count(Kind::PodDisruptionBudget) == 0
            || cx.strikes(Canary::FreeEviction, 1);
        let before = if free { None } else { self.ask_budget(pod, cx)? };
        let condition = Condition {
            kind: ConditionType::DisruptionTarget,
            status: Truth::True,
            reason: Sym::new("EvictionByEvictionAPI"),
            message: Sym::new("Eviction API: evicting"),
            transition: cx.stamp(),
        };
        let mut new = Pod::clone(pod);
        new.status.conditions.set(condition);
        let new = Arc::new(new);
        let mut plan = delete::delete_pod(object, &new, None, cx);
        if new != *pod {
            let told = Write::Put(Some(object), Obj::Pod(new));
            plan = Plan::First((Compare::Nothing, told, Kind::Pod), Box::new(plan));
        }
        Ok(match before {
            None => plan,
            Some(before) => Plan::First(before, Box::new(plan)),
        })
    }

    fn ask_budget(
        &self,
        pod: &Pod,
        cx: &Context<'_>,
    ) -> Result<Option<handlers::Before>, ApiError> {
        let budgets = budgets(pod, cx);
        let budget = match budgets.as_slice() {
            [] => return Ok(None),
            [one] => one,
            _many => {
                let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(ApiError::Internal(Sym::new(text)));
            }
        };
        if !pod.ready() {
            let status = &budget.read.status;
            let (healthy, desired) = (status.current_healthy, status.desired_healthy);
            if budget.always_allows_unhealthy() || healthy >= desired && desired > 0 {
                return Ok(None);
            }
        }
        let charged = budget.charge(pod, cx)?;
        let compare = Compare::ModRevision(budget.content.meta.resource_version);
        let write = Write::Put(Some(budget.object), charged);
        Ok(Some((compare, write, Kind::PodDisruptionBudget)))
    }
}
