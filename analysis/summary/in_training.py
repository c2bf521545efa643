"""The runs in training, in words and as rows: how many are expected to converge, and which are undecided."""

from __future__ import annotations

from collections import Counter

from analysis.forecasting.run_forecasts import RunForecast, RunForecasts
from analysis.uncertainty.expected_count import ExpectedCount
from pipeline.store.stored_forecast import fewest_learned


def expected_of(forecasts: RunForecasts) -> str:
    """How many of the runs in training are expected to converge, and how many have no forecast, in a clause."""
    known = [run for run in forecasts.runs if not run.problem]
    problems = Counter(run.problem for run in forecasts.runs if run.problem)
    sizes = fewest_learned((source.fraction, source.num_finished) for source in forecasts.windows)
    count = ExpectedCount.of([run.converged for run in known], [sizes[run.window] for run in known])
    return count.of_runs_in_training([run.window for run in known], problems)


def most_uncertain(forecasts: RunForecasts, most: int) -> list[RunForecast]:
    """At most `most` of the runs that have a forecast, those with a P(converged) nearest to one half first."""
    known = [run for run in forecasts.runs if not run.problem]
    return sorted(known, key=lambda run: abs(run.converged - 0.5))[:most]
