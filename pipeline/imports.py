"""Importing large libraries at a lower cost."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

# Packages for which torchmetrics needs scipy.signal, see `without_scipy_signal`.
_NEED_HAMMING = ("srmrpy", "gammatone")
_DYNAMO = "torch._dynamo"


@contextmanager
def quick_imports() -> Iterator[None]:
    """In this context no garbage is collected: modules make hardly any, and the search takes a sixth of the time."""
    with without_garbage_collection():
        yield


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """In this context no garbage is looked for: for what makes many objects that all stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def without_old_garbage() -> Iterator[None]:
    """In this context garbage is looked for only among what was made in it: the objects of libraries are many.

    Nothing is done where something is exempted already.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def without_dynamo() -> Iterator[None]:
    """In this context Lightning is imported without torch._dynamo, which takes it two seconds; later it can be as ever.

    Lightning 2.6 imports it to know compiled modules, of which there are none before it is loaded, and to keep one of
    its own methods from being compiled. Goes when Lightning imports it where it is used. Nothing is done where either
    is imported already.
    """
    if not {_DYNAMO, "lightning"}.isdisjoint(sys.modules):
        yield
        return
    stand_in = ModuleType(_DYNAMO)
    stand_in.OptimizedModule = _OptimizedModule  # type: ignore[attr-defined]
    stand_in.disable = _disabled  # type: ignore[attr-defined]
    # Whatever else a version asks for is taken from the module itself.
    stand_in.__getattr__ = _loaded  # type: ignore[method-assign]
    sys.modules[_DYNAMO] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(_DYNAMO) is stand_in:
            del sys.modules[_DYNAMO]


def _loaded(name: str) -> Any:
    if name.startswith("__"):
        # What the import itself looks for.
        raise AttributeError(name)
    del sys.modules[_DYNAMO]
    return getattr(import_module(_DYNAMO), name)


class _LooksLater(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, getattr(sys.modules.get(_DYNAMO), "OptimizedModule", ()))


class _OptimizedModule(metaclass=_LooksLater):
    """Whatever torch.compile made of a module, once torch._dynamo is loaded."""


def _disabled(function: Callable[..., Any], recursive: bool = True, **_: Any) -> Callable[..., Any]:
    """`torch._dynamo.disable` of a function, which begins with its first call after torch._dynamo is loaded."""
    found: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        if not found and (dynamo := sys.modules.get(_DYNAMO)) is not None:
            found.append(dynamo.disable(function, recursive))
        return (found[0] if found else function)(*given, **named)

    return call


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
