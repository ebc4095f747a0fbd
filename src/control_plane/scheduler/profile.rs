//! A profile: plugins in order, and the scheduling cycle over batches of nodes.

use super::cache::Cache;
use super::config::{ProfileConfig, Search};
use super::framework::{Batch, Code, CycleState, Plugin, PreFilter, Verdict, View};
use super::plugins::fit::CHUNK;
use super::plugins::registry::Points;
use super::policies;
use super::preemption::{Stuck, WhatIf, post_filter};
use super::report::{Failure, Rejection};
use super::statics::Statics;
use super::ties::TieRule;
use crate::api::Pod;
use crate::api::gpu::{Devices, GpuAsk};
use crate::engine::{Loop, Sym, num, wide};
use smallvec::SmallVec;
use std::sync::Arc;

/// A plugin of a profile.
#[derive(Debug, Clone)]
pub struct ProfileRow {
    /// Its name.
    pub name: &'static str,
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    /// Where it is called.
    pub points: Points,
    /// Weight of its scores.
    pub weight: i64,
}

impl ProfileRow {
    fn at(&self, point: Points) -> bool {
        self.points.has(point)
    }
}

/// Buffers kept between cycles.
#[derive(Debug, Clone)]
struct Scratch {
    state: CycleState,
    feasible: Vec<u32>,
    rejected: Vec<(u32, Verdict)>,
    /// Nodes where nominated pods leave no room.
    taken: Vec<(u32, Verdict)>,
    /// Rows whose Filter is skipped.
    skip: u32,
    /// The verdict on nodes not looked at.
    absent: Code,
    totals: Vec<i64>,
    scores: Vec<i64>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            state: CycleState::default(),
            feasible: Vec::new(),
            rejected: Vec::new(),
            taken: Vec::new(),
            skip: 0,
            absent: Code::UnschedulableAndUnresolvable,
            totals: Vec::new(),
            scores: Vec::new(),
        }
    }
}

impl Scratch {
    /// The verdict on a node, nominated pods considered.
    fn amended(&self, at: u32, verdict: Verdict) -> Verdict {
        self.taken.iter().find(|(taken, _)| *taken == at).map_or(verdict, |(_, v)| *v)
    }

    /// The same for a batch.
    fn amend(&self, first: usize, verdicts: &mut [Verdict]) {
        for &(at, verdict) in &self.taken {
            let i = (at as usize).checked_sub(first);
            if let Some(slot) = i.and_then(|i| verdicts.get_mut(i)) {
                *slot = verdict;
            }
        }
    }

    /// Takes in a batch whose nodes do not yet suffice: without a branch per node, since which of
    /// them fit is not to be guessed.
    fn keep_all(&mut self, here: std::ops::Range<u32>, verdicts: &[Verdict]) {
        let mut end = self.feasible.len();
        self.feasible.resize(end + verdicts.len(), 0);
        for (at, verdict) in here.clone().zip(verdicts) {
            self.feasible[end] = at;
            end += usize::from(verdict.passed());
        }
        self.feasible.truncate(end);
        let rejected = here.zip(verdicts).filter(|(_, verdict)| !verdict.passed());
        self.rejected.extend(rejected.map(|(at, verdict)| (at, *verdict)));
    }

    /// Takes the nodes of a batch in: those that fit, up to `enough`, and those that do not.
    fn sort_out(&mut self, first: usize, verdicts: &[Verdict], enough: usize) {
        let len = verdicts.len();
        let here = num::u32_of(first)..num::u32_of(first + len);
        if self.feasible.len() + len <= enough && verdicts.iter().all(|v| v.passed()) {
            self.feasible.extend(here);
            return;
        }
        let passed = verdicts.iter().filter(|v| v.passed()).count();
        if self.feasible.len() + passed < enough {
            self.keep_all(here, verdicts);
            return;
        }
        for (at, verdict) in here.zip(verdicts) {
            if !verdict.passed() {
                self.rejected.push((at, *verdict));
                continue;
            }
            self.feasible.push(at);
            if self.feasible.len() == enough {
                return;
            }
        }
    }
}

