"""Settings of Zhao (2023)'s stand-in in which some seeds fail by the whole budget, and the fates of their forks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.fork_fates import ForkFates
from analysis.outcomes.subsets import some_runs
from pipeline.store.history import History
from sweeps.zhao_2023.measures import fates_in


@dataclass(frozen=True)
class FailingSetting:
    """A setting of the sweeps failing_parents and failing_forks: its name, and the hyperparameters that tell it."""

    name: str
    hyperparameters: Mapping[str, int]

    def runs_of(self, history: History) -> History:
        """Its runs, or forks. Raises UndecidedError where there is none."""
        of_setting_R = [
            all(run.hyperparameters[path] == value for path, value in self.hyperparameters.items())
            for run in history.runs
        ]
        if not any(of_setting_R):
            raise UndecidedError(f"sweep {history.name!r} has no run of {self.name}")
        return some_runs(history, np.array(of_setting_R))


WIDE_ENOUGH = FailingSetting("setting A", {"model.width": 16, "model.head_width": 4})
NARROW_HEADS = FailingSetting("setting C, heads of width 2", {"model.width": 16, "model.head_width": 2})
SMALL_MODEL = FailingSetting("models of width 10", {"model.width": 10, "model.head_width": 4})


def failing_fates(sweeps: Sweeps, setting: FailingSetting, kind: str | None = None) -> ForkFates:
    """Outcomes of forks and parents of one setting by the whole budget; of parents of this kind alone, if given."""
    forks, parents = (setting.runs_of(sweeps[name].history) for name in ("failing_forks", "failing_parents"))
    return fates_in(forks, parents, forks.budget, kind)
