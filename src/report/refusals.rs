//! Requests that the API server refused, by who asked for what and what it was told; and the
//! warnings it gave with its answers.

use super::requests::class;
use crate::api::request::{ApiError, User};
use crate::api::{Kind, Name};
use crate::cluster::spec::Refusals as Wanted;
use crate::engine::{SimTime, Sym};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Verb and subresource as the API server names them.
type Verb = (&'static str, &'static str);
type Key = (User, Verb, Kind, ApiError);

/// Kinds of refusals kept apart; what comes after is counted under its code alone.
const MOST: usize = 4096;

/// Refusals of one kind.
#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    count: u64,
    first: SimTime,
    /// The object of the first one.
    name: (Sym, Name),
    /// Others were about other objects.
    several: bool,
}

/// What was refused and what was warned of.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    entries: Vec<Entry>,
    index: FxHashMap<Key, usize>,
    /// Warnings: to whom, about what kind, and the text.
    warnings: Vec<((User, Kind, Sym), u64)>,
}

/// A line of the table of refusals.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefusalRow {
    /// Who asked.
    pub user: String,
    /// Verb with subresource.
    pub verb: String,
    /// Kind.
    pub kind: &'static str,
    /// HTTP code.
    pub code: u16,
    /// Reason of the answer.
    pub reason: &'static str,
    /// Message of the first of them.
    pub message: String,
    /// How many.
    pub count: u64,
    /// When the first was refused.
    pub first_s: f64,
    /// True if a person should know: a refusal of their own request, or one that a component cannot
    /// help (a conflict or an object that is gone are everyday business to it).
    pub notable: bool,
}

/// A line of the table of warnings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarningRow {
    /// Who was warned.
    pub user: String,
    /// Kind of the object.
    pub kind: &'static str,
    /// Text.
    pub message: String,
    /// How often.
    pub count: u64,
    /// True if a person was warned: a controller does not read what it is told.
    pub notable: bool,
}

/// The message without what differs between two of one sort.
fn plain(error: ApiError) -> ApiError {
    match error {
        ApiError::Forbidden(_) | ApiError::ForbiddenNamed(..) => ApiError::Forbidden(Sym::EMPTY),
        ApiError::Invalid(_) => ApiError::Invalid(Sym::EMPTY),
        ApiError::TooManyRequests(..) => ApiError::TooManyRequests(Sym::EMPTY, 0),
        ApiError::Internal(_) => ApiError::Internal(Sym::EMPTY),
        ApiError::Unauthorized
        | ApiError::NotFound
        | ApiError::AlreadyExists
        | ApiError::Conflict
        | ApiError::Lost
        | ApiError::Unreachable => error,
    }
}

fn name_of(user: User) -> String {
    user.to_string().trim_end_matches(':').to_owned()
}

impl Refusals {
    /// Counts a refusal.
    pub fn refused(
        &mut self,
        (user, verb, kind): (User, Verb, Kind),
        name: (Sym, Name),
        error: ApiError,
        now: SimTime,
    ) {
        let mut key = (class(user), verb, kind, error);
        if self.entries.len() >= MOST && !self.index.contains_key(&key) {
            key.3 = plain(error);
        }
        let entries = &mut self.entries;
        let at = *self.index.entry(key).or_insert_with(|| {
            entries.push(Entry { key, count: 0, first: now, name, several: false });
            entries.len() - 1
        });
        let entry = &mut self.entries[at];
        entry.count += 1;
        entry.several |= entry.name != name;
    }

    /// Counts a warning.
    pub fn warned(&mut self, user: User, kind: Kind, text: Sym) {
        let key = (class(user), kind, text);
        match self.warnings.iter_mut().find(|(k, _)| *k == key) {
            Some((_, count)) => *count += 1,
            None => self.warnings.push((key, 1)),
        }
    }

    /// How many refusals fit.
    #[must_use]
    pub fn count(&self, wanted: &Wanted) -> u64 {
        self.entries.iter().filter(|e| fits(e, wanted)).map(|e| e.count).sum()
    }

    /// How many warnings hold a text.
    #[must_use]
    pub fn count_warnings(&self, text: &str) -> u64 {
        let fits = |key: &(User, Kind, Sym)| key.2.as_str().contains(text);
        self.warnings.iter().filter(|(k, _)| fits(k)).map(|(_, n)| n).sum()
    }

    /// The table of refusals, the most frequent first.
    #[must_use]
    pub fn table(&self) -> Vec<RefusalRow> {
        let mut rows: Vec<RefusalRow> = self.entries.iter().map(row).collect();
        rows.sort_by(|a, b| {
            let text = |r: &RefusalRow| (r.user.clone(), r.verb.clone(), r.kind, r.message.clone());
            b.count.cmp(&a.count).then_with(|| text(a).cmp(&text(b)))
        });
        rows
    }

    /// The table of warnings, in order of their first appearance.
    #[must_use]
    pub fn warnings(&self) -> Vec<WarningRow> {
        let row = |((user, kind, text), count): &((User, Kind, Sym), u64)| WarningRow {
            user: name_of(*user),
            kind: kind.name(),
            message: text.to_string(),
            count: *count,
            notable: matches!(user, User::Admin | User::Person { .. }),
        };
        self.warnings.iter().map(row).collect()
    }
}

fn fits(entry: &Entry, wanted: &Wanted) -> bool {
    let (user, verb, kind, error) = entry.key;
    let text = |want: &Option<String>, is: &str| want.as_ref().is_none_or(|w| w == is);
    wanted.kind.is_none_or(|k| k == kind)
        && wanted.code.is_none_or(|c| c == error.code())
        && text(&wanted.reason, error.reason())
        && text(&wanted.user, &name_of(user))
        && text(&wanted.verb, &format!("{}{}", verb.0, verb.1))
        && wanted.message.as_ref().is_none_or(|m| error.message(kind, entry.name.1).contains(m))
}

fn row(entry: &Entry) -> RefusalRow {
    let (user, verb, kind, error) = entry.key;
    let others = if entry.several { " (and more objects)" } else { "" };
    let own = matches!(user, User::Admin | User::Person { .. });
    RefusalRow {
        user: name_of(user),
        verb: format!("{}{}", verb.0, verb.1),
        kind: kind.name(),
        code: error.code(),
        reason: error.reason(),
        message: error.message(kind, entry.name.1) + others,
        count: entry.count,
        first_s: entry.first.secs_f64(),
        notable: own || matches!(error.code(), 401 | 403 | 422 | 429 | 500),
    }
}
