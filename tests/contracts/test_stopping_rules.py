"""The contract of pipeline.stopping.base.StoppingRule, clause by clause, over the registry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar

import numpy as np
import pytest

from pipeline.stopping.base import STOPPING_RULES, RunPrefix, StoppingRule


def shown(losses, converged_index=None):
    steps = np.arange(1, len(losses) + 1) * 50
    values = {"label_loss": np.array(losses, float), "probe_loss": np.array(losses, float)}
    return RunPrefix("a" * 16, 1000, steps, values, steps, converged_index, 2)


PREFIXES = [([1.0] * length, index) for length in range(6) for index in (None, *range(length))]


def check_1_the_answer_depends_on_what_was_seen_alone(cls):
    rule = cls.tiny()
    for losses, index in PREFIXES:
        assert rule.should_stop(shown(losses, index)) is cls.tiny().should_stop(shown(losses, index))


def check_2_a_run_without_records_goes_on(cls):
    assert cls.tiny().should_stop(shown([])) is False


def check_3_what_was_recorded_is_untouched(cls):
    for losses, index in PREFIXES:
        prefix = shown(losses, index)
        for array in (prefix.steps_T, prefix.eval_steps_E, *prefix.values.values()):
            # Writing to it raises.
            array.setflags(write=False)
        cls.tiny().should_stop(prefix)


def check_4_a_run_is_called_converged_only_where_it_is(cls):
    rule = cls.tiny()
    for prefix in (shown(losses, index) for losses, index in PREFIXES):
        if rule.should_stop(prefix):
            assert rule.reason_of(prefix) in (
                ("stopped",) if prefix.converged_index is None else ("converged", "stopped")
            )


CHECKS = [
    check_1_the_answer_depends_on_what_was_seen_alone,
    check_2_a_run_without_records_goes_on,
    check_3_what_was_recorded_is_untouched,
    check_4_a_run_is_called_converged_only_where_it_is,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", STOPPING_RULES)
def test_every_stopping_rule_keeps_its_contract(name, check):
    check(STOPPING_RULES[name])


class Broken(StoppingRule):
    """Calls whatever it sees converged, overwrites it, and stops runs that have shown nothing."""

    name = "broken"
    reason = "converged"
    times: ClassVar[Iterator[int]] = count()

    def should_stop(self, prefix):
        """Alternates, after the first steps were overwritten."""
        prefix.steps_T[:1] = 0
        return next(self.times) % 2 == 0


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_rule_that_breaks_a_clause_fails_its_check(check):
    with pytest.raises((AssertionError, ValueError)):
        check(Broken)


@pytest.mark.parametrize(
    ("num_evaluations", "converged_index", "stops"),
    [(3, None, False), (3, 1, False), (4, 1, False), (5, 1, True), (4, 0, True), (2, 0, False)],
)
def test_after_convergence_waits_two_evaluations_after_the_streak(num_evaluations, converged_index, stops):
    rule = STOPPING_RULES["after_convergence"]()
    assert rule.should_stop(shown([0.01] * num_evaluations, converged_index)) is stops


def test_run_to_budget_never_stops():
    assert STOPPING_RULES["run_to_budget"]().should_stop(shown([0.0] * 20, 0)) is False
