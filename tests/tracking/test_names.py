"""What tracked runs, groups and metrics are called in wandb."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.tracking.labels import groups, run_names, setting_names, tags_of
from pipeline.tracking.names import (
    METRIC_NAMES,
    OWN_NAMES,
    QUANTILES,
    is_legal,
    names_table,
    quantile_names,
    wandb_name,
)
from pipeline.tracking.progress import CommittedProgress, outcome_of
from pipeline.tracking.rows import read_recorded, with_times
from pipeline.tracking.tracked import tracked_runs
from tests.support import rows, tiny, trained

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "dashboards.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("label_loss", "label/loss"),
        ("train_loss", "train/loss"),
        ("induction_score.l0h1", "heads/induction/l0h1"),
        ("previous_token_score.l1h0", "heads/previous_token/l1h0"),
        ("circuits.ov.copying", "circuits/ov/copying"),
        ("ahead.a-b", "ahead/a_b"),
        ("mine.3", "mine/_3"),
        ("drift", "other/drift"),
    ],
)
def test_a_metric_has_a_name_that_wandb_can_sort_by(metric, name):
    assert wandb_name(metric) == name
    assert is_legal(name)
    assert quantile_names(metric) == [f"{name}_{quantile}" for quantile in QUANTILES]


def test_dots_and_digits_first_are_no_names():
    assert not is_legal("label_loss.q10")
    assert not is_legal("label/3")
    assert all(is_legal(name) for name in OWN_NAMES)


def test_every_metric_that_runs_record_has_a_name_of_its_own(tmp_path):
    recorded = {metric for *_, metric in rows(trained(tiny(readings=["circuits"]), tmp_path / "s"))}
    names = {wandb_name(metric) for metric in recorded}
    assert len(names) == len(recorded) > 10
    assert all(is_legal(name) for name in names)
    assert not [name for name in names if name.startswith("other/")]


def test_the_page_shows_the_table_of_names():
    for left, right in names_table():
        assert f"| `{left}` | `{right}` |" in PAGE or f"| {left} | `{right}` |" in PAGE, (left, right)
    for name, what in OWN_NAMES.items():
        assert f"| `{name}` | {what} |" in PAGE
    assert PAGE.count("| `") + PAGE.count("| label_loss of") + PAGE.count("| best label") >= len(METRIC_NAMES)


def plan_of(settings, varied, runs):
    return {"name": "tiny", "settings": settings, "varied": varied, "runs": runs}


def row(run_id, setting_id, init=0, data=0, **fork):
    return {"run_id": run_id, "setting_id": setting_id, "init_seed": init, "data_seed": data, **fork}


def test_names_say_what_varies_and_the_seeds():
    settings = {
        "a": {"model.head_width": 4, "optimiser.lr": 0.001, "task.name": "dictionary_lookup"},
        "b": {"model.head_width": 3, "optimiser.lr": 3e-3, "task.name": "pair_lookup"},
    }
    plan = plan_of(
        settings, ["model.head_width", "optimiser.lr", "task.name"], [row("1", "a", 52, 52), row("2", "b", 1, 7)]
    )
    assert run_names(plan) == {"1": "hw4-lr0.001-dictionary_lookup-s52", "2": "hw3-lr0.003-pair_lookup-i1-d7"}
    assert groups(plan)["b"] == "tiny: model.head_width=3, optimiser.lr=0.003, task.name=pair_lookup"


def test_paths_with_the_same_initials_are_written_out():
    plan = plan_of({"a": {"model.width": 4, "task.weight": 2}}, ["model.width", "task.weight"], [])
    assert setting_names(plan) == {"a": "model_width4-task_weight2"}


def test_where_nothing_varies_a_run_is_named_by_its_seed_and_the_group_by_task_and_model():
    plan = plan_of({"a": {"task.name": "parity", "model.name": "transformer"}}, [], [row("1", "a", 5, 5)])
    assert (run_names(plan), groups(plan)) == ({"1": "s5"}, {"a": "tiny: parity, transformer"})


def test_a_fork_says_where_it_began_and_names_are_never_alike():
    plan = plan_of(
        {"a": {}},
        [],
        [row("1", "a", parent="p" * 16, fork_step=100), row("2", "a", parent="p" * 16, fork_step=100), row("3", "a")],
    )
    assert run_names(plan) == {"1": "s0-f100-pppppppp-1", "2": "s0-f100-pppppppp-2", "3": "s0"}


def test_long_groups_are_cut_and_keep_apart():
    settings = {id_: {"model.text": "x" * 200 + id_} for id_ in ("a" * 16, "b" * 16)}
    found = groups(plan_of(settings, ["model.text"], []))
    assert [len(group) for group in found.values()] == [128, 128]
    assert [group[-16:] for group in found.values()] == ["a" * 16, "b" * 16]
    assert tags_of({"name": "n", "sweep_id": "i"}, "run", "converged") == ["n", "i", "run", "converged"]


def test_a_fork_carries_its_lineage_in_its_config(tmp_path):
    store = trained(tiny(), tmp_path / "s")
    sweep, plan = store.sweep, store.plan
    fork = {"parent": "p" * 16, "fork_step": 100, "changes": {"optimiser.lr": 0.1}}
    plan["runs"][0] |= fork
    first, *_ = tracked_runs(sweep, plan)
    assert fork.items() <= first.config.items()
    assert first.config["fork_of"] == f"{'p' * 16} at step 100"


def test_every_end_of_a_run_has_an_outcome():
    reasons = ("running", "budget", "converged", "diverged", "stopped", "failed")
    found = [outcome_of(CommittedProgress(10, reason, reason == "converged")) for reason in reasons]
    assert found == [None, "unconverged", "converged", "diverged", "censored", "failed"]


def test_rows_have_the_times_of_their_commits(tmp_path):
    store = trained(tiny(), tmp_path / "s")
    record = next(iter(store.newest_records().values()))
    ((entry, times),) = record.times_of_history()
    recorded = read_recorded([with_times(store.pack(record.pack_id).table(entry), times)])
    latest = max(found.times_T[-1] for found in recorded.values())
    assert latest == pytest.approx(times[1], abs=1e-3)
    for found in recorded.values():
        assert (np.diff(found.times_T) > 0).all()
        run_times = [row.values["time/run_s"] for row in found.rows()]
        assert run_times[0] == 0
        assert run_times[-1] == pytest.approx(found.times_T[-1] - found.times_T[0])
    (unknown,) = {
        row.at for found in read_recorded([store.pack(record.pack_id).table(entry)]).values() for row in found.rows()
    }
    assert unknown is None
