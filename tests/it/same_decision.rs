//! The fast scheduling cycle against the plain one of `plain/`: on random clusters under random
//! churn, the same verdicts, reasons, scores, sampling and totals at every step.

use super::plain::{self, World};
use std::collections::BTreeMap;
use std::sync::Arc;
use wavetank::api::labels::{Op, Requirement};
use wavetank::api::meta::{Deletion, Owner};
use wavetank::api::node::{Node, NodeImage, NodeStatus};
use wavetank::api::pod::{
    Affinity, Container, Effect, NodeSelectorTerm, PodAffinityTerm, Port, PreferredNodeTerm,
    PreferredPodTerm, Protocol, SpreadConstraint, Taint, Toleration,
};
use wavetank::api::resources::{Named, Resources};
use wavetank::api::versions::ObjRef;
use wavetank::api::{Kind, LabelSet, Meta, Name, Pod, PodSpec, Selector, Stamp, Uid};
use wavetank::control_plane::scheduler::cache::Cache;
use wavetank::control_plane::scheduler::config::ProfileConfig;
use wavetank::control_plane::scheduler::evaluate::evaluate;
use wavetank::control_plane::scheduler::framework::{Code, View};
use wavetank::control_plane::scheduler::profile::{Profile, Turn, enough_nodes};
use wavetank::control_plane::scheduler::ties::TieRule;
use wavetank::engine::draw::Draw;
use wavetank::engine::{Draws, Purpose, Sym, num};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";
const STEPS: u64 = 400;

/// Chance with small words.
struct Dice(Draw, Draws, u64);

impl Dice {
    fn new(seed: u64) -> Self {
        let draws = Draws::new(seed);
        Self(draws.draw(0, Purpose("dice"), 0), draws, 0)
    }

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        // A draw holds eight numbers.
        self.2 += 1;
        if self.2.is_multiple_of(8) {
            self.0 = self.1.draw(0, Purpose("dice"), self.2);
        }
        self.0.below(n)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[num::index(self.below(list.len() as u64))]
    }

    fn amount(&mut self, n: u64) -> i64 {
        i64::try_from(self.below(n)).unwrap()
    }
}

const APPS: [&str; 3] = ["web", "db", "batch"];
const SPACES: [&str; 2] = ["shop", "back"];
const IMAGES: [&str; 3] = ["nginx:1", "quay.io/team/db", "busybox:latest"];

fn node(dice: &mut Dice, i: u64) -> Node {
    let name = format!("n{i}");
    let mut labels: Vec<(Sym, Sym)> = vec![(HOSTNAME.into(), Sym::new(&name))];
    if !dice.one_in(6) {
        labels.push((ZONE.into(), dice.pick(&["a", "b", "c"]).into()));
    }
    labels.push(("disk".into(), dice.pick(&["ssd", "hdd"]).into()));
    let mut allocatable = Resources {
        cpu_milli: dice.pick(&[2_000, 4_000, 4_000, 7_910]),
        memory: dice.pick(&[4_i64, 8, 15]) << 30,
        ephemeral: 50 << 30,
        pods: dice.pick(&[4, 20, 110]),
        ..Resources::default()
    };
    if dice.one_in(4) {
        allocatable.set_scalar("example.com/gpu".into(), dice.amount(5));
    }
    let images: Vec<NodeImage> = (0..IMAGES.len())
        .filter(|_| dice.one_in(2))
        .map(|i| {
            let name = if IMAGES[i].contains("nginx") || IMAGES[i].contains("busy") {
                IMAGES[i].to_owned()
            } else {
                format!("{}:latest", IMAGES[i])
            };
            NodeImage { names: vec![Sym::new(&name)], size: (100 + 300 * i as i64) << 20 }
        })
        .collect();
    let status = NodeStatus {
        allocatable: Arc::new(allocatable),
        images: images.into(),
        ..NodeStatus::default()
    };
    let mut meta = Meta::named(Sym::EMPTY, Name::new(&name));
    meta.labels = LabelSet::new(labels);
    Node { meta, status, taints: taints(dice), unschedulable: dice.one_in(12), ..Node::default() }
}

