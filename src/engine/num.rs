//! Numbers that are the same on every machine: checked narrowing, and transcendental functions
//! from `libm` (the standard ones go to the platform's C library, whose last bit varies).

/// `usize` to `u32`; a table that large is a bug of ours.
///
/// # Panics
/// If the value does not fit.
#[must_use]
#[track_caller]
pub fn u32_of(n: usize) -> u32 {
    u32::try_from(n).expect("count fits 32 bits")
}

/// `u64` to `usize` for indexing.
///
/// # Panics
/// If the value does not fit (only on 32-bit machines).
#[must_use]
#[track_caller]
pub fn index(n: u64) -> usize {
    usize::try_from(n).expect("index fits the machine word")
}

/// `usize` to `i64` for Kubernetes' signed counts.
///
/// # Panics
/// If the value does not fit.
#[must_use]
#[track_caller]
pub fn i64_of(n: usize) -> i64 {
    i64::try_from(n).expect("count fits 63 bits")
}

/// `usize` to `i32`, the type of replica counts in the Kubernetes API.
///
/// # Panics
/// If the value does not fit.
#[must_use]
#[track_caller]
pub fn i32_of(n: usize) -> i32 {
    i32::try_from(n).expect("count fits 31 bits")
}

/// An integer as a float; exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the one place where integers become floats")]
pub fn float(n: i64) -> f64 {
    n as f64
}

/// A count as a float; exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the one place where integers become floats")]
pub fn float_u(n: u64) -> f64 {
    n as f64
}

/// A wide sum (an integral over time) as a float.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the one place where integers become floats")]
pub fn float_wide(n: u128) -> f64 {
    n as f64
}

/// A non-negative amount for an unsigned sum; negative counts as 0.
#[must_use]
pub fn u64_of(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Decimal logarithm.
#[must_use]
pub fn log10(x: f64) -> f64 {
    libm::log10(x)
}

/// The value below which a standard normal variable lies with probability `p`: by halving.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let below = 0.5 * libm::erfc(-middle * std::f64::consts::FRAC_1_SQRT_2);
        if below < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Logarithm of the gamma function.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The probability that a standard gamma variable of this shape lies below `x`: the regularised
/// lower incomplete gamma function, by its series or its continued fraction (Lentz).
#[must_use]
pub fn gamma_p(shape: f64, x: f64) -> f64 {
    match gamma_part(shape, x) {
        (below, Side::Below) => below.min(1.0),
        (above, Side::Above) => (1.0 - above).max(0.0),
    }
}

/// The probability that it lies above `x`, exact far out as well.
#[must_use]
pub fn gamma_q(shape: f64, x: f64) -> f64 {
    match gamma_part(shape, x) {
        (below, Side::Below) => (1.0 - below).max(0.0),
        (above, Side::Above) => above,
    }
}

/// Which part of a distribution a probability is that of.
enum Side {
    Below,
    Above,
}

/// The smaller part of a gamma distribution, about.
fn gamma_part(shape: f64, x: f64) -> (f64, Side) {
    const TERMS: u32 = 500;
    const SMALL: f64 = 1e-15;
    if x <= 0.0 {
        return (0.0, Side::Below);
    }
    let front = exp(shape * ln(x) - x - ln_gamma(shape));
    if x < shape + 1.0 {
        let (mut term, mut sum, mut at) = (1.0 / shape, 1.0 / shape, shape);
        for _ in 0..TERMS {
            at += 1.0;
            term *= x / at;
            sum += term;
            if term < sum * SMALL {
                break;
            }
        }
        return (front * sum, Side::Below);
    }
    let mut b = x + 1.0 - shape;
    let (mut c, mut d) = (1e300, 1.0 / b);
    let mut fraction = d;
    for i in 1..TERMS {
        let i = f64::from(i);
        let a = -i * (i - shape);
        b += 2.0;
        d = 1.0 / (a * d + b);
        c = b + a / c;
        let factor = c * d;
        fraction *= factor;
        if (factor - 1.0).abs() < SMALL {
            break;
        }
    }
    (front * fraction, Side::Above)
}

/// The complementary error function.
#[must_use]
pub fn erfc(x: f64) -> f64 {
    libm::erfc(x)
}

/// Rounded to so many decimals, for tables: hides nothing that the measure could resolve.
#[must_use]
pub fn rounded(x: f64, decimals: u32) -> f64 {
    let scale = float_u(10_u64.pow(decimals));
    libm::round(x * scale) / scale
}

/// Truncation toward zero, saturating; NaN gives 0 (Rust's `as`, which is defined for all input).
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the one place where floats become integers")]
pub fn trunc(x: f64) -> i64 {
    x as i64
}

/// Truncation of a non-negative float, saturating; negative and NaN give 0.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the one place where floats become integers"
)]
pub fn trunc_u(x: f64) -> u64 {
    x as u64
}

/// Half away from zero, as Go's `math.Round`.
#[must_use]
pub fn round(x: f64) -> i64 {
    trunc(libm::round(x))
}

/// Natural logarithm.
#[must_use]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// e to the power of `x`.
#[must_use]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// `x` to the power of `y`.
#[must_use]
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

/// Square root (correctly rounded everywhere, so the standard one serves).
#[must_use]
pub fn sqrt(x: f64) -> f64 {
    x.sqrt()
}

/// Cosine.
#[must_use]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// The `p`-quantile (0..=1) of sorted samples by the nearest-rank rule; 0 for no samples.
#[must_use]
pub fn quantile_sorted(sorted: &[u64], p: f64) -> u64 {
    if sorted.is_empty() {
        return 0;
    }
    let rank = trunc_u(libm::ceil(p * float_u(sorted.len() as u64))).max(1);
    sorted[index(rank - 1).min(sorted.len() - 1)]
}
