//! What a scenario adds to the objects of its manifests, which stay as they are: labels, as
//! `commonLabels` of a kustomization does (on objects, on the selectors of those that select pods,
//! and on their templates; bases of kustomizations are no whole manifests without), and how the
//! programs of a workload behave.
//! Source: kustomize `api/internal/konfig/builtinpluginconsts/commonlabels.go`.

use super::behaviour;
use super::file::Program;
use super::place::Place;
use super::report::Report;
use super::target::{HINT, Target};
use crate::api::Kind;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Labels, or annotations, by key.
pub(crate) type Labels = BTreeMap<String, String>;

/// An object by kind, namespace and name.
type Named = (String, String, String);

/// What is added to objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Additions {
    /// Labels, to all objects.
    pub(crate) labels: Labels,
    /// Annotations of the pods of a workload.
    programs: BTreeMap<Named, Labels>,
}

impl Additions {
    /// What the scenario says of programs.
    pub(crate) fn read(programs: &[Program], report: &mut Report) -> Self {
        let mut all = Self::default();
        for (i, program) in programs.iter().enumerate() {
            let at = Place::default().key("programs").item(i);
            let target = Target::parse(&program.workload);
            let Some(target) = report.take(&at.key("workload"), target, HINT) else { continue };
            if !places(target.kind.name()).iter().any(|p| p.last() == Some(&"labels"))
                && target.kind != Kind::Pod
            {
                let hint = "name a workload with a pod template, or a pod";
                report.error(
                    &at.key("workload"),
                    format!("a {} runs no program", target.kind),
                    hint,
                );
                continue;
            }
            let mut annotations = Labels::new();
            for (word, text) in &program.behaviour {
                let place = at.key("behaviour").key(word);
                match behaviour::check(word, text) {
                    Ok(key) => drop(annotations.insert(key, text.clone())),
                    Err((problem, hint)) => report.error(&place, problem, hint),
                }
            }
            let kind = target.kind.name().to_owned();
            let named = (kind, target.ns.to_string(), target.name.to_string());
            all.programs.entry(named).or_default().extend(annotations);
        }
        all
    }

    /// The same with these labels.
    pub(crate) fn with_labels(&self, labels: &Labels) -> Self {
        Self { labels: labels.clone(), programs: self.programs.clone() }
    }

    /// True if there is nothing to add.
    pub(crate) fn none(&self) -> bool {
        self.labels.is_empty() && self.programs.is_empty()
    }

    /// Puts them on an object; what it has of the same key is replaced.
    pub(crate) fn put(&self, value: &mut Value) {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !self.labels.is_empty() {
            let metadata: &[&[&str]] = &[&["metadata", "labels"]];
            for path in metadata.iter().chain(places(&kind)) {
                extend(value, path, &self.labels);
            }
        }
        let text = |key| value.pointer(key).and_then(Value::as_str);
        let ns = text("/metadata/namespace").unwrap_or("default").to_owned();
        let name = text("/metadata/name").unwrap_or_default().to_owned();
        if let Some(annotations) = self.programs.get(&(kind.clone(), ns, name)) {
            extend(value, template(&kind), annotations);
        }
    }
}

/// Where the annotations of the pods of a kind stand.
fn template(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &["metadata", "annotations"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "metadata", "annotations"],
        _ => &["spec", "template", "metadata", "annotations"],
    }
}

fn extend(value: &mut Value, path: &[&str], with: &Labels) {
    if let Some(map) = below(value, path) {
        map.extend(with.iter().map(|(k, v)| (k.clone(), v.as_str().into())));
    }
}

/// Where the labels go beside `metadata.labels`.
fn places(kind: &str) -> &'static [&'static [&'static str]] {
    match kind {
        "Service" => &[&["spec", "selector"]],
        "ReplicationController" => {
            &[&["spec", "selector"], &["spec", "template", "metadata", "labels"]]
        }
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => {
            &[&["spec", "selector", "matchLabels"], &["spec", "template", "metadata", "labels"]]
        }
        "Job" => &[&["spec", "template", "metadata", "labels"]],
        "CronJob" => &[
            &["spec", "jobTemplate", "metadata", "labels"],
            &["spec", "jobTemplate", "spec", "template", "metadata", "labels"],
        ],
        _ => &[],
    }
}

/// The map below `path`, made if it is not there; none if something else stands in the way.
fn below<'v>(value: &'v mut Value, path: &[&str]) -> Option<&'v mut Map<String, Value>> {
    let mut at = value.as_object_mut()?;
    for &key in path {
        let next = at.entry(key).or_insert_with(|| Value::Object(Map::new()));
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        at = next.as_object_mut()?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_base_becomes_whole() {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        let added = Additions { labels, ..Additions::default() };
        let mut deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": null, "template": {"spec": {}}},
        });
        added.put(&mut deployment);
        let app = json!({"app": "web"});
        assert_eq!(deployment["metadata"]["labels"], app);
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], app);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], app);
        let mut secret = json!({"kind": "Secret", "metadata": {"labels": {"app": "x", "b": "c"}}});
        added.put(&mut secret);
        assert_eq!(secret["metadata"]["labels"], json!({"app": "web", "b": "c"}));
        assert!(secret.get("spec").is_none());
        let mut wrong = json!({"kind": "Service", "spec": []});
        added.put(&mut wrong);
        assert_eq!(wrong["spec"], json!([]), "left for the reader to refuse");
    }
}
