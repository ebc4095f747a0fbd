//! Observers see every record and may read the table of versions. They cannot change a run.

use crate::api::versions::Versions;
use crate::engine::SimTime;
use crate::event::Record;

/// Somebody who watches a run: metrics, timeline, recorder, checker.
pub trait Observer {
    /// One record, in order.
    fn on(&mut self, record: &Record, versions: &Versions);

    /// The run has ended at this instant.
    fn end(&mut self, now: SimTime, versions: &Versions) {
        let _: (SimTime, &Versions) = (now, versions);
    }
}
