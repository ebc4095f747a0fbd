//! How full each node was over time: a row per node, grouped by zone.

use super::axes::Frame;
use super::picture::{Anchor, Colour, FAINT, INK, Picture, cut};
use super::{marks, span_of};
use crate::engine::num;
use crate::report::metrics::Metrics;
use crate::report::summary::Summary;
use crate::report::text::count;
use crate::report::timeseries::COLD;

/// Columns of the picture.
const BUCKETS: usize = 230;
/// Rows of the picture; larger clusters show means of neighbouring nodes.
const MOST_ROWS: usize = 120;

/// Steps of lightness from empty to full (a blue ramp, even in lightness).
const RAMP: [Colour; 6] = [
    Colour(0xef, 0xf3, 0xf8),
    Colour(0xc6, 0xdb, 0xef),
    Colour(0x93, 0xc2, 0xe0),
    Colour(0x4f, 0x9b, 0xcb),
    Colour(0x1f, 0x6f, 0xad),
    Colour(0x08, 0x3c, 0x7d),
];
/// A node that is not Ready.
const DOWN: Colour = Colour(0xd5, 0x5e, 0x00);

fn shade(percent: u8) -> Colour {
    match percent {
        COLD => DOWN,
        0..=4 => RAMP[0],
        5..=24 => RAMP[1],
        25..=49 => RAMP[2],
        50..=74 => RAMP[3],
        75..=94 => RAMP[4],
        95..=254 => RAMP[5],
    }
}

/// The picture.
#[must_use]
pub fn draw(metrics: &Metrics, summary: &Summary) -> Picture {
    let order = order(metrics);
    let group = order.len().div_ceil(MOST_ROWS).max(1);
    let zone_of = |i: &usize| metrics.nodes.rows[*i].zone;
    let zones = order.chunk_by(|a, b| zone_of(a) == zone_of(b));
    let rows: Vec<&[usize]> = zones.flat_map(|zone| zone.chunks(group)).collect();
    let n = f64::from(num::u32_of(rows.len()).max(1));
    let row_high = libm::floor((420.0 / n).clamp(3.0, 16.0));
    let bottom = 112.0 + n * row_high;
    let high = u32::try_from(num::trunc(bottom + 56.0)).unwrap_or(500);
    let below = if group > 1 {
        format!("CPU requested per node over time; a row is {group} neighbouring nodes")
    } else {
        "CPU requested per node over time, share of allocatable".to_owned()
    };
    let mut picture = Picture::new(1000, high, &title(metrics, summary), &below);
    legend(&mut picture);
    let frame = Frame {
        left: 150.0,
        top: 112.0,
        right: 966.0,
        bottom,
        x0: 0.0,
        x1: span_of(summary),
        y1: n,
    };
    let mut y = 112.0;
    let mut zone_top = (112.0, usize::MAX);
    for row in &rows {
        let zone = metrics.nodes.rows[row[0]].zone as usize;
        if zone != zone_top.1 {
            zone_label(&mut picture, metrics, zone_top.1, zone_top.0, y);
            zone_top = (y, zone);
        }
        cells(&mut picture, &frame, metrics, row, y, row_high);
        y += row_high;
    }
    zone_label(&mut picture, metrics, zone_top.1, zone_top.0, y);
    frame.faults(&mut picture, &marks(summary), true);
    frame.time_axis(&mut picture, true);
    picture
}

/// Nodes by zone, then in order of the plan.
fn order(metrics: &Metrics) -> Vec<usize> {
    let mut order: Vec<usize> = (0..metrics.series.nodes.min(metrics.nodes.rows.len())).collect();
    order.sort_by_key(|&i| metrics.nodes.rows[i].zone);
    order
}

fn zone_label(picture: &mut Picture, metrics: &Metrics, zone: usize, top: f64, bottom: f64) {
    let Some(name) = metrics.nodes.zones.get(zone) else { return };
    let words = if name.is_empty() { "nodes".to_owned() } else { format!("zone {name}") };
    let middle = f64::midpoint(top, bottom) + 4.0;
    picture.text((140.0, middle), 12.0, Anchor::End, INK, &cut(&words, 12.0, 124.0));
    picture.line(vec![(146.0, top + 1.0), (146.0, bottom - 1.0)], FAINT, 1.5);
}

/// The cells of one row: neighbouring buckets of one shade are one rectangle.
fn cells(
    picture: &mut Picture,
    frame: &Frame,
    metrics: &Metrics,
    row: &[usize],
    y: f64,
    high: f64,
) {
    let series = &metrics.series;
    let samples = series.samples.len();
    if samples == 0 {
        return;
    }
    let every = samples.div_ceil(BUCKETS);
    let gap = if high >= 6.0 { 1.0 } else { 0.0 };
    let mut open: Option<(f64, Colour)> = None;
    let buckets = (0..samples).step_by(every).map(|at| {
        let until = (at + every).min(samples);
        (series.samples[at].time.secs_f64(), shade(value(metrics, row, at..until)))
    });
    let end = (span_of_series(metrics), Colour(0, 0, 0));
    for (time, colour) in buckets.chain([end]) {
        let x = frame.x(time);
        if let Some((from, before)) = open
            && (before != colour || time >= end.0)
        {
            picture.rect((from, y, x - from, high - gap), before, 1.0);
            open = None;
        }
        if open.is_none() {
            open = Some((x, colour));
        }
    }
}

fn span_of_series(metrics: &Metrics) -> f64 {
    metrics.ended.secs_f64()
}

/// Mean of a bucket; not Ready if any of its nodes was not Ready all the time.
fn value(metrics: &Metrics, row: &[usize], samples: std::ops::Range<usize>) -> u8 {
    let (mut sum, mut n, mut cold) = (0_u64, 0_u64, 0_u64);
    for at in samples {
        for &node in row {
            match metrics.series.heat(at, node) {
                COLD => cold += 1,
                percent => {
                    sum += u64::from(percent);
                    n += 1;
                }
            }
        }
    }
    if cold > n { COLD } else { u8::try_from(sum / n.max(1)).unwrap_or(254).min(254) }
}

fn legend(picture: &mut Picture) {
    let steps = [
        (RAMP[0], "under 5 %"),
        (RAMP[1], "5–25 %"),
        (RAMP[2], "25–50 %"),
        (RAMP[3], "50–75 %"),
        (RAMP[4], "75–95 %"),
        (RAMP[5], "95 % and more"),
        (DOWN, "not Ready"),
    ];
    let mut x = 150.0;
    for (colour, words) in steps {
        picture.rect((x, 66.0, 16.0, 12.0), colour, 1.0);
        picture.text((x + 21.0, 77.0), 12.0, Anchor::Start, INK, words);
        x += 21.0 + super::picture::width_of(words, 12.0) + 12.0;
    }
}

fn title(metrics: &Metrics, summary: &Summary) -> String {
    let ready = || metrics.series.samples.iter().map(|s| s.nodes_ready);
    let all = ready().max().unwrap_or(0);
    // While nodes boot they are not missed.
    let least = ready().skip_while(|n| *n < all).min().unwrap_or(0);
    if least < all {
        return format!("At the worst {least} of {} were Ready", count(u64::from(all), "node"));
    }
    format!(
        "All {} stayed Ready; {:.0} % of CPU requested on average",
        count(u64::from(all), "node"),
        100.0 * summary.cpu_utilisation
    )
}
