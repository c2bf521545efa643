"""Measures of the claims on Huang, Cheng and Liang (2024): from sweeps to an estimate, its interval, and a note."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.scaling import LEAST_SIZE, ScalingDrift, median_feature_time, scaling_drift
from analysis.uncertainty.dependence import rows_on_common_seeds
from analysis.uncertainty.estimates import mean_of_runs, median_of_runs, proportion_of_runs
from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Floats
from pipeline.store.history import History, RunInfo
from sweeps.huang_2024.measures import (
    SMALL_ERROR,
    FeatureCurves,
    feature_curves,
    median_feature_time_or_inf,
    never_as_inf,
    proportion_of_features_R,
    sizes_of,
    sizes_R,
)

# Below 10 features phases run into each other; beyond 40, rare features need more steps than sampled runs have.
_LEAST_SIZE, _LARGEST_SIZE = 10, 40
# The exponent of a time that hardly grows is at most this.
FLAT = 0.1
ALL_FEATURES, DOMINANT_FEATURE, RARE_FEATURES = slice(None), slice(0, 1), slice(1, None)


def speedup_of_dominant_under_adam(sweeps: Sweeps) -> Evidence:
    """The time of balanced features over that of the dominant one, on the same seeds."""
    return _speedup_of_dominant(
        feature_curves(sweeps["balanced"].history), feature_curves(sweeps["imbalanced"].history)
    )


def speedup_of_dominant_under_gradient_descent(sweeps: Sweeps) -> Evidence:
    """As under Adam, with as many features as can be compared."""
    size = _largest_size(sweeps)
    balanced = feature_curves(sweeps["sampled_balanced"].history, size)
    return _speedup_of_dominant(
        balanced, feature_curves(sweeps["sampled_dominant"].history, size), f"{size} features. "
    )


def share_of_late_rare_under_adam(sweeps: Sweeps) -> Evidence:
    """The share of seeds in which rare features converge after balanced ones."""
    return _share_of_late_rare(feature_curves(sweeps["balanced"].history), feature_curves(sweeps["imbalanced"].history))


def share_of_late_rare_under_gradient_descent(sweeps: Sweeps) -> Evidence:
    """As under Adam, with as many features as can be compared."""
    size = _largest_size(sweeps)
    balanced = feature_curves(sweeps["sampled_balanced"].history, size)
    return _share_of_late_rare(balanced, feature_curves(sweeps["sampled"].history, size), f"{size} features. ")


def growth_of_dominant_time(sweeps: Sweeps) -> Evidence:
    """The exponent of the dominant feature's time; without an interval where the control's time does not grow.

    The interval holds the exponents between neighbouring sizes, too: a power law would make them equal.
    """
    history = sweeps["sampled_dominant"].history
    drift = _exponent(sweeps, "sampled_dominant", lambda features: features.converged_RK[:, 0])
    found, used = drift.with_drift, _of_asymptotic_size(history)
    control = _exponent(sweeps, "sampled_balanced", lambda features: median_feature_time(features.converged_RK)).overall
    if not control.low > FLAT:
        # Control: if the time of balanced features does not grow either, a constant time is not evidence.
        note = f"The control failed: the exponent of balanced features, which should grow, is {control.text()}."
        return Evidence.of(Estimate(found.value), used, note)
    sizes = _sizes_text(_parts(sweeps, "sampled_dominant"), LEAST_SIZE)
    note = f"{sizes}. By size: {drift.text()}. Control: the exponent of balanced features is {control.text()}."
    return Evidence.of(found, used, note)


def growth_of_swap_time(sweeps: Sweeps) -> Evidence:
    """The exponent of the end of a rare feature's first phase, beside that of the mean field.

    The interval holds the exponents between neighbouring sizes, too: they fall with the size, which seeds do not show.
    """
    history = sweeps["sampled"].history
    drift = _exponent(sweeps, "sampled", _swap_R)
    seeds = f"seeds alone leave {drift.overall.concise()}"
    note = f"{_sizes_text(_parts(sweeps, 'sampled'), LEAST_SIZE)}; {seeds}. By size: {drift.text()}."
    if sweeps.has("mean_field"):
        flow = _exponent(sweeps, "mean_field", _swap_R).overall
        sizes = _sizes_text(_parts(sweeps, "mean_field"), LEAST_SIZE)
        note += f" In the mean field, where nothing is random: {flow.value:.2f} ({sizes})."
    return Evidence.of(drift.with_drift, _of_asymptotic_size(history), note)


def share_with_four_phases(sweeps: Sweeps) -> Evidence:
    """Share of rare features with four phases under gradient descent, over all sizes at which phases are distinct."""
    return _share_with_four_phases(_followed(sweeps, "sampled"))


def share_with_four_phases_under_adam(sweeps: Sweeps) -> Evidence:
    """Share of rare features with four phases in the paper's experiment."""
    return _share_with_four_phases([feature_curves(sweeps["imbalanced"].history)])


def share_without_fall(sweeps: Sweeps) -> Evidence:
    """Share of balanced features under gradient descent without the first two phases of a rare feature."""
    parts = _followed(sweeps, "sampled_balanced")
    share = np.concatenate([proportion_of_features_R(np.isnan(part.rare_phases.swap_RK)) for part in parts])
    runs = _runs_of(parts)
    return Evidence.of(proportion_of_runs(share, runs), runs, f"{_sizes_text(parts)}.")


