//! Distributions fitted by maximum likelihood. A span that the record cuts off counts with the
//! probability that it lasts longer than it was watched.

use super::spells::{Spell, ended_by};
use crate::engine::{Dist, SimDuration, num};

/// A family of distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Exponential.
    Exponential,
    /// Weibull.
    Weibull,
    /// Log-normal.
    LogNormal,
    /// Gamma.
    Gamma,
}

/// A member of a family, by the logarithms of its parameters: scale (mean, median) and shape
/// (sigma; nothing for the exponential).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    family: Family,
    scale: f64,
    shape: f64,
}

/// A fitted distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// What was fitted.
    pub member: Member,
    /// Logarithm of its likelihood.
    pub log_likelihood: f64,
    /// Akaike's criterion: twice the number of parameters less twice the logarithm.
    pub aic: f64,
    /// Kolmogorov's and Smirnov's: the farthest that it is away from the record's own shares.
    pub ks: f64,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exponential, Self::Weibull, Self::LogNormal, Self::Gamma];

    /// As scenarios call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Weibull => "weibull",
            Self::LogNormal => "lognormal",
            Self::Gamma => "gamma",
        }
    }

    const fn parameters(self) -> f64 {
        match self {
            Self::Exponential => 1.0,
            Self::Weibull | Self::LogNormal | Self::Gamma => 2.0,
        }
    }
}

impl Member {
    /// Of a family with a scale (mean, median) in seconds and a shape (sigma).
    #[must_use]
    pub fn new(family: Family, scale_s: f64, shape: f64) -> Self {
        Self { family, scale: num::ln(scale_s), shape: num::ln(shape) }
    }

    /// Its family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Scale, mean or median, seconds.
    #[must_use]
    pub fn scale_s(&self) -> f64 {
        num::exp(self.scale)
    }

    /// Shape or sigma; 1 for the exponential.
    #[must_use]
    pub fn shape(&self) -> f64 {
        num::exp(self.shape)
    }

    /// The distribution, as runs draw from it, with four significant digits.
    #[must_use]
    pub fn dist(&self) -> Dist {
        let scale = SimDuration::from_secs_f64(significant(self.scale_s()));
        let shape = significant(self.shape());
        match self.family {
            Family::Exponential => Dist::Exponential(scale),
            Family::Weibull => Dist::Weibull { scale, shape },
            Family::LogNormal => Dist::LogNormal { median: scale, sigma: shape },
            Family::Gamma => Dist::Gamma { scale, shape },
        }
    }

    /// The distribution, as scenarios write it, with four significant digits.
    #[must_use]
    pub fn written(&self) -> String {
        let (scale, shape) = (significant(self.scale_s()), significant(self.shape()));
        match self.family {
            Family::Exponential => format!("{{exponential: {scale}s}}"),
            Family::Weibull => format!("{{weibull: {{scale: {scale}s, shape: {shape}}}}}"),
            Family::LogNormal => format!("{{lognormal: {{median: {scale}s, sigma: {shape}}}}}"),
            Family::Gamma => format!("{{gamma: {{scale: {scale}s, shape: {shape}}}}}"),
        }
    }

    /// Its mean, seconds.
    #[must_use]
    pub fn mean_s(&self) -> f64 {
        let shape = self.shape();
        match self.family {
            Family::Exponential => self.scale_s(),
            Family::Weibull => num::exp(self.scale + num::ln_gamma(1.0 + 1.0 / shape)),
            Family::LogNormal => num::exp(self.scale + shape * shape / 2.0),
            Family::Gamma => self.scale_s() * shape,
        }
    }

    /// The probability of a span of at most so many seconds.
    #[must_use]
    pub fn below(&self, secs: f64) -> f64 {
        if secs <= 0.0 {
            return 0.0;
        }
        let log = num::ln(secs) - self.scale;
        match self.family {
            Family::Exponential => 1.0 - num::exp(-num::exp(log)),
            Family::Weibull => 1.0 - num::exp(-num::exp(log * self.shape())),
            Family::LogNormal => 1.0 - beyond_normal(log / self.shape()),
            Family::Gamma => num::gamma_p(self.shape(), num::exp(log)),
        }
    }

    /// The logarithm of the likelihood of spans.
    #[must_use]
    pub fn log_likelihood(&self, spells: &[Spell]) -> f64 {
        let shape = self.shape();
        let front = match self.family {
            Family::Exponential => 0.0,
            Family::Weibull => self.shape,
            Family::LogNormal => -self.shape - 0.5 * num::ln(std::f64::consts::TAU),
            Family::Gamma => -num::ln_gamma(shape),
        };
        let of = |spell: &Spell| {
            let log = num::ln(spell.secs) - self.scale;
            // Densities are per logarithm of the span; a span has one over its length of that.
            let each = match (self.family, spell.ended) {
                (Family::Exponential, true) => log - num::exp(log),
                (Family::Exponential, false) => -num::exp(log),
                (Family::Weibull, true) => front + shape * log - num::exp(shape * log),
                (Family::Weibull, false) => -num::exp(shape * log),
                (Family::LogNormal, true) => front - 0.5 * (log / shape) * (log / shape),
                (Family::LogNormal, false) => num::ln(beyond_normal(log / shape)),
                (Family::Gamma, true) => front + shape * log - num::exp(log),
                (Family::Gamma, false) => num::ln(num::gamma_q(shape, num::exp(log))),
            };
            spell.count * if spell.ended { each - num::ln(spell.secs) } else { each }
        };
        spells.iter().map(of).sum()
    }
}

