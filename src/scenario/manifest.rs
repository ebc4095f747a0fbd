//! Manifests and dumps: documents to objects, with every mistake of a file told at once.

use super::added::Additions;
use super::error::{InputError, InputErrors};
use super::kinds::{self, Resolved, resolve};
use super::lines::Wanted;
use super::path::{FieldPath, Problem, Seg};
use super::readers::{self, Found};
use super::source::{self, Document, MAX_BYTES};
use crate::api::{Kind, Obj, PodSpec};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// How strictly to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// What a person wrote: an unknown field is an error, values are validated, defaults applied.
    #[default]
    Strict,
    /// What a cluster wrote: an unknown field is a warning; it has been validated and defaulted.
    Dump,
}

/// An object and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The object.
    pub obj: Obj,
    /// File as the user named it.
    pub file: String,
    /// 1-based line on which the object begins.
    pub line: usize,
    /// apiVersion and kind of a custom resource.
    pub custom: Option<(String, String)>,
    /// The manifest has `generateName` and no name: the object's name is the base of a generated
    /// one.
    pub generate_name: bool,
}

/// What a file held.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The objects in the order of the file.
    pub objects: Vec<Loaded>,
    /// What is worth knowing but no error.
    pub warnings: Vec<InputError>,
}

/// Reads a file of manifests: YAML, JSON or JSON lines, plain or gzip.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn read_manifests(path: &Path) -> Result<Manifests, InputErrors> {
    read_file(path, Mode::Strict)
}

/// Reads a dump (`kubectl get -o yaml`), possibly of an older version.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn read_dump(path: &Path) -> Result<Manifests, InputErrors> {
    read_file(path, Mode::Dump)
}

fn read_file(path: &Path, mode: Mode) -> Result<Manifests, InputErrors> {
    let text = source::read_text(path, MAX_BYTES)?;
    parse_manifests(&path.display().to_string(), &text, mode)
}

/// Parses the text of a file.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse_manifests(file_label: &str, text: &str, mode: Mode) -> Result<Manifests, InputErrors> {
    parse_with(file_label, text, mode, &Additions::default())
}

/// Parses the text of a file and adds to what it holds.
pub(crate) fn parse_with(
    file_label: &str,
    text: &str,
    mode: Mode,
    added: &Additions,
) -> Result<Manifests, InputErrors> {
    let (documents, errors) = source::documents(file_label, text);
    let mut reader = Reader {
        label: file_label,
        mode,
        added,
        loaded: Manifests::default(),
        errors,
        counted: BTreeMap::new(),
    };
    let empty = documents.is_empty() && reader.errors.is_empty();
    for document in documents {
        reader.document(document);
    }
    if empty {
        let error = InputError::new(file_label, "holds no object");
        return Err(vec![error.hint("a manifest has at least apiVersion, kind and metadata")]);
    }
    reader.finish()
}

/// One object of JSON text, as the golden data and the API have it.
///
/// # Errors
/// Everything that is wrong with the object; without file and lines.
pub fn obj_from_json(value: &Value, mode: Mode) -> Result<Obj, InputErrors> {
    let mut found = Found::new(mode);
    let object = object(value, &mut found);
    let errors: InputErrors =
        found.errors.0.iter().map(|p| input_error("", 0, &p.path, p)).collect();
    match object {
        Some((obj, _)) if errors.is_empty() => Ok(obj),
        _ => Err(errors),
    }
}

/// A pod spec alone, for instance of a template that is written in a scenario.
///
/// # Errors
/// Everything that is wrong with it; without file and lines.
pub fn pod_spec_from_value(value: &Value, mode: Mode) -> Result<PodSpec, InputErrors> {
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": value,
    });
    let object = obj_from_json(&pod, mode)?;
    match object.as_pod() {
        Some(pod) => Ok((*pod.spec).clone()),
        None => Err(vec![InputError::new("", "is no pod spec")]),
    }
}

fn input_error(label: &str, line: usize, path: &FieldPath, p: &Problem) -> InputError {
    InputError::new(label, p.problem.clone()).at(line).field(path.to_string()).hint(p.hint.clone())
}

/// Where a custom resource's apiVersion and kind are kept.
type Custom = Option<(String, String)>;

/// Reads one object that is no list.
fn object(value: &Value, found: &mut Found) -> Option<(Obj, Custom)> {
    let root = super::path::At::ROOT;
    if !value.is_object() {
        found.errors.push(&root, format!("is no Kubernetes object but {}", shape(value)));
        return None;
    }
    let word = |key: &str| value.get(key).and_then(Value::as_str).filter(|v| !v.is_empty());
    let (Some(kind), Some(version)) = (word("kind"), word("apiVersion")) else {
        let missing = if word("kind").is_none() { "kind" } else { "apiVersion" };
        found.errors.push_hint(
            &root.key(missing),
            "Required value",
            "every object begins with apiVersion and kind, for example v1 and Pod",
        );
        return None;
    };
    match resolve(version, kind) {
        Resolved::BuiltIn(kind) => readers::read(kind, version, value, found).map(|o| (o, None)),
        Resolved::Custom => {
            let custom = Some((version.to_owned(), kind.to_owned()));
            readers::custom(Kind::Custom, value, found).map(|o| (o, custom))
        }
        Resolved::Old(current) => old(current, (version, kind), value, found).map(|o| (o, None)),
        Resolved::Refused { problem, hint } => {
            found.errors.push_hint(&root.key("kind"), problem, hint);
            None
        }
    }
}

