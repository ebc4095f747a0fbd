//! The provider: what it grants, refuses, takes back and repairs. It knows nothing of Kubernetes;
//! its customers send it messages ([`CloudOp`]) and ask it for what has become of them.

use super::config::{CloudConfig, Group};
use crate::engine::digest::hash_bytes;
use crate::engine::id::Id;
use crate::engine::{Purpose, SimDuration, SimTime, Sym, num};
use crate::event::cloud::{
    CloudAnswer, CloudError, CloudEvent, CloudOp, GroupState, Listing, Machine, MachineStep, Offer,
    Phase,
};
use crate::event::{Context, Event, What};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A group that did not get a machine tries again so often (not sourced).
const AGAIN: SimDuration = SimDuration::from_secs(60);

/// What the provider does to the world beside answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    None,
    /// The answer to this message has arrived at whoever asked.
    Answers(Id),
    /// A machine gets power: its row.
    Starts(u32),
    /// A machine is told to shut down.
    Stops(u32),
    /// A machine is gone.
    Ends(u32),
    /// It is said that a machine will be taken.
    Notice(u32),
    /// A machine is taken.
    Taken(u32),
    /// A load balancer sends to these nodes from now on: its name.
    Balances(Sym),
}

/// A group as it is.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    desired: u32,
    /// Number of the next machine.
    next: u32,
    missing: Option<(u32, CloudError)>,
    retries: bool,
}

/// A load balancer.
#[derive(Debug, Clone)]
struct Balancer {
    address: u32,
    ready: SimTime,
    nodes: Arc<[Sym]>,
}

/// A provider with one account.
#[derive(Debug, Clone)]
pub struct Cloud {
    config: Arc<CloudConfig>,
    machines: Vec<Machine>,
    by_name: FxHashMap<Sym, u32>,
    groups: Vec<Standing>,
    balancers: BTreeMap<&'static str, Balancer>,
    /// Balancers made so far.
    addresses: u32,
    bucket: Bucket,
    calls: u64,
    /// Machines whose node has died, by row.
    dead: Vec<u32>,
}

/// A bucket of tokens that refuses instead of holding up.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: SimTime,
}

impl Bucket {
    fn take(&mut self, (qps, burst): (f64, u32), now: SimTime) -> bool {
        if qps <= 0.0 {
            return true;
        }
        let gap = SimDuration::from_secs(1).scale(1.0 / qps);
        let next = self.full_at.max(now) + gap;
        let fits = next <= now + gap.times(u64::from(burst.max(1)));
        if fits {
            self.full_at = next;
        }
        fits
    }
}

