"""`seedbed repair` computes whatever is missing or damaged again, to the same bits; `seedbed verify` finds it."""

from __future__ import annotations

import os
import random
import re
import shutil

import pytest

from pipeline.store.damage import damages
from pipeline.store.pack_store import PackStore
from pipeline.store.sweep_store import SweepStore
from tests.support import rows, tiny, trained, weights
from tests.sweeps.test_cli import run

SPEC = tiny(
    vary=[{"batch_size": [8, 16]}], seeds={"together": [0, 1, 2]}, snapshots={"states": [10, 30], "attention": [30]}
)
# More of them in `make fault-test`.
NUM_SUBSETS = int(os.environ.get("SEEDBED_FAULTS", "12"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A finished sweep of two packs, and its sweep file beside it."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "s.yaml").write_text(SPEC.to_yaml())
    store = trained(SPEC, folder / "r")
    assert len(store.pack_ids()) == 2
    return store, rows(store), weights(store)


@pytest.fixture
def copy(reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(reference[0].folder, tmp_path / "r")
    shutil.copy(reference[0].folder.parent / "s.yaml", tmp_path)
    return tmp_path / "r"


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path, chance):
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)


def cut(path, chance):
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) + 1)])


def harm(folder, chance):
    """Delete, cut or flip a random share of the files below `folder`."""
    share = chance.choice([0.1, 0.3, 0.6, 1.0])
    for path in files(folder):
        if chance.random() < share:
            chance.choice([lambda path, _: path.unlink(), cut, flip])(path, chance)


def repaired(monkeypatch, capsys, *options):
    code, printed = run(monkeypatch, capsys, "repair", "r", "--inline", *options)
    assert code == 0, printed
    assert "Traceback" not in printed
    return printed


@pytest.mark.parametrize("seed", range(NUM_SUBSETS))
def test_whatever_is_lost_is_computed_again_to_the_bit(seed, reference, copy, monkeypatch, capsys):
    harm(copy, random.Random(seed))
    repaired(monkeypatch, capsys, "--spec", "s.yaml")
    store = SweepStore(copy)
    assert rows(store) == reference[1]
    assert weights(store) == reference[2]
    assert run(monkeypatch, capsys, "verify", "r")[0] == 0


def test_without_a_sweep_file_all_but_both_generations_of_the_documents_may_be_lost(
    reference, copy, monkeypatch, capsys
):
    chance = random.Random(0)
    for path in files(copy / "packs"):
        chance.choice([cut, flip])(path, chance)
    (copy / "sweep.json").write_text("{}")
    next(copy.glob("plan-*.json")).unlink()
    printed = repaired(monkeypatch, capsys)
    assert "no generation is whole" in printed
    assert rows(SweepStore(copy)) == reference[1]


def test_lost_documents_ask_for_the_sweep_file(copy, monkeypatch, capsys):
    for path in (copy / "sweep.json", copy / "copies" / "sweep.json"):
        path.unlink()
    code, printed = run(monkeypatch, capsys, "repair", "r", "--inline")
    assert code == 2
    assert "give the sweep file, with --spec FILE" in printed
    assert run(monkeypatch, capsys, "status", "r")[0] == 2
    repaired(monkeypatch, capsys, "--spec", "s.yaml")


def test_a_lost_plan_is_made_again_from_the_sweep_document(reference, copy, monkeypatch, capsys):
    for path in copy.rglob("plan-*.json"):
        path.unlink()
    printed = repaired(monkeypatch, capsys)
    assert "complete" in printed
    assert rows(SweepStore(copy)) == reference[1]


def test_a_damaged_document_is_read_from_its_copy(reference, copy, monkeypatch, capsys):
    (copy / "sweep.json").write_text("damaged")
    assert rows(SweepStore(copy)) == reference[1]
    code, printed = run(monkeypatch, capsys, "verify", "r")
    assert code == 1
    assert "sweep.json: is not a sealed record" in printed
    assert "nothing is lost by it" in printed


def test_what_is_damaged_is_moved_aside_and_nothing_is_deleted(copy, monkeypatch, capsys):
    pack = next((copy / "packs").iterdir())
    before = {path.name: path.read_bytes() for path in pack.iterdir()}
    history = next(pack.glob("*.history.parquet"))
    flip(history, random.Random(3))
    (copy / "mine.txt").write_text("kept")
    repaired(monkeypatch, capsys)
    aside = copy / "set-aside" / f"packs-{pack.name}"
    assert {path.name for path in aside.iterdir()} == before.keys()
    assert all((aside / name).read_bytes() == content for name, content in before.items() if name != history.name)
    assert (copy / "mine.txt").read_text() == "kept"


def test_verify_trains_a_sample_again_and_finds_a_run_that_was_recorded_wrongly(copy, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "verify", "r", "--retrain", "3")
    assert code == 0
    assert re.search(r"trained again: 3 runs, 0 differ; [1-9]\d* states and weights and \d\d+ numbers equal", printed)
    with monkeypatch.context() as patched:
        # What was recorded is not what this code computes.
        patched.setattr("pipeline.engine.block.Block.probe", lambda *_: {})
        patched.setattr("pipeline.training.replay.arrays_sha256", lambda arrays: "0" * 64)
        code, printed = run(patched, capsys, "verify", "r", "--retrain", "2")
    assert code == 1
    assert printed.count("is not the one that was recorded") == 2
    assert "2 runs, 2 differ" in printed


def test_a_state_that_is_not_as_recorded_is_no_start_of_a_replay(copy, monkeypatch, capsys):
    arrays = PackStore.arrays

    def without_weights(*given, **named):
        return {name: array for name, array in arrays(*given, **named).items() if not name.endswith("/weights")}

    monkeypatch.setattr(PackStore, "arrays", without_weights)
    run_id = SweepStore(copy).plan["runs"][0]["run_id"]
    code, printed = run(monkeypatch, capsys, "replay", run_id, "--from", "10", "--to", "20", "--results", "r")
    assert code == 2
    assert f"the state of run {run_id}" in printed
    assert "at step 10 is not as recorded" in printed


def test_a_pipe_in_the_store_is_damage_and_does_not_wait(copy):
    record = next((copy / "packs").glob("*/*.record.json"))
    record.unlink()
    os.mkfifo(record)
    assert ["is not a file" in damage.problem for damage in damages(SweepStore(copy))] == [True]
