//! etcd: an in-memory MVCC store over the shared table of versions.
//!
//! One global revision, starting at 1 and raised by each mutating transaction; per key a create
//! revision, mod revision and version; reads at a revision; transactions with compares;
//! compaction; leases with a TTL; size accounting with the space quota; and a commit latency of
//! log fsync plus raft round trip. Source: behaviour reference §1.14–1.15.
//!
//! Members on hosts, who leads them and what each has on its disk: [`raft`]. Without hosts there
//! is one member that never fails. Only `apiserver/` names this folder.

mod latency;
pub mod raft;

pub use latency::CommitLatency;

use crate::api::kind::Kind;
use crate::api::versions::{KeyRevisions, ObjRef, Versions};
use crate::api::{Name, Obj};
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::Context;
use std::collections::VecDeque;

/// Default of `--quota-backend-bytes`: 2 GiB (source: etcd `server/storage/quota.go`).
pub const DEFAULT_QUOTA_BYTES: u64 = 2 << 30;

/// How long a superseded version can be read in any case: the fresh window of a watch cache
/// (source:
/// `storagebackend/config.go` `DefaultEventsHistoryWindow`).
const HISTORY: SimDuration = SimDuration::from_secs(75);

/// What a transaction compares before it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist (mod revision 0).
    Absent,
    /// The key was last changed at this revision.
    ModRevision(u64),
    /// Nothing: the write is unconditional.
    Nothing,
}

/// Why etcd refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The compare did not hold.
    CompareFailed,
    /// The space quota is exceeded: only reads and deletions until compaction frees room.
    NoSpace,
    /// The revision asked for has been compacted away.
    Compacted,
}

/// A write of a transaction.
#[derive(Debug, Clone)]
pub enum Write {
    /// Sets the key of this object.
    Put(Option<ObjRef>, Obj),
    /// Deletes the key.
    Delete(Kind, ObjRef),
}

/// A committed write: the object, the revision, and the index in the kind's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The object.
    pub object: ObjRef,
    /// The revision.
    pub rev: u64,
    /// Index into the kind's log.
    pub log: u64,
}

/// An etcd member.
#[derive(Debug, Clone)]
pub struct Etcd {
    latency: CommitLatency,
    /// No proposal commits before one made earlier: raft's log is one sequence.
    last_commit: SimTime,
    bytes: u64,
    garbage_bytes: u64,
    quota_bytes: u64,
    alarm: bool,
    /// The NOSPACE alarm is raised until somebody disarms it.
    forced: bool,
    /// Objects by the minute in which their leases expire, in order of both (all leases here have
    /// one TTL).
    leased: VecDeque<(SimTime, Kind, VecDeque<ObjRef>)>,
    /// Revision that the next compaction compacts to: that of one interval ago.
    compact_next: u64,
}

impl Etcd {
    /// A member with this commit latency.
    #[must_use]
    pub fn new(latency: CommitLatency) -> Self {
        Self {
            latency,
            last_commit: SimTime::ZERO,
            bytes: 0,
            garbage_bytes: 0,
            quota_bytes: DEFAULT_QUOTA_BYTES,
            alarm: false,
            forced: false,
            leased: VecDeque::new(),
            compact_next: 0,
        }
    }

    /// Sets the space quota.
    #[must_use]
    pub fn with_quota(mut self, bytes: u64) -> Self {
        self.quota_bytes = bytes;
        self
    }

    /// When a proposal about an object (its stable hash) made at `at` commits. A heartbeat waits
    /// for those before it, but holds up nobody: spelled out or not, the rest takes its time.
    pub fn propose(
        &mut self,
        (object, heartbeat): (u64, bool),
        at: SimTime,
        cx: &Context<'_>,
    ) -> SimTime {
        let done = self.last_commit.max(at + self.latency.of(object, at, cx.draws()));
        if !heartbeat {
            self.last_commit = done;
        }
        done
    }

    /// One transaction: if the compare holds, the write is committed under a new revision.
    ///
    /// # Errors
    /// The compare failed, or the quota is exceeded.
    pub fn txn(
        &mut self,
        compare: Compare,
        write: Write,
        cx: &mut Context<'_>,
    ) -> Result<Committed, Refusal> {
        match write {
            Write::Put(object, value) => self.put(compare, object, value, cx),
            Write::Delete(kind, object) => self.delete(compare, kind, object, cx),
        }
    }

