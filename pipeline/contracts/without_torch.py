"""Whether the file of a class can be read where torch is not installed."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any
from unittest.mock import patch


def class_read_without_torch(cls: type[Any]) -> type[Any]:
    """The class, from its file and its room's helpers executed again with every import of torch refused."""
    room = cls.__module__.rpartition(".")[0]
    file = sys.modules[cls.__module__].__file__
    assert file is not None
    spec = importlib.util.spec_from_file_location("read_again", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The modules that were loaded are put back afterwards.
    with patch.dict(sys.modules, {"torch": None, "read_again": module}):
        for name in [name for name in sys.modules if room and name.startswith(f"{room}.") and name != f"{room}.base"]:
            del sys.modules[name]
        spec.loader.exec_module(module)
        found: type[Any] = getattr(module, cls.__name__)
        found.tiny()
    return found
