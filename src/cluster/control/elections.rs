//! Which of several schedulers, and of several controller managers, leads.
//!
//! While a leader renews its Lease and can go on doing so, no attempt of anybody is an event: when
//! it has renewed last is arithmetic. As soon as something may go wrong (the leader's process, its
//! API server, etcd) the last renewal is written down and every candidate's attempts are spelled
//! out as events and requests, until a leader has renewed in calm again.
//!
//! A process that ends comes back with a new identity, as `hostname_uuid` has it. kube-scheduler
//! gives its Lease back when it is told to end, kube-controller-manager does not (source:
//! `cmd/kube-scheduler/app/options/options.go` `ReleaseOnCancel`; the controller manager's gate
//! `ControllerManagerReleaseLeaderElectionLockOnExit` is younger than 1.35).

use super::super::Cluster;
use super::super::spec::{Component, StaticPod};
use super::{Host, byte};
use crate::api::meta::Uid;
use crate::api::request::{Op, Outcome, Request, User};
use crate::api::{Kind, Lease, Name, Obj};
use crate::client::election::{Election, Elector, Step};
use crate::control_plane::apiserver::ApiServer;
use crate::engine::digest::mix;
use crate::engine::{Draws, Purpose, SimDuration, SimTime, Sym, num};
use crate::event::{Address, ControlEvent, Event, Role, What};
use std::sync::Arc;

/// A candidate's request may take half of the renew deadline (source: client-go `resourcelock`
/// `NewFromKubeconfig`).
const TIMEOUT: SimDuration = SimDuration::from_secs(5);

/// A process that stands for election.
#[derive(Debug, Clone)]
pub(in super::super) struct Candidate {
    elector: Elector,
    /// Number of its last attempt: answers and events of others are ignored.
    number: u32,
    /// The event of its next attempt.
    armed: Option<u64>,
    /// The event that ends its patience with the request under way.
    asked: Option<u64>,
    life: u16,
    /// Another one has taken over while it stood still.
    deposed: bool,
}

/// An election.
#[derive(Debug, Clone)]
pub(in super::super) struct Race {
    pub(in super::super) component: Component,
    /// The host whose process leads.
    pub(in super::super) leader: Option<usize>,
    /// Attempts are events.
    spelled: bool,
    /// When a leader that stands still goes on.
    pub(super) resumes: SimTime,
    candidates: Vec<Candidate>,
}

/// The process that is elected to be the component.
pub(super) const fn process(component: Component) -> StaticPod {
    match component {
        Component::Scheduler => StaticPod::Scheduler,
        Component::ControllerManager => StaticPod::ControllerManager,
    }
}

const fn role(component: Component) -> Role {
    match component {
        Component::Scheduler => Role::Scheduler,
        Component::ControllerManager => Role::ControllerManager,
    }
}

fn user(component: Component) -> User {
    match component {
        Component::Scheduler => User::Scheduler,
        Component::ControllerManager => User::Controller(Sym::new(component.name())),
    }
}

/// `hostname_uuid`.
fn election(component: Component, host: Sym, life: u16) -> Election {
    let uuid =
        mix(mix(host.stable_hash(), Sym::new(component.name()).stable_hash()), u64::from(life));
    let identity = format!("{host}_{}", Uid(uuid));
    Election::new(Sym::new(component.name()), Sym::new(&identity))
}

impl Race {
    pub(super) fn new(component: Component, hosts: &[Host], draws: &Draws) -> Self {
        let entity = Sym::new(component.name()).stable_hash();
        let first = draws.draw(entity, Purpose("first-leader"), 0).below(hosts.len().max(1) as u64);
        let candidate = |host: &Host| Candidate {
            elector: Elector::new(election(component, host.name, 0)),
            number: 0,
            armed: None,
            asked: None,
            life: 0,
            deposed: false,
        };
        Self {
            component,
            leader: Some(num::index(first)),
            spelled: false,
            resumes: SimTime::ZERO,
            candidates: hosts.iter().map(candidate).collect(),
        }
    }
}

impl Cluster {
    /// The leaders of the start hold their Leases.
    pub(super) fn start_races(&mut self) {
        for race in 0..2 {
            let Some(control) = &mut self.control else { return };
            let it = &mut control.races[race];
            let Some(host) = it.leader else { continue };
            let name = control.hosts[host].name;
            let election = election(it.component, name, 0);
            let (component, now) = (it.component, SimTime::ZERO);
            let lease = Lease {
                meta: crate::api::Meta::named(
                    Sym::new("kube-system"),
                    Name::new(election.name.as_str()),
                ),
                holder: election.identity,
                duration_s: u32::try_from(election.lease.as_secs()).unwrap_or(u32::MAX),
                acquired: Some(now),
                renewed: now,
                transitions: 0,
            };
            let lease = self.write_lease(lease, 0);
            if let (Some(control), Some(lease)) = (&mut self.control, lease) {
                control.races[race].candidates[host].elector =
                    Elector::leading(election, lease, now);
            }
            self.api.set_local(role(component), Some(byte(host)));
        }
    }