fn taints(dice: &mut Dice) -> Arc<[Taint]> {
    let n = if dice.one_in(3) { 1 + dice.below(2) } else { 0 };
    let one = |dice: &mut Dice| Taint {
        key: dice.pick(&["dedicated", "spot"]).into(),
        value: dice.pick(&["x", "y"]).into(),
        effect: dice.pick(&[
            Effect::NoSchedule,
            Effect::PreferNoSchedule,
            Effect::PreferNoSchedule,
            Effect::NoExecute,
        ]),
        added: Stamp::NONE,
    };
    (0..n).map(|_| one(dice)).collect()
}

fn term(dice: &mut Dice) -> PodAffinityTerm {
    let app = Selector::of_labels([("app".into(), dice.pick(&APPS).into())]);
    let mut made = PodAffinityTerm {
        selector: Some(app),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key: dice.pick(&[ZONE, HOSTNAME]).into(),
    };
    match dice.below(6) {
        0 => made.namespaces = vec![dice.pick(&SPACES).into()],
        1 => made.namespace_selector = Some(Selector::new(Vec::new())),
        2 => {
            let team = Selector::of_labels([("team".into(), dice.pick(&["red", "blue"]).into())]);
            made.namespace_selector = Some(team);
        }
        _ => {}
    }
    made
}

fn constraint(dice: &mut Dice) -> SpreadConstraint {
    let selector = match dice.below(8) {
        0 => None,
        1 => Some(Selector::new(Vec::new())),
        _ => Some(Selector::of_labels([("app".into(), dice.pick(&APPS).into())])),
    };
    let hard = dice.one_in(2);
    SpreadConstraint {
        max_skew: 1 + i32::try_from(dice.below(3)).unwrap(),
        topology_key: dice.pick(&[ZONE, HOSTNAME, "disk"]).into(),
        hard,
        selector,
        min_domains: (hard && dice.one_in(4)).then(|| 1 + i32::try_from(dice.below(4)).unwrap()),
        honor_affinity: !dice.one_in(4),
        honor_taints: dice.one_in(3),
        match_label_keys: if dice.one_in(5) { vec!["rev".into()] } else { Vec::new() },
    }
}

fn disk(dice: &mut Dice) -> NodeSelectorTerm {
    let op = dice.pick(&[Op::In, Op::NotIn]);
    let values = vec![dice.pick(&["ssd", "hdd"]).into()];
    let key = dice.pick(&["disk", ZONE]).into();
    NodeSelectorTerm { expressions: vec![Requirement { key, op, values }], fields: Vec::new() }
}

fn affinity(dice: &mut Dice) -> Affinity {
    let mut made = Affinity::default();
    let weight = 1 + dice.amount(100);
    for _ in 0..=dice.below(2) {
        match dice.below(7) {
            0 => made.node_required = Some(vec![disk(dice)]),
            1 => made.node_preferred.push(PreferredNodeTerm { weight, term: disk(dice) }),
            2 => made.pod_required.push(term(dice)),
            3 => made.pod_preferred.push(PreferredPodTerm { weight, term: term(dice) }),
            4 => made.anti_required.push(term(dice)),
            5 => made.anti_preferred.push(PreferredPodTerm { weight, term: term(dice) }),
            _ => {
                let values = vec![Sym::new(&format!("n{}", dice.below(12)))];
                let field = Requirement { key: "metadata.name".into(), op: Op::In, values };
                let fields = vec![field];
                made.node_required =
                    Some(vec![NodeSelectorTerm { expressions: Vec::new(), fields }]);
            }
        }
    }
    made
}

