//! Growing: for pods that fit nowhere each group is tried with nodes of its template, and the
//! expander chooses among those that help (source: `CA:core/scaleup/orchestrator`,
//! `CA:estimator/binpacking_estimator.go`, `CA:expander`).

use super::cluster::ClusterAutoscaler;
use super::config::Expander;
use super::simulation::{Pending, Trial};
use super::template;
use crate::api::Pod;
use crate::api::node::Node;
use crate::engine::{Purpose, Sym, num};
use crate::event::Context;
use crate::event::cloud::{CloudOp, Machine, Offer, Phase};
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What growing a group would give.
#[derive(Debug, Clone)]
struct Choice {
    group: u16,
    nodes: u32,
    pods: Vec<Pending>,
    /// Share of the new nodes' CPU and memory that stays idle.
    idle: (f64, f64),
    /// Price of the new nodes per unit of work that they take.
    price: f64,
}

/// Why groups do not help: text and number of groups.
type Reasons = BTreeMap<String, usize>;

/// CPU and memory of a pod as shares of a node, added up: the largest go first (source:
/// `decreasing_pod_orderer.go`).
fn share(pod: &Pod, node: &Node) -> f64 {
    let part = |used: i64, of: i64| if of == 0 { 0.0 } else { num::float(used) / num::float(of) };
    let (asks, has) = (&pod.spec.requests, &node.status.allocatable);
    part(asks.cpu_milli, has.cpu_milli) + part(asks.memory, has.memory)
}

/// Another group that does not help, for these reasons.
fn note(into: &mut Reasons, reasons: Reasons) {
    for reason in reasons.into_keys() {
        *into.entry(reason).or_insert(0) += 1;
    }
}

impl ClusterAutoscaler {
    /// Grows a group if pods wait that fit nowhere; says whether it did.
    pub(super) fn scale_up(&mut self, cx: &mut Context<'_>) -> bool {
        let (now, delay) = (cx.now(), self.flags.new_pod_scale_up_delay);
        let due = |p: &&Pending| p.since + delay <= now;
        let mut pods: Vec<Pending> = self.mirror.pending.values().filter(due).cloned().collect();
        self.said.retain(|place, _| self.mirror.pending.contains_key(place));
        if pods.is_empty() {
            return false;
        }
        pods.sort_by_key(|p| std::cmp::Reverse(p.pod.spec.priority));
        let profiles = self.profiles.clone();
        let mut trial = Trial::new(&self.mirror, &profiles);
        self.add_upcoming(&mut trial, cx);
        let left = self.without_those_that_fit(&mut trial, pods);
        if left.is_empty() {
            return false;
        }
        let (choices, why) = self.choices(&trial, &left, cx);
        let Some(choice) = self.choose(choices, cx) else {
            self.nothing_helps(&left, &why, cx);
            return false;
        };
        self.grow(&choice, cx);
        true
    }

    /// Machines that are on their way count as nodes (source: `GetUpcomingNodes`).
    fn add_upcoming(&self, trial: &mut Trial<'_>, cx: &Context<'_>) {
        let now = (cx.now(), cx.stamp());
        let running = self.listing.machines.iter().filter(|m| m.phase == Phase::Running);
        for machine in running.filter(|m| self.upcoming(m, now)) {
            let node = template(&self.config, machine.group, machine.offer, machine.name);
            trial.cache.remove_node(machine.name);
            let daemons = self.mirror.daemons_for(&node);
            let there = self.mirror.pods_on(machine.name).len();
            let still: Vec<Arc<Pod>> = daemons.into_iter().skip(there).collect();
            trial.add_node(&node, &still);
        }
    }

    /// Takes out pods that fit on what there is or will be (source: `filterOutSchedulable`).
    fn without_those_that_fit(&self, trial: &mut Trial<'_>, pods: Vec<Pending>) -> Vec<Pending> {
        let (mut left, mut from) = (Vec::new(), 0);
        // Pods of one template that do not fit need not all be tried.
        let mut stuck: FxHashSet<*const crate::api::PodSpec> = FxHashSet::default();
        for pending in pods {
            let spec = Arc::as_ptr(&pending.pod.spec);
            let place = if stuck.contains(&spec) {
                None
            } else {
                trial.fits(&pending.pod, from, |node| !self.drains.holds(node))
            };
            match place {
                Some((at, node)) => {
                    from = at;
                    trial.put(pending.object, &pending.pod, node);
                }
                None => {
                    stuck.insert(spec);
                    left.push(pending);
                }
            }
        }
        left
    }

