"""What stopping rules and schedulers would have saved and lost on a finished sweep, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.forecasting.folds import held_out_seeds
from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes
from analysis.stopping.decisions import DecisionWindows
from analysis.stopping.promise import CONFIDENCE, STRICT, Promise, Threshold
from analysis.stopping.schedulers import asha, discarded_at, median_stopping, reported, successive_halving
from analysis.uncertainty.exact import clopper_pearson_upper
from analysis.uncertainty.intervals import Estimate, from_bootstrap, json_safe
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History

ORACLE_SHARE = 0.05
# Metrics of this prefix come from training on beside the sweep, which costs run-steps.
AHEAD_PREFIX = "ahead."
REPORTED_LOSSES = ("probe_loss", "train_loss")
FORECAST = "forecast"
ETAS = (2, 3, 4)


@dataclass(frozen=True)
class Price:
    """What one rule saves and loses.

    `saved` is the share of the run-steps of the sweep that is not run, `of_oracle` that over what the oracle saves,
    both with 95% intervals over resampled runs. `num_lost` of the `num_convergers` runs that converge are stopped
    before they do; the share lost is at most `lost_upper` (95%, one-sided, Clopper and Pearson).
    """

    name: str
    saved: Estimate
    of_oracle: Estimate
    num_lost: int
    num_convergers: int

    @property
    def lost_upper(self) -> float:
        """The upper bound of the share of converging runs that the rule loses."""
        return clopper_pearson_upper(self.num_lost, self.num_convergers, CONFIDENCE)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        counts = {"num_lost": self.num_lost, "num_convergers": self.num_convergers, "lost_upper": self.lost_upper}
        return {"name": self.name, "saved": self.saved.to_json(), "of_oracle": self.of_oracle.to_json(), **counts}


@dataclass(frozen=True)
class StoppingPrices:
    """Prices of rules and schedulers on one sweep; `thresholds` are those of the rule by forecasts, fold by fold.

    `levels_WK` are the probabilities below which the rule of each of K folds stops runs at each window.
    `run_steps` are those of the sweep as it was trained, `oracle_step` is where the oracle stops the runs that do not
    converge, `ahead_steps_W` what a run was charged for training ahead at each window that it reached.
    """

    sweep: str
    num_runs: int
    run_steps: int
    budget: int
    shares_W: tuple[float, ...]
    steps_W: tuple[int, ...]
    promise: Promise
    thresholds: tuple[Threshold, ...]
    levels_WK: tuple[tuple[float, ...], ...]
    oracle_step: int
    ahead_steps_W: tuple[float, ...]
    loss: str
    prices: tuple[Price, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a number is undefined."""
        plain = json_safe(
            {
                **{
                    name: value for name, value in vars(self).items() if name not in ("promise", "thresholds", "prices")
                },
                **vars(self.promise),
                "confidence": CONFIDENCE,
                "thresholds": [{**vars(threshold), "upper": threshold.upper} for threshold in self.thresholds],
                "prices": [price.to_json() for price in self.prices],
            }
        )
        assert isinstance(plain, dict)
        return plain


def stopping_prices(
    history: History,
    outcomes: Outcomes,
    shares: Sequence[float] | None = None,
    *,
    promise: Promise = STRICT,
    ahead_steps: float | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
) -> StoppingPrices:
    """What stopping by forecasts would have saved and lost on a finished sweep, beside baselines on the same histories.

    Every run is judged by models and by a threshold to whose seeds it does not belong: for each fold, models are fitted
    to the other folds and the threshold is calibrated on held-out forecasts within these. Rules by the last losses and
    by hyperparameters alone are calibrated in the same way. Schedulers see the losses on the statistics set.
    Raises ValueError where a run has no outcome, the seeds leave nothing to fit on, too few converging runs are left to
    promise anything, or columns from training ahead are there without a price. Their price is what the sweep says that
    they cost, charged to each run at the first window that holds them, or `ahead_steps` run-steps per run and window.
    """
    _require_finished(outcomes)
    windows = DecisionWindows.of(history, outcomes, shares)
    has_ahead = any(name.startswith(AHEAD_PREFIX) for features in windows.features_W for name in features.names_F)
    cost_W = _ahead_cost_W(history, windows, ahead_steps) if has_ahead else np.zeros(len(windows.steps_W))
    if has_ahead and not cost_W.sum() > 0:
        raise ValueError(f"columns {AHEAD_PREFIX}* cost training: say how many run-steps a run costs at each window")
    table = _Table.of(history, outcomes, windows, resample(history.runs, bootstrap, seed).with_estimate())
    prices, thresholds = [table.oracle()], []
    for name, columns in rules(windows, has_ahead).items():
        stop_R, found = judged_apart(windows, columns, promise, seed)
        thresholds.append(found)
        cost_R = table.reached_RW(stop_R) @ cost_W if columns(AHEAD_PREFIX) else 0.0
        prices.append(table.price(name, stop_R, cost_R))
    loss = next((metric for metric in REPORTED_LOSSES if metric in history.values), REPORTED_LOSSES[0])
    prices += [table.price(name, stop_R) for name, stop_R in scheduled(history, loss, windows)]
    return StoppingPrices(
        history.name,
        len(history.runs),
        int(table.end_R.sum()),
        history.budget,
        windows.shares_W,
        tuple(windows.steps_W.tolist()),
        promise,
        tuple(thresholds[0]),
        tuple(zip(*(windows.thresholds_W(found.value).tolist() for found in thresholds[0]), strict=True)),
        table.oracle_step,
        tuple(cost_W.tolist()),
        loss,
        tuple(prices),
    )


