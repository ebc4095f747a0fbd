//! Karpenter: pods that fit nowhere are gathered for a moment, packed onto machines that are yet to
//! be launched, and each of these is launched as the cheapest type that holds its pods. Nodes that
//! are empty, or whose pods have room elsewhere or on something cheaper, are taken away
//! (source: behaviour reference §5.2, read from `karp:pkg/controllers/{provisioning,disruption}`).

use super::super::config::CloudConfig;
use super::cluster::event;
use super::config::{KarpenterOptions, NodePool};
use super::drain::{Drained, Drains};
use super::simulation::{Mirror, News, Pending, Place, Profiles, Trial, place, ready};
use super::{EVENT, rearm, reply, template};
use crate::api::node::{Node, keys};
use crate::api::placement::node_matches;
use crate::api::request::{Op, Outcome, User};
use crate::api::resources::Resources;
use crate::api::versions::Change;
use crate::api::{Kind, Meta, Name, Pod};
use crate::client::{Broadcaster, RateLimiter};
use crate::control_plane::scheduler::config::SchedulerConfig;
use crate::engine::{Grid, SimDuration, SimTime, Sym};
use crate::event::cloud::{CloudAnswer, CloudCall, CloudError, CloudOp, Customer, Machine, Offer};
use crate::event::{AutoscalerEvent, Context, Event};
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of its service account, and of the source of its events.
pub(super) const NAME: &str = "karpenter";
/// Its limit (source: `--kube-client-qps`, `--kube-client-burst`).
const LIMIT: (f64, u32) = (200.0, 300);
/// The disruption controller looks so often (source: `karp:pkg/controllers/disruption/
/// controller.go` `pollingPeriod`).
const POLL: SimDuration = SimDuration::from_secs(10);
/// An offer that was not to be had is not asked for again so soon (source: `karp-aws:pkg/cache/
/// cache.go` `UnavailableOfferingsTTL`).
const UNAVAILABLE: SimDuration = SimDuration::from_secs(180);
/// A machine that has not registered by then is ended (source: `karp:pkg/controllers/nodeclaim/
/// lifecycle/liveness.go`).
const REGISTRATION: SimDuration = SimDuration::from_secs(15 * 60);
/// Pods that wait are looked at again so much later, once something has changed (source:
/// `karp:pkg/controllers/provisioning/controller.go` `RequeueAfter`).
const AGAIN: SimDuration = SimDuration::from_secs(10);
/// The cloud is asked so often about a machine that has not registered (source: `karp:pkg/
/// controllers/nodeclaim/garbagecollection/controller.go`).
const ENQUIRY: SimDuration = SimDuration::from_secs(2 * 60);
/// The same is said of a pod only so often (source: `karp:pkg/controllers/provisioning/scheduling/
/// events.go` `DedupeTimeout`).
const SAY_AGAIN: SimDuration = SimDuration::from_secs(5 * 60);
/// What a pod is told for which no offer is left.
const NONE_LEFT: &str = "no instance type has enough resources or meets all requirements";
/// Offers of one launch at most (source: `karp-aws:pkg/providers/instance/instance.go`).
const OFFERS: usize = 60;

/// A machine that it has launched.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) machine: Machine,
    /// When a pod last came to it or left it.
    pub(super) touched: SimTime,
    /// It has been seen ready.
    pub(super) served: bool,
    /// When the cloud was last asked about it.
    asked: SimTime,
}

/// A machine that is to end, until the cloud has said that it does.
#[derive(Debug, Clone, Copy)]
struct Ending {
    machine: Machine,
    /// The cloud has been told, and has not refused.
    told: bool,
}

/// What else the cloud has been asked, by token.
#[derive(Debug, Clone, Copy)]
enum Errand {
    /// To end a machine.
    End(Sym),
    /// What has become of a machine that has not registered.
    Enquiry(Sym),
}

/// A machine that is still to be launched, on the trial cluster.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Its pool, by its place in the options.
    pub(super) pool: usize,
    pub(super) zone: Sym,
    /// Whether its pods accept a spot machine, and one on demand; on the trial cluster it is the
    /// first of these.
    pub(super) capacity: (bool, bool),
    /// Types that hold what is on it.
    pub(super) kinds: Vec<u16>,
    /// What its pods and those of `DaemonSets` request.
    pub(super) asks: Resources,
    pub(super) pods: Vec<Pending>,
    pub(super) name: Sym,
    /// What the cloud has been asked for.
    offers: Arc<[Offer]>,
}

