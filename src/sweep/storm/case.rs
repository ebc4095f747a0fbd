//! What a storm consists of, drawn from one number: a cluster, workloads, what users do to them,
//! and faults that all end. Swarm testing: each case has only some of the features, so that none
//! hides behind another. A case is written out as a scenario file, and shrinks by leaving out.

use crate::engine::{Draws, Purpose, num};
use serde_json::{Map, Value, json};

/// A group of equal nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Number of nodes.
    pub count: u32,
    /// Zone.
    pub zone: &'static str,
    /// Cores of each.
    pub cpu: u32,
    /// Memory of each, GiB.
    pub memory_gi: u32,
}

/// What a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Rolls with surge and unavailability in percent.
    Deployment {
        /// `maxSurge`, percent.
        surge: u32,
        /// `maxUnavailable`, percent.
        unavailable: u32,
    },
    /// In order, or all at once.
    StatefulSet {
        /// `podManagementPolicy: Parallel`.
        parallel: bool,
        /// Each member has a disk of its own, in the zone where it first ran.
        disks: bool,
    },
    /// On every node.
    DaemonSet,
    /// Runs to completion.
    Job {
        /// Pods at a time.
        parallelism: u32,
        /// Seconds each runs.
        runs_s: u32,
        /// Exit code of each.
        exit_code: u32,
    },
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Its number: names derive from it.
    pub id: u32,
    /// What it is.
    pub shape: Shape,
    /// Replicas (completions of a Job).
    pub replicas: u32,
    /// Requested cpu, milli-cores.
    pub cpu_milli: u32,
    /// Requested memory, MiB.
    pub memory_mi: u32,
    /// Never two on a host.
    pub apart: bool,
    /// Spread over zones: 0 no, 1 if possible, 2 in any case.
    pub spread: u32,
    /// `maxUnavailable` of a budget, if it has one.
    pub budget: Option<u32>,
    /// Has a Service.
    pub service: bool,
    /// Seconds that evictions by taint wait, if not the default.
    pub tolerates_s: Option<u32>,
    /// Priority, by class.
    pub priority: u32,
    /// Seconds until a container is ready.
    pub ready_s: u32,
}

/// Something a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Scale a workload.
    Scale(u32, u32),
    /// Give a workload another image.
    Roll(u32),
    /// Delete a workload.
    Delete(u32),
    /// Delete some pod of a workload.
    Kill(u32),
    /// Drain a node (of a pool, by number), and let it take pods again after so many seconds.
    Drain(usize, u32, u32),
    /// Cordon it for so many seconds.
    Cordon(usize, u32, u32),
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Some nodes lose power.
    Crash(u32),
    /// A zone does.
    Zone(&'static str),
    /// Kubelets stop.
    KubeletStop(u32),
    /// Kubelets lose their watches.
    KubeletWatch(u32),
    /// A component starts anew.
    Restart(&'static str),
    /// A component loses its watches.
    WatchLoss(&'static str),
    /// Machines are told to shut down.
    Shutdown(u32),
    /// Kubelets crash.
    KubeletCrash(u32),
    /// No image registry answers.
    Registry,
    /// A process of the control plane: what happens to it, which, and on which of its nodes (none
    /// for the leader).
    Process(&'static str, &'static str, Option<u32>),
    /// An etcd member's disk is slow.
    SlowDisk(u32),
    /// A node of the control plane loses power.
    Plane(u32),
    /// Nothing passes between some nodes and the control plane, or one way.
    Cut(u32, bool),
    /// Nothing passes between a zone and all else, or one way.
    Island(&'static str, bool),
    /// Nothing passes between a node of the control plane and all else.
    LonePlane(u32),
    /// Some machines stand still.
    Freeze(u32),
    /// A node of the control plane stands still.
    FreezePlane(u32),
    /// What some nodes say and are told is late: by so many milliseconds on average.
    Late(u32, u32),
    /// Some nodes are slow.
    Slow(u32),
    /// The provider takes some machines, and has others.
    Interrupt(u32),
    /// All lose power together: the control plane alone, or the whole cluster.
    Blackout(bool),
    /// Machines fail by chance: seconds between two failures of one, and seconds of a repair.
    Outages(u32, u32),
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The number it was drawn from; also the seed of its run.
    pub seed: u64,
    /// Nodes of the control plane; 0 for one that runs nowhere.
    pub planes: u32,
    /// Nodes.
    pub pools: Vec<Pool>,
    /// Workloads.
    pub works: Vec<Work>,
    /// What users do, and when (seconds).
    pub deeds: Vec<(u32, Deed)>,
    /// What breaks: when and for how long (seconds).
    pub harms: Vec<(u32, u32, Harm)>,
    /// How long changes take to reach clients, milliseconds.
    pub lag_ms: u32,
    /// Requests per second of each client.
    pub qps: u32,
}

/// Zones that a cluster may have.
const ZONES: [&str; 3] = ["a", "b", "c"];
/// Until when things happen, seconds; whatever breaks is whole again by then.
pub const CALM_S: u32 = 1800;

/// Throws of one case: each has a name and a number, so that a case is a function of its seed.
struct Dice {
    draws: Draws,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.thrown += 1;
        let mut draw = self.draws.draw(0, Purpose("storm"), self.thrown);
        num::u32_of(num::index(draw.below(u64::from(n))))
    }

    fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(num::u32_of(all.len())) as usize]
    }
}

