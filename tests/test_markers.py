"""Tests that start Ray, wandb or the tracking process must carry the marker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest


@pytest.mark.parametrize(
    ("command", "markers"),
    [
        (["/venv/bin/ray", "start", "--head"], {"ray"}),
        (["/venv/ray/core/gcs_server", "--port=1"], {"ray"}),
        ([sys.executable, "-m", "sweeps.cli", "launch", "a.yaml"], {"ray"}),
        ([sys.executable, "-m", "sweeps.cli", "launch", "a.yaml", "--inline"], set()),
        (["seedbed resume results/a"], {"ray"}),
        (["seedbed status results/a"], set()),
        ([sys.executable, "-m", "pipeline.tracking.mirror", "folder"], {"wandb"}),
        ([sys.executable, "-m", "sweeps.cli", "mirror", "folder"], {"wandb"}),
        (["sh", "-c", "wandb sync folder"], {"wandb"}),
        (["git", "ls-files"], set()),
    ],
)
def test_a_command_is_told_by_its_words(command, markers):
    assert conftest.markers_of(command) == markers


def test_a_process_that_a_test_starts_is_noticed():
    conftest._started.clear()
    subprocess.run([sys.executable, "-c", "", "pipeline.tracking.mirror"], check=True)
    assert conftest._started == {"wandb"}
    conftest._started.clear()


def test_every_test_that_is_left_to_longer_test_exists():
    for name in conftest._LONGER:
        file, _, function = name.partition("::")
        assert f"def {function.partition('[')[0]}(" in Path(file).read_text(encoding="utf-8"), name
