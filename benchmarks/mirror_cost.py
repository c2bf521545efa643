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

import numpy as np
import psutil

from pipeline.arrays import Floats
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.folder import tracking_of, wandb_folder
from pipeline.tracking.ledger import Ledger
from pipeline.tracking.live import LiveRuns
from pipeline.tracking.writer import Writer
from tests.tracking.tracked import STEPS, Sweep

_REST_S, _IDLE_S = 10.0, 60.0
_SERVE = (
    "from tests.tracking.fake_wandb import Server\n"
    "server = Server(); print(server.server_address[1], flush=True); server.serve_forever()"
)


def measure(folder: Path, mode: str, num_runs: int) -> dict[str, float]:
    """CPU milliseconds by run, of the mirror and of wandb's service, and what 500 runs in training take of 2 cores.

    To open it with two rows, by commit of two more, to close it, and by minute in which it does nothing.
    """
    sweep = Sweep(folder, num_seeds=num_runs // 2, mode=mode, entity="me")
    reader, ledger = CommitReader(sweep.store, num_runs), Ledger(wandb_folder(folder) / "mirrored.json")
    writer = Writer(folder, tracking_of(sweep.store), print)
    live = LiveRuns(reader, writer, ledger, is_online=mode == "online")
    found: dict[str, float] = {"runs": len(sweep.run_ids), "metrics": 3}

    def cost(step: int | None) -> Floats:
        if step is not None:
            for run_id in sweep.run_ids:
                sweep.train(run_id, step)
            sweep.commit()
        before_2 = _cpu_s()
        live.write_last() if step is None else live.write_new()
        time.sleep(0 if step is None else _REST_S)
        return 1000 * (_cpu_s() - before_2) / len(sweep.run_ids)

    def add(name: str, both_2: Floats) -> None:
        found.update({f"{name}_ms": both_2.sum(), f"{name}_ms_mirror": both_2[0], f"{name}_ms_service": both_2[1]})

    add("open", cost(STEPS[1]))
    before_2 = _cpu_s()
    time.sleep(_IDLE_S)
    idle_2 = 1000 * (_cpu_s() - before_2) * 60 / _IDLE_S / len(sweep.run_ids)
    add("idle_minute", idle_2)
    commits = [cost(step) for step in STEPS[3:8:2]]
    add("commit", sum(commits[1:], commits[0]) / len(commits))
    add("close", cost(None))
    writer.close()
    return found | {"share_of_2_cores_500_runs": 500 * (found["idle_minute_ms"] + found["commit_ms"]) / 120_000}


def _cpu_s() -> Floats:
    """(2,) seconds of this process and of wandb's service; not of the stand-in for the server."""
    me = psutil.Process()
    service = [one for one in me.children() if "wandb-core" in one.name()]
    return np.array([sum(sum(one.cpu_times()[:2]) for one in ones) for ones in ([me], service)])


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
