"""What the wandb mirror costs: CPU seconds of its processes by run, commit and minute.

    python -m benchmarks.mirror_cost offline|online [NUM_RUNS]

Rows are made by hand, two at each commit of every run, so nothing trains meanwhile; online they go to the tests'
stand-in for the server, in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from pipeline.tracking.commits import CommitReader
from pipeline.tracking.folder import tracking_of, wandb_folder
from pipeline.tracking.ledger import Ledger
from pipeline.tracking.live import LiveRuns
from pipeline.tracking.writer import Writer
from tests.tracking.tracked import STEPS, Sweep

_REST_S, _IDLE_S = 10.0, 20.0
_SERVE = (
    "from tests.tracking.fake_wandb import Server\n"
    "server = Server(); print(server.server_address[1], flush=True); server.serve_forever()"
)


def measure(folder: Path, mode: str, num_runs: int) -> dict[str, float]:
    """CPU milliseconds by run: to open it with two rows, by commit of two more, to close it; by minute idle."""
    sweep = Sweep(folder, num_seeds=num_runs // 2, mode=mode, entity="me")
    reader, ledger = CommitReader(sweep.store, num_runs), Ledger(wandb_folder(folder) / "mirrored.json")
    writer = Writer(folder, tracking_of(sweep.store))
    live = LiveRuns(reader, writer, ledger, is_online=mode == "online")
    found: dict[str, float] = {"runs": len(sweep.run_ids), "metrics": 3}

    def cost(step: int | None) -> float:
        if step is not None:
            for run_id in sweep.run_ids:
                sweep.train(run_id, step)
            sweep.commit()
        before = _cpu_s()
        live.write_last() if step is None else live.write_new()
        time.sleep(0 if step is None else _REST_S)
        return 1000 * (_cpu_s() - before) / len(sweep.run_ids)

    found["open_ms"] = cost(STEPS[1])
    before = _cpu_s()
    time.sleep(_IDLE_S)
    found["idle_ms_per_minute"] = 1000 * (_cpu_s() - before) * 60 / _IDLE_S / len(sweep.run_ids)
    commits = [cost(step) for step in STEPS[3:8:2]]
    found |= {"commit_ms": sum(commits) / len(commits), "commit_ms_least": min(commits), "commit_ms_most": max(commits)}
    found["close_ms"] = cost(None)
    writer.close()
    return found


def _cpu_s() -> float:
    me = psutil.Process()
    # Without the stand-in, whose use of the processor is not the mirror's.
    ours = [me, *(one for one in me.children() if "wandb-core" in one.name())]
    parts = [one.cpu_times() for one in ours]
    return float(sum(times.user + times.system for times in parts))


if __name__ == "__main__":
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_API_KEY": "0123456789" * 4}
    with tempfile.TemporaryDirectory() as made:
        server = subprocess.Popen([sys.executable, "-c", _SERVE], stdout=subprocess.PIPE)
        assert server.stdout is not None
        os.environ["WANDB_BASE_URL"] = f"http://127.0.0.1:{int(server.stdout.readline())}"
        os.environ["WANDB_CACHE_DIR"] = os.environ["WANDB_DATA_DIR"] = f"{made}/cache"
        for key, value in measure(Path(made) / "s", sys.argv[1], int((sys.argv[2:] or ["500"])[0])).items():
            print(f"{key}: {value:.3g}", flush=True)
        server.kill()
