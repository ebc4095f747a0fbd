//! Pods in a few words (`cpu`, `memory`, `image`) to pod templates, with the defaults the API
//! server gives a manifest.

use super::file::{PodShort, RestartName};
use super::place::Place;
use super::report::Report;
use super::value::{self, QUANTITY_HINT, Quantity, SPAN_HINT, Span, TAINT_HINT};
use crate::api::labels::LabelSet;
use crate::api::pod::{Behaviour, Container, PodSpec, PullPolicy, RestartPolicy, Toleration};
use crate::api::resources::Named;
use crate::api::workload::PodTemplate;
use crate::engine::Sym;
use std::sync::Arc;

/// The image of pods that name none.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// A spec with the API server's defaults and no container yet.
pub(crate) fn base_spec() -> PodSpec {
    PodSpec { scheduler_name: "default-scheduler".into(), grace_s: 30, ..PodSpec::default() }
}

/// A container with an image and defaults.
pub(crate) fn container(image: &str) -> Container {
    // An image without tag is `latest`, and that is asked for each time.
    let last = image.rsplit('/').next().unwrap_or(image);
    let latest = last.ends_with(":latest") || !last.contains([':', '@']);
    Container {
        name: "main".into(),
        image: image.into(),
        pull: if latest { PullPolicy::Always } else { PullPolicy::IfNotPresent },
        ..Container::default()
    }
}

/// The template of a short form. `ends` says whether its pods end by themselves.
pub(crate) fn template(
    short: &PodShort,
    ends: bool,
    at: &Place,
    report: &mut Report,
) -> PodTemplate {
    super::names::labels(&short.labels, &at.key("labels"), report);
    let mut main = container(short.image.as_deref().unwrap_or(PAUSE));
    requests(short, &mut main, at, report);
    let span = |field: &str, given: &Option<Span>, report: &mut Report| {
        given
            .as_ref()
            .and_then(|s| report.take(&at.key(field), value::span(&s.0), SPAN_HINT))
            .unwrap_or_default()
    };
    let behaviour = Behaviour {
        exit_after_ns: None,
        exit_code: short.exit_code,
        ready_after_ns: span("readyAfter", &short.ready_after, report).0,
        stop_after_ns: span("stopAfter", &short.stop_after, report).0,
        probing: None,
        work: None,
    };
    let pairs = |map: &std::collections::BTreeMap<String, String>| -> Vec<(Sym, Sym)> {
        map.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect()
    };
    let mut spec = PodSpec {
        containers: vec![main],
        node_selector: pairs(&short.node_selector),
        tolerations: tolerations(short, &at.key("tolerations"), report),
        priority_class: short.priority_class_name.as_deref().unwrap_or_default().into(),
        priority: short.priority.unwrap_or(0),
        restart: restart(short.restart_policy, ends),
        behaviour,
        ..base_spec()
    };
    if let Some(grace) = short.grace_period_seconds {
        spec.grace_s = grace;
    }
    spec.sum_requests();
    PodTemplate {
        labels: LabelSet::new(pairs(&short.labels)),
        annotations: None,
        spec: Arc::new(spec),
    }
}

fn restart(given: Option<RestartName>, ends: bool) -> RestartPolicy {
    match given {
        Some(RestartName::Always) => RestartPolicy::Always,
        Some(RestartName::OnFailure) => RestartPolicy::OnFailure,
        Some(RestartName::Never) => RestartPolicy::Never,
        None if ends => RestartPolicy::Never,
        None => RestartPolicy::Always,
    }
}

fn requests(short: &PodShort, main: &mut Container, at: &Place, report: &mut Report) {
    let mut read = |at: &Place, q: &Quantity| {
        report.take(at, value::amount(&q.0), QUANTITY_HINT).unwrap_or_default()
    };
    main.requests_named = Named { cpu: short.cpu.is_some(), memory: short.memory.is_some() };
    if let Some(q) = &short.cpu {
        main.requests.cpu_milli = read(&at.key("cpu"), q).milli_value();
    }
    if let Some(q) = &short.memory {
        main.requests.memory = read(&at.key("memory"), q).value();
    }
    for (name, q) in &short.resources {
        let amount = read(&at.key("resources").key(name), q).value();
        if name == "ephemeral-storage" {
            main.requests.ephemeral = amount;
        } else {
            main.requests.set_scalar(name.as_str().into(), amount);
            // Extended resources cannot be overcommitted: request and limit are equal.
            main.limits.set_scalar(name.as_str().into(), amount);
        }
    }
}

fn tolerations(short: &PodShort, at: &Place, report: &mut Report) -> Vec<Toleration> {
    let mut list = Vec::new();
    for (i, text) in short.tolerations.iter().enumerate() {
        let taint = super::pools::taint(&text.0);
        let Some(taint) = report.take(&at.item(i), taint, TAINT_HINT) else { continue };
        list.push(Toleration {
            key: taint.key,
            exists: taint.value.is_empty(),
            value: taint.value,
            effect: Some(taint.effect),
            seconds: None,
        });
    }
    list
}
