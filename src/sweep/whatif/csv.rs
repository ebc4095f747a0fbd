//! The answer as tables for programs: losses, workloads, and every single sample.

use super::ranking::{STAGES, Study};
use crate::engine::num;
use crate::sweep::stats::Estimate;
use serde_json::{Value, json};
use std::fmt::Write;

/// A number with at most six decimals; empty if there is none.
fn number(x: f64) -> String {
    if !x.is_finite() {
        return String::new();
    }
    let x = num::rounded(x, 6);
    (if x.abs() < 1e-9 { 0.0 } else { x }).to_string()
}

/// Mean, low and high end.
fn three(e: &Estimate) -> String {
    let (low, high) = e.interval.unwrap_or((f64::NAN, f64::NAN));
    format!("{},{},{}", number(e.mean), number(low), number(high))
}

/// Text of a cell.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn json_of(e: &Estimate) -> Value {
    json!({"mean": finite(e.mean), "interval_95": e.interval, "n": e.n})
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

impl Study {
    /// One row per loss, the worst first.
    #[must_use]
    pub fn losses_csv(&self) -> String {
        let mut head = "rank,loss,kind".to_owned();
        let measures = ["down_min", "short_replica_min"].into_iter().map(str::to_owned);
        let stages = STAGES.iter().map(|s| format!("{s}_s"));
        let counts = ["evicted", "pending_min", "blocked", "lost_work_min"];
        for m in measures.chain(stages).chain(counts.into_iter().map(str::to_owned)) {
            // Writing to a string cannot fail.
            write!(head, ",{m},{m}_low,{m}_high").unwrap_or_default();
        }
        let mut out = head + ",why_pending,expectations_failed,flips_with\n";
        for (i, row) in self.rows.iter().enumerate() {
            let mut cells =
                vec![(i + 1).to_string(), quoted(&row.loss.to_string()), row.loss.kind()];
            cells.extend([three(&row.down), three(&row.short)]);
            cells.extend(row.stages.iter().map(three));
            cells.extend([&row.evicted, &row.pending, &row.blocked, &row.lost_work].map(three));
            cells.push(quoted(&row.why_pending));
            cells.push(row.breaches.len().to_string());
            cells.push(quoted(&row.flips.join(" ")));
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }

    /// One row per loss and workload.
    #[must_use]
    pub fn workloads_csv(&self) -> String {
        let mut out = "rank,loss,workload,needs,by_budget,replicas,down_min,down_min_low,\
            down_min_high,short_replica_min,short_replica_min_low,short_replica_min_high,\
            seeds,seeds_down,seeds_down_at_end\n"
            .to_owned();
        for (i, row) in self.rows.iter().enumerate() {
            for w in &row.workloads {
                let cells = [
                    (i + 1).to_string(),
                    quoted(&row.loss.to_string()),
                    quoted(&w.workload),
                    w.need.to_string(),
                    w.by_budget.to_string(),
                    w.desired.to_string(),
                    three(&w.down),
                    three(&w.short),
                    w.down.n.to_string(),
                    w.seeds_down.to_string(),
                    w.open.to_string(),
                ];
                out.push_str(&cells.join(","));
                out.push('\n');
            }
        }
        out
    }

    /// One row per loss and seed.
    #[must_use]
    pub fn samples_csv(&self) -> String {
        let mut out = "loss,seed,lost_at_s,repair_s,down_min,short_replica_min,detected_s,\
            evicted_s,rescheduled_s,ready_s,evicted,pending_min,blocked,lost_work_min,\
            came_to_rest\n"
            .to_owned();
        for row in &self.rows {
            for ((seed, facts), d) in self.seeds.iter().zip(&self.facts).zip(&row.samples) {
                let spans = [d.detect_s, d.evict_s, d.reschedule_s, d.ready_s];
                let mut cells = vec![quoted(&row.loss.to_string()), seed.to_string()];
                cells.extend([facts.at.secs_f64(), facts.repair.secs_f64()].map(number));
                cells.extend([d.down_s() / 60.0, d.short_s() / 60.0].map(number));
                cells.extend(spans.map(|s| number(s.unwrap_or(f64::NAN))));
                cells.push(d.evicted.to_string());
                cells.extend([d.pending_s() / 60.0, d.blocked, d.lost_work_s / 60.0].map(number));
                cells.push(d.rested.to_string());
                out.push_str(&cells.join(","));
                out.push('\n');
            }
        }
        out
    }

    /// The whole answer as data, but for the single samples.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().enumerate().map(|(i, row)| {
            let stages = STAGES.iter().zip(&row.stages);
            let stages: serde_json::Map<String, Value> =
                stages.map(|(name, e)| (format!("{name}_s"), json_of(e))).collect();
            let workloads = row.workloads.iter().map(|w| {
                json!({
                    "workload": w.workload,
                    "needs": w.need.to_string(),
                    "by_budget": w.by_budget,
                    "replicas": w.desired,
                    "down_min": json_of(&w.down),
                    "short_replica_min": json_of(&w.short),
                    "seeds_down": w.seeds_down,
                    "seeds_down_at_end": w.open,
                })
            });
            let breaches = row.breaches.iter().map(|b| {
                json!({"expected": b.expected, "seeds": b.seeds, "seed": b.first.0, "observed": b.first.1})
            });
            json!({
                "rank": i + 1,
                "loss": row.loss.to_string(),
                "kind": row.loss.kind(),
                "down_min": json_of(&row.down),
                "short_replica_min": json_of(&row.short),
                "stages": stages,
                "evicted": json_of(&row.evicted),
                "pending_min": json_of(&row.pending),
                "why_pending": row.why_pending,
                "blocked": json_of(&row.blocked),
                "lost_work_min": json_of(&row.lost_work),
                "workloads": workloads.collect::<Vec<_>>(),
                "failed": breaches.collect::<Vec<_>>(),
                "flips_with": row.flips,
                "seeds_without_rest": row.restless(),
            })
        });
        let seeds = self.seeds.iter().zip(&self.facts).map(|(seed, f)| {
            json!({"seed": seed, "lost_at_s": f.at.secs_f64(), "repair_s": f.repair.secs_f64(), "at_rest": f.rested})
        });
        json!({
            "scenario": self.scenario,
            "nodes": self.nodes,
            "seeds": seeds.collect::<Vec<_>>(),
            "needs_without_budget": self.need.to_string(),
            "expectations": self.expectations,
            "sensitivity_seeds": self.sensitivity,
            "losses": rows.collect::<Vec<_>>(),
        })
    }
}
