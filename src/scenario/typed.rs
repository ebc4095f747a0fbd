//! A strict serde deserializer over a JSON document: it names every field that the type does not
//! know and every value of the wrong type, with their paths, and knows the names that would have
//! been right. Ordinary deserializers stop at the first and have forgotten the others.

use super::path::{FieldPath, Problem, Seg, nearest};
use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde_json::{Map, Value};
use std::fmt;

/// So many type errors per document are told; then the rest is not worth reading.
const MAX_TYPE_ERRORS: usize = 50;

/// What became of a document.
#[derive(Debug)]
pub(crate) struct Typed<T> {
    /// The typed form; none if a value has the wrong type.
    pub(crate) value: Option<T>,
    /// Values of the wrong type.
    pub(crate) errors: Vec<Problem>,
    /// Fields the type does not know.
    pub(crate) unknown: Vec<Problem>,
}

/// Reads a document as a type.
pub(crate) fn read<T: de::DeserializeOwned>(document: &Value) -> Typed<T> {
    let mut trace = Trace::default();
    match T::deserialize(Cursor { value: document, trace: &mut trace }) {
        Ok(value) => Typed { value: Some(value), errors: Vec::new(), unknown: trace.unknown },
        Err(first) => retry::<T>(document, trace.problem(first)),
    }
}

/// Blanks each offending value and reads on, so that one pass tells all.
fn retry<T: de::DeserializeOwned>(document: &Value, first: Problem) -> Typed<T> {
    let mut rest = document.clone();
    let mut errors = vec![first];
    while errors.len() < MAX_TYPE_ERRORS {
        let blanked = errors.last().is_some_and(|e| blank(&mut rest, &e.path));
        if !blanked {
            break;
        }
        let mut trace = Trace::default();
        match T::deserialize(Cursor { value: &rest, trace: &mut trace }) {
            Ok(_) => return Typed { value: None, errors, unknown: trace.unknown },
            Err(next) => errors.push(trace.problem(next)),
        }
    }
    Typed { value: None, errors, unknown: Vec::new() }
}

/// Sets the value at a path to null, which readers skip; false if there is none.
fn blank(document: &mut Value, path: &FieldPath) -> bool {
    let mut here = document;
    for seg in &path.0 {
        let next = match seg {
            Seg::Key(key) => here.get_mut(key),
            Seg::Index(i) => here.get_mut(i),
        };
        let Some(next) = next else { return false };
        here = next;
    }
    !std::mem::take(here).is_null()
}

/// A type error; its path is in the trace.
#[derive(Debug)]
struct TypeError(String);

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TypeError {}

impl de::Error for TypeError {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("expected {}, found {found}", plain(&expected.to_string())))
    }
}

/// Rust's names of types are of no use to the author of a manifest.
fn plain(expected: &str) -> &str {
    match expected {
        "i32" | "i64" | "u32" | "u16" => "an integer",
        "f64" => "a number",
        "a string" | "Quantity" => "a string",
        "IntOrString" => "an integer or a string",
        "Time" | "MicroTime" => "a time such as 2026-01-31T12:00:00Z",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a map",
        other => other,
    }
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Where the reader is, and what it has found.
#[derive(Debug, Default)]
struct Trace<'a> {
    path: Vec<Step<'a>>,
    /// Fields of the struct being read, per level.
    fields: Vec<&'static [&'static str]>,
    unknown: Vec<Problem>,
}

impl Trace<'_> {
    fn here(&self) -> FieldPath {
        FieldPath(
            self.path
                .iter()
                .map(|step| match step {
                    Step::Key(key) => Seg::Key((*key).to_owned()),
                    Step::Index(i) => Seg::Index(*i),
                })
                .collect(),
        )
    }

    fn problem(&self, error: TypeError) -> Problem {
        let hint = if error.0.starts_with("expected true or false, found string") {
            "write true or false without quotes"
        } else if error.0.starts_with("expected an integer, found string") {
            "write the number without quotes"
        } else if error.0.starts_with("expected a string, found") {
            "put the value in quotes"
        } else {
            ""
        };
        Problem { path: self.here(), problem: error.0, hint: hint.to_owned() }
    }

    fn note_unknown(&mut self) {
        let path = self.here();
        let Some(Seg::Key(name)) = path.0.last() else { return };
        let candidates = self.fields.last().copied().unwrap_or_default();
        let hint = nearest(name, candidates.iter().copied())
            .map(|near| format!("did you mean {near:?}?"))
            .unwrap_or_default();
        self.unknown.push(Problem { path, problem: "unknown field".to_owned(), hint });
    }
}

