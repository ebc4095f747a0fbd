//! `PodSecurity`: the levels `privileged`, `baseline` and `restricted` that a namespace's labels
//! ask for; `enforce` refuses pods, `warn` and `audit` only say so (for workloads' templates, too).
//! Source: `staging/src/k8s.io/pod-security-admission`, `policy/check_*.go`. Windows, `AppArmor`
//! annotations of old and pinned policy versions are not modelled: the latest policy is used.

use crate::api::LabelSet;
use crate::api::pod::PodSpec;
use crate::engine::Sym;
use serde_json::Value;

/// A level of the standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) enum Level {
    /// Everything is allowed.
    #[default]
    Privileged,
    /// No known privilege escalations.
    Baseline,
    /// Hardened.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Self {
        match text {
            "baseline" => Self::Baseline,
            "restricted" => Self::Restricted,
            _privileged => Self::Privileged,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// What a namespace asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Levels {
    /// Refuse.
    pub(super) enforce: Level,
    /// Warn the user.
    pub(super) warn: Level,
    /// Note in the audit log.
    pub(super) audit: Level,
}

impl Levels {
    /// Out of the labels of a namespace.
    pub(super) fn of(labels: LabelSet) -> Self {
        let mut levels = Self::default();
        for (key, value) in labels.pairs() {
            let Some(mode) = key.as_str().strip_prefix("pod-security.kubernetes.io/") else {
                continue;
            };
            let level = Level::parse(value.as_str());
            match mode {
                "enforce" => levels.enforce = level,
                "warn" => levels.warn = level,
                "audit" => levels.audit = level,
                _version => {}
            }
        }
        levels
    }
}

/// A container by name, with its part of the document.
struct Part<'a> {
    name: &'a str,
    doc: &'a Value,
}

/// A pod as the checks see it.
struct Seen<'a> {
    spec: &'a PodSpec,
    doc: &'a Value,
    parts: Vec<Part<'a>>,
}

const NOTHING: Value = Value::Null;

impl<'a> Seen<'a> {
    fn new(spec: &'a PodSpec) -> Self {
        let doc = spec.doc.as_deref().unwrap_or(&NOTHING);
        let mut parts = Vec::new();
        for (key, list) in
            [("initContainers", &spec.init_containers), ("containers", &spec.containers)]
        {
            let docs =
                doc.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for (i, container) in list.iter().enumerate() {
                let doc = docs.get(i).unwrap_or(&NOTHING);
                parts.push(Part { name: container.name.as_str(), doc });
            }
        }
        Self { spec, doc, parts }
    }

    /// Names of the containers of which something holds.
    fn which(&self, holds: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.parts.iter().filter(|p| holds(p.doc)).map(|p| p.name).collect()
    }

    fn context(&self, key: &str) -> Option<&Value> {
        self.doc.get("securityContext")?.get(key)
    }
}

fn own<'a>(container: &'a Value, key: &str) -> Option<&'a Value> {
    container.get("securityContext")?.get(key)
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")
}

fn containers(names: &[&str]) -> String {
    let s = if names.len() == 1 { "" } else { "s" };
    format!("container{s} {}", quoted(names.iter().copied()))
}

