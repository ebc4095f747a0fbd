//! kube-proxy on every node: when a change of a Service or of its endpoints has come into the rules
//! of a node's kernel, and so what a client on that node is sent to until then.
//!
//! All proxies read the same stream, so what they know is a position in one log: a proxy costs some
//! bytes however many rules its node has. Proxies of nodes that somebody sends through are events
//! (a sync begins, its rules are in force); all others are caught up with when somebody asks.
//! Sources: behaviour reference §4.15; `proxy/runner/bounded_frequency_runner.go` (1.35: the pause
//! lies between the end of a sync and the begin of the next); the times of a sync are those of
//! kubernetes/kubernetes#138073 and #34006.

use crate::api::meta::Uid;
use crate::api::object::Obj;
use crate::api::service::{Endpoint, EndpointSlice, SERVICE_NAME, Service};
use crate::api::versions::Change;
use crate::api::{Kind, Name};
use crate::engine::digest::mix;
use crate::engine::{SimDuration, SimTime, Sym, num};
use crate::event::traffic::Latencies;
use crate::event::{Context, Event, ProxyEvent};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How rules are kept (`mode` of a `KubeProxyConfiguration`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The default on Linux.
    #[default]
    Iptables,
    /// Deprecated in 1.35.
    Ipvs,
    /// Stable since 1.33.
    Nftables,
    /// Removed in 1.26: kube-proxy itself accepts connections.
    Userspace,
}

impl Mode {
    /// The default of `minSyncPeriod`: 1 s, and none for ipvs.
    #[must_use]
    pub const fn min_sync(self) -> SimDuration {
        match self {
            Self::Iptables | Self::Nftables | Self::Userspace => SimDuration::from_secs(1),
            Self::Ipvs => SimDuration::ZERO,
        }
    }
}

/// Configuration of all proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyConfig {
    /// How rules are kept.
    pub mode: Mode,
    /// From the end of a sync to the begin of the next, at least.
    pub min_sync: SimDuration,
    /// Each sync takes so many percent of what the model says.
    pub percent: u32,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        let mode = Mode::default();
        Self { mode, min_sync: mode.min_sync(), percent: 100 }
    }
}

/// A sync of few rules: the calls of iptables themselves (61 ms with 15 endpoints in #34006).
const SYNC: SimDuration = SimDuration::from_millis(60);
/// Going through one endpoint in memory (1.29 s for 138,792 endpoints in #138073).
const WALK_NS: u64 = 9_300;
/// Writing one rule by `iptables-restore` (1.52 s for 38,841 rules in #138073).
const RULE_NS: u64 = 39_000;

/// What a sync has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Ports of all Services that have an address.
    pub ports: u64,
    /// Their endpoints, counted for each port.
    pub endpoints: u64,
    /// Ports of the Services that have changed.
    pub changed_ports: u64,
    /// Their endpoints.
    pub changed_endpoints: u64,
}

impl Work {
    /// Rules that are written: the jump of every port each time, and the chains of the ports that
    /// have changed (for n endpoints: one of masquerade, n of choice, two for each endpoint).
    #[must_use]
    pub const fn rules(&self) -> u64 {
        self.ports + self.changed_ports + 3 * self.changed_endpoints
    }

    /// How long a sync takes. iptables is measured; the others write only what has changed, at the
    /// price of a rule (no measurement is known to us: see ACCURACY.md).
    #[must_use]
    pub fn span(&self, mode: Mode) -> SimDuration {
        let walk = WALK_NS * self.endpoints;
        let write = match mode {
            Mode::Iptables => RULE_NS * self.rules(),
            Mode::Nftables | Mode::Ipvs => RULE_NS * (self.changed_ports + self.changed_endpoints),
            Mode::Userspace => RULE_NS * 2 * self.changed_ports,
        };
        SYNC + SimDuration(walk + write)
    }
}

/// A change that proxies have been told of.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// When it was committed, and when it reached the proxies.
    times: [SimTime; 2],
    service: u32,
    /// Ports and endpoints of that Service, and of all of them.
    own: [u32; 2],
    all: [u64; 2],
}

