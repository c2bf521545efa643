"""The system that seedbed is for. Imports nothing that another system may lack."""

from __future__ import annotations

import sys

_NAMES = {"darwin": "macOS", "win32": "Windows", "cygwin": "Windows"}
_BAD_INPUT = 2


def refuse_other_systems() -> None:
    """Leaves with one sentence and exit code 2 where this is not Linux.

    On macOS what is synced may be lost with the power, memory is counted in other units, and g++ is another compiler,
    whose bits were never compared; Windows has no locks of the kind that the store takes.
    """
    if sys.platform != "linux":
        name = _NAMES.get(sys.platform, sys.platform)
        told = f"seedbed runs on Linux alone, and this is {name}: use a Linux machine, a container"
        print(f"{told}{', or WSL' if name == 'Windows' else ' or a virtual one'}", file=sys.stderr)
        sys.exit(_BAD_INPUT)