/// A value and where it stands.
struct Cursor<'a, 't> {
    value: &'a Value,
    trace: &'t mut Trace<'a>,
}

impl<'a> Cursor<'a, '_> {
    fn map<V: Visitor<'a>>(
        self,
        map: &'a Map<String, Value>,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        visitor.visit_map(Fields { entries: map.iter(), value: None, trace: self.trace })
    }

    /// A whole number may be spelled as a float (`1e3`), as YAML readers hand it over.
    fn integral(&self) -> Option<i64> {
        let float = self.value.as_f64().filter(|_| self.value.is_f64())?;
        let whole = crate::engine::num::trunc(float);
        (libm::trunc(float).total_cmp(&float).is_eq() && libm::fabs(float) < 9e15).then_some(whole)
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
            match self.integral() {
                Some(whole) => visitor.visit_i64(whole),
                None => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Cursor<'de, '_> {
    type Error = TypeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => visitor.visit_i64(i),
                (None, Some(u)) => visitor.visit_u64(u),
                (None, None) => visitor.visit_f64(n.as_f64().unwrap_or_default()),
            },
            Value::String(s) => visitor.visit_borrowed_str(s),
            Value::Array(list) => {
                visitor.visit_seq(Items { items: list.iter().enumerate(), trace: self.trace })
            }
            Value::Object(map) => self.map(map, visitor),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        let Value::Object(map) = self.value else {
            return Err(TypeError::invalid_type(unexpected(self.value), &"a map"));
        };
        self.trace.fields.push(fields);
        let trace = self.trace;
        let read = visitor.visit_map(Fields { entries: map.iter(), value: None, trace });
        trace.fields.pop();
        read
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        // A quantity may be written as a bare number.
        if name == "Quantity"
            && let Value::Number(n) = self.value
        {
            return visitor.visit_newtype_struct(n.to_string().into_deserializer());
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        self.trace.note_unknown();
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(b) => Unexpected::Bool(*b),
        Value::Number(n) => n.as_i64().map_or(Unexpected::Other("number"), Unexpected::Signed),
        Value::String(s) => Unexpected::Str(s),
        Value::Array(_) => Unexpected::Other("a list"),
        Value::Object(_) => Unexpected::Map,
    }
}

/// The entries of a map; null counts as absent, as in Go.
struct Fields<'a, 't> {
    entries: serde_json::map::Iter<'a>,
    value: Option<(&'a str, &'a Value)>,
    trace: &'t mut Trace<'a>,
}

impl<'a> MapAccess<'a> for Fields<'a, '_> {
    type Error = TypeError;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TypeError> {
        let Some((key, value)) = self.entries.by_ref().find(|(_, v)| !v.is_null()) else {
            return Ok(None);
        };
        self.value = Some((key, value));
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, TypeError> {
        let (key, value) = self
            .value
            .take()
            .ok_or_else(|| TypeError::custom("a value was read before its key"))?;
        self.trace.path.push(Step::Key(key));
        let read = seed.deserialize(Cursor { value, trace: &mut *self.trace })?;
        self.trace.path.pop();
        Ok(read)
    }
}

/// The elements of a list; null counts as absent.
struct Items<'a, 't> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    trace: &'t mut Trace<'a>,
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = TypeError;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypeError> {
        let Some((index, value)) = self.items.by_ref().find(|(_, v)| !v.is_null()) else {
            return Ok(None);
        };
        self.trace.path.push(Step::Index(index));
        let read = seed.deserialize(Cursor { value, trace: &mut *self.trace })?;
        self.trace.path.pop();
        Ok(Some(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    #[test]
    fn every_mistake_is_named_at_once() {
        let document = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "creationTimestamp": null},
            "spec": {
                "replica": 3,
                "paused": "yes",
                "minReadySeconds": 1e1,
                "selector": {"matchLabels": {"app": 5}},
                "template": {"spec": {"containers": [
                    {"name": "a", "resorces": {}, "resources": {"limits": {"cpu": 1, "memory": true}}},
                ]}},
            },
        });
        let read = read::<Deployment>(&document);
        assert!(read.value.is_none());
        let all: Vec<String> = read
            .errors
            .iter()
            .chain(&read.unknown)
            .map(|p| format!("{} {} {}", p.path, p.problem, p.hint))
            .collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
spec.paused expected true or false, found string "yes" write true or false without quotes
spec.selector.matchLabels.app expected a string, found integer `5` put the value in quotes
spec.template.spec.containers[0].resources.limits.memory expected a string, found boolean `true` put the value in quotes
spec.replica unknown field did you mean "replicas"?
spec.template.spec.containers[0].resorces unknown field did you mean "resources"?
"#);
    }
}
