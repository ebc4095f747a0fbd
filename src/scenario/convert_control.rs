//! Kinds that controllers act on beside the workloads, to the compact form.

use super::convert::{conditions, meta, nat, quantity, stamp, sym, uid};
use super::path::{At, Problems, Seg};
use super::readers::Found;
use crate::api::autoscaling::{
    AutoscalerStatus, HorizontalPodAutoscaler, Metric, MetricSource, MetricTarget, ScalingPolicy,
    ScalingRules, SelectPolicy,
};
use crate::api::cronjob::{Concurrency, CronJob, CronJobStatus};
use crate::api::pod::Protocol;
use crate::api::service::{Address, Endpoint, EndpointPort, EndpointSlice, Endpoints, Subset};
use crate::api::{Kind, Name, Obj};
use crate::engine::{Sym, num};
use k8s_openapi::api::{
    autoscaling::{v1 as autoscaling_v1, v2 as autoscaling},
    batch::v1 as batch,
    core::v1 as core,
    discovery::v1 as discovery,
};
use serde_json::{Value, json};
use std::sync::Arc;

fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) | None => Protocol::Tcp,
    }
}

fn port(number: i32) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

fn address(text: &str) -> u32 {
    text.parse::<std::net::Ipv4Addr>().map_or(0, u32::from)
}

