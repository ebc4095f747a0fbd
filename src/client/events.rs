//! What becomes of a Kubernetes Event before it is posted: one that has been said before raises the
//! count of the first one, many that differ in their text alone are folded into one, and an object
//! of which too much is said falls silent. Sources: client-go `tools/record/events_cache.go`
//! (kubelet and controllers), `tools/events/event_broadcaster.go` (the scheduler).

use crate::api::kevent::{KEvent, Text};
use crate::api::request::Op;
use crate::engine::digest::mix;
use crate::engine::{SimDuration, SimTime, Sym};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Events of one object by one source: 25 at once, then one in five minutes
/// (`defaultSpamBurst`, `defaultSpamQPS`).
const SPAM_BURST: u64 = 25;
const SPAM_GAP: SimDuration = SimDuration::from_secs(300);
/// So many texts within ten minutes are too many (`defaultAggregateMaxEvents`,
/// `defaultAggregateIntervalInSeconds`).
const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW: SimDuration = SimDuration::from_secs(600);
/// Entries of each memory (`maxLruCacheEntries`).
const MEMORY: usize = 4096;
/// How long the scheduler's recorder takes repetitions for one series (`finishTime`).
const SERIES: SimDuration = SimDuration::from_secs(360);

/// A memory of bounded size: what came in first is forgotten first (upstream: what was used last
/// stays longest).
#[derive(Debug, Clone)]
struct Memory<V> {
    map: FxHashMap<u64, V>,
    order: VecDeque<u64>,
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self { map: FxHashMap::default(), order: VecDeque::new() }
    }
}

impl<V> Memory<V> {
    /// The entry of a key, made anew if it is not there.
    fn entry(&mut self, key: u64, new: impl FnOnce() -> V) -> &mut V {
        if !self.map.contains_key(&key) {
            if self.order.len() >= MEMORY
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.map.entry(key).or_insert_with(new)
    }
}

/// Texts of one kind of Event about one object.
#[derive(Debug, Clone)]
struct Similar {
    last: SimTime,
    texts: Vec<u64>,
}

/// An Event that has been posted.
#[derive(Debug, Clone, Copy)]
struct Posted {
    count: u16,
    last: SimTime,
}

/// The object an Event is about.
fn object_of(event: &KEvent) -> u64 {
    mix(mix(event.uid.0, event.name.stable_hash()), event.kind.index() as u64)
}

/// What similar Events have in common.
fn kind_of(event: &KEvent) -> u64 {
    mix(object_of(event), mix(event.reason.stable_hash(), u64::from(event.warning())))
}

/// What tells an Event from others about its object; never 0.
fn key_of(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(u32::MAX).max(1)
}

/// The memory of a recorder as kubelets and controllers have it.
#[derive(Debug, Clone, Default)]
pub struct Correlator {
    /// When the bucket of each object is full again.
    full_at: Memory<SimTime>,
    similar: Memory<Similar>,
    posted: Memory<Posted>,
}

impl Correlator {
    /// The request that tells of the event now; none if nobody hears of it.
    pub fn correlate(&mut self, event: &KEvent, now: SimTime) -> Option<Op> {
        let kind = kind_of(event);
        let text = mix(kind, event.text().stable_hash());
        let folded = self.too_many_texts(kind, text, now);
        let key = if folded { kind } else { text };
        let posted = self.posted.entry(key, || Posted { count: 0, last: now });
        posted.count = posted.count.saturating_add(1);
        posted.last = now;
        let count = posted.count;
        if !self.admit(object_of(event), now) {
            return None;
        }
        let text = if folded {
            let text = format!("(combined from similar events): {}", event.message());
            Text::Plain(Sym::new(&text))
        } else {
            event.text()
        };
        let mut event = event.with_text(text);
        event.count = count;
        let event = Arc::new(event);
        let key = key_of(key);
        Some(if count == 1 { Op::CreateEvent(event, key) } else { Op::PatchEvent(event, key) })
    }

