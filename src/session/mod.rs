//! Play, pause, step, back. A [`Session`] owns a cluster and hands every record to
//! [`observer::Observer`]s; going back restores the keyframe before the target and replays, since
//! determinism is the undo log.

pub mod explain;
mod history;
pub mod observer;
pub mod recorder;
pub mod why;

pub use history::History;
pub use observer::Observer;
pub use recorder::Recorder;

use crate::cluster::Cluster;
use crate::cluster::spec::{Fault, Plan};
use crate::control_plane::scheduler::profile::ProfileRow;
use crate::control_plane::scheduler::timed::{Clock, Tally};
use crate::engine::queue::Entry;
use crate::engine::{SimDuration, SimTime};
use crate::event::{Event, Record, What};
use std::sync::Arc;

/// How often (in virtual time) a run that may end early looks whether it is at rest.
const REST_CHECK: SimDuration = SimDuration::from_secs(10);

/// A run in progress.
#[derive(Debug, Clone)]
pub struct Session {
    cluster: Cluster,
    records: Vec<Record>,
    next_check: SimTime,
    ended: bool,
    steps: u64,
    until: SimTime,
    until_idle: bool,
}

impl Session {
    /// A run at its start.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            until: plan.until,
            until_idle: plan.until_idle,
            cluster: Cluster::new(plan),
            records: Vec::new(),
            next_check: SimTime::ZERO,
            ended: false,
            steps: 0,
        }
    }

    /// Adds a fault to come, as if the plan had always had it.
    pub fn inject(&mut self, fault: Fault) {
        self.cluster.inject(fault);
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Adds a plugin of the user's to a profile of the scheduler, before the run begins.
    pub fn add_plugin(&mut self, profile: usize, row: ProfileRow) {
        self.cluster.add_plugin(profile, row);
    }

    /// Times the scheduler's plugins from now on; it never changes the run.
    pub fn time_plugins(&mut self, clock: &Arc<dyn Clock>) -> Vec<Arc<Tally>> {
        self.cluster.time_plugins(clock)
    }

    /// Events handled so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The virtual now.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.cluster.shared().now()
    }

    /// Turns the recording of every hop on or off; it never changes the run.
    pub fn trace(&mut self, on: bool) {
        self.cluster.trace(on);
    }

    /// When the next event happens; none once the run has ended.
    pub fn next_time(&mut self) -> Option<SimTime> {
        if self.ended {
            return None;
        }
        let until = self.until;
        self.cluster.next_time().filter(|t| *t <= until)
    }

    /// Handles the next event; its records can be read with [`Session::records`].
    pub fn step(&mut self) -> Option<Entry<Event>> {
        self.records.clear();
        let next = self.next_time();
        if self.until_idle && next.is_some_and(|t| t >= self.next_check) {
            self.next_check = self.now() + REST_CHECK;
            if self.steps > 0 && self.cluster.at_rest() {
                self.ended = true;
                return None;
            }
        }
        if next.is_none() {
            if !self.ended && !self.until_idle {
                self.cluster.finish(self.until);
            }
            self.ended = true;
            return None;
        }
        let entry = self.cluster.step();
        self.steps += 1;
        self.cluster.take_records(&mut self.records);
        entry
    }

    /// Records of the last step.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Runs to the end. `tick` is called now and then with the virtual now (for a progress bar).
    pub fn run(&mut self, observers: &mut [&mut dyn Observer], mut tick: impl FnMut(SimTime)) {
        let mut count = 0_u32;
        // What happened before the first event (objects that are there from the start).
        self.cluster.take_records(&mut self.records);
        self.show(observers);
        while let Some(entry) = self.step() {
            self.show(observers);
            if matches!(entry.event, Event::Scrape) {
                let used = self.cluster.shared().usage.total();
                observers.iter_mut().for_each(|observer| observer.usage(entry.time, used));
            }
            count = count.wrapping_add(1);
            if count.is_multiple_of(1 << 16) {
                tick(self.now());
            }
        }
        let (now, versions) = (self.now(), &self.cluster.shared().versions);
        for observer in observers.iter_mut() {
            for (node, tally) in self.cluster.log_tallies(now) {
                observer.logs(node, &tally);
            }
            observer.end(now, versions);
        }
    }

    fn show(&self, observers: &mut [&mut dyn Observer]) {
        let shared = self.cluster.shared();
        for record in &self.records {
            let flow = if let What::Flow { row } = record.what {
                shared.traffic.flows.get(row as usize).map(|flow| (row, flow))
            } else {
                None
            };
            for observer in observers.iter_mut() {
                observer.on(record, &shared.versions);
                if let Some((row, flow)) = flow {
                    observer.flow(record.time, row, flow);
                }
            }
        }
    }

    /// The digest of the run so far.
    #[must_use]
    pub fn digest(&self) -> String {
        self.cluster.digest().to_string()
    }
}
