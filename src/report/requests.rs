//! Requests to the API server: how many of which verb on which kind by whom.

use crate::api::Kind;
use crate::api::request::User;
use crate::engine::Sym;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;

/// Verb and subresource as the API server names them.
type Verb = (&'static str, &'static str);

/// All kubelets count as one.
pub(super) fn class(user: User) -> User {
    match user {
        User::Kubelet(_) => User::Kubelet(Sym::EMPTY),
        User::Admin
        | User::Scheduler
        | User::Controller(_)
        | User::ApiServer
        | User::Person { .. } => user,
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
