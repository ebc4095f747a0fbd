//! Requests to Services: the section `traffic:` of a scenario, and `cluster.proxy`.

use super::files::Files;
use super::objects::Known;
use super::place::Place;
use super::report::Report;
use super::routes::{self, Asked};
use super::target::{self, Target};
use super::value::{self, DIST_HINT, DistSpec, SPAN_HINT, Span};
use crate::api::{Kind, Name, Obj, Selector, service::Service};
use crate::cluster::spec;
use crate::engine::{Dist, SimDuration, SimTime, Sym, num};
use crate::event::traffic::Cause;
use crate::event::usage::{Course, Load};
use crate::node::proxy::{Mode, ProxyConfig};
use crate::traffic::{Clients, Lookup, Request, RowSpec, balancer::Checks, names_row};
use schemars::JsonSchema;
use serde::Deserialize;

/// Requests that clients send to a Service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Name for the report.
    pub name: String,
    /// The Service: `service/web`, or `service/NAMESPACE/web`; or `ingress/shop`, `httproute/shop`.
    pub to: String,
    /// Of an Ingress or HTTPRoute: the host that is asked for.
    #[serde(default)]
    pub host: String,
    /// Of an Ingress or HTTPRoute: the path that is asked for; `/` by default.
    pub path: Option<String>,
    /// Of an Ingress or HTTPRoute: the Service of its controller,
    /// `service/ingress-nginx/ingress-nginx-controller`. Without one, a load balancer outside of
    /// the cluster sends to the pods themselves.
    pub via: Option<String>,
    /// Who sends: `outside` (through a load balancer; the default), or a workload's pods.
    #[serde(default)]
    pub from: From,
    /// No request before this; 0 by default.
    pub start: Option<Span>,
    /// Requests per second.
    pub rate: RateSpec,
    /// What a request costs.
    #[serde(default)]
    pub request: RequestSpec,
    /// Percent of requests that should be answered in time: 99.9.
    pub objective: Option<f64>,
}

/// Who sends requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum From {
    /// `outside`.
    Word(Word),
    /// The pods of a workload, each as much as the others.
    Pods(FromPods),
    /// Clients outside, through a load balancer with these checks.
    Balancer(FromBalancer),
}

impl Default for From {
    fn default() -> Self {
        Self::Word(Word::Outside)
    }
}

/// A word.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// Clients outside of the cluster.
    Outside,
}

/// The pods of a workload.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromPods {
    /// `deployment/frontend`.
    pub workload: String,
}

/// A load balancer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromBalancer {
    /// Its health checks.
    pub load_balancer: CheckSpec,
}

/// Health checks of a load balancer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckSpec {
    /// From one check to the next; 10s by default.
    pub interval: Option<Span>,
    /// Failures in a row that take a node out; 3 by default.
    pub unhealthy_threshold: Option<u32>,
    /// Successes in a row that take it in again; 3 by default.
    pub healthy_threshold: Option<u32>,
}

/// Requests per second, over time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RateSpec {
    /// Always the same.
    Constant(f64),
    /// Changing.
    Changing(Box<Changing>),
}

/// A rate that changes; exactly one of the fields is given.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changing {
    /// From each instant on, this rate.
    pub series: Option<Vec<Point>>,
    /// From one rate to another, in steps.
    pub ramp: Option<Ramp>,
    /// A wave with a period of a day, in 96 steps.
    pub daily: Option<Daily>,
    /// Bursts above a base.
    pub bursts: Option<Bursts>,
    /// A file with the columns `time_s` and `per_second`.
    pub csv: Option<String>,
}

/// A point of a series.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Point {
    /// When, from the start of the run.
    pub at: Span,
    /// The rate from then on.
    pub per_second: f64,
}

/// A rate that goes from one level to another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ramp {
    /// At first.
    pub from: f64,
    /// In the end.
    pub to: f64,
    /// When it begins to change.
    pub start: Span,
    /// How long that takes.
    pub over: Span,
}

/// A daily wave.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Daily {
    /// On average.
    pub mean: f64,
    /// Share of the mean that it goes up and down, 0 to 1.
    pub swing: f64,
    /// The first peak.
    pub peak_at: Span,
    /// From peak to peak; 24h by default.
    pub period: Option<Span>,
}

