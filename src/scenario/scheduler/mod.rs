//! `KubeSchedulerConfiguration` files to the scheduler's own configuration: strictly, with
//! kube-scheduler's rules and words (source: `sched/apis/config/validation/validation.go`).

mod args;
mod file;
mod plugins;

use super::error::{InputError, InputErrors};
use super::lines::Wanted;
use super::path::{At, Problem, Problems};
use super::place::Place;
use super::report::Report;
use super::{source, typed};
use crate::control_plane::scheduler::config::{ProfileConfig, SchedulerConfig};
use crate::engine::{SimDuration, Sym};
use file::{ClientConnection, Configuration, LeaderElection, PluginConfig, Profile};
use serde_json::Value;
use std::collections::BTreeSet;

const GROUP: &str = "kubescheduler.config.k8s.io";
const KIND: &str = "KubeSchedulerConfiguration";

/// A configuration that was read, and what is worth saying about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchedulerFile {
    /// The configuration.
    pub(crate) config: SchedulerConfig,
    /// `percentageOfNodesToScore` of the whole; profiles may have their own.
    pub(crate) percentage: Option<u32>,
    /// `clientConnection.qps`, if given.
    pub(crate) qps: Option<f64>,
    /// `clientConnection.burst`, if given.
    pub(crate) burst: Option<u32>,
    /// Accepted, but without any effect here.
    pub(crate) not_modelled: BTreeSet<String>,
}

/// What was found on the way through a configuration.
#[derive(Debug, Default)]
struct Pass {
    problems: Problems,
    warnings: Problems,
    not_modelled: BTreeSet<String>,
}

impl Pass {
    fn not_modelled(&mut self, field: impl Into<String>) {
        self.not_modelled.insert(field.into());
    }
}

/// Reads a configuration out of JSON.
///
/// # Errors
/// Everything that is wrong with it; without file and lines.
pub fn scheduler_config_from_json(value: &Value) -> Result<SchedulerConfig, InputErrors> {
    let mut pass = Pass::default();
    let read = configuration(value, &mut pass);
    if pass.problems.0.is_empty() {
        return Ok(read.config);
    }
    let said = |p: &Problem| {
        InputError::new("", &p.problem).field(p.path.to_string()).hint(p.hint.clone())
    };
    Err(pass.problems.0.iter().map(said).collect())
}

/// Reads a configuration file; warnings go to the report.
pub(crate) fn read_file(
    label: &str,
    text: &str,
    report: &mut Report,
) -> Result<SchedulerFile, InputErrors> {
    let (documents, mut errors) = source::documents(label, text);
    let mut documents = documents.into_iter();
    let Some(document) = documents.next() else {
        if errors.is_empty() {
            let hint = format!("write apiVersion: {GROUP}/v1 and kind: {KIND}");
            errors.push(InputError::new(label, "is empty").at(1).hint(hint));
        }
        return Err(errors);
    };
    let mut pass = Pass::default();
    let read = configuration(&document.value, &mut pass);
    let all = pass.problems.0.iter().chain(&pass.warnings.0);
    let lines = Wanted::find(document.text, document.first_line, all.map(|p| p.path.0.as_slice()));
    let start = document.first_line + usize::from(document.text.starts_with('\n'));
    let placed = |p: &Problem| {
        let line = lines.line(&p.path.0).unwrap_or(start);
        InputError::new(label, &p.problem).at(line).field(p.path.to_string()).hint(p.hint.clone())
    };
    report.warnings_elsewhere.extend(pass.warnings.0.iter().map(placed));
    errors.extend(pass.problems.0.iter().map(placed));
    if let Some(second) = documents.next() {
        let error = InputError::new(label, "holds more than one document");
        let hint = "kube-scheduler reads one; keep each configuration in a file of its own";
        errors.push(error.at(second.first_line).hint(hint));
    }
    errors.sort_by_key(|e| e.line);
    if errors.is_empty() { Ok(read) } else { Err(errors) }
}

