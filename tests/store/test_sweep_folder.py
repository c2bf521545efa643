"""The folder of a sweep: one driver, private files, documents that change together, and specs that it refuses."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.store.driver_lock import DriverLock
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from tests.store.crashes import CrashError, crash_points
from tests.support import opened, rows, tiny, trained, weights


def test_a_second_driver_is_refused_at_once_and_the_first_ones_death_frees_the_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from pipeline.store.driver_lock import DriverLock\n"
        f"with DriverLock(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    started = time.monotonic()
    with pytest.raises(StoreError, match="another"), DriverLock(tmp_path):
        pass
    assert time.monotonic() - started < 2
    holder.kill()
    holder.wait()
    with DriverLock(tmp_path):
        pass


def test_files_are_private_unless_the_sweep_is_shared(tmp_path):
    private = trained(tiny(seeds={"together": [0]}), tmp_path / "a")
    shared = trained(tiny(seeds={"together": [0]}, resources={"slots": 1, "share_with_group": True}), tmp_path / "b")
    for store, forbidden in ((private, 0o077), (shared, 0o007)):
        for path in (store.folder, *store.folder.rglob("*")):
            assert not path.stat().st_mode & forbidden, path
    assert (shared.folder / "sweep.json").stat().st_mode & 0o060 == 0o060
    assert (shared.folder / "packs").stat().st_mode & 0o070 == 0o070


def test_no_secret_of_the_environment_is_in_any_file(tmp_path, monkeypatch):
    secrets = {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI", "WANDB_API_KEY": "0123456789" * 4, "MY_TOKEN": "hunter2-token"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    store = trained(tiny(seeds={"together": [0]}), tmp_path / "a")
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert not [name for name, value in secrets.items() if value.encode() in path.read_bytes()], path


def test_a_store_is_read_with_numpy_and_pyarrow_alone(tmp_path):
    store = trained(tiny(), tmp_path / "a")
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        others = 'torch lightning ray wandb pydantic yaml scipy sklearn pandas'.split()\n"
        "        if name.partition('.')[0] in others: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from pathlib import Path; from pipeline.store.sweep_store import SweepStore\n"
        f"history = SweepStore(Path({str(store.folder)!r})).history()\n"
        "print(len(history.runs), sorted(history.values)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "attention_entropy.l0h0"]


def test_a_folder_of_another_spec_is_refused_field_by_field_and_left_alone(tmp_path):
    store = trained(tiny(), tmp_path / "a")
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    changes = {
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 2.0},
        "batch_size": 8,
        "budget": 20,
        "converged": {"metric": "label_loss", "at_most": 0.5},
        "grid": {"chunk": 10, "eval_items": 64, "probe_items": 16},
    }
    for field, value in changes.items():
        with pytest.raises(StoreError, match=f"{field}.*: .* -> "):
            opened(tiny(**{field: value}), tmp_path / "a")
    with pytest.raises(StoreError, match="removing does not"):
        opened(tiny(seeds={"together": [0, 1]}), tmp_path / "a")
    assert before == {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        opened(tiny(), tmp_path)
    with pytest.raises(StoreError, match="holds no sweep"):
        SweepStore(tmp_path).history()


def test_planning_ten_thousand_runs_takes_about_a_second(tmp_path):
    spec = tiny(seeds={"together": {"range": [0, 10_000]}})
    started = time.monotonic()
    store = opened(spec, tmp_path / "a")
    assert time.monotonic() - started < 4, "planning and writing the plan"
    started = time.monotonic()
    assert len(unfinished(store)) == len(store.plan["packs"])
    assert time.monotonic() - started < 2
    assert weights(store) == {}
    assert rows(store) == {}


@pytest.mark.parametrize("is_first", [True, False])
def test_a_crash_while_the_documents_are_written_leaves_the_old_sweep_or_none(is_first, tmp_path, monkeypatch):
    folder = tmp_path / "a"
    if not is_first:
        opened(tiny(seeds={"together": [0, 1]}), folder)
    old = None if is_first else SweepStore(folder).plan
    for point in range(12):
        with monkeypatch.context() as patch:
            crash_points(patch, point)
            with contextlib.suppress(CrashError):
                opened(tiny(), folder)
        store = SweepStore(folder)
        assert (
            store.is_free() if not store.exists() else len(store.plan["runs"]) in (4, len((old or store.plan)["runs"]))
        )
    assert len(opened(tiny(), folder).plan["runs"]) == 4


def test_documents_are_not_touched_while_another_driver_works(tmp_path):
    from rich.console import Console

    from sweeps.command.how import How
    from sweeps.command.launching import run_launch
    from sweeps.command.request import Request

    (tmp_path / "tiny.yaml").write_text(tiny().to_yaml())
    store = opened(tiny(), tmp_path / "r")
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    request = Request(tmp_path / "tiny.yaml", ("budget=60",), store.folder, How(is_inline=True))
    with DriverLock(store.folder), pytest.raises(StoreError, match="another"):
        run_launch(request, Console(quiet=True))
    after = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path.name != "driver.lock"} == before


def test_a_url_of_an_object_store_is_no_folder_and_told_to_be_fetched():
    with pytest.raises(StoreError, match=r"^s3://bucket/sweep: copy it to a folder first: seedbed fetch s3://bucket/s"):
        _ = SweepStore(Path("s3://bucket/sweep")).plan