/// Bursts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bursts {
    /// Between bursts.
    pub base: f64,
    /// In a burst.
    pub peak: f64,
    /// From one burst to the next.
    pub every: Span,
    /// How long one lasts.
    pub lasts: Span,
}

/// What a request costs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestSpec {
    /// Core-time of the pod that answers; 5ms by default.
    pub cpu: Option<Span>,
    /// Time besides, for what it waits for; 5ms by default.
    pub latency: Option<DistSpec>,
    /// Requests at work in a pod at a time; 100 by default.
    pub concurrency: Option<u32>,
    /// Requests that wait in a pod; 100 by default.
    pub queue: Option<u32>,
    /// After this the client gives up; 10s by default.
    pub timeout: Option<Span>,
}

/// kube-proxy on all nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// `iptables` (the default), `nftables`, `ipvs` or (historical) `userspace`.
    pub mode: Option<ModeName>,
    /// From the end of a sync to the begin of the next, at least; 1s by default, 0 for ipvs.
    pub min_sync_period: Option<Span>,
    /// How long a sync takes, in percent of the model; 100 by default.
    pub sync_percent: Option<u32>,
}

/// A mode of kube-proxy.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ModeName {
    /// `iptables`.
    Iptables,
    /// `nftables`.
    Nftables,
    /// `ipvs`.
    Ipvs,
    /// `userspace`.
    Userspace,
}

/// Configuration of the proxies.
pub(crate) fn proxy(from: &Proxy, at: &Place, report: &mut Report) -> ProxyConfig {
    let mode = match from.mode {
        None | Some(ModeName::Iptables) => Mode::Iptables,
        Some(ModeName::Nftables) => Mode::Nftables,
        Some(ModeName::Ipvs) => Mode::Ipvs,
        Some(ModeName::Userspace) => Mode::Userspace,
    };
    let given = span("minSyncPeriod", from.min_sync_period.as_ref(), at, report);
    let percent = from.sync_percent.unwrap_or(100);
    if !(1..=10_000).contains(&percent) {
        report.error(&at.key("syncPercent"), "is out of range", "1 to 10000");
    }
    ProxyConfig { mode, min_sync: given.unwrap_or(mode.min_sync()), percent }
}

/// Rows of traffic, and what serving them makes pods use.
pub(crate) fn rows(
    list: &[Traffic],
    known: &Known,
    until: SimTime,
    files: &mut Files,
    report: &mut Report,
) -> (Vec<RowSpec>, Vec<Load>) {
    let mut rows: Vec<RowSpec> = Vec::new();
    let mut loads: Vec<Load> = Vec::new();
    for (i, from) in list.iter().enumerate() {
        let at = Place::default().key("traffic").item(i);
        if rows.iter().any(|row| row.name.as_str() == from.name) {
            let problem = format!("a row called {:?} is there already", from.name);
            report.error(&at.key("name"), problem, "names of traffic must differ");
        }
        let Some(made) = row(from, (known, until), &at, files, report) else { continue };
        let first = num::u32_of(rows.len());
        for (mut row, selector) in made {
            row.through = row.through.map(|i| first + i);
            if loads.iter().all(|l| (l.ns, l.pods.as_ref()) != (row.ns, Some(&selector))) {
                loads.push(Load {
                    ns: row.ns,
                    pods: Some(selector),
                    container: Sym::EMPTY,
                    metric: Sym::new("cpu"),
                    shared: false,
                    course: Course::Served,
                });
            }
            rows.push(row);
        }
    }
    names(&mut rows, known);
    (rows, loads)
}

/// Clients in the cluster look the name of their Service up, if there is somebody to ask.
fn names(rows: &mut Vec<RowSpec>, known: &Known) {
    let (ns, name) = (Sym::new("kube-system"), Name::new("kube-dns"));
    let dns = Target { kind: Kind::Service, ns, name };
    if known.service(&dns).is_none() {
        return;
    }
    let next = num::u32_of(rows.len());
    let mut asked = false;
    for row in rows.iter_mut() {
        let Clients::Pods(from, _) = &row.from else { continue };
        if row.direct {
            continue;
        }
        // Of the search list, the first name is that of the client's own namespace; each name is
        // asked for in both families.
        let tried = if *from == row.ns { 1 } else { 2 };
        row.dns = Some(Lookup { row: next, queries: 2 * tried });
        asked = true;
    }
    if asked {
        rows.push(names_row(ns, name));
    }
}

