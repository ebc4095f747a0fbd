//! How far a `HorizontalPodAutoscaler` goes from a recommendation: stabilisation and rates
//! (source: `ctl/podautoscaler/horizontal.go`), apart from any API.

use crate::api::autoscaling::{HorizontalPodAutoscaler, ScalingPolicy, ScalingRules, SelectPolicy};
use crate::engine::{SimDuration, SimTime, num};

/// `--horizontal-pod-autoscaler-downscale-stabilization`.
const WINDOW: SimDuration = SimDuration::from_secs(300);

/// What an autoscaler has recommended and done.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// When, and how many replicas.
    recommended: Vec<(SimTime, i32)>,
    /// When, and how many were added.
    added: Vec<(SimTime, i32)>,
    /// When, and how many were removed.
    removed: Vec<(SimTime, i32)>,
}

/// A number of replicas, and why it is not another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) replicas: i32,
    /// Reason and message of condition `AbleToScale`.
    pub(super) able: (&'static str, &'static str),
    /// Whether a limit has changed it: status, reason and message of condition `ScalingLimited`.
    pub(super) limited: (bool, &'static str, &'static str),
}

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const DOWN_STABILIZED: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP_STABILIZED: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);

fn window(rules: &ScalingRules) -> SimDuration {
    SimDuration::from_secs(u64::from(rules.window_s))
}

impl History {
    /// The first recommendation after a start is what is there.
    pub(super) fn begin(&mut self, current: i32, now: SimTime) {
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
    }

    /// Notes that the target was scaled. Source: `storeScaleEvent`.
    pub(super) fn scaled(&mut self, from: i32, to: i32, now: SimTime) {
        let list = if to > from { &mut self.added } else { &mut self.removed };
        list.push((now, (to - from).abs()));
    }

    fn within(list: &[(SimTime, i32)], span: SimDuration, now: SimTime) -> i32 {
        list.iter().filter(|(at, _)| now.since(*at) < span).map(|(_, n)| n).sum()
    }

    /// Replicas at the start of a policy's period.
    fn period_start(&self, current: i32, policy: &ScalingPolicy, now: SimTime) -> i32 {
        let period = SimDuration::from_secs(u64::from(policy.period_s));
        current - Self::within(&self.added, period, now) + Self::within(&self.removed, period, now)
    }

    /// From what the metrics ask for to what is to be.
    pub(super) fn limit(
        &mut self,
        hpa: &HorizontalPodAutoscaler,
        current: i32,
        desired: i32,
        now: SimTime,
    ) -> Limited {
        let (replicas, able) = match (&hpa.up, &hpa.down) {
            (Some(up), Some(down)) => {
                self.stabilize(window(up), window(down), (current, desired), now)
            }
            (Some(_) | None, _) => self.stabilize_plain(desired, now),
        };
        self.recommended.push((now, desired));
        let longest = [&hpa.up, &hpa.down].into_iter().flatten().map(window).max();
        let keep = longest.unwrap_or(WINDOW).max(WINDOW);
        self.recommended.retain(|(at, _)| now.since(*at) <= keep);
        let oldest = SimDuration::from_secs(3600);
        self.added.retain(|(at, _)| now.since(*at) <= oldest);
        self.removed.retain(|(at, _)| now.since(*at) <= oldest);
        let (replicas, limited) = match (&hpa.up, &hpa.down) {
            (Some(up), Some(down)) => self.rate(hpa, (up, down), (current, replicas), now),
            (Some(_) | None, _) => plain_rate(hpa, current, replicas),
        };
        Limited { replicas, able, limited }
    }

    /// Without behaviour: the highest recommendation of the last five minutes.
    fn stabilize_plain(&self, desired: i32, now: SimTime) -> (i32, (&'static str, &'static str)) {
        let recent = self.recommended.iter().filter(|(at, _)| now.since(*at) <= WINDOW);
        let highest = recent.map(|(_, n)| *n).fold(desired, i32::max);
        (highest, if highest == desired { READY } else { DOWN_STABILIZED })
    }