/// The proxy of one node.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a process")]
#[derive(Debug, Clone, Copy, Default)]
struct Proxy {
    /// Changes below this one are in force.
    cursor: u64,
    /// Those below this one will be, once the sync under way is over.
    seen: u64,
    /// When the last sync was over.
    last: SimTime,
    syncs: u32,
    /// Of the event that counts.
    number: u32,
    /// A sync is under way, or one is to begin.
    armed: bool,
    runs: bool,
    /// No change reaches it.
    cut: bool,
    /// Its node has no rules yet.
    bare: bool,
    /// Somebody sends through it.
    used: bool,
}

/// What proxies know of a Service.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The Service; none before it is seen, or after it has gone.
    pub service: Option<Arc<Service>>,
    slices: Vec<(Name, Arc<[Endpoint]>)>,
    /// Its endpoints from a position of the log on; of Services that nobody sends to, none.
    versions: VecDeque<(u64, Arc<View>)>,
    watched: bool,
    counted: [u32; 2],
}

/// Endpoints as a proxy has them in its rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Since which position of the log: two views of one Service differ in it.
    pub at: u64,
    /// The Service as it was.
    pub service: Option<Arc<Service>>,
    /// Endpoints, those of all slices, each pod once.
    pub endpoints: Vec<Endpoint>,
}

/// All proxies of a cluster.
#[derive(Debug, Clone)]
pub struct Proxies {
    config: ProxyConfig,
    proxies: Vec<Proxy>,
    names: Vec<u64>,
    services: Vec<Known>,
    by_name: FxHashMap<(Sym, Name), u32>,
    /// Those that somebody sends to.
    watched: Vec<u32>,
    /// Proxies that somebody sends through, and that have nothing to do.
    idle: BTreeSet<u32>,
    log: VecDeque<Entry>,
    /// The log is looked through again at this length.
    full: usize,
    /// Position of the first entry of the log.
    base: u64,
    all: [u64; 2],
    /// From a commit to the rules of a node, each change on each node.
    pub programmed: Latencies,
}

/// So many entries are kept before proxies that nobody uses are caught up with.
const KEEP: usize = 4096;

impl Proxies {
    /// Proxies of nodes with these names, none of which knows of any Service.
    #[must_use]
    pub fn new(config: ProxyConfig, nodes: impl Iterator<Item = Sym>) -> Self {
        let names: Vec<u64> = nodes.map(Sym::stable_hash).collect();
        let proxy = Proxy { runs: true, ..Proxy::default() };
        Self {
            config,
            proxies: vec![proxy; names.len()],
            names,
            services: Vec::new(),
            by_name: FxHashMap::default(),
            watched: Vec::new(),
            idle: BTreeSet::new(),
            log: VecDeque::new(),
            full: KEEP,
            base: 0,
            all: [0, 0],
            programmed: Latencies::default(),
        }
    }

    /// A node more, whose kube-proxy does not run yet.
    pub fn add_node(&mut self, name: Sym) {
        self.proxies.push(Proxy::default());
        self.names.push(name.stable_hash());
    }

    /// The row of a Service, whether it is there or not.
    pub fn service(&mut self, ns: Sym, name: Name) -> u32 {
        let next = num::u32_of(self.services.len());
        let row = *self.by_name.entry((ns, name)).or_insert(next);
        if row == next {
            self.services.push(Known::default());
        }
        row
    }

    /// Somebody sends to this Service: its endpoints are kept, as each node has them.
    pub fn watch_service(&mut self, row: u32) {
        let known = &mut self.services[row as usize];
        if !std::mem::replace(&mut known.watched, true) {
            self.watched.push(row);
        }
    }

    /// Somebody sends through the proxy of this node.
    pub fn use_node(&mut self, node: u32, cx: &mut Context<'_>) {
        if !self.proxies[node as usize].used {
            self.catch_up(node, cx);
            self.proxies[node as usize].used = true;
            self.arm(node, cx);
        }
    }

    /// The end of the log.
    fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    /// A Service or slice has changed, as the proxies are told; gives the Service.
    pub fn on_change(&mut self, change: &Change, cx: &mut Context<'_>) -> Option<u32> {
        let row = if let Obj::Generic(Kind::Service, o) = &change.value {
            let row = self.service(o.meta.ns, o.meta.name);
            let service = (!change.deleted).then(|| Arc::new(Service::of(o)));
            self.services[row as usize].service = service;
            Some(row)
        } else if let Obj::EndpointSlice(slice) = &change.value {
            self.on_slice(slice, change.deleted)
        } else {
            None
        };
        if let Some(row) = row {
            self.note(row, change.time, cx);
        }
        row
    }

