//! From a file to documents: gzip, encodings, limits, `---`, YAML, JSON and JSON lines. Whatever
//! the bytes are, the answer is documents or an error with a line.

use super::error::{InputError, InputErrors};
use super::lines::{self, MAX_DEPTH, Visit};
use super::path::Seg;
use crate::engine::num;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::io::Read;
use std::path::Path;

/// Largest manifest or dump, unpacked.
pub const MAX_BYTES: u64 = 64 << 20;

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    /// Its content.
    pub(crate) value: Value,
    /// Its text.
    pub(crate) text: &'t str,
    /// Line of the file on which the text begins.
    pub(crate) first_line: usize,
}

/// Reads a text file, unpacking gzip.
///
/// # Errors
/// If the file cannot be read, is too large, or is no text; with the line where that is known.
pub fn read_text(path: &Path, limit: u64) -> Result<String, InputErrors> {
    let label = path.display().to_string();
    let fail = |problem: String| vec![InputError::new(label.clone(), problem)];
    let file = std::fs::File::open(path).map_err(|e| fail(format!("cannot be opened: {e}")))?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(vec![
            InputError::new(label, "is a directory").hint("name the files in it one by one"),
        ]);
    }
    let mut bytes = Vec::new();
    let unread = |e: std::io::Error| fail(format!("cannot be read: {e}"));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .take(limit + 1)
            .read_to_end(&mut unpacked)
            .map_err(|e| fail(format!("is damaged gzip: {e}")))?;
        bytes = unpacked;
    }
    if num::i64_of(bytes.len()).unsigned_abs() > limit {
        let error = InputError::new(label, format!("is larger than {} MiB", limit >> 20));
        return Err(vec![error.hint("split it into several files")]);
    }
    decode(&label, bytes)
}

pub(crate) fn decode(label: &str, bytes: Vec<u8>) -> Result<String, InputErrors> {
    let line_at = |at: usize| 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let error = InputError::new(label, "is UTF-16 text").at(1);
        return Err(vec![error.hint("save it as UTF-8")]);
    }
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        let error = InputError::new(label, "is no text: it holds a NUL byte").at(line_at(at));
        return Err(vec![error.hint("a manifest is YAML or JSON, packed with gzip or not at all")]);
    }
    if let Err(e) = std::str::from_utf8(&bytes) {
        let at = line_at(e.valid_up_to());
        let error = InputError::new(label, "is no UTF-8 text").at(at);
        return Err(vec![error.hint("save it as UTF-8")]);
    }
    let text = String::from_utf8(bytes).unwrap_or_default();
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// All documents of a text; those that cannot be parsed are in the errors.
pub(crate) fn documents<'t>(label: &str, text: &'t str) -> (Vec<Document<'t>>, InputErrors) {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for (first_line, part) in split(text) {
        if let Err(e) = parse_part(label, part, first_line, &mut found) {
            errors.push(e);
        }
    }
    (found, errors)
}

/// Splits at lines that begin with `---`, as kubectl does; `...` ends a document, too.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = |m: &str| {
            line.strip_prefix(m)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        if marker("---") || marker("...") {
            parts.push((start_line, &text[start..offset]));
            (start, start_line) = (offset + 3, index + 1);
        }
        offset += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

/// True if nothing but comments, directives and white space is there.
fn blank(text: &str) -> bool {
    text.lines().all(|line| {
        let trimmed = line.trim();
        trimmed.is_empty() || trimmed.starts_with('#') || line.starts_with('%')
    })
}

fn parse_part<'t>(
    label: &str,
    text: &'t str,
    first_line: usize,
    found: &mut Vec<Document<'t>>,
) -> Result<(), InputError> {
    if blank(text) {
        return Ok(());
    }
    let mut spellings = Spellings::default();
    lines::scan(text, first_line, &mut spellings).map_err(|deep| {
        InputError::new(label, format!("is nested deeper than {MAX_DEPTH} levels"))
            .at(deep.line)
            .hint("no Kubernetes object is; look for brackets that are not closed")
    })?;
    if text.trim_start().starts_with(['{', '[']) {
        let before = found.len();
        match parse_json(text, first_line, found) {
            Ok(()) => return Ok(()),
            Err((line, problem)) => {
                found.truncate(before);
                // It may be YAML in brackets.
                return match parse_yaml(text) {
                    Ok(value) => {
                        found.push(Document { value, text, first_line });
                        Ok(())
                    }
                    Err(_) => {
                        Err(InputError::new(label, format!("is no JSON: {problem}")).at(line))
                    }
                };
            }
        }
    }
    let mut value = parse_yaml(text)
        .map_err(|(line, problem)| yaml_error(label, first_line, line, &problem))?;
    for (path, wanted) in spellings.0 {
        respell(&mut value, &path, wanted);
    }
    found.push(Document { value, text, first_line });
    Ok(())
}

