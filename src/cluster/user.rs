//! The scenario's user: kubectl and the workload driver in one. It acts by requests, as everybody
//! does; to know when a pod runs it watches pods, as everybody must.

use super::spec::{Action, Amount, Arrival, LifetimeFrom, Made, Plan, Process, Run, with_exit};
use crate::api::pod::Phase;
use crate::api::request::{ApiError, Op, Outcome, Propagation, Request, User};
use crate::api::versions::{Change, ObjRef, Versions};
use crate::api::workload::{Job, PodTemplate};
use crate::api::{Kind, Meta, Name, Obj, Pod, PodSpec};
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Address, Context, Event, Role, UserEvent, What};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Arrival processes under way.
#[derive(Debug, Clone)]
pub(super) struct Driver {
    plan: Arc<Plan>,
    /// Next ordinal of each arrival process.
    next: Vec<u32>,
    /// Objects by the base of their names: which arrival process made them.
    by_base: FxHashMap<Sym, u32>,
    /// Objects with names of their own (of traces whose lifetimes count from Running).
    by_name: FxHashMap<(Sym, Name), (u32, u32)>,
    /// Arrivals that are still to come, over all processes; 0 when all have been made.
    open: usize,
    /// Objects whose user will still delete them.
    lives: usize,
    /// Steps that have been answered.
    steps_done: usize,
    /// Drains, in order of their begin.
    drains: Vec<Drain>,
    /// Evictions of drains: as whom, and the pod.
    evictions: Vec<(User, Sym, Name)>,
    /// Evictions that have not come to an end.
    evicting: usize,
}

/// A node that is drained: `kubectl drain` cordons it, and only then lists the pods to evict.
#[derive(Debug, Clone)]
struct Drain {
    user: User,
    node: Sym,
    /// The pods it waits for; none until the node is cordoned.
    pods: Option<Vec<ObjRef>>,
}

/// Tokens of a drain's evictions; below are those of drains' cordons, and below those of steps.
const EVICTION: u32 = 1 << 31;
const CORDON: u32 = 1 << 30;

/// True for the token of a cordon that no step of the scenario asks for.
pub(super) const fn is_cordon(token: u32) -> bool {
    token & EVICTION == 0 && token & CORDON != 0
}

/// How long `kubectl drain` waits after a refusal by a disruption budget (source:
/// `kubectl/pkg/drain/drain.go`).
const DRAIN_RETRY: SimDuration = SimDuration::from_secs(5);

