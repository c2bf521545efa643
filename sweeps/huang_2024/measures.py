"""Times and phases of the features of Huang, Cheng and Liang (2024), from the histories of sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.dynamics.stages import crossing_steps
from pipeline.arrays import Bools, Floats, Ints
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History, RunInfo
from sweeps.huang_2024.feature_phases import FeaturePhases, find_feature_phases

# A feature's error L_k is small from here on; it starts at about 1/2.
SMALL_ERROR = 0.01
_SMALL = Criterion(at_most=float(np.log(SMALL_ERROR)), evaluations=1)


@dataclass(frozen=True)
class FeatureCurves:
    """What the runs with K features recorded of each; arrays (R, K, T), the first feature first, NaN where nothing was.

    T are the steps at which some run was probed. `time_T` is step times learning rate, the time of gradient flow, where
    the optimiser is plain gradient descent, and the step itself, an epoch, elsewhere. `first_weight_RKT` of the first
    feature is NaN.
    """

    runs: tuple[RunInfo, ...]
    time_T: Floats
    attention_RKT: Floats
    error_RKT: Floats
    own_weight_RKT: Floats
    first_weight_RKT: Floats

    @property
    def num_features(self) -> int:
        """K."""
        return int(self.error_RKT.shape[1])

    @cached_property
    def converged_RK(self) -> Floats:
        """(R, K) time from which each feature's error is small for good; NaN where it never is.

        Between the two steps that it lies between, the logarithm of the error is taken to be linear: the times of runs
        that differ by less than a grid has steps would all be equal, and their interval a point.
        """
        log_error_NT = np.log(self.error_RKT.reshape(-1, len(self.time_T)))
        time_N = crossing_steps(log_error_NT, self.time_T, _SMALL)
        return time_N.reshape(self.error_RKT.shape[:2])

    @cached_property
    def rare_phases(self) -> FeaturePhases:
        """The four phases of every feature but the first; ends are recorded times, in units of `time_T`."""
        found = self._phases
        ends = (found.swap_RK, found.taken_over_RK, found.grown_RK, found.converged_RK)
        times = [np.where(np.isnan(end), np.nan, self.time_T[np.nan_to_num(end).astype(int)]) for end in ends]
        return FeaturePhases(*times)

    @cached_property
    def swap_RK(self) -> Floats:
        """(R, K - 1) end of the first phase of every feature but the first, between steps; NaN where there is none.

        It is where the parabola through A + B at its lowest recorded step and the steps beside it is lowest.
        """
        sum_RKT = (self.own_weight_RKT + self.first_weight_RKT)[:, 1:]
        swap_RK = self.rare_phases.swap_RK.copy()
        for r, k in np.argwhere(np.isfinite(swap_RK)):
            at = int(self._phases.swap_RK[r, k])
            beside = [at - 1, at, at + 1]
            if 0 < at < len(self.time_T) - 1 and np.isfinite(sum_RKT[r, k, beside]).all():
                swap_RK[r, k] = _vertex(self.time_T[beside], sum_RKT[r, k, beside])
        return swap_RK

    @cached_property
    def _phases(self) -> FeaturePhases:
        """As `rare_phases`, by index of the step."""
        index_T = np.arange(len(self.time_T))
        weights = self.own_weight_RKT[:, 1:], self.first_weight_RKT[:, 1:]
        return find_feature_phases(*weights, self.error_RKT[:, 1:], index_T, self.num_features, small_error=SMALL_ERROR)

    def last(self, values_RKT: Floats) -> Floats:
        """(R, K) the last recorded value of each feature; NaN where none was."""
        known_RKT = np.isfinite(values_RKT)
        at_RK1 = (values_RKT.shape[-1] - 1 - known_RKT[..., ::-1].argmax(axis=-1))[..., None]
        return np.asarray(np.take_along_axis(values_RKT, at_RK1, axis=-1)[..., 0])


def feature_curves(history: History, size: int | None = None, *, is_balanced: bool | None = None) -> FeatureCurves:
    """The runs with `size` features; all runs where it is None, which must then have one size. May hold no run.

    `is_balanced` keeps those without, or with, a dominant feature alone.
    """
    size_R = sizes_R(history)
    if size is None:
        (size,) = np.unique(size_R).tolist()
    is_kept_R = size_R == size
    if is_balanced is not None:
        is_kept_R &= is_balanced_R(history) == is_balanced
    rows = np.flatnonzero(is_kept_R)
    runs = tuple(history.runs[r] for r in rows)
    rates = {run.hyperparameters["optimiser.lr"] for run in runs if run.hyperparameters["optimiser.name"] == "sgd"}
    assert len(rates) <= 1
    time_T = history.steps_T * (rates.pop() if rates else 1.0)
    nothing = np.full((len(history.runs), len(history.steps_T)), np.nan)
    metrics = ("feature_attention", "feature_loss", "own_weight", "first_weight")
    names = [[f"{metric}.k{k + 1}" for k in range(size)] for metric in metrics]
    arrays = [np.stack([history.values.get(name, nothing)[rows] for name in of_metric], axis=1) for of_metric in names]
    is_probed_T = np.isfinite(arrays[1]).any(axis=(0, 1))
    return FeatureCurves(runs, time_T[is_probed_T], *(array[..., is_probed_T] for array in arrays))


def _vertex(x_3: Floats, y_3: Floats) -> float:
    """Where the parabola through three points is lowest, the middle one being the lowest of them."""
    left, right = x_3[1] - x_3[0], x_3[1] - x_3[2]
    to_right, to_left = left * (y_3[1] - y_3[2]), right * (y_3[1] - y_3[0])
    return float(x_3[1] - 0.5 * (left * to_right - right * to_left) / (to_right - to_left))


def sizes_R(history: History) -> Ints:
    """(R,) number of features of each run."""
    return np.array([run.hyperparameters["task.num_features"] for run in history.runs], dtype=np.int64)


def is_balanced_R(history: History) -> Bools:
    """(R,) True for runs without a dominant feature."""
    return np.array([run.hyperparameters["task.dominant_probability"] is None for run in history.runs], dtype=bool)


def sizes_of(history: History) -> list[int]:
    """The numbers of features that occur, increasing."""
    return [int(size) for size in np.unique(sizes_R(history))]


def never_as_inf(time_R: Floats) -> Floats:
    """The times with NaN (never reached) as infinity, so that they sort last."""
    return np.where(np.isnan(time_R), np.inf, time_R)


def median_feature_time_or_inf(time_RK: Floats) -> Floats:
    """(R,) the median over features, in which one that never converged counts as later than all; infinite where it is.

    NaN without features.
    """
    return np.asarray(np.median(never_as_inf(time_RK), axis=1)) if time_RK.shape[1] else np.full(len(time_RK), np.nan)


def proportion_of_features_R(is_so_RK: Bools) -> Floats:
    """(R,) share of each run's features; NaN without features."""
    num_features = is_so_RK.shape[1]
    return is_so_RK.mean(axis=1) if num_features else np.full(len(is_so_RK), np.nan)