/// Reads a configuration that stands in the scenario; all findings go to the report.
pub(crate) fn read_inline(value: &Value, place: &Place, report: &mut Report) -> SchedulerFile {
    let mut pass = Pass::default();
    let read = configuration(value, &mut pass);
    let below = |p: &Problem| Place(place.0.iter().chain(&p.path.0).cloned().collect());
    for problem in &pass.problems.0 {
        report.error(&below(problem), &problem.problem, &problem.hint);
    }
    for warning in &pass.warnings.0 {
        report.warn(&below(warning), &warning.problem, &warning.hint);
    }
    read
}

fn configuration(value: &Value, pass: &mut Pass) -> SchedulerFile {
    let root = At::ROOT;
    if !value.is_object() {
        pass.problems.push(&root, format!("is no {KIND}"));
        return SchedulerFile::default();
    }
    if !header(value, pass) {
        names_in_old(value, pass);
        return SchedulerFile::default();
    }
    let read = typed::read::<Configuration>(value);
    pass.problems.0.extend(read.errors.into_iter().chain(read.unknown));
    let Some(from) = read.value else { return SchedulerFile::default() };
    let mut out = SchedulerFile {
        percentage: percentage(from.percentage_of_nodes_to_score, &root, pass),
        ..SchedulerFile::default()
    };
    general(&from, &mut out, pass);
    let list = root.key("profiles");
    if !from.profiles.is_empty() {
        out.config.profiles = Vec::with_capacity(from.profiles.len());
    }
    for (i, given) in from.profiles.iter().enumerate() {
        let mut made = profile(given, &list.index(i), pass);
        made.percentage = made.percentage.or(out.percentage);
        let same = |p: &ProfileConfig| p.scheduler_name == made.scheduler_name;
        if out.config.profiles.iter().any(same) {
            let here = list.index(i);
            pass.problems.duplicate(&here.key("schedulerName"), made.scheduler_name.as_str());
        }
        out.config.profiles.push(made);
    }
    if from.profiles.is_empty() {
        out.config.profiles[0].percentage = out.percentage;
    }
    for (i, extender) in from.extenders.iter().enumerate() {
        let url = extender.get("urlPrefix").and_then(Value::as_str).unwrap_or("without urlPrefix");
        pass.problems.push_hint(
            &root.key("extenders").index(i),
            format!("the HTTP extender {url:?} cannot be asked: extenders are not modelled"),
            "leave it out, or write it as a plugin (ARCHITECTURE.md, How to add a scheduler plugin)",
        );
    }
    out.not_modelled = std::mem::take(&mut pass.not_modelled);
    out
}

/// True if the document is a configuration that can be read as v1.
fn header(value: &Value, pass: &mut Pass) -> bool {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let root = At::ROOT;
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind != KIND {
        let problem = if kind.is_empty() { "is missing".into() } else { format!("is {kind:?}") };
        pass.problems.push_hint(&root.key("kind"), problem, format!("write kind: {KIND}"));
        return false;
    }
    let at = root.key("apiVersion");
    let reason = match version.strip_prefix(GROUP).and_then(|v| v.strip_prefix('/')) {
        Some("v1") => return true,
        Some("v1beta3") => {
            let said = "v1beta3 is not served since Kubernetes 1.29: it is read as v1, which has the same fields, defaults and weights";
            pass.warnings.push_hint(&at, said, format!("write apiVersion: {GROUP}/v1"));
            return true;
        }
        Some("v1beta2") => {
            "v1beta2 (removed in Kubernetes 1.28) weighs the default plugins otherwise than v1 (TaintToleration, NodeAffinity and InterPodAffinity 1 instead of 3, 2 and 2), so its results would differ"
        }
        Some("v1beta1") => {
            "v1beta1 is older than any supported Kubernetes version, and its default plugins (NodeResourcesLeastAllocated, SelectorSpread, NodePreferAvoidPods and others) exist no more"
        }
        Some(old) if old.starts_with("v1alpha") => {
            "v1alpha1 and v1alpha2 are older than any supported Kubernetes version and have another form (one profile, or none, and algorithm sources)"
        }
        Some(_) | None => "there is no such version of KubeSchedulerConfiguration",
    };
    let problem = format!("Unsupported value: {version:?}: {reason}");
    let hint = format!("write it anew as apiVersion: {GROUP}/v1, with weights where they matter");
    pass.problems.push_hint(&at, problem, hint);
    false
}

