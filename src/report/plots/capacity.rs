//! CPU and memory requested against allocatable, one small plot per zone.

use super::axes::{Frame, nice};
use super::picture::{Anchor, BLUE, INK, Picture, RED, width_of};
use super::{marks, span_of};
use crate::engine::num;
use crate::report::metrics::Metrics;
use crate::report::nodes::Room;
use crate::report::summary::Summary;
use crate::report::text::clock;

/// More zones than this are not drawn one by one.
const MOST_ZONES: usize = 8;

const GIB: f64 = 1_073_741_824.0;

/// The picture.
#[must_use]
pub fn draw(metrics: &Metrics, summary: &Summary) -> Picture {
    let series = &metrics.series;
    let split = series.zones > 1 && series.zones <= MOST_ZONES;
    let panels: Vec<Option<usize>> =
        if split { (0..series.zones).map(Some).collect() } else { vec![None] };
    let rows = f64::from(u32::try_from(panels.len()).unwrap_or(1));
    let height = 118.0 + rows * 148.0 + 24.0;
    let high = u32::try_from(num::trunc(height)).unwrap_or(400);
    let below = "requested by pods against what Ready nodes offer; left CPU, right memory";
    let mut picture = Picture::new(1000, high, &title(metrics), below);
    legend(&mut picture);
    let top = tops(metrics, &panels);
    let mut y = 118.0;
    for panel in &panels {
        let last = panel == panels.last().unwrap_or(&None);
        for (column, of) in [cpu as Of, memory as Of].into_iter().enumerate() {
            let left = if column == 0 { 64.0 } else { 564.0 };
            let frame = Frame {
                left,
                top: y,
                right: left + 404.0,
                bottom: y + 100.0,
                x0: 0.0,
                x1: span_of(summary),
                y1: if column == 0 { top.0 } else { top.1 },
            };
            let name = panel.map_or("whole cluster".to_owned(), |z| {
                let zone = metrics.nodes.zones[z];
                if zone.is_empty() { "no zone".to_owned() } else { format!("zone {zone}") }
            });
            let unit = if column == 0 { "CPU, cores" } else { "memory, GiB" };
            frame.shade(&mut picture, &marks(summary));
            frame.y_axis(&mut picture, 3, &format!("{name}: {unit}"));
            frame.faults(&mut picture, &marks(summary), false);
            curves(&mut picture, &frame, metrics, *panel, of);
            frame.time_axis(&mut picture, last);
        }
        y += 148.0;
    }
    picture
}

/// Requested and allocatable of one resource.
type Of = fn(&Room) -> (f64, f64);

fn cpu(room: &Room) -> (f64, f64) {
    (num::float(room.cpu) / 1e3, num::float(room.cpu_allocatable) / 1e3)
}

fn memory(room: &Room) -> (f64, f64) {
    (num::float(room.memory) / GIB, num::float(room.memory_allocatable) / GIB)
}

fn room(metrics: &Metrics, sample: usize, panel: Option<usize>) -> Room {
    panel.map_or(metrics.series.samples[sample].all, |z| metrics.series.rooms_at(sample)[z])
}

/// One scale for all zones, so that they can be compared.
fn tops(metrics: &Metrics, panels: &[Option<usize>]) -> (f64, f64) {
    let mut top = (0.0_f64, 0.0_f64);
    for sample in 0..metrics.series.samples.len() {
        for panel in panels {
            let room = room(metrics, sample, *panel);
            let ((a, b), (c, d)) = (cpu(&room), memory(&room));
            top = (top.0.max(a).max(b), top.1.max(c).max(d));
        }
    }
    let round = |v: f64| {
        let step = nice(v.max(1.0) / 3.0);
        libm::ceil(v.max(1.0) / step) * step
    };
    (round(top.0), round(top.1))
}

fn curves(picture: &mut Picture, frame: &Frame, metrics: &Metrics, panel: Option<usize>, of: Of) {
    let (mut used, mut offered) = (Vec::new(), Vec::new());
    for (i, sample) in metrics.series.samples.iter().enumerate() {
        let x = frame.x(sample.time.secs_f64());
        let (requested, allocatable) = of(&room(metrics, i, panel));
        step(&mut used, x, frame.y(requested));
        step(&mut offered, x, frame.y(allocatable));
    }
    picture.line(offered, RED, 1.6);
    picture.line(used, BLUE, 1.8);
}

/// Values hold until they change.
fn step(points: &mut Vec<(f64, f64)>, x: f64, y: f64) {
    if let Some(&(_, before)) = points.last()
        && (before - y).abs() > 0.05
    {
        points.push((x, before));
    }
    points.push((x, y));
}

fn legend(picture: &mut Picture) {
    let mut x = 64.0;
    for (colour, words) in [(BLUE, "requested"), (RED, "allocatable")] {
        picture.line(vec![(x, 74.0), (x + 22.0, 74.0)], colour, 2.5);
        picture.text(x + 28.0, 78.0, 12.0, Anchor::Start, INK, words);
        x += 28.0 + width_of(words, 12.0) + 18.0;
    }
}

fn title(metrics: &Metrics) -> String {
    let fullest = metrics
        .series
        .samples
        .iter()
        .filter(|s| s.all.cpu_allocatable > 0)
        .map(|s| {
            let cpu = num::float(s.all.cpu) / num::float(s.all.cpu_allocatable);
            let memory = num::float(s.all.memory) / num::float(s.all.memory_allocatable.max(1));
            if cpu >= memory { (cpu, "CPU", s.time) } else { (memory, "memory", s.time) }
        })
        .rev()
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match fullest {
        Some((share, what, time)) if share > 0.0 => format!(
            "The cluster was fullest at {}: {:.0} % of {what} requested",
            clock(time.secs_f64()),
            100.0 * share
        ),
        Some(_) | None => "No pod ever took up room".to_owned(),
    }
}
