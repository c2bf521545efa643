#!/usr/bin/env bash
# Workers of one sweep as a Slurm job array: each task trains packs until none is left, without a head and without Ray.
#
#   seedbed launch SPEC --results RESULTS --plan-only resources.workers=32   # on a node like those that are to train
#   sbatch --array 0-31 --gres gpu:1 --cpus-per-task 8 --time 8:00:00 sweeps/cluster/slurm_workers.sh RESULTS [option ...]
#
# RESULTS must be on a file system that all nodes share. Tasks may be added, cancelled and preempted at any time. A
# minute before the time limit Slurm sends USR1; the pack then commits, and the task queues itself again, as Slurm
# does with one that was preempted or lost its node.
#SBATCH --job-name=seedbed-work
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
set -euo pipefail

if [ "$#" -lt 1 ]; then
  echo "usage: sbatch --array 0-31 slurm_workers.sh RESULTS [option ...]" >&2
  exit 2
fi

at_limit=0
# Slurm gives a task the GPUs of its gres by CUDA_VISIBLE_DEVICES.
seedbed work "$@" --wait &
worker=$!
trap 'at_limit=1; kill -USR1 "$worker" 2>/dev/null || true' USR1
trap 'kill -TERM "$worker" 2>/dev/null || true' TERM
code=0
wait "$worker" || code=$?
# A trapped signal ends the wait early; the worker still commits.
while kill -0 "$worker" 2>/dev/null; do
  code=0
  wait "$worker" || code=$?
done

# 3: packs are left. What went wrong otherwise would go wrong again.
if [ "$at_limit" = 1 ] && [ "$code" = 3 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
