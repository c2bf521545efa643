"""The wandb mirror, on results folders made by hand: no training, no account, no network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.store.records.ends import Ended
from pipeline.store.records.record import Active, Record
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.names import is_legal
from pipeline.tracking.progress import CommittedProgress, ConvergenceCheck, progress_of_runs, progress_of_setting
from pipeline.tracking.rows import Recorded, aggregate_rows, stacked_curves
from pipeline.tracking.tracked import representatives
from tests.support import tiny, trained
from tests.tracking.tracked import (
    BUDGET,
    STEPS,
    Found,
    Sweep,
    assert_every_row_once,
    command,
    mirrored,
    mirrored_runs,
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

    found = mirrored_runs(sweep.folder)
    assert set(found) == {f"{sweep.id}-{run_id}" for run_id in sweep.run_ids}
    for row in sweep.rows[second].values():
        del row["label_excess"]
    assert_every_row_once(sweep, found)
    for run_id, config in sweep.plan.runs.items():
        (begun,) = found[f"{sweep.id}-{run_id}"].begun
        width = config.hyperparameters()["model.head_width"]
        assert begun["project"] == "mine"
        assert begun["group"] == f"tiny: model.head_width={width}"
        assert begun["name"] == f"hw{width}-s{config.init_seed}"
        assert begun["host"] == ""
        assert begun["config"]["model"]["head_width"] == width
        assert begun["config"]["optimiser"]["lr"] == 3e-3
        expected = {"init_seed": config.init_seed, "data_seed": config.data_seed, "run_id": run_id}
        expected |= {"sweep_id": sweep.id, "sweep": "tiny", "batch_size": 8, "setting_id": config.setting_id}
        assert expected.items() <= begun["config"].items()
    outcomes = {first: "converged", second: "diverged"}
    for run_id in sweep.run_ids:
        tags = found[f"{sweep.id}-{run_id}"].begun[0]["tags"]
        assert tags == sorted([sweep.id, "tiny", "run", outcomes.get(run_id, "unconverged")])
    ends = {"reason": "budget", "last_step": BUDGET, "converged": True, "converged_step": 250}
    ends |= {"outcome": "converged", "outcome_step": 250, "label/excess_best": 0.01}
    assert ends.items() <= found[f"{sweep.id}-{first}"].summary.items()
    ends = {"reason": "diverged", "last_step": 100, "converged": False, "outcome": "diverged", "outcome_step": 100}
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
    assert [(item["step"], item["_step"], item["label/loss"]) for item in items] == [
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


def test_a_setting_of_which_a_run_has_yet_to_begin_is_mirrored_later(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=2)
    sweep.train(sweep.run_ids[0], 100)
    sweep.commit()
    run_mirror(sweep.folder)
    sweep.finish()
    run_mirror(sweep.folder)
    settings = [found for found in mirrored(sweep.folder).values() if found.job_type == "aggregate"]
    assert [[step for step, _ in found.rows] for found in settings] == [STEPS] * 2


def test_a_run_that_goes_on_later_is_continued_under_its_id(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    run_id = sweep.run_ids[0]
    sweep.train(run_id, 150)
    sweep.commit()
    run_mirror(sweep.folder)
    found = mirrored_runs(sweep.folder)
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
        recorder.continued = {run_id: end.step for run_id, end in recorder.ends.items()}
        for run_id in list(recorder.ends):
            recorder.reopen(run_id)
            sweep.active[run_id] = 200
    sweep.finish()
    run_mirror(sweep.folder)
    assert_every_row_once(sweep, mirrored(sweep.folder))


def test_following_writes_rows_at_every_commit_from_the_moment_a_run_begins(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=1)
    done, under_way = sweep.run_ids
    sweep.train(under_way, 100)
    sweep.finish(done)
    process = subprocess.Popen(command(sweep.folder, "--driven", "--interval-s", "0.2"), stdin=subprocess.PIPE)

    def rows() -> list[int]:
        return [step for step, _ in mirrored(sweep.folder).get(f"{sweep.id}-{under_way}", Found()).rows]

    try:
        wait_for(lambda: rows() == [50, 100])
        assert service_of(process.pid), "or the check below sees nothing"
        sweep.train(under_way, 250)
        sweep.commit()
        wait_for(lambda: rows() == [50, 100, 150, 200, 250])
        assert len(list((sweep.folder / "wandb").glob(f"*{under_way}"))) == 1, "one writer, one folder"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        assert_every_row_once(sweep, mirrored(sweep.folder))
        wait_for(lambda: not service_of(process.pid), 5)
    finally:
        process.kill()
        process.wait()


def test_after_a_kill_the_ledger_is_true_and_the_next_mirror_completes_it(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "s", num_seeds=40)
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
    found = mirrored_runs(sweep.folder, named)
    assert len(found) == len(named)
    assert_every_row_once(sweep, found, [key.removeprefix(f"{sweep.id}-") for key in found])

    run_mirror(sweep.folder)
    assert_every_row_once(sweep, mirrored(sweep.folder))
    assert len(list(wandb_folder.glob("*run-*"))) == len(sweep.run_ids) + 3, "with two settings, and the sweep"


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
    assert (whole.begun[0]["group"], whole.begun[0]["name"]) == ("tiny: model.head_width=4", "hw4-all12")
    assert [step for step, _ in whole.rows] == STEPS
    losses = {step: [sweep.rows[run_id][step]["label_loss"] for run_id in ids] for step in STEPS}
    for step, row in whole.rows:
        assert row["setting/num_runs"] == 12
        for name, share in (("q10", 0.1), ("q50", 0.5), ("q90", 0.9)):
            assert row[f"label/loss_{name}"] == pytest.approx(np.quantile(losses[step], share), rel=1e-12)
    # Excess is low from step 250 on; step 300 confirms it.
    assert [row["setting/converged_share"] for _, row in whole.rows] == [0, 0, 0, 0, 0, 0.25, 0.25, 0.25]
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
    assert job_types == {"runs": (6, 2), "aggregates": (4, 2)}


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
        Recorded(steps_T[:length], ("label_excess",), rng.uniform(0, 0.04, (length, 1)), np.full(length, np.nan))
        for length in (8, 8, 5, 7)
    ]
    plan = {"budget": BUDGET, "grid": {"eval_steps": STEPS}, "runs": [], "settings": {}, "varied": []}
    check = ConvergenceCheck.of(
        {"spec": {"converged": {"metric": "label_excess", "at_most": 0.02, "evaluations": 2}}}, plan
    )

    def rows(recorded: list[Recorded], after: int, last: int) -> list:
        groups = stacked_curves(recorded)
        return list(aggregate_rows(groups, np.concatenate([check.streaks(one)[:, 1] for one in groups]), after, last))

    whole = rows(recorded, -1, BUDGET)
    assert {row.values["setting/converged_share"] for row in whole} > {0.0}
    for last in STEPS:
        cut = [
            Recorded(r.steps_T[keep], r.metrics, r.values_TM[keep], r.times_T[keep])
            for r in recorded
            for keep in [r.steps_T <= last]
        ]
        assert rows(recorded, -1, last) == rows(cut, -1, last) == [row for row in whole if row.step <= last]
        assert rows(recorded, last, BUDGET) == [row for row in whole if row.step > last]


def test_an_aggregate_waits_for_a_run_that_a_larger_budget_has_yet_to_continue() -> None:
    ends = {"a": Ended("budget", 200, "", False), "b": Ended("diverged", 150, "", False)}
    record = Record("sweep", "pack", 1, 1, ends=ends, active={"c": Active(0, 300)})

    def within(budget: int, *run_ids: str) -> CommittedProgress | None:
        return progress_of_setting(run_ids, progress_of_runs([record], dict.fromkeys("abc", budget)))

    assert within(400, "a", "b", "c") == CommittedProgress(200, "running")
    assert within(200, "a", "b", "c") == CommittedProgress(300, "running")
    assert within(200, "a", "b") == CommittedProgress(200, "over")
    assert within(400, "a", "waiting") == CommittedProgress(-1, "running"), "no row is final yet"
    assert within(400, "waiting") is None


def test_readings_are_not_mirrored_nor_steps_at_which_nothing_else_was_recorded(tmp_path: Path) -> None:
    grid = {"chunk": 10, "eval_items": 8, "probe_items": 8, "probe_steps": [10], "eval_steps": [10, 30]}
    common = {"windows": [0, 0.4, 0.7], "grid": grid}
    tracked = []
    for name, more in (("a", {}), ("b", {"readings": []})):
        reader = CommitReader(trained(tiny(**common, **more), tmp_path / name), 500)
        reader.refresh()
        runs = [run for run in reader.tracked if run.job_type == "run"]
        contents = [reader.content(run, reader.progress(run), -1) for run in runs]
        tracked.append([[(row.step, _timeless(row.values)) for row in content.rows] for content in contents])
    assert len(tracked[0]) == 4
    assert [step for step, _ in tracked[0][0]] == [10, 30]
    assert tracked[0] == tracked[1]


def _timeless(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name != "time/run_s"}


def test_readings_are_mirrored_where_the_sweep_file_asks_for_them(tmp_path: Path) -> None:
    grid = {"chunk": 10, "eval_items": 8, "probe_items": 8, "probe_steps": [10], "eval_steps": [10, 30]}
    spec = tiny(windows=[0, 0.4, 0.7], grid=grid, tracking={"mode": "offline", "readings": True})
    reader = CommitReader(trained(spec, tmp_path / "s"))
    reader.refresh()
    run = reader.tracked[0]
    rows = reader.content(run, reader.progress(run), -1).rows
    assert rows[0].step == 0
    assert any(name.startswith("circuits/") for name in rows[0].values)
    assert all(is_legal(name) for row in rows for name in row.values)
