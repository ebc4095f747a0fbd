//! Many runs at a time. Results come in the order of the jobs, whatever the threads do.

use rayon::prelude::*;

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
