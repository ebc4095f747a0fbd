#!/usr/bin/env bash
# Sweep @NAME@: @WORKERS@ workers of GNU parallel, then one table.
# Made by wavetank @PROGRAM@; every worker must run that version. WAVETANK names the program.
# Runs that are there are not played again: after any failure just start this once more.
# On several machines that share the directories: PARALLEL='--sshlogin a,b --env WAVETANK --workdir .'
set -euo pipefail
export WAVETANK="${WAVETANK:-wavetank}"
file=@FILE@
out=@OUT@
shared=@SHARED@
# A shard that is killed is started again, five times at most.
parallel --jobs @WORKERS@ --retries 5 --line-buffer --quote \
    "$WAVETANK" sweep "$file" --out "$out" --shared "$shared" --quiet --jobs 1 --shard '{}/@WORKERS@' \
    ::: $(seq 1 @WORKERS@)
exec "$WAVETANK" merge "$out"
