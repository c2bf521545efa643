"""Claims of Huang, Cheng and Liang (2024, arXiv 2310.05249): softmax attention learns its features in stages.

The sweeps: "balanced" and "imbalanced", the paper's experiment with 300 prompts and Adam, where a step is an epoch;
"sampled", "sampled_balanced" and "sampled_dominant", gradient descent on contexts drawn afresh, the setting of its
theorems but for noise; "mean_field", the same in the limit of long contexts, where nothing is random. Sizes, seeds and
basis of the paper's experiment are not stated: they are ours. A feature has converged when its error L_k stays at or
below SMALL_ERROR; of several features, the median one's time counts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.claims.claims import ClaimBook, Evidence, Region
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.scaling import LEAST_SIZE, of_runs, scaling_exponent
from analysis.uncertainty.estimates import mean_of_runs, median_of_runs, share_of_runs
from analysis.uncertainty.intervals import Estimate
from pipeline.arrays import Floats
from pipeline.store.history import RunInfo
from sweeps.huang_2024.figures import (
    attention_concentration,
    feature_errors,
    rare_feature_phases,
    stage_times,
    times_by_size,
)
from sweeps.huang_2024.measures import (
    SMALL_ERROR,
    Features,
    features_of,
    later,
    median_feature,
    on_same_seeds,
    share_R,
    sizes_of,
    sizes_R,
)

CLAIMS = ClaimBook()
FIGURES = (feature_errors, attention_concentration, stage_times, rare_feature_phases, times_by_size)

_PAPER = "Huang, Cheng and Liang 2024"
# Below 10 features phases run into each other; beyond 40, rare features need more steps than sampled runs have.
_LEAST_SIZE, _LARGEST_SIZE = 10, 40
# "Much earlier" is by this factor at least, and "all" this share; an interval can show that from 35 seeds on.
_MUCH, _ALL = 2.0, 0.9


@CLAIMS.claim(
    paper=_PAPER,
    statement="A dominant feature converges much before balanced data's (300 prompts, Adam): T_balanced / T_dominant",
    value="T_dominant << T_balanced",
    figure="stage_times",
)
def dominant_is_first_under_adam(sweeps: Sweeps) -> Evidence:
    balanced, imbalanced = features_of(sweeps["balanced"].history), features_of(sweeps["imbalanced"].history)
    return _dominant_is_first(balanced, imbalanced)


@CLAIMS.claim(
    paper=_PAPER,
    statement="Rare features converge after balanced ones (300 prompts, Adam): share of seeds",
    value="T_balanced <= T_rare",
    figure="stage_times",
)
def rare_are_last_under_adam(sweeps: Sweeps) -> Evidence:
    balanced, imbalanced = features_of(sweeps["balanced"].history), features_of(sweeps["imbalanced"].history)
    return _rare_are_last(balanced, imbalanced)


@CLAIMS.claim(
    paper=_PAPER,
    statement="A dominant feature converges much before balanced data's (gradient descent): T_balanced / T_dominant",
    value="T_dominant << T_balanced",
    figure="times_by_size",
)
def dominant_is_first_under_gradient_descent(sweeps: Sweeps) -> Evidence:
    size = _largest_size(sweeps)
    balanced = features_of(sweeps["sampled_balanced"].history, size)
    return _dominant_is_first(balanced, features_of(sweeps["sampled_dominant"].history, size), f"{size} features. ")


@CLAIMS.claim(
    paper=_PAPER,
    statement="Rare features converge after balanced ones (gradient descent): share of seeds",
    value="T_balanced <= T_rare",
    figure="times_by_size",
)
def rare_are_last_under_gradient_descent(sweeps: Sweeps) -> Evidence:
    size = _largest_size(sweeps)
    balanced = features_of(sweeps["sampled_balanced"].history, size)
    return _rare_are_last(balanced, features_of(sweeps["sampled"].history, size), f"{size} features. ")


@CLAIMS.claim(
    paper=_PAPER,
    statement="The dominant feature's time hardly grows with K features (from 20 on, gradient descent): exponent",
    value="independent of K",
    figure="times_by_size",
)
def dominant_time_does_not_grow(sweeps: Sweeps) -> Evidence:
    region, history = Region(-0.1, 0.1), sweeps["sampled_dominant"].history
    found = _exponent(sweeps, "sampled_dominant", lambda features: features.converged_RK[:, 0])
    num_runs = int(np.sum(sizes_R(history) >= LEAST_SIZE))
    control = _exponent(sweeps, "sampled_balanced", lambda features: of_runs(features.converged_RK))
    if not control.low > region.high:
        # Where the time of balanced features does not grow either, a time that stays says nothing.
        note = f"The control failed: the exponent of balanced features, which should grow, is {control.text()}."
        return Evidence(found.value, np.nan, np.nan, num_runs, region, note)
    sizes = _sizes_text(_parts(sweeps, "sampled_dominant"), LEAST_SIZE)
    note = f"{sizes}. Control: the exponent of balanced features is {control.text()}."
    return Evidence.of(found, num_runs, region, note)


@CLAIMS.claim(
    paper=_PAPER,
    statement="A rare feature's first phase lasts longer by about the square of K (from 20 on): exponent",
    value="not stated (1.93 in our integration of gradient flow)",
    figure="times_by_size",
)
def swap_time_grows_as_the_square(sweeps: Sweeps) -> Evidence:
    history = sweeps["sampled"].history
    found = _exponent(sweeps, "sampled", _swap_R)
    note = _sizes_text(_parts(sweeps, "sampled"), LEAST_SIZE) + "."
    if sweeps.has("mean_field"):
        flow = _exponent(sweeps, "mean_field", _swap_R)
        sizes = _sizes_text(_parts(sweeps, "mean_field"), LEAST_SIZE)
        note += f" In the mean field, where nothing is random: {flow.value:.2f} ({sizes})."
    return Evidence.of(found, int(np.sum(sizes_R(history) >= LEAST_SIZE)), Region(1.8, 2.2), note)


@CLAIMS.claim(
    paper=_PAPER,
    statement="T_rare / T_dominant grows as K^2 log K",
    value="K^2 log K",
    figure="times_by_size",
)
def ratio_of_times_grows_as_stated(sweeps: Sweeps) -> Evidence:
    history = sweeps["mean_field"].history
    found: dict[int, float] = {}
    for size in sizes_of(history):
        time_RK = features_of(history, size, is_balanced=False).converged_RK
        ratio_R = median_feature(time_RK[:, 1:]) / time_RK[:, 0]
        if len(ratio_R) and np.isfinite(ratio_R[0]):
            found[size] = float(ratio_R[0]) / (size**2 * np.log(size))
    if len(found) < 2:
        raise UndecidedError("rare features converged at fewer than two sizes")
    (first, at_first), *_, (last, at_last) = found.items()
    raise UndecidedError(
        f"asymptotic: from K = {first} to {last} the ratio falls {at_first / at_last:.1f}-fold relative to K^2 log K, "
        "so these sizes are too small to tell"
    )


@CLAIMS.claim(
    paper=_PAPER,
    statement="A rare feature is learned in four phases, in order (gradient descent, K = 10 to 40): share of them",
    value="four phases",
    figure="rare_feature_phases",
)
def rare_features_have_four_phases(sweeps: Sweeps) -> Evidence:
    return _four_phases(_followed(sweeps, "sampled"))


@CLAIMS.claim(
    paper=_PAPER,
    statement="A rare feature is learned in four phases, in order (300 prompts, Adam): share of rare features",
    value="four phases, proved for gradient descent alone",
    figure="rare_feature_phases",
)
def rare_features_have_four_phases_under_adam(sweeps: Sweeps) -> Evidence:
    return _four_phases([features_of(sweeps["imbalanced"].history)])


@CLAIMS.claim(
    paper=_PAPER,
    statement="Balanced features have no phase of another weight's fall (gradient descent, K = 10 to 40): share",
    value="two phases",
    figure="times_by_size",
)
def balanced_features_have_no_fall(sweeps: Sweeps) -> Evidence:
    parts = _followed(sweeps, "sampled_balanced")
    share = np.concatenate([share_R(np.isnan(part.rare_phases.swap_RK)) for part in parts])
    runs = _runs_of(parts)
    return Evidence.of(share_of_runs(share, runs), len(runs), Region(low=_ALL), f"{_sizes_text(parts)}.")


@CLAIMS.claim(
    paper=_PAPER,
    statement="Attention concentrates on the query's own feature, when balanced (Adam; their Fig. 3): mass at the end",
    value="near 1",
    figure="attention_concentration",
)
def attention_concentrates_when_balanced(sweeps: Sweeps) -> Evidence:
    features = features_of(sweeps["balanced"].history)
    return _final_attention(features, slice(None))


@CLAIMS.claim(
    paper=_PAPER,
    statement="Attention concentrates on the query's own feature, when rare (Adam; their Fig. 3): mass at the end",
    value="near 1",
    figure="attention_concentration",
)
def attention_concentrates_for_rare_features(sweeps: Sweeps) -> Evidence:
    features = features_of(sweeps["imbalanced"].history)
    return _final_attention(features, slice(1, None))


@CLAIMS.claim(
    paper=_PAPER,
    statement=f"Balanced features converge in 400 epochs (Adam; their Fig. 2): share with error at most {SMALL_ERROR}",
    value="all, to near 0",
    figure="feature_errors",
)
def balanced_errors_vanish(sweeps: Sweeps) -> Evidence:
    return _small_errors(features_of(sweeps["balanced"].history), slice(None))


@CLAIMS.claim(
    paper=_PAPER,
    statement=f"Rare features converge in 400 epochs (Adam; their Fig. 2): share with error at most {SMALL_ERROR}",
    value="all, to near 0",
    figure="feature_errors",
)
def rare_errors_vanish(sweeps: Sweeps) -> Evidence:
    return _small_errors(features_of(sweeps["imbalanced"].history), slice(1, None))


def _dominant_is_first(balanced: Features, imbalanced: Features, note: str = "") -> Evidence:
    """Median over seeds of the balanced features' time over the dominant one's; at least _MUCH."""
    rows, others = on_same_seeds(balanced, imbalanced)
    balanced_R = median_feature(balanced.converged_RK)[rows]
    dominant_R = later(imbalanced.converged_RK[:, 0])[others]
    both = np.isfinite(balanced_R) | np.isfinite(dominant_R)
    ratio_R = np.full(len(rows), np.nan)
    ratio_R[both] = balanced_R[both] / dominant_R[both]
    found = median_of_runs(ratio_R, [balanced.runs[r] for r in rows])
    note += f"Median over {len(rows)} seeds; converged is an error of at most {SMALL_ERROR} for good."
    return Evidence.of(found, len(rows), Region(low=_MUCH), note)


def _rare_are_last(balanced: Features, imbalanced: Features, note: str = "") -> Evidence:
    """Share of all seeds in which rare features converge later; a tie, or neither seen to, is not later."""
    rows, others = on_same_seeds(balanced, imbalanced)
    balanced_R = median_feature(balanced.converged_RK)[rows]
    rare_R = median_feature(imbalanced.converged_RK[:, 1:])[others]
    runs = [balanced.runs[r] for r in rows]
    found = share_of_runs((rare_R > balanced_R).astype(float), runs)
    medians = (median_of_runs(time_R, runs) for time_R in (balanced_R, rare_R))
    note += "Median times, balanced and rare: " + ", ".join(median.text(0) for median in medians) + "."
    return Evidence.of(found, len(rows), Region(low=0.5), note)


def _four_phases(parts: list[Features]) -> Evidence:
    runs = _runs_of(parts)
    share = np.concatenate([share_R(part.rare_phases.has_all_RK) for part in parts])
    return Evidence.of(share_of_runs(share, runs), len(runs), Region(low=_ALL), f"{_sizes_text(parts)}.")


def _final_attention(features: Features, which: slice) -> Evidence:
    attention_R = features.last(features.attention_RKT)[:, which].mean(axis=1)
    found = mean_of_runs(attention_R, features.runs)
    return Evidence.of(found, len(features.runs), Region(low=0.9), f"{features.num_features} features.")


def _small_errors(features: Features, which: slice) -> Evidence:
    is_small_RK = np.isfinite(features.converged_RK[:, which])
    found = share_of_runs(share_R(is_small_RK), features.runs)
    worst = np.quantile(features.last(features.error_RKT)[:, which], 0.95)
    return Evidence.of(found, len(features.runs), Region(low=_ALL), f"95% of final errors are below {worst:.3f}.")


def _swap_R(features: Features) -> Floats:
    return of_runs(features.swap_RK)


def _exponent(sweeps: Sweeps, name: str, time: Callable[[Features], Floats]) -> Estimate:
    """Growth of a run's time with its number of features; of the mean field, in runs with a dominant one."""
    parts = _parts(sweeps, name)
    size_R = np.concatenate([np.full(len(part.runs), part.num_features, dtype=np.float64) for part in parts])
    return scaling_exponent(size_R, np.concatenate([time(part) for part in parts]), _runs_of(parts))


def _parts(sweeps: Sweeps, name: str) -> list[Features]:
    """The runs of a sweep by their number of features."""
    history = sweeps[name].history
    is_balanced = False if name == "mean_field" else None
    return [features_of(history, size, is_balanced=is_balanced) for size in sizes_of(history)]


def _followed(sweeps: Sweeps, name: str) -> list[Features]:
    """Those of which all phases can be seen. Raises UndecidedError where there are none."""
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


def _runs_of(parts: list[Features]) -> list[RunInfo]:
    return [run for part in parts for run in part.runs]


def _sizes_text(parts: list[Features], least: int = 0) -> str:
    """`20, 40 features, 50 seeds each`."""
    parts = [part for part in parts if part.num_features >= least]
    seeds = sorted({len(part.runs) for part in parts})
    counts = "-".join(map(str, (seeds[0], seeds[-1]) if len(seeds) > 1 else seeds))
    return f"{', '.join(str(part.num_features) for part in parts)} features, {counts} seed(s) each"
