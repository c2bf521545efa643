"""The contract of stopping rules, clause by clause, over the registry."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.stopping.base import STOPPING_RULES, Seen


def shown(losses, converged_index=None):
    steps = np.arange(1, len(losses) + 1) * 50
    return Seen("a" * 16, 1000, steps, {"label_loss": np.array(losses, float)}, steps, converged_index, 2)


@pytest.mark.parametrize("name", STOPPING_RULES)
class TestContract:
    def test_the_answer_depends_on_what_was_seen_alone(self, name):
        rule, seen = STOPPING_RULES[name](), shown([1.0, 0.01, 0.01, 0.01, 0.01], 1)
        before = seen.values["label_loss"].copy()
        assert rule.should_stop(seen) == STOPPING_RULES[name]().should_stop(seen) == rule.should_stop(seen)
        assert np.array_equal(seen.values["label_loss"], before)

    def test_a_run_without_records_goes_on(self, name):
        assert STOPPING_RULES[name]().should_stop(shown([])) is False

    def test_the_reason_is_one_that_analysis_knows(self, name):
        assert STOPPING_RULES[name].reason in ("converged", "stopped")


@pytest.mark.parametrize(
    ("num_evaluations", "converged_index", "stops"),
    [(3, None, False), (3, 1, False), (4, 1, False), (5, 1, True), (4, 0, True), (2, 0, False)],
)
def test_after_convergence_waits_two_evaluations_after_the_streak(num_evaluations, converged_index, stops):
    rule = STOPPING_RULES["after_convergence"]()
    assert rule.should_stop(shown([0.01] * num_evaluations, converged_index)) is stops


def test_run_to_budget_never_stops():
    assert STOPPING_RULES["run_to_budget"]().should_stop(shown([0.0] * 20, 0)) is False
