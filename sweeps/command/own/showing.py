"""`seedbed list NAME`: what a sweep file may say of a task, model or anything else that is registered."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Table

from pipeline.spec.parameters import Registered
from pipeline.spec.registered import MADE, unknown
from pipeline.spec.sweep import load_spec
from pipeline.store.pack_store import StoreError
from sweeps.command.own.kinds import KINDS_OF_CODE, Kind
from sweeps.command.shipped import name_of, shipped_sweeps

# What pydantic calls a bound -> how it is written.
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of"}


def show(name: str, out: Console) -> None:
    """Prints what is registered under a name, or a kind's names, or what a sweep that comes with seedbed trains.

    Raises StoreError, with the nearest names, where nothing is called so.
    """
    found = [(kind, kind.classes[name]) for kind in KINDS_OF_CODE.values() if name in kind.classes]
    kinds = [kind for word, kind in KINDS_OF_CODE.items() if name in (word, kind.plural)]
    made = [(KINDS_OF_CODE[word], *makers[name]) for word, makers in MADE.items() if name in makers]
    sweeps = [path for path in shipped_sweeps() if name in (path.stem, name_of(path))]
    for kind, cls in found:
        _show_class(kind, cls, out)
    for kind in kinds:
        _show_kind(kind, out)
    for kind, module, function in made:
        out.print(f"{kind.word} {name}", style="bold")
        out.print(inspect.cleandoc(importlib.import_module(module).__doc__ or ""))
        out.print(f"\ndefined in {_place(getattr(importlib.import_module(module), function))}")
    for path in sweeps:
        out.print(f"sweep {path.stem}: {load_spec(path).description}\n  {path}\n")
        out.print(path.read_text(encoding="utf-8"))
    if not (found or kinds or made or sweeps):
        names = [name for kind in KINDS_OF_CODE.values() for name in (*kind.classes, kind.plural)]
        names += [name for makers in MADE.values() for name in makers]
        every = dict.fromkeys([*names, *(path.stem for path in shipped_sweeps())])
        told = unknown("name", name, every).partition(" (valid:")[0]
        raise StoreError(f"{told}{'' if told.endswith('?') else ';'} `seedbed list` shows all names")


def _show_kind(kind: Kind, out: Console) -> None:
    table = Table(kind.word, "what it is", box=None, header_style="bold")
    for name, cls in kind.classes.items():
        table.add_row(name, _first_line(cls))
    out.print(table)


def _show_class(kind: Kind, cls: type[Any], out: Console) -> None:
    out.print(f"{kind.word} {vars(cls)['name']}", style="bold")
    out.print(inspect.cleandoc(cls.__doc__ or "It has no docstring."))
    out.print()
    if issubclass(cls, Registered):
        _show_parameters(cls, out)
    base = kind.classes.base_class
    out.print(f"defined in {_place(cls)}")
    out.print(f"contract: the docstring of {base.__module__}.{base.__qualname__}, {_place(base)}")


def _show_parameters(cls: type[Registered], out: Console) -> None:
    if not cls.model_fields:
        out.print("no parameters\n")
        return
    table = Table("parameter", "type", "default", "bounds", "axis", box=None, header_style="bold")
    for name, field in cls.model_fields.items():
        axis = "vector" if name in cls.vector_fields() else "static"
        table.add_row(name, _type(field), _default(field), ", ".join(_bounds(field)), axis)
    out.print(table)
    out.print("static: shared by the runs of a pack; vector: a number per run, which may differ between them")
    given = [f"name: {cls.name}", *(f"{n}: {_default(f)}" for n, f in cls.model_fields.items() if not f.is_required())]
    given += [f"{name}: ..." for name, field in cls.model_fields.items() if field.is_required()]
    out.print(f"\nin a sweep file: {{{', '.join(given)}}}\n")


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return text.replace("typing.", "").replace("Literal", "").replace("NoneType", "null").replace("None", "null")


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() or field.default is PydanticUndefined else _in_yaml(field.default)


def _in_yaml(value: Any) -> str:
    """As a sweep file would say it."""
    return value if isinstance(value, str) else json.dumps(list(value) if isinstance(value, tuple) else value)


def _bounds(field: FieldInfo) -> Iterator[str]:
    for constraint in field.metadata:
        for bound, sign in _BOUNDS.items():
            if (value := getattr(constraint, bound, None)) is not None:
                yield f"{sign} {value:g}"


def _first_line(cls: type[Any]) -> str:
    return (inspect.cleandoc(cls.__doc__ or "").splitlines() or [""])[0]


def _place(cls: Any) -> str:
    """FILE:LINE, from the working directory on where it is below it."""
    file, line = Path(inspect.getsourcefile(cls) or "?"), inspect.getsourcelines(cls)[1]
    here = Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{line}"
