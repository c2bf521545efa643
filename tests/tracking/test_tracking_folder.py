"""What a mirror touches, and what reaches its files: nothing of others, no link followed, no secret."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

from pipeline.store.formats.sealed import seal
from pipeline.tracking.driven import not_mirrored, start_mirror
from pipeline.tracking.folder import rows_written
from pipeline.tracking.ledger import Entry, Ledger
from tests.faults.tracked import STAND_IN
from tests.tracking.tracked import (
    Sweep,
    assert_every_row_once,
    command,
    mirrored,
    run_mirror,
    run_mirror_process,
    wait_for,
)

ROOT = Path(__file__).resolve().parents[2]


def test_runs_of_others_and_links_are_not_touched(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    wandb_folder, elsewhere = sweep.folder / "wandb", tmp_path / "elsewhere"
    own_name = f"offline-run-20260101_000000-{sweep.id}-abc"
    others = [wandb_folder / name for name in ("offline-run-20260101_000000-mine", "run-20260101_000000-mine", "run-x")]
    for folder in (*others, elsewhere, wandb_folder / own_name):
        folder.mkdir(parents=True)
        (folder / "kept.txt").write_text("kept")
    (wandb_folder / f"{own_name}-linked").symlink_to(elsewhere)
    run_mirror(sweep.folder)
    left = [*others, elsewhere, wandb_folder / f"{own_name}-linked", wandb_folder / "set-aside" / own_name]
    assert all((folder / "kept.txt").read_text() == "kept" for folder in left)
    assert not (wandb_folder / own_name).exists()


def test_links_in_a_circle_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    done = subprocess.run(command(tmp_path / "loop"), capture_output=True, text=True)
    assert done.returncode == 1
    assert "loop/sweep.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_linked_wandb_folder_is_refused_and_nothing_is_written_there(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    (tmp_path / "elsewhere").mkdir()
    (sweep.folder / "wandb").symlink_to(tmp_path / "elsewhere")
    done = subprocess.run(command(sweep.folder), capture_output=True, text=True)
    assert done.returncode == 1
    assert "is a link, and the mirror follows none" in done.stderr
    warning = start_mirror(sweep.folder).close()
    assert "is a link" in warning
    assert not list((tmp_path / "elsewhere").iterdir())


def stood_in(package: Path, source: str) -> dict[str, str]:
    """An environment in which this stands in place of wandb."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT)])}


def mirror_with(environment: dict[str, str], sweep: Sweep) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(sweep.folder), env=environment, capture_output=True, text=True, timeout=60)


