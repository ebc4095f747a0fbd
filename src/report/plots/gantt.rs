//! What followed from each fault: how long it lasted, until it was noticed, while pods were evicted
//! and replaced, until all replicas served again.

use super::axes::{Frame, Mark};
use super::picture::{Anchor, Colour, FAINT, FAULT, GREEN, INK, ORANGE, PURPLE, Picture, SKY, cut};
use crate::engine::num;
use crate::report::summary::{FaultSummary, Summary};
use crate::report::text::{clock, count, span};

/// Faults in the picture.
const MOST: usize = 8;
/// Height of a bar with the gap below it, and of the line above the bars of a fault.
const BAR: f64 = 18.0;
const HEAD: f64 = 24.0;

/// A bar: what it shows, in which colour, from when to when.
type Bar = (&'static str, Colour, f64, f64);

/// The picture; none if no fault began.
#[must_use]
pub fn draw(summary: &Summary) -> Option<Picture> {
    let begun: Vec<(&FaultSummary, Vec<Bar>)> = (summary.faults.iter())
        .filter_map(|fault| Some((fault, bars(fault, summary.ended_s)?)))
        .collect();
    let shown = &begun[..begun.len().min(MOST)];
    let all = || shown.iter().flat_map(|(_, bars)| bars);
    let from = all().map(|bar| bar.2).min_by(f64::total_cmp)?;
    let to = all().map(|bar| bar.3).max_by(f64::total_cmp)?;
    let room = (to - from).max(1.0) * 0.04;
    let high = |bars: &Vec<Bar>| HEAD + BAR * f64::from(num::u32_of(bars.len())) + 8.0;
    let bottom = shown.iter().fold(112.0, |y, (_, bars)| y + high(bars));
    let mut below =
        "from its begin to the last of each; what did not come about has no bar".to_owned();
    if begun.len() > shown.len() {
        below = format!("the first {} of {} faults; {below}", shown.len(), begun.len());
    }
    let height = u32::try_from(num::trunc(bottom + 56.0)).unwrap_or(400);
    let mut picture = Picture::new(1000, height, &title(summary), &below);
    let frame = Frame {
        left: 190.0,
        top: 96.0,
        // Room for what stands beside the last bar.
        right: 910.0,
        bottom,
        x0: (from - room).max(0.0),
        x1: to + room,
        y1: 1.0,
    };
    let spans = shown.iter().filter_map(|(fault, _)| {
        let to = fault.ended_s.unwrap_or(summary.ended_s);
        Some(Mark { words: String::new(), from: fault.at_s?, to })
    });
    frame.shade(&mut picture, &spans.collect::<Vec<_>>());
    let mut y = 100.0;
    for (fault, bars) in shown {
        let name = if fault.name.is_empty() { String::new() } else { format!("{}: ", fault.name) };
        let words = format!("{name}{} at {}", fault.what, clock(fault.at_s.unwrap_or_default()));
        picture.text((24.0, y + 14.0), 13.0, Anchor::Start, INK, &cut(&words, 13.0, 930.0));
        y += HEAD;
        for bar in bars {
            self::bar(&mut picture, &frame, bar, y);
            y += BAR;
        }
        y += 8.0;
    }
    frame.time_axis(&mut picture, true);
    Some(picture)
}

/// The bars of a fault; none if it never began.
fn bars(fault: &FaultSummary, end: f64) -> Option<Vec<Bar>> {
    let at = fault.at_s?;
    let lasts = ("fault", FAULT, Some(at), Some(fault.ended_s.unwrap_or(end)));
    let rows = [
        lasts,
        ("noticed", SKY, Some(at), fault.detected_s),
        ("evictions", ORANGE, fault.first_evicted_s, fault.last_evicted_s),
        ("replacements bound", PURPLE, fault.first_rescheduled_s, fault.last_rescheduled_s),
        ("all replicas again", GREEN, Some(at), fault.recovered_s),
    ];
    let known = |(words, colour, from, to): (&'static str, Colour, Option<f64>, Option<f64>)| {
        Some((words, colour, from?, to?))
    };
    Some(rows.into_iter().filter_map(known).collect())
}

fn bar(picture: &mut Picture, frame: &Frame, (words, colour, from, to): &Bar, y: f64) {
    picture.text((182.0, y + 11.0), 12.0, Anchor::End, FAINT, words);
    let (left, right) = (frame.x(*from), frame.x(*to));
    let tip = format!("{words}: {} to {}", clock(*from), clock(*to));
    picture.tip((left, y, (right - left).max(2.0), BAR - 5.0), *colour, tip);
    picture.text((right + 5.0, y + 11.0), 11.0, Anchor::Start, INK, &span(to - from));
}

fn title(summary: &Summary) -> String {
    let begun: Vec<&FaultSummary> = summary.faults.iter().filter(|f| f.at_s.is_some()).collect();
    let longest = begun.iter().filter_map(|f| Some((f.recovered_s? - f.at_s?, f)));
    let faults = count(begun.len() as u64, "fault");
    match longest.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((lasts, fault)) => {
            format!(
                "{faults}; until all replicas served again after {}: {}",
                fault.what,
                span(lasts)
            )
        }
        None => format!("{faults}; what followed"),
    }
}
