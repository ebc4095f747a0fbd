//! What is kept of a run that has ended: one small file, told from a torn one by its checksum.

use crate::cluster::spec::Plan;
use crate::engine::digest::hash_bytes;
use crate::report::curves::Curves;
use crate::report::measures::MEASURES;
use crate::report::metrics::Metrics;
use crate::report::summary::Summary;
use crate::session::Session;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// What the run is: see [`super::study::key`].
    pub key: String,
    /// Seed.
    pub seed: u64,
    /// Digest over all events.
    pub digest: String,
    /// Values of [`MEASURES`] by name; none of what the run does not have.
    pub measures: BTreeMap<String, Option<f64>>,
    /// What pictures need.
    pub curves: Curves,
}

impl Done {
    /// Plays a plan with a seed to its end. What is returned has been through [`Done::write`], so
    /// that it does not matter whether a run was played or read.
    #[must_use]
    pub fn play(plan: &Plan, seed: u64, key: &str) -> (Self, Vec<u8>) {
        let mut plan = plan.clone();
        plan.seed = seed;
        let mut metrics = Metrics::new(&plan, None);
        let mut session = Session::new(Arc::new(plan));
        session.run(&mut [&mut metrics], |_| {});
        let digest = session.digest();
        let summary = Summary::new(&metrics, &digest);
        let value = |of: fn(&Summary) -> f64| Some(of(&summary)).filter(|x| x.is_finite());
        let measures = MEASURES.iter().map(|m| (m.name.to_owned(), value(m.of))).collect();
        let curves = Curves::of(&metrics, &summary);
        let done = Self { key: key.to_owned(), seed, digest, measures, curves };
        let bytes = done.write();
        (Self::read(&bytes, key).unwrap_or(done), bytes)
    }

    /// The file.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        // Maps of text and numbers: nothing in it can fail.
        let body = serde_json::to_string(self).unwrap_or_default();
        format!("{{\"check\":\"{}\",\"run\":{body}}}\n", check(&body)).into_bytes()
    }

    /// Reads a file; none if it is torn, foreign, or of another run.
    #[must_use]
    pub fn read(bytes: &[u8], key: &str) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (sum, rest) = text.strip_prefix("{\"check\":\"")?.split_at_checked(16)?;
        let body = rest.strip_prefix("\",\"run\":")?.strip_suffix("}\n")?;
        if check(body) != sum {
            return None;
        }
        let done: Self = serde_json::from_str(body).ok()?;
        (done.key == key).then_some(done)
    }

    /// The value of a measure; not a number if the run does not have it.
    #[must_use]
    pub fn value(&self, measure: &str) -> f64 {
        self.measures.get(measure).copied().flatten().unwrap_or(f64::NAN)
    }
}

fn check(body: &str) -> String {
    format!("{:016x}", hash_bytes(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_and_foreign_files_are_no_results() {
        let done = Done {
            key: "k".into(),
            seed: 7,
            measures: BTreeMap::from([("a".into(), Some(0.1)), ("b".into(), None)]),
            ..Done::default()
        };
        let bytes = done.write();
        assert_eq!(Done::read(&bytes, "k"), Some(done));
        assert_eq!(Done::read(&bytes, "other"), None);
        for cut in 0..bytes.len() {
            assert_eq!(Done::read(&bytes[..cut], "k"), None, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Done::read(&bad, "k"), None, "bit of byte {at}");
        }
    }
}
