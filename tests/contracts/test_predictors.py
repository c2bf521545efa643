"""The contract of predictors over the registry, and what each of ours reads and knows."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

import numpy as np
import pytest

from analysis.contracts import predictors as contract_of_predictors
from analysis.contracts.predictors import PREDICTOR_CONTRACT, TARGETS, TEST, TRAIN, refusals
from analysis.predictors.base import PREDICTORS, Cases, Fitted, Predictor, weighted_cases
from analysis.predictors.base_rate import BaseRate
from analysis.predictors.last_loss import LOSSES

READS = {
    "base_rate": (),
    "setting_rate": (),
    "hyperparameters_only": TRAIN.hyperparameters.names_F,
    "last_loss": tuple(name for name in TRAIN.statistics.names_F if name in LOSSES),
    "best_statistic": ("strongest_head(attention_entropy.l0 min)",),
    "boosted_hyperparameters": TRAIN.hyperparameters.names_F,
    "boosted_trees": TRAIN.columns.names_F,
    "cox": TRAIN.columns.names_F,
    "discrete_hazard": TRAIN.columns.names_F,
    "logistic": TRAIN.columns.names_F,
    "ridge_time": TRAIN.columns.names_F,
}
WITH_TIMES = ("base_rate", "cox", "discrete_hazard", "ridge_time", "setting_rate")


@pytest.mark.parametrize("check", PREDICTOR_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", PREDICTORS)
def test_every_predictor_keeps_its_contract(name, check):
    check(PREDICTORS[name]())


@pytest.mark.parametrize("name", [name for name in PREDICTORS if name in READS])
def test_ours_know_times_or_do_not_and_read_these_columns(name):
    predictor = PREDICTORS[name]()
    assert (predictor.fit(TRAIN, TARGETS).forecast(TEST).times is not None) == (name in WITH_TIMES)
    assert list(refusals(predictor)) == list(READS[name])


class Broken(Predictor):
    """The base rate, and by its flag one clause broken."""

    name = "broken"
    clause: ClassVar[int] = 0
    fits: ClassVar = count()

    def fit(self, cases, targets, weight_R=None):
        """What the base rate fits, to be spoiled when it forecasts."""
        if self.clause == 1:
            targets.upper_R[:1] += 1
        if self.clause == 5 and not cases.statistics.names_F:
            raise KeyError("slope(train_loss)")
        if self.clause == 8:
            cases, targets, weight_R = *weighted_cases(cases, targets, weight_R)[:2], None
        shift = next(self.fits) * 1e-9 if self.clause == 3 else 0.0
        return Spoiled(BaseRate().fit(cases, targets, weight_R), self.clause, shift)


@dataclass(frozen=True)
class Spoiled:
    """The forecasts of the base rate, spoiled."""

    whole: Fitted
    clause: int
    shift: float

    def forecast(self, cases: Cases):
        """Without times."""
        found = replace(self.whole.forecast(cases), times=None)
        values_RF = np.nan_to_num(cases.statistics.values_RF)
        away_R = np.full(len(cases), self.shift)
        if self.clause == 2:
            away_R = away_R + 1.0
        if self.clause == 4:
            away_R = away_R + 0.01 / len(cases)
        if self.clause == 6:
            away_R = away_R - 1e-3 * np.tanh(values_RF.mean())
        if self.clause == 7:
            away_R = away_R - 1e-3 * np.tanh(values_RF[:, :1].sum(axis=1))
        return replace(found, converged_R=found.converged_R + away_R, diverged_R=found.diverged_R * 0)


def test_the_checks_pass_a_predictor_that_is_sound():
    assert list(PREDICTOR_CONTRACT.broken(Broken)) == []


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        (1, "`fit` changes its arguments"),
        (2, r"P\(converged\) is 1\.\d+ to"),
        (3, "forecasts differently when it is fitted again"),
        (4, "by itself, and .* beside 15 others"),
        (5, "KeyError: 'slope.*, where there is no statistic"),
        (6, "forecasts of four cases change"),
        (7, "from columns in another order"),
        (8, "weights of 1, 2 and 3 change no forecast|Not equal to tolerance"),
    ],
)
def test_a_predictor_that_breaks_a_clause_is_told_so(clause, told, monkeypatch):
    monkeypatch.setattr(Broken, "clause", clause)
    monkeypatch.setattr(contract_of_predictors, "TARGETS", deepcopy(TARGETS))
    found = {broken.number: broken for broken in PREDICTOR_CONTRACT.broken(Broken)}
    assert clause in found
    assert re.search(told, found[clause].told), found[clause].told