fn container(dice: &mut Dice) -> Container {
    let requests_named = Named { cpu: !dice.one_in(4), memory: !dice.one_in(4) };
    let mut requests = Resources::default();
    if requests_named.cpu {
        requests.cpu_milli = 50 * dice.amount(20);
    }
    if requests_named.memory {
        requests.memory = (100 << 20) * dice.amount(12);
    }
    if dice.one_in(8) {
        requests.set_scalar("example.com/gpu".into(), 1 + dice.amount(2));
    }
    let mut made = Container {
        name: "c".into(),
        image: dice.pick(&IMAGES).into(),
        requests,
        requests_named,
        ..Container::default()
    };
    if dice.one_in(7) {
        made.ports.push(Port {
            host_port: dice.pick(&[80, 443]),
            host_ip: dice.pick(&["", "", "10.0.0.1"]).into(),
            protocol: dice.pick(&[Protocol::Tcp, Protocol::Udp]),
            ..Port::default()
        });
    }
    made
}

fn spec(dice: &mut Dice) -> PodSpec {
    let mut made = PodSpec {
        containers: (0..=dice.below(2)).map(|_| container(dice)).collect(),
        scheduler_name: "default-scheduler".into(),
        ..PodSpec::default()
    };
    if dice.one_in(6) {
        made.node_selector.push(("disk".into(), dice.pick(&["ssd", "hdd"]).into()));
    }
    if dice.one_in(2) {
        made.affinity = Some(Arc::new(affinity(dice)));
    }
    if dice.one_in(3) {
        made.spread = (0..=dice.below(2)).map(|_| constraint(dice)).collect();
    }
    if dice.one_in(3) {
        made.tolerations.push(Toleration {
            key: dice.pick(&["dedicated", "spot", ""]).into(),
            exists: true,
            effect: dice.pick(&[None, Some(Effect::NoSchedule), Some(Effect::PreferNoSchedule)]),
            ..Toleration::default()
        });
    }
    made.sum_requests();
    made
}

fn pod(dice: &mut Dice, templates: &[Arc<PodSpec>], i: u64) -> Pod {
    let mut meta = Meta::named(dice.pick(&SPACES).into(), Name::new(&format!("p{i}")));
    meta.labels = LabelSet::new([
        ("app".into(), dice.pick(&APPS).into()),
        ("rev".into(), dice.pick(&["1", "2"]).into()),
    ]);
    if dice.one_in(3) {
        let owner = Owner {
            kind: Kind::ReplicaSet,
            name: "rs".into(),
            uid: Uid(1),
            controller: true,
            block_owner_deletion: true,
        };
        meta.owners = Some(vec![owner].into());
    }
    let spec = Arc::clone(&templates[num::index(dice.below(templates.len() as u64))]);
    Pod { meta, spec, ..Pod::default() }
}

/// The cluster twice: as the scheduler keeps it, and as it is.
struct Twins {
    dice: Dice,
    cache: Cache,
    profile: Profile,
    world: World,
    objects: Vec<ObjRef>,
    /// Nodes by zone, in order of first appearance: upstream's nodeTree.
    zones: Vec<(Option<Sym>, Vec<Arc<Node>>)>,
    templates: Vec<Arc<PodSpec>>,
    next: u64,
    start: usize,
}

impl Twins {
    fn new(seed: u64, nodes: u64) -> Self {
        let mut dice = Dice::new(seed);
        let templates = (0..12).map(|_| Arc::new(spec(&mut dice))).collect();
        let config = ProfileConfig { percentage: Some(5), ..ProfileConfig::default() };
        let mut twins = Self {
            dice,
            cache: Cache::default(),
            profile: Profile::new(&config),
            world: World::default(),
            objects: Vec::new(),
            zones: Vec::new(),
            templates,
            next: 0,
            start: 0,
        };
        for (ns, team) in SPACES.into_iter().zip(["red", "blue"]) {
            let labels = LabelSet::new([("team".into(), team.into())]);
            twins.cache.set_namespace(ns.into(), Some(labels));
            twins.world.namespaces.push((ns.into(), labels));
        }
        (0..nodes).for_each(|_| twins.add_node());
        twins
    }