    fn put(
        &mut self,
        compare: Compare,
        object: Option<ObjRef>,
        value: Obj,
        cx: &mut Context<'_>,
    ) -> Result<Committed, Refusal> {
        let kind = value.kind();
        let versions = cx.versions();
        let object = match object {
            None if kind != Kind::Event => {
                let (ns, name) = value.key();
                versions.find(kind, ns, name)
            }
            known => known,
        };
        let revisions = object.and_then(|o| versions.revisions(kind, o));
        holds(compare, revisions)?;
        if self.alarm || self.forced {
            return Err(Refusal::NoSpace);
        }
        let size = size_of_value(&value);
        if let Some(old) = object.filter(|_| revisions.is_some()) {
            let old = versions.current(kind, old).map_or(0, size_of_value);
            self.garbage_bytes += old;
        }
        self.bytes += size;
        self.alarm = self.bytes > self.quota_bytes;
        let (now, seq) = (cx.now(), cx.seq());
        let live = object.filter(|_| revisions.is_some());
        let (object, rev) = cx.versions_mut().put(live, value, now, seq);
        Ok(Committed { object, rev, log: cx.versions().log_end(kind) - 1 })
    }

    fn delete(
        &mut self,
        compare: Compare,
        kind: Kind,
        object: ObjRef,
        cx: &mut Context<'_>,
    ) -> Result<Committed, Refusal> {
        let revisions = cx.versions().revisions(kind, object);
        holds(compare, revisions)?;
        if revisions.is_none() {
            return Err(Refusal::CompareFailed);
        }
        self.garbage_bytes += cx.versions().current(kind, object).map_or(0, size_of_value);
        let (now, seq) = (cx.now(), cx.seq());
        let rev = cx.versions_mut().delete(kind, object, now, seq);
        Ok(Committed { object, rev, log: cx.versions().log_end(kind) - 1 })
    }

    /// Puts an object under a lease of this TTL. Kubernetes shares leases among objects made within
    /// the same minute, so it lives up to a minute longer (source: `etcd3/lease_manager.go`).
    pub fn lease(
        &mut self,
        kind: Kind,
        object: ObjRef,
        ttl: SimDuration,
        cx: &Context<'_>,
    ) -> SimTime {
        let minute = SimDuration::from_secs(60).0;
        let expiry = SimTime((cx.now() + ttl).0.div_ceil(minute) * minute);
        match self.leased.back_mut().filter(|(at, of, _)| (*at, *of) == (expiry, kind)) {
            Some((_, _, objects)) => objects.push_back(object),
            None => {
                if let Some((_, _, full)) = self.leased.back_mut() {
                    full.shrink_to_fit();
                }
                self.leased.push_back((expiry, kind, VecDeque::from([object])));
            }
        }
        expiry
    }

    /// The next object whose lease has expired, if there is one.
    pub fn expired(&mut self, now: SimTime) -> Option<(Kind, ObjRef)> {
        let (at, kind, objects) = self.leased.front_mut()?;
        if *at > now {
            return None;
        }
        let first = objects.pop_front().map(|object| (*kind, object));
        if objects.is_empty() {
            self.leased.pop_front();
        }
        first
    }

    /// A new leader counts every lease from its whole TTL again (source: `lease/lessor.go`
    /// `Promote`).
    pub fn promote(&mut self, ttl: SimDuration, now: SimTime) {
        let all: Vec<(Kind, VecDeque<ObjRef>)> =
            self.leased.drain(..).map(|(_, kind, objects)| (kind, objects)).collect();
        for (kind, objects) in all {
            match self.leased.back_mut().filter(|(_, of, _)| *of == kind) {
                Some((_, _, list)) => list.extend(objects),
                None => self.leased.push_back((now + ttl, kind, objects)),
            }
        }
    }

    /// Raises or disarms the NOSPACE alarm, as an operator sees it: disarmed, the store has been
    /// compacted and defragmented before.
    pub fn force_alarm(&mut self, on: bool) {
        self.forced = on;
    }

