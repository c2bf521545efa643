"""What the documents of a results folder must look like, checked before anything is done with what they say.

A seal shows damage, not who sealed it: a document may be whole and still hold other fields, types or ids than seedbed
writes. Names that become paths are the reason for most of these checks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# A shape is a type, a pattern of text, [shape] for a list of such items, (shape, ...) for any of these, {str: shape} or
# {pattern: shape} for a mapping with any such keys, {"key": shape, "key?": shape} for one with these keys and maybe
# others, or one of the classes below.
Shape = Any
# Ids and file names are parts of paths.
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to what 64 bits hold."""

    least: int = 0


@dataclass(frozen=True)
class Exactly:
    """A mapping that has no other keys than these."""

    keys: Mapping[str, Shape]


@dataclass(frozen=True)
class Row:
    """A list of exactly these items."""

    items: tuple[Shape, ...]


@dataclass(frozen=True)
class Some:
    """A list of at least one item."""

    item: Shape


COUNT, POSITIVE = Whole(), Whole(1)
NUMBER = (int, float)

_FILE = Exactly({"name": FILE_NAME, "sha256": SHA256})
_ENTRY = Exactly({"run_id": ID, "step": COUNT, "kind": ("state", "weights", "attention"), "sha256": str})
_COMPUTED_BY = {"sources?": [str], "slots?": [POSITIVE]}
_END = {"reason": str, "step": COUNT, "is_converged": bool}
_END_OF_RUN = Exactly({**_END, "weights_sha256": str, **_COMPUTED_BY, "cause?": str})
_COLUMNS = {"run_ids": str, "kind_of": (COUNT, [COUNT])}
_DIGESTS = (str, [str])
_ENDED = Exactly(
    {
        **_COLUMNS,
        "kinds": [Exactly({**_END, "sources": [str], "slots": [POSITIVE], "cause": str})],
        "weights_sha256": _DIGESTS,
    }
)
_ENTRIES = Exactly({**_COLUMNS, "kinds": [Row((COUNT, ("state", "weights", "attention")))], "sha256": _DIGESTS})
_OF_RECORDS = {
    "sweep_id": str,
    "pack_id": str,
    "attempt": COUNT,
    "sequence": COUNT,
    "checkpoint": (None, _FILE),
    "history": [_FILE],
    "history_times?": [Row((NUMBER, NUMBER))],
    "active": {ID: Exactly({"slot": Whole(-1), "step": COUNT, **_COMPUTED_BY})},
    "run_steps": COUNT,
    "wall_s": NUMBER,
    "answer?": str,
    "sources?": str,
    "processor?": str,
    "slots?": COUNT,
}
RECORD: Shape = {**_OF_RECORDS, "snapshots": [Row((_FILE, _ENTRIES))], "ended": _ENDED}
RECORD_BY_RUN: Shape = {**_OF_RECORDS, "snapshots": [Row((_FILE, [_ENTRY]))], "ends": {ID: _END_OF_RUN}}

WORKER: Shape = Exactly(
    {
        "worker": ID,
        "host": str,
        "process": COUNT,
        "beats": COUNT,
        "beat_s": NUMBER,
        "pack_id": (None, ID),
        "attempt": COUNT,
        "num_packs": COUNT,
    }
)

_SCALAR = (None, bool, *NUMBER, str)
_TRIAL = Exactly(
    {
        "setting": (None, {str: (_SCALAR, [_SCALAR])}),
        "first": (None, *NUMBER),
        "kept": bool,
        "audited": bool,
        "num_seeds": COUNT,
        "value": (None, *NUMBER),
    }
)
SEARCH_DOCUMENT: Shape = {"format": POSITIVE, "search": dict, "versions": {str: str}, "rounds": [[_TRIAL]]}

