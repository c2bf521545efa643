"""The two arms of a comparison, and their pairs of runs: the same seeds, and what else varies at the same values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.outcomes.outcomes import Outcomes
from analysis.outcomes.subsets import some_runs
from pipeline.arrays import Bools, Ints
from pipeline.counted import counted
from pipeline.store.history import History, RunInfo


@dataclass(frozen=True)
class Arm:
    """Runs under one treatment: a sweep, or those of its settings that have given values."""

    name: str
    history: History
    outcomes: Outcomes

    def where(self, conditions: Mapping[str, Any], name: str | None = None) -> Arm:
        """The runs whose hyperparameters have these values, as an arm; all of them without a condition.

        Raises ValueError where no run has them, naming the values that there are.
        """
        use_R = np.ones(len(self.history.runs), dtype=bool)
        for path, value in conditions.items():
            use_R &= _has(self.history, path, value)
        if not use_R.any():
            told = ", ".join(f"{path}={value}" for path, value in conditions.items())
            raise ValueError(f"{self.name}: no run has {told}")
        return Arm(name or self.name, some_runs(self.history, use_R), self.outcomes.rows(use_R))


@dataclass(frozen=True)
class Pairs:
    """P pairs of runs: row `a_P[i]` of arm `a` and row `b_P[i]` of arm `b` have the same seeds.

    They are ordered by seeds, so that more seeds, counted upwards, append to them. `num_alone` are the runs of either
    arm that have no partner. `matched` are the hyperparameters that vary inside the arms, equal in every pair;
    `differing` maps those that differ between the arms throughout to their values in both.
    """

    a: Arm
    b: Arm
    a_P: Ints
    b_P: Ints
    num_alone: tuple[int, int]
    matched: tuple[str, ...]
    differing: Mapping[str, tuple[Any, Any]]

    @property
    def runs(self) -> list[RunInfo]:
        """The runs of arm `a` in the pairs, whose seeds are the pairs'."""
        return [self.a.history.runs[row] for row in self.a_P]


def paired(a: Arm, b: Arm) -> Pairs:
    """The pairs of two arms; a run is no partner of itself.

    Raises ValueError where there is no pair, budgets or criteria differ, or an arm lacks what varies in the other.

    >>> from analysis.outcomes.outcomes import decide_outcomes
    >>> from pipeline.store.history import RunEnd
    >>> def arm(name, rate, seeds):
    ...     runs = tuple(RunInfo(f"{name}{seed}", name, seed, seed, {"optimiser.lr": rate}) for seed in seeds)
    ...     values = {"label_excess": np.zeros((len(runs), 1))}
    ...     history = History(name, 10, runs, (RunEnd("budget", 10),) * len(runs), np.array([10]), values)
    ...     return Arm(name, history, decide_outcomes(history))
    >>> found = paired(arm("slow", 0.001, [2, 0, 1]), arm("fast", 0.01, [1, 2, 3]))
    >>> found.a_P.tolist(), found.b_P.tolist(), found.num_alone, found.differing
    ([2, 0], [0, 1], (1, 1), {'optimiser.lr': (0.001, 0.01)})
    """
    _refuse_unlike(a, b)
    matched, differing = _varying(a, b)
    keys_a, keys_b = _keys(a.history.runs, matched), _keys(b.history.runs, matched)
    same = {key for key in keys_a.keys() & keys_b.keys() if _id(a, keys_a[key]) == _id(b, keys_b[key])}
    common = sorted((keys_a.keys() & keys_b.keys()) - same, key=lambda key: (key[:2], repr(key[2:])))
    if not common:
        equal = f" at equal values of {', '.join(matched)}" if matched else ""
        shared = f"; {counted(len(same), 'run')} {'is' if len(same) == 1 else 'are'} in both" if same else ""
        raise ValueError(f"no run of {a.name} has both seeds of another one of {b.name}{equal}{shared}")
    rows = [np.array([keys[key] for key in common], dtype=np.int64) for keys in (keys_a, keys_b)]
    alone = (len(a.history.runs) - len(common), len(b.history.runs) - len(common))
    return Pairs(a, b, rows[0], rows[1], alone, matched, differing)