    /// When the next lease expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<SimTime> {
        self.leased.front().map(|(at, ..)| *at)
    }

    /// Compacts to the revision of one interval ago and remembers the present one for the next
    /// time: history therefore reaches back one to two intervals (source: `etcd3/compact.go`).
    /// `held` are the positions of the slowest watches, by kind.
    pub fn compact(&mut self, held: &[u64], cx: &mut Context<'_>) {
        let to = std::mem::replace(&mut self.compact_next, cx.versions().rev());
        cx.versions_mut().compact(to, held);
        self.bytes = self.bytes.saturating_sub(self.garbage_bytes);
        self.garbage_bytes = 0;
        self.alarm = self.bytes > self.quota_bytes;
    }

    /// Frees what the watch cache would no longer hold and every watch has passed. It stays in the
    /// account of bytes until compaction: a real store would hold it.
    pub fn trim(held: &[u64], cx: &mut Context<'_>) {
        let before = SimTime(cx.now().0.saturating_sub(HISTORY.0));
        cx.versions_mut().trim(before, held);
    }

    /// Bytes in use, superseded versions included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True while the NOSPACE alarm is raised.
    #[must_use]
    pub fn alarm(&self) -> bool {
        self.alarm || self.forced
    }

    /// A range read: the keys of a kind (in one namespace, or in all if empty) at a revision, in
    /// key order.
    ///
    /// # Errors
    /// The revision has been compacted.
    pub fn range(
        versions: &Versions,
        kind: Kind,
        ns: Sym,
        rev: u64,
    ) -> Result<Vec<(String, ObjRef)>, Refusal> {
        if rev < versions.readable_from(kind) {
            return Err(Refusal::Compacted);
        }
        // Objects deleted since are found through the log, all others through their rows.
        let mut keys: Vec<(String, ObjRef)> = versions
            .iter(kind)
            .map(|(object, _)| object)
            .chain((versions.log_start(kind)..versions.log_end(kind)).filter_map(|i| {
                versions.change(kind, i).filter(|c| c.deleted && c.rev > rev).map(|c| c.object)
            }))
            .filter_map(|object| {
                let value = versions.at(kind, object, rev)?;
                let (in_ns, name) = value.key();
                (ns.is_empty() || ns == in_ns).then(|| (key(kind, in_ns, name), object))
            })
            .collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        keys.dedup_by(|a, b| a.1 == b.1);
        Ok(keys)
    }
}

/// The key as Kubernetes lays it out: `/registry/pods/ns/name`.
#[must_use]
pub fn key(kind: Kind, ns: Sym, name: Name) -> String {
    let folder = kind.info().map_or("customresources", |k| k.registry);
    if ns.is_empty() {
        format!("/registry/{folder}/{name}")
    } else {
        format!("/registry/{folder}/{ns}/{name}")
    }
}

fn holds(compare: Compare, revisions: Option<KeyRevisions>) -> Result<(), Refusal> {
    let ok = match compare {
        Compare::Nothing => true,
        Compare::Absent => revisions.is_none(),
        Compare::ModRevision(rev) => revisions.is_some_and(|r| r.modified == rev),
    };
    if ok { Ok(()) } else { Err(Refusal::CompareFailed) }
}

