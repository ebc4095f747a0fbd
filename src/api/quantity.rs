//! Quantities: exact arithmetic over Kubernetes' grammar (source: apimachinery
//! `api/resource/quantity.go`, `suffix.go`). A quantity is a whole number of nano-units, so nothing
//! is ever rounded except where Kubernetes rounds.

use std::cmp::Ordering;
use std::fmt;

/// Nano-units in one unit.
const NANO: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;
/// Binary quantities are capped here, as upstream does.
const MAX_BINARY: i128 = (i64::MAX as i128) * NANO;

/// Which family of suffixes a quantity was written with: it is printed in the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `n u m k M G T P E`, or none.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// An amount such as `250m`, `1.5Gi` or `1e3`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Suffix and power of ten.
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// So many whole units, printed with decimal suffixes.
    #[must_use]
    pub fn from_value(n: i64) -> Self {
        Self { nanos: i128::from(n) * NANO, format: Format::DecimalSi }
    }

    /// So many thousandths, printed with decimal suffixes.
    #[must_use]
    pub fn from_milli(n: i64) -> Self {
        Self { nanos: i128::from(n) * MILLI, format: Format::DecimalSi }
    }

    /// So many bytes, printed with binary suffixes.
    #[must_use]
    pub fn from_bytes(n: i64) -> Self {
        Self { nanos: i128::from(n) * NANO, format: Format::BinarySi }
    }

    /// Parses a quantity; anything finer than a nano-unit is rounded away from zero.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (negative, number, suffix) = split(text)?;
        let (format, scale) = scale_of(text, suffix)?;
        let magnitude = magnitude(text, number, scale)?;
        let mut quantity = Self { nanos: if negative { -magnitude } else { magnitude }, format };
        if format == Format::BinarySi {
            quantity.nanos = quantity.nanos.clamp(-MAX_BINARY, MAX_BINARY);
            // A binary value below one cannot be printed with a binary suffix.
            if magnitude > 0 && magnitude < NANO {
                quantity.format = Format::DecimalSi;
            }
        }
        Ok(quantity)
    }

    /// The exact amount in nano-units.
    #[must_use]
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// The suffix family.
    #[must_use]
    pub fn format(self) -> Format {
        self.format
    }

    /// Whole units, rounded away from zero, capped to 64 bits.
    #[must_use]
    pub fn value(self) -> i64 {
        saturate(div_away(self.nanos, NANO))
    }

    /// Thousandths, rounded away from zero, capped to 64 bits.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        saturate(div_away(self.nanos, MILLI))
    }

    /// Rounded to thousandths as the API server does with resource lists.
    #[must_use]
    pub fn round_to_milli(self) -> Self {
        Self { nanos: div_away(self.nanos, MILLI) * MILLI, format: self.format }
    }

    /// The difference, printed as this one is.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { nanos: self.nanos - other.nanos, ..self }
    }

    /// The sum, printed as this one is (as the other one if this is nothing).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos + other.nanos, format }
    }

    /// True if it is a whole number of units.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// True below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// True for zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }
}

/// Amounts are compared, not spellings: `1` equals `1000m`.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// Canonical form: no fraction, the largest suffix of the family that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let small = self.nanos.abs() < 1024 * NANO;
        let text = match self.format {
            _ if self.nanos == 0 => "0".to_owned(),
            Format::BinarySi if !small => self.binary(),
            Format::BinarySi | Format::DecimalSi => self.decimal(18),
            Format::DecimalExponent => self.decimal(i32::MAX),
        };
        f.pad(&text)
    }
}

impl Quantity {
    fn binary(self) -> String {
        let mut mantissa = div_away(self.nanos, NANO);
        let mut suffix = "";
        for larger in BINARY {
            if mantissa % 1024 != 0 {
                break;
            }
            mantissa /= 1024;
            suffix = larger;
        }
        format!("{mantissa}{suffix}")
    }

    /// With a decimal suffix or exponent, whose power is at most `max`.
    fn decimal(self, max: i32) -> String {
        let mut mantissa = self.nanos;
        let mut power = -9;
        while mantissa % 1000 == 0 && power < max {
            mantissa /= 1000;
            power += 3;
        }
        if self.format == Format::DecimalExponent {
            return if power == 0 { mantissa.to_string() } else { format!("{mantissa}e{power}") };
        }
        let suffix = DECIMAL.iter().find(|(_, p)| *p == power).map_or("", |(s, _)| s);
        format!("{mantissa}{suffix}")
    }
}

fn div_away(n: i128, by: i128) -> i128 {
    let quotient = n / by;
    if n % by == 0 { quotient } else { quotient + n.signum() }
}

