"""Measures that several claims on von Oswald et al. (2023) share: from a sweep to an estimate with its interval."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.uncertainty.estimates import median_of_runs
from pipeline.arrays import Floats
from pipeline.store.history import History
from sweeps.von_oswald_2023.measures import at_end, at_start, shifts_of, worst_ratio


def median(history: History, value_R: Floats, note: str = "Median over seeds.") -> Evidence:
    """The median over runs; infinity counts as large."""
    return Evidence.of(median_of_runs(value_R, history.runs), history.runs, note)


def final(sweeps: Sweeps, *, sweep: str, metric: str, lost: float) -> Evidence:
    """The last value of a metric, median over runs; `lost` for a run without one."""
    history = sweeps[sweep].history
    return median(history, at_end(history, metric, lost))


def shrunk(sweeps: Sweeps, *, sweep: str, metric: str) -> Evidence:
    """The last value of a metric over that at step 0, median over runs."""
    history = sweeps[sweep].history
    return median(history, at_end(history, metric, np.inf) / at_start(history, metric))


def loss_ratio(sweeps: Sweeps, *, sweep: str, theirs: str) -> Evidence:
    """The trained loss over the loss `theirs` on the same contexts, median over runs, with both losses in the note."""
    history = sweeps[sweep].history
    ratio_R = at_end(history, "trained_loss", np.inf) / at_end(history, theirs)
    losses = {name: float(np.median(at_end(history, name, np.inf))) for name in ("trained_loss", theirs)}
    note = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    return median(history, ratio_R, f"Medians over seeds: {note}.")


def shifts_alike(sweeps: Sweeps, *, sweep: str, kinds: tuple[str, ...], theirs: str) -> Evidence:
    """The trained loss over the loss `theirs` under the shift of these kinds at which they differ most."""
    history = sweeps[sweep].history
    shifts = [shift for kind in kinds for shift in shifts_of(history, kind).values()]
    ratio_R = worst_ratio(history, "trained_loss", theirs, shifts)
    worst = max(shifts, key=lambda shift: float(np.median(worst_ratio(history, "trained_loss", theirs, [shift]))))
    return median(history, ratio_R, f"Median over seeds; they differ most at {worst}.")
