"""Association of early statistics, and of sibling runs of an init seed, with time to convergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from analysis.forecasting.scoring.scores import DECIMALS, auroc, equal_mass_bins, ratio
from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes, at_risk
from analysis.uncertainty.intervals import Estimate, from_bootstrap, wilson
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import RunInfo


@dataclass(frozen=True)
class TimeCorrelation:
    """Spearman's rank correlation with the time to convergence, with its 95% interval, over `num_runs` at risk."""

    rho: Estimate
    num_runs: int


def time_correlation(
    values_R: Floats, outcomes: Outcomes, runs: Sequence[RunInfo], step: float, *, bootstrap: int = 1000, seed: int = 0
) -> TimeCorrelation:
    """A statistic at `step` against the time to convergence, over the runs at risk then.

    Runs that did not converge tie as the latest, so the budget is part of the question. Runs without a value are left
    out. Resamples keep the ranks of all runs. NaN where a run at risk is censored, for its time is unknown, with fewer
    than two runs, or where either side is constant.
    """
    use_R = at_risk(outcomes, step) & np.isfinite(values_R)
    num_runs = int(use_R.sum())
    if num_runs < 2 or np.any(outcomes.kind_R[use_R] == CENSORED):
        return TimeCorrelation(Estimate(np.nan), num_runs)
    time_R = np.where(outcomes.kind_R == CONVERGED, outcomes.upper_R, np.inf)[use_R]
    resamples = resample([run for run, used in zip(runs, use_R, strict=True) if used], bootstrap, seed)
    rho_B = _correlation(rankdata(values_R[use_R]), rankdata(time_R), resamples.with_estimate())
    return TimeCorrelation(from_bootstrap(rho_B), num_runs)


def _correlation(x_R: Floats, y_R: Floats, weight_BR: Floats) -> Floats:
    """(B,) Pearson's under run weights; NaN where nothing was drawn or either side is constant."""
    total_B = np.maximum(weight_BR.sum(axis=1), 1e-12)
    mean_x_B, mean_y_B = weight_BR @ x_R / total_B, weight_BR @ y_R / total_B
    covariance_B = weight_BR @ (x_R * y_R) / total_B - mean_x_B * mean_y_B
    variance_B = (weight_BR @ x_R**2 / total_B - mean_x_B**2) * (weight_BR @ y_R**2 / total_B - mean_y_B**2)
    # Ranks are multiples of 1/2, so that what is left of a constant is rounding.
    is_defined_B = variance_B > 1e-9 * len(x_R) ** 4
    return np.where(is_defined_B, covariance_B / np.sqrt(np.where(is_defined_B, variance_B, 1)), np.nan)


@dataclass(frozen=True)
class SiblingForecasts:
    """Forecasts of R runs before the first step, from other runs of their init seeds, and what became of them.

    `score_R` is higher for runs that should converge earlier. Only runs of one `half_R` are compared, for a run in one
    half of the data seeds is forecast from the other half. `log_time_R` is of restricted time: the budget stands for
    runs that did not converge, which is what `converged_R` says. `weight_BR` has the estimate in row 0, then resamples.
    """

    score_R: Floats
    half_R: Ints
    log_time_R: Floats
    converged_R: Bools
    weight_BR: Floats

    @classmethod
    def of(
        cls, outcomes: Outcomes, runs: Sequence[RunInfo], budget: int, *, bootstrap: int, seed: int
    ) -> SiblingForecasts:
        """For crossed seeds: minus the mean log time of a run's init seed in the half that it is not in.

        Censored runs are left out.
        """
        known_R = outcomes.kind_R != CENSORED
        converged_R = outcomes.kind_R == CONVERGED
        log_time_R = np.log(np.clip(np.where(converged_R, outcomes.upper_R, budget), 1, budget))
        half_R = np.unique([run.data_seed for run in runs], return_inverse=True)[1] % 2
        init_R = np.array([run.init_seed for run in runs])
        is_sibling_RR = (init_R[:, None] == init_R) & (half_R[:, None] != half_R) & known_R
        num_R = is_sibling_RR.sum(axis=1)
        score_R = -(is_sibling_RR @ np.where(known_R, log_time_R, 0)) / np.maximum(num_R, 1)
        use_R = known_R & (num_R > 0)
        resamples = resample([run for run, used in zip(runs, use_R, strict=True) if used], bootstrap, seed)
        return cls(
            score_R[use_R], half_R[use_R], log_time_R[use_R], converged_R[use_R], weight_BR=resamples.with_estimate()
        )


def sibling_auroc(
    outcomes: Outcomes, runs: Sequence[RunInfo], budget: int, *, bootstrap: int = 1000, seed: int = 0
) -> Estimate:
    """AUROC of forecasts made before the first step, from runs of the same init seed under other data streams.

    Of convergence by the budget, so it depends on where that falls (`sibling_concordance` does not). Two runs of one
    init seed have the same forecast, so such pairs count half. NaN without pairs.
    """
    found = SiblingForecasts.of(outcomes, runs, budget, bootstrap=bootstrap, seed=seed)
    return from_bootstrap(auroc(found.score_R, found.converged_R, found.half_R, found.weight_BR))


def sibling_concordance(
    outcomes: Outcomes, runs: Sequence[RunInfo], budget: int, *, bootstrap: int = 1000, seed: int = 0
) -> Estimate:
    """The chance that of two runs the one that the same forecasts put first converges first.

    Over all cuts in time up to the budget (Harrell's C). Pairs are of one half of the data seeds and of different
    times; two runs of one init seed have the same forecast and count half. NaN without pairs.
    """
    found = SiblingForecasts.of(outcomes, runs, budget, bootstrap=bootstrap, seed=seed)
    is_first_RR = (found.half_R[:, None] == found.half_R) & (found.log_time_R[:, None] < found.log_time_R)
    ahead_RR = np.sign(np.round(found.score_R[:, None] - found.score_R, DECIMALS))
    pairs_RR = is_first_RR.astype(np.float64)
    won_B, total_B = (
        np.einsum("bi,bi->b", found.weight_BR @ matrix_RR, found.weight_BR)
        for matrix_RR in (pairs_RR * (ahead_RR + 1) / 2, pairs_RR)
    )
    return from_bootstrap(ratio(won_B, total_B))


@dataclass(frozen=True)
class StatisticBin:
    """Runs at risk whose statistic is in one bin: its mean value, the share that converged, how many runs."""

    value: float
    proportion: Estimate
    num_runs: int


def proportion_by_statistic(values_R: Floats, outcomes: Outcomes, step: float, bins: int = 5) -> list[StatisticBin]:
    """The share that converged, in bins of equally many runs at risk at `step`, with Wilson intervals.

    Runs without a value and censored runs are left out; equal values share a bin. Empty without runs.
    """
    use_R = at_risk(outcomes, step) & np.isfinite(values_R) & (outcomes.kind_R != CENSORED)
    values_N, converged_N = values_R[use_R], outcomes.kind_R[use_R] == CONVERGED
    # np.unique of bins, in order of value.
    bin_N = equal_mass_bins(values_N, bins)
    return [
        StatisticBin(
            float(values_N[bin_N == b].mean()),
            wilson(int(converged_N[bin_N == b].sum()), int((bin_N == b).sum())),
            int((bin_N == b).sum()),
        )
        for b in np.unique(bin_N)
    ]
