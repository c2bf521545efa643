"""Files of the user's own that Python would not find: another module of the same name is found in their place."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


def shadowed_files(files: Mapping[str, Path]) -> Iterator[tuple[Path, str]]:
    """Each of the files, by names as those of `own_files`, that an import would not find, and what it would find.

    A file with the same text does as well. Files of packages without an `__init__.py` are looked at once imported.
    """
    for name, file in sorted(files.items()):
        module = ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__")
        found = _found(module)
        if found is not None and not _is_same(file, Path(found)):
            yield file, found


def _found(module: str) -> str | None:
    """What an import of this name gives: a file, or "built-in"; None where that is not known."""
    if module in sys.modules:
        loaded = sys.modules[module]
        is_package_alone = hasattr(loaded, "__path__") and getattr(loaded, "__file__", None) is None
        return None if is_package_alone else getattr(loaded, "__file__", None) or "built-in"
    if "." in module:
        # Found in its package, which has a name of its own here.
        return None
    spec = importlib.util.find_spec(module)
    return None if spec is None else spec.origin


def _is_same(file: Path, found: Path) -> bool:
    return found.is_file() and (found.resolve() == file.resolve() or found.read_bytes() == file.read_bytes())
