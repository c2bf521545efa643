"""A browser, where there is one; `make page-test` demands it."""

from __future__ import annotations

import os

import pytest

from benchmarks.page.chromium import EXECUTABLE, Browser, Tab


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if EXECUTABLE is None:
        if os.environ.get("SEEDBED_BROWSER") == "required":
            pytest.fail("no chromium was found")
        pytest.skip("no chromium was found; `make page-test` demands one")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def tab(browser):
    """Makes pages; each must have ended without an error, and without a request to anybody else."""
    made = []

    def make(*arguments, **options):
        made.append(Tab(browser, *arguments, **options))
        return made[-1]

    yield make
    for page in made:
        assert not page.errors()
        assert all(url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:")) for url in page.requests())
        page.close()