/// An old version: refused from a person, read as the current one from a cluster that had it.
fn old(kind: Kind, said: (&str, &str), value: &Value, found: &mut Found) -> Option<Obj> {
    let at = super::path::At::ROOT;
    let at = at.key("apiVersion");
    let (problem, hint) = (kinds::no_match(said.0, said.1), kinds::current(kind));
    if found.mode == Mode::Strict {
        found.errors.push_hint(&at, problem, hint);
        return None;
    }
    let current = kind.api_version();
    found.warnings.push(&at, format!("{} is not served any more: read as {current}", said.0));
    let mut renamed = value.clone();
    renamed["apiVersion"] = current.as_str().into();
    readers::read(kind, &current, &renamed, found)
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Takes the items out of a `List` or `PodList`; items of a typed list may lack their kind.
fn items(value: &mut Value) -> Option<Vec<Value>> {
    let kind = value.get("kind")?.as_str()?.to_owned();
    let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or("v1").to_owned();
    let of = kind.strip_suffix("List")?;
    let mut list = match value.get_mut("items").map(Value::take) {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => Vec::new(),
        Some(other) => {
            // Not a list after all: let the ordinary road refuse it.
            value["items"] = other;
            return None;
        }
    };
    for item in list.iter_mut().filter_map(Value::as_object_mut).filter(|_| !of.is_empty()) {
        item.entry("kind").or_insert_with(|| of.into());
        item.entry("apiVersion").or_insert_with(|| version.as_str().into());
    }
    Some(list)
}

/// An object of a document, before its line is known.
struct Pending {
    obj: Obj,
    custom: Custom,
    generate_name: bool,
    prefix: Vec<Seg>,
}

struct Reader<'l> {
    label: &'l str,
    mode: Mode,
    added: &'l Additions,
    loaded: Manifests,
    errors: InputErrors,
    /// Warnings of dumps repeat with every item: kept once per field, with a count.
    counted: BTreeMap<String, (InputError, usize)>,
}

/// An error or warning, with the steps to the object in its document.
struct Placed {
    path: FieldPath,
    problem: Problem,
    warning: bool,
}

impl Reader<'_> {
    fn document(&mut self, mut document: Document<'_>) {
        let mut pending = Vec::new();
        let mut placed = Vec::new();
        // Lists may stand in lists; a work list instead of recursion.
        let mut todo = vec![(Vec::new(), std::mem::take(&mut document.value))];
        while let Some((prefix, mut value)) = todo.pop() {
            if let Some(list) = items(&mut value) {
                for (i, item) in list.into_iter().enumerate().rev() {
                    let mut at = prefix.clone();
                    at.extend([Seg::Key("items".to_owned()), Seg::Index(i)]);
                    todo.push((at, item));
                }
                continue;
            }
            if !self.added.none() {
                self.added.put(&mut value);
            }
            self.object(&prefix, &value, &mut pending, &mut placed);
        }
        self.place(&document, pending, placed);
    }

    fn object(
        &self,
        prefix: &[Seg],
        value: &Value,
        pending: &mut Vec<Pending>,
        placed: &mut Vec<Placed>,
    ) {
        let mut found = Found::new(self.mode);
        let read = object(value, &mut found);
        let mut put = |problems: Vec<Problem>, warning: bool| {
            for problem in problems {
                let mut steps = prefix.to_vec();
                steps.extend(problem.path.0.iter().cloned());
                placed.push(Placed { path: FieldPath(steps), problem, warning });
            }
        };
        put(found.errors.0, false);
        put(found.warnings.0, true);
        if let Some((obj, custom)) = read {
            let named = value.pointer("/metadata/name").and_then(Value::as_str);
            let generate_name = named.is_none_or(str::is_empty);
            pending.push(Pending { obj, custom, generate_name, prefix: prefix.to_vec() });
        }
    }

    /// Looks up the lines of everything of one document in one scan.
    fn place(&mut self, document: &Document<'_>, pending: Vec<Pending>, placed: Vec<Placed>) {
        let paths = placed
            .iter()
            .map(|p| p.path.0.as_slice())
            .chain(pending.iter().map(|p| p.prefix.as_slice()));
        let lines = Wanted::find(document.text, document.first_line, paths);
        let start = first_content_line(document);
        for p in placed {
            let line = lines.line(&p.path.0).unwrap_or(start);
            let error = input_error(self.label, line, &p.path, &p.problem);
            if p.warning {
                self.warn(&p.path, error);
            } else {
                self.errors.push(error);
            }
        }
        for p in pending {
            self.loaded.objects.push(Loaded {
                line: lines.line(&p.prefix).unwrap_or(start),
                obj: p.obj,
                file: self.label.to_owned(),
                custom: p.custom,
                generate_name: p.generate_name,
            });
        }
    }

    fn warn(&mut self, path: &FieldPath, warning: InputError) {
        let steps = path.0.iter().filter(|s| matches!(s, Seg::Key(_))).cloned().collect();
        let field = format!("{} {}", FieldPath(steps), warning.problem);
        self.counted.entry(field).or_insert((warning, 0)).1 += 1;
    }

    fn finish(mut self) -> Result<Manifests, InputErrors> {
        if !self.errors.is_empty() {
            self.errors.sort_by_key(|e| e.line);
            return Err(self.errors);
        }
        for (mut warning, count) in self.counted.into_values() {
            if count > 1 {
                warning.problem = format!("{} (and {} more like it)", warning.problem, count - 1);
            }
            self.loaded.warnings.push(warning);
        }
        Ok(self.loaded)
    }
}

/// The line of a document's first key, past comments and blank lines.
fn first_content_line(document: &Document<'_>) -> usize {
    let blank = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
    document.first_line + document.text.lines().take_while(blank).count()
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