/// Nodes that go once others have come.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) nodes: Vec<Sym>,
    /// The launch that is waited for, then the machine.
    pub(super) launch: Option<u32>,
    pub(super) machine: Option<Sym>,
}

/// Karpenter.
#[derive(Debug, Clone)]
pub struct Karpenter {
    pub(super) config: Arc<CloudConfig>,
    pub(super) options: KarpenterOptions,
    pub(super) profiles: Profiles,
    pub(super) mirror: Mirror,
    pub(super) limiter: RateLimiter,
    /// When the present batch began, when the pods are looked at, and the number of that.
    batch: Option<SimTime>,
    due: Option<SimTime>,
    batches: u32,
    tokens: u32,
    /// Launches under way: what they are for.
    pub(super) launches: BTreeMap<u32, Claim>,
    /// Machines by name.
    pub(super) own: BTreeMap<&'static str, Own>,
    ending: BTreeMap<&'static str, Ending>,
    errands: BTreeMap<u32, Errand>,
    unavailable: Vec<(Offer, SimTime)>,
    /// Kubernetes Events, and what has last been said of a pod that waits.
    events: Broadcaster,
    said: BTreeMap<Place, (Sym, SimTime)>,
    pub(super) drains: Drains,
    pub(super) commands: Vec<Command>,
    armed: Option<(SimTime, u64)>,
}

impl Karpenter {
    pub(super) fn new(
        config: &Arc<CloudConfig>,
        options: &KarpenterOptions,
        scheduler: &SchedulerConfig,
    ) -> Self {
        let names = (NAME.into(), Sym::new("karpenter.sh/disrupted"));
        Self {
            config: Arc::clone(config),
            options: options.clone(),
            profiles: Profiles::new(scheduler),
            mirror: Mirror::default(),
            limiter: RateLimiter::new(LIMIT.0, LIMIT.1),
            batch: None,
            due: None,
            batches: 0,
            tokens: 0,
            launches: BTreeMap::new(),
            own: BTreeMap::new(),
            ending: BTreeMap::new(),
            errands: BTreeMap::new(),
            unavailable: Vec::new(),
            events: Broadcaster::default(),
            said: BTreeMap::new(),
            drains: Drains::new(names, (None, None), SimDuration::ZERO),
            commands: Vec::new(),
            armed: None,
        }
    }

    pub(super) fn on_change(&mut self, change: &Change, cx: &mut Context<'_>) {
        let news = self.mirror.apply(change, cx);
        if news == News::Stuck {
            return self.gather(cx);
        }
        if news == News::None {
            return;
        }
        let node = change.value.as_pod().map(|p| p.node);
        if let Some(own) = node.and_then(|node| self.own.get_mut(node.as_str())) {
            own.touched = cx.now();
        }
        if let Some(node) = change.value.as_node() {
            self.on_node(node, change.deleted, cx);
        }
        self.look_again(cx);
        if !self.own.is_empty() {
            self.arm(cx.now(), cx);
        }
    }

    fn on_node(&mut self, node: &Node, deleted: bool, cx: &mut Context<'_>) {
        let name = node.meta.name.sym();
        if deleted {
            // Whoever has deleted it, its machine is not to be paid for any longer.
            self.terminate(name, cx);
        } else if let Some(own) = self.own.get_mut(name.as_str()) {
            let known = !node.taints.iter().any(|t| t.key.as_str() == keys::UNINITIALIZED);
            if known && ready(node) && !std::mem::replace(&mut own.served, true) {
                own.touched = cx.now();
            }
        }
    }

    /// Pods are gathered until none has come for a moment, or for long enough.
    fn gather(&mut self, cx: &mut Context<'_>) {
        let begun = *self.batch.get_or_insert(cx.now());
        let until = (cx.now() + self.options.batch_idle).min(begun + self.options.batch_max);
        self.batch_at(until, cx);
    }

    /// The pods that wait are looked at then, unless others come before.
    fn batch_at(&mut self, at: SimTime, cx: &mut Context<'_>) {
        let at = at.max(cx.now());
        self.batches += 1;
        self.due = Some(at);
        cx.schedule(at, Event::Autoscaler(AutoscalerEvent::Batch(self.batches)));
    }

