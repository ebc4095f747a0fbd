//! Pods that wait (source: `sched/backend/queue/*.go`): activeQ, two backoff queues, and the
//! unschedulable pods. A pod is in exactly one of them, or in hand.

use crate::api::Pod;
use crate::api::versions::ObjRef;
use crate::engine::time::NANOS_PER_SEC;
use crate::engine::{SimDuration, SimTime, Sym};
use priority_queue::PriorityQueue;
use rustc_hash::{FxHashMap, FxHasher};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often backoffs that have ended are looked for: a second after the last look has ended, which
/// takes a millisecond with the timer's slack (attempts that wait for it lie 1.001 s apart in
/// `timelines/06`). Where backoffs end on whole seconds the looks lie there.
const FLUSH_PERIOD: u64 = NANOS_PER_SEC + 1_000_000;

/// How long a pod stays unschedulable before it is tried again in any case.
pub const MAX_UNSCHEDULABLE: SimDuration = SimDuration::from_secs(300);
/// How often that is looked at.
pub const LEFTOVER_PERIOD: SimDuration = SimDuration::from_secs(30);

/// Where a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In activeQ.
    Active,
    /// In podBackoffQ: it was rejected.
    Backoff,
    /// In podErrorBackoffQ: something went wrong, and no plugin is to blame.
    ErrorBackoff,
    /// Unschedulable until something happens.
    Unschedulable,
    /// Held back by `PreEnqueue`.
    Gated,
    /// Its cycle is under way.
    InHand,
}

/// A waiting pod.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The pod as last delivered.
    pub pod: Arc<Pod>,
    /// Row of its profile.
    pub profile: usize,
    /// Where it is.
    pub place: Place,
    /// How often it was taken from the queue.
    pub attempts: u32,
    /// How often it was rejected.
    pub rejections: u32,
    /// Errors in a row.
    pub errors: u32,
    /// When it entered the queue or last failed.
    pub since: SimTime,
    /// Rows of the plugins that rejected it.
    pub rejectors: u32,
    /// It is to wait for the end of its own preemption: only the end of a pod makes it worth a
    /// look.
    pub held: bool,
    /// What brought it here: its delivery, or the event that may have made it schedulable.
    pub cause: u64,
    /// When it came.
    entered: SimTime,
    /// Order of entry: the last word among equals, and the key among the unschedulable.
    seq: u64,
}

/// In which order waiting pods are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discipline {
    /// `PrioritySort`: by priority, then by how long they wait.
    #[default]
    Priority,
    /// In the order in which they came, whatever their priority; one that comes back keeps its
    /// place.
    Fifo,
    /// By priority, then the shortest first. How long a pod runs is known from its modelled
    /// behaviour: an oracle, where real schedulers guess. Pods without an end come last.
    ShortestFirst,
    /// The namespace with the smallest dominant share of the cluster first (source: Ghodsi et al.,
    /// "Dominant Resource Fairness", NSDI'11); within it by priority.
    DominantResourceFairness,
}

/// How long a pod's containers run by the scenario, nanoseconds.
fn length(pod: &Pod) -> u64 {
    let spec = &pod.spec;
    let n = spec.init_containers.len();
    let ends = (n..n + spec.containers.len()).map(|i| spec.exit_of(i).map(|(after, _)| after));
    ends.reduce(|a, b| Some(a?.max(b?))).flatten().unwrap_or(u64::MAX)
}

/// `PrioritySort`: larger is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ActiveKey {
    priority: i32,
    length: Reverse<u64>,
    since: Reverse<SimTime>,
    seq: Reverse<u64>,
}

type Heap<K> = PriorityQueue<ObjRef, K, std::hash::BuildHasherDefault<FxHasher>>;
type BackoffHeap = Heap<(Reverse<SimTime>, ActiveKey)>;

/// Backoff rules.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first one.
    pub initial: SimDuration,
    /// The longest one.
    pub max: SimDuration,
    /// It ends on whole seconds, and an idle scheduler does not wait for its end.
    pub windows: bool,
}

impl Backoff {
    /// When a pod that failed may be tried again.
    #[must_use]
    fn end(&self, waiting: &Waiting) -> SimTime {
        let n = if waiting.errors > 0 { waiting.errors } else { waiting.rejections };
        if n == 0 {
            return waiting.since;
        }
        let factor = 1_u64.checked_shl(n - 1).unwrap_or(u64::MAX);
        let end = waiting.since + self.initial.times(factor).min(self.max);
        // With windows a pod still backs off during the whole second in which its backoff ends.
        if self.windows { end.floor_sec() + SimDuration(NANOS_PER_SEC) } else { end }
    }
}

