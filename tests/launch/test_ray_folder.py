"""A local Ray has a private folder, which goes with its launch or with the next one; and it is given three tries."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from types import SimpleNamespace

import pytest

from pipeline.launch import ray as ray_launch
from pipeline.launch import ray_session
from pipeline.launch.ray_folder import leftovers, private_folder
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.launch.ray_folder._LONGEST", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_private_and_goes_with_the_launch(base):
    with private_folder() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "r").mkdir(mode=0o777)
        assert leftovers(base) == []
    assert not list(base.iterdir())


def test_what_a_killed_launch_left_goes_with_the_next_and_nothing_else_does(base):
    left, living, other = (base / f"seedbed-ray-{name}" for name in ("left", "living", "other"))
    for folder in (left, living, other):
        (folder / "r").mkdir(parents=True)
    (base / "seedbed-ray-link").symlink_to(left)
    (left / "lock").touch()
    with open(living / "lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert leftovers(base) == [left]
        with private_folder():
            assert not left.exists()
            assert living.exists()
    assert other.exists(), "it has no lock, so it is not ours"


def test_a_long_name_is_not_used_since_sockets_could_not_be_made(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with private_folder() as folder:
        assert str(folder.parent) == "/tmp"
        assert len(os.fsencode(folder)) < 107 - 60


class SlowRay:
    """A Ray that starts at the `good`-th try, and raises errors of this class before."""

    def __init__(self, good, error=RuntimeError):
        self.good, self.tries, self.stops, self.error = good, 0, 0, error

    def init(self, **options):
        self.tries += 1
        if self.tries < self.good:
            raise self.error("Failed to start GCS.\n\nforty lines\n" * 20)

    def shutdown(self):
        self.stops += 1


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError, Exception])
def test_a_ray_that_starts_slowly_is_tried_three_times_and_then_told_in_a_sentence(error):
    third, never = SlowRay(3, error), SlowRay(9, error)
    ray_session._init(third)
    assert (third.tries, third.stops) == (3, 2)
    with pytest.raises(StoreError, match=r"^Ray did not start in 3 tries \(Failed to start GCS.\); .*--inline$"):
        ray_session._init(never)
    assert (never.tries, never.stops) == (3, 3)


def test_other_errors_of_its_start_are_not_tried_again():
    wrong = SlowRay(2, TypeError)
    with pytest.raises(TypeError):
        ray_session._init(wrong)
    assert wrong.tries == 1


def test_a_process_that_imported_ray_before_is_told_that_it_cannot_close_it_to_others(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", object())
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    with pytest.raises(StoreError, match=r"imported ray before the launch.*train without Ray"):
        ray_session.connect(None)
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


def test_an_address_of_ray_client_is_refused_with_what_to_do_instead(monkeypatch):
    monkeypatch.setattr(ray_session, "prepare", lambda address: None)
    with pytest.raises(StoreError, match=r"given 'ray://head:10001': launch on a machine of the cluster"):
        ray_session.connect("ray://head:10001")


def test_once_a_sweep_is_to_stop_no_worker_begins_a_pack_that_waits(monkeypatch, tmp_path):
    """Tune hands out all of them before it ends."""
    reports, begun, told = [], [], []
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(tune=SimpleNamespace(report=reports.append)))
    monkeypatch.setattr(ray_launch, "run_pack", lambda folder, pack_id, *_, **__: begun.append(pack_id))
    config = {"folder": str(tmp_path), "pack_id": "one", "allowed": []}
    ray_launch._trial(config)
    assert (begun, reports) == (["one"], [])
    SweepStore(tmp_path).stop_file.touch()
    ray_launch._trial(config)
    assert (begun, len(reports)) == (["one"], 1)
    reporter = ray_launch._reporter(SimpleNamespace(Callback=object), lambda *given: told.append(given))
    reporter.on_trial_result(1, [], SimpleNamespace(config=config), reports[0])
    assert (told, reporter.failures, reporter.sent_back) == ([], {}, {})
