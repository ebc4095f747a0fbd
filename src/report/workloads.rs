//! Workloads: replicas wanted and replicas that serve, over time.

use super::rows::Line;
use crate::api::object::Obj;
use crate::api::{Kind, Meta, Name, Pod};
use crate::engine::{SimDuration, SimTime, Sym, num};
use rustc_hash::FxHashMap;

/// The head of `workloads.csv`.
pub const WORKLOADS_HEAD: &str = "workload,kind,namespace,name,pods_created,pods_bound,\
    pods_succeeded,pods_failed,pods_evicted,pods_deleted,restarts,desired_at_end,\
    available_at_end,first_full_s,short_s,none_available_s,longest_short_s,worst_available,\
    worst_desired\n";

/// Replicas from an instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Since when.
    pub time: SimTime,
    /// Replicas wanted.
    pub desired: i32,
    /// Replicas that serve: ready, not being deleted, on a machine that is up.
    pub available: i32,
}

/// How many pods of a workload did what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Created.
    pub created: u64,
    /// Bound to a node.
    pub bound: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Evicted by a taint, by the eviction API or by its kubelet.
    pub evicted: u64,
    /// Deleted by the scheduler to make room.
    pub preempted: u64,
    /// Gone from the store.
    pub deleted: u64,
    /// Container restarts.
    pub restarts: u64,
}

/// A workload: what a user would name as the owner of a pod.
#[derive(Debug, Clone)]
pub struct WorkloadRow {
    /// Kind of the top owner; Pod for bare pods of one name prefix.
    pub kind: Kind,
    /// Namespace.
    pub ns: Sym,
    /// `deployment/web`, `deployment/NS/web` outside `default`, `job/batch-*` for a family.
    pub label: String,
    /// The name alone.
    pub name: String,
    /// Replicas wanted now.
    pub desired: i32,
    /// Replicas that serve now.
    pub available: i32,
    /// What its pods did.
    pub counts: Counts,
    /// Every change of the replicas; empty for batch.
    pub timeline: Vec<Point>,
}

impl WorkloadRow {
    /// True if it is meant to keep a number of replicas running.
    #[must_use]
    pub fn serves(&self) -> bool {
        !matches!(self.kind, Kind::Job | Kind::Pod)
    }

    fn mark(&mut self, now: SimTime) {
        let point = Point { time: now, desired: self.desired, available: self.available };
        match self.timeline.last_mut() {
            Some(last) if last.time == now => *last = point,
            Some(last) if (last.desired, last.available) == (self.desired, self.available) => {}
            Some(_) | None => self.timeline.push(point),
        }
    }
}

/// A span in which a workload had fewer replicas than it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// Its begin.
    pub from: SimTime,
    /// Its end; the end of the run if it was still short then.
    pub to: SimTime,
    /// Fewest replicas that served, and the number wanted then.
    pub worst: (i32, i32),
    /// How long none served.
    pub none: SimDuration,
    /// The run ended before the workload was full again.
    pub open: bool,
}

/// What a timeline amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outage {
    /// When all replicas served for the first time.
    pub first_full: Option<SimTime>,
    /// Spans short of replicas after that.
    pub shorts: Vec<Short>,
}

impl Outage {
    /// Reads a timeline.
    #[must_use]
    pub fn of(timeline: &[Point], end: SimTime) -> Self {
        let mut outage = Self::default();
        let mut short: Option<Short> = None;
        for (i, point) in timeline.iter().enumerate() {
            let until = timeline.get(i + 1).map_or(end, |next| next.time);
            let full = point.available >= point.desired;
            if full {
                outage.shorts.extend(short.take().map(|s| Short {
                    to: point.time,
                    open: false,
                    ..s
                }));
                if point.desired > 0 && outage.first_full.is_none() {
                    outage.first_full = Some(point.time);
                }
                continue;
            }
            if outage.first_full.is_none() {
                continue;
            }
            let now = (point.available, point.desired);
            let open = short.get_or_insert(Short {
                from: point.time,
                to: end,
                worst: now,
                none: SimDuration::ZERO,
                open: true,
            });
            if now.0 < open.worst.0 {
                open.worst = now;
            }
            if now.0 == 0 {
                open.none = open.none + until.since(point.time);
            }
        }
        outage.shorts.extend(short);
        outage
    }

    /// Total time short of replicas.
    #[must_use]
    pub fn short(&self) -> SimDuration {
        self.shorts.iter().fold(SimDuration::ZERO, |sum, s| sum + s.to.since(s.from))
    }

