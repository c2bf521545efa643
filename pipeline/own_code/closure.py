"""The files of the user's own that a module consists of: its own, and those of its package or folder that it imports.

Read from the text, not from what happens to be loaded, so that every process finds the same files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def own_files(file: Path, module: str) -> dict[str, Path]:
    """Name -> file, for the file of a module and all that it imports, directly or not, of its own package.

    A module that is in no package takes those beside it. Names are relative to the folder that the package is in, so
    they do not depend on where that is. Imports inside functions are found as well; those by a computed name are not.
    """
    depth = module.count(".") + (file.name == "__init__.py")
    root = file.parents[depth]
    first = module.partition(".")[0]
    package = first if depth else None
    found: dict[str, Path] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix()
        if name in found:
            continue
        found[name] = path
        waiting += _imported(path, root, package)
    return found


def _imported(file: Path, root: Path, package: str | None) -> Iterator[Path]:
    """The files of this package (None: beside this file) that a file imports."""
    here = file.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else ()
            base = (*above, *(node.module.split(".") if node.module else ()))
            names = [base, *((*base, alias.name) for alias in node.names)]
        else:
            continue
        for parts in names:
            if parts and (package is None or parts[0] == package):
                yield from _files_of(root, parts)


def _files_of(root: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """The module that these parts name, if it is a file below `root`, and every package around it."""
    for length in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:length])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                yield file
