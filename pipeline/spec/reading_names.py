"""The readings that a spec names: checked against their registry, and against the models that they are to read."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from pipeline.spec.registered import Problem, unknown
from pipeline.spec.run_config import Setting

# Taken where a spec names none, of models that they can read.
DEFAULT_READINGS = ("circuits",)


def reading_problems(names: Sequence[str], has_windows: bool, settings: Iterable[Setting]) -> Iterator[Problem]:
    """What is wrong with readings asked for by name: unknown, named twice, without windows, or able to read no model.

    A reading that can read the models of some settings alone is no problem: the other runs lack its metrics.
    """
    if names and not has_windows:
        yield ("readings",), "has no effect without windows, at which readings are taken", list(names)
        return
    registry = _registry()
    pairs = list({(setting.task, setting.model): None for setting in settings})
    for index, name in enumerate(names):
        if name not in registry:
            yield ("readings", index), unknown("reading", name, registry), name
        elif name in names[:index]:
            yield ("readings", index), f"{name} is named twice", name
        else:
            reasons = [registry[name].unsuitable(task, model) for task, model in pairs]
            if pairs and None not in reasons:
                yield ("readings", index), f"{name}: {reasons[0]}", name


def _registry() -> Mapping[str, Any]:
    """The readings by name, imported when they are asked for, as the classes of other registries are."""
    return cast("Mapping[str, Any]", importlib.import_module("pipeline.readings.base").READINGS)