    /// Total time without any replica.
    #[must_use]
    pub fn none(&self) -> SimDuration {
        self.shorts.iter().fold(SimDuration::ZERO, |sum, s| sum + s.none)
    }

    /// The longest span short of replicas.
    #[must_use]
    pub fn longest(&self) -> SimDuration {
        self.shorts.iter().map(|s| s.to.since(s.from)).max().unwrap_or_default()
    }

    /// Fewest replicas that served, and the number wanted then.
    #[must_use]
    pub fn worst(&self) -> Option<(i32, i32)> {
        self.shorts.iter().map(|s| s.worst).min_by_key(|w| w.0)
    }

    /// The end of the last span.
    #[must_use]
    pub fn recovered(&self) -> Option<SimTime> {
        self.shorts.last().map(|s| s.to)
    }
}

/// The longest span with fewer than `at_least` replicas, from first having that many on; none if
/// that never happened.
#[must_use]
pub fn longest_below(timeline: &[Point], at_least: i32, end: SimTime) -> Option<SimDuration> {
    let first = timeline.iter().position(|p| p.available >= at_least)?;
    let mut longest = SimDuration::ZERO;
    let mut since: Option<SimTime> = None;
    for point in &timeline[first..] {
        if point.available >= at_least {
            longest = longest.max(since.take().map_or(longest, |s| point.time.since(s)));
        } else {
            since = since.or(Some(point.time));
        }
    }
    Some(longest.max(since.map_or(longest, |s| end.since(s))))
}

/// What names a workload: its own object, or the family of numbered names.
type Key = (Kind, Sym, Sym, Name);

/// All workloads in order of appearance.
#[derive(Debug, Clone, Default)]
pub struct WorkloadTable {
    /// Rows.
    pub rows: Vec<WorkloadRow>,
    by_key: FxHashMap<Key, u32>,
    /// Bare pods have timelines too.
    bare: bool,
}

