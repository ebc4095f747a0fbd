//! Failures and repairs as fitted to records of real ones: the best distribution by AIC that
//! `wavetank fit` finds. A test fits the records again and compares.

use super::file::PresetName;
use crate::engine::{Dist, SimDuration};

const fn secs(s: u64) -> SimDuration {
    SimDuration::from_secs(s)
}

/// Time from a machine's return to its next failure and, if the record tells it, time to its
/// return.
#[must_use]
pub const fn preset(name: PresetName) -> (Dist, Option<Dist>) {
    match name {
        // wavetank fit event_trace.tsv.gz (Failure Trace Archive, Grid'5000)
        PresetName::Grid5000 => (
            Dist::Weibull { scale: secs(48_180), shape: 0.4873 },
            Some(Dist::LogNormal { median: SimDuration::from_millis(489_300), sigma: 2.193 }),
        ),
        // wavetank fit lanl-1996-2005.csv.gz (LA-UR-05-7318)
        PresetName::Lanl => (
            Dist::LogNormal { median: secs(2_233_000), sigma: 2.928 },
            Some(Dist::LogNormal { median: secs(3_636), sigma: 1.493 }),
        ),
        // wavetank fit machine_remove_events_days01-15.csv.gz --machines 12580 (clusterdata-2011-2)
        PresetName::Google2011 => (Dist::Gamma { scale: secs(13_580_000), shape: 0.6012 }, None),
    }
}
