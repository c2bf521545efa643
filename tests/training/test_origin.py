"""Commits say what computed them; a sweep goes on with that alone, unless a launch accepts other code and marks it."""

from __future__ import annotations

import pytest

from analysis.summary.text import describe_provenance
from pipeline.launch.inline import launch_inline
from pipeline.numerics.processor import processor
from pipeline.planning.open_sweep import provenance
from pipeline.planning.packs import expand, stored_spec
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import unfinished
from pipeline.training import open_pack, origin, sources
from pipeline.training.origin import launch_note
from pipeline.training.sources import source_hashes, sources_digest
from pipeline.training.worker import run_pack
from sweeps.command.sources import provenance_of
from tests.support import interrupted, opened, tiny, trained


def longer():
    """Six runs in two slots, of twelve chunks each."""
    return tiny(budget=120, stopping={"name": "run_to_budget"}, resources={"slots": 2})


def with_other_code(monkeypatch):
    """One source file has another text from now on."""
    hashes = sources.source_hashes
    changed = lambda spec, runs: hashes(spec, runs) | {"tasks/dictionary_lookup.py": "0" * 16}  # noqa: E731
    for module in (open_pack, origin):
        monkeypatch.setattr(module, "source_hashes", changed)


def stopped_midway(spec, folder, monkeypatch):
    """A sweep whose pack was left after a few chunks."""
    store = opened(spec, folder)
    store.add_launch({**provenance(), **launch_note(spec, expand(spec), False)})
    left = iter([False, False])
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.training.worker._POLL_INTERVAL_S", 0.0)
        patched.setattr("pipeline.training.worker._StopFile.__call__", lambda self: next(left, True))
        run_pack(store.folder, store.pack_ids()[0], lambda progress: None)
    return store


def relaunched(store, accepts):
    """One launch more, trained to the end."""
    spec = stored_spec(store)
    store.add_launch({**launch_note(spec, expand(spec), accepts), "git_commit": "second"})
    return launch_inline(store, unfinished(store), lambda pack_id, progress: None)


def records(store):
    return [store.pack(pack_id).records()[0] for pack_id in store.pack_ids()]


def test_a_commit_says_what_computed_it(tmp_path):
    (record,) = records(trained(tiny(), tmp_path / "a"))
    (again,) = records(trained(tiny(), tmp_path / "b"))
    (other,) = records(trained(tiny(dtype="float64"), tmp_path / "c"))
    spec = tiny()
    assert record.sources == again.sources == sources_digest(source_hashes(spec, spec.runs()))
    assert record.answer == again.answer != other.answer
    assert record.processor == processor()
    assert {end.sources for end in record.ends.values()} == {(record.sources,)}


def test_other_code_is_refused_with_the_files_that_differ(tmp_path, monkeypatch):
    store = stopped_midway(longer(), tmp_path / "a", monkeypatch)
    before = records(store)
    with_other_code(monkeypatch)
    with pytest.raises(StoreError, match=r"computed by other code \(tasks/dictionary_lookup.py\)"):
        relaunched(store, accepts=False)
    assert records(store) == before


def test_accepted_code_marks_the_runs_that_both_computed(tmp_path, monkeypatch):
    store = stopped_midway(longer(), tmp_path / "a", monkeypatch)
    (begun,) = records(store)
    with_other_code(monkeypatch)
    relaunched(store, accepts=True)
    assert not unfinished(store)
    (record,) = records(store)
    assert record.sources != begun.sources
    both, alone = (begun.sources, record.sources), (record.sources,)
    assert {run_id: end.sources for run_id, end in record.ends.items()} == {
        run_id: both if run_id in begun.active else alone for run_id in record.ends
    }
    assert begun.active.keys() < record.ends.keys()
    told = describe_provenance(provenance_of(store))
    assert told.endswith("then second (computed by 2 versions of the code)")


def test_a_worker_with_other_code_than_its_launch_is_refused_even_if_changes_are_accepted(tmp_path, monkeypatch):
    spec = tiny()
    store = opened(spec, tmp_path / "a")
    store.add_launch(launch_note(spec, expand(spec), True))
    with_other_code(monkeypatch)
    with pytest.raises(StoreError, match="this process has other code than the launch"):
        run_pack(store.folder, store.pack_ids()[0], lambda progress: None)


def test_other_bits_under_the_same_names_are_refused(tmp_path, monkeypatch):
    store = stopped_midway(longer(), tmp_path / "a", monkeypatch)
    before = records(store)
    monkeypatch.setattr(open_pack, "_answer", lambda pack, config: "f" * 16)
    for accepts in (False, True):
        launched = relaunched(store, accepts)
        assert "computes other bits than this one" in launched.elsewhere[store.pack_ids()[0]]
    assert records(store) == before


def test_records_of_earlier_versions_go_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(open_pack, "Origin", lambda *_: origin.Origin())
        store = stopped_midway(longer(), tmp_path / "a", monkeypatch)
    assert not records(store)[0].sources
    relaunched(store, accepts=False)
    assert not unfinished(store)


def test_resuming_unchanged_code_leaves_one_mark(tmp_path, monkeypatch):
    store, attempts = interrupted(longer(), tmp_path / "a", 2, monkeypatch)
    assert attempts > 2
    assert {len(end.sources) for end in records(store)[0].ends.values()} == {1}


def test_the_files_that_count_are_those_that_compute_the_runs():
    spec = tiny()
    names = source_hashes(spec, spec.runs()).keys()
    assert {"engine/block.py", "numerics/streams.py", "training/pack_loop.py", "native/program.cpp"} <= names
    assert {"tasks/dictionary_lookup.py", "native/draws.h", "native/philox.h", "tasks/base.py"} <= names
    assert not {name for name in names if "pair_lookup" in name or "linear" in name or "report" in name}
    ruled = tiny(stopping={"name": "run_to_budget"})
    assert source_hashes(ruled, ruled.runs()).keys() ^ names == {
        "stopping/after_convergence.py",
        "stopping/run_to_budget.py",
    }
