//! The JSON schema of the scenario file, and the check of a document against it that finds every
//! mistake of form at once, each with its place.

use super::file::ScenarioFile;
use super::place::{Place, Seg, suggest};
use super::value;
use serde_json::Value;

/// A mistake of form.
#[derive(Debug, Clone)]
pub(crate) struct Mistake {
    /// Where.
    pub(crate) place: Place,
    /// What is wrong.
    pub(crate) problem: String,
    /// Way out; may be empty.
    pub(crate) hint: String,
}

/// The JSON schema of the scenario file, made from the types of [`super::file`].
#[must_use]
pub fn schema() -> Value {
    let mut schema = Value::from(schemars::schema_for!(ScenarioFile));
    if let Some(top) = schema.as_object_mut() {
        top.insert("title".into(), "Wavetank scenario".into());
    }
    schema
}

/// Checks documents against a schema.
#[derive(Debug)]
pub(crate) struct Checker {
    root: Value,
    /// Mistakes found so far.
    pub(crate) found: Vec<Mistake>,
}

impl Default for Checker {
    fn default() -> Self {
        Self { root: schema(), found: Vec::new() }
    }
}

/// How deep a document may nest: YAML readers stop at 128.
const MAX_DEPTH: usize = 128;

impl Checker {
    /// Checks against this schema.
    pub(crate) const fn of(root: Value) -> Self {
        Self { root, found: Vec::new() }
    }

    /// Every mistake of the document.
    #[must_use]
    pub(crate) fn check(mut self, document: &Value) -> Vec<Mistake> {
        let root = std::mem::take(&mut self.root);
        let walk = Walk { root: &root };
        walk.value(&root, document, &Place::default(), &mut self.found);
        self.found
    }

    /// Whether the schema knows a place: the way to it, or the mistake in it.
    ///
    /// # Errors
    /// Problem and hint.
    pub(crate) fn knows(&self, place: &Place) -> Result<(), (String, String)> {
        let walk = Walk { root: &self.root };
        walk.seek(&self.root, &place.0)
    }
}

struct Walk<'a> {
    root: &'a Value,
}

impl<'a> Walk<'a> {
    /// Follows `$ref`.
    fn resolve(&self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..8 {
            let Some(target) = schema.get("$ref").and_then(Value::as_str) else { break };
            schema = target
                .strip_prefix('#')
                .and_then(|pointer| self.root.pointer(pointer))
                .unwrap_or(&Value::Null);
        }
        schema
    }

    fn branches(schema: &'a Value) -> Option<&'a Vec<Value>> {
        ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array)
    }

    fn value(&self, schema: &'a Value, value: &Value, at: &Place, found: &mut Vec<Mistake>) {
        let schema = self.resolve(schema);
        if at.0.len() > MAX_DEPTH {
            found.push(mistake(at, "is nested too deeply", ""));
            return;
        }
        if let Some(words) = self.words(schema) {
            check_word(&words, value, at, found);
        } else if let Some(branches) = Self::branches(schema) {
            self.one_of(branches, value, at, found);
        } else if fits_type(schema, value) {
            self.inside(schema, value, at, found);
        } else {
            found.push(wrong_type(&types(schema), value, at));
        }
    }