/// A profile.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its `schedulerName`.
    pub name: Sym,
    /// Its plugins, in order.
    pub rows: Vec<ProfileRow>,
    /// `percentageOfNodesToScore`.
    pub percentage: Option<u32>,
    /// Which nodes it looks at.
    search: Search,
    /// Per extension point the rows that are called, in order.
    order: [Vec<u8>; Points::NAMES.len()],
    /// The rows that begin Filter and are static: their verdicts can be looked up before the others
    /// are asked, and a node still shows the first plugin that rejects it.
    static_rows: u32,
    statics: Statics,
    scratch: Scratch,
}

/// What a cycle needs besides cache and pod.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Index of the node to begin with; moved on.
    pub start: &'a mut usize,
    /// Tie rule.
    pub ties: TieRule,
}

/// What a cycle has decided.
#[derive(Debug)]
pub struct Decision {
    /// The position of the node, or why there is none.
    pub node: Result<usize, Failure>,
    /// Nodes looked at.
    pub evaluated: u32,
    /// Nodes that fit.
    pub feasible: u32,
}

/// What the last cycle has looked at, by position.
#[derive(Debug, Clone, Copy)]
pub struct Looked<'a> {
    /// Nodes that fit, in the order in which they were found.
    pub feasible: &'a [u32],
    /// Nodes that do not, with the verdict.
    pub rejected: &'a [(u32, Verdict)],
    /// Totals of the feasible nodes, but for what is the same for all; only if there are several.
    pub totals: &'a [i64],
}

/// The nodes to look at.
enum Candidates {
    All,
    Some(Vec<u32>),
}

/// How many feasible nodes are enough (source: `numFeasibleNodesToFind`).
#[must_use]
pub fn enough_nodes(n: usize, percentage: Option<u32>) -> usize {
    const MIN: usize = 100;
    if n < MIN {
        return n;
    }
    let percent = match percentage {
        None | Some(0) => 50_usize.saturating_sub(n / 125).max(5),
        Some(p) => p as usize,
    };
    if percent >= 100 { n } else { (n * percent / 100).max(MIN) }
}

impl Profile {
    /// The profile of a configuration. Plugins that are not modelled are left out.
    #[must_use]
    pub fn new(config: &ProfileConfig) -> Self {
        let make = |enabled: &super::config::Enabled| {
            let row = policies::find(enabled.name)?;
            Some(ProfileRow {
                name: enabled.name,
                plugin: row.make?(&config.args),
                points: enabled.points,
                weight: enabled.weight,
            })
        };
        let mut made = Self {
            name: config.scheduler_name,
            rows: config.plugins.iter().filter_map(make).collect(),
            percentage: config.percentage,
            search: config.search,
            order: Default::default(),
            static_rows: 0,
            statics: Statics::default(),
            scratch: Scratch::default(),
        };
        for (order, (_, point)) in made.order.iter_mut().zip(Points::NAMES) {
            let rows = (0_u8..).zip(&made.rows).filter(|(_, row)| row.at(point));
            *order = rows.map(|(i, _)| i).collect();
            if let Some((_, names)) = config.order.iter().find(|(p, _)| *p == point) {
                let rank =
                    |i: &u8| names.iter().position(|n| *n == made.rows[usize::from(*i)].name);
                order.sort_by_key(rank);
            }
        }
        made.note_static_rows();
        made
    }

    /// Adds a plugin of the user's at the end.
    pub fn add(&mut self, row: ProfileRow) {
        let at = u8::try_from(self.rows.len()).expect("a profile has fewer than 32 plugins");
        for (order, (_, point)) in self.order.iter_mut().zip(Points::NAMES) {
            if row.at(point) {
                order.push(at);
            }
        }
        self.rows.push(row);
        self.note_static_rows();
    }

    fn note_static_rows(&mut self) {
        let first = self.rows_at(Points::FILTER).take_while(|(_, r)| r.plugin.is_static());
        self.static_rows = first.fold(0, |mask, (i, _)| mask | 1 << i);
    }

