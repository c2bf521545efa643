"""What a race between settings loses: what became of those that it would have stopped and did not, by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.uncertainty.intervals import Estimate, wilson


@dataclass(frozen=True)
class Raced:
    """A setting after its race: whether it was `kept` for what it did, or `audited`, and its last objective."""

    kept: bool
    audited: bool
    value: float


@dataclass(frozen=True)
class PruningAudit:
    """Of `num_pruned` settings that did not belong to the best, `num_audited` got all seeds by chance.

    `share_better` of these came out better than every kept one of their round; `regret` is by how much, in mean
    (those that did not count 0), in units of the objective. `num_without_value` of the audited are in neither: they
    have no value, as where all runs diverge, or no kept setting of their round has one.
    """

    num_pruned: int
    num_audited: int
    num_without_value: int
    share_better: Estimate
    regret: float


def audit_pruning(rounds: Sequence[Sequence[Raced]]) -> PruningAudit:
    """The audit of several rounds, of values of which larger are better; NaN is no value. NaN without an audited one.

    >>> audited = Raced(False, True, 0.75), Raced(False, True, float("nan"))
    >>> found = audit_pruning([[Raced(True, False, 0.5), *audited, Raced(False, False, 0.1)]])
    >>> found.num_pruned, found.num_audited, found.num_without_value, found.share_better.value, found.regret
    (3, 2, 1, 1.0, 0.25)
    """
    gains, num_pruned, num_audited = [], 0, 0
    for settings in rounds:
        best = max((one.value for one in settings if one.kept and not np.isnan(one.value)), default=np.nan)
        pruned = [one for one in settings if not one.kept]
        num_pruned += len(pruned)
        num_audited += sum(one.audited for one in pruned)
        gains += [one.value - best for one in pruned if one.audited and np.isfinite(one.value - best)]
    better = sum(gain > 0 for gain in gains)
    regret = float(np.mean(np.maximum(gains, 0))) if gains else np.nan
    return PruningAudit(num_pruned, num_audited, num_audited - len(gains), wilson(better, len(gains)), regret)