impl Case {
    /// The case of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice { draws: Draws::new(seed), thrown: 0 };
        // Features are on or off for the whole case.
        let zones = dice.between(1, 3);
        let pools: Vec<Pool> = (0..zones)
            .map(|z| Pool {
                count: dice.between(1, 6),
                zone: ZONES[z as usize],
                cpu: dice.of(&[2, 4, 8, 16]),
                memory_gi: dice.of(&[4, 8, 32]),
            })
            .collect();
        let features: Vec<bool> = (0..8).map(|_| dice.one_in(2)).collect();
        let works: Vec<Work> =
            (0..dice.between(1, 6)).map(|id| work(id, &features, &mut dice)).collect();
        let mut deeds: Vec<(u32, Deed)> = Vec::new();
        for _ in 0..dice.below(8) {
            deed(&pools, &works, &mut deeds, &mut dice);
        }
        deeds.sort_by_key(|(at, _)| *at);
        let planes = dice.of(&[0, 0, 0, 1, 3, 3]);
        let harms: Vec<_> = (0..dice.below(7)).map(|_| harm(&pools, planes, &mut dice)).collect();
        let lag_ms = dice.of(&[0, 1, 10, 200, 3000]);
        let qps = dice.of(&[5, 20, 1000]);
        let mut harms = harms;
        // Thrown last: the rest of a seed's case stays what it was.
        for _ in 0..dice.of(&[0, 0, 1, 1, 2, 4]) {
            harms.push(trouble(&pools, planes, &mut dice));
        }
        let mut works = works;
        for work in &mut works {
            if let Shape::StatefulSet { disks, .. } = &mut work.shape {
                *disks = dice.one_in(2);
            }
        }
        Self { seed, planes, pools, works, deeds, harms, lag_ms, qps }
    }

    /// The case as a scenario file.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut objects: Vec<Value> = (1..=3).map(priority_class).collect();
        let disks = |w: &Work| matches!(w.shape, Shape::StatefulSet { disks: true, .. });
        if self.works.iter().any(disks) {
            objects.push(json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": "disks"}, "provisioner": "disk.example.com",
                "volumeBindingMode": "WaitForFirstConsumer",
            }));
        }
        for work in &self.works {
            objects.extend(work.objects());
        }
        let limit = json!({"qps": self.qps, "burst": self.qps + self.qps / 2});
        let mut scenario = json!({
            "apiVersion": "wavetank.dev/v1",
            "kind": "Scenario",
            "metadata": {"name": format!("storm-{}", self.seed)},
            "seed": self.seed,
            "until": format!("{}s", CALM_S + super::converge::PATIENCE_S),
            "cluster": {
                "nodes": self.pools.iter().enumerate().map(|(i, p)| json!({
                    "name": pool_name(i), "count": p.count, "zone": p.zone, "cpu": p.cpu,
                    "memory": format!("{}Gi", p.memory_gi), "boot": {"uniform": ["10s", "60s"]},
                })).collect::<Vec<_>>(),
                "latencies": {"watch": format!("{}ms", self.lag_ms)},
                "limits": {"controllers": limit, "scheduler": limit},
            },
            "objects": objects,
            "workload": self.steps(),
            "faults": self.harms.iter().enumerate().filter_map(harm_value).collect::<Vec<_>>(),
            "outages": self.harms.iter().enumerate().filter_map(outages).collect::<Vec<_>>(),
        });
        let traffic: Vec<Value> = self.works.iter().filter_map(|w| self.traffic(w)).collect();
        if !traffic.is_empty() {
            scenario["traffic"] = traffic.into();
            // Nobody scales by what is scraped.
            scenario["cluster"]["metricsResolution"] = "10m".into();
        }
        if self.planes > 0 {
            let plane = json!({"nodes": self.planes, "name": "cp"});
            scenario["cluster"]["controlPlane"] = plane;
        }
        let text = serde_yaml::to_string(&scenario).unwrap_or_default();
        format!("# A storm, made by `wavetank fuzz --seed {}`.\n{text}", self.seed)
    }

    /// Requests to every other Service: of some from outside, of others from the pods of a
    /// workload.
    fn traffic(&self, work: &Work) -> Option<Value> {
        let sent = work.service && (self.seed + u64::from(work.id)).is_multiple_of(2);
        let other = |w: &&Work| w.id != work.id && !matches!(w.shape, Shape::Job { .. });
        let from = match self.works.iter().find(other).filter(|_| !work.id.is_multiple_of(3)) {
            Some(sender) => json!({"workload": sender.target()}),
            None => "outside".into(),
        };
        sent.then(|| {
            json!({
                "name": format!("t{}", work.id), "to": format!("service/w{}", work.id),
                "from": from, "rate": 50,
            })
        })
    }

    fn steps(&self) -> Vec<Value> {
        let mut all: Vec<(u32, Value)> =
            self.deeds.iter().flat_map(|(at, deed)| deed.steps(*at, self)).collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, step)| step).collect()
    }

    /// Smaller cases of the same kind, the smallest first.
    #[must_use]
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for half in halves(&self.harms) {
            all.push(Self { harms: half, ..self.clone() });
        }
        if self.planes > 0 {
            let of_plane = |h: &Harm| {
                matches!(
                    h,
                    Harm::Process(..)
                        | Harm::SlowDisk(_)
                        | Harm::Plane(_)
                        | Harm::LonePlane(_)
                        | Harm::FreezePlane(_)
                        | Harm::Blackout(_)
                )
            };
            let mut none = Self { planes: 0, ..self.clone() };
            none.harms.retain(|(_, _, h)| !of_plane(h));
            all.push(none);
        }
        for half in halves(&self.deeds) {
            all.push(Self { deeds: half, ..self.clone() });
        }
        for half in halves(&self.works) {
            all.push(Self { works: half, ..self.clone() }.without_orphans());
        }
        for (i, pool) in self.pools.iter().enumerate().filter(|(_, p)| p.count > 1) {
            let mut fewer = self.clone();
            fewer.pools[i].count = pool.count / 2;
            all.push(fewer.without_orphans());
        }
        if self.pools.len() > 1 {
            let pools = self.pools[..self.pools.len() - 1].to_vec();
            all.push(Self { pools, ..self.clone() }.without_orphans());
        }
        for (i, work) in self.works.iter().enumerate().filter(|(_, w)| w.replicas > 1) {
            let mut fewer = self.clone();
            fewer.works[i].replicas = work.replicas / 2;
            all.push(fewer);
        }
        all
    }

    /// Drops deeds and faults about what is no longer there.
    fn without_orphans(mut self) -> Self {
        let (works, pools) = (&self.works, &self.pools);
        let work = |id: u32| works.iter().any(|w| w.id == id);
        let node = |p: usize, n: u32| pools.get(p).is_some_and(|pool| n < pool.count);
        self.deeds.retain(|(_, deed)| match *deed {
            Deed::Scale(id, _) | Deed::Roll(id) | Deed::Delete(id) | Deed::Kill(id) => work(id),
            Deed::Drain(p, n, _) | Deed::Cordon(p, n, _) => node(p, n),
        });
        let total: u32 = pools.iter().map(|p| p.count).sum();
        self.harms.retain(|(_, _, harm)| match *harm {
            Harm::Zone(zone) | Harm::Island(zone, _) => pools.iter().any(|p| p.zone == zone),
            Harm::Crash(n)
            | Harm::Shutdown(n)
            | Harm::KubeletStop(n)
            | Harm::KubeletCrash(n)
            | Harm::Cut(n, _)
            | Harm::Freeze(n)
            | Harm::Late(n, _)
            | Harm::Slow(n)
            | Harm::Interrupt(n)
            | Harm::KubeletWatch(n) => n <= total,
            Harm::Restart(_)
            | Harm::WatchLoss(_)
            | Harm::Registry
            | Harm::Process(..)
            | Harm::SlowDisk(_)
            | Harm::LonePlane(_)
            | Harm::FreezePlane(_)
            | Harm::Blackout(_)
            | Harm::Outages(..)
            | Harm::Plane(_) => true,
        });
        self
    }
}