/// Names out-of-tree plugins of a configuration that cannot be read.
fn names_in_old(value: &Value, pass: &mut Pass) {
    let list = |v: &Value, key: &str| v.get(key).and_then(Value::as_array).cloned();
    let mut said: BTreeSet<String> = BTreeSet::new();
    let top = At::ROOT.key("profiles");
    for (i, profile) in list(value, "profiles").unwrap_or_default().iter().enumerate() {
        let here = top.index(i);
        let here = here.key("plugins");
        let sets = profile.get("plugins").and_then(Value::as_object);
        for (point, set) in sets.into_iter().flatten() {
            for (j, plugin) in list(set, "enabled").unwrap_or_default().iter().enumerate() {
                let name = plugin.get("name").and_then(Value::as_str).unwrap_or_default();
                if said.insert(name.to_owned()) {
                    let at = here.key(point);
                    let at = at.key("enabled");
                    plugins::known(name, &at.index(j).key("name"), &mut pass.problems);
                }
            }
        }
    }
}

fn percentage(given: Option<i32>, at: &At<'_>, pass: &mut Pass) -> Option<u32> {
    let percent = given?;
    if !(0..=100).contains(&percent) {
        let at = at.key("percentageOfNodesToScore");
        pass.problems.invalid(&at, percent, "not in valid range [0-100]");
    }
    u32::try_from(percent).ok()
}

/// Everything but the profiles.
fn general(from: &Configuration, out: &mut SchedulerFile, pass: &mut Pass) {
    debug_assert!(!from.api_version.is_empty() && !from.kind.is_empty(), "header() has looked");
    let root = At::ROOT;
    if let Some(n) = from.parallelism {
        if n <= 0 {
            let why = "should be an integer value greater than zero";
            pass.problems.invalid(&root.key("parallelism"), n, why);
        }
        pass.not_modelled("parallelism (Filter runs in the order of one worker)");
    }
    let (initial, max) =
        (from.pod_initial_backoff_seconds.unwrap_or(1), from.pod_max_backoff_seconds.unwrap_or(10));
    if initial <= 0 {
        let at = root.key("podInitialBackoffSeconds");
        pass.problems.invalid(&at, initial, "must be greater than 0");
    }
    if max < initial {
        let why = "must be greater than or equal to PodInitialBackoffSeconds";
        pass.problems.invalid(&root.key("podMaxBackoffSeconds"), max, why);
    }
    // A century is as good as for ever, and no clock overflows.
    let span = |s: i64| SimDuration::from_secs(s.unsigned_abs().min(100 * 366 * 86_400));
    (out.config.initial_backoff, out.config.max_backoff) = (span(initial), span(max));
    if let Some(client) = &from.client_connection {
        connection(client, out, pass);
    }
    if let Some(election) = &from.leader_election {
        leader_election(election, &root.key("leaderElection"), pass);
    }
    let flags = [
        ("enableProfiling", from.enable_profiling),
        ("enableContentionProfiling", from.enable_contention_profiling),
        ("delayCacheUntilActive", from.delay_cache_until_active),
    ];
    for (field, _) in flags.iter().filter(|(_, given)| given.is_some()) {
        pass.not_modelled(*field);
    }
}

fn connection(from: &ClientConnection, out: &mut SchedulerFile, pass: &mut Pass) {
    let at = At::ROOT.key("clientConnection");
    let texts = [
        ("kubeconfig", &from.kubeconfig),
        ("acceptContentTypes", &from.accept_content_types),
        ("contentType", &from.content_type),
    ];
    for (field, _) in texts.iter().filter(|(_, t)| t.as_ref().is_some_and(|t| !t.is_empty())) {
        pass.not_modelled(format!("clientConnection.{field}"));
    }
    if from.burst.is_some_and(|b| b < 0) {
        pass.problems.invalid(&at.key("burst"), from.burst.unwrap_or(0), "must be non-negative");
    }
    // 0 counts as left out; below 0 there is no limit.
    out.qps = from.qps.filter(|q| q.abs() > 0.0);
    out.burst = from.burst.and_then(|b| u32::try_from(b).ok()).filter(|b| *b > 0);
    out.config.qps = out.qps.unwrap_or(out.config.qps);
    out.config.burst = out.burst.unwrap_or(out.config.burst);
}

