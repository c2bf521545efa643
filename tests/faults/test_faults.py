"""A slice of `make fault-test`, and that its judgement finds what it looks for."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.store.sweep_store import SweepStore
from tests.faults import mutants, run, table, tracked
from tests.faults.calls import plan_calls
from tests.faults.cases import SPEC
from tests.faults.checking import Verdict, doubled, leftovers
from tests.faults.commands import Ended
from tests.faults.disks import may_mount
from tests.faults.parts import PARTS
from tests.faults.shim import KINDS, Fault, build, preloaded
from tests.faults.worker import evenly
from tests.support import trained

ROOT = Path(__file__).resolve().parents[2]
# As few of each part as still show that its faults take place.
SLICE = {
    "launches": 4,
    "tracked": 1,
    "commands": 1,
    "twice": 1,
    "damages": 1,
    "power": 6,
    "signals": 1,
    "clocks": 1,
    "drivers": 1,
    "disks": 3,
}


# Half a minute of two idle cores; more on busy ones.
@pytest.mark.native
@pytest.mark.wandb
@pytest.mark.timeout(900)
def test_a_slice_of_all_faults_is_survived(tmp_path):
    assert SLICE.keys() == PARTS.keys()
    parts = [f"--part={name}={number}" for name, number in SLICE.items()]
    command = [sys.executable, "-m", "tests.faults.run", *parts, "--processes", "1", "--to", str(tmp_path / "found")]
    # What was tried is not tried again.
    before = verdict("EIO") | {"part": "launches", "seed": 0, "index": 0}
    table.append(tmp_path / "found", before)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = table.read(tmp_path / "found")
    assert found[0] == before
    assert len(found) == sum(SLICE.values())
    assert all(verdict["survived"] for verdict in found)
    # The faults took place: kills killed, and lasting errors ended what trains.
    # After a second fault the code is that of the command which met it.
    assert {v["code"] for v in found[1:] if v["kind"].startswith("kill") and v["part"] != "twice"} <= {-9}
    assert sum(v["code"] != 0 for v in found[1:] if v["part"] in ("launches", "twice")) >= 2
    assert sum(v["code"] != 0 for v in found if v["part"] == "disks") >= (2 if may_mount(tmp_path) else 1)


def test_what_a_mutant_takes_out_stands_in_the_code_once():
    found = {mutant.what: mutant.times(ROOT) for mutant in mutants.MUTANTS}
    assert {what: times for what, times in found.items() if times != 1} == {}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("library"))


def python(code, folder, library, fault):
    environment = preloaded(library, {**os.environ, **fault.environment(folder, folder.parent / "log")})
    return subprocess.run([sys.executable, "-Sc", code, str(folder)], env=environment, capture_output=True, text=True)


WRITING = """
import os, sys
for folder in (sys.argv[1], sys.argv[1] + "-other"):
    os.mkdir(folder)
    with open(folder + "/new", "wb") as stream:
        stream.write(b"12345678")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(folder + "/new", folder + "/name")
    os.unlink(folder + "/name")
