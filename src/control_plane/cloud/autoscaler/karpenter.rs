//! Karpenter: pods that fit nowhere are gathered for a moment, packed onto machines that are yet to
//! be launched, and each of these is launched as the cheapest type that holds its pods. Nodes that
//! are empty, or whose pods have room elsewhere or on something cheaper, are taken away
//! (source: behaviour reference §5.2, read from `karp:pkg/controllers/{provisioning,disruption}`).

use super::super::config::CloudConfig;
use super::cluster::event;
use super::config::{KarpenterOptions, NodePool};
use super::drain::{Drained, Drains};
use super::simulation::{Mirror, News, Pending, Profiles, Trial, ready};
use super::{rearm, template};
use crate::api::node::keys;
use crate::api::request::{Op, Outcome, User};
use crate::api::resources::Resources;
use crate::api::versions::Change;
use crate::api::{Kind, Meta, Name, Pod};
use crate::client::RateLimiter;
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
}

/// A machine that is still to be launched, on the trial cluster.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Its pool, by its place in the options.
    pub(super) pool: usize,
    pub(super) zone: Sym,
    /// Types that hold what is on it.
    pub(super) kinds: Vec<u16>,
    /// What its pods and those of `DaemonSets` request.
    pub(super) asks: Resources,
    pub(super) pods: Vec<Pending>,
    pub(super) name: Sym,
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
    /// When the present batch began, and its number.
    batch: Option<SimTime>,
    batches: u32,
    tokens: u32,
    /// Launches under way: what they are for.
    pub(super) launches: BTreeMap<u32, Claim>,
    /// Machines by name.
    pub(super) own: BTreeMap<&'static str, Own>,
    unavailable: Vec<(Offer, SimTime)>,
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
            batches: 0,
            tokens: 0,
            launches: BTreeMap::new(),
            own: BTreeMap::new(),
            unavailable: Vec::new(),
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
        if let Some(node) = change.value.as_node()
            && let Some(own) = self.own.get_mut(node.meta.name.sym().as_str())
        {
            let known = !node.taints.iter().any(|t| t.key.as_str() == keys::UNINITIALIZED);
            if known && ready(node) && !std::mem::replace(&mut own.served, true) {
                own.touched = cx.now();
            }
        }
        if !self.own.is_empty() {
            self.arm(cx.now(), cx);
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
        self.batches += 1;
        let batch = AutoscalerEvent::Batch(self.batches);
        cx.schedule(at.max(cx.now()), Event::Autoscaler(batch));
    }

    pub(super) fn arm(&mut self, at: SimTime, cx: &mut Context<'_>) {
        let at = Grid::new(SimTime::ZERO, POLL).after(at.max(cx.now()));
        rearm(&mut self.armed, at, cx);
    }

    pub(super) fn handle(&mut self, event: AutoscalerEvent, cx: &mut Context<'_>) {
        match event {
            AutoscalerEvent::Batch(number) => {
                if number == self.batches {
                    self.batch = None;
                    self.provision(cx);
                }
            }
            AutoscalerEvent::Scan => {
                self.armed = None;
                self.mirror.cache.settle();
                self.give_up_unregistered(cx);
                if let Some(at) = self.disrupt(cx) {
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
        self.own.remove(node.as_str());
        let op = CloudOp::Terminate { machine: node };
        cx.ask_cloud(CloudCall { from: Customer::Autoscaler, token: 0, op, answer: None });
        let op = Op::Delete { grace_s: None, propagation: None, uid: None };
        let (user, name) = (User::Controller(NAME.into()), Name::new(node.as_str()));
        let request = Context::request(user, Kind::Node, Sym::EMPTY, name, op);
        let at = self.limiter.reserve(cx.now());
        cx.submit(at, request, None);
        self.arm(cx.now(), cx);
    }

    /// The provider says that it takes a machine: it is drained at once; its pods wait for what
    /// they are given next.
    pub(super) fn on_notice(&mut self, node: Sym, cx: &mut Context<'_>) {
        if self.own.contains_key(node.as_str()) && !self.drains.holds(node) {
            let pods = self.movable(node);
            self.drains.begin(node, &pods, &mut self.limiter, cx);
        }
    }

    /// Machines that have not registered in time.
    fn give_up_unregistered(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        let late = |own: &&Own| !own.served && now.since(own.machine.since) > REGISTRATION;
        let late: Vec<Sym> = self.own.values().filter(late).map(|o| o.machine.name).collect();
        for node in late {
            self.end(node, cx);
        }
    }

    pub(super) fn on_cloud(&mut self, token: u32, answer: &CloudAnswer, cx: &mut Context<'_>) {
        let Some(claim) = self.launches.remove(&token) else { return };
        match *answer {
            CloudAnswer::Machine(machine) => {
                let name = machine.name;
                let own = Own { machine, touched: cx.now(), served: false };
                self.own.insert(name.as_str(), own);
                for command in self.commands.iter_mut().filter(|c| c.launch == Some(token)) {
                    command.machine = Some(name);
                }
                for pending in &claim.pods {
                    let words = format!("Pod should schedule on: nodeclaim/{name}");
                    self.say_of_pod(&pending.pod, (false, "Nominated"), &words, cx);
                }
                self.arm(machine.since + REGISTRATION, cx);
            }
            CloudAnswer::Failed(error) => {
                if matches!(error, CloudError::NoCapacity | CloudError::Quota) {
                    let until = cx.now() + UNAVAILABLE;
                    let offers = self.offers(&claim, None, cx.now());
                    self.unavailable.extend(offers.into_iter().map(|o| (o, until)));
                }
                self.commands.retain(|c| c.launch != Some(token));
                // The pods still wait; they are tried again.
                self.batch_at(cx.now() + POLL, cx);
            }
            CloudAnswer::Done | CloudAnswer::List(_) | CloudAnswer::Address(_) => {}
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
        let request = event(NAME, about, said, words, cx);
        let at = self.limiter.reserve(cx.now());
        cx.submit(at, request, None);
    }

    /// What a claim may be launched as, the cheapest first; cheaper than a price, if one is given.
    pub(super) fn offers(&self, claim: &Claim, below: Option<u64>, now: SimTime) -> Vec<Offer> {
        let pool = &self.options.pools[claim.pool];
        let mut offers: Vec<(u32, Offer)> = Vec::new();
        for &kind in &claim.kinds {
            for spot in [true, false] {
                let allowed = if spot { pool.capacity.0 } else { pool.capacity.1 };
                let offer = Offer { kind, zone: claim.zone, spot };
                let of = self.config.kind(kind);
                let sold = !spot || of.spot_price.is_some();
                let out = |(o, until): &(Offer, SimTime)| *o == offer && *until > now;
                if !allowed || !sold || self.unavailable.iter().any(out) {
                    continue;
                }
                let price = of.price_of(spot);
                if below.is_none_or(|below| u64::from(price) < below) {
                    offers.push((price, offer));
                }
            }
        }
        offers.sort_by_key(|(price, offer)| (*price, offer.kind, !offer.spot));
        offers.truncate(OFFERS);
        offers.into_iter().map(|(_, offer)| offer).collect()
    }

    /// Launches a claim; none if there is nothing that it may be.
    pub(super) fn launch(
        &mut self,
        claim: Claim,
        below: Option<u64>,
        cx: &mut Context<'_>,
    ) -> Option<u32> {
        let offers = self.offers(&claim, below, cx.now());
        if offers.is_empty() {
            return None;
        }
        self.tokens += 1;
        let (token, pool) = (self.tokens, self.options.pools[claim.pool].group);
        let op = CloudOp::Launch { pool, offers: offers.into() };
        self.launches.insert(token, claim);
        cx.ask_cloud(CloudCall { from: Customer::Autoscaler, token, op, answer: None });
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
            let offer = Offer { kind, zone: claim.zone, spot: false };
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

    /// Launches what the pods that wait need.
    fn provision(&mut self, cx: &mut Context<'_>) {
        self.unavailable.retain(|(_, until)| *until > cx.now());
        let mut pods: Vec<Pending> = self.mirror.pending.values().cloned().collect();
        let on_its_way: FxHashSet<_> =
            self.launches.values().flat_map(|c| &c.pods).map(|p| p.object).collect();
        pods.retain(|p| !on_its_way.contains(&p.object));
        let profiles = self.profiles.clone();
        let mut trial = self.trial(&profiles);
        let (claims, stuck) = self.pack(&mut trial, pods);
        for claim in claims {
            let pods = claim.pods.clone();
            if self.launch(claim, None, cx).is_none() {
                for pending in pods {
                    let words = "Failed to schedule pod, no instance type has enough resources or \
                                 meets all requirements";
                    self.say_of_pod(&pending.pod, (true, "FailedScheduling"), words, cx);
                }
                self.batch_at(cx.now() + UNAVAILABLE, cx);
            }
        }
        for (pending, why) in stuck {
            let words = format!("Failed to schedule pod, {why}");
            self.say_of_pod(&pending.pod, (true, "FailedScheduling"), &words, cx);
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

    /// Adds a pod to a claim if a type of it still holds all.
    fn join(&self, claim: &mut Claim, pending: &Pending) -> bool {
        let mut asks = claim.asks.clone();
        asks.add(&pending.pod.spec.requests);
        let kinds = self.holding(&claim.kinds, &asks);
        if kinds.is_empty() {
            return false;
        }
        (claim.kinds, claim.asks) = (kinds, asks);
        claim.pods.push(pending.clone());
        true
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
            let name = Sym::new(&format!("claim-{}", trial.fresh()));
            let offer = Offer { kind, zone, spot: spec.capacity.0 };
            let node = template(&self.config, spec.group, offer, name);
            let daemons = self.mirror.daemons_for(&node);
            let own_daemons = trial.add_node(&node, &daemons);
            match trial.look(&pending.pod, 0, |n| n == name) {
                Ok(_) => {
                    let mut asks = Resources::default();
                    daemons.iter().for_each(|d| asks.add(&d.spec.requests));
                    let kinds = if i == 0 { kinds } else { &order[i..=i] };
                    let (kinds, pods) = (kinds.to_vec(), Vec::new());
                    let mut claim = Claim { pool, zone, kinds, asks, pods, name };
                    if self.join(&mut claim, pending) {
                        trial.put(pending.object, &pending.pod, name);
                        return Ok(claim);
                    }
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
        for own in self.own.values().filter(|own| own.machine.group == spec.group) {
            count(own.machine.offer.kind);
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
