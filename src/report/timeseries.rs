//! The run on a grid of instants. The grid's step doubles whenever the samples become too many, so
//! that a run of ten seconds and one of ten days cost the same memory.

pub use super::nodes::COLD;
use super::nodes::{NodeTable, Room};
use super::pods::{STATES, State};
use super::rows::Line;
use crate::engine::{SimDuration, SimTime};

/// When samples outnumber this, every other one goes.
const MOST: usize = 1024;

/// Cells of heat: of more nodes than 8,192 not every sample is kept, for no picture is as fine.
const MOST_HEAT: usize = 1 << 23;

/// The finest step.
const FINEST: SimDuration = SimDuration::from_millis(100);

/// The cluster at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub time: SimTime,
    /// Pods by [`State::index`].
    pub states: [u32; 7],
    /// Most pods that waited for a node at once since the sample before.
    pub waiting_peak: u32,
    /// CPU and memory that pods without a node request.
    pub waiting: (i64, i64),
    /// Ready nodes.
    pub nodes_ready: u32,
    /// Free CPU of Ready nodes, and how much of it pods cannot use on average, milli-cores.
    pub free: (i64, i64),
    /// The whole cluster.
    pub all: Room,
}

/// What is counted between samples.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// Pods by [`State::index`].
    pub states: [u32; 7],
    /// Most pods that waited for a node at once since the last sample.
    pub waiting_peak: u32,
    /// Most ever.
    pub waiting_most: u32,
    /// CPU and memory that pods without a node request.
    pub waiting: (i64, i64),
}

impl Gauges {
    /// A pod's state begins (or with −1 ends).
    pub fn turn(&mut self, state: State, sign: i32) {
        let n = &mut self.states[state.index()];
        *n = n.saturating_add_signed(sign);
        if state == State::Waiting {
            self.waiting_peak = self.waiting_peak.max(*n);
            self.waiting_most = self.waiting_most.max(*n);
        }
    }
}

/// Samples with their per-zone and per-node columns.
#[derive(Debug, Clone)]
pub struct TimeSeries {
    /// Samples in order.
    pub samples: Vec<Sample>,
    /// Rooms of the zones: [`TimeSeries::zones`] for each sample.
    pub rooms: Vec<Room>,
    /// CPU requested of each node in per cent, [`COLD`] if not Ready: a row of nodes for the first
    /// of every [`TimeSeries::every`] samples.
    heat: Vec<u8>,
    /// Samples to a row of heat.
    every: usize,
    /// Number of zones.
    pub zones: usize,
    /// Number of nodes.
    pub nodes: usize,
    step: SimDuration,
    next: SimTime,
}

impl TimeSeries {
    /// An empty series.
    #[must_use]
    pub fn new(zones: usize, nodes: usize) -> Self {
        Self {
            samples: Vec::new(),
            rooms: Vec::new(),
            heat: Vec::new(),
            every: (MOST * nodes).div_ceil(MOST_HEAT).max(1).next_power_of_two(),
            zones,
            nodes,
            step: FINEST,
            next: SimTime::ZERO,
        }
    }

    /// The first sample is taken at this instant, not at the start of the run.
    pub fn begin(&mut self, now: SimTime) {
        self.next = self.next.max(now);
    }

    /// True if a sample is due before something happens at `now`.
    #[must_use]
    pub fn due(&self, now: SimTime) -> bool {
        now > self.next
    }

    /// Takes every sample that is due before `now`.
    pub fn catch_up(&mut self, now: SimTime, gauges: &mut Gauges, nodes: &mut NodeTable) {
        while self.next < now {
            self.take(self.next, gauges, nodes);
            if self.samples.len() > MOST {
                self.thin();
            }
            self.next += self.step;
        }
    }

    /// The last sample, at the end of the run.
    pub fn close(&mut self, now: SimTime, gauges: &mut Gauges, nodes: &mut NodeTable) {
        self.catch_up(now, gauges, nodes);
        self.take(now, gauges, nodes);
    }

