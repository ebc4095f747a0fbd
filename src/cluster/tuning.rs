//! Traces whose order and amount are drawn per run: the rows shuffled, and rows drawn again (or
//! left out) until the GPUs asked for come to a share of those there are. What the FGD paper calls
//! tuning (source: its simulator, `TuneWorkload`).

use super::spec::{Arrival, Plan, Process, Row, Tuning};
use crate::api::Name;
use crate::api::gpu::{self, GpuAsk};
use crate::engine::{Draws, Purpose, SimTime, Sym, num};
use std::sync::Arc;

const SHUFFLE: Purpose = Purpose("trace-shuffle");
const AGAIN: Purpose = Purpose("trace-again");
const LESS: Purpose = Purpose("trace-less");

/// The plan with the rows of this seed; the same plan if nothing is drawn.
#[must_use]
pub(super) fn drawn(plan: &Arc<Plan>) -> Arc<Plan> {
    if plan.arrivals.iter().all(|a| a.tuning.is_none()) {
        return Arc::clone(plan);
    }
    let mut made = Plan::clone(plan);
    let devices = |n: &super::spec::NodeSpec| gpu::devices_of(&n.allocatable) as u64;
    let capacity = 1000 * plan.cluster.nodes.iter().map(devices).sum::<u64>();
    let draws = Draws::new(plan.seed);
    for arrival in &mut made.arrivals {
        let Some(tuning) = arrival.tuning else { continue };
        if let Process::Rows(rows) = &arrival.process {
            let rows = tuned(arrival, rows, tuning, capacity, &draws);
            arrival.process = Process::Rows(rows.into());
        }
    }
    Arc::new(made)
}

fn ask(row: &Row) -> Option<GpuAsk> {
    GpuAsk::of(&row.template.as_ref()?.spec.requests)
}

fn tuned(
    arrival: &Arrival,
    rows: &[Row],
    tuning: Tuning,
    capacity: u64,
    draws: &Draws,
) -> Vec<Row> {
    let entity = arrival.name.stable_hash();
    let below = |purpose, ordinal: u64, n: usize| {
        num::index(draws.draw(entity, purpose, ordinal).below(n as u64))
    };
    // By name, so that the draws do not depend on the order of the file.
    let mut by_name: Vec<&Row> = rows.iter().collect();
    by_name.sort_by(|a, b| a.name.cmp_text(b.name));
    let mut order: Vec<Row> = by_name.iter().copied().cloned().collect();
    for i in (1..order.len()).rev() {
        order.swap(i, below(SHUFFLE, i as u64, i + 1));
    }
    if let Some(load) = tuning.load {
        let wanted = num::trunc_u(load * num::float_u(capacity));
        let mut sum: u64 = order.iter().filter_map(ask).map(|a| u64::from(a.total())).sum();
        let again = Sym::new(&format!("{}-again", arrival.name));
        let mut draw = 0;
        while sum < wanted && sum > 0 {
            let row = by_name[below(AGAIN, draw, by_name.len())];
            // Per device, whatever their number: as the paper's program has it.
            if sum + ask(row).map_or(0, |a| u64::from(a.milli)) > wanted {
                break;
            }
            sum += ask(row).map_or(0, |a| u64::from(a.total()));
            let name = Name::numbered(again, num::u32_of(num::index(draw)));
            order.push(Row { name, ..row.clone() });
            draw += 1;
        }
        let mut less = 0;
        while sum > wanted && !order.is_empty() {
            let gone = order.remove(below(LESS, less, order.len()));
            sum -= ask(&gone).map_or(0, |a| u64::from(a.total()));
            less += 1;
        }
    }
    for (i, row) in order.iter_mut().enumerate() {
        row.at = SimTime::ZERO + tuning.gap.times(i as u64);
        row.lifetime = None;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::workload::PodTemplate;
    use crate::cluster::spec::Made;
    use crate::engine::SimDuration;

    fn row(i: u32, milli: i64) -> Row {
        let mut template = PodTemplate::default();
        Arc::make_mut(&mut template.spec).requests.set_scalar(gpu::milli(), milli);
        let name = Name::new(&format!("p{i:02}"));
        Row {
            at: SimTime::ZERO,
            name,
            template: Some(Arc::new(template)),
            lifetime: None,
            run: None,
        }
    }

    fn made(load: Option<f64>, seed: u64) -> Vec<Row> {
        let rows: Vec<Row> = (0..20).map(|i| row(i, 500)).collect();
        let tuning = Tuning { gap: SimDuration::from_secs(2), load };
        let made = Made::Pod(Arc::default());
        let mut arrival = Arrival::of_rows(("pod".into(), "default".into()), made, rows.clone());
        arrival.tuning = Some(tuning);
        tuned(&arrival, &rows, tuning, 10_000, &Draws::new(seed))
    }

    #[test]
    fn rows_are_drawn_again_until_the_share_is_reached() {
        // 20 rows of half a GPU are all of 10 GPUs; 130 per cent are six more.
        let rows = made(Some(1.3), 1);
        assert_eq!(rows.len(), 26);
        assert_eq!(rows[25].at, SimTime::from_secs(50));
        let clones = rows.iter().filter(|r| r.name.to_string().contains("again")).count();
        assert_eq!(clones, 6);
    }

    #[test]
    fn rows_are_left_out_when_they_are_too_many() {
        assert_eq!(made(Some(0.5), 1).len(), 10);
    }

    #[test]
    fn another_seed_is_another_order() {
        let names = |seed| made(None, seed).iter().map(|r| r.name).collect::<Vec<Name>>();
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }
}