/// The key of a family: objects whose names differ in the generated tail only, or in a number at
/// the end that is written with leading zeros (`openb-pod-0017`).
fn family(kind: Kind, ns: Sym, name: Name) -> Key {
    let (base, tail) = name.base();
    if tail {
        return (kind, ns, base, Name::default());
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match base.as_str().rsplit_once('-') {
        Some((stem, number)) if digits(number) => (kind, ns, Sym::new(stem), Name::default()),
        Some(_) | None => (kind, ns, Sym::EMPTY, name),
    }
}

fn own(kind: Kind, ns: Sym, name: Name) -> Key {
    (kind, ns, Sym::EMPTY, name)
}

impl WorkloadTable {
    fn index(&mut self, key: Key) -> u32 {
        if let Some(&index) = self.by_key.get(&key) {
            return index;
        }
        let (kind, ns, base, name) = key;
        let name = if base.is_empty() { name.to_string() } else { format!("{base}-*") };
        let kind_word = kind.name().to_lowercase();
        let label = if ns.is_empty() || ns.as_str() == "default" {
            format!("{kind_word}/{name}")
        } else {
            format!("{kind_word}/{ns}/{name}")
        };
        let index = num::u32_of(self.rows.len());
        self.rows.push(WorkloadRow {
            kind,
            ns,
            label,
            name,
            desired: 0,
            available: 0,
            counts: Counts::default(),
            timeline: Vec::new(),
        });
        self.by_key.insert(key, index);
        index
    }

    /// The workload of an object: itself, or the workload of its owner.
    fn of_owner(&mut self, kind: Kind, meta: &Meta) -> u32 {
        let Some(owner) = meta.controller() else {
            let batch = matches!(kind, Kind::Pod | Kind::Job);
            let key = if batch { family } else { own }(kind, meta.ns, meta.name);
            return self.index(key);
        };
        let batch = matches!(owner.kind, Kind::Job | Kind::CronJob);
        let key = if batch { family } else { own }(owner.kind, meta.ns, owner.name);
        self.index(key)
    }

    /// The workload of a pod.
    pub fn of_pod(&mut self, pod: &Pod) -> u32 {
        self.of_owner(Kind::Pod, &pod.meta)
    }

    /// The row of a pod's workload.
    pub fn row_mut(&mut self, index: u32) -> &mut WorkloadRow {
        &mut self.rows[index as usize]
    }

    /// A change of an object that keeps replicas.
    pub fn object(&mut self, object: &Obj, deleted: bool, now: SimTime) {
        let (meta, desired) = if let Obj::Deployment(o) = object {
            (&o.meta, o.replicas)
        } else if let Obj::StatefulSet(o) = object {
            (&o.meta, o.replicas)
        } else if let Obj::DaemonSet(o) = object {
            (&o.meta, o.status.desired)
        } else if let Obj::ReplicaSet(o) | Obj::ReplicationController(o) = object {
            (&o.meta, o.replicas)
        } else {
            return;
        };
        let kind = object.kind();
        let key = own(kind, meta.ns, meta.name);
        let index = match self.by_key.get(&key) {
            Some(&index) => index,
            None => {
                let index = self.of_owner(kind, meta);
                self.by_key.insert(key, index);
                index
            }
        };
        if meta.controller().is_some() {
            return;
        }
        let desired = if deleted { 0 } else { desired };
        let row = &mut self.rows[index as usize];
        if row.desired != desired || row.timeline.is_empty() {
            row.desired = desired;
            row.mark(now);
        }
    }

    /// From now on as many bare pods of each family are wanted as serve now: nobody makes them anew
    /// when they are lost.
    pub fn keep_bare(&mut self, now: SimTime) {
        self.bare = true;
        for row in self.rows.iter_mut().filter(|row| row.kind == Kind::Pod) {
            row.desired = row.available;
            row.mark(now);
        }
    }

    /// A pod begins (or with −1 ceases) to serve.
    pub fn serve(&mut self, index: u32, sign: i32, now: SimTime) {
        let row = &mut self.rows[index as usize];
        row.available += sign;
        if row.serves() || self.bare && row.kind == Kind::Pod {
            row.mark(now);
        }
    }

    /// `workloads.csv`.
    #[must_use]
    pub fn csv(&self, end: SimTime) -> Vec<u8> {
        let mut out = WORKLOADS_HEAD.as_bytes().to_vec();
        let mut line = Line::default();
        for row in &self.rows {
            let outage = Outage::of(&row.timeline, end);
            let c = &row.counts;
            line.begin().text(&row.label).text(row.kind.name()).sym(row.ns).text(&row.name);
            line.uint(c.created).uint(c.bound).uint(c.succeeded).uint(c.failed);
            line.uint(c.evicted).uint(c.deleted).uint(c.restarts);
            if row.serves() {
                line.int(i64::from(row.desired)).int(i64::from(row.available));
                line.seconds(outage.first_full.unwrap_or(SimTime::MAX));
                line.seconds(SimTime(outage.short().0)).seconds(SimTime(outage.none().0));
                line.seconds(SimTime(outage.longest().0));
                match outage.worst() {
                    Some((got, want)) => line.int(i64::from(got)).int(i64::from(want)),
                    None => line.empty().empty(),
                };
            } else {
                for _ in 0..8 {
                    line.empty();
                }
            }
            out.extend_from_slice(line.end());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(list: &[(u64, i32, i32)]) -> Vec<Point> {
        list.iter()
            .map(|&(s, desired, available)| Point {
                time: SimTime::from_secs(s),
                desired,
                available,
            })
            .collect()
    }

    #[test]
    fn an_outage_is_measured_from_the_first_full_availability() {
        let line = points(&[(0, 3, 0), (5, 3, 3), (60, 3, 1), (70, 3, 0), (75, 3, 2), (90, 3, 3)]);
        let outage = Outage::of(&line, SimTime::from_secs(100));
        assert_eq!(outage.first_full, Some(SimTime::from_secs(5)));
        assert_eq!(outage.short(), SimDuration::from_secs(30));
        assert_eq!(outage.none(), SimDuration::from_secs(5));
        assert_eq!(outage.worst(), Some((0, 3)));
        assert!(!outage.shorts[0].open);
    }

    #[test]
    fn an_outage_may_outlast_the_run() {
        let line = points(&[(5, 3, 3), (60, 3, 1)]);
        let outage = Outage::of(&line, SimTime::from_secs(100));
        assert!(outage.shorts[0].open);
        assert_eq!(outage.short(), SimDuration::from_secs(40));
        let long = longest_below(&line, 3, SimTime::from_secs(100));
        assert_eq!(long, Some(SimDuration::from_secs(40)));
        assert_eq!(longest_below(&line, 4, SimTime::from_secs(100)), None);
    }
}
