//! The table: means of runs beside published means.

use std::collections::BTreeMap;
use std::path::Path;
use wavetank::report::gpus::ByArrived;

/// What a run came to.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// Pod list.
    pub(crate) workload: String,
    /// Policy by the paper's name.
    pub(crate) policy: &'static str,
    /// Seed.
    pub(crate) seed: u64,
    /// By what has arrived.
    pub(crate) rows: Vec<ByArrived>,
}

impl Curve {
    /// A measure at a per cent of arrived GPUs.
    pub(crate) fn at(&self, measure: Measure, arrived: u32) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.arrived_pct == arrived)?;
        Some(match measure {
            Measure::Allocation => row.allocated_pct,
            Measure::Fragments => row.fragmented_pct,
            Measure::Ratio => row.fragmented_of_idle_pct,
        })
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Allocated GPUs, per cent of all.
    Allocation,
    /// Fragmented GPUs, per cent of all.
    Fragments,
    /// Fragmented GPUs, per cent of idle ones.
    Ratio,
}

impl Measure {
    /// Its name in the published table.
    const fn column(self) -> &'static str {
        match self {
            Self::Allocation => "alloc_pct",
            Self::Fragments => "frag_amount_pct",
            Self::Ratio => "frag_ratio_pct",
        }
    }
}

/// The cells that decide, and at which per cent of arrived GPUs.
const DECIDING: [(Measure, u32); 4] = [
    (Measure::Allocation, 100),
    (Measure::Allocation, 130),
    (Measure::Fragments, 100),
    (Measure::Ratio, 80),
];

/// Measure, workload, policy, arrived.
type Key = (String, String, String, u32);

/// Means and deviations as published.
pub(crate) type Published = BTreeMap<Key, (f64, f64)>;

/// Reads the published means.
pub(crate) fn published(shared: &Path) -> Result<Published, String> {
    let path = shared.join("data/fgd-expected/summary_by_policy.csv");
    let mut reader =
        csv::Reader::from_path(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut all = Published::new();
    for row in reader.records() {
        let row = row.map_err(|e| e.to_string())?;
        let text = |i: usize| row.get(i).unwrap_or_default().to_owned();
        let number = |i: usize| text(i).parse::<f64>().map_err(|e| format!("{row:?}: {e}"));
        let arrived = text(3).parse::<u32>().map_err(|e| format!("{row:?}: {e}"))?;
        all.insert((text(0), text(1), text(2), arrived), (number(5)?, number(7)?));
    }
    Ok(all)
}

/// The workloads that have published means.
pub(crate) fn workloads(published: &Published) -> Vec<String> {
    let mut names: Vec<String> = published.keys().map(|key| key.1.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// A mean beside the published one.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// Pod list.
    pub(crate) workload: String,
    /// Policy.
    pub(crate) policy: &'static str,
    /// Measure.
    pub(crate) measure: Measure,
    /// Per cent of arrived GPUs.
    pub(crate) arrived: u32,
    /// Seeds.
    pub(crate) seeds: usize,
    /// Mean over seeds.
    pub(crate) mean: f64,
    /// Published mean and standard deviation over ten seeds; none if there is none.
    pub(crate) published: Option<(f64, f64)>,
}

impl Cell {
    /// Difference that chance and rounding explain.
    fn allowed(&self) -> Option<f64> {
        self.published.map(|(_, sd)| 3.0 * sd / 10.0_f64.sqrt() + 0.15)
    }

    fn difference(&self) -> Option<f64> {
        self.published.map(|(mean, _)| self.mean - mean)
    }

    /// Difference in standard errors of the published mean.
    fn z(&self) -> Option<f64> {
        let (mean, sd) = self.published?;
        (sd > 0.0).then(|| (self.mean - mean) / (sd / 10.0_f64.sqrt()))
    }

    fn within(&self) -> Option<bool> {
        Some(self.difference()?.abs() <= self.allowed()?)
    }
}

/// The cells that decide.
pub(crate) fn cells(curves: &[Curve], published: &Published) -> Vec<Cell> {
    let mut groups: BTreeMap<(&str, &'static str), Vec<&Curve>> = BTreeMap::new();
    for curve in curves {
        groups.entry((&curve.workload, curve.policy)).or_default().push(curve);
    }
    let mut cells = Vec::new();
    for ((workload, policy), runs) in groups {
        for (measure, arrived) in DECIDING {
            let values: Vec<f64> = runs.iter().filter_map(|c| c.at(measure, arrived)).collect();
            let key =
                (measure.column().to_owned(), workload.to_owned(), policy.to_owned(), arrived);
            cells.push(Cell {
                workload: workload.to_owned(),
                policy,
                measure,
                arrived,
                seeds: values.len(),
                mean: mean(&values),
                published: published.get(&key).copied(),
            });
        }
    }
    cells
}

/// The mean of some numbers; 0 of none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let n = u32::try_from(values.len()).map_or(1.0, f64::from);
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / n }
}

/// `table.csv`.
pub(crate) fn csv(cells: &[Cell]) -> String {
    let mut out = String::from(
        "workload,policy,measure,arrived_pct,seeds,mean,published_mean,published_sd,difference,\
         allowed,z,within\n",
    );
    for cell in cells {
        let text = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.3}"));
        let within = cell.within().map_or("", |w| if w { "yes" } else { "no" });
        let line = [
            cell.workload.clone(),
            cell.policy.to_owned(),
            cell.measure.column().to_owned(),
            cell.arrived.to_string(),
            cell.seeds.to_string(),
            text(Some(cell.mean)),
            text(cell.published.map(|p| p.0)),
            text(cell.published.map(|p| p.1)),
            text(cell.difference()),
            text(cell.allowed()),
            text(cell.z()),
            within.to_owned(),
        ];
        out.push_str(&line.join(","));
        out.push('\n');
    }
    out
}

