//! Reconciling over latency. A reconcile never blocks and is no future: `sync` is given the key,
//! the caches and the answers so far, and says which requests to send next, or that it is done.
//! Each answer re-enters it; key and worker stay busy meanwhile, as upstream's would.

use super::broadcaster::Broadcaster;
use super::cache::Cache;
use super::limiter::RateLimiter;
use super::workqueue::WorkQueue;
use crate::api::request::{Op, Outcome, Request, User};
use crate::api::versions::{Change, ObjRef};
use crate::api::{Kind, Name, Obj, Pod};
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::{Address, Canary, Context, ControllerEvent, Event, What};
use rustc_hash::FxHashMap;

/// A key of a controller's work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Kind of the object.
    pub kind: Kind,
    /// Namespace.
    pub ns: Sym,
    /// Name.
    pub name: Name,
}

impl Key {
    /// The key of an object.
    #[must_use]
    pub fn of(obj: &Obj) -> Self {
        let (ns, name) = obj.key();
        Self { kind: obj.kind(), ns, name }
    }
}

/// A request of a controller.
#[derive(Debug, Clone)]
pub struct Call {
    /// Kind of the object.
    pub kind: Kind,
    /// Namespace.
    pub ns: Sym,
    /// Name (the base of a generated one).
    pub name: Name,
    /// The object, if known.
    pub target: Option<ObjRef>,
    /// What is asked for.
    pub op: Op,
}

/// What a sync wants next.
#[derive(Debug, Clone)]
pub enum Next {
    /// Send these requests at once (the client's rate limit spreads them) and re-enter when all
    /// have been answered, with the outcomes in the same order.
    Call(Vec<Call>),
    /// The key is in order.
    Done,
    /// In order for now; look again after a span.
    Requeue(SimDuration),
    /// Failed: look again after the queue's back-off.
    Retry,
    /// Something else than the API server has been asked: re-enter when [`Runner::resume`] says
    /// that it has answered.
    Wait,
}

/// Requests nobody waits for: Kubernetes Events, and writes that the next pass repeats if they got
/// lost. They leave through the controller's client once the handler at work has returned.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    /// Requests with the hop that caused each.
    waiting: Vec<(u64, Request)>,
}

impl Outbox {
    /// Adds a request, caused by the event or hop in hand.
    pub fn push(&mut self, request: Request, cx: &Context<'_>) {
        self.waiting.push((cx.seq(), request));
    }
}

/// A controller: one file each, written as upstream's sync reads.
pub trait Reconcile {
    /// What a sync remembers between its calls (default at the start of each sync).
    type State: Default + Clone + std::fmt::Debug;

    /// Name as in service accounts and events: `replicaset-controller`.
    fn name(&self) -> Sym;

    /// Workers, i.e. keys processed at a time.
    fn workers(&self) -> usize {
        5
    }

    /// A change has reached the caches (which have taken it in): which keys must be looked at?
    /// Push each key once per reason; the queue folds them. A pair's span delays the key.
    fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
        wake: &mut Vec<(Key, SimDuration)>,
    );

    /// True if no change of this pod can concern the controller as it is: `on_change` need not be
    /// asked. Most clusters lack most of what controllers look after.
    fn ignores(&self, _pod: &Pod) -> bool {
        false
    }

    /// Reconciles a key. `answers` are the outcomes of the calls asked for last (empty at first).
    fn sync(
        &mut self,
        key: Key,
        state: &mut Self::State,
        answers: &[Outcome],
        caches: &Cache,
        cx: &mut Context<'_>,
    ) -> Next;

    /// How many reads its client makes before this request: they take tokens of its limit, too, and
    /// nothing else here.
    fn reads(&self, _op: &Op) -> u32 {
        0
    }

    /// How many times the manager's limit its own client has.
    fn haste(&self) -> u64 {
        1
    }

    /// A tick that the controller armed for itself.
    fn on_tick(
        &mut self,
        _caches: &Cache,
        _cx: &mut Context<'_>,
        _wake: &mut Vec<(Key, SimDuration)>,
    ) {
    }

    /// Where the controller leaves requests that it does not wait for.
    fn outbox(&mut self) -> Option<&mut Outbox> {
        None
    }
}

#[derive(Debug, Clone)]
struct Busy<S> {
    key: Key,
    state: S,
    /// The hop of the sync: cause of all it does.
    hop: u64,
    answers: Vec<Option<Outcome>>,
    waiting: usize,
}

/// A key that will be queued later: when, by which event, and what caused it.
#[derive(Debug, Clone, Copy)]
struct Delayed {
    key: Key,
    at: SimTime,
    event: u64,
    cause: u64,
}