    fn take(&mut self, time: SimTime, gauges: &mut Gauges, nodes: &mut NodeTable) {
        nodes.settle(time);
        self.samples.push(Sample {
            time,
            states: gauges.states,
            waiting_peak: gauges.waiting_peak,
            waiting: gauges.waiting,
            nodes_ready: nodes.ready,
            free: nodes.fragments.now(),
            all: nodes.all,
        });
        gauges.waiting_peak = gauges.states[State::Waiting.index()];
        let mut rooms = nodes.zone_rooms.iter().copied();
        self.rooms.extend((0..self.zones).map(|_| rooms.next().unwrap_or_default()));
        if (self.samples.len() - 1).is_multiple_of(self.every) {
            let known = self.nodes.min(nodes.heat.len());
            self.heat.extend_from_slice(&nodes.heat[..known]);
            self.heat.resize(self.samples.len().div_ceil(self.every) * self.nodes, COLD);
        }
    }

    /// CPU requested of a node at a sample in per cent, [`COLD`] if it was not Ready.
    #[must_use]
    pub fn heat(&self, sample: usize, node: usize) -> u8 {
        self.heat[sample / self.every * self.nodes + node]
    }

    /// Every other sample goes; peaks move to the one that stays.
    fn thin(&mut self) {
        let n = self.samples.len();
        let mut kept = 0;
        let mut peak = 0;
        for i in 0..n {
            peak = peak.max(self.samples[i].waiting_peak);
            if i % 2 == 1 {
                continue;
            }
            self.samples[kept] = Sample { waiting_peak: peak, ..self.samples[i] };
            self.rooms.copy_within(i * self.zones..(i + 1) * self.zones, kept * self.zones);
            if kept.is_multiple_of(self.every) {
                let (from, to) = (i / self.every, kept / self.every);
                self.heat.copy_within(from * self.nodes..(from + 1) * self.nodes, to * self.nodes);
            }
            kept += 1;
            peak = 0;
        }
        self.samples.truncate(kept);
        self.rooms.truncate(kept * self.zones);
        self.heat.truncate(kept.div_ceil(self.every) * self.nodes);
        let last = self.samples.last().map_or(SimTime::ZERO, |s| s.time);
        self.step = self.step.times(2);
        // The grid stays a grid: the next instant is a step of the new size after the last one
        // kept.
        self.next = last;
    }

    /// The rooms of the zones at a sample.
    #[must_use]
    pub fn rooms_at(&self, sample: usize) -> &[Room] {
        &self.rooms[sample * self.zones..(sample + 1) * self.zones]
    }

    /// `timeseries.csv`.
    #[must_use]
    pub fn csv(&self, nodes: &NodeTable) -> Vec<u8> {
        let mut line = Line::default();
        self.head(&mut line, nodes);
        let mut out = line.end().to_vec();
        for (i, sample) in self.samples.iter().enumerate() {
            line.begin().seconds(sample.time);
            for state in STATES {
                line.uint(u64::from(sample.states[state.index()]));
            }
            line.uint(u64::from(sample.waiting_peak)).uint(u64::from(sample.nodes_ready));
            line.milli(sample.waiting.0).int(sample.waiting.1);
            line.milli(sample.free.0).milli(sample.free.1);
            room_fields(&mut line, &sample.all);
            for room in self.rooms_at(i) {
                room_fields(&mut line, room);
            }
            out.extend_from_slice(line.end());
        }
        out
    }

    fn head(&self, line: &mut Line, nodes: &NodeTable) {
        line.begin().text("time_s");
        for state in STATES {
            line.text(state.column());
        }
        line.text("pods_pending_unbound_peak").text("nodes_ready");
        line.text("waiting_cpu_cores").text("waiting_memory_bytes");
        line.text("free_cpu_cores").text("fragmented_cpu_cores");
        let zones = nodes.zones.iter().take(self.zones);
        let names = zones.map(|z| if z.is_empty() { "none" } else { z.as_str() });
        for prefix in std::iter::once(String::new()).chain(names.map(|n| format!("zone_{n}_"))) {
            for column in [
                "cpu_requested_cores",
                "cpu_allocatable_cores",
                "memory_requested_bytes",
                "memory_allocatable_bytes",
            ] {
                line.text(&format!("{prefix}{column}"));
            }
        }
    }
}

fn room_fields(line: &mut Line, room: &Room) {
    line.milli(room.cpu).milli(room.cpu_allocatable);
    line.int(room.memory).int(room.memory_allocatable);
}