/// About what the object takes in etcd: protobuf of a typical object of the kind.
fn size_of_value(value: &Obj) -> u64 {
    if let Obj::Pod(pod) = value {
        return 900 + 400 * pod.spec.containers.len() as u64;
    }
    if let Obj::Node(node) = value {
        return 3_000 + 100 * node.status.images.len() as u64;
    }
    if let Obj::EndpointSlice(slice) = value {
        return 500 + 250 * slice.endpoints.len() as u64;
    }
    const WITH_TEMPLATES: [Kind; 8] = [
        Kind::Deployment,
        Kind::ReplicaSet,
        Kind::ReplicationController,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::ControllerRevision,
        Kind::Job,
        Kind::CronJob,
    ];
    let kind = value.kind();
    if WITH_TEMPLATES.contains(&kind) {
        1_500
    } else if kind == Kind::Event {
        450
    } else if matches!(kind, Kind::Namespace | Kind::PriorityClass | Kind::Lease) {
        300
    } else if matches!(kind, Kind::StorageClass | Kind::CSIDriver | Kind::CSINode) {
        400
    } else {
        1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::version::KubeVersion;
    use crate::api::{Meta, Pod};
    use crate::engine::Dist;
    use crate::event::Shared;
    use std::sync::Arc;

    fn pod(name: &str) -> Obj {
        Obj::Pod(Arc::new(Pod { meta: Meta::named("ns".into(), name.into()), ..Pod::default() }))
    }

    fn fixture() -> (Etcd, Shared) {
        let latency =
            CommitLatency::new(Dist::Constant(SimDuration::from_millis(2)), SimDuration::ZERO);
        (Etcd::new(latency), Shared::new(1, KubeVersion::V1_35, 0, SimDuration::ZERO))
    }

    #[test]
    fn compares_guard_writes() {
        let (mut etcd, mut shared) = fixture();
        let mut cx = shared.context(1);
        let a = etcd.txn(Compare::Absent, Write::Put(None, pod("a")), &mut cx).unwrap();
        assert_eq!(a.rev, 2);
        let twice = etcd.txn(Compare::Absent, Write::Put(None, pod("a")), &mut cx);
        assert_eq!(twice, Err(Refusal::CompareFailed));
        let b = etcd
            .txn(Compare::ModRevision(2), Write::Put(Some(a.object), pod("a")), &mut cx)
            .unwrap();
        let stale = etcd.txn(Compare::ModRevision(2), Write::Delete(Kind::Pod, a.object), &mut cx);
        assert_eq!(stale, Err(Refusal::CompareFailed));
        let revisions = cx.versions().revisions(Kind::Pod, a.object).unwrap();
        assert_eq!((revisions.create, revisions.modified, revisions.version), (2, b.rev, 2));
        etcd.txn(Compare::ModRevision(3), Write::Delete(Kind::Pod, a.object), &mut cx).unwrap();
        assert_eq!(cx.versions().rev(), 4);
    }

    #[test]
    fn ranges_are_read_in_key_order_at_a_revision() {
        let (mut etcd, mut shared) = fixture();
        let mut cx = shared.context(1);
        for name in ["web-10", "web-9", "api"] {
            etcd.txn(Compare::Absent, Write::Put(None, pod(name)), &mut cx).unwrap();
        }
        let api = cx.versions().find(Kind::Pod, "ns".into(), "api".into()).unwrap();
        etcd.txn(Compare::Nothing, Write::Delete(Kind::Pod, api), &mut cx).unwrap();
        let at = |rev, cx: &Context<'_>| -> Vec<String> {
            let keys = Etcd::range(cx.versions(), Kind::Pod, Sym::EMPTY, rev).unwrap();
            keys.into_iter().map(|(key, _)| key).collect()
        };
        let all = ["/registry/pods/ns/api", "/registry/pods/ns/web-10", "/registry/pods/ns/web-9"];
        assert_eq!(at(4, &cx), all);
        assert_eq!(at(5, &cx), all[1..]);
        assert_eq!(at(2, &cx), all[1..2]);
        etcd.compact(&[], &mut cx);
        etcd.compact(&[], &mut cx);
        assert_eq!(Etcd::range(cx.versions(), Kind::Pod, Sym::EMPTY, 3), Err(Refusal::Compacted));
    }

    #[test]
    fn the_quota_raises_an_alarm_until_compaction() {
        let (etcd, mut shared) = fixture();
        let mut etcd = etcd.with_quota(3_000);
        let mut cx = shared.context(1);
        let a = etcd.txn(Compare::Absent, Write::Put(None, pod("a")), &mut cx).unwrap().object;
        for _ in 0..3 {
            etcd.txn(Compare::Nothing, Write::Put(Some(a), pod("a")), &mut cx).unwrap();
        }
        let refused = etcd.txn(Compare::Nothing, Write::Put(Some(a), pod("a")), &mut cx);
        assert_eq!(refused, Err(Refusal::NoSpace));
        etcd.compact(&[], &mut cx);
        assert!(!etcd.alarm());
        assert!(etcd.txn(Compare::Nothing, Write::Put(Some(a), pod("a")), &mut cx).is_ok());
    }
}
