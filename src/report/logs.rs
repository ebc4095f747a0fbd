//! What became of the logs of containers: written, shipped, lost and why, what waited meanwhile,
//! and which nodes ran short of disk for it.

use super::expect::{Verdict, listed, verdict};
use super::rows::Line;
use super::text::{clock, count};
use crate::cluster::spec::ExpectLogs;
use crate::engine::{SimTime, Sym, num};
use crate::event::logs::{BYTE, Nanobytes, Tally};
use serde::Serialize;

/// Nodes that a line names.
const NAMED: usize = 5;

/// Logs by node, as they stand at the end of a run; no row without logs.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// In order of the nodes.
    pub rows: Vec<(Sym, Tally)>,
}

/// Logs of a run; all amounts in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogSummary {
    /// Written by containers.
    pub written_bytes: u64,
    /// Taken by the store.
    pub shipped_bytes: u64,
    /// Lost, for any reason.
    pub lost_bytes: u64,
    /// Lost: rotated away before an agent had read it.
    pub rotated_away_bytes: u64,
    /// Lost: thrown away because the agent's buffer was full.
    pub buffer_full_bytes: u64,
    /// Lost: thrown away because the disk under the buffer was full.
    pub disk_full_bytes: u64,
    /// Lost: removed with its container before an agent had read it, or gone with its machine.
    pub removed_bytes: u64,
    /// In buffers at the end.
    pub buffered_bytes: u64,
    /// In logs of containers at the end, read by no agent.
    pub unread_bytes: u64,
    /// Most that waited in the buffer of one node.
    pub peak_backlog_bytes: u64,
    /// Where; empty if nothing ever waited.
    pub peak_node: String,
    /// When.
    pub peak_s: f64,
    /// Nodes under `DiskPressure` that they would not have been under without logs, and from when
    /// on, for the first time.
    pub disk_pressure: Vec<PressedNode>,
    /// Pods evicted under it.
    pub evicted: u64,
}

/// A node that was short of disk because of logs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PressedNode {
    /// Its name.
    pub node: String,
    /// Since when, for the first time.
    pub at_s: f64,
    /// Pods that were evicted.
    pub evicted: u32,
}

/// Whole bytes.
fn bytes(amount: Nanobytes) -> u64 {
    u64::try_from(amount / BYTE).unwrap_or(u64::MAX)
}

/// Bytes as people say them: `1.5 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return count(bytes, "byte");
    }
    let (mut amount, mut unit) = (num::float_u(bytes) / 1024.0, 0);
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        (amount, unit) = (amount / 1024.0, unit + 1);
    }
    format!("{amount:.1} {}", UNITS[unit])
}

impl Table {
    /// What became of the logs of a node.
    pub fn node(&mut self, node: Sym, tally: &Tally) {
        self.rows.push((node, *tally));
    }

    /// The row whose buffer was fullest; the first one of several.
    fn fullest(&self) -> Option<&(Sym, Tally)> {
        let most = self.rows.iter().map(|(_, t)| t.peak.0).max().filter(|most| *most > 0)?;
        self.rows.iter().find(|(_, t)| t.peak.0 == most)
    }

    /// The logs of a run; none if there were none.
    #[must_use]
    pub fn summary(&self) -> Option<LogSummary> {
        if self.rows.is_empty() {
            return None;
        }
        let sum = |of: fn(&Tally) -> Nanobytes| bytes(self.rows.iter().map(|(_, t)| of(t)).sum());
        let peak = self.fullest();
        let pressed = self.rows.iter().filter_map(|(node, t)| {
            let at_s = t.pressed?.secs_f64();
            Some(PressedNode { node: node.to_string(), at_s, evicted: t.evicted })
        });
        Some(LogSummary {
            written_bytes: sum(|t| t.written),
            shipped_bytes: sum(|t| t.shipped),
            lost_bytes: sum(Tally::lost),
            rotated_away_bytes: sum(|t| t.rotated),
            buffer_full_bytes: sum(|t| t.overflowed),
            disk_full_bytes: sum(|t| t.no_room),
            removed_bytes: sum(|t| t.gone),
            buffered_bytes: sum(|t| t.buffered),
            unread_bytes: sum(|t| t.unread),
            peak_backlog_bytes: peak.map_or(0, |(_, t)| bytes(t.peak.0)),
            peak_node: peak.map(|(node, _)| node.to_string()).unwrap_or_default(),
            peak_s: peak.map_or(SimTime::ZERO, |(_, t)| t.peak.1).secs_f64(),
            disk_pressure: pressed.collect(),
            evicted: self.rows.iter().map(|(_, t)| u64::from(t.evicted)).sum(),
        })
    }

