"""The order in which packs are begun: fair in the first third, and short packs last."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.planning.engine_choice import Calibration
from pipeline.planning.pack_order import begun_in_order
from pipeline.planning.packs import Machine, grouped, make_plan
from tests.support import tiny

COMPILED = Calibration("compiled-some-compiler")


def parts(**num_packs):
    return {name: [f"{name}{index}" for index in range(number)] for name, number in num_packs.items()}


@pytest.mark.parametrize("cost", [1.0, 1.2, 0.9])
def test_parts_of_alike_lengths_take_turns_in_declared_order_throughout(cost):
    assert begun_in_order(parts(a=3, b=3), {"a": 1.0, "b": cost}) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_up_to_a_third_of_each_part_every_prefix_is_fair_and_after_it_no_pack_begins_before_a_longer_one():
    lengths = {"a": 1.0, "b": 8.0, "c": 2.0, "d": 8.5}
    found = [name[0] for name in begun_in_order(parts(a=8, b=8, c=8, d=8), lengths)]
    for end in range(13):
        counts = Counter(found[:end])
        assert max(counts.values(), default=0) - min(counts[part] for part in lengths) <= 1
    assert "".join(found[12:]) == "bd" * 5 + "c" * 5 + "a" * 5
    assert found[0] == "b"


def test_parts_of_unlike_numbers_keep_all_their_packs_in_their_own_order():
    packs = parts(a=1, b=7, c=2)
    found = begun_in_order(packs, {"a": 1.0, "b": 64.0, "c": 0.0})
    assert sorted(found) == sorted(name for part in packs.values() for name in part)
    for part in packs.values():
        assert [name for name in found if name in part] == part
    assert found[-1] == "c1"


def unlike_sizes(num_seeds=8, **resources):
    """Two sizes, of which the second is larger by far."""
    seeds = {"together": {"range": [0, num_seeds]}}
    return tiny(vary=[{"model.width": [8, 64]}], seeds=seeds, resources={"engine": "auto", **resources})


def planned(spec, calibrations=(COMPILED, COMPILED), kept=()):
    runs = {config.run_id: config for config in spec.runs()}
    given = dict(zip(grouped(runs, 8), calibrations, strict=True))
    return make_plan(spec, runs, Machine("cpu", 8, "2.0"), given, kept)


def order_of(*given):
    plan = planned(*given)
    return [plan.runs[pack.run_ids[0]].hyperparameters()["model.width"] for pack in plan.packs]


def test_packs_with_more_parameters_are_expected_to_be_longer():
    assert order_of(unlike_sizes(slots=2)) == [64, 8, 64, 8, 64, 64, 8, 8]


def test_speeds_that_were_measured_count_more_than_parameters():
    measured = [Calibration(None, "", {2: 10.0}), Calibration(None, "", {2: 1000.0})]
    assert order_of(unlike_sizes(slots=2), measured) == [8, 64, 8, 64, 8, 8, 64, 64]


def test_packs_of_larger_budgets_are_expected_to_be_longer():
    spec = tiny(
        vary=[{"model.width": [8, 9], "budget": [20, 60]}],
        seeds={"together": {"range": [0, 8]}},
        resources={"engine": "auto", "slots": 2},
    )
    assert order_of(spec) == [9, 8, 9, 8, 9, 9, 8, 8]


def test_packs_that_are_there_stay_in_the_order_that_they_have():
    kept = tuple(reversed(planned(unlike_sizes(slots=2)).packs))
    plan = planned(unlike_sizes(12, slots=2), kept=kept)
    assert plan.packs[: len(kept)] == kept
    assert len(plan.packs) > len(kept)
