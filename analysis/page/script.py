"""The page's modules as one script: each in a scope of its own, in the order in which they import each other."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
_IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_FIRST = "main"


@cache
def page_script() -> str:
    """All modules that main.js needs, as one script that declares nothing outside itself."""
    parts: dict[str, str] = {}
    _add(_FIRST, parts)
    return '(() => {\n"use strict";\n' + "\n".join(parts.values()) + "\n})();\n"


@cache
def page_style() -> str:
    """The style sheet."""
    return (_FOLDER / "page.css").read_text(encoding="utf-8")


def sha256_source(text: str) -> str:
    """A script or style sheet as the source of a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _add(name: str, parts: dict[str, str]) -> None:
    """Add a module after those that it imports. Raises RecursionError for a circle."""
    if name in parts:
        return
    text = (_FOLDER / "js" / f"{name}.js").read_text(encoding="utf-8")
    for _, other in _IMPORT.findall(text):
        _add(other, parts)
    exported = ", ".join(_EXPORT.findall(text))
    body = _EXPORT.sub("", _IMPORT.sub(r"const { \1 } = module_\2;", text))
    parts[name] = f"const module_{name} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();"
