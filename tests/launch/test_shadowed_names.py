"""Folders of the current directory with the names of our packages are not imported in their place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import tiny


@pytest.fixture
def here(tmp_path):
    """A folder with a sweep file, and with packages of our names that cannot be imported."""
    for name in ("pipeline", "analysis", "sweeps"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a package of the user')")
    (tmp_path / "tiny.yaml").write_text(tiny(tracking={"mode": "offline"}).to_yaml())
    return tmp_path


def seedbed(here, *arguments):
    """What the command prints. -P: as the installed command, which does not look where the user stands."""
    command = [sys.executable, "-P", "-m", "sweeps.cli", *arguments]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.wandb
@pytest.mark.parametrize(
    "options", [["--inline"], pytest.param([], marks=[pytest.mark.ray, pytest.mark.slow])], ids=["inline", "ray"]
)
def test_a_sweep_is_launched_tracked_and_read(options, here):
    printed = seedbed(here, "launch", "tiny.yaml", "--results", "r", *options)
    assert "4/4 runs done" in printed
    assert "wandb mirror:" not in printed
    # Of the runs, their setting, and the sweep.
    assert len(list((here / "r" / "wandb").glob("offline-run-*"))) == 4 + 1 + 1
    assert "4/4 runs done" in seedbed(here, "status", "r")
