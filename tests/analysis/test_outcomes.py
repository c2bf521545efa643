"""Outcomes: tables of series -> outcome, and the edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.outcomes.outcomes import at_risk, decide_outcomes, has_started
from pipeline.spec.criterion import Criterion
from pipeline.store.history import RunInfo
from tests.analysis.synthetic import tiny_history

N = np.nan
LOW = Criterion(at_most=0.02)

# label_excess at steps 0, 50, 100, 150, 200; how the run ended; kind, (lower, upper].
TABLE = [
    ("two in a row converge at the first of them", [1, 1, 0.01, 0.01, 0.5], ("budget", 200), "converged", 50, 100),
    ("the threshold itself satisfies", [1, 1, 1, 0.02, 0.02], ("budget", 200), "converged", 100, 150),
    ("one in a row is not enough", [1, 0.01, 1, 0.01, 1], ("budget", 200), "unconverged", 200, 200),
    ("a streak cut off by the end is not enough", [1, 1, 1, 1, 0.01], ("budget", 200), "unconverged", 200, 200),
    ("the first full streak decides", [1, 0.01, 1, 0.01, 0.01], ("budget", 200), "converged", 100, 150),
    ("converged from the start", [0.01, 0.01, 1, 1, 1], ("budget", 200), "converged", 0, 0),
    ("NaN breaks a streak", [1, 0.01, N, 0.01, 1], ("budget", 200), "unconverged", 200, 200),
    ("divergence is an event of its own", [1, 1, N, N, N], ("diverged", 70), "diverged", 70, 70),
    ("the first event decides", [1, 0.01, 0.01, N, N], ("diverged", 130), "converged", 0, 50),
    ("a stopped run is censored", [1, 1, 1, N, N], ("stopped", 100), "censored", 100, 100),
    ("a stopped run may have converged before", [1, 0.01, 0.01, N, N], ("stopped", 100), "converged", 0, 50),
    ("a failed run is censored", [1, 1, N, N, N], ("failed", 50), "censored", 50, 50),
    ("a failed run may have converged before", [1, 0.01, 0.01, N, N], ("failed", 100), "converged", 0, 50),
    ("a run under way is censored", [1, 1, N, N, N], ("running", 90), "censored", 90, 90),
    ("ended early by a laxer criterion", [1, 0.04, 0.04, N, N], ("converged", 100), "censored", 100, 100),
    ("the budget was smaller then", [1, 1, 1, N, N], ("budget", 100), "censored", 100, 100),
    ("converged under the smaller budget", [1, 0.01, 0.01, N, N], ("budget", 100), "converged", 0, 50),
    ("never evaluated", [N, N, N, N, N], ("budget", 200), "censored", 200, 200),
    ("diverged before its first evaluation", [N, N, N, N, N], ("diverged", 20), "diverged", 20, 20),
]


@pytest.mark.parametrize(("why", "row", "end", "kind", "lower", "upper"), TABLE, ids=[row[0] for row in TABLE])
def test_a_series_has_the_outcome_of_the_table(why, row, end, kind, lower, upper):
    # The second run keeps every evaluation step in the grid, as the other runs of a sweep do.
    outcomes = decide_outcomes(tiny_history([row, [1, 1, 1, 1, 1]], [end, ("budget", 200)]), LOW)
    assert (outcomes.kind_R[0], outcomes.lower_R[0], outcomes.upper_R[0]) == (kind, lower, upper)
    assert outcomes.kind_R[1] == "unconverged"


def test_steps_without_evaluation_do_not_break_a_streak():
    history = tiny_history([[1, N, 0.01, N, 0.01]], [("budget", 200)])
    outcomes = decide_outcomes(history, LOW)
    assert (outcomes.kind_R[0], outcomes.lower_R[0], outcomes.upper_R[0]) == ("converged", 0, 100)


def test_an_outcome_is_redefined_without_training():
    history = tiny_history(
        [[1, 0.04, 0.04, 0.01, 0.01]], [("budget", 200)], label_accuracy=[[0.1, 0.2, 0.99, 0.5, 0.99]]
    )
    assert decide_outcomes(history, Criterion(at_most=0.05)).upper_R[0] == 50
    assert decide_outcomes(history, LOW).upper_R[0] == 150
    assert decide_outcomes(history, Criterion("label_accuracy", at_least=0.99, evaluations=1)).upper_R[0] == 100
    assert decide_outcomes(history, Criterion("label_accuracy", at_least=0.99)).kind_R[0] == "unconverged"


def test_more_evaluations_than_recorded_are_never_satisfied():
    outcomes = decide_outcomes(tiny_history([[0.0, 0.0]], [("budget", 50)]), Criterion(at_most=1, evaluations=3))
    assert outcomes.kind_R[0] == "unconverged"


def test_an_outcome_depends_on_its_own_run():
    rows = [row[1] for row in TABLE] + [[1] * 5]
    ends = [row[2] for row in TABLE] + [("budget", 200)]
    together = decide_outcomes(tiny_history(rows, ends), LOW)
    for r, row in enumerate(TABLE):
        assert (together.kind_R[r], together.lower_R[r], together.upper_R[r]) == row[3:]


def test_runs_with_an_event_or_no_view_past_the_step_are_not_at_risk():
    rows = [[1, 1, 0.01, 0.01, 1], [1, 1, N, N, N], [1, 1, 1, N, N], [1, 1, 1, 1, 1]]
    outcomes = decide_outcomes(
        tiny_history(rows, [("budget", 200), ("diverged", 70), ("stopped", 100), ("budget", 200)]), LOW
    )
    assert at_risk(outcomes, 50).tolist() == [True, True, True, True]
    assert at_risk(outcomes, 99).tolist() == [True, False, True, True]
    assert at_risk(outcomes, 100).tolist() == [False, False, False, True]
    assert at_risk(outcomes, 200).tolist() == [False, False, False, False]


def test_the_convergence_of_a_fork_lies_after_the_fork():
    history = tiny_history([[N, N, N, 0.01, 0.01], [N, N, N, 0.01, 0.01]], [("budget", 200)] * 2)
    steps = [120, None]
    runs = tuple(replace(run, parent="p", fork_step=step) for run, step in zip(history.runs, steps, strict=True))
    values = {"label_excess": np.vstack([history.values["label_excess"], [[1, 1, 1, 1, 1]]])}
    third = replace(runs[1], run_id="r2", parent=None)
    ends = (*history.ends, history.ends[0])
    outcomes = decide_outcomes(replace(history, runs=(*runs, third), ends=ends, values=values), LOW)
    assert (outcomes.lower_R[0], outcomes.upper_R[0]) == (120, 150)
    assert (outcomes.lower_R[1], outcomes.upper_R[1]) == (100, 150)


def test_a_fork_has_started_once_the_step_is_past_its_own():
    runs = tuple(RunInfo(f"r{s}", "s", 0, 0, {}, parent="p", fork_step=s) for s in (0, 50, 100))
    assert has_started((*runs, RunInfo("p", "s", 0, 0, {})), 50).tolist() == [True, False, False, True]


def test_a_criterion_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match="exactly one of at_most and at_least"):
        Criterion()
    with pytest.raises(ValueError, match="exactly one"):
        Criterion(at_most=1, at_least=0)
    with pytest.raises(ValueError, match="evaluations must be 1 or more"):
        Criterion(at_most=1, evaluations=0)
    with pytest.raises(ValueError, match="recorded: label_excess"):
        decide_outcomes(tiny_history([[1, 1]], [("budget", 50)]), Criterion("label_los", at_most=1))


def test_a_threshold_of_zero_is_a_threshold():
    assert decide_outcomes(tiny_history([[1, 0, 0]], [("budget", 100)]), Criterion(at_most=0.0)).upper_R[0] == 50
