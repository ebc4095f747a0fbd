//! Virtual time: unsigned nanoseconds since the start of the run. No floats, no wall clock.

use super::num;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// An instant of the run: nanoseconds since its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SimTime(pub u64);

/// A span of virtual time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SimDuration(pub u64);

impl SimTime {
    /// The start of the run.
    pub const ZERO: Self = Self(0);
    /// Later than anything.
    pub const MAX: Self = Self(u64::MAX);

    /// An instant so many whole seconds after the start.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(NANOS_PER_SEC))
    }

    /// Time since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> SimDuration {
        SimDuration(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the start as a float: for plots and tables, never for decisions.
    #[must_use]
    pub fn secs_f64(self) -> f64 {
        SimDuration(self.0).secs_f64()
    }

    /// The last whole second at or before this instant.
    #[must_use]
    pub const fn floor_sec(self) -> Self {
        Self(self.0 - self.0 % NANOS_PER_SEC)
    }
}

impl SimDuration {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// So many nanoseconds.
    #[must_use]
    pub const fn from_nanos(n: u64) -> Self {
        Self(n)
    }

    /// So many microseconds.
    #[must_use]
    pub const fn from_micros(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// So many whole seconds.
    #[must_use]
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(NANOS_PER_SEC))
    }

    /// Seconds given as a float (negative and NaN count as zero), rounded to the nanosecond.
    #[must_use]
    pub fn from_secs_f64(s: f64) -> Self {
        Self(num::trunc_u(s * 1e9 + 0.5))
    }

    /// Seconds as a float: for plots and tables, never for decisions.
    #[must_use]
    pub fn secs_f64(self) -> f64 {
        num::float_u(self.0) / 1e9
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOS_PER_SEC
    }

    /// `n` times as long, saturating.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Multiplied by a float factor (negative counts as zero).
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self(num::trunc_u(num::float_u(self.0) * factor))
    }

    /// Parses `90s`, `1h30m`, `250ms`, `1.5s`, `2d`, `0`; a bare number counts seconds.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("a duration such as 90s or 1h30m is missing".into());
        }
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let unit_len =
                tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_len);
            total = total
                .checked_add(part(text, number, unit)?)
                .ok_or_else(|| format!("{text:?} is longer than 584 years"))?;
            rest = next;
        }
        Ok(Self(total))
    }
}

/// One `number unit` part in nanoseconds.
fn part(whole: &str, number: &str, unit: &str) -> Result<u64, String> {
    let scale: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" | "" => NANOS_PER_SEC,
        "m" => 60 * NANOS_PER_SEC,
        "h" => 3_600 * NANOS_PER_SEC,
        "d" => 86_400 * NANOS_PER_SEC,
        _ => return Err(format!("{whole:?}: unknown unit {unit:?} (ns, us, ms, s, m, h, d)")),
    };
    let bad = || format!("{whole:?} is not a duration (try 90s, 1h30m or 250ms)");
    let (int, frac) = number.split_once('.').unwrap_or((number, ""));
    if int.is_empty() && frac.is_empty() || frac.contains('.') || frac.len() > 9 {
        return Err(bad());
    }
    let int: u64 = if int.is_empty() { 0 } else { int.parse().map_err(|_err| bad())? };
    let mut nanos = int.checked_mul(scale).ok_or_else(|| format!("{whole:?} is too long"))?;
    if !frac.is_empty() {
        let digits: u64 = frac.parse().map_err(|_err| bad())?;
        let den = 10_u64.pow(num::u32_of(frac.len()));
        nanos +=
            num::trunc_u(num::float_u(digits) * (num::float_u(scale) / num::float_u(den)) + 0.5);
    }
    Ok(nanos)
}

impl Add<SimDuration> for SimTime {
    type Output = Self;
    fn add(self, d: SimDuration) -> Self {
        Self(self.0.saturating_add(d.0))
    }
}

impl AddAssign<SimDuration> for SimTime {
    fn add_assign(&mut self, d: SimDuration) {
        *self = *self + d;
    }
}

impl Sub<SimDuration> for SimTime {
    type Output = Self;
    fn sub(self, d: SimDuration) -> Self {
        Self(self.0.saturating_sub(d.0))
    }
}

impl Add for SimDuration {
    type Output = Self;
    fn add(self, d: Self) -> Self {
        Self(self.0.saturating_add(d.0))
    }
}

impl Sub for SimDuration {
    type Output = Self;
    fn sub(self, d: Self) -> Self {
        Self(self.0.saturating_sub(d.0))
    }
}

impl fmt::Display for SimTime {
    /// `1:02:03.456`: hours, minutes, seconds, milliseconds since the start.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / 1_000_000;
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        f.pad(&format!("{h}:{m:02}:{s:02}.{:03}", ms % 1_000))
    }
}

impl fmt::Debug for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / NANOS_PER_SEC, self.0 % NANOS_PER_SEC)
    }
}

impl fmt::Display for SimDuration {
    /// `1h02m`, `5m30s`, `12.3s`, `45ms`, `7us`: two units at most, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        let s = n / NANOS_PER_SEC;
        let text = if s >= 86_400 {
            format!("{}d{:02}h", s / 86_400, s / 3_600 % 24)
        } else if s >= 3_600 {
            format!("{}h{:02}m", s / 3_600, s / 60 % 60)
        } else if s >= 60 {
            format!("{}m{:02}s", s / 60, s % 60)
        } else if n.is_multiple_of(NANOS_PER_SEC) {
            format!("{s}s")
        } else if s >= 1 {
            format!("{s}.{}s", n % NANOS_PER_SEC / 100_000_000)
        } else if n >= 1_000_000 {
            format!("{}ms", n / 1_000_000)
        } else if n >= 1_000 {
            format!("{}us", n / 1_000)
        } else {
            format!("{n}ns")
        };
        f.pad(&text)
    }
}

impl fmt::Debug for SimDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / NANOS_PER_SEC, self.0 % NANOS_PER_SEC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse() {
        let cases = [
            ("90s", 90_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("250ms", 250_000_000),
            ("1.5s", 1_500_000_000),
            ("0", 0),
            ("2d", 172_800_000_000_000),
            ("15", 15_000_000_000),
        ];
        for (text, want) in cases {
            assert_eq!(SimDuration::parse(text).unwrap().0, want, "{text}");
        }
        for bad in ["", "abc", "5x", "1..5s", "-3s", "1e3s", "NaN", "99999999999999h"] {
            assert!(SimDuration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn instants_print_for_people() {
        assert_eq!(SimTime(3_723_456_000_000).to_string(), "1:02:03.456");
        assert_eq!(SimDuration::from_secs(330).to_string(), "5m30s");
        assert_eq!(SimDuration::from_millis(45).to_string(), "45ms");
    }
}
