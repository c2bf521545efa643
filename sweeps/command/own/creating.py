"""`seedbed new`: a commented, working file of one's own, and a sweep file that trains what it defines."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.console import Console

from pipeline.models.base import MODELS
from pipeline.own_code.imported import entries
from pipeline.spec.parameters import Registered
from pipeline.spec.registered import declared, unknown
from pipeline.store.pack_store import StoreError
from pipeline.tasks.base import TASKS, Task
from sweeps.command.own.kinds import KINDS_OF_CODE

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
_SWEEP, _LIGHTNING, _DATA = "sweep", "lightning", "data"
# What a new sweep file says of what needs no line: its model configures it.
_LEFT_OUT = None
# Kind -> how a sentence names one, with its article and without.
_KINDS = {word: (kind.with_article, kind.word) for word, kind in KINDS_OF_CODE.items()}
_KINDS[_LIGHTNING] = ("a LightningModule", "LightningModule")
_KINDS[_DATA] = ("a function that gives arrays, with a network for them,", "data")
_NAMES = (*KINDS_OF_CODE, _LIGHTNING, _DATA, _SWEEP)
_WORD = re.compile("[a-z][a-z0-9_]{0,57}")


def create(kind: str, name: str, folder: Path, task: str | None, out: Console) -> None:
    """Write NAME.py and, for what a sweep file can name, NAME.yaml into `folder`; prints the commands to go on with.

    Raises StoreError, and writes nothing, where a file is there already, or kind or name cannot be.
    """
    kind = kind.replace("optimizer", "optimiser")
    if kind not in _NAMES:
        raise StoreError(unknown("kind", kind, _NAMES))
    if task is not None and kind != _SWEEP:
        raise StoreError("--task is for `seedbed new sweep`, which makes a sweep of that task")
    sweep, source = folder / f"{name}.yaml", folder / f"{name}.py"
    if kind == _SWEEP:
        texts = {sweep: _sweep_text(name, _sections_of(task, folder))}
    elif kind == _LIGHTNING:
        texts = {source: _source_text(kind, name), sweep: _sweep_text(name, _sections_with_module(name))}
    else:
        texts = {source: _source_text(kind, name)}
        if (sections := _sections_with(kind, name)) is not None:
            texts[sweep] = _sweep_text(name, {"imports": [f"./{name}.py"], **sections})
    _write_new(texts)
    if source in texts:
        out.print(f"{source}: {_KINDS[kind][0]} that works as it is, to be edited")
        # What a LightningModule takes depends on its task.
        out.print(f"  seedbed check {sweep if kind == _LIGHTNING else source}    holds it to its contract")
    if sweep in texts:
        out.print(f"{sweep}: a sweep" + ("" if kind == _SWEEP else f" that uses the {_KINDS[kind][1]}"))
        out.print(f"  seedbed plan {sweep}")
        if task == "dataset":
            out.print("  on built-in data; for your own name `file` or `load` in its task, or: seedbed new data NAME")
        out.print(f"  seedbed launch {sweep} --smoke    a short trial, before the whole")
    else:
        out.print(f"  seedbed analyse RESULTS --import {source}    uses it on the results of any sweep")


def _write_new(texts: Mapping[Path, str]) -> None:
    """Write all files, or none where one is there."""
    for path in texts:
        if path.exists() or path.is_symlink():
            raise StoreError(f"{path} is there already, and is left as it is: choose another name or --folder")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)


def _source_text(kind: str, name: str) -> str:
    """The template of a kind under another name. Raises StoreError for names that cannot be, or are taken."""
    template = (TEMPLATES / f"my_{kind}.py").read_text(encoding="utf-8")
    class_name = _class_name(name)
    if not _WORD.fullmatch(name) or keyword.iskeyword(name) or not class_name:
        raise StoreError(f"{name!r} cannot be a name: small letters, digits and _, a letter first, as my_{kind}")
    registered = {_DATA: "model", _LIGHTNING: None}.get(kind, kind)
    if registered is not None and name in KINDS_OF_CODE[registered].classes:
        raise StoreError(f"{KINDS_OF_CODE[registered].with_article} is called {name!r} already: choose another name")
    stand_in = f"My{kind.capitalize()}"
    others = re.sub(rf"\b(my_{kind}|{stand_in})\b", "", template)
    if re.search(rf"\b({name}|{class_name})\b", others):
        raise StoreError(f"{name!r} is a word of the file itself: choose another name")
    fitted = class_name if kind != "predictor" else f"Fitted{class_name}"
    text = template.replace("MyFittedPredictor", fitted).replace(stand_in, class_name).replace(f"my_{kind}", name)
    if kind == _LIGHTNING:
        return text.replace(" of my own.", f", `./{name}.py:{class_name}` in sweep files.", 1)
    if kind == _DATA:
        return text.replace(" of my own,", f", `{name}:arrays` in sweep files,", 1)
    return text.replace(" of my own.", f", `{name}` in sweep files." if _section(kind) else f", `{name}`.", 1)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _section(kind: str) -> str | None:
    """The field of a sweep file that names such a class; None for what no sweep file names."""
    return None if kind in ("statistic", "predictor") else "readings" if kind == "reading" else kind


def _sections_with_module(name: str) -> dict[str, Any]:
    """A task for the template's network, which brings its own optimiser and schedule."""
    return {
        "task": {"name": "sparse_parity", "num_bits": 6, "num_relevant": 2},
        "model": {"name": "lightning", "module": f"./{name}.py:{_class_name(name)}"},
        "optimiser": _LEFT_OUT,
        "schedule": _LEFT_OUT,
    }


