"""What forecasts of one task say of another.

`python -m benchmarks.forecasts.transfer RESULTS`, from the root.

RESULTS holds the results of `seedbed benchmark`. Everything is fitted to training halves and scored on test halves. The
scores are kept beside this file, and docs/forecast_scores.md gets their tables; without a folder, from the kept scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.forecasting.evaluation import cases_of
from analysis.forecasting.fitted import task_and_model
from analysis.forecasting.own_sweep import Prior
from analysis.forecasting.ranking import Ranking, in_window, relative
from analysis.forecasting.scoring.scores import auroc
from analysis.forecasting.transfer import LEAST_AGREEMENT
from analysis.forecasting.window_model import MIN_OF_EACH
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.predictors.base import Cases, Targets
from analysis.predictors.features import Features
from analysis.predictors.ridge import Ridge
from analysis.predictors.ridge_time import RidgeTime, log_time
from analysis.uncertainty.resampling import resample
from benchmarks.bench import read
from benchmarks.forecasts.transfer_page import (
    KEPT,
    OTHERS,
    PAGE,
    WHOLE_TASK,
    Row,
    is_other_setting,
    kept_document,
    kept_text,
    with_tables_of_transfer,
)
from pipeline.arrays import Bools, Floats
from pipeline.planning.packs import stored_spec
from pipeline.store.history import History, RunInfo
from pipeline.store.sweep_store import SweepStore

WINDOWS = (0.05, 0.1, 0.25)
ADAPTED_WINDOWS, NUM_OWN, DRAWS = (0.1, 0.25), (20, 50), 6
BOOTSTRAP = 200
# Of each sweep, another one of its task and model; of settings drawn at random, their training half as well.
SAME_TASK = {
    "lookup_a": ("lookup_b",),
    "lookup_b": ("lookup_a",),
    "head_width_2": ("lookup_a",),
    "head_width_3": ("lookup_a",),
    "lookup_settings": ("lookup_a", "lookup_settings"),
    "pair_tokens": ("pair_settings",),
    "pair_settings": ("pair_tokens", "pair_settings"),
    "linear_plateaus": ("linear_settings",),
    "linear_settings": ("linear_plateaus", "linear_settings"),
}
NAMES = (*SAME_TASK, "repeated_sequence", "parity", "modular_addition", "separate_tokens", "feature_regression")


@dataclass(frozen=True)
class Half:
    """The N runs of one half of a benchmark's task that were at risk at a window: cases, targets, relative columns."""

    name: str
    what: str
    runs: tuple[RunInfo, ...]
    cases: Cases
    targets: Targets
    columns: Features

    @classmethod
    def of(cls, name: str, history: History, outcomes: Outcomes, window: float) -> Half:
        """The runs that had no outcome by the window's end; each has one by the budget."""
        use_R = in_window(history, outcomes, history.window_step(window))
        cases = cases_of(history.window(window))
        columns = relative(cases.statistics, cases.setting_R, use_R).rows(use_R)
        runs = tuple(run for run, is_used in zip(history.runs, use_R, strict=True) if is_used)
        targets = Targets.of(outcomes, history.budget, use_R)
        return cls(name, task_and_model(history.runs[0]), runs, cases.rows(use_R), targets, columns)

    @cached_property
    def setting_N(self) -> np.ndarray:
        """(N,) number of each run's setting."""
        return np.unique(self.cases.setting_R, return_inverse=True)[1]

    def auroc(self, score_N: Floats, weight_BN: Floats) -> Floats:
        """(B,) AUROC between runs of one setting, of a score that is higher where convergence is expected."""
        return np.asarray(auroc(score_N, self.targets.converged_R, self.setting_N, weight_BN))

    def named(self, names: Sequence[str]) -> Half:
        """The same with these statistics alone, in both units."""
        cases = replace(self.cases, statistics=self.cases.statistics.named(names))
        return replace(self, cases=cases, columns=self.columns.named(names))


def ranking_of(half: Half) -> Ranking:
    """Ranks learned from all runs of a half."""
    ranking = Ranking.fit(half.cases, half.targets, np.ones(len(half.runs)), half.columns)
    assert ranking is not None, f"{half.name}: no setting has enough runs"
    return ranking


def absolute_of(half: Half) -> Ridge:
    """The same ridge regression on statistics in their own units, of log time as a share of the budget."""
    log_N = log_time(half.targets) - np.log(half.targets.budget)
    return Ridge.fit(half.cases.statistics, log_N, np.ones(len(half.runs)), half.cases.init_seed_R)[0]


def shared_names(halves: Sequence[Half]) -> tuple[str, ...]:
    """The statistics that all of them have, in the order of the first."""
    first, *others = (half.columns.names_F for half in halves)
    return tuple(name for name in first if all(name in other for other in others))


