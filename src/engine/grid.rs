//! Periodic things as grids: phase + k·period + jitter(name, k). A component arms only the next
//! tick at which something could be seen; all others cost nothing.

use super::draw::{Draws, Purpose};
use super::time::{SimDuration, SimTime};

/// A periodic instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The first tick.
    pub phase: SimTime,
    /// Distance of ticks; not zero.
    pub period: SimDuration,
}

impl Grid {
    /// A grid with its first tick at `phase`.
    #[must_use]
    pub const fn new(phase: SimTime, period: SimDuration) -> Self {
        Self { phase, period }
    }

    /// A grid whose phase within one period is drawn from the entity's name.
    #[must_use]
    pub fn drawn(draws: &Draws, entity: u64, purpose: Purpose, period: SimDuration) -> Self {
        Self::new(SimTime(draws.draw(entity, purpose, 0).below(period.0)), period)
    }

    /// The first tick at or after `t`.
    #[must_use]
    pub fn at_or_after(&self, t: SimTime) -> SimTime {
        if t <= self.phase {
            return self.phase;
        }
        let gap = t.0 - self.phase.0;
        SimTime(self.phase.0 + gap.div_ceil(self.period.0) * self.period.0)
    }

    /// The first tick strictly after `t`.
    #[must_use]
    pub fn after(&self, t: SimTime) -> SimTime {
        self.at_or_after(SimTime(t.0 + 1))
    }

    /// The last tick at or before `t`, if there is one.
    #[must_use]
    pub fn at_or_before(&self, t: SimTime) -> Option<SimTime> {
        let gap = t.0.checked_sub(self.phase.0)?;
        Some(SimTime(self.phase.0 + gap / self.period.0 * self.period.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_around_an_instant() {
        let grid = Grid::new(SimTime(3), SimDuration(10));
        assert_eq!(grid.at_or_after(SimTime(0)), SimTime(3));
        assert_eq!(grid.at_or_after(SimTime(13)), SimTime(13));
        assert_eq!(grid.after(SimTime(13)), SimTime(23));
        assert_eq!(grid.at_or_before(SimTime(2)), None);
        assert_eq!(grid.at_or_before(SimTime(22)), Some(SimTime(13)));
    }
}
