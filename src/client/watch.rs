//! Watches: positions in the logs of the shared table. A commit arms a wake-up at the watch's lag;
//! wake-ups of one instant coalesce, deliveries never do: a client sees every revision in order.
//!
//! A connection can be lost. The client then tries again, with client-go's back-off, and goes on
//! from the revision it has reached; if that has been compacted meanwhile (410 Gone) it lists, and
//! its handlers are told what differs from what they knew (behaviour reference §1.4). Failed
//! attempts happen unseen: when the network is back, the instant of the first attempt that succeeds
//! is computed.

use crate::api::Name;
use crate::api::kind::{Kind, N_KINDS};
use crate::api::versions::{Change, Versions};
use crate::engine::digest::mix;
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Address, Canary, Context, Event, Role};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// One watch of a client on a kind.
#[derive(Debug, Clone)]
struct Watch {
    kind: Kind,
    to: Address,
    lag: SimDuration,
    /// Next log index to deliver (of a watch on the whole kind).
    cursor: u64,
    /// Log indices to deliver, of a watch with a field selector; none for the whole kind.
    inbox: Option<VecDeque<u64>>,
    armed: bool,
    open: bool,
    broken: Option<Broken>,
    /// Watches that wake with this one: same change, same lag, so one event serves them all.
    riders: SmallVec<[u32; 4]>,
    /// What its draws are keyed by.
    key: u64,
}

/// A watch without a connection.
#[derive(Debug, Clone, Copy)]
struct Broken {
    since: SimTime,
    /// The attempt that will succeed; none while the network is away.
    again: Option<SimTime>,
    /// The server's watch cache begins at this revision: what came before cannot be had from it.
    floor: u64,
}

/// A reflector's back-off between attempts: 800 ms, doubled up to 30 s, each with a jitter of up to
/// its own length, over again after two quiet minutes (source: `tools/cache/reflector.go`).
const BACKOFF: SimDuration = SimDuration::from_millis(800);
const BACKOFF_MAX: SimDuration = SimDuration::from_secs(30);

/// What a watch gives next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The change with this log index; whether others wait behind it.
    Change(Kind, u64, bool),
    /// Nothing (more) now; a later wake-up is armed if something is on its way.
    Nothing,
    /// History the client needs has been compacted (410 Gone): it must list again, see
    /// [`Watches::relist`].
    Gone(Kind),
}

/// All watches on one API server.
#[derive(Debug, Clone)]
pub struct Watches {
    all: Vec<Watch>,
    /// Watches that have been counted: their number keys their draws.
    counted: u64,
    by_kind: Vec<Vec<u32>>,
    /// Watches on the pods of one node.
    by_node: FxHashMap<Sym, u32>,
    /// Watches on single objects: those of a client on a kind are one.
    by_client: FxHashMap<(Kind, u32), u32>,
    by_object: FxHashMap<(Kind, Sym, Name), SmallVec<[u32; 2]>>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            counted: 0,
            by_kind: vec![Vec::new(); N_KINDS],
            by_node: FxHashMap::default(),
            by_client: FxHashMap::default(),
            by_object: FxHashMap::default(),
        }
    }
}

impl Watches {
    /// Opens a watch on a whole kind from the present on: the client has listed at this instant.
    pub fn open(&mut self, kind: Kind, to: Address, lag: SimDuration, versions: &Versions) -> u32 {
        let id = self.push(kind, to, lag, None, versions.log_end(kind));
        self.by_kind[kind.index()].push(id);
        id
    }

    /// Opens a watch on the pods of one node (`fieldSelector=spec.nodeName=NODE`).
    pub fn open_node(&mut self, node: Sym, to: Address, lag: SimDuration) -> u32 {
        let id = self.push(Kind::Pod, to, lag, Some(VecDeque::new()), 0);
        self.by_node.insert(node, id);
        id
    }