/// A list without its first half, without its second, and without each of few.
fn halves<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    let n = list.len();
    if n == 0 {
        return Vec::new();
    }
    let mut all = vec![Vec::new(), list[n / 2..].to_vec(), list[..n / 2].to_vec()];
    for i in 0..n.min(8) {
        let mut rest = list.to_vec();
        rest.remove(i);
        all.push(rest);
    }
    all.retain(|half| half.len() < n);
    all.dedup_by_key(|half| half.len() * 2 + usize::from(half.is_empty()));
    all
}

fn plane_name(host: u32) -> String {
    format!("cp-{host}")
}

fn pool_name(pool: usize) -> String {
    format!("pool-{pool}")
}

/// The name that a pool gives to one of its nodes.
fn node_name(pool: usize, node: u32) -> String {
    format!("{}-{node}", pool_name(pool))
}

fn work(id: u32, on: &[bool], dice: &mut Dice) -> Work {
    let shape = match dice.below(8) {
        0 | 1 => Shape::StatefulSet { parallel: dice.one_in(2), disks: false },
        2 => Shape::DaemonSet,
        3 => Shape::Job {
            parallelism: dice.between(1, 5),
            runs_s: dice.between(1, 200),
            exit_code: 0,
        },
        _most => {
            Shape::Deployment { surge: dice.of(&[0, 25, 100]), unavailable: dice.of(&[1, 25, 50]) }
        }
    };
    let deployment = matches!(shape, Shape::Deployment { .. });
    let replicas = dice.between(0, 12).max(u32::from(!deployment));
    Work {
        id,
        shape,
        replicas,
        cpu_milli: dice.of(&[10, 100, 500, 1500]),
        memory_mi: dice.of(&[16, 128, 1024]),
        apart: on[0] && dice.one_in(3) && !matches!(shape, Shape::Job { .. }),
        spread: if on[1] { dice.below(3) } else { 0 },
        budget: (on[2] && dice.one_in(2)).then(|| dice.between(1, 3)),
        service: on[3] && dice.one_in(2),
        tolerates_s: (on[4] && dice.one_in(2)).then(|| dice.of(&[0, 5, 60])),
        priority: if on[5] { dice.below(4) } else { 0 },
        ready_s: if on[6] { dice.below(20) } else { 0 },
    }
}