/// A controller with its queue, workers and client limit.
#[derive(Debug, Clone)]
pub struct Runner<C: Reconcile> {
    /// The controller.
    pub inner: C,
    id: u8,
    address: Address,
    queue: WorkQueue<Key>,
    limiter: RateLimiter,
    busy: Vec<Option<Busy<C::State>>>,
    due: Vec<Option<Delayed>>,
    due_free: Vec<u32>,
    /// The slot of each key that waits.
    slots: FxHashMap<Key, u32>,
    work_armed: bool,
    wake: Vec<(Key, SimDuration)>,
    /// Kubernetes Events still to be posted.
    events: Broadcaster,
}

/// Token of the answer to a Kubernetes Event.
const EVENT: u32 = u32::MAX;

/// Requests of one `Call` at most: the token holds worker and position in 16 bits each.
const MAX_CALLS: usize = 1 << 16;

impl<C: Reconcile> Runner<C> {
    /// A controller as row `id` of the manager at `address`.
    #[must_use]
    pub fn new(inner: C, id: u8, address: Address, limiter: RateLimiter) -> Self {
        let limiter = limiter.faster(inner.haste());
        let busy = (0..inner.workers()).map(|_| None).collect();
        Self {
            inner,
            id,
            address,
            queue: WorkQueue::default(),
            limiter,
            busy,
            due: Vec::new(),
            due_free: Vec::new(),
            slots: FxHashMap::default(),
            work_armed: false,
            wake: Vec::new(),
            events: Broadcaster::default(),
        }
    }

    /// The requests of the controller count against its own limit (source: client builder per
    /// controller); Kubernetes Events go through the same client.
    pub fn limiter(&mut self) -> &mut RateLimiter {
        &mut self.limiter
    }

    /// True if a change of this pod need not be handed over.
    pub fn ignores(&self, pod: &Pod) -> bool {
        self.inner.ignores(pod)
    }

    /// A delivered change.
    pub fn on_change(
        &mut self,
        change: &Change,
        before: Option<&Obj>,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) {
        let mut wake = std::mem::take(&mut self.wake);
        self.inner.on_change(change, before, caches, cx, &mut wake);
        for (key, after) in wake.drain(..) {
            self.add(key, after, cx);
        }
        self.wake = wake;
        self.post(cx);
    }

    /// Sends what the controller has left in its outbox; Kubernetes Events go one at a time.
    pub fn post(&mut self, cx: &mut Context<'_>) {
        let Some(outbox) = self.inner.outbox().filter(|o| !o.waiting.is_empty()) else { return };
        for (hop, request) in std::mem::take(&mut outbox.waiting) {
            if request.kind == Kind::Event {
                self.events.push(hop, request);
            } else {
                let at = self.limiter.reserve(cx.now());
                cx.at_hop(hop, |cx| cx.submit(at, request, None));
            }
        }
        let reply = self.event_reply();
        self.events.post(&mut self.limiter, reply, cx);
    }

    /// Where the answer to a Kubernetes Event goes.
    fn event_reply(&self) -> (Address, u32) {
        (Address { index: u32::from(self.id), ..self.address }, EVENT)
    }

    /// Lets a key be looked at after a span, with the hop in hand as the cause. A key waits once,
    /// for its earliest instant (source: client-go `util/workqueue/delaying_queue.go` `insert`).
    pub fn add(&mut self, key: Key, after: SimDuration, cx: &mut Context<'_>) {
        if after == SimDuration::ZERO {
            self.queue.add(key, cx.seq());
            self.arm(cx);
            return;
        }
        let at = cx.now() + after;
        let slot = match self.slots.get(&key) {
            Some(&slot) => {
                let Some(later) = self.due[slot as usize].filter(|d| d.at > at) else { return };
                cx.cancel(later.event);
                slot
            }
            None => self.due_free.pop().unwrap_or_else(|| {
                self.due.push(None);
                num::u32_of(self.due.len() - 1)
            }),
        };
        let due = Event::Controller { controller: self.id, event: ControllerEvent::Due(slot) };
        let event = cx.schedule(at, due);
        self.due[slot as usize] = Some(Delayed { key, at, event, cause: cx.seq() });
        self.slots.insert(key, slot);
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        if !self.work_armed && !self.queue.is_empty() && self.busy.iter().any(Option::is_none) {
            self.work_armed = true;
            let event = Event::Controller { controller: self.id, event: ControllerEvent::Work };
            cx.schedule(cx.now(), event);
        }
    }

    /// An event of this controller.
    pub fn handle(&mut self, event: ControllerEvent, caches: &Cache, cx: &mut Context<'_>) {
        match event {
            ControllerEvent::Work => {
                self.work_armed = false;
                self.work(caches, cx);
            }
            ControllerEvent::Due(slot) => {
                if let Some(due) = self.due[slot as usize].take() {
                    self.slots.remove(&due.key);
                    self.due_free.push(slot);
                    if cx.strikes(Canary::ForgottenKey, 3) {
                        return;
                    }
                    self.queue.add(due.key, due.cause);
                    self.arm(cx);
                }
            }
            ControllerEvent::Tick => {
                let mut wake = std::mem::take(&mut self.wake);
                self.inner.on_tick(caches, cx, &mut wake);
                for (key, after) in wake.drain(..) {
                    self.add(key, after, cx);
                }
                self.wake = wake;
                self.post(cx);
            }
        }
    }

