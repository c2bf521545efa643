"""The newest forecast of a results folder, in a sentence and as plain values, read without analysing anything."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.uncertainty.expected_count import ExpectedCount
from pipeline.store.stored_forecast import FORECAST_FILE, Orders, StoredForecast, write_forecast
from pipeline.store.sweep_store import SweepStore
from sweeps.command.terminal.clock import clock

_SOON_S = 60


@dataclass(frozen=True)
class ForecastNow:
    """The newest forecast as it applies to the runs that are left now: those that ended since no longer count.

    `windows` are shares of the budget, increasing; `num_commits` were made since.
    """

    stored: StoredForecast
    run_ids: tuple[str, ...]
    num_commits: int

    @classmethod
    def of(cls, stored: StoredForecast | None, run_ids: Sequence[str], orders: Orders) -> ForecastNow | None:
        """None without a forecast, or where it is about none of the runs `run_ids` that are left."""
        known = set() if stored is None else {row["run_id"] for row in stored.forecasts["runs"]}
        left = tuple(run_id for run_id in run_ids if run_id in known)
        return None if stored is None or not left else cls(stored, left, stored.commits_since(orders))

    @property
    def count(self) -> ExpectedCount:
        """How many of the runs with a probability are expected to converge."""
        found = self.stored.probabilities(self.run_ids).values()
        return ExpectedCount.of([run.converged for run in found], [run.num_learned for run in found])

    @property
    def windows(self) -> list[float]:
        """The windows that the probabilities are from."""
        return sorted({run.window for run in self.stored.probabilities(self.run_ids).values()})

    def expectation(self) -> str:
        """How many of the runs in training are expected to converge, and from which windows, in a clause."""
        return self.count.of_runs_in_training(self.windows, self.stored.problems(self.run_ids))

    def sentence(self) -> str:
        """The expectation, and how old it is."""
        return f"forecast: {self.expectation()}; {self._age()}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        count = self.count
        return {
            "made_at": self.stored.made_at,
            "commits_since": self.num_commits,
            "source": self.stored.forecasts.get("source"),
            "windows": self.windows,
            "num_forecast": count.num_runs,
            "num_without": sum(self.stored.problems(self.run_ids).values()),
            "expected_converged": count.expected,
            "low": count.low,
            "high": count.high,
        }

    def _age(self) -> str:
        age_s = self.stored.age_s()
        made = "made just now" if age_s < _SOON_S else f"made {clock(age_s - age_s % 60)} ago"
        commits = f"{self.num_commits} commit{'' if self.num_commits == 1 else 's'}"
        return f"{made}, {commits if self.num_commits else 'no commit'} since"


def keep_forecast(store: SweepStore, orders: Orders, num_runs: int, forecasts: Mapping[str, Any]) -> str:
    """Keep `forecasts` in the results folder as the newest; a sentence if that folder cannot be written, else empty.

    Whoever may only read a results folder can still forecast its runs.
    """
    try:
        write_forecast(store, orders, num_runs, forecasts)
    except OSError as error:
        return f"not kept as {store.folder / FORECAST_FILE}: {error.strerror or error}"
    return ""


def how_to_forecast(folder: Path) -> str:
    """The command that makes a forecast of every run in training."""
    return f"seedbed forecast {shlex.quote(str(folder))}"