fn deed(pools: &[Pool], works: &[Work], into: &mut Vec<(u32, Deed)>, dice: &mut Dice) {
    let at = dice.between(1, CALM_S - 300);
    let pool = dice.below(num::u32_of(pools.len())) as usize;
    let node = dice.below(pools[pool].count);
    let work = &works[dice.below(num::u32_of(works.len())) as usize];
    let gone = |into: &[(u32, Deed)]| into.iter().any(|d| d.1 == Deed::Delete(work.id));
    let scales = matches!(work.shape, Shape::Deployment { .. } | Shape::StatefulSet { .. });
    let job = matches!(work.shape, Shape::Job { .. });
    match dice.below(7) {
        0 | 1 if scales && !gone(into) => into.push((at, Deed::Scale(work.id, dice.below(14)))),
        2 if !job && !gone(into) => into.push((at, Deed::Roll(work.id))),
        3 if !into.iter().any(|d| about(d.1) == Some(work.id)) => {
            into.push((at, Deed::Delete(work.id)));
        }
        4 => {
            into.push((at, Deed::Drain(pool, node, dice.between(100, 290))));
        }
        5 => {
            into.push((at, Deed::Cordon(pool, node, dice.between(1, 290))));
        }
        _other if work.replicas > 0 && !gone(into) => into.push((at, Deed::Kill(work.id))),
        _nothing => {}
    }
}