    /// The words of an enumeration, if the schema is one (`null` beside it is allowed).
    fn words(&self, schema: &'a Value) -> Option<Vec<&'a str>> {
        if let Some(list) = schema.get("enum").and_then(Value::as_array) {
            return Some(list.iter().filter_map(Value::as_str).collect());
        }
        if let Some(one) = schema.get("const").and_then(Value::as_str) {
            return Some(vec![one]);
        }
        let branches = Self::branches(schema)?;
        let mut all = Vec::new();
        for branch in branches {
            let branch = self.resolve(branch);
            if is_null_type(branch) {
                continue;
            }
            all.extend(self.words(branch)?);
        }
        Some(all)
    }

    /// Checks against the branch whose type fits; among several, the one with the fewest mistakes.
    fn one_of(&self, branches: &'a [Value], value: &Value, at: &Place, found: &mut Vec<Mistake>) {
        let best = branches
            .iter()
            .filter(|b| self.accepts_type(b, value))
            .map(|branch| {
                let mut mistakes = Vec::new();
                self.value(branch, value, at, &mut mistakes);
                mistakes
            })
            .min_by_key(Vec::len);
        if let Some(mistakes) = best {
            found.extend(mistakes);
        } else {
            let mut wanted: Vec<&str> =
                branches.iter().flat_map(|b| types(self.resolve(b))).collect();
            wanted.dedup();
            found.push(wrong_type(&wanted, value, at));
        }
    }

    fn accepts_type(&self, schema: &'a Value, value: &Value) -> bool {
        let schema = self.resolve(schema);
        Self::branches(schema).map_or_else(
            || fits_type(schema, value),
            |branches| branches.iter().any(|b| self.accepts_type(b, value)),
        )
    }

    fn inside(&self, schema: &'a Value, value: &Value, at: &Place, found: &mut Vec<Mistake>) {
        if let Some(map) = value.as_object() {
            self.fields(schema, map, at, found);
        } else if let Some(list) = value.as_array() {
            self.items(schema, list, at, found);
        } else if !value.is_null() {
            check_scalar(schema, value, at, found);
        }
    }

    fn fields(
        &self,
        schema: &'a Value,
        map: &serde_json::Map<String, Value>,
        at: &Place,
        found: &mut Vec<Mistake>,
    ) {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (key, value) in map {
            let below = at.key(key);
            if let Some(schema) = known.and_then(|k| k.get(key)) {
                self.value(schema, value, &below, found);
            } else if others == Some(&Value::Bool(false)) {
                let names: Vec<&str> =
                    known.map(|k| k.keys().map(String::as_str).collect()).unwrap_or_default();
                found.push(mistake(&below, "unknown field", &suggest(key, &names)));
            } else if let Some(schema) = others.filter(|o| o.is_object()) {
                self.value(schema, value, &below, found);
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|n| !map.contains_key(*n)) {
            let about = known
                .and_then(|k| k.get(name))
                .and_then(|s| s.get("description").or_else(|| self.resolve(s).get("description")))
                .and_then(Value::as_str)
                .unwrap_or_default();
            let hint = format!("{name}: {}", about.replace('\n', " "));
            found.push(mistake(at, &format!("field {name} is missing"), &hint));
        }
    }

    fn items(&self, schema: &'a Value, list: &[Value], at: &Place, found: &mut Vec<Mistake>) {
        for (key, fits) in [("minItems", true), ("maxItems", false)] {
            let bound = schema.get(key).and_then(Value::as_u64);
            let have = list.len() as u64;
            if let Some(n) = bound.filter(|&n| if fits { have < n } else { have > n }) {
                found.push(mistake(at, &format!("expected {n} items, found {have}"), ""));
                return;
            }
        }
        if let Some(schema) = schema.get("items") {
            for (i, value) in list.iter().enumerate() {
                self.value(schema, value, &at.item(i), found);
            }
        }
    }

    fn seek(&self, schema: &'a Value, way: &[Seg]) -> Result<(), (String, String)> {
        let schema = self.resolve(schema);
        let Some((first, rest)) = way.split_first() else { return Ok(()) };
        if let Some(branches) = Self::branches(schema) {
            let mut answer = Err(("there is no such field".to_owned(), String::new()));
            for branch in branches.iter().filter(|b| !is_null_type(self.resolve(b))) {
                answer = self.seek(branch, way);
                if answer.is_ok() {
                    break;
                }
            }
            return answer;
        }
        match first {
            Seg::Index(_) => schema.get("items").map_or_else(
                || Err(("an index stands where there is no list".to_owned(), String::new())),
                |items| self.seek(items, rest),
            ),
            Seg::Key(key) => self.seek_key(schema, key, rest),
        }
    }

    fn seek_key(&self, schema: &'a Value, key: &str, rest: &[Seg]) -> Result<(), (String, String)> {
        let known = schema.get("properties").and_then(Value::as_object);
        if let Some(below) = known.and_then(|k| k.get(key)) {
            return self.seek(below, rest);
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Ok(()),
            Some(others) if others.is_object() => self.seek(others, rest),
            Some(_) | None => {
                let names: Vec<&str> =
                    known.map(|k| k.keys().map(String::as_str).collect()).unwrap_or_default();
                Err((format!("there is no field {key:?}"), suggest(key, &names)))
            }
        }
    }
}

fn mistake(at: &Place, problem: &str, hint: &str) -> Mistake {
    Mistake { place: at.clone(), problem: problem.to_owned(), hint: hint.to_owned() }
}

fn types(schema: &Value) -> Vec<&str> {
    let given = schema.get("type");
    given.and_then(Value::as_str).map_or_else(
        || {
            given
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        },
        |one| vec![one],
    )
}

fn is_null_type(schema: &Value) -> bool {
    types(schema) == ["null"]
}

fn fits_type(schema: &Value, value: &Value) -> bool {
    let types = types(schema);
    types.is_empty() || types.iter().any(|t| is_type(t, value))
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

/// `a whole number`, for people.
fn spoken(name: &str) -> &str {
    match name {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "array" => "a list",
        "object" => "a map",
        other => other,
    }
}

/// The value as an error quotes it.
#[must_use]
pub(crate) fn quoted(value: &Value) -> String {
    if value.is_array() {
        return "a list".into();
    }
    if value.is_object() {
        return "a map".into();
    }
    let text = value.to_string();
    if text.chars().count() <= 40 {
        text
    } else {
        text.chars().take(37).collect::<String>() + "…"
    }
}

fn wrong_type(wanted: &[&str], value: &Value, at: &Place) -> Mistake {
    let list: Vec<&str> = wanted.iter().filter(|t| **t != "null").map(|t| spoken(t)).collect();
    let hint = match (list.as_slice(), value) {
        (["true or false"], Value::String(_)) => "YAML 1.2 knows only true and false",
        (["text"], Value::Number(_) | Value::Bool(_)) => "put it in quotes",
        (["a whole number"], Value::Number(_)) => "leave the fraction out",
        (["a map"], _) => "write its fields below it, one to a line and indented",
        (["a list"], _) => "write each item on a line of its own, after a dash",
        (_, Value::Null) => "the field is empty: give a value or leave it out",
        _ => "",
    };
    let problem = format!("expected {}, found {}", list.join(" or "), quoted(value));
    mistake(at, &problem, hint)
}

fn check_word(words: &[&str], value: &Value, at: &Place, found: &mut Vec<Mistake>) {
    let Some(word) = value.as_str() else {
        if !value.is_null() {
            found.push(mistake(
                at,
                &format!("expected a word, found {}", quoted(value)),
                &format!("possible here: {}", words.join(", ")),
            ));
        }
        return;
    };
    if !words.contains(&word) {
        let problem = format!("{} is not possible here", quoted(value));
        let all = format!("possible here: {}", words.join(", "));
        let hint = super::path::nearest(word, words.iter().copied())
            .map_or_else(|| all.clone(), |near| format!("did you mean {near}? ({all})"));
        found.push(mistake(at, &problem, &hint));
    }
}

/// Bounds and `format`.
fn check_scalar(schema: &Value, value: &Value, at: &Place, found: &mut Vec<Mistake>) {
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    if is_integer_format(format) {
        check_bounds(schema, format, value, at, found);
        return;
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let answer = match format {
        "until" if text == "idle" => Ok(()),
        "until" => value::check_format("span", &text)
            .map_err(|(problem, _)| (problem, "write 40m, 2h30m or idle")),
        other => value::check_format(other, &text),
    };
    if let Err((problem, hint)) = answer {
        found.push(mistake(at, &problem, hint));
    }
}

fn is_integer_format(format: &str) -> bool {
    matches!(format, "uint32" | "int32" | "uint64" | "int64")
}

fn check_bounds(schema: &Value, format: &str, value: &Value, at: &Place, found: &mut Vec<Mistake>) {
    let (natural_min, natural_max) = match format {
        "uint32" => (0_i128, i128::from(u32::MAX)),
        "int32" => (i128::from(i32::MIN), i128::from(i32::MAX)),
        "uint64" => (0, i128::from(u64::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64).map(i128::from);
    let low = bound("minimum").map_or(natural_min, |m| m.max(natural_min));
    let high = bound("maximum").map_or(natural_max, |m| m.min(natural_max));
    let number =
        value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from)).unwrap_or(0);
    let hint = format!("a whole number from {low} to {high}");
    if number < low {
        found.push(mistake(at, &format!("{number} is too small"), &hint));
    } else if number > high {
        found.push(mistake(at, &format!("{number} is too large"), &hint));
    }
}
