//! The API server: a queueing station in front of etcd.
//!
//! A request arrives, takes a seat (or waits for one), passes authentication, authorization,
//! mutating admission, defaulting and validation, validating admission, and becomes an etcd
//! transaction; when that commits it is answered, and the change is fanned out to the watches.
//! The transaction reads the object as it is at the commit, as upstream's `GuaranteedUpdate` loop
//! ends up doing.

mod addresses;
mod admission;
mod authentication;
mod bootstrap;
mod content;
mod delete;
mod eviction;
pub mod fairness;
pub(in crate::control_plane) mod handlers;
pub(in crate::control_plane) mod patch;
mod proposals;
mod rbac;
mod restore;
mod sabotage;
mod servers;
mod update;

pub use super::etcd::CommitLatency;
pub use restore::{Snapshot, Undone};
pub use servers::Members;

use super::etcd::{Committed, Compare, Etcd, Refusal, Write};
use crate::api::kevent::KEvent;
use crate::api::meta::Uid;
use crate::api::request::{ApiError, Op, Outcome, Request, Success, User};
use crate::api::versions::ObjRef;
use crate::api::{Cidr, Kind, Obj};
use crate::client::{Watches, retry};
use crate::engine::digest::mix;
use crate::engine::id::Id;
use crate::engine::{Draws, Purpose, SimDuration, Sym};
use crate::event::record::Stage;
use crate::event::{Address, ApiEvent, Context, Event, What};
use admission::serviceaccount;
use fairness::{Crowd, Fairness, Level, Verdict};
use rbac::Access;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// The API server drives etcd's compaction (source: `storagebackend/config.go`).
const COMPACT_INTERVAL: SimDuration = SimDuration::from_secs(300);

/// Revisions between two looks for versions that nobody needs any more.
const TRIM_EVERY: u64 = 1024;

/// Settings of an API server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Work on a request before etcd.
    pub work: SimDuration,
    /// `--event-ttl`.
    pub event_ttl: SimDuration,
    /// etcd's commit latency.
    pub commit: CommitLatency,
    /// Pods whose name begins so are placed on these nodes in order of creation: comparisons with a
    /// recording pin what the real scheduler left to chance.
    pub pins: Vec<(String, Vec<Sym>)>,
    /// `--service-cluster-ip-range`.
    pub service_cidr: Cidr,
    /// The hosts of the servers and of etcd's members, if the control plane runs on nodes.
    pub members: Option<Members>,
}

/// Counts for `--profile` and the summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests answered with an error.
    pub refused: u64,
    /// Most requests in service or waiting at one time.
    pub peak_in_flight: usize,
    /// Revisions of pods.
    pub pod_revisions: u64,
    /// Kubernetes Events created.
    pub events_created: u64,
}

/// An API server and the etcd behind it.
#[derive(Debug, Clone)]
pub struct ApiServer {
    config: Config,
    etcd: Etcd,
    /// Everybody who watches.
    pub watches: Watches,
    /// The seats of each server.
    fairness: Vec<Fairness>,
    /// Who floods the servers, by fault.
    crowds: Vec<(u32, Crowd)>,
    authorizer: rbac::Authorizer,
    admission: admission::Admission,
    names: handlers::NameOrdinals,
    expiry_armed: bool,
    /// Requests that wait for a service account, and how often it has been looked for.
    looks: FxHashMap<Id, u8>,
    /// Deletions of whole collections under way: what is left of each.
    sweeps: FxHashMap<Id, VecDeque<ObjRef>>,
    /// How many pods each pin has placed.
    pinned: Vec<usize>,
    /// What Services have taken.
    addresses: addresses::Addresses,
    /// Kubernetes Events that repetitions may be folded into, by object and key.
    events: FxHashMap<(Uid, u32), ObjRef>,
    events_next: usize,
    counts: Counts,
    /// Servers and members on hosts; none for one of each that never fails.
    hosted: Option<Box<servers::Hosted>>,
}

