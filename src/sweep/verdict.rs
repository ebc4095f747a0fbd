//! Who wins, by how much, whether chance explains it, and what it costs elsewhere.
//!
//! The test is Student's paired t on the differences per seed, two-sided. The best and the second
//! best are chosen by looking at the data, so the correction (Holm's) is over every pair of
//! policies and every measure: whichever pair is told of, its p-value has been paid for.

use super::stats::{Paired, holm, p_value, paired};
use super::table::{Policy, figure, interval, measured, signed};
use crate::engine::num;
use crate::report::measures::{Better, Measure};
use crate::report::text::{count, wrap};

/// Policies of which every pair is looked at; of more, the table alone is made.
pub const MOST: usize = 64;

/// What is taken for more than chance: a corrected p-value below this.
pub const LEVEL: f64 = 0.05;

/// The best policy by one measure, against the second best.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The measure.
    pub measure: &'static Measure,
    /// Index of the policy with the best mean.
    pub winner: usize,
    /// Index of the second best.
    pub second: usize,
    /// From the second to the winner.
    pub paired: Paired,
    /// Its corrected p-value.
    pub p_holm: f64,
    /// Measures by which the winner is worse than the second, and not by chance.
    pub costs: Vec<(&'static Measure, Paired, f64)>,
}

/// What a comparison comes to.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// Names of the policies.
    pub names: Vec<String>,
    /// Seeds.
    pub seeds: usize,
    /// One per headline measure.
    pub of: Vec<Verdict>,
    /// Comparisons that the correction is over.
    pub family: usize,
    /// Sets of policies that are equal, event by event, on every seed.
    pub identical: Vec<Vec<usize>>,
}

/// The pairs (i, j), i < j, of so many, in order.
fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)))
}

/// Corrected p-values of every measure and pair.
struct Family {
    p: Vec<f64>,
    policies: usize,
}

impl Family {
    fn new(columns: &[Vec<Vec<f64>>], policies: usize) -> Self {
        let all = columns.iter().flat_map(|c| pairs(policies).map(move |(i, j)| (&c[i], &c[j])));
        Self { p: holm(&all.map(|(a, b)| p_value(a, b)).collect::<Vec<f64>>()), policies }
    }

    fn p(&self, measure: usize, i: usize, j: usize) -> f64 {
        let n = self.policies;
        let (i, j) = (i.min(j), i.max(j));
        // Pairs before row i, then those in it.
        let pair = i * n - i * (i + 1) / 2 + (j - i - 1);
        self.p[measure * (n * (n - 1) / 2) + pair]
    }
}

impl Verdicts {
    /// Judges policies that met the same seeds.
    #[must_use]
    pub fn new(policies: &[Policy]) -> Self {
        let n = policies.len();
        let mut verdicts = Self {
            names: policies.iter().map(|p| p.name.clone()).collect(),
            seeds: policies.iter().map(|p| p.runs.len()).min().unwrap_or(0),
            of: Vec::new(),
            family: 0,
            identical: alike(policies),
        };
        if !(2..=MOST).contains(&n) {
            return verdicts;
        }
        let measures = measured(policies);
        let columns: Vec<Vec<Vec<f64>>> =
            measures.iter().map(|m| policies.iter().map(|p| p.column(m)).collect()).collect();
        let family = Family::new(&columns, n);
        verdicts.family = family.p.len();
        for (m, measure) in measures.iter().enumerate().filter(|(_, m)| m.headline) {
            let Some((winner, second)) = best(measure, &columns[m]) else { continue };
            let of = |m: usize| paired(&columns[m][second], &columns[m][winner]);
            // What is no difference costs nothing.
            let real = family.p(m, winner, second) < LEVEL;
            let costs = measures.iter().enumerate().filter(|_| real);
            let costs = costs.filter_map(|(other, measure)| {
                let p = family.p(other, winner, second);
                let paired = of(other);
                (p < LEVEL && worse(measure, paired.difference)).then_some((*measure, paired, p))
            });
            verdicts.of.push(Verdict {
                measure,
                winner,
                second,
                paired: of(m),
                p_holm: family.p(m, winner, second),
                costs: costs.collect(),
            });
        }
        verdicts
    }

