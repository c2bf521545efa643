"""Ceilings from forks whose true probabilities are known: estimates, intervals, and what noise does without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.ceiling import (
    FEWEST_PARENTS,
    can_be_parent,
    ceiling_at,
    read_ceiling,
    sample_parents,
    write_ceiling,
)
from analysis.outcomes.outcomes import CENSORED, CONVERGED, UNCONVERGED, Outcomes, decide_outcomes
from analysis.uncertainty.mixing import Mixture
from pipeline.spec.criterion import Criterion
from pipeline.store.files import CorruptFileError
from pipeline.store.history import History, RunEnd, RunInfo

PARENTS, CHILDREN, STEP, BUDGET = 64, 20, 100, 1000
# Beta(5, 5) and Beta(0.3, 0.3) by numerical integration on 20,000 quantiles, the others exactly.
DISTRIBUTIONS = {
    "beta(5, 5)": (lambda rng, size: rng.beta(5, 5, size), 0.6719),
    "beta(0.3, 0.3)": (lambda rng, size: rng.beta(0.3, 0.3, size), 0.9461),
    "uniform": (lambda rng, size: rng.uniform(size=size), 5 / 6),
    "0.1 or 0.9": (lambda rng, size: rng.choice([0.1, 0.9], size), 0.9),
    "0.3 or 0.7": (lambda rng, size: rng.choice([0.3, 0.7], size), 0.7),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def runs_of(num, setting="a"):
    return tuple(RunInfo(f"{setting}{n:04d}", setting, n, n, {}) for n in range(num))


def history_of(runs):
    steps_T = np.array([STEP, BUDGET])
    values = {"label_excess": np.full((len(runs), 2), np.nan)}
    return History("sweep", BUDGET, runs, (RunEnd("budget", BUDGET),) * len(runs), steps_T, values)


def forked(parents, q_P, rng, num_children=CHILDREN):
    """A history of forks of `parents`, with outcomes drawn with these probabilities to converge."""
    runs = tuple(
        RunInfo(f"{parent.run_id}-{n}", f"{parent.setting_id}-fork", parent.init_seed, n, {}, parent.run_id, STEP)
        for parent in parents
        for n in range(num_children)
    )
    converged_N = rng.random(len(runs)) < np.repeat(q_P, num_children)
    upper_N = np.full(len(runs), float(BUDGET))
    kind_N = np.where(converged_N, CONVERGED, UNCONVERGED)
    return history_of(runs), Outcomes(Criterion(at_most=0.02), kind_N, upper_N, upper_N)


def ceiling_of(q_P, rng, bootstrap=0, num_children=CHILDREN):
    parents = runs_of(len(q_P))
    everyone_R = np.ones(len(parents), dtype=bool)
    forks = forked(parents, q_P, rng, num_children)
    return ceiling_at(0.1, STEP, history_of(parents), everyone_R, *forks, bootstrap=bootstrap)


def share_auroc(count_P):
    """AUROC of the shares themselves, as if they were the true probabilities."""
    q_P = np.sort(count_P / CHILDREN)
    mass_1P = np.full((1, len(q_P)), 1 / len(q_P))
    values, place_P = np.unique(q_P, return_inverse=True)
    won, pairs = Mixture(values, np.bincount(place_P, mass_1P[0])[None]).ranked_pairs_B()
    return float(won[0] / pairs[0])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_ceiling_is_close_to_that_of_the_true_probabilities_on_average(name, rng):
    draw, truth = DISTRIBUTIONS[name]
    found = [ceiling_of(draw(rng, PARENTS), rng).auroc.value for _ in range(60)]
    assert np.mean(found) == pytest.approx(truth, abs=0.02)


def test_the_shares_themselves_promise_too_much(rng):
    draw, truth = DISTRIBUTIONS["0.3 or 0.7"]
    rows = [ceiling_of(draw(rng, PARENTS), rng) for _ in range(40)]
    naive = np.mean([share_auroc(row.converged_P) for row in rows])
    assert naive > truth + 0.04
    assert np.mean([row.auroc.value for row in rows]) < naive - 0.03


@pytest.mark.parametrize("name", ["beta(0.3, 0.3)", "0.1 or 0.9"])
def test_nineteen_of_twenty_intervals_cover_the_truth(name, rng):
    """Of 40 intervals 38 are expected to; fewer than 34 have a probability of 1% if 95% do."""
    draw, truth = DISTRIBUTIONS[name]
    covers = []
    for _ in range(40):
        auroc = ceiling_of(draw(rng, PARENTS), rng, bootstrap=100).auroc
        covers.append(auroc.low <= truth <= auroc.high)
    assert np.sum(covers) >= 34


@pytest.mark.parametrize("num_children", [2, 20])
def test_the_least_brier_score_is_unbiased_whatever_the_number_of_forks(num_children, rng):
    floors = [ceiling_of(rng.uniform(size=PARENTS), rng, 50, num_children).brier_floor for _ in range(100)]
    assert np.mean([floor.value for floor in floors]) == pytest.approx(1 / 6, abs=0.007)
    assert np.mean([floor.low <= 1 / 6 <= floor.high for floor in floors]) > 0.85


def test_fates_that_are_fixed_have_a_ceiling_of_one_and_no_brier_score(rng):
    row = ceiling_of(np.repeat([0.0, 1.0], 32), rng, bootstrap=50)
    assert row.auroc.value > 0.999
    assert (row.brier_floor.value, row.brier_floor.low) == (0, 0)


def test_only_pairs_inside_a_setting_count_and_large_settings_count_more(rng):
    """Setting a always converges but for chance, b hardly ever: pooled, the AUROC would be about 0.97."""
    a, b = runs_of(30, "a"), runs_of(30, "b")
    history = history_of((*a, *b))
    q_P = np.repeat([0.9, 0.1], 30)
    row = ceiling_at(0.1, STEP, history, np.ones(60, dtype=bool), *forked((*a, *b), q_P, rng), bootstrap=0)
    assert row.auroc.value < 0.65
    assert (row.num_at_risk, row.num_left_out) == (60, 0)
    # Many more runs of a setting with fixed fates draw the ceiling towards theirs.
    others = tuple(replace(run, run_id=f"x{run.run_id}") for run in runs_of(900, "b"))
    history, q_P = history_of((*a, *b, *others)), np.array([0.5] * 30 + [0.0, 1.0] * 15)
    row = ceiling_at(0.1, STEP, history, np.ones(960, dtype=bool), *forked((*a, *b), q_P, rng), bootstrap=0)
    assert row.auroc.value > 0.99
    assert row.brier_floor.value == pytest.approx(0.25 * 30 / 960, abs=0.002)


def test_settings_with_few_parents_are_left_out_and_counted(rng):
    few, many = runs_of(FEWEST_PARENTS - 1, "a"), runs_of(20, "b")
    history = history_of((*few, *many))
    q_P = np.array([0.5] * len(few) + [0.0, 1.0] * 10)
    everyone_R = np.ones(len(q_P), dtype=bool)
    row = ceiling_at(0.1, STEP, history, everyone_R, *forked((*few, *many), q_P, rng), bootstrap=0)
    assert (row.num_at_risk, row.num_left_out, len(row.parents)) == (29, 9, 29)
    assert row.brier_floor.value == 0
    alone = ceiling_at(0.1, STEP, history_of(few), everyone_R[:9], *forked(few, q_P[:9], rng), bootstrap=0)
    assert np.isnan([alone.auroc.value, alone.brier_floor.value]).all()


def test_forks_without_an_outcome_or_in_unequal_numbers_are_refused(rng):
    parents = runs_of(12)
    history, everyone_R = history_of(parents), np.ones(12, dtype=bool)
    forks, outcomes = forked(parents, np.full(12, 0.5), rng)
    kind_N = outcomes.kind_R.copy()
    kind_N[3] = CENSORED
    with pytest.raises(ValueError, match="1 of 240 forks have no outcome yet"):
        ceiling_at(0.1, STEP, history, everyone_R, forks, replace(outcomes, kind_R=kind_N))
    fewer = history_of(forks.runs[:-1])
    shorter = Outcomes(
        outcomes.criterion, *(array[:-1] for array in (outcomes.kind_R, outcomes.lower_R, outcomes.upper_R))
    )
    with pytest.raises(ValueError, match="equal numbers of forks"):
        ceiling_at(0.1, STEP, history, everyone_R, fewer, shorter)


def test_the_sample_of_parents_does_not_depend_on_other_runs_and_is_kept_while_at_risk():
    runs = runs_of(40, "a") + runs_of(5, "b")
    history, risk_R = history_of(runs), np.ones(45, dtype=bool)
    first = sample_parents(history, risk_R, 10, seed=0)
    assert {setting: len(rows) for setting, rows in first.items()} == {"a": 10, "b": 5}
    assert first["a"] != sorted(first["a"])
    gone = first["a"][0]
    risk_R[gone] = False
    later = sample_parents(history, risk_R, 10, seed=0)
    assert later["a"][:9] == first["a"][1:]
    assert sample_parents(history, risk_R, 10, seed=1)["a"] != later["a"]


def test_runs_with_an_outcome_and_forks_that_begin_later_are_no_parents():
    runs = (*runs_of(2), replace(runs_of(3)[2], parent="a0000", fork_step=200))
    values = {"label_excess": np.array([[0.01, 0.01], [1.0, 1.0], [np.nan, 1.0]])}
    ends = (RunEnd("converged", 1000), RunEnd("budget", 1000), RunEnd("budget", 1000))
    history = History("sweep", 1000, runs, ends, np.array([100, 1000]), values)
    outcomes = decide_outcomes(history, Criterion(at_most=0.02, evaluations=2))
    assert can_be_parent(history, outcomes, 0).tolist() == [True, True, False]
    assert can_be_parent(history, outcomes, 100).tolist() == [False, True, False]


def test_the_file_reads_back_and_a_damaged_one_is_refused(tmp_path, rng):
    assert read_ceiling(tmp_path) is None
    row = ceiling_of(np.repeat([0.2, 0.8], 10), rng, bootstrap=50)
    write_ceiling(tmp_path, [row], {"budget": BUDGET})
    document = read_ceiling(tmp_path)
    assert document["budget"] == BUDGET
    (read,) = document["rows"]
    assert {"window", "step", "parents", "children", "num_at_risk"} <= read.keys()
    assert [read["auroc"], read["low"], read["high"]] == [row.auroc.value, row.auroc.low, row.auroc.high]
    assert read["q"]["a0003"] == row.converged_P[3] / CHILDREN
    path = tmp_path / "ceiling.json"
    path.write_bytes(path.read_bytes().replace(b'"parents": 20', b'"parents": 21'))
    with pytest.raises(CorruptFileError, match=r"ceiling\.json"):
        read_ceiling(tmp_path)
