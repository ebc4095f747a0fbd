//! Paired statistics: policies compared on the same seeds meet the same arrivals and failures, so
//! the differences per seed are the data.

use crate::engine::num;

/// What n pairs of samples say about the difference `b` − `a`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Pairs of which both values are numbers.
    pub n: usize,
    /// Mean of the first samples.
    pub mean_a: f64,
    /// Mean of the second samples.
    pub mean_b: f64,
    /// Mean difference; exactly 0 if every pair is identical.
    pub difference: f64,
    /// 95 % interval of the mean difference by Student's t; none for fewer than two pairs.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value of "no difference"; 1 for fewer than two pairs.
    pub p: f64,
    /// Every pair is identical.
    pub identical: bool,
}

/// Compares samples pair by pair. Pairs with a value that is not finite are left out.
#[must_use]
pub fn paired(a: &[f64], b: &[f64]) -> Paired {
    let (mut result, error) = compared(a, b);
    if result.n > 1 {
        let half = t_quantile(0.975, num::float_u(result.n as u64 - 1)) * error;
        result.interval = Some((result.difference - half, result.difference + half));
    }
    result
}

/// The p-value of [`paired`] alone: the interval costs a hundred times as much.
#[must_use]
pub fn p_value(a: &[f64], b: &[f64]) -> f64 {
    compared(a, b).0.p
}

/// All of [`paired`] but the interval, and the standard error of the difference.
fn compared(a: &[f64], b: &[f64]) -> (Paired, f64) {
    let pairs: Vec<(f64, f64)> = a
        .iter()
        .copied()
        .zip(b.iter().copied())
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let n = pairs.len();
    let identical = n > 0 && pairs.iter().all(|(x, y)| x.total_cmp(y).is_eq());
    let differences: Vec<f64> = pairs.iter().map(|(x, y)| y - x).collect();
    let mean_a = mean(pairs.iter().map(|p| p.0), n);
    let mean_b = mean(pairs.iter().map(|p| p.1), n);
    let difference = if identical { 0.0 } else { mean(differences.iter().copied(), n) };
    let mut result = Paired { n, mean_a, mean_b, difference, interval: None, p: 1.0, identical };
    if n < 2 {
        return (result, f64::NAN);
    }
    let free = num::float_u(n as u64 - 1);
    let squares: f64 = differences.iter().map(|d| (d - difference) * (d - difference)).sum();
    let error = num::sqrt(squares / free / num::float_u(n as u64));
    result.p = if identical {
        1.0
    } else if error <= 0.0 {
        0.0
    } else {
        2.0 * (1.0 - t_cdf((difference / error).abs(), free))
    };
    (result, error)
}

/// The mean of samples and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Samples that are numbers.
    pub n: usize,
    /// Their mean; not a number if there is none.
    pub mean: f64,
    /// 95 % interval of the mean by Student's t; none for fewer than two samples.
    pub interval: Option<(f64, f64)>,
}

/// The mean of samples; those that are not finite are left out.
#[must_use]
pub fn estimate(samples: &[f64]) -> Estimate {
    let zeros = vec![0.0; samples.len()];
    let Paired { n, mean_b, interval, .. } = paired(&zeros, samples);
    Estimate { n, mean: mean_b, interval }
}

/// The same of samples none of which is below zero, as spans and counts are: nor is their mean, so
/// the interval is cut there, which takes nothing from its coverage. With a sample below zero it
/// is the plain interval.
#[must_use]
pub fn estimate_of_spans(samples: &[f64]) -> Estimate {
    let plain = estimate(samples);
    if samples.iter().any(|x| *x < 0.0) {
        return plain;
    }
    Estimate { interval: plain.interval.map(|(low, high)| (low.max(0.0), high)), ..plain }
}

fn mean(values: impl Iterator<Item = f64>, n: usize) -> f64 {
    if n == 0 { f64::NAN } else { values.sum::<f64>() / num::float_u(n as u64) }
}

