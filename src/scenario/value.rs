//! Scalars of the scenario file: spans, quantities, rates and distributions. They are kept as text
//! until the whole file has its shape, so that all mistakes can be told at once.

use crate::api::quantity::Quantity as Exact;
use crate::engine::{Dist, SimDuration, num};
use crate::node::Level as Bound;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// Longest span a scenario may name: a century.
const MAX_SPAN: SimDuration = SimDuration::from_secs(100 * 366 * 86_400);

macro_rules! scalars {
    ($($name:ident $format:literal $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[derive(Debug, Clone, PartialEq, Eq, Default)]
            pub struct $name(pub String);

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    from.deserialize_any(ScalarText).map(Self)
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({
                        "description": $doc, "type": ["string", "number"], "format": $format
                    })
                }
            }
        )*
    };
}

scalars! {
    Span "span" "A span of time: `90s`, `1h30m`, `250ms`; a bare number counts seconds.";
    Quantity "quantity" "A Kubernetes quantity: `500m`, `16Gi`, `1.5`, `2e3`.";
    Level "level" "An amount or a share of the capacity: `100Mi`, `10%`.";
    Share "share" "A share: `130%` or `1.3`.";
    Rate "rate" "A rate: `10/s`, `600/h`, `5/m`, `100/d`.";
    Taint "taint" "A taint as kubectl writes it: `key=value:NoSchedule` or `key:NoExecute`.";
}

/// Takes a string or a number as text.
struct ScalarText;

impl serde::de::Visitor<'_> for ScalarText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }
    fn visit_str<E>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }
    fn visit_u64<E>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_i64<E>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_f64<E>(self, v: f64) -> Result<String, E> {
        Ok(v.to_string())
    }
}

/// Checks a scalar against its `format` of the schema: what is wrong, and a way out.
///
/// # Errors
/// Problem and hint.
pub fn check_format(format: &str, text: &str) -> Result<(), (String, &'static str)> {
    match format {
        "span" => span(text).map(|_| ()).map_err(|e| (e, SPAN_HINT)),
        "quantity" => amount(text).map(|_| ()).map_err(|e| (e, QUANTITY_HINT)),
        "level" => level(text).map(|_| ()).map_err(|e| (e, LEVEL_HINT)),
        "rate" => mean_gap(text).map(|_| ()).map_err(|e| (e, "write 10/s, 5/m, 600/h or 100/d")),
        "taint" => super::pools::taint(text).map(|_| ()).map_err(|e| (e, TAINT_HINT)),
        _ => Ok(()),
    }
}

/// Way out of a bad span.
pub const SPAN_HINT: &str = "write 90s, 1h30m or 250ms";
/// Way out of a bad quantity.
pub const QUANTITY_HINT: &str = "suffixes are m, k, M, G, T and Ki, Mi, Gi, Ti: 500m, 16Gi, 1.5";
/// Way out of a bad level.
pub const LEVEL_HINT: &str = "write 100Mi or 10%";
/// Way out of a bad taint.
pub const TAINT_HINT: &str =
    "write key=value:Effect or key:Effect; Effect is NoSchedule, PreferNoSchedule or NoExecute";

/// An amount, or a share of the capacity.
///
/// # Errors
/// A sentence.
pub fn level(text: &str) -> Result<Bound, String> {
    let Some(share) = text.trim().strip_suffix('%') else {
        return Ok(Bound::Amount(amount(text)?.value()));
    };
    let share = share.trim().parse::<f64>().ok().filter(|s| (0.0..=100.0).contains(s));
    let share = share.ok_or_else(|| format!("{text:?} is no share from 0% to 100%"))?;
    Ok(Bound::Share(u32::try_from(num::round(share * 100.0)).unwrap_or(0)))
}

/// A span of time.
///
/// # Errors
/// A sentence.
pub fn span(text: &str) -> Result<SimDuration, String> {
    let span = SimDuration::parse(text)?;
    if span > MAX_SPAN {
        return Err(format!("{text:?} is longer than a century"));
    }
    Ok(span)
}

/// A quantity that is not negative.
///
/// # Errors
/// A sentence.
pub fn amount(text: &str) -> Result<Exact, String> {
    let amount = Exact::parse(text)?;
    if amount.is_negative() {
        return Err(format!("{text:?} is negative"));
    }
    Ok(amount)
}

/// The mean gap of a rate such as `10/s`.
///
/// # Errors
/// A sentence.
pub fn mean_gap(text: &str) -> Result<SimDuration, String> {
    let bad = || format!("{text:?} is not a rate");
    let (number, unit) = text.split_once('/').ok_or_else(bad)?;
    let unit_s = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(format!("{text:?}: the unit after the slash is s, m, h or d")),
    };
    let number: f64 = number.trim().parse().map_err(|_err| bad())?;
    if !number.is_finite() || number <= 0.0 {
        return Err(format!("{text:?}: a rate is greater than zero"));
    }
    let gap = SimDuration::from_secs_f64(unit_s / number);
    if gap == SimDuration::ZERO || gap > MAX_SPAN {
        return Err(format!("{text:?} is out of range (one per nanosecond to one per century)"));
    }
    Ok(gap)
}

