"""The wandb mirror, on results folders made by hand: no training, no account, no network but loopback."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.block import RunState
from pipeline.mirror_plan import (
    Extent,
    Judge,
    Recorded,
    Tracked,
    aggregate_rows,
    extent_of,
    representatives,
    run_extents,
    tracked_runs,
)
from pipeline.pack_store import Active, Ended, Record
from pipeline.planning import Machine, make_plan
from pipeline.recorder import Recorder
from pipeline.results import open_results
from pipeline.spec import SweepSpec
from pipeline.store import SweepStore
from pipeline.tracking import start_mirror, sync_hint

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
            "settings": [{"model.head_width": [4, 3]}],
            "seeds": {"together": {"range": [0, num_seeds]}},
            "grid": {"chunk": CHUNK},
            "tracking": tracking,
        }
        self.spec = SweepSpec.model_validate(data)
        self.plan = make_plan(self.spec, Machine("cpu", 1, "2.0"))
        self.store = open_results(self.plan, folder, "")
        self.folder, self.run_ids = folder, list(self.plan.runs)
        self.recorders = {
            p.pack_id: Recorder(self.store.pack(p.pack_id), self.id, p.pack_id, BUDGET) for p in self.plan.packs
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


def log_records(path: Path):
    """The records of a .wandb file: LevelDB's log format, each a protocol buffer."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
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
                assert record.history.step.num == row["step"]
                target.rows.append((row.pop("step"), row))
            elif kind == "summary":
                pairs = {(item.key or ".".join(item.nested_key)): item.value_json for item in record.summary.update}
                target.summary |= {key: json.loads(value) for key, value in pairs.items()}
    return dict(found)


def named_folders(folder: Path) -> list[str]:
    path = folder / "wandb" / "mirrored.json"
    entries = json.loads(path.read_bytes())["body"]["entries"] if path.exists() else {}
    return [name for entry in entries.values() for name in entry["folders"]]


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.tracking", str(folder), *options]