fn saturate(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

/// Sign, digits with an optional point, suffix.
fn split(text: &str) -> Result<(bool, &str, &str), String> {
    if text.is_empty() {
        return Err("the quantity is empty (write a number such as 500m, 1.5 or 2Gi)".into());
    }
    let (negative, rest) = text
        .strip_prefix('-')
        .map_or((false, text.strip_prefix('+').unwrap_or(text)), |r| (true, r));
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    if !number.bytes().any(|b| b.is_ascii_digit()) || number.matches('.').count() > 1 {
        return Err(format!(
            "{text:?} is not a quantity (write a number such as 500m, 1.5 or 2Gi)"
        ));
    }
    Ok((negative, number, suffix))
}

/// How the number is scaled.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// Power of two.
    Two(u32),
    /// Power of ten.
    Ten(i32),
}

fn scale_of(text: &str, suffix: &str) -> Result<(Format, Scale), String> {
    if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::DecimalSi, Scale::Ten(*power)));
    }
    if let Some(at) = BINARY.iter().position(|s| *s == suffix) {
        let power = 10 * (crate::engine::num::u32_of(at) + 1);
        return Ok((Format::BinarySi, Scale::Two(power)));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).map(str::parse::<i32>);
    if let Some(Ok(power)) = exponent {
        return Ok((Format::DecimalExponent, Scale::Ten(power)));
    }
    let hint = meant(suffix).map_or_else(
        || "the suffixes are n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei".to_owned(),
        |right| {
            if right.is_empty() {
                format!("leave {suffix:?} out: the unit is understood")
            } else {
                format!("the suffix is {right:?}")
            }
        },
    );
    Err(format!("{text:?} is not a quantity: unknown suffix {suffix:?} ({hint})"))
}

/// The suffix somebody who wrote `GiB`, `GB`, `gi` or `K` meant.
fn meant(suffix: &str) -> Option<&'static str> {
    let bare = suffix.trim();
    let bare = bare.strip_suffix(['B', 'b']).unwrap_or(bare);
    match bare {
        "" | "core" | "cores" | "cpu" => return Some(""),
        "K" => return Some("k"),
        _ => {}
    }
    let all =
        BINARY.iter().copied().chain(DECIMAL.iter().map(|(s, _)| *s).filter(|s| !s.is_empty()));
    let mut same = all.clone().filter(|s| *s == bare);
    let mut folded = all.filter(|s| s.eq_ignore_ascii_case(bare));
    same.next().or_else(|| folded.next())
}

fn magnitude(text: &str, number: &str, scale: Scale) -> Result<i128, String> {
    let too_large = || format!("{text:?} is larger than any resource (at most about 10^29)");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    // value = digits * 10^power, in nano-units.
    let (two, ten) = match scale {
        Scale::Two(two) => (two, 0),
        Scale::Ten(ten) => (0, ten),
    };
    let places = i32::try_from(fraction.len()).map_err(|_err| too_large())?;
    let power = ten.saturating_sub(places).saturating_add(9);
    scaled(digits, two, power).ok_or_else(too_large)
}

/// `digits * 2^two * 10^power`, rounded up; none if it does not fit.
fn scaled(digits: &str, two: u32, power: i32) -> Option<i128> {
    let length = i32::try_from(digits.len()).ok()?;
    if power.saturating_add(length) > 40 {
        return None;
    }
    // Far below one nano-unit (2^60 is below 10^19): a little of something is one nano-unit.
    if power.saturating_add(length) < -20 {
        return Some(1);
    }
    // Digits beyond what 10^38 holds can only matter for rounding up.
    let keep = digits.len().min(30);
    let (head, tail) = digits.split_at(keep);
    let dropped = i32::try_from(tail.len()).ok()?;
    let inexact = tail.bytes().any(|b| b != b'0');
    let mantissa: i128 = head.parse().ok()?;
    let power = power + dropped;
    let shifted = wide_mul(mantissa, two);
    let (value, rest) = if power >= 0 {
        let factor = 10_i128.checked_pow(power.unsigned_abs())?;
        (shifted?.checked_mul(factor)?, false)
    } else {
        divide(mantissa, two, power.unsigned_abs())?
    };
    value.checked_add(i128::from(rest || inexact))
}

fn wide_mul(mantissa: i128, two: u32) -> Option<i128> {
    mantissa.checked_mul(1_i128.checked_shl(two)?)
}