def test_a_run_whose_file_lacks_rows_when_wandb_closes_it_is_written_again_and_that_is_told(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    row = "self._write_record(bytes([2 << 3 | 2, 0]))"
    assert row in STAND_IN
    done = mirror_with(stood_in(tmp_path / "full" / "wandb", STAND_IN.replace(row, "pass")), sweep)
    assert done.returncode == 1
    assert "3 tracked runs are not written: " in done.stderr
    assert "holds 0 of 8 rows: wandb could not write it, as on a full disk" in done.stderr
    assert "Traceback" not in done.stderr
    wandb_folder = sweep.folder / "wandb"
    assert Ledger.read(wandb_folder / "mirrored.json").entries == {}
    assert len(list((wandb_folder / "set-aside").iterdir())) == 3
    done = mirror_with(stood_in(tmp_path / "good" / "wandb", STAND_IN), sweep)
    assert (done.returncode, done.stderr) == (0, "")
    entries = Ledger.read(wandb_folder / "mirrored.json").entries
    rows = [len((wandb_folder / e.folders[0] / "rows.jsonl").read_text().splitlines()) for e in entries.values()]
    assert sorted(rows) == [1, 8, 8]
    assert not_mirrored(sweep.folder) is None


def test_a_mirror_goes_on_after_errors_of_the_disk_and_writes_what_these_kept_it_from(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    end = "        self._log.close()"
    assert end in STAND_IN
    failing = STAND_IN.replace(end, f"{end}\n        if number == 1: raise OSError(28, 'No space left on device')")
    process = subprocess.Popen(
        command(sweep.folder, "--driven", "--interval-s", "0.1"),
        env=stood_in(tmp_path / "failing" / "wandb", failing),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: list((sweep.folder / "wandb").glob("set-aside/*")))
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, b"")
    assert not_mirrored(sweep.folder) is None
    assert len(list((sweep.folder / "wandb" / "set-aside").iterdir())) == 1


def test_the_rows_in_a_file_of_wandbs_are_counted_and_a_file_that_is_cut_has_none(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    run_mirror(sweep.folder)
    (path,) = sweep.folder.glob(f"wandb/*/run-{sweep.id}-{sweep.run_ids[0]}.wandb")
    assert rows_written(path) == len(sweep.rows[sweep.run_ids[0]]) == 8
    content, cut = path.read_bytes(), tmp_path / "cut"
    for length in (*range(0, len(content), 97), len(content) - 1):
        cut.write_bytes(content[:length])
        assert rows_written(cut) is None
    assert rows_written(tmp_path / "missing") is None
    # Longer than a block, whose end no chunk crosses.
    cut.write_bytes(log_file([b"\x12\x80\x40" + bytes(8192)] * 9 + [b"\x92\x01\x00"]))
    assert rows_written(cut) == 9


def log_file(records: list[bytes]) -> bytes:
    """Records in LevelDB's log format, behind a header of 7 bytes as wandb writes it."""
    content = b":W&B123"
    for record in records:
        is_first = True
        while record or is_first:
            left = 32768 - len(content) % 32768
            if left < 7:
                content += bytes(left)
                continue
            part, record = record[: left - 7], record[left - 7 :]
            kind = (1 if is_first else 4) if not record else (2 if is_first else 3)
            content, is_first = content + struct.pack("<IHB", 0, len(part), kind) + part, False
    return content


def test_the_environment_neither_steers_the_mirror_nor_reaches_its_files(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    secrets = {"WANDB_API_KEY": "0123456789" * 4, "SOME_TOKEN": "a-secret-of-the-environment", "WANDB_NOTES": "private"}
    # As the address of a repository may hold one.
    secrets |= {"GIT_CONFIG_VALUE_0": "https://a-token-in-an-address@example.org/repository"}
    steering = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "remote.origin.url"}
    steering |= {"WANDB_MODE": "disabled", "WANDB_RUN_ID": "other", "WANDB_DIR": str(tmp_path), "WANDB_PROJECT": "no"}
    run_mirror_process(sweep.folder, HOME=str(tmp_path / "home"), **secrets, **steering)
    assert_every_row_once(sweep, mirrored(sweep.folder))
    assert not (tmp_path / "home").exists(), "nothing is written outside the results folder"
    files = [path for path in (sweep.folder / "wandb").rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        content = path.read_bytes()
        assert not [name for name, value in secrets.items() if value.encode() in content]
    modes = {path.stat().st_mode & 0o077 for path in (sweep.folder / "wandb").rglob("*")}
    assert modes == {0}


def test_a_ledger_of_an_earlier_version_is_read_and_its_rows_are_not_written_again(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.train(sweep.run_ids[0], 200)
    sweep.commit()
    run_mirror(sweep.folder)
    path = sweep.folder / "wandb" / "mirrored.json"
    # Versions that mirrored no aggregate and no sweep below 500 runs wrote the same entries of runs.
    key = f"{sweep.id}-{sweep.run_ids[0]}"
    entry = Ledger.read(path).entries[key]
    path.write_bytes(seal({"entries": {key: {"step": 200, "reason": "running", "folders": list(entry.folders)}}}))
    assert Ledger.read(path).entries == {key: Entry(200, "running", entry.folders)}
    sweep.finish()
    run_mirror(sweep.folder)
    assert_every_row_once(sweep, mirrored(sweep.folder))


def test_the_command_mirrors_a_folder_and_says_how_to_upload_it(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    given = [sys.executable, "-m", "sweeps.cli", "mirror", str(sweep.folder), "--follow"]
    done = subprocess.run(given, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert f"wandb sync {sweep.folder}/wandb/offline-run-*" in done.stdout.replace("\n", "")
    assert_every_row_once(sweep, mirrored(sweep.folder))