/// The probability that a standard normal number is above `z`.
fn beyond_normal(z: f64) -> f64 {
    0.5 * num::erfc(z / std::f64::consts::SQRT_2)
}

/// Four significant digits.
fn significant(x: f64) -> f64 {
    if !x.is_finite() || x <= 0.0 {
        return 0.0;
    }
    let digits = 3 - num::trunc(libm::floor(num::log10(x)));
    let scale = num::pow(10.0, num::float(digits.abs()));
    if digits < 0 { libm::round(x / scale) * scale } else { libm::round(x * scale) / scale }
}

/// The most likely member of a family; none if fewer than two spans of different length have
/// ended.
#[must_use]
pub fn fit(family: Family, spells: &[Spell]) -> Option<Fit> {
    let member = most_likely(family, spells)?;
    let log_likelihood = member.log_likelihood(spells);
    let aic = 2.0 * family.parameters() - 2.0 * log_likelihood;
    Some(Fit { member, log_likelihood, aic, ks: distance(&member, spells) })
}

fn most_likely(family: Family, spells: &[Spell]) -> Option<Member> {
    let ended = || spells.iter().filter(|s| s.ended);
    let n: f64 = ended().map(|s| s.count).sum();
    let logs = |f: &dyn Fn(f64) -> f64| ended().map(|s| s.count * f(num::ln(s.secs))).sum::<f64>();
    let mean = logs(&|x| x) / n;
    let spread = num::sqrt(logs(&|x| (x - mean) * (x - mean)) / n);
    if ended().count() < 2 || !spread.is_finite() || spread <= 0.0 {
        return None;
    }
    let total: f64 = spells.iter().map(|s| s.count * s.secs).sum();
    let start = match family {
        // Failures over time watched: the maximum in closed form.
        Family::Exponential => return Some(Member::new(family, total / n, 1.0)),
        // What the logarithms of a Weibull or gamma variable would be like.
        Family::Weibull => [mean + 0.577 * spread / 1.283, num::ln(1.283 / spread)],
        Family::LogNormal => [mean, num::ln(spread)],
        Family::Gamma => {
            let shape = (1.283 / spread).min(1.0);
            [num::ln(total / n / shape), num::ln(shape)]
        }
    };
    let of = |at: [f64; 2]| Member { family, scale: at[0], shape: at[1] };
    let best = climb(|at| of(at).log_likelihood(spells), start);
    Some(of(best))
}

/// The farthest that a distribution is away from the shares of a record.
fn distance(member: &Member, spells: &[Spell]) -> f64 {
    let mut before = 0.0;
    let mut most = 0.0_f64;
    for (secs, after) in ended_by(spells) {
        let there = member.below(secs);
        most = most.max((there - before).abs()).max((there - after).abs());
        before = after;
    }
    most
}

/// Rounds of the climb at most, and the size of a triangle that is a point.
const ROUNDS: u32 = 600;
const POINT: f64 = 1e-9;

