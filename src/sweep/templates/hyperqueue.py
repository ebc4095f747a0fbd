#!/usr/bin/env python3
# Sweep @NAME@: @WORKERS@ shards for workers of HyperQueue, then one table.
# Made by wavetank @PROGRAM@; every worker must run that version. WAVETANK names the program.
# Runs that are there are not played again: after any failure just start this once more.
# pip install hyperqueue. HQ_SERVER_DIR names the directory of a running server; without it, a server and
# @WORKERS@ workers of one core each are started here.
import os
import subprocess
import sys
from contextlib import nullcontext

from hyperqueue import Client, Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

WAVETANK = os.environ.get("WAVETANK", "wavetank")
FILE, OUT, SHARED = @PYTHON@
SHARDS = @WORKERS@
TRIES = 5


def play(client, shards):
    """Plays shards, and gives the numbers of those that failed."""
    job = Job(max_fails=None, name="wavetank sweep")
    for i in shards:
        sweep = [WAVETANK, "sweep", FILE, "--out", OUT, "--shared", SHARED]
        how = ["--quiet", "--jobs", "1", "--shard", f"{i}/{SHARDS}"]
        job.program(sweep + how, stdout=None, stderr=None, crash_limit=TRIES)
    submitted = client.submit(job)
    if client.wait_for_jobs([submitted], raise_on_error=False):
        return []
    return [shards[task] for task in sorted(client.get_failed_tasks(submitted))]


def main():
    server = os.environ.get("HQ_SERVER_DIR")
    with nullcontext() if server else LocalCluster() as cluster:
        if cluster is None:
            client = Client(server)
        else:
            for _ in range(SHARDS):
                cluster.start_worker(WorkerConfig(cores=1))
            client = cluster.client()
        shards = list(range(1, SHARDS + 1))
        for _ in range(TRIES):
            shards = play(client, shards)
            if not shards:
                break
            print(f"shards that failed and are started again: {shards}", file=sys.stderr)
    return subprocess.call([WAVETANK, "merge", OUT])


if __name__ == "__main__":
    sys.exit(main())
