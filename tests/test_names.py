"""A public name means one thing: no two modules of pipeline, analysis and sweeps define the same one."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "analysis", "sweeps")
EXEMPT = {
    "PAPER",  # each paper's own, found by `sweeps.papers`
    "CLAIMS",  # the book of a paper's claims, likewise
    "FIGURES",  # its figures, likewise
    "TASK_PICTURE",  # the picture of its task, likewise
    "main",  # of a command
}


def defined(body: list[ast.stmt]) -> Iterator[str]:
    """Public names that a module's statements define, those under `if` and `try` included; imports are not."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        else:
            names = []
            for inner in ("body", "orelse", "finalbody") if isinstance(node, (ast.If, ast.Try)) else ():
                yield from defined(getattr(node, inner, []))
        yield from (name for name in names if not name.startswith("_"))


def test_no_public_name_is_defined_in_two_modules() -> None:
    modules: dict[str, set[str]] = defaultdict(set)
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for name in defined(ast.parse(path.read_text(encoding="utf-8")).body):
            modules[name].add(str(path.relative_to(ROOT)))
    assert "RunConfig" in modules, "nothing was read"
    doubled = {name: sorted(paths) for name, paths in modules.items() if len(paths) > 1 and name not in EXEMPT}
    assert not doubled, "\n".join(f"{name}: {', '.join(paths)}" for name, paths in sorted(doubled.items()))
