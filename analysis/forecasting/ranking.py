"""Which runs of a setting converge sooner than others of it, in units that mean the same in other settings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.folds import Fold
from analysis.forecasting.scoring.unseen_auroc import unseen_auroc
from analysis.forecasting.window_model import TrainingSet
from analysis.outcomes.outcomes import CENSORED, Outcomes, at_risk, has_started
from analysis.predictors.base import Cases, Targets
from analysis.predictors.features import Features
from analysis.predictors.ridge import Ridge
from analysis.predictors.ridge_time import log_time
from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Array, Bools, Floats, Ints, Texts
from pipeline.store.history import History

# A setting needs as many runs for its mean and spread to be units.
FEWEST_OF_SETTING = 10
# Relative columns are clipped to so many standard deviations.
LARGEST = 4.0


@dataclass(frozen=True)
class Ranking:
    """A ridge regression of log time, less its setting's mean, on statistics in units of their setting.

    `loading_F` is the correlation of each column with the prediction, over the training runs.
    """

    ridge: Ridge
    loading_F: Floats

    @classmethod
    def fit(cls, cases: Cases, targets: Targets, weight_R: Floats, columns: Features) -> Ranking | None:
        """Fitted to these runs; None if no setting has FEWEST_OF_SETTING of them.

        `columns` are their statistics in units of their setting (see `relative`).
        """
        log_R, use_R = log_time(targets), np.zeros(len(cases), dtype=bool)
        for in_R in _settings(cases.setting_R):
            if in_R.sum() >= FEWEST_OF_SETTING:
                log_R[in_R] -= np.average(log_R[in_R], weights=weight_R[in_R])
                use_R |= in_R
        if not use_R.any():
            return None
        used = columns.rows(use_R)
        ridge, _ = Ridge.fit(used, log_R[use_R], weight_R[use_R], cases.init_seed_R[use_R])
        return cls(ridge, _loadings(used.values_RF, ridge.predict_R(used), weight_R[use_R]))

    def earliness_R(self, columns: Features) -> Floats:
        """(R,) a score that is higher the sooner a run is expected to converge, compared with others of its setting.

        Raises ValueError with the names of the columns that are lacking.
        """
        return -self.ridge.predict_R(columns)

    def agreement(self, columns: Features) -> float:
        """Share of the columns' squared correlations with the score in training whose sign is the same over these runs.

        It needs no outcome. Near 1 where columns go together as they did in training; one half by chance. It cannot see
        that all columns mean the opposite at once. 1 where no column goes with the score.
        """
        found_F = _loadings(
            columns.named(self.ridge.names_F).values_RF,
            self.ridge.predict_R(columns),
            np.ones(len(columns.values_RF)),
        )
        square_F = self.loading_F**2
        return float(square_F[found_F * self.loading_F > 0].sum() / square_F.sum()) if square_F.any() else 1.0


def relative(features: Features, setting_R: Texts, use_R: Bools) -> Features:
    """Each column less its mean over the runs of its setting that are in use, in their standard deviations.

    Clipped to LARGEST either way. NaN stays NaN, and settings with fewer than FEWEST_OF_SETTING runs in use have NaN
    throughout; a column that is constant in a setting is 0 there. No outcome is used.
    """
    relative_RF = np.full(features.values_RF.shape, np.nan)
    for in_R in _settings(setting_R):
        if (in_R & use_R).sum() >= FEWEST_OF_SETTING:
            values_NF = features.values_RF[in_R & use_R]
            number_F = np.maximum(np.isfinite(values_NF).sum(axis=0), 1)
            mean_F = np.nansum(values_NF, axis=0) / number_F
            spread_F = np.sqrt(np.nansum((values_NF - mean_F) ** 2, axis=0) / number_F)
            is_constant_F = spread_F <= 1e-9 * np.maximum(1.0, np.abs(mean_F))
            scaled_RF = (features.values_RF[in_R] - mean_F) / np.where(is_constant_F, np.inf, spread_F)
            relative_RF[in_R] = np.clip(scaled_RF, -LARGEST, LARGEST)
    return Features(features.names_F, relative_RF)


def in_window(history: History, outcomes: Outcomes, last_step: int) -> Bools:
    """(R,) True for the runs that have trained to the end of a window and had no outcome by then."""
    has_outcome_R = outcomes.kind_R != CENSORED
    reached_R = np.array([end.step >= last_step for end in history.ends], dtype=bool)
    return has_started(history.runs, last_step) & np.where(has_outcome_R, at_risk(outcomes, last_step), reached_R)


def places_in_setting(score_R: Floats, setting_R: Texts, use_R: Bools) -> tuple[Ints, Ints]:
    """(R,) place of each run in use among those of its setting, 1 for the highest score, and their number; 0 of others.

    Equal scores share the better place.
    """
    place_R, number_R = np.zeros(len(score_R), dtype=np.int64), np.zeros(len(score_R), dtype=np.int64)
    for in_R in _settings(setting_R):
        rows = np.flatnonzero(in_R & use_R)
        place_R[rows] = 1 + (score_R[rows][None, :] > score_R[rows][:, None]).sum(axis=1)
        number_R[rows] = len(rows)
    return place_R, number_R


def ranking_auroc(
    cases: Cases, columns: Features, everyone: TrainingSet, folds: tuple[Fold, ...], budget: int, weight_BR: Array
) -> Estimate:
    """AUROC between finished runs of one setting and fold, each ranked by a regression that has not seen its seeds.

    NaN without a pair; no interval under FEWEST_PAIRS pairs.
    """
    score_R, group_R = np.full(len(cases), np.nan), np.full(len(cases), -1)
    setting_index_R = np.unique(cases.setting_R, return_inverse=True)[1]
    for number, fold in enumerate(folds):
        train_R, test_R = fold.train_R & everyone.finished_R, fold.test_R & everyone.finished_R
        targets = Targets.of(everyone.outcomes, budget, train_R)
        ranking = None
        if train_R.any() and test_R.any():
            ranking = Ranking.fit(cases.rows(train_R), targets, everyone.weight_R[train_R], columns.rows(train_R))
        if ranking is not None:
            score_R[test_R] = ranking.earliness_R(columns.rows(test_R))
            group_R[test_R] = setting_index_R[test_R] * len(folds) + number
    return unseen_auroc(everyone, score_R, group_R, weight_BR)


def _settings(setting_R: Texts) -> list[Bools]:
    return [np.asarray(setting_R == setting) for setting in np.unique(setting_R)]


def _loadings(values_RF: Floats, score_R: Floats, weight_R: Floats) -> Floats:
    """(F,) weighted correlation of each column with the score; NaN counts as the setting's mean, 0. 0 of constants."""
    known_RF, share_R = np.nan_to_num(values_RF), weight_R / weight_R.sum()
    centred_RF, centred_R = known_RF - share_R @ known_RF, score_R - share_R @ score_R
    covariance_F = (share_R * centred_R) @ centred_RF
    scale_F = np.sqrt((share_R @ centred_RF**2) * (share_R @ centred_R**2))
    return np.asarray(np.divide(covariance_F, scale_F, out=np.zeros(len(scale_F)), where=scale_F > 1e-12))