/// A distribution over spans of time: a span alone is always the same.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DistSpec {
    /// Always the same.
    Constant(Span),
    /// Drawn.
    Drawn(Box<DistShape>),
}

/// A drawn span of time; exactly one of the fields is given.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DistShape {
    /// Uniform between two spans.
    pub uniform: Option<[Span; 2]>,
    /// Exponential with this mean.
    pub exponential: Option<Span>,
    /// Log-normal.
    pub lognormal: Option<LogNormal>,
    /// Weibull.
    pub weibull: Option<Weibull>,
    /// Gamma.
    pub gamma: Option<Gamma>,
}

/// A log-normal distribution.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogNormal {
    /// Half of the draws are below it.
    pub median: Span,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
}

/// A Weibull distribution.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weibull {
    /// 63 % of the draws are below it.
    pub scale: Span,
    /// Below 1: infant mortality; above 1: wear-out.
    pub shape: f64,
}

/// A gamma distribution.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gamma {
    /// Scale; the mean is scale times shape.
    pub scale: Span,
    /// Shape.
    pub shape: f64,
}

/// The distribution.
///
/// # Errors
/// A sentence.
pub fn dist(spec: &DistSpec) -> Result<Dist, String> {
    match spec {
        DistSpec::Constant(text) => span(&text.0).map(Dist::Constant),
        DistSpec::Drawn(shape) => drawn(shape),
    }
}

/// A distribution as one writes it on a command line: a span, or what a scenario says, with or
/// without braces.
///
/// # Errors
/// A sentence.
pub fn dist_of_text(text: &str) -> Result<Dist, String> {
    let braced = text.contains(':') && !text.trim_start().starts_with('{');
    let text = if braced { format!("{{{text}}}") } else { text.to_owned() };
    let spec: DistSpec =
        serde_yaml::from_str(&text).map_err(|_e| format!("{text:?} is no distribution"))?;
    dist(&spec)
}

/// Way out of a bad distribution.
pub const DIST_HINT: &str = "write a span, or one of {uniform: [1s, 5s]}, {exponential: 5m}, {lognormal: {median: 2s, sigma: 0.5}}, {weibull: {scale: 1h, shape: 1.5}}, {gamma: {scale: 1h, shape: 0.5}}";

fn drawn(shape: &DistShape) -> Result<Dist, String> {
    let DistShape { uniform, exponential, lognormal, weibull, gamma } = shape;
    match (uniform, exponential, lognormal, weibull, gamma) {
        (Some([low, high]), None, None, None, None) => {
            let (low_t, high_t) = (span(&low.0)?, span(&high.0)?);
            if high_t < low_t {
                return Err(format!("uniform ends before it starts: {} > {}", low.0, high.0));
            }
            Ok(Dist::Uniform(low_t, high_t))
        }
        (None, Some(mean), None, None, None) => span(&mean.0).map(Dist::Exponential),
        (None, None, Some(log), None, None) => {
            positive("sigma", log.sigma, 10.0)?;
            Ok(Dist::LogNormal { median: span(&log.median.0)?, sigma: log.sigma })
        }
        (None, None, None, Some(w), None) => {
            positive("shape", w.shape, 1e3)?;
            Ok(Dist::Weibull { scale: span(&w.scale.0)?, shape: w.shape })
        }
        (None, None, None, None, Some(g)) => {
            positive("shape", g.shape, 1e3)?;
            Ok(Dist::Gamma { scale: span(&g.scale.0)?, shape: g.shape })
        }
        (None, None, None, None, None) => Err("the distribution is empty".into()),
        _ => Err("more than one distribution is given".into()),
    }
}

/// Parameters beyond these bounds would draw ages of the universe.
fn positive(what: &str, x: f64, most: f64) -> Result<(), String> {
    if x.is_finite() && x > 0.0 && x <= most {
        Ok(())
    } else {
        Err(format!("{what} is {x}, but must be greater than 0 and at most {most}"))
    }
}

/// A span as a whole number of seconds, rounded up: the resolution of pod fields.
#[must_use]
pub fn whole_secs(span: SimDuration) -> u32 {
    let secs = span.as_secs() + u64::from(span > SimDuration::from_secs(span.as_secs()));
    num::u32_of(num::index(secs.min(u64::from(u32::MAX))))
}

/// `130%` or `1.3`, above 0 and at most 100.
///
/// # Errors
/// What is wrong with it.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let value: f64 = number.trim().parse().map_err(|_e| format!("{text:?} is no share"))?;
    let value = value / unit;
    if value.is_finite() && value > 0.0 && value <= 100.0 {
        Ok(value)
    } else {
        Err(format!("{text:?} is out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_become_gaps() {
        assert_eq!(mean_gap("10/s").unwrap(), SimDuration::from_millis(100));
        assert_eq!(mean_gap("600/h").unwrap(), SimDuration::from_secs(6));
        for bad in ["10", "0/s", "-1/s", "NaN/s", "inf/s", "1/y", "/s", "1e300/s", "1e-300/s"] {
            assert!(mean_gap(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_have_an_end() {
        assert!(span("36500d").is_ok());
        assert!(span("99999d").is_err());
    }
}
