"""What the wandb mirror costs: CPU seconds of its processes by run and commit, and seconds from commit to row.

    python -m benchmarks.mirror_cost offline|online [NUM_RUNS]

Runs are made by hand, so nothing trains meanwhile; online they go to the tests' stand-in, in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from tests.tracking.fake_wandb import Server
from tests.tracking.tracked import STEPS, Sweep, command


def measure(mode: str, num_runs: int) -> dict[str, float]:
    """CPU seconds: to start and open all runs with a first row, idle by minute, by commit of two rows, and to end."""
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        sweep = Sweep(Path(folder) / "s", num_seeds=num_runs // 2, budget=STEPS[-1], mode=mode, entity="me")
        _commit(sweep, STEPS[0])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        process = subprocess.Popen(
            command(sweep.folder, "--driven"), env=kept | server.variables, stdin=subprocess.PIPE
        )
        found: dict[str, float] = {"num_runs": len(sweep.run_ids)}
        found["open"] = _quiet(process)
        time.sleep(20)
        found["idle_per_minute"] = 3 * (_cpu_s(process) - found["open"])
        costs, delays = [], []
        for step in STEPS[2:8:2]:
            before = _cpu_s(process)
            committed = _commit(sweep, step)
            costs.append(_quiet(process) - before)
            arrived = [times[-1] for key, times in server.arrived.items() if times]
            delays += [time_s - committed for time_s in arrived if time_s > committed]
        found["commit"] = sum(costs) / len(costs)
        found["commits"] = len(costs)
        if delays:
            found |= {"delay_median": sorted(delays)[len(delays) // 2], "delay_longest": max(delays)}
        before = _cpu_s(process)
        assert process.stdin is not None
        started = time.monotonic()
        done = threading.Event()
        last = [before]
        threading.Thread(target=_watch, args=(process, last, done), daemon=True).start()
        process.stdin.close()
        process.wait()
        done.set()
        found |= {"close": last[0] - before, "close_wall": time.monotonic() - started}
        server.shutdown()
        return found


def _commit(sweep: Sweep, step: int) -> float:
    """Rows of all runs up to a step; the time of the last commit."""
    for run_id in sweep.run_ids:
        sweep.train(run_id, step)
    sweep.commit()
    return time.time()


def _quiet(process: subprocess.Popen[bytes], rest_s: float = 6.0) -> float:
    """CPU seconds so far, once less than a hundredth of a core has been used for some seconds."""
    before = -1.0
    while (now := _cpu_s(process)) - before > 0.15 * rest_s:
        before = now
        time.sleep(rest_s)
    return now


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    total = 0.0
    me = psutil.Process(process.pid)
    for one in [me, *me.children(recursive=True)]:
        times = one.cpu_times()
        total += times.user + times.system
    return total


def _watch(process: subprocess.Popen[bytes], last: list[float], done: threading.Event) -> None:
    while not done.wait(0.1):
        try:
            last[0] = max(last[0], _cpu_s(process))
        except psutil.Error:
            return


if __name__ == "__main__":
    for name, value in measure(sys.argv[1], int((sys.argv[2:] or ["500"])[0])).items():
        print(f"{name}: {value:.3g}")