    /// The pods that wait, if any do, are looked at no later than that.
    fn batch_by(&mut self, at: SimTime, cx: &mut Context<'_>) {
        if !self.mirror.pending.is_empty() && self.due.is_none_or(|due| due > at) {
            self.batch_at(at, cx);
        }
    }

    /// Something has changed that may help a pod. Upstream looks at pods that wait every ten
    /// seconds; as long as nothing changes it finds nothing else than before.
    fn look_again(&mut self, cx: &mut Context<'_>) {
        self.batch_by(cx.now() + AGAIN, cx);
    }

    pub(super) fn arm(&mut self, at: SimTime, cx: &mut Context<'_>) {
        let at = Grid::new(SimTime::ZERO, POLL).after(at.max(cx.now()));
        rearm(&mut self.armed, at, cx);
    }

    pub(super) fn handle(&mut self, event: AutoscalerEvent, cx: &mut Context<'_>) {
        match event {
            AutoscalerEvent::Batch(number) => {
                if number == self.batches {
                    (self.batch, self.due) = (None, None);
                    self.provision(cx);
                }
            }
            AutoscalerEvent::Scan => {
                self.armed = None;
                self.mirror.cache.settle();
                self.unavailable.retain(|(_, until)| *until > cx.now());
                self.end_again(cx);
                let late = self.see_to_unregistered(cx);
                let next = self.disrupt(cx).into_iter().chain(late).min();
                if let Some(at) = next {
                    self.arm(at, cx);
                }
            }
            AutoscalerEvent::Drain(number) => {
                let cache = &self.mirror.cache;
                let there = |object| cache.pod(object).is_some();
                let looked = self.drains.look(number, &mut self.limiter, there, cx);
                match looked {
                    Some((node, Drained::Done)) => self.end(node, cx),
                    Some((node, Drained::Failed)) => self.drain_again(node, cx),
                    Some((_, Drained::Working)) | None => {}
                }
            }
        }
    }

    pub(super) fn on_answer(&mut self, token: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        if token == EVENT {
            return self.events.answered(&mut self.limiter, reply(EVENT), cx);
        }
        self.drains.on_answer(token, outcome, cx);
    }

    /// The taint could not be put: the node may be gone already.
    fn drain_again(&mut self, node: Sym, cx: &mut Context<'_>) {
        if self.mirror.cache.node_named(node).is_none() {
            return self.end(node, cx);
        }
        let pods = self.movable(node);
        self.drains.begin(node, &pods, &mut self.limiter, cx);
    }

    /// The machine ends, and its Node with it (source: `karp:pkg/controllers/node/termination`).
    pub(super) fn end(&mut self, node: Sym, cx: &mut Context<'_>) {
        if !self.terminate(node, cx) {
            return;
        }
        let op = Op::Delete { grace_s: None, propagation: None, uid: None };
        let (user, name) = (User::Controller(NAME.into()), Name::new(node.as_str()));
        let request = Context::request(user, Kind::Node, Sym::EMPTY, name, op);
        let at = self.limiter.reserve(cx.now());
        cx.submit(at, request, None);
    }

    /// A machine is to end; false if it is none of its own, or has been told already.
    fn terminate(&mut self, node: Sym, cx: &mut Context<'_>) -> bool {
        let Some(own) = self.own.remove(node.as_str()) else { return false };
        let ending = Ending { machine: own.machine, told: false };
        self.ending.insert(node.as_str(), ending);
        self.end_again(cx);
        self.look_again(cx);
        self.arm(cx.now(), cx);
        true
    }

    /// Tells the cloud to end the machines for which it has not taken that yet.
    fn end_again(&mut self, cx: &mut Context<'_>) {
        let untold: Vec<Sym> =
            self.ending.values().filter(|e| !e.told).map(|e| e.machine.name).collect();
        for machine in untold {
            if let Some(ending) = self.ending.get_mut(machine.as_str()) {
                ending.told = true;
            }
            self.ask(CloudOp::Terminate { machine }, Some(Errand::End(machine)), cx);
        }
    }

    /// Sends a message to the cloud, and gives its token.
    fn ask(&mut self, op: CloudOp, errand: Option<Errand>, cx: &mut Context<'_>) -> u32 {
        self.tokens += 1;
        let token = self.tokens;
        if let Some(errand) = errand {
            self.errands.insert(token, errand);
        }
        cx.ask_cloud(CloudCall { from: Customer::Autoscaler, token, op, answer: None });
        token
    }

