"""Every numbered clause of a contract has its check, in the contract's order, and every check its clause."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.contracts.predictors import PREDICTOR_CONTRACT
from analysis.contracts.statistics import STATISTIC_CONTRACT
from pipeline.contracts.contract import Case, Contract, clause_of, require
from pipeline.contracts.lightning_modules import lightning_contract
from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.contracts.optimisers import OPTIMISER_CONTRACT
from pipeline.contracts.readings import READING_CONTRACT
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.contracts.schedules import SCHEDULE_CONTRACT
from pipeline.contracts.stopping_rules import STOPPING_CONTRACT
from pipeline.contracts.tasks import TASK_CONTRACT

CONTRACTS = {
    "task": (TASK_CONTRACT, 9),
    "model": (MODEL_CONTRACT, 9),
    "optimiser": (OPTIMISER_CONTRACT, 9),
    "schedule": (SCHEDULE_CONTRACT, 6),
    "reading": (READING_CONTRACT, 6),
    "stopping": (STOPPING_CONTRACT, 4),
    "statistic": (STATISTIC_CONTRACT, 5),
    "predictor": (PREDICTOR_CONTRACT, 8),
    "run": (RUN_CONTRACT, 4),
    "lightning": (lightning_contract(None), 6),
}


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_clause_has_its_check_in_order(kind):
    contract, num_clauses = CONTRACTS[kind]
    checked = [clause_of(check) for check in contract.checks]
    assert list(contract.clauses()) == list(range(1, num_clauses + 1))
    assert list(dict.fromkeys(checked)) == list(contract.clauses())
    assert checked == sorted(checked)
    assert all(sentence.endswith(".") for sentence in contract.clauses().values())


STATEMENT = """What holds.

    1. It holds
       in two lines.
    2. It holds, too.

    What follows is no clause.
    """


def _check_1_of_what_is_small(number):
    require(number < 3, f"{number} is not small")


def _check_2_of_what_can_be_divided(number):
    assert 1 / number


SMALL = Contract(
    STATEMENT,
    (_check_1_of_what_is_small, _check_2_of_what_can_be_divided),
    lambda cls: [Case(f"with {number}", (number,)) for number in cls.numbers],
)


class Sound:
    """Breaks nothing."""

    numbers = (1, 2)


class Unsound:
    """Breaks both clauses, and the first one twice."""

    numbers = (1, 5, 7, 0)


class Untried:
    """Goes with nothing."""

    numbers = ()


def test_a_clause_is_a_sentence_of_one_line():
    assert SMALL.clauses() == {1: "It holds in two lines.", 2: "It holds, too."}


def test_a_broken_clause_is_told_once_with_its_sentence_its_case_and_where_the_class_is():
    assert list(SMALL.broken(Sound)) == []
    first, second = SMALL.broken(Unsound)
    assert (first.number, first.sentence, first.case) == (1, "It holds in two lines.", "with 5")
    assert first.told == "5 is not small"
    assert (second.number, second.case, second.told) == (2, "with 0", "ZeroDivisionError: division by zero")
    file, _, line = second.place.rpartition(":")
    assert file == __file__
    # The line of this file that raised it.
    assert "1 / number" in Path(file).read_text().splitlines()[int(line) - 1]


def test_a_class_that_cannot_be_tried_is_no_sound_one():
    (found,) = SMALL.broken(Untried)
    assert found.number is None
    assert "no registered task and model go with it" in found.told