/// The rows of an entry with the pods that serve each: of an Ingress with a controller, that of the
/// way to it comes last.
fn row(
    from: &Traffic,
    (known, until): (&Known, SimTime),
    at: &Place,
    files: &mut Files,
    report: &mut Report,
) -> Option<Vec<(RowSpec, Selector)>> {
    let place = at.key("to");
    let target = report.take(&place, Target::parse(&from.to), target::HINT)?;
    if ![Kind::Service, Kind::Ingress, Kind::HTTPRoute].contains(&target.kind) {
        let hint = "write service/NAME, ingress/NAME or httproute/NAME";
        report.error(&place, format!("a {} takes no requests", target.kind), hint);
        return None;
    }
    if !known.check_target(&target, &place, report) {
        return None;
    }
    let mut rate = rate(&from.rate, until, &at.key("rate"), files, report)?;
    if let Some(start) = span("start", from.start.as_ref(), at, report) {
        rate = later(&rate, SimTime(start.0));
    }
    let request = request(&from.request, &at.key("request"), report);
    if from.objective.is_some_and(|share| !(0.0..100.0).contains(&share)) {
        report.error(&at.key("objective"), "is no share", "write percent below 100, such as 99.9");
    }
    let (service, pods) = served(known, &target, &place, report)?;
    let row = RowSpec {
        name: Sym::new(&from.name),
        ns: target.ns,
        service: target.name,
        from: Clients::Outside(Checks::default()),
        rate,
        request,
        objective: from.objective.map(|percent| percent / 100.0),
        dns: None,
        direct: false,
        through: None,
        derived: false,
    };
    if target.kind == Kind::Service {
        let from = clients(from, &service, known, at, report)?;
        // Behind a headless Service there are no rules: clients are told the pods by name.
        let direct = service.headless;
        return Some(vec![(RowSpec { from, direct, ..row }, pods)]);
    }
    routed(from, (&target, row), known, at, report)
}

/// The Service of a target and its selector; of an Ingress or HTTPRoute, nothing yet.
fn served(
    known: &Known,
    target: &Target,
    at: &Place,
    report: &mut Report,
) -> Option<(Service, Selector)> {
    if target.kind != Kind::Service {
        return Some((Service::default(), Selector::default()));
    }
    let service = known.service(target)?;
    let Some(selector) = service.selector.clone() else {
        report.error(at, format!("{target} selects no pods"), "name a Service with a selector");
        return None;
    };
    Some((service, selector))
}