    fn zone(node: &Node) -> Option<Sym> {
        node.meta.labels.get(ZONE.into())
    }

    fn add_node(&mut self) {
        let node = Arc::new(node(&mut self.dice, self.next));
        self.next += 1;
        self.cache.set_node(&node, 0);
        self.enter(node);
    }

    fn enter(&mut self, node: Arc<Node>) {
        let zone = Self::zone(&node);
        match self.zones.iter_mut().find(|(z, _)| *z == zone) {
            Some((_, nodes)) => nodes.push(node),
            None => self.zones.push((zone, vec![node])),
        }
    }

    fn all_nodes(&self) -> Vec<Arc<Node>> {
        let longest = self.zones.iter().map(|(_, n)| n.len()).max().unwrap_or(0);
        (0..longest)
            .flat_map(|i| self.zones.iter().filter_map(move |(_, n)| n.get(i)))
            .cloned()
            .collect()
    }

    fn leave(&mut self, name: Sym) {
        for (_, nodes) in &mut self.zones {
            nodes.retain(|n| n.meta.name.sym() != name);
        }
        self.zones.retain(|(_, nodes)| !nodes.is_empty());
    }

    fn change_node(&mut self) {
        let nodes = self.all_nodes();
        let old = &nodes[num::index(self.dice.below(nodes.len() as u64))];
        let mut new = node(&mut self.dice, 0);
        let mut changed = Node::clone(old);
        match self.dice.below(4) {
            0 => changed.taints = new.taints,
            1 => changed.unschedulable = new.unschedulable,
            2 => changed.status = new.status,
            _ => {
                let own = Sym::new(&old.meta.name.to_string());
                new.meta.labels = new.meta.labels.with(HOSTNAME.into(), own);
                changed.meta.labels = new.meta.labels;
            }
        }
        let changed = Arc::new(changed);
        self.cache.set_node(&changed, 0);
        if Self::zone(old) == Self::zone(&changed) {
            let places = self.zones.iter_mut().flat_map(|(_, nodes)| nodes);
            for place in places.filter(|n| n.meta.name == old.meta.name) {
                *place = Arc::clone(&changed);
            }
        } else {
            self.leave(old.meta.name.sym());
            self.enter(changed);
        }
    }

    fn remove_node(&mut self) {
        let nodes = self.all_nodes();
        let name = nodes[num::index(self.dice.below(nodes.len() as u64))].meta.name.sym();
        // Its pods go with it, as pod garbage collection sees to.
        while let Some(i) = self.world.placed.iter().position(|(_, at)| *at == name) {
            self.remove_pod(i);
        }
        self.cache.remove_node(name);
        self.leave(name);
    }

    fn remove_pod(&mut self, i: usize) {
        self.world.placed.swap_remove(i);
        self.cache.remove_pod(self.objects.swap_remove(i));
    }

    fn place(&mut self, pod: &Arc<Pod>, node: Sym) {
        self.next += 1;
        let object = ObjRef { slot: num::u32_of(num::index(self.next)), generation: 0 };
        let assumed = self.dice.one_in(2);
        self.cache.add_pod(object, pod, node, assumed);
        self.objects.push(object);
        self.world.placed.push((Arc::clone(pod), node));
    }

    /// A pod on a node is relabelled, or its deletion begins.
    fn change_pod(&mut self) {
        if self.world.placed.is_empty() {
            return;
        }
        let i = num::index(self.dice.below(self.objects.len() as u64));
        let mut changed = Pod::clone(&self.world.placed[i].0);
        if self.dice.one_in(2) {
            changed.meta.deletion = Some(Deletion { at: Stamp(1), grace_s: 30 });
        } else {
            let app = self.dice.pick(&APPS).into();
            changed.meta.labels = changed.meta.labels.with("app".into(), app);
        }
        let changed = Arc::new(changed);
        self.cache.update_pod(self.objects[i], &changed);
        self.world.placed[i].0 = changed;
    }

