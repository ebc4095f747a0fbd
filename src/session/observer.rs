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

    /// What became of the logs of a node, told before the end; nothing is told without logs.
    fn logs(&mut self, node: Sym, tally: &Tally) {
        let _: (Sym, &Tally) = (node, tally);
    }

    /// The run has ended at this instant.
    fn end(&mut self, now: SimTime, versions: &Versions) {
        let _: (SimTime, &Versions) = (now, versions);
    }
}