    /// The provider says that it takes a machine: it is drained at once; its pods wait for what
    /// they are given next.
    pub(super) fn on_notice(&mut self, node: Sym, cx: &mut Context<'_>) {
        if self.own.contains_key(node.as_str()) && !self.drains.holds(node) {
            let pods = self.movable(node);
            self.drains.begin(node, &pods, &mut self.limiter, cx);
        }
    }

    /// Machines that have not registered: those that have had their time are ended, of others the
    /// cloud is asked now and then whether they are still there. Says when the next one is due.
    fn see_to_unregistered(&mut self, cx: &mut Context<'_>) -> Option<SimTime> {
        let now = cx.now();
        let waits: Vec<Machine> =
            self.own.values().filter(|own| !own.served).map(|own| own.machine).collect();
        let mut next = None;
        for machine in waits {
            let ends = machine.since + REGISTRATION + SimDuration(1);
            if ends <= now {
                self.end(machine.name, cx);
                continue;
            }
            let Some(own) = self.own.get_mut(machine.name.as_str()) else { continue };
            if own.asked + ENQUIRY <= now {
                own.asked = now;
                let op = CloudOp::Describe { machine: machine.name };
                self.ask(op, Some(Errand::Enquiry(machine.name)), cx);
            }
            let asks = self.own.get(machine.name.as_str()).map_or(ends, |own| own.asked + ENQUIRY);
            next = next.into_iter().chain([ends, asks]).min();
        }
        next
    }

    pub(super) fn on_cloud(&mut self, token: u32, answer: &CloudAnswer, cx: &mut Context<'_>) {
        if let Some(errand) = self.errands.remove(&token) {
            return self.on_errand(errand, answer, cx);
        }
        let Some(claim) = self.launches.remove(&token) else { return };
        match *answer {
            CloudAnswer::Machine(machine) => self.launched(token, &claim, machine, cx),
            CloudAnswer::Failed(error) => {
                if matches!(error, CloudError::NoCapacity | CloudError::Quota) {
                    let until = cx.now() + UNAVAILABLE;
                    self.unavailable.extend(claim.offers.iter().map(|o| (*o, until)));
                }
                self.commands.retain(|c| c.launch != Some(token));
                // The pods still wait; they are tried again.
                self.look_again(cx);
            }
            CloudAnswer::Done | CloudAnswer::List(_) | CloudAnswer::Address(_) => {}
        }
    }

    fn on_errand(&mut self, errand: Errand, answer: &CloudAnswer, cx: &mut Context<'_>) {
        match (errand, answer) {
            (Errand::End(node), CloudAnswer::Done | CloudAnswer::Failed(CloudError::NotFound)) => {
                // What the pool may have counts it no longer.
                self.ending.remove(node.as_str());
                self.look_again(cx);
            }
            (Errand::End(node), _) => {
                if let Some(ending) = self.ending.get_mut(node.as_str()) {
                    ending.told = false;
                }
                self.arm(cx.now(), cx);
            }
            (Errand::Enquiry(node), CloudAnswer::Failed(CloudError::NotFound)) => {
                self.own.remove(node.as_str());
                self.look_again(cx);
            }
            (Errand::Enquiry(_), _) => {}
        }
    }

    fn launched(&mut self, token: u32, claim: &Claim, machine: Machine, cx: &mut Context<'_>) {
        let (name, now) = (machine.name, cx.now());
        let own = Own { machine, touched: now, served: false, asked: now };
        self.own.insert(name.as_str(), own);
        for command in self.commands.iter_mut().filter(|c| c.launch == Some(token)) {
            command.machine = Some(name);
        }
        for pending in &claim.pods {
            let words = format!("Pod should schedule on: nodeclaim/{name}");
            self.say_of_pod(&pending.pod, (false, "Nominated"), &words, cx);
        }
        self.arm(now + ENQUIRY, cx);
    }

    /// A pod that nothing helps is told so.
    fn say_stuck(&mut self, pending: &Pending, why: &str, cx: &mut Context<'_>) {
        let (words, now) = (format!("Failed to schedule pod, {why}"), cx.now());
        let (place, word) = (place(pending.object), Sym::new(&words));
        let known = self.said.get(&place).is_some_and(|s| s.0 == word && s.1 + SAY_AGAIN > now);
        if !known {
            self.said.insert(place, (word, now));
            self.say_of_pod(&pending.pod, (true, "FailedScheduling"), &words, cx);
        }
    }

