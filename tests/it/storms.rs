//! Storms: random clusters and faults with every invariant checked after every event; planted bugs
//! that must be found; and scenarios of bugs that storms have found, each of which must pass.

use std::path::Path;
use wavetank::event::Canary;
use wavetank::sweep::runs::parallel;
use wavetank::sweep::storm::{Case, Weather, run};

/// Seeds that CI runs; by hand `wavetank fuzz --seeds` runs more.
const SEEDS: u64 = 300;
/// Within so many seeds each planted bug must be found.
const FINDS: u64 = 200;

#[test]
fn no_storm_breaks_a_rule() {
    let seeds: Vec<u64> = (1..=SEEDS).collect();
    let failed: Vec<String> = parallel(0, &seeds, |&seed| {
        let twice = seed.is_multiple_of(16);
        let weather = Weather { shuffle: seed.is_multiple_of(2), twice, canary: None };
        run(&Case::draw(seed).to_yaml(), weather).err().map(|f| format!("seed {seed}: {f:?}"))
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(failed.is_empty(), "{} of {SEEDS} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_planted_bug_is_found() {
    let missed: Vec<&str> = parallel(0, &Canary::ALL, |&canary| {
        let twice = canary == Canary::Unstable;
        let weather = Weather { shuffle: false, twice, canary: Some(canary) };
        let found = (1..=FINDS).any(|seed| run(&Case::draw(seed).to_yaml(), weather).is_err());
        (!found).then(|| canary.name())
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(missed.is_empty(), "not found in {FINDS} seeds each: {missed:?}");
}

#[test]
fn what_storms_have_found_stays_mended() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storms");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "yaml")) {
        let yaml = std::fs::read_to_string(file).unwrap();
        for shuffle in [false, true] {
            let weather = Weather { shuffle, twice: true, canary: None };
            if let Err(failure) = run(&yaml, weather) {
                panic!("{}: {failure:?}", file.display());
            }
        }
    }
}

#[test]
fn a_case_is_a_function_of_its_seed_and_shrinks() {
    let case = Case::draw(7);
    assert_eq!(case, Case::draw(7));
    assert_ne!(case.to_yaml(), Case::draw(8).to_yaml());
    let weight = |c: &Case| {
        let nodes: u32 = c.pools.iter().map(|p| p.count).sum();
        let replicas: u32 = c.works.iter().map(|w| w.replicas).sum();
        (nodes + replicas) as usize + c.works.len() + c.deeds.len() + c.harms.len()
    };
    for smaller in case.smaller() {
        assert!(weight(&smaller) < weight(&case), "{smaller:?}");
    }
}