    /// With behaviour: as little up as the lowest recommendation of one window, as little down as
    /// the highest of the other. Source: `stabilizeRecommendationWithBehaviors`.
    fn stabilize(
        &self,
        up: SimDuration,
        down: SimDuration,
        (current, desired): (i32, i32),
        now: SimTime,
    ) -> (i32, (&'static str, &'static str)) {
        let recent = |span: SimDuration| {
            let list = self.recommended.iter().filter(move |(at, _)| now.since(*at) < span);
            list.map(|(_, n)| *n)
        };
        let lowest = recent(up).fold(desired, i32::min);
        let highest = recent(down).fold(desired, i32::max);
        let mut replicas = current.max(lowest);
        replicas = replicas.min(highest);
        let able = match replicas.cmp(&desired) {
            std::cmp::Ordering::Equal => READY,
            std::cmp::Ordering::Greater => DOWN_STABILIZED,
            std::cmp::Ordering::Less => UP_STABILIZED,
        };
        (replicas, able)
    }

    /// Source: `convertDesiredReplicasWithBehaviorRate`.
    fn rate(
        &self,
        hpa: &HorizontalPodAutoscaler,
        (up, down): (&ScalingRules, &ScalingRules),
        (current, desired): (i32, i32),
        now: SimTime,
    ) -> (i32, (bool, &'static str, &'static str)) {
        if desired > current {
            let limit = self.up_limit(up, current, now).max(current);
            let (most, why) = if limit < hpa.max {
                (limit, ("ScaleUpLimit", UP_LIMIT))
            } else {
                (hpa.max, ("TooManyReplicas", TOO_MANY))
            };
            if desired > most {
                return (most, (true, why.0, why.1));
            }
        } else if desired < current {
            let limit = self.down_limit(down, current, now).min(current);
            let (least, why) = if limit > hpa.min {
                (
                    limit,
                    (
                        "ScaleDownLimit",
                        "the desired replica count is decreasing faster than the maximum scale rate",
                    ),
                )
            } else {
                (hpa.min, ("TooFewReplicas", TOO_FEW))
            };
            if desired < least {
                return (least, (true, why.0, why.1));
            }
        }
        (desired, WITHIN)
    }

    fn up_limit(&self, rules: &ScalingRules, current: i32, now: SimTime) -> i32 {
        let of = |policy: &ScalingPolicy| {
            let start = self.period_start(current, policy, now);
            if policy.percent {
                let grown = i64::from(start) * (100 + i64::from(policy.value));
                i32::try_from((grown + 99).div_euclid(100)).unwrap_or(i32::MAX)
            } else {
                start.saturating_add(policy.value)
            }
        };
        let limits = rules.policies.iter().map(of);
        match rules.select {
            SelectPolicy::Disabled => current,
            SelectPolicy::Min => limits.min().unwrap_or(current),
            SelectPolicy::Max => limits.max().unwrap_or(current),
        }
    }

    fn down_limit(&self, rules: &ScalingRules, current: i32, now: SimTime) -> i32 {
        let of = |policy: &ScalingPolicy| {
            let start = self.period_start(current, policy, now);
            if policy.percent {
                let shrunk = i64::from(start) * (100 - i64::from(policy.value));
                i32::try_from(shrunk / 100).unwrap_or(0)
            } else {
                start.saturating_sub(policy.value)
            }
        };
        let limits = rules.policies.iter().map(of);
        match rules.select {
            SelectPolicy::Disabled => current,
            // What allows least change leaves most replicas.
            SelectPolicy::Min => limits.max().unwrap_or(current),
            SelectPolicy::Max => limits.min().unwrap_or(current),
        }
    }
}

