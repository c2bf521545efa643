"""Validation errors of pydantic as messages for users: what was required, what was given, which names are valid."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.spec.errors import shown
from pipeline.spec.registered import REGISTRIES, Location, Problem, class_of, unknown
from pipeline.spec.renamed import former_name
from pipeline.spec.yaml_source import read_scalar

_MOST = 200
_SUBJECT = re.compile("^(Input|String|Tuple|Dictionary) should")
_NUMBERS = ("int_type", "float_type", "int_from_float")


def spec_problems(error: ValidationError, model: type[BaseModel], data: Any) -> list[Problem]:
    """Place, message and what was given, for everything wrong with `data` as a `model`; the first 200 mistakes."""
    found = error.errors(include_url=False)[:_MOST]
    return [(_place(each["loc"]), _message(each, model, data), each["input"]) for each in found]


def _place(location: Location) -> Location:
    """The location without pydantic's marker of an invalid key."""
    return location[:-1] if location and location[-1] == "[key]" else location


def _message(found: Any, model: type[BaseModel], data: Any) -> str:
    kind, given, place = found["type"], found["input"], found["loc"]
    if kind == "spec":
        return str(found["ctx"]["message"])
    if kind == "extra_forbidden":
        return former_name(place) or unknown("key", place[-1], valid_keys(place[:-1], model, data))
    if kind == "missing":
        return "required, but missing"
    if kind == "value_error":
        return str(found["ctx"]["error"])
    message = f"{_SUBJECT.sub('should', found['msg'])}, given {shown(given)}"
    return f"{message}{_hint(kind, given)}"


def _hint(kind: str, given: Any) -> str:
    if kind not in _NUMBERS:
        return " (quote it, if it is text)" if kind == "string_type" and isinstance(given, (int, float)) else ""
    if isinstance(given, bool):
        return " (true and false are not numbers)"
    if isinstance(given, float) and given.is_integer():
        return f" (write {given:.0f})" if abs(given) < 1e15 else ""
    if isinstance(given, str) and _reads_as_number(given):
        return " (quoted, it is text; write it without quotes)"
    return " (this is text; numbers are written like 12, 0.5 or 1e-3)" if isinstance(given, str) else ""


def _reads_as_number(text: str) -> bool:
    try:
        return isinstance(read_scalar(text.strip()), (int, float))
    except ValueError:
        return False


def valid_keys(place: Location, model: type[BaseModel], data: Any) -> tuple[str, ...]:
    """The keys that a mapping at `place` may have; those of a registered class depend on its name in `data`."""
    if not place:
        return tuple(model.model_fields)
    head = place[0]
    inner = data.get(head) if isinstance(data, Mapping) else None
    if head in REGISTRIES and isinstance(inner, Mapping):
        cls = class_of(str(head), inner)
        return () if cls is None else ("name", *cls.model_fields)
    field = model.model_fields.get(str(head))
    classes = [] if field is None else list(_models(field.annotation))
    nested = [cls for cls in classes if valid_keys(place[1:], cls, inner)]
    return valid_keys(place[1:], nested[0], inner) if nested else ()


def _models(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)
