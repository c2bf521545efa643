"""The contract of `pipeline.stopping.base.StoppingRule`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.contracts.contract import Case, Contract, require
from pipeline.stopping.base import RunPrefix, StoppingRule


def prefix_of(losses: Sequence[float], converged_index: int | None = None) -> RunPrefix:
    """What a run has recorded that was evaluated every 50 steps, with these losses."""
    steps = np.arange(1, len(losses) + 1) * 50
    values = {"label_loss": np.array(losses, float), "probe_loss": np.array(losses, float)}
    return RunPrefix("a" * 16, 1000, steps, values, steps, converged_index, 2)


_PREFIXES = [([1.0] * length, index) for length in range(6) for index in (None, *range(length))]


def _shown(losses: Sequence[float], index: int | None) -> str:
    when = "not converged" if index is None else f"converged at evaluation {index + 1}"
    return f"{len(losses)} evaluations, {when}"


def _check_1_the_answer_depends_on_what_was_seen_alone(cls: type[StoppingRule]) -> None:
    rule = cls.tiny()
    for losses, index in _PREFIXES:
        found, again = rule.should_stop(prefix_of(losses, index)), cls.tiny().should_stop(prefix_of(losses, index))
        told = f"`should_stop` says {found} after {_shown(losses, index)}, and {again} when a new one is asked"
        require(found is again, told)


def _check_2_a_run_without_records_goes_on(cls: type[StoppingRule]) -> None:
    found = cls.tiny().should_stop(prefix_of([]))
    require(found is False, f"`should_stop` says {found!r} of a run that has recorded nothing")


def _check_3_what_was_recorded_is_untouched(cls: type[StoppingRule]) -> None:
    for losses, index in _PREFIXES:
        prefix = prefix_of(losses, index)
        for array in (prefix.steps_T, prefix.eval_steps_E, *prefix.values.values()):
            # Writing to it raises.
            array.setflags(write=False)
        cls.tiny().should_stop(prefix)


def _check_4_a_run_is_called_converged_only_where_it_is(cls: type[StoppingRule]) -> None:
    rule = cls.tiny()
    for losses, index in _PREFIXES:
        prefix = prefix_of(losses, index)
        if rule.should_stop(prefix):
            reason = rule.reason_of(prefix)
            valid = ("stopped",) if index is None else ("converged", "stopped")
            require(reason in valid, f"`reason_of` says {reason!r} after {_shown(losses, index)}")


def _cases(cls: type[StoppingRule]) -> list[Case]:
    return [Case("", (cls,))]


STOPPING_CONTRACT = Contract(
    StoppingRule.__doc__ or "",
    (
        _check_1_the_answer_depends_on_what_was_seen_alone,
        _check_2_a_run_without_records_goes_on,
        _check_3_what_was_recorded_is_untouched,
        _check_4_a_run_is_called_converged_only_where_it_is,
    ),
    _cases,
)
