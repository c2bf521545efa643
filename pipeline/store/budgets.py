"""The budgets of a plan document: the most steps of each run, and the evaluations and windows that a budget fixes.

A document of one budget names `budget`, `grid` and `windows` itself. One of several has them, and the ids of the
settings, in a list `budgets` instead: whatever compares runs by step is then about the runs of one budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.store.pack_store import StoreError


@dataclass(frozen=True)
class BudgetPart:
    """The part of a plan that has one budget: its steps of evaluation, its windows, the rows and paths of its runs.

    `windows` are (share of the budget, step) pairs; `varied` names the hyperparameters that differ inside the part.
    """

    budget: int
    eval_steps: tuple[int, ...]
    windows: tuple[tuple[float, int], ...]
    rows: tuple[Mapping[str, Any], ...]
    varied: tuple[str, ...]


def parts_of(plan: Mapping[str, Any]) -> tuple[BudgetPart, ...]:
    """The parts of a plan document, by increasing budget; one for a plan of one budget."""
    if "budget" in plan:
        return (_part(plan, plan, plan["settings"]),)
    return tuple(_part(plan, part, part["settings"]) for part in plan["budgets"])


def part_of(plan: Mapping[str, Any], budget: int | None = None) -> BudgetPart:
    """The part with this budget; None: the only one. Raises StoreError, naming the budgets, where that is none."""
    parts = parts_of(plan)
    found = [part for part in parts if budget in (None, part.budget)]
    if len(found) == 1:
        return found[0]
    has = f"sweep {plan['name']} has runs with budgets of {budgets_text(plan)} steps"
    if budget is None:
        raise StoreError(f"{has}, which are not compared step by step: choose one with --budget")
    raise StoreError(f"{has}, none with {budget}; --budget takes one of these")


def budget_by_run(plan: Mapping[str, Any]) -> dict[str, int]:
    """run_id -> the most steps that the run may take, in the order of the plan."""
    if "budget" in plan:
        return dict.fromkeys([row["run_id"] for row in plan["runs"]], plan["budget"])
    found = {row["run_id"]: part.budget for part in parts_of(plan) for row in part.rows}
    return {row["run_id"]: found[row["run_id"]] for row in plan["runs"]}


def budgets_of(plan: Mapping[str, Any]) -> tuple[int, ...]:
    """The budgets, increasing."""
    return tuple(part["budget"] for part in ([plan] if "budget" in plan else plan["budgets"]))


def budgets_text(plan: Mapping[str, Any]) -> str:
    """`600`, `600 and 1200`, or `300, 600 and 1200`."""
    return in_words(budgets_of(plan))


def in_words(budgets: Iterable[int]) -> str:
    """The same of any budgets."""
    *others, last = map(str, budgets)
    return f"{', '.join(others)} and {last}" if others else last


def budgets_json(plan: Mapping[str, Any]) -> int | dict[str, int]:
    """The budget as a plain value; of several, setting_id -> budget. Equal for plans whose runs end alike."""
    if "budget" in plan:
        return int(plan["budget"])
    return {setting: part["budget"] for part in plan["budgets"] for setting in part["settings"]}


def _part(plan: Mapping[str, Any], steps: Mapping[str, Any], settings: Any) -> BudgetPart:
    known = set(settings)
    own = [plan["settings"][setting] for setting in plan["settings"] if setting in known]
    differing = (path for path in plan["varied"] if len({repr(setting.get(path)) for setting in own}) > 1)
    return BudgetPart(
        budget=steps["budget"],
        eval_steps=tuple(steps["grid"]["eval_steps"]),
        # Plans of an earlier version name no windows.
        windows=tuple((share, step) for share, step in steps.get("windows", ())),
        rows=tuple(row for row in plan["runs"] if row["setting_id"] in known),
        varied=tuple(plan["varied"] if steps is plan else differing),
    )