    /// `logs.csv`.
    #[must_use]
    pub fn csv(&self) -> Vec<u8> {
        const HEAD: &str = "node,written_bytes,shipped_bytes,rotated_away_bytes,buffer_full_bytes,\
                            disk_full_bytes,removed_bytes,buffered_bytes,unread_bytes,\
                            peak_backlog_bytes,peak_s,disk_pressure_s,evicted\n";
        let mut out = HEAD.as_bytes().to_vec();
        let mut line = Line::default();
        for (node, t) in &self.rows {
            line.begin().sym(*node);
            let amounts = [
                t.written,
                t.shipped,
                t.rotated,
                t.overflowed,
                t.no_room,
                t.gone,
                t.buffered,
                t.unread,
                t.peak.0,
            ];
            for amount in amounts {
                line.uint(bytes(amount));
            }
            line.seconds(t.peak.1).seconds(t.pressed.unwrap_or(SimTime::MAX));
            line.uint(u64::from(t.evicted));
            out.extend_from_slice(line.end());
        }
        out
    }
}

impl LogSummary {
    /// What was lost, by cause, in words; only what there was.
    #[must_use]
    pub fn causes(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("rotated away unread", self.rotated_away_bytes),
            ("for a full buffer", self.buffer_full_bytes),
            ("for a full disk", self.disk_full_bytes),
            ("removed unread", self.removed_bytes),
        ];
        all.into_iter().filter(|(_, n)| *n > 0).collect()
    }

    /// Lines of the page.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let lost: Vec<String> =
            self.causes().iter().map(|(why, n)| format!("{} {why}", size(*n))).collect();
        let lost = if lost.is_empty() {
            "nothing lost".to_owned()
        } else {
            format!("{} LOST ({})", size(self.lost_bytes), lost.join(", "))
        };
        let (written, shipped) = (size(self.written_bytes), size(self.shipped_bytes));
        let mut lines = vec![format!("Logs: {written} written, {shipped} shipped, {lost}.")];
        let mut waited = Vec::new();
        if self.peak_backlog_bytes > 0 {
            let (most, node) = (size(self.peak_backlog_bytes), &self.peak_node);
            waited
                .push(format!("At most {most} waited on a node ({node}, {})", clock(self.peak_s)));
        }
        let left = self.buffered_bytes + self.unread_bytes;
        if self.peak_backlog_bytes > 0 || self.unread_bytes > 0 {
            waited.push(format!("{} not shipped by the end", size(left)));
        }
        if !waited.is_empty() {
            lines.push(format!("  {}.", waited.join("; ")));
        }
        if !self.disk_pressure.is_empty() {
            let nodes: Vec<String> = self
                .disk_pressure
                .iter()
                .map(|p| format!("{} at {}", p.node, clock(p.at_s)))
                .collect();
            lines.push(format!(
                "  DiskPressure because of logs: {}; {} evicted.",
                listed(&nodes, NAMED),
                count(self.evicted, "pod")
            ));
        }
        lines
    }
}

/// What an assertion comes to.
pub(super) fn judge(table: &Table, wanted: &ExpectLogs) -> Verdict {
    let (mut expected, mut observed, mut pass) = (Vec::new(), Vec::new(), true);
    let peak = table.fullest().map_or(0, |(_, t)| t.peak.0);
    let lost: Nanobytes = table.rows.iter().map(|(_, t)| t.lost()).sum();
    let bounds = [("lost", wanted.lost, lost), ("waiting on one node", wanted.backlog, peak)];
    for (what, most, is) in bounds {
        let Some(most) = most else { continue };
        // Less than a byte is rounding.
        pass &= bytes(is) <= most;
        expected.push(format!("at most {} of logs {what}", size(most)));
        observed.push(size(bytes(is)));
    }
    verdict(pass, expected.join(" and "), observed.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_binary_units() {
        let said = [0, 1, 1023, 1024, 1_048_575, 1 << 20, 5 << 30, 3 << 49].map(size);
        let wanted = [
            "0 bytes",
            "1 byte",
            "1023 bytes",
            "1.0 KiB",
            "1.0 MiB",
            "1.0 MiB",
            "5.0 GiB",
            "1.5 PiB",
        ];
        assert_eq!(said, wanted);
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        let mut table = Table::default();
        assert_eq!(table.summary(), None);
        let tally = Tally { written: 5 * BYTE, shipped: 5 * BYTE, ..Tally::default() };
        table.node(Sym::new("a"), &tally);
        let summary = table.summary().unwrap();
        assert_eq!(summary.lines(), ["Logs: 5 bytes written, 5 bytes shipped, nothing lost."]);
        let wanted = ExpectLogs { lost: Some(0), backlog: None };
        assert!(judge(&table, &wanted).pass);
        let lost = Tally { rotated: 2 * BYTE, pressed: Some(SimTime::ZERO), ..tally };
        table.node(Sym::new("b"), &lost);
        assert!(!judge(&table, &wanted).pass);
        assert!(
            table.summary().unwrap().lines()[0]
                .ends_with("2 bytes LOST (2 bytes rotated away unread).")
        );
    }
}
