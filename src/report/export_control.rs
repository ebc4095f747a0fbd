//! Kinds that controllers act on beside the workloads, as kubectl prints them.

use super::export::{base, counts, selector, template, whole, with_spec};
use super::export_pod::{conditions, put, set_stamp};
use crate::api::autoscaling::HorizontalPodAutoscaler;
use crate::api::cronjob::CronJob;
use crate::api::pod::Protocol;
use crate::api::service::{Address, Endpoint, EndpointPort, EndpointSlice, Endpoints};
use crate::api::workload::{ControllerRevision, ReplicaSet};
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

fn ip(address: u32) -> String {
    std::net::Ipv4Addr::from(address).to_string()
}

fn protocol(p: Protocol) -> &'static str {
    match p {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

fn port(p: &EndpointPort) -> Value {
    json!({"name": p.name, "protocol": protocol(p.protocol), "port": p.port})
}

pub(super) fn replication_controller(o: &ReplicaSet) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    spec.insert("replicas".into(), o.replicas.into());
    let pairs = selector(&o.selector);
    spec.insert("selector".into(), pairs.get("matchLabels").cloned().unwrap_or_default());
    spec.insert("template".into(), template(&o.template));
    let s = &o.status;
    let mut status = counts(&[
        ("replicas", s.replicas.into()),
        ("fullyLabeledReplicas", s.fully_labeled.into()),
        ("readyReplicas", s.ready.into()),
        ("availableReplicas", s.available.into()),
        ("observedGeneration", s.observed_generation.into()),
    ]);
    put(&mut status, "conditions", conditions(&s.conditions, None));
    whole(doc, spec, status)
}

pub(super) fn cron_job(o: &CronJob) -> Object {
    let (doc, mut spec) = with_spec(&o.doc);
    spec.insert("schedule".into(), o.schedule.as_str().into());
    spec.insert("suspend".into(), o.suspend.into());
    let mut status = Object::new();
    let active: Vec<Value> = o
        .status
        .active
        .iter()
        .map(|(name, uid)| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": name,
                "namespace": o.meta.ns, "uid": uid.to_string()})
        })
        .collect();
    put(&mut status, "active", (!active.is_empty()).then_some(active));
    set_stamp(&mut status, "lastScheduleTime", o.status.last_schedule);
    set_stamp(&mut status, "lastSuccessfulTime", o.status.last_successful);
    whole(doc, spec, status)
}

pub(super) fn revision(o: &ControllerRevision) -> Object {
    let mut doc = base(o.doc.as_ref());
    doc.insert("revision".into(), o.revision.into());
    doc.insert("data".into(), json!({"spec": {"template": template(&o.template)}}));
    doc
}

pub(super) fn autoscaler(o: &HorizontalPodAutoscaler) -> Object {
    let (doc, spec) = with_spec(&o.doc);
    let s = &o.status;
    let mut status = Object::new();
    status.insert("currentReplicas".into(), s.current.into());
    status.insert("desiredReplicas".into(), s.desired.into());
    if s.observed_generation > 0 {
        status.insert("observedGeneration".into(), s.observed_generation.into());
    }
    set_stamp(&mut status, "lastScaleTime", s.last_scale);
    put(&mut status, "conditions", conditions(&s.conditions, None));
    whole(doc, spec, status)
}

pub(super) fn slice(o: &EndpointSlice) -> Object {
    let mut doc = base(o.doc.as_ref());
    doc.insert("addressType".into(), "IPv4".into());
    let ports: Vec<Value> = o.ports.iter().map(port).collect();
    doc.insert("ports".into(), ports.into());
    let endpoints: Vec<Value> = o.endpoints.iter().map(|e| endpoint(e, o)).collect();
    doc.insert("endpoints".into(), endpoints.into());
    doc
}

fn endpoint(e: &Endpoint, o: &EndpointSlice) -> Value {
    let mut out = Object::new();
    out.insert("addresses".into(), json!([ip(e.ip)]));
    let conditions = json!({"ready": e.ready, "serving": e.serving, "terminating": e.terminating});
    out.insert("conditions".into(), conditions);
    put(&mut out, "nodeName", (!e.node.is_empty()).then(|| e.node.as_str()));
    put(&mut out, "zone", (!e.zone.is_empty()).then(|| e.zone.as_str()));
    let mut hints = Object::new();
    let one = |name: &str| json!([{ "name": name }]);
    put(&mut hints, "forZones", (!e.hint_zone.is_empty()).then(|| one(e.hint_zone.as_str())));
    put(&mut hints, "forNodes", (!e.hint_node.is_empty()).then(|| one(e.hint_node.as_str())));
    put(&mut out, "hints", (!hints.is_empty()).then_some(hints));
    if !e.pod.is_empty() {
        let target = json!({"kind": "Pod", "namespace": o.meta.ns, "name": e.pod,
            "uid": e.uid.to_string()});
        out.insert("targetRef".into(), target);
    }
    out.into()
}

pub(super) fn endpoints(o: &Endpoints) -> Object {
    let mut doc = base(o.doc.as_ref());
    let address = |a: &Address| {
        json!({"ip": ip(a.ip), "nodeName": a.node, "targetRef": {"kind": "Pod",
            "namespace": o.meta.ns, "name": a.pod, "uid": a.uid.to_string()}})
    };
    let list = |addresses: &[Address]| -> Option<Vec<Value>> {
        (!addresses.is_empty()).then(|| addresses.iter().map(address).collect())
    };
    let subsets: Vec<Value> = o
        .subsets
        .iter()
        .map(|s| {
            let mut out = Object::new();
            put(&mut out, "addresses", list(&s.ready));
            put(&mut out, "notReadyAddresses", list(&s.not_ready));
            let ports: Vec<Value> = s.ports.iter().map(port).collect();
            out.insert("ports".into(), ports.into());
            out.into()
        })
        .collect();
    put(&mut doc, "subsets", (!subsets.is_empty()).then_some(subsets));
    doc
}
