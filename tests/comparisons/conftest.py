"""A searcher that needs no library."""

from __future__ import annotations

import pytest

from pipeline.launch import searchers
from pipeline.launch.searchers import SearchLibrary


@pytest.fixture
def fake_searcher(monkeypatch):
    """In optuna's place while a test runs."""
    library = SearchLibrary("tests.comparisons.fake_searcher", "FakeSearcher", "seed", ())
    monkeypatch.setitem(searchers.SEARCHERS, "optuna", library)
