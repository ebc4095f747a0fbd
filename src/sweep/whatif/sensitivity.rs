//! Would the answer be another one if a latency that nobody has measured were another one? Each is
//! halved and doubled, and the same losses are played again on a few of the same seeds.

use super::branch::Setting;
use super::losses::Loss;
use super::ranking::Study;
use crate::cluster::spec::{Latencies, Plan};
use crate::engine::{Dist, num};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A latency, and how it is scaled.
type Knob = (&'static str, fn(&mut Latencies, f64));

/// The latencies that ACCURACY.md marks as unsourced, by the names it gives them.
const UNSOURCED: [Knob; 4] = [
    ("RunPodSandbox", |l, by| l.sandbox = scaled(l.sandbox, by)),
    ("CreateContainer", |l, by| l.container = scaled(l.container, by)),
    ("image", |l, by| {
        let bytes = num::float_u(l.pull_bytes_per_s) / by;
        l.pull_bytes_per_s = num::trunc_u(bytes).max(1);
    }),
    ("round trip", |l, by| l.raft_rtt = l.raft_rtt.scale(by)),
];

/// Names of the latencies without a source.
#[must_use]
pub fn unsourced() -> Vec<&'static str> {
    UNSOURCED.iter().map(|(name, _)| *name).collect()
}

fn scaled(dist: Dist, by: f64) -> Dist {
    dist.stretched(num::trunc_u(by * 100.0))
}

/// What of an answer would be another answer: the worst loss, and which assertions fail after
/// which losses.
fn answer(study: &Study) -> (Option<String>, BTreeSet<(String, String)>) {
    let worst = study.rows.first().map(|row| row.loss.to_string());
    let failing = study.rows.iter().flat_map(|row| {
        let name = row.loss.to_string();
        row.breaches.iter().map(move |b| (name.clone(), b.expected.clone()))
    });
    (worst, failing.collect())
}

/// Notes in the study which latency would change what it says of which loss.
pub(super) fn look(
    study: &mut Study,
    plan: &Arc<Plan>,
    losses: &[Loss],
    setting: &Setting,
    (threads, seeds): (usize, usize),
    tick: impl Fn() + Sync,
) {
    let seeds = seeds.min(setting.seeds.len());
    let few = Setting { seeds: setting.seeds[..seeds].to_vec(), ..setting.clone() };
    let (worst, failing) = answer(&study.of_first(seeds));
    for (name, scale) in UNSOURCED {
        for by in [0.5, 2.0] {
            let mut other = Plan::clone(plan);
            scale(&mut other.cluster.latency, by);
            if other.cluster.latency == plan.cluster.latency {
                // Nobody makes that trip here.
                continue;
            }
            let other = super::study(&Arc::new(other), losses, &few, threads, &tick);
            let (other_worst, other_failing) = answer(&other);
            let mut flipped: BTreeSet<String> = failing
                .symmetric_difference(&other_failing)
                .map(|(loss, _)| loss.clone())
                .collect();
            if worst != other_worst {
                flipped.extend(worst.clone());
                flipped.extend(other_worst);
            }
            for row in &mut study.rows {
                if flipped.contains(&row.loss.to_string()) && !row.flips.contains(&name) {
                    row.flips.push(name);
                }
            }
        }
    }
    study.sensitivity = seeds;
}