    /// Puts a Lease into the store as it was written in time that nobody has looked at.
    fn write_lease(&mut self, lease: Lease, seq: u64) -> Option<Lease> {
        let cx = &mut self.shared.context(seq);
        let stored = self.api.record_renewal(Obj::Lease(Arc::new(lease)), cx).ok()?;
        stored.value.as_lease().map(|l| Lease::clone(l))
    }

    fn race_mut(&mut self, race: usize) -> Option<&mut Race> {
        self.control.as_mut().map(|c| &mut c.races[race])
    }

    /// True if the leader of a race renews, and nothing could keep it from that.
    fn calm(&self, race: usize) -> bool {
        let Some(control) = &self.control else { return true };
        let Some(host) = control.races[race].leader else { return false };
        let pod = control.hosts[host].pods[process(control.races[race].component) as usize];
        pod.up && !pod.paused && self.api.is_ready(host) && self.api.calm(self.shared.now())
    }

    /// Something has changed: attempts are spelled out if the leader may not get through.
    pub(super) fn watch_race(&mut self, race: usize, seq: u64) {
        let calm = self.calm(race);
        let Some(it) = self.race_mut(race).filter(|it| !calm && !it.spelled) else { return };
        it.spelled = true;
        self.spell(race, seq);
    }

    /// The attempts of every candidate become events. The last renewal is written down first: it
    /// has long been in the store.
    fn spell(&mut self, race: usize, seq: u64) {
        let now = self.shared.now();
        let Some(control) = &mut self.control else { return };
        let it = &mut control.races[race];
        let last = it.candidates.iter().find(|c| c.elector.leads());
        let last =
            last.and_then(|c| Some((c.elector.record_seen()?.clone(), c.elector.renewed_by(now)?)));
        let mut lease = None;
        if let Some((seen, renewed)) = last {
            lease = self.write_lease(Lease { renewed, ..seen }, seq).map(|l| (l, renewed));
        }
        let Some(control) = &mut self.control else { return };
        let it = &mut control.races[race];
        let which = process(it.component) as usize;
        let mut arms = Vec::new();
        for (host, candidate) in it.candidates.iter_mut().enumerate() {
            if !control.hosts[host].pods[which].up {
                continue;
            }
            let next = match &lease {
                Some((lease, renewed)) if candidate.elector.leads() => {
                    candidate.elector.recall(lease, *renewed);
                    *renewed + SimDuration::from_secs(2)
                }
                _ => {
                    let (before, next) = candidate.elector.between(now, &self.shared.draws);
                    match &lease {
                        Some((lease, renewed)) if before >= *renewed => {
                            candidate.elector.recall(lease, before);
                        }
                        Some(_) | None => candidate.elector.forget(),
                    }
                    next
                }
            };
            arms.push((host, next));
        }
        for (host, next) in arms {
            self.arm(race, host, next, seq);
        }
    }

    fn arm(&mut self, race: usize, host: usize, at: SimTime, seq: u64) {
        let Some(control) = &mut self.control else { return };
        let candidate = &mut control.races[race].candidates[host];
        candidate.number += 1;
        let number = candidate.number;
        let attempt = ControlEvent::Attempt { race: byte(race), host: byte(host), number };
        let cx = &mut self.shared.context(seq);
        if let Some(event) = candidate.armed.take() {
            cx.cancel(event);
        }
        candidate.armed = Some(cx.schedule(at.max(cx.now()), Event::Control(attempt)));
    }

    /// A leader renews in calm: nobody's attempts need to be seen.
    fn quieten(&mut self, race: usize) {
        let Some(control) = &mut self.control else { return };
        let it = &mut control.races[race];
        it.spelled = false;
        for candidate in &mut it.candidates {
            candidate.number += 1;
            for event in candidate.armed.take().into_iter().chain(candidate.asked.take()) {
                self.shared.context(0).cancel(event);
            }
        }
    }

    /// The candidate whose attempt has this number, if its process runs.
    fn candidate(&mut self, race: usize, host: usize, number: u32) -> Option<&mut Candidate> {
        let control = self.control.as_mut()?;
        let it = control.races.get_mut(race)?;
        let pod = control.hosts.get(host)?.pods[process(it.component) as usize];
        it.candidates.get_mut(host).filter(|c| c.number == number && pod.up && !pod.paused)
    }

    /// A candidate tries.
    pub(super) fn attempt(&mut self, race: usize, host: usize, number: u32, seq: u64) {
        let now = self.shared.now();
        let Some(candidate) = self.candidate(race, host, number) else { return };
        candidate.armed = None;
        let step = candidate.elector.attempt(now);
        self.take_step(race, host, step, seq);
    }