/// The workload that a deed is about.
fn about(deed: Deed) -> Option<u32> {
    match deed {
        Deed::Scale(id, _) | Deed::Roll(id) | Deed::Delete(id) | Deed::Kill(id) => Some(id),
        Deed::Drain(..) | Deed::Cordon(..) => None,
    }
}

fn harm(pools: &[Pool], planes: u32, dice: &mut Dice) -> (u32, u32, Harm) {
    let at = dice.between(1, CALM_S - 700);
    let lasts = dice.of(&[1, 5, 30, 60, 330, 600]);
    let total: u32 = pools.iter().map(|p| p.count).sum();
    let some = dice.between(1, total.div_ceil(2));
    let component = dice.of(&["kube-scheduler", "kube-controller-manager"]);
    if planes > 0 && dice.one_in(2) {
        return (at, lasts, plane_harm(planes, dice));
    }
    let harm = match dice.below(11) {
        0..=2 => Harm::Crash(some),
        3 => Harm::Zone(pools[dice.below(num::u32_of(pools.len())) as usize].zone),
        4 => Harm::KubeletStop(some),
        5 => Harm::KubeletWatch(some),
        6 => Harm::Restart(component),
        7 => Harm::Shutdown(some),
        8 => Harm::KubeletCrash(some),
        9 => Harm::Registry,
        _ten => Harm::WatchLoss(component),
    };
    (at, lasts, harm)
}

/// What befalls networks and clocks, and what befalls many at once.
fn trouble(pools: &[Pool], planes: u32, dice: &mut Dice) -> (u32, u32, Harm) {
    let at = dice.between(1, CALM_S - 700);
    let lasts = dice.of(&[1, 8, 30, 60, 330, 600]);
    let total: u32 = pools.iter().map(|p| p.count).sum();
    let some = dice.between(1, total.div_ceil(2));
    let one_way = dice.one_in(3);
    let host = dice.below(planes.max(1));
    let zone = pools[dice.below(num::u32_of(pools.len())) as usize].zone;
    let of_planes = planes > 0 && dice.one_in(2);
    let harm = match (of_planes, dice.below(8)) {
        (true, 0..=2) => Harm::LonePlane(host),
        (true, 3 | 4) => Harm::FreezePlane(host),
        (true, 5) => Harm::Blackout(one_way),
        (true, _) => Harm::Island(zone, one_way),
        (false, 0 | 1) => Harm::Cut(some, one_way),
        (false, 2 | 3) => Harm::Freeze(some),
        (false, 4) => Harm::Late(some, dice.of(&[100, 2_000, 20_000])),
        (false, 5) => Harm::Slow(some),
        (false, 6) => Harm::Interrupt(some),
        (false, _) => Harm::Outages(dice.of(&[300, 3000]), dice.of(&[5, 60])),
    };
    (at, lasts, harm)
}

