"""A run that raises an error ends alone, with its reason; its neighbours have the bits that they have without it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engine.block import Block
from pipeline.engine.reader import Reader
from pipeline.launch.inline import launch_inline
from pipeline.numerics.compiler import toolchain
from pipeline.numerics.streams import stream_key
from pipeline.spec.sweep import SweepSpec
from pipeline.store.progress import progress_by_pack, summed, unfinished
from tests.support import interrupted, opened, rows, tiny, trained, weights
from tests.training.raising import raising


def ends(store):
    return {run: end for record in store.newest_records().values() for run, end in record.ends.items()}


def spec_of(fails_at, num_seeds=1, **changes):
    """Runs that differ by the step at which they raise; -1 is never."""
    own = {
        "task": {"name": "raising", "dim": 3, "num_pairs": 4},
        "vary": [{"task.fails_at": fails_at}],
        "seeds": {"together": {"range": [0, num_seeds]}},
    }
    return SweepSpec.model_validate(tiny("linear_regression", **changes).identity() | own)


def assert_alone(store, reference):
    """The runs of `reference` have the same bits in `store`, where all others failed; these others."""
    healthy, found = ends(reference), ends(store)
    assert {run: found[run] for run in healthy} == healthy
    kept = {key: value for key, value in rows(store).items() if key[0] in healthy}
    assert kept == rows(reference)
    assert weights(reference).items() <= weights(store).items()
    return {run: end for run, end in found.items() if run not in healthy}


@pytest.mark.parametrize(
    ("slots", "num_seeds", "fails_at"),
    [
        (2, 1, [-1, 13]),
        pytest.param(8, 3, [-1, 13, 4], marks=pytest.mark.slow),
        # 4 is between two marks of the first chunk.
        (64, 5, [-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, 4, 19]),
    ],
)
def test_runs_that_raise_at_a_step_end_alone_and_the_others_keep_every_bit(
    slots, num_seeds, fails_at, tmp_path, monkeypatch
):
    raising(monkeypatch, tmp_path)
    resources = {"resources": {"slots": slots}}
    store = trained(spec_of(fails_at, num_seeds, **resources), tmp_path / "a")
    reference = trained(spec_of([at for at in fails_at if at < 0], num_seeds, **resources), tmp_path / "b")
    failed = assert_alone(store, reference)
    assert len(failed) == num_seeds * sum(at >= 0 for at in fails_at)
    at_of = {run.run_id: run.hyperparameters["task.fails_at"] for run in store.history().runs}
    for run_id, end in failed.items():
        assert end.reason == "failed"
        assert end.step == at_of[run_id] // 10 * 10, "the beginning of the chunk"
        assert f"while it was trained after step {end.step}: ValueError: no batch (raising.py, line " in end.cause
        assert max((step for run, step, _ in rows(store) if run == run_id), default=-1) == (end.step or -1)
    assert not unfinished(store)
    assert summed(progress_by_pack(store).values()).num_failed == len(failed)


def is_bad(block, slot):
    """Whether a slot holds a run of data seed 2."""
    return block.keys["data"][slot].tolist() == list(stream_key("data", 2))


def raise_in(monkeypatch, method, times=10**9):
    """`Block.method` raises wherever the run of seed 2 is among the slots, so many times."""
    real, left = getattr(Block, method), [times]

    def planted(self, number, slots=None):
        if left[0] and any(is_bad(self, slot) for slot in (range(self.num_slots) if slots is None else slots)):
            left[0] -= 1
            raise ValueError("planted\nand more")
        return real(self, number, slots)

    monkeypatch.setattr(Block, method, planted)


ENGINES = ["torch", pytest.param("auto", marks=pytest.mark.native)]


def of_engine(engine, **changes):
    """Six runs of seeds 0 to 5 in three slots."""
    if engine == "auto" and toolchain() is None:
        pytest.skip("there is no compiler here")
    resources = {"slots": 3, "engine": engine}
    seeds = {"together": {"range": [0, 6]}}
    snapshots = {"attention": [0, 20], "states": [0, 10], "weights": [20]}
    data = tiny("dictionary_lookup", seeds=seeds, snapshots=snapshots, **changes).identity()
    return SweepSpec.model_validate(data | {"resources": resources})


@pytest.fixture(scope="module", params=ENGINES)
def healthy(request, tmp_path_factory):
    """A sweep, what it was made of, and the id of its run of seed 2."""
    spec = of_engine(request.param)
    store = trained(spec, tmp_path_factory.mktemp("healthy") / "r")
    assert {pack["numerics"]["engine"] == "torch" for pack in store.plan["packs"]} == {request.param == "torch"}
    return spec, store, next(run.run_id for run in spec.runs() if run.data_seed == 2)


def assert_only(store, reference, bad):
    """The run `bad` alone failed; all else is as in the reference. Its end."""
    failed = {run: end for run, end in ends(store).items() if end.reason == "failed"}
    assert failed.keys() == {bad}
    assert {run: end for run, end in ends(store).items() if run != bad} == {
        run: end for run, end in ends(reference).items() if run != bad
    }
    others = {key: value for key, value in rows(reference).items() if key[0] != bad}
    assert {key: value for key, value in rows(store).items() if key[0] != bad} == others
    assert {key: value for key, value in rows(store).items() if key[0] == bad}.items() <= rows(reference).items()
    ours, theirs = store.snapshots(), reference.snapshots()
    for run_id in ends(reference).keys() - {bad}:
        assert all(ours.of(run_id, kind) == theirs.of(run_id, kind) for kind in ("state", "weights", "attention"))
    end = failed[bad]
    assert max((step for run, step, _ in rows(store) if run == bad), default=-1) == (end.step or -1)
    return end


@pytest.mark.parametrize("method", ["train", "evaluate", "probe", "attention_maps"])
def test_whatever_raises_for_a_run_ends_that_run_alone(method, healthy, tmp_path, monkeypatch):
    spec, reference, bad = healthy
    store = opened(spec, tmp_path / "r")
    raise_in(monkeypatch, method)
    launch_inline(store, unfinished(store), lambda *_: None)
    end = assert_only(store, reference, bad)
    assert end.step == 0
    assert "planted (test_failing_runs.py, line" in end.cause
    assert "and more" not in end.cause


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_error_that_passes_fails_no_run(times, healthy, tmp_path, monkeypatch):
    spec, reference, _ = healthy
    store = opened(spec, tmp_path / "r")
    raise_in(monkeypatch, "evaluate", times)
    launch_inline(store, unfinished(store), lambda *_: None)
    assert ends(store) == ends(reference)
    assert rows(store) == rows(reference)


def refuse_to_load(monkeypatch, seeds):
    load = Block.load_runs

    def planted(self, runs):
        if any(config.data_seed in seeds for config, _ in runs.values()):
            raise ValueError("planted")
        load(self, runs)

    monkeypatch.setattr(Block, "load_runs", planted)


def test_a_run_that_cannot_be_loaded_ends_before_it_began(healthy, tmp_path, monkeypatch):
    spec, reference, bad = healthy
    refuse_to_load(monkeypatch, [2])
    store = trained(spec, tmp_path / "r")
    end = assert_only(store, reference, bad)
    assert (end.step, end.weights_sha256) == (0, "")
    assert end.cause.startswith("while it was loaded: ValueError: planted")


@pytest.mark.parametrize("seeds", [[0, 1], range(6)], ids=["the first", "all"])
def test_the_first_runs_of_a_pack_and_even_all_of_them_may_raise(seeds, healthy, tmp_path, monkeypatch):
    spec, reference, _ = healthy
    refuse_to_load(monkeypatch, seeds)
    store = trained(spec, tmp_path / "r")
    assert not unfinished(store)
    failed = {run_id for run_id, end in ends(store).items() if end.reason == "failed"}
    assert failed == {run.run_id for run in spec.runs() if run.data_seed in seeds}
    expected = {key: value for key, value in rows(reference).items() if key[0] not in failed}
    assert rows(store) == expected


@pytest.mark.parametrize(("slots", "every_chunks"), [pytest.param(1, None, marks=pytest.mark.slow), (4, None), (4, 1)])
def test_a_reading_that_raises_ends_its_run_a_chunk_before_the_window(slots, every_chunks, tmp_path, monkeypatch):
    """Whenever it is taken: the run may have gone on, or ended, before its group is full."""
    common = {"budget": 60, "windows": [0.25, 0.5], "readings": ["gradients"], "resources": {"slots": slots}}
    spec = tiny(seeds={"together": {"range": [0, 5]}}, snapshots={"weights": "windows"}, **common)
    reference = trained(spec, tmp_path / "a")
    assert [step for _, step in reference.history().windows] == [10, 30]
    bad = next(run.run_id for run in spec.runs() if run.data_seed == 2)
    read, weights_P = Reader.read, reference.snapshots().weights(bad, 30)

    def planted(self, parameters, configs):
        name, values = next(iter(parameters.items()))
        if any(np.array_equal(value.flatten().numpy(), weights_P[: value.numel()]) for value in values):
            raise ValueError(f"planted in {name}")
        return read(self, parameters, configs)

    monkeypatch.setattr(Reader, "read", planted)
    if every_chunks is None:
        store = trained(spec, tmp_path / "b")
    else:
        store, _ = interrupted(spec, tmp_path / "b", every_chunks, monkeypatch)
    end = assert_only(store, reference, bad)
    assert end.step == 20
    assert end.cause.startswith("while its weights at step 30 were read: ValueError: planted in")
    steps = {step for run, step, name in rows(store) if run == bad and name.startswith("gradients.")}
    assert steps == {10}