/// What a handler wants done to the store.
enum Plan {
    /// Put this content over (or as) this object.
    Put(Option<ObjRef>, Compare, Obj),
    /// Put this Event over (or as) this object, to be found again under this key unless it is 0.
    Say(Option<ObjRef>, Arc<KEvent>, u32),
    /// Delete this object.
    Delete(Kind, ObjRef),
    /// Put, then delete at once (a pod's grace-0 deletion writes both).
    PutThenDelete(ObjRef, Obj),
    /// A write that must hold before the rest is done.
    First(handlers::Before, Box<Self>),
    /// Nothing changes: answer with what is there.
    Unchanged(Success),
}

impl ApiServer {
    /// A server with an empty store.
    #[must_use]
    pub fn new(config: Config, draws: &Draws) -> Self {
        let mut etcd = Etcd::new(config.commit.clone());
        let pinned = vec![0; config.pins.len()];
        let hosted = config.members.as_ref().map(|m| Box::new(servers::Hosted::new(m, draws)));
        if let Some(quota) = config.members.as_ref().and_then(|m| m.quota_bytes) {
            etcd = etcd.with_quota(quota);
        }
        let servers = config.members.as_ref().map_or(1, |m| m.names.len());
        Self {
            hosted,
            config,
            etcd,
            watches: Watches::default(),
            fairness: vec![Fairness::default(); servers],
            crowds: Vec::new(),
            authorizer: rbac::Authorizer::default(),
            admission: admission::Admission::default(),
            names: handlers::NameOrdinals::default(),
            expiry_armed: false,
            looks: FxHashMap::default(),
            sweeps: FxHashMap::default(),
            pinned,
            addresses: addresses::Addresses::default(),
            events: FxHashMap::default(),
            events_next: 1024,
            counts: Counts::default(),
        }
    }

