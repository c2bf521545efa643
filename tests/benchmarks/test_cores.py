"""What a second core brings and what a launch costs, measured at small size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.scale import cores
from pipeline.spec.sweep import load_spec
from tests.benchmarks.test_measure import Sleeper
from tests.support import tiny, trained

PARTS = ("until_first_pack_s", "packs_s", "after_last_commit_s")


@pytest.mark.skipif(len(cores.os.sched_getaffinity(0)) < 2, reason="one core")
def test_two_processes_that_wait_do_so_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "ours", lambda name: Sleeper(0.002))
    monkeypatch.setattr(cores, "_NUM_PAIRS", 3)
    monkeypatch.setattr(cores, "_ROUND_S", 0.1)
    found = cores.cores("lsa_256", 2, tmp_path)
    assert found["pairs"] == 3
    assert found["lower"] <= found["times_as_fast"] <= found["upper"]
    assert found["times_as_fast"] > 1.2
    with pytest.raises(ValueError, match="may use"):
        cores.cores("lsa_256", 10**6, tmp_path)


def test_a_launch_is_compared_with_the_time_of_its_run_steps(tmp_path, monkeypatch):
    """Of a sweep of 2 runs of 30 steps, which take 20 of them a second."""
    monkeypatch.setattr(cores, "spec_of", lambda workload, num_runs, budget: tiny(seeds={"together": [0, 1]}))
    monkeypatch.setattr(cores, "ours", lambda name: None)
    monkeypatch.setattr(cores, "throughput", lambda *given, **named: np.array([10.0, 20.0, 1000.0]))

    def launched(command, **options):
        assert command[3:5] == ["sweeps.cli", "launch"]
        trained(load_spec(Path(command[5])), Path(command[7]))

    monkeypatch.setattr(cores, "subprocess", SimpleNamespace(run=launched))
    found = cores.launch("lookup_a", 2, tmp_path / "sweep")
    assert found["training_s"] == 3.0
    assert found["times_as_long"] == pytest.approx(found["launch_s"] / 3)
    assert sum(found[part] for part in PARTS) == pytest.approx(found["launch_s"])
    assert min(found[part] for part in PARTS) >= -0.01