/// The queue of a scheduler.
#[derive(Debug, Clone)]
pub struct SchedulingQueue {
    pods: FxHashMap<ObjRef, Waiting>,
    active: Heap<ActiveKey>,
    backoff: BackoffHeap,
    error_backoff: BackoffHeap,
    /// Unschedulable pods in the order in which they became so.
    unschedulable: BTreeMap<u64, ObjRef>,
    /// How many unschedulable pods each row has rejected.
    by_rejector: [u32; 32],
    rules: Backoff,
    next_seq: u64,
    discipline: Discipline,
    /// A pod is tried so many times at most.
    attempts: Option<u32>,
    /// Namespaces of active pods, with their pods; only where namespaces take turns.
    lanes: Vec<(Sym, Heap<ActiveKey>)>,
}

impl SchedulingQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(rules: Backoff) -> Self {
        Self {
            pods: FxHashMap::default(),
            active: Heap::with_default_hasher(),
            backoff: BackoffHeap::with_default_hasher(),
            error_backoff: BackoffHeap::with_default_hasher(),
            unschedulable: BTreeMap::new(),
            by_rejector: [0; 32],
            rules,
            next_seq: 0,
            discipline: Discipline::Priority,
            attempts: None,
            lanes: Vec::new(),
        }
    }

    /// The same queue in another order, with so many attempts for each pod.
    #[must_use]
    pub fn ordered(self, discipline: Discipline, attempts: Option<u32>) -> Self {
        Self { discipline, attempts, ..self }
    }

    /// True if a pod has been tried as often as pods are.
    #[must_use]
    pub fn gave_up(&self, object: ObjRef) -> bool {
        let most = self.attempts;
        most.is_some_and(|most| self.pods.get(&object).is_some_and(|w| w.attempts >= most))
    }

    /// True if namespaces take turns, so that [`SchedulingQueue::pop_fairly`] is to be asked.
    #[must_use]
    pub fn takes_turns(&self) -> bool {
        self.discipline == Discipline::DominantResourceFairness
    }

    /// A waiting pod.
    #[must_use]
    pub fn get(&self, object: ObjRef) -> Option<&Waiting> {
        self.pods.get(&object)
    }

    /// When the backoff of a waiting pod ends.
    #[must_use]
    pub fn backoff_end(&self, waiting: &Waiting) -> SimTime {
        self.rules.end(waiting)
    }

    /// Pods that wait, wherever.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// True if no pod waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Pods per place: active, backoff (both queues), unschedulable.
    #[must_use]
    pub fn depths(&self) -> (usize, usize, usize) {
        let lanes: usize = self.lanes.iter().map(|(_, lane)| lane.len()).sum();
        (
            self.active.len() + lanes,
            self.backoff.len() + self.error_backoff.len(),
            self.unschedulable.len(),
        )
    }

    /// A new pod.
    pub fn add(
        &mut self,
        object: ObjRef,
        pod: &Arc<Pod>,
        profile: usize,
        now: SimTime,
        gated: bool,
    ) {
        let seq = self.take_seq();
        let waiting = Waiting {
            pod: Arc::clone(pod),
            profile,
            place: Place::Gated,
            attempts: 0,
            rejections: 0,
            errors: 0,
            since: now,
            rejectors: 0,
            held: false,
            cause: 0,
            entered: now,
            seq,
        };
        self.pods.insert(object, waiting);
        if !gated {
            self.activate(object);
        }
    }

    fn take_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    /// A waiting pod changed.
    pub fn update(&mut self, object: ObjRef, pod: &Arc<Pod>) {
        let Some(waiting) = self.pods.get_mut(&object) else { return };
        let resort = waiting.pod.spec.priority != pod.spec.priority;
        waiting.pod = Arc::clone(pod);
        if resort && waiting.place == Place::Active {
            self.activate(object);
        }
    }

    /// The pod waits no more. Says what was known about it.
    pub fn remove(&mut self, object: ObjRef) -> Option<Waiting> {
        self.leave(object);
        self.pods.remove(&object)
    }

    /// Takes a pod out of the place where it is.
    fn leave(&mut self, object: ObjRef) {
        let Some(waiting) = self.pods.get(&object) else { return };
        match waiting.place {
            Place::Active => {
                self.active.remove(&object);
                let ns = waiting.pod.meta.ns;
                if let Some((_, lane)) = self.lanes.iter_mut().find(|(of, _)| *of == ns) {
                    lane.remove(&object);
                }
            }
            Place::Backoff => {
                self.backoff.remove(&object);
            }
            Place::ErrorBackoff => {
                self.error_backoff.remove(&object);
            }
            Place::Unschedulable => {
                self.unschedulable.remove(&waiting.seq);
                self.tally(object, false);
            }
            Place::Gated | Place::InHand => {}
        }
    }

    fn tally(&mut self, object: ObjRef, add: bool) {
        let Some(waiting) = self.pods.get(&object) else { return };
        for (row, count) in self.by_rejector.iter_mut().enumerate() {
            if waiting.rejectors >> row & 1 == 1 {
                *count = if add { *count + 1 } else { *count - 1 };
            }
        }
    }

    fn key(&self, waiting: &Waiting) -> ActiveKey {
        let mut key = ActiveKey {
            priority: waiting.pod.spec.priority,
            length: Reverse(0),
            since: Reverse(waiting.since),
            seq: Reverse(waiting.seq),
        };
        match self.discipline {
            Discipline::Priority | Discipline::DominantResourceFairness => {}
            Discipline::ShortestFirst => key.length = Reverse(length(&waiting.pod)),
            Discipline::Fifo => {
                key.priority = 0;
                key.since = Reverse(waiting.entered);
            }
        }
        key
    }

    fn activate(&mut self, object: ObjRef) {
        self.leave(object);
        let Some(waiting) = self.pods.get_mut(&object) else { return };
        waiting.place = Place::Active;
        let ns = waiting.pod.meta.ns;
        let Some(waiting) = self.pods.get(&object) else { return };
        let key = self.key(waiting);
        if !self.takes_turns() {
            self.active.push(object, key);
            return;
        }
        let known = self.lanes.iter().position(|(of, _)| *of == ns);
        let lane = known.unwrap_or(self.lanes.len());
        if known.is_none() {
            self.lanes.push((ns, Heap::with_default_hasher()));
        }
        self.lanes[lane].1.push(object, key);
    }

    /// True if [`SchedulingQueue::pop`] would give a pod.
    #[must_use]
    pub fn ready(&self) -> bool {
        let turns = self.lanes.iter().any(|(_, lane)| !lane.is_empty());
        turns || !self.active.is_empty() || self.rules.windows && !self.backoff.is_empty()
    }

    /// The next pod to be scheduled, of the namespace with the smallest share.
    pub fn pop_fairly(&mut self, share: impl Fn(Sym) -> f64) -> Option<ObjRef> {
        let mut best: Option<(usize, f64)> = None;
        for (i, (ns, lane)) in self.lanes.iter().enumerate() {
            let own = if lane.is_empty() { continue } else { share(*ns) };
            if best.is_none_or(|(_, least)| own < least) {
                best = Some((i, own));
            }
        }
        let Some((lane, _)) = best else { return self.pop() };
        let (object, _) = self.lanes[lane].1.pop()?;
        self.take(object)
    }

    /// The next pod to be scheduled.
    pub fn pop(&mut self) -> Option<ObjRef> {
        let early = self.rules.windows;
        let (object, _) = match self.active.pop() {
            Some((object, _)) => (object, ()),
            None if early => (self.backoff.pop()?.0, ()),
            None => return None,
        };
        self.take(object)
    }

    fn take(&mut self, object: ObjRef) -> Option<ObjRef> {
        let waiting = self.pods.get_mut(&object)?;
        waiting.place = Place::InHand;
        waiting.attempts += 1;
        Some(object)
    }

    /// The pod in hand was rejected by these rows. It becomes unschedulable, unless `moved`:
    /// something that may help has happened meanwhile.
    pub fn reject(&mut self, object: ObjRef, rejectors: u32, moved: bool, now: SimTime) {
        if rejectors == 0 {
            self.error(object, now);
            return;
        }
        let seq = self.take_seq();
        let Some(waiting) = self.pods.get_mut(&object) else { return };
        waiting.rejections += 1;
        waiting.errors = 0;
        waiting.since = now;
        waiting.rejectors = rejectors;
        if moved {
            self.back_off(object, Place::Backoff);
        } else {
            waiting.seq = seq;
            waiting.place = Place::Unschedulable;
            self.unschedulable.insert(seq, object);
            self.tally(object, true);
        }
    }

    /// A pod that was to be requeued stays where it is: its preemption is under way.
    pub fn hold(&mut self, object: ObjRef) {
        if let Some(waiting) = self.pods.get_mut(&object) {
            waiting.held = true;
        }
    }

    /// `Activate`: a pod that waits for an event or for its backoff is to be tried at once.
    pub fn activate_now(&mut self, object: ObjRef) {
        if self.gave_up(object) {
            return;
        }
        let Some(waiting) = self.pods.get_mut(&object) else { return };
        waiting.held = false;
        let place = waiting.place;
        if matches!(place, Place::Unschedulable | Place::Backoff | Place::ErrorBackoff) {
            self.activate(object);
        }
    }

    /// Something went wrong with the pod in hand (or with its binding).
    pub fn error(&mut self, object: ObjRef, now: SimTime) {
        let Some(waiting) = self.pods.get_mut(&object) else { return };
        waiting.errors += 1;
        waiting.since = now;
        waiting.rejectors = 0;
        if self.gave_up(object) {
            let seq = self.take_seq();
            let Some(waiting) = self.pods.get_mut(&object) else { return };
            waiting.seq = seq;
            waiting.place = Place::Unschedulable;
            self.unschedulable.insert(seq, object);
            return;
        }
        self.back_off(object, Place::ErrorBackoff);
    }

    /// A pod comes back after its binding failed, with what was known about it.
    pub fn put_back(&mut self, object: ObjRef, mut waiting: Waiting, now: SimTime) {
        waiting.place = Place::InHand;
        self.pods.insert(object, waiting);
        self.error(object, now);
    }

    fn back_off(&mut self, object: ObjRef, place: Place) {
        self.leave(object);
        let Some(waiting) = self.pods.get_mut(&object) else { return };
        waiting.place = place;
        let Some(waiting) = self.pods.get(&object) else { return };
        let key = (Reverse(self.rules.end(waiting)), self.key(waiting));
        let heap =
            if place == Place::Backoff { &mut self.backoff } else { &mut self.error_backoff };
        heap.push(object, key);
    }

    /// An unschedulable (or no longer gated) pod is to be tried again: after its backoff, if that
    /// has not ended.
    pub fn requeue(&mut self, object: ObjRef, now: SimTime) {
        let Some(waiting) = self.pods.get_mut(&object) else { return };
        waiting.held = false;
        if self.rules.end(waiting) > now {
            self.back_off(object, Place::Backoff);
        } else {
            self.activate(object);
        }
    }

    /// Notes what brought a pod here.
    pub fn caused_by(&mut self, object: ObjRef, cause: u64) {
        if let Some(waiting) = self.pods.get_mut(&object) {
            waiting.cause = cause;
        }
    }

    /// Moves pods whose backoff has ended to activeQ.
    pub fn flush_backoff(&mut self, now: SimTime) {
        for place in [Place::Backoff, Place::ErrorBackoff] {
            loop {
                let heap =
                    if place == Place::Backoff { &self.backoff } else { &self.error_backoff };
                let Some((&object, (Reverse(end), _))) = heap.peek() else { break };
                if *end > now {
                    break;
                }
                self.activate(object);
            }
        }
    }

    /// When the next backoff ends, as the flush that runs each second sees it.
    #[must_use]
    pub fn next_flush(&self) -> Option<SimTime> {
        let end = |heap: &BackoffHeap| heap.peek().map(|(_, (Reverse(end), _))| *end);
        let first = end(&self.backoff).into_iter().chain(end(&self.error_backoff)).min()?;
        let period = if self.rules.windows { NANOS_PER_SEC } else { FLUSH_PERIOD };
        Some(SimTime(first.0.div_ceil(period) * period))
    }

    /// True if some pod is unschedulable.
    #[must_use]
    pub fn any_unschedulable(&self) -> bool {
        !self.unschedulable.is_empty()
    }

    /// True if some unschedulable pod was rejected by one of these rows.
    #[must_use]
    pub fn any_rejected_by(&self, rows: u32) -> bool {
        self.by_rejector.iter().enumerate().any(|(i, n)| *n > 0 && rows >> i & 1 == 1)
    }

    /// Collects the unschedulable pods of which `worth` is true, in order.
    pub fn collect(&self, out: &mut Vec<ObjRef>, worth: impl Fn(&Waiting) -> bool) {
        out.clear();
        let pods = self.unschedulable.values();
        out.extend(pods.filter(|o| self.pods.get(o).is_some_and(&worth)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PodSpec;

    const S: fn(u64) -> SimTime = SimTime::from_secs;

    fn queue(windows: bool) -> SchedulingQueue {
        let (initial, max) = (SimDuration::from_secs(1), SimDuration::from_secs(10));
        SchedulingQueue::new(Backoff { initial, max, windows })
    }

    fn pod(priority: i32) -> Arc<Pod> {
        let spec = Arc::new(PodSpec { priority, ..PodSpec::default() });
        Arc::new(Pod { spec, ..Pod::default() })
    }

    fn object(slot: u32) -> ObjRef {
        ObjRef { slot, generation: 0 }
    }

    #[test]
    fn priority_then_time_then_order() {
        let mut q = queue(true);
        q.add(object(1), &pod(0), 0, S(0), false);
        q.add(object(2), &pod(0), 0, S(0), false);
        q.add(object(3), &pod(5), 0, S(9), false);
        q.add(object(4), &pod(0), 0, S(0), true);
        let order: Vec<u32> = std::iter::from_fn(|| q.pop()).map(|o| o.slot).collect();
        assert_eq!(order, [3, 1, 2]);
        assert_eq!(q.len(), 4);
    }

    #[test]
    fn row_07_a_failed_attempt_puts_a_pod_behind_those_that_came_meanwhile() {
        let mut q = queue(true);
        q.add(object(1), &pod(0), 0, S(0), false);
        assert_eq!(q.pop(), Some(object(1)));
        q.add(object(2), &pod(0), 0, S(3), false);
        q.reject(object(1), 1, false, S(5));
        q.requeue(object(1), S(20));
        let order: Vec<u32> = std::iter::from_fn(|| q.pop()).map(|o| o.slot).collect();
        assert_eq!(order, [2, 1], "the older pod has been tried last");
    }

    #[test]
    fn backoff_doubles_and_ends_on_whole_seconds() {
        let mut q = queue(true);
        q.add(object(1), &pod(0), 0, S(0), false);
        let mut now = SimTime(300_000_000);
        let mut waits = Vec::new();
        for _ in 0..5 {
            assert_eq!(q.pop(), Some(object(1)));
            q.error(object(1), now);
            assert!(!q.ready(), "errors are waited for");
            let at = q.next_flush().unwrap();
            q.flush_backoff(SimTime(at.0 - 1));
            assert!(!q.ready());
            q.flush_backoff(at);
            assert!(q.ready());
            waits.push(at.since(now).0 / 100_000_000);
            now = at;
        }
        // 0.3 s + 1 s ends within second 1, so the pod moves at 2.0; from whole seconds on, a
        // backoff of d ends d + 1 s later.
        assert_eq!(waits, [17, 30, 50, 90, 110]);
    }

    /// A pod that is tried at a look and fails within half a millisecond is taken at the second
    /// look after, which comes that much later: two seconds of backoff take no three (recorded in
    /// 1.29).
    #[test]
    fn without_windows_looks_drift_past_the_ends_of_backoffs() {
        let mut q = queue(false);
        q.add(object(1), &pod(0), 0, S(0), false);
        let mut now = S(0);
        let mut waits = Vec::new();
        for _ in 0..3 {
            assert_eq!(q.pop(), Some(object(1)));
            q.error(object(1), SimTime(now.0 + 500_000));
            let at = q.next_flush().unwrap();
            q.flush_backoff(at);
            waits.push(at.since(now).0 / 1_000_000);
            now = at;
        }
        assert_eq!(waits, [1001, 2002, 4004]);
    }

    #[test]
    fn an_idle_scheduler_does_not_wait_for_rejected_pods() {
        for (windows, early) in [(true, true), (false, false)] {
            let mut q = queue(windows);
            q.add(object(1), &pod(0), 0, S(0), false);
            assert_eq!(q.pop(), Some(object(1)));
            q.reject(object(1), 1 << 7, false, S(0));
            assert!(!q.ready() && q.any_rejected_by(1 << 7) && !q.any_rejected_by(1));
            q.requeue(object(1), S(0));
            assert_eq!(q.pop().is_some(), early);
        }
    }
}
