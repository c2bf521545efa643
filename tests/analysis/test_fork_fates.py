"""Fork fates: the share of forks that end as their parents did, and the step from which they do."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.dynamics.fork_fates import fates_by_step, fixed_step, fork_fates
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes
from analysis.uncertainty.intervals import Estimate, wilson
from pipeline.spec.criterion import Criterion
from pipeline.store.history import RunInfo


def outcomes_of(kinds, criterion=DEFAULT_CRITERION):
    steps = np.full(len(kinds), 100.0)
    return Outcomes(criterion, np.array(kinds, dtype="<U11"), steps, steps)


def parents_of(kinds):
    return [RunInfo(f"p{r}", "s", r, r, {}) for r in range(len(kinds))], outcomes_of(kinds)


def forked(parents, parent_kinds, steps, num_forks, agreement, seed=0):
    """Forks with data streams of their own that agree with their parent with a probability per step."""
    rng = np.random.default_rng(seed)
    forks, kinds = [], []
    for parent, kind in zip(parents, parent_kinds, strict=True):
        for step, share in zip(steps, agreement, strict=True):
            for _ in range(num_forks):
                name = f"f{len(forks)}"
                forks.append(
                    RunInfo(name, "s", parent.init_seed, 1000 + len(forks), {}, parent=parent.run_id, fork_step=step)
                )
                other = "unconverged" if kind == "converged" else "converged"
                kinds.append(kind if rng.random() < share else other)
    return forks, outcomes_of(kinds)


def test_the_planted_step_from_which_the_outcome_is_fixed_is_found():
    kinds = ["converged", "unconverged"] * 40
    parents, outcomes = parents_of(kinds)
    forks, fork_outcomes = forked(parents, kinds, (100, 200, 300, 400), 4, (0.5, 0.85, 1.0, 1.0))
    found = fates_by_step(fork_fates(forks, fork_outcomes, parents, outcomes))
    assert [at.step for at in found] == [100, 200, 300, 400]
    assert [at.agreement.value for at in found] == pytest.approx([0.5, 0.85, 1, 1], abs=0.06)
    assert all(at.agreement.low <= truth <= at.agreement.high for at, truth in zip(found[:2], (0.5, 0.85), strict=True))
    assert all(at.by_chance == pytest.approx(39 / 79) for at in found)
    assert {(at.num_forks, at.num_parents) for at in found} == {(320, 80)}


def test_parents_are_the_sample_not_forks():
    kinds = ["converged", "unconverged"] * 5
    parents, outcomes = parents_of(kinds)
    forks, fork_outcomes = forked(parents, kinds, (100,), 50, (1.0,))
    (found,) = fates_by_step(fork_fates(forks, fork_outcomes, parents, outcomes))
    assert found.agreement == wilson(10, 10)


def test_forks_that_share_their_data_seeds_across_parents_are_a_crossed_design():
    parents, outcomes = parents_of(["converged"] * 6)
    forks = [
        RunInfo(f"f{i}-{j}", "s", i, 500 + j, {}, parent=f"p{i}", fork_step=50) for i in range(6) for j in range(4)
    ]
    kinds = ["converged" if j else "unconverged" for _ in range(6) for j in range(4)]
    (found,) = fates_by_step(fork_fates(forks, outcomes_of(kinds), parents, outcomes))
    assert found.unit == "init seeds times data seeds"
    assert found.agreement.value == 0.75
    assert found.agreement.high - found.agreement.low > 0.5


def test_agreement_by_chance_is_high_where_almost_all_runs_converge():
    kinds = ["converged"] * 38 + ["unconverged"] * 2
    parents, outcomes = parents_of(kinds)
    forks, fork_outcomes = forked(parents, kinds, (100,), 1, (1.0,))
    (found,) = fates_by_step(fork_fates(forks, fork_outcomes, parents, outcomes))
    assert found.by_chance == pytest.approx((38 * 37 + 2) / (39 * 40))


def test_unknown_fates_are_counted_and_left_out_and_whole_runs_passed_over():
    parents, outcomes = parents_of(["converged", "censored"])
    forks = [RunInfo(f"f{n}", "s", n, n, {}, parent=p, fork_step=20) for n, p in enumerate(("p0", "p0", "p1", "gone"))]
    both, kinds = [*parents, *forks], [*outcomes.kind_R, "converged", "censored", "converged", "converged"]
    found = fork_fates(both, outcomes_of(kinds), parents, outcomes)
    assert (len(found.forks), found.num_unknown) == (1, 3)
    assert np.isnan(found.by_chance_N[0])
    (at,) = fates_by_step(found)
    assert at.agreement.value == 1
    assert np.isnan(at.by_chance)
    nothing = fork_fates(parents, outcomes, parents, outcomes)
    assert (nothing.num_unknown, fates_by_step(nothing)) == (0, ())


def test_two_criteria_are_refused():
    parents, outcomes = parents_of(["converged"])
    with pytest.raises(ValueError, match="one criterion"):
        fork_fates(parents, outcomes_of(["converged"], Criterion(at_most=0.5)), parents, outcomes)


def test_the_step_from_which_a_share_is_fixed_has_an_interval_and_the_budget_is_the_last():
    kinds = ["converged", "unconverged"] * 20
    parents, outcomes = parents_of(kinds)

    def found(agreement, least=0.95):
        forks, fork_outcomes = forked(parents, kinds, (100, 200, 300, 400), 6, agreement)
        return fixed_step(fork_fates(forks, fork_outcomes, parents, outcomes), 500, least, bootstrap=200)

    assert found((0.5, 0.8, 1.0, 1.0)) == Estimate(300, 300, 300)
    assert found((0.5, 0.8, 1.0, 0.8)).value == 500, "what opens again was not fixed"
    assert found((0.5, 0.6, 0.6, 0.6)) == Estimate(500, 500, 500)
    assert found((0.5, 0.6, 0.6, 0.6), least=0.3).value == 100
    between = found((0.5, 0.8, 0.95, 1.0))
    assert (between.low, between.high) == (300, 400)
    nothing = fork_fates(parents, outcomes, parents, outcomes)
    assert np.isnan(fixed_step(nothing, 500).value)
