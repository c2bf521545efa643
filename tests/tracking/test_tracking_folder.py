"""What a mirror touches, and what reaches its files: nothing of others, no link followed, no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeline.store.files import seal
from pipeline.tracking.driven import start_mirror
from pipeline.tracking.ledger import Entry, Ledger
from tests.tracking.tracked import Sweep, assert_every_row_once, command, mirrored, run_mirror, run_mirror_process


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