    /// Arms what runs by itself.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        cx.after(COMPACT_INTERVAL, Event::Api(ApiEvent::Compact));
    }

    /// Counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes in etcd.
    #[must_use]
    pub fn etcd_bytes(&self) -> u64 {
        self.etcd.bytes()
    }

    /// Handles an event.
    pub fn handle(&mut self, event: ApiEvent, cx: &mut Context<'_>) {
        match event {
            ApiEvent::Arrive(id) => self.arrive(id, cx),
            ApiEvent::GiveUp(id) => self.give_up(id, cx),
            ApiEvent::Admit(id) => self.admit_again(id, cx),
            ApiEvent::Commit(id) => self.commit(id, cx),
            ApiEvent::Compact => {
                if self.writable(cx.now()) {
                    self.etcd.compact(&self.watches.held(), cx);
                }
                cx.after(COMPACT_INTERVAL, Event::Api(ApiEvent::Compact));
            }
            ApiEvent::Expire => self.expire(cx),
            ApiEvent::Timeout(id) => self.timed_out(id, cx),
            ApiEvent::Elect(ballot) => self.elected(ballot, cx),
        }
    }

    fn arrive(&mut self, id: Id, cx: &mut Context<'_>) {
        self.counts.requests += 1;
        if !self.route(id, cx) {
            return;
        }
        let Some(in_flight) = cx.in_flight(id) else { return };
        let level = fairness::level(&in_flight.request);
        let Some(seats) = self.fairness.get_mut(usize::from(in_flight.server)) else { return };
        self.counts.peak_in_flight = self.counts.peak_in_flight.max(seats.load() + 1);
        match seats.arrive(&in_flight.request, id, cx.seq()) {
            Verdict::Serve => self.serve(id, level, cx),
            Verdict::Wait => {
                cx.after(fairness::LONGEST_WAIT, Event::Api(ApiEvent::GiveUp(id)));
            }
            Verdict::Reject => self.refuse(id, too_many(), cx),
        }
    }

    /// The wait for a seat is over, unless it has come.
    fn give_up(&mut self, id: Id, cx: &mut Context<'_>) {
        let Some(in_flight) = cx.in_flight(id) else { return };
        let level = fairness::level(&in_flight.request);
        let seats = self.fairness.get_mut(usize::from(in_flight.server));
        if seats.is_some_and(|s| s.give_up(level, id)) {
            self.refuse(id, too_many(), cx);
        }
    }

    /// A seat is free: whoever waits may have it.
    fn seat_free(&mut self, level: Level, server: u8, cx: &mut Context<'_>) {
        if let Some(seats) = self.fairness.get_mut(usize::from(server)) {
            seats.leave(level);
        }
        self.serve_waiting(server, cx);
    }

    fn serve_waiting(&mut self, server: u8, cx: &mut Context<'_>) {
        let at = usize::from(server);
        while let Some((next, arrival)) = self.fairness.get_mut(at).and_then(Fairness::next) {
            let Some(in_flight) = cx.in_flight(next) else { continue };
            let level = fairness::level(&in_flight.request);
            cx.at_hop(arrival, |cx| self.serve(next, level, cx));
        }
    }

    /// The request has a seat and passes the stages before etcd.
    fn serve(&mut self, id: Id, level: Level, cx: &mut Context<'_>) {
        let Some(in_flight) = cx.in_flight_mut(id) else { return };
        let server = in_flight.server;
        // Most requests pass admission untouched: only a new object is taken out and put back.
        let makes = matches!(
            in_flight.request.op,
            Op::Create { .. } | Op::Apply(_) | Op::CreateEvent(..) | Op::PatchEvent(..)
        );
        let access = Access::of(&in_flight.request.op);
        let verdict = if makes {
            let mut request = std::mem::replace(&mut in_flight.request, placeholder());
            let verdict = self.stages(&mut request, access, cx);
            if let Some(in_flight) = cx.in_flight_mut(id) {
                in_flight.request = request;
            }
            verdict
        } else {
            let (op, kind, ns) =
                (scale_of(&in_flight.request.op), in_flight.request.kind, in_flight.request.ns);
            let name = in_flight.request.name;
            let user = in_flight.request.user;
            self.stages(&mut Request { user, kind, ns, name, target: None, op }, access, cx)
        };
        let verdict = verdict.map_err(|error| self.named(id, error, cx));
        if verdict.is_err() && self.admission.awaits_account() && self.looks_again(id, cx) {
            return;
        }
        if !self.looks.is_empty() {
            self.looks.remove(&id);
        }
        match verdict {
            Ok(hop) => {
                let mut handed = cx.now() + self.work();
                let about = cx.in_flight(id).map_or((0, false), |f| subject(&f.request));
                if makes && self.charges(id, cx) {
                    handed = self.charged(mix(about.0, 1), handed, cx);
                }
                cx.at_hop(hop, |cx| self.propose(id, about, handed, cx));
            }
            Err(error) => {
                self.refuse(id, error, cx);
                if let Some(seats) = self.fairness.get_mut(usize::from(server)) {
                    seats.leave(level);
                }
            }
        }
    }

    /// What a request takes before it comes to etcd.
    fn work(&self) -> SimDuration {
        let slow = self.crowds.iter().map(|(_, crowd)| crowd.slow).max().unwrap_or(1);
        self.config.work.times(u64::from(slow))
    }

    /// Clients flood the servers because of a fault, or no longer do.
    pub fn flood(&mut self, fault: u32, crowd: Option<Crowd>, cx: &mut Context<'_>) {
        self.crowds.retain(|(row, _)| *row != fault);
        self.crowds.extend(crowd.map(|crowd| (fault, crowd)));
        for server in 0..self.fairness.len() {
            self.fairness[server].flood(self.crowds.iter().map(|(_, crowd)| crowd));
            self.serve_waiting(u8::try_from(server).unwrap_or(u8::MAX), cx);
        }
    }

    /// Admission waits, seat in hand, for the account `default` of a new namespace.
    fn looks_again(&mut self, id: Id, cx: &mut Context<'_>) -> bool {
        let looks = self.looks.entry(id).or_insert(0);
        *looks += 1;
        if *looks >= serviceaccount::ATTEMPTS {
            return false;
        }
        let about = cx.in_flight(id).map_or(0, |f| subject(&f.request).0);
        let after = serviceaccount::interval(cx.draw(about, Purpose("service-account"), 0));
        cx.after(after, Event::Api(ApiEvent::Admit(id)));
        true
    }

    fn admit_again(&mut self, id: Id, cx: &mut Context<'_>) {
        let Some(in_flight) = cx.in_flight(id) else { return };
        let (level, server) = (fairness::level(&in_flight.request), in_flight.server);
        self.serve(id, level, cx);
        // It may have been refused at last and given its seat back.
        self.serve_waiting(server, cx);
    }

    /// What validating admission refuses of a pod without a name has one by then.
    fn named(&mut self, id: Id, error: ApiError, cx: &Context<'_>) -> ApiError {
        let ApiError::ForbiddenNamed(_, why) = error else { return error };
        let request = cx.in_flight(id).map(|f| &f.request.op);
        let Some(Op::Create { object, generate: true }) = request else {
            return ApiError::Forbidden(why);
        };
        let object = object.clone();
        self.free_name(&object, cx).map_or_else(|e| e, |name| ApiError::ForbiddenNamed(name, why))
    }

    /// A quota's charge is committed before the object is handed to etcd.
    fn charges(&mut self, id: Id, cx: &Context<'_>) -> bool {
        cx.in_flight(id).is_some_and(|f| self.admission.charges(&f.request, cx))
    }

    /// The pipeline, stage by stage; gives the last hop.
    fn stages(
        &mut self,
        request: &mut Request,
        access: Access,
        cx: &mut Context<'_>,
    ) -> Result<u64, ApiError> {
        let mut hop = cx.trace(|| What::Stage(Stage::Authentication));
        authentication::authenticate(request.user, cx.versions())?;
        hop = cx.trace_from(hop, || What::Stage(Stage::Authorization));
        self.authorizer.check(request, access, cx.versions())?;
        hop = cx.trace_from(hop, || What::Stage(Stage::MutatingAdmission));
        self.admission.mutate(request, cx)?;
        hop = cx.trace_from(hop, || What::Stage(Stage::Validation));
        handlers::validate(request)?;
        hop = cx.trace_from(hop, || What::Stage(Stage::ValidatingAdmission));
        Ok(cx.trace_from(hop, || What::Stage(Stage::Etcd)))
    }

    /// A collection is deleted object by object, one transaction after the other (one worker, as
    /// `--delete-collection-workers` has it); true while more are to come.
    fn sweep(&mut self, id: Id, cx: &mut Context<'_>) -> bool {
        let Some(request) = cx.in_flight(id).map(|f| &f.request) else { return false };
        if !matches!(request.op, Op::DeleteCollection) {
            return false;
        }
        let (kind, ns, who) = (request.kind, request.ns, (request.user, request.op.verb()));
        let list = self.sweeps.entry(id).or_insert_with(|| collection(kind, ns, cx));
        if let Some(object) = list.pop_front()
            && let Some(old) = cx.versions().current(kind, object).cloned()
            && let Ok(plan) = delete::delete(object, &old, (None, None, None), cx)
        {
            // One that has gone meanwhile is no error.
            let gone = self.carry_out(plan, kind, who, cx);
            debug_assert!(gone.is_ok(), "an object of a collection could not be deleted");
        }
        if self.sweeps.get(&id).is_none_or(VecDeque::is_empty) {
            self.sweeps.remove(&id);
            return false;
        }
        let about = cx.in_flight(id).map_or((0, false), |f| subject(&f.request));
        self.propose(id, about, cx.now(), cx);
        true
    }

    fn commit(&mut self, id: Id, cx: &mut Context<'_>) {
        self.settle(id, cx);
        if self.sweep(id, cx) {
            return;
        }
        let spare = self.spare(id, cx);
        let Some(in_flight) = cx.in_flight_mut(id) else { return };
        let (level, server) = (fairness::level(&in_flight.request), in_flight.server);
        let request = std::mem::replace(&mut in_flight.request, placeholder());
        let about = (request.user, request.op.verb(), request.kind, request.ns, request.name);
        match self.execute(request, cx) {
            Ok(success) => self.answer(id, Ok(success), cx),
            Err(error) => {
                let (user, verb, kind, ns, name) = about;
                self.counts.refused += 1;
                let (made, plain) = error.unnamed();
                let name = made.unwrap_or(name);
                cx.record(What::Refused { user, verb, kind, ns, name, error: plain });
                // Only evictions are refused so late and told when to come again.
                let late = matches!(error, ApiError::TooManyRequests(..)) && verb.1 == "/eviction";
                if late && let Some(in_flight) = cx.in_flight_mut(id) {
                    let op = Op::Evict;
                    in_flight.request = Request { user, kind, ns, name, target: None, op };
                }
                if let Some((in_flight, request)) = cx.in_flight_mut(id).zip(spare) {
                    in_flight.request = request;
                }
                if !(late && retry::again(id, error, cx)) {
                    self.answer(id, Err(error), cx);
                }
            }
        }
        self.seat_free(level, server, cx);
    }

    /// Refuses a request that never reached etcd.
    fn refuse(&mut self, id: Id, error: ApiError, cx: &mut Context<'_>) {
        self.counts.refused += 1;
        if let Some(request) = cx.in_flight(id).map(|f| &f.request) {
            let (user, verb) =
                (request.user, self.authorizer.refused(request, cx.versions()).words());
            let (kind, ns) = (request.kind, request.ns);
            let (made, error) = error.unnamed();
            let name = made.unwrap_or(request.name);
            cx.record(What::Refused { user, verb, kind, ns, name, error });
        }
        if !retry::again(id, error, cx) {
            self.answer(id, Err(error), cx);
        }
    }

    /// Sends the answer back over the network, if somebody waits for it.
    fn answer(&mut self, id: Id, outcome: Outcome, cx: &mut Context<'_>) {
        if let Err(error) = outcome
            && self.repeats(id, error, cx)
        {
            return self.fail(id, error, cx.now() + cx.network(), cx);
        }
        let Some(in_flight) = cx.in_flight_mut(id) else { return };
        if let Some((to, token)) = in_flight.reply {
            in_flight.outcome = Some(outcome);
            cx.reply(to, token, id);
        } else {
            cx.take_request(id);
        }
    }

    /// Carries the request out against the store as it is now.
    fn execute(&mut self, request: Request, cx: &mut Context<'_>) -> Outcome {
        let (kind, user, verb) = (request.kind, request.user, request.op.verb());
        let mut plan = self.plan(request, cx)?;
        while let Plan::First((compare, write, of), then) = plan {
            // What belongs to the request's own object is no request of its own.
            let own = of == kind;
            let who = if own { (user, verb) } else { (User::ApiServer, ("update", "/status")) };
            self.write(compare, write, of, who, cx)?;
            plan = *then;
        }
        let plan = sabotage::sabotage(plan, cx);
        self.carry_out(plan, kind, (user, verb), cx)
    }

    fn carry_out(
        &mut self,
        plan: Plan,
        kind: Kind,
        (user, verb): (User, (&'static str, &'static str)),
        cx: &mut Context<'_>,
    ) -> Outcome {
        match plan {
            Plan::First(..) => Err(ApiError::Internal(Sym::new("two writes before the first"))),
            Plan::Unchanged(success) => Ok(success),
            Plan::Put(object, compare, value) => {
                if cx.versions().count(Kind::ResourceQuota) > 0 {
                    let name = value.key().1;
                    self.charge(object, &value, cx).map_err(|error| error.named(name))?;
                }
                self.write(compare, Write::Put(object, value), kind, (user, verb), cx)
            }
            Plan::Say(object, event, key) => {
                let (uid, value) = (event.uid, Obj::Event(event));
                if cx.versions().count(Kind::ResourceQuota) > 0 {
                    self.charge(object, &value, cx)?;
                }
                let put = Write::Put(object, value);
                let said = self.write(Compare::Nothing, put, kind, (user, verb), cx)?;
                if key != 0 && self.events.insert((uid, key), said.object) != Some(said.object) {
                    self.forget_events(cx);
                }
                Ok(said)
            }
            Plan::Delete(kind, object) => {
                let delete = Write::Delete(kind, object);
                let gone = self.write(Compare::Nothing, delete, kind, (user, verb), cx)?;
                if kind == Kind::Service {
                    self.without_endpoints(&gone.value, cx);
                }
                Ok(gone)
            }
            Plan::PutThenDelete(object, value) => {
                let put = Write::Put(Some(object), value);
                self.write(Compare::Nothing, put, kind, (user, verb), cx)?;
                self.write(Compare::Nothing, Write::Delete(kind, object), kind, (user, verb), cx)
            }
        }
    }

    /// Charges the quotas that track a new object, unless its name is taken, and one that grows.
    fn charge(
        &mut self,
        object: Option<ObjRef>,
        value: &Obj,
        cx: &mut Context<'_>,
    ) -> Result<(), ApiError> {
        let (kind, (ns, name)) = (value.kind(), value.key());
        let before = object.and_then(|object| cx.versions().current(kind, object)).cloned();
        let grows = matches!(kind, Kind::PersistentVolumeClaim | Kind::Service);
        if before.is_some() && !grows
            || before.is_none() && cx.versions().find(kind, ns, name).is_some()
        {
            return Ok(());
        }
        let who = (User::ApiServer, ("update", "/status"));
        for (object, rev, quota) in self.admission.quota(value, before.as_ref(), cx)? {
            let put = Write::Put(Some(object), quota);
            self.write(Compare::ModRevision(rev), put, Kind::ResourceQuota, who, cx)?;
        }
        Ok(())
    }

    /// A Service takes its Endpoints along (source: `registry/core/service/storage` `afterDelete`).
    fn without_endpoints(&mut self, service: &Obj, cx: &mut Context<'_>) {
        let (ns, name) = service.key();
        if let Some(object) = cx.versions().find(Kind::Endpoints, ns, name) {
            let delete = Write::Delete(Kind::Endpoints, object);
            let who = (User::ApiServer, ("delete", ""));
            let gone = self.write(Compare::Nothing, delete, Kind::Endpoints, who, cx);
            debug_assert!(gone.is_ok(), "nothing holds Endpoints");
        }
    }

    /// One transaction, its record, and the fan-out to the watches.
    fn write(
        &mut self,
        compare: Compare,
        write: Write,
        kind: Kind,
        (user, verb): (User, (&'static str, &'static str)),
        cx: &mut Context<'_>,
    ) -> Outcome {
        let committed = self.etcd.txn(compare, write, cx).map_err(|refusal| match refusal {
            Refusal::CompareFailed if compare == Compare::Absent => ApiError::AlreadyExists,
            Refusal::CompareFailed | Refusal::Compacted => ApiError::Conflict,
            Refusal::NoSpace => {
                ApiError::Internal(Sym::new("etcdserver: mvcc: database space exceeded"))
            }
        })?;
        Ok(self.publish(committed, kind, (user, verb), cx))
    }

    fn publish(
        &mut self,
        committed: Committed,
        kind: Kind,
        (user, verb): (User, (&'static str, &'static str)),
        cx: &mut Context<'_>,
    ) -> Success {
        let Committed { object, rev, log } = committed;
        let change = cx.versions().change(kind, log).expect("the change just committed");
        let value = change.value.clone();
        let (ns, name) = value.key();
        let identity = mix(mix(ns.stable_hash(), name.stable_hash()), rev);
        if kind == Kind::Service {
            self.addresses.note(&value, change.before.as_ref(), change.deleted);
        }
        // What is deleted was folded when it was written.
        let content = if change.deleted {
            u64::MAX
        } else {
            content::content(&value, change.before.as_ref())
        };
        cx.fold(mix(identity, content));
        let node = value.as_pod().map_or(Sym::EMPTY, |p| p.node);
        cx.record(What::Committed { kind, log, object, user, verb });
        if rev.is_multiple_of(TRIM_EVERY) {
            Etcd::trim(&self.watches.held(), cx);
        }
        self.watches.notify(kind, log, node, cx);
        self.counts.pod_revisions += u64::from(kind == Kind::Pod);
        if let Obj::Event(event) = &value
            && !matches!(verb.0, "delete" | "deletecollection")
        {
            self.written_event(object, event, cx);
        }
        Success { object, value }
    }

    /// A written Event lives for a while from now on (source: the TTL of `registry/core/event`
    /// counts from each write).
    fn written_event(&mut self, object: ObjRef, event: &KEvent, cx: &mut Context<'_>) {
        self.counts.events_created += u64::from(event.count == 1);
        let at = self.etcd.lease(Kind::Event, object, self.config.event_ttl, cx);
        if !self.expiry_armed {
            self.expiry_armed = true;
            cx.schedule(at, Event::Api(ApiEvent::Expire));
        }
    }

    /// Drops Events that have expired from the index, whenever it has doubled.
    fn forget_events(&mut self, cx: &Context<'_>) {
        if self.events.len() >= self.events_next {
            self.events.retain(|_, o| cx.versions().current(Kind::Event, *o).is_some());
            self.events_next = (self.events.len() * 2).max(1024);
        }
    }

    /// True if the object was written again under a later lease.
    fn renewed(&self, kind: Kind, object: ObjRef, cx: &Context<'_>) -> bool {
        let event = cx.versions().current(kind, object);
        let Some(Obj::Event(event)) = event else { return false };
        cx.time_of(event.last) + self.config.event_ttl > cx.now()
    }

    /// Deletes what stood under leases that have expired.
    fn expire(&mut self, cx: &mut Context<'_>) {
        if !self.quorate(cx.now()) {
            // The next leader counts all leases anew.
            self.expiry_armed = false;
            return;
        }
        while let Some((kind, object)) = self.etcd.expired(cx.now()) {
            let who = (User::ApiServer, ("delete", ""));
            // Whoever deleted it before has saved us the work.
            let there = cx.versions().current(kind, object).is_some();
            if there && !self.renewed(kind, object, cx) {
                let expired =
                    self.write(Compare::Nothing, Write::Delete(kind, object), kind, who, cx);
                debug_assert!(expired.is_ok(), "an expired object could not be deleted");
            }
        }
        match self.etcd.next_expiry() {
            Some(at) => {
                cx.schedule(at.max(cx.now() + SimDuration(1)), Event::Api(ApiEvent::Expire));
            }
            None => self.expiry_armed = false,
        }
    }

    /// A write that stands in the store from the start of the run (objects of a dump, the
    /// namespaces every cluster has): no request, no latency.
    pub fn preload(&mut self, value: Obj, cx: &mut Context<'_>) -> Outcome {
        let kind = value.kind();
        let who = (User::ApiServer, ("create", ""));
        self.write(Compare::Absent, Write::Put(None, value), kind, who, cx)
    }

    /// A renewal of a Lease that nobody has looked at when it was written: it is in the store.
    ///
    /// # Errors
    /// The store refused it.
    pub fn record_renewal(&mut self, value: Obj, cx: &mut Context<'_>) -> Outcome {
        let (kind, (ns, name)) = (value.kind(), value.key());
        let object = cx.versions().find(kind, ns, name);
        let who = (User::ApiServer, ("update", ""));
        self.write(Compare::Nothing, Write::Put(object, value), kind, who, cx)
    }

    /// Where a client's watch stands open; see [`Watches::open`].
    pub fn watch(&mut self, kind: Kind, to: Address, lag: SimDuration, cx: &Context<'_>) -> u32 {
        self.watches.open(kind, to, lag, cx.versions())
    }

    /// The instant until which the station is busy: for tests of its queueing.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.fairness.iter().all(|seats| seats.load() == 0)
    }
}