SWEEP: Shape = {
    "sweep_id": ID,
    "name": str,
    "spec": dict,
    "source": str,
    "launches": Some({"git_commit?": (None, str), "code?": (None, {str: str}), "accepts_changed_code?": bool}),
    "plan": re.compile(r"plan-[0-9a-f]{16}\.json"),
}
_NUMERICS = Exactly(
    {
        "slots": POSITIVE,
        "dtype": str,
        "device": str,
        "threads": POSITIVE,
        "torch": str,
        "program?": str,
        "engine?": str,
        "matmul_precision?": str,
    }
)
_STEPS = {
    "budget": POSITIVE,
    "grid": {"chunk": POSITIVE, "eval_steps": Some(COUNT), "probe_steps": [COUNT]},
    "windows?": [Row((NUMBER, COUNT))],
}
_RUN = {
    "run_id": ID,
    "setting_id": ID,
    "init_seed": COUNT,
    "data_seed": COUNT,
    "parent?": ID,
    "fork_step?": COUNT,
    "changes?": dict,
}
_PACK = {"pack_id": ID, "run_ids": Some(ID), "numerics": _NUMERICS, "reason": str}
PLAN: Shape = {
    "name": str,
    "readings?": [str],
    "varied": [str],
    "settings": {ID: dict},
    "runs": Some(_RUN),
    "packs": Some(_PACK),
}
# The same with runs by columns, and packs of places in them.
_RUNS_BY_COLUMN = Exactly(dict.fromkeys(("run_ids", "settings", "init_seeds", "data_seeds"), str))
_PACK_BY_COLUMN = Exactly({"pack_id": ID, "run_ids": str, "numerics": _NUMERICS, "reason": str})
PLAN_BY_COLUMN: Shape = {**PLAN, "runs": _RUNS_BY_COLUMN, "packs": Some(_PACK_BY_COLUMN)}
PACK_RUNS_BY_COLUMN: Shape = Exactly({"settings": {ID: dict}, "runs": _RUNS_BY_COLUMN, "pack": _PACK_BY_COLUMN})
PACK_RUNS: Shape = Exactly({"pack": _PACK, "runs": Some(_RUN)})
ADDED: Shape = {"file": FILE_NAME, "sha256": SHA256, "about": {"cost?": NUMBER, "step?": COUNT}}
_SHARE = (None, int, float)
FORECAST_DOCUMENT: Shape = Exactly(
    {
        "format": COUNT,
        "made_at": re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z"),
        "orders": {ID: Row((COUNT, COUNT))},
        "num_runs": COUNT,
        "num_in_training": COUNT,
        "forecasts": {
            "budget": (COUNT, {ID: COUNT}),
            "runs": [{"run_id": ID, "converged": _SHARE}],
            "windows": [{"fraction": NUMBER, "num_finished": COUNT}],
        },
    }
)
# A row of it with probabilities, and one without.
FORECAST_WITH: Shape = {
    "step": COUNT,
    "window": NUMBER,
    "converged": NUMBER,
    "diverged": NUMBER,
    **dict.fromkeys(("low", "median", "high"), (None, int, float, str)),
}
FORECAST_WITHOUT: Shape = {"problem": str}
_MAYBE = dict.fromkeys(("auroc", "low", "high", "brier_floor", "brier_low", "brier_high"), _SHARE)
_COUNTS = dict.fromkeys(("step", "parents", "children", "num_at_risk", "num_left_out?"), COUNT)
CEILING: Shape = {"rows": [{"window": NUMBER, **_MAYBE, **_COUNTS, "q": {ID: NUMBER}}]}
_INTERVAL = Row((_SHARE, _SHARE, _SHARE))
# What is read of an analysis: that of a sweep whose seeds leave nothing to forecast from has no evaluation.
ANALYSIS: Shape = {
    "runs": [{"run_id": ID, "fold?": COUNT}],
    "evaluation": (
        None,
        {
            "primary?": str,
            "windows": [
                {
                    "fraction": NUMBER,
                    "num_scored": COUNT,
                    "scores": {str: {"auroc_within": _INTERVAL}},
                    "calibration?": [{"forecast": NUMBER, "share": _INTERVAL, "num_runs": COUNT}],
                }
            ],
        },
    ),
}
LEDGER: Shape = {"entries": {str: Exactly({"step": Whole(-1), "reason": str, "folders": [str]})}}


def misfit(value: Any, shape: Shape, place: str = "") -> str | None:
    """Where a value is not of a shape, and what should be there, in a clause; None where all of it is."""
    # Most shapes are, and a folder of thousands of records is looked at in a second.
    if type(shape) in (type, Whole, re.Pattern) and _is(value, shape):
        return None
    if isinstance(shape, dict | Exactly) and isinstance(value, dict):
        return _in_mapping(value, shape, place)
    if isinstance(shape, list | Some) and isinstance(value, list) and (value or isinstance(shape, list)):
        item = shape[0] if isinstance(shape, list) else shape.item
        if _fit_by_column(value, item):
            return None
        return _first((misfit(each, item, f"{place}[{index}]") for index, each in enumerate(value)))
    if isinstance(shape, Row) and isinstance(value, list) and len(value) == len(shape.items):
        pairs = enumerate(zip(value, shape.items, strict=True))
        return _first((misfit(each, item, f"{place}[{index}]") for index, (each, item) in pairs))
    if isinstance(shape, tuple):
        is_one = any((problem := misfit(value, each, place)) is None for each in shape)
        return None if is_one else problem
    return None if _is(value, shape) else f"{place or 'it'} must be {_name(shape)}, given {_shown(value)}"


