//! Going back: keyframes by number of events, thinned so that few are kept, and replay.

use super::Session;
use crate::engine::SimTime;

/// Events between the first keyframes.
const SPACING: u64 = 512;
/// Keyframes kept; when there are more, every second one goes and the spacing doubles.
const KEEP: usize = 64;

/// A session that can go back.
#[derive(Debug)]
pub struct History {
    session: Session,
    keyframes: Vec<Session>,
    spacing: u64,
}

impl History {
    /// Starts a history at the session's present.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { keyframes: vec![session.clone()], session, spacing: SPACING }
    }

    /// The session at its present position.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The keyframes, oldest first.
    #[must_use]
    pub fn keyframes(&self) -> &[Session] {
        &self.keyframes
    }

    /// When the next event happens.
    pub fn next_time(&mut self) -> Option<SimTime> {
        self.session.next_time()
    }

    /// One event forward; false at the end.
    pub fn step(&mut self) -> bool {
        let moved = self.session.step().is_some();
        let at = self.session.steps();
        let newest = self.keyframes.last().map_or(0, Session::steps);
        if moved && at >= newest + self.spacing {
            self.keyframes.push(self.session.clone());
            if self.keyframes.len() > KEEP {
                let mut keep = false;
                self.keyframes.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.spacing *= 2;
            }
        }
        moved
    }

    /// To the state after this many events (or the end, if there are fewer).
    pub fn seek_step(&mut self, target: u64) {
        if target < self.session.steps() {
            let at = self.keyframes.partition_point(|k| k.steps() <= target).max(1) - 1;
            self.session = self.keyframes[at].clone();
        }
        while self.session.steps() < target && self.step() {}
    }

    /// To the state after the last event at or before this instant.
    pub fn seek_time(&mut self, target: SimTime) {
        if target < self.session.now() {
            let at = self.keyframes.partition_point(|k| k.now() <= target).max(1) - 1;
            self.session = self.keyframes[at].clone();
        }
        while self.session.next_time().is_some_and(|t| t <= target) && self.step() {}
    }

    /// One event back; false at the start.
    pub fn back(&mut self) -> bool {
        let at = self.session.steps();
        if at == 0 {
            return false;
        }
        self.seek_step(at - 1);
        true
    }
}