    fn take_step(&mut self, race: usize, host: usize, step: Step, seq: u64) {
        let mut step = step;
        let now = self.shared.now();
        loop {
            step = match step {
                Step::Read => {
                    let Some(next) = self.read_lease(race, host, seq) else { return };
                    next
                }
                Step::Create(lease) => return self.ask(race, host, lease, true, seq),
                Step::Update(lease) => return self.ask(race, host, lease, false, seq),
                Step::Wait(at) => {
                    if self.race_mut(race).is_some_and(|r| r.spelled) {
                        self.arm(race, host, at.max(now), seq);
                    }
                    return;
                }
                Step::Lost => return self.lose_lease(race, host, seq),
            };
        }
    }

    /// Reads the Lease at the host's API server; none if the answer is long in coming.
    fn read_lease(&mut self, race: usize, host: usize, seq: u64) -> Option<Step> {
        let now = self.shared.now();
        let (ready, quorate) = (self.api.is_ready(host), self.api.quorate(now));
        let control = self.control.as_mut()?;
        let it = &mut control.races[race];
        let candidate = &mut it.candidates[host];
        if !ready {
            return Some(candidate.elector.missed(now, &self.shared.draws));
        }
        if !quorate {
            let number = candidate.number;
            let missed = ControlEvent::Missed { race: byte(race), host: byte(host), number };
            let event = self.shared.context(seq).after(TIMEOUT, Event::Control(missed));
            candidate.asked = Some(event);
            return None;
        }
        let (ns, name) = (Sym::new("kube-system"), Name::new(it.component.name()));
        let versions = &self.shared.versions;
        let object = versions.find(Kind::Lease, ns, name);
        let found = object.and_then(|o| versions.current(Kind::Lease, o)?.as_lease().cloned());
        Some(candidate.elector.read(found.as_deref(), now, &self.shared.draws))
    }

    /// Writes the Lease.
    fn ask(&mut self, race: usize, host: usize, lease: Lease, new: bool, seq: u64) {
        let Some(control) = &mut self.control else { return };
        let it = &mut control.races[race];
        let candidate = &mut it.candidates[host];
        let (user, number) = (user(it.component), candidate.number);
        let (ns, name) = (lease.meta.ns, lease.meta.name);
        let object = Obj::Lease(Arc::new(lease));
        let op = if new { Op::Create { object, generate: false } } else { Op::Update(object) };
        let request = Request { user, kind: Kind::Lease, ns, name, target: None, op };
        let to = ApiServer::candidate(byte(race), byte(host), candidate.life);
        let missed = ControlEvent::Missed { race: byte(race), host: byte(host), number };
        let cx = &mut self.shared.context(seq);
        candidate.asked = Some(cx.after(TIMEOUT, Event::Control(missed)));
        cx.submit(cx.now(), request, Some((to, number)));
    }

    /// A candidate has waited for an answer as long as it does.
    pub(super) fn missed(&mut self, race: usize, host: usize, number: u32, seq: u64) {
        let now = self.shared.now();
        let Some(control) = &mut self.control else { return };
        let candidate = &mut control.races[race].candidates[host];
        if candidate.number != number || candidate.asked.take().is_none() {
            return;
        }
        let step = candidate.elector.missed(now, &self.shared.draws);
        self.take_step(race, host, step, seq);
    }

    /// The answer to a candidate's write.
    pub(in super::super) fn candidate_answer(
        &mut self,
        to: Address,
        number: u32,
        outcome: &Outcome,
        seq: u64,
    ) {
        let (race, host) = ((to.index >> 8) as usize, (to.index & 0xff) as usize);
        let now = self.shared.now();
        let Some(candidate) = self.candidate(race, host, number) else { return };
        if candidate.life != to.incarnation {
            return;
        }
        let Some(patience) = candidate.asked.take() else { return };
        let led = candidate.elector.leads();
        let stored = outcome.as_ref().ok().and_then(|s| s.value.as_lease().cloned());
        self.shared.context(seq).cancel(patience);
        let Some(control) = &mut self.control else { return };
        let candidate = &mut control.races[race].candidates[host];
        let step = candidate.elector.wrote(stored.as_deref(), now, &self.shared.draws);
        let leads = candidate.elector.leads();
        if leads && !led {
            self.take_over(race, host, seq);
        }
        if stored.is_some() && leads && self.calm(race) {
            self.quieten(race);
            return;
        }
        self.take_step(race, host, step, seq);
    }