/// `mantissa * 2^two / 10^power`: quotient and whether something is left over.
fn divide(mantissa: i128, two: u32, power: u32) -> Option<(i128, bool)> {
    // 2^a / 10^p = 2^(a-p) / 5^p: fewer bits are needed on the way.
    let shared = two.min(power);
    let (two, halves) = (two - shared, power - shared);
    let fives = 5_i128.checked_pow(power);
    let Some(fives) = fives else { return Some((0, mantissa != 0)) };
    let whole = mantissa / fives;
    let rest = mantissa % fives;
    let high = wide_mul(whole, two)?;
    let (low, left) = match wide_mul(rest, two) {
        Some(product) => (product / fives, product % fives),
        None => return None,
    };
    let sum = high.checked_add(low)?;
    let halved = if halves >= 127 { 0 } else { sum >> halves };
    let exact = halves < 127 && (halved << halves) == sum && left == 0;
    Some((halved, !exact))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_forms_are_upstreams() {
        let cases = [
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1000m", "1"),
            ("1e3", "1e3"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("100", "100"),
            ("1000", "1k"),
            ("1k", "1k"),
            ("12E", "12E"),
            ("9223372036854775807", "9223372036854775807"),
            ("123456789012345678", "123456789012345678"),
            ("100u", "100u"),
            ("0.1", "100m"),
            ("-5", "-5"),
            ("+3", "3"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.1n", "1n"),
            ("0.0000000001", "1n"),
            ("1E3", "1e3"),
            ("1e-3", "1e-3"),
            ("1.1e1", "11"),
            ("0", "0"),
            ("0Gi", "0"),
            ("16Ei", "9223372036854775807"),
            ("0.25Ki", "256"),
            ("0.0005Ki", "512m"),
            // A binary fraction prints as whole units, rounded up, once it is large.
            ("1.3Gi", "1395864372"),
        ];
        for (text, want) in cases {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn row_38_quantities_round_up_to_nano_then_to_milli_and_big_k_is_no_suffix() {
        let read = |text: &str| Quantity::parse(text).unwrap();
        assert_eq!(read("0.0000000001").nanos(), 1, "parsing rounds up to nano");
        assert_eq!(read("1.0001").round_to_milli().to_string(), "1001m", "lists to milli");
        assert_eq!(read("1500u").round_to_milli().to_string(), "2m");
        assert_eq!(read("2k").value(), 2000);
        assert!(Quantity::parse("2K").is_err());
    }

    #[test]
    fn values_round_away_from_zero() {
        let q = Quantity::parse("1.0000001").unwrap();
        assert_eq!((q.value(), q.milli_value()), (2, 1001));
        let q = Quantity::parse("-1500m").unwrap();
        assert_eq!((q.value(), q.milli_value()), (-2, -1500));
        assert_eq!(Quantity::parse("100u").unwrap().round_to_milli().to_string(), "1m");
        assert_eq!(Quantity::parse("1Gi").unwrap().value(), 1 << 30);
        assert_eq!(Quantity::parse("1.1Gi").unwrap().value(), 1_181_116_007);
        assert_eq!(Quantity::parse("5E").unwrap().milli_value(), i64::MAX);
    }

    #[test]
    fn what_is_refused_gets_a_hint() {
        let cases = [
            ("1.5GiB", "\"Gi\""),
            ("1K", "\"k\""),
            ("10gb", "\"G\""),
            ("2GB", "\"G\""),
            ("100MI", "\"Mi\""),
            ("3 cores", "leave"),
            ("", "empty"),
            ("Mi", "write a number"),
            ("1..5", "write a number"),
            ("1.1e3Ki", "suffixes"),
            ("one", "write a number"),
            ("1e999999999999", "suffixes"),
            ("1e99", "larger"),
            ("--5", "write a number"),
            ("5%", "suffixes"),
        ];
        for (text, hint) in cases {
            let error = Quantity::parse(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn canonical_text_keeps_the_amount(n in -1_000_000_000_000_i64..1_000_000_000_000, point in 0_usize..6, suffix in 0_usize..18) {
            let suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "e3", "e-2", "e0", "E5", "e-9"];
            let digits = n.unsigned_abs().to_string();
            let at = digits.len().saturating_sub(point);
            let sign = if n < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{}{}", &digits[..at], &digits[at..], suffixes[suffix]);
            let quantity = Quantity::parse(&text).unwrap();
            let printed = quantity.to_string();
            let again = Quantity::parse(&printed).unwrap();
            if quantity.format() == Format::BinarySi {
                prop_assert_eq!(again.value(), quantity.value());
            } else {
                prop_assert_eq!(again, quantity);
            }
            // A binary amount that no binary suffix divides prints as a plain number, and a plain
            // number is read as a decimal one.
            if again.format() == quantity.format() {
                prop_assert_eq!(again.to_string(), printed);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _parsed = Quantity::parse(&text);
        }

        #[test]
        fn order_is_that_of_the_amounts(a in 0_i64..1 << 50, b in 0_i64..1 << 50) {
            let (qa, qb) = (Quantity::from_bytes(a), Quantity::parse(&b.to_string()).unwrap());
            prop_assert_eq!(qa.cmp(&qb), a.cmp(&b));
            prop_assert_eq!(Quantity::parse(&qa.to_string()).unwrap().value(), a);
        }
    }
}
