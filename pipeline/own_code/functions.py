"""Functions of the user's own that a sweep file names as MODULE:FUNCTION, in modules that its `imports` lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.own_code.imported import OwnCodeError, modules, plain_name


def function_named(entry: str) -> Callable[..., Any]:
    """The function. Raises OwnCodeError where no imported module has it; nothing is imported here."""
    module, _, name = entry.partition(":")
    if not module or not name:
        raise OwnCodeError(f"{entry!r} is no MODULE:FUNCTION, such as my_data:digits")
    known = {plain_name(found): found for found in modules()}
    if module not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise OwnCodeError(f"{entry!r}: module {module!r} is not among the `imports` of the sweep file ({listed})")
    found = getattr(known[module], name, None)
    if not callable(found):
        raise OwnCodeError(f"{entry!r}: {known[module].__file__} defines no function {name!r}")
    function: Callable[..., Any] = found
    return function
