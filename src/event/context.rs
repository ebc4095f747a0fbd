//! The [`Context`] is all a component may do: read the time, draw, schedule, cancel, submit,
//! record, and read the shared table of versions at its own cursor.

use super::cloud::{CloudCall, CloudEvent};
use super::drivers::{Driver, Drivers};
use super::lease::Leases;
use super::logs::LogStore;
use super::record::{Record, What};
use super::traffic::Traffic;
use super::usage::Usage;
use super::{Address, ApiEvent, Canary, Event};
use crate::api::meta::Stamp;
use crate::api::request::{Outcome, Request, User};
use crate::api::version::KubeVersion;
use crate::api::versions::Versions;
use crate::api::{Kind, Name};
use crate::engine::digest::mix;
use crate::engine::draw::{Draw, Draws, Purpose};
use crate::engine::id::{Arena, Id};
use crate::engine::queue::{Entry, Queue};
use crate::engine::{Digest, SimDuration, SimTime, Sym};

/// A request on its way, and its outcome once there is one.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// The request.
    pub request: Request,
    /// Who gets the answer, and the token they asked for; none if nobody waits.
    pub reply: Option<(Address, u32)>,
    /// Filled by the API server.
    pub outcome: Option<Outcome>,
    /// How often the client has sent it again.
    pub tries: u8,
    /// The API server that has it, of several; [`NOWHERE`] while none has.
    pub server: u8,
}

/// No API server.
pub const NOWHERE: u8 = u8::MAX;

/// What all components share: time, queue, chance, requests in flight, records, versions.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Pending events.
    pub queue: Queue<Event>,
    /// Requests in flight.
    pub requests: Arena<InFlight>,
    /// Messages on their way to the cloud.
    pub cloud_calls: Arena<CloudCall>,
    /// All chance.
    pub draws: Draws,
    /// The table of object versions.
    pub versions: Versions,
    /// The running digest.
    pub digest: Digest,
    /// Records of the event in hand; the session hands them to observers.
    pub records: Vec<Record>,
    /// Heartbeats of all kubelets.
    pub leases: Leases,
    /// What the metrics server has scraped.
    pub usage: Usage,
    /// What requests to Services come to.
    pub traffic: Traffic,
    /// Storage drivers.
    pub drivers: Drivers,
    /// Where log agents ship to.
    pub log_store: LogStore,
    /// True while somebody wants every hop recorded.
    pub tracing: bool,
    /// A bug planted on purpose.
    pub planted: Option<Canary>,
    /// Events at one instant come in an order drawn with this number.
    pub shuffle: Option<u64>,
    /// Kubernetes version.
    pub version: KubeVersion,
    /// Unix time of the start of the run.
    pub epoch_s: u32,
    /// One-way latency between a client and the API server.
    pub network: SimDuration,
    /// The next number to be given.
    next_seq: u64,
    now: SimTime,
}

impl Shared {
    /// The state of a run before its first event.
    #[must_use]
    pub fn new(seed: u64, version: KubeVersion, epoch_s: u32, network: SimDuration) -> Self {
        Self {
            queue: Queue::default(),
            requests: Arena::default(),
            cloud_calls: Arena::default(),
            draws: Draws::new(seed),
            versions: Versions::default(),
            digest: Digest::default(),
            records: Vec::new(),
            leases: Leases::default(),
            usage: Usage::default(),
            traffic: Traffic::default(),
            drivers: Drivers::default(),
            log_store: LogStore::default(),
            tracing: false,
            planted: None,
            shuffle: None,
            version,
            epoch_s,
            network,
            next_seq: 1,
            now: SimTime::ZERO,
        }
    }

    /// The virtual now.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// The number of the last event or hop given.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Takes the next event and moves time to it.
    pub fn pop(&mut self) -> Option<Entry<Event>> {
        let entry = self.take_one()?;
        assert!(
            entry.time >= self.now,
            "time ran back: seed {} seq {} at {:?}, now {:?}",
            self.draws.seed(),
            entry.seq,
            entry.time,
            self.now
        );
        self.now = entry.time;
        Some(entry)
    }

