//! Pods by phase over time, stacked.

use super::axes::{Frame, nice};
use super::picture::{
    Anchor, BLUE, Colour, FAINT, INK, ORANGE, PURPLE, Picture, RED, SKY, YELLOW, width_of,
};
use super::{marks, span_of};
use crate::engine::num;
use crate::report::metrics::Metrics;
use crate::report::pods::{STATES, State};
use crate::report::summary::Summary;
use crate::report::text::{clock, count};

fn colour(state: State) -> Colour {
    match state {
        State::Ready => BLUE,
        State::Starting => SKY,
        State::Waiting => ORANGE,
        State::NotReady => RED,
        State::Terminating => PURPLE,
        State::Failed => YELLOW,
        State::Succeeded => FAINT,
    }
}

/// Succeeded pods only pile up and would flatten all else: they are told in words.
fn shown(metrics: &Metrics) -> Vec<State> {
    let seen = |state: State| metrics.series.samples.iter().any(|s| s.states[state.index()] > 0);
    STATES.into_iter().filter(|s| *s != State::Succeeded && seen(*s)).collect()
}

/// The picture.
#[must_use]
pub fn draw(metrics: &Metrics, summary: &Summary) -> Picture {
    let states = shown(metrics);
    let samples = &metrics.series.samples;
    let total = |i: usize| -> u32 { states.iter().map(|s| samples[i].states[s.index()]).sum() };
    let most = (0..samples.len()).map(total).max().unwrap_or(0);
    let mut picture = Picture::new(1000, 420, &title(metrics, summary), &below(summary));
    let top = f64::from(most.max(1));
    let frame = Frame {
        left: 64.0,
        top: 108.0,
        right: 966.0,
        bottom: 366.0,
        x0: 0.0,
        x1: span_of(summary),
        y1: (libm::ceil(top / nice(top / 5.0)) * nice(top / 5.0)).max(1.0),
    };
    frame.shade(&mut picture, &marks(summary));
    frame.y_axis(&mut picture, 5, "");
    let mut floor = vec![0_u32; samples.len()];
    for state in &states {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (sample, below) in samples.iter().zip(&floor) {
            points.push((frame.x(sample.time.secs_f64()), frame.y(f64::from(*below))));
        }
        for (below, sample) in floor.iter_mut().zip(samples) {
            *below += sample.states[state.index()];
        }
        let upper = samples.iter().zip(&floor).rev();
        points.extend(
            upper.map(|(s, level)| (frame.x(s.time.secs_f64()), frame.y(f64::from(*level)))),
        );
        picture.shapes.push(super::picture::Shape::Area(points, colour(*state), 0.9));
    }
    frame.faults(&mut picture, &marks(summary), true);
    frame.time_axis(&mut picture, true);
    legend(&mut picture, &states);
    picture
}

fn legend(picture: &mut Picture, states: &[State]) {
    let mut x = 64.0;
    for state in states {
        let words = state.words();
        picture.rect((x, 64.0, 12.0, 12.0), colour(*state), 0.9);
        picture.text(x + 17.0, 75.0, 12.0, Anchor::Start, INK, words);
        x += 17.0 + width_of(words, 12.0) + 14.0;
    }
}

fn title(metrics: &Metrics, summary: &Summary) -> String {
    let p = &summary.pods;
    let most = count(u64::from(p.waiting_most), "pod");
    let when = metrics
        .series
        .samples
        .iter()
        .max_by_key(|s| (s.waiting_peak, std::cmp::Reverse(s.time)))
        .map_or(0.0, |s| s.time.secs_f64());
    match (p.unscheduled_at_end, p.waiting_most) {
        (0, 0) => "No pod had to wait for a node".to_owned(),
        (0, _) => format!("At most {most} waited for a node (at {}), none at the end", clock(when)),
        (left, _) => format!("{} without a node at the end", count(u64::from(left), "pod")),
    }
}

fn below(summary: &Summary) -> String {
    let p = &summary.pods;
    let mut text = String::from("pods by phase");
    for (n, word) in [(p.succeeded, "Succeeded"), (p.evicted, "evicted"), (p.failed, "Failed")] {
        if n > 0 {
            text.push_str(&format!("; {n} {word}"));
        }
    }
    let whole = num::float_u(p.created);
    text.push_str(&format!("; {whole:.0} created in all"));
    text
}
