//! `04_jobs_kubelet`.

use super::{Case, Did, Timeline, instants, order, table};

/// When the pods of a job are made, from the first one on.
fn creations(run: &Timeline, job: &str) -> Vec<f64> {
    let owner = format!("Job/{job}");
    let made = run.of("pods").filter(|c| c.did == Did::Added && c.get("owner") == Some(&owner));
    let all: Vec<f64> = made.map(|c| c.at).collect();
    all.iter().map(|at| at - all[0]).collect()
}

/// When a field of a job was written first, from the job's own creation on.
fn first(run: &Timeline, job: &str, path: &str) -> Option<f64> {
    let born = run.of("jobs").find(|c| c.name == job && c.did == Did::Added)?.at;
    let set = run.of("jobs").find(|c| c.name == job && c.set.contains_key(path))?;
    Some(set.at - born)
}

/// A list of the runtime, the batch of the job controller, and whole seconds of timestamps: three
/// ticks of a second.
const TICKS: f64 = 3.0;

#[test]
fn jobs_run_as_recorded() {
    let Some(case) = Case::load("04", "04_jobs_kubelet", "04-jobs") else { return };
    let wrong = table::check(&case) + &order::check(&case) + &instants::check(&case);
    for (whose, run) in case.all() {
        for job in ["ok6", "idx6", "fail1", "failpar", "failidx", "onfail", "deadline", "susp"] {
            let (want, got) = (creations(&case.recorded, job), creations(run, job));
            assert_eq!(want.len(), got.len(), "{whose}: {job}: {got:?}");
            let mut within = TICKS;
            for (w, g) in want.iter().zip(&got) {
                assert!((w - g).abs() < within, "{whose}: {job}: {got:?}, recorded {want:?}");
                // Each round adds its ticks.
                within += 1.5;
            }
        }
        retries(&creations(run, "fail1"), &[10.0, 20.0, 40.0, 80.0], &whose);
        for (job, path, within) in [
            ("deadline", "status.conditions[Failed].status", 2.0),
            ("ttl", "metadata.deletionTimestamp", 3.0),
            ("susp", "status.conditions[Suspended].status", 0.5),
        ] {
            let (want, got) = (first(&case.recorded, job, path), first(run, job, path));
            let (want, got) = (want.unwrap_or(f64::NAN), got.unwrap_or(f64::NAN));
            assert!((want - got).abs() < within, "{whose}: {job} {path}: {got}, {want}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The back-off counts from the end of the last run (of 1 s).
fn retries(at: &[f64], backoffs: &[f64], whose: &str) {
    for (pair, backoff) in at.windows(2).zip(backoffs) {
        let gap = pair[1] - pair[0];
        assert!((backoff + 0.9..backoff + 3.0).contains(&gap), "{whose}: {gap} after {backoff}");
    }
}
