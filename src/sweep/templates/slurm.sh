#!/usr/bin/env bash
# Sweep @NAME@: @WORKERS@ tasks of a Slurm array, then one table.
# Made by wavetank @PROGRAM@; every worker must run that version. WAVETANK names the program.
# Runs that are there are not played again: after any failure just start this once more.
# Options for sbatch (account, partition, time) go to this script: bash submit-slurm.sh --partition=x
set -euo pipefail
export WAVETANK="${WAVETANK:-wavetank}"
export SWEEP_FILE=@FILE@ SWEEP_OUT=@OUT@ SWEEP_SHARED=@SHARED@
id=$(sbatch --parsable --export=ALL --requeue --array=1-@WORKERS@ --cpus-per-task=1 "$@" \
    --wrap '"$WAVETANK" sweep "$SWEEP_FILE" --out "$SWEEP_OUT" --shared "$SWEEP_SHARED" \
        --quiet --jobs 1 --shard "$SLURM_ARRAY_TASK_ID/@WORKERS@"')
sbatch --export=ALL --dependency=afterok:"${id%%;*}" "$@" --wrap '"$WAVETANK" merge "$SWEEP_OUT"'