def _sections_with(kind: str, name: str) -> dict[str, Any] | None:
    if kind == _DATA:
        task = {"name": "dataset", "load": f"{name}:arrays", "order": "epochs"}
        converged = {"metric": "label_accuracy", "at_least": 0.95, "evaluations": 2}
        return {"task": task, "model": {"name": name}, "converged": converged}
    section = _section(kind)
    if section is None:
        return None
    if kind == "reading":
        return {section: [name]}
    if kind == "model":
        # Of the tasks here the one that a network without attention learns at once.
        return {"task": {"name": "sparse_parity", "num_bits": 6, "num_relevant": 2}, section: {"name": name}}
    return {section: {"name": name, "lr": 0.003, "clip": 1.0} if kind == "optimiser" else {"name": name}}


def _sections_of(task: str | None, folder: Path) -> dict[str, Any]:
    """The imports that this command was given, and a task with a model that fits it, if a task was asked for."""
    given = [_from(folder, entry) for entry in entries()]
    found: dict[str, Any] = {"imports": given} if given else {}
    if task is None:
        return found
    if task not in TASKS:
        raise StoreError(TASKS.unknown(task))
    small = _default(TASKS[task])
    assert isinstance(small, Task)
    for model in MODELS.values():
        if model.incompatibility(small) is None:
            return {**found, "task": _stated(small), "model": _stated(model.tiny(small))}
    raise StoreError(f"no model that is registered can be built for task {task}: name one with --import")


def _stated(part: Registered) -> dict[str, Any]:
    """Name and parameters as a sweep file states them: without those that are null, or filled in when it is read."""
    return {name: value for name, value in declared(part).items() if value is not None and name != "content"}


def _default(cls: type[Any]) -> Registered:
    """One with every parameter at its default, or the small one of tests where a parameter has none."""
    try:
        found: Registered = cls()
    except ValidationError:
        found = cls.tiny()
    return found


def _from(folder: Path, entry: str) -> str:
    """An import as a sweep file in `folder` says it: a path from there on, or a module."""
    if not entry.endswith(".py"):
        return entry.partition(" from ")[0]
    return os.path.join(".", os.path.relpath(entry, folder.resolve()))


def _sweep_text(name: str, sections: Mapping[str, Any]) -> str:
    """The template of sweep files under another name, with these sections in place of its own; comments stay."""
    if not re.fullmatch("[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
        raise StoreError(f"{name!r} cannot be the name of a sweep: letters, digits, . _ -")
    lines = (TEMPLATES / "my_sweep.yaml").read_text(encoding="utf-8").splitlines()
    left_out = {f"{field}:" for field, value in sections.items() if value is _LEFT_OUT}
    kept = [line for line in lines if line.partition(" ")[0] not in left_out]
    return "\n".join(_line(line, {"name": name, **sections}) for line in kept) + "\n"


def _line(line: str, sections: Mapping[str, Any]) -> str:
    field, _, rest = line.partition(":")
    if field not in sections:
        return line
    comment = rest.partition("#")[2]
    text = f"{field}: {_in_yaml(sections[field])}"
    return f"{text:<32}#{comment}" if comment else text


def _in_yaml(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return str(text).removesuffix("\n").removesuffix("\n...")