    /// A node's kubelet watches one object more (`fieldSelector=metadata.name=NAME`), which may not
    /// be there yet.
    pub fn heed(&mut self, of: (Kind, Sym, Name), to: Address, lag: SimDuration) {
        let known = self.by_client.get(&(of.0, to.index)).copied();
        let known = known.filter(|&id| self.client(id) == Some(to));
        let id = known.unwrap_or_else(|| self.push(of.0, to, lag, Some(VecDeque::new()), 0));
        self.by_client.insert((of.0, to.index), id);
        let watches = self.by_object.entry(of).or_default();
        if !watches.contains(&id) {
            watches.push(id);
        }
    }

    fn push(
        &mut self,
        kind: Kind,
        to: Address,
        lag: SimDuration,
        inbox: Option<VecDeque<u64>>,
        cursor: u64,
    ) -> u32 {
        let riders = SmallVec::new();
        // Single objects, and what controllers of volumes watch, come beside the others: whether
        // somebody has disks does not change when others find their way back.
        let single = inbox.is_some() && kind != Kind::Pod;
        let volumes = matches!(kind, Kind::CSIDriver | Kind::VolumeAttachment);
        let key = if single || volumes && to.role == Role::ControllerManager {
            let client = u64::from(to.index) << 16 | u64::from(to.incarnation);
            mix(mix(client, kind.index() as u64), to.role as u64)
        } else {
            self.counted += 1;
            self.counted - 1
        };
        self.all.push(Watch {
            kind,
            to,
            lag,
            cursor,
            inbox,
            armed: false,
            open: true,
            broken: None,
            riders,
            key,
        });
        num::u32_of(self.all.len() - 1)
    }

    /// Closes the watches of a client (its process or connection has ended).
    pub fn close(&mut self, to: Address) {
        for watch in self.all.iter_mut().filter(|w| w.to == to) {
            watch.open = false;
            watch.inbox = watch.inbox.as_ref().map(|_| VecDeque::new());
        }
        let all = &self.all;
        for list in &mut self.by_kind {
            list.retain(|&id| all[id as usize].open);
        }
        self.by_node.retain(|_, id| all[*id as usize].open);
        self.by_client.retain(|_, id| all[*id as usize].open);
        self.by_object.retain(|_, ids| {
            ids.retain(|id| all[*id as usize].open);
            !ids.is_empty()
        });
    }

    /// The connections of a client are lost until [`Watches::restore`].
    pub fn sever(&mut self, to: Address, now: SimTime) {
        for watch in self.all.iter_mut().filter(|w| w.open && w.to == to) {
            // An armed watch is left alone by commits.
            watch.armed = true;
            watch.broken.get_or_insert(Broken { since: now, again: None, floor: 0 });
        }
    }

    /// The network is back: each watch of the client is taken up by its next attempt.
    pub fn restore(&mut self, to: Address, cx: &mut Context<'_>) {
        for (id, watch) in self.all.iter_mut().enumerate().filter(|(_, w)| w.open && w.to == to) {
            let Some(broken) = watch.broken.as_mut().filter(|b| b.again.is_none()) else {
                continue;
            };
            let id = num::u32_of(id);
            let at = attempt(watch.key, broken.since, cx);
            broken.again = Some(at);
            cx.schedule(at, Event::Watch { watch: id });
        }
    }

    /// The server at the other end is gone: an attempt under way is in vain, too.
    pub fn cut(&mut self, to: Address, now: SimTime) {
        for watch in self.all.iter_mut().filter(|w| w.open && w.to == to) {
            watch.armed = true;
            let since = watch.broken.map_or(now, |b| b.since);
            watch.broken = Some(Broken { since, again: None, floor: 0 });
        }
    }

    /// What was lost on the way arrives after all: the connection has not been closed meanwhile.
    pub fn resume(&mut self, to: Address, cx: &mut Context<'_>) {
        for (id, watch) in self.all.iter_mut().enumerate().filter(|(_, w)| w.open && w.to == to) {
            if let Some(broken) = watch.broken.as_mut().filter(|b| b.again.is_none()) {
                broken.again = Some(cx.now());
                cx.schedule(cx.now(), Event::Watch { watch: num::u32_of(id) });
            }
        }
    }

