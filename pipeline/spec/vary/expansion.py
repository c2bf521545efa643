"""Cartesian product of factors over a base setting; every setting is validated, errors name the factor responsible.

A factor may give the budget of its settings as well, at the path `budget`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.spec.errors import dotted, shown
from pipeline.spec.messages import spec_problems
from pipeline.spec.parameters import Parameters
from pipeline.spec.registered import Location, Problem
from pipeline.spec.run_config import Setting, path_problem
from pipeline.spec.sections import Budget
from pipeline.spec.vary.factors import MAX_VALUES, Factor, Listed, Zipped

_MOST_PROBLEMS = 20
_MOST_INVALID = 500
BUDGET = "budget"


class _Change(NamedTuple):
    """One value at one dotted path, and the place in the spec that stated it."""

    path: str
    value: Any
    place: Location


class Expansion(NamedTuple):
    """Settings, no two equal, the budget of each, and where a spec first stated each budget that a factor gave."""

    settings: tuple[Setting, ...]
    budgets: tuple[int, ...]
    places: Mapping[int, Location]


class _OfBudget(Parameters):
    budget: Budget


def expanded(base: Setting, budget: int, factors: Sequence[Factor]) -> tuple[Expansion, list[Problem]]:
    """Every combination of the factors' rows applied to `base`, the last factor moving fastest; no two are equal.

    `budget` is that of the settings to which no factor gives one. Returns no settings where there are problems, each at
    a place such as ("vary", 0, "model.head_width", 1).
    """
    nothing = Expansion((), (), {})
    wrong = [*_path_problems(base, factors), *_budget_problems(factors)]
    total = math.prod(len(factor) for factor in factors)
    if total > MAX_VALUES:
        wrong.append((("vary",), f"gives {total} settings; at most {MAX_VALUES} are taken", total))
    if wrong:
        return nothing, wrong
    found: dict[str, tuple[int, Setting]] = {}
    budgets: list[int] = []
    places: dict[int, Location] = {}
    num_invalid = 0
    columns = [list(_rows(index, factor)) for index, factor in enumerate(factors)]
    for number, combination in enumerate(itertools.product(*columns)):
        changes = list(itertools.chain.from_iterable(combination))
        try:
            setting = base.changed({change.path: change.value for change in changes if change.path != BUDGET})
        except ValidationError as error:
            num_invalid += 1
            wrong += [problem for problem in _blamed(error, base, changes) if problem not in wrong]
            if len(wrong) >= _MOST_PROBLEMS or num_invalid >= _MOST_INVALID:
                break
            continue
        first, _ = found.setdefault(setting.canonical, (number, setting))
        if first != number:
            message = f"settings number {first} and {number} are the same, and so are their runs: {_stated(changes)}"
            if any(change.path == BUDGET for change in changes):
                message += " (another budget does not make another run)"
            wrong.append((("vary",), message, number))
            break
        own = next((change for change in changes if change.path == BUDGET), None)
        budgets.append(budget if own is None else own.value)
        if own is not None:
            places.setdefault(own.value, own.place)
    if wrong:
        return nothing, wrong
    return Expansion(tuple(setting for _, setting in found.values()), tuple(budgets), places), []


def _rows(index: int, factor: Factor) -> Iterator[list[_Change]]:
    for number, row in enumerate(factor.rows()):
        yield [_Change(path, value, _place(index, factor, path, number)) for path, value in row.items()]


def _place(index: int, factor: Factor, path: str, number: int) -> Location:
    if not isinstance(factor, Zipped):
        return ("vary", index, "random", path)
    place = ("vary", index, path)
    return (*place, number) if isinstance(factor.axes[path], Listed) else place


def _path_problems(base: Setting, factors: Sequence[Factor]) -> Iterator[Problem]:
    """Paths that do not exist, are set twice, or are overwritten by a later factor."""
    earlier: list[str] = []
    for index, factor in enumerate(factors):
        for path in factor.paths():
            place = _place(index, factor, path, 0)[: 3 if isinstance(factor, Zipped) else 4]
            head = path.partition(".")[0]
            is_replaced = head in earlier and head != BUDGET
            problem = None if is_replaced and path not in earlier else path_problem(path, base, others=(BUDGET,))
            overwritten = [old for old in earlier if old == path or old.startswith(f"{path}.")]
            if problem is not None:
                yield place, problem, path
            elif overwritten:
                yield place, f"leaves {overwritten[0]} without effect, which an earlier factor sets", path
            earlier.append(path)


def _budget_problems(factors: Sequence[Factor]) -> Iterator[Problem]:
    """Values at the path `budget` that are no budgets."""
    for index, factor in enumerate(factors):
        for number, row in enumerate(factor.rows() if BUDGET in factor.paths() else ()):
            try:
                _OfBudget.model_validate({BUDGET: row[BUDGET]})
            except ValidationError as error:
                for _, message, given in spec_problems(error, _OfBudget, row):
                    yield _place(index, factor, BUDGET, number), message, given


def _blamed(error: ValidationError, base: Setting, changes: list[_Change]) -> Iterator[Problem]:
    """The problems of one setting at the places of the changes that made them."""
    data = {**base.as_dict, **{change.path: change.value for change in changes if "." not in change.path}}
    for place, message, given in spec_problems(error, Setting, data):
        change, rest = _culprit(place, changes)
        if rest is None:
            yield change.place, f"{message}, in the setting {_stated(changes)}", given
        else:
            yield (*change.place, *rest), message, given


def _culprit(place: Location, changes: list[_Change]) -> tuple[_Change, Location | None]:
    """The change that set `place`, with the rest of the place; or the nearest change, with None."""
    for change in reversed(changes):
        section, _, name = change.path.partition(".")
        parts: Location = (section, name) if name else (section,)
        if place[: len(parts)] == parts:
            return change, place[len(parts) :]
    nearby = [change for change in changes if place and change.path.partition(".")[0] == place[0]]
    return (nearby or changes)[-1], None


def _stated(changes: list[_Change]) -> str:
    return ", ".join(f"{dotted((change.path,))}={shown(change.value)}" for change in changes) or "the base"
