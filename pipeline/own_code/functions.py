"""Functions of the user's own that a sweep file names as MODULE:FUNCTION, in modules that its `imports` lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.own_code.imported import OwnCodeError, modules, plain_name


def function_named(entry: str) -> Callable[..., Any]:
    """The function. Raises OwnCodeError where no imported module has it, or two may; nothing is imported here."""
    module, _, name = entry.partition(":")
    if not module or not name:
        raise OwnCodeError(f"{entry!r} is no MODULE:FUNCTION, such as my_data:digits")
    named = {found.__file__: found for found in modules() if plain_name(found) == module}
    if not named:
        listed = ", ".join(sorted({plain_name(found) for found in modules()})) or "none"
        raise OwnCodeError(f"{entry!r}: module {module!r} is not among the `imports` of the sweep file ({listed})")
    if len(named) > 1:
        raise OwnCodeError(f"{entry!r}: {' and '.join(map(str, named))} are both called {module!r}; rename one")
    ((file, own),) = named.items()
    found = getattr(own, name, None)
    if not callable(found):
        raise OwnCodeError(f"{entry!r}: {file} defines no function {name!r}")
    function: Callable[..., Any] = found
    return function