    /// The row numbers of the plugins at an extension point, in the order in which they are called.
    pub fn rows_at(&self, point: Points) -> impl Iterator<Item = (u8, &ProfileRow)> {
        let order = &self.order[num::index(u64::from(point.0.trailing_zeros()))];
        order.iter().map(|&i| (i, &self.rows[usize::from(i)]))
    }

    /// The GPUs for the pod of the last cycle on a node.
    #[must_use]
    pub fn devices(&self, view: View<'_>, at: usize) -> Devices {
        let Some(gpus) = &view.cache.at(at).gpus else { return Devices::NONE };
        let Some(ask) = GpuAsk::of(&view.pod.spec.requests) else { return Devices::NONE };
        let chosen = |(_, row): (u8, &ProfileRow)| {
            row.plugin.devices(view, &self.scratch.state, at).filter(|d| !d.is_empty())
        };
        let said = self.rows_at(Points::SCORE).filter_map(chosen).last();
        said.unwrap_or_else(|| gpus.best_fit(ask))
    }

    /// True if volumes are bound before pods are.
    #[must_use]
    pub fn binds_volumes(&self) -> bool {
        self.rows_at(Points::RESERVE).any(|(_, row)| row.name == "VolumeBinding")
    }

    /// `PreEnqueue`: the first plugin that holds the pod back.
    #[must_use]
    pub fn pre_enqueue(&self, pod: &Pod) -> Option<(u8, super::framework::Reason)> {
        self.rows_at(Points::PRE_ENQUEUE)
            .find_map(|(i, row)| Some((i, row.plugin.pre_enqueue(pod)?)))
    }

    /// Asks the cache for all that the plugins will read.
    pub fn prepare(&self, cache: &mut Cache, pod: &Pod, state: &mut CycleState) {
        for row in self.rows.iter().filter(|r| r.points != Points::NONE) {
            row.plugin.prepare(cache, pod, state);
        }
    }

    /// A scheduling cycle for a pod: `PreFilter` to Score, and the choice.
    pub fn decide(
        &mut self,
        cache: &mut Cache,
        pod: &Pod,
        turn: &mut Turn<'_>,
        draw: impl Fn(u64) -> u64,
    ) -> Decision {
        cache.settle();
        if cache.is_empty() {
            return Decision { node: Err(Failure::no_nodes()), evaluated: 0, feasible: 0 };
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.prepare(cache, pod, &mut scratch.state);
        let mut node = self.place(cache, pod, turn, &mut scratch, &draw);
        if let Err(failure) = &mut node {
            self.rescue(cache, pod, (turn.ties, draw(u64::MAX)), &mut scratch, failure);
        }
        let decision = Decision {
            node,
            evaluated: num::u32_of(scratch.feasible.len() + scratch.rejected.len()),
            feasible: num::u32_of(scratch.feasible.len()),
        };
        self.scratch = scratch;
        decision
    }

    /// What the last cycle has looked at: for tests that hold it to plainer ways.
    #[must_use]
    pub fn looked(&self) -> Looked<'_> {
        let Scratch { feasible, rejected, totals, .. } = &self.scratch;
        Looked { feasible, rejected, totals }
    }

    /// `PostFilter`: no node fits.
    fn rescue(
        &self,
        cache: &mut Cache,
        pod: &Pod,
        (ties, bits): (TieRule, u64),
        scratch: &mut Scratch,
        failure: &mut Failure,
    ) {
        let Scratch { state, rejected, skip, absent, .. } = scratch;
        let (skip, absent) = (*skip, *absent);
        let profile = self;
        let mut stuck =
            Stuck { profile, cache, pod, state, skip, rejected, absent, ties, bits, report: None };
        if let Some(said) = post_filter(&mut stuck) {
            failure.add(said);
        }
    }