def rules(windows: DecisionWindows, has_ahead: bool) -> dict[str, Callable[[str], bool]]:
    """Name -> the columns that a rule may use: all of them, then those of the baselines."""
    hyperparameters = windows.hyperparameter_names
    found: dict[str, Callable[[str], bool]] = {FORECAST: lambda name: True}
    if has_ahead:
        found["forecast, nothing trained ahead"] = lambda name: not name.startswith(AHEAD_PREFIX)
    found["last losses"] = lambda name: name in REPORTED_LOSSES or name in hyperparameters
    found["hyperparameters only"] = hyperparameters.__contains__
    return found


def judged_apart(
    windows: DecisionWindows, columns: Callable[[str], bool], promise: Promise, seed: int
) -> tuple[Floats, list[Threshold]]:
    """(R,) where each run would be stopped by a rule that has seen none of its seeds, and the threshold of each fold.

    Raises ValueError as `stopping_prices` does.
    """
    folds = held_out_seeds(windows.runs, seed=seed).folds
    stop_R, thresholds = np.full(len(windows.runs), np.inf), []
    for fold in folds:
        calibrating_RW = windows.held_out_RW(fold.train_R, columns, seed)
        try:
            threshold = windows.threshold(calibrating_RW, fold.train_R, promise)
        except ValueError as error:
            needed = int(np.ceil(promise.fewest * len(folds) / (len(folds) - 1)))
            raise ValueError(f"{error}, so about {needed} in a sweep of which each fold is held out in turn") from error
        probability_RW = windows.probability_RW(windows.fitted(fold.train_R, columns), fold.test_R)
        stop_R = np.where(fold.test_R, windows.stop_step_R(probability_RW, threshold.value), stop_R)
        thresholds.append(threshold)
    return stop_R, thresholds


def scheduled(history: History, loss: str, windows: DecisionWindows) -> Iterator[tuple[str, Floats]]:
    """Name -> where each scheduler would have stopped each run, by the losses that were recorded."""
    steps_T, loss_RT = reported(history, loss)
    end_R = np.array([end.step for end in history.ends], dtype=np.float64)
    first = int(windows.steps_W[0])
    for eta in ETAS:
        yield (
            f"successive halving, eta {eta}",
            successive_halving(loss_RT, steps_T, end_R, first, history.budget, eta),
        )
    for eta in ETAS:
        yield f"ASHA, eta {eta}", asha(loss_RT, steps_T, end_R, first, history.budget, eta)
    yield "median stopping", median_stopping(loss_RT, steps_T, end_R, first)
    for step in windows.steps_W.tolist():
        yield f"best half by loss at step {step}", discarded_at(loss_RT, steps_T, end_R, step)


@dataclass(frozen=True)
class _Table:
    """What became of the runs without a rule, and resamples of them."""

    end_R: Floats
    converged_R: Bools
    upper_R: Floats
    weight_BR: Floats
    windows: DecisionWindows
    oracle_step: int

    @classmethod
    def of(cls, history: History, outcomes: Outcomes, windows: DecisionWindows, weight_BR: Floats) -> _Table:
        end_R = np.array([end.step for end in history.ends], dtype=np.float64)
        oracle_step = min(int(windows.steps_W[0]), int(ORACLE_SHARE * history.budget + 1e-9))
        return cls(end_R, outcomes.kind_R == CONVERGED, outcomes.upper_R, weight_BR, windows, oracle_step)

    def oracle(self) -> Price:
        can_be_stopped_R = ~self.converged_R & (self.end_R > self.oracle_step)
        return self.price("oracle", np.where(can_be_stopped_R, self.oracle_step, np.inf))

    def price(self, name: str, stop_R: Floats, cost_R: Floats | float = 0.0) -> Price:
        stopped_R = stop_R < self.end_R
        lost_R = stopped_R & self.converged_R & (stop_R < self.upper_R)
        saved_R = np.where(stopped_R, self.end_R - np.where(stopped_R, stop_R, 0.0), 0.0) - cost_R
        best_R = np.where(self.converged_R, 0.0, np.maximum(self.end_R - self.oracle_step, 0.0))
        saved_B, best_B = self.weight_BR @ saved_R, self.weight_BR @ best_R
        return Price(
            name,
            from_bootstrap(saved_B / (self.weight_BR @ self.end_R)),
            from_bootstrap(np.where(best_B > 0, saved_B / np.where(best_B > 0, best_B, 1.0), np.nan)),
            int(lost_R.sum()),
            int(self.converged_R.sum()),
        )

    def reached_RW(self, stop_R: Floats) -> Floats:
        """1 at the windows at which a run could be stopped and had not been before, else 0."""
        is_asked_RW = self.windows.open_RW & (self.windows.steps_W <= stop_R[:, None])
        return is_asked_RW.astype(np.float64)


def _ahead_cost_W(history: History, windows: DecisionWindows, ahead_steps: float | None) -> Floats:
    """(W,) run-steps that training ahead costs a run at each window, the first that holds what came of it."""
    if ahead_steps is not None:
        return np.full(len(windows.steps_W), ahead_steps)
    before_W = np.concatenate([[-1], windows.steps_W[:-1]])
    shares = [
        sum(share for step, share in history.extra_compute.items() if before < step <= last)
        for before, last in zip(before_W, windows.steps_W, strict=True)
    ]
    return np.array(shares, dtype=np.float64) * history.budget


def _require_finished(outcomes: Outcomes) -> None:
    num = outcomes.count(CENSORED)
    if num:
        raise ValueError(
            f"{num} of {len(outcomes.kind_R)} runs have no outcome (they still train or were stopped), so what a rule "
            "would have lost is not known"
        )