def pooled(halves: Sequence[Half], names: Sequence[str]) -> Ranking:
    """Ranks learned from several sweeps at once, each with the same total weight, on columns that all have."""
    parts = [half.named(names) for half in halves]
    values_NF = np.vstack([part.columns.values_RF for part in parts])
    budgets = [np.full(len(part.runs), float(part.targets.budget)) for part in parts]
    share_N = np.concatenate([part.targets.upper_R for part in parts]) / np.concatenate(budgets)
    targets = Targets(np.concatenate([part.targets.kind_R for part in parts]), share_N, share_N * 1e6, 1_000_000)
    cases = Cases(
        np.concatenate([part.cases.setting_R for part in parts]),
        np.concatenate([number * 10**7 + part.cases.init_seed_R for number, part in enumerate(parts)]),
        Features((), np.empty((len(values_NF), 0))),
        Features(tuple(names), values_NF),
    )
    weight_N = np.concatenate([np.full(len(part.runs), 500 / len(part.runs)) for part in parts])
    ranking = Ranking.fit(cases, targets, weight_N, Features(tuple(names), values_NF))
    assert ranking is not None
    return ranking


def matrix_rows(train: Mapping[str, Half], test: Mapping[str, Half], window: float) -> Iterator[Row]:
    """AUROC of every source on every target, in relative and in absolute units, and whether a forecast is given."""
    for source in train.values():
        fitted: dict[tuple[str, ...], tuple[Ranking, Ridge]] = {}
        for target in test.values():
            names = shared_names([source, target])
            if names not in fitted:
                fitted[names] = (ranking_of(source.named(names)), absolute_of(source.named(names)))
            (ranking, absolute), here = fitted[names], target.named(names)
            agreement = ranking.agreement(here.columns)
            is_given = source.what == target.what and agreement >= LEAST_AGREEMENT
            common = {"source": source.name, "window": window, "columns": len(names), "given": is_given}
            common |= {"same_task": source.what == target.what, "agreement": agreement}
            yield _auroc_row("relative", here, ranking.earliness_R(here.columns), common)
            yield _auroc_row("absolute", here, -absolute.predict_R(here.cases.statistics), common)


def pooled_rows(train: Mapping[str, Half], test: Mapping[str, Half], window: float) -> Iterator[Row]:
    """AUROC on every target of ranks learned from all other sweeps of its task, and from those of all other tasks."""
    for target in test.values():
        same = [
            half for half in train.values() if half.what == target.what and is_other_setting(half.name, target.name)
        ]
        others = [half for half in train.values() if half.what != target.what]
        for label, halves in ((WHOLE_TASK, same), (OTHERS, others)):
            if len(halves) > 1:
                names = shared_names([target, *halves])
                here, is_same = target.named(names), label == WHOLE_TASK
                common = {"source": label, "window": window, "columns": len(names), "given": is_same}
                score_N = pooled(halves, names).earliness_R(here.columns)
                yield _auroc_row("relative", here, score_N, common | {"same_task": is_same})


def _auroc_row(units: str, target: Half, score_N: Floats, common: Row) -> Row:
    score_B = target.auroc(score_N, resample(target.runs, BOOTSTRAP, 0).with_estimate())
    low, high = np.nanquantile(score_B[1:], [0.025, 0.975])
    values = {"value": float(score_B[0]), "low": float(low), "high": float(high), "n": len(target.runs)}
    return {"row": "auroc", "units": units, "target": target.name, **common, **values}


def adapted_rows(train: Mapping[str, Half], test: Mapping[str, Half], window: float) -> Iterator[Row]:
    """Brier skill and AUROC after some finished runs: of these alone, and with what other sweeps say as a column."""
    for name, target in test.items():
        priors = {source: ranking_of(train[source]).earliness_R(target.columns) for source in SAME_TASK.get(name, ())}
        others = [half for half in train.values() if half.what != target.what]
        names = shared_names([target, *others])
        priors[OTHERS] = pooled(others, names).earliness_R(target.named(names).columns)
        for num_own in NUM_OWN:
            yield from skill_rows(target, priors, num_own, window)


