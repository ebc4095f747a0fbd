//! Observers see every record and may read the table of versions. They cannot change a run.

use crate::api::versions::Versions;
use crate::engine::{SimTime, Sym};
use crate::event::Record;
use crate::event::logs::Tally;
use crate::event::traffic::Flow;

/// Somebody who watches a run: metrics, timeline, recorder, checker.
pub trait Observer {
    /// One record, in order.
    fn on(&mut self, record: &Record, versions: &Versions);

    /// What the requests of a row of traffic come to from now on.
    fn flow(&mut self, now: SimTime, row: u32, flow: &Flow) {
        let _: (SimTime, u32, &Flow) = (now, row, flow);
    }

    /// The metrics server has scraped: CPU (milli-cores) and memory (bytes) that all pods use of
    /// which the scenario says it. Nothing is told if it says it of none.
    fn usage(&mut self, now: SimTime, used: (i64, i64)) {
        let _: (SimTime, (i64, i64)) = (now, used);
    }

    /// What became of the logs of a node, told before the end; nothing is told without logs.
    fn logs(&mut self, node: Sym, tally: &Tally) {
        let _: (Sym, &Tally) = (node, tally);
    }

    /// The run has ended at this instant.
    fn end(&mut self, now: SimTime, versions: &Versions) {
        let _: (SimTime, &Versions) = (now, versions);
    }
}
