"""Claims on Huang et al. (2024), on runs that follow gradient flow in the mean field, each at a speed of its own."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED
from analysis.claims.sweeps import JudgedSweep, Sweeps, UndecidedError
from analysis.figures.figures import specification, to_svg
from analysis.uncertainty.intervals import Estimate
from pipeline.store.history import History, RunEnd, RunInfo
from sweeps.huang_2024.balanced_figure import balanced_phases, share_of_first_phase
from sweeps.huang_2024.claims import CLAIMS, FIGURES
from sweeps.huang_2024.measures import SMALL_ERROR, feature_curves
from sweeps.huang_2024.ratio_figure import ratio_of_times, ratios_of_times
from tests.figure_texts import overlaps, untitled
from tests.papers.shuffled import assert_holds_only_unshuffled

# The claim whose estimate stands in the title of a figure.
TITLES = {
    "feature_errors": "rare_errors_vanish",
    "attention_concentration": "attention_concentrates_for_rare_features",
    "stage_times": "dominant_is_first_under_adam",
    "rare_feature_phases": "rare_features_have_four_phases",
    "times_by_size": "swap_time_grows_as_the_square",
}
NUM_SEEDS = 36
SAMPLED_STEPS = np.unique(np.append(0, np.geomspace(10, 2600, 70).round(-1)).astype(int))
FLOW_STEPS = np.unique(np.append(np.arange(0, 100, 10), np.geomspace(100, 8000, 90).round(-1)).astype(int))
FINE_STEPS = np.append([0, 20, 40, 60], np.arange(62, 121, 2))
EPOCHS = np.array([0, 2, 4, 6, 8, *range(10, 100, 10), *range(100, 200, 20), 200, 240, 280, 320, 360, 400])


@cache
def flow(own, first, rest, num_rest):
    """Attention, error, A and B over log-spaced times of a feature of probability `own`, beside `first` and others."""
    p, count = np.array([own, first, rest]), np.array([1, 1, num_rest])

    def attention(q):
        weight = p[:, None] * np.exp(q)
        return weight / (count @ weight)

    def rate(q):
        a = attention(q)
        return own * a * (np.array([[1.0], [0], [0]]) - a - a[0] + count @ a**2)

    times = np.append(0, np.geomspace(0.5, 4e4, 4000))
    found = solve_ivp(lambda t, q: rate(q[:, None])[:, 0], (0, 4e4), np.zeros(3), "LSODA", times, rtol=1e-8, atol=1e-10)
    a = attention(found.y)
    return times, a[0], 0.5 * ((1 - a[0]) ** 2 + a[1] ** 2 + num_rest * a[2] ** 2), found.y[0], found.y[1]


def recorded(num_features, dominant, times):
    """Metric -> values at `times` of every feature of one run."""
    first = 1 / num_features if dominant is None else dominant
    rare = (1 - first) / (num_features - 1)
    values = {}
    for k in range(num_features):
        own, other = (first, rare) if k == 0 else (rare, first)
        curves = flow(own, other, rare, num_features - 2)
        names = ("feature_attention", "feature_loss", "own_weight", "first_weight")
        for name, curve in zip(names, curves[1:], strict=True):
            if name != "first_weight" or k:
                values[f"{name}.k{k + 1}"] = np.interp(times, curves[0], curve)
    return values


def sweep(settings, steps, unit, num_seeds=NUM_SEEDS, optimiser="sgd", stretch=lambda size: 1.0):
    """Runs of (size, dominant probability) under every seed; a step is `unit` of time, in each run at its own speed."""
    runs, rows = [], []
    for size, dominant in settings:
        for seed in range(num_seeds):
            hyperparameters = {
                "task.num_features": size,
                "task.dominant_probability": dominant,
                "optimiser.name": optimiser,
                "optimiser.lr": float(unit) if optimiser == "sgd" else 0.002,
            }
            runs.append(RunInfo(f"{size}-{dominant}-{seed}", f"{size}-{dominant}", seed, seed, hyperparameters))
            speed = np.exp(0.05 * np.random.default_rng([size, seed]).normal()) if num_seeds > 1 else 1.0
            rows.append(recorded(size, dominant, steps * unit * speed / stretch(size)))
    nothing = np.full(len(steps), np.nan)
    values = {name: np.array([row.get(name, nothing) for row in rows]) for name in {n: 0 for row in rows for n in row}}
    ends = tuple(RunEnd("budget", int(steps[-1])) for _ in runs)
    return JudgedSweep(
        History("planted", int(steps[-1]), tuple(runs), ends, steps, values), provenance={"sweep_id": "abc"}
    )


@cache
def planted():
    """All sweeps of the paper; an epoch of Adam is four units of time."""
    sizes = (20, 40)
    return {
        "balanced": sweep([(10, None)], EPOCHS, 4, optimiser="adamw"),
        "imbalanced": sweep([(10, 0.5)], EPOCHS, 4, optimiser="adamw"),
        "sampled": sweep([(size, 0.5) for size in sizes], SAMPLED_STEPS, 4),
        "sampled_balanced": sweep([(size, None) for size in sizes], SAMPLED_STEPS, 4),
        "sampled_dominant": sweep([(size, 0.5) for size in sizes], FINE_STEPS, 1),
        "mean_field": sweep([(size, p) for size in (10, *sizes) for p in (None, 0.5)], FLOW_STEPS, 1, num_seeds=1),
    }


def judged(name, **changes):
    return CLAIMS.judged_claim(name, Sweeps(planted() | changes))


# The dominant feature has nearly all of the attention at nearly every step.
ANY_STEP = "attention_concentrates_for_the_dominant_feature"


@pytest.mark.parametrize("name", [name for name in CLAIMS.claims if name != ANY_STEP])
def test_every_claim_holds_on_gradient_flow_and_fails_on_shuffled_steps(name):
    assert_holds_only_unshuffled(CLAIMS, name, Sweeps(planted()), "steps")


def test_attention_on_the_dominant_feature_is_near_1_where_it_is_learned_alone():
    assert judged(ANY_STEP).verdict == HOLDS
    slow = sweep([(10, 0.5)], EPOCHS, 4, optimiser="adamw", stretch=lambda size: 1000.0)
    assert judged(ANY_STEP, imbalanced=slow).estimate.value == pytest.approx(0.53, abs=0.02)
    assert judged(ANY_STEP, imbalanced=slow).verdict == DOES_NOT


def test_the_figures_of_gradient_flow_come_out():
    # Times of a gradient flow in the mean field: 491, 69.1 and 949 with 10 features, 3552 and 76.4 with 40.
    assert judged("dominant_is_first_under_adam").estimate.value == pytest.approx(491 / 69.1, rel=0.2)
    assert judged("dominant_is_first_under_gradient_descent").estimate.value == pytest.approx(3552 / 76.4, rel=0.1)
    assert judged("swap_time_grows_as_the_square").estimate.value == pytest.approx(np.log2(1698 / 428), abs=0.15)
    assert judged("dominant_time_does_not_grow").estimate.value == pytest.approx(0.02, abs=0.06)
    assert judged("rare_are_last_under_adam").num_runs == NUM_SEEDS
    assert judged("swap_time_grows_as_the_square").num_runs == 2 * NUM_SEEDS


@pytest.mark.parametrize(("size", "converged"), [(10, 949), (20, 2671), (40, 7560)])
def test_times_are_those_of_gradient_flow_though_steps_lie_between_them(size, converged):
    features = feature_curves(planted()["mean_field"].history, size, is_balanced=False)
    rare = 0.5 / (size - 1)
    times, _, error, a, b = flow(rare, 0.5, rare, size - 2)
    assert features.swap_RK[0, 3] == pytest.approx(times[np.argmin(a + b)], rel=0.01)
    assert features.converged_RK[0, 3] == pytest.approx(times[np.argmax(error <= SMALL_ERROR)], rel=0.004)
    assert features.converged_RK[0, 3] == pytest.approx(converged, rel=0.02)
    recorded_swap = features.rare_phases.swap_RK[0, 3]
    assert recorded_swap in FLOW_STEPS
    assert recorded_swap != features.swap_RK[0, 3]


def test_the_ratio_of_times_is_drawn_by_size_and_is_no_claim():
    # Gradient flow has ratios of 14 and 99 at 10 and 40 features: 3.4 times less growth than K^2 log K.
    found = ratios_of_times(Sweeps(planted()))
    assert found[10] == pytest.approx(949 / 69.1, rel=0.05)
    assert found[40] == pytest.approx(7560 / 76.4, rel=0.05)
    assert ratio_of_times(Sweeps(planted())).title.startswith("From K = 10 to 40 the ratio of times falls 3.")
    with pytest.raises(UndecidedError, match="missing"):
        ratio_of_times(Sweeps({}))


def test_balanced_features_have_two_phases_one_after_the_other():
    found = share_of_first_phase(Sweeps(planted()))
    # In the mean field with 20 features weights are log K at 620 and errors small at 1330.
    assert found.estimate == pytest.approx(620 / 1330, abs=0.02)
    assert found.num_units == NUM_SEEDS
    assert Estimate(found.estimate, found.low, found.high).concise() in balanced_phases(Sweeps(planted())).title
    late = sweep([(20, None)], SAMPLED_STEPS[:10], 4)
    assert balanced_phases(Sweeps(planted() | {"sampled_balanced": late})).title.startswith("Undecided")


def test_claims_on_order_do_not_hold_where_the_order_is_another():
    exchanged = {"balanced": planted()["imbalanced"], "imbalanced": planted()["balanced"]}
    assert judged("dominant_is_first_under_adam", **exchanged).verdict != HOLDS
    assert judged("rare_are_last_under_adam", **exchanged).verdict == DOES_NOT


def test_the_dominant_time_is_seen_to_grow_and_a_failed_control_decides_nothing():
    settings = [(20, 0.5), (40, 0.5)]
    growing = sweep(settings, FINE_STEPS, 1, stretch=lambda size: size / 30)
    assert judged("dominant_time_does_not_grow", sampled_dominant=growing).verdict == DOES_NOT
    flat = sweep([(20, None), (40, None)], SAMPLED_STEPS, 4, stretch=lambda size: (30 / size) ** 1.5)
    found = judged("dominant_time_does_not_grow", sampled_balanced=flat)
    assert found.verdict == UNDECIDED
    assert "control failed" in found.evidence.note


def test_what_is_missing_or_too_small_is_undecided():
    assert all(claim.verdict == UNDECIDED for claim in CLAIMS.judged(Sweeps({})))
    small = sweep([(5, 0.5)], SAMPLED_STEPS, 4)
    found = judged("rare_features_have_four_phases", sampled=small)
    assert found.reason == "sweep 'sampled' has no run of 10 to 40 features"
    few = sweep([(10, 0.5)], EPOCHS, 4, num_seeds=3, optimiser="adamw")
    assert judged("rare_errors_vanish", imbalanced=few).reason == "3 run(s), needs 10"


def test_features_that_never_converge_count_as_late_and_are_no_error():
    steps = EPOCHS[EPOCHS <= 100]
    short = {
        name: sweep([(10, p)], steps, 4, optimiser="adamw") for name, p in (("balanced", None), ("imbalanced", 0.5))
    }
    assert judged("dominant_is_first_under_adam", **short).verdict == UNDECIDED
    assert judged("rare_are_last_under_adam", **short).verdict == DOES_NOT
    assert judged("rare_errors_vanish", **short).verdict == DOES_NOT
    assert judged("rare_features_have_four_phases_under_adam", **short).verdict == DOES_NOT


def test_features_are_those_of_one_size_with_what_was_not_recorded_missing():
    history = planted()["sampled"].history
    features = feature_curves(history, 20)
    assert features.error_RKT.shape == (NUM_SEEDS, 20, len(SAMPLED_STEPS))
    assert features.time_T[-1] == 4 * 2600
    assert np.isnan(features.first_weight_RKT[:, 0]).all()
    assert np.isfinite(features.first_weight_RKT[:, 1:]).all()
    assert feature_curves(history, 10).runs == ()
    assert feature_curves(planted()["imbalanced"].history).time_T[-1] == 400


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_figures_are_drawn_under_the_name_that_claims_give(draw):
    figure = draw(Sweeps(planted()))
    assert figure.name == draw.__name__
    if figure.name in TITLES:
        assert judged(TITLES[figure.name]).estimate.concise() in figure.title
    assert not untitled(json.loads(specification(figure)))
    assert not overlaps(to_svg(figure))
    subtitle = " ".join(json.loads(specification(figure))["title"]["subtitle"])
    assert "sweep_id abc" in subtitle
    counts = [len(planted()[name].history.runs) for name in planted()]
    assert any(f" {count} runs" in subtitle for count in counts)
