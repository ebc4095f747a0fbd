//! A pod as a queueing station: so many requests at work, so many that wait, cores to share.
//!
//! Arrivals are Poisson and service is memoryless, so the number of requests in the pod is a
//! birth-death chain, which is solved for its steady state. With `i` requests at work, of which
//! each needs `cpu` core-seconds and otherwise waits for `latency`, as many leave per second as the
//! bounds of closed networks allow: `min(i / (latency + cpu), cores / cpu)` (Denning and Buzen, "The
//! Operational Analysis of Queueing Network Models", 1978). How fast a queue fills or drains after a
//! change is not modelled: rates change at once.

use crate::engine::{Dist, SimDuration, num};
use crate::event::traffic::Latencies;
use std::sync::Arc;

/// What a request costs whoever answers it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Core-time.
    pub cpu: SimDuration,
    /// Time besides: other services, disks, the network.
    pub latency: Dist,
    /// So many at work in a pod at a time.
    pub concurrency: u32,
    /// So many more wait in a pod; the next one is refused.
    pub queue: u32,
    /// After this the client gives up.
    pub timeout: SimDuration,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            cpu: SimDuration::from_millis(5),
            latency: Dist::Constant(SimDuration::from_millis(5)),
            concurrency: 100,
            queue: 100,
            timeout: SimDuration::from_secs(10),
        }
    }
}

/// What comes of requests that reach a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Share that finds the queue full.
    pub refused: f64,
    /// Share that is answered too late.
    pub late: f64,
    /// Requests in the pod, on average.
    pub inside: f64,
    /// Cores in use.
    pub cores: f64,
    /// Latencies of those answered in time; its weight is their share.
    pub latency: Arc<Latencies>,
}

/// Quantiles that stand for a distribution of latencies.
const POINTS: u32 = 32;

/// A request as numbers.
#[derive(Debug, Clone)]
pub struct Station {
    cpu: f64,
    /// Mean and quantiles of the time besides.
    mean: f64,
    points: Vec<f64>,
    concurrency: u32,
    queue: u32,
    timeout: f64,
}

impl Station {
    /// The station of pods that answer such requests.
    #[must_use]
    pub fn new(request: &Request) -> Self {
        let n = f64::from(POINTS);
        let point = |i: u32| request.latency.quantile((f64::from(i) + 0.5) / n).secs_f64();
        let points: Vec<f64> = match request.latency {
            Dist::Constant(d) => vec![d.secs_f64()],
            Dist::Uniform(..)
            | Dist::Exponential(_)
            | Dist::LogNormal { .. }
            | Dist::Weibull { .. }
            | Dist::Gamma { .. } => (0..POINTS).map(point).collect(),
        };
        let count = num::float(num::i64_of(points.len()));
        Self {
            cpu: request.cpu.secs_f64(),
            mean: points.iter().sum::<f64>() / count,
            points,
            concurrency: request.concurrency.max(1),
            queue: request.queue,
            timeout: request.timeout.secs_f64(),
        }
    }

    /// What comes of `rate` requests per second at a pod with so many cores, each of which takes
    /// `slow` times as long as it should; `extra` seconds pass before they reach it.
    #[must_use]
    pub fn outcome(&self, rate: f64, cores: f64, slow: u32, extra: f64) -> Outcome {
        let slow = f64::from(slow);
        let (cpu, mean) = (self.cpu * slow, self.mean * slow);
        let alone = (cpu + mean).max(1e-9);
        let most = if cpu > 0.0 { cores / cpu } else { f64::INFINITY };
        let leave = |j: u32| (f64::from(j.min(self.concurrency)) / alone).min(most);
        let chain = chain(rate, self.concurrency + self.queue, leave);
        let refused = chain.last().copied().unwrap_or(0.0);
        let admitted = 1.0 - refused;
        let inside = (0_u32..).zip(&chain).map(|(j, p)| f64::from(j) * p).sum::<f64>();
        let mut all = Latencies::default();
        // Whoever comes finds `j` others: it waits until but `concurrency` are left, and is served
        // as fast as that many are.
        let mut group = (0.0, 0.0);
        for (j, p) in (0_u32..).zip(&chain).take(chain.len() - 1) {
            let ahead = (j + 1).saturating_sub(self.concurrency);
            let waits = f64::from(ahead) / leave(j + 1);
            let at_work = (j + 1).min(self.concurrency);
            let served = f64::from(at_work) / leave(at_work) - mean;
            group.0 += p;
            group.1 += p * (waits + served);
            if group.0 > 0.02 || j + 2 == num::u32_of(chain.len()) {
                self.spread(group, extra, slow, &mut all);
                group = (0.0, 0.0);
            }
        }
        let late = all.cut(self.timeout);
        let cores = (rate * admitted * self.cpu).min(cores);
        Outcome { refused, late, inside, cores, latency: Arc::new(all) }
    }