    /// The first screen.
    #[must_use]
    pub fn render(&self, width: u16) -> String {
        let mut page = String::new();
        let mut say = |line: &str| wrap(&mut page, line, usize::from(width));
        for verdict in &self.of {
            say(&self.sentence(verdict));
            for (measure, paired, p) in &verdict.costs {
                let words = interval(paired, *p);
                let name = measure.name;
                say(&format!("    at the cost of {name} {words} ({})", p_words(*p)));
            }
        }
        for group in &self.identical {
            let names: Vec<&str> = group.iter().map(|&i| self.names[i].as_str()).collect();
            let seeds = count(self.seeds as u64, "seed");
            say(&format!("{} are identical: equal digests on all {seeds}", names.join(" and ")));
        }
        say(&self.method());
        page
    }

    /// `pending_p99_s: A is best, 12.3 against 45.6 of B: -33.3 [-40.1, -26.5], p = 0.0003`.
    fn sentence(&self, verdict: &Verdict) -> String {
        let name = verdict.measure.name;
        let (winner, second) = (&self.names[verdict.winner], &self.names[verdict.second]);
        let paired = &verdict.paired;
        if paired.identical {
            return format!("{name}: no difference at all between {winner} and {second}");
        }
        let (mean, other) = (figure(paired.mean_b), figure(paired.mean_a));
        let words = interval(paired, 1.0);
        let p = p_words(verdict.p_holm);
        if verdict.p_holm < LEVEL {
            let margin = margin(paired);
            return format!(
                "{name}: {winner} is best, {mean} against {other} of {second}: {words}{margin}, {p}"
            );
        }
        format!(
            "{name}: no difference can be told from chance ({winner} {mean}, {second} {other}: \
             {words}, {p})"
        )
    }

    /// How it was tested.
    #[must_use]
    pub fn method(&self) -> String {
        if self.names.len() > MOST {
            return format!("More than {MOST} policies: no best one is named; see the table.");
        }
        format!(
            "Student's paired t test, two-sided, on the differences of {}; 95 % intervals; p after \
             Holm's correction over {} (every pair of policies, every measure).",
            count(self.seeds as u64, "seed"),
            count(self.family as u64, "comparison"),
        )
    }

    /// The verdicts as data.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let of = |(measure, paired, p): &(&Measure, Paired, f64)| {
            serde_json::json!({
                "measure": measure.name, "mean_difference": paired.difference,
                "interval_95": paired.interval, "p_holm": p,
            })
        };
        let rows = self.of.iter().map(|v| {
            serde_json::json!({
                "measure": v.measure.name,
                "best": self.names[v.winner],
                "second": self.names[v.second],
                "told_from_chance": v.p_holm < LEVEL,
                "mean_difference": v.paired.difference,
                "interval_95": v.paired.interval,
                "p_holm": v.p_holm,
                "costs": v.costs.iter().map(of).collect::<Vec<_>>(),
            })
        });
        let names = |group: &Vec<usize>| {
            group.iter().map(|&i| self.names[i].as_str()).collect::<Vec<&str>>()
        };
        serde_json::json!({
            "test": self.method(),
            "comparisons": self.family,
            "headlines": rows.collect::<Vec<_>>(),
            "identical": self.identical.iter().map(names).collect::<Vec<_>>(),
        })
    }
}

/// `, 42 % less`: the margin against the second.
fn margin(paired: &Paired) -> String {
    let share = 100.0 * paired.difference / paired.mean_a;
    if !share.is_finite() || paired.mean_a <= 0.0 {
        return String::new();
    }
    format!(" ({} %)", signed(num::rounded(share, 1)))
}

fn p_words(p: f64) -> String {
    if p < 1e-4 { "p < 0.0001".to_owned() } else { format!("p = {}", num::rounded(p, 4)) }
}

/// True if a difference towards the winner makes it worse by this measure.
fn worse(measure: &Measure, difference: f64) -> bool {
    match measure.better {
        Better::Lower => difference > 0.0,
        Better::Higher => difference < 0.0,
    }
}

