"""The contract of stopping rules over the registry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar

import pytest

from pipeline.contracts.stopping_rules import STOPPING_CONTRACT, prefix_of
from pipeline.stopping.base import STOPPING_RULES, StoppingRule


@pytest.mark.parametrize("check", STOPPING_CONTRACT.checks, ids=lambda check: check.__name__)
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


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        (1, "`should_stop` says True after 0 evaluations, not converged, and False when"),
        (2, "`should_stop` says True of a run that has recorded nothing"),
        (3, "read-only"),
        (4, "`reason_of` says 'converged' after 0 evaluations, not converged"),
    ],
)
def test_a_rule_that_breaks_a_clause_is_told_so(clause, told, monkeypatch):
    monkeypatch.setattr(Broken, "times", count())
    with pytest.raises((AssertionError, ValueError), match=told):
        STOPPING_CONTRACT.checks[clause - 1](Broken)


@pytest.mark.parametrize(
    ("num_evaluations", "converged_index", "stops"),
    [(3, None, False), (3, 1, False), (4, 1, False), (5, 1, True), (4, 0, True), (2, 0, False)],
)
def test_after_convergence_waits_two_evaluations_after_the_streak(num_evaluations, converged_index, stops):
    rule = STOPPING_RULES["after_convergence"]()
    assert rule.should_stop(prefix_of([0.01] * num_evaluations, converged_index)) is stops


def test_run_to_budget_never_stops():
    assert STOPPING_RULES["run_to_budget"]().should_stop(prefix_of([0.0] * 20, 0)) is False