    fn choices(
        &self,
        trial: &Trial<'_>,
        left: &[Pending],
        cx: &Context<'_>,
    ) -> (Vec<Choice>, Vec<Reasons>) {
        let mut choices = Vec::new();
        let mut why = vec![Reasons::new(); left.len()];
        for (i, spec) in self.config.groups.iter().enumerate() {
            let group = u16::try_from(i).unwrap_or(u16::MAX);
            if spec.bounds.is_none() {
                continue;
            }
            let closed = if self.backoffs[i].until > cx.now() {
                Some("in backoff after failed scale-up")
            } else if self.room(group) == 0 {
                Some("max node group size reached")
            } else {
                None
            };
            if let Some(reason) = closed {
                for reasons in &mut why {
                    *reasons.entry(reason.to_owned()).or_insert(0) += 1;
                }
                continue;
            }
            let choice = self.try_group(group, trial.clone(), left, &mut why);
            choices.extend(choice.filter(|c| !c.pods.is_empty()));
        }
        (choices, why)
    }

    /// The offer of the next machine of a group: its zones in turn.
    fn offer(&self, group: u16, ordinal: u32) -> Offer {
        let spec = self.config.group(group);
        let alive = self.listing.machines.iter().filter(|m| m.group == group).count();
        let zone = (alive + ordinal as usize) % spec.zones.len().max(1);
        let zone = spec.zones.get(zone).copied().unwrap_or_default();
        Offer { kind: spec.kind.unwrap_or_default(), zone, spot: spec.spot }
    }

    /// How many nodes of a group which pods need: first fit, the largest pods first.
    fn try_group(
        &self,
        group: u16,
        mut trial: Trial<'_>,
        left: &[Pending],
        why: &mut [Reasons],
    ) -> Option<Choice> {
        let most = self.room(group).min(self.flags.max_nodes_per_scaleup);
        let name =
            |n: u32| Sym::new(&format!("template-node-for-{}-{n}", self.config.group(group).name));
        let first = template(&self.config, group, self.offer(group, 0), name(0));
        let mut order: Vec<usize> = (0..left.len()).collect();
        let rank = |i: &usize| share(&left[*i].pod, &first);
        order.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        let mut new: FxHashSet<Sym> = FxHashSet::default();
        let mut stuck: FxHashSet<*const crate::api::PodSpec> = FxHashSet::default();
        let mut helped = Vec::new();
        for i in order {
            let pending = &left[i];
            let spec = Arc::as_ptr(&pending.pod.spec);
            if stuck.contains(&spec) {
                let reasons = self.same_as_before(left, i, why);
                why[i] = reasons;
                continue;
            }
            let mut found = trial.fits(&pending.pod, 0, |node| new.contains(&node)).map(|f| f.1);
            if found.is_none() && num::u32_of(new.len()) < most {
                let number = num::u32_of(new.len());
                let node = template(&self.config, group, self.offer(group, number), name(number));
                let daemons = self.mirror.daemons_for(&node);
                let own = node.meta.name.sym();
                let own_daemons = trial.add_node(&node, &daemons);
                match trial.look(&pending.pod, 0, |n| n == own) {
                    Ok(_) => {
                        new.insert(own);
                        found = Some(own);
                    }
                    Err(reasons) => {
                        trial.drop_node(own, &own_daemons);
                        note(&mut why[i], reasons);
                    }
                }
            }
            match found {
                Some(node) => {
                    trial.put(pending.object, &pending.pod, node);
                    helped.push(pending.clone());
                }
                None => {
                    stuck.insert(spec);
                }
            }
        }
        let nodes = num::u32_of(new.len());
        Some(self.weigh(group, nodes, helped, &first))
    }

    /// What was found about an earlier pod of the same template holds of this one.
    #[expect(clippy::unused_self, reason = "beside its like")]
    fn same_as_before(&self, left: &[Pending], i: usize, why: &[Reasons]) -> Reasons {
        let like = left.iter().position(|p| Arc::ptr_eq(&p.pod.spec, &left[i].pod.spec));
        like.map(|at| why[at].clone()).unwrap_or_default()
    }

    fn weigh(&self, group: u16, nodes: u32, pods: Vec<Pending>, node: &Node) -> Choice {
        let (mut cpu, mut memory) = (0, 0);
        for pending in &pods {
            cpu += pending.pod.spec.requests.cpu_milli;
            memory += pending.pod.spec.requests.memory;
        }
        let has = &node.status.capacity;
        let idle = |used: i64, of: i64| {
            let all = num::float(of) * num::float(i64::from(nodes));
            if all > 0.0 { 1.0 - num::float(used) / all } else { 0.0 }
        };
        let spec = self.config.group(group);
        let price = self.config.kind(spec.kind.unwrap_or_default()).price_of(spec.spot);
        // A core is worth about 7.5 GiB at the providers' list prices.
        let work = num::float(cpu) / 1e3 + num::float(memory) / (7.5 * 1_073_741_824.0);
        let cost = num::float(i64::from(price)) * num::float(i64::from(nodes));
        let price = if work > 0.0 { cost / work } else { cost };
        let idle = (idle(cpu, has.cpu_milli), idle(memory, has.memory));
        Choice { group, nodes, pods, idle, price }
    }

