"""Forecasts of one task on another: the page shows what is kept, and the kept scores are those of the rule."""

from __future__ import annotations

import json

import numpy as np

from analysis.outcomes.outcomes import decide_outcomes
from benchmarks.bench import read
from benchmarks.forecasts import transfer, transfer_page
from tests.analysis.synthetic import BUDGET, synthetic_history

KEPT = read(transfer_page.KEPT)


def test_the_page_on_forecasts_shows_what_other_sweeps_say_as_kept():
    text = transfer_page.PAGE.read_text(encoding="utf-8")
    assert transfer_page.with_tables_of_transfer(text, KEPT) == text


def test_every_forecast_that_is_given_is_better_than_chance_and_none_is_given_to_another_task():
    names = KEPT["targets"]
    given = {
        (line["source"], name): line["low"][place]
        for line in KEPT["auroc"]
        for place, name in enumerate(names)
        if line["units"] == "relative" and line["given"][place]
    }
    assert {source for source, _ in given} == {*names, transfer_page.WHOLE_TASK}
    assert min(given.values()) > 0.5
    lookups = {"lookup_a", "lookup_b", "head_width_2", "head_width_3", "lookup_settings"}
    assert {target for source, target in given if source == "lookup_a"} == lookups


def test_lines_give_a_score_for_each_window_and_count_what_is_backwards():
    rows = [
        {"row": "auroc", "window": 0.1, "units": "relative", "source": source, "target": target, "n": 40, "columns": 3}
        | {"agreement": 0.9, "given": given, "value": value, "low": value - 0.1, "high": value + 0.1}
        for source, target, given, value in (
            ("a", "a", True, 0.9),
            ("a", "b", True, 0.8),
            ("a", "c", False, 0.3),
            ("all other tasks", "a", False, 0.5),
            ("all other tasks", "b", False, 0.6),
            ("all other tasks", "c", False, 0.5),
        )
    ]
    skill = {"row": "skill", "target": "b", "window": 0.1, "num_own": 20, "low": 0.1, "high": 0.3, "n": 40}
    rows += [
        skill | {"source": "", "model": "own", "value": 0.15},
        skill | {"source": "a", "model": "adapted", "value": 0.2},
    ]
    kept = transfer_page.kept_document(rows, ["a", "b", "c"])
    assert list(transfer_page.ranks_lines(kept))[2:] == [
        "| b (40) | a | .80 (.70-.90) |",
        "| every sweep | one of another task | .30 (.30 to .30); 1 of 1 backwards |",
        "| every sweep | all other tasks at once | .50 (.50 to .60) |",
    ]
    assert list(transfer_page.after_lines(kept))[2:] == [
        "| b | own runs alone | .15 (.10-.30) |",
        "| b | a | .20 (.10-.30) |",
    ]
    assert json.loads(transfer_page.kept_text(kept)) == kept


def test_halves_of_one_task_are_ranked_and_finished_runs_weigh_the_ranks():
    train, test = (synthetic_history(2, 40, seed=seed, first_seed=1000 * seed, diverge_share=0.0) for seed in (1, 2))
    halves = [{"a": transfer.Half.of("a", history, decide_outcomes(history), 0.25)} for history in (train, test)]
    found = {row["units"]: row for row in transfer.matrix_rows(*halves, 0.25)}
    assert all(row["given"] and row["low"] > 0.5 and row["value"] > 0.8 for row in found.values())
    (half,) = halves[1].values()
    assert half.targets.budget == BUDGET
    prior = {"a": transfer.ranking_of(halves[0]["a"]).earliness_R(half.columns)}
    rows = {(row["row"], row["model"]): row for row in transfer.skill_rows(half, prior, 20, 0.25)}
    assert rows["skill", "adapted"]["value"] > 0.2
    gain = rows["skill", "adapted"]["value"] - rows["skill", "own"]["value"]
    assert rows["skill_gain", "adapted"]["value"] == np.float64(gain)
    assert 0.8 < rows["auroc_after", "adapted"]["value"] <= 1
