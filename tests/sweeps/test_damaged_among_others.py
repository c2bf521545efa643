"""A damaged folder, or a damaged pack, is named and left out; it blocks nothing that does not depend on it."""

from __future__ import annotations

import json
import shutil

import pytest
from rich.console import Console

from pipeline.launch.inline import launch_inline
from pipeline.store.damage import unreadable
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts import benchmarking, forecasting
from sweeps.command.sources import readable_among
from tests.support import opened, rows, tiny, trained
from tests.sweeps.test_cli import run

TWO_PACKS = tiny(vary=[{"batch_size": [8, 16]}], seeds={"together": [0, 1]}, snapshots={"states": [10, 30]})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three sweeps below results/: one of two packs, and two of other seeds."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    trained(TWO_PACKS, folder / "a")
    trained(tiny(name="later", seeds={"together": [4, 5]}), folder / "b")
    trained(tiny(name="last", seeds={"together": [6, 7]}), folder / "c")
    return folder


@pytest.fixture
def results(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, tmp_path / "results")
    return tmp_path / "results"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:20])


def documents(folder, name):
    return [*folder.glob(name), *(folder / "copies").glob(name)]


def in_packs(folder, kind):
    return sorted(folder.glob(f"packs/*/*.{kind}"))


DAMAGES = {
    "sweep.json": lambda folder: documents(folder, "sweep.json"),
    "plan": lambda folder: documents(folder, "plan-*.json"),
    "records": lambda folder: in_packs(folder, "record.json"),
    "history": lambda folder: in_packs(folder, "history.parquet"),
    "snapshots": lambda folder: in_packs(folder, "snapshots.parquet"),
}