/// One finding: what, and where.
type Finding = Option<(&'static str, String)>;
type Check = fn(&Seen<'_>) -> Finding;

/// Checks of level baseline that restricted keeps as they are, in order of their ids; with those
/// that restricted has its own form of (true).
const BASELINE: [(Check, bool); 9] = [
    (capabilities_baseline, true),
    (host_namespaces, false),
    (host_path, true),
    (host_ports, false),
    (privileged, false),
    (proc_mount, false),
    (selinux, false),
    (seccomp_baseline, true),
    (sysctls, false),
];

const RESTRICTED: [Check; 6] = [
    escalation,
    capabilities_restricted,
    volume_types,
    run_as_non_root,
    run_as_user,
    seccomp_restricted,
];

/// What a pod of this spec breaks at a level: `NAME:latest": finding (where), …`, or none.
pub(super) fn violations(level: Level, spec: &PodSpec) -> Option<String> {
    if level == Level::Privileged {
        return None;
    }
    let seen = Seen::new(spec);
    let restricted = level == Level::Restricted;
    let baseline = BASELINE.iter().filter(|(_, replaced)| !restricted || !replaced).map(|(c, _)| c);
    let more: &[Check] = if restricted { &RESTRICTED } else { &[] };
    let found: Vec<String> = baseline
        .chain(more)
        .filter_map(|check| check(&seen))
        .map(|(what, place)| format!("{what} ({place})"))
        .collect();
    if found.is_empty() {
        return None;
    }
    Some(format!("PodSecurity \"{}:latest\": {}", level.as_str(), found.join(", ")))
}

const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Capabilities that containers add beyond a list, with those containers.
fn added<'a>(seen: &Seen<'a>, allowed: &[&str]) -> (Vec<&'a str>, Vec<String>) {
    let mut extra = std::collections::BTreeSet::new();
    let names = seen.which(|c| {
        let list = own(c, "capabilities").and_then(|c| c.get("add"));
        let bad: Vec<&str> = texts(list).filter(|cap| !allowed.contains(cap)).collect();
        !bad.is_empty()
    });
    for part in &seen.parts {
        let list = own(part.doc, "capabilities").and_then(|c| c.get("add"));
        extra.extend(texts(list).filter(|cap| !allowed.contains(cap)).map(str::to_owned));
    }
    (names, extra.into_iter().collect())
}

fn capabilities_baseline(seen: &Seen<'_>) -> Finding {
    let (names, extra) = added(seen, &DEFAULT_CAPABILITIES);
    (!names.is_empty()).then(|| {
        let list = quoted(extra.iter().map(String::as_str));
        let which = containers(&names);
        (
            "non-default capabilities",
            format!("{which} must not include {list} in securityContext.capabilities.add"),
        )
    })
}

fn capabilities_restricted(seen: &Seen<'_>) -> Finding {
    let kept = seen.which(|c| {
        let list = own(c, "capabilities").and_then(|c| c.get("drop"));
        !texts(list).any(|cap| cap == "ALL")
    });
    let (adding, extra) = added(seen, &["NET_BIND_SERVICE"]);
    let mut places = Vec::new();
    if !kept.is_empty() {
        let which = containers(&kept);
        places.push(format!("{which} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !adding.is_empty() {
        let (which, list) = (containers(&adding), quoted(extra.iter().map(String::as_str)));
        places.push(format!("{which} must not include {list} in securityContext.capabilities.add"));
    }
    (!places.is_empty()).then(|| ("unrestricted capabilities", places.join("; ")))
}

fn host_namespaces(seen: &Seen<'_>) -> Finding {
    let set = |key: &str| seen.doc.get(key).and_then(Value::as_bool).unwrap_or(false);
    let all = [
        ("hostNetwork", seen.spec.host_network || set("hostNetwork")),
        ("hostPID", set("hostPID")),
        ("hostIPC", set("hostIPC")),
    ];
    let on: Vec<String> =
        all.iter().filter(|(_, on)| *on).map(|(key, _)| format!("{key}=true")).collect();
    (!on.is_empty()).then(|| ("host namespaces", on.join(", ")))
}

/// Volumes of the document: name and the key of the source.
fn volumes<'a>(seen: &Seen<'a>) -> Vec<(&'a str, &'a str)> {
    let list = seen.doc.get("volumes").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|v| {
        let source = v.as_object()?.keys().find(|k| *k != "name")?;
        Some((v.get("name")?.as_str()?, source.as_str()))
    })
    .collect()
}

fn host_path(seen: &Seen<'_>) -> Finding {
    let bad: Vec<&str> =
        volumes(seen).iter().filter(|(_, source)| *source == "hostPath").map(|(n, _)| *n).collect();
    let s = if bad.len() == 1 { "" } else { "s" };
    (!bad.is_empty()).then(|| ("hostPath volumes", format!("volume{s} {}", quoted(bad))))
}

fn host_ports(seen: &Seen<'_>) -> Finding {
    let all = seen.spec.init_containers.iter().chain(&seen.spec.containers);
    let (mut names, mut ports) = (Vec::new(), std::collections::BTreeSet::new());
    for container in all {
        let mut own = container.ports.iter().map(|p| p.host_port).filter(|p| *p != 0).peekable();
        if own.peek().is_some() {
            names.push(container.name.as_str());
        }
        ports.extend(own);
    }
    (!names.is_empty()).then(|| {
        let list: Vec<String> = ports.iter().map(u16::to_string).collect();
        let (uses, s) =
            (if names.len() == 1 { "uses" } else { "use" }, if list.len() == 1 { "" } else { "s" });
        ("hostPort", format!("{} {uses} hostPort{s} {}", containers(&names), list.join(", ")))
    })
}

fn privileged(seen: &Seen<'_>) -> Finding {
    let bad = seen.which(|c| own(c, "privileged").and_then(Value::as_bool) == Some(true));
    (!bad.is_empty()).then(|| {
        ("privileged", format!("{} must not set securityContext.privileged=true", containers(&bad)))
    })
}

fn proc_mount(seen: &Seen<'_>) -> Finding {
    let odd =
        |c: &Value| own(c, "procMount").and_then(Value::as_str).is_some_and(|m| m != "Default");
    let bad = seen.which(odd);
    (!bad.is_empty()).then(|| {
        let list: Vec<&str> = seen
            .parts
            .iter()
            .filter(|p| odd(p.doc))
            .filter_map(|p| own(p.doc, "procMount").and_then(Value::as_str))
            .collect();
        let which = containers(&bad);
        ("procMount", format!("{which} must not set securityContext.procMount to {}", quoted(list)))
    })
}

fn selinux(seen: &Seen<'_>) -> Finding {
    const TYPES: [&str; 5] =
        ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    let odd = |options: Option<&Value>| {
        let text = |key: &str| {
            options.and_then(|o| o.get(key)).and_then(Value::as_str).unwrap_or_default()
        };
        !TYPES.contains(&text("type")) || !text("user").is_empty() || !text("role").is_empty()
    };
    let mut places = Vec::new();
    if odd(seen.context("seLinuxOptions")) {
        places.push("pod".to_owned());
    }
    let bad = seen.which(|c| odd(own(c, "seLinuxOptions")));
    if !bad.is_empty() {
        places.push(containers(&bad));
    }
    (!places.is_empty()).then(|| {
        (
            "seLinuxOptions",
            format!("{} set forbidden securityContext.seLinuxOptions", places.join(" and ")),
        )
    })
}

fn profile(of: Option<&Value>) -> Option<&str> {
    of?.get("type")?.as_str()
}

fn seccomp_baseline(seen: &Seen<'_>) -> Finding {
    let mut places = Vec::new();
    if profile(seen.context("seccompProfile")) == Some("Unconfined") {
        places.push("pod".to_owned());
    }
    let bad = seen.which(|c| profile(own(c, "seccompProfile")) == Some("Unconfined"));
    if !bad.is_empty() {
        places.push(containers(&bad));
    }
    (!places.is_empty()).then(|| {
        let text = "must not set securityContext.seccompProfile.type to \"Unconfined\"";
        ("seccompProfile", format!("{} {text}", places.join(" and ")))
    })
}

fn sysctls(seen: &Seen<'_>) -> Finding {
    const SAFE: [&str; 10] = [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_syncookies",
    ];
    let list = seen.context("sysctls").and_then(Value::as_array).into_iter().flatten();
    let bad: Vec<&str> = list
        .filter_map(|s| s.get("name").and_then(Value::as_str))
        .filter(|name| !SAFE.contains(name))
        .collect();
    (!bad.is_empty()).then(|| ("forbidden sysctls", bad.join(", ")))
}

fn escalation(seen: &Seen<'_>) -> Finding {
    let bad =
        seen.which(|c| own(c, "allowPrivilegeEscalation").and_then(Value::as_bool) != Some(false));
    (!bad.is_empty()).then(|| {
        let which = containers(&bad);
        (
            "allowPrivilegeEscalation != false",
            format!("{which} must set securityContext.allowPrivilegeEscalation=false"),
        )
    })
}

fn volume_types(seen: &Seen<'_>) -> Finding {
    const ALLOWED: [&str; 8] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let all = volumes(seen);
    let bad: Vec<_> = all.iter().filter(|(_, source)| !ALLOWED.contains(source)).collect();
    let types: std::collections::BTreeSet<&str> = bad.iter().map(|(_, source)| *source).collect();
    (!bad.is_empty()).then(|| {
        let (s, uses) = if bad.len() == 1 { ("", "uses") } else { ("s", "use") };
        let t = if types.len() == 1 { "" } else { "s" };
        let (names, types) = (quoted(bad.iter().map(|(n, _)| *n)), quoted(types));
        (
            "restricted volume types",
            format!("volume{s} {names} {uses} restricted volume type{t} {types}"),
        )
    })
}

fn run_as_non_root(seen: &Seen<'_>) -> Finding {
    let of_pod = seen.context("runAsNonRoot").and_then(Value::as_bool);
    let set = |c: &Value| own(c, "runAsNonRoot").and_then(Value::as_bool);
    let denied = seen.which(|c| set(c) == Some(false));
    let silent = seen.which(|c| set(c).is_none());
    let mut places = Vec::new();
    if of_pod == Some(false) {
        places.push("pod must not set securityContext.runAsNonRoot=false".to_owned());
    }
    if !denied.is_empty() {
        let which = containers(&denied);
        places.push(format!("{which} must not set securityContext.runAsNonRoot=false"));
    }
    if places.is_empty() && of_pod.is_none() && !silent.is_empty() {
        let which = containers(&silent);
        places.push(format!("pod or {which} must set securityContext.runAsNonRoot=true"));
    }
    (!places.is_empty()).then(|| ("runAsNonRoot != true", places.join("; ")))
}

fn run_as_user(seen: &Seen<'_>) -> Finding {
    let zero = |v: Option<&Value>| v.and_then(Value::as_i64) == Some(0);
    let mut places = Vec::new();
    if zero(seen.context("runAsUser")) {
        places.push("pod".to_owned());
    }
    let bad = seen.which(|c| zero(own(c, "runAsUser")));
    if !bad.is_empty() {
        places.push(containers(&bad));
    }
    (!places.is_empty())
        .then(|| ("runAsUser=0", format!("{} must not set runAsUser=0", places.join(" and "))))
}

fn seccomp_restricted(seen: &Seen<'_>) -> Finding {
    let good = |p: Option<&str>| p.is_some_and(|p| p == "RuntimeDefault" || p == "Localhost");
    let of_pod = profile(seen.context("seccompProfile"));
    let odd = seen.which(|c| {
        let own = profile(own(c, "seccompProfile"));
        own.is_some() && !good(own)
    });
    let silent = seen.which(|c| profile(own(c, "seccompProfile")).is_none());
    let mut places = Vec::new();
    if of_pod.is_some() && !good(of_pod) {
        places.push("pod".to_owned());
    }
    if !odd.is_empty() {
        places.push(containers(&odd));
    }
    if !places.is_empty() {
        let text = "must not set securityContext.seccompProfile.type to \"Unconfined\"";
        return Some(("seccompProfile", format!("{} {text}", places.join(" and "))));
    }
    (of_pod.is_none() && !silent.is_empty()).then(|| {
        let which = containers(&silent);
        let text =
            "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
        ("seccompProfile", format!("pod or {which} {text}"))
    })
}

/// The refusal of a pod.
pub(super) fn refusal(what: &str) -> Sym {
    Sym::new(&format!("violates {what}"))
}

/// The warning about a pod or a template.
pub(super) fn warning(what: &str) -> Sym {
    Sym::new(&format!("would violate {what}"))
}