    /// The expander: each of the chain keeps its best, the last resort is chance.
    fn choose(&self, mut choices: Vec<Choice>, cx: &Context<'_>) -> Option<Choice> {
        let keep_least = |choices: &mut Vec<Choice>, rank: &dyn Fn(&Choice) -> f64| {
            let least = choices.iter().map(rank).fold(f64::INFINITY, f64::min);
            choices.retain(|c| rank(c) <= least + 1e-9);
        };
        for expander in &self.flags.expanders {
            match expander {
                Expander::Random => break,
                Expander::MostPods => {
                    keep_least(&mut choices, &|c| -num::float(num::i64_of(c.pods.len())));
                }
                Expander::LeastWaste => {
                    keep_least(&mut choices, &|c| c.idle.0 + c.idle.1);
                }
                Expander::LeastNodes => {
                    keep_least(&mut choices, &|c| num::float(i64::from(c.nodes)));
                }
                Expander::Price => keep_least(&mut choices, &|c| c.price),
                Expander::Priority => {
                    let rank = |c: &Choice| -f64::from(self.config.group(c.group).priority);
                    keep_least(&mut choices, &rank);
                }
            }
        }
        if choices.is_empty() {
            return None;
        }
        let mut draw = cx.draw(0, Purpose("expander"), self.grown);
        Some(choices.swap_remove(num::index(draw.below(choices.len() as u64))))
    }

    fn grow(&mut self, choice: &Choice, cx: &mut Context<'_>) {
        let mut parts: BTreeMap<u16, u32> = BTreeMap::new();
        let like = self.similar(choice.group, cx);
        let room: BTreeMap<u16, u32> = like.iter().map(|g| (*g, self.room(*g))).collect();
        for _ in 0..choice.nodes {
            let size = |g: &u16| {
                let state = self.listing.groups.get(usize::from(*g)).copied().unwrap_or_default();
                state.desired + parts.get(g).copied().unwrap_or(0)
            };
            let open = |g: &&u16| parts.get(*g).copied().unwrap_or(0) < room[*g];
            let Some(group) = like.iter().filter(open).min_by_key(|g| size(g)).copied() else {
                break;
            };
            *parts.entry(group).or_default() += 1;
        }
        let mut words = Vec::new();
        for (group, by) in parts {
            let spec = self.config.group(group);
            let state = self.listing.groups.get(usize::from(group)).copied().unwrap_or_default();
            let max = spec.bounds.map_or(0, |b| b.1);
            let (old, new) = (state.desired, state.desired + by);
            words.push(format!("{{{} {old}->{new} (max: {max})}}", spec.name));
            self.backoffs[usize::from(group)].asked = true;
            self.ask(CloudOp::Grow { group, by: u16::try_from(by).unwrap_or(u16::MAX) }, cx);
        }
        self.grown += 1;
        self.last_grown = Some(cx.now());
        let text = format!("pod triggered scale-up: [{}]", words.join(" "));
        for pending in &choice.pods {
            self.said.remove(&(pending.object.slot, pending.object.generation));
            self.say_of_pod(&pending.pod, "TriggeredScaleUp", &text, cx);
        }
    }

    /// Groups that are grown together: with `--balance-similar-node-groups` those of the same type,
    /// labels and taints.
    fn similar(&self, group: u16, cx: &Context<'_>) -> Vec<u16> {
        let own = self.config.group(group);
        let alike = |i: u16| {
            let other = self.config.group(i);
            other.bounds.is_some()
                && (other.kind, other.spot) == (own.kind, own.spot)
                && other.template.meta.labels == own.template.meta.labels
                && other.template.taints == own.template.taints
                && self.backoffs[usize::from(i)].until <= cx.now()
        };
        let n = u16::try_from(self.config.groups.len()).unwrap_or(u16::MAX);
        let together = self.flags.balance_similar_node_groups;
        (0..n).filter(|&i| i == group || together && alike(i)).collect()
    }

    fn nothing_helps(&mut self, left: &[Pending], why: &[Reasons], cx: &mut Context<'_>) {
        for (pending, reasons) in left.iter().zip(why) {
            let parts: Vec<String> = reasons.iter().map(|(r, n)| format!("{n} {r}")).collect();
            let text = format!("pod didn't trigger scale-up: {}", parts.join(", "));
            let place = (pending.object.slot, pending.object.generation);
            let word = Sym::new(&text);
            if self.said.insert(place, word) != Some(word) {
                self.say_of_pod(&pending.pod, "NotTriggerScaleUp", &text, cx);
            }
        }
    }

    /// Machines of a group that are not told to end.
    pub(super) fn size(&self, group: u16) -> u32 {
        let of = |m: &&Machine| m.group == group && m.phase == Phase::Running;
        num::u32_of(self.listing.machines.iter().filter(of).count())
    }
}