    /// A service or an owner comes or goes: default constraints follow.
    fn change_selectors(&mut self) {
        let ns: Sym = self.dice.pick(&SPACES).into();
        let app = Selector::of_labels([("app".into(), self.dice.pick(&APPS).into())]);
        let there = self.dice.one_in(2).then_some(app);
        if self.dice.one_in(2) {
            self.world.services.retain(|(n, _)| *n != ns);
            self.world.services.extend(there.clone().map(|s| (ns, s)));
            self.cache.set_service(ns, "svc".into(), there);
        } else {
            let key = (Kind::ReplicaSet, ns, Name::new("rs"));
            self.world.owners.retain(|(k, _)| *k != key);
            self.world.owners.extend(there.clone().map(|s| (key, s)));
            self.cache.set_owner(key.0, key.1, key.2, there);
        }
    }

    fn churn(&mut self) {
        match self.dice.below(12) {
            0 => self.add_node(),
            1 if self.all_nodes().len() > 3 => self.remove_node(),
            2 | 3 => self.change_node(),
            4 | 5 => self.change_pod(),
            6 => self.change_selectors(),
            7 | 8 if !self.objects.is_empty() => {
                let i = num::index(self.dice.below(self.objects.len() as u64));
                self.remove_pod(i);
            }
            9 => {
                let i = num::index(self.dice.below(self.templates.len() as u64));
                self.templates[i] = Arc::new(spec(&mut self.dice));
            }
            _ => {}
        }
    }

    /// One pod is judged twice, and placed.
    fn step(&mut self, at: &str) {
        self.churn();
        let pod = Arc::new(pod(&mut self.dice, &self.templates, self.next));
        self.world.nodes = self.all_nodes();
        let n = self.world.nodes.len();
        let narrowed = plain::filters::narrowed(&pod);
        let candidates = narrowed.map_or(n, |names| {
            let named = |node: &&Arc<Node>| names.contains(&node.meta.name.sym());
            self.world.nodes.iter().filter(named).count()
        });
        let (start, enough) = (self.start % n, enough_nodes(candidates, Some(5)));
        let (want, seen) = plain::judge(&self.world, &pod, start, enough);
        let mut turn = Turn { start: &mut self.start, ties: TieRule::Name };
        let decision = self.profile.decide(&mut self.cache, &pod, &mut turn, |_| 0);
        assert_eq!(*turn.start, (start + seen) % n, "{at}: where the next search begins");
        let got = self.fast_side(&pod, at);
        assert_eq!(got.0, want.feasible, "{at}: feasible nodes of {pod:?}");
        let rejected: BTreeMap<Sym8, plain::Rejected> =
            want.rejected.iter().map(|(n, r)| (text(*n), r.clone())).collect();
        assert_eq!(got.1, rejected, "{at}: rejected nodes of {pod:?}");
        self.in_full(&pod, at);
        if want.feasible.len() > 1 {
            let relative =
                |totals: &[i64]| -> Vec<i64> { totals.iter().map(|t| t - totals[0]).collect() };
            assert_eq!(relative(&got.2), relative(&want.totals), "{at}: totals of {pod:?}");
        }
        if let Ok(position) = decision.node {
            let node = self.cache.at(position).name;
            self.place(&pod, node);
        }
    }

