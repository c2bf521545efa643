"""A slice of `make fault-test`, and that its judgement finds what it looks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.store.sweep_store import SweepStore
from tests.faults import table
from tests.faults.checking import SPEC, Verdict, doubled, leftovers
from tests.faults.shim import KINDS, Fault, build, preloaded
from tests.faults.worker import plan_calls
from tests.support import trained

ROOT = Path(__file__).resolve().parents[2]
NUM_CALLS, NUM_DAMAGES, NUM_SIGNALS = 18, 12, 3


# A minute of two idle cores; more on busy ones.
@pytest.mark.timeout(900)
def test_a_slice_of_all_faults_is_survived(tmp_path):
    tries = ["--calls", NUM_CALLS, "--damages", NUM_DAMAGES, "--signals", NUM_SIGNALS, "--processes", 1]
    command = [sys.executable, "-m", "tests.faults.run", *map(str, tries), "--to", str(tmp_path / "verdicts.json")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    assert len(verdicts) == NUM_CALLS + NUM_DAMAGES + NUM_SIGNALS
    assert all(verdict["survived"] for verdict in verdicts)
    # The faults took place: kills killed, and lasting errors ended the launch.
    assert {v["code"] for v in verdicts if v["kind"].startswith("kill")} <= {-9}
    assert 0 not in {v["code"] for v in verdicts if v["kind"].endswith(" on")}
    assert sum(v["code"] != 0 for v in verdicts) > NUM_CALLS // 2


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
    faults = list(plan_calls(calls, 7))
    assert sorted(fault.call for fault in faults[:3]) == [1, 2, 3]
    assert len(set(faults)) == len(faults) == 3 * len(KINDS) - 2 * 2
    assert faults == list(plan_calls(calls, 7)) != list(plan_calls(calls, 8))


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


def test_the_table_counts_tries_by_kind_and_a_page_shows_one():
    verdicts = [
        vars(found) | {"survived": found.survived} for found in (Verdict("EIO", "a"), Verdict("EIO", "b", lost=2))
    ]
    assert table.lines(verdicts, 9, 1)[-2:] == [
        "| EIO | 2 | 1 | 1 | 0 | 0 | 0 | 0 | 0 |",
        "| all | 2 | 1 | 1 | 0 | 0 | 0 | 0 | 0 |",
    ]
    assert "Some were not survived" in table.lines(verdicts, 9, 1)[0]
    # 3 in n, where n are many.
    assert "at most 3.0% of such faults" in table.lines([verdicts[0]] * 99, 9, 1)[0]
    assert [table.PAGE.read_text(encoding="utf-8").count(marker) for marker in table.MARKERS] == [1, 1]
