"""Seeds and other whole numbers of the page are exact, also those that a browser's numbers cannot hold."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from analysis.page.data import page_state
from analysis.predictors.base import PREDICTORS
from analysis.report.report import render_html
from analysis.summary.analyse import analyse
from tests.analysis.synthetic import synthetic_history

# The first is a float, the second is not, and a browser would show it as the first; the last is the largest seed.
SEEDS = (2**53, 2**53 + 1, 7, 2**63 - 1)


@pytest.fixture(scope="module")
def analysis():
    history = synthetic_history(2, 4)
    runs = tuple(
        replace(run, init_seed=SEEDS[number % 4], hyperparameters={"task.key": 2**53 + 1 + number // 4})
        for number, run in enumerate(history.runs)
    )
    history = replace(history, runs=runs, varied=("task.key",))
    return analyse(history, windows=(0.25,), predictors={"base_rate": PREDICTORS["base_rate"]()}, bootstrap=2)


@pytest.fixture
def page(analysis, tab, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render_html(analysis, []), encoding="utf-8")
    # So narrow that no column is wider than it must be.
    shown = tab(500)
    shown.open(path.as_uri())
    return shown


def searched(page, text):
    """Ids of the runs that a search chooses."""
    page.value(
        f"Object.assign(document.querySelector('#search'), {{value: '{text}'}}).dispatchEvent(new Event('input'))"
    )
    page.drawn()
    return set(page.value("seedbed.table.order.map((run) => seedbed.sweep.texts.run_id[run])"))


def test_a_large_seed_is_shown_sorted_and_exported_digit_by_digit(analysis, page):
    rows = list(csv.DictReader(io.StringIO(page.value("seedbed.table.csv()"))))
    assert [int(row["init_seed"]) for row in rows] == [run.init_seed for run in analysis.history.runs]
    page.value("document.querySelector('[data-key=init_seed] button').click()")
    page.drawn()
    shown = page.value(
        "[...document.querySelectorAll('.space .row')].map((row) => [row.children[2].textContent,"
        " [...row.children].every((cell) => cell.scrollWidth <= cell.clientWidth)])"
    )
    assert shown == [[str(seed), True] for seed in sorted(2 * SEEDS)]
    page.value("seedbed.open(1)")
    page.drawn()
    assert f"init seed {2**53 + 1}, data seed" in page.text("#run")


def test_titles_stand_above_their_columns_where_the_table_is_wider_than_the_page(page):
    lefts = page.value(
        """['.head', '.space .row'].map((one) => [...document.querySelector(one).children].map(
        (cell) => cell.getBoundingClientRect().left))"""
    )
    assert lefts[0] == lefts[1]
    assert page.value("(({scrollWidth, clientWidth}) => scrollWidth > clientWidth)(document.querySelector('#runs'))")
    assert page.value(
        "[...document.querySelectorAll('.head > div')].every((one) => one.scrollWidth <= one.clientWidth)"
    )


def test_a_search_for_a_large_seed_finds_no_neighbour(analysis, page):
    for text, seeds in {
        f"init:{2**53 + 1}": {2**53 + 1},
        f"seed:{2**53}": {2**53},
        f"init:8-{2**53}": {2**53},
        f"init:{2**53 + 2}-{2**63 - 1}": {2**63 - 1},
    }.items():
        assert searched(page, text) == {run.run_id for run in analysis.history.runs if run.init_seed in seeds}, text


def test_a_large_hyperparameter_is_text_that_a_search_finds(analysis, page):
    assert [each["values"] for each in page_state(analysis.history, analysis.outcomes)["settings"]] == [
        {"task.key": str(2**53 + 1)},
        {"task.key": str(2**53 + 2)},
    ]
    assert searched(page, f"key={2**53 + 1}") == {run.run_id for run in analysis.history.runs[:4]}