/// The policies with the best and the second-best mean, of those that have the measure on some
/// seed, over the seeds on which all of them have it; equal means in order of the policies.
fn best(measure: &Measure, columns: &[Vec<f64>]) -> Option<(usize, usize)> {
    let some = |c: &&Vec<f64>| c.iter().any(|x| x.is_finite());
    let seeds = columns.first().map_or(0, Vec::len);
    let common: Vec<usize> = (0..seeds)
        .filter(|&i| columns.iter().filter(some).all(|c| c.get(i).is_some_and(|x| x.is_finite())))
        .collect();
    let mean = |column: &[f64]| {
        let sum: f64 = common.iter().filter_map(|&i| column.get(i)).sum();
        sum / num::float_u(common.len() as u64)
    };
    let mut order: Vec<(usize, f64)> =
        columns.iter().map(|c| mean(c)).enumerate().filter(|(_, mean)| mean.is_finite()).collect();
    order.sort_by(|a, b| match measure.better {
        Better::Lower => a.1.total_cmp(&b.1),
        Better::Higher => b.1.total_cmp(&a.1),
    });
    Some((order.first()?.0, order.get(1)?.0))
}

/// Groups of policies with equal digests.
fn alike(policies: &[Policy]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, policy) in policies.iter().enumerate() {
        let group = groups.iter_mut().find(|group| policy.same(&policies[group[0]]));
        match group {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::done::Done;

    fn policy(name: &str, of: &dyn Fn(u32) -> (f64, f64)) -> Policy {
        let run = |seed: u32| {
            let (pending, packed) = of(seed);
            let mut done = Done { digest: format!("{pending} {packed}"), ..Done::default() };
            done.measures.insert("pending_mean_s".into(), Some(pending));
            done.measures.insert("cpu_requested_percent".into(), Some(packed));
            done
        };
        Policy { name: name.into(), runs: (0..10).map(run).collect() }
    }

    fn noise(seed: u32) -> f64 {
        f64::from(seed * 7919 % 13)
    }

    #[test]
    fn the_winner_is_told_with_what_it_costs() {
        let slow = policy("slow", &|s| (20.0 + noise(s), 80.0 + noise(s)));
        let fast = policy("fast", &|s| (5.0 + noise(s) * 0.9, 60.0 + noise(s) * 1.1));
        let verdicts = Verdicts::new(&[slow.clone(), fast]);
        assert_eq!(verdicts.family, 2);
        let pending = &verdicts.of[0];
        assert_eq!((pending.winner, pending.second), (1, 0));
        assert!(pending.p_holm < LEVEL);
        assert_eq!(pending.costs.len(), 1);
        assert_eq!(pending.costs[0].0.name, "cpu_requested_percent");
        let text = verdicts.render(100);
        assert!(text.contains("pending_mean_s: fast is best"), "{text}");
        assert!(text.contains("at the cost of cpu_requested_percent"), "{text}");
        // The mean over three policies is the same story, told of the best two.
        let worst = policy("worst", &|s| (50.0 + noise(s), 10.0));
        let three = Verdicts::new(&[worst, slow.clone(), slow]);
        assert_eq!(three.family, 6);
        assert_eq!(three.identical, vec![vec![1, 2]]);
        assert!(three.render(100).contains("no difference at all between slow and slow"));
    }

    #[test]
    fn chance_is_told_as_chance() {
        let one = policy("one", &|s| (10.0 + noise(s), 50.0));
        let two = policy("two", &|s| (10.0 + noise(s + 3), 50.0));
        let text = Verdicts::new(&[one, two]).render(100);
        assert!(text.contains("pending_mean_s: no difference can be told from chance"), "{text}");
    }

    #[test]
    fn every_pair_has_its_own_place() {
        let family = Family { p: (0..12).map(f64::from).collect(), policies: 4 };
        let mut seen: Vec<String> = Vec::new();
        for measure in 0..2 {
            seen.extend(pairs(4).map(|(i, j)| family.p(measure, j, i).to_string()));
        }
        assert_eq!(seen, (0..12).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}
