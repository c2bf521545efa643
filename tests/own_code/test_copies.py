"""Copies of one's own code in the results folder: imported where the files are lacking, and where they are allowed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.own_code import imported
from pipeline.own_code.copies import COPIES
from pipeline.planning.open_sweep import keep_copies
from pipeline.spec.sweep import load_spec
from pipeline.store.sweep_store import SweepStore
from tests.own_code.test_imports import MAJORITY, SWEEP
from tests.support import opened

# As a worker of Ray does, but for Ray itself.
WORKER = """
import sys
from pathlib import Path
from pipeline.own_code.copies import work_from_copies
from pipeline.own_code.imported import allow
from pipeline.planning.packs import stored_spec
from pipeline.store.sweep_store import SweepStore
folder, is_worker, hashes = Path(sys.argv[1]), sys.argv[2] == "worker", sys.argv[3:]
allow(hashes)
if is_worker:
    work_from_copies()
spec = stored_spec(SweepStore(folder))
assert spec.task.num_tokens == 5
if "torch" in sys.modules:
    sys.exit("a spec is read without torch")
"""
TRAINING = (
    WORKER[: WORKER.index("spec = ")]
    + """
from pipeline.training.worker import run_pack
for pack_id in SweepStore(folder).pack_ids():
    run_pack(folder, pack_id, lambda progress: None)
"""
)


@pytest.fixture(params=["file", "package"])
def launched(request, tmp_path):
    """A results folder that a driver has opened, and the folder of the code, of which a module imports another."""
    home = tmp_path / "repo"
    (home / "my_pkg").mkdir(parents=True)
    (home / "my_pkg" / "__init__.py").write_text("")
    text = MAJORITY.replace("static(9", "static(NUM_TOKENS")
    for folder, name, line in (
        (home, "my_task", "from my_numbers import NUM_TOKENS\n"),
        (home / "my_pkg", "tasks", "from my_pkg.my_numbers import NUM_TOKENS\n"),
    ):
        (folder / f"{name}.py").write_text(line + text)
        (folder / "my_numbers.py").write_text("NUM_TOKENS = 9\n")
    entry = {"file": "./my_task.py", "package": "my_pkg.tasks"}[request.param]
    (home / "own.yaml").write_text(SWEEP.format(entry=entry))
    spec = load_spec(home / "own.yaml")
    store = opened(spec, tmp_path / "r")
    keep_copies(store, spec)
    return store, home


def read(store, *hashes, how="worker", program=WORKER):
    """What a process says that reads the sweep in another working directory; empty if all went well."""
    command = [sys.executable, "-c", program, str(store.folder), how, *hashes]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr


def test_a_worker_that_lacks_the_files_takes_the_copies_and_trains_from_them(launched, tmp_path):
    store, home = launched
    home.rename(tmp_path / "moved")
    assert "its sweep imports code that is not here" in read(store)
    assert read(store, *imported.allowed(), program=TRAINING) == ""
    assert {end.step for end in SweepStore(store.folder).history().ends} == {20}


def test_a_worker_whose_files_differ_takes_the_copies_and_other_processes_ask(launched):
    store, home = launched
    for file in home.rglob("my_numbers.py"):
        file.write_text("NUM_TOKENS = 7\n")
    assert "or that has changed since" in read(store, *imported.allowed(), how="driver")
    assert read(store, *imported.allowed()) == ""


def test_a_copy_that_was_changed_is_not_imported(launched, tmp_path):
    store, home = launched
    home.rename(tmp_path / "moved")
    (changed,) = (store.folder / COPIES).rglob("my_numbers.py")
    changed.write_text(changed.read_text() + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "its sweep imports code that is not here" in read(store, *imported.allowed())
    assert not (tmp_path / "ran").exists()


def test_what_stands_beside_a_copy_is_not_imported(launched, tmp_path):
    store, home = launched
    home.rename(tmp_path / "moved")
    for copy in (store.folder / COPIES).iterdir():
        (copy / "stands_beside.py").write_text("")
    program = WORKER + "import importlib.util\nassert importlib.util.find_spec('stands_beside') is None\n"
    assert read(store, *imported.allowed(), program=program) == ""


def test_copies_follow_the_files_at_the_next_launch_and_are_left_where_nothing_changed(launched):
    store, home = launched
    files = {file: file.stat().st_mtime_ns for file in (store.folder / COPIES).rglob("*.py")}
    assert sum(file.name == "my_numbers.py" for file in files) == 1
    spec = load_spec(home / "own.yaml")
    keep_copies(store, spec)
    assert {file: file.stat().st_mtime_ns for file in (store.folder / COPIES).rglob("*.py")} == files
    for file in home.rglob("my_numbers.py"):
        file.write_text("NUM_TOKENS = 7\n")
    keep_copies(store, spec)
    (copy,) = (store.folder / COPIES).rglob("my_numbers.py")
    assert copy.read_text() == "NUM_TOKENS = 7\n"
