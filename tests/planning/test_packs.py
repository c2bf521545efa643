"""Plans follow from a spec, a machine and what was measured beforehand."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.launch.planned import plan_on
from pipeline.planning.engine_choice import Calibration, run_step_s, usable_speeds
from pipeline.planning.open_sweep import kept_packs, open_results
from pipeline.planning.packs import Machine, grouped, make_plan
from pipeline.schedules.base import Schedule
from pipeline.schedules.cosine import Cosine
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from tests.support import opened, tiny

COMPILED = Calibration("compiled-some-compiler")
TIMED = Calibration(None, "model flat has no compiled form", {1: 10.0, 4: 50.0, 16: 40.0, 64: 90.0})


def planned(spec, calibration, num_workers=1, kept=()):
    runs = {config.run_id: config for config in spec.runs()}
    machine = Machine("cpu", num_workers, "2.0")
    keys = grouped(runs, num_workers, kept)
    return make_plan(spec, runs, machine, dict.fromkeys(keys, calibration), kept)


def sweep(num_runs, **resources):
    return tiny(seeds={"together": {"range": [0, num_runs]}}, resources={"engine": "auto", **resources})


def test_a_compiled_program_is_used_where_there_is_one():
    pack = planned(sweep(20), COMPILED).packs[0]
    assert (pack.numerics.engine, pack.numerics.slots) == ("compiled-some-compiler", 20)
    assert pack.reason.startswith("compiled")


def test_the_torch_engine_has_the_fastest_slots_that_the_runs_fill_and_says_why_it_is_used():
    pack = planned(sweep(20), TIMED).packs[0]
    assert (pack.numerics.engine, pack.numerics.slots) == ("torch", 4)
    assert "torch engine: model flat has no compiled form" in pack.reason
    assert planned(sweep(100), TIMED).packs[0].numerics.slots == 64
    assert planned(sweep(20), Calibration(None, "no g++ here")).packs[0].numerics.slots == 16


@pytest.mark.parametrize(("num_runs", "speeds", "slots"), [(3, {1: 34.0, 4: 75.0}, 3), (3, {1: 34.0, 4: 30.0}, 1)])
def test_runs_fewer_than_the_next_timed_number_have_a_slot_each_where_that_is_faster(num_runs, speeds, slots):
    pack = planned(sweep(num_runs), Calibration(None, "", speeds)).packs[0]
    assert pack.numerics.slots == slots


def test_between_timed_numbers_of_slots_the_time_of_a_step_is_linear():
    """A step of 1 slot takes 0.1 s, of 4 slots 0.2 s."""
    assert usable_speeds(2, {1: 10.0, 4: 20.0, 16: 1.0}) == {1: 10.0, 2: pytest.approx(2 / (0.1 + 0.1 / 3))}
    assert usable_speeds(4, {1: 10.0, 4: 20.0}) == {1: 10.0, 4: 20.0}
    assert usable_speeds(5, {1: 10.0, 4: 20.0}) == {1: 10.0, 4: 20.0}
    assert usable_speeds(3, {}) == {}
    expected = [run_step_s(sweep(1).runs()[0], slots, Calibration(None, "", {1: 10.0, 4: 20.0})) for slots in (1, 2, 4)]
    assert expected == [0.1, pytest.approx((0.1 + 0.1 / 3) / 2), 0.05]


@pytest.mark.parametrize("calibration", [COMPILED, TIMED])
def test_a_number_of_slots_that_the_sweep_file_gives_is_kept(calibration):
    assert {pack.numerics.slots for pack in planned(sweep(20, slots=3), calibration).packs} == {3}


def test_asking_for_a_compiled_program_that_cannot_be_is_refused_with_the_reason():
    with pytest.raises(StoreError, match=r"resources\.engine is compiled, but model flat has no compiled form"):
        planned(sweep(20, engine="compiled"), TIMED)


def test_every_worker_has_a_pack_every_run_is_in_one_and_none_is_longer_than_eight_times_its_slots():
    plan = planned(sweep(100, slots=3), TIMED, num_workers=2)
    assert len(plan.packs) == 5
    assert max(len(pack.run_ids) for pack in plan.packs) <= 24
    assert sorted(run for pack in plan.packs for run in pack.run_ids) == sorted(plan.runs)
    assert len(planned(sweep(6, slots=3), TIMED, num_workers=6).packs) == 2


def test_packs_that_are_there_stay_and_new_runs_come_in_new_ones():
    kept = planned(sweep(8), COMPILED).packs
    plan = planned(sweep(12), COMPILED, kept=kept)
    assert plan.packs[: len(kept)] == kept
    assert sum(len(pack.run_ids) for pack in plan.packs) == 12


def test_what_cannot_be_compiled_is_named(monkeypatch):
    monkeypatch.setattr(Cosine, "fraction", lambda *given: Schedule.fraction(*given), raising=False)
    spec = tiny(schedule={"name": "cosine", "horizon": 9}, resources={"engine": "auto", "slots": 2})
    reason = plan_on(spec, Machine.cpu(1)).packs[0].reason
    assert (
        "torch engine: schedule cosine (no C++ is written for a warm-up of its own, `fraction`) has no compiled"
        in reason
    )
    assert "torch engine: the sweep file asks for it" in plan_on(tiny(), Machine.cpu(1)).packs[0].reason


def test_a_plan_that_another_launch_has_overtaken_is_refused_and_nothing_is_written(tmp_path):
    wide = planned(sweep(8, slots=4), TIMED)
    store = opened(sweep(8, engine="torch", slots=2), tmp_path / "r")
    before = store.sweep, store.plan
    with pytest.raises(StoreError, match="another launch has changed it"):
        open_results(wide, store.folder, "")
    assert before == (store.sweep, store.plan)


def test_a_spec_without_runs_that_are_there_is_refused(tmp_path):
    store = opened(sweep(8, engine="torch", slots=2), tmp_path / "r")
    fewer = sweep(4, engine="torch", slots=2)
    with pytest.raises(StoreError, match="4 runs that are done or under way are not in the spec any more"):
        kept_packs(fewer, {config.run_id: config for config in fewer.runs()}, store.folder)
    assert len(SweepStore(store.folder).plan["runs"]) == 8


def sweep_of_settings(num_seeds, **resources):
    factors = [{"model.width": [8, 16]}, {"optimiser.lr": [0.001, 0.002, 0.003]}]
    seeds = {"together": {"range": [0, num_seeds]}}
    return tiny(vary=factors, seeds=seeds, resources={"engine": "auto", **resources})


@pytest.mark.parametrize("varied", [[], [{"optimiser.lr": [1e-3, 1e-2]}]])
def test_crossed_runs_under_one_data_seed_stand_side_by_side_and_settings_still_take_turns(varied):
    seeds = {"crossed": {"init_seed": [4, 2, 3], "data_seed": [9, 7]}}
    plan = planned(tiny(seeds=seeds, vary=varied, resources={"engine": "auto"}), COMPILED)
    runs = list(plan.configs(plan.packs[0]).values())
    num_settings = len(plan.settings)
    assert [run.data_seed for run in runs] == [9] * 3 * num_settings + [7] * 3 * num_settings
    assert [run.init_seed for run in runs[::num_settings]] == [4, 2, 3] * 2
    assert [run.setting_id for run in runs] == list(plan.settings) * 6


@pytest.mark.parametrize("num_workers", [1, 4])
def test_settings_start_in_turn_so_that_a_partial_look_is_fair(num_workers):
    plan = planned(sweep_of_settings(20, slots=1), TIMED, num_workers)
    for pack in plan.packs:
        settings = [plan.runs[run_id].setting_id for run_id in pack.run_ids]
        for end in range(len(settings) + 1):
            counts = Counter(settings[:end])
            assert max(counts.values(), default=0) - min(counts[setting] for setting in set(settings)) <= 1
    static = [plan.runs[pack.run_ids[0]].static_key() for pack in plan.packs]
    assert len(static) >= 8
    for end in range(len(static) + 1):
        counts = Counter(static[:end])
        assert max(counts.values(), default=0) - min(counts[key] for key in set(static)) <= 1


def test_seeds_of_a_setting_start_in_the_order_that_the_sweep_file_gives():
    plan = planned(sweep_of_settings(20, slots=1), TIMED)
    for pack in plan.packs:
        by_setting = {}
        for run_id in pack.run_ids:
            by_setting.setdefault(plan.runs[run_id].setting_id, []).append(plan.runs[run_id].init_seed)
        assert all(seeds == sorted(seeds) for seeds in by_setting.values())


def test_the_runs_of_every_setting_are_spread_evenly_over_the_packs_of_its_group():
    """What a worker is given is spread evenly: every setting has as many runs in each pack, or one less."""
    plan = planned(sweep_of_settings(20, slots=3), TIMED, num_workers=4)
    by_key = {}
    for pack in plan.packs:
        counts = Counter(plan.runs[run_id].setting_id for run_id in pack.run_ids)
        by_key.setdefault(plan.runs[pack.run_ids[0]].static_key(), []).append(counts)
    for packs in by_key.values():
        for setting in set().union(*packs):
            assert max(counts[setting] for counts in packs) - min(counts[setting] for counts in packs) <= 1
