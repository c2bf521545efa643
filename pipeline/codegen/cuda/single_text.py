"""A kernel and everything that it includes as one text, which a compiler can take without any folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_NATIVE = Path(__file__).parents[2] / "native"
# The headers for one lane take the place of those for vectors.
_FOLDERS = (_NATIVE / "cuda", _NATIVE)
_INCLUDE = re.compile(r'^#include "(\w+\.h)"\n', re.M)


def single_text(names: Iterable[str], texts: Mapping[str, str]) -> str:
    """The headers `names`, in their order, with what they include, each once.

    A header is one of `texts`, by name, or a file of native/cuda, or of native. Includes in angle brackets stay. Raises
    FileNotFoundError.
    """
    seen: set[str] = set()
    return "\n".join(_inlined(name, texts, seen) for name in names)


def _inlined(name: str, texts: Mapping[str, str], seen: set[str]) -> str:
    if name in seen:
        return ""
    seen.add(name)
    text = texts[name] if name in texts else _file(name).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: _inlined(found[1], texts, seen), text.replace("#pragma once\n", ""))


def _file(name: str) -> Path:
    found = next((folder / name for folder in _FOLDERS if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no header {name} in {_FOLDERS[0]} or {_FOLDERS[1]}")
    return found
