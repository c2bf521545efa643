"""Values that are of a shape, told without words: never True where `misfit` finds something."""

from __future__ import annotations

import copy
import random

import pytest

from pipeline.store.records.ends import Ended
from pipeline.store.records.packed import Digests, Ids
from pipeline.store.records.record import Active, FileEntry, Record
from pipeline.store.records.snapshot_entries import SnapshotEntry
from pipeline.store.records.validator import validator
from pipeline.store.shapes import RECORD, misfit

FILE = FileEntry("0001-000001.history.parquet", "a" * 64)


def record():
    ends = {f"run{index}": Ended("budget", 10, "b" * 64, index > 1, ("c" * 16,), (4,), "") for index in range(4)}
    snapshots = ((FILE, (SnapshotEntry("run0", 10, "state", "d" * 64),)),)
    active = {"run9": Active(0, 5, ("e" * 16,))}
    return Record("s", "p", 1, 1, FILE, (FILE,), snapshots, ends, active, 40, 1.5, history_times=((1.0, 2.0),)).body()


def places(value, found=()):
    yield found
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*found, key))


def test_a_whole_record_fits():
    assert validator(RECORD)(plain(record()))


def plain(value):
    """As JSON gives it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("strange", [None, -1, 2**63, True, 1.5, "../x", "", [], {}, [None], {"": 0}])
def test_one_strange_value_anywhere_is_told_as_misfit_tells_it(strange):
    fits, whole, num_refused = validator(RECORD), plain(record()), 0
    for place in places(whole):
        changed = copy.deepcopy(whole)
        inside = changed
        for key in place[:-1]:
            inside = inside[key]
        if place:
            inside[place[-1]] = strange
        else:
            changed = strange
        assert fits(changed) == (misfit(changed, RECORD) is None), place
        num_refused += not fits(changed)
    assert num_refused > 10


def test_a_key_that_is_missing_or_too_many_is_told():
    fits, whole = validator(RECORD), plain(record())
    for place in places(whole):
        changed = copy.deepcopy(whole)
        inside = changed
        for key in place:
            inside = inside[key]
        if isinstance(inside, dict):
            for key in [*inside]:
                kept = inside.pop(key)
                assert fits(changed) == (misfit(changed, RECORD) is None), (place, key)
                inside[key] = kept
            inside["more"] = 0
            assert fits(changed) == (misfit(changed, RECORD) is None), place


def test_digests_are_refused_where_a_strict_decoder_refuses_them():
    whole = Digests.of(["ab" * 32] * 3).stored
    assert Digests(whole).misfit(3) is None
    chance = random.Random(0)
    for number in (2, 4):
        assert Digests(whole).misfit(number)
    for mark in ("=", "-", " ", "é", "\ud800", ""):
        place = chance.randrange(len(whole) - 4)
        assert Digests(whole[:place] + mark + whole[place + 1 :]).misfit(3), mark
    assert Digests(whole + "=").misfit(3)
    assert Digests.of([]).misfit(0) is None


@pytest.mark.parametrize("length", [64, 65])
def test_ids_have_64_characters_at_most(length):
    assert (Ids(f"a {'b' * length} c").misfit() is None) == (length == 64)
