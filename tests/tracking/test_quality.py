"""Tables of the sweep's tracked run: outcomes by setting, and how good forecasts are by the newest analysis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.forecasting.evaluation import PRIMARY
from analysis.summary.analyse import analyse
from pipeline.store.shapes import ANALYSIS, misfit
from pipeline.tracking.progress import CommittedProgress
from pipeline.tracking.quality import ForecastQuality, analysis_stamps, outcome_table
from tests.analysis.synthetic import synthetic_history
from tests.tracking.tracked import Sweep, mirrored, named_folders, run_mirror


@pytest.fixture
def analysed(tmp_path: Path):
    """A sweep with a whole analysis of it, whose numbers are those of drawn histories."""
    sweep = Sweep(tmp_path / "s", num_seeds=2)
    document = analyse(synthetic_history(2, 12), bootstrap=20).to_json()
    assert misfit(document, ANALYSIS) is None
    document["runs"] = [{**document["runs"][0], "run_id": run_id} for run_id in sweep.run_ids]
    (sweep.folder / "analysis.json").write_text(json.dumps(document))
    return sweep, document


def test_auroc_and_calibration_are_those_of_the_analysis(analysed) -> None:
    sweep, document = analysed
    found = ForecastQuality.of(sweep.store)
    windows = [window for window in document["evaluation"]["windows"] if window["num_scored"]]
    scored = {row[:2]: row[2:] for row in found.tables["tables/auroc"].rows}
    assert len(windows) > 1
    for window in windows:
        interval = window["scores"][PRIMARY]["auroc_within"]
        assert scored[PRIMARY, window["fraction"]] == (*interval, window["num_scored"])
    lines = {row[:2]: row[2] for row in found.tables["tables/auroc_interval"].rows}
    assert document["evaluation"]["primary"] == PRIMARY
    for window in windows:
        drawn = [lines.get((line, window["fraction"])) for line in (PRIMARY, "95% from", "95% to")]
        assert drawn == window["scores"][PRIMARY]["auroc_within"]
    bins = found.tables["tables/calibration"].rows
    for window in windows:
        of_window = [row for row in bins if row[0] == f"{100 * window['fraction']:.3g}%"]
        assert sum(row[-1] for row in of_window) == window["num_scored"]
        assert [row[1] for row in of_window] == sorted(row[1] for row in of_window)
        # Bins of equal mass, unweighted here: their shares make up the share of all.
        share = sum(row[2] * row[-1] for row in of_window) / window["num_scored"]
        assert share == pytest.approx(window["base_rate"])


def test_an_analysis_of_other_runs_damaged_or_linked_counts_as_none(analysed, tmp_path: Path) -> None:
    sweep, document = analysed
    path = sweep.folder / "analysis.json"
    before, whole = analysis_stamps(sweep.store), path.read_bytes()
    other = document | {"runs": [{**document["runs"][0], "run_id": "f" * 16}]}
    broken = document | {"evaluation": {"windows": [{"fraction": "0.1"}]}}
    for content in (json.dumps(other).encode(), json.dumps(broken).encode(), whole[:100], b"[]", b"\xff"):
        path.write_bytes(content)
        assert ForecastQuality.of(sweep.store) is None
    assert analysis_stamps(sweep.store) != before
    path.write_text(json.dumps(document | {"evaluation": None}))
    assert ForecastQuality.of(sweep.store) is None
    (tmp_path / "elsewhere.json").write_bytes(whole)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere.json")
    assert ForecastQuality.of(sweep.store) is None


@pytest.mark.wandb
def test_the_sweeps_run_holds_the_tables_and_those_of_forecasts_once(analysed) -> None:
    sweep, _ = analysed
    first, *others = sweep.run_ids
    sweep.train(first, 200, excess=0.01)
    sweep.end(first, "converged", is_converged=True)
    sweep.train(others[0], 100)
    sweep.commit()
    run_mirror(sweep.folder)
    key = f"{sweep.id}-sweep"
    summary = mirrored(sweep.folder)[key].summary
    tables = {f"tables/{name}" for name in ("outcomes", "auroc", "auroc_interval", "calibration")}
    assert tables <= summary.keys()
    rows = table_of(sweep, summary["tables/outcomes"])
    assert [row[0] for row in rows] == ["tiny: model.head_width=4", "tiny: model.head_width=3"]
    assert [row[1:] for row in rows] == [[1, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 2]]
    named = set(named_folders(sweep.folder))
    sweep.finish(*others)
    run_mirror(sweep.folder)
    later = mirrored(sweep.folder, [name for name in named_folders(sweep.folder) if name not in named])[key].summary
    assert [row[1:3] for row in table_of(sweep, later["tables/outcomes"])] == [[1, 1], [0, 2]]
    assert "tables/auroc" not in later


def test_equal_runs_count_once_in_the_table_of_outcomes(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=2)
    ended = {run_id: CommittedProgress(400, "budget") for run_id in sweep.run_ids}
    rows = outcome_table(sweep.store.plan, ended, set(sweep.run_ids) - {sweep.setting(0)[1]}).rows
    assert [row[2] for row in rows] == [1, 2]


def table_of(sweep: Sweep, about: dict) -> list[list]:
    """The rows of a table in a summary, from its file."""
    (path,) = (sweep.folder / "wandb").glob(f"*-sweep/files/{about['path']}")
    return json.loads(path.read_bytes())["data"]