def run_mirror(folder: Path, *options: str, **variables: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(command(folder, *options), env=environment | variables, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


def assert_every_row_once(sweep: Sweep, found: dict[str, Found], run_ids: list[str] | None = None) -> None:
    for run_id in run_ids or sweep.run_ids:
        assert found[f"{sweep.id}-{run_id}"].rows == list(sweep.rows[run_id].items())


def wait_for(condition, timeout_s: float = 30.0):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
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


def test_importing_tracking_does_not_import_wandb() -> None:
    code = "import sys, pipeline.tracking; sys.exit('wandb' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_run_is_mirrored_with_its_setting_seeds_rows_and_end(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", project="mine")
    first, second = sweep.setting(0)
    sweep.train(first, 200)
    sweep.train(first, BUDGET, excess=0.01)
    sweep.end(first, "budget", is_converged=True)
    sweep.train(second, 100, excess=float("nan"))
    sweep.end(second, "diverged")
    sweep.finish(*sweep.setting(1))
    run_mirror(sweep.folder)

    found = mirrored(sweep.folder)
    assert set(found) == {f"{sweep.id}-{run_id}" for run_id in sweep.run_ids}
    for row in sweep.rows[second].values():
        del row["label_excess"]
    assert_every_row_once(sweep, found)
    for run_id, config in sweep.plan.runs.items():
        (begun,) = found[f"{sweep.id}-{run_id}"].begun
        width = config.hyperparameters()["model.head_width"]
        assert begun["project"] == "mine"
        assert begun["group"] == f"model.head_width={width} {config.setting_id}"
        assert begun["job_type"] == "run"
        assert begun["tags"] == sorted([sweep.id, "tiny"])
        assert begun["name"] == f"init_seed={config.init_seed} data_seed={config.data_seed}"
        assert begun["host"] == ""
        assert begun["config"]["model"]["head_width"] == width
        assert begun["config"]["optimiser"]["lr"] == 3e-3
        expected = {"init_seed": config.init_seed, "data_seed": config.data_seed, "run_id": run_id}
        expected |= {"sweep_id": sweep.id, "sweep": "tiny", "batch_size": 8, "setting_id": config.setting_id}
        assert expected.items() <= begun["config"].items()
    ends = {"reason": "budget", "last_step": BUDGET, "converged": True, "converged_step": 250}
    assert ends.items() <= found[f"{sweep.id}-{first}"].summary.items()
    ends = {"reason": "diverged", "last_step": 100, "converged": False}
    assert ends.items() <= found[f"{sweep.id}-{second}"].summary.items()
    assert "converged_step" not in found[f"{sweep.id}-{second}"].summary


def test_wandb_own_reader_finds_the_same_rows(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    run_mirror(sweep.folder)
    (path,) = (sweep.folder / "wandb").glob(f"*{sweep.run_ids[0]}")
    inspect = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(path)]
    lines = [json.loads(line) for line in subprocess.run(inspect, capture_output=True, check=True).stdout.splitlines()]
    items = [line["history"]["item"] for line in lines if line["type"] == "history"]
    rows = sweep.rows[sweep.run_ids[0]]
    assert [(item["step"], item["_step"], item["label_loss"]) for item in items] == [
        (step, step, pytest.approx(row["label_loss"], rel=1e-12)) for step, row in rows.items()
    ]
    metrics = [line["metric"] for line in lines if line["type"] == "metric"]
    assert any(metric.get("glob_name") == "*" and metric["step_metric"] == "step" for metric in metrics)


def test_a_second_mirror_of_the_same_commits_writes_nothing(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s")
    sweep.train(sweep.run_ids[0], 100)
    sweep.finish(*sweep.run_ids[1:])
    run_mirror(sweep.folder)
    before = {path: path.stat().st_mtime_ns for path in (sweep.folder / "wandb").glob("*run-*/*")}
    run_mirror(sweep.folder)
    assert {path: path.stat().st_mtime_ns for path in (sweep.folder / "wandb").glob("*run-*/*")} == before
    assert_every_row_once(sweep, mirrored(sweep.folder))


def test_a_run_that_goes_on_later_is_continued_under_its_id(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    run_id = sweep.run_ids[0]
    sweep.train(run_id, 150)
    sweep.commit()
    run_mirror(sweep.folder)
    found = mirrored(sweep.folder)
    assert set(found) == {f"{sweep.id}-{run_id}"}, "a run that has not begun is not mirrored"
    assert found[f"{sweep.id}-{run_id}"].summary["reason"] == "running"
    assert_every_row_once(sweep, found, [run_id])

    sweep.finish()
    run_mirror(sweep.folder)
    found = mirrored(sweep.folder)
    assert_every_row_once(sweep, found)
    assert len(found[f"{sweep.id}-{run_id}"].begun) == 2
    assert found[f"{sweep.id}-{run_id}"].summary["reason"] == "budget"


def test_a_larger_budget_adds_only_the_new_rows(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    for run_id in sweep.run_ids:
        sweep.train(run_id, 200)
        sweep.end(run_id)
    sweep.commit()
    document = sweep.store.plan
    sweep.store.write_documents(sweep.store.sweep, document | {"budget": 200}, is_shared=False)
    run_mirror(sweep.folder)
    sweep.store.write_documents(sweep.store.sweep, document, is_shared=False)
    for recorder in sweep.recorders.values():
        for run_id in list(recorder.ends):
            recorder.reopen(run_id)
            sweep.active[run_id] = 200
    sweep.finish()
    run_mirror(sweep.folder)
    assert_every_row_once(sweep, mirrored(sweep.folder))


def test_following_writes_ended_runs_at_once_and_the_others_when_its_input_ends(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    done, under_way = sweep.run_ids
    sweep.train(under_way, 100)
    sweep.finish(done)
    process = subprocess.Popen(command(sweep.folder, "--follow", "--interval-s", "0.2"), stdin=subprocess.PIPE)
    try:
        wait_for(lambda: named_folders(sweep.folder))
        assert service_of(process.pid), "or the check below sees nothing"
        time.sleep(0.5)
        assert set(mirrored(sweep.folder)) == {f"{sweep.id}-{done}"}
        sweep.train(under_way, 250)
        sweep.commit()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        assert_every_row_once(sweep, mirrored(sweep.folder))
        wait_for(lambda: not service_of(process.pid), 5)
    finally:
        process.kill()
        process.wait()


def test_after_a_kill_the_ledger_is_true_and_the_next_mirror_completes_it(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=60)
    sweep.finish()
    wandb_folder = sweep.folder / "wandb"
    process = subprocess.Popen(command(sweep.folder))
    wait_for(lambda: len(list(wandb_folder.glob("*run-*"))) > len(named_folders(sweep.folder)) + 4 > 20)
    process.kill()
    process.wait()
    wait_for(lambda: not service_of(process.pid))

    named = named_folders(sweep.folder)
    lying = [path.name for path in wandb_folder.glob("*run-*")]
    assert 0 < len(named) < len(lying) < len(sweep.run_ids), "killed in the middle of it"
    found = mirrored(sweep.folder, named)
    assert len(found) == len(named)
    assert_every_row_once(sweep, found, [key.removeprefix(f"{sweep.id}-") for key in found])

    run_mirror(sweep.folder)
    assert_every_row_once(sweep, mirrored(sweep.folder))
    assert len(list(wandb_folder.glob("*run-*"))) == len(sweep.run_ids)


def test_many_runs_become_aggregates_and_representatives(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=12)
    ids = sweep.setting(0)
    for number, run_id in enumerate(ids):
        sweep.train(run_id, 200)
        sweep.train(run_id, BUDGET, excess=0.01 if number < 3 else 0.5)
        sweep.end(run_id, "budget", is_converged=number < 3)
    slow, *rest = sweep.setting(1)
    sweep.finish(*rest)
    sweep.train(slow, 150)
    sweep.commit()
    run_mirror(sweep.folder, "--max-runs", "10")

    found = mirrored(sweep.folder)
    runs = {key: item for key, item in found.items() if item.begun[0]["job_type"] == "run"}
    assert sorted(item.begun[0]["config"]["model"]["head_width"] for item in runs.values()) == [3] * 5 + [4] * 5
    assert_every_row_once(sweep, found, [key.removeprefix(f"{sweep.id}-") for key in runs])
    setting_id = sweep.plan.runs[ids[0]].setting_id
    whole = found[f"{sweep.id}-{setting_id}-12"]
    assert whole.begun[0]["job_type"] == "aggregate"
    assert whole.begun[0]["group"] == f"model.head_width=4 {setting_id}"
    assert [step for step, _ in whole.rows] == STEPS
    losses = {step: [sweep.rows[run_id][step]["label_loss"] for run_id in ids] for step in STEPS}
    for step, row in whole.rows:
        assert row["num_runs"] == 12
        for name, share in (("q10", 0.1), ("q50", 0.5), ("q90", 0.9)):
            assert row[f"label_loss.{name}"] == pytest.approx(np.quantile(losses[step], share), rel=1e-12)
    # Excess is low from step 250 on; step 300 confirms it.
    assert [row["converged_fraction"] for _, row in whole.rows] == [0, 0, 0, 0, 0, 0.25, 0.25, 0.25]
    assert {"num_converged": 3, "num_running": 0, "reason": "over"}.items() <= whole.summary.items()

    other = f"{sweep.id}-{sweep.plan.runs[slow].setting_id}-12"
    assert [step for step, _ in found[other].rows] == [50, 100, 150], "rows that the slow run can still change wait"
    sweep.train(slow, BUDGET)
    sweep.end(slow)
    sweep.commit()
    run_mirror(sweep.folder, "--max-runs", "10")
    assert [step for step, _ in mirrored(sweep.folder)[other].rows] == STEPS


def test_detail_decides_what_is_mirrored_whatever_the_number_of_runs(tmp_path: Path) -> None:
    job_types = {}
    for detail in ("runs", "aggregates"):
        sweep = Sweep(tmp_path / detail, num_seeds=3, detail=detail)
        sweep.finish()
        run_mirror(sweep.folder, "--max-runs", "4")
        found = [item.begun[0]["job_type"] for item in mirrored(sweep.folder).values()]
        job_types[detail] = found.count("run"), found.count("aggregate")
    assert job_types == {"runs": (6, 0), "aggregates": (4, 2)}


def test_a_fork_carries_its_lineage_and_long_groups_keep_their_setting_id() -> None:
    fork = {"parent": "p" * 16, "fork_step": 100, "changes": {"optimiser.lr": 0.1}}
    row = {"run_id": "r" * 16, "setting_id": "s" * 16, "init_seed": 0, "data_seed": 7, **fork}
    setting = {"optimiser.lr": 0.1, "task.name": "x" * 200, "fork.step": 100}
    plan = {"runs": [row], "settings": {"s" * 16: setting}, "varied": ["optimiser.lr", "task.name", "absent"]}
    sweep = {"sweep_id": "w" * 16, "name": "tiny", "spec": {"tracking": {"detail": "auto"}}}
    (tracked,) = tracked_runs(sweep, plan)
    assert fork.items() <= tracked.config.items()
    assert tracked.config["fork"] == {"step": 100}
    assert tracked.name == f"init_seed=0 data_seed=7 fork of {'p' * 16} at 100"
    assert tracked.group.startswith("optimiser.lr=0.1 task.name=xxx")
    assert tracked.group.endswith(f"x {'s' * 16}")
    assert len(tracked.group) == 128


def test_representatives_are_evenly_spaced_in_order_of_run_id() -> None:
    rows = [{"run_id": f"{number:02d}"} for number in (7, 3, 9, 0, 1, 2, 8, 4, 5, 6)]
    assert [row["run_id"] for row in representatives(rows, 5)] == ["01", "03", "05", "07", "09"]
    assert [row["run_id"] for row in representatives(rows, 1)] == ["05"]
    assert [row["run_id"] for row in representatives(rows, 20)] == [f"{number:02d}" for number in range(10)]
    assert representatives(rows, 0) == []


def test_an_aggregate_of_the_first_steps_is_a_prefix_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    steps_T = np.array(STEPS)
    recorded = [
        Recorded(steps_T[:length], ("label_excess",), rng.uniform(0, 0.04, (length, 1))) for length in (8, 8, 5, 7)
    ]
    plan = {"grid": {"eval_steps": STEPS}}
    sweep = {"spec": {"converged": {"metric": "label_excess", "at_most": 0.02, "evaluations": 2}}}
    whole = list(aggregate_rows(recorded, Judge.of(sweep, plan), BUDGET))
    assert {row["converged_fraction"] for _, row in whole} > {0.0}
    for last in STEPS:
        cut = [Recorded(r.steps_T[r.steps_T <= last], r.metrics, r.values_TM[r.steps_T <= last]) for r in recorded]
        assert list(aggregate_rows(recorded, Judge.of(sweep, plan), last)) == [row for row in whole if row[0] <= last]
        assert list(aggregate_rows(cut, Judge.of(sweep, plan), last)) == [row for row in whole if row[0] <= last]


def test_an_aggregate_waits_for_a_run_that_a_larger_budget_has_yet_to_continue() -> None:
    ends = {"a": Ended("budget", 200, "", False), "b": Ended("diverged", 150, "", False)}
    record = Record("sweep", "pack", 1, 1, ends=ends, active={"c": Active(0, 300)})
    tracked = Tracked("id", "name", "group", "aggregate", {}, ("a", "b", "c"))
    assert extent_of(tracked, run_extents([record], 400)) == Extent(200, "running")
    assert extent_of(tracked, run_extents([record], 200)) == Extent(300, "running")
    assert extent_of(replace(tracked, run_ids=("a", "b")), run_extents([record], 200)) == Extent(200, "over")
    assert extent_of(replace(tracked, run_ids=("a", "waiting")), run_extents([record], 400)) is None


def test_the_environment_neither_steers_the_mirror_nor_reaches_its_files(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    secrets = {"WANDB_API_KEY": "0123456789" * 4, "SOME_TOKEN": "a-secret-of-the-environment", "WANDB_NOTES": "private"}
    steering = {"WANDB_MODE": "disabled", "WANDB_RUN_ID": "other", "WANDB_DIR": str(tmp_path), "WANDB_PROJECT": "no"}
    run_mirror(sweep.folder, HOME=str(tmp_path / "home"), **secrets, **steering)
    assert_every_row_once(sweep, mirrored(sweep.folder))
    assert not (tmp_path / "home").exists(), "nothing is written outside the results folder"
    files = [path for path in (sweep.folder / "wandb").rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        content = path.read_bytes()
        assert not [name for name, value in secrets.items() if value.encode() in content]
    modes = {path.stat().st_mode & 0o077 for path in (sweep.folder / "wandb").rglob("*")}
    assert modes == {0}


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
    assert mirror.close(30) is None
    assert_every_row_once(sweep, mirrored(sweep.folder))
    assert (sweep.folder / "wandb" / "mirror.log").read_bytes() == b""


def test_a_mirror_that_cannot_write_is_a_warning(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    (sweep.folder / "wandb").write_text("in the way")
    mirror = start_mirror(sweep.folder)
    assert mirror is not None
    warning = mirror.close(30)
    assert warning is not None
    assert "could not be started" in warning
    assert f"python -m pipeline.tracking {sweep.folder}" in warning


def test_a_mirror_that_fails_is_a_warning_with_its_last_line(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    sweep.finish()
    (sweep.folder / "wandb").mkdir()
    (sweep.folder / "wandb" / "mirrored.json").write_text("{}")
    mirror = start_mirror(sweep.folder)
    assert mirror is not None
    warning = mirror.close(30)
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
        "import os, sys, pathlib; from pipeline.tracking import start_mirror; "
        "print(start_mirror(pathlib.Path(sys.argv[1]))._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(sweep.folder)], stdout=subprocess.PIPE)
    pid = int(done.stdout)

    def is_over() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_for(is_over)
    assert_every_row_once(sweep, mirrored(sweep.folder))


class Server(ThreadingHTTPServer):
    """As much of a wandb server as runs and syncs need: history lines by run, and one answer 429 if asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: dict[str, dict[int, dict]] = defaultdict(dict)
        self.buckets: dict[str, dict] = defaultdict(dict)
        self.refusals = 0
        self.num_refused = self.num_doubled = 0

    @property
    def variables(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_address[1]}", "WANDB_API_KEY": "0123456789" * 4}

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def steps(self, tracked_id: str) -> list[int]:
        return [line["step"] for _, line in sorted(self.lines[tracked_id].items())]

    def answer(self, operation: str, given: dict) -> dict:
        of_project = {"id": "p", "name": "seedbed", "entity": {"id": "e", "name": "me"}}
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": self.variables["WANDB_BASE_URL"]} for name in given["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if operation == "RunResumeStatus":
            return {"model": of_project | {"bucket": self.bucket(given["name"]) if self._knows(given) else None}}
        if operation == "UpsertBucket":
            is_new = not self._knows(given)
            self.buckets[given["name"]] |= {key: value for key, value in given.items() if value is not None}
            return {
                "upsertBucket": {"bucket": self.bucket(given["name"]) | {"project": of_project}, "inserted": is_new}
            }
        return {}

    def _knows(self, given: dict) -> bool:
        return given["name"] in self.buckets

    def bucket(self, name: str) -> dict:
        lines = self.lines[name]
        tail = [json.dumps(lines[max(lines)])] if lines else []
        counts = {"historyLineCount": len(lines), "eventsLineCount": 0, "logLineCount": 0}
        texts = {"historyTail": json.dumps(tail), "eventsTail": "[]", "config": "{}", "summaryMetrics": "{}"}
        rest = {
            "displayName": name,
            "description": "",
            "sweepName": None,
            "tags": [],
            "notes": "",
            "wandbConfig": '{"t": 1}',
        }
        return {"id": f"b-{name}", "name": name, **counts, **texts, **rest}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, body: dict, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._reply({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        if self.path.endswith("/graphql"):
            self._reply({"data": self.server.answer(body["operationName"], body.get("variables") or {})})
            return
        history = body.get("files", {}).get("wandb-history.jsonl")
        if history and self.server.refusals:
            self.server.refusals -= 1
            self.server.num_refused += 1
            self._reply({"error": "rate limit"}, 429)
            return
        if history:
            lines = self.server.lines[self.path.split("/")[-2]]
            for number, line in enumerate(history["content"], start=history["offset"]):
                self.server.num_doubled += number in lines
                lines[number] = json.loads(line)
        self._reply({})


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        assert server.num_doubled == 0


def test_online_every_row_reaches_the_server_once_in_spite_of_a_429(tmp_path: Path, server: Server) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1, mode="online", entity="me")
    run_id = sweep.run_ids[0]
    sweep.train(run_id, 150)
    sweep.commit()
    server.refusals = 1
    run_mirror(sweep.folder, **server.variables)
    assert server.num_refused == 1
    assert server.steps(f"{sweep.id}-{run_id}") == [50, 100, 150]

    (sweep.folder / "wandb" / "mirrored.json").unlink()  # as if killed before it was written
    sweep.finish()
    run_mirror(sweep.folder, **server.variables)
    for run_id in sweep.run_ids:
        assert server.steps(f"{sweep.id}-{run_id}") == STEPS
    bucket = server.buckets[f"{sweep.id}-{run_id}"]
    assert (bucket["jobType"], bucket["entity"]) == ("run", "me")
    assert bucket["groupName"].startswith("model.head_width=3 ")
    assert sync_hint(sweep.folder) is None


def test_the_hinted_command_uploads_folders_of_one_id_as_one_run_however_often(tmp_path: Path, server: Server) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    environment = os.environ | server.variables | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def sync() -> None:
        hint = sync_hint(sweep.folder)
        assert hint == f"wandb sync {shlex.quote(str(sweep.folder / 'wandb'))}/offline-run-*"
        done = subprocess.run(["sh", "-c", hint], env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()

    for last_step in (100, 250):
        sweep.train(sweep.run_ids[0], last_step)
        sweep.commit()
        run_mirror(sweep.folder)
    sync()
    assert server.steps(f"{sweep.id}-{sweep.run_ids[0]}") == [50, 100, 150, 200, 250]
    sweep.finish()
    run_mirror(sweep.folder)
    sync()
    for run_id in sweep.run_ids:
        assert server.steps(f"{sweep.id}-{run_id}") == STEPS


def test_a_folder_without_a_sweep_is_refused_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path), capture_output=True)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"holds no sweep" in done.stderr
    assert SweepStore(tmp_path).exists() is False
    assert not list(tmp_path.iterdir())
