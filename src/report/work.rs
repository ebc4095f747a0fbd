//! What the time of those that work was spent on: the pieces of a worker's time add up to it, so
//! that a difference between two placements can be told piece by piece.

use super::text::{clock, count, span};
use super::workloads::WorkloadTable;
use crate::engine::{SimTime, num};
use crate::event::work::Part;
use serde::Serialize;
use std::collections::BTreeMap;

/// The work of one workload.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    done: u64,
    broken_off: u64,
    /// Nanoseconds of those that are done, by part.
    spent: [u64; Part::ALL.len()],
    /// Nanoseconds of those that were broken off.
    lost: u64,
    last: SimTime,
}

/// The work of all workloads, by their rows.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: BTreeMap<u32, Tally>,
}

/// What the time of a workload's containers was spent on; all times are sums over containers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkSummary {
    /// `job/executors`.
    pub workload: String,
    /// Containers that have done their work.
    pub done: u64,
    /// When the last of them had.
    pub last_done_s: f64,
    /// Time of those: the sum of the seven below.
    pub total_s: f64,
    /// They read on their own node.
    pub read_on_node_s: f64,
    /// They read within their zone.
    pub read_in_zone_s: f64,
    /// They read from another zone.
    pub read_elsewhere_s: f64,
    /// They computed: what it would have taken each alone on its node.
    pub computed_s: f64,
    /// They had less CPU than that.
    pub waited_for_cpu_s: f64,
    /// Neighbours of their group slowed them down.
    pub slowed_by_neighbours_s: f64,
    /// Their machine was slow or stood still.
    pub held_s: f64,
    /// Containers that ended before their work was done.
    pub broken_off: u64,
    /// Time of those, which is lost.
    pub lost_s: f64,
}

fn seconds(ns: u64) -> f64 {
    num::rounded(num::float_u(ns) / 1e9, 9)
}

impl Table {
    /// A part of the time of a container of a workload that has ended; [`Part::Computed`] is told
    /// of each, once.
    pub fn add(&mut self, workload: u32, part: Part, (ns, done): (u64, bool), now: SimTime) {
        let row = self.rows.entry(workload).or_default();
        let one = u64::from(part == Part::Computed);
        if done {
            row.done += one;
            row.spent[part.index()] += ns;
            row.last = now;
        } else {
            row.broken_off += one;
            row.lost += ns;
        }
    }

    /// All of it.
    #[must_use]
    pub fn summary(&self, workloads: &WorkloadTable) -> Vec<WorkSummary> {
        let one = |(row, tally): (&u32, &Tally)| {
            let workload = workloads.rows.get(*row as usize).map(|w| w.label.clone());
            let [node, zone, elsewhere, computed, waited, slowed, held] = tally.spent.map(seconds);
            WorkSummary {
                workload: workload.unwrap_or_default(),
                done: tally.done,
                last_done_s: tally.last.secs_f64(),
                total_s: seconds(tally.spent.iter().sum()),
                read_on_node_s: node,
                read_in_zone_s: zone,
                read_elsewhere_s: elsewhere,
                computed_s: computed,
                waited_for_cpu_s: waited,
                slowed_by_neighbours_s: slowed,
                held_s: held,
                broken_off: tally.broken_off,
                lost_s: seconds(tally.lost),
            }
        };
        self.rows.iter().map(one).collect()
    }
}

/// What runs with work are compared by: means over containers that are done, but for the last
/// end; nothing without work.
#[must_use]
pub fn measures(rows: &[WorkSummary]) -> Vec<(&'static str, f64)> {
    if rows.is_empty() {
        return Vec::new();
    }
    // Of a run in which nothing was done there is nothing to compare.
    if rows.iter().all(|w| w.done == 0) {
        return Vec::new();
    }
    let done = num::float_u(rows.iter().map(|w| w.done).sum::<u64>());
    let mean = |of: fn(&WorkSummary) -> f64| rows.iter().map(of).sum::<f64>() / done;
    vec![
        ("work_last_done_s", rows.iter().map(|w| w.last_done_s).fold(0.0, f64::max)),
        ("work_mean_s", mean(|w| w.total_s)),
        ("work_computed_mean_s", mean(|w| w.computed_s)),
        ("work_read_near_mean_s", mean(|w| w.read_on_node_s + w.read_in_zone_s)),
        ("work_read_elsewhere_mean_s", mean(|w| w.read_elsewhere_s)),
        ("work_waited_for_cpu_mean_s", mean(|w| w.waited_for_cpu_s)),
        ("work_slowed_mean_s", mean(|w| w.slowed_by_neighbours_s)),
        ("work_held_mean_s", mean(|w| w.held_s)),
    ]
}

impl WorkSummary {
    /// The pieces, with a name for each.
    #[must_use]
    pub fn pieces(&self) -> [(&'static str, f64); 7] {
        let own = [
            self.read_on_node_s,
            self.read_in_zone_s,
            self.read_elsewhere_s,
            self.computed_s,
            self.waited_for_cpu_s,
            self.slowed_by_neighbours_s,
            self.held_s,
        ];
        let mut pieces = Part::ALL.map(|part| (part.words(), 0.0));
        for (piece, s) in pieces.iter_mut().zip(own) {
            piece.1 = s;
        }
        pieces
    }

    /// `Work of job/executors: 8 done by 00:12:03, 10m02s each: 4m computing, …`.
    #[must_use]
    pub fn line(&self) -> String {
        let mean = |s: f64| span(num::rounded(s / num::float_u(self.done.max(1)), 1));
        let mut text = format!("Work of {}: {} done", self.workload, self.done);
        if self.done > 0 {
            let pieces: Vec<String> = (self.pieces().iter().filter(|(_, s)| *s > 0.0))
                .map(|(words, s)| format!("{} {words}", mean(*s)))
                .collect();
            text.push_str(&format!(
                " by {}, {} each on average: {}",
                clock(self.last_done_s),
                mean(self.total_s),
                pieces.join(", ")
            ));
        }
        if self.broken_off > 0 {
            let broken = count(self.broken_off, "container");
            text.push_str(&format!("; {broken} broken off, {} lost", span(self.lost_s)));
        }
        text.push('.');
        text
    }
}
