"""Claims and figures on forks of Zhao (2023): from which step it is fixed how a run ends, and of which parents."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from analysis.claims.claims import DOES_NOT, HOLDS
from analysis.claims.sweeps import Sweeps
from sweeps.zhao_2023.figures.fate_raster import fate_raster, fates_of_failing_runs, fork_shares
from sweeps.zhao_2023.measures import fates_of
from tests.papers.zhao_2023.planted import failing, forked, judge


def test_a_fate_that_is_open_until_late_is_not_fixed_early():
    found = judge("fate_is_fixed_by_half_of_the_budget", **forked(fixed_at=800))
    assert (found.verdict, found.estimate.value) == (DOES_NOT, 800)
    assert judge("fate_is_fixed_by_half_of_the_budget", **forked(fixed_at=300)).estimate.value == 300


def test_a_failure_that_is_open_until_late_is_not_fixed_early_and_each_setting_has_runs_of_its_own():
    late, early = failing(fixed_at=800), failing(fixed_at=300)
    name = "failure_is_fixed_early_with_narrow_heads"
    assert judge(name, **early).verdict == HOLDS
    assert judge(name, **early).estimate.value == 300
    assert judge(name, **early).num_runs == 16
    # Half of the parents converge after the mixed budget.
    assert judge(name, **late).estimate.value == 800
    shown = fates_of_failing_runs(Sweeps(early))
    assert shown.title.startswith("In models of width 10 a share of 1.00 (")
    assert shown.title.endswith(" of the forks from step 800 end as their parent")
    open_until_the_end = fates_of_failing_runs(Sweeps(failing(fixed_at=3000))).title
    assert 0.35 < float(re.search(r"share of (\S+)", open_until_the_end)[1]) < 0.65
    other = {"model.width": 24, "model.head_width": 4}
    runs = tuple(replace(run, hyperparameters=other) for run in early["failing_parents"].history.runs)
    gone = replace(early["failing_parents"], history=replace(early["failing_parents"].history, runs=runs))
    assert "has no run of setting C" in judge(name, **early | {"failing_parents": gone}).reason


def test_only_parents_that_had_not_converged_at_the_fork_say_what_is_fixed():
    sweeps = Sweeps(forked())
    found = fates_of(sweeps, 1200)
    parents = {step: {run.parent for run in found.forks if run.fork_step == step} for step in (300, 800)}
    assert (len(parents[300]), len(parents[800])) == (24, 12), "half of the parents converge by step 800"
    assert np.all(found.by_chance_N[found.step_N == 800] == 1)
    late = fates_of(sweeps, 1200, "unconverged")
    assert {run.parent for run in late.forks} == parents[800]
    assert len(late.step_N) == len(late.agrees_N) == len(late.by_chance_N) == 12 * 6 * 5


def test_shares_of_forks_are_those_of_each_parent_and_step_and_empty_once_it_has_converged():
    sweeps = Sweeps(forked())
    share_PS, steps_S = fork_shares(sweeps["forks"].history, sweeps["fork_parents"].history, 1200)
    assert steps_S.tolist() == [0, 100, 300, 600, 800]
    # Twelve parents jump at 700 and had converged by 800; their forks from 300 on do what they did.
    assert share_PS[:12, 2:4].tolist() == [[1.0, 1.0]] * 12
    assert share_PS[12:, 2:].tolist() == [[0.0, 0.0, 0.0]] * 12
    assert np.isnan(share_PS[:12, 4]).all()
    assert 0.2 < share_PS[:, 0].mean() < 0.8
    shown = fate_raster(sweeps)
    assert shown.title.endswith("and for 12 of 12 parents at step 800")
