"""Packs under Lightning: slots, refill, evaluations, ends, commits and resuming."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.store.history import RunEnd
from pipeline.store.progress import unfinished
from pipeline.tasks.base import TASKS
from tests.support import interrupted, rows, tiny, trained, weights


def leave_after(store, num_reports):
    """A progress callback that asks the pack to leave at its n-th report."""
    seen = []

    def report(progress):
        seen.append(progress)
        if len(seen) == num_reports:
            store.stop_file.touch()

    return report


@pytest.mark.parametrize("task", TASKS)
def test_every_run_is_done_once_and_every_row_is_on_the_grid(task, tmp_path):
    spec = tiny(task, seeds={"together": {"range": [0, 7]}}, resources={"slots": 3})
    store = trained(spec, tmp_path / "r")
    history = store.history()
    assert not unfinished(store)
    assert list(history.ends) == [RunEnd("budget", 30)] * 7
    assert history.steps_T.tolist() == [0, 1, 2, 5, 10, 20, 30]
    assert not np.isnan(history.values["label_loss"][:, history.steps_T >= 10]).any()
    assert np.isnan(history.values["label_loss"][:, history.steps_T < 10]).all()
    assert not np.isnan(history.values["probe_loss"]).any()
    assert np.isnan(history.values["train_loss"][:, 0]).all()


def test_slots_packs_and_order_do_not_move_a_bit(tmp_path):
    seeds = {"together": {"range": [0, 5]}}
    reference = trained(tiny(seeds=seeds, resources={"slots": 5}), tmp_path / "a")
    for index, (slots, workers) in enumerate([(1, 1), (2, 1), (3, 2), (16, 1)]):
        other = trained(tiny(seeds=seeds, resources={"slots": slots}), tmp_path / f"b{index}", num_workers=workers)
        assert weights(other) == weights(reference)
        assert rows(other) == rows(reference)


def test_chunk_and_grid_move_no_weight(tmp_path):
    reference = trained(tiny(), tmp_path / "a")
    other = trained(tiny(grid={"chunk": 15, "eval_items": 8, "probe_items": 4, "probe_steps": [30]}), tmp_path / "b")
    assert weights(other) == weights(reference)


@pytest.mark.parametrize("every_chunks", [1, 2])
def test_resuming_gives_the_same_bits_as_never_stopping(every_chunks, tmp_path, monkeypatch):
    spec = tiny(seeds={"together": {"range": [0, 5]}}, resources={"slots": 2}, snapshots={"states": [0, 20]})
    reference = trained(spec, tmp_path / "a")
    store, attempts = interrupted(spec, tmp_path / "b", every_chunks, monkeypatch)
    assert attempts >= 3
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)
    for run_id in weights(reference):
        ours, theirs = store.snapshots().of(run_id), reference.snapshots().of(run_id)
        assert ours == theirs
        assert sorted(ours) == [0, 20, 30]


def test_a_stopped_history_is_a_bitwise_prefix_of_the_unstopped_one(tmp_path):
    easy = {"metric": "label_loss", "at_most": 1.45, "evaluations": 1}
    common = {"budget": 60, "converged": easy, "grid": {"chunk": 10, "eval_items": 32, "probe_items": 16}}
    whole = trained(tiny(stopping={"name": "run_to_budget"}, **common), tmp_path / "a")
    stopped = trained(tiny(stopping={"name": "after_convergence", "evaluations": 0}, **common), tmp_path / "b")
    ends = stopped.history().ends
    assert {end.reason for end in ends} >= {"converged"}, "the criterion is too hard for this test to say anything"
    long, short = rows(whole), rows(stopped)
    assert short.items() <= long.items()
    last = {run.run_id: end.step for run, end in zip(stopped.history().runs, ends, strict=True)}
    assert all(key in short for key in long if key[1] <= last[key[0]] and key[1] % 10 == 0 and "label" in key[2])


def test_a_freed_slot_goes_to_the_next_run_of_the_list(tmp_path):
    easy = {"metric": "label_loss", "at_most": 9.0, "evaluations": 1}
    stopping = {"name": "after_convergence", "evaluations": 0}
    spec = tiny(seeds={"together": {"range": [0, 9]}}, resources={"slots": 2}, converged=easy, stopping=stopping)
    store = trained(spec, tmp_path / "r")
    assert [end.step for end in store.history().ends] == [10] * 9
    (record,) = store.newest_records().values()
    assert record.run_steps == 9 * 10


def test_a_diverged_run_is_marked_with_the_step_and_its_neighbours_go_on(tmp_path):
    settings = [{"optimiser.lr": [3e-3, 1e30]}]
    optimiser = {"name": "sgd", "lr": 3e-3}
    task = "linear_regression"
    spec = tiny(task, vary=settings, optimiser=optimiser, seeds={"together": [0, 1]}, resources={"slots": 4})
    store = trained(spec, tmp_path / "a")
    healthy = trained(tiny(task, optimiser=optimiser, seeds={"together": [0, 1]}), tmp_path / "b")
    ends = {run.run_id: end for run, end in zip(store.history().runs, store.history().ends, strict=True)}
    assert sorted(end.reason for end in ends.values()) == ["budget", "budget", "diverged", "diverged"]
    assert all(end.step == 10 for end in ends.values() if end.reason == "diverged")
    assert weights(healthy).items() <= weights(store).items()
    assert rows(healthy).items() <= rows(store).items()


def test_a_larger_budget_continues_to_the_same_bits(tmp_path):
    grid = {"chunk": 10, "eval_items": 32, "probe_items": 16, "probe_steps": [0, 10, 20]}
    # Windows other than the initialisation are elsewhere under another budget.
    common = {"grid": grid, "windows": [0]}
    trained(tiny(budget=20, **common), tmp_path / "a")
    continued = trained(tiny(budget=40, **common), tmp_path / "a")
    whole = trained(tiny(budget=40, **common), tmp_path / "b")
    assert weights(continued) == weights(whole)
    assert rows(continued) == rows(whole)


def test_more_seeds_and_settings_keep_what_is_done(tmp_path):
    store = trained(tiny(seeds={"together": [0, 1]}), tmp_path / "a")
    before, packs = rows(store), store.pack_ids()
    settings = [{"optimiser.lr": [3e-3, 1e-3]}]
    extended = trained(tiny(seeds={"together": [0, 1, 2]}, vary=settings), tmp_path / "a")
    assert extended.pack_ids()[: len(packs)] == packs
    assert before.items() <= rows(extended).items()
    assert len(weights(extended)) == 6
    assert rows(extended) == rows(trained(tiny(seeds={"together": [0, 1, 2]}, vary=settings), tmp_path / "b"))


def test_label_items_are_fresh_at_every_evaluation_and_the_same_for_all_runs(tmp_path):
    from pipeline.engine.block import Block
    from tests.support import configs

    first, second = configs(tiny(seeds={"together": [0, 1]}))
    block = Block(first, 2, __import__("torch").device("cpu"))
    block.load_run(1, second, block.start(second))
    at_10 = block.sample("label", block.steps_S + 10, 8).inputs
    at_20 = block.sample("label", block.steps_S + 20, 8).inputs
    assert (at_10[0] == at_10[1]).all()
    assert not (at_10 == at_20).all()
    assert not (at_10 == block.sample("probe", block.steps_S + 10, 8).inputs).all()


def ends(store):
    """run_id -> (reason, step, is_converged)."""
    found = {run: end for record in store.newest_records().values() for run, end in record.ends.items()}
    return {run: (end.reason, end.step, end.is_converged) for run, end in found.items()}


def stored_rows(store):
    """Every (run_id, step) as it stands in the files, repeats included."""
    tables = [
        store.pack(pack).table(file) for pack, record in store.newest_records().items() for file in record.history
    ]
    return [(row["run_id"], row["step"]) for table in tables for row in table.select(["run_id", "step"]).to_pylist()]


EASY = {"metric": "label_loss", "at_most": 9.0, "evaluations": 1}


@pytest.mark.parametrize("wait", [0, 1, 3])
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_raised_budget_interrupted_or_not_gives_rows_and_ends_of_one_go(wait, is_interrupted, tmp_path, monkeypatch):
    grid = {"chunk": 10, "eval_items": 32, "probe_items": 16, "probe_steps": [0, 10, 20]}
    stopping = {"name": "after_convergence", "evaluations": wait}
    common = {"grid": grid, "windows": [0], "converged": EASY, "stopping": stopping, "resources": {"slots": 2}}
    reference = trained(tiny(budget=50, **common), tmp_path / "a")
    trained(tiny(budget=20, **common), tmp_path / "b")
    if is_interrupted:
        store, attempts = interrupted(tiny(budget=50, **common), tmp_path / "b", 1, monkeypatch)
        assert attempts > 1 or wait < 3
    else:
        store = trained(tiny(budget=50, **common), tmp_path / "b")
    assert ends(store) == ends(reference)
    assert rows(store) == rows(reference)
    assert len(stored_rows(store)) == len(set(stored_rows(store)))
    (ours,), (theirs,) = store.newest_records().values(), reference.newest_records().values()
    assert ours.run_steps == theirs.run_steps


def test_what_was_converged_is_known_after_a_resume(tmp_path, monkeypatch):
    spec = tiny(converged=EASY, stopping={"name": "run_to_budget"})
    reference = trained(spec, tmp_path / "b")
    store, _ = interrupted(spec, tmp_path / "a", 2, monkeypatch)
    assert ends(store) == ends(reference)
    assert all(is_converged for *_, is_converged in ends(store).values())


def test_a_diverged_run_adds_no_evaluation_off_the_grid(tmp_path):
    optimiser = {"name": "sgd", "lr": 1e30}
    grid = {"chunk": 10, "eval_every": 30, "eval_items": 32, "probe_items": 16}
    converged = {"metric": "label_excess", "at_most": 0.02, "evaluations": 1}
    history = trained(
        tiny("linear_regression", optimiser=optimiser, grid=grid, converged=converged), tmp_path / "r"
    ).history()
    assert {end.reason for end in history.ends} == {"diverged"}
    assert "label_loss" not in history.values
    assert 10 in history.steps_T


def test_evaluations_see_fresh_items_and_probes_the_same_ones(tmp_path):
    still = {"name": "sgd", "lr": 1e-30}
    history = trained(tiny(optimiser=still), tmp_path / "r").history()
    label, probe = (history.values[name][0] for name in ("label_loss", "probe_loss"))
    assert len(set(label[~np.isnan(label)])) == 3
    assert len(set(probe[~np.isnan(probe)])) == 1
