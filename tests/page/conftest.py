"""A browser, where there is one, since `make page-test` demands it; and a report that it opens."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from analysis.page.data import PageSource
from analysis.page.html import ShownFigure
from analysis.predictors.base import PREDICTORS
from analysis.report.report import render_html
from analysis.summary.analyse import analyse
from benchmarks.page.chromium import EXECUTABLE, Browser, Tab
from tests.analysis.synthetic import synthetic_history
from tests.page.shown import HOSTILE


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


# Not of the session: where there is no browser, that is found first.
@pytest.fixture(scope="package")
def analysis():
    history = synthetic_history(3, 24, name=HOSTILE)
    runs = tuple(
        replace(run, hyperparameters={**run.hyperparameters, "model.kind": f"=<b>{run.setting_id}</b>\"'"})
        for run in history.runs
    )
    history = replace(history, runs=runs, varied=("optimiser.lr", "model.kind"))
    predictors = {name: PREDICTORS[name]() for name in ("last_loss", "ridge_time")}
    return analyse(history, windows=(0.1, 0.25), predictors=predictors, bootstrap=5, provenance={"sweep_id": HOSTILE})


@pytest.fixture(scope="package")
def address(analysis, tmp_path_factory):
    """The page of a report in a file, with one static figure."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><rect width="90" height="60"/></svg>'
    drawn = [ShownFigure("discrimination", HOSTILE, "a black box", svg)]
    path.write_text(render_html(analysis, drawn, PageSource("results/it's here")), encoding="utf-8")
    return path.as_uri()
