"""Hyperparameters as columns of numbers, by an encoding that is fixed on some runs and applied to others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.predictors.features import Features, stacked
from pipeline.arrays import Floats
from pipeline.store.history import RunInfo

LINEAR, LOG10, ONE_HOT = ENCODINGS = ("linear", "log10", "one_hot")


@dataclass(frozen=True)
class HyperparameterEncoding:
    """How one hyperparameter becomes columns: `path` itself, `log10(path)`, or a 0/1 column `path=VALUE` per value.

    `levels` are the `repr` of the values of a one-hot encoding, sorted. `has_missing` says that some run that the
    encoding was fixed on lacks the hyperparameter: a lacking number is then NaN.
    """

    path: str
    kind: str
    levels: tuple[str, ...] = ()
    has_missing: bool = False

    @classmethod
    def of(cls, path: str, values: Sequence[Any]) -> HyperparameterEncoding:
        """Numbers are taken as they are, or in log10 where all are positive and span more than a factor of 10.

        Anything else, booleans and mixed types included, is one-hot. None is a missing value.
        """
        present = [value for value in values if value is not None]
        has_missing = len(present) < len(values)
        if present and all(map(_is_number, present)):
            is_wide = min(present) > 0 and max(present) > 10 * min(present)
            return cls(path, LOG10 if is_wide else LINEAR, has_missing=has_missing)
        return cls(path, ONE_HOT, tuple(sorted(set(map(repr, values)))), has_missing)

    def columns(self, values: Sequence[Any]) -> dict[str, Floats]:
        """Column name -> (R,) of the values of R runs.

        Raises ValueError for a value that the encoding has no number for: none is made up for it.
        """
        self._refuse([value for value in values if not self._fits(value)])
        if self.kind == ONE_HOT:
            texts = list(map(repr, values))
            return {f"{self.path}={level}": np.array([float(t == level) for t in texts]) for level in self.levels}
        number_R = np.array([np.nan if value is None else float(value) for value in values])
        return {f"log10({self.path})": np.log10(number_R)} if self.kind == LOG10 else {self.path: number_R}

    def _fits(self, value: Any) -> bool:
        if self.kind == ONE_HOT:
            return repr(value) in self.levels
        if value is None:
            return self.has_missing
        return _is_number(value) and (self.kind == LINEAR or value > 0)

    def _refuse(self, others: list[Any]) -> None:
        if not others:
            return
        expected = {LINEAR: "numbers", LOG10: "positive numbers", ONE_HOT: ", ".join(self.levels)}[self.kind]
        given = ", ".join(sorted({"no value" if value is None else repr(value) for value in others}))
        raise ValueError(f"{self.path}: trained on {expected}; a run here has {given}")


def encodings_of(runs: Sequence[RunInfo], varied: Iterable[str]) -> tuple[HyperparameterEncoding, ...]:
    """The encodings of the varied hyperparameters of `runs`, in the order of `varied`."""
    return tuple(HyperparameterEncoding.of(path, [run.hyperparameters.get(path) for run in runs]) for path in varied)


def encoded(runs: Sequence[RunInfo], encodings: Iterable[HyperparameterEncoding]) -> Features:
    """The hyperparameters of `runs` under encodings fixed on these runs or on others.

    Raises ValueError for a value that an encoding has no number for.
    """
    columns: dict[str, Floats] = {}
    for encoding in encodings:
        columns.update(encoding.columns([run.hyperparameters.get(encoding.path) for run in runs]))
    return stacked(columns, len(runs))


def hyperparameters_RF(runs: Sequence[RunInfo], varied: Iterable[str]) -> Features:
    """The varied hyperparameters as numbers, under the encoding that these runs themselves suggest.

    The encoding depends on the values present, so two sets of runs may get different columns for one hyperparameter:
    a predictor that was fitted on other runs is given `encoded(runs, encodings)` with the encodings of those.
    """
    return encoded(runs, encodings_of(runs, varied))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