    fn on_slice(&mut self, slice: &EndpointSlice, deleted: bool) -> Option<u32> {
        let label = slice.meta.labels.get(SERVICE_NAME.into())?;
        let row = self.service(slice.meta.ns, Name::new(label.as_str()));
        let known = &mut self.services[row as usize];
        let at = known.slices.iter().position(|(name, _)| *name == slice.meta.name);
        match (at, deleted) {
            (Some(at), true) => drop(known.slices.remove(at)),
            (Some(at), false) => known.slices[at].1 = Arc::clone(&slice.endpoints),
            (None, true) => {}
            (None, false) => known.slices.push((slice.meta.name, Arc::clone(&slice.endpoints))),
        }
        Some(row)
    }

    /// Writes down what a Service has become.
    fn note(&mut self, row: u32, committed: SimTime, cx: &mut Context<'_>) {
        let at = self.end();
        let known = &mut self.services[row as usize];
        let ports = known.service.as_ref().map_or(0, |s| {
            if s.headless || s.external_name { 0 } else { num::u32_of(s.ports.len()) }
        });
        let endpoints: usize = known.slices.iter().map(|(_, s)| s.len()).sum();
        let own = [ports, ports * num::u32_of(endpoints)];
        for (all, (new, old)) in self.all.iter_mut().zip(own.iter().zip(known.counted)) {
            *all = *all + u64::from(*new) - u64::from(old);
        }
        known.counted = own;
        if known.watched {
            let view = known.view(at);
            known.versions.push_back((at, Arc::new(view)));
        }
        let times = [committed, cx.now()];
        self.log.push_back(Entry { times, service: row, own, all: self.all });
        for node in std::mem::take(&mut self.idle) {
            self.arm(node, cx);
        }
        if self.log.len() > self.full {
            self.forget(cx);
            // A proxy that is cut off holds it up.
            self.full = KEEP.max(2 * self.log.len());
        }
    }

    /// Drops what every proxy has in force.
    fn forget(&mut self, cx: &Context<'_>) {
        self.settle(cx);
        let least = self.proxies.iter().filter(|p| p.runs).map(|p| p.cursor).min();
        let least = least.unwrap_or_else(|| self.end()).min(self.end());
        while self.base < least {
            self.log.pop_front();
            self.base += 1;
        }
        for &row in &self.watched {
            let known = &mut self.services[row as usize];
            while known.versions.get(1).is_some_and(|(at, _)| *at < least) {
                known.versions.pop_front();
            }
        }
    }

    /// All proxies that nobody uses are brought to the present.
    pub fn settle(&mut self, cx: &Context<'_>) {
        for node in 0..num::u32_of(self.proxies.len()) {
            if !self.proxies[node as usize].used {
                self.catch_up(node, cx);
            }
        }
    }

    /// When the next sync of a proxy begins, by what it has been told so far.
    fn begins(&self, proxy: &Proxy) -> Option<SimTime> {
        if !proxy.runs || proxy.cut {
            return None;
        }
        let told = match self.log.get(num::index(proxy.cursor.checked_sub(self.base)?)) {
            Some(entry) => entry.times[1],
            None if proxy.bare => proxy.last,
            None => return None,
        };
        Some(told.max(proxy.last + self.config.min_sync))
    }

