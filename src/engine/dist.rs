//! Distributions of durations, as values that can stand in a scenario file.

use super::digest::mix;
use super::draw::{Draw, Draws, Purpose};
use super::num;
use super::time::SimDuration;
use std::sync::{Arc, OnceLock};

/// A distribution over spans of time; parameters in seconds where they are floats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dist {
    /// Always the same.
    Constant(SimDuration),
    /// Uniform between two spans (upper end excluded).
    Uniform(SimDuration, SimDuration),
    /// Exponential with this mean.
    Exponential(SimDuration),
    /// Log-normal given by its median and the standard deviation of the logarithm.
    LogNormal {
        /// Half of the draws are below it.
        median: SimDuration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Weibull with a scale and a shape.
    Weibull {
        /// 63 % of the draws are below it.
        scale: SimDuration,
        /// Below 1: infant mortality; above 1: wear-out.
        shape: f64,
    },
    /// Gamma with a scale and a shape; its mean is their product.
    Gamma {
        /// Scale.
        scale: SimDuration,
        /// Below 1: many short ones and a few long ones.
        shape: f64,
    },
}

impl Dist {
    /// The same distribution with all values so many percent as long.
    #[must_use]
    pub fn stretched(self, percent: u64) -> Self {
        let s = |d: SimDuration| SimDuration(d.times(percent).0 / 100);
        match self {
            Self::Constant(d) => Self::Constant(s(d)),
            Self::Uniform(low, high) => Self::Uniform(s(low), s(high)),
            Self::Exponential(mean) => Self::Exponential(s(mean)),
            Self::LogNormal { median, sigma } => Self::LogNormal { median: s(median), sigma },
            Self::Weibull { scale, shape } => Self::Weibull { scale: s(scale), shape },
            Self::Gamma { scale, shape } => Self::Gamma { scale: s(scale), shape },
        }
    }

    /// A value of this distribution.
    #[must_use]
    pub fn sample(&self, draw: &mut Draw) -> SimDuration {
        match *self {
            Self::Constant(d) => d,
            Self::Uniform(low, high) => {
                SimDuration(low.0 + draw.below(high.0.saturating_sub(low.0)))
            }
            Self::Exponential(mean) => mean.scale(-num::ln(1.0 - draw.unit())),
            Self::LogNormal { median, sigma } => median.scale(num::exp(sigma * normal(draw))),
            Self::Weibull { scale, shape } => {
                scale.scale(num::pow(-num::ln(1.0 - draw.unit()), 1.0 / shape))
            }
            Self::Gamma { scale, shape } => scale.scale(gamma_quantile(shape, draw.unit())),
        }
    }
}

impl Dist {
    /// The span below which a share `p` of the draws lies.
    #[must_use]
    pub fn quantile(&self, p: f64) -> SimDuration {
        match *self {
            Self::Constant(d) => d,
            Self::Uniform(low, high) => low + SimDuration(high.0.saturating_sub(low.0)).scale(p),
            Self::Exponential(mean) => mean.scale(-num::ln(1.0 - p)),
            Self::LogNormal { median, sigma } => {
                median.scale(num::exp(sigma * num::normal_quantile(p)))
            }
            Self::Weibull { scale, shape } => scale.scale(num::pow(-num::ln(1.0 - p), 1.0 / shape)),
            Self::Gamma { scale, shape } => scale.scale(gamma_quantile(shape, p)),
        }
    }
}

/// Values of a distribution that are drawn beforehand: 4096 give its quantiles to about 1 %.
const TABLE: u64 = 4096;

/// A distribution that is sampled all the time: each value is one of a table's, which a few
/// multiplications choose, where a draw and the distribution itself cost a block of `ChaCha` and
/// logarithms. The table is made when it is first needed.
#[derive(Debug, Clone)]
pub struct Tabled {
    dist: Dist,
    purpose: Purpose,
    table: OnceLock<(u64, Arc<[SimDuration]>)>,
}

impl Tabled {
    /// The distribution, sampled for a purpose.
    #[must_use]
    pub const fn new(dist: Dist, purpose: Purpose) -> Self {
        Self { dist, purpose, table: OnceLock::new() }
    }

    /// The value of an entity (by its stable hash), keyed by an ordinal as a draw is.
    #[must_use]
    pub fn of(&self, entity: u64, ordinal: u64, draws: &Draws) -> SimDuration {
        if let Dist::Constant(d) = self.dist {
            return d;
        }
        let (key, values) = self.table.get_or_init(|| {
            let value = |i| self.dist.sample(&mut draws.draw(0, self.purpose, i));
            (draws.draw(1, self.purpose, 0).bits(), (0..TABLE).map(value).collect())
        });
        values[num::index(mix(mix(*key, entity), ordinal) % TABLE)]
    }
}

/// The value below which a standard gamma variable lies with probability `p`: by halving, so that
/// one uniform number gives one value.
fn gamma_quantile(shape: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, shape.max(1.0));
    while num::gamma_p(shape, high) < p && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if num::gamma_p(shape, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// A standard normal number (Box–Muller; two uniforms, one result).
fn normal(draw: &mut Draw) -> f64 {
    let (u, v) = (1.0 - draw.unit(), draw.unit());
    num::sqrt(-2.0 * num::ln(u)) * num::cos(std::f64::consts::TAU * v)
}

#[cfg(test)]
mod tests {
    use super::super::draw::{Draws, Purpose};
    use super::*;

    fn mean_s(dist: Dist) -> f64 {
        let draws = Draws::new(3);
        let n = 20_000;
        let sum: f64 =
            (0..n).map(|i| dist.sample(&mut draws.draw(1, Purpose("dist"), i)).secs_f64()).sum();
        sum / num::float_u(n)
    }

    #[test]
    fn a_table_has_the_distribution() {
        let draws = Draws::new(3);
        let tabled = Tabled::new(Dist::Exponential(SimDuration::from_secs(10)), Purpose("dist"));
        let all: Vec<f64> = (0..20_000).map(|i| tabled.of(7, i, &draws).secs_f64()).collect();
        assert_eq!(
            all,
            (0..20_000).map(|i| tabled.of(7, i, &draws).secs_f64()).collect::<Vec<_>>()
        );
        let mean = all.iter().sum::<f64>() / 20_000.0;
        assert!((mean - 10.0).abs() < 0.5, "mean {mean}");
        let below = all.iter().filter(|x| **x < 10.0 * std::f64::consts::LN_2).count();
        assert!((9_600..10_400).contains(&below), "{below} of 20,000 below the median");
        let other = (0..100).filter(|i| tabled.of(8, *i, &draws) == tabled.of(7, *i, &draws));
        assert!(other.count() < 5, "two entities share their values");
    }

    #[test]
    fn means_are_right() {
        let ten = SimDuration::from_secs(10);
        assert!((mean_s(Dist::Exponential(ten)) - 10.0).abs() < 0.3);
        assert!((mean_s(Dist::Uniform(SimDuration::ZERO, ten)) - 5.0).abs() < 0.1);
        let log = Dist::LogNormal { median: ten, sigma: 0.5 };
        assert!((mean_s(log) - 10.0 * num::exp(0.125)).abs() < 0.3);
        let weibull = Dist::Weibull { scale: ten, shape: 1.0 };
        assert!((mean_s(weibull) - 10.0).abs() < 0.3);
        let gamma = Dist::Gamma { scale: ten, shape: 0.5 };
        assert!((mean_s(gamma) - 5.0).abs() < 0.3);
        let exponential = Dist::Gamma { scale: ten, shape: 1.0 };
        assert!((mean_s(exponential) - 10.0).abs() < 0.3);
    }
}
