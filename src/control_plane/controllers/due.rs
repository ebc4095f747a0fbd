//! When storage is done with what a controller has asked it for.

use crate::api::Uid;
use crate::engine::{SimDuration, SimTime};
use crate::event::Context;
use rustc_hash::FxHashMap;

/// Instants by the identity of the object that is waited for, with what was asked for.
#[derive(Debug, Clone)]
pub(super) struct Due<T>(FxHashMap<Uid, (SimTime, T)>);

impl<T> Default for Due<T> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<T: PartialEq> Due<T> {
    /// The time until the storage is done; zero once it is. `span` draws how long it takes, when
    /// something else is asked for than before.
    pub(super) fn wait(
        &mut self,
        object: Uid,
        asked: T,
        cx: &Context<'_>,
        span: impl FnOnce() -> SimDuration,
    ) -> SimDuration {
        let now = cx.now();
        if self.0.get(&object).is_none_or(|(_, before)| *before != asked) {
            self.0.insert(object, (now + span(), asked));
        }
        let due = self.0.get(&object).map_or(now, |(due, _)| *due);
        if due <= now { SimDuration::ZERO } else { due.since(now) }
    }

    /// True if something is asked for.
    pub(super) fn waits(&self, object: Uid) -> bool {
        self.0.contains_key(&object)
    }

    /// Nothing is asked for any more.
    pub(super) fn forget(&mut self, object: Uid) {
        self.0.remove(&object);
    }
}