/// Student's t distribution function with so many degrees of freedom.
#[must_use]
pub fn t_cdf(t: f64, free: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(free / 2.0, 0.5, free / (free + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The quantile of Student's t: the value that a share `p` (0 < p < 1) lies below.
#[must_use]
pub fn t_quantile(p: f64, free: f64) -> f64 {
    if p < 0.5 {
        return -t_quantile(1.0 - p, free);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while t_cdf(high, free) < p && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if t_cdf(middle, free) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function by Lentz's continued fraction.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = num::exp(
        num::ln_gamma(a + b) - num::ln_gamma(a) - num::ln_gamma(b)
            + a * num::ln(x)
            + b * num::ln(1.0 - x),
    );
    // The fraction converges fast on one side only; the other side is its mirror image.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - x) / b
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for i in 1..500_u32 {
        let m = f64::from(i);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// Holm's correction: p-values adjusted for having looked at all of them, in the order given.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]).then(i.cmp(&j)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut floor = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        let left = num::float_u((p_values.len() - rank) as u64);
        floor = floor.max((p_values[i] * left).min(1.0));
        adjusted[i] = floor;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_equal_the_printed_table() {
        // Source: NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.2 (0.975).
        for (free, want) in [
            (1.0, 12.706),
            (2.0, 4.303),
            (3.0, 3.182),
            (4.0, 2.776),
            (9.0, 2.262),
            (19.0, 2.093),
            (29.0, 2.045),
            (99.0, 1.984),
        ] {
            let got = t_quantile(0.975, free);
            assert!((got - want).abs() < 6e-4, "{free}: {got} is not {want}");
            assert!((t_cdf(got, free) - 0.975).abs() < 1e-12);
            assert!((t_quantile(0.025, free) + got).abs() < 1e-9);
        }
    }

    #[test]
    fn a_worked_example() {
        // Differences 1, 2, 3, 4: mean 2.5, standard error 0.645497, t(0.975, 3) = 3.182446.
        let result = paired(&[1.0, 1.0, 1.0, 1.0], &[2.0, 3.0, 4.0, 5.0]);
        let (low, high) = result.interval.unwrap();
        assert!((result.difference - 2.5).abs() < 1e-12);
        assert!((low - 0.445_74).abs() < 1e-4 && (high - 4.554_26).abs() < 1e-4, "{low} {high}");
        assert!((result.p - 0.030_466).abs() < 1e-5, "{}", result.p);
    }

    #[test]
    fn an_estimate_is_that_of_the_differences_from_zero() {
        let result = estimate(&[1.0, 2.0, f64::NAN, 3.0, 4.0]);
        let (low, high) = result.interval.unwrap();
        assert_eq!((result.n, result.mean.to_bits()), (4, 2.5_f64.to_bits()));
        assert!((low - 0.445_74).abs() < 1e-4 && (high - 4.554_26).abs() < 1e-4, "{low} {high}");
        assert!(estimate(&[]).mean.is_nan() && estimate(&[7.0]).interval.is_none());
    }

    #[test]
    fn the_interval_of_spans_ends_at_zero() {
        let once = [0.0, 0.0, 0.0, 12.0];
        let (low, high) = estimate(&once).interval.unwrap();
        let cut = estimate_of_spans(&once);
        assert!(low < 0.0);
        assert_eq!(cut.interval, Some((0.0, high)));
        assert_eq!((cut.n, cut.mean.to_bits()), (4, 3.0_f64.to_bits()));
        // Differences may be below zero, and so may their mean.
        for samples in [[0.0, -0.5, 1.0, 12.0], [3.0, 4.0, 5.0, 6.0]] {
            assert_eq!(estimate_of_spans(&samples), estimate(&samples));
        }
    }

    #[test]
    fn identical_samples_differ_by_exactly_nothing() {
        let samples = [0.1, 0.2, 1e300, -7.3];
        let result = paired(&samples, &samples);
        assert!(result.identical);
        assert_eq!(result.interval, Some((0.0, 0.0)));
        assert_eq!(result.difference.to_bits(), 0.0_f64.to_bits());
        assert!(result.p >= 1.0);
        let few = paired(&[1.0, f64::NAN], &[2.0, 3.0]);
        assert_eq!((few.n, few.interval), (1, None));
    }

    #[test]
    fn holm_is_monotone_and_bounded() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let want = [0.03, 0.06, 0.06, 0.02];
        for (got, want) in adjusted.iter().zip(want) {
            assert!((got - want).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[0.9, 0.8]).iter().all(|p| *p <= 1.0));
    }
}