    /// What a sync that begins at an instant takes up, and how long it takes.
    fn sync(&self, node: u32, start: SimTime, cx: &Context<'_>) -> (u64, SimDuration) {
        let proxy = &self.proxies[node as usize];
        let from = num::index(proxy.cursor - self.base);
        let until = self.log.partition_point(|e| e.times[1] <= start).max(from);
        let last = until.checked_sub(1).and_then(|i| self.log.get(i));
        let all = last.map_or(self.all, |e| e.all);
        let mut work = Work { ports: all[0], endpoints: all[1], ..Work::default() };
        if proxy.bare {
            (work.changed_ports, work.changed_endpoints) = (all[0], all[1]);
        } else {
            let mut seen = BTreeMap::new();
            for entry in self.log.range(from..until) {
                seen.insert(entry.service, entry.own);
            }
            for own in seen.values() {
                work.changed_ports += u64::from(own[0]);
                work.changed_endpoints += u64::from(own[1]);
            }
        }
        // No two machines are equally busy: a tenth more or less (an assumption of ours).
        let draw = mix(mix(cx.draws().seed(), self.names[node as usize]), u64::from(proxy.syncs));
        let percent = u64::from(self.config.percent) * (90 + draw % 21) / 100;
        let span = SimDuration(work.span(self.config.mode).times(percent).0 / 100);
        (self.base + until as u64, span)
    }

    /// A proxy that nobody uses does what it would have done until now.
    fn catch_up(&mut self, node: u32, cx: &Context<'_>) {
        loop {
            let proxy = &self.proxies[node as usize];
            let Some(start) = self.begins(proxy).filter(|t| *t <= cx.now()) else { return };
            let (seen, span) = self.sync(node, start, cx);
            if start + span > cx.now() {
                return;
            }
            self.done(node, seen, start + span);
        }
    }

    /// The rules up to a position are in force.
    fn done(&mut self, node: u32, seen: u64, at: SimTime) {
        let proxy = &mut self.proxies[node as usize];
        let from = proxy.cursor;
        let told = !proxy.bare;
        proxy.cursor = seen;
        proxy.seen = seen;
        proxy.last = at;
        proxy.bare = false;
        proxy.syncs += 1;
        // What a proxy that starts finds there has been in force elsewhere for long.
        for position in from..if told { seen } else { from } {
            if let Some(entry) = self.log.get(num::index(position - self.base)) {
                self.programmed.add(at.since(entry.times[0]).secs_f64(), 1.0);
            }
        }
    }

    /// Arms the next sync of a proxy that is used.
    fn arm(&mut self, node: u32, cx: &mut Context<'_>) {
        let proxy = self.proxies[node as usize];
        if proxy.armed {
            return;
        }
        let Some(start) = self.begins(&proxy) else {
            self.idle.insert(node);
            return;
        };
        self.idle.remove(&node);
        let proxy = &mut self.proxies[node as usize];
        proxy.armed = true;
        proxy.number = proxy.number.wrapping_add(1);
        let event = ProxyEvent::Sync { node, number: proxy.number };
        cx.schedule(start.max(cx.now()), Event::Proxy(event));
    }

    /// A sync begins, or its rules are in force: then gives the Services that have changed.
    pub fn handle(&mut self, event: ProxyEvent, cx: &mut Context<'_>) -> Vec<u32> {
        let (ProxyEvent::Sync { node, number } | ProxyEvent::Synced { node, number }) = event;
        if self.proxies[node as usize].number != number {
            return Vec::new();
        }
        if matches!(event, ProxyEvent::Sync { .. }) {
            let (seen, span) = self.sync(node, cx.now(), cx);
            self.proxies[node as usize].seen = seen;
            cx.after(span, Event::Proxy(ProxyEvent::Synced { node, number }));
            return Vec::new();
        }
        let proxy = self.proxies[node as usize];
        let mut changed: Vec<u32> = if proxy.bare {
            (0..num::u32_of(self.services.len())).collect()
        } else {
            let range = num::index(proxy.cursor - self.base)..num::index(proxy.seen - self.base);
            self.log.range(range).map(|e| e.service).collect()
        };
        changed.sort_unstable();
        changed.dedup();
        self.done(node, proxy.seen, cx.now());
        self.proxies[node as usize].armed = false;
        self.arm(node, cx);
        changed
    }

    /// The machine is down: its rules are gone with it.
    pub fn down(&mut self, node: u32, cx: &Context<'_>) {
        self.catch_up(node, cx);
        let proxy = &mut self.proxies[node as usize];
        (proxy.runs, proxy.armed) = (false, false);
        proxy.number = proxy.number.wrapping_add(1);
    }