def skill_rows(target: Half, priors: Mapping[str, Floats], num_own: int, window: float) -> Iterator[Row]:
    """The same of one sweep and number of finished runs; `priors` are source -> (N,) what it says of each run."""
    number = len(target.runs)
    found = {key: np.full((DRAWS, number), np.nan) for key in [("own", ""), *_models(priors)]}
    for draw in range(DRAWS):
        own_N = _drawn(target, num_own, draw)
        for (model, source), p_KN in found.items():
            cases, prior = target.cases, Prior(source, priors.get(source, np.empty(0)), own_N)
            if model == "ranks":
                column = Features((prior.column,), prior.score_R[:, None])
                cases = replace(cases, statistics=column)
            elif source:
                cases = prior.beside(cases)
            predictor = RidgeTime(prior.column if source else "")
            fitted = predictor.fit(cases.rows(own_N), target.targets.rows(own_N))
            p_KN[draw, ~own_N] = fitted.forecast(cases.rows(~own_N)).converged_R
    weight_BN = resample(target.runs, BOOTSTRAP, 0).with_estimate()
    own_B = _skill_B(target, found["own", ""], weight_BN)
    for (model, source), p_KN in found.items():
        skill_B = _skill_B(target, p_KN, weight_BN)
        common = {"target": target.name, "source": source, "model": model, "window": window, "num_own": num_own}
        yield {"row": "skill", **common, **_interval(skill_B), "n": number}
        if source:
            yield {"row": "skill_gain", **common, **_interval(skill_B - own_B), "n": number}
        yield {"row": "auroc_after", **common, "value": float(np.mean(list(_aurocs(target, p_KN)))), "n": number}


def _models(priors: Mapping[str, Floats]) -> list[tuple[str, str]]:
    return [("adapted", source) for source in priors] + [("ranks", source) for source in priors if source != OTHERS]


def _drawn(target: Half, num_own: int, draw: int) -> Bools:
    """(N,) runs that have finished: a random draw, made again until enough of each outcome are in it."""
    rng = np.random.default_rng(1000 * num_own + draw)
    while True:
        own_N = np.isin(np.arange(len(target.runs)), rng.choice(len(target.runs), num_own, replace=False))
        if MIN_OF_EACH <= target.targets.converged_R[own_N].sum() <= num_own - MIN_OF_EACH:
            return own_N


def _aurocs(target: Half, p_KN: Floats) -> Iterator[float]:
    """AUROC over the runs that were not drawn, draw by draw."""
    for p_N in p_KN:
        rest_N = ~np.isnan(p_N)
        rest = replace(target, cases=target.cases.rows(rest_N), targets=target.targets.rows(rest_N))
        yield float(rest.auroc(p_N[rest_N], np.ones((1, int(rest_N.sum()))))[0])


def _skill_B(target: Half, p_KN: Floats, weight_BN: Floats) -> Floats:
    """(B,) 1 - Brier score / that of the share converged, over the runs that were not drawn; draws resampled, too."""
    converged_N = target.targets.converged_R
    loss_KN, is_rest_KN = np.nan_to_num((p_KN - converged_N) ** 2), ~np.isnan(p_KN)
    copies_BK = np.random.default_rng(0).multinomial(DRAWS, np.full(DRAWS, 1 / DRAWS), size=len(weight_BN))
    copies_BK[0] = 1
    total_B = np.einsum("bk,kn,bn->b", copies_BK, is_rest_KN, weight_BN)
    brier_B = np.einsum("bk,kn,bn->b", copies_BK, loss_KN, weight_BN) / total_B
    share_B = (weight_BN @ converged_N) / weight_BN.sum(axis=1)
    return np.asarray(1 - brier_B / (share_B * (1 - share_B)))


def _interval(value_B: Floats) -> Row:
    low, high = np.nanquantile(value_B[1:], [0.025, 0.975])
    return {"value": float(value_B[0]), "low": float(low), "high": float(high)}


def measured(results: Path) -> Iterator[Row]:
    """Every row, from the results of the benchmark's sweeps."""
    read = {name: _read(results / name) for task in NAMES for name in (task, f"{task}_test")}
    for window in WINDOWS:
        train = {name: Half.of(name, *read[name], window) for name in NAMES}
        test = {name: Half.of(name, *read[f"{name}_test"], window) for name in NAMES}
        yield from matrix_rows(train, test, window)
        yield from pooled_rows(train, test, window)
        if window in ADAPTED_WINDOWS:
            yield from adapted_rows(train, test, window)
        print(f"window {window:g}", flush=True)


def _read(folder: Path) -> tuple[History, Outcomes]:
    store = SweepStore(folder)
    history = store.history()
    return history, decide_outcomes(history, stored_spec(store).criterion)


def main() -> None:
    """Measure, or take the kept rows, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", help="results of `seedbed benchmark`")
    results: Path | None = parser.parse_args().results
    if results is not None:
        KEPT.write_text(kept_text(kept_document(list(measured(results)), NAMES)), encoding="utf-8")
    PAGE.write_text(with_tables_of_transfer(PAGE.read_text(encoding="utf-8"), read(KEPT)), encoding="utf-8")


if __name__ == "__main__":
    main()
