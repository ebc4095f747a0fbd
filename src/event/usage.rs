//! What the metrics server has scraped last: written by it alone, read by the API server, which
//! hands the metrics APIs on to it.

use crate::api::LabelSet;
use crate::api::autoscaling::{MetricQuery, PodMetric};
use crate::engine::Sym;
use rustc_hash::FxHashMap;

/// A sample and the labels of its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Labels of the pod; none for a value that belongs to no pod.
    pub labels: Option<LabelSet>,
    /// The sample.
    pub metric: PodMetric,
}

/// The samples of the last scrape.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    serving: bool,
    by_name: FxHashMap<(Sym, Sym), Vec<Sample>>,
}

impl Usage {
    /// A scrape begins: what was known is forgotten.
    pub fn begin(&mut self) {
        self.serving = true;
        self.by_name.clear();
    }

    /// A sample of a namespace under the name of a metric.
    pub fn add(&mut self, ns: Sym, name: Sym, sample: Sample) {
        self.by_name.entry((ns, name)).or_default().push(sample);
    }

    /// The answer to a query; none while no metrics server answers.
    #[must_use]
    pub fn query(&self, ns: Sym, query: &MetricQuery) -> Option<Vec<PodMetric>> {
        if !self.serving {
            return None;
        }
        let asked = |sample: &&Sample| match (&query.pods, sample.labels) {
            (Some(selector), Some(labels)) => selector.matches(labels),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let samples = self.by_name.get(&(ns, query.name)).into_iter().flatten();
        Some(samples.filter(asked).map(|s| s.metric).collect())
    }
}