    /// Adds requests that wait and are served for so long, besides what each takes of itself.
    fn spread(&self, (p, sum): (f64, f64), extra: f64, slow: f64, into: &mut Latencies) {
        if p <= 0.0 {
            return;
        }
        let each = p / num::float(num::i64_of(self.points.len()));
        for point in &self.points {
            into.add(point * slow + sum / p + extra, each);
        }
    }
}

/// Steady state of a birth-death chain of `0..=most`, with births at one rate.
fn chain(rate: f64, most: u32, leave: impl Fn(u32) -> f64) -> Vec<f64> {
    let mut weights = vec![1.0_f64];
    let (mut weight, mut sum) = (1.0_f64, 1.0_f64);
    for j in 1..=most {
        weight *= rate / leave(j);
        if weight > 1e200 {
            // What came before is nothing beside it.
            weights.iter_mut().for_each(|w| *w *= 1e-200);
            sum *= 1e-200;
            weight *= 1e-200;
        }
        weights.push(weight);
        sum += weight;
    }
    weights.iter_mut().for_each(|w| *w /= sum);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cpu_ms: u64, latency_ms: u64, concurrency: u32, queue: u32) -> Station {
        let ms = SimDuration::from_millis;
        Station::new(&Request {
            cpu: ms(cpu_ms),
            latency: Dist::Constant(ms(latency_ms)),
            concurrency,
            queue,
            timeout: SimDuration::from_secs(60),
        })
    }

    /// Erlang's formulas for M/M/c, by their sums.
    fn erlang_c(servers: u32, load: f64) -> f64 {
        let (mut term, mut sum) = (1.0, 0.0);
        for k in 0..servers {
            sum += term;
            term *= load / f64::from(k + 1);
        }
        let tail = term / (1.0 - load / f64::from(servers));
        tail / (sum + tail)
    }

    #[test]
    fn waits_are_those_of_erlang() {
        for (servers, rate) in [(1, 50.0), (4, 300.0), (10, 950.0)] {
            let outcome = request(0, 10, servers, 5_000).outcome(rate, 1.0, 1, 0.0);
            let load = rate * 0.01;
            let wait = erlang_c(servers, load) * 0.01 / (f64::from(servers) - load);
            let inside = rate * (wait + 0.01);
            assert!((outcome.inside / inside - 1.0).abs() < 1e-3, "{servers}: {outcome:?}");
            assert!(outcome.refused < 1e-9);
        }
    }

    #[test]
    fn losses_are_those_of_erlang() {
        // M/M/5/5 with five erlangs loses 28.5 %.
        let outcome = request(0, 10, 5, 0).outcome(500.0, 1.0, 1, 0.0);
        assert!((outcome.refused - 0.284_9).abs() < 1e-3, "{}", outcome.refused);
    }

    #[test]
    fn cores_bound_what_is_served() {
        // Half a core at 5 ms each: 100 per second, whatever comes.
        let outcome = request(5, 0, 50, 50).outcome(400.0, 0.5, 1, 0.0);
        assert!((400.0 * (1.0 - outcome.refused) - 100.0).abs() < 0.5);
        assert!((outcome.cores - 0.5).abs() < 0.01);
        // A hundred inside, one leaves each 10 ms.
        assert!((outcome.latency.quantile(0.5).unwrap() - 1.0).abs() < 0.1);
    }

    #[test]
    fn who_is_late_is_not_answered() {
        let mut station = request(5, 0, 50, 50);
        station.timeout = 0.5;
        let outcome = station.outcome(400.0, 0.5, 1, 0.0);
        // A hundred are inside, a second long; all who are let in, a quarter, come too late.
        assert!((outcome.late - 0.25).abs() < 0.01, "{}", outcome.late);
    }

    #[test]
    fn an_idle_pod_answers_in_its_own_time() {
        let outcome = request(5, 20, 100, 100).outcome(0.001, 4.0, 1, 0.001);
        assert!((outcome.latency.quantile(0.5).unwrap() - 0.026).abs() < 0.002);
        assert!((outcome.inside - 0.001 * 0.025).abs() < 1e-6);
        let slow = request(5, 20, 100, 100).outcome(0.001, 4.0, 3, 0.0);
        assert!((slow.latency.quantile(0.5).unwrap() - 0.075).abs() < 0.005);
    }
}
