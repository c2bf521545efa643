"""The wandb mirror, on results folders made by hand: no training, no account, no network."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.store.pack_store import Active, Ended, Record
from pipeline.tracking.ledger import CommitReader, Ledger
from pipeline.tracking.rows import (
    CommittedProgress,
    ConvergenceCheck,
    Recorded,
    TrackedRun,
    aggregate_rows,
    progress_of,
    progress_of_runs,
    representatives,
    tracked_runs,
)
from tests.support import tiny, trained
from tests.tracking.tracked import (
    BUDGET,
    STEPS,
    Sweep,
    assert_every_row_once,
    command,
    mirrored,
    named_folders,
    run_mirror,
    service_of,
    wait_for,
)


def test_importing_tracking_does_not_import_wandb() -> None:
    code = "import sys, pipeline.tracking.mirror; sys.exit('wandb' in sys.modules or 'torch' in sys.modules)"
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
    plan = {"budget": BUDGET, "grid": {"eval_steps": STEPS}, "runs": [], "settings": {}, "varied": []}
    sweep = {"spec": {"converged": {"metric": "label_excess", "at_most": 0.02, "evaluations": 2}}}
    whole = list(aggregate_rows(recorded, ConvergenceCheck.of(sweep, plan), BUDGET))
    assert {row["converged_fraction"] for _, row in whole} > {0.0}
    for last in STEPS:
        cut = [Recorded(r.steps_T[r.steps_T <= last], r.metrics, r.values_TM[r.steps_T <= last]) for r in recorded]
        assert list(aggregate_rows(recorded, ConvergenceCheck.of(sweep, plan), last)) == [
            row for row in whole if row[0] <= last
        ]
        assert list(aggregate_rows(cut, ConvergenceCheck.of(sweep, plan), last)) == [
            row for row in whole if row[0] <= last
        ]


def test_an_aggregate_waits_for_a_run_that_a_larger_budget_has_yet_to_continue() -> None:
    ends = {"a": Ended("budget", 200, "", False), "b": Ended("diverged", 150, "", False)}
    record = Record("sweep", "pack", 1, 1, ends=ends, active={"c": Active(0, 300)})
    tracked = TrackedRun("id", "name", "group", "aggregate", {}, ("a", "b", "c"))

    def within(budget: int) -> dict[str, CommittedProgress]:
        return progress_of_runs([record], dict.fromkeys("abc", budget))

    assert progress_of(tracked, within(400)) == CommittedProgress(200, "running")
    assert progress_of(tracked, within(200)) == CommittedProgress(300, "running")
    assert progress_of(replace(tracked, run_ids=("a", "b")), within(200)) == CommittedProgress(200, "over")
    assert progress_of(replace(tracked, run_ids=("a", "waiting")), within(400)) is None


def test_readings_are_not_mirrored_nor_steps_at_which_nothing_else_was_recorded(tmp_path: Path) -> None:
    grid = {"chunk": 10, "eval_items": 8, "probe_items": 8, "probe_steps": [10], "eval_steps": [10, 30]}
    common = {"windows": [0, 0.4, 0.7], "grid": grid}
    tracked = []
    for name, more in (("a", {}), ("b", {"readings": []})):
        reader = CommitReader(trained(tiny(**common, **more), tmp_path / name), 500)
        reader.refresh()
        due = reader.due(Ledger(tmp_path / name), is_last=True)
        tracked.append([list(reader.content(run, progress)[0]) for run, progress in due])
    assert len(tracked[0]) == 4
    assert [step for step, _ in tracked[0][0]] == [10, 30]
    assert tracked[0] == tracked[1]
