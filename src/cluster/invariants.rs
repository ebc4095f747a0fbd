//! What must hold after every event, as small models that know nothing of the components they
//! watch: they see records (so tracing must be on) and look at the cluster from outside.
//!
//! A rule that is broken is our bug, or a planted one ([`crate::event::canary`]); storms
//! (`wavetank fuzz`) run with a [`Checker`] at their side. Source of the rules: DESIGN §8.4.

use super::Cluster;
use super::spec::{Fault, FaultKind};
use crate::api::node::keys;
use crate::api::pdb::PodDisruptionBudget;
use crate::api::pod::{ConditionType, Truth};
use crate::api::request::Op;
use crate::api::storage::{AccessModes, VolumeAttachment, unique_name};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Meta, Obj, Pod, Uid};
use crate::engine::id::Id;
use crate::engine::queue::Entry;
use crate::engine::{SimTime, Sym};
use crate::event::{Address, ApiEvent, Event, Record, Role, What};
use rustc_hash::FxHashMap;
use std::fmt;

/// How many events lie between two looks at everything.
const DEEP: u64 = 128;

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The rule, in a few words.
    pub rule: &'static str,
    /// What was seen.
    pub seen: String,
    /// When.
    pub time: SimTime,
    /// The event after which it was seen.
    pub seq: u64,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (at {}, event {})", self.rule, self.seen, self.time, self.seq)
    }
}

/// What a model found: the rule, and what was seen.
type Finding = Result<(), (&'static str, String)>;

/// Fails with the rule unless it holds.
fn holds(rule: &'static str, ok: bool, seen: impl FnOnce() -> String) -> Finding {
    if ok { Ok(()) } else { Err((rule, seen())) }
}

/// A pod as its life allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    uid: Uid,
    node: Sym,
    terminal: bool,
    leaving: bool,
}

/// The pod as a client was told last.
#[derive(Debug, Clone, Copy)]
struct Told {
    node: Sym,
    here: bool,
    owner: Option<Uid>,
}

/// The models.
#[derive(Debug, Clone, Default)]
pub struct Checker {
    time: SimTime,
    rev: u64,
    steps: u64,
    lives: FxHashMap<ObjRef, Life>,
    /// Newest revision of each object.
    revs: FxHashMap<(Kind, ObjRef), u64>,
    /// Log position of each client's informers.
    heard: FxHashMap<(Address, Kind), u64>,
    /// Pods as the scheduler and the controllers were told of them.
    scheduler: (Option<Address>, FxHashMap<ObjRef, Told>),
    controllers: (Option<Address>, FxHashMap<ObjRef, Told>),
    /// The request about to be committed takes finalizers away.
    lifts: bool,
    /// The request about to be committed is an update whose base is old: it must be refused.
    old_base: Option<Id>,
    /// Rules looked at.
    pub looked: u64,
}

