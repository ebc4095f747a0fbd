//! Keeps every record of a traced run, so that causes can be walked.

use super::Observer;
use crate::api::versions::{Change, Versions};
use crate::event::{Record, What};
use rustc_hash::FxHashMap;

/// All records of a run, found by their number.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    records: Vec<Record>,
    by_seq: FxHashMap<u64, u32>,
    /// The commit made while handling an event: the event's number to the record's position.
    commits: FxHashMap<u64, u32>,
    /// What each commit wrote: history is compacted as the run goes on.
    changes: FxHashMap<u64, Change>,
}

impl Observer for Recorder {
    fn on(&mut self, record: &Record, versions: &Versions) {
        let at = crate::engine::num::u32_of(self.records.len());
        self.by_seq.insert(record.seq, at);
        if let What::Committed { kind, log, .. } = record.what {
            self.commits.insert(record.cause, at);
            if let Some(change) = versions.change(kind, log) {
                self.changes.insert(record.seq, change.clone());
            }
        }
        self.records.push(*record);
    }
}

impl Recorder {
    /// All records in order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The record with a number.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&Record> {
        self.by_seq.get(&seq).map(|&at| &self.records[at as usize])
    }

    /// What a commit wrote.
    #[must_use]
    pub fn change(&self, seq: u64) -> Option<&Change> {
        self.changes.get(&seq)
    }

    /// The (last) commit made while handling the event with this number.
    #[must_use]
    pub fn commit_of(&self, seq: u64) -> Option<&Record> {
        self.commits.get(&seq).map(|&at| &self.records[at as usize])
    }

    /// The chain of causes from a record back to a first cause, the record itself first. Where an
    /// event is the commit of a change, the change stands in its place.
    #[must_use]
    pub fn chain(&self, from: &Record) -> Vec<Record> {
        let mut chain = vec![*from];
        let mut cause = from.cause;
        while let Some(record) = self.get(cause) {
            if record.seq >= chain.last().map_or(u64::MAX, |r| r.seq) {
                break; // Causes come before effects; anything else would loop.
            }
            let commit = self.commit_of(record.seq).filter(|c| c.seq < chain[chain.len() - 1].seq);
            if let Some(commit) = commit {
                chain.push(*commit);
            }
            chain.push(*record);
            cause = record.cause;
        }
        chain
    }
}
