"""The mirror as a process: closed, failing, hanging, killed with its driver; a mirror is never in the way."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tracking.driven import Mirror, not_mirrored, start_mirror, sync_hint
from tests.support import tiny, trained
from tests.sweeps.test_cli import run
from tests.tracking.tracked import Sweep, assert_every_row_once, command, mirrored, run_mirror, wait_for


def test_a_disabled_mirror_is_no_process_and_no_file(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", mode="disabled")
    assert start_mirror(sweep.folder) is None
    assert not (sweep.folder / "wandb").exists()
    assert sync_hint(sweep.folder) is None


def test_the_driver_closes_a_mirror_and_hears_nothing_when_all_is_well(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    mirror = start_mirror(sweep.folder)
    assert mirror is not None
    assert mirror._process is not None
    assert os.getpgid(mirror._process.pid) == mirror._process.pid, "Ctrl-C in the terminal is not for the mirror"
    sweep.finish()
    assert mirror.close(120) is None
    assert_every_row_once(sweep, mirrored(sweep.folder))
    assert (sweep.folder / "wandb" / "mirror.log").read_bytes() == b""


def test_a_mirror_that_cannot_write_is_a_warning(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    (sweep.folder / "wandb").write_text("in the way")
    mirror = start_mirror(sweep.folder)
    assert mirror is not None
    warning = mirror.close(120)
    assert warning is not None
    assert "could not be started" in warning
    # Two runs and the sweep.
    assert f"3 of 3 wandb runs are not up to date; `seedbed mirror {sweep.folder}` writes what is missing" in warning


def test_what_no_mirror_has_written_is_counted_until_one_writes_it(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    first, second = sweep.run_ids
    assert not_mirrored(sweep.folder) is None, "nothing is committed"
    sweep.finish(first)
    assert "2 of 3 wandb runs" in str(not_mirrored(sweep.folder))
    run_mirror(sweep.folder)
    assert not_mirrored(sweep.folder) is None
    sweep.train(second, 100)
    sweep.commit()
    assert "1 of 3 wandb runs" in str(not_mirrored(sweep.folder)), "rows of a run"
    run_mirror(sweep.folder)
    assert not_mirrored(sweep.folder) is None
    sweep.end(second, "stopped")
    sweep.commit()
    assert "2 of 3 wandb runs" in str(not_mirrored(sweep.folder)), "the end of a run whose rows are written"
    (sweep.folder / "wandb" / "mirrored.json").write_text("{}")
    assert "mirrored.json: is not a sealed record" in str(not_mirrored(sweep.folder))


def test_a_mirror_that_ends_without_a_problem_is_not_believed_but_its_ledger(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    (sweep.folder / "wandb").mkdir()
    (sweep.folder / "wandb" / "mirror.log").touch()
    process = subprocess.Popen([sys.executable, "-Sc", ""], stdin=subprocess.PIPE)
    warning = Mirror(sweep.folder, process).close(30)
    assert warning is not None
    assert warning.startswith("wandb mirror: 3 of 3 wandb runs are not up to date")
    run_mirror(sweep.folder)
    process = subprocess.Popen([sys.executable, "-Sc", "raise SystemExit(1)"], stdin=subprocess.PIPE)
    warning = Mirror(sweep.folder, process).close(30)
    assert warning is not None
    assert "mirror.log is empty. By its ledger nothing is missing" in warning


def test_a_complete_sweep_says_what_its_mirrors_lack_until_one_has_written_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trained(tiny(tracking={"mode": "offline"}), tmp_path / "r")
    code, printed = run(monkeypatch, capsys, "resume", "r", "--inline")
    assert (code, "`seedbed mirror r` writes what is missing" in printed) == (0, True)
    run_mirror(tmp_path / "r")
    code, printed = run(monkeypatch, capsys, "resume", "r", "--inline")
    assert (code, "mirror" in printed, "complete already" in printed) == (0, False, True)


def test_a_mirror_that_fails_is_a_warning_with_its_last_line(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    (sweep.folder / "wandb").mkdir()
    (sweep.folder / "wandb" / "mirrored.json").write_text("{}")
    mirror = start_mirror(sweep.folder)
    assert mirror is not None
    warning = mirror.close(120)
    assert warning is not None
    assert "mirrored.json: is not a sealed record" in warning
    assert "\n" not in warning


def test_a_mirror_that_hangs_is_ended_with_a_warning_and_made_good_later(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    mirror = start_mirror(sweep.folder)
    assert mirror is not None
    assert mirror._process is not None
    sweep.finish()
    mirror._process.send_signal(signal.SIGSTOP)
    warning = mirror.close(0.3)
    assert warning is not None
    assert "was not done after 0.3 s" in warning
    run_mirror(sweep.folder)
    assert_every_row_once(sweep, mirrored(sweep.folder))


def test_one_mirror_at_a_time_works_on_a_folder(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    (sweep.folder / "wandb").mkdir()
    with open(sweep.folder / "wandb" / "mirror.lock", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(command(sweep.folder), capture_output=True, timeout=30)
    assert done.returncode == 1
    assert b"another mirror is at work on it" in done.stderr
    assert not mirrored(sweep.folder)


def test_a_killed_driver_ends_its_mirror(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    code = (
        "import os, sys, pathlib; from pipeline.tracking.driven import start_mirror; "
        "print(start_mirror(pathlib.Path(sys.argv[1]))._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(sweep.folder)], stdout=subprocess.PIPE)
    pid = int(done.stdout)

    def is_over() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_for(is_over)
    assert_every_row_once(sweep, mirrored(sweep.folder))