    /// kube-proxy starts on it again: it lists, and writes all rules.
    pub fn up(&mut self, node: u32, cx: &mut Context<'_>) {
        let end = self.end();
        let proxy = &mut self.proxies[node as usize];
        if proxy.runs {
            return;
        }
        (proxy.runs, proxy.bare, proxy.cursor, proxy.seen) = (true, true, end, end);
        proxy.last = SimTime(cx.now().0.saturating_sub(self.config.min_sync.0));
        if proxy.used {
            self.arm(node, cx);
        }
    }

    /// No change reaches a proxy any more, or all do again.
    pub fn cut(&mut self, node: u32, off: bool, cx: &mut Context<'_>) {
        self.catch_up(node, cx);
        let proxy = &mut self.proxies[node as usize];
        let back = std::mem::replace(&mut proxy.cut, off) && !off;
        if back {
            // What it was told while it was cut off comes to it now.
            let begins = SimTime(cx.now().0.saturating_sub(self.config.min_sync.0));
            proxy.last = proxy.last.max(begins);
        }
        if back && proxy.used {
            self.arm(node, cx);
        }
    }

    /// What the rules of a node say of a Service that somebody sends to; none while it has none.
    #[must_use]
    pub fn view(&self, node: u32, service: u32) -> Option<&Arc<View>> {
        let proxy = &self.proxies[node as usize];
        if !proxy.runs || proxy.bare {
            return None;
        }
        let versions = &self.services[service as usize].versions;
        let newer = versions.partition_point(|(at, _)| *at < proxy.cursor);
        Some(&versions.get(newer.checked_sub(1)?)?.1)
    }

    /// The endpoints of a Service that somebody sends to, as all have been told last.
    #[must_use]
    pub fn latest(&self, service: u32) -> Option<&Arc<View>> {
        Some(&self.services[service as usize].versions.back()?.1)
    }

    /// Rules of Services on each node at present: ports and endpoints.
    #[must_use]
    pub const fn rules(&self) -> [u64; 2] {
        self.all
    }

    /// What the first packet of a connection waits for while rules are looked through, seconds: one
    /// after the other in iptables, 20 ns each and on average half of the ports; one look in a
    /// table in the other modes.
    #[must_use]
    pub fn lookup_s(&self) -> f64 {
        match self.config.mode {
            Mode::Iptables => num::float_u(self.all[0]) * 0.5 * 20e-9,
            Mode::Ipvs | Mode::Nftables => 1e-6,
            Mode::Userspace => 200e-6,
        }
    }
}

impl Known {
    fn view(&self, at: u64) -> View {
        let mut seen: FxHashSet<Uid> = FxHashSet::default();
        let all = self.slices.iter().flat_map(|(_, slice)| slice.iter());
        let endpoints = all.filter(|e| seen.insert(e.uid)).copied().collect();
        View { at, service: self.service.clone(), endpoints }
    }
}

/// The kinds that proxies watch.
pub const WATCHES: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_takes_as_long_as_was_measured() {
        // kubernetes/kubernetes#138073: 2.84 s with 138,792 endpoints and 38,841 rules written.
        let work = Work { endpoints: 138_792, changed_endpoints: 12_947, ..Work::default() };
        assert_eq!(work.rules(), 38_841);
        let span = work.span(Mode::Iptables).secs_f64();
        assert!((span - 2.84).abs() < 0.06, "{span}");
        // #34006: 61 ms with 15 endpoints.
        let few = Work { ports: 5, endpoints: 15, changed_ports: 5, changed_endpoints: 15 };
        assert!((few.span(Mode::Iptables).secs_f64() - 0.061).abs() < 0.003);
    }

    #[test]
    fn only_iptables_writes_every_port_each_time() {
        let work =
            Work { ports: 10_000, endpoints: 100_000, changed_ports: 1, changed_endpoints: 10 };
        let [iptables, nftables, ipvs] =
            [Mode::Iptables, Mode::Nftables, Mode::Ipvs].map(|mode| work.span(mode));
        assert!(iptables > nftables && nftables == ipvs);
        assert_eq!(iptables.0 - nftables.0, RULE_NS * (10_031 - 11));
        assert_eq!(Mode::Ipvs.min_sync(), SimDuration::ZERO);
        assert_eq!(Mode::Nftables.min_sync(), SimDuration::from_secs(1));
    }
}
