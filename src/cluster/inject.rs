//! A fault that is thought of while the run is under way: what-if questions branch from a snapshot
//! and break one thing in each branch.

use super::Cluster;
use super::spec::Fault;
use crate::engine::num;
use crate::event::Event;
use std::sync::Arc;

impl Cluster {
    /// Adds a fault to come, as if the plan had always had it. Its row is the next free one, so
    /// that draws keyed by the rows of other faults stay what they are.
    pub fn inject(&mut self, fault: Fault) {
        let mut plan = (*self.plan).clone();
        let row = num::u32_of(plan.faults.len());
        let at = fault.at.max(self.shared.now());
        plan.faults.push(fault);
        self.plan = Arc::new(plan);
        self.struck.push(Vec::new());
        self.faults_open += 1;
        self.shared.context(0).schedule(at, Event::Fault { fault: row, end: false });
    }
}