#[cfg(test)]
mod tests;

/// The refusal of a server without a seat; clients try again after a second.
fn too_many() -> ApiError {
    ApiError::TooManyRequests(Sym::new("Too many requests, please try again later."), 1)
}

/// The objects of a kind in a namespace, in the order of their keys.
fn collection(kind: Kind, ns: Sym, cx: &Context<'_>) -> VecDeque<ObjRef> {
    let all = cx.versions().iter(kind).filter(|(_, obj)| obj.key().0 == ns);
    let mut found: Vec<(String, ObjRef)> =
        all.map(|(object, obj)| (obj.key().1.to_string(), object)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(_, object)| object).collect()
}

/// What the stages before etcd look at in a request that makes nothing: a scale, or nothing at all.
fn scale_of(op: &Op) -> Op {
    if let Op::Scale(replicas) = op { Op::Scale(*replicas) } else { Op::Evict }
}

/// The object that a request is about, as a stable hash, and whether it is a heartbeat.
fn subject(request: &Request) -> (u64, bool) {
    let name = mix(request.ns.stable_hash(), request.name.stable_hash());
    let heartbeat = match (&request.op, request.user) {
        (Op::Apply(Obj::Lease(_)), User::Kubelet(_)) => true,
        (Op::Heartbeat(_), _) => true,
        _other => false,
    };
    (mix(name, request.kind.index() as u64), heartbeat)
}

/// Stands in for a request that is being handled.
fn placeholder() -> Request {
    Request {
        user: User::ApiServer,
        kind: Kind::Custom,
        ns: Sym::EMPTY,
        name: crate::api::Name::default(),
        target: None,
        op: Op::Evict,
    }
}