    fn place(
        &mut self,
        cache: &mut Cache,
        pod: &Pod,
        turn: &mut Turn<'_>,
        scratch: &mut Scratch,
        draw: impl Fn(u64) -> u64,
    ) -> Result<usize, Failure> {
        scratch.feasible.clear();
        scratch.rejected.clear();
        scratch.taken.clear();
        scratch.skip = 0;
        let looked = self.pre_filter(View { cache, pod }, &mut scratch.state);
        let (skip, candidates) = looked.map_err(|rejection| {
            scratch.absent = rejection.1.code;
            Failure::of_pod(rejection.0, cache.len(), &rejection.1)
        })?;
        (scratch.skip, scratch.absent) = (skip, Code::UnschedulableAndUnresolvable);
        if !cache.nominator.is_empty() {
            let state = &mut scratch.state;
            let mut what_if = WhatIf { profile: self, cache, pod, state, skip };
            what_if.taken_by_nominated(&mut scratch.taken);
        }
        let view = View { cache, pod };
        let nominated = view.pod.status.nominated;
        if let Some(at) = view.cache.position(nominated).filter(|_| !nominated.is_empty())
            && scratch.amended(num::u32_of(at), self.judge(view, &scratch.state, skip, at)).passed()
        {
            scratch.feasible.push(num::u32_of(at));
            return Ok(at);
        }
        let start = self.first_node(*turn.start, view.cache.len());
        match &candidates {
            Candidates::All => self.filter_all(view, skip, start, scratch),
            Candidates::Some(list) => self.filter_some(view, skip, (list, start), scratch),
        }
        let seen = scratch.feasible.len() + scratch.rejected.len();
        *turn.start = (start + seen) % view.cache.len();
        match scratch.feasible.as_slice() {
            [] => {
                let absent = match candidates {
                    Candidates::All => None,
                    Candidates::Some(list) => Some(view.cache.len() - list.len()),
                };
                Err(Failure::of_nodes(self, view, &scratch.rejected, absent))
            }
            [one] => Ok(*one as usize),
            _ => {
                self.score(view, scratch);
                let i = turn.ties.pick(view.cache, &scratch.feasible, &scratch.totals, draw);
                Ok(scratch.feasible[i] as usize)
            }
        }
    }

    /// `PreFilter`: which rows Filter skips, and the nodes to look at. A rejection that preemption
    /// might resolve lets the other plugins speak first: one of them may reject for good, and a dry
    /// run needs what they have prepared (source: `framework.go` `RunPreFilterPlugins`).
    fn pre_filter(
        &self,
        view: View<'_>,
        state: &mut CycleState,
    ) -> Result<(u32, Candidates), (u8, Rejection)> {
        let mut skip = 0;
        let mut candidates = Candidates::All;
        let mut rejected = None;
        for (i, row) in self.rows_at(Points::PRE_FILTER) {
            match row.plugin.pre_filter(view, state) {
                PreFilter::Run => {}
                PreFilter::Skip => skip |= 1 << i,
                PreFilter::Narrow(list) => {
                    candidates = Candidates::Some(match candidates {
                        Candidates::All => list,
                        Candidates::Some(old) => {
                            old.into_iter().filter(|at| list.contains(at)).collect()
                        }
                    });
                }
                PreFilter::Reject(code, reasons) => {
                    let rejection = (i, Rejection { plugin: row.name, code, reasons });
                    if code != Code::Unschedulable {
                        return Err(rejection);
                    }
                    rejected = Some(rejection);
                }
            }
        }
        rejected.map_or(Ok((skip, candidates)), Err)
    }

    /// The rows whose Filter is to be called.
    fn filters(&self, skip: u32) -> impl Iterator<Item = (u8, &ProfileRow)> {
        self.rows_at(Points::FILTER).filter(move |(i, _)| skip >> i & 1 == 0)
    }

    /// The verdict on one node, plainly.
    #[must_use]
    pub fn judge(&self, view: View<'_>, state: &CycleState, skip: u32, at: usize) -> Verdict {
        for (i, row) in self.filters(skip) {
            let verdict = row.plugin.filter_node(view, state, at);
            if !verdict.passed() {
                return verdict.by(i);
            }
        }
        Verdict::PASS
    }

