#!/usr/bin/env bash
# One sweep on a Slurm allocation: a Ray head on the first node, a worker on each other node, the launch on the head.
#
#   sbatch --nodes 4 --time 8:00:00 sweeps/cluster/slurm.sh SPEC RESULTS [field=value ...]
#
# RESULTS must be on a file system that all nodes share. A minute before the time limit Slurm sends USR1; the packs
# then commit and leave, and the same command continues the sweep.
#SBATCH --job-name=seedbed
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --signal=B:USR1@60
set -euo pipefail

if [ "$#" -lt 2 ]; then
  echo "usage: sbatch slurm.sh SPEC RESULTS [field=value ...]" >&2
  exit 2
fi
spec=$1 results=$2
shift 2

# Every node must present the same token; it never reaches a file that others can read.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0

# Outside 10002-19999, where Ray's workers listen; another port for each job of a node.
port=$((20000 + SLURM_JOB_ID % 10000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes 1 --ntasks 1 --nodelist "$head" hostname --ip-address | awk '{print $1}')

started=()
cleanup() {
  # Only what this job started.
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait || true
}
trap cleanup EXIT

srun --nodes 1 --ntasks 1 --nodelist "$head" \
  ray start --head --node-ip-address "$address" --port "$port" --include-dashboard false --block &
started+=("$!")

# Waits until so many nodes are there; gives up after five minutes.
await_nodes() {
  python3 - "$address:$port" "$1" <<'PYTHON'
import logging
import sys
import time

import ray

for _ in range(100):
    try:
        ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL, ignore_reinit_error=True)
        if sum(node["Alive"] for node in ray.nodes()) >= int(sys.argv[2]):
            sys.exit(0)
    except ConnectionError:
        pass
    time.sleep(3)
sys.exit(f"only some of the {sys.argv[2]} nodes joined the Ray cluster")
PYTHON
}
await_nodes 1

if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --nodes $((SLURM_JOB_NUM_NODES - 1)) --ntasks $((SLURM_JOB_NUM_NODES - 1)) --exclude "$head" \
    ray start --address "$address:$port" --block &
  started+=("$!")
  await_nodes "$SLURM_JOB_NUM_NODES"
fi

seedbed launch "$spec" --results "$results" --address "$address:$port" "$@" &
launch=$!
trap 'kill -TERM "$launch" 2>/dev/null || true' USR1 TERM
code=0
wait "$launch" || code=$?
# A trapped signal ends the wait early; the launch still commits.
if kill -0 "$launch" 2>/dev/null; then
  code=0
  wait "$launch" || code=$?
fi
exit "$code"
