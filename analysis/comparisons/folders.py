"""Comparisons of results folders, and of settings of one, in Python.

from analysis.comparisons.folders import compare_folders, compare_settings

found = compare_settings("results/quickstart", {"lr": 0.001}, {"lr": 0.003})
print(found.effects["converged"].difference.text())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.comparisons.arms import Arm, paired
from analysis.comparisons.compare import ArmComparison, compare
from analysis.outcomes.equal_runs import distinct_runs
from analysis.outcomes.outcomes import decide_outcomes
from pipeline.planning.packs import stored_spec
from pipeline.spec.criterion import Criterion
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore


def compare_folders(
    a: Path | str,
    b: Path | str,
    where: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = (),
    effects: Mapping[str, float] | None = None,
    budget: int | None = None,
    criterion: Criterion | None = None,
) -> ArmComparison:
    """What the sweep in `b` has more than that in `a`, of their runs with the hyperparameters `where`.

    `metrics` and `effects` as of `compare`; `criterion` None: the sweeps' own. Raises StoreError where the folders
    cannot be read or compared.
    """
    arms = _read([Path(a), Path(b)], budget, criterion)
    return _compared(arms[0], arms[1], where, where, metrics, effects)


def compare_settings(
    folder: Path | str,
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    where: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = (),
    effects: Mapping[str, float] | None = None,
    budget: int | None = None,
    criterion: Criterion | None = None,
) -> ArmComparison:
    """What the runs of a sweep with the hyperparameters `b` have more than those with `a`.

    All others as of `compare_folders`.
    """
    (whole,) = _read([Path(folder)], budget, criterion)
    return _compared(
        whole, whole, {**(where or {}), **a}, {**(where or {}), **b}, metrics, effects, (_told(a), _told(b))
    )


def _compared(
    a: Arm,
    b: Arm,
    where_a: Mapping[str, Any] | None,
    where_b: Mapping[str, Any] | None,
    metrics: Sequence[str],
    effects: Mapping[str, float] | None,
    names: tuple[str | None, str | None] = (None, None),
) -> ArmComparison:
    try:
        return compare(paired(a.where(where_a or {}, names[0]), b.where(where_b or {}, names[1])), metrics, effects)
    except ValueError as error:
        raise StoreError(str(error)) from error


def _read(folders: Sequence[Path], budget: int | None, criterion: Criterion | None) -> list[Arm]:
    stores = [SweepStore(folder) for folder in folders]
    whole = [store.history(budget) for store in stores]
    for store, history in zip(stores, whole, strict=True):
        if not history.values:
            raise StoreError(f"{store.folder}: nothing is committed yet")
    histories = distinct_runs(whole, stores)
    arms = []
    for store, history in zip(stores, histories, strict=True):
        if not history.runs:
            raise StoreError(f"{store.folder}: all its runs equal some of {folders[0]}")
        name = history.name if len({one.name for one in whole}) == len(whole) else str(store.folder)
        try:
            outcomes = decide_outcomes(history, criterion or stored_spec(store).criterion)
        except ValueError as error:
            raise StoreError(str(error)) from error
        arms.append(Arm(name, replace(history, name=name), outcomes))
    return arms


def _told(conditions: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={value}" for path, value in conditions.items())
