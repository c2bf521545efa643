"""Snapshots that are added as arrays over runs are those that are added run by run."""

from __future__ import annotations

import hashlib

import numpy as np

from pipeline.store.formats.tables import decode_arrays
from pipeline.store.records.new_snapshots import NewSnapshots, arrays_sha256, rows_sha256

RUNS, STEPS = ["a" * 16, "b" * 16, "c" * 16], [10, 20, 20]
rng = np.random.default_rng(0)
STATES = {
    "weights": rng.normal(size=(3, 7)).astype(np.float32),
    "powers": rng.normal(size=3),
    "maps": rng.integers(9, size=(3, 2, 2)),
    "bytes": np.zeros((3, 0), np.uint8),
}


def one_by_one(order=(0, 1, 2)):
    found = NewSnapshots()
    for row in order:
        found.add([RUNS[row]], [STEPS[row]], "state", {name: array[[row]] for name, array in STATES.items()})
    return found


def together():
    found = NewSnapshots()
    found.add(RUNS, STEPS, "state", STATES)
    return found


def test_what_is_added_together_is_what_is_added_one_by_one():
    assert together().entries == one_by_one().entries
    assert together().encoded() == one_by_one().encoded()
    # The order is that of adding.
    assert one_by_one((2, 0, 1)).entries != together().entries


def test_every_array_is_found_under_its_run_step_kind_and_name(tmp_path):
    found = decode_arrays(together().encoded(), tmp_path)
    assert len(found) == 12
    for row, (run_id, step) in enumerate(zip(RUNS, STEPS, strict=True)):
        for name, array in STATES.items():
            kept = found[f"{run_id}/{step}/state/{name}"]
            assert kept.dtype == array.dtype
            assert kept.shape == array[row].shape
            assert np.array_equal(kept, array[row])


def test_digests_are_those_of_earlier_records():
    """Over names in order, types, shapes, where that of a number is (1,), and bytes."""
    digest = hashlib.sha256()
    for name, head in [
        ("bytes", "uint8:(0,):"),
        ("maps", "int64:(2, 2):"),
        ("powers", "float64:(1,):"),
        ("weights", "float32:(7,):"),
    ]:
        digest.update(f"{name}:{head}".encode() + STATES[name][1].tobytes())
    assert together().entries[1].sha256 == digest.hexdigest()
    assert arrays_sha256({name: array[1] for name, array in STATES.items()}) == digest.hexdigest()
    assert rows_sha256(STATES["weights"])[1] == hashlib.sha256(STATES["weights"][1].tobytes()).hexdigest()


def test_a_snapshot_is_kept_once_and_forgotten_by_run_and_step(tmp_path):
    found = together()
    found.add(RUNS[:1], [10], "state", {name: array[:1] for name, array in STATES.items()})
    found.add(RUNS[1:2], [10], "attention", {})
    assert [(entry.run_id[0], entry.step, entry.kind) for entry in found.entries] == [
        ("a", 10, "state"), ("b", 20, "state"), ("c", 20, "state"), ("b", 10, "attention"),
    ]  # fmt: skip
    found.forget(RUNS[1], 10)
    assert [entry.run_id[0] for entry in found.entries] == ["a", "c", "b"]
    assert len(found) == 3
    assert not [name for name in decode_arrays(found.encoded(), tmp_path) if name.startswith("b")]