impl Driver {
    /// A driver of this plan.
    #[must_use]
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        let plan = super::tuning::drawn(plan);
        let by_base =
            plan.arrivals.iter().enumerate().map(|(i, a)| (a.name, num::u32_of(i))).collect();
        let next = vec![0; plan.arrivals.len()];
        let open = plan.arrivals.len();
        Self {
            plan,
            next,
            by_base,
            by_name: FxHashMap::default(),
            open,
            lives: 0,
            steps_done: 0,
            drains: Vec::new(),
            evictions: Vec::new(),
            evicting: 0,
        }
    }

    /// True if it must see pods become Running.
    #[must_use]
    pub(super) fn watches_pods(&self) -> bool {
        self.plan.arrivals.iter().any(|a| {
            a.lifetime_from == LifetimeFrom::Running
                && (a.lifetime.is_some() || matches!(a.process, Process::Rows(_)))
        })
    }

    /// True once every step is done, every arrival has been made and every life that has an end has
    /// come to it.
    #[must_use]
    pub(super) fn done(&self) -> bool {
        let steps = self.steps_done == self.plan.steps.len();
        self.open == 0 && self.lives == 0 && self.evicting == 0 && steps
    }

    /// Arms the first step and the first arrivals.
    pub(super) fn start(&mut self, cx: &mut Context<'_>) {
        if let Some(step) = self.plan.steps.first() {
            cx.schedule(step.at, Event::User(UserEvent::Step(0)));
        }
        let plan = Arc::clone(&self.plan);
        for (i, arrival) in plan.arrivals.iter().enumerate() {
            self.arm(num::u32_of(i), arrival, arrival.start, cx);
        }
    }

    /// Arms the next arrival of a process, whose last one (or start) was at `last`.
    fn arm(&mut self, index: u32, arrival: &Arrival, last: SimTime, cx: &mut Context<'_>) {
        let ordinal = self.next[index as usize];
        let entity = arrival.name.stable_hash();
        let at = match &arrival.process {
            Process::Poisson(mean) => {
                let mut draw = cx.draw(entity, Purpose("gap"), u64::from(ordinal));
                Some(last + crate::engine::Dist::Exponential(*mean).sample(&mut draw))
            }
            Process::Every(_) if ordinal == 0 => Some(last),
            Process::Every(gap) => Some(last + *gap),
            Process::Rows(rows) => rows.get(ordinal as usize).map(|row| row.at.max(last)),
        };
        match at {
            Some(at) if ordinal < arrival.count && at <= arrival.end => {
                cx.schedule(at, Event::User(UserEvent::Arrive(index)));
            }
            _none_left => self.open -= 1,
        }
    }

    /// An event of the user.
    pub(super) fn handle(&mut self, event: UserEvent, cx: &mut Context<'_>) {
        match event {
            UserEvent::Step(row) => self.step(row, cx),
            UserEvent::Arrive(index) => self.arrive(index, cx),
            UserEvent::Expire { arrival, ordinal } => self.expire(arrival, ordinal, cx),
            UserEvent::Evict(index) => self.evict(index, cx),
            UserEvent::Cordon(drain) if self.drains[drain as usize].pods.is_some() => {}
            UserEvent::Cordon(drain) => self.cordon(drain, cx),
        }
    }

    /// One step. The next one waits for its answer, as one kubectl after the other does.
    fn step(&mut self, row: u32, cx: &mut Context<'_>) {
        let plan = Arc::clone(&self.plan);
        let step = &plan.steps[row as usize];
        // The scenario itself is a first cause, whatever the step waited for.
        let hop = cx.hop(0, What::Scenario { step: verb(&step.action), row });
        let reply = Some((Address::new(Role::User, 0), row));
        cx.at_hop(hop, |cx| act(step.user, &step.action, reply, cx));
    }

    /// The answer to a step's request: on to the next one, now or when its time has come.
    pub(super) fn on_answer(&mut self, row: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        if row >= EVICTION {
            self.on_evicted(row - EVICTION, outcome, cx);
            return;
        }
        if is_cordon(row) {
            return self.on_cordoned(row - CORDON, outcome, cx);
        }
        let step = &Arc::clone(&self.plan).steps[row as usize];
        if let (Action::Drain { node }, Ok(_)) = (&step.action, outcome) {
            let drain = self.add_drain(step.user, *node);
            self.evict_all(drain, cx);
        }
        self.steps_done = row as usize + 1;
        if let Some(next) = self.plan.steps.get(self.steps_done) {
            cx.schedule(next.at.max(cx.now()), Event::User(UserEvent::Step(row + 1)));
        }
    }

    /// Drains a node as `kubectl drain` does; gives the drain's number.
    pub(super) fn drain(&mut self, user: User, node: Sym, cx: &mut Context<'_>) -> u32 {
        let drain = self.add_drain(user, node);
        self.cordon(drain, cx);
        drain
    }

    fn add_drain(&mut self, user: User, node: Sym) -> u32 {
        self.drains.push(Drain { user, node, pods: None });
        num::u32_of(self.drains.len() - 1)
    }

    fn cordon(&self, drain: u32, cx: &mut Context<'_>) {
        let Drain { user, node, .. } = self.drains[drain as usize];
        let reply = Some((Address::new(Role::User, 0), CORDON | drain));
        let about = (Kind::Node, Sym::EMPTY, Name::new(node.as_str()));
        send(user, about, Op::Cordon(true), reply, cx);
    }

    /// Nobody drains the node any more that has not been cordoned by now.
    pub(super) fn give_up(&mut self, node: Sym) {
        for drain in self.drains.iter_mut().filter(|d| d.node == node) {
            drain.pods.get_or_insert_default();
        }
    }

    fn on_cordoned(&mut self, drain: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        if self.drains[drain as usize].pods.is_some() {
            return;
        }
        match outcome {
            Ok(_) => self.evict_all(drain, cx),
            // No node, no pods.
            Err(ApiError::NotFound) => self.drains[drain as usize].pods = Some(Vec::new()),
            Err(_) => {
                cx.after(DRAIN_RETRY, Event::User(UserEvent::Cordon(drain)));
            }
        }
    }

    /// True once the pods that a drain found are gone. What came to the node later is none of its
    /// business.
    pub(super) fn drained(&self, drain: u32, versions: &Versions) -> bool {
        let pods = self.drains[drain as usize].pods.as_ref();
        pods.is_some_and(|pods| pods.iter().all(|o| versions.current(Kind::Pod, *o).is_none()))
    }

    /// The node is cordoned: its pods are listed, and all evicted but those of `DaemonSets`.
    fn evict_all(&mut self, drain: u32, cx: &mut Context<'_>) {
        let Drain { user, node, .. } = self.drains[drain as usize];
        let mut pods: Vec<(ObjRef, Sym, Name)> = cx
            .versions()
            .pods_on(node)
            // Those of DaemonSets come back at once, and static pods do not go.
            .filter(|(_, p)| {
                let owner = p.meta.controller().map(|o| o.kind);
                !matches!(owner, Some(Kind::DaemonSet | Kind::Node))
            })
            .map(|(object, p)| (object, p.meta.ns, p.meta.name))
            .collect();
        pods.sort_by(|a, b| a.1.cmp_text(b.1).then(a.2.cmp_text(b.2)));
        self.drains[drain as usize].pods = Some(pods.iter().map(|(object, ..)| *object).collect());
        for (_, ns, name) in pods {
            self.evicting += 1;
            self.evictions.push((user, ns, name));
            self.evict(num::u32_of(self.evictions.len() - 1), cx);
        }
    }

    fn evict(&self, index: u32, cx: &mut Context<'_>) {
        let (user, ns, name) = self.evictions[index as usize];
        let reply = Some((Address::new(Role::User, 0), EVICTION | index));
        send(user, (Kind::Pod, ns, name), Op::Evict, reply, cx);
    }

    /// A budget that is exhausted is asked again; every other answer is the end of it.
    fn on_evicted(&mut self, index: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        if matches!(outcome, Err(ApiError::TooManyRequests(..))) {
            cx.after(DRAIN_RETRY, Event::User(UserEvent::Evict(index)));
        } else {
            self.evicting -= 1;
        }
    }

    fn arrive(&mut self, index: u32, cx: &mut Context<'_>) {
        let plan = Arc::clone(&self.plan);
        let arrival = &plan.arrivals[index as usize];
        let ordinal = self.next[index as usize];
        self.next[index as usize] += 1;
        let name = self.name_of(index, ordinal);
        if let Process::Rows(rows) = &arrival.process {
            let row = &rows[ordinal as usize];
            if !row.name.is_empty() && arrival.lifetime_from == LifetimeFrom::Running {
                self.by_name.insert((arrival.ns, name), (index, ordinal));
            }
        }
        let hop = cx.trace_from(0, || What::Scenario { step: "arrival", row: index });
        cx.at_hop(hop, |cx| {
            let object = make(arrival, ordinal, name, cx);
            let kind = object.kind();
            let op = Op::Create { object, generate: false };
            send(User::Admin, (kind, arrival.ns, name), op, None, cx);
            let Some(life) = lifetime(arrival, ordinal, cx) else { return };
            self.lives += 1;
            if arrival.lifetime_from == LifetimeFrom::Creation {
                cx.after(life, Event::User(UserEvent::Expire { arrival: index, ordinal }));
            }
        });
        self.arm(index, arrival, cx.now(), cx);
    }

    fn name_of(&self, index: u32, ordinal: u32) -> Name {
        let arrival = &self.plan.arrivals[index as usize];
        if let Process::Rows(rows) = &arrival.process {
            let name = rows[ordinal as usize].name;
            if !name.is_empty() {
                return name;
            }
        }
        Name::numbered(arrival.name, ordinal)
    }

    fn expire(&mut self, index: u32, ordinal: u32, cx: &mut Context<'_>) {
        self.lives -= 1;
        let arrival = &self.plan.arrivals[index as usize];
        let kind = match arrival.made {
            Made::Pod(_) => Kind::Pod,
            Made::Job(_) => Kind::Job,
        };
        let hop = cx.trace(|| What::Scenario { step: "end of life", row: index });
        let propagation = Some(Propagation::Background);
        let op = Op::Delete { grace_s: None, propagation, uid: None };
        let name = self.name_of(index, ordinal);
        cx.at_hop(hop, |cx| send(User::Admin, (kind, arrival.ns, name), op, None, cx));
    }

    /// A pod has changed: one that has begun to run may now count its lifetime.
    pub(super) fn on_pod(&self, change: &Change, before: Option<&Obj>, cx: &mut Context<'_>) {
        let Some(pod) = change.value.as_pod() else { return };
        let ran = before.and_then(Obj::as_pod).is_some_and(|p| p.status.phase != Phase::Pending);
        if change.deleted || ran || pod.status.phase != Phase::Running {
            return;
        }
        let Some((index, ordinal)) = self.maker(pod) else { return };
        let arrival = &self.plan.arrivals[index as usize];
        if arrival.lifetime_from == LifetimeFrom::Running
            && let Some(life) = lifetime(arrival, ordinal, cx)
        {
            cx.after(life, Event::User(UserEvent::Expire { arrival: index, ordinal }));
        }
    }

    fn maker(&self, pod: &Pod) -> Option<(u32, u32)> {
        let (base, _) = pod.meta.name.base();
        let ordinal = pod.meta.name.number();
        self.by_base
            .get(&base)
            .copied()
            .zip(ordinal)
            .filter(|(index, _)| self.plan.arrivals[*index as usize].ns == pod.meta.ns)
            .or_else(|| self.by_name.get(&(pod.meta.ns, pod.meta.name)).copied())
    }
}