"""
CALLS = ["mkdir", "open", "write", "fsync", "close", "rename", "unlink"]


def test_calls_below_the_folder_are_counted_and_no_others(tmp_path, library):
    assert python(WRITING, tmp_path / "r", library, Fault("", 0)).returncode == 0
    assert [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()] == CALLS


@pytest.mark.parametrize("call", range(1, len(CALLS) + 1))
def test_the_call_that_is_to_fail_fails_and_a_kill_kills(call, tmp_path, library):
    ended = python(WRITING, tmp_path / "r", library, Fault("EDQUOT", call))
    assert ended.returncode == 1
    assert "Disk quota exceeded" in ended.stderr
    for number, kind in enumerate(("kill before", "kill after")):
        folder = tmp_path / str(number)
        assert python(WRITING, folder, library, Fault(kind, call)).returncode == -9
        assert folder.exists() is (number == 1 or call > 1)


def test_a_torn_write_is_half_a_write_and_a_short_one_is_made_good(tmp_path, library):
    assert python(WRITING, tmp_path / "torn", library, Fault("torn", 3)).returncode == -9
    assert (tmp_path / "torn" / "new").read_bytes() == b"1234"
    assert python(WRITING, tmp_path / "short", library, Fault("short", 3)).returncode == 0
    assert (tmp_path / "log").read_text().split().count("write") == 3


def test_every_call_is_hit_once_before_any_is_hit_twice_and_every_pair_is_planned():
    calls = ("open", "write", "close")
    num_pairs = 3 * len(KINDS) - 2 * 2

    def planned(seed):
        return list(islice(plan_calls(calls, random.Random(seed)), num_pairs))

    faults = planned(7)
    assert sorted(fault.call for fault in faults[:3]) == [1, 2, 3]
    assert len(set(faults)) == num_pairs
    assert faults == planned(7) != planned(8)


def test_rows_that_stand_twice_and_files_that_nothing_names_are_counted(tmp_path, monkeypatch):
    store = trained(SPEC, tmp_path / "r")
    assert (doubled(store), leftovers(store)) == (0, [])
    pack = store.pack(store.pack_ids()[0])
    history = pack.folder / pack.records()[0].history[0].name
    unnamed = pack.folder / "0001-000099.history.parquet"
    unnamed.write_bytes(history.read_bytes())
    (store.folder / ".sweep.json.1.tmp").touch()
    assert leftovers(SweepStore(store.folder)) == [store.folder / ".sweep.json.1.tmp", unnamed]
    records = store.newest_records()
    twice = {name: vars(record) | {"history": record.history * 2} for name, record in records.items()}
    monkeypatch.setattr(store, "newest_records", lambda: {name: type(records[name])(**twice[name]) for name in twice})
    assert doubled(store) == sum(pack.table(entry).num_rows for pack, entry in _histories(store, records))


def _histories(store, records):
    return [(store.pack(pack_id), entry) for pack_id, record in records.items() for entry in record.history]


def verdict(kind, place="launch, call 1 (open)", **fields):
    found = Verdict(kind, place, **fields)
    return vars(found) | {"survived": found.survived, "part": "launches", "seed": 1, "index": 0, "cpu_s": 0.5}


WHOLE = {"a": (6, "budget", [])}
TOLD = "1 of 1 wandb runs are not up to date; `seedbed mirror r` writes what is missing"


@pytest.mark.parametrize(
    ("launched", "resumed", "written", "silent", "problems"),
    [
        (TOLD, TOLD, WHOLE, 0, 0),
        ("complete", TOLD, WHOLE, 1, 0),
        (TOLD, "complete already", WHOLE, 1, 0),
        (TOLD, TOLD, {}, 0, 2),
    ],
)
def test_a_launch_whose_mirror_failed_must_say_so_and_the_next_mirror_make_it_good(
    launched, resumed, written, silent, problems, tmp_path, monkeypatch
):
    found, said = {}, {tracked.LAUNCH: launched, tracked.RESUME: resumed, tracked.MIRROR: ""}

    def seedbed(command, *_, **__):
        if command == tracked.MIRROR:
            found.update(written)
        told = "complete already" if found and command == tracked.RESUME else said[command]
        return Ended(0, told, 0.1)

    monkeypatch.setattr(tracked, "seedbed", seedbed)
    monkeypatch.setattr(tracked, "judge", lambda *_: None)
    monkeypatch.setattr(tracked, "mirrored", lambda cwd: dict(found))
    case = SimpleNamespace(name="launch", command=tracked.LAUNCH, calls=("open",), begun=lambda cwd: cwd)
    judged = tracked.try_tracked(tracked.Tracked(case, ("open",), WHOLE), Fault("EIO", 1), False, tmp_path)
    assert (judged.silent, len(judged.problems)) == (silent, problems)


def test_the_table_counts_tries_by_kind_and_by_command_and_the_page_has_a_place_for_it():
    found = [verdict("EIO"), verdict("EIO", "launch, call 2 (close)", lost=2)]
    lines = table.lines(found)
    assert "| EIO | 2 | 1 | 1 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert "| all | 2 | 1 | 1 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert lines[-1] == "| launch | 2 | 2 | 1 |"
    assert lines[0].startswith("2 faults (seed 1), 0.50 CPU seconds each")
    assert "1 was not survived" in lines[0]
    # 3 in n, where n are many.
    assert "at most 2.98% of such faults" in table.lines([found[0]] * 99)[0]
    page = table.PAGE.read_text(encoding="utf-8")
    assert [page.count(marker) for marker in table.MARKERS] == [1, 1]
    assert f"`make test` runs {sum(SLICE.values())} of them." in page


def test_a_table_of_more_faults_stays_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    table.PAGE.write_text("\n\n".join(table.MARKERS))
    assert table.write([verdict("EIO")] * 1001) is None
    page = table.PAGE.read_text()
    assert "\n1,001 faults" in page
    assert "are of 1,001 faults; these are 1,000" in table.write([verdict("EIO")] * 1000)
    assert table.PAGE.read_text() == page


def test_verdicts_are_appended_and_a_line_that_was_cut_is_tried_again(tmp_path):
    path = tmp_path / "found"
    assert table.read(path) == []
    for index in range(2):
        table.append(path, verdict("EIO") | {"index": index})
    with path.open("a") as stream:
        stream.write(json.dumps(verdict("EIO"))[:20])
    assert table.tried_before(path, 1) == {("launches", 0), ("launches", 1)}
    assert table.tried_before(path, 2) == set()


def test_the_tries_of_all_parts_are_mixed_and_ten_thousand_by_default(monkeypatch):
    assert evenly({"a": 4, "b": 2}) == [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("b", 1), ("a", 3)]
    monkeypatch.setattr(sys, "argv", ["run"])
    monkeypatch.delenv("SEEDBED_FAULTS", raising=False)
    assert sum(run.numbers(run.parsed()).values()) == 10_000