    /// The client finds another server, whose watch cache begins at the revision `floor`: its
    /// reflectors come after their first back-off.
    pub fn reopen(&mut self, to: Address, floor: u64, cx: &mut Context<'_>) {
        for (id, watch) in self.all.iter_mut().enumerate().filter(|(_, w)| w.open && w.to == to) {
            let Some(broken) = watch.broken.as_mut().filter(|b| b.again.is_none()) else {
                continue;
            };
            let id = num::u32_of(id);
            let jitter = cx.draw(watch.key, Purpose("reopen"), cx.now().0).below(BACKOFF.0);
            let at = cx.now() + BACKOFF + SimDuration(jitter);
            (broken.again, broken.floor) = (Some(at), floor);
            cx.schedule(at, Event::Watch { watch: id });
        }
    }

    /// The log index (by kind) that the slowest open watch has yet to deliver.
    #[must_use]
    pub fn held(&self) -> Vec<u64> {
        let mut held = vec![u64::MAX; N_KINDS];
        for watch in self.all.iter().filter(|w| w.open) {
            let next = match &watch.inbox {
                Some(inbox) => inbox.front().copied().unwrap_or(u64::MAX),
                None => watch.cursor,
            };
            let slowest = &mut held[watch.kind.index()];
            *slowest = next.min(*slowest);
        }
        held
    }

    /// Whose watch it is; none once closed.
    #[must_use]
    pub fn client(&self, watch: u32) -> Option<Address> {
        let watch = self.all.get(watch as usize)?;
        watch.open.then_some(watch.to)
    }

    /// A change of a kind has been committed: wakes whoever watches. `node` is the node of a pod.
    pub fn notify(&mut self, kind: Kind, log: u64, node: Sym, cx: &mut Context<'_>) {
        let mut leader: Option<u32> = None;
        for &id in &self.by_kind[kind.index()] {
            let watch = &mut self.all[id as usize];
            let lag = watch.lag;
            if watch.armed {
                continue;
            }
            match leader.filter(|&l| self.all[l as usize].lag == lag) {
                Some(leader) => {
                    self.all[id as usize].armed = true;
                    self.all[leader as usize].riders.push(id);
                }
                None => {
                    arm(&mut self.all[id as usize], id, cx);
                    leader = Some(id);
                }
            }
        }
        let singles = matches!(kind, Kind::ConfigMap | Kind::Secret | Kind::PersistentVolume);
        if singles || kind == Kind::Node && !self.by_object.is_empty() {
            self.notify_heeding(kind, log, cx);
        }
        if kind == Kind::Pod
            && !node.is_empty()
            && let Some(&id) = self.by_node.get(&node)
        {
            let watch = &mut self.all[id as usize];
            let (lag, armed) = (watch.lag, watch.armed);
            if let Some(inbox) = &mut watch.inbox {
                inbox.push_back(log);
            }
            match leader.filter(|&l| !armed && self.all[l as usize].lag == lag) {
                Some(leader) => {
                    self.all[id as usize].armed = true;
                    self.all[leader as usize].riders.push(id);
                }
                None => arm(&mut self.all[id as usize], id, cx),
            }
        }
    }

    /// Wakes those who watch this object alone.
    fn notify_heeding(&mut self, kind: Kind, log: u64, cx: &mut Context<'_>) {
        let Some(change) = cx.versions().change(kind, log) else { return };
        let (ns, name) = change.value.key();
        let Some(watches) = self.by_object.get(&(kind, ns, name)) else { return };
        for &id in watches {
            let watch = &mut self.all[id as usize];
            if let Some(inbox) = &mut watch.inbox {
                inbox.push_back(log);
            }
            arm(watch, id, cx);
        }
    }

    /// Watches that wake together with this one: each is to be delivered, in this order, after it.
    pub fn take_riders(&mut self, id: u32) -> SmallVec<[u32; 4]> {
        std::mem::take(&mut self.all[id as usize].riders)
    }

