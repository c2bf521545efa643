"""Commands read a sweep's outcomes by a second criterion, beside what is by its own."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.csv
import pytest

from analysis.outcomes.outcomes import decide_outcomes
from analysis.tables.sweep import Sweep
from pipeline.spec.criterion import Criterion
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.open_pack import open_pack
from sweeps.command.sources import judged_alike, read_source
from sweeps.command.watch.live_page import live_pages
from tests.support import opened, tiny, trained
from tests.sweeps.test_cli import run

CHANGES = {
    "seeds": {"together": {"range": [0, 8]}},
    "converged": {"metric": "label_accuracy", "at_least": 0.3, "evaluations": 1},
    "stopping": {"name": "run_to_budget"},
    "windows": [0.0, 0.34],
    "readings": [],
}


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """A finished sweep that declares no other criterion."""
    return trained(tiny(**CHANGES), tmp_path_factory.mktemp("second") / "r")


@pytest.fixture(scope="module")
def level(without):
    """A training loss that half of the runs reach."""
    return round(float(np.median(np.nanmin(without.history().values["train_loss"], axis=1))), 6)


@pytest.fixture
def store(without, tmp_path, level):
    """The same with the criterion `fitted`, as a launch with it in the file leaves it."""
    store = SweepStore(shutil.copytree(without.folder, tmp_path / "r"))
    criteria = {"fitted": {"metric": "train_loss", "at_most": level, "evaluations": 1}}
    store.write_documents(store.sweep | {"spec": store.sweep["spec"] | {"criteria": criteria}}, store.plan, False)
    return store


def _fitted(level):
    return Criterion("train_loss", at_most=level, evaluations=1)


def test_an_analysis_by_a_second_criterion_stands_beside_the_sweeps_own(store, level, monkeypatch, capsys):
    assert run(monkeypatch, capsys, "analyse", store.folder)[0] == 0
    own = (store.folder / "analysis.json").read_bytes()
    code, printed = run(monkeypatch, capsys, "analyse", store.folder, "--criterion", "fitted")
    assert (code, f"Converged means {_fitted(level)}" in " ".join(printed.split())) == (0, True)
    assert (store.folder / "analysis.json").read_bytes() == own
    document = json.loads((store.folder / "criterion-fitted" / "analysis.json").read_bytes())
    expected = decide_outcomes(store.history(), _fitted(level))
    assert [row["outcome"] for row in document["runs"]] == expected.kind_R.tolist()
    assert [row["by"] for row in document["runs"]] == expected.upper_R.tolist()
    assert {*expected.kind_R.tolist()} == {"converged", "unconverged"}
    assert document["runs"] != json.loads(own)["runs"]
    inside = ("--criterion", "train_loss<=2", "--out", store.folder)
    assert run(monkeypatch, capsys, "analyse", store.folder, *inside)[0] == 0
    assert (store.folder / "analysis.json").read_bytes() == own


def test_a_criterion_on_what_no_run_recorded_is_refused_everywhere(store, monkeypatch, capsys):
    arms = ("--arms", "init_scale=1", "init_scale=1")
    for command, *more in (("analyse",), ("forecast",), ("export",), ("watch",), ("compare", *arms)):
        code, printed = run(monkeypatch, capsys, command, store.folder, *more, "--criterion", "fit_loss<=1")
        assert (code, "'fit_loss'" in printed) == (2, True), f"{command}: {printed}"
    code, printed = run(monkeypatch, capsys, "analyse", store.folder, "--criterion", "fited")
    assert (code, "there are: converged, fitted" in printed) == (2, True)
    assert not list(store.folder.glob("criterion-*"))


def test_tables_have_the_outcomes_of_the_criterion_and_its_held_out_forecasts_alone(store, level, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "export", store.folder, "--csv", "--criterion", "fitted")
    assert (code, "seedbed analyse" in printed and "--criterion fitted makes" in printed) == (0, True)
    run(monkeypatch, capsys, "analyse", store.folder)
    assert Sweep(store.folder, "fitted").runs()["held_out_0.34"].null_count == 8
    run(monkeypatch, capsys, "analyse", store.folder, "--criterion", "fitted")
    code, printed = run(monkeypatch, capsys, "export", store.folder, "--csv", "--criterion", "fitted")
    assert (code, "analyse" in printed) == (0, False)
    rows = pyarrow.csv.read_csv(store.folder / "criterion-fitted" / "export" / "runs.csv").to_pylist()
    expected = decide_outcomes(store.history(), _fitted(level))
    assert [row["outcome"] for row in rows] == expected.kind_R.tolist()
    assert [row["outcome_by"] for row in rows] == expected.upper_R.tolist()
    assert Sweep(store.folder, "fitted").runs().schema.metadata[b"seedbed.criterion"] == str(_fitted(level)).encode()
    document = json.loads((store.folder / "criterion-fitted" / "analysis.json").read_bytes())
    assert [row["held_out_0.34"] for row in rows] == [row["p_converged"][1] for row in document["runs"]]
    with pytest.raises(StoreError, match="there are: converged, fitted"):
        Sweep(store.folder, "other")


def test_sweeps_are_read_as_one_by_a_criterion_of_all_and_not_by_names_that_mean_different_things(store, tmp_path):
    others = {"seeds": {"together": [20, 21]}, "converged": {"metric": "label_loss", "at_most": 1.0}}
    other = trained(
        tiny(**CHANGES | others, criteria={"fitted": {"metric": "train_loss", "at_most": 9.0}}), tmp_path / "o"
    )
    both = [store, other]
    with pytest.raises(StoreError, match="different criteria"):
        read_source(both)
    with pytest.raises(StoreError, match="different criteria"):
        read_source(both, criterion="fitted")
    found = read_source(both, criterion="label_loss<=1 at 2 evaluations")
    assert found.outcomes.criterion == Criterion("label_loss", at_most=1.0)
    assert len(found.history.runs) == 10
    # It is the other's own: what is made of both must not take the place of what is by their own.
    assert not judged_alike(both[::-1], "label_loss<=1 at 2 evaluations").is_own


def test_a_served_page_judges_by_the_criterion_and_shows_no_forecast_of_another(store, level, monkeypatch, capsys):
    run(monkeypatch, capsys, "analyse", store.folder)
    own, fitted = (
        next(iter(live_pages(store, None, judged_alike([store], name)).values())) for name in (None, "fitted")
    )
    assert "held_out_1" in own.html([], "report")
    assert str(_fitted(level)) in fitted.html([], "report").replace("\\u003c", "<")
    assert "held_out_1" not in fitted.html([], "report")
    report = store.folder / "report" / "report.html"
    report.parent.mkdir()
    report.write_text("own")
    assert (own.report(), fitted.report()) == (b"own", None)


def test_a_forecast_by_another_criterion_is_not_kept_as_the_newest(tmp_path, monkeypatch, capsys):
    spec = tiny(**CHANGES, criteria={"fitted": {"metric": "train_loss", "at_most": 0.5}})
    half = opened(spec, tmp_path / "half")
    loop = open_pack(half, half.pack_ids()[0])
    loop.step()
    loop.commit()
    code, printed = run(monkeypatch, capsys, "forecast", half.folder, "--criterion", "fitted", "--json")
    document = json.loads(printed)
    assert (code, len(document["runs"]), document["criterion"][:17]) == (0, 8, "train_loss <= 0.5")
    printed = run(monkeypatch, capsys, "forecast", half.folder, "--criterion", "fitted")[1]
    assert "converged means train_loss <= 0.5 at 2 successive evaluations" in printed
    assert not (half.folder / "forecast.json").exists()
    assert run(monkeypatch, capsys, "forecast", half.folder)[0] == 0
    assert (SweepStore(half.folder).folder / "forecast.json").exists()