    fn filter_all(&mut self, view: View<'_>, skip: u32, start: usize, scratch: &mut Scratch) {
        let n = view.cache.len();
        let enough = self.enough(n);
        let mut statics = std::mem::take(&mut self.statics);
        let state = &scratch.state;
        let known = statics.of(view.cache, view.pod, |at| self.judge_static(view, state, at));
        let dynamic: SmallVec<[(u8, &dyn Plugin); 8]> =
            self.filters(skip | self.static_rows).map(|(row, r)| (row, &*r.plugin)).collect();
        let mut buffer = [Verdict::PASS; CHUNK];
        let mut done = 0;
        while done < n && scratch.feasible.len() < enough {
            let first = (start + done) % n;
            let len = CHUNK.min(n - first).min(n - done);
            let verdicts = &mut buffer[..len];
            if known.rejected == 0 {
                verdicts.fill(Verdict::PASS);
            } else {
                verdicts.copy_from_slice(&known.verdicts[first..first + len]);
            }
            for &(row, plugin) in &dynamic {
                plugin.filter(view, &scratch.state, &mut Batch { first, verdicts, row });
            }
            if !scratch.taken.is_empty() {
                scratch.amend(first, verdicts);
            }
            scratch.sort_out(first, verdicts, enough);
            done += len;
        }
        drop(dynamic);
        self.statics = statics;
    }

    /// The node to begin with, of so many, where the last cycle has left off at `start`.
    #[must_use]
    pub fn first_node(&self, start: usize, n: usize) -> usize {
        if self.search == Search::First { 0 } else { start % n }
    }

    /// How many feasible nodes are enough of so many.
    #[must_use]
    pub fn enough(&self, n: usize) -> usize {
        if self.search == Search::Enough { enough_nodes(n, self.percentage) } else { 1 }
    }

    /// Static plugins are judged without regard to Skip: what skips also passes.
    fn judge_static(&self, view: View<'_>, state: &CycleState, at: usize) -> Verdict {
        for (i, row) in self.filters(!self.static_rows) {
            let verdict = row.plugin.filter_node(view, state, at);
            if !verdict.passed() {
                return verdict.by(i);
            }
        }
        Verdict::PASS
    }

    fn filter_some(
        &self,
        view: View<'_>,
        skip: u32,
        (list, start): (&[u32], usize),
        scratch: &mut Scratch,
    ) {
        let enough = self.enough(list.len());
        for i in 0..list.len() {
            let at = list[(start + i) % list.len()];
            let verdict = self.judge(view, &scratch.state, skip, at as usize);
            let verdict = scratch.amended(at, verdict);
            if verdict.passed() {
                scratch.feasible.push(at);
            } else {
                scratch.rejected.push((at, verdict));
            }
            if scratch.feasible.len() == enough {
                break;
            }
        }
    }

    /// Totals of the feasible nodes, but for what is the same for all.
    fn score(&self, view: View<'_>, scratch: &mut Scratch) {
        let Scratch { state, feasible, totals, scores, .. } = scratch;
        totals.clear();
        totals.resize(feasible.len(), 0);
        scores.resize(feasible.len(), 0);
        for (_, row) in self.rows_at(Points::SCORE) {
            if !row.plugin.pre_score(view, state, feasible)
                || row.plugin.constant_score(view, state).is_some()
            {
                continue;
            }
            row.plugin.score(view, state, feasible, scores);
            row.plugin.normalize(view, state, feasible, scores);
            add_weighted(totals, scores, row.weight);
        }
    }
}

/// Adds scores to the totals. A weight of 1 is common, and a 64-bit product does not vectorise.
fn add_weighted(totals: &mut [i64], scores: &[i64], weight: i64) {
    wide(AddWeighted { totals, scores, weight });
}

struct AddWeighted<'a> {
    totals: &'a mut [i64],
    scores: &'a [i64],
    weight: i64,
}

impl Loop for AddWeighted<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pairs = self.totals.iter_mut().zip(self.scores);
        if self.weight == 1 {
            pairs.for_each(|(total, score)| *total += score);
        } else {
            pairs.for_each(|(total, score)| *total += self.weight * score);
        }
    }
}
