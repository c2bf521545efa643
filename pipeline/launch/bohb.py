"""Ray Tune's BOHB as a searcher of settings: told results by their number of seeds, and drawing by a seed alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipeline.spec.vary.factors import Choice, Distribution

# The objective of a result over each number of seeds, in a mapping from these.
BY_SEEDS = "by_seeds"


class BohbSearcher:
    """BOHB (Falkner, Klein and Hutter 2018) whose budgets are numbers of seeds, as a race gives them.

    Ray's `TuneBOHB` learns from what its HyperBand scheduler reports of each budget and nothing from a trial's end,
    hpbandster draws from numpy's global generator, and ConfigSpace gives choices back as numpy's types. So results are
    reported for each number of seeds, numpy's generator is lent a state of the searcher's own, and choices are made by
    number.
    """

    def __init__(self, bohb: Any, space: Mapping[str, Distribution], seed: int, objective: str) -> None:
        self._bohb, self._objective = bohb, objective
        self._choices = {path: one.choice for path, one in space.items() if isinstance(one, Choice)}
        self._state = np.random.RandomState(seed).get_state()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """A setting, from the model of the largest number of seeds that has one, or one third of the time at random."""
        with self._drawing():
            values = self._bohb.suggest(trial_id)
        return {path: self._choices[path][int(x)] if path in self._choices else float(x) for path, x in values.items()}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The result over each number of seeds; a setting that has none teaches nothing."""
        if result is not None and not error:
            with self._drawing():
                for num_seeds, value in sorted(result[BY_SEEDS].items()):
                    told = {self._objective: value, "hyperband_info": {"budget": num_seeds}}
                    self._bohb.on_trial_result(trial_id, told)
        self._bohb.on_trial_complete(trial_id)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """In this context numpy's global generator is the searcher's, and its libraries warn of nothing."""
        others = np.random.get_state()
        np.random.set_state(self._state)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            self._state = np.random.get_state()
            np.random.set_state(others)