def final_attention(sweeps: Sweeps, *, sweep: str, which: slice) -> Evidence:
    """Attention on the query's own feature at the end, mean over runs and over the features `which`."""
    features = feature_curves(sweeps[sweep].history)
    attention_R = features.last(features.attention_RKT)[:, which].mean(axis=1)
    return Evidence.of(mean_of_runs(attention_R, features.runs), features.runs, f"{features.num_features} features.")


def share_of_small_errors(sweeps: Sweeps, *, sweep: str, which: slice) -> Evidence:
    """The share of the features `which` whose error is at most SMALL_ERROR for good."""
    features = feature_curves(sweeps[sweep].history)
    is_small_RK = np.isfinite(features.converged_RK[:, which])
    found = proportion_of_runs(proportion_of_features_R(is_small_RK), features.runs)
    worst = np.quantile(features.last(features.error_RKT)[:, which], 0.95)
    return Evidence.of(found, features.runs, f"95% of final errors are below {worst:.3f}.")


def _speedup_of_dominant(balanced: FeatureCurves, imbalanced: FeatureCurves, note: str = "") -> Evidence:
    """Median over seeds of the balanced features' time over the dominant one's."""
    rows, others = rows_on_common_seeds(balanced.runs, imbalanced.runs)
    balanced_R = median_feature_time_or_inf(balanced.converged_RK)[rows]
    dominant_R = never_as_inf(imbalanced.converged_RK[:, 0])[others]
    both = np.isfinite(balanced_R) | np.isfinite(dominant_R)
    ratio_R = np.full(len(rows), np.nan)
    ratio_R[both] = balanced_R[both] / dominant_R[both]
    found = median_of_runs(ratio_R, [balanced.runs[r] for r in rows])
    note += f"Median over {len(rows)} seeds; converged is an error of at most {SMALL_ERROR} for good."
    return Evidence.of(found, [balanced.runs[r] for r in rows], note)


def _share_of_late_rare(balanced: FeatureCurves, imbalanced: FeatureCurves, note: str = "") -> Evidence:
    """Share of all seeds in which rare features converge later; a tie, or no convergence of either, does not count."""
    rows, others = rows_on_common_seeds(balanced.runs, imbalanced.runs)
    balanced_R = median_feature_time_or_inf(balanced.converged_RK)[rows]
    rare_R = median_feature_time_or_inf(imbalanced.converged_RK[:, 1:])[others]
    runs = [balanced.runs[r] for r in rows]
    found = proportion_of_runs((rare_R > balanced_R).astype(float), runs)
    medians = (median_of_runs(time_R, runs) for time_R in (balanced_R, rare_R))
    note += "Median times, balanced and rare: " + ", ".join(median.text(0) for median in medians) + "."
    return Evidence.of(found, runs, note)


def _share_with_four_phases(parts: list[FeatureCurves]) -> Evidence:
    runs = _runs_of(parts)
    share = np.concatenate([proportion_of_features_R(part.rare_phases.has_all_RK) for part in parts])
    return Evidence.of(proportion_of_runs(share, runs), runs, f"{_sizes_text(parts)}.")


def _swap_R(features: FeatureCurves) -> Floats:
    return median_feature_time(features.swap_RK)


def _of_asymptotic_size(history: History) -> list[RunInfo]:
    """The runs from whose sizes exponents are taken."""
    return [run for run, size in zip(history.runs, sizes_R(history), strict=True) if size >= LEAST_SIZE]


def _exponent(sweeps: Sweeps, name: str, time: Callable[[FeatureCurves], Floats]) -> ScalingDrift:
    """Growth of a run's time with its number of features; of the mean field, in runs with a dominant one."""
    parts = _parts(sweeps, name)
    size_R = np.concatenate([np.full(len(part.runs), part.num_features, dtype=np.float64) for part in parts])
    return scaling_drift(size_R, np.concatenate([time(part) for part in parts]), _runs_of(parts))


def _parts(sweeps: Sweeps, name: str) -> list[FeatureCurves]:
    """The runs of a sweep by their number of features."""
    history = sweeps[name].history
    is_balanced = False if name == "mean_field" else None
    return [feature_curves(history, size, is_balanced=is_balanced) for size in sizes_of(history)]


def _followed(sweeps: Sweeps, name: str) -> list[FeatureCurves]:
    """The runs of sizes at which all phases can be observed. Raises UndecidedError if there are none."""
    parts = [part for part in _parts(sweeps, name) if _LEAST_SIZE <= part.num_features <= _LARGEST_SIZE]
    if not parts:
        raise UndecidedError(f"sweep {name!r} has no run of {_LEAST_SIZE} to {_LARGEST_SIZE} features")
    return parts


def _largest_size(sweeps: Sweeps) -> int:
    """The largest number of features that all sampled sweeps have and rare features converge with."""
    names = ("sampled", "sampled_balanced", "sampled_dominant")
    shared = set.intersection(*({part.num_features for part in _followed(sweeps, name)} for name in names))
    if not shared:
        raise UndecidedError(f"{', '.join(names)} have no number of features in common")
    return max(shared)


def _runs_of(parts: list[FeatureCurves]) -> list[RunInfo]:
    return [run for part in parts for run in part.runs]


def _sizes_text(parts: list[FeatureCurves], least: int = 0) -> str:
    """`20, 40 features, 50 seeds each`."""
    parts = [part for part in parts if part.num_features >= least]
    seeds = sorted({len(part.runs) for part in parts})
    counts = "-".join(map(str, (seeds[0], seeds[-1]) if len(seeds) > 1 else seeds))
    return f"{', '.join(str(part.num_features) for part in parts)} features, {counts} seed(s) each"