impl Checker {
    /// Before an event is handled: what an answer acknowledges must be in the store.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn before(&mut self, cluster: &Cluster, entry: &Entry<Event>) -> Result<(), Broken> {
        self.old_base = self.on_an_old_base(cluster, entry);
        self.lifts = lifts(cluster, entry);
        let Event::Answer { request, .. } = entry.event else { return Ok(()) };
        let outcome = cluster.shared().requests.get(request).and_then(|r| r.outcome.as_ref());
        let Some(Ok(success)) = outcome else { return Ok(()) };
        let kind = success.value.kind();
        let Some(meta) = success.value.meta().filter(|_| kind != Kind::PodMetrics) else {
            return Ok(());
        };
        self.looked += 1;
        let known = self.revs.get(&(kind, success.object)).copied().unwrap_or(0);
        let found =
            holds("an acknowledged write is in the store", known >= meta.resource_version, || {
                let (name, rev) = (meta.full_name(), meta.resource_version);
                format!("{kind} {name} was answered at revision {rev}, the store has {known}")
            });
        broken(found, entry)
    }

    /// After an event was handled.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn after(
        &mut self,
        cluster: &Cluster,
        entry: &Entry<Event>,
        records: &[Record],
    ) -> Result<(), Broken> {
        self.steps += 1;
        broken(self.look(cluster, entry, records), entry)
    }

    /// Takes in what was there before the first event.
    pub fn start(&mut self, cluster: &Cluster, records: &[Record]) {
        for record in records {
            let found = self.record(cluster, record);
            debug_assert!(found.is_ok(), "{found:?}");
        }
    }

    /// An update that is about to be committed, but names a version that is not the newest.
    fn on_an_old_base(&self, cluster: &Cluster, entry: &Entry<Event>) -> Option<Id> {
        let Event::Api(ApiEvent::Commit(id)) = entry.event else { return None };
        let request = &cluster.shared().requests.get(id)?.request;
        let (Op::Update(object) | Op::UpdateStatus(object)) = &request.op else { return None };
        let (kind, (ns, name)) = (object.kind(), object.key());
        let base = object.meta()?.resource_version;
        let found = cluster.shared().versions.find(kind, ns, name)?;
        let newest = self.revs.get(&(kind, found)).copied()?;
        (base != 0 && base != newest).then_some(id)
    }

    fn look(&mut self, cluster: &Cluster, entry: &Entry<Event>, records: &[Record]) -> Finding {
        if let Some(id) = self.old_base {
            let taken = cluster.shared().requests.get(id).and_then(|r| r.outcome.as_ref());
            let taken = taken.is_some_and(Result::is_ok);
            holds("an update of an old version is refused", !taken, String::new)?;
        }
        holds("time does not run back", entry.time >= self.time, || {
            format!("{} after {}", entry.time, self.time)
        })?;
        self.time = entry.time;
        for record in records {
            self.record(cluster, record)?;
        }
        evictions(cluster, records)?;
        for record in records {
            if let Some(object) = pod_of(cluster, record) {
                self.one_place(cluster, object)?;
            }
        }
        if let Event::Node { node, .. } = entry.event {
            self.room(cluster, node)?;
        }
        if self.steps.is_multiple_of(DEEP) { self.deep(cluster) } else { Ok(()) }
    }

    fn record(&mut self, cluster: &Cluster, record: &Record) -> Finding {
        let versions = &cluster.shared().versions;
        if let What::Committed { kind, log, .. } = record.what {
            let change = versions.change(kind, log).expect("what was committed just now");
            self.committed(kind, change)?;
            if let Obj::VolumeAttachment(attachment) = &change.value {
                self.attachment(cluster, change, attachment)?;
            }
            return Ok(());
        }
        if let What::Delivered { to, kind, log } = record.what {
            self.next_delivery(to, kind, log)?;
            if let Some(change) = versions.change(kind, log) {
                self.told(to, change);
            }
        } else if let What::Listed { to, kind, object, rev, .. } = record.what {
            let now = versions.current(kind, object).filter(|_| rev > 0);
            self.listed(to, kind, object, now);
        } else if let What::Flow { row } = record.what {
            let flow = &cluster.shared().traffic.flows[row as usize];
            let (failing, answered) = (flow.failing.iter().sum::<f64>(), flow.latency.total());
            let adds_up = (failing + answered - flow.offered).abs() <= 1e-6 * flow.offered;
            holds("requests fail or are answered", adds_up, || {
                format!("{} sent, {failing} fail, {answered} answered", flow.offered)
            })?;
        } else if let What::Noticed { who, step, .. } = record.what
            && step.contains("410 Gone")
        {
            // It lists what has changed, which may be nothing.
            self.heard.retain(|(to, _), _| to.role.name() != who.as_str());
        }
        Ok(())
    }

    /// Revisions, identities, marks that stay.
    fn committed(&mut self, kind: Kind, change: &Change) -> Finding {
        self.looked += 1;
        // An empty store stands at revision 1.
        let last = self.rev.max(1);
        holds("each revision is one more than the last", change.rev == last + 1, || {
            format!("{} after {last}", change.rev)
        })?;
        self.rev = change.rev;
        let Some(meta) = change.value.meta() else { return Ok(()) };
        let name = || format!("{kind} {}", meta.full_name());
        let known = self.revs.insert((kind, change.object), change.rev);
        let before = change.before.as_ref().and_then(Obj::meta);
        let base = before.map(|b| b.resource_version);
        holds("a write has the newest version as its base", base == known, || {
            format!("{} written over {base:?}, newest is {known:?}", name())
        })?;
        if let Some(before) = before {
            marks(before, meta, change.deleted && !self.lifts).map_err(|(rule, seen)| {
                let name = name();
                (rule, format!("{name}: {seen}"))
            })?;
        }
        if change.deleted {
            self.revs.insert((kind, change.object), change.rev);
        }
        if let Obj::Pod(pod) = &change.value { self.pod(change, pod) } else { Ok(()) }
    }

    /// What is meant for one node is attached to one, and is not taken from a kubelet that is well.
    fn attachment(
        &mut self,
        cluster: &Cluster,
        change: &Change,
        now: &VolumeAttachment,
    ) -> Finding {
        let versions = &cluster.shared().versions;
        let object = versions.find(Kind::PersistentVolume, Sym::EMPTY, now.volume);
        let volume = object.and_then(|o| versions.current(Kind::PersistentVolume, o));
        let Some(Obj::PersistentVolume(volume)) = volume else { return Ok(()) };
        self.looked += 1;
        let once = volume.modes == AccessModes::of(["ReadWriteOnce"]);
        if once && now.attached && !change.deleted {
            let other = versions.iter(Kind::VolumeAttachment).find(|(_, o)| {
                let Obj::VolumeAttachment(o) = o else { return false };
                o.attached && o.volume == now.volume && o.node != now.node
            });
            holds("a volume for one node is attached to one at a time", other.is_none(), || {
                format!("{} is on {} and elsewhere", now.volume, now.node)
            })?;
        }
        // A store from a snapshot knows nothing of what kubelets have done since.
        let restored = |f: &Fault| matches!(f.what, FaultKind::Blackout(_));
        if cluster.plan().faults.iter().any(restored) {
            return Ok(());
        }
        let before = change.before.as_ref().and_then(Obj::meta);
        let marked = now.meta.terminating() && before.is_some_and(|m| !m.terminating());
        let disk = volume.source.disk().map(|(driver, handle)| unique_name(driver, handle));
        let (Some(disk), Some(agent)) = (disk.filter(|_| marked), cluster.node(now.node)) else {
            return Ok(());
        };
        let taken = agent.kubelet_up() && agent.has_mounted(disk) && well(cluster, now.node);
        holds("no volume is detached that a kubelet has mounted, unless by force", !taken, || {
            format!("{} on {}", now.volume, now.node)
        })
    }

    /// A pod is bound once, and ends once.
    fn pod(&mut self, change: &Change, pod: &Pod) -> Finding {
        let now = Life {
            uid: pod.meta.uid,
            node: pod.node,
            terminal: pod.terminal(),
            leaving: pod.meta.terminating(),
        };
        let Some(old) = self.lives.insert(change.object, now) else { return Ok(()) };
        let name = || pod.meta.full_name();
        holds("a pod is bound once", old.node.is_empty() || old.node == now.node, || {
            format!("{} moved from {} to {}", name(), old.node, now.node)
        })?;
        holds("a pod that has ended stays so", !old.terminal || now.terminal, name)?;
        let bound = old.node.is_empty() && !now.node.is_empty();
        holds("no pod is bound that is being deleted", !(bound && old.leaving), name)
    }

    /// Nothing is delivered twice or left out.
    fn next_delivery(&mut self, to: Address, kind: Kind, log: u64) -> Finding {
        self.looked += 1;
        let last = self.heard.insert((to, kind), log);
        // A kubelet is told of its own pods alone.
        let follows = match last {
            None => true,
            Some(last) if to.role == Role::Kubelet => log > last,
            Some(last) => log == last + 1,
        };
        holds("deliveries come in order and none is missing", follows, || {
            let last = last.unwrap_or_default();
            format!("{} was told entry {log} of {kind} after {last}", to.role.name())
        })
    }

    fn audience(&mut self, to: Address) -> Option<&mut FxHashMap<ObjRef, Told>> {
        let audience = match to.role {
            Role::Scheduler => &mut self.scheduler,
            // The index of an address tells controllers apart; they share their caches.
            Role::ControllerManager => &mut self.controllers,
            Role::User
            | Role::ApiServer
            | Role::Kubelet
            | Role::MetricsServer
            | Role::Proxies
            | Role::Clients
            | Role::Candidate
            | Role::CloudManager
            | Role::Autoscaler => return None,
        };
        if audience.0 != Some(to) {
            *audience = (Some(to), FxHashMap::default());
        }
        Some(&mut audience.1)
    }

    fn told(&mut self, to: Address, change: &Change) {
        let Some(audience) = self.audience(to) else { return };
        let Obj::Pod(pod) = &change.value else { return };
        if change.deleted {
            audience.remove(&change.object);
        } else {
            audience.insert(change.object, told(pod));
        }
    }

    fn listed(&mut self, to: Address, kind: Kind, object: ObjRef, now: Option<&Obj>) {
        self.heard.remove(&(to, kind));
        let Some(audience) = self.audience(to).filter(|_| kind == Kind::Pod) else { return };
        match now {
            Some(Obj::Pod(pod)) => {
                audience.insert(object, told(pod));
            }
            _gone => {
                audience.remove(&object);
            }
        }
    }

    /// A pod that waits is in the queue, one that has (or is assumed to have) a node is in the
    /// cache; none is in both.
    fn one_place(&mut self, cluster: &Cluster, object: ObjRef) -> Finding {
        if !cluster.lives.scheduler.up {
            return Ok(());
        }
        self.looked += 1;
        let queued = cluster.scheduler.queue().get(object).is_some();
        let placed = cluster.scheduler.cache().pod(object).is_some();
        let name = || {
            let pod = cluster.shared.versions.current(Kind::Pod, object).and_then(Obj::meta);
            pod.map_or_else(|| format!("{object:?}"), Meta::full_name)
        };
        holds("a pod is in the queue or on a node, never both", !(queued && placed), name)?;
        let Some(told) = self.scheduler.1.get(&object) else { return Ok(()) };
        let waits = told.here && told.node.is_empty();
        let cached = told.here && !told.node.is_empty();
        holds("no waiting pod is forgotten", !waits || queued || placed, name)?;
        holds("a bound pod is on its node", !cached || placed, name)
    }

    /// What a node has let in fits.
    fn room(&mut self, cluster: &Cluster, index: u32) -> Finding {
        self.looked += 1;
        let agent = &cluster.nodes[index as usize];
        let offer = agent.offer();
        let (mut cpu, mut memory, mut pods) = (0, 0, 0);
        for spec in agent.admitted() {
            cpu += spec.requests.cpu_milli;
            memory += spec.requests.memory;
            pods += 1;
        }
        let fits = cpu <= offer.cpu_milli && memory <= offer.memory && pods <= offer.pods;
        holds("what runs on a node fits into it", fits, || {
            let (name, c, m) = (agent.name(), offer.cpu_milli, offer.memory);
            format!("{name} has {pods} pods of {cpu}m of {c}m cpu and {memory} of {m} bytes")
        })
    }

    /// Every cache equals what its client was told, counted anew.
    fn deep(&mut self, cluster: &Cluster) -> Finding {
        self.looked += 1;
        for node in 0..cluster.nodes.len() {
            self.room(cluster, crate::engine::num::u32_of(node))?;
        }
        if cluster.lives.scheduler.up {
            self.scheduler_cache(cluster)?;
        }
        if cluster.lives.controllers.up { self.controller_caches(cluster) } else { Ok(()) }
    }

    fn scheduler_cache(&self, cluster: &Cluster) -> Finding {
        let cache = cluster.scheduler.cache();
        let mut on_nodes = 0;
        // Each pod is looked at by itself: their order does not show unless a rule is broken.
        #[expect(clippy::iter_over_hash_type, reason = "sums and verdicts, whatever the order")]
        for (object, told) in &self.scheduler.1 {
            let node = cache.node_of(*object);
            on_nodes += usize::from(told.here && node.is_some());
            let right = told.node.is_empty() || !told.here || node == Some(told.node);
            holds("the scheduler's cache has bound pods on their nodes", right, || {
                format!("{object:?} is on {node:?}, not on {}", told.node)
            })?;
        }
        let known = cache.n_pods();
        holds("the scheduler's cache holds no pod that is gone", known == on_nodes, || {
            format!("{known} pods, {on_nodes} told")
        })?;
        let wrong = cache.miscounted();
        holds("the scheduler's sums are those of its pods", wrong.is_none(), || {
            wrong.map(|n| n.to_string()).unwrap_or_default()
        })
    }

    fn controller_caches(&self, cluster: &Cluster) -> Finding {
        let caches = cluster.controllers.caches();
        let mut owned: FxHashMap<Uid, usize> = FxHashMap::default();
        let mut on_node: FxHashMap<Sym, usize> = FxHashMap::default();
        #[expect(clippy::iter_over_hash_type, reason = "sums do not depend on order")]
        for told in self.controllers.1.values() {
            if let Some(owner) = told.owner {
                *owned.entry(owner).or_default() += 1;
            }
            if !told.node.is_empty() {
                *on_node.entry(told.node).or_default() += 1;
            }
        }
        #[expect(clippy::iter_over_hash_type, reason = "verdicts do not depend on order")]
        for (uid, n) in owned {
            let has = caches.owned(uid, Kind::Pod).count();
            holds("the controllers know the pods of each owner", has == n, || {
                format!("{uid}: {has}, told {n}")
            })?;
        }
        #[expect(clippy::iter_over_hash_type, reason = "verdicts do not depend on order")]
        for (node, n) in on_node {
            let has = caches.on_node(node).len();
            holds("the controllers know the pods of each node", has == n, || {
                format!("{node}: {has}, told {n}")
            })?;
        }
        Ok(())
    }

    /// Once all is quiet, every client that watches has been told everything.
    ///
    /// # Errors
    /// A client that has not.
    pub fn caught_up(&self, cluster: &Cluster) -> Result<(), String> {
        let versions = &cluster.shared().versions;
        let mut behind: Vec<String> = Vec::new();
        #[expect(clippy::iter_over_hash_type, reason = "sorted below")]
        for ((to, kind), log) in &self.heard {
            let current = Some(*to) == self.scheduler.0 || Some(*to) == self.controllers.0;
            let end = versions.log_end(*kind);
            if current && log + 1 != end {
                behind.push(format!("{} has heard {} of {end} of {kind}", to.role.name(), log + 1));
            }
        }
        behind.sort();
        behind.into_iter().next().map_or(Ok(()), Err)
    }
}

