"""The newest forecast of a sweep, as rows and summaries of tracked runs carry it. Needs no wandb.

It stands in the first row that is written after it was made, and in the summary; `forecast/step` says which step of
the run it is from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pipeline.store.stored_forecast import RunProbability
from pipeline.tracking.names import (
    EXPECTED_SHARE,
    FORECAST_STEP,
    FORECAST_WINDOW,
    MEDIAN_STEP,
    NUM_FORECAST,
    P_CONVERGED,
    P_DIVERGED,
)
from pipeline.tracking.progress import RUNNING, CommittedProgress
from pipeline.tracking.rows import TrackedRow

Numbers = dict[str, float]


def run_forecast_numbers(found: RunProbability) -> Numbers:
    """Forecast of one run; without its median step where that is beyond the budget."""
    numbers = {
        P_CONVERGED: found.converged,
        P_DIVERGED: found.diverged,
        FORECAST_WINDOW: found.window,
        FORECAST_STEP: float(found.step),
    }
    return numbers if found.median is None else {**numbers, MEDIAN_STEP: found.median}


def setting_forecast_numbers(
    progress_by_run: Mapping[str, CommittedProgress], probabilities: Mapping[str, RunProbability]
) -> Numbers:
    """Share of a setting's runs that are expected to converge, over those that ended or have a forecast.

    Nothing without a forecast of a run in training.
    """
    running = {run_id for run_id, progress in progress_by_run.items() if progress.reason == RUNNING}
    expected = [probabilities[run_id].converged for run_id in running & probabilities.keys()]
    if not expected:
        return {}
    num_ended = len(progress_by_run) - len(running)
    num_converged = sum(progress.is_converged for progress in progress_by_run.values() if progress.reason != RUNNING)
    share = (num_converged + sum(expected)) / (num_ended + len(expected))
    return {EXPECTED_SHARE: share, NUM_FORECAST: float(len(expected))}


def with_numbers(rows: Iterable[TrackedRow], at: float, numbers: Numbers) -> Iterator[TrackedRow]:
    """The rows, with `numbers` in the last one at or before step `at`; in the first if all are later."""
    found = list(rows)
    place = max((place for place, row in enumerate(found) if row.step <= at), default=0)
    for number, row in enumerate(found):
        yield row._replace(values={**row.values, **numbers}) if number == place else row
