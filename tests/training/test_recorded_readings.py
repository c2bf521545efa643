"""Readings are recorded at the windows of a sweep, beside everything else, and move no bit of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.predictors.features import statistics_RF
from pipeline.engine.parameter_layout import Layout
from pipeline.engine.reader import Reader
from pipeline.numerics.compiler import toolchain
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.parameters import static
from pipeline.spec.sweep import SweepSpec
from pipeline.stopping.base import STOPPING_RULES, StoppingRule
from pipeline.store.pack_store import StoreError
from pipeline.training.open_pack import open_pack
from tests.engine.test_reader import Items, registered
from tests.support import interrupted, opened, rows, tiny, trained, weights

EMBEDDING = "circuits.embedding_norm"
SEEDS = {"together": {"range": [0, 5]}}
# Steps 0, 10 and 40, of which the last is neither evaluated nor probed.
GRID = {"chunk": 10, "eval_items": 32, "probe_items": 16, "probe_steps": [3, 10, 50], "eval_every": 25}
COMMON = {"budget": 50, "seeds": SEEDS, "resources": {"slots": 2}, "windows": [0, 0.2, 0.85]}
COMMON |= {"grid": GRID | {"eval_every": None, "eval_steps": [10, 50]}}


def read_at(history):
    """Steps at which any reading was recorded, which is of every run."""
    seen_RT = np.stack([~np.isnan(history.values[name]) for name in history.readings]).any(0)
    assert (seen_RT == seen_RT[0]).all()
    return history.steps_T[seen_RT[0]].tolist()


def without_readings(store):
    return {key: bits for key, bits in rows(store).items() if not key[2].startswith("circuits.")}


def test_they_are_recorded_at_the_windows_whatever_the_grid_and_move_no_bit(tmp_path):
    store = trained(tiny(**COMMON), tmp_path / "a")
    assert store.plan["readings"] == ["circuits"]
    assert read_at(store.history()) == [0, 10, 40]
    plain = trained(tiny(**COMMON, readings=[]), tmp_path / "b")
    assert not plain.history().readings
    assert weights(plain) == weights(store)
    assert without_readings(store) == rows(plain)


@pytest.mark.native
@pytest.mark.skipif(toolchain() is None, reason="needs g++")
def test_runs_of_a_compiled_program_are_read_too_and_keep_every_bit(tmp_path):
    common = COMMON | {"resources": {"slots": 2, "engine": "compiled"}}
    store = trained(tiny(**common), tmp_path / "a")
    assert read_at(store.history()) == [0, 10, 40]
    plain = trained(tiny(**common, readings=[]), tmp_path / "b")
    assert weights(plain) == weights(store)
    assert without_readings(store) == rows(plain)


def test_what_is_recorded_is_read_from_the_weights_of_that_step(tmp_path):
    store = trained(tiny(**COMMON, snapshots={"states": [0, 10, 40]}), tmp_path / "r")
    history, configs = store.history(), expand(stored_spec(store))
    layout = Layout(configs[0].model.parameter_specs(configs[0].task.shape()), torch.float32)
    for column, step in enumerate(history.steps_T.tolist()):
        if step not in (0, 10, 40):
            continue
        states = [store.snapshots().read(config.run_id, step)["weights"] for config in configs]
        parameters = layout.views(torch.stack([layout.expand(torch.tensor(state)) for state in states]))
        found = Reader(configs[0], ["circuits"], 16).read(parameters, configs)
        assert found.keys() == history.readings
        for name, values in found.items():
            assert np.array_equal(history.values[name][:, column], values.numpy()), (step, name)


def test_interrupted_or_in_other_slots_the_same_is_recorded(tmp_path):
    reference = trained(tiny(**COMMON), tmp_path / "a")
    with pytest.MonkeyPatch.context() as patch:
        again, attempts = interrupted(tiny(**COMMON), tmp_path / "b", 1, patch)
    assert attempts > 3
    assert rows(again) == rows(reference)
    others = trained(tiny(**COMMON | {"resources": {"slots": 5}}), tmp_path / "c", num_workers=2)
    assert rows(others) == rows(reference)


@pytest.mark.parametrize("chunks_lost", [1, 4])
def test_a_pack_killed_with_weights_kept_but_not_read_reads_them_after_resuming(tmp_path, chunks_lost):
    reference = trained(tiny(**COMMON), tmp_path / "a")
    store = opened(tiny(**COMMON), tmp_path / "b")
    killed = open_pack(store, store.pack_ids()[0])
    killed.step()
    killed.commit()
    for _ in range(chunks_lost):
        # Four chunks on, two runs have ended and the next two stand at a window.
        killed.step()
    resumed = open_pack(store, store.pack_ids()[0])
    while not resumed.is_done:
        resumed.step()
    resumed.commit()
    assert read_at(store.history()) == [0, 10, 40]
    assert rows(store) == rows(reference)


@pytest.mark.parametrize("group_runs", [1, 4])
def test_groups_that_are_full_before_a_commit_change_nothing(tmp_path, monkeypatch, group_runs):
    reference = trained(tiny(**COMMON), tmp_path / "a")
    monkeypatch.setattr("pipeline.engine.reader._GROUP_RUNS", group_runs)
    assert rows(trained(tiny(**COMMON), tmp_path / "b")) == rows(reference)


def test_a_reading_is_one_column_of_the_statistics_and_a_curve_several(tmp_path):
    history = trained(tiny(**COMMON), tmp_path / "r").history()
    names = statistics_RF(history.window(0.85)).names_F
    reading = next(iter(sorted(history.readings)))
    assert [name for name in names if reading in name] == [f"last_value({reading})"]
    assert {f"{kind}(probe_loss)" for kind in ("last_value", "level", "slope")} <= set(names)
    features = statistics_RF(history.window(0.2)).named([f"last_value({reading})"])
    assert features.values_RF[:, 0].tolist() == history.values[reading][:, history.steps_T == 10][:, 0].tolist()


class ByWeights(StoppingRule):
    """Ends runs whose embedding is larger than most at step 10, by a reading that it needs or does not."""

    name = "by_weights"
    is_told: bool = static(True)

    def metrics_needed(self):
        """The reading, unless it keeps that to itself."""
        return frozenset({EMBEDDING}) if self.is_told else frozenset()

    def should_stop(self, prefix):
        """At the first evaluation."""
        seen_T = prefix.values.get(EMBEDDING, np.full(len(prefix.steps_T), np.nan))[prefix.steps_T == 10]
        return bool(len(prefix.eval_steps_E) == 1 and (seen_T > self.median).any())


def ends(store):
    return {run.run_id: end.step for run, end in zip(store.history().runs, store.history().ends, strict=True)}


def test_a_rule_that_needs_a_reading_has_it_in_time_whatever_the_slots_and_no_other_has_it(tmp_path, monkeypatch):
    whole = trained(tiny(**COMMON), tmp_path / "a").history()
    read_R = whole.values[EMBEDDING][:, whole.steps_T == 10][:, 0]
    ByWeights.median = float(np.median(read_R))
    monkeypatch.setitem(vars(STOPPING_RULES), "_classes", {**STOPPING_RULES, "by_weights": ByWeights})
    expected = {run.run_id: 10 if read > ByWeights.median else 50 for run, read in zip(whole.runs, read_R, strict=True)}
    assert set(expected.values()) == {10, 50}
    for slots in (1, 2, 5):
        common = COMMON | {"resources": {"slots": slots}}
        assert ends(trained(tiny(**common, stopping={"name": "by_weights"}), tmp_path / f"b{slots}")) == expected
    untold = {"name": "by_weights", "is_told": False}
    with pytest.MonkeyPatch.context() as patch:
        # Resumed after every chunk, what was read before stands in the history: it must not be seen either.
        store, _ = interrupted(tiny(**COMMON, stopping=untold), tmp_path / "c", 1, patch)
    assert set(ends(store).values()) == {50}


def test_a_rule_that_needs_what_no_reading_gives_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(vars(STOPPING_RULES), "_classes", {**STOPPING_RULES, "by_weights": ByWeights})
    with pytest.raises(StoreError, match=f"this sweep does not record {EMBEDDING}"):
        opened(tiny(**COMMON, readings=[], stopping={"name": "by_weights"}), tmp_path / "r")


MIXED = {
    "vary": [
        {
            "task": [{"name": "dictionary_lookup"}, {"name": "linear_regression"}],
            "model": [{"name": "attention_only"}, {"name": "linear_self_attention"}],
        }
    ],
    "seeds": {"together": [0]},
    "grid": {"chunk": 10, "eval_items": 8, "probe_items": 8},
    "resources": {"slots": 1},
}


def test_where_a_reading_reads_some_of_the_models_the_others_lack_it(tmp_path, monkeypatch):
    registered(monkeypatch, Items)
    history = trained(tiny(**MIXED, readings=["items"]), tmp_path / "r").history()
    kinds = [run.hyperparameters["task.name"] for run in history.runs]
    is_read_R = ~np.isnan(history.values["items.sum"]).all(1)
    assert dict(zip(kinds, is_read_R.tolist(), strict=True)) == {"dictionary_lookup": False, "linear_regression": True}


def test_a_reading_that_can_read_none_of_the_models_is_refused_with_its_own_sentence(tmp_path, monkeypatch):
    registered(monkeypatch, Items)
    with pytest.raises(ValueError, match=r"readings\.1\s+items: it reads tasks of vectors alone"):
        tiny(readings=["circuits", "items"])
    # The models of a fork are known when it is planned.
    trained(tiny(snapshots={"states": [10]}), tmp_path / "p")
    fork = {"sweep": str(tmp_path / "p"), "steps": [10], "data_seed": [7]}
    shared = {"budget": 30, "grid": {"chunk": 10}, "resources": {"engine": "torch"}}
    spec = SweepSpec.model_validate({"name": "f", "fork": fork, "readings": ["items"], **shared})
    with pytest.raises(StoreError, match="readings: items: it reads tasks of vectors alone"):
        opened(spec, tmp_path / "f")
