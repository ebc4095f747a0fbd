//! Requests to the API server: how many of which verb on which kind by whom.

use crate::api::request::{ApiError, User};
use crate::api::{Kind, Name};
use crate::engine::Sym;
use crate::session::why::refusal;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;

/// Verb and subresource as the API server names them.
type Verb = (&'static str, &'static str);

/// All kubelets count as one.
fn class(user: User) -> User {
    match user {
        User::Kubelet(_) => User::Kubelet(Sym::EMPTY),
        User::Admin | User::Scheduler | User::Controller(_) | User::ApiServer => user,
    }
}

/// One line of the table of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestCount {
    /// Who: `user`, `scheduler`, `kcm:replicaset-controller`, `kubelet`.
    pub user: String,
    /// Verb with subresource: `create/binding`.
    pub verb: String,
    /// Kind.
    pub kind: &'static str,
    /// How many were carried out.
    pub committed: u64,
    /// How many were refused.
    pub refused: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: (User, Verb, Kind),
    committed: u64,
    refused: u64,
}

/// Counts of requests.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    entries: Vec<Entry>,
    /// By the addresses of the verb's texts: cheaper than the texts, and merged by text at the end.
    index: FxHashMap<(User, usize, usize, Kind), usize>,
}

impl Requests {
    /// Counts one.
    pub fn count(&mut self, user: User, verb: Verb, kind: Kind, refused: bool) {
        let user = class(user);
        let key = (user, verb.0.as_ptr().addr(), verb.1.as_ptr().addr(), kind);
        let entries = &mut self.entries;
        let at = *self.index.entry(key).or_insert_with(|| {
            entries.push(Entry { key: (user, verb, kind), committed: 0, refused: 0 });
            entries.len() - 1
        });
        let entry = &mut self.entries[at];
        entry.committed += u64::from(!refused);
        entry.refused += u64::from(refused);
    }

    /// The table, sorted by user, verb and kind.
    #[must_use]
    pub fn table(&self) -> Vec<RequestCount> {
        let mut merged: BTreeMap<(String, String, &'static str), (u64, u64)> = BTreeMap::new();
        for entry in &self.entries {
            let (user, verb, kind) = entry.key;
            let user = user.to_string().trim_end_matches(':').to_owned();
            let key = (user, format!("{}{}", verb.0, verb.1), kind.name());
            let sum = merged.entry(key).or_default();
            sum.0 += entry.committed;
            sum.1 += entry.refused;
        }
        merged
            .into_iter()
            .map(|((user, verb, kind), (committed, refused))| RequestCount {
                user,
                verb,
                kind,
                committed,
                refused,
            })
            .collect()
    }
}
/// Requests of the scenario's user that the API server refused, in words, with counts.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    by_text: BTreeMap<String, u64>,
    /// Those that came when there were too many different ones already.
    others: u64,
}

/// Different refusals that are told apart.
const MOST_REFUSALS: usize = 1000;

impl Refusals {
    /// Counts one.
    pub fn add(&mut self, (verb, kind, ns, name): (Verb, Kind, Sym, Name), error: ApiError) {
        let object = if ns.is_empty() { name.to_string() } else { format!("{ns}/{name}") };
        let why = refusal(error);
        let text = format!("{} {}{} {object}: {why}", verb.0, kind.plural(), verb.1);
        if self.by_text.len() < MOST_REFUSALS || self.by_text.contains_key(&text) {
            *self.by_text.entry(text).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    /// All, the most frequent first.
    #[must_use]
    pub fn table(&self) -> Vec<(String, u64)> {
        let mut rows: Vec<(String, u64)> =
            self.by_text.iter().map(|(text, n)| (text.clone(), *n)).collect();
        rows.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        if self.others > 0 {
            rows.push(("others".to_owned(), self.others));
        }
        rows
    }
}