    fn work(&mut self, caches: &Cache, cx: &mut Context<'_>) {
        while let Some(worker) = self.busy.iter().position(Option::is_none) {
            let Some(taken) = self.queue.take() else { return };
            let (controller, key) = (self.inner.name(), taken.key);
            let what = What::Sync { controller, ns: key.ns, name: key.name, folded: taken.folded };
            let hop = cx.trace_from(taken.cause, || what);
            self.busy[worker] = Some(Busy {
                key,
                state: C::State::default(),
                hop,
                answers: Vec::new(),
                waiting: 0,
            });
            self.enter(worker, caches, cx);
        }
    }

    /// (Re-)enters the sync of a worker.
    fn enter(&mut self, worker: usize, caches: &Cache, cx: &mut Context<'_>) {
        let Some(busy) = self.busy[worker].as_mut() else { return };
        let answers: Vec<Outcome> = busy.answers.drain(..).flatten().collect();
        let (key, hop) = (busy.key, busy.hop);
        let inner = &mut self.inner;
        let state = &mut busy.state;
        let next = cx.at_hop(hop, |cx| inner.sync(key, state, &answers, caches, cx));
        self.post(cx);
        match next {
            Next::Call(calls) if calls.is_empty() => self.finish(worker, None, cx),
            Next::Call(calls) => cx.at_hop(hop, |cx| self.call(worker, calls, cx)),
            Next::Done => {
                self.queue.forget(key);
                self.finish(worker, None, cx);
            }
            Next::Requeue(after) => {
                self.queue.forget(key);
                self.finish(worker, Some(after), cx);
            }
            Next::Retry => {
                let after = self.queue.backoff(key, cx.now());
                self.finish(worker, Some(after), cx);
            }
            Next::Wait => {
                if let Some(busy) = self.busy[worker].as_mut() {
                    busy.waiting = usize::MAX;
                }
            }
        }
    }

    /// What the sync of a key has waited for has come.
    pub fn resume(&mut self, key: Key, caches: &Cache, cx: &mut Context<'_>) {
        let waits = |b: &Busy<C::State>| b.key == key && b.waiting == usize::MAX;
        let Some(worker) = self.busy.iter().position(|b| b.as_ref().is_some_and(waits)) else {
            return;
        };
        if let Some(busy) = self.busy[worker].as_mut() {
            busy.waiting = 0;
        }
        self.enter(worker, caches, cx);
        self.arm(cx);
    }

    fn call(&mut self, worker: usize, calls: Vec<Call>, cx: &mut Context<'_>) {
        assert!(calls.len() <= MAX_CALLS, "{} requests in one call", calls.len());
        let user = User::Controller(self.inner.name());
        if let Some(busy) = self.busy[worker].as_mut() {
            busy.waiting = calls.len();
            busy.answers = vec![None; calls.len()];
        }
        for (i, call) in calls.into_iter().enumerate() {
            let Call { kind, ns, name, target, op } = call;
            for _ in 0..self.inner.reads(&op) {
                self.limiter.reserve(cx.now());
            }
            let at = self.limiter.reserve(cx.now());
            let token = num::u32_of(worker) << 16 | num::u32_of(i);
            let request = Request { user, kind, ns, name, target, op };
            let reply = Address { index: u32::from(self.id), ..self.address };
            cx.submit(at, request, Some((reply, token)));
        }
    }

    /// The answer to a request of this controller.
    pub fn on_answer(
        &mut self,
        token: u32,
        outcome: Outcome,
        caches: &Cache,
        cx: &mut Context<'_>,
    ) {
        if token == EVENT {
            let reply = self.event_reply();
            return self.events.answered(&mut self.limiter, reply, cx);
        }
        let (worker, position) = ((token >> 16) as usize, (token & 0xffff) as usize);
        let Some(busy) = self.busy.get_mut(worker).and_then(Option::as_mut) else { return };
        if busy.answers.get(position).is_none_or(Option::is_some) {
            return;
        }
        busy.answers[position] = Some(outcome);
        busy.waiting -= 1;
        if busy.waiting == 0 {
            self.enter(worker, caches, cx);
        }
    }

    /// Frees the worker; the key comes back after a span if one is given.
    fn finish(&mut self, worker: usize, again: Option<SimDuration>, cx: &mut Context<'_>) {
        let Some(busy) = self.busy[worker].take() else { return };
        self.queue.done(busy.key);
        if let Some(after) = again {
            cx.at_hop(busy.hop, |cx| self.add(busy.key, after.max(SimDuration(1)), cx));
        }
        self.arm(cx);
    }
}
