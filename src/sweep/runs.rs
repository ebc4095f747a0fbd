//! Many runs at a time. Results come in the order of the jobs, whatever the threads do.

use rayon::prelude::*;

/// Prepares something from each job and runs every branch of it; results are those of the job, and
/// of each branch in order. Few preparations are held at a time: about one per thread.
pub fn fan_out<J: Sync, B: Sync, S: Sync, R: Send, P: Send>(
    threads: usize,
    jobs: &[J],
    branches: &[B],
    prepare: impl Fn(&J) -> (S, P) + Sync,
    run: impl Fn(&S, &B) -> R + Sync,
) -> Vec<(P, Vec<R>)> {
    parallel(threads, jobs, |job| {
        let (start, own) = prepare(job);
        // Inside the pool of `parallel`: idle threads take branches.
        (own, branches.par_iter().map(|branch| run(&start, branch)).collect())
    })
}

/// Runs every job; `threads` 0 means one per core.
#[must_use]
pub fn parallel<J: Sync, R: Send>(
    threads: usize,
    jobs: &[J],
    run: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let all = || jobs.par_iter().map(&run).collect();
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(all),
        // No threads to be had: one after the other gives the same results.
        Err(_none) => jobs.iter().map(&run).collect(),
    }
}
