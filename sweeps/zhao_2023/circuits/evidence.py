"""Measures of the claims on circuits, on the order of the heads, and on sizes: from sweeps to an estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.similarity_contrasts import contrast
from analysis.outcomes.outcomes import CONVERGED
from analysis.outcomes.subsets import some_runs
from analysis.uncertainty.estimates import mean_of_runs, proportion_of_runs
from analysis.uncertainty.intervals import Estimate, short
from pipeline.arrays import Floats
from pipeline.store.history import History, RunInfo
from sweeps.zhao_2023.measures import converged, order_of_heads, outcomes_of

CIRCUIT_RUNS, SIZES = "circuits", "model_widths"
# The accuracy of predicting each label with its frequency in the sequence (setting A).
LABEL_FREQUENCY = 0.438
# Kinds of swaps; "KIND_accuracy/SEED" is a run's accuracy with what the run of this init seed gave it.
TRANSPLANTED, STITCHED, ATTENTION_MAPS = "transplanted", "stitched", "maps"
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)


def measured_R(history: History, metric: str) -> Floats:
    """(R,) what was measured of each run after training; NaN where it was not. Raises UndecidedError where of none."""
    if metric not in history.values:
        raise UndecidedError(f"{metric} was not measured")
    value_RT = history.values[metric]
    is_there_RT = np.isfinite(value_RT)
    first_R = is_there_RT.argmax(axis=1)
    return np.where(is_there_RT.any(axis=1), value_RT[np.arange(len(value_RT)), first_R], np.nan)


def mean_of_circuits(sweeps: Sweeps, *, metric: str) -> Evidence:
    """The mean over converged runs of a metric of their circuits; the note has its quantiles over runs."""
    history = converged(sweeps[CIRCUIT_RUNS].history)
    value_R = measured_R(history, metric)
    low, middle, high = np.nanquantile(value_R, [0.05, 0.5, 0.95]) if np.isfinite(value_R).any() else [np.nan] * 3
    note = (
        f"{len(history.runs)} of {len(sweeps[CIRCUIT_RUNS].history.runs)} runs converged; median {short(middle)}, 90% "
        f"of runs from {short(low)} to {short(high)}."
    )
    return Evidence.of(proportion_of_runs(value_R, history.runs), history.runs, note)


@dataclass(frozen=True)
class Swaps:
    """The accuracy (R, R) of each run, in rows, with a part of another one, in columns; NaN where not measured."""

    runs: tuple[RunInfo, ...]
    accuracy_RR: Floats

    @classmethod
    def of(cls, sweeps: Sweeps, kind: str) -> Swaps:
        """Of the converged runs that were put into one another. Raises UndecidedError where none was."""
        history = converged(sweeps[CIRCUIT_RUNS].history)
        prefix = f"{kind}_accuracy/"
        seeds = {int(name.removeprefix(prefix)) for name in history.values if name.startswith(prefix)}
        if not seeds:
            raise UndecidedError(f"no run was measured with parts of another: {kind}")
        history = some_runs(history, np.array([run.init_seed in seeds for run in history.runs]))
        columns = [
            measured_R(history, f"{prefix}{run.init_seed}")
            if f"{prefix}{run.init_seed}" in history.values
            else np.full(len(history.runs), np.nan)
            for run in history.runs
        ]
        return cls(tuple(history.runs), np.stack(columns, axis=1))

    def mean(self) -> Estimate:
        """Over ordered pairs of runs, with an interval that resamples runs."""
        return contrast(self.runs, self.accuracy_RR, self.accuracy_RR).first


def accuracy_with_parts_of_others(sweeps: Sweeps, *, kind: str) -> Evidence:
    """The mean accuracy of converged runs with a part of another converged run, over ordered pairs."""
    found = Swaps.of(sweeps, kind)
    seen = found.accuracy_RR[np.isfinite(found.accuracy_RR)]
    low, middle, high = np.quantile(seen, [0.05, 0.5, 0.95]) if len(seen) else [np.nan] * 3
    note = (
        f"{len(found.runs)} runs, {len(seen)} ordered pairs; median {short(middle)}, 90% of pairs from {short(low)} to "
        f"{short(high)}."
    )
    return Evidence.of(found.mean(), found.runs, note)


def share_first_to_level(sweeps: Sweeps, *, level: float) -> Evidence:
    """The share of runs whose previous-token score comes to `level` for good before their induction score does."""
    history = sweeps[CIRCUIT_RUNS].history
    order = order_of_heads(history, level)
    note = (
        f"Induction score first {order.second.text()}, tied at 5 steps {order.tied.text()}; {order.num_neither} of "
        f"{len(history.runs)} runs come to it with neither."
    )
    return Evidence.of(order.first, history.runs, note, num_runs=order.num_runs)


def width_R(history: History) -> Floats:
    """(R,) width of each run's model."""
    return np.array([run.hyperparameters["model.width"] for run in history.runs], dtype=np.float64)


def of_width(history: History, width: float) -> History:
    """The runs of one width. Raises UndecidedError where there is none."""
    is_so_R = width_R(history) == width
    if not is_so_R.any():
        raise UndecidedError(f"no run has a width of {width:g}")
    return some_runs(history, is_so_R)


def rise_between_widths(sweeps: Sweeps, *, narrow: int, wide: int) -> Evidence:
    """The share of runs of the wider models that converge less that of the narrower ones, over the same seeds."""
    history = sweeps[SIZES].history
    converges: dict[int, dict[int, bool]] = {}
    for width in (narrow, wide):
        runs = of_width(history, width)
        is_converged_R = outcomes_of(runs).is_kind_R(CONVERGED)
        converges[width] = {run.init_seed: bool(is_so) for run, is_so in zip(runs.runs, is_converged_R, strict=True)}
    both = [run for run in of_width(history, wide).runs if run.init_seed in converges[narrow]]
    rise_R = [float(converges[wide][run.init_seed]) - converges[narrow][run.init_seed] for run in both]
    shares = (
        f"{width:g} {short(float(np.mean(outcomes_of(of_width(history, width)).is_kind_R(CONVERGED))))}"
        for width in sorted(set(width_R(history).tolist()))
    )
    note = f"By step {history.budget}, share converged by width: {', '.join(shares)}."
    return Evidence.of(mean_of_runs(np.array(rise_R), both), both, note)


def share_between(sweeps: Sweeps, *, widths: tuple[int, ...], low: float, high: float) -> Evidence:
    """The share of runs of these widths whose last excess loss lies between `low` and `high`."""
    history = sweeps[SIZES].history
    history = some_runs(history, np.isin(width_R(history), widths))
    excess_R = last_excess_R(history)
    is_between_R = (excess_R > low) & (excess_R < high)
    note = (
        f"Of {len(history.runs)} runs {int((excess_R <= low).sum())} end at {low:g} or less and "
        f"{int((excess_R >= high).sum())} at {high:g} or more."
    )
    return Evidence.of(proportion_of_runs(is_between_R, history.runs), history.runs, note)


def last_excess_R(history: History) -> Floats:
    """(R,) each run's last excess loss; NaN where none was recorded."""
    excess_RT = history.values["label_excess"]
    is_there_RT = np.isfinite(excess_RT)
    last_R = excess_RT.shape[1] - 1 - is_there_RT[:, ::-1].argmax(axis=1)
    return np.where(is_there_RT.any(axis=1), excess_RT[np.arange(len(excess_RT)), last_R], np.nan)