    /// Notes the text; true once there are too many of its kind.
    fn too_many_texts(&mut self, kind: u64, text: u64, now: SimTime) -> bool {
        let similar = self.similar.entry(kind, || Similar { last: now, texts: Vec::new() });
        if now.since(similar.last) > SIMILAR_WINDOW {
            similar.texts.clear();
        }
        similar.last = now;
        if !similar.texts.contains(&text) {
            similar.texts.push(text);
        }
        if similar.texts.len() < SIMILAR_MAX {
            return false;
        }
        similar.texts.pop();
        true
    }

    /// Takes a token of the object's bucket, if there is one.
    fn admit(&mut self, object: u64, now: SimTime) -> bool {
        let full = self.full_at.entry(object, || now);
        let next = (*full).max(now) + SPAM_GAP;
        if next > now + SPAM_GAP.times(SPAM_BURST) {
            return false;
        }
        *full = next;
        true
    }
}

/// The memory of the scheduler's recorder: the second time starts a series, which then grows in
/// silence. What it said first stays its text.
#[derive(Debug, Clone, Default)]
pub struct Series {
    posted: Memory<(Posted, Text)>,
}

impl Series {
    /// The request that tells of the event now, if any. An object of another resource version is
    /// another one here (`getKey` of `event_broadcaster.go` takes the whole reference).
    pub fn correlate(&mut self, event: &KEvent, version: u64, now: SimTime) -> Option<Op> {
        let key = mix(kind_of(event), version);
        let entry = || (Posted { count: 0, last: now }, event.text());
        let (posted, text) = self.posted.entry(key, entry);
        if now.since(posted.last) > SERIES {
            posted.count = 0;
            *text = event.text();
        }
        posted.count = posted.count.saturating_add(1);
        posted.last = now;
        let mut event = event.with_text(*text);
        event.count = posted.count;
        let key = key_of(key);
        match posted.count {
            1 => Some(Op::CreateEvent(Arc::new(event), key)),
            2 => Some(Op::PatchEvent(Arc::new(event), key)),
            _more => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kevent::Source;
    use crate::api::{Kind, Name, Stamp, Uid};

    fn event(text: &str) -> KEvent {
        let about = (Kind::ReplicaSet, Sym::EMPTY, Name::new("web"), Uid(7));
        let said = (false, "SuccessfulCreate".into(), Text::Plain(text.into()));
        KEvent::new(about, said, Source::Scheduler, Stamp(1))
    }

    fn told(op: Option<Op>) -> Option<(&'static str, u16)> {
        let op = op?;
        let (Op::CreateEvent(event, _) | Op::PatchEvent(event, _)) = &op else { panic!("{op:?}") };
        Some((op.verb().0, event.count))
    }

    #[test]
    fn ten_texts_are_folded_into_one_and_25_are_too_many() {
        let mut correlator = Correlator::default();
        let now = SimTime::from_secs(1);
        let all: Vec<_> = (0..30)
            .map(|i| told(correlator.correlate(&event(&format!("Created pod: {i}")), now)))
            .collect();
        assert!(all[..10].iter().all(|t| *t == Some(("create", 1))), "{all:?}");
        assert_eq!(all[10], Some(("patch", 2)));
        assert_eq!(all[24], Some(("patch", 16)));
        assert!(all[25..].iter().all(Option::is_none));
        let later = now + SPAM_GAP;
        assert_eq!(told(correlator.correlate(&event("x"), later)), Some(("patch", 22)));
    }

    #[test]
    fn a_repetition_raises_the_count() {
        let mut correlator = Correlator::default();
        let now = SimTime::from_secs(1);
        let mut tell = || told(correlator.correlate(&event("same"), now));
        assert_eq!((tell(), tell()), (Some(("create", 1)), Some(("patch", 2))));
        let mut series = Series::default();
        let mut tell = |at| told(series.correlate(&event("same"), 7, SimTime::from_secs(at)));
        assert_eq!((tell(1), tell(2), tell(3)), (Some(("create", 1)), Some(("patch", 2)), None));
        assert_eq!(tell(400), Some(("create", 1)));
        let changed = told(series.correlate(&event("same"), 8, SimTime::from_secs(401)));
        assert_eq!(changed, Some(("create", 1)));
    }
}
