"""Readings from kept weights: those that would have been recorded, to the bit, and added to a sweep by the command."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from analysis.predictors.features import statistics_RF
from pipeline.store.pack_store import PackStore, StoreError
from pipeline.training import stored_readings
from pipeline.training.stored_readings import readings_of
from sweeps.command.reading import run_read
from tests.engine.test_reader import Items, registered
from tests.support import opened, rows, tiny, trained
from tests.training.test_recorded_readings import MIXED

WINDOWS = [0, 0.4, 0.7]
QUIET = Console(quiet=True)


def by_place(table):
    """(run_id, step, metric) -> the bits of the value."""
    names = table.column_names[2:]
    return {
        (row["run_id"], row["step"], name): np.float64(row[name]).tobytes()
        for row in table.to_pylist()
        for name in names
        if row[name] is not None
    }


@pytest.mark.parametrize(
    "snapshots", [{"weights": "windows"}, {"states": "windows"}, {"weights": [0], "states": [10, 20]}]
)
def test_they_are_what_a_worker_records_to_the_bit(snapshots, tmp_path):
    store = trained(tiny(windows=WINDOWS, snapshots=snapshots), tmp_path / "r")
    found = by_place(readings_of(store, ["circuits"]))
    recorded = {key: bits for key, bits in rows(store).items() if key[2].startswith("circuits.")}
    assert {key[1] for key in found} == {0, 10, 20, 30}
    assert {key: bits for key, bits in found.items() if key[1] < 30} == recorded
    assert len(recorded) == 4 * 3 * len(store.history().readings)


def test_a_sweep_that_recorded_none_has_them_after_the_command_as_if_it_had(tmp_path):
    recorded = trained(tiny(windows=WINDOWS), tmp_path / "a")
    store = trained(tiny(windows=WINDOWS, readings=[], snapshots={"weights": "windows"}), tmp_path / "b")
    assert not store.history().readings
    files = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    run_read(store, ["circuits"], QUIET)
    assert {path: path.read_bytes() for path in files} == files
    ours, theirs = (s.history().window(0.7) for s in (store, recorded))
    assert ours.readings == theirs.readings
    names = statistics_RF(theirs).names_F
    assert statistics_RF(ours).named(names).values_RF.tobytes() == statistics_RF(theirs).values_RF.tobytes()
    # A second time nothing is there twice.
    run_read(store, [], QUIET)
    assert len(list((store.folder / "added").iterdir())) == 2


def test_each_reading_has_a_table_and_is_null_where_it_reads_no_model(tmp_path, monkeypatch):
    registered(monkeypatch, Items)
    store = trained(tiny(**MIXED, windows=[0], snapshots={"weights": "windows"}), tmp_path / "r")
    run_read(store, ["circuits", "items"], QUIET)
    assert sorted(path.name for path in (store.folder / "added").glob("*.json")) == ["circuits.json", "items.json"]
    history = store.history()
    is_read_R = ~np.isnan(history.values["items.sum"]).all(1)
    kinds = [run.hyperparameters["task.name"] for run in history.runs]
    assert dict(zip(kinds, is_read_R.tolist(), strict=True)) == {"dictionary_lookup": False, "linear_regression": True}


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    registered(monkeypatch, Items)
    store = trained(tiny(seeds={"together": [0]}), tmp_path / "r")
    with pytest.raises(StoreError, match="unknown reading 'circuit'; did you mean 'circuits'"):
        readings_of(store, ["circuit"])
    with pytest.raises(StoreError, match="it reads tasks of vectors alone"):
        readings_of(store, ["items"])


FORGED = {
    "shorter": lambda weights_P: weights_P[:-1],
    "one number": lambda weights_P: weights_P[0].reshape(()),
    "in rows": lambda weights_P: weights_P.reshape(1, -1),
    "of another type": lambda weights_P: weights_P.astype("int32"),
    "missing": lambda weights_P: None,
}


@pytest.mark.parametrize("forged", FORGED)
def test_weights_that_are_not_those_of_the_model_are_refused(forged, tmp_path, monkeypatch):
    store = trained(tiny(seeds={"together": [0]}), tmp_path / "r")
    arrays = PackStore.arrays

    def altered(*given, **named):
        found = {name: FORGED[forged](array) for name, array in arrays(*given, **named).items()}
        return {name: array for name, array in found.items() if array is not None}

    monkeypatch.setattr(PackStore, "arrays", altered)
    with pytest.raises(StoreError, match=r"at step 30 are not those of its model: .* in place of \(\d+,\) float32"):
        readings_of(store, ["circuits"])


def test_weights_of_a_run_that_the_sweep_does_not_have_are_refused(tmp_path, monkeypatch):
    store = trained(tiny(seeds={"together": [0]}), tmp_path / "r")
    monkeypatch.setattr(stored_readings, "expand", lambda spec: [])
    with pytest.raises(StoreError, match="keeps weights of runs that its sweep does not have"):
        readings_of(store, ["circuits"])


def test_where_no_weights_are_kept_the_field_that_keeps_them_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"no weights are kept; snapshots\.weights"):
        readings_of(opened(tiny(), tmp_path / "r"), ["circuits"])
