#!/usr/bin/env bash
# Sweep @NAME@: @WORKERS@ processes of this machine, then one table.
# Made by wavetank @PROGRAM@; every worker must run that version. WAVETANK names the program.
# Runs that are there are not played again: after any failure just start this once more.
set -euo pipefail
wavetank="${WAVETANK:-wavetank}"

# A shard that is killed is started again, five times at most.
shard() {
    for _ in 1 2 3 4 5; do
        "$wavetank" sweep @FILE@ --out @OUT@ --shared @SHARED@ --quiet --jobs 1 --shard "$1/@WORKERS@" && return 0
    done
    return 1
}

pids=()
for i in $(seq 1 @WORKERS@); do
    shard "$i" &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid"
done
exec "$wavetank" merge @OUT@
