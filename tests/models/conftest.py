"""The LightningModules of lit.py, as code of the user's own."""

from __future__ import annotations

import pytest

from pipeline.own_code.imported import forget, load
from tests.models.lit_sweeps import FILE


@pytest.fixture
def lit_is_imported():
    """While a test runs."""
    load(FILE)
    yield
    forget(FILE)
