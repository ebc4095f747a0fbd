//! Paths of fields, and what is wrong at them.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Seg {
    /// A field or key.
    Key(String),
    /// An element of a list.
    Index(usize),
}

/// A path as Kubernetes prints it: `spec.containers[0].image`,
/// `metadata.labels[app.kubernetes.io/name]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FieldPath(pub(crate) Vec<Seg>);

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, seg) in self.0.iter().enumerate() {
            match seg {
                Seg::Index(i) => write!(f, "[{i}]")?,
                Seg::Key(key) if key.contains(['.', '/', ' ']) => write!(f, "[{key}]")?,
                Seg::Key(key) if at == 0 => f.write_str(key)?,
                Seg::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Something wrong (or worth a warning) at a path of a document.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) path: FieldPath,
    /// What.
    pub(crate) problem: String,
    /// Way out; may be empty.
    pub(crate) hint: String,
}

/// Where a check stands: a list of steps on the stack of the caller, so that a path costs nothing
/// unless something is wrong at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl At<'_> {
    /// The document itself.
    pub(crate) const ROOT: Self = At { parent: None, step: Step::Root };

    /// A field below.
    pub(crate) fn key<'b>(&'b self, key: &'b str) -> At<'b> {
        At { parent: Some(self), step: Step::Key(key) }
    }

    /// An element below.
    pub(crate) fn index(&self, index: usize) -> At<'_> {
        At { parent: Some(self), step: Step::Index(index) }
    }

    /// The steps as owned values.
    pub(crate) fn path(&self) -> FieldPath {
        let mut steps = Vec::new();
        let mut here = Some(self);
        while let Some(at) = here {
            match at.step {
                Step::Root => {}
                Step::Key(key) => steps.push(Seg::Key(key.to_owned())),
                Step::Index(i) => steps.push(Seg::Index(i)),
            }
            here = at.parent;
        }
        steps.reverse();
        FieldPath(steps)
    }
}

/// Problems found so far, with Kubernetes' phrases (source: apimachinery
/// `util/validation/field/errors.go`).
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, at: &At<'_>, problem: impl Into<String>) {
        self.push_hint(at, problem, "");
    }

    pub(crate) fn push_hint(
        &mut self,
        at: &At<'_>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Problem { path: at.path(), problem: problem.into(), hint: hint.into() });
    }

    pub(crate) fn invalid(&mut self, at: &At<'_>, value: impl fmt::Debug, why: &str) {
        self.push(at, format!("Invalid value: {value:?}: {why}"));
    }

    pub(crate) fn required(&mut self, at: &At<'_>, why: &str) {
        let colon = if why.is_empty() { "" } else { ": " };
        self.push(at, format!("Required value{colon}{why}"));
    }

    pub(crate) fn forbidden(&mut self, at: &At<'_>, why: &str) {
        self.push(at, format!("Forbidden: {why}"));
    }

    pub(crate) fn duplicate(&mut self, at: &At<'_>, value: &str) {
        self.push(at, format!("Duplicate value: {value:?}"));
    }

    /// A value outside an enumeration.
    pub(crate) fn one_of(&mut self, at: &At<'_>, value: &str, allowed: &[&str]) {
        if allowed.contains(&value) {
            return;
        }
        let list: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
        let hint = nearest(value, allowed.iter().copied()).map(|n| format!("did you mean {n:?}?"));
        self.push_hint(
            at,
            format!("Unsupported value: {value:?}: supported values: {}", list.join(", ")),
            hint.unwrap_or_default(),
        );
    }
}

/// The candidate that somebody who typed `word` most likely meant, if any is close.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(&word.to_ascii_lowercase(), &c.to_ascii_lowercase()), c))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, c)| c)
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Misspellings are short; a long word is not worth a quadratic table.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_kubectl_does() {
        let (spec, containers) = (At::ROOT.key("spec"), "containers");
        let list = spec.key(containers);
        let first = list.index(0);
        assert_eq!(first.key("image").path().to_string(), "spec.containers[0].image");
        let labels = At::ROOT.key("metadata");
        let labels = labels.key("labels");
        assert_eq!(labels.key("a.b/c").path().to_string(), "metadata.labels[a.b/c]");
    }

    #[test]
    fn near_misses_are_found() {
        let fields = ["replicas", "selector", "template"];
        assert_eq!(nearest("replica", fields), Some("replicas"));
        assert_eq!(nearest("Replicas", fields), Some("replicas"));
        assert_eq!(nearest("tempalte", fields), Some("template"));
        assert_eq!(nearest("volumes", fields), None);
    }
}
