"""Resampling: the unit follows from the seeds, and intervals have about their nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.uncertainty.intervals import proportion_from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.store.history import RunInfo


def runs_of(pairs, parents=None):
    parents = [None] * len(pairs) if parents is None else parents
    return [
        RunInfo(f"r{r}", "s", init, data, {}, parent=parent)
        for r, ((init, data), parent) in enumerate(zip(pairs, parents, strict=True))
    ]


GROUPS = "groups of runs that share a seed"


@pytest.mark.parametrize(
    ("pairs", "unit", "num_units"),
    [
        ([(i, i) for i in range(8)], "runs", 8),
        ([(i, 10 * i + j) for i in range(5) for j in range(3)], GROUPS, 5),
        ([(10 * i + j, i) for i in range(5) for j in range(3)], GROUPS, 5),
        ([(i, 10 * i + j) for i in range(4) for j in range(3)], "init seeds times data seeds", 4),
        ([(i, j) for i in range(6) for j in range(4)], "init seeds times data seeds", 4),
        (
            [(i, j) for i in range(6) for j in range(4)] + [(k, k) for k in range(90, 96)],
            "init seeds times data seeds",
            10,
        ),
        ([(0, j) for j in range(6)], "data seeds", 6),
        ([(i, 0) for i in range(6)], "init seeds", 6),
        ([(0, 0)] * 3, "nothing", 0),
    ],
)
def test_the_unit_is_the_largest_that_the_seeds_leave_independent(pairs, unit, num_units):
    resamples = resample(runs_of(pairs), 7, 0)
    assert (resamples.unit, resamples.num_units) == (unit, num_units)
    assert resamples.weight_BR.shape == (7 if num_units else 0, len(pairs))
    assert resamples.are_independent == (unit == "runs")


def test_forks_of_one_parent_are_drawn_together():
    pairs, parents = [(i, i) for i in range(20)], [f"p{i // 2}" for i in range(20)]
    resamples = resample(runs_of(pairs, parents), 50, 0)
    assert (resamples.unit, resamples.num_units) == (GROUPS, 10)
    np.testing.assert_array_equal(resamples.weight_BR[:, ::2], resamples.weight_BR[:, 1::2])


def test_pigeonhole_weights_are_products_over_both_kinds_of_seed():
    weight_BIJ = resample(runs_of([(i, j) for i in range(6) for j in range(4)]), 50, 0).weight_BR.reshape(50, 6, 4)
    for weight_IJ in weight_BIJ:
        assert np.linalg.matrix_rank(weight_IJ) == 1
        assert weight_IJ.sum() == 24


@pytest.mark.parametrize("crossed", [False, True], ids=["six runs per init", "crossed"])
def test_the_interval_of_a_share_covers_it_where_runs_share_seeds(crossed):
    rng, covered, covered_by_runs = np.random.default_rng(0), 0, 0
    pairs = [(i, j if crossed else 100 * i + j) for i in range(20) for j in range(6)]
    alone = runs_of([(r, r) for r in range(120)])
    for trial in range(100):
        fate_IJ = rng.normal(size=(20, 1)) + 0.5 * rng.normal(size=(1, 6) if crossed else (20, 6))
        converged_R = (fate_IJ > 0).ravel()
        for runs in (runs_of(pairs), alone):
            weight_BR = resample(runs, 200, trial).with_estimate()
            share = proportion_from_bootstrap(weight_BR @ converged_R / np.maximum(weight_BR.sum(axis=1), 1), 20)
            covered += runs is not alone and share.low <= 0.5 <= share.high
            covered_by_runs += runs is alone and share.low <= 0.5 <= share.high
    assert covered >= 85
    assert covered_by_runs < 75