impl Cloud {
    /// A cloud in which nothing runs.
    #[must_use]
    pub fn new(config: Arc<CloudConfig>) -> Self {
        let groups = vec![Standing::default(); config.groups.len()];
        Self {
            config,
            machines: Vec::new(),
            by_name: FxHashMap::default(),
            groups,
            balancers: BTreeMap::new(),
            addresses: 0,
            bucket: Bucket::default(),
            calls: 0,
            dead: Vec::new(),
        }
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &Arc<CloudConfig> {
        &self.config
    }

    /// A machine by its row.
    #[must_use]
    pub fn machine(&self, row: u32) -> &Machine {
        &self.machines[row as usize]
    }

    /// A machine that runs when the run begins.
    pub fn adopt(&mut self, name: Sym, group: u16, offer: Offer, cx: &mut Context<'_>) {
        let standing = &mut self.groups[usize::from(group)];
        standing.next += 1;
        standing.desired += 1;
        self.enter(name, group, offer, cx);
    }

    fn enter(&mut self, name: Sym, group: u16, offer: Offer, cx: &mut Context<'_>) -> u32 {
        let row = num::u32_of(self.machines.len());
        let since = cx.now();
        let phase = Phase::Running;
        self.machines.push(Machine { name, group, offer, phase, since, notice: false });
        self.by_name.insert(name, row);
        self.bill(row, true, cx);
        if let Some(life) = self.config.spot_life.filter(|_| offer.spot) {
            let mut draw = cx.draw(name.stable_hash(), Purpose("spot-life"), 0);
            let lasts = life.sample(&mut draw);
            let warned = SimDuration(lasts.0.saturating_sub(self.config.latency.notice.0));
            cx.after(warned, Event::Cloud(CloudEvent::Machine(row, MachineStep::Notice)));
        }
        row
    }

    fn bill(&self, row: u32, on: bool, cx: &mut Context<'_>) {
        let machine = &self.machines[row as usize];
        let kind = self.config.kind(machine.offer.kind);
        cx.record(What::Machine {
            node: machine.name,
            pool: self.config.group(machine.group).name,
            kind: kind.name,
            spot: machine.offer.spot,
            micro_per_hour: kind.price_of(machine.offer.spot),
            on,
        });
    }

    /// Handles an event, and says what becomes of it outside.
    pub fn handle(&mut self, event: CloudEvent, cx: &mut Context<'_>) -> Deed {
        match event {
            CloudEvent::Arrive(id) => {
                self.calls += 1;
                let mut draw = cx.draw(0, Purpose("cloud-call"), self.calls);
                let takes = self.config.latency.request.sample(&mut draw);
                cx.after(takes, Event::Cloud(CloudEvent::Work(id)));
                Deed::None
            }
            CloudEvent::Work(id) => self.work(id, cx),
            CloudEvent::Answer(id) => Deed::Answers(id),
            CloudEvent::Group(group) => {
                self.groups[usize::from(group)].retries = false;
                self.fill(group, cx);
                Deed::None
            }
            CloudEvent::Machine(row, step) => self.step(row, step, cx),
        }
    }

    fn step(&mut self, row: u32, step: MachineStep, cx: &mut Context<'_>) -> Deed {
        let phase = self.machines[row as usize].phase;
        match (step, phase) {
            (MachineStep::Starts, Phase::Running) => Deed::Starts(row),
            (MachineStep::Notice, Phase::Running) => {
                self.machines[row as usize].notice = true;
                let taken = CloudEvent::Machine(row, MachineStep::Taken);
                cx.after(self.config.latency.notice, Event::Cloud(taken));
                Deed::Notice(row)
            }
            (MachineStep::Taken, Phase::Running | Phase::Stopping) => {
                self.reclaimed(row, cx);
                Deed::Taken(row)
            }
            (MachineStep::Check, Phase::Running) => {
                let at = self.dead.iter().position(|dead| *dead == row);
                let Some(at) = at else { return Deed::None };
                self.dead.swap_remove(at);
                self.reclaimed(row, cx);
                Deed::Ends(row)
            }
            (MachineStep::Ends, Phase::Stopping) => {
                self.machines[row as usize].phase = Phase::Gone;
                Deed::Ends(row)
            }
            (MachineStep::Ends | MachineStep::Starts, _)
            | (_, Phase::Gone)
            | (MachineStep::Notice | MachineStep::Check, Phase::Stopping) => Deed::None,
        }
    }

    /// A machine is gone without anybody having asked for it: its group gets another one.
    fn reclaimed(&mut self, row: u32, cx: &mut Context<'_>) {
        let machine = &mut self.machines[row as usize];
        let was = std::mem::replace(&mut machine.phase, Phase::Gone);
        let group = machine.group;
        if was == Phase::Running {
            self.bill(row, false, cx);
            self.fill(group, cx);
        }
    }

    /// The node of a machine has lost its power; the group's health check will find that.
    pub fn died(&mut self, name: Sym, cx: &mut Context<'_>) {
        let Some(&row) = self.by_name.get(&name) else { return };
        let machine = &self.machines[row as usize];
        let managed = self.config.group(machine.group).kind.is_some();
        if self.config.repairs && managed && machine.phase == Phase::Running {
            self.dead.push(row);
            let ordinal = self.dead.len() as u64 + cx.now().0;
            let mut draw = cx.draw(name.stable_hash(), Purpose("health-check"), ordinal);
            let after = self.config.latency.health_check.sample(&mut draw);
            cx.after(after, Event::Cloud(CloudEvent::Machine(row, MachineStep::Check)));
        }
    }

    /// The node of a machine has power again.
    pub fn revived(&mut self, name: Sym) {
        let row = self.by_name.get(&name).copied();
        self.dead.retain(|dead| Some(*dead) != row);
    }

    /// A machine is taken by a fault of the scenario.
    pub fn taken(&mut self, name: Sym, cx: &mut Context<'_>) {
        if let Some(&row) = self.by_name.get(&name) {
            self.reclaimed(row, cx);
        }
    }

    fn work(&mut self, id: Id, cx: &mut Context<'_>) -> Deed {
        let Some(call) = cx.cloud_call(id) else { return Deed::None };
        let op = call.op.clone();
        let (config, now) = (Arc::clone(&self.config), cx.now());
        let fails = config.failures > 0.0
            && cx.draw(0, Purpose("cloud-failure"), self.calls).unit() < config.failures;
        let (answer, deed) = if !self.bucket.take(config.limit, now) {
            (CloudAnswer::Failed(CloudError::Throttled), Deed::None)
        } else if fails {
            (CloudAnswer::Failed(CloudError::Unavailable), Deed::None)
        } else {
            self.obey(&op, cx)
        };
        // Reads say nothing that is not folded elsewhere.
        if !matches!(op, CloudOp::List | CloudOp::Describe { .. }) {
            cx.fold(hash_bytes(format!("{op:?} {answer:?}").as_bytes()));
        }
        let mut then = now + cx.network();
        if let (CloudOp::Balance { balancer, .. }, CloudAnswer::Address(_)) = (&op, &answer) {
            let ready = self.balancers.get(balancer.as_str()).map_or(now, |b| b.ready);
            then = then.max(ready);
        }
        if let Some(call) = cx.cloud_call_mut(id) {
            call.answer = Some(answer);
        }
        cx.schedule(then, Event::Cloud(CloudEvent::Answer(id)));
        deed
    }

    fn obey(&mut self, op: &CloudOp, cx: &mut Context<'_>) -> (CloudAnswer, Deed) {
        let done = (CloudAnswer::Done, Deed::None);
        match op {
            CloudOp::Grow { group, by } => {
                self.groups[usize::from(*group)].desired += u32::from(*by);
                self.fill(*group, cx);
                done
            }
            CloudOp::Shrink { group, by } => {
                let alive = self.alive(*group);
                let standing = &mut self.groups[usize::from(*group)];
                standing.desired = standing.desired.saturating_sub(u32::from(*by)).max(alive);
                if standing.desired == alive {
                    standing.missing = None;
                }
                done
            }
            CloudOp::Launch { pool, offers } => (self.launch(*pool, offers, cx), Deed::None),
            CloudOp::Terminate { machine } => self.terminate(*machine, cx),
            CloudOp::List => (CloudAnswer::List(self.listing()), Deed::None),
            CloudOp::Describe { machine } => {
                let row = self.by_name.get(machine);
                let found = row.map(|&row| self.machines[row as usize]);
                let found = found.filter(|m| m.phase != Phase::Gone);
                let none = CloudAnswer::Failed(CloudError::NotFound);
                (found.map_or(none, CloudAnswer::Machine), Deed::None)
            }
            CloudOp::Balance { balancer, nodes } => {
                (self.balance(*balancer, nodes, cx), Deed::Balances(*balancer))
            }
            CloudOp::Route { .. } => done,
            CloudOp::Unbalance { balancer } => {
                self.balancers.remove(balancer.as_str());
                done
            }
        }
    }

    fn balance(&mut self, name: Sym, nodes: &Arc<[Sym]>, cx: &mut Context<'_>) -> CloudAnswer {
        if let Some(balancer) = self.balancers.get_mut(name.as_str()) {
            balancer.nodes = Arc::clone(nodes);
            return CloudAnswer::Address(balancer.address);
        }
        let mut draw = cx.draw(name.stable_hash(), Purpose("load-balancer"), 0);
        let ready = cx.now() + self.config.latency.balancer.sample(&mut draw);
        // TEST-NET-3 and what follows it: addresses that nobody has.
        let address = u32::from(std::net::Ipv4Addr::new(203, 0, 113, 1)) + self.addresses;
        self.addresses += 1;
        let balancer = Balancer { address, ready, nodes: Arc::clone(nodes) };
        self.balancers.insert(name.as_str(), balancer);
        CloudAnswer::Address(address)
    }

    /// The nodes that a load balancer sends to; none if there is no such one.
    #[must_use]
    pub fn balanced(&self, name: Sym) -> Option<&[Sym]> {
        self.balancers.get(name.as_str()).map(|b| &*b.nodes)
    }

    /// Groups, and machines that are not gone.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let state = |g: &Standing| GroupState { desired: g.desired, missing: g.missing };
        Listing {
            groups: self.groups.iter().map(state).collect(),
            machines: self.machines.iter().filter(|m| m.phase != Phase::Gone).copied().collect(),
        }
    }