/// What a step is called in records.
fn verb(action: &Action) -> &'static str {
    match action {
        Action::Apply(_) => "kubectl apply",
        Action::Delete { .. } => "kubectl delete",
        Action::Scale { .. } => "kubectl scale",
        Action::SetImage { .. } => "kubectl set image",
        Action::Taint { .. } => "kubectl taint",
        Action::Cordon { on: true, .. } => "kubectl cordon",
        Action::Cordon { on: false, .. } => "kubectl uncordon",
        Action::Drain { .. } => "kubectl drain",
        Action::Create(_) => "kubectl create",
        Action::Replace(_) => "kubectl replace",
        Action::Evict { .. } => "eviction",
    }
}

/// Who waits for the answer, if anybody does.
type Reply = Option<(Address, u32)>;

fn act(user: User, action: &Action, reply: Reply, cx: &mut Context<'_>) {
    let (target, op) = match action {
        Action::Apply(object) => (key(object), Op::Apply(object.clone())),
        Action::Create(object) => {
            (key(object), Op::Create { object: object.clone(), generate: false })
        }
        Action::Replace(object) => (key(object), Op::Update(object.clone())),
        Action::Evict { ns, name, nth } => {
            let name = nth.map_or(*name, |nth| begins((Kind::Pod, *ns, *name), nth, cx));
            ((Kind::Pod, *ns, name), Op::Evict)
        }
        Action::Delete { kind, ns, name, nth, grace_s, propagation } => {
            let propagation = Some(*propagation);
            let op = Op::Delete { grace_s: *grace_s, propagation, uid: None };
            let name = nth.map_or(*name, |nth| begins((*kind, *ns, *name), nth, cx));
            ((*kind, *ns, name), op)
        }
        Action::Taint { node, remove, add } => {
            let (remove, add) = (Arc::clone(remove), Arc::clone(add));
            (node_key(*node), Op::NodeTaints { remove, add })
        }
        Action::Scale { kind, ns, name, replicas } => ((*kind, *ns, *name), Op::Scale(*replicas)),
        Action::SetImage { kind, ns, name, container, image } => {
            ((*kind, *ns, *name), Op::SetImage(*container, *image))
        }
        Action::Cordon { node, on } => (node_key(*node), Op::Cordon(*on)),
        Action::Drain { node } => (node_key(*node), Op::Cordon(true)),
    };
    send(user, target, op, reply, cx);
}