    /// What the fast cycle has found: feasible nodes, rejections, totals but for what all share.
    fn fast_side(&self, pod: &Pod, at: &str) -> Fast {
        let looked = self.profile.looked();
        let name = |position: u32| self.cache.at(position as usize).name;
        let view = View { cache: &self.cache, pod };
        let rejection = |&(position, verdict): &(u32, _)| {
            let verdict: wavetank::control_plane::scheduler::framework::Verdict = verdict;
            let row = &self.profile.rows[usize::from(verdict.row())];
            let reasons = verdict.reasons().map(|b| row.plugin.reason(view, b).into_owned());
            (text(name(position)), (row.name, verdict.code(), reasons.collect()))
        };
        let feasible: Vec<Sym> = looked.feasible.iter().map(|p| name(*p)).collect();
        let rejected: BTreeMap<Sym8, plain::Rejected> =
            looked.rejected.iter().map(rejection).collect();
        assert_eq!(rejected.len(), looked.rejected.len(), "{at}: a node is rejected once");
        (feasible, rejected, looked.totals.to_vec())
    }

    /// `evaluate` looks at every node; so does the plain scheduler here.
    fn in_full(&self, pod: &Pod, at: &str) {
        let full = evaluate(&self.cache, &self.profile, pod, TieRule::Name, |_| 0);
        let (want, _) = plain::judge(&self.world, pod, 0, usize::MAX);
        assert_eq!(full.feasible, want.feasible, "{at}: all feasible nodes of {pod:?}");
        if want.feasible.is_empty() {
            let failed = !full.fit_error.is_empty();
            assert!(failed, "{at}: {pod:?} has no node and no message");
            return;
        }
        for scores in &want.scores {
            let mine = full.scores.iter().find(|s| s.plugin == scores.plugin);
            let mine = mine.unwrap_or_else(|| panic!("{at}: {} is skipped", scores.plugin));
            assert_eq!(mine.raw, scores.raw, "{at}: {} of {pod:?}", scores.plugin);
            assert_eq!(mine.weighted, scores.weighted, "{at}: {} of {pod:?}", scores.plugin);
        }
        assert_eq!(full.totals, want.totals, "{at}: all totals of {pod:?}");
    }
}

/// A name that can be ordered.
type Sym8 = String;
type Fast = (Vec<Sym>, BTreeMap<Sym8, plain::Rejected>, Vec<i64>);

fn text(name: Sym) -> Sym8 {
    name.to_string()
}

fn run(seed: u64, nodes: u64, steps: u64) {
    let mut twins = Twins::new(seed, nodes);
    for step in 0..steps {
        twins.step(&format!("seed {seed}, {nodes} nodes at first, step {step}"));
    }
}

#[test]
fn the_fast_cycle_decides_as_the_plain_one() {
    for seed in 0..26 {
        run(seed, 4 + seed % 12, STEPS);
    }
}

#[test]
fn sampled_searches_look_at_the_same_nodes() {
    for seed in 100..104 {
        run(seed, 120, 30);
    }
}

#[test]
fn the_plain_one_can_be_contradicted() {
    // A wrong rule must be noticed: here the plain side is told of a taint that is not there.
    let mut twins = Twins::new(7, 6);
    let pod = Arc::new(pod(&mut twins.dice, &twins.templates, 1));
    twins.world.nodes = twins.all_nodes();
    let untainted = twins.world.clone();
    for node in &mut twins.world.nodes {
        let taint = Taint {
            key: "never".into(),
            value: Sym::EMPTY,
            effect: Effect::NoExecute,
            added: Stamp::NONE,
        };
        Arc::make_mut(node).taints = vec![taint].into();
    }
    let (seen, unseen) =
        (plain::judge(&twins.world, &pod, 0, 100).0, plain::judge(&untainted, &pod, 0, 100).0);
    let all = |j: &plain::Judged, p: &str| j.rejected.iter().filter(|(_, r)| r.0 == p).count();
    assert!(all(&seen, "TaintToleration") > all(&unseen, "TaintToleration"));
    assert!(seen.rejected.iter().all(|(_, r)| r.1 == Code::UnschedulableAndUnresolvable));
}
