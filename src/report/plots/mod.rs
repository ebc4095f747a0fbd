//! The pictures people look at first. Titles say the finding; axes carry units; colours are
//! those of Okabe and Ito, which colour-blind readers can tell apart.

pub mod axes;
pub mod bands;
pub mod beside;
pub mod boxes;
pub mod capacity;
pub mod cdf;
pub mod cost;
pub mod gantt;
pub mod heatmap;
pub mod legend;
pub mod pareto;
pub mod pending;
pub mod phases;
pub mod picture;
pub mod png;
pub mod requests;
pub mod svg;
pub mod timeline;

use super::metrics::Metrics;
use super::summary::Summary;
use axes::Mark;
use picture::Picture;

/// Every picture with the name of its file, in the order of the page.
#[must_use]
pub fn all(metrics: &Metrics, summary: &Summary) -> Vec<(&'static str, Picture)> {
    let mut all = vec![
        ("workloads", timeline::draw(metrics, summary)),
        ("pods", phases::draw(metrics, summary)),
        ("capacity", capacity::draw(metrics, summary)),
        ("nodes", heatmap::draw(metrics, summary)),
        ("pending", pending::draw(metrics, summary)),
    ];
    if let Some(picture) = requests::draw(metrics, summary) {
        all.insert(1, ("requests", picture));
    }
    if let Some(picture) = cost::draw(metrics, summary) {
        all.push(("cost", picture));
    }
    if let Some(picture) = gantt::draw(summary) {
        all.insert(1, ("faults", picture));
    }
    all
}

/// The faults of a run as marks on the axis of time.
fn marks(summary: &Summary) -> Vec<Mark> {
    summary
        .faults
        .iter()
        .filter_map(|fault| {
            let from = fault.at_s?;
            let to = fault.ended_s.unwrap_or(summary.ended_s);
            Some(Mark { words: fault.what.clone(), from, to })
        })
        .collect()
}

/// The span the pictures show: the run, and never nothing.
fn span_of(summary: &Summary) -> f64 {
    summary.ended_s.max(1e-3)
}