    fn alive(&self, group: u16) -> u32 {
        let of = |m: &&Machine| m.group == group && m.phase == Phase::Running;
        num::u32_of(self.machines.iter().filter(of).count())
    }

    fn terminate(&mut self, name: Sym, cx: &mut Context<'_>) -> (CloudAnswer, Deed) {
        let row = self.by_name.get(&name).copied();
        let Some(row) = row.filter(|&r| self.machines[r as usize].phase != Phase::Gone) else {
            return (CloudAnswer::Failed(CloudError::NotFound), Deed::None);
        };
        let machine = &mut self.machines[row as usize];
        if machine.phase == Phase::Stopping {
            return (CloudAnswer::Done, Deed::None);
        }
        machine.phase = Phase::Stopping;
        let group = usize::from(machine.group);
        self.groups[group].desired = self.groups[group].desired.saturating_sub(1);
        self.bill(row, false, cx);
        let mut draw = cx.draw(name.stable_hash(), Purpose("terminate"), 0);
        let after = self.config.latency.terminate.sample(&mut draw);
        cx.after(after, Event::Cloud(CloudEvent::Machine(row, MachineStep::Ends)));
        (CloudAnswer::Done, Deed::Stops(row))
    }

    fn launch(&mut self, pool: u16, offers: &[Offer], cx: &mut Context<'_>) -> CloudAnswer {
        let mut why = CloudError::NoCapacity;
        for &offer in offers {
            match self.grant(pool, offer, cx) {
                Ok(row) => {
                    self.groups[usize::from(pool)].desired += 1;
                    return CloudAnswer::Machine(self.machines[row as usize]);
                }
                Err(error) => why = error,
            }
        }
        CloudAnswer::Failed(why)
    }