fn key(object: &Obj) -> (Kind, Sym, Name) {
    let (ns, name) = object.key();
    (object.kind(), ns, name)
}

/// The name of the object so many after the oldest one whose name begins so (the beginning itself
/// if there is none: it will not be found). Its user has listed them, as `kubectl get` does.
fn begins((kind, ns, prefix): (Kind, Sym, Name), nth: u32, cx: &Context<'_>) -> Name {
    let prefix = prefix.to_string();
    let versions = cx.versions();
    let mut found: Vec<(u64, Name)> = versions
        .iter(kind)
        .filter(|(_, obj)| obj.key().0 == ns && obj.key().1.to_string().starts_with(&prefix))
        .filter(|(_, obj)| obj.meta().is_none_or(|m| !m.terminating()))
        .filter_map(|(object, obj)| Some((versions.revisions(kind, object)?.create, obj.key().1)))
        .collect();
    found.sort_unstable_by_key(|(create, _)| *create);
    found.get(nth as usize).map_or_else(|| Name::new(&prefix), |(_, name)| *name)
}

fn node_key(node: Sym) -> (Kind, Sym, Name) {
    (Kind::Node, Sym::EMPTY, Name::new(node.as_str()))
}

fn send(
    user: User,
    (kind, ns, name): (Kind, Sym, Name),
    op: Op,
    reply: Reply,
    cx: &mut Context<'_>,
) {
    let request = Request { user, kind, ns, name, target: None, op };
    cx.submit(cx.now(), request, reply);
}

