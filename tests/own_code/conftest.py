"""What a test of one's own code imports is forgotten after it; consent is kept in a folder of its own."""

from __future__ import annotations

import sys

import pytest

from pipeline.own_code import imported


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    before, path = dict(imported._modules), list(sys.path)
    loaded = set(sys.modules)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(imported, "_allowed", set())
    monkeypatch.setattr(imported, "_is_kept", [])
    yield
    for entry in set(imported._modules) - set(before):
        imported.forget(entry)
    for name in set(sys.modules) - loaded:
        if name.partition(".")[0].startswith(("seedbed_imported_", "my_")):
            del sys.modules[name]
    sys.path[:] = path