/// What befalls a control plane on nodes.
fn plane_harm(planes: u32, dice: &mut Dice) -> Harm {
    let host = dice.below(planes);
    let elected = dice.of(&["kube-scheduler", "kube-controller-manager"]);
    match dice.below(8) {
        0 => Harm::Plane(host),
        1 => Harm::SlowDisk(host),
        2 | 3 => Harm::Process("restart", "etcd", Some(host)),
        4 => Harm::Process("restart", "kube-apiserver", Some(host)),
        5 => Harm::Process("restart", elected, None),
        6 => Harm::Process("terminate", elected, None),
        _seven => Harm::Process("pause", elected, None),
    }
}

/// The source of outages that a harm is, if it is one.
fn outages((i, (_, _, harm)): (usize, &(u32, u32, Harm))) -> Option<Value> {
    let Harm::Outages(mtbf, repair) = *harm else { return None };
    Some(json!({
        "name": format!("wear {i}"), "mtbf": {"exponential": format!("{mtbf}s")},
        "repair": {"uniform": ["1s", format!("{}s", 2 * repair)]},
        "until": format!("{}s", CALM_S - 300),
    }))
}

/// The fault that a harm is, if it is one.
fn harm_value((i, (at, lasts, harm)): (usize, &(u32, u32, Harm))) -> Option<Value> {
    let mut out = Map::new();
    let (what, whom) = match *harm {
        Harm::Crash(n) => ("crash", json!({"count": n})),
        Harm::Zone(zone) => ("crash", json!({"zone": zone})),
        Harm::KubeletStop(n) => ("kubeletStop", json!({"count": n})),
        Harm::KubeletWatch(n) => ("kubeletWatchLoss", json!({"count": n})),
        Harm::Restart(component) => ("restart", component.into()),
        Harm::WatchLoss(component) => ("watchLoss", component.into()),
        Harm::Shutdown(n) => ("shutdown", json!({"count": n})),
        Harm::KubeletCrash(n) => ("kubeletCrash", json!({"count": n})),
        Harm::Registry => ("registryDown", "all".into()),
        Harm::Process(verb, process, host) => {
            if let Some(host) = host {
                out.insert("on".into(), plane_name(host).into());
            }
            (verb, process.into())
        }
        Harm::SlowDisk(host) => {
            out.insert("on".into(), plane_name(host).into());
            ("slowDisk", 20.into())
        }
        Harm::Plane(host) => ("crash", json!({"node": plane_name(host)})),
        Harm::Cut(n, one_way) => ("partition", json!({"between": {"count": n}, "oneWay": one_way})),
        Harm::Island(zone, one_way) => {
            let cut =
                json!({"between": {"zone": zone}, "and": {"percent": 100}, "oneWay": one_way});
            ("partition", cut)
        }
        Harm::LonePlane(host) => {
            let cut = json!({"between": {"node": plane_name(host)}, "and": {"percent": 100}});
            ("partition", cut)
        }
        Harm::Freeze(n) => ("freeze", json!({"count": n})),
        Harm::FreezePlane(host) => ("freeze", json!({"node": plane_name(host)})),
        Harm::Late(n, ms) => {
            let delay = json!({"exponential": format!("{ms}ms")});
            ("network", json!({"of": {"count": n}, "delay": delay, "loss": 0.05}))
        }
        Harm::Slow(n) => ("slowNode", json!({"of": {"count": n}, "factor": 8})),
        Harm::Interrupt(n) => {
            let taken = json!({
                "of": {"count": n}, "notice": format!("{lasts}s"), "replace": "90s",
            });
            ("interrupt", taken)
        }
        Harm::Blackout(all) => {
            ("blackout", json!({"of": if all { "cluster" } else { "controlPlane" }}))
        }
        Harm::Outages(..) => return None,
    };
    out.insert("name".into(), format!("fault {i}").into());
    out.insert(what.into(), whom);
    out.insert("at".into(), format!("{at}s").into());
    if !matches!(harm, Harm::Interrupt(_)) {
        out.insert("for".into(), format!("{lasts}s").into());
    }
    Some(out.into())
}

