//! When a workload is down: it has fewer ready replicas than it needs.
//!
//! What it needs is what its owner says to the cluster: `minAvailable` of the disruption budget
//! that selects its pods (or the replicas less `maxUnavailable`; percentages round up, source:
//! `controller/disruption/disruption.go` `getExpectedPodCount`). Without a budget it is one ready
//! replica.

use super::workloads::{Point, WorkloadRow};
use crate::api::pdb::PodDisruptionBudget;
use crate::api::versions::Versions;
use crate::api::workload::IntOrPercent;
use crate::api::{Kind, LabelSet, Name, Obj};
use crate::engine::{SimDuration, SimTime, Sym, num};
use std::fmt;

/// How many ready replicas a workload needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// So many, or so many per cent of those wanted.
    Least(IntOrPercent),
    /// All that are wanted but so many.
    Spare(IntOrPercent),
}

impl Default for Need {
    /// One.
    fn default() -> Self {
        Self::Least(IntOrPercent::Int(1))
    }
}

impl Need {
    /// The number, if so many replicas are wanted: never more than those.
    #[must_use]
    pub fn at(self, desired: i32) -> i32 {
        let need = match self {
            Self::Least(least) => least.of(desired, true),
            Self::Spare(spare) => desired.saturating_sub(spare.of(desired, true)),
        };
        need.clamp(0, desired.max(0))
    }

    /// The number, or a percentage.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is neither a number nor a percentage");
        let (digits, percent) =
            text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        let n: i32 = digits.parse().map_err(|_e| bad())?;
        if n < 0 || percent && n > 100 {
            return Err(format!("{text:?} is out of range"));
        }
        Ok(Self::Least(if percent { IntOrPercent::Percent(n) } else { IntOrPercent::Int(n) }))
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Least(IntOrPercent::Int(n)) => write!(f, "{n}"),
            Self::Least(IntOrPercent::Percent(p)) => write!(f, "{p}%"),
            Self::Spare(IntOrPercent::Int(0) | IntOrPercent::Percent(0)) => f.write_str("all"),
            Self::Spare(IntOrPercent::Int(n)) => write!(f, "all but {n}"),
            Self::Spare(IntOrPercent::Percent(p)) => write!(f, "all but {p}%"),
        }
    }
}

/// The need of every workload that has a budget, by the budgets that are there now. Of several
/// budgets the one that asks for most counts, since all of them hold.
#[must_use]
pub fn needs(rows: &[WorkloadRow], versions: &Versions) -> Vec<Option<Need>> {
    let budgets: Vec<PodDisruptionBudget> = versions
        .iter(Kind::PodDisruptionBudget)
        .filter_map(|(_, obj)| {
            let Obj::Generic(_, document) = obj else { return None };
            Some(PodDisruptionBudget::of(document))
        })
        .collect();
    rows.iter()
        .map(|row| {
            let labels = labels(row, versions).filter(|_| !budgets.is_empty());
            labels.and_then(|l| budget(row, l, &budgets))
        })
        .collect()
}

fn budget(row: &WorkloadRow, labels: LabelSet, budgets: &[PodDisruptionBudget]) -> Option<Need> {
    let mine = budgets.iter().filter(|b| b.meta.ns == row.ns && b.matches(labels));
    let asked = mine.filter_map(|b| match (b.min_available, b.max_unavailable) {
        (Some(least), _) => Some(Need::Least(least)),
        (None, Some(spare)) => Some(Need::Spare(spare)),
        (None, None) => None,
    });
    asked.max_by_key(|need| need.at(row.desired))
}

/// The labels of a workload's pods.
fn labels(row: &WorkloadRow, versions: &Versions) -> Option<LabelSet> {
    let object = versions.find(row.kind, row.ns, Name::from(Sym::new(&row.name)))?;
    let obj = versions.current(row.kind, object)?;
    if let Obj::Deployment(o) = obj {
        return Some(o.template.labels);
    }
    if let Obj::StatefulSet(o) = obj {
        return Some(o.template.labels);
    }
    if let Obj::DaemonSet(o) = obj {
        return Some(o.template.labels);
    }
    if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = obj {
        return Some(o.template.labels);
    }
    None
}

/// What a stretch of a timeline amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Down {
    /// Time with fewer ready replicas than needed.
    pub total: SimDuration,
    /// The longest stretch of it.
    pub longest: SimDuration,
    /// Replicas that were wanted and not ready, times how long.
    pub short: SimDuration,
    /// It was down at the end.
    pub open: bool,
}

/// Reads the stretch of a timeline from one instant to another.
#[must_use]
pub fn down(timeline: &[Point], need: Need, from: SimTime, to: SimTime) -> Down {
    let mut down = Down::default();
    let mut stretch = SimDuration::ZERO;
    for (i, point) in timeline.iter().enumerate() {
        let until = timeline.get(i + 1).map_or(to, |next| next.time).min(to);
        let span = until.since(point.time.max(from));
        if until <= from || span == SimDuration::ZERO {
            continue;
        }
        let lacking = num::u64_of(i64::from(point.desired) - i64::from(point.available));
        down.short = down.short + span.times(lacking);
        down.open = point.available < need.at(point.desired);
        if down.open {
            down.total = down.total + span;
            stretch = stretch + span;
            down.longest = down.longest.max(stretch);
        } else {
            stretch = SimDuration::ZERO;
        }
    }
    down
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(list: &[(u64, i32, i32)]) -> Vec<Point> {
        let point =
            |&(s, desired, available)| Point { time: SimTime::from_secs(s), desired, available };
        list.iter().map(point).collect()
    }

    #[test]
    fn a_need_follows_the_replicas() {
        assert_eq!(Need::default().at(5), 1);
        assert_eq!(Need::default().at(0), 0, "nothing is wanted, so nothing is needed");
        assert_eq!(Need::Least(IntOrPercent::Percent(50)).at(7), 4);
        assert_eq!(Need::Spare(IntOrPercent::Percent(25)).at(7), 5);
        assert_eq!(Need::Spare(IntOrPercent::Int(1)).at(3), 2);
        assert_eq!(Need::parse("60%"), Ok(Need::Least(IntOrPercent::Percent(60))));
        assert!(Need::parse("-1").is_err() && Need::parse("101%").is_err());
    }

    #[test]
    fn downtime_is_measured_by_the_need() {
        let points = line(&[(0, 3, 3), (60, 3, 1), (70, 3, 0), (75, 3, 2), (90, 3, 3), (95, 3, 1)]);
        let (from, to) = (SimTime::from_secs(50), SimTime::from_secs(100));
        let one = down(&points, Need::default(), from, to);
        assert_eq!(one.total, SimDuration::from_secs(5));
        assert_eq!(one.short, SimDuration::from_secs(20 + 15 + 15 + 10));
        assert!(!one.open);
        let two = down(&points, Need::Least(IntOrPercent::Int(2)), from, to);
        assert_eq!(
            (two.total, two.longest),
            (SimDuration::from_secs(20), SimDuration::from_secs(15))
        );
        assert!(two.open);
        // What lies outside does not count.
        let late = down(&points, Need::default(), SimTime::from_secs(72), to);
        assert_eq!(late.total, SimDuration::from_secs(3));
    }
}
