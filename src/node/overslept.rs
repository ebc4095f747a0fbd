//! A machine that has stood still: what was to happen at an instant that it slept through, happens
//! when it goes on, and whoever waits for that instant has to know.

use super::NodeAgent;
use super::{logs, pressure, pulls, work};
use crate::engine::{SimDuration, SimTime};
use crate::event::NodeEvent;

impl NodeAgent {
    /// An event that was due at `was` will come at `at`, under another number.
    pub fn overslept(&mut self, event: NodeEvent, was: SimTime, (at, seq): (SimTime, u64)) {
        if let NodeEvent::ImageReady { pod, container } = event {
            pulls::overslept(self, (pod, container), was, at);
        } else if let NodeEvent::Sync { pod } = event {
            let rare = self.workers.get_mut(pod).and_then(|w| w.rare.as_deref_mut());
            if let Some(rare) = rare.filter(|r| r.wake == Some(was)) {
                rare.wake = Some(at);
            }
        } else if event == NodeEvent::LogBuffer {
            logs::overslept(self, was, (at, seq));
        } else {
            pressure::overslept(self, event, was, (at, seq));
        }
    }

    /// All that the node does takes so many times as long.
    pub fn slow_down(&mut self, factor: u32, cx: &mut crate::event::Context<'_>) {
        self.slow = factor.max(1);
        work::changed(self, cx);
    }

    /// It has stood still for so long, and goes on.
    pub fn slept(&mut self, lost: SimDuration, cx: &mut crate::event::Context<'_>) {
        work::slept(self, lost, cx);
    }

    /// Something that is no pod takes so many bytes of its disk.
    pub fn fill(&mut self, bytes: i64, cx: &mut crate::event::Context<'_>) {
        self.filled = bytes;
        if self.kubelet_up() {
            pressure::disk_changed(self, cx);
        }
    }

    /// What has to be added to its disk so that it is full to so many percent; 0 if it is already,
    /// or if nobody knows its size.
    #[must_use]
    pub fn to_fill(&self, percent: u32, now: SimTime) -> i64 {
        pressure::to_fill(self, percent, now)
    }
}
