//! What happened to each workload: a band per workload, green while full, amber while short, red
//! while none served.

use super::axes::Frame;
use super::picture::{
    Anchor, Colour, FAINT, GREEN, GRID, INK, ORANGE, Picture, RED, cut, width_of,
};
use super::{marks, span_of};
use crate::engine::{SimTime, num};
use crate::report::metrics::Metrics;
use crate::report::summary::Summary;
use crate::report::text::{clock, count, span};
use crate::report::workloads::{Outage, Point, WorkloadRow};

/// Bands in the picture.
const MOST: usize = 20;
const BAND: f64 = 30.0;

/// The picture.
#[must_use]
pub fn draw(metrics: &Metrics, summary: &Summary) -> Picture {
    let rows = chosen(metrics);
    let serving = summary.workloads.len();
    let bands = f64::from(num::u32_of(rows.len()).max(1));
    let bottom = 118.0 + bands * BAND;
    let mut below = "replicas that serve, of those wanted; \
        a pod on a dead machine serves no more, whatever the API still says"
        .to_owned();
    if serving > rows.len() {
        below = format!("the {} worst of {serving} workloads; {below}", rows.len());
    }
    let high = u32::try_from(num::trunc(bottom + 56.0)).unwrap_or(400);
    let mut picture = Picture::new(1000, high, &title(summary), &below);
    legend(&mut picture);
    let frame = Frame {
        left: 190.0,
        top: 112.0,
        right: 966.0,
        bottom,
        x0: 0.0,
        x1: span_of(summary),
        y1: 1.0,
    };
    frame.shade(&mut picture, &marks(summary));
    if rows.is_empty() {
        let words = "this run has no workload that keeps replicas";
        picture.text(587.0, 136.0, 13.0, Anchor::Middle, FAINT, words);
    }
    let mut y = 118.0;
    for row in rows {
        let name = cut(&row.label, 12.0, 172.0);
        picture.text(182.0, y + 17.0, 12.0, Anchor::End, INK, &name);
        band(&mut picture, &frame, row, metrics.ended, y);
        y += BAND;
    }
    frame.faults(&mut picture, &marks(summary), true);
    frame.time_axis(&mut picture, true);
    picture
}

/// The workloads that were short for the longest time, in order of their names' appearance.
fn chosen(metrics: &Metrics) -> Vec<&WorkloadRow> {
    let mut rows: Vec<(u64, usize, &WorkloadRow)> = metrics
        .workloads
        .rows
        .iter()
        .enumerate()
        .filter(|(_, w)| w.serves() && w.timeline.iter().any(|p| p.desired > 0))
        .map(|(i, w)| (Outage::of(&w.timeline, metrics.ended).short().0, i, w))
        .collect();
    rows.sort_by_key(|(short, i, _)| (std::cmp::Reverse(*short), *i));
    rows.truncate(MOST);
    rows.sort_by_key(|(_, i, _)| *i);
    rows.into_iter().map(|(_, _, w)| w).collect()
}

fn colour(point: &Point) -> Colour {
    if point.desired <= 0 {
        GRID
    } else if point.available >= point.desired {
        GREEN
    } else if point.available > 0 {
        ORANGE
    } else {
        RED
    }
}

/// One band: neighbouring spans of one colour are one rectangle with the fewest replicas on it.
fn band(picture: &mut Picture, frame: &Frame, row: &WorkloadRow, end: SimTime, y: f64) {
    let line = &row.timeline;
    let mut at = 0;
    while at < line.len() {
        let tint = colour(&line[at]);
        let until = (at + 1..line.len()).find(|&j| colour(&line[j]) != tint).unwrap_or(line.len());
        let to = line.get(until).map_or(end, |p| p.time);
        let worst = line[at..until].iter().min_by_key(|p| p.available).unwrap_or(&line[at]);
        let (from_s, to_s) = (line[at].time.secs_f64(), to.secs_f64());
        let (left, right) = (frame.x(from_s), frame.x(to_s));
        let words = format!("{}/{}", worst.available, worst.desired);
        let tip =
            format!("{}: {words} from {} for {}", row.label, clock(from_s), span(to_s - from_s));
        // A span too short to see is still drawn one pixel wide: it happened.
        picture.tip((left, y, (right - left).max(1.0), BAND - 8.0), tint, tip);
        if right - left > width_of(&words, 11.0) + 6.0 && worst.desired > 0 {
            let middle = f64::midpoint(left, right);
            let ink = if tint == ORANGE { INK } else { Colour(0xff, 0xff, 0xfe) };
            picture.text(middle, y + 15.5, 11.0, Anchor::Middle, ink, &words);
        }
        at = until;
    }
}

fn legend(picture: &mut Picture) {
    let mut x = 190.0;
    for (colour, words) in
        [(GREEN, "all replicas"), (ORANGE, "short (fewest of wanted)"), (RED, "none available")]
    {
        picture.rect((x, 66.0, 12.0, 12.0), colour, 1.0);
        picture.text(x + 17.0, 77.0, 12.0, Anchor::Start, INK, words);
        x += 17.0 + width_of(words, 12.0) + 14.0;
    }
}

fn title(summary: &Summary) -> String {
    let all = summary.workloads.len();
    let short: Vec<_> = summary.workloads.iter().filter(|w| w.short_s > 0.0).collect();
    let never = summary.workloads.iter().filter(|w| w.first_full_s.is_none()).count();
    let worst = short.iter().max_by(|a, b| a.short_s.total_cmp(&b.short_s));
    match worst {
        Some(w) => {
            let down = short.iter().filter(|w| w.none_s > 0.0).count();
            format!(
                "{} of {} short of replicas ({down} down altogether); longest: {} for {}",
                short.len(),
                count(all as u64, "workload"),
                w.workload,
                span(w.short_s)
            )
        }
        None if never > 0 => {
            format!("{never} of {} never had all replicas", count(all as u64, "workload"))
        }
        None => format!("No workload was ever short of replicas ({all} in all)"),
    }
}
