//! Observers see every record and may read the table of versions. They cannot change a run.

use crate::api::versions::Versions;
use crate::engine::SimTime;
use crate::event::Record;
use crate::event::traffic::Flow;

/// Somebody who watches a run: metrics, timeline, recorder, checker.
pub trait Observer {
    /// One record, in order.
    fn on(&mut self, record: &Record, versions: &Versions);

    /// What the requests of a row of traffic come to from now on.
    fn flow(&mut self, now: SimTime, row: u32, flow: &Flow) {
        let _: (SimTime, u32, &Flow) = (now, row, flow);
    }

    /// The run has ended at this instant.
    fn end(&mut self, now: SimTime, versions: &Versions) {
        let _: (SimTime, &Versions) = (now, versions);
    }
}
