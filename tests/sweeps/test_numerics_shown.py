"""Where runs were computed under different numerics, status, analyses and reports say how many under which."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.store.computed_by import numerics_text, runs_by_numerics
from pipeline.store.sweep_store import SweepStore
from tests.support import opened, tiny, trained
from tests.sweeps.test_cli import run

WIDER = {"engine": "torch", "slots": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One sweep in four slots, one of other seeds in two, and one of both."""
    folder = tmp_path_factory.mktemp("numerics")
    trained(tiny(), folder / "a")
    trained(tiny(name="other", seeds={"together": [4, 5, 6]}, resources=WIDER), folder / "b")
    trained(tiny(), folder / "both")
    trained(tiny(seeds={"together": [0, 1, 2, 3, 4, 5]}, resources=WIDER), folder / "both")
    return folder


def text(printed):
    return " ".join(printed.split())


def recorded(store, **changes):
    """The sweep's first pack commits once more, with these fields of its record changed."""
    pack = store.pack(store.pack_ids()[0])
    record = pack.newest()
    pack.commit(replace(record, attempt=pack.claim_attempt(), **changes))


def test_equal_numerics_print_nothing_new(folders, monkeypatch, capsys):
    assert runs_by_numerics([SweepStore(folders / "a")]) == {}
    for command in (("analyse", folders / "a"), ("status", folders / "a")):
        code, printed = run(monkeypatch, capsys, *command)
        assert (code, "umerics" in printed) == (0, False)
    assert "runs_by_numerics" not in json.loads((folders / "a" / "analysis.json").read_bytes())["provenance"]


@pytest.mark.parametrize("names", [("both",), ("a", "b")])
def test_runs_of_other_slots_are_counted_in_one_sweep_and_in_several(names, folders, monkeypatch, capsys):
    folder = folders / "+".join(names)
    code, printed = run(monkeypatch, capsys, "analyse", *(folders / name for name in names))
    few = len(names) + 1
    assert code == 0
    assert f"Numerics differ: 4 runs under slots 4; {few} runs under slots 2." in text(printed)
    provenance = json.loads((folder / "analysis.json").read_bytes())["provenance"]
    assert provenance["runs_by_numerics"] == {"slots 4": 4, "slots 2": few}


def test_status_says_so(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "status", folders / "both")
    assert (code, "Numerics differ: 4 runs under slots 4; 2 runs under slots 2." in text(printed)) == (0, True)
    code, printed = run(monkeypatch, capsys, "status", folders / "both", "--json")
    assert json.loads(printed)["runs_by_numerics"] == {"slots 4": 4, "slots 2": 2}


def test_what_records_name_counts_and_what_is_not_begun_does_not(tmp_path):
    trained(tiny(), tmp_path / "r")
    store = opened(tiny(seeds={"together": [0, 1, 2, 3, 4]}, resources=WIDER), tmp_path / "r")
    assert runs_by_numerics([store]) == {}
    first = store.pack(store.pack_ids()[0]).newest()
    ends = {name: replace(end, sources=(*end.sources, "f" * 16)) for name, end in list(first.ends.items())[:1]}
    recorded(store, ends={**first.ends, **ends})
    code = next(iter(first.ends.values())).sources[0][:8]
    assert runs_by_numerics([store]) == {f"code {code}": 3, f"code {code} then ffffffff": 1}
    recorded(store, ends=first.ends, processor="other")
    trained(tiny(task="linear_regression"), tmp_path / "s")
    by = runs_by_numerics([store, SweepStore(tmp_path / "s")])
    assert sorted(by.values()) == [4, 4]
    assert any("processor other" in name for name in by)
    assert runs_by_numerics([store, SweepStore(tmp_path / "s")], {*first.ends}) == {}


def test_the_sentence():
    assert numerics_text({"engine a": 2, "engine b": 1}) == (
        "Numerics differ: 2 runs under engine a; 1 run under engine b."
    )