fn priority_class(n: u32) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": format!("class-{n}")}, "value": n * 100,
    })
}

impl Deed {
    /// The step of the file, and the one that takes it back, if one does.
    fn steps(self, at: u32, case: &Case) -> Vec<(u32, Value)> {
        let mut steps = vec![(at, self.step(at, case))];
        if let Self::Drain(pool, node, lasts) | Self::Cordon(pool, node, lasts) = self {
            let name = node_name(pool, node);
            let back = json!({"at": format!("{}s", at + lasts), "uncordon": name});
            steps.push((at + lasts, back));
        }
        steps
    }

    fn step(self, at: u32, case: &Case) -> Value {
        let mut out = Map::new();
        out.insert("at".into(), format!("{at}s").into());
        let work = |id: u32| case.works.iter().find(|w| w.id == id);
        let target = |id: u32| work(id).map(Work::target).unwrap_or_default();
        match self {
            Self::Scale(id, n) => {
                out.insert("scale".into(), json!({"target": target(id), "replicas": n}));
            }
            Self::Roll(id) => {
                let image = format!("registry.k8s.io/app:{at}");
                let set = json!({"target": target(id), "container": "app", "image": image});
                out.insert("setImage".into(), set);
            }
            Self::Delete(id) => {
                out.insert("delete".into(), target(id).into());
            }
            Self::Kill(id) => {
                out.insert("delete".into(), format!("pod/default/w{id}-*").into());
            }
            Self::Drain(pool, node, _) => {
                out.insert("drain".into(), node_name(pool, node).into());
            }
            Self::Cordon(pool, node, _) => {
                out.insert("cordon".into(), node_name(pool, node).into());
            }
        }
        out.into()
    }
}

impl Work {
    /// Its kind in the API, and group and version.
    const fn kind(&self) -> (&'static str, &'static str) {
        match self.shape {
            Shape::Deployment { .. } => ("Deployment", "apps/v1"),
            Shape::StatefulSet { .. } => ("StatefulSet", "apps/v1"),
            Shape::DaemonSet => ("DaemonSet", "apps/v1"),
            Shape::Job { .. } => ("Job", "batch/v1"),
        }
    }

    fn target(&self) -> String {
        format!("{}/default/w{}", self.kind().0.to_lowercase(), self.id)
    }

