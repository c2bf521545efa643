"""The command on a sweep of several budgets: each judged and analysed apart, or one chosen, never mixed in silence."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest

from analysis.forecasting.ceiling import read_ceiling
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.base import PREDICTORS
from analysis.summary.analyse import analyse
from pipeline.spec.registered import declared
from pipeline.spec.sweep import SweepSpec
from pipeline.stopping.forecast import StopByForecast
from pipeline.store.added import added_tables
from pipeline.store.stored_forecast import newest_orders, read_forecast, write_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.training.open_pack import open_pack
from sweeps.command import analysing
from sweeps.command.smoke import smoke
from tests.support import opened, tiny, trained
from tests.sweeps.test_cli import run

RATES = {60: 3e-3, 30: 1e-2}
# Some runs of either rate meet it.
COMMON = {
    "seeds": {"together": {"range": [0, 14]}},
    "resources": {"slots": 14},
    "readings": [],
    "snapshots": {"states": [10]},
    "converged": {"metric": "label_accuracy", "at_least": 0.45, "evaluations": 1},
    "stopping": {"name": "run_to_budget"},
}
MIXED = tiny(**COMMON, budget=60, vary=[{"optimiser.lr": [3e-3, 1e-2], "budget": [60, 30]}])


@pytest.fixture(autouse=True)
def _briefly(monkeypatch):
    """Analyses with few predictors, one window and few resamples."""
    predictors = {name: PREDICTORS[name]() for name in ("base_rate", "ridge_time")}
    monkeypatch.setattr(analysing, "analyse", partial(analyse, windows=(0.5,), predictors=predictors, bootstrap=20))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return trained(MIXED, tmp_path_factory.mktemp("mixed") / "r")


@pytest.fixture
def store(mixed, tmp_path, monkeypatch):
    """The finished sweep in a folder of its own, which is r in the working directory."""
    (tmp_path / "r").mkdir()
    for path in mixed.folder.iterdir():
        (tmp_path / "r" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return SweepStore(tmp_path / "r")


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The sweep b, whose runs of 60 steps are at step 20, and whose others have not begun."""
    # Packed setting by setting, not in turn.
    monkeypatch.setattr("pipeline.planning.packs._ordered", lambda run_ids, runs: tuple(run_ids))
    found = opened(MIXED, tmp_path / "b")
    (pack_id,) = found.pack_ids()
    loop = open_pack(found, pack_id)
    for _ in range(2):
        loop.step()
    loop.commit()
    monkeypatch.chdir(tmp_path)
    return found


def read(path):
    return json.loads(path.read_bytes())


def test_each_budget_is_analysed_as_a_sweep_of_its_own_and_tables_are_joined(store, tmp_path, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "analyse", "r")
    assert code == 0
    assert "28 runs of 2 settings with budgets of 30 and 60 steps" in printed
    whole = read(store.folder / "analysis.json")
    assert whole["budgets"] == [30, 60]
    kinds = {}
    for budget, rate in RATES.items():
        part = read(store.folder / f"budget-{budget}" / "analysis.json")
        single = tiny(**COMMON, budget=budget, vary=[{"optimiser.lr": [rate]}])
        alone = trained(single, tmp_path / f"alone-{budget}")
        assert run(monkeypatch, capsys, "analyse", alone.folder)[0] == 0
        wanted = read(alone.folder / "analysis.json")
        assert {key: part[key] for key in part if key != "provenance"} == {
            key: wanted[key] for key in wanted if key != "provenance"
        }
        (setting,) = (row for row in whole["settings"] if row["budget"] == budget)
        assert setting["label"] == f"lr={rate:g}, budget={budget}"
        assert [row for row in whole["runs"] if row["budget"] == budget] == [
            {**row, "budget": budget} for row in part["runs"]
        ]
        kinds[budget] = {row["outcome"] for row in part["runs"]}
        assert all(row["by"] == budget for row in part["runs"] if row["outcome"] == "unconverged")
    assert set.union(*kinds.values()) == {"converged", "unconverged"}