/// There is one scheduler, so nothing is elected; the section is checked all the same.
fn leader_election(from: &LeaderElection, at: &At<'_>, pass: &mut Pass) {
    if !from.leader_elect.unwrap_or(true) {
        return;
    }
    pass.not_modelled("leaderElection (there is one scheduler)");
    let mut span = |field: &str, given: &Option<String>, default: u64| {
        let parsed = given.as_deref().map(SimDuration::parse);
        match parsed {
            None => SimDuration::from_secs(default),
            Some(Ok(span)) => {
                if span == SimDuration::ZERO {
                    pass.problems.invalid(&at.key(field), "0s", "must be greater than zero");
                }
                span
            }
            Some(Err(problem)) => {
                let text = given.as_deref().unwrap_or_default();
                pass.problems.invalid(&at.key(field), text, &problem);
                SimDuration::from_secs(default)
            }
        }
    };
    let lease = span("leaseDuration", &from.lease_duration, 15);
    let renew = span("renewDeadline", &from.renew_deadline, 10);
    let retry = span("retryPeriod", &from.retry_period, 2);
    if lease < renew {
        let (at, text) = (at.key("leaseDuration"), from.lease_duration.clone());
        pass.problems.invalid(
            &at,
            text.unwrap_or_default(),
            "LeaseDuration must be greater than RenewDeadline",
        );
    }
    if renew < retry {
        let (at, text) = (at.key("renewDeadline"), from.renew_deadline.clone());
        pass.problems.invalid(
            &at,
            text.unwrap_or_default(),
            "RenewDeadline must be greater than RetryPeriod",
        );
    }
    let lock = from.resource_lock.as_deref().unwrap_or("leases");
    if lock != "leases" {
        let why = "resourceLock value must be \"leases\"";
        pass.problems.invalid(&at.key("resourceLock"), lock, why);
    }
    for (field, given) in
        [("resourceName", &from.resource_name), ("resourceNamespace", &from.resource_namespace)]
    {
        if given.as_deref() == Some("") {
            pass.problems.required(&at.key(field), "");
        }
    }
}

fn profile(from: &Profile, at: &At<'_>, pass: &mut Pass) -> ProfileConfig {
    let mut out = ProfileConfig::default();
    if let Some(name) = from.scheduler_name.as_deref().filter(|n| !n.is_empty()) {
        out.scheduler_name = Sym::new(name);
    }
    out.percentage = percentage(from.percentage_of_nodes_to_score, at, pass);
    if let Some(given) = &from.plugins {
        let (problems, warnings) = (&mut pass.problems, &mut pass.warnings);
        plugins::resolve(&mut out, given, &at.key("plugins"), problems, warnings);
    }
    let list = at.key("pluginConfig");
    for (i, config) in from.plugin_config.iter().enumerate() {
        let here = list.index(i);
        if from.plugin_config[..i].iter().any(|other| other.name == config.name) {
            pass.problems.duplicate(&here, &config.name);
        }
        let told = from.plugins.as_ref().is_some_and(|p| p.enables(&config.name));
        plugin_config(&mut out, config, &here, told, pass);
    }
    out
}

fn plugin_config(
    out: &mut ProfileConfig,
    config: &PluginConfig,
    at: &At<'_>,
    told: bool,
    pass: &mut Pass,
) {
    if plugins::row(&config.name).is_none() {
        // A plugin that was refused where it is enabled is not refused again.
        if !told {
            plugins::known(&config.name, &at.key("name"), &mut pass.problems);
        }
        return;
    }
    let empty = Value::Object(serde_json::Map::new());
    let args = config.args.as_ref().unwrap_or(&empty);
    if !args::apply(&mut out.args, &config.name, args, &at.key("args"), pass) {
        let text = format!("{} takes no arguments: they have no effect", config.name);
        pass.warnings.push(&at.key("args"), text);
    }
    if out.plugins.iter().all(|p| p.name != config.name) {
        let text = format!("{} is not enabled in this profile", config.name);
        pass.warnings.push(&at.key("name"), text);
    }
}

#[cfg(test)]
mod tests;