/// Rows of requests to an Ingress or HTTPRoute: one for each Service behind it.
fn routed(
    from: &Traffic,
    (target, row): (&Target, RowSpec),
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Vec<(RowSpec, Selector)>> {
    let asked = Asked { host: &from.host, path: from.path.as_deref().unwrap_or("/") };
    let backends = routes::backends(target, asked, known, &at.key("to"), report)?;
    let way = match &from.via {
        None => None,
        Some(via) => Some(way(from, via, known, at, report)?),
    };
    let mut rows = Vec::new();
    for (backend, weight) in &backends {
        let (_, pods) = served(known, backend, &at.key("to"), report)?;
        let one = backends.len() == 1;
        let name = if one { from.name.clone() } else { format!("{}:{}", from.name, backend.name) };
        let from = match &way {
            Some((way, senders)) => Clients::Pods(way.ns, senders.clone()),
            None => Clients::Direct,
        };
        let rate = row.rate.times(routes::share(*weight, &backends));
        let (ns, service) = (backend.ns, backend.name);
        let through = way.is_some().then(|| num::u32_of(backends.len()));
        let row = row.clone();
        let name = Sym::new(&name);
        let row = RowSpec { name, ns, service, from, rate, direct: true, through, ..row };
        rows.push((row, pods));
    }
    rows.extend(way);
    Some(rows)
}

/// The way to the controller of an Ingress or Gateway. What a proxy spends on a request is an
/// assumption: half a millisecond of a core.
fn way(
    from: &Traffic,
    via: &str,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<(RowSpec, Selector)> {
    let place = at.key("via");
    let target = report.take(&place, Target::parse(via), target::HINT)?;
    if target.kind != Kind::Service || !known.check_target(&target, &place, report) {
        report.error(
            &place,
            format!("{target} is no controller"),
            "write its service/NAMESPACE/NAME",
        );
        return None;
    }
    let (service, pods) = served(known, &target, &place, report)?;
    let clients = clients(from, &service, known, at, report)?;
    let row = RowSpec {
        name: Sym::new(&format!("{}:way", from.name)),
        ns: target.ns,
        service: target.name,
        from: clients,
        rate: Course::Constant(0),
        request: Request {
            cpu: SimDuration::from_micros(500),
            latency: Dist::Constant(SimDuration::from_micros(500)),
            concurrency: 1_000,
            queue: 1_000,
            timeout: SimDuration::from_secs(60),
        },
        objective: None,
        dns: None,
        direct: false,
        through: None,
        derived: true,
    };
    Some((row, pods))
}

fn clients(
    from: &Traffic,
    service: &Service,
    known: &Known,
    at: &Place,
    report: &mut Report,
) -> Option<Clients> {
    let place = at.key("from");
    let checks = match &from.from {
        From::Word(Word::Outside) => Checks::default(),
        From::Balancer(balancer) => {
            let (spec, place) = (&balancer.load_balancer, place.key("loadBalancer"));
            let default = Checks::default();
            let every = span("interval", spec.interval.as_ref(), &place, report);
            Checks {
                every: every.unwrap_or(default.every).max(SimDuration::from_millis(100)),
                unhealthy: spec.unhealthy_threshold.unwrap_or(default.unhealthy),
                healthy: spec.healthy_threshold.unwrap_or(default.healthy),
            }
        }
        From::Pods(pods) => {
            let place = place.key("workload");
            let target = report.take(&place, Target::parse(&pods.workload), target::HINT)?;
            if !known.check_target(&target, &place, report) {
                return None;
            }
            let Some(selector) = known.selector_of(&target) else {
                report.error(&place, format!("{target} has no pods"), "name a workload");
                return None;
            };
            return Some(Clients::Pods(target.ns, selector));
        }
    };
    if !service.node_port {
        let problem = format!("nobody outside reaches {}", from.to);
        let hint = "make its type LoadBalancer or NodePort, or write from: {workload: …}";
        report.error(&place, problem, hint);
        return None;
    }
    Some(Clients::Outside(checks))
}

fn request(from: &RequestSpec, at: &Place, report: &mut Report) -> Request {
    let default = Request::default();
    let latency: Option<Dist> = from
        .latency
        .as_ref()
        .and_then(|spec| report.take(&at.key("latency"), value::dist(spec), DIST_HINT));
    let request = Request {
        cpu: span("cpu", from.cpu.as_ref(), at, report).unwrap_or(default.cpu),
        latency: latency.unwrap_or(default.latency),
        concurrency: from.concurrency.unwrap_or(default.concurrency),
        queue: from.queue.unwrap_or(default.queue),
        timeout: span("timeout", from.timeout.as_ref(), at, report).unwrap_or(default.timeout),
    };
    for (field, n) in [("concurrency", request.concurrency), ("queue", request.queue)] {
        if n > 10_000 {
            report.error(&at.key(field), format!("{n} is out of range"), "at most 10000");
        }
    }
    if request.concurrency == 0 {
        report.error(&at.key("concurrency"), "nothing would be answered", "write 1 or more");
    }
    if request.timeout == SimDuration::ZERO {
        report.error(&at.key("timeout"), "nobody would wait", "write a span above zero");
    }
    request
}

fn span(field: &str, given: Option<&Span>, at: &Place, report: &mut Report) -> Option<SimDuration> {
    given.and_then(|text| report.take(&at.key(field), value::span(&text.0), SPAN_HINT))
}

/// The same rate, but nothing before an instant.
fn later(rate: &Course, start: SimTime) -> Course {
    let first = rate.piece(SimTime::ZERO, start).amount;
    let mut steps = vec![(start, first)];
    if let Course::Series(all) = rate {
        steps.extend(all.iter().filter(|(at, _)| *at > start));
    }
    Course::Series(steps.into())
}

/// Thousandths of a request per second.
fn milli(rate: f64, at: &Place, report: &mut Report) -> Option<i64> {
    if !(rate.is_finite() && (0.0..=1e9).contains(&rate)) {
        report.error(at, format!("{rate} is no rate"), "requests per second, from 0 to 1e9");
        return None;
    }
    Some(num::round(rate * 1000.0))
}

fn rate(
    from: &RateSpec,
    until: SimTime,
    at: &Place,
    files: &mut Files,
    report: &mut Report,
) -> Option<Course> {
    let changing = match from {
        RateSpec::Constant(rate) => return milli(*rate, at, report).map(Course::Constant),
        RateSpec::Changing(changing) => changing,
    };
    let Changing { series, ramp, daily, bursts, csv } = &**changing;
    let steps = match (series, ramp, daily, bursts, csv) {
        (Some(points), None, None, None, None) => {
            let at = at.key("series");
            let one = |(i, point): (usize, &Point)| {
                let at = at.item(i);
                let from = span("at", Some(&point.at), &at, report)?;
                Some((SimTime(from.0), milli(point.per_second, &at.key("perSecond"), report)?))
            };
            points.iter().enumerate().map(one).collect::<Option<Vec<_>>>()?
        }
        (None, Some(ramp), None, None, None) => self::ramp(ramp, &at.key("ramp"), report)?,
        (None, None, Some(daily), None, None) => {
            self::daily(daily, until, &at.key("daily"), report)?
        }
        (None, None, None, Some(bursts), None) => {
            self::bursts(bursts, until, &at.key("bursts"), report)?
        }
        (None, None, None, None, Some(file)) => self::csv(file, &at.key("csv"), files, report)?,
        _other => {
            let hint = "or write the rate itself, such as rate: 200";
            report.error(at, "needs one of series, ramp, daily, bursts and csv", hint);
            return None;
        }
    };
    if !steps.windows(2).all(|two| two[0].0 < two[1].0) {
        report.error(at, "its instants do not come one after the other", "sort them by time");
        return None;
    }
    Some(Course::Series(steps.into()))
}

type Steps = Vec<(SimTime, i64)>;

fn ramp(from: &Ramp, at: &Place, report: &mut Report) -> Option<Steps> {
    /// Steps of a ramp.
    const STEPS: u32 = 40;
    let start = SimTime(span("start", Some(&from.start), at, report)?.0);
    let over = span("over", Some(&from.over), at, report)?;
    let first = milli(from.from, &at.key("from"), report)?;
    let last = milli(from.to, &at.key("to"), report)?;
    let mut steps = Vec::new();
    if start > SimTime::ZERO {
        steps.push((SimTime::ZERO, first));
    }
    for i in 0..=STEPS {
        // Each step has the rate of its middle; the last one is the level itself.
        let share = (f64::from(i) + 0.5) / f64::from(STEPS);
        let rate =
            if i == STEPS { last } else { first + num::round(share * num::float(last - first)) };
        steps.push((start + SimDuration(over.0 / u64::from(STEPS) * u64::from(i)), rate));
    }
    Some(steps)
}

fn daily(from: &Daily, until: SimTime, at: &Place, report: &mut Report) -> Option<Steps> {
    /// Steps of a period, and of a run.
    const STEPS: u64 = 96;
    const MOST: usize = 100_000;
    let day = SimDuration::from_secs(86_400);
    let period = span("period", from.period.as_ref(), at, report).unwrap_or(day);
    let peak = span("peakAt", Some(&from.peak_at), at, report)?;
    let mean = milli(from.mean, &at.key("mean"), report)?;
    if !(0.0..=1.0).contains(&from.swing) || period < SimDuration::from_secs(96) {
        report.error(at, "is no wave", "swing from 0 to 1, and a period of at least 96s");
        return None;
    }
    let step = SimDuration(period.0 / STEPS);
    let one = |i: u64| {
        let from_peak = num::float_u(i) + 0.5 - num::float_u(peak.0) / num::float_u(step.0);
        let angle = std::f64::consts::TAU * from_peak / num::float_u(STEPS);
        let factor = 1.0 + from.swing * num::cos(angle);
        (SimTime(step.0 * i), num::round(num::float(mean) * factor))
    };
    Some((0..).map(one).take_while(|(t, _)| *t < until).take(MOST).collect())
}

fn bursts(from: &Bursts, until: SimTime, at: &Place, report: &mut Report) -> Option<Steps> {
    const MOST: usize = 100_000;
    let every = span("every", Some(&from.every), at, report)?;
    let lasts = span("lasts", Some(&from.lasts), at, report)?;
    let base = milli(from.base, &at.key("base"), report)?;
    let peak = milli(from.peak, &at.key("peak"), report)?;
    if lasts == SimDuration::ZERO || lasts >= every {
        report.error(at, "a burst ends before the next one begins", "lasts below every");
        return None;
    }
    let mut steps = vec![(SimTime::ZERO, base)];
    let mut begins = SimTime(every.0);
    while begins < until && steps.len() < MOST {
        steps.push((begins, peak));
        steps.push((begins + lasts, base));
        begins += every;
    }
    Some(steps)
}

fn csv(file: &str, at: &Place, files: &mut Files, report: &mut Report) -> Option<Steps> {
    let (label, text) = report.take_all(at, files.text(file))?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut steps = Vec::new();
    for (i, row) in reader.deserialize::<(f64, f64)>().enumerate() {
        match row {
            Ok((time, rate)) if time >= 0.0 => {
                steps.push((SimTime(SimDuration::from_secs_f64(time).0), milli(rate, at, report)?));
            }
            Ok((time, _)) => {
                let problem = format!("{label}:{}: {time} lies before the start", i + 2);
                report.error(at, problem, "times are seconds from the start of the run");
                return None;
            }
            Err(why) => {
                let problem = format!("{label}:{}: {why}", i + 2);
                report.error(at, problem, "a header line, then time_s,per_second");
                return None;
            }
        }
    }
    Some(steps)
}

/// What is expected of requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectRequests {
    /// The row of traffic, by name.
    pub traffic: String,
    /// Least percent that is answered in time: 99.9.
    pub answered: Option<f64>,
    /// 99 % of those answered are as fast.
    pub p99: Option<Span>,
    /// Only failures of this cause count for the bounds below.
    pub cause: Option<CauseName>,
    /// At least so many fail.
    pub at_least: Option<f64>,
    /// At most so many fail.
    pub at_most: Option<f64>,
}

/// Why a request fails.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CauseName {
    /// Its name was not resolved.
    NoDns,
    /// The Service has no endpoint in the rules of the client's node.
    NoEndpoints,
    /// The program does not listen.
    Refused,
    /// Nobody answers at the address.
    Unreachable,
    /// The program ended while it was at work on it.
    Reset,
    /// The pod's queue was full.
    Overloaded,
    /// The client had given up before.
    TimedOut,
}