def test_the_report_leads_from_a_first_page_to_one_of_each_budget(store, monkeypatch, capsys):
    monkeypatch.setattr("analysis.report.report.figures", lambda analysis: [])
    monkeypatch.setattr("analysis.report.report.render_html", lambda analysis, *_, **__: str(analysis.history.budget))
    code, printed = run(monkeypatch, capsys, "report", "r", "--budget", "30")
    assert (code, "report: r/budget-30/report/report.html" in printed) == (0, True)
    assert not (store.folder / "report").exists()
    code, printed = run(monkeypatch, capsys, "report", "r")
    assert (code, "report: r/report/report.html" in printed) == (0, True)
    page = (store.folder / "report" / "report.html").read_text()
    links = re.findall(r'href="([^"]+)">Budget (\d+) steps', page)
    assert [(store.folder / "report" / link).read_text() for link, _ in links] == ["30", "60"]
    assert "lr=0.01, budget=30" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ("policy",),
        ("fit", "--out", "f.json"),
        ("ceiling", "--inline"),
        ("look-ahead", "--window", "0", "--inline"),
        ("forecast", "--predictor", "f.json"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_one_budget_asks_for_it_by_name(arguments, store, monkeypatch, capsys):
    command, *rest = arguments
    code, printed = run(monkeypatch, capsys, command, "r", *rest)
    assert code == 2
    assert "budgets of 30 and 60 steps" in printed
    assert "--budget" in printed
    code, printed = run(monkeypatch, capsys, command, "r", *rest, "--budget", "45")
    assert (code, "none with 45" in printed) == (2, True)


def test_a_policy_is_for_one_budget_so_a_sweep_of_several_is_refused_with_it():
    with pytest.raises(ValueError, match="budget: the policy was made for 1000, this sweep has 600"):
        tiny(
            budget=1000,
            grid={"chunk": 100},
            stopping=declared(StopByForecast.tiny()),
            vary=[{"optimiser.lr": [3e-3, 1e-2], "budget": [1000, 600]}],
        )


def test_all_runs_that_are_left_are_forecast_those_of_a_budget_that_has_not_begun_too(begun, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "forecast", "b", "--json")
    assert code == 0
    document = json.loads(printed)
    _, long = begun.histories()
    kinds = zip(long.runs, decide_outcomes(long, MIXED.criterion).kind_R, strict=True)
    left = {row["run_id"] for row in begun.plan["runs"]} - {run.run_id for run, kind in kinds if kind == "converged"}
    assert {row["run_id"] for row in document["runs"]} == left
    assert len(document["runs"]) == len(left) > 14
    assert {(row["budget"], row["step"]) for row in document["runs"]} == {(60, 20), (30, 0)}
    assert {row["problem"] for row in document["runs"] if row["budget"] == 30} == {"too early"}
    assert set(document["budget"].values()) == {30, 60}
    assert read_forecast(begun).forecasts == document
    code, printed = run(monkeypatch, capsys, "status", "b")
    assert (code, f"{len(left)} have no forecast (14: too early)" in printed) == (3, True), printed
    (begun.folder / "forecast.json").unlink()
    assert run(monkeypatch, capsys, "forecast", "b", "--budget", "60")[0] == 0
    assert read_forecast(begun) is None
    code, printed = run(monkeypatch, capsys, "analyse", "b")
    assert (code, "budget 30 steps: nothing is committed yet" in printed) == (0, True)
    assert len(read_forecast(begun).forecasts["runs"]) == len(left)


def test_a_forecast_for_other_budgets_counts_as_none(begun):
    forecasts = {"budget": dict.fromkeys(begun.plan["settings"], 60), "runs": [], "windows": []}
    write_forecast(begun, newest_orders(begun), 28, forecasts)
    assert read_forecast(begun) is None


def test_status_and_plan_name_the_budgets(store, monkeypatch, capsys):
    _, printed = run(monkeypatch, capsys, "status", "r", "--runs")
    assert "budget" in printed.splitlines()[1]
    code, printed = run(monkeypatch, capsys, "status", "r", "--runs", "--json")
    assert code == 0
    rows = json.loads(printed)["runs"]
    assert [row["run_id"] for row in rows] == [row["run_id"] for row in store.plan["runs"]]
    assert {(row["optimiser.lr"], row["budget"], row["step"]) for row in rows} == {(3e-3, 60, 60), (1e-2, 30, 30)}
    (store.folder.parent / "mixed.yaml").write_text(MIXED.to_yaml())
    code, printed = run(monkeypatch, capsys, "plan", "mixed.yaml", "--inline")
    assert code == 0
    assert "28 runs in 2 settings, budget 30 or 60 steps" in printed
    assert "windows of a budget of 30: 0 (step 0), 0.25 (step 10)" in printed
    assert "windows of a budget of 60: 0 (step 0), 0.1 (step 10), 0.5 (step 30)" in printed


def test_a_smoke_run_asks_for_no_more_evaluations_than_it_has():
    many = tiny(budget=200, converged={**tiny().identity()["converged"], "evaluations": 5})
    assert (many.criterion.evaluations, smoke(many).criterion.evaluations) == (5, 4)
    assert smoke(MIXED).criterion == MIXED.criterion


def test_a_smoke_run_gives_every_setting_the_same_few_chunks():
    found = smoke(MIXED)
    assert (found.budgets, len(found.expanded_settings)) == ((40,), 2)
    drawn = {"random": {"optimiser.lr": {"uniform": [0.1, 0.2]}, "budget": {"choice": [60, 30]}}, "num": 3}
    found = smoke(SweepSpec.model_validate({**MIXED.identity(), "vary": [drawn]}))
    assert (found.budgets, len(found.expanded_settings)) == ((40,), 3)


def test_folders_are_read_as_one_by_budget(store, tmp_path, monkeypatch, capsys):
    seeds = {"together": {"range": [20, 26]}}
    more = MIXED.identity() | {"name": "more", "seeds": seeds}
    trained(SweepSpec.model_validate(more), tmp_path / "more")
    trained(tiny(**{**COMMON, "seeds": seeds}, name="short", budget=30), tmp_path / "short")
    code, printed = run(monkeypatch, capsys, "analyse", "r", "more")
    assert (code, "40 runs of 2 settings" in printed) == (0, True)
    code, printed = run(monkeypatch, capsys, "analyse", "r", "short")
    assert code == 2
    assert "r: 30 and 60 steps; short: 30 steps; --budget 30 reads the runs with that one" in printed
    code, printed = run(monkeypatch, capsys, "analyse", "r", "short", "--budget", "30")
    assert (code, "tiny + short: 20 runs" in printed) == (0, True)
    code, printed = run(monkeypatch, capsys, "analyse", "r", "short", "--budget", "60")
    assert (code, "sweep short has runs with budgets of 30 steps, none with 60" in printed) == (2, True)


def test_look_aheads_of_two_budgets_at_one_step_stand_beside_one_another(store, monkeypatch, capsys):
    before = {history.budget: history for history in store.histories()}
    for budget, cost in ((30, 0.34), (60, 0.34)):
        arguments = ("--window", "0", "--cost", cost, "--budget", budget, "--readings", "", "--inline")
        code, printed = run(monkeypatch, capsys, "look-ahead", "r", *arguments)
        assert code == 0, printed
    assert sorted(added.name for added in added_tables(store.folder)) == ["ahead-0-budget-30", "ahead-0-budget-60"]
    for history in store.histories():
        assert history.readings
        assert history.extra_compute == {0: pytest.approx(20 / 60 if history.budget == 60 else 10 / 30)}
        assert len(history.runs) == len(before[history.budget].runs) == 14


def test_a_ceiling_is_of_one_budget_whose_forks_have_it_too(store, monkeypatch, capsys):
    arguments = ("--children", "2", "--parents", "4", "--windows", "0", "--inline", "--budget", "30")
    code, printed = run(monkeypatch, capsys, "ceiling", "r", *arguments)
    assert code == 0, printed
    assert read_ceiling(store.folder) is None
    assert read_ceiling(store.folder / "budget-30")["budget"] == 30
    forks = SweepStore(store.folder.parent / "r-ceiling" / "budget-30" / "step-0").history()
    assert (forks.budget, len(forks.runs)) == (30, 8)
    run(monkeypatch, capsys, "analyse", "r")
    assert [row["window"] for row in read(store.folder / "budget-30" / "analysis.json")["ceiling"]] == [0]
    assert read(store.folder / "budget-60" / "analysis.json")["ceiling"] == []