    pub(super) fn say_of_pod(
        &mut self,
        pod: &Pod,
        said: (bool, &str),
        words: &str,
        cx: &mut Context<'_>,
    ) {
        self.say((Kind::Pod, &pod.meta), said, words, cx);
    }

    pub(super) fn say(
        &mut self,
        about: (Kind, &Meta),
        said: (bool, &str),
        words: &str,
        cx: &mut Context<'_>,
    ) {
        self.events.push(cx.seq(), event(NAME, about, said, words, cx));
        self.events.post(&mut self.limiter, reply(EVENT), cx);
    }

    /// What of a type is to be had in a zone, of these capacities.
    fn on_offer(
        &self,
        (kind, zone): (u16, Sym),
        capacity: (bool, bool),
    ) -> impl Iterator<Item = Offer> {
        let allowed = [(true, capacity.0), (false, capacity.1)].into_iter().filter(|a| a.1);
        let offer = move |(spot, _): (bool, bool)| Offer { kind, zone, spot };
        let sold = move |o: &Offer| !o.spot || self.config.kind(kind).spot_price.is_some();
        let left = |o: &Offer| !self.unavailable.iter().any(|(out, _)| out == o);
        allowed.map(offer).filter(sold).filter(left)
    }

    /// What a claim may be launched as, the cheapest first; cheaper than a price, if one is given.
    fn offers(&self, claim: &Claim, below: Option<u64>) -> Vec<Offer> {
        let price = |o: &Offer| self.config.kind(o.kind).price_of(o.spot);
        let on_offer = |kind: &u16| self.on_offer((*kind, claim.zone), claim.capacity);
        let mut offers: Vec<Offer> = claim.kinds.iter().flat_map(on_offer).collect();
        offers.retain(|o| below.is_none_or(|below| u64::from(price(o)) < below));
        offers.sort_by_key(|o| (price(o), o.kind, !o.spot));
        offers.truncate(OFFERS);
        offers
    }

    /// Launches a claim; none if there is nothing that it may be.
    pub(super) fn launch(
        &mut self,
        mut claim: Claim,
        below: Option<u64>,
        cx: &mut Context<'_>,
    ) -> Option<u32> {
        claim.offers = self.offers(&claim, below).into();
        if claim.offers.is_empty() {
            return None;
        }
        let (pool, offers) = (self.options.pools[claim.pool].group, Arc::clone(&claim.offers));
        let token = self.ask(CloudOp::Launch { pool, offers }, None, cx);
        self.launches.insert(token, claim);
        Some(token)
    }