    /// A machine, if it is to be had.
    fn grant(&mut self, group: u16, offer: Offer, cx: &mut Context<'_>) -> Result<u32, CloudError> {
        self.allowed(offer)?;
        let now = cx.now();
        let out = self.config.stock_outs.iter().any(|s| {
            (s.from..s.until).contains(&now)
                && s.kind.is_none_or(|k| k == offer.kind)
                && s.zone.is_none_or(|z| z == offer.zone)
                && s.spot.is_none_or(|spot| spot == offer.spot)
        });
        if out || offer.spot && self.config.kind(offer.kind).spot_price.is_none() {
            return Err(CloudError::NoCapacity);
        }
        let standing = &mut self.groups[usize::from(group)];
        let name = machine_name(self.config.group(group), standing.next);
        standing.next += 1;
        let row = self.enter(name, group, offer, cx);
        cx.schedule(now, Event::Cloud(CloudEvent::Machine(row, MachineStep::Starts)));
        Ok(row)
    }

    fn allowed(&self, offer: Offer) -> Result<(), CloudError> {
        let quota = self.config.quota;
        let alive = || self.machines.iter().filter(|m| m.phase == Phase::Running);
        let most = if offer.spot { quota.spot_cpu } else { quota.cpu };
        if let Some(most) = most {
            let cpu = |kind: u16| self.config.kind(kind).capacity.cpu_milli;
            let same = alive().filter(|m| m.offer.spot == offer.spot);
            let used: i64 = same.map(|m| cpu(m.offer.kind)).sum();
            if used + cpu(offer.kind) > most {
                return Err(CloudError::Quota);
            }
        }
        let full = quota.machines.is_some_and(|most| alive().count() >= most as usize);
        if full { Err(CloudError::Quota) } else { Ok(()) }
    }

    /// Grants a group what it lacks, its zones in balance; what is not to be had is tried again.
    fn fill(&mut self, group: u16, cx: &mut Context<'_>) {
        let config = Arc::clone(&self.config);
        let spec = config.group(group);
        let Some(kind) = spec.kind else { return };
        let mut missing = None;
        let mut lacks = self.groups[usize::from(group)].desired.saturating_sub(self.alive(group));
        while lacks > 0 {
            match self.grant_in_some_zone(group, kind, spec, cx) {
                Ok(_) => lacks -= 1,
                Err(error) => {
                    missing = Some((lacks, error));
                    break;
                }
            }
        }
        let standing = &mut self.groups[usize::from(group)];
        standing.missing = missing;
        if missing.is_some() && !std::mem::replace(&mut standing.retries, true) {
            cx.after(AGAIN, Event::Cloud(CloudEvent::Group(group)));
        }
    }

    fn grant_in_some_zone(
        &mut self,
        group: u16,
        kind: u16,
        spec: &Group,
        cx: &mut Context<'_>,
    ) -> Result<u32, CloudError> {
        let count = |zone: Sym| {
            let here = |m: &&Machine| {
                m.group == group && m.phase == Phase::Running && m.offer.zone == zone
            };
            self.machines.iter().filter(here).count()
        };
        let mut zones: Vec<(usize, usize)> =
            spec.zones.iter().enumerate().map(|(i, zone)| (count(*zone), i)).collect();
        zones.sort_unstable();
        let mut why = CloudError::NoCapacity;
        for (_, i) in zones {
            let offer = Offer { kind, zone: spec.zones[i], spot: spec.spot };
            match self.grant(group, offer, cx) {
                Ok(row) => return Ok(row),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

/// The name of a group's machine of this number.
#[must_use]
pub fn machine_name(group: &Group, number: u32) -> Sym {
    Sym::new(&group.pattern.as_str().replace("{}", &number.to_string()))
}
