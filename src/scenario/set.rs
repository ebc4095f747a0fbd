//! `--set path=value`: one value of the scenario replaced before it is read.

use super::error::InputError;
use super::place::{Place, Seg};
use super::report::Report;
use super::schema::Checker;
use serde_json::Value;

/// Applies overrides to a document in order; what is wrong with one is noted in the report.
pub(crate) fn apply(document: &mut Value, overrides: &[(String, String)], report: &mut Report) {
    if overrides.is_empty() {
        return;
    }
    let schema = Checker::default();
    for (path, text) in overrides {
        match one(document, &schema, path, text) {
            Ok(place) => report.overridden.push((place, argument(path, text))),
            Err(error) => report.elsewhere.push(error),
        }
    }
}

/// A value as YAML reads it.
fn scalar(text: &str) -> Result<Value, String> {
    let (documents, errors) = super::source::documents("", text);
    if let Some(error) = errors.first() {
        return Err(error.problem.clone());
    }
    Ok(documents.into_iter().next().map_or(Value::Null, |d| d.value))
}

/// How an override is told of in errors.
pub(crate) fn argument(path: &str, text: &str) -> String {
    format!("--set {path}={text}")
}

fn one(
    document: &mut Value,
    schema: &Checker,
    path: &str,
    text: &str,
) -> Result<Place, InputError> {
    let wrong =
        |problem: String, hint: String| InputError::new(argument(path, text), problem).hint(hint);
    let place = Place::parse(path).map_err(|problem| {
        wrong(problem, "write --set seed=7 or --set 'cluster.nodes[0].count=5'".into())
    })?;
    schema.knows(&place).map_err(|(problem, hint)| wrong(problem, hint))?;
    let value = scalar(text).map_err(|problem| wrong(problem, String::new()))?;
    put(document, &place.0, value).map_err(|problem| wrong(problem, String::new()))?;
    Ok(place)
}

/// Puts a value at a place; maps on the way are made, lists grow by one item at most.
fn put(document: &mut Value, way: &[Seg], value: Value) -> Result<(), String> {
    let mut here = document;
    for seg in way {
        here = match seg {
            Seg::Key(key) => {
                if here.is_null() {
                    *here = Value::Object(serde_json::Map::new());
                }
                let map = here
                    .as_object_mut()
                    .ok_or_else(|| format!("the scenario has no map where {key:?} should go"))?;
                map.entry(key.as_str()).or_insert(Value::Null)
            }
            Seg::Index(index) => {
                if here.is_null() {
                    *here = Value::Array(Vec::new());
                }
                let list = here
                    .as_array_mut()
                    .ok_or_else(|| format!("the scenario has no list where [{index}] should go"))?;
                if *index == list.len() {
                    list.push(Value::Null);
                }
                let len = list.len();
                list.get_mut(*index)
                    .ok_or_else(|| format!("the list has {len} items, so there is no [{index}]"))?
            }
        };
    }
    *here = value;
    Ok(())
}