    /// A watch that wakes together with another, which has just been told this change: true if it
    /// is all that this one is due as well, which it then has been given.
    pub fn same(&mut self, id: u32, (kind, log): (Kind, u64), versions: &Versions) -> bool {
        let watch = &mut self.all[id as usize];
        if !watch.open || watch.broken.is_some() || watch.kind != kind {
            return false;
        }
        let alone = match &watch.inbox {
            Some(inbox) => inbox.len() == 1 && inbox.front() == Some(&log),
            None => watch.cursor == log && versions.log_end(kind) == log + 1,
        };
        if alone {
            watch.armed = false;
            match &mut watch.inbox {
                Some(inbox) => inbox.clear(),
                None => watch.cursor += 1,
            }
        }
        alone
    }

    /// At a wake-up: the next change that has reached the client by now. Call until there is
    /// nothing more.
    pub fn next(&mut self, id: u32, cx: &mut Context<'_>) -> Due {
        let watch = &mut self.all[id as usize];
        if !watch.open {
            return Due::Nothing;
        }
        let reconnects = watch.broken.map(|b| b.floor);
        if let Some(broken) = watch.broken {
            if broken.again.is_none_or(|at| at > cx.now()) {
                return Due::Nothing;
            }
            watch.broken = None;
        }
        watch.armed = false;
        let index = match &watch.inbox {
            Some(inbox) => match inbox.front() {
                Some(&index) => index,
                None => return Due::Nothing,
            },
            None => watch.cursor,
        };
        let Some(change) = cx.versions().change(watch.kind, index) else { return Due::Nothing };
        // Only a watch that is opened anew asks for a revision: a stream that flows has already
        // been sent what is on its way.
        let oldest = reconnects.map(|floor| floor.max(cx.versions().compacted_rev(watch.kind)));
        if oldest.is_some_and(|rev| change.rev <= rev) {
            return Due::Gone(watch.kind);
        }
        let visible = change.time + lag(watch.lag, change.time, cx);
        if visible > cx.now() {
            watch.armed = true;
            cx.schedule(visible, Event::Watch { watch: id });
            return Due::Nothing;
        }
        let more = match &mut watch.inbox {
            Some(inbox) => {
                inbox.pop_front();
                !inbox.is_empty()
            }
            None => {
                watch.cursor += 1 + u64::from(cx.strikes(Canary::SkippedEntry, 50));
                watch.cursor < cx.versions().log_end(watch.kind)
            }
        };
        Due::Change(watch.kind, index, more)
    }

    /// After `Gone`: the client lists and goes on from the present. Gives what its handlers are
    /// told, as upstream's `DeltaFIFO.Replace` does: updates, additions and deletions against what
    /// the client knew; objects that are as they were are not told again.
    pub fn relist(&mut self, id: u32, versions: &Versions) -> Vec<Change> {
        let watch = &mut self.all[id as usize];
        let end = versions.log_end(watch.kind);
        match &mut watch.inbox {
            Some(inbox) => versions.missed(watch.kind, inbox.drain(..)),
            None => {
                let missed = versions.missed(watch.kind, watch.cursor..end);
                watch.cursor = end;
                missed
            }
        }
    }
}

/// The first attempt at or after now of a client that lost its connection at `since`.
fn attempt(id: u64, since: SimTime, cx: &Context<'_>) -> SimTime {
    let (mut at, mut step, mut n) = (since, BACKOFF, 0);
    while at < cx.now() {
        let jitter = cx.draw(id, Purpose("reflector"), n).below(step.0);
        at = at + step + SimDuration(jitter);
        step = step.times(2).min(BACKOFF_MAX);
        n += 1;
    }
    at
}

/// Arms the wake-up of a watch for the change just committed, unless one is pending: that one
/// re-arms for what follows.
fn arm(watch: &mut Watch, id: u32, cx: &mut Context<'_>) {
    if !watch.armed {
        watch.armed = true;
        let at: SimTime = cx.now() + lag(watch.lag, cx.now(), cx);
        cx.schedule(at, Event::Watch { watch: id });
    }
}

/// How long a change committed at an instant takes to its clients: uniform about the mean, the same
/// for all watches of one lag. An informer may therefore see a write of its own controller before
/// or after the answer, which is what decides over conflicts.
fn lag(mean: SimDuration, committed: SimTime, cx: &Context<'_>) -> SimDuration {
    let share = mix(cx.draws().seed(), committed.0) & 1023;
    SimDuration((mean.0 * share) >> 9)
}
