//! What `SimKube` has recorded of a cluster: objects, and when they were applied and deleted
//! (version 2: `MessagePack`, or the same as JSON).
//!
//! | field | in the model |
//! |---|---|
//! | `events[].ts` (unix seconds) | instants, counted from the first event; the user acts then |
//! | `applied_objs` | `kubectl apply`, the object read as that of a dump: an unknown field is a warning, one that nothing acts upon is named in the report |
//! | `deleted_objs` | `kubectl delete` |
//! | their namespaces | are there from the start |
//! | `pod_lifecycles` of a bare pod that has finished | its containers end by themselves after as long as it ran; of the pods that workloads own they are not modelled: the recording knows them by a hash of its own |
//! | `config`, `index` | not read |

use super::file::{Simkube, Trace};
use super::recorded;
use super::rows::{Part, file_name, grouped, tallied};
use crate::api::request::{Propagation, User};
use crate::cluster::spec::{Action, Step};
use crate::engine::{SimDuration, SimTime, num};
use crate::scenario::added::Additions;
use crate::scenario::error::{InputError, InputErrors};
use crate::scenario::files::Files;
use crate::scenario::manifest::{self, Mode};
use crate::scenario::objects::{Found, Origin, at_home};
use crate::scenario::place::Place;
use crate::scenario::report::Report;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

/// The version that is read.
const VERSION: u64 = 2;
/// The annotation that says when a pod's containers end by themselves.
const EXIT_AFTER: &str = "wavetank.dev/exit-after";

#[derive(Debug, Deserialize)]
struct File {
    version: u64,
    events: Vec<Event>,
    #[serde(default)]
    pod_lifecycles: BTreeMap<(String, String), BTreeMap<u64, Vec<Lifecycle>>>,
}

#[derive(Debug, Deserialize)]
struct Event {
    ts: i64,
    #[serde(default)]
    applied_objs: Vec<Value>,
    #[serde(default)]
    deleted_objs: Vec<Value>,
}

/// Unix seconds of a pod's life.
#[derive(Debug, Clone, Copy, Deserialize)]
enum Lifecycle {
    Empty,
    Running(serde::de::IgnoredAny),
    Finished(i64, i64),
}

/// What recordings do to the cluster.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    /// Steps of the user.
    pub(crate) steps: Vec<Step>,
    /// The objects of the steps.
    pub(crate) objects: Vec<Found>,
    /// What the files hold.
    pub(crate) facts: Vec<String>,
    /// What is not modelled, with counts.
    pub(crate) not_modelled: Vec<(String, u32)>,
}

/// Reads the recordings among a scenario's traces.
pub(crate) fn read(traces: &[Trace], files: &mut Files, report: &mut Report) -> Timed {
    let mut timed = Timed::default();
    for (i, trace) in traces.iter().enumerate() {
        let Some(from) = &trace.simkube else { continue };
        let at = Place::default().key("traces").item(i).key("simkube");
        one(from, &at, files, report, &mut timed);
    }
    timed
}

fn one(from: &Simkube, at: &Place, files: &mut Files, report: &mut Report, timed: &mut Timed) {
    let part = recorded::part(from.common(), at, report);
    let read = files.stream(&from.trace).and_then(|(label, reader)| {
        let file = parse(&label, reader)?;
        Ok((label, file))
    });
    let Some((label, file)) = report.take_all(&at.key("trace"), read) else { return };
    let Some(part) = part else { return };
    timed.facts.extend(facts(&label, &file));
    let begin = file.events.iter().map(|event| event.ts).min().unwrap_or(0);
    let owned = file.pod_lifecycles.keys().filter(|(kind, _)| kind != "v1.Pod").count();
    if owned > 0 {
        let what = "lives of pods that workloads own, in a SimKube trace".to_owned();
        timed.not_modelled.push((what, num::u32_of(owned)));
    }
    let since = |event: &Event| SimDuration::from_secs(event.ts.abs_diff(begin));
    let first = file.events.iter().enumerate().take(part.limit);
    let played: Vec<(usize, &Event)> = first.filter(|(_, e)| since(e) < part.until).collect();
    let (some, all) = (played.len(), file.events.len());
    if some == 0 {
        report.warn(at, "nothing happens", "the part that is played holds no event");
    } else if some < all {
        timed.facts.push(format!("  {some} of its {all} events are played"));
    }
    let (lives, speed_up) = (&file.pod_lifecycles, part.speed_up);
    let mut reader = Reader { label: &label, lives, speed_up, report, timed };
    for (number, event) in played {
        reader.event(number, event, moment(since(event), &part));
    }
}

/// When an event of the trace happens; what was before the part is there from the start.
fn moment(since: SimDuration, part: &Part) -> SimTime {
    let since = SimDuration(since.0.saturating_sub(part.from.0));
    SimTime::ZERO + since.scale(1.0 / part.speed_up)
}

