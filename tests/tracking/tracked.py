"""Results folders made by hand for tests of the mirror, and what a mirror wrote of them."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.engine.slots import RunState
from pipeline.launch.planned import plan_on
from pipeline.planning.open_sweep import open_results
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import SweepSpec
from pipeline.tracking.names import wandb_name
from pipeline.training.recorder import Recorder
from tests.tracking.forked import forked_mirror

BUDGET, CHUNK = 400, 50
STEPS = list(range(CHUNK, BUDGET + 1, CHUNK))


class Sweep:
    """A results folder whose packs this class fills in place of training."""

    def __init__(self, folder: Path, num_seeds: int = 2, budget: int = BUDGET, **tracking: object) -> None:
        data = {
            "name": "tiny",
            "task": {"name": "dictionary_lookup", "num_keys": 4, "num_values": 4, "num_pairs": 4},
            "model": {"name": "attention_only", "width": 8, "head_width": 4},
            "optimiser": {"name": "adamw", "lr": 3e-3},
            "batch_size": 8,
            "budget": budget,
            "vary": [{"model.head_width": [4, 3]}],
            # Nothing is trained: planning must not compile or time anything.
            "resources": {"engine": "torch", "slots": 4},
            "seeds": {"together": {"range": [0, num_seeds]}},
            "grid": {"chunk": CHUNK},
            "tracking": tracking,
        }
        self.spec = SweepSpec.model_validate(data)
        self.plan = plan_on(self.spec, Machine("cpu", 1, "2.0"))
        self.store = open_results(self.plan, folder, "")
        self.folder, self.run_ids = folder, list(self.plan.runs)
        self.recorders = {
            p.pack_id: Recorder(self.store.pack(p.pack_id), self.id, p.pack_id, dict.fromkeys(p.run_ids, BUDGET))
            for p in self.plan.packs
        }
        self.pack_of = {run_id: pack.pack_id for pack in self.plan.packs for run_id in pack.run_ids}
        self.active: dict[str, int] = {}
        self.rows: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)

    @property
    def id(self) -> str:
        return self.spec.sweep_id

    def setting(self, number: int) -> list[str]:
        """Runs of one of the two settings, in order of their seeds."""
        ids = list(dict.fromkeys(config.setting_id for config in self.plan.runs.values()))
        return [run_id for run_id, config in self.plan.runs.items() if config.setting_id == ids[number]]

    def _recorder(self, run_id: str) -> Recorder:
        return self.recorders[self.pack_of[run_id]]

    def train(self, run_id: str, last_step: int, excess: float = 0.5) -> None:
        """Rows at the evaluations after those there are, up to `last_step`."""
        number = self.run_ids.index(run_id)
        for step in [step for step in STEPS if self.active.get(run_id, 0) < step <= last_step]:
            metrics = {"label_excess": excess, "label_loss": 1 / step + number, "probe.l0h0": number * 0.1}
            self._recorder(run_id).add(run_id, step, metrics)
            self.rows[run_id][step] = metrics
        self.active[run_id] = last_step

    def end(self, run_id: str, reason: str = "budget", is_converged: bool = False) -> None:
        self._recorder(run_id).end(run_id, reason, _state(self.active.pop(run_id)), is_converged)

    def commit(self) -> None:
        for pack_id, recorder in self.recorders.items():
            of_pack = [r for r in self.active if self.pack_of[r] == pack_id]
            recorder.commit({run_id: (slot, _state(self.active[run_id])) for slot, run_id in enumerate(of_pack)})

    def finish(self, *run_ids: str) -> None:
        for run_id in run_ids or self.run_ids:
            self.train(run_id, BUDGET)
            self.end(run_id)
        self.commit()


def _state(step: int) -> RunState:
    return RunState(step, {"weights": np.zeros(4, np.float32)})


@dataclass
class Found:
    """What wandb's files hold of one tracked run, its folders in the order in which they were begun."""

    begun: list[dict] = field(default_factory=list)
    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    run_times: list[float | None] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def job_type(self) -> str:
        return self.begun[0]["job_type"]