fn told(pod: &Pod) -> Told {
    Told { node: pod.node, here: !pod.terminal(), owner: pod.meta.controller().map(|o| o.uid) }
}

/// True for a node that has been Ready for a minute, and that nobody has called out of service: who
/// acts upon it by force has not heard of that yet, or is wrong.
fn well(cluster: &Cluster, node: Sym) -> bool {
    const HEARD: u32 = 60;
    let shared = cluster.shared();
    let object = shared.versions.find(Kind::Node, Sym::EMPTY, node.into());
    let found = object.and_then(|o| shared.versions.current(Kind::Node, o)?.as_node());
    let Some(node) = found else { return false };
    let out = |t: &crate::api::pod::Taint| t.key.as_str() == keys::OUT_OF_SERVICE;
    let now =
        shared.epoch_s + u32::try_from(shared.now().0 / 1_000_000_000).unwrap_or(u32::MAX / 2);
    let ready = node.status.conditions.get(ConditionType::Ready);
    let steady = ready.is_some_and(|c| c.status == Truth::True && c.transition.0 + HEARD < now);
    steady && !node.taints.iter().any(out)
}

fn broken(found: Finding, entry: &Entry<Event>) -> Result<(), Broken> {
    let (time, seq) = (entry.time, entry.seq);
    found.map_err(|(rule, seen)| Broken { rule, seen, time, seq })
}

