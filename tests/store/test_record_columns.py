"""Ends and snapshots of a record as columns: the same values come back, and counts need no object for each run."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import pytest

from pipeline.store.budgets import budget_by_run
from pipeline.store.failures import failed_runs
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.progress import ended_for_good, progress_by_pack, runs_left, totals_by_pack
from pipeline.store.records.ends import EndColumns, Ended
from pipeline.store.records.packed import Digests, Ids
from pipeline.store.records.record import Active, FileEntry, Record, record_misfit
from pipeline.store.records.snapshot_entries import EntryColumns, SnapshotEntry


def digest(chance, odd):
    return chance.choice(("", "w", "A" * 64, "0 " * 32)) if chance.random() < odd else chance.randbytes(32).hex()


def drawn_ends(chance, number, odd=0.0):
    reasons = ("budget", "diverged", "failed", "retried")[: chance.randint(1, 4)]
    return {
        f"run-{place:03}": Ended(
            chance.choice(reasons),
            chance.choice((10, 200)),
            digest(chance, odd),
            chance.random() < 0.5,
            chance.choice(((), ("a",), ("a", "b"))),
            chance.choice(((), (8,))),
            chance.choice(("", "while it was read: ü")),
        )
        for place in range(number)
    }


def drawn_entries(chance, number, odd=0.0):
    kinds = ("state", "weights", "attention")
    return tuple(
        SnapshotEntry(f"r{chance.randrange(9)}", chance.choice((0, 200)), chance.choice(kinds), digest(chance, odd))
        for _ in range(number)
    )


def record_of(ends, *entries):
    return Record("s", "p", 1, 2, ends=ends, snapshots=tuple((FileEntry("a", "0" * 64), own) for own in entries))


@pytest.mark.parametrize("odd", [0.0, 0.2])
def test_what_is_written_as_columns_comes_back_run_by_run(tmp_path, odd):
    chance = random.Random(odd)
    for number in (0, 1, 2, 40):
        ends, entries = drawn_ends(chance, number, odd), drawn_entries(chance, number, odd)
        body = unseal(seal(record_of(ends, entries, ()).body()), tmp_path)
        assert record_misfit(body) is None
        found = Record.from_body(body)
        assert dict(found.ends) == ends
        assert [*found.ends] == [*ends]
        assert len(found.ends) == number
        assert "other" not in found.ends
        assert [tuple(own) for _, own in found.snapshots] == [entries, ()]
        assert found == record_of(ends, entries, ())
        assert seal(found.body()) == seal(record_of(ends, entries, ()).body())


def test_counts_are_of_the_distinct_ends():
    ends = drawn_ends(random.Random(1), 200)
    expected = {}
    for end in ends.values():
        kind = Ended(**{**vars(end), "weights_sha256": ""})
        expected[kind] = expected.get(kind, 0) + 1
    counts = EndColumns.of(ends).counts()
    assert dict(counts) == expected
    assert len(counts) == len(expected) > 20
    alike = dict.fromkeys("abc", Ended("budget", 200, "", True))
    assert EndColumns.of(alike).counts() == [(alike["a"], 3)]
    assert EndColumns.of({}).counts() == []


def test_a_record_that_names_ends_run_by_run_is_read_the_same():
    ends, entries = drawn_ends(random.Random(2), 5), drawn_entries(random.Random(3), 5)
    record = record_of(ends, entries)
    body = record.body()
    del body["ended"]
    body |= {"ends": {run_id: vars(end) for run_id, end in ends.items()}}
    body["snapshots"] = [[vars(file), [vars(entry) for entry in own]] for file, own in record.snapshots]
    body = json.loads(json.dumps(body))
    assert record_misfit(body) is None
    assert Record.from_body(body) == record
    # As of versions that recorded less.
    for end in body["ends"].values():
        end["slots"], end["cause"] = [], ""
        for name in ("slots", "sources", "cause"):
            del end[name]
    assert record_misfit(body) is None
    assert Record.from_body(body).ends["run-000"].sources == ()


def drawn_plan(chance, budgets):
    """A plan of 4 packs and 40 runs, and records of three of them."""
    run_ids = [f"run-{place:03}" for place in range(40)]
    steps = [{"budget": budget, "grid": {"eval_steps": [budget]}} for budget in budgets]
    settings = [f"s{place}" for place in range(len(budgets))]
    parts = {**steps[0]} if len(budgets) == 1 else {
        "budgets": [{**part, "settings": [name]} for part, name in zip(steps, settings, strict=True)]
    }  # fmt: skip
    packs = [{"pack_id": f"p{n}", "run_ids": run_ids[10 * n : 10 * n + 10], "numerics": {}} for n in range(4)]
    rows = [{"run_id": run_id, "setting_id": chance.choice(settings)} for run_id in run_ids]
    plan = {
        "name": "n",
        "varied": [],
        "settings": {name: {} for name in settings},
        "runs": rows,
        "packs": packs,
        **parts,
    }
    records = {}
    for pack in packs[:3]:
        begun = chance.sample(pack["run_ids"], chance.randint(0, 10))
        number = chance.randint(0, len(begun))
        ends = dict(zip(begun, drawn_ends(chance, number).values(), strict=False))
        active = {run_id: Active(slot, chance.choice((0, 50))) for slot, run_id in enumerate(begun[number:])}
        record = Record("s", pack["pack_id"], 1, 1, ends=ends, active=active, run_steps=7)
        records[pack["pack_id"]] = chance.choice((record, Record.from_body(record.body())))
    return plan, records


@pytest.mark.parametrize("budgets", [(200,), (10, 200), (300,)])
def test_totals_are_those_of_the_runs_one_by_one(budgets):
    chance, num_done = random.Random(5), 0
    for _ in range(40):
        plan, records = drawn_plan(chance, budgets)
        totals = totals_by_pack(plan, records)
        one_by_one = progress_by_pack(SimpleNamespace(plan=plan), records)
        assert {pack: total.counts() for pack, total in totals.items()} == {
            pack: total.counts() for pack, total in one_by_one.items()
        }
        num_done += sum(total.num_done for total in totals.values())
        ended = {run for record in records.values() for run in ended_for_good(record.ends, budget_by_run(plan))}
        assert runs_left(plan, records) == [row["run_id"] for row in plan["runs"] if row["run_id"] not in ended]
        failed = {run for record in records.values() for run, end in record.ends.items() if end.reason == "failed"}
        assert {run.run_id for run in failed_runs(records)} == failed
    assert num_done > 0


def test_a_run_costs_some_sixty_bytes_in_each_column():
    chance, run_ids = random.Random(4), [random.Random(place).randbytes(8).hex() for place in range(1000)]
    ends = {run_id: Ended("budget", 200, digest(chance, 0), False, ("a" * 16,)) for run_id in run_ids}
    entries = tuple(SnapshotEntry(run_id, 200, "state", digest(chance, 0)) for run_id in run_ids)
    ended, kept = (len(json.dumps(columns.body())) for columns in (EndColumns.of(ends), EntryColumns.of(entries)))
    assert ended < 61 * 1000
    assert kept < 61 * 1000


def test_digests_that_are_not_as_ours_are_kept_as_they_are():
    for digests in (["ab" * 32], ["AB" * 32], ["0" * 63 + " "], ["0" * 62, "0" * 66], [""], []):
        packed = Digests.of(digests)
        assert isinstance(packed.stored, str) == (digests in (["ab" * 32], []))
        assert [packed[place] for place in range(len(digests))] == digests
        assert packed.misfit(len(digests)) is None
        assert packed.misfit(len(digests) + 1) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0123456789abcdef",
        "0123456789abcdef fedcba9876543210",
        "x",
        "0123456789abcdef x",
        "a_run.1 0123456789abcdef",
    ],
)
def test_ids_are_taken_whether_or_not_seedbed_made_them(text):
    assert Ids(text).misfit() is None
    assert len(Ids(text)) == len(Ids(text).words)


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef ",
        "0123456789abcdef  fedcba987654321",
        "0123456789abcde/ fedcba9876543210",
        "0123456789abcdef .edcba9876543210",
        "0123456789abcdef-fedcba9876543210/fedcba9876543210",
        " 0123456789abcdeffedcba9876543210",
        " " * 16,
    ],
)
def test_what_is_no_list_of_ids_is_refused_where_it_has_the_length_of_one(text):
    assert Ids(text).misfit() is not None
