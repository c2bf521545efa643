"""`seedbed policy`: a table, its JSON, and refusals in a line with exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from analysis.forecasting.control_share import control_runs
from analysis.outcomes.outcomes import decide_outcomes
from analysis.stopping.audit import StoppingAudit
from analysis.stopping.promise import Promise
from pipeline.spec.registered import declared
from pipeline.stopping.forecast import StopByForecast
from pipeline.stopping.policy_file import read_policy
from pipeline.store.added import AddedTable, add_table
from pipeline.store.sweep_store import SweepStore
from tests.stopping.test_prices import HISTORY
from tests.stopping.under_rule import crude_rule, drawn_sweep, under_rule
from tests.support import opened, tiny
from tests.sweeps.test_cli import run
from tests.sweeps.test_forecast_command import NOW

RULE = crude_rule()
EARLIER, SEEN = drawn_sweep(400, seed=7, first=1000), under_rule(drawn_sweep(600, seed=1), RULE)
ASKED = ("--lose-at-most", "0.05", "--windows", "0.25,0.5")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Results folders whose histories are finished, in training, finished earlier, and finished under a rule."""
    store = opened(tiny(), tmp_path / "done")
    for name in ("now", "earlier"):
        (tmp_path / name).symlink_to(store.folder)
    opened(tiny(budget=400, grid={"chunk": 100}, stopping=declared(RULE)), tmp_path / "ruled")
    histories = {"done": HISTORY, "now": NOW, "earlier": EARLIER, "ruled": SEEN}
    monkeypatch.setattr(SweepStore, "history", lambda self, budget=None: histories[self.folder.name])
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
    assert (document["is_promised"], document["expect_at_most"]) == (True, None)
    assert "decisions at steps 500, 1000 of 2000" in printed


def test_what_cannot_be_priced_is_refused_in_a_line(folders, monkeypatch, capsys):
    for arguments, said in (
        (("done",), "takes 299"),
        (("done",), "--point-estimate"),
        (("now", *ASKED), "have no outcome"),
        (("done", "--windows", "0.5,0.25"), "increasing shares"),
        (("done", "--windows", "0,x"), "increasing shares"),
        (("done", "--lose-at-most", "0"), "--lose-at-most must be between 0 and 1"),
        (("done", "--expect-at-most", "0.01"), "--expect-at-most must be between 0 and --lose-at-most"),
        (("done", "--expect-at-most", "0.005", "--point-estimate"), "--point-estimate wants none"),
        (("done", "now"), "have no outcome"),
    ):
        code, printed = run(monkeypatch, capsys, "policy", *arguments)
        assert (code, said in printed) == (2, True), printed
        assert "Traceback" not in printed


def test_a_point_estimate_says_that_it_promises_nothing(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "policy", "done", "--point-estimate", "--windows", "0.5")
    assert (code, "promises nothing" in printed) == (0, True)


def test_a_second_number_limits_what_is_lost_on_average(folders, monkeypatch, capsys):
    asked = (*ASKED, "--expect-at-most", "0.02", "--out", "mean.json")
    code, printed = run(monkeypatch, capsys, "policy", "done", *asked)
    assert (code, printed.count("with 95% confidence, and 0.02 on average")) == (0, 2)
    policy = read_policy(Path("mean.json"))
    assert policy.num_lost == Promise(0.05, 0.02).most_lost(policy.num_convergers)
    assert "0.05 of the converging runs with 95% confidence and 0.02 on average" in rule_of("mean.json").in_words()
    _, as_json = run(monkeypatch, capsys, "policy", "done", *asked, "--json")
    assert json.loads(as_json)["expect_at_most"] == 0.02


def rule_of(path):
    return StopByForecast(predictor=path, lose_at_most=0.05)


def test_a_sweep_under_a_rule_is_audited_and_a_policy_is_made_anew_from_it_and_an_earlier_one(
    folders, monkeypatch, capsys
):
    audit = StoppingAudit.of(SEEN, decide_outcomes(SEEN), RULE)
    code, printed = run(monkeypatch, capsys, "policy", "ruled")
    assert (code, printed.strip().splitlines()) == (0, list(audit.sentences()))
    _, as_json = run(monkeypatch, capsys, "policy", "ruled", "--json")
    assert json.loads(as_json)["audits"] == [audit.to_json()]
    made = ("--out", "new.json", "--windows", "0.25", "--lose-at-most", "0.1")
    code, printed = run(monkeypatch, capsys, "policy", "ruled", "earlier", *made)
    policy = read_policy(Path("new.json"))
    assert (code, policy.content_hash in printed, "predictor: new.json, lose_at_most: 0.1" in printed) == (
        0,
        True,
        True,
    )
    control_R, converged_R = control_runs(SEEN, RULE), decide_outcomes(SEEN).kind_R == "converged"
    earlier = decide_outcomes(EARLIER).count("converged")
    assert policy.num_convergers == (control_R & converged_R).sum() + earlier
    code, printed = run(monkeypatch, capsys, "policy", "ruled", "--out", "no.json", "--windows", "0.25")
    assert (code, "takes 299" in printed, Path("no.json").exists()) == (2, True, False)


def test_the_plan_says_what_the_rule_does(folders, monkeypatch, capsys):
    spec = tiny(budget=400, grid={"chunk": 100}, stopping=declared(RULE))
    Path("ruled.yaml").write_text(spec.to_yaml())
    code, printed = run(monkeypatch, capsys, "plan", "ruled.yaml", "--inline")
    assert (code, RULE.in_words() in printed) == (0, True), printed
    assert "1 of 1 settings are not among those that the policy was calibrated on" in printed
    code, printed = run(monkeypatch, capsys, "plan", "ruled.yaml", "--inline", "stopping={name: after_convergence}")
    assert "stopping: runs that converged end 2 evaluations later" in printed
    code, printed = run(monkeypatch, capsys, "plan", "ruled.yaml", "--inline", "--smoke")
    assert (code, "stopping: runs that converged end" in printed) == (0, True)


def test_a_sweep_with_added_numbers_alone_is_refused_as_one_without_commits(tmp_path, monkeypatch, capsys):
    store = opened(tiny(), tmp_path / "r")
    run_id = store.plan["runs"][0]["run_id"]
    table = pa.table({"run_id": [run_id], "step": [10], "added.x": [1.0]})
    add_table(store.folder, AddedTable("added", table, {}))
    for command in ("policy", "ceiling", "look-ahead"):
        options = {"ceiling": ("--inline",), "look-ahead": ("--inline", "--window", "0.5")}.get(command, ())
        code, told = run(monkeypatch, capsys, command, str(store.folder), *options)
        assert (code, told.strip()) == (2, f"{store.folder}: nothing is committed yet: there is no label_excess")