/// The top of a hill with one summit, by the triangle of Nelder and Mead (1965): it needs no
/// slopes, and of a likelihood in two parameters it finds the maximum to nine digits.
fn climb(height: impl Fn([f64; 2]) -> f64, start: [f64; 2]) -> [f64; 2] {
    let at = |p: [f64; 2]| {
        let h = height(p);
        (if h.is_finite() { h } else { f64::NEG_INFINITY }, p)
    };
    let [x, y] = start;
    let mut all = [at([x, y]), at([x + 0.3, y]), at([x, y + 0.3])];
    for _ in 0..ROUNDS {
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let [top, middle, worst] = all;
        let wide =
            (0..2).map(|i| (top.1[i] - worst.1[i]).abs().max((top.1[i] - middle.1[i]).abs()));
        if wide.fold(0.0, f64::max) < POINT {
            break;
        }
        let centre: [f64; 2] = [0, 1].map(|i| f64::midpoint(top.1[i], middle.1[i]));
        let along = |by: f64| at([0, 1].map(|i| centre[i] + by * (worst.1[i] - centre[i])));
        let mirrored = along(-1.0);
        all[2] = if mirrored.0 > top.0 {
            let farther = along(-2.0);
            if farther.0 > mirrored.0 { farther } else { mirrored }
        } else if mirrored.0 > middle.0 {
            mirrored
        } else {
            let nearer = along(if mirrored.0 > worst.0 { -0.5 } else { 0.5 });
            if nearer.0 > worst.0.max(mirrored.0) {
                nearer
            } else {
                let shrink = |p: [f64; 2]| at([0, 1].map(|i| f64::midpoint(p[i], top.1[i])));
                all[1] = shrink(middle.1);
                shrink(worst.1)
            }
        };
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all[0].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Draws, Purpose};

    /// So many draws, each watched for at most so long.
    fn drawn(dist: Dist, n: u64, watched: f64) -> Vec<Spell> {
        let draws = Draws::new(5);
        let mut all: Vec<Spell> = (0..n)
            .map(|i| {
                let secs = dist.sample(&mut draws.draw(1, Purpose("fit"), i)).secs_f64();
                Spell { secs: secs.min(watched), ended: secs <= watched, count: 1.0 }
            })
            // A span of a nanosecond may come out as none at all.
            .filter(|spell| spell.secs > 0.0)
            .collect();
        all.sort_by(|a, b| a.secs.total_cmp(&b.secs));
        all
    }

    fn near(got: f64, want: f64, share: f64) -> bool {
        (got / want - 1.0).abs() < share
    }

    #[test]
    fn what_was_drawn_is_found_again_even_if_half_is_cut_off() {
        let hour = SimDuration::from_secs(3600);
        for (family, dist, shape) in [
            (Family::Exponential, Dist::Exponential(hour), 1.0),
            (Family::Weibull, Dist::Weibull { scale: hour, shape: 0.5 }, 0.5),
            (Family::LogNormal, Dist::LogNormal { median: hour, sigma: 1.5 }, 1.5),
            (Family::Gamma, Dist::Gamma { scale: hour, shape: 0.4 }, 0.4),
        ] {
            for watched in [f64::MAX, 3600.0] {
                let spells = drawn(dist, 20_000, watched);
                let fit = fit(family, &spells).unwrap();
                let member = fit.member;
                assert!(near(member.scale_s(), 3600.0, 0.08), "{family:?}: {}", member.scale_s());
                assert!(near(member.shape(), shape, 0.04), "{family:?}: {}", member.shape());
                assert!(fit.ks < 0.015, "{family:?}: {}", fit.ks);
                // Its family is the best of all.
                for other in Family::ALL {
                    let other = super::fit(other, &spells).unwrap();
                    assert!(fit.aic <= other.aic + 2.5, "{family:?} {fit:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_log_normal_fit_is_that_of_the_logarithms() {
        let spell = |secs| Spell { secs, ended: true, count: 1.0 };
        let list = [spell(1.0), spell(10.0), spell(100.0), spell(1000.0)];
        let fit = fit(Family::LogNormal, &list).unwrap();
        let ten = num::ln(10.0);
        assert!(near(fit.member.scale_s(), num::exp(1.5 * ten), 1e-6));
        assert!(near(fit.member.shape(), ten * num::sqrt(1.25), 1e-6));
        // By hand: the sum of the logarithms of the four densities.
        let (mu, sigma) = (1.5 * ten, ten * num::sqrt(1.25));
        let density = |k: f64| {
            let z = (k * ten - mu) / sigma;
            -0.5 * z * z - k * ten - num::ln(sigma) - 0.5 * num::ln(std::f64::consts::TAU)
        };
        let by_hand: f64 = [0.0, 1.0, 2.0, 3.0].map(density).iter().sum();
        assert!((fit.log_likelihood - by_hand).abs() < 1e-9);
        assert!((fit.aic - (4.0 - 2.0 * by_hand)).abs() < 1e-9);
    }

    #[test]
    fn the_maximum_is_one() {
        let spells =
            drawn(Dist::Weibull { scale: SimDuration::from_secs(60), shape: 2.0 }, 500, 70.0);
        for family in [Family::Weibull, Family::LogNormal, Family::Gamma] {
            let best = most_likely(family, &spells).unwrap();
            let top = best.log_likelihood(&spells);
            for (scale, shape) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3)] {
                let other = Member { family, scale: best.scale + scale, shape: best.shape + shape };
                assert!(other.log_likelihood(&spells) < top, "{family:?}");
            }
        }
    }

    #[test]
    fn too_little_is_no_fit() {
        let spell = |secs, ended| Spell { secs, ended, count: 3.0 };
        for list in [vec![], vec![spell(5.0, true)], vec![spell(5.0, true), spell(9.0, false)]] {
            assert!(Family::ALL.iter().all(|family| fit(*family, &list).is_none()));
        }
    }

    #[test]
    fn four_digits_are_kept() {
        for (x, want) in [(12_345.6, 12_350.0), (0.123_456, 0.1235), (9.9999, 10.0), (1.0, 1.0)] {
            assert!((significant(x) - want).abs() < 1e-9, "{x}: {}", significant(x));
        }
        let member = Member::new(Family::Weibull, 12_345.6, 0.123_456);
        assert_eq!(member.written(), "{weibull: {scale: 12350s, shape: 0.1235}}");
        let read = crate::scenario::value::dist_of_text(&member.written()).unwrap();
        assert_eq!(read, member.dist());
    }
}
