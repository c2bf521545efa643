"""What a rule that stops by forecasts would have seen and done: held-out probabilities at each of its windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forecasting.control_share import meets_criterion
from analysis.forecasting.evaluation import windows_of
from analysis.forecasting.folds import held_out_seeds
from analysis.outcomes.outcomes import CONVERGED, Outcomes, at_risk, has_started
from analysis.predictors.encoding import HyperparameterEncoding, encoded, encodings_of
from analysis.predictors.features import Features
from analysis.predictors.ridge_time import NEVER
from analysis.stopping.last_values import LastValuesModel, last_values
from analysis.stopping.promise import Promise, Threshold, calibrated
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import History, RunInfo

_MIN_OF_EACH = 5


@dataclass(frozen=True)
class DecisionWindows:
    """R runs at the W windows at whose ends a rule decides.

    `features_W` are the columns there; `risk_RW` marks the runs that a model can be fitted to, `open_RW` those that can
    be stopped: at risk, and not in what may be the beginning of a streak that meets the criterion.
    `weight_R` are the weights of the runs in fits, 0 where the outcome is not known. `is_free_R` marks the runs that no
    rule could have stopped, by which alone thresholds are calibrated.
    """

    runs: tuple[RunInfo, ...]
    shares_W: tuple[float, ...]
    steps_W: Ints
    encodings: tuple[HyperparameterEncoding, ...]
    features_W: tuple[Features, ...]
    risk_RW: Bools
    open_RW: Bools
    log_time_R: Floats
    converged_R: Bools
    weight_R: Floats
    is_free_R: Bools

    @classmethod
    def of(
        cls,
        history: History,
        outcomes: Outcomes,
        shares: Sequence[float] | None = None,
        weight_R: Floats | None = None,
        is_free_R: Bools | None = None,
    ) -> DecisionWindows:
        """The windows of these shares of the budget; `weight_R` and `is_free_R` default to 1 and True for every run.

        The shares default to those of the sweep, without the initialisation, at which no run is evaluated.
        """
        chosen = [share for share in windows_of(history) if share > 0] if shares is None else sorted(shares)
        windows = [history.window(share) for share in chosen]
        encodings = encodings_of(history.runs, history.varied)
        steps = [window.last_step for window in windows]
        risk_RW = np.stack([at_risk(outcomes, step) & has_started(history.runs, step) for step in steps], axis=1)
        spared_RW = np.stack([meets_criterion(history, outcomes, step) for step in steps], axis=1)
        converged_R = outcomes.kind_R == CONVERGED
        time_R = np.where(converged_R, outcomes.upper_R, NEVER * history.budget)
        return cls(
            history.runs,
            tuple(window.fraction for window in windows),
            np.array(steps, dtype=np.int64),
            encodings,
            tuple(last_values(window, encodings) for window in windows),
            risk_RW,
            risk_RW & ~spared_RW,
            np.log(np.maximum(time_R, 1.0)),
            converged_R,
            np.ones(len(history.runs)) if weight_R is None else weight_R,
            np.ones(len(history.runs), dtype=bool) if is_free_R is None else is_free_R,
        )

    def fitted(self, use_R: Bools, columns: Callable[[str], bool]) -> tuple[LastValuesModel, ...]:
        """For each window, the model of the runs of `use_R` that were at risk, by the columns that are accepted."""
        return tuple(self._fit(w, use_R & self.risk_RW[:, w] & (self.weight_R > 0), columns) for w in self._windows)

    def probability_RW(self, models: Sequence[LastValuesModel], use_R: Bools) -> Floats:
        """P(converged) of the runs of `use_R` where they can be stopped; NaN elsewhere."""
        found_RW = np.full(self.open_RW.shape, np.nan)
        for w, model in enumerate(models):
            asked_R = use_R & self.open_RW[:, w]
            found_RW[asked_R, w] = model.probability_R(self.features_W[w].rows(asked_R))
        return found_RW

    def held_out_RW(self, use_R: Bools, columns: Callable[[str], bool], seed: int) -> Floats:
        """As `probability_RW`, of the runs of `use_R` by models of others among them that share no seed with them.

        Raises ValueError where the seeds leave nothing to fit on.
        """
        found_RW, rows = np.full(self.open_RW.shape, np.nan), np.flatnonzero(use_R)
        for fold in held_out_seeds(tuple(self.runs[r] for r in rows), seed=seed).folds:
            train_R, test_R = self._marked(rows[fold.train_R]), self._marked(rows[fold.test_R])
            here_RW = self.probability_RW(self.fitted(train_R, columns), test_R)
            found_RW[test_R] = here_RW[test_R]
        return found_RW

    def threshold(self, probability_RW: Floats, use_R: Bools, promise: Promise) -> Threshold:
        """Calibrated on the converging runs of `use_R` that no rule could have stopped. Raises as `calibrated`.

        It is that at the beginning of training; see `thresholds_W`.
        """
        calibrating_R = use_R & self.is_free_R & self.converged_R
        # Each probability, as the one that has the same place below the threshold at the beginning of training.
        there_RW = _with_odds_times(probability_RW[calibrating_R], np.sqrt(1 - np.array(self.shares_W)))
        return calibrated(lowest(there_RW), promise)

    def thresholds_W(self, threshold: float) -> Floats:
        """(W,) the probability below which runs are stopped at each window, for the one at the beginning of training.

        Its odds grow as 1 / sqrt(1 - share of the budget): early on, waiting still tells more, so less is risked. The
        form was chosen on one sweep, and tried on others; what is promised does not depend on it.
        """
        # A hair less, so that rounding stops no run that the calibration spared.
        return _with_odds_times(threshold, (1 - 1e-12) / np.sqrt(1 - np.array(self.shares_W)))

    def stop_step_R(self, probability_RW: Floats, threshold: float) -> Floats:
        """(R,) the step at which each run would be stopped; infinite where it would not be."""
        is_low_RW = probability_RW < self.thresholds_W(threshold)
        return np.where(is_low_RW.any(axis=1), self.steps_W[is_low_RW.argmax(axis=1)], np.inf)

    @property
    def hyperparameter_names(self) -> frozenset[str]:
        """The names of the columns that are hyperparameters."""
        return frozenset(encoded(self.runs, self.encodings).names_F)

    @property
    def _windows(self) -> range:
        return range(len(self.steps_W))

    def _marked(self, rows: Ints) -> Bools:
        marked_R = np.zeros(len(self.runs), dtype=bool)
        marked_R[rows] = True
        return marked_R

    def _fit(self, w: int, use_R: Bools, columns: Callable[[str], bool]) -> LastValuesModel:
        num_converged = int((use_R & self.converged_R).sum())
        if min(num_converged, int(use_R.sum()) - num_converged) < _MIN_OF_EACH:
            raise ValueError(
                f"{num_converged} of {use_R.sum()} runs to learn from converged after step {self.steps_W[w]}; a rule "
                f"needs {_MIN_OF_EACH} that did and {_MIN_OF_EACH} that did not"
            )
        group_R = np.array([run.init_seed for run, used in zip(self.runs, use_R, strict=True) if used])
        return LastValuesModel.fit(
            self.features_W[w].keep(columns).rows(use_R),
            self.log_time_R[use_R],
            self.converged_R[use_R],
            self.weight_R[use_R],
            group_R,
        )


def _with_odds_times(probability: Floats | float, factor_W: Floats) -> Floats:
    """The probabilities whose odds are `factor_W` times as large."""
    scaled = probability * factor_W
    return np.asarray(scaled / (1 - probability + scaled))


def lowest(probability_RW: Floats) -> Floats:
    """(R,) the lowest probability of each run; infinite where it has none."""
    return np.asarray(np.where(np.isnan(probability_RW), np.inf, probability_RW).min(axis=1, initial=np.inf))
