"""A sweep's workspace and report: built of the metrics that it has, in the forms that wandb's own package checks."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.tracking.dashboard import metrics_of, outcomes_markdown, workspace_json, workspace_of
from pipeline.tracking.names import is_legal
from tests.sweeps.test_cli import run
from tests.tracking.fake_wandb import Server
from tests.tracking.tracked import Sweep

needs_workspaces = pytest.mark.skipif(find_spec("wandb_workspaces") is None, reason="the extra `dashboards`")


@pytest.fixture
def sweep(tmp_path):
    sweep = Sweep(tmp_path / "s", num_seeds=2)
    first, second = sweep.setting(0)
    sweep.train(first, 200, excess=0.01)
    sweep.end(first, "converged", is_converged=True)
    sweep.train(second, 100)
    sweep.commit()
    return sweep


def test_the_table_counts_the_outcomes_of_every_setting(sweep):
    assert outcomes_markdown(sweep.store).splitlines() == [
        "| setting | converged | unconverged | diverged | censored | failed | in training | waiting |",
        "|---|---|---|---|---|---|---|---|",
        "| tiny: model.head_width=4 | 1 | 0 | 0 | 0 | 0 | 1 | 0 |",
        "| tiny: model.head_width=3 | 0 | 0 | 0 | 0 | 0 | 0 | 2 |",
    ]


def test_bands_are_of_the_metrics_that_the_sweep_records_the_criterion_first(sweep, tmp_path):
    assert metrics_of(sweep.store) == ["label_excess", "label_loss"]
    assert len(metrics_of(Sweep(tmp_path / "new").store)) > 4


@needs_workspaces
def test_the_workspace_is_of_the_sweep_alone_and_names_only_what_it_tracks(sweep):
    from wandb_workspaces.workspaces import internal

    content = json.loads(workspace_json(workspace_of(sweep.store, "me")))
    assert internal.WorkspaceViewspec.model_validate(content)
    (runs,) = content["section"]["runSets"]
    assert sweep.id in json.dumps(runs["filters"])
    banks = content["section"]["panelBankConfig"]["sections"]
    assert [bank["name"] for bank in banks][:4] == ["Progress", "Bands by setting", "Converged share", "Outcomes"]
    panels = {panel["config"].get("chartTitle"): panel["config"] for bank in banks for panel in bank["panels"]}
    band = panels["label/excess: 10%, median, 90%"]
    assert band["metrics"] == ["label/excess_q10", "label/excess_q50", "label/excess_q90"]
    assert panels["Share that has converged"]["metrics"] == ["setting/converged_share"]
    quality = next(bank for bank in banks if bank["name"] == "Forecast quality")
    charts = [panel["config"] for panel in quality["panels"] if panel["viewType"] == "Vega2"]
    assert [chart["fieldSettings"] for chart in charts] == [
        {"x": "window", "y": "auroc", "stroke": "line"},
        {"x": "window", "y": "auroc", "stroke": "predictor"},
        {"x": "forecast", "y": "share", "stroke": "window"},
    ]
    queries = [json.dumps(chart["userQuery"]) for chart in charts]
    tables = ["tables/auroc_interval", "tables/auroc", "tables/calibration"]
    assert [f'"{table}"' in query for table, query in zip(tables, queries, strict=True)] == [True] * 3
    names = [name for config in panels.values() for name in config.get("metrics") or []]
    assert len(names) > 10
    assert all(is_legal(name) for name in names)
    assert "Forks" not in [bank["name"] for bank in banks]


@needs_workspaces
def test_the_command_saves_a_workspace_and_a_report(sweep, monkeypatch, capsys):
    with Server().serving() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        code, printed = run(monkeypatch, capsys, "dashboard", sweep.folder)
        server.shutdown()
    assert code == 0, printed
    assert "workspace: http" in printed
    assert "report: http" in printed
    workspace, report = server.views
    assert (workspace["type"], report["type"]) == ("project-view", "runs")
    # The sweep file names none: it is the account's own.
    assert (workspace["entityName"], report["entityName"]) == ("me", "me")
    assert workspace["displayName"] == report["displayName"] == "seedbed tiny"
    blocks = json.loads(report["spec"])["blocks"]
    assert "tiny: model.head\\\\_width=4" in json.dumps(blocks) or "tiny: model.head_width=4" in json.dumps(blocks)
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    assert len(grids) >= 6
    assert all(sweep.id in json.dumps(grid["metadata"]["runSets"]) for grid in grids)


@needs_workspaces
def test_the_workspace_can_be_written_to_a_file_without_an_account(sweep, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    code, printed = run(monkeypatch, capsys, "dashboard", sweep.folder, "--out", tmp_path / "w.json")
    assert code == 0, printed
    assert json.loads((tmp_path / "w.json").read_bytes())["section"]


@needs_workspaces
def test_a_folder_that_cannot_be_read_is_the_cause_that_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    assert run(monkeypatch, capsys, "dashboard", "loop") == (1, "loop/sweep.json: Too many levels of symbolic links\n")
    code, printed = run(monkeypatch, capsys, "dashboard", "nothing")
    assert (code, printed.partition(":")[0]) == (2, "nothing")


def test_without_the_extra_it_is_refused_in_one_sentence(sweep, tmp_path):
    (tmp_path / "wandb_workspaces.py").write_text("raise ModuleNotFoundError('no', name='wandb_workspaces')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from rich.console import Console; "
        "from pipeline.store.sweep_store import SweepStore; from sweeps.command.dashboards import run_dashboard; "
        "sys.exit(run_dashboard(SweepStore(Path(sys.argv[2])), 'w.json', Console(), Console(width=200, stderr=True)))"
    )
    given = [sys.executable, "-c", code, str(tmp_path), str(sweep.folder)]
    done = subprocess.run(given, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "it is made by the package wandb_workspaces, which is missing: pip install 'seedbed[dashboards]'\n"
    )
    assert not Path(tmp_path / "w.json").exists()