    /// A candidate has the Lease: its component starts cold.
    fn take_over(&mut self, race: usize, host: usize, seq: u64) {
        let Some(control) = &mut self.control else { return };
        let it = &mut control.races[race];
        let component = it.component;
        let before = it.leader.replace(host);
        for (other, candidate) in it.candidates.iter_mut().enumerate() {
            candidate.deposed |= other != host && candidate.elector.leads();
        }
        if before.is_some() {
            // It stands still, or does not know yet: whatever it had planned is void.
            self.stop_component(component);
        }
        let node = control_name(self, host);
        let who = Sym::new(component.name());
        let step = "acquired the lease and leads";
        let hop = self.shared.context(seq).record(What::Noticed { who, node, step });
        self.api.set_local(role(component), Some(byte(host)));
        self.restart_component(component, hop);
    }

    /// The leader could not renew in time: its process ends, and is started again.
    fn lose_lease(&mut self, race: usize, host: usize, seq: u64) {
        let Some(component) = self.race_mut(race).map(|r| r.component) else { return };
        let node = control_name(self, host);
        let who = Sym::new(component.name());
        let step = "lost its lease and ends";
        let hop = self.shared.context(seq).record(What::Noticed { who, node, step });
        self.process_ends(host, process(component), false, hop);
    }

    /// A process that stood for election has ended.
    pub(super) fn candidate_ends(&mut self, which: StaticPod, host: usize, seq: u64) {
        let Some(component) = which.component() else { return };
        let race = usize::from(component == Component::ControllerManager);
        // What the leader renewed last is written down before it is forgotten.
        let leads = self.race_mut(race).is_some_and(|r| r.leader == Some(host));
        if leads {
            let spelled =
                self.race_mut(race).is_some_and(|r| std::mem::replace(&mut r.spelled, true));
            if !spelled {
                self.spell(race, seq);
            }
            if let Some(r) = self.race_mut(race) {
                r.leader = None;
            }
            self.stop_component(component);
            self.api.set_local(role(component), None);
        }
        let Some(control) = &mut self.control else { return };
        let name = control.hosts[host].name;
        let candidate = &mut control.races[race].candidates[host];
        candidate.life = candidate.life.wrapping_add(1);
        candidate.deposed = false;
        candidate.number += 1;
        candidate.elector = Elector::new(election(component, name, candidate.life));
        for event in candidate.armed.take().into_iter().chain(candidate.asked.take()) {
            self.shared.context(seq).cancel(event);
        }
    }

    /// A process that stands for election has started.
    pub(super) fn candidate_begins(&mut self, which: StaticPod, host: usize, seq: u64) {
        let Some(component) = which.component() else { return };
        let race = usize::from(component == Component::ControllerManager);
        if self.race_mut(race).is_some_and(|r| r.spelled) {
            let now = self.shared.now();
            self.arm(race, host, now, seq);
        }
    }

    /// A candidate that stood still goes on: it tries at once.
    pub(super) fn resume_candidate(&mut self, component: Component, host: usize, seq: u64) {
        let race = usize::from(component == Component::ControllerManager);
        let now = self.shared.now();
        let Some(it) = self.race_mut(race) else { return };
        let (spelled, deposed) = (it.spelled, it.candidates[host].deposed);
        if deposed {
            // Another one has taken over meanwhile: it finds that out and ends.
            self.lose_lease(race, host, seq);
        } else if spelled {
            self.arm(race, host, now, seq);
        }
    }

    /// The leader is told to end, and gives its Lease back if it is one that does.
    pub(in super::super) fn shut_down(&mut self, host: usize, which: StaticPod, seq: u64) {
        let now = self.shared.now();
        let component = which.component().filter(|c| *c == Component::Scheduler);
        let lease = component.and_then(|component| {
            let it = &self.control.as_ref()?.races
                [usize::from(component == Component::ControllerManager)];
            it.candidates.get(host)?.elector.release(now).map(|lease| (component, lease))
        });
        self.hold(host, which, seq);
        let Some((component, released)) = lease else { return };
        // The record has been written down as the process ended.
        let (ns, name) = (released.meta.ns, released.meta.name);
        let versions = &self.shared.versions;
        let object = versions.find(Kind::Lease, ns, name);
        let stored = object.and_then(|o| versions.current(Kind::Lease, o)?.as_lease().cloned());
        let Some(stored) = stored else { return };
        let lease =
            Lease { meta: stored.meta.clone(), transitions: stored.transitions, ..released };
        let op = Op::Update(Obj::Lease(Arc::new(lease)));
        let request =
            Request { user: user(component), kind: Kind::Lease, ns, name, target: None, op };
        let to = ApiServer::candidate(0, byte(host), u16::MAX);
        let cx = &mut self.shared.context(seq);
        cx.submit(cx.now(), request, Some((to, u32::MAX)));
    }
}

fn control_name(cluster: &Cluster, host: usize) -> Sym {
    cluster.control.as_ref().map_or(Sym::EMPTY, |c| c.hosts[host].name)
}