    /// The cluster with all that is on its way.
    pub(super) fn trial<'p>(&self, profiles: &'p Profiles) -> Trial<'p> {
        let mut trial = Trial::new(&self.mirror, profiles);
        for own in self.own.values().filter(|own| !own.served) {
            let machine = own.machine;
            let node = template(&self.config, machine.group, machine.offer, machine.name);
            trial.cache.remove_node(machine.name);
            let there = self.mirror.pods_on(machine.name).len();
            let daemons = self.mirror.daemons_for(&node).into_iter().skip(there);
            trial.add_node(&node, &daemons.collect::<Vec<_>>());
        }
        for claim in self.launches.values() {
            let Some(&kind) = claim.kinds.first() else { continue };
            let offer = Offer { kind, zone: claim.zone, spot: claim.capacity.0 };
            let group = self.options.pools[claim.pool].group;
            let node = template(&self.config, group, offer, claim.name);
            trial.add_node(&node, &self.mirror.daemons_for(&node));
            for pending in &claim.pods {
                if self.mirror.cache.pod(pending.object).is_none() {
                    trial.put(pending.object, &pending.pod, claim.name);
                }
            }
        }
        trial
    }

    /// Pods that wait and for which nothing is on its way.
    pub(super) fn waiting(&self) -> Vec<Pending> {
        let on_its_way: FxHashSet<_> =
            self.launches.values().flat_map(|c| &c.pods).map(|p| p.object).collect();
        let waits = |p: &&Pending| !on_its_way.contains(&p.object);
        self.mirror.pending.values().filter(waits).cloned().collect()
    }

    /// Launches what the pods that wait need.
    fn provision(&mut self, cx: &mut Context<'_>) {
        self.unavailable.retain(|(_, until)| *until > cx.now());
        self.said.retain(|place, _| self.mirror.pending.contains_key(place));
        let profiles = self.profiles.clone();
        let mut trial = self.trial(&profiles);
        let (claims, stuck) = self.pack(&mut trial, self.waiting());
        for claim in claims {
            self.launch(claim, None, cx);
        }
        for (pending, why) in &stuck {
            self.say_stuck(pending, why, cx);
        }
        let back = self.unavailable.iter().map(|(_, until)| *until).min();
        if let Some(at) = back.filter(|_| !stuck.is_empty()) {
            self.batch_by(at, cx);
        }
    }

    /// Packs pods onto what there is, what comes, and claims for more; the largest go first.
    pub(super) fn pack(
        &self,
        trial: &mut Trial<'_>,
        mut pods: Vec<Pending>,
    ) -> (Vec<Claim>, Vec<(Pending, String)>) {
        pods.sort_by_key(|p| {
            let asks = &p.pod.spec.requests;
            std::cmp::Reverse((asks.cpu_milli, asks.memory))
        });
        let (mut claims, mut stuck): (Vec<Claim>, Vec<_>) = (Vec::new(), Vec::new());
        for pending in pods {
            let free = |node: Sym| !self.drains.holds(node) && !self.leaves(node);
            if let Some((_, node)) = trial.fits(&pending.pod, 0, free) {
                let holds = claims.iter_mut().find(|c| c.name == node);
                let Some(claim) = holds else {
                    trial.put(pending.object, &pending.pod, node);
                    continue;
                };
                if self.join(claim, &pending) {
                    trial.put(pending.object, &pending.pod, node);
                    continue;
                }
            }
            let number = claims.len() + self.launches.len();
            match self.claim(trial, &pending, number, &claims) {
                Ok(claim) => claims.push(claim),
                Err(why) => stuck.push((pending, why)),
            }
        }
        (claims, stuck)
    }

    /// True for a node that a command takes away.
    pub(super) fn leaves(&self, node: Sym) -> bool {
        self.commands.iter().any(|c| c.nodes.contains(&node))
    }

    /// Adds a pod to a claim if a type of it that is to be had still holds all.
    fn join(&self, claim: &mut Claim, pending: &Pending) -> bool {
        let mut asks = claim.asks.clone();
        asks.add(&pending.pod.spec.requests);
        let capacity = self.accepted(claim, &pending.pod);
        let mut kinds = self.holding(&claim.kinds, &asks);
        kinds.retain(|&kind| self.on_offer((kind, claim.zone), capacity).next().is_some());
        if kinds.is_empty() {
            return false;
        }
        (claim.kinds, claim.asks, claim.capacity) = (kinds, asks, capacity);
        claim.pods.push(pending.clone());
        true
    }

    /// The capacities of a claim that a pod which it holds accepts.
    fn accepted(&self, claim: &Claim, pod: &Pod) -> (bool, bool) {
        let picky = !pod.spec.node_selector.is_empty() || pod.spec.affinity.is_some();
        let (true, true, true, Some(&kind)) =
            (claim.capacity.0, claim.capacity.1, picky, claim.kinds.first())
        else {
            return claim.capacity;
        };
        // On the trial cluster it is a spot machine: that much is known to fit.
        (true, self.selects(pod, claim.pool, Offer { kind, zone: claim.zone, spot: false }))
    }

    /// True if a pod's selector and affinity let it to a machine of this kind.
    fn selects(&self, pod: &Pod, pool: usize, offer: Offer) -> bool {
        let node = template(&self.config, self.options.pools[pool].group, offer, Sym::EMPTY);
        node_matches(pod, &node)
    }

    /// The types that hold so much.
    fn holding(&self, kinds: &[u16], asks: &Resources) -> Vec<u16> {
        let fits = |kind: &&u16| {
            let has = &self.config.kind(**kind).allocatable;
            asks.cpu_milli <= has.cpu_milli
                && asks.memory <= has.memory
                && asks.scalars.iter().all(|&(name, n)| n <= has.scalar(name))
        };
        kinds.iter().filter(fits).copied().collect()
    }

    /// A claim for a pod, in the heaviest pool that lets it in.
    fn claim(
        &self,
        trial: &mut Trial<'_>,
        pending: &Pending,
        number: usize,
        others: &[Claim],
    ) -> Result<Claim, String> {
        let mut order: Vec<usize> = (0..self.options.pools.len()).collect();
        order.sort_by_key(|&i| (-self.options.pools[i].weight, i));
        let mut why = String::from("no node pool");
        for pool in order {
            let spec = &self.options.pools[pool];
            let kinds = self.within_limits(spec, pool, others);
            if kinds.is_empty() {
                "all available instance types exceed limits for nodepool".clone_into(&mut why);
                continue;
            }
            let zones = spec.zones.len().max(1);
            for turn in 0..zones {
                let zone = spec.zones.get((number + turn) % zones).copied().unwrap_or_default();
                match self.claim_in((pool, zone), &kinds, trial, pending) {
                    Ok(claim) => return Ok(claim),
                    Err(reason) => why = reason,
                }
            }
        }
        Err(why)
    }

    /// A claim in a zone: on the largest type first; a pod that wants a certain type gets it.
    fn claim_in(
        &self,
        (pool, zone): (usize, Sym),
        kinds: &[u16],
        trial: &mut Trial<'_>,
        pending: &Pending,
    ) -> Result<Claim, String> {
        let spec = &self.options.pools[pool];
        let size = |kind: &u16| {
            let has = &self.config.kind(*kind).allocatable;
            (has.cpu_milli, has.memory)
        };
        let mut order = kinds.to_vec();
        order.sort_by_key(|kind| std::cmp::Reverse(size(kind)));
        let mut why = String::new();
        for (i, &kind) in order.iter().enumerate() {
            let takes = |spot| self.selects(&pending.pod, pool, Offer { kind, zone, spot });
            let accepts = (spec.capacity.0 && takes(true), spec.capacity.1 && takes(false));
            // One that accepts neither is told so by the filters.
            let capacity = if accepts == (false, false) { spec.capacity } else { accepts };
            if self.on_offer((kind, zone), capacity).next().is_none() {
                NONE_LEFT.clone_into(&mut why);
                continue;
            }
            let name = Sym::new(&format!("claim-{}", trial.fresh()));
            let offer = Offer { kind, zone, spot: capacity.0 };
            let node = template(&self.config, spec.group, offer, name);
            let daemons = self.mirror.daemons_for(&node);
            let own_daemons = trial.add_node(&node, &daemons);
            match trial.look(&pending.pod, 0, |n| n == name) {
                Ok(_) => {
                    let mut asks = Resources::default();
                    daemons.iter().for_each(|d| asks.add(&d.spec.requests));
                    let kinds = if i == 0 { kinds } else { &order[i..=i] };
                    let (kinds, pods, offers) = (kinds.to_vec(), Vec::new(), [].into());
                    let mut claim = Claim { pool, zone, capacity, kinds, asks, pods, name, offers };
                    if self.join(&mut claim, pending) {
                        trial.put(pending.object, &pending.pod, name);
                        return Ok(claim);
                    }
                    NONE_LEFT.clone_into(&mut why);
                }
                Err(reasons) => why = reasons.into_keys().collect::<Vec<_>>().join(", "),
            }
            trial.drop_node(name, &own_daemons);
        }
        Err(why)
    }

    /// The types of a pool that its limits still allow.
    fn within_limits(&self, spec: &NodePool, pool: usize, others: &[Claim]) -> Vec<u16> {
        let (mut cpu, mut memory) = (0, 0);
        let mut count = |kind: u16| {
            let has = &self.config.kind(kind).capacity;
            cpu += has.cpu_milli;
            memory += has.memory;
        };
        let own = self.own.values().map(|own| &own.machine);
        let ending = self.ending.values().map(|ending| &ending.machine);
        for machine in own.chain(ending).filter(|machine| machine.group == spec.group) {
            count(machine.offer.kind);
        }
        let claims = self.launches.values().chain(others).filter(|c| c.pool == pool);
        for kind in claims.filter_map(|c| c.kinds.first()) {
            count(*kind);
        }
        let fits = |kind: &&u16| {
            let has = &self.config.kind(**kind).capacity;
            spec.limits.0.is_none_or(|most| cpu + has.cpu_milli <= most)
                && spec.limits.1.is_none_or(|most| memory + has.memory <= most)
        };
        spec.kinds.iter().filter(fits).copied().collect()
    }
}