    fn template(&self) -> Value {
        let labels = json!({"app": format!("w{}", self.id)});
        let selector = json!({"matchLabels": labels});
        let requests = json!({
            "cpu": format!("{}m", self.cpu_milli), "memory": format!("{}Mi", self.memory_mi)
        });
        let mut container = json!({
            "name": "app", "image": "registry.k8s.io/app:0", "resources": {"requests": requests}
        });
        let mut annotations = Map::new();
        let mut spec = Map::new();
        if self.ready_s > 0 {
            container["readinessProbe"] = json!({"httpGet": {"port": 80}, "periodSeconds": 5});
            let after = format!("{}s", self.ready_s);
            annotations.insert("wavetank.dev/ready-after".into(), after.into());
        }
        if let Shape::Job { runs_s, exit_code, .. } = self.shape {
            annotations.insert("wavetank.dev/exit-after".into(), format!("{runs_s}s").into());
            annotations.insert("wavetank.dev/exit-code".into(), exit_code.to_string().into());
            spec.insert("restartPolicy".into(), "Never".into());
        }
        if matches!(self.shape, Shape::StatefulSet { disks: true, .. }) {
            container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
        }
        spec.insert("containers".into(), json!([container]));
        if self.apart {
            let term = json!({"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"});
            let rule = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
            spec.insert("affinity".into(), json!({"podAntiAffinity": rule}));
        }
        if self.spread > 0 {
            let when = if self.spread == 2 { "DoNotSchedule" } else { "ScheduleAnyway" };
            let constraint = json!({
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": when, "labelSelector": selector,
            });
            spec.insert("topologySpreadConstraints".into(), json!([constraint]));
        }
        if let Some(seconds) = self.tolerates_s {
            let tolerate = |key: &str| {
                json!({
                    "key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
                    "effect": "NoExecute", "tolerationSeconds": seconds,
                })
            };
            let both = [tolerate("not-ready"), tolerate("unreachable")];
            spec.insert("tolerations".into(), json!(both));
        }
        if self.priority > 0 {
            spec.insert("priorityClassName".into(), format!("class-{}", self.priority).into());
        }
        json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})
    }

    fn objects(&self) -> Vec<Value> {
        let name = format!("w{}", self.id);
        let labels = json!({"app": name});
        let selector = json!({"matchLabels": labels});
        let (kind, version) = self.kind();
        let mut spec = Map::new();
        spec.insert("template".into(), self.template());
        match self.shape {
            Shape::Job { parallelism, .. } => {
                spec.insert("completions".into(), self.replicas.into());
                spec.insert("parallelism".into(), parallelism.into());
                spec.insert("backoffLimit".into(), 1000.into());
            }
            Shape::DaemonSet => {
                spec.insert("selector".into(), selector.clone());
            }
            Shape::StatefulSet { parallel, disks } => {
                if disks {
                    let mut claim = json!({"metadata": {"name": "data"}});
                    claim["spec"] = json!({
                        "accessModes": ["ReadWriteOnce"], "storageClassName": "disks",
                        "resources": {"requests": {"storage": "1Gi"}},
                    });
                    spec.insert("volumeClaimTemplates".into(), json!([claim]));
                }
                spec.insert("selector".into(), selector.clone());
                spec.insert("replicas".into(), self.replicas.into());
                spec.insert("serviceName".into(), name.clone().into());
                let policy = if parallel { "Parallel" } else { "OrderedReady" };
                spec.insert("podManagementPolicy".into(), policy.into());
            }
            Shape::Deployment { surge, unavailable } => {
                spec.insert("selector".into(), selector.clone());
                spec.insert("replicas".into(), self.replicas.into());
                let rolling = json!({
                    "maxSurge": format!("{surge}%"), "maxUnavailable": format!("{unavailable}%")
                });
                let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
                spec.insert("strategy".into(), strategy);
            }
        }
        let object = |kind: &str, version: &str, spec: Value| {
            json!({
                "apiVersion": version, "kind": kind,
                "metadata": {"name": name, "namespace": "default"}, "spec": spec,
            })
        };
        let mut all = vec![object(kind, version, spec.into())];
        if let Some(max) = self.budget {
            let spec = json!({"maxUnavailable": max, "selector": selector});
            all.push(object("PodDisruptionBudget", "policy/v1", spec));
        }
        if self.service {
            let kind = if self.id.is_multiple_of(2) { "LoadBalancer" } else { "NodePort" };
            let spec = json!({"type": kind, "selector": labels, "ports": [{"port": 80}]});
            all.push(object("Service", "v1", spec));
        }
        all
    }
}