def log_records(path: Path):
    """The records of a .wandb file: LevelDB's log format, each a protocol buffer."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        if place + 7 + length > len(data):
            # It is being written.
            return
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""


def mirrored(folder: Path, names: list[str] | None = None) -> dict[str, Found]:
    """wandb id -> what the folders (`names`: only these) hold of it."""
    found: dict[str, Found] = defaultdict(Found)
    paths = [p for p in (folder / "wandb").glob("*run-*/*.wandb") if names is None or p.parent.name in names]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        target = Found()
        for record in log_records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                target = found[record.run.run_id]
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                target.begun.append(
                    {
                        "project": record.run.project,
                        "group": record.run.run_group,
                        "job_type": record.run.job_type,
                        "name": record.run.display_name,
                        "tags": sorted(record.run.tags),
                        "host": record.run.host,
                        "config": {key: value for key, value in config.items() if key != "_wandb"},
                    }
                )
            elif kind == "history":
                keys = [item.key or ".".join(item.nested_key) for item in record.history.item]
                values = [json.loads(item.value_json) for item in record.history.item]
                row = {key: value for key, value in zip(keys, values, strict=True) if not key.startswith("_")}
                row.setdefault("step", row.get("sweep/run_steps"))
                assert record.history.step.num == row["step"] or "sweep/run_steps" not in row
                target.times.append(dict(zip(keys, values, strict=True))["_timestamp"])
                target.run_times.append(row.pop("time/run_s", None))
                target.rows.append((row.pop("step"), row))
            elif kind == "alert":
                target.alerts.append((record.alert.title, record.alert.text))
            elif kind == "summary":
                pairs = {(item.key or ".".join(item.nested_key)): item.value_json for item in record.summary.update}
                target.summary |= {key: json.loads(value) for key, value in pairs.items()}
    return dict(found)


def mirrored_runs(folder: Path, names: list[str] | None = None) -> dict[str, Found]:
    """The same of the tracked runs that mirror a run each."""
    return {key: item for key, item in mirrored(folder, names).items() if item.job_type == "run"}


def named_folders(folder: Path) -> list[str]:
    path = folder / "wandb" / "mirrored.json"
    entries = json.loads(path.read_bytes())["body"]["entries"] if path.exists() else {}
    return [name for entry in entries.values() for name in entry["folders"]]


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.tracking.mirror", str(folder), *options]


def run_mirror(folder: Path, *options: str, **variables: str) -> None:
    """Mirror the folder, in a child of a process that has imported everything."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    errors = folder.with_name(f"{folder.name}.errors")
    code = forked_mirror([str(folder), *options], environment | variables, str(errors))
    assert (code, errors.read_text()) == (0, ""), errors.read_text()
    errors.unlink()


def run_mirror_process(folder: Path, *options: str, **variables: str) -> None:
    """Mirror the folder, in a process that a launch would start."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(command(folder, *options), env=environment | variables, capture_output=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


def assert_every_row_once(sweep: Sweep, found: dict[str, Found], run_ids: list[str] | None = None) -> None:
    for run_id in run_ids or sweep.run_ids:
        assert found[f"{sweep.id}-{run_id}"].rows == expected_rows(sweep, run_id)


def expected_rows(sweep: Sweep, run_id: str) -> list[tuple[int, dict[str, float]]]:
    """A run's rows by their names in wandb."""
    return [(step, {wandb_name(m): v for m, v in row.items()}) for step, row in sweep.rows[run_id].items()]


def wait_for(condition, timeout_s: float = 90.0):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def service_of(pid: int) -> list[str]:
    """Command lines of wandb's service processes that `pid` started."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().split(b"\0")
            if b"wandb-core" in line[0] and str(pid).encode() in line:
                lines.append(b" ".join(line).decode())
    return lines
