//! Watches: positions in the logs of the shared table. A commit arms a wake-up at the watch's lag;
//! wake-ups of one instant coalesce, deliveries never do: a client sees every revision in order.

use crate::api::kind::{Kind, N_KINDS};
use crate::api::versions::Versions;
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::{Address, Context, Event};
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
    /// Watches that wake with this one: same change, same lag, so one event serves them all.
    riders: SmallVec<[u32; 4]>,
}

/// What a watch gives next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The change with this log index.
    Change(Kind, u64),
    /// Nothing (more) now; a later wake-up is armed if something is on its way.
    Nothing,
    /// History the client needs has been compacted (410 Gone): it must list again.
    Gone(Kind),
}

/// All watches on one API server.
#[derive(Debug, Clone)]
pub struct Watches {
    all: Vec<Watch>,
    by_kind: Vec<Vec<u32>>,
    /// Watches on the pods of one node.
    by_node: FxHashMap<Sym, u32>,
}

impl Default for Watches {
    fn default() -> Self {
        Self { all: Vec::new(), by_kind: vec![Vec::new(); N_KINDS], by_node: FxHashMap::default() }
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

    fn push(
        &mut self,
        kind: Kind,
        to: Address,
        lag: SimDuration,
        inbox: Option<VecDeque<u64>>,
        cursor: u64,
    ) -> u32 {
        let riders = SmallVec::new();
        self.all.push(Watch { kind, to, lag, cursor, inbox, armed: false, open: true, riders });
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

    /// Watches that wake together with this one: each is to be delivered, in this order, after it.
    pub fn take_riders(&mut self, id: u32) -> SmallVec<[u32; 4]> {
        std::mem::take(&mut self.all[id as usize].riders)
    }

    /// At a wake-up: the next change that has reached the client by now. Call until `Nothing`.
    pub fn next(&mut self, id: u32, cx: &mut Context<'_>) -> Due {
        let watch = &mut self.all[id as usize];
        watch.armed = false;
        if !watch.open {
            return Due::Nothing;
        }
        let index = match &watch.inbox {
            Some(inbox) => match inbox.front() {
                Some(&index) => index,
                None => return Due::Nothing,
            },
            None => watch.cursor,
        };
        if index < cx.versions().log_start(watch.kind) {
            return Due::Gone(watch.kind);
        }
        let Some(change) = cx.versions().change(watch.kind, index) else { return Due::Nothing };
        let visible = change.time + watch.lag;
        if visible > cx.now() {
            watch.armed = true;
            cx.schedule(visible, Event::Watch { watch: id });
            return Due::Nothing;
        }
        match &mut watch.inbox {
            Some(inbox) => {
                inbox.pop_front();
            }
            None => watch.cursor += 1,
        }
        Due::Change(watch.kind, index)
    }

    /// After `Gone`: the client lists and goes on from the present.
    pub fn relist(&mut self, id: u32, versions: &Versions) {
        let watch = &mut self.all[id as usize];
        watch.cursor = versions.log_end(watch.kind);
        if let Some(inbox) = &mut watch.inbox {
            inbox.clear();
        }
    }
}

/// Arms the wake-up of a watch for the change just committed, unless one is pending: that one
/// re-arms for what follows.
fn arm(watch: &mut Watch, id: u32, cx: &mut Context<'_>) {
    if !watch.armed {
        watch.armed = true;
        let at: SimTime = cx.now() + watch.lag;
        cx.schedule(at, Event::Watch { watch: id });
    }
}
