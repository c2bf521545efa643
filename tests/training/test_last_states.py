"""What is kept of runs that end: their states, their weights or nothing, and the maps of some of them."""

from __future__ import annotations

import pytest

from pipeline.planning.open_sweep import kept_packs
from pipeline.spec import sections
from pipeline.store.pack_store import StoreError
from pipeline.training.replay import replay
from tests.support import interrupted, rows, tiny, trained, weights

SEEDS = {"together": {"range": [0, 5]}}


@pytest.mark.parametrize(("last", "kinds"), [("state", {"state"}), ("weights", {"weights"}), ("nothing", set())])
def test_what_is_kept_is_what_was_asked_for_and_moves_no_bit(last, kinds, tmp_path):
    reference = trained(tiny(seeds=SEEDS), tmp_path / "a")
    store = trained(tiny(seeds=SEEDS, snapshots={"last": last, "attention": []}), tmp_path / "b")
    index = store.snapshots()
    for run_id in weights(store):
        kept = {kind for kind in ("state", "weights", "attention") if index.of(run_id, kind)}
        assert kept == kinds
        if kinds:
            assert (index.weights(run_id, 30) == reference.snapshots().weights(run_id, 30)).all()
    assert rows(store) == rows(reference)
    assert weights(store) == weights(reference)


def test_runs_of_which_nothing_is_kept_are_resumed_and_replayed_to_the_bit(tmp_path, monkeypatch):
    spec = tiny(seeds=SEEDS, snapshots={"last": "nothing"}, resources={"slots": 2})
    reference = trained(spec, tmp_path / "a")
    store, attempts = interrupted(spec, tmp_path / "b", 1, monkeypatch)
    assert attempts >= 3
    assert rows(store) == rows(reference)
    assert weights(store) == weights(reference)
    assert replay(store, next(iter(weights(store))), 0, 30, 10, (), with_weights=False).num_values > 0


def test_a_larger_budget_is_refused_where_no_state_is_there_to_go_on_from(tmp_path):
    kept = {"last": "weights"}
    store = trained(tiny(seeds=SEEDS, snapshots=kept), tmp_path / "a")
    longer = tiny(seeds=SEEDS, snapshots=kept, budget=60)
    with pytest.raises(StoreError, match=r"budget: 30 -> 60, which needs the runs' last states.*snapshots\.last"):
        kept_packs(longer, {config.run_id: config for config in longer.runs()}, store.folder)
    states = tiny(seeds=SEEDS, budget=60)
    store = trained(tiny(seeds=SEEDS), tmp_path / "b")
    assert kept_packs(states, {config.run_id: config for config in states.runs()}, store.folder)


def test_large_sweeps_keep_no_states_and_the_maps_of_a_fixed_number_of_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "MOST_STATES", 11)
    monkeypatch.setattr(sections, "MOST_MAPS", 4)
    index = trained(tiny(seeds={"together": {"range": [0, 12]}}), tmp_path / "a").snapshots()
    run_ids = [config.run_id for config in tiny(seeds={"together": {"range": [0, 12]}}).runs()]
    with_maps = [run_id for run_id in run_ids if index.of(run_id, "attention")]
    assert with_maps == [run_id for run_id in run_ids if int(run_id, 16) % 3 == 0]
    assert 0 < len(with_maps) < 12
    assert not any(index.of(run_id) for run_id in run_ids)


def test_a_sweep_that_says_nothing_of_it_has_the_id_that_it_always_had():
    assert "last" not in tiny(seeds=SEEDS).identity()["snapshots"]
    assert tiny(seeds=SEEDS, snapshots={"last": "state"}).sweep_id != tiny(seeds=SEEDS).sweep_id
