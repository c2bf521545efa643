"""Pictures and files that tracked runs carry, and alerts; nothing that a link leads to."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from pipeline.store.stored_forecast import newest_orders, write_forecast
from pipeline.tracking.alerts import Alerts
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.pictures import ReportFiles, _tiles, attention_pictures, representative_of
from tests.store.test_stored_forecast import forecasts_of, in_training
from tests.tracking.tracked import Sweep, mirrored, run_mirror

needs_pillow = pytest.mark.skipif(find_spec("PIL") is None, reason="the extra `dashboards`")


def write_report(folder):
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "report.html").write_text("<p>all</p>")
    return folder / "report"


def test_heads_stand_side_by_side_averaged_over_items_and_white_is_all_of_the_attention():
    maps_BHLL = np.zeros((2, 2, 3, 3))
    maps_BHLL[:, 0, 0, 1] = 1.0
    maps_BHLL[0, 1, 2, 2] = 1.0
    picture = _tiles(maps_BHLL)
    assert picture.shape == (3 * 8, (3 + 1 + 3) * 8)
    small = picture[::8, ::8]
    assert small[0].tolist() == [0, 255, 0, 128, 0, 0, 0]
    assert small[2].tolist() == [0, 0, 0, 128, 0, 0, 128]


@needs_pillow
def test_a_setting_has_the_attention_of_one_of_its_runs_in_its_last_row(tmp_path):
    sweep = Sweep(tmp_path / "s", num_seeds=2)
    for run_id in sweep.setting(0):
        sweep.recorders[sweep.pack_of[run_id]].add_snapshot(run_id, 400, "attention", {"layer0": np.eye(3)[None, None]})
    sweep.finish()
    write_report(sweep.folder)
    run_mirror(sweep.folder)
    found = mirrored(sweep.folder)
    (whole,) = [item for item in found.values() if item.begun[0]["name"] == "hw4-all2"]
    assert [step for step, row in whole.rows if any("attention/layer0" in name for name in row)] == [400]
    assert list((sweep.folder / "wandb").glob("*run-*/files/media/images/attention/layer0*.png"))


@needs_pillow
def test_without_maps_there_is_no_picture():
    assert attention_pictures({}, "caption") == {}


def test_the_report_is_kept_with_the_sweep_once_and_again_when_it_changes(tmp_path):
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    report = write_report(sweep.folder)

    def num_folders():
        return len(list((sweep.folder / "wandb").glob("*-sweep")))

    def artifacts():
        found = (sweep.folder / "wandb").glob("*-sweep/*.wandb")
        return sum(path.read_bytes().count(f"report-{sweep.id}".encode()) > 0 for path in found)

    run_mirror(sweep.folder)
    assert (num_folders(), artifacts()) == (1, 1)
    run_mirror(sweep.folder)
    assert num_folders() == 1
    # Some of these mirrors begin in one second, by which wandb names their folders.
    for number in (2, 3, 4, 5):
        (report / "report.html").write_text(f"<p>{number}</p>")
        run_mirror(sweep.folder)
        assert (num_folders(), artifacts()) == (number, number)


def test_no_link_of_a_report_is_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret.png").write_text("secret")
    (tmp_path / "s").mkdir()
    report = write_report(tmp_path / "s")
    (report / "linked.png").symlink_to(elsewhere / "secret.png")
    (report / "notes.txt").write_text("mine")
    found = ReportFiles.of(tmp_path / "s")
    assert list(found.files) == ["report.html"]
    assert ReportFiles.of(tmp_path / "none") is None
    report.rename(elsewhere / "report")
    (tmp_path / "s" / "report").symlink_to(elsewhere / "report")
    assert ReportFiles.of(tmp_path / "s") is None


def test_the_run_that_stands_for_a_setting_is_the_middle_one():
    assert representative_of(("c", "a", "b")) == "b"


def test_alerts_are_due_once_each_and_only_online(tmp_path):
    sweep = in_training(tmp_path / "s")
    write_forecast(sweep.store, newest_orders(sweep.store), 4, forecasts_of(sweep))
    reader = CommitReader(sweep.store)
    reader.refresh()
    whole = reader.tracked[-1]
    alerts = Alerts(reader, is_enabled=True)
    alerts.add_failed(["p1"])
    failed, forecast = alerts.take(reader.progress(whole))
    assert ("p1" in failed.text, failed.is_bad) == (True, True)
    assert "1.6 of 4 runs are expected to converge" in forecast.text
    assert "1,200 run-steps" in forecast.text
    assert alerts.take(reader.progress(whole)) == []
    alerts.give_back([failed])
    assert alerts.take(reader.progress(whole)) == [failed]
    sweep.finish()
    reader.refresh()
    (done,) = alerts.take(reader.progress(whole))
    assert "4 runs ended: 0 converged, 0 diverged" in done.text
    assert alerts.take(reader.progress(whole)) == []
    assert Alerts(reader, is_enabled=True).take(reader.progress(whole)) == [], "it was over before"
    silent = Alerts(reader, is_enabled=False)
    silent.add_failed(["p1"])
    assert silent.take(reader.progress(whole)) == []