@pytest.mark.parametrize("harm", [flip, cut, lambda path: path.unlink()], ids=["flip", "cut", "delete"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_of_several_folders_a_damaged_one_is_named_and_left_out(kind, harm, results):
    for path in DAMAGES[kind](results / "b"):
        harm(path)
    stores, told = [SweepStore(results / name) for name in "abc"], Console(record=True, width=400, stderr=True)
    if (kind, harm.__name__) == ("records", "<lambda>"):
        # Without a record nothing was ever committed: that is no damage that can be seen.
        assert readable_among(stores, told) == (stores, 0)
        return
    found, code = readable_among(stores, told)
    assert ([store.folder.name for store in found], code) == (["a", "c"], 3)
    assert f"left out: {results / 'b'}, which cannot be read: " in told.export_text()
    with pytest.raises(StoreError):
        readable_among([stores[1], stores[1]], told)
    assert readable_among([stores[1]], told) == ([stores[1]], 0)


def test_a_folder_that_never_was_a_sweep_is_a_mistake(results):
    with pytest.raises(StoreError, match="holds no sweep"):
        readable_among([SweepStore(results / name) for name in ("a", "nowhere")], Console())


def test_the_analysis_is_that_of_the_others_and_the_exit_code_says_so(results, monkeypatch, capsys):
    code, _ = run(monkeypatch, capsys, "analyse", "results/a", "results/c")
    assert code == 0
    expected = json.loads((results / "a+c" / "analysis.json").read_bytes())
    (results / "a+c" / "analysis.json").unlink()
    for path in in_packs(results / "b", "history.parquet"):
        flip(path)
    code, printed = run(monkeypatch, capsys, "analyse", "results/a", "results/b", "results/c")
    assert code == 3
    assert "left out: results/b, which cannot be read: results/b/packs" in printed.replace("\n", "")
    assert json.loads((results / "a+c" / "analysis.json").read_bytes()) == expected
    assert run(monkeypatch, capsys, "analyse", "results/b")[0] == 2


def test_a_forecast_learns_from_the_folders_that_can_be_read(results, monkeypatch, capsys):
    cut(results / "b" / "sweep.json")
    cut(results / "b" / "copies" / "sweep.json")
    asked = []
    monkeypatch.setattr(forecasting, "run_forecast", lambda request, *_: asked.append(request))
    monkeypatch.setattr(forecasting, "run_fit", lambda stores, *_: asked.append(stores))
    sources = ("--from", "results/b", "--from", "results/c")
    assert run(monkeypatch, capsys, "forecast", "results/a", *sources)[0] == 3
    assert [other.folder.name for other in asked[0].others] == ["c"]
    assert run(monkeypatch, capsys, "fit", "results/b", "results/c", "--out", "f.json")[0] == 3
    assert [store.folder.name for store in asked[1]] == ["c"]
    assert run(monkeypatch, capsys, "forecast", "results/a", "--from", "results/c")[0] == 0


def test_a_replay_is_found_beside_a_damaged_folder(results, monkeypatch, capsys):
    run_id = SweepStore(results / "a").plan["runs"][0]["run_id"]
    replay = ("replay", run_id, "--from", "0", "--to", "20", "--every", "10")
    code, expected = run(monkeypatch, capsys, *replay)
    assert code == 0
    for path in documents(results / "b", "sweep.json"):
        cut(path)
    code, printed = run(monkeypatch, capsys, *replay)
    assert code == 3
    assert "left out: results/b" in printed
    assert expected.splitlines()[-1] in printed
    code, printed = run(monkeypatch, capsys, "replay", "ffff", "--from", "0", "--to", "20")
    assert (code, "no run id begins with" in printed) == (2, True)


@pytest.mark.parametrize("kind", ["record.json", "history.parquet", "snapshots.parquet"])
def test_a_run_of_a_healthy_pack_is_replayed_beside_a_damaged_one(kind, results, monkeypatch, capsys):
    store = SweepStore(results / "a")
    theirs, ours = store.plan["packs"]

    def replay(pack):
        return run(monkeypatch, capsys, "replay", pack["run_ids"][0], "--from", "0", "--to", "30", "--every", "10")

    code, expected = replay(ours)
    assert code == 0
    for path in in_packs(results / "a", kind):
        if path.parent.name == theirs["pack_id"]:
            flip(path)
    assert replay(ours) == (0, expected)
    code, printed = replay(theirs)
    assert (code, "seedbed repair" in printed) == (2, True)


def test_status_counts_the_packs_that_can_be_read_and_names_the_others(results, monkeypatch, capsys):
    store = SweepStore(results / "a")
    theirs, _ = store.pack_ids()
    expected = rows(store)
    for path in in_packs(results / "a", "record.json"):
        if path.parent.name == theirs:
            flip(path)
    code, printed = run(monkeypatch, capsys, "status", "results/a", "--runs")
    text = " ".join(printed.split())
    assert code == 1
    assert "2/4 runs done" in text
    assert f"pack {theirs} cannot be read" in text
    assert "damaged: 1 pack; repair with: seedbed repair results/a" in text
    assert printed.count("unreadable") == 2
    code, printed = run(monkeypatch, capsys, "status", "results/a", "--json", "--runs")
    document = json.loads(printed)
    assert (code, list(document["damaged"]), document["num_done"]) == (1, [theirs], 2)
    lost = {run_id for pack in store.plan["packs"] if pack["pack_id"] == theirs for run_id in pack["run_ids"]}
    assert len(document["runs"]) == 2 * len(lost) == 4
    assert all(row["end"] == ("unreadable" if row["run_id"] in lost else "budget") for row in document["runs"])
    assert run(monkeypatch, capsys, "repair", "results/a", "--inline")[0] == 0
    assert run(monkeypatch, capsys, "status", "results/a")[0] == 0
    assert rows(store) == expected


def test_status_reads_records_alone_and_what_they_name_is_for_verify_and_for_what_reads_it(
    results, monkeypatch, capsys
):
    expected = run(monkeypatch, capsys, "status", "results/a")
    damaged = in_packs(results / "a", "history.parquet")[0]
    flip(damaged)
    assert run(monkeypatch, capsys, "status", "results/a") == expected
    for command in ("verify", "analyse"):
        code, printed = run(monkeypatch, capsys, command, "results/a")
        assert code
        assert damaged.name in printed.replace("\n", "")
    damaged.unlink()
    code, printed = run(monkeypatch, capsys, "status", "results/a")
    assert (code, f"{damaged.name}: is missing" in printed.replace("\n", "")) == (1, True)


def test_a_launch_trains_the_packs_that_can_be_read_and_names_the_others(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store = opened(TWO_PACKS, tmp_path / "r")
    theirs, ours = store.pack_ids()
    launch_inline(store, [theirs], lambda pack_id, report: None)
    for path in in_packs(tmp_path / "r", "record.json"):
        flip(path)
    code, printed = run(monkeypatch, capsys, "resume", "r", "--inline")
    text = " ".join(printed.split())
    assert code == 1
    assert f"pack {theirs} was left as it is: " in text
    assert "repair with: seedbed repair r" in text
    assert len(store.pack(ours).newest().ends) == 2
    code, printed = run(monkeypatch, capsys, "resume", "r", "--inline")
    assert (code, "seedbed repair" in printed) == (2, True)
    assert run(monkeypatch, capsys, "repair", "r", "--inline")[0] == 0
    assert rows(store) == rows(SweepStore(whole / "a"))


def test_the_benchmark_scores_the_tasks_that_can_be_read(results, monkeypatch, capsys):
    """Of two tasks whose halves are trained, one is damaged."""
    monkeypatch.setattr(benchmarking, "tasks_of", lambda names: ["a", "b"])
    monkeypatch.setattr(benchmarking, "halves_of", lambda task: (task, "c"))
    monkeypatch.setattr(benchmarking, "task_rows", lambda name, *_: iter([Row(name)]))
    monkeypatch.setattr(benchmarking, "_table", lambda rows: "")
    monkeypatch.setattr(benchmarking, "_means", lambda rows: "")
    assert run(monkeypatch, capsys, "benchmark", "--results", "results")[0] == 0
    assert json.loads((results / "benchmark.json").read_bytes()) == ["a", "b"]
    cut(in_packs(results / "b", "history.parquet")[0])
    code, printed = run(monkeypatch, capsys, "benchmark", "--results", "results")
    assert (code, "left out: b, which cannot be read" in printed) == (3, True)
    assert json.loads((results / "benchmark.json").read_bytes()) == ["a"]
    cut(in_packs(results / "a", "history.parquet")[0])
    assert run(monkeypatch, capsys, "benchmark", "--results", "results")[0] == 2


class Row:
    """A score of a task, by a predictor that is not shown."""

    predictor = "last_loss"

    def __init__(self, name):
        self.name = name

    def to_json(self):
        return self.name


def test_what_is_unreadable_is_said_in_a_sentence_with_its_path(results):
    assert unreadable(SweepStore(results / "a")) is None
    (results / "a" / "added").mkdir()
    (results / "a" / "added" / "x.json").write_text("{")
    assert str(results / "a" / "added" / "x.json") in unreadable(SweepStore(results / "a"))
    assert unreadable(SweepStore(results / "a"), is_whole=False) is None
