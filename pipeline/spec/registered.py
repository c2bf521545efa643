"""Fields of a spec that name a registered class: {name: dictionary_lookup, num_keys: 8} becomes a validated object."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline.spec.parameters import Registered

# Imported when a spec is read, so that one broken file of a registry does not break this module.
REGISTRIES: dict[str, tuple[str, str]] = {
    "task": ("pipeline.tasks.base", "TASKS"),
    "model": ("pipeline.models.base", "MODELS"),
    "optimiser": ("pipeline.optimisers.base", "OPTIMISERS"),
    "schedule": ("pipeline.schedules.base", "SCHEDULES"),
    "stopping": ("pipeline.stopping.base", "STOPPING_RULES"),
}

# Names that are in no registry: what they stand for is made from a class of the user's own, or by it.
MADE: dict[str, dict[str, tuple[str, str]]] = {
    "model": {"lightning": ("pipeline.models._lightning", "model_class")},
    "optimiser": {"configured": ("pipeline.optimisers._configured", "optimiser_class")},
    "schedule": {"configured": ("pipeline.schedules._configured", "schedule_class")},
}

Location = tuple[str | int, ...]
# Where in a spec, what is wrong, and what was given there.
Problem = tuple[Location, str, Any]


def registry(kind: str) -> Mapping[str, type[Registered]]:
    """Name -> parameter class; `kind` is a key of REGISTRIES."""
    module, attribute = REGISTRIES[kind]
    return cast("Mapping[str, type[Registered]]", getattr(importlib.import_module(module), attribute))


def reader(kind: str) -> Callable[[Any], Registered]:
    """A function from {name: ..., parameters} to the object of that kind; an object passes unchanged.

    It raises ValueError (pydantic's, with the places inside the mapping) for unknown names, keys and values.
    """

    def read(value: Any) -> Registered:
        if isinstance(value, Registered):
            if value.name in MADE.get(kind, {}) or registry(kind).get(value.name) is type(value):
                return value
        elif isinstance(value, Mapping) and (cls := class_of(kind, value)) is not None:
            return cls.model_validate({key: frozen(item) for key, item in value.items() if key != "name"})
        names = (*registry(kind), *MADE.get(kind, {}))
        if not isinstance(value, Mapping):
            raise ValueError(f"should be a mapping such as {{name: {names[0]}}} (names: {', '.join(names)})")
        if "name" not in value:
            raise located([(("name",), f"required, but missing (valid: {', '.join(names)})", None)])
        raise located([(("name",), unknown("name", value["name"], names), value["name"])])

    return read


def class_of(kind: str, given: Mapping[str, Any]) -> type[Registered] | None:
    """The class that a mapping names, of a registry or made from a class of the user's own; None for unknown names.

    Raises ValueError (pydantic's) where it names a class of the user's own that is not there.
    """
    name = given.get("name")
    if not isinstance(name, str):
        return None
    if name in MADE.get(kind, {}):
        module, function = MADE[kind][name]
        return cast("type[Registered]", getattr(importlib.import_module(module), function)(given))
    return registry(kind).get(name)


def declared(parameters: Registered) -> dict[str, Any]:
    """The inverse of `reader`: the name of a registered object and every parameter."""
    return {"name": parameters.name, **parameters.model_dump()}


def frozen(value: Any) -> Any:
    """Lists as tuples, which is what frozen parameters hold."""
    return tuple(frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def unknown(what: str, word: Any, valid: Iterable[str]) -> str:
    """Error message for an unknown `word`: the nearest valid name, and all valid names."""
    names = list(valid)
    near = difflib.get_close_matches(str(word)[:80], names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = repr(word)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"unknown {what} {shown}{hint} (valid: {', '.join(names)})"


def located(problems: Iterable[Problem]) -> ValidationError:
    """One error for several places, each (location, message, what was given); validators raise it."""
    details = [
        InitErrorDetails(type=PydanticCustomError("spec", "{message}", {"message": message}), loc=place, input=given)
        for place, message, given in problems
    ]
    return ValidationError.from_exception_data("spec", details)
