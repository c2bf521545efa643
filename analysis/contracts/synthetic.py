"""Synthetic histories with planted truth: who converges is decided by a latent number that attention shows early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.arrays import Bools, Floats
from pipeline.store.history import History, RunEnd, RunInfo

SYNTHETIC_BUDGET = 2000
_EVAL_STEPS = np.arange(0, SYNTHETIC_BUDGET + 1, 50)
_PROBE_STEPS = np.array([0, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400, 500, 650, 800, 1000, 1300, 1600, 2000])
_HEADS = ("l0h0", "l0h1", "l1h0", "l1h1")


def synthetic_history(
    num_settings: int = 4,
    num_seeds: int = 16,
    *,
    signal: float = 3.0,
    seed: int = 0,
    name: str = "synthetic",
    data_seed_of: Callable[[int], int] = lambda init_seed: init_seed,
    diverge_share: float = 0.06,
    metrics: bool = True,
    first_seed: int = 0,
) -> History:
    """Runs of every setting under every seed. `signal` is how clearly the attention metrics show the latent number.

    The latent number is drawn per run (setting and seed); it sets the step of the jump, later than the budget for about
    half of the runs. Losses before the jump show the learning rate alone, so early loss knows settings, not seeds.
    """
    rng = np.random.default_rng(seed)
    rates = 10.0 ** np.linspace(-3.5, -2, num_settings)
    runs, ends, rows = [], [], []
    for number, rate in enumerate(rates):
        for init_seed in range(first_seed, first_seed + num_seeds):
            latent = rng.normal()
            info = RunInfo(
                f"run-{number}-{init_seed}",
                f"setting-{number}",
                init_seed,
                data_seed_of(init_seed),
                {"optimiser.lr": float(rate), "task.name": "dictionary_lookup"},
            )
            jump = 1900 * np.exp(-0.5 * latent) * (1 + 0.15 * (number - (num_settings - 1) / 2))
            end = SYNTHETIC_BUDGET
            if rng.random() < diverge_share:
                end = int(rng.choice(_EVAL_STEPS[10:30]))
            runs.append(info)
            ends.append(RunEnd("diverged" if end < SYNTHETIC_BUDGET else "budget", end))
            rows.append(_series(rng, latent, jump, rate, end, signal))
    steps = np.union1d(_EVAL_STEPS, _PROBE_STEPS)
    values = {metric: np.stack([row[metric] for row in rows]) for metric in rows[0]}
    if not metrics:
        values = {metric: array for metric, array in values.items() if metric.startswith("label_")}
    return History(name, SYNTHETIC_BUDGET, tuple(runs), tuple(ends), steps, values, ("optimiser.lr",))


def _series(
    rng: np.random.Generator, latent: float, jump: float, rate: float, end: int, signal: float
) -> dict[str, Floats]:
    steps = np.union1d(_EVAL_STEPS, _PROBE_STEPS)
    is_eval, is_probe = np.isin(steps, _EVAL_STEPS), np.isin(steps, _PROBE_STEPS)
    after = 1 / (1 + np.exp(-np.clip((steps - jump + 120) / 20, -500, 500)))
    early = np.exp(-steps / (0.5 / rate))

    def noise(size: float) -> Floats:
        return rng.normal(size=len(steps)) * size

    excess = (0.55 + 0.45 * early) * (1 - after) + 0.002 + np.abs(noise(0.002))
    loss = 1.4 * excess + 0.1
    progress = np.minimum(steps / SYNTHETIC_BUDGET, 1) * signal * latent
    series = {
        "label_excess": np.where(is_eval, excess, np.nan),
        "label_loss": np.where(is_eval, loss, np.nan),
        "label_accuracy": np.where(is_eval, 1 - 0.7 * excess, np.nan),
        "train_loss": np.where(is_probe & (steps > 0), loss + noise(0.02), np.nan),
        "probe_loss": np.where(is_probe, loss + noise(0.02), np.nan),
        "grad_norm": np.where(is_probe & (steps > 0), 1 + np.abs(noise(0.3)), np.nan),
        "weight_norm": np.where(is_probe, 5 + steps / SYNTHETIC_BUDGET + noise(0.05), np.nan),
    }
    strong = int(rng.integers(2))
    for number, head in enumerate(_HEADS):
        is_strong = number % 2 == strong
        shown = progress if is_strong else 0.2 * progress
        series[f"induction_score.{head}"] = np.where(is_probe, 0.1 + shown + 0.4 * after + noise(0.08), np.nan)
        series[f"previous_token_score.{head}"] = np.where(is_probe, 0.1 + 0.5 * shown + noise(0.08), np.nan)
        series[f"attention_entropy.{head}"] = np.where(is_probe, 3 - shown - after + noise(0.08), np.nan)
    return {metric: np.where(steps <= end, array, np.nan) for metric, array in series.items()}


def drop_runs(history: History, keep: Bools) -> History:
    """The same history with only the runs where `keep` (a boolean array) is True."""
    kept = np.flatnonzero(keep)
    return replace(
        history,
        runs=tuple(history.runs[r] for r in kept),
        ends=tuple(history.ends[r] for r in kept),
        values={metric: array[kept].copy() for metric, array in history.values.items()},
    )


def tiny_history(
    excess_rows: Sequence[Any],
    ends: Sequence[tuple[str, int]],
    *,
    steps: Sequence[int] | None = None,
    budget: int | None = None,
    **metrics: Sequence[Any],
) -> History:
    """One run per row of label_excess, all of one setting, with init seeds 0, 1, ...; `ends` are (reason, step)."""
    excess = np.array(excess_rows, dtype=np.float64).reshape(len(ends), -1)
    steps_T = np.arange(excess.shape[1]) * 50 if steps is None else np.asarray(steps)
    runs = tuple(RunInfo(f"r{r}", "s", r, r, {"optimiser.lr": 0.01}) for r in range(len(ends)))
    budget = int(steps_T[-1]) if budget is None else budget
    values = {"label_excess": excess} | {name: np.array(rows, dtype=np.float64) for name, rows in metrics.items()}
    return History("tiny", budget, runs, tuple(RunEnd(*end) for end in ends), steps_T, values)


def overwrite_after(history: History, step: int, seed: int = 0) -> History:
    """Everything after `step` replaced by noise, in every metric, and all run ends changed."""
    rng = np.random.default_rng(seed)
    late_T = history.steps_T > step
    values = {
        metric: np.where(late_T, rng.normal(size=array.shape) * 1e3, array) for metric, array in history.values.items()
    }
    return replace(history, values=values, ends=tuple(replace(end, reason="stopped") for end in history.ends))


def same_bytes(first: Mapping[str, Floats], second: Mapping[str, Floats]) -> bool:
    """Whether two sets of columns are equal to the byte, in order too."""
    return list(first) == list(second) and all(first[name].tobytes() == second[name].tobytes() for name in first)