const UP_LIMIT: &str = "the desired replica count is increasing faster than the maximum scale rate";
const TOO_MANY: &str = "the desired replica count is more than the maximum replica count";
const TOO_FEW: &str = "the desired replica count is less than the minimum replica count";
const WITHIN: (bool, &str, &str) =
    (false, "DesiredWithinRange", "the desired count is within the acceptable range");

/// Without behaviour: at most double, but four at least. Source: `convertDesiredReplicasWithRules`.
fn plain_rate(
    hpa: &HorizontalPodAutoscaler,
    current: i32,
    desired: i32,
) -> (i32, (bool, &'static str, &'static str)) {
    let limit = current.saturating_mul(2).max(4);
    let (most, why) = if hpa.max > limit {
        (limit, ("ScaleUpLimit", UP_LIMIT))
    } else {
        (hpa.max, ("TooManyReplicas", TOO_MANY))
    };
    if desired < hpa.min {
        (hpa.min, (true, "TooFewReplicas", TOO_FEW))
    } else if desired > most {
        (most, (true, why.0, why.1))
    } else {
        (desired, WITHIN)
    }
}

/// `ceil` of a ratio times a count, as upstream's `math.Ceil` on floats gives it.
pub(super) fn ceil(ratio: f64, count: i32) -> i32 {
    let exact = ratio * num::float(i64::from(count));
    i32::try_from(num::trunc(libm::ceil(exact))).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hpa(behaviour: bool) -> HorizontalPodAutoscaler {
        let rules = |policies: &[ScalingPolicy], window_s| ScalingRules {
            window_s,
            select: SelectPolicy::Max,
            policies: policies.into(),
            tolerance: None,
        };
        let four = ScalingPolicy { percent: false, value: 4, period_s: 15 };
        let all = ScalingPolicy { percent: true, value: 100, period_s: 15 };
        HorizontalPodAutoscaler {
            min: 1,
            max: 20,
            up: behaviour.then(|| rules(&[four, all], 0)),
            down: behaviour.then(|| rules(&[all], 300)),
            ..HorizontalPodAutoscaler::default()
        }
    }

    fn steps(hpa: &HorizontalPodAutoscaler, asked: &[i32]) -> Vec<i32> {
        let (mut history, mut current) = (History::default(), 2);
        let mut out = Vec::new();
        for (tick, desired) in (1..).zip(asked) {
            let now = SimTime::from_secs(15 * tick);
            history.begin(current, now);
            let next = history.limit(hpa, current, *desired, now).replicas;
            if next != current {
                history.scaled(current, next, now);
            }
            current = next;
            out.push(current);
        }
        out
    }

    /// Behaviour reference §7, timeline 5 (and row 21 of §8).
    #[test]
    fn scale_up_doubles_at_most_and_four_at_least() {
        assert_eq!(steps(&hpa(false), &[20, 20, 20, 20]), [4, 8, 16, 20]);
        assert_eq!(steps(&hpa(true), &[20, 20, 20, 20]), [6, 12, 20, 20], "+4 or ×2 in 15 s");
    }

    #[test]
    fn scale_down_waits_for_the_highest_of_five_minutes() {
        for behaviour in [false, true] {
            let mut asked = vec![2; 1];
            asked.push(4);
            asked.extend([1; 25]);
            let got = steps(&hpa(behaviour), &asked);
            let first = got.iter().position(|n| *n == 1).unwrap();
            // The 4 was asked for at tick 2; 300 s are 20 ticks.
            assert!((21..=22).contains(&first), "{got:?}");
            assert!(got[2..first - 1].iter().all(|n| *n == 4), "{got:?}");
        }
    }

    #[test]
    fn a_disabled_direction_stays() {
        let mut hpa = hpa(true);
        if let Some(up) = &mut hpa.up {
            up.select = SelectPolicy::Disabled;
        }
        assert_eq!(steps(&hpa, &[20, 20]), [2, 2]);
    }

    #[test]
    fn ratios_round_up() {
        assert_eq!((ceil(1.5, 3), ceil(0.1, 4), ceil(2.0, 4)), (5, 1, 8));
    }
}
