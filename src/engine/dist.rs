//! Distributions of durations, as values that can stand in a scenario file.

use super::draw::Draw;
use super::num;
use super::time::SimDuration;

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
}

impl Dist {
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
        }
    }
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
    fn means_are_right() {
        let ten = SimDuration::from_secs(10);
        assert!((mean_s(Dist::Exponential(ten)) - 10.0).abs() < 0.3);
        assert!((mean_s(Dist::Uniform(SimDuration::ZERO, ten)) - 5.0).abs() < 0.1);
        let log = Dist::LogNormal { median: ten, sigma: 0.5 };
        assert!((mean_s(log) - 10.0 * num::exp(0.125)).abs() < 0.3);
        let weibull = Dist::Weibull { scale: ten, shape: 1.0 };
        assert!((mean_s(weibull) - 10.0).abs() < 0.3);
    }
}