def path_of(history: History, name: str) -> str:
    """The dotted path of a hyperparameter, from it or its last part. Raises ValueError unless there is exactly one."""
    known = {path for run in history.runs for path in run.hyperparameters}
    found = [name] if name in known else sorted(path for path in known if path.endswith(f".{name}"))
    if len(found) != 1:
        varied = ", ".join(history.varied) or "none"
        told = f"{name} may be {' or '.join(found)}" if found else f"no hyperparameter {name} (that vary: {varied})"
        raise ValueError(told)
    return found[0]


def _has(history: History, name: str, value: Any) -> Bools:
    path = path_of(history, name)
    # Runs of one setting share their hyperparameters.
    settings = {run.setting_id: run.hyperparameters.get(path) for run in history.runs}
    chosen = {setting for setting, given in settings.items() if _is_equal(given, value)}
    if not chosen:
        known = ", ".join(dict.fromkeys(map(str, settings.values())))
        raise ValueError(f"{history.name}: no run has {path}={value} (it has: {known})")
    return np.array([run.setting_id in chosen for run in history.runs], dtype=bool)


def _is_equal(one: Any, other: Any) -> bool:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
        return math.isclose(one, other, rel_tol=1e-9)
    return str(one) == str(other)


def _refuse_unlike(a: Arm, b: Arm) -> None:
    if a.history.budget != b.history.budget:
        raise ValueError(
            f"budgets differ ({a.name}: {a.history.budget}, {b.name}: {b.history.budget} steps), so outcomes do"
        )
    if a.outcomes.criterion != b.outcomes.criterion:
        raise ValueError(f"criteria differ ({a.name}: {a.outcomes.criterion}, {b.name}: {b.outcomes.criterion})")


def _varying(a: Arm, b: Arm) -> tuple[tuple[str, ...], dict[str, tuple[Any, Any]]]:
    """Paths that vary inside an arm, and those that differ between them.

    Raises ValueError for one that varies in an arm and that the other does not have: nothing says which values to pair.
    """
    inside = [_values(arm.history.runs) for arm in (a, b)]
    varying = sorted({path for values in inside for path in values if len(values[path]) > 1})
    for (arm, values), other in (((a, inside[0]), b), ((b, inside[1]), a)):
        if lacking := [path for path in varying if path not in values]:
            path = lacking[0]
            raise ValueError(
                f"{path} varies in {other.name}, and {arm.name} does not have it; give {other.name} one value"
            )
    matched = tuple(varying)
    differing = {}
    for path in sorted({*inside[0], *inside[1]} - {*matched}):
        before, after = (next(iter(values.get(path, {"": None}).values())) for values in inside)
        if not _is_equal(before, after):
            differing[path] = before, after
    return matched, differing


def _values(runs: Sequence[RunInfo]) -> dict[str, dict[str, Any]]:
    """Path -> its different values, by their representation, a missing one among them."""
    settings = {run.setting_id: run.hyperparameters for run in runs}.values()
    paths = sorted({path for hyperparameters in settings for path in hyperparameters})
    return {path: {repr(own.get(path)): own.get(path) for own in settings} for path in paths}


def _keys(runs: Sequence[RunInfo], matched: Sequence[str]) -> dict[tuple[Any, ...], int]:
    """What pairs a run -> its row; of runs with the same the first counts."""
    keyed: Iterator[tuple[tuple[Any, ...], int]] = (
        (
            (run.init_seed, run.data_seed, run.fork_step, *(repr(run.hyperparameters.get(path)) for path in matched)),
            row,
        )
        for row, run in reversed(list(enumerate(runs)))
    )
    return dict(keyed)


def _id(arm: Arm, row: int) -> str:
    return arm.history.runs[row].run_id