    /// The next event; of those at one instant any, if they are shuffled.
    fn take_one(&mut self) -> Option<Entry<Event>> {
        /// More at one instant than this are not all held against each other.
        const TIED: usize = 64;
        let first = self.queue.pop()?;
        let Some(salt) = self.shuffle else { return Some(first) };
        let mut tied = vec![first];
        while tied.len() < TIED && self.queue.next_time() == Some(first.time) {
            tied.extend(self.queue.pop());
        }
        let rank = |e: &Entry<Event>| mix(salt, e.seq);
        let at = (0..tied.len()).min_by_key(|&i| rank(&tied[i]))?;
        let chosen = tied.swap_remove(at);
        for entry in tied {
            self.queue.push(entry);
        }
        Some(chosen)
    }

    /// Moves time forward without an event (the end of a run).
    pub fn advance(&mut self, to: SimTime) {
        self.now = self.now.max(to);
    }

    /// The context for handling an event with this number.
    pub fn context(&mut self, seq: u64) -> Context<'_> {
        Context { seq, shared: self }
    }
}

/// All a component may do while it handles an event.
#[derive(Debug)]
pub struct Context<'a> {
    /// The event or hop in hand: the cause of everything done now.
    seq: u64,
    shared: &'a mut Shared,
}

impl Context<'_> {
    /// The virtual now.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.shared.now
    }

    /// The virtual now as an API timestamp (whole seconds).
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp_of(self.shared.now)
    }

    /// An instant as an API timestamp.
    #[must_use]
    pub fn stamp_of(&self, t: SimTime) -> Stamp {
        Stamp(self.shared.epoch_s + u32::try_from(t.0 / 1_000_000_000).unwrap_or(u32::MAX / 2))
    }

    /// The instant of an API timestamp (whole seconds; the start of the run if it lies before).
    #[must_use]
    pub fn time_of(&self, stamp: Stamp) -> SimTime {
        SimTime::from_secs(u64::from(stamp.0.saturating_sub(self.shared.epoch_s)))
    }

    /// The Kubernetes version.
    #[must_use]
    pub fn version(&self) -> KubeVersion {
        self.shared.version
    }

    /// The number of the event or hop in hand.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// A draw keyed by the entity's stable name hash.
    #[must_use]
    pub fn draw(&self, entity: u64, purpose: Purpose, ordinal: u64) -> Draw {
        self.shared.draws.draw(entity, purpose, ordinal)
    }

    /// All chance, for things that keep their own keys.
    #[must_use]
    pub fn draws(&self) -> &Draws {
        &self.shared.draws
    }

    /// The table of object versions: read it at your informer's cursor.
    #[must_use]
    pub fn versions(&self) -> &Versions {
        &self.shared.versions
    }

    /// The table for writing: for etcd alone.
    pub fn versions_mut(&mut self) -> &mut Versions {
        &mut self.shared.versions
    }

    /// Heartbeats of all kubelets.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.shared.leases
    }

    /// Heartbeats, for the kubelets that start and stop.
    pub fn leases_mut(&mut self) -> &mut Leases {
        &mut self.shared.leases
    }

    /// What the metrics server has scraped.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.shared.usage
    }

    /// What has been scraped, for the metrics server.
    pub fn usage_mut(&mut self) -> &mut Usage {
        &mut self.shared.usage
    }

    /// What requests to Services come to.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// The same, for traffic itself.
    pub fn traffic_mut(&mut self) -> &mut Traffic {
        &mut self.shared.traffic
    }

    /// Something has happened to a pod's containers: whoever sends to it may notice.
    pub fn touch(&mut self, pod: crate::api::Uid) {
        if self.shared.traffic.on {
            self.shared.traffic.touched.push(pod);
        }
    }

    /// Something has happened to a machine and all that runs on it.
    pub fn strikes_node(&mut self, node: u32) {
        if self.shared.traffic.on {
            self.shared.traffic.struck.push(node);
        }
    }

    /// The storage drivers that the scenario describes.
    #[must_use]
    pub fn drivers(&self) -> &Drivers {
        &self.shared.drivers
    }

    /// Where log agents ship to.
    #[must_use]
    pub fn log_store(&self) -> LogStore {
        self.shared.log_store
    }

    /// A log agent has started to run, or runs no longer; all agents hear of it if that changes
    /// what each may ship.
    pub fn log_agent(&mut self, more: bool) {
        let store = &mut self.shared.log_store;
        let before = store.share();
        store.agents = if more { store.agents + 1 } else { store.agents.saturating_sub(1) };
        if store.share() != before {
            let now = self.now();
            self.schedule(now, Event::LogStore);
        }
    }

    /// A storage driver.
    #[must_use]
    pub fn driver(&self, name: Sym) -> Driver {
        self.shared.drivers.of(name)
    }

    /// Folds a word into the run's digest.
    pub fn fold(&mut self, word: u64) {
        self.shared.digest.word(word);
    }

    /// Lets an event happen; gives its number (for [`Context::cancel`]).
    pub fn schedule(&mut self, at: SimTime, event: Event) -> u64 {
        assert!(at >= self.shared.now, "an event in the past: {event:?} at {at:?}");
        let seq = self.shared.next_seq;
        self.shared.next_seq += 1;
        self.shared.queue.push(Entry { time: at, seq, cause: self.seq, event });
        seq
    }

    /// Lets an event happen after a span.
    pub fn after(&mut self, d: SimDuration, event: Event) -> u64 {
        self.schedule(self.shared.now + d, event)
    }

    /// Drops a pending event.
    pub fn cancel(&mut self, seq: u64) {
        self.shared.queue.cancel(seq);
    }

    /// Sends a request that leaves the client at `at` (its rate limiter says when). The answer
    /// comes as [`Event::Answer`] if `reply` names somebody.
    pub fn submit(&mut self, at: SimTime, request: Request, reply: Option<(Address, u32)>) -> Id {
        let (user, verb) = (request.user, request.op.verb());
        let (kind, ns, name) = (request.kind, request.ns, request.name);
        let hop = self.trace(|| What::Submitted { user, verb, kind, ns, name });
        self.at_hop(hop, |cx| cx.send(at, request, reply))
    }

    fn send(&mut self, at: SimTime, request: Request, reply: Option<(Address, u32)>) -> Id {
        let arrival = at.max(self.shared.now) + self.shared.network;
        let id = self.shared.requests.insert(InFlight {
            request,
            reply,
            outcome: None,
            tries: 0,
            server: NOWHERE,
        });
        self.schedule(arrival, Event::Api(ApiEvent::Arrive(id)));
        id
    }

    /// The API server's answer leaves for the client.
    pub fn reply(&mut self, to: Address, token: u32, request: Id) {
        let at = self.shared.now + self.shared.network;
        self.schedule(at, Event::Answer { to, token, request });
    }

    /// Sends a message to the cloud; the answer comes as [`CloudEvent::Answer`].
    pub fn ask_cloud(&mut self, call: CloudCall) {
        let id = self.shared.cloud_calls.insert(call);
        self.after(self.shared.network, Event::Cloud(CloudEvent::Arrive(id)));
    }

    /// A message to the cloud.
    #[must_use]
    pub fn cloud_call(&self, id: Id) -> Option<&CloudCall> {
        self.shared.cloud_calls.get(id)
    }

    /// A message to the cloud, for it to fill in the answer.
    pub fn cloud_call_mut(&mut self, id: Id) -> Option<&mut CloudCall> {
        self.shared.cloud_calls.get_mut(id)
    }

    /// Takes a message out: whoever gets the answer frees it.
    pub fn take_cloud_call(&mut self, id: Id) -> Option<CloudCall> {
        self.shared.cloud_calls.remove(id)
    }

    /// One way between a client and the API server.
    #[must_use]
    pub fn network(&self) -> SimDuration {
        self.shared.network
    }

    /// A request in flight.
    #[must_use]
    pub fn in_flight(&self, id: Id) -> Option<&InFlight> {
        self.shared.requests.get(id)
    }

    /// A request in flight, for the API server to fill in the outcome.
    pub fn in_flight_mut(&mut self, id: Id) -> Option<&mut InFlight> {
        self.shared.requests.get_mut(id)
    }

    /// A copy of a request that lives on without anybody who waits for it.
    pub fn orphan(&mut self, request: Request) -> Id {
        let (reply, outcome, tries, server) = (None, None, 0, NOWHERE);
        self.shared.requests.insert(InFlight { request, reply, outcome, tries, server })
    }

    /// All requests in flight, in the order of their places.
    #[must_use]
    pub fn all_in_flight(&self) -> Vec<Id> {
        self.shared.requests.ids()
    }

    /// Takes a request out: whoever gets the answer (or the API server, if nobody does) frees it.
    pub fn take_request(&mut self, id: Id) -> Option<InFlight> {
        self.shared.requests.remove(id)
    }

    /// The bug that is planted, if one is.
    #[must_use]
    pub fn planted(&self) -> Option<Canary> {
        self.shared.planted
    }

    /// True if this bug is planted and strikes at the event in hand: once in so many times.
    #[must_use]
    pub fn strikes(&self, canary: Canary, once_in: u64) -> bool {
        self.shared.planted == Some(canary) && mix(self.seq, 0x00ca_4a47).is_multiple_of(once_in)
    }

    /// True while every hop is recorded.
    #[must_use]
    pub fn tracing(&self) -> bool {
        self.shared.tracing
    }

    /// Records something caused by the event in hand.
    pub fn record(&mut self, what: What) -> u64 {
        self.hop(self.seq, what)
    }

    /// Records something only if every hop is recorded. Numbers are given either way, so that a
    /// traced run has the numbers of a plain one.
    pub fn trace(&mut self, what: impl FnOnce() -> What) -> u64 {
        self.trace_from(self.seq, what)
    }

    /// As [`Context::trace`], with an explicit cause (the evidence acted upon).
    pub fn trace_from(&mut self, cause: u64, what: impl FnOnce() -> What) -> u64 {
        let seq = self.shared.next_seq;
        self.shared.next_seq += 1;
        if self.shared.tracing {
            let what = what();
            self.push_record(seq, cause, what);
        }
        seq
    }

    /// Records something with an explicit cause (its evidence) and gives its number.
    pub fn hop(&mut self, cause: u64, what: What) -> u64 {
        let seq = self.shared.next_seq;
        self.shared.next_seq += 1;
        self.push_record(seq, cause, what);
        seq
    }

    fn push_record(&mut self, seq: u64, cause: u64, what: What) {
        self.shared.records.push(Record { seq, time: self.shared.now, cause, what });
    }

    /// Does something with `seq` as the cause of all that follows from it.
    pub fn at_hop<T>(&mut self, seq: u64, f: impl FnOnce(&mut Context<'_>) -> T) -> T {
        f(&mut Context { seq, shared: self.shared })
    }

    /// The kind's log entry delivered to somebody: a hop with the commit as its evidence.
    pub fn delivered(&mut self, to: Address, kind: Kind, log: u64, commit_seq: u64) -> u64 {
        let seq = self.shared.next_seq;
        self.shared.next_seq += 1;
        if self.shared.tracing {
            self.push_record(seq, commit_seq, What::Delivered { to, kind, log });
        }
        seq
    }

    /// A request of this user for an object by name.
    #[must_use]
    pub fn request(
        user: User,
        kind: Kind,
        ns: Sym,
        name: Name,
        op: crate::api::request::Op,
    ) -> Request {
        Request { user, kind, ns, name, target: None, op }
    }
}
