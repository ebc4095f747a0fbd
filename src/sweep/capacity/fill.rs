//! How many more of a shape fit: placed one after the other until none does.

use super::desk::{Desk, Limit};
use super::pools::Pools;
use super::shapes::Shape;
use std::collections::BTreeMap;

/// How many more of a shape fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fit {
    /// That many.
    pub fits: u32,
    /// More would have fitted: counting ended at a limit of the question.
    pub capped: bool,
    /// How many of them by zone, in the order of the zones.
    pub by_zone: Vec<u32>,
    /// How many of them by pool, in the order of the pools.
    pub by_pool: Vec<u32>,
    /// Why the next one does not fit, in the scheduler's words.
    pub why: String,
    /// Resources that are short, the one that most nodes lack first.
    pub limits: Vec<Limit>,
}

/// Fills a copy of the desk with a shape.
pub(super) fn fill(desk: &Desk, pools: &Pools, shape: &Shape, most: u32) -> Fit {
    let mut desk = desk.clone();
    let mut fit = Fit {
        by_zone: vec![0; pools.zones().len()],
        by_pool: vec![0; pools.names().len()],
        ..Fit::default()
    };
    let mut on = BTreeMap::new();
    while fit.fits < most {
        let pod = shape.numbered(fit.fits);
        match desk.place(&pod) {
            Ok(node) => *on.entry(pools.place(node)).or_insert(0) += 1,
            Err(failure) => {
                fit.why = failure.message;
                fit.limits = desk.limits(&pod);
                break;
            }
        }
        fit.fits += 1;
    }
    fit.capped = fit.fits == most;
    for ((zone, pool), n) in on {
        fit.by_zone[zone] += n;
        fit.by_pool[pool] += n;
    }
    fit
}

/// The number alone.
pub(super) fn count(desk: &Desk, shape: &Shape, most: u32) -> u32 {
    let mut desk = desk.clone();
    (0..most).find(|n| desk.place(&shape.numbered(*n)).is_err()).unwrap_or(most)
}
