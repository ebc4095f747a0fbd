//! The container runtime as the kubelet sees it: runs of containers, restart back-off.

use crate::api::pod::{Container, RestartPolicy};
use crate::engine::{SimDuration, SimTime};

/// First restart back-off, and its cap (source: behaviour reference §4.1).
const BACKOFF: SimDuration = SimDuration::from_secs(10);
const BACKOFF_MAX: SimDuration = SimDuration::from_secs(300);

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// With this exit code.
    Code(i32),
    /// The kernel killed it because it, or its node, had no memory left.
    OutOfMemory,
}

impl Exit {
    /// Its exit code.
    pub(super) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::OutOfMemory => 137,
        }
    }
}

/// State of a container's present run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunState {
    /// Not started yet.
    Created,
    /// Running since.
    Running(SimTime),
    /// Ended: started, finished, and how.
    Exited(SimTime, SimTime, Exit),
}

/// How far the present run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunStage {
    Created,
    Running,
    Exited,
}

/// A container over its runs. There is one for each container of a cluster: what few have is boxed.
#[expect(clippy::struct_excessive_bools, reason = "a status has that many flags")]
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// When the present run started, if it did.
    since: SimTime,
    /// How it ended, earlier runs and the back-off after them: few containers have any.
    past: Option<Box<Past>>,
    stage: RunStage,
    /// Number of the present run; events of another run are stale.
    pub(super) run: u16,
    pub(super) restarts: u32,
    pub(super) ready: bool,
    pub(super) started: bool,
    /// A probe has failed for good: it is killed, and starts again whatever its exit code is.
    pub(super) unhealthy: bool,
    /// A sync has seen it running.
    pub(super) seen: bool,
    /// Its status says that it waits for its back-off.
    pub(super) waiting: bool,
    /// It is being started again.
    pub(super) starting: bool,
}

/// What came before the present run of a container.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    /// The end of the present run.
    ended: Option<(SimTime, Exit)>,
    /// Results in a row that speak against the present verdict, by probe.
    streaks: [u16; 3],
    /// The run before.
    last: Option<(SimTime, SimTime, Exit)>,
    /// Back-off of the next restart, and when it was last raised.
    backoff: SimDuration,
    backoff_at: SimTime,
    /// When its back-off ends.
    due: Option<SimTime>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            since: SimTime::ZERO,
            past: None,
            stage: RunStage::Created,
            run: 0,
            restarts: 0,
            ready: false,
            started: false,
            unhealthy: false,
            seen: false,
            waiting: false,
            starting: false,
        }
    }
}

impl Run {
    /// State of the present run.
    pub(super) fn state(&self) -> RunState {
        let ended = || self.past.as_ref()?.ended;
        match (self.stage, ended()) {
            (RunStage::Exited, Some((at, exit))) => RunState::Exited(self.since, at, exit),
            (RunStage::Running, _) => RunState::Running(self.since),
            (RunStage::Created | RunStage::Exited, _) => RunState::Created,
        }
    }

    /// When the present run started, and when it ended if it has; none before the first one.
    pub(super) fn spell(&self) -> Option<(SimTime, Option<SimTime>)> {
        match self.state() {
            RunState::Created => None,
            RunState::Running(since) => Some((since, None)),
            RunState::Exited(since, end, _) => Some((since, Some(end))),
        }
    }

    /// The present run comes to this state.
    pub(super) fn set_state(&mut self, state: RunState) {
        match state {
            RunState::Created => self.stage = RunStage::Created,
            RunState::Running(since) => (self.stage, self.since) = (RunStage::Running, since),
            RunState::Exited(since, at, exit) => {
                (self.stage, self.since) = (RunStage::Exited, since);
                self.past.get_or_insert_default().ended = Some((at, exit));
            }
        }
    }

    /// Results in a row that speak against the present verdict, by probe.
    pub(super) fn streaks(&self) -> [u16; 3] {
        self.past.as_ref().map_or([0; 3], |past| past.streaks)
    }

    /// Sets them.
    pub(super) fn set_streaks(&mut self, streaks: [u16; 3]) {
        if self.streaks() != streaks {
            self.past.get_or_insert_default().streaks = streaks;
        }
    }

    /// When a container that ended at `finished` may start again: at once the first time, then
    /// after 10, 20, 40… 300 s from its end; ten quiet minutes start over.
    /// Source: `kuberuntime_manager.go` `doBackOff`, `flowcontrol/backoff.go`.
    pub(super) fn next_start(&mut self, finished: SimTime, now: SimTime) -> SimTime {
        let past = self.past.get_or_insert_default();
        if finished.since(past.backoff_at) > BACKOFF_MAX.times(2) {
            past.backoff = SimDuration::ZERO;
        }
        let at = (finished + past.backoff).max(now);
        past.backoff = match past.backoff {
            SimDuration::ZERO => BACKOFF,
            b => b.times(2).min(BACKOFF_MAX),
        };
        past.backoff_at = at;
        at
    }

    /// Whether it is started again after it ended with this code.
    pub(super) fn restarts(
        &self,
        policy: RestartPolicy,
        container: &Container,
        code: i32,
        init: bool,
    ) -> bool {
        let by_probe = self.unhealthy && policy != RestartPolicy::Never;
        by_probe || restarts(policy, container, code, init)
    }

    /// The run before: started, finished, and how.
    pub(super) fn last(&self) -> Option<(SimTime, SimTime, Exit)> {
        self.past.as_ref()?.last
    }

    /// It ended so, and will run again.
    pub(super) fn set_last(&mut self, last: (SimTime, SimTime, Exit)) {
        self.past.get_or_insert_default().last = Some(last);
    }

    /// When its back-off ends; none while it runs, or is being started.
    pub(super) fn due(&self) -> Option<SimTime> {
        self.past.as_ref()?.due
    }

    /// Sets the end of its back-off.
    pub(super) fn set_due(&mut self, due: Option<SimTime>) {
        if due.is_some() || self.past.is_some() {
            self.past.get_or_insert_default().due = due;
        }
    }

    /// True while it runs.
    pub(super) fn running(&self) -> bool {
        self.stage == RunStage::Running
    }
}

/// Whether the policy starts a container again that ended with this code.
fn restarts(policy: RestartPolicy, container: &Container, code: i32, init: bool) -> bool {
    if container.sidecar {
        return true;
    }
    match policy {
        RestartPolicy::Always => !init || code != 0,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Never => false,
    }
}

const _: () = assert!(size_of::<Run>() <= 32, "there is one for each container of a cluster");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_counts_from_the_end_of_the_run() {
        let mut run = Run::default();
        let s = SimTime::from_secs;
        assert_eq!(run.next_start(s(1), s(1)), s(1));
        assert_eq!(run.next_start(s(2), s(3)), s(12));
        assert_eq!(run.next_start(s(13), s(13)), s(33));
        for _ in 0..8 {
            run.next_start(s(100), s(100));
        }
        assert_eq!(run.next_start(s(400), s(400)), s(700));
        // Ten quiet minutes: the next restart is immediate again.
        assert_eq!(run.next_start(s(1400), s(1400)), s(1400));
    }
}
