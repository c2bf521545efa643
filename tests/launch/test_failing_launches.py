"""The command, where runs raise and packs hang: the rest is trained, and a sentence and the exit code say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.spec.sweep import SweepSpec
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from pipeline.tasks.base import TASKS
from tests.support import rows, trained, weights
from tests.sweeps.test_cli import run
from tests.training.raising import SOURCE, raising
from tests.training.test_failing_runs import spec_of

ROOT = Path(__file__).resolve().parents[2]
# Run by every Python process that has its folder in its path, those of Ray included.
DROP_IN = "import pipeline.tasks; pipeline.tasks.__path__.append({folder!r})"


def under_ray(folder, *arguments):
    """Exit code and output of the command in a process of its own, with the task that raises among its own."""
    for name in ("tasks", "path"):
        (folder / name).mkdir()
    (folder / "tasks" / "raising.py").write_text(SOURCE)
    (folder / "path" / "sitecustomize.py").write_text(DROP_IN.format(folder=str(folder / "tasks")))
    environment = os.environ | {"PYTHONPATH": f"{folder / 'path'}:{ROOT}", "SEEDBED_HANG_S": "2"}
    command = [sys.executable, "-m", "sweeps.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def seedbed(tmp_path, monkeypatch, capsys):
    """The command in this process, with the task that raises among its own: exit code and output."""
    raising(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code, printed = run(monkeypatch, capsys, *arguments)
        return code, " ".join(printed.split())

    return command


def spec_with(hyperparameters, slots):
    spec = spec_of([-1.0], resources={"slots": slots})
    return SweepSpec.model_validate(spec.identity() | {"vary": [hyperparameters]})


def ends(store):
    return {run: end for record in store.newest_records().values() for run, end in record.ends.items()}


def test_a_failed_run_is_told_by_every_command_and_tried_again_only_when_asked(seedbed, tmp_path):
    (tmp_path / "spec.yaml").write_text(spec_of([-1.0, 13.0]).to_yaml())
    launch = ("launch", "spec.yaml", "--results", "r", "--inline")
    code, printed = seedbed(*launch)
    store = SweepStore(tmp_path / "r")
    bad = next(run_id for run_id, end in ends(store).items() if end.reason == "failed")
    told = f"run {bad} failed while it was trained after step 10: ValueError: no batch (raising.py, line "
    assert code == 1, printed
    assert told in printed
    assert "but for 1 run that failed" in printed
    pack = store.pack(store.pack_ids()[0])
    attempt = pack.newest_attempt()
    for command in (("status", "r"), ("resume", "r", "--inline"), launch):
        code, printed = seedbed(*command)
        assert code == 1, printed
        assert told in printed
        assert "seedbed resume r --retry-failed" in printed
    assert pack.newest_attempt() == attempt
    code, printed = seedbed("status", "r", "--json")
    (failed,) = json.loads(printed)["failed_runs"]
    assert (failed["run_id"], failed["step"]) == (bad, 10)
    code, printed = seedbed("resume", "r", "--inline", "--retry-failed")
    assert code == 1, printed
    assert "tried again: 1" in printed
    assert ends(store)[bad].reason == "failed"
    assert pack.newest_attempt() > attempt


@pytest.mark.parametrize(("fails_at", "step"), [(13.0, 10), (3.0, 0)])
def test_a_run_tried_again_when_its_error_is_gone_has_the_bits_of_one_that_never_failed(
    fails_at, step, seedbed, tmp_path, monkeypatch
):
    spec = spec_of([-1.0, fails_at])
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    assert seedbed("launch", "spec.yaml", "--results", "r", "--inline")[0] == 1
    store = SweepStore(tmp_path / "r")
    assert step in {end.step for end in ends(store).values()}
    monkeypatch.setattr(TASKS["raising"], "is_mended", True)
    code, printed = seedbed("resume", "r", "--inline", "--retry-failed")
    assert code == 0, printed
    reference = trained(spec, tmp_path / "b")
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)
    assert store.history().ends == reference.history().ends
    assert [record.run_steps for record in store.newest_records().values()] == [60], "nothing is done twice"


@pytest.mark.slow
@pytest.mark.ray
def test_under_ray_a_run_that_raises_and_a_pack_that_hangs_hold_nobody_up(tmp_path, monkeypatch):
    raising(monkeypatch, tmp_path)
    good = spec_with({"task.num_pairs": [4]}, slots=2)
    settings = {"task.num_pairs": [4, 4, 5, 5], "task.fails_at": [-1.0, 13.0, -1.0, -1.0]}
    spec = spec_with(settings | {"task.hangs_at": [-1.0, -1.0, -1.0, 13.0]}, slots=2)
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    code, printed = under_ray(tmp_path, "launch", "spec.yaml", "--results", "r")
    assert code == 1, printed
    store, reference = SweepStore(tmp_path / "r"), trained(good, tmp_path / "b")
    (hung,) = unfinished(store)
    assert f"pack {hung} failed: nothing was done for 2 s, at raising.py, line" in printed
    assert "ValueError: no batch (raising.py, line " in printed
    assert store.pack(hung).newest_attempt() == 3
    assert sorted(end.reason for end in ends(store).values()) == ["budget", "failed"]
    (done,) = ends(reference)
    assert weights(store)[done] == weights(reference)[done]
    assert {key: value for key, value in rows(store).items() if key[0] == done} == rows(reference)