/// How long the object lives, if its life has an end.
fn lifetime(arrival: &Arrival, ordinal: u32, cx: &Context<'_>) -> Option<SimDuration> {
    if let Process::Rows(rows) = &arrival.process
        && let Some(life) = rows[ordinal as usize].lifetime
    {
        return Some(life);
    }
    let dist = arrival.lifetime?;
    let entity = arrival.name.stable_hash();
    Some(dist.sample(&mut cx.draw(entity, Purpose("lifetime"), u64::from(ordinal))))
}

/// The object number `ordinal` of a process. Draws are keyed by process and ordinal alone.
fn make(arrival: &Arrival, ordinal: u32, name: Name, cx: &Context<'_>) -> Obj {
    let row = match &arrival.process {
        Process::Rows(rows) => Some(&rows[ordinal as usize]),
        Process::Poisson(_) | Process::Every(_) => None,
    };
    let (Made::Pod(own) | Made::Job(own)) = &arrival.made;
    let template = row.and_then(|row| row.template.as_ref()).unwrap_or(own);
    let run = row.and_then(|row| row.run);
    let spec = vary(arrival, (&template.spec, run), ordinal, cx);
    match arrival.made {
        Made::Pod(_) => {
            let meta = Meta {
                labels: template.labels,
                annotations: template.annotations.clone(),
                ..Meta::named(arrival.ns, name)
            };
            Obj::Pod(Arc::new(Pod { meta, spec, ..Pod::default() }))
        }
        Made::Job(_) => {
            let template = Arc::new(PodTemplate { spec, ..PodTemplate::clone(template) });
            let pods = run.map_or(1, |run| run.pods.try_into().unwrap_or(i32::MAX));
            Obj::Job(Arc::new(Job {
                meta: Meta { labels: template.labels, ..Meta::named(arrival.ns, name) },
                parallelism: pods,
                completions: Some(pods),
                backoff_limit: 6,
                ttl_s: run.and_then(|run| run.ttl_s),
                template,
                ..Job::default()
            }))
        }
    }
}

/// The template's spec with the amounts and the duration drawn for this object.
fn vary(
    arrival: &Arrival,
    (spec, run): (&Arc<PodSpec>, Option<Run>),
    ordinal: u32,
    cx: &Context<'_>,
) -> Arc<PodSpec> {
    let lasts = run.and_then(|run| run.lasts);
    let drawn = arrival.cpu_milli.is_some() || arrival.memory.is_some();
    if !drawn && arrival.duration.is_none() && lasts.is_none() {
        return Arc::clone(spec);
    }
    let entity = arrival.name.stable_hash();
    let mut spec = PodSpec::clone(spec);
    let mut draw = cx.draw(entity, Purpose("requests"), u64::from(ordinal));
    let mut amount = |a: Amount| {
        a.base + a.step * i64::try_from(draw.below(u64::from(a.steps) + 1)).unwrap_or_default()
    };
    if let Some(container) = spec.containers.first_mut() {
        if let Some(cpu) = arrival.cpu_milli {
            container.requests.cpu_milli = amount(cpu);
            container.requests_named.cpu = true;
        }
        if let Some(memory) = arrival.memory {
            container.requests.memory = amount(memory);
            container.requests_named.memory = true;
        }
    }
    if let Some(duration) = arrival.duration {
        let after = duration.sample(&mut cx.draw(entity, Purpose("duration"), u64::from(ordinal)));
        spec.behaviour = with_exit(&spec.behaviour, after);
    }
    if let Some(after) = lasts {
        spec.behaviour = with_exit(&spec.behaviour, after);
    }
    spec.sum_requests();
    Arc::new(spec)
}