/// `by-arrival.csv`: means over seeds at every five per cent.
pub(crate) fn curves_csv(curves: &[Curve]) -> String {
    let mut groups: BTreeMap<(&str, &str), Vec<&Curve>> = BTreeMap::new();
    for curve in curves {
        groups.entry((&curve.workload, curve.policy)).or_default().push(curve);
    }
    let mut out = String::from(
        "workload,policy,arrived_pct,seeds,first_seed,allocated_pct,fragmented_pct,\
         fragmented_of_idle_pct\n",
    );
    for ((workload, policy), runs) in groups {
        let first = runs.iter().map(|c| c.seed).min().unwrap_or(0);
        for arrived in (0..=130).step_by(5) {
            let of = |measure| {
                mean(&runs.iter().filter_map(|c| c.at(measure, arrived)).collect::<Vec<f64>>())
            };
            let numbers = [Measure::Allocation, Measure::Fragments, Measure::Ratio].map(of);
            let n = runs.len();
            out.push_str(&format!(
                "{workload},{policy},{arrived},{n},{first},{:.3},{:.3},{:.3}\n",
                numbers[0], numbers[1], numbers[2]
            ));
        }
    }
    out
}

/// How many cells are within what is allowed, and whether they lean to one side.
pub(crate) fn verdict(cells: &[Cell]) -> String {
    let known: Vec<&Cell> = cells.iter().filter(|c| c.published.is_some()).collect();
    let within = known.iter().filter(|c| c.within() == Some(true)).count();
    let z: Vec<f64> = known.iter().filter_map(|c| c.z()).collect();
    let mut text = format!(
        "{within} of {} means within 3 sd/sqrt(10) + 0.15 points of the published ones; mean \
         signed z {:+.3} over {}",
        known.len(),
        mean(&z),
        z.len()
    );
    for cell in known.iter().filter(|c| c.within() == Some(false)) {
        let (published, sd) = cell.published.unwrap_or_default();
        text.push_str(&format!(
            "\n  outside: {} {} {} at {} %: {:.3}, published {published:.3} (sd {sd:.3})",
            cell.workload,
            cell.policy,
            cell.measure.column(),
            cell.arrived,
            cell.mean
        ));
    }
    text
}
