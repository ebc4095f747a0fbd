//! What the machines of the cloud cost: from the grant of each to its end, at its price per hour.

use super::pods::NONE;
use crate::engine::{SimTime, Sym, num};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Nanoseconds of an hour.
const HOUR: u128 = 3_600_000_000_000;

/// What is said of a machine: node, pool, type, spot, price in millionths per hour.
pub type Said = (Sym, Sym, Sym, bool, u32);

/// A machine that is or was paid for.
#[derive(Debug, Clone, Copy)]
pub struct Bill {
    /// Its node.
    pub node: Sym,
    /// Its node group or pool.
    pub pool: Sym,
    /// Its type.
    pub kind: Sym,
    /// At the spot price.
    pub spot: bool,
    /// Millionths of the currency per hour.
    pub micro_per_hour: u32,
    from: SimTime,
    until: Option<SimTime>,
}

impl Bill {
    /// What it has come to, in millionths.
    fn micro(&self, now: SimTime) -> u128 {
        let span = self.until.unwrap_or(now).since(self.from).0;
        u128::from(span) * u128::from(self.micro_per_hour) / HOUR
    }
}

/// All machines that are or were paid for.
#[derive(Debug, Clone, Default)]
pub struct Bills {
    /// In order of their grants.
    pub rows: Vec<Bill>,
    latest: FxHashMap<Sym, u32>,
    rate: u64,
    /// Price of all machines together per hour, in millionths, whenever it changed.
    pub rates: Vec<(SimTime, u64)>,
    ended: SimTime,
}

/// What a run has cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// All together, in the currency of the prices.
    pub total: f64,
    /// Mean per hour.
    pub per_hour: f64,
    /// Greatest price per hour of all machines together.
    pub peak_per_hour: f64,
    /// By node group or pool.
    pub pools: Vec<PoolCost>,
}

/// What a node group or pool has cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolCost {
    /// Its name.
    pub pool: String,
    /// Machines in the course of the run.
    pub machines: u32,
    /// Of them at the spot price.
    pub spot: u32,
    /// Hours of all of them together.
    pub machine_hours: f64,
    /// What they have cost.
    pub cost: f64,
}

fn money(micro: u128) -> f64 {
    num::rounded(num::float_wide(micro) / 1e6, 6)
}

impl Bills {
    /// A machine is paid for from now on, or no longer.
    pub fn turn(&mut self, said: Said, on: bool, now: SimTime) {
        let (node, pool, kind, spot, micro_per_hour) = said;
        if on {
            self.latest.insert(node, num::u32_of(self.rows.len()));
            self.rows.push(Bill { node, pool, kind, spot, micro_per_hour, from: now, until: None });
            self.rate += u64::from(micro_per_hour);
        } else {
            let at = self.latest.get(&node).copied().unwrap_or(NONE);
            let Some(bill) = self.rows.get_mut(at as usize) else { return };
            if bill.until.replace(now).is_none() {
                self.rate -= u64::from(bill.micro_per_hour);
            }
        }
        match self.rates.last_mut() {
            Some((at, rate)) if *at == now => *rate = self.rate,
            Some(_) | None => self.rates.push((now, self.rate)),
        }
    }

    /// The run has ended.
    pub fn close(&mut self, now: SimTime) {
        self.ended = now;
    }

    /// The bill of a node, and what it has come to.
    #[must_use]
    pub fn of(&self, node: Sym) -> Option<(&Bill, f64)> {
        let bill = self.rows.get(*self.latest.get(&node)? as usize)?;
        Some((bill, money(bill.micro(self.ended))))
    }

    /// What a pool has cost, or all of them, in millionths.
    #[must_use]
    pub fn micro(&self, pool: Option<&str>) -> u128 {
        let wanted = |b: &&Bill| pool.is_none_or(|pool| b.pool.as_str() == pool);
        self.rows.iter().filter(wanted).map(|b| b.micro(self.ended)).sum()
    }

    /// What the run has cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let mut names: Vec<Sym> = Vec::new();
        for bill in &self.rows {
            if !names.contains(&bill.pool) {
                names.push(bill.pool);
            }
        }
        let pools = names.into_iter().map(|pool| self.pool(pool)).collect();
        let total = self.micro(None);
        let span = u128::from(self.ended.0).max(1);
        let peak = self.rates.iter().map(|(_, rate)| *rate).max().unwrap_or(0);
        Cost {
            total: money(total),
            per_hour: money(total * HOUR / span),
            peak_per_hour: money(u128::from(peak)),
            pools,
        }
    }

    fn pool(&self, pool: Sym) -> PoolCost {
        let (mut machines, mut spot, mut span, mut micro) = (0, 0, 0_u128, 0);
        for bill in self.rows.iter().filter(|b| b.pool == pool) {
            machines += 1;
            spot += u32::from(bill.spot);
            span += u128::from(bill.until.unwrap_or(self.ended).since(bill.from).0);
            micro += bill.micro(self.ended);
        }
        PoolCost {
            pool: pool.to_string(),
            machines,
            spot,
            machine_hours: num::rounded(num::float_wide(span) / num::float_wide(HOUR), 6),
            cost: money(micro),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_cost_from_their_grant_to_their_end() {
        let (mut bills, at) = (Bills::default(), SimTime::from_secs);
        let said = |name: &str, pool: &str, spot| {
            (Sym::new(name), Sym::new(pool), Sym::new("m5.large"), spot, 96_000)
        };
        bills.turn(said("a-0", "a", false), true, at(0));
        bills.turn(said("b-0", "b", true), true, at(1800));
        bills.turn(said("a-0", "a", false), false, at(3600));
        bills.close(at(7200));
        let cost = bills.cost();
        assert!((cost.total - 0.24).abs() < 1e-9, "{cost:?}");
        assert!((cost.per_hour - 0.12).abs() < 1e-9, "{cost:?}");
        assert!((cost.peak_per_hour - 0.192).abs() < 1e-9, "{cost:?}");
        assert_eq!(bills.micro(Some("a")), 96_000);
        assert_eq!((cost.pools[1].machines, cost.pools[1].spot), (1, 1));
        let seconds = |i: usize| bills.rates[i].0.0 / 1_000_000_000;
        assert_eq!((seconds(1), bills.rates[2].1), (1800, 96_000));
    }
}
