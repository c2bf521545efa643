"""Importing large libraries at a lower cost."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

# Packages for which torchmetrics needs scipy.signal, see `without_scipy_signal`.
_NEED_HAMMING = ("srmrpy", "gammatone")


@contextmanager
def quick_imports() -> Iterator[None]:
    """In this context no garbage is collected: modules make hardly any, and the search takes a sixth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def without_scipy_signal() -> Iterator[None]:
    """In this context Lightning is imported without scipy.signal, which takes it a second; later it can be as ever.

    torchmetrics 1.9 imports it only to give it back a name, `hamming`, that the package srmrpy uses: goes when
    torchmetrics stops doing so. Nothing is done where that package is installed, or one of the two is imported already.
    """
    is_loaded = not {"scipy.signal", "torchmetrics"}.isdisjoint(sys.modules)
    if is_loaded or any(find_spec(name) is not None for name in _NEED_HAMMING):
        yield
        return
    stand_in = ModuleType("scipy.signal")
    stand_in.hamming = None  # type: ignore[attr-defined]
    sys.modules["scipy.signal"] = stand_in
    try:
        yield
    finally:
        if sys.modules.get("scipy.signal") is stand_in:
            del sys.modules["scipy.signal"]