/// Reads the file, `MessagePack` or JSON.
fn parse(label: &str, mut from: impl BufRead) -> Result<File, InputErrors> {
    let fail = |problem: String, line: usize| {
        let hint = "a trace of SimKube: .sktrace of version 2, or the same as JSON";
        vec![InputError::new(label, problem).at(line).hint(hint)]
    };
    let first = from.fill_buf().map_err(|err| fail(format!("cannot be read: {err}"), 0))?;
    let json = first.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|b| *b == b'{');
    let file: File = if json {
        serde_json::from_reader(from)
            .map_err(|err| fail(format!("is no trace of SimKube: {err}"), err.line()))?
    } else {
        rmp_serde::from_read(from)
            .map_err(|err| fail(format!("is no trace of SimKube: {err}"), 0))?
    };
    if file.version != VERSION {
        return Err(fail(format!("is of version {}, not {VERSION}", file.version), 0));
    }
    Ok(file)
}

/// Text of a field of an object.
fn word<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn facts(label: &str, file: &File) -> Vec<String> {
    let applied = || file.events.iter().flat_map(|event| &event.applied_objs);
    let deleted: usize = file.events.iter().map(|event| event.deleted_objs.len()).sum();
    let times = || file.events.iter().map(|event| event.ts);
    let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let mut distinct = BTreeSet::new();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for object in applied() {
        let [kind, ns, name] =
            ["/kind", "/metadata/namespace", "/metadata/name"].map(|at| word(object, at));
        if distinct.insert((kind, ns, name)) {
            *kinds.entry(kind).or_default() += 1;
        }
    }
    let replicas = |object: &Value| object.pointer("/spec/replicas").and_then(Value::as_u64);
    vec![format!(
        "{}: version {}, {} events from {first} to {last} s (unix), {} objects applied, {} \
         deleted; distinct ones: {}; at most {} replicas",
        file_name(label),
        file.version,
        file.events.len(),
        grouped(applied().count() as u64),
        grouped(deleted as u64),
        tallied(&kinds),
        applied().filter_map(replicas).max().unwrap_or(0),
    )]
}

struct Reader<'r> {
    label: &'r str,
    lives: &'r BTreeMap<(String, String), BTreeMap<u64, Vec<Lifecycle>>>,
    speed_up: f64,
    report: &'r mut Report,
    timed: &'r mut Timed,
}

impl Reader<'_> {
    fn event(&mut self, number: usize, event: &Event, at: SimTime) {
        let lists = [("applied_objs", &event.applied_objs), ("deleted_objs", &event.deleted_objs)];
        for (list, objects) in lists {
            for (i, object) in objects.iter().enumerate() {
                let place = format!("events[{number}].{list}[{i}]");
                let Some(found) = self.object(object, &place) else { continue };
                let action = if list == "applied_objs" {
                    Action::Apply(found.obj.clone())
                } else {
                    let (ns, name) = found.obj.key();
                    Action::Delete {
                        kind: found.obj.kind(),
                        ns,
                        name,
                        nth: None,
                        grace_s: None,
                        propagation: Propagation::Background,
                    }
                };
                self.timed.steps.push(Step { at, user: User::Admin, action });
                self.timed.objects.push(found);
            }
        }
    }

    /// Reads an object as one of a dump.
    fn object(&mut self, object: &Value, place: &str) -> Option<Found> {
        let object = with_end(object, self.lives, self.speed_up);
        let text = object.to_string();
        match manifest::parse_with(self.label, &text, Mode::Dump, &Additions::default()) {
            Ok(read) => {
                let mut warnings = read.warnings;
                warnings.iter_mut().for_each(|warning| settle(warning, place));
                self.report.warnings_elsewhere.extend(warnings);
                read.objects.into_iter().next().map(|loaded| Found {
                    obj: at_home(loaded.obj),
                    origin: Origin::File(self.label.to_owned(), 0),
                    custom: loaded.custom.map(|(_, kind)| kind),
                })
            }
            Err(mut errors) => {
                errors.iter_mut().for_each(|error| settle(error, place));
                self.report.elsewhere.extend(errors);
                None
            }
        }
    }
}

/// A mistake in an object stands at a place of the trace, which has no lines.
fn settle(error: &mut InputError, place: &str) {
    error.line = 0;
    error.field =
        if error.field.is_empty() { place.to_owned() } else { format!("{place}.{}", error.field) };
}

/// A bare pod that was seen to end does so here.
fn with_end(
    object: &Value,
    lives: &BTreeMap<(String, String), BTreeMap<u64, Vec<Lifecycle>>>,
    speed_up: f64,
) -> Value {
    let mut object = object.clone();
    let name =
        format!("{}/{}", word(&object, "/metadata/namespace"), word(&object, "/metadata/name"));
    let kind = format!("{}.{}", word(&object, "/apiVersion"), word(&object, "/kind"));
    let lives = lives.get(&(kind, name)).into_iter().flat_map(BTreeMap::values).flatten();
    let mut ran = lives.filter_map(|life| match life {
        Lifecycle::Finished(from, to) => Some(to.saturating_sub(*from).max(0)),
        Lifecycle::Empty | Lifecycle::Running(_) => None,
    });
    if let Some(seconds) = ran.next_back()
        && let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let annotations =
            meta.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        if let Some(annotations) = annotations.as_object_mut() {
            let lasts = SimDuration::from_secs(seconds.unsigned_abs()).scale(1.0 / speed_up);
            annotations.insert(EXIT_AFTER.to_owned(), format!("{}ms", lasts.as_millis()).into());
        }
    }
    object
}
