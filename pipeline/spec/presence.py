"""Which fields a sweep file must have and which it may not, depending on whether its sweep is a fork."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.spec.registered import Problem
from pipeline.spec.run_config import SECTIONS

OF_A_SETTING = (*SECTIONS, "batch_size", "dtype", "streams")
Spec = TypeVar("Spec")
_NEEDED = ("task", "model", "optimiser", "batch_size", "seeds")


def with_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the defaults of a setting, which a fork does not have.

    A model that configures its optimiser needs none, and no schedule.
    """
    defaults: dict[str, Any] = {}
    if data.get("fork") is None:
        defaults = {"schedule": {"name": "constant"}, "dtype": "float32"}
        if _name_in(data, "model") == "lightning":
            defaults["optimiser"] = {"name": "configured"}
        given = {name: value for name, value in data.items() if value is not None}
        if _name_in(defaults | given, "optimiser") == "configured":
            defaults["schedule"] = {"name": "configured"}
    return {**data, **{name: value for name, value in defaults.items() if data.get(name) is None}}


def _name_in(data: Mapping[str, Any], section: str) -> Any:
    """The name that a section gives, as text or as an object; None without one."""
    part = data.get(section)
    return part.get("name") if isinstance(part, Mapping) else getattr(part, "name", None)


def misplaced(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Required fields that are missing, and fields that have no effect in a fork."""
    if data.get("fork") is None:
        for name in _NEEDED:
            if data.get(name) is None:
                yield (name,), "required, but missing", None
    else:
        for name in (*OF_A_SETTING, "vary", "seeds"):
            if data.get(name):
                yield (name,), "has no effect beside fork, whose runs have their parents'; leave it out", data[name]


def rest_of(data: Mapping[str, Any], bad: Collection[str | int], read: Callable[[Any], Spec]) -> Spec | None:
    """The spec that `read` makes without its invalid fields, so that the others can be checked against each other."""
    stand_ins = {"name": "stand-in", "budget": 1}
    kept = {key: value for key, value in data.items() if key not in bad}
    try:
        return read({**{key: value for key, value in stand_ins.items() if key in bad}, **kept})
    except ValidationError:
        return None