/// The pod that a record is about, for the scheduler's side.
fn pod_of(cluster: &Cluster, record: &Record) -> Option<ObjRef> {
    if let What::Scheduled { pod, .. } = record.what {
        return Some(pod);
    }
    let What::Delivered { to, kind: Kind::Pod, log } = record.what else { return None };
    let change = cluster.shared().versions.change(Kind::Pod, log)?;
    (to.role == Role::Scheduler).then_some(change.object)
}

/// True for a request that is about to be committed and takes finalizers away: the last one lets
/// what is deleted go, in the same write.
fn lifts(cluster: &Cluster, entry: &Entry<Event>) -> bool {
    let Event::Api(ApiEvent::Commit(id)) = entry.event else { return false };
    let request = cluster.shared().requests.get(id).map(|r| &r.request);
    request.is_some_and(|r| {
        if let Op::Update(object) = &r.op {
            let meta = object.meta();
            return meta.is_some_and(|m| m.finalizers.as_deref().is_none_or(<[Sym]>::is_empty));
        }
        matches!(r.op, Op::RemoveFinalizer(_))
    })
}

/// What a change of an object may not do.
fn marks(before: &Meta, now: &Meta, deleted: bool) -> Finding {
    holds("an object keeps its identity", before.uid == now.uid, || {
        format!("{} became {}", before.uid, now.uid)
    })?;
    let marked = before.terminating();
    holds("a deletion is not taken back", !marked || now.terminating(), String::new)?;
    let held = before.finalizers.as_deref().is_some_and(|f| !f.is_empty());
    holds("what has finalizers stays", !(deleted && held), || format!("{:?}", before.finalizers))
}

