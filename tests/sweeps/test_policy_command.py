"""`seedbed policy`: a table, its JSON, and refusals in a line with exit code 2."""

from __future__ import annotations

import json

import pytest

from pipeline.store.sweep_store import SweepStore
from tests.stopping.test_prices import HISTORY
from tests.support import tiny, trained
from tests.sweeps.test_cli import run
from tests.sweeps.test_forecast_command import NOW

ASKED = ("--lose-at-most", "0.05", "--windows", "0.25,0.5")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A results folder whose history is a finished sweep, and one whose history is a sweep in training."""
    store = trained(tiny(), tmp_path / "done")
    (tmp_path / "now").symlink_to(store.folder)
    histories = {"done": HISTORY, "now": NOW}
    monkeypatch.setattr(SweepStore, "history", lambda self: histories[self.folder.name])
    monkeypatch.chdir(tmp_path)


def test_the_table_has_a_row_for_every_rule_and_json_the_same_numbers(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "policy", "done", *ASKED)
    assert code == 0
    _, as_json = run(monkeypatch, capsys, "policy", "done", *ASKED, "--json")
    document = json.loads(as_json)
    assert (document["lose_at_most"], document["shares_W"]) == (0.05, [0.25, 0.5])
    assert document["budget"] == HISTORY.budget
    lines = printed.splitlines()
    for price in document["prices"]:
        (line,) = [line for line in lines if line.strip().startswith(price["name"])]
        assert f"{price['num_lost']} of {price['num_convergers']} (at most {price['lost_upper']:.1%})" in line
    assert {threshold["is_promised"] for threshold in document["thresholds"]} == {True}
    assert "decisions at steps 500, 1000 of 2000" in printed


def test_what_cannot_be_priced_is_refused_in_a_line(folders, monkeypatch, capsys):
    for arguments, said in (
        (("done",), "takes 299"),
        (("done",), "--point-estimate"),
        (("now", *ASKED), "have no outcome"),
        (("done", "--windows", "0.5,0.25"), "increasing shares"),
        (("done", "--windows", "0,x"), "increasing shares"),
        (("done", "--lose-at-most", "0"), "between 0 and 1"),
        (("done", "now"), "occurs in two"),
    ):
        code, printed = run(monkeypatch, capsys, "policy", *arguments)
        assert (code, said in printed) == (2, True), printed
        assert "Traceback" not in printed


def test_a_point_estimate_says_that_it_promises_nothing(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "policy", "done", "--point-estimate", "--windows", "0.5")
    assert (code, "promises nothing" in printed) == (0, True)
