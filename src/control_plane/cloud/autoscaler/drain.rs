//! Taking pods off a node: a taint, evictions through the eviction API as budgets allow, and the
//! wait until the pods are gone.

use crate::api::meta::Stamp;
use crate::api::pod::{Effect, Taint};
use crate::api::request::{ApiError, Op, Outcome, User};
use crate::api::versions::ObjRef;
use crate::api::{Kind, Name};
use crate::client::RateLimiter;
use crate::engine::{SimDuration, SimTime, Sym};
use crate::event::{AutoscalerEvent, Context, Event};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An eviction that was refused is tried again so much later (source: `CA:core/scaledown/actuation/
/// drain.go` `EvictionRetryTime`).
const RETRY: SimDuration = SimDuration::from_secs(10);
/// Whether the pods are gone is looked at so often (source: as above, `PodEvictionHeadroom` and the
/// loop of `DrainNodeWithPods`).
const LOOK: SimDuration = SimDuration::from_secs(5);

/// A pod to be evicted.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    object: ObjRef,
    ns: Sym,
    name: Name,
    /// The API server has taken the eviction, or the pod is gone.
    taken: bool,
}

/// What has become of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// It goes on.
    Working,
    /// All pods are gone.
    Done,
    /// A budget did not allow an eviction for too long, or a pod did not end.
    Failed,
}

/// A node that is drained.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    /// The node.
    pub(super) node: Sym,
    pods: Vec<Leaving>,
    begun: SimTime,
    tainted: bool,
}

/// The drains of an autoscaler.
#[derive(Debug, Clone)]
pub(super) struct Drains {
    user: Sym,
    taint: Sym,
    /// How long evictions are tried, and how long pods may take to end; none: for ever.
    patience: (Option<SimDuration>, Option<SimDuration>),
    /// From the taint to the first eviction.
    delay: SimDuration,
    next: u32,
    under_way: BTreeMap<u32, Drain>,
}

/// Tokens of requests: the drain's number and the pod's place in it.
const TAINTED: u32 = 0xfff;

/// The number of a drain in a token.
fn split(token: u32) -> (u32, usize) {
    (token >> 12, (token & 0xfff) as usize)
}

/// The taint that keeps pods off.
fn taint(key: Sym, cx: &Context<'_>) -> Taint {
    let now = cx.stamp().0.to_string();
    Taint { key, value: Sym::new(&now), effect: Effect::NoSchedule, added: Stamp::NONE }
}

/// Puts or takes away a taint of a node.
pub(super) fn set_taint(
    (user, node): (Sym, Sym),
    (taint, on): (Taint, bool),
    reply: Option<u32>,
    limiter: &mut RateLimiter,
    cx: &mut Context<'_>,
) {
    let (one, none) = ([taint], []);
    let (add, remove): (&[Taint], &[Taint]) = if on { (&one, &none) } else { (&none, &one) };
    let op = Op::NodeTaints { remove: remove.into(), add: add.into() };
    let name = Name::new(node.as_str());
    let user = User::Controller(user);
    let request = Context::request(user, Kind::Node, Sym::EMPTY, name, op);
    let reply = reply.map(super::reply);
    let at = limiter.reserve(cx.now());
    cx.submit(at, request, reply);
}

impl Drains {
    pub(super) fn new(
        (user, taint): (Sym, Sym),
        patience: (Option<SimDuration>, Option<SimDuration>),
        delay: SimDuration,
    ) -> Self {
        Self { user, taint, patience, delay, next: 0, under_way: BTreeMap::new() }
    }

    /// True while a node is drained.
    pub(super) fn holds(&self, node: Sym) -> bool {
        self.under_way.values().any(|d| d.node == node)
    }

    /// Nodes that are drained, and whether pods have to leave them.
    pub(super) fn all(&self) -> impl Iterator<Item = (Sym, bool)> {
        self.under_way.values().map(|d| (d.node, !d.pods.is_empty()))
    }

    /// Begins to drain a node of these pods.
    pub(super) fn begin(
        &mut self,
        node: Sym,
        pods: &[(ObjRef, Arc<crate::api::Pod>)],
        limiter: &mut RateLimiter,
        cx: &mut Context<'_>,
    ) {
        // Below the number whose last token is that of Kubernetes Events.
        self.next = (self.next + 1) % 0x0f_ffff;
        let leaving = |(object, pod): &(ObjRef, Arc<crate::api::Pod>)| Leaving {
            object: *object,
            ns: pod.meta.ns,
            name: pod.meta.name,
            taken: false,
        };
        let pods = pods.iter().take(TAINTED as usize).map(leaving).collect();
        let drain = Drain { node, pods, begun: cx.now(), tainted: false };
        self.under_way.insert(self.next, drain);
        let token = self.next << 12 | TAINTED;
        let taint = taint(self.taint, cx);
        set_taint((self.user, node), (taint, true), Some(token), limiter, cx);
    }

    /// The answer to a request of a drain.
    pub(super) fn on_answer(&mut self, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        let (number, at) = split(token);
        let Some(drain) = self.under_way.get_mut(&number) else { return };
        if at == TAINTED as usize {
            drain.tainted = outcome.is_ok();
            drain.begun = cx.now();
            let delay = if drain.tainted { self.delay } else { RETRY };
            cx.after(delay, Event::Autoscaler(AutoscalerEvent::Drain(number)));
        } else if let Some(pod) = drain.pods.get_mut(at) {
            pod.taken = matches!(outcome, Ok(_) | Err(ApiError::NotFound));
        }
    }

    /// Looks at a drain again, and says how it stands; one that is over is forgotten.
    pub(super) fn look(
        &mut self,
        number: u32,
        limiter: &mut RateLimiter,
        there: impl Fn(ObjRef) -> bool,
        cx: &mut Context<'_>,
    ) -> Option<(Sym, Drained)> {
        let (user, now) = (self.user, cx.now());
        let drain = self.under_way.get_mut(&number)?;
        let node = drain.node;
        let spent = now.since(drain.begun);
        let left: Vec<usize> =
            (0..drain.pods.len()).filter(|&i| there(drain.pods[i].object)).collect();
        let refused = left.iter().any(|&i| !drain.pods[i].taken);
        let over = |most: Option<SimDuration>| most.is_some_and(|most| spent > most);
        let state = if !drain.tainted || refused && over(self.patience.0) || over(self.patience.1) {
            Drained::Failed
        } else if left.is_empty() {
            Drained::Done
        } else {
            Drained::Working
        };
        if state != Drained::Working {
            self.under_way.remove(&number);
            return Some((node, state));
        }
        for i in left {
            let pod = &drain.pods[i];
            if !pod.taken {
                let (kind, user) = (Kind::Pod, User::Controller(user));
                let mut request = Context::request(user, kind, pod.ns, pod.name, Op::Evict);
                request.target = Some(pod.object);
                let token = number << 12 | u32::try_from(i).unwrap_or(0);
                let at = limiter.reserve(now);
                cx.submit(at, request, Some(super::reply(token)));
            }
        }
        let again = if refused { RETRY } else { LOOK };
        cx.after(again, Event::Autoscaler(AutoscalerEvent::Drain(number)));
        Some((node, state))
    }
}