/// An assertion about requests.
pub(crate) fn expect(
    from: &ExpectRequests,
    at: &Place,
    report: &mut Report,
) -> Option<spec::ExpectRequests> {
    let cause = from.cause.map(|name| match name {
        CauseName::NoDns => Cause::NoDns,
        CauseName::NoEndpoints => Cause::NoEndpoints,
        CauseName::Refused => Cause::Refused,
        CauseName::Unreachable => Cause::Unreachable,
        CauseName::Reset => Cause::Reset,
        CauseName::Overloaded => Cause::Overloaded,
        CauseName::TimedOut => Cause::TimedOut,
    });
    if from.answered.is_some_and(|share| !(0.0..=100.0).contains(&share)) {
        report.error(&at.key("answered"), "is no share", "write percent, such as 99.9");
    }
    let p99 = span("p99", from.p99.as_ref(), at, report);
    if [from.answered, from.at_least, from.at_most].iter().all(Option::is_none) && p99.is_none() {
        report.error(at, "bounds nothing", "give answered, p99, atLeast or atMost");
        return None;
    }
    Some(spec::ExpectRequests {
        traffic: Sym::new(&from.traffic),
        answered: from.answered.map(|percent| percent / 100.0),
        p99,
        cause,
        at_least: from.at_least.unwrap_or(0.0),
        at_most: from.at_most,
    })
}

/// A Service of the objects, read.
pub(crate) fn read(object: &Obj) -> Option<Service> {
    if let Obj::Generic(Kind::Service, doc) = object { Some(Service::of(doc)) } else { None }
}