/// Each eviction of a ready pod is paid for from its budget, in the same transaction.
fn evictions(cluster: &Cluster, records: &[Record]) -> Finding {
    let versions = &cluster.shared().versions;
    for (at, record) in records.iter().enumerate() {
        let What::Committed { kind: Kind::Pod, log, verb, .. } = record.what else { continue };
        let Some(change) = versions.change(Kind::Pod, log).filter(|_| verb.1 == "/eviction") else {
            continue;
        };
        let Some(Obj::Pod(pod)) = &change.before else { continue };
        if !pod.ready() || pod.meta.terminating() || pod.meta.labels.is_empty() {
            continue;
        }
        let covered = versions.iter(Kind::PodDisruptionBudget).any(|(_, budget)| {
            let Obj::Generic(_, content) = budget else { return false };
            let read = PodDisruptionBudget::of(content);
            content.meta.ns == pod.meta.ns && read.matches(pod.meta.labels)
        });
        let paid = records[..at].iter().any(|r| {
            let What::Committed { kind: Kind::PodDisruptionBudget, log, .. } = r.what else {
                return false;
            };
            let change = versions.change(Kind::PodDisruptionBudget, log);
            let Some(Obj::Generic(_, old)) = change.and_then(|c| c.before.as_ref()) else {
                return false;
            };
            PodDisruptionBudget::of(old).status.disruptions_allowed > 0
        });
        holds("an eviction has a budget that allows it", !covered || paid, || {
            pod.meta.full_name()
        })?;
    }
    Ok(())
}
