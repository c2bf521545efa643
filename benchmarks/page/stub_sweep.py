"""A results folder of a sweep of any size whose curves are drawn, not trained: plan and commits are the store's own.

python -m benchmarks.page.stub_sweep FOLDER --runs 10000
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.launch.planned import plan_on
from pipeline.planning.open_sweep import open_results
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import SweepSpec
from pipeline.store.formats.tables import encode_table
from pipeline.store.records.ends import Ended
from pipeline.store.records.record import Active, Record
from pipeline.store.sweep_store import SweepStore

CHUNK, NUM_POINTS = 50, 70
BUDGET = CHUNK * NUM_POINTS
STEPS_T = np.arange(CHUNK, BUDGET + 1, CHUNK)
NUM_SETTINGS = 8
LABELS = ("label_loss", "label_excess", "label_accuracy")
METRICS = (*LABELS, "train_loss", "probe_loss", "probe_accuracy", "grad_norm", "update_norm", "weight_norm",
           "init_distance", *(f"{name}.l{layer}h0" for layer in (0, 1) for name in
                              ("attention_entropy", "previous_token_score", "induction_score")))  # fmt: skip


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    given = parser.parse_args()
    store = planned(given.folder, given.runs)
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET, since=0)


def planned(folder: Path, num_runs: int) -> SweepStore:
    """The folder, planned for that many runs of NUM_SETTINGS settings (a multiple of them), without a commit."""
    data: dict[str, Any] = {
        "name": f"drawn-{num_runs}",
        "task": {"name": "dictionary_lookup", "num_keys": 4, "num_values": 4, "num_pairs": 4},
        "model": {"name": "attention_only", "width": 8, "head_width": 4},
        "optimiser": {"name": "adamw", "lr": 3e-3},
        "batch_size": 8,
        "budget": BUDGET,
        "vary": [
            {"model.head_width": [4, 3]},
            {"optimiser.lr": {"log_range": [1e-3, 1e-2], "num": NUM_SETTINGS // 2}},
        ],
        # Planning must not compile or time anything.
        "resources": {"engine": "torch", "slots": 32},
        "seeds": {"together": {"range": [0, num_runs // NUM_SETTINGS]}},
        "grid": {"chunk": CHUNK, "eval_every": CHUNK},
        "tracking": {"mode": "disabled"},
    }
    return open_results(plan_on(SweepSpec.model_validate(data), Machine("cpu", 1, "2.0")), folder, "")


def commit(
    store: SweepStore, pack_id: str, sequence: int, last: int, since: int, metrics: Sequence[str] = METRICS
) -> None:
    """Commit the steps after `since` up to `last` of all runs of a pack, with these metrics; at the budget they end."""
    pack = store.pack(pack_id)
    (run_ids,) = [entry["run_ids"] for entry in store.plan["packs"] if entry["pack_id"] == pack_id]
    before = pack.newest()
    attempt = pack.claim_attempt() if before is None else before.attempt
    use_T = (since < STEPS_T) & (last >= STEPS_T)
    drawn = curves(pack_id, len(run_ids), metrics)
    row_N = np.repeat(np.arange(len(run_ids), dtype=np.int32), use_T.sum())
    columns = {"run_id": pa.DictionaryArray.from_arrays(row_N, pa.array([*run_ids], pa.string()))}
    columns |= {"step": np.tile(STEPS_T[use_T], len(run_ids))}
    columns |= {name: drawn[name][:, use_T].reshape(-1) for name in metrics}
    entry = pack.write(attempt, sequence, "history", encode_table(pa.table(columns)))
    is_end = last >= BUDGET
    ends = {run_id: Ended("budget", BUDGET, "0" * 64, False) for run_id in run_ids} if is_end else {}
    active = {} if is_end else {run_id: Active(slot, last) for slot, run_id in enumerate(run_ids)}
    history = (*(() if before is None else before.history), entry)
    run_steps = last * len(run_ids)
    pack.commit(Record(store.sweep["sweep_id"], pack_id, attempt, sequence, None, history, (), ends, active, run_steps))


def curves(pack_id: str, num_runs: int, metrics: Sequence[str] = METRICS) -> dict[str, np.ndarray]:
    """(R, T) of these metrics, the first of METRICS: a plateau, a drop at a step of the run's own, noise.

    The same for a pack's name.
    """
    rng = np.random.default_rng(int(pack_id[:12], 16))
    drop_R1 = BUDGET * np.exp(rng.normal(-0.1, 0.45, (num_runs, 1)))
    learned_RT = 1 / (1 + np.exp(-(STEPS_T - drop_R1) / (0.04 * BUDGET)))

    def noisy(mean: np.ndarray, share: float) -> np.ndarray:
        return mean * np.exp(rng.normal(0, share, learned_RT.shape))

    loss_RT = noisy(np.exp(np.log(1.4) * (1 - learned_RT) + np.log(0.005) * learned_RT), 0.08)
    found = {"label_loss": loss_RT, "label_excess": loss_RT / 1.4, "label_accuracy": np.clip(1 - 0.6 * loss_RT, 0, 1)}
    found |= {name: noisy(loss_RT, 0.15) for name in ("train_loss", "probe_loss") if name in metrics}
    for number, name in enumerate(metrics[len(found) :]):
        level_R1 = rng.normal(1, 0.15, (num_runs, 1))
        found[name] = noisy(level_R1 * (0.3 + 0.6 * (learned_RT if number % 2 else 1 - learned_RT)), 0.05)
    return found


if __name__ == "__main__":
    main()
