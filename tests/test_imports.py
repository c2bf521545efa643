"""Who may import whom: the table of docs/design.md, held against every import of every file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("pipeline", "analysis", "sweeps")
FILES = [path for package in OURS for path in (ROOT / package).rglob("*.py")]
NAME = r"`([a-z0-9_/]+)`"
TABLE = re.findall(rf"^\| {NAME} \|([^|]*)\|([^|]*)\|([^|]*)\|", (ROOT / "docs" / "design.md").read_text(), re.M)
TYPES = {room: set(re.findall(NAME, types)) for room, _, types, _ in TABLE}
LIBRARIES = {room: set(re.findall(NAME, libraries)) for room, _, _, libraries in TABLE}
ROOMS = {room: set(re.findall(NAME, allowed)) for room, allowed, _, _ in TABLE}
# Torch code inside methods of what specs name; a command's file when it is asked for.
LAZY = (
    "pipeline/tasks",
    "pipeline/models",
    "pipeline/optimisers",
    "pipeline/schedules",
    "pipeline/readings",
    "sweeps/cli",
)
HEAVY = {"torch", "lightning", "ray", "wandb", "sklearn", "altair"}
LIGHT = ("pipeline.spec.sweep", "pipeline.planning.packs", "pipeline.planning.open_sweep", "pipeline.store.sweep_store")


def room_of(module):
    """The room of a dotted module: its folder, or the file itself where that stands directly in its package."""
    return "/".join(module.split(".")[:2])


def imports(path):
    """(module, kind) of each import of a file; kind is "top", "lazy" (inside a function) or "types" (annotations)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        kind = "types" if id(node) in types else "top" if id(node) in top else "lazy"
        if isinstance(node, ast.Import):
            yield from ((alias.name, kind) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module in OURS else [node.module]
            yield from ((name, kind) for name in names)


def room_of_file(path):
    return room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_every_room_stands_in_the_table_and_no_other():
    assert {room_of_file(path) for path in FILES if path.name != "__init__.py"} == ROOMS.keys()


def test_the_table_allows_nothing_that_is_not_used():
    used = {room: set() for room in ROOMS}
    for path in FILES:
        room = room_of_file(path)
        ours = [(module, kind) for module, kind in imports(path) if module.partition(".")[0] in OURS]
        used.setdefault(room, set()).update(room_of(module) for module, kind in ours if kind != "types")
    unused = {room: sorted(ROOMS[room] - used[room]) for room in ROOMS if ROOMS[room] - used[room]}
    assert not unused


def test_nothing_imports_upwards():
    """A room may import rooms that stand above it in the table alone, so there are no circles."""
    rooms = list(ROOMS)
    for place, room in enumerate(rooms):
        assert ROOMS[room] <= set(rooms[:place]), room


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_to_the_table(path):
    room = room_of_file(path)
    for module, kind in imports(path):
        if module.partition(".")[0] in OURS:
            other = room_of(module)
            allowed = ROOMS[room] | {room} | (TYPES[room] if kind == "types" else set())
            assert other in allowed, f"{module} ({kind})"
            assert kind != "lazy" or other == room or room in LAZY, module
        elif module.partition(".")[0] in HEAVY and kind != "types":
            assert module.partition(".")[0] in LIBRARIES[room], f"{module} ({kind})"


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=lambda path: path.parent.name)
def test_a_room_says_what_it_is_and_its_init_does_nothing(path):
    tree = ast.parse(path.read_text())
    docstring = ast.get_docstring(tree)
    assert docstring
    if path.parent.parent in (ROOT / "pipeline", ROOT / "analysis"):
        assert "Input: " in docstring
        assert "Output: " in docstring
    assert len(tree.body) == 1


@pytest.mark.parametrize("top", OURS)
def test_no_folder_holds_more_than_twenty_files(top):
    folders = [folder for folder in (ROOT / top).rglob("*") if folder.is_dir()] + [ROOT / top]
    for folder in folders:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 20, folder


def loaded(statement):
    """Top-level modules that are loaded after a statement in a fresh process."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_spec_is_planned_without_torch():
    sweep = str(ROOT / "sweeps" / "quickstart.yaml")
    code = f"import {', '.join(LIGHT)}; pipeline.spec.sweep.load_spec({sweep!r}).runs()"
    assert not loaded(code) & {"torch", "lightning", "ray", "wandb"}


def test_a_pack_is_trained_without_ray_and_wandb():
    code = "import pipeline.training.worker, pipeline.training.replay, pipeline.launch.inline, pipeline.launch.ray"
    assert not loaded(code) & {"ray", "wandb"}