def plan_misfit(plan: Mapping[str, Any]) -> str | None:
    """The same of a plan document, with what its parts say of one another: runs, settings, packs and budgets."""
    parts = [plan] if "budget" in plan else plan.get("budgets")
    is_by_column = isinstance(plan.get("runs"), dict)
    problem = misfit(plan, PLAN_BY_COLUMN if is_by_column else PLAN) or misfit(parts, Some(_STEPS), "budgets")
    if problem is None and "budget" not in plan:
        problem = misfit(parts, [{"settings": [ID]}], "budgets")
    if problem is not None:
        return problem
    packs = [pack["pack_id"] for pack in plan["packs"]]
    if len({*packs}) < len(packs):
        return "runs and packs must have ids of their own"
    if (problem := _in_packs_misfit(plan, is_by_column)) is not None:
        return problem
    settings = plan["settings"].keys()
    in_parts = (
        [*settings] if "budget" in plan else [setting for part in plan["budgets"] for setting in part["settings"]]
    )
    # Of columns the settings of runs are numbers, which are checked when they are looked up.
    of_runs = {*()} if is_by_column else {row["setting_id"] for row in plan["runs"]}
    if sorted(in_parts) != sorted(settings) or not settings >= of_runs:
        return "settings must hold the setting of every run, each with one budget"
    return None


def _in_packs_misfit(plan: Mapping[str, Any], is_by_column: bool) -> str | None:
    """Why the packs of a plan do not hold its runs; of columns only their numbers are compared."""
    if is_by_column:
        num_placed = sum(pack["run_ids"].count(" ") + 1 for pack in plan["packs"])
        is_whole = num_placed == plan["runs"]["run_ids"].count(" ") + 1
        return None if is_whole else "packs must hold every run of runs once, and no other"
    known = {row["run_id"] for row in plan["runs"]}
    if len(known) < len(plan["runs"]):
        return "runs and packs must have ids of their own"
    in_packs = [run_id for pack in plan["packs"] for run_id in pack["run_ids"]]
    if len(in_packs) != len(known) or {*in_packs} != known:
        return "packs must hold every run of runs once, and no other"
    return None


def _in_mapping(value: Mapping[str, Any], shape: Any, place: str) -> str | None:
    keys = shape.keys if isinstance(shape, Exactly) else shape
    (first,) = keys if len(keys) == 1 else (None,)
    if first is not None and not isinstance(first, str):
        strange = next((key for key in value if not _is(key, first)), None)
        if strange is not None:
            return f"{place or 'it'} has the key {_shown(strange)}"
        if _fit_by_column([*value.values()], keys[first]):
            return None
        return _first((misfit(each, keys[first], f"{place}.{key}") for key, each in value.items()))
    names = {name.removesuffix("?"): name for name in keys}
    missing = [name for name, key in names.items() if name == key and name not in value]
    strange = next((key for key in value if isinstance(shape, Exactly) and key not in names), None)
    if missing or strange is not None:
        return f"{place or 'it'} " + (f"has no {missing[0]!r}" if missing else f"has the key {_shown(strange)}")
    prefix = f"{place}." if place else ""
    return _first((misfit(value[name], keys[key], prefix + name) for name, key in names.items() if name in value))


def _fit_by_column(values: list[Any], shape: Shape) -> bool:
    """Whether all values fit, looked at column by column where they are mappings with the same keys.

    A million rows are checked so in a few seconds. False leaves it open: which value does not fit is for `misfit`.
    """
    kinds = {*map(type, values)}
    if isinstance(shape, re.Pattern):
        return kinds <= {str} and all(map(shape.fullmatch, values))
    if isinstance(shape, Whole):
        return kinds == {int} and shape.least <= min(values) and max(values) < 2**63
    if isinstance(shape, type) and shape in (str, bool, dict):
        return kinds == {shape}
    if isinstance(shape, tuple):
        # Words of a fixed list.
        return kinds == {str} and {*values} <= {*shape}
    if isinstance(shape, list):
        return kinds == {list} and _fit_by_column([item for value in values for item in value], shape[0])
    keys = shape.keys if isinstance(shape, Exactly) else shape
    if kinds != {dict} or not isinstance(keys, dict) or misfit(values[0], shape) is not None:
        return False
    own, names = values[0].keys(), {name.removesuffix("?"): name for name in keys if isinstance(name, str)}
    if len(names) < len(keys) or any(value.keys() != own for value in values):
        return False
    return all(_fit_by_column([value[name] for value in values], keys[names[name]]) for name in own & names.keys())


def _first(problems: Iterable[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _is(value: Any, shape: Shape) -> bool:
    if isinstance(shape, re.Pattern):
        return isinstance(value, str) and shape.fullmatch(value) is not None
    if isinstance(shape, Whole):
        return type(value) is int and shape.least <= value < 2**63
    if isinstance(shape, type):
        return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return value is None if shape is None else value == shape


def _name(shape: Shape) -> str:
    if isinstance(shape, Whole):
        return f"a whole number of at least {shape.least}"
    if isinstance(shape, re.Pattern):
        return f"text like {shape.pattern}"
    if isinstance(shape, type):
        return {str: "text", dict: "a mapping", bool: "true or false", int: "a number", float: "a number"}[shape]
    if isinstance(shape, Row):
        return f"a list of {len(shape.items)}"
    return "a list of at least one" if isinstance(shape, Some) else "a list" if isinstance(shape, list) else "a mapping"


def _shown(value: Any) -> str:
    shown = value[:61] if isinstance(value, str) else value
    text = json.dumps(shown) if not isinstance(value, dict | list) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
