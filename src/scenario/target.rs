//! Objects as kubectl names them: `deployment/web`, `pod/NAMESPACE/NAME`, `node/NAME`.

use super::place::{Place, suggest};
use super::report::Report;
use crate::api::kind::KINDS;
use crate::api::{Kind, Name};
use crate::engine::Sym;

/// Way out of a bad target.
pub(crate) const HINT: &str = "write KIND/NAME or KIND/NAMESPACE/NAME, such as deployment/web";

/// kubectl's short names of the kinds one is likely to name (source: each kind's `ShortNames()`).
const SHORT: [(&str, Kind); 14] = [
    ("po", Kind::Pod),
    ("no", Kind::Node),
    ("ns", Kind::Namespace),
    ("deploy", Kind::Deployment),
    ("rs", Kind::ReplicaSet),
    ("sts", Kind::StatefulSet),
    ("ds", Kind::DaemonSet),
    ("rc", Kind::ReplicationController),
    ("cj", Kind::CronJob),
    ("svc", Kind::Service),
    ("cm", Kind::ConfigMap),
    ("pvc", Kind::PersistentVolumeClaim),
    ("pdb", Kind::PodDisruptionBudget),
    ("pc", Kind::PriorityClass),
];

/// An object by kind, namespace and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Kind.
    pub(crate) kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub(crate) ns: Sym,
    /// Name.
    pub(crate) name: Name,
}

impl Target {
    /// Reads `KIND/NAME` or `KIND/NAMESPACE/NAME`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, ns, name) = match parts.as_slice() {
            [kind, name] => (*kind, None, *name),
            [kind, ns, name] => (*kind, Some(*ns), *name),
            _ => return Err(format!("{text:?} is not KIND/NAME")),
        };
        let kind = self::kind(kind)?;
        super::names::subdomain(name)?;
        let ns = match (kind.namespaced(), ns) {
            (true, ns) => {
                let ns = ns.unwrap_or("default");
                super::names::label(ns)?;
                Sym::new(ns)
            }
            (false, None) => Sym::EMPTY,
            (false, Some(_)) => return Err(format!("a {kind} is in no namespace")),
        };
        Ok(Self { kind, ns, name: Name::new(name) })
    }

    /// `deployment/web`, or `deployment/NAMESPACE/web` outside `default`.
    pub(crate) fn path(&self) -> String {
        let kind = self.kind.name().to_lowercase();
        if self.ns.is_empty() || self.ns.as_str() == "default" {
            format!("{kind}/{}", self.name)
        } else {
            format!("{kind}/{}/{}", self.ns, self.name)
        }
    }

    /// Whether the kind has replicas; notes an error if not.
    pub(crate) fn scalable(&self, at: &Place, report: &mut Report) -> bool {
        let yes = [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet].contains(&self.kind);
        if !yes {
            report.error(
                at,
                format!("a {} has no replicas", self.kind),
                "possible here: deployment, replicaset, statefulset",
            );
        }
        yes
    }
}

impl std::fmt::Display for Target {
    /// `deployments.apps "web"`, as kubectl says.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.kind.plural(), self.name.to_string())?;
        if self.ns.is_empty() { Ok(()) } else { write!(f, " in namespace {:?}", self.ns.as_str()) }
    }
}

/// The kind a word stands for, as kubectl reads it.
pub(crate) fn kind(word: &str) -> Result<Kind, String> {
    let lower = word.to_lowercase();
    let bare = lower.split('.').next().unwrap_or_default();
    if let Some((_, kind)) = SHORT.iter().find(|(short, _)| *short == bare) {
        return Ok(*kind);
    }
    KINDS
        .iter()
        .find(|k| k.plural == bare || k.name.to_lowercase() == bare)
        .map(|k| k.kind)
        .ok_or_else(|| {
            let plain =
                ["pod", "node", "deployment", "replicaset", "statefulset", "daemonset", "job"];
            format!("there is no kind {word:?} ({})", suggest(&lower, &plain))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_kubectl_does() {
        let web = Target::parse("deploy/web").unwrap();
        assert_eq!((web.kind, web.ns.as_str()), (Kind::Deployment, "default"));
        assert_eq!(Target::parse("deployments.apps/shop/web").unwrap().ns.as_str(), "shop");
        assert_eq!(Target::parse("node/n0").unwrap().ns, Sym::EMPTY);
        for bad in ["web", "deploy/", "foo/web", "node/ns/n0", "a/b/c/d", "pod/A/x"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
