"""Scores of a benchmark's halves: what is learned from one is tested on the other alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.benchmark.halves import RANKING, benchmark_rows, evaluate_halves
from analysis.benchmark.rows import BenchmarkRow, task_means
from analysis.outcomes.outcomes import DEFAULT_CRITERION
from analysis.predictors.base import PREDICTORS
from analysis.uncertainty.intervals import Estimate
from tests.analysis.synthetic import synthetic_history

CHOSEN = {name: PREDICTORS[name]() for name in ("ridge_time", "setting_rate")}


def half(first_seed, num_seeds, seed):
    history = synthetic_history(2, num_seeds, seed=seed, name=f"from-{first_seed}")
    runs = tuple(
        replace(
            run,
            run_id=f"{run.run_id}-{first_seed}",
            init_seed=run.init_seed + first_seed,
            data_seed=run.data_seed + first_seed,
        )
        for n, run in enumerate(history.runs)
    )
    return replace(history, runs=runs)


def evaluated(train, test, **options):
    return evaluate_halves(train, test, DEFAULT_CRITERION, CHOSEN, bootstrap=50, **options)


TRAIN, TEST = half(0, 24, seed=1), half(1000, 24, seed=2)


def test_only_runs_of_the_test_half_are_scored():
    evaluation = evaluated(TRAIN, TEST)
    for window in evaluation.windows:
        assert not window.scored_R[: len(TRAIN.runs)].any()
        assert 0 < window.num_scored <= len(TEST.runs)


def test_outcomes_of_the_test_half_move_no_forecast():
    other = {metric: values.copy() for metric, values in TEST.values.items()}
    other["label_excess"] = np.where(TEST.steps_T > 1000, other["label_excess"][::-1], other["label_excess"])
    before, after = (evaluated(TRAIN, test).windows[0] for test in (TEST, replace(TEST, values=other)))
    both_R = before.scored_R & after.scored_R
    assert both_R.sum() > 20
    assert not np.array_equal(before.converged_N, after.converged_N)
    for name in CHOSEN:
        expected, found = (w.probability_N[name][both_R[w.scored_R]] for w in (before, after))
        assert np.array_equal(expected, found)


def test_a_planted_effect_is_found_and_rows_stand_beside_the_ceiling():
    rows = list(benchmark_rows("planted", evaluated(TRAIN, TEST), {0.25: 0.99}))
    ranking = {(row.predictor, row.window): row for row in rows if row.row == RANKING}
    found = ranking["ridge_time", 0.25]
    assert found.estimate.low > 0.6
    assert found.share_of_ceiling == pytest.approx((found.estimate.value - 0.5) / 0.49)
    assert ranking["setting_rate", 0.25].estimate.value == 0.5
    assert ranking["ridge_time", 0.5].to_json()["ceiling"] is None
    assert found.to_json()["n"] == found.num_runs > 0


def test_fewer_training_runs_can_be_learned_from():
    whole, few = evaluated(TRAIN, TEST), evaluated(TRAIN, TEST, num_train=12)
    assert few.held_out.startswith("trained on 12 runs")
    assert not np.array_equal(whole.windows[0].probability_N["ridge_time"], few.windows[0].probability_N["ridge_time"])


def test_halves_that_share_a_seed_are_refused():
    with pytest.raises(ValueError, match="both have runs of init_seed 10"):
        evaluated(TRAIN, half(10, 24, seed=2))


def test_a_row_comes_back_from_its_json():
    rows = list(benchmark_rows("planted", evaluated(TRAIN, TEST), {0.25: 0.99}))
    assert [BenchmarkRow.from_json(row.to_json()).to_json() for row in rows] == [row.to_json() for row in rows]


def test_means_over_tasks_weigh_tasks_alike_and_leave_out_who_lacks_one():
    def row(predictor, task, window, value, num_runs=100):
        return BenchmarkRow(RANKING, predictor, task, window, Estimate(value, value - 0.03, value + 0.04), num_runs)

    rows = [row("good", "a", 0.1, 0.9), row("good", "b", 0.1, 0.7, 900), row("good", "a", 0.5, 0.9)]
    rows += [row("fair", "a", 0.1, 0.6), row("fair", "b", 0.1, 0.6), row("fair", "a", 0.5, 0.9)]
    rows += [row("partial", "a", 0.1, 1.0), row("partial", "a", 0.5, 1.0), row("other", "c", 0.1, 0.9)]
    means = task_means([one for one in rows if one.predictor != "other"], RANKING)
    assert list(means) == [("good", 0.1), ("good", 0.5), ("fair", 0.1), ("fair", 0.5)]
    mean = means["good", 0.1]
    assert mean.value == pytest.approx(0.8)
    assert (mean.low, mean.high) == pytest.approx((0.8 - 0.03 / np.sqrt(2), 0.8 + 0.04 / np.sqrt(2)))
    assert task_means(rows, "no such score") == {}
