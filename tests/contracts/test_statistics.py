"""The contract of statistics over the registry."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis.contracts.statistics import STATISTIC_CONTRACT
from analysis.statistics.base import STATISTICS, Statistic, column


@pytest.mark.parametrize("check", STATISTIC_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_keeps_its_contract(name, check):
    check(STATISTICS[name]())


class Newest(Statistic):
    """The newest finite value of each metric, and by its flags one clause broken."""

    name = "newest"
    broken = 0

    def __call__(self, window):
        """A column for each metric."""
        found = {}
        for metric, values_RT in window.values.items():
            if self.broken == 2:
                values_RT[:, :1] = 0
            known_RT = np.where(np.isfinite(values_RT), values_RT, np.nan)
            found[column(self.name, metric)] = np.array([self.newest(known_T) for known_T in known_RT])
            if self.broken == 4:
                found[column(self.name, metric)] -= np.nansum(found[column(self.name, metric)])
        return {"": np.zeros(len(window.runs))} if self.broken == 1 else found

    def newest(self, known_T):
        """The last number of a run, NaN without one."""
        known_T = known_T[np.isfinite(known_T)]
        return known_T[-1] if len(known_T) else (np.inf if self.broken == 5 else np.nan)


def test_the_checks_pass_a_statistic_that_is_sound():
    for check in STATISTIC_CONTRACT.checks:
        check(Newest())


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        (1, "a column has no name"),
        (2, "label_|loss.* of the window|changes the second time"),
        (4, "changes once 1 of 15 runs are dropped"),
        (5, "it gives an infinity where all values are nan"),
    ],
)
def test_a_statistic_that_breaks_a_clause_is_told_so(clause, told, monkeypatch):
    monkeypatch.setattr(Newest, "broken", clause)
    found = {broken.number: broken for broken in STATISTIC_CONTRACT.broken(Newest)}
    assert re.search(told, found[clause].told), found[clause].told
