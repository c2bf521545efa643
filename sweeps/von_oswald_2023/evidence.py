"""From measures on von Oswald et al. (2023) to evidence: an estimate, its interval, and what it rests on."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import Evidence, Region
from analysis.claims.sweeps import UndecidedError
from analysis.uncertainty.estimates import median_of_runs
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History
from sweeps.von_oswald_2023.measures import (
    LEFT,
    at_end,
    at_start,
    one_step_loss,
    part,
    shifts_of,
    steps_until,
    worst_ratio,
)

PAPER = "von Oswald et al. 2023"


def median(history: History, value_R: Floats, holds_if: Region, note: str) -> Evidence:
    """The median over runs; infinity counts as large."""
    return Evidence.of(median_of_runs(value_R, history.runs), len(history.runs), holds_if, note)


def shrunk(history: History, metric: str) -> Evidence:
    """The last value of a metric over that at step 0, median over runs; holds at a tenth or less."""
    ratio_R = at_end(history, metric, np.inf) / at_start(history, metric)
    return median(history, ratio_R, Region(high=0.1), "Median over seeds.")


def shifts_alike(history: History, kinds: tuple[str, ...], theirs: str, most: float) -> Evidence:
    """Of shifts of these kinds, the worst ratio of the trained loss to `theirs`; holds up to a factor of `most`."""
    shifts = [shift for kind in kinds for shift in shifts_of(history, kind).values()]
    ratio_R = worst_ratio(history, "trained_loss", theirs, shifts)
    worst = max(shifts, key=lambda shift: float(np.median(worst_ratio(history, "trained_loss", theirs, [shift]))))
    return median(history, ratio_R, Region(high=most), f"Median over seeds; they differ most at {worst}.")


def loss_ratio(history: History, theirs: str, holds_if: Region) -> Evidence:
    """The trained loss over `theirs`, median over runs, with both losses in the note."""
    ratio_R = at_end(history, "trained_loss", np.inf) / at_end(history, theirs)
    losses = {name: float(np.median(at_end(history, name, np.inf))) for name in ("trained_loss", theirs)}
    note = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    return median(history, ratio_R, holds_if, f"Medians over seeds: {note}.")


def floor(history: History) -> float:
    """One gradient step's loss in the setting of the first run."""
    return one_step_loss(history.runs[0])


def of_tasks(history: History, num_tasks: int) -> History:
    """The runs that were trained on so many fixed tasks."""
    batch_size = history.runs[0].hyperparameters["batch_size"]
    return part(history, "task.num_batches", num_tasks // batch_size)


def long_plateaus(history: History) -> tuple[Bools, float]:
    """(R,) who leaves the plateau at twice the median step or later, if at all; and the median step.

    Raises UndecidedError where twice the median is beyond the budget: who is late is then not seen.
    """
    left_R = steps_until(history, LEFT)
    step = float(np.median(left_R))
    if 2 * step > history.budget:
        raise UndecidedError(f"the median run of {history.name!r} does not leave the plateau in half of the budget")
    return left_R >= 2 * step, step
