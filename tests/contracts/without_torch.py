"""Whether the file of a class can be read where torch is not installed."""

from __future__ import annotations

import importlib.util
import sys

import pytest


def class_read_without_torch(cls):
    """The class, from its file and its room's helpers executed again with every import of torch refused."""
    room = cls.__module__.rpartition(".")[0]
    spec = importlib.util.spec_from_file_location("read_again", sys.modules[cls.__module__].__file__)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        patch.setitem(sys.modules, "read_again", module)
        for name in [name for name in sys.modules if name.startswith(f"{room}.") and name != f"{room}.base"]:
            patch.delitem(sys.modules, name)
        spec.loader.exec_module(module)
        getattr(module, cls.__name__).tiny()
    return getattr(module, cls.__name__)