/// An `EndpointSlice`.
pub(crate) fn endpoint_slice(s: &discovery::EndpointSlice, doc: &Value) -> EndpointSlice {
    let one = |p: &discovery::EndpointPort| EndpointPort {
        name: sym(p.name.as_ref()),
        protocol: protocol(p.protocol.as_deref()),
        port: port(p.port.unwrap_or(0)),
    };
    let endpoint = |e: &discovery::Endpoint| {
        let conditions = e.conditions.clone().unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        let hint = |list: Option<&String>| sym(list);
        let hints = e.hints.clone().unwrap_or_default();
        let target = e.target_ref.clone().unwrap_or_default();
        Endpoint {
            ip: e.addresses.first().map_or(0, |a| address(a)),
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
            node: sym(e.node_name.as_ref()),
            zone: sym(e.zone.as_ref()),
            hint_zone: hint(hints.for_zones.iter().flatten().next().map(|z| &z.name)),
            hint_node: hint(hints.for_nodes.iter().flatten().next().map(|n| &n.name)),
            pod: target.name.as_deref().map(Name::new).unwrap_or_default(),
            uid: uid(target.uid.as_ref()),
        }
    };
    EndpointSlice {
        meta: meta(true, &s.metadata),
        ports: s.ports.iter().flatten().map(one).collect(),
        endpoints: s.endpoints.iter().map(endpoint).collect(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// Endpoints.
pub(crate) fn endpoints(e: &core::Endpoints, doc: &Value) -> Endpoints {
    let one = |p: &core::EndpointPort| EndpointPort {
        name: sym(p.name.as_ref()),
        protocol: protocol(p.protocol.as_deref()),
        port: port(p.port),
    };
    let place = |a: &core::EndpointAddress| {
        let target = a.target_ref.clone().unwrap_or_default();
        Address {
            ip: address(&a.ip),
            node: sym(a.node_name.as_ref()),
            pod: target.name.as_deref().map(Name::new).unwrap_or_default(),
            uid: uid(target.uid.as_ref()),
        }
    };
    let subset = |s: &core::EndpointSubset| Subset {
        ports: s.ports.iter().flatten().map(one).collect(),
        ready: s.addresses.iter().flatten().map(place).collect(),
        not_ready: s.not_ready_addresses.iter().flatten().map(place).collect(),
    };
    Endpoints {
        meta: meta(true, &e.metadata),
        subsets: e.subsets.iter().flatten().map(subset).collect(),
        doc: Some(Arc::new(doc.clone())),
    }
}

/// A CronJob; its template is read as a Job would be.
pub(crate) fn cron_job(c: &batch::CronJob, doc: &Value, found: &mut Found) -> CronJob {
    let spec = c.spec.clone().unwrap_or_default();
    let template = doc.pointer("/spec/jobTemplate").cloned().unwrap_or_default();
    let mut job = template;
    if let Some(job) = job.as_object_mut() {
        job.insert("apiVersion".into(), json!("batch/v1"));
        job.insert("kind".into(), json!("Job"));
        let named = job.entry("metadata").or_insert_with(|| json!({}));
        named["name"] = json!("template");
    }
    let mut below = Found::new(found.mode);
    let read = super::readers::read(Kind::Job, "batch/v1", &job, &mut below);
    let keys = ["spec", "jobTemplate"].map(|key| Seg::Key(key.to_owned()));
    found.below(&keys, below);
    let template = match read {
        Some(Obj::Job(job)) => job,
        Some(_) | None => Arc::default(),
    };
    CronJob {
        meta: meta(true, &c.metadata),
        schedule: Sym::new(&spec.schedule),
        time_zone: sym(spec.time_zone.as_ref()),
        concurrency: match spec.concurrency_policy.as_deref() {
            Some("Forbid") => Concurrency::Forbid,
            Some("Replace") => Concurrency::Replace,
            Some(_) | None => Concurrency::Allow,
        },
        suspend: spec.suspend.unwrap_or(false),
        starting_deadline_s: spec.starting_deadline_seconds.map(nat),
        successful_limit: nat(spec.successful_jobs_history_limit.unwrap_or(3)),
        failed_limit: nat(spec.failed_jobs_history_limit.unwrap_or(1)),
        template,
        status: c.status.as_ref().map(cron_job_status).unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

fn cron_job_status(s: &batch::CronJobStatus) -> CronJobStatus {
    let active = s.active.iter().flatten();
    CronJobStatus {
        active: active
            .map(|r| (r.name.as_deref().map(Name::new).unwrap_or_default(), uid(r.uid.as_ref())))
            .collect(),
        last_schedule: stamp(s.last_schedule_time.as_ref()),
        last_successful: stamp(s.last_successful_time.as_ref()),
    }
}

/// The kinds with a `/scale` that the model has.
fn scalable(api_version: Option<&str>, kind: &str, name: &str) -> Option<(Kind, Name)> {
    let group = api_version.and_then(|v| v.split_once('/')).map_or("", |(group, _)| group);
    let kind = Kind::find(group, kind)?;
    let known = matches!(
        kind,
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::ReplicationController
    );
    known.then(|| (kind, Name::new(name)))
}

/// A `HorizontalPodAutoscaler`, v2.
pub(crate) fn hpa(
    h: &autoscaling::HorizontalPodAutoscaler,
    doc: &Value,
    problems: &mut Problems,
) -> HorizontalPodAutoscaler {
    let spec = h.spec.clone().unwrap_or_default();
    let to = &spec.scale_target_ref;
    let at = At::ROOT.key("spec");
    let at = at.key("metrics");
    let given = spec.metrics.iter().flatten().enumerate();
    let mut metrics: Vec<Metric> =
        given.filter_map(|(i, m)| metric(m, &at.index(i), problems)).collect();
    if spec.metrics.is_none() {
        metrics.push(cpu(80));
    }
    let behavior = spec.behavior.as_ref();
    let up = behavior.map(|b| rules(b.scale_up.as_ref(), true));
    let down = behavior.map(|b| rules(b.scale_down.as_ref(), false));
    HorizontalPodAutoscaler {
        meta: meta(true, &h.metadata),
        target: scalable(to.api_version.as_deref(), &to.kind, &to.name),
        min: spec.min_replicas.unwrap_or(1),
        max: spec.max_replicas,
        metrics: metrics.into(),
        up,
        down,
        status: h.status.as_ref().map(hpa_status).unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

fn hpa_status(s: &autoscaling::HorizontalPodAutoscalerStatus) -> AutoscalerStatus {
    AutoscalerStatus {
        observed_generation: nat(s.observed_generation.unwrap_or(0)),
        last_scale: stamp(s.last_scale_time.as_ref()),
        current: s.current_replicas.unwrap_or(0),
        desired: s.desired_replicas,
        metrics: Vec::new(),
        conditions: conditions!(&s.conditions),
    }
}

/// A `HorizontalPodAutoscaler`, v1: cpu alone.
pub(crate) fn hpa_v1(
    h: &autoscaling_v1::HorizontalPodAutoscaler,
    doc: &Value,
) -> HorizontalPodAutoscaler {
    let spec = h.spec.clone().unwrap_or_default();
    let to = &spec.scale_target_ref;
    let status = h.status.as_ref().map(|s| AutoscalerStatus {
        observed_generation: nat(s.observed_generation.unwrap_or(0)),
        last_scale: stamp(s.last_scale_time.as_ref()),
        current: s.current_replicas,
        desired: s.desired_replicas,
        ..AutoscalerStatus::default()
    });
    HorizontalPodAutoscaler {
        meta: meta(true, &h.metadata),
        target: scalable(to.api_version.as_deref(), &to.kind, &to.name),
        min: spec.min_replicas.unwrap_or(1),
        max: spec.max_replicas,
        metrics: [cpu(spec.target_cpu_utilization_percentage.unwrap_or(80))].into(),
        up: None,
        down: None,
        status: status.unwrap_or_default(),
        doc: Some(Arc::new(doc.clone())),
    }
}

fn cpu(percent: i32) -> Metric {
    Metric {
        source: MetricSource::Resource("cpu".into(), None),
        target: MetricTarget::Utilization(percent),
    }
}

fn metric(m: &autoscaling::MetricSpec, at: &At<'_>, problems: &mut Problems) -> Option<Metric> {
    let (source, to) = if let Some(r) = &m.resource {
        (MetricSource::Resource(Sym::new(&r.name), None), &r.target)
    } else if let Some(r) = &m.container_resource {
        let container = Some(Sym::new(&r.container));
        (MetricSource::Resource(Sym::new(&r.name), container), &r.target)
    } else if let Some(p) = &m.pods {
        (MetricSource::Pods(Sym::new(&p.metric.name)), &p.target)
    } else if let Some(o) = &m.object {
        (MetricSource::Object(Sym::new(&o.metric.name)), &o.target)
    } else if let Some(e) = &m.external {
        (MetricSource::External(Sym::new(&e.metric.name)), &e.target)
    } else {
        problems.push(at, format!("Required value: must populate information for {}", m.type_));
        return None;
    };
    let at = at.key("target");
    let mut milli = |text: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| {
        quantity(text, &at, problems).milli_value()
    };
    let target = if let Some(percent) = to.average_utilization {
        MetricTarget::Utilization(percent)
    } else if let Some(text) = &to.average_value {
        MetricTarget::AverageValue(milli(text))
    } else {
        MetricTarget::Value(to.value.as_ref().map_or(0, &mut milli))
    };
    Some(Metric { source, target })
}

/// Source: `apis/autoscaling/v2/defaults.go` `GenerateHPAScaleUpRules`, `…DownRules`.
fn rules(given: Option<&autoscaling::HPAScalingRules>, up: bool) -> ScalingRules {
    let whole = ScalingPolicy { percent: true, value: 100, period_s: 15 };
    let four = ScalingPolicy { percent: false, value: 4, period_s: 15 };
    let default: &[ScalingPolicy] = if up { &[four, whole] } else { &[whole] };
    let policy = |p: &autoscaling::HPAScalingPolicy| ScalingPolicy {
        percent: p.type_ == "Percent",
        value: p.value,
        period_s: nat(p.period_seconds),
    };
    let listed = given.and_then(|g| g.policies.as_ref());
    let select = match given.and_then(|g| g.select_policy.as_deref()) {
        Some("Min") => SelectPolicy::Min,
        Some("Disabled") => SelectPolicy::Disabled,
        Some(_) | None => SelectPolicy::Max,
    };
    let tolerance = given.and_then(|g| g.tolerance.as_ref()).and_then(|text| {
        let nano = crate::api::quantity::Quantity::parse(&text.0).ok()?;
        Some(num::float(nano.milli_value()) / 1000.0)
    });
    ScalingRules {
        window_s: given
            .and_then(|g| g.stabilization_window_seconds)
            .map_or(if up { 0 } else { 300 }, nat),
        select,
        policies: listed.map_or_else(|| default.into(), |l| l.iter().map(policy).collect()),
        tolerance,
    }
}
