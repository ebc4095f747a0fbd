//! The answer for programs.

use super::{Answer, Fit, Limit, Lost, Need};
use serde_json::{Value, json};

/// Text of a cell.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn limit_json(limit: &Limit) -> Value {
    json!({"resource": limit.resource, "nodes": limit.nodes, "stranded": limit.stranded})
}

impl Answer {
    /// The answer as data. CPU in milli-cores, memory in bytes.
    #[must_use]
    pub fn json(&self) -> Value {
        let s = &self.state;
        let shapes: Vec<Value> =
            self.shapes.iter().zip(&self.fits).map(|(s, f)| self.fit_json(s, f)).collect();
        let losses: Vec<Value> = self.losses.iter().map(|l| self.loss_json(l)).collect();
        json!({
            "scenario": self.scenario,
            "seed": self.seed,
            "state": {
                "at_s": s.at.secs_f64(),
                "at_rest": s.rested,
                "nodes": s.nodes,
                "pods": s.pods,
                "pods_without_a_node": s.waiting,
                "cpu_milli": {"allocatable": s.cpu.0, "free": s.cpu.1},
                "memory_bytes": {"allocatable": s.memory.0, "free": s.memory.1},
            },
            "shapes": shapes,
            "kinds_left_out": self.left_out,
            "losses": losses,
            "nodes_needed": self.needed.iter().map(need_json).collect::<Vec<_>>(),
            "nodes_needed_for": self.needed_of,
            "required": self.require,
            "pass": self.passed(),
        })
    }

    fn fit_json(&self, shape: &super::Shape, fit: &Fit) -> Value {
        let pairs = |names: &[String], counts: &[u32]| -> Value {
            let pair = |(name, n): (&String, &u32)| (name.clone(), Value::from(*n));
            Value::Object(names.iter().zip(counts).map(pair).collect())
        };
        json!({
            "shape": shape.name,
            "requests": Value::from(shape),
            "fits": fit.fits,
            "counting_ended_there": fit.capped,
            "by_zone": pairs(&self.zones, &fit.by_zone),
            "by_pool": pairs(&self.pools, &fit.by_pool),
            "why_no_more": fit.why,
            "limits": fit.limits.iter().map(limit_json).collect::<Vec<_>>(),
            "own_claims_not_looked_at": shape.own_claims,
        })
    }

    fn loss_json(&self, lost: &Lost) -> Value {
        let fits: serde_json::Map<String, Value> = (self.shapes.iter().zip(&lost.fits))
            .map(|(s, n)| (s.name.clone(), Value::from(*n)))
            .collect();
        json!({
            "loss": lost.what,
            "nodes": lost.nodes,
            "chosen": lost.how(),
            "evicted": lost.evicted,
            "not_made_anew": lost.gone,
            "without_a_place": lost.stuck,
            "why": lost.why,
            "fits": fits,
        })
    }

    /// One row per shape.
    #[must_use]
    pub fn fits_csv(&self) -> String {
        let mut out = "shape,requests,fits,capped".to_owned();
        for (word, names) in [("zone", &self.zones), ("pool", &self.pools)] {
            for name in names {
                out.push(',');
                out.push_str(&quoted(&format!("{word}_{name}")));
            }
        }
        out.push_str(",limit,nodes_short,why_no_more\n");
        for (shape, fit) in self.shapes.iter().zip(&self.fits) {
            let mut cells = vec![
                quoted(&shape.name),
                quoted(&shape.requests()),
                fit.fits.to_string(),
                fit.capped.to_string(),
            ];
            cells.extend(fit.by_zone.iter().chain(&fit.by_pool).map(u32::to_string));
            let first = fit.limits.first();
            cells.push(first.map_or(String::new(), |l| l.resource.clone()));
            cells.push(first.map_or(String::new(), |l| l.nodes.to_string()));
            cells.push(quoted(&fit.why));
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }

    /// One row per loss and shape.
    #[must_use]
    pub fn losses_csv(&self) -> String {
        let mut out = "loss,nodes,evicted,not_made_anew,without_a_place,shape,fits\n".to_owned();
        for lost in &self.losses {
            for (shape, fits) in self.shapes.iter().zip(&lost.fits) {
                let cells = [
                    quoted(&lost.what),
                    quoted(&lost.nodes.join(" ")),
                    lost.evicted.to_string(),
                    lost.gone.to_string(),
                    lost.stuck().to_string(),
                    quoted(&shape.name),
                    fits.to_string(),
                ];
                out.push_str(&cells.join(","));
                out.push('\n');
            }
        }
        out
    }

    /// One row per pool.
    #[must_use]
    pub fn needed_csv(&self) -> String {
        let mut out = "pool,nodes_now,pods,nodes_needed,nodes_by_sums,bound_by\n".to_owned();
        for need in &self.needed {
            let nodes = need.nodes.map_or(String::new(), |n| n.to_string());
            let cells = [
                quoted(&need.pool),
                need.now.to_string(),
                need.pods.to_string(),
                nodes,
                need.by_sums.to_string(),
                need.bound_by.clone(),
            ];
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }
}

fn need_json(need: &Need) -> Value {
    json!({
        "pool": need.pool,
        "now": need.now,
        "pods": need.pods,
        "needed": need.nodes,
        "by_sums": need.by_sums,
        "bound_by": need.bound_by,
        "with_one_fewer": need.first_left,
    })
}
