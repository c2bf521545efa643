"""The contract of readings over the registry, and every model and task."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from pipeline.contracts.readings import READING_CONTRACT
from pipeline.readings.base import READINGS, Reading

CASES = {f"{name} {case.label}": case for name, cls in READINGS.items() for case in READING_CONTRACT.cases(cls)}


@pytest.mark.parametrize("check", READING_CONTRACT.checks, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_every_reading_keeps_its_contract(case, check):
    check(*CASES[case].arguments)


def test_every_reading_can_read_some_model():
    assert {case.arguments[0].name for case in CASES.values()} == set(READINGS)


class Sound(Reading):
    """The norm of all weights, for what follows to break."""

    name: ClassVar[str] = "sound"

    @classmethod
    def unsuitable(cls, task, model):
        """Every model can be read."""

    def __call__(self, weights):
        """One number."""
        return {"sound.norm": torch.cat([value.flatten(1) for value in weights.parameters.values()], 1).norm(dim=1)}


class Silent(Sound):
    """Says no word on why it reads nothing."""

    @classmethod
    def unsuitable(cls, task, model):
        """Nothing."""
        return ""


class Nameless(Sound):
    """Leaves out its name."""

    def __call__(self, weights):
        """The same number."""
        return {"norm": super().__call__(weights)["sound.norm"]}


class Crowded(Sound):
    """Measures a run by the others."""

    def __call__(self, weights):
        """The norm less the mean of all."""
        (norm,) = super().__call__(weights).values()
        return {"sound.norm": norm - norm.mean()}


class Rough(Sound):
    """Draws a random number."""

    def __call__(self, weights):
        """The same number."""
        torch.rand(1)
        return super().__call__(weights)


class Based(Sound):
    """Reads an entry of a head's query matrix."""

    def __call__(self, weights):
        """One entry."""
        return {"sound.entry": weights.parameters["layer0.query"][:, 0, 0]}


class Blind(Sound):
    """Gives a number where there is none."""

    def __call__(self, weights):
        """The norm of what is finite."""
        parameters = {name: value.nan_to_num() for name, value in weights.parameters.items()}
        return super().__call__(replace(weights, parameters=parameters))


def test_the_checks_pass_a_reading_that_is_sound():
    for check in READING_CONTRACT.checks:
        check(Sound, "dictionary_lookup", "attention_only")


@pytest.mark.parametrize(
    ("broken", "clause", "told"),
    [
        (Silent, 1, "`unsuitable` says ''"),
        (Nameless, 2, "a metric is called 'norm'"),
        (Crowded, 3, "sound.norm of runs"),
        (Rough, 4, "draws from a random generator"),
        (Based, 5, "sound.entry is .* once heads and their bases are turned"),
        (Blind, 6, "sound.norm is a number where all weights are NaN"),
    ],
)
def test_a_reading_that_breaks_a_clause_is_told_so(broken, clause, told):
    with pytest.raises(AssertionError, match=told):
        READING_CONTRACT.checks[clause - 1](broken, "dictionary_lookup", "attention_only")