fn yaml_error(label: &str, first_line: usize, line: Option<usize>, problem: &str) -> InputError {
    let hint = if problem.contains("duplicate") {
        "write each key once"
    } else if problem.contains("cannot start any token") {
        "YAML is indented with spaces, not with tabs; a value that begins with @ or ` needs quotes"
    } else if problem.contains("mapping values are not allowed") {
        "look at the indentation, or put the value in quotes if it holds a colon"
    } else if problem.contains("{{") || problem.contains("block mapping") {
        "if this is a Helm template, render it first (helm template)"
    } else {
        ""
    };
    let line = line.map_or(first_line, |l| first_line + l - 1);
    InputError::new(label, problem).at(line).hint(hint)
}

/// Parses a stream of JSON values: one document, or JSON lines.
fn parse_json<'t>(
    text: &'t str,
    first_line: usize,
    found: &mut Vec<Document<'t>>,
) -> Result<(), (usize, String)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Unique>();
    let mut start = 0;
    let mut line = first_line;
    while let Some(next) = stream.next() {
        let end = stream.byte_offset().min(text.len());
        let value =
            next.map_err(|e| (first_line + e.line().max(1) - 1, without_place(&e.to_string())))?;
        let part = &text[start..end];
        let lead = part.len() - part.trim_start().len();
        line += newlines(&part[..lead]);
        found.push(Document { value: value.0, text: &part[lead..], first_line: line });
        line += newlines(&part[lead..]);
        start = end;
    }
    Ok(())
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

/// Cuts ` at line 3 column 7`: the place is told apart, counted in the file.
fn without_place(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

fn parse_yaml(text: &str) -> Result<Value, (Option<usize>, String)> {
    let located =
        |e: &serde_yaml::Error| (e.location().map(|l| l.line()), without_place(&e.to_string()));
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|e| located(&e))?;
    value.apply_merge().map_err(|e| located(&e))?;
    to_json(value).map_err(|problem| (None, problem))
}

fn to_json(value: serde_yaml::Value) -> Result<Value, String> {
    Ok(match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(b) => Value::Bool(b),
        serde_yaml::Value::Number(n) => number(&n)?,
        serde_yaml::Value::String(s) => Value::String(s),
        serde_yaml::Value::Sequence(list) => {
            Value::Array(list.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        serde_yaml::Value::Mapping(map) => {
            let mut object = Map::with_capacity(map.len());
            for (key, value) in map {
                object.insert(key_text(key)?, to_json(value)?);
            }
            Value::Object(object)
        }
        serde_yaml::Value::Tagged(tagged) => to_json(tagged.value)?,
    })
}

fn number(n: &serde_yaml::Number) -> Result<Value, String> {
    if let Some(i) = n.as_i64() {
        return Ok(i.into());
    }
    if let Some(u) = n.as_u64() {
        return Ok(u.into());
    }
    n.as_f64()
        .and_then(serde_json::Number::from_f64)
        .map(Value::Number)
        .ok_or_else(|| format!("the number {n} cannot be used: only finite ones can"))
}

/// A key that is a number or a truth value counts as its text, as kubectl has it.
fn key_text(key: serde_yaml::Value) -> Result<String, String> {
    match key {
        serde_yaml::Value::String(s) => Ok(s),
        serde_yaml::Value::Number(n) => Ok(n.to_string()),
        serde_yaml::Value::Bool(b) => Ok(b.to_string()),
        serde_yaml::Value::Null => Ok("null".to_owned()),
        serde_yaml::Value::Sequence(_)
        | serde_yaml::Value::Mapping(_)
        | serde_yaml::Value::Tagged(_) => Err("a key is a list or a map; keys are text".to_owned()),
    }
}

/// Unquoted scalars that kubectl's YAML 1.1 reads as truth values or octal numbers.
#[derive(Default)]
struct Spellings(Vec<(Vec<Seg>, (String, Value))>);

impl Visit for Spellings {
    fn entry(&mut self, path: &[Seg], _line: usize, plain: &str) {
        if let Some(value) = yaml_1_1(plain) {
            self.0.push((path.to_vec(), (plain.to_owned(), value)));
        }
    }
}

fn yaml_1_1(plain: &str) -> Option<Value> {
    match plain {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some(true.into()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some(false.into()),
        _ => {}
    }
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let sign = if plain.starts_with('-') { -1 } else { 1 };
    if digits.len() > 1 && digits.starts_with('0') {
        let octal = digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
        return octal
            .then(|| i64::from_str_radix(digits, 8).ok())
            .flatten()
            .map(|n| (sign * n).into());
    }
    if digits.contains('_') && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return digits.replace('_', "").parse::<i64>().ok().map(|n| (sign * n).into());
    }
    None
}

/// Puts the value kubectl would read in place of the text at a path.
fn respell(document: &mut Value, path: &[Seg], (text, value): (String, Value)) {
    let mut here = document;
    for seg in path {
        let next = match seg {
            Seg::Key(key) => here.get_mut(key),
            Seg::Index(i) => here.get_mut(i),
        };
        let Some(next) = next else { return };
        here = next;
    }
    if here.as_str() == Some(text.as_str()) {
        *here = value;
    }
}

/// A JSON value in which no key stands twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Unique>()? {
            list.push(item.0);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value::<Unique>()?;
            if map.insert(key.clone(), value.0).is_some() {
                return Err(A::Error::custom(format!("duplicate field {key:?}")));
            }
        }
        Ok(Value::Object(map))
    }
}
